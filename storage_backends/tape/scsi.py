"""SCSI commands to tape drives and changers, as bytes: built, and their answers understood, whatever carries them.

Sources: SCSI Primary Commands (SPC-4: INQUIRY, MODE SENSE, sense data), SCSI Stream Commands (SSC-4: tapes) and SCSI
Media Changer Commands (SMC-3), of INCITS T10. No function here does anything: iSCSI and SG_IO send what is built here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from storage_backends.errors import Phrase, StorageError
from storage_backends.tape.drive import (
    DriveBusyError,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumChangedError,
    MediumError,
    NotReadyError,
    TapeError,
    UnsupportedError,
    WriteProtectedError,
)

GOOD, CHECK_CONDITION, BUSY, RESERVATION_CONFLICT = 0x00, 0x02, 0x08, 0x18
"""Status bytes (SAM-5, 5.3.1)."""

LONGEST_ANSWER = 1 << 16
"""Bytes that are asked for where the answer says itself how long it is."""

_THREE_BYTES = 1 << 24


class Key(IntEnum):
    """Sense keys (SPC-4, table 54)."""

    NO_SENSE = 0
    RECOVERED = 1
    NOT_READY = 2
    MEDIUM_ERROR = 3
    HARDWARE_ERROR = 4
    ILLEGAL_REQUEST = 5
    UNIT_ATTENTION = 6
    DATA_PROTECT = 7
    BLANK_CHECK = 8
    VENDOR_SPECIFIC = 9
    COPY_ABORTED = 10
    ABORTED = 11
    RESERVED = 12
    VOLUME_OVERFLOW = 13
    MISCOMPARE = 14
    COMPLETED = 15


NO_MORE_DATA = (0x00, 0x05)
"""End of data detected: some drives say it with a blank check, some without."""
END_OF_MEDIUM = (0x00, 0x02)
"""What is said of a read at the very end of the tape."""
BECOMING_READY = (0x04, 0x01)
SOURCE_EMPTY = (0x3B, 0x0E)
DESTINATION_FULL = (0x3B, 0x0D)


@dataclass(frozen=True, slots=True)
class Sense:
    """Why a command ended with CHECK CONDITION. ``information`` is signed; for a wrong length, asked minus found."""

    key: Key
    code: tuple[int, int]
    """Additional sense code and its qualifier."""
    filemark: bool = False
    end: bool = False
    """EOM: at or behind early warning, or at the beginning."""
    wrong_length: bool = False
    """ILI: the record is not as long as was asked for."""
    information: int | None = None
    deferred: bool = False
    """It is of an earlier command; this one was not carried out."""

    def __str__(self) -> str:
        name = self.key.name.replace("_", " ").lower()
        code = f"{self.key:X}/{self.code[0]:02X}/{self.code[1]:02X}"
        return Phrase("{reason}, {code}", reason=name, code=code)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``data`` is only what was really sent; ``sense`` is None unless the status is CHECK CONDITION."""

    status: int
    sense: Sense | None = None
    data: bytes = b""
    residual: int = 0
    """Bytes of those asked for that did not come."""


class Transport(Protocol):
    """Carries commands to one logical unit. Whatever is lost on the way is a ``DriveOfflineError``."""

    @property
    def name(self) -> str:
        """What to call the unit in an error."""
        ...

    def command(self, cdb: bytes, *, out: bytes | memoryview = b"", expected: int = 0, seconds: int = 60) -> Answer:
        """Send the command with ``out``, or receive up to ``expected`` bytes; wait no longer than ``seconds``."""
        ...


# ---- what is asked -------------------------------------------------------------------------------------------------

TEST_UNIT_READY = bytes(6)
REWIND = bytes((0x01, 0, 0, 0, 0, 0))
READ_BLOCK_LIMITS = bytes((0x05, 0, 0, 0, 0, 0))
UNLOAD = bytes((0x1B, 0, 0, 0, 0, 0))
READ_POSITION = bytes((0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0))
"""The short form; the long one is garbage on more than one drive."""

BLOCK_LIMITS_BYTES, POSITION_BYTES = 6, 20

BLOCKS, FILEMARKS = 0, 1
"""What ``space`` counts."""


def inquiry(page: int | None = None, length: int = 255) -> bytes:
    """INQUIRY, of the standard data or of a vital product data page."""
    return bytes((0x12, page is not None, page or 0)) + length.to_bytes(2, "big") + b"\0"


