"""One verb in a process of its own, between two marks in its system calls: run by ``crash_support`` under strace.

usage: crash_worker.py VERB ROOT [CALL THREADS COUNT]

strace counts calls per thread. So that "the N-th" is one call in one thread, the threads of these numbers make COUNT
void calls of the kind CALL before they begin their work, more than any other thread makes in all.
"""

import itertools
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from audits.run import Scope, audit
from preservation.creation import open_repository
from preservation.evidence import push
from preservation.formats.identification import NoIdentification
from preservation.housekeeping import clean
from preservation.ingest import Request, ingest
from preservation.packs import layout
from preservation.replication import replicate
from preservation.repository import World
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError

PACK_TARGET = 96 << 10
"""Small packs, so that one ingest seals several; ``small_packs`` makes them so in a process of these tests."""

DONE, ERROR, FINDINGS, COPIES_SHORT = 0, 1, 3, 4

NO_FILE = 1 << 20

VOID = {
    "write": lambda: os.write(NO_FILE, b""),
    "pwrite64": lambda: os.pwrite(NO_FILE, b"", 0),
    "fsync": lambda: os.fsync(NO_FILE),
    "fdatasync": lambda: os.fdatasync(NO_FILE),
    "ftruncate": lambda: os.ftruncate(NO_FILE, 0),
    "openat": lambda: os.open("", 0),
    "rename": lambda: os.rename("", ""),
    "renameat": lambda: os.rename("", "", src_dir_fd=0),
    "link": lambda: os.link("", ""),
    "linkat": lambda: os.link("", "", src_dir_fd=0),
    "unlink": lambda: os.unlink(""),
    "unlinkat": lambda: os.unlink("", dir_fd=0),
    "rmdir": lambda: os.rmdir(""),
    "mkdir": lambda: os.mkdir(""),
    "mkdirat": lambda: os.mkdir("", dir_fd=0),
}
"""A call of each kind that fails at once and changes nothing."""


def world(ahead=timedelta(0)):
    return World(now=lambda: datetime.now(UTC) + ahead, random=os.urandom, agent="crash", wait_seconds=5)


def perform(verb, root, surroundings):
    """Carry out ``verb`` as the command does; return its exit status and what it reports."""
    repository = open_repository(os.path.join(root, "repo"), surroundings)
    return VERBS[verb](repository, root)


def _received(receipt):
    short = receipt.under_replicated or receipt.failures
    said = {
        "package": receipt.package,
        "version": receipt.version,
        "copies": receipt.copies,
        "new": not receipt.already,
    }
    return (COPIES_SHORT if short else DONE), said


def _ingest(repository, root):
    request = Request(source=os.path.join(root, "second"), fonds_code="F1", title="Second", identify=False)
    return _received(ingest(repository, request, NoIdentification(), lambda _files, _bytes: None))


def _version_2(repository, root):
    package = Path(root, "first-package").read_text()
    source, gone = os.path.join(root, "changed"), ("a/withdrawn.txt",)
    request = Request(source=source, package=package, mode="add", withdrawn=gone, identify=False)
    return _received(ingest(repository, request, NoIdentification(), lambda _files, _bytes: None))


def _replicate(repository, _root):
    result = replicate(repository, lambda _packs, _bytes: None)
    short = result.failures or result.short or result.under_replicated
    return (COPIES_SHORT if short else DONE), {"copied": result.copied, "new": result.copied > 0}


def _audit(repository, _root):
    report = audit(repository, Scope(), repair=True, told=lambda _copies, _bytes: None)
    found = [str(finding) for finding in report.findings if finding.code != "stores-not-independent"]
    return report.exit_status, {"findings": found, "new": bool(found)}


def _seal(repository, _root):
    clean(repository)
    with repository.ledger.writing(5) as writer:
        segment = writer.seal_if_due(force=True)
    with repository.reading() as view:
        rows = attached(view)
    with all_open(rows) as stores:
        evidence = push(repository, stores)
    return (COPIES_SHORT if evidence.failures else DONE), {"new": segment is not None}


VERBS = {"ingest": _ingest, "replicate": _replicate, "audit": _audit, "seal": _seal, "version-2": _version_2}


def _number_threads(call, chosen, count, root):
    numbers = itertools.count(1)
    run = threading.Thread.run
    start = threading.Thread.start

    def begin(number):
        for _ in range(count if number in chosen else 0):
            with suppress(OSError):
                VOID[call]()
        mark(root, f"thread-{number}")

    def numbered_start(thread):
        thread.crash_number = next(numbers)
        start(thread)

    def numbered_run(thread):
        begin(thread.crash_number)
        run(thread)

    threading.Thread.start, threading.Thread.run = numbered_start, numbered_run
    begin(next(numbers))


def mark(root, what):
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(root, "marks", what))


def main(verb, root, call="", threads="0", count="0"):
    _number_threads(call, set(map(int, threads.split(","))), int(count), root)
    mark(root, "start")
    try:
        status, said = perform(verb, root, world())
    except MocbanError as error:
        status, said = ERROR, f"{type(error).__name__}: {error}"
    mark(root, "end")
    os.write(1, f"END {status} {said}\n".encode())
    return status


def small_packs():
    """Cut packs small in this process, for good."""
    layout.TARGET_SIZE = PACK_TARGET


if __name__ == "__main__":
    small_packs()
    sys.exit(main(*sys.argv[1:]))
