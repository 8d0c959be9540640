"""The nouns of a conversion: from which formats into which, with what, what was measured, what came out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from preservation.formats.identification import Puid
from preservation.migration.sandbox import Limits, Sandbox

Identify = Callable[[str], tuple[Puid, ...]]
"""From the path of a regular file to all PUIDs that fit it; empty when none does."""

Failure = Literal[
    "",
    "source-refused",
    "not-applicable",
    "tool-failed",
    "timeout",
    "no-output",
    "source-changed",
    "wrong-format",
    "measure-failed",
    "unmeasured",
]
"""Why nothing was accepted; empty when the outputs were.

`source-refused`: no regular file, or larger than the limits; `not-applicable`: the file is not what the pathway is
for; `tool-failed`: the tool gave up; `timeout`: it was ended; `no-output`: it claimed success and wrote nothing, or
something that is no regular file; `source-changed`: the tool changed what it was given; `wrong-format`: the output is
identified as something else; `measure-failed`: a measure differs; `unmeasured`: a measure could not be taken, so
nothing is known.
"""


@dataclass(frozen=True, slots=True)
class Pathway:
    """One way from some formats to one.

    `targets` are the PUIDs that the output may have (versions of one format, as it depends on the content which is
    needed), the usual one first. `argv` are the tool's arguments with the places `{source}`, `{output}`, `{folder}`; a
    plan binds them. `tool` is empty where we convert ourselves. `checks` names the measures that must be there and
    hold, `needs` the programs that take them. `wanted` is the fact of a file that the pathway is for (an encoding),
    empty when the format is enough. `batch` is how many files one start of the tool takes.
    """

    id: str
    sources: tuple[Puid, ...]
    targets: tuple[Puid, ...]
    extension: str
    tool: str
    argv: tuple[str, ...]
    lossless: bool
    checks: tuple[str, ...]
    wanted: str = ""
    batch: int = 1
    needs: tuple[str, ...] = ()

    @property
    def target(self) -> Puid:
        """The PUID that the output usually has."""
        return self.targets[0]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to convert: a regular file of the caller's, and the format that it is held to have."""

    path: str
    puid: Puid


@dataclass(frozen=True, slots=True)
class Measure:
    """One property of source and output, as digests, counts or codes (never content), and whether it holds."""

    name: str
    source: str
    output: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """What came of one file.

    `outputs` are paths in the caller's folder, in order, and empty unless every measure holds; most pathways give one.
    `rendition` says that the output may be shown beside the original but never in its place: the source is signed.
    """

    source: Source
    outputs: tuple[str, ...]
    failure: Failure
    measures: tuple[Measure, ...] = ()
    rendition: bool = False

    @property
    def output(self) -> str | None:
        """The first output, or none."""
        return self.outputs[0] if self.outputs else None

    @property
    def accepted(self) -> bool:
        """Whether every measure was taken and holds."""
        return not self.failure


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where conversions are done: which tools are found, how they are shut in, and who tells what came out."""

    sandbox: Sandbox
    identify: Identify
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Room:
    """A folder that a tool sees as its whole world, with `in` and `out` in it."""

    folder: str
    sandbox: Sandbox
    limits: Limits


@dataclass(frozen=True, slots=True)
class Staged:
    """A source inside a room: its path there, relative to the room, and where its output belongs."""

    source: str
    output: str
    puid: Puid


@dataclass(frozen=True, slots=True)
class Made:
    """What a family made of one staged source: names in the room's `out`, and why there are none."""

    outputs: tuple[str, ...]
    failure: Failure = ""


class UnmeasuredError(Exception):
    """A measure could not be taken."""


class Family(Protocol):
    """What a module of pathways offers."""

    PATHWAYS: tuple[Pathway, ...]

    def make(self, pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
        """Convert; the answer has one entry for each source."""
        ...

    def measure(self, pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
        """Compare source and outputs, independently of what the tool said.

        Raises:
            UnmeasuredError: something could not be looked at.
        """
        ...

    def rendition_only(self, source: Staged, room: Room) -> bool:
        """Tell whether the output may never stand for this source."""
        ...
