"""Where in a segment the events about a pack or a package stand: a cache beside the segments that can be made anew.

::

    one line of JSON      count of entries; SHA-256 of the segment
    fences                the first key of each block, 4 bytes each
    4 bytes               CRC-32 of all before
    blocks                512 entries of 8 bytes and their CRC-32: key, row; ascending

A key is the CRC-32 of the identifier, so that an entry says "look there": whoever looks reads the record itself. A
cache that is missing, damaged or of another file is not believed, and the segment is searched instead; the check of the
ledger derives every one again. Numbers are big-endian.
"""

import os
import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from zlib import crc32

from preservation.ledger.canonical import canonical, read_canonical
from preservation.ledger.errors import LedgerError, LedgerUnreadableError
from preservation.ledger.files import read_file, replace_file
from preservation.ledger.layout import SUBJECTS_FOLDER, index_name
from preservation.ledger.sealed import Segment, segment_path
from preservation.ledger.segments import named_rows

INDEXED = ("pack", "package")
"""The columns whose values can be looked up; of a store or a run there are too many events for that."""

_BLOCK = 512
_ENTRY = struct.Struct(">II")
_CRC = struct.Struct(">I")
_LINE_LIMIT = 4096
_HEAD_LIMIT = 1 << 20
_FILE_LIMIT = 1 << 30


def index_path(root: str, first: int, end: int) -> str:
    """Return where the cache of a segment lies in the ledger at ``root``."""
    return os.path.join(root, SUBJECTS_FOLDER, index_name(first, end))


def key_of(value: str) -> int:
    """Return the key under which an identifier is entered."""
    return crc32(value.encode())


def index_bytes(segment_file: str, sha256: str) -> bytes:
    """Return the cache for the segment in ``segment_file``, the SHA-256 of which is ``sha256``.

    Raises:
        LedgerUnreadableError: The segment cannot be read.
    """
    entries = sorted({key_of(value) << 32 | row for row, value in named_rows(segment_file, INDEXED)})
    blocks = [entries[at : at + _BLOCK] for at in range(0, len(entries), _BLOCK)]
    head = canonical({"count": len(entries), "sha256": sha256}) + b"\n"
    head += b"".join(_CRC.pack(block[0] >> 32) for block in blocks)
    parts = [head, _CRC.pack(crc32(head))]
    for block in blocks:
        data = struct.pack(f">{len(block)}Q", *block)
        parts += [data, _CRC.pack(crc32(data))]
    return b"".join(parts)


def keep_indexes(root: str, segments: Iterable[Segment]) -> None:
    """Write the caches that are missing, but not that of a segment that cannot be read. Under the lock.

    Raises:
        OSError: A cache could not be written; a disk that fails is told of, though a cache can be made again.
    """
    for segment in segments:
        path = index_path(root, segment.first, segment.end)
        if os.path.exists(path):
            continue
        with suppress(LedgerUnreadableError):
            data = index_bytes(segment_path(root, segment.first, segment.end), segment.sha256)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_file(path, data)


def rows_about(root: str, segment: Segment, values: Iterable[str]) -> list[int] | None:
    """Return the rows of a segment, from 0 on, that may be about one of ``values``; None if the cache does not say."""
    try:
        with open(index_path(root, segment.first, segment.end), "rb", buffering=0) as file:
            fences, start, count = _head(file.fileno(), segment.sha256)
            found: set[int] = set()
            for value in values:
                found.update(_look_up(file.fileno(), fences, start, count, key_of(value)))
    except (OSError, ValueError, LedgerError):
        return None
    if any(row >= segment.end - segment.first for row in found):
        return None
    return sorted(found)


def _head(descriptor: int, sha256: str) -> tuple[Sequence[int], int, int]:
    """Return the fences, where the blocks begin, and how many entries there are; raises ``ValueError``."""
    data = os.pread(descriptor, _LINE_LIMIT, 0)
    line, newline, _ = data.partition(b"\n")
    value = read_canonical(line)
    if not newline or not isinstance(value, dict) or value.get("sha256") != sha256:
        raise ValueError("the cache of another segment")
    count = value.get("count")
    if not isinstance(count, int) or not 0 <= count <= _HEAD_LIMIT * _BLOCK // _CRC.size:
        raise ValueError("no count")
    fences = -(-count // _BLOCK) * _CRC.size
    start = len(line) + 1 + fences + _CRC.size
    if start > len(data):
        data = os.pread(descriptor, start, 0)
    body, check = data[: start - _CRC.size], data[start - _CRC.size : start]
    if _CRC.pack(crc32(body)) != check:
        raise ValueError("damaged")
    return [one for (one,) in _CRC.iter_unpack(body[len(line) + 1 :])], start, count


def _look_up(descriptor: int, fences: Sequence[int], start: int, count: int, key: int) -> Iterable[int]:
    """Yield the rows entered under ``key``; raises ``ValueError``."""
    number = max(0, bisect_left(fences, key) - 1)
    while number < len(fences) and fences[number] <= key:
        size = min(_BLOCK, count - number * _BLOCK) * _ENTRY.size
        data = os.pread(descriptor, size + _CRC.size, start + number * (_BLOCK * _ENTRY.size + _CRC.size))
        if len(data) != size + _CRC.size or _CRC.pack(crc32(data[:size])) != data[size:]:
            raise ValueError("damaged")
        yield from (row for found, row in _ENTRY.iter_unpack(data[:size]) if found == key)
        number += 1


def index_differs(root: str, first: int, end: int, sha256: str) -> str | None:
    """Return what is wrong with the cache of a segment; None if it is right or not there.

    Raises:
        LedgerUnreadableError: The segment cannot be read.
    """
    try:
        found = read_file(index_path(root, first, end), _FILE_LIMIT)
    except FileNotFoundError:
        return None
    except LedgerUnreadableError as error:
        return str(error)
    right = index_bytes(segment_path(root, first, end), sha256)
    return None if found == right else "the cache of its subjects is wrong"
