"""The NARA Digital Preservation Framework as tables: its plan for formats and its risk matrix, two CSV files.

Source: U.S. National Archives and Records Administration, github.com/usnationalarchives/digital-preservation (CC0). The
plan names PUIDs, a risk level, an action and a plan in words; the matrix has the answers to 27 questions in 8 factors,
and their sum: 23 and more is low, -23 and less is high. Columns are found by their names. Rows of the plan that
contradict each other about one PUID are taken as the worst of them, and that is noted.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from preservation.risk.policy import Action, Level
from storage_backends.errors import MocbanError, Phrase, marked

LARGEST = 64 << 20
MOST_ROWS = 100_000
LONGEST_TEXT = 2_000

LOW_FROM, HIGH_FROM = 23, -23
BEST, WORST = 37, -46
"""The bounds of the sum, and of its three levels."""

FACTORS = (
    "disclosure",
    "adoption",
    "transparency",
    "self-documentation",
    "hardware",
    "software",
    "patents",
    "protection",
)
"""The eight factors in the order of the matrix, whose columns are called ``1: TOTAL ...`` and so on."""

_LEVELS = {"low risk": Level.LOW, "moderate risk": Level.MODERATE, "high risk": Level.HIGH}
_ACTIONS = {
    "retain": Action.RETAIN,
    "transform": Action.MIGRATE,
    "identify version": Action.IDENTIFY,
    "retain for future assessment": Action.RETAIN,
}
_ORDER = {Level.LOW: 0, Level.MODERATE: 1, Level.HIGH: 2}
_GRAVITY = {Action.RETAIN: 0, Action.EXTRACT: 1, Action.IDENTIFY: 1, Action.MIGRATE: 2}
_PUID = re.compile(r"/PRONOM/((?:x-)?fmt/[0-9]+)/?$", re.IGNORECASE)
_TOTAL = re.compile(r"([1-8]): TOTAL ")


class NotARiskTableError(MocbanError):
    """A file is not one of the two tables, or not as they are known."""

    template = marked("{place}: not the table that was expected: {reason}")


@dataclass(frozen=True, slots=True)
class Rated:
    """What NARA says of one PUID. ``score`` is ours, from 0 to 100; ``sum`` theirs; ``factors`` the eight totals.

    ``contradicts`` is how many further rows about it disagree on level or action.
    """

    puid: str
    row: str
    """Their identifier of the format, such as NF00100."""
    name: str
    level: Level
    score: int
    sum: float
    action: Action
    plan: str
    factors: tuple[float, ...]
    contradicts: int = 0


def points_of(total: float) -> int:
    """Return our score for their sum: each of their three levels takes the same room as ours, worst is 100."""
    if total >= LOW_FROM:
        score = 29 * (BEST - total) / (BEST - LOW_FROM)
    elif total > HIGH_FROM:
        score = 30 + 29 * (LOW_FROM - 1 - total) / (LOW_FROM - 1 - (HIGH_FROM + 1))
    else:
        score = 60 + 40 * (HIGH_FROM - total) / (HIGH_FROM - WORST)
    return max(0, min(100, round(score)))


def ratings(plan: bytes, matrix: bytes, places: tuple[str, str] = ("plan", "matrix")) -> list[Rated]:
    """Return what both tables together say of each PUID, sorted; rows without a PUID are of no use to us.

    Raises:
        NotARiskTableError: one of them is not understood. Nothing of it is believed then.
    """
    sums = _sums(matrix, places[1])
    found: dict[str, Rated] = {}
    for row in _rows(plan, places[0], ("PRONOM URL", "NARA Format ID", "NARA Risk Level", "NARA Preservation Action")):
        match = _PUID.search(row["PRONOM URL"].strip())
        if match is None:
            continue
        rated = _rated(match[1].lower(), row, sums, places[0])
        before = found.get(rated.puid)
        found[rated.puid] = rated if before is None else _worst(before, rated)
    if not found:
        raise NotARiskTableError(place=places[0], reason="it names no PUID")
    return [found[puid] for puid in sorted(found)]


def _rated(puid: str, row: Mapping[str, str], sums: Mapping[str, tuple[float, tuple[float, ...]]], place: str) -> Rated:
    level = _LEVELS.get(row["NARA Risk Level"].strip().lower())
    action = _ACTIONS.get(row["NARA Preservation Action"].strip().lower())
    identifier = row["NARA Format ID"].strip()
    if level is None or action is None:
        raise NotARiskTableError(
            place=place, reason=Phrase("{identifier} has an unknown level or action", identifier=identifier)
        )
    total, factors = sums.get(identifier, (None, ()))
    if total is None:
        raise NotARiskTableError(place=place, reason=Phrase("{identifier} is not in the matrix", identifier=identifier))
    least = {Level.LOW: 0, Level.MODERATE: 30, Level.HIGH: 60}[level]
    return Rated(
        puid=puid,
        row=identifier[:40],
        name=row.get("Format Name", "")[:200],
        level=level,
        score=max(least, points_of(total)),
        sum=total,
        action=action,
        plan=row.get("NARA Proposed Preservation Plan", "")[:LONGEST_TEXT],
        factors=factors,
    )


def _worst(before: Rated, other: Rated) -> Rated:
    """Return the worst of what two rows say: level, score, action each by itself."""
    differ = (before.level, before.action) != (other.level, other.action)
    worse = other if (_ORDER[other.level], other.score) > (_ORDER[before.level], before.score) else before
    action = max((before.action, other.action), key=_GRAVITY.__getitem__)
    return replace(worse, action=action, contradicts=before.contradicts + differ)


def _sums(matrix: bytes, place: str) -> dict[str, tuple[float, tuple[float, ...]]]:
    found = {}
    for row in _rows(matrix, place, ("NARA Format ID",)):
        total = next((name for name in ("TOTAL Numeric Risk Rating", "Numeric Risk Rating") if name in row), None)
        totals = {match[1]: name for name in row if (match := _TOTAL.match(name))}
        if total is None or len(totals) != len(FACTORS):
            raise NotARiskTableError(place=place, reason="it lacks the totals of the eight factors")
        try:
            factors = tuple(float(row[totals[str(number)]]) for number in range(1, len(FACTORS) + 1))
            found[row["NARA Format ID"].strip()] = (float(row[total]), factors)
        except ValueError as error:
            raise NotARiskTableError(
                place=place, reason="a total is no number; the numbered matrix is needed"
            ) from error
    return found


def _rows(data: bytes, place: str, wanted: tuple[str, ...]) -> Iterator[dict[str, str]]:
    if len(data) > LARGEST:
        raise NotARiskTableError(place=place, reason=Phrase("larger than {limit} bytes", limit=LARGEST))
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True, restval="")
        missing = [name for name in wanted if name not in (reader.fieldnames or ())]
        if missing:
            raise NotARiskTableError(place=place, reason=Phrase("there is no column {name!r}", name=missing[0]))
        for number, row in enumerate(reader):
            if number >= MOST_ROWS:
                raise NotARiskTableError(place=place, reason=Phrase("more than {limit} rows", limit=MOST_ROWS))
            yield {name: value for name, value in row.items() if isinstance(name, str) and isinstance(value, str)}
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotARiskTableError(place=place, reason=f"{type(error).__name__}") from error
