"""Windows, deadlines, rates, forecasts, the line of time, I/O priorities: what the service decides by."""

import math
import random
import re
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from audits.deadlines import (
    CYCLE,
    DAY,
    EARLY,
    FLOOR,
    GRACE,
    HOUR,
    OVERHEAD,
    SHIFT,
    Conditions,
    Held,
    breach,
    due_at,
    needed_rate,
    place_of,
    quantile,
    slice_of,
)
from audits.policies import fonds_policy, longest_age, store_policy
from audits.priority import politest, priority_now, reading_as
from audits.timeline import Skew, Timeline, jump_ahead
from preservation.configuration import TEMPLATE, AuditPolicy, Configuration, ConfigurationError, StoreAuditPolicy
from preservation.windows import ALWAYS, windows_of

D = 90 * DAY
NOW = 1_800_000_000.0
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
"""Midnight."""


# ---- windows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "day", "hour", "is_open"),
    [
        ("", 2, 12, True),
        ("22:00-05:00", 0, 23, True),
        ("22:00-05:00", 0, 4, True),
        ("22:00-05:00", 0, 12, False),
        ("08:00-17:00", 3, 12, True),
        ("08:00-17:00", 3, 17, False),
        ("Sat-Sun", 5, 0, True),
        ("Sat-Sun", 0, 0, False),
        ("sat-sun", 6, 23, True),
        ("Sun 22:00-06:00", 0, 5, True),
        ("Sun 22:00-06:00", 1, 5, False),
        ("Fri-Mon 12:00-13:00", 0, 12, True),
        ("Fri-Mon 12:00-13:00", 1, 12, False),
        ("22:00-06:00, Sat-Sun", 5, 12, True),
        ("00:00-00:00", 0, 0, False),
        ("00:00-24:00", 4, 23, True),
    ],
)
def test_windows_are_nights_days_and_both(text, day, hour, is_open):
    assert is_open == windows_of(text).is_open(MONDAY + timedelta(days=day, hours=hour))


@pytest.mark.parametrize(
    "text", ["nights", "25:00-26:00", "12:60-13:00", "Mon-", ",", "Sat22:00-06:00", "22:00", "8:00-9:00"]
)
def test_a_window_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text.split(',')[-1].strip())}$"):
        windows_of(text)


def test_windows_agree_with_looking_at_every_minute():
    chance = random.Random(1)
    for _ in range(60):
        parts = []
        for _ in range(chance.randrange(1, 4)):
            days = chance.choice(["", "Mon", "Sat-Sun", "Fri-Tue", "Wed-Thu"])
            hours = "{:02}:{:02}-{:02}:{:02}".format(*(chance.randrange(limit) for limit in (24, 60, 24, 60)))
            parts.append(f"{days} {hours}".strip() if not days or chance.random() < 0.7 else days)
        windows = windows_of(", ".join(parts))
        start = MONDAY + timedelta(minutes=chance.randrange(7 * 1440))
        minutes = chance.randrange(3 * 7 * 1440)
        told = [windows.is_open(start + timedelta(minutes=minute)) for minute in range(minutes)]
        assert windows.open_seconds(start, minutes * 60) == pytest.approx(60 * sum(told))
        if windows.share < 1 and told and told[0] and False in told:
            assert windows.closes_in(start) == 60 * told.index(False)
        if told and not told[0] and True in told:
            assert windows.opens_in(start) == 60 * told.index(True)


# ---- policies ----------------------------------------------------------------------------------------------------


def parsed(more):
    return Configuration.parse((TEMPLATE.format(repository="r", origin="o") + more).encode(), "mocban.toml").audit


