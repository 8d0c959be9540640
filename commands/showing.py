"""``list``, ``show``, ``status`` and ``events``: what is held, how it is, and what has happened."""

import base64
import dataclasses
import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from commands.printing import note, say, say_table, warn, write, write_json, write_json_list, write_json_object
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import _, harmless, number_text, size_text, time_text, told
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.pacing import Standing
    from preservation.catalog.catalog import View
    from preservation.catalog.rows import VersionRow
    from preservation.holdings import HeldPackage, HoldingsStatus
    from preservation.identifications import OfPackage
    from preservation.manifest import FileLine, Line
    from preservation.stores import Store

LINES_AT_ONCE = 1_000
"""Lines of a table that are set together: columns fit each such part."""


@command(
    "list",
    examples=(
        "mocban -C archive list",
        "mocban -C archive list --fonds TH-2024",
        "mocban -C archive list --json | python3 -m json.tool",
    ),
)
@click.option("--fonds", "fonds_code", metavar="CODE", default="", help=_("Only the packages of this fonds."))
@json_option
@click.pass_obj
def list_command(call: Call, *, fonds_code: str, as_json: bool) -> None:
    """List the packages."""
    from preservation.holdings import packages  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        found = packages(repository, view, fonds_code)
        if as_json:
            write_json_list(dataclasses.asdict(one) for one in found)
            return
        empty = True
        for lines in _parts(found):
            empty = False
            say_table([_LIST_HEAD(), *lines], right=(2, 3, 4))
    if empty:
        note(marked("There is no package yet: mocban ingest PATH --fonds CODE"))


def _LIST_HEAD() -> tuple[str, ...]:  # noqa: N802 - a constant in the language of the person
    return (_("PACKAGE"), _("FONDS"), _("VERSIONS"), _("FILES"), _("SIZE"), _("COPIES"), _("TITLE"))


def _parts(found: Iterator["HeldPackage"]) -> Iterator[list[tuple[str, ...]]]:
    part: list[tuple[str, ...]] = []
    for one in found:
        copies = _("too few") if one.under_replicated else _("enough")
        sizes = (number_text(one.versions), number_text(one.files), size_text(one.bytes))
        part.append((one.package, one.fonds, *sizes, copies, harmless(one.title)))
        if len(part) == LINES_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


@command(
    "show",
    details=_(
        "PACKAGE is its identifier, or a beginning of it that no other package has. The manifest is read from a store "
        "and verified."
    ),
    examples=(
        "mocban -C archive show 01890a5d-ac96-774b-bcce-b302099a8057",
        "mocban -C archive show 01890a5d-ac96-774b-bcce-b302099a8057 --version 1 --json",
    ),
)
@click.argument("package")
@click.option("--version", type=click.IntRange(min=1), help=_("Another version than the latest."))
@json_option
@click.pass_obj
def show_command(call: Call, package: str, *, version: int | None, as_json: bool) -> None:
    """Show a package."""
    from preservation.holdings import package_named  # noqa: PLC0415 - help does without it
    from preservation.identifications import Layers  # noqa: PLC0415 - the same
    from preservation.manifest import FileLine, FolderLine  # noqa: PLC0415 - the same
    from preservation.packages import manifest, version_row  # noqa: PLC0415 - the same
    from preservation.stores import all_open, attached  # noqa: PLC0415 - the same

    repository = call.reading()
    with repository.reading() as view, all_open(attached(view)) as stores:
        row = version_row(view, package_named(view, package), version)
        with Layers(repository.sidecars, view) as layers:
            later = layers.of_package(row.fonds, row.package)
        lines = manifest(view, stores, row)
        header = next(lines)
        assert isinstance(header, dict)
        facts = _facts(view, row, header)
        if not as_json:
            _tell_package(facts)
            for line in lines:
                if isinstance(line, (FileLine, FolderLine)):
                    _tell_line(line, later)
            return
        folders = (_path_json(line.path) for line in manifest(view, stores, row) if isinstance(line, FolderLine))
        files = (_file_json(line, later) for line in lines if isinstance(line, FileLine))
        write_json_object(facts, {"files": files, "folders": folders})


def _facts(view: "View", row: "VersionRow", header: dict[str, Any]) -> dict[str, Any]:
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it

    head = rows.one(view, rows.PackageRow, row.package)
    return {
        "package": row.package,
        "version": row.version,
        "versions": row.version if head is None else head.latest,
        "fonds": str(header.get("fonds_code", row.fonds)),
        "title": str(header.get("title", "")),
        "ingested": row.ingested,
        "agent": str(header.get("agent", "")),
        "file_count": row.files,
        "bytes": row.byte_count,
        "packs": sorted({*row.packs, *row.references}),
        "manifest": f"blake3:{row.manifest_blake3}",
        "submission": header.get("submission", {}),
    }


