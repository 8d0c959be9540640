"""Rows of what was decided about formats: identifications gone through anew, reviews, risks, tools."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from preservation.catalog import rows
from preservation.catalog.marks import Changing
from preservation.catalog.rows import MarkRow, Row

RISK_TABLE = "risk table"
"""The mark with the digest of the part that has the risk table which was imported last."""

TOOLS = "format tools"
"""The mark with the programs that were seen on the machine, as JSON: name to version, empty while it is gone."""

MOST_MOVES = 5_000
"""Different moves from one format to another that are counted by name; the others are counted together."""

OTHER_MOVES = "other -> other"


class Detail(Protocol):
    """The detail of an event, read with types."""

    fonds: str
    time: str
    seq: int

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def count(self, name: str) -> int:
        """Return a number, 0 if there is none."""
        ...

    def numbers(self, name: str) -> dict[str, int]:
        """Return numbers by name."""
        ...

    def digests(self, name: str) -> dict[str, str]:
        """Return texts by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReidentificationRow(Row):
    """One going through all files with other signatures, and how far it has come; counts are of files."""

    PREFIX: ClassVar[bytes] = b"reidentification/"
    run: str
    bundle: str
    """The identifier of the signatures."""
    opened: str
    phase: str = ""
    """``affected`` or ``rest``."""
    fonds: str = ""
    package: str = ""
    version: int = 0
    line: int = 0
    """Everything up to here is done: of this version so many files."""
    looked: int = 0
    moved: int = 0
    failed: int = 0
    unreached: int = 0
    conflicts: int = 0
    moves: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many files went from one answer to another: ``unidentified -> fmt/1756``."""
    events: int = 0
    """Events of it that changed something."""
    last: int = 0
    """The last of them."""
    closed: str = ""
    outcome: str = ""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.run.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow(Row):
    """What a person decided of a content that two tools named differently."""

    PREFIX: ClassVar[bytes] = b"decision/"
    fonds: str
    blake3: str
    name: str
    """Which extension it is about, as ``identifications.name_tag`` has it."""
    puid: str
    reason: str
    decided: str
    event: int

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"decision/{self.fonds}/{self.blake3}/{self.name}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRow(Row):
    """What was decided of the risk of one format; ``note`` is the digest of the words, which are kept elsewhere."""

    PREFIX: ClassVar[bytes] = b"risk/"
    puid: str
    state: str
    """``accepted``, ``mitigated`` or ``open`` (again)."""
    reason: str
    note: str
    score: int
    """The score that it had then: a higher one makes the risk open again."""
    table: str
    """The policy and the table by which it was scored."""
    decided: str
    event: int

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.puid.encode()


def opened(event: Detail, _index: object, view: Changing) -> None:
    """Note that a run has begun."""
    row = ReidentificationRow(run=event.text("run"), bundle=event.text("bundle"), opened=event.time)
    view.put(row.key, row.to_bytes())


def identified(event: Detail, _index: object, view: Changing) -> None:
    """Note how far a run has come, and what it found; or what a person decided."""
    if event.text("decision"):
        _decided(event, view)
        return
    row = rows.one(view, ReidentificationRow, event.text("run"))
    if row is None:
        return
    moves = Counter(dict(row.moves))
    for move, count in event.numbers("moves").items():
        moves[move if move in moves or len(moves) < MOST_MOVES else OTHER_MOVES] += count
    row = dataclasses.replace(
        row,
        phase=event.text("phase"),
        fonds=event.fonds,
        package=event.text("package"),
        version=event.count("version"),
        line=event.count("line"),
        looked=row.looked + event.count("looked"),
        moved=row.moved + event.count("moved"),
        failed=row.failed + event.count("failed"),
        unreached=row.unreached + event.count("unreached"),
        conflicts=row.conflicts + event.count("conflicts"),
        moves=dict(sorted(moves.items())),
        events=row.events + 1,
        last=event.seq,
    )
    view.put(row.key, row.to_bytes())


def _decided(event: Detail, view: Changing) -> None:
    row = DecisionRow(
        fonds=event.fonds,
        blake3=event.text("object"),
        name=event.text("name"),
        puid=event.text("decision"),
        reason=event.text("reason"),
        decided=event.time,
        event=event.seq,
    )
    view.put(row.key, row.to_bytes())


def closed(event: Detail, _index: object, view: Changing) -> None:
    """Note that a run has ended."""
    row = rows.one(view, ReidentificationRow, event.text("run"))
    if row is not None:
        row = dataclasses.replace(row, closed=event.time, outcome=event.text("how"))
        view.put(row.key, row.to_bytes())


def table_imported(event: Detail, _index: object, view: Changing) -> None:
    """Note which risk table holds from now on; other policies that are assigned are none of ours."""
    if event.text("risk_table"):
        mark = MarkRow(name=RISK_TABLE, value=event.text("risk_table"))
        view.put(mark.key, mark.to_bytes())


def risk_decided(event: Detail, _index: object, view: Changing) -> None:
    """Note that a risk was accepted or mitigated, or is open again."""
    row = RiskRow(
        puid=event.text("puid"),
        state=event.text("state"),
        reason=event.text("reason"),
        note=event.text("note"),
        score=event.count("score"),
        table=event.text("table"),
        decided=event.time,
        event=event.seq,
    )
    view.put(row.key, row.to_bytes())


def tools_seen(event: Detail, _index: object, view: Changing) -> None:
    """Note which programs there were on the machine."""
    mark = MarkRow(name=TOOLS, value=json.dumps(event.digests("tools"), sort_keys=True))
    view.put(mark.key, mark.to_bytes())
