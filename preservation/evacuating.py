"""Evacuates a cartridge: all that counts on it is written to others of its pool, read back, recorded; then it retires.

Each pack is taken from the cartridge itself or, where that gives wrong bytes or none, from another store's good copy.
What is done is done: it can be stopped and asked for again. No copy is given up before its successor was read back.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from preservation.cartridges import Known, Purpose, cartridge_named, changed_event, note, number_of, request
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, PackRow
from preservation.catalog.taped import EVACUATING, RETIRED, SHELF
from preservation.evidence import push
from preservation.fixity import Fixity, FixityMismatchError, expecting
from preservation.flushing import flushed
from preservation.packing import Landed, adopted, copy_event
from preservation.packs.layout import blocks_key, index_key, pack_key, pack_of_key
from preservation.repair import sidecar
from preservation.repository import Repository
from preservation.shelving import reached
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached, good_holders
from storage_backends.backend import Flushing, Recalling, Rewriting, Source, StorageBackend
from storage_backends.errors import KeyMissingError, MocbanError, StorageError, StoreUnavailableError
from storage_backends.tape import pool as pools
from storage_backends.tape.backend import STAGED, TapeBackend

WINDOW = 32 << 30
"""Bytes that are staged before they are brought to other cartridges (32 GiB)."""


@dataclass(slots=True)
class Evacuated:
    """What came of it. ``packs`` and ``items`` (what lies beside packs) were written anew; sizes in bytes."""

    barcode: str
    store: str
    packs: int = 0
    bytes: int = 0
    items: int = 0
    from_elsewhere: int = 0
    """Packs that the cartridge did not give, and another store did."""
    left: int = 0
    """Copies that count and still lie on it."""
    left_items: int = 0
    """What lies beside packs and could not be read; an audit writes it anew."""
    retired: bool = False
    failures: dict[str, MocbanError] = field(default_factory=dict)
    """Why, by pack or store."""


def evacuate(repository: Repository, barcode: str, told: Callable[[int, int], None], *, store: str = "") -> Evacuated:
    """Bring all that counts on a cartridge to others of its store, and retire it when nothing is left.

    ``told`` hears of packs and bytes that are done.

    Raises:
        NoSuchCartridgeError, NotTapeError.
        StoppedError: told to stop; asked again, it goes on.
    """
    with repository.copying(), repository.reading() as view, all_open(attached(view)) as stores:
        tapes = [one for one in stores if one.row.medium == "tape" and store in {"", one.name}]
        result = evacuated(repository, stores, cartridge_named(view, tapes, barcode, store), told)
        for name, error in push(repository, stores, flush=True).failures.items():
            result.failures.setdefault(name, error)
    return result


def evacuated(
    repository: Repository,
    stores: Sequence[Store],
    found: Known,
    told: Callable[[int, int], None],
    *,
    enough: Callable[[], bool] = lambda: False,
) -> Evacuated:
    """Do the same where ``stores`` are open and ``copying`` is held; the evidence of it stays to be pushed.

    Once ``enough`` is true no further pack is begun; what was begun is brought to its end.
    """
    result = Evacuated(found.row.barcode, found.store.name)
    if found.row.state == RETIRED:
        result.retired = True
        return result
    with repository.reading() as view:
        work = _Evacuation(repository, view, stores, found, reached(found.store), result, told, enough)
        try:
            came_to_end = work.go()
        finally:
            note(repository, stores, Purpose.EVACUATE)
    if repository.world.stopping():
        raise StoppedError
    _retire_if_empty(repository, found, result, may_retire=came_to_end)
    return result


def _retire_if_empty(repository: Repository, found: Known, result: Evacuated, *, may_retire: bool) -> None:
    with repository.deciding() as (view, append):
        result.left = sum(1 for _ in _copies_on(view, found))
        if may_retire and not result.left:
            append([changed_event(repository, found.store, result.barcode, RETIRED, "evacuated")])
            result.retired = True


def _copies_on(view: View, found: Known) -> Iterator[PackRow]:
    """Yield the packs that are expected and of which the copy that counts lies on the cartridge."""
    for copy in rows.every(view, CopyRow):
        if copy.store == found.store.row.store and number_of(copy) == found.row.number:
            pack = rows.one(view, PackRow, copy.pack)
            if pack is not None and pack.state in rows.EXPECTED_STATES:
                yield pack


@dataclass(slots=True)
class _Evacuation:
    """One evacuation at work."""

    repository: Repository
    view: View
    stores: Sequence[Store]
    found: Known
    pool: TapeBackend
    result: Evacuated
    told: Callable[[int, int], None]
    enough: Callable[[], bool]
    _gathered: dict[str, PackRow] = field(default_factory=dict)
    _size: int = 0

    def go(self) -> bool:
        """Write everything anew; tell whether it came to its end.

        What is only staged when it is told to stop is taken up when it is asked again.
        """
        self._begin()
        packs = {pack_key(pack.fonds, pack.pack): pack for pack in _copies_on(self.view, self.found)}
        for key in self.pool.in_order([*packs]):
            if self.repository.world.stopping():
                return False
            if self.enough():
                self._flush()
                return False
            self._take(key, packs[key])
            if self._size >= WINDOW and not self._flush():
                return False
        self._take_items()
        return self._flush()

    def _begin(self) -> None:
        store, barcode = self.found.store, self.found.row.barcode
        events = []
        if self.found.row.state != EVACUATING:
            events.append(changed_event(self.repository, store, barcode, EVACUATING, self.found.row.reason or "asked"))
        if self.found.row.place == SHELF:
            events += request(self.repository, self.view, store, {barcode}, Purpose.EVACUATE)
        if events:
            self.repository.record(events)
        self.pool.withheld |= {barcode}

    @property
    def _backend(self) -> StorageBackend:
        backend = self.found.store.backend
        assert backend is not None
        return backend

    def _take(self, key: str, pack: PackRow) -> None:
        """Stage a pack, unless it is staged or has its new place since an attempt that was stopped."""
        fixity = Fixity(pack.size, pack.pack)
        try:
            at = self.pool.directory().find(key)
            is_staged = self._is_staged(key)
            if not is_staged and at is not None and at.number != self.found.row.number:
                right = adopted(self._backend, key, fixity)
                if right is not None:
                    self._record(pack, Landed(self.found.store, *right))
                    return
            if not is_staged:
                self._stage(key, pack, fixity)
        except (StorageError, FixityMismatchError) as error:
            self.result.failures[pack.pack] = error
            return
        self._gathered[key] = pack
        self._size += pack.size

    def _is_staged(self, key: str) -> bool:
        with suppress(KeyMissingError):
            return self._backend.stat(key).generation.startswith(STAGED)
        return False

    def _stage(self, key: str, pack: PackRow, fixity: Fixity) -> None:
        failure: MocbanError = StoreUnavailableError(
            place=self.pool.place, reason="no good copy of a pack can be reached"
        )
        holders = {row.store for row in good_holders(self.view, pack.pack, [one.row for one in self.stores])}
        others = [
            one for one in self.stores if one.row.store in holders and one.row.store != self.found.store.row.store
        ]
        for source in (self.found.store, *others):
            if source.backend is None:
                continue
            try:
                if isinstance(source.backend, Recalling):
                    source.backend.recall([key])
                with source.backend.read(key, fresh=True) as reader:
                    self._write(key, pack.size, expecting(reader, fixity, what=key))
            except (StorageError, FixityMismatchError) as error:
                failure = error
            else:
                self.result.from_elsewhere += source is not self.found.store
                return
        raise failure

    def _write(self, key: str, size: int, source: Source) -> None:
        backend = self._backend
        assert isinstance(backend, Rewriting)
        try:
            before = backend.stat(key)
        except KeyMissingError:
            backend.write(key, size, source)
        else:
            backend.rewrite(key, before, size, source)

    def _take_items(self) -> None:
        """Stage what lies beside packs: sidecars as the ledger has them, all else as the cartridge gives it."""
        backends = [one.backend for one in self.stores if one.backend is not None]
        right = {}
        for pack in rows.every(self.view, PackRow):
            right[index_key(pack.fonds, pack.pack)] = pack, "index"
            right[blocks_key(pack.fonds, pack.pack)] = pack, "blocks"
        for key, at in list(pools.contents(self.pool, self.found.row.barcode)):
            if pack_of_key(key) is not None or self._is_staged(key):
                continue
            try:
                data = sidecar(self.repository, right[key][0], backends, right[key][1]) if key in right else None
                if data is not None:
                    self._write(key, len(data), io.BytesIO(data))
                else:
                    self._recall(key)
                    with closing(self._backend.read(key, fresh=True)) as reader:
                        self._write(key, at.size, reader)
            except StorageError:
                self.result.left_items += 1
            else:
                self.result.items += 1

    def _recall(self, key: str) -> None:
        if isinstance(self._backend, Recalling):
            self._backend.recall([key])

    def _flush(self) -> bool:
        """Bring what is staged to other cartridges and record each pack that came back right; tell whether all did."""
        backend = self._backend
        assert isinstance(backend, Flushing)
        expected = {key: Fixity(pack.size, pack.pack) for key, pack in self._gathered.items()}
        done = flushed(backend, expected)
        for key, landed in done.proven.items():
            self._record(self._gathered[key], Landed(self.found.store, *landed))
        if done.failure is not None:
            self.result.failures[self.found.store.name] = done.failure
        self._gathered, self._size = {}, 0
        return done.failure is None

    def _record(self, pack: PackRow, landed: Landed) -> None:
        self.repository.record([copy_event(self.repository, pack.fonds, Fixity(pack.size, pack.pack), landed)])
        self.result.packs += 1
        self.result.bytes += pack.size
        self.told(1, pack.size)
