"""The inventory: what is held follows from ledger and indexes; no row leaves, joins or changes the catalog unseen."""

import dataclasses
import json
import random
from hashlib import sha256

import pytest
from blake3 import blake3
from damage_support import members_of
from repository_support import (
    audit,
    catalog_rows,
    contents,
    copy_rows,
    flip,
    made,
    open_findings,
    pack_file,
    pack_rows,
    rebuilt_rows,
    submit_files,
)

from audits import anew, inventory
from audits.findings import Code
from preservation import attachment, fonds
from preservation.abandoning import abandon
from preservation.catalog import door, rows
from preservation.catalog.errors import CatalogDamagedError
from preservation.ledger.events import EventType
from preservation.packs import layout
from preservation.packs.members import Kind
from preservation.session import open_sessions
from preservation.sidecars import index_name
from preservation.stopping import StoppedError


def eventful(folder, monkeypatch):
    """A repository in which rows of every kind are left: also a lost object, an open session, an open audit."""
    monkeypatch.setattr(layout, "TARGET_SIZE", 60_000)
    place = made(folder, store_names=("a", "b", "c"))
    first = submit_files(place, {f"{number:03}": b"%d" % number * 30 for number in range(120)}, "first")
    submit_files(place, {"một": b"the first words " * 40, "hai": b"other words " * 40}, "second")
    submit_files(place, {"000": b"3" * 900}, "third", package=first.package, mode="replace")
    fonds.open_fonds(place.open(), "F2", "Phông thứ hai")
    submit_files(place, {"x": b"1" * 2_000}, "fourth", fonds_code="F2")
    attachment.detach(place.open(), "c", lost=False)
    for number, then in enumerate((abandon, None)):
        place.stop_after = 2
        with pytest.raises(StoppedError):
            submit_files(
                place, {f"{name:03}": b"%d %d" % (number, name) * 20 for name in range(200)}, f"stopped {number}"
            )
        place.stop_after = None
        if then is not None:
            ((_, session),) = open_sessions(place.open().staging)
            then(place.open(), session.session)
    victim = next(row for row in pack_rows(place) if row.package == first.package and row.version == 1)
    bad = [member for member in members_of(place, victim, "a") if member.kind is Kind.CONTENT][7]
    for name in ("a", "b"):
        flip(pack_file(place, name, victim), bad.offset)
    attachment.detach(place.open(), "c", lost=True)
    report = audit(place)
    assert len(report.coverage.lost_objects) == 1, report.findings
    place.stop_after = 4
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return eventful(tmp_path_factory.mktemp("inventory") / "p", monkeypatch)


def change(place, changes):
    """Write rows past the ledger, as a bad sector or somebody with a key to the server does."""
    catalog = place.open().catalog
    with door.writing(catalog.path, catalog.identity) as database:
        database.write(changes)


@pytest.fixture
def kept(place):
    """The rows; put back afterwards."""
    before = catalog_rows(place)
    yield before
    after = catalog_rows(place)
    change(place, {**dict.fromkeys(after), **before})


def compared(place):
    return inventory._compared(place.open())


def named(differences):
    return {(how, key) for how, key in differences.named}


def test_every_kind_of_row_is_there_to_be_lost(place):
    kinds = {key.split(b"/")[0] for key in catalog_rows(place)}
    expected = "copy fonds lost manifest mark object pack package run session store version"
    assert kinds >= set(expected.encode().split())


def test_a_catalog_that_is_right_differs_in_nothing(place):
    found = compared(place)
    assert not found.differences.counts, found.differences.named
    assert (found.unseen, found.is_whole, found.contradicts) == (set(), True, "")


