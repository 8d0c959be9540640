"""What the service does: everything that is due, nothing twice, and nothing that fails stops the rest."""

import json
import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from kept_support import brought_back
from repository_support import audit, configure, copy_rows, flip, made, overwrite, pack_file, pack_rows, submit_files
from sizes import sampled

from audits import duties
from audits.duties import DUTIES, Duty, Watch
from audits.heartbeat import Heartbeat, read_heartbeat
from audits.pacing import standing
from audits.pauses import pause, resume
from audits.scheduler import AlreadyServingError, run_due, serve
from audits.timeline import timeline
from preservation import attachment
from preservation.stopping import StoppedError
from storage_backends.errors import MocbanError

ROUTINE = {"formats", "housekeeping", "sweep", "evidence", "inventory", "deadlines"}
"""What is due every day or week, whatever is held."""


FEW = tuple(duty for duty in DUTIES if duty.name in {"clock", "replicate", "audit"})
"""The duties that read copies; the others take their time day by day."""


class BrokenError(MocbanError):
    """Something that does not work."""

    template = "{what} does not work"


def watch(place, heartbeat=None, **more):
    heard, failures = [], []
    found = Watch(
        place.open,
        lambda name, result: heard.append((name, result)),
        lambda name, error: failures.append((name, error)),
        heartbeat or read_heartbeat(place.open()),
        **more,
    )
    return found, heard, failures


def run(place, **more):
    """Come round once, with a service that has just been started; return what it did beside its routine."""
    found, heard, failures = watch(place, **more)
    run_due(found)
    assert [] == [(name, str(error)) for name, error in failures]
    return [(name, result) for name, result in heard if name not in ROUTINE]


def names(heard):
    return [name for name, _ in heard if name != "formats"]  # nobody has identified these files, which is told daily


def beginning(folder):
    place = made(folder)
    submit_files(place, {b"a.txt": b"one"})
    return place


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def failing(monkeypatch, name, error):
    """Let one duty be due and fail."""

    def fail(_repository, _watch):
        raise error

    table = [Duty(name, lambda *_: True, fail) if one.name == name else one for one in DUTIES]
    assert name in [one.name for one in table]
    monkeypatch.setattr("audits.scheduler.DUTIES", tuple(table))


# ---- what is due -------------------------------------------------------------------------------------------------


def test_new_copies_are_read_at_once(place):
    heard = run(place)
    assert ["audit"] == names(heard)
    assert 2 == heard[0][1].coverage.verified


def test_what_was_just_read_is_not_due(place):
    audit(place)
    assert [] == run(place)


def test_every_copy_is_verified_within_two_thirds_of_its_age(place, monkeypatch):
    audit(place)
    monkeypatch.setattr("audits.scheduler.DUTIES", FEW)
    found, heard, failures = watch(place)
    for _ in range(50):
        place.clock.pass_by(days=4)
        run_due(found)
        assert standing(place.open()).stores[0].oldest_age_days < 0.75 * 90
    reads = [name for name in names(heard) if name == "audit"]
    assert 2 * 2 <= len(reads) <= 2 * 5, "each copy once in 56 days"
    assert [] == failures


def test_a_new_store_is_filled_before_it_is_read(place):
    attachment.add(place.open(), "c", place.url("c"), site="c")
    assert ["replicate", "audit"] == names(run(place))


def test_damage_is_healed_when_its_turn_comes(place):
    flip(pack_file(place, "a", pack_rows(place)[0]), 900)
    ((_, report),) = run(place)
    assert 1 == report.coverage.repaired


def test_what_is_done_weekly_daily_and_hourly_is_done_so_and_once_after_a_long_silence(place):
    found, heard, _ = watch(place)
    for _ in range(14 * 4):
        run_due(found)
        place.clock.pass_by(hours=6)
    counts = {name: names(heard).count(name) for name in ("sweep", "housekeeping", "deadlines")}
    assert {"sweep": 2, "housekeeping": 14, "deadlines": 14} == counts
    place.clock.pass_by(days=365)
    heard.clear()
    run_due(found)
    run_due(found)
    assert 1 == names(heard).count("sweep") == names(heard).count("housekeeping")


