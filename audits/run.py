"""The audit: every copy of every pack read from its medium, what is wrong healed, and the sum closed.

It closes with expected = verified + damaged + missing + unreadable + skipped; a sum that does not close is an error.
Results are recorded as they come, so an audit that is stopped goes on where it was.
"""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

from audits.coverage import Coverage, Report, Scope, Wanted
from audits.findings import Code, Finding
from audits.healing import CODES, heal
from audits.sweep import sweep
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, LostRow, PackRow, PackState, RunRow
from preservation.checking import Seen, Verdict, check
from preservation.evidence import push
from preservation.fixity import Fixity
from preservation.housekeeping import clean
from preservation.ledger.events import Event, EventType, time_text
from preservation.replication import short_packs
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached, sharings
from storage_backends.backend import Reach

__all__ = ["Coverage", "Report", "Scope", "audit", "repair_named"]

COPIES_AT_ONCE = 64
"""Verdicts recorded together; what a crash can make an audit repeat."""

SECONDS_AT_ONCE = 10.0
"""The longest that a verdict waits to be recorded."""


@dataclass
class _Audit:
    """One run."""

    repository: Repository
    scope: Scope
    told: Callable[[int, int], None]
    stores: list[Store]
    run: str
    findings: list[Finding] = field(default_factory=list)
    read: int = 0
    _unrecorded: list[Event] = field(default_factory=list)
    _recorded_at: float = 0.0

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._began = self._recorded_at = time.monotonic()

    def budget_reason(self) -> str:
        """Return why no more copies are read, or nothing."""
        if self.repository.world.stopping():
            return "stopped"
        if self.scope.seconds is not None and time.monotonic() - self._began >= self.scope.seconds:
            return "time"
        if self.scope.bytes is not None and self.read >= self.scope.bytes:
            return "bytes"
        return ""

    def check_store(self, store: Store, copies: Sequence[Wanted]) -> None:
        """Look at the copies of one store, in order."""
        for wanted in copies:
            reason = self.budget_reason()
            if reason:
                wanted.skipped = reason
                continue
            if store.backend is None:
                wanted.seen = Seen(Verdict.UNREADABLE)
                continue
            wanted.seen = check(store.backend, wanted.pack.fonds, Fixity(wanted.pack.size, wanted.pack.pack))
            self._note(store, wanted)
            self.told(1, wanted.seen.read)

    def _note(self, store: Store, wanted: Wanted) -> None:
        seen = wanted.seen
        assert seen is not None
        with self._lock:
            self.read += seen.read
            if seen.unstable:
                self.findings.append(Finding(Code.READ_UNSTABLE, store.name, wanted.pack.pack, "two reads differ"))
            self._unrecorded.append(self._checked_event(wanted, seen))
            due = time.monotonic() - self._recorded_at >= SECONDS_AT_ONCE
            if len(self._unrecorded) >= COPIES_AT_ONCE or due:
                self._record()

    def _checked_event(self, wanted: Wanted, seen: Seen) -> Event:
        return self.repository.event(
            EventType.FIXITY_CHECK,
            fonds=wanted.pack.fonds,
            outcome="success" if seen.verdict is Verdict.VERIFIED else "failure",
            pack=wanted.pack.pack,
            store=wanted.copy.store,
            generation=seen.generation,
            verdict=str(seen.verdict),
            reach=str(seen.reach or ""),
            bytes=seen.read,
            run=self.run,
        )

    def _record(self) -> None:
        if self._unrecorded:
            self.repository.record(self._unrecorded)
            self._unrecorded = []
        self._recorded_at = time.monotonic()

    def record(self) -> None:
        """Record the verdicts that wait."""
        with self._lock:
            self._record()


