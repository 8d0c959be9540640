"""Lists of checksums as md5sum, sha256sum, b2sum, b3sum and the BSD tools write them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from preservation.submission.entries import SuppliedDigest
from preservation.submission.errors import ChecksumListError
from preservation.submission.lines import Readable, lines

# "digest, space, space or asterisk, name" is GNU coreutils' form; looser spacing is met in lists made by other tools.
_GNU = re.compile(rb"(\\?)([0-9A-Fa-f]{32,128})(?: [ *]|[ \t]+\*?(?=\S))(.+)", re.DOTALL).fullmatch
_BSD = re.compile(rb"(\\?)([A-Za-z0-9/_-]{2,20}) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})", re.DOTALL).fullmatch
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}

_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_BY_NAME = {
    "md5": "md5",
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha3224": "sha3_224",
    "sha3256": "sha3_256",
    "sha3384": "sha3_384",
    "sha3512": "sha3_512",
    "blake2b": "blake2b",
    "blake3": "blake3",
}
_LENGTHS = {
    **{name: length for length, name in _BY_LENGTH.items()},
    **{f"sha3_{bits}": bits // 4 for bits in (224, 256, 384, 512)},
    "blake2b": 128,
    "blake3": 64,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list: a name as raw bytes, exactly as the list has it, and its digest."""

    line: int
    path: bytes
    digest: SuppliedDigest


def read_checksums(source: Readable, name: str) -> Iterator[Listed]:
    """Yield the lines of a checksum list; empty lines and ``#`` or ``;`` comments are passed over.

    The algorithm is told by the line (BSD form) or by the digest's length; where a length has two, by ``name``, the
    list's own file name (``B3SUMS``, ``b2sum.txt``). Names are not checked: they are labels, not paths.

    Raises:
        ChecksumListError: A line is no checksum, too long, or wrongly escaped.
    """
    for number, text in lines(source, "latin-1", path=name, error=ChecksumListError):
        line = text.encode("latin-1")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip() or line[:1] in {b"#", b";"}:
            continue
        yield _listed(line, number, name)


def _listed(line: bytes, number: int, name: str) -> Listed:
    if match := _BSD(line):
        escaped, tag, path, value = match.groups()
        algorithm = _BY_NAME.get(tag.decode().lower().replace("-", "").replace("_", ""), "")
    elif match := _GNU(line):
        escaped, value, path = match.groups()
        algorithm = _by_length(len(value), name.lower())
    else:
        raise ChecksumListError(path=name, line=number, reason="this is not a checksum and a name")
    if _LENGTHS.get(algorithm) != len(value):
        raise ChecksumListError(path=name, line=number, reason="the digest is not one that we know")
    if escaped:
        path = _unescaped(path, number, name)
    return Listed(number, path, SuppliedDigest(algorithm, value.decode().lower()))


def _by_length(length: int, name: str) -> str:
    if length == _LENGTHS["blake3"] and ("b3" in name or "blake3" in name):
        return "blake3"
    if length == _LENGTHS["blake2b"] and ("b2" in name or "blake2" in name):
        return "blake2b"
    return _BY_LENGTH.get(length, "")


def _unescaped(path: bytes, number: int, name: str) -> bytes:
    """Undo the escapes of GNU coreutils, whose lines then begin with a backslash (manual, "md5sum invocation")."""

    def meant(match: re.Match[bytes]) -> bytes:
        try:
            return _ESCAPED[match[1]]
        except KeyError:
            raise ChecksumListError(path=name, line=number, reason="the name is wrongly escaped") from None

    return _ESCAPE.sub(meant, path)
