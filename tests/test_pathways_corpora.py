"""Pathways on real files of others: what is converted whole, and what is refused for a reason."""

import pytest
from formats_support import corpora
from pathways_support import converted, failed_measures, needs_all_of

WHOLE = [
    ("doc-pdfa", "lorem-ipsum.doc"),
    ("doc-odt", "lorem-ipsum.doc"),
    ("rtf-odt", "testRTF.rtf"),
    ("rtf-pdfa", "Neddy_Flyer_README_HeatherRyan.md.rtf"),
    ("odt-pdfa", "lorem-ipsum.oo3.2.odt"),
    ("docx-pdfa", "PDF-Sample-Document-Fully-Featured-Layout.docx"),
    ("xls-ods", "MonteCarlo.xls"),
    ("xls-csv", "MonteCarlo.xls"),
    ("ppt-odp", "unc-+oxford2001.ppt"),
    ("ppt-pdfa", "unc-+oxford2001.ppt"),
    ("pdf-pdfa", "text_only_fontsNotEmbedded.pdf"),
    ("pdf-pdfa", "javascript.pdf"),
]
REFUSED = [
    ("pdf-pdfa", "fileAttachment.pdf", {"pdfa"}),
    ("pdf-pdfa", "externalLink.pdf", {"pdfa"}),
    ("pdf-pdfa", "webCapture.pdf", {"links", "rendering"}),
    ("pdf-pdfa", "calistoMTNoFontsEmbedded.pdf", {"rendering"}),
]


def real(name):
    found = sorted(corpora("format-corpus").rglob(name))
    if not found:
        pytest.skip(f"the corpora have no {name}")
    return found[0].read_bytes()


@pytest.mark.slow
@pytest.mark.corpora
@pytest.mark.parametrize(("identity", "name"), WHOLE)
def test_a_real_file_is_converted_whole(identity, name, tmp_path):
    needs_all_of(identity)
    done = converted(identity, real(name), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())


@pytest.mark.slow
@pytest.mark.corpora
@pytest.mark.parametrize(("identity", "name", "because"), REFUSED)
def test_a_real_file_that_would_lose_something_is_refused(identity, name, because, tmp_path):
    needs_all_of(identity)
    done = converted(identity, real(name), tmp_path)
    assert (done.failure, failed_measures(done)) == ("measure-failed", because)
