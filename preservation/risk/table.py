"""The risk table that was imported: kept as a part, so that every store has it, and named by an event."""

from dataclasses import dataclass

from preservation import parts
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import RISK_TABLE
from preservation.catalog.rows import MarkRow, PartRow
from preservation.evidence import push
from preservation.ledger.events import EventType
from preservation.parts import Columns
from preservation.repository import Repository
from preservation.risk.nara import FACTORS, Rated, ratings
from preservation.risk.policy import Action, Level
from preservation.sidecars import Sidecars
from preservation.stores import all_open, attached

KIND = "risk-table"

SOURCE = "NARA Digital Preservation Framework"

COLUMNS: Columns = (
    ("puid", str),
    ("row", str),
    ("name", str),
    ("level", str),
    ("score", int),
    ("sum", float),
    ("action", str),
    ("plan", str),
    ("contradicts", int),
    *((name, float) for name in FACTORS),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was imported: its digest, when, and what it says by PUID."""

    digest: str
    imported: str
    rated: dict[str, Rated]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import. ``formats`` PUIDs are rated, about ``contradictory`` of them rows disagree."""

    table: str
    formats: int
    contradictory: list[str]
    already: bool


def table_now(sidecars: Sidecars, view: View) -> Table | None:
    """Return the table that holds now; None if none was imported.

    Raises:
        PartMissingError: it is not here.
    """
    mark = rows.one(view, MarkRow, RISK_TABLE)
    if mark is None:
        return None
    part = next((row for row in rows.every(view, PartRow) if row.blake3 == mark.value), None)
    rated = {}
    for row in parts.read_part(sidecars, mark.value, COLUMNS):
        puid, identifier, name, level, score, total, action, plan, contradicts, *factors = row
        rated[str(puid)] = Rated(
            puid=str(puid),
            row=str(identifier),
            name=str(name),
            level=Level(str(level)),
            score=int(str(score)),
            sum=float(str(total)),
            action=Action(str(action)),
            plan=str(plan),
            factors=tuple(float(str(one)) for one in factors),
            contradicts=int(str(contradicts)),
        )
    return Table(mark.value, part.recorded if part is not None else "", rated)


def _row(one: Rated) -> tuple[parts.Value, ...]:
    said = (one.puid, one.row, one.name, str(one.level), one.score, one.sum, str(one.action), one.plan)
    return (*said, one.contradicts, *one.factors)


def import_table(repository: Repository, plan: bytes, matrix: bytes, places: tuple[str, str]) -> Imported:
    """Take NARA's two tables in; from now on they are asked beside our own judgements. The same again is no event.

    Raises:
        NotARiskTableError: one of them is not understood; the table before holds on.
    """
    found = ratings(plan, matrix, places)
    lines = [_row(one) for one in found]
    (part,) = parts.write_parts(repository, KIND, COLUMNS, lines)
    contradictory = [one.puid for one in found if one.contradicts]
    with repository.deciding() as (view, append):
        mark = rows.one(view, MarkRow, RISK_TABLE)
        already = mark is not None and mark.value == part.blake3
        if not already:
            event = repository.event(
                EventType.POLICY_ASSIGNMENT,
                risk_table=part.blake3,
                formats=len(found),
                contradictory=len(contradictory),
                parts=[part.to_json()],
            )
            append([event])
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)
    return Imported(part.blake3, len(found), contradictory, already)
