"""Executes an approved plan: package by package, resumable after a kill at any point, and never twice.

The order for each package: results are noted lot by lot; then the event with all of them; then the new version, which
has the derived files beside the originals; then what was staged goes. Whatever was done before a kill is found again
by these marks, and what is found is measured before it counts.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256

from preservation.abandoning import abandon
from preservation.attempt import Lines
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.plans import MigratedRow, PlanRow, PlanState
from preservation.catalog.rows import FondsRow, VersionRow
from preservation.evidence import push
from preservation.formats.identification import FormatIdentifier
from preservation.housekeeping import clean
from preservation.identifications import Layers
from preservation.identifiers import milliseconds_of
from preservation.ledger.events import EventType, Outcome
from preservation.migration.affected import Affected, InPackage, SetSum, bases, in_package
from preservation.migration.approval import check_approved
from preservation.migration.converting import Converting, Naming, is_there, tidied, together, workbench
from preservation.migration.errors import PathwayChangedError, PlanBusyError, PlanClosedError, SetChangedError
from preservation.migration.lines import derivation
from preservation.migration.plan import Plan, differing, pathway_json, plan_row, read_plan
from preservation.migration.planning import Gone, gone
from preservation.migration.results import COLUMNS, KIND, Journal, Result, codes, digest_of
from preservation.migration.sandbox import Limits
from preservation.packages import manifest_row, version_row
from preservation.parts import write_parts
from preservation.repository import Repository
from preservation.scratch import MIGRATION
from preservation.session import Session, open_sessions
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from preservation.undertaking import WRITER, carried_out
from storage_backends.errors import MocbanError

Told = Callable[[int, int], None]
"""Told of files and bytes that are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What came of an execution; the numbers are those of the whole plan, whichever call did the work."""

    plan: str
    already: bool
    """All was done before; this call has changed nothing."""
    dry: bool
    packages: int
    files: int
    bytes: int
    accepted: int
    failed: int
    under_replicated: bool = False
    failures: dict[str, MocbanError] = field(default_factory=dict)


@dataclass(slots=True)
class _Running:
    """An execution at work."""

    repository: Repository
    plan: Plan
    way: Gone
    limits: Limits
    identifier: FormatIdentifier
    told: Told
    folder: str
    under_replicated: bool = False
    failures: dict[str, MocbanError] = field(default_factory=dict)


def execute(
    repository: Repository,
    plan: str,
    identifier: FormatIdentifier,
    told: Told,
    *,
    limits: Limits | None = None,
    unisolated: bool = False,
    dry_run: bool = False,
) -> Executed:
    """Do what a plan says, if it is the plan that two people have signed and nothing that it is about has changed.

    Raises:
        PlanChangedError, PathwayChangedError, SetChangedError: something is not what was approved; nothing is done.
        NotApprovedError, SelfApprovalError, KeyRevokedError, BadSignatureError: it is not approved.
        PlanClosedError, PlanBusyError: it was given up or undone, or another process is at it.
        MocbanError: it could not be done now; the same call goes on later.
    """
    with repository.reading() as view:
        row = plan_row(view, plan)
    found = read_plan(repository, row)
    if row.state == PlanState.DONE:
        swept(repository, row.plan)
        return _executed(row, already=True)
    if row.state in {PlanState.UNDOING, PlanState.UNDONE}:
        raise PlanClosedError(plan=row.plan, state=row.state)
    with repository.reading() as view:
        check_approved(repository, view, row)
    way = gone(found.query.pathway, unisolated=unisolated)
    _check_pathway(found, way)
    if dry_run:
        _checked_set(repository, found)
        return _executed(row, dry=True)
    with working(repository, row.plan) as folder:
        running = _Running(repository, found, way, limits or Limits(), identifier, told, folder)
        packages = _checked_set(repository, found)
        _begin(running)
        for package, digest in packages:
            if repository.world.stopping():
                raise StoppedError
            _migrate(running, package, digest)
        row = _end(running)
        shutil.rmtree(folder, ignore_errors=True)
        clean(repository)
    return _executed(row, under_replicated=running.under_replicated, failures=running.failures)


def _executed(
    row: PlanRow,
    *,
    already: bool = False,
    dry: bool = False,
    under_replicated: bool = False,
    failures: dict[str, MocbanError] | None = None,
) -> Executed:
    return Executed(
        plan=row.plan,
        already=already,
        dry=dry,
        packages=row.packages,
        files=row.files,
        bytes=row.byte_count,
        accepted=row.accepted,
        failed=row.failed,
        under_replicated=under_replicated,
        failures=failures or {},
    )


@contextmanager
def working(repository: Repository, plan: str) -> Iterator[str]:
    """Give the folder of a plan's work, which one process has at a time; ``PlanBusyError`` if another has it."""
    folder = os.path.join(repository.staging, MIGRATION + plan)
    while True:
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PlanBusyError(plan=plan) from error
            if not _is_open_at(descriptor, folder):
                continue  # the one before us has ended and removed it meanwhile
            yield folder
            return
        finally:
            os.close(descriptor)


