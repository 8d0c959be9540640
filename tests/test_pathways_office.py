"""Office documents become PDF/A-2b, OpenDocument and CSV; words, slides, rows and cells are counted by ourselves."""

import zipfile
from functools import cache
from pathlib import Path

import pytest
from pathways_support import (
    PARAGRAPHS,
    SHEETS,
    all_converted,
    by_office,
    converted,
    failed_measures,
    letter_docx,
    letter_rtf,
    needs_all_of,
    of_tool,
    pathway,
    sample,
    table_xlsx,
    tool,
)
from sizes import sampled

from preservation.migration.tasks import TaskRefusedError, zipped
from preservation.migration.tasks.cells import _sheets
from preservation.migration.tasks.words import _text, _words

PATHWAYS = of_tool("soffice")


@cache
def good(identity, folder):
    """What LibreOffice makes of a sample, and how it was judged."""
    folder.mkdir()
    done = converted(identity, sample(identity), folder)
    return done, [Path(path).read_bytes() for path in done.outputs]


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("outputs")
    return lambda identity: good(identity, place / identity)


@sampled(4)
@pytest.mark.parametrize("identity", PATHWAYS)
def test_a_document_keeps_what_was_written(identity, outputs):
    needs_all_of(identity)
    done, contents = outputs(identity)
    assert (done.failure, failed_measures(done)) == ("", set())
    assert {measure.name for measure in done.measures} == set(pathway(identity).checks)
    assert len(contents) == (len(SHEETS) if identity.endswith("csv") else 1)


def test_many_documents_are_converted_with_one_start_and_one_that_is_broken_hurts_no_other(tmp_path):
    needs_all_of("docx-odt")
    contents = [letter_docx(PARAGRAPHS[:number]) for number in (3, 5, 7)]
    done = all_converted("docx-odt", [contents[0], b"PK\3\4 broken", *contents[1:]], tmp_path)
    assert [one.accepted for one in done] == [True, False, True, True]


def test_a_signed_document_is_only_a_rendition(tmp_path):
    needs_all_of("docx-odt")
    done = converted("docx-odt", letter_docx(PARAGRAPHS[:3], **{"_xmlsignatures/sig1.xml": "<x/>"}), tmp_path)
    assert (done.accepted, done.rendition) == (True, True)


WRITE = r'''
if "--convert-to" not in args:
    sys.exit(real(*args))
ending = args[args.index("--convert-to") + 1].partition(":")[0]
sources = [word for word in args if word.startswith("in/")]
def give(number, content):
    name = sources[0].replace("in/", "out/").rpartition(".")[0]
    open(name + (f"-{number}." if ending == "csv" else ".") + ending, "wb").write(content)
good = [open(os.path.join(here, name), "rb").read() for name in sorted(os.listdir(here)) if name.startswith("good")]
def edited(part, pattern, other, count=1):
    """The document with a change in one of its parts."""
    result = "edited.zip"
    with zipfile.ZipFile(os.path.join(here, "good0")) as before, zipfile.ZipFile(result, "w") as after:
        for entry in before.infolist():
            content = before.read(entry)
            if entry.filename == part:
                text, done = re.subn(pattern, other, content.decode(), count=count, flags=re.S)
                assert done, "nothing to change"
                content = text.encode()
            after.writestr(entry, content)
    return open(result, "rb").read()
'''
PARAGRAPH = "<text:p[^>/]*>(?:(?!</text:p>).)*</text:p>"
CHANGES = {
    "docx-odt a paragraph": (rf'give(0, edited("content.xml", {PARAGRAPH!r}, ""))', "words"),
    "docx-odt a word": ('give(0, edited("content.xml", "kính gửi", "kính"))', "words"),
    "docx-odt another word": ('give(0, edited("content.xml", "báo cáo", "báo cão"))', "words"),
    "docx-odt much more": (rf'give(0, edited("content.xml", "({PARAGRAPH})", r"\1" * 40))', "words"),
    "xlsx-ods a row": (
        'give(0, edited("content.xml", "<table:table-row(?:(?!</table:table-row>).)*mục 3.*?</table:table-row>", ""))',
        "rows",
    ),
    "xlsx-ods a cell": ('give(0, edited("content.xml", "<text:p>mục 4</text:p>", "<text:p/>"))', "cells"),
    "xlsx-ods a number": ("""give(0, edited("content.xml", 'office:value="2.5"', 'office:value="2.6"'))""", "values"),
    "xlsx-ods another text": (
        'give(0, edited("content.xml", "<text:p>mục 4</text:p>", "<text:p>mục 5</text:p>"))',
        "values",
    ),
    "xlsx-ods a sheet": ('give(0, edited("content.xml", "<table:table [^>]*Chi.*?</table:table>", ""))', "sheets"),
    "xlsx-csv a sheet": ("give('Thu', good[0])", "sheets"),
    "xlsx-csv a row": (r"give('Thu', good[0].replace(good[0].splitlines(True)[3], b'')); give('Chi', good[1])", "rows"),
    "xlsx-csv a cell": ("give('Thu', good[0].replace('mục 4'.encode(), b'')); give('Chi', good[1])", "cells"),
    "xlsx-csv sheets changed about": ("give('Thu', good[1]); give('Chi', good[0])", "values"),
    "pptx-odp a slide": ('give(0, edited("content.xml", "<draw:page .*?</draw:page>", ""))', "slides"),
    "pptx-odp a text": ('give(0, edited("content.xml", "tổng kết", ""))', "words"),
}


