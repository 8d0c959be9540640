"""Goes through the formats of all files again with other signatures: what is affected first, then everything.

Nothing that was recorded is changed. What comes out otherwise becomes a row of a part that the event of a batch names
(``identifications``), so that a run which is stopped or killed goes on behind its last batch, and the server's loss
loses nothing that a store has.
"""

import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from preservation import parts
from preservation.affected import Target, latest
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import OTHER_MOVES, ReidentificationRow
from preservation.catalog.rows import PackageRow, VersionRow
from preservation.evidence import push
from preservation.formats.identification import ENDS, FormatIdentifier, Identification, Owed, Sample, extension_of
from preservation.formats.pdf import PdfScan, is_pdf
from preservation.identifications import (
    COLUMNS,
    KIND,
    Change,
    Layers,
    Newest,
    OfPackage,
    Verdict,
    key_of,
    signatures_of,
    tag_of,
)
from preservation.ledger.events import EventType
from preservation.ledger.files import locked
from preservation.manifest import FileLine
from preservation.packages import NoGoodCopyError, manifest, object_once
from preservation.reading import SMALL
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from storage_backends.backend import Recalling

PHASES = ("affected", "rest")

AHEAD = 32
"""Files that are being looked at while the next ones are read."""

ROWS_AT_ONCE = 20_000
LOOKED_AT_ONCE = 50_000
TIME_AT_ONCE = timedelta(minutes=10)
"""A batch is recorded after so many rows, so many files, or so long."""

MOVES_AT_ONCE = 200_000
"""Characters of different moves that an event holds; the most of a record is 1 MiB."""

REMEMBERED = 100_000
"""Contents whose answer is remembered, for the other files and versions that have them."""


class Second(Protocol):
    """Somebody else who is asked about a file of whom the first answer says little."""

    def wants(self, line: FileLine, answer: Identification) -> bool:
        """Tell whether to ask about this file."""
        ...

    def judge(
        self, view: View, stores: list[Store], fonds: str, line: FileLine, answer: Identification
    ) -> tuple[Identification, Verdict, tuple[str, ...], str]:
        """Return the answer that holds, the verdict, the other tool's PUIDs, and its name."""
        ...


@dataclass(slots=True)
class _Sampling:
    """Takes in the bytes of an object and keeps of them what identification looks at."""

    name: str
    size: int
    seen: int = 0
    _whole: bytearray = field(default_factory=bytearray)
    _head: bytes = b""
    _tail: bytes = b""
    _scan: PdfScan | None = None

    def take(self, data: bytes) -> None:
        """Take in the next bytes."""
        if self.size <= SMALL:
            self._whole += data
            return
        if self.seen < ENDS:
            self._head = (self._head + bytes(data[:ENDS]))[:ENDS]
            self._scan = self._scan or (PdfScan() if is_pdf(self._head) else None)
        if self._scan is not None:
            self._scan.feed(data)
        self._tail = bytes(data[-ENDS:]) if len(data) >= ENDS else (self._tail + bytes(data))[-ENDS:]
        self.seen += len(data)

    def sample(self) -> Sample:
        """Return what identification looks at."""
        if self.size <= SMALL:
            return Sample.of_content(self.name, bytes(self._whole))
        found = (self._scan.found(), self._scan.objects()) if self._scan is not None else ()
        return Sample.of_ends(self.name, self.size, self._head, self._tail, *found)


@dataclass(slots=True)
class _Pending:
    """A file on its way: nothing is asked of one without ``asked``; ``unreached`` has no copy that could be read."""

    line: FileLine
    before: Newest
    asked: Owed | None = None
    unreached: bool = False


@dataclass(slots=True)
class _Batch:
    """What is not recorded yet."""

    began: datetime
    rows: list[tuple[parts.Value, ...]] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    lines: int = 0


class _EnoughError(Exception):
    """The time for this time is used up."""


