"""The planning model: against the published table, against a simulation, and against common sense."""

import math
import random

import pytest
from repository_support import audit, flip, made, pack_file, pack_rows, store_rows, submit_files

from audits import planning_rates
from audits.planning import (
    LONGEST,
    Limit,
    PlanError,
    PlannedCopy,
    Question,
    Replica,
    Shock,
    common_loss,
    independent_loss,
    largest_interval,
    plan,
)
from audits.planning_rates import (
    DAYS_A_YEAR,
    PRIORS,
    Observed,
    Origin,
    lower_bound,
    observed,
    one_of,
    upper_bound,
    with_own_data,
)
from preservation.stores import attached

GB = 10**9


def copies(*media, site="main", domain="main"):
    return tuple(PlannedCopy(medium=medium, site=site, domain=domain) for medium in media)


def asked(found, *, target=1e-9, size=GB, **more):
    return Question(
        **{"copies": found, "target": target, "object_size": size, "years": 10, "intervals": (30.0,), "current": 30.0}
        | more
    )


# ---- the table ------------------------------------------------------------------------------------------------------

NEVER, ALWAYS = None, math.inf
TABLE = [
    (1, ("disk",) * 2, (NEVER, NEVER, NEVER, NEVER), 4e-6),
    (1, ("disk",) * 3, (ALWAYS, 8.5 * DAYS_A_YEAR, 765, 30), 8e-10),
    (1, ("disk", "disk", "tape"), (ALWAYS, ALWAYS, 1677, 18), 9e-10),
    (1, ("disk",) * 4, (ALWAYS, ALWAYS, ALWAYS, 15 * DAYS_A_YEAR), 1e-13),
    (100, ("disk",) * 3, (57, 12, NEVER, NEVER), 2e-8),
    (100, ("disk",) * 4, (420, 190, 83, 34), 1e-11),
]
"""Gigabytes, copies, the largest interval in days for 1e-6 to 1e-9, and what remains with audits all the time."""


@pytest.mark.parametrize(("size", "media", "days", "floor"), TABLE)
def test_the_largest_intervals_are_those_of_the_published_table(size, media, days, floor):
    for target, wanted in zip((1e-6, 1e-7, 1e-8, 1e-9), days, strict=True):
        found = plan(asked(copies(*media), target=target, size=size * GB))
        if wanted is NEVER:
            assert found.largest_independent is None, target
        elif wanted is ALWAYS:
            assert found.largest_independent == pytest.approx(LONGEST * DAYS_A_YEAR), target
        else:
            assert found.largest_independent == pytest.approx(wanted, rel=0.02, abs=0.5), target
    assert found.floor_independent == pytest.approx(floor, rel=0.4)  # the table gives one digit


@pytest.mark.parametrize(("days", "floor"), [(0.5, 2e-11), (3, 8e-10), (14, 2e-8), (30, 8e-8)])
def test_the_repair_time_sets_the_floor(days, floor):
    found = plan(asked(copies(*["disk"] * 3), changed={"disk.repair_days": days, "disk.latent_copy": 0}))
    assert found.floor_independent == pytest.approx(floor, rel=0.3)


ONE_OUTSIDE = (*copies("disk", "disk"), *copies("tape", site="vault", domain="vault"))


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        (copies("disk", "disk", "disk"), 1e-2),
        (ONE_OUTSIDE, 2e-6),
        ((*ONE_OUTSIDE, *copies("s3", site="cloud", domain="cloud")), 4e-11),
    ],
)
def test_what_strikes_several_copies_decides_more_than_the_media(found, loss):
    answer = plan(asked(found))
    assert answer.current.loss == pytest.approx(loss, rel=0.3)
    assert answer.current.common > 0.9 * answer.current.loss or loss < 1e-10


# ---- the simulation -------------------------------------------------------------------------------------------------


