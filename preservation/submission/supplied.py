"""Digests that came with a submission, kept in a file in staging: a bag may list more files than memory holds.

An SQLite file serves: written once, read in byte order of the paths or by path, and thrown away with the staging.
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

from preservation.fixity import Hasher, new_blake3
from preservation.submission.entries import Entry, SubmittedFile, SuppliedDigest
from preservation.submission.errors import StagingError

BAG = 0
"""Where a digest comes from: the bag's manifests."""
LIST = 1
"""Where a digest comes from: a checksum list given beside the submission."""

Row = tuple[bytes, tuple[SuppliedDigest, ...]]


def algorithm_named(name: str) -> str | None:
    """Return the algorithm that a manifest's name means (``sha512``, ``SHA3-256``), or None if it is not known."""
    wanted = name.lower().replace("-", "").replace("_", "")
    for known in ("blake3", *sorted(hashlib.algorithms_available)):
        if known.lower().replace("-", "").replace("_", "") == wanted:
            try:
                return known if new_hasher(known).digest() else None
            except (ValueError, TypeError):  # an extendable output has no fixed length; OpenSSL may refuse old ones
                return None
    return None


def new_hasher(algorithm: str) -> Hasher:
    """Return a fresh hasher of an algorithm that ``algorithm_named`` or a checksum list gave."""
    return new_blake3() if algorithm == "blake3" else hashlib.new(algorithm, usedforsecurity=False)


class SuppliedDigests:
    """A table of (path, algorithm, digest); reading is safe from several threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._any = False
        with suppress(FileNotFoundError):
            os.unlink(path)
        try:
            self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._table.execute("PRAGMA journal_mode=OFF")
            self._table.execute("PRAGMA synchronous=OFF")
            self._table.execute("PRAGMA cache_size=-16384")
            self._table.execute("PRAGMA temp_store=MEMORY")
            self._table.execute(
                "CREATE TABLE listed (path BLOB, source INTEGER, algorithm TEXT, value TEXT, "
                "PRIMARY KEY (path, source, algorithm)) WITHOUT ROWID"
            )
            self._table.execute("BEGIN")
        except sqlite3.Error as error:
            raise StagingError(path=path, reason=str(error)) from error

    def add(self, path: bytes, digest: SuppliedDigest, source: int) -> str | None:
        """Take in a digest, unless there is one already for this path, algorithm and source: return that one."""
        self._any = True
        row = (path, source, digest.algorithm, digest.value)
        try:
            self._table.execute("INSERT INTO listed VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            found = self._table.execute(
                "SELECT value FROM listed WHERE path = ? AND source = ? AND algorithm = ?", row[:3]
            ).fetchone()
            return str(found[0])
        except sqlite3.Error as error:
            raise StagingError(path=self._path, reason=str(error)) from error
        return None

    def rename(self, old: bytes, new: bytes) -> None:
        """Let the bag's digests of ``old`` stand for ``new``."""
        self._table.execute("UPDATE listed SET path = ? WHERE path = ? AND source = ?", (new, old, BAG))

    def drop(self, path: bytes) -> None:
        """Forget the bag's digests of a path."""
        self._table.execute("DELETE FROM listed WHERE path = ? AND source = ?", (path, BAG))

    def of(self, path: bytes, source: int | None = None) -> tuple[SuppliedDigest, ...]:
        """Return the digests of a path, ordered by algorithm, each once."""
        if not self._any:
            return ()
        query = (
            "SELECT DISTINCT algorithm, value FROM listed WHERE path = ? AND source >= ? AND source <= ? ORDER BY 1, 2"
        )
        least, most = (BAG, LIST) if source is None else (source, source)
        with self._lock:
            rows = self._table.execute(query, (path, least, most)).fetchall()
        return tuple(SuppliedDigest(algorithm, value) for algorithm, value in rows)

    def rows(self, source: int | None = None) -> Iterator[Row]:
        """Yield (path, digests) in byte order of the paths; the table must not change meanwhile."""
        least, most = (BAG, LIST) if source is None else (source, source)
        cursor = self._table.execute(
            # in the order of the primary key, so that nothing has to be sorted
            "SELECT path, algorithm, value FROM listed WHERE source >= ? AND source <= ? "
            "ORDER BY path, source, algorithm",
            (least, most),
        )
        path, digests = b"", list[SuppliedDigest]()
        for next_path, algorithm, value in cursor:
            if next_path != path and digests:
                yield path, tuple(digests)
                digests = []
            path = next_path
            digest = SuppliedDigest(algorithm, value)
            if digest not in digests:
                digests.append(digest)
        if digests:
            yield path, tuple(digests)

    def close(self) -> None:
        """Remove the table."""
        self._table.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)


def joined(
    entries: Iterable[Entry], rows: Iterator[Row]
) -> Iterator[tuple[SubmittedFile | None, bytes, tuple[SuppliedDigest, ...]]]:
    """Yield, in byte order, every file and every listed path: (file or None, path, digests or none).

    Both come in byte order already, so that nothing has to be held in memory.
    """
    row = next(rows, None)
    for entry in entries:
        if not isinstance(entry, SubmittedFile):
            continue
        while row is not None and row[0] < entry.path:
            yield None, row[0], row[1]
            row = next(rows, None)
        if row is not None and row[0] == entry.path:
            yield entry, entry.path, row[1]
            row = next(rows, None)
        else:
            yield entry, entry.path, ()
    while row is not None:
        yield None, row[0], row[1]
        row = next(rows, None)
