"""Puts a damaged pack together again from what is good in all its copies.

In this order: by block, from any copy whose block measures right; from the index, which gives every header and all
padding back; by object, from any copy or any other pack that has it; by the byte runs in which the copies differ, tried
against the digest. What is still missing then is lost, and named.
"""

import io
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from preservation.fixity import BLOCK, Fixity, Measuring, blake3_hex, measure
from preservation.packs.index import end_of, with_index
from preservation.packs.members import Kind, Member, header, padding, stored_size
from preservation.packs.readme import readme
from preservation.packs.writer import ending
from storage_backends.backend import StorageBackend
from storage_backends.errors import StorageError

MOST_TRIALS = 4_096
"""Combinations of byte runs tried for one digest."""

MOST_TRIED = 8 << 30
"""Bytes digested for them (8 GiB: some seconds)."""

RUN_GAP = 8
"""Equal bytes between two differences that still count as one run."""

_GAP = re.compile(rb"\0{%d,}" % (RUN_GAP + 1))

SECTOR = 4_096
"""Bytes read at a time around a place where the medium fails."""

IN_MEMORY = 16 << 20
"""Objects up to this many bytes are put together from runs; larger ones only by blocks."""

BLOCKS_AT_HAND = 4
"""Blocks of which the bytes of all copies are kept, because small members that lie in them are asked for in turn."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy that can be read, good or bad."""

    backend: StorageBackend
    key: str
    size: int

    def slice(self, offset: int, length: int) -> bytes:
        """Return what of a range can be read; short at the end of the copy, zeros where the medium fails."""
        data = self._read(offset, length)
        return self._around_failures(offset, length) if data is None else data

    def holds(self, offset: int, size: int, digest: str) -> bool:
        """Read a range and tell whether it measures so."""
        try:
            with self.backend.read(self.key, offset=offset, length=size, fresh=True) as reader:
                found = measure(reader)
        except StorageError:
            return False
        return (found.size, found.blake3) == (size, digest)

    def _around_failures(self, offset: int, length: int) -> bytes:
        end, pieces = min(offset + length, self.size), []
        for place in range(offset, end, SECTOR):
            wanted = min(SECTOR, end - place)
            piece = self._read(place, wanted)
            pieces.append(bytes(wanted) if piece is None else piece)
        return b"".join(pieces)

    def _read(self, offset: int, length: int) -> bytes | None:
        try:
            with self.backend.read(self.key, offset=offset, length=length, fresh=True) as reader:
                return b"".join(iter(lambda: reader.read(length), b""))
        except StorageError:
            return None


_OBJECTS = frozenset({Kind.CONTENT, Kind.FILE})

Place = tuple[Copy, int]
"""Where bytes were just seen right: a copy of some pack, and the offset in it."""

OtherPacks = Callable[[str, int], Place | None]
"""Gives a place in another pack where the object of this (digest, size) is right; nothing if there is none."""


