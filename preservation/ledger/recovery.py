"""Recovery: a ledger made anew from what stores, and what is left of a damaged one, hold of it.

The highest checkpoint found anywhere decides how much there must be. Nothing is taken that does not follow what
precedes it, and two histories are never joined. The verb that calls this records a ``recovery`` event.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from preservation.ledger.checkpoints import checkpoint_path
from preservation.ledger.errors import (
    LedgerDamagedError,
    LedgerError,
    LedgerExistsError,
    LedgerForkError,
    LedgerUnreadableError,
    NoteError,
)
from preservation.ledger.events import parse_record
from preservation.ledger.evidence import Found, Signed, found_in, read_notes
from preservation.ledger.files import (
    create_file,
    fsync_directory,
    locked,
    names_in,
    publish,
    reading_at,
    write_all,
    writing_to,
)
from preservation.ledger.keys import genesis_keys
from preservation.ledger.layout import FORMAT_FILE, LOCK_FILE, SEGMENTS, segment_range, tail_range
from preservation.ledger.log import format_bytes, make_directories
from preservation.ledger.merkle import HASH_BYTES
from preservation.ledger.notes import VerifierKey, signed_by
from preservation.ledger.problems import LedgerProblem, check_records
from preservation.ledger.sealed import file_sha256, hot_path, segment_path
from preservation.ledger.segments import read_rows
from preservation.ledger.wal import Frame, encode_batch, frames
from preservation.ledger.walk import Walk
from storage_backends.errors import Phrase

RESTORING = ".restoring"
DAMAGED = ".damaged"
"""Added to the name of the ledger's folder while it is built, and to that of the one that it replaces."""

_INCOMING = "incoming"
_COPY_BYTES = 1 << 20
_FILE_LIMIT = 2 << 30


