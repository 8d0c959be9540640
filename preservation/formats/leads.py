r"""What must be found near a place for an expression to match that begins with a gap: a search in place of many tries.

`\A.{0,4096}X` is tried at each of 4,097 places by going back one by one; a search for X passes over them much more
quickly. As all conditions do, a lead only ever says "cannot match".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from re import _constants as sre  # type: ignore[attr-defined]  # the only way to Python's own parse of an expression
from re import _parser as sre_parser  # type: ignore[attr-defined]  # the same
from typing import Any

from preservation.formats.necessity import leading_bytes

_GAP = re.compile(rb"\(\?s\)\\A\.\{([0-9]+),([0-9]+)\}")
_WIDEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Lead:
    """A match of `expression` must begin in a content's bytes from `first` to `last`, and end before `end`."""

    first: int
    last: int
    end: int
    expression: bytes


def lead(expression: bytes) -> Iterator[Lead]:
    """The lead of an expression that is matched at the start, if it begins with a gap and more can be told.

    The whole of what follows the gap, if its width has a limit and it looks at nothing around it; else its first bytes.
    """
    gap = _GAP.match(expression)
    if gap is None:
        return
    first, last = int(gap[1]), int(gap[2])
    rest = b"(?s)" + expression[gap.end() :]
    try:
        tree, behind = sre_parser.parse(expression), sre_parser.parse(rest)
    except re.error:
        return
    if repr(list(tree)[2:]) != repr(list(behind)):
        return
    _, most = behind.getwidth()
    if most < _WIDEST and _is_plain(behind):
        yield Lead(first, last, last + most, rest)
        return
    begin = leading_bytes(behind)
    if begin:
        sets = b"".join(b"[%b]" % b"".join(rb"\x%02x" % byte for byte in members) for members in begin)
        yield Lead(first, last, last + len(begin), b"(?s)" + sets)


def _is_plain(tree: Any) -> bool:
    """Whether an expression consists of bytes, gaps and choices alone, so that it matches the same in any piece."""
    for op, argument in tree:
        if op in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            continue
        if op is sre.SUBPATTERN and not argument[1]:
            parts = [argument[3]]
        elif op is sre.MAX_REPEAT:
            parts = [argument[2]]
        elif op is sre.BRANCH:
            parts = argument[1]
        else:
            return False
        if not all(_is_plain(part) for part in parts):
            return False
    return True
