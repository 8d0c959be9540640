"""Looks into ZIP and OLE2 containers for the members that tell a format, within hard limits.

FIDO 1.6.1 itself uses one member and one sequence of each container signature and ignores offsets; here a signature
holds only if all its members are there and all their sequences fit, as the signature file means it.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import olefile

from preservation.formats.identification import (
    CONTAINER_CAPPED,
    CONTAINER_TOO_LARGE,
    CONTAINER_UNREADABLE,
    ENCRYPTED,
    ENDS,
    MACROS,
    OLE_MAGIC,
    ZIP_MAGIC,
    Sample,
)
from preservation.formats.index import Pattern

Kind = Literal["ZIP", "OLE2"]

MEMBER_LIMIT = 4 << 20
"""Bytes of a member that are unpacked at most."""

TOTAL_LIMIT = 16 << 20
"""Bytes of all members of a container together that are unpacked at most."""

MEMBERS_LIMIT = 20_000
"""Members that a container has at most, if it is to be opened."""

_SIMPLE_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_OOXML_MACROS = "vbaProject.bin"
_OLE_MACROS = "_VBA_PROJECT"
_OLE_ENCRYPTED = "EncryptedPackage"
_CENTRAL_ENTRY = b"PK\x01\x02"
_OLE_HEADER = 512
_OLE_FAT_COUNT = struct.Struct("<30xH12xI")
_CONTROL = "\x01\x02\x03\x04\x05\x06"


@dataclass(frozen=True, slots=True)
class Entry:
    """A member that must be there; of `alternatives`, if there are any, one must fit with all its sequences."""

    path: str
    alternatives: tuple[tuple[Pattern, ...], ...]


@dataclass(frozen=True, slots=True)
class ContainerSignature:
    """What a container of this format holds."""

    name: str
    puids: tuple[str, ...]
    entries: tuple[Entry, ...]


Signatures = Mapping[str, tuple[ContainerSignature, ...]]
"""The signatures of each kind of container."""


@dataclass(frozen=True, slots=True)
class Look:
    """The names and PUIDs of the signatures that hold, and what could not be looked at."""

    found: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


class _OutsideSampleError(OSError):
    """The bytes asked for lie between the two ends that we have."""


class _TooMuchError(Exception):
    """The container asks for more than the limits allow."""


class _LyingError(Exception):
    """A length in the container is greater than the container: believing it would make the reader run in circles."""


class _EndsReader(io.RawIOBase):
    """A file of which only the two ends are there; reading in between is an error, never zeros."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._place = 0
        self.missed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._place, self._sample.size)[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        total = self._sample.size
        first = min(self._place, total)
        last = total if size < 0 else min(total, first + size)
        tail_start = total - len(self._sample.tail)
        if last <= len(self._sample.head):
            piece = self._sample.head[first:last]
        elif first >= tail_start:
            piece = self._sample.tail[first - tail_start : last - tail_start]
        else:
            self.missed = True
            raise _OutsideSampleError
        self._place = last
        return piece


@dataclass(slots=True)
class _Members:
    """The members of an open container by path, read at most once and within the limits."""

    names: Mapping[str, str]
    fetch: Callable[[str], bytes]
    missed: bool = False
    capped: bool = False
    total: int = 0
    read: dict[str, bytes | None] = field(default_factory=dict)

    def content(self, path: str) -> bytes | None:
        """The first bytes of a member, or None if they could not be read."""
        if path not in self.read:
            self.read[path] = self._fetched(path)
        return self.read[path]

    def _fetched(self, path: str) -> bytes | None:
        if self.total >= TOTAL_LIMIT:
            self.capped = True
            return None
        try:
            content = self.fetch(self.names[path])
        except _TooMuchError:
            self.capped = True
            return None
        except _OutsideSampleError:
            return None
        except Exception:  # noqa: BLE001  # hostile bytes can make a parser raise anything; other members may be sound
            self.missed = True
            return None
        self.capped = self.capped or len(content) > MEMBER_LIMIT
        self.total += len(content)
        return content


def look_into(signatures: Signatures, sample: Sample) -> Look:
    """What the members of a container tell; nothing for a file that does not begin as one."""
    if sample.head.startswith(ZIP_MAGIC):
        kind, opener = "ZIP", _look_into_zip
    elif sample.head.startswith(OLE_MAGIC):
        kind, opener = "OLE2", _look_into_ole
    else:
        return Look()
    content = sample.whole if sample.whole is not None else sample.head if sample.size <= ENDS else None
    reader: io.BytesIO | _EndsReader = _EndsReader(sample) if content is None else io.BytesIO(content)
    warnings: list[str] = []
    found: tuple[tuple[str, str], ...] = ()
    try:
        found = opener(signatures[kind], sample, reader, warnings)
    except _TooMuchError:
        warnings.append(CONTAINER_CAPPED)
    except Exception as error:  # noqa: BLE001  # hostile bytes can make a parser raise anything; the signature stands
        if not isinstance(error, _OutsideSampleError):
            warnings.append(CONTAINER_UNREADABLE)
    if isinstance(reader, _EndsReader) and reader.missed:
        warnings = [warning for warning in warnings if warning != CONTAINER_UNREADABLE]
        warnings.append(CONTAINER_TOO_LARGE)
    return Look(found, tuple(dict.fromkeys(warnings)))


def _look_into_zip(
    signatures: tuple[ContainerSignature, ...],
    sample: Sample,
    reader: io.BytesIO | _EndsReader,
    warnings: list[str],
) -> tuple[tuple[str, str], ...]:
    if (sample.whole or sample.tail).count(_CENTRAL_ENTRY) > MEMBERS_LIMIT:
        raise _TooMuchError
    with zipfile.ZipFile(reader) as archive:
        members = archive.infolist()
        warnings += [ENCRYPTED] * any(member.flag_bits & _ENCRYPTED for member in members)
        warnings += [MACROS] * any(member.filename.endswith(_OOXML_MACROS) for member in members)

        def fetch(name: str) -> bytes:
            member = archive.getinfo(name)
            if member.flag_bits & _ENCRYPTED or member.compress_type not in _SIMPLE_ZIP_METHODS:
                # Other methods unpack whole blocks at once, however large they are; office formats do not use them.
                raise _TooMuchError
            with archive.open(member) as stream:
                return stream.read(MEMBER_LIMIT + 1)

        return _matching(signatures, _Members({name: name for name in archive.NameToInfo}, fetch), warnings)


def _look_into_ole(
    signatures: tuple[ContainerSignature, ...],
    sample: Sample,
    reader: io.BytesIO | _EndsReader,
    warnings: list[str],
) -> tuple[tuple[str, str], ...]:
    shift, fat_sectors = _OLE_FAT_COUNT.unpack_from(sample.head.ljust(_OLE_HEADER, b"\0"))
    if fat_sectors << min(shift, 64) > sample.size:
        raise _LyingError
    with olefile.OleFileIO(reader) as archive:
        if archive.root.size > sample.size:
            raise _LyingError
        names: dict[str, str] = {}
        for parts in archive.listdir(streams=True, storages=True):
            name = "/".join(parts)
            names.setdefault(name, name)
            names.setdefault("/".join(part.lstrip(_CONTROL) for part in parts), name)
        if len(names) > MEMBERS_LIMIT:
            raise _TooMuchError
        warnings += [ENCRYPTED] * (_OLE_ENCRYPTED in names)
        warnings += [MACROS] * any(name.endswith(_OLE_MACROS) for name in names)

        def fetch(name: str) -> bytes:
            if archive.get_type(name) != olefile.STGTY_STREAM:
                return b""
            if archive.get_size(name) > sample.size:
                raise _LyingError
            with archive.openstream(name) as stream:
                content: bytes = stream.read(MEMBER_LIMIT + 1)
                return content

        return _matching(signatures, _Members(names, fetch), warnings)


def _matching(
    signatures: tuple[ContainerSignature, ...], members: _Members, warnings: list[str]
) -> tuple[tuple[str, str], ...]:
    found = [
        (puid, signature.name)
        for signature in signatures
        if all(entry.path in members.names for entry in signature.entries)
        and all(_fits(entry, members) for entry in signature.entries)
        for puid in signature.puids
    ]
    warnings.extend([CONTAINER_CAPPED] * members.capped + [CONTAINER_UNREADABLE] * members.missed)
    return tuple(found)


def _fits(entry: Entry, members: _Members) -> bool:
    if not entry.alternatives:
        return True
    content = members.content(entry.path)
    if content is None:
        return False
    capped = len(content) > MEMBER_LIMIT
    return any(
        all(sequence.fits(content) and not (sequence.at_end and capped) for sequence in sequences)
        for sequences in entry.alternatives
    )
