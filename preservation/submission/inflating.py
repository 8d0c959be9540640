"""Decompression in pieces of bounded size, strict about the end: neither cut short nor followed by something else."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from preservation.submission.errors import ArchiveDamagedError
from storage_backends.errors import Phrase

PIECE = 1 << 20
"""Bytes given on at a time, however well they were compressed."""

_XZ_MEMORY = 1 << 27
"""Bytes that an xz dictionary may take (128 MiB; ``xz -9`` needs 65)."""

_ENGINES: dict[str, Callable[[], Any]] = {
    "deflate": lambda: zlib.decompressobj(-zlib.MAX_WBITS),
    "gz": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}


def inflated(pieces: Iterable[bytes], codec: str, *, path: str, several: bool) -> Iterator[bytes]:
    """Yield the decompressed bytes of ``deflate``, ``gz``, ``bz2`` or ``xz`` data.

    ``several`` allows streams one after the other and zeros at the end, as gzip, bzip2 and xz files may have.

    Raises:
        ArchiveDamagedError: The data is damaged, cut short, or goes on after its end.
    """
    engine, begun = _ENGINES[codec](), False
    for piece in pieces:
        data = piece
        while data:
            if engine.eof:
                data = data.lstrip(b"\0") if several else data
                if not data:
                    break
                if not several:
                    raise ArchiveDamagedError(path=path, reason="compressed data goes on after its end")
                engine = _ENGINES[codec]()
            begun = True
            yield from _outputs(engine, data, path)
            data = engine.unused_data if engine.eof else b""
    if not begun or not engine.eof:
        raise ArchiveDamagedError(path=path, reason="compressed data ends too early")


def _outputs(engine: Any, data: bytes, path: str) -> Iterator[bytes]:
    """Yield everything that ``data`` decompresses to; afterwards the engine wants more input or is at its end."""
    while True:
        try:
            out = engine.decompress(data, PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise ArchiveDamagedError(
                path=path, reason=Phrase("compressed data is damaged ({reason})", reason=str(error))
            ) from error
        if out:
            yield out
        data = getattr(engine, "unconsumed_tail", b"")
        if engine.eof or (not out and not data):
            return
