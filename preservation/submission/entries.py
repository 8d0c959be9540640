"""What a submission is made of, and what every kind of submission offers to ingest."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from preservation.submission.folders import Folder
from storage_backends.errors import Phrase

REMARKS_PER_CODE = 1_000
"""Warnings kept of one code; of further ones only the number is told."""


@dataclass(frozen=True, slots=True)
class SubmittedFile:
    """A regular file: its path from the submission's root as raw bytes, and what the scan saw.

    ``stamp`` is (device, inode, ctime in ns): with size and mtime it must be the same before and after reading.
    """

    path: bytes
    size: int
    mtime_ns: int
    stamp: tuple[int, int, int]
    folder: Folder = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EmptyFolder:
    """A folder with nothing in it; ``path`` ends with ``/``, as in a manifest."""

    path: bytes


Entry = SubmittedFile | EmptyFolder


@dataclass(frozen=True, slots=True)
class SuppliedDigest:
    """A digest that came with the submission: an algorithm of hashlib or ``blake3``, lower-case hexadecimal value."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A warning: the file is kept as it came, but somebody should know. ``detail`` is English text for people.

    ``path`` is empty where the remark is about the submission, or stands for all further ones of its code.
    """

    code: str
    path: bytes
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How much a submission may demand, sizes in bytes; what lies on disk unpacked is limited in depth only."""

    unpacked: int = 1 << 42
    """Bytes that all members of an archive may unpack to (4 TiB)."""
    members: int = 5_000_000
    ratio: int = 250
    """Unpacked bytes per archived byte, of the whole and of each member, counted beyond ``ratio_floor`` bytes."""
    ratio_floor: int = 1 << 26
    archive_depth: int = 256
    """Folders in one another in an archive."""
    depth: int = 4_096
    """Folders in one another on disk."""
    path: int = 65_536
    """Bytes of a path."""


class Remarks:
    """Collects warnings, a limited number of each code."""

    def __init__(self) -> None:
        self._kept: list[Remark] = []
        self._counts: dict[str, int] = {}

    def add(self, code: str, path: bytes, detail: str) -> None:
        """Take in a warning."""
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count <= REMARKS_PER_CODE:
            self._kept.append(Remark(code, path, detail))

    def all(self) -> list[Remark]:
        """Return the warnings kept, and for each code with more one that tells their number."""
        beyond = [
            Remark(code, b"", Phrase("{count} more of this code", count=count - REMARKS_PER_CODE))
            for code, count in self._counts.items()
            if count > REMARKS_PER_CODE
        ]
        return [*self._kept, *beyond]


class Submission(Protocol):
    """What somebody hands over, scanned and found acceptable. Everything may be read while nobody writes to it.

    All methods raise errors of the ``SubmissionRefusedError`` family, which name the file. Reading is safe from several
    threads; iterating is for one.
    """

    @property
    def kind(self) -> str:
        """``folder``, ``file``, ``bag``, ``tar``, ``zip``, ``bag in tar`` or ``bag in zip``."""
        ...

    @property
    def files(self) -> int:
        """How many files the scan found."""
        ...

    @property
    def size(self) -> int:
        """How many bytes they have."""
        ...

    @property
    def warnings(self) -> list[Remark]:
        """What is kept although somebody should know of it."""
        ...

    @property
    def description(self) -> dict[str, object]:
        """For the manifest's header, as JSON can hold it: kind, name, archive, bag version and bag-info fields."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield all files and empty folders in byte order of their paths.

        Ends with ``SubmissionChangedError`` if the scan, ``verify_all`` or an earlier pass saw anything else.
        """
        ...

    def announce(self, file: SubmittedFile) -> None:
        """Say that a file is soon to be read, so that it can be fetched meanwhile; announce few files at a time."""
        ...

    def read_small(self, file: SubmittedFile, limit: int) -> bytes:
        """Return a whole file of at most ``limit`` bytes, read at once and unchanged since the scan."""
        ...

    def open(self, file: SubmittedFile) -> io.FileIO:
        """Open a file, unbuffered, unchanged since the scan; call ``changed`` before closing it."""
        ...

    def changed(self, file: SubmittedFile, fd: int) -> None:
        """Raise ``SubmissionChangedError`` unless the open file is still as it was scanned."""
        ...

    def supplied(self, path: bytes) -> tuple[SuppliedDigest, ...]:
        """Return the digests that came for this file, ordered by algorithm; none for most."""
        ...

    def compare(self, file: SubmittedFile, digests: Mapping[str, str]) -> None:
        """Compare measured digests (algorithm to lower-case hexadecimal) with all that were supplied.

        Raises:
            DigestMismatchError: One differs.
            ValueError: One that was supplied was not measured.
        """
        ...

    def verify_all(self) -> None:
        """Read every file that has a supplied digest and compare; for a bag call it before anything is stored."""
        ...

    def close(self) -> None:
        """Give back descriptors and remove everything from staging."""
        ...