@sampled(5)
@pytest.mark.parametrize("change", CHANGES)
def test_a_document_that_differs_is_caught(change, outputs, tmp_path):
    identity = change.partition(" ")[0]
    needs_all_of(identity)
    body, caught = CHANGES[change]
    _, contents = outputs(identity)
    tools = tool(tmp_path, "soffice", WRITE + body, **{f"good{number}": one for number, one in enumerate(contents)})
    done = converted(identity, sample(identity), tmp_path, tools)
    assert (done.failure, caught in failed_measures(done)) == ("measure-failed", True)


CLAIM = """
real("-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-dPDFA=2", "-sColorConversionStrategy=RGB",
     "-dPDFACompatibilityPolicy=1", "-sOutputFile=less.pdf", "good0", program=shutil.which("gs"))
"""
PAGES = {
    "pages": ('real("good0", "--pages", ".", "1", "--", "less.pdf", program=shutil.which("qpdf"))', {"words"}),
    "claim": (CLAIM, {"pdfa"}),
}


@pytest.mark.parametrize("change", PAGES)
@pytest.mark.parametrize("identity", ["docx-pdfa", pytest.param("pptx-pdfa", marks=pytest.mark.slow)])
def test_a_pdf_a_of_a_document_that_lacks_something_is_caught(identity, change, outputs, tmp_path):
    needs_all_of(identity)
    body, caught = PAGES[change]
    _, contents = outputs(identity)
    copied = 'shutil.copy(os.path.join(here, "good0"), "good0")\n'
    tools = tool(
        tmp_path, "soffice", f'{WRITE}{copied}{body}\ngive(0, open("less.pdf", "rb").read())', good0=contents[0]
    )
    done = converted(identity, sample(identity), tmp_path, tools)
    assert done.failure == "measure-failed"
    assert caught <= failed_measures(done)


def words(kind, content, tmp_path):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    return list(_words(_text(kind, str(path))))


def test_our_readers_find_the_same_words_in_every_kind_of_letter(tmp_path):
    expected = " ".join(PARAGRAPHS).split()
    assert words("docx", letter_docx(), tmp_path) == expected
    assert words("rtf", letter_rtf(), tmp_path) == expected
    assert words("odt", sample("odt-pdfa"), tmp_path) == expected
    needs_all_of("doc-odt")
    assert words("doc", by_office("doc"), tmp_path) == expected


def test_our_readers_find_the_same_cells_in_both_kinds_of_workbook(tmp_path):
    needs_all_of("xls-ods")
    found = {}
    for kind, content in (("xlsx", table_xlsx()), ("xls", by_office("xls"))):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(content)
        found[kind] = list(_sheets(kind, [str(path)]))
    assert [set(sheet) for sheet in found["xls"]] == [set(sheet) for sheet in found["xlsx"]]
    numbers = [{place: cell for place, cell in sheet.items() if cell[0] == "n"} for sheet in found["xlsx"]]
    assert [
        {place: sheet[place] for place in kept} for sheet, kept in zip(found["xls"], numbers, strict=True)
    ] == numbers
    assert sum(map(len, numbers)) == 17


def test_field_results_that_layout_makes_anew_are_no_words_of_the_author(tmp_path):
    fields = "<w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r>"
    fields += "<w:r><w:fldChar w:fldCharType='separate'/></w:r><w:r><w:t>17</w:t></w:r>"
    fields += "<w:r><w:fldChar w:fldCharType='end'/></w:r>"
    hidden = "<w:r><w:rPr><w:vanish/></w:rPr><w:t>ẩn</w:t></w:r><w:del><w:r><w:delText>xoá</w:delText></w:r></w:del>"
    content = letter_docx(["một</w:t></w:r>" + fields + hidden + "<w:r><w:t>hai"])
    assert words("docx", content, tmp_path) == ["mộthai"]


@pytest.mark.parametrize(
    "identity",
    ["doc-odt", *(pytest.param(one, marks=pytest.mark.slow) for one in PATHWAYS if one.partition("-")[0] != "doc")],
)
def test_noise_and_halves_are_no_documents(identity, tmp_path):
    needs_all_of(identity)
    whole = sample(identity)
    done = all_converted(identity, [whole[: len(whole) // 2], bytes(range(256)) * 20], tmp_path)
    assert [one.accepted for one in done] == [False, False]


@pytest.mark.parametrize("wrong", range(60, 160, 7))
def test_a_part_whose_packed_bytes_are_broken_is_refused_and_not_a_crash(tmp_path, wrong):
    path = tmp_path / "broken.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", " ".join(str(number**3) for number in range(4000)))
    data = bytearray(path.read_bytes())
    data[wrong : wrong + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(TaskRefusedError):
        zipped.content(str(path), "word/document.xml")
