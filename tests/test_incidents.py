"""Incidents: opened once for a dying disk, followed run by run, closed only by who looked."""

import pytest
from cli_support import mocban
from damage_support import members_of
from kept_support import brought_back
from repository_support import (
    FONDS,
    audit,
    catalog_rows,
    flip,
    made,
    pack_file,
    pack_rows,
    rebuilt_rows,
    store_rows,
    submit_files,
)

from audits.coverage import Scope
from audits.incidents import (
    IncidentClosedError,
    NoSuchIncidentError,
    Reason,
    close,
    follow,
    incident_named,
    incidents,
)
from commands.watching import _REASONS
from preservation import attachment, fonds
from preservation.ledger.events import EventType
from preservation.packs.members import Kind


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def beginning(folder):
    place = made(folder)
    for number in range(3):
        submit_files(place, {f"{number}.txt": b"%d" % number * 1000}, name=f"submission {number}")
    return place


def looked(place, *, repair=False, **scope):
    """Audit and follow the incidents, as an audit does at its end."""
    report = audit(place, repair=repair, **scope)
    follow(place.open(), report, Scope(**scope))
    return report


def open_ones(place):
    return [(row.code, store_name(place, row), row.count) for row in standing(place)]


def standing(place):
    with place.open().reading() as view:
        return incidents(view)


def every(place):
    with place.open().reading() as view:
        return incidents(view, every=True)


def store_name(place, row):
    return next((name for name, store in store_rows(place).items() if store.store == row.store), "")


def spoil(place, store="a", count=None):
    for row in pack_rows(place)[:count]:
        flip(pack_file(place, store, row), 700)


def spoil_content(place, *stores):
    row = pack_rows(place)[0]
    (content,) = [one for one in members_of(place, row, "a") if one.kind is Kind.CONTENT]
    for store in stores:
        flip(pack_file(place, store, row), content.offset)


def away(place, store):
    place.store(store).rename(place.folder / f"{store} away")


def back(place, store):
    (place.folder / f"{store} away").rename(place.store(store))


def events(place, kind):
    return [record.event.detail for record in place.open().ledger.records() if record.event.type == kind]


def test_damage_that_is_healed_at_once_is_no_incident(place):
    spoil(place)
    assert 3 == looked(place, repair=True).coverage.repaired
    assert [] == every(place)


def test_many_damaged_copies_on_a_disk_are_one_incident_with_a_count(place):
    spoil(place)
    looked(place)

    assert [("copy-damaged", "a", 3)] == open_ones(place)
    assert "" == standing(place)[0].pack


def test_an_incident_about_one_pack_names_it(place):
    spoil(place, count=1)
    report = looked(place)

    assert [pack_rows(place)[0].pack] == [row.pack for row in standing(place)]
    assert [report.run] == [row.run for row in standing(place)]


def test_the_same_damage_in_the_next_run_is_the_same_incident_and_no_event(place):
    spoil(place)
    looked(place)
    before = standing(place)
    looked(place)
    looked(place)

    assert before == standing(place)
    assert 1 == len(events(place, EventType.INCIDENT_OPENED))
    assert [] == events(place, EventType.INCIDENTS_SEEN)


def test_more_of_it_is_recorded_in_one_event_and_the_most_is_remembered(place):
    spoil(place, count=1)
    spoil(place, "b", count=1)
    looked(place)
    spoil(place, count=3)  # the first is right again
    spoil(place, "b", count=3)
    looked(place)

    assert [("copy-damaged", "a", 2), ("copy-damaged", "b", 2)] == sorted(open_ones(place))
    assert ["", ""] == [row.pack for row in standing(place)]
    assert 1 == len(events(place, EventType.INCIDENTS_SEEN))
    assert {2} == {row.most for row in standing(place)}


def test_what_stays_is_recorded_as_seen_once_a_day(place):
    spoil(place)
    looked(place)
    for _ in range(4):
        place.clock.pass_by(hours=13)
        looked(place)

    assert 2 == len(events(place, EventType.INCIDENTS_SEEN))
    assert standing(place)[0].opened < standing(place)[0].seen


