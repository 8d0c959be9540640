"""``compare``: a list of checksums from outside against what is kept."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from commands.printing import say, write, write_json_list
from commands.progress import progress
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, harmless, number_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.comparison import Compared

MEANINGS = {
    "match": marked("held under this name"),
    "renamed": marked("held under another name"),
    "differs": marked("DIFFERS: this name is held with another content"),
    "missing": marked("MISSING: neither name nor content is held"),
    "unreadable": marked("UNREADABLE: this name is held, but no copy could be read to compare it"),
    "unlisted": marked("NOT LISTED: held, but not on the list"),
}


@command(
    "compare",
    details=_(
        "FILE is a list as sha256sum, b3sum, md5sum and the like write it. Each line is held under its name, held "
        "under another name, differs, or is missing; with --package, files that are not on the list are named too. "
        "BLAKE3 and SHA-256 are compared with the manifests; for other digests the file of that name is read. Exit "
        "status 0: everything on the list is held (and, with --package, everything held is on the list); else 3."
    ),
    examples=(
        "mocban -C archive compare SHA256SUMS",
        "mocban -C archive compare SHA256SUMS --package 01890a5d-ac96-774b-bcce-b302099a8057",
        "mocban -C archive compare list.md5 --fonds TH-2024 --json",
    ),
)
@click.argument("file")
@click.option("--package", metavar="ID", default="", help=_("Compare with this package only."))
@click.option("--fonds", "fonds_code", metavar="CODE", default="", help=_("Compare with the packages of this fonds."))
@click.option("--all", "show_all", is_flag=True, help=_("Print the lines that match, too."))
@json_option
@click.pass_obj
def compare_command(
    call: Call, file: str, *, package: str, fonds_code: str, show_all: bool, as_json: bool
) -> int | None:
    """Compare a list."""
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.comparison import FINE, Selection, Verdict, compare  # noqa: PLC0415 - the same
    from preservation.fonds import NoSuchFondsError  # noqa: PLC0415 - the same
    from preservation.holdings import package_named  # noqa: PLC0415 - the same

    repository = call.reading()
    with repository.reading() as view:
        if package:
            package = package_named(view, package)
        if fonds_code and all(row.code != fonds_code for row in rows.every(view, rows.FondsRow)):
            raise NoSuchFondsError(code=fonds_code)
    counts: Counter[str] = Counter()

    def counted(found: "Iterator[Compared]") -> "Iterator[Compared]":
        for one in found:
            counts[one.verdict] += 1
            yield one

    with call.stoppable(), progress(_("Compare")) as told:
        found = counted(compare(repository, file, Selection(package, fonds_code), told))
        if as_json:
            write_json_list(dataclasses.asdict(one) for one in found)
        else:
            for one in found:
                if show_all or one.verdict not in FINE:
                    _tell(one)
    if not as_json:
        numbers = {str(verdict): number_text(counts[verdict]) for verdict in Verdict}
        say(
            marked(
                "{match} held, {renamed} held under another name, {differs} differ, {missing} missing, {unreadable} "
                "unreadable, {unlisted} not listed"
            ),
            **numbers,
        )
    return None if set(counts) <= FINE else Status.FINDINGS


def _tell(one: "Compared") -> None:
    place = f" ({harmless(one.package)}: {harmless(one.held)})" if one.held else ""
    write(f"{harmless(one.path)}: {_(MEANINGS[one.verdict])}{place}")
