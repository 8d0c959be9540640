"""Years of service in seconds: the real decisions of what is read and when, with a virtual clock and model stores."""

import random
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from pacing_support import MIB, START, Store, World
from repository_support import Place, configure, copy_rows, submit_files
from sizes import MONTHS, sampled

from audits.coverage import Report
from audits.deadlines import CYCLE, DAY, EARLY, HOUR
from audits.duties import Watch
from audits.heartbeat import Heartbeat
from audits.pacing import standing
from audits.scheduler import run_due
from preservation import attachment
from preservation.creation import create
from preservation.fonds import open_fonds
from preservation.windows import windows_of
from storage_backends import locations

YEAR = 365.25 * DAY
D = 90 * DAY
HURT = b"\x01damage"


def lived(seed, years, *, stores=None, packs=30, per_year=12.0, troubles=True):
    """Let a repository live for some years, with growth, downtime (5 % of the time) and failures of all kinds."""
    world = World(seed, stores or three_stores())
    random = world.random
    for _ in range(packs):
        world.ingest(size(random))
    end = START + years * YEAR
    next_look = next_ingest = world.now
    next_trouble = world.now + random.expovariate(1 / (20 * DAY))
    while world.now < end:
        if world.now >= next_ingest:
            world.ingest(size(random))
            next_ingest = world.now + random.expovariate(per_year * (1 + (world.now - START) / (5 * YEAR)) / YEAR)
        if troubles and world.now >= next_trouble:
            trouble(world)
            next_trouble = world.now + random.expovariate(1 / (20 * DAY))
        if world.now >= next_look:
            world.look()
            next_look = world.now + 6 * HOUR
        world.now = min(world.now + world.round(), max(next_ingest, world.now + 300.0))
    return world


def three_stores():
    """Return a disk, a disk that is read at night and on weekends, and a slow one that is read on weekends."""
    return [
        Store(0, D),
        Store(1, D, windows=windows_of("22:00-06:00, Sat-Sun"), most=40.0 * MIB),
        Store(2, 365 * DAY, windows=windows_of("Sat-Sun"), speed=30.0 * MIB),
    ]


def trouble(world):
    """Let something happen: the service is down, a store is away, audits are paused, a copy is bad."""
    random = world.random
    kind = random.choice(("down", "down", "away", "pause", "bad"))
    store = random.choice(world.stores)
    if kind == "down":
        days = random.expovariate(2) if random.random() < 0.9 else random.uniform(10, 30)
        world.down += days * DAY
        world.now += days * DAY
    elif kind == "away":
        store.away_until = world.now + random.uniform(0.05, 14) * DAY
    elif kind == "pause":
        store.paused_until = world.now + random.uniform(0.05, 10) * DAY
    else:
        world.damage(store, random.choice(sorted(store.copies)))


def size(random):
    """Most packs are full; some are small, and one in fifty is one large object."""
    return (
        random.choice((random.randrange(MIB, 64 * MIB), 512 * MIB, 512 * MIB))
        if random.random() > 0.02
        else 20_000 * MIB
    )


def check_ten_years(seed, **more):
    print("seed", seed)
    world = lived(seed, 10, **more)
    copies = sum(len(store.copies) for store in world.stores)
    print(f"{copies} copies, down {world.down / (10 * YEAR):.1%}, oldest {world.oldest_share:.3f} of D")
    assert [] == [one for one in world.breaches if one.warned < 7 * DAY], "a copy was older than 1.1 D, unannounced"
    assert len(world.breaches) < 100, "in 14,600 looks at each store"
    for store in world.stores:
        cycles = sum((world.now - copy.written) / (CYCLE * copy.longest) + 2 for copy in store.copies.values())
        assert store.reads <= 1.1 * cycles, "copies were read more often than needed"
        busiest, mean = max(store.per_day.values()), store.bytes_read / (10 * 365.25 * store.windows.share)
        largest = max(copy.size for copy in store.copies.values())
        assert busiest <= 25 * mean + 2 * largest, "everything was read at once"


@sampled(1)
@pytest.mark.parametrize("seed", [3, 1, 2])
def test_in_ten_years_of_downtime_growth_and_failures_no_copy_is_forgotten(seed):
    check_ten_years(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 121))
def test_in_two_hundred_years_with_thousands_of_copies_no_copy_is_forgotten(seed):
    check_ten_years(seed, packs=200, per_year=40.0)


@pytest.mark.parametrize("seed", [4])
def test_a_store_that_becomes_too_slow_is_told_of_weeks_before_a_copy_is_overdue(seed):
    print("seed", seed)
    world = World(seed, [Store(0, D, most=0.03 * MIB)])
    first_warning = first_overdue = None
    while first_overdue is None:
        if world.random.random() < 0.5:
            world.ingest(512 * MIB)
        end = world.now + DAY
        while world.now < end:
            world.now += world.round()
        (store,) = world.stores
        if first_warning is None and world.forecast(store) is not None:
            first_warning = world.now
        oldest = world.oldest(store)
        if oldest is not None and world.now > oldest.overdue:
            first_overdue = world.now
        assert world.now < START + 20 * YEAR
    print("warned", (first_overdue - first_warning) / DAY, "days before")
    assert first_overdue - first_warning >= 21 * DAY


