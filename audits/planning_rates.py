"""The figures that a plan rests on: published or assumed ones with their sources, and what this site's audits saw."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, PackRow, StoreRow
from preservation.ledger.events import EventType, parse_record
from preservation.repository import Repository
from storage_backends.errors import marked

DAYS_A_YEAR = 365.25
CONFIDENCE = 0.95
RULE_OF_THREE = 3.0
"""Nothing seen in x years bounds a rate by 3 / x, with 95 % confidence."""

EXACT = 1_000
"""Up to so many events a bound is computed exactly, beyond by an approximation that is as good there."""

NORMAL_95 = 1.6448536269514722


class Origin(StrEnum):
    """Where a figure comes from."""

    PRIOR = "prior"
    YOURS = "yours"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One figure with its unit and its basis. ``years`` and ``events`` are what own data rest on."""

    name: str
    value: float
    unit: str
    basis: str
    origin: Origin = Origin.PRIOR
    years: float = 0.0
    events: int = 0


A_YEAR = marked("a year")
A_TB_YEAR = marked("per TB and year")
OF_ONE = marked("of 1")
DAYS = marked("days")

ASSUMED = marked("an assumption")
BACKBLAZE = marked("Backblaze drive statistics, 2024; small or mixed fleets: three times that")
FAST_2008 = marked("derived from FAST 2008: 400,000 mismatches, 1.53 million disks, 41 months; 0.25 TB a disk assumed")
LIKE_DISKS = marked("an assumption: as disks")
FAST_2020 = marked("FAST 2020, as TigerBeetle reads it: 0.031 % of drives silent, 0.023 % misdirected")
TAPE = marked("an assumption; vendors quote far less, and no field study is known")
S3 = marked("an assumption: what providers are designed for leaves out accounts, keys and bills")
READ_WHOLE = marked("every byte is read; a provider's word would count half (0.5)")
ONCE_A_YEAR = marked("an assumption: tapes are read once a year at best")
FOUR_TIMES = marked("an assumption: reading costs money")
FIRE = marked("an assumption: fire, water, theft once in a thousand years")
UNKNOWN = marked("no figure is known; set one to see what it does")
HANDS = marked("an assumption: error, ransomware, stolen password once in a hundred years")

_MEDIA = {
    "disk": (
        ("visible", 0.0157, A_YEAR, BACKBLAZE),
        ("latent_tb", 0.3, A_TB_YEAR, FAST_2008),
        ("latent_copy", 1e-5, A_YEAR, ASSUMED),
        ("repair_days", 3.0, DAYS, ASSUMED),
        ("coverage", 1.0, OF_ONE, READ_WHOLE),
        ("at_best_days", 0.0, DAYS, ASSUMED),
    ),
    "ssd": (
        ("visible", 0.0157, A_YEAR, LIKE_DISKS),
        ("latent_tb", 0.0, A_TB_YEAR, FAST_2020),
        ("latent_copy", 5.4e-4, A_YEAR, FAST_2020),
        ("repair_days", 3.0, DAYS, ASSUMED),
        ("coverage", 1.0, OF_ONE, READ_WHOLE),
        ("at_best_days", 0.0, DAYS, ASSUMED),
    ),
    "tape": (
        ("visible", 0.005, A_YEAR, TAPE),
        ("latent_tb", 0.01, A_TB_YEAR, TAPE),
        ("latent_copy", 1e-5, A_YEAR, ASSUMED),
        ("repair_days", 14.0, DAYS, ASSUMED),
        ("coverage", 1.0, OF_ONE, READ_WHOLE),
        ("at_best_days", DAYS_A_YEAR, DAYS, ONCE_A_YEAR),
    ),
    "s3": (
        ("visible", 1e-4, A_YEAR, S3),
        ("latent_tb", 0.0, A_TB_YEAR, S3),
        ("latent_copy", 1e-4, A_YEAR, S3),
        ("repair_days", 7.0, DAYS, ASSUMED),
        ("coverage", 1.0, OF_ONE, READ_WHOLE),
        ("at_best_days", DAYS_A_YEAR / 4, DAYS, FOUR_TIMES),
    ),
}

PRIORS = {
    **{
        f"{medium}.{name}": Parameter(name=f"{medium}.{name}", value=value, unit=unit, basis=basis)
        for medium, found in _MEDIA.items()
        for name, value, unit, basis in found
    },
    "site": Parameter(name="site", value=1e-3, unit=A_YEAR, basis=FIRE),
    "vendor": Parameter(name="vendor", value=0.0, unit=A_YEAR, basis=UNKNOWN),
    "domain": Parameter(name="domain", value=1e-2, unit=A_YEAR, basis=HANDS),
}
"""Every figure by its name, as it is without better knowledge."""

