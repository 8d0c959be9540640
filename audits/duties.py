"""Duties: what the service does, a line of a table each: its name, whether it is due, how it is done."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audits import inventory, metrics
from audits.coverage import Report, Scope
from audits.deadlines import SLICE_SECONDS, Slice
from audits.evacuation import evacuate_now, failing_stores
from audits.findings import Code, Finding
from audits.heartbeat import Heartbeat
from audits.pacing import StoreCopies, next_slices, standing, stores_now
from audits.policies import store_policy
from audits.priority import politest, reading_as
from audits.run import audit
from audits.timeline import SLACK, jump_ahead, jump_behind, skews_of
from preservation import timestamps, witnessing
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import RunRow, StoreRow
from preservation.checking import Grade
from preservation.evidence import push
from preservation.housekeeping import clean
from preservation.ledger.events import EventType, Outcome, time_text
from preservation.replication import Replicated, is_due, replicate, short_packs, wanting
from preservation.repository import Repository
from preservation.stores import all_open, attached, opened
from preservation.windows import windows_of
from storage_backends.errors import MocbanError

Result = Report | Replicated | Sequence[Finding] | None
"""What a piece of work came to; None is that it was done and there is nothing to say."""

HOURLY, DAILY, WEEKLY = timedelta(hours=1), timedelta(days=1), timedelta(days=7)

LOOK_AGAIN = 3_600.0
"""Seconds after which replication that had nothing to do is asked again, though nothing was recorded since."""

KEPT_UP = 0.8
"""The share of its pace that a store must give; one that gives less is as fast as it was seen to be."""

MEASURED_FROM = 60.0
"""Seconds that reading must have taken to say how fast a store is."""


@dataclass(slots=True)
class Watch:
    """What the service remembers from one round to the next.

    ``open`` gives the repository, ``told`` and ``failed`` hear of each piece of work that was done or could not be;
    ``beat`` is called often while work goes on. ``machine`` gives the machine's start (an identifier) and the seconds
    since then, None where nobody counts them. ``repository`` is the one of this round, to look at; work opens its own.
    ``resting`` is until when (seconds of the clock) a duty has nothing to do, as long as the ledger has so many events.
    """

    open: Callable[[], Repository]
    told: Callable[[str, "Result"], None]
    failed: Callable[[str, MocbanError], None]
    heartbeat: Heartbeat
    once: bool = False
    beat: Callable[[], None] = lambda: None
    machine: Callable[[], tuple[str, float]] | None = None
    repository: Repository | None = None
    resting: dict[str, tuple[int, float]] = field(default_factory=dict)
    slices: list[tuple[StoreCopies, Slice]] = field(default_factory=list)
    unfinished: Scope | None = None

    def goes_on(self, _files: int, _bytes: int) -> None:
        """Hear of progress."""
        self.beat()

    def rest(self, name: str, repository: Repository, seconds: float) -> None:
        """Note that a duty has nothing to do before ``seconds`` have passed, unless something is recorded."""
        self.resting[name] = (repository.ledger.size, repository.world.now().timestamp() + seconds)

    def rests(self, name: str, repository: Repository) -> bool:
        """Tell whether a duty has nothing to do; a clock that went back wakes it."""
        size, until = self.resting.get(name, (-1, 0.0))
        now = repository.world.now().timestamp()
        return size == repository.ledger.size and until - 2 * 86_400.0 < now < until


@dataclass(frozen=True, slots=True)
class Duty:
    """A piece of work. It is opened a repository of its own; what it raises stops no other."""

    name: str
    is_due: Callable[[Repository, Watch], bool]
    do: Callable[[Repository, Watch], Result]


def _every(name: str, span: timedelta) -> Callable[[Repository, Watch], bool]:
    return lambda repository, watch: watch.heartbeat.rested(name, repository.world.now()) >= span


# ---- the clock ---------------------------------------------------------------------------------------------------


def look_at_clock(watch: Watch, now: datetime) -> None:
    """Note the time in the heartbeat, and what the clock gained since the last look.

    Where the machine was off in between, nobody counted, and it may have been off for as long as the clock says.
    """
    heartbeat = watch.heartbeat
    if watch.machine is not None:
        machine, ticks = watch.machine()
        if heartbeat.alive and machine == heartbeat.machine:
            before = (datetime.fromisoformat(heartbeat.alive).timestamp(), heartbeat.ticks)
            heartbeat.gained += jump_ahead(before, (now.timestamp(), ticks))
        heartbeat.machine, heartbeat.ticks = machine, ticks
    heartbeat.alive = time_text(now)


def _has_jumped(repository: Repository, watch: Watch) -> bool:
    now = repository.world.now()
    look_at_clock(watch, now)
    return watch.heartbeat.gained > 0 or jump_behind(repository, now.timestamp()) < 0


def _note_jump(repository: Repository, watch: Watch) -> None:
    """Record that the clock has jumped; how far it went back the ledger says by itself before any event."""
    now = repository.world.now().timestamp()
    with repository.reading() as view:
        known = any(abs(one.after - now) < SLACK and one.seconds > 0 for one in skews_of(view))
    if not known:  # else recorded by a service that was killed before it could note that
        jumped = round(watch.heartbeat.gained)
        repository.record([repository.event(EventType.CLOCK_SKEW, outcome=Outcome.WARNING, jumped=jumped)])
    watch.heartbeat.gained = 0.0


# ---- copies ------------------------------------------------------------------------------------------------------


def _clean(repository: Repository, _watch: Watch) -> None:
    clean(repository)


def _lacks_copies(repository: Repository, watch: Watch) -> bool:
    if watch.rests("replicate", repository):
        return False
    with repository.reading() as view:
        lacking = [(row, wanting(view, row)) for row in attached(view)]
        if any(is_due(repository, row, packs) for row, packs in lacking):
            return True
        if short_packs(repository, view) and not any(packs for _, packs in lacking):
            return True
    watch.rest("replicate", repository, LOOK_AGAIN)
    return False


def _replicate(repository: Repository, watch: Watch) -> Result:
    return replicate(repository, watch.goes_on, gathering=True)


def _has_slices(repository: Repository, watch: Watch) -> bool:
    """Tell whether copies of a store that is there are to be read now; what they are is kept for ``_audit``."""
    watch.slices, watch.unfinished = [], _unfinished(repository, watch)
    if watch.unfinished is not None:
        return True
    if watch.rests("audit", repository):
        return False
    found = next_slices(repository, watch.heartbeat, rests=not watch.once)
    watch.slices = [(one, part) for one, part in found if part.chosen and _is_there(one.row)]
    if not watch.slices:
        waits = [LOOK_AGAIN if part.chosen else max(part.wait, 1.0) for _, part in found]
        watch.rest("audit", repository, min(waits, default=LOOK_AGAIN))
    return bool(watch.slices)


def _is_there(row: StoreRow) -> bool:
    backend = opened(row).backend
    if backend is not None:
        backend.close()
    return backend is not None


def _closed(repository: Repository, view: View, watch: Watch) -> set[str]:
    """Return the stores that are to be left alone now."""
    return {
        one.row.store
        for one in stores_now(repository, view, watch.heartbeat)
        if one.at.paused or not one.at.windows.is_open(one.at.local)
    }


def _unfinished(repository: Repository, watch: Watch) -> Scope | None:
    """Return the scope of a slice that was stopped, if its stores may be read now: it goes on where it was."""
    with repository.reading() as view:
        scopes = [json.loads(row.scope) for row in rows.every(view, RunRow)]
        asked = next((one for one in scopes if one.get("copies")), None)
        if asked is None:
            return None
        closed = _closed(repository, view, watch)
    if closed & {name.rpartition("/")[2] for name in asked["copies"]}:
        return None
    known = {one.name for one in dataclasses.fields(Scope)}
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in asked.items() if name in known
    }
    return Scope(**{**values, "grade": Grade(values.get("grade", Grade.BYTES))})


def _audit(repository: Repository, watch: Watch) -> Result:
    """Read one slice of the copies whose turn has come, each store at its own pace."""
    policy = repository.configuration.audit
    with repository.reading() as view:
        known = {row.store: store_policy(policy, row.name) for row in attached(view)}
        paces: dict[str, int] = {row.name: known[row.store].most for row in attached(view)}
    scope, priorities = watch.unfinished, [one.io_priority for one in known.values()]
    if scope is None:
        copies = tuple(f"{copy.pack}/{copy.store}" for _, part in watch.slices for copy in part.chosen)
        closes = min(one.at.windows.closes_in(one.at.local) for one, _ in watch.slices)
        scope = Scope(copies=copies, seconds=None if closes > 2 * SLICE_SECONDS else round(closes))
        priorities = [one.policy.io_priority for one, _ in watch.slices]
        if not watch.once:
            paces |= {one.row.name: max(1, round(part.pace)) for one, part in watch.slices}
    began = time.monotonic()
    with reading_as(politest(priorities)):
        report = audit(repository, scope, repair=True, told=watch.goes_on, pace=paces)
    _measure(repository, watch, time.monotonic() - began)
    return report


def _measure(repository: Repository, watch: Watch, seconds: float) -> None:
    """Note which stores could not keep up with their pace, for the forecast."""
    if watch.once or seconds < MEASURED_FROM:
        return
    with repository.reading() as view:
        for one, part in watch.slices:
            named = [rows.one(view, rows.CopyRow, copy.pack, copy.store) for copy in part.chosen]
            looked = [datetime.fromisoformat(row.checked) for row in named if row is not None and row.checked]
            now = repository.world.now()
            taken = seconds - min(((now - time).total_seconds() for time in looked), default=seconds)
            if taken < MEASURED_FROM:
                continue
            speed = sum(copy.size for copy in part.chosen) / taken
            measured = watch.heartbeat.measured
            if speed < KEPT_UP * part.pace:
                measured[one.row.store] = speed
            elif speed > measured.get(one.row.store, 0.0):
                measured.pop(one.row.store, None)


def _sweep(repository: Repository, watch: Watch) -> Result:
    """Look at what lies beside the packs, and close the sum over all copies: which were verified lately enough."""
    policy = repository.configuration.audit
    with reading_as(policy.io_priority):
        return audit(repository, Scope(max_age_days=policy.max_age_days, bytes=0), repair=True, told=watch.goes_on)


def _evacuation_is_due(repository: Repository, watch: Watch) -> bool:
    if watch.heartbeat.rested("evacuate", repository.world.now()) < DAILY:
        return False
    with repository.reading() as view:
        failing = failing_stores(view)
        return bool(failing) and bool(failing - _closed(repository, view, watch))


def _evacuate(repository: Repository, watch: Watch) -> Result:
    with repository.reading() as view:
        closed = _closed(repository, view, watch)
    return evacuate_now(repository, watch.goes_on, spared=closed)


def _grades_due(repository: Repository, watch: Watch) -> list[Grade]:
    policy, now = repository.configuration.audit, repository.world.now()
    due = []
    for name, one in policy.grades.items():
        span = timedelta(days=one.max_age_days) * 3 / 4
        is_open = windows_of(policy.window if one.window is None else one.window).is_open(now.astimezone())
        if span and is_open and watch.heartbeat.rested(f"look-{name}", now) >= span:
            due.append(Grade(name))
    return due


def _look(repository: Repository, watch: Watch) -> Result:
    """Look at every copy with less evidence than its bytes."""
    grade = _grades_due(repository, watch)[0]
    report = audit(repository, Scope(grade=grade), repair=True, told=watch.goes_on)
    watch.heartbeat.succeeded(f"look-{grade}", repository.world.now())
    return report


# ---- evidence and people -----------------------------------------------------------------------------------------


def _evidence_is_due(repository: Repository, watch: Watch) -> bool:
    rested = watch.heartbeat.rested("evidence", repository.world.now())
    signed = max(repository.ledger.checkpoint_sizes(), default=0)
    return rested >= DAILY or (rested >= HOURLY and signed < repository.ledger.size)


def _evidence(repository: Repository, _watch: Watch) -> Result:
    """Seal what is due, sign a checkpoint, bring both to every store."""
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        away = {store.name for store in stores if store.backend is None}
        failures = push(repository, stores).failures
    return [
        Finding(Code.STORE_UNAVAILABLE if name in away else Code.EVIDENCE_DAMAGED, name, detail=str(error))
        for name, error in failures.items()
    ]


def _timestamp(repository: Repository, _watch: Watch) -> None:
    timestamps.obtain(repository)


def _witness(repository: Repository, _watch: Watch) -> None:
    witnessing.countersign(repository)


def _report_is_due(repository: Repository, watch: Watch) -> bool:
    policy = repository.configuration.report
    rested = watch.heartbeat.rested("report", repository.world.now())
    return bool(policy.folder) and rested >= timedelta(days=policy.every_days)


def _report(repository: Repository, watch: Watch) -> None:
    from audits.reports import Language, write  # noqa: PLC0415 - reports bring pyarrow

    policy, world = repository.configuration.report, repository.world
    language = Language(policy.language, lambda text: world.translated(policy.language, text))
    folder = os.path.join(repository.path, policy.folder)
    watch.beat()
    write(repository, os.path.join(folder, f"{world.now().astimezone():%Y-%m-%d}.html"), language)


def _has_new_signatures(repository: Repository, _watch: Watch) -> bool:
    from audits.obsolescence import is_behind  # noqa: PLC0415 - brings what reads formats

    return is_behind(repository)


def _reidentify(repository: Repository, watch: Watch) -> None:
    from audits.obsolescence import catch_up  # noqa: PLC0415 - as above

    catch_up(repository, watch.goes_on)


def _watch_formats(repository: Repository, watch: Watch) -> Result:
    from audits.obsolescence import look  # noqa: PLC0415 - as above

    watch.beat()
    return look(repository)


DUTIES = (
    Duty("clock", _has_jumped, _note_jump),
    Duty("housekeeping", _every("housekeeping", DAILY), _clean),
    Duty("replicate", _lacks_copies, _replicate),
    Duty("audit", _has_slices, _audit),
    Duty("evacuate", _evacuation_is_due, _evacuate),
    Duty("sweep", _every("sweep", WEEKLY), _sweep),
    Duty("look", lambda repository, watch: bool(_grades_due(repository, watch)), _look),
    Duty(
        "inventory",
        lambda repository, _watch: inventory.is_due(repository),
        lambda repository, _watch: inventory.commit(repository),
    ),
    Duty("evidence", _evidence_is_due, _evidence),
    Duty(
        "timestamp",
        lambda repository, _watch: timestamps.is_due(repository),
        _timestamp,
    ),
    Duty(
        "witness",
        lambda repository, _watch: witnessing.is_due(repository),
        _witness,
    ),
    Duty("deadlines", _every("deadlines", DAILY), lambda repository, _watch: standing(repository).findings),
    Duty("reidentify", _has_new_signatures, _reidentify),
    Duty("formats", _every("formats", DAILY), _watch_formats),
    Duty("report", _report_is_due, _report),
    Duty(
        "metrics",
        lambda repository, _watch: bool(repository.configuration.metrics.textfile),
        lambda repository, _watch: metrics.write(repository),
    ),
)
"""All of them, in the order in which they are done: copies first, then what proves them, then who is told."""
