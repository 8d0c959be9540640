"""Lines of a text that nobody promised to be short: read in pieces, refused when they are too long."""

import codecs
import io
from collections.abc import Iterator
from typing import Protocol

from storage_backends.errors import MocbanError, Phrase

LONGEST_LINE = 1 << 18
"""Characters of the longest line that is read on; a path of 64 KiB fits even when each byte is percent-encoded."""

_PIECE = 1 << 16


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return up to ``size`` bytes; empty at the end."""
        ...


def lines(source: Readable, encoding: str, *, path: str, error: type[MocbanError]) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) without the line's end, which may be LF, CR or CRLF (RFC 8493, 2.1.3).

    Raises ``error`` with ``path``, ``line`` and ``reason`` for a line that is too long or not in the encoding.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), translate=True)
    rest, number = "", 0
    while True:
        data = source.read(_PIECE) or b""
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as cause:
            raise error(
                path=path, line=number + 1, reason=Phrase("the text is not {encoding} as declared", encoding=encoding)
            ) from cause
        parts = (rest + text).split("\n")
        rest = parts.pop()
        for part in parts:
            number += 1
            yield number, part
        if len(rest) > LONGEST_LINE:
            raise error(
                path=path,
                line=number + 1,
                reason=Phrase("the line is longer than {limit} characters", limit=LONGEST_LINE),
            )
        if not data:
            if rest:
                yield number + 1, rest
            return
