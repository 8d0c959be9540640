"""The evidence folder: a ledger as an auditor takes it along and verifies it without this program.

::

    README.txt, verify.sh             what this is, in two languages; how it is verified with openssl and DuckDB
    format.json                       as in the ledger
    segments/<first>-<end>.parquet    every event up to the last checkpoint; sealed files as they are
    checkpoints/<size>.note           every checkpoint, and what lies beside them
    timestamps/, witness/             what others said of them
    keys/log-<first>.pub.pem, .vkey   the key that signs from this size on; root.pub.pem, root.pub.vkey

Events that no checkpoint covers are left out: nobody has signed them yet.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources

from preservation.ledger.checking import Told, check_closings, check_signed, check_survey
from preservation.ledger.checkpoints import checkpoint_sizes
from preservation.ledger.errors import LedgerError, LedgerUnreadableError, NoteError, RecordError
from preservation.ledger.files import TEMPORARY, fsync_directory, names_in, read_file, writing_to
from preservation.ledger.held import Held, root_of
from preservation.ledger.keys import KeyPeriod
from preservation.ledger.layout import CHECKPOINTS, FORMAT_FILE, SEGMENTS, note_size, segment_name, segment_range
from preservation.ledger.log import Ledger
from preservation.ledger.notes import NOTE_LIMIT, VerifierKey
from preservation.ledger.problems import LedgerProblem
from preservation.ledger.segments import write_rows
from preservation.ledger.survey import Survey, Task, surveys
from preservation.ledger.walk import Walk
from storage_backends.errors import Phrase, marked

KEYS = "keys"
ATTESTED = ("timestamps", "witness")
PARTIAL = ".partial"
ROWS_A_FILE = 65_536

_TEXTS = (("README.txt", "evidence_readme.txt", 0o644), ("verify.sh", "verify.sh", 0o755))


class FolderExistsError(LedgerError):
    """There is something at the place of the evidence folder already."""

    template = marked("{place}: there is something here already; nothing was written")


class NothingSignedError(LedgerError):
    """There is no checkpoint, so that there is no evidence."""

    template = marked("{place}: no checkpoint was signed yet: run 'mocban ledger checkpoint'")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an evidence folder holds: the events under its last checkpoint; ``unsigned`` came after that one."""

    events: int
    checkpoints: int
    unsigned: int


def export_folder(ledger: Ledger, dest: str, periods: Sequence[KeyPeriod], root: VerifierKey) -> Exported:
    """Write the evidence of ``ledger`` into the new folder ``dest``; it is there whole or not at all.

    ``periods`` and ``root`` are the keys that the ledger names.

    Raises:
        FolderExistsError, NothingSignedError, LedgerWriteError; what reading the ledger raises.
    """
    sizes = [size for size in ledger.checkpoint_sizes() if size <= ledger.size]
    last = max(sizes, default=0)
    if not last:
        raise NothingSignedError(place=ledger.path)
    if os.path.lexists(dest) and (not os.path.isdir(dest) or os.listdir(dest)):
        raise FolderExistsError(place=dest)
    building = dest.rstrip("/") + PARTIAL
    with writing_to(dest):
        shutil.rmtree(building, ignore_errors=True)
        os.makedirs(os.path.join(building, SEGMENTS))
        try:
            _write_segments(ledger, building, last)
            _copy_notes(ledger.path, building, last)
            _write_keys(building, periods, root)
            for name, text, mode in _TEXTS:
                data = resources.files("preservation.ledger").joinpath(text).read_bytes()
                _write(os.path.join(building, name), data, mode)
            _write(os.path.join(building, FORMAT_FILE), read_file(os.path.join(ledger.path, FORMAT_FILE), NOTE_LIMIT))
            with suppress(FileNotFoundError):
                os.rmdir(dest)
            os.rename(building, dest)
            fsync_directory(os.path.dirname(os.path.abspath(dest)))
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return Exported(last, len(sizes), ledger.size - last)


