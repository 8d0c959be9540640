"""The page: one HTML document that needs nothing from outside, holds no script, and prints well."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from audits.reports.gathering import Report
from audits.reports.language import DASH, Language, visible
from audits.reports.markup import Markup, code, element, joined, table
from audits.reports.section_forecast import forecast
from audits.reports.section_history import coverage, findings
from audits.reports.section_holdings import ages, holdings
from audits.reports.section_proof import independence, ledger, levels
from audits.reports.style import sheet
from audits.reports.verdict import Matter, Weight, headline, matters
from storage_backends.errors import marked

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'; base-uri 'none'; form-action 'none'"
"""What a browser may fetch for the page: nothing."""

SECTIONS: Sequence[tuple[str, Callable[[Report, Language], Iterator[Markup]]]] = (
    (marked("What is held"), holdings),
    (marked("When it was last verified"), ages),
    (marked("Findings, repairs, incidents"), findings),
    (marked("What the audits covered"), coverage),
    (marked("Outlook"), forecast),
    (marked("Copies and their independence"), independence),
    (marked("NDSA Levels of Digital Preservation"), levels),
    (marked("The ledger and the checkpoint to keep"), ledger),
)

WORDS = {
    Weight.GOOD: marked("Found right"),
    Weight.ATTENTION: marked("Needs attention"),
    Weight.BAD: marked("Damage or loss"),
    Weight.NOTHING: marked("Empty"),
}
SIGNS = {
    Weight.GOOD: '<circle cx="12" cy="12" r="10.5" fill="#3f5f4c"/>'
    '<path d="M6.5 12.5L10.5 16.5L17.5 8" stroke="#fff" stroke-width="2.6" fill="none"/>',
    Weight.ATTENTION: '<path d="M12 1.5L23 21.5H1Z" fill="#fff" stroke="#a9781b" stroke-width="2.2"/>'
    '<path d="M12 8.5V14.5M12 16.6V19" stroke="#20262e" stroke-width="2.4"/>',
    Weight.BAD: '<path d="M7.5 1H16.5L23 7.5V16.5L16.5 23H7.5L1 16.5V7.5Z" fill="#8c2f1b"/>'
    '<path d="M7.5 7.5L16.5 16.5M16.5 7.5L7.5 16.5" stroke="#fff" stroke-width="2.6"/>',
    Weight.NOTHING: '<circle cx="12" cy="12" r="10" fill="#fff" stroke="#5b6570" stroke-width="2"/>',
}


def page(report: Report, language: Language) -> Iterator[str]:
    """Yield the page, a piece at a time."""
    say = language.say
    title = say(marked("Integrity report"))
    span = _span(report, language)
    left, right = f"Mộc Bản · {visible(report.repository)}", f"{title} · {span}"
    style = sheet(left, right, language.translate(marked("Page {page} of {pages}")))
    yield (
        f'<!DOCTYPE html>\n<html lang="{language.code}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)} · {escape(visible(report.repository))}</title>\n<style>{style}</style>\n"
        "</head>\n<body>\n<main>\n"
    )
    yield _head(report, language, title, span)
    yield _judgement(report, language)
    yield _key_figures(report, language)
    for number, (heading, content) in enumerate(SECTIONS, 1):
        label = [element("span", str(number), css="no"), say(heading)]
        yield element("section", element("h2", *label), *content(report, language), id=f"s{number}") + "\n"
    yield _foot(language)
    yield "</main>\n</body>\n</html>\n"


def _span(report: Report, language: Language) -> str:
    return f"{language.date(report.period.start)} {DASH} {language.date(report.period.end)}"


def _head(report: Report, language: Language, title: str, span: str) -> Markup:
    say = language.say
    now = report.period.now
    listed = (
        (marked("Repository"), code(report.repository)),
        (marked("Period"), span),
        (marked("Made"), language.moment(now)),
        (marked("Ledger"), say(marked("{size} events"), size=report.ledger.size)),
    )
    brand = element(
        "div", element("span", "Mộc Bản"), element("span", say(marked("Digital preservation"))), css="brand"
    )
    items = [element("div", element("dt", say(label)), element("dd", value)) for label, value in listed]
    return element("header", brand, element("h1", title), element("dl", *items, css="title"))


def _judgement(report: Report, language: Language) -> Markup:
    found = matters(report)
    verdict = headline(report, found)
    sign = Markup(f'<svg viewBox="0 0 24 24" width="34" height="34" aria-hidden="true">{SIGNS[verdict.weight]}</svg>')
    sign = element("div", sign, css="sign")
    words = element("span", language.say(WORDS[verdict.weight]), css="word")
    said: list[object] = [words, _said(verdict, language)]
    if verdict.command:
        said.append(element("span", language.say(marked("Next command")), ": ", code(verdict.command), css="next"))
    box = element("div", sign, element("p", *said), css=f"verdict {verdict.weight}", role="note")
    if len(found) <= 1:
        return box
    head = [language.say(marked("What else should be looked at")), language.say(marked("Next command"))]
    body = [[_said(one, language), code(one.command)] for one in found[1:]]
    return joined([box, table(head, body, css="matters")])


def _said(matter: Matter, language: Language) -> str:
    return language.say(matter.text, **matter.values)


def _key_figures(report: Report, language: Language) -> Markup:
    held = report.holdings
    number = language.number
    listed = (
        (number(held.packages), marked("packages")),
        (number(held.files), marked("files")),
        (number(held.objects), marked("objects")),
        (language.size(held.stored), marked("stored, once")),
        (number(held.copies), marked("copies of packs")),
        (language.iso_date(held.last_audit), marked("last full audit")),
    )
    return element(
        "div",
        *(
            element("div", element("b", value), element("span", language.say(label)), css="figure")
            for value, label in listed
        ),
        css="figures",
    )


def _foot(language: Language) -> Markup:
    text = marked(
        "Made by mocban from the ledger and the catalog of the repository. What could not be looked at is called so "
        "and never counted as fine. Each table lies beside this page as CSV and Parquet."
    )
    return element("footer", language.say(text))
