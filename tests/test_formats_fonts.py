"""Whether the fonts of a PDF are in it: every kind of font and place, packed objects, updates, and hostile files."""

import random
import shutil
import subprocess
import time
import zlib
from pathlib import Path

import pytest
from cli_support import FONDS, archive
from formats_support import corpora, shared_engine

from preservation.formats import pdf_objects
from preservation.formats.engine import identify
from preservation.formats.files import Place, sample_of
from preservation.formats.identification import ENDS, FONTS_NOT_EMBEDDED, FONTS_UNKNOWN, Sample
from preservation.formats.pdf import PdfScan
from preservation.formats.pdf_fonts import fonts_of
from preservation.formats.pdf_objects import ObjectScan, objects_in

STANDARD = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
DRAWN = b"<</Type/Font/Subtype/Type3/CharProcs<</a 90 0 R>>/FontMatrix[1 0 0 1 0 0]>>"
LETTERS = b"<</Length 3>>\nstream\nabc\nendstream"
HEAD, TAIL = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n", b"trailer<</Root 1 0 R/Size 99>>\nstartxref\n0\n%%EOF\n"


def described(file=b"/FontFile2 90 0 R", kind=b"TrueType"):
    """A font with a description, and what else it needs."""
    return {
        8: b"<</Type/Font/Subtype/%s/BaseFont/A/FontDescriptor 9 0 R>>" % kind,
        9: b"<</Type/FontDescriptor/FontName/A%s>>" % file,
        90: LETTERS,
    }


def composed(file=b"/FontFile2 90 0 R"):
    """A font of several parts, as Vietnamese texts have them."""
    return {**described(file, b"CIDFontType2"), 7: b"<</Type/Font/Subtype/Type0/DescendantFonts[8 0 R]>>"}


def document(objects, resources=b"<</Font<</F 8 0 R>>>>", page=b""):
    """The objects of a document of one page."""
    return {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources %s%s>>" % (resources, page),
        **objects,
    }


def written(objects):
    return b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, body) for number, body in objects.items())


def paper(objects, resources=b"<</Font<</F 8 0 R>>>>", page=b""):
    return HEAD + written(document(objects, resources, page)) + TAIL


def packed(objects, number=50, *, squeeze=zlib.compress, more=b"/Filter/FlateDecode"):
    """An object stream with these objects."""
    bodies = list(objects.values())
    places = [sum(len(one) + 1 for one in bodies[:count]) for count in range(len(bodies))]
    index = b" ".join(b"%d %d" % pair for pair in zip(objects, places, strict=True)) + b" "
    data = squeeze(index + b" ".join(bodies))
    head = b"<</Type/ObjStm/N %d/First %d/Length %d%s>>" % (len(bodies), len(index), len(data), more)
    return b"%d 0 obj\n%s\nstream\n%s\nendstream\nendobj\n" % (number, head, data)


def packed_paper(objects, **more):
    inside = {number: body for number, body in document(objects).items() if b"stream" not in body}
    outside = {number: body for number, body in objects.items() if b"stream" in body}
    return HEAD + written(outside) + packed(inside, **more) + TAIL


def told(content):
    return fonts_of(objects_in(content))


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        ({8: STANDARD}, "not embedded"),
        ({8: DRAWN, 90: LETTERS}, "embedded"),
        (described(), "embedded"),
        (described(b"/FontFile 90 0 R", b"Type1"), "embedded"),
        (described(b"/FontFile3 90 0 R", b"MMType1"), "embedded"),
        (described(b""), "not embedded"),
        (described(b"/FontFile2 null"), "not embedded"),
        (described(b"/FontFile2 91 0 R"), "unknown"),
        (described(b"/FontFile2(text)"), "unknown"),
        ({8: b"<</Type/Font/Subtype/TrueType/FontDescriptor 9 0 R>>"}, "unknown"),
        ({8: b"<</Type/Font/Subtype/TrueType/FontDescriptor null>>"}, "not embedded"),
        ({8: b"<</Type/Font>>"}, "unknown"),
        ({8: b"[1 2]"}, "unknown"),
        ({}, "unknown"),
        ({8: b"<</Type/Font/Subtype/Type0/DescendantFonts[]>>"}, "unknown"),
        ({8: b"<</Type/F#6Fnt/Subtype/Type#31/BaseFont/Helvetica>>"}, "not embedded"),
        ({8: b"<</Note(a \\) (b) /Subtype/Type3)/Hex<2f>/Subtype % a note >>\r/Type1>>"}, "not embedded"),
    ],
)
def test_each_kind_of_font_is_told(objects, answer):
    assert told(paper(objects)) == answer
    if b"null" not in b"".join(objects.values()):
        assert told(packed_paper(objects)) == answer


