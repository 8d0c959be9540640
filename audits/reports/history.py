"""What happened in a period: one pass over its records, a few at a time in memory.

Segments whose times all lie outside the period are passed over; every record says its time itself.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audits.reports.figures import Happening, History, Period, Run
from audits.reports.parquet import glance
from audits.reports.tables import Cell
from preservation.checking import Grade
from preservation.ledger.events import EventType, Outcome, time_text
from preservation.ledger.log import Ledger
from preservation.repository import Repository

SHOWN = 12
"""Failures, repairs and runs that the page names: the latest."""

DAYS_BY_DAY, DAYS_BY_WEEK, DAYS_BY_MONTH = 35, 200, 1200
"""Up to how many days a chart has a column a day, a week, a month; beyond, a year."""

Kept = Callable[[str, Sequence[Cell]], None]
"""Is given every line of the tables ``failures``, ``repairs`` and ``runs``, of which the page shows the latest only."""


def happened(
    repository: Repository, period: Period, language_zone: Callable[[datetime], datetime], kept: Kept
) -> History:
    """Return what the ledger says of the period; ``language_zone`` gives a time as local clocks show it."""
    history = History()
    history.buckets = list(parts_of(period, language_zone))
    history.by_bucket = [Counter() for _ in history.buckets]
    tally = _Tally(history, kept, [time_text(start) for start, _ in history.buckets])
    start, end = time_text(period.start).encode(), time_text(period.end).encode()
    for data in _records(repository.ledger, period):
        before, _, kind = data.rpartition(b'","type":"')
        time = before[-27:]
        if start <= time < end:
            tally.take(time.decode(), kind[:-2].decode(), data)
    tally.close()
    return history


def _records(ledger: Ledger, period: Period) -> Iterator[bytes]:
    """Yield the records of all parts of the ledger that may hold events of the period."""
    for segment in ledger.segments:
        seen = glance(ledger.segment_file(segment))
        outside = seen.earliest is not None and (
            seen.earliest >= period.end or (seen.latest is not None and seen.latest < period.start)
        )
        if not outside:
            yield from ledger.raw_records(segment.first, segment.end)
    yield from ledger.raw_records(ledger.sealed_size)


def parts_of(period: Period, local: Callable[[datetime], datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the days, weeks, months or years of a period, which begin and end where those of the calendar do."""
    days = (period.end - period.start).days
    start = local(period.start)
    while start < period.end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        if days <= DAYS_BY_DAY:
            end = midnight + timedelta(days=1)
        elif days <= DAYS_BY_WEEK:
            end = midnight + timedelta(days=7 - midnight.weekday())
        elif days <= DAYS_BY_MONTH:
            end = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            end = midnight.replace(year=midnight.year + 1, month=1, day=1)
        yield start, min(end, local(period.end))
        start = end


@dataclass(slots=True)
class _Tally:
    """What is counted while the events go by."""

    history: History
    kept: Kept
    starts: list[str]
    failures: deque[Happening] = field(default_factory=lambda: deque(maxlen=SHOWN))
    repairs: deque[Happening] = field(default_factory=lambda: deque(maxlen=SHOWN))
    runs: deque[Run] = field(default_factory=lambda: deque(maxlen=SHOWN))
    place: int = 0

    def take(self, time: str, kind: str, data: bytes) -> None:
        """Count one event."""
        history = self.history
        history.events += 1
        history.kinds[kind] += 1
        taken = _TAKEN.get(kind)
        if taken is not None:
            value = json.loads(data)
            taken(self, time, value["detail"], value["outcome"] == Outcome.SUCCESS)

    def bucket(self, time: str) -> Counter[str]:
        """Return the counts of the part of the period in which a time lies; mostly that of the event before."""
        if not self.starts:
            return Counter()
        while self.place + 1 < len(self.starts) and time >= self.starts[self.place + 1]:
            self.place += 1
        while self.place and time < self.starts[self.place]:
            self.place -= 1
        return self.history.by_bucket[self.place]

    def checked(self, time: str, detail: Mapping[str, Any], fine: bool) -> None:  # noqa: FBT001 - one of four alike
        """A copy was looked at."""
        store, verdict = str(detail.get("store", "")), str(detail.get("verdict", ""))
        self.history.checks[store, str(detail.get("grade", Grade.BYTES)), verdict] += 1
        self.history.read[store] += int(detail.get("bytes", 0))
        self.bucket(time)[verdict] += 1
        if not fine:
            self.history.failure_count += 1
            pack = str(detail.get("pack", ""))
            self.failures.append(Happening(time, verdict, store, pack))
            self.kept("failures", (time, verdict, store, pack, str(detail.get("run", ""))))

    def repaired(self, time: str, detail: Mapping[str, Any], fine: bool) -> None:  # noqa: FBT001 - the same
        """A copy was healed."""
        store, pack, damage = (str(detail.get(name, "")) for name in ("store", "pack", "damage"))
        if fine:
            self.history.repair_count += 1
            self.bucket(time)["repaired"] += 1
            self.repairs.append(Happening(time, "repaired", store, pack, damage))
            self.kept("repairs", (time, store, pack, damage))

    def lost(self, _time: str, detail: Mapping[str, Any], _fine: bool) -> None:  # noqa: FBT001 - the same
        """Objects were lost."""
        objects = detail.get("objects", [])
        self.history.lost_objects += len(objects) if isinstance(objects, list) else 0

    def closed(self, time: str, detail: Mapping[str, Any], _fine: bool) -> None:  # noqa: FBT001 - the same
        """An audit came to its end."""
        counts = {name: value for name, value in detail.items() if type(value) is int}
        strata = detail.get("sample", [])
        run = Run(
            str(detail.get("run", "")),
            time,
            counts,
            root=str(detail.get("root", "")),
            grade=str(detail.get("grade", Grade.BYTES)),
            strata=tuple(strata) if isinstance(strata, list) else (),
        )
        self.history.run_count += 1
        self.history.run_sums.update(counts)
        self.history.run_sums["open"] += not run.closes
        self.runs.append(run)
        parts = ("expected", "verified", "damaged", "missing", "unreadable", "skipped")
        reasons = ", ".join(f"{name}: {count}" for name, count in sorted(run.skipped.items()))
        more = tuple(counts.get(name, 0) for name in ("repaired", "unexpected", "lost", "findings", "bytes"))
        line: tuple[Cell, ...] = (
            time,
            run.run,
            run.grade,
            *(counts.get(part, 0) for part in parts),
            reasons,
            *more,
            run.closes,
            run.root,
        )
        self.kept("runs", line)

    def ingested(self, _time: str, detail: Mapping[str, Any], _fine: bool) -> None:  # noqa: FBT001 - the same
        """A package version was taken in."""
        self.history.ingested_packages += 1
        self.history.ingested_files += int(detail.get("files", 0))
        self.history.ingested_bytes += int(detail.get("bytes", 0))

    def close(self) -> None:
        """Hand over the latest of each kind, the last first."""
        self.history.failures = list(reversed(self.failures))
        self.history.repairs = list(reversed(self.repairs))
        self.history.runs = list(reversed(self.runs))


_TAKEN: Mapping[str, Callable[[_Tally, str, Mapping[str, Any], bool], None]] = {
    EventType.FIXITY_CHECK: _Tally.checked,
    EventType.REPAIR: _Tally.repaired,
    EventType.OBJECTS_LOST: _Tally.lost,
    EventType.AUDIT_RUN_CLOSED: _Tally.closed,
    EventType.INGESTION: _Tally.ingested,
}
