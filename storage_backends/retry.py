"""A store that tries again where trying again can help: a read that failed, a store that says "not now".

A store that is away, full or refusing is reported at once; so is a failure of the caller's own source. A write is tried
again only if its source can be read again from where it began. If an earlier try had succeeded after all without our
hearing of it, the next one says ``KeyExistsError``, as for anybody else's item.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from storage_backends.backend import Item, Reader, Source, StorageBackend
from storage_backends.errors import GenerationChangedError, ReadFailureError, TransientError
from storage_backends.wrapping import Wrapping, WrappingReader

TRANSIENT = (ReadFailureError, TransientError)

T = TypeVar("T")


class Patience:
    """How often to try in all, and how many seconds to wait before the second try; each further wait is doubled."""

    def __init__(self, attempts: int, *, pause: float, sleep: Callable[[float], None]) -> None:
        assert attempts > 0
        self._attempts, self._pause, self._sleep = attempts, pause, sleep

    def try_again(self, failed: int) -> bool:
        """Wait, and return True; or return False at once if ``failed`` tries were enough."""
        if failed >= self._attempts:
            return False
        self._sleep(self._pause * 2 ** (failed - 1))
        return True

    def call(self, action: Callable[[], T]) -> T:
        """Return what ``action`` returns, in one of the tries."""
        failed = 0
        while True:
            try:
                return action()
            except TRANSIENT:
                failed += 1
                if not self.try_again(failed):
                    raise


class RetryingBackend(Wrapping):
    """Passes on to ``inner`` with ``patience``. Drafts are passed on as they are: their bytes are gone."""

    def __init__(self, inner: StorageBackend, patience: Patience) -> None:
        super().__init__(inner)
        self._patience = patience

    def write(self, key: str, size: int, source: Source) -> Item:
        """Pass on; again if the source can be read again."""
        return self._feed(source, lambda again: self.inner.write(key, size, again))

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Pass on; a reader that fails is opened again where it was, as long as the item is the same generation."""

        def opened(skip: int) -> Reader:
            left = None if length is None else max(length - skip, 0)
            return self.inner.read(key, offset=offset + skip, length=left, fresh=fresh)

        item = self.stat(key)
        reader = self._patience.call(lambda: opened(0))

        def check_unchanged() -> None:
            if self.inner.stat(key) != item:
                raise GenerationChangedError(place=self.place, key=key)

        return _RetryingReader(reader, opened, check_unchanged, self._patience)

    def stat(self, key: str) -> Item:
        """Pass on, with patience."""
        return self._patience.call(lambda: self.inner.stat(key))

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Pass on; a listing that breaks off is begun again and goes on behind the last key."""
        last, failed = b"", 0
        while True:
            try:
                for item in self.inner.items(prefix):
                    if item.key.encode() > last:
                        last, failed = item.key.encode(), 0
                        yield item
                return
            except TRANSIENT:
                failed += 1
                if not self._patience.try_again(failed):
                    raise

    def delete(self, key: str) -> None:
        """Pass on, with patience."""
        self._patience.call(lambda: self.inner.delete(key))

    def _replace(self, key: str, expected: Item, size: int, source: Source) -> Item:
        return self._feed(source, lambda again: self._inner_replace(key, expected, size, again))

    def _feed(self, source: Source, action: Callable[[Source], Item]) -> Item:
        rewind = _rewinder(source)
        watched = _Watched(source)
        failed = 0
        while True:
            try:
                return action(watched)
            except TRANSIENT:
                failed += 1
                if rewind is None or watched.failed or not self._patience.try_again(failed):
                    raise
                rewind()


class _Seekable(Source, Protocol):
    def seekable(self) -> bool: ...

    def tell(self) -> int: ...

    def seek(self, offset: int, /) -> object: ...


def _rewinder(source: Source) -> Callable[[], object] | None:
    """Return what takes ``source`` back to where it stands now; None if it cannot go back."""
    if not all(hasattr(source, name) for name in ("seekable", "tell", "seek")):
        return None
    seekable: _Seekable = source  # type: ignore[assignment]  # what was just looked for
    if not seekable.seekable():
        return None
    begin = seekable.tell()
    return lambda: seekable.seek(begin)


class _Watched:
    """A source that remembers whether it failed itself, perhaps with an error that looks like the store's."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.failed = False

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size)
        except BaseException:
            self.failed = True
            raise


class _RetryingReader(WrappingReader):
    def __init__(
        self, inner: Reader, opened: Callable[[int], Reader], check_unchanged: Callable[[], None], patience: Patience
    ) -> None:
        super().__init__(inner)
        self._opened, self._check_unchanged, self._patience = opened, check_unchanged, patience
        self._done = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._again(lambda: self.inner.read(size))
        self._done += len(data)
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._again(lambda: self.inner.readinto(buffer))
        self._done += count
        return count

    def _again(self, action: Callable[[], T]) -> T:
        failed = 0
        while True:
            try:
                if failed:
                    self._reopen()
                return action()
            except TRANSIENT:
                failed += 1
                if not self._patience.try_again(failed):
                    raise

    def _reopen(self) -> None:
        self.inner.close()
        self.inner = self._opened(self._done)
        self._check_unchanged()
