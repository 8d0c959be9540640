"""What the members of ZIP and OLE2 containers tell, and what hostile containers do not achieve."""

import os
import random
import re
import struct
import xml.etree.ElementTree as ET
import zipfile

import pytest
from formats_support import CONTENT_TYPES, compound, corpora, docx, ends_only, odt, shared_engine, zipped

from preservation.formats import containers
from preservation.formats.containers import look_into
from preservation.formats.engine import identify
from preservation.formats.identification import Sample
from preservation.formats.sequences import BadSequenceError, byte_sequence, expression_of

UNREADABLE = "the container could not be read"
TOO_LARGE = "the container is larger than what was looked at"
CAPPED = "the container was not unpacked in full, to stay within limits"
WORD_97 = b"\x01\0\xfe\xff".ljust(60, b"\0") + b"\x10\0\0\0Word.Document.8\0"


@pytest.fixture(scope="module")
def engine():
    return shared_engine()


def identified(engine, name, content):
    return identify(engine, Sample.of_content(name, content))


@pytest.mark.parametrize(
    ("name", "content", "puid"),
    [
        ("a.docx", docx(), "fmt/412"),
        ("a.odt", odt(), "fmt/291"),
        ("a.doc", compound(("WordDocument", b"x"), ("\x01CompObj", WORD_97)), "fmt/40"),
    ],
)
def test_an_office_file_is_known_by_its_members(engine, name, content, puid):
    answer = identified(engine, name, content)
    assert answer.formats == ((puid, "container"),)
    assert answer.warnings == ()


def test_all_members_of_a_signature_must_be_there(engine):
    with_types_only = zipped(("[Content_Types].xml", CONTENT_TYPES.replace("wordprocessingml", "nothing")))
    assert identified(engine, "a.zip", with_types_only).formats == (("x-fmt/263", "signature"),)
    without_document = compound(("\x01CompObj", WORD_97))
    assert identified(engine, "a.doc", without_document).formats == (("fmt/111", "signature"),)


def test_a_plain_zip_is_a_zip(engine):
    answer = identified(engine, "a.zip", zipped(("a.txt", "text")))
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert answer.warnings == ()


def test_a_broken_container_keeps_the_answer_of_its_signature_and_says_so(engine):
    answer = identified(engine, "a.zip", zipped(("a.txt", "text")).replace(b"PK\x01\x02", b"PK\x01\x07"))
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert UNREADABLE in answer.warnings


def test_a_large_office_file_is_known_by_what_its_two_ends_show(engine):
    picture = random.Random(2).randbytes(3 << 20)
    content = docx(("word/media/picture.png", picture))
    answer = identify(engine, ends_only("a.docx", content))
    assert answer.formats == (("fmt/412", "container"),)
    assert answer.warnings == ()


def test_a_member_between_the_two_ends_is_said_to_be_out_of_sight(engine):
    picture = random.Random(2).randbytes(1 << 20)
    content = zipped(("p1.bin", picture), ("[Content_Types].xml", CONTENT_TYPES), ("p2.bin", picture))
    answer = identify(engine, ends_only("a.zip", content))
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert answer.warnings == (TOO_LARGE,)


def test_a_zip_bomb_is_unpacked_no_further_than_the_limit(engine, monkeypatch):
    bomb = zipped(("[Content_Types].xml", bytes(200 << 20)))
    assert len(bomb) < 1 << 20
    answer = identified(engine, "a.docx", bomb)
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert CAPPED in answer.warnings
    monkeypatch.setattr(containers, "TOTAL_LIMIT", 100)
    two = zipped(("[Content_Types].xml", CONTENT_TYPES), ("mimetype", "x"), ("content.xml", "y"))
    assert CAPPED in look_into(engine.containers, Sample.of_content("a.zip", two)).warnings


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_whole_blocks_at_once_are_not_unpacked(engine, method):
    answer = identified(engine, "a.docx", zipped(("[Content_Types].xml", bytes(50 << 20)), method=method))
    assert CAPPED in answer.warnings