@pytest.mark.parametrize(("file", "answer"), [(b"/FontFile2 90 0 R", "embedded"), (b"", "not embedded")])
def test_a_composed_font_is_what_its_parts_are(file, answer):
    assert told(paper(composed(file), b"<</Font<</F 7 0 R>>>>")) == answer


FORM = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</Font<</F 8 0 R>>>>/Length 0>>\nstream\n\nendstream"


@pytest.mark.parametrize(
    ("resources", "page", "more"),
    [
        (b"4 0 R", b"", {4: b"<</Font 5 0 R>>", 5: b"<</F 8 0 R>>"}),
        (b"<</XObject<</X 4 0 R>>>>", b"", {4: FORM}),
        (b"<</Pattern<</P 4 0 R>>>>", b"", {4: FORM.replace(b"/Subtype/Form", b"/PatternType 1")}),
        (b"<</ExtGState<</G<</Font[8 0 R 12]>>>>>>", b"", {}),
        (b"<</ExtGState<</G 4 0 R>>>>", b"", {4: b"<</SMask<</S/Alpha/G 5 0 R>>>>", 5: FORM}),
        (b"<<>>", b"/Annots[4 0 R]", {4: b"<</Subtype/Stamp/AP<</N 5 0 R>>>>", 5: FORM}),
        (b"<<>>", b"/Annots 6 0 R", {6: b"[4 0 R]", 4: b"<</AP<</D<</On 5 0 R/Off 5 0 R>>>>>>", 5: FORM}),
        (
            b"<</Font<</T 4 0 R>>>>",
            b"",
            {4: DRAWN.replace(b"/CharProcs", b"/Resources<</Font<</F 8 0 R>>>>/CharProcs"), 90: LETTERS},
        ),
    ],
    ids=["by reference", "form", "pattern", "graphics state", "mask", "stamp", "button", "inside a drawn font"],
)
def test_a_font_is_found_wherever_pages_can_use_it(resources, page, more):
    assert told(paper({**more, 8: STANDARD}, resources, page)) == "not embedded"
    assert told(paper({**described(), **more}, resources, page)) == "embedded"
    assert told(paper(more, resources, page)) == "unknown"


def test_resources_are_inherited_from_the_pages_above():
    objects = document({8: STANDARD})
    objects[3] = b"<</Type/Page/Parent 4 0 R>>"
    objects[4] = b"<</Type/Pages/Parent 2 0 R/Kids[3 0 R]>>"
    objects[2] = b"<</Type/Pages/Kids[4 0 R]/Resources<</Font<</F 8 0 R>>>>>>"
    assert told(HEAD + written(objects) + TAIL) == "not embedded"


def test_a_page_without_fonts_lacks_none():
    assert told(paper({}, b"<<>>")) == "embedded"
    assert told(paper({8: STANDARD}, b"<</ProcSet[/PDF]>>")) == "embedded"  # nothing names it


def test_of_an_object_that_was_changed_the_last_one_counts():
    better, worse = written(described()), written({8: STANDARD})
    whole = paper(described())
    assert told(whole + worse + TAIL) == "not embedded"
    assert told(paper({8: STANDARD}) + better + TAIL) == "embedded"
    assert told(packed_paper({8: STANDARD}) + packed({8: described()[8]}, 51) + better + TAIL) == "embedded"
    assert told(packed_paper(described()) + packed({8: STANDARD}, 51) + TAIL) == "not embedded"


def stream(data, length):
    return b"<</Length %s>>\nstream\n%s\nendstream" % (length, data)


def test_what_stands_inside_a_stream_is_no_object():
    """An attachment may be a PDF itself, with the word that ends streams in it."""
    inner = written(document({8: STANDARD}))
    data = b"x\nendstream\nendobj\n" + inner
    content = paper({**described(), 60: stream(data, b"%d" % len(data))})
    assert told(content) == "embedded"
    assert b"Helvetica" not in objects_in(content)


@pytest.mark.parametrize("length", [b"1", b"2000", b"999999999999", b"2000000", b"61 0 R", b"-7", b"x"])
def test_a_stream_that_is_wrong_about_its_length_hides_nothing(length):
    objects = {60: stream(b"data", length), 61: b"4", 8: STANDARD}
    assert told(paper(objects)) in {"not embedded", "unknown"}
    if len(length) < 7:
        assert told(paper(objects)) == "not embedded"
    assert told(paper({**objects, **described()})) in {"embedded", "unknown"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 23, 24, 25, 100, 4096])
