"""Policies: what the configuration says of the copies of one store and one fonds."""

from dataclasses import dataclass

from preservation.configuration import GRADES, AuditPolicy, FondsAuditPolicy, StoreAuditPolicy
from preservation.windows import ALWAYS, Windows, windows_of

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """What holds for one store: its longest age in seconds, bytes a second (0 is no limit), and the rest."""

    longest: float
    most: int
    windows: Windows
    io_priority: str
    grade: str

    def accepts(self, grade: str) -> bool:
        """Tell whether evidence of ``grade`` counts as a verification."""
        return GRADES.index(grade) >= GRADES.index(self.grade)


@dataclass(frozen=True, slots=True)
class FondsPolicy:
    """What holds for one fonds: its longest age in seconds, if it has one of its own, and its windows."""

    longest: float | None = None
    windows: Windows = ALWAYS


def store_policy(audit: AuditPolicy, name: str) -> StorePolicy:
    """Return what holds for the store of that name."""
    own = audit.stores.get(name, StoreAuditPolicy())
    return StorePolicy(
        longest=(audit.max_age_days if own.max_age_days is None else own.max_age_days) * DAY,
        most=audit.bytes_per_second if own.bytes_per_second is None else own.bytes_per_second,
        windows=windows_of(audit.window if own.window is None else own.window),
        io_priority=own.io_priority or audit.io_priority,
        grade=own.grade or GRADES[-1],
    )


def fonds_policy(audit: AuditPolicy, code: str) -> FondsPolicy:
    """Return what holds for the fonds of that code beside what holds for its stores."""
    own = audit.fonds.get(code, FondsAuditPolicy())
    longest = None if own.max_age_days is None else own.max_age_days * DAY
    return FondsPolicy(longest, windows_of(own.window or ""))


def longest_age(store: StorePolicy, fonds: FondsPolicy) -> float:
    """Return the longest age of a copy in seconds: the shorter of the two."""
    return store.longest if fonds.longest is None else min(store.longest, fonds.longest)


def unknown_names(audit: AuditPolicy, stores: set[str], codes: set[str]) -> list[str]:
    """Return the tables of the configuration that are about a store or a fonds that there is not."""
    found = [f"audit.stores.{name}" for name in audit.stores if name not in stores]
    return found + [f"audit.fonds.{code}" for code in audit.fonds if code not in codes]
