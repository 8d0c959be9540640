"""Converts the files of one package: brings each out of the packs, measured, and takes from the pathway what is good.

Nothing is accepted here that the pathway did not accept. What is accepted lies in a tree of its own, under the path
that it will have in the package.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from preservation.catalog.catalog import View
from preservation.fixity import measure
from preservation.formats.identification import ENDS, FormatIdentifier, Puid, Sample
from preservation.ledger.files import write_all
from preservation.migration.affected import Affected
from preservation.migration.conversion import Conversion
from preservation.migration.pathway import Pathway, Source, Workbench, convert
from preservation.migration.results import ACCEPTED, Output, Result
from preservation.migration.sandbox import Limits, Sandbox
from preservation.packages import NoGoodCopyError, object_pieces
from preservation.stores import Store
from preservation.submission.names import LONGEST_NAME

TOGETHER_FILES = 64
TOGETHER_BYTES = 256 << 20
"""Files and bytes that are converted before the results are noted: what a kill costs, and what lies on disk twice."""

WHOLE = 8 << 20
"""Up to this size an output is identified from all its bytes."""

UNREADABLE = "source-unreadable"
NAME_TAKEN = "name-taken"

LONGEST_PATH = 2_000
"""Bytes: longer ones are not below their folders, so that every system can hold them."""

NO_SIGNATURE = frozenset({"x-fmt/111", "x-fmt/18"})
"""Plain text and CSV: formats of which PRONOM has no signature, so that the extension may name them.

