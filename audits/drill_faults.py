"""The faults of a drill as data: what is put on the medium of a shadow store, and what the store then says about it.

A fault has two halves. The bytes under the key are made wrong on the medium itself; and some faults change how the
store answers afterwards, until new bytes are written under the key, as a real store that lies would.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from audits.findings import Code
from preservation.fixity import CHUNK
from storage_backends.backend import Draft, Item, Reach, Reader, Source, StorageBackend
from storage_backends.errors import MocbanError, marked
from storage_backends.wrapping import Wrapping, WrappingDraft, WrappingReader

FILLING = b"\xa5"
"""What a store that lies gives for bytes that it does not have."""


class FaultKind(StrEnum):
    """The classes of faults, in the order in which a drill tries them."""

    BIT_FLIP = "bit-flip"
    TRUNCATION = "truncation"
    ZERO_TAIL = "zero-tail"
    MISSING = "missing"
    SWAPPED = "swapped"
    STALE_CACHE = "stale-cache"
    LYING_SIZE = "lying-size"
    LYING_BYTES = "lying-bytes"
    LYING_WRITE = "lying-write"


MEANING = {
    FaultKind.BIT_FLIP: marked("one bit is changed"),
    FaultKind.TRUNCATION: marked("the end is missing"),
    FaultKind.ZERO_TAIL: marked("the end is zeros"),
    FaultKind.MISSING: marked("the copy is gone"),
    FaultKind.SWAPPED: marked("the bytes of another item lie under the name"),
    FaultKind.STALE_CACHE: marked("the medium is wrong, and the cache still has the right bytes"),
    FaultKind.LYING_SIZE: marked("the end is missing, and the store says the right size"),
    FaultKind.LYING_BYTES: marked("the end is missing, and the store gives other bytes for it and calls it a success"),
    FaultKind.LYING_WRITE: marked("one bit is changed, and the store spoils what is written anew and says nothing"),
}
"""What each class is, in one clause."""

NAMED_AS = {kind: Code.COPY_MISSING if kind is FaultKind.MISSING else Code.COPY_DAMAGED for kind in FaultKind}
"""The code by which an audit names the fault rightly."""

NOT_TO_BE_HEALED = frozenset({FaultKind.LYING_WRITE})
"""Here a repair must refuse: it must notice that what it has written is not right, and say so."""


class HarmlessFaultError(MocbanError):
    """A drill could not do damage: what it put on the medium measures right."""

    template = marked("The drill could not put the fault {kind} on {store}: the copy measures right afterwards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in one copy: of which store, under which key; ``at`` is the first byte that is wrong."""

    kind: FaultKind
    store: str
    key: str
    pack: str
    size: int
    """Of the copy as it should be, in bytes."""
    at: int = 0
    bit: int = 0
    other: str = ""
    """The key whose bytes come instead, for ``swapped``."""


def inject(fault: Fault, medium: StorageBackend, good: StorageBackend) -> None:
    """Put the wrong bytes on ``medium``, made from the right ones that ``good`` has; streams, whatever the size."""
    medium.delete(fault.key)
    if fault.kind is FaultKind.MISSING:
        return
    if fault.kind is FaultKind.SWAPPED:
        size = good.stat(fault.other).size
        with good.read(fault.other) as reader:
            medium.write(fault.key, size, reader)
        return
    cut = fault.kind in {FaultKind.TRUNCATION, FaultKind.LYING_SIZE, FaultKind.LYING_BYTES}
    with good.read(fault.key) as reader:
        medium.write(fault.key, fault.at if cut else fault.size, _Altered(reader, fault, cut=cut))


class _Altered:
    """Gives the bytes of a copy on, wrong as the fault says."""

    def __init__(self, inner: Source, fault: Fault, *, cut: bool) -> None:
        self._inner, self._fault, self._cut, self._at = inner, fault, cut, 0

    def read(self, size: int = -1, /) -> bytes:
        data = bytearray(self._inner.read(size))
        begin, self._at = self._at, self._at + len(data)
        place = max(self._fault.at - begin, 0)
        if self._cut:
            del data[place:]
        elif self._fault.kind is FaultKind.ZERO_TAIL:
            data[place:] = bytes(len(data) - min(place, len(data)))
        elif begin <= self._fault.at < self._at:
            data[place] ^= 1 << self._fault.bit
        return bytes(data)


