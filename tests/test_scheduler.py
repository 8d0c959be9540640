"""What is due, and when: replication first, audits by age and window, one thing at a time."""

import threading
from datetime import UTC, datetime

import pytest
from repository_support import audit, configure, copy_rows, flip, made, pack_file, pack_rows, submit_files

from audits.scheduler import in_window, run_due, serve
from preservation import attachment
from preservation.configuration import AuditPolicy, ConfigurationError


@pytest.fixture
def place(tmp_path):
    place = made(tmp_path)
    submit_files(place, {b"a.txt": b"one"})
    return place


def run(place):
    heard = []
    run_due(place.open(), lambda name, result: heard.append((name, result)))
    return heard


def test_a_repository_that_was_never_audited_is_due(place):
    heard = run(place)

    assert ["audit"] == [name for name, _ in heard]
    assert 2 == heard[0][1].coverage.verified


def test_what_was_just_audited_is_not_due(place):
    audit(place)

    assert [] == run(place)


def test_after_an_eighth_of_the_age_the_next_audit_is_due_and_reads_only_what_is_old(place):
    audit(place)
    place.clock.pass_by(days=12)

    ((_, report),) = run(place)

    assert {"age": 2} == report.coverage.skipped_reasons


def test_every_copy_is_verified_within_the_age(place):
    audit(place)
    for _ in range(40):
        place.clock.pass_by(days=3)
        run(place)
        oldest = min(datetime.fromisoformat(row.verified) for row in copy_rows(place))
        assert (place.clock() - oldest).days <= 90


def test_a_new_store_is_filled_before_the_audit(place):
    attachment.add(place.open(), "c", place.url("c"), site="c")

    assert ["replicate", "audit"] == [name for name, _ in run(place)]


def test_damage_is_healed_when_its_turn_comes(place):
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 900)

    ((_, report),) = run(place)

    assert 1 == report.coverage.repaired


def test_serving_once_runs_what_is_due_and_ends(place):
    heard = []

    serve(
        place.open, once=True, stopping=threading.Event(), told=lambda name, _: heard.append(name), failed=heard.append
    )

    assert ["audit"] == heard


def test_serving_on_runs_what_is_due_and_ends_when_told_to(place):
    stopping, heard = threading.Event(), []

    def told(name, _result):
        heard.append(name)
        stopping.set()

    service = threading.Thread(
        target=serve,
        args=(place.open,),
        kwargs={"once": False, "stopping": stopping, "told": told, "failed": heard.append},
    )
    service.start()
    service.join(timeout=30)

    assert not service.is_alive()
    assert ["audit"] == heard


def test_a_piece_of_work_that_fails_is_told_and_the_service_goes_on(place):
    (place.folder / "repo" / "catalog" / "CURRENT").unlink()
    stopping, failures = threading.Event(), []

    def failed(error):
        failures.append(type(error).__name__)
        stopping.set()

    serve(place.open, once=False, stopping=stopping, told=lambda *_: None, failed=failed)

    assert ["CatalogDamagedError"] == failures


@pytest.mark.parametrize(
    ("window", "hour", "is_open"),
    [
        ("", 12, True),
        ("22:00-05:00", 23, True),
        ("22:00-05:00", 4, True),
        ("22:00-05:00", 12, False),
        ("08:00-17:00", 12, True),
        ("08:00-17:00", 17, False),
    ],
)
def test_a_window_may_go_past_midnight(window, hour, is_open):
    assert is_open == in_window(AuditPolicy(window=window), datetime(2026, 1, 1, hour, tzinfo=UTC))


def test_a_window_that_is_none_is_an_error():
    with pytest.raises(ConfigurationError):
        in_window(AuditPolicy(window="nights"), datetime(2026, 1, 1, 3, tzinfo=UTC))


def test_outside_the_window_no_audit_begins(place):
    configure(place, 'window = ""', 'window = "00:00-00:00"')

    assert [] == run(place)
