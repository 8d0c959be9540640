"""Verbs killed or refused at each of their system calls: the template, the points, the faults, and what must hold."""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import crash_notices
import crash_worker

from audits.run import Scope, audit
from preservation import attachment, fonds, stores
from preservation.catalog import door, rows
from preservation.catalog.catalog import Catalog
from preservation.creation import create, open_repository
from preservation.fixity import blake3_hex
from preservation.formats.identification import NoIdentification
from preservation.ingest import Request, ingest
from preservation.ledger.checking import check_ledger
from preservation.ledger.layout import note_name, segment_range, tail_range
from preservation.submission.errors import SubmissionRefusedError

FAMILIES = {"renameat": "rename", "renameat2": "rename", "linkat": "link", "unlinkat": "unlink", "mkdirat": "mkdir"}
FAMILIES |= dict.fromkeys(("pwrite64", "writev", "pwritev"), "write")
REFUSED = "refused"
KILL, EIO, ENOSPC = "killed", "EIO", "ENOSPC"

LATER = timedelta(hours=1)
"""The next start comes later than the time for which a folder without a record counts as being made just now."""

SECONDS = 120
"""The longest that a verb may take."""

VERBS = tuple(crash_worker.VERBS)

FILES = {
    "first": {f"a/{n}.txt": f"first {n} ".encode() * 900 for n in range(3)}
    | {"a/withdrawn.txt": b"withdrawn " * 50, "b/empty": b"", "b/twin.txt": b"first 0 " * 900},
    "second": {f"c/{n}.bin": hashlib.sha256(b"%d" % n).digest() * 1500 for n in range(3)}
    | {"c/copy.txt": b"first 1 " * 900},
    "changed": {"d/new.bin": hashlib.sha256(b"new").digest() * 2500, "d/old.txt": b"first 2 " * 900},
}
"""What is handed over; ``second`` needs two packs, and shares content with ``first``."""


