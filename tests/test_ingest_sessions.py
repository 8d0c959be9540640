"""An ingest that is stopped, killed or given up, and new versions of a package."""

import os
import random
import subprocess
import sys

import pytest
from repository_support import (
    audit,
    catalog_rows,
    contents,
    flip,
    made,
    open_findings,
    pack_file,
    pack_rows,
    rebuilt_rows,
    submit,
    submit_files,
    tree,
)
from submission_support import write

from preservation.abandoning import NoSuchSessionError, abandon
from preservation.attempt import CopiesWentBadError
from preservation.catalog import rows
from preservation.packages import NoSuchPackageError
from preservation.packs import layout
from preservation.session import SessionBusyError, SessionChangedError, open_sessions, worked_on
from preservation.stopping import StoppedError
from preservation.versions import AlreadyInPackageError, NotInPackageError

_random = random.Random(11)
FILES = {f"{number:02}.bin": _random.randbytes(20_000) for number in range(9)} | {"rỗng": b"", "trống/": None}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 60_000)
    return made(tmp_path)


class KilledError(BaseException):
    """Stands for the end of the process: nobody catches it."""


def raw(files):
    return {os.fsencode(name): data for name, data in files.items()}


def killed_after(count):
    def told(_files, _bytes, done=[]):  # noqa: B006 - counts its calls
        done.append(1)
        if len(done) == count:
            raise KilledError

    return told


def packs_on(place, store="a"):
    return sorted(path.stem for path in place.store(store).rglob("*.tar"))


def sessions(place):
    return [session for _, session in open_sessions(place.open().staging)]


def consistent(place):
    assert catalog_rows(place) == rebuilt_rows(place)
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert report.coverage.unexpected == 0


# ---- stopped and killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 11))
def test_an_ingest_that_was_killed_goes_on_and_stores_nothing_twice(place, count):
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, told=killed_after(count))
    (begun,) = sessions(place)
    with place.open().reading() as view:
        assert list(rows.every(view, rows.PackageRow)) == [], "no half-visible package"
    there = packs_on(place)
    receipt = submit(place, source)
    assert (receipt.package, receipt.already, receipt.copies) == (begun.package, False, 2)
    assert set(there) <= set(receipt.packs)
    assert packs_on(place) == packs_on(place, "b") == sorted(receipt.packs)
    assert sum(row.objects for row in pack_rows(place)) == 10
    assert contents(place, receipt.package) == raw(FILES)
    assert sessions(place) == []
    consistent(place)


def test_an_ingest_that_was_killed_twice_makes_the_same_packs_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 60_000)
    source = tmp_path / "in"
    source.mkdir()
    write(source, FILES)
    found = []
    for name, kills in (("straight", []), ("killed", [3, 9])):
        place = made(tmp_path / name)
        for count in kills:
            with pytest.raises(KilledError):
                submit(place, source, told=killed_after(count))
        found.append(submit(place, source).packs)
    assert len(found[0]) == 5
    assert found[0] == found[1]


def test_an_ingest_that_is_told_to_stop_records_what_has_landed_and_goes_on(place, monkeypatch):
    monkeypatch.setattr("preservation.attempt.STOP_EVERY", 1)
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    place.stop_after = 7
    with pytest.raises(StoppedError):
        submit(place, source)
    place.stop_after = None
    recorded = {row.pack for row in pack_rows(place)}
    assert recorded == set(packs_on(place))
    assert recorded
    receipt = submit(place, source)
    assert recorded < set(receipt.packs)
    assert contents(place, receipt.package) == raw(FILES)
    consistent(place)


def test_an_audit_beside_an_unfinished_ingest_leaves_its_packs_alone(place):
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, told=killed_after(9))
    there = packs_on(place)
    report = audit(place)
    assert (report.exit_status, report.coverage.unexpected) == (0, 0), open_findings(report)
    assert packs_on(place) == there
    assert submit(place, source).copies == 2
    consistent(place)


def test_a_submission_that_is_not_what_it_was_is_told_before_anything_is_mixed(place):
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, told=killed_after(9))
    (source / "01.bin").write_bytes(b"another")
    with pytest.raises(SessionChangedError, match=r"01\.bin"):
        submit(place, source)
    write(source, {"01.bin": FILES["01.bin"]})
    assert contents(place, submit(place, source).package) == raw(FILES)


def test_an_ingest_that_is_given_up_leaves_nothing_on_the_stores(place):
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, told=killed_after(9))
    (begun,) = sessions(place)
    abandon(place.open(), begun.session)
    recorded = {row.pack for row in pack_rows(place)}
    assert {row.state for row in pack_rows(place)} == {"abandoned"}
    assert not recorded & set(packs_on(place))
    assert sessions(place) == []
    with pytest.raises(NoSuchSessionError):
        abandon(place.open(), begun.session)
    audit(place)  # what had landed and was never recorded goes to the quarantine
    assert packs_on(place) == packs_on(place, "b") == []
    receipt = submit(place, source)
    assert receipt.package != begun.package
    assert contents(place, receipt.package) == raw(FILES)
    consistent(place)


def test_two_processes_cannot_work_on_the_same_ingest(place):
    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, told=killed_after(1))
    ((folder, session),) = open_sessions(place.open().staging)
    with worked_on(folder, session.session), pytest.raises(SessionBusyError):
        submit(place, source)
    assert submit(place, source).copies == 2


