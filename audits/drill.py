"""The drill: is damage really found, named and healed? Faults in shadow copies, under the real audit and repair.

The real stores are only read; what is damaged are verified copies of a few real packs in a shadow repository that is
removed in the end. What cannot be detected makes the drill fail: it judges the audit, not the records.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from audits.coverage import Scope
from audits.drill_faults import (
    NAMED_AS,
    NOT_TO_BE_HEALED,
    DrilledBackend,
    Fault,
    FaultKind,
    HarmlessFaultError,
    Meter,
    inject,
)
from audits.drill_report import Asked, Drilled, Injected, Trial
from audits.drill_shadow import (
    NothingToDrillError,
    Shadow,
    check_space,
    is_right,
    make_shadow,
    restore,
    sample,
)
from audits.findings import Code, Finding
from audits.run import audit, repair_named
from preservation.catalog import rows
from preservation.catalog.rows import CopyRow, PackRow
from preservation.ledger.events import time_text
from preservation.packs.layout import RECORD, index_key, pack_key
from preservation.repository import Repository
from preservation.scratch import clear_dead, scratch
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached, store_named
from storage_backends import locations
from storage_backends.backend import StorageBackend
from storage_backends.errors import MocbanError, marked

COPY_CODES = frozenset({Code.COPY_DAMAGED, Code.COPY_MISSING, Code.COPY_UNREADABLE, Code.READ_UNSTABLE})
"""The codes that speak of one copy."""

Looking = Callable[[Repository], Sequence[Finding]]
"""An audit without repair: what it finds."""

Healing = Callable[[Repository], Sequence[Finding]]
"""A repair of all that is known to be bad: what stays wrong."""


class NoPlaceForDrillError(MocbanError):
    """The folder for the work is not there."""

    template = marked("{place}: there is no such folder for the drill to work in")


def look(shadow: Repository) -> Sequence[Finding]:
    """Audit as ``mocban audit --no-repair`` does."""
    return audit(shadow, Scope(), repair=False, told=_nobody).findings


def heal(shadow: Repository) -> Sequence[Finding]:
    """Repair as ``mocban repair`` does."""
    return repair_named(shadow, (), _nobody).findings


def drill(
    repository: Repository,
    asked: Asked,
    *,
    told: Callable[[int, int], None],
    looking: Looking = look,
    healing: Healing = heal,
) -> Drilled:
    """Put every class of fault into shadow copies, one after the other, and say what audit and repair make of it.

    ``looking`` and ``healing`` are the audit and the repair that are judged. Nothing is written to the real stores.

    Raises:
        DrillSpaceError, NothingToDrillError, NoPlaceForDrillError, NoSuchStoreError; StoppedError: told to stop.
    """
    if asked.work and not os.path.isdir(asked.work):
        raise NoPlaceForDrillError(place=asked.work)
    with repository.reading() as view:
        for name in asked.stores:
            store_named(view, name)
        store_rows = attached(view)
        packs = sample(view, store_rows, asked.packs, asked.seed)
    if not packs:
        raise NothingToDrillError(reason="no pack with a good copy is kept yet")
    identity = repository.new_id()
    clear_dead(repository.staging)
    check_space(asked.work or repository.staging, packs, len(store_rows))
    with ExitStack() as stack:
        folder = stack.enter_context(scratch(repository.staging, identity, asked.work))
        rate = repository.configuration.audit.bytes_per_second
        real = [store for store in stack.enter_context(all_open(store_rows, rate)) if store.backend is not None]
        if not real:
            raise NothingToDrillError(reason="no store can be reached")
        begun = time_text(repository.world.now())
        shadow = make_shadow(repository, folder, real, packs, told)
        stack.callback(shadow.close)
        result = Drilled(
            drill=identity,
            repository=repository.configuration.repository,
            asked=asked,
            begun=begun,
            packs=shadow.packs,
            stores=[store.name for store in real if not asked.stores or store.name in asked.stores],
            shadowed={store.name: (store.row.medium, shadow.stores[store.name].medium) for store in real},
            unusable=shadow.unusable,
        )
        work = _Drill(shadow, real, result, looking, healing, random.Random(asked.seed))  # noqa: S311 - no secret
        for name, row in shadow.stores.items():
            wrap = partial(_wrapped, work, name)
            stack.enter_context(locations.wrapped(row.url, wrap))
        work.run(told)
    result.ended = time_text(repository.world.now())
    return result


def _nobody(_copies: int, _bytes: int) -> None:
    """Hear nothing."""


def _wrapped(work: "_Drill", name: str, inner: StorageBackend) -> StorageBackend:
    return DrilledBackend(inner, name, work.faults, work.good, work.meter)


@dataclass
class _Drill:
    """One drill at work."""

    shadow: Shadow
    real: Sequence[Store]
    result: Drilled
    looking: Looking
    healing: Healing
    chance: random.Random
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)
    """The faults in force, by store and key."""

    def __post_init__(self) -> None:
        self.meter = Meter(time.monotonic)
        self._wells = {pack.pack: pack for pack in self.shadow.packs}

    def run(self, told: Callable[[int, int], None]) -> None:
        """Look once without faults, then try every class."""
        self.result.control = [one for one in self.looking(self.shadow.repository) if one.is_open]
        for kind in self.result.asked.faults:
            trial = Trial(kind)
            self.result.trials.append(trial)
            self._inject(trial)
            try:
                self._look(trial)
                self._heal(trial)
            finally:
                self.faults.clear()
            self._restore(trial)
            told(len(trial.injected), trial.audit_read + trial.repair_read)
            if self.shadow.repository.world.stopping():
                raise StoppedError

    def good(self, fault: Fault) -> StorageBackend:
        """Return where the right bytes of a damaged copy are: another shadow store, else a real one."""
        for name, medium in self.shadow.media.items():
            if name != fault.store and fault.pack in self.shadow.held[name]:
                return medium
        return self._real()

    def _real(self) -> StorageBackend:
        return next(store.backend for store in self.real if store.backend is not None)

    # ---- the fault --------------------------------------------------------------------------------------------------

    def _inject(self, trial: Trial) -> None:
        """Damage the copy of every pack on one store; which, is left to chance."""
        store = self.chance.choice(self.result.stores)
        with self.shadow.repository.reading() as view:
            kept = {row.pack: row for row in rows.every(view, CopyRow) if row.store == self.shadow.stores[store].store}
        for pack in self.shadow.packs:
            if pack.pack not in kept:
                continue
            fault = self._fault(trial.kind, store, pack)
            good, medium = self.good(fault), self.shadow.media[store]
            inject(fault, medium, good)
            if is_right(medium, pack):
                raise HarmlessFaultError(kind=str(trial.kind), store=store)
            self.faults[store, fault.key] = fault
            trial.injected.append(Injected(fault, reach=kept[pack.pack].reach))

    def _fault(self, kind: FaultKind, store: str, pack: PackRow) -> Fault:
        key = pack_key(pack.fonds, pack.pack)
        fault = Fault(kind=kind, store=store, key=key, pack=pack.pack, size=pack.size)
        last = _last_byte(self.good(fault), key, pack.size) if kind is FaultKind.ZERO_TAIL else pack.size - 1
        others = [one for one in self.shadow.packs if one is not pack and one.pack in self.shadow.held[store]]
        other = self.chance.choice(others) if others else None
        return Fault(
            kind=kind,
            store=store,
            key=key,
            pack=pack.pack,
            size=pack.size,
            at=self.chance.randint(0 if kind in {FaultKind.BIT_FLIP, FaultKind.ZERO_TAIL} else 1, max(last, 1)),
            bit=self.chance.randrange(8),
            other=pack_key(other.fonds, other.pack) if other else index_key(pack.fonds, pack.pack),
        )

    # ---- audit and repair -------------------------------------------------------------------------------------------

    def _look(self, trial: Trial) -> None:
        """Let the audit look, and judge what it says."""
        self.meter.reset()
        begun = time.monotonic()
        findings: Sequence[Finding] = ()
        try:
            findings = self.looking(self.shadow.repository)
        except StoppedError:
            raise
        except MocbanError as error:
            trial.failure = error
        trial.audit_time, trial.audit_read = _milliseconds(begun, time.monotonic()), self.meter.read
        accused = [one for one in findings if one.is_open]
        damaged = {(one.fault.store, one.fault.pack) for one in trial.injected}
        for one in trial.injected:
            fault = one.fault
            about = [finding for finding in accused if finding.pack == fault.pack]
            one.detected = bool(about)
            one.named = any((each.code, each.store) == (NAMED_AS[fault.kind], fault.store) for each in about)
            one.codes = tuple(sorted({str(each.code) for each in about}))
            seen = self.meter.looks.get((fault.store, fault.key))
            if one.detected and seen is not None:
                one.found_after, one.read_before = _milliseconds(begun, seen[0]), seen[1]
        trial.false_alarms = [
            one for one in accused if one.code not in COPY_CODES or (one.store, one.pack) not in damaged
        ]

    def _heal(self, trial: Trial) -> None:
        """Let the repair work, and look at the bare medium whether it did."""
        if len(self.shadow.media) == 1 or not any(one.detected for one in trial.injected):
            return  # there is nothing to heal it from, or nobody knows that there is anything to heal
        self.meter.reset()
        begun = time.monotonic()
        left: Sequence[Finding] = ()
        try:
            left = self.healing(self.shadow.repository)
        except StoppedError:
            raise
        except MocbanError as error:
            trial.failure = error
        trial.repair_time, trial.repair_read = _milliseconds(begun, time.monotonic()), self.meter.read
        refused = {(one.store, one.pack) for one in left if one.code is Code.REPAIR_FAILED}
        for one in trial.injected:
            fault = one.fault
            right = is_right(self.shadow.media[fault.store], self._wells[fault.pack])
            if fault.kind in NOT_TO_BE_HEALED:
                one.healed = not right and (fault.store, fault.pack) in refused
                continue
            one.healed = right
            when = self.meter.writes.get((fault.store, fault.key))
            if right and when is not None:
                one.healed_after = _milliseconds(begun, when)

    def _restore(self, trial: Trial) -> None:
        """Note which good copies were harmed, and make all as it was for the next trial."""
        damaged = {(one.fault.store, one.fault.pack) for one in trial.injected}
        for name, medium in self.shadow.media.items():
            for pack in self.shadow.packs:
                meant_well = pack.pack in self.shadow.held[name] and (name, pack.pack) not in damaged
                if meant_well and not is_right(medium, pack):
                    trial.harmed.append((name, pack.pack))
                    restore(self.shadow, name, pack, self._real())
        for one in trial.injected:
            restore(self.shadow, one.fault.store, self._wells[one.fault.pack], self.good(one.fault))


def _milliseconds(begun: float, ended: float) -> int:
    return max(0, round((ended - begun) * 1000))


def _last_byte(good: StorageBackend, key: str, size: int) -> int:
    """Return where the last byte is that is not zero: behind it, zeros change nothing."""
    end = size
    while end > 0:
        start = max(0, end - RECORD)
        with good.read(key, offset=start, length=end - start) as reader:
            data = b"".join(iter(lambda: reader.read(RECORD), b"")).rstrip(b"\0")
        if data:
            return start + len(data) - 1
        end = start
    return 0
