"""HTML by the piece: what is not marked as markup is escaped, so that no name can become markup."""

from collections.abc import Iterable, Sequence
from html import escape

from audits.reports.language import DASH, shortened, visible

TOGETHER = 14
"""Lines of a table that are kept on one page."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as HTML: markup as it is, anything else visible and escaped."""
    return value if isinstance(value, Markup) else Markup(escape(visible(value)))


def joined(parts: Iterable[object]) -> Markup:
    """Return the pieces one after the other."""
    return Markup("".join(text(part) for part in parts))


def element(tag: str, *content: object, css: str = "", **attributes: str) -> Markup:
    """Return an element; ``css`` is its class."""
    named = {"class": css, **attributes} if css else attributes
    listed = "".join(f' {name.replace("_", "-")}="{escape(value)}"' for name, value in named.items())
    return Markup(f"<{tag}{listed}>{joined(content)}</{tag}>")


def name(value: object) -> Markup:
    """Return a name from outside, whose direction of writing stays its own."""
    return element("bdi", shortened(value)) if value not in ("", None) else Markup(DASH)


def code(value: object) -> Markup:
    """Return something to be typed or compared letter by letter."""
    return element("code", value)


def stamp(value: object) -> Markup:
    """Return a time, which stays on one line."""
    return element("span", value, css="w")


def table(
    head: Sequence[str],
    lines: Sequence[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    caption: str = "",
    css: str = "",
) -> Markup:
    """Return a table whose columns ``numbers`` are set to the right; the first cell of a line is its heading."""
    aligned = ["n" if place in numbers else "" for place in range(len(head))]
    heads = joined(element("th", title, css=css, scope="col") for title, css in zip(head, aligned, strict=True))
    body = joined(_line(line, aligned) for line in lines)
    parts = [element("thead", element("tr", heads)), element("tbody", body)]
    together = "together" if len(lines) <= TOGETHER else ""
    made = element("table", *parts, css=f"{css} {together}".strip())
    return element("div", element("h3", caption), made, css=together) if caption else made


def _line(line: Sequence[object], aligned: Sequence[str]) -> Markup:
    cells = [
        element("td" if place else "th", cell, css=css, **({} if place else {"scope": "row"}))
        for place, (cell, css) in enumerate(zip(line, aligned, strict=True))
    ]
    return element("tr", *cells)
