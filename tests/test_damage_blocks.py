"""Damage to packs of several blocks, to media that fail to read, and to objects that stand in a pack twice."""

import os
import random
import shutil

import pytest
from backend_faulty import Fault, FaultyBackend
from damage_support import members_of, pack_of
from repository_support import (
    audit,
    catalog_rows,
    contents,
    flip,
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

from preservation import joining, stores
from preservation.fixity import BLOCK, blake3_hex
from preservation.packs import layout
from preservation.packs.layout import pack_key
from preservation.packs.members import Kind
from storage_backends import locations

BIG = random.Random(3).randbytes(3 * BLOCK + 500_000)
FILES = {"nhỏ 1": b"1" * 900, "to.tif": BIG, "nhỏ 2": b"2" * 70_000, "rỗng": b""}


@pytest.fixture
def place(tmp_path):
    place = made(tmp_path)
    submit_files(place, FILES)
    return place


def content(place, data):
    digest = blake3_hex(data)
    return next(m for m in members_of(place, pack_of(place)) if m.kind is Kind.CONTENT and m.digest == digest)


def package_of(place):
    return pack_of(place).package


def all_is_back(place, right):
    row = pack_of(place)
    for name in ("a", "b"):
        assert pack_file(place, name, row).read_bytes() == right
    assert contents(place, row.package) == {os.fsencode(name): data for name, data in FILES.items()}
    report = audit(place)
    assert report.exit_status == 0
    assert seen(report)["verified"] == 2
    assert catalog_rows(place) == rebuilt_rows(place)


@pytest.mark.parametrize(
    ("in_a", "in_b"),
    [
        ([10], [BLOCK + 10]),  # different blocks
        ([10], [4_000]),  # the same block, different places
        ([BLOCK - 1], [BLOCK]),  # on both sides of a border
        ([BLOCK + 10, 3 * BLOCK], [10, 2 * BLOCK, 3 * BLOCK + 90_000]),
    ],
)
def test_an_object_of_many_blocks_is_put_together_from_two_damaged_copies(place, in_a, in_b):
    row, member = pack_of(place), content(place, BIG)
    right = pack_file(place, "a", row).read_bytes()
    start = member.offset // BLOCK * BLOCK + BLOCK  # counted from the first border inside the object
    for store, offsets in (("a", in_a), ("b", in_b)):
        for offset in offsets:
            flip(pack_file(place, store, row), min(start + offset - BLOCK, member.offset + member.size - 1))
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (0, 2), open_findings(report)
    all_is_back(place, right)


def test_zero_runs_across_a_border_in_both_copies_are_healed_where_they_do_not_meet(place):
    row, member = pack_of(place), content(place, BIG)
    right = pack_file(place, "a", row).read_bytes()
    border = member.offset // BLOCK * BLOCK + BLOCK
    for store, (start, end) in (("a", (border - 8_192, border + 4_096)), ("b", (border + 8_192, border + 70_000))):
        overwrite(pack_file(place, store, row), right[:start] + bytes(end - start) + right[end:])
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (0, 2), open_findings(report)
    all_is_back(place, right)


def test_a_big_object_damaged_at_the_same_place_is_lost_alone(place):
    row, member = pack_of(place), content(place, BIG)
    for store in ("a", "b"):
        flip(pack_file(place, store, row), member.offset + 2 * BLOCK)
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (3, [f"blake3:{member.digest}"])
    survivors = [row for row in pack_rows(place) if row.state == "live"]
    assert [row.salvage_of for row in survivors] == [row.pack]
    assert {m.digest for m in members_of(place, survivors[0]) if m.kind is Kind.CONTENT} == {
        blake3_hex(data) for name, data in FILES.items() if name != "to.tif"
    }
    assert audit(place).coverage.verified == 2
    assert catalog_rows(place) == rebuilt_rows(place)


def test_an_object_too_big_for_memory_is_not_called_lost_with_its_small_neighbour(place, monkeypatch):
    monkeypatch.setattr(joining, "IN_MEMORY", BLOCK)
    row, small, big = pack_of(place), content(place, FILES["nhỏ 1"]), content(place, BIG)
    assert small.offset // BLOCK == big.offset // BLOCK, "they share a block"
    for store in ("a", "b"):
        flip(pack_file(place, store, row), small.offset + 5)
    report = audit(place)
    assert report.coverage.lost_objects == [f"blake3:{small.digest}"]
    with place.open().reading() as view, stores.all_open(stores.attached(view)) as opened:
        from preservation.packages import object_pieces  # noqa: PLC0415 - one test needs it

        assert b"".join(object_pieces(view, opened, row.fonds, big.digest)) == BIG


def test_an_object_that_stands_in_the_pack_twice_is_lost_only_if_both_are(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "REPEATS_PER_LINK", 2)
    place = made(tmp_path)
    files = {f"bản {number}": b"the same words " * 50 for number in range(5)}
    submit_files(place, files)
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    same = [m for m in members_of(place, row) if m.kind in {Kind.CONTENT, Kind.FILE}]
    assert len({m.digest for m in same}) == 1
    assert len(same) == 3
    for store in ("a", "b"):
        for number, member in enumerate(same[:2]):
            flip(pack_file(place, store, row), member.offset + 5 + number)
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (0, 2), open_findings(report)
    assert pack_file(place, "a", row).read_bytes() == right == pack_file(place, "b", row).read_bytes()
    for store in ("a", "b"):
        shutil.rmtree(place.store(store) / "quarantine")  # what was set aside there is put to use too
        for member in same:
            flip(pack_file(place, store, row), member.offset + 9)
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (3, [f"blake3:{same[0].digest}"])


# ---- media that fail to read -------------------------------------------------------------------------------------


@pytest.fixture
def faulty(place, monkeypatch):
    """Plan faults for the stores: name to faults."""
    plans, opened = {}, locations.open_store

    def open_store(url, **more):
        plan = next((plan for name, plan in plans.items() if url == place.url(name)), ())
        backend = opened(url, **more)
        return FaultyBackend(backend, plan) if plan else backend

    monkeypatch.setattr(locations, "open_store", open_store)
    return plans


def bad_sector(place, offset):
    row = pack_of(place)
    return Fault("unreadable", pack_key(row.fonds, row.pack), at=offset)


class SectorFaults(FaultyBackend):
    """A medium on which only certain sectors cannot be read."""

    def __init__(self, inner, key, sectors):
        super().__init__(inner)
        self.key, self.sectors = key, sectors

    def read(self, key, *, offset=0, length=None, fresh=False):
        end = self.stat(key).size if length is None else offset + length
        hit = [at for at in self.sectors if offset < at + 4_096 and at < end] if key == self.key else []
        self.plan = tuple(Fault("unreadable", key, at=max(at, offset)) for at in hit)
        return super().read(key, offset=offset, length=length, fresh=fresh)


def test_a_copy_that_cannot_be_read_is_replaced_by_a_good_one(place, faulty):
    row = pack_of(place)
    right = pack_file(place, "b", row).read_bytes()
    faulty["a"] = [bad_sector(place, BLOCK)]
    report = audit(place)
    assert (report.exit_status, report.coverage.unreadable, report.coverage.repaired) == (0, 1, 1)
    faulty.clear()
    all_is_back(place, right)


def test_copies_that_both_have_bad_sectors_are_joined(place, monkeypatch):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    opened, sectors = locations.open_store, {place.url("a"): [BLOCK + 4_096], place.url("b"): [BLOCK + 40_960]}

    def open_store(url, **more):
        return SectorFaults(opened(url, **more), pack_key(row.fonds, row.pack), sectors[url])

    monkeypatch.setattr(locations, "open_store", open_store)
    report = audit(place)
    assert (report.coverage.unreadable, report.coverage.repaired) == (2, 2), open_findings(report)
    assert report.exit_status == 0
    monkeypatch.undo()
    all_is_back(place, right)


def test_while_a_copy_cannot_be_read_nothing_is_deleted_and_nothing_is_called_lost(place, faulty):
    row, member = pack_of(place), content(place, BIG)
    flip(pack_file(place, "b", row), member.offset + 5)
    before = {name: tree(place.store(name) / "packs") for name in ("a", "b")}
    faulty["a"] = [Fault("refuse", pack_key(row.fonds, row.pack), does="read")]
    report = audit(place)
    assert report.exit_status == 3
    assert report.coverage.lost_objects == []
    assert {code for code, _, _ in open_findings(report)} == {"copy-unreadable", "copy-damaged", "repair-failed"}
    assert {name: tree(place.store(name) / "packs") for name in ("a", "b")} == before
    faulty.clear()
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (0, 1)
    all_is_back(place, before["a"][f"{row.fonds}/{row.pack[:2]}/{row.pack}.tar"])


def test_while_a_store_is_away_nothing_is_deleted_and_nothing_is_called_lost(place):
    row, member = pack_of(place), content(place, BIG)
    right = pack_file(place, "a", row).read_bytes()
    flip(pack_file(place, "b", row), member.offset + 5)
    before = tree(place.store("b") / "packs")
    os.rename(place.store("a"), place.folder / "away")
    report = audit(place)
    assert (report.exit_status, report.coverage.lost_objects) == (3, [])
    assert tree(place.store("b") / "packs") == before
    os.rename(place.folder / "away", place.store("a"))
    assert audit(place).exit_status == 0
    all_is_back(place, right)


def test_a_repair_that_finds_the_store_full_leaves_the_damaged_copy_where_it_is(place, faulty):
    row = pack_of(place)
    right = pack_file(place, "a", row).read_bytes()
    flip(pack_file(place, "a", row), 5)
    wrong = pack_file(place, "a", row).read_bytes()
    faulty["a"] = [Fault("full", does="create")]
    report = audit(place)
    assert (report.exit_status, report.coverage.repaired) == (3, 0)
    assert "repair-failed" in {code for code, _, _ in open_findings(report)}
    assert pack_file(place, "a", row).read_bytes() == wrong
    faulty.clear()
    assert audit(place).coverage.repaired == 1
    all_is_back(place, right)


def test_a_read_that_was_wrong_once_and_right_the_second_time_is_a_warning(place, faulty):
    row = pack_of(place)
    faulty["a"] = [Fault("flip", pack_key(row.fonds, row.pack), at=50, nth=1)]
    report = audit(place)
    assert (report.exit_status, report.coverage.verified, report.coverage.damaged) == (0, 2, 0)
    assert [str(finding.code) for finding in report.findings] == ["read-unstable", "stores-not-independent"]
