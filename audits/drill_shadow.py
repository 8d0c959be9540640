"""The shadow of a repository, in which a drill does its damage: real packs on stores of the real kinds.

It is a whole repository of its own, with its own keys, ledger and catalog, so that the very same audit and repair run
in it; and whatever they record, the real repository never hears of it.
"""

import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote

from preservation import attachment
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, FondsRow, PackRow, PackState, StoreRow
from preservation.creation import create
from preservation.evidence import push
from preservation.fixity import Fixity, FixityMismatchError, measure
from preservation.ledger.events import Event, EventType
from preservation.packing import Landed, copied, copy_event, put_sidecars
from preservation.packs.layout import pack_key
from preservation.repair import sidecar
from preservation.repository import Repository, World
from preservation.sidecars import blocks_name, index_name
from preservation.stopping import StoppedError
from preservation.stores import Store, opened
from storage_backends.backend import StorageBackend
from storage_backends.errors import KeyMissingError, MocbanError, StorageError, marked

SPARE = 128 << 20
"""Bytes beside the packs: the reserve of a disk store, ledger, catalog (128 MiB)."""


class DrillSpaceError(MocbanError):
    """The work would not fit."""

    template = marked(
        "{place}: the drill needs {needed} bytes for its shadow copies and {free} are free. Ask for fewer packs "
        "(--packs), or for another disk (--work)"
    )


