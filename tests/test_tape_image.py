"""The drive for image cartridges has the manners of a real one, and writes what others can read."""

import os
import struct

import pytest
from tape_support import MIB, change, objects, settings

from storage_backends.backend import Reach
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    Place,
    WriteProtectedError,
)
from storage_backends.tape.image import FolderChanger, ImageDrive, Settings, make_cartridge

A, B, C = (bytes([letter]) * RECORD for letter in b"abc")


@pytest.fixture
def image(tmp_path):
    make_cartridge(str(tmp_path), "AAA001IM", Settings(capacity=4 * MIB))
    return tmp_path / "AAA001IM.tap"


@pytest.fixture
def drive(image):
    drive = ImageDrive("drive")
    drive.insert(str(image))
    yield drive
    drive.remove()


def again(drive, image):
    drive.remove()
    drive.insert(str(image))


def at(block):
    return Place(block, 0, 0)


def test_the_file_is_what_the_format_says(drive, image):
    drive.write(b"odd")
    drive.write_filemark(synchronous=True)
    drive.write(b"even")

    frames = [struct.pack("<I", 3), b"odd\0", struct.pack("<I", 3), bytes(4)]
    frames += [struct.pack("<I", 4), b"even", struct.pack("<I", 4), b"\xff" * 4]
    assert b"".join(frames) == image.read_bytes()


def test_what_was_written_is_read_with_its_filemarks_and_numbers(drive, image):
    for record in (A, FILEMARK, B, C, FILEMARK):
        drive.write_filemark(synchronous=False) if record is FILEMARK else drive.write(record)
    assert 5 == drive.position()
    again(drive, image)

    assert [A, FILEMARK, B, C, FILEMARK] == [drive.read(RECORD) for _ in range(5)]
    with pytest.raises(EndOfDataError):
        drive.read(RECORD)
    drive.locate(at(3))
    assert (C, 4) == (drive.read(RECORD), drive.position())
    drive.locate(at(0))
    drive.skip_file()
    assert 2 == drive.position()
    with pytest.raises(EndOfDataError):
        drive.locate(at(6))


def test_any_block_is_found_on_a_long_tape(drive, image):
    settings(image, capacity=64 * MIB)
    again(drive, image)
    for number in range(1_000):
        drive.write(b"%06d" % number)
    for number in (999, 0, 63, 64, 65, 511, 512, 3, 998):
        drive.locate(at(number))
        assert b"%06d" % number == drive.read(100)
    drive.locate(at(500))
    drive.write(b"new")
    with pytest.raises(EndOfDataError):
        drive.locate(at(600))
    drive.locate(at(499))
    assert [b"000499", b"new"] == [drive.read(100), drive.read(100)]


def test_a_write_cuts_off_all_that_lies_behind_it(drive, image):
    for record in (A, B, C):
        drive.write(record)
    drive.locate(at(1))
    drive.write_filemark(synchronous=False)

    assert [(0, RECORD), (RECORD + 8, 0)] == objects(image)
    again(drive, image)
    assert [A, FILEMARK] == [drive.read(RECORD), drive.read(RECORD)]
    with pytest.raises(EndOfDataError):
        drive.read(RECORD)


def test_it_warns_early_writes_on_and_ends_hard_with_nothing_of_the_last_record(drive, image):
    warnings = []

    def fill():
        while True:
            warnings.append(drive.write(A))

    with pytest.raises(EndOfMediumError):
        fill()

    assert warnings == sorted(warnings)
    assert [False, True] == [warnings[0], warnings[-1]]
    assert 15 == len(warnings) == len(objects(image)) == drive.position()
    drive.locate(at(14))
    assert A == drive.read(RECORD)


def test_a_protected_cartridge_is_read_and_never_written(drive, image):
    drive.write(A)
    settings(image, write_protected=True)
    again(drive, image)
    before = image.read_bytes()

    assert drive.is_write_protected()
    assert A == drive.read(RECORD)
    for act in (lambda: drive.write(B), lambda: drive.write_filemark(synchronous=True)):
        with pytest.raises(WriteProtectedError):
            act()
    assert before == image.read_bytes()


