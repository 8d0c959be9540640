"""Compares a list of checksums that somebody else kept with what is held.

The list is taken some ten thousand lines at a time, and each time the manifests are streamed past it, so that neither
has to fit into memory.
"""

import hashlib
import itertools
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import FondsRow, PackageRow, VersionRow
from preservation.manifest import FileLine
from preservation.packages import NoGoodCopyError, manifest, object_pieces, version_row
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from preservation.submission.checksums import Listed, read_checksums
from preservation.submission.errors import SubmissionMissingError, SubmissionUnreadableError, shown

LINES_AT_ONCE = 100_000
STOP_EVERY = 1_024


class Verdict(StrEnum):
    """What became of a line of the list, or of a file that is held."""

    MATCH = "match"
    """Held under this name with this digest."""
    RENAMED = "renamed"
    """Content with this digest is held, under another name."""
    DIFFERS = "differs"
    """This name is held with another content."""
    MISSING = "missing"
    """Neither the digest nor the name is held."""
    UNREADABLE = "unreadable"
    """This name is held, but no copy of its content could be read to compare it."""
    UNLISTED = "unlisted"
    """Held, and not on the list."""


FINE = frozenset({Verdict.MATCH, Verdict.RENAMED})


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the list, or one file that is not on it (``line`` is 0 then).

    ``package`` and ``held`` (a path) say where it is held; ``found`` is the digest held under the name, if it differs.
    """

    verdict: Verdict
    line: int
    path: str
    algorithm: str = ""
    digest: str = ""
    package: str = ""
    held: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which packages are compared: one, those of one fonds (by its code), or all. Only latest versions count."""

    package: str = ""
    fonds: str = ""


@dataclass(slots=True)
class _Held:
    """What is known so far of one line."""

    listed: Listed
    exact: tuple[str, str] | None = None
    by_digest: tuple[str, str] | None = None
    by_name: tuple[str, str, str] | None = None
    unreadable: bool = False


@dataclass(slots=True)
class _Batch:
    """Lines that are compared at once, found by their digest and by their name."""

    held: list[_Held]
    by_digest: dict[tuple[str, str], list[_Held]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[bytes, list[_Held]] = field(default_factory=lambda: defaultdict(list))
    algorithms: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, listed: Sequence[Listed]) -> "_Batch":
        """Return the batch of these lines."""
        batch = cls([_Held(one) for one in listed])
        for one in batch.held:
            digest = one.listed.digest
            batch.by_digest[digest.algorithm, digest.value].append(one)
            batch.by_name[_name(one.listed.path)].append(one)
            batch.algorithms.add(digest.algorithm)
        return batch


@dataclass(frozen=True, slots=True)
class _Version:
    """One package version and how to read it."""

    repository: Repository
    view: View
    stores: Sequence[Store]
    row: VersionRow
    told: Callable[[int, int], None]

    def files(self) -> Iterator[tuple[int, FileLine]]:
        """Yield its files with their numbers."""
        for number, line in enumerate(manifest(self.view, self.stores, self.row)):
            if number % STOP_EVERY == 0 and self.repository.world.stopping():
                raise StoppedError
            if isinstance(line, FileLine):
                yield number, line
                self.told(1, 0)

    def measured(self, line: FileLine, algorithm: str) -> str:
        """Read a file and return its digest; ``NoGoodCopyError`` if no copy can be had."""
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        for piece in object_pieces(self.view, self.stores, self.row.fonds, line.blake3):
            hasher.update(piece)
        return hasher.hexdigest()


def compare(
    repository: Repository, path: str, selection: Selection, told: Callable[[int, int], None]
) -> Iterator[Compared]:
    """Yield what became of each line of the list at ``path``, and, of one package, each file that is not on the list.

    Names are compared without a leading ``./`` and in Unicode's form NFC. Manifests have BLAKE3 and SHA-256; other
    digests are those supplied at ingest, or the file of that name is read. ``told`` hears of each file passed by.

    Raises:
        ChecksumListError, SubmissionMissingError: the list cannot be read.
        NoSuchPackageError, NoGoodCopyError: there is no such package; a manifest can be had from no store.
    """
    with repository.reading() as view, all_open(attached(view)) as stores:
        versions = [_Version(repository, view, stores, row, told) for row in _rows(view, selection)]
        marks = _Marks(versions[0]) if selection.package else None
        for lines in _batches(path):
            batch = _Batch.of(lines)
            for version in versions:
                _pass_by(version, batch, marks)
            yield from (_verdict(one, in_package=bool(selection.package)) for one in batch.held)
        if marks is not None:
            yield from marks.unlisted()


