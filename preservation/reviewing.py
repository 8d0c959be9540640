"""Second opinions on what is stored, and the queue of files of which two tools say different things.

Nothing is overwritten silently: where neither answer is the more exact, the first one stands, the file waits in the
queue, and a person decides, with a code for the reason. The decision is an event, and can be decided again.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Self

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import DecisionRow
from preservation.evidence import push
from preservation.fixity import blake3_hex
from preservation.formats.identification import Identification, checked_puid, extension_of
from preservation.formats.second_opinion import SecondOpinion, judged
from preservation.identifications import Change, Layers, Verdict, key_of
from preservation.ledger.events import EventType
from preservation.manifest import FileLine
from preservation.packages import NoGoodCopyError, object_once
from preservation.repository import Repository
from preservation.scratch import scratch
from preservation.stores import Store, all_open, attached
from storage_backends.errors import MocbanError, marked

LARGEST = 1 << 30
"""The largest file that a second opinion is asked about, in bytes: it is written out for that."""

SAMPLE = 100
"""Of the files of which the first answer leaves no doubt, one in so many is asked about too."""

REASONS = ("examined", "opened-with-software", "origin-known", "registry-checked", "other")
"""How a person has come to a decision: the ledger takes no free text."""


class NotInQueueError(MocbanError):
    """Nothing waits to be decided there."""

    template = marked("Nothing waits to be decided about {name}; 'mocban formats review' lists what does")


class NotOneOfBothError(MocbanError):
    """A format that neither tool has named."""

    template = marked("Neither tool says {puid} of it; one of these may be chosen: {known}")


@dataclass(slots=True)
class _Written:
    """A file that takes in the bytes of an object."""

    path: str

    def __post_init__(self) -> None:
        with open(self.path, "wb"):
            pass

    def take(self, data: bytes) -> None:
        """Write the next bytes."""
        with open(self.path, "ab") as file:
            file.write(data)


@dataclass(slots=True)
class Asking:
    """Asks the second tool about the files that are in doubt, a sample of the others, or all (``every``).

    ``beats`` says over which formats each has priority.
    """

    repository: Repository
    beats: Mapping[str, frozenset[str]]
    every: bool = False
    make: Callable[[], SecondOpinion] = SecondOpinion
    _stack: ExitStack = field(default_factory=ExitStack)
    _other: SecondOpinion | None = None
    _folder: str = ""

    def __enter__(self) -> Self:
        self._other = self._stack.enter_context(self.make())
        held: AbstractContextManager[str] = scratch(self.repository.staging, self.repository.new_id())
        self._folder = self._stack.enter_context(held)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wants(self, line: FileLine, answer: Identification) -> bool:
        """Tell whether to ask: the sample is drawn by the content's digest, so that it is the same another time."""
        if not 0 < line.size <= LARGEST:
            return False
        guessed = all(match.basis == "extension" for match in answer.formats)
        drawn = int(blake3_hex(f"second opinion {line.blake3}".encode())[:8], 16) % SAMPLE == 0
        return self.every or guessed or len(answer.formats) > 1 or drawn

    def judge(
        self, view: View, stores: list[Store], fonds: str, line: FileLine, answer: Identification
    ) -> tuple[Identification, Verdict, tuple[str, ...], str]:
        """Return the answer that holds, the verdict, the other tool's PUIDs, and its name."""
        assert self._other is not None
        extension = extension_of(os.fsdecode(line.path.rpartition(b"/")[2]))
        harmless = extension if extension.isascii() and extension.isalnum() and len(extension) <= 10 else ""  # noqa: PLR2004 - no usual one is longer
        path = os.path.join(self._folder, f"content.{harmless}" if harmless else "content")
        try:
            object_once(view, stores, fonds, line, lambda: _Written(path))
            opinion = self._other.ask(path)
        except NoGoodCopyError:
            return answer, "", (), ""
        finally:
            if os.path.exists(path):
                os.unlink(path)
        held, verdict = judged(answer, opinion, self.beats)
        return held, verdict, opinion.puids if verdict else (), opinion.tool if verdict else ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A content of which two tools say different things: the PUIDs of the first and of the second."""

    fonds: str
    package: str
    blake3: str
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    second_tool: str
    since: str


def waiting(repository: Repository, view: View) -> Iterator[Waiting]:
    """Yield what waits to be decided; of what was decided and found otherwise since, the newer finding."""
    with Layers(repository.sidecars, view) as layers:
        found: dict[tuple[str, str, str], tuple[str, str, Change]] = {}
        for part, package, blake3, name, change in layers.conflicts():
            found[part.fonds, blake3, name] = (part.fonds, package, change)
        for (fonds, blake3, name), (_, package, change) in sorted(found.items()):
            decision = rows.one(view, DecisionRow, fonds, blake3, name)
            later = layers.of_package(fonds, package).changes.get((blake3, name), ())
            if later and later[-1].event > change.event and later[-1].verdict != "conflict":
                continue
            if decision is None or decision.event < change.event:
                first = tuple(key_of(change.answer).split())
                yield Waiting(fonds, package, blake3, name, first, change.second, change.second_tool, change.recorded)


def decide(repository: Repository, name: str, puid: str, reason: str) -> list[Waiting]:
    """Record which of both answers holds for a content (its digest or a beginning of it); return what was decided.

    Raises:
        NotInQueueError, NotOneOfBothError.
    """
    assert reason in REASONS
    chosen = checked_puid(puid)
    with repository.deciding() as (view, append):
        found = [one for one in waiting(repository, view) if name and one.blake3.startswith(name)]
        if len({one.blake3 for one in found}) != 1:
            raise NotInQueueError(name=name)
        for one in found:
            known = (*one.first, *one.second)
            if chosen not in known:
                raise NotOneOfBothError(puid=puid, known=" ".join(known))
        append(
            [
                repository.event(
                    EventType.FORMAT_IDENTIFICATION,
                    fonds=one.fonds,
                    object=one.blake3,
                    name=one.name,
                    decision=chosen,
                    reason=reason,
                )
                for one in found
            ]
        )
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)
    return found
