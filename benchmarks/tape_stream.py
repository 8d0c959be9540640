"""Measures how fast image cartridges are written, against dd of the same bytes to the same file system.

usage: python benchmarks/tape_stream.py [--pairs N] [--work FOLDER] [--gib N] [CASE ...]

Cases: drive (records and filemarks from a file to an image, synced at the end, as `dd conv=fsync` does), flush (what
`replicate` does with what is staged: written, synced, listed, read back and compared; against `dd` and `cmp` of the
same), memory (what a flush takes beyond what the program has anyway). All but drive need root, to drop caches; there,
what is copied comes from the disk, and the programs themselves are warm.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from contextlib import closing
from typing import TYPE_CHECKING

from measuring import Pairs, Run, cold, fresh, paired, run

from storage_backends.backend import Item, Reader, StorageProfile
from storage_backends.tape.image import ImageDrive, Settings, make_cartridge
from storage_backends.tape.layout import Records

if TYPE_CHECKING:
    from storage_backends.tape.backend import TapeBackend

PACK = 512 << 20
STORE = "0190a0b0-0000-7000-8000-00000000001a"
SECONDS = "seconds"
PROFILE = StorageProfile(medium="tape", site="here")


# ---- what is measured, each in a process of its own ----------------------------------------------------------------


def drive(source: str, folder: str) -> None:
    """Write a file to an image cartridge, as a pack each 512 MiB; leave beside it how many seconds that took."""
    begun = time.monotonic()
    size = os.path.getsize(source)
    path = make_cartridge(folder, "AAA001IM", Settings(capacity=2 * size))
    tape = ImageDrive(folder)
    tape.insert(path)
    with open(source, "rb", buffering=0) as file:
        for place in range(0, size, PACK):
            records = Records(tape)
            records.take(Part(file, min(PACK, size - place)), min(PACK, size - place), key="pack")
            records.finish()
            tape.write_filemark(synchronous=place + PACK >= size)
    tape.unload()
    tape.remove()
    with open(os.path.join(folder, SECONDS), "w", encoding="ascii") as told:
        told.write(str(time.monotonic() - begun))


class Part:
    """The next bytes of a file as a reader."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self.file, self.left = file, size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start."""
        count = self.file.readinto(buffer[: self.left])
        self.left -= count or 0
        return count or 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        data = self.file.read(min(size, self.left) if size >= 0 else self.left)
        self.left -= len(data or b"")
        return data or b""


def opened(folder: str) -> "TapeBackend":
    """Open the store on tape."""
    from storage_backends import disk  # noqa: PLC0415 - the drive does without a store
    from storage_backends.tape import place as places  # noqa: PLC0415 - the same
    from storage_backends.tape.backend import TapeBackend  # noqa: PLC0415 - the same

    staging = disk.DiskBackend(os.path.join(folder, places.STAGING), store_id=STORE, profile=PROFILE)
    return TapeBackend(places.ImageFolder(folder, STORE), staging, profile=PROFILE)


def stage(source: str, folder: str) -> None:
    """Make a store and stage a file in it, as packs of 512 MiB."""
    from storage_backends import disk  # noqa: PLC0415 - the drive does without a store
    from storage_backends.tape import place as places  # noqa: PLC0415 - the same
    from storage_backends.tape.cartridges import Cartridges  # noqa: PLC0415 - the same

    size = os.path.getsize(source)
    places.initialise(folder, STORE, Cartridges(count=1, capacity=2 * size + (1 << 30)))
    disk.initialise(os.path.join(folder, places.STAGING), STORE)
    with closing(opened(folder)) as backend, open(source, "rb", buffering=0) as file:
        for place in range(0, size, PACK):
            length = min(PACK, size - place)
            backend.write(f"packs/f/{place}.tar", length, Part(file, length))


def flush(_source: str, folder: str) -> None:
    """Bring what is staged to the cartridge, and read it back."""

    def prove(_item: Item, reader: Reader) -> None:
        while reader.read(1 << 22):
            pass

    with closing(opened(folder)) as backend:
        backend.flush(prove)


def idle(_source: str, folder: str) -> None:
    """Open the store and close it: what the program takes anyway."""
    opened(folder).close()


PARTS = {"drive": drive, "stage": stage, "flush": flush, "idle": idle}


# ---- the cases -----------------------------------------------------------------------------------------------------


