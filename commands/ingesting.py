"""``ingest`` and ``ingest abandon``: taking in what is handed over."""

import os
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, warn, write_json
from commands.progress import progress
from commands.shaping import command, json_option, second_opinion_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, number_text, size_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.formats.identification import FormatIdentifier
    from preservation.ingest import Receipt, Request
    from preservation.repository import Repository

WARNINGS_SHOWN = 50


@command(
    "ingest",
    details=_(
        "PATH is a folder, a file, a BagIt bag, or a tar or zip of these. It becomes a new package of the fonds, or, "
        "with --package, a new version of that package: --add brings new files, --replace puts files in the place of "
        "others, --withdraw leaves files (or a folder) out; earlier versions stay. When it ends well, every copy was "
        "read back from its medium. Interrupted, the same command goes on where it stopped; 'mocban ingest abandon "
        "SESSION' gives it up (a folder of the name abandon is ./abandon)."
    ),
    examples=(
        "mocban -C archive ingest transfer --fonds TH-2024 --title 'Hồ sơ địa chính 2024'",
        "mocban -C archive ingest bag.zip --fonds TH-2024 --checksums SHA256SUMS",
        "mocban -C archive ingest more --package 01890a5d-ac96-774b-bcce-b302099a8057 --add",
        "mocban -C archive ingest --package 01890a5d-ac96-774b-bcce-b302099a8057 --withdraw 'nháp/ghi chú.txt'",
    ),
)
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--fonds", "fonds_code", metavar="CODE", default="", help=_("The fonds that it belongs to."))
@click.option("--title", default="", help=_("The title of the package; without it, the name of PATH."))
@click.option("--package", metavar="ID", default="", help=_("Make a new version of this package."))
@click.option("--add", is_flag=True, help=_("With --package: PATH holds files that the package does not have."))
@click.option("--replace", is_flag=True, help=_("With --package: PATH holds new files for names that it has."))
@click.option("--withdraw", metavar="PATH", multiple=True, help=_("With --package: leave this file or folder out."))
@click.option("--checksums", metavar="FILE", default="", help=_("A list as sha256sum or md5sum writes it, to verify."))
@click.option("--identify/--no-identify", default=True, show_default=True, help=_("Identify the formats of the files."))
@second_opinion_option
@json_option
@click.pass_obj
def ingest_command(
    call: Call,
    path: str | None,
    *,
    fonds_code: str,
    title: str,
    package: str,
    add: bool,
    replace: bool,
    withdraw: tuple[str, ...],
    checksums: str,
    identify: bool,
    second: str,
    as_json: bool,
) -> int | None:
    """Take in a submission."""
    from preservation.ingest import Request  # noqa: PLC0415 - help does without it

    _check_usage(path, fonds_code, package, add=add, replace=replace, withdraw=withdraw)
    if second != "none":
        _check_second(identify=identify)
    repository = call.writing()
    request = Request(
        source=path,
        fonds_code=fonds_code,
        title=title,
        package=_package(repository, package, fonds_code) if package else "",
        mode="add" if add else "replace" if replace else "new",
        withdrawn=withdraw,
        checksums=checksums,
        identify=identify,
    )
    with call.stoppable():
        receipt = _ingested(repository, request)
        _tell_trouble(receipt)
        said = _consulted(repository, receipt, every=second == "all") if second != "none" else None
    if as_json:
        write_json(_as_json(receipt) | ({"second_opinion": said} if second != "none" else {}))
    else:
        _tell(receipt)
        _tell_second(said)
    return Status.COPIES_SHORT if receipt.under_replicated or receipt.failures else None


def _check_usage(
    path: str | None, fonds_code: str, package: str, *, add: bool, replace: bool, withdraw: tuple[str, ...]
) -> None:
    if add and replace:
        raise click.UsageError(_("--add and --replace exclude each other."))
    if not package and (add or replace or withdraw):
        raise click.UsageError(_("--add, --replace and --withdraw need --package ID."))
    if package and not (add or replace or withdraw):
        raise click.UsageError(_("--package needs one of --add, --replace and --withdraw."))
    if package and path and not (add or replace):
        raise click.UsageError(_("PATH needs --add or --replace."))
    if path is None and (add or replace or not withdraw):
        raise click.UsageError(_("PATH is missing: what shall be taken in?"))
    if not package and not fonds_code:
        raise click.UsageError(_("--fonds CODE is missing; 'mocban fonds list' shows those there are."))


def _package(repository: "Repository", package: str, fonds_code: str) -> str:
    """Return the package's identifier; a fonds that is named must be its own."""
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.holdings import package_named  # noqa: PLC0415 - the same
    from preservation.packages import version_row  # noqa: PLC0415 - the same

    with repository.reading() as view:
        name = package_named(view, package)
        found = rows.one(view, rows.FondsRow, version_row(view, name).fonds)
    if fonds_code and found is not None and found.code != fonds_code:
        raise click.UsageError(_("The package belongs to fonds {code}.").format(code=found.code))
    return name


