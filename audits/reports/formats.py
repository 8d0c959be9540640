"""Which formats the files have: from the manifests and what was found later, each manifest read once and remembered.

What was counted changes only when something is found later for the package, so it is kept in ``cache/formats.jsonl`` in
the repository, one line a package in the order of the packages, with a checksum. The file can be thrown away.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Self

from audits.reports.figures import FormatFigures
from audits.reports.holdings import latest_versions
from preservation.catalog.catalog import View
from preservation.catalog.rows import VersionRow
from preservation.formats.identification import Identification
from preservation.identifications import Layers, OfPackage
from preservation.manifest import FileLine
from preservation.packages import manifest
from preservation.parts import PartMissingError
from preservation.repository import Repository
from preservation.risk.facts import facts_of
from preservation.risk.scoring import Held
from preservation.stores import Store
from storage_backends.backend import Recalling
from storage_backends.errors import MocbanError

FOLDER = "cache"
NAME = "formats.jsonl"
LINE_LIMIT = 1 << 20
COUNTING = 2
"""Which way of counting it is; what was counted in another way is counted anew."""

SEVERAL = "several"
"""What stands for a format where identification names more than one."""

Counts = dict[str, list[int]]
"""By format and the facts of the files, with spaces between: files, bytes."""


def formats_held(repository: Repository, view: View, stores: Sequence[Store], *, remember: bool) -> FormatFigures:
    """Return how many files of the latest versions have which format; what could not be read is counted as that.

    Manifests that were counted before are not read again; ``remember`` says whether new counts may be kept. Media that
    must be fetched first are left alone.
    """
    at_hand = [store for store in stores if store.backend is not None and not isinstance(store.backend, Recalling)]
    found = FormatFigures()
    totals: Counts = {}
    with _Cache(repository.path, remember=remember) as cache, Layers(repository.sidecars, view) as layers:
        for row in latest_versions(view):
            later = _later(layers, row)
            state = f"{row.manifest_blake3}/{COUNTING}/{later.state if later is not None else ''}"
            counts = cache.known(row, state)
            if counts is None and later is not None:
                counts = _counted(view, at_hand, row, later)
            if counts is None or later is None:
                found.unread_packages += 1
                found.unread_files += row.files
                continue
            cache.keep(row, state, counts)
            for name, (files, size) in counts.items():
                total = totals.setdefault(name, [0, 0])
                total[0] += files
                total[1] += size
    for name, (files, size) in totals.items():
        form, _, facts = name.partition(" ")
        before = found.formats.get(form, (0, 0))
        found.formats[form] = (before[0] + files, before[1] + size)
        found.held.append(Held(form, tuple(facts.split()), files, size))
    return found


def _later(layers: Layers, row: VersionRow) -> OfPackage | None:
    """Return what was found later for the contents of a package; nothing if that cannot be read now."""
    try:
        return layers.of_package(row.fonds, row.package)
    except PartMissingError:
        return None


def _counted(view: View, stores: Sequence[Store], row: VersionRow, later: OfPackage) -> Counts | None:
    """Return what is known of the files of a manifest, or nothing if no copy of it can be read now."""
    counts: Counts = {}
    try:
        for line in manifest(view, stores, row):
            if isinstance(line, FileLine):
                answer = later.newest(line).answer
                name = " ".join((_format_of(answer), *facts_of(answer)))
                count = counts.setdefault(name, [0, 0])
                count[0] += 1
                count[1] += line.size
    except MocbanError:
        return None
    return counts


def _format_of(answer: Identification) -> str:
    puids = {match.puid for match in answer.formats}
    if not puids:
        return answer.status
    return puids.pop() if len(puids) == 1 else SEVERAL


class _Cache:
    """The counts of last time, read and written side by side in the order of the packages.

    As long as everything is as it was, nothing is written; from the first difference on a new file is, beside the old.
    """

    def __init__(self, repository: str, *, remember: bool) -> None:
        self._path = os.path.join(repository, FOLDER, NAME)
        self._beside = self._path + ".new"
        self._remember = remember
        self._taken = 0
        """How many bytes of the old file are the beginning of the new one."""
        self._new: BinaryIO | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._old = self._lines()
        self._next = next(self._old, None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with contextlib.suppress(OSError):
            self._stack.close()
            if self._new is not None:
                if kind is None:
                    os.replace(self._beside, self._path)
                else:
                    os.unlink(self._beside)

    def known(self, row: VersionRow, state: str) -> Counts | None:
        """Return what was counted before in the same ``state``; rows are asked for in the order of the packages."""
        while self._next is not None and self._next[0] < row.package:
            self._begin()
            self._next = next(self._old, None)
        if self._next is not None and self._next[:2] == (row.package, state):
            return self._next[2]
        self._begin()
        return None

    def keep(self, row: VersionRow, state: str, counts: Counts) -> None:
        """Remember what was counted; a disk that is full only makes the next report slower."""
        is_old = self._next is not None and self._next[0] == row.package
        if is_old and self._next is not None and self._next[1] == state and self._new is None:
            self._taken = self._next[3]
        elif self._new is not None:
            body = json.dumps({"formats": counts, "manifest": state, "package": row.package}).encode()
            try:
                self._new.write(b"%08x %s\n" % (zlib.crc32(body), body))
            except OSError:
                self._new, self._remember = None, False
        if is_old:
            self._next = next(self._old, None)

    def _begin(self) -> None:
        """Begin the new file with what is the same in the old one."""
        if not self._remember or self._new is not None:
            return
        self._remember = False
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._beside)
            new = self._stack.enter_context(open(self._beside, "xb"))  # noqa: SIM115 - the stack closes it
            if self._taken:
                with open(self._path, "rb") as old:
                    while self._taken > 0 and (data := old.read(min(self._taken, LINE_LIMIT))):
                        new.write(data)
                        self._taken -= len(data)
            self._new = new

    def _lines(self) -> Iterator[tuple[str, str, Counts, int]]:
        """Yield what is kept of each package and where its line ends; nothing from the first line on that is wrong."""
        place = 0
        try:
            file = self._stack.enter_context(open(self._path, "rb"))  # noqa: SIM115 - the stack closes it
            while line := file.readline(LINE_LIMIT):
                place += len(line)
                checksum, _, body = line.rstrip(b"\n").partition(b" ")
                if checksum != b"%08x" % zlib.crc32(body):
                    return
                value = json.loads(body)
                yield value["package"], value["manifest"], value["formats"], place
        except (OSError, ValueError, TypeError, KeyError):
            return
