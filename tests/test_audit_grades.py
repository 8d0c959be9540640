"""Grades of evidence and samples: none is ever shown as another, and nothing counts as verified that nobody read."""

import dataclasses
import json
import os

import pytest
from kept_support import brought_back
from repository_support import (
    Place,
    audit,
    catalog_rows,
    copy_rows,
    flip,
    made,
    open_findings,
    overwrite,
    pack_file,
    pack_rows,
    store_rows,
    submit_files,
)

from audits.findings import Code
from audits.sampling import SampleError, SampleGradeError, at_most
from preservation.catalog.rows import CopyRow
from preservation.checking import Grade
from preservation.ledger.events import EventType

TIMES = ("verified", "seen_good", "checked", "reach", "state", "generation")


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def beginning(folder):
    place = made(folder)
    submit_files(place, {b"a/one.txt": b"one", b"b.txt": b"two" * 1000}, name="first")
    submit_files(place, {b"c.txt": b"three"}, name="second")
    return place


def times(place):
    return [tuple(getattr(row, name) for name in TIMES) for row in copy_rows(place)]


def checks(place):
    return [record.event.detail for record in place.open().ledger.records() if record.event.type == "fixity check"]


def closings(place):
    kind = EventType.AUDIT_RUN_CLOSED
    return [record.event.detail for record in place.open().ledger.records() if record.event.type == kind]


# ---- inventory ---------------------------------------------------------------------------------------------------


def test_a_pass_over_the_inventory_verifies_nothing_and_reads_nothing(place):
    before = times(place)
    report = audit(place, grade=Grade.INVENTORY)
    assert (report.coverage.expected, report.coverage.verified, report.coverage.present) == (4, 0, 4)
    assert (report.coverage.skipped, report.coverage.skipped_reasons) == (4, {"not-read": 4})
    assert (report.coverage.grade, report.complete, report.exit_status) == ("inventory", False, 0)
    assert times(place) == before
    assert {(one["grade"], one["verdict"], one["bytes"], one["reach"]) for one in checks(place)} == {
        ("inventory", "present", 0, "")
    }
    assert closings(place)[-1]["verified"] == 0


def test_a_pass_over_the_inventory_is_not_the_last_audit(place):
    audit(place, grade=Grade.INVENTORY)
    assert b"mark/last audit" not in catalog_rows(place)


def test_a_pass_over_the_inventory_makes_no_age_younger(place):
    audit(place)
    place.clock.pass_by(days=10)
    audit(place, grade=Grade.INVENTORY)
    assert audit(place, max_age_days=9).coverage.verified == 4


def test_bits_that_rot_in_place_are_not_seen_by_an_inventory_and_not_called_good(place):
    flip(pack_file(place, "a", pack_rows(place)[0]), 700)
    report = audit(place, grade=Grade.INVENTORY)
    assert (report.coverage.damaged, report.coverage.verified, report.coverage.present) == (0, 0, 4)


def test_a_copy_that_is_gone_is_missing_for_an_inventory_too_and_is_healed(place):
    path = pack_file(place, "a", pack_rows(place)[0])
    right = path.read_bytes()
    path.unlink()
    report = audit(place, grade=Grade.INVENTORY)
    assert (report.coverage.missing, report.coverage.present, report.coverage.repaired) == (1, 3, 1)
    assert (report.exit_status, path.read_bytes()) == (0, right)


@pytest.mark.parametrize("size", [0, 100, None])
def test_a_copy_of_another_size_is_damaged_for_an_inventory_too(place, size):
    row = pack_rows(place)[0]
    path = pack_file(place, "a", row)
    data = path.read_bytes()
    overwrite(path, data + b"x" if size is None else data[:size])
    report = audit(place, grade=Grade.INVENTORY, repair=False)
    assert (report.coverage.damaged, report.exit_status) == (1, 3)
    (state,) = [
        one.state for one in copy_rows(place) if (one.pack, one.store) == (row.pack, store_rows(place)["a"].store)
    ]
    assert state == "damaged"


def test_present_is_never_good_for_a_copy_that_was_seen_bad(place):
    flip(pack_file(place, "a", pack_rows(place)[0]), 700)
    audit(place, repair=False)
    audit(place, grade=Grade.INVENTORY, repair=False)
    assert sorted(one.state for one in copy_rows(place)) == ["damaged", "good", "good", "good"]


