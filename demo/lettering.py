"""Letters made of strokes, enough for Vietnamese: one small font for the PDF pages and for the drawn "scans".

Each letter is a few polylines on a grid (baseline 4, small letters up to 12, capitals up to 16); a point is two base-36
digits, x then y. Marks are drawn over the base letter in the order of its Unicode decomposition.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

BASELINE = 4
SMALL, CAPITAL = 12, 16
EM = 18
"""Grid units in one em: a text of 12 points has a grid unit of 12/18 points."""
GAP = 3
DOT = 0.2
SPACE = 6

Polyline = tuple[tuple[float, float], ...]


class Glyph(NamedTuple):
    """One drawn character: how far it moves the pen, and its strokes, in grid units."""

    advance: float
    strokes: tuple[Polyline, ...]


STROKES = """
A 044g84 1777|B 040g5g7e7c5a0a 5a78765404|C 8e6g2g0e06246486|D 040g5g8d875404|Đ 242g6gada76424 0a6a|E 7g0g0474 0a5a
F 7g0g04 0a5a|G 8e6g2g0e062464868a5a|H 040g 848g 0a8a|I 040g|J 5g56341406|K 040g 8g08 3b84|L 0g0474|M 040g57aga4
N 040g848g|O 2g6g8e866424060e2g|P 040g5g7e7b5909|Q 2g6g8e866424060e2g 5783|R 040g5g7e7b5909 4984
S 8e6g2g0e0c2a6a8886642406|T 0g8g 4g44|U 0g062464868g|V 0g448g|W 0g346e94cg|X 048g 0g84|Y 0g4a8g 4a44|Z 0g8g0484
a 6c64 6a4c2c0a06244466|b 0g04 0a2c4c6a66442406|c 6a4c2c0a06244466|d 6g64 6a4c2c0a06244466
đ 6g64 6a4c2c0a06244466 3e8e|e 08686a4c2c0a06244466|f 5g3g2e24 0c5c|g 6c62402001 6a4c2c0a06244466|h 0g04 0a2c4c6a64
i 0c04 0f|j 3c321000 3f|k 0g04 5c07 2954|l 0g04|m 0c04 0a2c3c5a54 5a7c8caaa4|n 0c04 0a2c4c6a64|o 2c4c6a664424060a2c
p 0c00 0a2c4c6a66442406|q 6c60 6a4c2c0a06244466|r 0c04 0a2c4c|s 6b5c1c0b0918586765541405|t 2g263454 0c5c
u 0c06244466 6c64|v 0c346c|w 0c245a84ac|x 046c 0c64|y 0c34 6c2000|z 0c6c0464
0 2g5g7e765424060e2g|1 1d4g44|2 0e2g5g7e7b0474|3 0e2g5g7e7c5a3a 5a7876542406|4 5g0888 5g54|5 7g1g0b5b7976542406
6 6g3g0c06245476795b2b09|7 0g7g24|8 2g5g7e7c5a2a0c0e2g 2a0806245476785a|9 1444787e5g2g0e0b29597b
. 04|, 1412|: 04 0a|; 0a 1412|- 0959|/ 026h|( 3h0d0733|) 0h3d3703|% 048g 0g2g2e0e0g 8664|+ 0979 3c36|_ 0363
" 0g0d 3g3d|' 0g0d|? 0e2g4g6e6c3a37 34|! 0g07 04|= 0777 0b7b
"""
UNKNOWN = "040g6g6404"

ABOVE = {"\u0300": "3250", "\u0301": "3052", "\u0302": "204260", "\u0303": "01224162", "\u0306": "22305062"}
ABOVE["\u0309"] = "3343524140"
HORN, DOT_BELOW = "\u031b", "\u0323"
MARK_CENTRE, MARK_STEP = 4, 4


def polylines(text: str, right: float = 0, up: float = 0) -> tuple[Polyline, ...]:
    """The strokes that `text` writes, moved by `right` and `up`."""
    points = ([(int(s[i], 36) + right, int(s[i + 1], 36) + up) for i in range(0, len(s), 2)] for s in text.split())
    return tuple(tuple(stroke) if len(stroke) > 1 else dot(*stroke[0]) for stroke in points)


def dot(x: float, y: float) -> Polyline:
    """A dot as a very short line, since some viewers draw nothing for a line without length."""
    return ((x - DOT, y), (x + DOT, y))


LETTERS = {entry[0]: entry[2:] for line in STROKES.split("\n") for entry in line.split("|") if entry}


@cache
def glyph(char: str) -> Glyph:
    """The glyph of one NFC character; a box for a character this font does not have."""
    if char.isspace():
        return Glyph(SPACE, ())
    base, *marks = list(unicodedata.normalize("NFD", char))
    text = LETTERS.get(base, UNKNOWN)
    if base in "ij" and any(mark in ABOVE for mark in marks):
        text = text.split()[0]
    strokes = list(polylines(text))
    width = max(x for stroke in strokes for x, _ in stroke)
    top = CAPITAL if base.isupper() else SMALL
    height, extra = top + 2, 0
    for mark in marks:
        if mark == HORN:
            strokes.append(((width, top - 1), (width + 2, top), (width + 2, top + 2)))
            extra = 2
        elif mark == DOT_BELOW:
            strokes.append(dot(width / 2, 1))
        elif mark in ABOVE:
            strokes += polylines(ABOVE[mark], width / 2 - MARK_CENTRE, height)
            height += MARK_STEP
    return Glyph(width + extra + GAP, tuple(strokes))


def width(text: str, size: float) -> float:
    """How wide `text` is at `size`, in the unit of `size`."""
    return sum(glyph(char).advance for char in unicodedata.normalize("NFC", text)) * size / EM


def wrapped(text: str, size: float, room: float) -> list[str]:
    """`text` cut between words into lines no wider than `room`; a single longer word stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]
