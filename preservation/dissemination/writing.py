"""Durable writing below a folder that is not yet visible: trees of files, and metadata files that know their digests.

Descending goes by directory descriptors, so that a path of any length can be written and no link is followed.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from preservation.fixity import Hasher, new_blake3
from preservation.ledger.files import write_all

WAITING_LIMIT = 128
"""Written files that are made durable together: the first flush writes the file system's journal for all of them."""

FLUSHERS = 8
"""Files that are flushed at a time: file systems serve those that wait together with one write of the journal."""

BUFFER = 1 << 18

_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

Sink = Callable[[bytes], None]
"""Takes the next bytes of a file."""


@dataclass(slots=True)
class Flushing:
    """Descriptors of what was written; ``finish`` has made all of it durable."""

    _waiting: list[int] = field(default_factory=list)

    def add(self, descriptor: int) -> None:
        """Take over an open descriptor."""
        self._waiting.append(descriptor)
        if len(self._waiting) >= WAITING_LIMIT:
            self.finish()

    def finish(self) -> None:
        """Flush and close all; raises ``OSError`` if the device does not take one of them."""
        try:
            with ThreadPoolExecutor(max_workers=FLUSHERS) as pool:
                for _ in pool.map(os.fsync, self._waiting):
                    pass
        finally:
            self.close()

    def close(self) -> None:
        """Close all without waiting for the device."""
        waiting, self._waiting = self._waiting, []
        for descriptor in waiting:
            os.close(descriptor)


class Tree:
    """Writes files and folders below a folder that is there."""

    def __init__(self, root: bytes, flushing: Flushing) -> None:
        self._flushing = flushing
        self._here: list[bytes] = []
        self._folder = os.open(root, _FOLDER)

    def leave(self) -> None:
        """Hand every folder that is still open to be flushed."""
        self._go([])
        folder, self._folder = self._folder, -1
        self._flushing.add(folder)

    def close(self) -> None:
        """Give up what is still open."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def folder(self, path: bytes) -> None:
        """Make a folder and those above it."""
        self._go([part for part in path.split(b"/") if part])

    def file(self, path: bytes, copy: Callable[[Sink], None], mtime_ns: int | None = None) -> None:
        """Make a file and the folders above it; ``copy`` is given a function that takes the file's bytes.

        Raises:
            FileExistsError: the name is taken.
            NotADirectoryError: a folder of the path is a file here.
        """
        *above, name = path.split(b"/")
        self._go(above)
        descriptor = os.open(name, _FILE, 0o666, dir_fd=self._folder)
        try:
            copy(lambda data: write_all(descriptor, data))
            if mtime_ns is not None:
                # Not every file system holds every time; the metadata of the export always says it.
                with suppress(OSError):
                    os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        except BaseException:
            os.close(descriptor)
            raise
        self._flushing.add(descriptor)

    def _go(self, parts: list[bytes]) -> None:
        common = 0
        while common < min(len(parts), len(self._here)) and parts[common] == self._here[common]:
            common += 1
        while len(self._here) > common:
            above = os.open(b"..", _FOLDER, dir_fd=self._folder)
            left, self._folder = self._folder, above
            self._here.pop()
            self._flushing.add(left)
        for part in parts[common:]:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=self._folder)
            below = os.open(part, _FOLDER, dir_fd=self._folder)
            os.close(self._folder)
            self._folder = below
            self._here.append(part)


@contextmanager
def tree(root: bytes, flushing: Flushing) -> Iterator[Tree]:
    """Give a tree below ``root``, which is made if it is not there; all of it is flushed when ``flushing`` is."""
    with suppress(FileExistsError):
        os.mkdir(root)
    found = Tree(root, flushing)
    try:
        yield found
        found.leave()
    finally:
        found.close()


class Metadata:
    """A metadata file that is being written; it knows the digests that it was asked for."""

    def __init__(self, file: BinaryIO, algorithms: tuple[str, ...]) -> None:
        self._file = file
        self._hashers: dict[str, Hasher] = {name: _hasher(name) for name in algorithms}

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._file.write(data)
        for hasher in self._hashers.values():
            hasher.update(data)

    def hexdigest(self, algorithm: str) -> str:
        """Return a digest of all bytes so far."""
        return self._hashers[algorithm].hexdigest()


def _hasher(name: str) -> Hasher:
    return new_blake3() if name == "blake3" else hashlib.new(name)


@contextmanager
def metadata(path: bytes, flushing: Flushing, *algorithms: str) -> Iterator[Metadata]:
    """Make a metadata file and the folder it lies in."""
    with suppress(FileExistsError):
        os.mkdir(os.path.dirname(path))
        flushing.add(os.open(os.path.dirname(os.path.dirname(path)), _FOLDER))
    with open(os.open(path, _FILE, 0o666), "wb", buffering=BUFFER) as file:
        yield Metadata(file, algorithms)
        file.flush()
        flushing.add(os.dup(file.fileno()))
    flushing.add(os.open(os.path.dirname(path), _FOLDER))


@dataclass(slots=True)
class IfNeeded:
    """A metadata file that exists only if something is written to it; ``stack`` closes it."""

    make: Callable[[], AbstractContextManager[Metadata]]
    stack: ExitStack
    _file: Metadata | None = None

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        if self._file is None:
            self._file = self.stack.enter_context(self.make())
        self._file.write(data)