def test_a_repair_closes_it_as_healed(place):
    spoil(place)
    looked(place)
    looked(place, repair=True)

    assert [] == open_ones(place)
    (row,) = every(place)
    assert ("healed", 3, 3) == (row.how, row.count, row.most)
    assert row.opened < row.closed


def test_what_comes_back_is_a_new_incident(place):
    spoil(place)
    looked(place)
    looked(place, repair=True)
    spoil(place)
    looked(place)

    assert 2 == len(every(place))
    assert [("copy-damaged", "a", 3)] == open_ones(place)


def test_a_run_over_another_store_or_fonds_closes_nothing(place):
    fonds.open_fonds(place.open(), "F2", "another")
    (place.store("a") / "packs" / "visitor.tar").write_bytes(b"not ours")
    spoil(place)
    looked(place)
    before = {("copy-damaged", "a", 3), ("item-unexpected", "a", 1)}
    assert before == set(open_ones(place))
    (place.store("a") / "packs" / "visitor.tar").unlink()

    looked(place, stores=("b",))
    looked(place, fonds=("F2",))
    looked(place, fonds=(FONDS,))
    assert before == set(open_ones(place))

    looked(place, stores=("a",))
    assert {("copy-damaged", "a", 3)} == set(open_ones(place))
    assert ["gone"] == [row.how for row in every(place) if row.closed]


def test_a_run_that_had_no_time_closes_nothing_that_it_did_not_see(place):
    spoil(place)
    looked(place)
    for row in pack_rows(place):
        flip(pack_file(place, "a", row), 700)
    looked(place, seconds=0.0)

    assert [("copy-damaged", "a", 3)] == open_ones(place)


def test_a_store_that_is_away_is_one_incident_and_closes_nothing_of_its_own(place):
    (place.store("a") / "packs" / "visitor.tar").write_bytes(b"not ours")
    spoil(place)
    looked(place)
    away(place, "a")
    looked(place)

    expected = {("store-unavailable", "a", 1), ("item-unexpected", "a", 1), ("copy-damaged", "a", 3)}
    assert expected == set(open_ones(place))
    back(place, "a")
    looked(place, repair=True)
    assert [] == open_ones(place)
    assert {"store-unavailable": "gone", "item-unexpected": "healed", "copy-damaged": "healed"} == {
        row.code: row.how for row in every(place)
    }


def test_a_store_that_is_given_up_takes_its_incidents_with_it(tmp_path):
    place = made(tmp_path, store_names=("a", "b", "c"))
    submit_files(place, {"one": b"1"})
    away(place, "a")
    looked(place)
    assert [("store-unavailable", "a", 1)] == open_ones(place)
    attachment.detach(place.open(), "a", lost=True)
    looked(place, stores=("b",))

    assert ["gone"] == [row.how for row in every(place)]


def test_lost_objects_are_an_incident_with_their_number(place):
    spoil_content(place, "a", "b")
    looked(place, repair=True)

    assert [("objects-lost", "", 1)] == open_ones(place)


def test_a_failed_repair_stays_open_until_the_copies_are_good(place):
    spoil_content(place, "a")
    away(place, "b")
    looked(place, repair=True)
    assert {"copy-damaged", "repair-failed", "store-unavailable"} == {row.code for row in standing(place)}
    looked(place)
    assert {"copy-damaged", "repair-failed", "store-unavailable"} == {row.code for row in standing(place)}
    back(place, "b")
    looked(place, repair=True)
    assert [] == open_ones(place)


def test_what_a_person_explains_is_not_opened_again_until_there_is_more(place):
    spoil(place, count=1)
    looked(place)
    (row,) = standing(place)
    closed = close(place.open(), row.incident[:13], Reason.FALSE_ALARM)
    assert ("explained", "false-alarm") == (closed.how, closed.reason)
    looked(place)
    assert [] == open_ones(place)

    for other in pack_rows(place)[1:]:
        flip(pack_file(place, "a", other), 700)
    looked(place)
    assert [("copy-damaged", "a", 3)] == open_ones(place)


