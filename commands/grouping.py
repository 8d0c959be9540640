"""``fonds``: what belongs together."""

import dataclasses

import click

from commands.printing import note, say, say_table, write_json
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import _, harmless, number_text, size_text
from storage_backends.errors import marked


@command(
    "fonds add",
    details=_("CODE is what people call the fonds (phông); the code stays, the title is for readers."),
    examples=("mocban -C archive fonds add TH-2024 --title 'UBND xã Tân Hòa'",),
)
@click.argument("code")
@click.option("--title", default="", help=_("The title of the fonds."))
@json_option
@click.pass_obj
def fonds_add_command(call: Call, code: str, *, title: str, as_json: bool) -> None:
    """Open a fonds."""
    from preservation.fonds import open_fonds  # noqa: PLC0415 - help does without it

    row = open_fonds(call.writing(), code, title)
    if as_json:
        write_json({"fonds": row.fonds, "code": row.code, "title": title, "opened": row.opened})
    else:
        say(marked("Fonds {code} is open. Next: mocban ingest PATH --fonds {code}"), code=row.code)


@command("fonds list", examples=("mocban -C archive fonds list", "mocban -C archive fonds list --json"))
@json_option
@click.pass_obj
def fonds_list_command(call: Call, *, as_json: bool) -> None:
    """List the fonds."""
    from preservation.holdings import fonds  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        found = fonds(repository, view)
    if as_json:
        write_json([dataclasses.asdict(one) for one in found])
    elif not found:
        note(marked("There is no fonds yet: mocban fonds add CODE --title TITLE"))
    else:
        lines = [(_("CODE"), _("PACKAGES"), _("SIZE"), _("TITLE"))]
        lines += [(one.code, number_text(one.packages), size_text(one.bytes), harmless(one.title)) for one in found]
        say_table(lines, right=(1, 2))
