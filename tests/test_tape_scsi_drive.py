"""A drive by SCSI commands does right by answers that no virtual library gives: a stand-in gives them."""

from contextlib import suppress

import pytest

from storage_backends.backend import Reach
from storage_backends.tape import scsi, scsi_drive
from storage_backends.tape.drive import (
    RECORD,
    DriveBusyError,
    DriveOfflineError,
    MediumChangedError,
    MediumError,
    NotReadyError,
    Place,
    TapeError,
    UnsupportedError,
    WrongPositionError,
)
from storage_backends.tape.scsi import Answer, Key, Sense
from storage_backends.tape.scsi_drive import ScsiDrive

READ, WRITE, MARK, LOCATE, TUR, POSITION, LIMITS, PREVENT = 0x08, 0x0A, 0x10, 0x2B, 0x00, 0x34, 0x05, 0x1E
GOOD = Answer(scsi.GOOD)


def told(key, *code, **more):
    return Answer(scsi.CHECK_CONDITION, Sense(key, code or (0, 0), **more))


class StandIn:
    """Carries out nothing; counts blocks, and says what ``next`` has for an operation code before it says GOOD."""

    name = "drive"

    def __init__(self):
        self.block, self.asked, self.next = 0, [], {}

    def says(self, code, *answers):
        self.next.setdefault(code, []).extend(answers)

    def connect(self):
        pass

    def close(self):
        pass

    def command(self, cdb, *, out=b"", expected=0, seconds=60):
        code = cdb[0]
        self.asked.append(code)
        if self.next.get(code):
            answer = self.next[code].pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if code == POSITION:
            return Answer(scsi.GOOD, data=bytes(4) + self.block.to_bytes(4, "big") + bytes(12))
        if code == LOCATE:
            self.block = int.from_bytes(cdb[3:7], "big")
        elif code == 0x01:
            self.block = 0
        elif code in {READ, WRITE, MARK}:
            self.block += 1
        return Answer(scsi.GOOD, data=bytes(expected))


@pytest.fixture
def unit():
    return StandIn()


@pytest.fixture
def drive(unit, monkeypatch):
    monkeypatch.setattr(scsi_drive, "PAUSE", 0)
    made = ScsiDrive(unit, ejects=True, reach=Reach.MEDIUM)
    made.check_ready()
    unit.asked.clear()
    return made


def test_a_cartridge_that_is_being_loaded_is_waited_for(unit, drive):
    loading = told(Key.NOT_READY, 0x04, 0x01)
    unit.says(TUR, told(Key.UNIT_ATTENTION, 0x29, 0), told(Key.UNIT_ATTENTION, 0x28, 0), loading, loading, loading)
    drive.check_ready()

    assert 6 == unit.asked.count(TUR)
    assert drive.capabilities.position
    assert drive.capabilities.locate


def test_one_that_is_never_ready_is_given_up_in_the_end(unit, drive, monkeypatch):
    monkeypatch.setattr(scsi_drive, "LOADING", -1)
    unit.says(TUR, GOOD, told(Key.NOT_READY, 0x04, 0x01))

    with pytest.raises(NotReadyError, match="2/04/01"):
        drive.check_ready()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (told(Key.UNIT_ATTENTION, 0x28, 0x00), MediumChangedError),
        (told(Key.HARDWARE_ERROR, 0x44, 0x00), DriveOfflineError),
        (told(Key.ABORTED, 0x4E, 0x00), DriveOfflineError),
        (DriveOfflineError(place="drive", reason="the connection was lost"), DriveOfflineError),
    ],
)
def test_after_what_may_have_moved_the_tape_nothing_is_done_until_the_label_can_be_read(unit, drive, answer, kind):
    unit.says(WRITE, answer)
    with pytest.raises(kind):
        drive.write(bytes(RECORD))
    unit.asked.clear()
    for attempt in (
        lambda: drive.write(bytes(RECORD)),
        lambda: drive.write_filemark(synchronous=True),
        lambda: drive.read(RECORD),
        lambda: drive.locate(Place(3, 1, 0)),
        drive.rewind,
        drive.position,
        drive.skip_file,
        drive.is_write_protected,
    ):
        with pytest.raises(DriveOfflineError):
            attempt()
    assert [] == unit.asked
    drive.check_ready()
    drive.write(bytes(RECORD))


