"""Checking a ledger: everything is read and derived again, and every contradiction is told; nothing is believed.

A problem is data. What could not be read is a problem as well.
"""

import os
from collections.abc import Callable, Iterator, Sequence

from preservation.ledger.attested import check_attested
from preservation.ledger.canonical import read_canonical
from preservation.ledger.checkpoints import checkpoint_sizes, read_checkpoint
from preservation.ledger.errors import LedgerError, NoteError, RecordError
from preservation.ledger.events import EventType, parse_record
from preservation.ledger.files import TEMPORARY, names_in, read_file, reading_at
from preservation.ledger.held import Held, check_held, check_trust, known_keys
from preservation.ledger.keys import KeyPeriod, verifier_at
from preservation.ledger.layout import (
    CHECKPOINTS,
    FORMAT,
    FORMAT_FILE,
    HOT,
    SEGMENTS,
    hot_first,
    hot_name,
    note_name,
    note_size,
    segment_range,
)
from preservation.ledger.notes import VerifierKey, signed_by
from preservation.ledger.problems import LedgerProblem, check_records
from preservation.ledger.sealed import cached_segments, finished_ranges
from preservation.ledger.survey import Survey, Task, surveys
from preservation.ledger.wal import Frame, batches, frames
from preservation.ledger.walk import Walk
from storage_backends.errors import Phrase

Told = Callable[[int, int], None]
"""Told of so many events and bytes more that were read."""

_FORMAT_LIMIT = 4096


def check_ledger(
    path: str,
    *,
    trusted: Sequence[VerifierKey] = (),
    held: Sequence[Held] = (),
    deep: bool = True,
    processes: int = 1,
    told: Told = lambda _events, _bytes: None,
) -> Iterator[LedgerProblem]:
    """Yield all that is wrong with the ledger at ``path``; nothing if it is what it must be. Reads only.

    Checked are: that the files are complete and in order, every record's number and the chain of the hot file, the
    root and the signature of every checkpoint, the succession of keys, and the digest of every segment; ``deep`` adds
    that every record is canonical and every typed column equals its record.

    ``trusted`` are keys that the caller has from elsewhere (from paper, from the recovery kit): one of them must have
    signed for this ledger. ``held`` are checkpoints that the caller kept elsewhere: the ledger must continue them.
    ``processes`` share a long ledger.

    Beside a live writer the batch that is being written can be told as ``hot_torn``.
    """
    # Checkpoints first: one that is signed while we read may be beyond what we read.
    sizes = checkpoint_sizes(path)
    ranges, _ = finished_ranges(path)
    walk = Walk(sorted({*sizes, *(one.size for one in held)}), frozenset(end for _, end in ranges))
    seen: list[Survey] = []
    for one in _surveyed(path, walk, ranges, deep=deep, processes=processes):
        yield from check_survey(walk, one)
        told(one.end - one.first, one.size)
        seen.append(one)
    before = walk.seq
    yield from _check_hot(path, walk, deep=deep)
    told(walk.seq - before, 0)
    yield from check_closings(walk, seen)
    yield from _check_cache(path, walk, ranges)
    yield from check_signed(path, walk, sizes, trusted=trusted, held=held, own=True)
    yield from _check_names(path)


def _surveyed(
    path: str, walk: Walk, ranges: Sequence[tuple[int, int]], *, deep: bool, processes: int
) -> Iterator[Survey]:
    tasks = [Task(path, first, end, walk.sizes_within(first, end), deep) for first, end in ranges]
    return surveys(tasks, processes)


def check_survey(walk: Walk, one: Survey) -> Iterator[LedgerProblem]:
    """Take what was seen of a segment into the walk; yield what is wrong with the segment."""
    if one.first != walk.seq:
        yield LedgerProblem("segment_missing", one.name, Phrase("it should begin with event {event}", event=walk.seq))
        walk.lose(one.first)
    yield from one.problems
    walk.take_survey(one)
    if not one.pieces:
        walk.lose(one.end)
    if walk.seq != one.end:
        yield LedgerProblem("segment_incomplete", one.name, Phrase("it has the events to {event}", event=walk.seq))
        walk.lose(one.end)


def check_signed(
    path: str,
    walk: Walk,
    sizes: Sequence[int],
    *,
    trusted: Sequence[VerifierKey],
    held: Sequence[Held],
    own: bool = False,
) -> Iterator[LedgerProblem]:
    """Yield what is wrong with keys, format and checkpoints of the ledger at ``path`` that was walked to its end.

    In a ledger of our ``own`` nobody else's signatures lie among the checkpoints, so that each byte of them is checked.
    """
    periods: tuple[KeyPeriod, ...] = ()
    try:
        periods = walk.periods()
    except (NoteError, RecordError) as error:
        yield LedgerProblem("keys_invalid", "event 0", str(error))
    yield from _check_format(path, walk)
    signers: dict[int, frozenset[VerifierKey]] = {}
    for size in sizes:
        yield from _check_checkpoint(path, walk, size, periods, signers, own=own)
    yield from check_trust(walk, periods, trusted, signers)
    yield from check_held(path, walk, periods, held)
    yield from check_attested(path, walk.attested)


def _check_hot(path: str, walk: Walk, *, deep: bool) -> Iterator[LedgerProblem]:
    name = f"{HOT}/{hot_name(walk.seq)}"
    try:
        with open(os.path.join(path, name), "rb", buffering=0) as file:
            yield from _check_frames(walk, file.fileno(), name, deep=deep)
    except FileNotFoundError:
        yield LedgerProblem("hot_missing", name, Phrase("the hot file is missing"))
    except OSError as error:
        yield LedgerProblem("hot_unreadable", name, str(error.strerror))
    except LedgerError as error:
        yield LedgerProblem("hot_damaged", name, str(error))


