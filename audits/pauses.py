"""Pauses: the service audits one store, or none, until a day, for a reason out of a list; the ledger has all of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from audits.timeline import Timeline, timeline
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.marks import PAUSE
from preservation.catalog.rows import MarkRow
from preservation.evidence import push
from preservation.ledger.events import EventType, time_text
from preservation.repository import Repository
from preservation.stores import all_open, attached, store_named
from storage_backends.errors import MocbanError, marked

REASONS = ("maintenance", "relocation", "peak-load", "hardware", "investigation", "other")
"""Why audits may be paused: the ledger takes no free text."""


class BadPauseError(MocbanError):
    """A pause that would not be one."""

    template = marked("Audits cannot be paused until {until}: this is not in the future")


class NotPausedError(MocbanError):
    """There is nothing to resume."""

    template = marked("No audit is paused here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of the audits of one store, or of all if ``store`` is empty. Times ISO 8601 UTC."""

    store: str
    since: str
    until: str
    reason: str


def pauses(repository: Repository, view: View) -> list[Pause]:
    """Return the pauses that have not ended."""
    line = timeline(repository, view)
    return [one for one in _all(view) if _rest(one, line) > 0]


def _all(view: View) -> list[Pause]:
    return [Pause(**json.loads(row.value)) for row in rows.every(view, MarkRow) if row.name.startswith(PAUSE)]


def longest_of(found: Sequence[Pause], store: str, line: Timeline) -> float:
    """Return for how many more seconds audits of ``store`` (an identifier) are paused; 0 if they are not."""
    return max((_rest(one, line) for one in found if one.store in {"", store}), default=0.0)


def _rest(one: Pause, line: Timeline) -> float:
    """Return how long a pause still lasts: a clock that is moved makes it neither longer nor shorter."""
    length = datetime.fromisoformat(one.until) - datetime.fromisoformat(one.since)
    begun = line.instant(one.since)
    return 0.0 if begun is None else max(0.0, begun + length.total_seconds() - line.now)


def pause(repository: Repository, until: datetime, reason: str, store: str = "") -> Pause:
    """Record that the service shall not audit ``store`` (a name; empty is all) until then; return the pause.

    Raises:
        BadPauseError, NoSuchStoreError.
    """
    assert reason in REASONS
    now = repository.world.now()
    if until <= now:
        raise BadPauseError(until=until.isoformat(timespec="seconds"))
    with repository.deciding() as (view, append):
        identifier = store_named(view, store).store if store else ""
        found = Pause(store=identifier, since=time_text(now), until=time_text(until), reason=reason)
        append([repository.event(EventType.AUDITS_PAUSED, **asdict(found))])
    _pushed(repository)
    return found


def resume(repository: Repository, store: str = "") -> list[Pause]:
    """Record that the audits of ``store`` (a name; empty is every pause) go on; return the pauses that ended.

    Raises:
        NotPausedError, NoSuchStoreError.
    """
    with repository.deciding() as (view, append):
        identifier = store_named(view, store).store if store else ""
        found = [one for one in _all(view) if not store or one.store == identifier]
        if not found:
            raise NotPausedError
        append([repository.event(EventType.AUDITS_RESUMED, store=one.store) for one in found])
    _pushed(repository)
    return found


def _pushed(repository: Repository) -> None:
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)
