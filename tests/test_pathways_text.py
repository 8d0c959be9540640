"""TCVN3 and VNI become UTF-8, letter by letter, and back to the same bytes; anything else is refused."""

import subprocess

import pytest
from pathways_support import converted, failed_measures, pathway

from preservation.migration.conversion import Room, Staged
from preservation.migration.pathway import Limits, sandbox
from preservation.migration.pathways import text
from preservation.migration.vietnamese import WrongEncodingError, decode, encode, is_syllable

POEM = "Trăm năm trong cõi người ta,\r\nChữ tài chữ mệnh khéo là ghét nhau.\r\nTrải qua một cuộc bể dâu,\r\n"
WORDS = ("nghiêng", "người", "uỷ", "Quốc", "gì", "giường", "khuya", "thuở", "xoong", "đã", "ấy", "ở", "yêu")
NO_WORDS = ("ắốt", "strề", "hàngó", "èè", "bôgh", "ửw", "đđ")
CAPITALS = "CỘNG HOÀ XÃ HỘI CHỦ NGHĨA VIỆT NAM, Độc lập - Tự do - Hạnh phúc, Ỵ Ị Ĩ Ử Ẵ\n"


@pytest.mark.parametrize("encoding", ["tcvn3", "vni"])
def test_a_text_becomes_utf_8_and_every_measure_is_taken(encoding, tmp_path):
    done = converted(f"{encoding}-utf8", encode(POEM, encoding), tmp_path)
    assert (done.accepted, failed_measures(done)) == (True, set())
    assert {measure.name for measure in done.measures} == set(pathway(f"{encoding}-utf8").checks)
    with open(done.output, encoding="utf-8", newline="") as file:
        assert file.read() == POEM


def test_each_letter_of_tcvn3_is_what_the_c_library_says():
    mapped = 0
    for byte in range(0xA1, 0x100):
        content = bytes([byte])
        try:
            ours = decode(content, "tcvn3")
        except WrongEncodingError:
            continue
        theirs = subprocess.run(
            ["iconv", "-f", "TCVN5712-1", "-t", "UTF-8"], input=content, capture_output=True, check=True
        )
        assert theirs.stdout.decode() == ours, hex(byte)
        mapped += 1
    assert mapped == 79


def test_vni_writes_what_its_fonts_show():
    shown = {
        "Việt Nam": b"Vie\xe4t Nam",
        "Độc lập": b"\xd1o\xe4c la\xe4p",
        "Tự do": b"T\xf6\xef do",
        "HẠNH PHÚC": b"HA\xcfNH PHU\xd9C",
        "người ở ghế": b"ng\xf6\xf4\xf8i \xf4\xfb ghe\xe1",
        "ắt ẵm lỵ kỹ": b"a\xe9t a\xfcm l\xee ky\xf5",
    }
    assert {text: encode(text, "vni") for text in shown} == shown
    assert [decode(content, "vni") for content in shown.values()] == list(shown)


@pytest.mark.parametrize("encoding", ["tcvn3", "vni"])
def test_every_letter_that_is_read_is_written_back(encoding):
    letters = "àảãáạăằẳẵắặâầẩẫấậèẻẽéẹêềểễếệìỉĩíịòỏõóọôồổỗốộơờởỡớợùủũúụưừửữứựỳỷỹýỵđ“”"
    assert decode(encode(letters, encoding), encoding) == letters
    capitals = letters.upper() if encoding == "vni" else "ĂÂÊÔƠƯĐ"
    assert decode(encode(capitals, encoding), encoding) == capitals
    assert decode(encode(CAPITALS, "vni"), "vni") == CAPITALS


def test_a_capital_that_tcvn3_does_not_have_is_not_made_up():
    with pytest.raises(WrongEncodingError):
        encode("Ộ", "tcvn3")


@pytest.mark.parametrize(
    "content",
    [b"", b"plain ascii\n", POEM.encode(), "Ωmega".encode("cp1253"), b"\xaf\xba\xbf", b"\0\1\2\xa1\xff"],
    ids=["empty", "ascii", "utf-8", "greek", "gaps", "binary"],
)
def test_what_is_not_tcvn3_is_refused(content, tmp_path):
    done = converted("tcvn3-utf8", content, tmp_path)
    assert not done.accepted
    assert done.output is None


def test_vni_that_is_taken_for_tcvn3_is_refused(tmp_path):
    assert not converted("tcvn3-utf8", encode(POEM, "vni"), tmp_path).accepted
    assert not converted("vni-utf8", encode(POEM, "tcvn3"), tmp_path).accepted


def test_words_that_can_be_no_syllable_are_told_from_those_that_can():
    assert all(is_syllable(one) for one in WORDS)
    assert not any(is_syllable(one) for one in NO_WORDS)


@pytest.mark.parametrize(
    ("spoil", "caught"),
    [
        (lambda text: text.replace("cõi", "còi"), "round-trip"),
        (lambda text: text.replace("Trải qua một cuộc bể dâu,\r\n", ""), "lines"),
        (lambda text: text.replace("\r\n", "\n"), "round-trip"),
        (lambda text: text.replace("ă", "?"), "round-trip"),
        (lambda text: "\ufeff" + text, "round-trip"),
        (lambda _text: "", "syllables"),
    ],
    ids=["another letter", "a line less", "other line ends", "question marks", "a mark before", "nothing"],
)
def test_a_text_that_says_something_else_is_caught(spoil, caught, tmp_path):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a.vni").write_bytes(encode(POEM, "vni"))
    (tmp_path / "out" / "a.txt").write_bytes(spoil(POEM).encode())
    room = Room(str(tmp_path), sandbox(), Limits())
    staged = Staged("in/a.vni", "out/a", "x-fmt/111")
    found = {one.name: one.passed for one in text.measure(pathway("vni-utf8"), staged, ["out/a.txt"], room)}
    assert found[caught] is False