def reidentify(
    repository: Repository,
    target: Target,
    identifier: FormatIdentifier,
    told: Callable[[int, int], None],
    *,
    second: Second | None = None,
    again: bool = False,
    budget: timedelta | None = None,
) -> ReidentificationRow:
    """Look at every file with the signatures of ``target``; a run that was stopped goes on.

    One that has ended is not done again, unless ``again``. Media that must be fetched first are left alone, and so is
    what no copy gives rightly: such files count as unreached, and the run ends as ``incomplete``. After ``budget`` the
    work ends for this time, and the run that is returned is not closed.

    Raises:
        StoppedError: told to stop; what was found is recorded.
    """
    with locked(os.path.join(repository.staging, "reidentification.lock"), repository.world.wait_seconds):
        with repository.reading() as view:
            store_rows = attached(view)
        with all_open(store_rows) as stores:
            with repository.reading() as view:
                parts.fetch(repository, view, [store.backend for store in stores if store.backend is not None])
                parts.clear_unnamed(repository, view)
            run, is_another = _opened(repository, target, again=again)
            if not run.closed:
                until = repository.world.now() + budget if budget is not None else None
                work = _Work(repository, target, identifier, told, stores, second, run.run, until, is_another)
                try:
                    _gone_through(work, run)
                    _closed(repository, run.run)
                except _EnoughError:
                    pass
                finally:
                    push(repository, stores)
        with repository.reading() as view:
            found = rows.one(view, ReidentificationRow, run.run)
    assert found is not None
    return found


def _opened(repository: Repository, target: Target, *, again: bool) -> tuple[ReidentificationRow, bool]:
    """Return the run that goes on, or the one that is done, or a new one; runs with other signatures end.

    Beside it, whether it is to look at all files: if that is asked for (``again``, also of a run that goes on), or if
    these signatures were gone through with before.
    """
    with repository.deciding() as (view, append):
        known = list(rows.every(view, ReidentificationRow))
        going_on = next((row for row in known if not row.closed and row.bundle == target.bundle), None)
        others = [row for row in known if not row.closed and row is not going_on]
        events = [repository.event(EventType.REIDENTIFICATION_CLOSED, run=row.run, how="superseded") for row in others]
        done = next((row for row in known if row.bundle == target.bundle and row.outcome == "complete"), None)
        if going_on is None and done is not None and done is latest(known) and not again:
            return done, False
        run = going_on.run if going_on is not None else repository.new_id()
        if going_on is None:
            events.append(repository.event(EventType.REIDENTIFICATION_OPENED, run=run, bundle=target.bundle))
        if events:
            append(events)
    with repository.reading() as view:
        row = rows.one(view, ReidentificationRow, run)
    assert row is not None
    return row, again or any(one.bundle == target.bundle and one.closed and one.run != run for one in known)


def _closed(repository: Repository, run: str) -> None:
    with repository.deciding() as (view, append):
        row = rows.one(view, ReidentificationRow, run)
        assert row is not None
        is_whole = not row.failed and not row.unreached
        append(
            [
                repository.event(
                    EventType.REIDENTIFICATION_CLOSED,
                    outcome="success" if is_whole else "warning",
                    run=run,
                    bundle=row.bundle,
                    how="complete" if is_whole else "incomplete",
                    looked=row.looked,
                    moved=row.moved,
                    failed=row.failed,
                    unreached=row.unreached,
                    conflicts=row.conflicts,
                    moves=_fitting(row.moves),
                )
            ]
        )


