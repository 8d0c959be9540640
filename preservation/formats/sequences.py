"""PRONOM's notation for byte sequences, as the signature files of The National Archives use it, as expressions.

Notation: hexadecimal bytes, 'text', [a:b] or [a-b] ranges (of several bytes, too, compared from left to right), [a b]
choices, [!a] anything else, [&a] all of these bits, [~a] any of these bits, ?? one byte, {n} {n-m} {n-*} so many bytes,
* any number, (a|b) alternatives.
"""

import re
import xml.etree.ElementTree as ET
from functools import cache

from preservation.formats.index import Pattern, Position
from preservation.formats.necessity import necessity
from storage_backends.errors import Phrase

_TOKEN = re.compile(
    r"\s+|(?P<text>'[^']*')|(?P<hex>[0-9A-Fa-f]{2})|(?P<one>\?\?)|(?P<any>\*)|(?P<punctuation>[(|)])"
    r"|\{(?P<least>\d+)(?:-(?P<most>\d+|\*))?\}|\[(?P<set>[^\]]*)\]"
)
_MEMBER = re.compile(r"\s*(?:'(?P<text>[^']*)'|(?P<hex>(?:[0-9A-Fa-f]{2})+)|(?P<range>[:-]))")


LARGEST_BYTE = 0xFF


class BadSequenceError(ValueError):
    """A signature file uses a notation that is not known here."""


def byte_sequence(element: ET.Element) -> Pattern:
    """Read a ByteSequence element; offsets count from the end of the sub-sequence before.

    Raises:
        BadSequenceError: the notation is not known.
    """
    position, expression = _positioned(element)
    try:
        return Pattern(position, expression, necessity(position, expression))
    except (re.error, OverflowError, RecursionError) as error:
        raise BadSequenceError(Phrase("not an expression: {reason}", reason=str(error))) from error


def _positioned(element: ET.Element) -> tuple[Position, bytes]:
    reference = element.get("Reference", "Variable")
    parts = sorted(element.findall("SubSequence"), key=lambda part: int(part.get("Position", "1")))
    if not parts:
        raise BadSequenceError(Phrase("a sequence without parts"))
    if reference == "EOFoffset":
        return "EOF", b"(?s)" + b"".join(_sub_sequence(part) + _offset(part) for part in parts) + rb"\Z"
    if reference == "BOFoffset":
        return "BOF", rb"(?s)\A" + b"".join(_offset(part) + _sub_sequence(part) for part in parts)
    if reference != "Variable":
        raise BadSequenceError(Phrase("unknown reference {reference}", reference=reference[:80]))
    least = [_gap(part.get("SubSeqMinOffset"), None) if number else b"" for number, part in enumerate(parts)]
    return "VAR", b"(?s)" + b"".join(gap + _sub_sequence(part) for gap, part in zip(least, parts, strict=True))


def _offset(part: ET.Element) -> bytes:
    return _gap(part.get("SubSeqMinOffset"), part.get("SubSeqMaxOffset"))


def _gap(least: str | None, most: str | None) -> bytes:
    """A greatest offset below the least one stands in the file for an exact offset; none at all, for any offset."""
    low = int(least or 0)
    if not most:
        return b".{%d,}" % low if low else b".*"
    high = max(low, int(most))
    if low == high:
        return b".{%d}" % low if low else b""
    return b".{%d,%d}" % (low, high)


def _sub_sequence(part: ET.Element) -> bytes:
    lefts = [_fragment(part, "LeftFragment", position) for position in _positions(part, "LeftFragment")]
    rights = [_fragment(part, "RightFragment", position) for position in _positions(part, "RightFragment")]
    return b"".join((*reversed(lefts), expression_of(part.findtext("Sequence", "")), *rights))


def _positions(part: ET.Element, tag: str) -> list[str]:
    return sorted({fragment.get("Position", "1") for fragment in part.findall(tag)}, key=int)


def _fragment(part: ET.Element, tag: str, position: str) -> bytes:
    """Fragments with the same position are alternatives; a left one stands before its gap, a right one behind it."""
    choices = []
    for fragment in part.findall(tag):
        if fragment.get("Position", "1") == position:
            gap = _gap(fragment.get("MinOffset"), fragment.get("MaxOffset"))
            expression = expression_of(fragment.text or "")
            choices.append(expression + gap if tag == "LeftFragment" else gap + expression)
    return b"(?:" + b"|".join(choices) + b")"


