"""Measures identification against FIDO's own API and libmagic on the same files, in the same run, warm cache.

usage: python benchmarks/formats.py [--rounds N] [--corpora FOLDER] [--signatures DROID.xml --containers FILE]

A process and a thread for each; every round goes over all files with each of them in turn, and the median of the rounds
counts. libmagic is called as python-magic calls it, through ctypes (Debian: libmagic1).
"""

import argparse
import ctypes
import ctypes.util
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from preservation.formats.bundles import SignatureBundle, bundle_of_files
from preservation.formats.engine import build_engine, identify, real_fido, shipped_bundle, tool_name
from preservation.formats.files import Place, sample_of
from preservation.formats.identification import ENDS, Sample
from preservation.formats.index import match_signatures

CORPORA = ("format-corpus", "skeletons")
Identifies = Callable[[str], object]


def magic() -> Identifies | None:
    """Give libmagic's answer for a path as a media type; nothing where it is not installed."""
    found = ctypes.util.find_library("magic")
    if found is None:
        return None
    library = ctypes.CDLL(found)
    library.magic_open.restype = ctypes.c_void_p
    library.magic_load.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.magic_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.magic_file.restype = ctypes.c_char_p
    cookie = library.magic_open(0)
    if library.magic_load(cookie, None):
        return None
    return lambda path: library.magic_file(cookie, os.fsencode(path))


def signatures_alone(path: str) -> object:
    """Read the two ends of a file and match them: what FIDO's API does, without containers and probes."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(ENDS)
        size = os.fstat(file.fileno()).st_size
        tail = head if size <= ENDS else os.pread(file.fileno(), ENDS, size - ENDS)
    return match_signatures(ENGINE.index, head, tail)


def everything(path: str) -> object:
    """Identify as ingest does: containers, signatures, probes, extensions."""
    sample = sample_of(Place(path, given=True))
    return identify(ENGINE, sample) if isinstance(sample, Sample) else sample


def timed(what: Identifies, files: list[str]) -> tuple[float, float]:
    """Return the seconds by the clock and those of the processor for all files."""
    clock, processor = time.perf_counter(), time.process_time()
    for path in files:
        what(path)
    return time.perf_counter() - clock, time.process_time() - processor


def answering(name: str, arguments: argparse.Namespace, line: Connection) -> None:
    """Be one of the measured, in a process of its own: FIDO shares Python's small cache of expressions with nobody."""
    global ENGINE  # noqa: PLW0603 - one engine for a process
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # FIDO tells of each empty file
    what: Identifies | None
    if name == "libmagic":
        what = magic()
    elif name == "FIDO":
        what = real_fido().identify_file
    else:
        ENGINE = build_engine(bundle_of(arguments))
        what = everything if name == "everything" else signatures_alone
    line.send(what is not None)
    while what is not None:
        line.send(timed(what, line.recv()))


def bundle_of(arguments: argparse.Namespace) -> SignatureBundle:
    """Return the signatures to measure with."""
    if arguments.signatures:
        return bundle_of_files(arguments.signatures, arguments.containers, tool=tool_name())
    return shipped_bundle()


def hired(names: list[str], arguments: argparse.Namespace) -> dict[str, Connection]:
    """Start a process for each of the measured; those that are not installed are left out."""
    lines = {}
    start = multiprocessing.get_context("spawn")
    for name in names:
        ours, theirs = start.Pipe()
        start.Process(target=answering, args=(name, arguments, theirs), daemon=True).start()
        if ours.recv():
            lines[name] = ours
        else:
            sys.stderr.write(f"{name} is not installed\n")
    return lines


def measured(lines: dict[str, Connection], files: list[str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the milliseconds a file, by clock and processor, of each round but the first, which warms the cache."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    for number in range(rounds + 1):
        for name, line in lines.items():
            line.send(files)
            clock, processor = line.recv()
            if number:
                times[name].append((clock / len(files) * 1000, processor / len(files) * 1000))
    return times


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpora", default=os.environ.get("MOCBAN_CORPORA", "../shared/corpora"))
    parser.add_argument(
        "--signatures", default="", help="with these, FIDO's own API is left out: it takes 20 times as long"
    )
    parser.add_argument("--containers", default="")
    arguments = parser.parse_args()
    names = ["index", "everything", "libmagic"] + ["FIDO"] * (not arguments.signatures)
    lines = hired(names, arguments)
    print(f"{bundle_of(arguments).label}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| corpus | who | ms a file: median (range) | of the processor |\n| --- | --- | --- | --- |", flush=True)
    for corpus in CORPORA:
        files = sorted(str(path) for path in Path(arguments.corpora, corpus).rglob("*") if path.is_file())
        times = measured(lines, files, arguments.rounds)
        middle = {}
        for name, found in times.items():
            clock, processor = (statistics.median(column) for column in zip(*found, strict=True))
            middle[name] = clock, processor
            low, high = min(found)[0], max(found)[0]
            print(f"| {corpus}, {len(files)} | {name} | {clock:.3f} ({low:.3f} to {high:.3f}) | {processor:.3f} |")
        for one, other in (("FIDO", "index"), ("index", "libmagic"), ("everything", "libmagic")):
            if one in middle and other in middle:
                clock, processor = (middle[one][column] / middle[other][column] for column in (0, 1))
                print(f"| {corpus} | **{one} / {other}** | {clock:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
