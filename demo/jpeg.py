"""A baseline JPEG (ITU-T T.81) in JFIF 1.01, small rather than clever: one Huffman table pair, nothing subsampled.

Equal blocks are coded once, which makes drawn pictures fast in plain Python.
"""

import math
import struct
from functools import cache
from operator import mul

from pictures import Picture

SIDE = 8
ZIGZAG = sorted(
    ((u, v) for u in range(SIDE) for v in range(SIDE)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
"""(row, column) of each coefficient in the order of the file."""
QUANTS = tuple(3 + 2 * (u + v) for u, v in ZIGZAG)
FRACTION = 13
"""Bits after the point: whole numbers give the same coefficients on every Python."""
COSINES = tuple(
    tuple(
        round((math.sqrt(0.125) if u == 0 else 0.5) * math.cos((2 * x + 1) * u * math.pi / 16) * (1 << FRACTION))
        for x in range(SIDE)
    )
    for u in range(SIDE)
)
END_OF_BLOCK, ZERO_RUN, LONGEST_RUN = 0x00, 0xF0, 15
AC_SYMBOLS = (END_OF_BLOCK, *(run << 4 | size for size in range(1, 11) for run in range(16)), ZERO_RUN)
"""The end of a block has a code of 2 bits, all others of 8."""
AC_CODES = {END_OF_BLOCK: "00"} | {symbol: f"{0x40 + i:08b}" for i, symbol in enumerate(AC_SYMBOLS[1:])}
DC_CODES = {size: f"{size:04b}" for size in range(12)}


def amount(value: int) -> str:
    """The bits of a coefficient after its size (T.81 F.1.2.1.1): a negative one as its ones' complement."""
    return format(value if value > 0 else value + (1 << abs(value).bit_length()) - 1, f"0{abs(value).bit_length()}b")


@cache
def coded(block: bytes) -> tuple[int, str]:
    """The quantised DC value of an 8 x 8 block, and the bits of all its other coefficients."""
    rows = [[sample - 128 for sample in block[at : at + SIDE]] for at in range(0, SIDE * SIDE, SIDE)]
    half = [[sum(map(mul, wave, row)) for wave in COSINES] for row in rows]
    columns = list(zip(*half, strict=True))
    values = [
        round(sum(map(mul, COSINES[u], columns[v])) / (quant << 2 * FRACTION))
        for (u, v), quant in zip(ZIGZAG, QUANTS, strict=True)
    ]
    bits, run = [], 0
    last = max((i for i, value in enumerate(values) if i and value), default=0)
    for value in values[1 : last + 1]:
        if value == 0:
            run += 1
            continue
        bits += [AC_CODES[ZERO_RUN]] * (run // (LONGEST_RUN + 1))
        bits += [AC_CODES[run % (LONGEST_RUN + 1) << 4 | abs(value).bit_length()], amount(value)]
        run = 0
    if last < SIDE * SIDE - 1:
        bits.append(AC_CODES[END_OF_BLOCK])
    return values[0], "".join(bits)


def blocks(plane: bytes, width: int, height: int) -> list[tuple[int, str]]:
    """The coded blocks of a plane, row by row; its sides are multiples of 8."""
    return [
        coded(b"".join(plane[row * width + x : row * width + x + SIDE] for row in range(y, y + SIDE)))
        for y in range(0, height, SIDE)
        for x in range(0, width, SIDE)
    ]


def planes(picture: Picture) -> list[bytes]:
    """Brightness, and for a colour picture the two colour differences of JFIF."""
    if picture.grey:
        return [picture.pixels]
    weights = ((0.299, 0.587, 0.114, 0), (-0.168736, -0.331264, 0.5, 128), (0.5, -0.418688, -0.081312, 128))
    return [
        picture.pixels.translate(
            bytes(min(255, max(0, round(wr * r + wg * g + wb * b + base))) for r, g, b in picture.palette)
        )
        for wr, wg, wb, base in weights
    ]


def segment(marker: int, data: bytes) -> bytes:
    """A marker segment with its length."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def write_jpeg(picture: Picture, comment: str, dpi: int = 100) -> bytes:
    """A JPEG of `picture`, whose sides must be multiples of 8, with a comment in UTF-8."""
    if picture.width % SIDE or picture.height % SIDE:
        raise ValueError(f"{picture.width} x {picture.height} is not made of blocks of 8 x 8")
    parts = [blocks(plane, picture.width, picture.height) for plane in planes(picture)]
    ids = range(1, len(parts) + 1)
    bits: list[str] = []
    before = [0] * len(parts)
    for unit in zip(*parts, strict=True):
        for i, (level, rest) in enumerate(unit):
            step, before[i] = level - before[i], level
            bits += [DC_CODES[abs(step).bit_length()], amount(step) if step else "", rest]
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", 8, picture.height, picture.width, len(parts))
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, 1, dpi, dpi, 0, 0)),
            segment(0xFE, comment.encode()),
            segment(0xDB, bytes((0, *QUANTS))),
            segment(0xC0, frame + b"".join(bytes((i, 0x11, 0)) for i in ids)),
            segment(0xC4, bytes((0x00, 0, 0, 0, 12, *[0] * 12, *range(12)))),
            segment(0xC4, bytes((0x10, 0, 1, 0, 0, 0, 0, 0, len(AC_SYMBOLS) - 1, *[0] * 8, *AC_SYMBOLS))),
            segment(0xDA, bytes((len(parts), *(n for i in ids for n in (i, 0x00)), 0, 63, 0))),
            data,
            b"\xff\xd9",
        )
    )
