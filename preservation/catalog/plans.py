"""Rows of migration plans and of what came of them, as the events that tell of them change them."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from preservation.catalog import rows
from preservation.catalog.marks import Changing
from preservation.catalog.rows import Row


class PlanState(StrEnum):
    """How far a plan has come."""

    PLANNED = "planned"
    APPROVED = "approved"
    """By a second person; nothing was done yet."""
    RUNNING = "running"
    """Begun and not ended."""
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    """Its derived files were withdrawn, or it was given up before it was executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow(Row):
    """A migration plan: its digests, who has signed it with which key, and how far it has come. Times ISO 8601 UTC."""

    PREFIX: ClassVar[bytes] = b"plan/"
    plan: str
    fonds: str
    """Empty: over several."""
    pathway: str
    sha256: str
    """Of the plan's file: what is signed."""
    description: str
    """BLAKE3 of the same file, under which it lies among the sidecars."""
    author: str
    packages: int
    files: int
    byte_count: int
    root: str
    planned: str
    planned_event: int
    state: str = PlanState.PLANNED
    author_key: str = ""
    author_signature: str = ""
    approver: str = ""
    approver_key: str = ""
    approver_signature: str = ""
    approved: str = ""
    begun: str = ""
    done_packages: int = 0
    accepted: int = 0
    failed: int = 0
    ended: str = ""
    undone: str = ""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.plan.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratedRow(Row):
    """What a plan did in one package: the results, and the version with the derived files if there are any."""

    PREFIX: ClassVar[bytes] = b"migrated/"
    plan: str
    package: str
    base: int
    """The version that was migrated."""
    version: int
    """The version that has the derived files; 0: none was accepted."""
    event: int
    event_id: str
    results: str
    """BLAKE3 of the record of results that the event is about."""
    parts: list[str]
    accepted: int
    failed: int
    made: bool = False
    """Whether the version is there; not so between the two events, and where none is made."""
    withdrawn: int = 0
    """The version that has the derived files no more; 0: there is none."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"migrated/{self.plan}/{self.package}".encode()


class Detail(Protocol):
    """The detail of an event, read with types."""

    fonds: str
    time: str
    seq: int
    event_id: str

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def number(self, name: str) -> int:
        """Return a number."""
        ...

    def count(self, name: str) -> int:
        """Return a number, 0 if there is none."""
        ...

    def part_digests(self) -> list[str]:
        """Return the digests of the parts that the event names."""
        ...


def planned(event: Detail, _index: object, view: Changing) -> None:
    """Keep a new plan."""
    row = PlanRow(
        plan=event.text("plan"),
        fonds=event.fonds,
        pathway=event.text("pathway"),
        sha256=event.text("sha256"),
        description=event.text("description"),
        author=event.text("author"),
        packages=event.number("packages"),
        files=event.number("files"),
        byte_count=event.number("bytes"),
        root=event.text("root"),
        planned=event.time,
        planned_event=event.seq,
    )
    view.put(row.key, row.to_bytes())


def _change(event: Detail, view: Changing, **changes: object) -> None:
    row = rows.one(view, PlanRow, event.text("plan"))
    if row is not None:
        row = dataclasses.replace(row, **changes)  # type: ignore[arg-type]
        view.put(row.key, row.to_bytes())


def signed(event: Detail, _index: object, view: Changing) -> None:
    """Keep a signature: the author's, or that of whoever approves."""
    key, signature = event.text("key_id"), event.text("signature")
    if event.text("role") == "author":
        _change(event, view, author_key=key, author_signature=signature)
    else:
        _change(
            event,
            view,
            state=PlanState.APPROVED,
            approver=event.text("agent"),
            approver_key=key,
            approver_signature=signature,
            approved=event.time,
        )


def begun(event: Detail, _index: object, view: Changing) -> None:
    """Keep that the execution has begun."""
    _change(event, view, state=PlanState.RUNNING, begun=event.time)


def migrated(event: Detail, _index: object, view: Changing) -> None:
    """Keep the results of one package, in place of those of an attempt whose outputs were lost."""
    plan, package = event.text("plan"), event.text("package")
    known, before = rows.one(view, PlanRow, plan), rows.one(view, MigratedRow, plan, package)
    row = MigratedRow(
        plan=plan,
        package=package,
        base=event.number("base"),
        version=event.count("version"),
        event=event.seq,
        event_id=event.event_id,
        results=event.text("results"),
        parts=event.part_digests(),
        accepted=event.number("accepted"),
        failed=event.number("failed"),
    )
    view.put(row.key, row.to_bytes())
    if known is None:
        return
    _change(
        event,
        view,
        done_packages=known.done_packages + (before is None),
        accepted=known.accepted + row.accepted - (before.accepted if before is not None else 0),
        failed=known.failed + row.failed - (before.failed if before is not None else 0),
    )


def version_made(event: Detail, view: Changing) -> None:
    """Keep that a version comes from a plan: from its execution or its undoing."""
    plan, package, version = event.text("plan"), event.text("package"), event.number("version")
    row = rows.one(view, MigratedRow, plan, package) if plan else None
    if row is not None:
        changes = {"withdrawn": version} if event.text("undone") else {"made": True, "version": version}
        row = dataclasses.replace(row, **changes)  # type: ignore[arg-type]
        view.put(row.key, row.to_bytes())


def ended(event: Detail, _index: object, view: Changing) -> None:
    """Keep that the execution has ended."""
    _change(event, view, state=PlanState.DONE, ended=event.time)


def undoing(event: Detail, _index: object, view: Changing) -> None:
    """Keep that the withdrawal of what came of the plan has begun."""
    _change(event, view, state=PlanState.UNDOING)


def undone(event: Detail, _index: object, view: Changing) -> None:
    """Keep that nothing of the plan stands in any latest version, and that it is never executed again."""
    _change(event, view, state=PlanState.UNDONE, undone=event.time)