def _check_frames(walk: Walk, descriptor: int, name: str, *, deep: bool) -> Iterator[LedgerProblem]:
    size, found = os.fstat(descriptor).st_size, 0
    read_at = reading_at(descriptor, name)
    previous = walk.last_leaf
    if previous is None:  # the segment before could not be read; the file itself says what it follows
        first = next(frames(read_at, 0, size), None)
        previous = first.previous if isinstance(first, Frame) else bytes(32)
    for batch in batches(read_at, 0, size, seq=walk.seq, previous=previous, place=name):
        found = batch.end
        data = [frame.record for frame in batch.frames]
        if deep:
            yield from check_records(data, {}, name, walk.seq)
        walk.take(data)
    if found < size:
        yield LedgerProblem(
            "hot_torn",
            name,
            Phrase("{count} bytes after event {event} are no complete batch", count=size - found, event=walk.seq),
        )


def check_closings(walk: Walk, seen: Sequence[Survey]) -> Iterator[LedgerProblem]:
    """Compare each segment's file with the event after it, which says its size and SHA-256."""
    for one in seen:
        if one.end not in walk.kept:
            if one.end < walk.seq:
                yield LedgerProblem("segment_unclosed", one.name, Phrase("the event after it could not be read"))
            continue
        if not one.sha256:
            continue  # it could not be read, which was told
        try:
            event = parse_record(walk.kept[one.end]).event
        except LedgerError as error:
            yield LedgerProblem("segment_unclosed", one.name, str(error))
            continue
        expected = (event.detail.get("first"), event.detail.get("end"), event.detail.get("sha256"))
        if event.type != EventType.SEGMENT_CLOSED or expected != (one.first, one.end, one.sha256):
            yield LedgerProblem(
                "segment_differs",
                one.name,
                Phrase("sha256:{digest} is not what event {event} says", digest=one.sha256, event=one.end),
            )


def _check_cache(path: str, walk: Walk, ranges: Sequence[tuple[int, int]]) -> Iterator[LedgerProblem]:
    for segment in cached_segments(path):
        root = walk.roots.get(segment.end)
        if (segment.first, segment.end) in ranges and root is not None and segment.frontier.root() != root:
            yield LedgerProblem("cache_differs", segment.name, Phrase("the cached tree is not that of the events"))


def _check_format(path: str, walk: Walk) -> Iterator[LedgerProblem]:
    try:
        value = read_canonical(read_file(os.path.join(path, FORMAT_FILE), _FORMAT_LIMIT).removesuffix(b"\n"))
        origin = parse_record(walk.kept[0]).event.detail.get("origin") if 0 in walk.kept else None
    except (OSError, LedgerError) as error:
        yield LedgerProblem("format_unreadable", FORMAT_FILE, str(error))
        return
    if value != {"format": FORMAT, "mocban": "ledger", "origin": origin}:
        yield LedgerProblem("format_differs", FORMAT_FILE, Phrase("it is not what the genesis says"))


def _check_checkpoint(
    path: str,
    walk: Walk,
    size: int,
    periods: tuple[KeyPeriod, ...],
    signers: dict[int, frozenset[VerifierKey]],
    *,
    own: bool,
) -> Iterator[LedgerProblem]:
    """Yield what is wrong with the checkpoint over ``size`` events; if it is right, note who signed it."""
    name = f"{CHECKPOINTS}/{note_name(size)}"
    key = verifier_at(periods, size)
    try:
        signed = read_checkpoint(path, size)
        found = signed_by(signed.note, known_keys(walk, periods))
    except (LedgerError, OSError) as error:
        yield LedgerProblem("checkpoint_invalid", name, str(error))
        return
    if key is not None and key not in found:
        yield LedgerProblem(
            "checkpoint_unsigned", name, Phrase("it is not signed by the log key of its size, {key}", key=key)
        )
    if own and periods and len(found) < len(signed.note.signatures):
        yield LedgerProblem("checkpoint_invalid", name, Phrase("it carries a signature by no key of this ledger"))
    if key is not None and signed.checkpoint.origin != key.name:
        yield LedgerProblem(
            "checkpoint_foreign", name, Phrase("it is about {origin!r:.80}", origin=signed.checkpoint.origin)
        )
    if size > walk.seq:
        yield LedgerProblem("history_shortened", name, Phrase("only {event} events are left", event=walk.seq))
    elif size not in walk.roots:
        yield LedgerProblem("checkpoint_unverified", name, Phrase("not all events before it could be read"))
    elif walk.roots[size] != signed.checkpoint.root:
        yield LedgerProblem("root_differs", name, Phrase("the events do not give the root that was signed for them"))
    else:
        signers[size] = frozenset(found)


def _check_names(path: str) -> Iterator[LedgerProblem]:
    known = {HOT: hot_first, SEGMENTS: segment_range, CHECKPOINTS: note_size}
    for folder, meaning in known.items():
        for name in names_in(os.path.join(path, folder)):
            if meaning(name) is None and not name.endswith(TEMPORARY):
                yield LedgerProblem("file_unexpected", f"{folder}/{name}", Phrase("this is no name in a ledger"))
    sealed = names_in(os.path.join(path, SEGMENTS))
    beginnings = {0}.union(*(pair for name in sealed if (pair := segment_range(name)) is not None))
    for name in names_in(os.path.join(path, HOT)):
        if (first := hot_first(name)) is not None and first not in beginnings:
            yield LedgerProblem("hot_unexpected", f"{HOT}/{name}", Phrase("no segment begins or ends with its event"))
