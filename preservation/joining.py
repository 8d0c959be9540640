"""Puts a damaged pack together again from what is good in all its copies.

In this order: by block, from any copy whose block measures right; from the index, which gives every header and all
padding back; by object, from any copy or any other pack that has it; by the byte runs in which the copies differ, tried
against the digest. What is still missing then is lost, and named.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from preservation.fixity import BLOCK, CHUNK, Fixity, blake3_hex, measure
from preservation.packs.index import with_index
from preservation.packs.members import Kind, Member, header, padding, stored_size
from preservation.packs.readme import readme
from preservation.packs.writer import ending
from storage_backends.backend import StorageBackend
from storage_backends.errors import StorageError

MOST_TRIALS = 4_096
"""Combinations of byte runs tried for one digest."""

RUN_GAP = 8
"""Equal bytes between two differences that still count as one run."""

IN_MEMORY = 64 << 20
"""Objects up to this many bytes are put together from runs; larger ones only by blocks."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy that can be read, good or bad."""

    backend: StorageBackend
    key: str
    size: int

    def slice(self, offset: int, length: int) -> bytes:
        """Return what of a range can be read; short at the end of the copy, empty where reading fails."""
        try:
            with self.backend.read(self.key, offset=offset, length=length, fresh=True) as reader:
                pieces = []
                while data := reader.read(length):
                    pieces.append(data)
                return b"".join(pieces)
        except StorageError:
            return b""


