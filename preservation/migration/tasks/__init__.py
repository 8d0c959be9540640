"""What our own code does inside the sandbox: a task is a module and a verb of it, its answer one JSON object."""

import importlib
import json
from collections.abc import Sequence


class TaskRefusedError(Exception):
    """The file is not what the task is for; the answer says so instead of failing."""


def main(arguments: Sequence[str]) -> None:
    """Do `module.verb` with its arguments and write what it answers to descriptor 1."""
    module, _, verb = arguments[0].partition(".")
    task = getattr(importlib.import_module(f"preservation.migration.tasks.{module}"), verb)
    try:
        found = task(*arguments[1:])
    except TaskRefusedError as error:
        found = {"refused": str(error)}
    with open(1, "wb", closefd=False) as output:
        output.write(json.dumps(found).encode())
