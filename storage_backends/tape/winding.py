"""In which order a cartridge is read: as its drive recommends, else as its wraps run, else by block.

Sources: IBM LTO Ultrium Tape Drive SCSI Reference (GA32-0928): recommended access order (4.6; GRAO A4h/1Dh, RRAO
A3h/1Dh; full-height drives since LTO-9) and READ END OF WRAP POSITION (A3h/1Fh/45h; since LTO-7). Each is asked for and
used where it is offered; what is answered is believed only as an order, and only if it names each request once.

Not exercised: no target here offers either. They refuse, and that is tested; the rest is tested by scripted answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from storage_backends.tape.drive import RECORD, UnsupportedError
from storage_backends.tape.recall import turn

COUNTED = 1 << 32
"""From here on a number of a block is not the drive's, but one that only grows along the tape."""

NAME_BYTES, DESCRIPTOR_BYTES, HEADER_BYTES, LIMITS_BYTES = 10, 32, 8, 4
WRAP_BYTES, WRAPS_HEADER_BYTES = 12, 4

MOST_SEGMENTS = 2_730
"""How many segments a list has at most, whatever the drive says (IBM, 4.6.3.2)."""

_NAME_AT = 5
_REORDERED = 2
"""The process that is asked for: the drive orders the list (IBM, table 11)."""

_LONGEST_WRAPS = 1 << 14
"""Bytes of an answer about wraps: LTO-10 has 472 of them, 5,668 bytes."""


