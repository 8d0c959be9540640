"""What is asked about a file's format, and what is answered.

A format is named by its PUID (PRONOM persistent unique identifier). An answer depends on the content and on the
extension of the name, on nothing else: it may be remembered under the content's digest together with `extension_of`.
"""

import itertools
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NewType, Protocol, Self, cast, get_args

from storage_backends.errors import MocbanError, Phrase, marked

Puid = NewType("Puid", str)
Basis = Literal["signature", "container", "probe", "extension"]
Status = Literal["identified", "unidentified", "failed", "timeout", "off"]

ENDS = 128 * 1024
"""Bytes at each end of a file in which its signature is sought."""

WHOLE_LIMIT = 8 * 1024 * 1024
"""A container or PDF up to this many bytes is looked into; of a larger one only what its two ends show is seen, and
what a scan of a PDF found."""

ZIP_MAGIC = b"PK\x03\x04"
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PDF_MAGIC = b"%PDF-"
PDF_MAGIC_WITHIN = 1024
"""Bytes of a file in which the magic of PDF stands, as its readers accept it."""

EXTENSION_ONLY = marked("known by the extension only")
EXTENSION_UNUSUAL = marked("the extension is not usual for this format")
EMPTY = marked("the file is empty")
SEVERAL_FORMATS = marked("several formats fit")
CONTAINER_UNREADABLE = marked("the container could not be read")
CONTAINER_TOO_LARGE = marked("the container is larger than what was looked at")
CONTAINER_CAPPED = marked("the container was not unpacked in full, to stay within limits")
TOO_SLOW = marked("identification did not finish in time")
TOOL_CRASHED = marked("the identification tool crashed")
TOOL_FAILED = marked("the identification tool failed")
TOOL_ABSENT = marked("the identification tool could not be started")
CLAIMS_PDF_A = marked("it claims to be PDF/A, which was not checked")
CLAIMS_PDF_UA = marked("it claims to be PDF/UA, which was not checked")
ENCRYPTED = marked("it is encrypted, wholly or in part")
SIGNED = marked("it carries electronic signatures")
FONTS_NOT_EMBEDDED = marked("fonts are not embedded")
FONTS_UNKNOWN = marked("whether its fonts are embedded could not be told")
MACROS = marked("it holds macros")
TEXT_UTF_16 = marked("text in UTF-16")
TEXT_NOT_UTF_8 = marked("text in an encoding that is not UTF-8")
TEXT_CP1258 = marked("Vietnamese text in Windows-1258")
TEXT_TCVN3 = marked("Vietnamese text in TCVN3 (ABC)")
TEXT_VNI = marked("Vietnamese text in VNI")
NOT_READ = marked("the file could not be read")
NOT_A_FILE = marked("this is not a regular file")
STOPPED = marked("identification was stopped")

_PUID = re.compile(r"[a-z]+(-[a-z]+)?/[A-Za-z0-9._-]{1,40}")
_LONGEST_TEXT = 500
_MOST_ENTRIES = 1000


class BadIdentificationError(MocbanError):
    """A record of an identification does not have the form that the manifest prescribes."""

    template = marked("Not a record of a format identification: {reason}")


def checked_puid(text: object) -> Puid:
    """The PUID in this text, such as `fmt/18`.

    Raises:
        BadIdentificationError: it is not formed like a PUID.
    """
    if not isinstance(text, str) or not _PUID.fullmatch(text):
        raise BadIdentificationError(reason=Phrase("{text!r:.80} is not a PUID", text=text))
    return Puid(text)


def extension_of(name: str) -> str:
    """The extension as FIDO reads it from a name: lower case, without the dot, empty when there is none."""
    return os.path.splitext(name)[1].lower().lstrip(".")


def wants_whole(head: bytes) -> bool:
    """Whether more of a file that begins so is of use than its two ends."""
    return head.startswith((ZIP_MAGIC, OLE_MAGIC)) or head.find(PDF_MAGIC, 0, PDF_MAGIC_WITHIN) >= 0


@dataclass(frozen=True, slots=True)
class FormatMatch:
    """One format that fits, why it was chosen, and with which tool and signatures."""

    puid: Puid
    basis: Basis
    tool: str
    signatures: str

    def to_json(self) -> dict[str, str]:
        """The entry of the manifest's `formats` list."""
        return {"basis": self.basis, "puid": self.puid, "signatures": self.signatures, "tool": self.tool}

    @classmethod
    def from_json(cls, entry: object) -> Self:
        """Read an entry of the manifest's `formats` list.

        Raises:
            BadIdentificationError: the entry does not have the prescribed form.
        """
        fields = entry if isinstance(entry, Mapping) else {}
        basis = fields.get("basis")
        if basis not in get_args(Basis):
            raise BadIdentificationError(reason=Phrase("unknown basis {basis!r:.80}", basis=basis))
        return cls(
            checked_puid(fields.get("puid")),
            cast("Basis", basis),
            _text(fields.get("tool"), "tool"),
            _text(fields.get("signatures"), "signatures"),
        )


