"""``plan audit``: how often copies must be read, and what no reading helps against."""

import dataclasses
from typing import TYPE_CHECKING

import click

from commands.plan_text import as_json as json_of
from commands.plan_text import tell
from commands.printing import write_json
from commands.shaping import byte_count, command, json_option
from commands.surroundings import Call
from commands.wording import _, filled
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.planning import PlannedCopy, Question
    from preservation.catalog.rows import StoreRow
    from preservation.repository import Repository

INTERVALS = (7.0, 30.0, 90.0, 180.0, 365.0)
CURRENT = 30.0
"""Days; the interval that is looked at closely where no repository has one."""

HERE = "main"
"""The site and the admin domain of a copy that is named without a place."""


def _copies(text: str) -> "tuple[PlannedCopy, ...]":
    """Return the copies that ``disk,disk,tape@vault`` means: MEDIUM, MEDIUM@PLACE or MEDIUM@SITE/DOMAIN."""
    from audits.planning import PlannedCopy  # noqa: PLC0415 - help does without it
    from audits.planning_rates import MEDIA  # noqa: PLC0415 - the same

    found = []
    for part in text.split(","):
        medium, at, place = part.strip().partition("@")
        site, slash, domain = place.partition("/")
        if medium not in MEDIA or (at and not site) or (slash and not domain):
            allowed = ", ".join(MEDIA)
            message = marked("{value} is no copy; write a medium ({allowed}), MEDIUM@PLACE or MEDIUM@SITE/DOMAIN")
            raise click.BadParameter(filled(message, value=part, allowed=allowed), param_hint="--copies")
        found.append(PlannedCopy(medium=medium, site=site or HERE, domain=domain or site or HERE))
    return tuple(found)


def _settings(texts: tuple[str, ...]) -> dict[str, float]:
    from audits.planning_rates import PRIORS  # noqa: PLC0415 - help does without it

    found = {}
    for text in texts:
        name, _equals, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            name = ""
        if name not in PRIORS:
            message = marked("{value} sets nothing; write NAME=NUMBER with one of {allowed}")
            raise click.BadParameter(filled(message, value=text, allowed=", ".join(PRIORS)), param_hint="--set")
    return found


@command(
    "plan audit",
    details=_(
        "Computes, from copies, media, audit interval, repair time and what strikes several copies at once, how likely "
        "an object is lost, and how often copies must be read to meet a target. The copies are those of the "
        "repository, or those of --copies, then no repository is needed. A planning aid: docs/planning.md has the "
        "formula, the source of every figure, and what the model leaves out."
    ),
    examples=(
        "mocban -C archive plan audit --target 1e-9",
        "mocban plan audit --copies disk,disk,tape@vault --object-size 100GB --target 1e-7",
        "mocban -C archive plan audit --interval 30 --interval 90 --set disk.visible=0.05 --json",
    ),
)
@click.option(
    "--target",
    metavar="P",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=1e-9,
    show_default=True,
    help=_("How likely an object may be lost in a year."),
)
@click.option(
    "--object-size", metavar="SIZE", type=byte_count, default="1GB", show_default=True, help=_("What is lost at once.")
)
@click.option(
    "--years",
    metavar="N",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=10.0,
    show_default=True,
    help=_("For how long."),
)
@click.option(
    "--interval",
    "intervals",
    metavar="DAYS",
    type=click.FloatRange(0, 36_525, min_open=True),
    multiple=True,
    help=_("An audit interval to compute; may be repeated."),
)
@click.option("--copies", "listed", metavar="LIST", default="", help=_("Other copies than those of the repository."))
@click.option("--objects", metavar="N", type=click.IntRange(0), help=_("How many objects; without it, those kept."))
@click.option("--held", metavar="SIZE", type=byte_count, help=_("Bytes on each copy; without it, those kept."))
@click.option("--set", "settings", metavar="NAME=NUMBER", multiple=True, help=_("Use this figure; may be repeated."))
@json_option
@click.pass_obj
def plan_audit_command(
    call: Call,
    *,
    target: float,
    object_size: int,
    years: float,
    intervals: tuple[float, ...],
    listed: str,
    objects: int | None,
    held: int | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Plan."""
    from audits.planning import plan  # noqa: PLC0415 - help does without it
    from preservation.configuration import NoRepositoryError  # noqa: PLC0415 - the same

    copies, changed = _copies(listed) if listed else (), _settings(settings)
    try:
        repository = call.reading()
    except NoRepositoryError:
        if not copies:
            raise
        repository = None
    question = _question(repository, copies, target=target, object_size=object_size, years=years)
    question = dataclasses.replace(
        question,
        intervals=tuple(sorted(set(intervals))) or question.intervals,
        current=intervals[0] if intervals else question.current,
        objects=question.objects if objects is None else objects,
        held=question.held if held is None else held,
        changed=changed,
    )
    answer = plan(question)
    if as_json:
        write_json(json_of(answer))
    else:
        tell(answer, repository)


def _question(
    repository: "Repository | None",
    copies: "tuple[PlannedCopy, ...]",
    *,
    target: float,
    object_size: int,
    years: float,
) -> "Question":
    """Return what is asked, with what the repository knows: copies, how much it keeps, what its audits saw."""
    from audits.planning import Question  # noqa: PLC0415 - help does without it

    asked = Question(
        copies=copies, target=target, object_size=object_size, years=years, intervals=INTERVALS, current=CURRENT
    )
    return asked if repository is None else _from_repository(repository, asked)


def _from_repository(repository: "Repository", asked: "Question") -> "Question":
    from audits.planning_rates import observed  # noqa: PLC0415 - help does without it
    from preservation.catalog import rows  # noqa: PLC0415 - the same
    from preservation.stores import attached  # noqa: PLC0415 - the same

    days = float(repository.configuration.audit.max_age_days) or CURRENT
    with repository.reading() as view:
        store_rows = attached(view)
        packs = [row for row in rows.every(view, rows.PackRow) if row.state == rows.PackState.LIVE]
        seen = observed(repository, view, store_rows)
    question = dataclasses.replace(
        asked,
        intervals=tuple(sorted({*INTERVALS, days})),
        current=days,
        objects=sum(row.objects for row in packs),
        held=sum(row.size for row in packs),
        observed={_medium(medium): what for medium, what in seen.items()},
    )
    return question if asked.copies else _with_stores(question, store_rows)


def _medium(medium: str) -> str:
    """Return the medium whose figures count; a store in memory is planned as if it were a disk."""
    return "disk" if medium == "memory" else medium


def _with_stores(question: "Question", store_rows: "list[StoreRow]") -> "Question":
    """Make every attached store a copy; those on one device fail together."""
    from audits.planning import PlannedCopy  # noqa: PLC0415 - help does without it
    from preservation.stores import all_open, sharings  # noqa: PLC0415 - the same

    copies = tuple(
        PlannedCopy(
            medium=_medium(row.medium), site=row.site, domain=row.admin_domain, vendor=row.vendor, name=row.name
        )
        for row in store_rows
    )
    numbers = {row.name: number for number, row in enumerate(store_rows)}
    with all_open(store_rows) as stores:
        together = tuple(
            (f"{one.first}, {one.second}", frozenset({numbers[one.first], numbers[one.second]}))
            for one in sharings(stores)
        )
    return dataclasses.replace(question, copies=copies, together=together)
