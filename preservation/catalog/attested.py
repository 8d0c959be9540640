"""Rows of what others have said of our checkpoints, as the events that tell of it change them."""

from collections.abc import Mapping
from typing import Protocol

from preservation.catalog import rows
from preservation.catalog.marks import Changing
from preservation.catalog.rows import AttestationRow, MarkRow


class Detail(Protocol):
    """The detail of an event, read with types."""

    time: str

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def number(self, name: str) -> int:
        """Return a number."""
        ...

    def digests(self, name: str) -> dict[str, str]:
        """Return digests by name."""
        ...


def timestamped(event: Detail, _index: object, view: Changing) -> None:
    """Keep when the last token came, over how many events, and when its authority's certificate ends."""
    marks = {"timestamped": event.time, "timestamped size": event.text("size")}
    _attested(event, view, {**marks, "timestamp authority until": event.text("until")})


def witnessed(event: Detail, _index: object, view: Changing) -> None:
    """Keep when a witness countersigned last, and the most events that any witness, and this one, has seen."""
    marks = {"witnessed": event.time}
    for name in ("witnessed size", f"witnessed by {event.text('key')}"):
        known = rows.one(view, MarkRow, name)
        marks[name] = str(max(event.number("size"), int(known.value) if known is not None else 0))
    _attested(event, view, marks)


def _attested(event: Detail, view: Changing, marks: Mapping[str, str]) -> None:
    for name, value in marks.items():
        mark = MarkRow(name=name, value=value)
        view.put(mark.key, mark.to_bytes())
    for name, digest in event.digests("attestations").items():
        row = AttestationRow(name=name, sha256=digest, recorded=event.time)
        view.put(row.key, row.to_bytes())
