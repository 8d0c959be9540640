"""The audit: every copy that is expected is looked at, what is wrong is healed, and the sum is closed and proved.

It closes with expected = verified + damaged + missing + unreadable + skipped; a sum that does not close is an error.
Results are recorded as they come, so an audit that is stopped goes on where it was.
"""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock

from audits.cartridges import cartridge_findings, pass_over_shelved
from audits.coverage import Coverage, CoverageError, Report, Scope, Wanted, counted, expected_root, results_root
from audits.evacuation import evacuate_failing
from audits.findings import Code, Finding
from audits.healing import CODES, heal
from audits.incidents import follow
from audits.inventory import examined, is_due
from audits.passing import read_whole
from audits.sampling import Sample, SampleGradeError, size_of
from audits.selection import Run, as_they_lie, ends_of, expected, opened, pass_over, reading_order, sample_of
from audits.sweep import sweep
from preservation.cartridges import offline
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, LostRow, PackRow, PackState
from preservation.checking import Grade, Seen, Verdict, check, look_up
from preservation.evidence import push
from preservation.fixity import Fixity
from preservation.housekeeping import clean
from preservation.ledger.canonical import Json
from preservation.ledger.events import Event, EventType
from preservation.replication import short_packs
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached, sharings
from storage_backends.backend import OnCartridges
from storage_backends.errors import Phrase

__all__ = ["Coverage", "Report", "Scope", "audit", "repair_named"]

COPIES_AT_ONCE = 64
"""Verdicts recorded together; what a crash can make an audit repeat."""

SECONDS_AT_ONCE = 10.0
"""The longest that a verdict waits to be recorded."""

_LOOKS = {Grade.BYTES: check, Grade.INVENTORY: look_up}

_SUSPICIOUS = frozenset({Verdict.DAMAGED, Verdict.MISSING})
"""Verdicts after which the other copies of the pack are read at once."""


