"""What can be found of a ledger: files of a folder and items of stores, not believed yet."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO

from preservation.ledger.errors import LedgerUnreadableError, NoteError
from preservation.ledger.files import names_in
from preservation.ledger.layout import CHECKPOINTS, HOT, SEGMENTS, TAIL, hot_first, note_size, segment_range, tail_range
from preservation.ledger.notes import NOTE_LIMIT, Checkpoint, Note, SignedCheckpoint, VerifierKey, signed_by
from preservation.ledger.problems import LedgerProblem
from storage_backends.backend import Source, StorageBackend
from storage_backends.errors import StorageError

LEDGER = "ledger"
"""The first segment of the ledger's keys on a store."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file or item: in which folder of the ledger, under which name, where (for people), and how to read it.

    ``open`` gives a context manager; reading raises ``LedgerUnreadableError``.
    """

    folder: str
    name: str
    place: str
    open: Callable[[], AbstractContextManager[Source]]

    @property
    def is_tail(self) -> bool:
        """Whether it holds frames."""
        return self.folder in {HOT, TAIL}


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint and where it was found."""

    place: str
    checkpoint: Checkpoint
    note: Note

    @property
    def size(self) -> int:
        """How many events it is about."""
        return self.checkpoint.size

    def is_signed_by(self, keys: Iterable[VerifierKey]) -> bool:
        """Tell whether one of ``keys`` signed it, and none of them wrongly."""
        try:
            return bool(signed_by(self.note, keys))
        except NoteError:
            return False


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A source whose failures are the ledger's."""

    place: str
    source: Source

    def read(self, size: int = -1, /) -> bytes:
        """Read as a source does."""
        try:
            return self.source.read(size)
        except (OSError, StorageError) as error:
            raise LedgerUnreadableError(place=self.place, reason=str(error)) from error


@contextmanager
def _reading(place: str, begin: Callable[[], AbstractContextManager[Source]]) -> Iterator[Source]:
    try:
        opened = begin()
    except (OSError, StorageError) as error:
        raise LedgerUnreadableError(place=place, reason=str(error)) from error
    with opened as source:
        yield _Guarded(place, source)


def found_in(path: str) -> Iterator[Found]:
    """Yield what lies in the ledger's folder at ``path``."""
    for folder, meaning in _FOLDERS.items():
        for name in names_in(os.path.join(path, folder)):
            if meaning(name) is not None:
                place = os.path.join(path, folder, name)
                yield Found(folder, name, place, partial(_reading, place, partial(FileIO, place)))


def found_on(store: StorageBackend) -> Iterator[Found]:
    """Yield what lies on a store; raises what the store raises while it lists."""
    for item in store.items(LEDGER):
        _, folder, name = [*item.key.split("/", 2), "", ""][:3]
        meaning = _FOLDERS.get(folder)
        if meaning is not None and meaning(name) is not None:
            place = f"{store.place}: {item.key}"
            yield Found(folder, name, place, partial(_reading, place, partial(store.read, item.key)))


def read_notes(found: Iterable[Found], problems: list[LedgerProblem]) -> list[Signed]:
    """Return the checkpoints among ``found``, smallest first; what is none is added to ``problems``."""
    notes: list[Signed] = []
    for item in found:
        if item.folder != CHECKPOINTS:
            continue
        try:
            with item.open() as source:
                signed = SignedCheckpoint.parse(_all_of(source, NOTE_LIMIT + 1))
        except (NoteError, LedgerUnreadableError) as error:
            problems.append(LedgerProblem("checkpoint_invalid", item.place, str(error)))
        else:
            notes.append(Signed(item.place, signed.checkpoint, signed.note))
    return sorted(notes, key=lambda note: note.size)


def _all_of(source: Source, limit: int) -> bytes:
    parts: list[bytes] = []
    while limit > 0 and (part := source.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


_FOLDERS: dict[str, Callable[[str], object]] = {
    SEGMENTS: segment_range,
    CHECKPOINTS: note_size,
    HOT: hot_first,
    TAIL: tail_range,
}