def mode_sense(page: int = 0, length: int = 255) -> bytes:
    """MODE SENSE(6) without block descriptors unless ``page`` is 0."""
    return bytes((0x1A, 0x08 if page else 0, page, 0, length, 0))


def read(size: int) -> bytes:
    """READ(6) of one record of variable length; a wrong length is reported."""
    return bytes((0x08, 0)) + size.to_bytes(3, "big") + b"\0"


def write(size: int) -> bytes:
    """WRITE(6) of one record of variable length."""
    return bytes((0x0A, 0)) + size.to_bytes(3, "big") + b"\0"


def write_filemarks(count: int, *, immediate: bool) -> bytes:
    """WRITE FILEMARKS(6); unless ``immediate``, the answer comes when all is on the medium. 0 only makes it so."""
    return bytes((0x10, immediate)) + count.to_bytes(3, "big") + b"\0"


def space(kind: int, count: int) -> bytes:
    """SPACE(6), forward or (a negative count) back."""
    return bytes((0x11, kind)) + (count % _THREE_BYTES).to_bytes(3, "big") + b"\0"


MOST_SPACED = (1 << 23) - 1
"""How many blocks or filemarks one SPACE(6) can pass."""


def locate(block: int) -> bytes:
    """LOCATE(10), or LOCATE(16) for a block that it cannot name."""
    if block < 1 << 32:
        return bytes((0x2B, 0, 0)) + block.to_bytes(4, "big") + bytes(3)
    return bytes((0x92, 0, 0, 0)) + block.to_bytes(8, "big") + bytes(4)


def prevent_removal(*, prevent: bool) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL."""
    return bytes((0x1E, 0, 0, 0, prevent, 0))


class ElementKind(IntEnum):
    """Element types of a changer (SMC-3, table 8)."""

    ARM = 1
    SLOT = 2
    MAILBOX = 3
    DRIVE = 4


def read_element_status(kind: ElementKind, *, identify: bool = False, length: int = LONGEST_ANSWER - 1) -> bytes:
    """READ ELEMENT STATUS with barcodes, of one kind of element (the answer for all kinds is malformed on some).

    ``identify`` asks drives for their serial numbers as well (DVCID).
    """
    head = bytes((0xB8, 0x10 | kind, 0, 0, 0xFF, 0xFF, identify))
    return head + length.to_bytes(3, "big") + bytes(2)


def move_medium(source: int, destination: int, arm: int = 0) -> bytes:
    """MOVE MEDIUM; arm 0 is the default one."""
    places = b"".join(address.to_bytes(2, "big") for address in (arm, source, destination))
    return bytes((0xA5, 0)) + places + bytes(4)


# ---- what is answered ----------------------------------------------------------------------------------------------


def parse_sense(raw: bytes) -> Sense | None:
    """Return what sense data says, in the fixed (70h, 71h) or descriptor format (72h, 73h); None if it is neither."""
    raw = raw.ljust(18, b"\0")
    kind = raw[0] & 0x7F
    if kind in {0x70, 0x71}:
        information = int.from_bytes(raw[3:7], "big", signed=True) if raw[0] & 0x80 else None
        return Sense(Key(raw[2] & 0xF), (raw[12], raw[13]), *_stream_bits(raw[2]), information, kind == 0x71)
    if kind in {0x72, 0x73}:
        bits, information = 0, None
        for code, body in _descriptors(raw[8 : 8 + raw[7]]):
            if code == 0x00 and body[:1] and body[0] & 0x80:
                information = int.from_bytes(body[2:10], "big", signed=True)
            elif code == 0x04 and len(body) > 1:
                bits = body[1]
        return Sense(Key(raw[1] & 0xF), (raw[2], raw[3]), *_stream_bits(bits), information, kind == 0x73)
    return None


def _stream_bits(byte: int) -> tuple[bool, bool, bool]:
    return bool(byte & 0x80), bool(byte & 0x40), bool(byte & 0x20)


def _descriptors(raw: bytes) -> Iterator[tuple[int, bytes]]:
    while len(raw) > 1:
        length = 2 + raw[1]
        yield raw[0], raw[2:length]
        raw = raw[length:]


def position_of(data: bytes) -> int | None:
    """Return the block of READ POSITION's short form; None if the drive says that it does not know it."""
    if len(data) < 8 or data[0] & 0x04:  # LOLU (SSC-4; BPU in SSC-3): logical object location unknown
        return None
    return int.from_bytes(data[4:8], "big")


