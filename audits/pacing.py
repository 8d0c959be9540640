"""Pacing: what the deadlines of all copies come to, store by store: what is read next, what is late, what will be.

The arithmetic is in ``deadlines``; here the numbers come from the catalog, the policies, the pauses and the heartbeat.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from audits.deadlines import (
    DAY,
    LATE,
    Conditions,
    Held,
    Slice,
    breach,
    due_at,
    growth_of,
    needed_rate,
    place_of,
    quantile,
    slice_of,
)
from audits.findings import Code, Finding
from audits.heartbeat import Failure, Heartbeat, read_heartbeat
from audits.intervals import RATE, shortest_interval
from audits.pauses import Pause, longest_of, pauses
from audits.policies import StorePolicy, fonds_policy, longest_age, store_policy, unknown_names
from audits.timeline import Timeline, jump_behind, timeline
from preservation.cartridges import offline_copies
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, FondsRow, PackRow, StoreRow
from preservation.ledger.events import time_text
from preservation.repository import Repository
from preservation.stores import attached
from storage_backends.errors import Phrase

NEVER_STARTED = 36 * 3_600.0
"""A repository whose oldest copy has this age and that no service was ever at work on, is told to have none."""


LAST_TIME = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""Later than this nothing is said to happen."""


@dataclass(frozen=True, slots=True)
class StoreCopies:
    """The copies on one store, what holds for it, and its conditions now."""

    row: StoreRow
    policy: StorePolicy
    copies: Sequence[Held]
    at: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStanding:
    """How the verifications of one store stand. Ages in days since the last verification, or since it was written.

    ``late`` copies are older than three quarters of their longest age, ``overdue`` ones than all of it (they are not
    among the late); ``due`` ones are those whose turn has come. ``forecast`` is when (ISO 8601 UTC) a copy will be
    overdue if all goes on as it does; None if none will. ``bytes_per_second`` is the slowest rate that meets all
    deadlines, over the time in which the store may be read. Of a store on tape, ``cartridges`` have copies, and
    ``shortest_interval_days`` is how often its one drive can read them all at best in the hours that it has.
    """

    store: str
    name: str
    max_age_days: float
    copies: int = 0
    bytes: int = 0
    never_verified: int = 0
    oldest_age_days: float = 0.0
    median_age_days: float = 0.0
    p95_age_days: float = 0.0
    due: int = 0
    late: int = 0
    overdue: int = 0
    forecast: str | None = None
    bytes_per_second: int = 0
    growth_bytes_per_second: int = 0
    capacity_bytes_per_second: int | None = None
    paused_until: str | None = None
    cartridges: int = 0
    shortest_interval_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the promise to verify every copy in time stands.

    ``alive`` is when the service was last at work, None if it never was; ``stopped_days`` is how long it has been
    silent, if that is too long. ``unknown`` are tables of the configuration about stores and fonds that there are not.
    """

    stores: list[StoreStanding] = field(default_factory=list)
    alive: str | None = None
    mode: str = ""
    doing: str = ""
    stopped_days: float | None = None
    pauses: list[Pause] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    clock_behind_seconds: int = 0
    findings: list[Finding] = field(default_factory=list)


def standing(repository: Repository) -> Standing:
    """Return how the verifications of all copies stand; reads the catalog and the heartbeat only."""
    heartbeat = read_heartbeat(repository)
    now = repository.world.now()
    with repository.reading() as view:
        line = timeline(repository, view)
        found_pauses = pauses(repository, view)
        stores = stores_now(repository, view, heartbeat)
        tapes = _cartridges(view, [one.row for one in stores])
        codes = {row.code for row in rows.every(view, FondsRow)}
    found = [_on_tape(_store(one, line, found_pauses), one, tapes.get(one.row.store, 0)) for one in stores]
    silence = heartbeat.silence(now)
    stopped = silence.total_seconds() / DAY if silence is not None else None
    if not heartbeat.alive:
        oldest = max((line.now - copy.written for one in stores for copy in one.copies), default=0.0)
        stopped = oldest / DAY if oldest > NEVER_STARTED else None
    return Standing(
        stores=found,
        alive=heartbeat.alive or None,
        mode=heartbeat.mode,
        doing=heartbeat.doing,
        stopped_days=stopped,
        pauses=found_pauses,
        failures=heartbeat.failures,
        unknown=unknown_names(repository.configuration.audit, {one.row.name for one in stores}, codes),
        clock_behind_seconds=-round(jump_behind(repository, now.timestamp())),
        findings=[*_stopped(heartbeat, stopped), *(finding for one in found for finding in _findings(one))],
    )


def _stopped(heartbeat: Heartbeat, days: float | None) -> list[Finding]:
    if days is None:
        return []
    detail = Phrase("not at work since {time}", time=heartbeat.alive) if heartbeat.alive else Phrase("never at work")
    return [Finding(Code.SCHEDULER_STOPPED, detail=detail)]


def _findings(one: StoreStanding) -> list[Finding]:
    found = []
    if one.overdue:
        detail = Phrase("{count} copies, the oldest {days} days", count=one.overdue, days=f"{one.oldest_age_days:.1f}")
        found.append(Finding(Code.VERIFICATION_OVERDUE, one.name, detail=detail))
    if one.late:
        detail = Phrase("{count} copies, the oldest {days} days", count=one.late, days=f"{one.oldest_age_days:.1f}")
        found.append(Finding(Code.VERIFICATION_LATE, one.name, detail=detail))
    if one.forecast is not None:
        found.append(Finding(Code.VERIFICATION_FORECAST, one.name, detail=one.forecast))
    return found


def _store(one: StoreCopies, line: Timeline, found_pauses: Sequence[Pause]) -> StoreStanding:
    now = one.at.now
    good = sorted((copy for copy in one.copies if copy.good), key=lambda copy: copy.due)
    ages = sorted(max(0.0, now - copy.since) / DAY for copy in one.copies)
    overdue = sum(now > copy.overdue for copy in one.copies)
    when = breach(good, one.at, longest=one.policy.longest)
    paused = longest_of(found_pauses, one.row.store, line)
    return StoreStanding(
        store=one.row.store,
        name=one.row.name,
        max_age_days=one.policy.longest / DAY,
        copies=len(one.copies),
        bytes=sum(copy.size for copy in one.copies),
        never_verified=sum(copy.verified is None for copy in one.copies),
        oldest_age_days=quantile(ages, 1.0),
        median_age_days=quantile(ages, 0.5),
        p95_age_days=quantile(ages, 0.95),
        due=sum(copy.due <= now for copy in good),
        late=sum(now - copy.since > LATE * copy.longest for copy in one.copies) - overdue,
        overdue=overdue,
        forecast=_iso(line.shown(when)) if when is not None else None,
        bytes_per_second=round(needed_rate(good, one.at) + one.at.growth),
        growth_bytes_per_second=round(one.at.growth),
        capacity_bytes_per_second=round(one.at.capacity) if one.at.capacity < math.inf else None,
        paused_until=_iso(line.clock + paused) if paused else None,
    )


def _cartridges(view: View, store_rows: Sequence[StoreRow]) -> dict[str, int]:
    """Return how many cartridges of each store on tape have copies: a generation begins with the cartridge's number."""
    found: dict[str, set[str]] = {row.store: set() for row in store_rows if row.medium == "tape"}
    for copy in rows.every(view, CopyRow) if found else ():
        if copy.store in found:
            found[copy.store].add(copy.generation.partition("-")[0])
    return {store: len(numbers) for store, numbers in found.items()}


