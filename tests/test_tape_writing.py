"""What is staged comes to cartridges whole or not at all, whatever happens to the tape meanwhile."""

import io
import os
import struct
from contextlib import closing

import pytest
from backend_sources import Patterned, peak_growth
from tape_support import (
    MIB,
    STORE,
    change,
    contents,
    get,
    images,
    objects,
    opened,
    pack,
    proved,
    put,
    settings,
    staged,
    tape_at,
    tape_files,
)

from storage_backends.errors import ReadFailureError, StoreFullError, StoreRefusesError
from storage_backends.tape import writing
from storage_backends.tape.cartridges import FULL, OPEN, SUSPECT
from storage_backends.tape.drive import (
    RECORD,
    CartridgeAwayError,
    DriveBusyError,
    DriveOfflineError,
    NoLabelError,
    WrongCartridgeError,
    WrongPositionError,
)
from storage_backends.wrapping import Wrapping

SMALL = {"ledger/tail/0-1": b"a tail", "indexes/f/aa/x.jsonl": b"index " * 9000, "README.txt": "đọc".encode()}


def packs(*seeds, records=2):
    return {f"packs/f/{seed:02x}/{seed}.tar": pack(seed, records) for seed in seeds}


def filled(backend, items):
    for key, data in items.items():
        put(backend, key, data)
    return items


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tape"


@pytest.fixture
def tape(folder):
    with closing(tape_at(folder, capacity=8 * MIB)) as backend:
        yield backend


def states(tape):
    return [cartridge.state for cartridge in tape.directory().cartridges()]


def places(tape, items):
    return {key: tape.stat(key).generation[:15] for key in items}


def forgotten(tape, folder):
    """The same store with nothing but what is on its tapes."""
    tape.close()
    (folder / "directory.sqlite").unlink()
    return opened(folder)


def test_packs_are_tape_files_as_they_are_and_the_rest_is_in_an_index(tape, folder):
    items = filled(tape, packs(1, 2) | SMALL)
    tape.flush(proved)

    files = tape_files(images(folder)[0])
    assert b"VOL1" == files[0][:4]
    assert [*packs(1, 2).values()] == files[1:3]
    assert files[3].startswith(b"MOCBAN-TAPE-INDEX/")
    assert all(data in files[3] for data in SMALL.values())
    assert [b""] == files[4:]
    assert {word & 0xFFFFFF for _, word in objects(images(folder)[0])[3:]} == {0, RECORD}
    assert [] == staged(tape)
    assert items == contents(tape)


def test_the_same_staging_gives_the_same_tape(tmp_path):
    made = []
    for name in ("one", "two"):
        with closing(tape_at(tmp_path / name)) as backend:
            filled(backend, packs(3) | SMALL)
            backend.flush(proved)
        made.append(images(tmp_path / name)[0].read_bytes())

    assert made[0] == made[1]


def test_a_flush_takes_little_memory(folder):
    size = 200 * MIB
    with closing(tape_at(folder, capacity=512 * MIB)) as tape:
        tape.write("packs/f/large.tar", size, Patterned(size))
        tape.write("not whole records", size + 5, Patterned(size + 5))
        assert peak_growth(lambda: tape.flush(proved)) < 64 * MIB
        assert [] == staged(tape)


def test_a_flush_of_nothing_writes_nothing(tape, folder):
    before = images(folder)[0].read_bytes()
    tape.flush(proved)

    assert before == images(folder)[0].read_bytes()


def test_later_flushes_go_on_behind_the_earlier_ones(tape, folder):
    items = {}
    for seed in (5, 4, 3):
        items |= filled(tape, packs(seed))
        tape.flush(proved)

    assert items == contents(tape)
    assert [1, 3, 5] == sorted(int(place[7:]) for place in places(tape, items).values())
    assert [*reversed(items)] == tape.in_order(sorted(items, reverse=True))[::-1]
    assert items == contents(forgotten(tape, folder))


