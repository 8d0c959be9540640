"""Measures ingest and audit against peers on the same machine, in the same run, cold caches.

usage: python benchmarks/bench.py [--pairs N] [--work FOLDER] [CASE ...]

Cases: ingest-small identify-small ingest-large copy-small audit-small audit-large help status memory; all by default.
Needs root (to drop caches), restic for the ingest cases, and about 60 GB for the large ones.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import corpora
from measuring import MOCBAN, Pairs, Run, cold, fresh, paired, run


class Bench:
    """One session of measurements in one work folder."""

    def __init__(self, work: str, pairs: int) -> None:
        self.work, self.pairs = work, pairs
        self.peaks: dict[str, int] = {}

    def path(self, name: str) -> str:
        """Return a place in the work folder."""
        return os.path.join(self.work, name)

    def mocban(self, *arguments: str, repository: str = "repository") -> list[str]:
        """Return a command line of ours."""
        return [*MOCBAN, "-C", self.path(repository), *arguments]

    def new_repository(self) -> None:
        """Make a repository with two disk stores and one fonds."""
        fresh(*(self.path(name) for name in ("repository", "repository.recovery-kit", "a", "b")))
        run([*MOCBAN, "init", self.path("repository")])
        for name in ("a", "b"):
            run(self.mocban("store", "add", name, f"file://{self.path(name)}", "--site", name))
        run(self.mocban("fonds", "add", "F1"))

    def ingest(self, corpus: str, *options: str) -> Run:
        """Ingest a corpus, cold, into a new repository."""
        self.new_repository()
        cold()
        return run(self.mocban("ingest", corpus, "--fonds", "F1", "--json", *(options or ("--no-identify",))))

    def restic(self, corpus: str) -> Run:
        """Back a corpus up, cold, into a new restic repository."""
        fresh(self.path("restic"))
        environment = {"RESTIC_PASSWORD": "x"}
        run(["restic", "-q", "init", "-r", self.path("restic")], environment=environment)
        cold()
        return run(["restic", "-q", "backup", "-r", self.path("restic"), corpus], environment=environment)

    def copies(self, corpus: str) -> Run:
        """Copy a corpus twice and sync, cold."""
        fresh(self.path("copy1"), self.path("copy2"))
        cold()
        return run(f"cp -r '{corpus}' '{self.path('copy1')}'; cp -r '{corpus}' '{self.path('copy2')}'; sync")

    def audit(self, *options: str) -> Run:
        """Audit the repository, cold."""
        cold()
        return run(self.mocban("audit", "--json", *options))

    def cat(self) -> Run:
        """Read all pack files, cold."""
        cold()
        packs = f"find '{self.path('a')}/packs' '{self.path('b')}/packs' -name '*.tar' -print0"
        return run(f"{packs} | xargs -0 cat > /dev/null")

    def bagit(self) -> Run:
        """Validate the bag, cold."""
        cold()
        program = [sys.executable, "-m", "bagit"]
        return run([*program, "--validate", "--quiet", "--processes", "2", self.path("bag")])

    def small(self) -> str:
        """Return the small corpus."""
        return corpora.small(self.work)

    def large(self) -> str:
        """Return the large corpus."""
        return corpora.large(self.work)


def ingest_small(bench: Bench) -> list[str]:
    """Ingest against restic, small files."""
    corpus = bench.small()
    pairs = paired(lambda: bench.ingest(corpus), lambda: bench.restic(corpus), bench.pairs)
    bench.peaks["ingest, small files"] = pairs.peak_kib
    return [pairs.line("ingest, 50,000 small files / `restic backup`", "1.2, goal 0.8")]


def identify_small(bench: Bench) -> list[str]:
    """Ingest with identification against ingest without, small files."""
    corpus = bench.small()
    pairs = paired(lambda: bench.ingest(corpus, "--identify"), lambda: bench.ingest(corpus), bench.pairs)
    return [pairs.line("ingest with identification, 50,000 small files / without", "1.5")]


def copy_small(bench: Bench) -> list[str]:
    """Ingest against two copies and a sync."""
    corpus = bench.small()
    pairs = paired(lambda: bench.ingest(corpus), lambda: bench.copies(corpus), bench.pairs)
    fresh(bench.path("copy1"), bench.path("copy2"))
    return [pairs.line("ingest, 50,000 small files / two `cp -r` and `sync`", "goal 1.0")]


def ingest_large(bench: Bench) -> list[str]:
    """Ingest against restic, large files."""
    corpus = bench.large()
    pairs = paired(lambda: bench.ingest(corpus), lambda: bench.restic(corpus), bench.pairs)
    bench.peaks["ingest, large files"] = pairs.peak_kib
    fresh(bench.path("restic"))
    return [pairs.line("ingest, 8 GiB in 32 files / `restic backup`", "1.2, goal 0.8")]


def audit_large(bench: Bench) -> list[str]:
    """Audit against cat, large files."""
    bench.ingest(bench.large())
    pairs = paired(bench.audit, bench.cat, bench.pairs)
    bench.peaks["audit, large files"] = pairs.peak_kib
    return [pairs.line("audit, 16 GiB of packs / `cat` of the same", "1.1")]


def audit_small(bench: Bench) -> list[str]:
    """Audit against bagit.py, small files; the bag holds one copy, the audit reads two."""
    corpus = bench.small()
    bench.ingest(corpus)
    if not os.path.exists(bench.path("bag.made")):
        fresh(bench.path("bag"))
        shutil.copytree(corpus, bench.path("bag"))
        program = [sys.executable, "-m", "bagit", "--quiet", "--sha256", "--processes", "2"]
        subprocess.run([*program, bench.path("bag")], check=True)
        open(bench.path("bag.made"), "w").close()
    pairs = paired(bench.audit, bench.bagit, bench.pairs)
    bench.peaks["audit, small files"] = pairs.peak_kib
    one = paired(lambda: bench.audit("--store", "a"), bench.bagit, bench.pairs)
    limit = paired(bench.audit, bench.cat, bench.pairs)
    return [
        pairs.line("audit of two copies, small files / `bagit.py --validate --processes 2` of one", "0.2"),
        one.line("audit of one copy, small files / `bagit.py --validate --processes 2` of one", "0.2"),
        limit.line("audit of two copies, small files / `cat` of the same packs", "reported"),
    ]


def start(_bench: Bench) -> list[str]:
    """How long the help takes."""
    runs = Pairs([run([*MOCBAN, "--help"]).seconds for _ in range(9)], [1.0] * 9)
    middle = sorted(runs.ours)[4]
    return [f"| `mocban --help` | {middle:.3f} | - | - | 0.3 s |"]


def status(bench: Bench) -> list[str]:
    """How long the status of a catalog with a million objects takes."""
    place = bench.path("million")
    if not os.path.exists(place):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "million.py")
        subprocess.run([sys.executable, program, place], check=True)
    command = bench.mocban("status", "--json", repository="million/repository")
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    times = sorted(run(command).seconds for _ in range(7))
    return [f"| `status`, {found['objects']:,} objects | {times[3]:.2f} | - | - | 1 s |"]


def memory(bench: Bench) -> Iterator[str]:
    """Peak memory for ten times the files, and for one file of 20 GiB."""
    for name, kib in bench.peaks.items():
        yield peak_line(name, kib)
    corpus = corpora.small(bench.work, 500_000)
    yield peak_line("ingest, 500,000 files", bench.ingest(corpus).peak_kib)
    yield peak_line("audit of it", bench.audit().peak_kib)
    fresh(*(bench.path(name) for name in ("a", "b", "restic", "small-500000", "small-500000.made")))
    fresh(*(bench.path(name) for name in os.listdir(bench.work) if name.startswith("large-")))
    corpus = corpora.large(bench.work, 1, 20 << 30)
    yield peak_line("ingest, one file of 20 GiB", bench.ingest(corpus).peak_kib)
    yield peak_line("audit of that", bench.audit().peak_kib)


def peak_line(name: str, kib: int) -> str:
    """Return a row of the table about memory."""
    return f"| peak memory: {name} | {kib / 1024:.0f} MiB | - | - | 300 MiB |"


CASES = {
    "help": start,
    "status": status,
    "audit-small": audit_small,
    "audit-large": audit_large,
    "ingest-small": ingest_small,
    "identify-small": identify_small,
    "copy-small": copy_small,
    "ingest-large": ingest_large,
    "memory": memory,
}


def main() -> None:
    """Run the cases asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "mocban-bench"))
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=list(CASES))
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    bench = Bench(arguments.work, arguments.pairs)
    print("| what | ours, s | peer, s | ratio: median (range) | limit |\n| --- | --- | --- | --- | --- |", flush=True)
    for case in arguments.cases or list(CASES):
        for line in CASES[case](bench):
            print(line, flush=True)


if __name__ == "__main__":
    main()
