"""Events: what a verb says happened, and the record of it that the ledger keeps verbatim.

A record is the canonical JSON of a PREMIS 3 event. No personal or descriptive data enters it: identifiers, digests,
codes and counts only, so that an archived record can lawfully be destroyed while the log still verifies.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import cast

from preservation.identifiers import is_uuid7
from preservation.ledger.canonical import LARGEST_INTEGER, Json, canonical, read_canonical
from preservation.ledger.errors import RecordError, RecordVersionError
from storage_backends.errors import Phrase

SCHEMA = 1
"""The version of the record's form."""

RECORD_LIMIT = 1 << 20
"""The largest record, in bytes."""

LOCAL = "tag:mocban,2026:"
"""The beginning of the URIs of event types that the Library of Congress has no term for (RFC 4151)."""


class EventType(StrEnum):
    """What kinds of things happen: terms of id.loc.gov/vocabulary/preservation/eventType, and local URIs."""

    ACCESSION = "accession"
    DELETION = "deletion"
    DISSEMINATION = "dissemination"
    EXPORTING = "exporting"
    FIXITY_CHECK = "fixity check"
    FORMAT_IDENTIFICATION = "format identification"
    INFORMATION_PACKAGE_CREATION = "information package creation"
    INGESTION = "ingestion"
    INGESTION_END = "ingestion end"
    INGESTION_START = "ingestion start"
    MESSAGE_DIGEST_CALCULATION = "message digest calculation"
    METADATA_MODIFICATION = "metadata modification"
    MIGRATION = "migration"
    PACKING = "packing"
    POLICY_ASSIGNMENT = "policy assignment"
    QUARANTINE = "quarantine"
    RECOVERY = "recovery"
    REPLICATION = "replication"
    UNQUARANTINE = "unquarantine"
    VALIDATION = "validation"
    VIRUS_CHECK = "virus check"

    GENESIS = LOCAL + "genesis"
    KEY_ROTATION = LOCAL + "key-rotation"
    KIT_CONFIRMED = LOCAL + "kit-confirmed"
    SEGMENT_CLOSED = LOCAL + "segment-closed"
    INVENTORY = LOCAL + "inventory"
    CLOCK_SKEW = LOCAL + "clock-skew"
    FONDS_OPENED = LOCAL + "fonds-opened"
    FONDS_CLOSED = LOCAL + "fonds-closed"
    STORE_ADDED = LOCAL + "store-added"
    STORE_DETACHED = LOCAL + "store-detached"
    STORE_LOST = LOCAL + "store-lost"
    STORE_RELOCATED = LOCAL + "store-relocated"
    SESSION_OPENED = LOCAL + "session-opened"
    SESSION_ABANDONED = LOCAL + "session-abandoned"
    PACK_SEALED = LOCAL + "pack-sealed"
    PACK_RETIRED = LOCAL + "pack-retired"
    COPY_RETIRED = LOCAL + "copy-retired"
    AUDIT_RUN_OPENED = LOCAL + "audit-run-opened"
    AUDIT_RUN_CLOSED = LOCAL + "audit-run-closed"
    REPAIR = LOCAL + "repair"
    OBJECTS_LOST = LOCAL + "objects-lost"
    CATALOG_REBUILT = LOCAL + "catalog-rebuilt"
    TIMESTAMPED = LOCAL + "timestamped"
    WITNESSED = LOCAL + "witnessed"
    AUDITS_PAUSED = LOCAL + "audits-paused"
    AUDITS_RESUMED = LOCAL + "audits-resumed"
    INCIDENT_OPENED = LOCAL + "incident-opened"
    INCIDENTS_SEEN = LOCAL + "incidents-seen"
    INCIDENT_CLOSED = LOCAL + "incident-closed"
    DRILL = LOCAL + "drill"
    SIGNATURES_ACTIVATED = LOCAL + "signatures-activated"
    CARTRIDGE_LABELLED = LOCAL + "cartridge-labelled"
    CARTRIDGE_SEEN = LOCAL + "cartridge-seen"
    CARTRIDGE_MOVED = LOCAL + "cartridge-moved"
    CARTRIDGE_CHANGED = LOCAL + "cartridge-changed"
    CARTRIDGE_REQUESTED = LOCAL + "cartridge-requested"
    REIDENTIFICATION_OPENED = LOCAL + "reidentification-opened"
    REIDENTIFICATION_CLOSED = LOCAL + "reidentification-closed"
    RISK_DECIDED = LOCAL + "risk-decided"
    FORMAT_TOOLS = LOCAL + "format-tools"
    AGENT_REGISTERED = LOCAL + "agent-registered"
    KEY_REVOKED = LOCAL + "key-revoked"
    MIGRATION_PLANNED = LOCAL + "migration-planned"
    PLAN_SIGNED = LOCAL + "plan-signed"
    MIGRATION_BEGUN = LOCAL + "migration-begun"
    MIGRATION_ENDED = LOCAL + "migration-ended"
    MIGRATION_UNDOING = LOCAL + "migration-undoing"
    MIGRATION_UNDONE = LOCAL + "migration-undone"