def test_pieces_of_any_size_give_the_same_objects(size):
    data = b"x\nendstream\nendobj\n" + bytes(range(256)) * 2
    content = paper({**described(), 60: stream(data, b"%d" % len(data)), 61: stream(data, b"7"), 62: LETTERS})
    content += packed({70: b"<<>>", 71: STANDARD}).replace(b"stream\n", b"stream\r\n", 1)
    scan = ObjectScan()
    for first in range(0, len(content), size):
        scan.feed(content[first : first + size])
    assert scan.found() == objects_in(content)
    assert told(content) == "embedded"


def test_a_long_stream_is_passed_by_its_length_in_pieces():
    data = random.Random(5).randbytes(3 << 20) + b"endstream endobj 8 0 obj " + STANDARD
    for length, answer in ((len(data), "embedded"), (len(data) - (1 << 20), "unknown")):
        content = paper({60: stream(data, b"%d" % length), **described()})
        scan = ObjectScan()
        for first in range(0, len(content), 1 << 18):
            scan.feed(memoryview(content)[first : first + (1 << 18)])
        assert fonts_of(scan.found()) == answer


def test_a_file_that_breaks_off_is_never_said_to_have_its_fonts():
    for content in (paper({8: STANDARD}), packed_paper({8: STANDARD})):
        answers = {told(content[:length]) for length in range(len(content))}
        assert answers <= {"unknown", "not embedded"}


def test_a_byte_that_is_changed_in_what_is_packed_is_noticed():
    content = packed_paper({8: STANDARD})
    first, last = content.index(b"stream\n") + 7, content.index(b"\nendstream")
    for place in range(first, last):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        assert told(bytes(broken)) in {"unknown", "not embedded"}, place


