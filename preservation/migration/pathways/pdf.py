"""PDF becomes PDF/A-2b by Ghostscript, with an output intent of our own; pages, text and renderings are compared.

A signature does not survive: what comes of a signed PDF is only a rendition. Attachments have no place in PDF/A-2b and
are refused by their count.
"""

import os
import shutil
from collections.abc import Sequence

from preservation.formats.identification import Puid
from preservation.migration.conversion import Made, Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways import pdfa
from preservation.migration.pathways.running import one_by_one, same, told
from preservation.migration.worker import answer

_SOURCES = tuple(f"fmt/{number}" for number in (*range(14, 21), 276, 1129))
_PROFILE = "/usr/share/color/icc/ghostscript/srgb.icc"
_DEFINITION = """%!
/ICCProfile (srgb.icc) def
[/_objdef {profile_PDFA} /type /stream /OBJ pdfmark
[{profile_PDFA} << /N 3 >> /PUT pdfmark
[{profile_PDFA} ICCProfile (r) file /PUT pdfmark
[/_objdef {intent_PDFA} /type /dict /OBJ pdfmark
[{intent_PDFA} << /Type /OutputIntent /S /GTS_PDFA1 /DestOutputProfile {profile_PDFA}
  /OutputConditionIdentifier (sRGB) /Info (sRGB IEC61966-2.1) >> /PUT pdfmark
[{Catalog} << /OutputIntents [ {intent_PDFA} ] >> /PUT pdfmark
"""
"""What Ghostscript must be told to add an output intent (its documentation, "Creating a PDF/A document")."""

_INK, _SPOT = 0.05, 0.25
"""Shares of ink and of a spot that may differ: letters are drawn again from the same outlines."""

_SCALE = "700"

PATHWAYS: tuple[Pathway, ...] = (
    Pathway(
        id="pdf-pdfa",
        sources=tuple(map(Puid, _SOURCES)),
        targets=(Puid("fmt/477"),),
        extension="pdf",
        tool="gs",
        argv=(
            "-dPDFA=2",
            "-dPDFACompatibilityPolicy=1",
            "-dBATCH",
            "-dNOPAUSE",
            "-dQUIET",
            "-dSAFER",
            "-sDEVICE=pdfwrite",
            "-sColorConversionStrategy=RGB",
            "-dAutoRotatePages=/None",
            "-dAutoFilterColorImages=false",
            "-dAutoFilterGrayImages=false",
            "-dColorImageFilter=/FlateEncode",
            "-dGrayImageFilter=/FlateEncode",
            "-dDownsampleColorImages=false",
            "-dDownsampleGrayImages=false",
            "-dDownsampleMonoImages=false",
            "--permit-file-read=srgb.icc",
            "-sOutputFile={output}",
            "PDFA_def.ps",
            "{source}",
        ),
        lossless=False,
        checks=("format", *pdfa.CHECKS, "pages", "text", "rendering", "attachments", "links"),
        needs=(*pdfa.NEEDS, "pdftotext", "pdftoppm"),
    ),
)


def make(pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
    """Put definition and profile beside the sources, and convert one after the other."""
    with open(os.path.join(room.folder, "PDFA_def.ps"), "w", encoding="ascii") as file:
        file.write(_DEFINITION)
    shutil.copyfile(_PROFILE, os.path.join(room.folder, "srgb.icc"))
    return one_by_one(pathway, sources, room)


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Judge the claim, and compare pages, text, links and what each page looks like."""
    del pathway
    paths = source.source, outputs[0]
    before, after = (pdfa.seen(path, room) for path in paths)
    pages = [
        told(room, "qpdf", "--warning-exit-0", "--show-npages", path).decode("ascii", "replace").strip()
        for path in paths
    ]
    return [
        *pdfa.judged(outputs[0], room),
        same("pages", *pages),
        _text(paths, room),
        _rendering(paths, room),
        same("attachments", str(before["attachments"]), str(after["attachments"])),
        same("links", str(before["links"]), str(after["links"])),
    ]


def _text(paths: Sequence[str], room: Room) -> Measure:
    """Page by page the same letters, however they are set apart."""
    texts = [f"{path}.txt" for path in paths]
    for path, text in zip(paths, texts, strict=True):
        told(room, "pdftotext", "-q", "-enc", "UTF-8", path, text)
    seen = answer("pdf.letters", texts, room)
    if seen is None or "refused" in seen:
        raise UnmeasuredError
    letters, unlike = seen["letters"], seen["unlike"]
    assert isinstance(letters, list)
    return Measure("text", str(letters[0]), f"{letters[1]}, {unlike} pages differ", unlike == 0)


def _rendering(paths: Sequence[str], room: Room) -> Measure:
    folders = ["pages0", "pages1"]
    for path, folder in zip(paths, folders, strict=True):
        os.mkdir(os.path.join(room.folder, folder))
        told(room, "pdftoppm", "-q", "-gray", "-scale-to", _SCALE, path, f"{folder}/page")
    seen = answer("pdf.renderings", folders, room)
    if seen is None or "refused" in seen:
        raise UnmeasuredError
    pages, ink, spot = seen["pages"], seen["ink"], seen["spot"]
    assert isinstance(pages, list)
    assert isinstance(ink, float | int)
    assert isinstance(spot, float | int)
    passed = pages[0] == pages[1] > 0 and ink <= _INK and spot <= _SPOT
    return Measure("rendering", str(pages[0]), f"{pages[1]}, ink {ink}, spot {spot}", passed)


def rendition_only(source: Staged, room: Room) -> bool:
    """A signed PDF is what was signed, and nothing else is."""
    return bool(pdfa.seen(source.source, room)["signed"])