def test_what_an_ingest_relies_on_and_went_bad_meanwhile_is_not_acknowledged(place):
    first = submit_files(place, {"shared": FILES["00.bin"]}, "first")
    (row,) = pack_rows(place)
    right = pack_file(place, "b", row).read_bytes()
    source = place.folder / "second"
    source.mkdir()
    write(source, {"a": FILES["00.bin"], "b": FILES["01.bin"]})

    def spoil(_files, _bytes, done=[]):  # noqa: B006 - counts its calls
        done.append(1)
        if len(done) == 2:
            flip(pack_file(place, "b", row), 5_000)
            audit(place, repair=False)

    with pytest.raises(CopiesWentBadError):
        submit(place, source, told=spoil)
    with pytest.raises(CopiesWentBadError):
        submit(place, source)
    assert audit(place).exit_status == 0
    assert pack_file(place, "b", row).read_bytes() == right
    receipt = submit(place, source)
    assert receipt.package != first.package
    assert contents(place, receipt.package) == {b"a": FILES["00.bin"], b"b": FILES["01.bin"]}
    consistent(place)


# ---- versions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def package(place):
    return submit_files(place, {"a": b"1", "b/c": b"2", "b/d": b"3", "e/": None}, "first").package


def test_a_version_adds_files_and_the_earlier_one_stays_readable(place, package):
    receipt = submit_files(place, {"b/new": b"4", "z": b"1"}, "more", package=package, mode="add")
    assert (receipt.package, receipt.version, receipt.files) == (package, 2, 5)
    assert contents(place, package) == {b"a": b"1", b"b/c": b"2", b"b/d": b"3", b"b/new": b"4", b"e/": None, b"z": b"1"}
    assert contents(place, package, 1) == {b"a": b"1", b"b/c": b"2", b"b/d": b"3", b"e/": None}
    consistent(place)


def test_a_version_replaces_files(place, package):
    receipt = submit_files(place, {"b/c": b"new"}, "more", package=package, mode="replace")
    assert receipt.version == 2
    assert contents(place, package)[b"b/c"] == b"new"
    assert contents(place, package, 1)[b"b/c"] == b"2"
    consistent(place)


def test_a_version_withdraws_files_and_folders_and_nothing_else(place, package):
    receipt = submit(place, None, package=package, withdrawn=("b", "a"))
    assert (receipt.version, receipt.files) == (2, 0)
    assert contents(place, package) == {b"e/": None}
    assert contents(place, package, 1)[b"b/c"] == b"2"
    consistent(place)


def test_adding_what_is_there_and_replacing_or_withdrawing_what_is_not_is_refused(place, package):
    before = tree(place.store("a") / "packs")
    with pytest.raises(AlreadyInPackageError, match="a"):
        submit_files(place, {"a": b"x"}, "one", package=package, mode="add")
    with pytest.raises(NotInPackageError, match="q"):
        submit_files(place, {"q": b"x"}, "two", package=package, mode="replace")
    with pytest.raises(NotInPackageError, match="q"):
        submit(place, None, package=package, withdrawn=("q",))
    with pytest.raises(NoSuchPackageError):
        contents(place, package, 2)
    assert tree(place.store("a") / "packs") == before
    assert sessions(place) == []
    consistent(place)


def test_a_version_that_changes_nothing_is_told_and_not_made(place, package):
    receipt = submit_files(place, {"a": b"1"}, "same", package=package, mode="replace")
    assert (receipt.already, receipt.version) == (True, 1)
    consistent(place)


def test_a_version_that_was_killed_goes_on(place, package):
    source = place.folder / "more"
    source.mkdir()
    write(source, FILES)
    with pytest.raises(KilledError):
        submit(place, source, package=package, mode="add", told=killed_after(8))
    assert set(contents(place, package)) == {b"a", b"b/c", b"b/d", b"e/"}, "the version before is still the latest"
    receipt = submit(place, source, package=package, mode="add")
    assert receipt.version == 2
    assert contents(place, package) == contents(place, package, 1) | raw(FILES)
    consistent(place)


def test_many_versions_stay_readable_each_as_it_was(place, package):
    expected = {1: contents(place, package)}
    for version in range(2, 6):
        submit_files(place, {"a": b"v%d" % version}, f"v{version}", package=package, mode="replace")
        expected[version] = {**expected[version - 1], b"a": b"v%d" % version}
    assert {version: contents(place, package, version) for version in expected} == expected
    consistent(place)


# ---- memory ------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from repository_support import Place, audit, submit
from pathlib import Path
place = Place(Path(sys.argv[1]))
receipt = submit(place, sys.argv[2])
assert receipt.files == int(sys.argv[3]), receipt
assert audit(place).exit_status == 0
# Not ru_maxrss, which goes on from the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize(("count", "size"), [(30_000, 10), (3, 60 << 20)], ids=["many", "large"])
def test_ingest_and_audit_stay_below_300_mib_however_much_comes(tmp_path, count, size):
    made(tmp_path)
    source = tmp_path / "in"
    source.mkdir()
    for number in range(count):
        if number % 1_000 == 0:
            folder = source / str(number // 1_000)
            folder.mkdir()
        with open(folder / f"{number}", "wb") as file:
            file.write(b"%0*d" % (min(size, 100), number))
            file.truncate(size)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(source), str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300 << 10, f"{int(done.stdout) >> 10} MiB"
