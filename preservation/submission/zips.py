"""Reading zip archives strictly: central directory and local headers must agree, and no two members may overlap.

Source: PKWARE APPNOTE 6.3.10; overlapping members: D. Fifield, "A better zip bomb", WOOT 2019. Only the offsets of all
members are held in memory, 8 bytes each.
"""

import os
import struct
import zlib
from array import array
from bisect import bisect_right
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from preservation.submission.errors import ArchiveConflictError, ArchiveDamagedError, ArchiveMemberError, shown
from preservation.submission.inflating import PIECE, inflated
from preservation.submission.unpacking import Unpacking
from storage_backends.errors import Phrase, marked

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_LONGEST_ENTRY = _CENTRAL.size + 3 * 0xFFFF
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
"""Values that say: look into the zip64 field."""

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_UTF8 = 0x0800
_DESCRIPTOR_BYTES = 12
_CODECS = {8: "deflate", 12: "bz2"}
_UNIX = 3
_FORMAT, _REGULAR, _FOLDER = 0o170000, 0o100000, 0o040000
_NS = 1_000_000_000
_WINDOWS_EPOCH = 11_644_473_600
"""Seconds from 1601 to 1970."""


class _Directory(NamedTuple):
    """Where the central directory lies, and how many members it has."""

    offset: int
    size: int
    members: int


@dataclass(slots=True)
class _Member:
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mtime_ns: int
    mode: int


def unpack_zip(fd: int, size: int, into: Unpacking) -> None:
    """Unpack a whole archive of ``size`` bytes.

    Raises:
        SubmissionRefusedError: It is damaged, encrypted, contradicts itself, holds anything but files and folders, or
            leads out of the folder.
    """
    directory = _find_directory(fd, size)
    into.expect(directory.members)
    offsets = array("Q", (member.offset for member in _members(fd, directory)))
    ordered = array("Q", sorted(offsets))
    for member in _members(fd, directory):
        if member.offset >= directory.offset:
            raise _conflict(member, marked("it begins behind the central directory"))
        after = bisect_right(ordered, member.offset)
        if after >= 2 and ordered[after - 2] == member.offset:  # noqa: PLR2004
            raise _conflict(member, marked("another member begins at the same place"))
        limit = ordered[after] if after < len(ordered) else directory.offset
        _check_member(member)
        begin = _check_local(fd, member)
        descriptor = _DESCRIPTOR_BYTES if member.flags & _DESCRIPTOR else 0
        if begin + member.packed + descriptor > limit:
            raise _conflict(member, marked("it overlaps what follows it"))
        if member.name.endswith(b"/"):
            if member.size:
                raise ArchiveMemberError(path=shown(member.name), reason="it is a folder with content")
            into.folder(member.name.rstrip(b"/") or member.name)
        else:
            into.file(
                member.name, member.mtime_ns, _content(fd, begin, member), size=member.size, archived=member.packed
            )


def _conflict(member: _Member, reason: str) -> ArchiveConflictError:
    return ArchiveConflictError(path=shown(member.name[:1_000]), reason=reason)


def _damaged(reason: str) -> ArchiveDamagedError:
    return ArchiveDamagedError(path=Phrase("the archive"), reason=reason)


