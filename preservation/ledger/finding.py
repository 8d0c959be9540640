"""Finds the events about something without reading the whole ledger."""

from collections.abc import Collection, Iterator, Mapping

from preservation.ledger.errors import LedgerDamagedError, RecordError
from preservation.ledger.events import Record, parse_record
from preservation.ledger.log import Ledger
from preservation.ledger.sealed import Segment
from preservation.ledger.segments import SUBJECTS, matching_rows, rows_at
from preservation.ledger.subjects import INDEXED, rows_about


def events_about(ledger: Ledger, wanted: Mapping[str, Collection[str]], start: int = 0) -> Iterator[Record]:
    """Yield the events from number ``start`` on whose detail has one of the ``wanted`` values, in order.

    The names are those of ``SUBJECTS``. Packs and packages are looked up; for stores and runs one column is read.

    Raises:
        LedgerDamagedError, LedgerUnreadableError: A record cannot be read; those before it were yielded.
    """
    assert set(wanted) <= set(SUBJECTS)
    for segment in ledger.segments:
        if segment.end > start:
            for data in _candidates(ledger, segment, wanted):
                record = _parsed(ledger.path, segment.first, data)
                if record.seq >= start and _is_about(record, wanted):
                    yield record
    marks = [value.encode() for values in wanted.values() for value in values]
    hot = max(start, ledger.sealed_size)
    for seq, data in enumerate(ledger.raw_records(hot), hot):
        if any(mark in data for mark in marks):
            record = _parsed(ledger.path, seq, data)
            if _is_about(record, wanted):
                yield record


def _candidates(ledger: Ledger, segment: Segment, wanted: Mapping[str, Collection[str]]) -> Iterator[bytes]:
    """Yield the records of a segment among which those about ``wanted`` are, in order."""
    path = ledger.segment_file(segment)
    if set(wanted) <= set(INDEXED):
        rows = rows_about(ledger.path, segment, [value for values in wanted.values() for value in values])
        if rows is not None:
            yield from rows_at(path, rows)
            return
    yield from matching_rows(path, wanted)


def _parsed(path: str, seq: int, data: bytes) -> Record:
    try:
        return parse_record(data)
    except RecordError as error:
        raise LedgerDamagedError(place=path, seq=seq, reason=str(error)) from error


def _is_about(record: Record, wanted: Mapping[str, Collection[str]]) -> bool:
    return any(record.event.detail.get(name) in values for name, values in wanted.items())