MEDIA = tuple(_MEDIA)
"""The media that there are figures for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What own audits saw of one medium: verified years, copies that were silently wrong, copies that were gone."""

    tb_years: float = 0.0
    copy_years: float = 0.0
    mismatches: int = 0
    missing: int = 0


def one_of(rate: float, years: float) -> float:
    """Return the probability of at least one event in so many years: 1 - e^(-rate x years)."""
    return -math.expm1(-rate * years)


def upper_bound(events: int, exposure: float) -> float:
    """Return the one-sided 95 % upper bound of a Poisson rate; 0 events give 3 / exposure."""
    return _quantile(events + 1, NORMAL_95, 1 - CONFIDENCE) / exposure


def lower_bound(events: int, exposure: float) -> float:
    """Return the one-sided 95 % lower bound of a Poisson rate; 0 events give 0."""
    return 0.0 if events == 0 else _quantile(events, -NORMAL_95, CONFIDENCE) / exposure


def _quantile(count: int, normal: float, share: float) -> float:
    """Return the mean for which fewer than ``count`` events have the probability ``share``."""
    if count > EXACT:  # Wilson and Hilferty 1931
        return count * float(1 - 1 / (9 * count) + normal / (3 * math.sqrt(count))) ** 3
    low, high = 0.0, (count + 10) * 10.0
    for _ in range(100):
        mean = (low + high) / 2
        fewer = sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(count))
        low, high = (mean, high) if fewer > share else (low, mean)
    return low


def with_own_data(prior: Parameter, observed: Observed | None) -> Parameter:
    """Return the parameter from own audits if these are enough, or if they say that it is worse; else the prior.

    Enough is what would bound the rate at the prior if nothing had been seen. What counts is the 95 % upper bound.
    """
    name = prior.name.partition(".")[2]
    if observed is None or name not in {"latent_tb", "latent_copy"}:
        return prior
    years, events = (
        (observed.tb_years, observed.mismatches) if name == "latent_tb" else (observed.copy_years, observed.missing)
    )
    if years <= 0:
        return prior
    enough = prior.value > 0 and years >= RULE_OF_THREE / prior.value
    if not enough and lower_bound(events, years) <= prior.value:
        return prior
    return replace(prior, value=upper_bound(events, years), origin=Origin.YOURS, years=years, events=events)


# ---- what was seen --------------------------------------------------------------------------------------------------


def observed(repository: Repository, view: View, store_rows: Sequence[StoreRow]) -> dict[str, Observed]:
    """Return what the audits saw on these stores, by medium.

    A copy that an audit verified was good from its writing on, or from its repair: the catalog has both times. What
    was wrong is counted once until it was repaired, from the fixity checks in the ledger.
    """
    media = {row.store: row.medium for row in store_rows}
    sizes = {row.pack: row.size for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    tb_years: defaultdict[str, float] = defaultdict(float)
    copy_years: defaultdict[str, float] = defaultdict(float)
    for copy in rows.every(view, CopyRow):
        if copy.store in media and copy.pack in sizes and copy.verified:
            years = max(0.0, _years(copy.written, copy.verified))
            tb_years[media[copy.store]] += years * sizes[copy.pack] / 1e12
            copy_years[media[copy.store]] += years
    damaged, missing = _wrong(repository, media)
    return {
        medium: Observed(
            tb_years=tb_years[medium],
            copy_years=copy_years[medium],
            mismatches=damaged[medium],
            missing=missing[medium],
        )
        for medium in set(media.values())
    }


def _years(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() / (DAYS_A_YEAR * 86_400)


_SIGNS = (b'"verdict":"damaged"', b'"verdict":"missing"', b'"type":"' + EventType.REPAIR.encode() + b'"')
"""In the canonical bytes of the few records that matter: the others are passed over unread."""

_COPIED = b'"type":"' + EventType.REPLICATION.encode() + b'"'


def _wrong(repository: Repository, media: dict[str, str]) -> tuple[Counter[str], Counter[str]]:
    damaged: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    bad: set[tuple[object, object]] = set()
    for data in repository.ledger.raw_records():
        if not any(sign in data for sign in _SIGNS) and not (bad and _COPIED in data):
            continue
        event = parse_record(data).event
        store, place = str(event.detail.get("store")), (event.detail.get("pack"), event.detail.get("store"))
        if event.type in {EventType.REPAIR, EventType.REPLICATION}:
            bad.discard(place)
        elif event.type == EventType.FIXITY_CHECK and place not in bad and store in media:
            bad.add(place)
            (damaged if event.detail.get("verdict") == "damaged" else missing)[media[store]] += 1
    return damaged, missing
