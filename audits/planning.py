"""The planning model: how likely an object is lost, from copies, media, audit interval, repair time and shocks.

Per copy: visible faults v and latent faults l a year, audit interval T, repair time R (years), coverage c of one look;

    u = v R + l (T/2 + (1-c)/c T + R)                                 the share of time in which the copy is bad
    loss = SUM_i (v_i + l_i) PROD_{j != i} u_j  +  SUM_k s_k PROD_{j not hit by k} u_j           per object and year

with shocks k of rate s_k that hit several copies at once. Faults are taken as rare and audits as unsynchronised; the
second sum is what no audit helps against. ``docs/planning.md`` has sources, checks and what the model leaves out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from audits.planning_rates import DAYS_A_YEAR, MEDIA, PRIORS, Observed, Origin, Parameter, one_of, with_own_data
from storage_backends.errors import MocbanError, marked

SHORTEST = 1e-6
"""Years; an audit that never ends its rounds."""

LONGEST = 20.0
"""Years; nobody plans longer without an audit."""

FASTEST_REPAIR = 0.5
"""Days; where only a faster repair would do, what is missing is a copy."""

STRESS = 0.014
"""Copies silently bad a year, the worst published for a class of disks: see ``docs/planning.md``."""

TERABYTE = 1e12


class PlanError(MocbanError):
    """The plan cannot be computed."""

    template = marked("The plan cannot be computed: {reason}")


class Limit(StrEnum):
    """What keeps a set of copies from the target, or how it is met."""

    INTERVAL = "interval"
    """The target is met if copies are read often enough."""
    REPAIR = "repair"
    COPIES = "copies"
    DOMAIN = "domain"
    SITE = "site"
    VENDOR = "vendor"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCopy:
    """One copy of everything: on which medium, where, in whose hands; ``name`` is that of a store, if it is one."""

    medium: str
    site: str
    domain: str
    vendor: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A copy of one object in figures. Rates a year, times in years."""

    visible: float
    latent: float
    repair: float
    coverage: float = 1.0
    at_best: float = 0.0
    """The shortest interval at which this medium is ever read."""

    def bad_share(self, interval: float) -> float:
        """Return the share of time in which the copy is bad if it is read each ``interval`` years."""
        read = max(interval, self.at_best)
        unseen = (1 - self.coverage) / self.coverage * read
        return self.visible * self.repair + self.latent * (read / 2 + unseen + self.repair)


@dataclass(frozen=True, slots=True)
class Shock:
    """What hits several copies at once: how often a year, and the numbers of the copies."""

    kind: Limit
    name: str
    rate: float
    hit: frozenset[int]
    loss: float = 0.0
    """Its part of the common loss, at the current interval."""


def independent_loss(replicas: Sequence[Replica], interval: float) -> float:
    """Return the losses of one object a year by faults that have nothing to do with each other."""
    shares = [one.bad_share(interval) for one in replicas]
    return sum(
        (one.visible + one.latent) * math.prod(share for other, share in enumerate(shares) if other != number)
        for number, one in enumerate(replicas)
    )


def shock_loss(replicas: Sequence[Replica], shock: Shock, interval: float) -> float:
    """Return the losses of one object a year by one kind of shock: it takes its copies, and the others are bad."""
    return shock.rate * math.prod(
        one.bad_share(interval) for number, one in enumerate(replicas) if number not in shock.hit
    )


def common_loss(replicas: Sequence[Replica], shocks: Sequence[Shock], interval: float) -> float:
    """Return the losses of one object a year by all shocks."""
    return sum(shock_loss(replicas, shock, interval) for shock in shocks)


