"""Undoes a plan: new versions without what it derived. The versions that have it stay, and no byte is destroyed."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

from preservation.abandoning import abandon
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.plans import MigratedRow, PlanState
from preservation.catalog.rows import VersionRow
from preservation.evidence import push
from preservation.formats.identification import NoIdentification
from preservation.housekeeping import clean
from preservation.ledger.events import EventType
from preservation.manifest import FileLine
from preservation.migration.executing import new_version, swept, working
from preservation.migration.lines import Withdrawal
from preservation.migration.plan import plan_row
from preservation.packages import manifest, version_row
from preservation.repository import Repository
from preservation.session import open_sessions
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from preservation.undertaking import carried_out
from storage_backends.errors import MocbanError


@dataclass(slots=True, kw_only=True)
class Undone:
    """What was undone: in how many packages how many derived files were withdrawn now."""

    plan: str
    already: bool = False
    packages: int = 0
    files: int = 0
    under_replicated: bool = False
    failures: dict[str, MocbanError] = field(default_factory=dict)


def undo(repository: Repository, plan: str) -> Undone:
    """Withdraw what a plan derived, or give up a plan that was not executed; it is never executed again.

    Interrupted, the same call goes on. A second call does nothing.

    Raises:
        NoSuchPlanError, PlanBusyError, MocbanError.
    """
    with repository.reading() as view:
        row = plan_row(view, plan)
    result = Undone(plan=row.plan)
    if row.state == PlanState.UNDONE:
        swept(repository, row.plan)
        result.already = True
        return result
    with working(repository, row.plan) as folder:
        with repository.deciding() as (view, append):
            row = plan_row(view, row.plan)
            if row.state != PlanState.UNDOING:
                append(
                    [
                        repository.event(
                            EventType.MIGRATION_UNDOING,
                            fonds=row.fonds or None,
                            plan=row.plan,
                            sha256=row.sha256,
                            state=row.state,
                        )
                    ]
                )
            migrated = list(rows.every(view, MigratedRow, row.plan))
        for one in migrated:
            if repository.world.stopping():
                raise StoppedError
            if one.made and not one.withdrawn:
                _withdraw(repository, one, result)
        for _, session in list(open_sessions(repository.staging)):
            if session.plan == row.plan:  # of a package that was not finished
                abandon(repository, session.session)
        _end(repository, row.plan, row.fonds, result)
        shutil.rmtree(folder, ignore_errors=True)
        clean(repository)
    return result


def derived_by(view: View, stores: Sequence[Store], base: VersionRow, plan: str) -> list[bytes]:
    """Return the paths of the files in a version that a plan derived."""
    return [
        line.path
        for line in manifest(view, stores, base)
        if isinstance(line, FileLine) and line.line.get("derived", {}).get("plan") == plan
    ]


def _withdraw(repository: Repository, one: MigratedRow, result: Undone) -> None:
    with repository.reading() as view, all_open(attached(view)) as stores:
        base = version_row(view, one.package)
        paths = derived_by(view, stores, base, one.plan)
    if not paths:
        return  # somebody has withdrawn them otherwise
    wanted = new_version(repository, base, one.plan, withdrawn=[os.fsdecode(path) for path in paths])
    lines = Withdrawal(one.plan)
    receipt = carried_out(repository, wanted, NoIdentification(), lambda _files, _bytes: None, lines)
    result.packages += 1
    result.files += len(paths)
    if receipt is not None:
        result.under_replicated |= receipt.under_replicated
        result.failures.update(receipt.failures)


def _end(repository: Repository, plan: str, fonds: str, result: Undone) -> None:
    repository.record(
        [
            repository.event(
                EventType.MIGRATION_UNDONE,
                fonds=fonds or None,
                plan=plan,
                packages=result.packages,
                files=result.files,
            )
        ]
    )
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        evidence = push(repository, stores)
    result.failures.update(evidence.failures)
    result.under_replicated |= not evidence.enough