def test_a_container_with_a_crowd_of_members_is_not_opened(engine):
    crowd = zipped(*((str(number), b"") for number in range(20_001)))
    answer = identified(engine, "a.zip", crowd)
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert CAPPED in answer.warnings


def test_an_encrypted_member_is_not_read(engine):
    content = bytearray(docx())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    answer = identified(engine, "a.docx", bytes(content))
    assert answer.formats == (("x-fmt/263", "signature"),)
    assert CAPPED in answer.warnings


@pytest.mark.parametrize("offset", [44, 60, 64, 68, 72])
@pytest.mark.parametrize("value", [0xFFFFFFFE, 0x7FFFFFFF, 5000, 0])
def test_an_ole_header_that_lies_does_no_harm(engine, offset, value):
    content = bytearray(compound(("WordDocument", b"x"), ("\x01CompObj", WORD_97)))
    struct.pack_into("<I", content, offset, value)
    answer = identified(engine, "a.doc", bytes(content))
    assert answer.formats[0][0] in ("fmt/40", "fmt/111")


def test_an_ole_stream_that_claims_to_be_enormous_is_not_believed(engine):
    content = compound(("WordDocument", b"x"), ("\x01CompObj", WORD_97), declared=0xFFFFFFF0)
    answer = identified(engine, "a.doc", content)
    assert answer.formats == (("fmt/609", "container"),)
    assert answer.warnings == (UNREADABLE,)


def test_an_ole_stream_that_runs_in_a_circle_ends(engine):
    content = bytearray(compound(("WordDocument", b"x" * 4096), ("\x01CompObj", WORD_97)))
    struct.pack_into("<I", content, 512 + 4 * 5, 2)
    identified(engine, "a.doc", bytes(content))


def test_no_mutant_of_a_container_brings_the_engine_down(engine):
    chance = random.Random(4)
    sources = [docx(), odt(), compound(("WordDocument", b"x"), ("\x01CompObj", WORD_97)), compound()]
    for _ in range(250):
        content = bytearray(chance.choice(sources))
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(8, len(content))] = chance.randrange(256)
        cut = len(content) if chance.random() < 0.7 else chance.randrange(8, len(content))
        answer = identified(engine, "a.bin", bytes(content[:cut]))
        assert {basis for _, basis in answer.formats} <= {"container", "signature", "extension"}


def test_real_containers_are_told_exactly_where_their_signature_is_known(engine):
    folder = corpora("skeletons", "containers")
    known = {
        (signature.name, puid)
        for signatures in engine.containers.values()
        for signature in signatures
        for puid in signature.puids
    }
    known_puids = {puid for _, puid in known}
    exact = wrong = 0
    for path in sorted(folder.iterdir()):
        name = re.match(r"(x-fmt|fmt)-(\d+)-container-signature", path.name)
        expected = name and f"{name[1]}/{name[2]}"
        if expected not in known_puids:
            continue
        answer = identified(engine, path.name, path.read_bytes())
        if answer.formats == ((expected, "container"),):
            exact += 1
        else:
            wrong += 1
    assert (exact, wrong) == (174, 6)


def test_each_signature_of_the_installed_file_is_read(engine):
    assert {kind: len(signatures) for kind, signatures in engine.containers.items()} == {"ZIP": 77, "OLE2": 103}
    assert all(signature.puids and signature.entries for kind in engine.containers.values() for signature in kind)


