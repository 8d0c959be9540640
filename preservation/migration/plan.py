"""A migration plan: one canonical JSON file that says what is done to which files with what, and what is signed of it.

The file lies among the sidecars under its digest, as descriptive records do, and on every store. It names no file: the
set of files stands in it as numbers and a Merkle root.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, cast

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.plans import PlanRow
from preservation.ledger.canonical import Json, canonical, read_canonical
from preservation.ledger.errors import RecordError
from preservation.migration.affected import Query
from preservation.migration.errors import NoSuchPlanError, PlanChangedError
from preservation.migration.pathway import Pathway
from preservation.repository import Repository
from preservation.sidecars import description_name

FORMAT = 1
TITLE = "mocban migration plan"

Role = Literal["author", "approval"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was recorded. ``values`` is the file's content, which measures as the ledger says."""

    row: PlanRow
    values: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """The plan's identifier."""
        return self.row.plan

    @property
    def query(self) -> Query:
        """Which files it is about."""
        found = self.values["query"]
        return Query(
            pathway=found["pathway"],
            puids=tuple(found["puids"]),
            wanted=found["wanted"],
            fonds=found["fonds"],
            packages=tuple(found["packages"]),
            risk=found["risk"],
        )


def pathway_json(pathway: Pathway, version: str) -> dict[str, Json]:
    """Return all of a pathway that a plan binds, with the version of its tool."""
    values = {name: _plain(value) for name, value in asdict(pathway).items()}
    return {**values, "tool_version": version}


def _plain(value: object) -> Json:
    return [str(one) for one in value] if isinstance(value, tuple | list) else cast("Json", value)


def differing(planned: Mapping[str, Json], found: Mapping[str, Json]) -> list[str]:
    """Return in which respects two descriptions of a pathway differ."""
    names = sorted({*planned, *found})
    return [name for name in names if _same(planned.get(name)) != _same(found.get(name))]


def _same(value: Json) -> Json:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def plan_bytes(values: Mapping[str, Json]) -> bytes:
    """Return the file of a plan."""
    return canonical({**values, "format": FORMAT, "mocban": "migration plan"}) + b"\n"


def statement(repository: str, row: PlanRow, role: Role, agent: str) -> bytes:
    """Return what an agent signs: ASCII lines that name this repository, this plan, its digest, the role, the agent.

    A signature of another plan, of the same plan in another state, for another role, by another agent or in another
    repository is a signature of other bytes.
    """
    lines = (
        TITLE,
        f"repository {repository}",
        f"plan {row.plan}",
        f"sha256 {row.sha256}",
        f"role {role}",
        f"agent {agent}",
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def plan_row(view: View, plan: str) -> PlanRow:
    """Return the row of a plan, or of the only one whose identifier begins so.

    Raises:
        NoSuchPlanError: there is none, or several begin so.
    """
    found = rows.one(view, PlanRow, plan)
    if found is not None:
        return found
    beginning = [row for row in rows.every(view, PlanRow) if plan and row.plan.startswith(plan)]
    if len(beginning) != 1:
        raise NoSuchPlanError(plan=plan)
    return beginning[0]


def read_plan(repository: Repository, row: PlanRow) -> Plan:
    """Return the plan of a row; its file must be what the ledger says, bit for bit.

    Raises:
        PlanChangedError: it is missing, or somebody has edited it.
    """
    name = description_name(row.description)
    data = repository.sidecars.read(name, row.description)
    if data is None or sha256(data).hexdigest() != row.sha256:
        raise PlanChangedError(plan=row.plan, place=repository.sidecars.path(name))
    try:
        values = read_canonical(data.removesuffix(b"\n"))
    except RecordError as error:
        raise PlanChangedError(plan=row.plan, place=repository.sidecars.path(name)) from error
    assert isinstance(values, dict)
    return Plan(row, values)