def _path_json(path: bytes) -> dict[str, Any]:
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": path.decode("utf-8", "backslashreplace"), "path_b64": base64.b64encode(path).decode()}


def _file_json(line: "FileLine", later: "OfPackage") -> dict[str, Any]:
    rest = {name: value for name, value in line.line.items() if name not in {"path", "path_b64", "nfc"}}
    newest = later.newest(line)
    if newest.changes:
        rest |= {**newest.answer.to_json(), "before": [one.to_json() for one in newest.before]}
    return {**_path_json(line.path), "formats": [], **rest}


def _tell_package(facts: dict[str, Any]) -> None:
    say(marked("Package:   {package}, version {version} of {versions}"), **facts)
    say(marked("Fonds:     {fonds}"), **facts)
    say(marked("Title:     {title}"), **facts)
    say(marked("Ingested:  {time} by {agent}"), time=time_text(facts["ingested"]), agent=facts["agent"])
    size = size_text(facts["bytes"])
    packs = len(facts["packs"])
    say(
        marked("Content:   files: {files}, size: {size}, packs: {packs}"),
        files=facts["file_count"],
        size=size,
        packs=packs,
    )
    write("")


def _tell_line(line: "Line", later: "OfPackage") -> None:
    from preservation.manifest import FolderLine  # noqa: PLC0415 - help does without it

    if isinstance(line, FolderLine):
        write(f"{'':>12}  {'':10}  {harmless(line.path)}")
        return
    newest = later.newest(line)
    if newest.changes:
        found = [str(match.puid) for match in newest.answer.formats]
    else:
        found = [str(one.get("puid", "")) for one in line.line.get("formats", ())]
    puids = ",".join(found) or "-"
    write(f"{size_text(line.size):>12}  {puids:10}  {harmless(line.path)}")
    write(f"{'':>12}  {'':10}  blake3:{line.blake3}")


@command(
    "status",
    details=_("What the stores hold stands there as it was last seen; 'mocban audit' looks again."),
    examples=("mocban -C archive status", "mocban -C archive status --json"),
)
@json_option
@click.pass_obj
def status_command(call: Call, *, as_json: bool) -> None:
    """Show how the repository is."""
    from audits.findings import next_command  # noqa: PLC0415 - help does without it
    from audits.pacing import standing  # noqa: PLC0415 - the same
    from preservation.holdings import status  # noqa: PLC0415 - the same
    from preservation.stores import all_open, attached  # noqa: PLC0415 - the same

    repository = call.reading()
    deadlines = standing(repository)
    with repository.reading() as view, all_open(attached(view)) as stores:
        found = status(repository, view, stores)
        if as_json:
            more = dataclasses.asdict(deadlines)
            more["findings"] = [
                {**dataclasses.asdict(one), "severity": one.severity, "next": next_command(one)}
                for one in deadlines.findings
            ]
            write_json({**dataclasses.asdict(found), "findings": more.pop("findings"), "standing": more})
        else:
            _tell_status(found, stores)
            _tell_standing(deadlines)
            if found.unfinished_audits and deadlines.doing != "audit":
                say(marked("An audit is not finished: run it again with the same options to go on"))


def _tell_status(found: "HoldingsStatus", stores: "list[Store]") -> None:
    say(
        marked("Packages: {packages}  Objects: {objects}  Size: {size}  Packs: {packs}  Events: {events}"),
        packages=number_text(found.packages),
        objects=number_text(found.objects),
        size=size_text(found.bytes),
        packs=number_text(found.packs),
        events=number_text(found.events),
    )
    say(marked("Last audit: {time}"), time=time_text(found.last_audit or ""))
    if found.stores:
        write("")
        head = (_("STORE"), _("SITE"), _("PACKS"), _("VERIFIED"), _("DAMAGED"), _("MISSING"), _("UNREADABLE"))
        lines: list[tuple[str, ...]] = [(*head, _("NEVER"), _("OLDEST VERIFICATION"))]
        for one in found.stores:
            counts = (one.packs, one.verified, one.damaged, one.missing, one.unreadable, one.never_verified)
            numbers = [number_text(count) for count in counts]
            lines.append((one.name, one.site, *numbers, time_text(one.oldest_verification or "")))
        say_table(lines, right=range(2, 8))
    else:
        note(marked("There is no store yet: mocban store add NAME URL --site SITE"))
    _tell_open_matters(found, stores)


def _tell_open_matters(found: "HoldingsStatus", stores: "list[Store]") -> None:
    write("")
    for store in stores:
        if store.failure is not None:
            say(marked("Store {name} is not there: {message}"), name=store.name, message=store.failure)
    if found.lost_objects:
        say(marked("Objects lost on every copy: {count}; 'mocban audit' names them"), count=found.lost_objects)
    for package in found.under_replicated:
        say(marked("Package {package} is under-replicated: run 'mocban replicate'"), package=package)
    for one in found.unfinished:
        say(
            marked(
                "The ingest {session} of {source} is not finished: run it again, or 'mocban ingest abandon {session}'"
            ),
            session=one.session,
            source=one.source or "?",
        )


