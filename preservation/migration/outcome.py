"""What came of a plan, file by file and against the plan, from the parts that the ledger names and from manifests."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.plans import MigratedRow
from preservation.manifest import FileLine, path_of
from preservation.migration.plan import Plan, plan_row, read_plan
from preservation.migration.results import ACCEPTED, Reported, reported
from preservation.packages import manifest, version_row
from preservation.repository import Repository
from preservation.stores import Store, all_open, attached


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """One file of the set: its result as the ledger's part has it, and the names that manifests give."""

    result: Reported
    path: bytes
    derived: tuple[bytes, ...]
    """Where its derived files lie in ``version``."""
    version: int
    """The version that has them; 0: there is none."""


@dataclass(slots=True)
class Outcome:
    """What came of a plan in all, beside what it said. ``codes`` counts results, ``measures`` those that differ."""

    plan: Plan
    files: int = 0
    accepted: int = 0
    renditions: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    milliseconds: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    withdrawn: int = 0
    """Packages from which the derived files were withdrawn."""

    def add(self, one: Reported) -> None:
        """Take in a result."""
        self.files += 1
        self.accepted += one.code == ACCEPTED
        self.renditions += one.rendition and one.code == ACCEPTED
        self.bytes_before += one.size
        self.bytes_after += one.derived_size
        self.milliseconds += one.milliseconds
        self.codes[one.code] += 1
        self.differing.update(name for name, _, _, passed in one.measures if not passed)


def outcome(repository: Repository, plan: str) -> Outcome:
    """Return what came of a plan so far.

    Raises:
        NoSuchPlanError, PlanChangedError, PartMissingError.
    """
    with repository.reading() as view:
        found = Outcome(read_plan(repository, plan_row(view, plan)))
        for one in rows.every(view, MigratedRow, found.plan.identity):
            found.withdrawn += bool(one.withdrawn)
            for digest in one.parts:
                for result in reported(repository.sidecars, digest):
                    found.add(result)
    return found


def file_outcomes(repository: Repository, plan: str) -> Iterator[FileOutcome]:
    """Yield what came of each file, a package at a time in memory.

    Raises:
        NoSuchPlanError, PartMissingError, NoGoodCopyError, ManifestUnreadableError.
    """
    with repository.reading() as view, all_open(attached(view)) as stores:
        row = plan_row(view, plan)
        for one in rows.every(view, MigratedRow, row.plan):
            results = [result for digest in one.parts for result in reported(repository.sidecars, digest)]
            paths = _paths(view, stores, one, {result.number for result in results})
            derived = _derived(view, stores, one)
            for result in results:
                path = paths.get(result.number, b"")
                yield FileOutcome(result, path, tuple(derived.get(path, ())), one.version if one.made else 0)


def _paths(view: View, stores: Sequence[Store], one: MigratedRow, numbers: set[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    number = 0
    for line in manifest(view, stores, version_row(view, one.package, one.base)):
        if isinstance(line, FileLine):
            number += 1
            if number in numbers:
                found[number] = line.path
    return found


def _derived(view: View, stores: Sequence[Store], one: MigratedRow) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    if one.made:
        for line in manifest(view, stores, version_row(view, one.package, one.version)):
            if isinstance(line, FileLine) and line.line.get("derived", {}).get("plan") == one.plan:
                found.setdefault(path_of(line.line["derived"]["from"]), []).append(line.path)
    return found
