"""The read path of a disk, and the proof of how deep a read went.

A fresh read drops the range from the page cache and asks the kernel (mincore) whether that worked. What still lies
there, because it is mapped, dirty or held, is read past the cache instead (O_DIRECT, two reads in flight). Pages seen
to be absent can only come back from the medium, so the answer stays true if others read the same file meanwhile.
"""

import ctypes
import errno
import fcntl
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from storage_backends.backend import Reach
from storage_backends.disk_errors import read_failure
from storage_backends.disk_mounts import depth_of

PAGE = mmap.PAGESIZE
BUFFER = 1 << 22
"""Bytes of one direct read (4 MiB)."""

BEHIND = 1 << 24
"""A fresh read gives its pages back every 16 MiB, so that an audit does not empty everybody's cache."""

FOLIO = 1 << 21
"""Bytes of the largest piece of page cache (2 MiB)."""

WINDOW = 1 << 30
"""Bytes whose residency is asked for at a time (1 GiB: 256 KiB of answers)."""

_libc = ctypes.CDLL(None)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_PROT_NONE = 0
_MAP_FAILED = ctypes.c_void_p(-1).value


class Opened:
    """What a reader reads: an open file that it closes, the range, and what to call it in an error."""

    __slots__ = ("at", "end", "file", "key", "place")

    def __init__(self, file: int, *, at: int, end: int, place: str, key: str) -> None:
        self.file, self.at, self.end, self.place, self.key = file, at, end, place, key


class FileReader:
    """Reads through the page cache; if ``behind``, gives the pages back as it goes."""

    def __init__(self, source: Opened, *, reach: Reach, behind: bool) -> None:
        self.reach = reach
        self._source = source
        self._behind = behind
        self._dropped = source.at
        self._open = True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the range."""
        left = self._source.end - self._source.at
        buffer = bytearray(left if size < 0 else min(size, left))
        count = self.readinto(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        source, filled = self._source, 0
        buffer = buffer.cast("B")[: max(source.end - source.at, 0)]
        while filled < len(buffer):
            try:
                count = os.preadv(source.file, (buffer[filled:],), source.at)
            except OSError as error:
                raise read_failure(error, source.place, source.key) from error
            if count == 0:
                source.end = source.at
                break
            filled += count
            source.at += count
        if self._behind and source.at - self._dropped >= BEHIND:
            self._drop()
        return filled

    def close(self) -> None:
        """Give back the descriptor."""
        if self._open:
            self._open = False
            if self._behind:
                self._drop(ahead=FOLIO)
            os.close(self._source.file)

    def _drop(self, *, ahead: int = 0) -> None:
        drop(self._source.file, self._dropped, self._source.at, ahead=ahead)
        self._dropped = self._source.at

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DirectReader:
    """Reads past the page cache with two reads in flight; the file is open with O_DIRECT."""

    reach = Reach.MEDIUM

    def __init__(self, source: Opened) -> None:
        self._source = source
        self._next = source.at // PAGE * PAGE
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="disk-read")
        self._flying: deque[tuple[Future[int], memoryview, int]] = deque()
        self._piece = memoryview(b"")
        # One that is being consumed, two in flight.
        self._free = [memoryview(mmap.mmap(-1, BUFFER)) for _ in range(3)]
        self._held: memoryview | None = None
        self._open = True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the range."""
        left = self._source.end - self._source.at
        buffer = bytearray(left if size < 0 else min(size, left))
        count = self.readinto(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        buffer, filled = buffer.cast("B"), 0
        while filled < len(buffer) and (self._piece or self._advance()):
            count = min(len(self._piece), len(buffer) - filled)
            buffer[filled : filled + count] = self._piece[:count]
            self._piece = self._piece[count:]
            self._source.at += count
            filled += count
        return filled

    def _advance(self) -> bool:
        source = self._source
        if self._held is not None:
            self._free.append(self._held)
            self._held = None
        while self._free and self._next < source.end:
            buffer = self._free.pop()
            self._flying.append((self._threads.submit(_read_at, source.file, buffer, self._next), buffer, self._next))
            self._next += BUFFER
        if not self._flying:
            return False
        future, buffer, base = self._flying.popleft()
        self._held = buffer
        try:
            count = future.result()
        except OSError as error:
            raise read_failure(error, source.place, source.key) from error
        self._piece = buffer[source.at - base : max(min(count, source.end - base), source.at - base)]
        return len(self._piece) > 0

    def close(self) -> None:
        """Wait for the reads in flight and give back the descriptor."""
        if self._open:
            self._open = False
            self._threads.shutdown(wait=True, cancel_futures=True)
            os.close(self._source.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_at(file: int, buffer: memoryview, offset: int) -> int:
    return os.preadv(file, (buffer,), offset)


def reader_of(
    file: int, key: str, *, place: str, offset: int = 0, length: int | None = None, fresh: bool
) -> FileReader | DirectReader:
    """Return a reader of the open ``file``, which it closes; ``fresh`` goes as deep as this place allows."""
    size = os.fstat(file).st_size
    end = size if length is None else min(size, offset + length)
    source = Opened(file, at=min(offset, end), end=end, place=place, key=key)
    if not fresh:
        return FileReader(source, reach=Reach.HOST_CACHE, behind=False)
    try:
        depth = depth_of(file)
        dropped = _drop_all(file, source.at, source.end)
        if dropped or not depth.direct or not _can_read_directly(file, source.at):
            os.posix_fadvise(file, source.at, 0, os.POSIX_FADV_SEQUENTIAL)
            return FileReader(source, reach=depth.through_cache if dropped else Reach.HOST_CACHE, behind=True)
    except OSError as error:
        os.close(file)
        raise read_failure(error, place, key) from error
    return DirectReader(source)


def _drop_all(file: int, start: int, end: int) -> bool:
    """Drop the range from the page cache; return whether no page of it was left."""
    drop(file, start, end, ahead=FOLIO)
    start = start // PAGE * PAGE
    return not any(resident(file, at, min(WINDOW, end - at)) for at in range(start, end, WINDOW))


def drop(file: int, start: int, end: int, *, ahead: int) -> None:
    """Ask the kernel to drop the range from the page cache.

    The kernel leaves alone whatever a range covers in part: pages, and the larger folios (2 MiB) that newer kernels
    keep. So the range is widened: always at its start, and at its end by ``ahead`` bytes. Who still reads on there
    widens by nothing, or the kernel has to read again what it has just read ahead (that doubled the time of a read).
    """
    start = max(start - FOLIO, 0) // PAGE * PAGE
    os.posix_fadvise(file, start, end + ahead - start, os.POSIX_FADV_DONTNEED)


def resident(file: int, start: int, length: int) -> bool:
    """Return whether a page of the range may lie in the page cache; ``start`` is a multiple of the page size.

    Where the kernel does not tell (it tells only the owner and who may write), the answer is yes.
    """
    answers = ctypes.create_string_buffer((length + PAGE - 1) // PAGE)
    address = _libc.mmap(None, length, _PROT_NONE, mmap.MAP_SHARED, file, start)
    if address == _MAP_FAILED:
        return True
    try:
        return _libc.mincore(address, length, answers) != 0 or answers.raw.strip(b"\0") != b""
    finally:
        _libc.munmap(address, length)


def _can_read_directly(file: int, at: int) -> bool:
    """Open ``file`` for direct reads if it allows a first one."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT)
        os.preadv(file, (mmap.mmap(-1, PAGE),), at // PAGE * PAGE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.fcntl(file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return False
    return True
