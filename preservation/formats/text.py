"""Tells text from other bytes, and in which encoding it is: UTF-8, UTF-16, and the old encodings of Vietnamese.

The old encodings use the same bytes for different letters, so that only the words can tell them apart: whichever
encoding makes the most of the commonest Vietnamese words, and at least three of them, is taken. TCVN3 is the 8-bit code
of TCVN 5712:1993 (VN3); VNI is the two-byte code of VNI for Windows; Windows-1258 is as Python knows it.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from preservation.formats import identification as words

_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x1b\x1a\b") + b"\x7f"
"""Bytes that no text has, in any encoding of single bytes; a page break, an escape and an end of DOS are in some."""

_GLANCE = 512
"""Bytes that betray most files that are no text."""

_LEAST_WORDS = 3
_LOWER_CASE, _LARGEST_BYTE = 0x20, 0xFF
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_MOST_WORDS = 20_000
_UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_LONGEST_BROKEN_LETTER = 3

_TCVN3 = {
    "ăâêôơưđ": range(0xA8, 0xAF),
    "àảãáạ": range(0xB5, 0xBA),
    "ằẳẵắ": range(0xBB, 0xBF),
    "ặầẩẫấậè": range(0xC6, 0xCD),
    "ẻẽéẹềểễếệìỉ": range(0xCE, 0xD9),
    "ĩíịò": range(0xDC, 0xE0),
    "ỏõóọồổỗốộ": range(0xE1, 0xEA),
    "ờởỡớợù": range(0xEA, 0xF0),
    "ủũúụừửữứựỳỷỹýỵ": range(0xF1, 0xFF),
}
_TONES = {"\u0301": 0xF9, "\u0300": 0xF8, "\u0309": 0xFB, "\u0303": 0xF5, "\u0323": 0xEF}
_VNI_SINGLE = {"đ": 0xF1, "ơ": 0xF4, "ư": 0xF6, "í": 0xED, "ì": 0xEC, "ỉ": 0xE6, "ĩ": 0xF3, "ị": 0xF2, "ỵ": 0xEE}
_VNI_MARKED = {
    "\u0302": {"": 0xE2, "\u0301": 0xE1, "\u0300": 0xE0, "\u0309": 0xE5, "\u0303": 0xE3, "\u0323": 0xE4},
    "\u0306": {"": 0xEA, "\u0301": 0xE9, "\u0300": 0xE8, "\u0309": 0xFA, "\u0303": 0xFC, "\u0323": 0xEB},
}

COMMON_WORDS = (
    "và của là các được không người trong những cho về năm này đã với một ngày tháng quyết định nhân dân ủy ban công "
    "nghị số tại theo việc có đến từ cũng như để khi ở ông bà độc lập tự hạnh phúc cộng hòa xã hội chủ nghĩa việt tỉnh "
    "thành phố huyện điều khoản hiện nước quyền đất văn bản lưu trữ hồ sơ tài liệu thực phải sau trên dưới đồng nhà hộ "
    "quốc gia kính gửi báo cáo căn cứ luật chính phủ sở phòng trưởng phó giám đốc chức vụ kỳ họp biên mời tờ trình"
)
"""Words of ordinary texts and of records of the administration; those without any mark tell nothing."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text, and what is to be said of its encoding: nothing if it is UTF-8 or ASCII."""

    fact: str = ""


def text_of(head: bytes, tail: bytes, size: int) -> Text | None:
    """What kind of text a file is whose two ends these are; nothing if it is none, or empty."""
    encoding = _UTF_16.get(head[:2])
    if encoding is not None:
        return Text(words.TEXT_UTF_16) if _is_utf_16(head, encoding, whole=size == len(head)) else None
    if not head or any(_has_controls(piece) for piece in (head[:_GLANCE], head, tail)):
        return None
    if head.isascii() and tail.isascii():
        return Text()
    if _is_utf_8(head, cut_behind=size > len(head)) and _is_utf_8(tail, cut_before=size > len(tail)):
        return Text()
    return _old_encoding(head)


def _has_controls(piece: bytes) -> bool:
    return len(piece.translate(None, _CONTROLS)) < len(piece)


