"""The catalog's rows as they follow from the ledger, gone through anew beside the catalog that is there."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

from preservation.catalog import door, rows
from preservation.catalog.catalog import CHANGES_AT_ONCE
from preservation.catalog.overlay import Empty, Overlay
from preservation.catalog.projection import IndexOf, apply
from preservation.catalog.rows import LostRow, PackRow
from preservation.ledger.events import EventType, Record
from preservation.packs import index
from preservation.packs.index import ManifestLine
from preservation.packs.members import Member
from preservation.repository import Repository
from preservation.scratch import scratch
from preservation.sidecars import index_name

OBJECT = b"object/"
"""How the keys of objects begin."""

_MANIFEST = b'"kind":"manifest"'
_PACKS = {EventType.PACK_SEALED, EventType.PACK_RETIRED}


class Anew:
    """The rows that follow from the ledger's first ``size`` events; in memory, and beyond that in a folder of staging.

    Without ``objects`` the indexes are read for their manifests only, and the rows of objects are left out.
    """

    def __init__(self, repository: Repository, size: int, *, objects: bool) -> None:
        self.view = Overlay(Empty())
        self.base: Record | None = None
        """The last inventory."""
        self.changes: list[tuple[int, str, bool]] = []
        """Since then: the event, the pack, and whether copies of it are expected from now on."""
        self._repository = repository
        self._size = size
        self._index_of: IndexOf = repository.sidecars.index_of if objects else self._manifests_of
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        database = None
        with ExitStack() as stack:
            for record in self._repository.ledger.records(0, self._size):
                self._take(record)
                if len(self.view.changes) >= CHANGES_AT_ONCE:
                    if database is None:
                        folder = stack.enter_context(scratch(self._repository.staging, self._repository.new_id()))
                        door.create(f"{folder}/catalog", self._repository.catalog.identity)
                        database = stack.enter_context(
                            door.writing(f"{folder}/catalog", self._repository.catalog.identity)
                        )
                    database.write(self.view.changes)
                    self.view = Overlay(database)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _take(self, record: Record) -> None:
        detail = record.event.detail
        if record.event.type in _PACKS:
            pack = str(detail.get("pack"))
            before = self.expects(pack)
            apply(record, self._index_of, self.view)
            after = self.expects(pack)
            if before != after:
                self.changes.append((record.seq, pack, after))
            return
        apply(record, self._index_of, self.view)
        if record.event.type == EventType.INVENTORY:
            at = int(str(detail["at"]))
            self.base, self.changes = record, [change for change in self.changes if change[0] >= at]

    def expects(self, pack: str) -> bool:
        """Tell whether copies of the pack are expected."""
        row = rows.one(self.view, PackRow, pack)
        return row is not None and row.state in rows.EXPECTED_STATES

    def _manifests_of(self, row: PackRow) -> Iterator[tuple[Member, ManifestLine | None]] | None:
        if next(rows.every(self.view, LostRow, row.fonds), None) is not None:
            return self._repository.sidecars.index_of(row)  # an object that was lost may be in it
        data = self._repository.sidecars.read(index_name(row.pack), row.index_blake3)
        if data is None:
            return None
        return index.objects(_manifest_lines(data), row.pack)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row but those of objects and the catalog's own, in key order."""
        return ((key, value) for key, value in self.view.scan(b"") if not key.startswith((OBJECT, b"!")))


def _manifest_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of an index that stand for manifests; a quote in a name is escaped and cannot look like one."""
    at = data.find(_MANIFEST)
    while at >= 0:
        end = data.find(b"\n", at) + 1 or len(data)
        yield data[data.rfind(b"\n", 0, at) + 1 : end]
        at = data.find(_MANIFEST, end)
