"""Is a PDF/A-2b what it claims to be, as far as we can tell: claim, output intent, fonts, structure, nothing forbidden.

This is less than a validation by ISO 19005-2: what is not looked at is not claimed. A PUID of PDF/A only repeats what
the file says of itself.
"""

import re

from preservation.migration.conversion import Measure, Room, UnmeasuredError
from preservation.migration.pathways.running import told
from preservation.migration.worker import answer

CHECKS = ("structure", "pdfa", "fonts")
NEEDS = ("qpdf", "pdffonts")

_PART = re.compile(rb"pdfaid:part(?:>|\s*=\s*[\"'])\s*2\b")
_CONFORMANCE = re.compile(rb"pdfaid:conformance(?:>|\s*=\s*[\"'])\s*([ABU])\b")
_LONGEST = 4 << 20
_COLOURS = 3


def seen(path: str, room: Room) -> dict[str, object]:
    """What the objects of a PDF are, as `tasks.pdf.look` finds.

    Raises:
        UnmeasuredError: qpdf cannot read it.
    """
    listing = f"{path}.json"
    told(room, "qpdf", "--warning-exit-0", "--json=2", "--json-key=qpdf", path, listing)
    found = answer("pdf.look", (listing,), room)
    if found is None or "refused" in found:
        raise UnmeasuredError
    return found


def judged(path: str, room: Room) -> list[Measure]:
    """The measures of `CHECKS` for an output."""
    told(room, "qpdf", "--check", path)
    found = seen(path, room)
    return [Measure("structure", "", "sound", passed=True), _claim(path, found, room), _fonts(path, room)]


def _claim(path: str, found: dict[str, object], room: Room) -> Measure:
    metadata = str(found["metadata"])
    xmp = (
        told(room, "qpdf", f"--show-object={metadata}", "--filtered-stream-data", path)[:_LONGEST] if metadata else b""
    )
    level = _CONFORMANCE.search(xmp) if _PART.search(xmp) else None
    faults = [name for name in ("encrypted", "attachments") if found[name]]
    forbidden = found["forbidden"]
    assert isinstance(forbidden, list)
    faults += [str(name).strip("/") for name in forbidden]
    if level is None:
        faults.append("no-claim")
    if found["intents"] != [_COLOURS]:
        faults.append("no-output-intent")
    said = f"2{level[1].decode().lower()}" if level else "none"
    return Measure("pdfa", "", " ".join((said, *faults)), not faults)


def _fonts(path: str, room: Room) -> Measure:
    """Every font is in the file; the fourth column from the right of those that follow the type says so."""
    lines = told(room, "pdffonts", path).decode("utf-8", "replace").splitlines()[2:]
    columns = [line.split() for line in lines if line.strip()]
    if any(len(one) < 7 for one in columns):  # noqa: PLR2004 - name, type, encoding, emb, sub, uni, object number and generation
        raise UnmeasuredError
    embedded = sum(one[-5] == "yes" for one in columns)
    return Measure("fonts", "", f"{embedded} of {len(columns)} embedded", embedded == len(columns))
