"""Findings: what is wrong, as coded data with hints at the cause and the next command; see ``docs/findings.md``."""

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
    CARTRIDGE_DIFFERS = "cartridge-differs"
    CARTRIDGE_WRONG = "cartridge-wrong"
    CARTRIDGE_MISSING = "cartridge-missing"
    CARTRIDGE_OFFLINE = "cartridge-offline"
    CARTRIDGE_PROTECTED = "cartridge-protected"
    CARTRIDGE_FAILING = "cartridge-failing"
    CARTRIDGE_AGEING = "cartridge-ageing"
    CARTRIDGE_OVERDUE = "cartridge-overdue"
    CARTRIDGE_WORN = "cartridge-worn"
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
    CATALOG_DIFFERS = "catalog-differs"
    GRADE_UNAVAILABLE = "grade-unavailable"
    GENERATION_CHANGED = "generation-changed"
    VERIFICATION_LATE = "verification-late"
    VERIFICATION_OVERDUE = "verification-overdue"
    VERIFICATION_FORECAST = "verification-forecast"
    SCHEDULER_STOPPED = "scheduler-stopped"
    FORMATS_OUTDATED = "formats-outdated"
    FORMATS_DISAGREE = "formats-disagree"
    FORMAT_AT_RISK = "format-at-risk"
    FORMAT_RISK_GREW = "format-risk-grew"
    FORMAT_TOOL_LOST = "format-tool-lost"


SEVERITY = {
    Code.CARTRIDGE_DIFFERS: Severity.WARNING,
    Code.GENERATION_CHANGED: Severity.WARNING,
    Code.READ_UNSTABLE: Severity.WARNING,
    Code.UNDER_REPLICATED: Severity.WARNING,
    Code.STORES_NOT_INDEPENDENT: Severity.WARNING,
    Code.VERIFICATION_LATE: Severity.WARNING,
    Code.VERIFICATION_FORECAST: Severity.WARNING,
    Code.FORMATS_OUTDATED: Severity.WARNING,
    Code.FORMATS_DISAGREE: Severity.WARNING,
    Code.FORMAT_AT_RISK: Severity.WARNING,
    Code.FORMAT_RISK_GREW: Severity.WARNING,
    Code.FORMAT_TOOL_LOST: Severity.WARNING,
    Code.CARTRIDGE_OFFLINE: Severity.WARNING,
    Code.CARTRIDGE_PROTECTED: Severity.WARNING,
    Code.CARTRIDGE_AGEING: Severity.WARNING,
    Code.CARTRIDGE_WORN: Severity.WARNING,
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
    Code.CATALOG_DIFFERS: marked("a row of the catalog is not what the ledger and the indexes give"),
    Code.GRADE_UNAVAILABLE: marked("a store cannot give the evidence that was asked for, so nothing was looked at"),
    Code.GENERATION_CHANGED: marked("a copy was written anew since its bytes were last read"),
    Code.VERIFICATION_LATE: marked("copies were not verified for three quarters of the longest age or more"),
    Code.VERIFICATION_OVERDUE: marked("copies were not verified for longer than the policy allows"),
    Code.VERIFICATION_FORECAST: marked("copies will not be verified in time if all goes on as it does"),
    Code.SCHEDULER_STOPPED: marked("nobody audits: the service has not been at work"),
    Code.FORMATS_OUTDATED: marked("the files have not been gone through with the signatures that are active"),
    Code.FORMATS_DISAGREE: marked("two tools name the format of a file differently, and nobody has decided"),
    Code.FORMAT_AT_RISK: marked("a format that is held is at high risk, and nothing is decided about it"),
    Code.FORMAT_RISK_GREW: marked("the risk of a format has grown since something was decided about it"),
    Code.FORMAT_TOOL_LOST: marked("a program that formats need is gone from this machine"),
    Code.CARTRIDGE_WRONG: marked("a cartridge is not the one that its barcode says"),
    Code.CARTRIDGE_MISSING: marked("a cartridge is neither in the library nor on a shelf"),
    Code.CARTRIDGE_OFFLINE: marked("copies on a cartridge on a shelf were not checked"),
    Code.CARTRIDGE_PROTECTED: marked("a cartridge that was to be written is write protected"),
    Code.CARTRIDGE_FAILING: marked("a cartridge fails: what lies on it must be brought to others"),
    Code.CARTRIDGE_AGEING: marked("a cartridge comes to the end of its life: bring elsewhere what lies on it"),
    Code.CARTRIDGE_OVERDUE: marked("a cartridge has less than a year of its life left, and copies still lie on it"),
    Code.CARTRIDGE_WORN: marked("a cartridge was loaded as often as its maker allows, and copies still lie on it"),
    Code.CARTRIDGE_DIFFERS: marked("what is on a cartridge is not what its directory or its index says"),
}
"""What each code means, in one clause."""

