"""A repository with two disks and two pools of tape: acknowledged by the disks, audited, healed, restored from tape."""

import shutil
import struct

import pytest
from repository_support import (
    FONDS,
    audit,
    catalog_rows,
    configure,
    contents,
    copy_rows,
    made,
    nothing,
    open_findings,
    pack_rows,
    seen,
    store_rows,
    submit_files,
)
from tape_support import MIB, change, images, objects, settings

from preservation import attachment, rebuilding
from preservation.attachment import StoreExistsError
from preservation.catalog import rows
from preservation.packs import layout
from preservation.replication import replicate
from storage_backends.errors import StoreFullError, StoreUnavailableError
from storage_backends.tape.cartridges import Cartridges, CartridgesError
from storage_backends.tape.drive import RECORD, DriveOfflineError
from storage_backends.tape.image import ImageDrive

FILES = {
    "thư mục/tờ trình.txt": "Kính gửi".encode() * 3000,
    **{f"b/Quyết định {number}.bin": bytes([number]) * 200_000 for number in range(5)},
    "rỗng": b"",
    "trống/": None,
}
EXPECTED = {name.encode(): data for name, data in FILES.items()}


def url(place, name):
    return f"tape+image://{place.folder / name}"


def with_tapes(tmp_path, *, pools=("t1", "t2"), capacity=64 * MIB, count=3):
    place = made(tmp_path)
    for name in pools:
        cartridges = Cartridges(count=count, capacity=capacity)
        attachment.add(place.open(), name, url(place, name), site=f"vault {name}", cartridges=cartridges)
    return place


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    return with_tapes(tmp_path)


@pytest.fixture
def filled(place):
    """The same with a package that is on every store."""
    receipt = submit_files(place, FILES)
    result = replicate(place.open(), nothing)
    assert ({}, []) == (result.failures, result.short)
    return place, receipt.package


def waiting(place, name):
    """What is staged there, but for the marker."""
    folder = place.folder / name / "staging"
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "mocban-store.json"]


def holders(place):
    names = {row.store: row.name for row in store_rows(place).values()}
    return {
        pack.pack: {names[row.store] for row in copy_rows(place) if row.pack == pack.pack and row.state == "good"}
        for pack in pack_rows(place)
    }


def damage(image, number=3, *, unreadable=False):
    """Damage a record of the first pack on a cartridge."""
    at = objects(image)[number][0]
    change(image, at + 5000, b"\xaa\x55")
    if unreadable:
        for offset in (at, at + 4 + RECORD):
            change(image, offset, struct.pack("<I", RECORD | 1 << 31))


def test_an_ingest_is_acknowledged_by_the_disks_and_replication_brings_it_to_the_tapes(place):
    receipt = submit_files(place, FILES)
    assert (2, False, {}) == (receipt.copies, receipt.under_replicated, receipt.failures)
    assert [{"a", "b"}] * 5 == [*holders(place).values()]

    result = replicate(place.open(), nothing)

    assert ({}, [], 10) == (result.failures, result.short, result.copied)
    assert [{"a", "b", "t1", "t2"}] * 5 == [*holders(place).values()]
    assert [] == waiting(place, "t1") + waiting(place, "t2")
    assert 0 == replicate(place.open(), nothing).copied
    assert (20, 20) == (seen(audit(place))["expected"], seen(audit(place))["verified"])


def test_a_copy_that_is_only_staged_is_no_copy(place, monkeypatch):
    submit_files(place, FILES)

    def lost(*_, **__):
        raise DriveOfflineError(place="drive", reason="lost")

    monkeypatch.setattr(ImageDrive, "write_filemark", lost)
    result = replicate(place.open(), nothing)

    assert {"t1", "t2"} == set(result.failures)
    assert 0 == result.copied
    assert [{"a", "b"}] * 5 == [*holders(place).values()]
    assert waiting(place, "t1")
    monkeypatch.undo()
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    assert 10 == replicate(place.open(), nothing).copied
    assert [] == waiting(place, "t1")


def test_replicating_again_writes_nothing_to_the_tapes(filled):
    place, _ = filled
    before = [image.read_bytes() for name in ("t1", "t2") for image in images(place.folder / name)]
    replicate(place.open(), nothing)

    assert before == [image.read_bytes() for name in ("t1", "t2") for image in images(place.folder / name)]


def test_where_the_policy_needs_tape_only_replication_fulfils_it(place):
    configure(place, "copies = 2", "copies = 3")
    assert submit_files(place, FILES).under_replicated

    result = replicate(place.open(), nothing)

    assert ([], []) == (result.short, result.under_replicated)


def test_evidence_that_is_only_staged_is_not_counted(tmp_path):
    place = with_tapes(tmp_path, pools=("t1",))
    attachment.add(place.open(), "a", place.url("a"), site="site a")
    attachment.detach(place.open(), "b", lost=True)

    assert submit_files(place, FILES).under_replicated
    assert waiting(place, "t1")


