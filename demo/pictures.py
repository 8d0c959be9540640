"""Pictures as palette and indices, what is drawn on them (pages, registers, landscapes), and PNG and TIFF files."""

import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from random import Random
from typing import NamedTuple

from lettering import CAPITAL, EM, glyph
from papers import A4, Line

Rgb = tuple[int, int, int]
LEVELS = 256
GREY: tuple[Rgb, ...] = tuple((i, i, i) for i in range(LEVELS))
PAPER, FRAME_INK = 240, 96
NIB = 0.75
"""The pen's radius in grid units."""
DESCENT, ASCENT = 6, CAPITAL + 12


@dataclass(frozen=True, slots=True)
class Picture:
    """One byte a pixel, an index into 256 colours."""

    width: int
    height: int
    pixels: bytes
    palette: tuple[Rgb, ...] = GREY

    @property
    def grey(self) -> bool:
        """Whether an index is its own brightness."""
        return self.palette == GREY


class Run(NamedTuple):
    """Drawn pixels of one row of a letter, at `x` right of and `y` under the baseline's start; 0 is full ink."""

    x: int
    y: int
    ink: bytes


@cache
def drawn(char: str, unit: float) -> tuple[Run, ...]:
    """The pixels of a letter whose grid unit is `unit` pixels, with soft edges."""
    radius = max(0.6, NIB * unit)
    shades: dict[tuple[int, int], float] = {}
    for stroke in glyph(char).strokes:
        for (ax, ay), (bx, by) in pairwise(stroke):
            x0, y0, x1, y1 = ax * unit, (4 - ay) * unit, bx * unit, (4 - by) * unit
            square = (x1 - x0) ** 2 + (y1 - y0) ** 2 or 1.0
            for y in range(int(min(y0, y1) - radius - 1), int(max(y0, y1) + radius + 2)):
                for x in range(int(min(x0, x1) - radius - 1), int(max(x0, x1) + radius + 2)):
                    along = min(1.0, max(0.0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / square))
                    away = math.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
                    cover = min(1.0, max(0.0, radius + 0.5 - away))
                    if cover:
                        shades[y, x] = max(cover, shades.get((y, x), 0.0))
    runs: list[Run] = []
    for (y, x), cover in sorted(shades.items()):
        level = bytes([round(PAPER * (1 - cover))])
        if runs and runs[-1].y == y and runs[-1].x + len(runs[-1].ink) == x:
            runs[-1] = runs[-1]._replace(ink=runs[-1].ink + level)
        else:
            runs.append(Run(x, y, level))
    return tuple(runs)


def write_line(canvas: bytearray, wide: int, line: Line, inks: bytes | None = None) -> None:
    """Draw `line` with x and y in pixels from the upper left, clipped; `inks` translates grey levels to indices."""
    pen, unit = line.x, line.size / EM
    for char in line.text:
        for run in drawn(char, unit):
            x, y = round(pen) + run.x, round(line.y) + run.y
            at = y * wide + x
            if 0 <= x <= wide - len(run.ink) and 0 <= at <= len(canvas) - len(run.ink):
                canvas[at : at + len(run.ink)] = run.ink.translate(inks) if inks else run.ink
        pen += glyph(char).advance * unit


def scan(lines: Iterable[Line], dpi: int, *, grain: Random | None = None) -> Picture:
    """A page as a flatbed scanner sees it; with `grain`, the paper has a texture (and hardly compresses)."""
    scale = dpi / 72
    wide, high = round(A4[0] * scale), round(A4[1] * scale)
    if grain:
        tones = bytes(PAPER - 12 + (i * 16 >> 8) for i in range(LEVELS))
        canvas = bytearray(grain.randbytes(wide * high).translate(tones))
    else:
        canvas = bytearray([PAPER]) * (wide * high)
    for line in lines:
        write_line(canvas, wide, Line(line.x * scale, high - line.y * scale, round(line.size * scale, 1), line.text))
    return Picture(wide, high, bytes(canvas))


