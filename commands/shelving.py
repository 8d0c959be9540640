"""``tape export``, ``import`` and ``picklist``: cartridges on shelves, and who fetches them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, say_table, write, write_json
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.taping import labels_json, say_right, store_option
from commands.wording import _, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.catalog.taped import CartridgeRow

PURPOSES = {
    "audit": marked("audit"),
    "export": marked("export"),
    "replicate": marked("copies"),
    "evacuate": marked("evacuation"),
}
"""What a cartridge on the pick list is wanted for."""


@command(
    "tape export",
    details=_(
        "Location and vault are codes of yours: they stand in the ledger for ever. From now on the copies on the "
        "cartridge are offline: audits do not look at them and say so. An image is moved to the folder 'shelf' beside "
        "the others, from where it can be carried away; a real cartridge is taken out by hand."
    ),
    examples=("mocban -C archive tape export AAA001IM --location A-12 --vault hue-2",),
)
@click.argument("barcode")
@click.option("--location", required=True, metavar="CODE", help=_("The place on the shelf."))
@click.option("--vault", default="", metavar="CODE", help=_("The vault or building of the shelf."))
@store_option
@json_option
@click.pass_obj
def tape_export_command(call: Call, barcode: str, *, location: str, vault: str, store: str, as_json: bool) -> None:
    """Take a cartridge to a shelf."""
    from preservation.shelving import take_out  # noqa: PLC0415 - help does without it

    folder = take_out(call.writing(), barcode, location=location, vault=vault, store=store)
    if as_json:
        write_json({"barcode": barcode, "location": location, "vault": vault, "folder": folder})
        return
    say(
        marked("Cartridge {barcode} is on the shelf: {location}"),
        barcode=barcode,
        location=f"{location} {vault}".strip(),
    )
    if folder:
        note(marked("Its image lies in {place}"), place=folder)
    else:
        note(marked("Now take it out of the library"))


@command(
    "tape import",
    details=_(
        "Put the cartridge into the library first (an image into its folder, or into 'shelf' there). Its label is "
        "compared; who waited for it on the pick list is answered."
    ),
    examples=("mocban -C archive tape import AAA001IM",),
)
@click.argument("barcode")
@store_option
@json_option
@click.pass_obj
def tape_import_command(call: Call, barcode: str, *, store: str, as_json: bool) -> None:
    """Say that a cartridge is back from its shelf."""
    from preservation.shelving import bring_back  # noqa: PLC0415 - help does without it

    found = bring_back(call.writing(), barcode, store=store)
    if as_json:
        write_json(labels_json([found])[0])
    else:
        say_right(found)
        say(marked("It is in the library again. Next: mocban audit"))


@command(
    "tape picklist",
    details=_(
        "Print it, fetch the cartridges, put them into the library, and confirm each with 'tape import BARCODE'."
    ),
    examples=("mocban -C archive tape picklist", "mocban -C archive tape picklist --json"),
)
@json_option
@click.pass_obj
def tape_picklist_command(call: Call, *, as_json: bool) -> None:
    """List the cartridges to fetch from shelves."""
    from preservation.cartridges import pick_list  # noqa: PLC0415 - help does without it
    from preservation.catalog.rows import StoreRow, every  # noqa: PLC0415 - the same

    repository = call.reading()
    with repository.reading() as view:
        found = pick_list(view)
        names = {row.store: row.name for row in every(view, StoreRow)}
    if as_json:
        write_json(
            [
                {
                    "barcode": row.barcode,
                    "store": names[row.store],
                    "location": row.location,
                    "vault": row.vault,
                    "requested": row.requested,
                }
                for row in found
            ]
        )
        return
    if not found:
        note(marked("No cartridge on a shelf is asked for"))
        return
    now = repository.world.now().isoformat()
    say(marked("CARTRIDGES TO FETCH, {time}"), time=time_text(now))
    write("")
    say_table(
        [(_("DONE"), _("VAULT"), _("LOCATION"), _("BARCODE"), _("STORE"), _("FOR"), _("SINCE")), *_picks(found, names)]
    )
    write("")
    say(marked("Put each into the library, then: mocban tape import BARCODE"))
    say(marked("Fetched by: ____________________   Date: ____________________"))


def _picks(found: "Iterable[CartridgeRow]", names: dict[str, str]) -> Iterable[tuple[str, ...]]:
    for row in found:
        purposes = ", ".join(_(PURPOSES.get(one, one)) for one in sorted(row.requested))
        since = time_text(min(row.requested.values()))
        yield "[ ]", row.vault or "-", row.location or "-", row.barcode, names[row.store], purposes, since
