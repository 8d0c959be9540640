"""Rebuilds: the catalog from ledger and indexes, or a whole repository from one store when the server is gone."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from preservation import attestations, parts
from preservation.catalog import door, rows
from preservation.catalog.catalog import View
from preservation.catalog.errors import CatalogDamagedError
from preservation.catalog.overlay import Overlay
from preservation.catalog.rows import PackageRow, PackRow, StoreRow
from preservation.configuration import FILE_NAME, Configuration, FormatError
from preservation.creation import RepositoryExistsError, default_kit, open_ledger, open_repository
from preservation.described import described_by
from preservation.evidence import CONFIGURATION_PREFIX, ahead_of, push
from preservation.fixity import CHUNK, blake3_hex
from preservation.ledger.errors import LedgerDamagedError, LedgerUnreadableError
from preservation.ledger.events import EventType
from preservation.ledger.evidence import Found, found_on
from preservation.ledger.files import create_file, fsync_directory
from preservation.ledger.keys import (
    LOG_KEY_FILE,
    LOG_PUBLIC_FILE,
    LOG_VERIFIER_FILE,
    ROOT_KEY_FILE,
    ROOT_VERIFIER_FILE,
    KeyFileSigner,
    create_key,
    current_verifiers,
    genesis_keys,
    read_verifier_key,
    rotation_event,
)
from preservation.ledger.log import Ledger
from preservation.ledger.recovery import mend, restore
from preservation.repair import sidecar
from preservation.repository import Repository, World, assembled
from preservation.sidecars import blocks_name, description_name, index_name
from preservation.stores import all_open, attached
from storage_backends import locations
from storage_backends.backend import StorageBackend, StorageProfile
from storage_backends.errors import (
    KeyMissingError,
    MocbanError,
    NotRecalledError,
    StorageError,
    StoreUnavailableError,
    marked,
)


class NothingToRebuildError(MocbanError):
    """The store does not hold what a repository could be rebuilt from."""

    template = marked("{place}: a repository cannot be rebuilt from here: {reason}")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was rebuilt. ``signing`` is whether the ledger can be signed again; without the kit it can only be read."""

    events: int
    packs: int
    packages: int
    missing_indexes: int
    signing: bool


def rebuild(path: str, world: World) -> Rebuilt:
    """Make the catalog of the repository at ``path`` anew from ledger and indexes; missing indexes come from stores."""
    repository = _with_sound_ledger(path, world)
    with repository.ledger.writing(world.wait_seconds):
        repository.catalog.rebuild()
    if _fetch_sidecars(repository):
        with repository.ledger.writing(world.wait_seconds):
            repository.catalog.rebuild()
    repository.record([repository.event(EventType.CATALOG_REBUILT)])
    with repository.reading() as view, all_open(attached(view)) as stores:
        push(repository, stores)
    return _counted(repository, signing=True)


def _with_sound_ledger(path: str, world: World) -> Repository:
    """Open the repository; a ledger that is damaged, or older than what stores hold of it, is mended from these."""
    path = os.path.abspath(path)
    with all_open(_stores_known(path)) as stores:
        backends = [store.backend for store in stores if store.backend is not None]
        try:
            repository = open_repository(path, world)
            if not _knows_less(repository, backends):
                return repository
        except (LedgerDamagedError, LedgerUnreadableError):
            pass
        found: list[Found] = []
        for backend in backends:
            with suppress(StorageError):
                found += found_on(backend)
        mend(os.path.join(path, "ledger"), found, wait_seconds=world.wait_seconds)
    return open_repository(path, world)


def _knows_less(repository: Repository, backends: list[StorageBackend]) -> bool:
    for backend in backends:
        with suppress(StorageError):
            if ahead_of(repository, backend):
                return True
    return False


def _stores_known(path: str) -> list[StoreRow]:
    """Return the attached stores as the catalog had them last, whatever state the ledger is in; none if it is gone."""
    try:
        with door.reading(os.path.join(path, "catalog"), Configuration.load(path).repository) as database:
            return attached(Overlay(database))
    except CatalogDamagedError:
        return []


def rebuild_from(url: str, path: str, world: World, *, kit: str = "") -> Rebuilt:
    """Make a whole repository at ``path``, where there is none, from the store at ``url`` alone.

    The log gets a new key, by an event that the root key in ``kit`` signs; without the kit the repository can be read
    and verified, but writes nothing until the kit is brought.

    Raises:
        RepositoryExistsError, NothingToRebuildError, LedgerError.
    """
    path, url = os.path.abspath(path), locations.checked_url(url)
    if os.path.isdir(path) and os.listdir(path):
        raise RepositoryExistsError(place=path, reason="a folder that is not empty")
    store_id = locations.stored_id(url) or locations.adopted(url)
    if store_id is None:
        raise NothingToRebuildError(place=url, reason="there is no store")
    profile = StorageProfile(medium=locations.medium_of(url), site="")
    backend = locations.open_store(url, store_id=store_id, profile=profile)
    beside = f"{path}.{secrets.token_hex(4)}.rebuilding"
    try:
        signing = _restored(backend, beside, url, world, kit or default_kit(path))
        with suppress(FileNotFoundError):
            os.rmdir(path)
        os.rename(beside, path)
        fsync_directory(os.path.dirname(path))
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    finally:
        backend.close()
    repository = open_repository(path, world, read_only=not signing)
    if signing:
        repository.record([repository.event(EventType.RECOVERY, store=store_id)])
        with repository.reading() as view, all_open(attached(view)) as stores:
            push(repository, stores)
    return _counted(repository, signing=signing)


