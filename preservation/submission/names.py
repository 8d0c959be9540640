"""Which names are refused, which are worth a warning, and which two look alike."""

import re
import unicodedata

from preservation.submission.errors import ControlCharacterError, EscapingPathError, NameTooLongError, shown
from storage_backends.errors import Phrase

LONGEST_NAME = 255
"""Bytes; what the usual Linux file systems take (NAME_MAX)."""

_PLAIN = re.compile(r"[ -~]+").fullmatch
_CONTROL_BYTES = re.compile(rb"[\x00-\x1f\x7f]").search
_C1 = re.compile("[\x80-\x9f]").search
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]").search
_DRIVE = re.compile(rb"[A-Za-z]:").match
_PERCENT = re.compile(rb"%(0[Aa]|0[Dd]|25)")


def is_plain(text: str) -> bool:
    """Tell whether a name is printable ASCII, and so needs no closer look."""
    return _PLAIN(text) is not None


def check_name(name: bytes, path: bytes) -> str:
    """Refuse a name with control characters (C0, DEL, and C1 where it is UTF-8); return the code of a warning or ""."""
    if _CONTROL_BYTES(name):
        raise ControlCharacterError(path=shown(path))
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return "not-utf-8"
    if _C1(text):
        raise ControlCharacterError(path=shown(path))
    return "bidi" if _BIDI(text) else ""


REMARKS = {
    "not-utf-8": Phrase("the name is not UTF-8; it is kept as its raw bytes"),
    "bidi": Phrase("the name holds characters that change the direction of writing; it may look like another name"),
    "twins": Phrase("two names differ only by case or by Unicode normalisation; both are kept"),
}


def folded(name: bytes) -> bytes:
    """Return a form in which names that differ only by case or by NFC/NFD are equal."""
    if name.isascii():
        return name.lower()
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return name
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).encode("utf-8")


def unspelled(path: bytes) -> bytes:
    """Return a form in which paths are equal that differ by NFC/NFD or by the percent-encoding that BagIt 1.0 asks for.

    Most software gets that encoding wrong (bagit-python issue 157), so both spellings are met in bags of all versions.
    """
    decoded = percent_decoded(path)
    if decoded.isascii():
        return decoded
    try:
        return unicodedata.normalize("NFC", decoded.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return decoded


def percent_decoded(path: bytes) -> bytes:
    """Decode the encoded CR, LF and percent sign, and only those (RFC 8493, 2.1.3)."""
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), path) if b"%" in path else path


def checked_path(raw: bytes, *, longest: int, backslash: bool = False) -> bytes:
    """Return a relative path of an archive or a list without leading ``./``; refuse whatever could lead elsewhere.

    Refused are absolute paths, ``..``, empty and ``.`` components, drives, control characters, and, unless
    ``backslash``, a backslash anywhere (a separator on Windows, and the start of UNC paths).
    """
    path = raw
    while path.startswith(b"./"):
        path = path[2:].lstrip(b"/")
    name = shown(raw[:1_000])
    if len(path) > longest:
        raise NameTooLongError(path=name, size=len(path), limit=longest)
    if raw.startswith(b"/"):
        raise EscapingPathError(path=name, reason="it is absolute")
    if _DRIVE(path):
        raise EscapingPathError(path=name, reason="it names a drive")
    if raw.startswith(b"\\\\") or (b"\\" in path and not backslash):
        raise EscapingPathError(path=name, reason="it holds a backslash")
    for part in path.split(b"/"):
        if part in {b"", b".", b".."}:
            raise EscapingPathError(path=name, reason=Phrase("it has the component {part!r}", part=part.decode()))
        if len(part) > LONGEST_NAME:
            raise NameTooLongError(path=name, size=len(part), limit=LONGEST_NAME)
    check_name(path, raw)
    return path
