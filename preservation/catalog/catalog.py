"""The catalog as its users see it: read it, let it catch up with the ledger, make it anew."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from preservation.catalog import door, rows
from preservation.catalog.errors import CatalogDamagedError
from preservation.catalog.overlay import Overlay
from preservation.catalog.projection import IndexOf, apply
from preservation.ledger.events import Record
from storage_backends.errors import Phrase

CHANGES_AT_ONCE = 200_000
"""Rows changed in memory before they are written: bounds memory while a long ledger is replayed."""

View = Overlay
"""What readers get: the rows as of the end of the ledger."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Where the catalog lies and what it reflects.

    ``records`` yields the ledger's records from a position; ``ledger_size`` tells how many there are.
    """

    path: str
    identity: str
    records: Callable[[int], Iterator[Record]]
    ledger_size: Callable[[], int]
    index_of: IndexOf

    def create(self) -> None:
        """Make an empty catalog."""
        door.create(self.path, self.identity)

    @contextlib.contextmanager
    def reading(self) -> Iterator[View]:
        """Give the rows as of now; events that are not yet on disk are applied in memory. Creates and changes no file.

        Raises:
            CatalogDamagedError: it is missing, damaged, or ahead of the ledger.
        """
        with door.reading(self.path, self.identity) as database:
            view = Overlay(database)
            for record in self._missing(database):
                apply(record, self.index_of, view)
            yield view

    def catch_up(self) -> None:
        """Bring the catalog to the end of the ledger. The caller holds the ledger's lock."""
        with door.writing(self.path, self.identity) as database:
            self._replay(database)

    def rebuild(self) -> None:
        """Throw the catalog away and make it anew from ledger and indexes. The caller holds the ledger's lock.

        The new one is made beside the old one and takes its place when it is complete.
        """
        beside = self.path + ".rebuilding"
        door.remove(beside)
        door.create(beside, self.identity)
        with door.writing(beside, self.identity) as database:
            self._replay(database)
            database.flush()
        door.remove(self.path)
        os.rename(beside, self.path)

    def flush(self) -> None:
        """Make the catalog durable, so that less is replayed after a power cut."""
        with door.writing(self.path, self.identity) as database:
            database.flush()

    def _missing(self, database: door.Database) -> Iterator[Record]:
        value = database.get(rows.POSITION)
        position = int(value) if value is not None else 0
        size = self.ledger_size()
        if position > size:
            reason = Phrase("it reflects {position} events, the ledger has {size}", position=position, size=size)
            raise CatalogDamagedError(place=self.path, reason=reason)
        return self.records(position) if position < size else iter(())

    def _replay(self, database: door.Database) -> None:
        view = Overlay(database)
        for record in self._missing(database):
            apply(record, self.index_of, view)
            view.put(rows.POSITION, b"%d" % (record.seq + 1))
            if len(view.changes) >= CHANGES_AT_ONCE:
                database.write(view.changes)
                view = Overlay(database)
        if view.changes:
            database.write(view.changes)
