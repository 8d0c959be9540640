"""Which pathways there are, whether this machine can go them, and going one: convert, measure, accept or not.

Nothing is accepted that was not measured. A tool's exit status counts for nothing but a failure; what came out is
compared with the source by other programs, in a fresh folder in which the tool never wrote.
"""

import errno
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from types import MappingProxyType

from preservation.fixity import CHUNK, measure
from preservation.migration.conversion import (
    Conversion,
    Failure,
    Family,
    Identify,
    Made,
    Measure,
    Pathway,
    Room,
    Source,
    Staged,
    UnmeasuredError,
    Workbench,
)
from preservation.migration.pathways import images, mail, office, pdf, sound, text, video
from preservation.migration.sandbox import Limits, NoIsolationError, Sandbox, sandbox
from preservation.migration.tools import version_of

__all__ = [
    "Availability",
    "Conversion",
    "Failure",
    "Identify",
    "Limits",
    "Measure",
    "NoIsolationError",
    "Pathway",
    "Source",
    "Workbench",
    "available",
    "convert",
    "pathway",
    "pathways",
    "sandbox",
]

_FAMILIES: tuple[Family, ...] = (images, sound, video, office, pdf, mail, text)
_NOT_A_FILE = (errno.ELOOP, errno.ENOENT, errno.ENXIO, errno.EISDIR, errno.ENAMETOOLONG)
_TOOL_ROOM, _CHECK_ROOM = "job", "check"


@dataclass(frozen=True, slots=True)
class Availability:
    """The version of the tool that converts, or why the pathway cannot be gone here: the programs that are missing."""

    version: str
    missing: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether all programs are there."""
        return not self.missing


@cache
def _by_id() -> Mapping[str, tuple[Pathway, Family]]:
    return MappingProxyType({one.id: (one, family) for family in _FAMILIES for one in family.PATHWAYS})


def pathways() -> tuple[Pathway, ...]:
    """All pathways, in a fixed order."""
    return tuple(one for one, _ in _by_id().values())


def pathway(identity: str) -> Pathway | None:
    """The pathway of this id, or none."""
    entry = _by_id().get(identity)
    return entry[0] if entry else None


def available(one: Pathway, place: Sandbox) -> Availability:
    """The version of the pathway's tool as it runs in the sandbox, or which programs are missing or do not run."""
    programs = dict.fromkeys([*([one.tool] if one.tool else []), *one.needs])
    versions = {name: version_of(name, place) for name in programs}
    missing = tuple(name for name, version in versions.items() if version is None)
    return Availability(version("mocban") if not one.tool else versions[one.tool] or "", missing)


def convert(one: Pathway, sources: Sequence[Source], folder: str, bench: Workbench) -> list[Conversion]:
    """Convert files into `folder`, which is the caller's and holds nothing else; one answer for each, in their order.

    Accepted outputs are called `<place among the sources>-<n>.<extension>` there; of what was not accepted nothing
    stays. A source is copied before a tool sees it, without following a link, and never written to.

    Raises:
        OSError: the folder cannot be written, or a source that is there cannot be read.
    """
    done: list[Conversion] = []
    for start in range(0, len(sources), one.batch):
        done += _batch(one, list(sources[start : start + one.batch]), start, folder, bench)
    return done


@dataclass(frozen=True, slots=True)
class _Job:
    """A pathway on its way: where the tool works, and where its work is measured."""

    pathway: Pathway
    family: Family
    bench: Workbench
    tool_room: Room
    room: Room


class _NotAcceptedError(Exception):
    """Nothing is accepted of this source."""

    def __init__(self, failure: Failure, measures: Sequence[Measure] = ()) -> None:
        super().__init__(failure)
        self.failure: Failure = failure
        self.measures = tuple(measures)


