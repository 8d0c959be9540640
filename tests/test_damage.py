"""Damage: whatever happens to the bytes on the stores, it is seen, and healed if all copies together allow it."""

import os
import shutil

import pytest
from damage_support import FILES, Shelves, lost_of, members_of, pack_of, reset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repository_support import (
    audit,
    blocks_file,
    catalog_rows,
    contents,
    flip,
    index_file,
    made,
    open_findings,
    overwrite,
    pack_file,
    pack_rows,
    rebuilt_rows,
    seen,
    submit_files,
    tree,
)
from sizes import DAMAGE_STEP

from preservation.checking import Verdict
from preservation.ledger.checking import check_ledger
from preservation.packages import NoGoodCopyError
from preservation.packs.members import Kind

ALL_GOOD = {"damaged": 0, "missing": 0, "unreadable": 0, "unexpected": 0, "skipped": 0, "repaired": 0}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "place"
    folder.mkdir()
    place = made(folder)
    receipt = submit_files(place, FILES)
    assert audit(place).exit_status == 0
    shutil.copytree(place.folder, place.folder.with_name("pristine"), symlinks=True)
    return place, receipt.package


@pytest.fixture
def place(pristine):
    place, _ = pristine
    reset(place)
    return place


@pytest.fixture
def package(pristine):
    return pristine[1]


@pytest.fixture(scope="module")
def shelves(pristine):
    place, _ = pristine
    reset(place)
    return Shelves(place)


def healthy(place, package, files=FILES):
    """All is as if nothing had happened, and the ledger and the catalog say so."""
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    copies = 2 * sum(row.state == "live" for row in pack_rows(place))
    assert seen(report) == {"expected": copies, "verified": copies} | ALL_GOOD
    assert report.coverage.lost_objects == []
    assert contents(place, package) == {os.fsencode(name): data for name, data in files.items()}
    assert list(check_ledger(f"{place.path}/ledger")) == []
    assert catalog_rows(place) == rebuilt_rows(place)


def quarantined(place, store):
    return sorted((place.store(store) / "quarantine").glob("*")) if (place.store(store) / "quarantine").exists() else []


# ---- audits on disks ---------------------------------------------------------------------------------------------


def test_an_audit_without_repair_tells_of_damage_and_changes_no_store(place):
    row = pack_of(place)
    flip(pack_file(place, "a", row), 100_000)
    before = tree(place.store("a") / "packs")
    report = audit(place, repair=False)
    assert (report.exit_status, report.coverage.damaged, report.coverage.repaired) == (3, 1, 0)
    assert [code for code, _, _ in open_findings(report)] == ["copy-damaged"]
    assert tree(place.store("a") / "packs") == before
    assert quarantined(place, "a") == []


@pytest.mark.parametrize("offset", [0, 300, 700, 20_000, 262_143])
def test_one_flipped_bit_is_healed_from_the_other_store_and_the_bad_bytes_are_kept(place, package, offset):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    flip(pack_file(place, "b", row), offset, 0x40)
    wrong = pack_file(place, "b", row).read_bytes()
    report = audit(place)
    assert (report.exit_status, report.coverage.damaged, report.coverage.repaired) == (0, 1, 1)
    assert pack_file(place, "b", row).read_bytes() == right
    assert [path.read_bytes() for path in quarantined(place, "b")] == [wrong]
    assert not [path for path in quarantined(place, "b") if path.suffix == ".tar"]
    assert any(finding.detail.startswith("one bit at ") for finding in report.findings if finding.healed)
    healthy(place, package)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 20_000, 262_143])
def test_a_truncated_copy_is_healed(place, package, length):
    row = pack_of(place)
    data = pack_file(place, "a", row).read_bytes()
    overwrite(pack_file(place, "a", row), data[:length])
    report = audit(place)
    assert (report.exit_status, report.coverage.damaged, report.coverage.repaired) == (0, 1, 1)
    assert pack_file(place, "a", row).read_bytes() == data
    healthy(place, package)


