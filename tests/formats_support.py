"""Small real files of many kinds, made here; and the corpora, where they are."""

import io
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from preservation.formats.bundles import SignatureBundle, bundle_of_files
from preservation.formats.engine import Engine, build_engine, shipped_bundle, tool_name
from preservation.formats.identification import Sample

PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/MediaBox[0 0 9 9]/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R/Size 4>>\n%%EOF\n"
)
CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Override PartName="/word/document.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
OPEN_DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><office:document-content '
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" office:version="1.2"/>'
)
MANIFEST = (
    '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
    '<manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.text"/>'
    "</manifest:manifest>"
)
NEWER = ("DROID_SignatureFile_V122.xml", "container-signature-20260119.xml")
HANGING_SVG = b'<?xml version="1.0"svg>' + b"<svg" * 3000 + b'version="1.1"' * 3000
"""FIDO's expression for SVG 1.1 tries each pair of these before it gives up: some ten million times the whole file."""


DROID = """<?xml version="1.0" encoding="UTF-8"?>
<FFSignatureFile DateCreated="2026-01-01T00:00:00" Version="{version}"
 xmlns="http://www.nationalarchives.gov.uk/pronom/SignatureFile">
<InternalSignatureCollection>
{signatures}
</InternalSignatureCollection>
<FileFormatCollection>
{formats}
</FileFormatCollection>
</FFSignatureFile>
"""
PDF_SIGNATURES = """<InternalSignature ID="1" Specificity="Specific"><ByteSequence Reference="BOFoffset">
<SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0"><Sequence>'%PDF-1.4'</Sequence></SubSequence>
</ByteSequence></InternalSignature>
<InternalSignature ID="2" Specificity="Specific"><ByteSequence Reference="BOFoffset">
<SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0"><Sequence>504B0304</Sequence></SubSequence>
</ByteSequence></InternalSignature>
<InternalSignature ID="3" Specificity="Specific"><ByteSequence Reference="BOFoffset">
<SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0"><Sequence>'%PDF-1.'[30:37]</Sequence></SubSequence>
</ByteSequence><ByteSequence><SubSequence Position="1" SubSeqMinOffset="0">
<Sequence>'pdfaid:part&gt;2'</Sequence></SubSequence></ByteSequence></InternalSignature>"""
PNG_SIGNATURE = """<InternalSignature ID="4" Specificity="Specific"><ByteSequence Reference="BOFoffset">
<SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0"><Sequence>89'PNG'</Sequence></SubSequence>
</ByteSequence></InternalSignature>"""
FORMATS = """<FileFormat ID="18" Name="PDF" PUID="fmt/18" Version="1.4" MIMEType="application/pdf, x">
<InternalSignatureID>1</InternalSignatureID><Extension>pdf</Extension></FileFormat>
<FileFormat ID="263" Name="ZIP" PUID="x-fmt/263"><InternalSignatureID>2</InternalSignatureID>
<Extension>zip</Extension></FileFormat>
<FileFormat ID="477" Name="PDF/A" PUID="fmt/477" Version="2b"><InternalSignatureID>3</InternalSignatureID>
<Extension>pdf</Extension><HasPriorityOverFileFormatID>18</HasPriorityOverFileFormatID></FileFormat>
<FileFormat ID="412" Name="Word" PUID="fmt/412"><Extension>docx</Extension></FileFormat>
<FileFormat ID="111" Name="Plain text" PUID="x-fmt/111"><Extension>txt</Extension></FileFormat>"""
PNG_FORMAT = """<FileFormat ID="11" Name="PNG" PUID="fmt/11"><InternalSignatureID>4</InternalSignatureID>
<Extension>png</Extension></FileFormat>"""
CONTAINERS = """<?xml version="1.0" encoding="UTF-8"?>
<ContainerSignatureMapping schemaVersion="1.0" signatureVersion="7"><ContainerSignatures>
<ContainerSignature Id="1" ContainerType="ZIP"><Description>Word</Description><Files>
<File><Path>word/document.xml</Path></File></Files></ContainerSignature></ContainerSignatures>
<FileFormatMappings><FileFormatMapping signatureId="1" Puid="fmt/412"/></FileFormatMappings>
</ContainerSignatureMapping>
"""


