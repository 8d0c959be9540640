"""Fetches what lies on tape only before it is read: window by window, cartridge by cartridge, as the tape passes it.

Who reads a package reads its objects in the order of its manifest; a tape would be wound to and fro. So some of what
comes next is looked up, planned, read once, measured, and kept in a file without a name until it is asked for. What a
disk has, and what could not be fetched, is read from the copies when its turn comes.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import IO

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, PackRow, PackState
from preservation.fixity import CHUNK, Fixity, FixityMismatchError, expecting
from preservation.packages import object_pieces
from preservation.packs.layout import pack_key
from preservation.stores import Store
from storage_backends.backend import OnCartridges, Recalling
from storage_backends.errors import StorageError
from storage_backends.tape.drive import RECORD
from storage_backends.tape.recall import Request, Spot, Sweep, planned

WINDOW = 32 << 30
"""Bytes that are fetched at a time (32 GiB), or a quarter of the free space if that is less."""

OBJECTS = 50_000
"""Objects that are looked up at a time."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a copy of an object can be read."""

    store: Store
    key: str
    offset: int


@dataclass(slots=True)
class Fetching:
    """The objects of one fonds, whose digests ``coming`` gives in the order in which they will be asked for.

    ``packs`` are those that may hold them, ``folder`` takes the file in which they wait. Close it.
    """

    view: View
    stores: Sequence[Store]
    fonds: str
    packs: Sequence[str]
    coming: Iterator[str]
    folder: bytes
    _window: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    """Digest to (offset, size) in the file; None: it is read from the copies."""
    _spool: IO[bytes] | None = None
    _end: int = 0
    _sources: dict[tuple[str, str], _Source] = field(default_factory=dict)
    """(digest, cartridge) to where that copy is read."""
    _packs: dict[str, tuple[PackRow, list[tuple[Store, str, int]]] | None] = field(default_factory=dict)
    """Packs that only tape has, with (store, cartridge, block) of each copy; None: a disk has it, or nobody."""
    _needed: bool | None = None
    """Whether only tapes have one of the packs; looked up when the first object is asked for."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Give back what waits."""
        self._stack.close()

    def pieces(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of an object, which were measured; as ``object_pieces`` otherwise.

        Raises:
            NoGoodCopyError: no copy gives the right bytes.
        """
        if self._needed is None:
            self._needed = any(self._holders(pack) is not None for pack in self.packs)
        if self._needed and digest not in self._window:
            self._next_window()
        place = self._window.get(digest)
        if place is None:
            yield from object_pieces(self.view, self.stores, self.fonds, digest)
            return
        yield from self._waiting(digest, *place)

    def _waiting(self, digest: str, offset: int, size: int) -> Iterator[bytes]:
        assert self._spool is not None
        source = expecting(_Slice(self._spool.fileno(), offset, offset + size), Fixity(size, digest), what=digest)
        while data := source.read(CHUNK):
            yield data

    def _next_window(self) -> None:
        """Look up what comes next and fetch what only tapes have."""
        self._window, self._end = {}, 0
        self._sources.clear()
        self._packs.clear()
        room, wanted, size = self._room(), [], 0
        for digest in self.coming:
            if digest in self._window:
                continue
            self._window[digest] = None
            request = self._request(digest)
            if request is not None and request.spots[0].size <= room:
                wanted.append(request)
                size += request.spots[0].size
            if size >= room or len(self._window) >= OBJECTS:
                break
        while wanted:
            left = []
            for sweep in planned(wanted, mounted=self._mounted()):
                left += self._swept(sweep)
            wanted = left

    def _room(self) -> int:
        free = os.statvfs(self.folder)
        return min(WINDOW, free.f_bavail * free.f_frsize // 4)

    def _mounted(self) -> str:
        for store in self.stores:
            backend = store.backend
            if isinstance(backend, OnCartridges) and backend.in_drive():
                return f"{store.row.store}/{backend.in_drive()}"
        return ""

    def _request(self, digest: str) -> Request | None:
        """Return what to ask of the tapes; nothing if a disk has the object, or if nobody has."""
        spots = []
        for location in rows.locations(self.view.get(rows.object_key(self.fonds, digest))):
            if location.pack not in self._packs:
                self._packs[location.pack] = self._holders(location.pack)
            held = self._packs[location.pack]
            if held is None:
                return None
            for store, cartridge, block in held[1]:
                key = pack_key(held[0].fonds, held[0].pack)
                self._sources[digest, cartridge] = _Source(store, key, location.offset)
                spots.append(Spot(cartridge, block + location.offset // RECORD, location.size))
        return Request(digest, tuple(spots)) if spots else None

    def _holders(self, name: str) -> tuple[PackRow, list[tuple[Store, str, int]]] | None:
        pack = rows.one(self.view, PackRow, name)
        if pack is None or pack.state != PackState.LIVE:
            return None
        found = tape_places(self.view, self.stores, pack)
        return None if found is None else (pack, found)

    def _swept(self, sweep: Sweep) -> list[Request]:
        """Fetch one sweep; return what failed and could be had elsewhere."""
        left = []
        for request, spot in self._as_it_winds(sweep):
            if not self._fetched(request.name, self._sources[request.name, sweep.cartridge], spot.size):
                others = tuple(one for one in request.spots if one.cartridge != sweep.cartridge)
                if others:
                    left.append(replace(request, spots=others))
        return left

    def _as_it_winds(self, sweep: Sweep) -> Sequence[tuple[Request, Spot]]:
        """Return what is read in the order that suits the drive: it may know better than by block."""
        store, _, barcode = sweep.cartridge.partition("/")
        backend = next(one.backend for one in self.stores if one.row.store == store)
        assert isinstance(backend, OnCartridges)
        try:
            order = backend.wound(barcode, [(spot.block, spot.size) for _, spot in sweep.requests])
        except StorageError:  # each recall will say so
            return sweep.requests
        return [sweep.requests[place] for place in order]

    def _fetched(self, digest: str, source: _Source, size: int) -> bool:
        backend = source.store.backend
        assert isinstance(backend, Recalling)
        if self._spool is None:
            self._spool = self._stack.enter_context(tempfile.TemporaryFile(dir=self.folder, buffering=0))  # noqa: SIM115 - the stack closes it
        at = self._end
        try:
            backend.recall([source.key])
            with source.store.backend.read(source.key, offset=source.offset, length=size) as reader:
                checked = expecting(reader, Fixity(size, digest), what=digest)
                while data := checked.read(CHUNK):
                    at += _put(self._spool.fileno(), data, at)
        except (StorageError, FixityMismatchError, OSError):  # OSError: there is no room left
            return False
        self._window[digest] = self._end, size
        self._end = at
        return True


def _put(file: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(file, view[done:], at + done)
    return done


@dataclass(slots=True)
class _Slice:
    """A part of a file as a source."""

    file: int
    at: int
    end: int

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the part."""
        left = self.end - self.at
        data = os.pread(self.file, left if size < 0 else min(size, left), self.at)
        self.at += len(data)
        return data


def tape_places(view: View, stores: Sequence[Store], pack: PackRow) -> list[tuple[Store, str, int]] | None:
    """Return (store, cartridge, block) of each good copy of a pack that only tapes have; None where that is not so.

    Stores that cannot be reached now have nothing. Cartridges are named with their store: barcodes may be the same.
    """
    good = {row.store for row in rows.every(view, CopyRow, pack.pack) if row.state == CopyState.GOOD}
    key, found = pack_key(pack.fonds, pack.pack), []
    for store in stores:
        backend = store.backend
        if store.row.store not in good or backend is None:
            continue
        if not isinstance(backend, OnCartridges):
            return None
        try:
            places = backend.places([key])
        except StorageError:
            continue
        if key in places:
            barcode, block = places[key]
            found.append((store, f"{store.row.store}/{barcode}", block))
    return found or None
