"""Finds the events about something without reading the whole ledger."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from preservation.ledger.errors import LedgerDamagedError, RecordError
from preservation.ledger.events import Record, parse_record
from preservation.ledger.log import Ledger
from preservation.ledger.sealed import Segment
from preservation.ledger.segments import SUBJECTS, matching_rows, rows_at
from preservation.ledger.subjects import INDEXED, rows_about

_READERS = 4


def events_about(ledger: Ledger, wanted: Mapping[str, Collection[str]], start: int = 0) -> Iterator[Record]:
    """Yield the events from number ``start`` on whose detail has one of the ``wanted`` values, in order.

    The names are those of ``SUBJECTS``. Packs and packages are looked up; for stores and runs one column is read.

    Raises:
        LedgerDamagedError, LedgerUnreadableError: A record cannot be read; those before it were yielded.
    """
    assert set(wanted) <= set(SUBJECTS)
    segments = [segment for segment in ledger.segments if segment.end > start]
    for seq, data in chain(_sealed(ledger, segments, wanted), _hot(ledger, wanted, max(start, ledger.sealed_size))):
        try:
            record = parse_record(data)
        except RecordError as error:
            raise LedgerDamagedError(place=ledger.path, seq=seq, reason=str(error)) from error
        if record.seq >= start and any(record.event.detail.get(name) in values for name, values in wanted.items()):
            yield record


def _sealed(
    ledger: Ledger, segments: Sequence[Segment], wanted: Mapping[str, Collection[str]]
) -> Iterator[tuple[int, bytes]]:
    """Yield the sealed records among which those about ``wanted`` are, with the first number of their segment."""
    if not set(wanted) <= set(INDEXED):
        for segment in segments:
            for data in matching_rows(ledger.segment_file(segment), wanted):
                yield segment.first, data
        return
    values = [value for several in wanted.values() for value in several]
    with ThreadPoolExecutor(_READERS) as pool:  # most of the time goes into decompression, which threads share
        pending: deque[tuple[int, Future[list[bytes]]]] = deque()
        for segment in segments:
            pending.append((segment.first, pool.submit(_looked_up, ledger, segment, wanted, values)))
            if len(pending) > _READERS:
                first, found = pending.popleft()
                yield from ((first, data) for data in found.result())
        for first, found in pending:
            yield from ((first, data) for data in found.result())


def _looked_up(
    ledger: Ledger, segment: Segment, wanted: Mapping[str, Collection[str]], values: Sequence[str]
) -> list[bytes]:
    path = ledger.segment_file(segment)
    rows = rows_about(ledger.path, segment, values)
    return list(rows_at(path, rows) if rows is not None else matching_rows(path, wanted))


def _hot(ledger: Ledger, wanted: Mapping[str, Collection[str]], start: int) -> Iterator[tuple[int, bytes]]:
    marks = [value.encode() for values in wanted.values() for value in values]
    for seq, data in enumerate(ledger.raw_records(start), start):
        if any(mark in data for mark in marks):
            yield seq, data
