"""The state of the ledger: how much there is, the checkpoint to keep, and when what was last recorded."""

import base64
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from audits.reports.figures import LedgerFigures
from audits.reports.parquet import kinds
from preservation.ledger.errors import LedgerError
from preservation.ledger.events import parse_record, time_text
from preservation.ledger.log import Ledger

FINGERPRINT_DIGITS = 32
"""Hexadecimal digits of a root that people write down: 128 bits."""


@dataclass(slots=True)
class _Known:
    counts: Counter[str] = field(default_factory=Counter)
    last: dict[str, datetime] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)

    def later(self, kind: str, time: datetime) -> None:
        before = self.last.get(kind)
        self.last[kind] = time if before is None else max(before, time)


def ledger_state(ledger: Ledger) -> LedgerFigures:
    """Return the state of the ledger as it was last seen. Of sealed events only the columns are read."""
    known = _Known()
    for segment in ledger.segments:
        counts, last, agents = kinds(ledger.segment_file(segment))
        known.counts.update(counts)
        known.agents |= agents
        for kind, time in last.items():
            known.later(kind, time)
    for data in ledger.raw_records(ledger.sealed_size):
        record = parse_record(data)
        known.counts[record.event.type] += 1
        known.agents.add(record.event.agent)
        known.later(record.event.type, record.time)
    checkpoint, size, root = _latest(ledger)
    return LedgerFigures(
        size=ledger.size,
        origin=ledger.origin,
        root=base64.b64encode(ledger.root()).decode(),
        sealed=ledger.sealed_size,
        segments=len(ledger.segments),
        checkpoint=checkpoint,
        checkpoint_size=size,
        checkpoint_root=root,
        checkpoint_fits=root == ledger.root() if size == ledger.size else None,
        last={kind: time_text(time) for kind, time in known.last.items()},
        kinds=dict(known.counts),
        agents=len(known.agents),
    )


def _latest(ledger: Ledger) -> tuple[str, int, bytes]:
    """Return the latest checkpoint that can be read."""
    for size in reversed(ledger.checkpoint_sizes()):
        try:
            signed = ledger.checkpoint(size)
        except (LedgerError, OSError):
            continue
        return signed.note.encoded().decode(), size, signed.checkpoint.root
    return "", 0, b""


def fingerprint(root: bytes) -> str:
    """Return the first 128 bits of a root in groups of four digits, as people write them down and compare them."""
    digits = root.hex()[:FINGERPRINT_DIGITS]
    return " ".join(digits[place : place + 4] for place in range(0, len(digits), 4))
