"""Tells people what a run brought: once, again at growing distance while it is unresolved, and when it is over.

Silence means that nothing changed; after ``all_well_days`` of it a message says that all runs, so that its absence
shows. What cannot be delivered waits in the repository's staging folder for the next call.
"""

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audits.coverage import Report
from audits.delivery import Channel, DeliveryError, Message, RefusedError, channels
from audits.findings import Code, Finding, Severity
from audits.incidents import STATES
from audits.messages import REPLICATION_FAILED, WORK_FAILED, Condition, News, message
from audits.pacing import standing
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import IncidentRow, StoreRow
from preservation.ledger.files import locked, read_file, replace_file
from preservation.replication import Replicated
from preservation.repository import Repository
from preservation.stores import attached
from storage_backends.errors import MocbanError, marked

STATE_FILE = "notifications.json"
LOCK_FILE = "notifications.lock"
STATE_LIMIT = 64 << 20
WAITING = 50
"""The most messages that wait for one channel; beyond it the oldest are given up, and the next message says so."""

MOMENTARY = frozenset({Code.READ_UNSTABLE})
"""Codes of what has happened and does not last."""

ROUTINE = frozenset({Code.EVIDENCE_DAMAGED})
"""Codes that are no news when they are healed: a store that was away, or a changed configuration, brings them."""

HEALED_AGAIN = timedelta(days=1)
"""How long what is healed of one kind on one store is gathered before it is told again."""

STANDING = "standing"
"""The work in whose name deadlines that are missed are told; every run looks at them."""

Result = Report | Replicated | Sequence[Finding] | MocbanError | None
"""What a piece of work came to: ``None`` is that it was done and there is nothing to say."""


class UndeliveredError(MocbanError):
    """Somebody could not be told; the message waits and is tried again with the next."""

    template = marked("Nobody was told by {channel}, messages that wait: {count}: {reason}")


@dataclass(slots=True)
class _State:
    """What was told, and what waits to be."""

    told: str = ""
    """When the last message was made."""
    conditions: dict[str, Condition] = field(default_factory=dict)
    healed: dict[str, Condition] = field(default_factory=dict)
    """What was healed and not told yet; ``since`` is when that kind was told last."""
    waiting: dict[str, list[Message]] = field(default_factory=dict)
    given_up: int = 0


def tell(repository: Repository, name: str, result: Result) -> None:
    """Tell those whom the configuration names what the work ``name`` came to, if that is news, and what waits.

    Raises:
        UndeliveredError: somebody could not be told; everything was tried, and what could not be delivered is kept.
        ConfigurationError: ``[notify]`` is malformed.
    """
    found = channels(repository)
    if not found:
        return
    with locked(os.path.join(repository.staging, LOCK_FILE), repository.world.wait_seconds):
        path = os.path.join(repository.staging, STATE_FILE)
        state = _read(path)
        news = _news(repository, state, name, result)
        if news is not None:
            news.given_up = _make_room(state, found)
            _enqueue(state, found, message(repository, news), repository.world.now())
        _write(path, state)  # before anything is sent: what was decided is not forgotten by a crash
        failures = _deliver(state, found)
        _write(path, state)
    if failures:
        raise failures[0]


def tell_test(repository: Repository) -> dict[str, MocbanError | None]:
    """Send a test message now and return what became of it by the name of each channel; nothing waits."""
    told = message(repository, News(work="test", is_test=True))
    outcomes: dict[str, MocbanError | None] = {}
    for name, deliver in channels(repository).items():
        try:
            deliver(told)
            outcomes[name] = None
        except MocbanError as error:
            outcomes[name] = error
    return outcomes


# ---- what is news ------------------------------------------------------------------------------------------------


