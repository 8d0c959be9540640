"""Parts: results for each of many files, too many for the ledger, as Parquet; a door to pyarrow.

An event names its parts by digest, and every store has them, as it has the evidence::

    ledger/parts/<blake3>.parquet

Whoever records an event with ``parts=[part.to_json() for part in ...]`` in its detail has done all that is to be done:
the catalog lists them from then on, the stores are given them, and a rebuild brings them back. Parts hold identifiers,
digests, codes and counts, as the ledger does, because they are as hard to take back as the event that names them.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PartRow
from preservation.fixity import CHUNK, Measuring, blake3_hex
from preservation.ledger.files import fsync_directory
from preservation.packing import put_item
from preservation.repository import Repository
from preservation.sidecars import Sidecars
from storage_backends.backend import StorageBackend
from storage_backends.errors import KeyMissingError, MocbanError, ReadFailureError, StorageError, marked
from storage_backends.tape.drive import CartridgeShelvedError

ROWS_IN_PART = 131_072
"""A part ends after so many rows, so that its bytes fit into memory wherever they are sent."""

ROWS_IN_GROUP = 8_192
"""Rows in memory while a part is written or read."""

LARGEST = 256 << 20
"""The largest part that is read, in bytes."""

PREFIX = "ledger/parts"

Value = str | int | float | bool | None
Columns = Sequence[tuple[str, type]]
"""Names and types (``str``, ``int``, ``float``, ``bool``); any value may be None."""

_UNNAMED_SECONDS = 86_400.0

_KEY = re.compile(r"ledger/parts/[0-9a-f]{64}\.parquet")


class PartMissingError(MocbanError):
    """A part that the ledger names is not here, or is not what the ledger says."""

    template = marked(
        "{place}: results that the ledger names are missing or damaged; 'mocban rebuild' brings them back"
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it is about (a word), its digest, its size in bytes, its rows."""

    kind: str
    blake3: str
    size: int
    rows: int

    def to_json(self) -> dict[str, str | int]:
        """Return what stands in the event."""
        return {"blake3": self.blake3, "kind": self.kind, "rows": self.rows, "size": self.size}


def part_name(digest: str) -> str:
    """Return the name of a part among the sidecars; below ``ledger/`` it is the same on a store."""
    return f"parts/{digest}.parquet"


def is_part(key: str) -> bool:
    """Tell whether a key on a store has the form of a part."""
    return _KEY.fullmatch(key) is not None


def write_parts(repository: Repository, kind: str, columns: Columns, lines: Iterable[Sequence[Value]]) -> list[Part]:
    """Write rows as parts, a group at a time in memory, durably; no rows make no part.

    The caller records the event that names them. Until then they are nobody's and may be removed.

    Raises:
        OSError: there is no room, or no permission.
    """
    folder = repository.sidecars.path("parts")
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        fsync_directory(os.path.dirname(folder))
    made = []
    rest = iter(lines)
    while (first := next(rest, None)) is not None:
        temporary = os.path.join(folder, f".{repository.new_id()}.tmp")
        try:
            count = _write(temporary, kind, columns, _headed(first, islice(rest, ROWS_IN_PART - 1)))
            measuring = Measuring()
            with open(temporary, "rb") as file:
                while data := file.read(CHUNK):
                    measuring.update(data)
            fixity = measuring.fixity()
            os.rename(temporary, repository.sidecars.path(part_name(fixity.blake3)))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        made.append(Part(kind, fixity.blake3, fixity.size, count))
    fsync_directory(folder)
    return made


def _headed(first: Sequence[Value], rest: Iterator[Sequence[Value]]) -> Iterator[Sequence[Value]]:
    yield first
    yield from rest


