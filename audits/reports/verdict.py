"""The verdict: what the figures come to in one line, and what is to be done; nothing is said that they do not show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from audits.reports.gathering import Report
from audits.reports.language import DAY
from preservation.checking import Grade
from storage_backends.backend import Reach
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
    deep = sum(one.copies for one in held.ages if one.grade == Grade.BYTES and one.reach == Reach.MEDIUM)
    values = {"copies": held.copies, "days": round(report.longest_limit)}
    if deep < held.copies:
        text = marked(
            "Every copy was read in full within the last {days} days and found right: {copies} of {copies}; of these "
            "surely from the medium, not from this machine's memory: {deep}."
        )
        return Matter(Weight.GOOD, "proven", text, {**values, "deep": deep})
    text = marked("Every copy was read in full within the last {days} days and found right: {copies} of {copies}.")
    return Matter(Weight.GOOD, "proven", text, values)


def overdue(report: Report) -> int:
    """Return how many good copies were read in full longer ago than they may be, for their store or their fonds."""
    read = [one for one in report.holdings.ages if one.grade == Grade.BYTES]
    late = sum(one.copies - one.within(report.limit_of(one.store) * DAY) for one in read)
    return max(late, sum(one.overdue for one in report.standing.stores))


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
        text = marked("Verification is late. Copies not read in full in the time set for them: {count} of {copies}.")
        values = {"count": late, "copies": held.copies}
        yield Matter(Weight.ATTENTION, "late", text, values, "mocban audit")
    never = held.never.total()
    if never:
        text = marked("Not all is proven. Copies that no audit has read in full yet: {count} of {copies}.")
        yield Matter(Weight.ATTENTION, "never", text, {"count": never, "copies": held.copies}, "mocban audit")
    if report.open_incidents:
        text = marked("Open incidents: {count}.")
        yield Matter(Weight.ATTENTION, "incidents", text, {"count": report.open_incidents}, "mocban incident list")
    if report.standing.stopped_days is not None:
        text = marked("The service that verifies the copies is not at work; without it no deadline is kept.")
        yield Matter(Weight.ATTENTION, "service", text, {}, "mocban serve")
    coming = [one for one in report.standing.stores if one.forecast]
    if coming:
        text = marked("Deadlines will be missed if all goes on as it does: {names}.")
        names = ", ".join(one.name for one in coming)
        yield Matter(Weight.ATTENTION, "forecast", text, {"names": names}, "mocban audit")
    if not held.stores:
        text = marked("There is no store: nothing can be kept.")
        yield Matter(Weight.ATTENTION, "no-store", text, {}, "mocban store add NAME URL --site SITE")
