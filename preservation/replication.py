"""Replication: every pack on every store, verified at both ends; catches up with stores that were away or are new."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from preservation.cartridges import Purpose, note
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, PackRow, PackState, StoreRow, VersionRow
from preservation.evidence import push
from preservation.fetching import tape_places
from preservation.fixity import Fixity, FixityMismatchError
from preservation.flushing import flushed
from preservation.housekeeping import clean
from preservation.packing import Landed, adopted, copied, copy_event, put_sidecars
from preservation.packs.layout import pack_key
from preservation.repair import sidecar
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Sharing, Store, all_open, attached, good_holders, satisfies, sharings
from storage_backends.backend import Flushing, OnCartridges
from storage_backends.errors import MocbanError, StorageError, StoreFullError, StoreUnavailableError
from storage_backends.tape.recall import Request, Spot, planned


@dataclass(slots=True)
class Replicated:
    """What came of it. ``short`` are packs and ``under_replicated`` packages that the policy is not met for."""

    copied: int = 0
    bytes: int = 0
    short: list[str] = field(default_factory=list)
    under_replicated: list[str] = field(default_factory=list)
    failures: dict[str, MocbanError] = field(default_factory=dict)

    def add(self, more: "Replicated") -> None:
        """Count what came of a part of the work."""
        self.copied += more.copied
        self.bytes += more.bytes
        self.failures.update(more.failures)


def replicate(repository: Repository, told: Callable[[int, int], None], *, gathering: bool = False) -> Replicated:
    """Bring every pack to every attached store; what is done is done, so it can be stopped and asked for again.

    Only adds copies: at no moment are there fewer good ones than before. With ``gathering``, tapes are left alone until
    it is worth while to write on them (``is_due``).
    """
    clean(repository)
    with repository.copying(), repository.reading() as before:
        result = Replicated()
        with all_open(attached(before), repository.configuration.replication.bytes_per_second) as stores:
            _restore(repository, before, stores, result, told)
            with (
                repository.reading() as view,
                ThreadPoolExecutor(max_workers=max(1, len(stores))) as pool,
            ):
                lacking = {store.name: wanting(view, store.row) for store in stores}
                chosen = [one for one in stores if not gathering or is_due(repository, one.row, lacking[one.name])]
                work = [
                    pool.submit(_fill, repository, view, stores, store, lacking[store.name], told=told)
                    for store in chosen
                ]
                for one in work:
                    result.add(one.result())
            note(repository, stores, Purpose.REPLICATE)
            if repository.world.stopping():
                raise StoppedError
            evidence = push(
                repository, stores, flush=not gathering or any(isinstance(one.backend, Flushing) for one in chosen)
            )
            result.failures.update(evidence.failures)
            shared = sharings(stores)
    with repository.reading() as view:
        result.short = short_packs(repository, view, shared)
        result.under_replicated = short_packages(view, result.short)
    return result


def wanting(view: View, store: StoreRow) -> list[PackRow]:
    """Return the packs of which the store has no good copy."""
    have = {row.pack for row in rows.every(view, CopyRow) if row.store == store.store and row.state == CopyState.GOOD}
    return [row for row in rows.every(view, PackRow) if row.state == PackState.LIVE and row.pack not in have]


def is_due(repository: Repository, store: StoreRow, packs: Sequence[PackRow]) -> bool:
    """Tell whether a store is to be filled now: a tape only with enough, or with what has waited long enough.

    What waits lies on the stores that acknowledged it.
    """
    if not packs:
        return False
    policy = repository.configuration.tape
    if store.medium != "tape" or sum(pack.size for pack in packs) >= policy.stage_bytes:
        return True
    (oldest,) = itertools.islice(repository.ledger.records(min(pack.sealed for pack in packs)), 1)
    return repository.world.now() - oldest.time >= timedelta(hours=policy.stage_hours)


def _restore(
    repository: Repository,
    view: View,
    stores: Sequence[Store],
    result: Replicated,
    told: Callable[[int, int], None],
) -> None:
    """Bring what only tapes have to one disk, in the order of the tapes; the other stores are then filled from there.

    Else each of them would wind the same tapes to and fro.
    """
    disk = next((one for one in stores if one.backend is not None and not isinstance(one.backend, OnCartridges)), None)
    if disk is None or not any(isinstance(one.backend, OnCartridges) for one in stores):
        return
    packs, requests, holders = {}, [], {}
    for pack in wanting(view, disk.row):
        places = tape_places(view, stores, pack)
        if places is not None:
            packs[pack.pack] = pack
            requests.append(Request(pack.pack, tuple(Spot(name, block, pack.size) for _, name, block in places)))
            holders.update({(pack.pack, name): store for store, name, _ in places})
    for sweep in planned(requests):
        first = [holders[request.name, sweep.cartridge] for request, _ in sweep.requests][:1]
        wanted = [packs[request.name] for request, _ in sweep.requests]
        result.add(_fill(repository, view, [*first, *stores], disk, wanted, told=told))


def _fill(
    repository: Repository,
    view: View,
    stores: Sequence[Store],
    target: Store,
    packs: Sequence[PackRow],
    *,
    told: Callable[[int, int], None],
) -> Replicated:
    """Give a store these packs. Of stores that have a pack, disks come before tapes, else the first one."""
    result = Replicated()
    gathered: dict[str, tuple[PackRow, Landed]] = {}
    size = 0
    window = repository.configuration.tape.stage_bytes
    if repository.configuration.tape.collocate and isinstance(target.backend, Flushing):
        packs = sorted(packs, key=lambda pack: (pack.fonds, pack.sealed))
    for pack in packs:
        if repository.world.stopping():
            return result  # what is staged stays staged
        if target.backend is None:
            result.failures[target.name] = target.failure or StoreUnavailableError(place=target.row.url, reason="away")
            break
        try:
            landed = _copied_from_any(view, stores, target, pack)
        except (StorageError, FixityMismatchError) as error:
            result.failures[target.name] = error
            if isinstance(error, StoreUnavailableError):
                break
            continue
        _with_sidecars(repository, stores, target, pack)
        gathered[landed.item.key] = pack, landed
        size += pack.size
        if isinstance(target.backend, Flushing) and size < window:
            continue
        _record(repository, target, gathered, result, told)
        gathered, size = {}, 0
        if isinstance(result.failures.get(target.name), StoreFullError):
            break
    if gathered:
        _record(repository, target, gathered, result, told)
    return result


def _record(
    repository: Repository,
    target: Store,
    gathered: Mapping[str, tuple[PackRow, Landed]],
    result: Replicated,
    told: Callable[[int, int], None],
) -> None:
    """Record the copies; of a store that gathers what is written, those that came back right from its medium."""
    copies = {key: landed for key, (_, landed) in gathered.items()}
    if isinstance(target.backend, Flushing):
        done = flushed(target.backend, {key: Fixity(pack.size, pack.pack) for key, (pack, _) in gathered.items()})
        if done.failure is not None:
            result.failures[target.name] = done.failure
        waiting = {item.key for item in target.backend.staged()}
        copies = {key: landed for key, landed in copies.items() if key not in waiting}
        copies |= {key: Landed(target, *found) for key, found in done.proven.items()}
    for key, landed in copies.items():
        pack, _ = gathered[key]
        repository.record([copy_event(repository, pack.fonds, Fixity(pack.size, pack.pack), landed)])
        result.copied += 1
        result.bytes += pack.size
        told(1, pack.size)


def _copied_from_any(view: View, stores: Sequence[Store], target: Store, pack: PackRow) -> Landed:
    holders = {row.store for row in good_holders(view, pack.pack, [store.row for store in stores])}
    failure: MocbanError = StoreUnavailableError(place=target.row.url, reason="no good copy of a pack can be reached")
    if not holders and target.backend is not None:  # of a store that was given up, and found again
        fixity = Fixity(pack.size, pack.pack)
        found = adopted(target.backend, pack_key(pack.fonds, pack.pack), fixity)
        if found is not None:
            return Landed(target, *found)
    for source in sorted(stores, key=lambda one: isinstance(one.backend, OnCartridges)):
        if source.row.store in holders and source.backend is not None and source.row.store != target.row.store:
            try:
                key, fixity = pack_key(pack.fonds, pack.pack), Fixity(pack.size, pack.pack)
                return copied(source.backend, target, key, fixity)
            except (StorageError, FixityMismatchError) as error:
                failure = error
    raise failure


def _with_sidecars(repository: Repository, stores: Sequence[Store], target: Store, pack: PackRow) -> None:
    backends = [store.backend for store in stores if store.backend is not None]
    index = sidecar(repository, pack, backends, "index")
    blocks = sidecar(repository, pack, backends, "blocks")
    if index is not None and blocks is not None and target.backend is not None:
        put_sidecars(target.backend, pack.fonds, pack.pack, index, blocks)


def short_packs(repository: Repository, view: View, shared: Sequence[Sharing] = ()) -> list[str]:
    """Return the live packs that have fewer good copies than the policy asks."""
    store_rows = attached(view)
    good: dict[str, set[str]] = {}
    for copy in rows.every(view, CopyRow):
        if copy.state == CopyState.GOOD:
            good.setdefault(copy.pack, set()).add(copy.store)
    policy = repository.configuration.policy
    return [
        pack.pack
        for pack in rows.every(view, PackRow)
        if pack.state == PackState.LIVE
        and not satisfies(policy, [row for row in store_rows if row.store in good.get(pack.pack, set())], shared)
    ]


def short_packages(view: View, short: Sequence[str]) -> list[str]:
    """Return the packages with a version that needs one of these packs."""
    wanted = set(short)
    if not wanted:
        return []
    return sorted({row.package for row in rows.every(view, VersionRow) if wanted & {*row.packs, *row.references}})