@runtime_checkable
class Answering(Protocol):
    """A drive that can be asked by SCSI commands beside what it does; by none that moves the tape or writes."""

    def ask(self, cdb: bytes, *, out: bytes = b"", expected: int = 0) -> bytes:
        """Return what the drive answers, at most ``expected`` bytes.

        Raises:
            UnsupportedError: it does not know the command, or who asks may not; the tape is where it was.
            TapeError: whatever else it says.
        """
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be read in one go: the block where it begins, and how many records."""

    block: int
    records: int


def in_order(drive: object, wanted: Sequence[tuple[int, int]]) -> list[int]:
    """Return the places in ``wanted``, which are (block, bytes), in the order in which the drive reads them fastest.

    Raises:
        TapeError: the drive failed. That it cannot be asked, or has nothing to say, is no failure.
    """
    spans = [Span(block, -(-size // RECORD)) for block, size in wanted]
    by_block = sorted(range(len(spans)), key=lambda one: spans[one].block)
    if len(spans) <= 1 or not isinstance(drive, Answering) or any(span.block >= COUNTED for span in spans):
        return by_block
    most = most_segments(drive)
    if most == 0 or len(spans) > most:
        wraps = ends_of_wraps(drive)
        by_block = sorted(by_block, key=lambda one: turn(spans[one].block, wraps))
    if most == 0:
        return by_block
    found = []
    for first in range(0, len(by_block), most):
        part = by_block[first : first + most]
        order = recommended(drive, [spans[one] for one in part])
        found += part if order is None else [part[one] for one in order]
    return found


# ---- recommended access order --------------------------------------------------------------------------------------


def most_segments(drive: Answering) -> int:
    """Return how many segments the drive orders at a time; 0 if it does not."""
    try:
        page = drive.ask(receive_order(LIMITS_BYTES, limits=True), expected=LIMITS_BYTES)
    except UnsupportedError:
        return 0
    most = int.from_bytes(page[:2], "big") if len(page) == LIMITS_BYTES else 0
    return min(most, MOST_SEGMENTS) if most > 1 else 0


def recommended(drive: Answering, spans: Sequence[Span]) -> list[int] | None:
    """Return the places in ``spans`` in the order that the drive recommends from where it stands; None if it has none.

    What it answers must name each of them once.
    """
    listed = segment_list(spans)
    size = HEADER_BYTES + 2 * DESCRIPTOR_BYTES * len(spans)  # twice what was sent: it may add where each lies
    try:
        drive.ask(generate_order(len(listed)), out=listed)
        answer = drive.ask(receive_order(size), expected=size)
    except UnsupportedError:
        return None
    names = names_in(answer)
    if not all(name.isdigit() for name in names):
        return None
    found = [int(name) for name in names]
    return found if sorted(found) == list(range(len(spans))) else None


def generate_order(length: int) -> bytes:
    """GENERATE RECOMMENDED ACCESS ORDER of a list of so many bytes."""
    return bytes((0xA4, 0x1D, _REORDERED, 0, 0, 0)) + length.to_bytes(4, "big") + bytes(2)


def receive_order(length: int, *, limits: bool = False) -> bytes:
    """RECEIVE RECOMMENDED ACCESS ORDER from the beginning of the list, or of the page with the limits."""
    return bytes((0xA3, 0x9D if limits else 0x1D)) + bytes(4) + length.to_bytes(4, "big") + bytes(2)


def segment_list(spans: Sequence[Span]) -> bytes:
    """Return the list to be ordered; a segment is named by its place in it.

    A segment of a single object would be a point to which the order is bound, if it came first or last. So none is:
    behind each record there is another, or a filemark.
    """
    body = b"".join(
        (DESCRIPTOR_BYTES - 2).to_bytes(2, "big")
        + bytes(_NAME_AT - 2)
        + f"{place:0{NAME_BYTES}}".encode()
        + bytes(1)
        + span.block.to_bytes(8, "big")
        + (span.block + max(1, span.records - 1)).to_bytes(8, "big")
        for place, span in enumerate(spans)
    )
    return bytes(4) + len(body).to_bytes(4, "big") + body


def names_in(answer: bytes) -> list[bytes]:
    """Return the names in an ordered list, as far as whole descriptors came."""
    names = []
    end = min(len(answer), HEADER_BYTES + int.from_bytes(answer[4:8], "big"))
    at = HEADER_BYTES
    while at + DESCRIPTOR_BYTES <= end:
        length = 2 + int.from_bytes(answer[at : at + 2], "big")
        if length < DESCRIPTOR_BYTES or at + length > end:
            break
        names.append(answer[at + _NAME_AT : at + _NAME_AT + NAME_BYTES])
        at += length
    return names


# ---- wraps ---------------------------------------------------------------------------------------------------------


def ends_of_wraps(drive: Answering) -> tuple[int, ...]:
    """Return the blocks before which each wrap that has data ends, in order; empty if the drive does not tell."""
    try:
        return wraps_in(drive.ask(end_of_wraps(_LONGEST_WRAPS), expected=_LONGEST_WRAPS))
    except UnsupportedError:
        return ()


def end_of_wraps(length: int) -> bytes:
    """READ END OF WRAP POSITION of all wraps."""
    return bytes((0xA3, 0x1F, 0x45, 0x02, 0, 0)) + length.to_bytes(4, "big") + bytes(2)


def wraps_in(answer: bytes) -> tuple[int, ...]:
    """Return the blocks before which wraps end, of an answer that names all wraps from 0 on; else nothing.

    Of the last wrap with data the drive tells where the data end; where it ends itself is taken to be as far as the
    other wraps are long. Only the first partition counts: we make no others.
    """
    end = 2 + int.from_bytes(answer[:2], "big")
    if not WRAPS_HEADER_BYTES <= end <= len(answer) or (end - WRAPS_HEADER_BYTES) % WRAP_BYTES:
        return ()
    found: list[int] = []
    for at in range(WRAPS_HEADER_BYTES, end, WRAP_BYTES):
        wrap, partition = (int.from_bytes(answer[at + one : at + one + 2], "big") for one in (0, 2))
        if partition:
            continue
        if wrap != len(found):
            return ()
        found.append(int.from_bytes(answer[at + 6 : at + WRAP_BYTES], "big") + 1)
    if any(one >= other for one, other in pairwise(found)):
        return ()
    if len(found) > 1:
        found[-1] = max(found[-1], found[-2] + found[-2] // (len(found) - 1))
    return tuple(found)
