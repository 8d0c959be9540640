"""Sealed segments looked at from outside: what their columns say without reading a record; writes tables as Parquet.

The second door to pyarrow. Columns are only used to pass over what cannot be meant; what is told is taken from records.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from preservation.ledger.errors import LedgerUnreadableError

ROWS_AT_ONCE = 8_192
"""Rows of a table in memory while it is written."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What the columns of a segment say: the earliest and the latest time, how many events of which type."""

    earliest: datetime | None
    latest: datetime | None


def glance(path: str) -> Glance:
    """Return between which times the events of a segment were recorded; None where its statistics do not say.

    Raises:
        LedgerUnreadableError: It cannot be read.
    """
    import pyarrow as pa  # noqa: PLC0415 - a repository without segments does without it
    from pyarrow import parquet  # noqa: PLC0415 - the same

    try:
        metadata = parquet.read_metadata(path)
        column = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).name == "event_datetime")
        times = [metadata.row_group(number).column(column).statistics for number in range(metadata.num_row_groups)]
        if not times or any(one is None or not one.has_min_max for one in times):
            return Glance(None, None)
        return Glance(_aware(min(one.min for one in times)), _aware(max(one.max for one in times)))
    except StopIteration as error:
        raise LedgerUnreadableError(place=path, reason="its columns are not those of a segment") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LedgerUnreadableError(place=path, reason=f"{type(error).__name__}: {str(error)[:200]}") from error


def kinds(path: str) -> tuple[Counter[str], dict[str, datetime], set[str]]:
    """Return, for a segment, how many events of which type there are, when the last of each was, and the agents."""
    import pyarrow as pa  # noqa: PLC0415 - a repository without segments does without it
    from pyarrow import parquet  # noqa: PLC0415 - the same

    columns = ["event_type", "event_datetime", "agent"]
    try:
        table = parquet.read_table(path, columns=columns, use_threads=False)
        grouped = table.group_by("event_type").aggregate([("event_datetime", "max"), ("event_datetime", "count")])
        found = grouped.to_pylist()
        agents = set(table.column("agent").unique().to_pylist())
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise LedgerUnreadableError(place=path, reason=f"{type(error).__name__}: {str(error)[:200]}") from error
    counts = Counter({one["event_type"]: one["event_datetime_count"] for one in found})
    return counts, {one["event_type"]: _aware(one["event_datetime_max"]) for one in found}, agents


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def write_parquet(path: str, columns: Sequence[tuple[str, type]], lines: Iterable[Sequence[object]]) -> None:
    """Write a table of text, whole numbers and fractions to a new file, a part at a time in memory.

    Raises:
        OSError: As for any file; what was written remains.
    """
    import pyarrow as pa  # noqa: PLC0415 - a report is often looked at without its tables
    from pyarrow import parquet  # noqa: PLC0415 - the same

    types: dict[type, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in columns])
    with (
        open(path, "xb") as file,
        parquet.ParquetWriter(file, schema, compression="zstd", store_schema=False) as writer,
    ):
        for part in _parts(lines):
            arrays = [
                pa.array([_value(line[place]) for line in part], field.type) for place, field in enumerate(schema)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _value(value: object) -> object:
    """Return a value as Parquet can hold it: half surrogates, which come from names that are not UTF-8, are escaped."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _parts(lines: Iterable[Sequence[object]]) -> Iterator[list[Sequence[object]]]:
    rest = iter(lines)
    while part := list(islice(rest, ROWS_AT_ONCE)):
        yield part
