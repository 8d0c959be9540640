"""``tape``: the cartridges of stores on tape, one by one."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, say_table, warn, write_json
from commands.progress import progress
from commands.shaping import byte_count, command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, filled, number_text, size_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.cartridges import Known
    from preservation.configuration import TapePolicy
    from storage_backends.tape.labels import Label

STATES = {
    "blank": marked("blank"),
    "filling": marked("filling"),
    "full": marked("full"),
    "closed": marked("closed"),
    "suspect": marked("suspect"),
    "evacuating": marked("evacuating"),
    "retired": marked("retired"),
    "foreign": marked("foreign"),
    "unknown": marked("unknown"),
}
"""What the states of a cartridge are called."""

PLACES = {
    "drive": marked("drive"),
    "slot": marked("slot {element}"),
    "shelf": marked("shelf {location}"),
    "missing": marked("missing"),
    "": "-",
}
"""How it is said where a cartridge is."""

CAPACITY = 12 << 30
"""Bytes that a new image takes."""

store_option = click.option("--store", metavar="NAME", default="", help=_("Only this store."))


def labels_json(labels: "Iterable[Label]") -> list[dict[str, object]]:
    """Return labels as JSON has them."""
    return [
        {"barcode": one.barcode, "number": one.number, "store": one.store, "labelled": one.written} for one in labels
    ]


@command(
    "tape label",
    details=_(
        "A cartridge that is not blank is left as it is. Of image cartridges, new ones are made: so many as --count "
        "says, or those with the barcodes that are given."
    ),
    examples=("mocban -C archive tape label tape1 --count 2", "mocban -C archive tape label tape1 ABC123L9"),
)
@click.argument("name")
@click.argument("barcodes", nargs=-1, metavar="[BARCODE]...")
@click.option(
    "--count", type=click.IntRange(1, 999), default=1, show_default=True, help=_("How many new image cartridges.")
)
@click.option(
    "--capacity", metavar="SIZE", type=byte_count, default=str(CAPACITY), help=_("What each new image takes; 12G.")
)
@json_option
@click.pass_obj
def tape_label_command(
    call: Call, name: str, barcodes: tuple[str, ...], *, count: int, capacity: int, as_json: bool
) -> None:
    """Label blank cartridges."""
    from preservation.shelving import label  # noqa: PLC0415 - help does without it

    done = label(call.writing(), name, barcodes, count=count, capacity=capacity)
    if as_json:
        write_json(labels_json(done))
        return
    for one in done:
        say(
            marked("Cartridge {barcode} is number {number} of store {name}"),
            barcode=one.barcode,
            number=one.number,
            name=name,
        )


@command(
    "tape list",
    details=_(
        "Nothing is mounted for it. A cartridge in a library that no store knows is 'unknown' until 'tape scan'."
    ),
    examples=("mocban -C archive tape list", "mocban -C archive tape list --store tape1 --json"),
)
@store_option
@json_option
@click.pass_obj
def tape_list_command(call: Call, *, store: str, as_json: bool) -> None:
    """List the cartridges."""
    from preservation.cartridges import cartridges  # noqa: PLC0415 - help does without it
    from preservation.shelving import tape_stores  # noqa: PLC0415 - the same
    from preservation.stores import all_open  # noqa: PLC0415 - the same

    repository = call.reading()
    with repository.reading() as view, all_open(tape_stores(view, store)) as stores:
        found = list(cartridges(view, stores))
        if as_json:
            write_json([_cartridge_json(one, repository.configuration.tape) for one in found])
            return
        for away in stores:
            if away.failure is not None:
                warn(marked("Store {name} is not there: {message}"), name=away.name, message=away.failure)
    if not found:
        note(marked("There is no cartridge yet: mocban store add NAME tape+image:///absolute/folder --site SITE"))
        return
    lines = [
        (_("BARCODE"), _("STORE"), _("STATE"), _("PLACE"), _("COPIES"), _("USED"), _("LOADS"), _("ERRORS"), _("UNTIL"))
    ]
    for one in found:
        held = one.held
        until = _cartridge_json(one, repository.configuration.tape)["end_of_life"]
        lines.append(
            (
                one.row.barcode,
                one.store.name,
                _(STATES[one.state]),
                _place(one),
                number_text(one.copies),
                size_text(held.used) if held is not None else "-",
                number_text(one.loads),
                number_text(len(one.row.errors)),
                str(until or "-"),
            )
        )
    say_table(lines, right=(4, 5, 6, 7))


def _place(one: "Known") -> str:
    location = " ".join(part for part in (one.row.location, one.row.vault) if part)
    return filled(PLACES[one.where], element=one.held.element if one.held is not None else 0, location=location).strip()


def _cartridge_json(one: "Known", policy: "TapePolicy") -> dict[str, object]:
    from preservation.cartridges import end_of_life, most_loads  # noqa: PLC0415 - help does without it

    row, held, until = one.row, one.held, end_of_life(one.row, policy)
    return {
        "barcode": row.barcode,
        "store": one.store.name,
        "number": row.number,
        "state": one.state,
        "reason": row.reason,
        "place": one.where,
        "element": held.element if held is not None and held.where else None,
        "location": row.location,
        "vault": row.vault,
        "copies": one.copies,
        "files": held.files if held is not None else None,
        "used_bytes": held.used if held is not None else None,
        "capacity_bytes": held.capacity or None if held is not None else None,
        "write_protected": held.write_protected if held is not None else None,
        "labelled": row.labelled,
        "first_copy": one.first_copy,
        "end_of_life": until.isoformat() if until is not None else None,
        "loads": one.loads,
        "most_loads": most_loads(row, policy) or None,
        "seen": row.seen,
        "errors": row.errors,
        "conditions": row.conditions,
        "requested": row.requested,
    }


@command(
    "tape load",
    details=_("The label (VOL1) is compared with the barcode; what is wrong is recorded."),
    examples=("mocban -C archive tape load AAA001IM",),
)
@click.argument("barcode")
@store_option
@json_option
@click.pass_obj
def tape_load_command(call: Call, barcode: str, *, store: str, as_json: bool) -> None:
    """Mount a cartridge and compare its label."""
    from preservation.shelving import load  # noqa: PLC0415 - help does without it

    found = load(call.writing(), barcode, store=store)
    if as_json:
        write_json(labels_json([found])[0])
    else:
        say_right(found)


def say_right(found: "Label") -> None:
    """Say that the label was compared and is right."""
    say(
        marked("The label of {barcode} is right: number {number}, labelled {day}"),
        barcode=found.barcode,
        number=found.number,
        day=found.written or "-",
    )


@command(
    "tape eject",
    details=_("The cartridge stays in the library; 'tape export' takes it out."),
    examples=("mocban -C archive tape eject", "mocban -C archive tape eject --store tape1"),
)
@store_option
@json_option
@click.pass_obj
def tape_eject_command(call: Call, *, store: str, as_json: bool) -> None:
    """Bring what is in the drives back to its slot."""
    from preservation.shelving import eject  # noqa: PLC0415 - help does without it

    done = eject(call.writing(), store=store)
    if as_json:
        write_json(done)
        return
    for barcode in done:
        say(marked("Cartridge {barcode} is in its slot"), barcode=barcode)
    if not done:
        note(marked("The drives are empty"))


@command(
    "tape scan",
    details=_(
        "Rebuilds what the store knows of it, from filemark to filemark; good copies that nobody knew of are read and "
        "recorded. Of another store's cartridge nothing is read but the label."
    ),
    examples=("mocban -C archive tape scan AAA001IM",),
)
@click.argument("barcode")
@store_option
@json_option
@click.pass_obj
def tape_scan_command(call: Call, barcode: str, *, store: str, as_json: bool) -> int | None:
    """See what is on a cartridge, and take it up if it is ours."""
    from preservation.shelving import scan  # noqa: PLC0415 - help does without it

    found = scan(call.writing(), barcode, store=store)
    if as_json:
        write_json(
            {
                **labels_json([found.label])[0],
                "repository": found.label.repository,
                "ours": found.is_ours,
                **{name: getattr(found, name) for name in ("files", "items", "adopted", "wrong", "unknown")},
            }
        )
    elif not found.is_ours:
        say(
            marked("Cartridge {barcode} is of store {store}, repository {name}; nothing on it was read or changed"),
            barcode=barcode,
            store=found.label.store,
            name=found.label.repository or "?",
        )
    else:
        say_right(found.label)
        say(marked("Tape files: {files}. Items that count: {items}"), files=found.files, items=found.items)
        say(
            marked("Copies taken up: {adopted}; wrong: {wrong}; of packs that are not kept: {unknown}"),
            adopted=found.adopted,
            wrong=found.wrong,
            unknown=found.unknown,
        )
    return Status.FINDINGS if found.wrong else None


@command(
    "tape evacuate",
    details=_(
        "Each pack on it is read from it or, where that gives wrong bytes, from another store, written to other "
        "cartridges of the same store and read back; then the cartridge retires. It can be stopped and asked for "
        "again. Exit status 4: something could not be brought elsewhere."
    ),
    examples=("mocban -C archive tape evacuate AAA001IM",),
)
@click.argument("barcode")
@store_option
@json_option
@click.pass_obj
def tape_evacuate_command(call: Call, barcode: str, *, store: str, as_json: bool) -> int | None:
    """Write everything on a cartridge anew to others."""
    from preservation.evacuating import evacuate  # noqa: PLC0415 - help does without it

    repository = call.writing()
    with call.stoppable(), progress(_("Evacuate")) as told:
        done = evacuate(repository, barcode, told, store=store)
    for name, error in done.failures.items():
        note(marked("Error: {name}: {message}"), name=name, message=error)
    if as_json:
        names = ("barcode", "store", "packs", "bytes", "items", "from_elsewhere", "left", "left_items", "retired")
        failures = {name: str(error) for name, error in done.failures.items()}
        write_json({**{name: getattr(done, name) for name in names}, "failures": failures})
    else:
        say(
            marked("Packs written to other cartridges: {packs}, {size}; from other stores: {others}"),
            packs=number_text(done.packs),
            size=size_text(done.bytes),
            others=number_text(done.from_elsewhere),
        )
        if done.left_items:
            say(marked("Beside packs, unreadable: {count}; an audit writes them anew"), count=done.left_items)
        if done.retired:
            say(marked("Cartridge {barcode} is retired"), barcode=barcode)
        else:
            say(
                marked("Copies that still lie on {barcode}: {left}. Run it again when the cause is removed"),
                barcode=barcode,
                left=done.left,
            )
    return None if done.retired and not done.failures else Status.COPIES_SHORT


@command(
    "tape retire",
    details=_(
        "Nothing is written on it any more. It is refused while copies that count lie on it. With --lost these copies "
        "are given up too, and 'mocban replicate' makes new ones on other cartridges."
    ),
    examples=("mocban -C archive tape retire AAA001IM", "mocban -C archive tape retire AAA001IM --lost"),
)
@click.argument("barcode")
@click.option("--lost", is_flag=True, help=_("The cartridge is gone or destroyed; record its loss."))
@store_option
@json_option
@click.pass_obj
def tape_retire_command(call: Call, barcode: str, *, lost: bool, store: str, as_json: bool) -> None:
    """Give a cartridge up."""
    from preservation.shelving import retire  # noqa: PLC0415 - help does without it

    copies = retire(call.writing(), barcode, lost=lost, store=store)
    if as_json:
        write_json({"barcode": barcode, "lost": lost, "copies": copies})
        return
    say(marked("Cartridge {barcode} is retired"), barcode=barcode)
    if copies:
        say(marked("Copies that are gone with it: {copies}. Next: mocban replicate"), copies=number_text(copies))
