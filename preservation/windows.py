"""Windows: the hours of the week in which something may be done, as an administrator writes them.

A window is days, hours or both: ``22:00-06:00``, ``Sat-Sun``, ``Mon-Fri 22:00-06:00``; several are joined by commas.
Hours that go past midnight belong to the day on which they begin. Times are those of the clock on the wall: nights
in which it is moved are an hour shorter or longer.
"""

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 1_440
WEEK = 7 * DAY
"""Minutes."""

_DAY_NAME = "|".join(DAYS)
_PART = re.compile(
    rf"(?:(?P<first>{_DAY_NAME})(?:-(?P<last>{_DAY_NAME}))?)?"
    r"(?:(?P<gap> +)?(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})-(?P<hour2>[0-9]{2}):(?P<minute2>[0-9]{2}))?"
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Spans of the week in minutes since Monday 0:00, in order, none touching the next."""

    spans: tuple[tuple[int, int], ...]

    @property
    def always(self) -> bool:
        """Tell whether they are never closed."""
        return self.spans == ((0, WEEK),)

    @property
    def share(self) -> float:
        """Return how much of a week they are open, 0 to 1."""
        return _sums(self.spans)[-1] / WEEK

    def is_open(self, local: datetime) -> bool:
        """Tell whether they are open at a local time."""
        return self.closes_in(local) > 0

    def closes_in(self, local: datetime) -> float:
        """Return in how many seconds they close: 0 if they are closed, infinite if they never close."""
        if self.always:
            return math.inf
        minute = _minute(local)
        number = bisect_right(self.spans, (minute, math.inf)) - 1
        if number < 0 or minute >= self.spans[number][1]:
            return 0.0
        end = self.spans[number][1]
        if end == WEEK and self.spans[0][0] == 0:
            end += self.spans[0][1]
        return (end - minute) * 60.0

    def opens_in(self, local: datetime) -> float:
        """Return in how many seconds they open: 0 if they are open, infinite if they never do."""
        if self.is_open(local):
            return 0.0
        minute = _minute(local)
        return min(((begin - minute) % WEEK for begin, _ in self.spans), default=math.inf) * 60.0

    def open_seconds(self, local: datetime, seconds: float) -> float:
        """Return for how many of the next ``seconds`` after a local time they are open."""
        if self.always:
            return max(0.0, seconds)
        minute = _minute(local)
        return (self._before(minute + max(0.0, seconds) / 60.0) - self._before(minute)) * 60.0

    def _before(self, minute: float) -> float:
        """Return the open minutes from a Monday 0:00 to ``minute`` after it, which may be weeks later."""
        weeks, rest = divmod(minute, WEEK)
        sums = _sums(self.spans)
        number = bisect_right(self.spans, (rest, math.inf))
        within = sums[number] - max(0.0, self.spans[number - 1][1] - rest) if number else 0.0
        return weeks * sums[-1] + within


@lru_cache(maxsize=256)
def _sums(spans: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Return the open minutes before each span, and those of the week."""
    return tuple(accumulate((end - begin for begin, end in spans), initial=0))


ALWAYS = Windows(((0, WEEK),))


def windows_of(text: str) -> Windows:
    """Return the windows that ``text`` says; an empty text is always.

    Raises:
        ValueError: it says none; the message holds the part that cannot be understood.
    """
    if not text.strip():
        return ALWAYS
    minutes: list[tuple[int, int]] = []
    for part in text.split(","):
        minutes += _spans(part.strip())
    return Windows(_joined(minutes))


def _spans(part: str) -> list[tuple[int, int]]:
    match = _PART.fullmatch(part.lower())
    if not part or match is None or (match["first"] is not None and match["hour"] is not None and not match["gap"]):
        raise ValueError(part)
    days = range(7)
    if match["first"] is not None:
        first = DAYS.index(match["first"])
        last = DAYS.index(match["last"] or match["first"])
        days = range(first, first + (last - first) % 7 + 1)
    begin, end = 0, DAY
    if match["hour"] is not None:
        begin = _time_of_day(part, match["hour"], match["minute"])
        end = _time_of_day(part, match["hour2"], match["minute2"])
        end += DAY if end < begin else 0
    return [(day % 7 * DAY + begin, day % 7 * DAY + end) for day in days]


def _time_of_day(part: str, hour: str, minute: str) -> int:
    found = int(hour) * 60 + int(minute)
    if found > DAY or int(minute) > 59:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(part)
    return found


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the spans in order within one week, those that touch made one, without empty ones."""
    within = [(begin, min(end, WEEK)) for begin, end in spans] + [(0, end - WEEK) for _, end in spans if end > WEEK]
    found: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in within if span[0] < span[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return tuple(found)


def _minute(local: datetime) -> float:
    return local.weekday() * DAY + local.hour * 60 + local.minute + local.second / 60.0
