"""A store on tape: what is written is staged durably first, and brought to cartridges by ``flush``.

Both are one store: an item is where it was staged until it is on a cartridge, read back and right. Nothing is replaced
and nothing deleted; an item that is damaged can be written anew, at another place.
"""

import copy
import heapq
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from storage_backends.backend import (
    Item,
    Located,
    Met,
    Prove,
    Reader,
    Replacing,
    Source,
    StorageBackend,
    StorageProfile,
    checked_key,
)
from storage_backends.errors import (
    GenerationChangedError,
    KeyExistsError,
    KeyMissingError,
    NotRecalledError,
    StoreRefusesError,
)
from storage_backends.tape import winding
from storage_backends.tape.directory import Directory, Location
from storage_backends.tape.drive import RECORD, CartridgeAwayError, CartridgeShelvedError
from storage_backends.tape.library import Library
from storage_backends.tape.noted import Condition
from storage_backends.tape.passing import compared
from storage_backends.tape.reading import TapeReader
from storage_backends.tape.writing import Writer

STAGED = "staged-"


class TapePlace(Protocol):
    """Where the cartridges are, and how they are reached."""

    @property
    def place(self) -> str:
        """For people."""
        ...

    @property
    def library(self) -> Library:
        """The drive and the changer."""
        ...

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing but cartridges: nothing is staged, and nothing can be."""
        ...

    @property
    def shares_disk(self) -> bool:
        """Whether the cartridges lie on the disk that the staging is on."""
        ...

    def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the place is there and is the store."""
        ...

    def directory(self, *, writable: bool) -> Directory:
        """Open the directory of the cartridges."""
        ...