def _ingested(repository: "Repository", request: "Request") -> "Receipt":
    from preservation.formats.identification import NoIdentification  # noqa: PLC0415 - help does without it
    from preservation.formats.shelf import active, active_bytes  # noqa: PLC0415 - the same
    from preservation.formats.workers import WorkerPool  # noqa: PLC0415 - the same
    from preservation.ingest import ingest  # noqa: PLC0415 - the same

    def total() -> int:
        return _size_of(request.source) if request.source else 0

    def carried_out(identifier: "FormatIdentifier") -> "Receipt":
        with progress(_("Ingest"), total) as told:
            return ingest(repository, request, identifier, told)

    if not request.identify:
        return carried_out(NoIdentification())
    with repository.reading() as view:
        known = active(view)
    with WorkerPool(bundle=lambda: active_bytes(repository, known)) as pool:
        return carried_out(pool)


def _check_second(*, identify: bool) -> None:
    from preservation.formats.second_opinion import check_installed  # noqa: PLC0415 - help does without it

    if not identify:
        raise click.UsageError(_("--second-opinion needs --identify: there would be no first one."))
    check_installed()


def _consulted(repository: "Repository", receipt: "Receipt", *, every: bool) -> dict[str, int] | None:
    """Ask a second tool about what was taken in; None if that failed, as the package is there all the same."""
    from preservation.affected import target_now  # noqa: PLC0415 - help does without it
    from preservation.consulting import consult  # noqa: PLC0415 - the same
    from preservation.reviewing import Asking  # noqa: PLC0415 - the same
    from preservation.stopping import StoppedError  # noqa: PLC0415 - the same
    from storage_backends.errors import MocbanError  # noqa: PLC0415 - the same

    try:
        _target, bundle = target_now(repository)
        beats = {known.puid: known.beats for known in bundle.formats}
        with Asking(repository, beats, every=every) as asking, progress(_("Identification")) as told:
            return consult(repository, receipt.package, receipt.version, asking, told)
    except StoppedError:
        raise  # the same command goes on: the package is there, and nobody is asked twice
    except MocbanError as error:
        warn(marked("The second opinion could not be had: {message}"), message=error)
        return None


def _tell_second(said: "dict[str, int] | None") -> None:
    if said is None:
        return
    counts = {name: number_text(count) for name, count in said.items()}
    say(marked("A second tool was asked about files: {looked}, moved to another format: {moved}"), **counts)
    if said["conflicts"]:
        say(
            marked("Files of which both say different things: {conflicts}; 'mocban formats review' lists them"),
            **counts,
        )


def _size_of(path: str) -> int:
    """Return how many bytes lie at ``path``; only for the bar, so what cannot be read counts nothing."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    size = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return size


def _as_json(receipt: "Receipt") -> dict[str, object]:
    return {
        "package": receipt.package,
        "version": receipt.version,
        "files": receipt.files,
        "bytes": receipt.bytes,
        "packs": len(receipt.packs),
        "copies": receipt.copies,
        "under_replicated": receipt.under_replicated,
        "already": receipt.already,
        "pack_names": receipt.packs,
        "warnings": receipt.warnings,
        "failures": {name: str(error) for name, error in receipt.failures.items()},
    }


def _tell_trouble(receipt: "Receipt") -> None:
    for text in receipt.warnings[:WARNINGS_SHOWN]:
        warn("{text}", text=text)
    if len(receipt.warnings) > WARNINGS_SHOWN:
        warn(marked("Further warnings: {count}; --json shows all"), count=len(receipt.warnings) - WARNINGS_SHOWN)
    for name, error in receipt.failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)


def _tell(receipt: "Receipt") -> None:
    evidence = {
        "package": receipt.package,
        "version": receipt.version,
        "files": number_text(receipt.files),
        "size": size_text(receipt.bytes),
        "copies": receipt.copies,
    }
    if receipt.already:
        say(marked("The same is held already: package {package}, version {version}; nothing was stored"), **evidence)
    else:
        say(
            marked("Package {package}, version {version}. Files: {files}, size: {size}, verified copies: {copies}"),
            **evidence,
        )
    if receipt.under_replicated:
        say(
            marked(
                "It is under-replicated: fewer verified copies than the policy asks. It is not acknowledged until "
                "'mocban replicate' has brought it to more stores"
            )
        )


@command(
    "ingest abandon",
    details=_("'mocban status' lists the sessions. Packs that nothing refers to are removed from the stores."),
    examples=("mocban -C archive ingest abandon 01890a5d-ac96-774b-bcce-b302099a8057",),
)
@click.argument("session")
@json_option
@click.pass_obj
def ingest_abandon_command(call: Call, session: str, *, as_json: bool) -> None:
    """Give an ingest up."""
    from preservation.abandoning import abandon  # noqa: PLC0415 - help does without it

    abandon(call.writing(), session)
    if as_json:
        write_json({"session": session, "abandoned": True})
    else:
        say(marked("The ingest {session} is given up; nothing of it is kept"), session=session)
