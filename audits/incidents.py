"""Incidents: from the first open finding to the run that no longer finds it, recorded in the ledger.

There is one incident for a code and a store (or the repository), however many findings it has: a dying disk is one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from audits.coverage import Report, Scope
from audits.findings import Code, Finding
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, IncidentRow, MarkRow, PackRow
from preservation.checking import Grade
from preservation.ledger.canonical import Json
from preservation.ledger.events import Event, EventType
from preservation.repository import Repository
from preservation.stores import attached
from storage_backends.errors import MocbanError, marked

SEEN_AGAIN = timedelta(days=1)
"""How old the last look is when an incident whose count has not changed is recorded as seen again."""

STATES = {
    Code.COPY_DAMAGED: CopyState.DAMAGED,
    Code.COPY_MISSING: CopyState.MISSING,
    Code.COPY_UNREADABLE: CopyState.UNREADABLE,
}
"""Codes that the rows of copies answer for, whatever part of the holdings a run looked at."""

UNSWEPT = frozenset({Code.STORE_UNAVAILABLE, Code.LEDGER_DAMAGED})
"""Codes that keep a sweep from looking at the rest of a store."""

STANDING = frozenset({Code.OBJECTS_LOST, Code.INDEX_MISSING, Code.COPY_MISSING})
"""Codes about the repository that every run looks at."""


class Reason(StrEnum):
    """Why a person closes an incident that a run would still find."""

    FALSE_ALARM = "false-alarm"
    LOSS_ACCEPTED = "loss-accepted"
    PLANNED = "planned"
    REPLACED = "replaced"


REASONS = {
    Reason.FALSE_ALARM: marked("it was looked into and is nothing"),
    Reason.LOSS_ACCEPTED: marked("what is lost cannot be had again, and those concerned know it"),
    Reason.PLANNED: marked("it is meant to be so, as with a store that is kept in a vault"),
    Reason.REPLACED: marked("the store or the records have been replaced"),
}
"""What each reason means."""


class NoSuchIncidentError(MocbanError):
    """There is no incident of this identifier."""

    template = marked("There is no incident {incident}; 'mocban incident list --all' shows those there are")


class IncidentClosedError(MocbanError):
    """The incident was closed before."""

    template = marked("The incident {incident} is closed since {closed}")


@dataclass(slots=True)
class _Found:
    """How often a run found a code on a store, and the pack if there was only one."""

    count: int = 0
    packs: set[str] | None = None

    @property
    def pack(self) -> str:
        return next(iter(self.packs)) if self.packs and len(self.packs) == 1 else ""


_Key = tuple[str, str]
"""A code and the identifier of a store, which is empty for the repository."""


def follow(repository: Repository, report: Report, scope: Scope) -> None:
    """Open, go on with and close incidents as ``report``, of a run that looked at ``scope``, has it.

    An incident is closed only by a run that looked where it was. What a person has explained is opened again only when
    there is more of it, or when it comes back after it was gone. Nothing is recorded if nothing is new.
    """
    with repository.deciding() as (view, append):
        run = _Run(repository, view, report, scope)
        events = list(run.events())
        if events:
            append(events)


class _Run:
    """What one run found, beside the incidents there are."""

    def __init__(self, repository: Repository, view: View, report: Report, scope: Scope) -> None:
        self._repository = repository
        self._view = view
        self._report = report
        self._scope = scope
        self._stores = {row.name: row.store for row in attached(view)}
        self._healed = {
            (str(one.code), self._stores.get(one.store, ""))
            for one in report.findings
            if one.healed and not one.is_open
        }
        self._standing = [row for row in rows.every(view, IncidentRow) if not row.closed or _is_explained(row)]
        self._found = _found(view, report.findings, self._stores)

    def events(self) -> Iterator[Event]:
        """Yield what is to be recorded."""
        now = self._repository.world.now()
        counts: dict[str, Json] = {}
        known = set()
        for row in self._standing:
            key = (row.code, row.store)
            found = self._found.get(key)
            if found is None:
                if self._looked_for(row):
                    yield self._event(EventType.INCIDENT_CLOSED, incident=row.incident, how=self._how(key))
                continue
            if row.closed and found.count > row.count:  # more than what was explained
                yield self._event(EventType.INCIDENT_CLOSED, incident=row.incident, how="gone")
                continue
            known.add(key)
            is_old = now - datetime.fromisoformat(row.seen) >= SEEN_AGAIN
            if not row.closed and (is_old or found.count != row.count):
                counts[row.incident] = found.count
        if counts:
            yield self._event(EventType.INCIDENTS_SEEN, counts=counts)
        for code, store in sorted(self._found.keys() - known):
            found = self._found[code, store]
            incident = self._repository.new_id()
            yield self._event(
                EventType.INCIDENT_OPENED,
                outcome="failure",
                incident=incident,
                code=code,
                store=store,
                pack=found.pack,
                count=found.count,
            )

    def _event(self, kind: EventType, outcome: str = "success", **detail: Json) -> Event:
        agent = self._repository.world.agent
        return Event(type=kind, outcome=outcome, detail={**detail, "run": self._report.run}, agent=agent)

    def _how(self, key: _Key) -> str:
        return "healed" if key in self._healed else "gone"

    def _looked_for(self, row: IncidentRow) -> bool:
        """Tell whether the run would have found this incident's findings if there were any."""
        store = row.store
        is_gone = bool(store) and store not in self._stores.values()
        answered = row.code in STATES if store else row.code in STANDING  # the catalog's rows say that none is left
        if is_gone or answered:
            return True
        if self._scope.stores and store not in {self._stores.get(name) for name in self._scope.stores}:
            return False
        match row.code:
            case Code.STORE_UNAVAILABLE:
                looked = True
            case Code.REPAIR_FAILED:
                looked = not any(code in STATES and store in {"", where} for code, where in self._found)
            case Code.CATALOG_DIFFERS:
                looked = self._scope.is_everything or self._compared_since(row)
            case Code.GRADE_UNAVAILABLE:
                looked = self._scope.grade is Grade.PROVIDER
            case _:
                looked = self._scope.sweeps and not any((str(code), store) in self._found for code in UNSWEPT)
        return looked

    def _compared_since(self, row: IncidentRow) -> bool:
        """Tell whether the catalog was compared with ledger and indexes since, and was right."""
        mark = rows.one(self._view, MarkRow, "inventory")
        if mark is None or not mark.value.isdecimal() or int(mark.value) <= row.opened_event:
            return False
        record = next(self._repository.ledger.records(int(mark.value), int(mark.value) + 1), None)
        return record is not None and record.event.type == EventType.INVENTORY and record.event.outcome == "success"


