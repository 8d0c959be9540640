"""``doctor``: what should be done."""

import click

from commands.printing import say, write, write_json
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, filled
from storage_backends.errors import Phrase, marked


@command(
    "doctor",
    details=_(
        "Looks at keys, ledger, catalog, stores, space, copies, ingests and audits, without reading the records. Exit "
        "status 3: there are errors; warnings alone are 0."
    ),
    examples=("mocban -C archive doctor", "mocban -C archive doctor --json"),
)
@json_option
@click.pass_obj
def doctor_command(call: Call, *, as_json: bool) -> int | None:
    """Examine the repository."""
    from audits.doctor import examine  # noqa: PLC0415 - help does without it

    symptoms = list(examine(call.directory, call.world()))
    errors = sum(one.severity == "error" for one in symptoms)
    if as_json:
        write_json(
            [
                {
                    "code": one.code,
                    "severity": one.severity,
                    "what": Phrase(one.what, **one.evidence),
                    "remedy": Phrase(one.remedy, **one.evidence),
                }
                for one in symptoms
            ]
        )
    else:
        for one in symptoms:
            severity = _(marked("ERROR")) if one.severity == "error" else _(marked("warning"))
            write(f"[{severity}] {one.code}: {filled(one.what, **one.evidence)}")
            say(marked("    What to do: {remedy}"), remedy=filled(one.remedy, **one.evidence))
        warnings = len(symptoms) - errors
        say(marked("Errors: {errors}, warnings: {warnings}"), errors=errors, warnings=warnings)
    return Status.FINDINGS if errors else None
