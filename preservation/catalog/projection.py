"""From an event to changes of rows: the catalog is what comes out when every event of the ledger went through here.

``apply`` depends on nothing but its arguments. Events of types that change no row pass through without effect.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from preservation.catalog import agents, attested, formats, incidents, marks, parts, plans, rows, taped
from preservation.catalog.rows import (
    CopyRow,
    CopyState,
    FondsRow,
    Location,
    LostRow,
    ManifestRow,
    MarkRow,
    PackageRow,
    PackRow,
    PackState,
    Readable,
    RunRow,
    SessionRow,
    StoreRow,
    StoreState,
    VersionRow,
)
from preservation.ledger.canonical import Json
from preservation.ledger.events import EventType, Record, time_text
from preservation.packs.index import ManifestLine
from preservation.packs.members import Kind, Member

OBJECTS_AT_ONCE = 2_000

IndexOf = Callable[[PackRow], Iterator[tuple[Member, ManifestLine | None]] | None]
"""Gives the objects and manifests that the index of a pack lists; nothing if the index is missing or wrong."""


class Writable(Readable, Protocol):
    """Rows that can be changed."""

    def get_many(self, keys: list[bytes], /) -> list[bytes | None]:
        """Return the value or nothing for each key."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        ...


class _Detail:
    """The detail of an event, read with types."""

    def __init__(self, record: Record) -> None:
        self._values: Mapping[str, Json] = record.event.detail
        self.fonds = record.event.fonds or ""
        self.time = time_text(record.time)
        self.seq = record.seq
        self.event_id = record.event_id

    def text(self, name: str) -> str:
        return str(self._values.get(name, ""))

    def number(self, name: str) -> int:
        return int(cast("int", self._values[name]))

    def count(self, name: str) -> int:
        return int(cast("int", self._values.get(name, 0)))

    def numbers(self, name: str) -> dict[str, int]:
        return {key: int(cast("int", value)) for key, value in cast("dict[str, Json]", self._values[name]).items()}

    def digests(self, name: str) -> dict[str, str]:
        return {key: str(value) for key, value in cast("Mapping[str, Json]", self._values.get(name, {})).items()}

    def part_digests(self) -> list[str]:
        named = cast("list[Mapping[str, Json]]", self._values.get("parts", []))
        return [str(one["blake3"]) for one in named]

    def texts(self, name: str) -> list[str]:
        return [str(value) for value in cast("list[Json]", self._values.get(name, []))]


def apply(record: Record, index_of: IndexOf, view: Writable) -> None:
    """Change the rows of ``view`` as ``record`` says."""
    change = _CHANGES.get(record.event.type)
    if change is not None:
        change(_Detail(record), index_of, view)
    if "parts" in record.event.detail:
        parts.parts_recorded(record, view)


def _store_added(event: _Detail, _index: IndexOf, view: Writable) -> None:
    row = StoreRow(
        store=event.text("store"),
        name=event.text("name"),
        url=event.text("url"),
        medium=event.text("medium"),
        site=event.text("site"),
        vendor=event.text("vendor"),
        admin_domain=event.text("admin_domain"),
        state=StoreState.ATTACHED,
        added=event.time,
    )
    view.put(row.key, row.to_bytes())


def _store_changed(event: _Detail, view: Writable, **changes: Any) -> None:
    row = rows.one(view, StoreRow, event.text("store"))
    if row is not None:
        view.put(row.key, dataclasses.replace(row, **changes).to_bytes())


def _store_relocated(event: _Detail, _index: IndexOf, view: Writable) -> None:
    _store_changed(event, view, name=event.text("name"), url=event.text("url"), state=StoreState.ATTACHED)


def _store_detached(event: _Detail, _index: IndexOf, view: Writable) -> None:
    _store_changed(event, view, state=StoreState.DETACHED)
    _forget_copies(event, view)


def _store_lost(event: _Detail, _index: IndexOf, view: Writable) -> None:
    _store_changed(event, view, state=StoreState.LOST)
    _forget_copies(event, view)


def _forget_copies(event: _Detail, view: Writable) -> None:
    for row in list(rows.every(view, CopyRow)):
        if row.store == event.text("store"):
            view.delete(row.key)