def _news(repository: Repository, state: _State, name: str, result: Result) -> News | None:
    """Return what there is to tell, or None; what is open now replaces what was open before in ``state``."""
    now = repository.world.now()
    policy = repository.configuration.notify
    found = standing(repository).findings
    with repository.reading() as view:
        present = _Present(view, name, result, found)
        before = state.conditions
        after = {one.key: _with_age(one, before.get(one.key), now, policy.escalate_days) for one in present.conditions}
        judged = {key for key, one in before.items() if key in after or present.judges(one)}
        resolved = [
            dataclasses.replace(before[key], how=present.how(before[key])) for key in sorted(judged - after.keys())
        ]
        kept = {key: one for key, one in before.items() if key not in judged}
    news = News(work=name, resolved=resolved, healed=_healed(state, present.healed, now), **_summary(result))
    for key, one in kept.items():
        kept[key] = _with_age(one, one, now, policy.escalate_days)
    state.conditions = {}
    for key, one in sorted({**kept, **after}.items()):
        old = before.get(key)
        is_new = old is None or (one.incident and old.incident and one.incident != old.incident)
        if is_new:
            news.new.append(one)
        elif old is not None and one.count >= 2 * old.count:
            news.worse.append(one)
        elif old is not None and one.level > old.level and one.severity == Severity.ERROR:
            news.overdue.append(one)
        elif old is not None:
            one = dataclasses.replace(one, count=old.count)  # noqa: PLW2901 - "worse" is measured against what was told
        state.conditions[key] = one
        news.standing.append({**kept, **after}[key])
    is_news = news.new or news.worse or news.overdue or news.resolved or news.healed
    return news if is_news or _is_quiet_too_long(state, policy.all_well_days, now) else None


def _healed(state: _State, found: Sequence[Condition], now: datetime) -> list[Condition]:
    """Return what was healed, each kind once a day: a dying disk is news, each slice of an audit of it is not."""
    for one in found:
        before = state.healed.get(one.key, dataclasses.replace(one, count=0))
        state.healed[one.key] = dataclasses.replace(before, count=before.count + one.count, pack=one.pack)
    told = []
    for key, one in state.healed.items():
        if one.count and not (one.since and abs(now - datetime.fromisoformat(one.since)) < HEALED_AGAIN):
            told.append(dataclasses.replace(one, since=""))
            state.healed[key] = dataclasses.replace(one, count=0, since=now.isoformat(timespec="seconds"))
    return told


def _is_quiet_too_long(state: _State, days: int, now: datetime) -> bool:
    if not days:
        return False
    return not state.told or abs(now - datetime.fromisoformat(state.told)) >= timedelta(days=days)


def _with_age(one: Condition, before: Condition | None, now: datetime, escalate_days: int) -> Condition:
    since = one.since or (before.since if before is not None else "") or now.isoformat(timespec="seconds")
    level = 0
    age = now - datetime.fromisoformat(since)
    if escalate_days and age >= timedelta(days=escalate_days):
        level = int(math.log2(age / timedelta(days=escalate_days))) + 1
    return dataclasses.replace(one, since=since, level=level)


class _Present:
    """What is wrong now, from the open incidents and from the result of the work."""

    def __init__(self, view: View, name: str, result: Result, deadlines: Sequence[Finding]) -> None:
        self._name = name
        self._result = result
        self._incidents = list(rows.every(view, IncidentRow))
        self._known = {row.name for row in attached(view)}
        names = {row.store: row.name for row in rows.every(view, StoreRow)}
        self.healed: list[Condition] = []
        found = {
            one.key: one
            for one in (
                Condition(
                    code=row.code,
                    store=names.get(row.store, ""),
                    since=row.opened,
                    count=row.count,
                    pack=row.pack,
                    incident=row.incident,
                )
                for row in self._incidents
                if not row.closed
            )
        }
        explained = {
            (row.code, names.get(row.store, "")) for row in self._incidents if row.how == "explained" and not row.ended
        }
        away = {store for code, store in explained if code == Code.STORE_UNAVAILABLE}
        away |= {one.store for one in found.values() if one.code == Code.STORE_UNAVAILABLE}
        late = [one for one in deadlines if one.code is not Code.SCHEDULER_STOPPED]  # who tells is at work
        for one in [*self._of_result(), *self._of_findings(late, STANDING)]:
            is_known = (one.code, one.store) in explained or (one.code == REPLICATION_FAILED and one.store in away)
            if not is_known:
                found.setdefault(one.key, one)
        self.conditions = list(found.values())

    def _of_result(self) -> list[Condition]:
        name, result = self._name, self._result
        if isinstance(result, MocbanError):
            return [Condition(code=WORK_FAILED, work=name)]
        if isinstance(result, Replicated):
            found = [Condition(code=REPLICATION_FAILED, store=store, work=name) for store in sorted(result.failures)]
            if result.short:
                short = Condition(
                    code=Code.UNDER_REPLICATED, work=name, count=len(result.short), severity=Severity.WARNING
                )
                found.append(short)
            return found
        return self._of_findings(result.findings if isinstance(result, Report) else result or (), name)

    def _of_findings(self, findings: Sequence[Finding], work: str) -> list[Condition]:
        away = {one.store for one in findings if one.code is Code.STORE_UNAVAILABLE}
        counts: Counter[tuple[Code, str, bool]] = Counter()
        packs: dict[tuple[Code, str, bool], str] = {}
        for one in findings:
            if not one.healed and one.code in STATES and one.store in away:
                continue  # what is wrong is the store
            store = "" if one.code is Code.UNDER_REPLICATED else one.store
            key = (one.code, store, one.healed or one.code in MOMENTARY)
            counts[key] += 1
            packs[key] = one.pack if counts[key] == 1 else ""
        found = []
        for key, count in counts.items():
            code, store, is_over = key
            severity = Finding(code).severity
            told = Condition(code=code, store=store, work=work, count=count, severity=severity, pack=packs[key])
            if not is_over:
                found.append(told)
            elif (severity is Severity.ERROR and code not in ROUTINE) or code in MOMENTARY:
                self.healed.append(dataclasses.replace(told, how="healed"))
        return found

    def judges(self, one: Condition) -> bool:
        """Tell whether this work would have said so if it were still wrong."""
        if one.incident or one.work == STANDING or (one.store and one.store not in self._known):
            return True
        if one.code == WORK_FAILED:
            return one.work == self._name
        if isinstance(self._result, MocbanError):
            return False
        if one.code == Code.UNDER_REPLICATED and isinstance(self._result, Report | Replicated):
            return True
        return one.work == self._name

    def how(self, one: Condition) -> str:
        """Return how something ended."""
        found = (row.how for row in self._incidents if row.incident == one.incident and row.how)
        return next(found, "gone")