def register(rows: Iterable[tuple[str, ...]], columns: tuple[float, ...], heading: str, dpi: int) -> Picture:
    """A ruled page of a register: `columns` are the left edges in points."""
    scale, top, step = dpi / 72, 90, 34
    lines, y = [Line(columns[0], A4[1] - 60, 14, heading)], float(A4[1] - top)
    for row in rows:
        lines += [Line(x + 5, y - 22, 9.5, text) for x, text in zip(columns, row, strict=False)]
        y -= step
    page = scan(lines, dpi)
    canvas = bytearray(page.pixels)
    left, right = round(columns[0] * scale), page.width - round(columns[0] * scale)
    last = page.height - round(y * scale)
    for i in range(round((A4[1] - top - y) / step) + 1):
        at = round((top + i * step) * scale) * page.width
        canvas[at + left : at + right] = bytes([FRAME_INK]) * (right - left)
    for x in [round(edge * scale) for edge in columns] + [right]:
        for row_at in range(round(top * scale), last):
            canvas[row_at * page.width + x] = FRAME_INK
    return Picture(page.width, page.height, bytes(canvas))


SKY, FAR, NEAR, FIELD, THINGS, CAPTION = 0, 100, 140, 180, 230, 240
WALL, ROOF, FLAG, STAR, POLE, SUN = range(THINGS, THINGS + 6)