def _fonds_opened(event: _Detail, _index: IndexOf, view: Writable) -> None:
    row = FondsRow(fonds=event.fonds, code=event.text("code"), description=event.text("description"), opened=event.time)
    view.put(row.key, row.to_bytes())


def _session_opened(event: _Detail, _index: IndexOf, view: Writable) -> None:
    row = SessionRow(
        session=event.text("session"),
        package=event.text("package"),
        version=event.number("version"),
        fonds=event.fonds,
        opened=event.seq,
    )
    view.put(row.key, row.to_bytes())


def _session_abandoned(event: _Detail, _index: IndexOf, view: Writable) -> None:
    view.delete(SessionRow.PREFIX + event.text("session").encode())


def _pack_sealed(event: _Detail, index_of: IndexOf, view: Writable) -> None:
    salvage = event.text("salvage_of")
    row = PackRow(
        pack=event.text("pack"),
        fonds=event.fonds,
        size=event.number("size"),
        label=event.text("label"),
        state=PackState.LIVE if salvage else PackState.PENDING,
        package=event.text("package"),
        version=event.number("version"),
        session=event.text("session"),
        objects=event.number("objects"),
        content_bytes=event.number("content_bytes"),
        index_size=event.number("index_size"),
        index_blake3=event.text("index_blake3"),
        blocks_size=event.number("blocks_size"),
        blocks_blake3=event.text("blocks_blake3"),
        sealed=event.seq,
        salvage_of=salvage,
    )
    listed = index_of(row)
    if listed is None:
        row = dataclasses.replace(row, index_missing=True)
    else:
        _add_members(row, listed, view)
    view.put(row.key, row.to_bytes())


def _batches(
    row: PackRow, listed: Iterator[tuple[Member, ManifestLine | None]], view: Writable
) -> Iterator[list[Member]]:
    """Yield the objects of a pack some thousand at a time; note its manifests on the way."""
    batch: list[Member] = []
    for member, line in listed:
        if member.kind is Kind.CONTENT:
            batch.append(member)
        elif line is not None:
            manifest = ManifestRow(
                package=line.package,
                version=line.version,
                pack=row.pack,
                offset=member.offset,
                size=member.size,
                blake3=member.digest,
                title=line.title,
            )
            if row.state in rows.EXPECTED_STATES:
                view.put(manifest.key, manifest.to_bytes())
            else:
                view.delete(manifest.key)
        if len(batch) == OBJECTS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _add_members(row: PackRow, listed: Iterator[tuple[Member, ManifestLine | None]], view: Writable) -> None:
    for batch in _batches(row, listed, view):
        keys = [rows.object_key(row.fonds, member.digest) for member in batch]
        for key, member, value in zip(keys, batch, view.get_many(keys), strict=True):
            place = Location(row.pack, member.offset, member.size)
            places = rows.locations(value)
            if place not in places:
                view.put(key, rows.location_bytes([*places, place]))


def _remove_members(row: PackRow, listed: Iterator[tuple[Member, ManifestLine | None]], view: Writable) -> None:
    for batch in _batches(row, listed, view):
        keys = [rows.object_key(row.fonds, member.digest) for member in batch]
        for key, value in zip(keys, view.get_many(keys), strict=True):
            places = [place for place in rows.locations(value) if place.pack != row.pack]
            if places:
                view.put(key, rows.location_bytes(places))
            else:
                view.delete(key)


def _pack_retired(event: _Detail, index_of: IndexOf, view: Writable) -> None:
    row = rows.one(view, PackRow, event.text("pack"))
    if row is None:
        return
    row = dataclasses.replace(row, state=event.text("state"), index_missing=False)  # it may be gone by right
    view.put(row.key, row.to_bytes())
    for copy in list(rows.every(view, CopyRow, row.pack)):
        view.delete(copy.key)
    listed = index_of(row)
    if listed is not None:
        _remove_members(row, listed, view)


def _copy_written(event: _Detail, _index: IndexOf, view: Writable) -> None:
    row = CopyRow(
        pack=event.text("pack"),
        store=event.text("store"),
        generation=event.text("generation"),
        state=CopyState.GOOD,
        written=event.time,
        seen_good=event.time,
        reach=event.text("reach"),
    )
    view.put(row.key, row.to_bytes())


