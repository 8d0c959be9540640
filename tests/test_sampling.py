"""Samples: the numbers are those of the books, exact for small populations, and never better than they may be."""

import itertools
from fractions import Fraction
from math import ceil, comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audits.sampling import (
    Sample,
    SampleError,
    Stratum,
    age_of,
    allotted,
    at_most,
    at_most_of_all,
    draw,
    size_of,
)

MANY = 10_000_000
"""A population so large that drawing from it is as drawing with replacement."""


def binomial_bound(looked, bad):
    """The one-sided 95 % bound of Clopper and Pearson, found by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        tail = sum(comb(looked, count) * share**count * (1 - share) ** (looked - count) for count in range(bad + 1))
        low, high = (share, high) if tail > 0.05 else (low, share)
    return low


@pytest.mark.parametrize(
    ("looked", "bad", "percent"),
    [(59, 0, 4.95), (299, 0, 0.997), (2995, 0, 0.0999), (93, 1, 5.0), (124, 2, 5.0), (100, 5, 10.23), (20, 20, 100.0)],
)
def test_bounds_are_those_of_the_tables(looked, bad, percent):
    found = 100 * at_most(MANY, looked, bad) / MANY
    assert found == pytest.approx(percent, rel=0.01)
    assert found == pytest.approx(100 * binomial_bound(looked, bad), rel=1e-3)


def test_no_bad_one_among_three_hundred_is_the_rule_of_three():
    assert at_most(MANY, 300, 0) / MANY == pytest.approx(3 / 300, rel=0.01)


def test_a_small_population_gives_a_smaller_bound():
    assert at_most(100, 59, 0) == 3
    assert 100 * at_most(100, 59, 0) / 100 < 4.95
    assert at_most(100, 100, 0) == 0
    assert at_most(100, 100, 7) == 7
    assert at_most(100, 0, 0) == 100


def exact_tail(population, bad, looked, found):
    terms = (comb(bad, count) * comb(population - bad, looked - count) for count in range(min(found, looked) + 1))
    return Fraction(sum(terms), comb(population, looked))


def test_the_bound_is_exact_for_every_small_population():
    for population in range(1, 16):
        for looked in range(population + 1):
            for bad in range(looked + 1):
                possible = range(bad, population - (looked - bad) + 1)
                right = max(
                    whole for whole in possible if exact_tail(population, whole, looked, bad) >= Fraction(1, 20)
                )
                assert at_most(population, looked, bad) == right, (population, looked, bad)


@pytest.mark.parametrize("strata", [((6, 3), (5, 2)), ((7, 5), (3, 2)), ((4, 2), (4, 2), (4, 3)), ((9, 4), (2, 2))])
def test_the_bound_for_all_strata_is_too_low_in_at_most_five_of_a_hundred_cases_wherever_the_bad_ones_lie(strata):
    for bad in itertools.product(*(range(population + 1) for population, _ in strata)):
        wrong = Fraction(0)
        for found in itertools.product(*(range(looked + 1) for _, looked in strata)):
            chance = Fraction(1)
            for (population, looked), whole, seen in zip(strata, bad, found, strict=True):
                chance *= Fraction(
                    comb(whole, seen) * comb(population - whole, looked - seen), comb(population, looked)
                )
            if chance:
                asked = [(*one, seen) for one, seen in zip(strata, found, strict=True)]
                wrong += chance * (at_most_of_all(asked) < sum(bad))
        assert wrong <= Fraction(1, 20), bad


def test_one_stratum_is_no_worse_for_being_called_one():
    assert at_most_of_all([(1000, 59, 0)]) == at_most(1000, 59, 0)
    assert at_most_of_all([(1000, 59, 2)]) == at_most(1000, 59, 2)


def test_strata_without_bad_ones_are_hardly_worse_than_one_population():
    assert at_most_of_all([(50_000, 150, 0), (50_000, 150, 0)]) / 100_000 == pytest.approx(3.69 / 300, rel=0.02)


def test_a_stratum_at_which_nobody_looked_may_be_wholly_bad():
    assert at_most_of_all([(100, 100, 0), (30, 0, 0)]) == 30
    assert at_most_of_all([]) == 0


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 50), max_size=9), st.integers(0, 200))
def test_a_sample_has_the_size_that_was_asked_for_and_leaves_no_stratum_out(populations, size):
    given_ = allotted(size, populations)
    assert set(given_) == set(populations)
    assert sum(given_.values()) == min(size, sum(populations.values()))
    assert all(0 <= given_[name] <= populations[name] for name in populations)
    if size >= len(populations):
        assert all(given_.values())


def test_strata_give_in_proportion():
    assert allotted(110, {"a": 1_000, "b": 100}) == {"a": 100, "b": 10}


@pytest.mark.parametrize("asked", ["", "0", "00", "-3", "1.5", "0%", "0.0%", "101%", "5 %", "%", "a", "1e3", "9" * 13])
def test_what_is_no_sample_is_refused(asked):
    with pytest.raises(SampleError):
        size_of(asked, 100)


def test_a_share_is_rounded_up():
    assert [size_of(asked, 1_001) for asked in ("5%", "0.1%", "100%", "7", "9999")] == [51, 2, 1_001, 7, 1_001]


def test_everybody_draws_the_same_lots_from_the_identifier_of_a_run():
    lots = [draw("run", f"{number:064x}", "store") for number in range(1_000)]
    assert len(set(lots)) == 1_000
    assert lots == [draw("run", f"{number:064x}", "store") for number in range(1_000)]
    assert draw("other", "0" * 64, "store") != draw("run", "0" * 64, "store")
    first_half = sum(lot < b"\x80" for lot in lots)
    assert 430 < first_half < 570


def test_copies_are_parted_by_the_years_since_they_were_written():
    at = "2030-01-01T00:00:00Z"
    written = ["2029-12-31T00:00:00Z", "2029-01-02T00:00:00Z", "2028-12-31T00:00:00Z", "2024-06-01T00:00:00Z"]
    assert [age_of(one, at) for one in written] == ["0-1", "0-1", "1-5", "5-"]
    assert age_of("2031-01-01T00:00:00Z", at) == "0-1"


def test_a_copy_that_could_not_be_read_is_counted_as_bad():
    stratum = Stratum(store="a", age="0-1", population=1_000, looked=59, bad=0, unreadable=2)
    assert stratum.at_most == at_most(1_000, 59, 2)
    sample = Sample((stratum,))
    assert (sample.at_most, sample.bad, sample.unreadable) == (stratum.at_most, 0, 2)
    assert ceil(100 * sample.at_most / sample.population) == 10
