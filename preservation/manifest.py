"""The manifest of a package version: a header, one line a file in byte order, a trailer; always streamed."""

import base64
import json
import time
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from preservation.fixity import Fixity, Hasher, new_blake3
from storage_backends.errors import MocbanError, Phrase, marked

FORMAT = 1
LONGEST_LINE = 1 << 20


class ManifestUnreadableError(MocbanError):
    """A manifest is not what the format says; nothing in it is believed."""

    template = marked("The manifest of {package} cannot be read: {reason}")


@dataclass(frozen=True, slots=True)
class FileLine:
    """One file of a manifest. ``line`` is the whole line as JSON object; the other fields are what verbs need of it."""

    path: bytes
    blake3: str
    sha256: str
    size: int
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FolderLine:
    """One empty folder; ``path`` ends in a slash."""

    path: bytes


Line = FileLine | FolderLine


def dumped(value: object) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def header_line(values: dict[str, object]) -> bytes:
    """Return the first line."""
    return (dumped({**values, "format": FORMAT, "mocban": "manifest"}) + "\n").encode()


def time_text(nanoseconds: int) -> str:
    """Return a time since 1970 as ISO 8601 in UTC with microseconds."""
    seconds, rest = divmod(nanoseconds // 1000, 1_000_000)
    try:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:06d}Z"
    except (ValueError, OverflowError, OSError):
        return ""


def path_fields(path: bytes) -> tuple[str, str]:
    """Return how a path is written: (its NFC form if that differs, the path), each as ``"key":value`` or nothing."""
    if path.isascii():
        return "", f'"path":{encode_basestring(path.decode())}'
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return "", f'"path_b64":"{base64.b64encode(path).decode()}"'
    normal = unicodedata.normalize("NFC", text)
    return "" if normal == text else f'"nfc":{encode_basestring(normal)},', f'"path":{encode_basestring(text)}'


def file_line(path: bytes, fixity: Fixity, mtime_ns: int, answer: str, more: dict[str, object] | None = None) -> bytes:
    """Return the line of a file.

    ``answer`` is what identification said, as the inside of a JSON object whose keys come in order (``formats``,
    ``identification``); ``more`` holds further fields.
    """
    nfc, named = path_fields(path)
    mtime = time_text(mtime_ns)
    digests = f'"sha256":"{fixity.sha256}","size":{fixity.size}'
    line = f'{{"blake3":"{fixity.blake3}",{answer},"mtime":"{mtime}",{nfc}{named},{digests}}}\n'
    if more:
        line = dumped({**json.loads(line), **more}) + "\n"
    return line.encode()


def folder_line(path: bytes) -> bytes:
    """Return the line of an empty folder."""
    nfc, named = path_fields(path)
    return f'{{"folder":true,{nfc}{named}}}\n'.encode()


class Content:
    """The digest of what a package version contains: paths, digests and sizes, nothing else.

    Two versions with the same digest hold the same files under the same names.
    """

    def __init__(self) -> None:
        self._hasher: Hasher = new_blake3()

    def add(self, path: bytes, blake3: str, size: int) -> None:
        """Take in one entry, in byte order of the paths."""
        self._hasher.update(b"%d:%s %s %d\n" % (len(path), path, blake3.encode(), size))

    def hexdigest(self) -> str:
        """Return the digest."""
        return self._hasher.hexdigest()


def trailer_line(files: int, folders: int, byte_count: int, digest: str) -> bytes:
    """Return the last line; ``digest`` is BLAKE3 of all bytes before it."""
    values = {"bytes": byte_count, "digest": f"blake3:{digest}", "files": files, "folders": folders}
    return (dumped(values) + "\n").encode()


def path_of(line: dict[str, Any]) -> bytes:
    """Return the path of a parsed line as the raw bytes that came."""
    if "path_b64" in line:
        return base64.b64decode(line["path_b64"], validate=True)
    return str(line["path"]).encode()


def parse(lines: Iterable[bytes], package: str) -> Iterator[dict[str, Any] | Line]:
    """Yield the header, then each line; at the end the trailer has been compared with what came.

    Raises:
        ManifestUnreadableError: anything that does not fit; what was yielded before is not to be trusted then.
    """
    hasher, files, folders, byte_count, previous = new_blake3(), 0, 0, 0, b""
    trailer: dict[str, Any] | None = None
    for number, text in enumerate(lines):
        try:
            line = json.loads(text[: LONGEST_LINE + 1])
            if number == 0:
                _check_header(line, package)
                yield line
            elif "digest" in line and "path" not in line and "path_b64" not in line:
                trailer = line
                break
            else:
                parsed = _parsed(line)
                if parsed.path <= previous:
                    raise ManifestUnreadableError(
                        package=package, reason=Phrase("line {number} is out of order", number=number + 1)
                    )
                previous = parsed.path
                if isinstance(parsed, FileLine):
                    files, byte_count = files + 1, byte_count + parsed.size
                else:
                    folders += 1
                yield parsed
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestUnreadableError(
                package=package, reason=Phrase("line {number}: {error}", number=number + 1, error=repr(error))
            ) from error
        hasher.update(text)
    found = {"bytes": byte_count, "digest": f"blake3:{hasher.hexdigest()}", "files": files, "folders": folders}
    if trailer != found:
        raise ManifestUnreadableError(package=package, reason="its last line does not fit what stands before it")


def _check_header(line: dict[str, Any], package: str) -> None:
    if line.get("mocban") != "manifest" or line.get("format") != FORMAT:
        raise ManifestUnreadableError(package=package, reason="another or newer format")


def _parsed(line: dict[str, Any]) -> Line:
    path = path_of(line)
    if line.get("folder"):
        return FolderLine(path)
    return FileLine(path, str(line["blake3"]), str(line["sha256"]), int(line["size"]), line)