def _copy_repaired(event: _Detail, _index: IndexOf, view: Writable) -> None:
    before = rows.one(view, CopyRow, event.text("pack"), event.text("store"))
    _copy_written(event, _index, view)
    after = rows.one(view, CopyRow, event.text("pack"), event.text("store"))
    if before is not None and after is not None:
        seen = {"verified": event.time, "checked": event.time}
        view.put(after.key, dataclasses.replace(after, written=before.written, **seen).to_bytes())


def _copy_checked(event: _Detail, _index: IndexOf, view: Writable) -> None:
    row = rows.one(view, CopyRow, event.text("pack"), event.text("store"))
    if row is None:
        return
    verdict = event.text("verdict")
    if verdict == "verified":
        row = dataclasses.replace(
            row,
            generation=event.text("generation"),
            state=CopyState.GOOD,
            verified=event.time,
            seen_good=event.time,
            checked=event.time,
            reach=event.text("reach"),
        )
    elif verdict == "present":  # nobody read it: neither what is known of its bytes nor how old that is has changed
        row = dataclasses.replace(row, present=event.time)
    else:
        row = dataclasses.replace(row, state=verdict, checked=event.time)
    view.put(row.key, row.to_bytes())


def _copy_retired(event: _Detail, _index: IndexOf, view: Writable) -> None:
    view.delete(f"copy/{event.text('pack')}/{event.text('store')}".encode())


def _ingested(event: _Detail, index_of: IndexOf, view: Writable) -> None:
    package, version, session = event.text("package"), event.number("version"), event.text("session")
    row = VersionRow(
        package=package,
        version=version,
        fonds=event.fonds,
        manifest_pack=event.text("manifest_pack"),
        manifest_blake3=event.text("manifest_blake3"),
        manifest_size=event.number("manifest_size"),
        content=event.text("content"),
        files=event.number("files"),
        byte_count=event.number("bytes"),
        packs=event.texts("packs") or _sealed_in(view, session),
        references=event.texts("references"),
        ingested=event.time,
        session=session,
    )
    view.put(row.key, row.to_bytes())
    head = PackageRow(package=package, fonds=event.fonds, latest=version)
    view.put(head.key, head.to_bytes())
    for pack in row.packs:
        found = rows.one(view, PackRow, pack)
        if found is not None and found.state == PackState.PENDING:
            view.put(found.key, dataclasses.replace(found, state=PackState.LIVE).to_bytes())
            _found_again(found, index_of, view)
    view.delete(SessionRow.PREFIX + row.session.encode())
    plans.version_made(event, view)


def _found_again(row: PackRow, index_of: IndexOf, view: Writable) -> None:
    """Forget the loss of what was handed over once more: every package of the fonds that needs it has it again."""
    lost = {one.blake3: one.key for one in rows.every(view, LostRow, row.fonds)}
    listed = index_of(row) if lost else None
    for member, _ in listed or ():
        if member.kind is Kind.CONTENT and member.digest in lost:
            view.delete(lost[member.digest])


def _sealed_in(view: Writable, session: str) -> list[str]:
    """Return the packs of a session in their order; so many that the event could not name them."""
    pending = (row for row in rows.every(view, PackRow) if row.session == session and row.state == PackState.PENDING)
    return [row.pack for row in sorted(pending, key=lambda row: row.label)]


def _objects_lost(event: _Detail, _index: IndexOf, view: Writable) -> None:
    for digest in event.texts("objects"):
        row = LostRow(fonds=event.fonds, blake3=digest, pack=event.text("pack"), since=event.time)
        view.put(row.key, row.to_bytes())


def _run_opened(event: _Detail, _index: IndexOf, view: Writable) -> None:
    before = rows.one(view, RunRow, event.text("run"))
    row = RunRow(
        run=event.text("run"),
        scope=event.text("scope"),
        opened=before.opened if before is not None else event.time,
        opened_event=before.opened_event if before is not None else event.seq,
        expected=event.count("expected"),
        root=event.text("root"),
    )
    view.put(row.key, row.to_bytes())


