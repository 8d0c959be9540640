"""What must be true of the bytes for a regular expression to match: cheap tests that only ever say "cannot".

An expression is flattened into steps: one byte out of a set, or a gap of so many bytes. Whatever is not understood
becomes a gap that allows everything, so each condition holds wherever the expression matches; the reverse is not
claimed.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from re import _constants as sre  # type: ignore[attr-defined]  # the only way to Python's own parse of an expression
from re import _parser as sre_parser  # type: ignore[attr-defined]  # the same
from typing import Any, Literal

Place = Literal["start", "end", "anywhere at start", "anywhere at end"]

ANY_BYTE = (1 << 256) - 1
_MOST_KEYS = 256
_LONGEST_KEY = 4
_FEW = 16
_LONGEST_EXPANSION = 512
_FREQUENT = sum(1 << byte for byte in b"\x00\xff \r\n")
_UNBOUNDED = int(sre.MAXREPEAT)
_IGNORED_FLAGS = ~int(sre.SRE_FLAG_DOTALL)


@dataclass(frozen=True, slots=True)
class OneByte:
    """Exactly one byte; bit n of `allowed` is set if byte n fits."""

    allowed: int


@dataclass(frozen=True, slots=True)
class Gap:
    """From `least` to `most` bytes of any value; `most` is None where there is no limit."""

    least: int
    most: int | None


Step = OneByte | Gap


@dataclass(frozen=True, slots=True)
class Keyed:
    """The bytes at this offset are one of these keys, all of one length."""

    offset: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Containing:
    """The literal (lower case, compared with lower-cased bytes) lies where `place` says.

    `start`: within the first `limit` bytes, `after` bytes from the start at least; `end`: within the last `limit`;
    `anywhere at ...`: in that end of the file.
    """

    place: Place
    literal: bytes
    limit: int = 0
    after: int = 0


Condition = Keyed | Containing


@dataclass(frozen=True, slots=True)
class Necessity:
    """The conditions of one expression (all of them hold where it matches) and, for a search for the end, its reach.

    `reach` is the greatest number of bytes before the end that a match can cover, or None when it is not limited.
    """

    conditions: tuple[Condition, ...]
    reach: int | None = None


def necessity(position: str, expression: bytes) -> Necessity:
    """What must hold for FIDO's expression at this position: `BOF` is matched at the start, all else is searched for.

    Raises:
        re.error: the expression is not valid.
    """
    tree = sre_parser.parse(expression)
    if tree.state.flags & _IGNORED_FLAGS:
        return Necessity(())
    steps = tuple(_steps(tree))
    if position == "BOF":
        return Necessity((*_keyed(steps), *_placed("start", steps)))
    if position == "EOF" and _ends_at_the_end(tree):
        return Necessity(tuple(_placed("end", steps)), _reach(tree))
    place: Place = "anywhere at end" if position == "EOF" else "anywhere at start"
    return Necessity(tuple(Containing(place, run.literal) for run in _runs(steps)))


def leading_bytes(tree: Any) -> list[tuple[int, ...]]:
    """Which bytes an expression, parsed, can begin with, place by place, as long as they are few."""
    found: list[tuple[int, ...]] = []
    for step in _steps(tree):
        if not isinstance(step, OneByte) or step.allowed.bit_count() > _FEW or len(found) == _LONGEST_KEY:
            break
        found.append(_members(step.allowed))
    return found


def _ends_at_the_end(tree: Any) -> bool:
    return len(tree) > 0 and tuple(tree[-1]) == (sre.AT, sre.AT_END_STRING)


def _reach(tree: Any) -> int | None:
    """Only an expression that looks at nothing before its own first byte may be searched for in a part of the bytes."""
    least_and_most: tuple[int, int] = tree.getwidth()
    plain = all(op is not sre.AT for op, _ in tree[:-1]) and _looks_forward(tree)
    return least_and_most[1] if plain and least_and_most[1] < (1 << 20) else None


def _looks_forward(tree: Any) -> bool:
    """True without anchors and look-behinds deeper inside, which could look at bytes that are left out."""
    for op, argument in tree:
        if op in (sre.ASSERT, sre.ASSERT_NOT) and argument[0] < 0:
            return False
        if not all(_looks_forward(part) and all(op is not sre.AT for op, _ in part) for part in _parts(op, argument)):
            return False
    return True


def _parts(op: Any, argument: Any) -> Iterator[Any]:
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        yield argument[2]
    elif op in (sre.ASSERT, sre.ASSERT_NOT):
        yield argument[1]
    elif op is sre.SUBPATTERN:
        yield argument[3]
    elif op is sre.ATOMIC_GROUP:
        yield argument
    elif op is sre.BRANCH:
        yield from argument[1]
    elif op is sre.GROUPREF_EXISTS:
        yield from (part for part in argument[1:] if part is not None)


def _steps(tree: Any) -> Iterator[Step]:
    for op, argument in tree:
        yield from _steps_of(op, argument)


def _steps_of(op: Any, argument: Any) -> Iterable[Step]:
    if op in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
        return (OneByte(_allowed(op, argument)),)
    if op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        return ()
    if op is sre.SUBPATTERN and not argument[1]:
        return _steps(argument[3])
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return _repeated(*argument)
    if op is sre.BRANCH:
        return _alternatives([tuple(_steps(part)) for part in argument[1]])
    return (Gap(0, None),)


def _allowed(op: Any, argument: Any) -> int:
    if op is sre.ANY:
        return ANY_BYTE
    if op is sre.IN:
        return _byte_set(argument)
    byte = 1 << int(argument)
    return byte if op is sre.LITERAL else ANY_BYTE & ~byte


def _byte_set(items: Any) -> int:
    allowed, negated = 0, False
    for op, argument in items:
        if op is sre.NEGATE:
            negated = True
        elif op is sre.LITERAL:
            allowed |= 1 << argument
        elif op is sre.RANGE:
            low, high = argument
            allowed |= (1 << (high + 1)) - (1 << low)
        else:
            return ANY_BYTE
    return ANY_BYTE & ~allowed if negated else allowed


def _width(steps: Iterable[Step]) -> tuple[int, int | None]:
    least, most = 0, 0
    unlimited = False
    for step in steps:
        low, high = (1, 1) if isinstance(step, OneByte) else (step.least, step.most)
        least += low
        unlimited = unlimited or high is None
        most += high or 0
    return least, None if unlimited else most


def _repeated(least: int, most: Any, tree: Any) -> Iterable[Step]:
    once = tuple(_steps(tree))
    low, high = _width(once)
    limit = None if high is None or int(most) >= _UNBOUNDED else high * int(most)
    if least == most and least * len(once) <= _LONGEST_EXPANSION:
        return once * least
    return (Gap(low * least, limit),)


def _alternatives(choices: list[tuple[Step, ...]]) -> Iterable[Step]:
    if len({len(choice) for choice in choices}) == 1:
        merged = []
        for steps in zip(*choices, strict=True):
            allowed = [step.allowed for step in steps if isinstance(step, OneByte)]
            if len(allowed) < len(steps):
                break
            merged.append(OneByte(_union(allowed)))
        else:
            return merged
    widths = [_width(choice) for choice in choices]
    limits = [most for _, most in widths if most is not None]
    return (Gap(min(least for least, _ in widths), max(limits) if len(limits) == len(widths) else None),)


def _union(sets: Iterable[int]) -> int:
    union = 0
    for allowed in sets:
        union |= allowed
    return union


def _keyed(steps: tuple[Step, ...]) -> Iterator[Keyed]:
    """The most selective short window with few possible values among the bytes at fixed offsets."""
    prefix: list[int] = []
    for step in steps:
        if isinstance(step, OneByte):
            prefix.append(step.allowed)
        elif step.least == step.most and step.least <= _LONGEST_EXPANSION:
            prefix.extend([ANY_BYTE] * step.least)
        else:
            break
        if len(prefix) > _LONGEST_EXPANSION:
            break
    best: tuple[float, int, int] | None = None
    for length in range(1, _LONGEST_KEY + 1):
        for offset in range(len(prefix) - length + 1):
            score = _selectivity(prefix[offset : offset + length])
            if score is not None and (best is None or score - _distance_price(offset) > best[0]):
                best = (score - _distance_price(offset), offset, length)
    if best is not None:
        _, offset, length = best
        choices = [_members(allowed) for allowed in prefix[offset : offset + length]]
        yield Keyed(offset, tuple(bytes(key) for key in itertools.product(*choices)))


def _distance_price(offset: int) -> int:
    """Few different windows are worth more than the last bit of selectivity: each costs a look-up for every file."""
    return 0 if offset == 0 else 4 if offset <= 8 else 6  # noqa: PLR2004  # measured on PRONOM v109


def _selectivity(window: list[int]) -> float | None:
    count, score = 1, 0.0
    for allowed in window:
        if allowed == ANY_BYTE:
            return None
        count *= allowed.bit_count()
        score += 2.0 if allowed & _FREQUENT else 8.0
    return score - (count - 1).bit_length() if count <= _MOST_KEYS else None


@cache
def _members(allowed: int) -> tuple[int, ...]:
    return tuple(byte for byte in range(256) if allowed >> byte & 1)


@cache
def _folded(allowed: int) -> int | None:
    """The one lower-case byte that these bytes amount to, or None if they are several."""
    folded = {byte + 32 if 65 <= byte <= 90 else byte for byte in _members(allowed)}  # noqa: PLR2004  # A to Z
    return folded.pop() if len(folded) == 1 else None


@dataclass(frozen=True, slots=True)
class _Run:
    """A literal that must occur, lower case; the least offset of its start and the greatest of its end, if any."""

    literal: bytes
    first_start: int
    last_end: int | None


def _runs(steps: Iterable[Step]) -> list[_Run]:
    """The literals of two bytes or more; a byte counts as literal if only its case is open."""
    runs: list[_Run] = []
    literal = bytearray()
    first_start = 0
    last_end: int | None = 0

    def close() -> None:
        nonlocal first_start
        if len(literal) > 1:
            runs.append(_Run(bytes(literal), first_start, last_end))
        first_start += len(literal)
        literal.clear()

    for step in steps:
        if isinstance(step, Gap):
            close()
            first_start += step.least
            last_end = None if last_end is None or step.most is None else last_end + step.most
            continue
        byte = _folded(step.allowed)
        if byte is None:
            close()
            first_start += 1
        else:
            literal.append(byte)
        last_end = None if last_end is None else last_end + 1
    close()
    return runs


def _placed(place: Literal["start", "end"], steps: tuple[Step, ...]) -> Iterator[Containing]:
    runs = _runs(steps if place == "start" else reversed(steps))
    for run in runs:
        literal = run.literal if place == "start" else run.literal[::-1]
        if run.last_end is not None:
            yield Containing(place, literal, run.last_end, run.first_start if place == "start" else 0)
        else:
            yield Containing("anywhere at start" if place == "start" else "anywhere at end", literal)
