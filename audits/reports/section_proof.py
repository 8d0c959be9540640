"""The sections on independence of the copies, on the NDSA Levels, and on the ledger."""

from collections.abc import Iterator, Sequence

from audits.reports.figures import Spread
from audits.reports.gathering import Report
from audits.reports.language import DASH, Language
from audits.reports.ledger_state import fingerprint
from audits.reports.levels import AREAS, LEVELS, SOURCE, Judged, Standing, State, standings
from audits.reports.markup import Markup, element, joined, name, table
from preservation.ledger.events import EventType
from preservation.stores import Sharing
from storage_backends.errors import marked

SPREADS_SHOWN = 8

MARKS = {
    State.SHOWN: '<circle cx="5" cy="4" r="3.2" fill="#20262e"/>',
    State.NOT_SHOWN: '<path d="M2 1L8 7M8 1L2 7" stroke="#8c2f1b" stroke-width="1.7"/>',
    State.PERSON: '<circle cx="5" cy="4" r="2.9" fill="#fff" stroke="#20262e" stroke-width="1"/>',
}
STATES = {
    State.SHOWN: marked("shown by figures of this repository"),
    State.NOT_SHOWN: marked("not shown: figures speak against it, or there are none"),
    State.PERSON: marked("a person must say"),
}
SHARED = {"device": marked("device"), "file system": marked("file system")}


def independence(report: Report, language: Language) -> Iterator[Markup]:
    """Yield how many copies there are, and how many would be left if what they share fails."""
    say, number = language.say, language.number
    if not report.spreads:
        yield element("p", say(marked("There is no pack yet, so there are no copies to compare.")), css="empty")
        return
    worst = report.spreads[0]
    text = marked("Fewest copies: {copies}, effectively {effective}.")
    yield element("p", element("strong", say(text, copies=worst.copies, effective=worst.effective)), " ", say(_MEANING))
    head = [
        say(marked("Good copies on")),
        say(marked("Packs")),
        say(marked("Copies")),
        say(marked("Devices")),
        say(marked("Sites")),
        say(marked("Vendors")),
        say(marked("Administrations")),
        say(marked("Media")),
        say(marked("Effectively")),
    ]
    body = [_spread_line(one, language) for one in report.spreads[:SPREADS_SHOWN]]
    rest = report.spreads[SPREADS_SHOWN:]
    if rest:
        label = say(marked("further combinations, no worse: {count}"), count=len(rest))
        body.append([label, number(sum(one.packs for one in rest)), *[DASH] * 7])
    yield table(head, body, numbers=range(1, 9))
    shared = [_shared(one, language) for one in report.shared[:SPREADS_SHOWN]]
    if shared:
        yield element("p", joined(joined([Markup("<br>") if place else "", text]) for place, text in enumerate(shared)))
    policy = report.policy
    text = marked(
        "The policy asks for at least so many copies: {copies}, sites: {sites}, kinds of media: {media}, "
        "administrations: {domains}. Packs with less: {short} of {packs}."
    )
    values = {"copies": policy.copies, "sites": policy.sites, "media": policy.media, "domains": policy.admin_domains}
    yield element("p", say(text, short=report.holdings.short_packs, packs=report.holdings.packs, **values))


_MEANING = marked(
    "“Effectively” is the least of the columns that are known: so many copies cannot be taken by one failing device, "
    "one disaster at a site, one vendor's error or one administration. What is not stated, or could not be looked "
    "at, is “?” and is not counted on."
)


def _spread_line(one: Spread, language: Language) -> list[object]:
    number = language.number
    stores = joined(joined([", " if place else "", name(store)]) for place, store in enumerate(one.stores))
    if not one.stores:
        stores = element("em", language.say(marked("no store")))
    differences = (one.devices, one.sites, one.vendors, one.admin_domains)
    known = ["?" if count is None else number(count) for count in differences]
    return [stores, number(one.packs), number(one.copies), *known, number(one.media), number(one.effective)]


def _shared(one: Sharing, language: Language) -> str:
    what = language.say(SHARED.get(one.what, one.what))
    text = marked("{first} and {second} share a {what}: if it fails, both are gone.")
    return language.say(text, first=one.first, second=one.second, what=what)


def levels(report: Report, language: Language) -> Iterator[Markup]:
    """Yield the matrix of the NDSA Levels with what is known, and what is missing for the next level."""
    say = language.say
    found = standings(report)
    yield element("p", say(_LEVELS_NOTE), " ", element("span", SOURCE, css="soft"))
    yield _marks_legend(language)
    yield _matrix(found, language)
    head = [
        say(marked("Area")),
        say(marked("Shown")),
        say(marked("Possible")),
        say(marked("Missing for the next level")),
    ]
    body: list[list[object]] = []
    for one in found:
        missing = [_missing(judged, language) for judged in one.missing] or [element("span", say(marked("nothing")))]
        cells = joined(element("div", line) for line in missing)
        body.append([say(AREAS[one.area]), language.number(one.shown), language.number(one.possible), cells])
    yield table(head, body, numbers=(1, 2))