def test_a_store_that_is_away_is_unreadable_for_an_inventory_too(place):
    place.store("b").rename(place.folder / "away")
    report = audit(place, grade=Grade.INVENTORY)
    assert (report.coverage.unreadable, report.coverage.missing, report.coverage.present) == (2, 0, 2)
    assert report.exit_status == 3


def test_a_copy_that_was_written_anew_behind_our_back_is_told(place):
    row = pack_rows(place)[0]
    path = pack_file(place, "a", row)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    report = audit(place, grade=Grade.INVENTORY)
    assert [(one.code, one.store, one.pack) for one in report.findings if one.pack] == [
        (Code.GENERATION_CHANGED, "a", row.pack)
    ]
    assert not [one for one in audit(place, grade=Grade.INVENTORY, stores=("b",)).findings if one.pack]


def test_strangers_are_seen_by_an_inventory_and_sidecars_are_not_read(place):
    (place.store("a") / "packs" / "visitor.tar").write_bytes(b"not ours")
    for path in (place.store("a") / "indexes").rglob("*.jsonl"):
        flip(path, 5)
    report = audit(place, grade=Grade.INVENTORY, repair=False)
    assert open_findings(report) == [("item-unexpected", "a", "packs/visitor.tar")]


# ---- provider ----------------------------------------------------------------------------------------------------


def test_a_digest_by_a_provider_is_never_made_up(place):
    report = audit(place, grade=Grade.PROVIDER)
    assert (report.coverage.expected, report.coverage.verified, report.coverage.skipped) == (4, 0, 4)
    assert report.coverage.skipped_reasons == {"no-provider-checksum": 4}
    assert [(one.store, one.is_open) for one in report.findings if one.code is Code.GRADE_UNAVAILABLE] == [
        ("a", True),
        ("b", True),
    ]
    assert (report.exit_status, report.complete, checks(place)) == (3, False, [])


# ---- the budget and the last audit -------------------------------------------------------------------------------


def test_an_audit_that_ended_early_is_not_the_last_audit(place):
    report = audit(place, bytes=1)
    assert report.coverage.skipped
    assert b"mark/last audit" not in catalog_rows(place)
    audit(place, max_age_days=1)
    assert b"mark/last audit" in catalog_rows(place), "all were read within a day"


# ---- samples -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    place = made(tmp_path_factory.mktemp("many") / "p")
    for number in range(12):
        submit_files(place, {b"%d" % number: b"%d" % number * 50}, name=f"s{number}")
    return place


def test_a_sample_reads_so_many_copies_and_calls_the_others_skipped(many):
    before = {(row.pack, row.store): row.verified for row in copy_rows(many)}
    report = audit(many, sample="10")
    after = {(row.pack, row.store): row.verified for row in copy_rows(many)}
    assert (report.coverage.expected, report.coverage.verified, report.coverage.skipped) == (24, 10, 14)
    assert report.coverage.skipped_reasons == {"not-sampled": 14}
    assert sum(after[key] != before[key] for key in before) == 10
    assert (report.complete, b"mark/last audit" in catalog_rows(many)) == (False, False)
    sample = report.sample
    assert [(one.store, one.age, one.population, one.looked) for one in sample.strata] == [
        (name, "0-1", 12, 5) for name in sorted(("a", "b"), key=lambda name: store_rows(many)[name].store)
    ]
    assert (sample.population, sample.looked, sample.bad) == (24, 10, 0)
    assert all(one.at_most == at_most(12, 5, 0) for one in sample.strata)
    assert max(one.at_most for one in sample.strata) <= sample.at_most <= 14
    recorded = closings(many)[-1]["sample"]
    assert [dataclasses.asdict(one) for one in sample.strata] == recorded


def test_each_run_draws_another_sample(many):
    drawn = []
    for _ in range(2):
        report = audit(many, sample="25%")
        assert report.coverage.verified == 6
        drawn.append({(one["pack"], one["store"]) for one in checks(many) if one["run"] == report.run})
    assert drawn[0] != drawn[1]


