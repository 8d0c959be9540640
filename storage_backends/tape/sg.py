"""SCSI commands through the Linux ``sg`` driver (``/dev/sg1``): how a changer beside a real drive is told what to do.

Source: Linux, include/scsi/sg.h (interface version 3) and Documentation/scsi/scsi-generic.rst. Nothing is sent twice.
"""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from storage_backends.errors import Phrase, StorageError
from storage_backends.tape.drive import DriveBusyError, DriveOfflineError, NotReadyError, UnsupportedError
from storage_backends.tape.scsi import CHECK_CONDITION, GOOD, Answer, parse_sense

SG_IO, SG_GET_VERSION_NUM = 0x2285, 0x2282
THIRD_VERSION = 30000
"""The oldest driver that knows SG_IO."""

_NONE, _OUT, _IN = -1, -2, -3
SENSE_BYTES = 252

_NOT_SENT = frozenset({errno.EPERM, errno.EACCES, errno.ENOTTY, errno.EINVAL})
"""Errors of the ioctl itself: the driver refuses, and has sent nothing."""

_SENSE_IS_THERE = 0x08
"""A driver status that only says that there is sense data; all other ones, and any host status, are a lost way."""


class Header(ctypes.Structure):
    """``struct sg_io_hdr``."""

    _fields_ = (
        ("interface", ctypes.c_int),
        ("direction", ctypes.c_int),
        ("cdb_length", ctypes.c_ubyte),
        ("sense_length", ctypes.c_ubyte),
        ("pieces", ctypes.c_ushort),
        ("length", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("cdb", ctypes.c_void_p),
        ("sense", ctypes.c_void_p),
        ("milliseconds", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("message_status", ctypes.c_ubyte),
        ("sense_written", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("residual", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def opening_failure(error: OSError, place: str) -> StorageError:
    """Return what a failed open means."""
    if error.errno == errno.EBUSY:
        return DriveBusyError(place=place)
    if error.errno in {errno.ENXIO, errno.ENODEV}:
        return DriveOfflineError(place=place, reason=error.strerror)
    return NotReadyError(place=place, reason=error.strerror)


def answer_of(header: Header, data: bytes, sense: bytes, *, place: str) -> Answer:
    """Return what came back with a header.

    Raises:
        DriveOfflineError: it was lost on the way: what the unit did is not known.
    """
    lost = header.driver_status & ~_SENSE_IS_THERE
    if header.host_status or lost:
        reason = Phrase(
            "host status {host}, driver status {driver}",
            host=f"{header.host_status:02X}",
            driver=f"{header.driver_status:02X}",
        )
        raise DriveOfflineError(place=place, reason=reason)
    missing = max(0, min(header.residual, len(data)))
    status = header.status
    if status == GOOD and header.driver_status & _SENSE_IS_THERE:
        status = CHECK_CONDITION
    found = parse_sense(sense[: header.sense_written]) if status == CHECK_CONDITION and header.sense_written else None
    return Answer(status, found, data[: len(data) - missing], missing)


def carried(
    file: int, place: str, cdb: bytes, *, out: bytes | memoryview = b"", expected: int = 0, seconds: int = 60
) -> Answer:
    """Send a command to the device that is open as ``file`` and wait for its answer.

    Raises:
        UnsupportedError: the driver carries no commands, or not from who asks; nothing was sent.
        DriveOfflineError: it was lost on the way: what the unit did is not known.
    """
    direction, length = (_OUT, len(out)) if out else (_IN, expected) if expected else (_NONE, 0)
    data = ctypes.create_string_buffer(bytes(out), length) if out else ctypes.create_string_buffer(max(length, 1))
    asked = ctypes.create_string_buffer(cdb, len(cdb))
    sense = ctypes.create_string_buffer(SENSE_BYTES)
    header = Header(
        interface=ord("S"),
        direction=direction,
        cdb_length=len(cdb),
        sense_length=SENSE_BYTES,
        length=length,
        data=ctypes.addressof(data),
        cdb=ctypes.addressof(asked),
        sense=ctypes.addressof(sense),
        milliseconds=seconds * 1000,
    )
    try:
        fcntl.ioctl(file, SG_IO, header)
    except OSError as error:
        kind = UnsupportedError if error.errno in _NOT_SENT else DriveOfflineError
        raise kind(place=place, reason=error.strerror) from error
    return answer_of(header, data.raw if direction == _IN else b"", sense.raw, place=place)


class SgUnit:
    """The unit at ``path``; carries commands. It is open only while one is under way, so that nobody is kept out."""

    def __init__(self, path: str) -> None:
        self.name = path

    def command(self, cdb: bytes, *, out: bytes | memoryview = b"", expected: int = 0, seconds: int = 60) -> Answer:
        """Send a command and wait for its answer.

        Raises:
            NotReadyError, UnsupportedError: there is no such device, or it carries no commands; nothing was sent.
            DriveOfflineError: it was lost on the way: what the unit did is not known.
        """
        with self._opened() as file:
            return carried(file, self.name, cdb, out=out, expected=expected, seconds=seconds)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            file = os.open(self.name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise opening_failure(error, self.name) from error
        try:
            self._check(file)
            yield file
        finally:
            os.close(file)

    def _check(self, file: int) -> None:
        version = ctypes.c_int()
        try:
            fcntl.ioctl(file, SG_GET_VERSION_NUM, version)
        except OSError as error:
            raise UnsupportedError(place=self.name, reason="it is not a device of the Linux sg driver") from error
        if not stat.S_ISCHR(os.fstat(file).st_mode) or version.value < THIRD_VERSION:
            raise UnsupportedError(place=self.name, reason="it is not a device of the Linux sg driver")
