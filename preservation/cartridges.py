"""Cartridges as a repository knows them: which there are, what was noticed of them, and who waits for one on a shelf.

Where a cartridge is and which state it has is in the ledger, as codes; what lies on it and in which slot it is, the
library says. Nothing here moves a cartridge.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, PackRow
from preservation.catalog.taped import LIBRARY, RETIRED, SHELF, SUSPECT, CartridgeRow
from preservation.configuration import MediumPolicy, TapePolicy
from preservation.ledger.canonical import Json
from preservation.ledger.errors import LedgerReadOnlyError
from preservation.ledger.events import Event, EventType
from preservation.repository import Repository
from preservation.stores import Store
from storage_backends.errors import MocbanError, StorageError, marked
from storage_backends.tape import media
from storage_backends.tape.cartridges import FULL, Held, day_of
from storage_backends.tape.cartridges import SUSPECT as READ_BACK_WRONG
from storage_backends.tape.noted import Condition, Noted

if TYPE_CHECKING:
    from storage_backends.tape.backend import TapeBackend

HARD_ERRORS = 2
"""So many hard errors on a cartridge make it one that is to be evacuated."""

WHOLE_YEAR = 365
"""Days before the end of a medium's life by which its contents must be elsewhere (Circular 05/2025/TT-BNV)."""


class Purpose(StrEnum):
    """What a cartridge on a shelf is wanted for."""

    AUDIT = "audit"
    EXPORT = "export"
    REPLICATE = "replicate"
    EVACUATE = "evacuate"


class NoSuchCartridgeError(MocbanError):
    """No cartridge of this barcode is known, or several stores have one."""

    template = marked(
        "There is no cartridge {barcode}, or it is not clear of which store; 'mocban tape list' shows all"
    )


@dataclass(frozen=True, slots=True)
class Known:
    """One cartridge: its store, what the ledger says of it, and what the library does (None: it cannot be asked)."""

    store: Store
    row: CartridgeRow
    held: Held | None
    last: int = 0
    """The number of the cartridge of its store that was written last."""
    copies: int = 0
    """Copies of packs that are expected and lie on it."""
    first_copy: str = ""
    """When the oldest of them was written."""

    @property
    def state(self) -> str:
        """What can be done with it, in a word.

        ``blank``, ``filling``, ``full``, ``closed`` (a later one is filled now), ``suspect``, ``evacuating``,
        ``retired``; one that is none of the store's is ``foreign``, or ``unknown`` as long as nobody read its label.
        """
        if self.row.state or not self.row.number:
            other = "foreign" if Condition.FOREIGN in self.row.conditions else "unknown"
            return self.row.state or other
        held = self.held if self.held is not None and self.held.number else None
        if held is not None and held.state in {READ_BACK_WRONG, FULL}:
            return held.state
        begun = held.files if held is not None else self.copies
        if begun:
            return "closed" if self.row.number < self.last else "filling"
        return "blank"

    @property
    def where(self) -> str:
        """Return ``drive``, ``slot``, ``shelf``, or ``missing`` if it should be in the library; empty if not known."""
        if self.held is not None and self.held.where:
            return self.held.where
        if self.row.place == SHELF:
            return SHELF
        return "" if self.held is None else "missing"

    @property
    def loads(self) -> int:
        """How often it was loaded: what the cartridge itself says, if it can, else what we have seen."""
        return max(self.row.loads, self.held.loads if self.held is not None else 0)

    @property
    def is_failing(self) -> bool:
        """Whether what lies on it must be brought elsewhere."""
        return self.row.state != RETIRED and (bool(self.row.state) or len(self.row.errors) >= HARD_ERRORS)


def end_of_life(row: CartridgeRow, policy: TapePolicy) -> date | None:
    """Return the day on which a cartridge is as old as it may be; nothing if its label has no day."""
    labelled = day_of(row.labelled)
    if labelled is None:
        return None
    kind = policy.kinds.get(media.kind_of(row.barcode), MediumPolicy())
    year = labelled.year + (policy.life_years if kind.life_years is None else kind.life_years)
    try:
        return labelled.replace(year=year)
    except ValueError:  # the 29th of February
        return date(year, 3, 1)


def most_loads(row: CartridgeRow, policy: TapePolicy) -> int:
    """Return how often a cartridge may be loaded: as configured, else what its maker says; 0 if nothing is known."""
    kind = media.kind_of(row.barcode)
    configured = policy.kinds.get(kind, MediumPolicy()).loads
    return media.loads_of(kind) if configured is None else configured