_LEVELS_NOTE = marked(
    "A level counts as shown only where figures of this repository show every point of it and of the levels before; "
    "“possible” is the level if people confirm every point that only they can know. Summarised in our words from:"
)


def _missing(judged: Judged, language: Language) -> Markup:
    answer = judged.answer
    text = language.say(judged.point.text)
    said = language.say(answer.text, **answer.values) if answer.text else ""
    if answer.state is State.PERSON:
        said = "; ".join(part for part in (said, language.say(STATES[State.PERSON])) if part)
    return joined([_mark(answer.state), " ", text, element("span", f" {DASH} {said}", css="soft") if said else ""])


def _mark(state: State) -> Markup:
    return Markup(f'<svg class="mark" viewBox="0 0 10 8" width="10" height="8" aria-hidden="true">{MARKS[state]}</svg>')


def _marks_legend(language: Language) -> Markup:
    return element(
        "p", *(element("span", _mark(state), " ", language.say(STATES[state])) for state in State), css="legend"
    )


def _matrix(found: Sequence[Standing], language: Language) -> Markup:
    say = language.say
    heads = [
        element("th", say(marked("Area")), scope="col"),
        *(element("th", say(level), scope="col") for level in LEVELS),
    ]
    lines = []
    for one in found:
        cells = [element("th", say(AREAS[one.area]), scope="row")]
        for level in range(1, len(LEVELS) + 1):
            points = [
                element("li", _mark(judged.answer.state), element("span", say(judged.point.text)))
                for judged in one.points
                if judged.point.level == level
            ]
            cells.append(element("td", element("ul", *points), css="reached" if level <= one.shown else ""))
        lines.append(element("tr", *cells))
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines), css="levels")


def ledger(report: Report, language: Language) -> Iterator[Markup]:
    """Yield the state of the ledger and the checkpoint to keep."""
    say = language.say
    found = report.ledger
    text = marked("Events: {size}; sealed: {sealed}, in segments: {segments}; agents: {agents}.")
    yield element("p", say(text, size=found.size, sealed=found.sealed, segments=found.segments, agents=found.agents))
    if not found.checkpoint:
        yield element(
            "p", say(marked("No signed checkpoint could be read: run 'mocban ledger checkpoint'.")), css="empty"
        )
    else:
        yield element("h3", say(marked("The checkpoint to keep")))
        yield element("p", say(_KEEP))
        yield element(
            "pre",
            Markup(element("span", found.checkpoint)) if "\n" not in found.checkpoint else _note(found.checkpoint),
        )
        yield element("p", say(marked("In short, to write down:")))
        yield element("p", f"{found.checkpoint_size}: {fingerprint(found.checkpoint_root)}", css="fingerprint")
        yield element("p", _fits(report, language))
    head = [say(marked("Evidence")), say(marked("Last recorded"))]
    body = [[say(label), _last(report, kind, language)] for kind, label in _EVIDENCE]
    yield table(head, body)
    yield element("p", say(_UNVERIFIED), css="note")


_KEEP = marked(
    "Keep this text where nobody who administers the repository can change it: on paper, with a partner. Whoever has "
    "it can show later that nothing before it was changed: mocban ledger verify."
)
_UNVERIFIED = marked(
    "This report counts what the ledger says; it does not derive the ledger again. 'mocban ledger verify' does, and "
    "an auditor can do the same without this program."
)
_EVIDENCE = (
    (EventType.TIMESTAMPED, marked("Time stamp of another party (RFC 3161)")),
    (EventType.WITNESSED, marked("Countersigned by a witness")),
    (EventType.INVENTORY, marked("Inventory of all copies")),
    (EventType.AUDIT_RUN_CLOSED, marked("Audit")),
    (EventType.DRILL, marked("Drill with injected faults")),
    (EventType.KEY_ROTATION, marked("Change of the ledger's key")),
)


def _note(checkpoint: str) -> Markup:
    """Return the checkpoint line by line: what is not printable in it is visible."""
    return Markup("\n".join(joined([line]) for line in checkpoint.splitlines()))


def _last(report: Report, kind: str, language: Language) -> str:
    time = report.ledger.last.get(kind, "")
    count = report.ledger.kinds.get(kind, 0)
    if not time:
        return language.say(marked("never"))
    return language.say(marked("{time} ({count} in all)"), time=language.iso_moment(time), count=count)


def _fits(report: Report, language: Language) -> str:
    found = report.ledger
    if found.checkpoint_fits is None:
        text = marked("Events added since this checkpoint, which no signed checkpoint covers yet: {count}.")
        return language.say(text, count=found.size - found.checkpoint_size)
    if found.checkpoint_fits:
        return language.say(
            marked("It covers every event of the ledger, and the tree of the ledger here is the one it signs.")
        )
    return language.say(marked("THE TREE OF THE LEDGER HERE IS NOT THE ONE THAT IT SIGNS."))
