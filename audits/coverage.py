"""What an audit is asked, what it counts, and what it reports."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from audits.findings import Finding
from audits.sampling import Sample
from preservation.catalog.rows import CopyRow, PackRow
from preservation.checking import Grade, Seen, Verdict
from preservation.ledger.merkle import Frontier, leaf_hash
from storage_backends.errors import MocbanError, marked

NOT_READ = "not-read"
"""Why a copy that is present counts as skipped: nobody read its bytes."""


class CoverageError(MocbanError):
    """An audit did not account for everything that it expected."""

    template = marked("The audit expected {expected} copies and accounts for {found}; this is an error of the program")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an audit looks at, how deep, and how much of it.

    Days, seconds, bytes; names of stores, codes of fonds, packages; the grade of evidence; a sample as ``sampling``
    reads it (``100`` copies, ``5%``), and beside it the first and last ``ends`` packs of each cartridge. ``copies``
    names single copies, as ``PACK/STORE`` with the identifiers of both.
    """

    max_age_days: int | None = None
    seconds: float | None = None
    bytes: int | None = None
    stores: tuple[str, ...] = ()
    fonds: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    grade: Grade = Grade.BYTES
    sample: str = ""
    ends: int = 0

    @property
    def is_everything(self) -> bool:
        """Whether every byte of every copy is asked for, without a budget."""
        return self == Scope()

    @property
    def sweeps(self) -> bool:
        """Whether everything beside the packs is looked at as well: sidecars, evidence, what does not belong."""
        return self.grade is Grade.BYTES and not (self.fonds or self.packages or self.copies or self.sample)

    @property
    def passes(self) -> bool:
        """Whether every byte on whole stores is asked for, so that cartridges are read from end to end."""
        return self.sweeps and self.max_age_days is None and self.bytes is None


@dataclass(slots=True)
class Coverage:
    """What became of every copy that was expected. ``damaged``, ``missing`` and ``unreadable`` are as found.

    ``verified`` counts copies whose bytes were read, and no others. Those that a pass of grade ``inventory`` found in
    their place are counted by ``present`` and are among the skipped, with the reason ``not-read``.
    """

    grade: str = Grade.BYTES
    expected: int = 0
    verified: int = 0
    present: int = 0
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
    sample: Sample | None = None

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
    taken: bool = False
    """Somebody looks at it, has looked, or has decided not to."""
    stratum: str = ""
    """Of a copy that is in the population of a sample: the part of it that it belongs to."""
    drawn: bool = False
    """Whether it is in the sample."""

    @property
    def result(self) -> str:
        """What became of it, as the proof has it; empty if nothing did."""
        if self.seen is not None and not self.skipped:
            return str(self.seen.verdict)
        return "skipped" if self.skipped else ""


def counted(wanted: Sequence[Wanted], grade: Grade) -> Coverage:
    """Return what became of ``wanted``; ``CoverageError`` if of one nothing did."""
    results = Counter(one.result for one in wanted)
    reasons = Counter(one.skipped for one in wanted if one.skipped)
    present = results[Verdict.PRESENT]
    if present:
        reasons[NOT_READ] += present
    coverage = Coverage(
        grade=grade,
        expected=len(wanted),
        verified=results[Verdict.VERIFIED],
        present=present,
        damaged=results[Verdict.DAMAGED],
        missing=results[Verdict.MISSING],
        unreadable=results[Verdict.UNREADABLE],
        skipped=sum(reasons.values()),
        skipped_reasons=dict(reasons),
    )
    coverage.close()
    return coverage


def expected_root(wanted: Iterable[Wanted]) -> str:
    """Return the root of the tree (RFC 6962) over the lines ``<pack> <store>`` of all copies, sorted by bytes."""
    return _root(f"{one.copy.pack} {one.copy.store}" for one in wanted)


def results_root(wanted: Iterable[Wanted]) -> str:
    """Return the root over the lines ``<pack> <store> <result>`` of all copies, sorted by bytes."""
    return _root(f"{one.copy.pack} {one.copy.store} {one.result}" for one in wanted)


def _root(lines: Iterable[str]) -> str:
    return Frontier().extended(leaf_hash(line.encode()) for line in sorted(lines)).root().hex()
