"""Simulates an archive of 2 PB in 10 million objects on LTO-9 cartridges: how long recalls and writes take.

usage: python benchmarks/tape_recall.py [--seed N] [CASE ...]

Cases: recall (1,000 random objects from 20 cartridges: planned, as they were asked for, and a lower bound), mixed
(requests to the whole archive for ten days, two drives), write (what staging is worth), audit (how often all
cartridges can be read). Nothing is measured: all times are the model's.

The model. A cartridge of 18 TB has 280 wraps, every second one of which runs back (CERN, eoscta.docs.cern.ch/lto/scsi);
a wrap is passed at 400 MB/s of data. Winding takes 124 s over the whole length (twice the 62 s of an average rewind);
each locate that does not go on where the last read ended takes 3 s more (to stop, change wrap, settle: an assumption).
Load 16 s, unload 56 s behind the rewind (IBM TS2290 manual), 10 s for the arm each way and 5 s for a synchronous
filemark (assumptions). Errors and the drive's buffer are left out.
"""

import argparse
import random
import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from audits.intervals import shortest_interval
from storage_backends.tape import winding
from storage_backends.tape.drive import RECORD, UnsupportedError
from storage_backends.tape.recall import Request, Spot, Sweep, along_the_tape, next_sweep, planned

CAPACITY = 18 * 10**12
RATE = 400e6
WRAPS = 280
LENGTH_SECONDS = 2 * 62.0
SETTLE = 3.0
LOAD, UNLOAD, ARM = 16.0, 56.0, 10.0
SYNC = 5.0
"""Seconds that a synchronous filemark costs: the buffer is emptied, the tape stops and starts again (an assumption)."""