def _batches(path: str) -> Iterator[list[Listed]]:
    try:
        with open(path, "rb") as file:
            lines = read_checksums(file, os.path.basename(path))
            while batch := list(itertools.islice(lines, LINES_AT_ONCE)):
                yield batch
    except FileNotFoundError as error:
        raise SubmissionMissingError(path=shown(path)) from error
    except OSError as error:
        raise SubmissionUnreadableError(path=shown(path), reason=error.strerror or str(error)) from error


def _rows(view: View, selection: Selection) -> list[VersionRow]:
    if selection.package:
        return [version_row(view, selection.package)]
    codes = {row.fonds: row.code for row in rows.every(view, FondsRow)}
    heads = [row for row in rows.every(view, PackageRow) if selection.fonds in {"", codes.get(row.fonds), row.fonds}]
    return [version_row(view, head.package) for head in heads]


def _name(path: bytes) -> bytes:
    """Return a name in the form in which names are compared."""
    path = path.removeprefix(b"./")
    try:
        return unicodedata.normalize("NFC", path.decode()).encode()
    except UnicodeDecodeError:
        return path


def _pass_by(version: _Version, batch: _Batch, marks: "_Marks | None") -> None:
    """Hold every file of a package version against the batch."""
    for number, line in version.files():
        digests = _known_digests(line)
        place = (version.row.package, shown(line.path))
        listed = batch.by_name.get(_name(line.path), [])[:]
        for one in listed:
            _compare_named(version, line, one, digests)
        for algorithm in batch.algorithms & digests.keys():
            for one in batch.by_digest.get((algorithm, digests[algorithm]), ()):
                one.by_digest = one.by_digest or place
                listed.append(one)
        if listed and marks is not None:
            marks.mark(number)


def _compare_named(version: _Version, line: FileLine, one: _Held, digests: dict[str, str]) -> None:
    algorithm = one.listed.digest.algorithm
    place = (version.row.package, shown(line.path))
    if algorithm not in digests:
        try:
            digests[algorithm] = version.measured(line, algorithm)
        except NoGoodCopyError:
            one.unreadable = True
            return
    if digests[algorithm] == one.listed.digest.value:
        one.exact = one.exact or place
    else:
        one.by_name = one.by_name or (*place, digests[algorithm])


def _known_digests(line: FileLine) -> dict[str, str]:
    digests = {one["algorithm"]: str(one["value"]) for one in line.line.get("supplied", ())}
    return {**digests, "blake3": line.blake3, "sha256": line.sha256}


def _verdict(one: _Held, *, in_package: bool) -> Compared:
    """Return what became of a line; in one package another content under the name weighs more than another name."""
    digest = one.listed.digest
    verdict, place, found = Verdict.MISSING, ("", ""), ""
    if one.exact is not None:
        verdict, place = Verdict.MATCH, one.exact
    elif one.by_digest is not None and not (in_package and one.by_name is not None):
        verdict, place = Verdict.RENAMED, one.by_digest
    elif one.by_name is not None:
        verdict, place, found = Verdict.DIFFERS, one.by_name[:2], one.by_name[2]
    elif one.unreadable:
        verdict = Verdict.UNREADABLE
    path = shown(one.listed.path)
    return Compared(verdict, one.listed.line, path, digest.algorithm, digest.value, place[0], place[1], found)


class _Marks:
    """Which files of one package version are on the list: a bit a line of its manifest."""

    def __init__(self, version: _Version) -> None:
        self._version = version
        self._bits = bytearray()

    def mark(self, number: int) -> None:
        """Note that the file of line ``number`` is on the list."""
        if number >= len(self._bits) * 8:
            self._bits.extend(bytes(max(4096, number // 8 + 1 - len(self._bits))))
        self._bits[number // 8] |= 1 << number % 8

    def _marked(self, number: int) -> bool:
        return number < len(self._bits) * 8 and bool(self._bits[number // 8] >> number % 8 & 1)

    def unlisted(self) -> Iterator[Compared]:
        """Yield the files that are not on the list."""
        for number, line in self._version.files():
            if not self._marked(number):
                path = shown(line.path)
                yield Compared(Verdict.UNLISTED, 0, path, "blake3", line.blake3, self._version.row.package, path)
