"""What an audit and a repair must not get wrong: bytes that lie elsewhere, stores that are away, runs of long ago."""

import random
import shutil
import time

import pytest
from backend_faulty import Fault, FaultyBackend
from damage_support import members_of, pack_of
from kept_support import brought_back
from repository_support import (
    FONDS,
    audit,
    blocks_file,
    catalog_rows,
    contents,
    copy_rows,
    flip,
    index_file,
    made,
    open_findings,
    overwrite,
    pack_file,
    pack_rows,
    submit_files,
    tree,
)

from audits.run import repair_named
from preservation import attachment, joining, stores
from preservation.fixity import BLOCK, blake3_hex
from preservation.joining import _runs, _trials
from preservation.packing import set_aside
from preservation.packs import layout
from preservation.packs.members import Kind
from preservation.rebuilding import rebuild
from preservation.replication import replicate
from preservation.stopping import StoppedError

_random = random.Random(11)


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def beginning(folder):
    place = made(folder)
    submit_files(place, {"một": b"the first words " * 40, "hai": b"other words " * 40})
    return place


def content_members(place, row, store="a"):
    return [member for member in members_of(place, row, store) if member.kind is Kind.CONTENT]


def backend_of(place, name):
    with place.open().reading() as view:
        return stores.opened(stores.store_named(view, name)).backend


# ---- joining ----------------------------------------------------------------------------------------------------


def test_a_crash_between_setting_aside_and_naming_loses_nothing(place):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    one, other = content_members(place, row)
    flip(pack_file(place, "a", row), one.offset)
    flip(pack_file(place, "b", row), other.offset)
    set_aside(backend_of(place, "a"), layout.pack_key(row.fonds, row.pack))
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (0, []), open_findings(report)
    assert pack_file(place, "a", row).read_bytes() == right == pack_file(place, "b", row).read_bytes()


def test_what_another_pack_on_a_third_store_has_is_not_lost(place):
    row = pack_of(place)
    (shared,) = [one for one in content_members(place, row) if one.digest == blake3_hex(b"the first words " * 40)]
    for name in ("a", "b"):
        flip(pack_file(place, name, row), shared.offset + 3)
    assert audit(place, repair=False).coverage.damaged == 2, "so the second ingest does not rely on them"
    for name in ("a", "b"):
        place.store(name).rename(place.store(name + " away"))
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    submit_files(place, {"một": b"the first words " * 40, "ba": b"third words"}, name="second")
    for name in ("a", "b"):
        place.store(name + " away").rename(place.store(name))
    report = audit(place)
    assert (report.coverage.repaired, report.coverage.lost_objects) == (2, []), open_findings(report)
    assert contents(place, row.package)["một".encode()] == b"the first words " * 40


