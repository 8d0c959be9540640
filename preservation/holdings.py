"""What is held: packages, stores and their copies, and what has happened, as listing commands ask for it.

Nothing here looks at single objects: the numbers come from the rows of packs, copies and packages.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import (
    CopyRow,
    CopyState,
    FondsRow,
    LostRow,
    ManifestRow,
    MarkRow,
    PackageRow,
    PackRow,
    PackState,
    RunRow,
    SessionRow,
    StoreRow,
    VersionRow,
)
from preservation.fonds import described
from preservation.ledger.events import LOCAL, Record, time_text
from preservation.ledger.finding import events_about
from preservation.packages import NoSuchPackageError, version_row
from preservation.replication import short_packages, short_packs
from preservation.repository import Repository
from preservation.session import open_sessions
from preservation.stores import NoSuchStoreError, Store, attached, sharings
from storage_backends.errors import MocbanError, marked


@dataclass(frozen=True, slots=True)
class HeldPackage:
    """A package and its latest version; sizes in bytes, times ISO 8601 UTC."""

    package: str
    fonds: str
    """The code of its fonds."""
    title: str
    versions: int
    files: int
    bytes: int
    ingested: str
    under_replicated: bool


def packages(repository: Repository, view: View, fonds_code: str = "") -> Iterator[HeldPackage]:
    """Yield every package, of one fonds if ``fonds_code`` is given, in the order in which they came."""
    codes = {row.fonds: row.code for row in rows.every(view, FondsRow)}
    short = set(short_packages(view, short_packs(repository, view)))
    for head in rows.every(view, PackageRow):
        code = codes.get(head.fonds, head.fonds)
        row = rows.one(view, VersionRow, head.package, f"{head.latest:06d}")
        if row is None or (fonds_code and fonds_code not in {code, head.fonds}):
            continue
        yield HeldPackage(
            package=head.package,
            fonds=code,
            title=title_of(view, row),
            versions=head.latest,
            files=row.files,
            bytes=row.byte_count,
            ingested=row.ingested,
            under_replicated=head.package in short,
        )


def title_of(view: View, row: VersionRow) -> str:
    """Return the title of a package version, as the index of its pack has it."""
    found = rows.every(view, ManifestRow, row.package, f"{row.version:06d}")
    return next((one.title for one in found if one.blake3 == row.manifest_blake3), "")


def package_named(view: View, name: str) -> str:
    """Return the identifier of the package ``name``: the whole of it, or a beginning that only one package has.

    Raises:
        NoSuchPackageError: none or several begin so.
    """
    if rows.one(view, PackageRow, name) is not None:
        return name
    found = [row.package for row in rows.every(view, PackageRow) if name and row.package.startswith(name)]
    if len(found) != 1:
        raise NoSuchPackageError(package=name)
    return found[0]


@dataclass(frozen=True, slots=True)
class HeldFonds:
    """A fonds with its title, and how much of it is held."""

    fonds: str
    code: str
    title: str
    opened: str
    packages: int
    bytes: int


def fonds(repository: Repository, view: View) -> list[HeldFonds]:
    """Return every fonds; ``bytes`` is the content of its packs, each object once."""
    counts = Counter(row.fonds for row in rows.every(view, PackageRow))
    sizes: Counter[str] = Counter()
    for pack in rows.every(view, PackRow):
        if pack.state == PackState.LIVE:
            sizes[pack.fonds] += pack.content_bytes
    return [
        HeldFonds(row.fonds, row.code, str(more.get("title", "")), row.opened, counts[row.fonds], sizes[row.fonds])
        for row, more in described(repository, view)
    ]


@dataclass(slots=True)
class StoreStatus:
    """One store and its copies, ``packs`` in all; five of the numbers add up to it.

    ``verified`` copies were right when an audit last read them; ``never_verified`` ones were right when they were
    written and no audit has read them since. ``lacking`` packs have no copy here that we know of.
    ``oldest_verification`` is the least recent of the verifications, None if there is none.
    """

    store: str
    name: str
    url: str
    medium: str
    site: str
    available: bool = True
    reason: str = ""
    packs: int = 0
    verified: int = 0
    damaged: int = 0
    missing: int = 0
    unreadable: int = 0
    never_verified: int = 0
    lacking: int = 0
    bytes: int = 0
    oldest_verification: str | None = None


@dataclass(slots=True)
class UnfinishedIngest:
    """An ingest that has begun and not ended. ``source`` is empty where its record is not on this machine."""

    session: str
    package: str
    fonds: str
    source: str = ""
    begun: str = ""


@dataclass(slots=True)
class HoldingsStatus:
    """How the repository is. ``objects`` and ``bytes`` are those of live packs, the same content once a fonds."""

    packages: int = 0
    objects: int = 0
    bytes: int = 0
    packs: int = 0
    stores: list[StoreStatus] = field(default_factory=list)
    under_replicated: list[str] = field(default_factory=list)
    lost_objects: int = 0
    unfinished: list[UnfinishedIngest] = field(default_factory=list)
    unfinished_audits: int = 0
    last_audit: str | None = None
    events: int = 0


def status(repository: Repository, view: View, stores: Sequence[Store]) -> HoldingsStatus:
    """Return how the repository is, from what the catalog knows and from which stores are there now."""
    found = HoldingsStatus(events=repository.ledger.size)
    sizes: dict[str, int] = {}
    for pack in rows.every(view, PackRow):
        if pack.state in rows.EXPECTED_STATES:
            sizes[pack.pack] = pack.size
        if pack.state == PackState.LIVE:
            found.packs += 1
            found.objects += pack.objects
            found.bytes += pack.content_bytes
    found.packages = sum(1 for _ in rows.every(view, PackageRow))
    found.stores = _stores(view, stores, sizes)
    found.under_replicated = short_packages(view, short_packs(repository, view, sharings(stores)))
    found.lost_objects = sum(1 for _ in rows.every(view, LostRow))
    found.unfinished = unfinished(repository, view)
    found.unfinished_audits = sum(1 for _ in rows.every(view, RunRow))
    mark = rows.one(view, MarkRow, "last audit")
    found.last_audit = mark.value if mark is not None else None
    return found


def _stores(view: View, stores: Sequence[Store], sizes: dict[str, int]) -> list[StoreStatus]:
    copies: defaultdict[str, list[CopyRow]] = defaultdict(list)
    for copy in rows.every(view, CopyRow):
        if copy.pack in sizes:
            copies[copy.store].append(copy)
    return [_store(store, copies[store.row.store], sizes) for store in stores]


def _store(store: Store, copies: Sequence[CopyRow], sizes: dict[str, int]) -> StoreStatus:
    states = Counter(copy.state for copy in copies)
    verified = [copy.verified for copy in copies if copy.state == CopyState.GOOD and copy.verified]
    row = store.row
    return StoreStatus(
        store=row.store,
        name=row.name,
        url=row.url,
        medium=row.medium,
        site=row.site,
        available=store.backend is not None,
        reason=str(store.failure) if store.failure is not None else "",
        packs=len(copies),
        verified=len(verified),
        damaged=states[CopyState.DAMAGED],
        missing=states[CopyState.MISSING],
        unreadable=states[CopyState.UNREADABLE],
        never_verified=states[CopyState.GOOD] - len(verified),
        lacking=len(sizes) - len(copies),
        bytes=sum(sizes[copy.pack] for copy in copies),
        oldest_verification=min((copy.verified for copy in copies if copy.verified), default=None),
    )


def unfinished(repository: Repository, view: View) -> list[UnfinishedIngest]:
    """Return the ingests that have begun and not ended, from the ledger and from what lies in staging."""
    codes = {row.fonds: row.code for row in rows.every(view, FondsRow)}
    found = {
        row.session: UnfinishedIngest(row.session, row.package, codes.get(row.fonds, row.fonds))
        for row in rows.every(view, SessionRow)
    }
    for _, one in open_sessions(repository.staging):
        found[one.session] = UnfinishedIngest(one.session, one.package, one.fonds_code, one.source, one.created)
    return [found[session] for session in sorted(found)]


def packs_of(view: View, package: str) -> set[str]:
    """Return the packs that any version of a package needs."""
    found: set[str] = set()
    for row in rows.every(view, VersionRow, package):
        found.update(row.packs, row.references)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which events are asked for; an empty field asks for all. ``kind`` is a term, or a local one without its URI.

    ``package`` and ``run`` are identifiers, ``pack`` and ``object`` digests, ``store`` a name or an identifier. What is
    about the package, the pack or the object is given; the others narrow that.
    """

    since: int = 0
    kind: str = ""
    package: str = ""
    pack: str = ""
    object: str = ""
    store: str = ""
    run: str = ""
    limit: int | None = None