def small_release(folder: Path, *, version: int = 1, with_png: bool = True) -> tuple[str, str]:
    """A DROID signature file of a few formats, and its container signatures, as The National Archives write them."""
    folder.mkdir(parents=True, exist_ok=True)
    droid, containers = folder / f"DROID_SignatureFile_V{version}.xml", folder / "container-signature-20260101.xml"
    signatures, formats = PDF_SIGNATURES + PNG_SIGNATURE * with_png, FORMATS + PNG_FORMAT * with_png
    droid.write_text(DROID.format(version=version, signatures=signatures, formats=formats))
    containers.write_text(CONTAINERS)
    return str(droid), str(containers)


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def zipped(*members: tuple[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            how = zipfile.ZIP_STORED if name == "mimetype" else method
            archive.writestr(name, content, how)
    return stream.getvalue()


def docx(*more: tuple[str, bytes | str]) -> bytes:
    return zipped(("[Content_Types].xml", CONTENT_TYPES), ("word/document.xml", "<w:document/>"), *more)


def odt() -> bytes:
    return zipped(
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", OPEN_DOCUMENT),
        ("META-INF/manifest.xml", MANIFEST),
    )


def compound(*streams: tuple[str, bytes], declared: int | None = None) -> bytes:
    """An OLE2 compound file ([MS-CFB]) with up to three streams in its root, each padded to 4,096 bytes.

    `declared` is a length that the directory claims for each stream instead of the true one.
    """
    padded = [(name, content.ljust(4096, b"\0")) for name, content in streams]
    sectors = [content[place : place + 512] for _, content in padded for place in range(0, len(content), 512)]
    fat = [0xFFFFFFFD, 0xFFFFFFFE]
    entries = [_directory_entry("Root Entry", 5, 0xFFFFFFFE, 0, child=1 if padded else None, right=None)]
    for number, (name, content) in enumerate(padded, 1):
        first = len(fat)
        length = len(content) // 512
        fat += [*range(first + 1, first + length), 0xFFFFFFFE]
        right = number + 1 if number < len(padded) else None
        entries.append(_directory_entry(name, 2, first, declared or len(content), child=None, right=right))
    fat += [0xFFFFFFFF] * (128 - len(fat))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    header += struct.pack("<IIIIIIII", 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    directory = b"".join(entries).ljust(512, b"\0")
    return header + struct.pack("<128I", *fat) + directory[:512] + b"".join(sectors)


def _directory_entry(name: str, kind: int, first: int, size: int, *, child: int | None, right: int | None) -> bytes:
    label = name.encode("utf-16-le") + b"\0\0"
    nothing = 0xFFFFFFFF
    links = struct.pack("<III", nothing, nothing if right is None else right, nothing if child is None else child)
    return (
        label.ljust(64, b"\0")
        + struct.pack("<HBB", len(label), kind, 1)
        + links
        + bytes(36)
        + struct.pack("<IQ", first, size)
    )


@cache
def shared_engine() -> Engine:
    """One engine for all tests; it never changes."""
    return build_engine(shared_bundle())


@cache
def shared_bundle() -> SignatureBundle:
    """The bundle of what is shipped with FIDO."""
    return shipped_bundle()


@cache
def newer_bundle() -> SignatureBundle:
    """The bundle of DROID's files in the corpora; the test is skipped where they are absent."""
    droid, containers = corpora("droid") / NEWER[0], corpora("droid") / NEWER[1]
    return bundle_of_files(str(droid), str(containers), tool=tool_name())


def corpora(*parts: str) -> Path:
    """A folder of the corpora; the test is skipped where they are absent."""
    root = Path(os.environ.get("MOCBAN_CORPORA") or Path(__file__).parents[1] / ".." / "shared" / "corpora")
    folder = root.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"the corpora are not here: {'/'.join(parts)}")
    return folder


def files_of(folder: Path, number: int, seed: int = 1) -> list[Path]:
    """So many files of a folder, always the same ones."""
    everything = sorted(path for path in folder.rglob("*") if path.is_file())
    return random.Random(seed).sample(everything, min(number, len(everything)))


def mutants(contents: list[bytes], number: int, seed: int = 7) -> Iterator[bytes]:
    """Damaged, cut, joined and shifted versions of these contents."""
    chance = random.Random(seed)
    for _ in range(number):
        content, other = chance.choice(contents), chance.choice(contents)
        kind = chance.randrange(6)
        if kind == 0:
            yield content[: chance.randrange(len(content) + 1)]
        elif kind == 1:
            yield content + other
        elif kind == 2:
            changed = bytearray(content or b"x")
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(min(len(changed), 600))] = chance.randrange(256)
            yield bytes(changed)
        elif kind == 3:
            yield content.swapcase()
        elif kind == 4:
            yield chance.randbytes(chance.randrange(40)) + content
        else:
            yield content[: len(content) // 2] + other[len(other) // 2 :]


def ends_only(name: str, content: bytes) -> Sample:
    """The sample of a file of which nobody has the middle."""
    return Sample.of_ends(name, len(content), content[: 128 * 1024], content[-128 * 1024 :])
