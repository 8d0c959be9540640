"""``export``: giving records back."""

import os

import click

from commands.printing import note, say, warn, write_json
from commands.progress import Told, progress
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, number_text, size_text, told
from storage_backends.errors import marked


@command(
    "export",
    details=_(
        "DEST is not there yet, or is an empty folder. Each form comes with the package's PREMIS events as XML and "
        "JSON. Every byte is compared with its digest on the way out; after a failure nothing is left at DEST."
    ),
    examples=(
        "mocban -C archive export 01890a5d-ac96-774b-bcce-b302099a8057 out --as files",
        "mocban -C archive export 01890a5d-ac96-774b-bcce-b302099a8057 bag --as bagit",
        "mocban -C archive export 01890a5d-ac96-774b-bcce-b302099a8057 . --as files --path 'Hồ sơ/tờ trình.pdf'",
    ),
)
@click.argument("package")
@click.argument("dest")
@click.option(
    "--as",
    "form",
    type=click.Choice(["files", "bagit", "ocfl"]),
    default="files",
    show_default=True,
    help=_("Plain files, a BagIt 1.0 bag, or an OCFL 1.1 object."),
)
@click.option("--path", metavar="P", help=_("Only this file of the package."))
@click.option("--version", type=click.IntRange(min=1), help=_("Another version than the latest."))
@json_option
@click.pass_obj
def export_command(
    call: Call, package: str, dest: str, *, form: str, path: str | None, version: int | None, as_json: bool
) -> int | None:
    """Give records back."""
    from preservation.creation import open_repository  # noqa: PLC0415 - help does without it
    from preservation.dissemination.errors import ExportStoppedError  # noqa: PLC0415 - the same
    from preservation.dissemination.export import Form, export  # noqa: PLC0415 - the same
    from preservation.holdings import package_named  # noqa: PLC0415 - the same

    writable = os.access(os.path.join(call.directory, "ledger"), os.W_OK)
    repository = open_repository(call.directory, call.world(), read_only=not writable)
    with repository.reading() as view:
        package = package_named(view, package)
    forms: dict[str, Form] = {"files": "files", "bagit": "bagit", "ocfl": "ocfl"}
    raw = None if path is None else os.fsencode(path)
    try:
        with call.stoppable(), progress(_("Export")) as done:
            exported = export(
                repository, package, dest, form=forms[form], version=version, path=raw, progress=_steps(done)
            )
    except ExportStoppedError as error:
        note(marked("Error: {message}"), message=told(error))
        return Status.INTERRUPTED
    if not exported.recorded:
        warn(marked("This repository cannot be written here, so the export is not in its ledger"))
    _tell_remarks([(one.code, one.path) for one in exported.remarks], exported.remarks_left_out)
    if as_json:
        values = {name: getattr(exported, name) for name in ("package", "version", "form", "files", "bytes", "dest")}
        remarks = [{"code": one.code, "path": one.path} for one in exported.remarks]
        write_json({**values, "recorded": exported.recorded, "remarks": remarks})
    else:
        say(
            marked("Exported to {place}. Files: {files}, size: {size}"),
            files=number_text(exported.files),
            size=size_text(exported.bytes),
            place=exported.dest,
        )
    return None


def _steps(done: Told) -> Told:
    """Return what an export tells of bytes so far, and of all, as steps."""
    before = 0

    def heard(so_far: int, _all: int) -> None:
        nonlocal before
        done(1, so_far - before)
        before = so_far

    return heard


def _tell_remarks(remarks: list[tuple[str, str]], left_out: int) -> None:
    from preservation.dissemination.copying import REMARKS  # noqa: PLC0415 - help does without it

    for code, path in remarks:
        warn("{path}: {reason}", path=path, reason=REMARKS.get(code, code))
    if left_out:
        warn(marked("Further remarks: {count}"), count=left_out)
