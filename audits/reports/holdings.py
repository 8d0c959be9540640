"""What is held now: one pass over the rows of packs and copies side by side, so that memory does not grow with them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from audits.reports.figures import HOUR, Ages, Combination, FondsFigures, Holdings, Period, StoreFigures
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import (
    CopyRow,
    CopyState,
    FondsRow,
    LostRow,
    MarkRow,
    PackRow,
    PackState,
    RunRow,
    VersionRow,
)
from preservation.checking import Grade
from preservation.fonds import described
from preservation.ledger.events import time_text
from preservation.repository import Repository
from preservation.stores import Sharing, Store, satisfies

LOST_SHOWN = 20
"""Lost objects that are named; all of them are counted."""


def held(
    repository: Repository, view: View, stores: Sequence[Store], shared: Sequence[Sharing], period: Period
) -> Holdings:
    """Return what is held, from what the catalog knows and from which stores are there now."""
    found = Holdings(stores=[_store(store) for store in stores])
    titles = {row.fonds: str(values.get("title", "")) for row, values in described(repository, view)}
    by_fonds = {
        row.fonds: FondsFigures(row.fonds, row.code, titles.get(row.fonds, "")) for row in rows.every(view, FondsRow)
    }
    found.fonds = sorted(by_fonds.values(), key=lambda one: one.code)
    _count_versions(view, by_fonds, found)
    tally = _Tally(period, {one.store: one for one in found.stores})
    _count_packs(view, tally, by_fonds, found)
    found.ages = [tally.ages[key] for key in sorted(tally.ages)]
    _combine(repository, tally, stores, shared, found)
    for lost in rows.every(view, LostRow):
        found.lost += 1
        if len(found.lost_sample) < LOST_SHOWN:
            found.lost_sample.append(lost.blake3)
    found.unfinished_audits = sum(1 for _ in rows.every(view, RunRow))
    mark = rows.one(view, MarkRow, "last audit")
    found.last_audit = mark.value if mark is not None else ""
    return found


def latest_versions(view: View) -> Iterator[VersionRow]:
    """Yield the latest version of every package, in the order of their identifiers."""
    for _, versions in groupby(rows.every(view, VersionRow), key=lambda row: row.package):
        *_, last = versions
        yield last


def _store(store: Store) -> StoreFigures:
    row = store.row
    return StoreFigures(
        store=row.store,
        name=row.name,
        medium=row.medium,
        site=row.site,
        vendor=row.vendor,
        admin_domain=row.admin_domain,
        available=store.backend is not None,
    )


def _count_versions(view: View, by_fonds: dict[str, FondsFigures], found: Holdings) -> None:
    for row in latest_versions(view):
        found.packages += 1
        found.files += row.files
        found.bytes += row.byte_count
        if not found.first_ingest or row.ingested < found.first_ingest:
            found.first_ingest = row.ingested
        figures = by_fonds.get(row.fonds)
        if figures is not None:
            figures.packages += 1
            figures.files += row.files
            figures.bytes += row.byte_count


def _beside(view: View) -> Iterator[tuple[PackRow, list[CopyRow]]]:
    """Yield every pack with its copies: both kinds of rows come in the order of the packs' digests."""
    copies = rows.every(view, CopyRow)
    copy = next(copies, None)
    for pack in rows.every(view, PackRow):
        own = []
        while copy is not None and copy.pack < pack.pack:
            copy = next(copies, None)
        while copy is not None and copy.pack == pack.pack:
            own.append(copy)
            copy = next(copies, None)
        yield pack, own


@dataclass(slots=True)
class _Tally:
    """What is counted while the packs go by."""

    period: Period
    stores: dict[str, StoreFigures]
    ages: dict[tuple[str, str, str], Ages] = field(default_factory=dict)
    combinations: defaultdict[frozenset[str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    hours: dict[str, int] = field(default_factory=dict)
    """Ages of the times of verification seen: many copies were verified in the same batch."""

    def take(self, pack: PackRow, copies: Sequence[CopyRow], found: Holdings) -> None:
        """Count one pack that is expected, and its copies."""
        start = time_text(self.period.start)
        known = [copy for copy in copies if copy.store in self.stores]
        for copy in known:
            figures = self.stores[copy.store]
            figures.copies += 1
            figures.bytes += pack.size
            setattr(figures, copy.state, getattr(figures, copy.state) + 1)
            if copy.verified < start:
                found.unverified_since_start[copy.store] += 1
            if copy.state == CopyState.GOOD:
                self._take_ages(copy, found)
        here = {copy.store for copy in known}
        for name, figures in self.stores.items():
            figures.lacking += name not in here
        if pack.state == PackState.LIVE:
            counts = self.combinations[frozenset(copy.store for copy in known if copy.state == CopyState.GOOD)]
            counts[0] += 1
            counts[1] += pack.size

    def _take_ages(self, copy: CopyRow, found: Holdings) -> None:
        """Count how long ago every byte was read, and beside it how long ago the store was asked."""
        if copy.verified:
            self._take_age((copy.store, Grade.BYTES, copy.reach), copy.verified)
        else:
            found.never[copy.store] += 1
        if copy.present:
            self._take_age((copy.store, Grade.INVENTORY, ""), copy.present)

    def _take_age(self, key: tuple[str, str, str], time: str) -> None:
        ages = self.ages.get(key)
        if ages is None:
            ages = self.ages[key] = Ages(*key)
        ages.hours[self._hours(time)] += 1

    def _hours(self, verified: str) -> int:
        minute = verified[:16]
        hours = self.hours.get(minute)
        if hours is None:
            seconds = (self.period.now - datetime.fromisoformat(minute + "+00:00")).total_seconds()
            hours = self.hours[minute] = max(0, int(seconds // HOUR))
            if len(self.hours) > 1 << 16:
                self.hours.clear()
        return hours


def _count_packs(view: View, tally: _Tally, by_fonds: dict[str, FondsFigures], found: Holdings) -> None:
    for pack, copies in _beside(view):
        if pack.state in rows.EXPECTED_STATES:
            tally.take(pack, copies, found)
        if pack.state != PackState.LIVE:
            continue
        found.packs += 1
        found.objects += pack.objects
        found.stored += pack.size
        figures = by_fonds.get(pack.fonds)
        if figures is not None:
            figures.packs += 1
            figures.objects += pack.objects
            figures.stored += pack.size


def _combine(
    repository: Repository, tally: _Tally, stores: Sequence[Store], shared: Sequence[Sharing], found: Holdings
) -> None:
    for holders, (packs, size) in sorted(tally.combinations.items(), key=lambda one: (len(one[0]), sorted(one[0]))):
        good = [store.row for store in stores if store.row.store in holders]
        short = not satisfies(repository.configuration.policy, good, shared)
        found.combinations.append(Combination(holders, packs, size, short))
        found.short_packs += packs if short else 0