HOSTILE = {
    "no pages": HEAD + b"1 0 obj<</Type/Catalog>>endobj " + TAIL,
    "no end": HEAD + b"1 0 obj<</Pages",
    "root is nowhere": HEAD + TAIL,
    "pages in a circle": HEAD + written({**document({}), 3: b"<</Kids[2 0 R 3 0 R 9 0 R]>>"}) + TAIL,
    "references in a circle": paper({8: b"8 0 R"}),
    "deep": paper({8: b"[" * 100_000}),
    "deep dictionaries": paper({8: b"<</A" * 100_000}),
    "open text": paper({8: b"<</A(" + b"(" * 200_000}),
    "many values": paper({8: b"[" + b"0 " * 2_000_000 + b"]"}),
    "many objects": HEAD + b"".join(b"%d 0 obj " % number for number in range(600_000)) + TAIL,
    "many streams": HEAD + b">>stream\nendstream " * 400_000,
    "many kids": HEAD + written({**document({}), 2: b"<</Kids[%s]>>" % (b"<</Kids[]>>" * 300_000)}) + TAIL,
    "a bomb": packed_paper({8: b" " * (20 << 20) + STANDARD}),
    "many bombs": HEAD
    + b"".join(packed({number: b" " * (2 << 20)}, number) for number in range(100, 140))
    + written(document({8: STANDARD}))
    + TAIL,
    "counted wrong": packed_paper({8: STANDARD}).replace(b"/N 4", b"/N 4000000000"),
    "begins elsewhere": packed_paper({8: STANDARD}).replace(b"/First ", b"/First 99999999"),
    "other packing": packed_paper({8: STANDARD}, more=b"/Filter/LZWDecode"),
    "predicted": packed_paper({8: STANDARD}, more=b"/Filter/FlateDecode/DecodeParms<</Predictor 12>>"),
    "encrypted": packed_paper({8: STANDARD}, squeeze=lambda data: bytes(byte ^ 0x55 for byte in data)),
    "digits": paper({8: b"9" * 3_000_000 + b" 0 R"}),
    "blanks": paper({8: b" " * 3_000_000 + b"%" * 3_000_000}),
    "kept too much": paper({8: b"<<" + b"/A 1" * 3_000_000 + b">>"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_told_soon_and_never_said_to_have_their_fonts(name):
    began = time.process_time()
    assert told(HOSTILE[name]) == "unknown"
    assert time.process_time() - began < 2.5


def notes(sample):
    found = identify(shared_engine(), sample).warnings
    return [one for one in found if one in {FONTS_NOT_EMBEDDED, FONTS_UNKNOWN}]


@pytest.mark.parametrize("size", [0, ENDS, 33 << 20], ids=["small", "middling", "large"])
def test_identification_says_it_of_files_of_every_size(size, tmp_path):
    """What a scan in pieces has kept travels to the worker with the two ends."""
    picture = {60: stream(bytes(size), b"%d" % size)}
    for objects, expected in (
        ({8: STANDARD}, [FONTS_NOT_EMBEDDED]),
        (described(), []),
        ({}, [FONTS_UNKNOWN]),
    ):
        path = tmp_path / "a.pdf"
        path.write_bytes(paper({**picture, **objects}))
        sample = sample_of(Place(str(path), given=True))
        assert isinstance(sample, Sample)
        assert (sample.whole is None) == (size != ENDS)
        assert notes(sample) == expected
        again = Sample.from_pieces(sample.extension, sample.size, sample.pieces())
        assert again == sample
        assert notes(again) == expected


def test_ingest_and_reidentification_say_it_of_a_large_file(tmp_path):
    made = archive(tmp_path)
    picture = {60: stream(bytes(9 << 20), b"%d" % (9 << 20))}
    files = {"a.pdf": paper({**picture, 8: STANDARD}), "b.pdf": paper({**picture, **described()})}
    package = made.json("ingest", made.submission(files), "--fonds", FONDS)["package"]
    for _ in range(2):
        found = {one["path"]: one for one in made.json("show", package)["files"]}
        assert [FONTS_NOT_EMBEDDED] == found["a.pdf"]["warnings"]
        assert [] == found["b.pdf"].get("warnings", [])
        assert not any("before" in one for one in found.values())
        assert 2 == made.json("formats", "reidentify", "--again")["looked"]
    (risk,) = made.json("formats", "risk", "--all")["risks"]
    assert {"fonts-not-embedded": 1} == {one["code"]: one["files"] for one in risk["evidence"] if one["files"]}


def test_a_file_of_which_only_the_ends_are_known_is_not_said_to_have_its_fonts():
    content = paper({60: stream(bytes(9 << 20), b"%d" % (9 << 20)), **described()})
    assert notes(Sample.of_ends("a.pdf", len(content), content[:ENDS], content[-ENDS:])) == [FONTS_UNKNOWN]


def test_beyond_the_limit_of_a_scan_nothing_is_known(monkeypatch):
    monkeypatch.setattr("preservation.formats.pdf.SCAN_LIMIT", 1000)
    content = paper(described())
    scan = PdfScan()
    scan.feed(content.ljust(1000))
    assert fonts_of(scan.objects()) == "embedded"
    scan.feed(b" ")
    assert scan.objects() == b""
    assert pdf_objects.KEPT < 1 << 24


def by_poppler(path):
    """What pdffonts says; None if it cannot read the file."""
    done = subprocess.run(["pdffonts", path], capture_output=True, check=False)
    if done.returncode:
        return None
    rows = [line.split() for line in done.stdout.decode("utf-8", "replace").splitlines()[2:] if line.strip()]
    return "embedded" if all(row[-5] == "yes" for row in rows) else "not embedded"


@pytest.mark.parametrize("program", ["qpdf", "gs"])
def test_what_other_programs_write_is_read_as_poppler_reads_it(program, tmp_path):
    for needed in (program, "pdffonts"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    (tmp_path / "a.pdf").write_bytes(
        paper({8: STANDARD, 60: stream(b"BT /F 9 Tf (abc) Tj ET", b"22")}, page=b"/Contents 60 0 R")
    )
    made = str(tmp_path / "b.pdf")
    command = {
        "qpdf": ["qpdf", "--warning-exit-0", "--object-streams=generate", str(tmp_path / "a.pdf"), made],
        "gs": ["gs", "-q", "-sDEVICE=pdfwrite", "-dPDFSETTINGS=/prepress", "-o", made, str(tmp_path / "a.pdf")],
    }[program]
    subprocess.run(command, check=True, capture_output=True)
    expected = {"qpdf": "not embedded", "gs": "embedded"}[program]
    assert (told(Path(made).read_bytes()), by_poppler(made)) == (expected, expected)


@pytest.mark.corpora
def test_poppler_never_says_the_contrary_of_the_real_files():
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts is not installed")
    answers = {"embedded": 0, "not embedded": 0, "unknown": 0}
    unsaid = 0
    for path in sorted(corpora().rglob("*.pdf")):
        answer, other = told(path.read_bytes()), by_poppler(str(path))
        if other is None:
            continue
        assert answer in {other, "unknown"}, path
        answers[answer] += 1
        unsaid += answer == "unknown"
    assert answers["embedded"] >= 20
    assert answers["not embedded"] >= 50
    assert unsaid <= 4
