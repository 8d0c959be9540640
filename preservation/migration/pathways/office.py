"""Office documents become PDF/A-2b, OpenDocument or CSV by LibreOffice, many files with one start.

The source is read by our own readers, not by the program that converts: words, slides, sheets, rows and cells of the
source must be in the output. How a page looked in the program that wrote it nobody here can know; the original stays.
"""

import os
from collections.abc import Iterator, Sequence
from typing import cast

from preservation.formats.identification import Puid
from preservation.migration.conversion import Failure, Made, Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways import pdfa
from preservation.migration.pathways.running import filled, same, told
from preservation.migration.sandbox import folder_inside, run
from preservation.migration.worker import answer

_WRITER = {
    "doc": ("fmt/39", "fmt/40", "fmt/609"),
    "docx": ("fmt/412",),
    "odt": ("fmt/136", "fmt/290", "fmt/291", "fmt/1756"),
    "rtf": ("fmt/45", "fmt/50", "fmt/52", "fmt/53", "fmt/355", "fmt/969"),
}
_CALC = {"xls": ("fmt/59", "fmt/61", "fmt/62"), "xlsx": ("fmt/214",)}
_IMPRESS = {"ppt": ("fmt/126",), "pptx": ("fmt/215",)}
_ZIPPED = ("docx", "odt", "xlsx", "pptx")

_PDFA = '{"SelectPdfVersion":{"type":"long","value":"2"}}'
_EVERY_SHEET = "44,34,76,1,,0,false,false,false,false,false,-1"
"""Commas, double quotes, UTF-8, from line 1, values and not how they are shown, every sheet in a file of its own."""

