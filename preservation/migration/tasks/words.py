"""The words of documents, read by ourselves from the formats' own structures, and two documents compared by them.

Text that is made anew when a document is laid out (page numbers, dates, headers, numbers of list items) is left out on
the source's side: what must not be missing is what somebody wrote.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from preservation.migration.tasks import TaskRefusedError
from preservation.migration.tasks.binary import MADE, doc_text, ppt_slides
from preservation.migration.tasks.pdf import text_of
from preservation.migration.tasks.rich import rtf_text
from preservation.migration.tasks.zipped import attribute, local, named, parts, tree

_WORD = re.compile(r"[^\W_]+")
_BREAKS = {
    "p",
    "tab",
    "br",
    "cr",
    "tc",
    "tr",
    "h",
    "s",
    "line-break",
    "table-cell",
    "list-item",
    "ptab",
    "noBreakHyphen",
}
_NOT_ODF = {
    "annotation",
    "tracked-changes",
    "page-number",
    "page-count",
    "date",
    "time",
    "title",
    "desc",
    "note-citation",
    "notes",
    "forms",
    "event-listeners",
    "file-name",
    "object-index",
    "creation-date",
    "modification-date",
    "hidden-text",
}
_NOT_WORD = {"delText", "instrText", "Fallback", "delInstrText", "annotationRef", "posOffset", "pPrChange", "rPrChange"}


def compare(kind: str, source: str, other_kind: str, output: str) -> dict[str, object]:
    """Count the words of both; those of the source that the output lacks, and those that it has besides."""
    before = Counter(_words(_text(kind, source)))
    after = Counter(_words(_text(other_kind, output)))
    missing, extra = before - after, after - before
    if other_kind == "txt":
        _forgive(missing, extra)
    return {
        "source": before.total(),
        "output": after.total(),
        "missing": missing.total(),
        "extra": extra.total(),
    }


def _forgive(missing: Counter[str], extra: Counter[str]) -> None:
    """Take away what only looks missing on a page: a word with a note's number, a word that a line's end divides."""
    for word in list(missing):
        for whole in [one for one in extra if one.startswith(word) and one[len(word) :].isdecimal()]:
            paired = min(missing[word], extra[whole])
            missing[word] -= paired
            extra[whole] -= paired
        for place in range(1, len(word)):
            first, rest = word[:place], word[place:]
            paired = min(missing[word], extra[first], extra[rest])
            missing[word] -= paired
            extra[first] -= paired
            extra[rest] -= paired


def slides(kind: str, path: str) -> dict[str, object]:
    """How many slides there are, and how many of them are shown."""
    if kind == "ppt":
        shown = [flag for flag, _ in ppt_slides(path)]
    elif kind == "pptx":
        shown = [attribute(one, "show") not in ("0", "false") for one in _pptx_slides(path)]
    else:
        shown = [True for page in named(tree(path, "content.xml"), "page")]
    return {"all": len(shown), "shown": sum(shown)}


def signed(path: str) -> dict[str, object]:
    """Whether a ZIP-based document carries a signature."""
    names = parts(path)
    return {
        "signed": any(name.startswith("_xmlsignatures/") or name == "META-INF/documentsignatures.xml" for name in names)
    }


def _words(text: str) -> Iterator[str]:
    return (match[0] for match in _WORD.finditer(unicodedata.normalize("NFKC", text.replace("\u00ad", ""))))


def _text(kind: str, path: str) -> str:
    if kind not in _READERS:
        raise TaskRefusedError(kind)
    return _READERS[kind](path)


def _opendocument(path: str) -> str:
    return "".join(_odf(tree(path, "content.xml")))


def _ppt(path: str) -> str:
    return "\n".join(text for shown, text in ppt_slides(path) if shown)


def _pptx(path: str) -> str:
    visible = [one for one in _pptx_slides(path) if attribute(one, "show") not in ("0", "false")]
    return "\n".join("".join(_drawn(one)) for one in visible)


def _docx(path: str) -> str:
    names = parts(path)
    main = [name for name in names if re.fullmatch(r"word/(document\d*|footnotes|endnotes)\.xml", name)]
    if not main:
        raise TaskRefusedError("docx")
    return "\n".join("".join(_office(tree(path, name))) for name in sorted(main))


def _office(root: ET.Element) -> Iterator[str]:
    """The text of WordprocessingML in its order, without hidden runs and results of fields that are made anew."""
    fields: list[list[str | bool]] = []  # instruction so far, is the result running
    pending: list[ET.Element | str] = [root]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
            continue
        name = local(one)
        if name == "instrText" and fields:
            fields[-1][0] = str(fields[-1][0]) + (one.text or "")
        if name in _NOT_WORD or _is_hidden(one, name) or (name == "fldSimple" and MADE.match(attribute(one, "instr"))):
            continue
        if name == "fldChar":
            _field(attribute(one, "fldCharType"), fields)
        if name == "t" and not any(running and MADE.match(str(said)) for said, running in fields):
            yield one.text or ""
        if name in _BREAKS:
            yield " "
            pending.append(" ")
        pending.extend(reversed(list(one)))


def _is_hidden(element: ET.Element, name: str) -> bool:
    if name != "r":
        return False
    marks = [mark for part in element if local(part) == "rPr" for mark in part if local(mark) == "vanish"]
    return any(attribute(mark, "val") not in ("0", "false", "off") for mark in marks)


def _field(kind: str, fields: list[list[str | bool]]) -> None:
    if kind == "begin":
        fields.append(["", False])
    elif kind == "separate" and fields:
        fields[-1][1] = True
    elif kind == "end" and fields:
        fields.pop()


def _odf(element: ET.Element) -> Iterator[str]:
    pending: list[ET.Element | str] = [element]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
            continue
        name = local(one)
        after = [" "] if name in _BREAKS else []
        if name not in _NOT_ODF:
            inside: list[ET.Element | str] = [*after, one.text or ""]
            for child in one:
                inside += [child, child.tail or ""]
            pending.extend(reversed([*inside, *after]))


def _pptx_slides(path: str) -> list[ET.Element]:
    """The slides in the order of the presentation."""
    targets = {attribute(one, "Id"): attribute(one, "Target") for one in tree(path, "ppt/_rels/presentation.xml.rels")}
    listed = list(named(tree(path, "ppt/presentation.xml"), "sldId"))
    links = [next((value for key, value in one.attrib.items() if key.endswith("}id")), "") for one in listed]
    names = [targets.get(link, "").removeprefix("/ppt/").removeprefix("ppt/") for link in links if link]
    return [tree(path, f"ppt/{name}") for name in names]


def _drawn(slide: ET.Element) -> Iterator[str]:
    """The text of DrawingML; fields (slide numbers, dates) are left out."""
    pending: list[ET.Element] = [slide]
    while pending:
        one = pending.pop()
        name = local(one)
        if name in ("fld", "Fallback"):
            continue
        if name == "t":
            yield one.text or ""
        elif name in ("p", "br", "tc"):
            yield " "
        pending.extend(reversed(list(one)))


_READERS: dict[str, Callable[[str], str]] = {
    "doc": doc_text,
    "docx": _docx,
    "odp": _opendocument,
    "odt": _opendocument,
    "ppt": _ppt,
    "pptx": _pptx,
    "rtf": rtf_text,
    "txt": text_of,
}