def _write_segments(ledger: Ledger, building: str, last: int) -> None:
    done = 0
    for segment in ledger.segments:
        if segment.end <= last:
            shutil.copyfile(ledger.segment_file(segment), os.path.join(building, SEGMENTS, segment.name))
            done = segment.end
    while done < last:
        end = min(done + ROWS_A_FILE, last)
        write_rows(os.path.join(building, SEGMENTS, segment_name(done, end)), ledger.records(done, end))
        done = end


def _copy_notes(path: str, building: str, last: int) -> None:
    for folder in (CHECKPOINTS, *ATTESTED):
        names = [name for name in names_in(os.path.join(path, folder)) if not name.endswith(TEMPORARY)]
        if folder == CHECKPOINTS:
            names = [name for name in names if (note_size(name) or 0) <= last]
        if names:
            os.makedirs(os.path.join(building, folder))
        for name in names:
            _write(os.path.join(building, folder, name), read_file(os.path.join(path, folder, name), NOTE_LIMIT))


def _write_keys(building: str, periods: Sequence[KeyPeriod], root: VerifierKey) -> None:
    os.makedirs(os.path.join(building, KEYS))
    for name, data in _key_files(periods, root).items():
        _write(os.path.join(building, KEYS, name), data)


def _key_files(periods: Sequence[KeyPeriod], root: VerifierKey) -> dict[str, bytes]:
    files = {"root.pub.pem": root.pem(), "root.pub.vkey": f"{root}\n".encode()}
    for period in periods:
        files[f"log-{period.first}.pub.pem"] = period.key.pem()
        files[f"log-{period.first}.pub.vkey"] = f"{period.key}\n".encode()
    return files


def _write(path: str, data: bytes, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


def check_folder(
    path: str,
    *,
    trusted: Sequence[VerifierKey] = (),
    held: Sequence[Held] = (),
    processes: int = 1,
    told: Told = lambda _events, _bytes: None,
) -> Iterator[LedgerProblem]:
    """Yield all that is wrong with the evidence folder at ``path``, as ``check_ledger`` does for a ledger.

    ``verify.sh`` comes to the same verdict.
    """
    sizes = checkpoint_sizes(path)
    names = names_in(os.path.join(path, SEGMENTS))
    ranges = sorted(pair for name in names if (pair := segment_range(name)))
    for name in names:
        if segment_range(name) is None:
            yield LedgerProblem("file_unexpected", f"{SEGMENTS}/{name}", Phrase("this is no name in a ledger"))
    walk = Walk(sorted({*sizes, *(one.size for one in held)}), frozenset(end for _, end in ranges))
    seen: list[Survey] = []
    tasks = [Task(path, first, end, walk.sizes_within(first, end), deep=True) for first, end in ranges]
    for one in surveys(tasks, processes):
        yield from check_survey(walk, one)
        told(one.end - one.first, one.size)
        seen.append(one)
    yield from check_closings(walk, seen)
    yield from check_signed(path, walk, sizes, trusted=trusted, held=held)
    if walk.seq != max(sizes, default=0):
        detail = Phrase(
            "{count} events are here, but the last checkpoint is over {size}",
            count=walk.seq,
            size=max(sizes, default=0),
        )
        yield LedgerProblem("events_unsigned", SEGMENTS, detail)
    yield from _check_key_files(path, walk)


def _check_key_files(path: str, walk: Walk) -> Iterator[LedgerProblem]:
    root = root_of(walk)
    try:
        expected = _key_files(walk.periods(), root) if root is not None else {}
    except (NoteError, RecordError):
        return  # that was told
    for name, data in expected.items():
        place = os.path.join(path, KEYS, name)
        try:
            found = read_file(place, NOTE_LIMIT)
        except (OSError, LedgerUnreadableError):
            found = b""
        if found != data:
            yield LedgerProblem("key_differs", f"{KEYS}/{name}", Phrase("it is not the key that the events name"))
