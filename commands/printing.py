"""Standard output carries the result and nothing else; everything else goes to standard error."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from commands.wording import _, filled, table
from storage_backends.errors import marked


def prepare_streams() -> None:
    """Let no letter stop us: what the encoding of a stream cannot say is escaped."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(template: str = "", **evidence: object) -> None:
    """Print one line of the result."""
    sys.stdout.write(filled(template, **evidence) + "\n")


def write(line: str) -> None:
    """Print a line of the result that is ready as it is."""
    sys.stdout.write(line + "\n")


def say_table(rows: Iterable[tuple[str, ...]], *, right: Iterable[int] = ()) -> None:
    """Print a table whose first row is its head."""
    for line in table(rows, right=frozenset(right)):
        write(line)


def note(template: str, **evidence: object) -> None:
    """Tell the person something that is not the result."""
    sys.stderr.write(filled(template, **evidence) + "\n")


def warn(template: str, **evidence: object) -> None:
    """Tell the person what they should look at."""
    sys.stderr.write(_(marked("Warning: {text}")).format(text=filled(template, **evidence)) + "\n")


def dumped(value: object) -> str:
    """Return JSON as this standard output can carry it."""
    import json  # noqa: PLC0415 - help does without it

    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not unicode)
    return text if text.isascii() or _encodable(text) else json.dumps(value)


def _encodable(text: str) -> bool:
    """Tell whether there is no half of a surrogate pair, as names that are not UTF-8 have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_json(value: object) -> None:
    """Print a JSON value on one line."""
    write(dumped(value))


def write_json_list(values: Iterable[object], *, end: str = "\n") -> None:
    """Print a JSON list, an element a line, as they come."""
    separator = "["
    for value in values:
        sys.stdout.write(f"{separator}\n{dumped(value)}")
        separator = ","
    sys.stdout.write(("[]" if separator == "[" else "\n]") + end)


def write_json_object(values: Mapping[str, Any], lists: Mapping[str, Iterable[object]]) -> None:
    """Print a JSON object whose last members are lists that may be long: they are printed as they come."""
    sys.stdout.write(dumped(dict(values)).removesuffix("}"))
    for name, elements in lists.items():
        sys.stdout.write(f", {dumped(name)}: ")
        write_json_list(elements, end="")
    sys.stdout.write("}\n")
