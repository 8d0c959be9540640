"""The newest identification of each file: what its manifest says, and over it what was found with later signatures.

Manifests are never written anew. What another bundle of signatures says of a file is a row of a part (Parquet, named by
an event), and so is history: the answer before stands in it. A row changes exactly the answer that it was made for, as
a patch does; so it holds for a later version of the package too, if that has taken the old answer over.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, cast

from preservation import parts
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import DecisionRow
from preservation.catalog.rows import PartRow
from preservation.fixity import blake3_hex
from preservation.formats.identification import (
    BadIdentificationError,
    Basis,
    FormatMatch,
    Identification,
    Status,
    checked_puid,
    extension_of,
)
from preservation.manifest import FileLine
from preservation.parts import Columns, OpenPart, Value
from preservation.sidecars import Sidecars

KIND = "identifications"

COLUMNS: Columns = (
    ("package", str),
    ("version", int),
    ("blake3", str),
    ("name", str),
    ("was", str),
    ("was_signatures", str),
    ("status", str),
    ("puids", str),
    ("bases", str),
    ("warnings", str),
    ("tool", str),
    ("signatures", str),
    ("verdict", str),
    ("second", str),
    ("second_tool", str),
)
"""``was`` and ``puids`` are PUIDs with spaces between, or the status; ``warnings`` is a JSON list.

``name`` stands for the extension of the file's name, which may say too much to stand here itself.
"""

Verdict = Literal["", "agreed", "refined", "single", "conflict"]
"""What a second tool makes of it: nobody asked; the same; more exact; only one of both knows it; another answer."""

GROUPS_AT_HAND = 8
OPEN_AT_ONCE = 16


def name_tag(blake3: str, extension: str) -> str:
    """Return what stands for an extension of a file with this content."""
    return blake3_hex(f"{blake3}/{extension}".encode(errors="surrogateescape"))[:16]


def tag_of(line: FileLine) -> str:
    """Return what stands for the extension of a file's name."""
    return name_tag(line.blake3, extension_of(line.path.rpartition(b"/")[2].decode(errors="surrogateescape")))


def key_of(answer: Identification) -> str:
    """Return an answer in short: its PUIDs with spaces between, or its status."""
    return " ".join(sorted({match.puid for match in answer.formats})) or answer.status


def signatures_of(answer: Identification) -> str:
    """Return by which signatures an answer was reached; empty where it does not say."""
    return answer.formats[0].signatures if answer.formats else ""


def answer_of(line: FileLine) -> Identification:
    """Return what a manifest says; as if nobody had looked, where it says what this program does not know."""
    try:
        return Identification.from_json(line.line)
    except BadIdentificationError:
        return Identification("off")


@dataclass(frozen=True, slots=True)
class Change:
    """What was found for a content under one kind of name; it holds for files of whom ``was`` was said before."""

    version: int
    was: str
    was_signatures: str
    answer: Identification
    verdict: Verdict = ""
    second: tuple[str, ...] = ()
    second_tool: str = ""
    event: int = 0
    run: str = ""
    recorded: str = ""

    def row(self, package: str, blake3: str, name: str) -> tuple[Value, ...]:
        """Return the row of a part."""
        formats = self.answer.formats
        return (
            package,
            self.version,
            blake3,
            name,
            self.was,
            self.was_signatures,
            self.answer.status,
            " ".join(match.puid for match in formats),
            " ".join(match.basis for match in formats),
            json.dumps(self.answer.warnings, ensure_ascii=False),
            formats[0].tool if formats else "",
            signatures_of(self.answer),
            self.verdict,
            " ".join(self.second),
            self.second_tool,
        )

    @classmethod
    def of_row(cls, row: Sequence[Value], part: PartRow) -> Self:
        """Read a row of a part."""
        _, version, _, _, was, was_signatures, status, puids, bases, warnings, tool, signatures, *more = row
        matches = tuple(
            FormatMatch(checked_puid(puid), cast("Basis", basis), str(tool), str(signatures))
            for puid, basis in zip(str(puids).split(), str(bases).split(), strict=True)
        )
        answer = Identification(cast("Status", status), matches, tuple(json.loads(str(warnings))))
        verdict, second, second_tool = more
        return cls(
            version=int(cast("int", version)),
            was=str(was),
            was_signatures=str(was_signatures),
            answer=answer,
            verdict=cast("Verdict", verdict),
            second=tuple(str(second).split()),
            second_tool=str(second_tool),
            event=part.event,
            run=part.run,
            recorded=part.recorded,
        )


@dataclass(frozen=True, slots=True)
class Newest:
    """What is known of a file's format now: ``answer``; ``before`` are the answers that it took the place of.

    ``conflict`` is the change about which two tools disagree and nobody has decided; ``decision`` what was decided.
    """

    answer: Identification
    before: tuple[Identification, ...] = ()
    changes: tuple[Change, ...] = ()
    conflict: Change | None = None
    decision: DecisionRow | None = None


