"""The directory of a store's cartridges: which key lies on which cartridge, at which place; a cache, never the truth.

A small database (SQLite, of the standard library) in one file that can be thrown away: a pass over the cartridges makes
it again. Of a key that lies at several places the last one counts: cartridges are filled in the order of their numbers.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from storage_backends.errors import Phrase, StorageError, marked
from storage_backends.tape.cartridges import OPEN

PAGE = 1_000
"""Rows listed at a time."""

_VERSION = 1
_TABLES = """
CREATE TABLE cartridge (number INTEGER PRIMARY KEY, barcode TEXT NOT NULL UNIQUE, state TEXT NOT NULL);
CREATE TABLE tape_file (number INTEGER, file INTEGER, start INTEGER, records INTEGER NOT NULL,
                        PRIMARY KEY (number, file)) WITHOUT ROWID;
CREATE TABLE item (key BLOB PRIMARY KEY, number INTEGER NOT NULL, file INTEGER NOT NULL, place INTEGER NOT NULL,
                   size INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX item_place ON item (number, file, place);
"""

T = TypeVar("T")


class DirectoryError(StorageError):
    """The directory cannot be used; it can be removed and is then made again from the cartridges."""

    template = marked("{place}: the directory of the cartridges cannot be used: {reason}; remove it, it is made again")


@dataclass(frozen=True, slots=True)
class Cartridge:
    """One cartridge as the directory knows it."""

    number: int
    barcode: str
    state: str = OPEN


@dataclass(frozen=True, slots=True)
class TapeItem:
    """An item inside a tape file: its key, and where in the file's bytes it lies."""

    key: str
    place: int
    size: int


@dataclass(frozen=True, slots=True)
class TapeFile:
    """A tape file: its number, the block of its first record as the drive reported it, records, and what lies in it."""

    file: int
    start: int | None
    records: int
    items: tuple[TapeItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Location:
    """Where an item lies."""

    number: int
    barcode: str
    file: int
    start: int | None
    records: int
    place: int
    size: int

    @property
    def generation(self) -> str:
        """Places in the order in which they were written, as text of one length."""
        return f"{self.number:06d}-{self.file:08d}-{self.place:013d}"


@dataclass(slots=True)
class Directory:
    """An open directory; an empty path is one in memory. Safe for threads."""

    path: str
    writable: bool = False
    _connection: sqlite3.Connection = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Open it; one that can be written is made where there is none."""
        mode = "rwc" if self.writable else "ro"
        name = f"file:{quote(self.path)}?mode={mode}" if self.path else ":memory:"
        try:
            self._connection = sqlite3.connect(
                name, uri=bool(self.path), isolation_level=None, check_same_thread=False, timeout=30
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and (self.writable or not self.path):
                self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
            elif version != _VERSION:
                raise DirectoryError(place=self.path, reason=Phrase("it has version {version}", version=version))
        except sqlite3.Error as error:
            raise DirectoryError(place=self.path, reason=str(error)) from error

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def in_memory(self) -> "Directory":
        """Return a copy in memory, for those who may not write."""
        copy = Directory("")
        copy._connection.close()
        copy._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._do(lambda database: database.backup(copy._connection))
        return copy

    def cartridges(self) -> list[Cartridge]:
        """Return the cartridges in the order in which they are filled."""
        rows = self._rows("SELECT number, barcode, state FROM cartridge ORDER BY number")
        return [Cartridge(*row) for row in rows]

    def last_file(self, number: int) -> TapeFile | None:
        """Return the last tape file of a cartridge behind its label."""
        rows = self._rows(
            "SELECT file, start, records FROM tape_file WHERE number = ? ORDER BY file DESC LIMIT 1", number
        )
        return TapeFile(*rows[0]) if rows else None

    def find(self, key: str) -> Location | None:
        """Return where the item lies."""
        rows = self._rows(f"{_LOCATIONS} WHERE key = ?", key.encode())
        return _location(rows[0])[1] if rows else None

    def items(self, prefix: str) -> Iterator[tuple[str, Location]]:
        """Yield the items below whole segments of ``prefix``, in the order of their keys' bytes."""
        low = f"{prefix}/".encode() if prefix else b""
        high = f"{prefix}0".encode() if prefix else None  # "0" follows "/"
        last = low
        while True:
            rows = self._rows(
                f"{_LOCATIONS} WHERE key > ? AND (?2 IS NULL OR key < ?2) ORDER BY key LIMIT {PAGE}", last, high
            )
            for row in rows:
                yield _location(row)
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    def files(self, number: int) -> Iterator[TapeFile]:
        """Yield the tape files of a cartridge with what lies in them, in order."""
        last = -1
        while True:
            files = self._rows(
                "SELECT file, start, records FROM tape_file WHERE number = ? AND file > ? ORDER BY file LIMIT ?",
                number,
                last,
                PAGE,
            )
            for file, start, records in files:
                rows = self._rows(
                    "SELECT key, place, size FROM item WHERE number = ? AND file = ? ORDER BY place, key", number, file
                )
                yield TapeFile(file, start, records, tuple(TapeItem(row[0].decode(), *row[1:]) for row in rows))
            if len(files) < PAGE:
                return
            last = files[-1][0]

    def contents(self, number: int) -> Iterator[tuple[str, Location]]:
        """Yield what lies on a cartridge and counts, in the order of the tape."""
        last = (-1, -1)
        while True:
            query = (
                f"{_LOCATIONS} WHERE number = ? AND (item.file, place) > (?, ?) ORDER BY item.file, place LIMIT {PAGE}"
            )
            rows = self._rows(query, number, *last)
            for row in rows:
                yield _location(row)
            if len(rows) < PAGE:
                return
            last = (rows[-1][3], rows[-1][6])

    def used(self, number: int) -> tuple[int, int]:
        """Return how many tape files behind the label a cartridge has, and how many records in them."""
        rows = self._rows("SELECT COUNT(*), COALESCE(SUM(records), 0) FROM tape_file WHERE number = ?", number)
        return int(rows[0][0]), int(rows[0][1])

    def drop(self, number: int) -> None:
        """Forget a cartridge and what lies on it."""

        def whole(database: sqlite3.Connection) -> None:
            for table in ("item", "tape_file", "cartridge"):
                database.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - names of ours

        self._change(whole)

    def add_cartridge(self, cartridge: Cartridge, files: Iterable[TapeFile] = ()) -> None:
        """Note a cartridge with all that is on it, in one step."""

        def add(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT INTO cartridge VALUES (?, ?, ?)", (cartridge.number, cartridge.barcode, cartridge.state)
            )
            _add_files(database, cartridge.number, files)

        self._change(add)

    def add_files(self, number: int, files: Iterable[TapeFile]) -> None:
        """Note tape files that were committed, in one step."""
        self._change(lambda database: _add_files(database, number, files))

    def learn(self, listed: Iterable[tuple[str, TapeFile]]) -> None:
        """Take over what a list says (barcode, tape file) of files that are known and in which nothing is known."""

        def take(database: sqlite3.Connection) -> None:
            for barcode, file in listed:
                found = database.execute(
                    "SELECT number, start FROM tape_file JOIN cartridge USING (number) "
                    "WHERE barcode = ? AND file = ? AND records = ?",
                    (barcode, file.file, file.records),
                ).fetchone()
                if found is not None:
                    known = TapeFile(file.file, found[1], file.records, file.items)
                    _add_files(database, found[0], [known])

        self._change(take)

    def set_state(self, number: int, state: str) -> None:
        """Note the state of a cartridge."""
        self._change(
            lambda database: database.execute("UPDATE cartridge SET state = ? WHERE number = ?", (state, number))
        )

    def forget(self, key: str) -> None:
        """Forget where an item lies: what is there is not what it should be."""
        self._change(lambda database: database.execute("DELETE FROM item WHERE key = ?", (key.encode(),)))

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._do(lambda database: database.execute(query, values).fetchall())

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        def whole(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            try:
                change(database)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

        self._do(whole)

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return action(self._connection)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise DirectoryError(place=self.path or "memory", reason=str(error)) from error


_LOCATIONS = (
    "SELECT key, item.number, barcode, item.file, start, records, place, size FROM item "
    "JOIN tape_file USING (number, file) JOIN cartridge USING (number)"
)


def _location(row: tuple[Any, ...]) -> tuple[str, Location]:
    return row[0].decode(), Location(*row[1:])


def _add_files(database: sqlite3.Connection, number: int, files: Iterable[TapeFile]) -> None:
    for file in files:
        database.execute(
            "INSERT OR REPLACE INTO tape_file VALUES (?, ?, ?, ?)", (number, file.file, file.start, file.records)
        )
        for item in file.items:
            database.execute(
                "INSERT INTO item VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE "
                "SET number = ?2, file = ?3, place = ?4, size = ?5 WHERE (?2, ?3, ?4) >= (number, file, place)",
                (item.key.encode(), number, file.file, item.place, item.size),
            )


def is_there(path: str) -> bool:
    """Tell whether there is a directory."""
    return os.path.exists(path)