class Bench:
    """One session in one work folder."""

    def __init__(self, work: str, gib: int) -> None:
        self.work, self.source = work, os.path.join(work, "source")
        self.whole: list[float] = []
        """Seconds of each run of the drive with the start of Python."""
        size = gib << 30
        if not os.path.exists(self.source) or os.path.getsize(self.source) != size:
            with open(self.source, "wb") as file:
                file.writelines(os.urandom(1 << 24) for _ in range(size >> 24))

    def path(self, name: str) -> str:
        """Return a place in the work folder."""
        return os.path.join(self.work, name)

    def part(self, name: str, folder: str) -> Run:
        """Run one of our parts in a process of its own."""
        return run([sys.executable, os.path.abspath(__file__), "--part", name, self.source, folder])

    def unread(self) -> None:
        """Let what is copied come from the disk, and leave the programs and everybody else's files where they are."""
        file = os.open(self.source, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    def ours(self) -> Run:
        """Write an image and sync it, from the making of the cartridge to its unloading; the source is cold."""
        fresh(self.path("tape"))
        os.mkdir(self.path("tape"))
        self.unread()
        done = self.part("drive", self.path("tape"))
        self.whole.append(done.seconds)
        with open(os.path.join(self.path("tape"), SECONDS), encoding="ascii") as told:
            return Run(float(told.read()), done.peak_kib)

    def theirs(self) -> Run:
        """Copy with dd and sync; the source is cold."""
        fresh(self.path("copy"))
        self.unread()
        return run(["dd", f"if={self.source}", f"of={self.path('copy')}", "bs=256k", "conv=fsync", "status=none"])

    def staged(self) -> None:
        """Make a store with everything staged."""
        fresh(self.path("tape"))
        self.part("stage", self.path("tape"))

    def flushed(self) -> Run:
        """Flush, cold."""
        self.staged()
        cold()
        return self.part("flush", self.path("tape"))

    def copied_and_compared(self) -> Run:
        """Copy with dd, sync, drop the copy from the page cache, and compare."""
        fresh(self.path("copy"))
        cold()
        copy = f"dd 'if={self.source}' 'of={self.path('copy')}' bs=256k conv=fsync status=none"
        drop = f"dd 'of={self.path('copy')}' oflag=nocache conv=notrunc,fdatasync count=0 status=none"
        return run(f"{copy} && {drop} && cmp '{self.source}' '{self.path('copy')}'")


def drive_case(bench: Bench, pairs: int, size: str) -> list[str]:
    """The drive alone."""
    bench.whole.clear()
    found = paired(bench.ours, bench.theirs, pairs)
    whole = Pairs(bench.whole, found.theirs)
    name = f"image drive, {size} / `dd conv=fsync`"
    return [found.line(name, "1.25"), whole.line(f"{name}, with the start of Python", "reported")]


def flush_case(bench: Bench, pairs: int, size: str) -> list[str]:
    """All of a flush."""
    done = paired(bench.flushed, bench.copied_and_compared, pairs)
    return [done.line(f"flush with reading back, {size} / `dd conv=fsync` and `cmp`", "reported")]


def memory_case(bench: Bench, _pairs: int, size: str) -> list[str]:
    """Peak memory of a flush, beyond that of a process that only opens the store."""
    bench.staged()
    base = bench.part("idle", bench.path("tape")).peak_kib
    peak = bench.part("flush", bench.path("tape")).peak_kib
    return [
        f"| memory of a flush of {size} beyond the program's own | {(peak - base) / 1024:.0f} MiB | - | - | 64 MiB |"
    ]


CASES = {"drive": drive_case, "flush": flush_case, "memory": memory_case}


def main() -> None:
    """Run the cases asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--gib", type=int, default=4)
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "mocban-bench-tape"))
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part[0]](*arguments.part[1:])
        return
    os.makedirs(arguments.work, exist_ok=True)
    bench = Bench(arguments.work, arguments.gib)
    print("| what | ours, s | peer, s | ratio: median (range) | limit |\n| --- | --- | --- | --- | --- |", flush=True)
    for case in arguments.cases or list(CASES):
        for line in CASES[case](bench, arguments.pairs, f"{arguments.gib} GiB"):
            print(line, flush=True)
    fresh(bench.path("tape"), bench.path("copy"))


if __name__ == "__main__":
    main()