def audit(
    repository: Repository,
    scope: Scope,
    *,
    repair: bool,
    told: Callable[[int, int], None],
    pace: int | Mapping[str, int] | None = None,
) -> Report:
    """Check the copies in ``scope``, heal what is wrong if ``repair``, and close the sum.

    ``pace`` is the most that is read of one store, in bytes a second, for all stores or by name; 0 is no limit. Without
    it the configuration's rate holds.

    An audit with the same scope that was stopped goes on: copies it has read are not read again.

    Raises:
        StoppedError: told to stop; what was seen is recorded.
    """
    clean(repository)
    with repository.copying(), ExitStack() as stack:
        run, since = _opened(repository, scope)
        with repository.reading() as view:
            rate = repository.configuration.audit.bytes_per_second if pace is None else pace
            stores = stack.enter_context(all_open(attached(view), rate))
            wanted = _expected(view, scope, stores)
        work = _Audit(repository, scope, told, stores, run)
        _skip_what_is_young(repository, scope, wanted, since)
        chosen = [store for store in stores if not scope.stores or store.name in scope.stores]
        _check_all(work, chosen, wanted)
        coverage = _coverage(wanted)
        findings = _findings_of(work, chosen, wanted)
        if repair:
            findings = heal(repository, stores, wanted, findings, coverage)
        if repository.world.stopping():
            raise StoppedError
        if not (scope.fonds or scope.packages or scope.copies):
            swept = sweep(repository, chosen, repair=repair)
            coverage.unexpected = sum(finding.code is Code.ITEM_UNEXPECTED for finding in swept)
            findings += swept
        return _closed(repository, work, coverage, findings)


def repair_named(repository: Repository, names: Sequence[str], told: Callable[[int, int], None]) -> Report:
    """Look again at the copies that are not good (or at the packs or packages named) and heal them."""
    with repository.reading() as view:
        packs = set(names) or {row.pack for row in rows.every(view, CopyRow) if row.state != rows.CopyState.GOOD}
        packages = tuple(sorted({row.package for row in rows.every(view, PackRow) if {row.pack, row.package} & packs}))
        lost, standing = _standing(view)
    if not packages:
        return Report("", Coverage(lost_objects=lost), standing, complete=True)
    return audit(repository, Scope(packages=packages), repair=True, told=told)


def _opened(repository: Repository, scope: Scope) -> tuple[str, str]:
    """Take up the audit of this scope that was stopped, or begin one; return its id and when it began.

    One that began longer ago than copies may go unread is given up: what it saw is no assurance any more.
    """
    text = json.dumps(dataclasses.asdict(scope), sort_keys=True)
    with repository.deciding() as (view, append):
        oldest = time_text(repository.world.now() - timedelta(days=repository.configuration.audit.max_age_days))
        for row in rows.every(view, RunRow):
            if row.scope == text and row.opened >= oldest:
                return row.run, row.opened
        run = repository.new_id()
        records = append([repository.event(EventType.AUDIT_RUN_OPENED, run=run, scope=text)])
        return run, time_text(records[0].time)


def _expected(view: View, scope: Scope, stores: Sequence[Store]) -> list[Wanted]:
    """Return every copy in scope: never verified first, then the oldest verification."""
    names = {store.row.store: store.name for store in stores}
    fonds = {row.fonds for row in rows.every(view, rows.FondsRow) if row.code in scope.fonds}
    packs = {row.pack: row for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    needed = _packs_of(view, scope.packages)
    named = set(scope.copies)
    found = []
    for copy in rows.every(view, CopyRow):
        pack = packs.get(copy.pack)
        if pack is None or copy.store not in names or (named and f"{copy.pack}/{copy.store}" not in named):
            continue
        if scope.stores and names[copy.store] not in scope.stores:
            continue
        if (scope.fonds and pack.fonds not in fonds) or (scope.packages and pack.pack not in needed):
            continue
        found.append(Wanted(pack, copy))
    return sorted(found, key=lambda one: (one.copy.verified, one.copy.written, one.copy.pack))


def _packs_of(view: View, packages: Sequence[str]) -> set[str]:
    needed: set[str] = set()
    for package in packages:
        for row in rows.every(view, rows.VersionRow, package):
            needed.update(row.packs, row.references)
        needed.update(row.pack for row in rows.every(view, PackRow) if row.package == package)
    return needed


def _skip_what_is_young(repository: Repository, scope: Scope, wanted: Sequence[Wanted], since: str) -> None:
    oldest = ""
    if scope.max_age_days is not None:
        oldest = time_text(repository.world.now() - timedelta(days=scope.max_age_days))
    for one in wanted:
        copy = one.copy
        if copy.state != rows.CopyState.GOOD:
            continue
        if copy.verified and copy.verified >= since:
            one.seen = Seen(Verdict.VERIFIED, copy.generation, Reach(copy.reach) if copy.reach else None)
        elif oldest and copy.verified >= oldest:
            one.skipped = "age"


def _check_all(work: _Audit, stores: Sequence[Store], wanted: Sequence[Wanted]) -> None:
    per_store = [
        (store, [one for one in wanted if one.copy.store == store.row.store and one.seen is None and not one.skipped])
        for store in stores
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(per_store))) as pool:
        for done in [pool.submit(work.check_store, store, copies) for store, copies in per_store]:
            done.result()
    work.record()


