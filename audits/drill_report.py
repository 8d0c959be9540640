"""What a drill says: its faults and what became of them, as data, as canonical JSON, and as an event of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from audits.drill_faults import NOT_TO_BE_HEALED, Fault, FaultKind
from audits.drill_shadow import Unusable
from audits.findings import Finding
from preservation.catalog.rows import PackRow
from preservation.ledger.canonical import Json, canonical
from preservation.ledger.events import Event, EventType, Outcome
from preservation.repository import Repository
from storage_backends.errors import MocbanError

FORMAT = "mocban-drill/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a drill is asked: stores to damage (none: all), how many packs, the seed, fault classes, where to work."""

    stores: tuple[str, ...] = ()
    packs: int = 3
    seed: int = 0
    faults: tuple[FaultKind, ...] = tuple(FaultKind)
    work: str = ""
    """A folder on a disk with room; empty: the repository's own staging folder."""


@dataclass(slots=True)
class Injected:
    """One fault in one copy and what became of it. Times in milliseconds from the beginning of audit or repair."""

    fault: Fault
    detected: bool = False
    """A finding speaks of this pack."""
    named: bool = False
    """Code, store and pack are right."""
    codes: tuple[str, ...] = ()
    found_after: int | None = None
    read_before: int | None = None
    """Bytes that the audit had read from all stores when it was through with this copy."""
    reach: str = ""
    """How deep the good copies were read in the audit before: whether a look passes the cache at all."""
    healed: bool = False
    """Byte for byte right again on the bare medium; of a store that spoils what is written: refused, and said."""
    healed_after: int | None = None


@dataclass(slots=True)
class Trial:
    """One class of faults: one audit, one repair."""

    kind: FaultKind
    injected: list[Injected] = field(default_factory=list)
    false_alarms: list[Finding] = field(default_factory=list)
    harmed: list[tuple[str, str]] = field(default_factory=list)
    """(store, pack): good copies that are wrong after the repair."""
    audit_time: int = 0
    audit_read: int = 0
    repair_time: int = 0
    repair_read: int = 0
    failure: MocbanError | None = None
    """Why the audit or the repair broke off."""

    @property
    def passed(self) -> bool:
        """Whether every fault was detected, named and healed, and nothing else was accused or harmed."""
        right = all(one.detected and one.named and one.healed for one in self.injected)
        return bool(self.injected) and right and not (self.false_alarms or self.harmed or self.failure)


@dataclass(slots=True)
class Drilled:
    """What came of a drill."""

    drill: str
    repository: str
    asked: Asked
    begun: str
    packs: list[PackRow]
    stores: list[str]
    shadowed: dict[str, tuple[str, str]]
    """By store: its medium, and that of its shadow."""
    control: list[Finding] = field(default_factory=list)
    """What the audit accused before any fault was there: false alarms."""
    unusable: list[Unusable] = field(default_factory=list)
    """Real copies that turned out not to be right when they were read for the shadow."""
    trials: list[Trial] = field(default_factory=list)
    ended: str = ""

    @property
    def injected(self) -> list[Injected]:
        """Every fault of every trial."""
        return [one for trial in self.trials for one in trial.injected]

    @property
    def passed(self) -> bool:
        """Whether the audit does what it promises."""
        return bool(self.trials) and not self.control and all(trial.passed for trial in self.trials)

    @property
    def exit_status(self) -> int:
        """0 if all is well; 3 if the audit failed, or if a real copy is not right."""
        return 0 if self.passed and not self.unusable else 3

    def counts(self) -> dict[str, int]:
        """Return the sums."""
        found = self.injected
        return {
            "injected": len(found),
            "detected": sum(one.detected for one in found),
            "named": sum(one.named for one in found),
            "healed": sum(one.healed for one in found),
            "false_alarms": len(self.control) + sum(len(trial.false_alarms) for trial in self.trials),
            "harmed": sum(len(trial.harmed) for trial in self.trials),
            "broken_off": sum(trial.failure is not None for trial in self.trials),
            "unusable": len(self.unusable),
        }


def report_bytes(result: Drilled) -> bytes:
    """Return the report as a file: canonical JSON (RFC 8785) and a newline. Its SHA-256 stands in the ledger."""
    return canonical(_report(result)) + b"\n"


def record(repository: Repository, result: Drilled) -> str:
    """Write into the ledger that the drill was held, how it ended and which report says so; return its SHA-256."""
    digest = sha256(report_bytes(result)).hexdigest()
    held = Event(
        type=EventType.DRILL,
        outcome=Outcome.SUCCESS if result.passed else Outcome.FAILURE,
        detail={
            "drill": result.drill,
            "seed": result.asked.seed,
            "packs": len(result.packs),
            "report_sha256": digest,
            **result.counts(),
        },
        agent=repository.world.agent,
    )
    repository.record([held])
    return digest


def _report(result: Drilled) -> Mapping[str, Json]:
    asked = result.asked
    return {
        "format": FORMAT,
        "drill": result.drill,
        "repository": result.repository,
        "begun": result.begun,
        "ended": result.ended,
        "seed": asked.seed,
        "passed": result.passed,
        "stores": [
            {"name": name, "medium": real, "shadow_medium": shadow}
            for name, (real, shadow) in sorted(result.shadowed.items())
        ],
        "damaged_stores": result.stores,
        "packs": [{"pack": pack.pack, "fonds": pack.fonds, "size": pack.size} for pack in result.packs],
        "counts": result.counts(),
        "control": [_finding(one) for one in result.control],
        "unusable": [
            {"store": one.store, "pack": one.pack, "reason": type(one.reason).__name__} for one in result.unusable
        ],
        "trials": [_trial(trial) for trial in result.trials],
    }


def _trial(trial: Trial) -> Mapping[str, Json]:
    return {
        "fault": str(trial.kind),
        "passed": trial.passed,
        "audit_ms": trial.audit_time,
        "audit_read": trial.audit_read,
        "repair_ms": trial.repair_time,
        "repair_read": trial.repair_read,
        "broken_off": type(trial.failure).__name__ if trial.failure is not None else "",
        "false_alarms": [_finding(one) for one in trial.false_alarms],
        "harmed": [{"store": store, "pack": pack} for store, pack in trial.harmed],
        "injected": [
            {
                "store": one.fault.store,
                "pack": one.fault.pack,
                "at": one.fault.at,
                "bit": one.fault.bit,
                "reach": one.reach,
                "detected": one.detected,
                "named": one.named,
                "codes": list(one.codes),
                "found_after_ms": one.found_after,
                "read_before": one.read_before,
                "refusal_expected": trial.kind in NOT_TO_BE_HEALED,
                "healed": one.healed,
                "healed_after_ms": one.healed_after,
            }
            for one in trial.injected
        ],
    }


def _finding(one: Finding) -> Mapping[str, Json]:
    return {"code": str(one.code), "store": one.store, "pack": one.pack}