@cache
def expression_of(notation: str) -> bytes:
    """The expression (with `.` for any byte) that this notation means.

    Raises:
        BadSequenceError: the notation is not known.
    """
    expression = bytearray()
    place = 0
    while place < len(notation):
        token = _TOKEN.match(notation, place)
        if token is None:
            raise BadSequenceError(Phrase("unknown notation at {notation!r}", notation=notation[place : place + 20]))
        expression += _token(token)
        place = token.end()
    return bytes(expression)


def _token(token: re.Match[str]) -> bytes:
    kind = token.lastgroup
    if kind == "text":
        return _escaped(token["text"][1:-1].encode("latin-1"))
    if kind == "hex":
        return _escaped(bytes.fromhex(token["hex"]))
    if kind == "set":
        return _choice(token["set"].strip())
    if kind == "punctuation":
        return b"(?:" if token[0] == "(" else token[0].encode()
    if kind in ("least", "most"):
        least, most = token["least"], token["most"]
        return f".{{{least},{'' if most == '*' else most or least}}}".encode()
    return {"one": b".", "any": b".*"}.get(kind or "", b"")


def _choice(body: str) -> bytes:
    negated = body.startswith("!")
    body = body.removeprefix("!")
    if body[:1] in ("&", "~"):
        mask = int(body[1:], 16)
        enough = mask if body[0] == "&" else 1
        return _one_of([byte for byte in range(256) if byte & mask >= enough], negated)
    members: list[bytes] = []
    ranged = False
    place = 0
    while body[place:].strip():
        member = _MEMBER.match(body, place)
        if member is None:
            raise BadSequenceError(Phrase("unknown notation [{notation}]", notation=body[:80]))
        place = member.end()
        if member["range"]:
            ranged = True
        else:
            members.append(bytes.fromhex(member["hex"]) if member["hex"] else member["text"].encode("latin-1"))
    width = len(members[0]) if members else 0
    if ranged and len(members) == 2 and len(members[1]) == width > 1:  # noqa: PLR2004  # from, to
        return _wide(members[0], members[1], negated)
    if negated and len(members) == 1 and width > 1:
        return b"(?:(?!%b).{%d})" % (_escaped(members[0]), width)
    if any(len(member) != 1 for member in members) or (ranged and len(members) != 2):  # noqa: PLR2004  # from, to
        raise BadSequenceError(Phrase("not a choice of single bytes [{notation}]", notation=body[:80]))
    values = [member[0] for member in members]
    return _one_of(list(range(values[0], values[1] + 1)) if ranged else values, negated)


def _one_of(values: list[int], negated: bool) -> bytes:  # noqa: FBT001  # private, and always by position
    if not values:
        raise BadSequenceError(Phrase("a choice of nothing"))
    return (b"[^" if negated else b"[") + b"".join(rb"\x%02x" % value for value in values) + b"]"


def _wide(low: bytes, high: bytes, negated: bool) -> bytes:  # noqa: FBT001  # private, and always by position
    """A range of several bytes; FIDO's own converter gives such signatures up (three Windows programs among them)."""
    at_least, at_most = [_escaped(low)], [_escaped(high)]
    for place in range(len(low)):
        rest = b".{%d}" % (len(low) - place - 1)
        if low[place] < LARGEST_BYTE:
            at_least.append(_escaped(low[:place]) + rb"[\x%02x-\xff]" % (low[place] + 1) + rest)
        if high[place] > 0:
            at_most.append(_escaped(high[:place]) + rb"[\x00-\x%02x]" % (high[place] - 1) + rest)
    within = b"(?=%b)(?:%b)" % (b"|".join(at_least), b"|".join(at_most))
    return b"(?:(?!%b).{%d})" % (within, len(low)) if negated else b"(?:%b)" % within


def _escaped(content: bytes) -> bytes:
    """The bytes as an expression in ASCII, so that it can stand in FIDO's own files."""
    return b"".join(
        bytes((byte,)) if chr(byte).isascii() and chr(byte).isalnum() else rb"\x%02x" % byte for byte in content
    )
