"""``replicate``: every pack on every store."""

import click

from commands.printing import note, say, write_json
from commands.progress import progress
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, number_text, size_text
from storage_backends.errors import marked


@command(
    "replicate",
    details=_(
        "Every pack is copied to each attached store that has no good copy of it, and read back. Run it after adding a "
        "store, or when one was away. Exit status 4: some copies could not be written."
    ),
    examples=("mocban -C archive replicate", "mocban -C archive replicate --json"),
)
@json_option
@click.pass_obj
def replicate_command(call: Call, *, as_json: bool) -> int | None:
    """Bring every store up to date."""
    from preservation.replication import replicate  # noqa: PLC0415 - help does without it

    repository = call.writing()
    with call.stoppable(), progress(_("Replicate")) as told:
        done = replicate(repository, told)
    for name, error in done.failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)
    if as_json:
        write_json(
            {
                "copied": done.copied,
                "bytes": done.bytes,
                "short": done.short,
                "under_replicated": done.under_replicated,
                "failures": {name: str(error) for name, error in done.failures.items()},
            }
        )
    else:
        say(marked("Copies made: {copied}, {size}"), copied=number_text(done.copied), size=size_text(done.bytes))
        for package in done.under_replicated:
            say(marked("Package {package} still has fewer good copies than the policy asks"), package=package)
        if done.short and not done.failures:
            say(marked("There are too few stores for the policy: mocban store add NAME URL --site SITE"))
    return Status.COPIES_SHORT if done.short or done.failures else None