def simulated(replicas, shocks, interval, years, seed=1):
    """Losses a year of one object, event by event, with audits at random phases; and the standard error."""
    chance = random.Random(seed)

    def wait(rate):
        return chance.expovariate(rate) if rate > 0 else math.inf

    def phases():
        return [chance.random() * interval for _ in replicas]

    phase, bad_until, losses, now = phases(), [0.0] * len(replicas), 0, 0.0
    rates = [one.visible for one in replicas] + [one.latent for one in replicas] + [shock.rate for shock in shocks]
    due = [wait(rate) for rate in rates]
    while True:
        number = min(range(len(due)), key=due.__getitem__)
        now = due[number]
        if now >= years:
            return losses / years, math.sqrt(max(losses, 1)) / years
        due[number] = now + wait(rates[number])
        kind, copy = divmod(number, len(replicas)) if number < 2 * len(replicas) else (2, number - 2 * len(replicas))
        if kind == 0:
            bad_until[copy] = max(bad_until[copy], now + replicas[copy].repair)
        elif kind == 1:
            rounds = math.floor((now - phase[copy]) / interval) + 1
            while chance.random() > replicas[copy].coverage:
                rounds += 1
            bad_until[copy] = max(bad_until[copy], phase[copy] + rounds * interval + replicas[copy].repair)
        else:
            for hit in shocks[copy].hit:
                bad_until[hit] = max(bad_until[hit], now + replicas[hit].repair)
        if min(bad_until) > now:
            losses += 1
            bad_until = [now] * len(replicas)
            phase = phases()


def compared(replicas, shocks, interval, years):
    found, error = simulated(replicas, shocks, interval, years)
    formula = independent_loss(replicas, interval) + common_loss(replicas, shocks, interval)
    return formula / found, error / found


def test_the_formula_agrees_with_a_simulation_where_faults_are_rare():
    pair = [Replica(visible=0.03, latent=0.05, repair=0.01)] * 2
    ratio, error = compared(pair, [], 0.25, 1_200_000)
    assert error < 0.04
    assert 1 - 3 * error < ratio < 1.03 + 3 * error


def test_the_formula_agrees_with_a_simulation_of_partial_looks_and_shocks():
    triple = [Replica(visible=0.02, latent=0.05, repair=0.02, coverage=0.5)] * 3
    shocks = [Shock(Limit.DOMAIN, "d", 0.01, frozenset({0, 1}))]
    ratio, error = compared(triple, shocks, 0.5, 400_000)
    assert error < 0.07
    assert 1 - 3 * error < ratio < 1.1 + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "ratio"), [(1, 1.17), (0.5, 1.08), (0.25, 1.06), (0.1, 1.006)])
def test_the_formula_is_careful_where_faults_are_not_rare(scale, ratio):
    pair = [Replica(visible=0.3 * scale, latent=0.5 * scale, repair=0.01)] * 2
    found, error = compared(pair, [], 0.25, 250_000 / scale)
    assert found == pytest.approx(ratio, abs=max(0.03, 3 * error))


# ---- what limits ----------------------------------------------------------------------------------------------------


def test_a_set_of_copies_in_one_pair_of_hands_is_never_promised_one_in_a_billion():
    for changed in ({}, {"domain": 0.0}, {"domain": 1e-12, "site": 0.0}):
        answer = plan(asked(copies("disk", "disk", "disk", "disk"), changed=changed))
        assert answer.refused
        assert answer.largest is None
        assert answer.limit is Limit.DOMAIN
        assert not any(point.meets for point in answer.points)
        assert answer.largest_independent is not None


