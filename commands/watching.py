"""``incident``, ``notify`` and ``metrics``: what is wrong and since when, who is told, and figures for machines."""

import dataclasses
import shlex
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, say_table, write, write_json, write_json_list
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, filled, harmless, number_text, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.catalog.catalog import View
    from preservation.catalog.rows import IncidentRow

ENDINGS = {
    "healed": marked("healed"),
    "gone": marked("no longer found"),
    "explained": marked("explained"),
}


@command(
    "incident list",
    details=_(
        "There is one incident for a kind of finding and a store, however many findings it has. An audit opens it, "
        "goes on with it, and closes it when it looked there and no longer finds it."
    ),
    examples=("mocban -C archive incident list", "mocban -C archive incident list --all --json"),
)
@click.option("--all", "every", is_flag=True, help=_("Closed ones too."))
@json_option
@click.pass_obj
def incident_list_command(call: Call, *, every: bool, as_json: bool) -> None:
    """List incidents."""
    from audits.incidents import incidents  # noqa: PLC0415 - help does without it

    with call.reading().reading() as view:
        found = incidents(view, every=every)
        if as_json:
            write_json_list(_json(view, row) for row in found)
            return
        if not found:
            say(marked("No incident is open"))
            return
        head = (_("INCIDENT"), _("CODE"), _("STORE"), _("SINCE"), _("FINDINGS"), _("STATE"))
        lines = [
            (
                row.incident,
                row.code,
                harmless(_store_name(view, row)) or "-",
                time_text(row.opened),
                number_text(row.count),
                _(ENDINGS.get(row.how, row.how)) if row.closed else _("open"),
            )
            for row in found
        ]
        say_table([head, *lines], right=(4,))


@command(
    "incident show",
    details=_("ID is its identifier, or a beginning of it that no other incident has."),
    examples=("mocban -C archive incident show 01890a5d",),
)
@click.argument("name", metavar="ID")
@json_option
@click.pass_obj
def incident_show_command(call: Call, name: str, *, as_json: bool) -> None:
    """Show one incident."""
    from audits.findings import CAUSES, MEANING, Code  # noqa: PLC0415 - help does without it
    from audits.incidents import incident_named  # noqa: PLC0415 - the same

    with call.reading().reading() as view:
        row = incident_named(view, name)
        if as_json:
            write_json(_json(view, row))
            return
        code = Code(row.code)
        say(marked("Incident {incident}: {code}: {what}"), incident=row.incident, code=row.code, what=_(MEANING[code]))
        if row.store:
            say(marked("Store: {name}"), name=_store_name(view, row))
        if row.pack:
            say(marked("Pack: {pack}"), pack=row.pack)
        say(
            marked("Open since {since}, last seen {seen}; findings now: {count}, at most: {most}"),
            since=time_text(row.opened),
            seen=time_text(row.seen),
            count=number_text(row.count),
            most=number_text(row.most),
        )
        write("  " + filled(marked("may come from: {causes}"), causes="; ".join(_(one) for one in CAUSES[code])))
        if row.closed:
            _say_end(row)
        else:
            write("  " + filled(marked("next: {command}"), command=shlex.join(_next(view, row))))


def _say_end(row: "IncidentRow") -> None:
    from audits.incidents import REASONS, Reason  # noqa: PLC0415 - help does without it

    say(marked("Closed {closed}: {what}"), closed=time_text(row.closed), what=_(ENDINGS.get(row.how, row.how)))
    if row.reason:
        say(marked("Reason: {code}: {what}"), code=row.reason, what=_(REASONS[Reason(row.reason)]))


def _json(view: "View", row: "IncidentRow") -> dict[str, object]:
    values = dataclasses.asdict(row)
    return {**values, "store_name": _store_name(view, row), "next": [] if row.closed else _next(view, row)}


def _next(view: "View", row: "IncidentRow") -> list[str]:
    from audits.findings import next_command  # noqa: PLC0415 - help does without it
    from audits.incidents import as_finding  # noqa: PLC0415 - the same

    return next_command(as_finding(view, row))


def _store_name(view: "View", row: "IncidentRow") -> str:
    from audits.incidents import as_finding  # noqa: PLC0415 - help does without it

    return as_finding(view, row).store


_REASONS = ("false-alarm", "loss-accepted", "planned", "replaced")


@command(
    "incident close",
    details=_(
        "The reason is a code that goes into the ledger: false-alarm, loss-accepted, planned (a store that is away on "
        "purpose) or replaced. What is found again is not an incident again until there is more of it, or until it was "
        "gone in between. The findings themselves stay, and so does exit status 3."
    ),
    examples=("mocban -C archive incident close 01890a5d --reason planned",),
)
@click.argument("name", metavar="ID")
@click.option("--reason", required=True, type=click.Choice(_REASONS), help=_("Why it may be closed."))
@json_option
@click.pass_obj
def incident_close_command(call: Call, name: str, *, reason: str, as_json: bool) -> None:
    """Close one incident."""
    from audits.incidents import Reason, close  # noqa: PLC0415 - help does without it

    repository = call.writing()
    row = close(repository, name, Reason(reason))
    if as_json:
        with repository.reading() as view:
            write_json(_json(view, row))
    else:
        say(marked("Incident {incident} is closed"), incident=row.incident)


@command(
    "notify test",
    details=_(
        "It goes by mail and to the webhook, as far as mocban.toml names them in [notify]. Nothing waits: what could "
        "not be delivered is told and forgotten."
    ),
    examples=("mocban -C archive notify test",),
)
@json_option
@click.pass_obj
def notify_test_command(call: Call, *, as_json: bool) -> int:
    """Send a test message."""
    from audits.notifications import tell_test  # noqa: PLC0415 - help does without it

    outcomes = tell_test(call.reading())
    if as_json:
        write_json(
            [{"channel": name, "delivered": not error, "error": str(error or "")} for name, error in outcomes.items()]
        )
    for name, error in outcomes.items():
        if error is not None:
            note(marked("Error: {message}"), message=error)
        elif not as_json:
            say(marked("{channel}: delivered"), channel=name)
    if not outcomes:
        note(marked("Error: nobody is told: [notify] in mocban.toml names neither 'smtp' nor 'webhook'"))
    return Status.ERROR if not outcomes or any(outcomes.values()) else Status.DONE


@command(
    "metrics",
    details=_(
        "They come from the catalog, in Prometheus' text format; with --output a file is replaced in one step, for "
        "node_exporter's textfile collector. 'mocban serve' can also serve them at /metrics."
    ),
    examples=(
        "mocban -C archive metrics",
        "mocban -C archive metrics --output /var/lib/prometheus/node-exporter/mocban.prom",
    ),
)
@click.option("--output", metavar="FILE", default="", help=_("Write them to this file instead."))
@json_option
@click.pass_obj
def metrics_command(call: Call, *, output: str, as_json: bool) -> None:
    """Print the metrics."""
    from audits.metrics import text, values, write_to  # noqa: PLC0415 - help does without it

    repository = call.reading()
    page = text(repository)
    if output:
        write_to(output, page)
    if as_json:
        write_json(values(page))
    elif not output:
        write(page.removesuffix("\n"))