def pool_of(store: Store) -> "TapeBackend | None":
    """Return the pool of cartridges that a store is; nothing if it is none, or cannot be reached."""
    if store.row.medium != "tape" or store.backend is None:
        return None
    from storage_backends.tape import pool  # noqa: PLC0415 - who has no tape does without it

    return pool.pool_of(store.backend)


def cartridges(view: View, stores: Sequence[Store]) -> Iterator[Known]:
    """Yield every cartridge of the stores on tape, those of the ledger and those that merely lie in a library."""
    for store in stores:
        if store.row.medium != "tape":
            continue
        from storage_backends.tape.pool import cartridges_of  # noqa: PLC0415 - who has no tape does without it

        held: dict[str, Held] | None = None
        pool = pool_of(store)
        if pool is not None:
            with suppress(StorageError):
                held = {one.barcode: one for one in cartridges_of(pool)}
        yield from _of_store(view, store, held)


def _of_store(view: View, store: Store, held: dict[str, Held] | None) -> Iterator[Known]:
    found = {row.barcode: row for row in rows.every(view, CartridgeRow, store.row.store)}
    for one in (held or {}).values():
        row = found.get(one.barcode) or CartridgeRow(store=store.row.store, barcode=one.barcode, place=LIBRARY)
        if not row.number:
            row = CartridgeRow(**{name: getattr(row, name) for name in CartridgeRow.__slots__} | {"number": one.number})
        found[one.barcode] = row
    written = written_on(view, store.row.store)
    last = max((one.number for one in (held or {}).values() if one.files), default=0)
    for row in sorted(found.values(), key=lambda row: (not row.number, row.number, row.barcode)):
        times = written.get(row.number, [])
        yield Known(
            store,
            row,
            None if held is None else held.get(row.barcode, Held(barcode=row.barcode)),
            last,
            len(times),
            min(times, default=""),
        )


def number_of(copy: CopyRow) -> int:
    """Return the number of the cartridge that a copy lies on; 0 if it is on none."""
    number, _, rest = copy.generation.partition("-")
    return int(number) if number.isdecimal() and "-" in rest else 0