CAUSES = {
    Code.COPY_DAMAGED: (marked("a dying disk"), marked("somebody wrote to the store"), marked("a power cut")),
    Code.COPY_MISSING: (marked("somebody deleted it"), marked("the store was set back to an older day")),
    Code.COPY_UNREADABLE: (
        marked("the store is away"),
        marked("a permission"),
        marked("a bad sector, cable or controller"),
    ),
    Code.READ_UNSTABLE: (marked("memory, cable or controller of this machine"),),
    Code.ITEM_UNEXPECTED: (marked("somebody wrote to the store"), marked("an old disk came back")),
    Code.OBJECTS_LOST: (marked("damage on every copy"), marked("stores that were away when it mattered")),
    Code.SIDECAR_DAMAGED: (marked("a dying disk"), marked("somebody wrote to the store")),
    Code.EVIDENCE_DAMAGED: (marked("the store could not be written"), marked("somebody wrote to the store")),
    Code.INDEX_MISSING: (marked("a file of the repository was deleted or damaged"),),
    Code.STORE_UNAVAILABLE: (marked("not mounted"), marked("another disk in its place"), marked("a permission")),
    Code.UNDER_REPLICATED: (marked("a store was away or full"), marked("fewer stores than the policy asks")),
    Code.STORES_NOT_INDEPENDENT: (marked("two stores on one disk or file system"),),
    Code.LEDGER_DAMAGED: (marked("the repository was restored from an old backup"), marked("the ledger was changed")),
    Code.REPAIR_FAILED: (marked("no space"), marked("a permission"), marked("a store went away")),
    Code.CATALOG_DIFFERS: (
        marked("a bad sector below the catalog"),
        marked("somebody changed the catalog"),
        marked("an error of the program"),
    ),
    Code.GRADE_UNAVAILABLE: (marked("no provider computes digests there"),),
    Code.GENERATION_CHANGED: (marked("somebody wrote to the store"), marked("the store was copied to another medium")),
    Code.VERIFICATION_LATE: (
        marked("the service was down"),
        marked("a store was away"),
        marked("the window, the rate or a pause leaves too little time"),
    ),
    Code.VERIFICATION_OVERDUE: (
        marked("the service was down"),
        marked("a store was away"),
        marked("the window, the rate or a pause leaves too little time"),
    ),
    Code.VERIFICATION_FORECAST: (
        marked("the window, the rate or a pause leaves too little time"),
        marked("the store is slow for what it holds and is given"),
    ),
    Code.SCHEDULER_STOPPED: (marked("the service was down"), marked("a piece of its work hangs on a store")),
    Code.FORMATS_OUTDATED: (marked("other signatures were activated"), marked("a run was stopped")),
    Code.FORMATS_DISAGREE: (marked("a damaged or unusual file"), marked("an error in the signatures of one tool")),
    Code.FORMAT_AT_RISK: (marked("an old or closed format"), marked("encryption, macros or an old encoding in files")),
    Code.FORMAT_RISK_GREW: (marked("a new risk table or policy"), marked("files that came in since")),
    Code.FORMAT_TOOL_LOST: (marked("a package was removed or renamed by an upgrade"), marked("another machine")),
    Code.CARTRIDGE_WRONG: (
        marked("barcode labels were exchanged"),
        marked("a blank or another cartridge was put in its place"),
        marked("two cartridges have one barcode"),
    ),
    Code.CARTRIDGE_MISSING: (
        marked("somebody took it out without 'mocban tape export'"),
        marked("the barcode cannot be read"),
    ),
    Code.CARTRIDGE_OFFLINE: (marked("it was taken to its shelf"),),
    Code.CARTRIDGE_PROTECTED: (marked("its tab is set"),),
    Code.CARTRIDGE_FAILING: (
        marked("a worn or damaged tape"),
        marked("a dirty or failing drive"),
        marked("an evacuation that did not end"),
    ),
    Code.CARTRIDGE_AGEING: (marked("its age, counted from its label"),),
    Code.CARTRIDGE_OVERDUE: (marked("its age, counted from its label"),),
    Code.CARTRIDGE_WORN: (marked("it was loaded and unloaded often"),),
    Code.CARTRIDGE_DIFFERS: (
        marked("a flush was interrupted"),
        marked("somebody else wrote on the cartridge"),
        marked("the directory of the cartridges is out of a backup"),
    ),
}
"""What each code may come from, the likeliest first."""

