"""Runs one call of the command: whatever happens ends in a message that helps and in an exit status."""

import os
import sys
import traceback
from collections.abc import Sequence

import click

from commands import surroundings
from commands.printing import note, prepare_streams
from commands.root import root
from commands.statuses import Status, status_of
from commands.wording import told
from storage_backends.errors import MocbanError, marked


def run(arguments: Sequence[str]) -> int:
    """Carry out ``arguments`` and return the exit status."""
    prepare_streams()
    try:
        with surroundings.handled(surroundings.interrupt):
            status = _carried_out(list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        return Status.ERROR
    except OSError as error:  # standard output is on a full disk
        note(marked("Error: the result could not be written: {reason}"), reason=error.strerror or str(error))
        _abandon_output()
        return Status.ERROR
    return status


def _carried_out(arguments: list[str]) -> int:
    try:
        status = root.main(arguments, prog_name="mocban", standalone_mode=False)
        return Status.DONE if status is None else int(status)
    except BrokenPipeError:
        raise
    except click.ClickException as error:
        error.show()
        return Status.USAGE if isinstance(error, click.UsageError) else Status.ERROR
    except (KeyboardInterrupt, click.Abort):
        note(marked("Interrupted. Nothing that was acknowledged is lost"))
        return Status.INTERRUPTED
    except MocbanError as error:
        _trace()
        note(marked("Error: {message}"), message=told(error))
        return status_of(error)
    except OSError as error:
        _trace()
        place = error.filename or marked("the operating system")
        note(marked("Error: {place}: {reason}"), place=place, reason=error.strerror or str(error))
        return Status.ERROR
    except Exception as error:  # noqa: BLE001 - a defect of ours must end in a message and a status too
        _trace()
        text = f"{type(error).__name__}: {error}"
        note(marked("Error: the program failed ({text}). Set MOCBAN_DEBUG=1 for details"), text=text)
        return Status.ERROR


def _trace() -> None:
    if os.environ.get(surroundings.DEBUG):
        traceback.print_exc()


def _abandon_output() -> None:
    """Keep the interpreter from trying once more to write what nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
