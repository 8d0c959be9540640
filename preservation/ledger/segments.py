"""Sealed segments: records in Parquet, each kept verbatim beside typed columns; the one door to pyarrow.

The file has one row an event: ``record`` is the leaf of the tree, every other column is taken from it and checked
against it, so that DuckDB can ask questions and no verifier has to write JSON again.
"""

import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from preservation.ledger.errors import LedgerUnreadableError, RecordError
from preservation.ledger.events import Record
from preservation.ledger.layout import FORMAT
from preservation.ledger.shapes import Shapes
from storage_backends.errors import Phrase

GROUP_ROWS = 4096
GROUP_BYTES = 16 << 20
"""A row group ends after this many rows or bytes of records."""

GROUP_LIMIT = 256 << 20
"""The largest row group that is read, in bytes."""

SUBJECTS = ("pack", "store", "package", "run")
"""Members of an event's detail that have a column of their own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = ("seq", "event_id", "event_type", "event_datetime", "outcome", "fonds", "agent", *SUBJECTS)
_DICTIONARIES = ["event_type", "outcome", "fonds", "agent", *SUBJECTS]
_COMPRESSION_LEVEL = 1
"""Higher levels look for repetitions, and make hexadecimal digits larger (153 bytes an event instead of 140)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One row group: the records, and the typed columns if they were asked for (times as microseconds since 1970).

    ``agree`` says that every record is canonical and that every column equals it; the columns are left out then.
    """

    seqs: list[int]
    records: list[bytes]
    columns: dict[str, list[object]]
    agree: bool = False


def write_rows(path: str, records: Iterable[Record]) -> None:
    """Write a new Parquet file of ``records`` and flush it; the caller gives it its name.

    Raises:
        OSError: As for any file; the half-written file remains.
    """
    import pyarrow as pa  # noqa: PLC0415 - appending and reading the hot part must start without it
    from pyarrow import parquet  # noqa: PLC0415 - the same

    with open(path, "xb") as file:
        with parquet.ParquetWriter(
            file,
            _schema(pa),
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=_DICTIONARIES,
            column_encoding={"seq": "DELTA_BINARY_PACKED", "event_datetime": "DELTA_BINARY_PACKED"},
            write_statistics=["seq", "event_datetime", "event_type", "outcome", "fonds", *SUBJECTS],
            write_page_checksum=True,
            store_schema=False,
        ) as writer:
            for group in _grouped(records):
                writer.write_table(_table(pa, group), row_group_size=len(group))
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: str, *, start: int = 0, columns: bool = False, shapes: Shapes | None = None) -> Iterator[Rows]:
    """Yield the row groups from the one that holds event ``start`` on, one at a time in memory.

    With ``columns`` and ``shapes``, records and columns are compared here, and the columns are given only if something
    is wrong with them or with the records.

    Raises:
        LedgerUnreadableError: The file cannot be read or is not one that ``write_rows`` writes.
    """
    import pyarrow as pa  # noqa: PLC0415 - appending and reading the hot part must start without it
    from pyarrow import parquet  # noqa: PLC0415 - the same

    names = [*_COLUMNS, "record"] if columns else ["seq", "record"]
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _check_schema(pa, path, file)
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                _check_group(path, number, group)
                statistics = group.column(0).statistics
                if statistics is not None and statistics.has_min_max and statistics.max < start:
                    continue
                table = file.read_row_group(number, columns=names, use_threads=False)
                yield _rows(pa, table, columns=columns, shapes=shapes)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise LedgerUnreadableError(place=path, reason=f"{type(error).__name__}: {str(error)[:200]}") from error


def named_rows(path: str, columns: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each value of text ``columns`` with its row, from 0 on, a row group at a time; raises as above."""
    for start, table in _tables(path, columns):
        for name in columns:
            for row, value in enumerate(table.column(name).to_pylist(), start):
                if value is not None:
                    yield row, value


def rows_at(path: str, rows: Sequence[int]) -> Iterator[bytes]:
    """Yield the records in ``rows`` (ascending, from 0 on), reading only what row groups hold one; raises as above."""
    at = 0
    for start, table in _tables(path, ["record"], rows) if rows else ():
        column = table.column("record")
        while at < len(rows) and rows[at] < start + len(column):
            yield column[rows[at] - start].as_py().encode()
            at += 1


def matching_rows(path: str, wanted: Mapping[str, Collection[str]]) -> Iterator[bytes]:
    """Yield the records of which a text column has one of the ``wanted`` values, in order.

    What the statistics of a row group exclude is not read.

    Raises:
        LedgerUnreadableError: As ``read_rows``.
    """
    rows: list[int] = []
    for start, table in _tables(path, list(wanted), wanted=wanted):
        rows += [start + row for row in _matching(table, wanted)]
    yield from rows_at(path, rows)


def _matching(table: Any, wanted: Mapping[str, Collection[str]]) -> list[int]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import compute  # noqa: PLC0415 - as above

    rows: set[int] = set()
    for name, values in wanted.items():
        is_wanted = compute.is_in(table.column(name), pa.array(list(values), pa.string()))
        rows.update(compute.indices_nonzero(is_wanted).to_pylist())
    return sorted(rows)


