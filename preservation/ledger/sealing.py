"""Sealing: the hot file becomes a segment, step by step, so that a crash after any step loses and repeats nothing.

Write the segment, flush it, name it, read it back and compare, begin the next hot file; the old one is dropped later,
when the stores have the segment, and only after it was compared again.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from preservation.ledger.canonical import Json
from preservation.ledger.errors import LedgerDamagedError, LedgerUnreadableError, LedgerWriteError
from preservation.ledger.events import Event, EventType, Record, parse_record
from preservation.ledger.files import (
    TEMPORARY,
    create_file,
    fsync_directory,
    names_in,
    open_to_read,
    publish,
    reading_at,
)
from preservation.ledger.head import Head, head_at_seal
from preservation.ledger.layout import CHECKPOINTS, HOT, SEGMENTS, SUBJECTS_FOLDER, hot_first
from preservation.ledger.sealed import Segment, file_sha256, finished_ranges, hot_path, keep_cache, segment_path
from preservation.ledger.segments import columns_of, read_rows, write_rows
from preservation.ledger.subjects import keep_indexes
from preservation.ledger.wal import batches
from storage_backends.errors import Phrase


def seal(root: str, head: Head) -> Head:
    """Seal all of the hot file and begin the next one; return the head of the new log's end. Under the lock.

    Raises:
        LedgerWriteError: The segment could not be written, or did not read back as written; the hot file is as it was,
        but only opening the ledger again tells how far the sealing came.
    """
    first, end = head.hot_first, head.size
    path = segment_path(root, first, end)
    temporary = path + TEMPORARY
    previous = head.segments[-1].last_leaf if head.segments else head.marks[0].previous
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        write_rows(temporary, _hot_records(root, first, previous, head.offset))
        publish(temporary, path)
        reason = differs(root, first, end, previous)
        if reason is not None:
            os.unlink(path)
            fsync_directory(os.path.dirname(path))
            raise LedgerWriteError(place=path, reason=reason)
        segment = Segment(first, end, os.stat(path).st_size, file_sha256(path), head.last_leaf, head.frontier)
        sealed = begin_hot_file(root, (*head.segments, segment))
        keep_indexes(root, sealed.segments)
        return sealed
    except OSError as error:
        raise LedgerWriteError(place=path, reason=error.strerror) from error


def begin_hot_file(root: str, segments: tuple[Segment, ...]) -> Head:
    """Begin the hot file after the last of ``segments``, and remember them."""
    head = head_at_seal(segments)
    create_file(hot_path(root, head.hot_first), b"")
    keep_cache(root, segments)
    return head


def sealed_hot_files(root: str, head: Head) -> list[int]:
    """Return with which events the hot files begin that are sealed and not dropped yet."""
    firsts = (hot_first(name) for name in names_in(os.path.join(root, HOT)))
    return sorted(first for first in firsts if first is not None and first < head.hot_first)


def drop_sealed(root: str, head: Head) -> int:
    """Remove the hot files whose segments hold exactly the same; return how many. Under the lock.

    Raises:
        LedgerDamagedError: A segment differs from its hot file, or there is a hot file without one; it is kept.
    """
    dropped = 0
    for first in sealed_hot_files(root, head):
        index = next((number for number, segment in enumerate(head.segments) if segment.first == first), None)
        if index is None:
            raise LedgerDamagedError(place=hot_path(root, first), seq=first, reason="no segment begins with its event")
        previous = head.segments[index - 1].last_leaf if index else head_at_seal(()).last_leaf
        reason = differs(root, first, head.segments[index].end, previous)
        if reason is not None:
            raise LedgerDamagedError(place=hot_path(root, first), seq=first, reason=reason)
        os.unlink(hot_path(root, first))
        dropped += 1
    if dropped:
        fsync_directory(os.path.join(root, HOT))
    return dropped


def clear_unfinished(root: str) -> None:
    """Remove what a crash left half-done: files half-written, a segment that no hot file follows. Under the lock.

    The hot file of such a segment must have been read to its end before.
    """
    _, unfinished = finished_ranges(root)
    if unfinished is not None:
        os.unlink(os.path.join(root, SEGMENTS, unfinished))
        fsync_directory(os.path.join(root, SEGMENTS))
    for folder in (SEGMENTS, HOT, CHECKPOINTS, SUBJECTS_FOLDER):
        for name in names_in(os.path.join(root, folder)):
            if name.endswith(TEMPORARY):
                os.unlink(os.path.join(root, folder, name))


def closed_event(segment: Segment, agent: str) -> Event:
    """Return the event that says which file holds a segment; it is the first event after the segment."""
    detail: dict[str, Json] = {
        "bytes": segment.size,
        "end": segment.end,
        "first": segment.first,
        "sha256": segment.sha256,
    }
    return Event(type=EventType.SEGMENT_CLOSED, detail=detail, agent=agent)


def differs(root: str, first: int, end: int, previous: bytes) -> str | None:
    """Compare a segment, every record and typed column of it, with its hot file; return what differs, None if nothing.

    Raises:
        LedgerDamagedError: The hot file itself is damaged.
    """
    path = hot_path(root, first)
    size = os.stat(path).st_size
    hot = _hot_records(root, first, previous, size)
    expected = first
    try:
        for rows in read_rows(segment_path(root, first, end), columns=True):
            records = list(islice(hot, len(rows.records)))
            if [record.data for record in records] != rows.records or columns_of(records) != rows.columns:
                return Phrase("the segment differs from the hot file after event {event}", event=expected)
            expected += len(records)
    except LedgerUnreadableError as error:
        return str(error)
    if expected != end or next(hot, None) is not None:
        count = expected - first
        return Phrase(
            "the segment has {count} of the events {first} to {end} that the hot file has",
            count=count,
            first=first,
            end=end,
        )
    return None


def _hot_records(root: str, first: int, previous: bytes, size: int) -> Iterator[Record]:
    path = hot_path(root, first)
    with open_to_read(path) as file:
        read_at = reading_at(file.fileno(), path)
        for batch in batches(read_at, 0, size, seq=first, previous=previous, place=path):
            for frame in batch.frames:
                yield parse_record(frame.record)
