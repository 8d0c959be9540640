"""Cartridges in the catalog, as events change them: where each is, its state, its loads and errors, who asks for it."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from preservation.catalog import rows
from preservation.catalog.rows import Readable, Row, StoreRow

LIBRARY, SHELF = "library", "shelf"
"""Where a cartridge is as far as the ledger knows; which slot, the library says."""

SUSPECT, EVACUATING, RETIRED = "suspect", "evacuating", "retired"
"""States that an event gives; nothing is written any more on a cartridge that has one."""

ERRORS_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CartridgeRow(Row):
    """One cartridge of a store on tape. ``location`` and ``vault`` are codes of the operator's, times ISO 8601 UTC."""

    PREFIX: ClassVar[bytes] = b"cartridge/"
    store: str
    barcode: str
    number: int = 0
    """Its place in the order in which the cartridges of its store are filled; 0 if it is none of the store's."""
    labelled: str = ""
    """The day on its label."""
    state: str = ""
    reason: str = ""
    place: str = LIBRARY
    location: str = ""
    vault: str = ""
    moved: str = ""
    loads: int = 0
    seen: str = ""
    """When it was in a drive last, or was looked for."""
    errors: list[str] = field(default_factory=list)
    """``FILE:RECORD`` of the hard errors that were met on it."""
    conditions: list[str] = field(default_factory=list)
    """What was the matter when it was asked for last."""
    requested: dict[str, str] = field(default_factory=dict)
    """Who asks for it while it is on its shelf, and since when."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"cartridge/{self.store}/{self.barcode}".encode()


class Detail(Protocol):
    """The detail of an event, read with types."""

    time: str

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def count(self, name: str) -> int:
        """Return a number, 0 if there is none."""
        ...

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        ...


class Changing(Readable, Protocol):
    """Rows that can be changed."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...


def labelled(event: Detail, _index: object, view: Changing) -> None:
    """Keep a cartridge that has become one of a store's."""
    row = _row(event, view)
    number, day = event.count("number") or row.number, event.text("labelled") or row.labelled
    _put(view, replace(row, number=number, labelled=day))


def seen(event: Detail, _index: object, view: Changing) -> None:
    """Add what was noticed while it was used."""
    row = _row(event, view)
    errors = sorted({*row.errors, *event.texts("errors")})[:ERRORS_KEPT]
    row = replace(row, loads=row.loads + event.count("loads"), errors=errors, conditions=event.texts("conditions"))
    _put(view, replace(row, seen=event.time, labelled=row.labelled or event.text("labelled")))


def moved(event: Detail, _index: object, view: Changing) -> None:
    """Keep where it was brought; who brings it back has answered those who asked for it."""
    row = replace(_row(event, view), place=event.text("to"), location=event.text("location"), vault=event.text("vault"))
    row = replace(row, moved=event.time, conditions=[])
    _put(view, row if row.place == SHELF else replace(row, requested={}))
    _tell_store(view, row.store)


def changed(event: Detail, _index: object, view: Changing) -> None:
    """Keep its state."""
    row = replace(_row(event, view), state=event.text("state"), reason=event.text("reason"))
    _put(view, replace(row, requested={}) if row.state == RETIRED else row)
    _tell_store(view, row.store)


def requested(event: Detail, _index: object, view: Changing) -> None:
    """Keep who asks for a cartridge on a shelf."""
    row = _row(event, view)
    _put(view, replace(row, requested={event.text("purpose"): event.time, **row.requested}))


def _row(event: Detail, view: Readable) -> CartridgeRow:
    store, barcode = event.text("store"), event.text("cartridge")
    return rows.one(view, CartridgeRow, store, barcode) or CartridgeRow(store=store, barcode=barcode)


def _put(view: Changing, row: CartridgeRow) -> None:
    view.put(row.key, row.to_bytes())


def _tell_store(view: Changing, store: str) -> None:
    """Let the store's row say which of its cartridges are not written and which are away."""
    row = rows.one(view, StoreRow, store)
    if row is None:
        return
    mine = [one for one in rows.every(view, CartridgeRow, store) if one.state != RETIRED or one.place == SHELF]
    withheld = sorted(one.barcode for one in rows.every(view, CartridgeRow, store) if one.state)
    shelved = sorted(one.barcode for one in mine if one.place == SHELF)
    row = replace(row, withheld=withheld, shelved=shelved)
    view.put(row.key, row.to_bytes())