def test_outside_the_window_nothing_is_read(place):
    configure(place, 'window = ""', 'window = "00:00-00:00"')
    assert "audit" not in names(run(place))


def test_a_fonds_with_a_window_of_its_own_waits_for_it(place):
    with (place.folder / "repo" / "mocban.toml").open("a") as file:
        file.write('[audit.fonds.F1]\nwindow = "00:00-00:00"\n')
    assert "audit" not in names(run(place))


def test_a_store_that_is_read_more_often_than_others_is(place):
    with (place.folder / "repo" / "mocban.toml").open("a") as file:
        file.write("[audit.stores.a]\nmax_age_days = 9\n")
    found, _, _ = watch(place)
    for _ in range(20):
        run_due(found)
        place.clock.pass_by(days=1)
    ages = {one.name: one.oldest_age_days for one in standing(place.open()).stores}
    assert ages["a"] < 0.75 * 9
    assert ages["b"] > 7


def test_the_service_looks_with_less_evidence_where_a_grade_has_an_age(place):
    with (place.folder / "repo" / "mocban.toml").open("a") as file:
        file.write("[audit.grades.inventory]\nmax_age_days = 4\n")
    audit(place)
    found, heard, failures = watch(place)
    for _ in range(8):
        run_due(found)
        place.clock.pass_by(days=1)
    looks = [result for name, result in heard if name == "look"]
    assert [2, 2, 2] == [one.coverage.present for one in looks]
    assert [] == failures


def test_a_store_may_count_a_look_as_a_verification_only_if_its_policy_says_so(place):
    with (place.folder / "repo" / "mocban.toml").open("a") as file:
        file.write('[audit.grades.inventory]\nmax_age_days = 4\n[audit.stores.b]\ngrade = "inventory"\n')
    audit(place)
    place.clock.pass_by(days=40)
    found, _, _ = watch(place)
    found.heartbeat.done["sweep"] = "2100-01-01T00:00:00Z"
    repository = place.open()
    next(duty for duty in DUTIES if duty.name == "look").do(repository, found)
    ages = {one.name: round(one.oldest_age_days) for one in standing(place.open()).stores}
    assert {"a": 40, "b": 0} == ages


# ---- failures ----------------------------------------------------------------------------------------------------


@sampled(1)
@pytest.mark.parametrize("error", [BrokenError(what="it"), OSError("no"), ValueError("what")])
def test_a_duty_that_fails_stops_no_other_and_is_tried_again_later_and_later(place, monkeypatch, error):
    failing(monkeypatch, "housekeeping", error)
    found, heard, failures = watch(place)
    tries = []
    for minute in range(0, 24 * 60, 15):
        failures.clear()
        run_due(found)
        if failures:
            tries.append(minute)
        place.clock.pass_by(minutes=15)
    assert {"audit", "sweep", "evidence"} <= set(names(heard))
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert 5 <= len(tries) <= 12
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * 60


def test_what_fails_is_kept_for_status_until_it_is_done(place, monkeypatch):
    failing(monkeypatch, "evidence", BrokenError(what="the network"))
    found, _, _ = watch(place)
    run_due(found)
    kept = standing(place.open(read_only=True)).failures["evidence"]
    assert ("BrokenError", "the network does not work", 1) == (kept.error, kept.reason, kept.count)
    monkeypatch.setattr("audits.scheduler.DUTIES", DUTIES)
    place.clock.pass_by(hours=1)
    run_due(found)
    assert {} == standing(place.open()).failures


def test_nobody_who_can_be_told_stops_nothing(place):
    configure(place, 'smtp = ""', 'smtp = "smtp://127.0.0.1:9"')
    configure(place, 'sender = ""', 'sender = "a@example.org"')
    configure(place, "recipients = []", 'recipients = ["b@example.org"]')
    flip(pack_file(place, "a", pack_rows(place)[0]), 900)
    found, heard, failures = watch(place)
    run_due(found)
    assert {"audit", "sweep", "evidence"} <= set(names(heard))
    assert ["notify"] == names(failures), "told once, not with each piece of work"
    assert "notify" in standing(place.open()).failures


