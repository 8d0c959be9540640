"""Migrations killed at steps that make something last, stopped, and gone on with; two at once."""

import os
import shutil
import signal
from datetime import UTC, datetime, timedelta

import pytest
from migration_support import PLAIN, ByName, killed_at, left_at_each_step, office, tcvn3
from repository_support import audit, catalog_rows, contents, made, manifest_of, rebuilt_rows

from preservation.catalog.plans import PlanState
from preservation.identifiers import milliseconds_of
from preservation.migration.errors import PlanBusyError
from preservation.migration.executing import working
from preservation.migration.undoing import undo
from preservation.stopping import StoppedError

SPARE = 40
"""Steps by which two runs of the same may differ."""

PARTS = 8

FILES = {f"{number}.txt": tcvn3(PLAIN * number) for number in (1, 2)} | {"hỏng.txt": tcvn3() + b"\xff\xfe"}
DERIVED = {f"derivatives/tcvn3-utf8/{number}.txt.txt".encode(): PLAIN.encode() * number for number in (1, 2)}


class Lane:
    """A repository with an approved plan over two packages, put back as often as it is needed."""

    def __init__(self, folder):
        self.folder = folder / "work"
        self.folder.mkdir()
        self.here = office(made(self.folder), ByName())
        self.packages = [
            self.here.submit(FILES, "one").package,
            self.here.submit({"b.txt": tcvn3(PLAIN * 3)}, "two").package,
        ]
        self.plan = self.here.approved()
        self.here.place.clock.now = datetime.now(UTC) + timedelta(hours=1)  # what a kill leaves is no longer young
        self.before = [contents(self.here.place, package) for package in self.packages]

    def keep(self):
        shutil.copytree(self.folder, self.folder.parent / "kept", symlinks=True)

    def reset(self, state=None):
        shutil.rmtree(self.folder)
        shutil.copytree(state or self.folder.parent / "kept", self.folder, symlinks=True)

    def run(self):
        return self.here.run(self.plan)

    def undo(self):
        return undo(self.here.place.open(), self.plan)


@pytest.fixture
def lane(tmp_path):
    return Lane(tmp_path)


def check_nothing_half(lane):
    """Each package is as it was or has all its derived files; nothing else is in it."""
    for package, before, derived in zip(lane.packages, lane.before, _derived(), strict=True):
        found = contents(lane.here.place, package)
        assert found in (before, before | derived)
        assert before == contents(lane.here.place, package, 1)


def _derived():
    return DERIVED, {b"derivatives/tcvn3-utf8/b.txt.txt": PLAIN.encode() * 3}


def check_all_done(lane):
    done = lane.run()
    assert (4, 3, 1) == (done.files, done.accepted, done.failed)
    for package, before, derived in zip(lane.packages, lane.before, _derived(), strict=True):
        assert before | derived == contents(lane.here.place, package)
        lines = [one.line for one in manifest_of(lane.here.place, package)[1:]]
        rows = {row.package: row for row in lane.here.migrated(lane.plan)}
        said = {one["derived"]["event"] for one in lines if "derived" in one}
        assert {rows[package].event_id} == said
        (made,) = {datetime.fromisoformat(one["mtime"]) for one in lines if "derived" in one}
        assert milliseconds_of(rows[package].event_id) == round(made.timestamp() * 1000)
    size = lane.here.place.open().ledger.size
    assert lane.run().already
    assert size == lane.here.place.open().ledger.size
    check_clean(lane)


def check_clean(lane):
    assert catalog_rows(lane.here.place) == rebuilt_rows(lane.here.place)
    report = audit(lane.here.place)
    assert (0, 0) == (report.exit_status, report.coverage.unexpected), [str(one) for one in report.findings]
    assert [] == [name for name in os.listdir(lane.here.place.open().staging) if name != "copies.lock"]


def spread(count, points):
    """So many numbers up to ``count``, evenly."""
    return sorted({1 + step * (count - 1) // max(1, points - 1) for step in range(points)})


def steps_of(lane, work):
    lane.keep()
    status, steps = killed_at(0, work)
    assert status == 0
    return steps


def check_kills(lane, work, points, check_end, most):
    for turn, number in enumerate(points):
        lane.reset()
        status, _ = killed_at(number, work, after=turn % 2 == 1)
        assert status == -signal.SIGKILL or number > most, number
        check_nothing_half(lane)
        check_end(lane)


def test_a_migration_killed_somewhere_goes_on_and_ends_as_if_nothing_had_been(lane):
    steps = steps_of(lane, lane.run)
    check_kills(lane, lane.run, spread(steps - SPARE, 4), check_all_done, steps - SPARE)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a kill leaves at each of some 670 steps, copied in one run; and the lane to go on with from there.

    Many steps leave the same, as they only make it last.
    """
    lane = Lane(tmp_path_factory.mktemp("left"))
    kept = lane.folder.parent / "left"
    kept.mkdir()
    steps = left_at_each_step(lane.run, lane.folder, kept)
    states = sorted(kept.iterdir())
    assert steps > 10 * SPARE
    assert len(states) > steps // 4
    return lane, states


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_migration_killed_anywhere_goes_on_and_ends_as_if_nothing_had_been(left, part):
    """Each state is some part's, so that processors share them, and a part can be run by itself."""
    lane, states = left
    for state in states[part::PARTS]:
        lane.reset(state)
        check_nothing_half(lane)
        check_all_done(lane)


def check_undone(lane):
    lane.undo()
    assert lane.undo().already
    assert lane.before == [contents(lane.here.place, package) for package in lane.packages]
    assert PlanState.UNDONE == lane.here.row(lane.plan).state
    check_clean(lane)


def test_an_undoing_killed_somewhere_goes_on(lane):
    lane.run()
    steps = steps_of(lane, lane.undo)
    check_kills(lane, lane.undo, spread(steps - SPARE, 3)[1:], check_undone, steps - SPARE)


def test_a_migration_killed_on_its_way_can_be_undone(lane):
    steps = steps_of(lane, lane.run)
    check_kills(lane, lane.run, spread(steps - SPARE, 5)[2:3], check_undone, steps - SPARE)


def test_outputs_that_were_spoilt_meanwhile_are_made_anew(lane):
    """What lies in staging after a kill is measured before it counts."""
    steps = steps_of(lane, lane.run)
    for number in spread(steps, 8):
        lane.reset()
        killed_at(number, lane.run)
        spoilt = list(lane.folder.glob("repo/staging/migration-*/*/tree/**/*.txt"))
        for path in spoilt:
            path.write_bytes(b"spoilt")
        check_all_done(lane)
        if spoilt:
            return
    pytest.fail("no kill left an output in staging")


def test_a_migration_that_is_told_to_stop_goes_on_later(lane):
    for looks in (0, 2, 4):
        lane.here.place.stop_after = looks
        with pytest.raises(StoppedError):
            lane.run()
        check_nothing_half(lane)
    lane.here.place.stop_after = None
    check_all_done(lane)


def test_one_process_executes_a_plan_at_a_time(lane):
    repository = lane.here.place.open()
    with working(repository, lane.plan), pytest.raises(PlanBusyError):
        lane.run()
    check_all_done(lane)