def _coverage(wanted: Sequence[Wanted]) -> Coverage:
    verdicts = Counter(one.seen.verdict for one in wanted if one.seen is not None and not one.skipped)
    reasons = Counter(one.skipped for one in wanted if one.skipped)
    coverage = Coverage(
        expected=len(wanted),
        verified=verdicts[Verdict.VERIFIED],
        damaged=verdicts[Verdict.DAMAGED],
        missing=verdicts[Verdict.MISSING],
        unreadable=verdicts[Verdict.UNREADABLE],
        skipped=sum(reasons.values()),
        skipped_reasons=dict(reasons),
    )
    coverage.close()
    return coverage


def _findings_of(work: _Audit, stores: Sequence[Store], wanted: Sequence[Wanted]) -> list[Finding]:
    names = {store.row.store: store.name for store in stores}
    findings = list(work.findings)
    findings += [
        Finding(Code.STORE_UNAVAILABLE, store.name, detail=str(store.failure)) for store in stores if not store.backend
    ]
    for one in wanted:
        seen = one.seen
        if seen is not None and seen.verdict is not Verdict.VERIFIED:
            detail = str(seen.failure) if seen.failure is not None else _how_found(seen, one.pack)
            findings.append(Finding(CODES[seen.verdict], names[one.copy.store], one.pack.pack, detail))
    return findings


def _how_found(seen: Seen, pack: PackRow) -> str:
    if seen.found is None:
        return ""
    if seen.found.size != pack.size:
        kind = "truncated" if seen.found.size < pack.size else "extended"
        return f"{kind}: {seen.found.size} of {pack.size} bytes"
    return f"blake3:{seen.found.blake3}"


def _standing(view: View) -> tuple[list[str], list[Finding]]:
    """Return the objects that are lost, and what stays wrong though no copy that was looked at shows it."""
    lost = sorted({f"blake3:{row.blake3}" for row in rows.every(view, LostRow)})
    findings = [Finding(Code.OBJECTS_LOST, detail=f"{len(lost)} objects")] if lost else []
    held = {row.pack for row in rows.every(view, CopyRow)}
    for row in rows.every(view, PackRow):
        if row.index_missing:
            findings.append(Finding(Code.INDEX_MISSING, pack=row.pack))
        if row.state == PackState.LIVE and row.pack not in held:
            findings.append(Finding(Code.COPY_MISSING, pack=row.pack, detail="no copy is known"))
    return lost, findings


def _closed(repository: Repository, work: _Audit, coverage: Coverage, findings: list[Finding]) -> Report:
    with repository.reading() as view:
        coverage.lost_objects, standing = _standing(view)
        shared = sharings(work.stores)
        short = short_packs(repository, view, shared)
    lost = coverage.lost_objects
    findings += standing
    findings += [Finding(Code.UNDER_REPLICATED, pack=pack) for pack in short]
    findings += [Finding(Code.STORES_NOT_INDEPENDENT, one.second, detail=f"{one.what}: {one.first}") for one in shared]
    coverage.close()
    counts = {name: value for name, value in dataclasses.asdict(coverage).items() if isinstance(value, int)}
    reasons = {f"skipped_{reason}": count for reason, count in coverage.skipped_reasons.items()}
    is_open = any(finding.is_open for finding in findings)
    closing = Event(
        type=EventType.AUDIT_RUN_CLOSED,
        outcome="failure" if is_open else "success",
        detail={
            **counts,
            **reasons,
            "run": work.run,
            "bytes": work.read,
            "lost": len(lost),
            "findings": len(findings),
        },
        agent=repository.world.agent,
    )
    repository.record([closing])
    evidence = push(repository, work.stores)
    for name, error in evidence.failures.items():
        if not any(finding.store == name and finding.code is Code.STORE_UNAVAILABLE for finding in findings):
            findings.append(Finding(Code.EVIDENCE_DAMAGED, name, detail=str(error)))
    return Report(work.run, coverage, findings, complete=not coverage.skipped)