@dataclass(frozen=True, slots=True)
class Restored:
    """How many events were found, the highest checkpoint over them, and what was found wrong and left aside."""

    size: int
    checkpoint: int
    problems: tuple[LedgerProblem, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """A restoration under way: the folder that is built, the checkpoints that judge it, what was left aside."""

    building: str
    notes: list[Signed]
    problems: list[LedgerProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Hot:
    """The hot file that is being joined: its descriptor, its first event, and the hashes of all its leaves."""

    descriptor: int
    first: int
    leaves: bytearray = field(default_factory=bytearray)

    def leaf(self, seq: int) -> bytes:
        """Return the hash of the leaf of event ``seq``."""
        start = (seq - self.first) * HASH_BYTES
        return bytes(self.leaves[start : start + HASH_BYTES])

    def append(self, batch: list[Frame], walk: Walk, place: str) -> None:
        """Append a batch that follows; raises ``LedgerDamagedError`` if its records are none."""
        records = [frame.record for frame in batch]
        for problem in check_records(records, {}, place, walk.seq):
            raise LedgerDamagedError(place=place, seq=walk.seq, reason=problem.detail)
        write_all(self.descriptor, encode_batch(records, walk.seq, batch[0].previous))
        walk.take(records)
        for frame in batch:
            self.leaves.extend(frame.leaf)


def restore(path: str, found: Iterable[Found], *, trusted: Sequence[VerifierKey] = ()) -> Restored:
    """Make the ledger at ``path``, where there is none, from what was ``found`` on stores.

    ``trusted`` are keys that the caller has from elsewhere; if given, the genesis must name one of them.

    Raises:
        LedgerExistsError: There is something at ``path``.
        LedgerDamagedError: Events that a checkpoint, a chunk or a segment proves are found nowhere; it names them.
        LedgerForkError: What was found are parts of different histories.
        LedgerWriteError: It could not be written; call again.
    """
    if os.path.lexists(path) and os.listdir(path):
        raise LedgerExistsError(place=path)
    with writing_to(path):
        restored = _built(path, list(found), trusted)
        _put_in_place(path)
    return restored


def mend(
    path: str, found: Iterable[Found] = (), *, wait_seconds: float, trusted: Sequence[VerifierKey] = ()
) -> Restored | None:
    """Make the damaged ledger at ``path`` anew from what is left of it and what was ``found`` on stores.

    The damaged one is kept beside it. After a crash, call it again. None: only the last step was left to do.

    Raises:
        As ``restore``; LedgerBusyError if somebody writes. The ledger is as it was.
    """
    if not os.path.lexists(path) and os.path.exists(os.path.join(path + RESTORING, FORMAT_FILE)):
        _put_in_place(path)
        return None
    with locked(os.path.join(path, LOCK_FILE), wait_seconds), writing_to(path):
        restored = _built(path, [*found_in(path), *found], trusted)
        number = 1
        while os.path.lexists(f"{path}{DAMAGED}-{number}"):
            number += 1
        os.rename(path, f"{path}{DAMAGED}-{number}")
        _put_in_place(path)
    return restored


def _built(path: str, found: list[Found], trusted: Sequence[VerifierKey]) -> Restored:
    """Build the ledger beside ``path``; whatever an earlier attempt left there is removed."""
    building = path + RESTORING
    if os.path.lexists(building):
        shutil.rmtree(building)
    make_directories(building)
    problems: list[LedgerProblem] = []
    work = _Work(building, read_notes(found, problems), problems)
    walk = _take_segments(work, [item for item in found if item.folder == SEGMENTS])
    proven = _take_tail(work, walk, [item for item in found if item.is_tail])
    _compare_digests(work, walk, [item for item in found if item.folder == SEGMENTS])
    _check_genesis(path, walk, trusted)
    proven = max(proven, *(_named_end(item) for item in found))
    highest = _keep_notes(work, walk)
    if max(proven, highest) > walk.seq:
        raise LedgerDamagedError(
            place=path,
            seq=walk.seq,
            reason=Phrase(
                "events {first} to {last} once were in the ledger and were found nowhere",
                first=walk.seq,
                last=max(proven, highest) - 1,
            ),
        )
    create_file(os.path.join(building, FORMAT_FILE), format_bytes(_origin(walk)))
    return Restored(walk.seq, highest, tuple(problems))


def _put_in_place(path: str) -> None:
    os.rename(path + RESTORING, path)
    fsync_directory(os.path.dirname(os.path.abspath(path)))


def _take_segments(work: _Work, found: list[Found]) -> Walk:
    """Copy the segments that follow each other from 0 on; of several of one name the first good one."""
    ends = frozenset(pair[1] for item in found if (pair := segment_range(item.name)) is not None)
    walk = Walk(sorted({note.size for note in work.notes}), ends)
    while True:
        ranges = [(segment_range(item.name) or (-1, -1), item) for item in found]
        candidates = [(end, item) for (first, end), item in ranges if first == walk.seq]
        for end, item in sorted(candidates, key=lambda pair: -pair[0]):
            after = _copied_segment(work, walk, item, end)
            if after is not None:
                walk = after
                break
        else:
            return walk


def _copied_segment(work: _Work, walk: Walk, item: Found, end: int) -> Walk | None:
    trial = replace(walk, roots=dict(walk.roots), kept=dict(walk.kept))
    path = segment_path(work.building, walk.seq, end)
    wrong: list[LedgerProblem] = []
    try:
        _copy(item, path)
        for rows in read_rows(path, columns=True):
            wrong += check_records(rows.records, rows.columns, item.place, trial.seq)
            trial.take(rows.records)
        if trial.seq != end:
            wrong.append(
                LedgerProblem("segment_incomplete", item.place, Phrase("it has the events to {event}", event=trial.seq))
            )
        elif not wrong and (note := _contradiction(trial, work.notes, walk.seq)) is not None:
            wrong.append(LedgerProblem("root_differs", item.place, Phrase("it contradicts {place}", place=note.place)))
    except LedgerError as error:
        wrong.append(LedgerProblem("segment_unreadable", item.place, str(error)))
    if not wrong:
        return trial
    work.problems.extend(wrong)
    if os.path.lexists(path):
        os.unlink(path)
    return None


def _contradiction(walk: Walk, notes: list[Signed], since: int) -> Signed | None:
    """Return a checkpoint of more than ``since`` events that a known key signed over another root."""
    keys = [period.key for period in walk.periods()]
    for note in notes:
        root = walk.roots.get(note.size)
        if note.size > since and root is not None and root != note.checkpoint.root and note.is_signed_by(keys):
            return note
    return None


def _compare_digests(work: _Work, walk: Walk, found: list[Found]) -> None:
    """Take the very file that the event after a segment names, where one that says the same was taken instead."""
    for name in names_in(os.path.join(work.building, SEGMENTS)):
        first, end = segment_range(name) or (0, 0)
        digest = parse_record(walk.kept[end]).event.detail.get("sha256") if end in walk.kept else None
        path = segment_path(work.building, first, end)
        if digest is None or file_sha256(path) == digest:
            continue
        spool = os.path.join(work.building, _INCOMING)
        for item in found:
            if item.name == name and _has_digest(item, spool, digest):
                publish(spool, path)
                break
        else:
            work.problems.append(
                LedgerProblem(
                    "segment_differs", name, Phrase("no copy has the digest that event {event} says", event=end)
                )
            )


def _has_digest(item: Found, spool: str, digest: object) -> bool:
    if os.path.lexists(spool):
        os.unlink(spool)
    try:
        _copy(item, spool)
    except LedgerUnreadableError:
        return False
    if file_sha256(spool) == digest:
        return True
    os.unlink(spool)
    return False


def _take_tail(work: _Work, walk: Walk, found: list[Found]) -> int:
    """Join the frames of all ``found`` into the hot file; return up to where frames prove that there were events."""
    folder = os.path.join(work.building, _INCOMING)
    os.mkdir(folder)
    spooled: list[tuple[str, Found]] = []
    for number, item in enumerate(sorted(found, key=lambda item: (tail_range(item.name) or (0, 0), item.place))):
        spool = os.path.join(folder, str(number))
        try:
            _copy(item, spool)
            spooled.append((spool, item))
        except LedgerUnreadableError as error:
            work.problems.append(LedgerProblem("tail_unreadable", item.place, str(error)))
    path = hot_path(work.building, walk.seq)
    proven, before = 0, -1
    with open(path, "xb", buffering=0) as file:
        hot = _Hot(file.fileno(), walk.seq)
        while before != walk.seq:  # a later chunk may hold what an earlier one has lost
            before = walk.seq
            proven = max((_join(spool, item, walk, hot) for spool, item in spooled), default=0)
        os.fsync(file.fileno())
    fsync_directory(os.path.dirname(path))
    shutil.rmtree(folder)
    return proven


def _join(spool: str, item: Found, walk: Walk, hot: _Hot) -> int:
    """Append to the hot file what follows in one file of frames; return where the last batch begins that did not."""
    beyond = 0
    batch: list[Frame] = []
    with open(spool, "rb", buffering=0) as file:
        for frame in frames(reading_at(file.fileno(), item.place), 0, os.fstat(file.fileno()).st_size):
            if not isinstance(frame, Frame):
                continue
            if hot.first <= frame.seq < walk.seq and hot.leaf(frame.seq) != frame.leaf:
                raise LedgerForkError(place=item.place, seq=frame.seq, reason="another copy has another event")
            if frame.position == 0:
                batch = []
            if frame.seq - frame.position != walk.seq or frame.position != len(batch):
                beyond = max(beyond, frame.seq - frame.position)
                continue
            if frame.previous != (batch[-1].leaf if batch else walk.last_leaf):
                raise LedgerForkError(place=item.place, seq=frame.seq, reason="it follows another event")
            batch.append(frame)
            if len(batch) == frame.count:
                hot.append(batch, walk, item.place)
                batch = []
    return beyond if beyond > walk.seq else 0


def _check_genesis(path: str, walk: Walk, trusted: Sequence[VerifierKey]) -> None:
    if 0 not in walk.kept:
        raise LedgerDamagedError(place=path, seq=0, reason="the first event was found nowhere")
    try:
        keys = genesis_keys(walk.records()[0].event)
    except NoteError as error:
        raise LedgerDamagedError(place=path, seq=0, reason=str(error)) from error
    if trusted and not set(trusted) & set(keys):
        raise LedgerForkError(place=path, seq=0, reason="the genesis names none of the keys that are trusted")


def _keep_notes(work: _Work, walk: Walk) -> int:
    """Keep the checkpoints that are good; return the largest size that any of ours speaks of."""
    keys = [period.key for period in walk.periods()]
    origin = _origin(walk)
    highest = 0
    for note in work.notes:
        if note.checkpoint.origin != origin:
            work.problems.append(LedgerProblem("checkpoint_foreign", note.place, f"{note.checkpoint.origin!r:.80}"))
            continue
        try:
            signers = signed_by(note.note, keys)
        except NoteError as error:
            work.problems.append(LedgerProblem("checkpoint_invalid", note.place, str(error)))
            continue
        # A key that we do not know may have been named by an event that is lost: beyond the end it is believed.
        if signers or note.size > walk.seq:
            highest = max(highest, note.size)
        if note.size > walk.seq:
            continue
        if not signers:
            work.problems.append(
                LedgerProblem("checkpoint_unsigned", note.place, Phrase("it is not signed by a key of the log"))
            )
        elif walk.roots.get(note.size) != note.checkpoint.root:
            raise LedgerForkError(place=note.place, seq=note.size, reason="another root was signed for these events")
        elif not os.path.lexists(checkpoint_path(work.building, note.size)):
            create_file(checkpoint_path(work.building, note.size), note.note.encoded())
    return highest


def _origin(walk: Walk) -> str:
    return str(walk.records()[0].event.detail.get("origin"))


def _named_end(item: Found) -> int:
    pair = segment_range(item.name) if item.folder == SEGMENTS else tail_range(item.name)
    return pair[1] if pair else 0


def _copy(item: Found, path: str) -> None:
    with item.open() as source:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            size = 0
            while data := source.read(_COPY_BYTES):
                size += len(data)
                if size > _FILE_LIMIT:
                    raise LedgerUnreadableError(
                        place=item.place, reason=Phrase("longer than {limit} bytes", limit=_FILE_LIMIT)
                    )
                write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    fsync_directory(os.path.dirname(path))
