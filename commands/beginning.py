"""``init`` and ``rebuild``: how a repository begins, and how it begins again."""

import dataclasses

import click

from commands.printing import note, say, warn, write_json
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _
from storage_backends.errors import marked


@command(
    "init",
    details=_(
        "DIR is a new or an empty folder. The recovery kit with the root key is put beside it (DIR.recovery-kit), or "
        "where --kit says: copy it to two safe places, take it off this machine, then run 'mocban ledger key "
        "--kit-confirmed'. The number of copies and the rest of the policy stand in DIR/mocban.toml."
    ),
    examples=("mocban init archive", "mocban init /srv/archive --kit /media/usb/kit"),
)
@click.argument("directory", metavar="DIR")
@click.option("--kit", metavar="DIR", default="", help=_("Where to put the recovery kit."))
@json_option
@click.pass_obj
def init_command(call: Call, directory: str, kit: str, *, as_json: bool) -> None:
    """Make a repository."""
    from preservation.creation import create, default_kit  # noqa: PLC0415 - help does without it

    repository = create(directory, call.world(), kit=kit)
    kit = kit or default_kit(directory)
    if as_json:
        name = repository.configuration.repository
        write_json({"repository": name, "path": repository.path, "recovery_kit": kit})
        return
    say(marked("A new repository is at {place}"), place=repository.path)
    say(
        marked("Its recovery kit is at {place}: read the README.txt in it and take the kit to two safe places"),
        place=kit,
    )
    say(marked("Next: mocban -C {place} store add NAME URL --site SITE"), place=directory)


@command(
    "rebuild",
    details=_(
        "Without --from, the catalog of the repository is made anew from the ledger and the packs' indexes; nothing "
        "else changes. With --from, a whole repository is made in the new folder DIR from the store at URL alone. With "
        "the recovery kit it goes on under a new key; without it, it can be read and verified but not written."
    ),
    examples=(
        "mocban -C archive rebuild",
        "mocban rebuild --from file:///mnt/disk1 archive --kit /media/usb/kit",
    ),
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--from", "url", metavar="URL", default="", help=_("The store to rebuild a whole repository from."))
@click.option("--kit", metavar="DIR", default="", help=_("The folder of the recovery kit."))
@json_option
@click.pass_obj
def rebuild_command(call: Call, directory: str | None, url: str, kit: str, *, as_json: bool) -> int | None:
    """Make the catalog anew, or a whole repository."""
    from preservation.rebuilding import rebuild, rebuild_from  # noqa: PLC0415 - help does without it

    if bool(url) != bool(directory):
        raise click.UsageError(_("DIR and --from URL go together: a new folder, and the store to rebuild it from."))
    place = directory or call.directory
    with call.stoppable():
        done = rebuild_from(url, place, call.world(), kit=kit) if url else rebuild(place, call.world())
    if as_json:
        write_json(dataclasses.asdict(done))
    else:
        say(
            marked("Rebuilt {place}. Events: {events}, packs: {packs}, packages: {packages}"),
            place=place,
            events=done.events,
            packs=done.packs,
            packages=done.packages,
        )
    if not done.signing:
        warn(
            marked(
                "There is no recovery kit, so this repository can be read and verified but not written. Run 'mocban "
                "ledger key --rotate --kit DIR' with the kit"
            )
        )
    if done.missing_indexes:
        note(
            marked("Error: indexes of packs that were found nowhere: {count}; run 'mocban audit'"),
            count=done.missing_indexes,
        )
        return Status.FINDINGS
    return None
