"""The tables beside a report: every figure of the page, and more lines than the page has room for. Times are UTC."""

from collections.abc import Iterator, Mapping

from audits.reports.gathering import Report
from audits.reports.language import DAY
from audits.reports.levels import standings
from audits.reports.tables import Cell, Spool, Table
from preservation.formats.names import names_of
from preservation.ledger.events import time_text

FAILURES = (("time", str), ("verdict", str), ("store", str), ("pack", str), ("run", str))
REPAIRS = (("time", str), ("store", str), ("pack", str), ("damage", str))
RUNS = (
    *(
        ("closed", str),
        ("run", str),
        ("evidence", str),
        ("expected", int),
        ("verified", int),
        ("damaged", int),
        ("missing", int),
    ),
    *(("unreadable", int), ("skipped", int), ("skipped_why", str), ("repaired", int), ("unexpected", int)),
    *(("lost_objects", int), ("findings", int), ("bytes_read", int), ("sum_closes", bool), ("root", str)),
)
SPOOLED = ("failures", "repairs", "runs")
"""Tables whose lines are written down while the events go by."""


def tables_of(report: Report, spools: Mapping[str, Spool]) -> Iterator[Table]:
    """Yield all tables."""
    yield from _held(report)
    yield Table("ages", _AGES, list(_ages(report)))
    yield Table(
        "checks",
        _CHECKS,
        [(report.store_name(of), of, *rest, n) for (of, *rest), n in sorted(report.history.checks.items())],
    )
    yield Table("failures", FAILURES, spools["failures"])
    yield Table("repairs", REPAIRS, spools["repairs"])
    yield Table("runs", RUNS, spools["runs"])
    yield Table("over_time", _OVER_TIME, list(_over_time(report)))
    yield Table("incidents", _INCIDENTS, list(_incidents(report)))
    yield Table("copies", _COPIES, list(_copies(report)))
    yield Table("levels", _LEVELS, list(_levels(report)))
    yield Table("events", (("type", str), ("in_period", int), ("in_all", int), ("last", str)), list(_events(report)))


_AGES = (
    *(("store", str), ("store_id", str), ("evidence", str), ("reach", str), ("copies", int), ("median_days", float)),
    *(("p95_days", float), ("oldest_days", float), ("late", int)),
)
_CHECKS = (("store", str), ("store_id", str), ("evidence", str), ("verdict", str), ("copies", int))
_OVER_TIME = (
    ("from", str),
    ("to", str),
    ("verified", int),
    ("damaged", int),
    ("missing", int),
    ("unreadable", int),
    ("repaired", int),
)
_INCIDENTS = (
    *(("incident", str), ("code", str), ("store", str), ("pack", str), ("opened", str), ("findings", int)),
    *(("seen", str), ("closed", str), ("how", str), ("reason", str)),
)
_COPIES = (
    *(("stores", str), ("packs", int), ("bytes", int), ("copies", int), ("devices", int), ("sites", int)),
    *(("vendors", int), ("admin_domains", int), ("media", int), ("effective", int), ("fewer_than_policy", bool)),
)
_LEVELS = (
    ("area", str),
    ("level", int),
    ("point", str),
    ("state", str),
    ("figures", str),
    ("area_shown", int),
    ("area_possible", int),
)


def _held(report: Report) -> Iterator[Table]:
    held = report.holdings
    kinds = (
        ("packages", int),
        ("files", int),
        ("file_bytes", int),
        ("objects", int),
        ("packs", int),
        ("stored_bytes", int),
    )
    yield Table(
        "fonds",
        (("fonds", str), ("code", str), ("title", str), *kinds),
        [
            (one.fonds, one.code, one.title, one.packages, one.files, one.bytes, one.objects, one.packs, one.stored)
            for one in held.fonds
        ],
    )
    formats = sorted(report.formats.formats.items())
    names = names_of([name for name, _ in formats])
    lines: list[tuple[Cell, ...]] = [(key, names.get(key, ""), files, size) for key, (files, size) in formats]
    if report.formats.unread_files:
        lines.append(("not known", "", report.formats.unread_files, None))
    yield Table("formats", (("format", str), ("name", str), ("files", int), ("bytes", int)), lines)
    states = ("copies", "bytes", "good", "damaged", "missing", "unreadable", "lacking")
    texts = ("store", "name", "medium", "site", "vendor", "admin_domain")
    yield Table(
        "stores",
        (*((text, str) for text in texts), ("available", bool), *((state, int) for state in states)),
        [
            (*(getattr(one, text) for text in texts), one.available, *(getattr(one, state) for state in states))
            for one in held.stores
        ],
    )


def _ages(report: Report) -> Iterator[tuple[Cell, ...]]:
    held = report.holdings
    for one in held.ages:
        spans = [round(seconds / DAY, 2) for seconds in (one.quantile(0.5), one.quantile(0.95), one.oldest)]
        late = one.copies - one.within(report.limit_of(one.store) * DAY)
        yield (report.store_name(one.store), one.store, one.grade, one.reach, one.copies, *spans, late)
    for store, count in sorted(held.never.items()):
        yield (report.store_name(store), store, "never", "", count, None, None, None, None)


def _over_time(report: Report) -> Iterator[tuple[Cell, ...]]:
    for (start, end), counts in zip(report.history.buckets, report.history.by_bucket, strict=True):
        kinds = ("verified", "damaged", "missing", "unreadable", "repaired")
        yield (time_text(start), time_text(end), *(counts[kind] for kind in kinds))


def _incidents(report: Report) -> Iterator[tuple[Cell, ...]]:
    for one in report.incidents:
        where = (report.store_name(one.store) if one.store else "", one.pack)
        yield (one.incident, one.code, *where, one.opened, one.most, one.seen, one.closed, one.how, one.reason)


def _copies(report: Report) -> Iterator[tuple[Cell, ...]]:
    for one in report.spreads:
        known = (one.devices, one.sites, one.vendors, one.admin_domains, one.media, one.effective)
        yield (", ".join(one.stores), one.packs, one.bytes, one.copies, *known, one.short)


def _levels(report: Report) -> Iterator[tuple[Cell, ...]]:
    for standing in standings(report):
        for one in standing.points:
            figures = one.answer.text.format(**one.answer.values)
            levels = (standing.shown, standing.possible)
            yield (str(standing.area), one.point.level, one.point.text, str(one.answer.state), figures, *levels)


def _events(report: Report) -> Iterator[tuple[Cell, ...]]:
    for kind, count in sorted(report.ledger.kinds.items()):
        yield (kind, report.history.kinds[kind], count, report.ledger.last.get(kind, ""))