def largest_interval(replicas: Sequence[Replica], shocks: Sequence[Shock], target: float) -> float | None:
    """Return the longest audit interval in years that meets ``target``, at most ``LONGEST``; None if none does."""

    def loss(interval: float) -> float:
        return independent_loss(replicas, interval) + common_loss(replicas, shocks, interval)

    if loss(SHORTEST) > target:
        return None
    if loss(LONGEST) <= target:
        return LONGEST
    low, high = SHORTEST, LONGEST
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if loss(middle) <= target else (low, middle)
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. Sizes in bytes, intervals in days; ``objects`` and ``held`` are 0 where they are not known."""

    copies: tuple[PlannedCopy, ...]
    target: float
    object_size: int
    years: float
    intervals: tuple[float, ...]
    current: float
    """The interval that is looked at closely."""
    objects: int = 0
    held: int = 0
    """Bytes that each copy holds in all."""
    changed: Mapping[str, float] = field(default_factory=dict)
    """Parameters that the asker sets."""
    observed: Mapping[str, Observed] = field(default_factory=dict)
    """By medium: what the audits of this repository saw."""
    together: tuple[tuple[str, frozenset[int]], ...] = ()
    """Copies on one device: its name and their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The answer for one audit interval. Losses are per object and year, probabilities for the years asked for."""

    days: float
    independent: float
    common: float
    one_lost: float
    """The probability that a given object is lost."""
    any_lost: float
    """At most this is the probability that any of all objects is lost; at least ``one_lost``."""
    read_rate: float
    """Bytes a second and copy that must be read."""
    meets: bool

    @property
    def loss(self) -> float:
        """Both parts."""
        return self.independent + self.common


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer. Intervals in days, losses per object and year."""

    question: Question
    parameters: tuple[Parameter, ...]
    shocks: tuple[Shock, ...]
    points: tuple[Point, ...]
    current: Point
    largest: float | None
    """The longest interval that meets the target; None if none does, or if it is refused."""
    largest_independent: float | None
    """The same if there were no shocks."""
    floor_independent: float
    floor_common: float
    """What remains if copies were read all the time."""
    limit: Limit
    limit_name: str
    """Which site, domain or device, if it is one, or which leaves too few copies."""
    limit_rate: float
    repair_days: float
    """The repair time that would meet the target with audits all the time; 0 if none would."""
    refused: bool
    """All copies are in one pair of hands, and less is asked for than such hands lose."""
    stress: float
    """The loss at the current interval if all copies were as bad as ``STRESS``."""

    @property
    def is_capped(self) -> bool:
        """Whether the longest interval is the longest that was tried."""
        return self.largest is not None and self.largest >= LONGEST * DAYS_A_YEAR * 0.999


def plan(question: Question) -> Plan:
    """Answer ``question``.

    Raises:
        PlanError: there is no copy, a medium is not known, or a number makes no sense.
    """
    _check(question)
    parameters = _parameters(question)
    replicas = [_replica(copy.medium, parameters, question.object_size) for copy in question.copies]
    shocks = _shocks(question, parameters)
    domains = {copy.domain for copy in question.copies}
    refused = len(domains) == 1 and question.target < PRIORS["domain"].value
    largest = largest_interval(replicas, shocks, question.target)
    alone = largest_interval(replicas, (), question.target)
    floor = independent_loss(replicas, SHORTEST), common_loss(replicas, shocks, SHORTEST)
    limit, shock = _limit(replicas, shocks, question.target, refused=refused)
    points = {
        days: _point(question, replicas, shocks, days, refused=refused)
        for days in (*question.intervals, question.current)
    }
    bad = [replace(one, latent=max(one.latent, STRESS)) for one in replicas]
    now = question.current / DAYS_A_YEAR
    return Plan(
        question=question,
        parameters=tuple(parameters[name] for name in sorted(parameters)),
        shocks=tuple(replace(shock, loss=shock_loss(replicas, shock, now)) for shock in shocks),
        points=tuple(points[days] for days in question.intervals),
        current=points[question.current],
        largest=None if refused or largest is None else largest * DAYS_A_YEAR,
        largest_independent=None if alone is None else alone * DAYS_A_YEAR,
        floor_independent=floor[0],
        floor_common=floor[1],
        limit=limit,
        limit_name=shock.name if shock else question.copies[0].domain if refused else "",
        limit_rate=max(shock.rate if shock else 0.0, PRIORS["domain"].value if refused else 0.0),
        repair_days=_repair_needed(replicas, shocks, question.target),
        refused=refused,
        stress=independent_loss(bad, now) + common_loss(bad, shocks, now),
    )


def _check(question: Question) -> None:
    if not question.copies:
        raise PlanError(reason=marked("there is no copy"))
    if not 0 < question.target < 1:
        raise PlanError(reason=marked("the target is not between 0 and 1"))
    if (
        question.object_size <= 0
        or question.years <= 0
        or not question.intervals
        or min(*question.intervals, question.current) <= 0
    ):
        raise PlanError(reason=marked("a size, a number of years or an interval is not more than 0"))
    for copy in question.copies:
        if copy.medium not in MEDIA:
            raise PlanError(reason=f"{copy.medium}: " + ", ".join(MEDIA))
    for name, value in question.changed.items():
        if name not in PRIORS:
            raise PlanError(reason=f"{name}: " + ", ".join(sorted(PRIORS)))
        if not math.isfinite(value) or value < 0 or (name.endswith(".coverage") and not 0 < value <= 1):
            raise PlanError(reason=f"{name}={value:g}")


