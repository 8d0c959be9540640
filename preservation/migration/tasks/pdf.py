"""What a PDF says of itself, from qpdf's JSON; its words; and two renderings of it compared."""

import json
import operator
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping

from preservation.migration.tasks import TaskRefusedError

_FORBIDDEN = ("/JavaScript", "/Launch", "/Sound", "/Movie", "/ImportData", "/ResetForm", "/Rendition", "/3D", "/XFA")
"""Actions and things that ISO 19005-2 (6.5.1, 6.4, 6.3) does not allow."""

_DEEP = 60
_STRONG = 40
_WHITE = 235
_TILE = 16
_LONGEST = 64 << 20


def look(path: str) -> dict[str, object]:
    """Count and find, in the objects as qpdf lists them, what our checks need."""
    with open(path, "rb") as file:
        listing = json.load(file)["qpdf"]
    objects: Mapping[str, object] = listing[1]
    trailer = _dict(_value(objects.get("trailer")))
    catalog = _follow(objects, trailer.get("/Root"))
    intents = _follow_list(objects, catalog.get("/OutputIntents"))
    profiles = [_follow(objects, one.get("/DestOutputProfile")) for one in intents if one.get("/S") == "/GTS_PDFA1"]
    found: Counter[str] = Counter()
    for entry in objects.values():
        for one in _dicts(_value(entry), 0):
            _count(one, found)
    metadata = str(catalog.get("/Metadata", ""))
    return {
        "metadata": metadata.split(maxsplit=1)[0] if re.fullmatch(r"\d+ 0 R", metadata) else "",
        "intents": [one.get("/N") if isinstance(one.get("/N"), int) else 0 for one in profiles],
        "encrypted": "/Encrypt" in trailer,
        "signed": found["signed"],
        "attachments": found["attachments"],
        "links": found["links"],
        "marks": found["marks"],
        "forbidden": sorted(name for name in found if name.startswith("/")),
    }


def _count(one: Mapping[str, object], found: Counter[str]) -> None:
    kind, subtype = one.get("/Type"), one.get("/Subtype")
    if "/ByteRange" in one or kind == "/Sig":
        found["signed"] += 1
    if kind in ("/Filespec", "/F") and "/EF" in one:
        found["attachments"] += 1
    if subtype == "/Link":
        found["links"] += 1
    elif kind == "/Annot" and subtype not in ("/Widget", "/Popup"):
        found["marks"] += 1
    for name in _FORBIDDEN:
        if one.get("/S") == name or subtype == name or (name in one and name in ("/JavaScript", "/XFA")):
            found[name] += 1
    filters = one.get("/Filter")
    if filters == "/LZWDecode" or (isinstance(filters, list) and "/LZWDecode" in filters):
        found["/LZWDecode"] += 1


def _value(entry: object) -> object:
    """The value of an object, or the dictionary of a stream."""
    if not isinstance(entry, Mapping):
        return None
    stream = entry.get("stream")
    return stream.get("dict") if isinstance(stream, Mapping) else entry.get("value")


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _follow(objects: Mapping[str, object], reference: object) -> Mapping[str, object]:
    return _dict(reference) or _dict(_value(objects.get(f"obj:{reference}")))


def _follow_list(objects: Mapping[str, object], reference: object) -> list[Mapping[str, object]]:
    entries = reference if isinstance(reference, list) else _value(objects.get(f"obj:{reference}"))
    return [_follow(objects, one) for one in entries] if isinstance(entries, list) else []


def _dicts(value: object, depth: int) -> Iterator[Mapping[str, object]]:
    if depth > _DEEP:
        raise TaskRefusedError("deep")
    if isinstance(value, Mapping):
        yield value
        for one in value.values():
            yield from _dicts(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _dicts(one, depth + 1)


def letters(first: str, second: str) -> dict[str, object]:
    """Two texts of pages as pdftotext writes them: on how many pages the letters differ, and how many there are."""
    one, other = _pages(first), _pages(second)
    unlike = sum(Counter(ours) != Counter(theirs) for ours, theirs in zip(one, other, strict=False))
    return {
        "pages": [len(one), len(other)],
        "letters": [sum(map(len, one)), sum(map(len, other))],
        "unlike": unlike + abs(len(one) - len(other)),
    }


def _pages(path: str) -> list[str]:
    return ["".join(unicodedata.normalize("NFKC", page).split()) for page in text_of(path).split("\f")[:-1]]


def text_of(path: str) -> str:
    """The text of a file in UTF-8 that is not longer than we look."""
    with open(path, "rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise TaskRefusedError("long")
    return content.decode("utf-8", "replace")


def renderings(first: str, second: str) -> dict[str, object]:
    """Two folders of grey pictures of pages: the worst page's share of ink that differs, and its worst spot's.

    A pixel differs if it is lighter or darker by more than 40 of 255 steps. What is ink in either picture is compared;
    a spot is a square of 16 pixels.
    """
    names = sorted(os.listdir(first)), sorted(os.listdir(second))
    worst = spot = 0.0
    for one, other in zip(*names, strict=False):
        ink, place = _unlike(os.path.join(first, one), os.path.join(second, other))
        worst, spot = max(worst, ink), max(spot, place)
    return {"pages": [len(names[0]), len(names[1])], "ink": round(worst, 4), "spot": round(spot, 4)}


def _unlike(first: str, second: str) -> tuple[float, float]:
    (width, height, ours), (other_width, other_height, theirs) = _picture(first), _picture(second)
    if (width, height) != (other_width, other_height):
        return 1.0, 1.0
    if ours == theirs:
        return 0.0, 0.0
    steps = bytes(map(abs, map(operator.sub, ours, theirs)))
    strong = steps.translate(bytes(int(step > _STRONG) for step in range(256)))
    darkest = bytes(map(min, ours, theirs))
    ink = darkest.translate(bytes(int(grey < _WHITE) for grey in range(256))).count(1)
    spot = 0
    for top in range(0, height, _TILE):
        rows = [strong[row * width : (row + 1) * width] for row in range(top, min(top + _TILE, height))]
        for left in range(0, width, _TILE):
            spot = max(spot, sum(row.count(1, left, left + _TILE) for row in rows))
    return strong.count(1) / max(ink, 1), spot / _TILE**2


def _picture(path: str) -> tuple[int, int, bytes]:
    """A portable grey map (PGM, P5) with one byte a pixel."""
    with open(path, "rb") as file:
        head = re.match(rb"P5\s+(\d{1,6})\s+(\d{1,6})\s+255\s", file.read(64))
        if not head:
            raise TaskRefusedError("picture")
        width, height = int(head[1]), int(head[2])
        file.seek(head.end())
        pixels = file.read(width * height)
    if len(pixels) != width * height:
        raise TaskRefusedError("picture")
    return width, height, pixels
