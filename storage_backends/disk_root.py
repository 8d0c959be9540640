"""The root of a disk store: is it there, is it ours, has it room; and the marker that answers the second question."""

import fcntl
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.backend import DRAFTS, MARKER_KEY, Item
from storage_backends.disk_errors import writing
from storage_backends.disk_folders import FILE, NOT_ITEMS, close_all, make_way, publish, stat_item
from storage_backends.errors import (
    GenerationChangedError,
    Phrase,
    StoreFullError,
    StoreRefusesError,
    StoreUnavailableError,
    marked,
)

LONGEST_MARKER = 64 << 10

_DRAFTS = os.fsencode(DRAFTS)
_MARKER = os.fsencode(MARKER_KEY)
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Root:
    """The folder ``place``, which must be the store ``store_id`` each time that it is opened."""

    def __init__(self, place: str, store_id: str) -> None:
        self.place = place
        self._store_id = store_id
        self._marker_seen: tuple[int, int, int, int] | None = None
        self._numbers = itertools.count()

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the root, and be sure that it is our store; ``StoreUnavailableError`` otherwise."""
        try:
            root = os.open(self.place, _ROOT)
        except OSError as error:
            raise StoreUnavailableError(place=self.place, reason=error.strerror) from error
        try:
            self._check_marker(root)
            yield root
        finally:
            os.close(root)

    def _check_marker(self, root: int) -> None:
        try:
            status = os.stat(_MARKER, dir_fd=root, follow_symlinks=False)
            seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._marker_seen:
                return
            found = _read_marker(root)
        except FileNotFoundError as error:
            reason = marked("its marker is not there; is it mounted?")
            raise StoreUnavailableError(place=self.place, reason=reason) from error
        except OSError as error:
            raise StoreUnavailableError(place=self.place, reason=error.strerror) from error
        if found != self._store_id:
            raise StoreUnavailableError(place=self.place, reason=Phrase("it is another store, {found!r}", found=found))
        self._marker_seen = seen

    def drafts(self, root: int) -> int:
        """Return a new descriptor of the drafts' folder."""
        way = make_way(root, [_DRAFTS])
        os.close(way[0])
        return way[1]

    @contextmanager
    def locked(self, root: int) -> Iterator[None]:
        """Hold off every other replacement and deletion in this store, in this process and in others."""
        drafts = self.drafts(root)
        try:
            fcntl.flock(drafts, fcntl.LOCK_EX)
            yield
        finally:
            os.close(drafts)

    def check_generation(self, root: int, key: str, expected: Item) -> None:
        """Raise ``GenerationChangedError`` unless ``key`` is exactly the item ``expected``."""
        try:
            found = item_of(key, stat_item(root, key))
        except OSError:
            found = None
        if found != expected:
            raise GenerationChangedError(place=self.place, key=key)

    def check_room(self, folder: int, needed: int, reserve: int) -> None:
        """Raise ``StoreFullError`` if ``needed`` bytes would eat into ``reserve``."""
        with writing(self.place, needed=needed):
            status = os.fstatvfs(folder)
        free = status.f_bavail * status.f_frsize
        if needed > max(free - reserve, 0):
            raise StoreFullError(place=self.place, needed=needed, free=free, reserve=reserve)

    def new_draft(self, drafts: int) -> tuple[bytes, int]:
        """Return name and descriptor of a new draft, locked, in the open folder ``drafts``."""
        return _new_draft(drafts, self._numbers)


def item_of(key: str, status: os.stat_result) -> Item:
    """Return the item of a file: a replacement is a new file at a new time."""
    return Item(key, status.st_size, f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}")


def initialise(root: str, store_id: str) -> None:
    """Make the folder ``root`` the store ``store_id``; harmless if it is that already.

    Raises:
        StoreRefusesError: it is another store, or a folder with something in it.
    """
    with writing(root):
        _make_folders(os.path.abspath(root))
        folder = os.open(root, _ROOT)
        try:
            _initialise(folder, root, store_id)
        finally:
            os.close(folder)


def _initialise(folder: int, root: str, store_id: str) -> None:
    with suppress(FileNotFoundError):
        found = _read_marker(folder)
        if found != store_id:
            raise StoreRefusesError(place=root, reason=Phrase("the folder is another store, {found!r}", found=found))
        return
    if not set(map(os.fsencode, os.listdir(folder))) <= NOT_ITEMS:
        raise StoreRefusesError(place=root, reason="the folder is not empty and is not a store")
    way = make_way(folder, [_DRAFTS])
    try:
        name, file = _new_draft(way[1], itertools.count())
        try:
            os.write(file, json.dumps({"format": 1, "mocban": "store", "store": store_id}).encode() + b"\n")
            os.fsync(file)
            publish((way[1], name), folder, MARKER_KEY)
        finally:
            os.unlink(name, dir_fd=way[1])
            os.close(file)
    finally:
        close_all(way)


def stored_id(root: str) -> str | None:
    """Return which store the folder ``root`` is; None if it is none or is not there.

    Raises:
        StoreUnavailableError: there is a marker, and it cannot be read.
    """
    try:
        folder = os.open(root, _ROOT)
        try:
            return _read_marker(folder)
        finally:
            os.close(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailableError(place=root, reason=error.strerror) from error


def _read_marker(folder: int) -> str:
    file = os.open(_MARKER, FILE, dir_fd=folder)
    try:
        text = os.read(file, LONGEST_MARKER)
    finally:
        os.close(file)
    try:
        store_id = json.loads(text)["store"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OSError(0, marked("its marker cannot be understood")) from error
    if not isinstance(store_id, str):
        raise OSError(0, marked("its marker cannot be understood"))
    return store_id


def _new_draft(drafts: int, numbers: Iterator[int]) -> tuple[bytes, int]:
    """Return name and descriptor of a new, locked draft that nobody may change once it is closed."""
    while True:
        name = b"%d-%d" % (os.getpid(), next(numbers))
        try:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=drafts)
        except FileExistsError:
            continue
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink == 1:
            return name, file
        # Somebody cleared it between its birth and its lock.
        os.close(file)


def clear_draft(drafts: int, name: bytes) -> bool:
    """Remove the draft ``name`` if nobody holds its lock; return whether it was removed."""
    try:
        file = os.open(name, FILE, dir_fd=drafts)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=drafts)
    except (BlockingIOError, FileNotFoundError, IsADirectoryError):
        return False
    finally:
        os.close(file)
    return True


def _make_folders(path: str) -> None:
    """Make ``path`` and what is missing above it, durably."""
    if os.path.isdir(path):
        return
    outer = os.path.dirname(path)
    _make_folders(outer)
    with suppress(FileExistsError):
        os.mkdir(path)
    folder = os.open(outer, _ROOT)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