def blend(low: Rgb, high: Rgb, count: int) -> list[Rgb]:
    """`count` colours from `low` to `high`."""
    r, g, b = zip(low, high, strict=True)
    return [tuple(a + (z - a) * i // count for a, z in (r, g, b)) for i in range(count)]  # type: ignore[misc]


def colours(rng: Random, *, old: bool) -> tuple[Rgb, ...]:
    """The palette of one landscape; an old one is in sepia."""
    glow = rng.randrange(60)
    palette = blend((70 + glow, 130, 215 - glow), (235, 225, 215 - glow), FAR - SKY)
    palette += blend((110, 140, 165), (130, 160, 160), NEAR - FAR)
    palette += blend((40, 90 + rng.randrange(30), 60), (60, 120, 70), FIELD - NEAR)
    palette += blend((190, 185, 70), (90, 150 - glow // 2, 50), THINGS - FIELD)
    palette += [(236, 226, 200), (165, 70, 45), (205, 20, 25), (250, 220, 40), (90, 90, 95), (255, 244, 200)]
    palette += [(0, 0, 0)] * (CAPTION - len(palette)) + blend((20, 20, 20), (255, 255, 255), LEVELS - CAPTION)
    if old:
        greys = [(3 * r + 6 * g + b) // 10 for r, g, b in palette]
        palette = [(min(255, v + 14), v, max(0, v - 22)) for v in greys]
    return tuple(palette)


def landscape(rng: Random, caption: str, wide: int, high: int, *, old: bool = False) -> Picture:
    """A commune's view: sky, two ranges of hills, fields, an office with a flag, and a caption under it."""
    horizon, strip = high * 55 // 100, 28
    bend = [rng.uniform(0.8, 2.2), rng.uniform(2.5, 5), rng.uniform(0, 6), rng.uniform(0, 6)]
    far, near = [], []
    for x in range(wide):
        t = x / wide * math.pi
        far.append(round(horizon - high * (0.16 + 0.08 * math.sin(bend[0] * t + bend[2]))))
        near.append(round(horizon - high * (0.05 + 0.05 * math.sin(bend[1] * t + bend[3]))))
    sun, size = (rng.randrange(wide), rng.randrange(high // 8, high // 4)), high // 18
    rows = []
    for y in range(horizon):
        sky, far_tone, near_tone = SKY + (FAR - 1) * y // horizon, FAR + 39 * y // horizon, NEAR + 39 * y // horizon
        row = bytearray([sky]) * wide
        if abs(y - sun[1]) < size:
            half = round(math.sqrt(size**2 - (y - sun[1]) ** 2))
            start, end = max(0, sun[0] - half), min(wide, sun[0] + half)
            row[start:end] = bytes([SUN]) * (end - start)
        if y >= min(far + near):
            row = bytearray(
                near_tone if y >= b else far_tone if y >= a else shade
                for a, b, shade in zip(far, near, row, strict=True)
            )
        rows.append(row)
    depth = high - horizon
    rows += [bytearray([FIELD + min(49, (y * 50 // depth & ~7) + y % 3)]) * wide for y in range(depth)]
    canvas = bytearray().join(rows)
    add_office(canvas, wide, rng.randrange(wide // 8, wide * 5 // 8), horizon + high // 6, high // 4)
    canvas[(high - strip) * wide :] = bytes([LEVELS - 1]) * (strip * wide)
    inks = bytes(CAPTION + min(15, level * 16 // PAPER) for level in range(LEVELS))
    write_line(canvas, wide, Line(8, high - 9, 15, caption), inks)
    return Picture(wide, high, bytes(canvas), colours(rng, old=old))


def add_office(canvas: bytearray, wide: int, left: int, ground: int, tall: int) -> None:
    """A house with a roof, a door, and the flag on its pole, standing on the row `ground`."""
    broad = tall * 3 // 2

    def fill(x: int, y: int, w: int, h: int, colour: int) -> None:
        for row in range(y, y + h):
            canvas[row * wide + x : row * wide + x + w] = bytes([colour]) * w

    fill(left, ground - tall * 2 // 3, broad, tall * 2 // 3, WALL)
    for i in range(tall // 3):
        fill(left + i, ground - tall * 2 // 3 - i, broad - 2 * i, 1, ROOF)
    fill(left + broad // 2 - tall // 12, ground - tall // 3, tall // 6, tall // 3, ROOF)
    pole = left + broad + tall // 6
    fill(pole, ground - tall * 5 // 4, 2, tall * 5 // 4, POLE)
    fill(pole + 2, ground - tall * 5 // 4, tall // 2, tall // 3, FLAG)
    fill(pole + 2 + tall // 5, ground - tall * 5 // 4 + tall // 9, tall // 9, tall // 9, STAR)


def write_png(picture: Picture, title: str, dpi: int = 100) -> bytes:
    """A PNG (ISO/IEC 15948), grey or with its palette, its title as international text."""
    rows = (b"\0" + picture.pixels[at : at + picture.width] for at in range(0, len(picture.pixels), picture.width))
    metre = round(dpi / 0.0254)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", picture.width, picture.height, 8, 0 if picture.grey else 3, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", metre, metre, 1)),
        (b"iTXt", b"Title\0\0\0vi\0\0" + title.encode()),
        (b"IDAT", zlib.compress(b"".join(rows))),
        (b"IEND", b""),
    ]
    if not picture.grey:
        chunks.insert(1, (b"PLTE", b"".join(map(bytes, picture.palette))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


SHORT, LONG, RATIONAL, ASCII = 3, 4, 5, 2


def write_tiff(picture: Picture, when: datetime, dpi: int, *, deflate: bool) -> bytes:
    """A little-endian TIFF 6.0 of one grey image in one strip, plain or with Deflate (compression 8)."""
    data = zlib.compress(picture.pixels) if deflate else picture.pixels
    date = when.strftime("%Y:%m:%d %H:%M:%S").encode("ascii") + b"\0"
    count, start = 13, 8
    extra = start + 2 + 12 * count + 4
    strip = extra + 16 + len(date) + len(date) % 2
    fields = (
        (256, LONG, 1, picture.width),
        (257, LONG, 1, picture.height),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, 8 if deflate else 1),
        (262, SHORT, 1, 1),
        (273, LONG, 1, strip),
        (277, SHORT, 1, 1),
        (278, LONG, 1, picture.height),
        (279, LONG, 1, len(data)),
        (282, RATIONAL, 1, extra),
        (283, RATIONAL, 1, extra + 8),
        (296, SHORT, 1, 2),
        (306, ASCII, len(date), extra + 16),
    )
    directory = struct.pack("<H", count) + b"".join(struct.pack("<HHII", *field) for field in fields) + b"\0\0\0\0"
    out = b"II*\0" + struct.pack("<I", start) + directory + struct.pack("<IIII", dpi, 1, dpi, 1) + date
    return out.ljust(strip, b"\0") + data
