"""The policy: our own judgements of formats, each with its reason in both languages, as ``policy.toml`` has them."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from preservation.fixity import blake3_hex

PATH = os.path.join(os.path.dirname(__file__), "policy.toml")

HIGHEST = 100


class Level(StrEnum):
    """How much a format endangers what is kept in it."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"


class Action(StrEnum):
    """What is to be done about a format."""

    RETAIN = "retain"
    MIGRATE = "migrate"
    EXTRACT = "extract"
    """What is inside is to be taken out."""
    IDENTIFY = "identify"
    """What it is must be found out first."""
    JUDGE = "judge"
    """Nobody has said yet what is to be thought of it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that adds to a risk: code, points, words in both languages; ``floor`` is the least score with it."""

    code: str
    points: int
    en: str
    vi: str
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What we think of some formats, and why. ``target`` is a PUID to migrate to, ``programs`` what that needs."""

    name: str
    puids: tuple[str, ...]
    factors: tuple[str, ...]
    action: Action
    target: str
    programs: tuple[str, ...]
    en: str
    vi: str


@dataclass(frozen=True, slots=True)
class Policy:
    """All judgements. Scores go from 0 to 100; from ``moderate`` and from ``high`` on they are called so."""

    version: str
    digest: str
    base: int
    moderate: int
    high: int
    factors: Mapping[str, Reason]
    facts: Mapping[str, Reason]
    formats: Mapping[str, Judgement]
    """By PUID."""

    def level(self, score: int) -> Level:
        """Return what a score is called."""
        return Level.HIGH if score >= self.high else Level.MODERATE if score >= self.moderate else Level.LOW

    def score(self, judgement: Judgement) -> int:
        """Return the score of a format by its factors."""
        return min(HIGHEST, self.base + sum(self.factors[code].points for code in judgement.factors))


@cache
def policy() -> Policy:
    """Return the policy that comes with the program."""
    with open(PATH, "rb") as file:
        return parsed(file.read())


def parsed(text: bytes) -> Policy:
    """Read a policy.

    Raises:
        ValueError, KeyError: it is none, or it contradicts itself.
    """
    values = tomllib.loads(text.decode())
    factors = {one["code"]: Reason(**one) for one in values["factor"]}
    facts = {one["code"]: Reason(**one) for one in values["fact"]}
    formats: dict[str, Judgement] = {}
    for one in values["format"]:
        judgement = Judgement(
            name=one["name"],
            puids=tuple(one["puids"]),
            factors=tuple(one["factors"]),
            action=Action(one["action"]),
            target=one["target"],
            programs=tuple(one["programs"]),
            en=one["en"],
            vi=one["vi"],
        )
        if not set(judgement.factors) <= factors.keys():
            raise ValueError(f"{judgement.name} has a factor that there is not")
        for puid in judgement.puids:
            if puid in formats:
                raise ValueError(f"{puid} is judged twice")
            formats[puid] = judgement
    return Policy(
        version=values["version"],
        digest=blake3_hex(text),
        base=int(values["base"]),
        moderate=int(values["moderate"]),
        high=int(values["high"]),
        factors=factors,
        facts=facts,
        formats=formats,
    )
