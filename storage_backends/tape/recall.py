"""Plans recalls: which cartridge comes into a drive next, and in which order its items are passed; pure arithmetic.

Mounting and winding cost minutes, reading seconds. So requests are gathered by cartridge, and of one cartridge all that
is wanted is read in one sweep: planned in the order of its blocks, and put into a better one by ``winding`` where the
drive in which it is mounted knows of one. A limit keeps those who want little from waiting for ever.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

PATIENCE = 4 * 3_600.0
"""Seconds that a request waits at most before its cartridge is the next, whatever else is wanted (4 hours)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one copy lies: the cartridge, the block (or any number that grows along the tape), and bytes to read."""

    cartridge: str
    block: int
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """Something wanted: its name, where copies of it lie on tape, and when it was asked for (seconds)."""

    name: str
    spots: tuple[Spot, ...]
    asked: float = 0.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """One cartridge, and what is read from it, in this order."""

    cartridge: str
    requests: tuple[tuple[Request, Spot], ...]


def next_sweep(
    waiting: Iterable[Request],
    *,
    now: float = 0.0,
    mounted: str = "",
    elsewhere: Collection[str] = (),
    patience: float = PATIENCE,
) -> Sweep | None:
    """Return what a drive does next; None if nothing waits, or only for cartridges that are ``elsewhere``.

    Who has waited longer than ``patience`` comes first, the longest of them; then what lies on the cartridge that is
    ``mounted``; then the cartridge from which most is wanted (the bytes, and then the barcode, decide between equals).
    Of copies on several cartridges the one on the chosen cartridge is read.

    So nobody waits longer than ``patience`` and, for each cartridge whose requests are older, one sweep.
    """
    by_cartridge: dict[str, list[tuple[Request, Spot]]] = defaultdict(list)
    oldest: Request | None = None
    for request in waiting:
        here = {spot.cartridge: spot for spot in reversed(request.spots) if spot.cartridge not in elsewhere}
        for cartridge, spot in here.items():
            by_cartridge[cartridge].append((request, spot))
        if here and (oldest is None or request.asked < oldest.asked):
            oldest = request
    if oldest is None:
        return None
    if now - oldest.asked > patience:
        choice = {spot.cartridge for spot in oldest.spots} & by_cartridge.keys()
    else:
        choice = set(by_cartridge)
    chosen = mounted if mounted in choice else max(choice, key=lambda one: (*_weight(by_cartridge[one]), one))
    return Sweep(chosen, tuple(sorted(by_cartridge[chosen], key=lambda one: one[1].block)))


def _weight(wanted: Sequence[tuple[Request, Spot]]) -> tuple[int, int]:
    return len(wanted), sum(spot.size for _, spot in wanted)


def planned(waiting: Iterable[Request], *, mounted: str = "") -> list[Sweep]:
    """Return all sweeps of one drive if nothing more is asked for: the mounted cartridge first, each one once."""
    left = {request.name: request for request in waiting}
    sweeps = []
    while (sweep := next_sweep(left.values(), mounted=mounted)) is not None:
        sweeps.append(sweep)
        mounted = sweep.cartridge
        for request, _ in sweep.requests:
            del left[request.name]
    return sweeps


def turn(block: int, wraps: Sequence[int]) -> tuple[int, float, int]:
    """Return what blocks are ordered by where the ends of wraps are known: on the way there or back, and how far on it.

    The tape then goes once from its beginning to its end, reading what lies on wraps that run forward, and once back,
    reading what lies on the others. ``wraps`` are the blocks before which each wrap ends.
    """
    wrap, along = along_the_tape(block, wraps)
    return (1, -along, block) if wrap % 2 else (0, along, block)


def along_the_tape(block: int, wraps: Sequence[int]) -> tuple[int, float]:
    """Return on which wrap a block lies (from 0), and how far from the beginning of the tape, as a share of its length.

    Wraps run forward and backward in turn. Without ``wraps`` the tape is one long wrap, and the block is the place.
    """
    if not wraps:
        return 0, float(block)
    wrap = min(bisect_right(wraps, block), len(wraps) - 1)
    begin = wraps[wrap - 1] if wrap else 0
    share = min(1.0, (block - begin) / max(1, wraps[wrap] - begin))
    return wrap, 1.0 - share if wrap % 2 else share
