"""What a PDF says of itself anywhere in its bytes: claims of PDF/A, PDF/UA and PDF/X, encryption, signatures, fonts.

Signatures of formats are sought at the two ends of a file, but programs write these claims wherever they like. The scan
looks for a few literals in all bytes, in one pass, and keeps what stands around them, and the objects without their
data; nothing is parsed or unpacked by it. A claim is what the file says, never what it is.
"""

import re
from dataclasses import dataclass, field

from preservation.formats import identification as words
from preservation.formats.pdf_fonts import fonts_of
from preservation.formats.pdf_objects import ObjectScan, objects_in

SCAN_LIMIT = 1 << 30
"""Bytes of a file that are scanned at most."""

_CLAIMS = (b"pdfaid:", b"pdfuaid:", b"GTS_PDFX")
_SIGNED = b"/ByteRange"
_SIGNED_WINDOW = 64
_BEFORE, _AFTER = 1 << 10, 8 << 10
_MOST_WINDOWS = 32

_PDF_A = re.compile(rb"pdfaid:part\s*(?:>|=\s*[\"'])\s*[1-9]")
_PDF_UA = re.compile(rb"pdfuaid:part\s*(?:>|=\s*[\"'])\s*[1-9]")
_ENCRYPTED = re.compile(rb"/Encrypt\s{0,8}(?:[0-9]{1,10}\s{1,8}[0-9]{1,5}\s{1,8}R|<<)")
_SIGNATURE = re.compile(rb"/ByteRange\s{0,8}\[")


def is_pdf(head: bytes) -> bool:
    """Whether a file with this beginning is for readers of PDF."""
    return head.find(words.PDF_MAGIC, 0, words.PDF_MAGIC_WITHIN) >= 0


@dataclass(slots=True)
class PdfScan:
    """Takes the bytes of a PDF in their order, in pieces of any size, and keeps what stands around the literals."""

    _windows: list[bytes] = field(default_factory=list)
    _open: dict[int, int] = field(default_factory=dict)
    """Windows whose last bytes have not come yet, and how many they are."""
    _next: dict[bytes, int] = field(default_factory=dict)
    """Where in the file each literal is sought again: behind its last window."""
    _signed: bool = False
    _kept: bytes = b""
    """The last bytes of the pieces before."""
    _scanned: int = 0
    _objects: ObjectScan | None = field(default_factory=ObjectScan)
    _beyond: bool = False

    def feed(self, piece: bytes | memoryview) -> None:
        """Take in the next bytes; what lies beyond `SCAN_LIMIT` is ignored."""
        if self._scanned >= SCAN_LIMIT:
            self._beyond = True
            return
        self._scanned += len(piece)
        if self._objects is not None:
            self._objects.feed(piece)
        for number, wanted in list(self._open.items()):
            more = bytes(piece[:wanted])
            self._windows[number] += more
            self._open[number] = wanted - len(more)
        self._open = {number: wanted for number, wanted in self._open.items() if wanted}
        content = self._kept + piece
        self._look(content, self._scanned - len(content))
        self._kept = content[-_BEFORE:]

    def _look(self, content: bytes, offset: int) -> None:
        """Look for literals in what is at hand, which begins at ``offset`` of the file, where none was found before."""
        if not self._signed:
            place = content.find(_SIGNED)
            self._signed = place >= 0
            if self._signed:
                self._keep(content, place, place + _SIGNED_WINDOW)
        for literal in _CLAIMS:
            place = content.find(literal, max(0, self._next.get(literal, 0) - offset))
            while place >= 0 and len(self._windows) < _MOST_WINDOWS:
                self._keep(content, max(0, place - _BEFORE), place + _AFTER)
                self._next[literal] = offset + place + _AFTER
                place = content.find(literal, place + _AFTER)

    def _keep(self, content: bytes, first: int, last: int) -> None:
        if last > len(content):
            self._open[len(self._windows)] = last - len(content)
        self._windows.append(content[first:last])

    def found(self) -> bytes:
        """What was kept, as one text; empty if nothing of interest was there."""
        return b"\n".join(self._windows)

    def objects(self) -> bytes:
        """Return the objects without their data; nothing if they are not all known."""
        return b"" if self._beyond or self._objects is None else self._objects.found()


def found_in(content: bytes) -> bytes:
    """The same for a whole content."""
    scan = PdfScan(_objects=None)
    scan.feed(content)
    return scan.found()


def facts(head: bytes, tail: bytes, more: bytes) -> list[str]:
    """What a PDF says of itself, in the words of identification; `more` is what a scan of all of it found."""
    said = (head, tail, more)
    facts = []
    for expression, literal, fact in (
        (_PDF_A, b"pdfaid:part", words.CLAIMS_PDF_A),
        (_PDF_UA, b"pdfuaid:part", words.CLAIMS_PDF_UA),
        (_ENCRYPTED, b"/Encrypt", words.ENCRYPTED),
        (_SIGNATURE, _SIGNED, words.SIGNED),
    ):
        if any(literal in part and expression.search(part) is not None for part in said):
            facts.append(fact)
    return facts


def font_facts(sample: words.Sample) -> list[str]:
    """What is known of a PDF's fonts, in the words of identification; nothing if all of them are in it."""
    whole = sample.whole if sample.whole is not None else sample.head if sample.size <= words.ENDS else None
    objects = objects_in(whole) if whole is not None else sample.objects
    told = fonts_of(objects) if objects else "unknown"
    return {"embedded": [], "not embedded": [words.FONTS_NOT_EMBEDDED], "unknown": [words.FONTS_UNKNOWN]}[told]
