"""The sections on what is held, and on how long ago it was verified."""

from collections.abc import Iterator, Sequence

from audits.reports import charts
from audits.reports.charts import Bar, Shade, bars, swatch
from audits.reports.figures import Ages, FondsFigures, StoreFigures
from audits.reports.gathering import Report
from audits.reports.language import DASH, DAY, Language
from audits.reports.levels import GRADES
from audits.reports.markup import Markup, code, element, joined, name, table
from preservation.checking import Grade
from preservation.formats.names import names_of
from storage_backends.errors import marked

FONDS_SHOWN = 12
FORMATS_SHOWN = 12
BARS_SHOWN = 8

REACHES = {
    "medium": marked("from the medium"),
    "host cache": marked("perhaps from this machine's memory"),
    "": marked("not recorded"),
}
STATUSES = {
    "several": marked("several formats fit"),
    "unidentified": marked("no format fits"),
    "failed": marked("could not be looked at"),
    "timeout": marked("took too long to look at"),
    "off": marked("not looked at"),
    "": marked("not recorded"),
}
"""What identification says where it gives no format."""


def holdings(report: Report, language: Language) -> Iterator[Markup]:
    """Yield what is held by fonds, format and store."""
    held = report.holdings
    if not held.fonds and not held.stores:
        yield element("p", language.say(marked("There is no fonds and no store yet.")), css="empty")
        return
    yield from _fonds(held.fonds, language)
    yield from _formats(report, language)
    yield from _stores(held.stores, language)


def _fonds(found: Sequence[FondsFigures], language: Language) -> Iterator[Markup]:
    say = language.say
    yield element("h3", say(marked("By fonds")))
    if not found:
        yield element("p", say(marked("No fonds is open.")), css="empty")
        return
    largest = sorted(found, key=lambda one: (-one.stored, one.code))
    drawn = [one for one in largest[:BARS_SHOWN] if one.stored]
    if len(drawn) > 1:
        lines = [Bar(one.code, [(charts.PLAIN, one.stored)], language.size(one.stored)) for one in drawn]
        title = say(marked("Stored bytes by fonds"))
        yield Markup(bars("fonds", title, _read_out(lines), lines))
    shown = largest[:FONDS_SHOWN]
    head = [
        say(marked("Fonds")),
        say(marked("Title")),
        say(marked("Packages")),
        say(marked("Files")),
        say(marked("Size of files")),
        say(marked("Objects")),
        say(marked("Packs")),
        say(marked("Stored")),
    ]
    body = [_fonds_line(name(one.code), name(one.title), one, language) for one in shown]
    if len(found) > 1:
        rest = _sum(largest[FONDS_SHOWN:])
        if rest.fonds:
            label = say(marked("further fonds: {count}"), count=len(largest) - FONDS_SHOWN)
            body.append(_fonds_line(label, "", rest, language))
        body.append(_fonds_line(say(marked("All")), "", _sum(found), language))
    yield _summed(table(head, body, numbers=range(2, 8)), summed=len(found) > 1)
    note = marked(
        "Files and their size are those of the latest version of each package. A content that occurs more than once "
        "in a fonds is one object and is stored once; “stored” counts the packs of one copy."
    )
    yield element("p", say(note), css="note")


def _fonds_line(label: object, title: object, one: FondsFigures, language: Language) -> list[object]:
    counts = [language.number(count) for count in (one.packages, one.files)]
    more = [language.number(count) for count in (one.objects, one.packs)]
    return [label, title, *counts, language.size(one.bytes), *more, language.size(one.stored)]


def _sum(found: Sequence[FondsFigures]) -> FondsFigures:
    total = FondsFigures("all" if found else "", "", "")
    for one in found:
        for field in ("packages", "files", "bytes", "packs", "objects", "stored"):
            setattr(total, field, getattr(total, field) + getattr(one, field))
    return total


def _summed(made: Markup, *, summed: bool) -> Markup:
    """Mark the last line of a table as the sum of those before."""
    if not summed:
        return made
    before, _, last = made.rpartition("<tr>")
    return Markup(f'{before}<tr class="sum">{last}')


