"""Marks of the repository's circumstances: pauses of audits and jumps of the clock, as events change them."""

import json
from typing import Protocol

from preservation.catalog import rows
from preservation.catalog.rows import MarkRow, Readable

PAUSE = "pause/"
"""Before the identifier of the store that is not audited; alone it is for all stores."""

SIGNATURES = "signatures"
"""The signature bundle in use."""

SKEWS = "clock skews"
MOST_SKEWS = 50
"""How many jumps of the clock are remembered; a cycle of audits later the older ones make no difference."""


class Detail(Protocol):
    """The detail of an event, read with types."""

    time: str
    seq: int

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def number(self, name: str) -> int:
        """Return a number."""
        ...


class Changing(Readable, Protocol):
    """Rows that can be changed."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        ...


def audits_paused(event: Detail, _index: object, view: Changing) -> None:
    """Keep a pause, in place of an earlier one of the same store."""
    value = {name: event.text(name) for name in ("reason", "since", "store", "until")}
    mark = MarkRow(name=PAUSE + event.text("store"), value=json.dumps(value, sort_keys=True))
    view.put(mark.key, mark.to_bytes())


def audits_resumed(event: Detail, _index: object, view: Changing) -> None:
    """Forget a pause."""
    view.delete(MarkRow.PREFIX + (PAUSE + event.text("store")).encode())


def signatures_activated(event: Detail, _index: object, view: Changing) -> None:
    """Keep which bundle of signatures is in use, and since which event."""
    value = {"bundle": event.text("bundle"), "blake3": event.text("blake3")}
    known = json.dumps({**value, "activated": event.time, "event": event.seq}, sort_keys=True)
    mark = MarkRow(name=SIGNATURES, value=known)
    view.put(mark.key, mark.to_bytes())


def clock_skewed(event: Detail, _index: object, view: Changing) -> None:
    """Keep what the clock showed after a jump, and by how many seconds it had jumped.

    ``jumped`` is what the service saw; ``seconds`` is how far the ledger found the clock behind its last event.
    """
    jumped = int(event.text("jumped")) if event.text("jumped") else -event.number("seconds")
    if not jumped:
        return
    before = rows.one(view, MarkRow, SKEWS)
    known = json.loads(before.value) if before is not None else []
    mark = MarkRow(name=SKEWS, value=json.dumps([*known, [event.time, jumped]][-MOST_SKEWS:]))
    view.put(mark.key, mark.to_bytes())
