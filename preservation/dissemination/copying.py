"""What an export reads: versions of a package, line by line, and their objects, compared while they are copied."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from preservation.dissemination.errors import NoSuchFileError, WrongBytesError
from preservation.dissemination.names import checked
from preservation.dissemination.writing import Flushing, Sink
from preservation.identifications import NOTHING_LATER, Newest, OfPackage
from preservation.ledger.events import Record
from preservation.manifest import FileLine, FolderLine, Line, parse
from preservation.submission.errors import shown
from storage_backends.errors import Phrase, marked

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REMARKS_KEPT = 100

Objects = Callable[[str], Iterable[bytes]]
"""Gives the bytes of an object by its digest; wrong bytes are an error, never given as if they were right."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know about an exported file: ``code`` names it, ``path`` is the file's."""

    code: str
    path: str


REMARKS: Mapping[str, str] = {
    "renamed": marked("the name is not UTF-8, which this form cannot express; names.jsonl says what it is called"),
    "older-bagit": marked("the name has a percent sign, which few programs read in BagIt 1.0; the bag says 0.97"),
    "misread": marked("bagit-python 1.9 misreads this name in a list and will call the bag invalid; others may not"),
    "formats-unread": marked("what was found later of its formats could not be read, so that it is not told"),
    "folder-left-out": marked("OCFL has no empty folders; this one stands in the manifest only"),
}
"""What the codes of remarks mean."""


@dataclass(slots=True)
class Counts:
    """Files and bytes of the version that was exported last, and what is to be said about them.

    ``told`` hears the bytes of each file that is done.
    """

    told: Callable[[int], None]
    files: int = 0
    size: int = 0
    remarks: list[Remark] = field(default_factory=list)
    remarks_left_out: int = 0

    def add(self, line: FileLine) -> None:
        """Count a file."""
        self.files += 1
        self.size += line.size
        self.told(line.size)

    def remark(self, code: str, path: bytes) -> None:
        """Keep a remark, unless it is kept or there are many already."""
        found = Remark(code, shown(path))
        if found in self.remarks:
            return
        if len(self.remarks) < REMARKS_KEPT:
            self.remarks.append(found)
        else:
            self.remarks_left_out += 1


@dataclass(frozen=True, slots=True)
class Later:
    """What was found of formats after a version was made. ``name`` gives the identifier of an event by its number.

    ``told`` takes in the numbers of the events that a document names; ``is_read`` is false if nobody could look.
    """

    found: OfPackage = NOTHING_LATER
    name: Callable[[int], str] = str
    told: set[int] = field(default_factory=set)
    is_read: bool = True

    def newest(self, line: FileLine) -> tuple[Newest, list[str]]:
        """Return what is known of a file, and the identifiers of the events that say what its manifest does not."""
        newest = self.found.newest(line)
        numbers = {change.event for change in newest.changes}
        if newest.changes and newest.decision is not None and newest.conflict is None:
            numbers.add(newest.decision.event)
        self.told.update(numbers)
        return newest, [self.name(number) for number in sorted(numbers)]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a package. ``raw`` yields its manifest's lines, as they were written, at each call.

    ``packs`` are those it was ingested into or relied on, ``stored`` those of them that are kept now. With ``only``, an
    export has just the file of this path. ``later`` is what was found of its formats since.
    """

    package: str
    number: int
    packs: tuple[str, ...]
    stored: tuple[str, ...]
    raw: Callable[[], Iterator[bytes]]
    only: bytes | None = None
    later: Later = field(default_factory=Later)

    @property
    def name(self) -> str:
        """The version, as people and other documents name it."""
        return f"{self.package}/v{self.number}"

    def open(self, sink: Sink | None = None) -> tuple[dict[str, Any], Iterator[tuple[int, Line]]]:
        """Return the manifest's header, and its wanted lines with the number of the last file (from 1).

        The paths are checked; ``sink`` takes the raw lines as they pass.
        """
        lines = parse(self._passing(sink), self.package)
        header = next(lines)
        assert isinstance(header, dict)
        return header, self._wanted(lines)

    def _passing(self, sink: Sink | None) -> Iterator[bytes]:
        for line in self.raw():
            if sink is not None:
                sink(line)
            yield line

    def _wanted(self, lines: Iterator[dict[str, Any] | Line]) -> Iterator[tuple[int, Line]]:
        number = 0
        for line in lines:
            assert not isinstance(line, dict)
            if isinstance(line, FolderLine):
                checked(line.path.removesuffix(b"/"))
            else:
                checked(line.path)
                number += 1
            if self.only is None or (isinstance(line, FileLine) and line.path == self.only):
                yield number, line

    def missing(self) -> NoSuchFileError:
        """Return the error that the one wanted file is not there."""
        return NoSuchFileError(package=self.name, path=shown(self.only or b""))


History = Callable[[], Iterable[tuple[Record, int]]]
"""Gives the events that belong to what was exported; asked for when all objects were copied."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What every form of export is made with."""

    objects: Objects
    history: History
    counts: Counts
    flushing: Flushing
    now: datetime


def copied(objects: Objects, line: FileLine, sink: Sink, *, sha512: bool = False) -> str:
    """Give the bytes of a file to ``sink``, compared with its manifest line; return their SHA-512 if it is asked for.

    Raises:
        WrongBytesError: size or SHA-256 are not what the manifest says.
    """
    sha256, more, size = hashlib.sha256(), hashlib.sha512() if sha512 else None, 0
    for piece in objects(line.blake3):
        sha256.update(piece)
        if more is not None:
            more.update(piece)
        size += len(piece)
        sink(piece)
    if size != line.size:
        raise WrongBytesError(path=shown(line.path), what=Phrase("the size"), found=size, expected=line.size)
    if line.sha256 and sha256.hexdigest() != line.sha256:
        raise WrongBytesError(
            path=shown(line.path), what=Phrase("SHA-256"), found=sha256.hexdigest(), expected=line.sha256
        )
    return more.hexdigest() if more is not None else ""


def mtime_ns(line: FileLine) -> int | None:
    """Return when the file was last changed, in nanoseconds since 1970, if the manifest knows."""
    try:
        time = datetime.fromisoformat(str(line.line.get("mtime", "")))
    except ValueError:
        return None
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000 if time.tzinfo is not None else None