def _formats(report: Report, language: Language) -> Iterator[Markup]:
    say, number = language.say, language.number
    formats = report.formats
    yield element("h3", say(marked("By format")))
    if not formats.formats and not formats.unread_files:
        yield element("p", say(marked("No package is kept, so no format is known.")), css="empty")
        return
    found = sorted(formats.formats.items(), key=lambda one: (-one[1][0], one[0]))
    names = names_of([name for name, _ in found[:FORMATS_SHOWN]])
    total = sum(files for files, _ in formats.formats.values()) + formats.unread_files
    if found:
        lines = [Bar(_label(key, names, language), [(charts.PLAIN, files)], number(files)) for key, (files, _) in found]
        title = say(marked("Files by format"))
        yield Markup(bars("formats", title, _read_out(lines[:BARS_SHOWN]), lines[:BARS_SHOWN]))
    head = [say(marked("PUID")), say(marked("Format")), say(marked("Files")), say(marked("Share")), say(marked("Size"))]
    body: list[list[object]] = []
    for key, (files, size) in found[:FORMATS_SHOWN]:
        puid = code(key) if "/" in key else DASH
        body.append(
            [puid, _label(key, names, language), number(files), language.percent(files, total), language.size(size)]
        )
    rest = found[FORMATS_SHOWN:]
    if rest:
        files, size = sum(one[1][0] for one in rest), sum(one[1][1] for one in rest)
        label = say(marked("further formats: {count}"), count=len(rest))
        body.append(["", label, number(files), language.percent(files, total), language.size(size)])
    if formats.unread_files:
        label = say(
            marked("not known; packages whose manifest could not be read: {count}"), count=formats.unread_packages
        )
        share = language.percent(formats.unread_files, total)
        body.append([DASH, label, number(formats.unread_files), share, DASH])
    yield table(head, body, numbers=(2, 3, 4))
    note = marked(
        "As identified when the files were taken in (PRONOM identifiers), for the latest version of each package."
    )
    yield element("p", say(note), css="note")


def _label(key: str, names: dict[str, str], language: Language) -> str:
    if "/" in key:
        return names.get(key, key)
    return language.say(STATUSES.get(key, key))


def _stores(found: Sequence[StoreFigures], language: Language) -> Iterator[Markup]:
    say, number = language.say, language.number
    yield element("h3", say(marked("By store")))
    if not found:
        yield element("p", say(marked("No store is attached.")), css="empty")
        return
    head = [
        say(marked("Store")),
        say(marked("Medium")),
        say(marked("Site")),
        say(marked("Copies")),
        say(marked("Stored")),
        say(marked("Good")),
        say(marked("Damaged")),
        say(marked("Missing")),
        say(marked("Unreadable")),
        say(marked("Not yet copied")),
    ]
    body = []
    for one in found:
        label = name(one.name)
        if not one.available:
            label = joined([label, element("span", say(marked("could not be looked at")), css="level")])
        counts = [number(count) for count in (one.good, one.damaged, one.missing, one.unreadable, one.lacking)]
        body.append([label, name(one.medium), name(one.site), number(one.copies), language.size(one.bytes), *counts])
    yield table(head, body, numbers=range(3, 10))
    yield element("p", say(marked("A copy is one pack on one store. States are as last seen.")), css="note")


def ages(report: Report, language: Language) -> Iterator[Markup]:
    """Yield how long ago the copies were verified, by store and grade of evidence."""
    say = language.say
    held = report.holdings
    if not held.copies:
        yield element("p", say(marked("There is no copy yet.")), css="empty")
        return
    limits = {report.limit_of(store.store) for store in held.stores}
    text = marked("Every copy is to be read in full within {days} days. This is how long ago it was:")
    if len(limits) > 1:
        text = marked(
            "Every copy is to be read in full within the time set for its store. This is how long ago it was:"
        )
    yield element("p", say(text, days=round(max(limits))))
    yield _legend("ages", _shades(limits, language))
    lines = [_age_bar(store, report, language) for store in held.stores if store.copies]
    title = say(marked("Copies by the time since they were last read in full"))
    yield Markup(bars("ages", title, _read_out(lines), lines, whole=True))
    head = [
        say(marked("Store")),
        say(marked("Evidence")),
        say(marked("How deep")),
        say(marked("Copies")),
        say(marked("Median")),
        say(marked("95 %")),
        say(marked("Oldest")),
        say(marked("Time set")),
        say(marked("Late")),
    ]
    body = [line for store in held.stores for line in _age_lines(store, report, language)]
    yield table(head, body, numbers=range(3, 9))
    yield element("p", say(_GRADES_NOTE), css="note")