def test_each_item_is_read_back_before_what_was_staged_is_dropped(tape):
    items = filled(tape, packs(1) | SMALL)
    seen = {}

    def prove(item, reader):
        assert item.key in staged(tape)
        seen[item.key] = reader.read(4 * MIB)

    tape.flush(prove)

    assert items == seen


def test_what_is_refused_when_it_is_read_back_stays_staged_and_is_written_again(tape):
    items = filled(tape, packs(1, 2) | SMALL)
    refused = next(iter(items))

    def prove(item, reader):
        proved(item, reader)
        if item.key == refused:
            raise ReadFailureError(place="here", key=item.key, reason="refused")

    with pytest.raises(ReadFailureError):
        tape.flush(prove)
    assert [refused] == staged(tape)
    assert items == contents(tape)
    tape.flush(proved)

    assert [] == staged(tape)
    assert items == contents(tape)
    assert [SUSPECT, OPEN, OPEN] == states(tape)


def test_a_tape_that_reads_back_wrong_is_written_no_more(tape, folder, monkeypatch):
    items = filled(tape, packs(1, 2))
    write = tape.library.drive.write
    flips = iter([False] * 3 + [True])

    def careless(record):
        data = bytearray(record)
        if next(flips, False):
            data[77] ^= 1
        return write(bytes(data))

    monkeypatch.setattr(tape.library.drive, "write", careless)
    with pytest.raises(ReadFailureError):
        tape.flush(proved)
    monkeypatch.undo()
    assert 1 == len(staged(tape))
    tape.flush(proved)

    assert items == contents(tape)
    assert SUSPECT == states(tape)[0]
    assert ["000001", "000002"] == sorted(place[:6] for place in places(tape, items).values())


def test_at_the_end_of_a_cartridge_the_next_one_is_taken_and_no_pack_is_cut(tape, folder):
    items = filled(tape, packs(*range(1, 10), records=8) | SMALL)
    tape.flush(proved)

    assert items == contents(tape)
    assert [FULL, FULL, OPEN] == states(tape)
    for image in images(folder):
        found = [file for file in tape_files(image)[1:] if file and not file.startswith(b"MOCBAN")]
        assert all(file in items.values() for file in found)
    assert items == contents(forgotten(tape, folder))


def test_every_cartridge_has_a_list_of_itself_and_the_first_one_of_the_cartridge_before(tape, folder):
    items = filled(tape, packs(*range(1, 5), records=8))
    tape.flush(proved)
    last = [[file for file in tape_files(image) if file.startswith(b"MOCBAN")][-1] for image in images(folder)[:2]]

    first_barcode = images(folder)[0].stem.encode()
    lines = [line for line in last[1].splitlines() if first_barcode in line]
    assert 1 <= len(lines)
    for key in list(items)[:3]:
        assert key.encode() in last[0] + last[1]
    with open(images(folder)[0], "r+b") as file:  # the first list is gone
        marks = [at for at, word in objects(images(folder)[0]) if not word]
        file.seek(marks[-2] + 4)
        file.write(struct.pack("<I", RECORD | 1 << 31))
        file.seek(marks[-1] - 4)
        file.write(struct.pack("<I", RECORD | 1 << 31))

    assert items == contents(forgotten(tape, folder))


def test_a_torn_pack_at_the_end_is_cut_off(tape, folder):
    settings(images(folder)[0], capacity=3 * MIB)
    items = filled(tape, packs(1, 2, records=7))
    tape.flush(proved)

    files = tape_files(images(folder)[0])
    assert [items["packs/f/01/1.tar"]] == files[1:2]
    assert items["packs/f/02/2.tar"] in tape_files(images(folder)[1])
    assert items == contents(tape)