def longest_record_of(data: bytes) -> int:
    """Return the longest record of READ BLOCK LIMITS, in bytes."""
    return int.from_bytes(data[1:4], "big")


def is_protected(data: bytes) -> bool:
    """Return the write protection bit of MODE SENSE(6)'s header."""
    return len(data) > 2 and bool(data[2] & 0x80)


def serial_of(data: bytes) -> str:
    """Return the serial number of vital product data page 80h."""
    return _text(data[4 : 4 + data[3]]) if len(data) > 4 and data[1] == 0x80 else ""


SERIAL_PAGE = 0x80


@dataclass(frozen=True, slots=True)
class ElementStatus:
    """One element of a changer. ``identity`` is the drive's own (DVCID), with its serial number, if it was told."""

    address: int
    kind: ElementKind
    full: bool
    barcode: str = ""
    identity: str = ""


def elements_of(data: bytes) -> list[ElementStatus]:
    """Return the elements of an answer to READ ELEMENT STATUS of one kind.

    How many there are is believed as far as there are bytes. The byte counts beside are too small on some changers, and
    the last element is then cut: what was not sent of it counts as zeros.
    """
    if len(data) < 16 or data[8] not in set(ElementKind):
        return []
    kind, flags, length = ElementKind(data[8]), data[9], int.from_bytes(data[10:12], "big")
    if length < 12:
        return []
    count = min(int.from_bytes(data[2:4], "big"), (len(data) - 16 + length - 12) // length)
    pieces = (data[16 + at * length : 16 + (at + 1) * length].ljust(length, b"\0") for at in range(count))
    return [_element(piece, kind, flags) for piece in pieces]


def _element(raw: bytes, kind: ElementKind, flags: int) -> ElementStatus:
    at, barcode = 12, ""
    if flags & 0x80:  # primary volume tag: 32 characters, then a sequence number
        barcode, at = _text(raw[at : at + 32]), at + 36
    if flags & 0x40:  # alternate volume tag
        at += 36
    identity = _text(raw[at + 4 : at + 4 + raw[at + 3]]) if len(raw) > at + 4 else ""
    full = bool(raw[2] & 0x01)
    return ElementStatus(
        address=int.from_bytes(raw[0:2], "big"),
        kind=kind,
        full=full,
        barcode=barcode if full else "",
        identity=identity,
    )


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("ascii", "replace").strip()


# ---- what it means -------------------------------------------------------------------------------------------------

_TELLING = {Key.NO_SENSE, Key.RECOVERED, Key.COMPLETED}
"""Keys of commands that were carried out."""


def failure(answer: Answer, name: str, block: int | None = None) -> StorageError | None:
    """Return the error that an answer stands for; None if the command was carried out. ``block`` is where it began."""
    if answer.status == GOOD:
        return None
    if answer.status in {BUSY, RESERVATION_CONFLICT}:
        return DriveBusyError(place=name)
    if answer.status != CHECK_CONDITION or answer.sense is None:
        return TapeError(place=name, reason=Phrase("status {status}", status=f"{answer.status:02X}"))
    if answer.sense.key in _TELLING and answer.sense.code != NO_MORE_DATA:
        return None
    return _refusal(answer.sense, name, "?" if block is None else block)


def _refusal(sense: Sense, name: str, block: int | str) -> TapeError:
    if sense.key in {Key.HARDWARE_ERROR, Key.ABORTED}:  # the drive's fault, not the medium's
        return DriveOfflineError(place=name, reason=str(sense))
    if sense.key == Key.MEDIUM_ERROR and sense.code != END_OF_MEDIUM:
        return MediumError(place=name, block=block, reason=str(sense))
    if sense.key in {Key.BLANK_CHECK, Key.MEDIUM_ERROR} or sense.code == NO_MORE_DATA:
        return EndOfDataError(place=name, block=block)
    if sense.key == Key.VOLUME_OVERFLOW:
        return EndOfMediumError(place=name, block=block)
    kinds: dict[Key, type[TapeError]] = {
        Key.NOT_READY: NotReadyError,
        Key.UNIT_ATTENTION: MediumChangedError,
        Key.DATA_PROTECT: WriteProtectedError,
        Key.ILLEGAL_REQUEST: UnsupportedError,
    }
    return kinds.get(sense.key, TapeError)(place=name, reason=str(sense))
