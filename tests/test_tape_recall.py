"""Recalls are planned: one sweep a cartridge, nobody forgotten, the mounted cartridge and copies on disks first."""

import random

import pytest
from tape_support import MIB, get, images, opened, pack, proved, put, tape_at

from storage_backends.tape.drive import RECORD
from storage_backends.tape.image import ImageDrive
from storage_backends.tape.recall import (
    PATIENCE,
    Request,
    Spot,
    along_the_tape,
    next_sweep,
    planned,
    turn,
)


def wanted(name, *places, asked=0.0, size=1):
    return Request(name, tuple(Spot(cartridge, block, size) for cartridge, block in places), asked)


def names(sweep):
    return [request.name for request, _ in sweep.requests]


def scattered(seed, count=300, cartridges=12, copies=2):
    chance = random.Random(seed)
    return [
        wanted(
            f"r{number}",
            *((f"C{cartridge}", chance.randrange(1000)) for cartridge in chance.sample(range(cartridges), copies)),
            asked=chance.random() * 1000,
        )
        for number in range(count)
    ]


def test_what_lies_on_one_cartridge_is_read_in_one_sweep_in_the_order_of_the_tape():
    sweep = next_sweep([wanted("late", ("A", 900)), wanted("other", ("B", 1)), wanted("early", ("A", 3))])

    assert ("A", ["early", "late"]) == (sweep.cartridge, names(sweep))


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_reads_everything_once_and_mounts_nothing_twice(seed):
    requests = scattered(seed)
    sweeps = planned(requests, mounted="C3")

    assert sorted(request.name for request in requests) == sorted(name for sweep in sweeps for name in names(sweep))
    assert len({sweep.cartridge for sweep in sweeps}) == len(sweeps)
    assert "C3" == sweeps[0].cartridge
    for sweep in sweeps:
        assert all(spot in request.spots and spot.cartridge == sweep.cartridge for request, spot in sweep.requests)
        blocks = [spot.block for _, spot in sweep.requests]
        assert blocks == sorted(blocks)


def test_copies_spare_mounts():
    requests = [wanted(f"{number}", (f"A{number % 7}", number), ("B", number)) for number in range(70)]

    assert ["B"] == [sweep.cartridge for sweep in planned(requests)]


def test_the_mounted_cartridge_comes_first_though_more_is_wanted_of_another():
    requests = [wanted("1", ("A", 1)), wanted("2", ("A", 2)), wanted("3", ("B", 3))]

    assert "B" == next_sweep(requests, mounted="B").cartridge
    assert "A" == next_sweep(requests).cartridge


def test_who_waited_too_long_comes_first():
    requests = [wanted("old", ("A", 1), asked=0.0), *(wanted(f"{number}", ("B", 1), asked=9e9) for number in range(9))]

    assert "B" == next_sweep(requests, now=PATIENCE, mounted="B").cartridge
    assert "A" == next_sweep(requests, now=PATIENCE + 1, mounted="B").cartridge


def test_nobody_starves_however_much_is_asked_of_the_mounted_cartridge():
    now, mounted, waited, waiting = 0.0, "", {}, [wanted("poor", ("Z", 1), asked=0.0)]
    for number in range(300):
        waiting += [wanted(f"{number}-{more}", (f"C{more % 3}", more), asked=now) for more in range(20)]
        sweep = next_sweep(waiting, now=now, mounted=mounted, patience=1000.0)
        now, mounted = now + 100.0, sweep.cartridge
        for request, _ in sweep.requests:
            waited[request.name] = now - request.asked
            waiting.remove(request)

    assert waited["poor"] <= 1000.0 + 4 * 100.0
    assert max(waited.values()) <= 1000.0 + 5 * 100.0


def test_what_another_drive_has_is_waited_for():
    requests = [wanted("1", ("A", 1)), wanted("2", ("A", 2), ("B", 2))]

    assert ("B", ["2"]) == ((sweep := next_sweep(requests, elsewhere={"A"})).cartridge, names(sweep))
    assert None is next_sweep(requests, elsewhere={"A", "B"})
    assert None is next_sweep([])


def test_with_known_wraps_the_tape_goes_there_and_back_once():
    wraps = [100, 200, 300, 400]
    blocks = [350, 10, 190, 210, 90, 110, 399, 205]
    order = sorted(blocks, key=lambda block: turn(block, wraps))

    assert [205, 10, 210, 90, 110, 350, 190, 399] == order
    along = [along_the_tape(block, wraps)[1] for block in order]
    far = along.index(max(along))
    assert along[:far] == sorted(along[:far])
    assert along[far + 1 :] == sorted(along[far + 1 :], reverse=True)


@pytest.mark.parametrize(("block", "place"), [(0, (0, 0.0)), (50, (0, 0.5)), (100, (1, 1.0)), (150, (1, 0.5))])
def test_every_second_wrap_runs_back(block, place):
    assert place == along_the_tape(block, [100, 200])


def test_of_an_item_only_the_records_are_read_that_are_asked_for(tmp_path, monkeypatch):
    folder = tmp_path / "tape"
    tape = tape_at(folder)
    for seed in (1, 2, 3):
        put(tape, f"packs/f/{seed}.tar", pack(seed, 40))
    tape.flush(proved)
    tape.close()
    again = opened(folder)
    get(again, "packs/f/1.tar", length=1)
    read, real = [], ImageDrive.read

    def counted(drive, size):
        read.append(drive.position())
        return real(drive, size)

    monkeypatch.setattr(ImageDrive, "read", counted)
    offset = 30 * RECORD + 77
    assert pack(3, 40)[offset : offset + 1000] == get(again, "packs/f/3.tar", offset=offset, length=1000)
    again.close()

    assert 1 == len(read)


def test_places_are_told_in_the_order_of_the_tape(tmp_path):
    tape = tape_at(tmp_path / "tape", capacity=8 * MIB)
    keys = [f"packs/f/{seed}.tar" for seed in range(1, 8)]
    for seed, key in enumerate(keys, 1):
        put(tape, key, pack(seed, 8))
    assert {} == tape.places(keys)
    tape.flush(proved)
    places = tape.places([*keys, "packs/f/none.tar"])

    assert sorted(keys) == sorted(places)
    assert [image.stem for image in images(tmp_path / "tape")] == tape.media()
    assert tape.in_order(keys) == sorted(keys, key=lambda key: places[key])
    assert tape.in_drive() in tape.media()
    assert [1, 0] == tape.wound(tape.media()[0], [(900, 5), (2, 5)])
    tape.close()