def _tell_standing(found: "Standing") -> None:
    """Tell whether every copy will be verified in time, and what keeps it from that."""
    from audits.findings import MEANING, next_command  # noqa: PLC0415 - help does without it

    if found.alive:
        say(marked("The service was last at work: {time}"), time=time_text(found.alive))
    else:
        say(marked("The service was never at work: mocban serve"))
    for one in found.stores:
        say(
            marked(
                "{store}: days since a copy was written or last verified: {median} in the median, {p95} at 95 %, "
                "{oldest} at most, {limit} allowed; to be read: {rate} a second"
            ),
            store=one.name,
            median=f"{one.median_age_days:.0f}",
            p95=f"{one.p95_age_days:.0f}",
            oldest=f"{one.oldest_age_days:.0f}",
            limit=f"{one.max_age_days:.0f}",
            rate=size_text(one.bytes_per_second),
        )
        if one.shortest_interval_days is not None:
            say(
                marked("{store}: its drive can read all {cartridges} cartridges once in {days} days at best"),
                store=one.name,
                cartridges=number_text(one.cartridges),
                days=f"{one.shortest_interval_days:.2f}",
            )
    names = {one.store: one.name for one in found.stores}
    for pause in found.pauses:
        name = names.get(pause.store, pause.store) or _("all stores")
        say(
            marked("Audits are paused until {time} ({reason}): {what}"),
            time=time_text(pause.until),
            reason=pause.reason,
            what=name,
        )
    for work, failure in found.failures.items():
        say(
            marked("The service could not do {work} since {time}, tries: {count}: {error}"),
            work=work,
            time=time_text(failure.since),
            count=failure.count,
            error=failure.reason,
        )
    for table in found.unknown:
        warn(marked("mocban.toml has [{table}], and there is nothing of this name"), table=table)
    if found.clock_behind_seconds:
        warn(marked("The clock is behind the last event by so many seconds: {count}"), count=found.clock_behind_seconds)
    for finding in found.findings:
        where = " ".join(part for part in (finding.store, told(finding.detail)) if part)
        warn(marked("{code}: {what} ({where})"), code=str(finding.code), what=_(MEANING[finding.code]), where=where)
        note(marked("  next: {command}"), command=shlex.join(next_command(finding)))


@command(
    "events",
    details=_("TYPE is a type of event, such as ingestion, 'fixity check', replication, pack-sealed or repair."),
    examples=(
        "mocban -C archive events --limit 20",
        "mocban -C archive events --type repair",
        "mocban -C archive events --package 01890a5d-ac96-774b-bcce-b302099a8057 --json",
    ),
)
@click.option("--since", metavar="N", type=click.IntRange(min=0), default=0, help=_("Begin with event number N."))
@click.option("--package", metavar="ID", default="", help=_("Only events about this package and its packs."))
@click.option("--pack", metavar="DIGEST", default="", help=_("Only events about this pack."))
@click.option("--object", "object_digest", metavar="DIGEST", default="", help=_("Only about packs that hold this."))
@click.option("--store", metavar="NAME", default="", help=_("Only events about this store."))
@click.option("--run", "run_id", metavar="ID", default="", help=_("Only events of this audit."))
@click.option("--type", "kind", metavar="TYPE", default="", help=_("Only events of this type."))
@click.option("--limit", metavar="N", type=click.IntRange(min=0), help=_("At most so many."))
@json_option
@click.pass_obj
def events_command(
    call: Call,
    *,
    since: int,
    package: str,
    pack: str,
    object_digest: str,
    store: str,
    run_id: str,
    kind: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what has happened."""
    from preservation.holdings import Asked, events, package_named, short_type, when  # noqa: PLC0415 - as above

    repository = call.reading()
    if package:
        with repository.reading() as view:
            package = package_named(view, package)
    asked = Asked(
        since=since,
        kind=kind,
        package=package,
        pack=pack.removeprefix("blake3:").removesuffix(".tar"),
        object=object_digest.removeprefix("blake3:"),
        store=store,
        run=run_id,
        limit=limit,
    )
    found = events(repository, asked)
    if as_json:
        write_json_list(json.loads(record.data) for record in found)
        return
    for record in found:
        event = record.event
        detail = " ".join(f"{name}={_short(value)}" for name, value in sorted(event.detail.items()))
        time = time_text(when(record))
        write(
            harmless(f"{record.seq:>7}  {time}  {event.outcome:7}  {short_type(event.type)}  {event.agent}  {detail}")
        )


def _short(value: object) -> str:
    """Return a value of an event on little room; --json has all of it."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - the width of a line
