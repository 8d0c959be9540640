"""Stores as a repository sees them: open all, say which cannot be reached, add, detach, count what is independent."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, PackRow, StoreRow, StoreState
from preservation.configuration import Policy
from preservation.ledger.events import EventType
from preservation.repository import Repository
from storage_backends import locations
from storage_backends.backend import Located, StorageBackend, StorageProfile
from storage_backends.errors import MocbanError, StorageError, marked
from storage_backends.throttle import Pace, ThrottledBackend


class NoSuchStoreError(MocbanError):
    """There is no store of this name."""

    template = marked("There is no store named {name}; 'mocban store list' shows those there are")


class StoreExistsError(MocbanError):
    """The name or the place is taken."""

    template = marked("{name}: {reason}")


class StoreNeededError(MocbanError):
    """The store holds copies without which the policy would not be met."""

    template = marked(
        "{name} cannot be detached: {packs} packs would have fewer copies than the policy asks. Add another store and "
        "run 'mocban replicate', or record its loss with --lost"
    )


@dataclass(frozen=True, slots=True)
class Store:
    """An attached store: its row and, if it can be reached, its backend; else why it cannot."""

    row: StoreRow
    backend: StorageBackend | None
    failure: MocbanError | None = None

    @property
    def name(self) -> str:
        """The name that people gave it."""
        return self.row.name


def attached(view: View) -> list[StoreRow]:
    """Return the attached stores in the order in which they were added."""
    found = [row for row in rows.every(view, StoreRow) if row.state == StoreState.ATTACHED]
    return sorted(found, key=lambda row: (row.added, row.store))


def store_named(view: View, name: str) -> StoreRow:
    """Return the attached store of that name; ``NoSuchStoreError`` if there is none."""
    for row in attached(view):
        if row.name == name:
            return row
    raise NoSuchStoreError(name=name)


def _profile(row: StoreRow) -> StorageProfile:
    return StorageProfile(medium=row.medium, site=row.site, vendor=row.vendor, admin_domain=row.admin_domain)


def opened(row: StoreRow, bytes_per_second: int = 0) -> Store:
    """Return the store, open if it can be reached; at most so many bytes a second, 0 is no limit."""
    try:
        backend = locations.open_store(row.url, store_id=row.store, profile=_profile(row))
        for _ in backend.items("ledger/probe"):
            break
    except StorageError as error:
        return Store(row, None, error)
    if bytes_per_second:
        backend = ThrottledBackend(backend, Pace(bytes_per_second, clock=time.monotonic, sleep=time.sleep))
    return Store(row, backend)


@contextmanager
def all_open(store_rows: Sequence[StoreRow], bytes_per_second: int = 0) -> Iterator[list[Store]]:
    """Give all stores, open where they can be reached, each at most that fast; they are closed at the end."""
    with ExitStack() as stack:
        stores = [opened(row, bytes_per_second) for row in store_rows]
        for store in stores:
            if store.backend is not None:
                stack.callback(store.backend.close)
        yield stores


@dataclass(frozen=True, slots=True)
class Sharing:
    """Two stores that would fail together."""

    first: str
    second: str
    what: str
    """``file system`` or ``device``."""


def sharings(stores: Sequence[Store]) -> list[Sharing]:
    """Return which stores share a file system or a device."""
    seen: list[tuple[str, str, str]] = []
    found: list[Sharing] = []
    for store in stores:
        if not isinstance(store.backend, Located):
            continue
        try:
            where = store.backend.whereabouts()
        except StorageError:
            continue
        for name, file_system, device in seen:
            if file_system == where.file_system:
                found.append(Sharing(name, store.name, "file system"))
            elif device == where.device:
                found.append(Sharing(name, store.name, "device"))
        seen.append((store.name, where.file_system, where.device))
    return found


def satisfies(policy: Policy, holders: Sequence[StoreRow], shared: Sequence[Sharing] = ()) -> bool:
    """Tell whether good copies on ``holders`` are what the policy asks."""
    count = len(holders)
    if policy.independent:
        names = {row.name for row in holders}
        count -= len({one.second for one in shared if one.first in names and one.second in names})
    return (
        count >= policy.copies
        and len({row.site for row in holders}) >= policy.sites
        and len({row.medium for row in holders}) >= policy.media
        and len({row.admin_domain for row in holders}) >= policy.admin_domains
    )


def good_holders(view: View, pack: str, store_rows: Sequence[StoreRow]) -> list[StoreRow]:
    """Return the stores on which the pack was last seen good."""
    good = {row.store for row in rows.every(view, CopyRow, pack) if row.state == CopyState.GOOD}
    return [row for row in store_rows if row.store in good]


def add(
    repository: Repository, name: str, url: str, *, site: str, vendor: str = "", admin_domain: str = ""
) -> tuple[StoreRow, list[Sharing]]:
    """Attach a store, or tell where a known one has gone; return it and what it shares with others.

    Adding the same store again changes nothing.

    Raises:
        StoreExistsError: the name stands for another store, or the place belongs to another repository's store.
    """
    url = locations.checked_url(url)
    medium = locations.medium_of(url)
    with repository.reading() as view:
        known = attached(view)
        by_name = {row.name: row for row in known}
        by_id = {row.store: row for row in rows.every(view, StoreRow)}
    found = locations.stored_id(url)
    if found is None and name in by_name:
        raise StoreExistsError(name=name, reason=f"this name stands for a store at {by_name[name].url} already")
    if found is not None and found not in by_id:
        raise StoreExistsError(name=url, reason="this place belongs to a store of another repository")
    if found is not None:
        return _known_again(repository, by_id[found], name, url, known)
    row = StoreRow(
        store=repository.new_id(),
        name=name,
        url=url,
        medium=medium,
        site=site,
        vendor=vendor,
        admin_domain=admin_domain,
        state=StoreState.ATTACHED,
        added="",
    )
    locations.initialise_store(url, row.store)
    return _attached(repository, EventType.STORE_ADDED, row)


def _known_again(
    repository: Repository, row: StoreRow, name: str, url: str, known: Sequence[StoreRow]
) -> tuple[StoreRow, list[Sharing]]:
    if any(other.name == name and other.store != row.store for other in known):
        raise StoreExistsError(name=name, reason="this name stands for another store")
    if row.state == StoreState.ATTACHED and row.name == name and row.url == url:
        with repository.reading() as view, all_open(attached(view)) as stores:
            return row, sharings(stores)
    changed = dataclasses.replace(row, name=name, url=url, state=StoreState.ATTACHED)
    return _attached(repository, EventType.STORE_RELOCATED, changed)


def _attached(repository: Repository, kind: EventType, row: StoreRow) -> tuple[StoreRow, list[Sharing]]:
    detail = {
        "store": row.store,
        "name": row.name,
        "url": row.url,
        "medium": row.medium,
        "site": row.site,
        "vendor": row.vendor,
        "admin_domain": row.admin_domain,
    }
    repository.record([repository.event(kind, **detail)])
    with repository.reading() as view, all_open(attached(view)) as stores:
        return row, sharings(stores)


def detach(repository: Repository, name: str, *, lost: bool) -> StoreRow:
    """Stop counting on a store; its bytes are not touched.

    Raises:
        StoreNeededError: packs would be left with fewer copies than the policy asks, and the store is not lost.
    """
    with repository.deciding() as (view, append):
        row = store_named(view, name)
        remaining = [other for other in attached(view) if other.store != row.store]
        if not lost:
            short = sum(
                1
                for pack in rows.every(view, PackRow)
                if pack.state in rows.EXPECTED_STATES
                and not satisfies(repository.configuration.policy, good_holders(view, pack.pack, remaining))
            )
            if short:
                raise StoreNeededError(name=name, packs=short)
        kind = EventType.STORE_LOST if lost else EventType.STORE_DETACHED
        append([repository.event(kind, store=row.store)])
    return row