@pytest.mark.parametrize(
    "answer",
    [
        told(Key.NO_SENSE, end=True, information=RECORD),
        told(Key.RECOVERED, information=5),
        told(Key.NO_SENSE, end=True, deferred=True),
        told(Key.MEDIUM_ERROR, 0x0C, 0x00),
    ],
)
def test_a_record_that_may_not_be_written_is_not_said_to_be(unit, drive, answer):
    drive.locate(Place(3, 1, 0))
    unit.says(WRITE, answer)
    unit.says(MARK, answer)

    for attempt in (lambda: drive.write(bytes(RECORD)), lambda: drive.write_filemark(synchronous=True)):
        with pytest.raises(MediumError):
            attempt()


def test_early_warning_is_told_and_the_record_is_written(unit, drive):
    unit.says(WRITE, told(Key.NO_SENSE, 0, 2, end=True, information=0), GOOD)

    assert [True, False] == [drive.write(bytes(RECORD)), drive.write(bytes(RECORD))]


def test_only_the_beginning_of_a_tape_is_written_a_second_time(unit, drive):
    broken = told(Key.MEDIUM_ERROR, 0x0C, 0x00)
    unit.says(WRITE, broken)
    assert not drive.write(bytes(80))
    unit.says(WRITE, broken)
    with pytest.raises(MediumError):
        drive.write(bytes(80))
    drive.rewind()
    unit.says(WRITE, broken, broken)
    with pytest.raises(MediumError):
        drive.write(bytes(80))


def test_a_drive_that_stands_elsewhere_than_it_was_sent_is_not_used(unit, drive):
    unit.says(POSITION, Answer(scsi.GOOD, data=bytes((0, 0, 0, 0, 0, 0, 0, 9)) + bytes(12)))

    with pytest.raises(WrongPositionError, match="stands at block 9 where 7"):
        drive.locate(Place(7, 1, 4))


def test_a_block_that_the_drive_calls_a_failure_of_its_own_is_looked_for_by_filemarks(unit, drive):
    unit.says(LOCATE, told(Key.HARDWARE_ERROR, 0x44, 0))
    drive.locate(Place(7, 1, 4))

    assert [LOCATE, TUR, 0x01, 0x11, 0x11] == unit.asked
    unit.says(LOCATE, told(Key.HARDWARE_ERROR, 0x44, 0))
    unit.says(TUR, told(Key.HARDWARE_ERROR, 0x44, 0))
    with pytest.raises(DriveOfflineError):
        drive.locate(Place(7, 1, 4))


def test_a_drive_that_another_has_reserved_is_busy(unit, drive):
    unit.says(READ, Answer(scsi.RESERVATION_CONFLICT), Answer(scsi.BUSY))

    for _ in range(2):
        with pytest.raises(DriveBusyError):
            drive.read(RECORD)


def test_a_drive_whose_records_are_too_short_is_refused(unit, drive):
    unit.says(LIMITS, Answer(scsi.GOOD, data=bytes((0, 0, 0xFF, 0xFF, 0, 0))))

    with pytest.raises(UnsupportedError, match="65535"):
        drive.check_ready()


def test_a_record_that_was_recovered_is_a_record(unit, drive):
    unit.says(READ, Answer(scsi.CHECK_CONDITION, Sense(Key.RECOVERED, (0x17, 1)), b"data"))

    assert b"data" == drive.read(RECORD)


def test_unloading_brings_everything_to_the_medium_first_and_lets_the_cartridge_go(unit, drive):
    drive.write(bytes(RECORD))
    drive.unload()

    assert [WRITE, MARK, PREVENT, 0x1B] == unit.asked
    with pytest.raises(DriveOfflineError):
        drive.read(RECORD)


def test_a_failure_at_unloading_is_told(unit, drive):
    drive.write(bytes(RECORD))
    unit.says(MARK, told(Key.MEDIUM_ERROR, 0x0C, 0))

    with pytest.raises(MediumError):
        drive.unload()


def test_whatever_is_answered_is_one_of_our_errors(unit, drive):
    for key in Key:
        for code in (READ, WRITE, MARK, LOCATE, POSITION, 0x01, 0x11, 0x1A):
            drive.check_ready()
            unit.says(code, *[told(key, 0x80, 0x80)] * 3)
            for attempt in (
                lambda: drive.read(RECORD),
                lambda: drive.write(bytes(RECORD)),
                lambda: drive.write_filemark(synchronous=False),
                lambda: drive.locate(Place(5, 1, 1)),
                drive.position,
                drive.skip_file,
                drive.is_write_protected,
            ):
                with suppress(TapeError):
                    attempt()
            unit.next.clear()
