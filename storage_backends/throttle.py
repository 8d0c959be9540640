"""A store that reads and writes no faster than it may, so that an audit leaves the disk to those who work with it."""

import threading
from collections.abc import Callable

from storage_backends.backend import Draft, Reader, Source, StorageBackend
from storage_backends.wrapping import Wrapping, WrappingDraft, WrappingReader


class Pace:
    """Bytes per second, shared by everything that spends from it. Safe for threads.

    Who spends waits until all that was spent before is paid for; so a rate holds over any time longer than one piece.
    """

    def __init__(self, bytes_per_second: float, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Take a ``clock`` in seconds that never goes back, and a ``sleep`` for that many seconds."""
        assert bytes_per_second > 0
        self._rate, self._clock, self._sleep = bytes_per_second, clock, sleep
        self._paid_until = clock()
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Account for ``count`` bytes that have moved; sleeps as long as they should have taken."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now) + count / self._rate
            wait = self._paid_until - now
        if wait > 0:
            self._sleep(wait)


class ThrottledBackend(Wrapping):
    """Passes on to ``inner`` at the ``pace``, which other stores may share."""

    def __init__(self, inner: StorageBackend, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    def _source(self, source: Source) -> Source:
        return _PacedSource(source, self._pace)

    def _reader(self, reader: Reader) -> Reader:
        return _PacedReader(reader, self._pace)

    def _draft(self, draft: Draft) -> Draft:
        return _PacedDraft(draft, self._pace)

    def _taker(self, take: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def paced(data: bytes) -> object:
            self._pace.spend(len(data))
            return take(data)

        return paced


class _PacedSource:
    def __init__(self, source: Source, pace: Pace) -> None:
        self._inner, self._pace = source, pace

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self._pace.spend(len(data))
        return data


class _PacedReader(WrappingReader):
    def __init__(self, inner: Reader, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    def read(self, size: int = -1, /) -> bytes:
        data = self.inner.read(size)
        self._pace.spend(len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        count = self.inner.readinto(buffer)
        self._pace.spend(count)
        return count


class _PacedDraft(WrappingDraft):
    def __init__(self, inner: Draft, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self.inner.write(data)
        self._pace.spend(memoryview(data).nbytes)

    def read_back(self) -> Reader:
        return _PacedReader(self.inner.read_back(), self._pace)
