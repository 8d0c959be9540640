"""The rows of the catalog: frozen nouns, how they are written down, and under which keys."""

import dataclasses
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, Self, TypeVar

POSITION = b"!position"
LOCATION = struct.Struct("<32sQQ")
"""One place of an object: pack digest, offset and size in bytes."""


class PackState(StrEnum):
    """What a pack is to us."""

    PENDING = "pending"
    """Sealed by an ingest that has not ended."""
    LIVE = "live"
    SUPERSEDED = "superseded"
    SALVAGED = "salvaged"
    """Could not be made whole; what survived lies in a salvage pack."""
    ABANDONED = "abandoned"
    DESTROYED = "destroyed"


EXPECTED_STATES = frozenset({PackState.PENDING, PackState.LIVE})
"""The states in which copies of a pack are expected on its stores."""


class CopyState(StrEnum):
    """How a copy was last seen."""

    GOOD = "good"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREADABLE = "unreadable"


class StoreState(StrEnum):
    """What a store is to us."""

    ATTACHED = "attached"
    DETACHED = "detached"
    LOST = "lost"


class Row:
    """What all rows share: JSON with sorted keys, no spaces."""

    __slots__ = ()
    PREFIX: ClassVar[bytes]

    def to_bytes(self) -> bytes:
        """Return the row as JSON."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the row written as ``data``."""
        return cls(**json.loads(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRow(Row):
    """One pack. Sizes in bytes, digests BLAKE3, times ISO 8601 UTC."""

    PREFIX: ClassVar[bytes] = b"pack/"
    pack: str
    fonds: str
    size: int
    label: str
    state: str
    package: str
    version: int
    session: str
    objects: int
    content_bytes: int
    index_size: int
    index_blake3: str
    blocks_size: int
    blocks_blake3: str
    sealed: int
    """The ledger's number of the event that sealed it."""
    index_missing: bool = False
    salvage_of: str = ""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.pack.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow(Row):
    """One pack on one store, as last seen."""

    PREFIX: ClassVar[bytes] = b"copy/"
    pack: str
    store: str
    generation: str
    state: str
    written: str
    seen_good: str
    """When its bytes were last read and right, be it at writing or by an audit."""
    verified: str = ""
    """When an audit last read it and found it right; empty: never."""
    checked: str = ""
    reach: str = ""
    present: str = ""
    """When an audit last saw it in its place and of the right size without reading it; empty: never."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"copy/{self.pack}/{self.store}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRow(Row):
    """One store."""

    PREFIX: ClassVar[bytes] = b"store/"
    store: str
    name: str
    url: str
    medium: str
    site: str
    vendor: str
    admin_domain: str
    state: str
    added: str
    withheld: list[str] = dataclasses.field(default_factory=list)
    """Barcodes of its cartridges on which nothing is written any more."""
    shelved: list[str] = dataclasses.field(default_factory=list)
    """Barcodes of its cartridges that lie on a shelf."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"store/" + self.store.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class FondsRow(Row):
    """One fonds; ``description`` is the digest of its descriptive record, which is kept outside the ledger."""

    PREFIX: ClassVar[bytes] = b"fonds/"
    fonds: str
    code: str
    description: str
    opened: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"fonds/" + self.fonds.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow(Row):
    """One package."""

    PREFIX: ClassVar[bytes] = b"package/"
    package: str
    fonds: str
    latest: int

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"package/" + self.package.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow(Row):
    """One accepted version of a package, and where its manifest lies."""

    PREFIX: ClassVar[bytes] = b"version/"
    package: str
    version: int
    fonds: str
    manifest_pack: str
    manifest_blake3: str
    manifest_size: int
    content: str
    """The digest of paths, objects and sizes: two versions with the same one hold the same."""
    files: int
    byte_count: int
    packs: list[str]
    """The packs that were written for it."""
    references: list[str]
    """Older packs of the fonds that hold objects of it too."""
    ingested: str
    session: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"version/{self.package}/{self.version:06d}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow(Row):
    """What the index of a pack says of the manifest in it."""

    PREFIX: ClassVar[bytes] = b"manifest/"
    package: str
    version: int
    pack: str
    offset: int
    size: int
    blake3: str
    title: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"manifest/{self.package}/{self.version:06d}/{self.pack}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow(Row):
    """One ingest that has begun and not ended."""

    PREFIX: ClassVar[bytes] = b"session/"
    session: str
    package: str
    version: int
    fonds: str
    opened: int

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"session/" + self.session.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRow(Row):
    """An object whose bytes could not be put together from all copies."""

    PREFIX: ClassVar[bytes] = b"lost/"
    fonds: str
    blake3: str
    pack: str
    since: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return f"lost/{self.fonds}/{self.blake3}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow(Row):
    """One audit that has begun and not ended."""

    PREFIX: ClassVar[bytes] = b"run/"
    run: str
    scope: str
    opened: str
    opened_event: int = 0
    expected: int = 0
    """How many copies it expects, as it said last."""
    root: str = ""
    """The root of the tree over them."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"run/" + self.run.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow(Row):
    """What is or was wrong with one store, or with the repository, from detection to closure."""

    PREFIX: ClassVar[bytes] = b"incident/"
    incident: str
    code: str
    """The code of its findings."""
    store: str
    """The identifier of the store; empty if it is about the repository."""
    pack: str
    """The pack, as long as it was only one; else empty."""
    opened: str
    opened_event: int
    run: str
    """The run that opened it."""
    count: int
    """How many findings there were when it was last seen."""
    most: int
    seen: str
    closed: str = ""
    closed_event: int = 0
    how: str = ""
    """``healed``, ``gone`` or ``explained``."""
    reason: str = ""
    """The code that a person gave for closing it."""
    ended: str = ""
    """Of one that a person closed: when a run no longer found it."""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"incident/" + self.incident.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRow(Row):
    """A fact of the repository: that the kit was confirmed, which format it has."""

    PREFIX: ClassVar[bytes] = b"mark/"
    name: str
    value: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"mark/" + self.name.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationRow(Row):
    """What another party has said of a checkpoint: a countersigned note, or a token with the note that it is about."""

    PREFIX: ClassVar[bytes] = b"attestation/"
    name: str
    """Where it lies below the ledger's folder."""
    sha256: str
    recorded: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return b"attestation/" + self.name.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow(Row):
    """Results for each of many files that an event names by digest; see ``preservation/parts.py``."""

    PREFIX: ClassVar[bytes] = b"part/"
    blake3: str
    kind: str
    size: int
    rows: int
    fonds: str
    run: str
    """What was being done: the identifier of a run, or empty."""
    event: int
    recorded: str

    @property
    def key(self) -> bytes:
        """The row's key: the parts stand in the order of their events."""
        return f"part/{self.event:012d}/{self.blake3}".encode()


R = TypeVar("R", bound=Row)


class Readable(Protocol):
    """Where rows are read from: a database or an overlay."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) below ``prefix``."""
        ...


def one(view: Readable, kind: type[R], *parts: str) -> R | None:
    """Return the row of ``kind`` under its key parts, if there is one."""
    data = view.get(kind.PREFIX + "/".join(parts).encode())
    return None if data is None else kind.from_bytes(data)


def every(view: Readable, kind: type[R], *parts: str) -> Iterator[R]:
    """Yield every row of ``kind`` below the key parts, in key order."""
    prefix = kind.PREFIX + "".join(part + "/" for part in parts).encode()
    for _, data in view.scan(prefix):
        yield kind.from_bytes(data)


def object_key(fonds: str, digest: str) -> bytes:
    """Return the key of an object's places."""
    return b"object/" + fonds.encode() + b"/" + bytes.fromhex(digest)


@dataclass(frozen=True, slots=True)
class Location:
    """One place of an object."""

    pack: str
    offset: int
    size: int


def locations(value: bytes | None) -> list[Location]:
    """Return the places written as ``value``."""
    if value is None:
        return []
    return [Location(pack.hex(), offset, size) for pack, offset, size in LOCATION.iter_unpack(value)]


def location_bytes(places: list[Location]) -> bytes:
    """Return the places as they are kept."""
    return b"".join(LOCATION.pack(bytes.fromhex(place.pack), place.offset, place.size) for place in places)
