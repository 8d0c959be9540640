"""A pack on its way to its stores: written to all at once, read back from each medium, named, given its sidecars.

A store that fails on the way is left behind with its reason; the others go on.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from preservation.fixity import CHUNK, Fixity, FixityMismatchError, Measuring, blake3_hex, expecting
from preservation.ledger.events import Event, EventType
from preservation.packs import layout
from preservation.packs.writer import FinishedPack
from preservation.repository import Repository
from preservation.sidecars import blocks_name, index_name
from preservation.stores import Store
from storage_backends.backend import (
    Draft,
    Drafting,
    Item,
    Reach,
    Reader,
    Recalling,
    Replacing,
    Rewriting,
    Source,
    StorageBackend,
)
from storage_backends.errors import (
    KeyExistsError,
    KeyMissingError,
    MocbanError,
    NotRecalledError,
    ReadFailureError,
    StorageError,
    StoreRefusesError,
    StoreUnavailableError,
    joined,
    marked,
)

LONGEST_NAME = 240
"""Bytes; what is quarantined under a longer name is called by the digest of the name, so that every disk takes it."""


class NoStoreLeftError(MocbanError):
    """Not one store could take the pack; nothing is acknowledged."""

    template = marked("No store could take the records: {reason}")


@dataclass(frozen=True, slots=True)
class Landed:
    """A copy that was written, read back and found right."""

    store: Store
    item: Item
    reach: Reach


@dataclass(slots=True)
class Shipment:
    """The drafts of one pack on several stores; a sink for the writer."""

    stores: Sequence[Store]
    failures: dict[str, MocbanError] = field(default_factory=dict)
    _drafts: dict[str, Draft] = field(default_factory=dict)
    _begun: bool = False

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Give the next bytes to every store that is still with us."""
        if not self._begun:
            self._begin()
        for name in list(self._drafts):
            try:
                self._drafts[name].write(data)
            except StorageError as error:
                self._leave(name, error)
        if not self._drafts:
            raise NoStoreLeftError(
                reason=joined(str(error) for error in self.failures.values()) or marked("none is there")
            )

    def _begin(self) -> None:
        self._begun = True
        for store in self.stores:
            if store.backend is None:
                self.failures[store.name] = store.failure or StoreUnavailableError(place=store.row.url, reason="closed")
            elif isinstance(store.backend, Drafting):
                try:
                    self._drafts[store.name] = store.backend.create()
                except StorageError as error:
                    self.failures[store.name] = error

    def _leave(self, name: str, error: MocbanError) -> None:
        self.failures[name] = error
        self._drafts.pop(name).abort()

    def abort(self) -> None:
        """Forget all drafts."""
        for draft in self._drafts.values():
            draft.abort()
        self._drafts.clear()

    def land(self, finished: FinishedPack) -> list[Landed]:
        """Read every draft back, name it and write the sidecars beside it; return the copies that are right."""
        names = list(self._drafts)
        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            landed = list(pool.map(lambda name: self._land_one(name, finished), names))
        copies = [copy for copy in landed if copy is not None]
        if not copies:
            raise NoStoreLeftError(reason=joined(str(error) for error in self.failures.values()))
        return copies

    def _land_one(self, name: str, finished: FinishedPack) -> Landed | None:
        store = next(store for store in self.stores if store.name == name)
        draft = self._drafts[name]
        assert store.backend is not None
        try:
            with draft.read_back() as reader:
                check_reader(reader, finished.fixity, what=f"{name} ({finished.pack})")
                reach = reader.reach
            item, reach = _named(store.backend, draft, finished, reach)
            put_sidecars(store.backend, finished.fonds, finished.pack, finished.index, finished.blocks)
        except (StorageError, FixityMismatchError) as error:
            self.failures[name] = error
            return None
        finally:
            draft.abort()
        return Landed(store, item, reach)


def check_reader(reader: Reader, fixity: Fixity, *, what: str) -> None:
    """Read to the end and compare; raises ``FixityMismatchError``."""
    measuring = Measuring()
    buffer = memoryview(bytearray(CHUNK))
    while count := reader.readinto(buffer):
        measuring.update(buffer[:count])
    found = measuring.fixity()
    if (found.size, found.blake3) != (fixity.size, fixity.blake3):
        raise FixityMismatchError(what=what, expected=fixity.blake3, found=found.blake3)


def _named(backend: StorageBackend, draft: Draft, finished: FinishedPack, reach: Reach) -> tuple[Item, Reach]:
    key = layout.pack_key(finished.fonds, finished.pack)
    try:
        return draft.commit(key), reach
    except KeyExistsError:
        found = adopted(backend, key, finished.fixity)
        if found is not None:
            return found
    set_aside(backend, key)
    return draft.commit(key), reach


def adopted(backend: StorageBackend, key: str, fixity: Fixity) -> tuple[Item, Reach] | None:
    """Return the existing item if its bytes are the ones expected, and how deep the look was; a name proves nothing."""
    try:
        item = backend.stat(key)
        with backend.read(key, fresh=True) as reader:
            check_reader(reader, fixity, what=key)
            return item, reader.reach
    except (KeyMissingError, FixityMismatchError):
        return None


