"""What virtual libraries can do to a store on tape: killed, full, protected, exchanged, offline, torn, shared."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest
from backend_sources import PROFILE
from tape_support import MIB, STORE, contents, get, pack, proved, put, staged
from tape_targets import Istgt, Kept, Tgt, connected_once
from test_backend_contract import innermost

from storage_backends import locations
from storage_backends.backend import Reach
from storage_backends.errors import ReadFailureError, StorageError, StoreFullError, StoreRefusesError
from storage_backends.tape import claim, iscsi, scsi
from storage_backends.tape.addresses import address_of, hardware_of
from storage_backends.tape.cartridges import FULL, OPEN, Cartridges, CartridgesError
from storage_backends.tape.changer import ElementError, ScsiChanger, WhichDriveError
from storage_backends.tape.drive import (
    RECORD,
    CartridgeAwayError,
    DriveBusyError,
    DriveOfflineError,
    DuplicateBarcodeError,
    EndOfDataError,
    EndOfMediumError,
    MediumChangedError,
    NoLabelError,
    NotReadyError,
    Place,
    WriteProtectedError,
    WrongCartridgeError,
    WrongPositionError,
)
from storage_backends.tape.iscsi import IscsiUnit, NoLibraryError
from storage_backends.tape.scsi import Answer, Key, Sense
from storage_backends.tape.scsi_drive import ScsiDrive

SMALL = {"ledger/tail/0-1": b"a tail", "README.txt": "đọc".encode()}
BARCODES = ("VT0001L9", "VT0002L9", "VT0003L9")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """tgt with a cartridge of 4 MiB and two of 64, and a cleaning one that is never touched."""
    sizes = {"CLN001L1": (1, "clean"), "VT0001L9": 4, "VT0002L9": 64, "VT0003L9": 64}
    target = Tgt(tmp_path_factory.mktemp("tgt") / "t", sizes)
    yield target
    target.stop()


@pytest.fixture
def tgt(library):
    if not library.running:
        library.start()
    for unit in (1, 2):
        library.set(unit, "readonly=0")
    library.put_back()
    library.erase()
    return library


@pytest.fixture(scope="module")
def locating(tmp_path_factory):
    """istgt with a cartridge of 16 MiB, and one of 64."""
    target = Istgt(tmp_path_factory.mktemp("istgt") / "t", 16, 64)
    yield target
    target.stop()


@pytest.fixture(scope="module")
def logged_in(locating):
    units = {address_of(locating.address(number)): IscsiUnit(address_of(locating.address(number))) for number in (1, 2)}
    for unit in units.values():
        unit.connect()
    yield units
    for unit in units.values():
        unit.close()


@pytest.fixture
def istgt(locating, logged_in, monkeypatch):
    for unit in logged_in.values():
        for cdb in (scsi.REWIND, bytes((0x19, 1, 0, 0, 0, 0)), scsi.REWIND):  # 19h: ERASE
            assert unit.command(cdb).status == scsi.GOOD

    def connected(address):
        return Kept(logged_in[address]) if address in logged_in else IscsiUnit(address)

    monkeypatch.setattr("storage_backends.tape.hardware.IscsiUnit", connected)
    return locating


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def packs(*seeds, records=2):
    return {f"packs/f/{seed:02x}/{seed}.tar": pack(seed, records) for seed in seeds}


def filled(backend, items):
    for key, data in items.items():
        put(backend, key, data)
    return items


@contextmanager
def store(url, *, count=None, as_there_are=False):
    """The store at ``url``; made with so many cartridges if they are given."""
    if count is not None:
        locations.initialise_store(url, STORE, Cartridges(count=count, as_there_are=as_there_are))
    with closing(innermost(locations.open_store(url, store_id=STORE, profile=PROFILE))) as backend:
        yield backend


def cartridges(backend):
    return [(one.number, one.barcode, one.state) for one in backend.directory().cartridges()]


# What they can do.


def test_what_a_drive_can_do_is_found_out(tgt, istgt, folder):
    found = []
    for url in (tgt.url(folder / "1"), istgt.url(folder / "2", 2)):
        with store(url, count=1) as backend:
            filled(backend, SMALL)
            backend.flush(proved)
            drive = backend.library.drive
            found.append((drive.capabilities.position, drive.capabilities.locate, drive.serial()))

    assert [(False, False, "DRV0001"), (True, True, "CX10000002")] == [
        (position, locate, serial) for position, locate, serial in found
    ]


def test_positions_are_kept_as_the_drive_reports_them(tgt, istgt, folder):
    starts = []
    for url in (tgt.url(folder / "1"), istgt.url(folder / "2", 2)):
        with store(url, count=1) as backend:
            filled(backend, packs(1, 2))
            backend.flush(proved)
            starts.append([file.start for file in backend.directory().files(1)])

    assert [[3, 6, 9], [4, 7, 10]] == starts  # istgt counts its first block as 1


@pytest.mark.parametrize("which", ["tgt", "istgt"])
def test_a_place_behind_the_data_is_the_end_of_the_data(which, request, folder):
    target = request.getfixturevalue(which)
    with store(target.url(folder, 2 if which == "istgt" else 1), count=1) as backend:
        filled(backend, packs(1))
        backend.flush(proved)
        with backend.library.using(cartridges(backend)[0][1]) as drive:
            for place in (Place(99, 9, 0), Place(None, 9, 0), *([Place(99, 1, 90)] if which == "tgt" else [])):
                with pytest.raises(EndOfDataError):
                    drive.locate(place)
            drive.locate(Place(None, 1, 1))
            assert pack(1)[RECORD:] == drive.read(RECORD)


def test_a_record_that_is_longer_or_shorter_than_asked_is_told(tgt, folder):
    with store(tgt.url(folder), count=1) as backend, backend.library.using("VT0001L9") as drive:
        drive.rewind()
        assert b"VOL1" == drive.read(RECORD)[:4]
        drive.rewind()
        with pytest.raises(Exception, match="has 80 bytes, more than 40"):
            drive.read(40)


# The target is killed.


@pytest.mark.parametrize("moment", ["write 1", "write 5", "write_filemark 1", "after write_filemark 2"])
def test_a_target_that_is_killed_leaves_everything_staged_and_nothing_is_lost_or_written_twice(
    tgt, folder, monkeypatch, moment
):
    after, _, rest = moment.rpartition("after ")
    name, number = rest.split()
    with store(tgt.url(folder), count=3) as backend:
        tgt_used = filled(backend, packs(7))
        backend.flush(proved)
        items = tgt_used | filled(backend, packs(1, 2, 3) | SMALL)
        calls = iter(range(int(number) - 1))
        real = getattr(ScsiDrive, name)

        def killing(drive, *what, **how):
            last = next(calls, None) is None and tgt.running
            if last and not after:
                tgt.kill()
            done = real(drive, *what, **how)
            if last and after:
                tgt.kill()
            return done

        monkeypatch.setattr(ScsiDrive, name, killing)
        with pytest.raises(DriveOfflineError):
            backend.flush(proved)
        monkeypatch.undo()
        assert set(tgt_used).isdisjoint(staged(backend))
        assert set(staged(backend)) == set(items) - set(tgt_used)
        with pytest.raises(DriveOfflineError):
            backend.flush(proved)

    tgt.start()
    with store(tgt.url(folder)) as again:
        again.flush(proved)
        assert [] == staged(again)
        assert items == contents(again)
        files = [item.key for file in again.directory().files(1) for item in file.items if item.key.endswith(".tar")]
        assert len(files) == len(set(files))
    os.unlink(folder / "directory.sqlite")
    with store(tgt.url(folder)) as forgotten:
        assert items == contents(forgotten)


def test_a_target_that_is_away_is_neither_missing_nor_damaged_and_comes_back(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
        tgt.kill()
        with pytest.raises(DriveOfflineError):
            get(backend, *items)
        assert [*items] == [item.key for item in backend.items()]
        tgt.start()
        with suppress(DriveOfflineError):  # the changer was missed first; now the drive's own connection is
            contents(backend)
        assert items == contents(backend)


def test_who_waits_for_a_drive_can_stop_it_and_go_on_later(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        tgt.pause()
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            backend.flush(proved)
        assert time.monotonic() - began < 5
        tgt.pause(ends=True)
        assert [*items] == staged(backend)
        with suppress(DriveOfflineError):
            backend.flush(proved)
        backend.flush(proved)
        assert ([], items) == (staged(backend), contents(backend))


# Full, protected, offline, torn.


def test_early_warning_closes_a_cartridge_though_it_would_take_more(tgt, folder):
    with store(tgt.url(folder), count=3) as backend:
        items = filled(backend, packs(*range(1, 7), records=8))
        backend.flush(proved)

        assert items == contents(backend)
        assert [FULL, OPEN, OPEN] == [state for _, _, state in cartridges(backend)]
        assert 4 * MIB < tgt.images()[1].stat().st_size < 12 * MIB


def test_a_hard_end_without_a_warning_cuts_the_torn_pack_off(istgt, folder):
    with store(istgt.url(folder, 1), count=1) as backend:
        items = filled(backend, packs(*range(1, 9), records=10) | SMALL)
        with pytest.raises(StoreFullError):
            backend.flush(proved)

        assert 0 < len(staged(backend)) < len(items)
        assert items == contents(backend)
        assert [FULL] == [state for _, _, state in cartridges(backend)]
    os.unlink(folder / "directory.sqlite")
    with store(istgt.url(folder, 1)) as forgotten:
        assert items == contents(forgotten)


def test_at_the_hard_end_nothing_of_the_record_is_written(istgt, folder):
    with store(istgt.url(folder, 1), count=1) as backend, backend.library.using(cartridges(backend)[0][1]) as drive:
        drive.locate(Place(None, 1, 0))
        count = 0

        def fill():
            nonlocal count
            while count < 100:
                drive.write(bytes(RECORD))
                count += 1

        with pytest.raises(EndOfMediumError):
            fill()
        drive.locate(Place(None, 1, count))
        with pytest.raises(EndOfDataError):
            drive.read(RECORD)
        assert 50 < count < 64


def test_a_protected_cartridge_is_said_to_be_so_and_takes_nothing(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        tgt.set(1, "readonly=1")
        items = filled(backend, packs(1))
        with pytest.raises(StoreRefusesError, match="write protected"):
            backend.flush(proved)
        assert [*items] == staged(backend)
        tgt.set(1, "readonly=0")
        backend.flush(proved)
        assert items == contents(backend)


def test_a_drive_that_protects_its_cartridge_refuses_to_write(tgt):
    tgt.move(1001, 1)
    tgt.set(1, "readonly=1")
    drive = ScsiDrive(IscsiUnit(address_of(tgt.address(1))), ejects=False, reach=Reach.PROVIDER)
    with closing(drive):
        drive.check_ready()
        assert drive.is_write_protected()
        for attempt in (lambda: drive.write(bytes(RECORD)), lambda: drive.write_filemark(synchronous=True)):
            with pytest.raises(WriteProtectedError):
                attempt()
        drive.unload()


def test_a_drive_without_a_cartridge_is_not_ready(tgt):
    drive = ScsiDrive(IscsiUnit(address_of(tgt.address(1))), ejects=True, reach=Reach.PROVIDER)
    with closing(drive), pytest.raises(NotReadyError, match="2/3A/00"):
        drive.check_ready()


def test_a_drive_that_goes_offline_in_the_middle_acknowledges_nothing(tgt, folder, monkeypatch):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1, 2))
        calls = iter(range(2))
        write = ScsiDrive.write

        def offline(drive, record):
            if next(calls, None) is None:
                tgt.set(1, "online=0")
            return write(drive, record)

        monkeypatch.setattr(ScsiDrive, "write", offline)
        monkeypatch.setattr(ScsiDrive, "_keep", lambda *_, **__: None)  # a drive that keeps nobody from it
        with pytest.raises(NotReadyError):
            backend.flush(proved)
        assert [*items] == staged(backend)
        monkeypatch.undo()
    tgt.restart()
    with store(tgt.url(folder)) as again:
        again.flush(proved)
        assert items == contents(again)


@pytest.mark.parametrize("cut", [100_000, RECORD + 200_000])
def test_a_torn_image_is_a_failed_read_of_what_lay_there_only(tgt, folder, cut):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1, 2, records=3))
        backend.flush(proved)
    tgt.put_back()
    image = tgt.images()[1]
    at = image.read_bytes().find(pack(2, 3)[:RECORD])
    os.truncate(image, at + cut)

    with store(tgt.url(folder)) as again:
        assert items["packs/f/01/1.tar"] == get(again, "packs/f/01/1.tar")
        with pytest.raises(ReadFailureError):
            get(again, "packs/f/02/2.tar")


# Wrong cartridges, and others who use the library.


def test_a_wrong_label_is_noticed_and_nothing_is_written_there(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    tgt.put_back()
    one, two = tgt.images()[1:3]
    first, second = one.read_bytes(), two.read_bytes()
    image_header = 512 * 2  # tgt keeps the barcode there
    one.write_bytes(first[:image_header] + second[image_header:])
    two.write_bytes(second[:image_header] + first[image_header:])
    before = one.read_bytes(), two.read_bytes()

    with store(tgt.url(folder)) as again:
        with pytest.raises(StorageError) as caught:
            get(again, *items)
        assert isinstance(caught.value, WrongCartridgeError | NoLabelError)
        put(again, "more", b"")
        with pytest.raises(StoreRefusesError):
            again.flush(proved)
    tgt.put_back()
    assert before == (one.read_bytes(), two.read_bytes())


def test_a_blank_cartridge_under_a_known_barcode_is_not_ours_and_not_written(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    tgt.put_back()
    tgt.erase()
    blank = tgt.images()[1].read_bytes()

    with store(tgt.url(folder)) as again:
        with pytest.raises(NoLabelError):
            get(again, *items)
        filled(again, packs(2))
        with pytest.raises(StoreRefusesError, match=r"VT0001L9.*VT0002L9"):
            again.flush(proved)
    tgt.put_back()
    assert blank == tgt.images()[1].read_bytes()


def test_of_two_cartridges_with_one_barcode_none_is_used(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    tgt.put_back()
    tgt.set(3, "element_type=2,address=1005,barcode=VT0001L9,sides=1")

    with store(tgt.url(folder)) as again:
        with pytest.raises(DuplicateBarcodeError):
            get(again, *items)
        more = filled(again, packs(2))
        again.flush(proved)
        assert "000002" == again.stat(*more).generation[:6]
        assert more == {key: get(again, key) for key in more}
    tgt.restart()


def test_a_cartridge_in_use_cannot_be_taken_away(tgt, folder):
    with store(tgt.url(folder), count=1) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
        changer = IscsiUnit(address_of(tgt.address(3)))
        changer.connect()
        changer.command(scsi.TEST_UNIT_READY)
        refused = changer.command(scsi.move_medium(1, 1006))
        assert (0x53, 0x02) == refused.sense.code  # medium removal prevented
        assert items == contents(backend)
        changer.close()


def test_a_cartridge_that_is_exchanged_without_a_word_is_known_by_its_label(tgt, folder):
    """tgt never says 28/00: whoever mounts reads the label."""
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
        backend.library.close()
        tgt.move(1, 1006)
        tgt.move(1003, 1)
        assert items == contents(backend)


@pytest.mark.parametrize("which", ["tgt", "istgt"])
def test_of_another_initiator_that_winds_the_tape_meanwhile_nothing_is_believed(
    which, request, folder, monkeypatch, logged_in
):
    target = request.getfixturevalue(which)
    number = 2 if which == "istgt" else 1
    with store(target.url(folder, number), count=2 if which == "tgt" else 1) as backend:
        items = filled(backend, packs(1, 2, 3))
        if which == "tgt":
            other = IscsiUnit(address_of(target.address(number)))
            other.connect()
            other.command(scsi.TEST_UNIT_READY)
        else:
            other = logged_in[address_of(target.address(number))]
        calls = iter(range(3))
        write = ScsiDrive.write

        def meddling(drive, record):
            if next(calls, "last") == "last" and not done:
                done.append(other.command(scsi.REWIND).status)
            return write(drive, record)

        done = []
        monkeypatch.setattr(ScsiDrive, "write", meddling)
        with pytest.raises(WrongPositionError if which == "istgt" else StorageError):
            backend.flush(proved)
        monkeypatch.undo()
        assert [scsi.GOOD] == done
        assert set(staged(backend)) == set(items)
        if which == "tgt":
            backend.flush(proved)  # on the next cartridge: this one's label is gone
            assert items == contents(backend)


@pytest.mark.parametrize("operation", [0x08, 0x0A, 0x10, 0x11], ids=["read", "write", "filemark", "space"])
def test_a_unit_attention_in_the_middle_means_that_the_label_is_read_again(tgt, folder, monkeypatch, operation):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
        more = filled(backend, packs(2))
        command = IscsiUnit.command
        due = iter([Answer(scsi.CHECK_CONDITION, Sense(Key.UNIT_ATTENTION, (0x28, 0)))])

        def changed(unit, cdb, **more):
            return (next(due, None) if cdb[0] == operation else None) or command(unit, cdb, **more)

        monkeypatch.setattr(IscsiUnit, "command", changed)
        with pytest.raises(MediumChangedError if operation != 0x08 else StorageError):
            backend.flush(proved)
        assert [*more] == staged(backend)
        mounted = []
        mount = backend.library.look
        monkeypatch.setattr(backend.library, "look", lambda barcode: (mounted.append(barcode), mount(barcode))[1])
        backend.flush(proved)
        assert "VT0001L9" == mounted[0]
        assert [] == staged(backend)
        assert items | more == contents(backend)


def test_a_drive_belongs_to_one_process_at_a_time(tgt, folder):
    url = tgt.url(folder / "1")
    name = hardware_of(*url.split(f"://{folder / '1'}?")).identity
    held = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0mocban-{name}')"
    with store(url, count=1) as one:
        items = filled(one, packs(1))
        other = subprocess.Popen(
            [sys.executable, "-c", f"{held}; print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        other.stdout.readline()
        with pytest.raises(DriveBusyError):
            one.flush(proved)
        assert [*items] == staged(one)
        other.communicate(b"\n")
        one.flush(proved)
        assert items == contents(one)


def test_stores_of_one_process_have_a_drive_one_after_the_other(tgt, folder, monkeypatch):
    monkeypatch.setattr(claim, "IDLE", 0.05)
    other = "0190a0b0-0000-7000-8000-00000000001b"
    with store(tgt.url(folder / "1"), count=1) as one:
        items = filled(one, packs(1))
        one.flush(proved)
        url = tgt.url(folder / "2")
        locations.initialise_store(url, other, Cartridges(count=1))
        with closing(innermost(locations.open_store(url, store_id=other, profile=PROFILE))) as two:
            more = filled(two, packs(2))
            threads = [threading.Thread(target=two.flush, args=(proved,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            assert items == contents(one)
            for thread in threads:
                thread.join()
            assert [] == staged(two)
            assert items == contents(one)
            assert more == contents(two)
            with one.library.using("VT0001L9"):
                waiting = threading.Thread(target=two.library.mount, args=("VT0002L9",))
                waiting.start()
                time.sleep(0.2)
                assert waiting.is_alive()
            waiting.join()
            with two.library.using("VT0002L9"), pytest.raises(DriveBusyError):  # nobody waits for himself
                one.library.mount("VT0001L9")


def test_two_stores_share_a_library_with_a_drive_each_and_leave_each_other_alone(tgt, folder):
    other = "0190a0b0-0000-7000-8000-00000000001b"
    with store(tgt.url(folder / "1"), count=1) as one:
        items = filled(one, packs(1))
        one.flush(proved)
        url = tgt.url(folder / "2", 2) + "&element=2"
        locations.initialise_store(url, other, Cartridges(count=2))
        with closing(innermost(locations.open_store(url, store_id=other, profile=PROFILE))) as two:
            assert [(1, "VT0002L9", OPEN), (2, "VT0003L9", OPEN)] == cartridges(two)
            more = filled(two, packs(2))
            two.flush(proved)
            assert items == contents(one)
            assert more == contents(two)
            one.close()
            os.unlink(folder / "1" / "directory.sqlite")
            with store(tgt.url(folder / "1")) as again:
                assert [(1, "VT0001L9", OPEN)] == cartridges(again)


def test_a_changer_with_several_drives_must_be_told_which_is_meant(tgt):
    changer = IscsiUnit(address_of(tgt.address(3)))
    with (
        closing(ScsiChanger(changer, element=None, serial=str)) as unknown,
        pytest.raises(WhichDriveError, match="1, 2"),
    ):
        unknown.elements()
    with closing(ScsiChanger(changer, element=None, serial=lambda: "DRV0001")) as known:
        assert [1] == [one.address for one in known.elements() if one.is_drive]


def test_slots_that_are_empty_or_full_are_said_to_be_so(tgt):
    with closing(ScsiChanger(IscsiUnit(address_of(tgt.address(3))), element=1, serial=str)) as changer:
        with pytest.raises(ElementError, match="there is none"):
            changer.move(1006, 1)
        with pytest.raises(ElementError, match="there is one already"):
            changer.move(1001, 1002)
        changer.move(1001, 900)
        assert ["VT0001L9"] == [one.barcode for one in changer.elements() if one.is_mailbox]


def test_a_cartridge_that_was_taken_out_is_away(tgt, folder):
    with store(tgt.url(folder), count=1) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    tgt.put_back()
    tgt.set(3, "element_type=2,address=1001,clear_slot=1")
    with store(tgt.url(folder)) as again:
        with pytest.raises(CartridgeAwayError):
            get(again, *items)
        assert [*items] == [item.key for item in again.items()]
    tgt.restart()


def test_a_cartridge_goes_out_by_the_mail_slot_and_comes_back_by_it(tgt, folder):
    with store(tgt.url(folder), count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
        assert "VT0001L9" == backend.library.give_out("VT0001L9")
        assert [("VT0001L9", 900)] == [
            (one.barcode, one.address) for one in backend.library.elements() if one.is_mailbox
        ]
        assert "" == backend.library.give_out("VT0002L9")  # there is one in it
        assert "" == backend.library.give_out("VT0009L9")
        assert items == contents(backend)


# Labelling.


def test_blank_cartridges_are_labelled_and_nothing_else_is_touched(tgt, folder):
    before = tgt.images()[0].read_bytes()
    with store(tgt.url(folder), count=3) as backend:
        assert [(1, "VT0001L9", OPEN), (2, "VT0002L9", OPEN), (3, "VT0003L9", OPEN)] == cartridges(backend)
    with pytest.raises(CartridgesError, match="3 are ours"):
        locations.initialise_store(tgt.url(folder), STORE, Cartridges(count=4))
    with pytest.raises(CartridgesError, match="0 are ours"):
        locations.initialise_store(tgt.url(folder.parent / "2"), "other", Cartridges(as_there_are=True))
    assert before == tgt.images()[0].read_bytes()


def test_a_cartridge_without_a_barcode_is_known_by_its_label(istgt, folder):
    with store(istgt.url(folder, 2), count=1) as backend:
        ((number, barcode, state),) = cartridges(backend)
        assert (1, OPEN, "001HL") == (number, state, barcode[3:])
        items = filled(backend, packs(1))
        backend.flush(proved)
        assert [barcode] == backend.library.barcodes()
    with store(istgt.url(folder, 2)) as again:
        assert items == contents(again)


def test_another_cartridge_is_put_in_by_hand_and_labelled(istgt, folder, logged_in):
    url = istgt.url(folder, 2)
    with store(url, count=1) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    for cdb in (scsi.REWIND, bytes((0x19, 1, 0, 0, 0, 0)), scsi.REWIND):  # as if it were another, and blank
        assert logged_in[address_of(istgt.address(2))].command(cdb).status == scsi.GOOD

    with store(url, count=2) as again:
        assert ["001HL", "002HL"] == [barcode[3:] for _, barcode, _ in cartridges(again)]
        more = filled(again, packs(2))
        again.flush(proved)
        assert more == {key: get(again, key) for key in more}
        with pytest.raises(CartridgeAwayError):
            get(again, *items)


def test_without_the_library_that_is_said_and_nothing_else(tgt, folder, monkeypatch):
    url = tgt.url(folder)
    with store(url, count=1) as backend:
        monkeypatch.setattr(iscsi, "LIBRARY", "libnothing.so.7")
        iscsi._loaded.cache_clear()
        try:
            filled(backend, SMALL)
            with pytest.raises(NoLibraryError, match="libiscsi7"):
                backend.flush(proved)
        finally:
            monkeypatch.undo()
            iscsi._loaded.cache_clear()
        backend.flush(proved)
        assert contents(backend) == SMALL


def test_a_drive_without_a_changer_gives_its_cartridge_out_only_when_it_is_told_to(tmp_path, folder, monkeypatch):
    """Last, and with a target of its own: nobody is there to put it in again."""
    target = Istgt(tmp_path / "t", 16)
    with closing(target), connected_once(monkeypatch, target.address()), store(target.url(folder), count=1) as backend:
        ((_, barcode, _),) = cartridges(backend)
        items = filled(backend, packs(1))
        backend.flush(proved)
        backend.library.close()
        assert items == contents(backend)
        assert "" == backend.library.give_out("VT0009L9")
        assert barcode == backend.library.give_out()
        assert [] == backend.library.barcodes()
        assert "" == backend.library.give_out()
        with pytest.raises(CartridgeAwayError):
            get(backend, *items)
