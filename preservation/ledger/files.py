"""Files of the ledger: written durably under their final name or not at all; read at an offset; locked."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EPERM, EROFS
from io import FileIO

from preservation.ledger.errors import LedgerBusyError, LedgerReadOnlyError, LedgerUnreadableError, LedgerWriteError
from storage_backends.errors import Phrase

TEMPORARY = ".tmp"
"""The end of the name of a file that is being written; whoever holds the lock may remove it."""

_WAIT_STEP = 0.02

ReadAt = Callable[[int, int], bytes]
"""Gives up to ``n`` bytes from an offset; fewer only at the end."""


@contextmanager
def writing_to(place: str) -> Iterator[None]:
    """Turn what the system refuses into ``LedgerWriteError``."""
    try:
        yield
    except OSError as error:
        raise LedgerWriteError(place=place, reason=error.strerror or str(error)) from error


def open_to_read(path: str) -> FileIO:
    """Open a file; ``FileNotFoundError`` if it is not there, ``LedgerUnreadableError`` if it cannot be opened."""
    try:
        return FileIO(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a new file durably; ``FileExistsError`` if the name is taken. Nothing is left behind on a failure."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fsync_directory(os.path.dirname(path) or ".")
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def publish(temporary: str, path: str) -> None:
    """Give a complete, flushed file its final name, durably; an existing file of that name is replaced."""
    os.rename(temporary, path)
    fsync_directory(os.path.dirname(path) or ".")


def replace_file(path: str, data: bytes) -> None:
    """Write a file durably in one step: old content or new content, never half."""
    temporary = path + TEMPORARY
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    create_file(temporary, data)
    publish(temporary, path)


def read_file(path: str, limit: int) -> bytes:
    """Return the content of a file; ``LedgerUnreadableError`` if it is longer than ``limit`` or cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error
    if len(data) > limit:
        raise LedgerUnreadableError(place=path, reason=Phrase("longer than {limit} bytes", limit=limit))
    return data


def reading_at(descriptor: int, place: str) -> ReadAt:
    """Return a function that reads from ``descriptor``; it raises ``LedgerUnreadableError``."""

    def read_at(offset: int, size: int) -> bytes:
        try:
            return os.pread(descriptor, size, offset)
        except OSError as error:
            raise LedgerUnreadableError(place=place, reason=error.strerror) from error

    return read_at


def names_in(path: str) -> list[str]:
    """Return the sorted names in a directory; none if it is not there."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error


@contextmanager
def locked(path: str, wait_seconds: float) -> Iterator[None]:
    """Hold the one lock that orders all writers; ``LedgerBusyError`` if it is not free within ``wait_seconds``.

    The lock belongs to this call, not to the process: threads of one process exclude each other as well.
    """
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise LedgerBusyError(place=os.path.dirname(path), waited=f"{wait_seconds:g}")
        time.sleep(_WAIT_STEP)
    try:
        yield
    finally:
        os.close(descriptor)


def _try_lock(path: str) -> int | None:
    """Return a descriptor that holds the lock; None if another one does, or if the file was replaced meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if error.errno in {EACCES, EPERM, EROFS}:
            raise LedgerReadOnlyError(place=os.path.dirname(path)) from error
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
