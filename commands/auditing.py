"""``audit`` and ``repair``: is everything still what was promised?"""

import dataclasses
import math
import shlex
from typing import TYPE_CHECKING

import click

from commands.printing import say, write, write_json
from commands.progress import progress
from commands.shaping import byte_count, command, duration, json_option
from commands.surroundings import Call
from commands.wording import _, filled, harmless, number_text
from commands.wording import told as said
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.findings import Finding
    from audits.run import Report, Scope
    from audits.sampling import Sample, Stratum
    from preservation.repository import Repository

FINDINGS_SHOWN = 200

REASONS = {
    "age": marked("verified lately enough"),
    "time": marked("the time was used up"),
    "bytes": marked("the bytes were used up"),
    "stopped": marked("told to stop"),
    "not-read": marked("there and of the right size; the bytes were not read"),
    "not-sampled": marked("not in the sample"),
    "no-provider-checksum": marked("the store computes no digests, so nothing was looked at"),
}


def _sample(text: str) -> str:
    """Return the size of a sample as it was asked for, if it is one."""
    from audits.sampling import SampleError, size_of  # noqa: PLC0415 - help does without it

    try:
        size_of(text, 0)
    except SampleError as error:
        raise click.BadParameter(said(error)) from error
    return text


@command(
    "audit",
    details=_(
        "Every copy is read from its medium, never verified ones first, then the oldest; what is wrong is put together "
        "from what is good on all stores. The budget (--time, --bytes) ends an audit early, which is not an error. "
        "Stopped (Ctrl-C), the same command goes on where it was. Without a budget and a scope the catalog is compared "
        "with the ledger first. --grade inventory only asks the stores what is there; --sample reads some copies and "
        "says what that allows to say of all. Neither counts as a verification. Exit status 3: a finding is open, or a "
        "store could not be looked at."
    ),
    examples=(
        "mocban -C archive audit",
        "mocban -C archive audit --max-age 30 --time 2h --bytes 500G",
        "mocban -C archive audit --store disk1 --no-repair --json",
        "mocban -C archive audit --store tapes --sample 300",
    ),
)
@click.option("--max-age", metavar="DAYS", type=click.IntRange(min=0), help=_("Pass over copies verified since then."))
@click.option("--time", "seconds", metavar="TIME", type=duration, help=_("Begin no copy after so long (90, 1h30m)."))
@click.option("--bytes", "most_bytes", metavar="SIZE", type=byte_count, help=_("Begin no copy after so much (10G)."))
@click.option("--store", "stores", metavar="NAME", multiple=True, help=_("Only copies on this store; may be repeated."))
@click.option("--fonds", "codes", metavar="CODE", multiple=True, help=_("Only packs of this fonds; may be repeated."))
@click.option("--package", "ids", metavar="ID", multiple=True, help=_("Only packs of this package; may be repeated."))
@click.option(
    "--grade",
    type=click.Choice(["inventory", "provider", "bytes"]),
    default="bytes",
    show_default=True,
    help=_("What a verdict rests on: existence and size, a digest by the store's provider, bytes read by us."),
)
@click.option("--sample", metavar="N|P%", type=_sample, help=_("Read only so many copies, drawn at random (300, 5%)."))
@click.option(
    "--ends",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help=_("With --sample: read the first and last N packs of each cartridge as well."),
)
@click.option("--repair/--no-repair", default=True, show_default=True, help=_("Heal what is wrong."))
@json_option
@click.pass_obj
def audit_command(
    call: Call,
    *,
    max_age: int | None,
    seconds: float | None,
    most_bytes: int | None,
    stores: tuple[str, ...],
    codes: tuple[str, ...],
    ids: tuple[str, ...],
    grade: str,
    sample: str | None,
    ends: int,
    repair: bool,
    as_json: bool,
) -> int:
    """Audit."""
    from audits.run import Scope, audit  # noqa: PLC0415 - help does without it
    from preservation.checking import Grade  # noqa: PLC0415 - the same

    repository = call.writing()
    asked = Scope(
        max_age_days=max_age,
        seconds=seconds,
        bytes=most_bytes,
        stores=stores,
        fonds=codes,
        packages=ids,
        grade=Grade(grade),
        sample=sample or "",
        ends=ends if sample else 0,
    )
    scope = _checked(repository, asked)
    with call.stoppable(), progress(_("Audit"), lambda: _bytes_to_read(repository, scope)) as told:
        report = audit(repository, scope, repair=repair, told=told)
    return _tell(report, as_json=as_json)