@pytest.mark.parametrize(
    "more",
    [
        "[audit.stores.a]\nmax_age = 3",
        "[audit.stores.a]\nmax_age_days = 0",
        '[audit.stores.a]\nmax_age_days = "3"',
        "[audit.stores.a]\nbytes_per_second = -1",
        '[audit.stores.a]\nio_priority = "realtime"',
        '[audit.stores.a]\ngrade = "hope"',
        "[audit.stores]\na = 3",
        '[audit.fonds.a]\nwindow = "nights"',
        "[audit.fonds.a]\nbytes_per_second = 3",
        "[audit.grades.bytes]\nmax_age_days = 3",
        "[audit.grades.guess]\nmax_age_days = 3",
        "[audit.tapes.a]\nmax_age_days = 3",
    ],
)
def test_a_policy_that_means_nothing_is_an_error(more):
    with pytest.raises(ConfigurationError):
        parsed(more)


def test_a_store_replaces_what_holds_for_all_and_a_fonds_can_only_be_stricter():
    audit = parsed(
        '[audit.stores.tape]\nmax_age_days = 365\nwindow = "Sat"\n[audit.fonds."TH 1"]\nmax_age_days = 30\n'
        "[audit.fonds.old]\nmax_age_days = 700\n"
    )
    tape, disk = store_policy(audit, "tape"), store_policy(audit, "disk")
    assert (365 * DAY, 90 * DAY) == (tape.longest, disk.longest)
    assert (windows_of("Sat"), ALWAYS) == (tape.windows, disk.windows)
    assert 30 * DAY == longest_age(tape, fonds_policy(audit, "TH 1"))
    assert 365 * DAY == longest_age(tape, fonds_policy(audit, "old"))
    assert 90 * DAY == longest_age(disk, fonds_policy(audit, "none"))


def test_only_bytes_are_enough_unless_a_store_says_otherwise():
    plain = store_policy(AuditPolicy(), "a")
    assert [False, False, True] == [plain.accepts(grade) for grade in ("inventory", "provider", "bytes")]
    other = store_policy(AuditPolicy(stores={"a": StoreAuditPolicy(grade="provider")}), "a")
    assert [False, True, True] == [other.accepts(grade) for grade in ("inventory", "provider", "bytes")]


# ---- deadlines ---------------------------------------------------------------------------------------------------


def held(age, size=100 << 20, *, verified=True, longest=D, due=None, good=True, tried=0.0, windows=ALWAYS):
    since = NOW - age
    when = due if due is not None else due_at(since if verified else None, since, longest, 0.3)
    looked = since if verified else None
    return Held("ab" * 32, "s", size, since, looked, tried or looked, good, longest, when, windows)


def at(**more):
    return Conditions(now=NOW, local=MONDAY, **more)


def test_a_copy_is_read_at_its_place_once_a_cycle_wherever_in_the_cycle_it_was_read_last():
    chance = random.Random(2)
    for _ in range(2_000):
        place, cycle = chance.random(), CYCLE * D
        verified = NOW + chance.uniform(-1, 1) * D
        due = due_at(verified, 0.0, D, place)
        assert EARLY * cycle * 0.999 <= due - verified <= (1 + EARLY) * cycle
        assert (due / cycle - place) % 1 == pytest.approx(0, abs=1e-6) or (due / cycle - place) % 1 > 1 - 1e-6
        early = due - chance.uniform(0, 0.99) * EARLY * cycle
        assert due_at(early, 0.0, D, place) == pytest.approx(due + cycle)


def test_the_copies_of_a_pack_have_places_that_are_equally_far_apart():
    places = sorted(place_of("12345678" + "0" * 56, number, 4) for number in range(4))
    assert [0.25, 0.25, 0.25] == [pytest.approx(later - one) for one, later in pairwise(places)]


def test_the_rate_is_the_slowest_that_meets_every_deadline():
    chance = random.Random(3)
    for _ in range(50):
        copies = [held(5 * DAY, chance.randrange(1 << 30), due=NOW + chance.uniform(GRACE * D, D)) for _ in range(40)]
        copies.sort(key=lambda copy: copy.due)

        def lateness(rate, copies=copies):
            total, worst = 0.0, -math.inf
            for copy in copies:
                total += copy.cost
                worst = max(worst, NOW + total / rate - copy.due)
            return worst

        rate = needed_rate(copies, at())
        assert lateness(rate) <= 0
        assert lateness(rate * 0.9) > -6 * HOUR, "a tenth slower would be late, but for the rounding to hours"


