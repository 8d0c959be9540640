"""Rows of incidents, as the events that open, follow and close them change them."""

import dataclasses
from typing import Protocol

from preservation.catalog import rows
from preservation.catalog.marks import Changing
from preservation.catalog.rows import IncidentRow


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

    def numbers(self, name: str) -> dict[str, int]:
        """Return numbers by name."""
        ...


def incident_opened(event: Detail, _index: object, view: Changing) -> None:
    """Keep what was found wrong."""
    count = event.number("count")
    row = IncidentRow(
        incident=event.text("incident"),
        code=event.text("code"),
        store=event.text("store"),
        pack=event.text("pack"),
        opened=event.time,
        opened_event=event.seq,
        run=event.text("run"),
        count=count,
        most=count,
        seen=event.time,
    )
    view.put(row.key, row.to_bytes())


def incidents_seen(event: Detail, _index: object, view: Changing) -> None:
    """Keep how much of it a run still found."""
    for incident, count in event.numbers("counts").items():
        row = rows.one(view, IncidentRow, incident)
        if row is not None:
            pack = row.pack if count == 1 else ""
            row = dataclasses.replace(row, count=count, most=max(row.most, count), pack=pack, seen=event.time)
            view.put(row.key, row.to_bytes())


def incident_closed(event: Detail, _index: object, view: Changing) -> None:
    """Keep how it ended."""
    row = rows.one(view, IncidentRow, event.text("incident"))
    if row is None:
        return
    if row.closed:
        row = dataclasses.replace(row, ended=event.time)
    else:
        how, reason = event.text("how"), event.text("reason")
        row = dataclasses.replace(row, closed=event.time, closed_event=event.seq, how=how, reason=reason)
    view.put(row.key, row.to_bytes())
