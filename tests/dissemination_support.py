"""What the tests of exports share: a small real repository, versions made by hand, trees compared, PREMIS judged."""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from preservation.attachment import add
from preservation.creation import create
from preservation.dissemination.copying import Counts, Outgoing, Version
from preservation.dissemination.premis import NAMESPACE
from preservation.dissemination.writing import Flushing
from preservation.fixity import Fixity, blake3_hex, new_blake3
from preservation.fonds import open_fonds
from preservation.formats.identification import NoIdentification
from preservation.ingest import Receipt, Request, ingest
from preservation.manifest import file_line, folder_line, header_line, trailer_line
from preservation.repository import Repository, World

PACKAGE = "01900000-0000-7000-8000-0000000000aa"
TIME_NS = 1_500_000_000_123_456_000


def world(stopping: Callable[[], bool] = lambda: False) -> World:
    """A world whose clock moves on by a second at each look, and whose randomness repeats."""
    ticks, numbers = itertools.count(), itertools.count()

    def random(count: int) -> bytes:
        return hashlib.shake_256(b"%d" % next(numbers)).digest(count)

    start = datetime(2026, 3, 1, tzinfo=UTC)
    return World(lambda: start + timedelta(seconds=next(ticks)), random, "tester", 5.0, stopping)


def repository_in(folder: str, stopping: Callable[[], bool] = lambda: False) -> Repository:
    """A repository with two disk stores and the fonds F."""
    repository = create(os.path.join(folder, "repository"), world(stopping))
    for name in ("one", "two"):
        add(repository, name, f"file://{folder}/{name}", site=name)
    open_fonds(repository, "F", "A fonds")
    return repository


def ingested(repository: Repository, source: str, **asked: object) -> Receipt:
    request = Request(source=source, fonds_code="F", title="Hồ sơ 1", **asked)  # type: ignore[arg-type]
    return ingest(repository, request, NoIdentification(), lambda _files, _bytes: None)


def write_tree(root: str, files: dict[bytes, bytes], folders: Iterable[bytes] = ()) -> str:
    """Write ``files`` and empty ``folders`` below ``root``, each file with a time of its own."""
    os.makedirs(root, exist_ok=True)
    for folder in folders:
        os.makedirs(os.path.join(os.fsencode(root), folder))
    for number, (path, data) in enumerate(sorted(files.items())):
        place = os.path.join(os.fsencode(root), path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)
        os.utime(place, ns=(TIME_NS, TIME_NS + number * 1000))
    return root


