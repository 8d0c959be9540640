"""How commands are measured: whole processes, cold caches, in pairs A B B A, and the median of the ratios."""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MOCBAN = [os.path.join(os.path.dirname(sys.executable), "mocban")]


def cold() -> None:
    """Write everything out and drop the page cache, so that all bytes come from the disk. Needs root."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


@dataclass
class Run:
    """One measured run: wall seconds, and the largest resident size (KiB) of any single process in it."""

    seconds: float
    peak_kib: int


def run(command: Sequence[str] | str, *, environment: dict[str, str] | None = None) -> Run:
    """Run a command to its end and measure it; a failure ends the benchmark."""
    before = time.monotonic()
    process = subprocess.Popen(
        command,
        shell=isinstance(command, str),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    peak = _Peak(process.pid)
    _, errors = process.communicate()
    seconds = time.monotonic() - before
    peak.stop()
    if process.returncode:
        sys.exit(f"{command}: exit status {process.returncode}\n{errors.decode()}")
    return Run(seconds, peak.kib)


class _Peak(threading.Thread):
    """Watches the resident size of a process and all its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.kib, self._over = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.05):
            for pid in _family(self.pid):
                self.kib = max(self.kib, _high_water(pid))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            with open(f"/proc/{one}/task/{one}/children") as file:
                found.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def _high_water(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


@dataclass
class Pairs:
    """Two commands measured in turn. ``ratios`` are A's seconds over B's, pair by pair."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    peak_kib: int = 0

    @property
    def ratios(self) -> list[float]:
        """A over B for each pair."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def line(self, name: str, limit: str) -> str:
        """Return a row of a table: name, medians, median ratio with its range, limit."""
        ratios = sorted(self.ratios)
        return (
            f"| {name} | {statistics.median(self.ours):.2f} | {statistics.median(self.theirs):.2f} "
            f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, n = {len(ratios)}) | {limit} |"
        )


def paired(ours: Callable[[], Run], theirs: Callable[[], Run], pairs: int) -> Pairs:
    """Measure A B B A A B ... until there are so many pairs."""
    result = Pairs()
    for number in range(pairs):
        order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        for command in order:
            done = command()
            if command is ours:
                result.ours.append(done.seconds)
                result.peak_kib = max(result.peak_kib, done.peak_kib)
            else:
                result.theirs.append(done.seconds)
    return result


def fresh(*places: str) -> None:
    """Remove folders and files of an earlier run."""
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
        Path(place).unlink(missing_ok=True)


def limit_files() -> None:
    """Let the benchmark open many files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