def test_copies_read_because_another_was_bad_are_not_in_the_figures_of_the_sample(tmp_path):
    place = made(tmp_path)
    for number in range(6):
        submit_files(place, {b"%d" % number: b"%d" % number * 50}, name=f"s{number}")
    for row in pack_rows(place):
        flip(pack_file(place, "a", row), 700)
    report = audit(place, sample="4", repair=False)
    by_store = {one.store: one for one in report.sample.strata}
    assert (by_store["a"].looked, by_store["a"].bad, by_store["b"].looked, by_store["b"].bad) == (2, 2, 2, 0)
    assert report.coverage.verified > by_store["b"].looked - 1
    assert report.coverage.verified + report.coverage.damaged >= 4


def test_a_sample_cut_short_speaks_only_of_what_was_read(many):
    report = audit(many, sample="20", bytes=1)
    assert report.sample.looked == report.coverage.verified <= 2
    assert report.coverage.skipped_reasons["bytes"] == 20 - report.sample.looked
    assert report.sample.at_most >= 20


def test_a_sample_that_was_asked_for_wrongly_is_an_error(many):
    with pytest.raises(SampleError):
        audit(many, sample="0")
    with pytest.raises(SampleGradeError):
        audit(many, sample="3", grade=Grade.INVENTORY)


# ---- one bad copy and the others ---------------------------------------------------------------------------------


def test_after_a_bad_copy_the_others_of_its_pack_are_read_at_once(tmp_path):
    place = made(tmp_path, store_names=("a", "b", "c"))
    for number in range(8):
        submit_files(place, {b"%d" % number: b"%d" % number * 50}, name=f"s{number}")
    row = pack_rows(place)[3]
    flip(pack_file(place, "a", row), 700)
    report = audit(place, stores=("a",), repair=False)
    found = [one for one in checks(place) if one["run"] == report.run]
    (at,) = [number for number, one in enumerate(found) if one["verdict"] == "damaged"]
    names = {store.store: name for name, store in store_rows(place).items()}
    others = found[at + 1 : at + 3]
    assert [(one["pack"], one["verdict"], one["additional"]) for one in others] == [(row.pack, "verified", True)] * 2
    assert {names[one["store"]] for one in others} == {"b", "c"}
    assert sum(one.get("additional", False) for one in found) == 2
    assert (report.coverage.expected, report.coverage.verified, report.coverage.damaged) == (8, 7, 1)


def test_copies_that_age_would_have_passed_over_are_read_when_another_is_bad(place):
    audit(place, stores=("b",))
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 700)
    report = audit(place, max_age_days=30, repair=False)
    assert report.coverage.skipped_reasons == {"age": 1}
    assert (report.coverage.verified, report.coverage.damaged) == (2, 1)


def test_a_missing_copy_in_an_inventory_has_the_others_read(place):
    row = pack_rows(place)[0]
    pack_file(place, "a", row).unlink()
    flip(pack_file(place, "b", row), 700)
    report = audit(place, grade=Grade.INVENTORY, repair=False)
    assert {(str(one.code), one.store) for one in report.findings if one.is_open} == {
        ("copy-missing", "a"),
        ("copy-damaged", "b"),
    }
    assert (report.coverage.missing, report.coverage.damaged, report.coverage.present) == (1, 0, 3)
    (extra,) = [one for one in checks(place) if one.get("additional")]
    assert (extra["grade"], extra["verdict"]) == ("bytes", "damaged")


def test_a_pack_that_is_bad_everywhere_is_read_once_on_each_store(place):
    row = pack_rows(place)[0]
    for name in ("a", "b"):
        flip(pack_file(place, name, row), 700)
    report = audit(place, repair=False)
    assert report.coverage.damaged == 2
    found = [(one["pack"], one["store"]) for one in checks(place) if one["run"] == report.run]
    assert len(found) == len(set(found)) == 4


# ---- older rows --------------------------------------------------------------------------------------------------


def test_rows_and_events_from_before_there_were_grades_are_understood(place):
    audit(place)
    row = copy_rows(place)[0]
    assert CopyRow.from_bytes(row.to_bytes()) == row
    repository = Place(place.folder).open()
    detail = {key: value for key, value in checks(place)[0].items() if key != "grade"}
    repository.record([repository.event(EventType.FIXITY_CHECK, **detail)])
    after = {(one.pack, one.store): one.verified for one in copy_rows(place)}
    assert after[detail["pack"], detail["store"]] > row.verified or detail["pack"] != row.pack
    assert json.loads(row.to_bytes())["verified"]
