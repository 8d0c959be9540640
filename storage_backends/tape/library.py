"""The drive and the changer of one store in the hands of one process: mount by barcode, compare the label, read."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.tape.directory import TapeFile
from storage_backends.tape.drive import (
    RECORD,
    CartridgeAwayError,
    DriveBusyError,
    DriveOfflineError,
    Place,
    TapeChanger,
    TapeDrive,
    TapeError,
    WrongCartridgeError,
)
from storage_backends.tape.labels import Label, read_label


class Library:
    """Safe for threads; whoever uses the drive holds ``lock`` (by ``using``)."""

    def __init__(self, place: str, drive: TapeDrive, changer: TapeChanger, *, store_id: str, lock_file: str) -> None:
        self.place, self.drive = place, drive
        self._changer, self._store_id, self._lock_file = changer, store_id, lock_file
        self._lock = threading.RLock()
        self._owned = -1
        self._mounted: Label | None = None
        self._at: tuple[int, int] | None = None
        self._last: tuple[str, int, int, bytes] | None = None

    @contextmanager
    def using(self, barcode: str = "") -> Iterator[TapeDrive]:
        """Own the drive, mount the cartridge and give the drive; afterwards nothing is assumed of its position.

        Raises:
            DriveBusyError, CartridgeAwayError, WrongCartridgeError, NoLabelError, TapeError.
        """
        with self._lock:
            self._own()
            try:
                if barcode:
                    self.mount(barcode)
                self._at = self._last = None
                yield self.drive
            except DriveOfflineError:
                self._mounted = None
                raise
            finally:
                self._at = self._last = None

    def barcodes(self) -> list[str]:
        """Return the barcodes of the cartridges in the library."""
        return sorted(element.barcode for element in self._changer.elements() if element.barcode)

    def mount(self, barcode: str) -> Label:
        """Bring the cartridge into the drive, unless it is there, and compare its label; return that."""
        with self._lock:
            self._own()
            if self._mounted is not None and self._mounted.barcode == barcode:
                return self._mounted
            self._mounted = self._at = self._last = None
            elements = self._changer.elements()
            drive = next(element for element in elements if element.is_drive)
            if drive.barcode:
                with suppress(TapeError):
                    self.drive.unload()
                free = next(one for one in elements if not one.is_drive and not one.barcode)
                self._changer.move(drive.address, free.address)
                elements = self._changer.elements()
            slot = next((one for one in elements if one.barcode == barcode), None)
            if slot is None:
                raise CartridgeAwayError(place=self.place, barcode=barcode)
            self._changer.move(slot.address, drive.address)
            self.drive.check_ready()
            label = read_label(self.drive, barcode)
            if self._store_id and label.store != self._store_id:
                raise WrongCartridgeError(place=self.place, barcode=barcode, found=f"that it is of {label.store}")
            self._mounted = label
            return label

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
            except DriveOfflineError:
                self._mounted = None
                raise
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
            if self._owned >= 0:
                os.close(self._owned)
                self._owned = -1

    def _own(self) -> None:
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
