"""Everything that a report says, gathered into one noun before a page is begun."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audits.pacing import Standing, standing
from audits.reports.figures import FormatFigures, History, Holdings, LedgerFigures, Period, Spread
from audits.reports.formats import formats_held
from audits.reports.history import Kept, happened
from audits.reports.holdings import held
from audits.reports.independence import spreads
from audits.reports.ledger_state import ledger_state
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import IncidentRow
from preservation.configuration import Policy
from preservation.ledger.events import time_text
from preservation.repository import Repository
from preservation.stores import Sharing, all_open, attached, sharings

INCIDENTS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one report."""

    repository: str
    period: Period
    policy: Policy
    max_age_days: int
    holdings: Holdings
    formats: FormatFigures
    history: History
    ledger: LedgerFigures
    spreads: Sequence[Spread]
    shared: Sequence[Sharing]
    standing: Standing
    incidents: Sequence[IncidentRow] = field(default_factory=list)
    """Those that are open, and those that were opened or closed in the period; the open ones first."""
    incident_count: int = 0
    open_incidents: int = 0

    def limit_of(self, store: str) -> float:
        """Return within how many days every copy on a store is to be verified."""
        return next((one.max_age_days for one in self.standing.stores if one.store == store), float(self.max_age_days))

    @property
    def longest_limit(self) -> float:
        """The longest of these times, in days."""
        return max((one.max_age_days for one in self.standing.stores), default=float(self.max_age_days))

    def store_name(self, store: str) -> str:
        """Return the name of a store; its identifier if it is not attached any more."""
        return next((one.name for one in self.holdings.stores if one.store == store), store[:8])


def gathered(
    repository: Repository, period: Period, local: Callable[[datetime], datetime], kept: Kept, *, remember: bool
) -> Report:
    """Look everything up. ``remember``: what was counted of manifests may be kept in the repository."""
    with repository.reading() as view, all_open(attached(view)) as stores:
        shared = sharings(stores)
        holdings = held(repository, view, stores, shared, period)
        formats = formats_held(repository, view, stores, remember=remember)
        incidents, count, still_open = _incidents(view, period)
        spread = spreads(holdings, stores, shared)
    return Report(
        repository=repository.configuration.repository,
        period=period,
        policy=repository.configuration.policy,
        max_age_days=repository.configuration.audit.max_age_days,
        holdings=holdings,
        formats=formats,
        history=happened(repository, period, local, kept),
        ledger=ledger_state(repository.ledger),
        spreads=spread,
        standing=standing(repository),
        shared=shared,
        incidents=incidents,
        incident_count=count,
        open_incidents=still_open,
    )


def _incidents(view: View, period: Period) -> tuple[list[IncidentRow], int, int]:
    start, end = time_text(period.start), time_text(period.end)
    found: list[IncidentRow] = []
    count = still_open = 0
    for row in rows.every(view, IncidentRow):
        if row.closed and not (start <= row.closed and row.opened < end):
            continue
        count += 1
        still_open += not row.closed
        found.append(row)
        if len(found) > 4 * INCIDENTS_SHOWN:
            found = _first(found)
    return _first(found), count, still_open


def _first(found: Sequence[IncidentRow]) -> list[IncidentRow]:
    latest = sorted(found, key=lambda row: row.opened, reverse=True)
    return sorted(latest, key=lambda row: bool(row.closed))[:INCIDENTS_SHOWN]
