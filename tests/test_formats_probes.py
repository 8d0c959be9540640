"""What PDF and text say of themselves: claims anywhere in the bytes, encryption, signatures, encodings."""

import random
import shutil
import subprocess
import unicodedata

import pytest
from formats_support import PDF, compound, docx, ends_only, shared_engine, small_release, zipped

from preservation.formats import pdf, text
from preservation.formats.bundles import bundle_of_files
from preservation.formats.engine import build_engine, identify
from preservation.formats.identification import ENDS, Sample
from preservation.formats.pdf import SCAN_LIMIT, PdfScan, found_in
from preservation.formats.text import text_of

XMP = (
    b'<?xpacket begin=""?><x:xmpmeta><rdf:Description xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">'
    b"<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:Description></x:xmpmeta>"
)
CLAIM = "it claims to be PDF/A, which was not checked"
DECREE = (
    "Cộng hòa xã hội chủ nghĩa Việt Nam. Độc lập - Tự do - Hạnh phúc. Quyết định của Ủy ban nhân dân tỉnh về việc giao "
    "đất ở Đồng Nai; căn cứ luật đất đai, kỳ họp, mỹ, ý, ẳ ẵ ặ ằ ỡ ợ ử ữ ỗ"
)


def long_pdf(middle=b"", size=600_000):
    noise = random.Random(3).randbytes(size // 2).replace(b"/", b".")
    picture = b"9 0 obj<</Length %d>>\nstream\n%s\nendstream endobj\n" % (len(noise), noise)
    return PDF[:9] + picture + middle + picture + PDF[9:]


def told(sample):
    answer = identify(shared_engine(), sample)
    return [puid for puid, _ in answer.formats], {basis for _, basis in answer.formats}, answer.warnings


def test_a_claim_in_the_middle_of_a_pdf_is_found_and_named_a_claim():
    assert told(Sample.of_content("a.pdf", long_pdf(XMP))) == (["fmt/477"], {"probe"}, (CLAIM,))
    assert told(Sample.of_content("a.pdf", long_pdf())) == (["fmt/18"], {"signature"}, ())


def test_a_claim_in_sight_of_the_signatures_is_their_answer():
    assert told(Sample.of_content("a.pdf", PDF[:9] + XMP + PDF[9:])) == (["fmt/477"], {"signature"}, (CLAIM,))


def test_a_claim_that_fits_no_format_is_told_all_the_same():
    puids, _, warnings = told(Sample.of_content("a.pdf", long_pdf(XMP.replace(b">B<", b">Q<"))))
    assert (puids, warnings) == (["fmt/18"], (CLAIM,))


def test_what_a_scan_found_in_pieces_makes_the_same_answer_as_the_whole_file():
    content = long_pdf(XMP, size=9 << 20)
    scan = PdfScan()
    for first in range(0, len(content), 1 << 20):
        scan.feed(memoryview(content)[first : first + (1 << 20)])
    sample = Sample.of_ends("a.pdf", len(content), content[:ENDS], content[-ENDS:], scan.found(), scan.objects())
    assert told(sample) == (["fmt/477"], {"probe"}, (CLAIM,))
    assert Sample.from_pieces(sample.extension, sample.size, sample.pieces()) == sample


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 5000, 100_000])
def test_pieces_of_any_size_find_the_same(size):
    content = b"x" * 3000 + XMP + b"y" * 20_000 + b"pdfuaid:part>1" + b"z" * 9000 + b"/ByteRange [0 1 2 3]" + b"w" * 50
    scan = PdfScan()
    for first in range(0, len(content), size):
        scan.feed(content[first : first + size])
    assert XMP in scan.found()
    assert b"pdfuaid:part>1" in scan.found()
    assert b"/ByteRange [0 1 2 3]" in scan.found()
    assert len(scan.found()) < 40_000


def test_a_pdf_of_nothing_but_claims_is_not_kept_whole():
    assert len(found_in(b"pdfaid:" * 200_000)) < 400_000


def test_what_lies_beyond_the_limit_of_a_scan_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(pdf, "SCAN_LIMIT", 1000)
    scan = PdfScan()
    scan.feed(bytes(1000))
    scan.feed(XMP)
    assert scan.found() == b""
    assert SCAN_LIMIT >= 1 << 30


