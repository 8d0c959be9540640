"""Deadlines: when each copy is read again, how fast that must go, what is read next, and whether all will be in time.

Arithmetic over numbers; it knows no clock, no catalog and no store. The contract is that every copy is verified within
its longest allowed age D. Instants are seconds on a line that no change of a clock bends (see ``timeline``).

Each copy has a place in a cycle of ``CYCLE`` x D, given by its pack's digest and by which of the stores it lies on: so
the work is even over the cycle, and the copies of one pack come one after the other instead of all at once. Copies that
are staggered are lost 0.9 times as often as copies audited at random, those audited together 1.3 times
(docs/decisions/0022).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from preservation.windows import ALWAYS, Windows

HOUR = 3_600.0
DAY = 86_400.0

CYCLE = 0.62
"""The share of D after which a copy is read again; the rest is for downtime, failures and growth."""

EARLY = 1 / 8
"""The share of a cycle by which a reading may miss its place and still count as the one of this cycle."""

AHEAD = 0.9 * EARLY * CYCLE
"""The share of D by which a copy may be read before it is due; earlier, it would come round once more at its place."""

LATE = 0.75
"""The share of D after which a copy is told to be late; (1 + EARLY) * CYCLE stays below it."""

GRACE = 0.05
"""The share of D within which what is behind is caught up: as fast as that, and no faster."""

NEW_WITHIN = DAY
"""A copy that was never verified is read at once; the rate is reckoned with this long."""

FLOOR = 8 << 20
"""Bytes a second below which no pace goes: a pack is read in a minute, with long rests between, not in a week."""

RESERVE = 1.5
"""The pace over the rate that is needed: for what lies between two slices of work."""

OVERHEAD = 1 << 20
"""Bytes that a copy counts beside its own: to open it and to record what was seen takes time too."""

SHIFT = 12 * HOUR
"""A store that needs little is read this often at most, some copies at a time."""

TICK = 300.0
"""A store that needs much is looked at this often."""

SLICE_SECONDS = 900.0
SLICE_COPIES = 500
"""How long one slice of work lasts about, and how many copies of a store it has at most; other work is done between."""

CREDIT = DAY
"""The longest rest, in open seconds, that is made up for in one slice."""

AGAIN_AFTER = 0.9 * DAY
AGAIN_AT_ONCE = 50
"""A copy that is not good and could not be healed is looked at again so often, so many of a store in one slice."""

UPTIME = 0.9
"""The share of open time that a forecast counts on."""

STEP = 6 * HOUR
"""How finely the time to a deadline is reckoned; it is cut off to this."""

HORIZON = 2.0
"""How far a forecast looks, in D."""


@dataclass(frozen=True, slots=True)
class Held:
    """A copy as its deadline sees it: sizes in bytes, instants in seconds, ``longest`` is its D in seconds.

    ``verified`` is None if it never was; ``tried`` is when somebody looked last, whatever was seen. ``due`` comes from
    ``due_at``. ``windows`` are those of its fonds; those of its store hold as well.
    """

    pack: str
    store: str
    size: int
    written: float
    verified: float | None
    tried: float | None
    good: bool
    longest: float
    due: float
    windows: Windows = ALWAYS

    @property
    def since(self) -> float:
        """Return since when its age is counted."""
        return self.written if self.verified is None else self.verified

    @property
    def overdue(self) -> float:
        """Return when it is older than it may be."""
        return self.since + self.longest

    @property
    def cost(self) -> int:
        """Return what reading it takes, in bytes."""
        return self.size + OVERHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One store at one moment. ``local`` is the time on the wall that windows go by; ``most`` 0 is no limit.

    ``rested`` are the seconds since the store was last read, ``growth`` bytes a second that new copies bring,
    ``paused`` the seconds that a pause still lasts, ``measured`` the bytes a second of a store that could not keep up.
    """

    now: float
    local: datetime
    windows: Windows = ALWAYS
    most: float = 0.0
    rested: float = math.inf
    growth: float = 0.0
    paused: float = 0.0
    measured: float = 0.0

    @property
    def capacity(self) -> float:
        """Return how fast the store can be read at best, as far as it is known."""
        return min(self.most or math.inf, self.measured or math.inf)

    def available(self, seconds: float) -> float:
        """Return for how many of the next ``seconds`` the store may be read."""
        if self.windows.always:
            return max(0.0, seconds - self.paused)
        return self.windows.open_seconds(self.local + timedelta(seconds=self.paused), seconds - self.paused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What is read next of one store. ``rate`` is the slowest that meets all deadlines, ``pace`` what is read with.

    Without ``chosen`` there is nothing to do before ``wait`` seconds have passed; new copies excepted.
    """

    rate: float
    pace: float
    chosen: tuple[Held, ...] = ()
    wait: float = 0.0


def due_at(verified: float | None, written: float, longest: float, place: float) -> float:
    """Return when a copy is to be read: at its ``place`` (0 to 1) in the cycle, a short while after its last reading.

    It comes at the latest (1 + EARLY) cycles after the last one, whatever the place is.
    """
    if verified is None:
        return written
    cycle = CYCLE * longest
    return (place + math.ceil((verified + EARLY * cycle) / cycle - place)) * cycle


def place_of(pack: str, number: int, stores: int) -> float:
    """Return the place in the cycle of a pack's copy on the store that is the ``number``-th of so many."""
    return (int(pack[:8], 16) / (1 << 32) + number / max(1, stores)) % 1.0


def needed_rate(copies: Iterable[Held], at: Conditions) -> float:
    """Return the slowest constant rate, bytes an open second, by which each of ``copies`` is read when it is due.

    ``copies`` are in the order in which they are due; what is behind is given a grace, so that it is caught up without
    a storm. The slowest rate for deadlines in order is the greatest of work by a deadline over time to it.
    """
    rate = total = 0.0
    step, seconds = -1.0, math.inf
    for copy in copies:
        grace = GRACE * copy.longest
        left = min(NEW_WITHIN, grace) if copy.verified is None else max(copy.due - at.now, grace)
        if left // STEP != step:
            step = left // STEP
            seconds = max(HOUR, at.available(step * STEP))
        total += copy.size + OVERHEAD
        rate = max(rate, total / seconds)
    return rate


def slice_of(copies: Sequence[Held], at: Conditions) -> Slice:
    """Choose what is read next: new copies at once, others in the order in which they are due, as the rate has it."""
    waiting = sorted((copy for copy in copies if copy.good), key=_due)
    rate = needed_rate(waiting, at) + (at.growth if waiting else 0.0)
    pace = min(max(FLOOR, rate * RESERVE), at.most or math.inf)
    closes = at.windows.closes_in(at.local)
    if at.paused or not closes:
        opens = at.windows.opens_in(at.local + timedelta(seconds=at.paused))
        return Slice(rate=rate, pace=pace, wait=at.paused + opens)
    most = pace * min(SLICE_SECONDS, closes)
    ready = [copy for copy in waiting if copy.windows.always or copy.windows.is_open(at.local)]
    chosen = _again(copies, at)
    chosen += _within([copy for copy in ready if copy.verified is None], most, at_least_one=True)
    old = [copy for copy in ready if copy.verified is not None and copy.due <= at.now + AHEAD * copy.longest]
    if rate > at.capacity:  # the cycle cannot be kept: whoever is nearest to being overdue comes first, places wait
        old = sorted((copy for copy in ready if copy.verified is not None), key=_overdue)
    if not old:
        return Slice(rate=rate, pace=pace, chosen=tuple(chosen), wait=SHIFT)
    is_busy = rate * SHIFT > most  # the work of a shift does not fit into one slice
    if not chosen and not is_busy and at.rested < SHIFT:
        return Slice(rate=rate, pace=pace, wait=SHIFT - at.rested)
    rested = min(at.rested, 7 * DAY)
    rested = min(CREDIT, at.windows.open_seconds(at.local - timedelta(seconds=rested), rested))
    spare = 1 - rate / pace
    allowed = rate * rested / spare if spare > 0 else math.inf  # what the rate brings in the rest and in the slice
    is_turn = allowed >= old[0].cost or (old[0].due <= at.now and at.rested >= SHIFT)
    chosen += _within(old, min(allowed, most), at_least_one=is_turn)[: SLICE_COPIES - len(chosen)]
    wait = 0.0 if chosen else min(SHIFT, max(TICK if is_busy else HOUR, (old[0].cost - allowed) * spare / rate))
    return Slice(rate=rate, pace=pace, chosen=tuple(chosen), wait=wait)


def _due(copy: Held) -> float:
    return copy.due


def _overdue(copy: Held) -> float:
    return copy.overdue


def _again(copies: Iterable[Held], at: Conditions) -> list[Held]:
    bad = [copy for copy in copies if not copy.good and at.now - (copy.tried or 0.0) >= AGAIN_AFTER]
    return sorted(bad, key=lambda copy: copy.tried or 0.0)[:AGAIN_AT_ONCE]


def _within(copies: Sequence[Held], most: float, *, at_least_one: bool) -> list[Held]:
    """Return the first copies that take no more than ``most`` bytes together."""
    total, count = 0.0, 0
    for copy in copies:
        total += copy.cost
        if total > most or count == SLICE_COPIES:
            break
        count += 1
    return list(copies[: max(count, int(at_least_one))])


def growth_of(copies: Iterable[Held], now: float, longest: float) -> float:
    """Return how many bytes a second were written to a store in the last ``longest`` seconds, spread over them."""
    return sum(copy.cost for copy in copies if now - copy.written < longest) / longest


def breach(copies: Iterable[Held], at: Conditions, *, longest: float) -> float | None:
    """Return when a copy will be older than it may be if all goes on as it does; None if none within the horizon.

    What is overdue already is no forecast, but its work is counted. Three things can lead to a breach: too little open
    time before a deadline, a store that is too slow for what it has, one that will be too slow for what it will have.
    """
    speed = at.capacity * UPTIME - at.growth
    total = 0.0
    weight = 0.0
    for copy in sorted(copies, key=lambda copy: copy.overdue):
        total += copy.cost
        weight += copy.cost / copy.longest
        left = copy.overdue - at.now
        if left < 0:
            continue
        open_seconds = at.available(left)
        if open_seconds <= 0 or speed <= 0 or total / speed > open_seconds:
            return copy.overdue
    room = at.capacity * UPTIME * at.windows.share - weight - at.growth
    if at.growth > 0 and room < at.growth * HORIZON:  # each D of growth adds its rate to what must be read steadily
        return at.now + max(0.0, room / at.growth) * longest
    return None


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ``ordered`` numbers that at least this share of them does not exceed; 0 of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
