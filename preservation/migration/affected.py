"""Which files a migration is about: a query over the latest versions, in a fixed order, under one Merkle root.

The same query over the same holdings gives the same root; a file more, a file less, another content or another name
gives another. Files that were derived are never sources, and a source that has its derived file is done.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.plans import MigratedRow
from preservation.catalog.rows import PackageRow, VersionRow
from preservation.formats import identification as words
from preservation.formats.identification import Puid
from preservation.identifications import Layers
from preservation.ledger.merkle import Frontier, leaf_hash
from preservation.manifest import FileLine
from preservation.packages import manifest, version_row
from preservation.stores import Store

TOP = b"derivatives"
"""The folder of a package in which derived files lie."""

FACTS = {"cp1258": words.TEXT_CP1258, "tcvn3": words.TEXT_TCVN3, "vni": words.TEXT_VNI}
"""What identification says of a file that has the fact which a pathway wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for: all files of these PUIDs (with the fact ``wanted``, if any) in a fonds or in packages.

    ``fonds`` and ``packages`` are identifiers; empty: all. ``pathway`` is whose derived files count as done.
    """

    pathway: str
    puids: tuple[str, ...]
    wanted: str = ""
    fonds: str = ""
    packages: tuple[str, ...] = ()
    risk: str = ""
    """From which grade of risk on; the PUIDs are those that had it when the plan was made."""

    def to_json(self) -> dict[str, object]:
        """Return what stands in a plan."""
        return {
            "fonds": self.fonds,
            "packages": list(self.packages),
            "pathway": self.pathway,
            "puids": list(self.puids),
            "risk": self.risk,
            "wanted": self.wanted,
        }


@dataclass(frozen=True, slots=True)
class Affected:
    """One file: in which version of which package, the number of its file (from 1) and its path, and its content."""

    package: str
    version: int
    number: int
    path: bytes
    blake3: str
    size: int
    puid: Puid

    @property
    def leaf(self) -> bytes:
        """What stands for it in the tree: package, path, content."""
        return b"%s %d:%s %s %d\n" % (
            self.package.encode(),
            len(self.path),
            self.path,
            self.blake3.encode(),
            self.size,
        )

    @property
    def draw(self) -> bytes:
        """A number by which samples are drawn: it depends on the file alone and says nothing of it."""
        return sha256(b"sample" + self.leaf).digest()


@dataclass(slots=True)
class SetSum:
    """What a set of affected files comes to."""

    packages: int = 0
    files: int = 0
    bytes: int = 0
    _tree: Frontier = field(default_factory=Frontier)

    def add(self, found: Sequence[Affected]) -> None:
        """Take in the files of one package, in byte order of their paths."""
        if not found:
            return
        self.packages += 1
        self.files += len(found)
        self.bytes += sum(one.size for one in found)
        self._tree = self._tree.extended(leaf_hash(one.leaf) for one in found)

    @property
    def root(self) -> str:
        """The root over all files (RFC 6962), hexadecimal."""
        return self._tree.root().hex()


@dataclass(frozen=True, slots=True)
class InPackage:
    """What is affected in one package, and what names the version has that stand in the way of new ones."""

    base: VersionRow
    files: list[Affected]
    top: bytes
    """How the folder of derived files is called: as always, unless something of the submission is called so."""
    taken: frozenset[bytes]
    """Paths of files and folders that derived files cannot have."""


def bases(view: View, query: Query, plan: str = "") -> Iterator[VersionRow]:
    """Yield the version of each package that a query is about: the latest, or the one that ``plan`` has migrated."""
    for head in rows.every(view, PackageRow):
        if (query.fonds and head.fonds != query.fonds) or (query.packages and head.package not in query.packages):
            continue
        done = rows.one(view, MigratedRow, plan, head.package) if plan else None
        version = done.base if done is not None and (done.made or not done.accepted) else head.latest
        yield version_row(view, head.package, version)


def in_package(view: View, stores: Sequence[Store], layers: Layers, base: VersionRow, query: Query) -> InPackage:
    """Return what a query is about in one version of a package.

    Raises:
        NoGoodCopyError, ManifestUnreadableError, PartMissingError: nobody can tell.
    """
    found: list[Affected] = []
    taken: set[bytes] = set()
    foreign: set[bytes] = set()
    later = layers.of_package(base.fonds, base.package)
    number = 0
    for line in manifest(view, stores, base):
        if isinstance(line, dict):
            continue
        number += isinstance(line, FileLine)
        if line.path.startswith(TOP):
            taken.update(_with_folders(line.path))
            if not isinstance(line, FileLine) or "derived" not in line.line:
                foreign.add(line.path.split(b"/")[0])
        if not isinstance(line, FileLine) or "derived" in line.line or _is_done(line, query.pathway):
            continue
        answer = later.newest(line).answer
        puid = next((match.puid for match in answer.formats if match.puid in query.puids), None)
        if puid is not None and (not query.wanted or FACTS.get(query.wanted) in answer.warnings):
            found.append(Affected(base.package, base.version, number, line.path, line.blake3, line.size, puid))
    top = TOP
    while top in foreign:
        top += b"_"
    return InPackage(base, found, top, frozenset(taken))


def _with_folders(path: bytes) -> Iterator[bytes]:
    parts = path.rstrip(b"/").split(b"/")
    for count in range(1, len(parts) + 1):
        yield b"/".join(parts[:count])


def _is_done(line: FileLine, pathway: str) -> bool:
    return any(one.get("pathway") == pathway for one in line.line.get("derivatives", []))


def shown_path(path: bytes) -> str:
    """Return a path as text that a JSON document can hold."""
    return os.fsdecode(path).encode(errors="backslashreplace").decode()
