"""The worker process of the second opinion: reads paths from standard input and writes what pygfried says of each.

The library is imported here and nowhere else. The process ends when its standard input does; an alarm ends it when a
file takes too long and nobody has done so yet.
"""

import os
import resource
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from preservation.formats.frames import framed, read_json

UNKNOWN = "UNKNOWN"


def main(alarm_seconds: float) -> None:
    """Answer until standard input ends; more than ``alarm_seconds`` for one file ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def write(value: Mapping[str, object]) -> None:
        answers.write(framed(value))
        answers.flush()

    def read(length: int) -> bytes:
        data = requests.read(length)
        if len(data) < length:
            raise EOFError
        return data

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        library: Any = import_module("pygfried")
        write(_hello(library))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must be told instead of a silent death
        write({"failed": f"{type(error).__name__}: {error}"[:200]})
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        try:
            path = read_json(read)["path"]
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, alarm_seconds)
        try:
            write(said(library.identify(path, detailed=True)))
        except Exception as error:  # noqa: BLE001 - a file that defeats the tool is a result, not an end
            write({"failed": type(error).__name__})
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hello(library: Any) -> dict[str, object]:
    version = getattr(library, "__version__", "") or library.version()
    return {"tool": f"siegfried {version}", "signatures": _signatures(library)}


def _signatures(library: Any) -> str:
    """Return which signatures it has: it says so only where it looks at something."""
    found = library.identify(os.devnull, detailed=True)
    return "; ".join(str(one.get("details", "")) for one in found.get("identifiers", ()))[:200]


def said(found: Mapping[str, Any]) -> dict[str, object]:
    """Return PUIDs and what they rest on, as the protocol has them, from what the library says in detail."""
    files = found.get("files", ())
    matches = [one for file in files for one in file.get("matches", ())]
    puids = sorted({str(one.get("id")) for one in matches} - {UNKNOWN, ""})
    if not files or (not puids and any(file.get("errors") for file in files)):
        return {"failed": "it could not look"}
    bases = " ".join(str(one.get("basis", "")) for one in matches)
    basis = "extension"
    if "container" in bases:
        basis = "container"
    elif any(word in bases for word in ("byte match", "xml match", "text match", "riff match")):
        basis = "signature"
    return {"puids": puids, "basis": basis}
