"""A store in memory, with every promise of the protocol but the obvious one; for tests and simulations."""

import io
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from storage_backends.backend import Item, Reach, Reader, Source, StorageProfile, checked_key, exactly
from storage_backends.errors import (
    GenerationChangedError,
    KeyExistsError,
    KeyMissingError,
    Phrase,
    StorageError,
    StoreUnavailableError,
    marked,
)


@dataclass(slots=True)
class Shelf:
    """What lies in a store in memory. Set ``store_id`` to None, and the store is unavailable."""

    store_id: str | None = None
    contents: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """By key: the bytes, and the number of their generation."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=itertools.count)


class MemoryBackend:
    """Bytes under keys on a ``shelf``, which several backends may share. Safe for threads."""

    def __init__(self, shelf: Shelf, *, store_id: str, profile: StorageProfile, place: str = "memory:") -> None:
        self.place = place
        self.profile = profile
        self._shelf = shelf
        self._store_id = store_id

    def write(self, key: str, size: int, source: Source) -> Item:
        """Store exactly ``size`` bytes of ``source`` under a new ``key``."""
        checked_key(key)
        self._check_absent(key)
        return self.put(key, b"".join(exactly(source, size, place=self.place, key=key)))

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Open ``length`` bytes from ``offset``; the medium is memory, so a fresh read reaches it."""
        data, _ = self._find(key)
        end = len(data) if length is None else offset + length
        return MemoryReader(data[offset:end], reach=Reach.MEDIUM if fresh else Reach.HOST_CACHE)

    def stat(self, key: str) -> Item:
        """Return the item without reading it."""
        data, number = self._find(key)
        return Item(key, len(data), str(number))

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Yield the items below ``prefix`` in key order, as they were at the beginning."""
        start = f"{checked_key(prefix)}/" if prefix else ""
        shelf = self._available()
        with shelf.lock:
            found = [
                Item(key, len(data), str(number))
                for key, (data, number) in sorted(shelf.contents.items())
                if key.startswith(start)
            ]
        yield from found

    def delete(self, key: str) -> None:
        """Remove the item."""
        checked_key(key)
        shelf = self._available()
        with shelf.lock:
            if shelf.contents.pop(key, None) is None:
                raise KeyMissingError(place=self.place, key=key)

    def replace(self, key: str, expected: Item, size: int, source: Source) -> Item:
        """As ``write``, but only over exactly the generation ``expected``; else ``GenerationChangedError``."""
        checked_key(key)
        self._available()
        data = b"".join(exactly(source, size, place=self.place, key=key))
        return self.put(key, data, over=expected)

    def create(self) -> "MemoryDraft":
        """Begin an item without a name."""
        self._available()
        return MemoryDraft(self)

    def clear_drafts(self) -> int:
        """Return 0: no draft outlives its process."""
        self._available()
        return 0

    def close(self) -> None:
        """Nothing is held; the shelf stays as it is."""

    def put(self, key: str, data: bytes, *, over: Item | None = None) -> Item:
        """Put ``data`` under a new key, or over exactly the item ``over``."""
        shelf = self._available()
        with shelf.lock:
            found = shelf.contents.get(key)
            if over is None and found is not None:
                raise KeyExistsError(place=self.place, key=key)
            if over is not None and (found is None or Item(key, len(found[0]), str(found[1])) != over):
                raise GenerationChangedError(place=self.place, key=key)
            number = next(shelf.numbers)
            shelf.contents[key] = (data, number)
        return Item(key, len(data), str(number))

    def _available(self) -> Shelf:
        if self._shelf.store_id != self._store_id:
            reason = (
                marked("nothing is there")
                if self._shelf.store_id is None
                else Phrase("it is {found!r}", found=self._shelf.store_id)
            )
            raise StoreUnavailableError(place=self.place, reason=reason)
        return self._shelf

    def _find(self, key: str) -> tuple[bytes, int]:
        checked_key(key)
        found = self._available().contents.get(key)
        if found is None:
            raise KeyMissingError(place=self.place, key=key)
        return found

    def _check_absent(self, key: str) -> None:
        if key in self._available().contents:
            raise KeyExistsError(place=self.place, key=key)


class MemoryReader:
    """Reads from memory."""

    def __init__(self, data: bytes, *, reach: Reach) -> None:
        self.reach = reach
        self._file = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        return self._file.read(size)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        return self._file.readinto(buffer)

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryDraft:
    """Bytes without a name."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._data: bytearray | None = bytearray()

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append ``data``."""
        self._usable().extend(data)

    def read_back(self) -> Reader:
        """Read what was written so far."""
        return MemoryReader(bytes(self._usable()), reach=Reach.MEDIUM)

    def commit(self, key: str) -> Item:
        """Give the draft its name. ``KeyExistsError`` leaves both the existing item and the draft."""
        item = self._backend.put(checked_key(key), bytes(self._usable()))
        self._data = None
        return item

    def abort(self) -> None:
        """Forget the draft; harmless after ``commit`` or a second time."""
        self._data = None

    def _usable(self) -> bytearray:
        if self._data is None:
            raise StorageError(place=self._backend.place, reason="this draft has ended")
        return self._data