def test_what_limits_is_named():
    apart = [PlannedCopy(medium="disk", site=f"s{number}", domain=f"d{number}") for number in range(4)]
    assert plan(asked(tuple(apart), target=1e-8)).limit is Limit.INTERVAL
    assert plan(asked(tuple(apart[:2]), target=1e-9)).limit is Limit.COPIES
    slow = {"disk.repair_days": 60.0}
    answer = plan(asked(tuple(apart[:3]), target=1e-8, changed=slow))
    assert answer.limit is Limit.REPAIR
    assert 0.5 < answer.repair_days < 60
    fast = {"disk.repair_days": answer.repair_days * 0.99}
    assert plan(asked(tuple(apart[:3]), target=1e-8, changed=fast)).largest is not None
    house = tuple(PlannedCopy(medium="disk", site="one", domain=f"d{number}") for number in range(3))
    answer = plan(asked(house))
    assert (answer.limit, answer.limit_name, answer.refused) == (Limit.SITE, "one", False)
    answer = plan(asked(tuple(apart[:2]), together=(("a, b", frozenset({0, 1})),)))
    assert (answer.limit, answer.limit_name) == (Limit.DEVICE, "a, b")
    answer = plan(asked(ONE_OUTSIDE))
    assert (answer.limit, answer.limit_name) == (Limit.COPIES, "main")
    maker = tuple(PlannedCopy(medium="disk", site=f"s{n}", domain=f"d{n}", vendor="one") for n in range(3))
    assert plan(asked(maker)).limit is Limit.REPAIR
    answer = plan(asked(maker, changed={"vendor": 1e-3}))
    assert (answer.limit, answer.limit_name) == (Limit.VENDOR, "one")
    alone = plan(asked(tuple(apart), changed={"site": 0.0, "domain": 0.0}))
    assert (alone.shocks, alone.current.common, alone.limit) == ((), 0, Limit.INTERVAL)


def test_the_interval_that_is_named_meets_the_target_and_a_longer_one_does_not():
    apart = tuple(PlannedCopy(medium="disk", site=f"s{number}", domain=f"d{number}") for number in range(3))
    answer = plan(asked(apart, target=1e-7, size=10 * GB))
    assert answer.largest is not None
    assert not answer.is_capped
    just, more = plan(
        asked(apart, target=1e-7, size=10 * GB, intervals=(answer.largest * 0.999, answer.largest * 1.01))
    ).points
    assert just.meets
    assert not more.meets


def test_more_of_any_evil_is_never_better():
    apart = tuple(PlannedCopy(medium="disk", site=f"s{number}", domain=f"d{number}") for number in range(3))
    usual = plan(asked(apart)).current.loss
    for name in ("disk.visible", "disk.latent_tb", "disk.latent_copy", "disk.repair_days", "site", "domain"):
        assert plan(asked(apart, changed={name: PRIORS[name].value * 10})).current.loss > usual, name
    assert plan(asked(apart, changed={"disk.coverage": 0.5})).current.loss > usual
    assert plan(asked(apart, size=100 * GB)).current.loss > usual
    assert plan(asked(apart, current=300.0)).current.loss > usual
    assert plan(asked((*apart, *copies("tape")))).current.loss < usual


def test_a_loss_for_many_years_and_many_objects_stays_a_probability():
    answer = plan(asked(copies("disk"), years=1000, objects=10**9))
    assert 0.99 < answer.current.one_lost <= 1
    assert answer.current.any_lost == 1
    few = plan(asked(ONE_OUTSIDE, objects=1000)).current
    assert few.one_lost < few.any_lost < 1001 * few.one_lost
    assert few.one_lost == pytest.approx(1 - math.exp(-10 * few.loss))


def test_the_rate_of_reading_follows_from_what_is_held():
    point = plan(asked(ONE_OUTSIDE, held=500 * 10**12, intervals=(90.0,), current=90.0)).points[0]
    assert point.read_rate == pytest.approx(64e6, rel=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"copies": ()},
        {"target": 0},
        {"target": 1.0},
        {"years": 0},
        {"intervals": (0.0,)},
        {"object_size": 0},
        {"copies": copies("paper")},
        {"changed": {"disk.coverage": 0}},
        {"changed": {"disk.visible": math.nan}},
        {"changed": {"disk.visible": -1}},
        {"changed": {"paper": 1}},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(PlanError):
        plan(asked(**{"found": copies("disk", "disk")} | wrong) if "copies" not in wrong else asked(wrong["copies"]))


# ---- own data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "years", "bound"), [(0, 10, 0.3), (0, 100, 0.03), (0, 1000, 0.003), (2, 100, 0.063)]
)
def test_the_bounds_from_own_audits_are_the_published_ones(events, years, bound):
    assert upper_bound(events, years) == pytest.approx(bound, rel=0.01)


