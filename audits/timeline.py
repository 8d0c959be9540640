"""The timeline: how much time has really passed between two events, though the clock was moved in between.

The ledger records a clock that is behind its last event, and the service one that has run ahead of time by a day or
more, with the seconds that it jumped. Between two such events times are as good as the clock; so an instant on the line
is a time less all jumps before it, and ages are differences of instants. A clock that was wrong for an hour and put
right again leaves the ages as if nothing had been (docs/decisions/0023).
"""

import json
from dataclasses import dataclass
from datetime import datetime

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.marks import SKEWS
from preservation.catalog.rows import MarkRow
from preservation.repository import Repository

AHEAD = 86_400.0
"""A clock that gains as many seconds on the machine's own count has jumped."""

BEHIND = 300.0
"""So has one that is as many seconds behind the last event; the ledger takes it so too."""

SLACK = 6 * 3_600.0
"""How long after a jump it may be noticed at the latest, while the service runs."""


@dataclass(frozen=True, slots=True)
class Skew:
    """A jump of the clock: what it showed when that was noticed, and by how many seconds it had jumped."""

    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Skews in the order in which they happened, and what the clock shows now; all in seconds since 1970."""

    skews: tuple[Skew, ...]
    clock: float

    @property
    def now(self) -> float:
        """Return the present instant."""
        return self.clock - sum(skew.seconds for skew in self.skews)

    def instant(self, time: str) -> float | None:
        """Return the instant of a time of the ledger (ISO 8601); None of an empty one. None is later than now.

        A time that the clock has shown twice is taken for the later of the two.
        """
        if not time:
            return None
        shown = datetime.fromisoformat(time).timestamp()
        if not self.skews:
            return min(shown, self.clock)
        offset = sum(skew.seconds for skew in self.skews)
        end = self.clock
        for skew in reversed(self.skews):
            if skew.after - SLACK <= shown <= end + SLACK:
                break
            offset -= skew.seconds
            end = skew.after - skew.seconds
        return min(shown - offset, self.now)

    def shown(self, instant: float) -> float:
        """Return what the clock shows at an instant that is to come."""
        return instant + sum(skew.seconds for skew in self.skews)


def skews_of(view: View) -> tuple[Skew, ...]:
    """Return the jumps that the ledger knows."""
    mark = rows.one(view, MarkRow, SKEWS)
    found = json.loads(mark.value) if mark is not None else []
    return tuple(Skew(datetime.fromisoformat(time).timestamp(), float(seconds)) for time, seconds in found)


def timeline(repository: Repository, view: View) -> Timeline:
    """Return the timeline as of now; a clock behind the ledger's last event has jumped, recorded or not."""
    clock = repository.world.now().timestamp()
    skews = skews_of(view)
    unrecorded = jump_behind(repository, clock)
    return Timeline((*skews, Skew(clock, unrecorded)) if unrecorded else skews, clock)


def jump_behind(repository: Repository, clock: float) -> float:
    """Return by how many seconds (negative) the clock is behind the last event; 0 if that is no jump."""
    last = next(repository.ledger.records(max(0, repository.ledger.size - 1)), None)
    behind = clock - last.time.timestamp() if last is not None else 0.0
    return behind if behind < -BEHIND else 0.0


def jump_ahead(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return how many seconds the clock gained between two looks at (clock, seconds since the machine was started).

    0 if that is no jump. A clock that goes back is seen by the ledger, whose last event is then in the future.
    """
    gained = (after[0] - before[0]) - (after[1] - before[1])
    return gained if gained >= AHEAD else 0.0
