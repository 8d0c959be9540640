"""Every verb that writes, killed or refused at each of its distinct system calls: nothing acknowledged is ever lost.

In CI each distinct call site is killed once, at least 60 points a verb, and refused once (EIO or ENOSPC); elsewhere a
sample of them; ``MOCBAN_CRASH=all`` tries each point of a verb with each fault, which takes hours.
"""

import os
import tempfile

import crash_worker
import pytest
from crash_notices import why_not
from crash_support import EIO, ENOSPC, KILL, VERBS, Lane, chosen, must_be_told, tried
from sizes import ALL, CRASH_KILLS, CRASH_REFUSALS, SIZE, spread

from preservation.packs import layout

FULL = {"write", "mkdir", "openat", "ftruncate"}
"""What fails with ENOSPC first of all; the others are given EIO."""

AGAIN = 8
"""How often missed call sites are tried again."""

EACH_POINT = os.environ.get("MOCBAN_CRASH") == "all"
MEMORY = "/dev/shm"

sized = pytest.mark.parametrize("size", ["each point" if EACH_POINT else SIZE])


@pytest.fixture(scope="module")
def lane():
    """A place to try faults in; SIGKILL loses no page cache, so that memory shows as much as a disk, and sooner."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the crash tests cannot run: {reason}")
        pytest.skip(reason)
    lane = Lane(tempfile.mkdtemp(prefix="crash-", dir=MEMORY if os.path.isdir(MEMORY) else None))
    yield lane
    lane.close()


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", crash_worker.PACK_TARGET)


def broken_rules(outcomes):
    return [(one.point, one.status, one.broken) for one in outcomes if one.broken]


def sites(found):
    """Return the distinct call sites that must have been tried.

    Not openat, which is also used for reading, nor the catalog's: both come as often as RocksDB pleases.
    """
    return {kind for kind in found if kind[0] != "openat" and not kind[1].startswith("repo/catalog")}


def tried_all(lane, verb, points, fault):
    """Try the fault at each point; a site that was missed, since two runs are not quite the same, is tried again."""
    outcomes = [tried(lane, verb, point, fault) for point in points]
    for _ in range(AGAIN):
        missed = sites(point.kind for point in points) - sites(one.hit for one in outcomes if one.hit is not None)
        if not missed:
            break
        outcomes += [tried(lane, verb, point, fault) for point in points if point.kind in missed]
    return outcomes


@pytest.mark.crash
@sized
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_its_distinct_call_sites_a_verb_loses_nothing_and_goes_on(verb, size, lane):
    points = lane.points(verb)
    picked = points
    if not EACH_POINT:
        picked = chosen(points, CRASH_KILLS) if ALL else spread(chosen(points, 0), CRASH_KILLS)
    outcomes = tried_all(lane, verb, picked, KILL)
    hits = [one.hit for one in outcomes if one.hit is not None]
    print(f"{verb}: killed at {len(hits)} points, {len(set(hits))} distinct call sites of {len(points)} calls")
    assert [] == broken_rules(outcomes)
    assert len(hits) >= min(CRASH_KILLS, len(picked)) * (0.95 if ALL or EACH_POINT else 0.7)
    assert set() == sites(point.kind for point in (picked if size == "sample" else points)) - sites(hits)


@pytest.mark.crash
@pytest.mark.parametrize("fault", [EIO, ENOSPC])
@sized
@pytest.mark.parametrize("verb", VERBS)
def test_refused_at_its_distinct_call_sites_a_verb_never_claims_success(verb, size, fault, lane):
    points = lane.points(verb)
    picked = points
    if not EACH_POINT:
        mine = [point for point in points if (point.kind[0] in FULL) == (fault == ENOSPC)]
        found = chosen([point for point in mine if not point.site.startswith("repo/catalog")], 0)
        picked = spread(found, CRASH_REFUSALS)
    outcomes = tried_all(lane, verb, picked, fault)
    hits = [one.hit for one in outcomes if one.hit is not None]
    print(f"{verb}: {fault} at {len(hits)} points, {sum(must_be_told(verb, hit) for hit in hits)} of them must be told")
    assert [] == broken_rules(outcomes)
    assert set() == sites(point.kind for point in picked) - sites(hits)
