"""The register of risks: open, accepted, mitigated. What was decided is an event with codes; the words lie beside it.

A decision holds for the score that it was taken at. Where a later policy, table or file makes the score of the format
higher, the risk is open again, and says so.
"""

import json
from dataclasses import dataclass

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import RiskRow
from preservation.evidence import push
from preservation.fixity import blake3_hex
from preservation.ledger.events import EventType
from preservation.repository import Repository
from preservation.risk.policy import Level
from preservation.risk.scoring import Assessment
from preservation.sidecars import Sidecars, description_name
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError, marked

OPEN, ACCEPTED, MITIGATED = "open", "accepted", "mitigated"
NONE = "none"
"""The state of a format whose risk is low."""

REASONS = {
    ACCEPTED: ("software-at-hand", "low-value", "retention-ends-soon", "no-better-format", "other"),
    MITIGATED: ("migrated", "software-kept", "extracted", "password-kept", "fonts-kept", "other"),
    OPEN: ("reconsidered", "software-lost", "other"),
}
"""Why: the ledger takes no free text."""

LONGEST_NOTE = 4_000


class NotHeldError(MocbanError):
    """No file of this format is held."""

    template = marked("No file that is held has the format {puid}; 'mocban formats risk' lists those there are")


class NoteTooLongError(MocbanError):
    """The words are too many."""

    template = marked("A note has at most {limit} characters")


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for one format: the state, and what was decided last. ``worse`` is that the score has grown since."""

    state: str
    row: RiskRow | None = None
    worse: bool = False


def standing(view: View, one: Assessment) -> Standing:
    """Return what holds for a format."""
    row = rows.one(view, RiskRow, one.format)
    if row is not None and row.state in {ACCEPTED, MITIGATED}:
        if one.score <= row.score:
            return Standing(row.state, row)
        return Standing(OPEN, row, worse=True)
    return Standing(NONE if one.level is Level.LOW else OPEN, row)


def note_of(sidecars: Sidecars, row: RiskRow) -> str:
    """Return the words that go with a decision; empty if there are none or they are not here."""
    data = sidecars.read(description_name(row.note), row.note) if row.note else None
    return str(json.loads(data).get("note", "")) if data is not None else ""


def decide(repository: Repository, one: Assessment, state: str, reason: str, *, note: str, table: str) -> RiskRow:
    """Record what was decided of the risk of a format; ``note`` are words, kept beside the ledger and not in it.

    Raises:
        NoteTooLongError.
    """
    assert reason in REASONS[state]
    digest = ""
    if note:
        if len(note) > LONGEST_NOTE:
            raise NoteTooLongError(limit=LONGEST_NOTE)
        text = note.encode(errors="backslashreplace").decode()
        values = {"note": text, "risk": one.format, "salt": repository.world.random(16).hex()}
        data = json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n"
        digest = blake3_hex(data)
        repository.sidecars.keep(description_name(digest), data)
    with repository.deciding() as (view, append):
        store_rows = attached(view)
        append(
            [
                repository.event(
                    EventType.RISK_DECIDED,
                    puid=one.format,
                    state=state,
                    reason=reason,
                    note=digest,
                    score=one.score,
                    table=table,
                )
            ]
        )
    with all_open(store_rows) as stores:
        push(repository, stores)
    with repository.reading() as view:
        row = rows.one(view, RiskRow, one.format)
    assert row is not None
    return row
