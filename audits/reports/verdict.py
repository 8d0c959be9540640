"""The verdict: what the figures come to in one line, and what is to be done; nothing is said that they do not show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from audits.reports.figures import Grade
from audits.reports.gathering import Report
from audits.reports.language import DAY
from storage_backends.errors import marked


class Weight(StrEnum):
    """How grave it is."""

    BAD = "bad"
    ATTENTION = "attention"
    GOOD = "good"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing that the figures show, as a text with values, and the command that goes on from here."""

    weight: Weight
    code: str
    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    command: str = ""


def matters(report: Report) -> list[Matter]:
    """Return all that somebody should do something about, the gravest first."""
    return [*_bad(report), *_attention(report)]


def headline(report: Report, found: Sequence[Matter]) -> Matter:
    """Return the verdict: the gravest matter, or what was proven."""
    held = report.holdings
    if found:
        return found[0]
    if not held.packages and not held.packs:
        return Matter(Weight.NOTHING, "empty", marked("Nothing is kept here yet, so there is nothing to judge."))
    return Matter(
        Weight.GOOD,
        "proven",
        marked("Every copy was read in full within the last {days} days and found right: {copies} of {copies}."),
        {"copies": held.copies, "days": report.max_age_days},
    )


def overdue(report: Report) -> int:
    """Return how many good copies were verified, byte by byte, but longer ago than they may be."""
    limit = report.max_age_days * DAY
    return sum(one.copies - one.within(limit) for one in report.holdings.ages if one.grade == Grade.BYTES)


def weaker(report: Report) -> int:
    """Return how many good copies were verified only by something less than reading them."""
    return sum(one.copies for one in report.holdings.ages if one.grade != Grade.BYTES)


def _bad(report: Report) -> Iterator[Matter]:
    held = report.holdings
    if held.lost:
        text = marked("Records are lost. Objects damaged on every copy that could not be put together: {count}.")
        yield Matter(Weight.BAD, "lost", text, {"count": held.lost}, "mocban audit")
    gone = sum(one.packs for one in held.combinations if not one.stores)
    if gone:
        text = marked("Packs without a copy that was last seen good: {count}.")
        yield Matter(Weight.BAD, "no-good-copy", text, {"count": gone}, "mocban repair")
    if held.bad:
        text = marked("Damage is open. Copies that are damaged, missing or cannot be read: {count} of {copies}.")
        yield Matter(Weight.BAD, "damage", text, {"count": held.bad, "copies": held.copies}, "mocban repair")
    if report.ledger.checkpoint_fits is False:
        text = marked("The ledger is not the one that was signed: its tree does not fit the latest checkpoint.")
        yield Matter(Weight.BAD, "ledger", text, {}, "mocban ledger verify")
    if report.history.run_sums["open"]:
        text = marked("Audits that did not account for every copy that they expected: {count}.")
        yield Matter(Weight.BAD, "coverage", text, {"count": report.history.run_sums["open"]}, "mocban audit")


def _attention(report: Report) -> Iterator[Matter]:
    held = report.holdings
    if held.short_packs:
        text = marked("Too few copies. Packs with fewer good copies than the policy asks: {count} of {packs}.")
        yield Matter(
            Weight.ATTENTION, "short", text, {"count": held.short_packs, "packs": held.packs}, "mocban replicate"
        )
    away = [one.name for one in held.stores if not one.available]
    if away:
        text = marked("Stores that could not be looked at: {names}.")
        yield Matter(Weight.ATTENTION, "away", text, {"count": len(away), "names": ", ".join(away)}, "mocban doctor")
    late = overdue(report)
    if late:
        text = marked("Verification is late. Copies last read in full more than {days} days ago: {count} of {copies}.")
        values = {"count": late, "copies": held.copies, "days": report.max_age_days}
        yield Matter(Weight.ATTENTION, "late", text, values, "mocban audit")
    never = held.never.total()
    if never:
        text = marked("Not all is proven. Copies that no audit has verified yet: {count} of {copies}.")
        yield Matter(Weight.ATTENTION, "never", text, {"count": never, "copies": held.copies}, "mocban audit")
    if weaker(report):
        text = marked("Not all is proven. Copies that rest on less than reading every byte: {count} of {copies}.")
        yield Matter(Weight.ATTENTION, "weaker", text, {"count": weaker(report), "copies": held.copies}, "mocban audit")
    if report.open_incidents:
        text = marked("Open incidents: {count}.")
        yield Matter(Weight.ATTENTION, "incidents", text, {"count": report.open_incidents}, "mocban incident list")
    if not held.stores:
        text = marked("There is no store: nothing can be kept.")
        yield Matter(Weight.ATTENTION, "no-store", text, {}, "mocban store add NAME URL --site SITE")
