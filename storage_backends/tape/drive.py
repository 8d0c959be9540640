"""What a tape drive and a medium changer do, and how each of their failures is told apart.

An implementation probes what its drive can do and never assumes it. Positions are what the drive reports; the tape file
and the record in it are kept beside them, for drives that cannot locate a block.
"""

from dataclasses import dataclass
from typing import Protocol

from storage_backends.backend import Reach
from storage_backends.errors import NotRecalledError, StorageError, StoreUnavailableError, TransientError, marked

RECORD = 1 << 18
"""Bytes of a record (256 KiB): what ``tar -b 512`` reads. Every record but those of the label is full."""


class TapeError(StorageError):
    """A drive or changer could not do what it was asked; ``place`` is the drive, or the cartridge in it."""


class NotReadyError(TapeError):
    """There is no cartridge in the drive, or the drive is not ready."""

    template = marked("{place}: no cartridge is ready in the drive ({reason})")


class MediumChangedError(TapeError):
    """The cartridge was changed, or the drive was reset: the position is lost, and the label must be read again."""

    template = marked("{place}: the cartridge may have been changed ({reason})")


class WriteProtectedError(TapeError):
    """The cartridge may not be written: a tab, a drive's setting, or a medium that is written once."""

    template = marked("{place}: the cartridge is write protected ({reason})")


class EndOfMediumError(TapeError):
    """The tape is at its end; nothing of this record is on it."""

    template = marked("{place}: the end of the medium was reached at block {block}")


class EndOfDataError(TapeError):
    """Nothing was ever written here."""

    template = marked("{place}: there is no data at block {block}")


class MediumError(TapeError):
    """A record that cannot be read or written."""

    template = marked("{place}: block {block} cannot be read ({reason})")


class BlockTooLargeError(TapeError):
    """The record on the tape is longer than was asked for."""

    template = marked("{place}: the record at block {block} has {found} bytes, more than {expected}")


class UnsupportedError(TapeError):
    """The drive cannot do this."""

    template = marked("{place}: the drive cannot do this: {reason}")


class DriveOfflineError(TapeError):
    """The way to the drive was lost: whether the last command was carried out is not known."""

    template = marked("{place}: the drive was lost ({reason}); what it did last is not known")


class DriveBusyError(TransientError):
    """Another process owns the drive."""

    template = marked("{place}: another process uses the drive")


class WrongPositionError(TapeError):
    """The drive stands elsewhere than what was written says: what is on the tape is not known."""

    template = marked("{place}: the drive stands at block {found} where {expected} was expected")


class WrongCartridgeError(TapeError):
    """The label is not that of the cartridge that was asked for."""

    template = marked("{place}: cartridge {barcode} was asked for, and the label says {found}")


class ForeignCartridgeError(WrongCartridgeError):
    """The label is that of another store's cartridge."""


class CartridgeAwayError(NotRecalledError):
    """The cartridge is not in the library."""

    template = marked("{place}: cartridge {barcode} is not in the library")


class CartridgeShelvedError(CartridgeAwayError):
    """The cartridge lies on a shelf: that is where it belongs, and a person must bring it."""

    template = marked(
        "{place}: cartridge {barcode} is on the shelf (offline: not checked); 'mocban tape picklist' says where"
    )


class DuplicateBarcodeError(StoreUnavailableError):
    """Two cartridges in the library have one barcode: which of them is meant cannot be told."""

    template = marked("{place}: two cartridges in the library have the barcode {barcode}; take one out")


class NoLabelError(StoreUnavailableError):
    """A cartridge has no label that can be read."""

    template = marked("{place}: the label of cartridge {barcode} cannot be read ({reason})")


FILEMARK = None
"""What ``read`` gives at a filemark."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins: the block as the drive reported it (None: it cannot), tape file, and record in that."""

    block: int | None
    file: int
    record: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a drive was found to do."""

    position: bool = True
    locate: bool = True
    longest_record: int = 1 << 20


class TapeDrive(Protocol):
    """One drive with, perhaps, a cartridge in it. Every operation raises ``TapeError`` and its kinds, nothing else."""

    @property
    def name(self) -> str:
        """What to call it in an error: the drive, or the cartridge."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this drive was found to do."""
        ...

    def check_ready(self) -> None:
        """Raise ``NotReadyError`` or ``MediumChangedError`` unless a cartridge can be used."""
        ...

    def is_write_protected(self) -> bool:
        """Tell whether nothing at all can be written on this cartridge."""
        ...

    def rewind(self) -> None:
        """Go to the beginning of the tape."""
        ...

    def position(self) -> int | None:
        """Return the number of the next block as the drive counts (filemarks too); None if it cannot tell."""
        ...

    def locate(self, place: Place) -> None:
        """Go to ``place``; ``EndOfDataError`` if the tape has not so much."""
        ...

    def skip_file(self) -> None:
        """Go behind the next filemark; ``EndOfDataError`` if there is none before the data ends."""
        ...

    def read(self, size: int) -> bytes | None:
        """Return the next record, of at most ``size`` bytes, or ``FILEMARK``, and move behind it."""
        ...

    def write(self, record: bytes | memoryview) -> bool:
        """Write a record; everything behind it is gone. Return whether early warning was reached."""
        ...

    def write_filemark(self, *, synchronous: bool) -> None:
        """Write a filemark; if ``synchronous``, return only when all that was written is on the medium."""
        ...

    def reach(self, place: Place, records: int) -> Reach:
        """See to it that these records are read from the medium, and return how deep their next read goes."""
        ...

    def unload(self) -> None:
        """Bring what is written to the medium and give the cartridge up."""
        ...

    def close(self) -> None:
        """Let others have the drive; the cartridge stays where it is."""
        ...


@dataclass(frozen=True, slots=True)
class Element:
    """A place for one cartridge in a library; ``barcode`` is empty if it is."""

    address: int
    is_drive: bool
    barcode: str
    is_mailbox: bool = False
    """A slot through which cartridges come in and go out."""


class TapeChanger(Protocol):
    """What moves cartridges between slots and drives."""

    def elements(self) -> list[Element]:
        """Return every slot and drive."""
        ...

    def move(self, source: int, destination: int) -> None:
        """Move the cartridge from one element to another."""
        ...

    def give_out(self) -> str:
        """Give the cartridge in a drive that a person loads to that person; return its barcode, empty if it is none."""
        ...

    def close(self) -> None:
        """Let others have the changer."""
        ...
