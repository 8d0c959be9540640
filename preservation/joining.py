"""Puts a damaged pack together again from what is good in all its copies.

In this order: by block, from any copy whose block measures right; from the index, which gives every header and all
padding back; by object, from any copy or any other pack that has it; by the byte runs in which the copies differ, tried
against the digest. What is still missing then is lost, and named.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from preservation.fixity import BLOCK, CHUNK, Fixity, Measuring, blake3_hex, measure
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

SECTOR = 4_096
"""Bytes read at a time around a place where the medium fails."""

IN_MEMORY = 64 << 20
"""Objects up to this many bytes are put together from runs; larger ones only by blocks."""


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
    _repeats: dict[str, list[Member]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note which objects stand in the pack more than once."""
        for member in self.members:
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
        if not stored_size(member):
            return []
        data = self.member_bytes(member)
        return self.big_member_pieces(member) if data is None else [data]

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
            and not self._is_there(member)
        ]

    def _is_there(self, member: Member) -> bool:
        if stored_size(member) <= IN_MEMORY:
            return self.member_bytes(member) is not None
        return self._from_a_copy(member, member.offset, member.offset + 1) is not None

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
        if member.kind not in _OBJECTS:
            return
        piece = self.elsewhere(member.digest, start - member.offset, end - start)
        if piece is None:
            piece = self._from_a_copy(member, start, end)
        if piece is not None:
            yield start - offset, piece

    def _from_a_copy(self, member: Member, start: int, end: int) -> bytes | None:
        for twin, copy in itertools.product(self._twins(member), self.copies):
            try:
                with copy.backend.read(copy.key, offset=twin.offset, length=twin.size, fresh=True) as reader:
                    found = measure(reader)
            except StorageError:
                continue
            if (found.size, found.blake3) == (member.size, member.digest):
                return copy.slice(twin.offset + start - member.offset, end - start)
        return None

    def _twins(self, member: Member) -> list[Member]:
        """Return the members that hold the same bytes: itself and its repeats."""
        return self._repeats.get(member.digest, [member]) if member.kind in _OBJECTS else [member]

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
        if member.kind in _OBJECTS:
            data = self.elsewhere(member.digest, 0, size)
            if data is not None:
                return data
        candidates = []
        for twin, copy in itertools.product(self._twins(member), self.copies):
            pieces = []
            for number in _blocks_of(twin.offset, size):
                block = self.block(number)
                if block is None:
                    block = copy.slice(number * BLOCK, self._length(number)).ljust(self._length(number), b"\0")
                pieces.append(block)
            start = twin.offset % BLOCK
            candidates.append(b"".join(pieces)[start : start + size])
        for trial in _trials(candidates):
            if blake3_hex(trial) == member.digest:
                return trial
        return None

    def big_member_pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of a member of any size from a copy in which it measures right; nothing if there is none."""
        for twin, copy in itertools.product(self._twins(member), self.copies):
            try:
                with copy.backend.read(copy.key, offset=twin.offset, length=twin.size) as reader:
                    found = measure(reader)
                if (found.size, found.blake3) != (member.size, member.digest):
                    continue
                with copy.backend.read(copy.key, offset=twin.offset, length=twin.size) as reader:
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
    blocks: bytes | None,
    index: bytes,
    label: str,
    members: Iterator[Member],
    *,
    copies: Sequence[Copy],
    elsewhere: OtherPacks,
) -> Joined | None:
    """Return the pack put together as far as possible; nothing if its block digests are lost and cannot be found.

    Args:
        blocks: the block digests, if there are any.
        members: what the index lists; the index itself is added here.
    """
    listed = list(with_index(members, label, len(index), blake3_hex(index)))
    unknown = [b""] * -(-fixity.size // BLOCK)
    result = Joined(fixity, unknown, listed, index, label, copies, elsewhere)
    digests = result.found_blocks() if blocks is None else blocks
    if digests is None:
        return None
    result.blocks = [digests[start : start + 32] for start in range(0, len(digests), 32)]
    result.mend()
    return result