BLOCKS = CAPACITY // RECORD
ENDS = [BLOCKS * (wrap + 1) // WRAPS for wrap in range(WRAPS)]

OBJECTS, ARCHIVE = 10_000_000, 2 * 10**15
DAY = 86_400.0


@dataclass
class Drive:
    """A drive by the clock: where its tape stands, as a share of the length, and what it has done."""

    clock: float = 0.0
    cartridge: str = ""
    at: float = 0.0
    next_block: int = -1
    mounts: int = 0
    busy: dict[str, float] = field(default_factory=dict)

    def _take(self, what: str, seconds: float) -> None:
        self.clock += seconds
        self.busy[what] = self.busy.get(what, 0.0) + seconds

    def mount(self, cartridge: str) -> None:
        """Bring a cartridge into the drive, unless it is there."""
        if cartridge == self.cartridge:
            return
        self.release()
        self._take("mount", ARM + LOAD)
        self.cartridge, self.at, self.next_block, self.mounts = cartridge, 0.0, -1, self.mounts + 1

    def release(self) -> None:
        """Rewind, unload and put away what is in the drive."""
        if self.cartridge:
            self._take("wind", self.at * LENGTH_SECONDS)
            self._take("mount", UNLOAD + ARM)
            self.cartridge = ""

    def read(self, spot: Spot) -> None:
        """Go there and read."""
        self.mount(spot.cartridge)
        if spot.block != self.next_block:
            _, along = along_the_tape(spot.block, ENDS)
            self._take("wind", abs(along - self.at) * LENGTH_SECONDS)
            self._take("settle", SETTLE)
        self._take("read", spot.size / RATE)
        self.next_block = spot.block + max(1, -(-spot.size // RECORD))
        _, self.at = along_the_tape(self.next_block, ENDS)


class TellsWraps:
    """A drive that answers where its wraps end, and knows no recommended order: LTO-7, LTO-8 and half-height ones."""

    def ask(self, cdb: bytes, *, out: bytes = b"", expected: int = 0) -> bytes:
        """Answer READ END OF WRAP POSITION, and refuse everything else."""
        del out
        if cdb[:3] != winding.end_of_wraps(0)[:3]:
            raise UnsupportedError(place="model", reason="invalid operation code")
        body = b"".join(
            wrap.to_bytes(2, "big") + bytes(4) + (end - 1).to_bytes(6, "big") for wrap, end in enumerate(ENDS)
        )
        return ((2 + len(body)).to_bytes(2, "big") + bytes(2) + body)[:expected]


def wound(sweep: Sweep) -> Sweep:
    """Return a sweep in the order that the product makes of it with such a drive."""
    order = winding.in_order(TellsWraps(), [(spot.block, spot.size) for _, spot in sweep.requests])
    return Sweep(sweep.cartridge, tuple(sweep.requests[place] for place in order))


def lower_bound(requests: Iterable[Request]) -> float:
    """Return what no order can beat: each needed cartridge is mounted once, and its tape goes once there and back.

    There: to the farthest place that is wanted. What is read needs no winding on its way, and each place is settled at
    once. Requests have one copy each.
    """
    spots: dict[str, list[Spot]] = {}
    for request in requests:
        spots.setdefault(request.spots[0].cartridge, []).append(request.spots[0])
    total = 0.0
    for wanted in spots.values():
        farthest = max(along_the_tape(spot.block, ENDS)[1] for spot in wanted)
        passed = sum(spot.size for spot in wanted) / RECORD / (BLOCKS / WRAPS)
        total += ARM + LOAD + UNLOAD + ARM + max(0.0, 2 * farthest - passed) * LENGTH_SECONDS
        total += sum(spot.size / RATE + SETTLE for spot in wanted)
    return total


def in_sequence(spots: Iterable[Spot]) -> Drive:
    """Return a drive that read these in this order and gave its cartridge back."""
    drive = Drive()
    for spot in spots:
        drive.read(spot)
    drive.release()
    return drive


def random_size(chance: random.Random, mean: float) -> int:
    """Return a log-normal size with that mean: most are small, few are large."""
    sigma = 1.5
    return max(1, int(chance.lognormvariate(0.0, sigma) * mean / 2.718281828 ** (sigma * sigma / 2)))


def scattered(chance: random.Random, count: int, cartridges: int, mean: float) -> list[Request]:
    """Return requests for random objects on that many full cartridges."""
    found = []
    for number in range(count):
        size = random_size(chance, mean)
        block = chance.randrange(BLOCKS - size // RECORD - 1)
        found.append(Request(f"object {number}", (Spot(f"C{chance.randrange(cartridges):03d}", block, size),)))
    return found


def recall(seed: int) -> list[str]:
    """1,000 random objects from 20 cartridges, one drive."""
    lines = ["| order | time, h | mounts | against the bound |", "| --- | --- | --- | --- |"]
    figures: dict[str, list[tuple[float, int, float]]] = {}
    for number in range(20):
        chance = random.Random(seed + number)
        requests = scattered(chance, 1_000, 20, ARCHIVE / OBJECTS)
        bound = lower_bound(requests)
        orders: dict[str, Sequence[Spot]] = {
            "as asked for": [request.spots[0] for request in requests],
            "by cartridge, as asked for": [
                spot for one in planned(requests) for _, spot in sorted(one.requests, key=lambda pair: pair[0].name)
            ],
            "planned by block": [spot for one in planned(requests) for _, spot in one.requests],
            "planned by wrap": [spot for one in planned(requests) for _, spot in wound(one).requests],
        }
        for name, spots in orders.items():
            drive = in_sequence(spots)
            figures.setdefault(name, []).append((drive.clock, drive.mounts, drive.clock / bound))
        figures.setdefault("lower bound", []).append((bound, 20, 1.0))
    for name, found in figures.items():
        times, mounts, ratios = ([one[place] for one in found] for place in range(3))
        lines.append(
            f"| {name} | {statistics.median(times) / 3600:.2f} | {statistics.median(mounts):.0f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}) |"
        )
    return lines


def archive(seed: int) -> tuple["array[int]", list[int]]:
    """Return where each of 10 million objects begins, in bytes of all packs one after the other, and their sizes."""
    chance = random.Random(seed)
    begins, at = array("q"), 0
    sizes = [random_size(chance, ARCHIVE / OBJECTS) for _ in range(1_000_000)]
    for number in range(OBJECTS):
        begins.append(at)
        at += sizes[number % len(sizes)]
    return begins, sizes


def mixed(seed: int) -> list[str]:
    """10 days, two drives, one copy on tape: 1,500 single objects and 4 packages of 500 a day."""
    begins, sizes = archive(seed)
    chance = random.Random(seed)
    asked = []
    for day in range(10):
        counts = [1] * 1_500 + [500] * 4
        asked += [((day + chance.random()) * DAY, chance.randrange(OBJECTS - count), count) for count in counts]
    requests = []
    for number, (time, first, count) in enumerate(sorted(asked)):
        for one in range(first, first + count):
            cartridge, within = divmod(begins[one], CAPACITY - (1 << 40))
            spot = Spot(f"C{cartridge:03d}", within // RECORD, sizes[one % len(sizes)])
            requests.append(Request(f"{number}/{one}", (spot,), time))
    lines = [
        f"{len(requests):,} objects on {len({one.spots[0].cartridge for one in requests})} cartridges.",
        "",
        "| order | mounts | drives busy | wait, median | 95 % | longest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, how in (("as asked for", "first"), ("planned by block", ""), ("planned by wrap", "wraps")):
        waits, mounts, busy, until = served(requests, how)
        waits.sort()
        quantiles = [waits[int(len(waits) * share)] for share in (0.5, 0.95)]
        shown = " | ".join(f"{wait / 3600:.1f} h" for wait in (*quantiles, waits[-1]))
        lines.append(f"| {name} | {mounts:,} | {100 * busy / (2 * max(until, 10 * DAY)):.0f} % | {shown} |")
    return lines


def served(requests: Sequence[Request], how: str) -> tuple[list[float], int, float, float]:
    """Return the waits of all requests, mounts, the seconds that drives were busy, and when the last one was done."""
    drives = [Drive(), Drive()]
    waiting: dict[str, Request] = {}
    waits, coming, busy = [], 0, 0.0
    while coming < len(requests) or waiting:
        drive = min(drives, key=lambda one: one.clock)
        while coming < len(requests) and requests[coming].asked <= drive.clock:
            waiting[requests[coming].name] = requests[coming]
            coming += 1
        other = {one.cartridge for one in drives if one is not drive}
        sweep = _chosen(waiting, drive, other, how)
        if sweep is None:
            later = [one.clock for one in drives if one.clock > drive.clock]
            later += [requests[coming].asked] if coming < len(requests) else []
            drive.clock = min(later)
            continue
        began = drive.clock
        for request, spot in sweep.requests:
            drive.read(spot)
            waits.append(drive.clock - request.asked)
            del waiting[request.name]
        busy += drive.clock - began
    return waits, sum(one.mounts for one in drives), busy, max(one.clock for one in drives)


def _chosen(waiting: dict[str, Request], drive: Drive, other: set[str], how: str) -> Sweep | None:
    if how != "first":
        sweep = next_sweep(waiting.values(), now=drive.clock, mounted=drive.cartridge, elsewhere=other)
        return wound(sweep) if sweep is not None and how == "wraps" else sweep
    for request in waiting.values():  # the oldest; all of one package at once, as a person would
        package, spot = request.name.partition("/")[0], request.spots[0]
        if spot.cartridge in other:
            continue
        same = []
        for one in waiting.values():
            if one.name.partition("/")[0] != package:
                break
            same += [(one, one.spots[0])] if one.spots[0].cartridge == spot.cartridge else []
        return Sweep(spot.cartridge, tuple(same or [(request, spot)]))
    return None


def write(_seed: int) -> list[str]:
    """One drive writes, syncs, lists and reads back what was staged: what a larger stage is worth."""
    lines = [
        "| staged, GiB | bytes a second written and read back | days for 2 PB on one drive |",
        "| --- | --- | --- |",
    ]
    for gib in (0.5, 1, 4, 16, 32, 128):
        size = gib * 2**30
        along = size / RECORD / (BLOCKS / WRAPS) % 2
        back = min(along, 2 - along) * LENGTH_SECONDS
        # Written, synced, listed and synced; back to the beginning; read back; the next stage begins where this ended.
        seconds = size / RATE + 2 * SYNC + SETTLE + back + SETTLE + size / RATE + SETTLE
        total = ARCHIVE / size * seconds + ARCHIVE / CAPACITY * (2 * ARM + LOAD + UNLOAD + LENGTH_SECONDS / 2)
        lines.append(f"| {gib:g} | {size / seconds / 1e6:.0f} MB/s | {total / DAY:.0f} |")
    return lines


def audit(_seed: int) -> list[str]:
    """How often every cartridge of 2 PB can be read from end to end: what `status` shows."""
    lines = ["| drives | hours a day | days |", "| --- | --- | --- |"]
    for drives, hours in ((1, 24), (1, 8), (2, 24), (2, 8), (4, 24)):
        days = shortest_interval(ARCHIVE, -(-ARCHIVE // CAPACITY), drives=drives, share=hours / 24)
        lines.append(f"| {drives} | {hours} | {days:.1f} |")
    return lines


CASES = {"recall": recall, "mixed": mixed, "write": write, "audit": audit}


def main() -> None:
    """Simulate the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    for case in arguments.cases or list(CASES):
        print(f"\n{case}: {CASES[case].__doc__}\n", flush=True)
        for line in CASES[case](arguments.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
