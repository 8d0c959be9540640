"""``serve``: everything that is done without being asked, when it is due."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, write_json
from commands.shaping import command, json_option
from commands.statuses import Status, gravest
from commands.surroundings import Call
from commands.wording import _
from commands.wording import told as explained
from storage_backends.errors import MocbanError, marked

if TYPE_CHECKING:
    from audits.duties import Result

GRACE_SECONDS = 4.0
"""How long work may take to its next checkpoint when the service is told to stop; then it is cut off."""


@command(
    "serve",
    details=_(
        "It runs in the foreground until it is told to stop, for a service unit; --once does what is due now and ends, "
        "for cron. It replicates, audits, sweeps, commits the inventory, seals and signs the ledger, asks for time "
        "stamps and countersignatures, writes reports and metrics, and tells people. What and when stands in "
        "mocban.toml."
    ),
    examples=("mocban -C archive serve --once", "mocban -C archive serve"),
)
@click.option("--once", is_flag=True, help=_("Do what is due now, then end."))
@json_option
@click.pass_obj
def serve_command(call: Call, *, once: bool, as_json: bool) -> int:
    """Serve."""
    from audits.scheduler import serve  # noqa: PLC0415 - help does without it
    from preservation.stopping import StoppedError  # noqa: PLC0415 - the same

    statuses = [Status.DONE]

    def told(name: str, result: "Result") -> None:
        if result is not None:
            statuses.append(_tell(name, result, as_json=as_json))

    def failed(name: str, error: MocbanError) -> None:
        statuses.append(Status.ERROR)
        if as_json:
            write_json({"work": name, "status": int(Status.ERROR), "error": type(error).__name__})
        note(marked("Error: {work}: {message}"), work=name, message=explained(error))

    call.reading()
    with call.stoppable(), _cut_off(call.stopped):
        try:
            serve(call.writing, once=once, stopping=call.stopped, told=told, failed=failed)
        except StoppedError:
            call.stopped.set()
    if call.stopped.is_set():
        note(marked("Stopped as asked"))
        return Status.INTERRUPTED
    if len(statuses) == 1 and not as_json:
        say(marked("Nothing is due"))
    return gravest(*statuses)


def _tell(name: str, result: "Result", *, as_json: bool) -> Status:
    """Tell what came of a piece of work; return its status."""
    from audits.run import Report  # noqa: PLC0415 - help does without it
    from preservation.replication import Replicated  # noqa: PLC0415 - the same

    if isinstance(result, Report):
        status = Status(result.exit_status)
        count = sum(finding.is_open for finding in result.findings)
    elif isinstance(result, Replicated):
        count = len(result.short) + len(result.failures)
        status = Status.COPIES_SHORT if count else Status.DONE
    else:
        count = sum(finding.is_open for finding in result or ())
        status = Status.FINDINGS if count else Status.DONE
    if as_json:
        write_json({"work": name, "status": int(status), "open": count})
    elif status:
        say(
            marked("{work}: findings open: {count}; 'mocban status' and 'mocban events' show more"),
            work=name,
            count=count,
        )
    else:
        say(marked("{work}: done, nothing is open"), work=name)
    sys.stdout.flush()
    return status


@contextmanager
def _cut_off(stopped: threading.Event) -> Iterator[None]:
    """End the process if work does not come to a checkpoint soon after it was told to stop.

    That loses no more than a kill does, which loses nothing that was acknowledged: a store that hangs must not keep the
    system from shutting down.
    """
    over = threading.Event()

    def wait() -> None:
        stopped.wait()
        if not over.wait(GRACE_SECONDS):
            note(marked("Stopped as asked"))
            sys.stdout.flush()
            os._exit(Status.INTERRUPTED)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
        if stopped.is_set():
            _wait_for_others(GRACE_SECONDS)
    finally:
        over.set()


def _wait_for_others(seconds: float) -> None:
    """Wait until no thread works on; one that does is cut off with the process."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(seconds)