def test_a_copy_that_is_late_was_told_of_before_it_is_overdue():
    world = World(6, [Store(0, D)])
    for _ in range(50):
        world.ingest(64 * MIB)
    world.now += world.round()
    world.stores[0].away_until = world.now + 200 * DAY
    warned = None
    while world.now < START + 95 * DAY:
        world.now += 6 * HOUR
        world.look()
        warned = warned or world.warned.get(0)
    oldest = world.oldest(world.stores[0])
    assert oldest.overdue < world.now
    assert oldest.overdue - warned >= 20 * DAY


def test_after_a_long_silence_what_is_behind_is_caught_up_once_and_without_a_storm():
    world = World(7, [Store(0, D)])
    for _ in range(400):
        world.ingest(512 * MIB)
        world.now += world.round()
    world.now += 100 * DAY
    (store,) = world.stores
    store.reads, store.bytes_read, back = 0, 0, world.now
    store.per_day.clear()
    while world.oldest(store).since < back:
        world.now += world.round()
    assert world.now - back <= 25 * DAY
    assert store.reads <= 1.05 * len(store.copies)
    assert max(store.per_day.values()) <= 0.4 * sum(copy.size for copy in store.copies.values())


def test_copies_of_one_pack_are_read_at_different_times():
    world = World(8, [Store(number, D) for number in range(3)])
    for _ in range(200):
        world.ingest(256 * MIB)
    while world.now < START + 3 * YEAR:
        world.now += world.round()
    apart = []
    for pack in world.stores[0].copies:
        times = sorted(store.copies[pack].verified % (CYCLE * D) for store in world.stores)
        gaps = [times[1] - times[0], times[2] - times[1], times[0] + CYCLE * D - times[2]]
        apart.append(min(gaps) / (CYCLE * D))
    assert sorted(apart)[len(apart) // 20] > 0.15, "of a third, which is as far as three can be apart"


@sampled(1)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_the_change_of_summer_time_and_a_leap_day_skip_no_night_and_cause_no_storm(zone):
    local = ZoneInfo(zone)
    world = World(9, [Store(0, 20 * DAY, windows=windows_of("02:00-03:30"))])
    world.local = lambda seconds: datetime.fromtimestamp(seconds, local)
    world.now = datetime(2028, 2, 20, tzinfo=local).timestamp()
    for _ in range(240):
        world.ingest(64 * MIB)
    (store,) = world.stores
    while world.now < datetime(2029, 2, 20, tzinfo=local).timestamp():
        world.now += world.round()
        assert world.oldest(store).verified is None or world.now - world.oldest(store).since < 0.75 * store.longest
    days = sorted(store.per_day)
    assert max(later - earlier for earlier, later in pairwise(days)) <= 2
    steady = sorted(store.per_day[day] for day in days[20:])
    assert steady[-1] <= 4 * steady[len(steady) // 2]


def test_the_rest_between_two_readings_is_never_longer_than_the_warning_allows():
    assert (1 + EARLY) * CYCLE < 0.75


def test_in_months_of_the_real_audit_on_stores_in_memory_all_is_verified_and_healed(tmp_path):
    chance = random.Random(10)
    place = Place(tmp_path, random=chance.randbytes)
    create(place.path, place.world)
    names = [f"sim-{chance.randrange(1 << 40)}-{number}" for number in range(3)]
    for name in names:
        attachment.add(place.open(), name, f"memory:{name}", site=name)
    open_fonds(place.open(), "F1", "Phông mô phỏng")
    configure(place, "max_age_days = 90", "max_age_days = 40")
    reports, failures = [], []
    watch = Watch(
        place.open,
        lambda _, result: reports.append(result),
        lambda name, error: failures.append((name, str(error))),
        Heartbeat(),
    )
    damaged = 0
    for day in range(0, MONTHS * 30, 2):
        place.clock.pass_by(days=2)
        if day % 10 == 0:
            submit_files(place, {f"{day}.bin".encode(): chance.randbytes(2_000)}, name=f"s{day}")
        if day % 30 == 20:
            shelf = locations._shelves[chance.choice(names)]
            whole = [key for key, (data, _) in shelf.contents.items() if key.startswith("packs/") and HURT not in data]
            key = chance.choice(whole)  # one that is damaged twice is repaired once
            data, generation = shelf.contents[key]
            shelf.contents[key] = (data[:700] + HURT + data[700 + len(HURT) :], generation)
            damaged += 1
        if chance.random() > 0.1:  # else the service is down
            run_due(watch)
            assert all(one.oldest_age_days < 40 for one in standing(place.open()).stores)
    place.clock.pass_by(days=30)
    for _ in range(20):  # what became late meanwhile is read slice by slice, not all at once
        run_due(watch)
        place.clock.pass_by(hours=6)
    assert all(one.oldest_age_days < 40 for one in standing(place.open()).stores)
    assert [] == failures
    repaired = sum(report.coverage.repaired for report in reports if isinstance(report, Report))
    assert (damaged, 0) == (repaired, sum(row.state != "good" for row in copy_rows(place)))
