"""A writing session on the ledger, under its lock: append, sign, seal."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from preservation.identifiers import new_id
from preservation.ledger.canonical import Json
from preservation.ledger.checkpoints import checkpoint_sizes, issue_checkpoint
from preservation.ledger.errors import LedgerError, LedgerStoppedError, LedgerWriteError
from preservation.ledger.events import Event, EventType, Outcome, Record, parse_record, record_bytes, time_text
from preservation.ledger.files import writing_to
from preservation.ledger.head import Head, check_floor, follow_head, hot_batches, load_head, newest_time
from preservation.ledger.notes import Checkpoint, SignedCheckpoint, Signer, VerifierKey
from preservation.ledger.sealed import Segment, hot_path, keep_cache
from preservation.ledger.sealing import clear_unfinished, closed_event, drop_sealed, seal
from preservation.ledger.wal import batches, encode_batch

SKEW = timedelta(minutes=5)
"""A clock that is further behind the last event is recorded; the order of events is their sequence, not their time."""

SEAL_EVENTS = 65_536
SEAL_BYTES = 64 << 20
SEAL_AGE = timedelta(hours=24)
"""A segment is sealed at this many events, bytes of frames, or at this age of its first event."""


@dataclass(slots=True, kw_only=True)
class WriterState:
    """What the sessions of one process share.

    ``at_least`` is the size that the log is known to have had; ``durable`` says up to where in which hot file all is
    on the disk; ``newest`` is the time of the last event at that size of the log; ``stopped`` is why nothing more may
    be written.
    """

    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    signers: tuple[Signer, ...]
    origin: str
    agent: str
    at_least: int = 0
    durable: tuple[int, int] = (-1, -1)
    newest: tuple[int, datetime] | None = None
    stopped: str = ""

    def mark_durable(self, head: Head) -> None:
        """Note that everything up to ``head`` is on the disk."""
        self.durable = (head.hot_first, head.offset)
        self.at_least = max(self.at_least, head.size)

    def check_running(self, path: str) -> None:
        """Raise ``LedgerStoppedError`` after a failed write: what the disk holds is only known by reading it again."""
        if self.stopped:
            raise LedgerStoppedError(place=path, reason=self.stopped)


class Writer:
    """Given by ``Ledger.writing``; of no use after its ``with`` block."""

    def __init__(
        self, path: str, state: WriterState, head: Head, keys_of: Callable[[Head], Iterable[VerifierKey]]
    ) -> None:
        self.path = path
        self.head = head
        self._state = state
        self._keys_of = keys_of
        self._descriptor = -1
        self._over = False

    def append(self, events: Sequence[Event]) -> list[Record]:
        """Append ``events`` in order, all or none; they are durable when this returns.

        Raises:
            RecordError: An event cannot be kept; nothing was written.
            LedgerWriteError: Nothing is acknowledged, and this process writes no more until it opens the ledger again.
        """
        self._check()
        pending = list(events)
        closing = self.head.offset == 0 and bool(self.head.segments)
        if not pending and not closing:
            return []
        now = self._state.clock().astimezone(UTC)
        first = self._first_events(now, closing=closing)
        pending[:0] = first
        records: list[Record] = []
        for seq, event in enumerate(pending, self.head.size):
            event_id = new_id(now, self._state.random)
            records.append(Record(seq, event_id, now, event, record_bytes(event, seq, event_id, now)))
        data = encode_batch([record.data for record in records], self.head.size, self.head.last_leaf)
        self._write(data)
        self.head = self._grown(data)
        self._state.mark_durable(self.head)
        self._state.newest = (self.head.size, now)
        return records[len(first) :]

    def checkpoint(self) -> SignedCheckpoint:
        """Sign the tree over all events, keep the note, and return it; the same note if there is one for this size.

        Raises:
            LedgerForkError: A checkpoint with another root was signed for this size.
        """
        self._check()
        if not self._state.signers:
            raise LedgerError(place=self.path, reason="there is no key to sign with")
        checkpoint = Checkpoint(self._state.origin, self.head.size, self.head.frontier.root())
        with writing_to(self.path):
            return issue_checkpoint(self.path, checkpoint, self._state.signers)

    def seal_if_due(self, *, force: bool = False) -> Segment | None:
        """Seal the hot file if it is large or old enough, or if ``force``; return the segment, None if it was not.

        The hot frames stay until ``drop_sealed``, which is called when the stores have the segment.

        Raises:
            LedgerWriteError: The segment could not be made; nothing is lost, and the ledger must be opened again.
        """
        self._check()
        nothing = 1 if self.head.segments else 0  # only the event that closed the segment before
        if self.head.size - self.head.hot_first <= nothing or not (force or self._is_due()):
            return None
        self._close()
        try:
            self.head = seal(self.path, self.head)
        except BaseException as error:
            self._state.stopped = str(error) or type(error).__name__
            raise
        self.append([])
        return self.head.segments[-1]

    def drop_sealed(self) -> int:
        """Remove the hot frames that are sealed, after comparing them with their segments; return how many files."""
        self._check()
        with writing_to(self.path):
            return drop_sealed(self.path, self.head)

    def begin(self) -> None:
        """See what others appended, finish what a crash left, and make durable what is there."""
        followed = follow_head(self.path, self.head) if self.head.size else None
        self.head = followed or load_head(self.path, self._keys_of, at_least=self._state.at_least)
        path = hot_path(self.path, self.head.hot_first)
        try:
            clear_unfinished(self.path)
            keep_cache(self.path, self.head.segments)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            size = os.fstat(self._descriptor).st_size
            if size > self.head.offset:
                # The bytes of a batch that was never acknowledged, unless a checkpoint says otherwise.
                check_floor(self.path, self.head, max(checkpoint_sizes(self.path), default=0))
                os.ftruncate(self._descriptor, self.head.offset)
                os.fdatasync(self._descriptor)
            if self._state.durable != (self.head.hot_first, self.head.offset):
                self._make_durable()
        except OSError as error:
            raise LedgerWriteError(place=path, reason=error.strerror) from error

    def finish(self) -> None:
        """End the session."""
        self._close()
        self._over = True

    def _make_durable(self) -> None:
        # Another process may have died between its write and its flush; after a failed flush the page cache can hold
        # bytes that are marked clean and are not on the disk. Writing the last batch again makes it dirty again.
        data = os.pread(self._descriptor, self.head.offset - self.head.last, self.head.last)
        _write_at(self._descriptor, data, self.head.last)
        os.fdatasync(self._descriptor)
        self._state.mark_durable(self.head)

    def _write(self, data: bytes) -> None:
        path = hot_path(self.path, self.head.hot_first)
        try:
            if self._descriptor == -1:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            _write_at(self._descriptor, data, self.head.offset)
            os.fdatasync(self._descriptor)
        except BaseException as error:
            self._state.stopped = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.head.offset)
                os.fsync(self._descriptor)
            if isinstance(error, OSError):
                raise LedgerWriteError(place=path, reason=self._state.stopped) from error
            raise

    def _first_events(self, now: datetime, *, closing: bool) -> list[Event]:
        """Return what the ledger itself has to say first: that a segment was closed, that the clock went back."""
        found = [closed_event(self.head.segments[-1], self._state.agent)] if closing else []
        before = self._newest()
        if before is not None and before - now > SKEW:
            seconds = int((before - now).total_seconds())
            detail: dict[str, Json] = {"before": time_text(before), "seconds": seconds}
            event = Event(type=EventType.CLOCK_SKEW, outcome=Outcome.WARNING, detail=detail, agent=self._state.agent)
            found.append(event)
        return found

    def _newest(self) -> datetime | None:
        """Return the time of the last event."""
        if self._state.newest is None or self._state.newest[0] != self.head.size:
            time = newest_time(self.path, self.head)
            self._state.newest = (self.head.size, time) if time is not None else None
        return self._state.newest[1] if self._state.newest is not None else None

    def _grown(self, data: bytes) -> Head:
        """Return the head after the batch ``data``, read back from it as a reader would."""
        start, head = self.head.offset, self.head
        for batch in batches(
            lambda offset, size: data[offset - start : offset - start + size],
            start,
            start + len(data),
            seq=head.size,
            previous=head.last_leaf,
            place=self.path,
        ):
            head = head.grown(batch)
        return head

    def _is_due(self) -> bool:
        head = self.head
        if head.size - head.hot_first >= SEAL_EVENTS or head.offset >= SEAL_BYTES:
            return True
        oldest = parse_record(next(hot_batches(self.path, head, head.hot_first)).frames[0].record)
        return self._state.clock() - oldest.time >= SEAL_AGE

    def _check(self) -> None:
        if self._over:
            raise LedgerError(place=self.path, reason="this writing session is over")
        self._state.check_running(self.path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
