"""``serve``: audits and replication when they are due."""

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
    from audits.run import Report
    from preservation.replication import Replicated


@command(
    "serve",
    details=_(
        "It runs in the foreground until it is told to stop, for a service unit; --once does what is due now and ends, "
        "for cron. When audits are due stands in mocban.toml."
    ),
    examples=("mocban -C archive serve --once", "mocban -C archive serve"),
)
@click.option("--once", is_flag=True, help=_("Do what is due now, then end."))
@json_option
@click.pass_obj
def serve_command(call: Call, *, once: bool, as_json: bool) -> int:
    """Serve."""
    from audits.run import Report  # noqa: PLC0415 - help does without it
    from audits.scheduler import serve  # noqa: PLC0415 - the same

    statuses = [Status.DONE]

    def told(name: str, result: "Report | Replicated") -> None:
        if isinstance(result, Report):
            status = Status(result.exit_status)
            open_findings = sum(finding.is_open for finding in result.findings)
        else:
            status = Status.COPIES_SHORT if result.short or result.failures else Status.DONE
            open_findings = len(result.short) + len(result.failures)
        statuses.append(status)
        if as_json:
            write_json({"work": name, "status": int(status), "open": open_findings})
        elif status:
            say(
                marked("{work}: findings open: {count}; 'mocban status' and 'mocban events' show more"),
                work=name,
                count=open_findings,
            )
        else:
            say(marked("{work}: done, nothing is open"), work=name)

    def failed(error: MocbanError) -> None:
        statuses.append(Status.ERROR)
        note(marked("Error: {message}"), message=explained(error))

    call.reading()
    with call.stoppable():
        serve(call.writing, once=once, stopping=call.stopped, told=told, failed=failed)
    if call.stopped.is_set():
        note(marked("Stopped as asked"))
        return Status.INTERRUPTED
    if len(statuses) == 1 and not as_json:
        say(marked("Nothing is due"))
    return gravest(*statuses)
