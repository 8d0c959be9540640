"""``migrate``: pathways, and plans that a second person approves."""

from typing import TYPE_CHECKING

import click

from commands.migration_text import (
    draft_lines,
    pathway_rows,
    plan_json,
    plan_lines,
    plan_rows,
)
from commands.printing import note, say, say_table, write, write_json, write_json_list
from commands.progress import progress
from commands.shaping import command, duration, json_option
from commands.surroundings import Call
from commands.wording import _
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.formats.workers import WorkerPool
    from preservation.migration.sandbox import Limits
    from preservation.repository import Repository

LEVELS = ("low", "moderate", "high")

unisolated_option = click.option(
    "--unisolated", is_flag=True, help=_("Run tools even where they cannot be shut in; better install bubblewrap.")
)
timeout_option = click.option(
    "--timeout",
    metavar=_("SECONDS"),
    type=duration,
    default="600",
    show_default=True,
    help=_("How long one start of a tool may take; or 10m."),
)


def pool_of(repository: "Repository") -> "WorkerPool":
    """Return workers that identify by the bundle in use."""
    from preservation.formats.shelf import active_bytes  # noqa: PLC0415 - help does without it
    from preservation.formats.workers import WorkerPool  # noqa: PLC0415 - the same

    return WorkerPool(bundle=lambda: active_bytes(repository))


def limits_of(seconds: float) -> "Limits":
    """Return what one start of a tool may use."""
    from preservation.migration.sandbox import Limits  # noqa: PLC0415 - help does without it

    if not seconds:
        raise click.BadParameter(_("0 seconds are too few."), param_hint="--timeout")
    return Limits(seconds=seconds, cpu_seconds=max(1, int(seconds)))


@command(
    "migrate pathways",
    details=_("From which formats into which, with which program in which version, or which programs are missing."),
    examples=("mocban migrate pathways", "mocban migrate pathways tcvn3-utf8 --json"),
)
@click.argument("names", metavar="[PATHWAY]...", nargs=-1)
@unisolated_option
@json_option
def migrate_pathways_command(names: tuple[str, ...], *, unisolated: bool, as_json: bool) -> None:
    """List the pathways."""
    from preservation.migration.errors import NoSuchPathwayError  # noqa: PLC0415 - help does without it
    from preservation.migration.pathway import available, pathways, sandbox  # noqa: PLC0415 - the same

    known = pathways()
    for name in names:
        if name not in {one.id for one in known}:
            raise NoSuchPathwayError(pathway=name)
    place = sandbox(unisolated=unisolated)
    found = [(one, available(one, place)) for one in known if not names or one.id in names]
    if as_json:
        write_json_list(
            {
                "pathway": one.id,
                "sources": list(one.sources),
                "targets": list(one.targets),
                "wanted": one.wanted,
                "tool": one.tool or "mocban",
                "version": availability.version,
                "missing": list(availability.missing),
                "lossless": one.lossless,
                "checks": list(one.checks),
            }
            for one, availability in found
        )
        return
    say_table(pathway_rows(found))


