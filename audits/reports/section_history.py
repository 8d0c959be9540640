"""The sections on what happened in the period: findings, repairs, incidents, audits and what they covered."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from audits.findings import MEANING
from audits.reports import charts
from audits.reports.charts import Column, Shade, columns, swatch
from audits.reports.figures import Run
from audits.reports.gathering import Report
from audits.reports.history import DAYS_BY_MONTH, DAYS_BY_WEEK
from audits.reports.language import MONTHS, Language
from audits.reports.markup import Markup, code, element, joined, name, stamp, table
from audits.sampling import Sample, Stratum
from storage_backends.errors import marked

VERDICTS = {
    "verified": marked("verified"),
    "present": marked("there, not read"),
    "damaged": marked("damaged"),
    "missing": marked("missing"),
    "unreadable": marked("could not be read"),
    "repaired": marked("repaired"),
}
DAMAGES = {
    "truncated": marked("truncated"),
    "truncated and changed": marked("truncated and changed"),
    "extended": marked("extended"),
    "one bit": marked("one bit"),
    "one byte": marked("one byte"),
    "zero run": marked("a run of zeros"),
    "block": marked("a block"),
    "bytes": marked("several bytes"),
    "unreadable": marked("unreadable"),
    "none": marked("nothing"),
}
"""The kinds of damage that a repair records, with the place."""

OTHER_PACK = "the bytes of pack "

SHADES: Sequence[tuple[Shade, str]] = (
    (charts.BAD, "damaged"),
    (charts.WRONG, "missing"),
    (charts.NEVER, "unreadable"),
)
REASONS = {
    "age": marked("verified lately enough"),
    "time": marked("the time was used up"),
    "bytes": marked("the bytes were used up"),
    "stopped": marked("told to stop"),
    "not-read": marked("there and of the right size; the bytes were not read"),
    "not-sampled": marked("not in the sample"),
    "no-provider-checksum": marked("the store computes no digests, so nothing was looked at"),
}
ENDS = {
    "healed": marked("healed"),
    "gone": marked("gone when looked at again"),
    "explained": marked("closed by a person"),
}


def findings(report: Report, language: Language) -> Iterator[Markup]:
    """Yield what was found and repaired, and the incidents."""
    say = language.say
    history = report.history
    looked = sum(history.checks.values())
    if not looked:
        yield element("p", say(marked("No copy was looked at in this period.")), css="empty")
    else:
        text = marked(
            "Looks at copies: {looked}; read: {size}. Found not good: {failures}; repaired: {repairs}; objects lost: "
            "{lost}."
        )
        values = {"failures": history.failure_count, "repairs": history.repair_count, "lost": history.lost_objects}
        size = language.size(history.read.total())
        yield element("p", say(text, looked=looked, size=size, **values))
        yield _checks(report, language)
    if history.failure_count:
        yield from _over_time(report, language)
        yield from _failures(report, language)
    if history.repair_count:
        yield from _repairs(report, language)
    yield from _incidents(report, language)
    if report.holdings.lost:
        yield element("h3", say(marked("Lost objects")))
        shown = report.holdings.lost_sample
        yield element("p", joined(joined([code(f"blake3:{one}"), Markup("<br>")]) for one in shown))
        if report.holdings.lost > len(shown):
            yield element("p", say(marked("and {count} more"), count=report.holdings.lost - len(shown)))
    yield element(
        "p",
        say(
            marked("Packages taken in during the period: {packages}; files: {files}; size: {size}."),
            packages=history.ingested_packages,
            files=history.ingested_files,
            size=language.size(history.ingested_bytes),
        ),
    )


def _checks(report: Report, language: Language) -> Markup:
    say = language.say
    checks = report.history.checks
    found = {verdict for _, _, verdict in checks}
    verdicts = [one for one in VERDICTS if one in found or one in {"verified", "damaged", "missing", "unreadable"}]
    head = [say(marked("Store")), *(say(VERDICTS[one]).capitalize() for one in verdicts), say(marked("Read"))]
    body: list[list[object]] = []
    for store in sorted({store for store, _, _ in checks}, key=report.store_name):
        counts = [
            sum(n for (of, _, one), n in checks.items() if of == store and one == verdict) for verdict in verdicts
        ]
        read = language.size(report.history.read[store])
        body.append([name(report.store_name(store)), *map(language.number, counts), read])
    return table(head, body, numbers=range(1, len(head)))


def _over_time(report: Report, language: Language) -> Iterator[Markup]:
    say = language.say
    history = report.history
    found = []
    for (start, _), counts in zip(history.buckets, history.by_bucket, strict=True):
        found.append(Column(_bucket_label(report, language, start), [(shade, counts[kind]) for shade, kind in SHADES]))
    most = max((sum(size for _, size in one.parts) for one in found), default=0)
    legend = [
        element("span", Markup(swatch(f"time-l{place}", shade)), say(VERDICTS[kind]))
        for place, (shade, kind) in enumerate(SHADES)
    ]
    yield element("p", *legend, css="legend")
    title = say(marked("Looks that found a copy that was not good, over the period"))
    description = "; ".join(
        f"{one.label}: {language.number(sum(n for _, n in one.parts))}" for one in found if one.parts
    )
    yield Markup(columns("time", title, description, found, highest=language.number(most)))


def _bucket_label(report: Report, language: Language, start: datetime) -> str:
    local = language.local(start)
    days = (report.period.end - report.period.start).days
    if days <= DAYS_BY_WEEK:
        return f"{local.day}/{local.month}" if language.code == "vi" else f"{local.day} {MONTHS[local.month - 1]}"
    if days <= DAYS_BY_MONTH:
        return f"{local.month}/{local.year}" if language.code == "vi" else f"{MONTHS[local.month - 1]} {local.year}"
    return str(local.year)


def _failures(report: Report, language: Language) -> Iterator[Markup]:
    say = language.say
    history = report.history
    head = [say(marked("When")), say(marked("What")), say(marked("Store")), say(marked("Pack"))]
    body = [
        [
            stamp(language.iso_moment(one.time)),
            say(VERDICTS.get(one.kind, one.kind)),
            name(report.store_name(one.store)),
            code(one.pack[:16] + "…"),
        ]
        for one in history.failures
    ]
    yield table(
        head, body, caption=_caption(marked("Copies found not good"), len(body), history.failure_count, language)
    )


def _repairs(report: Report, language: Language) -> Iterator[Markup]:
    say = language.say
    history = report.history
    head = [say(marked("When")), say(marked("What was wrong")), say(marked("Store")), say(marked("Pack"))]
    body = [
        [
            stamp(language.iso_moment(one.time)),
            damage_told(one.detail, language),
            name(report.store_name(one.store)),
            code(one.pack[:16] + "…"),
        ]
        for one in history.repairs
    ]
    yield table(head, body, caption=_caption(marked("Repairs"), len(body), history.repair_count, language))


def damage_told(recorded: str, language: Language) -> str:
    """Return what a repair recorded as damage; what is not among the kinds that there are stands as it is."""
    pack = recorded.removeprefix(OTHER_PACK)
    if pack != recorded:
        return language.say(marked("the bytes of pack {pack}"), pack=pack)
    kind, _, first = recorded.partition(" at ")
    if kind in DAMAGES and first:
        return language.say(marked("{reason} at {first}"), reason=DAMAGES[kind], first=first)
    return language.say(VERDICTS[recorded]) if recorded in VERDICTS else recorded


def _caption(title: str, shown: int, count: int, language: Language) -> str:
    if shown == count:
        return language.say(title)
    more = language.say(marked("the latest {shown} of {count}; all are in the tables beside"), shown=shown, count=count)
    return f"{language.say(title)} ({more})"


def _incidents(report: Report, language: Language) -> Iterator[Markup]:
    say = language.say
    shown = len(report.incidents)
    yield element("h3", _caption(marked("Incidents"), shown, report.incident_count, language))
    if not report.incident_count:
        yield element(
            "p", say(marked("No incident is open, and none was opened or closed in this period.")), css="empty"
        )
        return
    head = [
        say(marked("Opened")),
        say(marked("What")),
        say(marked("Store")),
        say(marked("Findings")),
        say(marked("Closed")),
    ]
    body = []
    for one in report.incidents:
        what = joined([code(one.code), element("span", say(MEANING.get(one.code, "")), css="level")])  # type: ignore[call-overload]
        end = (
            say(marked("open"))
            if not one.closed
            else f"{language.iso_moment(one.closed)} ({say(ENDS.get(one.how, one.how))})"
        )
        store = name(report.store_name(one.store) if one.store else "")
        body.append([stamp(language.iso_moment(one.opened)), what, store, language.number(one.most), end])
    yield table(head, body, numbers=(3,))


def coverage(report: Report, language: Language) -> Iterator[Markup]:
    """Yield what each audit expected and accounts for."""
    say, number = language.say, language.number
    history = report.history
    if not history.run_count:
        yield element("p", say(marked("No audit was closed in this period.")), css="empty")
    else:
        parts = ("expected", "verified", "damaged", "missing", "unreadable", "skipped")
        head = [
            say(marked("Closed")),
            say(marked("Expected")),
            say(marked("= verified")),
            say(marked("+ damaged")),
            say(marked("+ missing")),
            say(marked("+ unreadable")),
            say(marked("+ skipped")),
            say(marked("Why skipped; remarks")),
        ]
        body: list[list[object]] = [
            [
                stamp(language.iso_moment(run.closed)),
                *(number(run.counts.get(part, 0)) for part in parts),
                _remarks(run, language),
            ]
            for run in history.runs
        ]
        if history.run_count > 1:
            sums: list[object] = [number(history.run_sums[part]) for part in parts]
            body.append([say(marked("All {count} audits"), count=history.run_count), *sums, ""])
        yield table(
            head,
            body,
            numbers=range(1, 7),
            caption=_caption(marked("Audits"), len(history.runs), history.run_count, language),
        )
        yield element("p", say(_COVERAGE_NOTE), css="note")
    yield from _unseen(report, language)


_COVERAGE_NOTE = marked(
    "Each audit first lists the copies that it expects and then accounts for every one of them; a sum that did not "
    "close would stand here as an error. “Skipped” copies were verified shortly before, or the audit was stopped or "
    "ran out of its budget."
)


def _remarks(run: Run, language: Language) -> str:
    said = [_sampled(run, language)] if run.strata else []
    said += [f"{language.say(REASONS.get(reason, reason))}: {language.number(n)}" for reason, n in run.skipped.items()]
    if not run.closes:
        said.append(language.say(marked("THE SUM DOES NOT CLOSE")))
    if run.counts.get("repaired"):
        said.append(language.say(marked("repaired: {count}"), count=run.counts["repaired"]))
    if run.counts.get("unexpected"):
        said.append(language.say(marked("unexpected items: {count}"), count=run.counts["unexpected"]))
    return "; ".join(said)


def _sampled(run: Run, language: Language) -> str:
    """Return what a sample says of the copies that were not read."""
    numbers = ("population", "looked", "bad", "unreadable")
    try:
        strata = [Stratum(store="", age="", **{one: int(str(part[one])) for one in numbers}) for part in run.strata]
    except (KeyError, ValueError):
        return language.say(marked("a sample, whose figures could not be read"))
    sample = Sample(tuple(strata))
    text = marked("sample: bad {bad} of {looked}; of {population} copies at most {most} are bad (95 % confidence)")
    bad = sample.bad + sample.unreadable
    return language.say(text, bad=bad, looked=sample.looked, population=sample.population, most=sample.at_most)


def _unseen(report: Report, language: Language) -> Iterator[Markup]:
    say = language.say
    held = report.holdings
    if report.period.is_past:
        text = marked(
            "How many copies had not been verified at the end of this past period is not known: only the present is."
        )
        yield element("p", say(text))
        return
    if not held.copies:
        return
    unseen = held.unverified_since_start
    if not unseen.total():
        yield element("p", say(marked("Every copy that is held now was verified at least once in this period.")))
        return
    text = marked("Copies held now of which nothing was verified in this period: {count} of {copies}")
    by_store = ", ".join(
        f"{report.store_name(store)}: {language.number(count)}" for store, count in sorted(unseen.items())
    )
    yield element("p", say(text, count=unseen.total(), copies=held.copies), f" ({by_store}).")
    if held.unfinished_audits:
        yield element(
            "p", say(marked("Audits that were begun and are not finished: {count}."), count=held.unfinished_audits)
        )
