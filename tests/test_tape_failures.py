"""Every failure of a tape that an image can imitate: what is found, which state follows, and nothing is lost."""

import os
import shutil
import struct
from contextlib import closing

import pytest
from cli_support import archive
from repository_support import (
    audit,
    contents,
    copy_rows,
    nothing,
    open_findings,
    seen,
    store_rows,
    submit_files,
)
from tape_support import (
    MIB,
    change,
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
from tape_support import contents as on_tape
from test_tape_repository import EXPECTED, FILES, damage, holders, waiting, with_tapes

from preservation.packs import layout
from preservation.replication import replicate
from storage_backends.errors import ReadFailureError, StoreFullError, StoreRefusesError
from storage_backends.tape import writing
from storage_backends.tape.cartridges import FULL, OPEN, SUSPECT
from storage_backends.tape.drive import (
    RECORD,
    Capabilities,
    DriveOfflineError,
    EndOfDataError,
    MediumChangedError,
    NotReadyError,
)
from storage_backends.tape.image import ImageDrive
from storage_backends.tape.passing import passed


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tape"


@pytest.fixture
def tape(folder):
    with closing(tape_at(folder, capacity=8 * MIB)) as backend:
        yield backend


def packs(*seeds, records=2):
    return {f"packs/f/{seed:02x}/{seed}.tar": pack(seed, records) for seed in seeds}


def filled(backend, items):
    for key, data in items.items():
        put(backend, key, data)
    return items


def states(tape):
    return [cartridge.state for cartridge in tape.directory().cartridges()]


def passed_over(tape, number=0):
    """What a pass over a cartridge meets: (tape file, records given, unreadable ones, torn)."""
    barcode = [one.barcode for one in tape.directory().cartridges()][number]
    given = []
    known = list(tape.directory().files(number + 1))
    found = [
        (one.file.file, one.size // RECORD, one.unreadable, one.torn)
        for one in passed(tape.library, barcode, known, given.append)
    ]
    return found, given


# ---- what a pass reads ---------------------------------------------------------------------------------------------


def test_a_pass_gives_every_record_of_every_tape_file_in_order(tape, folder):
    filled(tape, packs(1, 2, records=5) | {"README.txt": b"x"})
    tape.flush(proved)
    found, given = passed_over(tape)

    assert [(1, 5, (), False), (2, 5, (), False), (3, 1, (), False)] == found
    assert b"".join(tape_files(images(folder)[0])[1:]) == b"".join(given)


@pytest.mark.parametrize("bad", [(0,), (4,), (1, 2, 3), (0, 1, 2, 3, 4)])
def test_a_pass_goes_on_behind_bad_records_wherever_they_are(tape, folder, bad):
    filled(tape, packs(1, 2, records=5))
    tape.flush(proved)
    first = 3  # the label is two records and a filemark
    for record in bad:
        at = objects(images(folder)[0])[first + record][0]
        for place in (at, at + 4 + RECORD):
            change(images(folder)[0], place, struct.pack("<I", RECORD | 1 << 31))
    found, given = passed_over(tape)

    assert (1, 5 - len(bad), bad, False) == found[0]
    assert (2, 5, (), False) == found[1]
    assert b"".join(given).endswith(tape_files(images(folder)[0])[3])


def test_a_torn_end_ends_a_pass(tape, folder):
    filled(tape, packs(1, 2, records=5))
    tape.flush(proved)
    tape.close()
    marks = [at for at, word in objects(images(folder)[0]) if word == 0]
    os.truncate(images(folder)[0], marks[1] + 4 + 2 * (RECORD + 8) + 100)

    with closing(opened(folder)) as again:
        found, _ = passed_over(again)
        assert (1, 5, (), False) == found[0]
        assert found[1][0] == 2
        assert found[1][3]
        assert found[1][1] == 2


def test_a_pass_over_what_is_written_on_meanwhile_is_not_led_astray(tape):
    items = filled(tape, packs(1, 2, 3))
    tape.flush(proved)
    barcode = tape.media()[0]
    met = []
    for one in passed(tape.library, barcode, tape.directory().files(1), lambda _: None):
        assert items == on_tape(tape)  # somebody else uses the drive in between
        met.append(one.file.file)

    assert [1, 2, 3, 4] == met


# ---- the drive -----------------------------------------------------------------------------------------------------


class WithoutLocate(ImageDrive):
    """A drive that finds a place by spacing over filemarks and reading records, as old ones do."""

    capabilities = Capabilities(locate=False)

    def locate(self, place):
        self.rewind()
        for _ in range(place.file):
            self.skip_file()
        for _ in range(place.record):
            if self.read(RECORD) is None:
                raise EndOfDataError(place=self.name, block=self.position())


def test_a_drive_without_locate_does_all_the_same(tape, folder):
    tape.library.drive.__class__ = WithoutLocate
    items = filled(tape, packs(1, 2, 3) | {"README.txt": b"read me"})
    tape.flush(proved)
    items |= filled(tape, packs(4))
    tape.flush(proved)

    assert items == on_tape(tape)
    assert [(1, 2), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)] == [one[:2] for one in passed_over(tape)[0]]
    with closing(opened(folder)) as again:
        tape.close()
        assert items == on_tape(again)


def test_a_drive_that_is_lost_in_a_recall_is_said_to_be_lost_and_comes_back(tape, monkeypatch):
    items = filled(tape, packs(1))
    tape.flush(proved)

    def lost(*_):
        raise DriveOfflineError(place="drive", reason="lost")

    monkeypatch.setattr(tape.library.drive, "read", lost)
    tape.recall([*items])
    with tape.read(*items) as reader, pytest.raises(DriveOfflineError):
        reader.read()
    monkeypatch.undo()

    assert items == on_tape(tape)


@pytest.mark.parametrize("error", [DriveOfflineError, NotReadyError, MediumChangedError])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_drive_that_fails_while_it_writes_leaves_everything_staged_or_written(tape, folder, monkeypatch, error, at):
    before = filled(tape, packs(1))
    tape.flush(proved)
    items = before | filled(tape, packs(2, 3, records=3))
    write, calls = tape.library.drive.write, iter(range(at))

    def fails(record):
        if next(calls, None) is None:
            raise error(place="drive", reason="gone")
        return write(record)

    monkeypatch.setattr(tape.library.drive, "write", fails)
    with pytest.raises(error):
        tape.flush(proved)
    monkeypatch.undo()

    assert items == on_tape(tape)
    tape.flush(proved)
    assert ([], items) == (staged(tape), on_tape(tape))
    tape.close()
    (folder / "directory.sqlite").unlink()
    with closing(opened(folder)) as again:
        assert items == on_tape(again)


# ---- the power -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filemarks", [1, 2, 3])
def test_after_a_power_cut_only_synced_bytes_are_left_and_all_is_there(tape, folder, monkeypatch, filemarks):
    """The cut comes when so many filemarks were written; what was not synced by then is gone."""
    monkeypatch.setattr(writing, "SYNC_EVERY", 2 * RECORD)
    items = filled(tape, packs(1, 2, 3))
    drive, calls = tape.library.drive, iter(range(filemarks))
    write_filemark = drive.write_filemark

    def cut(*, synchronous):
        if next(calls, None) is None:
            raise DriveOfflineError(place="drive", reason="the power is gone")
        write_filemark(synchronous=synchronous)

    monkeypatch.setattr(drive, "write_filemark", cut)
    with pytest.raises(DriveOfflineError):
        tape.flush(proved)
    monkeypatch.undo()
    left = drive.durable
    tape.close()
    os.truncate(images(folder)[0], left)

    with closing(opened(folder)) as again:
        assert items == on_tape(again)
        again.flush(proved)
        assert ([], items) == (staged(again), on_tape(again))
        packs_there = [data for data in tape_files(images(folder)[0]) if data in items.values()]
        assert len(items) == len(packs_there)  # none twice
        assert [OPEN, OPEN, OPEN] == states(again)


# ---- a repository with two disks and two pools ---------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    return with_tapes(tmp_path)


@pytest.fixture
def kept(place):
    package = submit_files(place, FILES).package
    assert {} == replicate(place.open(), nothing).failures
    return place, package


def codes(report, store="t1"):
    return {str(finding.code) for finding in report.findings if finding.store == store} - {"stores-not-independent"}


def first_image(place, store="t1"):
    return images(place.folder / store)[0]


def swapped(place):
    one, two = images(place.folder / "t1")[:2]
    one.rename(place.folder / "x")
    two.rename(one)
    (place.folder / "x").rename(two)


def blank(place):
    first_image(place).write_bytes(b"\xff" * 4)


def foreign(place):
    shutil.copy(first_image(place, "t2"), first_image(place))


def torn_label(place):
    os.truncate(first_image(place), 50)


def missing(place):
    first_image(place).rename(place.folder / "out of the library")


def unreadable_label(place):
    at = objects(first_image(place))[1][0]
    for offset in (at, at + 4 + 8192):
        change(first_image(place), offset, struct.pack("<I", 8192 | 1 << 31))


@pytest.mark.parametrize(
    ("happen", "code"),
    [
        (swapped, "cartridge-wrong"),
        (blank, "cartridge-wrong"),
        (foreign, "cartridge-wrong"),
        (torn_label, "cartridge-wrong"),
        (unreadable_label, "cartridge-wrong"),
        (missing, "cartridge-missing"),
    ],
)
def test_a_cartridge_that_is_not_there_or_not_itself_is_named_and_its_copies_are_unknown(kept, happen, code):
    place, package = kept
    happen(place)

    report = audit(place, repair=False)

    assert {code, "copy-unreadable"} <= codes(report)
    assert (0, 0, 5, 15) == tuple(seen(report)[name] for name in ("damaged", "missing", "unreadable", "verified"))
    assert EXPECTED == contents(place, package)
    healed = audit(place)
    assert 5 == seen(healed)["repaired"]
    assert [{"a", "b", "t1", "t2"}] * 5 == [*holders(place).values()]
    assert {"000002", "000003"} >= {
        row.generation[:6] for row in copy_rows(place) if row.store == store_rows(place)["t1"].store
    }


@pytest.mark.parametrize("unreadable", [False, True])
def test_with_both_disks_lost_damage_on_one_tape_is_healed_from_the_other(kept, unreadable):
    place, package = kept
    for name in ("a", "b"):
        shutil.rmtree(place.store(name))
    damage(first_image(place), unreadable=unreadable)

    report = audit(place)

    assert seen(report)["repaired"] >= 1
    assert EXPECTED == contents(place, package)
    assert [] == [one for one in codes(audit(place)) if one.startswith("copy")]


def test_a_torn_last_file_is_cut_off_and_nothing_is_told(kept):
    place, package = kept
    with open(first_image(place), "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(struct.pack("<I", RECORD) + b"torn" * 999)

    report = audit(place)

    assert set() == codes(report)
    submit_files(place, {"later": b"later"}, "second")
    assert {} == replicate(place.open(), nothing).failures
    assert [] == open_findings(audit(place))
    assert EXPECTED == contents(place, package)


def test_write_protected_cartridges_are_read_and_said_to_be_protected(kept):
    place, package = kept
    for image in images(place.folder / "t1"):
        settings(image, write_protected=True)
    submit_files(place, {"later": b"later"}, "second")

    result = replicate(place.open(), nothing)

    assert {"t1"} == set(result.failures)
    assert isinstance(result.failures["t1"], StoreRefusesError)
    assert waiting(place, "t1")
    report = audit(place)
    assert 23 == seen(report)["verified"]
    assert EXPECTED == contents(place, package)


def test_a_pool_that_is_full_takes_more_cartridges_and_nothing_staged_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    place = with_tapes(tmp_path, pools=("t1",), capacity=MIB, count=2)
    package = submit_files(place, FILES).package
    submit_files(place, {f"{number}": os.urandom(250_000) for number in range(6)}, "second")

    result = replicate(place.open(), nothing)

    assert isinstance(result.failures["t1"], StoreFullError)
    assert 0 < result.copied
    assert waiting(place, "t1")
    assert EXPECTED == contents(place, package)
    assert [] == [one for one in codes(audit(place)) if one.startswith("copy")]


def test_while_somebody_has_the_drive_nothing_is_recorded_and_later_all_is_done(kept):
    place, package = kept
    submit_files(place, {"later": b"later"}, "second")
    store = store_rows(place)["t1"].store
    with closing(opened(place.folder / "t1", store=store)) as other, other.library.using():
        result = replicate(place.open(), nothing)
        report = audit(place, repair=False, stores=("t1",))

        assert {"t1"} == set(result.failures)
        assert (0, 0, 5) == tuple(seen(report)[name] for name in ("damaged", "missing", "unreadable"))
    assert 6 == replicate(place.open(), nothing).copied  # the new one, and those that nobody could look at
    assert [] == open_findings(audit(place))
    assert EXPECTED == contents(place, package)


def test_a_cartridge_that_reads_back_wrong_is_written_no_more_and_the_next_one_takes_over(tape, folder, monkeypatch):
    items = filled(tape, packs(1, 2, 3, 4))
    write, count = tape.library.drive.write, iter(range(10**6))

    def careless(record):
        data = bytearray(record)
        if next(count) % 4 == 3 and tape.library.in_drive == images(folder)[0].stem:
            data[77] ^= 1
        return write(bytes(data))

    monkeypatch.setattr(tape.library.drive, "write", careless)
    with pytest.raises(ReadFailureError, match="not what was written"):
        tape.flush(proved)
    assert staged(tape)
    tape.flush(proved)
    monkeypatch.undo()

    assert [SUSPECT, OPEN, OPEN] == states(tape)
    assert items == on_tape(tape)
    assert FULL not in states(tape)


def test_the_whole_story_by_the_command_line_with_one_failure_after_the_other(tmp_path):
    made = archive(tmp_path)
    for name in ("t1", "t2"):
        url = f"tape+image://{tmp_path / name}"
        said = made("store", "add", name, url, "--site", f"vault-{name}", "--cartridges", 2, "--capacity", "16M")
        assert 0 == said.status, said.err
    package = made.ingest()["package"]
    assert 0 == made("replicate").status
    image = images(tmp_path / "t1")[0]
    damage(image, unreadable=True)
    report = made.json("audit")
    assert {"copy-unreadable"} == {one["code"] for one in report["findings"] if one["healed"]}
    for name in ("d1", "d2"):
        shutil.rmtree(tmp_path / name)
    said = made("export", package, tmp_path / "out")
    assert 0 == said.status, said.err