def _fitting(moves: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent moves that fit into an event, the others counted together; batches have each."""
    found: Counter[str] = Counter()
    size = 0
    for move, count in sorted(moves.items(), key=lambda one: (-one[1], one[0])):
        size += len(move)
        found[move if size < MOVES_AT_ONCE else OTHER_MOVES] += count
    return dict(sorted(found.items()))


def _gone_through(work: "_Work", run: ReidentificationRow) -> None:
    for phase in PHASES[PHASES.index(run.phase or PHASES[0]) :]:
        work.begin(phase)
        here = run if run.phase == phase else None
        for row, is_latest in _versions(work.repository, here):
            skipped = here.line if here is not None and _place(row) == (here.fonds, here.package, -here.version) else 0
            work.version(row, skipped, is_latest=is_latest)
        work.record()


def _place(row: VersionRow) -> tuple[str, str, int]:
    return row.fonds, row.package, -row.version


def _versions(repository: Repository, here: ReidentificationRow | None) -> Iterator[tuple[VersionRow, bool]]:
    """Yield every version from where the run is on, fonds by fonds, package by package, the latest first."""
    with repository.reading() as view:
        packages = sorted((row.fonds, row.package, row.latest) for row in rows.every(view, PackageRow))
    for fonds, package, newest in packages:
        if here is not None and (fonds, package) < (here.fonds, here.package):
            continue
        with repository.reading() as view:
            found = sorted(rows.every(view, VersionRow, package), key=_place)
        for row in found:
            if here is None or _place(row) >= (here.fonds, here.package, -here.version):
                yield row, row.version == newest


@dataclass(slots=True)
class _Work:
    """One run at work."""

    repository: Repository
    target: Target
    identifier: FormatIdentifier
    told: Callable[[int, int], None]
    stores: list[Store]
    second: Second | None
    run: str
    until: datetime | None
    everything: bool = False
    """Also what was identified with these signatures already."""
    phase: str = ""
    at: VersionRow | None = None
    is_latest: bool = True
    batch: _Batch = field(init=False)
    known: OrderedDict[tuple[str, str], Owed] = field(default_factory=OrderedDict)
    pending: deque[_Pending] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.batch = _Batch(self.repository.world.now())

    def begin(self, phase: str) -> None:
        """Begin a phase."""
        self.phase = phase

    def version(self, row: VersionRow, skipped: int, *, is_latest: bool) -> None:
        """Look at the files of one version that belong to this phase, from the one after ``skipped`` on."""
        if self.at is not None and self.at.fonds != row.fonds:
            self.record()
        self.at, self.is_latest, self.batch.lines = row, is_latest, skipped
        at_hand = [one for one in self.stores if one.backend is not None and not isinstance(one.backend, Recalling)]
        with self.repository.reading() as view, Layers(self.repository.sidecars, view, but=self.run) as layers:
            later = layers.of_package(row.fonds, row.package)
            try:
                number = 0
                for line in manifest(view, at_hand, row):
                    if isinstance(line, FileLine):
                        number += 1
                        if number > skipped:
                            self._file(view, at_hand, line, later)
                while self.pending:
                    self._settle(view, at_hand)
            except NoGoodCopyError:
                self.pending.clear()
                if self.phase == PHASES[0]:  # the second time it would be counted twice
                    self.batch.counts["unreached"] += row.files - self.batch.lines
                self.batch.lines = row.files

    def _file(self, view: View, stores: list[Store], line: FileLine, later: OfPackage) -> None:
        before = later.newest(line)
        pending = _Pending(line, before)
        extension = extension_of(_name(line))
        is_due = self.everything or signatures_of(before.answer) != self.target.label
        if is_due and self.target.affects(before.answer, extension) == (self.phase == PHASES[0]):
            pending.asked = self.known.get((line.blake3, tag_of(line)))
            if pending.asked is None:
                self._ask(view, stores, pending)
        self.pending.append(pending)
        if len(self.pending) >= AHEAD:
            self._settle(view, stores)

    def _ask(self, view: View, stores: list[Store], pending: _Pending) -> None:
        assert self.at is not None
        line, name = pending.line, _name(pending.line)
        try:
            taken = object_once(view, stores, self.at.fonds, line, lambda: _Sampling(name, line.size))
            pending.asked = self.identifier.submit(taken.sample())
            self.known[line.blake3, tag_of(line)] = pending.asked
            if len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        except NoGoodCopyError:
            pending.unreached = True

    def _settle(self, view: View, stores: list[Store]) -> None:
        """Take in the answer for the file that was asked about first."""
        assert self.at is not None
        pending = self.pending.popleft()
        self.batch.lines += 1
        if pending.unreached:
            self.batch.counts["unreached"] += 1
        elif pending.asked is not None:
            self._found(view, stores, pending, pending.asked.result())
            self.told(1, pending.line.size)
        batch = self.batch
        now = self.repository.world.now()
        is_late = now - batch.began > TIME_AT_ONCE
        is_full = batch.counts["looked"] >= LOOKED_AT_ONCE or sum(map(len, batch.moves)) >= MOVES_AT_ONCE
        if is_late or is_full or len(batch.rows) >= ROWS_AT_ONCE:
            self.record()
        if self.repository.world.stopping():
            self.record()
            raise StoppedError
        if self.until is not None and now > self.until:
            self.record()
            raise _EnoughError

    def _found(self, view: View, stores: list[Store], pending: _Pending, answer: Identification) -> None:
        assert self.at is not None
        line, before, batch = pending.line, pending.before.answer, self.batch
        tag = tag_of(line)
        batch.counts["looked"] += 1
        if answer.status not in {"identified", "unidentified"}:
            batch.counts["failed"] += 1
            batch.rows.append(self._change(before, answer).row(self.at.package, line.blake3, tag))
            return
        verdict: Verdict = ""
        others: tuple[str, ...] = ()
        tool = ""
        if self.second is not None and self.second.wants(line, answer):
            answer, verdict, others, tool = self.second.judge(view, stores, self.at.fonds, line, answer)
            batch.counts["conflicts"] += verdict == "conflict"
        if key_of(answer) != key_of(before) and self.is_latest:
            batch.moves[f"{key_of(before)} -> {key_of(answer)}"] += 1
            batch.counts["moved"] += 1
        if _differs(before, answer) or verdict:
            change = self._change(before, answer, verdict, others, tool)
            batch.rows.append(change.row(self.at.package, line.blake3, tag))

    def _change(
        self,
        before: Identification,
        answer: Identification,
        verdict: Verdict = "",
        others: tuple[str, ...] = (),
        tool: str = "",
    ) -> Change:
        assert self.at is not None
        return Change(self.at.version, key_of(before), signatures_of(before), answer, verdict, others, tool)

    def record(self) -> None:
        """Record what was found so far; a run that is killed goes on from here."""
        if self.at is None:
            return
        batch, at = self.batch, self.at
        named = parts.write_parts(self.repository, KIND, COLUMNS, batch.rows)
        counts = {name: batch.counts[name] for name in ("looked", "moved", "failed", "unreached", "conflicts")}
        event = self.repository.event(
            EventType.FORMAT_IDENTIFICATION,
            fonds=at.fonds,
            outcome="warning" if counts["failed"] or counts["unreached"] else "success",
            run=self.run,
            bundle=self.target.bundle,
            phase=self.phase,
            package=at.package,
            version=at.version,
            line=batch.lines,
            moves=dict(sorted(batch.moves.items())),
            parts=[part.to_json() for part in named],
            **counts,
        )
        self.repository.record([event])
        self.batch = _Batch(self.repository.world.now(), lines=batch.lines)


def _name(line: FileLine) -> str:
    return os.fsdecode(line.path.rpartition(b"/")[2])


def _differs(before: Identification, answer: Identification) -> bool:
    """Tell whether an answer says something else than before; by which signatures it was reached is none of that."""

    def said(one: Identification) -> object:
        return one.status, sorted((match.puid, match.basis) for match in one.formats), sorted(one.warnings)

    return said(before) != said(answer)


def moves_of(run: ReidentificationRow) -> list[tuple[str, str, int]]:
    """Return from what to what how many files went, the most first."""
    found = []
    for move, count in run.moves.items():
        was, _, now = move.partition(" -> ")
        found.append((was, now, count))
    return sorted(found, key=lambda one: (-one[2], one[0], one[1]))
