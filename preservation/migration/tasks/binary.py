"""The text of binary Word and PowerPoint files, from their own records.

Sources: [MS-DOC] 2.4.1 (retrieving text), 2.5 (the FIB); [MS-PPT] 2.1.2 (reading the persist object directory).
"""

import io
import re
import struct
from collections.abc import Iterator

import olefile

from preservation.migration.tasks import TaskRefusedError

LONGEST = 512 << 20
"""Bytes of one stream."""

MADE = re.compile(
    r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES|PAGEREF|DATE|TIME|SAVEDATE|PRINTDATE|CREATEDATE|FILENAME)\b", re.IGNORECASE
)
"""Fields whose result is made anew when a document is laid out."""

_WORD_97, _WORD_6 = 0xA5EC, (0xA5DC, 0xA697)
_ENCRYPTED, _TABLE_1, _COMPLEX = 0x0100, 0x0200, 0x0004
_COMPRESSED = 0x40000000
_BEGIN, _SEPARATE, _END = "\x13", "\x14", "\x15"
_DOCUMENT, _SLIDE, _LIST, _PERSIST = 1000, 1006, 4080, 1011
_CHARS, _BYTES, _EDIT, _DIRECTORY, _SLIDE_SHOW = 4000, 4008, 4085, 6002, 1017
_HIDDEN, _CONTAINER = 0x04, 0x0F
_MOST = 100_000


def stream_of(path: str, *names: str) -> bytes:
    """The first of these streams that is there."""
    try:
        with olefile.OleFileIO(path) as document:
            for name in names:
                if document.exists(name) and document.get_size(name) <= LONGEST:
                    return bytes(document.openstream(name).read())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise TaskRefusedError("ole") from error
    raise TaskRefusedError("stream")


def doc_text(path: str) -> str:
    """The text of a Word document, without instructions of fields and results that are made anew."""
    main = stream_of(path, "WordDocument")
    try:
        ident, flags = struct.unpack_from("<H8xH", main)
        if flags & _ENCRYPTED:
            raise TaskRefusedError("encrypted")
        if ident in _WORD_6:
            return "".join(_shown(_older(main, flags)))
        if ident != _WORD_97:
            raise TaskRefusedError("word")
        table = stream_of(path, "1Table" if flags & _TABLE_1 else "0Table")
        return "".join(_shown("".join(_pieces(main, table))))
    except struct.error as error:
        raise TaskRefusedError("word") from error


def _older(main: bytes, flags: int) -> str:
    if flags & _COMPLEX:
        raise TaskRefusedError("complex")
    first, last = struct.unpack_from("<II", main, 0x18)
    return main[first:last].decode("cp1252", "replace")


def _pieces(main: bytes, table: bytes) -> Iterator[str]:
    place, length = struct.unpack_from("<II", main, 0x01A2)
    written, notes = struct.unpack_from("<II", main, 0x4C)
    pieces = table[place : place + length]
    at = 0
    while pieces[at : at + 1] == b"\x01":
        at += 3 + struct.unpack_from("<H", pieces, at + 1)[0]
    if pieces[at : at + 1] != b"\x02":
        raise TaskRefusedError("pieces")
    count = (struct.unpack_from("<I", pieces, at + 1)[0] - 4) // 12
    at += 5
    if count > len(pieces) // 12:
        raise TaskRefusedError("pieces")
    bounds = struct.unpack_from(f"<{count + 1}I", pieces, at)
    for number in range(count):
        (where,) = struct.unpack_from("<I", pieces, at + 4 * (count + 1) + 8 * number + 2)
        letters = min(bounds[number + 1], written + notes) - bounds[number]
        if letters <= 0:
            continue
        if where & _COMPRESSED:
            start = (where & ~_COMPRESSED) // 2
            yield main[start : start + letters].decode("cp1252", "replace")
        else:
            yield main[where : where + 2 * letters].decode("utf-16-le", "replace")