def test_each_single_row_that_is_removed_is_named(place, kept):
    one_of_a_kind = {}
    for key in sorted(kept):
        one_of_a_kind.setdefault(key.split(b"/")[0], []).append(key)
    for keys in one_of_a_kind.values():
        for key in {keys[0], keys[len(keys) // 2], keys[-1]}:
            change(place, {key: None})
            assert named(compared(place).differences) == {("missing", key)}
            change(place, {key: kept[key]})


@pytest.mark.slow
def test_each_row_at_all_that_is_removed_is_named(place, kept):
    for key in sorted(kept):
        change(place, {key: None})
        assert named(compared(place).differences) == {("missing", key)}
        change(place, {key: kept[key]})


@pytest.mark.parametrize("count", [2, 10, 100])
def test_many_rows_that_are_removed_are_all_named(place, kept, count):
    gone = random.Random(count).sample(sorted(kept), count)
    change(place, dict.fromkeys(gone))
    assert named(compared(place).differences) == {("missing", key) for key in gone}


def test_all_rows_that_are_removed_are_named(place, kept):
    change(place, dict.fromkeys(kept))
    found = compared(place).differences
    assert named(found) == {("missing", key) for key in kept}
    assert found.counts.total() == len(kept)


def test_of_very_many_rows_the_first_are_named_and_the_others_counted(place, kept, monkeypatch):
    monkeypatch.setattr(inventory, "NAMED", 7)
    change(place, dict.fromkeys(kept))
    found = compared(place).differences
    assert found.counts.total() == len(kept)
    *some, last = found.findings()
    assert len(some) == 7
    assert last.detail.startswith("more: missing ")
    assert sum(int(part.split()[-1]) for part in last.detail.removeprefix("more: ").split(", ")) == len(kept) - 7


def test_each_kind_of_row_that_is_altered_is_named(place, kept):
    seen = set()
    for key, value in sorted(kept.items()):
        kind = key.split(b"/")[0]
        if kind in seen:
            continue
        seen.add(kind)
        for offset in (0, len(value) // 2, len(value) - 1):
            wrong = bytearray(value)
            wrong[offset] ^= 1
            if kind == b"object":
                change(place, {key: bytes(wrong)})
                assert named(compared(place).differences) == {("altered", key)}
        if kind != b"object":
            row = {**json.loads(value)}
            name = next(name for name in row if isinstance(row[name], str) and name not in {"store", "pack", "fonds"})
            row[name] = row[name] + "x"
            change(place, {key: json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()})
            assert named(compared(place).differences) == {("altered", key)}
        change(place, {key: value})


def test_a_row_that_an_older_program_wrote_is_no_difference(place, kept):
    key = next(key for key in kept if key.startswith(b"pack/") and b'"salvage_of":""' in kept[key])
    row = json.loads(kept[key])
    assert row.pop("salvage_of") == ""
    change(place, {key: json.dumps(row).encode()})
    assert not compared(place).differences.counts
    change(place, {key: json.dumps({**row, "size": row["size"] + 1}).encode()})
    assert named(compared(place).differences) == {("altered", key)}


@pytest.mark.parametrize("wrong", [b"", b"x", b"\xff" * 47, b"{}", b"[]"])
def test_rows_that_are_none_of_ours_are_named(place, kept, wrong):
    for kind in (b"object/", b"pack/", b"manifest/", b"copy/", b"mark/"):
        key = next(key for key in sorted(kept) if key.startswith(kind))
        change(place, {key: wrong})
        assert named(compared(place).differences) == {("altered", key)}
        change(place, {key: kept[key]})


def test_rows_that_are_added_are_named(place, kept):
    copy = next(key for key in kept if key.startswith(b"copy/"))
    some = next(key for key in kept if key.startswith(b"object/"))
    new = {
        copy[:-1] + b"~": kept[copy],
        some[:-1] + bytes([some[-1] ^ 1]): kept[some],
        b"zzz": b"what is this",
        b"another kind/of row": b"",
        b"object/short": kept[some],
    }
    change(place, new)
    found = compared(place).differences
    assert named(found) == {("added", key) for key in new}
    for finding in found.findings():
        assert finding.detail.isascii()
        assert finding.detail.isprintable()
    change(place, dict.fromkeys(new))


def test_a_place_of_an_object_that_moved_to_another_is_no_sum_that_fits(place, kept):
    one, other = [key for key in sorted(kept) if key.startswith(b"object/")][:2]
    change(place, {one: kept[other], other: kept[one]})
    assert named(compared(place).differences) == {("altered", one), ("altered", other)}


def test_a_catalog_that_forgets_how_far_it_is_catches_up_or_is_named(place, kept):
    catalog = place.open().catalog
    with door.reading(catalog.path, catalog.identity) as database:
        position = database.get(rows.POSITION)
    for wrong in (None, b"0", b"7"):
        change(place, {rows.POSITION: wrong})
        assert not compared(place).differences.counts
    change(place, {rows.POSITION: position})
    assert catalog_rows(place) == kept


# ---- within an audit ---------------------------------------------------------------------------------------------


def small(folder):
    place = made(folder)
    submit_files(place, {f"{number:03}": b"%d" % number * 30 for number in range(40)}, "first")
    submit_files(place, {"hai": b"other words " * 40}, "second")
    return place


def differing(report):
    return [one for one in report.findings if one.code is Code.CATALOG_DIFFERS]


def test_an_audit_names_rows_that_are_gone_makes_the_catalog_anew_and_misses_no_copy(tmp_path):
    place = small(tmp_path)
    before = catalog_rows(place)
    gone = [key for key in before if key.startswith((b"pack/", b"copy/"))]
    change(place, dict.fromkeys(gone))
    report = audit(place)
    assert {one.detail for one in differing(report)} == {f"missing {key.decode().replace('/', ' ', 1)}" for key in gone}
    assert {one.pack for one in differing(report)} == {row.pack for row in pack_rows(place)}
    assert all(one.healed for one in differing(report))
    assert (report.exit_status, report.coverage.expected, report.coverage.verified) == (0, 4, 4)
    assert catalog_rows(place) == rebuilt_rows(place)
    assert not differing(audit(place))


def test_without_repair_the_catalog_stays_as_it_is_and_the_finding_open(tmp_path):
    place = small(tmp_path)
    key = next(key for key in catalog_rows(place) if key.startswith(b"object/"))
    change(place, {key: None})
    report = audit(place, repair=False)
    assert report.exit_status == 3
    assert [(one.detail, one.healed) for one in differing(report)] == [
        (inventory._shown(key).join(["missing ", ""]), False)
    ]
    assert key not in catalog_rows(place)


def test_a_catalog_that_cannot_be_read_is_made_anew_by_an_audit_and_said_to_be(tmp_path):
    place = small(tmp_path)
    before = {key: value for key, value in catalog_rows(place).items() if not key.startswith(b"mark/")}
    change(place, {b"!catalog": None, **dict.fromkeys(catalog_rows(place))})
    with pytest.raises(CatalogDamagedError):
        audit(place, repair=False)
    report = audit(place)
    assert [one.healed for one in differing(report)] == [True]
    assert (report.exit_status, report.coverage.verified) == (0, 4)
    after = catalog_rows(place)
    assert {key for key in before if not key.startswith(b"copy/")} <= set(after)


def test_objects_that_vanished_are_back_before_anything_is_called_lost(tmp_path):
    place = made(tmp_path)
    first = submit_files(place, {"một": b"the first words " * 40, "hai": b"other words"}, "first")
    row = pack_rows(place)[0]
    for name in ("a", "b"):
        flip(pack_file(place, name, row), 700)
    audit(place, repair=False)
    submit_files(place, {"một": b"the first words " * 40}, "second")
    change(place, dict.fromkeys(key for key in catalog_rows(place) if key.startswith(b"object/")))
    report = audit(place)
    assert report.coverage.lost_objects == [], open_findings(report)
    assert contents(place, first.package)["một".encode()] == b"the first words " * 40


@pytest.mark.parametrize("scope", [{"max_age_days": 30}, {"seconds": 60.0}, {"stores": ("a",)}])
def test_an_audit_of_less_compares_the_catalog_once_a_day(tmp_path, scope):
    place = small(tmp_path)
    audit(place)
    key = next(key for key in catalog_rows(place) if key.startswith(b"object/"))
    change(place, {key: None})
    assert not differing(audit(place, **scope))
    place.clock.pass_by(days=1, minutes=1)
    assert differing(audit(place, **scope))


# ---- missing indexes ---------------------------------------------------------------------------------------------


def index_path(place, row):
    return place.folder / "repo" / "ledger" / index_name(row.pack)


def test_an_index_that_is_missing_here_is_brought_from_a_store(tmp_path):
    place = small(tmp_path)
    for row in pack_rows(place):
        index_path(place, row).unlink()
    report = audit(place)
    assert (report.exit_status, differing(report)) == (0, [])
    assert all(index_path(place, row).exists() for row in pack_rows(place))


def test_without_repair_a_missing_index_is_a_finding_and_nothing_is_signed(tmp_path):
    place = small(tmp_path)
    for row in pack_rows(place):
        index_path(place, row).unlink()
    report = audit(place, repair=False)
    assert {one.code for one in report.findings if one.is_open} == {Code.INDEX_MISSING}
    assert inventories(place) == []
    assert {one.code for one in inventory.commit(place.open())} == {Code.INDEX_MISSING}
    assert inventories(place) == []


def test_the_last_inventory_stands_for_an_index_that_went_missing_later(tmp_path):
    place = small(tmp_path)
    audit(place)
    row = pack_rows(place)[0]
    index_path(place, row).unlink()
    found = compared(place)
    assert (found.unseen, found.is_whole, found.differences.counts.total()) == ({row.pack}, True, 0)
    for wrong in (b"{", b"{}"):
        right = catalog_rows(place)[row.key]
        change(place, {row.key: wrong})
        assert named(compared(place).differences) == {("altered", row.key)}
        change(place, {row.key: right})
    other = next(
        key
        for key, value in catalog_rows(place).items()
        if key.startswith(b"object/") and bytes.fromhex(row.pack) not in value
    )
    change(place, {other: None})
    assert named(compared(place).differences) == {("missing", other)}


def test_an_index_that_came_back_is_not_said_to_be_missing_for_ever(tmp_path):
    place = small(tmp_path)
    row = pack_rows(place)[0]
    right = index_path(place, row).read_bytes()
    index_path(place, row).unlink()
    place.open().catalog.rebuild()
    assert [one.index_missing for one in pack_rows(place)].count(True) == 1
    index_path(place, row).write_bytes(right)
    report = audit(place)
    assert differing(report)
    assert report.exit_status == 0, open_findings(report)
    assert not any(one.index_missing for one in pack_rows(place))


# ---- what is signed ----------------------------------------------------------------------------------------------


def inventories(place):
    return [record for record in place.open().ledger.records() if record.event.type == EventType.INVENTORY]


def set_hash(lines):
    return f"{sum(int(blake3(line).hexdigest(length=256), 16) for line in lines) % 2**2048:0512x}"


def test_what_is_signed_can_be_computed_by_anybody_from_the_indexes_and_the_ledger(tmp_path):
    place = small(tmp_path)
    assert inventory.commit(place.open()) == []
    (record,) = inventories(place)
    objects, copies = [], []
    for row in pack_rows(place):
        for line in index_path(place, row).read_bytes().splitlines():
            member = json.loads(line)
            if set(member) == {"blake3", "offset", "size"}:
                place_of = f"{member['blake3']} {row.pack} {member['offset']} {member['size']}"
                objects.append(f"object {row.fonds} {place_of}".encode())
    for event in place.open().ledger.records():
        if event.event.type == EventType.REPLICATION:
            detail = event.event.detail
            copies.append(f"copy {detail['pack']} {detail['store']} {detail['generation']}".encode())
    detail = record.event.detail
    assert (detail["objects"], detail["objects_hash"]) == (len(objects), set_hash(objects))
    assert (detail["copies"], detail["copies_hash"]) == (4, set_hash(copies))
    assert (detail["differences"], record.event.outcome, detail["at"]) == (0, "success", record.seq)


def test_what_is_signed_does_not_depend_on_the_catalog(tmp_path):
    place = small(tmp_path)
    inventory.commit(place.open())
    change(place, dict.fromkeys(key for key in catalog_rows(place) if not key.startswith(b"store/")))
    found = inventory.commit(place.open())
    before, after = (record.event.detail for record in inventories(place))
    kept = ("objects", "objects_hash", "copies", "copies_hash")
    assert [before[name] for name in kept] == [after[name] for name in kept]
    assert after["differences"] == len(found) > 40
    assert inventories(place)[-1].event.outcome == "failure"


def test_it_is_due_once_a_day_and_whenever_the_catalog_points_elsewhere(tmp_path):
    place = small(tmp_path)
    assert inventory.is_due(place.open())
    inventory.commit(place.open())
    assert not inventory.is_due(place.open())
    place.clock.pass_by(hours=23)
    assert not inventory.is_due(place.open())
    key = b"mark/inventory"
    right = catalog_rows(place)[key]
    for wrong in (
        None,
        right.replace(b'"value":"', b'"value":"9'),
        rows.MarkRow(name="inventory", value="0").to_bytes(),
    ):
        change(place, {key: wrong})
        assert inventory.is_due(place.open())
    change(place, {key: right})
    place.clock.pass_by(hours=1)
    assert inventory.is_due(place.open())
    inventory.commit(place.open())
    place.clock.pass_by(days=-3_650)
    assert inventory.is_due(place.open()), "the last one is of the future"
    inventory.commit(place.open())
    assert not inventory.is_due(place.open())


def test_only_packs_that_came_or_went_are_read_again_after_an_inventory(tmp_path, monkeypatch):
    place = small(tmp_path)
    inventory.commit(place.open())
    submit_files(place, {"ba": b"third words"}, "third")
    read = []
    of_pack = inventory._of_pack
    monkeypatch.setattr(
        inventory, "_of_pack", lambda repository, row: (read.append(row.pack), of_pack(repository, row))[1]
    )
    assert not compared(place).differences.counts
    (new,) = {row.pack for row in pack_rows(place)} & set(read)
    assert read == [new]


def test_an_inventory_that_ledger_and_indexes_contradict_is_said_and_replaced(tmp_path):
    place = small(tmp_path)
    inventory.commit(place.open())
    wrong = {**inventories(place)[0].event.detail, "objects_hash": "0" * 512}
    repository = place.open()
    repository.record([repository.event(EventType.INVENTORY, **{**wrong, "at": repository.ledger.size})])
    report = audit(place)
    assert [(one.code, one.is_open) for one in report.findings if one.is_open] == [(Code.LEDGER_DAMAGED, True)]
    assert not [one for one in audit(place).findings if one.is_open]


def test_a_contradiction_is_said_beside_a_catalog_that_is_made_anew(tmp_path):
    place = small(tmp_path)
    inventory.commit(place.open())
    wrong = {**inventories(place)[0].event.detail, "objects_hash": "0" * 512}
    repository = place.open()
    repository.record([repository.event(EventType.INVENTORY, **{**wrong, "at": repository.ledger.size})])
    change(place, {next(key for key in catalog_rows(place) if key.startswith(b"object/")): None})
    report = audit(place)
    told = [one for one in report.findings if one.code is not Code.STORES_NOT_INDEPENDENT]
    assert {(Code.CATALOG_DIFFERS, False), (Code.LEDGER_DAMAGED, True)} == {(one.code, one.is_open) for one in told}


def test_packs_that_were_given_up_leave_the_inventory(place):
    states = {row.state for row in pack_rows(place)}
    assert {"live", "pending", "abandoned", "salvaged"} <= states
    repository = place.open()
    with repository.reading() as view:
        size = repository.ledger.size
        with anew.Anew(repository, size, objects=False) as found:
            since = inventory._since_base(repository, found)
            assert since.is_as(inventory._of_all(repository, found))
        count = sum(len(rows.locations(value)) for _, value in view.scan(b"object/"))
    assert since.count == count


def test_a_ledger_too_long_for_memory_is_gone_through_on_the_disk(place, monkeypatch):
    monkeypatch.setattr(anew, "CHANGES_AT_ONCE", 50)
    before = sorted((place.folder / "repo" / "staging").iterdir())
    assert not compared(place).differences.counts
    key = next(key for key in catalog_rows(place) if key.startswith(b"copy/"))
    value = catalog_rows(place)[key]
    change(place, {key: None})
    assert named(compared(place).differences) == {("missing", key)}
    change(place, {key: value})
    assert sorted((place.folder / "repo" / "staging").iterdir()) == before


def test_copies_of_packs_that_are_expected_nowhere_are_not_counted(place):
    held = {(row.pack, row.store) for row in copy_rows(place)}
    assert compared(place).copies.count == len(held)


def test_the_sum_of_a_set_depends_on_no_order():
    lines = [inventory.Lines(1, int(sha256(b"%d" % number).hexdigest(), 16)) for number in range(9)]
    forward = backward = inventory.Lines()
    for one, other in zip(lines, reversed(lines), strict=True):
        forward, backward = forward + one, backward + other
    assert forward.is_as(backward)
    assert (forward - lines[3] + lines[3]).is_as(forward)
    assert not (forward - lines[3]).is_as(forward)
    assert dataclasses.replace(forward, total=forward.total + 2**2048).is_as(forward)
