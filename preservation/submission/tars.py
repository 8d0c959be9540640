"""Reading tar archives strictly: v7, ustar, pax and GNU long names; plain files and folders, nothing else.

The standard library's reader takes a damaged header for the end of the archive and reads headers of any announced size
into memory; here a header is right or the archive is refused. Formats: POSIX.1-2017 pax; GNU tar manual, "Basic Tar
Format".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from preservation.submission.errors import ArchiveConflictError, ArchiveDamagedError, ArchiveMemberError, shown
from preservation.submission.inflating import PIECE
from preservation.submission.unpacking import Unpacking
from storage_backends.errors import Phrase, marked

BLOCK = 512
_ZEROS = bytes(BLOCK)
_LARGEST_HEADER = 1 << 20
"""Bytes of an extended header or a long name."""

_NS = 1_000_000_000
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*").fullmatch
_SECONDS = re.compile(rb"-?[0-9]{1,18}(\.[0-9]{0,20})?").fullmatch
_PAX = re.compile(rb"([0-9]{1,7}) ([^=\n]+)=")
_REFUSED = {
    b"1": marked("it is a hard link"),
    b"2": marked("it is a symbolic link"),
    b"3": marked("it is a character device"),
    b"4": marked("it is a block device"),
    b"6": marked("it is a FIFO"),
    b"S": marked("it is a sparse file"),
}


class TarStream:
    """The bytes of a tar archive, from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def upto(self, size: int) -> memoryview:
        """Return at least one and at most ``size`` bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return self._rest
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield exactly ``size`` bytes.

        Raises:
            ArchiveDamagedError: There are fewer.
        """
        while size:
            taken = self.upto(min(size, PIECE))
            if not taken:
                raise ArchiveDamagedError(path=Phrase("the archive"), reason="it ends too early")
            size -= len(taken)
            yield bytes(taken)


@dataclass(slots=True)
class _Ahead:
    """What extended headers say about the next member."""

    path: bytes | None = None
    size: int | None = None
    mtime_ns: int | None = None
    attributes: dict[str, bytes] = field(default_factory=dict)


def unpack_tar(stream: TarStream, into: Unpacking) -> None:
    """Unpack a whole archive.

    Raises:
        SubmissionRefusedError: It is damaged, holds anything but files and folders, or leads out of the folder.
    """
    common: int | None = None
    ahead = _Ahead()
    while (header := stream.take(BLOCK)) != _ZEROS:
        _check_sum(header)
        kind, size = header[156:157], _number(header[124:136])
        if kind == b"g":
            common = _global(_extended(stream, size), common)
        elif kind == b"x":
            _take_pax(ahead, _extended(stream, size))
        elif kind == b"L":
            ahead.path = _extended(stream, size).rstrip(b"\0")
        elif kind == b"K":
            _extended(stream, size)  # a link's target: the link itself is refused
        else:
            _member(stream, header, ahead, common, into)
            ahead = _Ahead()
    if ahead != _Ahead():
        raise ArchiveDamagedError(path=Phrase("the archive"), reason="an extended header has no member")
    if stream.take(BLOCK) != _ZEROS:
        raise ArchiveDamagedError(path=Phrase("the archive"), reason="the mark of its end is broken")
    while rest := stream.upto(PIECE):
        if any(bytes(rest).lstrip(b"\0")):
            raise ArchiveConflictError(path=Phrase("the archive"), reason="there is data after its end")