def _read(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    if len(data) != size:
        raise _damaged(marked("it ends too early"))
    return data


def _find_directory(fd: int, size: int) -> _Directory:
    """Find the one end record whose comment ends with the file; two would be two readings of one archive."""
    start = max(0, size - _END.size - _LONGEST_COMMENT)
    tail = _read(fd, size - start, start)
    found = []
    at = tail.find(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            found.append(at)
        at = tail.find(b"PK\x05\x06", at + 1)
    if not found:
        raise _damaged(marked("it has no central directory: it is cut short or is no zip archive"))
    if len(found) > 1:
        raise ArchiveConflictError(path=Phrase("the archive"), reason="it has two ends")
    _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, found[0])
    if disk or first_disk or here != count:
        raise ArchiveMemberError(path=Phrase("the archive"), reason="it is one of several volumes")
    end = start + found[0]
    directory = _Directory(offset, length, count)
    if end >= _LOCATOR64.size:
        sign, disk, at64, _ = _LOCATOR64.unpack(_read(fd, _LOCATOR64.size, end - _LOCATOR64.size))
        if sign == b"PK\x06\x07":
            directory = _directory64(fd, at64, end - _LOCATOR64.size, directory)
            end = at64
    if directory.offset + directory.size != end:
        raise ArchiveConflictError(
            path=Phrase("the archive"), reason="its central directory is not where it is said to be"
        )
    return directory


def _directory64(fd: int, at: int, limit: int, short: _Directory) -> _Directory:
    if at + _END64.size > limit:
        raise _damaged(marked("its zip64 end record is not where it is said to be"))
    sign, length, _, _, disk, first_disk, here, count, size, offset = _END64.unpack(_read(fd, _END64.size, at))
    if sign != b"PK\x06\x06" or at + 12 + length != limit or disk or first_disk or here != count:
        raise _damaged(marked("its zip64 end record is damaged"))
    for value, full, long in (
        (short.offset, _FULL32, offset),
        (short.size, _FULL32, size),
        (short.members, _FULL16, count),
    ):
        if value not in {full, long}:
            raise ArchiveConflictError(path=Phrase("the archive"), reason="its two end records contradict each other")
    return _Directory(offset, size, count)


def _members(fd: int, directory: _Directory) -> Iterator[_Member]:
    """Read the central directory in pieces; the number and size of its entries must be as announced."""
    at, end = directory.offset, directory.offset + directory.size
    window, begin = b"", at
    for _ in range(directory.members):
        if at + _CENTRAL.size > end:
            raise _damaged(marked("its central directory has fewer members than announced"))
        if at + _LONGEST_ENTRY > begin + len(window) and begin + len(window) < end:
            window, begin = _read(fd, min(PIECE, end - at), at), at
        fixed = _CENTRAL.unpack_from(window, at - begin)
        name_size, extra_size, comment_size = fixed[10:13]
        if fixed[0] != b"PK\x01\x02" or at + _CENTRAL.size + name_size + extra_size + comment_size > end:
            raise _damaged(marked("its central directory is damaged"))
        name = at - begin + _CENTRAL.size
        extra = name + name_size
        yield _member(fixed, window[name:extra], window[extra : extra + extra_size])
        at += _CENTRAL.size + name_size + extra_size + comment_size
    if at != end:
        raise ArchiveConflictError(
            path=Phrase("the archive"), reason="its central directory has more members than announced"
        )


def _member(fixed: tuple[int, ...], name: bytes, extra: bytes) -> _Member:
    _, made_by, _, flags, method, time, date, crc, packed, size, _, _, _, disk, _, attributes, offset = fixed
    fields = _extra_fields(extra)
    size, packed, offset = _zip64(fields, size, packed, offset)
    mode = attributes >> 16 if made_by >> 8 == _UNIX else 0
    if disk not in {0, _FULL16}:
        raise ArchiveMemberError(path=shown(name), reason="it lies in another volume")
    return _Member(name, flags, method, crc, packed, size, offset, _mtime_ns(fields, time, date), mode)


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if at + 4 + length > len(extra):
            break  # trailing bytes that are no field are met in old archives
        fields.setdefault(kind, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _zip64(fields: dict[int, bytes], *values: int) -> list[int]:
    """Replace each value that is all ones by the next number of the zip64 field."""
    long = fields.get(0x0001, b"")
    found, at = [], 0
    for value in values:
        if value != _FULL32:
            found.append(value)
            continue
        if at + 8 > len(long):
            raise _damaged(marked("a zip64 field is too short"))
        found.append(int.from_bytes(long[at : at + 8], "little"))
        at += 8
    return found


def _mtime_ns(fields: dict[int, bytes], time: int, date: int) -> int:
    """Return the modification time: NTFS field, Unix field, else the DOS time, which has no zone: taken as UTC."""
    ntfs = fields.get(0x000A, b"")
    if len(ntfs) >= 32 and ntfs[4:8] == b"\x01\x00\x18\x00":  # noqa: PLR2004
        return int.from_bytes(ntfs[8:16], "little") * 100 - _WINDOWS_EPOCH * _NS
    unix = fields.get(0x5455, b"")
    if len(unix) >= 5 and unix[0] & 1:  # noqa: PLR2004
        return int.from_bytes(unix[1:5], "little", signed=True) * _NS
    day = (date >> 9) + 1980, max(1, min(12, date >> 5 & 15)), max(1, date & 31)
    return timegm((*day, time >> 11, time >> 5 & 63, (time & 31) * 2)) * _NS


def _check_member(member: _Member) -> None:
    reason = ""
    if member.flags & _ENCRYPTED:
        reason = marked("it is encrypted")
    elif member.mode & _FORMAT not in {0, _REGULAR, _FOLDER}:
        reason = marked("it is a symbolic link or a special file")
    elif member.method not in {0, *_CODECS}:
        reason = Phrase(
            "compression method {method} is not supported; pack it again with Deflate", method=member.method
        )
    elif member.mode & _FORMAT == _FOLDER and not member.name.endswith(b"/"):
        reason = marked("it says that it is a folder and a file")
    if reason:
        raise ArchiveMemberError(path=shown(member.name[:1_000]), reason=reason)


def _check_local(fd: int, member: _Member) -> int:
    """Compare the local header with the central one; return where the content begins."""
    fixed = _LOCAL.unpack(_read(fd, _LOCAL.size, member.offset))
    sign, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fixed
    if sign != b"PK\x03\x04":
        raise _conflict(member, marked("there is no member where the central directory says"))
    text = _read(fd, name_size + extra_size, member.offset + _LOCAL.size)
    told = _ENCRYPTED | _DESCRIPTOR | _UTF8
    if text[:name_size] != member.name:
        raise _conflict(member, Phrase("its local header calls it {name}", name=shown(text[:name_size])))
    if method != member.method or flags & told != member.flags & told:
        raise _conflict(member, marked("its local header differs in method or flags"))
    size, packed = _zip64(_extra_fields(text[name_size:]), size, packed)
    late = {0} if flags & _DESCRIPTOR else set[int]()
    if not (size in {member.size, *late} and packed in {member.packed, *late} and crc in {member.crc, *late}):
        raise _conflict(member, marked("its local header differs in size or checksum"))
    return member.offset + _LOCAL.size + len(text)


def _content(fd: int, begin: int, member: _Member) -> Iterator[bytes]:
    """Yield the content, and raise at its end if its CRC-32 is wrong."""
    pieces = _packed(fd, begin, member.packed)
    if member.method:
        pieces = inflated(pieces, _CODECS[member.method], path=shown(member.name), several=False)
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        yield piece
    if crc != member.crc:
        raise ArchiveDamagedError(path=shown(member.name), reason="the content does not have the archive's CRC-32")


def _packed(fd: int, begin: int, size: int) -> Iterator[bytes]:
    end = begin + size
    while begin < end:
        piece = _read(fd, min(PIECE, end - begin), begin)
        begin += len(piece)
        yield piece