def _parameters(question: Question) -> dict[str, Parameter]:
    """Return every parameter that counts here: set by the asker, else from own audits, else the prior."""
    media = {copy.medium for copy in question.copies}
    found = {}
    for name, prior in PRIORS.items():
        medium = name.partition(".")[0]
        if "." in name and medium not in media:
            continue
        if name in question.changed:
            found[name] = replace(prior, value=question.changed[name], origin=Origin.SET)
        else:
            found[name] = with_own_data(prior, question.observed.get(medium))
    return found


def _replica(medium: str, parameters: Mapping[str, Parameter], size: int) -> Replica:
    value = {name: one.value for name, one in parameters.items()}
    return Replica(
        visible=value[f"{medium}.visible"],
        latent=value[f"{medium}.latent_tb"] * size / TERABYTE + value[f"{medium}.latent_copy"],
        repair=value[f"{medium}.repair_days"] / DAYS_A_YEAR,
        coverage=value[f"{medium}.coverage"],
        at_best=value[f"{medium}.at_best_days"] / DAYS_A_YEAR,
    )


def _shocks(question: Question, parameters: Mapping[str, Parameter]) -> list[Shock]:
    """Return a shock for every admin domain, site and vendor, and for every device that several copies share."""
    copies = question.copies
    found = []
    for kind, where in (
        (Limit.DOMAIN, [copy.domain for copy in copies]),
        (Limit.SITE, [copy.site for copy in copies]),
        (Limit.VENDOR, [copy.vendor for copy in copies]),
    ):
        for name in sorted(set(where)):
            hit = frozenset(number for number, one in enumerate(where) if one == name)
            rate = parameters[str(kind)].value
            if rate and (name or kind is not Limit.VENDOR):
                found.append(Shock(kind, name, rate, hit))
    for name, hit in question.together:
        rate = max(parameters[f"{copies[number].medium}.visible"].value for number in hit)
        found.append(Shock(Limit.DEVICE, name, rate, hit))
    return found


def _point(
    question: Question, replicas: Sequence[Replica], shocks: Sequence[Shock], days: float, *, refused: bool
) -> Point:
    interval = days / DAYS_A_YEAR
    alone, common = independent_loss(replicas, interval), common_loss(replicas, shocks, interval)
    loss = alone + common
    return Point(
        days=days,
        independent=alone,
        common=common,
        one_lost=one_of(loss, question.years),
        any_lost=one_of(loss * max(question.objects, 1), question.years),
        read_rate=question.held / (days * 86_400),
        meets=loss <= question.target and not refused,
    )


def _limit(
    replicas: Sequence[Replica], shocks: Sequence[Shock], target: float, *, refused: bool
) -> tuple[Limit, Shock | None]:
    """Return what stands between the copies and the target, and the shock if it is one."""
    if refused:
        return Limit.DOMAIN, next((shock for shock in shocks if shock.kind is Limit.DOMAIN), None)
    worst = max(shocks, key=lambda shock: shock_loss(replicas, shock, SHORTEST), default=None)
    if worst and common_loss(replicas, shocks, SHORTEST) > target and len(worst.hit) == len(replicas):
        return worst.kind, worst
    if largest_interval(replicas, shocks, target) is not None:
        return Limit.INTERVAL, None
    if _repair_needed(replicas, shocks, target) >= FASTEST_REPAIR:
        return Limit.REPAIR, None
    return Limit.COPIES, worst if independent_loss(replicas, SHORTEST) <= target else None


def _repair_needed(replicas: Sequence[Replica], shocks: Sequence[Shock], target: float) -> float:
    """Return the repair time in days, the same for all copies, at which audits all the time would meet the target."""

    def loss(days: float) -> float:
        quick = [replace(one, repair=days / DAYS_A_YEAR, at_best=0.0) for one in replicas]
        return independent_loss(quick, SHORTEST) + common_loss(quick, shocks, SHORTEST)

    low, high = 0.0, 365.0
    if loss(low) > target:
        return 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if loss(middle) <= target else (low, middle)
    return low
