"""How a report speaks: a language with its texts, numbers, dates, and names that cannot do harm."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo

from storage_backends.errors import MocbanError, Phrase, is_worded, marked

LANGUAGES = ("en", "vi")
DEFAULT_ZONE = timezone(timedelta(hours=7))
"""The time that people are shown where nothing else is asked for (Việt Nam)."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DASH = "\N{EN DASH}"
"""Stands where there is nothing to say."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
DAY = 86_400
NAME_LIMIT = 200
"""Letters of a name that are shown; a longer one ends in an ellipsis."""


class LanguageError(MocbanError):
    """A report was asked for in a language that there is none in."""

    template = marked("{language!r}: reports are written in English (en) and Vietnamese (vi)")


def visible(text: object) -> str:
    """Return a text as one line that steers neither a terminal nor the direction of writing.

    What is not printable (controls, escapes, marks of direction, odd spaces) is shown by its escape.
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)


def shortened(text: object) -> str:
    """Return a name from outside as ``visible`` has it, cut if it is very long."""
    line = visible(str(text)[:NAME_LIMIT])
    return line if len(line) < NAME_LIMIT else line[: NAME_LIMIT - 1] + "…"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
class Language:
    """One language. ``translate`` gives the text of a template in it; ``zone`` is where people read the clock."""

    code: str
    translate: Callable[[str], str]
    zone: tzinfo | None = field(default=DEFAULT_ZONE)

    def __post_init__(self) -> None:
        if self.code not in LANGUAGES:
            raise LanguageError(language=self.code)

    def say(self, template: str, **values: object) -> str:
        """Return ``template`` in this language; numbers are written as it writes them, texts made visible."""
        text = self.translate(template) if template else ""
        return text.format(**{name: self._shown(name, value) for name, value in values.items()}) if values else text

    def told(self, said: MocbanError | str) -> str:
        """Return what an error or a phrase says; any other text as it is, made visible."""
        if isinstance(said, (MocbanError, Phrase)):
            return self.say(said.template, **said.evidence)
        return shortened(said)

    def _shown(self, name: str, value: object) -> object:
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return self.number(value)
        if isinstance(value, float):
            return self.decimal(value)
        if isinstance(value, (MocbanError, Phrase)):
            return self.told(value)
        return shortened(self.translate(value) if value and isinstance(value, str) and is_worded(name) else value)

    @property
    def _is_vietnamese(self) -> bool:
        return self.code == "vi"

    def number(self, count: int) -> str:
        """Return a whole number: 1,234,567 or 1.234.567."""
        text = f"{count:,}"
        return text.replace(",", ".") if self._is_vietnamese else text

    def decimal(self, value: float, digits: int = 1) -> str:
        """Return a number with so many digits behind the point: 1,234.5 or 1.234,5."""
        text = f"{value:,.{digits}f}"
        return text.translate(str.maketrans(",.", ".,")) if self._is_vietnamese else text

    def percent(self, part: int, whole: int) -> str:
        """Return a share, cut and never rounded up: 100 % is said of the whole only, 0 % of nothing only."""
        if not whole:
            return DASH
        thousandths = part * 1000 // whole
        if part and not thousandths:
            return "< " + self.decimal(0.1) + " %"
        return (self.number(100) if part == whole else self.decimal(thousandths / 10)) + " %"

    def size(self, count: int) -> str:
        """Return a number of bytes in binary units."""
        value = float(count)
        for unit in UNITS:
            if value < 1024 or unit == UNITS[-1]:  # noqa: PLR2004 - a binary unit is 1024 of the one before
                return f"{self.number(count)} B" if unit == "B" else f"{self.decimal(value)} {unit}"
            value /= 1024
        raise AssertionError

    def local(self, moment: datetime) -> datetime:
        """Return a time as clocks here show it."""
        return moment.astimezone(self.zone)

    def date(self, moment: datetime) -> str:
        """Return a day: 22 Nov 2026 or 22/11/2026."""
        local = self.local(moment)
        if self._is_vietnamese:
            return f"{local:%d/%m}/{local.year:04d}"
        return f"{local.day} {MONTHS[local.month - 1]} {local.year}"

    def moment(self, moment: datetime) -> str:
        """Return a day and a time of day with its offset from UTC."""
        return f"{self.date(moment)}, {self.clock(moment)} {self.offset(moment)}"

    def clock(self, moment: datetime) -> str:
        """Return a time of day."""
        return f"{self.local(moment):%H:%M}"

    def offset(self, moment: datetime) -> str:
        """Return the offset from UTC: +07:00."""
        text = f"{self.local(moment):%z}"
        return f"{text[:3]}:{text[3:5]}"

    def iso_date(self, text: str) -> str:
        """Return the day of an ISO 8601 time; an empty one as a dash."""
        return self.date(datetime.fromisoformat(text)) if text else DASH

    def iso_moment(self, text: str) -> str:
        """Return an ISO 8601 time with its time of day; an empty one as a dash."""
        if not text:
            return DASH
        moment = datetime.fromisoformat(text)
        return f"{self.date(moment)}, {self.clock(moment)}"

    def days(self, seconds: float) -> str:
        """Return a length of time in days, in hours below two days."""
        if seconds < 2 * DAY:
            return self.say(marked("{hours} h"), hours=int(seconds // 3600))
        return self.say(marked("{days} d"), days=int(seconds // DAY))
