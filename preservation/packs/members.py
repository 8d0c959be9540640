"""What one member of a pack is, and its exact tar header: deterministic, so that an index gives the headers back.

Headers are POSIX ustar with a pax extended header (IEEE Std 1003.1, "pax Interchange Format") where a name is not
ASCII, is longer than 100 bytes, or a size does not fit. All other fields are fixed: mode, owner 0, time 0.
"""

from dataclasses import dataclass
from enum import StrEnum

from preservation.packs.layout import content_name, link_target

BLOCK = 512
ASCII_LIMIT = 0x7F
LONGEST_NAME = 100
LARGEST_SIZE = 0o77777777777
CHECKSUM_BLANKS = 8 * ord(" ")
_TO_ASCII = bytes(byte if byte <= ASCII_LIMIT else ord("_") for byte in range(256))


class Kind(StrEnum):
    """What a member is for."""

    README = "readme"
    CONTENT = "content"
    """An object, named by its digest."""
    LINK = "link"
    """A file's own name: a hard link to an earlier member of the same pack."""
    SYMLINK = "symlink"
    """A file's own name: a relative symbolic link to an object in another pack."""
    FILE = "file"
    """A file's own name with its bytes again: empty files and each 1,000th repeat."""
    FOLDER = "folder"
    """An empty folder."""
    MANIFEST = "manifest"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``offset`` is where its bytes begin in the pack; ``digest`` is BLAKE3 of the object or the bytes."""

    kind: Kind
    name: bytes
    offset: int = 0
    size: int = 0
    digest: str = ""
    target: bytes = b""
    """Of a hard link: the member that it names again."""


def padding(size: int) -> int:
    """Return how many zero bytes follow ``size`` bytes up to the next multiple of 512."""
    return -size % BLOCK


def _header(name: bytes, mode: bytes, size: int, flag: bytes, target: bytes) -> bytes:
    owner = b"0000000\x000000000\x00"
    fields = b"%s%s\x00%s%011o\x0000000000000\x00" % (name.ljust(LONGEST_NAME, b"\0"), mode, owner, size)
    rest = (
        flag + target.ljust(LONGEST_NAME, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" + bytes(167)
    )
    checksum = sum(fields) + sum(rest) + CHECKSUM_BLANKS
    return b"%s%06o\x00 %s" % (fields, checksum, rest)


def _pax_record(keyword: bytes, value: bytes) -> bytes:
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


def _is_plain(name: bytes) -> bool:
    return len(name) <= LONGEST_NAME and name.isascii()


def _pax(name: bytes, target: bytes, size: int) -> bytes:
    records = []
    if not _is_utf8(name) or not _is_utf8(target):
        records.append(_pax_record(b"hdrcharset", b"BINARY"))
    if not _is_plain(name):
        records.append(_pax_record(b"path", name))
    if not _is_plain(target):
        records.append(_pax_record(b"linkpath", target))
    if size > LARGEST_SIZE:
        records.append(_pax_record(b"size", b"%d" % size))
    if not records:
        return b""
    data = b"".join(records)
    return _header(b"pax", b"0000444", len(data), b"x", b"") + data + bytes(padding(len(data)))


def _is_utf8(name: bytes) -> bool:
    if name.isascii():
        return True
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short(name: bytes) -> bytes:
    """The name for readers that know no pax: ASCII, cut; the readers of today take the pax record."""
    if _is_plain(name):
        return name
    return name[-LONGEST_NAME:].translate(_TO_ASCII).lstrip(b"/")


def header(member: Member) -> bytes:
    """Return the exact bytes before the member's own: tar header, and a pax header before it where needed."""
    kind, name, size = member.kind, member.name, member.size
    if kind is Kind.CONTENT and size <= LARGEST_SIZE:
        return _header(name, b"0000444", size, b"0", b"")
    mode, flag, target = b"0000444", b"0", b""
    if kind is Kind.LINK:
        flag, target, size = b"1", member.target, 0
    elif kind is Kind.SYMLINK:
        mode, flag, target, size = b"0000777", b"2", link_target(name, member.digest), 0
    elif kind is Kind.FOLDER:
        mode, flag = b"0000755", b"5"
    pax = _pax(name, target, size)
    return pax + _header(_short(name), mode, min(size, LARGEST_SIZE), flag, _short(target))


def stored_size(member: Member) -> int:
    """Return how many bytes of the member stand in the pack behind its header, padding not counted."""
    return 0 if member.kind in {Kind.LINK, Kind.SYMLINK, Kind.FOLDER} else member.size


def content_member(digest: str, offset: int, size: int) -> Member:
    """Return the member of an object."""
    return Member(Kind.CONTENT, content_name(digest), offset, size, digest)
