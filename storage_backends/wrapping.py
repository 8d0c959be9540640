"""A store around a store: passes everything on, and has exactly the optional abilities of what it wraps.

An ability is asked for by ``isinstance`` with a protocol, which looks for attributes; so a wrapper gets the attributes
of an ability only if the wrapped store has it. What differs is overridden in the methods with an underscore.
"""

import copy
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from storage_backends.backend import (
    Draft,
    Drafting,
    Flushing,
    Item,
    Located,
    Met,
    OnCartridges,
    Ordered,
    Prove,
    Reach,
    Reader,
    Recalling,
    Replacing,
    Rewriting,
    Sized,
    Source,
    StorageBackend,
    StorageProfile,
)


class Wrapping:
    """Passes on every operation to ``inner``, its sources, readers, drafts and takers through four hooks."""

    def __init__(self, inner: StorageBackend) -> None:
        self.inner = inner
        if isinstance(inner, Drafting):
            self._inner_create, self.create, self.clear_drafts = inner.create, self._create, inner.clear_drafts
        if isinstance(inner, Replacing):
            self._inner_replace, self.replace = inner.replace, self._replace
        if isinstance(inner, Recalling):
            self.recall = inner.recall
        if isinstance(inner, Ordered):
            self.in_order = inner.in_order
        if isinstance(inner, OnCartridges):
            self.places, self.in_drive, self.media = inner.places, inner.in_drive, inner.media
            self.wound = inner.wound
            self._inner_pass_over, self.pass_over = inner.pass_over, self._pass_over
        if isinstance(inner, Rewriting):
            self._inner_rewrite, self.rewrite = inner.rewrite, self._rewrite
        if isinstance(inner, Flushing):
            self._inner_flush, self.staged, self.flush = inner.flush, inner.staged, self._flush
            self._inner_settled, self.settled = inner.settled, self._settled
        if isinstance(inner, Sized):
            self.space = inner.space
        if isinstance(inner, Located):
            self.whereabouts = inner.whereabouts

    @property
    def profile(self) -> StorageProfile:
        """What the wrapped store is made of."""
        return self.inner.profile

    @property
    def place(self) -> str:
        """Where the wrapped store is."""
        return self.inner.place

    def write(self, key: str, size: int, source: Source) -> Item:
        """Pass on."""
        return self.inner.write(key, size, self._source(source))

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Pass on."""
        return self._reader(self.inner.read(key, offset=offset, length=length, fresh=fresh))

    def stat(self, key: str) -> Item:
        """Pass on."""
        return self.inner.stat(key)

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Pass on."""
        return self.inner.items(prefix)

    def delete(self, key: str) -> None:
        """Pass on."""
        self.inner.delete(key)

    def close(self) -> None:
        """Close the wrapped store."""
        self.inner.close()

    def _create(self) -> Draft:
        return self._draft(self._inner_create())

    def _replace(self, key: str, expected: Item, size: int, source: Source) -> Item:
        return self._inner_replace(key, expected, size, self._source(source))

    def _rewrite(self, key: str, expected: Item, size: int, source: Source) -> Item:
        return self._inner_rewrite(key, expected, size, self._source(source))

    def _flush(self, prove: Prove) -> None:
        self._inner_flush(lambda item, reader: prove(item, self._reader(reader)))

    def _settled(self) -> StorageBackend:
        found = copy.copy(self)
        Wrapping.__init__(found, self._inner_settled())
        return found

    def _pass_over(self, barcode: str, take: Callable[[bytes], object]) -> Iterator[Met]:
        return self._inner_pass_over(barcode, self._taker(take))

    def _taker(self, take: Callable[[bytes], object]) -> Callable[[bytes], object]:
        return take

    def _source(self, source: Source) -> Source:
        return source

    def _reader(self, reader: Reader) -> Reader:
        return reader

    def _draft(self, draft: Draft) -> Draft:
        return draft


class WrappingReader:
    """Passes on every operation to ``inner``."""

    def __init__(self, inner: Reader) -> None:
        self.inner = inner

    @property
    def reach(self) -> Reach:
        """How deep the reads so far went."""
        return self.inner.reach

    def read(self, size: int = -1, /) -> bytes:
        """Pass on."""
        return self.inner.read(size)

    def readinto(self, buffer: memoryview, /) -> int:
        """Pass on."""
        return self.inner.readinto(buffer)

    def close(self) -> None:
        """Close the wrapped reader."""
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WrappingDraft:
    """Passes on every operation to ``inner``."""

    def __init__(self, inner: Draft) -> None:
        self.inner = inner

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Pass on."""
        self.inner.write(data)

    def read_back(self) -> Reader:
        """Pass on."""
        return self.inner.read_back()

    def commit(self, key: str) -> Item:
        """Pass on."""
        return self.inner.commit(key)

    def abort(self) -> None:
        """Pass on."""
        self.inner.abort()
