"""The sealed part of a ledger: which segments there are, and the tree's frontier at the end of each.

The frontiers are kept in a cache file, so that opening a ledger of a million events does not hash them all again. The
cache is believed only for files of the very name and size; the check of the ledger believes nothing.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256

from preservation.ledger.canonical import Json, canonical, read_canonical
from preservation.ledger.errors import LedgerDamagedError, LedgerError, LedgerUnreadableError, RecordError
from preservation.ledger.files import names_in, read_file, replace_file
from preservation.ledger.layout import HOT, SEGMENTS, STATE_FILE, hot_first, hot_name, segment_name, segment_range
from preservation.ledger.merkle import NO_LEAF, Frontier, leaf_hash
from preservation.ledger.segments import read_rows
from storage_backends.errors import Phrase

CACHE_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment: its events, its file's size in bytes and SHA-256, and the tree at its end."""

    first: int
    end: int
    size: int
    sha256: str
    last_leaf: bytes
    frontier: Frontier

    @property
    def name(self) -> str:
        """The name of its file."""
        return segment_name(self.first, self.end)


def segment_path(root: str, first: int, end: int) -> str:
    """Return where the segment lies in the ledger at ``root``."""
    return os.path.join(root, SEGMENTS, segment_name(first, end))


def hot_path(root: str, first: int) -> str:
    """Return where the hot file lies that begins with event ``first``."""
    return os.path.join(root, HOT, hot_name(first))


def segment_ranges(root: str) -> list[tuple[int, int]]:
    """Return first and end of each segment that counts, in order.

    A segment counts when the hot file after it has begun; before that, a crash may have left it uncompared, and its
    own hot file is what counts.

    Raises:
        LedgerDamagedError: They do not follow each other from 0 on.
    """
    ranges, _ = finished_ranges(root)
    expected = 0
    for first, end in ranges:
        if first != expected:
            reason = Phrase(
                "the segment that should begin here is missing, or the one before it is there twice ({first})",
                first=first,
            )
            raise LedgerDamagedError(place=os.path.join(root, SEGMENTS), seq=expected, reason=reason)
        expected = end
    return ranges


def finished_ranges(root: str) -> tuple[list[tuple[int, int]], str | None]:
    """Return first and end of each segment that counts, in order, and the name of the one that does not, if any."""
    ranges = sorted(pair for name in names_in(os.path.join(root, SEGMENTS)) if (pair := segment_range(name)))
    hot = [first for name in names_in(os.path.join(root, HOT)) if (first := hot_first(name)) is not None]
    if ranges and hot and max(hot) == ranges[-1][0]:
        return ranges[:-1], segment_name(*ranges[-1])
    return ranges, None


def sealed_segments(root: str) -> tuple[Segment, ...]:
    """Return the segments of the ledger at ``root``; what the cache does not know is hashed again."""
    ranges = segment_ranges(root)
    cached = cached_segments(root) if ranges else ()
    segments: list[Segment] = []
    for known, (first, end) in zip(cached, ranges, strict=False):
        if (known.first, known.end) != (first, end) or known.size != _size(segment_path(root, first, end)):
            break
        segments.append(known)
    for first, end in ranges[len(segments) :]:
        segments.append(measured_segment(root, first, end, segments[-1].frontier if segments else Frontier()))
    return tuple(segments)


def measured_segment(root: str, first: int, end: int, frontier: Frontier) -> Segment:
    """Return the segment with the tree at its end, every record of it hashed.

    Raises:
        LedgerUnreadableError: It cannot be read, or does not hold exactly the events that its name promises.
    """
    path = segment_path(root, first, end)
    last_leaf = NO_LEAF
    for records in segment_records(path, first, end):
        leaves = [leaf_hash(record) for record in records]
        frontier = frontier.extended(leaves)
        last_leaf = leaves[-1]
    return Segment(first, end, _size(path), file_sha256(path), last_leaf, frontier)


def segment_records(path: str, first: int, end: int, start: int = 0) -> Iterator[list[bytes]]:
    """Yield the records of a segment from event ``start`` on, a row group at a time.

    Raises:
        LedgerUnreadableError: As ``measured_segment``.
    """
    expected = None
    for rows in read_rows(path, start=start):
        if expected is None:
            expected = rows.seqs[0] if start > first else first
        if rows.seqs != list(range(expected, expected + len(rows.seqs))):
            raise LedgerUnreadableError(
                place=path, reason=Phrase("its events are not consecutive after {event}", event=expected)
            )
        expected += len(rows.seqs)
        skipped = max(0, start - rows.seqs[0])
        if skipped < len(rows.records):
            yield rows.records[skipped:]
    if expected != end:
        raise LedgerUnreadableError(place=path, reason=Phrase("it ends before event {event}", event=end))


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error


def keep_cache(root: str, segments: tuple[Segment, ...]) -> None:
    """Write the cache unless it says ``segments`` already; one that cannot be written is made again. Under the lock."""
    if cached_segments(root) == segments:
        return
    body = canonical([_encoded(segment) for segment in segments])
    with suppress(OSError):
        replace_file(os.path.join(root, STATE_FILE), body + b"\n" + sha256(body).hexdigest().encode() + b"\n")


def cached_segments(root: str) -> tuple[Segment, ...]:
    """Return what the cache says; nothing if it is missing or wrong in itself."""
    try:
        body, digest, rest = read_file(os.path.join(root, STATE_FILE), CACHE_LIMIT).split(b"\n")
        if rest or sha256(body).hexdigest().encode() != digest:
            return ()
        value = read_canonical(body)
        return tuple(_decoded(item) for item in value) if isinstance(value, list) else ()
    except (OSError, ValueError, TypeError, KeyError, LedgerError):
        return ()


def _encoded(segment: Segment) -> Json:
    return {
        "end": segment.end,
        "first": segment.first,
        "last_leaf": segment.last_leaf.hex(),
        "peaks": [peak.hex() for peak in segment.frontier.peaks],
        "sha256": segment.sha256,
        "size": segment.size,
    }


def _decoded(value: Json) -> Segment:
    if not isinstance(value, dict):
        raise RecordError(reason="not a segment")
    first, end, size, digest = value["first"], value["end"], value["size"], value["sha256"]
    leaf, peaks = value["last_leaf"], value["peaks"]
    if not (
        isinstance(first, int)
        and isinstance(end, int)
        and isinstance(size, int)
        and isinstance(digest, str)
        and isinstance(leaf, str)
        and isinstance(peaks, list)
    ):
        raise RecordError(reason="not a segment")
    frontier = Frontier(end, tuple(bytes.fromhex(str(peak)) for peak in peaks))
    return Segment(first, end, size, digest, bytes.fromhex(leaf), frontier)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise LedgerUnreadableError(place=path, reason=error.strerror) from error