def test_a_cartridge_that_is_written_once_takes_more_only_at_its_end(drive, image):
    settings(image, worm=True)
    again(drive, image)
    drive.write(A)
    drive.write(B)
    drive.locate(at(1))
    with pytest.raises(WriteProtectedError):
        drive.write(C)
    drive.locate(at(2))
    drive.write(C)

    assert 3 == len(objects(image))


def test_a_record_that_cannot_be_read_is_passed_by(drive, image):
    for record in (A, B, C):
        drive.write(record)
    offset = objects(image)[1][0]
    for place in (offset, offset + 4 + RECORD):
        change(image, place, struct.pack("<I", RECORD | 1 << 31))
    again(drive, image)

    assert A == drive.read(RECORD)
    with pytest.raises(MediumError):
        drive.read(RECORD)
    assert C == drive.read(RECORD)


@pytest.mark.parametrize("left", [1, 3, 4, 100, RECORD + 4, RECORD + 7])
def test_a_torn_record_is_no_record(drive, image, left):
    drive.write(A)
    drive.write(B)
    os.truncate(image, RECORD + 8 + left)
    again(drive, image)

    assert A == drive.read(RECORD)
    with pytest.raises((MediumError, EndOfDataError)):
        drive.read(RECORD)
    assert 1 == drive.position()
    drive.write(C)
    drive.locate(at(1))
    assert C == drive.read(RECORD)


def test_only_a_synchronous_filemark_makes_anything_durable(drive):
    begin = drive.durable
    drive.write(A)
    drive.write_filemark(synchronous=False)
    assert begin >= drive.durable
    drive.write_filemark(synchronous=True)
    assert RECORD + 8 + 4 + 4 + 4 == drive.durable
    drive.locate(at(0))
    drive.write(B)
    assert 0 == drive.durable


def test_a_longer_record_than_was_asked_for_is_said_to_be_one(drive):
    drive.write(A)
    drive.rewind()
    with pytest.raises(BlockTooLargeError):
        drive.read(80)


def test_an_empty_drive_is_not_ready():
    drive = ImageDrive("drive")
    for act in (drive.check_ready, drive.rewind, drive.position, lambda: drive.read(1), lambda: drive.write(A)):
        with pytest.raises(NotReadyError):
            act()


def test_a_file_that_is_lost_under_the_drive_is_a_lost_drive(drive):
    os.close(drive._file)
    with pytest.raises(DriveOfflineError):
        drive.write(A)
    drive._file = os.open(os.devnull, os.O_RDWR)


def test_loads_are_counted(drive, image):
    again(drive, image)
    again(drive, image)

    assert 3 == settings(image).loads


def test_how_deep_a_read_goes_is_said_and_never_more(drive):
    drive.write(A)
    drive.write_filemark(synchronous=True)

    assert drive.reach(at(0), 1) in {Reach.MEDIUM, Reach.HOST_CACHE}
    assert A == drive.read(RECORD)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"capacity": "much"}', "[" * 100_000])
def test_settings_that_make_no_sense_are_not_obeyed(drive, image, text):
    drive.remove()
    image.with_suffix(".json").write_text(text)
    try:
        drive.insert(str(image))
    except NotReadyError:
        drive.insert("/dev/null")  # so that there is something to take out
    else:
        assert Settings().capacity == drive._settings.capacity


def test_a_changer_moves_what_is_there_where_there_is_room(tmp_path):
    for barcode in ("AAA001IM", "AAA002IM"):
        make_cartridge(str(tmp_path), barcode, Settings())
    drive = ImageDrive("drive")
    changer = FolderChanger(str(tmp_path), drive)
    assert ["", "AAA001IM", "AAA002IM"] == [element.barcode for element in changer.elements()]

    changer.move(2, 0)

    assert ["AAA002IM", "AAA001IM", ""] == [element.barcode for element in changer.elements()]
    for source, destination in ((1, 0), (2, 1), (0, 1), (9, 0), (1, 9)):
        with pytest.raises(NotReadyError):
            changer.move(source, destination)
    changer.move(0, 2)
    with pytest.raises(NotReadyError):
        drive.check_ready()
