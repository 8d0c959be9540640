"""What a report says, as plain figures: frozen nouns that know nothing of pages. Sizes in bytes, times ISO 8601 UTC."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from preservation.risk.scoring import Held

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Period:
    """What a report is about: events from ``start`` to ``end`` (not included), looked at ``now``."""

    start: datetime
    end: datetime
    now: datetime

    @property
    def is_past(self) -> bool:
        """Whether it ended before the report was made; what the catalog knows is of now, and not of then."""
        return self.end < self.now


@dataclass(slots=True)
class FondsFigures:
    """What is held of one fonds. ``files`` and ``bytes`` are those of the latest version of each package."""

    fonds: str
    code: str
    title: str
    packages: int = 0
    files: int = 0
    bytes: int = 0
    packs: int = 0
    objects: int = 0
    stored: int = 0
    """Bytes of the live packs, once."""


@dataclass(slots=True)
class StoreFigures:
    """One attached store and how its copies were last seen: ``copies`` is the sum of the four states."""

    store: str
    name: str
    medium: str
    site: str
    vendor: str
    admin_domain: str
    available: bool
    copies: int = 0
    bytes: int = 0
    good: int = 0
    damaged: int = 0
    missing: int = 0
    unreadable: int = 0
    lacking: int = 0
    """Packs that it has no copy of."""

    @property
    def bad(self) -> int:
        """Copies that were last seen not to be good."""
        return self.damaged + self.missing + self.unreadable


@dataclass(slots=True)
class Ages:
    """How long ago copies of one store were looked at, by one grade and as deep: a histogram of whole hours."""

    store: str
    grade: str
    reach: str
    hours: Counter[int] = field(default_factory=Counter)

    @property
    def copies(self) -> int:
        """How many copies."""
        return self.hours.total()

    def quantile(self, share: float) -> int:
        """Return the age in seconds that this share of the copies does not exceed, to the hour below."""
        wanted, seen = share * self.copies, 0
        for hours in sorted(self.hours):
            seen += self.hours[hours]
            if seen >= wanted:
                return hours * HOUR
        return 0

    def within(self, seconds: float) -> int:
        """Return how many copies are no older."""
        return sum(count for hours, count in self.hours.items() if hours * HOUR <= seconds)

    @property
    def oldest(self) -> int:
        """The greatest age in seconds, to the hour below."""
        return max(self.hours, default=0) * HOUR


@dataclass(slots=True)
class Combination:
    """Packs whose good copies lie on the same stores."""

    stores: frozenset[str]
    packs: int = 0
    bytes: int = 0
    copies_short: bool = False
    """Whether that is fewer, or less different, than the policy asks."""


@dataclass(slots=True)
class Holdings:
    """What is held now, and how it was last seen."""

    fonds: list[FondsFigures] = field(default_factory=list)
    stores: list[StoreFigures] = field(default_factory=list)
    ages: list[Ages] = field(default_factory=list)
    never: Counter[str] = field(default_factory=Counter)
    """Good copies of which no audit has read every byte, by store."""
    unverified_since_start: Counter[str] = field(default_factory=Counter)
    """Copies of which nothing was verified since the period began, by store."""
    combinations: list[Combination] = field(default_factory=list)
    packs: int = 0
    objects: int = 0
    bytes: int = 0
    stored: int = 0
    packages: int = 0
    files: int = 0
    short_packs: int = 0
    lost: int = 0
    lost_sample: list[str] = field(default_factory=list)
    unfinished_audits: int = 0
    last_audit: str = ""
    first_ingest: str = ""

    @property
    def copies(self) -> int:
        """All copies that are expected on attached stores and known."""
        return sum(store.copies for store in self.stores)

    @property
    def bad(self) -> int:
        """Copies that were last seen not to be good."""
        return sum(store.bad for store in self.stores)


@dataclass(slots=True)
class FormatFigures:
    """Files of the latest versions by format, as identified last."""

    formats: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By PUID, or by what identification said where it gave none: files, bytes."""
    held: list[Held] = field(default_factory=list)
    """The same, by what else is known of the files."""
    unread_packages: int = 0
    """Packages whose manifest could not be read now."""
    unread_files: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One audit that was closed in the period."""

    run: str
    closed: str
    counts: Mapping[str, int]
    root: str = ""
    """The Merkle root of the copies that it expected, if it says one."""
    grade: str = ""
    strata: tuple[Mapping[str, object], ...] = ()
    """The parts of its sample, if it was one."""

    @property
    def closes(self) -> bool:
        """Whether what it expected is accounted for."""
        parts = ("verified", "damaged", "missing", "unreadable", "skipped")
        return self.counts.get("expected", -1) == sum(self.counts.get(part, 0) for part in parts)

    @property
    def skipped(self) -> dict[str, int]:
        """How many were skipped, by reason."""
        return {
            name.removeprefix("skipped_"): count
            for name, count in self.counts.items()
            if name.startswith("skipped_") and count
        }


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the period worth a line of its own."""

    time: str
    kind: str
    store: str = ""
    pack: str = ""
    detail: str = ""


@dataclass(slots=True)
class History:
    """What happened in the period."""

    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Events by type."""
    checks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Copies looked at: by store, grade and verdict."""
    read: Counter[str] = field(default_factory=Counter)
    """Bytes that audits read, by store."""
    buckets: list[tuple[datetime, datetime]] = field(default_factory=list)
    """The parts of the period that a chart shows."""
    by_bucket: list[Counter[str]] = field(default_factory=list)
    """For each: verdicts other than verified, ``repaired``, ``verified``."""
    runs: list[Run] = field(default_factory=list)
    """The latest; there may be more."""
    run_count: int = 0
    run_sums: Counter[str] = field(default_factory=Counter)
    failures: list[Happening] = field(default_factory=list)
    """The latest."""
    failure_count: int = 0
    repairs: list[Happening] = field(default_factory=list)
    repair_count: int = 0
    lost_objects: int = 0
    ingested_packages: int = 0
    ingested_files: int = 0
    ingested_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """The state of the ledger."""

    size: int
    origin: str
    root: str
    """The root of the tree over all events, Base64."""
    sealed: int
    segments: int
    checkpoint: str = ""
    """The latest signed checkpoint, as it is kept."""
    checkpoint_size: int = 0
    checkpoint_root: bytes = b""
    checkpoint_fits: bool | None = None
    """Whether its root is that of the ledger here; None where the ledger has grown since and was not hashed again."""
    last: Mapping[str, str] = field(default_factory=dict)
    """By type of event: when one was last recorded, in all of the ledger."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Events of the whole ledger by type."""
    agents: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """Something wrong from its detection to its end."""

    code: str
    store: str
    pack: str
    opened: str
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """How different the good copies of some packs are: their number, and how many there are of each kind.

    None where it is not stated, or could not be looked at, for any of the stores: nothing is known then.
    """

    stores: tuple[str, ...]
    """Names."""
    packs: int
    bytes: int
    short: bool
    copies: int
    devices: int | None
    sites: int | None
    vendors: int | None
    admin_domains: int | None
    media: int

    @property
    def effective(self) -> int:
        """How many copies are left if whatever shares most is lost, of all that is known."""
        known = (self.devices, self.sites, self.vendors, self.admin_domains)
        return min([self.copies, *(count for count in known if count is not None)])
