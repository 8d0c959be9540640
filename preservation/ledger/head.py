"""The end of the log as it was last seen: sealed segments, hot file, and the tree over both."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from preservation.ledger.checkpoints import checkpoint_path, checkpoint_sizes, read_checkpoint
from preservation.ledger.errors import LedgerDamagedError, LedgerUnreadableError, NoteError
from preservation.ledger.events import parse_record
from preservation.ledger.files import ReadAt, names_in, open_to_read, reading_at
from preservation.ledger.layout import HOT, hot_first
from preservation.ledger.merkle import NO_LEAF, Frontier
from preservation.ledger.notes import VerifierKey, signed_by
from preservation.ledger.sealed import Segment, hot_path, sealed_segments, segment_path, segment_ranges, segment_records
from preservation.ledger.wal import Batch, Frame, batches, frames
from storage_backends.errors import Phrase

MARK_EVERY = 512
"""How many events lie between two remembered places in the hot file."""

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the hot file where reading may begin: the batch at ``offset`` begins with event ``seq``."""

    seq: int
    offset: int
    previous: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log. The hot file holds complete batches up to ``offset``; the last one begins at ``last``."""

    segments: tuple[Segment, ...]
    frontier: Frontier
    last_leaf: bytes
    marks: tuple[Mark, ...]
    offset: int = 0
    last: int = 0

    @property
    def size(self) -> int:
        """How many events the log has."""
        return self.frontier.size

    @property
    def hot_first(self) -> int:
        """The first event that is not sealed."""
        return self.segments[-1].end if self.segments else 0

    def grown(self, batch: Batch) -> "Head":
        """Return the head after ``batch``."""
        marks = self.marks
        if self.size - marks[-1].seq >= MARK_EVERY:
            marks = (*marks, Mark(self.size, self.offset, self.last_leaf))
        return replace(
            self,
            frontier=self.frontier.extended(frame.leaf for frame in batch.frames),
            last_leaf=batch.frames[-1].leaf,
            marks=marks,
            offset=batch.end,
            last=batch.offset,
        )


def head_at_seal(segments: tuple[Segment, ...]) -> Head:
    """Return the head of a log of which nothing is hot."""
    frontier = segments[-1].frontier if segments else Frontier()
    last_leaf = segments[-1].last_leaf if segments else NO_LEAF
    return Head(segments, frontier, last_leaf, (Mark(frontier.size, 0, last_leaf),))


def load_head(root: str, keys_of: Callable[[Head], Iterable[VerifierKey]], *, at_least: int) -> Head:
    """Read the end of the log at ``root`` anew; beside a writer as well.

    ``keys_of`` tells the keys that a head's records name, asked for only when a checkpoint contradicts the records;
    ``at_least`` is a size that the log is known to have had.

    Raises:
        LedgerDamagedError: Less is there than a checkpoint, a segment or ``at_least`` proves, or something else.
    """
    for attempt in range(_ATTEMPTS):
        before = _survey(root)
        try:
            # The checkpoints come first: one that is written while we read may be beyond what we read.
            newest = max(checkpoint_sizes(root), default=0)
            head, seen = _loaded(root, newest)
            check_floor(root, head, newest, at_least)
            if seen is not None:
                _check_root(root, newest, seen, partial(keys_of, head))
        except (LedgerDamagedError, LedgerUnreadableError):
            if attempt + 1 == _ATTEMPTS or _survey(root) == before:
                raise
        else:
            return head
    raise AssertionError("the last attempt returns or raises")


def check_floor(root: str, head: Head, newest: int, at_least: int = 0) -> None:
    """Raise ``LedgerDamagedError`` if the log once had more events than it has."""
    if max(newest, at_least) > head.size:
        witness = (
            Phrase("there is a checkpoint over {events}", events=newest)
            if newest > head.size
            else Phrase("it had {events}", events=at_least)
        )
        raise LedgerDamagedError(
            place=root,
            seq=head.size,
            reason=Phrase("only {size} events are left, although {reason}", size=head.size, reason=witness),
        )


def follow_head(root: str, head: Head) -> Head | None:
    """Return ``head`` grown by what was appended since; None if the log must be read anew (sealed, or not as known)."""
    try:
        if len(segment_ranges(root)) != len(head.segments):
            return None
        path = hot_path(root, head.hot_first)
        with open_to_read(path) as file:
            read_at = reading_at(file.fileno(), path)
            if head.offset and not _is_still_there(read_at, head):
                return None
            size = os.fstat(file.fileno()).st_size
            for batch in _batches(read_at, head, size, root):
                head = head.grown(batch)
    except FileNotFoundError:
        return None
    return head


def hot_batches(root: str, head: Head, start: int) -> Iterator[Batch]:
    """Yield the batches of the hot file that ``head`` knows, from the one that holds event ``start`` on, or earlier.

    Raises:
        FileNotFoundError: The hot file was sealed and dropped meanwhile.
    """
    mark = next(mark for mark in reversed(head.marks) if mark.seq <= start)
    path = hot_path(root, head.hot_first)
    with open_to_read(path) as file:
        found = 0
        for batch in batches(
            reading_at(file.fileno(), path),
            mark.offset,
            head.offset,
            seq=mark.seq,
            previous=mark.previous,
            place=path,
        ):
            found = batch.end
            yield batch
    if found < head.offset:
        raise LedgerDamagedError(
            place=path,
            seq=start,
            reason=Phrase("bytes {found} to {offset} were readable before", found=found, offset=head.offset),
        )


def newest_time(root: str, head: Head) -> datetime | None:
    """Return the time of the last event that ``head`` knows; None of an empty log.

    Raises:
        FileNotFoundError: The hot file was sealed and dropped meanwhile.
        LedgerDamagedError, LedgerUnreadableError, RecordError: It cannot be read.
    """
    if head.offset:
        path = hot_path(root, head.hot_first)
        with open_to_read(path) as file:
            *_, last = frames(reading_at(file.fileno(), path), head.last, head.offset)
        record = last.record if isinstance(last, Frame) else b""
    elif head.segments:
        segment = head.segments[-1]
        path = segment_path(root, segment.first, segment.end)
        *_, group = segment_records(path, segment.first, segment.end, segment.end - 1)
        record = group[-1]
    else:
        return None
    return parse_record(record).time


def _loaded(root: str, newest: int) -> tuple[Head, Frontier | None]:
    """Return the head, and the frontier at ``newest`` events if that is not within the sealed part."""
    head = head_at_seal(sealed_segments(root))
    seen = head.frontier if head.size == newest else None
    path = hot_path(root, head.hot_first)
    try:
        file = open_to_read(path)
    except FileNotFoundError:
        raise LedgerDamagedError(place=path, seq=head.size, reason="the hot file is missing") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        for batch in _batches(reading_at(file.fileno(), path), head, size, root):
            if head.size < newest <= head.size + len(batch.frames):
                seen = head.frontier.extended(frame.leaf for frame in batch.frames[: newest - head.size])
            head = head.grown(batch)
    return head, seen


def _batches(read_at: ReadAt, head: Head, size: int, root: str) -> Iterator[Batch]:
    place = hot_path(root, head.hot_first)
    return batches(read_at, head.offset, size, seq=head.size, previous=head.last_leaf, place=place)


def _is_still_there(read_at: ReadAt, head: Head) -> bool:
    """Tell whether the last batch that ``head`` knows is what it was; a failed write may have been taken back."""
    last: Frame | None = None
    for item in frames(read_at, head.last, head.offset):
        if not isinstance(item, Frame):
            return False
        last = item
    return last is not None and last.end == head.offset and last.leaf == head.last_leaf


def _check_root(root: str, size: int, frontier: Frontier, keys: Callable[[], Iterable[VerifierKey]]) -> None:
    """Compare with the newest checkpoint. One that is damaged itself proves nothing; checking the ledger names it."""
    if size == 0:
        return
    try:
        signed = read_checkpoint(root, size)
        if signed.checkpoint.root == frontier.root():
            return
        signed_by(signed.note, keys())
    except (NoteError, FileNotFoundError, LedgerUnreadableError):
        return
    raise LedgerDamagedError(
        place=checkpoint_path(root, size), seq=size, reason="the events do not give the root that was signed for them"
    )


def _survey(root: str) -> list[tuple[int, int] | int | None]:
    return [*segment_ranges(root), *(hot_first(name) for name in names_in(os.path.join(root, HOT)))]