class NothingToDrillError(MocbanError):
    """There is not one pack that could be copied into the shadow."""

    template = marked("There is nothing to drill with: {reason}")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A real copy that could not be taken into the shadow because it is not right, or could not be read."""

    store: str
    pack: str
    reason: MocbanError


@dataclass(slots=True)
class Shadow:
    """The shadow: stores by the names of the real ones, and which of the packs lie on each."""

    repository: Repository
    packs: list[PackRow]
    stores: dict[str, StoreRow] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=dict)
    """By store: the packs of which it has a copy."""
    unusable: list[Unusable] = field(default_factory=list)
    media: dict[str, StorageBackend] = field(default_factory=dict)
    """The bare stores, without whatever a drill puts around them."""

    def close(self) -> None:
        """Give back what the stores hold; what lies in memory is not in the folder that is removed."""
        for medium in self.media.values():
            if medium.profile.medium == "memory":
                for item in list(medium.items()):
                    medium.delete(item.key)
            medium.close()


def sample(view: View, store_rows: Sequence[StoreRow], count: int, seed: int) -> list[PackRow]:
    """Choose ``count`` live packs with a good copy at hand, over all fonds in turn; the same for the same seed."""
    stores = {row.store for row in store_rows}
    good = {row.pack for row in rows.every(view, CopyRow) if row.state == CopyState.GOOD and row.store in stores}
    by_fonds: dict[str, list[PackRow]] = {}
    for row in rows.every(view, PackRow):
        if row.state == PackState.LIVE and row.pack in good:
            by_fonds.setdefault(row.fonds, []).append(row)
    chance = random.Random(seed)  # noqa: S311 - a sample that can be drawn again, not a secret
    queues = [by_fonds[fonds] for fonds in sorted(by_fonds)]
    chance.shuffle(queues)
    for queue in queues:
        chance.shuffle(queue)
    chosen: list[PackRow] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue][: count - len(chosen)]
    return chosen


def check_space(folder: str, packs: Sequence[PackRow], stores: int) -> None:
    """Raise ``DrillSpaceError`` unless the copies, what is damaged meanwhile and one repair fit."""
    sizes = [pack.size for pack in packs]
    needed = sum(sizes) * (stores + 1) + 2 * max(sizes, default=0) + SPARE
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise DrillSpaceError(place=folder, needed=needed, free=free)


def make_shadow(
    repository: Repository,
    folder: str,
    real: Sequence[Store],
    packs: Sequence[PackRow],
    told: Callable[[int, int], None],
) -> Shadow:
    """Make the shadow in ``folder``: each store of ``real`` gets one of its kind with a verified copy of each pack.

    A disk stands for media that keep what they have: there, nothing can be damaged.

    Raises:
        NothingToDrillError: no pack could be copied.
        StoppedError: told to stop.
    """
    here = repository.world
    world = World(here.now, here.random, here.agent, here.wait_seconds, here.stopping)
    shadow = Shadow(create(os.path.join(folder, "repository"), world, kit=os.path.join(folder, "kit")), [])
    identity = os.path.basename(folder)
    for number, store in enumerate(real):
        row = store.row
        where = os.path.join(folder, f"store-{number}")
        url = f"file://{quote(where)}" if row.medium != "memory" else f"memory:{identity}-{number}"
        made, _ = attachment.add(
            shadow.repository, row.name, url, site=row.site, vendor=row.vendor, admin_domain=row.admin_domain
        )
        backend = opened(made).backend
        assert backend is not None, "it was made just now"
        shadow.stores[store.name], shadow.media[store.name], shadow.held[store.name] = made, backend, set()
    _open_fonds(repository, shadow, packs)
    for pack in packs:
        _take_in(repository, shadow, real, pack, told)
        if here.stopping():
            raise StoppedError
    if not shadow.packs:
        raise NothingToDrillError(reason="no pack could be read as it should be; run 'mocban audit'")
    push(shadow.repository, [Store(row, shadow.media[name]) for name, row in shadow.stores.items()])
    return shadow


def _open_fonds(repository: Repository, shadow: Shadow, packs: Sequence[PackRow]) -> None:
    wanted = {pack.fonds for pack in packs}
    with repository.reading() as view:
        found = [row for row in rows.every(view, FondsRow) if row.fonds in wanted]
    shadow.repository.record(
        [
            shadow.repository.event(EventType.FONDS_OPENED, fonds=row.fonds, code=row.fonds, description="")
            for row in found
        ]
    )


def _take_in(
    repository: Repository, shadow: Shadow, real: Sequence[Store], pack: PackRow, told: Callable[[int, int], None]
) -> None:
    backends = [store.backend for store in real if store.backend is not None]
    index, blocks = (sidecar(repository, pack, backends, kind) for kind in ("index", "blocks"))
    if index is None or blocks is None:
        return
    landed: list[Landed] = []
    with repository.reading() as view:
        known = {row.store for row in rows.every(view, CopyRow, pack.pack) if row.state == CopyState.GOOD}
    for store in real:
        copy = _copied(shadow, real, store, pack, known)
        if copy is not None:
            landed.append(copy)
            told(1, pack.size)
    if not landed:
        return
    for copy in landed:
        assert copy.store.backend is not None
        put_sidecars(copy.store.backend, pack.fonds, pack.pack, index, blocks)
        shadow.held[copy.store.name].add(pack.pack)
    shadow.repository.sidecars.keep(index_name(pack.pack), index)
    shadow.repository.sidecars.keep(blocks_name(pack.pack), blocks)
    fixity = Fixity(pack.size, pack.pack)
    copies = [copy_event(shadow.repository, pack.fonds, fixity, copy) for copy in landed]
    sealed, ingested = _events(shadow.repository, pack)
    shadow.repository.record([sealed, *copies, ingested])
    shadow.packs.append(pack)


def _copied(shadow: Shadow, real: Sequence[Store], store: Store, pack: PackRow, known: set[str]) -> Landed | None:
    """Copy a pack from the real store, or from another one if its own copy is not right; every byte is measured."""
    key, fixity = pack_key(pack.fonds, pack.pack), Fixity(pack.size, pack.pack)
    target = Store(shadow.stores[store.name], shadow.media[store.name])
    for source in (store, *(other for other in real if other is not store)):
        if source.backend is None:
            continue
        try:
            return copied(source.backend, target, key, fixity)
        except (StorageError, FixityMismatchError) as error:
            if source is store and store.row.store in known:
                shadow.unusable.append(Unusable(store.name, pack.pack, error))
    return None


def _events(repository: Repository, pack: PackRow) -> tuple[Event, Event]:
    """Return the events by which the shadow has the pack, as a package of its own."""
    package, session = repository.new_id(), repository.new_id()
    sealed = repository.event(
        EventType.PACK_SEALED,
        fonds=pack.fonds,
        pack=pack.pack,
        size=pack.size,
        label=pack.label,
        package=package,
        version=1,
        session=session,
        objects=pack.objects,
        content_bytes=pack.content_bytes,
        index_size=pack.index_size,
        index_blake3=pack.index_blake3,
        blocks_size=pack.blocks_size,
        blocks_blake3=pack.blocks_blake3,
        salvage_of="",
    )
    ingested = repository.event(
        EventType.INGESTION,
        fonds=pack.fonds,
        package=package,
        version=1,
        session=session,
        manifest_pack=pack.pack,
        manifest_blake3="",
        manifest_size=0,
        content="",
        files=pack.objects,
        bytes=pack.content_bytes,
        packs=[pack.pack],
        references=[],
    )
    return sealed, ingested


def is_right(medium: StorageBackend, pack: PackRow) -> bool:
    """Tell whether the copy on the bare ``medium`` is byte for byte what it should be."""
    try:
        with medium.read(pack_key(pack.fonds, pack.pack), fresh=True) as reader:
            found = measure(reader)
    except StorageError:
        return False
    return (found.size, found.blake3) == (pack.size, pack.pack)


def restore(shadow: Shadow, store: str, pack: PackRow, good: StorageBackend) -> None:
    """Put the right bytes back where a drill leaves wrong ones, and take the quarantined ones away."""
    key = pack_key(pack.fonds, pack.pack)
    medium = shadow.media[store]
    if not is_right(medium, pack):
        with suppress(KeyMissingError):
            medium.delete(key)
        with good.read(key) as reader:
            medium.write(key, pack.size, reader)
    for item in list(medium.items("quarantine")):
        medium.delete(item.key)
