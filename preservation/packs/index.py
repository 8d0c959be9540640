"""A pack's index: one JSON line a member, enough to give back every tar header and to find every byte.

The first line says whose index it is; the lines follow the order of the members; the index itself and the padding
behind it are not listed. The same bytes stand last in the pack and beside it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring

from preservation.packs.layout import DIGEST, FORMAT, content_name, index_name
from preservation.packs.members import Kind, Member, header, padding, stored_size
from storage_backends.errors import MocbanError, Phrase, marked

LONGEST_LINE = 64 << 10
_CONTENT_LINE = re.compile(rb'\{"blake3":"([0-9a-f]{64})","offset":([0-9]{1,19}),"size":([0-9]{1,19})\}\n')


class IndexUnreadableError(MocbanError):
    """An index is not what the format says; nothing in it is believed."""

    template = marked("The index of pack {pack} cannot be read: {reason}")


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """Whose index this is."""

    label: str
    fonds: str


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """What the index says of a manifest beside its place."""

    package: str
    version: int
    title: str
    files: int
    folders: int
    bytes: int


def header_line(label: str, fonds: str) -> bytes:
    """Return the first line of an index."""
    line = {"fonds": fonds, "format": FORMAT, "label": label, "mocban": "index"}
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _name(name: bytes, field: str = "name") -> str:
    try:
        return f'"{field}":{encode_basestring(name.decode())}'
    except UnicodeDecodeError:
        return f'"{field}_b64":"{base64.b64encode(name).decode()}"'


def member_line(member: Member, manifest: ManifestLine | None = None) -> bytes:
    """Return the line of one member: keys in order, no spaces."""
    kind, place = member.kind, f'"offset":{member.offset},"size":{member.size}'
    if kind is Kind.CONTENT:
        return f'{{"blake3":"{member.digest}",{place}}}\n'.encode()
    if kind is Kind.LINK:
        target = "" if member.target == content_name(member.digest) else "," + _name(member.target, "target")
        return f'{{"link":"{member.digest}",{_name(member.name)}{target}}}\n'.encode()
    if kind is Kind.SYMLINK:
        return f'{{{_name(member.name)},"symlink":"{member.digest}"}}\n'.encode()
    if kind is Kind.FOLDER:
        return f'{{"folder":true,{_name(member.name)}}}\n'.encode()
    more = (
        ""
        if manifest is None
        else (
            f',"package":"{manifest.package}","title":{encode_basestring(manifest.title)},"version":{manifest.version}'
        )
    )
    counts = (
        "" if manifest is None else (f',"bytes":{manifest.bytes},"files":{manifest.files},"folders":{manifest.folders}')
    )
    return f'{{"blake3":"{member.digest}"{counts},"kind":"{kind}",{_name(member.name)},{place}{more}}}\n'.encode()


def _bytes_of(line: dict[str, object], field: str = "name") -> bytes:
    encoded = line.get(field + "_b64")
    if isinstance(encoded, str):
        return base64.b64decode(encoded, validate=True)
    plain = line[field]
    if not isinstance(plain, str):
        raise TypeError(field)
    return plain.encode()


def _number(line: dict[str, object], field: str) -> int:
    value = line[field]
    if type(value) is not int or value < 0:
        raise ValueError(field)
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError("digest")
    return value


def _member(line: dict[str, object]) -> Member:
    if "link" in line:
        digest = _digest(line["link"])
        target = _bytes_of(line, "target") if "target" in line or "target_b64" in line else content_name(digest)
        return Member(Kind.LINK, _bytes_of(line), digest=digest, target=target)
    if "symlink" in line:
        return Member(Kind.SYMLINK, _bytes_of(line), digest=_digest(line["symlink"]))
    if "folder" in line:
        return Member(Kind.FOLDER, _bytes_of(line))
    digest, offset, size = _digest(line["blake3"]), _number(line, "offset"), _number(line, "size")
    if "kind" not in line:
        return Member(Kind.CONTENT, content_name(digest), offset, size, digest)
    return Member(Kind(str(line["kind"])), _bytes_of(line), offset, size, digest)


def _manifest(line: dict[str, object]) -> ManifestLine | None:
    if line.get("kind") != Kind.MANIFEST or "package" not in line:
        return None
    counts = (_number(line, "files"), _number(line, "folders"), _number(line, "bytes"))
    return ManifestLine(str(line["package"]), _number(line, "version"), str(line["title"]), *counts)


def parse_header(line: bytes, pack: str) -> IndexHeader:
    """Return what the first line of the index of ``pack`` says; ``IndexUnreadableError`` if it is not one of ours."""
    try:
        found = json.loads(line)
        if found["mocban"] != "index" or found["format"] != FORMAT:
            raise IndexUnreadableError(pack=pack, reason="another or newer format")
        return IndexHeader(str(found["label"]), str(found["fonds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise IndexUnreadableError(pack=pack, reason=Phrase("first line: {error}", error=repr(error))) from error


def parse(lines: Iterable[bytes], pack: str) -> Iterator[tuple[Member, ManifestLine | None]]:
    """Yield each member with what the index says of its manifest; ``lines`` begin behind the first line.

    Raises:
        IndexUnreadableError: at the first line that does not fit the format.
    """
    for number, text in enumerate(lines, start=2):
        try:
            line = json.loads(text[: LONGEST_LINE + 1])
            yield _member(line), _manifest(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexUnreadableError(
                pack=pack, reason=Phrase("line {number}: {error}", number=number, error=repr(error))
            ) from error


def objects(lines: Iterable[bytes], pack: str) -> Iterator[tuple[Member, ManifestLine | None]]:
    """Yield the objects and the manifests only; as ``parse``, but several times faster."""
    rest = []
    for text in lines:
        found = _CONTENT_LINE.fullmatch(text)
        if found is not None:
            digest = found[1].decode()
            yield Member(Kind.CONTENT, content_name(digest), int(found[2]), int(found[3]), digest), None
        elif text.startswith(b'{"blake3"'):
            rest.append(text)
    yield from parse(rest, pack)


def members(lines: Iterable[bytes], pack: str) -> Iterator[Member]:
    """Yield each member; as ``parse``."""
    return (member for member, _ in parse(lines, pack))


def with_index(listed: Iterable[Member], label: str, index_size: int, index_digest: str) -> Iterator[Member]:
    """Yield the listed members and behind them the index itself, at the place where the pack has it."""
    end = 0
    for member in listed:
        yield member
        end = end_of(member, end)
    start = end + len(header(Member(Kind.INDEX, index_name(label), 0, index_size)))
    yield Member(Kind.INDEX, index_name(label), start, index_size, index_digest)


def end_of(member: Member, previous_end: int) -> int:
    """Return where the next header begins, given where this member's header began."""
    size = stored_size(member)
    return previous_end + len(header(member)) + size + padding(size)