class NoSuchObjectError(MocbanError):
    """No pack that is held now has such an object."""

    template = marked("No pack holds an object {digest}")


def events(repository: Repository, asked: Asked) -> Iterator[Record]:
    """Yield the events that are asked for in the order of the ledger, a few at a time in memory.

    An event is about a package if it names it or one of the packs that it needs, about an object if it names a pack
    that holds it now. Of a long ledger only what can be about them is read.

    Raises:
        NoSuchPackageError, NoSuchObjectError, NoSuchStoreError: there is none.
    """
    about, narrowed = _about(repository, asked), _narrowed(repository, asked)
    kinds = {asked.kind, LOCAL + asked.kind}
    lookup = about or dict(list(narrowed.items())[:1])
    ledger = repository.ledger
    found = events_about(ledger, lookup, asked.since) if lookup else ledger.records(asked.since)
    wanted = (
        record
        for record in found
        if (not asked.kind or record.event.type in kinds)
        and all(record.event.detail.get(name) in values for name, values in narrowed.items())
    )
    return islice(wanted, asked.limit)


def _about(repository: Repository, asked: Asked) -> dict[str, frozenset[str]]:
    """Return the members of an event's detail, and the values, one of which it must have; nothing if any will do."""
    packages, packs = {asked.package} - {""}, {asked.pack} - {""}
    if packages or asked.object:
        with repository.reading() as view:
            if packages:
                version_row(view, asked.package)
                packs |= packs_of(view, asked.package)
            if asked.object:
                packs |= _packs_with(view, asked.object)
    return {name: frozenset(values) for name, values in (("package", packages), ("pack", packs)) if values}


