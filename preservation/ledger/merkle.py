"""The Merkle tree of RFC 6962 (SHA-256): roots, growing frontiers, proofs and their verification.

Many leaves are given packed: one ``bytes`` of 32-byte leaf hashes, so that a million of them take 32 MB.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Self

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()
"""The root of no leaves."""

NO_LEAF = bytes(HASH_BYTES)
"""Stands for "the leaf before the first one" in the hot file."""


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, 2.1)."""
    return sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the roots of its full subtrees, largest first. All that is needed to grow it."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError("a frontier has one peak for each bit that is set in its size")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError("a peak is a SHA-256 digest")

    def extended(self, leaves: Iterable[bytes]) -> Self:
        """Return the frontier after appending ``leaves`` (hashes)."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = sha256(b"\1" + peaks.pop() + node).digest()
                carry >>= 1
            peaks.append(node)
            size += 1
        return type(self)(size, tuple(peaks))

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = node_hash(peak, node)
        return node


def unpacked(leaves: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterable[bytes]:
    """Yield the leaf hashes ``start`` to ``end`` of packed ``leaves``."""
    end = len(leaves) // HASH_BYTES if end is None else end
    for index in range(start, end):
        yield bytes(leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES])


def root_of(leaves: bytes | memoryview, start: int = 0, end: int | None = None) -> bytes:
    """Return the root over the packed leaf hashes ``start`` to ``end``."""
    return Frontier().extended(unpacked(leaves, start, end)).root()


def inclusion_proof(leaves: bytes | memoryview, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of the first ``size`` leaves (RFC 6962, 2.1.1)."""
    _check_sizes(leaves, size)
    return [root_of(leaves, start, end) for start, end in inclusion_ranges(index, size)]


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaves below each node of the proof of leaf ``index`` among ``size``, in the proof's order."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    found: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_proof(leaves: bytes | memoryview, old_size: int, size: int) -> list[bytes]:
    """Return the proof that the tree of ``size`` leaves begins with that of ``old_size`` (RFC 6962, 2.1.2)."""
    _check_sizes(leaves, size)
    return [root_of(leaves, start, end) for start, end in _ranges(old_size, size)]


def consistency_from(frontier: Frontier, appended: Iterable[bytes], size: int) -> list[bytes]:
    """Return what ``consistency_proof`` does from ``frontier`` to ``size`` leaves, of which only the new ones are read.

    ``appended`` are the hashes of the leaves from ``frontier.size`` on; they are taken one by one.

    Raises:
        ValueError: There are fewer of them than ``size`` asks.
    """
    ranges = _ranges(frontier.size, size)
    nodes: dict[tuple[int, int], bytes] = {}
    start = 0
    for peak, bit in zip(frontier.peaks, _bits(frontier.size), strict=True):
        nodes[start, start + bit] = peak
        start += bit
    leaves = iter(appended)
    for first, end in sorted(pair for pair in ranges if pair[0] >= frontier.size):
        grown = Frontier().extended(islice(leaves, end - first))
        if grown.size != end - first:
            raise ValueError(f"{first + grown.size} leaves are no tree of {size}")
        nodes[first, end] = grown.root()
    return [nodes[pair] for pair in ranges]


def is_included(leaf: bytes, index: int, size: int, proof: Iterable[bytes], root: bytes) -> bool:
    """Tell whether ``proof`` leads from ``leaf`` at ``index`` to ``root``, of ``size`` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0 or len(step) != HASH_BYTES:
            return False
        if first & 1 or first == last:
            node = node_hash(step, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, step)
        first, last = first >> 1, last >> 1
    return last == 0 and node == root


def is_consistent(old_size: int, size: int, old_root: bytes, root: bytes, proof: Iterable[bytes]) -> bool:
    """Tell whether ``proof`` shows that the new tree is the old one plus appended leaves (RFC 9162, 2.1.4.2)."""
    path = list(proof)
    if not 0 <= old_size <= size or any(len(step) != HASH_BYTES for step in path):
        return False
    if old_size == size:
        return old_root == root and not path
    if old_size == 0:
        return old_root == EMPTY_ROOT and not path
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    return bool(path) and _climbed(old_size - 1, size - 1, path) == (old_root, root)


def _climbed(first: int, last: int, path: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the roots of the old and of the new tree that ``path`` leads to; None if its length is wrong."""
    while first & 1:
        first, last = first >> 1, last >> 1
    old_node = node = path[0]
    for step in path[1:]:
        if last == 0:
            return None
        if first & 1 or first == last:
            old_node, node = node_hash(step, old_node), node_hash(step, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, step)
        first, last = first >> 1, last >> 1
    return (old_node, node) if last == 0 else None


def _ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Return the leaves below each node of the proof from ``old_size`` to ``size``, in the proof's order."""
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} leaves does not begin with one of {old_size}")
    if old_size in {0, size}:
        return []
    found: list[tuple[int, int]] = []
    start, end, whole = 0, size, True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, whole = middle, False
    if not whole:
        found.append((start, end))
    return found[::-1]


def _bits(size: int) -> list[int]:
    """Return the powers of two that ``size`` is the sum of, largest first."""
    return [1 << position for position in reversed(range(size.bit_length())) if size >> position & 1]


def _split(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _check_sizes(leaves: bytes | memoryview, size: int) -> None:
    if len(leaves) % HASH_BYTES or not 0 <= size <= len(leaves) // HASH_BYTES:
        raise ValueError(f"{len(leaves)} bytes are not the hashes of {size} leaves")
