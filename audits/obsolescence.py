"""What endangers formats, as findings: signatures that nobody has gone through the files with, risks, programs gone."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from audits.findings import Code, Finding
from audits.reports.figures import FormatFigures
from audits.reports.formats import formats_held
from preservation.affected import latest, target_now
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import ReidentificationRow
from preservation.formats.engine import shipped_id
from preservation.formats.names import names_of
from preservation.formats.shelf import active
from preservation.formats.workers import WorkerPool
from preservation.reidentification import reidentify
from preservation.repository import Repository
from preservation.reviewing import waiting
from preservation.risk.policy import Policy, policy
from preservation.risk.scoring import Assessment, assessed
from preservation.risk.table import Table, table_now
from preservation.risk.watch import known_tools, record_tools, watched
from preservation.stores import all_open, attached
from storage_backends.errors import Phrase


@dataclass(frozen=True, slots=True)
class Risks:
    """The risk of all that is held, by which policy and table; ``figures`` say what could not be read."""

    assessments: list[Assessment]
    figures: FormatFigures
    policy: Policy
    table: Table | None

    @property
    def state(self) -> str:
        """By what it was scored, in short."""
        return f"{self.policy.digest[:16]}/{self.table.digest[:16] if self.table is not None else ''}"


def risks(repository: Repository, view: View, *, remember: bool) -> Risks:
    """Return the risk of each format that is held, the weightiest first; ``remember`` says whether counts may be kept.

    Raises:
        PartMissingError: the risk table that was imported is not here.
    """
    table = table_now(repository.sidecars, view)
    with ExitStack() as stack:
        stores = stack.enter_context(all_open(attached(view)))
        figures = formats_held(repository, view, stores, remember=remember)
    names = names_of([one.format for one in figures.held if "/" in one.format])
    return Risks(assessed(figures.held, policy(), table, names), figures, policy(), table)


def outdated(view: View) -> str:
    """Return the bundle that is in use and that nobody has gone through the files with; empty if there is none."""
    used = active(view).bundle
    run = latest([row for row in rows.every(view, ReidentificationRow) if row.closed and row.outcome != "superseded"])
    return "" if used == (run.bundle if run is not None else shipped_id()) else used


def obsolescence(
    repository: Repository, view: View, found: Risks, tools: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return what somebody must see to; ``tools`` are the programs as of now, else as they were recorded last."""
    findings = []
    bundle = outdated(view)
    if bundle:
        findings.append(Finding(Code.FORMATS_OUTDATED, detail=Phrase("bundle {bundle}", bundle=bundle[:16])))
    count = sum(1 for _ in waiting(repository, view))
    if count:
        findings.append(Finding(Code.FORMATS_DISAGREE, detail=Phrase("{count} contents", count=count)))
    seen = watched(view, found.assessments, known_tools(view) if tools is None else tools)
    findings += [Finding(Code.FORMAT_AT_RISK, detail=_detail(one)) for one in _named(found, seen.at_risk)]
    findings += [Finding(Code.FORMAT_RISK_GREW, detail=_detail(one)) for one in _named(found, seen.grown)]
    findings += [
        Finding(Code.FORMAT_TOOL_LOST, detail=Phrase("{name}: {formats}", name=name, formats=" ".join(formats[:20])))
        for name, formats in seen.lost.items()
    ]
    return findings


# ---- duties ----------------------------------------------------------------------------------------------------------


SLICE = timedelta(minutes=15)
"""How long the service goes through the files at once, before it looks whether something else is due."""


def is_behind(repository: Repository) -> bool:
    """Tell whether there are signatures in use that the files have not been gone through with."""
    with repository.reading() as view:
        return bool(outdated(view))


def catch_up(repository: Repository, told: Callable[[int, int], None]) -> None:
    """Go through the files with the active signatures for a while; the next time goes on."""
    target, bundle = target_now(repository)
    with WorkerPool(bundle=bundle.to_bytes) as pool:
        reidentify(repository, target, pool, told, budget=SLICE)


def look(repository: Repository) -> list[Finding]:
    """Record which programs there are, and return what somebody must see to."""
    tools = record_tools(repository, policy(), shutil.which)
    with repository.reading() as view:
        return obsolescence(repository, view, risks(repository, view, remember=True), tools)


def _named(found: Risks, formats: Sequence[str]) -> list[Assessment]:
    return [one for one in found.assessments if one.format in set(formats)]


def _detail(one: Assessment) -> str:
    return Phrase("{format} score {score}, {files} files", format=one.format, score=one.score, files=one.files)
