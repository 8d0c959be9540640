"""A model of stores for simulations: copies that are written, read and damaged; the decisions are the real ones."""

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

from audits.deadlines import (
    DAY,
    LATE,
    SHIFT,
    Conditions,
    Held,
    breach,
    due_at,
    growth_of,
    place_of,
    slice_of,
)
from preservation.windows import ALWAYS, Windows

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
HANOI = timezone(timedelta(hours=7))
MIB = 1 << 20


@dataclass
class Store:
    """One store of the model. ``speed`` is what its medium gives, in bytes a second."""

    number: int
    longest: float
    windows: Windows = ALWAYS
    most: float = 0.0
    speed: float = 200.0 * MIB
    copies: dict[str, Held] = field(default_factory=dict)
    read_at: float = -1e18
    measured: float = 0.0
    away_until: float = 0.0
    paused_until: float = 0.0
    slices: int = 0
    wake: float = 0.0
    reads: int = 0
    bytes_read: int = 0
    per_day: Counter = field(default_factory=Counter)
    """Bytes read, by the day."""


@dataclass
class Breach:
    """A copy that was older than the contract allows."""

    store: int
    age: float
    at: float
    warned: float
    """For how many seconds that was warned of before."""


@dataclass
class World:
    """The whole of a simulation. Times are seconds on the true line; ``local`` turns them into a time on the wall."""

    seed: int
    stores: list[Store]
    local: object = lambda seconds: datetime.fromtimestamp(seconds, HANOI)
    now: float = START
    breaches: list[Breach] = field(default_factory=list)
    warned: dict[int, float] = field(default_factory=dict)
    oldest_share: float = 0.0
    down: float = 0.0

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self._oldest = {store.number: [] for store in self.stores}

    def ingest(self, size):
        pack = self.random.randbytes(32).hex()
        for store in self.stores:
            copy = Held(pack, str(store.number), size, self.now, None, None, True, store.longest, self.now)
            store.copies[pack] = copy
            heapq.heappush(self._oldest[store.number], (self.now, pack))
            store.wake = 0.0

    def conditions(self, store):
        return Conditions(
            now=self.now,
            local=self.local(self.now),
            windows=store.windows,
            most=store.most,
            rested=self.now - store.read_at,
            growth=growth_of(store.copies.values(), self.now, store.longest),
            paused=max(0.0, store.paused_until - self.now),
            measured=store.measured,
        )

    def oldest(self, store):
        """Return the copy that was verified longest ago."""
        heap = self._oldest[store.number]
        while heap and store.copies[heap[0][1]].since != heap[0][0]:
            heapq.heappop(heap)
        return store.copies[heap[0][1]] if heap else None

    def read(self, store, chosen, pace, *, until=None):
        """Read ``chosen`` one after the other; return how long that took."""
        begun = self.now
        speed = min(pace, store.speed)
        for copy in chosen:
            if until is not None and self.now >= until:
                break
            self.now += copy.size / speed + 0.02
            place = place_of(copy.pack, store.number, len(self.stores))
            due = due_at(self.now, copy.written, copy.longest, place)
            store.copies[copy.pack] = replace(copy, verified=self.now, tried=self.now, due=due, good=True)
            heapq.heappush(self._oldest[store.number], (self.now, copy.pack))
            store.reads += 1
            store.bytes_read += copy.size
            store.per_day[int(self.now // DAY)] += copy.size
        taken, self.now = self.now - begun, begun
        return taken

    def damage(self, store, pack):
        """Let a copy be seen bad, and not be healed until it is looked at again."""
        store.copies[pack] = replace(store.copies[pack], good=False, tried=self.now)
        store.wake = 0.0

    def round(self):
        """Do what the service does in one round: a slice of each store, side by side; return when to look again."""
        waits, taken = [], 0.0
        for store in self.stores:
            if max(store.away_until, store.wake) > self.now:
                waits.append(max(store.away_until, store.wake) - self.now)
                continue
            found = slice_of(list(store.copies.values()), self.conditions(store))
            store.wake = self.now + found.wait
            if found.chosen:
                seconds = self.read(store, found.chosen, found.pace)
                store.slices += 1
                store.read_at = self.now + seconds
                taken = max(taken, seconds)
                if seconds > 60 and sum(copy.size for copy in found.chosen) / seconds < 0.8 * found.pace:
                    store.measured = sum(copy.size for copy in found.chosen) / seconds
            waits.append(store.wake - self.now)
        return max(taken, 300.0, min([*waits, SHIFT]))

    def look(self):
        """See how old everything is, as ``status`` would, and keep what breaks the contract."""
        for store in self.stores:
            oldest = self.oldest(store)
            if oldest is None:
                continue
            age = self.now - oldest.since
            self.oldest_share = max(self.oldest_share, age / store.longest)
            if age > LATE * store.longest:
                self.warned.setdefault(store.number, self.now)
            else:
                self.warned.pop(store.number, None)
            if age > 1.1 * store.longest:
                self.breaches.append(
                    Breach(store.number, age / store.longest, self.now, self.now - self.warned[store.number])
                )

    def forecast(self, store):
        return breach(store.copies.values(), self.conditions(store), longest=store.longest)