def test_when_all_are_full_what_is_committed_stays_and_the_rest_stays_staged(tape, folder):
    items = filled(tape, packs(*range(1, 20), records=8) | SMALL)
    with pytest.raises(StoreFullError):
        tape.flush(proved)

    assert 0 < len(staged(tape)) < len(items)
    assert items == contents(tape)
    waiting = staged(tape)
    tape.close()
    with closing(tape_at(folder, count=8, capacity=8 * MIB)) as more:
        assert waiting == staged(more)
        more.flush(proved)
        assert [] == staged(more)
        assert items == contents(more)


def test_a_pack_that_no_cartridge_can_take_keeps_the_others_from_nothing(tape, folder):
    items = filled(tape, packs(1, records=2) | packs(2, records=33) | packs(3, records=2) | SMALL)
    with pytest.raises(StoreFullError):
        tape.flush(proved)
    with pytest.raises(StoreFullError):
        tape.flush(proved)

    assert ["packs/f/02/2.tar"] == staged(tape)
    assert items == contents(tape)


@pytest.mark.parametrize("synced_after", [1, 2, 1 << 40])
def test_a_power_cut_before_the_filemark_loses_nothing(tape, folder, monkeypatch, synced_after):
    monkeypatch.setattr(writing, "SYNC_EVERY", synced_after * RECORD * 2)
    first = filled(tape, packs(1))
    tape.flush(proved)
    items = first | filled(tape, packs(*range(2, 7)) | SMALL)
    drive = tape.library.drive
    write = drive.write
    calls = iter(range(9))

    def cut(record):
        if next(calls, None) is None:
            raise DriveOfflineError(place="drive", reason="the power is gone")
        return write(record)

    monkeypatch.setattr(drive, "write", cut)
    with pytest.raises(DriveOfflineError):
        tape.flush(proved)
    monkeypatch.undo()
    durable = drive.durable
    tape.close()
    os.truncate(images(folder)[0], durable)

    with closing(opened(folder)) as again:
        assert items == contents(again)
        assert set(first).isdisjoint(staged(again))
        again.flush(proved)
        assert [] == staged(again)
        assert items == contents(again)
        assert items == contents(forgotten(again, folder))


def test_a_power_cut_after_the_filemark_writes_nothing_twice(tape, folder, monkeypatch):
    items = filled(tape, packs(1, 2) | SMALL)
    monkeypatch.setattr(
        writing.Writer, "_commit", lambda *_: (_ for _ in ()).throw(DriveOfflineError(place="", reason=""))
    )
    with pytest.raises(DriveOfflineError):
        tape.flush(proved)
    monkeypatch.undo()
    before = images(folder)[0].read_bytes()
    tape.close()

    with closing(opened(folder)) as again:
        assert sorted(items) == staged(again)
        again.flush(proved)
        assert before == images(folder)[0].read_bytes()
        assert ([], items) == (staged(again), contents(again))


