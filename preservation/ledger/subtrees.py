"""Subtrees: the leaves of a range hashed apart from all others, and joined to the tree that they are part of.

A subtree is a pair: its level (2^level leaves) and its root. In the tree of RFC 6962 every such range that begins at a
multiple of its length is a node, so that parts of a long log can be hashed side by side.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeAlias

from preservation.ledger.merkle import Frontier

Subtree: TypeAlias = tuple[int, bytes]


def subtrees(first: int, leaves: Sequence[bytes]) -> list[Subtree]:
    """Return the largest subtrees, in order, that the leaf hashes ``leaves`` from number ``first`` on consist of."""
    left: list[Subtree] = []
    right: list[Subtree] = []
    level, nodes = 0, leaves
    while nodes:
        if first & 1:
            left.append((level, nodes[0]))
            nodes = nodes[1:]
            first += 1
        if len(nodes) & 1:
            right.append((level, nodes[-1]))
            nodes = nodes[:-1]
        nodes = [sha256(b"\1" + nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]
        first >>= 1
        level += 1
    return left + right[::-1]


def joined(frontier: Frontier, following: Iterable[Subtree]) -> Frontier:
    """Return ``frontier`` grown by the subtrees that follow it.

    Raises:
        ValueError: A subtree does not begin at a multiple of its length.
    """
    size, peaks = frontier.size, list(frontier.peaks)
    for level, root in following:
        if size & ((1 << level) - 1):
            raise ValueError(f"no subtree of level {level} begins after {size} leaves")
        node, carry = root, size >> level
        while carry & 1:
            node = sha256(b"\1" + peaks.pop() + node).digest()
            carry >>= 1
        peaks.append(node)
        size += 1 << level
    return Frontier(size, tuple(peaks))
