"""One verb in a process of its own, between two marks in its system calls, which ``crash_support`` is told of.

usage: crash_worker.py SOCKET, the number of an open one. Asked for on standard input, as lines of JSON ``[FILE, VERB,
ROOT]``: this process has imported everything and forks for each; what the child says goes into the file, its number and
how it ended to standard output. Each thread that is ours unlinks a mark at its beginning, which is not there.
"""

import json
import os
import socket
import sys
import threading
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import crash_notices

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


def _mark_threads(root):
    run = threading.Thread.run

    def marked_run(thread):
        mark(root, "thread")
        run(thread)

    threading.Thread.run = marked_run
    mark(root, "thread")


def mark(root, what):
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(root, "marks", what))


def main(verb, root):
    _mark_threads(root)
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


def begin(watcher, said, verb, root):
    """Fork a process for one verb, whose calls are told at the socket; return its number."""
    process = os.fork()
    if process:
        return process
    status = ERROR
    try:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        crash_notices.announce(watcher)
        status = main(verb, root)
    except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def serve(watcher):
    """Begin what is asked for, one after the other."""
    small_packs()
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be forked"
    for line in sys.stdin:
        process = begin(watcher, *json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