def _checked(repository: "Repository", scope: "Scope") -> "Scope":
    """Return the scope with whole package ids; what does not exist is an error, never an audit of nothing."""
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.fonds import NoSuchFondsError  # noqa: PLC0415 - the same
    from preservation.holdings import package_named  # noqa: PLC0415 - the same
    from preservation.stores import store_named  # noqa: PLC0415 - the same

    if not (scope.stores or scope.fonds or scope.packages):
        return scope  # without a look at the catalog: an audit of everything heals it first
    with repository.reading() as view:
        for name in scope.stores:
            store_named(view, name)
        known = {row.code for row in rows.every(view, rows.FondsRow)}
        for code in scope.fonds:
            if code not in known:
                raise NoSuchFondsError(code=code)
        return dataclasses.replace(scope, packages=tuple(package_named(view, name) for name in scope.packages))


def _bytes_to_read(repository: "Repository", scope: "Scope") -> int:
    """Return about how many bytes the audit will read; only for the bar."""
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it

    with repository.reading() as view:
        sizes = {row.pack: row.size for row in rows.every(view, rows.PackRow) if row.state in rows.EXPECTED_STATES}
        stores = {row.store for row in rows.every(view, rows.StoreRow) if not scope.stores or row.name in scope.stores}
        copies = rows.every(view, rows.CopyRow)
        size = sum(sizes.get(copy.pack, 0) for copy in copies if copy.store in stores)
    return min(size, scope.bytes) if scope.bytes is not None else size


@command(
    "repair",
    details=_(
        "Without names, all copies that were last seen damaged, missing or unreadable are looked at again and healed; "
        "with names, all copies of these packs or packages."
    ),
    examples=("mocban -C archive repair", "mocban -C archive repair 01890a5d-ac96-774b-bcce-b302099a8057"),
)
@click.argument("names", metavar="[PACK|PACKAGE]...", nargs=-1)
@json_option
@click.pass_obj
def repair_command(call: Call, names: tuple[str, ...], *, as_json: bool) -> int:
    """Repair."""
    from audits.run import repair_named  # noqa: PLC0415 - help does without it

    repository = call.writing()
    wanted = [_pack_or_package(repository, name) for name in names]
    with call.stoppable(), progress(_("Repair")) as told:
        report = repair_named(repository, wanted, told)
    return _tell(report, as_json=as_json)


def _pack_or_package(repository: "Repository", name: str) -> str:
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.holdings import package_named  # noqa: PLC0415 - the same

    digest = name.removeprefix("blake3:").removesuffix(".tar")
    with repository.reading() as view:
        if rows.one(view, rows.PackRow, digest) is not None:
            return digest
        return package_named(view, name)


def _tell(report: "Report", *, as_json: bool) -> int:
    if as_json:
        write_json(
            {
                "run": report.run,
                "complete": report.complete,
                "coverage": dataclasses.asdict(report.coverage),
                "sample": _sample_json(report.sample),
                "findings": [_finding_json(one) for one in report.findings],
            }
        )
    else:
        _tell_findings(report)
        _tell_coverage(report)
    return report.exit_status


def _sample_json(sample: "Sample | None") -> dict[str, object] | None:
    if sample is None:
        return None
    return {
        "confidence_percent": 95,
        **_figures_json(sample),
        "strata": [{"store": one.store, "age_years": one.age, **_figures_json(one)} for one in sample.strata],
    }


def _figures_json(one: "Sample | Stratum") -> dict[str, object]:
    return {
        "population": one.population,
        "looked": one.looked,
        "bad": one.bad,
        "unreadable": one.unreadable,
        "at_most_bad": one.at_most,
        "at_most_percent": _share(one),
    }