OtherPacks = Callable[[str, int, int], bytes | None]
"""Gives (digest, offset, length) of an object from another pack, measured as a whole first; nothing if none has it."""


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
    lost: list[Member] = field(default_factory=list)
    lost_blocks: set[int] = field(default_factory=set)
    mended: dict[int, bytes] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every byte could be had."""
        return not self.lost_blocks

    def block(self, number: int) -> bytes | None:
        """Return a block that measures right, from any copy or mended."""
        if number in self.mended:
            return self.mended[number]
        offset, length = number * BLOCK, self._length(number)
        for copy in self.copies:
            data = copy.slice(offset, length)
            if len(data) == length and bytes.fromhex(blake3_hex(data)) == self.blocks[number]:
                return data
        return None

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole pack, block by block; only if it is ``whole``."""
        for number in range(len(self.blocks)):
            data = self.block(number)
            if data is None:  # a copy got worse since it was looked at
                return
            yield data

    def _length(self, number: int) -> int:
        return min(BLOCK, self.fixity.size - number * BLOCK)

    # ---- mending ---------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Find the blocks that no copy has, and put them together where that is possible."""
        for number in range(len(self.blocks)):
            if self.block(number) is None:
                self._mend_block(number)
        if not self.lost_blocks:
            return
        # An object may span blocks: it is tried as a whole, and then its blocks once more.
        whole = self._whole_members()
        for number in sorted(self.lost_blocks):
            self._mend_block(number, whole)
        self.lost = [
            member
            for member in self.members
            if stored_size(member)
            and member.name not in whole
            and any(block in self.lost_blocks for block in _blocks_of(member.offset, stored_size(member)))
            and self.member_bytes(member) is None
        ]

    def _mend_block(self, number: int, whole: dict[bytes, bytes] | None = None) -> None:
        offset, length = number * BLOCK, self._length(number)
        candidates = self._candidates(offset, length)
        known: list[tuple[int, bytes]] = []
        for start, data in self._regenerated(offset, offset + length):
            known.append((start - offset, data))
        for member in self._overlapping(offset, offset + length):
            known.extend(self._from_objects(member, offset, length, whole or {}))
        composed = [_overlaid(candidate, known) for candidate in candidates] or [_overlaid(bytes(length), known)]
        wanted = self.blocks[number].hex()
        for trial in _trials(composed):
            if blake3_hex(trial) == wanted:
                self.mended[number] = trial
                self.lost_blocks.discard(number)
                return
        self.lost_blocks.add(number)

    def _candidates(self, offset: int, length: int) -> list[bytes]:
        found: list[bytes] = []
        for copy in self.copies:
            data = copy.slice(offset, length)
            if data:
                padded = data.ljust(length, b"\0")
                if padded not in found:
                    found.append(padded)
        return found

    def _overlapping(self, start: int, end: int) -> Iterator[Member]:
        for member in self.members:
            size = stored_size(member)
            if size and member.offset < end and member.offset + size > start:
                yield member

    def _regenerated(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield (place, bytes) of everything in a range that follows from the index alone."""
        place = 0
        for member in self.members:
            before = header(member)
            size = stored_size(member)
            after = place + len(before) + size + padding(size)
            if after > start and place < end:
                yield from _cut(place, before, start, end)
                yield from _cut(place + len(before) + size, bytes(padding(size)), start, end)
                if member.kind is Kind.INDEX:
                    yield from _cut(member.offset, self.index, start, end)
                elif member.kind is Kind.README:
                    yield from _cut(member.offset, readme(self.label), start, end)
            place = after
        yield from _cut(place, ending(place), start, end)

    def _from_objects(
        self, member: Member, offset: int, length: int, whole: dict[bytes, bytes]
    ) -> Iterator[tuple[int, bytes]]:
        start = max(member.offset, offset)
        end = min(member.offset + member.size, offset + length)
        data = whole.get(member.name)
        if data is not None:
            yield start - offset, data[start - member.offset : end - member.offset]
            return
        if member.kind not in {Kind.CONTENT, Kind.FILE}:
            return
        piece = self.elsewhere(member.digest, start - member.offset, end - start)
        if piece is None:
            piece = self._from_a_copy(member, start, end)
        if piece is not None:
            yield start - offset, piece

    def _from_a_copy(self, member: Member, start: int, end: int) -> bytes | None:
        for copy in self.copies:
            try:
                with copy.backend.read(copy.key, offset=member.offset, length=member.size, fresh=True) as reader:
                    found = measure(reader)
            except StorageError:
                continue
            if (found.size, found.blake3) == (member.size, member.digest):
                return copy.slice(start, end - start)
        return None

    def _whole_members(self) -> dict[bytes, bytes]:
        """Return the bytes of the members in lost blocks that can be put together as wholes."""
        found = {}
        for member in self.members:
            size = stored_size(member)
            touched = size and any(block in self.lost_blocks for block in _blocks_of(member.offset, size))
            if touched and size <= IN_MEMORY:
                data = self.member_bytes(member)
                if data is not None:
                    found[member.name] = data
        return found

    def member_bytes(self, member: Member) -> bytes | None:
        """Return a member's bytes if they can be had in any way, measured."""
        size = stored_size(member)
        if size > IN_MEMORY:
            return None
        if member.kind in {Kind.CONTENT, Kind.FILE}:
            data = self.elsewhere(member.digest, 0, size)
            if data is not None:
                return data
        candidates = []
        for copy in self.copies:
            pieces = []
            for number in _blocks_of(member.offset, size):
                block = self.block(number)
                if block is None:
                    block = copy.slice(number * BLOCK, self._length(number)).ljust(self._length(number), b"\0")
                pieces.append(block)
            joined = b"".join(pieces)
            start = member.offset % BLOCK
            candidates.append(joined[start : start + size])
        for trial in _trials(candidates):
            if blake3_hex(trial) == member.digest:
                return trial
        return None

    def big_member_pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of a member of any size from a copy in which it measures right; nothing if there is none."""
        for copy in self.copies:
            try:
                with copy.backend.read(copy.key, offset=member.offset, length=member.size) as reader:
                    found = measure(reader)
                if (found.size, found.blake3) != (member.size, member.digest):
                    continue
                with copy.backend.read(copy.key, offset=member.offset, length=member.size) as reader:
                    while data := reader.read(CHUNK):
                        yield data
            except StorageError:
                continue
            return


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
    """Return the (start, end) of the byte runs in which the candidates differ."""
    runs: list[tuple[int, int]] = []
    first = candidates[0]
    for other in candidates[1:]:
        if other == first:
            continue
        runs.extend((place, place + 1) for place in _differences(first, other))
    runs.sort()
    merged: list[tuple[int, int]] = []
    for start, end in runs:
        if merged and start <= merged[-1][1] + RUN_GAP:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _differences(one: bytes, other: bytes) -> Iterator[int]:
    step = 4096
    for start in range(0, len(one), step):
        if one[start : start + step] != other[start : start + step]:
            for place in range(start, min(start + step, len(one))):
                if one[place] != other[place]:
                    yield place


def _trials(candidates: Sequence[bytes]) -> Iterator[bytes]:
    """Yield each candidate, then every combination of the runs in which they differ, up to a limit."""
    yield from candidates
    if len(candidates) < 2:  # noqa: PLR2004 - one candidate differs from nothing
        return
    runs = _runs(candidates)
    if not runs or len(candidates) ** len(runs) > MOST_TRIALS:
        return
    for choice in itertools.product(range(len(candidates)), repeat=len(runs)):
        trial = bytearray(candidates[0])
        for (start, end), chosen in zip(runs, choice, strict=True):
            trial[start:end] = candidates[chosen][start:end]
        yield bytes(trial)


def joined(  # noqa: D417 - the other arguments are fields of Joined
    fixity: Fixity,
    blocks: bytes,
    index: bytes,
    label: str,
    members: Iterator[Member],
    *,
    copies: Sequence[Copy],
    elsewhere: OtherPacks,
) -> Joined:
    """Return the pack put together as far as possible.

    Args:
        members: what the index lists; the index itself is added here.
    """
    listed = list(with_index(members, label, len(index), blake3_hex(index)))
    digests = [blocks[start : start + 32] for start in range(0, len(blocks), 32)]
    result = Joined(fixity, digests, listed, index, label, copies, elsewhere)
    result.mend()
    return result