_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting">
<prop oor:name="MacroSecurityLevel" oor:op="fuse"><value>3</value></prop>
<prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop>
<prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Save/ODF">
<prop oor:name="DefaultVersion" oor:op="fuse"><value>4</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update">
<prop oor:name="Link" oor:op="fuse"><value>0</value></prop>
<prop oor:name="Field" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update">
<prop oor:name="Link" oor:op="fuse"><value>1</value></prop></item>
</oor:items>
"""
"""Macros off, nothing loaded from elsewhere, OpenDocument 1.2 (ISO/IEC 26300:2015) written."""

_EXTRA, _EXTRA_LAID_OUT, _EXTRA_PAGE = 0.02, 0.10, 40
"""How many words may come to those of the source: a share, and on each page heads, feet and numbers of items."""


def _pathway(kind: str, puids: Sequence[str], form: str, target: str, checks: Sequence[str]) -> Pathway:
    extension = form.partition(":")[0]
    needs = (*pdfa.NEEDS, "pdftotext") if extension == "pdf" else ()
    return Pathway(
        id=f"{kind}-{'pdfa' if extension == 'pdf' else extension}",
        sources=tuple(map(Puid, puids)),
        targets=(Puid(target),),
        extension=extension,
        tool="soffice",
        argv=(
            "-env:UserInstallation=file://{folder}/profile",
            "--headless",
            "--norestore",
            "--nolockcheck",
            "--nodefault",
            "--nofirststartwizard",
            "--convert-to",
            form,
            "--outdir",
            "out",
            "{source}",
        ),
        lossless=False,
        checks=("format", *checks),
        batch=20,
        needs=needs,
    )


def _all() -> Iterator[Pathway]:
    for kind, puids in _WRITER.items():
        yield _pathway(kind, puids, f"pdf:writer_pdf_Export:{_PDFA}", "fmt/477", (*pdfa.CHECKS, "words"))
        if kind != "odt":
            yield _pathway(kind, puids, "odt:writer8", "fmt/291", ("words",))
    counts = ("sheets", "rows", "cells", "values")
    for kind, puids in _CALC.items():
        yield _pathway(kind, puids, "ods:calc8", "fmt/295", counts)
        form = f"csv:Text - txt - csv (StarCalc):{_EVERY_SHEET}"
        yield _pathway(kind, puids, form, "x-fmt/18", counts)
    for kind, puids in _IMPRESS.items():
        yield _pathway(kind, puids, "odp:impress8", "fmt/293", ("slides", "words"))
        form = f"pdf:impress_pdf_Export:{_PDFA}"
        yield _pathway(kind, puids, form, "fmt/477", (*pdfa.CHECKS, "slides", "words"))


PATHWAYS: tuple[Pathway, ...] = tuple(_all())


def make(pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
    """Convert all with one start; what is missing then is tried once more by itself, as one file can end them all."""
    failure = _started(pathway, sources, room)
    made = [_found(pathway, source, room) for source in sources]
    if len(sources) == 1:
        return [one if one.outputs else Made((), failure) for one in made]
    return [one if one.outputs else make(pathway, [source], room)[0] for one, source in zip(made, sources, strict=True)]


def _started(pathway: Pathway, sources: Sequence[Staged], room: Room) -> Failure:
    profile = os.path.join(room.folder, "profile", "user")
    os.makedirs(profile, exist_ok=True)
    with open(os.path.join(profile, "registrymodifications.xcu"), "w", encoding="utf-8") as file:
        file.write(_SETTINGS)
    argv = filled(pathway.argv[:-1], folder=folder_inside(room.folder, room.sandbox))
    outcome = run(["soffice", *argv, *(one.source for one in sources)], room.folder, room.sandbox, room.limits)
    if outcome.late:
        return "timeout"
    return "tool-failed" if outcome.status else "no-output"


def _found(pathway: Pathway, source: Staged, room: Room) -> Made:
    """The output of a source; of a workbook one for each sheet, in the order of the sheets."""
    if pathway.extension != "csv":
        output = f"{source.output}.{pathway.extension}"
        return Made((output,) if os.path.lexists(os.path.join(room.folder, output)) else ())
    stem = os.path.basename(source.output)
    written = {name for name in os.listdir(os.path.join(room.folder, "out")) if name.startswith(f"{stem}-")}
    seen = answer("cells.names", (_kind(pathway), source.source), room) if written else None
    names = cast("list[str]", seen.get("names", [])) if seen else []
    ordered = [f"{stem}-{name}.csv" for name in names if f"{stem}-{name}.csv" in written]
    ordered += sorted(written - set(ordered))
    return Made(tuple(os.path.join("out", name) for name in ordered))


def _kind(pathway: Pathway) -> str:
    return pathway.id.partition("-")[0]


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Compare what our own readers find in the source with what they find in the output."""
    kind = _kind(pathway)
    if kind in _CALC:
        return _sheets(kind, source.source, outputs, room)
    if pathway.extension != "pdf":
        measures = [_words((kind, source.source, pathway.extension, outputs[0]), 0, room)]
        if kind in _IMPRESS:
            before = _asked("words.slides", (kind, source.source), room)["all"]
            after = _asked("words.slides", (pathway.extension, outputs[0]), room)["all"]
            measures.append(same("slides", str(before), str(after)))
        return measures
    text = f"{outputs[0]}.txt"
    told(room, "pdftotext", "-q", "-enc", "UTF-8", outputs[0], text)
    pages = int(told(room, "qpdf", "--show-npages", outputs[0]))
    measures = [*pdfa.judged(outputs[0], room), _words((kind, source.source, "txt", text), pages, room)]
    if kind in _IMPRESS:
        measures.append(same("slides", str(_asked("words.slides", (kind, source.source), room)["shown"]), str(pages)))
    return measures


def _asked(task: str, arguments: Sequence[str], room: Room) -> dict[str, int]:
    found = answer(task, arguments, room)
    if found is None or "refused" in found:
        raise UnmeasuredError
    return cast("dict[str, int]", found)


def _words(compared: Sequence[str], pages: int, room: Room) -> Measure:
    """What somebody wrote is in the output; what layout adds to it is little."""
    seen = _asked("words.compare", compared, room)
    missing, extra, written = seen["missing"], seen["extra"], seen["source"]
    allowed = _EXTRA_LAID_OUT * written + _EXTRA_PAGE * pages if pages else _EXTRA * written
    passed = not missing and extra <= allowed
    return Measure("words", str(written), f"{seen['output']}, {missing} missing, {extra} more", passed)


def _sheets(kind: str, source: str, outputs: Sequence[str], room: Room) -> list[Measure]:
    found = answer("cells.compare", (kind, source, *outputs), room)
    if found is None or "refused" in found:
        raise UnmeasuredError
    measures = []
    for name in ("sheets", "rows", "cells"):
        before, after = cast("list[int]", found[name])
        measures.append(same(name, str(before), str(after)))
    different = found["different"]
    return [*measures, Measure("values", "", f"{different} cells differ", different == 0)]


def rendition_only(source: Staged, room: Room) -> bool:
    """A signed document is what was signed, and nothing else is."""
    if not source.source.endswith(tuple(f".{kind}" for kind in _ZIPPED)):
        return False
    found = answer("words.signed", (source.source,), room)
    if found is None or "refused" in found:
        raise UnmeasuredError
    return bool(found["signed"])
