"""What people read, in their language: errors, sizes, times, names that cannot do harm.

The environment (``LANGUAGE``, ``LC_ALL``, ``LC_MESSAGES``, ``LANG``) decides the language, as gettext has it; with none
of them set it is English.
"""

import gettext
import os
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone, tzinfo

from storage_backends.errors import MocbanError, Phrase, is_worded

DOMAIN = "mocban"
LOCALE = os.path.join(os.path.dirname(__file__), "locale")
DEFAULT_ZONE = timezone(timedelta(hours=7))
"""The time that people are shown where ``TZ`` is not set (Việt Nam)."""

gettext.bindtextdomain(DOMAIN, LOCALE)
gettext.textdomain(DOMAIN)  # click asks the same domain, so that its own messages are translated too

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def _(text: str) -> str:
    """Return ``text`` in the language of the person."""
    return gettext.gettext(text) if text else ""


ngettext = gettext.ngettext

LANGUAGES = ("en", "vi")


def asked_language() -> str:
    """Return the language that the environment asks for, ``en`` or ``vi``; nothing if it asks for neither."""
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        for name in os.environ.get(variable, "").split(":"):
            if name[:2] in LANGUAGES and not name[2:3].isalpha():
                return name[:2]
    return ""


def local_zone() -> tzinfo | None:
    """Return the time zone that people are shown; None is the system's."""
    return None if os.environ.get("TZ") else DEFAULT_ZONE


def in_language(language: str, text: str) -> str:
    """Return ``text`` in ``language`` (``en``, ``vi``), whatever the person's own is."""
    return gettext.translation(DOMAIN, LOCALE, languages=[language], fallback=True).gettext(text) if text else ""


def harmless(text: object) -> str:
    """Return a name as one line that cannot steer a terminal: what is not printable is escaped."""
    line = os.fsdecode(text) if isinstance(text, bytes) else str(text)
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def filled(template: str, **evidence: object) -> str:
    """Return ``template`` in the person's language, filled with ``evidence``, of which nothing steers a terminal."""
    return _(template).format(**{name: _presented(name, value) for name, value in evidence.items()})


def _presented(name: str, value: object) -> object:
    if isinstance(value, (MocbanError, Phrase)):
        return told(value)
    if isinstance(value, (str, bytes)):
        return harmless(_(value) if is_worded(name) and isinstance(value, str) else value)
    return value if value is None or isinstance(value, (int, float, list, tuple)) else harmless(value)


def told(said: MocbanError | str) -> str:
    """Return what an error or a phrase says, in the person's language; any other text as it is, made harmless."""
    return filled(said.template, **said.evidence) if isinstance(said, (MocbanError, Phrase)) else harmless(said)


def size_text(count: int) -> str:
    """Return a number of bytes for people, in binary units."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - a binary unit is 1024 of the one before
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def number_text(count: int) -> str:
    """Return a number with its thousands set off as the language does it: 1,234 or 1.234."""
    return f"{count:,}".replace(",", _("thousands separator|,").rpartition("|")[2])


def time_text(iso: str) -> str:
    """Return an ISO 8601 time as local time with its offset; an empty one as a dash."""
    if not iso:
        return "-"
    return datetime.fromisoformat(iso).astimezone(local_zone()).strftime("%Y-%m-%d %H:%M:%S %z")


def width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes."""
    columns = 0
    for letter in text:
        if not unicodedata.combining(letter):
            columns += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return columns


def table(rows: Iterable[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> Iterable[str]:
    """Yield the lines of a table whose first row is its head; the columns ``right`` are set to the right."""
    lines = list(rows)
    widths = [max(width(row[column]) for row in lines) for column in range(len(lines[0]))]
    for row in lines:
        cells = []
        for column, text in enumerate(row):
            space = " " * (widths[column] - width(text))
            cells.append(space + text if column in right else text + space)
        yield "  ".join(cells).rstrip()
