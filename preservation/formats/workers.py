"""A pool of worker processes that identify formats: with a deadline for each file, and no file that can stop the work.

Each worker belongs to one thread of the pool. The thread takes a share of what waits, sends it as one batch and reads
the answers as they come, many at a time: each awakening of a thread costs the ingest beside it more than the answer.
When a worker is late or dies, what it was asked is asked again file by file, so that the one to blame is known.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from preservation.formats import identification as words
from preservation.formats.identification import Identification, Owed, Sample
from preservation.formats.process import GoneError, LateError, WorkerProcess, worker_command
from storage_backends.errors import MocbanError

DEADLINE = 5.0
"""Seconds for one file."""

START_DEADLINE = 120.0
"""Seconds for a worker to load its signatures; it takes one, but the machine may be busy."""

IN_FLIGHT_BYTES = 64 << 20
"""Bytes of samples that wait or are being looked at; more than that, and `submit` waits."""

IN_FLIGHT_FILES = 4096

_BATCH_BYTES = 4 << 20
_BATCH_FILES = 256
_WORTH_ASKING_FILES = 64
_LINGER = 0.01
"""Seconds for which a thread waits for more than the first file."""

_WORTH_A_WORKER = 400.0
"""Milliseconds of work that must wait before another worker is worth its start, which costs as much."""

_LONG_WAIT = 0.5
"""Seconds after which whoever waits for room has one more worker started."""
_MOST_CRASHES = 2
_MOST_FAILED_STARTS = 3


@dataclass(slots=True, eq=False)
class _Answer:
    """The answer that is owed for a sample; all of a pool wait at one condition, as one for each is dear."""

    told: threading.Condition
    found: Identification | None = None

    def done(self) -> bool:
        """Whether it is there."""
        return self.found is not None

    def result(self) -> Identification:
        """Wait for it."""
        while self.found is None:
            with self.told:
                self.told.wait_for(self.done)
        return self.found


@dataclass(slots=True, eq=False)
class _Order:
    """A sample, the answer that is owed for it, and how many workers have died of it.

    It is asked about alone once a worker was late or died while it was one of many.
    """

    sample: Sample
    weight: int
    """Bytes that travel."""
    answer: _Answer
    crashes: int = 0
    alone: bool = False


class WorkerPool:
    """A `FormatIdentifier`: FIDO in worker processes, which are started when they are first needed.

    A file that takes longer than the deadline is answered `timeout`; one of which two workers died, `failed`.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        deadline: float = DEADLINE,
        bundle: Callable[[], bytes] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """Use at most so many `workers` (default: one a processor, two at most) and `deadline` seconds for a file.

        `bundle` gives the signatures as `SignatureBundle.to_bytes` writes them and is asked once, when the first worker
        is needed; without it they are those that are shipped with FIDO.
        """
        self._most_workers = workers or min(2, len(os.sched_getaffinity(0)))
        self._deadline = deadline
        self._command = tuple(command or worker_command(deadline))
        self._load = bundle
        self._bundle: bytes | None = None
        self._loading = threading.Lock()
        self._change = threading.RLock()
        self._room = threading.Condition(self._change)
        self._work = threading.Condition(self._change)
        self._told = threading.Condition(self._change)
        self._queue: deque[_Order] = deque()
        self._queued = 0
        self._bytes = 0
        self._files = 0
        self._threads: list[threading.Thread] = []
        self._workers: set[WorkerProcess] = set()
        self._answered = 0
        self._milliseconds = 0.0
        self._failed_starts = 0
        self._absence = words.TOOL_ABSENT
        self._closed = False

    def submit(self, sample: Sample) -> Owed:
        """Ask about a file; waits while 64 MiB or 4,096 files are in flight. The answer is never an exception."""
        order = _Order(sample, sum(map(len, sample.pieces())), _Answer(self._told))
        with self._room:
            if not self._has_room(order.weight):
                self._wait_for_room(order.weight)
            self._bytes += order.weight
            self._files += 1
            self._queue.append(order)
            self._queued += order.weight
            self._hire()
            if len(self._queue) == 1 or self._is_worth_asking():
                self._work.notify()
        if self._closed or not self._threads:
            self._dismiss()
        return order.answer

    def _wait_for_room(self, weight: int) -> None:
        if not self._room.wait_for(lambda: self._closed or self._has_room(weight), timeout=_LONG_WAIT):
            self._hire(needed=True)
            self._room.wait_for(lambda: self._closed or self._has_room(weight))

    def _has_room(self, weight: int) -> bool:
        return self._files == 0 or (self._files < IN_FLIGHT_FILES and self._bytes + weight <= IN_FLIGHT_BYTES)

    def _hire(self, *, needed: bool = False) -> None:
        """One worker for the first file, the next ones only for more work than their start costs.

        How much work waits is judged by the answers so far; until there is one, the first worker may only be starting.
        """
        waits = len(self._queue) * self._milliseconds > _WORTH_A_WORKER * self._answered
        much = self._answered > 0 and (needed or waits)
        if self._closed or len(self._threads) >= (self._most_workers if much else 1):
            return
        thread = threading.Thread(target=self._serve, name="format identification", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no room for another thread
            return
        self._threads.append(thread)

    def _dismiss(self) -> None:
        """Answer everything that waits as not looked at."""
        reason = words.STOPPED if self._closed else self._absence
        while True:
            with self._change:
                if not self._queue:
                    return
                order = self._queue.popleft()
                self._queued -= order.weight
            self._settle([(order, Identification("failed", warnings=(reason,)))])

    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are running."""
        with self._change:
            return tuple(worker.pid for worker in self._workers)

    def close(self) -> None:
        """Stop at once: workers are killed, and what was not answered is answered as failed."""
        with self._change:
            self._closed = True
            for worker in self._workers:
                worker.kill()
            self._room.notify_all()
            self._work.notify_all()
        for thread in self._threads:
            thread.join()
        self._dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_worth_asking(self) -> bool:
        return len(self._queue) >= _WORTH_ASKING_FILES or self._queued >= _BATCH_BYTES

    def _take(self) -> deque[_Order]:
        """Wait for orders and take a fair share of them; nothing when the pool is closed.

        A little is waited for more: to be woken for each file costs the ingest beside it more than the file.
        """
        with self._work:
            self._work.wait_for(lambda: self._closed or self._queue)
            self._work.wait_for(lambda: self._closed or self._is_worth_asking(), timeout=_LINGER)
            batch: deque[_Order] = deque()
            fair = max(_WORTH_ASKING_FILES, -(-len(self._queue) // self._most_workers))
            share = 0 if self._closed else min(_BATCH_FILES, fair)
            weight = 0
            while self._queue and len(batch) < share and (not batch or weight + self._queue[0].weight <= _BATCH_BYTES):
                batch.append(self._queue.popleft())
                weight += batch[-1].weight
            self._queued -= weight
            if self._queue:
                self._work.notify()
            return batch

    def _settle(self, answered: Sequence[tuple[_Order, Identification]]) -> None:
        with self._change:
            self._bytes -= sum(order.weight for order, _ in answered)
            self._files -= len(answered)
            self._answered += len(answered)
            self._milliseconds += sum(answer.milliseconds for _, answer in answered)
            if self._queue:
                self._hire()
            for order, answer in answered:
                order.answer.found = answer
            self._told.notify_all()
            self._room.notify_all()

    def _serve(self) -> None:
        """The work of one thread, until the pool is closed."""
        worker: WorkerProcess | None = None
        while not self._closed:
            batch = self._take()
            while batch:
                worker = self._advance(worker, batch)
        self._end(worker)

    def _advance(self, worker: WorkerProcess | None, batch: deque[_Order]) -> WorkerProcess | None:
        """Answer at least one order of the batch, or try to; gives back the worker, unless it had to be ended."""
        asked = [batch[0]] if batch[0].alone else [order for order in batch if not order.alone]
        try:
            worker = worker or self._started()
            if worker is None:
                self._settle([(batch.popleft(), self._not_looked_at(self._absence))])
                return None
            worker.ask([order.sample for order in asked], self._deadline)
            left = len(asked)
            while left:
                answers = worker.answers(left, self._deadline)
                left -= len(answers)
                self._settle([(batch.popleft(), answer) for answer in answers])
            return worker
        except LateError:
            self._blame(batch, asked, Identification("timeout", warnings=(words.TOO_SLOW,)))
        except GoneError:
            batch[0].crashes += batch[0].alone or len(asked) == 1
            if batch[0].crashes >= _MOST_CRASHES or self._closed:
                self._settle([(batch.popleft(), self._not_looked_at(words.TOOL_CRASHED))])
            else:
                _separate(batch, asked)
        except Exception as error:  # noqa: BLE001  # an answer that never comes would stop the whole ingest
            self._blame(batch, asked, self._not_looked_at(f"{words.TOOL_FAILED}: {type(error).__name__}"))
        self._end(worker)
        return None

    def _blame(self, batch: deque[_Order], asked: Sequence[_Order], answer: Identification) -> None:
        """Answer for the first order of the batch, if it was asked alone; else have each of them asked alone."""
        if len(asked) == 1 or self._closed:
            self._settle([(batch.popleft(), answer)])
        else:
            _separate(batch, asked)

    def _not_looked_at(self, reason: str) -> Identification:
        return Identification("failed", warnings=(words.STOPPED if self._closed else reason,))

    def _started(self) -> WorkerProcess | None:
        """A worker that is ready, or None; after three failures in a row no more are tried."""
        while True:
            worker: WorkerProcess | None = None
            with self._change:
                if self._closed or self._failed_starts >= _MOST_FAILED_STARTS:
                    return None
                try:
                    worker = WorkerProcess(self._command)
                except OSError:
                    self._failed_starts += 1
                    continue
                self._workers.add(worker)
            try:
                worker.greet(self._signatures(), START_DEADLINE)
            except (GoneError, LateError, MocbanError, OSError) as error:
                self._end(worker)
                with self._change:
                    self._failed_starts += 1
                    self._absence = str(error) or self._absence
                continue
            with self._change:
                self._failed_starts = 0
            return worker

    def _signatures(self) -> bytes:
        with self._loading:
            if self._bundle is None:
                self._bundle = self._load() if self._load is not None else b""
            return self._bundle

    def _end(self, worker: WorkerProcess | None) -> None:
        if worker is not None:
            with self._change:
                self._workers.discard(worker)
            worker.reap()


def _separate(batch: deque[_Order], asked: Sequence[_Order]) -> None:
    """Have what is left of a batch asked file by file: the first that was not answered may be the one to blame."""
    still = set(map(id, batch))
    for order in asked:
        order.alone = order.alone or id(order) in still
