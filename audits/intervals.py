"""How often all cartridges of a store can be read at best: what drives and hours allow.

A pass over a cartridge is its bytes at the rate of the drive, and the time in which it is brought, loaded, rewound,
unloaded and put away. Where no rate is known, that of LTO-9 is taken (400 MB/s; IBM TS2290 manual for the times).
"""

DAY = 86_400.0

RATE = 400e6
"""Bytes a second that a drive reads where nothing else is known: LTO-9, full height."""

HANDLING = 10.0 + 16.0 + 62.0 + 56.0 + 10.0
"""Seconds for one cartridge beside reading: the arm (assumed), load, rewind, unload, the arm again."""


def shortest_interval(size: int, cartridges: int, *, drives: int, share: float, rate: float = RATE) -> float | None:
    """Return the days in which ``drives`` read that many bytes on so many cartridges once; None if they never do.

    ``share`` is the part of all hours in which they may read.
    """
    if drives < 1 or share <= 0 or rate <= 0:
        return None
    return (size / rate + cartridges * HANDLING) / (drives * share) / DAY