That the bytes are what they should be, the measures of the pathway show.
"""

_SUFFIX = re.compile(rb"\.[A-Za-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Naming:
    """How derived files are called: below a folder of ours, then of the pathway, as their source with an extension."""

    top: bytes
    pathway: str
    extension: str

    def paths(self, source: Affected, count: int) -> Iterator[list[bytes]]:
        """Yield what all outputs of a source could be called, the best first."""
        folder = self.top + b"/" + self.pathway.encode() + b"/"
        mark = f"~{source.blake3[:16]}"
        for name, before in ((source.path, ""), (source.path, mark), (b"", mark)):
            numbers = [f".{number}" if count > 1 else "" for number in range(1, count + 1)]
            ends = [f"{before}{number}.{self.extension}".encode() for number in numbers]
            found = [folder + _ending(name, end) for end in ends]
            if len(found[0]) <= LONGEST_PATH:
                yield found


def _ending(path: bytes, end: bytes) -> bytes:
    """Return the path with ``end`` behind its last name, which is cut where it would become too long."""
    folder, slash, name = path.rpartition(b"/")
    room = LONGEST_NAME - len(end)
    if len(name) > room:
        name = name[:room]
        while name and name[-1:] >= b"\x80":  # no half of a letter
            name = name[:-1]
    return folder + slash + name + end


def workbench(place: Sandbox, identifier: FormatIdentifier, limits: Limits) -> Workbench:
    """Return where conversions are done, with somebody who says independently what came out."""

    def identify(path: str) -> tuple[Puid, ...]:
        answer = identifier.submit(_sample(path)).result()
        return tuple(match.puid for match in answer.formats if match.basis != "extension" or match.puid in NO_SIGNATURE)

    return Workbench(place, identify, limits)


def _sample(path: str) -> Sample:
    size = os.stat(path, follow_symlinks=False).st_size
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        if size <= WHOLE:
            return Sample.of_content(path, file.read())
        head = file.read(ENDS)
        file.seek(-ENDS, os.SEEK_END)
        return Sample.of_ends(path, size, head, file.read())


def together(files: Sequence[Affected]) -> Iterator[list[Affected]]:
    """Yield files in lots that are converted and noted together."""
    lot: list[Affected] = []
    size = 0
    for file in files:
        if lot and (len(lot) == TOGETHER_FILES or size + file.size > TOGETHER_BYTES):
            yield lot
            lot, size = [], 0
        lot.append(file)
        size += file.size
    if lot:
        yield lot


@dataclass(frozen=True, slots=True)
class Converting:
    """What files are converted with: the pathway, the place, where they come from and where they go."""

    view: View
    stores: Sequence[Store]
    fonds: str
    pathway: Pathway
    bench: Workbench
    work: str
    """A folder for the time of one lot."""
    tree: str
    """Where accepted outputs lie under the paths that they will have."""
    naming: Naming
    taken: frozenset[bytes]
    now: Callable[[], datetime]

    def lot(self, files: Sequence[Affected]) -> list[Result]:
        """Convert a lot of files; the results come in their order."""
        shutil.rmtree(self.work, ignore_errors=True)
        came, out = os.path.join(self.work, "in"), os.path.join(self.work, "out")
        os.makedirs(came, mode=0o700)
        os.mkdir(out, 0o700)
        results: dict[int, Result] = {}
        sources: list[tuple[Affected, Source]] = []
        for place, file in enumerate(files):
            suffix = _SUFFIX.search(file.path)
            path = os.path.join(came, f"{place:06d}" + (suffix[0].decode() if suffix else ""))
            if self._brought(file, path):
                sources.append((file, Source(path, file.puid)))
            else:
                results[file.number] = Result.failed(file, UNREADABLE)
        begun = self.now()
        conversions = convert(self.pathway, [source for _, source in sources], out, self.bench) if sources else []
        taken_ms = max(0, (self.now() - begun) // timedelta(milliseconds=1))
        for (file, _), conversion in zip(sources, conversions, strict=True):
            results[file.number] = self._judged(file, conversion, taken_ms // len(sources))
        shutil.rmtree(self.work, ignore_errors=True)
        return [results[file.number] for file in files]

    def _brought(self, file: Affected, path: str) -> bool:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in object_pieces(self.view, self.stores, self.fonds, file.blake3):
                write_all(descriptor, piece)
        except NoGoodCopyError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _judged(self, file: Affected, conversion: Conversion, milliseconds: int) -> Result:
        measures = tuple((one.name, one.source, one.output, one.passed) for one in conversion.measures)
        code = conversion.failure or ACCEPTED
        outputs: tuple[Output, ...] | None = ()
        if conversion.accepted:
            outputs = self._taken_over(file, conversion)
            code = NAME_TAKEN if outputs is None else code
        return Result(
            file.number,
            file.path,
            file.blake3,
            file.size,
            file.puid,
            code,
            outputs or (),
            measures,
            conversion.rendition,
            milliseconds,
        )

    def _taken_over(self, file: Affected, conversion: Conversion) -> tuple[Output, ...] | None:
        """Put the outputs of a source into the tree, all or none; none if no name is free."""
        candidates = self.naming.paths(file, len(conversion.outputs))
        paths = next((paths for paths in candidates if self.taken.isdisjoint(paths) and self._are_free(paths)), None)
        if paths is None:
            return None
        found = []
        for made, path in zip(conversion.outputs, paths, strict=True):
            target = os.path.join(os.fsencode(self.tree), path)
            with open(made, "rb") as source:
                fixity = measure(source)
            os.rename(made, target)
            found.append(Output(path, fixity.blake3, fixity.size))
        return tuple(found)

    def _are_free(self, paths: Sequence[bytes]) -> bool:
        """Tell whether no other source has files or folders there; the folders above are made."""
        targets = [os.path.join(os.fsencode(self.tree), path) for path in paths]
        try:
            for target in targets:
                os.makedirs(os.path.dirname(target), exist_ok=True)
        except (NotADirectoryError, FileExistsError):
            return False
        return not any(os.path.lexists(target) for target in targets)


def tidied(tree: str, results: Sequence[Result]) -> None:
    """Remove from the tree what no result names: a kill may have left it."""
    named = {os.path.join(os.fsencode(tree), output.path) for result in results for output in result.outputs}
    for folder, _, names in os.walk(os.fsencode(tree), topdown=False):
        for name in names:
            if os.path.join(folder, name) not in named:
                os.unlink(os.path.join(folder, name))
        if folder != os.fsencode(tree) and not os.listdir(folder):
            os.rmdir(folder)


def is_there(tree: str, result: Result) -> bool:
    """Tell whether the outputs of an earlier attempt lie in the tree as they were noted."""
    for output in result.outputs:
        try:
            with open(os.path.join(os.fsencode(tree), output.path), "rb") as file:
                found = measure(file)
        except OSError:
            return False
        if (found.blake3, found.size) != (output.blake3, output.size):
            return False
    return True
