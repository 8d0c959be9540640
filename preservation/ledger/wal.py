"""The frames of the hot file: how records lie in it, and how they are read back past damage.

A frame is: 16 bytes sync marker, u32 CRC-32 of all that follows, u32 length of the record, u64 sequence number, u32
position in its batch, u32 size of its batch, 32 bytes hash of the previous leaf (zeros before the first), the record;
numbers are big-endian. A batch is acknowledged as a whole, so that half a batch at the end is a torn tail. Anything
else that cannot be read, with a valid frame of a later batch beyond it, is damage and never a torn tail.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

from preservation.ledger.errors import LedgerDamagedError, RecordError
from preservation.ledger.events import RECORD_LIMIT
from preservation.ledger.files import ReadAt
from preservation.ledger.merkle import leaf_hash
from storage_backends.errors import Phrase

SYNC = bytes.fromhex("ffb58a7ffefef40bd802858d485576c0")
"""Marks the beginning of a frame; it is not UTF-8, so that no record contains it."""

BATCH_LIMIT = 16 << 20
"""The largest batch, in bytes."""

_HEAD = struct.Struct(">16sIIQII32s")
_CHECKED = struct.Struct(">IQII32s")
_CHECKED_OFFSET = 20
_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose CRC is right. ``previous`` is the hash of the leaf before, ``leaf`` that of this record."""

    offset: int
    seq: int
    position: int
    count: int
    previous: bytes
    record: bytes
    leaf: bytes

    @property
    def end(self) -> int:
        """The offset of the byte after the frame."""
        return self.offset + _HEAD.size + len(self.record)


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes in which no frame could be read."""

    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that were written and are acknowledged together."""

    frames: tuple[Frame, ...]

    @property
    def offset(self) -> int:
        """The offset of the first byte."""
        return self.frames[0].offset

    @property
    def end(self) -> int:
        """The offset of the byte after the last one."""
        return self.frames[-1].end


def encode_batch(records: Sequence[bytes], seq: int, previous: bytes) -> bytes:
    """Return the frames of ``records``, the first of which has number ``seq`` and follows the leaf ``previous``."""
    parts: list[bytes] = []
    for position, record in enumerate(records):
        checked = _CHECKED.pack(len(record), seq + position, position, len(records), previous)
        parts += [SYNC, crc32(record, crc32(checked)).to_bytes(4), checked, record]
        previous = leaf_hash(record)
    data = b"".join(parts)
    if len(data) > BATCH_LIMIT:
        raise RecordError(
            reason=Phrase("a batch of {size} bytes, more than {limit}", size=len(data), limit=BATCH_LIMIT)
        )
    return data


def frames(read_at: ReadAt, start: int, end: int) -> Iterator[Frame | Gap]:
    """Yield every valid frame between two offsets, and the gaps between them, in order."""
    window = _Window(read_at, end)
    offset, gap = start, None
    while offset < end:
        frame = _frame_at(window, offset)
        if frame is not None:
            if gap is not None:
                yield Gap(gap, offset)
                gap = None
            yield frame
            offset = frame.end
        else:
            gap = offset if gap is None else gap
            offset = window.find(SYNC, offset + 1)
    if gap is not None:
        yield Gap(gap, end)


def batches(read_at: ReadAt, start: int, end: int, *, seq: int, previous: bytes, place: str) -> Iterator[Batch]:
    """Yield the complete batches between two offsets; the first frame must be ``seq`` and follow ``previous``.

    What remains after the last one is a torn tail: nothing beyond it belongs to a later batch.

    Raises:
        LedgerDamagedError: There are valid frames beyond bytes that are none, or frames that do not follow each other.
    """
    items = frames(read_at, start, end)
    pending: list[Frame] = []
    for item in items:
        if isinstance(item, Frame) and _continues(item, pending, seq, previous):
            pending.append(item)
            seq, previous = seq + 1, item.leaf
            if len(pending) == item.count:
                yield Batch(tuple(pending))
                pending = []
        elif isinstance(item, Frame):
            raise LedgerDamagedError(
                place=place,
                seq=seq,
                reason=Phrase(
                    "event {event} at byte {offset} does not follow what precedes it",
                    event=item.seq,
                    offset=item.offset,
                ),
            )
        else:
            _refuse_what_lies_beyond(item, items, seq - len(pending), place)
            return


def _refuse_what_lies_beyond(gap: Gap, items: Iterable[Frame | Gap], batch_seq: int, place: str) -> None:
    for item in chain([gap], items):
        if isinstance(item, Frame) and item.seq - item.position != batch_seq:
            raise LedgerDamagedError(
                place=place,
                seq=batch_seq,
                reason=Phrase(
                    "bytes {start} to {end} are damaged; event {event} lies beyond them",
                    start=gap.offset,
                    end=gap.end,
                    event=item.seq,
                ),
            )


def _continues(frame: Frame, pending: list[Frame], seq: int, previous: bytes) -> bool:
    return (
        frame.seq == seq
        and frame.previous == previous
        and frame.position == len(pending)
        and (not pending or frame.count == pending[0].count)
    )


class _Window:
    """The part of the file that was read last."""

    def __init__(self, read_at: ReadAt, end: int) -> None:
        self._read_at = read_at
        self._end = end
        self._base = 0
        self._data = b""

    def take(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at ``offset``, fewer only at the end."""
        if not (self._base <= offset and offset + size <= self._base + len(self._data)):
            wanted = min(max(size, _WINDOW), self._end - offset)
            parts: list[bytes] = []
            while wanted > 0 and (part := self._read_at(offset + sum(map(len, parts)), wanted)):
                parts.append(part)
                wanted -= len(part)
            self._base, self._data = offset, b"".join(parts)
        return self._data[offset - self._base : offset - self._base + size]

    def find(self, pattern: bytes, offset: int) -> int:
        """Return where ``pattern`` begins next; the end of the file if nowhere."""
        while offset < self._end:
            data = self.take(offset, min(_WINDOW, self._end - offset))
            found = data.find(pattern)
            if found >= 0:
                return offset + found
            if len(data) < len(pattern):
                break
            offset += len(data) - len(pattern) + 1
        return self._end


def _frame_at(window: _Window, offset: int) -> Frame | None:
    head = window.take(offset, _HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(SYNC):
        return None
    _, crc, length, seq, position, count, previous = _HEAD.unpack(head)
    if not 0 < length <= RECORD_LIMIT or position >= count:
        return None
    record = window.take(offset + _HEAD.size, length)
    if len(record) < length or crc32(record, crc32(head[_CHECKED_OFFSET:])) != crc:
        return None
    return Frame(offset, seq, position, count, previous, record, leaf_hash(record))
