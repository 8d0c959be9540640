"""Are the fonts of a PDF in it: those that its pages and what lies on them can use (ISO 32000-1, 9.5 to 9.9).

As other programs list them, these are the fonts named by the resources of pages, of forms and patterns drawn there, and
of the appearances of annotations. A font that no resource names, or that only a form filled in later would use, is not
looked for. One font that is not there decides; otherwise whatever could not be read makes the answer *unknown*, which
is never taken for *embedded*.
"""

from dataclasses import dataclass, field
from typing import Literal

from preservation.formats.pdf_objects import Objects, Reference, UnclearError, Value, each

Fonts = Literal["embedded", "not embedded", "unknown"]
"""``embedded`` is also the answer where there are none."""

MOST_STEPS = 200_000
"""Pages, resources and fonts that are looked at in one file."""

_FILES = ("FontFile", "FontFile2", "FontFile3")


class _MissingError(Exception):
    """A font is not in the file."""


def fonts_of(objects: bytes) -> Fonts:
    """Return whether all fonts are in a PDF of which these are the objects, as `ObjectScan` keeps them."""
    try:
        looking = _Looking(Objects(objects))
        looking.through()
    except _MissingError:
        return "not embedded"
    except UnclearError:
        return "unknown"
    return "unknown" if looking.unclear else "embedded"


@dataclass(slots=True)
class _Looking:
    """Goes through a document, and notes where it could not."""

    objects: Objects
    unclear: bool = False
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _steps: int = 0
    _resources: list[Value] = field(default_factory=list)
    """Resources that are still to be looked at."""

    def through(self) -> None:
        """Look at every page.

        Raises:
            _MissingError, UnclearError.
        """
        root = self.objects.root()
        if not isinstance(root, dict) or "Pages" not in root:
            raise UnclearError
        waiting: list[tuple[Value, Value]] = [(root["Pages"], None)]
        while waiting:
            node, inherited = waiting.pop()
            if not self._is_new(node, "page"):
                continue
            page = self._dictionary(node)
            if page is None:
                continue
            resources = page.get("Resources", inherited)
            if "Kids" in page:
                kids = self._value(page["Kids"])
                self.unclear |= not isinstance(kids, list)
                waiting += [(kid, resources) for kid in each(kids)]
            else:
                self._page(page, resources)

    def _page(self, page: dict[str, Value], resources: Value) -> None:
        self._resources.append(resources)
        for note in each(self._value(page.get("Annots"))):
            found = self._dictionary(note)
            if found is not None and "AP" in found:
                self._appearance(found["AP"])
        while self._resources:
            self._look(self._resources.pop())

    def _appearance(self, value: Value) -> None:
        """Take the resources of what an annotation looks like: streams, or dictionaries of them."""
        for one in each(self._value(value)):
            states = self._value(one)
            if not isinstance(states, dict):
                continue
            forms = [one] if "Subtype" in states or "BBox" in states or "Length" in states else list(states.values())
            for form in forms:
                self._drawn(form)

    def _drawn(self, value: Value) -> None:
        """Take the resources of a form, a pattern, or of what else has some."""
        if self._is_new(value, "form"):
            found = self._dictionary(value)
            if found is not None and "Resources" in found:
                self._resources.append(found["Resources"])

    def _look(self, value: Value) -> None:
        if value is None or not self._is_new(value, "resources"):
            return
        resources = self._dictionary(value)
        if resources is None:
            return
        for font in each(self._value(resources.get("Font"))):
            self._font(font)
        for kind in ("XObject", "Pattern"):
            for one in each(self._value(resources.get(kind))):
                self._drawn(one)
        for state in each(self._value(resources.get("ExtGState"))):
            found = self._dictionary(state)
            if found is None:
                continue
            font = self._value(found.get("Font"))
            if isinstance(font, list) and font:
                self._font(font[0])
            mask = self._value(found.get("SMask"))
            if isinstance(mask, dict) and "G" in mask:
                self._drawn(mask["G"])

    def _font(self, value: Value) -> None:
        if not self._is_new(value, "font"):
            return
        font = self._dictionary(value)
        if font is None:
            return
        kind = self._value(font.get("Subtype"))
        if kind == "Type3":  # its letters are drawings in the file
            self._drawn_letters(font)
        elif kind == "Type0":
            parts = self._value(font.get("DescendantFonts"))
            self.unclear |= not isinstance(parts, list) or not parts
            for part in each(parts):
                self._font(part)
        elif kind and isinstance(kind, str):
            self._outlines(font)
        else:
            self.unclear = True

    def _drawn_letters(self, font: dict[str, Value]) -> None:
        if "Resources" in font:
            self._resources.append(font["Resources"])

    def _outlines(self, font: dict[str, Value]) -> None:
        """Look for the file of a font; one of the fourteen that readers have has no description either."""
        if font.get("FontDescriptor") is None:
            raise _MissingError
        description = self._dictionary(font["FontDescriptor"])
        if description is None:
            return
        files = [description[name] for name in _FILES if description.get(name) is not None]
        if not files:
            raise _MissingError
        if not any(isinstance(one, Reference) and self.objects.has(one) for one in files):
            self.unclear = True

    def _dictionary(self, value: Value) -> dict[str, Value] | None:
        """Return a dictionary; None, and it is noted, where there is none."""
        found = self._value(value)
        if isinstance(found, dict):
            return found
        self.unclear = True
        return None

    def _value(self, value: Value) -> Value:
        """Return a value; None, and it is noted, where it cannot be read."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise UnclearError
        try:
            return self.objects.get(value)
        except UnclearError:
            self.unclear = True
            return None

    def _is_new(self, value: Value, role: str) -> bool:
        """Tell whether this was not looked at in this role yet."""
        if not isinstance(value, Reference):
            return True
        if (role, value.number) in self._seen:
            return False
        self._seen.add((role, value.number))
        return True
