"""Checking a ledger: everything is read and derived again, and every contradiction is told; nothing is believed.

A problem is data. What could not be read is a problem as well.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preservation.ledger.canonical import read_canonical
from preservation.ledger.checkpoints import checkpoint_sizes, read_checkpoint
from preservation.ledger.errors import LedgerError, NoteError, RecordError
from preservation.ledger.events import EventType, Record, parse_record
from preservation.ledger.files import TEMPORARY, names_in, read_file, reading_at
from preservation.ledger.keys import KeyPeriod, genesis_keys, verifier_at
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
    segment_name,
    segment_range,
)
from preservation.ledger.notes import VerifierKey, signed_by
from preservation.ledger.sealed import cached_segments, file_sha256, finished_ranges, segment_path
from preservation.ledger.segments import columns_of, read_rows
from preservation.ledger.wal import Frame, batches, frames
from preservation.ledger.walk import Walk

_FORMAT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """One thing that is wrong: a code, the file, and what was seen."""

    code: str
    where: str
    detail: str


def check_ledger(path: str, *, trusted: Sequence[VerifierKey] = (), deep: bool = True) -> Iterator[LedgerProblem]:
    """Yield all that is wrong with the ledger at ``path``; nothing if it is what it must be. Reads only.

    Checked are: that the files are complete and in order, every record's number and the chain of the hot file, the
    root and the signature of every checkpoint, the succession of keys, and the digest of every segment; ``deep`` adds
    that every record is canonical and every typed column equals its record. ``trusted`` are keys that the caller has
    from elsewhere (from paper, from the recovery kit): the genesis must name one of them.

    Beside a live writer the batch that is being written can be told as ``hot_torn``.
    """
    # Checkpoints first: one that is signed while we read may be beyond what we read.
    sizes = checkpoint_sizes(path)
    ranges, _ = finished_ranges(path)
    walk = Walk(sizes, frozenset(end for _, end in ranges))
    for first, end in ranges:
        yield from _check_segment(path, walk, first, end, deep=deep)
    yield from _check_hot(path, walk, deep=deep)
    yield from _check_closings(path, walk, ranges)
    yield from _check_cache(path, walk, ranges)
    periods: tuple[KeyPeriod, ...] = ()
    try:
        periods = walk.periods()
        yield from _check_trust(walk.records()[0], trusted)
    except (NoteError, RecordError) as error:
        yield LedgerProblem("keys_invalid", HOT if not ranges else SEGMENTS, str(error))
    yield from _check_format(path, walk)
    for size in sizes:
        yield from _check_checkpoint(path, walk, size, periods)
    yield from _check_names(path)


def _check_segment(path: str, walk: Walk, first: int, end: int, *, deep: bool) -> Iterator[LedgerProblem]:
    name = f"{SEGMENTS}/{segment_name(first, end)}"
    if first != walk.seq:
        yield LedgerProblem("segment_missing", name, f"it should begin with event {walk.seq}")
        walk.lose(first)
    try:
        for rows in read_rows(segment_path(path, first, end), columns=deep):
            if rows.seqs != list(range(walk.seq, walk.seq + len(rows.seqs))):
                yield LedgerProblem("segment_incomplete", name, f"its events are not consecutive after {walk.seq}")
            if deep:
                yield from check_records(rows.records, rows.columns, name, walk.seq)
            walk.take(rows.records)
    except LedgerError as error:
        yield LedgerProblem("segment_unreadable", name, str(error))
        walk.lose(end)
    if walk.seq != end:
        yield LedgerProblem("segment_incomplete", name, f"it has the events to {walk.seq}")
        walk.lose(end)


def check_records(
    data: Sequence[bytes], columns: dict[str, list[object]], name: str, seq: int
) -> Iterator[LedgerProblem]:
    """Yield what is wrong with the records ``data`` of the file ``name``, the first of which is event ``seq``.

    ``columns`` are the typed columns as ``read_rows`` gives them; none are compared if it is empty.
    """
    records: list[Record] = []
    for position, record in enumerate(data, seq):
        try:
            records.append(parse_record(record))
        except RecordError as error:
            yield LedgerProblem("record_invalid", name, f"event {position}: {error}")
            return
        if records[-1].seq != position:
            yield LedgerProblem("record_misplaced", name, f"event {position} says that it is {records[-1].seq}")
    expected = columns_of(records) if columns else {}
    for column, values in columns.items():
        if values != expected[column]:
            wrong = next(i for i, pair in enumerate(zip(values, expected[column], strict=True)) if pair[0] != pair[1])
            yield LedgerProblem("column_differs", name, f"event {seq + wrong}: {column} is not what the record says")


def _check_hot(path: str, walk: Walk, *, deep: bool) -> Iterator[LedgerProblem]:
    name = f"{HOT}/{hot_name(walk.seq)}"
    try:
        with open(os.path.join(path, name), "rb", buffering=0) as file:
            yield from _check_frames(walk, file.fileno(), name, deep=deep)
    except FileNotFoundError:
        yield LedgerProblem("hot_missing", name, "the hot file is missing")
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
        yield LedgerProblem("hot_torn", name, f"{size - found} bytes after event {walk.seq} are no complete batch")


def _check_closings(path: str, walk: Walk, ranges: Sequence[tuple[int, int]]) -> Iterator[LedgerProblem]:
    """Compare each segment's file with the event after it, which says its size and SHA-256."""
    for first, end in ranges:
        name = f"{SEGMENTS}/{segment_name(first, end)}"
        if end not in walk.kept:
            if end < walk.seq:
                yield LedgerProblem("segment_unclosed", name, "the event after it could not be read")
            continue
        try:
            event = parse_record(walk.kept[end]).event
            digest = file_sha256(segment_path(path, first, end))
        except LedgerError as error:
            yield LedgerProblem("segment_unreadable", name, str(error))
            continue
        expected = (event.detail.get("first"), event.detail.get("end"), event.detail.get("sha256"))
        if event.type != EventType.SEGMENT_CLOSED or expected != (first, end, digest):
            yield LedgerProblem("segment_differs", name, f"sha256:{digest} is not what event {end} says")