def test_an_authority_and_a_witness_that_cannot_be_reached_stop_nothing(place):
    path = place.folder / "repo" / "mocban.toml"
    text = path.read_text()
    head, timestamp = text.split("[timestamp]")
    path.write_text(head + "[timestamp]" + timestamp.replace('url = ""', 'url = "http://127.0.0.1:9/tsa"', 1))
    found, heard, failures = watch(place)
    run_due(found)
    assert "timestamp" in names(failures)
    assert {"audit", "sweep", "evidence"} <= set(names(heard))


def test_a_catalog_that_cannot_be_read_is_one_failure_and_the_service_goes_on(place):
    current = place.folder / "repo" / "catalog" / "CURRENT"
    kept = current.read_bytes()
    current.unlink()
    found, heard, failures = watch(place)
    run_due(found)
    run_due(found)
    assert ["CatalogDamagedError"] == [type(error).__name__ for name, error in failures if name == "repository"]
    current.write_bytes(kept)
    place.clock.pass_by(hours=1)
    run_due(found)
    assert "audit" in names(heard)


def test_a_store_that_is_away_is_not_read_again_and_again(place):
    place.store("b").rename(place.store("b away"))
    found, heard, _ = watch(place)
    for _ in range(12):
        run_due(found)
        place.clock.pass_by(minutes=5)
    assert 1 == names(heard).count("audit")
    assert {True: 1, False: 1} == {
        bool(row.verified): sum(bool(one.verified) == bool(row.verified) for one in copy_rows(place))
        for row in copy_rows(place)
    }
    place.store("b away").rename(place.store("b"))
    place.clock.pass_by(hours=2)
    run_due(found)
    assert all(row.verified for row in copy_rows(place))


def test_a_copy_that_cannot_be_healed_is_looked_at_daily_and_not_all_the_time(place):
    row = pack_rows(place)[0]
    overwrite(pack_file(place, "b", row), bytes(row.size))
    place.store("a").rename(place.store("a away"))
    found, heard, _ = watch(place)
    for _ in range(4 * 6):
        run_due(found)
        place.clock.pass_by(hours=4)
    assert {"good", "damaged"} == {row.state for row in copy_rows(place)}
    assert 3 <= names(heard).count("audit") <= 5


# ---- one at a time, stopping, resuming ---------------------------------------------------------------------------


def serving(place, **more):
    stopping, heard, failures = threading.Event(), [], []
    thread = threading.Thread(
        target=serve,
        args=(place.open,),
        kwargs={
            "once": False,
            "stopping": stopping,
            "told": lambda name, _: heard.append(name),
            "failed": lambda name, error: failures.append((name, error)),
            "machine": None,
            **more,
        },
    )
    thread.start()
    return thread, stopping, heard, failures


def test_told_to_stop_before_its_clock_runs_it_ends(place):
    stopping = threading.Event()
    stopping.set()
    nothing = {"told": lambda *_: None, "failed": lambda *_: None, "machine": None}
    thread = threading.Thread(
        target=serve, args=(place.open,), kwargs={"once": False, "stopping": stopping, **nothing}, daemon=True
    )
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_serving_once_does_what_is_due_and_ends(place):
    heard = []
    serve(
        place.open,
        once=True,
        stopping=threading.Event(),
        told=lambda name, _: heard.append(name),
        failed=lambda *one: heard.append(one),
        machine=None,
    )
    assert "audit" in heard
    assert "once" == read_heartbeat(place.open()).mode


def test_serving_on_does_what_is_due_and_ends_when_told_to(place):
    thread, stopping, heard, failures = serving(place)
    for _ in range(300):
        if "deadlines" in heard:
            break
        thread.join(timeout=0.1)
    stopping.set()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert "audit" in heard
    assert [] == failures