@dataclass(frozen=True, slots=True)
class Point:
    """The ``number``-th call of a kind, from 0, that a verb makes in a thread of ours; ``site`` is what it is on.

    RocksDB's own threads are left in peace: the catalog can always be made anew.
    """

    call: str
    site: str
    number: int

    @property
    def kind(self):
        """Return which distinct call site this is."""
        return self.call, self.site


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended (negative: by which signal), and what it said."""

    status: int
    said: str


class Watch:
    """Counts the calls of a verb between its marks, and lets its fault fall on one of them."""

    def __init__(self, root, point=None, fault=None):
        self.root, self.point, self.fault = root, point, fault
        self.process = 0
        self.points = []
        self.counts = Counter()
        self.hit = None
        self.marks = set()
        self.ours = set()

    def __call__(self, notice):
        """Return the error with which a call fails; 0 if it is made, None if its process is killed."""
        if notice.paths[0].startswith(f"{self.root}/marks/"):
            mark = notice.paths[0].rpartition("/")[2]
            self.marks.add(mark)
            if mark == "thread":
                self.ours.add(notice.thread)
            return 0
        site = _site(notice, self.root)
        if site is None or notice.thread not in self.ours or "start" not in self.marks or "end" in self.marks:
            return 0
        call = FAMILIES.get(notice.call, notice.call)
        point = Point(call, site, self.counts[call, site])
        self.counts[call, site] += 1
        self.points.append(point)
        if point != self.point:
            return 0
        self.hit = point.kind
        if self.fault == KILL:
            os.kill(self.process, signal.SIGKILL)
            return None
        return getattr(errno, self.fault)


class Lane:
    """A place where faults are tried one after the other. Stores are known by their path: each lane has its own."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.root = self.folder / "work"
        self._forking = None
        self._points = {}

    def template(self, verb):
        """Make the repository that ``verb`` begins with, once."""
        kept = self.folder / f"template-{verb}"
        if kept.exists():
            return kept
        shutil.rmtree(self.root, ignore_errors=True)
        for source, files in FILES.items():
            for name, data in files.items():
                path = self.root / source / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                os.utime(path, (0, 0))
        (self.root / "marks").mkdir()
        repository = create(str(self.root / "repo"), _same_world())
        attachment.add(repository, "a", f"file://{self.root}/a", site="hn")
        if verb != "replicate":
            attachment.add(repository, "b", f"file://{self.root}/b", site="hcm")
        fonds.open_fonds(repository, "F1", "Phông")
        request = Request(source=str(self.root / "first"), fonds_code="F1", title="First", identify=False)
        receipt = ingest(repository, request, NoIdentification(), lambda _files, _bytes: None)
        (self.root / "first-package").write_text(receipt.package)
        if verb == "replicate":
            other = Request(source=str(self.root / "second"), fonds_code="F1", title="Second", identify=False)
            ingest(repository, other, NoIdentification(), lambda _files, _bytes: None)
            attachment.add(repository, "b", f"file://{self.root}/b", site="hcm")
        if verb == "audit":
            other = Request(source=str(self.root / "second"), fonds_code="F1", title="Second", identify=False)
            ingest(repository, other, NoIdentification(), lambda _files, _bytes: None)
            _damage(self.root)
        os.rename(self.root, kept)
        return kept

    def reset(self, verb):
        """Begin anew from the template."""
        kept = self.template(verb)
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(kept), str(self.root)], check=True)

    def package(self):
        return (self.root / "first-package").read_text()

    # ---- running the worker ----------------------------------------------------------------------------------------

    def run(self, verb, watch):
        """Carry out the verb in a process of its own; ``watch`` decides about its calls. Return how it ended."""
        said = self.folder / "said"
        worker, channel = self._worker()
        worker.stdin.write(json.dumps([str(said), verb, str(self.root)]) + "\n")
        worker.stdin.flush()
        watch.process = int(worker.stdout.readline())
        try:
            crash_notices.listen(channel, watch, SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(watch.process, signal.SIGKILL)
            raise
        return Ended(int(worker.stdout.readline()), said.read_text())

    def _worker(self):
        """Return the process that forks one for each verb and ends when we do, and the socket between us."""
        if self._forking is None:
            ours, theirs = socket.socketpair()
            command = [sys.executable, "-B", crash_worker.__file__, str(theirs.fileno())]
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._forking = subprocess.Popen(command, pass_fds=[theirs.fileno()], **streams), ours
            theirs.close()
        return self._forking

    def close(self):
        """End the process that forks, and remove everything."""
        if self._forking is not None:
            worker, channel = self._forking
            worker.stdin.close()
            worker.wait()
            worker.stdout.close()
            channel.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def points(self, verb):
        """Carry out ``verb`` without a fault, once; return its points."""
        if verb not in self._points:
            self.reset(verb)
            watch = Watch(str(self.root))
            ended = self.run(verb, watch)
            assert ended.status == 0, ended.said
            assert {"start", "end"} < watch.marks
            self._points[verb] = watch.points
        return self._points[verb]

    def fault(self, verb, point, fault):
        """Run ``verb`` with ``fault`` at ``point``; return how it ended, and on what the fault fell.

        RocksDB does not always write the same number of lines into its LOG: the fault may fall on nothing.
        """
        self.reset(verb)
        watch = Watch(str(self.root), point, fault)
        return self.run(verb, watch), watch.hit


def _same_world():
    """Return surroundings that are the same in every lane, so that all names and thus all system calls are the same."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    ticks = itertools.count()
    now, random = lambda: hour + timedelta(milliseconds=next(ticks)), Random(7).randbytes
    return replace(crash_worker.world(), now=now, random=random)


def _damage(root):
    packs = sorted((root / "a" / "packs").rglob("*.tar"))
    path = packs[0]
    mode = path.stat().st_mode
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(2000)
        data = file.read(1)
        file.seek(2000)
        file.write(bytes([data[0] ^ 1]))
    path.chmod(mode)
    missing = root / "b" / packs[1].relative_to(root / "a")
    missing.unlink()
    next((root / "b" / "indexes").rglob("*.jsonl")).unlink()
    (root / "a" / "packs" / "strange.txt").write_bytes(b"strange")
    next((root / "a" / "ledger" / "checkpoints").iterdir()).unlink()


# ---- system calls ----------------------------------------------------------------------------------------------------


def _site(notice, root):
    """Return the kind of path that a call is about; nothing if it is none that changes a file of ours."""
    if notice.call == "openat" and not notice.arguments[2] & os.O_CREAT:
        return None
    if not any(path.startswith(root) for path in notice.paths):
        return None
    return " -> ".join(_general(path.removeprefix(root + "/")) for path in notice.paths)


def _general(path):
    path = re.sub(r" \(deleted\)|\(deleted\)", "", path)
    path = re.sub(r"^[ab](?=/|$)", "store", path)
    path = re.sub(r"[0-9a-f]{64}", "H", path)
    path = re.sub(r"(?<=/)f-[0-9a-z-]{20,}", "F", path)
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-z]{26}", "ID", path)
    path = re.sub(r"/[0-9a-f]{2}(?=/|$)", "/HH", path)
    path = re.sub(r"\d+", "N", path)
    return re.sub(r"[0-9a-f]{16}-", "K-", path)


def chosen(points, count):
    """Return ``count`` points: the first and the last of every distinct call site, then others spread over all."""
    by_kind = {}
    for point in points:
        by_kind.setdefault(point.kind, []).append(point)
    picked = {id(found[0]): found[0] for found in by_kind.values()}
    for found in by_kind.values():
        if len(picked) < count:
            picked.setdefault(id(found[-1]), found[-1])
    others = [point for point in points if id(point) not in picked]
    missing = min(max(0, count - len(picked)), len(others))
    for number in range(missing):
        point = others[number * len(others) // missing]
        picked[id(point)] = point
    return [point for point in points if id(point) in picked]


# ---- what must hold --------------------------------------------------------------------------------------------------


def contents(*several):
    """Return (package, version) to {path: bytes} of all that the packs of these stores give, by ``tarfile`` alone.

    A path whose object is missing or is not what its name says has no bytes.
    """
    objects, manifests = {}, {}
    for path in [path for store in several for path in sorted((store / "packs").rglob("*.tar"))]:
        if blake3_hex(path.read_bytes()) != path.stem:
            continue
        with tarfile.open(path) as tar:
            for member in tar:
                parts = member.name.split("/")
                if member.isreg() and parts[0] == "content":
                    objects[parts[-1]] = tar.extractfile(member).read()
                elif member.isreg() and parts[-1] == "manifest.jsonl" and parts[0] == "packages":
                    manifests[parts[1], int(parts[2][1:])] = tar.extractfile(member).read()
    found = {}
    for key, manifest in manifests.items():
        lines = [json.loads(line) for line in manifest.splitlines()]
        digests = {line["path"]: line["blake3"] for line in lines if "blake3" in line}
        found[key] = {name: objects.get(digest) for name, digest in digests.items()}
        found[key] = {name: data for name, data in found[key].items() if data is not None}
    return found


def promised(root, verb):
    """Return what the packages hold: {(title, version): {path: bytes}} before the verb, and after it."""
    first, second = FILES["first"], FILES["second"]
    before = {("First", 1): first}
    if verb in {"replicate", "audit"}:
        before["Second", 1] = second
    after = dict(before)
    if verb == "ingest":
        after["Second", 1] = second
    if verb == "version-2":
        kept = {name: data for name, data in first.items() if name != "a/withdrawn.txt"}
        after["First", 2] = {**kept, **FILES["changed"]}
    return before, after


def listed(root):
    """Return what the repository says that it has: {(title, version): (package, good stores of the worst pack)}."""
    repository = open_repository(str(root / "repo"), crash_worker.world(), read_only=True)
    found = {}
    with repository.reading() as view:
        titles = {row.blake3: row.title for row in rows.every(view, rows.ManifestRow)}
        named = {row.store: row.name for row in stores.attached(view)}
        for row in rows.every(view, rows.VersionRow):
            good = [
                {named[copy.store] for copy in rows.every(view, rows.CopyRow, pack) if copy.state == "good"}
                for pack in (*row.packs, *row.references)
            ]
            found[titles[row.manifest_blake3], row.version] = (row.package, set.intersection(*good))
    return found


def broken_now(root, verb, status):
    """Yield which promise is broken right after a fault: nothing acknowledged may be lost, nothing half be visible."""
    before, after = promised(root, verb)
    shown = listed(root)
    yield from (f"{key} is lost" for key in before if key not in shown)
    yield from (f"{key} is acknowledged and not there" for key in after if status in {0, 4} and key not in shown)
    yield from (f"{key} is shown and nobody asked for it" for key in shown if key not in after)
    there = {name: contents(root / name) for name in ("a", "b")}
    there["all"] = contents(root / "a", root / "b")
    for key, (package, good) in shown.items():
        wanted = {"a", "b", "all"} if status in {0, REFUSED} else {*good, "all"}
        if verb == "audit" and status != 0:
            wanted = {"all"}  # the damage on each store is what the audit is there for
        holders = {name for name, found in there.items() if found.get((package, key[1])) == after.get(key)}
        if wanted - holders:
            yield f"{key} is whole on {sorted(holders)}, not on {sorted(wanted - holders)}"
    if status == 0:
        yield from _missing_evidence(root)


def _missing_evidence(root):
    """Yield which store lacks a part of the ledger, or the checkpoint over all of it."""
    size = open_repository(str(root / "repo"), crash_worker.world(), read_only=True).ledger.size
    for store in ("a", "b"):
        folder, end = root / store / "ledger", 0
        parts = [segment_range(path.name) for path in folder.glob("segments/*")]
        parts += [tail_range(path.name) for path in folder.glob("tail/*")]
        for first, last in sorted(parts):
            end = max(end, last) if first <= end else end
        if end != size or not (folder / "checkpoints" / note_name(size)).exists():
            yield f"store {store} has the ledger up to {end} of {size}"


def broken_in_records(root):
    """Yield what is wrong with the ledger, and where the catalog differs from one made anew."""
    repository = open_repository(str(root / "repo"), crash_worker.world())
    yield from (f"ledger: {problem}" for problem in check_ledger(repository.ledger.path))
    with repository.ledger.writing(5):
        repository.catalog.catch_up()
        anew = root / "anew"
        catalog = Catalog(
            str(anew),
            repository.catalog.identity,
            repository.ledger.records,
            repository.catalog.ledger_size,
            repository.sidecars.index_of,
        )
        catalog.create()
        catalog.catch_up()
        if _all_rows(repository.catalog) != _all_rows(catalog):
            yield "the catalog is not what a rebuild gives"
        shutil.rmtree(anew)


def _all_rows(catalog):
    with door.reading(catalog.path, catalog.identity) as database:
        return dict(database.scan(b""))


def leftovers(root):
    """Yield what should have been cleaned away."""
    for store in ("a", "b"):
        yield from (f"draft {path.name} on {store}" for path in (root / store / ".drafts").glob("*"))
    yield from (f"staging/{path.name}" for path in (root / "repo" / "staging").iterdir() if path.name != "copies.lock")
    yield from (f"{path.name}" for path in (root / "repo").rglob("*.tmp"))
    yield from (f"{path.name}" for path in (root / "repo").glob("*.rebuilding"))


def snapshot(root, *, ledger=True):
    """Return name, size and digest of everything on the stores."""
    found = {}
    for store in ("a", "b"):
        for path in sorted((root / store).rglob("*")):
            name = str(path.relative_to(root))
            if path.is_file() and (ledger or not name.startswith(f"{store}/ledger/")):
                found[name] = (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def must_be_told(verb, hit):
    """Tell whether a call may not fail without the verb saying so: it stands between what is kept and its medium."""
    call, site = hit
    return call in {"write", "fsync", "fdatasync", "rename", "link"} and not re.fullmatch(HARMLESS[verb], site)


# The catalog can be made anew; drafts that are cleared away may come back after a power cut.
_HARMLESS = "repo/catalog.*|store/.drafts"
# The cache of the tree can be made anew; tail chunks are removed once a segment holds them.
_HARMLESS_TO_SEAL = f"{_HARMLESS}|.*repo/ledger/state.json|repo/ledger/state.json.tmp|repo/ledger|store/ledger/tail"
HARMLESS = dict.fromkeys(VERBS, _HARMLESS) | {"seal": _HARMLESS_TO_SEAL}
"""Sites of calls that may fail although the verb succeeds."""


def recover(root, verb):
    """Do what people do after a crash: the same again; return its exit status and what it says."""
    try:
        return crash_worker.perform(verb, str(root), crash_worker.world(LATER))
    except SubmissionRefusedError as error:
        # A new version that is complete already cannot be asked for once more.
        return REFUSED, {"new": False, "refused": str(error)}


def broken_after_recovery(root, verb, before):
    """Recover, and yield every rule that does not hold then; recover once more, and yield what that changed.

    ``before`` is how the verb ended: "done, some copies not written" asks for a replication, and gets it.
    """
    if before == crash_worker.COPIES_SHORT:
        crash_worker.perform("replicate", str(root), crash_worker.world(LATER))
    status, said = recover(root, verb)
    if status not in {0, ALREADY[verb]}:
        yield f"recovery ended with {status}: {said}"
    yield from (f"after recovery: {one}" for one in broken_now(root, verb, status))
    for key in set(promised(root, verb)[1]) - set(listed(root)):
        yield f"after recovery {key} is not there"
    yield from (f"left behind: {one}" for one in leftovers(root))
    kept = snapshot(root, ledger=verb in {"replicate", "seal"})
    size = open_repository(str(root / "repo"), crash_worker.world(), read_only=True).ledger.size
    status, said = recover(root, verb)
    if said["new"] or status not in {0, ALREADY[verb]}:
        yield f"the second recovery found work: {status}, {said}"
    again = snapshot(root, ledger=verb in {"replicate", "seal"})
    if kept != again:
        yield f"the second recovery changed {sorted(set(kept.items()) ^ set(again.items()))}"
    yield from (f"left behind by the second recovery: {one}" for one in leftovers(root))
    repository = open_repository(str(root / "repo"), crash_worker.world())
    grown = repository.ledger.size - size
    if grown > LEGITIMATE_EVENTS[verb]:
        yield f"the second recovery recorded {grown} events"
    yield from broken_in_records(root)
    report = audit(repository, Scope(), repair=False, told=lambda _copies, _bytes: None)
    if report.exit_status or report.coverage.unexpected or report.coverage.skipped:
        yield f"the audit ends with {report.exit_status}: {[str(one) for one in report.findings]}"


ALREADY = dict.fromkeys(VERBS, 0) | {"version-2": REFUSED}
"""How the same command ends when all of it was done before: files cannot be added to a package twice."""

LEGITIMATE_EVENTS = {"ingest": 2, "version-2": 2, "replicate": 0, "seal": 0, "audit": 3 + 8}
"""What doing the same again may record: a session begun and given up, an audit with a verdict a copy, an inventory."""


# ---- many faults -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one fault: on what it fell, and which rules were broken."""

    point: Point
    hit: tuple[str, str] | None
    status: int
    broken: list[str]


def tried(lane, verb, point, fault):
    """Run the verb with the fault, recover, and return what was broken."""
    ended, hit = lane.fault(verb, point, fault)
    if hit is None:
        return Outcome(point, None, ended.status, [])
    broken = []
    try:
        broken += broken_now(lane.root, verb, ended.status)
        if fault != KILL and ended.status == 0 and must_be_told(verb, hit):
            broken.append(f"success in spite of an error: {ended.said}")
        broken += broken_after_recovery(lane.root, verb, ended.status)
    except Exception:  # noqa: BLE001 - whatever stops a recovery is a broken rule
        broken.append(traceback.format_exc())
    if fault == KILL and ended.status != -signal.SIGKILL:
        broken.append(f"it was to be killed and ended with {ended.status}")
    if broken:
        broken.append(f"it said: {ended.said[-500:]}")
    return Outcome(point, hit, ended.status, broken)