def test_an_extended_copy_is_healed(place, package):
    row = pack_of(place)
    data = pack_file(place, "a", row).read_bytes()
    overwrite(pack_file(place, "a", row), data + bytes(512))
    assert audit(place).coverage.repaired == 1
    assert pack_file(place, "a", row).read_bytes() == data
    healthy(place, package)


def test_deleted_copies_come_back_with_their_folders(place, package):
    row = pack_of(place)
    data = pack_file(place, "a", row).read_bytes()
    shutil.rmtree(place.store("a") / "packs")
    shutil.rmtree(place.store("b") / "indexes")
    report = audit(place)
    assert (report.exit_status, report.coverage.missing, report.coverage.repaired) == (0, 1, 1)
    assert pack_file(place, "a", row).read_bytes() == data
    assert index_file(place, "b", row).read_bytes() == index_file(place, "a", row).read_bytes()
    healthy(place, package)


def test_an_empty_mount_point_is_a_store_that_is_away_and_not_a_store_without_copies(place, package):
    os.rename(place.store("a"), place.folder / "unmounted")
    place.store("a").mkdir()
    report = audit(place)
    assert report.exit_status == 3
    assert (report.coverage.unreadable, report.coverage.missing, report.coverage.repaired) == (1, 0, 0)
    assert list(place.store("a").iterdir()) == []
    place.store("a").rmdir()
    os.rename(place.folder / "unmounted", place.store("a"))
    healthy(place, package)


def test_what_does_not_belong_on_a_store_goes_to_the_quarantine(place, package):
    row = pack_of(place)
    folder = pack_file(place, "a", row).parent
    strange = {
        folder / ("0" * 64 + ".tar"): b"a pack that nobody knows",
        folder / "notes.txt": b"somebody's notes",
        place.store("a") / "movie.mp4": b"not ours",
        place.store("a") / "ledger" / "tail" / "000000000001-000000000001": b"not a chunk",
    }
    for path, data in strange.items():
        path.write_bytes(data)
    report = audit(place)
    assert (report.exit_status, report.coverage.unexpected) == (0, len(strange))
    assert sorted(path.read_bytes() for path in quarantined(place, "a")) == sorted(strange.values())
    assert not any(path.exists() for path in strange)
    healthy(place, package)


def test_two_packs_that_changed_places_are_both_healed(place, package):
    submit_files(place, {"second": b"2" * 5_000}, "second")
    one, two = pack_rows(place)
    first, second = pack_file(place, "a", one).read_bytes(), pack_file(place, "a", two).read_bytes()
    overwrite(pack_file(place, "a", one), second)
    overwrite(pack_file(place, "a", two), first)
    report = audit(place)
    assert (report.exit_status, report.coverage.damaged, report.coverage.repaired) == (0, 2, 2)
    assert pack_file(place, "a", one).read_bytes() == first
    assert pack_file(place, "a", two).read_bytes() == second
    healthy(place, package)


def test_a_store_set_back_to_an_older_day_is_brought_up_to_date(place, package):
    shutil.copytree(place.store("b"), place.folder / "older")
    submit_files(place, {"second": b"2" * 5_000}, "second")
    now = tree(place.store("a") / "packs")
    shutil.rmtree(place.store("b"))
    os.rename(place.folder / "older", place.store("b"))
    report = audit(place)
    assert (report.exit_status, report.coverage.missing, report.coverage.repaired) == (0, 1, 1)
    assert tree(place.store("b") / "packs") == now
    healthy(place, package)


