"""SCSI commands are built, and answers understood, as the standards say; whatever bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.tape import scsi
from storage_backends.tape.drive import (
    DriveBusyError,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumChangedError,
    MediumError,
    NotReadyError,
    TapeError,
    UnsupportedError,
    WriteProtectedError,
)
from storage_backends.tape.scsi import Answer, ElementKind, Key, Sense


def fixed(key, asc=0, ascq=0, *, bits=0, information=None, deferred=False):
    head = (0x71 if deferred else 0x70) | (0x80 if information is not None else 0)
    number = (information or 0).to_bytes(4, "big", signed=True)
    return bytes((head, 0, bits | key)) + number + bytes((10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("cdb", "expected"),
    [
        (scsi.read(1 << 18), "08 00 04 00 00 00"),
        (scsi.write(80), "0a 00 00 00 50 00"),
        (scsi.write_filemarks(1, immediate=True), "10 01 00 00 01 00"),
        (scsi.write_filemarks(0, immediate=False), "10 00 00 00 00 00"),
        (scsi.space(scsi.FILEMARKS, -2), "11 01 ff ff fe 00"),
        (scsi.locate(7), "2b 00 00 00 00 00 07 00 00 00"),
        (scsi.locate(1 << 32), "92 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00"),
        (scsi.inquiry(), "12 00 00 00 ff 00"),
        (scsi.inquiry(scsi.SERIAL_PAGE), "12 01 80 00 ff 00"),
        (scsi.mode_sense(), "1a 00 00 00 ff 00"),
        (scsi.prevent_removal(prevent=True), "1e 00 00 00 01 00"),
        (scsi.read_element_status(ElementKind.SLOT), "b8 12 00 00 ff ff 00 00 ff ff 00 00"),
        (scsi.read_element_status(ElementKind.DRIVE, identify=True), "b8 14 00 00 ff ff 01 00 ff ff 00 00"),
        (scsi.move_medium(1000, 1), "a5 00 00 00 03 e8 00 01 00 00 00 00"),
    ],
)
def test_a_command_has_the_bytes_of_the_standard(cdb, expected):
    assert bytes.fromhex(expected) == cdb


def test_sense_is_understood_in_both_formats():
    assert Sense(Key.NO_SENSE, (0, 1), filemark=True, information=5) == scsi.parse_sense(
        fixed(0, 0, 1, bits=0x80, information=5)
    )
    assert Sense(Key.NO_SENSE, (0, 0), wrong_length=True, information=-4) == scsi.parse_sense(
        fixed(0, bits=0x20, information=-4)
    )
    assert scsi.parse_sense(fixed(3, deferred=True)).deferred
    information = bytes((0, 10, 0x80, 0)) + (262064).to_bytes(8, "big")
    stream = bytes((4, 2, 0, 0x60))
    described = bytes((0x72, 0, 0, 0, 0, 0, 0, len(information + stream))) + information + stream
    found = Sense(Key.NO_SENSE, (0, 0), end=True, wrong_length=True, information=262064)
    assert found == scsi.parse_sense(described)
    assert scsi.parse_sense(b"") is None
    assert "medium error, 3/11/00" == str(scsi.parse_sense(fixed(3, 0x11)))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(scsi.GOOD), None),
        (Answer(2, Sense(Key.NO_SENSE, (0, 1), filemark=True)), None),
        (Answer(2, Sense(Key.RECOVERED, (0x17, 1))), None),
        (Answer(2, Sense(Key.NO_SENSE, (0, 5))), EndOfDataError),
        (Answer(2, Sense(Key.BLANK_CHECK, (0, 5))), EndOfDataError),
        (Answer(2, Sense(Key.MEDIUM_ERROR, (0, 2), end=True)), EndOfDataError),
        (Answer(2, Sense(Key.NOT_READY, (0x3A, 0))), NotReadyError),
        (Answer(2, Sense(Key.MEDIUM_ERROR, (0x11, 0))), MediumError),
        (Answer(2, Sense(Key.HARDWARE_ERROR, (0x44, 0))), DriveOfflineError),
        (Answer(2, Sense(Key.ABORTED, (0, 0))), DriveOfflineError),
        (Answer(2, Sense(Key.ILLEGAL_REQUEST, (0x20, 0))), UnsupportedError),
        (Answer(2, Sense(Key.UNIT_ATTENTION, (0x28, 0))), MediumChangedError),
        (Answer(2, Sense(Key.DATA_PROTECT, (0x27, 0))), WriteProtectedError),
        (Answer(2, Sense(Key.VOLUME_OVERFLOW, (0, 2), end=True)), EndOfMediumError),
        (Answer(2, Sense(Key.VENDOR_SPECIFIC, (0x80, 0))), TapeError),
        (Answer(2), TapeError),
        (Answer(scsi.BUSY), DriveBusyError),
        (Answer(scsi.RESERVATION_CONFLICT), DriveBusyError),
        (Answer(0x40), TapeError),
    ],
)
def test_an_answer_means_an_error_of_its_own_kind(answer, kind):
    found = scsi.failure(answer, "drive")

    assert (type(found) if found is not None else None) == kind
    assert found is None or "drive" in str(found)


def test_a_position_that_the_drive_does_not_know_is_none():
    assert 7 == scsi.position_of(bytes((0x30, 0, 0, 0, 0, 0, 0, 7)) + bytes(12))
    assert scsi.position_of(bytes((0x14, 0, 0, 0, 0, 0, 0, 0)) + bytes(12)) is None
    assert scsi.position_of(b"") is None


def test_elements_are_believed_as_far_as_there_are_bytes():
    def element(address, full, barcode):
        return address.to_bytes(2, "big") + bytes((full, *[0] * 9)) + barcode.ljust(36).encode()

    page = element(1000, 1, "VT0001L9") + element(1001, 0, "") + element(1002, 1, "VT0002L9")
    head = bytes((0x03, 0xE8, 0, 3, 0, 0, 0, 152, 2, 0x80, 0, 48, 0, 0, 0, 144))
    expected = [(1000, "VT0001L9"), (1001, ""), (1002, "VT0002L9")]

    assert expected == [(one.address, one.barcode) for one in scsi.elements_of(head + page)]
    assert expected == [(one.address, one.barcode) for one in scsi.elements_of(head + page[:-8])]  # as tgt cuts it
    assert expected[:2] == [(one.address, one.barcode) for one in scsi.elements_of(head + page[:96])]
    many = head[:2] + b"\xff\xff" + head[4:]
    assert expected == [(one.address, one.barcode) for one in scsi.elements_of(many + page)]


@given(st.binary(max_size=400))
def test_nothing_that_a_unit_sends_can_do_more_than_mislead(data):
    sense = scsi.parse_sense(data)
    scsi.failure(Answer(2, sense), "drive")
    scsi.position_of(data)
    scsi.longest_record_of(data)
    scsi.is_protected(data)
    scsi.serial_of(data)
    assert len(scsi.elements_of(data)) <= len(data)
