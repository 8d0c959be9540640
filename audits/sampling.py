"""Samples of copies, and what they say of all copies: exact one-sided bounds that an auditor may quote.

Copies are drawn at random within strata (store and age), in an order that follows from the run's identifier alone, so
that anybody can draw the same again. A bound is the largest number of bad copies that would still give so few bad ones
in the sample with a probability of 5 % or more: the hypergeometric form of Clopper and Pearson (Biometrika 26, 1934),
which for large populations is theirs.
"""

import heapq
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from storage_backends.errors import MocbanError, marked

ALPHA = 0.05
"""The probability with which a bound may be too low: 95 % confidence."""

ROUNDING = 1e-6
"""What logarithms of factorials may be wrong by, relatively; in doubt a bound is larger."""

AGES = ((365.25, "0-1"), (5 * 365.25, "1-5"))
"""Days since a copy was written, and the code of the stratum up to there, in years."""

OLDEST = "5-"

ENDS = "ends"
"""The code of the stratum of the first and last packs of cartridges; all of them are looked at."""

_ASKED = re.compile(r"([0-9]{1,12})|([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_WHOLE = 100


class SampleError(MocbanError):
    """What was asked for is no sample."""

    template = marked("{asked} is no sample: write a number of copies (100) or a share above 0 (5%)")


class SampleGradeError(MocbanError):
    """A sample was asked for of evidence that says nothing of bytes."""

    template = marked("A sample says how many copies are bad at most, and a pass of grade {grade} reads none of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """The copies on one store that were written in one span of time. Those not to be read count as bad in a bound."""

    store: str
    age: str
    population: int
    looked: int
    bad: int
    unreadable: int

    @property
    def at_most(self) -> int:
        """How many copies of the stratum are bad at most, with 95 % confidence for this stratum alone."""
        return at_most(self.population, self.looked, self.bad + self.unreadable)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that was looked at, stratum by stratum."""

    strata: tuple[Stratum, ...]

    @property
    def population(self) -> int:
        """How many copies the sample speaks of."""
        return sum(one.population for one in self.strata)

    @property
    def looked(self) -> int:
        """How many of them were looked at."""
        return sum(one.looked for one in self.strata)

    @property
    def bad(self) -> int:
        """How many were damaged or missing."""
        return sum(one.bad for one in self.strata)

    @property
    def unreadable(self) -> int:
        """How many could not be read."""
        return sum(one.unreadable for one in self.strata)

    @property
    def at_most(self) -> int:
        """How many copies are bad at most, with 95 % confidence, in whatever strata they lie."""
        return at_most_of_all([(one.population, one.looked, one.bad + one.unreadable) for one in self.strata])


def size_of(asked: str, population: int) -> int:
    """Return how many of ``population`` copies are asked for: ``100``, or ``5%`` rounded up; raises ``SampleError``."""
    match = _ASKED.fullmatch(asked)
    if match is None:
        raise SampleError(asked=asked)
    share = float(match[2]) if match[2] else None
    if (share is not None and not 0 < share <= _WHOLE) or match[1] == "0" * len(match[1] or ""):
        raise SampleError(asked=asked)
    return min(population, int(match[1]) if share is None else math.ceil(population * share / _WHOLE))


def allotted(size: int, populations: Mapping[str, int]) -> dict[str, int]:
    """Return how many copies each stratum gives: in proportion (largest remainders), one at least where there is room.

    So no stratum goes unlooked at as long as the sample has as many copies as there are strata.
    """
    total = sum(populations.values())
    size = min(size, total)
    if not size:
        return dict.fromkeys(populations, 0)
    exact = {name: size * count / total for name, count in populations.items()}
    least = 1 if size >= len(populations) else 0
    given = {name: max(least, math.floor(share)) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    while sum(given.values()) < size:
        for name in by_remainder:
            if sum(given.values()) < size and given[name] < populations[name]:
                given[name] += 1
    while sum(given.values()) > size:
        largest = max(given, key=lambda name: (given[name] - exact[name] if given[name] > least else -math.inf, name))
        given[largest] -= 1
    return given


def draw(run: str, pack: str, store: str) -> bytes:
    """Return the lot of a copy in the sample of a run: SHA-256 over ``<run> <pack> <store>``; the lowest are drawn."""
    return sha256(f"{run} {pack} {store}".encode()).digest()


def age_of(written: str, at: str) -> str:
    """Return the code of the age that a copy written then has at a time, both ISO 8601."""
    days = (datetime.fromisoformat(at) - datetime.fromisoformat(written)).total_seconds() / 86_400
    return next((code for most, code in AGES if days < most), OLDEST)


def at_most(population: int, looked: int, bad: int, alpha: float = ALPHA) -> int:
    """Return the largest number of bad copies in ``population`` that ``bad`` of ``looked`` do not speak against."""
    low, high = bad, population - (looked - bad)
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most_so_many(population, middle, looked, bad) > alpha * (1 - ROUNDING):
            low = middle
        else:
            high = middle - 1
    return low


def at_most_of_all(strata: list[tuple[int, int, int]], alpha: float = ALPHA) -> int:
    """Return the bound for all strata (population, looked, bad) together, in whatever strata the bad copies lie.

    With one stratum it is that of ``at_most``. With several, half of ``alpha`` is for a sample without bad copies: the
    bound is then the largest number that gives none with that probability when it lies where it is found least. The
    other half is for a sample with some: the sum of the strata's bounds, each at its part (Bonferroni).
    """
    if len(strata) == 1:
        return at_most(*strata[0], alpha)
    alpha /= 2
    if any(bad for _, _, bad in strata):
        return sum(at_most(*one, alpha / len(strata)) for one in strata)
    # The logarithm of the probability of finding none is a sum of concave functions of the numbers of bad copies in
    # the strata, so that the greatest step each time leads to the greatest sum.
    left = 0.0
    steps = [(_step(population, looked), population, looked) for population, looked, _ in strata if population > looked]
    heapq.heapify(steps)
    total = 0
    while steps:
        step, population, looked = heapq.heappop(steps)
        left -= step
        if left < math.log(alpha * (1 - ROUNDING)):
            break
        total += 1
        if population - 1 > looked:
            heapq.heappush(steps, (_step(population - 1, looked), population - 1, looked))
    return total


def _step(good: int, looked: int) -> float:
    """Return by how much one more bad copy lowers the logarithm of the probability of finding none."""
    return -math.log1p(-looked / good)


def _at_most_so_many(population: int, bad: int, looked: int, found: int) -> float:
    """Return the probability of at most ``found`` bad ones among ``looked`` of a population with ``bad`` bad ones."""
    whole = _ways(population, looked)
    least, most = max(0, looked - (population - bad)), min(found, bad)
    terms = (_ways(bad, count) + _ways(population - bad, looked - count) for count in range(least, most + 1))
    return min(1.0, math.fsum(math.exp(term - whole) for term in terms))


def _ways(count: int, chosen: int) -> float:
    """Return the natural logarithm of the binomial coefficient."""
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