def _on_tape(standing: StoreStanding, one: StoreCopies, cartridges: int) -> StoreStanding:
    if not cartridges:
        return standing
    rate = min(one.at.capacity, RATE)
    best = shortest_interval(standing.bytes, cartridges, drives=1, share=one.at.windows.share, rate=rate)
    return dataclasses.replace(standing, cartridges=cartridges, shortest_interval_days=best)


def _iso(seconds: float) -> str:
    return time_text(datetime.fromtimestamp(min(seconds, LAST_TIME), UTC))


def stores_now(repository: Repository, view: View, heartbeat: Heartbeat) -> list[StoreCopies]:
    """Return every attached store with its copies as their deadlines see them, and its conditions now."""
    line = timeline(repository, view)
    store_rows = attached(view)
    audit = repository.configuration.audit
    policies = {row.store: store_policy(audit, row.name) for row in store_rows}
    copies = _held(repository, view, store_rows, policies, line)
    found_pauses = pauses(repository, view)
    local = repository.world.now().astimezone()
    found = []
    for row in store_rows:
        policy, held = policies[row.store], copies[row.store]
        last = max((copy.tried for copy in held if copy.tried is not None), default=None)
        at = Conditions(
            now=line.now,
            local=local,
            windows=policy.windows,
            most=policy.most,
            rested=math.inf if last is None else line.now - last,
            growth=growth_of(held, line.now, policy.longest),
            paused=longest_of(found_pauses, row.store, line),
            measured=heartbeat.measured.get(row.store, 0.0),
        )
        found.append(StoreCopies(row, policy, held, at))
    return found


def _held(
    repository: Repository,
    view: View,
    store_rows: Sequence[StoreRow],
    policies: dict[str, StorePolicy],
    line: Timeline,
) -> dict[str, list[Held]]:
    audit = repository.configuration.audit
    fonds = {row.fonds: fonds_policy(audit, row.code) for row in rows.every(view, FondsRow)}
    packs = {row.pack: row for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    numbers = {row.store: number for number, row in enumerate(store_rows)}
    found: defaultdict[str, list[Held]] = defaultdict(list)
    for copy in rows.every(view, CopyRow):
        pack, number = packs.get(copy.pack), numbers.get(copy.store)
        if pack is None or number is None:
            continue
        policy, of_fonds = policies[copy.store], fonds.get(pack.fonds) or fonds_policy(audit, "")
        longest = longest_age(policy, of_fonds)
        written = line.instant(copy.written) or 0.0
        verified = line.instant(verified_time(copy, policy))
        found[copy.store].append(
            Held(
                pack=copy.pack,
                store=copy.store,
                size=pack.size,
                written=written,
                verified=verified,
                tried=line.instant(copy.checked),
                good=copy.state == CopyState.GOOD,
                longest=longest,
                due=due_at(verified, written, longest, place_of(copy.pack, number, len(store_rows))),
                windows=of_fonds.windows,
            )
        )
    return found


def verified_time(copy: CopyRow, policy: StorePolicy) -> str:
    """Return when a copy was last verified by evidence that its store's policy takes for enough; '' if never."""
    return max(copy.verified, copy.present) if policy.accepts("inventory") else copy.verified


def next_slices(repository: Repository, heartbeat: Heartbeat, *, rests: bool) -> list[tuple[StoreCopies, Slice]]:
    """Return for each store what is read of it next; without ``rests`` as if it had not been read for long.

    Who comes by once a night does all that will be due in the next days.
    """
    with repository.reading() as view:
        stores = stores_now(repository, view, heartbeat)
        away = offline_copies(view)  # nobody can read them now, however urgent that is
    at = [one.at if rests else dataclasses.replace(one.at, rested=math.inf) for one in stores]
    return [
        (one, slice_of([copy for copy in one.copies if (copy.pack, copy.store) not in away], conditions))
        for one, conditions in zip(stores, at, strict=True)
    ]