@dataclass(frozen=True, slots=True)
class Identification:
    """What came out for one file; `failed` and `timeout` mean that we could not look, not that nothing fits."""

    status: Status
    formats: tuple[FormatMatch, ...] = ()
    warnings: tuple[str, ...] = ()
    milliseconds: float = field(default=0.0, compare=False)
    """How long the file was looked at; not kept in the manifest."""

    def to_json(self) -> dict[str, object]:
        """The fields `formats`, `identification` and `warnings` of a file's line in the manifest."""
        return {
            "formats": [match.to_json() for match in self.formats],
            "identification": self.status,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, object]) -> Self:
        """Read those fields from a file's line in the manifest; its other fields are not looked at.

        Raises:
            BadIdentificationError: they do not have the prescribed form.
        """
        status = line.get("identification")
        if status not in get_args(Status):
            raise BadIdentificationError(reason=Phrase("unknown status {status!r:.80}", status=status))
        formats = tuple(FormatMatch.from_json(entry) for entry in _list(line.get("formats"), "formats"))
        if bool(formats) != (status == "identified"):
            raise BadIdentificationError(
                reason=Phrase("{status!r} with {count} formats", status=status, count=len(formats))
            )
        warnings = tuple(_text(entry, "warnings") for entry in _list(line.get("warnings", []), "warnings"))
        return cls(cast("Status", status), formats, warnings)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise BadIdentificationError(
            reason=Phrase("{field} is not a text of at most {limit} characters", field=field, limit=_LONGEST_TEXT)
        )
    return value


def _list(value: object, field: str) -> list[object]:
    if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
        raise BadIdentificationError(
            reason=Phrase("{field} is not a list of at most {limit} entries", field=field, limit=_MOST_ENTRIES)
        )
    return value


@dataclass(frozen=True, slots=True)
class Sample:
    """The part of a file that identification looks at.

    `head` and `tail` are its first and last `ENDS` bytes (both the whole file, if it is not longer). `whole` is present
    only when something beyond them is of use: for a container or PDF of at most `WHOLE_LIMIT` bytes. `more` is what a
    scan of a larger PDF found, `objects` its objects without their data.
    """

    extension: str
    size: int
    head: bytes
    tail: bytes
    whole: bytes | None = None
    more: bytes = b""
    objects: bytes = b""

    @classmethod
    def of_content(cls, name: str, content: bytes) -> Self:
        """The sample of a file whose whole content is at hand; keeps no more of it than is needed."""
        if len(content) <= ENDS:
            return cls(extension_of(name), len(content), content, content)
        wanted = len(content) <= WHOLE_LIMIT and wants_whole(content[:ENDS])
        return cls(extension_of(name), len(content), content[:ENDS], content[-ENDS:], content if wanted else None)

    @classmethod
    def of_ends(cls, name: str, size: int, head: bytes, tail: bytes, *found: bytes) -> Self:
        """The sample of a file of `size` bytes of which only the two ends are at hand, each of `min(size, ENDS)` bytes.

        `found` is what a `PdfScan` of all of it has: `more` and `objects`.

        Raises:
            ValueError: an end has another length.
        """
        expected = min(size, ENDS)
        if len(head) != expected or len(tail) != expected:
            raise ValueError(f"each end of {size} bytes has {expected} bytes, not {len(head)} and {len(tail)}")
        if size <= ENDS:
            return cls(extension_of(name), size, head, head)
        return cls(extension_of(name), size, head, tail, None, *found)

    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that must travel to whoever looks: the whole file, or its two ends."""
        if self.whole is not None:
            return (self.whole,)
        if self.size <= ENDS:
            return (self.head,)
        found = (self.more, self.objects) if self.more or self.objects else ()
        return (self.head, self.tail, *found)

    @classmethod
    def from_pieces(cls, extension: str, size: int, pieces: tuple[bytes, ...]) -> Self:
        """Put a sample together again from `pieces()`."""
        if len(pieces) > 1:
            return cls(extension, size, pieces[0], pieces[1], None, *pieces[2:])
        content = pieces[0]
        if size <= ENDS:
            return cls(extension, size, content, content)
        return cls(extension, size, content[:ENDS], content[-ENDS:], content)


class Owed(Protocol):
    """An answer that is owed; a `Future` is one."""

    def done(self) -> bool:
        """Whether it is there."""
        ...

    def result(self) -> Identification:
        """Wait for it; it is never an exception."""
        ...


class FormatIdentifier(Protocol):
    """Somebody who tells the formats of files, and never lets a file that defeats the tool stop the work."""

    def submit(self, sample: Sample) -> Owed:
        """Ask about a file; waits while too much is being looked at already. The answer is never an exception."""
        ...

    def close(self) -> None:
        """Stop at once; what was asked and not answered is answered as failed. A second call does nothing."""
        ...


class NoIdentification:
    """The identifier for people who want none: every answer is `off`."""

    answer: ClassVar[Identification] = Identification("off")

    def submit(self, sample: Sample) -> Owed:
        """Answer `off` at once."""
        del sample
        future: Future[Identification] = Future()
        future.set_result(self.answer)
        return future

    def close(self) -> None:
        """Nothing is held, so nothing is done."""


def identify_many(
    identifier: FormatIdentifier, samples: Iterable[Sample], *, ahead: int = 256
) -> Iterator[Identification]:
    """The answers for the samples, in their order; at most `ahead` of them are being worked on."""
    waiting: deque[Owed] = deque()
    source = iter(samples)
    for sample in itertools.islice(source, ahead):
        waiting.append(identifier.submit(sample))
    while waiting:
        yield waiting.popleft().result()
        for sample in itertools.islice(source, 1):
            waiting.append(identifier.submit(sample))
