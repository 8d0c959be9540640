"""The objects of a PDF (ISO 32000-1, 7.3 and 7.5) without the data of its streams, read within firm bounds.

A reader follows the file's table of places; this one takes all objects in the order in which they stand, where the last
of a number holds, as readers do with files whose table is broken. What cannot be read with certainty is an
`UnclearError`: nobody may take it for a thing that is not there.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

KEPT = 8 << 20
"""Bytes of objects that are kept at most: of more than that nothing is said."""

PATIENCE = 1 << 20
"""Bytes of a stream that are held until it is seen whether it ends where it says."""

MOST_STREAMS = 100_000
MOST_OBJECTS = 400_000
MOST_VALUES = 300_000
"""Values that are read of one file: less than a second."""

UNPACKED = 16 << 20
"""Bytes that the packed objects of one file may unpack to."""

_DEEPEST = 40
_SPACE = rb"[\0\t\n\f\r ]"
_STREAM = re.compile(rb">>" + _SPACE + rb"{0,8}stream(?:\r\n|\n|\r(?=[^\n]))")
_MARGIN = 24
"""Bytes that the end of a dictionary and ``stream`` take at most."""

_END = b"endstream"
_LENGTH = re.compile(
    rb"/Length" + _SPACE + rb"{1,8}([0-9]{1,12})(?!" + _SPACE + rb"{1,8}[0-9]{1,5}" + _SPACE + rb"{1,8}R|[0-9])"
)
_PACKED = b"/ObjStm"
_LONGEST_DICTIONARY = 4 << 10
"""Bytes before ``stream`` in which its length and kind are looked for."""

_OBJECT = re.compile(rb"(?<![0-9])([0-9]{1,10})" + _SPACE + rb"{1,8}[0-9]{1,5}" + _SPACE + rb"{1,8}obj(?![A-Za-z])")
_ROOT = re.compile(rb"/Root" + _SPACE + rb"{0,8}([0-9]{1,10})" + _SPACE + rb"{1,8}[0-9]{1,5}" + _SPACE + rb"{1,8}R")
_BLANK = re.compile(rb"(?:[\0\t\n\f\r ]++|%[^\r\n]*+)*+")
_REFERENCE = re.compile(_SPACE + rb"{1,8}[0-9]{1,5}" + _SPACE + rb"{1,8}R(?![^\0\t\n\f\r ()<>\[\]{}/%])")
_REGULAR = re.compile(rb"[^\0\t\n\f\r ()<>\[\]{}/%]++")
_IN_TEXT = re.compile(rb"[^()\\]*+(?:\\.[^()\\]*+)*+", re.DOTALL)
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")


class UnclearError(Exception):
    """What is there could not be read, or not within the bounds."""


class Reference(NamedTuple):
    """Names another object."""

    number: int


Value: TypeAlias = "dict[str, Value] | list[Value] | Reference | str | int | None"
"""A dictionary, array, reference, name, whole number or null; all else is an empty name, as nobody asks for it here."""


@dataclass(slots=True)
class ObjectScan:
    """Takes the bytes of a PDF in their order, in pieces of any size, and keeps its objects without their streams.

    The streams that hold packed objects are kept with their data.
    """

    _kept: bytearray = field(default_factory=bytearray)
    _rest: bytes = b""
    """Bytes of the pieces before that were not looked at yet."""
    _inside: bool = False
    _stated: int = 0
    """How long the stream says that it is, as far as it was not passed; 0 if that is not to be relied on."""
    _far: bool = False
    """Whether some of the stream was passed because of what it says."""
    _wanted: bool = False
    _streams: int = 0
    _too_much: bool = False

    def feed(self, piece: bytes | memoryview) -> None:
        """Take in the next bytes."""
        if not self._too_much:
            self._take(self._rest + piece, last=False)

    def _take(self, content: bytes, *, last: bool) -> None:
        place, more = 0, True
        while more and not self._too_much:
            if self._inside:
                place, more = self._through(content, place, last=last)
            else:
                place, more = self._up_to_stream(content, place)
        self._rest = content[place:]
        if self._too_much:
            self._kept, self._rest = bytearray(), b""

    def _up_to_stream(self, content: bytes, place: int) -> tuple[int, bool]:
        """Keep what stands before the next stream; return up to where, and whether that stream begins there."""
        found = _STREAM.search(content, place)
        end = found.end() if found is not None else max(place, len(content) - _MARGIN)
        self._keep(content[place:end])
        if found is None:
            return end, False
        before = bytes(self._kept[-_LONGEST_DICTIONARY:])
        before = before[before.rfind(b"obj") + 1 :]
        length = _LENGTH.search(before)
        self._inside, self._wanted, self._stated = True, _PACKED in before, int(length[1]) if length else 0
        self._streams += 1
        self._too_much |= self._streams > MOST_STREAMS
        return end, True

    def _through(self, content: bytes, place: int, *, last: bool) -> tuple[int, bool]:
        """Pass over a stream's data; return up to where, and whether it ends there.

        What a stream says of its length is believed if it ends there: data may have the word that ends streams in it.
        """
        if self._stated > PATIENCE:
            step = min(self._stated - PATIENCE, len(content) - place)
            self._stated -= step
            self._keep(content[place : place + step] if self._wanted else b"")
            self._far |= step > 0
            return place + step, step > 0 and place + step < len(content)
        if self._stated and len(content) - place < self._stated + _MARGIN and not last:
            return place, False
        end = content.find(_END, place + self._stated, place + self._stated + _MARGIN) if self._stated else -1
        if end < 0 and self._far:  # its length is wrong, and what came before is gone
            self._too_much = True
            return place, False
        if end < 0:
            self._stated = 0
            end = content.find(_END, place)
        passed = end if end >= 0 else max(place, len(content) - len(_END) + 1)
        self._keep(content[place:passed] if self._wanted else b"")
        self._inside = end < 0
        self._far &= self._inside
        return passed, end >= 0

    def _keep(self, part: bytes) -> None:
        self._kept += part
        self._too_much |= len(self._kept) > KEPT

    def found(self) -> bytes:
        """Return the objects as a PDF would have them, after the last piece; nothing if they are not all known."""
        if not self._too_much:
            self._take(self._rest, last=True)
        return b"" if self._inside else bytes(self._kept) + self._rest


def objects_in(content: bytes) -> bytes:
    """Return the same for a whole content."""
    scan = ObjectScan()
    scan.feed(content)
    return scan.found()


@dataclass(slots=True)
class Objects:
    """The objects of what a scan has kept, each read when it is asked for. Raises `UnclearError` beyond the bounds."""

    _content: bytes
    _places: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    _values: dict[int, Value] = field(default_factory=dict)
    _left: int = MOST_VALUES
    _room: int = UNPACKED

    def __post_init__(self) -> None:
        content = self._content
        packed = [found.start() for found in re.finditer(_PACKED, content)]
        packed.reverse()
        before: int | None = None
        for count, found in enumerate(_OBJECT.finditer(content)):
            if count > MOST_OBJECTS:
                raise UnclearError
            if before is not None and packed and packed[-1] < found.start():
                self._unpack(before)
            while packed and packed[-1] < found.start():
                packed.pop()
            before = found.end()
            self._places[int(found[1])] = content, before
        if before is not None and packed:
            self._unpack(before)

    def root(self) -> Value:
        """Return the catalog of the document: the one that was named last."""
        named = None
        for found in _ROOT.finditer(self._content):
            named = found
        if named is None:
            raise UnclearError
        return self.get(Reference(int(named[1])))

    def has(self, reference: Reference) -> bool:
        """Tell whether there is such an object."""
        return reference.number in self._places

    def get(self, value: Value) -> Value:
        """Return what a value is: that to which it refers, if it is a reference."""
        for _ in range(_DEEPEST):
            if not isinstance(value, Reference):
                return value
            value = self._numbered(value.number)
        raise UnclearError

    def _numbered(self, number: int) -> Value:
        if number not in self._values:
            if number not in self._places:
                raise UnclearError
            self._values[number] = self._read(*self._places[number], _DEEPEST)[0]
        return self._values[number]

    def _unpack(self, place: int) -> None:
        """Take the objects of a stream that begins here, if it is one that holds objects."""
        head, place = self._read(self._content, place, _DEEPEST)
        if not isinstance(head, Mapping) or head.get("Type") != "ObjStm":
            return
        count, first = head.get("N"), head.get("First")
        start = _STREAM.match(self._content, place - 2)
        if start is None or not isinstance(count, int) or not isinstance(first, int) or count > MOST_OBJECTS:
            raise UnclearError
        length = head.get("Length")
        end = self._content.find(_END, start.end() + (length if isinstance(length, int) else 0))
        data = self._inflated(head, self._content[start.end() : end if end >= 0 else len(self._content)])
        numbers = data[:first].split(maxsplit=2 * count)[: 2 * count]
        if len(numbers) != 2 * count or not all(one.isdigit() and len(one) <= len(str(KEPT << 8)) for one in numbers):
            raise UnclearError
        for number, offset in zip(numbers[::2], numbers[1::2], strict=True):
            self._places[int(number)] = data, first + int(offset)
            self._values.pop(int(number), None)

    def _inflated(self, head: Mapping[str, Value], data: bytes) -> bytes:
        filters, parameters = head.get("Filter"), head.get("DecodeParms")
        if filters in (None, []):
            return data
        if filters not in ("FlateDecode", ["FlateDecode"]) or parameters not in (None, [None], [], {}):
            raise UnclearError
        try:
            unpacked = zlib.decompressobj().decompress(data, self._room + 1)
        except zlib.error as error:
            raise UnclearError from error
        self._room -= len(unpacked)
        if self._room < 0:
            raise UnclearError
        return unpacked

    def _read(self, content: bytes, place: int, depth: int) -> tuple[Value, int]:
        """Read the value that begins here; return it and where it ends."""
        self._left -= 1
        if self._left < 0 or depth == 0:
            raise UnclearError
        place = _after_blanks(content, place)
        sign = content[place : place + 1]
        if content[place : place + 2] == b"<<":
            return self._dictionary(content, place + 2, depth - 1)
        if sign == b"[":
            return self._array(content, place + 1, depth - 1)
        if sign == b"/":
            return _name(content, place + 1)
        if sign == b"(":
            return "", _after_text(content, place + 1)
        if sign == b"<":
            end = content.find(b">", place)
            if end < 0:
                raise UnclearError
            return "", end + 1
        return _word(content, place)

    def _dictionary(self, content: bytes, place: int, depth: int) -> tuple[Value, int]:
        found: dict[str, Value] = {}
        while True:
            place = _after_blanks(content, place)
            if content[place : place + 2] == b">>":
                return found, place + 2
            if content[place : place + 1] != b"/":
                raise UnclearError
            name, place = _name(content, place + 1)
            found[name], place = self._read(content, place, depth)

    def _array(self, content: bytes, place: int, depth: int) -> tuple[Value, int]:
        found: list[Value] = []
        while True:
            place = _after_blanks(content, place)
            if content[place : place + 1] == b"]":
                return found, place + 1
            value, place = self._read(content, place, depth)
            found.append(value)


def _after_blanks(content: bytes, place: int) -> int:
    found = _BLANK.match(content, place)
    assert found is not None
    return found.end()


def _name(content: bytes, place: int) -> tuple[str, int]:
    found = _REGULAR.match(content, place)
    if found is None:
        return "", place
    name = found[0]
    if b"#" in name:
        name = _ESCAPED.sub(lambda code: bytes([int(code[1], 16)]), name)
    return name.decode("latin-1"), found.end()


def _word(content: bytes, place: int) -> tuple[Value, int]:
    """Read a number, a reference, or a word such as ``true``."""
    found = _REGULAR.match(content, place)
    if found is None:
        raise UnclearError
    if found[0].isdigit() and found.end() - place <= len(str(KEPT << 8)):
        more = _REFERENCE.match(content, found.end())
        return (Reference(int(found[0])), more.end()) if more is not None else (int(found[0]), found.end())
    return None if found[0] == b"null" else "", found.end()


def _after_text(content: bytes, place: int) -> int:
    """Return where a text in parentheses ends; pairs of them may stand inside."""
    depth = 1
    while depth:
        found = _IN_TEXT.match(content, place)
        assert found is not None
        place = found.end() + 1
        sign = content[place - 1 : place]
        if sign not in (b"(", b")"):
            raise UnclearError
        depth += 1 if sign == b"(" else -1
    return place


def each(value: Value) -> Iterator[Value]:
    """Yield the members of an array or the values of a dictionary; nothing of anything else."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
