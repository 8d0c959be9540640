"""Exports, restores and audits read a tape as it winds: whole cartridges, one sweep, whatever order people ask in."""

import shutil

import pytest
from repository_support import (
    audit,
    contents,
    copy_rows,
    nothing,
    open_findings,
    pack_rows,
    seen,
    store_rows,
    submit_files,
)
from tape_support import MIB, change, images, objects
from test_tape_repository import EXPECTED, FILES, damage, holders, with_tapes

from preservation import attachment, fetching
from preservation.dissemination.export import export
from preservation.packs import layout
from preservation.replication import replicate
from storage_backends.tape.drive import RECORD, DriveOfflineError, UnsupportedError
from storage_backends.tape.image import FolderChanger, ImageDrive


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)


@pytest.fixture
def filled(tmp_path):
    """A package on two disks and one pool; its files lie on two cartridges."""
    place = with_tapes(tmp_path, pools=("t1",), capacity=MIB, count=6)
    receipt = submit_files(place, FILES)
    assert {} == replicate(place.open(), nothing).failures
    return place, receipt.package


def on_tape_only(place):
    for name in ("a", "b"):
        shutil.rmtree(place.store(name))
        attachment.detach(place.open(), name, lost=True)


@pytest.fixture
def watched(monkeypatch):
    """What the drives did: (image, block) for each record read, and each mount."""
    reads, mounts = [], []
    read, move = ImageDrive.read, FolderChanger.move

    def noted(drive, size):
        reads.append((drive.name, drive.position()))
        return read(drive, size)

    def moved(changer, source, destination):
        move(changer, source, destination)
        if destination == 0:
            mounts.append(source)

    monkeypatch.setattr(ImageDrive, "read", noted)
    monkeypatch.setattr(FolderChanger, "move", moved)
    return reads, mounts


