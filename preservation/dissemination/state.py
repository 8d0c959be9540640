"""Which content an OCFL object has and under which names, in a table on disk: half a million names fit no memory."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby

from preservation.dissemination.errors import ExportFailedError


class States:
    """The contents of an OCFL object and the state of each of its versions."""

    def __init__(self, table: sqlite3.Connection) -> None:
        self._table = table

    def content(self, blake3: str) -> str | None:
        """Return the SHA-512 of a content that the object has already."""
        row = self._table.execute("SELECT sha512 FROM content WHERE blake3 = ?", (blake3,)).fetchone()
        return None if row is None else str(row[0])

    def is_any(self) -> bool:
        """Tell whether there is any content."""
        return self._table.execute("SELECT 1 FROM content LIMIT 1").fetchone() is not None

    def add_content(self, version: int, path: str, *, blake3: str, sha256: str, sha512: str) -> None:
        """Note a new content of ``version`` that lies at ``path``."""
        self._table.execute("INSERT INTO content VALUES (?, ?, ?, ?, ?)", (blake3, sha512, sha256, path, version))

    def add_name(self, version: int, sha512: str, name: str) -> None:
        """Note that ``version`` has a content under a logical path."""
        self._table.execute("INSERT INTO state VALUES (?, ?, ?)", (version, sha512, name))

    def manifest(self, last: int) -> Iterator[tuple[str, list[str]]]:
        """Yield each SHA-512 up to version ``last`` with its content paths."""
        return self._grouped("SELECT sha512, path FROM content WHERE version <= ? ORDER BY 1, 2", last)

    def sha256s(self, last: int) -> Iterator[tuple[str, list[str]]]:
        """Yield each SHA-256 up to version ``last`` with its content paths."""
        return self._grouped("SELECT sha256, path FROM content WHERE version <= ? ORDER BY 1, 2", last)

    def names(self, version: int) -> Iterator[tuple[str, list[str]]]:
        """Yield each SHA-512 of a version with its logical paths."""
        return self._grouped("SELECT sha512, name FROM state WHERE version = ? ORDER BY 1, 2", version)

    def _grouped(self, query: str, value: int) -> Iterator[tuple[str, list[str]]]:
        rows = self._table.execute(query, (value,))
        for digest, group in groupby(rows, key=lambda row: str(row[0])):
            yield digest, [str(row[1]) for row in group]


@contextmanager
def states(path: bytes) -> Iterator[States]:
    """Give an empty table at ``path``, where nothing is; it is removed at the end.

    Raises:
        ExportFailedError: the table could not be written.
    """
    try:
        with closing(sqlite3.connect(os.fsdecode(path), isolation_level=None)) as table:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16384"):
                table.execute(f"PRAGMA {pragma}")
            table.execute(
                "CREATE TABLE content (blake3 TEXT PRIMARY KEY, sha512 TEXT, sha256 TEXT, path TEXT, version INTEGER) "
                "WITHOUT ROWID"
            )
            table.execute(
                "CREATE TABLE state (version INTEGER, sha512 TEXT, name TEXT, PRIMARY KEY (version, sha512, name)) "
                "WITHOUT ROWID"
            )
            # Reading in the order of an index sorts nothing, so that no temporary files are needed elsewhere.
            table.execute("CREATE INDEX by_sha512 ON content (sha512, path, version)")
            table.execute("CREATE INDEX by_sha256 ON content (sha256, path, version)")
            table.execute("BEGIN")
            yield States(table)
    except sqlite3.Error as error:
        raise ExportFailedError(dest=os.fsdecode(path), reason=str(error)) from error
    os.unlink(path)
