"""The heartbeat: a small file in which the service says that it is alive, what it does and what it could not do.

It is a dead-man switch: who looks at an old one knows that nobody audits. It is replaced in one step, may be lost
without harm, and is read without rights to write.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from preservation.ledger.events import time_text
from preservation.repository import Repository
from storage_backends.errors import MocbanError, from_kept, kept

FILE = "service.json"
LIMIT = 1 << 20

STOPPED_AFTER = timedelta(hours=1)
"""A service whose last beat is older has stopped."""

STUCK_AFTER = timedelta(days=1)
"""So has one that is alive and has not come round for as long: one of its pieces of work hangs."""

STOPPED_AFTER_ONCE = timedelta(hours=36)
"""Where ``serve --once`` is called by cron, a missed night is noticed after so long."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 300.0, 6 * 3_600.0
"""Seconds after which work that failed is tried again; each further failure doubles them."""

LONGEST_REASON = 500
"""Characters of the reason of a failure that are kept."""


@dataclass(slots=True, kw_only=True)
class Failure:
    """Work that failed and was not done since: how often, since when, when it is tried again, and why."""

    count: int
    since: str
    again: str
    error: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """What the service knows of itself. Times ISO 8601 UTC; ``ticks`` counts seconds since the machine was started.

    ``gained`` are the seconds by which the clock has jumped ahead and which are not in the ledger yet.
    ``done`` is when each piece of work was done last, ``measured`` how many bytes a second a store gave that could not
    keep up with what was asked of it.
    """

    alive: str = ""
    round: str = ""
    mode: str = ""
    doing: str = ""
    machine: str = ""
    ticks: float = 0.0
    gained: float = 0.0
    done: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)

    def failed(self, name: str, error: MocbanError, now: datetime) -> None:
        """Note that a piece of work failed."""
        before = self.failures.get(name)
        count = before.count + 1 if before is not None else 1
        wait = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ** min(count - 1, 10))
        self.failures[name] = Failure(
            count=count,
            since=before.since if before is not None else time_text(now),
            again=time_text(now + timedelta(seconds=wait)),
            error=type(error).__name__,
            reason=_short(str(error)),
        )

    def succeeded(self, name: str, now: datetime) -> None:
        """Note that a piece of work was done."""
        self.failures.pop(name, None)
        self.done[name] = time_text(now)

    def may_try(self, name: str, now: datetime) -> bool:
        """Tell whether a piece of work did not fail just now; a clock that went back makes nobody wait longer."""
        failure = self.failures.get(name)
        if failure is None:
            return True
        wait = (datetime.fromisoformat(failure.again) - now).total_seconds()
        return not 0 < wait <= LONGEST_BACK_OFF

    def rested(self, name: str, now: datetime) -> timedelta:
        """Return how long ago a piece of work was done; for ever if it was not, or if the clock has gone back since."""
        time = self.done.get(name)
        passed = now - datetime.fromisoformat(time) if time else timedelta.max
        return timedelta.max if passed < timedelta(0) else passed

    def silence(self, now: datetime) -> timedelta | None:
        """Return how long nobody has been at work, if that is too long; None if all is well or nobody ever was."""
        if not self.alive:
            return None
        beat = now - datetime.fromisoformat(self.alive)
        if self.mode == "once":
            return beat if beat > STOPPED_AFTER_ONCE else None
        round_ = now - datetime.fromisoformat(self.round or self.alive)
        if beat > STOPPED_AFTER:
            return beat
        return round_ if round_ > STUCK_AFTER else None


def _short(reason: str) -> str:
    """Return a reason that is not too long to be kept; a longer one is cut, and English from then on."""
    return reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON]


def _failure(*, said: object = None, **values: Any) -> Failure:
    """Return a failure as it was kept; ``said`` is its reason as a phrase, for whoever reads it in another language."""
    found = Failure(**values)
    if said is not None and (reason := from_kept(said)) == found.reason:
        found.reason = reason
    return found


def read_heartbeat(repository: Repository) -> Heartbeat:
    """Return the last heartbeat; an empty one if there is none or it cannot be understood."""
    try:
        with open(os.path.join(repository.staging, FILE), "rb") as file:
            values = json.loads(file.read(LIMIT))
        failures = {name: _failure(**one) for name, one in values.pop("failures").items()}
        found = Heartbeat(**values, failures=failures)
        for time in (found.alive, found.round, *found.done.values(), *(one.again for one in failures.values())):
            if time:
                datetime.fromisoformat(time)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return Heartbeat()
    return found


def write_heartbeat(staging: str, heartbeat: Heartbeat) -> None:
    """Replace the heartbeat in the folder ``staging``; a full disk leaves the old one, which says enough."""
    path = os.path.join(staging, FILE)
    with suppress(OSError):
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                values = asdict(heartbeat)
                for name, failure in heartbeat.failures.items():
                    values["failures"][name]["said"] = kept(failure.reason)
                json.dump(values, file)
            os.rename(path + ".new", path)
        except OSError:
            os.unlink(path + ".new")
            raise