@dataclass
class _Audit:
    """One run."""

    repository: Repository
    scope: Scope
    told: Callable[[int, int], None]
    stores: list[Store]
    run: Run
    wanted: list[Wanted]
    extra: list[Wanted] = field(default_factory=list)
    """Copies outside the scope, or looked at deeper than it asks, because another copy of their pack is wrong."""
    findings: list[Finding] = field(default_factory=list)
    read: int = 0
    _unrecorded: list[Event] = field(default_factory=list)
    _recorded_at: float = 0.0
    _by_pack: dict[str, list[Wanted]] | None = None

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._by_id = {store.row.store: store for store in self.stores}
        self._began = self._recorded_at = time.monotonic()

    def budget_reason(self) -> str:
        """Return why no more copies are looked at, or nothing."""
        if self.repository.world.stopping():
            return "stopped"
        if self.scope.seconds is not None and time.monotonic() - self._began >= self.scope.seconds:
            return "time"
        if self.scope.bytes is not None and self.read >= self.scope.bytes:
            return "bytes"
        return ""

    def check_store(self, store: Store, copies: Sequence[Wanted]) -> None:
        """Look at the copies of one store, in order; cartridges are read whole where everything is asked for."""
        if self.scope.passes and not self.run.resumed and isinstance(store.backend, OnCartridges):
            self.findings += read_whole(
                store,
                copies,
                take=lambda wanted: self._take(wanted, store),
                note=lambda wanted, seen: self._noted(store, wanted, seen),
                stopped=lambda: bool(self.budget_reason()),
            )
        for wanted in copies:
            if not self._take(wanted, store):
                continue
            backend = store.backend
            assert backend is not None
            look = _LOOKS[self.scope.grade]
            self._noted(store, wanted, look(backend, wanted.pack.fonds, Fixity(wanted.pack.size, wanted.pack.pack)))

    def _noted(self, store: Store, wanted: Wanted, seen: Seen) -> None:
        self._note(store, wanted, seen, self.scope.grade)
        self.told(1, seen.read)
        if seen.verdict in _SUSPICIOUS:
            self._check_others(wanted)

    def _take(self, wanted: Wanted, store: Store) -> bool:
        """Tell whether the copy is to be looked at now; note why if it is not."""
        with self._lock:
            if wanted.taken:
                return False
            wanted.taken = True
            if store.backend is None:
                wanted.seen = Seen(Verdict.UNREADABLE)
            else:
                wanted.skipped = self.budget_reason()
            return wanted.seen is None and not wanted.skipped

    def _check_others(self, bad: Wanted) -> None:
        """Read the other copies of a pack before anything else, also those that scope or age would have passed over."""
        with self.repository.reading() as view:
            is_offline = offline(view)
            copies = [row for row in rows.every(view, CopyRow, bad.pack.pack) if not is_offline(row)]
        for copy in copies:
            store = self._by_id.get(copy.store)
            if copy.store == bad.copy.store or store is None or store.backend is None:
                continue
            if self.repository.world.stopping():
                return
            one = self._taken_at_once(bad.pack, copy)
            if one is not None:
                seen = check(store.backend, one.pack.fonds, Fixity(one.pack.size, one.pack.pack))
                self._note(store, one, seen, Grade.BYTES, additional=True)
                self.told(0, seen.read)

    def _taken_at_once(self, pack: PackRow, copy: CopyRow) -> Wanted | None:
        """Return what stands for a copy that nobody has read in this run; nothing if somebody has, or reads it now."""
        with self._lock:
            if self._by_pack is None:
                self._by_pack = defaultdict(list)
                for one in self.wanted if self.scope.grade is Grade.BYTES else ():
                    self._by_pack[one.pack.pack].append(one)
            known = self._by_pack[pack.pack]
            found = next((one for one in known if one.copy.store == copy.store), None)
            if found is None:
                found = Wanted(pack, copy, taken=True)
                known.append(found)
                self.extra.append(found)
            elif found.taken and not found.skipped:
                return None
            found.taken, found.skipped = True, ""
            return found

    def _note(self, store: Store, wanted: Wanted, seen: Seen, grade: Grade, *, additional: bool = False) -> None:
        with self._lock:
            wanted.seen = seen
            self.read += seen.read
            if seen.unstable:
                self.findings.append(
                    Finding(Code.READ_UNSTABLE, store.name, wanted.pack.pack, Phrase("two reads differ"))
                )
            if seen.verdict is Verdict.PRESENT and seen.generation != wanted.copy.generation:
                self.findings.append(Finding(Code.GENERATION_CHANGED, store.name, wanted.pack.pack, seen.generation))
            self._unrecorded.append(self._checked_event(wanted, seen, grade, additional=additional))
            due = time.monotonic() - self._recorded_at >= SECONDS_AT_ONCE
            if len(self._unrecorded) >= COPIES_AT_ONCE or due:
                self._record()

    def _checked_event(self, wanted: Wanted, seen: Seen, grade: Grade, *, additional: bool) -> Event:
        return self.repository.event(
            EventType.FIXITY_CHECK,
            fonds=wanted.pack.fonds,
            outcome="success" if seen.verdict in {Verdict.VERIFIED, Verdict.PRESENT} else "failure",
            pack=wanted.pack.pack,
            store=wanted.copy.store,
            generation=seen.generation,
            verdict=str(seen.verdict),
            grade=str(grade),
            reach=str(seen.reach or ""),
            bytes=seen.read,
            run=self.run.run,
            **({"additional": True} if additional else {}),
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

    One that is asked for everything compares the catalog with ledger and indexes first, and makes it anew if it differs
    and ``repair``: a row that is gone would hide what it stands for.

    A cartridge that has failed is evacuated, if ``repair`` and the scope is neither narrowed nor bounded in bytes.

    ``pace`` is the most that is read of one store, in bytes a second, for all stores or by name; 0 is no limit. Without
    it the configuration's rate holds.

    An audit with the same scope that was stopped goes on: copies it has read are not read again.

    Raises:
        StoppedError: told to stop; what was seen is recorded.
        CoverageError: a copy was expected and nothing became of it; that is recorded.
        SampleError, SampleGradeError: ``scope.sample`` is none, or not of bytes.
    """
    if scope.sample and (size_of(scope.sample, 0) or scope.grade is not Grade.BYTES):
        raise SampleGradeError(grade=str(scope.grade))
    findings: list[Finding] = []
    unseen: set[str] = set()
    with repository.copying(), ExitStack() as stack:
        if scope.is_everything or (scope.sweeps and is_due(repository)):
            findings, unseen = examined(repository, repair=repair)
        clean(repository)
        with repository.reading() as view:
            position = repository.ledger.size
            rate = repository.configuration.audit.bytes_per_second if pace is None else pace
            stores = stack.enter_context(all_open(attached(view), rate))
            wanted = expected(view, scope, stores)
        run = opened(repository, scope, wanted, position)
        work = _Audit(repository, scope, told, stores, run, wanted, findings=findings)
        pass_over(scope, run, wanted, repository.ledger.records(run.opened_event), ends_of(scope, stores, wanted))
        pass_over_shelved(repository, wanted)
        chosen = [store for store in stores if not scope.stores or store.name in scope.stores]
        _check_all(work, chosen)
        coverage = _accounted(work)
        findings = _findings_of(work, chosen)
        if repair:
            findings = heal(repository, stores, [*wanted, *work.extra], findings, coverage)
        if repository.world.stopping():
            raise StoppedError
        if scope.sweeps or scope.grade is Grade.INVENTORY:
            swept = sweep(repository, chosen, repair=repair, listing=scope.grade is Grade.INVENTORY)
            coverage.unexpected = sum(finding.code is Code.ITEM_UNEXPECTED for finding in swept)
            findings += swept
        if unseen:  # indexes may have been made again from the packs
            more, unseen = examined(repository, repair=repair)
            more += [Finding(Code.INDEX_MISSING, pack=pack) for pack in sorted(unseen)]
            findings += [one for one in more if one not in findings]
        findings += cartridge_findings(repository, stores, wanted)
        return _closed(work, coverage, _evacuated(work, findings) if repair else findings)


def repair_named(repository: Repository, names: Sequence[str], told: Callable[[int, int], None]) -> Report:
    """Look again at the copies that are not good (or at the packs or packages named) and heal them."""
    with repository.reading() as view:
        packs = set(names) or {row.pack for row in rows.every(view, CopyRow) if row.state != rows.CopyState.GOOD}
        packages = tuple(sorted({row.package for row in rows.every(view, PackRow) if {row.pack, row.package} & packs}))
        lost, standing = _standing(view)
    if not packages:
        return Report("", Coverage(lost_objects=lost), standing, complete=True)
    return audit(repository, Scope(packages=packages), repair=True, told=told)


def _check_all(work: _Audit, stores: Sequence[Store]) -> None:
    per_store = [(store, reading_order(work.scope, work.run, work.wanted, store.row.store)) for store in stores]
    per_store.sort(
        key=lambda one: [(copy.copy.verified, copy.copy.written) for copy in one[1][:1]]
    )  # a budget is short
    ordered = [(store, as_they_lie(work.scope, store, copies)) for store, copies in per_store]
    with ThreadPoolExecutor(max_workers=max(1, len(ordered))) as pool:
        for done in [pool.submit(work.check_store, store, copies) for store, copies in ordered]:
            done.result()
    work.record()


def _accounted(work: _Audit) -> Coverage:
    """Return what became of every copy that was expected; that one is not accounted for is recorded and raised."""
    try:
        return counted(work.wanted, work.scope.grade)
    except CoverageError:
        detail: dict[str, Json] = {
            "run": work.run.run,
            "expected": len(work.wanted),
            "unaccounted": sum(not one.result for one in work.wanted),
        }
        agent = work.repository.world.agent
        work.repository.record([Event(type=EventType.AUDIT_RUN_CLOSED, outcome="failure", detail=detail, agent=agent)])
        raise


def _findings_of(work: _Audit, stores: Sequence[Store]) -> list[Finding]:
    names = {store.row.store: store.name for store in work.stores}
    findings = list(work.findings)
    findings += [
        Finding(Code.STORE_UNAVAILABLE, store.name, detail=str(store.failure)) for store in stores if not store.backend
    ]
    if work.scope.grade is Grade.PROVIDER:
        findings += [Finding(Code.GRADE_UNAVAILABLE, store.name, detail=str(work.scope.grade)) for store in stores]
    told = set()
    for one in [*work.wanted, *work.extra]:
        seen, which = one.seen, (one.copy.pack, one.copy.store)
        if seen is not None and seen.verdict in CODES and which not in told:
            told.add(which)
            detail = str(seen.failure) if seen.failure is not None else _how_found(seen, one.pack)
            findings.append(Finding(CODES[seen.verdict], names[one.copy.store], one.pack.pack, detail))
    return findings


def _how_found(seen: Seen, pack: PackRow) -> str:
    if seen.found is None:
        return ""
    if seen.found.size != pack.size:
        if seen.found.size < pack.size:
            return Phrase("truncated: {found} of {size} bytes", found=seen.found.size, size=pack.size)
        return Phrase("extended: {found} of {size} bytes", found=seen.found.size, size=pack.size)
    return f"blake3:{seen.found.blake3}"


def _evacuated(work: _Audit, findings: list[Finding]) -> list[Finding]:
    """Evacuate what failed, unless the audit is narrowed or may not move so much; return the findings afterwards."""
    if not work.scope.sweeps or work.scope.bytes is not None:
        return findings
    return evacuate_failing(
        work.repository,
        work.stores,
        findings,
        work.told,
        enough=lambda: bool(work.budget_reason()),
        only=work.scope.stores,
    )


def _standing(view: View) -> tuple[list[str], list[Finding]]:
    """Return the objects that are lost, and what stays wrong though no copy that was looked at shows it."""
    lost = sorted({f"blake3:{row.blake3}" for row in rows.every(view, LostRow)})
    findings = [Finding(Code.OBJECTS_LOST, detail=Phrase("{count} objects", count=len(lost)))] if lost else []
    held = {row.pack for row in rows.every(view, CopyRow)}
    for row in rows.every(view, PackRow):
        if row.index_missing:
            findings.append(Finding(Code.INDEX_MISSING, pack=row.pack))
        if row.state == PackState.LIVE and row.pack not in held:
            findings.append(Finding(Code.COPY_MISSING, pack=row.pack, detail=Phrase("no copy is known")))
    return lost, findings


def _closed(work: _Audit, coverage: Coverage, findings: list[Finding]) -> Report:
    repository = work.repository
    with repository.reading() as view:
        coverage.lost_objects, standing = _standing(view)
        shared = sharings(work.stores)
        short = short_packs(repository, view, shared)
    findings += [one for one in standing if one not in findings]
    findings += [Finding(Code.UNDER_REPLICATED, pack=pack) for pack in short]
    findings += [
        Finding(
            Code.STORES_NOT_INDEPENDENT, one.second, detail=Phrase("{what}: {first}", what=one.what, first=one.first)
        )
        for one in shared
    ]
    coverage.close()
    sample = sample_of(work.wanted, work.stores) if work.scope.sample else None
    repository.record([_closing(work, coverage, findings, sample)])
    report = Report(work.run.run, coverage, findings, complete=not coverage.skipped, sample=sample)
    follow(repository, report, work.scope)  # before the evidence goes out, so that the stores have it
    evidence = push(repository, work.stores)
    for name, error in evidence.failures.items():
        if not any(finding.store == name and finding.code is Code.STORE_UNAVAILABLE for finding in findings):
            findings.append(Finding(Code.EVIDENCE_DAMAGED, name, detail=str(error)))
    return report


def _closing(work: _Audit, coverage: Coverage, findings: Sequence[Finding], sample: Sample | None) -> Event:
    counts = {name: value for name, value in dataclasses.asdict(coverage).items() if isinstance(value, int)}
    reasons = {f"skipped_{reason}": count for reason, count in coverage.skipped_reasons.items()}
    strata: dict[str, Json] = {}
    if sample is not None:
        strata["sample"] = [dataclasses.asdict(one) for one in sample.strata]
    is_open = any(finding.is_open for finding in findings)
    return Event(
        type=EventType.AUDIT_RUN_CLOSED,
        outcome="failure" if is_open else "success",
        detail={
            **counts,
            **reasons,
            **strata,
            "run": work.run.run,
            "grade": str(work.scope.grade),
            "bytes": work.read,
            "lost": len(coverage.lost_objects),
            "findings": len(findings),
            "root": expected_root(work.wanted),
            "results": results_root(work.wanted),
            "unavailable": [store.row.store for store in work.stores if store.backend is None],
        },
        agent=work.repository.world.agent,
    )
