"""A survey of sealed segments: each is read, hashed and compared by itself, so that two processes can share a long log.

What comes back is small: the subtrees between the sizes asked for, the few records that are kept, what is wrong.
"""

import os
import signal
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context

from preservation.ledger.attested import ATTESTED, attested_in
from preservation.ledger.errors import LedgerError, LedgerUnreadableError
from preservation.ledger.events import EventType
from preservation.ledger.layout import SEGMENTS, segment_name
from preservation.ledger.merkle import leaf_hash
from preservation.ledger.problems import LedgerProblem, check_records
from preservation.ledger.sealed import file_sha256, segment_path
from preservation.ledger.segments import SUBJECTS, read_rows
from preservation.ledger.shapes import Shapes
from preservation.ledger.subjects import index_differs
from preservation.ledger.subtrees import Subtree, subtrees
from storage_backends.errors import Phrase

PARALLEL_EVENTS = 200_000
"""From so many sealed events on, starting processes is worth its time."""

MOST_PROCESSES = 4
"""Each takes about 150 MB of memory."""

_ROTATION = EventType.KEY_ROTATION.encode()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen of one segment, which should hold the events ``first`` to ``end``; it was read to ``seen``.

    ``pieces`` are the subtrees up to each size asked for, and up to the end; there are none if it could not be read to
    its end. ``kept`` are the first record and those that name keys, ``attested`` what ``attested_in`` finds in all.
    ``sha256`` and ``size`` are those of the file, empty and 0 where it could not be opened.
    """

    first: int
    end: int
    seen: int
    pieces: tuple[tuple[int, tuple[Subtree, ...]], ...]
    kept: dict[int, bytes]
    attested: dict[str, str]
    last_leaf: bytes | None
    sha256: str
    size: int
    problems: tuple[LedgerProblem, ...]

    @property
    def name(self) -> str:
        """The segment, as problems name it."""
        return f"{SEGMENTS}/{segment_name(self.first, self.end)}"


@dataclass(frozen=True, slots=True)
class Task:
    """One segment to be surveyed in the ledger at ``root``: ``sizes`` are those whose trees are asked for, ascending.

    With ``deep`` every record is parsed and every typed column compared with it; otherwise the leaves are only hashed.
    """

    root: str
    first: int
    end: int
    sizes: tuple[int, ...]
    deep: bool


@dataclass(slots=True)
class _Reading:
    """How far the reading of a segment has come."""

    seq: int
    nodes: list[Subtree] = field(default_factory=list)
    pieces: list[tuple[int, tuple[Subtree, ...]]] = field(default_factory=list)
    kept: dict[int, bytes] = field(default_factory=dict)
    attested: dict[str, str] = field(default_factory=dict)
    last_leaf: bytes | None = None
    problems: list[LedgerProblem] = field(default_factory=list)


def survey(task: Task) -> Survey:
    """Read one segment; what is wrong is among the problems, what could not be read as well."""
    name = f"{SEGMENTS}/{segment_name(task.first, task.end)}"
    path = segment_path(task.root, task.first, task.end)
    reading = _Reading(task.first)
    shapes = Shapes(SUBJECTS) if task.deep else None
    digest, size = "", 0
    try:
        digest, size = file_sha256(path), os.stat(path).st_size
        for rows in read_rows(path, columns=task.deep, shapes=shapes):
            if rows.seqs != list(range(reading.seq, reading.seq + len(rows.seqs))):
                detail = Phrase("its events are not consecutive after {event}", event=reading.seq)
                reading.problems.append(LedgerProblem("segment_incomplete", name, detail))
            if task.deep and not rows.agree:
                reading.problems.extend(check_records(rows.records, rows.columns, name, reading.seq))
            _take(reading, rows.records, task)
    except (LedgerError, OSError) as error:
        reading.problems.append(LedgerProblem("segment_unreadable", name, str(error)))
        reading.pieces = []
    else:
        if task.deep and (wrong := index_differs(task.root, task.first, task.end, digest)) is not None:
            reading.problems.append(LedgerProblem("cache_differs", name, wrong))
        if reading.nodes or not reading.pieces:
            reading.pieces.append((reading.seq, tuple(reading.nodes)))
    return Survey(
        task.first,
        task.end,
        reading.seq,
        tuple(reading.pieces),
        reading.kept,
        reading.attested,
        reading.last_leaf,
        digest,
        size,
        tuple(reading.problems),
    )


def _take(reading: _Reading, records: Sequence[bytes], task: Task) -> None:
    sizes = task.sizes
    leaves = [leaf_hash(record) for record in records]
    start, end = reading.seq, reading.seq + len(records)
    done = start
    for stop in sizes[bisect_right(sizes, start) : bisect_left(sizes, end)]:
        reading.nodes += subtrees(done, leaves[done - start : stop - start])
        reading.pieces.append((stop, tuple(reading.nodes)))
        reading.nodes, done = [], stop
    reading.nodes += subtrees(done, leaves[done - start :])
    if bisect_left(sizes, end) < bisect_right(sizes, end):
        reading.pieces.append((end, tuple(reading.nodes)))
        reading.nodes = []
    together = b"\n".join(records)  # one search is faster than thousands, and mostly finds nothing
    if start == task.first or _ROTATION in together or ATTESTED in together:
        for seq, record in enumerate(records, start):
            if seq == task.first or _ROTATION in record:
                reading.kept[seq] = record
            reading.attested.update(attested_in(record))
    reading.seq, reading.last_leaf = end, leaves[-1] if leaves else reading.last_leaf


def surveys(tasks: Sequence[Task], processes: int = 1) -> Iterator[Survey]:
    """Yield the survey of each task, in order; several processes share the work if there is enough of it.

    Raises:
        LedgerUnreadableError: A process was ended from outside, for want of memory perhaps.
    """
    if processes < 2 or sum(task.end - task.first for task in tasks) < PARALLEL_EVENTS:  # noqa: PLR2004 - one is none
        yield from map(survey, tasks)
        return
    with _executor(min(processes, MOST_PROCESSES, len(tasks))) as executor:
        try:
            yield from executor.map(survey, tasks)
        except BrokenProcessPool as error:
            raise LedgerUnreadableError(
                place=tasks[0].root, reason="a process that was reading it was ended"
            ) from error


@contextmanager
def _executor(processes: int) -> Iterator[Executor]:
    # A forked process would share locks of threads that it does not have (pyarrow starts some).
    executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_leave_interrupts)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Let Ctrl-C end the parent, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
