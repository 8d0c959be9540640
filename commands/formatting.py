"""``formats identify`` and ``formats signatures``: which format a file has, and by which signatures that is told."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from commands.printing import dumped, note, say, say_table, write, write_json
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call, processors
from commands.wording import _, harmless, number_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.formats.bundles import SignatureBundle
    from preservation.formats.files import FileAnswer
    from preservation.formats.shelf import About

MOST_WORKERS = 16
"""Processes that identify at once; each may take a gigabyte."""

containers_option = click.option(
    "--containers",
    "containers_path",
    metavar="FILE",
    default="",
    help=_("DROID's container signature file; without it, the one that is shipped with FIDO."),
)
skeletons_option = click.option(
    "--skeletons",
    metavar="DIR",
    default="",
    help=_("Judge by files whose names say their PUID, and refuse what does worse than the active signatures."),
)


@command(
    "formats identify",
    details=_(
        "Needs no repository; where there is one, its active signatures are used. Folders are walked, links in them "
        "are not followed. With --json one object is printed for each file, a line each: path, puids, basis, tool, "
        "bundle, warnings, milliseconds. Exit status 3: a file could not be read or looked at, and its line says so."
    ),
    examples=(
        "mocban formats identify transfer --json",
        "mocban formats identify transfer --signatures DROID_SignatureFile_V122.xml --containers FILE",
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--signatures", "droid", metavar="FILE", default="", help=_("A DROID signature file to use this time."))
@containers_option
@json_option
@click.pass_obj
def formats_identify_command(
    call: Call, paths: tuple[str, ...], *, droid: str, containers_path: str, as_json: bool
) -> int | None:
    """Identify files."""
    from preservation.formats.files import identify_files  # noqa: PLC0415 - help does without it

    if containers_path and not droid:
        raise click.UsageError(_("--containers needs --signatures FILE."))
    bundle, content, tool = _bundle_in_use(call, droid, containers_path)
    missed = 0
    for found in identify_files(paths, content, min(processors(), MOST_WORKERS)):
        missed += found.answer.status == "failed"
        if as_json:
            write(dumped(_as_json(found, tool, bundle)))
        else:
            _tell(found)
    return Status.FINDINGS if missed else None


def _bundle_in_use(call: Call, droid: str, containers_path: str) -> tuple[str, Callable[[], bytes], str]:
    """Return the identifier of the bundle, what gives its bytes, and the tool."""
    from preservation.configuration import NoRepositoryError  # noqa: PLC0415 - help does without it
    from preservation.formats.engine import shipped_id, tool_name  # noqa: PLC0415 - the same
    from preservation.formats.process import built_elsewhere  # noqa: PLC0415 - the same
    from preservation.formats.shelf import active, active_bytes  # noqa: PLC0415 - the same

    if droid:
        bundle = _bundle_of(droid, containers_path)
        return bundle.id, bundle.to_bytes, bundle.tool
    try:
        repository = call.reading()
    except NoRepositoryError:
        return shipped_id(), built_elsewhere, tool_name()
    with repository.reading() as view:
        known = active(view)
    return known.bundle, lambda: active_bytes(repository, known), tool_name()


def _bundle_of(droid: str, containers_path: str) -> "SignatureBundle":
    from preservation.formats.bundles import bundle_of_files  # noqa: PLC0415 - help does without it
    from preservation.formats.engine import shipped_containers_path, tool_name  # noqa: PLC0415 - the same

    return bundle_of_files(droid, containers_path or shipped_containers_path(), tool=tool_name())


def _as_json(found: "FileAnswer", tool: str, bundle: str) -> dict[str, object]:
    answer = found.answer
    return {
        "path": found.path,
        "puids": [match.puid for match in answer.formats],
        "basis": answer.formats[0].basis if answer.formats else None,
        "tool": tool,
        "bundle": bundle,
        "warnings": list(answer.warnings),
        "milliseconds": answer.milliseconds,
    }


def _tell(found: "FileAnswer") -> None:
    answer = found.answer
    puids = ", ".join(match.puid for match in answer.formats) or "-"
    basis = answer.formats[0].basis if answer.formats else "-"
    warnings = "; ".join(_(warning) for warning in answer.warnings)
    write("  ".join(part for part in (f"{puids:<12}", f"{basis:<9}", harmless(found.path), warnings) if part))


@command(
    "formats signatures build",
    details=_(
        "Makes a bundle of the signatures that are shipped with FIDO and keeps it in the repository's folder. It is in "
        "use as long as no other one is activated."
    ),
    examples=("mocban -C archive formats signatures build",),
)
@skeletons_option
@json_option
@click.pass_obj
def formats_signatures_build_command(call: Call, *, skeletons: str, as_json: bool) -> None:
    """Build the bundle of the shipped signatures."""
    from preservation.formats.engine import shipped_bundle  # noqa: PLC0415 - help does without it

    _add(call, shipped_bundle, skeletons, as_json=as_json)


@command(
    "formats signatures import",
    details=_(
        "Takes a DROID signature file and a container signature file, as The National Archives publish them; nothing "
        "is fetched. It is used when it is activated."
    ),
    examples=(
        "mocban -C archive formats signatures import DROID_SignatureFile_V122.xml --containers FILE --skeletons DIR",
    ),
)
@click.argument("droid", metavar="FILE")
@containers_option
@skeletons_option
@json_option
@click.pass_obj
def formats_signatures_import_command(
    call: Call, droid: str, *, containers_path: str, skeletons: str, as_json: bool
) -> None:
    """Import signatures."""
    _add(call, lambda: _bundle_of(droid, containers_path), skeletons, as_json=as_json)


def _add(call: Call, made: "Callable[[], SignatureBundle]", skeletons: str, *, as_json: bool) -> None:
    from preservation.formats.shelf import add  # noqa: PLC0415 - help does without it

    repository = call.writing()
    added = add(repository, made(), skeletons)
    if as_json:
        write_json({**_about_json(added.about), "already": added.already})
        return
    say(marked("Bundle {bundle}: {label}"), bundle=added.about.bundle, label=added.about.label)
    say(
        marked("Formats: {formats}, signatures: {signatures}, container signatures: {containers}"),
        formats=added.about.formats,
        signatures=added.about.signatures,
        containers=added.about.container_signatures,
    )
    _tell_judgement(added.about)


def _tell_judgement(about: "About") -> None:
    judgement, other = about.judgement, about.against_judgement
    if judgement is None or other is None:
        say(marked("Not judged: no suite of files was given"))
        return
    say(
        marked("Told exactly: {binary} of {binary_files} files by bytes, {container} of {container_files} containers"),
        binary=judgement.binary_exact,
        binary_files=judgement.binary_files,
        container=judgement.container_exact,
        container_files=judgement.container_files,
    )
    say(
        marked("The active signatures tell {binary} and {container} of the same files"),
        binary=other.binary_exact,
        container=other.container_exact,
    )


@command(
    "formats signatures activate",
    details=_(
        "BUNDLE is an identifier or its beginning, or the word shipped. Files that come in from now on are told by it; "
        "what is held keeps its answers until it is identified again. The ledger records it."
    ),
    examples=("mocban -C archive formats signatures activate a9ed12980cff",),
)
@click.argument("bundle")
@skeletons_option
@click.option(
    "--accept-unjudged", is_flag=True, help=_("Activate it although no suite has compared it with the active one.")
)
@json_option
@click.pass_obj
def formats_signatures_activate_command(
    call: Call, bundle: str, *, skeletons: str, accept_unjudged: bool, as_json: bool
) -> None:
    """Activate a bundle."""
    from preservation.formats.shelf import activate, bundle_named  # noqa: PLC0415 - help does without it

    repository = call.writing()
    name = bundle_named(repository, bundle)
    done = activate(repository, name, skeletons=skeletons, accept_unjudged=accept_unjudged)
    if as_json:
        write_json({**_about_json(done.about), "previous": done.previous, "already": done.already})
    elif done.already:
        say(marked("It is active already: {label}"), label=done.about.label)
    else:
        say(marked("Active now: {label}"), label=done.about.label)


@command(
    "formats signatures list",
    details=_("The bundles in the repository's folder; a star stands beside the one in use."),
    examples=("mocban -C archive formats signatures list --json",),
)
@json_option
@click.pass_obj
def formats_signatures_list_command(call: Call, *, as_json: bool) -> None:
    """List the bundles."""
    from preservation.formats.shelf import active, bundles  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        known = active(view)
    found = bundles(repository)
    if as_json:
        write_json([{**_about_json(one), "active": one.bundle == known.bundle} for one in found])
        return
    if all(one.bundle != known.bundle for one in found):
        note(marked("In use: the signatures that are shipped with FIDO, bundle {bundle}"), bundle=known.bundle)
    lines = [("", _("BUNDLE"), _("SIGNATURES"), _("FORMATS"), _("JUDGED"))]
    lines += [
        (
            "*" if one.bundle == known.bundle else "",
            one.bundle,
            f"pronom {one.pronom}, container {one.containers}",
            number_text(one.formats),
            f"{one.judgement.exact}/{one.judgement.files}" if one.judgement else _("not judged"),
        )
        for one in found
    ]
    say_table(lines, right=(3, 4))


@command(
    "formats signatures diff",
    details=_(
        "OLD and NEW are identifiers or their beginnings, or the words active and shipped. Told are the formats that "
        "are new, gone, or told otherwise: by other signatures, members of containers, priorities or extensions."
    ),
    examples=("mocban -C archive formats signatures diff shipped active",),
)
@click.argument("old")
@click.argument("new")
@json_option
@click.pass_obj
def formats_signatures_diff_command(call: Call, old: str, new: str, *, as_json: bool) -> None:
    """Compare two bundles."""
    from preservation.formats.difference import difference  # noqa: PLC0415 - help does without it
    from preservation.formats.shelf import bundle_named, load_bundle  # noqa: PLC0415 - the same

    repository = call.reading()
    before, after = (load_bundle(repository, bundle_named(repository, name)) for name in (old, new))
    found = difference(before, after)
    if as_json:
        write_json(
            {
                "old": before.id,
                "new": after.id,
                "added": list(found.added),
                "removed": list(found.removed),
                "changed": {puid: list(what) for puid, what in found.changed.items()},
                "extensions": list(found.extensions),
            }
        )
        return
    say(
        marked("New formats: {added}, gone: {removed}, told otherwise: {changed}"),
        added=len(found.added),
        removed=len(found.removed),
        changed=len(found.changed),
    )
    names = {known.puid: f"{known.name} {known.version}".strip() for known in (*before.formats, *after.formats)}
    rows = [("+", puid, harmless(names[puid]), "") for puid in found.added]
    rows += [("-", puid, harmless(names[puid]), "") for puid in found.removed]
    rows += [
        ("~", puid, harmless(names[puid]), ", ".join(_(one) for one in what)) for puid, what in found.changed.items()
    ]
    for row in rows:
        write("  ".join(part for part in row if part))


def _about_json(about: "About") -> dict[str, object]:
    import dataclasses  # noqa: PLC0415 - help does without it

    judgement, other = about.judgement, about.against_judgement
    return {
        "bundle": about.bundle,
        "pronom": about.pronom,
        "containers": about.containers,
        "tool": about.tool,
        "formats": about.formats,
        "signatures": about.signatures,
        "container_signatures": about.container_signatures,
        "added": about.added,
        "judged": judgement is not None,
        "judgement": None if judgement is None else dataclasses.asdict(judgement),
        "against": about.against,
        "against_judgement": None if other is None else dataclasses.asdict(other),
    }