NEXT = {
    Code.COPY_DAMAGED: "repair {pack}",
    Code.COPY_MISSING: "repair {pack}",
    Code.COPY_UNREADABLE: "repair {pack}",
    Code.READ_UNSTABLE: "audit --no-repair --store={store}",
    Code.ITEM_UNEXPECTED: "audit --max-age=1 --store={store}",
    Code.OBJECTS_LOST: "repair",
    Code.SIDECAR_DAMAGED: "audit --max-age=1 --store={store}",
    Code.EVIDENCE_DAMAGED: "audit --max-age=1 --store={store}",
    Code.INDEX_MISSING: "rebuild",
    Code.STORE_UNAVAILABLE: "audit --max-age=1 --store={store}",
    Code.UNDER_REPLICATED: "replicate",
    Code.STORES_NOT_INDEPENDENT: "store list",
    Code.LEDGER_DAMAGED: "rebuild",
    Code.REPAIR_FAILED: "repair {pack}",
    Code.CATALOG_DIFFERS: "rebuild",
    Code.GRADE_UNAVAILABLE: "audit --max-age=1 --store={store}",
    Code.GENERATION_CHANGED: "repair {pack}",
    Code.VERIFICATION_LATE: "serve --once",
    Code.VERIFICATION_OVERDUE: "audit --max-age=30 --store={store}",
    Code.VERIFICATION_FORECAST: "status",
    Code.SCHEDULER_STOPPED: "serve --once",
    Code.FORMATS_OUTDATED: "formats reidentify",
    Code.FORMATS_DISAGREE: "formats review",
    Code.FORMAT_AT_RISK: "formats risk",
    Code.FORMAT_RISK_GREW: "formats risk",
    Code.FORMAT_TOOL_LOST: "formats watch",
    Code.CARTRIDGE_DIFFERS: "tape scan {cartridge}",
    Code.CARTRIDGE_WRONG: "tape load {cartridge}",
    Code.CARTRIDGE_MISSING: "tape import {cartridge}",
    Code.CARTRIDGE_OFFLINE: "tape picklist",
    Code.CARTRIDGE_PROTECTED: "tape list",
    Code.CARTRIDGE_FAILING: "tape evacuate {cartridge}",
    Code.CARTRIDGE_AGEING: "tape evacuate {cartridge}",
    Code.CARTRIDGE_OVERDUE: "tape evacuate {cartridge}",
    Code.CARTRIDGE_WORN: "tape evacuate {cartridge}",
}
"""What to run next, when the cause is removed: words of a command, in which names stand for a finding's fields.

Copies that were verified within a day are passed over where nothing but what lies beside them must be looked at.
"""

NEXT_WITHOUT_STORE = {
    Code.COPY_MISSING: "replicate",
    Code.LEDGER_DAMAGED: "ledger verify",
}
"""The same where the finding is about no single store."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is or was wrong. ``detail`` is a short code with figures, for people and scripts alike."""

    code: Code
    store: str = ""
    pack: str = ""
    detail: str = ""
    healed: bool = False
    cartridge: str = ""
    """The barcode, of a finding about a cartridge."""

    @property
    def severity(self) -> Severity:
        """Whether somebody must act."""
        return SEVERITY.get(self.code, Severity.ERROR)

    @property
    def is_open(self) -> bool:
        """Whether it keeps the exit status from being 0."""
        return not self.healed and self.severity is Severity.ERROR


def next_command(finding: Finding) -> list[str]:
    """Return the command to run next as a list of arguments, names filled in; an empty list if nothing is left to do.

    Words whose name is not known are left out: ``repair`` alone looks at all that was seen bad. A code that is not in
    ``NEXT`` leads to ``mocban status``, which changes nothing.
    """
    if finding.healed:
        return []
    words = NEXT.get(finding.code, "status")
    if not finding.store:
        words = NEXT_WITHOUT_STORE.get(finding.code, words)
    if "{cartridge}" in words and not finding.cartridge:
        words = "tape list"
    names = {"store": finding.store, "pack": finding.pack, "cartridge": finding.cartridge}
    unknown = tuple(f"{{{name}}}" for name, value in names.items() if not value)
    return ["mocban", *(word.format(**names) for word in words.split() if not word.endswith(unknown))]