def _share(one: "Sample | Stratum") -> float:
    """Return the bound in percent, rounded up: what is quoted must not be better than what was found."""
    return math.ceil(10_000 * one.at_most / one.population) / 100 if one.population else 0.0


def _finding_json(finding: "Finding") -> dict[str, object]:
    from audits.findings import CAUSES, next_command  # noqa: PLC0415 - help does without it

    return {
        "code": str(finding.code),
        "severity": str(finding.severity),
        "store": finding.store,
        "pack": finding.pack,
        "cartridge": finding.cartridge,
        "detail": finding.detail,
        "healed": finding.healed,
        "open": finding.is_open,
        "causes": list(CAUSES.get(finding.code, ())),
        "next": next_command(finding),
    }


def _tell_findings(report: "Report") -> None:
    from audits.findings import CAUSES, MEANING, Severity, next_command  # noqa: PLC0415 - help does without it

    explained = set()

    for one in report.findings[:FINDINGS_SHOWN]:
        state = marked("healed") if one.healed else marked("OPEN") if one.is_open else marked("warning")
        if one.severity is Severity.WARNING:
            state = marked("warning")
        parts = (harmless(one.store), f"{one.pack[:16]}..." if one.pack else "", said(one.detail))
        where = " ".join(part for part in parts if part)
        write(f"[{_(state)}] {one.code}: {_(MEANING[one.code])}" + (f" ({where})" if where else ""))
        if one.code not in explained and not one.healed:
            explained.add(one.code)
            causes = "; ".join(_(cause) for cause in CAUSES.get(one.code, ()))
            write("  " + filled(marked("may come from: {causes}"), causes=causes))
        if command_line := shlex.join(next_command(one)):
            write("  " + filled(marked("next: {command}"), command=command_line))
    rest = len(report.findings) - FINDINGS_SHOWN
    if rest > 0:
        say(marked("Further findings: {count}; --json shows all"), count=rest)


def _tell_coverage(report: "Report") -> None:
    coverage = report.coverage
    counts = {
        name: number_text(value) for name, value in dataclasses.asdict(coverage).items() if isinstance(value, int)
    }
    say(
        marked(
            "{expected} copies expected = {verified} verified + {damaged} damaged + {missing} missing + {unreadable} "
            "unreadable + {skipped} skipped; {repaired} repaired, {unexpected} unexpected items"
        ),
        **counts,
    )
    for reason, count in sorted(coverage.skipped_reasons.items()):
        write("  " + filled(marked("skipped: {count}, {reason}"), count=count, reason=REASONS.get(reason, reason)))
    if report.sample is not None:
        _tell_sample(report.sample)
    for name in coverage.lost_objects:
        say(marked("Lost on every copy: {name}"), name=name)
    status = report.exit_status
    if coverage.grade != "bytes":
        say(
            marked("Grade of evidence: {grade}; no byte of a copy was read and none counts as verified"),
            grade=coverage.grade,
        )
    say(marked("Findings are open: something must be done") if status else marked("Nothing is open"))


def _tell_sample(sample: "Sample") -> None:
    figures = {"bad": sample.bad, "looked": sample.looked, "population": sample.population, "most": sample.at_most}
    say(
        marked(
            "Sample: {bad} bad of {looked}, out of {population} copies; with 95 % confidence at most {most} copies "
            "({percent} %) are bad. The others were not verified"
        ),
        percent=_share(sample),
        **{name: number_text(value) for name, value in figures.items()},
    )
    if sample.unreadable:
        say(marked("Of the sample, copies that could not be read, counted as bad: {count}"), count=sample.unreadable)
    for one in sample.strata:
        text = filled(
            marked("{store}, ends of cartridges: {bad} bad of {looked}, out of {population}; at most {percent} %")
            if one.age == "ends"
            else marked(
                "{store}, written {age} years ago: {bad} bad of {looked}, out of {population}; at most {percent} %"
            ),
            store=one.store,
            age=one.age,
            bad=one.bad,
            looked=one.looked,
            population=one.population,
            percent=_share(one),
        )
        write("  " + text)
