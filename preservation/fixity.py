"""Fixity: how many bytes, with which digests; the one door to BLAKE3.

``measure`` reads and digests; ``expecting`` is a reader that raises at its end if the bits are wrong, so that
verification lives in the stream and no backend has to implement it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from storage_backends.backend import Source
from storage_backends.errors import MocbanError, marked

BLOCK = 1 << 20
"""Bytes a block digest covers (1 MiB)."""

CHUNK = 1 << 22
"""Bytes read at a time (4 MiB)."""

DIGEST_BYTES = 32

SET_BITS = 2_048
"""Bits of the hash of a set."""


@dataclass(frozen=True, slots=True)
class Fixity:
    """Size in bytes and lower-case hexadecimal digests; ``sha256`` is empty where it was not measured."""

    size: int
    blake3: str
    sha256: str = ""


class FixityMismatchError(MocbanError):
    """The bytes that came are not the bytes that were promised."""

    template = marked("{what}: expected blake3:{expected}, found blake3:{found}")


class Hasher(Protocol):
    """An incremental digest, as hashlib and blake3 both give."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take in more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        ...

    def digest(self) -> bytes:
        """Return the same as bytes."""
        ...


def new_blake3() -> Hasher:
    """Return a fresh BLAKE3 hasher."""
    return blake3()


def blake3_hex(data: bytes | memoryview) -> str:
    """Return the BLAKE3 digest of ``data`` as 64 lower-case hexadecimal digits."""
    return blake3(data).hexdigest()


def set_term(line: bytes) -> int:
    """Return what a line adds to the hash of a set: 2,048 bits of BLAKE3, big-endian.

    The hash of a set of lines is the sum of their terms modulo 2^2048: it depends on no order, and lines can be added
    and taken away. At this width Wagner's attack on such sums (CRYPTO 2002) takes about 2^90 steps, at 256 bits 2^32.
    """
    return int.from_bytes(blake3(line).digest(length=SET_BITS // 8))


class Measuring:
    """Takes in bytes and knows their fixity; optionally also the BLAKE3 digest of each 1 MiB block."""

    def __init__(self, *, sha256: bool = False, blocks: bool = False) -> None:
        self.size = 0
        self._whole = blake3()
        self._sha256 = hashlib.sha256() if sha256 else None
        self._blocks: list[bytes] | None = [] if blocks else None
        self._block = blake3()
        self._room = BLOCK

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take in more bytes."""
        self.size += len(data)
        self._whole.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._blocks is not None:
            self._update_blocks(memoryview(data), self._blocks)

    def _update_blocks(self, view: memoryview, blocks: list[bytes]) -> None:
        while len(view) >= self._room:
            self._block.update(view[: self._room])
            view = view[self._room :]
            blocks.append(self._block.digest())
            self._block, self._room = blake3(), BLOCK
        self._block.update(view)
        self._room -= len(view)

    def fixity(self) -> Fixity:
        """Return the fixity of all bytes so far."""
        sha256 = self._sha256.hexdigest() if self._sha256 is not None else ""
        return Fixity(self.size, self._whole.hexdigest(), sha256)

    def blocks(self) -> list[bytes]:
        """Return the 32-byte digest of each 1 MiB block, the last one shorter."""
        assert self._blocks is not None
        return [*self._blocks, self._block.digest()] if self._room < BLOCK else list(self._blocks)


def measure(source: Source, *, sha256: bool = False) -> Fixity:
    """Read ``source`` to its end and return its fixity."""
    measuring = Measuring(sha256=sha256)
    while data := source.read(CHUNK):
        measuring.update(data)
    return measuring.fixity()


def block_digests(pieces: Iterable[bytes]) -> list[bytes]:
    """Return the digest of each 1 MiB block of the joined ``pieces``."""
    measuring = Measuring(blocks=True)
    for piece in pieces:
        measuring.update(piece)
    return measuring.blocks()


class Expecting:
    """Gives the bytes of a source on and raises ``FixityMismatchError`` at their end if they are not as expected."""

    def __init__(self, source: Source, fixity: Fixity, *, what: str) -> None:
        self._source, self._expected, self._what = source, fixity, what
        self._measuring = Measuring()

    def read(self, size: int = -1, /) -> bytes:
        """Read on; the last read compares."""
        data = self._source.read(size)
        if data:
            self._measuring.update(data)
            if self._measuring.size < self._expected.size:
                return data
        found = self._measuring.fixity()
        complete = found.size == self._expected.size and found.blake3 == self._expected.blake3
        if not complete and (not data or found.size >= self._expected.size):
            raise FixityMismatchError(what=self._what, expected=self._expected.blake3, found=found.blake3)
        return data


def expecting(source: Source, fixity: Fixity, *, what: str) -> Expecting:
    """Return a reader of ``source`` that raises when the last byte is read and the fixity is wrong."""
    return Expecting(source, fixity, what=what)
