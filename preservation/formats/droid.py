"""Reads the signature files of The National Archives: DROID's formats and signatures, and its container signatures.

FIDO's own converter takes relative offsets for absolute ones and gives ranges of several bytes up; this one loses
nothing of the files known so far. The result can be written as FIDO's own files are, so that FIDO itself can judge it.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

from preservation.formats.containers import ContainerSignature, Entry, Signatures
from preservation.formats.identification import BadIdentificationError, checked_puid
from preservation.formats.index import Format, Signature
from preservation.formats.sequences import BadSequenceError, byte_sequence
from storage_backends.errors import MocbanError, Phrase, marked

LARGEST_FILE = 64 << 20
"""Bytes of a signature file; the newest has four million."""

_FORBIDDEN = re.compile(rb"<!(?:DOCTYPE|ENTITY)|\0", re.IGNORECASE)
_VERSION = re.compile(r"[0-9]{1,9}")


class BadSignatureFileError(MocbanError):
    """A signature file is not what it should be; nothing was taken from it."""

    template = marked("{path}: this is not a signature file that is understood: {reason}")


@dataclass(frozen=True, slots=True)
class DroidFile:
    """What a DROID signature file says."""

    version: str
    formats: tuple[Format, ...]


def droid_file(content: bytes, path: str) -> DroidFile:
    """Read a DROID signature file, in its own order; ``path`` is for messages only.

    Raises:
        BadSignatureFileError: something in it is not understood; no signature is ever left out silently.
    """
    root = _root(content, path, "FFSignatureFile")
    try:
        version = root.get("Version", "")
        if not _VERSION.fullmatch(version):
            raise BadSequenceError(f"version {version!r:.40}")
        signatures = {
            element.get("ID", ""): tuple(byte_sequence(one) for one in element.findall("ByteSequence"))
            for element in root.iter("InternalSignature")
        }
        puids = {element.get("ID", ""): checked_puid(element.get("PUID")) for element in root.iter("FileFormat")}
        formats = tuple(
            Format(
                puids[element.get("ID", "")],
                _texts(element, "Extension"),
                frozenset(puids[number] for number in _texts(element, "HasPriorityOverFileFormatID")),
                tuple(
                    Signature(f"sig-{number}", signatures[number]) for number in _texts(element, "InternalSignatureID")
                ),
                element.get("Name", ""),
                element.get("Version", ""),
                element.get("MIMEType", "").partition(",")[0].strip(),
            )
            for element in root.iter("FileFormat")
        )
    except (ValueError, KeyError, BadIdentificationError) as error:
        raise BadSignatureFileError(path=path, reason=_said(error)) from error
    if not formats or len(set(puids.values())) < len(formats) or not all(signatures.values()):
        raise BadSignatureFileError(path=path, reason="formats that are missing or double, or signatures of nothing")
    return DroidFile(version, formats)


def _texts(element: ET.Element, tag: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.text for one in element.findall(tag) if one.text))


def container_signatures(content: bytes, path: str) -> Signatures:
    """Read a container signature file; ``path`` is for messages only.

    Raises:
        BadSignatureFileError: something in it is not understood.
    """
    root = _root(content, path, "ContainerSignatureMapping")
    puids: dict[str | None, list[str]] = {}
    found: dict[str, list[ContainerSignature]] = {"ZIP": [], "OLE2": []}
    try:
        for mapping in root.iter("FileFormatMapping"):
            puids.setdefault(mapping.get("signatureId"), []).append(checked_puid(mapping.get("Puid")))
        for element in root.iter("ContainerSignature"):
            entries = tuple(
                Entry(
                    file.findtext("Path", ""),
                    tuple(
                        tuple(byte_sequence(one) for one in signature.findall("ByteSequence"))
                        for signature in file.iter("InternalSignature")
                    ),
                )
                for file in element.findall("Files/File")
            )
            name, names = element.findtext("Description", ""), tuple(puids.get(element.get("Id"), ()))
            found[element.get("ContainerType", "")].append(ContainerSignature(name, names, entries))
    except (ValueError, KeyError, BadIdentificationError) as error:
        raise BadSignatureFileError(path=path, reason=_said(error)) from error
    if not all(one.entries for signatures in found.values() for one in signatures) or not any(found.values()):
        raise BadSignatureFileError(path=path, reason="there are no signatures, or some that need nothing")
    return {kind: tuple(signatures) for kind, signatures in found.items()}


def _said(error: Exception) -> str:
    """Return what an error says; what is not ours may quote the whole file, and is cut."""
    text = str(error)
    return text if isinstance(text, Phrase) else text[:200]


def container_version(content: bytes, path: str) -> str:
    """What a container signature file is called: the date in its name, as it is published, or its own number."""
    date = re.search(r"(?<![0-9])[0-9]{8}(?![0-9])", path.rpartition("/")[2])
    own = _root(content, path, "ContainerSignatureMapping").get("signatureVersion", "")
    return date[0] if date else own if _VERSION.fullmatch(own) else "0"


def _root(content: bytes, path: str, tag: str) -> ET.Element:
    """Parse a document without declarations of types and entities, which could grow without end; drop namespaces."""
    if len(content) > LARGEST_FILE:
        raise BadSignatureFileError(path=path, reason=Phrase("more than {limit} bytes", limit=LARGEST_FILE))
    if _FORBIDDEN.search(content):
        raise BadSignatureFileError(path=path, reason="a document type, an entity or bytes of zero")
    try:
        root = ET.fromstring(content)  # noqa: S314  # without a document type there is nothing that could expand
    except ET.ParseError as error:
        raise BadSignatureFileError(path=path, reason=str(error)) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != tag:
        raise BadSignatureFileError(
            path=path, reason=Phrase("its root is {found!r:.60}, not {wanted}", found=root.tag, wanted=tag)
        )
    return root


def document_for_fido(formats: Iterable[Format]) -> bytes:
    """The formats as FIDO's own format files have them."""
    root = ET.Element("formats", version="0.3")
    for known in formats:
        element = ET.SubElement(root, "format")
        fields = {"puid": known.puid, "mime": known.media_type, "name": known.name, "version": known.version}
        for tag, text in fields.items():
            ET.SubElement(element, tag).text = text
        for extension in known.extensions:
            ET.SubElement(element, "extension").text = extension
        for puid in sorted(known.beats):
            ET.SubElement(element, "has_priority_over").text = puid
        for signature in known.signatures:
            below = ET.SubElement(element, "signature")
            ET.SubElement(below, "name").text = signature.name
            for pattern in signature.patterns:
                one = ET.SubElement(below, "pattern")
                ET.SubElement(one, "position").text = pattern.position
                ET.SubElement(one, "regex").text = pattern.expression.decode("ascii")
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content