def test_a_second_service_does_nothing_and_says_so(place, monkeypatch):
    monkeypatch.setattr("audits.scheduler.LOCK_SECONDS", 0.1)
    thread, stopping, heard, _ = serving(place)
    while not heard:
        thread.join(timeout=0.05)
    for once in (True, False):
        with pytest.raises(AlreadyServingError):
            serve(
                place.open,
                once=once,
                stopping=threading.Event(),
                told=lambda *_: None,
                failed=lambda *_: None,
                machine=None,
            )
    stopping.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_a_service_that_is_told_to_stop_is_there_until_its_work_has_ended(place, monkeypatch):
    monkeypatch.setattr("audits.scheduler.LOCK_SECONDS", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    def told(_name, _result):
        begun.set()
        assert go_on.wait(30)

    thread, stopping, _, _ = serving(place, told=told)
    assert begun.wait(30)
    stopping.set()
    thread.join(timeout=1)
    assert thread.is_alive()
    another = {"once": True, "stopping": threading.Event(), "machine": None, "failed": lambda *_: None}
    with pytest.raises(AlreadyServingError):
        serve(place.open, told=lambda *_: None, **another)
    go_on.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_a_slice_that_was_stopped_goes_on_where_it_was(place, monkeypatch):
    for number in range(6):
        submit_files(place, {f"{number}.txt".encode(): b"x" * number}, name=f"s{number}")
    found, _, _ = watch(place)
    looks = []

    def goes_on(_watch, files, _bytes):
        looks.append(files)
        if len(looks) >= 5:  # two threads come here, one for each store
            place.stop_after = 0

    monkeypatch.setattr(Watch, "goes_on", goes_on)
    with pytest.raises(StoppedError):
        run_due(found)
    place.stop_after = None
    monkeypatch.undo()
    before = sum(bool(row.verified) for row in copy_rows(place))
    assert 0 < before < 14
    heard = run(place)
    assert ["audit"] == names(heard)
    assert 14 == heard[0][1].coverage.verified
    checks = [record for record in place.open().ledger.records() if record.event.type == "fixity check"]
    assert 14 == len(checks), "no copy is read twice"


# ---- pauses ------------------------------------------------------------------------------------------------------


def test_what_is_paused_is_not_read_and_goes_on_when_the_pause_ends_or_is_ended(place):
    repository = place.open()
    pause(repository, repository.world.now() + timedelta(days=3), "maintenance")
    assert "audit" not in names(run(place))
    resume(place.open())
    assert "audit" in names(run(place))
    pause(place.open(), place.clock() + timedelta(days=200), "hardware", "a")
    assert standing(place.open()).stores[0].forecast is not None, "a deadline breaks"
    place.clock.pass_by(days=100)
    assert "audit" in names(run(place))
    seen = {one.name: one for one in standing(place.open()).stores}
    assert (1, 0) == (seen["a"].overdue, seen["b"].overdue)
    place.clock.pass_by(days=101)
    assert [] == standing(place.open()).pauses
    run(place)
    assert 0 == sum(one.overdue for one in standing(place.open()).stores)


# ---- the dead-man switch -----------------------------------------------------------------------------------------


def codes(place):
    return {str(one.code) for one in standing(place.open(read_only=True)).findings}


def test_a_service_that_stopped_is_an_alarm(place):
    run(place)
    assert set() == codes(place)
    place.clock.pass_by(hours=2)
    assert {"scheduler-stopped"} == codes(place)


def test_where_cron_calls_it_a_missed_night_is_an_alarm(place):
    run(place, once=True)
    place.clock.pass_by(hours=25)
    assert set() == codes(place)
    place.clock.pass_by(hours=12)
    assert {"scheduler-stopped"} == codes(place)


def test_a_service_that_lives_and_does_not_come_round_is_an_alarm(place):
    run(place)
    heartbeat = place.folder / "repo" / "staging" / "service.json"
    place.clock.pass_by(hours=26)
    values = json.loads(heartbeat.read_text())
    heartbeat.write_text(json.dumps({**values, "alive": place.clock().isoformat()}))
    assert {"scheduler-stopped"} == codes(place)


def test_where_nobody_ever_served_that_is_an_alarm_after_two_days(place):
    assert set() == codes(place)
    place.clock.pass_by(days=2)
    assert {"scheduler-stopped"} == codes(place)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"alive": 3}', b'{"alive": "yesterday", "failures": {}}', b"\xff"]
)
def test_a_heartbeat_that_cannot_be_understood_is_none(place, damage):
    (place.folder / "repo" / "staging" / "service.json").write_bytes(damage)
    assert Heartbeat() == read_heartbeat(place.open())
    run(place)


