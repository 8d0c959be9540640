"""What a person does with cartridges: label, load, put back, take to a shelf, bring back, scan, give up."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from preservation.cartridges import (
    Known,
    NoSuchCartridgeError,
    Purpose,
    cartridge_named,
    changed_event,
    labelled_event,
    moved_event,
    note,
    number_of,
    pool_of,
)
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, PackRow, StoreRow
from preservation.catalog.taped import LIBRARY, RETIRED, SHELF, CartridgeRow
from preservation.fixity import Fixity
from preservation.ledger.events import Event, EventType
from preservation.packing import Landed, adopted, copy_event
from preservation.packs.layout import pack_of_key
from preservation.repository import Repository
from preservation.stores import Store, all_open, attached, store_named
from storage_backends.errors import MocbanError, StorageError, StoreUnavailableError, marked
from storage_backends.tape import pool as pools
from storage_backends.tape.backend import TapeBackend
from storage_backends.tape.drive import NoLabelError, WrongCartridgeError
from storage_backends.tape.labels import Label

CODE = re.compile(r"[A-Za-z0-9._:/-]{1,40}")
"""What a location or a vault may be called: codes, as the ledger keeps them for ever."""


class NotTapeError(MocbanError):
    """The store has no cartridges."""

    template = marked("{name} is not a store on tape")


class BadCodeError(MocbanError):
    """A location or a vault is named otherwise than with a code."""

    template = marked("{code!r} is no code for a place: letters A-Z, digits, and . _ : / - (at most 40)")


class CartridgeNeededError(MocbanError):
    """Copies that count lie on the cartridge."""

    template = marked(
        "Copies that count lie on cartridge {barcode}: {copies}. Bring them elsewhere with "
        "'mocban tape evacuate {barcode}'; if it is lost, record that with 'mocban tape retire {barcode} --lost'"
    )


class CartridgeStaysError(MocbanError):
    """The cartridge could not be taken out."""

    template = marked("Cartridge {barcode} is not in the library")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found, and how many copies it recorded that were not known or not known to be good."""

    label: Label
    is_ours: bool
    files: int = 0
    items: int = 0
    adopted: int = 0
    wrong: int = 0
    unknown: int = 0


def reached(store: Store) -> TapeBackend:
    """Return the pool of cartridges that a store is.

    Raises:
        NotTapeError: it is none.
        StorageError: it cannot be reached.
    """
    if store.row.medium != "tape":
        raise NotTapeError(name=store.name)
    if store.backend is None:
        raise store.failure or StoreUnavailableError(place=store.row.url, reason="not open")
    pool = pool_of(store)
    if pool is None:
        raise NotTapeError(name=store.name)
    return pool


def tape_stores(view: View, name: str = "") -> list[StoreRow]:
    """Return the stores on tape, or the one of that name; ``NotTapeError`` if that is none."""
    if not name:
        return [row for row in attached(view) if row.medium == "tape"]
    row = store_named(view, name)
    if row.medium != "tape":
        raise NotTapeError(name=name)
    return [row]


def label(repository: Repository, name: str, barcodes: Sequence[str], *, count: int, capacity: int) -> list[Label]:
    """Make blank cartridges a store's: those of ``barcodes`` or, of images, so many new ones of that capacity (bytes).

    Raises:
        CartridgesError, WrongCartridgeError: it cannot be; what was labelled before that stays.
    """
    done: list[Label] = []
    with repository.reading() as view, all_open(tape_stores(view, name)) as (store,):
        pool = reached(store)
        known = {row.number for row in rows.every(view, CartridgeRow, store.row.store)}
        day, name = repository.world.now().date().isoformat(), repository.configuration.repository
        for barcode in barcodes or [""] * count:
            least = max([*known, *(one.number for one in done)], default=0) + 1
            wanted = Label(barcode, least, store.row.store, name, day)
            found = pools.label(pool, barcode, wanted, capacity=capacity)
            done.append(found)
            repository.record([labelled_event(repository, store, found.barcode, found.number, found.written)])
    return done


@contextmanager
def _named(repository: Repository, barcode: str, store: str) -> Iterator[tuple[Known, TapeBackend]]:
    with repository.reading() as view, all_open(tape_stores(view, store)) as stores:
        found = cartridge_named(view, stores, barcode, store)
        yield found, reached(found.store)


def load(repository: Repository, barcode: str, *, store: str = "") -> Label:
    """Bring a cartridge into the drive, compare its label, record that, and return it; one on a shelf is back then.

    Raises:
        CartridgeAwayError, DuplicateBarcodeError, WrongCartridgeError, NoLabelError, TapeError: as it is; recorded too.
    """
    with _named(repository, barcode, store) as (found, pool):
        try:
            with pool.library.using():
                label = pool.library.mount(barcode)
        finally:
            note(repository, [found.store], Purpose.AUDIT)
        if found.row.place == SHELF:
            repository.record([moved_event(repository, found.store, barcode, LIBRARY)])
    return label


def eject(repository: Repository, *, store: str = "") -> list[str]:
    """Bring what is in the drives back to their slots, or to whoever loads them by hand; return the barcodes."""
    with repository.reading() as view, all_open(tape_stores(view, store)) as stores:
        done = []
        for one in stores:
            pool = reached(one)
            with pool.library.using():
                done.append(pool.library.put_back() or pool.library.give_out())
    return [barcode for barcode in done if barcode]


