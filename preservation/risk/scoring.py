"""Scores what is held: each format's judgements, the facts of its files, how much of it there is.

Each figure comes with where it is from. Of two sources that differ the worse counts, and the difference is shown. A
format that nobody has judged is never low, and neither is a file of which nobody knows the format.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preservation.risk.facts import NOT_LOOKED_AT, UNIDENTIFIED, UNJUDGED
from preservation.risk.nara import FACTORS, Rated
from preservation.risk.policy import HIGHEST, Action, Level, Policy
from preservation.risk.table import SOURCE, Table

POLICY_SOURCE = "mocban"

Count = tuple[int, int]
"""Files, bytes."""


@dataclass(frozen=True, slots=True)
class Held:
    """Files of one format (a PUID; ``several`` or a status where there is none) with the same facts."""

    format: str
    facts: tuple[str, ...]
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that a score rests on: a factor or a fact, what it adds, whose judgement it is, of which date."""

    code: str
    points: float
    source: str
    date: str
    row: str = ""
    """Where it stands in the source."""
    files: int | None = None
    """How many files it is about; None: all of the format."""


@dataclass(slots=True)
class Assessment:
    """The risk of one format. ``base`` is its score without the facts of files, ``score`` that of its worst file.

    ``weight`` orders formats by what should be seen to first: the score, times the orders of magnitude of what is held.
    """

    format: str
    name: str
    files: int
    bytes: int
    base: int
    score: int
    level: Level
    action: Action
    target: str
    programs: tuple[str, ...]
    reason: Mapping[str, str]
    evidence: list[Evidence] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    """``contradictory`` (rows of one source), ``sources-differ``."""
    weight: float = 0.0


_NOTHING: dict[str, str] = {"en": "", "vi": ""}


def assessed(held: Sequence[Held], policy: Policy, table: Table | None, names: Mapping[str, str]) -> list[Assessment]:
    """Return the risk of each format that is held, the weightiest first."""
    by_format: dict[str, list[Held]] = {}
    for one in held:
        by_format.setdefault(one.format, []).append(one)
    found = [_format(name, parts, policy, table, names) for name, parts in by_format.items()]
    return sorted(found, key=lambda one: (-one.weight, -one.score, one.format))


def weight(score: int, files: int, size: int) -> float:
    """Return how much a risk weighs: the score, times the orders of magnitude of files and of megabytes."""
    return round(score * (math.log10(1 + files) + math.log10(1 + size / 1e6)), 1)


def _format(
    name: str, parts: Sequence[Held], policy: Policy, table: Table | None, names: Mapping[str, str]
) -> Assessment:
    rated = table.rated.get(name) if table is not None else None
    found = _judged(name, policy, rated, table, names)
    facts: dict[str, int] = {}
    for part in parts:
        found.files += part.files
        found.bytes += part.bytes
        score = found.base
        for code in part.facts:
            reason = policy.facts[code]
            score = max(score + reason.points, reason.floor) if code not in _STATES else max(score, reason.floor)
            facts[code] = facts.get(code, 0) + part.files
        score = min(HIGHEST, score)
        found.score = max(found.score, score)
        found.weight += weight(score, part.files, part.bytes)
    for code, files in sorted(facts.items()):
        fact = policy.facts[code]
        found.evidence.append(Evidence(code, fact.points, POLICY_SOURCE, policy.version, files=files))
    found.level = policy.level(found.score)
    return found


_STATES = frozenset({UNIDENTIFIED, NOT_LOOKED_AT})


def _judged(
    name: str, policy: Policy, rated: Rated | None, table: Table | None, names: Mapping[str, str]
) -> Assessment:
    """Return what the sources say of a format, the worse where they differ."""
    judgement = policy.formats.get(name)
    scores: dict[str, int] = {}
    found = Assessment(
        format=name,
        name=names.get(name, rated.name if rated is not None else ""),
        files=0,
        bytes=0,
        base=0,
        score=0,
        level=Level.LOW,
        action=Action.RETAIN,
        target="",
        programs=(),
        reason=_NOTHING,
    )
    if judgement is not None:
        scores[POLICY_SOURCE] = policy.score(judgement)
        found.name = found.name or judgement.name
        found.action, found.target, found.programs = judgement.action, judgement.target, judgement.programs
        found.reason = {"en": judgement.en, "vi": judgement.vi}
        for code in judgement.factors:
            found.evidence.append(Evidence(code, policy.factors[code].points, POLICY_SOURCE, policy.version))
    if rated is not None and table is not None:
        scores[SOURCE] = rated.score
        for code, total in zip(FACTORS, rated.factors, strict=True):
            found.evidence.append(Evidence(f"nara-{code}", total, SOURCE, table.imported[:10], rated.row))
        if rated.contradicts:
            found.flags.append("contradictory")
        if judgement is None:
            found.action = rated.action
    if not scores:
        if "/" in name:
            unjudged = policy.facts[UNJUDGED]
            scores[POLICY_SOURCE] = unjudged.floor
            found.evidence.append(Evidence(UNJUDGED, unjudged.points, POLICY_SOURCE, policy.version))
            found.action = Action.JUDGE
        else:  # no format but a state of ignorance, which the facts of the files speak of
            scores[POLICY_SOURCE] = max(policy.moderate, policy.base)
            found.action = Action.IDENTIFY
    if len({policy.level(score) for score in scores.values()}) > 1:
        found.flags.append("sources-differ")
    found.base = found.score = max(scores.values())
    return found


def factor_codes(policy: Policy) -> dict[str, tuple[str, str]]:
    """Return the words, English and Vietnamese, of every code that evidence of our own can have."""
    return {code: (one.en, one.vi) for code, one in (*policy.factors.items(), *policy.facts.items())}