def tree_of(root: str) -> dict[bytes, tuple[bytes, int] | None]:
    """Every path below ``root``: content and time of a file, None for a folder."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[bytes, int] | None] = {}
    for folder, folders, files in os.walk(top):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), top)] = None
        for name in files:
            place = os.path.join(folder, name)
            with open(place, "rb") as file:
                found[os.path.relpath(place, top)] = (file.read(), os.stat(place).st_mtime_ns)
    return found


def manifest_of(
    files: dict[bytes, bytes],
    folders: Iterable[bytes] = (),
    *,
    number: int = 1,
    sha256: str | None = None,
    more: dict[str, object] | None = None,
    title: str = "Hồ sơ",
) -> list[bytes]:
    """The lines of a manifest made by hand; ``sha256`` is put into each line instead of the right one."""
    header = {"agent": "tester", "created": "2026-03-01T00:00:00+00:00", "package": PACKAGE, "title": title}
    lines = [header_line({**header, "version": number, "fonds_code": "F"})]
    entries = [*((path, data) for path, data in files.items()), *((path, None) for path in folders)]
    for path, data in sorted(entries, key=lambda entry: entry[0]):
        if data is None:
            lines.append(folder_line(path))
            continue
        fixity = Fixity(len(data), blake3_hex(data), sha256 or hashlib.sha256(data).hexdigest())
        lines.append(file_line(path, fixity, TIME_NS, '"formats":[],"identification":"off"', more))
    hasher = new_blake3()
    for line in lines:
        hasher.update(line)
    size = sum(len(data) for data in files.values())
    return [*lines, trailer_line(len(files), len(list(folders)), size, hasher.hexdigest())]


def version_of(lines: list[bytes], number: int = 1, only: bytes | None = None) -> Version:
    return Version(PACKAGE, number, ("ab" * 32,), ("ab" * 32,), lambda: iter(lines), only)


def outgoing_of(contents: Iterable[bytes]) -> Outgoing:
    """What an export of these contents is made with; events there are none."""
    objects = {blake3_hex(data): data for data in contents}

    def pieces(digest: str) -> Iterator[bytes]:
        data = objects[digest]
        yield data[: len(data) // 2]
        yield data[len(data) // 2 :]

    counts = Counts(lambda _size: None)
    return Outgoing(pieces, lambda: (), counts, Flushing(), datetime(2026, 3, 1, tzinfo=UTC))


# ---- PREMIS ----------------------------------------------------------------------------------------------------------

_TEXT = "s"
"""An element that holds text."""

_TYPES: dict[str, list[tuple[str, str, int, int]]] = {}


def _type(name: str, *elements: str) -> None:
    """Write down a type: its elements in order, ``?`` optional, ``*`` any number, ``+`` at least one."""
    bounds = {"?": (0, 1), "*": (0, 1 << 30), "+": (1, 1 << 30)}
    _TYPES[name] = [
        (one.rstrip("?*+"), one.rstrip("?*+"), *bounds.get(one[-1], (1, 1)))  # type: ignore[misc]
        for one in elements
    ]


# The part of the PREMIS 3.0 schema that exports use, written down as order and number of elements
# (Library of Congress, PREMIS Preservation Metadata XML Schema, version 3.0, 18 January 2016).
_type("premis", "object+", "event*", "agent*", "rights*")
_type(
    "file",
    "objectIdentifier+",
    "preservationLevel*",
    "significantProperties*",
    "objectCharacteristics+",
    "originalName?",
    "storage*",
    "signatureInformation*",
    "relationship*",
    "linkingEventIdentifier*",
    "linkingRightsStatementIdentifier*",
)
_type(
    "representation",
    "objectIdentifier+",
    "preservationLevel*",
    "significantProperties*",
    "originalName?",
    "storage*",
    "relationship*",
    "linkingEventIdentifier*",
    "linkingRightsStatementIdentifier*",
)
_type(
    "objectCharacteristics",
    "compositionLevel?",
    "fixity*",
    "size?",
    "format+",
    "creatingApplication*",
    "inhibitors*",
    "objectCharacteristicsExtension*",
)
_type("fixity", "messageDigestAlgorithm", "messageDigest", "messageDigestOriginator?")
_type("format", "formatDesignation?", "formatRegistry?", "formatNote*")
_type("formatDesignation", "formatName", "formatVersion?")
_type("formatRegistry", "formatRegistryName", "formatRegistryKey", "formatRegistryRole?")
_type("storage", "contentLocation?", "storageMedium?")
_type("relationship", "relationshipType", "relationshipSubType", "relatedObjectIdentifier+", "relatedEventIdentifier*")
_type(
    "event",
    "eventIdentifier",
    "eventType",
    "eventDateTime",
    "eventDetailInformation*",
    "eventOutcomeInformation*",
    "linkingAgentIdentifier*",
    "linkingObjectIdentifier*",
)
_type("eventDetailInformation", "eventDetail?", "eventDetailExtension*")
_type("eventOutcomeInformation", "eventOutcome", "eventOutcomeDetail*")
_type("agent", "agentIdentifier+", "agentName*", "agentType?", "agentVersion?", "agentNote*", "agentExtension*")
for _name in (
    "object",
    "event",
    "agent",
    "linkingAgent",
    "linkingObject",
    "linkingEvent",
    "relatedObject",
    "relatedEvent",
):
    _type(f"{_name}Identifier", f"{_name}IdentifierType", f"{_name}IdentifierValue")
_type("contentLocation", "contentLocationType", "contentLocationValue")


def check_premis(path: str) -> ET.Element:
    """Parse a PREMIS document and compare every element with the schema's order and numbers; return its root."""
    root = ET.parse(path).getroot()
    assert root.tag == f"{{{NAMESPACE}}}premis"
    assert root.get("version") == "3.0"
    _check(root, "premis")
    return root


def _check(element: ET.Element, kind: str) -> None:
    if kind == "object":
        kind = element.attrib["{http://www.w3.org/2001/XMLSchema-instance}type"]
    if kind.endswith("Extension"):
        assert len(element), f"{kind} is empty"
        return
    if kind not in _TYPES:
        assert not len(element), f"{kind} has elements inside"
        assert (element.text or "").strip() or kind == "originalName", f"{kind} is empty"
        return
    children = [(child, child.tag.removeprefix(f"{{{NAMESPACE}}}")) for child in element]
    names = [name for _, name in children]
    order = [name for name, *_ in _TYPES[kind]]
    assert set(names) <= set(order), f"{kind} does not know {set(names) - set(order)}"
    assert names == sorted(names, key=order.index), f"{kind} has its elements in the order {names}"
    for name, _, least, most in _TYPES[kind]:
        assert least <= names.count(name) <= most, f"{kind} has {names.count(name)} {name}"
    for child, name in children:
        _check(child, name)


def texts(root: ET.Element, name: str) -> list[str]:
    """All texts of the elements of this name."""
    return [element.text or "" for element in root.iter(f"{{{NAMESPACE}}}{name}")]


def same_content(root: ET.Element, json_path: str) -> None:
    """Compare a parsed document with its JSON: the same elements with the same texts, in the same order."""
    with open(json_path, encoding="utf-8") as file:
        value = json.load(file)["premis"]
    prefixes = {NAMESPACE: "", "tag:mocban,2026:premis": "mocban:"}

    def flat_xml(element: ET.Element) -> Iterator[tuple[str, str]]:
        for child in element:
            namespace, name = child.tag[1:].split("}")
            yield prefixes[namespace] + name, child.text or ""
            yield from flat_xml(child)

    def flat_json(one: object) -> Iterator[tuple[str, str]]:
        assert isinstance(one, dict)
        for key, entry in one.items():
            for single in entry if isinstance(entry, list) else [entry]:
                if key[0] in "@#":
                    continue
                if isinstance(single, dict):
                    yield key, str(single.get("#text", ""))
                    yield from flat_json(single)
                else:
                    yield key, str(single)

    assert list(flat_xml(root)) == list(flat_json(value))