@pytest.mark.parametrize(
    ("notation", "fits", "does_not"),
    [
        ("10 00 'Word' [36-37] 00", b"\x10\0Word6\0", b"\x10\0Word8\0"),
        ("['6'-'7']", b"7", b"8"),
        ("[22 27]", b"'", b"`"),
        ("[&80]", b"\x81", b"\x7f"),
        ("[~81]", b"\x01", b"\x7e"),
        ("[!00]", b"\x01", b"\x00"),
        ("[41:43]", b"C", b"D"),
        ("'a.b'", b"a.b", b"axb"),
        ("41{2}42", b"A..B", b"A.B"),
        ("41{1-2}42", b"A..B", b"A...B"),
        ("41{2-*}42", b"A....B", b"A.B"),
        ("41*42", b"A\n\nB", b"A"),
        ("41??42", b"A\nB", b"AB"),
        ("(41|42)43", b"BC", b"CC"),
        ("[4142:4344]", b"B\0", b"CE"),
        ("[4142:4344]", b"AB", b"AA"),
        ("[00FF:0100]", b"\1\0", b"\1\1"),
        ("[!4142:4344]", b"CE", b"BZ"),
        ("[!4142]", b"AC", b"AB"),
        ("[!&80]", b"\x7f", b"\x80"),
    ],
)
def test_the_notation_of_the_signature_file_means_what_pronom_says(notation, fits, does_not):
    expression = re.compile(b"(?s)" + expression_of(notation))
    assert expression.fullmatch(fits)
    assert not expression.fullmatch(does_not)


@pytest.mark.parametrize(
    "notation", ["4", "zz", "[", "[]", "[4142:43]", "['ab']", "[41:42:43]", "'open", "{x}", "[4z]"]
)
def test_a_notation_that_is_not_known_is_refused(notation):
    with pytest.raises(BadSequenceError):
        expression_of(notation)


def sequence(text):
    return byte_sequence(ET.fromstring(text))


def test_offsets_count_from_the_start_from_the_end_or_from_the_part_before():
    start = sequence(
        '<ByteSequence Reference="BOFoffset">'
        '<SubSequence Position="2" SubSeqMinOffset="1"><Sequence>42</Sequence></SubSequence>'
        '<SubSequence Position="1" SubSeqMinOffset="2" SubSeqMaxOffset="0"><Sequence>41</Sequence></SubSequence>'
        "</ByteSequence>"
    )
    assert start.fits(b"..A......B.")
    assert not start.fits(b"...A.....B.")
    assert not start.fits(b"..AB")
    end = sequence(
        '<ByteSequence Reference="EOFoffset">'
        '<SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="2"><Sequence>41</Sequence></SubSequence>'
        "</ByteSequence>"
    )
    assert end.at_end
    assert end.fits(b"......A..")
    assert not end.fits(b"......A...")
    assert sequence("<ByteSequence><SubSequence><Sequence>41</Sequence></SubSequence></ByteSequence>").fits(b"...A...")


def test_fragments_stand_on_their_side_of_the_sequence():
    both_sides = sequence(
        '<ByteSequence Reference="BOFoffset"><SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0">'
        "<Sequence>42</Sequence>"
        '<LeftFragment Position="1" MinOffset="1" MaxOffset="1">41</LeftFragment>'
        '<RightFragment Position="1" MinOffset="0" MaxOffset="1">43</RightFragment>'
        '<RightFragment Position="1" MinOffset="0" MaxOffset="0">44</RightFragment>'
        "</SubSequence></ByteSequence>"
    )
    assert both_sides.fits(b"A.B.C")
    assert both_sides.fits(b"A.BD")
    assert not both_sides.fits(b"A.B.D")
    assert not both_sides.fits(b"AB.C")
    with pytest.raises(BadSequenceError, match="reference"):
        sequence('<ByteSequence Reference="Sideways"><SubSequence><Sequence>41</Sequence></SubSequence></ByteSequence>')
    with pytest.raises(BadSequenceError, match="without parts"):
        sequence('<ByteSequence Reference="BOFoffset"/>')


def test_nothing_of_a_container_is_written_to_the_disk(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    identified(engine, "a.docx", docx())
    assert os.listdir(tmp_path) == []
