"""Steps inside a disk store: each relative to an open folder, none of them over a symbolic link.

All names are bytes, so that the process's locale never changes what a key is called on the disk.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from storage_backends.backend import DRAFTS, MARKER_KEY, checked_key
from storage_backends.errors import BadKeyError, marked

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK the open of a planted FIFO would never return."""

NOT_ITEMS = frozenset({os.fsencode(MARKER_KEY), os.fsencode(DRAFTS), b"lost+found"})
"""What lies at the root of a store and is not an item; the last belongs to ext4."""

TURNS = 100
"""How often a writer makes a way again that a concurrent ``delete`` tidied away."""


def segments(key: str) -> list[bytes]:
    """Return the names of ``key``, outermost first."""
    return key.encode().split(b"/")


def descend(root: int, names: list[bytes]) -> int:
    """Return a new descriptor of the folder ``names`` below ``root``.

    Raises:
        FileNotFoundError: there is no such folder (or a file has that name).
        OSError: ELOOP where a symbolic link stands in the way; anything else as the system says.
    """
    here = os.dup(root)
    for name in names:
        outer = here
        try:
            here = os.open(name, FOLDER, dir_fd=outer)
        except NotADirectoryError as error:
            if stat.S_ISLNK(os.stat(name, dir_fd=outer, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, marked("a symbolic link stands in the way")) from error
            raise FileNotFoundError(errno.ENOENT, marked("a file has the name of a folder")) from error
        finally:
            os.close(outer)
    return here


def open_item(root: int, key: str) -> int:
    """Return a new descriptor, for reading, of the regular file ``key``.

    Raises:
        FileNotFoundError: there is nothing, or only a folder.
        OSError: ELOOP for a symbolic link, EINVAL for any other special file.
    """
    *folders, name = segments(key)
    folder = descend(root, folders)
    try:
        file = os.open(name, FILE, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, marked("a special file, not an item")) from error
        raise
    finally:
        os.close(folder)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    if stat.S_ISDIR(mode):
        raise FileNotFoundError(errno.ENOENT, marked("a folder, not an item"))
    raise OSError(errno.EINVAL, marked("a special file, not an item"))


def stat_item(root: int, key: str) -> os.stat_result:
    """Return the status of the regular file ``key``; raises as ``open_item``."""
    *folders, name = segments(key)
    folder = descend(root, folders)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(folder)
    if stat.S_ISREG(status.st_mode):
        return status
    if stat.S_ISDIR(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, marked("a folder, not an item"))
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, marked("a symbolic link, not an item"))
    raise OSError(errno.EINVAL, marked("a special file, not an item"))


def make_way(root: int, names: list[bytes]) -> list[int]:
    """Return new descriptors of ``root`` and each folder of ``names`` below it, made where missing; close them all."""
    way = [os.dup(root)]
    try:
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=way[-1])
            way.append(os.open(name, FOLDER, dir_fd=way[-1]))
    except BaseException:
        close_all(way)
        raise
    return way


def publish(draft: tuple[int, bytes], root: int, key: str) -> None:
    """Give the file ``draft`` (folder, name) the name ``key`` as well, durably, never over an existing one.

    Every folder up to the root is synced each time: another process may have made one of them and died before it was
    durable, and a name is only as durable as the way to it. After an error the name is not there.

    Raises:
        FileExistsError: the name is taken.
        NotADirectoryError: a part of the way is no folder.
        IsADirectoryError: the name is a folder with something in it.
    """
    *folders, name = segments(key)
    for turn in range(TURNS):
        try:
            way = make_way(root, folders)
        except FileNotFoundError:
            if turn == TURNS - 1:
                raise
            continue
        try:
            if _linked(draft, way[-1], name):
                _settle(way, name)
                return
        except FileNotFoundError:
            if turn == TURNS - 1:
                raise
        finally:
            close_all(way)


def _linked(draft: tuple[int, bytes], folder: int, name: bytes) -> bool:
    """Return whether the link was made; False if an empty folder was in the way and is not any more."""
    try:
        os.link(draft[1], name, src_dir_fd=draft[0], dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        # An empty folder is what a crash between two folders of a longer key leaves behind; it holds nothing.
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            raise IsADirectoryError(errno.EISDIR, marked("it is a folder")) from error
        return False
    return True


def _settle(way: list[int], name: bytes) -> None:
    try:
        sync_all(way)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=way[-1])
        raise


def tidy(root: int, names: list[bytes]) -> None:
    """Remove the folders ``names`` from the inside out for as long as they are empty; best effort."""
    while names:
        try:
            folder = descend(root, names[:-1])
        except OSError:
            return
        try:
            os.rmdir(names[-1], dir_fd=folder)
        except OSError:
            return
        finally:
            os.close(folder)
        names = names[:-1]


def walk(folder: int, prefix: str, *, at_root: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Yield key and status of each regular file below the open ``folder``, whose key is ``prefix``, in key order.

    Holds the names of one folder of each level. What vanishes meanwhile is passed over; so is whatever no key can name.
    """
    with os.scandir(folder) as entries:
        found = sorted(
            os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b"") for entry in entries
        )
    for marked_name in found:
        name = marked_name.removesuffix(b"/")
        if at_root and name in NOT_ITEMS:
            continue
        try:
            key = f"{prefix}/{name.decode()}" if prefix else name.decode()
            checked_key(key)
        except (UnicodeDecodeError, BadKeyError):
            continue
        if marked_name != name:
            yield from _walk_into(folder, name, key)
            continue
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield key, status


def _walk_into(folder: int, name: bytes, key: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        inner = os.open(name, FOLDER, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        yield from walk(inner, key, at_root=False)
    finally:
        os.close(inner)


def sync_all(folders: list[int]) -> None:
    """Make the entries of the folders durable, innermost first."""
    for folder in reversed(folders):
        os.fsync(folder)


def close_all(descriptors: list[int]) -> None:
    """Close them."""
    for descriptor in descriptors:
        os.close(descriptor)
