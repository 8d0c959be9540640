"""FIDO's matching of signatures, with the same answers in the same order, asked only of signatures that could match.

FIDO tries some 2,000 regular expressions on every file. Here each signature first stands behind one of its necessary
conditions; what passes is confirmed with FIDO's own expression, by FIDO's own rules of order and priority.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from preservation.formats.identification import ENDS
from preservation.formats.leads import Lead, lead
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

_SHARED_BEGINNING = 5
"""Bytes with which literals that gate begin alike, so that all of them are sought as one."""

_NEAR = 2304
"""Bytes in which a literal costs little to seek; in more of them it costs more than any key."""

_BREADTHS = (64, 256, 1152, _NEAR, 4352, 20992, 66048)
"""Bytes to which the places of literals are rounded up, so that many of them are sought in the same piece."""

_FAR = 1 << 15
"""Bytes from the start behind which some literals (of discs) lie; smaller files are not searched for these."""

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
class Region:
    """Literals (lower case) that are sought in the same piece of an end of a file, and what each may stand for."""

    first: int
    last: int | None
    literals: tuple[tuple[bytes, tuple[int, ...]], ...]


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
    start_literals: tuple[Region, ...]
    end_literals: tuple[Region, ...]
    leads: tuple[tuple[Lead, tuple[int, ...]], ...]
    by_extension: dict[str, tuple[Format, ...]]


def build_index(formats: Sequence[Format]) -> Index:
    """Put each signature behind the most selective of its necessary conditions."""
    signatures = tuple((format_, signature) for format_ in formats for signature in format_.signatures)
    always: list[int] = []
    if_empty: list[int] = []
    windows: dict[tuple[int, int], dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
    literals: dict[Containing, list[int]] = defaultdict(list)
    leads: dict[Lead, list[int]] = defaultdict(list)
    for number, (_, signature) in enumerate(signatures):
        gate = _gate(signature)
        if any(pattern.expression == _NOTHING for pattern in signature.patterns):
            if_empty.append(number)
        elif isinstance(gate, Keyed):
            for key in gate.keys:
                windows[gate.offset, len(key)][key].append(number)
        elif isinstance(gate, Containing) and _breadth(gate) <= _NEAR:
            literals[gate].append(number)
        elif (found := _lead(signature, needed=gate is None)) is not None:
            leads[found].append(number)
        elif gate is None:
            always.append(number)
        else:
            literals[gate].append(number)
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
        _regions({gate: numbers for gate, numbers in literals.items() if not _is_at_end(gate)}),
        _regions({gate: numbers for gate, numbers in literals.items() if _is_at_end(gate)}),
        tuple((lead_, tuple(numbers)) for lead_, numbers in leads.items()),
        {extension: tuple(known) for extension, known in by_extension.items()},
    )


def _is_at_end(gate: Containing) -> bool:
    return gate.place in ("end", "anywhere at end")


def _regions(gates: Mapping[Containing, Sequence[int]]) -> tuple[Region, ...]:
    """The literals by the pieces in which they are sought; the pieces are larger than need be, but few."""
    regions: dict[tuple[int, int | None], dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
    for gate, numbers in gates.items():
        last = next((breadth for breadth in _BREADTHS if gate.limit and gate.limit <= breadth), None)
        if _is_at_end(gate):
            place: tuple[int, int | None] = (-last if last else 0, None)
        else:
            place = (_FAR if gate.after >= _FAR else 0, last)
        regions[place][gate.literal].extend(numbers)
    return tuple(Region(*place, tuple(_by_beginning(literals))) for place, literals in sorted(regions.items(), key=str))


def _by_beginning(literals: Mapping[bytes, Sequence[int]]) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """Literals that begin alike are sought as what they have in common."""
    common, behind = b"", set[int]()
    for literal in sorted(literals):
        shared = _common(common, literal)
        if len(shared) < _SHARED_BEGINNING:
            if behind:
                yield common, tuple(sorted(behind))
            shared, behind = literal, set()
        common = shared
        behind.update(literals[literal])
    if behind:
        yield common, tuple(sorted(behind))


def _common(one: bytes, other: bytes) -> bytes:
    """What two literals begin with alike."""
    alike = (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return one[: next(alike, min(len(one), len(other)))]


def _lead(signature: Signature, *, needed: bool) -> Lead | None:
    """What is sought before a signature is tried: near the start, or anywhere, if nothing else is known of it."""
    found = [one for pattern in signature.patterns if pattern.position == "BOF" for one in lead(pattern.expression)]
    best = min(found, key=lambda one: one.last, default=None)
    return best if best is not None and (needed or best.last < _NEAR) else None


def _check(format_: Format, signature: Signature, sought: dict[Sought, int]) -> Check:
    conditions = {
        condition
        for pattern in signature.patterns
        for condition in pattern.necessity.conditions
        if isinstance(condition, Containing)
    }
    literals = [literal for condition in conditions for literal in _literals(condition)]
    literals.sort(key=lambda one: (_width(one), len(one.text), one.text))
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


def _width(literal: Sought) -> int:
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


def _breadth(condition: Containing) -> int:
    """In how many bytes the literal is sought."""
    return condition.limit - condition.after if condition.limit else ENDS


def _worth(condition: Condition) -> tuple[float, float, int]:
    """A key of several bytes is cheapest to look up; a literal is better the longer it is and the nearer to an end.

    One that may be nearly anywhere costs more the broader its place is, and less the longer it is: a search passes over
    as many bytes at each step.
    """
    if isinstance(condition, Keyed):
        length = len(condition.keys[0])
        rare = all(key not in _FREQUENT for key in condition.keys)
        return (4 if length > 1 else 2 if rare else 1, length, -condition.offset)
    if len(set(condition.literal)) == 1:
        return (-1, 0, 0)
    breadth = _breadth(condition)
    if breadth > _NEAR:
        return (0, -breadth / len(condition.literal), 0)
    return (3, min(len(condition.literal), 6), -breadth)


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
    start, lower_start, lower_end = ends.start, ends.lower_start, ends.lower_end
    for first, last, keys in index.windows:
        behind = keys.get(start[first:last])
        if behind:
            numbers.update(behind)
    for whole, regions in ((lower_start, index.start_literals), (lower_end, index.end_literals)):
        for region in regions:
            piece = whole[region.first : region.last]
            for literal, behind in region.literals:
                if literal in piece:
                    numbers.update(behind)
    for sought, behind in index.leads:
        found = compiled(sought.expression).search(start, sought.first, sought.end)
        if found is not None and found.start() <= sought.last:
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
