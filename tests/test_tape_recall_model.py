"""The model of recalls on LTO-9: planned recalls stay near a bound that no order can beat."""

import importlib.util
import random
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "tape_recall.py"


@pytest.fixture
def model():
    spec = importlib.util.spec_from_file_location("tape_recall_model", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lines(model):
    """Returns the drive that read 1,000 random objects of 20 cartridges in an order, and the bound."""
    requests = model.scattered(random.Random(7), 1_000, 20, 2e8)

    def read(how=None):
        if how is None:
            return model.in_sequence(request.spots[0] for request in requests)
        return model.in_sequence(spot for sweep in model.planned(requests) for _, spot in how(sweep).requests)

    return read, lambda: model.lower_bound(requests)


def test_where_the_wraps_are_known_a_plan_takes_at_most_15_percent_more_than_the_bound(model, lines):
    read, bound = lines
    planned = read(model.wound)

    assert 20 == planned.mounts
    assert bound() <= planned.clock <= 1.15 * bound()
    assert read().clock > 10 * bound()


def test_on_a_tape_of_one_wrap_order_by_block_is_one_sweep(model, lines, monkeypatch):
    monkeypatch.setattr(model, "ENDS", [model.BLOCKS])
    monkeypatch.setattr(model, "WRAPS", 1)
    read, bound = lines
    planned = read(lambda sweep: sweep)

    assert 20 == planned.mounts
    assert bound() <= planned.clock <= 1.15 * bound()


def test_drives_share_no_cartridge_and_leave_nobody_waiting(model):
    chance = random.Random(3)
    requests = [
        model.Request(one.name, one.spots, number * 60.0)
        for number, one in enumerate(model.scattered(chance, 300, 9, 2e8))
    ]
    for how in ("first", "", "wraps"):
        waits, mounts, busy, until = model.served(requests, how)
        assert 300 == len(waits)
        assert 9 <= mounts <= 300
        assert 0 < busy <= 2 * until
    assert max(model.served(requests, "wraps")[0]) < max(model.served(requests, "first")[0])
