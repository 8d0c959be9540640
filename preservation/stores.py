"""Stores as a repository sees them: open all, say which cannot be reached, count what is independent."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, StoreRow, StoreState
from preservation.configuration import Policy
from storage_backends import locations
from storage_backends.backend import Located, StorageBackend, StorageProfile
from storage_backends.errors import MocbanError, Phrase, StorageError, marked
from storage_backends.throttle import Pace, ThrottledBackend


class NoSuchStoreError(MocbanError):
    """There is no store of this name."""

    template = marked("There is no store named {name}; 'mocban store list' shows those there are")


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
        if row.withheld or row.shelved:
            _tell_of_cartridges(backend, row)
    except StorageError as error:
        return Store(row, None, error)
    if bytes_per_second:
        backend = ThrottledBackend(backend, Pace(bytes_per_second, clock=time.monotonic, sleep=time.sleep))
    return Store(row, backend)


def _tell_of_cartridges(backend: StorageBackend, row: StoreRow) -> None:
    from storage_backends.tape.pool import pool_of  # noqa: PLC0415 - most stores are not on tape

    pool = pool_of(backend)
    if pool is not None:
        pool.withheld, pool.shelved = frozenset(row.withheld), frozenset(row.shelved)


@contextmanager
def all_open(store_rows: Sequence[StoreRow], bytes_per_second: int | Mapping[str, int] = 0) -> Iterator[list[Store]]:
    """Give all stores, open where they can be reached, each at most that fast; they are closed at the end.

    ``bytes_per_second`` holds for every store, or says for each name how fast; 0 is no limit.
    """
    with ExitStack() as stack:
        stores = [opened(row, _rate(bytes_per_second, row.name)) for row in store_rows]
        for store in stores:
            if store.backend is not None:
                stack.callback(store.backend.close)
        yield stores


def _rate(bytes_per_second: int | Mapping[str, int], name: str) -> int:
    return bytes_per_second.get(name, 0) if isinstance(bytes_per_second, Mapping) else bytes_per_second


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
                found.append(Sharing(name, store.name, Phrase("file system")))
            elif device == where.device:
                found.append(Sharing(name, store.name, Phrase("device")))
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
