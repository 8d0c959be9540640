"""``store``: where the copies lie."""

from dataclasses import replace

import click

from commands.printing import note, say, say_table, warn, write_json
from commands.shaping import byte_count, command, json_option
from commands.surroundings import Call
from commands.wording import _, time_text
from storage_backends.errors import marked


@command(
    "store add",
    details=_(
        "URL is file:///absolute/folder for a disk, and tape+image:///absolute/folder for image cartridges: files that "
        "stand for tapes; tape+st:///folder?drive=/dev/nst0&changer=/dev/sg1 names a tape drive and its changer. "
        "SITE is where the store stands: copies at different sites survive a fire. "
        "Adding a store again under its name at another place says that it has moved. Existing packs come to a new "
        "store with 'mocban replicate'."
    ),
    examples=(
        "mocban -C archive store add disk1 file:///mnt/disk1 --site hanoi",
        "mocban -C archive store add disk2 file:///mnt/disk2 --site hue --vendor wd --admin-domain province",
        "mocban -C archive store add tape1 tape+image:///mnt/tapes --site hue --cartridges 3 --capacity 12G",
    ),
)
@click.argument("name")
@click.argument("url")
@click.option("--site", required=True, help=_("Where it stands, in a word of yours."))
@click.option("--vendor", default="", help=_("Who made it, in a word of yours."))
@click.option("--admin-domain", default="", help=_("Who administers it, in a word of yours."))
@click.option(
    "--cartridges",
    metavar="COUNT",
    type=click.IntRange(min=1),
    help=_("Tape only: label so many cartridges; fewer than there are changes nothing. Without it, 3."),
)
@click.option(
    "--capacity", metavar="SIZE", type=byte_count, help=_("Tape only: what each new cartridge takes. Without it, 12G.")
)
@json_option
@click.pass_obj
def store_add_command(
    call: Call,
    name: str,
    url: str,
    *,
    site: str,
    vendor: str,
    admin_domain: str,
    cartridges: int | None,
    capacity: int | None,
    as_json: bool,
) -> None:
    """Attach a store."""
    from preservation.attachment import add  # noqa: PLC0415 - help does without it
    from storage_backends.tape.cartridges import Cartridges  # noqa: PLC0415 - the same

    wanted = Cartridges()
    if cartridges is not None:
        wanted = replace(wanted, count=cartridges)
    if capacity is not None:
        wanted = replace(wanted, capacity=capacity)
    row, shared = add(
        call.writing(),
        name,
        url,
        site=site,
        vendor=vendor,
        admin_domain=admin_domain,
        cartridges=None if cartridges is None and capacity is None else wanted,
    )
    for one in shared:
        warn(
            marked("{first} and {second} share a {what}: one failure can take both; put them on different disks"),
            first=one.first,
            second=one.second,
            what=one.what,
        )
    if as_json:
        write_json({"store": row.store, "name": row.name, "url": row.url, "site": row.site, "medium": row.medium})
    else:
        say(marked("Store {name} is attached at {place}"), name=row.name, place=row.url)


@command("store list", examples=("mocban -C archive store list", "mocban -C archive store list --json"))
@json_option
@click.pass_obj
def store_list_command(call: Call, *, as_json: bool) -> None:
    """List the stores."""
    from preservation.stores import all_open, attached  # noqa: PLC0415 - help does without it

    with call.reading().reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        if as_json:
            write_json(
                [
                    {
                        "store": one.row.store,
                        "name": one.name,
                        "url": one.row.url,
                        "medium": one.row.medium,
                        "site": one.row.site,
                        "vendor": one.row.vendor,
                        "admin_domain": one.row.admin_domain,
                        "added": one.row.added,
                        "available": one.backend is not None,
                    }
                    for one in stores
                ]
            )
            return
        if not stores:
            note(marked("There is no store yet: mocban store add NAME URL --site SITE"))
            return
        lines = [(_("NAME"), _("SITE"), _("MEDIUM"), _("ADDED"), _("THERE"), _("URL"))]
        for one in stores:
            there = _("yes") if one.backend is not None else _("no")
            row = one.row
            lines.append((row.name, row.site, row.medium, time_text(row.added), there, row.url))
        say_table(lines)


@command(
    "store detach",
    details=_(
        "Its bytes are not touched. It is refused if packs would be left with fewer copies than the policy asks; "
        "--lost says that the store is gone anyway."
    ),
    examples=("mocban -C archive store detach disk1", "mocban -C archive store detach disk1 --lost"),
)
@click.argument("name")
@click.option("--lost", is_flag=True, help=_("The store is dead or gone; record its loss."))
@json_option
@click.pass_obj
def store_detach_command(call: Call, name: str, *, lost: bool, as_json: bool) -> None:
    """Stop counting on a store."""
    from preservation.attachment import detach  # noqa: PLC0415 - help does without it

    row = detach(call.writing(), name, lost=lost)
    if as_json:
        write_json({"store": row.store, "name": row.name, "lost": lost})
        return
    if lost:
        say(marked("The loss of store {name} is recorded. Next: mocban store add, then mocban replicate"), name=name)
    else:
        say(marked("Store {name} is detached; its bytes at {place} were not touched"), name=name, place=row.url)