def written_on(view: View, store: str) -> dict[int, list[str]]:
    """Return by the number of a cartridge when the copies were written that lie on it and count."""
    expected = {row.pack for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    found: dict[int, list[str]] = {}
    for copy in rows.every(view, CopyRow):
        if copy.store == store and copy.pack in expected and (number := number_of(copy)):
            found.setdefault(number, []).append(copy.written)
    return found


def offline(view: View) -> Callable[[CopyRow], bool]:
    """Return what tells whether a copy lies on a cartridge that is on a shelf: it cannot be looked at now."""
    away = {(row.store, row.number) for row in rows.every(view, CartridgeRow) if row.place == SHELF and row.number}
    return lambda copy: (copy.store, number_of(copy)) in away


def offline_copies(view: View) -> frozenset[tuple[str, str]]:
    """Return the (pack, store) of every copy that lies on a cartridge that is on a shelf."""
    if not any(row.place == SHELF for row in rows.every(view, CartridgeRow)):
        return frozenset()
    is_offline = offline(view)
    return frozenset((row.pack, row.store) for row in rows.every(view, CopyRow) if is_offline(row))


def cartridge_named(view: View, stores: Sequence[Store], barcode: str, store: str = "") -> Known:
    """Return the cartridge of that barcode, of the store of that name if it is given.

    Raises:
        NoSuchCartridgeError: there is none, or there are several.
    """
    found = [
        one
        for one in cartridges(view, stores)
        if one.row.barcode == barcode and store in {"", one.store.name} and (store or one.row.number)
    ]
    if len(found) != 1:
        raise NoSuchCartridgeError(barcode=barcode)
    return found[0]


# ---- what was noticed ----------------------------------------------------------------------------------------------


def note(repository: Repository, stores: Sequence[Store], purpose: Purpose) -> None:
    """Record what was noticed of cartridges since the stores were opened, and ask for those that lie on a shelf.

    A cartridge with its second hard error becomes suspect: nothing more is written on it, and it is to be evacuated.
    Nothing is recorded if nothing was noticed, nor where the repository cannot be written.
    """
    noticed = [(store, pool, pool.library.take_noted()) for store in stores if (pool := pool_of(store)) is not None]
    noticed = [one for one in noticed if one[2]]
    if not noticed:
        return
    with suppress(LedgerReadOnlyError), repository.deciding() as (view, append):
        events = []
        for store, pool, noted in noticed:
            with suppress(StorageError):  # it went away meanwhile
                events += list(_Noticed(repository, store, purpose, noted).events(view, pool))
        if events:
            append(events)


@contextmanager
def noticing(repository: Repository, stores: Sequence[Store], purpose: Purpose) -> Iterator[None]:
    """Record at the end, however that comes about, what was noticed of cartridges in between."""
    try:
        yield
    finally:
        note(repository, stores, purpose)


@dataclass(frozen=True, slots=True)
class _Noticed:
    """What was noticed of the cartridges of one store."""

    repository: Repository
    store: Store
    purpose: Purpose
    noted: dict[str, Noted]

    def events(self, view: View, pool: "TapeBackend") -> Iterator[Event]:
        """Yield what is to be recorded."""
        known = {row.barcode: row for row in rows.every(view, CartridgeRow, self.store.row.store)}
        states = {}
        for one in pool.directory().cartridges():
            states[one.barcode] = one.state
            if one.barcode not in known or not known[one.barcode].number:
                day = self.noted[one.barcode].labelled if one.barcode in self.noted else ""
                yield labelled_event(self.repository, self.store, one.barcode, one.number, day)
        for barcode, noted in sorted(self.noted.items()):
            row = known.get(barcode) or CartridgeRow(store=self.store.row.store, barcode=barcode)
            yield from self._of(row, noted, states.get(barcode, ""))

    def _of(self, row: CartridgeRow, noted: Noted, state: str) -> Iterator[Event]:
        repository, store, barcode, conditions = self.repository, self.store, row.barcode, set(noted.conditions)
        if row.place == SHELF:
            conditions.clear()
            asks = self.purpose is not Purpose.AUDIT  # which asks for copies, not for what else it looks at
            if asks and Condition.AWAY in noted.conditions and self.purpose not in row.requested:
                yield _event(repository, EventType.CARTRIDGE_REQUESTED, store, barcode, purpose=str(self.purpose))
        if noted.is_protected and Condition.WRITE_PROTECTED in row.conditions:
            conditions.add(Condition.WRITE_PROTECTED)  # it is so still, though nobody wanted to write it now
        errors = {f"{file}:{record}" for file, record in noted.errors} - set(row.errors)
        if noted.loads or errors or (row.place != SHELF and conditions != set(row.conditions)):
            yield _event(
                repository,
                EventType.CARTRIDGE_SEEN,
                store,
                barcode,
                outcome="failure" if errors or conditions else "success",
                loads=noted.loads,
                labelled=noted.labelled,
                errors=sorted(errors),
                conditions=sorted(conditions),
            )
        if not row.state and len(row.errors) + len(errors) >= HARD_ERRORS:
            yield changed_event(repository, store, barcode, SUSPECT, "hard-errors")
        elif not row.state and state == READ_BACK_WRONG:
            yield changed_event(repository, store, barcode, SUSPECT, "read-back")


def _event(
    repository: Repository, kind: EventType, store: Store, barcode: str, *, outcome: str = "success", **detail: Json
) -> Event:
    about: dict[str, Json] = {"store": store.row.store, "cartridge": barcode, **detail}
    return Event(type=kind, outcome=outcome, detail=about, agent=repository.world.agent)


def labelled_event(repository: Repository, store: Store, barcode: str, number: int, day: str) -> Event:
    """Return the event that a cartridge is one of a store's."""
    return _event(repository, EventType.CARTRIDGE_LABELLED, store, barcode, number=number, labelled=day)


def changed_event(repository: Repository, store: Store, barcode: str, state: str, reason: str) -> Event:
    """Return the event that a cartridge has another state."""
    return _event(repository, EventType.CARTRIDGE_CHANGED, store, barcode, state=state, reason=reason)


def moved_event(
    repository: Repository, store: Store, barcode: str, place: str, *, location: str = "", vault: str = ""
) -> Event:
    """Return the event that a cartridge was brought to a shelf, or into the library."""
    return _event(repository, EventType.CARTRIDGE_MOVED, store, barcode, to=place, location=location, vault=vault)


def pick_list(view: View) -> list[CartridgeRow]:
    """Return the cartridges that somebody waits for, as a person goes to fetch them: by vault and location."""
    found = [row for row in rows.every(view, CartridgeRow) if row.requested and row.place == SHELF]
    return sorted(found, key=lambda row: (row.vault, row.location, row.barcode))


def request(repository: Repository, view: View, store: Store, barcodes: set[str], purpose: Purpose) -> list[Event]:
    """Return the events that ask for cartridges on a shelf, without those that were asked for already."""
    found = [row for row in rows.every(view, CartridgeRow, store.row.store) if row.barcode in barcodes]
    return [
        _event(repository, EventType.CARTRIDGE_REQUESTED, store, row.barcode, purpose=str(purpose))
        for row in found
        if row.place == SHELF and purpose not in row.requested
    ]