def _restored(backend: StorageBackend, path: str, url: str, world: World, kit: str) -> bool:
    os.makedirs(path)
    for name in ("staging", "keys"):
        os.mkdir(os.path.join(path, name))
    text = _configuration(backend, url)
    restore(os.path.join(path, "ledger"), found_on(backend))
    ledger = Ledger.open(os.path.join(path, "ledger"), clock=world.now, random=world.random, read_only=True)
    signing = _new_keys(ledger, path, world, kit)
    ledger = open_ledger(path, world, read_only=not signing)
    repository = assembled(path, Configuration.parse(text, url), ledger, world)
    repository.catalog.create()
    repository.catalog.catch_up()
    with repository.reading() as view:
        fetched = _fetch(repository, view, [backend])
    if fetched:
        repository.catalog.rebuild()
    create_file(os.path.join(path, FILE_NAME), text)
    return signing


def _configuration(backend: StorageBackend, url: str) -> bytes:
    """Return the configuration on the store that was written last and measures as its name says."""
    newest: tuple[str, bytes] | None = None
    for item in backend.items(CONFIGURATION_PREFIX):
        with backend.read(item.key) as reader:
            data = b"".join(iter(lambda: reader.read(CHUNK), b""))
        if item.key != f"{CONFIGURATION_PREFIX}/{blake3_hex(data)}.toml":
            continue
        try:
            Configuration.parse(data, item.key)
        except FormatError:
            raise
        except MocbanError:
            continue
        written = item.generation.rjust(80, "0")
        if newest is None or written > newest[0]:
            newest = (written, data)
    if newest is None:
        raise NothingToRebuildError(place=url, reason="no configuration that can be read is on the store")
    return newest[1]


def _new_keys(ledger: Ledger, path: str, world: World, kit: str) -> bool:
    """Give the log a new key if the kit is there; return whether it can be signed."""
    keys = os.path.join(path, "keys")
    genesis = next(iter(ledger.records(0, 1)))
    _, root = genesis_keys(genesis.event)
    old = current_verifiers(ledger.records())[-1].key
    create_file(os.path.join(keys, ROOT_VERIFIER_FILE), f"{root}\n".encode())
    secret = os.path.join(kit, ROOT_KEY_FILE)
    if not os.path.exists(secret):
        create_file(os.path.join(keys, LOG_VERIFIER_FILE), f"{old}\n".encode())
        create_file(os.path.join(keys, LOG_PUBLIC_FILE), old.pem())
        return False
    found = read_verifier_key(os.path.join(kit, ROOT_VERIFIER_FILE))
    if found != root:
        raise NothingToRebuildError(place=kit, reason="this recovery kit belongs to another repository")
    new = create_key(os.path.join(keys, LOG_KEY_FILE), ledger.origin, world.random)
    create_file(os.path.join(keys, LOG_VERIFIER_FILE), f"{new.key}\n".encode())
    create_file(os.path.join(keys, LOG_PUBLIC_FILE), new.key.pem())
    event = rotation_event(old, new.key, KeyFileSigner(secret, root), world.agent)
    writable = open_ledger(path, world, read_only=False)
    with writable.writing(world.wait_seconds) as writer:
        writer.append([event])
        writer.checkpoint()
    return True


def _fetch_sidecars(repository: Repository) -> int:
    with repository.reading() as view, all_open(attached(view)) as stores:
        return _fetch(repository, view, [store.backend for store in stores if store.backend is not None])


def _fetch(repository: Repository, view: View, backends: list[StorageBackend]) -> int:
    """Bring the sidecars that the repository lacks from the stores; return how many indexes came."""
    fetched = 0
    for pack in rows.every(view, PackRow):
        if pack.index_missing:
            index = sidecar(repository, pack, backends, "index")
            if index is not None:
                repository.sidecars.keep(index_name(pack.pack), index)
                fetched += 1
        blocks = sidecar(repository, pack, backends, "blocks")
        if blocks is not None:
            repository.sidecars.keep(blocks_name(pack.pack), blocks)
    for digest in described_by(view):
        for data in _copies_of(backends, f"ledger/{description_name(digest)}"):
            if blake3_hex(data) == digest:
                repository.sidecars.keep(description_name(digest), data)
    attestations.fetch(repository.ledger, view, backends)
    parts.fetch(repository, view, backends)
    return fetched


def _copies_of(backends: list[StorageBackend], key: str) -> Iterator[bytes]:
    for backend in backends:
        with suppress(KeyMissingError, NotRecalledError, StoreUnavailableError), backend.read(key) as reader:
            yield b"".join(iter(lambda: reader.read(CHUNK), b""))


def _counted(repository: Repository, *, signing: bool) -> Rebuilt:
    with repository.reading() as view:
        packs = list(rows.every(view, PackRow))
        packages = sum(1 for _ in rows.every(view, PackageRow))
    missing = sum(pack.index_missing for pack in packs)
    return Rebuilt(repository.ledger.size, len(packs), packages, missing, signing)
