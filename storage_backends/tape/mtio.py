"""What the Linux ``st`` driver is told and tells, as bytes and numbers; no function here does anything.

Sources: Linux, include/uapi/linux/mtio.h, include/uapi/asm-generic/ioctl.h and Documentation/scsi/st.rst.
"""

import errno
import os
import stat
import struct
from dataclasses import dataclass

from storage_backends.errors import StorageError
from storage_backends.tape.drive import (
    DriveBusyError,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    TapeError,
    UnsupportedError,
    WriteProtectedError,
)

FSF, FSR, WEOF, REW, OFFL, EOM, SETBLK, SEEK, SETDRVBUFFER, UNLOCK, LOAD, COMPRESSION, WEOFI = (
    *(1, 3, 5, 6, 7, 12, 20, 22, 24, 29, 30, 32, 35),
)
"""Operations of MTIOCTOP."""

OPERATION, STATUS, TOLD = struct.Struct("hi"), struct.Struct("lllllii"), struct.Struct("l")


def _request(direction: int, number: int, size: int) -> int:
    """Return an ioctl's number as most machines make it (include/uapi/asm-generic/ioctl.h); 1 writes, 2 reads."""
    return direction << 30 | size << 16 | ord("m") << 8 | number


MTIOCTOP = _request(1, 1, OPERATION.size)
MTIOCGET = _request(2, 2, STATUS.size)
MTIOCPOS = _request(2, 3, TOLD.size)

_EOT, _EOD, _PROTECTED, _ONLINE, _EMPTY = 0x20000000, 0x08000000, 0x04000000, 0x01000000, 0x00040000

ASYNC_WRITES, READ_AHEAD, AUTO_LOCK, SCSI2LOGICAL = 0x2, 0x4, 0x40, 0x800
"""Options of the driver. AUTO_LOCK: the drive keeps its cartridge while somebody uses it."""
SET_OPTIONS, CLEAR_OPTIONS = 0x30000000, 0x40000000

TAPE_MAJOR = 9
NO_REWIND = 0x80
"""In the device's minor number: it is not rewound when it is closed."""


@dataclass(frozen=True, slots=True)
class Status:
    """What MTIOCGET tells, without asking the drive. ``file`` and ``record`` are as the driver counts; -1: unknown."""

    bits: int
    file: int = -1
    record: int = -1

    @property
    def is_online(self) -> bool:
        """Whether a cartridge can be used."""
        return bool(self.bits & _ONLINE) and not self.is_empty

    @property
    def is_empty(self) -> bool:
        """Whether there is no cartridge."""
        return bool(self.bits & _EMPTY)

    @property
    def is_protected(self) -> bool:
        """Whether nothing can be written."""
        return bool(self.bits & _PROTECTED)

    @property
    def at_end_of_data(self) -> bool:
        """Whether the last command met the end of the data."""
        return bool(self.bits & _EOD)

    @property
    def at_end_of_tape(self) -> bool:
        """Whether the last command met early warning, or the end of the medium."""
        return bool(self.bits & _EOT)


def operation(code: int, count: int) -> bytes:
    """Return a ``struct mtop``."""
    return OPERATION.pack(code, count)


def status_of(answer: bytes) -> Status:
    """Return what a ``struct mtget`` says."""
    _kind, _left, _density, bits, _errors, file, record = STATUS.unpack(answer)
    return Status(bits & 0xFFFFFFFF, file, record)


def opening_failure(error: OSError, place: str) -> StorageError:
    """Return what a failed open means."""
    if error.errno == errno.EBUSY:
        return DriveBusyError(place=place)
    if error.errno in {errno.ENXIO, errno.ENODEV}:
        return DriveOfflineError(place=place, reason=error.strerror)
    return NotReadyError(place=place, reason=error.strerror)


def failure(
    error: OSError,
    status: Status | None,
    place: str,
    block: int | str,
    *,
    writing: bool,
    answers: bool,
    ended: bool = False,
) -> TapeError:
    """Return what an error of the driver means; it says EIO of nearly everything.

    ``status`` is what MTIOCGET tells afterwards, ``answers`` whether the drive still carries out a command, and
    ``ended`` whether it is known that the tape (when writing) or its data end here.
    """
    code = error.errno or 0
    if code == errno.ENOSPC:
        return EndOfMediumError(place=place, block=block)
    if code == errno.EIO and status is not None:
        if writing and (ended or status.at_end_of_tape):
            return EndOfMediumError(place=place, block=block)
        if not writing and (ended or status.at_end_of_data):
            return EndOfDataError(place=place, block=block)
    if code == errno.EIO and answers:
        return MediumError(place=place, block=block, reason=error.strerror)
    return _MEANINGS.get(code, DriveOfflineError)(place=place, reason=error.strerror)


_MEANINGS: dict[int, type[TapeError]] = {
    errno.ENOMEDIUM: NotReadyError,
    errno.EACCES: WriteProtectedError,
    errno.EROFS: WriteProtectedError,
    errno.EPERM: WriteProtectedError,
    errno.EBADF: WriteProtectedError,
    errno.EINVAL: UnsupportedError,
    errno.ENOSYS: UnsupportedError,
    errno.ENOTTY: UnsupportedError,
}


def check_device(mode: int, device: int, place: str) -> None:
    """Raise ``UnsupportedError`` unless this is a tape drive that stays where it is when it is closed."""
    if not stat.S_ISCHR(mode) or os.major(device) != TAPE_MAJOR:
        raise UnsupportedError(place=place, reason="it is not a tape drive of the Linux st driver")
    if not os.minor(device) & NO_REWIND:
        raise UnsupportedError(place=place, reason="it rewinds when it is closed; name /dev/nst0, not /dev/st0")