def test_bounds_hold_the_rate_and_stay_smooth_where_the_approximation_begins():
    for events in (1, 5, 50, 999):
        assert lower_bound(events, 1) < events < upper_bound(events, 1)
    assert lower_bound(0, 1) == 0
    edge = planning_rates.EXACT
    assert upper_bound(edge, 1) == pytest.approx(upper_bound(edge - 2, 1) + 2, rel=1e-3)
    assert lower_bound(edge + 1, 1) == pytest.approx(lower_bound(edge, 1) + 1, rel=1e-3)


def test_own_data_count_when_they_are_enough_or_when_they_say_worse():
    prior = PRIORS["disk.latent_tb"]
    assert with_own_data(prior, None) is prior
    assert with_own_data(prior, Observed(tb_years=9.9)) is prior
    better = with_own_data(prior, Observed(tb_years=100))
    assert (better.origin, better.value) == (Origin.YOURS, pytest.approx(0.03, rel=0.01))
    worse = with_own_data(prior, Observed(tb_years=1, mismatches=5))
    assert worse.origin is Origin.YOURS
    assert worse.value > 5
    assert with_own_data(prior, Observed(tb_years=5, mismatches=1)) is prior
    assert with_own_data(PRIORS["disk.visible"], Observed(tb_years=1e9)) is PRIORS["disk.visible"]
    assert with_own_data(PRIORS["site"], Observed(copy_years=1e9)) is PRIORS["site"]


def test_a_figure_that_is_set_comes_before_own_data_and_says_so():
    seen = {"disk": Observed(tb_years=1000)}
    by_name = {one.name: one for one in plan(asked(ONE_OUTSIDE, observed=seen)).parameters}
    assert by_name["disk.latent_tb"].origin is Origin.YOURS
    assert by_name["tape.latent_tb"].origin is Origin.PRIOR
    assert "s3.visible" not in by_name
    found = plan(asked(ONE_OUTSIDE, observed=seen, changed={"disk.latent_tb": 0.5})).parameters
    assert {one.name: one.origin for one in found}["disk.latent_tb"] is Origin.SET


def test_every_prior_has_a_unit_and_a_basis():
    assert all(one.unit and one.basis and one.value >= 0 for one in PRIORS.values())


def seen_by(place):
    repository = place.open()
    with repository.reading() as view:
        return observed(repository, view, attached(view))["disk"]


def test_verified_years_come_from_the_audits_and_mismatches_are_counted_once(tmp_path):
    place = made(tmp_path)
    submit_files(place, {"a": b"x" * 5000})
    assert seen_by(place) == Observed()
    place.clock.pass_by(days=DAYS_A_YEAR)
    audit(place)
    row = pack_rows(place)[0]
    found = seen_by(place)
    assert found.copy_years == pytest.approx(2, rel=1e-3)
    assert found.tb_years == pytest.approx(2 * row.size / 1e12, rel=1e-3)
    flip(pack_file(place, "a", row), 100)
    audit(place, repair=False)
    audit(place, repair=False)
    assert seen_by(place).mismatches == 1
    audit(place)
    flip(pack_file(place, "a", row), 100)
    pack_file(place, "b", row).unlink()
    audit(place, repair=False)
    found = seen_by(place)
    assert (found.mismatches, found.missing) == (2, 1)


def test_what_was_seen_on_a_store_that_is_gone_does_not_count(tmp_path):
    place = made(tmp_path, store_names=("a", "b", "c"))
    submit_files(place, {"a": b"x" * 5000})
    flip(pack_file(place, "c", pack_rows(place)[0]), 100)
    audit(place, repair=False)
    repository = place.open()
    with repository.reading() as view:
        kept = [row for row in attached(view) if row.name != "c"]
        assert observed(repository, view, kept)["disk"].mismatches == 0
    assert store_rows(place)["c"].medium == "disk"


def test_the_largest_interval_of_nothing_wrong_is_the_longest():
    assert largest_interval([Replica(visible=0, latent=0, repair=0)], [], 1e-9) == LONGEST
    assert one_of(0, 10) == 0