def test_a_big_survivor_that_no_copy_has_whole_goes_into_the_salvage_pack(tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "IN_MEMORY", BLOCK)
    place = made(tmp_path)
    files = {"lớn": _random.randbytes(5 * BLOCK), "nhỏ": _random.randbytes(BLOCK // 2)}
    receipt = submit_files(place, files)
    row = pack_of(place)
    big, small = sorted(content_members(place, row), key=lambda one: -one.size)
    flip(pack_file(place, "a", row), big.offset + BLOCK + BLOCK // 2)
    flip(pack_file(place, "b", row), big.offset + 3 * BLOCK)
    for name in ("a", "b"):
        flip(pack_file(place, name, row), small.offset + small.size // 2)
    report = audit(place)
    assert report.coverage.lost_objects == [f"blake3:{small.digest}"], open_findings(report)
    (salvage,) = [one for one in pack_rows(place) if one.salvage_of]
    assert [one.digest for one in content_members(place, salvage)] == [big.digest]
    assert receipt.package == salvage.package


def test_many_bad_blocks_among_many_members_are_no_long_work(tmp_path):
    place = made(tmp_path)
    submit_files(place, {f"{number:05d}": b"%05d" % number * 20 for number in range(3_000)})
    row = pack_of(place)
    for name in ("a", "b"):
        overwrite(pack_file(place, name, row), bytes(row.size))
    began = time.process_time()
    report = audit(place)
    assert len(report.coverage.lost_objects) == 3_001, "every object and the manifest"
    assert time.process_time() - began < 12


def test_runs_are_few_and_quickly_found_in_bytes_that_differ_everywhere():
    one, other = bytes(8 << 20), _random.randbytes(8 << 20)
    began = time.process_time()
    assert _runs([one, other])[0][0] == 0
    assert len(list(_trials([one, other, one]))) == 4
    assert time.process_time() - began < 2


@pytest.mark.parametrize("gap", [1, 8, 9, 40])
def test_runs_that_lie_close_count_as_one(gap):
    one = bytearray(100)
    one[10] = one[10 + gap + 1] = 1
    assert len(_runs([bytes(100), bytes(one)])) == (1 if gap <= 8 else 2)


def test_the_index_is_never_called_a_lost_object(place):
    row = pack_of(place)
    index = next(member for member in members_of(place, row) if member.kind is Kind.INDEX)
    lost = content_members(place, row)[0]
    for name in ("a", "b"):
        flip(pack_file(place, name, row), index.offset + 5)
        flip(pack_file(place, name, row), lost.offset)
    report = audit(place)
    assert report.coverage.lost_objects == [f"blake3:{lost.digest}"]


# ---- nothing hidden ---------------------------------------------------------------------------------------------


def test_a_detached_store_that_has_a_good_copy_keeps_a_pack_from_being_given_up(tmp_path):
    place = made(tmp_path, store_names=("a", "b", "c"))
    submit_files(place, {"một": b"the first words " * 40})
    row = pack_of(place)
    attachment.detach(place.open(), "c", lost=False)
    for name in ("a", "b"):
        flip(pack_file(place, name, row), content_members(place, row)[0].offset)
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (3, [])
    assert "repair-failed" in {code for code, _, _ in open_findings(report)}, open_findings(report)
    attachment.detach(place.open(), "c", lost=True)
    assert len(audit(place).coverage.lost_objects) == 1


def test_a_good_copy_that_the_catalog_does_not_know_of_is_a_source(tmp_path):
    place = made(tmp_path, store_names=("a", "b"))
    submit_files(place, {"một": b"the first words " * 40})
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    pack_file(place, "c", row).parent.mkdir(parents=True)
    pack_file(place, "c", row).write_bytes(right)
    for name in ("a", "b"):
        flip(pack_file(place, name, row), content_members(place, row)[0].offset)
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (0, []), open_findings(report)
    assert pack_file(place, "a", row).read_bytes() == right


def test_a_pack_of_which_no_copy_is_left_is_an_open_finding(place):
    for name in ("a", "b"):
        attachment.detach(place.open(), name, lost=True)
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    report = audit(place)
    assert report.exit_status == 3
    assert ("copy-missing", "", "no copy is known") in open_findings(report)


def test_a_store_that_was_given_up_and_is_found_again_brings_its_packs_back(place):
    for name in ("a", "b"):
        attachment.detach(place.open(), name, lost=True)
    attachment.add(place.open(), "a", place.url("a"), site="site a")
    replicate(place.open(), lambda _files, _bytes: None)
    assert [row.state for row in copy_rows(place)] == ["good"]
    assert audit(place).exit_status == 0


# ---- runs -------------------------------------------------------------------------------------------------------


def test_what_an_audit_of_long_ago_saw_does_not_count_for_one_that_goes_on(place):
    place.stop_after = 1
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    audit(place, max_age_days=0)
    place.clock.pass_by(days=200)
    flip(pack_file(place, "a", pack_of(place)), 700)
    report = audit(place)
    assert report.coverage.damaged == 1


def test_an_audit_of_a_part_is_not_the_last_audit(place):
    audit(place, fonds=(FONDS,))
    assert b"mark/last audit" not in catalog_rows(place)
    audit(place)
    assert b"mark/last audit" in catalog_rows(place)


# ---- repair from several sources, and what is said of the damage --------------------------------------------------


def faulty(monkeypatch, name, *plan):
    opened = stores.opened

    def opens(row, bytes_per_second=0):
        store = opened(row, bytes_per_second)
        if row.name != name:
            return store
        return stores.Store(row, FaultyBackend(store.backend, plan))

    monkeypatch.setattr(stores, "opened", opens)


def test_a_good_copy_that_fails_while_it_is_copied_gives_way_to_the_next(tmp_path, monkeypatch):
    place = made(tmp_path, store_names=("a", "b", "c"))
    submit_files(place, {"một": b"the first words " * 40})
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    flip(pack_file(place, "c", row), 700)
    faulty(monkeypatch, "a", Fault("refuse", key="packs/*", does="read", nth=2))
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert pack_file(place, "c", row).read_bytes() == right


def test_the_place_of_the_damage_is_told_to_the_byte(place):
    row = pack_of(place)
    flip(pack_file(place, "a", row), 70_001, 0x10)
    (detail,) = [one.detail for one in audit(place).findings if one.pack]
    assert detail == "one bit at 70001"


def test_bytes_of_another_pack_are_said_to_be_that(place):
    first = pack_of(place)
    submit_files(place, {"ba": b"third words"}, name="second")
    (second,) = [one for one in pack_rows(place) if one.pack != first.pack]
    overwrite(pack_file(place, "a", first), pack_file(place, "a", second).read_bytes())
    (detail,) = [one.detail for one in audit(place).findings if one.pack]
    assert detail == f"the bytes of pack {second.pack}"


# ---- the sweep ----------------------------------------------------------------------------------------------------


def test_a_sidecar_that_cannot_be_read_is_written_anew(place, monkeypatch):
    row = pack_of(place)
    faulty(monkeypatch, "a", Fault("unreadable", key="indexes/*.blocks"))
    report = audit(place)
    assert [(one.code, one.healed) for one in report.findings if one.store == "a"] == [("sidecar-damaged", True)]
    assert blocks_file(place, "a", row).read_bytes() == blocks_file(place, "b", row).read_bytes()


def test_a_part_of_the_ledger_that_is_gone_from_a_store_is_a_finding(place):
    audit(place)
    for path in (place.store("a") / "ledger" / "tail").iterdir():
        path.unlink()
    report = audit(place)
    assert ("evidence-damaged", "a", True) in {(str(one.code), one.store, one.healed) for one in report.findings}
    assert report.exit_status == 0


def test_a_store_that_knows_a_longer_ledger_is_not_swept(place, tmp_path):
    shutil.copytree(place.path, tmp_path / "backup")
    submit_files(place, {"ba": b"third words"}, name="second")
    shutil.rmtree(place.path)
    (tmp_path / "backup").rename(place.path)
    before = {name: data for name, data in tree(place.store("a")).items() if name.startswith(("packs/", "ledger/"))}
    report = audit(place)
    assert report.exit_status == 3
    assert "ledger-damaged" in {code for code, _, _ in open_findings(report)}
    after = tree(place.store("a"))
    assert {name: after.get(name) for name in before} == before


def test_repair_with_nothing_to_repair_does_not_hide_what_is_lost(place):
    row = pack_of(place)
    for name in ("a", "b"):
        flip(pack_file(place, name, row), content_members(place, row)[0].offset)
    assert len(audit(place).coverage.lost_objects) == 1
    report = repair_named(place.open(), [], lambda _files, _bytes: None)
    assert report.exit_status == 3


def test_sidecars_lost_everywhere_and_both_copies_damaged_are_made_again(place):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    one, other = content_members(place, row)
    flip(pack_file(place, "a", row), one.offset)
    flip(pack_file(place, "b", row), other.offset)
    for name in ("a", "b"):
        blocks_file(place, name, row).unlink()
        index_file(place, name, row).unlink()
    for path in (place.folder / "repo" / "ledger" / "indexes").rglob("*.*"):
        path.unlink()
    assert audit(place).exit_status == 0
    assert pack_file(place, "b", row).read_bytes() == right


# ---- rebuilding ---------------------------------------------------------------------------------------------------


def test_a_ledger_that_is_damaged_here_is_mended_from_the_stores(place):
    size = place.open().ledger.size
    (hot,) = (place.folder / "repo" / "ledger" / "hot").iterdir()
    hot.write_bytes(hot.read_bytes()[:700])
    rebuild(place.path, place.world)
    assert place.open().ledger.size > size
    assert audit(place).exit_status == 0


def test_a_repository_from_a_backup_learns_from_the_stores_what_came_after(place, tmp_path):
    shutil.copytree(place.path, tmp_path / "backup")
    receipt = submit_files(place, {"ba": b"third words"}, name="second")
    shutil.rmtree(place.path)
    (tmp_path / "backup").rename(place.path)
    rebuild(place.path, place.world)
    assert contents(place, receipt.package) == {b"ba": b"third words"}
    assert audit(place).exit_status == 0