def _run_closed(event: _Detail, _index: IndexOf, view: Writable) -> None:
    closed = rows.one(view, RunRow, event.text("run"))
    scope = closed.scope if closed is not None else "{}"
    for row in list(rows.every(view, RunRow)):
        if row.run == event.text("run") or row.scope == scope:  # one of this scope that was given up long ago
            view.delete(row.key)
    asked = json.loads(scope)
    is_part = any(asked.get(part) for part in ("stores", "fonds", "packages", "copies", "sample"))
    if is_part or asked.get("grade", "bytes") != "bytes":
        return  # what saw only a part, or did not read, is not the last audit
    if event.count("unaccounted") or event.count("skipped") > event.count("skipped_age"):
        return  # nor is one that did not come to its end
    mark = MarkRow(name="last audit", value=event.time)
    view.put(mark.key, mark.to_bytes())


def _kit_confirmed(event: _Detail, _index: IndexOf, view: Writable) -> None:
    mark = MarkRow(name="kit confirmed", value=event.time)
    view.put(mark.key, mark.to_bytes())


def _inventory_taken(event: _Detail, _index: IndexOf, view: Writable) -> None:
    mark = MarkRow(name="inventory", value=str(event.seq))
    view.put(mark.key, mark.to_bytes())


_CHANGES: Mapping[str, Callable[[_Detail, IndexOf, Writable], None]] = {
    EventType.STORE_ADDED: _store_added,
    EventType.STORE_RELOCATED: _store_relocated,
    EventType.STORE_DETACHED: _store_detached,
    EventType.STORE_LOST: _store_lost,
    EventType.FONDS_OPENED: _fonds_opened,
    EventType.SESSION_OPENED: _session_opened,
    EventType.SESSION_ABANDONED: _session_abandoned,
    EventType.PACK_SEALED: _pack_sealed,
    EventType.PACK_RETIRED: _pack_retired,
    EventType.REPLICATION: _copy_written,
    EventType.REPAIR: _copy_repaired,
    EventType.FIXITY_CHECK: _copy_checked,
    EventType.COPY_RETIRED: _copy_retired,
    EventType.INGESTION: _ingested,
    EventType.OBJECTS_LOST: _objects_lost,
    EventType.AUDIT_RUN_OPENED: _run_opened,
    EventType.AUDIT_RUN_CLOSED: _run_closed,
    EventType.KIT_CONFIRMED: _kit_confirmed,
    EventType.INVENTORY: _inventory_taken,
    EventType.AUDITS_PAUSED: marks.audits_paused,
    EventType.AUDITS_RESUMED: marks.audits_resumed,
    EventType.CLOCK_SKEW: marks.clock_skewed,
    EventType.SIGNATURES_ACTIVATED: marks.signatures_activated,
    EventType.TIMESTAMPED: attested.timestamped,
    EventType.WITNESSED: attested.witnessed,
    EventType.INCIDENT_OPENED: incidents.incident_opened,
    EventType.INCIDENTS_SEEN: incidents.incidents_seen,
    EventType.INCIDENT_CLOSED: incidents.incident_closed,
    EventType.CARTRIDGE_LABELLED: taped.labelled,
    EventType.CARTRIDGE_SEEN: taped.seen,
    EventType.CARTRIDGE_MOVED: taped.moved,
    EventType.CARTRIDGE_CHANGED: taped.changed,
    EventType.CARTRIDGE_REQUESTED: taped.requested,
    EventType.AGENT_REGISTERED: agents.agent_registered,
    EventType.KEY_REVOKED: agents.key_revoked,
    EventType.MIGRATION_PLANNED: plans.planned,
    EventType.PLAN_SIGNED: plans.signed,
    EventType.MIGRATION_BEGUN: plans.begun,
    EventType.MIGRATION: plans.migrated,
    EventType.MIGRATION_ENDED: plans.ended,
    EventType.MIGRATION_UNDOING: plans.undoing,
    EventType.MIGRATION_UNDONE: plans.undone,
    EventType.REIDENTIFICATION_OPENED: formats.opened,
    EventType.FORMAT_IDENTIFICATION: formats.identified,
    EventType.REIDENTIFICATION_CLOSED: formats.closed,
    EventType.POLICY_ASSIGNMENT: formats.table_imported,
    EventType.RISK_DECIDED: formats.risk_decided,
    EventType.FORMAT_TOOLS: formats.tools_seen,
}
