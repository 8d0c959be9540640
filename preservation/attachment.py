"""The life of a store: attached, moved, detached, lost."""

import dataclasses
from contextlib import closing

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PackRow, StoreRow, StoreState
from preservation.evidence import push
from preservation.ledger.events import EventType
from preservation.repository import Repository
from preservation.stores import Sharing, all_open, attached, good_holders, satisfies, sharings, store_named
from storage_backends import locations
from storage_backends.backend import StorageProfile
from storage_backends.errors import MocbanError, Phrase, marked
from storage_backends.tape.cartridges import Cartridges


class StoreExistsError(MocbanError):
    """The name or the place is taken."""

    template = marked("{name}: {reason}")


class StoreNeededError(MocbanError):
    """The store holds copies without which the policy would not be met."""

    template = marked(
        "{name} cannot be detached: {packs} packs would have fewer copies than the policy asks. Add another store and "
        "run 'mocban replicate', or record its loss with --lost"
    )


def add(
    repository: Repository,
    name: str,
    url: str,
    *,
    site: str,
    vendor: str = "",
    admin_domain: str = "",
    cartridges: Cartridges | None = None,
) -> tuple[StoreRow, list[Sharing]]:
    """Attach a store, or tell where a known one has gone; return it and what it shares with others.

    Adding the same store again changes nothing, but for ``cartridges``: a store on tape that has fewer gets more.

    Raises:
        StoreExistsError: the name stands for another store, or the place belongs to another repository's store.
    """
    url = locations.checked_url(url)
    medium = locations.medium_of(url)
    with repository.reading() as view:
        by_name = {row.name: row for row in attached(view)}
        by_id = {row.store: row for row in rows.every(view, StoreRow)}
    found = locations.stored_id(url)
    if found is None and name in by_name and by_name[name].medium == medium == "tape":
        found = locations.adopted(url, by_name[name].store)  # its folder is lost, and its cartridges are there
    if found is not None and found in by_id:
        if medium == "tape":  # what came out of a fire may lack what a store needs beside its cartridges
            locations.initialise_store(url, found, cartridges and _labelled(repository, cartridges))
        return _known_again(repository, by_id[found], name, url)
    if name in by_name:
        raise StoreExistsError(
            name=name, reason=Phrase("this name stands for a store at {url} already", url=by_name[name].url)
        )
    if found is not None and _holds_something(url, found):
        raise StoreExistsError(name=url, reason="this place belongs to a store of another repository")
    row = StoreRow(
        store=found or repository.new_id(),  # a place that was prepared and never recorded is taken as it is
        name=name,
        url=url,
        medium=medium,
        site=site,
        vendor=vendor,
        admin_domain=admin_domain,
        state=StoreState.ATTACHED,
        added="",
    )
    if medium == "tape":
        cartridges = _labelled(repository, cartridges or Cartridges(as_there_are=True))
    locations.initialise_store(url, row.store, cartridges)
    return _attached(repository, EventType.STORE_ADDED, row)


def _labelled(repository: Repository, cartridges: Cartridges) -> Cartridges:
    """Return what is to be made, with what the labels say of the repository."""
    written = repository.world.now().date().isoformat()
    return dataclasses.replace(cartridges, repository=repository.configuration.repository, written=written)


def _holds_something(url: str, store: str) -> bool:
    profile = StorageProfile(medium=locations.medium_of(url), site="")
    with closing(locations.open_store(url, store_id=store, profile=profile)) as backend:
        return any(True for _ in backend.items())


def _known_again(repository: Repository, row: StoreRow, name: str, url: str) -> tuple[StoreRow, list[Sharing]]:
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
    with repository.deciding() as (view, append):
        if any(other.name == row.name and other.store != row.store for other in attached(view)):
            raise StoreExistsError(name=row.name, reason="this name stands for another store")
        append([repository.event(kind, **detail)])
    with repository.reading() as view, all_open(attached(view)) as stores:
        push(repository, stores)
        return row, sharings(stores)


def _detached(view: View, name: str) -> StoreRow | None:
    """Return the store of that name that is detached, if none that is attached has it: its loss can be recorded too."""
    if any(row.name == name for row in attached(view)):
        return None
    found = [row for row in rows.every(view, StoreRow) if row.name == name and row.state == StoreState.DETACHED]
    return found[0] if found else None


def detach(repository: Repository, name: str, *, lost: bool) -> StoreRow:
    """Stop counting on a store; its bytes are not touched.

    Raises:
        StoreNeededError: packs would be left with fewer copies than the policy asks, and the store is not lost.
    """
    with repository.deciding() as (view, append):
        row = _detached(view, name) if lost else None
        row = row or store_named(view, name)
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
    with all_open(remaining) as stores:
        push(repository, stores)
    return row