def _is_explained(row: IncidentRow) -> bool:
    return row.how == "explained" and not row.ended


def _found(view: View, findings: list[Finding], stores: Mapping[str, str]) -> dict[_Key, _Found]:
    """Return what is wrong now: open errors, and every copy that was last seen not good.

    Copies on a store that is away belong to that store's incident.
    """
    found: dict[_Key, _Found] = {}

    def add(code: str, store: str, pack: str, count: int = 1) -> None:
        one = found.setdefault((code, store), _Found(packs=set()))
        one.count += count
        if pack and one.packs is not None and len(one.packs) < 2:  # noqa: PLR2004 - two are not the only one
            one.packs.add(pack)

    lost = sum(1 for _ in rows.every(view, rows.LostRow))
    for finding in findings:
        if finding.is_open and not (finding.code in STATES and finding.store):
            count = max(lost, 1) if finding.code is Code.OBJECTS_LOST else 1
            add(str(finding.code), stores.get(finding.store, ""), finding.pack, count)
    codes = {state: str(code) for code, state in STATES.items()}
    packs = None
    for copy in rows.every(view, CopyRow):
        if copy.state != CopyState.GOOD and copy.store in stores.values():
            if packs is None:
                packs = {row.pack for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
            if copy.pack in packs and copy.state in codes:
                add(codes[CopyState(copy.state)], copy.store, copy.pack)
    return found


def incidents(view: View, *, every: bool = False) -> list[IncidentRow]:
    """Return the open incidents, or ``every`` one, the oldest first."""
    return [row for row in rows.every(view, IncidentRow) if every or not row.closed]


def incident_named(view: View, name: str) -> IncidentRow:
    """Return the incident of this identifier, or of the only one that begins so.

    Raises:
        NoSuchIncidentError: none or several do.
    """
    found = [row for row in rows.every(view, IncidentRow) if name and row.incident.startswith(name)]
    if len(found) != 1:
        raise NoSuchIncidentError(incident=name)
    return found[0]


def close(repository: Repository, name: str, reason: Reason) -> IncidentRow:
    """Close an incident because a person explains it, and return it.

    Raises:
        NoSuchIncidentError: there is no such incident.
        IncidentClosedError: it is closed.
    """
    with repository.deciding() as (view, append):
        row = incident_named(view, name)
        if row.closed:
            raise IncidentClosedError(incident=row.incident, closed=row.closed)
        detail = {"incident": row.incident, "how": "explained", "reason": str(reason)}
        append([repository.event(EventType.INCIDENT_CLOSED, **detail)])
    with repository.reading() as view:
        return incident_named(view, row.incident)


def as_finding(view: View, row: IncidentRow) -> Finding:
    """Return the incident as one finding, for its meaning, severity and next command."""
    store = rows.one(view, rows.StoreRow, row.store) if row.store else None
    return Finding(Code(row.code), store.name if store is not None else "", row.pack, f"{row.count}")
