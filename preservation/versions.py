"""A new version of a package: the lines of the version before, merged with what is added, replaced or withdrawn."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preservation.manifest import FileLine, FolderLine, Line, path_of
from preservation.submission.entries import EmptyFolder, Entry, SubmittedFile
from preservation.submission.errors import SubmissionRefusedError, shown
from storage_backends.errors import marked


class AlreadyInPackageError(SubmissionRefusedError):
    """A file is to be added that the package has."""

    code = "already-in-package"
    template = marked("{path} is in the package already; use --replace to put a new file in its place")


class NotInPackageError(SubmissionRefusedError):
    """A file is to be replaced or withdrawn that the package does not have."""

    code = "not-in-package"
    template = marked("{path} is not in the package; nothing was changed")


class PathConflictError(SubmissionRefusedError):
    """A path would be a file and a folder at once."""

    code = "path-conflict"
    template = marked("{path} cannot be in a package in which {file} is a file")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the version before, kept as it is; ``raw`` is its line."""

    path: bytes
    line: FileLine
    raw: bytes


Step = SubmittedFile | EmptyFolder | Kept
"""What a new version is made of, in byte order of the paths."""


def parsed_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of files and empty folders, the header having been read; ends at the trailer."""
    for text in lines:
        line = json.loads(text)
        if "path" not in line and "path_b64" not in line:
            return
        path = path_of(line)
        if line.get("folder"):
            yield FolderLine(path)
        else:
            yield FileLine(path, line["blake3"], line["sha256"], line["size"], line)


def _kept(previous: str) -> Iterator[Kept | EmptyFolder]:
    with open(previous, "rb") as file:
        next(file)
        for text in file:
            for line in parsed_lines([text]):
                if isinstance(line, FileLine):
                    yield Kept(line.path, line, text)
                else:
                    yield EmptyFolder(line.path)


def merged(previous: str, entries: Iterator[Entry], *, mode: str, withdrawn: set[bytes]) -> Iterator[Step]:
    """Yield what the new version consists of: each path once, no path both a file and a folder.

    Args:
        previous: the file with the manifest of the version before.
        entries: what is handed over now, in byte order.
        mode: ``add`` refuses paths that are there; ``replace`` refuses paths that are not.
        withdrawn: paths of the version before that the new one shall not have; a folder's path stands for all in it.

    Raises:
        AlreadyInPackageError, NotInPackageError, PathConflictError: what is asked does not fit the package.
    """
    yield from _fitting(_joined(previous, entries, mode=mode, withdrawn=withdrawn))


def _fitting(steps: Iterator[Step]) -> Iterator[Step]:
    """Give the steps on without folders that are not empty any more; refuse what lies below a file."""
    above: list[bytes] = []  # the files whose paths the present one begins with: in byte order no others can matter
    folder: EmptyFolder | None = None
    for step in steps:
        above = [file for file in above if step.path.startswith(file)]
        for file in above:
            if step.path.startswith(file + b"/"):
                raise PathConflictError(path=shown(step.path), file=shown(file))
        if folder is not None and not step.path.startswith(folder.path):
            yield folder
        folder = None
        if isinstance(step, EmptyFolder):
            folder = step
            continue
        above.append(step.path)
        yield step
    if folder is not None:
        yield folder


def _joined(previous: str, entries: Iterator[Entry], *, mode: str, withdrawn: set[bytes]) -> Iterator[Step]:
    unseen = set(withdrawn)
    old, new = _kept(previous), iter(entries)
    kept, added = next(old, None), next(new, None)
    while kept is not None or added is not None:
        if added is None or (kept is not None and kept.path < added.path):
            assert kept is not None
            place = _withdrawn_as(kept.path, withdrawn)
            if place is None:
                yield kept
            else:
                unseen.discard(place)
            kept = next(old, None)
        elif kept is None or added.path < kept.path:
            if mode == "replace" and isinstance(added, SubmittedFile):
                raise NotInPackageError(path=shown(added.path))
            yield added
            added = next(new, None)
        else:
            place = _withdrawn_as(kept.path, withdrawn)
            if place is not None:
                unseen.discard(place)
            elif mode == "add" and isinstance(added, SubmittedFile):
                raise AlreadyInPackageError(path=shown(added.path))
            yield added
            kept, added = next(old, None), next(new, None)
    if unseen:
        raise NotInPackageError(path=shown(min(unseen)))


def _withdrawn_as(path: bytes, withdrawn: set[bytes]) -> bytes | None:
    """Return which of the withdrawn paths covers ``path``: itself or a folder above it."""
    if path in withdrawn:
        return path
    parts = path.split(b"/")
    for count in range(len(parts) - 1, 0, -1):
        above = b"/".join(parts[:count])
        for candidate in (above, above + b"/"):
            if candidate in withdrawn:
                return candidate
    return None