def exported(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[f"{name}/" if path.is_dir() else name] = None if path.is_dir() else path.read_bytes()
    return found


def test_an_export_from_tape_alone_mounts_each_cartridge_once_however_its_files_lie(filled, tmp_path, watched):
    place, package = filled
    assert 2 <= len({row.generation[:6] for row in copy_rows(place) if row.store == store_rows(place)["t1"].store})
    on_tape_only(place)
    reads, mounts = watched
    reads.clear()
    mounts.clear()

    export(place.open(), package, str(tmp_path / "out"))

    files = {name: data for name, data in exported(tmp_path / "out").items() if data is not None or name in FILES}
    assert FILES == files
    fetched = [(image, block) for image, block in reads if block > 3]
    for image in {image for image, _ in fetched}:
        blocks = [block for name, block in fetched if name == image]
        assert len(blocks) <= 2 * len(set(blocks))
    assert len(mounts) <= 1 + len({image for image, _ in reads}) + 1  # one for the manifest
    assert [] == [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")]


@pytest.mark.parametrize("window", [1, 450_000, 1 << 40])
def test_objects_are_fetched_window_by_window(filled, tmp_path, monkeypatch, window):
    place, package = filled
    on_tape_only(place)
    monkeypatch.setattr(fetching, "WINDOW", window)

    export(place.open(), package, str(tmp_path / "out"))

    assert FILES["b/Quyết định 4.bin"] == (tmp_path / "out" / "b/Quyết định 4.bin").read_bytes()
    assert FILES["thư mục/tờ trình.txt"] == (tmp_path / "out" / "thư mục/tờ trình.txt").read_bytes()


def recommending(_drive, cdb, *, out=b"", expected=0):
    """Answer as a drive that recommends to read everything backwards."""
    if cdb[:2] == b"\xa3\x9d":
        return b"\0\x64\0\x20"
    if cdb[:2] == b"\xa4\x1d":
        ORDERED.append(b"".join(out[at : at + 32] for at in reversed(range(8, len(out), 32))))
        return b""
    assert cdb[:2] == b"\xa3\x1d"
    return b"\x02\0\0\0" + len(ORDERED[-1]).to_bytes(4, "big") + ORDERED[-1]


def telling_wraps(drive, cdb, *, out=b"", expected=0):
    """Answer as a drive that only tells that its second wrap begins behind block 3, and its third behind 1000."""
    if cdb[:3] != b"\xa3\x1f\x45":
        raise UnsupportedError(place=drive.name, reason="invalid operation code")
    ends = [number.to_bytes(2, "big") + bytes(4) + end.to_bytes(6, "big") for number, end in enumerate((3, 1000, 1010))]
    return (2 + 36).to_bytes(2, "big") + bytes(2) + b"".join(ends)


def lost(drive, cdb, *, out=b"", expected=0):
    """Be lost when asked: what it would have said is not known, and the cartridge is looked for again."""
    raise DriveOfflineError(place=drive.name, reason="the connection was lost")


ORDERED = []


@pytest.mark.parametrize("answering", [recommending, telling_wraps])
def test_a_drive_that_knows_its_tape_better_is_followed(filled, tmp_path, watched, monkeypatch, answering):
    place, package = filled
    on_tape_only(place)
    monkeypatch.setattr(ImageDrive, "ask", answering, raising=False)
    reads, _ = watched
    reads.clear()

    export(place.open(), package, str(tmp_path / "out"))

    for name, data in FILES.items():
        assert data is None or data == (tmp_path / "out" / name).read_bytes()
    for image in {image for image, _ in reads}:
        first = list(dict.fromkeys(block for name, block in reads if name == image and block > 3))
        begun = [block for block, before in zip(first, [-1, *first], strict=False) if block != before + 1]
        assert begun == sorted(begun, reverse=True), "from the end, as both kinds of drive say here"
    assert any(block > 3 for _, block in reads)


def test_a_drive_that_is_lost_when_it_is_asked_for_the_order_gives_everything_all_the_same(
    filled, tmp_path, monkeypatch
):
    place, package = filled
    on_tape_only(place)
    monkeypatch.setattr(ImageDrive, "ask", lost, raising=False)

    export(place.open(), package, str(tmp_path / "out"))

    for name, data in FILES.items():
        assert data is None or data == (tmp_path / "out" / name).read_bytes()


def test_what_a_disk_has_is_not_asked_of_the_tape(filled, tmp_path, watched):
    place, package = filled
    reads, mounts = watched
    reads.clear()

    export(place.open(), package, str(tmp_path / "out"))

    assert ([], []) == (reads, mounts)


def test_a_damaged_copy_on_one_tape_is_fetched_from_the_other(tmp_path):
    place = with_tapes(tmp_path, pools=("t1", "t2"))
    package = submit_files(place, FILES).package
    replicate(place.open(), nothing)
    on_tape_only(place)
    for name in ("t1", "t2"):
        for number, data in enumerate(objects(images(place.folder / name)[0])):
            if data[1] == RECORD and number % 2 == (name == "t1"):
                change(images(place.folder / name)[0], data[0] + 100_000, b"flipped bits")

    export(place.open(), package, str(tmp_path / "out"))

    for name, data in FILES.items():
        assert data is None or data == (tmp_path / "out" / name).read_bytes()


def test_what_only_tapes_have_is_read_once_and_other_disks_are_filled_from_the_first(filled, watched):
    place, package = filled
    on_tape_only(place)
    for name in ("c", "d"):
        attachment.add(place.open(), name, place.url(name), site=f"site {name}")
    reads, mounts = watched
    reads.clear()
    mounts.clear()

    result = replicate(place.open(), nothing)

    assert ({}, 10) == (result.failures, result.copied)
    assert [{"c", "d", "t1"}] * 5 == [*holders(place).values()]
    in_packs = [(image, block) for image, block in reads if block > 3]
    assert len(in_packs) < 2 * len(set(in_packs))
    blocks = [block for image, block in in_packs if image == in_packs[0][0]]
    assert blocks[:4] == sorted(blocks[:4])
    assert EXPECTED == contents(place, package)


def test_a_full_audit_reads_every_record_of_each_cartridge(filled, watched):
    place, _ = filled
    reads, _ = watched
    reads.clear()

    report = audit(place)

    assert seen(report)["expected"] == seen(report)["verified"] == 15
    assert [] == open_findings(report)
    for image in images(place.folder / "t1"):
        whole = range(len(objects(image)))
        if len(whole) > 3:
            assert set(whole) <= {block for name, block in reads if name == str(image)}
    assert "cartridge-differs" not in {str(finding.code) for finding in report.findings}


@pytest.mark.parametrize("unreadable", [False, True])
def test_a_pass_goes_on_behind_a_bad_record_and_each_copy_has_its_verdict(filled, unreadable):
    place, package = filled
    damage(images(place.folder / "t1")[0], unreadable=unreadable)

    report = audit(place, repair=False)

    bad = seen(report)["damaged"] + seen(report)["unreadable"]
    assert (1, 14, unreadable) == (bad, seen(report)["verified"], bool(seen(report)["unreadable"]))
    healed = audit(place)
    assert ([], 1) == (open_findings(healed), seen(healed)["repaired"])
    assert EXPECTED == contents(place, package)


def test_the_cartridge_that_was_longest_unread_is_read_first(filled, watched):
    place, _ = filled
    later = max(row.generation[:6] for row in copy_rows(place) if row.store == store_rows(place)["t1"].store)
    old = [row for row in copy_rows(place) if row.generation.startswith(later)]
    others = [f"{row.pack}/{row.store}" for row in copy_rows(place) if row not in old]
    place.clock.pass_by(days=10)
    audit(place, copies=tuple(others))
    place.clock.pass_by(days=10)
    reads, mounts = watched
    reads.clear()
    mounts.clear()

    audit(place, stores=("t1",))

    assert int(later) == mounts[0]


def test_a_sample_reads_the_ends_of_each_cartridge_whole_and_its_bound_counts_them_so(filled):
    place, _ = filled
    report = audit(place, sample="1", ends=1, stores=("t1",))
    ends = [one for one in report.sample.strata if one.age == "ends"]

    assert 1 == len(ends)
    assert ends[0].looked == ends[0].population >= 2
    assert 0 == ends[0].at_most
    assert seen(report)["expected"] == len(pack_rows(place)) == report.sample.population
    assert report.sample.looked == ends[0].looked + 1 or report.sample.looked == report.sample.population


def test_a_whole_tape_file_that_nobody_knows_is_told(filled):
    place, _ = filled
    older = (place.folder / "t1" / "directory.sqlite").read_bytes()
    submit_files(place, {"later": b"later"}, "second")
    replicate(place.open(), nothing)
    (place.folder / "t1" / "directory.sqlite").write_bytes(older)  # out of a backup

    report = audit(place, repair=False)

    found = [finding.detail for finding in report.findings if str(finding.code) == "cartridge-differs"]
    assert any("nobody knows it" in detail for detail in found)


def test_a_cartridge_that_is_shorter_than_it_was_is_told_and_its_copies_are_not_called_right(filled):
    place, _ = filled
    image = images(place.folder / "t1")[0]
    marks = [at for at, word in objects(image) if word == 0]
    with open(image, "r+b") as file:
        file.truncate(marks[2] + 4)

    report = audit(place, repair=False)

    found = [finding.detail for finding in report.findings if str(finding.code) == "cartridge-differs"]
    assert any("the tape ends before it" in detail for detail in found)
    assert seen(report)["verified"] < 15
    assert seen(report)["expected"] == seen(report)["verified"] + seen(report)["unreadable"] + seen(report)["missing"]


def test_the_service_gathers_for_a_tape_until_there_is_enough_or_it_waited_long_enough(tmp_path):
    place = with_tapes(tmp_path, pools=("t1",))
    submit_files(place, FILES)

    assert (0, {}) == ((waits := replicate(place.open(), nothing, gathering=True)).copied, waits.failures)
    place.clock.pass_by(hours=25)
    assert 5 == replicate(place.open(), nothing, gathering=True).copied
    submit_files(place, {"later": b"later"}, "second")
    assert 0 == replicate(place.open(), nothing, gathering=True).copied
    text = (place.folder / "repo" / "mocban.toml").read_text()
    (place.folder / "repo" / "mocban.toml").write_text(text.replace("stage_bytes = 34359738368", "stage_bytes = 1000"))
    assert 1 == replicate(place.open(), nothing, gathering=True).copied
    submit_files(place, {"last": b"last"}, "third")
    assert 1 == replicate(place.open(), nothing).copied