class TapeBackend:
    """Bytes under keys on the cartridges of one store, and in ``staging`` on their way. Safe for threads."""

    def __init__(self, home: TapePlace, staging: StorageBackend, *, profile: StorageProfile) -> None:
        self.place, self.profile = home.place, profile
        self.home, self._staging = home, staging
        self._lock = threading.RLock()
        self._directories = _Directories(home, self._lock)
        self._recalled: set[str] = set()
        self.withheld: frozenset[str] = frozenset()
        """Barcodes of cartridges on which nothing is written any more; what counts is written elsewhere."""
        self.shelved: frozenset[str] = frozenset()
        """Barcodes of cartridges that lie on a shelf."""
        self.reads_staging = True
        """Whether what is only staged is seen."""
        if home.shares_disk and isinstance(staging, Located):  # an image is a file on the disk that the staging is on
            self.whereabouts = staging.whereabouts

    def write(self, key: str, size: int, source: Source) -> Item:
        """Stage exactly ``size`` bytes of ``source`` durably under a new ``key``."""
        checked_key(key)
        if self.directory().find(key) is not None:
            raise KeyExistsError(place=self.place, key=key)
        item = self._staging.write(key, size, source)
        if self.directory().find(key) is not None:  # another process staged and flushed it meanwhile
            self._staging.delete(key)
            raise KeyExistsError(place=self.place, key=key)
        return _staged(item)

    def rewrite(self, key: str, expected: Item, size: int, source: Source) -> Item:
        """Stage new bytes for exactly the generation ``expected``; the next flush writes them at another place."""
        checked_key(key)
        if self.stat(key) != expected:
            raise GenerationChangedError(place=self.place, key=key)
        before = self._staged_item(key)
        if before is None:
            return _staged(self._staging.write(key, size, source))
        assert isinstance(self._staging, Replacing)
        return _staged(self._staging.replace(key, before, size, source))

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Open ``length`` bytes from ``offset`` of what was recalled."""
        self.stat(key)
        if key not in self._recalled:
            raise NotRecalledError(place=self.place, key=key)
        if self._staged_item(key) is not None:
            with suppress(KeyMissingError):  # flushed meanwhile
                return self._staging.read(key, offset=offset, length=length, fresh=fresh)
        found = self._found(key)
        return TapeReader(self.home.library, key, found, offset=offset, length=length, fresh=fresh)

    def stat(self, key: str) -> Item:
        """Return the item without moving a cartridge."""
        checked_key(key)
        self.home.check()
        item = self._staged_item(key)
        if item is not None:
            return _staged(item)
        found = self._found(key)
        return Item(key, found.size, found.generation)

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Yield the items below ``prefix`` in key order, as staging and directory tell them."""
        if prefix:
            checked_key(prefix)
        directory = self.directory()
        staged = (_staged(item) for item in self._staged_items(prefix))
        taped = (Item(key, found.size, found.generation) for key, found in directory.items(prefix))
        last = ""
        # Of an item that is in both, the staged one is the newer one: merge keeps the order of its arguments.
        for item in heapq.merge(staged, taped, key=lambda item: item.key.encode()):
            if item.key != last:
                last = item.key
                yield item

    def delete(self, key: str) -> None:
        """Refuse: a tape keeps what it has."""
        checked_key(key)
        raise StoreRefusesError(place=self.place, reason="a tape keeps what it has")

    def recall(self, keys: list[str]) -> None:
        """See to it that the items can be read: each is there, and its cartridge is in the library."""
        there: set[str] | None = None
        for key in keys:
            if not self.stat(key).generation.startswith(STAGED):
                there = set(self.home.library.barcodes()) if there is None else there
                found = self._found(key)
                if found.barcode not in there or found.barcode in self.shelved:  # a person is about to take it, perhaps
                    self.home.library.note(found.barcode, Condition.AWAY)
                    kind = CartridgeShelvedError if found.barcode in self.shelved else CartridgeAwayError
                    raise kind(place=self.place, barcode=found.barcode)
            self._recalled.add(key)

    def in_order(self, keys: list[str]) -> list[str]:
        """Return the keys as the tape passes them: by cartridge, then by place; staged ones first."""
        directory = self.directory()

        def place_of(key: str) -> tuple[int, int, int]:
            found = directory.find(key)
            return (found.number, found.file, found.place) if found is not None else (0, 0, 0)

        return sorted(keys, key=place_of)

    def places(self, keys: list[str]) -> dict[str, tuple[str, int]]:
        """Return for each key that is on a cartridge its barcode, and the block where it begins."""
        directory, found = self.directory(), {}
        for key in keys:
            at = directory.find(key)
            if at is not None and self._staged_item(key) is None:
                block = at.file << 32 if at.start is None else at.start
                found[key] = at.barcode, block + at.place // RECORD
        return found

    def in_drive(self) -> str:
        """Return the barcode of the cartridge in the drive; empty if there is none."""
        return self.home.library.in_drive

    def media(self) -> list[str]:
        """Return the barcodes of the cartridges in use that have something on them, in the order of their numbers."""
        directory = self.directory()
        known = [one for one in directory.cartridges() if one.barcode not in self.withheld]
        return [one.barcode for one in known if directory.last_file(one.number) is not None]

    def wound(self, barcode: str, wanted: Sequence[tuple[int, int]]) -> list[int]:
        """Mount a cartridge; return the places in ``wanted`` (block, bytes) in the order its drive reads fastest."""
        with self.home.library.using(barcode) as drive:
            return winding.in_order(drive, wanted)

    def pass_over(self, barcode: str, take: Callable[[bytes], object]) -> Iterator[Met]:
        """Read a cartridge from its label to the end of its data, and go on behind what cannot be read."""
        directory = self.directory()
        cartridge = next((one for one in directory.cartridges() if one.barcode == barcode), None)
        if cartridge is None or barcode in self.shelved:
            raise CartridgeAwayError(place=self.place, barcode=barcode)
        yield from compared(self.home.library, directory, cartridge, take)

    def staged(self) -> Iterator[Item]:
        """Yield what is not on a cartridge yet."""
        self.home.check()
        for item in self._staged_items():
            yield _staged(item)

    def settled(self) -> "TapeBackend":
        """Return the store as the cartridges have it; it is closed with this one."""
        found = copy.copy(self)
        found.reads_staging = False
        return found

    def flush(self, prove: Prove) -> None:
        """Bring what is staged to cartridges; ``prove`` is given each item as it is read back from there."""
        self.home.check()
        if next(self.staged(), None) is None:
            return
        with self._lock, self.home.library.using():
            away = self.withheld | self.shelved
            Writer(self.home.library, self.for_writing(), self._staging, self.place, prove, away).flush()

    @property
    def library(self) -> Library:
        """The drive and the changer."""
        return self.home.library

    def close(self) -> None:
        """Give the drive back."""
        self.home.library.close()
        self._directories.close()
        self._staging.close()

    def _staged_item(self, key: str) -> Item | None:
        if self.home.is_bare or not self.reads_staging:
            return None
        try:
            return self._staging.stat(key)
        except KeyMissingError:
            return None

    def _staged_items(self, prefix: str = "") -> Iterator[Item]:
        return iter(()) if self.home.is_bare or not self.reads_staging else self._staging.items(prefix)

    def _found(self, key: str) -> Location:
        found = self.directory().find(key)
        if found is None:
            raise KeyMissingError(place=self.place, key=key)
        return found

    def directory(self) -> Directory:
        """Return the directory, to be read."""
        self.home.check()
        return self._directories.to_read()

    def for_writing(self) -> Directory:
        """Return the directory, to be changed by whoever has the drive."""
        return self._directories.to_write()


class _Directories:
    """The directory of the cartridges: opened when it is needed, once more to be changed, and closed at the end."""

    def __init__(self, home: TapePlace, lock: threading.RLock) -> None:
        self._home, self._lock = home, lock
        self._current: Directory | None = None
        self._opened: list[Directory] = []

    def to_read(self) -> Directory:
        with self._lock:
            return self._current if self._current is not None else self._open(writable=False)

    def to_write(self) -> Directory:
        if self._current is not None and self._current.writable:
            return self._current
        return self._open(writable=True)  # listings may still go on in the one before

    def _open(self, *, writable: bool) -> Directory:
        self._current = self._home.directory(writable=writable)
        self._opened.append(self._current)
        return self._current

    def close(self) -> None:
        for directory in self._opened:
            directory.close()


def _staged(item: Item) -> Item:
    return Item(item.key, item.size, f"{STAGED}{item.generation}")
