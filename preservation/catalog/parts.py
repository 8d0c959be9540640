"""Rows of the parts that events name: whatever the event is, its parts are listed alike."""

import re
from collections.abc import Mapping
from typing import cast

from preservation.catalog.marks import Changing
from preservation.catalog.rows import PartRow
from preservation.ledger.canonical import Json
from preservation.ledger.events import Record, time_text

_DIGEST = re.compile(r"[0-9a-f]{64}")


def parts_recorded(record: Record, view: Changing) -> None:
    """List the parts that an event names; what has not the form of a part, as other programs may write it, is not."""
    named = record.event.detail["parts"]
    for one in named if isinstance(named, list) else ():
        entry = cast("Mapping[str, Json]", one) if isinstance(one, Mapping) else {}
        digest, kind, size, count = (entry.get(name) for name in ("blake3", "kind", "size", "rows"))
        if not (isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(kind, str)):
            continue
        if not (isinstance(size, int) and isinstance(count, int)):
            continue
        row = PartRow(
            blake3=digest,
            kind=kind,
            size=size,
            rows=count,
            fonds=record.event.fonds or "",
            run=str(record.event.detail.get("run", "")),
            event=record.seq,
            recorded=time_text(record.time),
        )
        view.put(row.key, row.to_bytes())