def _is_utf_16(head: bytes, encoding: str, *, whole: bool) -> bool:
    if whole and len(head) % 2:
        return False
    try:
        text = head[2 : len(head) // 2 * 2].decode(encoding, "strict" if whole else "ignore")
    except UnicodeDecodeError:
        return False
    sample = text[:4096]
    strange = sum(unicodedata.category(letter) in ("Cn", "Co", "Cc") and letter not in "\t\n\r\f" for letter in sample)
    return strange * 50 <= len(sample)


def _is_utf_8(content: bytes, *, cut_behind: bool = False, cut_before: bool = False) -> bool:
    """Whether this is UTF-8; where the piece was cut off, a letter may be broken."""
    if cut_before:
        first = next((place for place in range(min(4, len(content))) if content[place] & 0xC0 != 0x80), 0)  # noqa: PLR2004  # bytes that begin no letter
        content = content[first:]
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return cut_behind and error.start >= len(content) - _LONGEST_BROKEN_LETTER and error.end == len(content)
    return True


def _old_encoding(head: bytes) -> Text | None:
    """Bytes that are neither ASCII nor UTF-8 and have no control characters: text, if half of them are ASCII."""
    found = [match[0] for match, _ in zip(_WORD.finditer(head), range(_MOST_WORDS), strict=False)]
    lowered = [word.lower() if word.isascii() else word for word in found]
    scores = {fact: sum(word in known for word in lowered) for fact, known in _encoded_words().items()}
    fact, score = max(scores.items(), key=lambda item: item[1])
    if score >= _LEAST_WORDS and list(scores.values()).count(score) == 1:
        return Text(fact)
    plain = sum(byte < 0x80 for byte in head)  # noqa: PLR2004  # ASCII
    return Text(words.TEXT_NOT_UTF_8) if plain * 2 >= len(head) else None


@cache
def _encoded_words() -> dict[str, frozenset[bytes]]:
    encoders = {words.TEXT_TCVN3: _in_tcvn3, words.TEXT_VNI: _in_vni, words.TEXT_CP1258: _in_cp1258}
    found: dict[str, frozenset[bytes]] = {}
    for fact, encoder in encoders.items():
        shapes = (shape for word in COMMON_WORDS.split() for shape in (word, word.capitalize()))
        encoded = {encoder(shape) for shape in shapes}
        found[fact] = frozenset(word for word in encoded if word is not None and not word.isascii())
    return found


@cache
def _tcvn3_letters() -> dict[str, int]:
    return {letter: byte for letters, codes in _TCVN3.items() for letter, byte in zip(letters, codes, strict=True)}


def _in_tcvn3(word: str) -> bytes | None:
    try:
        return bytes(_tcvn3_letters().get(letter, ord(letter)) for letter in word)
    except ValueError:  # a capital letter with marks, which this code has in a font of its own
        return None


def _in_vni(word: str) -> bytes | None:
    """Each letter and the byte of its marks behind it; capitals have the same bytes without the bit of lower case."""
    found = bytearray()
    for letter in word:
        lower = _lower_in_vni(letter.lower())
        if lower is None:
            return None
        found += bytes(code & ~_LOWER_CASE for code in lower) if letter.isupper() else lower
    return bytes(found)


def _lower_in_vni(letter: str) -> bytes | None:
    if letter in _VNI_SINGLE:
        return bytes((_VNI_SINGLE[letter],))
    parts = unicodedata.normalize("NFD", letter)
    base, marks = parts[0], parts[1:]
    if "\u031b" in marks:
        base = unicodedata.normalize("NFC", base + "\u031b")
    tone = next((mark for mark in marks if mark in _TONES), "")
    shape = next((mark for mark in marks if mark in _VNI_MARKED), "")
    code = _VNI_SINGLE.get(base, ord(base))
    marked = _VNI_MARKED[shape][tone] if shape else _TONES.get(tone)
    if code > _LARGEST_BYTE:
        return None
    return bytes((code,)) if marked is None else bytes((code, marked))


def _in_cp1258(word: str) -> bytes | None:
    """The letters with a circumflex, breve or horn are single; the tones stand behind, as marks of their own."""
    letters = []
    for letter in word:
        parts = unicodedata.normalize("NFD", letter)
        tones = "".join(part for part in parts if part in _TONES)
        letters.append(unicodedata.normalize("NFC", "".join(part for part in parts if part not in _TONES)) + tones)
    try:
        return "".join(letters).encode("cp1258")
    except UnicodeEncodeError:
        return None
