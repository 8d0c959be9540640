"""``ledger timestamp``: have the time of a checkpoint stated by an authority, and verify what was stated."""

import click

from commands.printing import note, say, write, write_json
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.witnessing import tell_skew
from commands.wording import _, harmless, number_text, time_text
from storage_backends.errors import marked


@command(
    "ledger timestamp",
    details=_(
        "Signs a checkpoint and asks the authority in [timestamp] of mocban.toml (RFC 3161) for a token over it, which "
        "is verified before it is kept. --verify verifies all tokens that were kept, with openssl (exit status 3: one "
        "is wrong or missing)."
    ),
    examples=("mocban -C archive ledger timestamp", "mocban -C archive ledger timestamp --verify"),
)
@click.option("--verify", is_flag=True, help=_("Verify every token that was kept."))
@json_option
@click.pass_obj
def ledger_timestamp_command(call: Call, *, verify: bool, as_json: bool) -> int | None:
    """Have the time stated."""
    from preservation import timestamps  # noqa: PLC0415 - help does without it
    from preservation.ledger.events import time_text as utc_text  # noqa: PLC0415 - the same

    if verify:
        return _tell_kept(call, as_json=as_json)
    done = timestamps.obtain(call.writing())
    time, until = utc_text(done.time), utc_text(done.until) if done.until is not None else None
    for name, error in done.failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)
    if as_json:
        failures = {name: str(error) for name, error in done.failures.items()}
        values = {"events": done.size, "time": time, "skew_seconds": done.skew_seconds, "authority_until": until}
        write_json({**values, "failures": failures})
    else:
        say(marked("Time stated: {time}; events: {size}"), time=time_text(time), size=number_text(done.size))
    tell_skew(done.skew_seconds)
    return Status.COPIES_SHORT if done.failures else None


def _tell_kept(call: Call, *, as_json: bool) -> int | None:
    from preservation.timestamps import verify  # noqa: PLC0415 - help does without it

    kept = list(verify(call.reading()))
    wrong = sum(bool(one.problem) for one in kept)
    if as_json:
        write_json(
            {
                "verified": not wrong,
                "tokens": [
                    {
                        "events": one.size,
                        "time": one.time,
                        "authority_until": one.until or None,
                        "problem": one.problem,
                        "detail": one.detail,
                    }
                    for one in kept
                ],
            }
        )
    else:
        for one in kept:
            if one.problem:
                write(harmless(f"{one.size:012d}.tst: {one.problem} {one.detail}".rstrip()))
        say(
            marked("Tokens: {count}, wrong or missing: {wrong}"),
            count=number_text(len(kept)),
            wrong=number_text(wrong),
        )
    return Status.FINDINGS if wrong else None