def _shown(text: str) -> Iterator[str]:
    """The text without instructions of fields."""
    fields: list[list[str]] = []
    running: list[bool] = []
    for letter in text:
        if letter == _BEGIN:
            fields.append([])
            running.append(False)
        elif letter == _SEPARATE and fields:
            running[-1] = True
        elif letter == _END and fields:
            fields.pop()
            running.pop()
        elif fields and not running[-1]:
            fields[-1].append(letter)
        elif not any(MADE.match("".join(said[:20])) for said in fields):
            yield max(letter, " ")


def ppt_slides(path: str) -> list[tuple[bool, str]]:
    """Each slide of a presentation in order: is it shown, and its text."""
    stream = stream_of(path, "PowerPoint Document")
    try:
        places, document = _directory(stream, stream_of(path, "Current User"))
        slides = []
        for kind, instance, body in _records(_body(stream, places.get(document, 0), _DOCUMENT)):
            if kind == _LIST and instance == 0:
                slides += list(_listed(stream, body, places))
        return slides
    except struct.error as error:
        raise TaskRefusedError("ppt") from error


def _listed(stream: bytes, body: bytes, places: dict[int, int]) -> Iterator[tuple[bool, str]]:
    """The slides of the list; text of placeholders stands in the list, other text in the slide itself."""
    identity: int | None = None
    said: list[str] = []
    for kind, _, inner in _records(body):
        if kind == _PERSIST:
            if identity is not None:
                yield _slide(stream, places.get(identity, 0), said)
            identity, said = struct.unpack_from("<I", inner)[0], []
        else:
            said += _said(kind, inner)
    if identity is not None:
        yield _slide(stream, places.get(identity, 0), said)


def _slide(stream: bytes, place: int, said: list[str]) -> tuple[bool, str]:
    body = _body(stream, place, _SLIDE)
    shown = not any(
        inner[10:11] > b"" and inner[10] & _HIDDEN for kind, _, inner in _records(body) if kind == _SLIDE_SHOW
    )
    return shown, "\n".join([*said, *_texts(body, 0)])


def _texts(body: bytes, depth: int) -> Iterator[str]:
    if depth > 40:  # noqa: PLR2004 - deeper than any writer goes
        raise TaskRefusedError("deep")
    for kind, instance, inner in _records(body):
        if instance < 0:
            yield from _texts(inner, depth + 1)
        else:
            yield from _said(kind, inner)


def _said(kind: int, inner: bytes) -> list[str]:
    if kind == _CHARS:
        return [inner.decode("utf-16-le", "replace")]
    return [inner.decode("latin-1")] if kind == _BYTES else []


def _records(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, instance (less than zero for a container that is not a list) and content of each record."""
    stream = io.BytesIO(body)
    for _ in range(_MOST):
        head = stream.read(8)
        if len(head) < 8:  # noqa: PLR2004 - a record's header
            return
        bits, kind, length = struct.unpack("<HHI", head)
        is_container = bits & _CONTAINER == _CONTAINER
        yield kind, (bits >> 4 if kind == _LIST else -1) if is_container else bits >> 4, stream.read(length)


def _body(stream: bytes, place: int, wanted: int) -> bytes:
    _, kind, length = struct.unpack_from("<HHI", stream, place)
    if kind != wanted:
        raise TaskRefusedError("ppt")
    return stream[place + 8 : place + 8 + length]


def _directory(stream: bytes, user: bytes) -> tuple[dict[int, int], int]:
    """Where each object lies now (the newest edit counts), and which one is the document."""
    (edit,) = struct.unpack_from("<I", user, 16)
    places: dict[int, int] = {}
    document = 0
    seen: set[int] = set()
    while edit and edit not in seen:
        seen.add(edit)
        body = _body(stream, edit, _EDIT)
        previous, listing, root = struct.unpack_from("<III", body, 8)
        document = document or root
        entries = _body(stream, listing, _DIRECTORY)
        at = 0
        while at + 4 <= len(entries):
            (head,) = struct.unpack_from("<I", entries, at)
            first, count = head & 0xFFFFF, head >> 20
            for number, offset in enumerate(struct.unpack_from(f"<{count}I", entries, at + 4)):
                places.setdefault(first + number, offset)
            at += 4 + 4 * count
        edit = previous
    return places, document