def _member(stream: TarStream, header: bytes, ahead: _Ahead, common: int | None, into: Unpacking) -> None:
    kind = header[156:157]
    path = ahead.path if ahead.path is not None else _path(header)
    size = ahead.size if ahead.size is not None else _number(header[124:136])
    mtime_ns = ahead.mtime_ns if ahead.mtime_ns is not None else common
    if mtime_ns is None:
        mtime_ns = _number(header[136:148]) * _NS
    reason = _REFUSED.get(kind)
    if reason is None and kind not in {b"0", b"\0", b"7", b"5"}:
        reason = Phrase("it has the unknown type {kind!r}", kind=kind)
    if size < 0:
        reason = marked("its size is negative")
    if reason is None and any(key.startswith("GNU.sparse.") for key in ahead.attributes):
        reason = _REFUSED[b"S"]
    is_folder = kind == b"5" or path.endswith(b"/")
    if reason is None and is_folder and size:
        reason = marked("it is a folder with content")
    if reason is not None:
        raise ArchiveMemberError(path=shown(path[:1_000]), reason=reason)
    if is_folder:
        trimmed = path.rstrip(b"/")
        if trimmed != b".":
            into.folder(trimmed or path)
        return
    into.file(path, mtime_ns, stream.pieces(size), size=size)
    if size % BLOCK:
        stream.take(BLOCK - size % BLOCK)


def _path(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _check_sum(header: bytes) -> None:
    bare = header[:148] + b" " * 8 + header[156:]
    signed = sum(bare) - 256 * sum(byte > 127 for byte in bare)  # noqa: PLR2004 - some old writers summed signed bytes
    if _number(header[148:156]) not in {sum(bare), signed}:
        raise ArchiveDamagedError(path=Phrase("the archive"), reason="a member's header is damaged")


def _number(raw: bytes) -> int:
    """Return a number field: octal digits, or, with the highest bit set, a big-endian number (GNU)."""
    if raw[0] in {0x80, 0xFF}:
        return int.from_bytes(raw[1:], "big", signed=raw[0] == 0xFF)  # noqa: PLR2004
    match = _OCTAL(raw)
    if match is None:
        raise ArchiveDamagedError(
            path=Phrase("the archive"), reason="a member's header holds no number where one must be"
        )
    return int(match[1] or b"0", 8)


def _extended(stream: TarStream, size: int) -> bytes:
    if not 0 <= size <= _LARGEST_HEADER:
        reason = Phrase("an extended header is larger than {limit} bytes", limit=_LARGEST_HEADER)
        raise ArchiveMemberError(path=Phrase("the archive"), reason=reason)
    data = stream.take(size)
    if size % BLOCK:
        stream.take(BLOCK - size % BLOCK)
    return data


def _records(data: bytes) -> dict[str, bytes]:
    """Return the records ``length key=value`` of a pax header."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        match = _PAX.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or end <= match.end() or data[end - 1 : end] != b"\n":
            raise ArchiveDamagedError(path=Phrase("the archive"), reason="an extended header is damaged")
        found[match[2].decode("utf-8", "replace")] = data[match.end() : end - 1]
        at = end
    return found


def _take_pax(ahead: _Ahead, data: bytes) -> None:
    ahead.attributes = _records(data)
    if "path" in ahead.attributes:
        ahead.path = ahead.attributes["path"]
    if "size" in ahead.attributes:
        size = ahead.attributes["size"]
        if not re.fullmatch(rb"[0-9]{1,19}", size):
            raise ArchiveDamagedError(
                path=Phrase("the archive"), reason="an extended header holds a size that is no number"
            )
        ahead.size = int(size)
    if "mtime" in ahead.attributes:
        ahead.mtime_ns = _nanoseconds(ahead.attributes["mtime"])


def _global(data: bytes, before: int | None) -> int | None:
    """Return the modification time that holds for all following members, if one is given."""
    records = _records(data)
    if "path" in records or "size" in records:
        raise ArchiveMemberError(
            path=Phrase("the archive"), reason="a global header gives all members one path or size"
        )
    return _nanoseconds(records["mtime"]) if "mtime" in records else before


def _nanoseconds(raw: bytes) -> int:
    # The form is checked first: a decimal number may have an exponent of a billion.
    if not _SECONDS(raw):
        raise ArchiveDamagedError(path=Phrase("the archive"), reason="an extended header holds a time that is none")
    return int(Decimal(raw.decode("ascii")) * _NS)