@dataclass(slots=True)
class Joined:
    """A pack as far as it can be put together. ``lost`` are the members whose bytes are gone."""

    fixity: Fixity
    blocks: list[bytes]
    members: list[Member]
    index: bytes
    label: str
    copies: Sequence[Copy]
    elsewhere: OtherPacks
    spool: BinaryIO
    """Takes the blocks that were put together; as large as they are."""
    lost: list[Member] = field(default_factory=list)
    lost_blocks: set[int] = field(default_factory=set)
    _mended: dict[int, int] = field(default_factory=dict)
    """Where in the spool a block lies."""
    _repeats: dict[str, list[Member]] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    """Where the header of each member begins."""
    _right: dict[str, Place | None] = field(default_factory=dict)
    """Where the members that were looked for are right, by digest."""
    _joins: dict[str, int | None] = field(default_factory=dict)
    _at_hand: dict[int, tuple[list[bytes], bytes | None]] = field(default_factory=dict)
    """What the copies have of a block, different bytes once, and which of it is right."""

    def __post_init__(self) -> None:
        """Note where the members begin, and which objects stand in the pack more than once."""
        place = 0
        for member in self.members:
            self._starts.append(place)
            place = end_of(member, place)
            if member.kind is Kind.FILE and member.size:
                self._repeats[member.digest] = []
        for member in self.members:
            if member.kind in _OBJECTS and member.digest in self._repeats:
                self._repeats[member.digest].append(member)

    @property
    def whole(self) -> bool:
        """Whether every byte could be had."""
        return not self.lost_blocks

    def block(self, number: int) -> bytes | None:
        """Return a block that measures right, from any copy or mended."""
        if number in self._mended:
            self.spool.seek(self._mended[number])
            return self.spool.read(self._length(number))
        return self._in_copies(number)[1]

    def _in_copies(self, number: int) -> tuple[list[bytes], bytes | None]:
        if number not in self._at_hand:
            offset, length = number * BLOCK, self._length(number)
            found = list(dict.fromkeys(data for copy in self.copies if (data := copy.slice(offset, length))))
            digest = self.blocks[number]
            right = (data for data in found if digest and bytes.fromhex(blake3_hex(data)) == digest)
            if len(self._at_hand) >= BLOCKS_AT_HAND:
                del self._at_hand[next(iter(self._at_hand))]
            self._at_hand[number] = found, next(right, None)
        return self._at_hand[number]

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole pack, block by block; only if it is ``whole``."""
        for number in range(len(self.blocks)):
            data = self.block(number)
            if data is None:  # a copy got worse since it was looked at
                return
            yield data

    def found_blocks(self) -> bytes | None:
        """Return the block digests of the pack put together from the index alone; nothing if it cannot be."""
        measuring = Measuring(blocks=True)
        for member in self.members:
            measuring.update(header(member))
            for piece in self._pieces_of(member):
                measuring.update(piece)
            measuring.update(bytes(padding(stored_size(member))))
        measuring.update(ending(measuring.size))
        return b"".join(measuring.blocks()) if measuring.fixity() == self.fixity else None

    def _pieces_of(self, member: Member) -> Iterable[bytes]:
        if member.kind is Kind.README:
            return [readme(self.label)]
        if member.kind is Kind.INDEX:
            return [self.index]
        return self.member_pieces(member) if stored_size(member) else []

    def _length(self, number: int) -> int:
        return min(BLOCK, self.fixity.size - number * BLOCK)

    # ---- mending ---------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Find the blocks that no copy has, and put them together where that is possible."""
        self._at_hand.clear()  # judged before the block digests were known
        for number in range(len(self.blocks)):
            if self.block(number) is None:
                self._mend_block(number, {})
        before = -1
        while self.lost_blocks and len(self.lost_blocks) != before:
            before = len(self.lost_blocks)
            self._mend_by_members()
        self.lost = [member for member in self._touched() if not self._is_there(member)]

    def _mend_by_members(self) -> None:
        """Try each lost block once more with the members in it that can be had as wholes; they may span blocks."""
        whole: dict[bytes, bytes | None] = {}
        for number in sorted(self.lost_blocks):
            here = [member for member in self._members_in(number) if stored_size(member)]
            whole = {one.name: whole[one.name] if one.name in whole else self.member_bytes(one) for one in here}
            self._mend_block(number, {name: data for name, data in whole.items() if data is not None})

    def _touched(self) -> Iterator[Member]:
        """Yield the members with bytes in lost blocks that do not follow from the index."""
        for member in self.members:
            size = stored_size(member)
            if not size or member.kind in {Kind.README, Kind.INDEX}:
                continue
            if any(block in self.lost_blocks for block in _blocks_of(member.offset, size)):
                yield member

    def _is_there(self, member: Member) -> bool:
        return (
            self.member_bytes(member) is not None
            or self._joined_from(member) is not None
            or self._place_of(member) is not None
        )

    def _mend_block(self, number: int, whole: dict[bytes, bytes]) -> None:
        offset, length = number * BLOCK, self._length(number)
        candidates = [data.ljust(length, b"\0") for data in self._in_copies(number)[0]]
        known = [(start - offset, data) for start, data in self._regenerated(number)]
        for member in self._members_in(number):
            piece = self._piece_of(member, offset, offset + length, candidates, whole.get(member.name))
            if piece is not None:
                known.append((max(member.offset, offset) - offset, piece))
        composed = [_overlaid(candidate, known) for candidate in candidates or [bytes(length)]]
        wanted = self.blocks[number].hex()
        for trial in _trials(composed):
            if blake3_hex(trial) == wanted:
                self._mended[number] = self.spool.seek(0, io.SEEK_END)
                self.spool.write(trial)
                self.lost_blocks.discard(number)
                return
        self.lost_blocks.add(number)

    def _members_in(self, number: int) -> Iterator[Member]:
        """Yield the members with a byte in a block, be it of their header or padding."""
        end = number * BLOCK + self._length(number)
        first = max(bisect_right(self._starts, number * BLOCK) - 1, 0)
        for place in range(first, len(self.members)):
            if self._starts[place] >= end:
                return
            yield self.members[place]

    def _regenerated(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Yield (place, bytes) of everything in a block that follows from the index alone."""
        start, end = number * BLOCK, number * BLOCK + self._length(number)
        place = max(bisect_right(self._starts, start) - 1, 0)
        for member in self._members_in(number):
            begins, size = self._starts[place], stored_size(member)
            before = header(member)
            yield from _cut(begins, before, start, end)
            if member.kind is Kind.INDEX:
                yield from _cut(member.offset, self.index, start, end)
            elif member.kind is Kind.README:
                yield from _cut(member.offset, readme(self.label), start, end)
            after = begins + len(before) + size
            yield from _cut(after, bytes(padding(size)), start, end)
            if member.kind is Kind.INDEX:
                after += padding(size)
                yield from _cut(after, ending(after), start, end)
            place += 1

    def _piece_of(
        self, member: Member, start: int, end: int, candidates: Sequence[bytes], whole: bytes | None
    ) -> bytes | None:
        """Return the bytes of a member between two places of the pack if they can be had from somewhere."""
        size = stored_size(member)
        first, last = max(member.offset, start), min(member.offset + size, end)
        if first >= last or member.kind in {Kind.README, Kind.INDEX}:
            return None
        if whole is not None:
            return whole[first - member.offset : last - member.offset]
        if last - first == size:  # it lies in what was read already
            for candidate in candidates:
                data = candidate[first - start : last - start]
                if blake3_hex(data) == member.digest:
                    return data
        place = self._place_of(member)
        return None if place is None else place[0].slice(place[1] + first - member.offset, last - first)

    def _place_of(self, member: Member) -> Place | None:
        """Return where a member is right as a whole; it is looked for once."""
        if member.digest not in self._right:
            self._right[member.digest] = self._looked_for(member)
        return self._right[member.digest]

    def _looked_for(self, member: Member) -> Place | None:
        size = stored_size(member)
        found = self.elsewhere(member.digest, size) if member.kind in _OBJECTS else None
        if found is not None:
            return found
        for twin, copy in itertools.product(self._twins(member), self.copies):
            if copy.holds(twin.offset, size, member.digest):
                return copy, twin.offset
        return None

    def _twins(self, member: Member) -> list[Member]:
        """Return the members that hold the same bytes: itself and its repeats."""
        return self._repeats.get(member.digest, [member]) if member.kind in _OBJECTS else [member]

    def member_bytes(self, member: Member) -> bytes | None:
        """Return a member's bytes, if they are few enough, in whatever way they can be had, measured."""
        size = stored_size(member)
        if size > IN_MEMORY:
            return None
        candidates = []
        for twin in self._twins(member):
            candidates += [b"".join(self._best_pieces(twin, which)) for which in range(len(self.copies))]
        for trial in _trials(candidates):
            if blake3_hex(trial) == member.digest:
                return trial
        place = self._place_of(member)
        data = b"" if place is None else place[0].slice(place[1], size)
        return data if blake3_hex(data) == member.digest else None

    def _best(self, number: int, which: int) -> bytes:
        """Return a block if it can be had; else what one of the copies has there, as long as it should be."""
        data = self.block(number)
        if data is None:
            found = self._in_copies(number)[0]
            data = found[which % len(found)] if found else b""
        return data.ljust(self._length(number), b"\0")

    def _best_pieces(self, member: Member, which: int) -> Iterator[bytes]:
        end = member.offset + stored_size(member)
        for number in _blocks_of(member.offset, stored_size(member)):
            start = number * BLOCK
            yield self._best(number, which)[max(member.offset - start, 0) : end - start]

    def member_pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of a member of any size; nothing if they cannot be had."""
        data = self.member_bytes(member)
        if data is not None:
            return iter([data])
        which = self._joined_from(member)
        if which is not None:
            return self._best_pieces(member, which)
        place = self._place_of(member)
        if place is None:
            return iter([])
        copy, start = place
        return (
            copy.slice(start + done, min(BLOCK, member.size - done)) for done in range(0, stored_size(member), BLOCK)
        )

    def _joined_from(self, member: Member) -> int | None:
        """Return the copy that, where no block is right, has what makes a large member right; it is looked for once."""
        if stored_size(member) <= IN_MEMORY:
            return None
        if member.digest not in self._joins:
            self._joins[member.digest] = None
            for which in range(len(self.copies)):
                measuring = Measuring()
                for piece in self._best_pieces(member, which):
                    measuring.update(piece)
                if measuring.fixity().blake3 == member.digest:
                    self._joins[member.digest] = which
                    break
        return self._joins[member.digest]


def _blocks_of(offset: int, size: int) -> range:
    return range(offset // BLOCK, (offset + size - 1) // BLOCK + 1)


def _cut(place: int, data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    first, last = max(place, start), min(place + len(data), end)
    if first < last:
        yield first, data[first - place : last - place]


def _overlaid(base: bytes, known: Sequence[tuple[int, bytes]]) -> bytes:
    joined = bytearray(base)
    for start, data in known:
        joined[start : start + len(data)] = data
    return bytes(joined)


def _runs(candidates: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the (start, end) of the byte runs in which the candidates, all of one length, differ."""
    first, different = int.from_bytes(candidates[0]), 0
    for other in candidates[1:]:
        different |= first ^ int.from_bytes(other)
    marks = different.to_bytes(len(candidates[0]))
    runs, place = [], 0
    for gap in _GAP.finditer(marks):
        if gap.start() > place:
            runs.append((place, gap.start()))
        place = gap.end()
    if place < len(marks):
        runs.append((place, len(marks)))
    return runs


def _trials(candidates: Sequence[bytes]) -> Iterator[bytes]:
    """Yield each candidate, then every combination of the runs in which they differ, up to a limit."""
    candidates = list(dict.fromkeys(candidates))
    yield from candidates
    if len(candidates) < 2:  # noqa: PLR2004 - one candidate differs from nothing
        return
    runs = _runs(candidates)
    if len(candidates) ** len(runs) > min(MOST_TRIALS, MOST_TRIED // len(candidates[0])):
        return
    for choice in itertools.product(range(len(candidates)), repeat=len(runs)):
        trial = bytearray(candidates[0])
        for (start, end), chosen in zip(runs, choice, strict=True):
            trial[start:end] = candidates[chosen][start:end]
        yield bytes(trial)


def joined(  # noqa: D417 - the other arguments are fields of Joined
    fixity: Fixity,
    blocks: bytes | None,
    index: bytes,
    label: str,
    members: Iterator[Member],
    *,
    copies: Sequence[Copy],
    elsewhere: OtherPacks,
    spool: BinaryIO,
) -> Joined | None:
    """Return the pack put together as far as possible; nothing if its block digests are lost and cannot be found.

    Args:
        blocks: the block digests, if there are any.
        members: what the index lists; the index itself is added here.
    """
    listed = list(with_index(members, label, len(index), blake3_hex(index)))
    unknown = [b""] * -(-fixity.size // BLOCK)
    result = Joined(fixity, unknown, listed, index, label, copies, elsewhere, spool)
    digests = result.found_blocks() if blocks is None else blocks
    if digests is None:
        return None
    result.blocks = [digests[start : start + 32] for start in range(0, len(digests), 32)]
    result.mend()
    return result
