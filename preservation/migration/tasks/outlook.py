"""Outlook messages, read from their property streams.

Source: [MS-OXMSG] 2.1 (properties and substorages), [MS-OXPROPS] (their numbers). What cannot be said as an Internet
message (appointments, tasks, notes in rich text only, messages inside messages) is refused.
"""

import datetime as dt
import struct
from dataclasses import dataclass
from email.utils import format_datetime

import olefile

from preservation.migration.tasks import TaskRefusedError

_SUBJECT, _BODY, _HTML, _RTF = "0037", "1000", "1013", "1009"
_SENDER_NAME, _SENDER_SMTP, _SENDER = "0C1A", "5D01", "0C1F"
_NAME, _ADDRESS, _SMTP = "3001", "3003", "39FE"
_DATA, _FILE, _LONG_FILE, _MIME = "3701", "3704", "3707", "370E"
_MESSAGE_ID = "1035"
_CLASS = "001A"
_SENT, _CREATED = 0x0039, 0x3007
_TIME, _KIND, _CODEPAGE = 0x0040, 0x0C15, 0x3FFD
_INTERNET_CODEPAGE = 0x3FDE
_FIELDS = {0: "From", 1: "To", 2: "Cc", 3: "Bcc"}
_HEAD, _HEAD_INSIDE, _ENTRY = 32, 8, 16
_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_LONGEST = 256 << 20
_MOST = 5000


@dataclass(frozen=True, slots=True)
class Note:
    """What a message says: headers, both bodies, and attachments as (name, kind, content)."""

    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    attachments: tuple[tuple[str, str, bytes], ...]


def note_of(path: str) -> Note:
    """Read a message."""
    try:
        with olefile.OleFileIO(path) as document:
            return _read(document)
    except (OSError, ValueError, IndexError, struct.error, OverflowError) as error:
        raise TaskRefusedError("msg") from error


def _read(document: olefile.OleFileIO) -> Note:
    if not document.exists("__properties_version1.0"):
        raise TaskRefusedError("msg")
    fixed = _fixed(document, "", _HEAD)
    page = _page(fixed)
    kind = _text(document, "", _CLASS, page).upper()
    if not kind.startswith("IPM.NOTE"):
        raise TaskRefusedError("class")
    text = _text(document, "", _BODY, page)
    html = _html(document, fixed, page)
    if not text and not html and document.exists(f"__substg1.0_{_RTF}0102"):
        raise TaskRefusedError("rtf-only")
    headers = [("Subject", _text(document, "", _SUBJECT, page))]
    sender = _person(
        _text(document, "", _SENDER_NAME, page),
        _text(document, "", _SENDER_SMTP, page) or _text(document, "", _SENDER, page),
    )
    headers += [("From", sender)] if sender else []
    headers += _people(document, page)
    moment = next((fixed[one] for one in ((_SENT << 16) | _TIME, (_CREATED << 16) | _TIME) if one in fixed), None)
    if moment:
        headers.append(
            ("Date", format_datetime(_EPOCH + dt.timedelta(microseconds=struct.unpack("<Q", moment)[0] // 10)))
        )
    identity = _text(document, "", _MESSAGE_ID, page)
    headers += [("Message-ID", identity)] if identity else []
    return Note(tuple((name, value) for name, value in headers if value), text, html, _attachments(document, page))


def _person(name: str, address: str) -> str:
    """A person as in a header (RFC 5322 3.4); an address that is none, as of Exchange, is left out."""
    quoted = '"' + " ".join(name.split()).replace("\\", "").replace('"', "") + '"' if name else ""
    usable = "@" in address and address.isprintable() and not set(address) & set(' <>"')
    return f"{quoted} <{address}>".strip() if usable else quoted


def _people(document: olefile.OleFileIO, page: str) -> list[tuple[str, str]]:
    """Everybody to whom it was sent, in one header a kind."""
    found: dict[str, list[str]] = {}
    for place in _storages(document, "__recip_version1.0_"):
        fixed = _fixed(document, place, _HEAD_INSIDE)
        raw = fixed.get((_KIND << 16) | 0x0003, b"\x01")
        name = _FIELDS.get(raw[0] & 0x0F, "To")
        address = _text(document, place, _SMTP, page) or _text(document, place, _ADDRESS, page)
        found.setdefault(name, []).append(_person(_text(document, place, _NAME, page), address))
    return [(name, ", ".join(people)) for name, people in found.items()]


def _attachments(document: olefile.OleFileIO, page: str) -> tuple[tuple[str, str, bytes], ...]:
    found = []
    for place in _storages(document, "__attach_version1.0_"):
        if not document.exists(f"{place}/__substg1.0_{_DATA}0102"):
            raise TaskRefusedError("inside")  # a message or an object in place of a file
        content = _stream(document, f"{place}/__substg1.0_{_DATA}0102")
        name = _text(document, place, _LONG_FILE, page) or _text(document, place, _FILE, page)
        kind = _text(document, place, _MIME, page)
        found.append((" ".join(name.split()), kind if _is_kind(kind) else "application/octet-stream", content))
    return tuple(found)


def _is_kind(kind: str) -> bool:
    main, _, sub = kind.partition("/")
    simple = all(
        part.isascii() and part.replace("-", "").replace(".", "").replace("+", "").isalnum() for part in (main, sub)
    )
    return simple and main not in ("message", "multipart")


def _storages(document: olefile.OleFileIO, prefix: str) -> list[str]:
    names = sorted({entry[0] for entry in document.listdir(streams=True, storages=True) if entry[0].startswith(prefix)})
    if len(names) > _MOST:
        raise TaskRefusedError("many")
    return names


def _fixed(document: olefile.OleFileIO, place: str, head: int) -> dict[int, bytes]:
    """The properties whose value is in the stream itself: 8 bytes each."""
    content = _stream(document, f"{place}/__properties_version1.0".lstrip("/"))
    found = {}
    for at in range(head, len(content) - _ENTRY + 1, _ENTRY):
        (tag,) = struct.unpack_from("<I", content, at)
        found[tag] = content[at + 8 : at + 16]
    return found


def _page(fixed: dict[int, bytes]) -> str:
    raw = fixed.get((_CODEPAGE << 16) | 0x0003)
    return f"cp{struct.unpack_from('<I', raw)[0]}" if raw else "cp1252"


def _html(document: olefile.OleFileIO, fixed: dict[int, bytes], page: str) -> str:
    if not document.exists(f"__substg1.0_{_HTML}0102"):
        return _text(document, "", _HTML, page)
    raw = fixed.get((_INTERNET_CODEPAGE << 16) | 0x0003)
    number = struct.unpack_from("<I", raw)[0] if raw else 0
    charset = {65001: "utf-8", 0: page}.get(number, f"cp{number}")
    return _decoded(_stream(document, f"__substg1.0_{_HTML}0102"), charset).rstrip("\0")


def _text(document: olefile.OleFileIO, place: str, number: str, page: str) -> str:
    stem = f"{place}/__substg1.0_{number}".lstrip("/")
    if document.exists(f"{stem}001F"):
        return _stream(document, f"{stem}001F").decode("utf-16-le", "replace").rstrip("\0")
    return _decoded(_stream(document, f"{stem}001E"), page).rstrip("\0") if document.exists(f"{stem}001E") else ""


def _decoded(content: bytes, page: str) -> str:
    try:
        return content.decode(page, "replace")
    except LookupError:
        return content.decode("cp1252", "replace")


def _stream(document: olefile.OleFileIO, name: str) -> bytes:
    if document.get_size(name) > _LONGEST:
        raise TaskRefusedError("long")
    return bytes(document.openstream(name).read())
