"""A clock that goes back: events keep their order, the jump is recorded once, and the doctor says so."""

from datetime import UTC, datetime, timedelta

import pytest
from repository_support import audit, made, submit_files

from audits.doctor import examine
from preservation.ledger.checking import check_ledger
from preservation.ledger.events import EventType

YEARS = timedelta(days=3650)


@pytest.fixture
def place(tmp_path):
    place = made(tmp_path)
    submit_files(place, {b"a.txt": b"one"})
    return place


def record(place, count=1):
    repository = place.open()
    return repository.record([repository.event(EventType.VALIDATION) for _ in range(count)])


def jumps(place):
    return [one for one in place.open().ledger.records() if one.event.type == EventType.CLOCK_SKEW]


def symptoms(place):
    return {one.code: one.severity for one in examine(place.path, place.world)}


def test_a_jump_back_is_recorded_once_before_the_events_that_follow_it(place):
    before = max(one.time for one in place.open().ledger.records())
    place.clock.now -= YEARS
    (event,) = record(place)
    record(place, 3)

    (jump,) = jumps(place)
    assert event.seq == jump.seq + 1
    assert EventType.VALIDATION == event.event.type
    assert "warning" == jump.event.outcome
    assert YEARS - timedelta(seconds=5) < timedelta(seconds=jump.event.detail["seconds"]) <= YEARS
    assert before == datetime.fromisoformat(jump.event.detail["before"])
    records = list(place.open().ledger.records())
    assert list(range(len(records))) == [one.seq for one in records]
    assert [] == list(check_ledger(place.path + "/ledger"))


def test_small_differences_and_jumps_ahead_are_not_recorded(place):
    place.clock.now -= timedelta(minutes=4, seconds=50)
    record(place)
    place.clock.now += YEARS
    record(place)
    assert [] == jumps(place)
    place.clock.now -= YEARS
    record(place)
    assert 1 == len(jumps(place))


def test_a_jump_is_seen_by_a_process_that_did_not_write_the_last_event_and_after_sealing(place):
    place.clock.now -= YEARS
    record(place)
    place.clock.now -= YEARS
    with place.open().ledger.writing(5) as writer:
        writer.seal_if_due(force=True)
    place.clock.now -= YEARS
    record(place)
    assert 3 == len(jumps(place))
    assert [] == list(check_ledger(place.path + "/ledger"))


def test_the_doctor_says_that_the_clock_is_behind_until_the_ledger_knows(place):
    assert "clock-behind" not in symptoms(place)
    place.clock.now -= timedelta(minutes=4)
    assert "clock-behind" not in symptoms(place)
    place.clock.now -= YEARS
    assert "error" == symptoms(place)["clock-behind"]
    record(place)
    assert "clock-behind" not in symptoms(place)


def test_audits_go_on_whatever_the_clock_says(place):
    for jump in (-YEARS, YEARS * 2, -YEARS, timedelta(days=-1)):
        place.clock.now += jump
        report = audit(place)
        assert 2 == report.coverage.verified
        assert 0 == report.exit_status
    assert datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=2) < place.clock.now
