"""The drive of the Linux st driver, and SCSI by SG_IO, as bytes and errors; ``make test-tape-vm`` has the rest."""

import ctypes
import errno
import os
import struct

import pytest

from storage_backends.tape import mtio, scsi, sg
from storage_backends.tape.addresses import hardware_of
from storage_backends.tape.drive import (
    BlockTooLargeError,
    DriveBusyError,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    Place,
    TapeError,
    UnsupportedError,
    WriteProtectedError,
)
from storage_backends.tape.hardware import opened
from storage_backends.tape.nst import NstDrive
from storage_backends.tape.sg import Header, SgUnit, answer_of

ONLINE, EMPTY = mtio.Status(0x01010000), mtio.Status(0x00050000)
BEHIND_DATA, WARNED = mtio.Status(0x09010000), mtio.Status(0x21010000)


def test_the_ioctl_numbers_are_those_of_linux_on_most_machines():
    assert struct.calcsize("P") == 8, "recorded on a machine of 64 bits"
    assert (0x40086D01, 0x80306D02, 0x80086D03) == (mtio.MTIOCTOP, mtio.MTIOCGET, mtio.MTIOCPOS)


def test_an_operation_is_a_short_and_an_int():
    assert mtio.operation(mtio.SEEK, 70_000_000) == struct.pack("=hxxi", 22, 70_000_000)
    assert mtio.operation(mtio.FSF, 1) == b"\x01\0\0\0\x01\0\0\0"


@pytest.mark.parametrize(
    ("bits", "file", "record", "said"),
    [  # recorded from Linux 7.3 with tgt, istgt and scsi_debug
        (0x41010000, 0, 0, "online"),
        (0x00050000, -1, -1, "empty"),
        (0x81010000, 2, 0, "online"),
        (0x09010000, 3, 1, "online behind_data"),
        (0x21010000, 0, 255, "online warned"),
        (0x45010000, 0, 0, "online protected"),
        (0x00010000, -1, -1, ""),
        (0x01050000, 0, 0, "empty"),
    ],
)
def test_what_the_driver_tells_is_understood(bits, file, record, said):
    raw = struct.pack("lllllii", 0x72, 0, 0, bits - (1 << 64) if bits >> 63 else bits, 0, file, record)
    found = mtio.status_of(raw)

    assert (file, record) == (found.file, found.record)
    names = {
        "online": found.is_online,
        "empty": found.is_empty,
        "protected": found.is_protected,
        "behind_data": found.at_end_of_data,
        "warned": found.at_end_of_tape,
    }
    assert said == " ".join(name for name, is_so in names.items() if is_so)


def os_error(code):
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("code", "status", "more", "expected"),
    [
        (errno.EIO, BEHIND_DATA, {}, EndOfDataError),
        (errno.EIO, ONLINE, {"ended": True}, EndOfDataError),
        (errno.EIO, ONLINE, {}, MediumError),
        (errno.EIO, ONLINE, {"answers": False}, DriveOfflineError),
        (errno.EIO, WARNED, {"writing": True}, EndOfMediumError),
        (errno.EIO, ONLINE, {"writing": True, "ended": True}, EndOfMediumError),
        (errno.EIO, BEHIND_DATA, {"writing": True}, MediumError),
        (errno.EIO, ONLINE, {"writing": True, "answers": False}, DriveOfflineError),
        (errno.ENOSPC, None, {"writing": True}, EndOfMediumError),
        (errno.EACCES, None, {"writing": True}, WriteProtectedError),
        (errno.EBADF, None, {"writing": True}, WriteProtectedError),
        (errno.ENOMEDIUM, None, {}, NotReadyError),
        (errno.ENOTTY, None, {}, UnsupportedError),
        (errno.EINVAL, None, {}, UnsupportedError),
        (errno.ENXIO, None, {}, DriveOfflineError),
        (errno.ENODEV, None, {"writing": True}, DriveOfflineError),
        (errno.ETIMEDOUT, None, {"writing": True}, DriveOfflineError),
    ],
)
def test_an_error_of_the_driver_is_said_as_what_it_is(code, status, more, expected):
    how = {"writing": False, "answers": True, **more}
    found = mtio.failure(os_error(code), status, "/dev/nst0", 7, **how)

    assert type(found) is expected
    assert str(found).startswith("/dev/nst0: ")


