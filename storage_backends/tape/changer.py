"""What brings cartridges to a drive: a medium changer by SCSI commands, or a person.

Barcodes are what the changer's own reader says; what a cartridge really is, its label says. Where it was once is not
remembered: every question is asked of the changer again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from storage_backends.errors import Phrase, StorageError, marked
from storage_backends.tape import scsi
from storage_backends.tape.drive import (
    DriveOfflineError,
    Element,
    NoLabelError,
    NotReadyError,
    TapeDrive,
    TapeError,
    UnsupportedError,
)
from storage_backends.tape.labels import label_of
from storage_backends.tape.scsi import ElementKind, ElementStatus, Key, Transport

MOVING = 600
"""Seconds that a move may take."""

UNKNOWN = "?"
"""The barcode of a cartridge that a person put in and whose label says none."""
CLEANING = "CLN"
"""What the barcodes of cleaning cartridges begin with (IBM and HPE LTO label specifications): never loaded by us."""

_KINDS = (ElementKind.DRIVE, ElementKind.SLOT, ElementKind.MAILBOX)


class ElementError(TapeError):
    """A cartridge cannot be moved: there is none, or its destination is taken."""

    template = marked("{place}: the cartridge in element {source} cannot be moved to {destination}: {reason}")


class WhichDriveError(StorageError):
    """The changer has several drives, and nothing says which of them is ours."""

    template = marked("{place}: which of its drives {drives} is this one? Add &element=N to the URL")


class ScsiChanger:
    """A medium changer behind a transport, as one drive sees it: the other drives and what is in them are not shown.

    ``element`` is the drive's address; without it the changer is asked for the drive of that ``serial`` number, and a
    changer with only one drive needs neither.
    """

    def __init__(self, transport: Transport, *, element: int | None, serial: Callable[[], str]) -> None:
        self.name = transport.name
        self._transport, self._element, self._serial = transport, element, serial

    def elements(self) -> list[Element]:
        """Return the drive, then the slots, then the mail slots."""
        found = [one for kind in _KINDS for one in self._asked(kind)]
        own = self._own([one for one in found if one.kind == ElementKind.DRIVE])
        return [
            Element(
                one.address,
                is_drive=one.kind == ElementKind.DRIVE,
                barcode=one.barcode or (f"?{one.address}" if one.full else ""),
                is_mailbox=one.kind == ElementKind.MAILBOX,
            )
            for one in found
            if one.kind != ElementKind.DRIVE or one.address == own
        ]

    def move(self, source: int, destination: int) -> None:
        """Move a cartridge, and wait until that is done."""
        self._connect()
        answer = self._command(scsi.move_medium(source, destination), seconds=MOVING)
        sense = answer.sense
        if sense is not None and sense.key == Key.ILLEGAL_REQUEST:
            reasons = {
                scsi.SOURCE_EMPTY: marked("there is none"),
                scsi.DESTINATION_FULL: marked("there is one already"),
            }
            reason = reasons.get(sense.code, str(sense))
            raise ElementError(place=self.name, source=source, destination=destination, reason=reason)
        error = scsi.failure(answer, self.name)
        if error is not None:
            raise error

    def give_out(self) -> str:
        """Nothing: what a changer holds goes out by a mail slot."""
        return ""

    def close(self) -> None:
        """Give the connection up."""
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()

    def _asked(self, kind: ElementKind, *, identify: bool = False) -> list[ElementStatus]:
        self._connect()
        cdb = scsi.read_element_status(kind, identify=identify)
        answer = self._command(cdb, expected=scsi.LONGEST_ANSWER - 1, seconds=MOVING)
        error = scsi.failure(answer, self.name)
        if error is None:
            return [one for one in scsi.elements_of(answer.data) if one.kind == kind]
        if isinstance(error, UnsupportedError) and kind == ElementKind.MAILBOX:  # it has none
            return []
        raise error

    def _own(self, drives: list[ElementStatus]) -> int:
        """Return the address of the drive that is ours; it is looked for once."""
        if self._element is None:
            serial = "" if len(drives) == 1 else self._serial()
            ours = drives if len(drives) == 1 else []
            if serial:
                identified = self._asked(ElementKind.DRIVE, identify=True)
                ours = [one for one in identified if one.identity.split()[-1:] == [serial]]
            if len(ours) != 1:
                addresses = ", ".join(str(one.address) for one in drives)
                raise WhichDriveError(place=self.name, drives=addresses)
            self._element = ours[0].address
        if self._element not in {one.address for one in drives}:
            raise UnsupportedError(
                place=self.name, reason=Phrase("it has no drive at element {element}", element=self._element)
            )
        return self._element

    def _command(self, cdb: bytes, *, expected: int = 0, seconds: int) -> scsi.Answer:
        """Ask; what the changer has to tell of the time before (switched on, door opened) is heard and passed over."""
        for _ in _KINDS:
            answer = self._transport.command(cdb, expected=expected, seconds=seconds)
            if answer.sense is None or answer.sense.key != Key.UNIT_ATTENTION:
                break
        return answer

    def _connect(self) -> None:
        connect = getattr(self._transport, "connect", None)
        if connect is not None:
            connect()


class Ejecting(TapeDrive, Protocol):
    """A drive that can give its cartridge to whoever stands before it."""

    def eject(self) -> None:
        """Give it out, whether or not a changer could."""
        ...


class HandLoaded:
    """A drive without a changer: whatever cartridge a person put in is in its only slot until it is used.

    ``owning`` keeps others from the drive while its label is read.
    """

    DRIVE, SLOT = 0, 1

    def __init__(self, drive: Ejecting, owning: Callable[[], AbstractContextManager[object]]) -> None:
        self._drive, self._owning = drive, owning
        self._barcode = ""
        self._used = False

    def elements(self) -> list[Element]:
        """Return the drive, and a slot with the cartridge that is in the drive and not in use."""
        with self._owning():
            if not self._used:
                self._barcode = self._read()
        drive = Element(self.DRIVE, is_drive=True, barcode=self._barcode if self._used else "")
        return [drive, Element(self.SLOT, is_drive=False, barcode="" if self._used else self._barcode)]

    def move(self, source: int, destination: int) -> None:
        """Say that the cartridge is used from now on, or no longer; nothing moves."""
        if (source, destination) == (self.SLOT, self.DRIVE) and self._barcode and not self._used:
            self._used = True
        elif (source, destination) == (self.DRIVE, self.SLOT) and self._used:
            self._used = False
        else:
            raise ElementError(
                place=self._drive.name,
                source=source,
                destination=destination,
                reason="a person changes cartridges here",
            )

    def give_out(self) -> str:
        """Eject the cartridge, whatever it is; return its barcode."""
        with self._owning():
            barcode = self._barcode if self._used else self._read()
            if barcode:
                self._drive.eject()
            self._used, self._barcode = False, ""
        return barcode

    def close(self) -> None:
        """Forget which cartridge it is: a person may change it."""
        self._used, self._barcode = False, ""

    def _read(self) -> str:
        """Return the barcode on the label of the cartridge in the drive; ``UNKNOWN`` if that is none of ours."""
        try:
            self._drive.check_ready()
        except NotReadyError:
            return ""
        try:
            return label_of(self._drive).barcode
        except NoLabelError:
            return UNKNOWN
        except DriveOfflineError:
            raise
        except TapeError:
            return UNKNOWN