def _summary(result: Result) -> dict[str, Any]:
    """Return status, run and figures of a result."""
    if isinstance(result, MocbanError):
        return {"status": 1, "error": type(result).__name__}
    if isinstance(result, Replicated):
        short = bool(result.short or result.failures)
        return {"status": 4 if short else 0, "figures": {"copied": result.copied, "bytes": result.bytes}}
    if isinstance(result, Report):
        figures = {name: value for name, value in dataclasses.asdict(result.coverage).items() if isinstance(value, int)}
        return {"status": result.exit_status, "run": result.run, "figures": figures}
    return {"status": 3 if any(one.is_open for one in result or ()) else 0}


# ---- what waits --------------------------------------------------------------------------------------------------


def _make_room(state: _State, found: Mapping[str, Channel]) -> int:
    """Give up the oldest messages where too many wait; return how many that were since the last one went out."""
    for name in found:
        waiting = state.waiting.get(name, [])
        too_many = max(0, len(waiting) - WAITING + 1)
        state.given_up += too_many
        del waiting[:too_many]
    return state.given_up


def _enqueue(state: _State, found: Mapping[str, Channel], told: Message, now: datetime) -> None:
    state.told = now.isoformat(timespec="seconds")
    for name in found:
        state.waiting.setdefault(name, []).append(told)


def _deliver(state: _State, found: Mapping[str, Channel]) -> list[MocbanError]:
    """Try every channel, the oldest message first; a channel that fails is left until the next call."""
    failures: list[MocbanError] = []
    state.waiting = {name: messages for name, messages in state.waiting.items() if name in found}
    for name, deliver in found.items():
        waiting = state.waiting.get(name, [])
        while waiting:
            try:
                deliver(waiting[0])
            except RefusedError as error:
                failures.append(error)
            except MocbanError as error:
                failures.append(UndeliveredError(channel=name, count=len(waiting), reason=_why(error)))
                break
            del waiting[0]
    if not any(state.waiting.values()):
        state.given_up = 0
    return failures


def _why(error: MocbanError) -> object:
    return error.evidence["reason"] if isinstance(error, DeliveryError) else error


def _read(path: str) -> _State:
    """Return what was kept; what cannot be understood is told anew."""
    try:
        values = json.loads(read_file(path, STATE_LIMIT))
        return _State(
            told=str(values["told"]),
            conditions={key: Condition(**one) for key, one in values["conditions"].items()},
            healed={key: Condition(**one) for key, one in values["healed"].items()},
            waiting={name: [Message(**one) for one in messages] for name, messages in values["waiting"].items()},
            given_up=int(values["given_up"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return _State()


def _write(path: str, state: _State) -> None:
    replace_file(path, json.dumps(dataclasses.asdict(state), ensure_ascii=False).encode())