def _packs_with(view: View, digest: str) -> set[str]:
    packs: set[str] = set()
    for row in rows.every(view, FondsRow):
        try:
            places = rows.locations(view.get(rows.object_key(row.fonds, digest)))
        except ValueError as error:
            raise NoSuchObjectError(digest=digest) from error
        for place in places:
            packs.add(place.pack)
            pack = rows.one(view, PackRow, place.pack)
            packs |= {pack.salvage_of} - {""} if pack is not None else set()
    if not packs:
        raise NoSuchObjectError(digest=digest)
    return packs


def _narrowed(repository: Repository, asked: Asked) -> dict[str, frozenset[str]]:
    narrowed: dict[str, frozenset[str]] = {}
    if asked.run:
        narrowed["run"] = frozenset({asked.run})
    if asked.store:
        with repository.reading() as view:
            known = [row.store for row in rows.every(view, StoreRow) if asked.store in {row.name, row.store}]
        if not known:
            raise NoSuchStoreError(name=asked.store)
        narrowed["store"] = frozenset(known)
    return narrowed


def stores(view: View) -> list[StoreRow]:
    """Return the attached stores in the order in which they were added."""
    return attached(view)


def short_type(kind: str) -> str:
    """Return an event's type as people say it: without the URI of local ones."""
    return kind.removeprefix(LOCAL)


def when(record: Record) -> str:
    """Return when an event was recorded, ISO 8601 UTC."""
    return time_text(record.time)
