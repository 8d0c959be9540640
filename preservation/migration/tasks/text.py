"""Vietnamese text in old encodings: read, written as UTF-8, and read back."""

import hashlib
import unicodedata
from typing import cast

from preservation.migration.tasks import TaskRefusedError
from preservation.migration.vietnamese import Encoding, WrongEncodingError, decode, encode, syllables

LONGEST = 64 << 20
"""Bytes of a text; a longer one is refused."""


def to_utf8(encoding: str, source: str, output: str) -> dict[str, object]:
    """Write the source as UTF-8; refuse it unless each byte has its letter and something is beyond ASCII."""
    content = _content(source)
    if content.isascii():
        raise TaskRefusedError("ascii")
    try:
        text = decode(content, cast("Encoding", encoding))
    except WrongEncodingError as error:
        raise TaskRefusedError("encoding") from error
    with open(output, "xb") as file:
        file.write(text.encode())
    return {}


def compare(encoding: str, source: str, output: str) -> dict[str, object]:
    """What source and output say of each other: digests there and back, lines, words that can be Vietnamese."""
    before, after = _content(source), _content(output)
    try:
        text = after.decode()
        back = hashlib.sha256(encode(text, cast("Encoding", encoding))).hexdigest()
    except (UnicodeDecodeError, WrongEncodingError):
        text, back = "", ""
    words, vietnamese = syllables(unicodedata.normalize("NFC", text))
    return {
        "source": hashlib.sha256(before).hexdigest(),
        "back": back,
        "lines": [_lines(before), _lines(after)],
        "words": words,
        "vietnamese": vietnamese,
    }


def _lines(content: bytes) -> int:
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise TaskRefusedError("long")
    return content
