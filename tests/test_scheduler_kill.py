"""The service killed or told to stop at any moment: little is read twice, nothing is forgotten, it ends in seconds."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from repository_support import configure, copy_rows, made, submit_files
from sizes import sampled

from audits.run import COPIES_AT_ONCE
from preservation.packs import layout

WORKER = Path(__file__).parent / "service_worker.py"
MEMORY = "/dev/shm"
PACKS = 150


@pytest.fixture
def folder():
    found = tempfile.mkdtemp(prefix="service-", dir=MEMORY if os.path.isdir(MEMORY) else None)
    yield Path(found)
    shutil.rmtree(found, ignore_errors=True)


def started(place, *more):
    command = [sys.executable, str(WORKER), place.path, str(place.folder / "looks"), *more]
    return subprocess.Popen(
        command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=place.folder
    )


def looks(place):
    path = place.folder / "looks"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def wait_for_looks(place, count, process, seconds=60):
    until = time.monotonic() + seconds
    while looks(place).total() < count:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)


def kill_again_and_again(folder, seed, kills, packs=PACKS):
    print("seed", seed)
    chance = random.Random(seed)
    place = made(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TARGET_SIZE", 1 << 18)
        submit_files(place, {f"{number}.bin".encode(): chance.randbytes(150_000) for number in range(packs)})
    copies = len(copy_rows(place))
    assert copies >= 2 * packs
    for _ in range(kills):
        process = started(place)
        before = looks(place).total()
        if before < copies:
            wait_for_looks(place, before + 1, process)
        time.sleep(chance.uniform(0, 0.6))
        process.kill()
        process.wait()
    process = started(place, "--once")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said.decode()
    assert all(row.verified for row in copy_rows(place)), "nothing is forgotten"
    counts = looks(place)
    assert copies == len(counts)
    repeated = counts.total() - copies
    print(f"{copies} copies, {kills} kills, {repeated} looks repeated, at most {max(counts.values())} at one copy")
    checks = Counter(
        (record.event.detail["pack"], record.event.detail["store"])
        for record in place.open().ledger.records()
        if record.event.type == "fixity check"
    )
    assert {1} == set(checks.values()), "what is in the ledger is never read again"
    return repeated


def test_a_service_that_is_killed_again_and_again_repeats_little_and_forgets_nothing(folder):
    kills = 4
    assert kill_again_and_again(folder, 31, kills) <= kills * (COPIES_AT_ONCE + 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(32, 37))
def test_killed_dozens_of_times_it_repeats_no_more_than_the_last_copies(folder, seed):
    kills = 25
    assert kill_again_and_again(folder, seed, kills, packs=600) <= kills * (COPIES_AT_ONCE + 2)


def test_in_the_middle_of_a_pack_that_takes_minutes_it_ends_within_seconds(folder):
    place = made(folder)
    submit_files(place, {b"large.bin": random.Random(5).randbytes(30 << 20)})
    configure(place, "bytes_per_second = 0", "bytes_per_second = 200000")
    process = started(place)
    beat = place.folder / "repo" / "staging" / "service.json"
    until = time.monotonic() + 60
    while not beat.exists() or '"doing": "audit"' not in beat.read_text():
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.05)
    time.sleep(0.5)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - begun < 10
    assert b"Stopped as asked" in process.stderr.read()
    configure(place, "bytes_per_second = 200000", "bytes_per_second = 0")
    process = started(place, "--once")
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert all(row.verified for row in copy_rows(place))


@sampled(3)
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.6, 1.2, 2.5])
def test_told_to_stop_at_any_moment_it_ends_within_seconds(folder, delay):
    place = made(folder)
    submit_files(place, {b"a.txt": b"one"})
    process = started(place)
    time.sleep(delay)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=30)
    assert time.monotonic() - begun < 10
    assert status in {130, -signal.SIGTERM}, "before it listens, the signal does what it always does"