def test_a_crash_between_commit_and_reading_back_is_made_good(tape, folder, monkeypatch):
    items = filled(tape, packs(1, 2) | SMALL)
    monkeypatch.setattr(writing.Writer, "_read_back", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tape.flush(proved)
    monkeypatch.undo()
    seen = []
    tape.flush(lambda item, reader: (seen.append(item.key), proved(item, reader)))

    assert sorted(items) == sorted(seen)
    assert ([], items) == (staged(tape), contents(tape))


def test_whole_files_that_nobody_knows_are_kept(tape, folder):
    items = filled(tape, packs(1))
    tape.flush(proved)
    older = (folder / "directory.sqlite").read_bytes()
    items |= filled(tape, packs(2))
    tape.flush(proved)
    tape.close()
    (folder / "directory.sqlite").write_bytes(older)  # out of a backup

    with closing(opened(folder)) as again:
        items |= filled(again, packs(3))
        again.flush(proved)
        files = tape_files(images(folder)[0])
        assert all(data in files for data in items.values())
        assert items == contents(forgotten(again, folder))


def test_a_position_that_is_not_what_was_written_commits_nothing(tape, monkeypatch):
    items = filled(tape, packs(1))
    position = tape.library.drive.position
    monkeypatch.setattr(tape.library.drive, "position", lambda: position() - (position() > 4))
    with pytest.raises(WrongPositionError):
        tape.flush(proved)
    monkeypatch.undo()

    assert [*items] == staged(tape)
    tape.flush(proved)
    assert ([], items) == (staged(tape), contents(tape))


def test_a_record_that_cannot_be_read_is_a_failed_read_of_its_item_only(tape, folder):
    items = filled(tape, packs(1, 2))
    tape.flush(proved)
    tape.close()
    at = objects(images(folder)[0])[3][0]
    for place in (at, at + 4 + RECORD):
        change(images(folder)[0], place, struct.pack("<I", RECORD | 1 << 31))

    with closing(opened(folder)) as again:
        with pytest.raises(ReadFailureError):
            get(again, "packs/f/01/1.tar")
        assert items["packs/f/02/2.tar"] == get(again, "packs/f/02/2.tar")


@pytest.mark.parametrize("around", [lambda inner: inner, Wrapping], ids=["itself", "wrapped"])
def test_settled_is_what_the_cartridges_have_and_not_what_is_staged(tape, around):
    filled(tape, {"packs/f/1": pack(1)})
    tape.flush(proved)
    tape.recall(["packs/f/1"])
    tape.rewrite("packs/f/1", tape.stat("packs/f/1"), RECORD, io.BytesIO(b"n" * RECORD))
    put(tape, "packs/f/2", pack(2))
    backend = around(tape)

    settled = backend.settled()

    assert {"packs/f/1": pack(1)} == contents(settled)
    assert [] == staged(settled)
    assert tape.settled().directory() is tape.directory()
    assert "staged" not in settled.stat("packs/f/1").generation
    assert {"packs/f/1": b"n" * RECORD, "packs/f/2": pack(2)} == contents(backend)
    tape.flush(proved)
    assert contents(backend) == contents(settled) == {"packs/f/1": b"n" * RECORD, "packs/f/2": pack(2)}


@pytest.mark.parametrize("damage", ["unreadable", "flipped"])
def test_a_damaged_item_is_written_anew_on_another_cartridge(tape, folder, damage):
    items = filled(tape, packs(1, 2))
    tape.flush(proved)
    tape.close()
    at = objects(images(folder)[0])[3][0]
    if damage == "flipped":
        change(images(folder)[0], at + 100, b"x")
    else:
        for place in (at, at + 4 + RECORD):
            change(images(folder)[0], place, struct.pack("<I", RECORD | 1 << 31))

    with closing(opened(folder)) as again:
        key = "packs/f/01/1.tar"
        before = again.stat(key)
        again.rewrite(key, before, len(items[key]), io.BytesIO(items[key]))
        again.flush(proved)
        assert items == contents(again)
        assert {"packs/f/01/1.tar": "000002-00000001", "packs/f/02/2.tar": "000001-00000002"} == places(again, items)
        assert items == contents(forgotten(again, folder))


def test_a_wrong_label_is_noticed_and_nothing_is_written_there(tape, folder):
    items = filled(tape, packs(1))
    tape.flush(proved)
    tape.close()
    one, two, _ = images(folder)
    one.rename(folder / "x")
    two.rename(one)
    (folder / "x").rename(two)
    before = one.read_bytes(), two.read_bytes()

    with closing(opened(folder)) as again:
        with pytest.raises(WrongCartridgeError):
            get(again, *items)
        put(again, "more", b"")
        again.flush(proved)
        assert before == (one.read_bytes(), two.read_bytes())
        assert "000003" == again.stat("more").generation[:6]


def test_a_cartridge_of_another_store_is_not_ours(tape, folder, tmp_path):
    other = "0190a0b0-0000-7000-8000-0000000000ff"
    tape_at(tmp_path / "other", store=other).close()
    theirs = images(tmp_path / "other")[0]
    (folder / theirs.name).write_bytes(theirs.read_bytes())
    items = filled(tape, packs(1))
    tape.flush(proved)

    assert theirs.read_bytes() == (folder / theirs.name).read_bytes()
    assert items == contents(tape)
    assert 3 == len(states(tape))


def test_a_blank_cartridge_under_a_known_barcode_is_no_cartridge_of_ours(tape, folder):
    items = filled(tape, packs(1))
    tape.flush(proved)
    tape.close()
    images(folder)[0].write_bytes(b"\xff" * 4)

    with closing(opened(folder)) as again, pytest.raises(NoLabelError):
        get(again, *items)


def test_protected_cartridges_are_passed_over_and_if_all_are_that_is_said(tape, folder):
    settings(images(folder)[0], write_protected=True)
    items = filled(tape, packs(1))
    tape.flush(proved)
    assert "000002" == tape.stat(*items).generation[:6]
    for image in images(folder):
        settings(image, write_protected=True)
    tape.close()

    with closing(opened(folder)) as again:
        more = filled(again, packs(2))
        with pytest.raises(StoreRefusesError):
            again.flush(proved)
        assert [*more] == staged(again)
        assert items | more == contents(again)


def test_a_medium_written_once_takes_what_comes_and_none_behind_a_torn_end(tape, folder):
    for image in images(folder):
        settings(image, worm=True)
    items = filled(tape, packs(1))
    tape.flush(proved)
    items |= filled(tape, packs(2))
    tape.flush(proved)
    tape.close()
    with open(images(folder)[0], "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(struct.pack("<I", RECORD) + b"torn")

    with closing(opened(folder)) as again:
        items |= filled(again, packs(3))
        again.flush(proved)
        assert items == contents(again)
        assert [SUSPECT, OPEN, OPEN] == states(again)


def test_what_lies_on_a_cartridge_that_is_away_cannot_be_recalled_and_is_not_missing(tape, folder, tmp_path):
    items = filled(tape, packs(1))
    tape.flush(proved)
    tape.close()
    images(folder)[0].rename(tmp_path / "shelf")

    with closing(opened(folder)) as again:
        assert [*items] == [item.key for item in again.items()]
        with pytest.raises(CartridgeAwayError):
            again.recall([*items])
        more = filled(again, packs(2))
        again.flush(proved)
        assert "000002" == again.stat(*more).generation[:6]


def test_one_process_has_the_drive_at_a_time(tape, folder):
    items = filled(tape, packs(1))
    tape.flush(proved)

    with closing(opened(folder)) as second:
        assert [*items] == [item.key for item in second.items()]
        with pytest.raises(DriveBusyError):
            get(second, *items)
        put(second, "k", b"staged beside")
        with pytest.raises(DriveBusyError):
            second.flush(proved)
        tape.close()
        assert items["packs/f/01/1.tar"] == get(second, *items)


def test_cartridges_alone_are_the_store(tape, folder, tmp_path):
    items = filled(tape, packs(*range(1, 8), records=6) | SMALL)
    tape.flush(proved)
    tape.close()
    bare = tmp_path / "out of the fire"
    bare.mkdir()
    for image in images(folder):
        (bare / image.name).write_bytes(image.read_bytes())
        (bare / image.name).chmod(0o444)
    bare.chmod(0o555)
    try:
        with closing(opened(bare)) as backend:
            assert items == contents(backend)
        assert sorted(path.name for path in bare.iterdir()) == [image.name for image in images(folder)]
    finally:
        bare.chmod(0o755)


def test_a_damaged_directory_is_made_again(tape, folder):
    items = filled(tape, packs(1, 2) | SMALL)
    tape.flush(proved)
    tape.close()
    (folder / "directory.sqlite").write_bytes(b"not a database, or no longer one" * 200)

    with closing(opened(folder)) as again:
        assert items == contents(again)
        items |= filled(again, packs(3))
        again.flush(proved)
    with closing(opened(folder)) as again:
        assert items == contents(again)
        assert STORE in images(folder)[0].read_bytes().decode("latin-1")
