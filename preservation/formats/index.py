"""FIDO's matching of signatures, with the same answers in the same order, asked only of signatures that could match.

FIDO tries some 2,000 regular expressions on every file. Here each signature first stands behind one of its necessary
conditions; what passes is confirmed with FIDO's own expression, by FIDO's own rules of order and priority.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from preservation.formats.identification import ENDS
from preservation.formats.necessity import Condition, Containing, Keyed, Necessity

Position = Literal["BOF", "EOF", "VAR", "IFB"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One regular expression of a signature, and where FIDO applies it."""

    position: Position
    expression: bytes
    necessity: Necessity

    @property
    def at_end(self) -> bool:
        """Whether it says something of the end of a content."""
        return self.position == "EOF"

    def fits(self, content: bytes) -> bool:
        """Whether a whole content has the pattern where it should be."""
        expression = compiled(self.expression)
        if self.position == "BOF":
            return expression.match(content) is not None
        reach = self.necessity.reach if self.at_end else None
        return expression.search(content, 0 if reach is None else max(0, len(content) - reach)) is not None


@dataclass(frozen=True, slots=True)
class Signature:
    """Patterns that must all match."""

    name: str
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """One format as FIDO knows it; `beats` are the PUIDs over which it has priority."""

    puid: str
    extensions: tuple[str, ...]
    beats: frozenset[str]
    signatures: tuple[Signature, ...]
    name: str = ""
    version: str = ""
    media_type: str = ""


_COMMON_BEGINNING = 12
"""Bytes of a literal that may be shared with others."""

_NOTHING = rb"\A\Z"

_FREQUENT = (b"\x00", b"\xff", b" ", b"\r", b"\n", b"0", b"<")
"""Bytes with which many files begin."""

Match = tuple[Format, str]
"""A format and the name of what matched."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Where a literal (lower case) is sought: in the bytes from `first` to `last` of an end of a file."""

    at_end: bool
    text: bytes
    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be looked at for one signature, the cheapest first.

    `literals` are numbers in the index's list; all of them must be there before any expression is tried.
    """

    format: Format
    name: str
    literals: tuple[int, ...]
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Signatures by their gates; the numbers are positions in `checks`, which is in FIDO's order."""

    formats: tuple[Format, ...]
    checks: tuple[Check, ...]
    literals: tuple[Sought, ...]
    always: tuple[int, ...]
    if_empty: tuple[int, ...]
    """Signatures that only a file without a byte can have."""
    windows: tuple[tuple[int, int, dict[bytes, tuple[int, ...]]], ...]
    start_literals: tuple[tuple[bytes, int, int, tuple[int, ...]], ...]
    end_literals: tuple[tuple[bytes, int, tuple[int, ...]], ...]
    by_extension: dict[str, tuple[Format, ...]]


