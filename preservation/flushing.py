"""Stores that gather what is written and bring it to their medium later (tape): flushed, and measured as it comes back.

What is only staged there is no copy: an event says that there is one when it was read back from the medium.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from preservation.fixity import CHUNK, Fixity, expecting
from preservation.packing import check_reader, write_anew
from storage_backends.backend import Flushing, Item, Reach, Reader, StorageBackend
from storage_backends.errors import MocbanError, Phrase, StorageError


@dataclass(slots=True)
class Flushed:
    """What came of a flush: the items that were expected and measured right, by key, and why it ended early."""

    proven: dict[str, tuple[Item, Reach]] = field(default_factory=dict)
    failure: MocbanError | None = None


def flushed(backend: Flushing, expected: Mapping[str, Fixity]) -> Flushed:
    """Bring everything that is staged to the medium, and measure what is expected as it is read back."""
    result = Flushed()

    def prove(item: Item, reader: Reader) -> None:
        fixity = expected.get(item.key)
        if fixity is None:  # the store compares it with what was staged while it is read
            while reader.read(CHUNK):
                pass
            return
        check_reader(reader, fixity, what=item.key)
        result.proven[item.key] = item, reader.reach

    try:
        backend.flush(prove)
    except MocbanError as error:
        result.failure = error
    return result


def is_waiting(backend: object) -> bool:
    """Tell whether something on a store is not on its medium yet; it does not count as there."""
    return isinstance(backend, Flushing) and next(iter(backend.staged()), None) is not None


def rewritten(backend: StorageBackend, key: str, fixity: Fixity, pieces: Iterator[bytes]) -> tuple[Item, Reach]:
    """Write a pack anew at another place of a store that replaces nothing; return it as it was read back from there.

    Raises:
        FixityMismatchError: the pieces are wrong (nothing is kept), or what came back is.
        StorageError: it could not be brought to the medium.
    """
    assert isinstance(backend, Flushing)
    write_anew(backend, key, fixity.size, expecting(_Pieces(pieces), fixity, what=key))
    result = flushed(backend, {key: fixity})
    if key not in result.proven:
        raise result.failure or StorageError(
            place=backend.place, reason=Phrase("{key} was not brought to a cartridge", key=key)
        )
    return result.proven[key]


@dataclass(slots=True)
class _Pieces:
    """Pieces as a source."""

    pieces: Iterator[bytes]
    _rest: bytes = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        while not self._rest:
            piece = next(self.pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        count = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:count], self._rest[count:]
        return data
