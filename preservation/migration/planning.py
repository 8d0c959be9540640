"""Makes a migration plan: freezes the set of files and the pathway, tries it on a sample, and says what it measured."""

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256

from preservation.agents import Agent, agent_named
from preservation.catalog.catalog import View
from preservation.evidence import push
from preservation.fixity import blake3_hex
from preservation.formats.identification import FormatIdentifier
from preservation.identifications import Layers
from preservation.ledger.canonical import Json
from preservation.ledger.events import EventType
from preservation.migration import pathway as ways
from preservation.migration.affected import Affected, Query, SetSum, bases, in_package
from preservation.migration.approval import sign
from preservation.migration.converting import Converting, Naming, together, workbench
from preservation.migration.errors import NoSuchPathwayError, NothingToMigrateError, PathwayUnavailableError
from preservation.migration.pathway import Pathway
from preservation.migration.plan import pathway_json, plan_bytes
from preservation.migration.results import Result, codes
from preservation.migration.sandbox import Limits, Sandbox
from preservation.packages import version_row
from preservation.repository import Repository
from preservation.scratch import scratch
from preservation.sidecars import description_name
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached

Told = Callable[[int, int], None]
"""Told of files and bytes that were looked at."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A pathway that can be gone on this machine: with which version of its tool, shut in how."""

    pathway: Pathway
    version: str
    place: Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a plan. ``fonds`` and ``packages`` are identifiers, ``puids`` narrow those of the pathway."""

    pathway: str
    agent: str
    fonds: str = ""
    packages: tuple[str, ...] = ()
    puids: tuple[str, ...] = ()
    risk: str = ""
    sample: int = 10
    key: str = ""
    """The file with the author's private key; empty: the author signs later."""
    limits: Limits = field(default_factory=Limits)
    unisolated: bool = False
    record: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan as it was made: its identifier, its file, and what the file says. ``recorded`` unless only tried."""

    plan: str
    sha256: str
    values: dict[str, Json]
    recorded: bool
    signed: bool


def gone(identity: str, *, unisolated: bool = False) -> Gone:
    """Return the pathway of this id if it can be gone here.

    Raises:
        NoSuchPathwayError, PathwayUnavailableError, NoIsolationError.
    """
    found = ways.pathway(identity)
    if found is None:
        raise NoSuchPathwayError(pathway=identity)
    place = ways.sandbox(unisolated=unisolated)
    availability = ways.available(found, place)
    if not availability.ready:
        raise PathwayUnavailableError(pathway=identity, programs=", ".join(availability.missing))
    return Gone(found, availability.version, place)


def make_plan(repository: Repository, asked: Asked, identifier: FormatIdentifier, told: Told) -> Draft:
    """Freeze what is asked, try it, and record the plan unless only a dry run is wanted.

    Raises:
        NothingToMigrateError: there is no such file.
        MigrationError, NoSuchAgentError, MocbanError: it cannot be planned.
    """
    way = gone(asked.pathway, unisolated=asked.unisolated)
    puids = tuple(str(one) for one in way.pathway.sources if not asked.puids or one in asked.puids)
    query = Query(
        pathway=way.pathway.id,
        puids=puids,
        wanted=way.pathway.wanted,
        fonds=asked.fonds,
        packages=tuple(sorted(asked.packages)),
        risk=asked.risk,
    )
    with repository.reading() as view, all_open(attached(view)) as stores:
        author = agent_named(repository, view, asked.agent)
        looking = _Looking(repository, view, stores, asked, way, told)
        total, sample = looking.looked(query)
        if not total.files:
            raise NothingToMigrateError(pathway=way.pathway.id)
        with scratch(repository.staging, repository.new_id()) as folder:
            results = looking.tried(sample, identifier, folder)
    values = {
        **_values(query, way, total, results),
        "author": author.identity,
        "created": repository.world.now().astimezone(UTC).isoformat(timespec="seconds"),
        "plan": repository.new_id(),
        "repository": repository.configuration.repository,
    }
    plan = str(values["plan"])
    data = plan_bytes(values)
    if asked.record:
        _recorded(repository, author, values, data)
        if asked.key:
            sign(repository, plan, author.identity, role="author", key=asked.key)
        else:
            _bring_out(repository)
    return Draft(plan, sha256(data).hexdigest(), values, asked.record, asked.record and bool(asked.key))


@dataclass(frozen=True, slots=True)
class _Looking:
    """A plan in the making."""

    repository: Repository
    view: View
    stores: Sequence[Store]
    asked: Asked
    way: Gone
    told: Told

    def looked(self, query: Query) -> tuple[SetSum, list[Affected]]:
        """Go through the set once; draw the sample by the digests of its files, so that nobody chooses it."""
        total = SetSum()
        drawn: list[tuple[int, str, Affected]] = []
        with Layers(self.repository.sidecars, self.view) as layers:
            for base in bases(self.view, query):
                self._stop_if_told()
                found = in_package(self.view, self.stores, layers, base, query)
                total.add(found.files)
                self.told(base.files, sum(file.size for file in found.files))
                for file in found.files:
                    entry = (-int.from_bytes(file.draw), f"{file.package}/{file.number:09d}", file)
                    if len(drawn) < self.asked.sample:
                        heapq.heappush(drawn, entry)
                    else:
                        heapq.heappushpop(drawn, entry)
        return total, sorted((file for _, _, file in drawn), key=lambda file: (file.package, file.path))

    def tried(self, sample: Sequence[Affected], identifier: FormatIdentifier, folder: str) -> list[Result]:
        """Convert the sample as the execution would, and throw away what comes out."""
        bench = workbench(self.way.place, identifier, self.asked.limits)
        of_package: defaultdict[str, list[Affected]] = defaultdict(list)
        for file in sample:
            of_package[file.package].append(file)
        results: list[Result] = []
        for package, files in of_package.items():
            converting = Converting(
                self.view,
                self.stores,
                version_row(self.view, package).fonds,
                self.way.pathway,
                bench,
                os.path.join(folder, "work"),
                os.path.join(folder, "tree", package),
                Naming(b"trial", self.way.pathway.id, self.way.pathway.extension),
                frozenset(),
                self.repository.world.now,
            )
            for lot in together(files):
                self._stop_if_told()
                results += converting.lot(lot)
        return results

    def _stop_if_told(self) -> None:
        if self.repository.world.stopping():
            raise StoppedError


def _values(query: Query, way: Gone, total: SetSum, results: Sequence[Result]) -> dict[str, Json]:
    trial = trial_json(results, way)
    tried_bytes = sum(one.size for one in results)
    share = total.bytes / tried_bytes if tried_bytes else 0.0
    share = share or (total.files / len(results) if results else 0.0)
    return {
        "estimate": {
            "bytes": int(share * sum(one.derived_bytes for one in results)),
            "milliseconds": int(share * sum(one.milliseconds for one in results)),
        },
        "pathway": pathway_json(way.pathway, way.version),
        "query": query.to_json(),  # type: ignore[dict-item]
        "set": {"bytes": total.bytes, "files": total.files, "packages": total.packages, "root": total.root},
        "trial": trial,
    }


def trial_json(results: Sequence[Result], way: Gone) -> dict[str, Json]:
    """Return what a trial came to: how many of which code, what was lost by which measure, space, time, way back."""
    lost = Counter(name for one in results for name, _, _, passed in one.measures if not passed)
    taken = Counter(name for one in results for name, _, _, _ in one.measures)
    accepted = sum(one.accepted for one in results)
    measures: dict[str, Json] = {name: {"differing": lost[name], "taken": taken[name]} for name in sorted(taken)}
    return {
        "accepted": accepted,
        "bytes_after": sum(one.derived_bytes for one in results),
        "bytes_before": sum(one.size for one in results),
        "codes": codes(results),
        "files": len(results),
        "isolation": way.place.kind,
        "measures": measures,
        "milliseconds": sum(one.milliseconds for one in results),
        "renditions": sum(one.rendition for one in results),
        "reversible": way.pathway.lossless and accepted == len(results) and accepted > 0,
    }


def _recorded(repository: Repository, author: Agent, values: dict[str, Json], data: bytes) -> None:
    digest, total, query = blake3_hex(data), values["set"], values["query"]
    assert isinstance(total, dict)
    assert isinstance(query, dict)
    repository.sidecars.keep(description_name(digest), data)
    event = repository.event(
        EventType.MIGRATION_PLANNED,
        fonds=str(query["fonds"]) or None,
        plan=values["plan"],
        sha256=sha256(data).hexdigest(),
        description=digest,
        pathway=values["pathway"]["id"],  # type: ignore[index,call-overload]
        author=author.identity,
        packages=total["packages"],
        files=total["files"],
        bytes=total["bytes"],
        root=total["root"],
    )
    repository.record([event])


def _bring_out(repository: Repository) -> None:
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)
