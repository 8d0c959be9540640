"""Every verb that writes, killed or refused at each of its distinct system calls: nothing acknowledged is ever lost.

By default each distinct call site is killed once, at least 60 points a verb, and refused once (EIO or ENOSPC);
``MOCBAN_CRASH=all`` tries each point of a verb with each fault, which takes hours.
"""

import os
import shutil
import tempfile

import crash_worker
import pytest
from crash_notices import why_not
from crash_support import EIO, ENOSPC, KILL, VERBS, Lane, chosen, must_be_told, tried_all

from preservation.packs import layout

POINTS = 60
"""The least number of points at which each verb is killed."""

FULL = {"write", "mkdir", "openat", "ftruncate"}
"""What fails with ENOSPC first of all; the others are given EIO."""

AGAIN = 8
"""How often missed call sites are tried again."""

ALL = os.environ.get("MOCBAN_CRASH") == "all"
LANES = 1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1)
MEMORY = "/dev/shm"


@pytest.fixture(scope="module")
def told():
    """System calls can be told of here."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the crash tests cannot run: {reason}")
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", crash_worker.PACK_TARGET)


@pytest.fixture
def place():
    """SIGKILL loses no page cache, so that memory shows as much as a disk, and sooner."""
    folder = tempfile.mkdtemp(prefix="crash-", dir=MEMORY if os.path.isdir(MEMORY) else None)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def broken_rules(outcomes):
    return [(one.point, one.status, one.broken) for one in outcomes if one.broken]


def sites(found):
    """Return the distinct call sites that must have been tried.

    Not openat, which is also used for reading, nor the catalog's: both come as often as RocksDB pleases.
    """
    return {kind for kind in found if kind[0] != "openat" and not kind[1].startswith("repo/catalog")}


def tried(verb, points, fault, place):
    """Try the fault at each point; a site that was missed, since two runs are not quite the same, is tried again."""
    outcomes = tried_all(verb, points, fault, parent=place, lanes=LANES)
    for _ in range(AGAIN):
        missed = sites(point.kind for point in points) - sites(one.hit for one in outcomes if one.hit is not None)
        if not missed:
            break
        again = [point for point in points if point.kind in missed]
        outcomes += tried_all(verb, again, fault, parent=place, lanes=LANES)
    return outcomes


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_loses_nothing_and_goes_on(verb, place):
    points = Lane(place).points(verb)
    picked = [points[number * len(points) // 3] for number in range(3)]
    assert [] == broken_rules(tried_all(verb, picked, KILL, parent=place, lanes=LANES))


@pytest.mark.crash
@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_every_distinct_call_site_a_verb_loses_nothing_and_goes_on(verb, place):
    points = Lane(place).points(verb)
    outcomes = tried(verb, points if ALL else chosen(points, POINTS), KILL, place)
    hits = [one.hit for one in outcomes if one.hit is not None]
    print(f"{verb}: killed at {len(hits)} points, {len(set(hits))} distinct call sites of {len(points)} calls")
    assert [] == broken_rules(outcomes)
    assert len(hits) >= min(POINTS, len(points)) * 0.95
    assert set() == sites(point.kind for point in points) - sites(hits)


@pytest.mark.crash
@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("fault", [EIO, ENOSPC])
@pytest.mark.parametrize("verb", VERBS)
def test_refused_at_every_distinct_call_site_a_verb_never_claims_success(verb, fault, place):
    points = Lane(place).points(verb)
    picked = points
    if not ALL:
        mine = [point for point in points if (point.kind[0] in FULL) == (fault == ENOSPC)]
        picked = chosen([point for point in mine if not point.site.startswith("repo/catalog")], 0)
    outcomes = tried(verb, picked, fault, place)
    hits = [one.hit for one in outcomes if one.hit is not None]
    print(f"{verb}: {fault} at {len(hits)} points, {sum(must_be_told(verb, hit) for hit in hits)} of them must be told")
    assert [] == broken_rules(outcomes)
    assert set() == sites(point.kind for point in picked) - sites(hits)