class Outcome(StrEnum):
    """How it went."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, as a verb says it; the ledger adds sequence number, identifier and time.

    ``type`` is an ``EventType`` or a URI beginning with ``LOCAL``; ``fonds`` is a fonds id, or None if the event is
    about the repository; ``detail`` holds identifiers, digests, codes and counts; ``agent`` is who did it.
    """

    type: str
    outcome: str = Outcome.SUCCESS
    fonds: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)
    agent: str


@dataclass(frozen=True, slots=True)
class Record:
    """An event in the ledger. ``data`` is its canonical JSON: the leaf of the tree."""

    seq: int
    event_id: str
    time: datetime
    event: Event
    data: bytes


_KEYS = {"agent", "detail", "fonds", "id", "outcome", "schema", "seq", "time", "type"}
_TERMS = frozenset(str(term) for term in EventType)
_OUTCOMES = frozenset(str(outcome) for outcome in Outcome)
_TYPE = re.compile(rf"{re.escape(LOCAL)}[a-z0-9-]{{1,60}}|(?=.{{1,80}}\Z)[a-z]+( [a-z]+)*")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


def record_bytes(event: Event, seq: int, event_id: str, time: datetime) -> bytes:
    """Return the canonical record of ``event``.

    Raises:
        RecordError: The event or what is added to it cannot be kept: see ``canonical``, ``Event``, ``RECORD_LIMIT``.
    """
    _check_parts(event.type, event.outcome, event.fonds, event.agent, event.detail)
    if event.type not in _TERMS and not event.type.startswith(LOCAL):
        raise RecordError(reason=Phrase("the event type {type!r:.80}, which no vocabulary has", type=event.type))
    if time.tzinfo is None:
        raise RecordError(reason="a time without a zone")
    if not 0 <= seq <= LARGEST_INTEGER or not is_uuid7(event_id):
        raise RecordError(reason="a sequence number or an identifier that is none")
    data = canonical(
        {
            "agent": event.agent,
            "detail": event.detail,
            "fonds": event.fonds,
            "id": event_id,
            "outcome": str(event.outcome),
            "schema": SCHEMA,
            "seq": seq,
            "time": time_text(time),
            "type": str(event.type),
        }
    )
    if len(data) > RECORD_LIMIT:
        raise RecordError(reason=Phrase("{size} bytes are more than {limit}", size=len(data), limit=RECORD_LIMIT))
    return data


def parse_record(data: bytes) -> Record:
    """Return the record that ``data`` is the canonical form of.

    Raises:
        RecordVersionError: A schema that this program does not know.
        RecordError: Anything else that ``record_bytes`` would not have written.
    """
    if len(data) > RECORD_LIMIT:
        raise RecordError(reason=Phrase("{size} bytes are more than {limit}", size=len(data), limit=RECORD_LIMIT))
    value = read_canonical(data)
    if not isinstance(value, dict):
        raise RecordError(reason="not an object")
    schema = value.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise RecordVersionError(found=str(schema)[:40])
    if value.keys() != _KEYS:
        raise RecordError(reason="members are missing or unknown")
    return Record(_seq(value["seq"]), _event_id(value["id"]), _time(value["time"]), _event(value), data)


def time_text(time: datetime) -> str:
    """Return an aware ``time`` as a record writes it: UTC, microseconds, ``Z``."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _event(value: Mapping[str, Json]) -> Event:
    kind, outcome, fonds, agent, detail = (value[key] for key in ("type", "outcome", "fonds", "agent", "detail"))
    _check_parts(kind, outcome, fonds, agent, detail)
    return Event(
        type=cast("str", kind),
        outcome=cast("str", outcome),
        fonds=cast("str | None", fonds),
        detail=cast("Mapping[str, Json]", detail),
        agent=cast("str", agent),
    )


def _check_parts(kind: object, outcome: object, fonds: object, agent: object, detail: object) -> None:
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise RecordError(reason=Phrase("the event type {kind!r:.80}", kind=kind))
    if not isinstance(outcome, str) or outcome not in _OUTCOMES:
        raise RecordError(reason=Phrase("the outcome {outcome!r:.80}", outcome=outcome))
    if fonds is not None and (not isinstance(fonds, str) or not fonds):
        raise RecordError(reason="a fonds that is not an identifier")
    if not isinstance(agent, str) or not agent:
        raise RecordError(reason="an event without an agent")
    if not isinstance(detail, Mapping):
        raise RecordError(reason="a detail that is not an object")


def _seq(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RecordError(reason="a sequence number that is none")
    return value


def _event_id(value: Json) -> str:
    if not isinstance(value, str) or not _UUID7.fullmatch(value):
        raise RecordError(reason="an identifier that is not a UUIDv7")
    return value


def _time(value: Json) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise RecordError(reason="a time that is not UTC with microseconds")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise RecordError(reason="a time that does not exist") from error