def test_late_overdue_and_forecast_are_findings(place):
    audit(place)
    heartbeat = read_heartbeat(place.open())
    assert "" == heartbeat.alive
    place.clock.pass_by(days=70)
    assert {"verification-late", "scheduler-stopped"} == codes(place)
    place.clock.pass_by(days=30)
    assert {"verification-overdue", "scheduler-stopped"} == codes(place)
    configure(place, 'window = ""', 'window = "00:00-00:00"')
    audit(place)
    assert {"verification-forecast", "scheduler-stopped"} == codes(place)


def test_tables_about_stores_that_do_not_exist_are_named(place):
    with (place.folder / "repo" / "mocban.toml").open("a") as file:
        file.write('[audit.stores.c]\nmax_age_days = 9\n[audit.fonds.F2]\nwindow = "Sat"\n')
    assert ["audit.stores.c", "audit.fonds.F2"] == standing(place.open()).unknown


# ---- the clock ---------------------------------------------------------------------------------------------------


class Machine:
    """Counts the seconds since a machine was started, as long as the test lets time pass."""

    def __init__(self, place):
        self.place, self.moved = place, timedelta(0)
        self.begun = place.clock.now

    def __call__(self):
        return "start 1", (self.place.clock.now - self.begun - self.moved).total_seconds()

    def move_clock(self, **span):
        """Change what the clock shows; no time passes."""
        self.moved += timedelta(**span)
        self.place.clock.pass_by(**span)


@sampled(1)
@pytest.mark.parametrize("years", [10, -10])
def test_a_clock_that_jumps_causes_no_storm_and_no_skip(place, years, monkeypatch):
    for number in range(8):
        submit_files(place, {f"{number}.txt".encode(): b"x" * number}, name=f"s{number}")
    audit(place)
    monkeypatch.setattr("audits.scheduler.DUTIES", FEW)
    machine = Machine(place)
    found, heard, failures = watch(place, machine=machine)
    ages = []
    for day in range(0, 120, 3):
        if day == 39:
            machine.move_clock(days=3653 * years // 10)
            heard.clear()
        run_due(found)
        if day == 39:
            assert "audit" not in names(heard), "nothing becomes due by it"
        ages.append(max(one.oldest_age_days for one in standing(place.open()).stores))
        place.clock.pass_by(days=3)
    assert [] == failures
    assert max(ages) < 0.75 * 90
    checks = [record for record in place.open().ledger.records() if record.event.type == "fixity check"]
    assert 18 + 18 <= len(checks) <= 18 + 3 * 18
    assert 0 == standing(place.open()).clock_behind_seconds


def test_a_clock_that_was_wrong_for_an_hour_leaves_the_ages_as_they_were(place):
    audit(place)
    machine = Machine(place)
    found, _, _ = watch(place, machine=machine)
    run_due(found)
    place.clock.pass_by(days=5)
    machine.move_clock(days=3650)
    run_due(found)
    audit(place)
    place.clock.pass_by(hours=1)
    machine.move_clock(days=-3650)
    run_due(found)
    place.clock.pass_by(days=3)
    run_due(found)
    ages = [one.oldest_age_days for one in standing(place.open()).stores]
    assert all(2.99 <= age <= 3.1 for age in ages), ages
    with place.open().reading() as view:
        assert 2 == len(timeline(place.open(), view).skews)


def test_a_clock_behind_the_ledger_is_told_before_anything_is_recorded(place):
    audit(place)
    place.clock.pass_by(days=-400)
    found = standing(place.open(read_only=True))
    assert 399 * 86_400 < found.clock_behind_seconds < 401 * 86_400
    assert all(one.oldest_age_days < 1 for one in found.stores)


def test_a_jump_that_was_recorded_before_a_kill_is_not_recorded_again(place):
    machine = Machine(place)
    found, _, _ = watch(place, machine=machine)
    run_due(found)
    machine.move_clock(days=100)
    before = (place.folder / "repo" / "staging" / "service.json").read_bytes()
    run_due(found)
    (place.folder / "repo" / "staging" / "service.json").write_bytes(before)
    again, _, _ = watch(place, machine=machine)
    run_due(again)
    with place.open().reading() as view:
        assert 1 == len(timeline(place.open(), view).skews)


def test_duties_have_names_of_their_own():
    assert len({duty.name for duty in duties.DUTIES}) == len(duties.DUTIES)