@dataclass(slots=True)
class Meter:
    """What the stores were asked for: bytes read in all, when a copy was looked at last, when it was written."""

    clock: Callable[[], float]
    """Seconds that never go back."""
    read: int = 0
    looks: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """By store and key: when, and how many bytes had been read from all stores by then."""
    writes: dict[tuple[str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            self.read = 0
            self.looks.clear()
            self.writes.clear()

    def count(self, store: str, key: str, size: int) -> None:
        """Note that a copy was looked at, and how many of its bytes were read."""
        with self._lock:
            self.read += size
            self.looks[store, key] = self.clock(), self.read

    def written(self, store: str, key: str) -> None:
        """Note that a copy was written."""
        with self._lock:
            self.writes[store, key] = self.clock()


class DrilledBackend(Wrapping):
    """A shadow store: passes on to ``inner``, answers as the faults that are in force say, and keeps the ``meter``.

    ``faults`` is shared with the drill; whoever writes or deletes a key takes away what it lies about it.
    """

    def __init__(
        self,
        inner: StorageBackend,
        store: str,
        faults: dict[tuple[str, str], Fault],
        good: Callable[[Fault], StorageBackend],
        meter: Meter,
    ) -> None:
        super().__init__(inner)
        self._store, self._faults, self._good, self.meter = store, faults, good, meter

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Pass on; from the stale cache, or with bytes that are not there, if the fault says so."""
        fault = self.fault(key)
        source = self.inner
        if fault is not None and fault.kind is FaultKind.STALE_CACHE and not fresh:
            source = self._good(fault)
        reader = source.read(key, offset=offset, length=length, fresh=fresh)
        if fault is not None and fault.kind is FaultKind.LYING_BYTES:
            wanted = max(fault.size - offset, 0) if length is None else max(min(length, fault.size - offset), 0)
            reader = _FillingReader(reader, wanted)
        return _MeteredReader(reader, self, key)

    def stat(self, key: str) -> Item:
        """Pass on; with the size that the item should have, if the store lies."""
        self.meter.count(self._store, key, 0)
        return self._as_claimed(self.inner.stat(key))

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Pass on; with the sizes that the items should have, if the store lies."""
        for item in self.inner.items(prefix):
            yield self._as_claimed(item)

    def write(self, key: str, size: int, source: Source) -> Item:
        """Pass on; new bytes are answered for as they are."""
        item = self.inner.write(key, size, source)
        self.renewed(key)
        return item

    def delete(self, key: str) -> None:
        """Pass on; what is gone is not lied about."""
        self.inner.delete(key)
        self.renewed(key)

    def fault(self, key: str) -> Fault | None:
        """Return the fault that is in force for a key."""
        return self._faults.get((self._store, key))

    def looked(self, key: str, size: int) -> None:
        """Keep the meter."""
        self.meter.count(self._store, key, size)

    def renewed(self, key: str) -> None:
        """Forget the lies about a key, but for the one about writing."""
        fault = self.fault(key)
        if fault is not None and fault.kind is not FaultKind.LYING_WRITE:
            del self._faults[self._store, key]
        self.meter.written(self._store, key)

    def _as_claimed(self, item: Item) -> Item:
        fault = self.fault(item.key)
        if fault is None or fault.kind not in {FaultKind.LYING_SIZE, FaultKind.LYING_BYTES}:
            return item
        return Item(item.key, fault.size, item.generation)

    def _draft(self, draft: Draft) -> Draft:
        spoils = any(
            store == self._store and fault.kind is FaultKind.LYING_WRITE for (store, _), fault in self._items()
        )
        return _DrilledDraft(draft, self, spoils=spoils)

    def _items(self) -> list[tuple[tuple[str, str], Fault]]:
        return list(self._faults.items())


class _MeteredReader(WrappingReader):
    def __init__(self, inner: Reader, backend: DrilledBackend, key: str) -> None:
        super().__init__(inner)
        self._backend, self._key = backend, key

    def read(self, size: int = -1, /) -> bytes:
        data = self.inner.read(size)
        self._backend.looked(self._key, len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        count = self.inner.readinto(buffer)
        self._backend.looked(self._key, count)
        return count


class _FillingReader(WrappingReader):
    """Gives other bytes for those that are not there, and says that they came from the medium."""

    def __init__(self, inner: Reader, wanted: int) -> None:
        super().__init__(inner)
        self._left = wanted

    @property
    def reach(self) -> Reach:
        """What the store claims."""
        return Reach.MEDIUM

    def read(self, size: int = -1, /) -> bytes:
        data = self.inner.read(size)
        if not data and self._left:
            data = FILLING * min(self._left if size < 0 else size, self._left, CHUNK)
        self._left -= len(data)
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _DrilledDraft(WrappingDraft):
    def __init__(self, inner: Draft, backend: DrilledBackend, *, spoils: bool) -> None:
        super().__init__(inner)
        self._backend, self._spoils = backend, spoils

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        if self._spoils and len(data):
            changed = bytearray(data)
            changed[0] ^= 1
            self.inner.write(changed)
            self._spoils = False
            return
        self.inner.write(data)

    def commit(self, key: str) -> Item:
        item = self.inner.commit(key)
        self._backend.renewed(key)
        return item