def test_both_disks_are_lost_and_everything_comes_back_from_tape(filled):
    place, package = filled
    for name in ("a", "b"):
        shutil.rmtree(place.store(name))
        attachment.detach(place.open(), name, lost=True)

    assert EXPECTED == contents(place, package)
    for name in ("c", "d"):
        attachment.add(place.open(), name, place.url(name), site=f"site {name}")
    result = replicate(place.open(), nothing)

    assert (10, {}, []) == (result.copied, result.failures, result.short)
    assert [{"c", "d", "t1", "t2"}] * 5 == [*holders(place).values()]
    assert [] == open_findings(audit(place))


def test_with_one_disk_away_and_one_empty_the_tapes_fill_it(filled):
    place, package = filled
    shutil.rmtree(place.store("a") / "packs")
    place.store("b").rename(place.folder / "away")

    report = audit(place)

    assert 5 == seen(report)["repaired"]
    assert EXPECTED == contents(place, package)


def test_a_repository_is_made_anew_from_the_cartridges_of_one_pool_alone(filled, tmp_path):
    place, package = filled
    everything = {
        key: value for key, value in catalog_rows(place).items() if key.startswith((b"pack", b"version", b"v"))
    }
    alone = tmp_path / "out of the fire"
    alone.mkdir()
    for image in images(place.folder / "t2"):
        shutil.copy(image, alone)
    kit = next(place.folder.glob("repo*kit*"))
    shutil.move(kit, tmp_path / "kit")
    for name in ("a", "b", "t1", "t2", "repo"):
        shutil.rmtree(place.folder / name)

    rebuilt = rebuilding.rebuild_from(
        f"tape+image://{alone}".replace(" ", "%20"), place.path, place.world, kit=str(tmp_path / "kit")
    )

    assert rebuilt.signing
    assert (5, 1, 0) == (rebuilt.packs, rebuilt.packages, rebuilt.missing_indexes)
    attachment.add(place.open(), "t2", f"tape+image://{alone}".replace(" ", "%20"), site="vault")
    assert EXPECTED == contents(place, package)
    assert everything.keys() <= catalog_rows(place).keys()
    for name in ("a", "b", "t1"):
        attachment.detach(place.open(), name, lost=True)
    attachment.add(place.open(), "new", place.url("new"), site="site new")
    result = replicate(place.open(), nothing)
    assert ({}, []) == (result.failures, result.short)
    assert [{"new", "t2"}] * 5 == [*holders(place).values()]


def test_the_newest_ledger_is_on_the_tapes(filled, tmp_path):
    place, _ = filled
    submit_files(place, {"later": b"later"}, "second")
    replicate(place.open(), nothing)
    size = place.open().ledger.size
    for name in ("a", "b", "t2"):
        shutil.rmtree(place.folder / name)
    shutil.move(place.path, tmp_path / "old repo")

    rebuilt = rebuilding.rebuild_from(
        url(place, "t1"), place.path, place.world, kit=str(next(tmp_path.glob("repo*kit*")))
    )

    assert (2, 6) == (rebuilt.packages, rebuilt.packs)
    assert rebuilt.events >= size


@pytest.mark.parametrize("unreadable", [False, True])
def test_a_damaged_copy_on_tape_is_found_and_written_anew_elsewhere(filled, unreadable):
    place, package = filled
    damage(images(place.folder / "t1")[0], unreadable=unreadable)
    before = {row.pack: row.generation for row in copy_rows(place) if row.store == store_rows(place)["t1"].store}

    first = audit(place)

    assert (1, 1) == (seen(first)["damaged"] + seen(first)["unreadable"], seen(first)["repaired"])
    assert [] == open_findings(first)
    after = {row.pack: row.generation for row in copy_rows(place) if row.store == store_rows(place)["t1"].store}
    moved = [pack for pack in after if after[pack] != before[pack]]
    assert 1 == len(moved)
    assert "000002" == after[moved[0]][:6]
    assert (20, []) == (seen(audit(place))["verified"], open_findings(audit(place)))
    assert EXPECTED == contents(place, package)


def test_an_audit_reads_a_tape_in_one_sweep(filled, monkeypatch):
    place, _ = filled
    submit_files(place, {"later.bin": b"later" * 90_000}, "second")
    replicate(place.open(), nothing)
    passed = {}
    locate = ImageDrive.locate

    def noted(drive, to):
        passed.setdefault(drive.name, []).append(to.block)
        locate(drive, to)

    monkeypatch.setattr(ImageDrive, "locate", noted)
    report = audit(place, fonds=(FONDS,))

    assert seen(report)["expected"] == seen(report)["verified"] > 20
    for name in ("t1", "t2"):
        blocks = passed[str(images(place.folder / name)[0])]
        assert blocks == sorted(blocks)


