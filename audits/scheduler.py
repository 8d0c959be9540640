"""The clock: runs due audits and catch-up replication, for ever in the foreground or once for cron.

The repository is opened for each piece of work and not held between, so that people can work beside it.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from audits.run import Report, Scope, audit
from preservation.catalog import rows
from preservation.catalog.rows import MarkRow
from preservation.configuration import AuditPolicy, ConfigurationError
from preservation.replication import Replicated, replicate, short_packs, wanting
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import attached
from storage_backends.errors import MocbanError

EVERY_SECONDS = 300
"""How often the service looks whether anything is due."""

PARTS_PER_AGE = 8
"""An audit is due when an eighth of the longest allowed age has passed since the last one."""


def serve(
    open_repository: Callable[[], Repository],
    *,
    once: bool,
    stopping: threading.Event,
    told: Callable[[str, Report | Replicated], None],
    failed: Callable[[MocbanError], None],
) -> None:
    """Run what is due, once or again and again until ``stopping`` is set.

    ``told`` hears of each piece of work, ``failed`` of each that could not be done; the service goes on after that.

    Raises:
        MocbanError: what a piece of work raised, if ``once``.
    """
    if once:
        run_due(open_repository(), told)
        return
    from apscheduler.schedulers.blocking import BlockingScheduler  # noqa: PLC0415 - costs every start 100 ms

    def work() -> None:
        try:
            run_due(open_repository(), told)
        except StoppedError:
            stopping.set()
        except MocbanError as error:
            failed(error)

    scheduler = BlockingScheduler(timezone="UTC")
    scheduler.add_job(
        work,
        "interval",
        seconds=EVERY_SECONDS,
        next_run_time=datetime.now().astimezone(),
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    threading.Thread(target=lambda: (stopping.wait(), scheduler.shutdown(wait=False)), daemon=True).start()
    scheduler.start()


def run_due(repository: Repository, told: Callable[[str, Report | Replicated], None]) -> list[str]:
    """Run what is due now: replication first, then audit; return the names of what was run."""
    done = []
    with repository.reading() as view:
        short = bool(short_packs(repository, view)) or any(wanting(view, row) for row in attached(view))
        is_due = audit_is_due(repository, rows.one(view, MarkRow, "last audit"))
    if short:
        told("replicate", replicate(repository, lambda _files, _bytes: None))
        done.append("replicate")
    if is_due:
        policy = repository.configuration.audit
        scope = Scope(max_age_days=policy.max_age_days - policy.max_age_days // PARTS_PER_AGE)
        told("audit", audit(repository, scope, repair=True, told=lambda _files, _bytes: None))
        done.append("audit")
    return done


def audit_is_due(repository: Repository, last: MarkRow | None) -> bool:
    """Tell whether the window is open and an audit was not run for an eighth of the longest allowed age."""
    policy = repository.configuration.audit
    now = repository.world.now()
    if not in_window(policy, now.astimezone()):
        return False
    if last is None:
        return True
    return now - datetime.fromisoformat(last.value) >= timedelta(days=policy.max_age_days) / PARTS_PER_AGE


def in_window(policy: AuditPolicy, local: datetime) -> bool:
    """Tell whether a local time lies in the window of the policy; a window may go past midnight."""
    if not policy.window:
        return True
    try:
        first, last = (datetime.strptime(part, "%H:%M").time() for part in policy.window.split("-"))  # noqa: DTZ007
    except ValueError as error:
        raise ConfigurationError(place="[audit] window", reason=f"{policy.window!r} is not HH:MM-HH:MM") from error
    present = local.time()
    return first <= present < last if first <= last else (present >= first or present < last)
