"""The drive and the changer of one store in the hands of one process: mount by barcode, compare the label, read."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.errors import Phrase, StorageError
from storage_backends.tape import claim
from storage_backends.tape.changer import ElementError
from storage_backends.tape.directory import TapeFile
from storage_backends.tape.drive import (
    RECORD,
    CartridgeAwayError,
    DriveBusyError,
    DriveOfflineError,
    DuplicateBarcodeError,
    Element,
    ForeignCartridgeError,
    MediumChangedError,
    MediumError,
    NoLabelError,
    NotReadyError,
    Place,
    TapeChanger,
    TapeDrive,
    TapeError,
    WrongCartridgeError,
)
from storage_backends.tape.labels import Label, read_label
from storage_backends.tape.noted import Condition, Noted

_SLOTS_TRIED = 4
"""How often a free slot is looked for, when another took the one that was found."""


class Library:
    """Safe for threads; whoever uses the drive holds ``lock`` (by ``using``)."""

    def __init__(
        self, place: str, drive: TapeDrive, changer: TapeChanger, *, store_id: str, lock_file: str, claimed: str = ""
    ) -> None:
        self.place, self.drive = place, drive
        self._changer, self._store_id, self._lock_file = changer, store_id, lock_file
        self._claim = claim.Claim(claimed, self._close_if_idle)
        self._users, self._used = 0, time.monotonic()
        self._lock = threading.RLock()
        self._owned = -1
        self._mounted: Label | None = None
        self._at: tuple[int, int] | None = None
        self._last: tuple[str, int, int, bytes] | None = None
        self._noted: dict[str, Noted] = {}

    @contextmanager
    def using(self, barcode: str = "") -> Iterator[TapeDrive]:
        """Own the drive, mount the cartridge and give the drive; afterwards nothing is assumed of its position.

        Raises:
            DriveBusyError, CartridgeAwayError, WrongCartridgeError, NoLabelError, TapeError.
        """
        with self._lock:
            self._own()
            self._users += 1
            try:
                if barcode:
                    self.mount(barcode)
                self._at = self._last = None
                yield self.drive
            except (DriveOfflineError, MediumChangedError):
                self._mounted = None
                raise
            finally:
                self._at = self._last = None
                self._users -= 1
                self._used = time.monotonic()

    @property
    def in_drive(self) -> str:
        """The barcode of the cartridge in the drive, as its label said; empty if nobody mounted one."""
        mounted = self._mounted
        return "" if mounted is None else mounted.barcode

    def barcodes(self) -> list[str]:
        """Return the barcodes of the cartridges in the library."""
        return sorted(element.barcode for element in self.elements() if element.barcode)

    def elements(self) -> list[Element]:
        """Return every slot and drive."""
        return self._changer.elements()

    def mount(self, barcode: str) -> Label:
        """Bring the cartridge into the drive, unless it is there, and compare its label; return that.

        Raises:
            CartridgeAwayError, DuplicateBarcodeError, WrongCartridgeError, NoLabelError, TapeError.
        """
        with self._lock:
            self._own()
            if self._mounted is not None and self._mounted.barcode == barcode:
                return self._mounted
            try:
                label = self.look(barcode)
                if self._store_id and label.store != self._store_id:
                    raise ForeignCartridgeError(
                        place=self.place, barcode=barcode, found=Phrase("that it is of {store}", store=label.store)
                    )
            except StorageError as error:
                condition = _CONDITIONS.get(type(error))
                if condition is not None:
                    self.note(barcode, condition)
                raise
            self._mounted = label
            noted = self._of(barcode)
            noted.loads, noted.labelled = noted.loads + 1, label.written
            noted.is_protected = self.drive.is_write_protected()
            return label

    def look(self, barcode: str) -> Label:
        """Bring the cartridge into the drive and return its label, whichever store it is of; it is not used then."""
        with self._lock:
            self.bring(barcode)
            return read_label(self.drive, barcode)

    def bring(self, barcode: str) -> None:
        """Bring the cartridge into the drive, whatever is on it; what was there goes back to a slot."""
        with self._lock:
            self._own()
            self.put_back()
            elements = self.elements()
            found = [one for one in elements if one.barcode == barcode]
            if not found:
                raise CartridgeAwayError(place=self.place, barcode=barcode)
            if len(found) > 1:
                raise DuplicateBarcodeError(place=self.place, barcode=barcode)
            drive = next(one for one in elements if one.is_drive)
            self._changer.move(found[0].address, drive.address)
            self.drive.check_ready()

    def put_back(self) -> str:
        """Unload the drive and bring the cartridge in it to a free slot; return its barcode, empty if there is none."""
        with self._lock:
            self._own()
            self._mounted = self._at = self._last = None
            drive = next(element for element in self.elements() if element.is_drive)
            if drive.barcode:
                with suppress(TapeError):
                    self.drive.unload()
                self._to_a_slot(drive)
            return drive.barcode

    def _to_a_slot(self, drive: Element) -> None:
        """Bring what is in the drive to a free slot; another pool in the same library may be quicker to take one."""
        for left in reversed(range(_SLOTS_TRIED)):
            free = next((one for one in self.elements() if not one.is_drive and not one.barcode), None)
            if free is None:
                raise NotReadyError(
                    place=self.place, reason=Phrase("no slot is free for {barcode}", barcode=drive.barcode)
                )
            try:
                self._changer.move(drive.address, free.address)
            except ElementError:
                if not left:
                    raise
            else:
                return

    def give_out(self, barcode: str = "") -> str:
        """Give a cartridge to whoever stands before the library; return which, empty if it stays where it is.

        By a mail slot that is free, or, of a drive without a changer, out of the drive.
        """
        with self._lock:
            self.put_back()
            elements = self.elements()
            mail = next((one for one in elements if one.is_mailbox and not one.barcode), None)
            found = next((one for one in elements if one.barcode == barcode and not one.is_mailbox), None)
            if mail is not None and found is not None and barcode:
                self._changer.move(found.address, mail.address)
                return barcode
            return self._changer.give_out() if found is not None or not barcode else ""

    def note(self, barcode: str, condition: Condition) -> None:
        """Remember what is the matter with a cartridge, for whoever records it."""
        with self._lock:
            self._of(barcode).conditions.add(condition)

    def note_error(self, barcode: str, file: int, record: int) -> None:
        """Remember a record that the drive could not read or write, or a wrong one: a hard error of the cartridge."""
        with self._lock:
            self._of(barcode).errors.add((file, record))

    def errors_of(self, barcode: str) -> frozenset[tuple[int, int]]:
        """Return the (tape file, record) of the hard errors that were met on a cartridge and not taken yet."""
        with self._lock:
            return frozenset(self._noted[barcode].errors) if barcode in self._noted else frozenset()

    def take_noted(self) -> dict[str, Noted]:
        """Return what was noted of cartridges since it was last taken."""
        with self._lock:
            noted, self._noted = self._noted, {}
            return noted

    def _of(self, barcode: str) -> Noted:
        return self._noted.setdefault(barcode, Noted())

    def read(self, barcode: str, file: TapeFile, record: int, *, again: bool = False) -> bytes | None:
        """Return a record of a tape file, or a filemark; ``again`` asks the tape even for the one read last."""
        with self._lock:
            last = self._last
            if not again and last is not None and last[:3] == (barcode, file.file, record):
                return last[3]
            self.mount(barcode)
            try:
                if self._at != (file.file, record):
                    block = None if file.start is None else file.start + record
                    self.drive.locate(Place(block, file.file, record))
                self._at = self._last = None
                data = self.drive.read(RECORD)
            except (DriveOfflineError, MediumChangedError):
                self._mounted = None
                raise
            except MediumError:
                self.note_error(barcode, file.file, record)
                raise
            finally:
                self._used = time.monotonic()
            if data is not None:
                self._at, self._last = (file.file, record + 1), (barcode, file.file, record, data)
            return data

    def close(self) -> None:
        """Unload, and let others have the drive."""
        with self._lock:
            self._at = self._last = None
            if self._mounted is not None:
                with suppress(TapeError):
                    self.drive.unload()
            self._mounted = None
            self.drive.close()
            self._changer.close()
            self._claim.release()
            if self._owned >= 0:
                os.close(self._owned)
                self._owned = -1

    def _close_if_idle(self) -> bool:
        """Give the drive up if nobody has used it for a while: another store of this process waits for it.

        Return False if whoever waits is the one who uses it.
        """
        if not self._lock.acquire(blocking=False):
            return True
        try:
            if self._users == 0 and time.monotonic() - self._used > claim.IDLE:
                self.close()
            return self._users == 0
        finally:
            self._lock.release()

    def _own(self) -> None:
        if not self._claim.take():
            raise DriveBusyError(place=self.place)
        if self._owned >= 0:
            return
        try:
            file = os.open(self._lock_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return  # cartridges that came without a store: they are only read
        except OSError as error:
            raise DriveOfflineError(place=self.place, reason=error.strerror) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise DriveBusyError(place=self.place) from error
        self._owned = file


_CONDITIONS = {
    CartridgeAwayError: Condition.AWAY,
    DuplicateBarcodeError: Condition.DUPLICATE,
    ForeignCartridgeError: Condition.FOREIGN,
    NoLabelError: Condition.NO_LABEL,
    WrongCartridgeError: Condition.WRONG_LABEL,
}
