"""The doctor: examines a repository without changing it and says what should be done.

It reads no records; whether these are right is the audit's question.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from preservation import timestamps, witnessing
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import LostRow, MarkRow, PackRow
from preservation.configuration import Configuration
from preservation.creation import default_kit, open_repository
from preservation.holdings import unfinished
from preservation.ledger.errors import NoteError
from preservation.ledger.keys import LOG_KEY_FILE, LOG_VERIFIER_FILE, ROOT_KEY_FILE, read_verifier_key
from preservation.ledger.writer import SKEW
from preservation.replication import short_packages, short_packs
from preservation.repository import Repository, World
from preservation.rotation import key_ring
from preservation.stores import Store, all_open, attached, sharings
from storage_backends.backend import Sized
from storage_backends.errors import MocbanError, StorageError, marked

LITTLE_SPACE = 10 << 30
"""Free bytes on a store below which the doctor warns (10 GiB: some twenty packs)."""

CHECKPOINT_AGE = timedelta(days=7)
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that should be looked after. ``severity`` is ``error`` or ``warning``.

    ``what`` and ``remedy`` are templates, as errors have them, to be filled with ``evidence``.
    """

    code: str
    severity: str
    what: str
    remedy: str
    evidence: dict[str, object] = field(default_factory=dict)


def examine(path: str, world: World) -> Iterator[Symptom]:
    """Yield all that should be looked after in the repository at ``path``; reads only, and creates nothing.

    Raises:
        NoRepositoryError: there is none at ``path``.
    """
    path = os.path.abspath(path)
    Configuration.load(path)
    yield from _key_file(path)
    try:
        repository = open_repository(path, world, read_only=True)
    except MocbanError as error:
        yield Symptom(
            "ledger-unusable",
            "error",
            marked("The ledger cannot be used: {message}"),
            marked("run 'mocban ledger verify', then 'mocban rebuild'"),
            {"message": error},
        )
        return
    yield from _keys(repository)
    yield from _checkpoint(repository)
    yield from _clock(repository)
    try:
        with repository.reading() as view, all_open(attached(view)) as stores:
            for look in _LOOKS:
                yield from look(repository, view, stores)
    except MocbanError as error:
        yield Symptom(
            "catalog-unusable",
            "error",
            marked("The catalog cannot be used: {message}"),
            marked("nothing is lost; run 'mocban rebuild'"),
            {"message": error},
        )


def _key_file(path: str) -> Iterator[Symptom]:
    place = os.path.join(path, "keys", LOG_KEY_FILE)
    try:
        mode = os.stat(place).st_mode
    except FileNotFoundError:
        yield Symptom(
            "log-key-missing",
            "error",
            marked("{place}: the ledger's key is not there, so nothing can be recorded"),
            marked("run 'mocban ledger key --rotate --kit DIR' with the recovery kit"),
            {"place": place},
        )
        return
    except OSError:  # an auditor may not look into the folder, which is as it should be
        return
    if mode & OTHERS:
        yield Symptom(
            "log-key-open",
            "error",
            marked("{place}: other users can read or change the ledger's key (mode {mode})"),
            marked("run 'chmod 600 {place}', and give the ledger a new key with 'mocban ledger key --rotate'"),
            {"place": place, "mode": f"{stat.S_IMODE(mode):04o}"},
        )


def _keys(repository: Repository) -> Iterator[Symptom]:
    try:
        ring = key_ring(repository)
        own = read_verifier_key(os.path.join(repository.keys, LOG_VERIFIER_FILE))
    except NoteError as error:
        yield Symptom(
            "ledger-keys-wrong",
            "error",
            marked("The ledger does not say whose keys it is under: {message}"),
            marked("run 'mocban ledger verify'"),
            {"message": error},
        )
        return
    except MocbanError:  # the catalog's or a file's trouble has a symptom of its own
        return
    if own != ring.periods[-1].key:
        yield Symptom(
            "log-key-wrong",
            "error",
            marked("The key in {place} is not the one that the ledger names"),
            marked("run 'mocban ledger key --rotate --kit DIR' with the recovery kit"),
            {"place": repository.keys},
        )
    if ring.kit_confirmed is None:
        yield Symptom(
            "kit-unconfirmed",
            "warning",
            marked("Nobody has confirmed that the recovery kit is kept safely"),
            marked("take the kit to two safe places, then run 'mocban ledger key --kit-confirmed'"),
        )
    yield from _kit_here(repository)


def _kit_here(repository: Repository) -> Iterator[Symptom]:
    kit = default_kit(repository.path)
    if os.path.lexists(os.path.join(kit, ROOT_KEY_FILE)):
        yield Symptom(
            "kit-here",
            "warning",
            marked("The recovery kit still lies on this machine, at {place}"),
            marked("take it to two safe places and remove it here"),
            {"place": kit},
        )


def _checkpoint(repository: Repository) -> Iterator[Symptom]:
    """Warn of events that no checkpoint has signed for a week."""
    signed = max(repository.ledger.checkpoint_sizes(), default=0)
    first = next(repository.ledger.records(signed, signed + 1), None)
    if first is not None and repository.world.now() - first.time > CHECKPOINT_AGE:
        yield Symptom(
            "checkpoint-old",
            "warning",
            marked("Events of the ledger that no signed checkpoint covers: {count}, the first since {since}"),
            marked("run 'mocban ledger checkpoint'"),
            {"count": repository.ledger.size - signed, "since": first.time.isoformat(timespec="seconds")},
        )


