"""File names on their way out: checked once more, and spelled as each list of files wants them."""

import re

from preservation.dissemination.errors import UnsafePathError
from preservation.fixity import blake3_hex
from preservation.submission.errors import shown

_WRONG_COMPONENTS = frozenset({b"", b".", b".."})
_SPACE_AROUND = re.compile(r"\A\s|\s\Z")
_LINE_BREAKS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ENCODED = re.compile("%0[AaDd]")
_RENAMED = re.compile("~[0-9a-f]{16}~").match

LONGEST_NAME = 255
"""Bytes of a file's name that the usual Linux file systems take (NAME_MAX)."""


def checked(path: bytes) -> bytes:
    """Return a manifest's path if it stays below the folder it is written to.

    Raises:
        UnsafePathError: it is absolute, empty, holds NUL, or a component that is empty, ``.`` or ``..``.
    """
    if b"\0" in path:
        raise UnsafePathError(path=shown(path), reason="it holds a NUL")
    if path.startswith(b"/"):
        raise UnsafePathError(path=shown(path), reason="it is absolute")
    if not _WRONG_COMPONENTS.isdisjoint(path.split(b"/")):
        raise UnsafePathError(path=shown(path), reason="a component is empty, '.' or '..'")
    return path


def as_text(path: bytes) -> bytes:
    """Return a name in UTF-8 for a path that may not be; different paths get different names.

    A component that is not UTF-8 becomes ``~<16 digits of its BLAKE3 digest>~<name>``, where each odd byte of the name
    is spelled ``=XX``; so does a component that looks like one of these.
    """
    return b"/".join(_component(part) for part in path.split(b"/"))


def _component(part: bytes) -> bytes:
    text = part.decode("utf-8", "surrogateescape")
    if not any("\udc80" <= one <= "\udcff" for one in text) and not _RENAMED(text):
        return part
    spelled = "".join(f"={ord(one) - 0xDC00:02X}" if "\udc80" <= one <= "\udcff" else one for one in text)
    name = f"~{blake3_hex(part)[:16]}~{spelled}".encode()
    return name[:LONGEST_NAME].decode("utf-8", "ignore").encode()


def b3sum_line(digest: str, path: bytes) -> bytes:
    """Return a line as ``b3sum --check`` reads it; backslashes and line breaks are escaped as b3sum does."""
    if b"\\" not in path and b"\n" not in path:
        return digest.encode() + b"  " + path + b"\n"
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return b"\\" + digest.encode() + b"  " + escaped + b"\n"


def misread_by_bagit_python(path: bytes) -> bool:
    """Tell whether bagit-python (1.9.0) misreads a line with this path, whatever its spelling.

    It strips white space around a line, breaks lines where ``str.splitlines`` does, and decodes ``%0A`` and ``%0D``
    that were never encoded.
    """
    text = path.decode()
    return any(pattern.search(text) for pattern in (_SPACE_AROUND, _LINE_BREAKS, _ENCODED))
