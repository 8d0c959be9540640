"""Judges signatures by a suite of files whose names say what they are, such as the skeleton files of PRONOM.

`fmt-134-signature-id-279.mp3` is fmt/134; a name with `-container-` in it is judged as a container. A file counts as
exact if its PUID is answered and no other.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from preservation.fixity import blake3_hex
from preservation.formats.identification import Identification, Sample, identify_many
from preservation.formats.workers import WorkerPool
from storage_backends.errors import MocbanError, marked

LARGEST_FILE = 64 << 20
"""Bytes of a file of a suite; a larger one does not belong to it."""

_NAME = re.compile(r"((?:[a-z]+-)?fmt)-([0-9]+)-(?=signature-id-|container-)(container-)?")


class NoSuiteError(MocbanError):
    """A folder holds no file whose name says which format it has."""

    template = marked("{place}: no file here is named as skeleton files are, such as fmt-134-signature-id-279.mp3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How many files of a suite were told exactly; `suite` is a digest of names and contents."""

    suite: str
    binary_files: int
    binary_exact: int
    container_files: int
    container_exact: int

    @property
    def files(self) -> int:
        """How many files the suite has."""
        return self.binary_files + self.container_files

    @property
    def exact(self) -> int:
        """How many of them were told exactly."""
        return self.binary_exact + self.container_exact

    def worse_than(self, other: "Judgement") -> bool:
        """Whether fewer files were told exactly, of either kind.

        Raises:
            ValueError: the two were not judged by the same suite.
        """
        if self.suite != other.suite:
            raise ValueError("judged by different suites")
        return self.binary_exact < other.binary_exact or self.container_exact < other.container_exact


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """A file of a suite, and what its name says."""

    path: str
    puid: str
    is_container: bool


def suite_files(folder: str) -> list[SuiteFile]:
    """The files of a suite, in byte order of their paths below the folder.

    Raises:
        NoSuiteError: there is none.
    """
    found = []
    for below, _folders, names in os.walk(folder):
        for name in names:
            said = _NAME.match(name)
            path = os.path.join(below, name)
            if said is not None and os.path.isfile(path) and os.path.getsize(path) <= LARGEST_FILE:
                found.append(SuiteFile(path, f"{said[1]}/{said[2]}", said[3] is not None))
    if not found:
        raise NoSuiteError(place=folder)
    return sorted(found, key=lambda one: os.fsencode(one.path))


def judge(folder: str, bundle: bytes) -> Judgement:
    """Identify every file of a suite with a bundle, as `SignatureBundle.to_bytes` gives it.

    Raises:
        NoSuiteError: the folder holds none.
        OSError: a file cannot be read.
    """
    files = suite_files(folder)
    lines: list[str] = []
    with WorkerPool(bundle=lambda: bundle) as pool:
        answers = list(identify_many(pool, _samples(folder, files, lines)))
    right = [_is_exact(file, answer) for file, answer in zip(files, answers, strict=True)]
    containers = [exact for file, exact in zip(files, right, strict=True) if file.is_container]
    return Judgement(
        suite=blake3_hex("\n".join(lines).encode()),
        binary_files=len(files) - len(containers),
        binary_exact=sum(right) - sum(containers),
        container_files=len(containers),
        container_exact=sum(containers),
    )


def _samples(folder: str, files: list[SuiteFile], lines: list[str]) -> Iterator[Sample]:
    for file in files:
        with open(file.path, "rb") as stream:
            content = stream.read(LARGEST_FILE)
        name = os.fsencode(os.path.relpath(file.path, folder))
        lines.append(f"{blake3_hex(content)} {name.hex()}")
        yield Sample.of_content(os.path.basename(file.path), content)


def _is_exact(file: SuiteFile, answer: Identification) -> bool:
    return [match.puid for match in answer.formats] == [file.puid]