def _write(path: str, kind: str, columns: Columns, lines: Iterator[Sequence[Value]]) -> int:
    import pyarrow as pa  # noqa: PLC0415 - most commands do without it
    from pyarrow import parquet  # noqa: PLC0415 - the same

    types: dict[type, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    fields = [pa.field(name, types[of]) for name, of in columns]
    schema = pa.schema(fields, metadata={"mocban": "part", "kind": kind})
    count = 0
    with open(path, "xb") as file:
        with parquet.ParquetWriter(
            file, schema, compression="zstd", store_schema=False, write_page_checksum=True
        ) as writer:
            while group := list(islice(lines, ROWS_IN_GROUP)):
                arrays = [pa.array([line[at] for line in group], field.type) for at, field in enumerate(fields)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=len(group))
                count += len(group)
        file.flush()
        os.fsync(file.fileno())
    return count


def read_part(
    sidecars: Sidecars, digest: str, columns: Columns, *, only: tuple[str, str] | None = None
) -> Iterator[tuple[Value, ...]]:
    """Yield the rows of a part, a group at a time in memory, in the order of ``columns``.

    ``only`` (column, value) says that rows with another value are not wanted: groups that hold none are not read.

    Raises:
        PartMissingError: it is not here, does not measure as its name says, or has other columns.
    """
    with open_part(sidecars, digest, columns) as part:
        for group in range(part.groups):
            if only is None or part.may_hold(group, *only):
                at = None if only is None else [name for name, _ in columns].index(only[0])
                for row in part.rows(group):
                    if only is None or at is None or row[at] == only[1]:
                        yield row


class OpenPart:
    """A part that was measured and is open to be read by groups of rows."""

    def __init__(self, path: str, file: Any, columns: Columns) -> None:
        self._path, self._file, self._columns = path, file, columns
        self._places = {file.schema_arrow.names[at]: at for at in range(len(file.schema_arrow.names))}
        if any(name not in self._places for name, _ in columns):
            raise PartMissingError(place=path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def groups(self) -> int:
        """How many groups of rows it has."""
        return int(self._file.num_row_groups)

    def between(self, group: int, column: str) -> tuple[str, str]:
        """Return the least and the greatest value of a text column in a group, or what lies beyond them."""
        statistics = self._file.metadata.row_group(group).column(self._places[column]).statistics
        if statistics is None or not statistics.has_min_max:
            return "", "\U0010ffff"
        return statistics.min, statistics.max

    def may_hold(self, group: int, column: str, value: str) -> bool:
        """Tell whether a group can hold a row in which a text column has this value."""
        least, greatest = self.between(group, column)
        return least <= value <= greatest

    def rows(self, group: int) -> list[tuple[Value, ...]]:
        """Return the rows of a group; raises ``PartMissingError``."""
        import pyarrow as pa  # noqa: PLC0415 - as above

        try:
            if self._file.metadata.row_group(group).num_rows > ROWS_IN_GROUP:
                raise PartMissingError(place=self._path)
            names = [name for name, _ in self._columns]
            table = self._file.read_row_group(group, columns=names, use_threads=False)
            return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise PartMissingError(place=self._path) from error


def open_part(sidecars: Sidecars, digest: str, columns: Columns) -> OpenPart:
    """Measure a part and open it.

    Raises:
        PartMissingError: it is not here, does not measure as its name says, or has other columns.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import parquet  # noqa: PLC0415 - the same

    path = sidecars.path(part_name(digest))
    try:
        if not is_here(sidecars, digest):
            raise PartMissingError(place=path)
        file = parquet.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PartMissingError(place=path) from error
    try:
        return OpenPart(path, file, columns)
    except PartMissingError:
        file.close()
        raise


def is_here(sidecars: Sidecars, digest: str) -> bool:
    """Tell whether a part lies in the repository and measures as its name says."""
    measuring = Measuring()
    try:
        with open(sidecars.path(part_name(digest)), "rb") as file:
            while data := file.read(CHUNK):
                measuring.update(data)
                if measuring.size > LARGEST:
                    return False
    except OSError:
        return False
    return measuring.fixity().blake3 == digest


def bring(repository: Repository, view: View, backend: StorageBackend) -> None:
    """Give a store the parts that it lacks; an audit reads what is there.

    Raises:
        StorageError: the store could not take them.
    """
    known = [row for row in rows.every(view, PartRow) if is_part(f"ledger/{part_name(row.blake3)}")]
    if not known:
        return
    there = {item.key: item.size for item in backend.items(PREFIX)}
    for row in known:
        key = f"ledger/{part_name(row.blake3)}"
        data = repository.sidecars.read(part_name(row.blake3), row.blake3) if there.get(key) != row.size else None
        if data is not None:
            put_item(backend, key, data)


def wrong(
    repository: Repository, known: Iterable[PartRow], backend: StorageBackend
) -> Iterator[tuple[str, bytes | None]]:
    """Yield the key of every part that is missing or wrong on a store, with its right bytes if they are here.

    Raises:
        StorageError: the store could not be looked at.
    """
    for row in known:
        key = f"ledger/{part_name(row.blake3)}"
        if not is_part(key):
            continue
        with suppress(CartridgeShelvedError):  # nobody can look at it now
            found = _content(backend, key)
            if found is None or blake3_hex(found) != row.blake3:
                yield key, repository.sidecars.read(part_name(row.blake3), row.blake3)


def fetch(repository: Repository, view: View, backends: Sequence[StorageBackend]) -> int:
    """Bring from the stores what is missing or wrong here; return how much came."""
    fetched = 0
    for row in rows.every(view, PartRow):
        key = f"ledger/{part_name(row.blake3)}"
        if not is_part(key) or is_here(repository.sidecars, row.blake3):
            continue
        for backend in backends:
            with suppress(StorageError):
                data = _content(backend, key)
                if data is not None and blake3_hex(data) == row.blake3:
                    repository.sidecars.keep(part_name(row.blake3), data)
                    fetched += 1
                    break
    return fetched


def clear_unnamed(repository: Repository, view: View) -> int:
    """Remove what a process left that was killed before its event; return how many files that were.

    Only what is a day old: somebody may be about to name the others.
    """
    folder = repository.sidecars.path("parts")
    named = {f"{row.blake3}.parquet" for row in rows.every(view, PartRow)}
    before = repository.world.now().timestamp() - _UNNAMED_SECONDS
    removed = 0
    with suppress(FileNotFoundError):
        for name in set(os.listdir(folder)) - named:
            path = os.path.join(folder, name)
            with suppress(OSError):
                if os.stat(path).st_mtime < before:
                    os.unlink(path)
                    removed += 1
    return removed


def _content(backend: StorageBackend, key: str) -> bytes | None:
    data = bytearray()
    try:
        with backend.read(key, fresh=True) as reader:
            while len(data) <= LARGEST and (piece := reader.read(min(CHUNK, LARGEST + 1 - len(data)))):
                data += piece
    except (KeyMissingError, ReadFailureError):
        return None
    return bytes(data)
