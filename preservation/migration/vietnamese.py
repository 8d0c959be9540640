"""Two ways in which Vietnamese was written before Unicode: TCVN3 (ABC fonts) and VNI, as exact tables.

TCVN3 is the third set (VN3) of TCVN 5712:1993, one byte a letter; capitals with a tone have no byte, as a font of
capitals draws them. VNI for Windows writes a vowel and then one byte with its marks. Bytes 80 to 9F are punctuation of
Windows-1252 in both. A decoder that meets anything else stops: a guess would be a change that nobody sees.
"""

import re
import unicodedata
from typing import Literal

Encoding = Literal["tcvn3", "vni"]

_TCVN3 = (
    ("a1", "ĂÂÊÔƠƯĐăâêôơưđ"),
    ("b0", "\u0300\u0309\u0303\u0301\u0323àảãáạ"),
    ("bb", "ằẳẵắ"),
    ("c6", "ặầẩẫấậè"),
    ("ce", "ẻẽéẹềểễếệìỉ"),
    ("dc", "ĩíịò"),
    ("e1", "ỏõóọồổỗốộờởỡớợù"),
    ("f1", "ủũúụừửữứựỳỷỹýỵ"),
)
_VNI_SINGLE = {"đ": 0xF1, "ơ": 0xF4, "ư": 0xF6, "í": 0xED, "ì": 0xEC, "ỉ": 0xE6, "ĩ": 0xF3, "ị": 0xF2, "ỵ": 0xEE}
_GRAVE, _HOOK, _TILDE, _ACUTE, _BELOW = "\u0300", "\u0309", "\u0303", "\u0301", "\u0323"
_ROUND, _CUP = "\u0302", "\u0306"
_VNI_TONES = {_ACUTE: 0xF9, _GRAVE: 0xF8, _HOOK: 0xFB, _TILDE: 0xF5, _BELOW: 0xEF}
_VNI_ROUND = {"": 0xE2, _ACUTE: 0xE1, _GRAVE: 0xE0, _HOOK: 0xE5, _TILDE: 0xE3, _BELOW: 0xE4}
_VNI_CUP = {"": 0xEA, _ACUTE: 0xE9, _GRAVE: 0xE8, _HOOK: 0xFA, _TILDE: 0xFC, _BELOW: 0xEB}
_CAPITAL = 0x20

_ONSET = "(?:ngh|ng|nh|ch|gh|gi|kh|ph|qu|th|tr|[bcdđghklmnprstvx])?"
_NUCLEUS = "(?:iê|yê|uô|ươ|uyê|uya|uâ|uê|uy|uơ|oa|oă|oe|oo|ia|ya|ua|ưa|uu|[aăâeêioôơuưy])(?:[iyou])?"
_CODA = "(?:ch|ng|nh|[cmnpt])?"
_SYLLABLE = re.compile(_ONSET + _NUCLEUS + _CODA)
_TONES = frozenset((_GRAVE, _HOOK, _TILDE, _ACUTE, _BELOW))


class WrongEncodingError(ValueError):
    """The bytes, or the text, are not of this encoding."""


def _punctuation() -> dict[int, str]:
    kept = {}
    for byte in range(0x80, 0xA0):
        try:
            kept[byte] = bytes([byte]).decode("cp1252")
        except UnicodeDecodeError:
            continue
    return kept


def _tcvn3() -> dict[bytes, str]:
    table = {bytes([byte]): letter for byte, letter in _punctuation().items()}
    table[b"\xa0"] = "\u00a0"
    for first, letters in _TCVN3:
        table |= {bytes([int(first, 16) + place]): letter for place, letter in enumerate(letters)}
    return table


def _vni() -> dict[bytes, str]:
    table = {bytes([byte]): letter for byte, letter in _punctuation().items()}
    table |= {bytes([byte]): chr(byte) for byte in range(0xA0, 0xC0)}
    small: dict[bytes, str] = {bytes([byte]): letter for letter, byte in _VNI_SINGLE.items()}
    for base in "aeouy":
        small |= {base.encode() + bytes([byte]): _one(base + tone) for tone, byte in _VNI_TONES.items()}
    del small[b"y\xef"]
    for base, shape, marks in (*((one, _ROUND, _VNI_ROUND) for one in "aeo"), ("a", _CUP, _VNI_CUP)):
        small |= {base.encode() + bytes([byte]): _one(base + shape + tone) for tone, byte in marks.items()}
    for base, first in (("ơ", 0xF4), ("ư", 0xF6)):
        small |= {bytes([first, byte]): _one(base + tone) for tone, byte in _VNI_TONES.items()}
    return table | small | {bytes(byte - _CAPITAL for byte in key): one.upper() for key, one in small.items()}


def _one(letters: str) -> str:
    return unicodedata.normalize("NFC", letters)


_BYTES: dict[str, dict[bytes, str]] = {"tcvn3": _tcvn3(), "vni": _vni()}
_LETTERS = {name: {letter: key for key, letter in table.items()} for name, table in _BYTES.items()}


def decode(content: bytes, encoding: Encoding) -> str:
    """The text of these bytes.

    Raises:
        WrongEncodingError: a byte stands where the encoding has none.
    """
    table = _BYTES[encoding]
    text: list[str] = []
    place = 0
    while place < len(content):
        for length in (2, 1):
            letter = table.get(content[place : place + length])
            if letter is not None:
                break
        else:
            if content[place] >= 0x80:  # noqa: PLR2004 - beyond ASCII
                raise WrongEncodingError(f"byte {content[place]:02x} at {place} is not {encoding}")
            letter, length = chr(content[place]), 1
        text.append(letter)
        place += length
    return "".join(text)


def encode(text: str, encoding: Encoding) -> bytes:
    """The bytes of this text.

    Raises:
        WrongEncodingError: a letter has no bytes in this encoding.
    """
    letters = _LETTERS[encoding]
    try:
        return b"".join(letters[one] if one > "\x7f" else one.encode() for one in text)
    except KeyError as error:
        raise WrongEncodingError(f"no bytes in {encoding} for a letter of the text") from error


def is_syllable(word: str) -> bool:
    """Whether a word of letters can be one syllable of Vietnamese: an onset, a nucleus, a coda, at most one tone."""
    plain, tones = [], 0
    for letter in unicodedata.normalize("NFD", word.lower()):
        if letter in _TONES:
            tones += 1
        else:
            plain.append(letter)
    return tones <= 1 and _SYLLABLE.fullmatch(_one("".join(plain))) is not None


def syllables(text: str) -> tuple[int, int]:
    """Of the words that have letters beyond ASCII: how many there are, and how many can be Vietnamese."""
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    return len(words), sum(map(is_syllable, words))