def test_every_sidecar_and_every_piece_of_evidence_on_a_store_is_healed(place, package):
    before = tree(place.store("a"))
    changed = 0
    for path in sorted(place.store("a").rglob("*")):
        if path.is_file() and path.suffix != ".tar" and path.name != "mocban-store.json":
            flip(path, path.stat().st_size // 2)
            changed += 1
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert sum(str(finding.code) in {"sidecar-damaged", "evidence-damaged"} for finding in report.findings) == changed
    after = tree(place.store("a"))
    assert {name: after.get(name) for name in before} == before
    healthy(place, package)


def test_sidecars_that_are_left_in_one_place_only_come_back_everywhere(place, package):
    row = pack_of(place)
    index, blocks = index_file(place, "b", row).read_bytes(), blocks_file(place, "b", row).read_bytes()
    shutil.rmtree(place.folder / "repo" / "ledger" / "indexes")
    index_file(place, "a", row).unlink()
    flip(blocks_file(place, "a", row), 3)
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert (index_file(place, "a", row).read_bytes(), blocks_file(place, "a", row).read_bytes()) == (index, blocks)
    healthy(place, package)


def test_sidecars_that_are_left_nowhere_are_made_again_from_the_pack(place, package):
    row = pack_of(place)
    index, blocks = index_file(place, "b", row).read_bytes(), blocks_file(place, "b", row).read_bytes()
    shutil.rmtree(place.folder / "repo" / "ledger" / "indexes")
    for store in ("a", "b"):
        shutil.rmtree(place.store(store) / "indexes")
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    for store in ("a", "b"):
        assert index_file(place, store, row).read_bytes() == index
        assert blocks_file(place, store, row).read_bytes() == blocks
    healthy(place, package)


def test_damage_on_both_stores_is_healed_when_no_sidecar_is_left(place, package):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    contents_of = [member for member in members_of(place, row) if member.kind is Kind.CONTENT and member.size > 100]
    shutil.rmtree(place.folder / "repo" / "ledger" / "indexes")
    for store, member in (("a", contents_of[0]), ("b", contents_of[1])):
        shutil.rmtree(place.store(store) / "indexes")
        flip(pack_file(place, store, row), member.offset + 7)
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert pack_file(place, "a", row).read_bytes() == right == pack_file(place, "b", row).read_bytes()
    healthy(place, package)


# ---- both copies -------------------------------------------------------------------------------------------------


def test_damage_at_different_places_of_both_copies_is_healed_the_index_included(place, package):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    index = next(member for member in members_of(place, row) if member.kind is Kind.INDEX)
    flip(pack_file(place, "a", row), index.offset + 5)
    flip(pack_file(place, "a", row), 20_000)
    flip(pack_file(place, "b", row), index.offset + 300)
    flip(pack_file(place, "b", row), 21_000)
    report = audit(place)
    assert (report.exit_status, report.coverage.damaged, report.coverage.repaired) == (0, 2, 2)
    assert pack_file(place, "a", row).read_bytes() == right == pack_file(place, "b", row).read_bytes()
    healthy(place, package)


def test_what_is_damaged_at_the_same_place_everywhere_is_named_and_nothing_else_is_lost(place, package):
    row = pack_of(place)
    victims = [member for member in members_of(place, row) if member.kind is Kind.CONTENT and member.size >= 700][:2]
    for store in ("a", "b"):
        for member in victims:
            flip(pack_file(place, store, row), member.offset + 10)
    gone = sorted(f"blake3:{member.digest}" for member in victims)
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (3, gone)
    assert [code for code, _, _ in open_findings(report)] == ["objects-lost"]
    assert contents_but(place, package, gone) == lost_of(gone, FILES)
    again = audit(place)
    assert (again.exit_status, again.coverage.lost_objects, again.coverage.damaged) == (3, gone, 0)
    assert again.coverage.verified == again.coverage.expected == 2
    assert catalog_rows(place) == rebuilt_rows(place)
    assert list(check_ledger(f"{place.path}/ledger")) == []


def test_what_was_lost_and_is_handed_over_once_more_is_there_again_for_every_package(place, package):
    row = pack_of(place)
    victim = next(member for member in members_of(place, row) if member.kind is Kind.CONTENT and member.size >= 700)
    for store in ("a", "b"):
        flip(pack_file(place, store, row), victim.offset + 10)
    assert audit(place).coverage.lost_objects == [f"blake3:{victim.digest}"]
    receipt = submit_files(place, FILES, "once more")
    assert (receipt.already, receipt.package != package) == (False, True)
    healthy(place, package)
    assert contents(place, receipt.package) == contents(place, package)


def contents_but(place, package, gone):
    """Read every file of a package; those that cannot be read must be the ones that are gone."""
    from preservation import stores  # noqa: PLC0415 - one test needs it
    from preservation.manifest import FileLine  # noqa: PLC0415 - the same
    from preservation.packages import manifest, object_pieces, version_row  # noqa: PLC0415 - the same

    found = {}
    with place.open().reading() as view, stores.all_open(stores.attached(view)) as opened:
        row = version_row(view, package)
        for line in list(manifest(view, opened, row))[1:]:
            if not isinstance(line, FileLine):
                found[line.path] = None
            elif f"blake3:{line.blake3}" in gone:
                with pytest.raises(NoGoodCopyError, match=line.blake3):
                    list(object_pieces(view, opened, row.fonds, line.blake3))
            else:
                found[line.path] = b"".join(object_pieces(view, opened, row.fonds, line.blake3))
    return found


def test_what_is_lost_in_one_pack_is_taken_from_another_pack_that_has_it(place, package, monkeypatch):
    monkeypatch.setattr("preservation.assembly.satisfies", lambda *_: False)  # the bytes are stored again
    submit_files(place, {"again": FILES["giấy/1.bin"], "more": b"m"}, "second")
    monkeypatch.undo()
    first, second = pack_rows(place)
    row = first if first.package == package else second
    victim = next(m for m in members_of(place, row) if m.kind is Kind.CONTENT and m.size == len(FILES["giấy/1.bin"]))
    for store in ("a", "b"):
        flip(pack_file(place, store, row), victim.offset + 10)
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (0, 2), open_findings(report)
    healthy(place, package)


# ---- in memory: many trials of the same check and the same repair ------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_few_changes_that_do_not_meet_are_healed(shelves, data):
    places = data.draw(st.lists(st.integers(0, shelves.size - 1), min_size=2, max_size=10, unique=True))
    masks = data.draw(st.lists(st.integers(1, 255), min_size=len(places), max_size=len(places)))
    cut = data.draw(st.integers(0, len(places)))
    changes = list(zip(places, masks, strict=True))
    shelves.put(a=shelves.flipped(changes[:cut]), b=shelves.flipped(changes[cut:]))
    assert shelves.heal().lost == []
    assert shelves.are_right()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_zeroed_and_swapped_runs_in_both_copies_are_healed_where_one_copy_is_right(shelves, data):
    half = shelves.size // 2
    first = data.draw(st.integers(0, half - 1))
    length = data.draw(st.sampled_from([1, 512, 4_096, 30_000]))
    second = data.draw(st.integers(half, shelves.size - 1))
    one = shelves.zeroed(first, min(length, half - first))
    other = shelves.swapped(half, second, length) if data.draw(st.booleans()) else shelves.zeroed(second, length)
    shelves.put(a=one, b=other)
    assert shelves.heal().lost == []
    assert shelves.are_right()


@pytest.mark.parametrize("kind", [Kind.README, Kind.INDEX])
def test_what_follows_from_the_label_and_the_index_is_healed_though_both_copies_lack_it(shelves, kind):
    member = next(member for member in shelves.members if member.kind is kind)
    wreck = shelves.zeroed(member.offset, member.size)
    shelves.put(a=wreck, b=wreck)
    assert shelves.heal().lost == []
    assert shelves.are_right()


def test_every_header_and_all_padding_is_healed_though_both_copies_lack_it(shelves):
    wreck = bytearray(b"\xee" * shelves.size)
    for member in shelves.members:
        if member.kind in {Kind.CONTENT, Kind.FILE, Kind.MANIFEST}:
            wreck[member.offset : member.offset + member.size] = shelves.right[
                member.offset : member.offset + member.size
            ]
    shelves.put(a=bytes(wreck), b=bytes(wreck))
    assert shelves.heal().lost == []
    assert shelves.are_right()


def test_both_copies_cut_short_behind_the_last_member_are_healed(shelves):
    end = max(member.offset + member.size for member in shelves.members if member.kind is not Kind.INDEX)
    shelves.put(a=shelves.right[:end], b=shelves.right[: end + 1])
    assert shelves.heal().lost == []
    assert shelves.are_right()


def test_one_copy_missing_and_the_other_damaged_is_healed_as_far_as_the_index_goes(shelves):
    shelves.put(a=None, b=shelves.flipped([(100, 1)]))
    assert shelves.heal().lost == []
    assert shelves.are_right()


@pytest.mark.parametrize("kinds", [(Verdict.UNREADABLE,), (Verdict.UNREADABLE, Verdict.DAMAGED)])
def test_nothing_is_deleted_and_nothing_is_called_lost_while_a_store_cannot_be_looked_at(shelves, kinds):
    victim = next(member for member in shelves.members if member.kind is Kind.CONTENT and member.size > 100)
    wreck = shelves.flipped([(victim.offset, 1)])
    shelves.put(a=wreck, b=wreck)
    events = shelves.events()
    shelves.refuse_to_repair(unreadable=len(kinds) == 1)
    assert shelves.holds(a=wreck, b=wreck)
    assert shelves.events() == events


# ---- every byte --------------------------------------------------------------------------------------------------

PARTS = 8
"""The bytes are shared out among so many tests; of each share, but for CI, each ``DAMAGE_STEP``-th is tried."""


@pytest.mark.damage
@pytest.mark.parametrize("part", range(PARTS))
def test_every_changed_byte_of_each_copy_is_seen(shelves, part):
    for store in ("a", "b"):
        data = shelves.open_to_change(store)
        for offset in range(part * DAMAGE_STEP, shelves.size, PARTS * DAMAGE_STEP):
            data[offset] ^= 1 << offset % 8
            assert shelves.verdict(store) is Verdict.DAMAGED, (store, offset)
            data[offset] ^= 1 << offset % 8
        assert shelves.verdict(store) is Verdict.VERIFIED


@pytest.mark.damage
def test_every_truncation_is_seen(shelves):
    for length in range(0, shelves.size, DAMAGE_STEP):
        shelves.put(a=memoryview(shelves.right)[:length], b=shelves.right)
        assert shelves.verdict("a") is Verdict.DAMAGED, length


@pytest.mark.damage
@pytest.mark.parametrize("part", range(PARTS))
def test_changed_bytes_are_healed_each_64th_and_all_of_a_header_and_of_the_index(shelves, part):
    for offset in shelves.places()[part * DAMAGE_STEP :: PARTS * DAMAGE_STEP]:
        _heals(shelves, offset)


@pytest.mark.damage
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_changed_byte_is_healed(shelves, part):
    for offset in range(part, shelves.size, PARTS):
        _heals(shelves, offset)


def _heals(shelves, offset):
    """Change a byte of one copy, every eighth time also one of the other copy, and heal."""
    wrong = shelves.flipped([(offset, 1 << offset % 8)])
    other = shelves.right
    if offset % 512 == 0:
        other = shelves.flipped([((offset + 100_003) % shelves.size, 0x80)])
    shelves.put(**({"a": wrong, "b": other} if offset // 64 % 2 else {"a": other, "b": wrong}))
    assert shelves.heal().lost == [], offset
    assert shelves.are_right(), offset


@pytest.mark.damage
@pytest.mark.parametrize("part", range(PARTS))
def test_truncations_are_healed(shelves, part):
    for length in range(part * DAMAGE_STEP * 1024, shelves.size, PARTS * DAMAGE_STEP * 1024):
        shelves.put(a=shelves.right[:length], b=shelves.right)
        assert shelves.heal().lost == [], length
        assert shelves.are_right(), length
