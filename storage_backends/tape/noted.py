"""What is noticed of cartridges while they are used, for whoever records it: loads, hard errors, conditions."""

from dataclasses import dataclass, field
from enum import StrEnum


class Condition(StrEnum):
    """What can be the matter with a cartridge that was asked for."""

    AWAY = "away"
    """It is not in the library."""
    DUPLICATE = "duplicate"
    """Two cartridges in the library have its barcode."""
    FOREIGN = "foreign"
    """Its label is its own, and says that it is another store's."""
    NO_LABEL = "no-label"
    """It is blank, or its label cannot be read or is not one of ours."""
    WRONG_LABEL = "wrong-label"
    """Its label is that of another cartridge."""
    WRITE_PROTECTED = "write-protected"
    """It was to be written, and may not be."""


@dataclass(slots=True)
class Noted:
    """What was noticed of a cartridge: loads, the day on its label, (tape file, record) of hard errors, conditions."""

    loads: int = 0
    labelled: str = ""
    errors: set[tuple[int, int]] = field(default_factory=set)
    conditions: set[Condition] = field(default_factory=set)
    is_protected: bool = False
    """Whether it could not be written when it was loaded last."""