_GRADES_NOTE = marked(
    "Each line stands on one kind of evidence, and they are never added up as one: “every byte read” is a digest "
    "computed here over the whole copy; a provider's checksum is the provider's word; a listing says only that "
    "something of the right size is there, and a copy that was read can stand in such a line too. “From the medium” "
    "means that the bytes were seen not to come from this machine's memory. A copy that was read back when it was "
    "written, and not since, counts as never read in full."
)


def _age_lines(store: StoreFigures, report: Report, language: Language) -> Iterator[list[object]]:
    say, number = language.say, language.number
    limit = report.limit_of(store.store)
    dashes: list[object] = [DASH] * 5
    own = [one for one in report.holdings.ages if one.store == store.store]
    for one in own:
        yield [name(store.name), *_age_cells(one, limit, language)]
    never = report.holdings.never[store.store]
    if never or not own:
        yield [name(store.name), say(marked("never read in full")), DASH, number(never), *dashes]
    if store.bad:
        yield [name(store.name), say(marked("not good when last seen")), DASH, number(store.bad), *dashes]


def _age_cells(one: Ages, limit: float, language: Language) -> list[object]:
    is_read = one.grade == Grade.BYTES
    return [
        language.say(GRADES.get(Grade(one.grade), one.grade) if one.grade in set(Grade) else one.grade),
        language.say(REACHES.get(one.reach, one.reach)) if is_read else DASH,
        language.number(one.copies),
        language.days(one.quantile(0.5)),
        language.days(one.quantile(0.95)),
        language.days(one.oldest),
        language.days(limit * DAY) if is_read else DASH,
        language.number(one.copies - one.within(limit * DAY)) if is_read else DASH,
    ]


def _shades(limits: set[float], language: Language) -> list[tuple[Shade, str]]:
    say = language.say
    if len(limits) == 1:
        (limit,) = limits
        parts = [say(marked("up to {days} d"), days=round(limit * third / 3)) for third in (1, 2, 3)]
    else:
        parts = [say(text) for text in (marked("up to a third"), marked("up to two thirds"), marked("in time"))]
    return [
        *zip((charts.FINE, charts.GOOD, charts.FAIR), parts, strict=True),
        (charts.LATE, say(marked("late"))),
        (charts.NEVER, say(marked("never read in full"))),
        (charts.BAD, say(marked("not good"))),
    ]


def _age_bar(store: StoreFigures, report: Report, language: Language) -> Bar:
    limit = report.limit_of(store.store) * DAY
    read = [one for one in report.holdings.ages if one.store == store.store and one.grade == Grade.BYTES]
    within = [sum(one.within(limit * third / 3) for one in read) for third in (1, 2, 3)]
    total = sum(one.copies for one in read)
    parts = [
        (charts.FINE, within[0]),
        (charts.GOOD, within[1] - within[0]),
        (charts.FAIR, within[2] - within[1]),
        (charts.LATE, total - within[2]),
        (charts.NEVER, store.good - total),
        (charts.BAD, store.bad),
    ]
    value = language.say(marked("{share} in time"), share=language.percent(within[2], store.copies))
    return Bar(store.name, parts, value)


def _legend(key: str, shades: Sequence[tuple[Shade, str]]) -> Markup:
    items = [
        element("span", Markup(swatch(f"{key}-l{place}", shade)), label) for place, (shade, label) in enumerate(shades)
    ]
    return element("p", *items, css="legend")


def _read_out(lines: Sequence[Bar]) -> str:
    return "; ".join(f"{line.label}: {line.value}" for line in lines)