def test_damage_is_told_and_left_where_nothing_may_be_repaired(filled):
    place, _ = filled
    damage(images(place.folder / "t1")[0])
    tape = images(place.folder / "t1")[0].read_bytes()

    report = audit(place, repair=False)

    assert ["copy-damaged"] == [code for code, store, _ in open_findings(report) if store == "t1"]
    assert tape == images(place.folder / "t1")[0].read_bytes()


def test_a_damaged_index_on_tape_is_found_and_its_items_are_written_anew(filled):
    place, _ = filled
    image = images(place.folder / "t1")[0]
    blocks = [at for at, word in objects(image) if word]
    for at in (blocks[-1], blocks[-1] + 4 + RECORD):  # the evidence that came last
        change(image, at, struct.pack("<I", RECORD | 1 << 31))

    report = audit(place)

    found = {str(finding.code) for finding in report.findings if finding.store == "t1"}
    assert {"evidence-damaged", "stores-not-independent"} == found
    assert [] == open_findings(report)
    assert waiting(place, "t1")
    replicate(place.open(), nothing)
    assert [] == waiting(place, "t1")
    assert [] == open_findings(audit(place))


def test_a_cartridge_that_is_away_is_neither_damaged_nor_missing(filled):
    place, package = filled
    images(place.folder / "t1")[0].rename(place.folder / "on the shelf")

    report = audit(place)

    assert (0, 0, 5) == (seen(report)["damaged"], seen(report)["missing"], seen(report)["unreadable"])
    assert EXPECTED == contents(place, package)


def test_a_pool_that_is_full_says_so_and_goes_on_with_more_cartridges(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    place = with_tapes(tmp_path, pools=("t1",), capacity=1 * MIB, count=1)
    submit_files(place, FILES)
    result = replicate(place.open(), nothing)
    assert isinstance(result.failures["t1"], StoreFullError)
    assert 0 < result.copied < 5

    cartridges = Cartridges(count=9, capacity=64 * MIB)
    attachment.add(place.open(), "t1", url(place, "t1"), site="vault t1", cartridges=cartridges)
    again = replicate(place.open(), nothing)

    assert ({}, 5) == (again.failures, result.copied + again.copied)
    assert 9 == len(images(place.folder / "t1"))
    assert [] == open_findings(audit(place))


def test_protected_cartridges_are_said_to_be_so_and_take_nothing(place):
    for image in images(place.folder / "t1"):
        settings(image, write_protected=True)
    submit_files(place, FILES)

    result = replicate(place.open(), nothing)

    assert {"t1"} == set(result.failures)
    assert "write protected" in str(result.failures["t1"])
    assert [{"a", "b", "t2"}] * 5 == [*holders(place).values()]


def test_adding_the_same_pool_again_changes_nothing(filled):
    place, _ = filled
    before = {image.name: image.read_bytes() for image in images(place.folder / "t1")}
    events = place.open().ledger.size
    attachment.add(place.open(), "t1", url(place, "t1"), site="vault t1", cartridges=Cartridges(count=3))
    attachment.add(place.open(), "t1", url(place, "t1"), site="vault t1")

    assert before == {image.name: image.read_bytes() for image in images(place.folder / "t1")}
    assert events == place.open().ledger.size


def test_a_pool_of_another_repository_is_refused(filled, tmp_path):
    place, _ = filled
    (tmp_path / "other").mkdir()
    other = made(tmp_path / "other", seed=2)

    with pytest.raises(StoreExistsError):
        attachment.add(other.open(), "theirs", url(place, "t1"), site="x")


def test_a_folder_with_something_else_in_it_is_no_pool(place, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.odt").write_bytes(b"dear")

    with pytest.raises(Exception, match="not empty"):
        attachment.add(place.open(), "t3", url(place, "full"), site="x")
    assert ["letter.odt"] == [path.name for path in (tmp_path / "full").iterdir()]


def test_only_tape_has_cartridges(place):
    with pytest.raises(CartridgesError):
        attachment.add(place.open(), "c", place.url("c"), site="x", cartridges=Cartridges())
    assert not place.store("c").exists()


def test_a_pool_that_is_away_is_away(filled):
    place, _ = filled
    (place.folder / "t1").rename(place.folder / "away")
    submit_files(place, {"later": b"later"}, "second")

    result = replicate(place.open(), nothing)

    assert isinstance(result.failures["t1"], StoreUnavailableError)
    (place.folder / "away").rename(place.folder / "t1")
    assert 1 == replicate(place.open(), nothing).copied


def test_the_copies_of_a_pack_are_on_different_cartridges_of_different_pools(filled):
    place, _ = filled
    barcodes = [image.stem for name in ("t1", "t2") for image in images(place.folder / name)]

    assert 6 == len(set(barcodes))
    with place.open().reading() as view:
        assert {"tape"} == {row.medium for row in rows.every(view, rows.StoreRow) if row.name.startswith("t")}