@command(
    "migrate plan",
    details=_(
        "Freezes which files are meant (their number, and a root over packages, paths and contents), which tool in "
        "which version, and what must hold of each output; tries it on a sample and says what was measured. Without "
        "--key, the author signs later: 'mocban migrate approve PLAN --author'. A second person must approve it."
    ),
    examples=(
        "mocban -C archive migrate plan tcvn3-utf8 --agent 'Nguyễn Thị An' --key an.pem",
        "mocban -C archive migrate plan tcvn3-utf8 --fonds TH-2024 --agent 'Nguyễn Thị An' --dry-run",
    ),
)
@click.argument("pathway")
@click.option("--agent", metavar="NAME", required=True, help=_("Who makes the plan, as registered."))
@click.option("--key", metavar="FILE", default="", help=_("The author's private key; it is read and not kept."))
@click.option("--fonds", metavar="CODE", default="", help=_("Only files of this fonds."))
@click.option("--package", "packages", metavar="ID", multiple=True, help=_("Only files of this package."))
@click.option("--puid", "puids", metavar="PUID", multiple=True, help=_("Only files of this format."))
@click.option(
    "--risk", type=click.Choice(LEVELS), help=_("Only formats whose risk is this grade or worse at the moment.")
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help=_("How many are tried."),
)
@click.option("--dry-run", is_flag=True, help=_("Try it and say what the plan would be; record nothing."))
@unisolated_option
@timeout_option
@json_option
@click.pass_obj
def migrate_plan_command(
    call: Call,
    pathway: str,
    *,
    agent: str,
    key: str,
    fonds: str,
    packages: tuple[str, ...],
    puids: tuple[str, ...],
    risk: str | None,
    sample: int,
    dry_run: bool,
    unisolated: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Make a plan."""
    from preservation.migration.planning import Asked, make_plan  # noqa: PLC0415 - help does without it

    limits = limits_of(timeout)
    repository = call.writing()
    asked = Asked(
        pathway=pathway,
        agent=agent,
        fonds=_fonds(repository, fonds) if fonds else "",
        packages=_packages(repository, packages),
        puids=_puids(repository, pathway, puids, risk),
        risk=risk or "",
        sample=sample,
        key=key,
        limits=limits,
        unisolated=unisolated,
        record=not dry_run,
    )
    with call.stoppable(), pool_of(repository) as pool, progress(_("Plan")) as told:
        draft = make_plan(repository, asked, pool, told)
    if as_json:
        write_json({**draft.values, "sha256": draft.sha256, "recorded": draft.recorded, "signed": draft.signed})
        return
    for line in draft_lines(draft):
        write(line)


def _fonds(repository: "Repository", code: str) -> str:
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.fonds import NoSuchFondsError  # noqa: PLC0415 - the same

    with repository.reading() as view:
        found = next((row for row in rows.every(view, rows.FondsRow) if code in {row.code, row.fonds}), None)
    if found is None:
        raise NoSuchFondsError(code=code)
    return found.fonds


def _packages(repository: "Repository", names: tuple[str, ...]) -> tuple[str, ...]:
    from preservation.holdings import package_named  # noqa: PLC0415 - help does without it

    with repository.reading() as view:
        return tuple(sorted({package_named(view, name) for name in names}))


def _puids(repository: "Repository", pathway: str, puids: tuple[str, ...], risk: str | None) -> tuple[str, ...]:
    """Return to which formats a plan is narrowed; nothing: to none."""
    from audits.obsolescence import risks  # noqa: PLC0415 - help does without it
    from preservation.migration.errors import NothingToMigrateError  # noqa: PLC0415 - the same
    from preservation.migration.pathway import pathway as pathway_of  # noqa: PLC0415 - the same

    known = pathway_of(pathway)
    for puid in puids:
        if known is not None and puid not in known.sources:
            text = _("{puid} is not a format that {pathway} is for.").format(puid=puid, pathway=pathway)
            raise click.BadParameter(text, param_hint="--puid")
    if risk is None or known is None:
        return puids
    with repository.reading() as view:
        graded = {
            one.format
            for one in risks(repository, view, remember=True).assessments
            if LEVELS.index(str(one.level)) >= LEVELS.index(risk)
        }
    found = tuple(str(puid) for puid in known.sources if puid in graded and (not puids or puid in puids))
    if not found:
        raise NothingToMigrateError(pathway=pathway)
    return found


@command("migrate list", examples=("mocban -C archive migrate list", "mocban -C archive migrate list --json"))
@json_option
@click.pass_obj
def migrate_list_command(call: Call, *, as_json: bool) -> None:
    """List the plans."""
    from preservation.catalog import rows  # noqa: PLC0415 - help does without it
    from preservation.catalog.plans import PlanRow  # noqa: PLC0415 - the same

    with call.reading().reading() as view:
        found = sorted(rows.every(view, PlanRow), key=lambda row: row.planned_event)
    if as_json:
        write_json_list(plan_json(row) for row in found)
    elif found:
        say_table(plan_rows(found), right=(3, 4, 5))
    else:
        note(marked("There is no migration plan"))


@command(
    "migrate show",
    details=_(
        "With --statement it prints exactly what --agent signs to approve the plan (with --author: as its author), for "
        "keys that do not come near this machine: 'openssl pkeyutl -sign -rawin -inkey KEY -in FILE -out SIGNATURE'."
    ),
    examples=(
        "mocban -C archive migrate show 01890a5d",
        "mocban -C archive migrate show 01890a5d --statement --agent 'Trần Văn Bình' > statement",
    ),
)
@click.argument("plan")
@click.option("--statement", is_flag=True, help=_("Print what is to be signed, and nothing else."))
@click.option("--agent", metavar="NAME", default="", help=_("With --statement: who signs."))
@click.option("--author", is_flag=True, help=_("With --statement: as the plan's author."))
@json_option
@click.pass_obj
def migrate_show_command(call: Call, plan: str, *, statement: bool, agent: str, author: bool, as_json: bool) -> None:
    """Show a plan."""
    from preservation.agents import agent_named, agents  # noqa: PLC0415 - help does without it
    from preservation.migration import plan as plans  # noqa: PLC0415 - the same

    if statement != bool(agent) or (author and not statement):
        raise click.UsageError(_("--statement and --agent NAME go together; --author needs them."))
    repository = call.reading()
    with repository.reading() as view:
        row = plans.plan_row(view, plan)
        known = agents(repository, view)
        who = agent_named(repository, view, agent) if agent else None
    found = plans.read_plan(repository, row)
    if who is not None:
        role: plans.Role = "author" if author else "approval"
        text = plans.statement(repository.configuration.repository, row, role, who.identity)
        if as_json:
            write_json({"statement": text.decode("ascii")})
        else:
            write(text.decode("ascii").removesuffix("\n"))
        return
    names = {one.identity: one.shown for one in known}
    if as_json:
        write_json({**plan_json(row), "file": dict(found.values)})
        return
    for line in plan_lines(found, names):
        write(line)


@command(
    "migrate approve",
    details=_(
        "The signature is made here with --key, or elsewhere with openssl and given with --signature. It is refused if "
        "it is the author's own, by a revoked key, or of anything else than this plan as it stands."
    ),
    examples=(
        "mocban -C archive migrate approve 01890a5d --agent 'Trần Văn Bình' --key binh.pem",
        "mocban -C archive migrate approve 01890a5d --agent 'Trần Văn Bình' --signature statement.sig",
    ),
)
@click.argument("plan")
@click.option("--agent", metavar="NAME", required=True, help=_("Who signs, as registered."))
@click.option("--key", metavar="FILE", default="", help=_("The private key; it is read and not kept."))
@click.option("--signature", metavar="FILE", default="", help=_("A signature that was made elsewhere."))
@click.option("--author", is_flag=True, help=_("Sign as the author of a plan that was made without --key."))
@json_option
@click.pass_obj
def migrate_approve_command(
    call: Call, plan: str, *, agent: str, key: str, signature: str, author: bool, as_json: bool
) -> None:
    """Approve a plan."""
    from preservation.migration.approval import sign, signature_in  # noqa: PLC0415 - help does without it

    if bool(key) == bool(signature):
        raise click.UsageError(_("One of --key and --signature is needed."))
    given = signature_in(signature) if signature else b""
    row = sign(call.writing(), plan, agent, role="author" if author else "approval", key=key, signature=given)
    if as_json:
        write_json(plan_json(row))
    elif author:
        say(marked("The author has signed plan {plan}; a second person must approve it"), plan=row.plan)
    else:
        say(marked("Plan {plan} is approved; 'mocban migrate run {plan}' executes it"), plan=row.plan)
