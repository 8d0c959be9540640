"""Reads the parts of a ZIP-based document: capped, and without any document type definition."""

import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from preservation.migration.tasks import TaskRefusedError

LONGEST = 512 << 20
"""Bytes of one part, unpacked."""

_MOST = 20_000

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
"""What ``zipfile`` raises of a broken archive, an encrypted one, or one packed in a way that it does not know."""


def parts(path: str) -> dict[str, zipfile.ZipInfo]:
    """The parts of a document by name; the last of twins counts, as in other readers."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _BROKEN as error:
        raise TaskRefusedError("zip") from error
    if len(entries) > _MOST:
        raise TaskRefusedError("many")
    return {entry.filename: entry for entry in entries}


def content(path: str, name: str) -> bytes:
    """The bytes of a part; empty if there is none."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as part:
            found = part.read(LONGEST + 1)
    except KeyError:
        return b""
    except _BROKEN as error:
        raise TaskRefusedError("zip") from error
    if len(found) > LONGEST:
        raise TaskRefusedError("long")
    return found


def tree(path: str, name: str) -> ET.Element:
    """The XML of a part; an empty element if there is none."""
    found = content(path, name)
    if not found:
        return ET.Element("none")
    if b"<!DOCTYPE" in found or b"<!ENTITY" in found:
        raise TaskRefusedError("dtd")
    try:
        return ET.fromstring(found)  # noqa: S314 - without a DTD, and shut in
    except ET.ParseError as error:
        raise TaskRefusedError("xml") from error


def local(element: ET.Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: ET.Element, name: str) -> str:
    """The value of an attribute, whatever its namespace; empty if there is none."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def named(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """All elements of this local name below."""
    return (one for one in element.iter() if local(one) == name)
