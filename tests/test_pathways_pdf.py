"""PDF becomes PDF/A-2b: a claim that is looked into, and the same pages, letters and pictures."""

import pytest
from pathways_support import converted, failed_measures, needs_all_of, paper_pdf, pathway, puids_of, signed_pdf, tool
from sizes import sampled


@pytest.fixture(autouse=True)
def _programs():
    needs_all_of("pdf-pdfa")


def test_a_pdf_becomes_pdf_a_with_output_intent_and_fonts(tmp_path):
    done = converted("pdf-pdfa", paper_pdf(), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    assert {measure.name for measure in done.measures} == set(pathway("pdf-pdfa").checks)
    assert puids_of(done.output) == ("fmt/477",)
    assert not done.rendition


FONTS = """
never = "<</NeverEmbed [/Helvetica /NimbusSans-Regular]>> setdistillerparams"
real("-dEmbedAllFonts=false", "-dPDFACompatibilityPolicy=0", "-c", never, "-f", *args)
"""


@sampled(3)
@pytest.mark.parametrize(
    ("change", "caught"),
    [
        ('real("-dLastPage=1", *args)', {"pages"}),
        ('real(*[one for one in args if one != "PDFA_def.ps"])', {"pdfa"}),
        (FONTS, None),
        ('real(*args[:-2], "-c", "<</PageOffset [2 0]>> setpagedevice", "-f", *args[-2:])', {"rendering"}),
        ('real(*args[:-1], os.path.join(here, "other.pdf"))', {"text", "rendering"}),
        ('real(*args[:-1], os.path.join(here, "paler.pdf"))', {"rendering"}),
        ('real(*args[:-1], os.path.join(here, "swapped.pdf"))', {"text"}),
        ('real("-dPDFA=1", *[one for one in args if one != "-dPDFA=2"])', None),
    ],
    ids=[
        "a page less",
        "no output intent",
        "no fonts",
        "shifted",
        "a line less",
        "a picture less",
        "pages swapped",
        "another PDF/A",
    ],
)
def test_a_pdf_that_differs_is_caught(change, caught, tmp_path):
    whole = paper_pdf()
    first, second = b"(Page 1 of", b"(Page 2 of"
    files = {
        "other.pdf": whole.replace(b"(Page 2 of a report, line 11)", b"(                           )"),
        "paler.pdf": whole.replace(b"60 100 200 120 re f", b"60 100 200 120 re n"),
        "swapped.pdf": whole.replace(first, b"(Page X of").replace(second, first).replace(b"(Page X of", second),
    }
    tools = tool(tmp_path, "gs", change, **files)
    done = converted("pdf-pdfa", whole, tmp_path, tools)
    assert not done.accepted
    assert done.output is None
    if caught:
        assert caught <= failed_measures(done)


def test_what_comes_of_a_signed_pdf_is_only_a_rendition(tmp_path):
    done = converted("pdf-pdfa", signed_pdf(), tmp_path)
    assert done.rendition
    assert done.failure in ("", "measure-failed")


def test_a_pdf_with_an_attachment_is_refused(tmp_path):
    extra = b"<</Type/Filespec/F(a.txt)/EF<</F 50 0 R>>>>"
    done = converted("pdf-pdfa", paper_pdf(1, extra, b"/Names<</EmbeddedFiles<</Names[(a.txt) 100 0 R]>>>>"), tmp_path)
    assert done.failure == "measure-failed"
    assert failed_measures(done) & {"pdfa", "attachments"}


@sampled(2)
@pytest.mark.parametrize("content", [b"", b"%PDF-1.4\n%%EOF\n", paper_pdf()[:400], b"%!PS\nshowpage\n"])
def test_what_is_no_pdf_gives_none(content, tmp_path):
    done = converted("pdf-pdfa", content, tmp_path)
    assert not done.accepted


def test_postscript_cannot_read_other_files(tmp_path):
    """A program in place of a document may not write what it finds elsewhere into the output."""
    secret = tmp_path / "secret.txt"
    secret.write_text("mat khau")
    program = b"%!PS\n(" + str(secret).encode() + b") (r) file 100 string readstring pop = showpage\n"
    assert not converted("pdf-pdfa", program, tmp_path).accepted