def _check_cache(path: str, walk: Walk, ranges: Sequence[tuple[int, int]]) -> Iterator[LedgerProblem]:
    for segment in cached_segments(path):
        root = walk.roots.get(segment.end)
        if (segment.first, segment.end) in ranges and root is not None and segment.frontier.root() != root:
            yield LedgerProblem("cache_differs", segment.name, "the cached tree is not that of the events")


def _check_trust(genesis: Record, trusted: Sequence[VerifierKey]) -> Iterator[LedgerProblem]:
    if trusted and not set(trusted) & set(genesis_keys(genesis.event)):
        yield LedgerProblem("keys_unknown", "event 0", "the genesis names none of the keys that you trust")


def _check_format(path: str, walk: Walk) -> Iterator[LedgerProblem]:
    try:
        value = read_canonical(read_file(os.path.join(path, FORMAT_FILE), _FORMAT_LIMIT).removesuffix(b"\n"))
        origin = parse_record(walk.kept[0]).event.detail.get("origin") if 0 in walk.kept else None
    except (OSError, LedgerError) as error:
        yield LedgerProblem("format_unreadable", FORMAT_FILE, str(error))
        return
    if value != {"format": FORMAT, "mocban": "ledger", "origin": origin}:
        yield LedgerProblem("format_differs", FORMAT_FILE, "it is not what the genesis says")


def _check_checkpoint(path: str, walk: Walk, size: int, periods: tuple[KeyPeriod, ...]) -> Iterator[LedgerProblem]:
    name = f"{CHECKPOINTS}/{note_name(size)}"
    key = verifier_at(periods, size)
    try:
        signed = read_checkpoint(path, size)
        signers = signed_by(signed.note, [period.key for period in periods])
    except (LedgerError, OSError) as error:
        yield LedgerProblem("checkpoint_invalid", name, str(error))
        return
    if key is not None and key not in signers:
        yield LedgerProblem("checkpoint_unsigned", name, f"it is not signed by the log key of its size, {key}")
    if key is not None and signed.checkpoint.origin != key.name:
        yield LedgerProblem("checkpoint_foreign", name, f"it is about {signed.checkpoint.origin!r:.80}")
    if size > walk.seq:
        yield LedgerProblem("history_shortened", name, f"only {walk.seq} events are left")
    elif size not in walk.roots:
        yield LedgerProblem("checkpoint_unverified", name, "not all events before it could be read")
    elif walk.roots[size] != signed.checkpoint.root:
        yield LedgerProblem("root_differs", name, "the events do not give the root that was signed for them")


def _check_names(path: str) -> Iterator[LedgerProblem]:
    known = {HOT: hot_first, SEGMENTS: segment_range, CHECKPOINTS: note_size}
    for folder, meaning in known.items():
        for name in names_in(os.path.join(path, folder)):
            if meaning(name) is None and not name.endswith(TEMPORARY):
                yield LedgerProblem("file_unexpected", f"{folder}/{name}", "this is no name in a ledger")
    sealed = names_in(os.path.join(path, SEGMENTS))
    beginnings = {0}.union(*(pair for name in sealed if (pair := segment_range(name)) is not None))
    for name in names_in(os.path.join(path, HOT)):
        if (first := hot_first(name)) is not None and first not in beginnings:
            yield LedgerProblem("hot_unexpected", f"{HOT}/{name}", "no segment begins or ends with its event")
