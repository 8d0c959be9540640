"""The one door to RocksDB: each guard here answers a failure that was measured with rocksdb-py 0.0.6.

- An iterator that outlives its database aborts the process: only ``scan`` has one, and closing ends those left open.
- ``create_if_missing`` after a lost CURRENT file deletes the data: creating is explicit and refuses old files.
- Its errors may be ``BaseException``: everything is caught and translated.
- A handle is useless after ``fork``: refused.
- A read-only open while a writer opens or closes may report a false corruption or, worse, miss rows in the middle of
  what it shows: a lock on the folder keeps openings for reading and sessions of writing apart.
- A record of its MANIFEST whose length or type is wrong counts as the torn end of the file, and the rows of the files
  that it and later ones name are missing without a word: the chain of records must reach the end of the file.
"""

import contextlib
import fcntl
import glob
import itertools
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import rocksdbpy

from preservation.catalog.errors import CatalogBusyError, CatalogDamagedError, CatalogError

IDENTITY = b"!catalog"
OPENING_TRIES = 6
OPENING_PAUSE = 0.05
KEPT_LOGS = 3
BATCH = 50_000
_LOG_BLOCK = 32 << 10
_LOG_HEADER = struct.Struct("<IHB")
"""Of each piece of a record: checksum, length, type; RocksDB's log format, as LevelDB's ``log_format.md`` tells it."""

_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_FOLLOWS = {0: {_FULL, _FIRST}, _FULL: {_FULL, _FIRST}, _FIRST: {_MIDDLE, _LAST}, _MIDDLE: {_MIDDLE, _LAST}}
_FOLLOWS[_LAST] = _FOLLOWS[_FULL]
WRITE_BUFFER = 16 << 20

T = TypeVar("T")


def _translated(place: str, error: BaseException) -> CatalogError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "LOCK" in text or "lock hold" in text:
        return CatalogBusyError(place=place)
    # "Iterator completed?" is all that an iterator says of a damaged block.
    signs = ("Corruption", "Iterator completed", "checksum", "No such file", "does not exist", "Invalid argument")
    if any(sign in text for sign in signs):
        return CatalogDamagedError(place=place, reason=text)
    return CatalogError(place=place, reason=text)


def _guarded(place: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise _translated(place, error) from error


class Database:
    """An open RocksDB; only for use inside ``reading`` and ``writing``."""

    def __init__(self, place: str, handle: Any) -> None:
        self.place = place
        self._handle = handle
        self._owner = os.getpid()
        self._scans: list[Any] = []

    def _call(self, call: Callable[[Any], T]) -> T:
        handle = self._handle
        if handle is None or os.getpid() != self._owner:
            raise CatalogError(place=self.place, reason="used after it was closed or in another process")
        return _guarded(self.place, lambda: call(handle))

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``, if there is one."""
        value: bytes | None = self._call(lambda handle: handle.get(key))
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value or nothing for each key, in order."""
        values: list[bytes | None] = self._call(lambda handle: handle.multi_get(list(keys)))
        if len(values) != len(keys):
            raise CatalogDamagedError(place=self.place, reason="a lookup returned too few values")
        return values

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) whose key starts with ``prefix``, in key order."""
        entries = self._call(lambda handle: handle.iterator(mode="from", key=prefix))
        self._scans.append(entries)
        try:
            while True:
                if self._handle is None:
                    raise CatalogError(place=self.place, reason="a scan went on after it was closed")
                try:
                    key, value = next(entries)
                except StopIteration:
                    return
                except BaseException as error:
                    raise _translated(self.place, error) from error
                if not key.startswith(prefix):
                    return
                yield key, value
        finally:
            self._end(entries)

    def _end(self, entries: Any) -> None:
        if entries in self._scans:
            self._scans.remove(entries)
            entries.close()

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Put (or, for nothing, delete) all keys in one atomic step; visible to later openings, not yet durable."""
        batch = rocksdbpy.WriteBatch()
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.add(key, value)
        self._call(lambda handle: handle.write(batch))

    def flush(self) -> None:
        """Make everything written so far durable."""
        self._call(lambda handle: handle.flush())

    def close(self) -> None:
        """Close, and end every scan that somebody began and did not finish; harmless a second time."""
        handle, self._handle = self._handle, None
        for entries in self._scans[:]:
            self._end(entries)
        if handle is not None and os.getpid() == self._owner:
            _guarded(self.place, handle.close)


