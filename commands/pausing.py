"""``audit pause`` and ``audit resume``: the service leaves stores alone for a while, which the ledger records."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from audits.pauses import REASONS
from commands.printing import say, warn, write_json
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import _, filled, local_zone, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.pacing import StoreStanding


def _moment(text: str) -> datetime:
    """Return the moment that ``text`` names: a time, or a day, at whose beginning it is; local without an offset."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.astimezone() if local_zone() is None else found.replace(tzinfo=local_zone())
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        message = filled(marked("{value} is no day and no time; write 2026-12-31 or 2026-12-31T06:00"), value=text)
        raise click.BadParameter(message) from None


@command(
    "audit pause",
    details=_(
        "Only the service pauses: 'mocban audit' reads when it is asked to. Copies go on ageing; if some will be "
        "overdue by a pause, that is said at once. REASON is one of: maintenance, relocation, peak-load, hardware, "
        "investigation, other."
    ),
    examples=(
        "mocban -C archive audit pause --until 2099-12-31 --reason maintenance",
        "mocban -C archive audit pause --until 2099-12-31T06:00 --reason peak-load --store disk1",
    ),
)
@click.option("--until", metavar="DATE", type=_moment, required=True, help=_("When audits go on: a day, or a time."))
@click.option("--reason", metavar="REASON", type=click.Choice(REASONS), required=True, help=_("Why: a word of a list."))
@click.option("--store", metavar="NAME", default="", help=_("Only this store; without it, all."))
@json_option
@click.pass_obj
def audit_pause_command(call: Call, *, until: datetime, reason: str, store: str, as_json: bool) -> None:
    """Pause."""
    from audits.pacing import standing  # noqa: PLC0415 - help does without it
    from audits.pauses import pause  # noqa: PLC0415 - the same

    repository = call.writing()
    before = {one.store for one in standing(repository).stores if _breaks(one)}
    made = pause(repository, until, reason, store)
    broken = [one for one in standing(repository).stores if _breaks(one)]
    if as_json:
        write_json({**asdict(made), "overdue": {one.name: one.forecast for one in broken}})
    else:
        say(marked("The service does not audit until {time}"), time=time_text(made.until))
    for one in broken:
        text = (
            marked("Copies on {store} were going to be overdue on {time} already")
            if one.store in before
            else marked("By this pause copies on {store} will be overdue on {time}")
        )
        warn(text, store=one.name, time=time_text(one.forecast or ""))


def _breaks(one: "StoreStanding") -> bool:
    return one.forecast is not None


@command(
    "audit resume",
    details=_("Without --store, every pause ends."),
    examples=("mocban -C archive audit resume", "mocban -C archive audit resume --store disk1"),
)
@click.option("--store", metavar="NAME", default="", help=_("Only the pause of this store."))
@json_option
@click.pass_obj
def audit_resume_command(call: Call, *, store: str, as_json: bool) -> None:
    """Resume."""
    from audits.pauses import resume  # noqa: PLC0415 - help does without it

    ended = resume(call.writing(), store)
    if as_json:
        write_json([asdict(one) for one in ended])
    else:
        say(marked("Pauses that ended: {count}"), count=len(ended))