def test_nothing_that_is_not_known_is_said_to_be_the_end_of_the_data():
    """Whoever hears that the data end writes there."""
    for code in errno.errorcode:
        for answers in (True, False):
            found = mtio.failure(os_error(code), ONLINE, "d", 7, writing=False, answers=answers)
            assert isinstance(found, TapeError)
            assert not isinstance(found, EndOfDataError)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EBUSY, DriveBusyError), (errno.ENXIO, DriveOfflineError), (errno.ENOENT, NotReadyError)],
)
def test_a_drive_that_cannot_be_opened(code, expected):
    assert type(mtio.opening_failure(os_error(code), "d")) is expected
    assert type(sg.opening_failure(os_error(code), "d")) is expected


def test_a_device_that_rewinds_when_it_is_closed_is_refused():
    mtio.check_device(0o020660, os.makedev(9, 128), "/dev/nst0")
    for mode, device in ((0o020660, os.makedev(9, 0)), (0o020660, os.makedev(1, 3)), (0o100660, os.makedev(9, 128))):
        with pytest.raises(UnsupportedError):
            mtio.check_device(mode, device, "d")


@pytest.mark.parametrize("name", ["/dev/null", "a file"])
def test_nothing_is_done_to_what_is_no_tape_drive(tmp_path, name):
    path = tmp_path / name if name == "a file" else name
    if name == "a file":
        path.write_bytes(b"as it was")
    for ask in (NstDrive(str(path)).check_ready, lambda: SgUnit(str(path)).command(scsi.TEST_UNIT_READY)):
        with pytest.raises(UnsupportedError):
            ask()
    if name == "a file":
        assert path.read_bytes() == b"as it was"


def test_a_drive_that_is_not_there_is_not_ready(tmp_path):
    drive = NstDrive(str(tmp_path / "nst0"))
    for ask in (drive.check_ready, drive.is_write_protected, drive.unload, drive.eject, drive.rewind, drive.skip_file):
        with pytest.raises(NotReadyError):
            ask()
    with pytest.raises(NotReadyError):
        drive.read(512)
    with pytest.raises(NotReadyError):
        drive.write(b"x")
    with pytest.raises(NotReadyError):
        drive.write_filemark(synchronous=True)
    with pytest.raises(NotReadyError):
        drive.locate(Place(1, 1, 0))
    with pytest.raises(NotReadyError):
        SgUnit(str(tmp_path / "sg0")).command(scsi.TEST_UNIT_READY)
    assert drive.serial() == ""
    drive.close()


def test_the_url_of_local_drives_opens_them():
    alone, by_hand = opened(hardware_of("tape+st", "drive=/dev/nst0"), None)
    drive, changer = opened(hardware_of("tape+st", "drive=/dev/nst0&changer=/dev/sg1&element=256"), None)

    assert (alone.name, drive.name, changer.name) == ("/dev/nst0", "/dev/nst0", "/dev/sg1")
    assert type(by_hand).__name__ == "HandLoaded"


# ---- SG_IO ---------------------------------------------------------------------------------------------------------


def test_the_header_is_as_long_as_linux_has_it():
    assert ctypes.sizeof(Header) == 88
    assert {name: getattr(Header, name).offset for name in ("length", "data", "milliseconds", "status", "info")} == {
        "length": 12,
        "data": 16,
        "milliseconds": 40,
        "status": 64,
        "info": 80,
    }


FULL = bytes.fromhex("70000500000000 0a 00000000 3b0d 00000000")
"""Sense of tgt's changer: the destination is full."""


def test_a_refusal_comes_with_its_sense():
    header = Header(status=scsi.CHECK_CONDITION, sense_written=len(FULL), driver_status=8)
    answer = answer_of(header, b"", FULL.ljust(252, b"\0"), place="sg1")

    assert answer.status == scsi.CHECK_CONDITION
    assert answer.sense.code == scsi.DESTINATION_FULL


def test_only_what_came_is_given():
    answer = answer_of(Header(residual=60), bytes(range(100)), b"", place="sg1")
    assert (answer.data, answer.residual) == (bytes(range(40)), 60)
    for residual, length in ((-5, 100), (100, 0), (900, 0)):
        assert len(answer_of(Header(residual=residual), bytes(100), b"", place="sg1").data) == length


@pytest.mark.parametrize("how", [{"host_status": 3}, {"driver_status": 6}, {"host_status": 1, "status": 2}])
def test_what_is_lost_on_the_way_is_never_an_answer(how):
    with pytest.raises(DriveOfflineError):
        answer_of(Header(**how), b"", b"", place="sg1")


def test_a_record_that_is_too_long_says_what_was_asked_for():
    assert "more than 262144" in str(BlockTooLargeError(place="d", block="3/0", found="?", expected=262144))