def test_closed_hours_and_pauses_make_the_rate_higher():
    copies = [held(30 * DAY, 1 << 30, due=NOW + 28 * DAY)]
    plain = needed_rate(copies, at())
    assert plain * 3 == pytest.approx(needed_rate(copies, at(windows=windows_of("22:00-06:00"))), rel=0.02)
    assert plain * 2 == pytest.approx(needed_rate(copies, at(paused=14 * DAY)), rel=0.02)


def test_new_copies_come_first_then_the_oldest_deadline_and_no_more_than_the_rate_allows():
    old = [held(40 * DAY, 1 << 30, due=NOW + number * DAY) for number in range(-3, 50)]
    new = [held(60.0, 1 << 20, verified=False) for _ in range(3)]
    found = slice_of([*old, *new], at(rested=DAY))
    assert new == list(found.chosen[:3])
    assert old[: len(found.chosen) - 3] == list(found.chosen[3:])
    assert 1 <= len(found.chosen) - 3 <= 12
    assert found.pace >= FLOOR


def test_a_storm_of_overdue_copies_is_spread():
    copies = [held(200 * DAY, 1 << 30, due=NOW - 100 * DAY) for _ in range(1_000)]
    found = slice_of(copies, at(rested=100 * DAY))
    assert found.rate == pytest.approx(1_000 * ((1 << 30) + OVERHEAD) / (GRACE * D), rel=0.06)
    assert sum(copy.size for copy in found.chosen) <= 900 * found.pace


def test_nothing_is_chosen_while_paused_or_closed_and_the_wait_is_told():
    copies = [held(80 * DAY)]
    assert ((), 3 * HOUR) == (slice_of(copies, at(paused=3 * HOUR)).chosen, slice_of(copies, at(paused=3 * HOUR)).wait)
    closed = slice_of(copies, at(windows=windows_of("22:00-06:00, Sat"), paused=7 * HOUR))
    assert ((), 22 * HOUR) == (closed.chosen, closed.wait)
    assert slice_of(copies, at(windows=windows_of("00:00-00:00"))).wait == math.inf
    assert () == slice_of([held(80 * DAY, windows=windows_of("Tue"))], at()).chosen


def test_a_store_that_needs_little_is_read_now_and_then():
    copies = [held(40 * DAY, 1 << 20, due=NOW + number * DAY) for number in range(50)]
    found = slice_of(copies, at(rested=HOUR))
    assert ((), SHIFT - HOUR) == (found.chosen, found.wait)


def test_what_is_not_good_is_looked_at_daily_beside_the_rest():
    bad = [held(80 * DAY, good=False, tried=NOW - age) for age in (HOUR, 2 * DAY, 3 * DAY)]
    found = slice_of(bad, at())
    assert [bad[2], bad[1]] == list(found.chosen)
    assert 0 == found.rate


def test_no_more_is_begun_than_can_be_read_before_the_window_closes():
    copies = [held(80 * DAY, 64 << 20, due=NOW - DAY) for _ in range(500)]
    found = slice_of(
        copies, Conditions(now=NOW, local=MONDAY + timedelta(hours=5, minutes=59), windows=windows_of("22:00-06:00"))
    )
    assert sum(copy.size for copy in found.chosen) <= 60 * found.pace


# ---- the forecast ------------------------------------------------------------------------------------------------


def test_nothing_is_forecast_where_there_is_time_enough():
    assert breach([held(40 * DAY) for _ in range(100)], at(most=1 << 30), longest=D) is None
    assert breach([], at(), longest=D) is None


def test_a_store_that_is_too_slow_is_told_of_on_the_day_of_the_first_copy_that_will_be_overdue():
    copies = [held(age * DAY, 1 << 30) for age in range(60)]
    speed = 60 * (1 << 30) / (120 * DAY)
    when = breach(copies, at(most=speed), longest=D)
    assert when is not None
    assert NOW + 30 * DAY < when <= NOW + 90 * DAY
    assert breach(copies, at(measured=speed), longest=D) == when
    assert breach(copies, at(most=speed * 3), longest=D) is None