def _tables(
    path: str,
    columns: Sequence[str],
    rows: Sequence[int] | None = None,
    *,
    wanted: Mapping[str, Collection[str]] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield some columns of each row group, with its first row.

    Only those that hold one of ``rows`` (ascending), or can hold a ``wanted`` value, if these are given.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import parquet  # noqa: PLC0415 - as above

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _check_schema(pa, path, file)
            start = 0
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                _check_group(path, number, group)
                end = start + group.num_rows
                has_row = rows is None or bisect_left(rows, start) < bisect_left(rows, end)
                if has_row and (wanted is None or _can_hold(group, wanted)):
                    yield start, file.read_row_group(number, columns=list(columns), use_threads=False)
                start = end
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise LedgerUnreadableError(place=path, reason=f"{type(error).__name__}: {str(error)[:200]}") from error


def _can_hold(group: Any, wanted: Mapping[str, Collection[str]]) -> bool:
    for number in range(group.num_columns):
        column = group.column(number)
        values = wanted.get(column.path_in_schema)
        found = column.statistics if values is not None else None
        if values and (
            found is None or not found.has_min_max or any(found.min <= value <= found.max for value in values)
        ):
            return True
    return False


def _check_schema(pa: Any, path: str, file: Any) -> None:
    if not file.schema_arrow.equals(_schema(pa)):
        raise LedgerUnreadableError(place=path, reason="its columns are not those of a segment")


def _check_group(path: str, number: int, group: Any) -> None:
    if group.num_rows > GROUP_ROWS or group.total_byte_size > GROUP_LIMIT:
        raise LedgerUnreadableError(place=path, reason=Phrase("row group {number} is too large", number=number))


def columns_of(records: list[Record]) -> dict[str, list[object]]:
    """Return what the typed columns of ``records`` must hold, as ``read_rows`` gives it."""
    columns: dict[str, list[object]] = {
        "seq": [record.seq for record in records],
        "event_id": [record.event_id for record in records],
        "event_type": [str(record.event.type) for record in records],
        "event_datetime": [(record.time - _EPOCH) // _MICROSECOND for record in records],
        "outcome": [str(record.event.outcome) for record in records],
        "fonds": [record.event.fonds for record in records],
        "agent": [record.event.agent for record in records],
    }
    for subject in SUBJECTS:
        columns[subject] = [_text(record.event.detail.get(subject)) for record in records]
    return columns


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _grouped(records: Iterable[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.data)
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _schema(pa: Any) -> Any:
    return pa.schema(
        [
            pa.field("seq", pa.uint64(), nullable=False),
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("event_type", pa.string(), nullable=False),
            pa.field("event_datetime", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("outcome", pa.string(), nullable=False),
            pa.field("fonds", pa.string()),
            pa.field("agent", pa.string(), nullable=False),
            *(pa.field(subject, pa.string()) for subject in SUBJECTS),
            pa.field("record", pa.string(), nullable=False),
        ],
        metadata={"mocban": "ledger segment", "format": str(FORMAT)},
    )


def _table(pa: Any, records: list[Record]) -> Any:
    columns: dict[str, list[Any]] = columns_of(records)
    columns["record"] = [record.data.decode() for record in records]
    schema = _schema(pa)
    return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _rows(pa: Any, table: Any, *, columns: bool, shapes: Shapes | None) -> Rows:
    seqs = table.column("seq").to_pylist()
    records = table.column("record").cast(pa.binary()).to_pylist()
    if columns and shapes is not None and _agree(pa, table, records, shapes):
        return Rows(seqs, records, {}, agree=True)
    typed: dict[str, list[object]] = {}
    if columns:
        for name in _COLUMNS:
            column = table.column(name)
            typed[name] = (column.cast(pa.int64()) if name == "event_datetime" else column).to_pylist()
    return Rows(seqs, records, typed)


def _agree(pa: Any, table: Any, records: list[bytes], shapes: Shapes) -> bool:
    """Tell whether every record is canonical and every column equals it; what is wrong is found out otherwise."""
    try:
        alike, others = shapes.sort(records)
    except RecordError:
        return False
    texts = {name: _text_column(pa, table, name) for name in _COLUMNS}
    for group in alike:
        shape, count = group.shape, len(group.places)
        places = None if count == len(records) else pa.array(group.places, pa.int64())
        found = dict(zip(shape.names, zip(*group.texts, strict=True), strict=True))
        constants: dict[str, bytes] = {"event_type": shape.kind.encode(), "outcome": shape.outcome.encode()}
        for name, column in texts.items():
            actual = column if places is None else column.take(places)
            if name in constants:
                expected = pa.repeat(pa.scalar(constants[name], pa.binary()), count)
            elif name in found:
                expected = pa.array(found[name], pa.binary())
            else:
                expected = pa.nulls(count, pa.binary())
            if not actual.equals(expected):
                return False
    for place, record in others:
        for name, values in columns_of([record]).items():
            if _typed(pa, table.column(name)[place], name) != values[0]:
                return False
    return True


def _text_column(pa: Any, table: Any, name: str) -> Any:
    """Return a column as the text that stands in the records."""
    from pyarrow import compute  # noqa: PLC0415 - as above

    column = table.column(name).combine_chunks()
    if name == "seq":
        column = column.cast(pa.string())
    if name == "event_datetime":
        text = column.cast(pa.timestamp("us")).cast(pa.string())  # 2026-11-22 14:00:00.000000
        day, time = compute.utf8_slice_codeunits(text, 0, 10), compute.utf8_slice_codeunits(text, 11)
        column = compute.binary_join_element_wise(day, "T", time, "Z", "")
        # The last argument is the separator; a year of five digits gives a text that no record has.
    return column.cast(pa.binary())


def _typed(pa: Any, scalar: Any, name: str) -> object:
    return (scalar.cast(pa.int64()) if name == "event_datetime" else scalar).as_py()
