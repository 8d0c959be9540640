"""Our own readers and converters, run in the sandbox as any other tool: one task, an answer as JSON, an end.

Hostile files are read here and nowhere else, so that what they do to us they do where there is no network, little
memory and little time.
"""

import json
import sys
from collections.abc import Sequence

from preservation.migration.conversion import Room
from preservation.migration.sandbox import Outcome, package_root, run

_START = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);"
    "from preservation.migration.tasks import main;main(sys.argv[2:])"
)


def command(task: str, *arguments: str) -> list[str]:
    """The command that does a task; modules come from where ours do, never from the working directory."""
    here = package_root()
    places = [here, *(place for place in sys.path if place.startswith("/") and place != here)]
    return [sys.executable, "-I", "-c", _START, json.dumps(places), task, *arguments]


def do(task: str, arguments: Sequence[str], room: Room) -> Outcome:
    """Do a task in a room."""
    return run(command(task, *arguments), room.folder, room.sandbox, room.limits)


def answer(task: str, arguments: Sequence[str], room: Room) -> dict[str, object] | None:
    """The answer of a task, or none if it came to no end or its answer cannot be read."""
    outcome = do(task, arguments, room)
    if outcome.late or outcome.status:
        return None
    try:
        value = json.loads(outcome.output)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
