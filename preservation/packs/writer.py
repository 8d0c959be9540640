"""Writes one pack, member by member, to several sinks at once, and knows its digests when it is finished."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from preservation.fixity import Fixity, Measuring, blake3_hex
from preservation.packs import layout
from preservation.packs.index import ManifestLine, header_line, member_line
from preservation.packs.members import Kind, Member, header, padding, stored_size
from preservation.packs.readme import readme

GATHER = 4 << 20
"""Bytes gathered before they are digested and handed on (4 MiB)."""

LARGEST_INDEX = 32 << 20
"""A pack is cut when its index reaches this many bytes, so that an index fits into memory everywhere."""


class Sink(Protocol):
    """Takes the bytes of a pack in order."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes; they may be reused by the caller when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class FinishedPack:
    """A pack as written: what its copies must measure, and its sidecars."""

    label: str
    fonds: str
    fixity: Fixity
    index: bytes
    blocks: bytes
    objects: int
    content_bytes: int

    @property
    def pack(self) -> str:
        """The name of the pack: the BLAKE3 digest of its bytes."""
        return self.fixity.blake3


@dataclass(slots=True)
class PackWriter:
    """Writes a pack: open it, add members, ``finish`` it. Nothing is kept but the index."""

    label: str
    fonds: str
    sink: Sink
    offset: int = 0
    members: int = 0
    objects: int = 0
    content_bytes: int = 0
    _lines: list[bytes] = field(default_factory=list)
    _index_size: int = 0
    _gathered: bytearray = field(default_factory=bytearray)
    _measuring: Measuring = field(default_factory=lambda: Measuring(blocks=True))

    def __post_init__(self) -> None:
        """Begin with the index's first line and the README."""
        self._list(header_line(self.label, self.fonds))
        text = readme(self.label)
        self._add(Kind.README, layout.readme_name(self.label), text)

    def _list(self, line: bytes) -> None:
        self._lines.append(line)
        self._index_size += len(line)

    def _put(self, data: bytes | memoryview) -> None:
        self.offset += len(data)
        if len(data) >= GATHER:
            self._flush()
            self._measuring.update(data)
            self.sink.write(data)
            return
        self._gathered += data
        if len(self._gathered) >= GATHER:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._measuring.update(self._gathered)
            self.sink.write(self._gathered)
            self._gathered = bytearray()

    def _begin(self, kind: Kind, name: bytes, size: int, digest: str) -> Member:
        before = header(Member(kind, name, 0, size, digest))
        member = Member(kind, name, self.offset + len(before), size, digest)
        self._put(before)
        self.members += 1
        return member

    def _add(self, kind: Kind, name: bytes, data: bytes, manifest: ManifestLine | None = None) -> Member:
        member = self._begin(kind, name, len(data), blake3_hex(data))
        self._put(data)
        self._put(bytes(padding(len(data))))
        self._list(member_line(member, manifest))
        return member

    def fits(self, size: int) -> bool:
        """Tell whether an object of ``size`` bytes still belongs into this pack; the first always does."""
        full = self.offset + size > layout.TARGET_SIZE or self.members >= layout.TARGET_MEMBERS
        return self.members == 1 or not (full or self._index_size >= LARGEST_INDEX)

    def add_object(self, digest: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Add an object that is not yet in this pack; ``pieces`` give exactly ``size`` bytes."""
        member = self._begin(Kind.CONTENT, layout.content_name(digest), size, digest)
        for piece in pieces:
            self._put(piece)
        assert self.offset == member.offset + size, "the pieces of an object do not add up to its size"
        self._put(bytes(padding(size)))
        self.objects += 1
        self.content_bytes += size
        self._list(member_line(member))

    def add_small_object(self, digest: str, data: bytes) -> None:
        """Add an object whose bytes are at hand: the path that a million small files take."""
        name, size = layout.content_name(digest), len(data)
        before = header(Member(Kind.CONTENT, name, 0, size, digest))
        gathered = self._gathered
        gathered += before
        place = self.offset + len(before)
        gathered += data
        gathered += bytes(-size % 512)
        self.offset = place + size + -size % 512
        self.members += 1
        self.objects += 1
        self.content_bytes += size
        self._list(b'{"blake3":"%s","offset":%d,"size":%d}\n' % (digest.encode(), place, size))
        if len(gathered) >= GATHER:
            self._flush()

    def link(self, name: bytes, digest: str, target: bytes) -> None:
        """Give a file its own name: a hard link to the earlier member ``target`` of this pack."""
        self._name(Member(Kind.LINK, name, digest=digest, target=target))

    def point(self, name: bytes, digest: str) -> None:
        """Give a file its own name: a symbolic link to an object that lies in another pack."""
        self._name(Member(Kind.SYMLINK, name, digest=digest))

    def folder(self, name: bytes) -> None:
        """Keep an empty folder; ``name`` ends in a slash."""
        self._name(Member(Kind.FOLDER, name))

    def _name(self, member: Member) -> None:
        self._put(header(member))
        self.members += 1
        self._list(member_line(member))

    def repeat(self, name: bytes, digest: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Give a file its own name and its bytes once more."""
        member = self._begin(Kind.FILE, name, size, digest)
        for piece in pieces:
            self._put(piece)
        assert self.offset == member.offset + size, "the pieces of a file do not add up to its size"
        self._put(bytes(padding(size)))
        self._list(member_line(member))

    def add_manifest(self, name: bytes, fixity: Fixity, pieces: Iterable[bytes], line: ManifestLine) -> Member:
        """Add a manifest of which the fixity is known; returns where it lies."""
        member = self._begin(Kind.MANIFEST, name, fixity.size, fixity.blake3)
        for piece in pieces:
            self._put(piece)
        assert self.offset == member.offset + stored_size(member), "the manifest does not add up to its size"
        self._put(bytes(padding(fixity.size)))
        self._list(member_line(member, line))
        return member

    def finish(self) -> FinishedPack:
        """Add the index, end the tar file and pad it; the sink has all bytes when this returns."""
        index = b"".join(self._lines)
        self._begin(Kind.INDEX, layout.index_name(self.label), len(index), blake3_hex(index))
        self._put(index)
        self._put(bytes(padding(len(index))))
        self._put(ending(self.offset))
        self._flush()
        blocks = b"".join(self._measuring.blocks())
        fixity = self._measuring.fixity()
        return FinishedPack(self.label, self.fonds, fixity, index, blocks, self.objects, self.content_bytes)


def ending(offset: int) -> bytes:
    """Return the two zero blocks that end a tar file at ``offset`` and the zeros up to the next full record."""
    size = offset + 2 * 512
    return bytes(2 * 512 + -size % layout.RECORD)