@dataclass(frozen=True, slots=True)
class OfPackage:
    """What was found later for the contents of one package."""

    changes: Mapping[tuple[str, str], Sequence[Change]] = field(default_factory=dict)
    decisions: Mapping[tuple[str, str], DecisionRow] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """A short text that is another one whenever something was found or decided since; empty if nothing ever was."""
        if not self.changes:
            return ""
        last = max(change.event for changes in self.changes.values() for change in changes)
        decided = max((row.event for row in self.decisions.values()), default=0)
        return f"{max(last, decided)}.{len(self.changes)}"

    def newest(self, line: FileLine) -> Newest:
        """Return what is known of a file."""
        answer = answer_of(line)
        if not self.changes:
            return Newest(answer)
        key = (line.blake3, tag_of(line))
        return patched(answer, self.changes.get(key, ()), self.decisions.get(key))


NOTHING_LATER = OfPackage()


def patched(answer: Identification, changes: Iterable[Change], decision: DecisionRow | None = None) -> Newest:
    """Apply what was found later to an answer, in the order in which it was found."""
    before: list[Identification] = []
    applied: list[Change] = []
    conflict: Change | None = None
    for change in changes:
        looked = change.answer.status in {"identified", "unidentified"}
        if not looked or (change.was, change.was_signatures) != (key_of(answer), signatures_of(answer)):
            continue
        if change.answer != answer:
            before.append(answer)
        answer = change.answer
        applied.append(change)
        conflict = change if change.verdict == "conflict" else None
    if conflict is not None and decision is not None and decision.event > conflict.event:
        answer, conflict = _decided(answer, conflict, decision), None
    return Newest(answer, tuple(before), tuple(applied), conflict, decision)


def _decided(answer: Identification, conflict: Change, decision: DecisionRow) -> Identification:
    """Return the answer that a person chose of two."""
    chosen = tuple(match for match in answer.formats if match.puid == decision.puid)
    if not chosen:
        chosen = (FormatMatch(checked_puid(decision.puid), "signature", conflict.second_tool, conflict.second_tool),)
    return Identification("identified", chosen, answer.warnings)


class Layers:
    """All that was found later, as it lies in parts; packages may be asked for in any order, best in theirs."""

    def __init__(self, sidecars: Sidecars, view: View, *, but: str = "") -> None:
        """Look at all parts there are, but not at those of the run ``but``."""
        self._sidecars = sidecars
        self._view = view
        self._rows = [row for row in rows.every(view, PartRow) if row.kind == KIND and (not but or row.run != but)]
        self._open: OrderedDict[str, OpenPart] = OrderedDict()
        self._ranges: dict[str, list[tuple[str, str]]] = {}
        self._groups: OrderedDict[tuple[str, int], list[tuple[Value, ...]]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._open.values():
            part.close()
        self._open.clear()

    def of_package(self, fonds: str, package: str) -> OfPackage:
        """Return what was found later for the contents of a package.

        Raises:
            PartMissingError: a part that the ledger names is not here, so nobody knows.
        """
        changes: dict[tuple[str, str], list[Change]] = {}
        for part, row in self._rows_of(fonds, package):
            changes.setdefault((str(row[2]), str(row[3])), []).append(Change.of_row(row, part))
        if not changes:
            return NOTHING_LATER
        decisions = {}
        for blake3, name in changes:
            decision = rows.one(self._view, DecisionRow, fonds, blake3, name)
            if decision is not None:
                decisions[blake3, name] = decision
        return OfPackage(changes, decisions)

    def conflicts(self) -> Iterator[tuple[PartRow, str, str, str, Change]]:
        """Yield every change about which two tools disagree: its part, package, content, name tag, the change."""
        for part in self._rows:
            for group in range(len(self._ranges_of(part))):
                for row in self._group(part, group):
                    if row[12] == "conflict":
                        yield part, str(row[0]), str(row[2]), str(row[3]), Change.of_row(row, part)

    def _rows_of(self, fonds: str, package: str) -> Iterator[tuple[PartRow, tuple[Value, ...]]]:
        for part in self._rows:
            if part.fonds != fonds:
                continue
            for group, (first, last) in enumerate(self._ranges_of(part)):
                if first <= package <= last:
                    for row in self._group(part, group):
                        if row[0] == package:
                            yield part, row

    def _ranges_of(self, part: PartRow) -> list[tuple[str, str]]:
        found = self._ranges.get(part.blake3)
        if found is None:
            opened = self._opened(part)
            found = [opened.between(group, "package") for group in range(opened.groups)]
            self._ranges[part.blake3] = found
        return found

    def _group(self, part: PartRow, group: int) -> list[tuple[Value, ...]]:
        key = (part.blake3, group)
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = self._opened(part).rows(group)
            if len(self._groups) > GROUPS_AT_HAND:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return found

    def _opened(self, part: PartRow) -> OpenPart:
        found = self._open.get(part.blake3)
        if found is None:
            found = self._open[part.blake3] = parts.open_part(self._sidecars, part.blake3, COLUMNS)
            if len(self._open) > OPEN_AT_ONCE:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(part.blake3)
        return found