def _batch(one: Pathway, sources: list[Source], start: int, folder: str, bench: Workbench) -> list[Conversion]:
    tool_room = _room(os.path.join(folder, _TOOL_ROOM), bench)
    job = _Job(one, _by_id()[one.id][1], bench, tool_room, _room(os.path.join(folder, _CHECK_ROOM), bench))
    try:
        staged = {place: _staged(source, start + place, job) for place, source in enumerate(sources)}
        ready = {place: entry for place, entry in staged.items() if entry is not None}
        made = job.family.make(one, [entry for entry, _ in ready.values()], tool_room) if ready else []
        answers = dict(zip(ready, made, strict=True))
        conversions = []
        for place, source in enumerate(sources):
            if place not in ready:
                conversions.append(Conversion(source, (), "source-refused"))
                continue
            try:
                judged = _judged(source, *ready[place], answers[place], job)
            except _NotAcceptedError as error:
                judged = Conversion(source, (), error.failure, error.measures)
            conversions.append(_kept(judged, folder, f"{start + place:06d}", one.extension))
        return conversions
    finally:
        shutil.rmtree(tool_room.folder, ignore_errors=True)
        shutil.rmtree(job.room.folder, ignore_errors=True)


def _staged(source: Source, number: int, job: _Job) -> tuple[Staged, str] | None:
    """Copy a source to where the tool may see it; with the digest of the copy."""
    name = os.path.join("in", f"{number:06d}.{job.pathway.id.partition('-')[0]}")
    digest = _copied(source.path, os.path.join(job.tool_room.folder, name), job.bench.limits.file_bytes)
    return None if digest is None else (Staged(name, os.path.join("out", f"{number:06d}"), source.puid), digest)


def _judged(source: Source, staged: Staged, digest: str, made: Made, job: _Job) -> Conversion:
    """Look at what one source became; the paths of outputs are those in the room where it is measured."""
    outputs = _outputs(staged, digest, made, job)
    found = [job.bench.identify(path) for path in outputs]
    said = ",".join(sorted({str(puid) for puids in found for puid in puids}))
    right = all(set(puids) & set(job.pathway.targets) for puids in found)
    measures = [Measure("format", str(source.puid), said, right)]
    if not right:
        raise _NotAcceptedError("wrong-format", measures)
    try:
        measures += job.family.measure(job.pathway, staged, made.outputs, job.room)
        rendition = job.family.rendition_only(staged, job.room)
    except UnmeasuredError as error:
        raise _NotAcceptedError("unmeasured", measures) from error
    if not all(one.passed for one in measures):
        raise _NotAcceptedError("measure-failed", measures)
    if set(job.pathway.checks) - {one.name for one in measures}:
        raise _NotAcceptedError("unmeasured", measures)
    return Conversion(source, outputs, "", tuple(measures), rendition)


def _outputs(staged: Staged, digest: str, made: Made, job: _Job) -> tuple[str, ...]:
    """Take source and outputs over into the room where they are measured."""
    if made.failure:
        raise _NotAcceptedError(made.failure)
    before, after = job.tool_room, job.room
    if not _moved(staged.source, before, after) or _digest(os.path.join(after.folder, staged.source)) != digest:
        raise _NotAcceptedError("source-changed")
    if not made.outputs or not all(_moved(name, before, after) for name in made.outputs):
        raise _NotAcceptedError("no-output")
    return tuple(os.path.join(after.folder, name) for name in made.outputs)


def _kept(conversion: Conversion, folder: str, stem: str, extension: str) -> Conversion:
    """Move what was accepted out of the room."""
    kept = tuple(os.path.join(folder, f"{stem}-{number}.{extension}") for number, _ in enumerate(conversion.outputs, 1))
    for path, target in zip(conversion.outputs, kept, strict=True):
        os.rename(path, target)
    return replace(conversion, outputs=kept)


def _room(folder: str, bench: Workbench) -> Room:
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    for name in ("", "in", "out", "home", "tmp"):
        os.mkdir(os.path.join(folder, name), 0o700)
    return Room(folder, bench.sandbox, bench.limits)


def _copied(path: str, target: str, limit: int) -> str | None:
    """Copy a regular file and return its digest; none if it is something else, a link, or larger than the limit."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_size > limit:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as source, open(target, "xb") as copy:
        shutil.copyfileobj(source, copy, CHUNK)
    return _digest(target)


def _moved(name: str, before: Room, after: Room) -> bool:
    """Move a file from one room to the other if it is a regular one with something in it and one name."""
    path = os.path.join(before.folder, name)
    try:
        state = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISREG(state.st_mode) or not state.st_size or state.st_nlink != 1:
        return False
    os.rename(path, os.path.join(after.folder, name))
    return True


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return measure(file).blake3
