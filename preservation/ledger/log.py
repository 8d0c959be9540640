"""The ledger: opened, read, and written under one lock."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from preservation.ledger.canonical import Json, canonical, read_canonical
from preservation.ledger.checkpoints import checkpoint_sizes, read_checkpoint
from preservation.ledger.errors import (
    LedgerDamagedError,
    LedgerExistsError,
    LedgerMissingError,
    LedgerReadOnlyError,
    LedgerUnreadableError,
    LedgerVersionError,
    NoteError,
    RecordError,
)
from preservation.ledger.events import Event, EventType, Record, parse_record
from preservation.ledger.files import (
    create_file,
    fsync_directory,
    locked,
    names_in,
    open_to_read,
    read_file,
    reading_at,
    replace_file,
    writing_to,
)
from preservation.ledger.head import Head, follow_head, head_at_seal, hot_batches, load_head
from preservation.ledger.keys import genesis_keys, verify_rotation
from preservation.ledger.layout import (
    CHECKPOINTS,
    FORMAT,
    FORMAT_FILE,
    HOT,
    LOCK_FILE,
    SEGMENTS,
    note_size,
    tail_key,
)
from preservation.ledger.merkle import leaf_hash
from preservation.ledger.notes import SignedCheckpoint, Signer, VerifierKey
from preservation.ledger.sealed import Segment, hot_path, segment_path, segment_records
from preservation.ledger.wal import Frame, frames
from preservation.ledger.writer import Writer, WriterState
from storage_backends.errors import Phrase

CHUNK_LIMIT = 4 << 20
"""A tail chunk ends with the batch that reaches this many bytes."""

_FORMAT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class TailChunk:
    """Whole batches of hot frames, as they are copied to the stores. ``data`` never changes for a ``key``."""

    first: int
    end: int
    data: bytes

    @property
    def key(self) -> str:
        """The key under which the chunk lies on a store."""
        return tail_key(self.first, self.end)


class Ledger:
    """An open ledger. Nothing is held open between calls; reading needs no write permission and creates nothing.

    ``size``, ``root`` and ``records`` speak of the log as it was last seen: when it was opened, by ``refresh`` or by
    ``writing``.
    """

    def __init__(self, path: str, origin: str, head: Head, state: WriterState, *, read_only: bool) -> None:
        self.path = path
        self.origin = origin
        self.read_only = read_only
        self._last_seen = head
        self._state = state
        self._writer: Writer | None = None

    @property
    def _head(self) -> Head:
        """The log as it is known: while this process writes, what it has written is in it."""
        writer = self._writer
        return self._last_seen if writer is None else writer.head

    @classmethod
    def create(
        cls,
        path: str,
        *,
        origin: str,
        signer: Signer,
        root_key: VerifierKey,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        agent: str,
        detail: Mapping[str, Json] | None = None,
        root_signer: Signer | None = None,
    ) -> Self:
        """Make a ledger at ``path`` with a genesis event that names both keys, and sign its first checkpoint.

        What a crash left of an earlier attempt is replaced. ``detail`` is added to the genesis. ``root_signer`` signs
        the first checkpoint too: whoever has the root key knows by it that the ledger is not somebody else's.

        Raises:
            LedgerExistsError: There is a ledger already.
        """
        if os.path.lexists(os.path.join(path, FORMAT_FILE)):
            raise LedgerExistsError(place=path)
        with writing_to(path):
            make_directories(path)
            _clear_unborn(path)
            create_file(hot_path(path, 0), b"")
        signers = (signer,) if root_signer is None else (signer, root_signer)
        state = WriterState(clock=clock, random=random, signers=signers, origin=origin, agent=agent)
        ledger = cls(path, origin, head_at_seal(()), state, read_only=False)
        genesis = Event(
            type=EventType.GENESIS,
            detail={**(detail or {}), "log_key": str(signer.key), "origin": origin, "root_key": str(root_key)},
            agent=agent,
        )
        with ledger.writing(0) as writer:
            writer.append([genesis])
            writer.checkpoint()
        state.signers = (signer,)
        with writing_to(path):
            replace_file(os.path.join(path, FORMAT_FILE), format_bytes(origin))
        return ledger

    @classmethod
    def open(
        cls,
        path: str,
        *,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        signers: Sequence[Signer] = (),
        read_only: bool = False,
        at_least: int = 0,
        agent: str = "mocban",
    ) -> Self:
        """Open the ledger at ``path``. ``at_least`` is a size that it is known to have had (a catalog's, a store's).

        Raises:
            LedgerMissingError, LedgerVersionError; LedgerDamagedError if less is there than a checkpoint, a segment or
            ``at_least`` proves; LedgerUnreadableError if we could not look.
        """
        origin = read_origin(path)
        head = load_head(path, lambda head: _keys_of(path, head), at_least=at_least)
        state = WriterState(
            clock=clock, random=random, signers=tuple(signers), origin=origin, agent=agent, at_least=at_least
        )
        return cls(path, origin, head, state, read_only=read_only)

    @property
    def size(self) -> int:
        """How many events the log has."""
        return self._head.size

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The sealed segments."""
        return self._head.segments

    @property
    def sealed_size(self) -> int:
        """How many events are sealed."""
        return self._head.hot_first

    def newest_time(self) -> datetime | None:
        """Return the time of the last event; None of an empty log. Raises as ``records``."""
        for record in self.records(max(0, self.size - 1)):
            return record.time
        return None

    def root(self) -> bytes:
        """Return the root of the tree over all events."""
        return self._head.frontier.root()

    def refresh(self) -> None:
        """See what others appended; raises as ``open``."""
        if self._writer is not None:
            return  # nobody else can write meanwhile
        followed = follow_head(self.path, self._head)
        if followed is None:
            at_least = self._state.at_least
            followed = load_head(self.path, lambda head: _keys_of(self.path, head), at_least=at_least)
        self._last_seen = followed

    def records(self, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """Yield the records from ``start`` to ``end`` (not included), in order, checked, a few at a time in memory.

        Raises:
            LedgerDamagedError, LedgerUnreadableError: A record cannot be read; those before it were yielded.
        """
        expected = start
        for data in self.raw_records(start, end):
            yield _checked_record(self.path, expected, data)
            expected += 1

    def raw_records(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of the records from ``start`` to ``end``: the leaves of the tree; raises as ``records``."""
        end = self.size if end is None else min(end, self.size)
        following = start
        while following < end:
            try:
                for data in _raw(self.path, self._head, following, end):
                    yield data
                    following += 1
                return
            except FileNotFoundError:
                self.refresh()  # what was hot is sealed meanwhile

    def leaf_hashes(self, end: int | None = None) -> bytes:
        """Return the packed hashes of the first ``end`` leaves, for the proofs of ``merkle``; 32 bytes an event."""
        return b"".join(leaf_hash(data) for data in self.raw_records(0, end))

    def checkpoint_sizes(self) -> list[int]:
        """Return the sizes for which there is a signed checkpoint, ascending."""
        return checkpoint_sizes(self.path)

    def checkpoint(self, size: int) -> SignedCheckpoint:
        """Return the checkpoint over ``size`` events, not verified; raises ``FileNotFoundError``, ``NoteError``."""
        return read_checkpoint(self.path, size)

    def tail_since(self, end: int) -> Iterator[TailChunk]:
        """Yield, in chunks, the hot frames from event ``end`` on (the end of an earlier chunk, or 0).

        What is sealed already is not among them: the stores get it as segments.
        """
        pending: list[bytes] = []
        size, first, following = 0, 0, 0
        path = hot_path(self.path, self._head.hot_first)
        for batch in hot_batches(self.path, self._head, max(end, self._head.hot_first)):
            if batch.frames[0].seq < end:
                continue
            if not pending:
                first = batch.frames[0].seq
            pending.append(_bytes_of(path, batch.offset, batch.end))
            size += batch.end - batch.offset
            following = batch.frames[-1].seq + 1
            if size >= CHUNK_LIMIT:
                yield TailChunk(first, following, b"".join(pending))
                pending, size = [], 0
        if pending:
            yield TailChunk(first, following, b"".join(pending))

    def chunks(self, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes | None]:
        """Yield the hot frames of each (first, end), as chunks on a store have them; None where no batches fit."""
        path = hot_path(self.path, self._head.hot_first)
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for batch in hot_batches(self.path, self._head, self._head.hot_first):
            begins[batch.frames[0].seq] = batch.offset
            ends[batch.frames[-1].seq + 1] = batch.end
        for first, end in ranges:
            fits = first in begins and end in ends
            yield _bytes_of(path, begins[first], ends[end]) if fits else None

    def segment_file(self, segment: Segment) -> str:
        """Return the path of a segment's file, to be copied to the stores."""
        return segment_path(self.path, segment.first, segment.end)

    @contextmanager
    def writing(self, wait_seconds: float) -> Iterator[Writer]:
        """Hold the lock that orders all writers, see what others appended, and give a writer.

        Raises:
            LedgerBusyError: The lock was not free within ``wait_seconds``.
            LedgerReadOnlyError: The ledger was opened for reading, or may not be written.
            LedgerStoppedError: An earlier write of this process failed.
            LedgerDamagedError, LedgerUnreadableError: As ``open``.
        """
        if self.read_only:
            raise LedgerReadOnlyError(place=self.path)
        self._state.check_running(self.path)
        with locked(os.path.join(self.path, LOCK_FILE), wait_seconds):
            writer = Writer(self.path, self._state, self._head, lambda head: _keys_of(self.path, head))
            try:
                writer.begin()
                self._writer = writer
                yield writer
            finally:
                self._last_seen, self._writer = writer.head, None
                writer.finish()


def make_directories(path: str) -> None:
    """Make the folders and the lock of a ledger, durably; those that are there already are kept."""
    for name in ("", HOT, SEGMENTS, CHECKPOINTS):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    lock = os.path.join(path, LOCK_FILE)
    if not os.path.lexists(lock):
        create_file(lock, b"")
    fsync_directory(path)
    fsync_directory(os.path.dirname(os.path.abspath(path)))


def _clear_unborn(path: str) -> None:
    """Remove what a crash left of a creation; ``LedgerExistsError`` if it is more than that."""
    hot, notes = names_in(os.path.join(path, HOT)), names_in(os.path.join(path, CHECKPOINTS))
    first = hot_path(path, 0)
    if (
        names_in(os.path.join(path, SEGMENTS))
        or not {os.path.basename(first)}.issuperset(hot)
        or any((note_size(name) or 0) > 1 for name in notes)
        or (hot and _holds_more_than_genesis(first))
    ):
        raise LedgerExistsError(place=path)
    for folder, names in ((HOT, hot), (CHECKPOINTS, notes)):
        for name in names:
            os.unlink(os.path.join(path, folder, name))


def _holds_more_than_genesis(path: str) -> bool:
    with open_to_read(path) as file:
        found = frames(reading_at(file.fileno(), path), 0, os.fstat(file.fileno()).st_size)
        return any(isinstance(item, Frame) and item.seq > 0 for item in found)


def format_bytes(origin: str) -> bytes:
    """Return what ``format.json`` holds."""
    return canonical({"format": FORMAT, "mocban": "ledger", "origin": origin}) + b"\n"


def read_origin(path: str) -> str:
    """Return of which ledger the folder at ``path`` is.

    Raises:
        LedgerMissingError, LedgerVersionError, LedgerUnreadableError.
    """
    place = os.path.join(path, FORMAT_FILE)
    try:
        value = read_canonical(read_file(place, _FORMAT_LIMIT).removesuffix(b"\n"))
    except FileNotFoundError as error:
        raise LedgerMissingError(place=path, reason=Phrase("{name} is not there", name=FORMAT_FILE)) from error
    except RecordError as error:
        raise LedgerUnreadableError(place=place, reason=str(error)) from error
    if not isinstance(value, dict) or value.get("mocban") != "ledger":
        raise LedgerUnreadableError(place=place, reason="this is not a ledger's")
    if value.get("format") != FORMAT:
        raise LedgerVersionError(place=place, found=str(value.get("format"))[:40])
    return str(value.get("origin"))


def _keys_of(path: str, head: Head) -> Iterator[VerifierKey]:
    """Yield all log keys that the records of ``head`` name, past what cannot be read."""
    log: VerifierKey | None = None
    root: VerifierKey | None = None
    try:
        for seq, data in enumerate(_raw(path, head, 0, head.size)):
            if seq == 0:
                log, root = genesis_keys(parse_record(data).event)
                yield log
            elif log and root and EventType.KEY_ROTATION.encode() in data:
                event = parse_record(data).event
                if event.type == EventType.KEY_ROTATION:
                    log = verify_rotation(event, log, root)
                    yield log
    except (NoteError, RecordError, LedgerDamagedError, LedgerUnreadableError, FileNotFoundError):
        return


def _raw(path: str, head: Head, start: int, end: int) -> Iterator[bytes]:
    for segment in head.segments:
        if segment.end > start and segment.first < end:
            place = segment_path(path, segment.first, segment.end)
            for records in segment_records(place, segment.first, segment.end, max(start, segment.first)):
                yield from records[: max(0, end - start)]
                start += len(records)
                if start >= end:
                    return
    for batch in hot_batches(path, head, start) if start < end else ():
        for frame in batch.frames:
            if start <= frame.seq < end:
                yield frame.record
        if batch.frames[-1].seq + 1 >= end:
            return


def _checked_record(path: str, seq: int, data: bytes) -> Record:
    try:
        record = parse_record(data)
    except RecordError as error:
        raise LedgerDamagedError(place=path, seq=seq, reason=str(error)) from error
    if record.seq != seq:
        raise LedgerDamagedError(
            place=path, seq=seq, reason=Phrase("the record says that it is event {event}", event=record.seq)
        )
    return record


def _bytes_of(path: str, start: int, end: int) -> bytes:
    with open_to_read(path) as file:
        return reading_at(file.fileno(), path)(start, end - start)