def take_out(repository: Repository, barcode: str, *, location: str, vault: str = "", store: str = "") -> str:
    """Take a cartridge to a shelf and record where; return the folder in which an image lies now, if it is one.

    From then on its copies are offline: an audit does not look at them and says so. Asked again, it records another
    place.

    Raises:
        BadCodeError, CartridgeStaysError.
    """
    for code in (location, vault):
        if code and not CODE.fullmatch(code):
            raise BadCodeError(code=code)
    with _named(repository, barcode, store) as (found, pool):
        if not found.row.number or (found.row.place != SHELF and not (found.held and found.held.where)):
            raise CartridgeStaysError(barcode=barcode)
        folder = pools.take_out(pool, barcode)
        moved = moved_event(repository, found.store, barcode, SHELF, location=location, vault=vault)
        if (found.row.place, found.row.location, found.row.vault) != (SHELF, location, vault):
            repository.record([moved])
    return folder


def bring_back(repository: Repository, barcode: str, *, store: str = "") -> Label:
    """Mount a cartridge that a person has brought back, compare its label and record that it is in the library again.

    Raises:
        CartridgeAwayError, DuplicateBarcodeError, WrongCartridgeError, NoLabelError: it is not what it should be; for
            the ledger it stays where it was.
    """
    with _named(repository, barcode, store) as (found, pool):
        try:
            label = pools.put_in(pool, barcode, found.row.number)
        except (WrongCartridgeError, NoLabelError):
            if found.row.place == SHELF:
                pools.take_out(pool, barcode)
            raise
        finally:
            note(repository, [found.store], Purpose.AUDIT)
        if found.row.place != LIBRARY or found.row.requested:
            with repository.deciding() as (view, append):
                now = rows.one(view, CartridgeRow, found.store.row.store, barcode)
                if now is not None and now.place != LIBRARY:  # it was noted just now if the label was right
                    append([moved_event(repository, found.store, barcode, LIBRARY)])
    return label


def scan(repository: Repository, barcode: str, *, store: str = "") -> Scan:
    """Go over a cartridge from filemark to filemark and make its rows anew, if it is of a store of ours.

    Packs on it of which the store had no good copy are read and recorded; others, as those destroyed, stay so.
    Of another store's cartridge nothing is read but the label, and nothing is changed.

    Raises:
        NoSuchCartridgeError: no library has it. CartridgesError: another one has its number.
        CartridgeAwayError, DuplicateBarcodeError, NoLabelError, WrongCartridgeError, TapeError.
    """
    with repository.reading() as view, all_open(tape_stores(view, store)) as stores:
        result: Scan | None = None
        for one in stores:
            pool = pool_of(one)
            if pool is None or barcode not in pool.library.barcodes():
                continue
            found = pools.scan(pool, barcode, one.row.store)
            result = Scan(found.label, found.is_ours, found.files, found.items)
            if found.is_ours:
                return _adopted(repository, view, one, pool, result)
        if result is None:
            raise NoSuchCartridgeError(barcode=barcode)
        return result


def _adopted(repository: Repository, view: View, store: Store, pool: TapeBackend, scanned: Scan) -> Scan:
    """Record what was found: that the cartridge is the store's, and the copies that nobody knew to be good."""
    known = rows.one(view, CartridgeRow, store.row.store, scanned.label.barcode)
    if known is None or known.number != scanned.label.number:
        label = scanned.label
        repository.record([labelled_event(repository, store, label.barcode, label.number, label.written)])
    adopted_now = wrong = unknown = 0
    assert store.backend is not None
    for key, _ in list(pools.contents(pool, scanned.label.barcode)):
        named = pack_of_key(key)
        if named is None:
            continue
        pack = rows.one(view, PackRow, named[1])
        if pack is None or pack.state not in rows.EXPECTED_STATES:
            unknown += 1
            continue
        copy = rows.one(view, CopyRow, pack.pack, store.row.store)
        if copy is not None and copy.state == CopyState.GOOD and number_of(copy) == scanned.label.number:
            continue
        fixity = Fixity(pack.size, pack.pack)
        try:
            right = adopted(store.backend, key, fixity)
        except StorageError:
            right = None
        if right is None:
            wrong += 1
            continue
        repository.record([copy_event(repository, pack.fonds, fixity, Landed(store, *right))])
        adopted_now += 1
    note(repository, [store], Purpose.AUDIT)
    return dataclasses.replace(scanned, adopted=adopted_now, wrong=wrong, unknown=unknown)


def retire(repository: Repository, barcode: str, *, lost: bool = False, store: str = "") -> int:
    """Give a cartridge up; return how many copies are gone with it if it is ``lost``: 'replicate' makes new ones.

    Raises:
        CartridgeNeededError: copies that count lie on it, and it is not lost.
    """
    with _named(repository, barcode, store) as (found, pool):
        with repository.deciding() as (view, append):
            copies = [
                row
                for row in rows.every(view, CopyRow)
                if row.store == found.store.row.store and number_of(row) == found.row.number
            ]
            if copies and not lost:
                raise CartridgeNeededError(barcode=barcode, copies=len(copies))
            events = [_lost(repository, view, row) for row in copies]
            if found.row.state != RETIRED:
                reason = "lost" if lost else "given-up"
                events.append(changed_event(repository, found.store, barcode, RETIRED, reason))
            if events:
                append(events)
        if lost:
            pools.drop(pool, barcode)
    return len(copies)


def _lost(repository: Repository, view: View, copy: CopyRow) -> Event:
    pack = rows.one(view, PackRow, copy.pack)
    fonds = pack.fonds if pack is not None else None
    return repository.event(EventType.COPY_RETIRED, fonds=fonds, pack=copy.pack, store=copy.store, reason="lost")