def set_aside(backend: StorageBackend, key: str) -> str:
    """Move what lies under ``key`` to the quarantine; return where it lies now. The bytes are kept, never deleted."""
    if isinstance(backend, Rewriting):
        raise StoreRefusesError(place=backend.place, reason="this medium keeps what it has where it is")
    item = backend.stat(key)
    place = quarantine_key(key, item.generation)
    # It lies there already if an earlier attempt was stopped between this line and the next.
    with backend.read(key) as reader, suppress(KeyExistsError):
        backend.write(place, item.size, reader)
    backend.delete(key)
    return place


def quarantine_key(key: str, generation: str) -> str:
    """Return where damaged bytes are kept; never named ``.tar``, so that nobody extracts them by mistake."""
    name = f"{key.replace('/', '_')}.{generation}"
    return f"quarantine/{name if len(name.encode()) <= LONGEST_NAME else blake3_hex(name.encode())}.damaged"


def is_aside(key: str, original: str) -> bool:
    """Tell whether ``key`` is where something that lay under the pack's key ``original`` was set aside."""
    return key.startswith(f"quarantine/{original.replace('/', '_')}.")


def put_item(backend: StorageBackend, key: str, data: bytes) -> None:
    """Make ``key`` hold exactly ``data``; the same bytes again are no work."""
    try:
        backend.write(key, len(data), io.BytesIO(data))
    except KeyExistsError:
        with suppress(ReadFailureError, NotRecalledError), backend.read(key) as reader:
            held = bytearray()
            while len(held) <= len(data) and (piece := reader.read(len(data) + 1 - len(held))):
                held += piece
            if held == data:
                return
        if isinstance(backend, Replacing):
            backend.replace(key, backend.stat(key), len(data), io.BytesIO(data))
        elif isinstance(backend, Rewriting):
            backend.rewrite(key, backend.stat(key), len(data), io.BytesIO(data))
        else:
            raise


def put_sidecars(backend: StorageBackend, fonds: str, pack: str, index: bytes, blocks: bytes) -> None:
    """Write the index and the block digests of a pack beside it."""
    put_item(backend, layout.index_key(fonds, pack), index)
    put_item(backend, layout.blocks_key(fonds, pack), blocks)


def keep_sidecars(repository: Repository, finished: FinishedPack) -> None:
    """Write the sidecars of a pack in the repository, durably; before the event that names them."""
    repository.sidecars.keep(index_name(finished.pack), finished.index)
    repository.sidecars.keep(blocks_name(finished.pack), finished.blocks)


def sealed_event(
    repository: Repository, finished: FinishedPack, *, package: str, version: int, session: str, salvage_of: str = ""
) -> Event:
    """Return the event that a pack was sealed."""
    return repository.event(
        EventType.PACK_SEALED,
        fonds=finished.fonds,
        pack=finished.pack,
        size=finished.fixity.size,
        label=finished.label,
        package=package,
        version=version,
        session=session,
        objects=finished.objects,
        content_bytes=finished.content_bytes,
        index_size=len(finished.index),
        index_blake3=blake3_hex(finished.index),
        blocks_size=len(finished.blocks),
        blocks_blake3=blake3_hex(finished.blocks),
        salvage_of=salvage_of,
    )


def copy_event(repository: Repository, fonds: str, fixity: Fixity, copy: Landed) -> Event:
    """Return the event that a copy was written, read back and found right."""
    return repository.event(
        EventType.REPLICATION,
        fonds=fonds,
        pack=fixity.blake3,
        store=copy.store.row.store,
        generation=copy.item.generation,
        size=fixity.size,
        blake3=fixity.blake3,
        encoding="plain",
        reach=str(copy.reach),
    )


def copied(source: StorageBackend, target: Store, key: str, fixity: Fixity) -> Landed:
    """Copy one item to another store, verified while it is read and again from the target's medium.

    Raises:
        FixityMismatchError: the source's bytes are wrong (nothing is kept), or the target's are (nothing is named).
        StorageError: either side failed.
    """
    backend = target.backend
    assert backend is not None
    existing = adopted(backend, key, fixity)
    if existing is not None:
        return Landed(target, *existing)
    if isinstance(source, Recalling):
        source.recall([key])
    with source.read(key) as reader:
        checked = expecting(reader, fixity, what=key)
        if isinstance(backend, Drafting):
            draft = backend.create()
            try:
                while data := checked.read(CHUNK):
                    draft.write(data)
                with draft.read_back() as back:
                    check_reader(back, fixity, what=key)
                    reach = back.reach
                _make_room(backend, key)
                return Landed(target, draft.commit(key), reach)
            finally:
                draft.abort()
        item = write_anew(backend, key, fixity.size, checked)
    if isinstance(backend, Recalling):
        backend.recall([key])
    with backend.read(key, fresh=True) as back:
        check_reader(back, fixity, what=key)
        return Landed(target, item, back.reach)


def write_anew(backend: StorageBackend, key: str, size: int, source: Source) -> Item:
    """Write an item; what lies under its key, and is wrong, is set aside or, where it must stay, counts no longer."""
    if not isinstance(backend, Rewriting):
        _make_room(backend, key)
        return backend.write(key, size, source)
    try:
        before = backend.stat(key)
    except KeyMissingError:
        return backend.write(key, size, source)
    return backend.rewrite(key, before, size, source)


def _make_room(backend: StorageBackend, key: str) -> None:
    """Set aside what lies under ``key``, if there is anything; as late as can be."""
    with suppress(KeyMissingError):
        set_aside(backend, key)
