"""Identifies files on a disk that belong to no repository: folders are walked, links are not followed."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from preservation.formats.identification import (
    ENDS,
    NOT_A_FILE,
    NOT_READ,
    PDF_MAGIC,
    PDF_MAGIC_WITHIN,
    Identification,
    Owed,
    Sample,
    extension_of,
    wants_whole,
)
from preservation.formats.pdf import SCAN_LIMIT, PdfScan
from preservation.formats.workers import WorkerPool
from storage_backends.errors import MocbanError, marked

WHOLE_LIMIT = 32 << 20
"""A container or PDF on a disk up to this many bytes is looked into as a whole."""

_AHEAD = 8
"""Files that are being read before it is their turn."""

_ASKED = 1024
_CHUNK = 1 << 22


class NoSuchFileError(MocbanError):
    """There is nothing to identify at a place."""

    template = marked("{path}: there is no such file or folder")


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What a file is. `path` is absolute; links in it are as they were given."""

    path: str
    answer: Identification


@dataclass(frozen=True, slots=True)
class Place:
    """A path below one that was given, or that itself: only that may be a link to a file."""

    path: str
    given: bool


def identify_files(paths: Sequence[str], bundle: Callable[[], bytes] | None, processors: int) -> Iterator[FileAnswer]:
    """Identify files, and all files below folders: one answer for each, in byte order below each path.

    Raises:
        NoSuchFileError: one of the paths does not exist; nothing is looked at then.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise NoSuchFileError(path=path)
    return _answers(paths, bundle, processors)


def _answers(paths: Sequence[str], bundle: Callable[[], bytes] | None, processors: int) -> Iterator[FileAnswer]:
    with ExitStack() as stack:
        pool = stack.enter_context(WorkerPool(workers=processors, bundle=bundle))
        readers = stack.enter_context(ThreadPoolExecutor(max_workers=processors))
        reading: deque[tuple[str, Future[Sample | Identification]]] = deque()
        asked: deque[tuple[str, Owed]] = deque()
        stack.callback(lambda: [future.cancel() for _, future in reading])

        def ask() -> None:
            path, future = reading.popleft()
            read = future.result()
            asked.append((path, pool.submit(read) if isinstance(read, Sample) else _settled(read)))

        for place in files_below(paths):
            reading.append((place.path, readers.submit(sample_of, place)))
            if len(reading) > _AHEAD:
                ask()
            while asked and (asked[0][1].done() or len(asked) > _ASKED):
                yield _answer(asked.popleft())
        while reading:
            ask()
        while asked:
            yield _answer(asked.popleft())


def _answer(asked: tuple[str, Owed]) -> FileAnswer:
    path, future = asked
    return FileAnswer(path, future.result())


def _settled(answer: Identification) -> Owed:
    future: Future[Identification] = Future()
    future.set_result(answer)
    return future


def files_below(paths: Iterable[str]) -> Iterator[Place]:
    """Every file below the paths; a folder that cannot be listed is given as if it were a file, and links are."""
    for path in paths:
        waiting = [(os.path.abspath(path), os.path.isdir(path))]
        given = True
        while waiting:
            place, is_folder = waiting.pop()
            below = _listed(place) if is_folder else None
            if below is None:
                yield Place(place, given)
            else:
                waiting.extend(below)
            given = False


def _listed(folder: str) -> list[tuple[str, bool]] | None:
    """What is in a folder, the last first, and which of it are folders; nothing if it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name), reverse=True)
        return [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return None


def sample_of(place: Place) -> Sample | Identification:
    """Read what identification looks at; or say why that cannot be done."""
    try:
        about = os.stat(place.path, follow_symlinks=place.given)
        if not stat.S_ISREG(about.st_mode):
            unread = NOT_READ if stat.S_ISDIR(about.st_mode) else NOT_A_FILE
            return Identification("failed" if unread == NOT_READ else "unidentified", warnings=(unread,))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if place.given else os.O_NOFOLLOW)
        descriptor = os.open(place.path, flags)
        try:
            size = os.fstat(descriptor).st_size
            return _sample(descriptor, os.path.basename(place.path), size)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # gone, forbidden, broken, or it shrank under our hands
        return Identification("failed", warnings=(NOT_READ,))


def _sample(descriptor: int, name: str, size: int) -> Sample:
    head = _read_at(descriptor, 0, min(size, ENDS))
    if size <= ENDS:
        return Sample.of_ends(name, size, head, head)
    tail = _read_at(descriptor, size - ENDS, ENDS)
    if not wants_whole(head):
        return Sample.of_ends(name, size, head, tail)
    if size <= WHOLE_LIMIT:
        return Sample(extension_of(name), size, head, tail, _read_at(descriptor, 0, size))
    found = _scanned(descriptor, size) if head.find(PDF_MAGIC, 0, PDF_MAGIC_WITHIN) >= 0 else ()
    return Sample.of_ends(name, size, head, tail, *found)


def _scanned(descriptor: int, size: int) -> tuple[bytes, bytes]:
    scan = PdfScan()
    for first in range(0, min(size, SCAN_LIMIT + 1), _CHUNK):
        scan.feed(_read_at(descriptor, first, min(_CHUNK, size - first)))
    return scan.found(), scan.objects()


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Exactly so many bytes; `ValueError` if the file is shorter by now."""
    parts, missing = [], length
    while missing:
        part = os.pread(descriptor, missing, offset + length - missing)
        if not part:
            raise ValueError("shorter than it was")
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