def build_index(formats: Sequence[Format]) -> Index:
    """Put each signature behind the most selective of its necessary conditions."""
    signatures = tuple((format_, signature) for format_ in formats for signature in format_.signatures)
    always: list[int] = []
    if_empty: list[int] = []
    windows: dict[tuple[int, int], dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
    literals: dict[Containing, list[int]] = defaultdict(list)
    for number, (_, signature) in enumerate(signatures):
        gate = _gate(signature)
        if any(pattern.expression == _NOTHING for pattern in signature.patterns):
            if_empty.append(number)
        elif gate is None:
            always.append(number)
        elif isinstance(gate, Containing):
            literals[gate].append(number)
        else:
            for key in gate.keys:
                windows[gate.offset, len(key)][key].append(number)
    by_extension: dict[str, list[Format]] = defaultdict(list)
    for format_ in formats:
        for extension in dict.fromkeys(format_.extensions):
            by_extension[extension].append(format_)
    sought: dict[Sought, int] = {}
    checks = tuple(_check(format_, signature, sought) for format_, signature in signatures)
    return Index(
        tuple(formats),
        checks,
        tuple(sought),
        tuple(always),
        tuple(if_empty),
        tuple(
            (offset, offset + length, {key: tuple(numbers) for key, numbers in keys.items()})
            for (offset, length), keys in sorted(windows.items())
        ),
        tuple(
            (gate.literal, gate.after, gate.limit or ENDS, tuple(numbers))
            for gate, numbers in literals.items()
            if gate.place in ("start", "anywhere at start")
        ),
        tuple(
            (gate.literal, gate.limit or ENDS, tuple(numbers))
            for gate, numbers in literals.items()
            if gate.place in ("end", "anywhere at end")
        ),
        {extension: tuple(known) for extension, known in by_extension.items()},
    )


def _check(format_: Format, signature: Signature, sought: dict[Sought, int]) -> Check:
    conditions = {
        condition
        for pattern in signature.patterns
        for condition in pattern.necessity.conditions
        if isinstance(condition, Containing)
    }
    literals = [literal for condition in conditions for literal in _literals(condition)]
    literals.sort(key=lambda one: (_breadth(one), len(one.text), one.text))
    numbers = dict.fromkeys(sought.setdefault(literal, len(sought)) for literal in literals)
    return Check(format_, signature.name, tuple(numbers), tuple(sorted(signature.patterns, key=_cost)))


def _literals(condition: Containing) -> Iterator[Sought]:
    """A long literal that may be anywhere stands behind its own beginning, which others that begin so need too."""
    if condition.place == "start":
        yield Sought(False, condition.literal, condition.after, condition.limit)
    elif condition.place == "end":
        yield Sought(True, condition.literal, -condition.limit, None)
    else:
        at_end = condition.place == "anywhere at end"
        if len(condition.literal) > _COMMON_BEGINNING:
            yield Sought(at_end, condition.literal[:_COMMON_BEGINNING], 0, None)
        yield Sought(at_end, condition.literal, 0, None)


def _breadth(literal: Sought) -> int:
    if literal.first < 0:
        return -literal.first
    return ENDS if literal.last is None else literal.last - literal.first


def _cost(pattern: Pattern) -> tuple[int, int]:
    """An anchored expression is tried before one that is sought in a little, and that before one sought everywhere."""
    reach = pattern.necessity.reach if pattern.at_end else None
    return {"BOF": 0}.get(pattern.position, 2 if reach is None else 1), reach or 0


def _gate(signature: Signature) -> Condition | None:
    conditions = [condition for pattern in signature.patterns for condition in pattern.necessity.conditions]
    return max(conditions, key=_worth, default=None)


def _worth(condition: Condition) -> tuple[int, int, int]:
    """A key of several bytes is cheapest to look up; a literal is better the longer it is and the nearer to an end."""
    if isinstance(condition, Keyed):
        length = len(condition.keys[0])
        rare = all(key not in _FREQUENT for key in condition.keys)
        return (4 if length > 1 else 2 if rare else 1, length, -condition.offset)
    if len(set(condition.literal)) == 1:
        return (0, 0, 0)
    near = condition.place in ("start", "end")
    return (3 if near else 1, min(len(condition.literal), 6), condition.after - condition.limit)


@dataclass(slots=True)
class _Ends:
    """The two ends of one file, as they are and lower-cased, and which literals are known to be in them or not."""

    start: bytes
    end: bytes
    lower_start: bytes
    lower_end: bytes
    known: dict[int, bool] = field(default_factory=dict)

    def contain(self, number: int, literal: Sought) -> bool:
        lower = self.lower_end if literal.at_end else self.lower_start
        answer = self.known[number] = lower.find(literal.text, literal.first, literal.last) >= 0
        return answer


def match_signatures(index: Index, start: bytes, end: bytes) -> list[Match]:
    """The formats whose signatures match the first and last bytes of a file, as FIDO's `match_formats` gives them."""
    lower_start = start.lower()
    ends = _Ends(start, end, lower_start, lower_start if end is start else end.lower())
    found: list[Match] = []
    for number in _candidates(index, ends):
        check = index.checks[number]
        if _holds(check, index.literals, ends) and _unbeaten(check.format, found):
            found.append((check.format, check.name))
    return prune(found)


def _candidates(index: Index, ends: _Ends) -> list[int]:
    numbers = set(index.always if ends.start or ends.end else index.always + index.if_empty)
    start, find_in_start, find_in_end = ends.start, ends.lower_start.find, ends.lower_end.find
    for first, last, keys in index.windows:
        behind = keys.get(start[first:last])
        if behind:
            numbers.update(behind)
    for literal, after, limit, behind in index.start_literals:
        if find_in_start(literal, after, limit) >= 0:
            numbers.update(behind)
    for literal, limit, behind in index.end_literals:
        if find_in_end(literal, -limit) >= 0:
            numbers.update(behind)
    return sorted(numbers)


def _holds(check: Check, literals: Sequence[Sought], ends: _Ends) -> bool:
    known = ends.known
    for number in check.literals:
        answer = known.get(number)
        if not (ends.contain(number, literals[number]) if answer is None else answer):
            return False
    return all(_matches(pattern, ends) for pattern in check.patterns)


def _matches(pattern: Pattern, ends: _Ends) -> bool:
    expression = compiled(pattern.expression)
    if pattern.position == "BOF":
        return expression.match(ends.start) is not None
    if pattern.position != "EOF":
        return expression.search(ends.start) is not None
    reach = pattern.necessity.reach
    first = 0 if reach is None else max(0, len(ends.end) - reach)
    return expression.search(ends.end, first) is not None


@cache
def compiled(expression: bytes) -> re.Pattern[bytes]:
    """The expression compiled at its first use and kept: Python's own cache has too little room for all signatures."""
    return re.compile(expression)


def match_extension(index: Index, extension: str) -> list[Match]:
    """The formats that use this extension, as FIDO's `match_extensions` gives them."""
    return prune([(format_, "External") for format_ in index.by_extension.get(extension, ())]) if extension else []


def prune(found: Iterable[Match]) -> list[Match]:
    """Without the formats over which another one that was found has priority."""
    all_found = list(found)
    return [(format_, name) for format_, name in all_found if _unbeaten(format_, all_found)]


def _unbeaten(format_: Format, found: Iterable[Match]) -> bool:
    return not any(format_.puid in other.beats for other, _ in found if other is not format_)
