"""Open folders of a submission: every file is opened by its name in the descriptor of its own folder.

No path is resolved, so a folder that is replaced by a symbolic link between scan and reading cannot lead anywhere, and
paths longer than the kernel's PATH_MAX need no special case. Only a limited number of descriptors is open at a time; a
folder whose descriptor was given up is opened again from its parent (or child) and must be the same inode.
"""

import errno
import os
import stat
import threading
from collections import deque
from contextlib import suppress

from preservation.submission.errors import (
    SpecialFileError,
    SubmissionChangedError,
    SubmissionRefusedError,
    SubmissionUnreadableError,
    SymbolicLinkError,
    shown,
)
from storage_backends.errors import Phrase

OPEN_FOLDERS = 64
"""Descriptors of folders kept open at a time, the root's not counted."""

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KINDS = {
    stat.S_IFIFO: Phrase("FIFO"),
    stat.S_IFSOCK: Phrase("socket"),
    stat.S_IFBLK: Phrase("block device"),
    stat.S_IFCHR: Phrase("character device"),
    stat.S_IFDIR: Phrase("folder"),
}


class Descriptor:
    """A descriptor that is closed when the last reference to it goes, so that no thread can lose it while using it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.fd)


class Folder:
    """A folder of the submission: its parent, its name, which inode it is, and its descriptor while that is open."""

    __slots__ = ("depth", "descriptor", "identity", "name", "parent")

    def __init__(self, parent: "Folder | None", name: bytes, descriptor: Descriptor) -> None:
        self.parent = parent
        self.name = name
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.identity = _identity(descriptor.fd)
        self.descriptor: Descriptor | None = descriptor

    @property
    def path(self) -> bytes:
        """The path from the root, for messages."""
        names: list[bytes] = []
        folder: Folder | None = self
        while folder is not None and folder.parent is not None:
            names.append(folder.name)
            folder = folder.parent
        return b"/".join(reversed(names))


class OpenFolders:
    """Opens folders and keeps a limited number of them open."""

    def __init__(self, root: Folder) -> None:
        self.root = root
        self._recent: deque[Folder] = deque()
        self._lock = threading.Lock()

    def enter(self, parent: Folder, name: bytes) -> Folder:
        """Open the folder ``name`` in ``parent``."""
        above = self.descriptor(parent)
        try:
            fd = os.open(name, FOLDER_FLAGS, dir_fd=above.fd)
        except OSError as error:
            path = parent.path
            raise refusal(path + b"/" + name if path else name, error) from error
        folder = Folder(parent, name, Descriptor(fd))
        self._keep(folder)
        return folder

    def descriptor(self, folder: Folder) -> Descriptor:
        """Return the folder's descriptor, opened again if it was given up; hold the reference while you use it."""
        found = folder.descriptor
        return found if found is not None else self._reopen(folder)

    def back(self, parent: Folder, child: Folder) -> None:
        """Open ``parent`` again by its child's ``..`` if it was given up: the way from the root may be long."""
        below = child.descriptor
        if parent.descriptor is not None or below is None:
            return
        try:
            again = Descriptor(os.open(b"..", FOLDER_FLAGS, dir_fd=below.fd))
        except OSError as error:
            raise refusal(parent.path, error) from error
        self._accept(parent, again)

    def close(self) -> None:
        """Give up all descriptors."""
        with self._lock:
            while self._recent:
                self._recent.popleft().descriptor = None
            self.root.descriptor = None

    def _reopen(self, folder: Folder) -> Descriptor:
        way: list[Folder] = []
        nearest = folder
        while (at := nearest.descriptor) is None:
            if nearest.parent is None:
                raise SubmissionUnreadableError(path=shown(folder.path), reason="the submission was closed")
            way.append(nearest)
            nearest = nearest.parent
        for step in reversed(way):
            try:
                at = Descriptor(os.open(step.name, FOLDER_FLAGS, dir_fd=at.fd))
            except OSError as error:
                raise refusal(step.path, error) from error
            self._accept(step, at)
        return at

    def _accept(self, folder: Folder, again: Descriptor) -> None:
        if _identity(again.fd) != folder.identity:
            raise SubmissionChangedError(path=shown(folder.path), reason="another folder is in its place")
        folder.descriptor = again
        self._keep(folder)

    def _keep(self, folder: Folder) -> None:
        with self._lock:
            self._recent.append(folder)
            if len(self._recent) > OPEN_FOLDERS:
                self._recent.popleft().descriptor = None


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def special(path: bytes, mode: int) -> SubmissionRefusedError:
    """Return the refusal of what is neither a regular file nor a folder."""
    if stat.S_ISLNK(mode):
        return SymbolicLinkError(path=shown(path))
    return SpecialFileError(path=shown(path), kind=_KINDS.get(stat.S_IFMT(mode), Phrase("special file")))


def refusal(path: bytes, error: OSError) -> SubmissionRefusedError:
    """Return what it means that ``path``, which the scan saw or a folder listed, cannot be opened or read."""
    if error.errno == errno.ELOOP:
        return SymbolicLinkError(path=shown(path))
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return SubmissionChangedError(path=shown(path), reason="it vanished or was replaced")
    return SubmissionUnreadableError(path=shown(path), reason=error.strerror or str(error))