def _options() -> Any:
    option: Any = rocksdbpy.Option()  # its stub lacks most setters
    option.set_write_buffer_size(WRITE_BUFFER)
    option.set_max_open_files(-1)  # all files are opened at once: a reader survives a compaction beside it
    return option


def _check_files(path: str) -> None:
    if not os.path.isdir(path):
        raise CatalogDamagedError(place=path, reason="there is no catalog")
    if not os.path.exists(os.path.join(path, "CURRENT")):
        raise CatalogDamagedError(place=path, reason="its CURRENT file is missing")
    try:
        with open(os.path.join(path, "CURRENT"), "rb") as file:
            name = os.fsdecode(file.read(100).rstrip(b"\n"))
        with open(os.path.join(path, os.path.basename(name)), "rb") as file:
            manifest = file.read()
    except (OSError, ValueError) as error:
        raise CatalogDamagedError(place=path, reason=str(error)) from error
    if not _reaches_its_end(manifest):
        raise CatalogDamagedError(place=path, reason="its MANIFEST is torn")


def _reaches_its_end(log: bytes) -> bool:
    """Tell whether whole records fill a file of RocksDB's log format; their checksums RocksDB looks at itself."""
    at, before = 0, 0
    while at < len(log):
        left = _LOG_BLOCK - at % _LOG_BLOCK
        if left < _LOG_HEADER.size:  # too short for a header
            at += left
            continue
        if len(log) - at < _LOG_HEADER.size:
            return False
        _, length, kind = _LOG_HEADER.unpack_from(log, at)
        if kind not in _FOLLOWS[before] or _LOG_HEADER.size + length > left:
            return False
        at, before = at + _LOG_HEADER.size + length, kind
    return at == len(log) and before in {_FULL, _LAST}


def _identified(database: Database, identity: str) -> None:
    found = database.get(IDENTITY)
    if found != identity.encode():
        raise CatalogDamagedError(place=database.place, reason="it is empty or belongs to another repository")


def create(path: str, identity: str) -> None:
    """Make an empty catalog at ``path``; refuses to touch the files of an older one."""
    if os.path.isdir(path) and os.listdir(path):
        raise CatalogError(place=path, reason="there are files already")
    os.makedirs(path, exist_ok=True)
    option = _options()
    option.create_if_missing(True)
    database = Database(path, _guarded(path, lambda: rocksdbpy.open(path, option)))
    try:
        database.write({IDENTITY: identity.encode()})
        database.flush()
    finally:
        database.close()


def remove(path: str) -> None:
    """Throw the catalog away."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _opened(open_once: Callable[[], Database]) -> Database:
    for attempt in itertools.count(1):
        try:
            return open_once()
        except (CatalogBusyError, CatalogDamagedError):
            if attempt == OPENING_TRIES:
                raise
            time.sleep(OPENING_PAUSE)
    raise AssertionError


@contextlib.contextmanager
def _alone(path: str, kind: int) -> Iterator[None]:
    """Hold a lock on the catalog's folder; nothing is created, so that readers without rights can take part."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise CatalogDamagedError(place=path, reason="there is no catalog") from error
    except OSError as error:
        raise CatalogDamagedError(place=path, reason=error.strerror) from error
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reading(path: str, identity: str) -> Iterator[Database]:
    """Open for reading beside any writer; sees what was written before the opening, and creates no file.

    Raises:
        CatalogDamagedError: it is missing, damaged or not ours.
    """

    def open_once() -> Database:
        _check_files(path)
        handle = _guarded(path, lambda: rocksdbpy.open_for_readonly(path, _options(), False))
        database = Database(path, handle)
        try:
            _identified(database, identity)
        except BaseException:
            database.close()
            raise
        return database

    def open_alone() -> Database:
        with _alone(path, fcntl.LOCK_SH):
            return open_once()

    database = _opened(open_alone)
    try:
        yield database
    finally:
        database.close()


@contextlib.contextmanager
def writing(path: str, identity: str) -> Iterator[Database]:
    """Open for writing; hold it for milliseconds only. Callers hold the ledger's lock, which orders all writers."""

    def open_once() -> Database:
        _check_files(path)
        database = Database(path, _guarded(path, lambda: rocksdbpy.open(path, _options())))
        try:
            _identified(database, identity)
        except BaseException:
            database.close()
            raise
        return database

    with _alone(path, fcntl.LOCK_EX):
        database = _opened(open_once)
        try:
            yield database
        finally:
            database.close()
            for old in sorted(glob.glob(os.path.join(glob.escape(path), "LOG.old.*")))[:-KEPT_LOGS]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old)