def test_what_a_person_explained_is_opened_again_after_it_was_gone(place):
    away(place, "b")
    looked(place)
    close(place.open(), standing(place)[0].incident, Reason.PLANNED)
    looked(place)
    assert [] == open_ones(place)
    back(place, "b")
    looked(place, repair=True)
    assert [True] == [bool(row.ended) for row in every(place)]
    assert ["explained"] == [row.how for row in every(place)]
    away(place, "b")
    looked(place)
    assert [("store-unavailable", "b", 1)] == open_ones(place)


def test_an_incident_is_closed_once_and_must_exist(place):
    spoil(place)
    looked(place)
    (row,) = standing(place)
    close(place.open(), row.incident, Reason.REPLACED)
    with pytest.raises(IncidentClosedError):
        close(place.open(), row.incident, Reason.REPLACED)
    for name in ("", "zz"):
        with pytest.raises(NoSuchIncidentError):
            close(place.open(), name, Reason.REPLACED)


def test_a_name_must_be_the_beginning_of_one_incident_only(place):
    spoil(place)
    spoil(place, "b")
    looked(place)
    one, other = standing(place)
    with place.open().reading() as view:
        with pytest.raises(NoSuchIncidentError):
            incident_named(view, one.incident[:4])
        assert other == incident_named(view, other.incident)


def test_a_rebuilt_catalog_has_the_same_incidents(place):
    spoil(place)
    looked(place)
    away(place, "b")
    looked(place)
    close(place.open(), standing(place)[0].incident, Reason.PLANNED)
    place.clock.pass_by(days=2)
    looked(place)
    back(place, "b")
    looked(place, repair=True)

    assert catalog_rows(place) == rebuilt_rows(place)


def test_the_ledger_holds_identifiers_codes_and_counts_only(place):
    (place.store("a") / "packs" / "Nguyễn Văn A.tar").write_bytes(b"not ours")
    spoil(place)
    looked(place)
    close(place.open(), standing(place)[0].incident, Reason.PLANNED)
    data = b"".join(place.open().ledger.raw_records())

    assert "Nguyễn".encode() not in data
    assert [{"incident", "code", "store", "pack", "count", "run"}] * 2 == [
        set(one) for one in events(place, EventType.INCIDENT_OPENED)
    ]
    (closed,) = events(place, EventType.INCIDENT_CLOSED)
    assert {"incident", "how", "reason"} == set(closed)


def test_the_commands_list_show_and_close(place):
    assert "No incident is open" in mocban("-C", place.path, "incident", "list").out
    spoil(place, count=1)
    looked(place)
    (listed,) = mocban("-C", place.path, "incident", "list", "--json").json
    assert ("copy-damaged", "a", 1, "") == (listed["code"], listed["store_name"], listed["count"], listed["closed"])
    assert ["mocban", "repair", pack_rows(place)[0].pack] == listed["next"]
    assert listed["incident"] in mocban("-C", place.path, "incident", "list").out
    said = mocban("-C", place.path, "incident", "show", listed["incident"][:18])
    assert f"next: mocban repair {listed['pack']}" in said.out
    assert "a dying disk" in said.out
    assert 2 == mocban("-C", place.path, "incident", "close", listed["incident"], "--reason", "because").status
    said = mocban("-C", place.path, "incident", "close", listed["incident"], "--reason", "replaced", "--json")
    assert ("explained", "replaced", []) == (said.json["how"], said.json["reason"], said.json["next"])
    assert [] == mocban("-C", place.path, "incident", "list", "--json").json
    assert 1 == len(mocban("-C", place.path, "incident", "list", "--all", "--json").json)
    assert "explained" in mocban("-C", place.path, "incident", "show", listed["incident"]).out
    said = mocban("-C", place.path, "incident", "show", "nope")
    assert 1 == said.status
    assert "mocban incident list --all" in said.err


def test_every_reason_of_the_command_is_one_of_the_ledger():
    assert [str(reason) for reason in Reason] == sorted(_REASONS)
