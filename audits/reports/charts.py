"""Charts as inline SVG: bars and columns that also read in black and white, with a title and a description."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

WIDTH = 720
LABELS = 190
"""Units to the left for what a bar is."""
VALUES = 120
"""Units to the right for what it says."""
BAR, STEP = 15, 25
LABEL_LETTERS = 28
LETTER = 6.2
"""About how wide a letter is."""
FONT = "Noto Sans, Segoe UI, Helvetica Neue, Liberation Sans, Arial, DejaVu Sans Condensed, DejaVu Sans, sans-serif"
INK, SOFT, LINE = "#20262e", "#5b6570", "#c9cdd2"


@dataclass(frozen=True, slots=True)
class Shade:
    """How an area is filled: a colour, and strokes over it that are seen without colour too."""

    name: str
    fill: str
    stroke: str = ""
    """The path of its strokes in a square of 6 by 6 units."""


FINE = Shade("fine", "#3f5f4c")
GOOD = Shade("good", "#7e9c86")
FAIR = Shade("fair", "#c3d0c4")
LATE = Shade("late", "#e9d9b4", "M0 6L6 0")
BAD = Shade("bad", "#8c2f1b")
WRONG = Shade("wrong", "#d9a798", "M0 0L6 6")
NEVER = Shade("never", "#ffffff", "M3 1V5M1 3H5")
PLAIN = Shade("plain", "#47586b")


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a chart: its label, its parts, and what is written behind it."""

    label: str
    parts: Sequence[tuple[Shade, float]]
    value: str


def bars(key: str, title: str, description: str, lines: Sequence[Bar], *, whole: bool = False) -> str:
    """Return bars to the right, one below the other, as long as their sums; ``whole``: each is as long as the others.

    ``key`` is unique in the page.
    """
    longest = max((sum(size for _, size in line.parts) for line in lines), default=0) or 1
    room = WIDTH - LABELS - VALUES
    drawn = []
    for place, line in enumerate(lines):
        top = place * STEP + 4
        total = sum(size for _, size in line.parts) or 1
        drawn.append(_text(LABELS - 8, top + 11.5, _short(line.label), anchor="end"))
        left = float(LABELS)
        for shade, size in line.parts:
            width = room * size / (total if whole else longest)
            if width > 0:
                drawn.append(_area(key, shade, (left, top), (max(width, 0.75), BAR)))
                left += width
        end = LABELS + room if whole else left
        drawn.append(_text(end + 7, top + 11.5, line.value))
    height = len(lines) * STEP + 4
    drawn.append(_line(LABELS, 0, LABELS, height - 2))
    shades = [shade for line in lines for shade, _ in line.parts]
    return _svg(key, (title, description), height, shades, drawn)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart over time: its label below (may be empty) and its parts, from the ground up."""

    label: str
    parts: Sequence[tuple[Shade, int]]


COLUMNS_HEIGHT = 110


def columns(key: str, title: str, description: str, found: Sequence[Column], *, highest: str) -> str:
    """Return columns side by side; ``highest`` is what the highest one says."""
    most = max((sum(size for _, size in one.parts) for one in found), default=0) or 1
    left, right = 70, WIDTH - 10
    step = (right - left) / max(1, len(found))
    width = min(30.0, step * 0.72)
    ground = COLUMNS_HEIGHT + 12
    drawn = [
        _line(left, 12, right, 12, dashed=True),
        _text(left - 8, 16, highest, anchor="end", soft=True),
        _text(left - 8, ground + 4, "0", anchor="end", soft=True),
    ]
    widest = max((len(one.label) for one in found), default=0) * LETTER + 16
    every = max(1, ceil(widest / step))
    for place, one in enumerate(found):
        middle = left + (place + 0.5) * step
        top = float(ground)
        for shade, size in one.parts:
            height = COLUMNS_HEIGHT * size / most
            if height > 0:
                height = max(height, 1.5)
                top -= height
                drawn.append(_area(key, shade, (middle - width / 2, top), (width, height)))
        if one.label and place % every == 0 and middle + widest / 2 <= WIDTH + 8:
            drawn.append(_text(middle, ground + 16, one.label, anchor="middle", soft=True))
    drawn.append(_line(left, ground, right, ground))
    shades = [shade for one in found for shade, _ in one.parts]
    return _svg(key, (title, description), ground + 24, shades, drawn)


def swatch(key: str, shade: Shade) -> str:
    """Return a little area for a legend."""
    fill = _area(key, shade, (0.5, 0.5), (13, 11))
    frame = 'class="swatch" viewBox="0 0 14 12" width="14" height="12" aria-hidden="true"'
    return f"<svg {frame}>{_patterns(key, [shade])}{fill}</svg>"


def _svg(key: str, told: tuple[str, str], height: float, shades: Sequence[Shade], drawn: Sequence[str]) -> str:
    title, description = told
    return (
        f'<svg class="chart" role="img" aria-labelledby="{key}-t {key}-d" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}"><title id="{key}-t">{escape(title)}</title>'
        f'<desc id="{key}-d">{escape(description)}</desc>{_patterns(key, shades)}{"".join(drawn)}</svg>'
    )


def _patterns(key: str, shades: Sequence[Shade]) -> str:
    used = {shade.name: shade for shade in shades if shade.stroke}
    if not used:
        return ""
    made = "".join(
        f'<pattern id="{key}-{name}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{shade.fill}"/>'
        f'<path d="{shade.stroke}" stroke="{SOFT}" stroke-width="0.9" fill="none"/></pattern>'
        for name, shade in sorted(used.items())
    )
    return f"<defs>{made}</defs>"


def _area(key: str, shade: Shade, corner: tuple[float, float], size: tuple[float, float]) -> str:
    (left, top), (width, height) = corner, size
    fill = f"url(#{key}-{shade.name})" if shade.stroke else shade.fill
    return (
        f'<rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{fill}" '
        f'stroke="{INK}" stroke-width="0.6"/>'
    )


def _line(left: float, top: float, right: float, bottom: float, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="2 3"' if dashed else ""
    colour = LINE if dashed else SOFT
    return f'<path d="M{left:g} {top:g}L{right:g} {bottom:g}" stroke="{colour}" stroke-width="0.8"{dashes}/>'


def _text(left: float, base: float, text: str, *, anchor: str = "start", soft: bool = False) -> str:
    return (
        f'<text x="{left:.1f}" y="{base:.1f}" font-family="{FONT}" font-size="11.5" fill="{SOFT if soft else INK}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _short(label: str) -> str:
    return label if len(label) <= LABEL_LETTERS else label[: LABEL_LETTERS - 1] + "…"
