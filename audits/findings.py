"""Findings: what an audit says of damage, as coded data; ``docs/findings.md`` explains every code."""

from dataclasses import dataclass
from enum import StrEnum

from storage_backends.errors import marked


class Severity(StrEnum):
    """Whether somebody must act."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """The stable names of findings."""

    COPY_DAMAGED = "copy-damaged"
    COPY_MISSING = "copy-missing"
    COPY_UNREADABLE = "copy-unreadable"
    READ_UNSTABLE = "read-unstable"
    ITEM_UNEXPECTED = "item-unexpected"
    OBJECTS_LOST = "objects-lost"
    SIDECAR_DAMAGED = "sidecar-damaged"
    EVIDENCE_DAMAGED = "evidence-damaged"
    INDEX_MISSING = "index-missing"
    STORE_UNAVAILABLE = "store-unavailable"
    UNDER_REPLICATED = "under-replicated"
    STORES_NOT_INDEPENDENT = "stores-not-independent"
    LEDGER_DAMAGED = "ledger-damaged"
    REPAIR_FAILED = "repair-failed"


SEVERITY = {
    Code.READ_UNSTABLE: Severity.WARNING,
    Code.UNDER_REPLICATED: Severity.WARNING,
    Code.STORES_NOT_INDEPENDENT: Severity.WARNING,
}
"""The severity of a code; what is not here is an error."""

MEANING = {
    Code.COPY_DAMAGED: marked("a copy's bytes are not what they should be"),
    Code.COPY_MISSING: marked("a copy is not on its store"),
    Code.COPY_UNREADABLE: marked("a copy could not be read, so nothing is known of it"),
    Code.READ_UNSTABLE: marked("a copy was read wrong once and right the second time; watch this machine"),
    Code.ITEM_UNEXPECTED: marked("something lies on a store that does not belong there"),
    Code.OBJECTS_LOST: marked("objects are damaged on every copy and could not be put together"),
    Code.SIDECAR_DAMAGED: marked("an index or a list of block digests beside a pack is missing or wrong"),
    Code.EVIDENCE_DAMAGED: marked("a part of the ledger on a store is missing or wrong"),
    Code.INDEX_MISSING: marked("the index of a pack is missing in the repository"),
    Code.STORE_UNAVAILABLE: marked("a store could not be looked at"),
    Code.UNDER_REPLICATED: marked("a pack has fewer good copies than the policy asks"),
    Code.STORES_NOT_INDEPENDENT: marked("two stores would fail together"),
    Code.LEDGER_DAMAGED: marked("the ledger does not verify"),
    Code.REPAIR_FAILED: marked("a repair could not be finished"),
}
"""What each code means, in one clause."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is or was wrong. ``detail`` is a short code with figures, for people and scripts alike."""

    code: Code
    store: str = ""
    pack: str = ""
    detail: str = ""
    healed: bool = False

    @property
    def severity(self) -> Severity:
        """Whether somebody must act."""
        return SEVERITY.get(self.code, Severity.ERROR)

    @property
    def is_open(self) -> bool:
        """Whether it keeps the exit status from being 0."""
        return not self.healed and self.severity is Severity.ERROR
