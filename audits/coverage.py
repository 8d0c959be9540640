"""What an audit is asked, what it counts, and what it reports."""

from dataclasses import dataclass, field

from audits.findings import Finding
from preservation.catalog.rows import CopyRow, PackRow
from preservation.checking import Seen
from storage_backends.errors import MocbanError, marked


class CoverageError(MocbanError):
    """An audit did not account for everything that it expected."""

    template = marked("The audit expected {expected} copies and accounts for {found}; this is an error of the program")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an audit looks at, and how much of it: days, seconds, bytes; names of stores, codes of fonds, packages.

    ``copies`` names single copies, as ``PACK/STORE`` with the identifiers of both.
    """

    max_age_days: int | None = None
    seconds: float | None = None
    bytes: int | None = None
    stores: tuple[str, ...] = ()
    fonds: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(slots=True)
class Coverage:
    """What became of every copy that was expected. ``damaged``, ``missing`` and ``unreadable`` are as found."""

    expected: int = 0
    verified: int = 0
    damaged: int = 0
    missing: int = 0
    unreadable: int = 0
    unexpected: int = 0
    skipped: int = 0
    repaired: int = 0
    lost_objects: list[str] = field(default_factory=list)
    skipped_reasons: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """Compare the sum; ``CoverageError`` if it does not close."""
        found = self.verified + self.damaged + self.missing + self.unreadable + self.skipped
        if found != self.expected:
            raise CoverageError(expected=self.expected, found=found)


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. ``complete`` is whether it came to its end within its budget."""

    run: str
    coverage: Coverage
    findings: list[Finding]
    complete: bool

    @property
    def exit_status(self) -> int:
        """0 if nothing is open, 3 if something is, or if something could not be looked at."""
        return 3 if any(finding.is_open for finding in self.findings) else 0


@dataclass(slots=True)
class Wanted:
    """A copy that the audit must account for."""

    pack: PackRow
    copy: CopyRow
    seen: Seen | None = None
    skipped: str = ""