def _clock(repository: Repository) -> Iterator[Symptom]:
    """Warn of a clock that is behind the ledger: times of new events would be wrong, their order is not."""
    now, last = repository.world.now(), repository.ledger.newest_time()
    if last is not None and last - now > SKEW:
        yield Symptom(
            "clock-behind",
            "error",
            marked("The clock says {now}, but the ledger's last event is of {last}"),
            marked("set the clock, and keep it right with chrony or systemd-timesyncd"),
            {"now": now.isoformat(timespec="seconds"), "last": last.isoformat(timespec="seconds")},
        )


def _attestations(repository: Repository, _view: View, _stores: Sequence[Store]) -> Iterator[Symptom]:
    """Be loud when nobody outside knows the newest events."""
    since = witnessing.overdue_since(repository)
    if since is not None:
        yield Symptom(
            "witness-overdue",
            "warning",
            marked("Events wait for the witness since {since}"),
            marked("run 'mocban ledger witness' and see what it says"),
            {"since": since.isoformat(timespec="seconds")},
        )
    since = timestamps.overdue_since(repository)
    if since is not None:
        yield Symptom(
            "timestamp-overdue",
            "warning",
            marked("Events wait for a time-stamp since {since}"),
            marked("run 'mocban ledger timestamp' and see what it says"),
            {"since": since.isoformat(timespec="seconds")},
        )
    until = timestamps.authority_until(repository)
    if until is not None and until - repository.world.now() < timestamps.RENEWAL:
        yield Symptom(
            "timestamp-authority-ending",
            "warning",
            marked(
                "The certificate of the time-stamping authority ends on {until}: what it has signed loses its force"
            ),
            marked(
                "name an authority in [timestamp] whose certificate lasts longer, and run 'mocban ledger timestamp'"
            ),
            {"until": until.isoformat(timespec="seconds")},
        )


def _stores(repository: Repository, _view: View, stores: Sequence[Store]) -> Iterator[Symptom]:
    if len(stores) < repository.configuration.policy.copies:
        yield Symptom(
            "stores-too-few",
            "warning",
            marked("Stores: {found}, but the copies that the policy asks for: {wanted}"),
            marked("run 'mocban store add NAME URL --site SITE'"),
            {"found": len(stores), "wanted": repository.configuration.policy.copies},
        )
    for store in stores:
        if store.backend is None:
            yield Symptom(
                "store-unavailable",
                "error",
                marked("Store {name} is not there: {message}"),
                marked("bring it back, or run 'mocban store add' with its new place, or 'store detach --lost'"),
                {"name": store.name, "message": store.failure},
            )
        elif isinstance(store.backend, Sized):
            yield from _space(store, store.backend)


def _space(store: Store, backend: Sized) -> Iterator[Symptom]:
    try:
        free = backend.space().free
    except StorageError:
        return
    if free < LITTLE_SPACE:
        yield Symptom(
            "store-nearly-full",
            "warning",
            marked("Store {name} has only {free} bytes left"),
            marked("add a store, or put this one on a larger disk"),
            {"name": store.name, "free": free},
        )


def _sharing(_repository: Repository, _view: View, stores: Sequence[Store]) -> Iterator[Symptom]:
    for one in sharings(stores):
        yield Symptom(
            "stores-not-independent",
            "warning",
            marked("Stores {first} and {second} share a {what}: one failure can take both"),
            marked("put them on different disks, better at different sites"),
            {"first": one.first, "second": one.second, "what": one.what},
        )


def _copies(repository: Repository, view: View, stores: Sequence[Store]) -> Iterator[Symptom]:
    for package in short_packages(view, short_packs(repository, view, sharings(stores))):
        yield Symptom(
            "under-replicated",
            "warning",
            marked("Package {package} has fewer good copies than the policy asks"),
            marked("run 'mocban replicate', or 'mocban audit' if copies are damaged"),
            {"package": package},
        )
    lost = sum(1 for _ in rows.every(view, LostRow))
    if lost:
        yield Symptom(
            "objects-lost",
            "error",
            marked("Objects lost on every copy: {count}"),
            marked("run 'mocban audit' for their names, and look for them at whoever handed them over"),
            {"count": lost},
        )
    missing = sum(row.index_missing for row in rows.every(view, PackRow))
    if missing:
        yield Symptom(
            "index-missing",
            "error",
            marked("Indexes of packs that are missing in the repository: {count}"),
            marked("run 'mocban rebuild', which brings them from the stores"),
            {"count": missing},
        )


def _sessions(repository: Repository, view: View, _stores: Sequence[Store]) -> Iterator[Symptom]:
    for one in unfinished(repository, view):
        yield Symptom(
            "ingest-unfinished",
            "warning",
            marked("The ingest {session} of {source} has begun and not ended"),
            marked("run it again, or 'mocban ingest abandon {session}'"),
            {"session": one.session, "source": one.source or "?"},
        )


def _audits(repository: Repository, view: View, _stores: Sequence[Store]) -> Iterator[Symptom]:
    """Be loud when audits do not run."""
    if next(rows.every(view, PackRow), None) is None:
        return
    longest = timedelta(days=repository.configuration.audit.max_age_days)
    mark = rows.one(view, MarkRow, "last audit")
    if mark is None or repository.world.now() - datetime.fromisoformat(mark.value) > longest:
        yield Symptom(
            "audit-overdue",
            "warning",
            marked("No audit has ended for {days} days or more, or none ever has"),
            marked("run 'mocban audit', and let 'mocban serve' or cron do so from now on"),
            {"days": longest.days},
        )


_LOOKS: tuple[Callable[[Repository, View, Sequence[Store]], Iterator[Symptom]], ...] = (
    _stores,
    _sharing,
    _copies,
    _sessions,
    _audits,
    _attestations,
)