def test_windows_that_are_closed_and_pauses_that_last_are_told_of():
    copies = [held(80 * DAY)]
    assert NOW + 10 * DAY == breach(copies, at(windows=windows_of("00:00-00:00")), longest=D)
    assert NOW + 10 * DAY == breach(copies, at(paused=11 * DAY), longest=D)
    assert breach(copies, at(paused=9 * DAY), longest=D) is None


def test_growth_that_will_be_too_much_is_told_of_while_all_is_well():
    copies = [held(age * DAY / 10, 1 << 30) for age in range(500)]
    steady = 500 * ((1 << 30) + OVERHEAD) / D
    quiet = at(most=steady * 1.3)
    assert breach(copies, quiet, longest=D) is None
    grows = breach(copies, at(most=steady * 1.3, growth=steady * 0.1), longest=D)
    assert grows is not None
    assert NOW <= grows <= NOW + 2 * D


def test_quantiles_are_numbers_that_occur():
    ages = [float(age) for age in range(1, 101)]
    assert (50.0, 95.0, 100.0) == tuple(quantile(ages, share) for share in (0.5, 0.95, 1.0))
    assert 0.0 == quantile([], 0.5)


# ---- the line of time --------------------------------------------------------------------------------------------


def shown(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize("seed", range(20))
def test_ages_are_true_whatever_the_clock_does(seed):
    chance = random.Random(seed)
    true, offset, skews, seen = NOW, 0.0, [], []
    for _ in range(200):
        true += chance.uniform(0, 2) * DAY
        if chance.random() < 0.04:
            jump = chance.choice([-1, 1]) * chance.uniform(400, 3_653) * DAY
            if offset and chance.random() < 0.7:
                jump = -offset
            offset += jump
            skews.append(Skew(true + offset, jump))
        seen.append((true, shown(true + offset)))
        line = Timeline(tuple(skews), true + offset)
        for instant, time in seen[-30:]:
            age = line.now - line.instant(time)
            assert age == pytest.approx(true - instant, abs=1)


def test_a_time_that_is_to_come_is_now():
    assert NOW == Timeline((), NOW).instant(shown(NOW + 10 * DAY))
    assert Timeline((), NOW).instant("") is None


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Ho_Chi_Minh"])
def test_summer_time_is_no_jump(zone):
    before = datetime(2027, 3, 28, 1, 59, tzinfo=ZoneInfo(zone)).timestamp()
    after = datetime(2027, 3, 28, 3, 1, tzinfo=ZoneInfo(zone)).timestamp()
    assert 0.0 == jump_ahead((before, 0.0), (after, after - before))
    assert 0.0 == jump_ahead((before, 0.0), (after, 0.0))


def test_a_machine_that_slept_has_not_jumped_and_one_whose_clock_was_set_has():
    assert 0.0 == jump_ahead((NOW, 100.0), (NOW + 300 * DAY, 100.0 + 300 * DAY))
    assert 300 * DAY == jump_ahead((NOW, 100.0), (NOW + 300 * DAY, 100.0))
    assert 0.0 == jump_ahead((NOW, 100.0), (NOW - 300 * DAY, 100.0)), "the ledger sees that"


# ---- I/O priority ------------------------------------------------------------------------------------------------


def test_reading_waits_for_others_and_threads_that_are_begun_do_too():
    if priority_now() is None:
        pytest.skip("this system has no I/O priorities")
    seen = []
    with reading_as("idle"):
        thread = threading.Thread(target=lambda: seen.append(priority_now()))
        thread.start()
        thread.join()
        seen.append(priority_now())
    assert [3 << 13, 3 << 13] == seen
    assert priority_now() not in seen
    with reading_as("low"):
        assert 2 << 13 | 7 == priority_now()


def test_the_politest_of_several_priorities_holds():
    assert ["idle", "low", "normal"] == [politest(given) for given in (["low", "idle"], ["normal", "low"], [])]