def swept(repository: Repository, plan: str) -> None:
    """Remove what a kill at the very end has left of the work on a plan that is over."""
    if os.path.isdir(os.path.join(repository.staging, MIGRATION + plan)):
        with working(repository, plan) as folder:
            shutil.rmtree(folder, ignore_errors=True)
        clean(repository)


def _is_open_at(descriptor: int, folder: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except FileNotFoundError:
        return False


def _check_pathway(plan: Plan, way: Gone) -> None:
    planned, found = plan.values["pathway"], pathway_json(way.pathway, way.version)
    for name in differing(planned, found):
        raise PathwayChangedError(plan=plan.identity, what=name, planned=planned.get(name), found=found.get(name))


def _checked_set(repository: Repository, plan: Plan) -> list[tuple[str, str]]:
    """Return the packages of the set with the digest of what is affected in each; it must be what was approved."""
    total = SetSum()
    packages = []
    with repository.reading() as view, all_open(attached(view)) as stores, Layers(repository.sidecars, view) as layers:
        for base in bases(view, plan.query, plan.identity):
            found = in_package(view, stores, layers, base, plan.query)
            total.add(found.files)
            if found.files:
                packages.append((base.package, _digest(found.files)))
    row = plan.row
    if (total.root, total.files) != (row.root, row.files):
        raise _changed(row, total.files, total.root[:16])
    return packages


def _changed(row: PlanRow, found: int, root: str) -> SetChangedError:
    return SetChangedError(plan=row.plan, planned=row.files, root=row.root[:16], found=found, found_root=root)


def _digest(files: Sequence[Affected]) -> str:
    return sha256(b"".join(file.leaf for file in files)).hexdigest()


def _begin(running: _Running) -> None:
    """Record that the execution begins, unless an earlier call has; what it rests on is looked at under the lock."""
    plan = running.plan
    with running.repository.deciding() as (view, append):
        row = plan_row(view, plan.identity)
        if row.state not in {PlanState.APPROVED, PlanState.RUNNING}:
            raise PlanClosedError(plan=row.plan, state=row.state)
        check_approved(running.repository, view, row)
        if row.state == PlanState.APPROVED:
            append(
                [
                    running.repository.event(
                        EventType.MIGRATION_BEGUN,
                        fonds=row.fonds or None,
                        plan=row.plan,
                        sha256=row.sha256,
                        root=row.root,
                        files=row.files,
                        author=row.author,
                        approver=row.approver,
                        isolation=running.way.place.kind,
                    )
                ]
            )


def _end(running: _Running) -> PlanRow:
    repository, plan = running.repository, running.plan
    with repository.deciding() as (view, append):
        row = plan_row(view, plan.identity)
        parts = [digest for one in rows.every(view, MigratedRow, row.plan) for digest in one.parts]
        append(
            [
                repository.event(
                    EventType.MIGRATION_ENDED,
                    fonds=row.fonds or None,
                    outcome=_outcome(row.accepted, row.failed),
                    plan=row.plan,
                    sha256=row.sha256,
                    planned_files=row.files,
                    planned_packages=row.packages,
                    packages=row.done_packages,
                    accepted=row.accepted,
                    failed=row.failed,
                    results=len(parts),
                )
            ]
        )
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        evidence = push(repository, stores)
    running.failures.update(evidence.failures)
    running.under_replicated |= not evidence.enough
    with repository.reading() as view:
        return plan_row(view, plan.identity)


def _outcome(accepted: int, failed: int) -> str:
    if not failed:
        return str(Outcome.SUCCESS)
    return str(Outcome.WARNING if accepted else Outcome.FAILURE)


def _migrate(running: _Running, package: str, digest: str) -> None:
    """Do one package, unless it is done."""
    repository, plan = running.repository, running.plan
    folder = os.path.join(running.folder, package)
    with repository.reading() as view, all_open(attached(view)) as stores, Layers(repository.sidecars, view) as layers:
        done = rows.one(view, MigratedRow, plan.identity, package)
        if done is not None and (done.made or not done.accepted):
            shutil.rmtree(folder, ignore_errors=True)
            return
        found = in_package(view, stores, layers, version_row(view, package), plan.query)
        if _digest(found.files) != digest:
            raise _changed(plan.row, len(found.files), "-")
        results = _converted(running, view, stores, found, folder)
    event = _recorded(running, found.base, results, done)
    if any(result.accepted for result in results):
        pathway = plan.values["pathway"]
        tool = f"{pathway['tool'] or 'mocban'} {pathway['tool_version']}"
        lines = derivation(plan.identity, pathway["id"], tool, event, results)
        _dated(os.path.join(folder, "tree"), event)
        _made(running, found.base, os.path.join(folder, "tree"), lines)
    shutil.rmtree(folder, ignore_errors=True)


def _converted(running: _Running, view: View, stores: Sequence[Store], found: InPackage, folder: str) -> list[Result]:
    """Return the results of all files of a package: those of an earlier call that are still whole, and new ones."""
    tree = os.path.join(folder, "tree")
    os.makedirs(tree, mode=0o700, exist_ok=True)
    wanted = {(file.number, file.path, file.blake3): file for file in found.files}
    journal = Journal(os.path.join(folder, "results.jsonl"))
    results = [one for one in journal.read() if (one.number, one.path, one.source) in wanted and is_there(tree, one)]
    journal.keep(results)
    tidied(tree, results)
    for one in results:
        wanted.pop((one.number, one.path, one.source), None)
        running.told(1, one.size)
    converting = Converting(
        view,
        stores,
        found.base.fonds,
        running.way.pathway,
        workbench(running.way.place, running.identifier, running.limits),
        os.path.join(folder, "work"),
        tree,
        Naming(found.top, running.way.pathway.id, running.way.pathway.extension),
        found.taken,
        running.repository.world.now,
    )
    for lot in together(list(wanted.values())):
        if running.repository.world.stopping():
            raise StoppedError
        more = converting.lot(lot)
        journal.add(more)
        results += more
        running.told(len(lot), sum(file.size for file in lot))
    return sorted(results, key=lambda one: one.number)


def _recorded(running: _Running, base: VersionRow, results: Sequence[Result], done: MigratedRow | None) -> str:
    """Record the results of a package, unless just these are recorded; return the identifier of the event."""
    repository, plan = running.repository, running.plan
    digest = digest_of(results)
    if done is not None and (done.results, done.base) == (digest, base.version):
        return done.event_id
    for _, session in list(open_sessions(repository.staging)):
        if (session.plan, session.package) == (plan.identity, base.package):
            abandon(repository, session.session)  # it has taken what is no longer there
    accepted = sum(one.accepted for one in results)
    parts = write_parts(repository, KIND, COLUMNS, (one.row(base.package, base.version) for one in results))
    version = {"version": base.version + 1} if accepted else {}
    event = repository.event(
        EventType.MIGRATION,
        fonds=base.fonds,
        outcome=_outcome(accepted, len(results) - accepted),
        plan=plan.identity,
        package=base.package,
        base=base.version,
        results=digest,
        parts=[part.to_json() for part in parts],
        files=len(results),
        accepted=accepted,
        failed=len(results) - accepted,
        codes=codes(results),
        **version,
    )
    return repository.record([event])[0].event_id


def _dated(tree: str, event: str) -> None:
    """Give all outputs the time of the event, so that what is converted once more after a kill makes the same packs."""
    time = milliseconds_of(event) * 1_000_000
    for folder, _, names in os.walk(os.fsencode(tree)):
        for name in names:
            os.utime(os.path.join(folder, name), ns=(time, time), follow_symlinks=False)


def _made(running: _Running, base: VersionRow, tree: str, lines: Lines) -> None:
    """Make the version with the derived files."""
    repository = running.repository
    wanted = new_version(repository, base, running.plan.identity, source=os.path.realpath(tree))
    receipt = carried_out(repository, wanted, running.identifier, lambda _files, _bytes: None, lines)
    if receipt is not None:
        running.under_replicated |= receipt.under_replicated
        running.failures.update(receipt.failures)


def new_version(
    repository: Repository, base: VersionRow, plan: str, *, source: str = "", withdrawn: Sequence[str] = ()
) -> Session:
    """Return the session that makes the version after ``base`` for a plan."""
    with repository.reading() as view:
        fonds = rows.one(view, FondsRow, base.fonds)
        manifest = manifest_row(view, base)
    return Session(
        session=repository.new_id(),
        package=base.package,
        version=base.version + 1,
        fonds=base.fonds,
        fonds_code=fonds.code if fonds is not None else base.fonds,
        title=manifest.title if manifest is not None else "",
        source=source,
        checksums="",
        mode="add",
        withdrawn=sorted(withdrawn),
        identify=True,
        created=repository.world.now().astimezone(UTC).isoformat(timespec="seconds"),
        agent=repository.world.agent,
        writer=WRITER,
        plan=plan,
    )
