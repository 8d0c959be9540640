"""What the drive of the Linux st driver does on three kinds of drives; runs in the guest, by ``make test-tape-vm``.

``TEST`` is tgt (a changer; no LOCATE, no position), ``QUANTUM`` is istgt (LOCATE; a hard end without a warning), and
``Linux`` is scsi_debug (strict; keeps only the first four bytes of a record).
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage_backends.tape import scsi, winding
from storage_backends.tape.changer import ElementError, ScsiChanger
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    DriveBusyError,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    Place,
    TapeError,
    UnsupportedError,
    WriteProtectedError,
)
from storage_backends.tape.nst import NstDrive
from storage_backends.tape.sg import SgUnit

DRIVES = Path("/sys/class/scsi_tape")
GENERIC = Path("/sys/class/scsi_generic")
TGT, ISTGT, STRICT = "TEST", "QUANTUM", "Linux"
CHANGER = "8"
"""The peripheral device type of a changer (SPC-4)."""
DRIVE, SLOT = 1, 1001
"""Where VT0001L9 is; a cleaning cartridge comes before it."""
TARGET = Path("/mnt/targets/tgt")


def devices(vendor):
    found = [path for path in sorted(DRIVES.glob("nst?")) if (path / "device/vendor").read_text().strip() == vendor]
    return [f"/dev/{path.name}" for path in found]


def device(vendor):
    return devices(vendor)[0]


def changer_device():
    kinds = {(path / "device/type").read_text().strip(): path.name for path in GENERIC.iterdir()}
    return f"/dev/{kinds[CHANGER]}"


def changer():
    return ScsiChanger(SgUnit(changer_device()), element=None, serial=NstDrive(device(TGT)).serial)


def tidied():
    """Every cartridge of the library in its slot, and blank."""
    for barcode in ("VT0001L9", "VT0002L9"):
        there = {one.barcode: one for one in changer().elements() if one.barcode}
        home = SLOT + int(barcode[2:6]) - 1
        if there[barcode].is_drive:
            with contextlib.suppress(NotReadyError):
                NstDrive(device(TGT)).unload()
        if there[barcode].address != home:
            changer().move(there[barcode].address, home)
    for path in (TARGET / "media").glob("VT*"):
        shutil.copyfile(TARGET / "blank" / path.name, path)


def erased(vendor):
    """The cartridge in a drive without a changer, blank."""
    subprocess.run(["mt-st", "-f", device(vendor), "rewind"], check=True)
    subprocess.run(["mt-st", "-f", device(vendor), "erase"], check=True)


@contextlib.contextmanager
def loaded(vendor):
    """A drive with a blank cartridge in it; a tape of tgt is brought by its changer."""
    drive = NstDrive(device(vendor), ejects=vendor == TGT)
    if vendor == TGT:
        tidied()
        changer().move(SLOT, DRIVE)
    else:
        erased(vendor)
    drive.check_ready()
    drive.rewind()
    try:
        yield drive
    finally:
        with contextlib.suppress(NotReadyError):
            drive.unload()
        if vendor == TGT:
            changer().move(DRIVE, SLOT)


def record(number, size=RECORD):
    return number.to_bytes(4, "big") + bytes(size - 4)


def number_of(data):
    return data if data is FILEMARK else int.from_bytes(data[:4], "big")


ALL = pytest.mark.parametrize("vendor", [TGT, ISTGT, STRICT])


def test_what_was_found_out_of_each_drive():
    found = {}
    for vendor in (TGT, ISTGT, STRICT):
        with loaded(vendor) as drive:
            found[vendor] = (drive.capabilities.position, drive.capabilities.locate, drive.is_write_protected())
    assert found == {TGT: (False, False, False), ISTGT: (True, True, False), STRICT: (True, True, False)}


@ALL
def test_a_tape_is_written_and_read_back_by_place(vendor):
    with loaded(vendor) as drive:
        first = drive.position()
        drive.write(record(0))  # behind it every drive counts alike; at the beginning one of them does not
        drive.write_filemark(synchronous=True)
        places = []
        for file in range(1, 4):
            places.append((drive.position(), file))
            for number in range(3):
                assert not drive.write(record(10 * file + number))
            drive.write_filemark(synchronous=file == 2)
        assert drive.position() - places[0][0] == 12
        assert [block - places[0][0] for block, _ in places] == [0, 4, 8]

        for block, file in reversed(places):
            for number in (2, 0, 1):
                drive.locate(Place(block + number, file, number))
                assert drive.position() == block + number
                assert number_of(drive.read(RECORD)) == 10 * file + number
                assert drive.position() == block + number + 1
        drive.locate(Place(places[1][0] + 2, 2, 2))
        assert [number_of(drive.read(RECORD)) for _ in range(3)] == [22, FILEMARK, 30]

        drive.rewind()
        drive.skip_file()
        drive.skip_file()
        assert number_of(drive.read(RECORD)) == 20
        drive.skip_file()
        assert drive.position() == places[2][0]
        drive.rewind()
        assert drive.position() == first


@ALL
def test_the_data_end_where_nothing_was_written_however_one_comes_there(vendor):
    with loaded(vendor) as drive:
        drive.write(record(1))
        drive.write(record(2))
        drive.write_filemark(synchronous=True)
        end = drive.position()

        for _ in range(3):
            with pytest.raises(EndOfDataError):
                drive.read(RECORD)
        drive.rewind()
        assert [number_of(drive.read(RECORD)) for _ in range(3)] == [1, 2, FILEMARK]
        for _ in range(3):
            with pytest.raises(EndOfDataError):
                drive.read(RECORD)
        with pytest.raises(EndOfDataError):
            drive.skip_file()
        with pytest.raises(EndOfDataError):
            drive.locate(Place(end + 50, 7, 0))
        drive.locate(Place(end, 1, 0))
        with pytest.raises(EndOfDataError):
            drive.read(RECORD)


@ALL
def test_a_torn_file_stays_torn_for_the_driver_does_not_end_it(vendor):
    with loaded(vendor) as drive:
        drive.write(record(1))
        drive.write_filemark(synchronous=True)
        start = drive.position()
        drive.write(record(2))
        drive.write(record(3))

        drive.locate(Place(start, 1, 0))
        assert [number_of(drive.read(RECORD)) for _ in range(2)] == [2, 3]
        with pytest.raises(EndOfDataError):
            drive.read(RECORD)
        drive.locate(Place(start, 1, 0))
        with pytest.raises(EndOfDataError):
            drive.skip_file()

        drive.locate(Place(start, 1, 0))
        drive.write_filemark(synchronous=True)
        drive.locate(Place(start, 1, 0))
        assert drive.read(RECORD) is FILEMARK
        # istgt then loses its place, and says an error without a reason: that may not be called an end
        with pytest.raises(MediumError if vendor == ISTGT else EndOfDataError):
            drive.read(RECORD)


@ALL
def test_what_is_written_in_the_middle_cuts_off_what_lies_behind(vendor):
    with loaded(vendor) as drive:
        starts = []
        for number in range(6):
            starts.append(drive.position())
            drive.write(record(number))
            drive.write_filemark(synchronous=False)
        drive.locate(Place(starts[2], 2, 0))
        drive.write(record(99))
        drive.write_filemark(synchronous=True)
        drive.locate(Place(starts[1], 1, 0))
        assert [number_of(drive.read(RECORD)) for _ in range(4)] == [1, FILEMARK, 99, FILEMARK]
        with pytest.raises(EndOfDataError):
            drive.read(RECORD)


@pytest.mark.parametrize("vendor", [TGT, STRICT])
def test_a_record_that_is_longer_than_was_asked_for_is_not_cut(vendor):
    with loaded(vendor) as drive:
        drive.write(record(1))
        drive.write_filemark(synchronous=True)
        drive.rewind()
        with pytest.raises(BlockTooLargeError):
            drive.read(4096)


@ALL
def test_the_drive_is_one_process_s_at_a_time(vendor):
    with loaded(vendor) as drive:
        other = NstDrive(drive.name)
        with pytest.raises(DriveBusyError):
            other.check_ready()
        drive.close()
        other.check_ready()
        other.close()
        drive.check_ready()


def test_an_empty_drive_says_so_at_once_and_a_filled_one_is_used():
    tidied()
    drive = NstDrive(device(TGT), ejects=False)
    started = time.monotonic()
    with pytest.raises(NotReadyError):
        drive.check_ready()
    assert time.monotonic() - started < 2
    with loaded(TGT) as filled:
        filled.check_ready()


def test_a_changer_may_take_its_time_to_fill_a_drive():
    tidied()
    waits = []
    drive = NstDrive(device(TGT), pause=lambda seconds: (waits.append(seconds), changer().move(SLOT, DRIVE)))
    try:
        drive.check_ready()
        assert waits == [1]
    finally:
        drive.unload()
        changer().move(DRIVE, SLOT)


def test_a_cartridge_that_was_unloaded_is_loaded_again_when_it_is_wanted():
    drive = NstDrive(device(STRICT))
    drive.check_ready()
    drive.unload()
    drive.check_ready()
    drive.rewind()
    drive.close()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/st0", "/dev/sg0"])
def test_what_is_no_drive_or_would_rewind_is_refused(path):
    with pytest.raises(UnsupportedError):
        NstDrive(path).check_ready()


def test_what_is_no_changer_is_refused():
    with pytest.raises(UnsupportedError):
        SgUnit("/dev/null").command(scsi.TEST_UNIT_READY)


def test_a_write_protected_cartridge_is_read_and_never_written():
    with loaded(TGT) as writable:
        writable.write(record(7))
        writable.write_filemark(synchronous=True)
    second = ScsiChanger(SgUnit(changer_device()), element=2, serial=str)
    second.move(SLOT, 2)
    drive = NstDrive(devices(TGT)[1])
    try:
        drive.check_ready()
        assert drive.is_write_protected()
        drive.rewind()
        for attempt in (lambda: drive.write(record(1)), lambda: drive.write_filemark(synchronous=True)):
            with pytest.raises(WriteProtectedError):
                attempt()
        drive.rewind()
        assert number_of(drive.read(RECORD)) == 7
    finally:
        drive.unload()
        second.move(2, SLOT)


def test_early_warning_comes_before_the_end_and_what_is_written_then_is_there():
    with loaded(TGT) as drive:
        start, count = drive.position(), 0
        while not drive.write(record(count)):
            count += 1
        assert 200 < count < 260
        for more in range(3):
            assert drive.write(record(count + 1 + more))
        drive.write_filemark(synchronous=True)
        drive.locate(Place(start + count, 0, count))
        found = [number_of(drive.read(RECORD)) for _ in range(5)]
        assert found == [count, count + 1, count + 2, count + 3, FILEMARK]
        with pytest.raises(EndOfDataError):
            drive.read(RECORD)


def written_to_the_end(drive, size):
    for count in range(20_000):
        try:
            drive.write(record(count, size))
        except EndOfMediumError:
            return count
    raise AssertionError("the tape has no end")


@pytest.mark.parametrize(("vendor", "size"), [(ISTGT, RECORD), (STRICT, 4096)])
def test_at_the_end_of_the_medium_the_torn_tail_is_cut_off(vendor, size):
    with loaded(vendor) as drive:
        drive.write(record(1, size))
        drive.write_filemark(synchronous=True)
        start = drive.position()
        count = written_to_the_end(drive, size)
        assert count > 200
        with contextlib.suppress(EndOfMediumError):  # one of them has room for a filemark behind the end
            drive.write_filemark(synchronous=True)

        drive.locate(Place(start, 1, 0))
        drive.write_filemark(synchronous=True)
        drive.rewind()
        assert [number_of(drive.read(size)) for _ in range(3)] == [1, FILEMARK, FILEMARK]
        with pytest.raises(EndOfDataError):
            drive.read(size)


def test_the_changer_says_what_cannot_be_moved():
    tidied()
    before = changer().elements()
    assert [one.barcode for one in before if not one.is_drive][1:3] == ["VT0001L9", "VT0002L9"]
    with pytest.raises(ElementError, match="there is none"):
        changer().move(DRIVE, SLOT)
    with pytest.raises(ElementError, match="there is one already"):
        changer().move(SLOT, SLOT + 1)
    assert changer().elements() == before


def test_a_cartridge_in_use_is_not_given_out():
    with loaded(TGT) as drive:
        drive.write(record(1))
        with pytest.raises(TapeError):
            changer().move(DRIVE, SLOT)
        assert next(one.barcode for one in changer().elements() if one.is_drive) == "VT0001L9"
        drive.write_filemark(synchronous=True)
        drive.rewind()
        assert number_of(drive.read(RECORD)) == 1


@ALL
def test_a_drive_that_knows_no_better_order_says_so_and_the_tape_stays_where_it_is(vendor):
    with loaded(vendor) as drive:
        for number in range(6):
            drive.write(record(number))
        drive.write_filemark(synchronous=True)
        drive.locate(Place(drive.position() - 5, 0, 2))
        before = drive.position()
        with pytest.raises(UnsupportedError):
            drive.ask(winding.receive_order(4, limits=True), expected=4)
        with pytest.raises(UnsupportedError):
            drive.ask(winding.end_of_wraps(4096), expected=4096)
        assert winding.in_order(drive, [(5, 1), (2, 1), (3, 1)]) == [1, 2, 0]
        assert drive.position() == before
        assert number_of(drive.read(RECORD)) == 2


def test_only_root_asks_the_drive_itself():
    code = (
        "import sys; from storage_backends.tape import winding; from storage_backends.tape.nst import NstDrive;"
        "drive = NstDrive(sys.argv[1]); drive.check_ready(); drive.ask(winding.end_of_wraps(64), expected=64)"
    )
    command = ["setpriv", "--bounding-set=-sys_rawio", "--inh-caps=-sys_rawio", "--no-new-privs"]
    python = [sys.executable, "-B", "-c", code, device(STRICT)]
    done = subprocess.run([*command, *python], capture_output=True, text=True, check=False)
    assert "UnsupportedError" in done.stderr
    assert "not permitted" in done.stderr


def test_mtx_sees_what_we_see():
    tidied()
    said = subprocess.run(["mtx", "-f", changer_device(), "status"], capture_output=True, text=True, check=True).stdout
    for one in changer().elements():
        assert one.barcode in said
    assert "Data Transfer Element 0:Empty" in said


def test_without_the_right_to_set_the_drivers_options_they_are_looked_at(tmp_path):
    """An account of the group ``tape`` may use the drive, but not set how the driver behaves."""
    code = (
        "import sys; from storage_backends.tape.nst import NstDrive; drive = NstDrive(sys.argv[1]);"
        "drive.check_ready(); print(drive.capabilities.position)"
    )
    command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--no-new-privs"]
    name = device(STRICT)

    def run():
        python = [sys.executable, "-B", "-c", code, name]
        return subprocess.run([*command, *python], capture_output=True, text=True, check=False)

    subprocess.run(["mt-st", "-f", name, "stsetoptions", "async-writes", "read-ahead"], check=True)
    wrong = run()
    assert "UnsupportedError" in wrong.stderr
    assert "stclearoptions" in wrong.stderr
    subprocess.run(["mt-st", "-f", name, "stclearoptions", "async-writes", "read-ahead"], check=True)
    subprocess.run(["mt-st", "-f", name, "stsetoptions", "scsi2logical"], check=True)
    right = run()
    assert right.stdout.strip() == "True", right.stderr


def test_a_record_that_cannot_be_read_is_not_the_end_of_the_data():
    """The driver says EIO of both. Nobody may hear of an end, and write there, where there is data."""
    with loaded(TGT) as drive:
        for number in range(4):
            drive.write(record(number))
        drive.write_filemark(synchronous=True)
        drive.unload()
        changer().move(DRIVE, SLOT)
        image = TARGET / "media/VT0001L9"
        os.truncate(image, image.read_bytes().rindex(record(3)[:4] + bytes(4096)) + 5000)
        changer().move(SLOT, DRIVE)
        drive.check_ready()
        drive.rewind()
        assert [number_of(drive.read(RECORD)) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(MediumError):
            drive.read(RECORD)
        drive.locate(Place(1, 0, 1))
        assert number_of(drive.read(RECORD)) == 1