@pytest.mark.parametrize(
    ("inside", "fact"),
    [
        (b"trailer<</Encrypt 5 0 R>>", "it is encrypted, wholly or in part"),
        (b"trailer<</Encrypt<</V 4>>>>", "it is encrypted, wholly or in part"),
        (b"<</Type/Sig/ByteRange [0 10 20 30]>>", "it carries electronic signatures"),
        (b"<pdfuaid:part>1</pdfuaid:part>", "it claims to be PDF/UA, which was not checked"),
    ],
)
def test_facts_of_a_pdf_are_told(inside, fact):
    assert told(Sample.of_content("a.pdf", PDF[:9] + inside + PDF[9:]))[2] == (fact,)
    assert (
        told(Sample.of_content("a.pdf", PDF[:9] + inside.replace(b"/", b"\\").replace(b":", b";") + PDF[9:]))[2] == ()
    )


def test_facts_of_containers_are_told():
    macros = docx(("word/vbaProject.bin", b"x"))
    assert told(Sample.of_content("a.docx", macros))[2] == ("it holds macros",)
    assert "it holds macros" in told(Sample.of_content("a.doc", compound(("_VBA_PROJECT", b"x"))))[2]
    assert "it is encrypted, wholly or in part" in told(Sample.of_content("a", compound(("EncryptedPackage", b"x"))))[2]
    locked = bytearray(zipped(("a.txt", b"text")))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(magic) + offset] |= 1
    assert told(Sample.of_content("a.zip", bytes(locked)))[2] == ("it is encrypted, wholly or in part",)


@pytest.mark.parametrize(
    ("encoder", "fact"),
    [
        (lambda word: text._in_tcvn3(word.lower()), "Vietnamese text in TCVN3 (ABC)"),
        (text._in_vni, "Vietnamese text in VNI"),
        (text._in_cp1258, "Vietnamese text in Windows-1258"),
        (lambda word: word.encode("utf-16"), "text in UTF-16"),
        (lambda word: b"\xfe\xff" + word.encode("utf-16-be"), "text in UTF-16"),
        (lambda word: word.encode(), None),
        (lambda word: word.encode("utf-8-sig"), None),
    ],
)
def test_vietnamese_text_is_told_with_its_encoding(encoder, fact):
    puids, basis, warnings = told(Sample.of_content("tờ trình", encoder(DECREE)))
    assert (puids, basis) == (["x-fmt/111"], {"probe"})
    assert warnings == ((fact,) if fact else ())
    puids, basis, warnings = told(Sample.of_content("bảng.csv", encoder(DECREE)))
    assert (puids, basis) == (["x-fmt/18"], {"extension"})
    assert warnings == (*((fact,) if fact else ()), "known by the extension only")


def test_the_old_encodings_are_those_of_other_programs():
    if shutil.which("iconv") is None:
        pytest.skip("iconv is not installed")
    done = subprocess.run(
        ["iconv", "-f", "TCVN", "-t", "UTF-8"], input=text._in_tcvn3(DECREE.lower()), capture_output=True, check=True
    )
    assert unicodedata.normalize("NFC", done.stdout.decode()) == DECREE.lower()
    assert unicodedata.normalize("NFC", text._in_cp1258(DECREE).decode("cp1258")) == DECREE
    assert text._in_vni("Độc lập Ưu ở ỵ") == b"\xd1o\xe4c la\xe4p \xd6u \xf4\xfb \xee"


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"plain\r\n", ""),
        ("Fichier français, été, où".encode("latin-1") * 9, "text in an encoding that is not UTF-8"),
        ("ữ".encode() * 50_000, ""),
        (b"x" + "ữ".encode() * 50_000, ""),
    ],
)
def test_other_text_is_text(content, fact):
    assert text_of(content[:ENDS], content[-ENDS:], len(content)).fact == fact


@pytest.mark.parametrize(
    "content", [b"", b"a\0b", b"\xff\xfea", b"\xff\xfe" + b"\xff\xff" * 90, bytes(range(128, 256)) * 9, b"\x01text"]
)
def test_other_bytes_are_no_text(content):
    assert text_of(content, content, len(content)) is None


def test_random_bytes_are_never_said_to_be_vietnamese():
    chance = random.Random(8)
    for _ in range(200):
        content = bytes(chance.choices(range(32, 256), k=3000))
        found = text_of(content, content, len(content))
        assert found is None or found.fact == "text in an encoding that is not UTF-8"


def test_a_bundle_without_plain_text_claims_none(tmp_path):
    droid, containers = small_release(tmp_path)
    engine = build_engine(bundle_of_files(droid, containers, tool=""))
    assert identify(engine, Sample.of_content("a", b"text")).formats == (("x-fmt/111", "probe"),)
    assert identify(engine, ends_only("a.pdf", long_pdf(XMP))).formats == (("fmt/18", "signature"),)
