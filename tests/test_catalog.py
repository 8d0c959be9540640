"""The catalog: what it says follows from ledger and indexes alone, however it is read, damaged or made again."""

import itertools
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository_support import (
    audit,
    catalog_rows,
    contents,
    every_row,
    flip,
    made,
    pack_file,
    pack_rows,
    rebuilt_rows,
    submit_files,
    tree,
)
from sizes import CATALOG_STEP

from preservation import attachment, fonds, rebuilding
from preservation.abandoning import abandon
from preservation.catalog import door
from preservation.catalog.errors import CatalogDamagedError, CatalogError
from preservation.catalog.overlay import Empty, Overlay
from preservation.catalog.rows import Location, location_bytes, locations
from preservation.ledger.checking import check_ledger
from preservation.session import open_sessions
from preservation.stopping import StoppedError

KEYS = st.binary(min_size=1, max_size=3)


# ---- the overlay -------------------------------------------------------------------------------------------------


class Dictionary(Empty):
    """A base made of a dict."""

    def __init__(self, values):
        self.values = dict(values)

    def get(self, key):
        return self.values.get(key)

    def get_many(self, keys):
        return [self.values.get(key) for key in keys]

    def scan(self, prefix):
        return iter([(key, self.values[key]) for key in sorted(self.values) if key.startswith(prefix)])


@given(
    base=st.dictionaries(KEYS, st.binary(max_size=2)),
    changes=st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2))),
    asked=st.lists(st.binary(max_size=3)),
)
def test_an_overlay_reads_as_the_base_would_after_the_changes(base, changes, asked):
    overlay, model = Overlay(Dictionary(base)), dict(base)
    for key, value in changes:
        if value is None:
            overlay.delete(key)
            model.pop(key, None)
        else:
            overlay.put(key, value)
            model[key] = value
    expected = Dictionary(model)
    for key in [*asked, *base, b""]:
        assert overlay.get(key) == expected.get(key)
        assert list(overlay.scan(key)) == list(expected.scan(key))
    assert overlay.get_many(asked) == expected.get_many(asked)
    stacked = Overlay(overlay)
    assert list(stacked.scan(b"")) == list(expected.scan(b""))
    merged = {**base, **{key: value for key, value in overlay.changes.items() if value is not None}}
    assert {key: value for key, value in merged.items() if overlay.changes.get(key, b"") is not None} == model


@given(
    st.lists(st.builds(Location, st.binary(min_size=32, max_size=32).map(bytes.hex), *[st.integers(0, 2**64 - 1)] * 2))
)
def test_the_places_of_an_object_come_back_as_they_were_written(places):
    assert locations(location_bytes(places)) == places
    assert locations(None) == []


# ---- the projection ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    """A repository in which every kind of event that changes a row has happened."""
    place = made(tmp_path_factory.mktemp("eventful") / "p", store_names=("a", "b", "c", "d"))
    attachment.detach(place.open(), "c", lost=False)
    first = submit_files(place, {"a": b"1" * 2_000, "b/c": b"2" * 3_000, "e/": None}, "first")
    submit_files(place, {"a": b"3" * 900}, "second", package=first.package, mode="replace")
    submit_files(place, {"x": b"1" * 2_000, "y": b"4"}, "third")
    fonds.open_fonds(place.open(), "F2", "Phông thứ hai")
    submit_files(place, {"x": b"1" * 2_000}, "fourth", fonds_code="F2")
    place.stop_after = 1
    with pytest.raises(StoppedError):
        submit_files(place, {f"{number:03}": b"%d" % number for number in range(200)}, "stopped")
    place.stop_after = None
    ((_, session),) = open_sessions(place.open().staging)
    abandon(place.open(), session.session)
    attachment.detach(place.open(), "d", lost=True)
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 300)
    assert audit(place).coverage.repaired == 1
    victim = next(row for row in pack_rows(place) if row.package == first.package and row.version == 1)
    for name in ("a", "b"):
        flip(pack_file(place, name, victim), 4_600)
    report = audit(place)
    assert len(report.coverage.lost_objects) == 1, report.findings
    return place


def test_the_catalog_made_anew_is_the_same_row_for_row(eventful):
    rows = catalog_rows(eventful)
    kinds = {key.split(b"/")[0] for key in rows}
    assert kinds == {
        b"copy",
        b"fonds",
        b"incident",
        b"lost",
        b"manifest",
        b"mark",
        b"object",
        b"pack",
        b"package",
        b"store",
        b"version",
    }
    assert rebuilt_rows(eventful) == rows
    events = eventful.open().ledger.size
    rebuilding.rebuild(eventful.path, eventful.world)
    assert catalog_rows(eventful) == rows
    assert eventful.open().ledger.size == events + 1
    assert list(check_ledger(f"{eventful.path}/ledger")) == []


def test_a_catalog_that_lags_behind_is_overlaid_by_readers_and_caught_up_by_the_next_writer(eventful):
    rows = catalog_rows(eventful)
    repository = eventful.open()
    with door.reading(repository.catalog.path, repository.catalog.identity) as database:
        position = int(database.get(b"!position"))
    shutil.copytree(repository.catalog.path, f"{eventful.path}/old")
    attachment.add(eventful.open(), "e", eventful.url("e"), site="e")
    shutil.rmtree(repository.catalog.path)
    os.rename(f"{eventful.path}/old", repository.catalog.path)
    before = tree(repository.catalog.path)
    late = catalog_rows(eventful)
    assert len(late) == len(rows) + 1
    assert {name: data for name, data in tree(repository.catalog.path).items() if name in before} == before
    attachment.detach(eventful.open(), "e", lost=False)
    with door.reading(repository.catalog.path, repository.catalog.identity) as database:
        assert int(database.get(b"!position")) == position + 2


def test_a_catalog_ahead_of_its_ledger_is_refused(eventful):
    repository = eventful.open()
    with door.writing(repository.catalog.path, repository.catalog.identity) as database:
        right = database.get(b"!position")
        database.write({b"!position": b"1000000"})
    with pytest.raises(CatalogDamagedError, match="the ledger has"):
        catalog_rows(eventful)
    with door.writing(repository.catalog.path, repository.catalog.identity) as database:
        database.write({b"!position": right})
    assert catalog_rows(eventful)


def test_a_missing_or_damaged_index_is_said_and_not_a_failed_open(eventful):
    rows = catalog_rows(eventful)
    folder = eventful.folder / "repo" / "ledger" / "indexes"
    victim = next(row for row in pack_rows(eventful) if row.state == "live")
    path = folder / victim.pack[:2] / f"{victim.pack}.jsonl"
    right = path.read_bytes()
    path.write_bytes(right.replace(b'"offset":', b'"0ffset":', 1))
    found = rebuilt_rows(eventful)
    assert [row for row in found if row not in rows] == []
    assert sum(b'"index_missing":true' in value for value in found.values()) == 1
    rebuilding.rebuild(eventful.path, eventful.world)  # the index comes back from a store
    assert path.read_bytes() == right
    assert catalog_rows(eventful) == rows


# ---- damage to the files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    place = made(tmp_path_factory.mktemp("small") / "p")
    submit_files(place, {f"{number:03}": b"%d" % number for number in range(60)}, "first")
    place.open().catalog.flush()
    submit_files(place, {"a": b"a", "b": b"b"}, "second")
    shutil.copytree(f"{place.path}/catalog", f"{place.path}/pristine")
    return place, catalog_rows(place)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(door, "OPENING_PAUSE", 0.0)
    monkeypatch.setattr(door, "OPENING_TRIES", 2)


def reset(place):
    shutil.rmtree(f"{place.path}/catalog")
    shutil.copytree(f"{place.path}/pristine", f"{place.path}/catalog")


def answer(repository):
    """What a reader gets: every row, or that the catalog is damaged."""
    try:
        with repository.reading() as view:
            return every_row(view)
    except CatalogError:
        return None


def check_flips(place, rows, step):
    """Change one byte after the other; return how often that was seen, and how often nothing was lost by it."""
    reset(place)
    repository = place.open()
    outcomes = {"seen": 0, "harmless": 0}
    for name in sorted(os.listdir(repository.catalog.path)):
        path = os.path.join(repository.catalog.path, name)
        with open(path, "rb") as file:
            right = file.read()
        for offset in range(0, len(right), step):
            wrong = bytearray(right)
            wrong[offset] ^= 1 << offset % 8
            with open(path, "r+b") as file:
                file.write(wrong)
            found = answer(repository)
            assert found is None or found == rows, (name, offset)
            outcomes["seen" if found is None else "harmless"] += 1
        with open(path, "r+b") as file:
            file.write(right)
            file.truncate(len(right))
    assert answer(repository) == rows
    return outcomes


@pytest.mark.damage
@pytest.mark.parametrize("step", [CATALOG_STEP, pytest.param(1, marks=pytest.mark.slow)])
def test_no_changed_byte_of_the_catalog_gives_a_wrong_answer(small, step):
    outcomes = check_flips(*small, step=step)
    assert outcomes["seen"] > min(100, 1_300 // step)
    assert outcomes["harmless"] > 5


def test_no_changed_length_or_type_of_a_record_of_the_manifest_hides_rows(small):
    place, rows = small
    reset(place)
    repository = place.open()
    folder = repository.catalog.path
    [path] = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("MANIFEST")]
    with open(path, "rb") as file:
        right = file.read()
    at, heads = 0, []
    while at < len(right):
        heads.append(at)
        at += 7 + int.from_bytes(right[at + 4 : at + 6], "little")
    assert at == len(right)
    assert len(heads) > 3
    for head, byte, bit in itertools.product(heads, (4, 5, 6), range(8)):
        wrong = bytearray(right)
        wrong[head + byte] ^= 1 << bit
        with open(path, "r+b") as file:
            file.write(wrong)
        assert answer(repository) is None, (head, byte, bit)
    for size in set(range(1, len(right))) - set(heads):
        os.truncate(path, 0)
        with open(path, "r+b") as file:
            file.write(right[:size])
        with pytest.raises(CatalogDamagedError, match="torn"), door.reading(folder, repository.catalog.identity):
            pass
    with open(path, "r+b") as file:
        file.write(right)
    assert answer(repository) == rows


@pytest.mark.parametrize("how", ["removed", "emptied", "halved", "zeroed"])
def test_no_missing_or_short_file_of_the_catalog_gives_a_wrong_answer(small, how):
    place, rows = small
    names = sorted(os.listdir(f"{place.path}/pristine"))
    outcomes = {}
    for name in names:
        reset(place)
        path = f"{place.path}/catalog/{name}"
        size = os.path.getsize(path)
        if how == "removed":
            os.unlink(path)
        elif how == "zeroed":
            with open(path, "wb") as file:
                file.write(bytes(size))
        else:
            os.truncate(path, 0 if how == "emptied" else size // 2)
        found = outcomes[name] = answer(place.open())
        assert found is None or found == rows, name
        # writing beside it must not make a wrong answer out of a right one either
        try:
            place.open().record([place.open().event("http://id.loc.gov/vocabulary/preservation/eventType/rec")])
        except CatalogError:
            assert answer(place.open()) is None, name
        except Exception as error:  # noqa: BLE001 - an event of another form is refused before anything is written
            assert "event" in str(error).lower(), error  # noqa: PT017
    assert outcomes["CURRENT"] is None


def test_a_damaged_catalog_is_made_anew_and_is_the_same(small):
    place, rows = small
    for name in ("CURRENT", next(name for name in os.listdir(f"{place.path}/pristine") if name.endswith(".sst"))):
        reset(place)
        os.unlink(f"{place.path}/catalog/{name}")
        with pytest.raises(CatalogDamagedError, match="mocban rebuild"):
            catalog_rows(place)
        rebuilding.rebuild(place.path, place.world)
        assert catalog_rows(place) == rows
    shutil.rmtree(f"{place.path}/catalog")
    with pytest.raises(CatalogDamagedError, match="there is no catalog"):
        catalog_rows(place)
    rebuilding.rebuild(place.path, place.world)
    assert catalog_rows(place) == rows
    assert audit(place).exit_status == 0


def test_another_repositorys_catalog_is_not_believed(small, tmp_path):
    place, _ = small
    other = made(tmp_path, seed=2)
    reset(place)
    shutil.rmtree(f"{place.path}/catalog")
    shutil.copytree(f"{other.path}/catalog", f"{place.path}/catalog")
    with pytest.raises(CatalogDamagedError, match="another repository"):
        catalog_rows(place)
    reset(place)


# ---- the door ----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    path = str(tmp_path / "catalog")
    door.create(path, "me")
    with door.writing(path, "me") as found:
        found.write({b"a/%d" % number: b"x" for number in range(9)})
    return path


def test_a_scan_that_was_left_half_way_does_not_end_the_process_when_the_catalog_is_closed(database):
    with door.reading(database, "me") as found:
        scan = found.scan(b"a/")
        assert next(scan) == (b"a/0", b"x")
    with pytest.raises(CatalogError, match="closed"):
        next(scan)
    with pytest.raises(CatalogError, match="closed"):
        found.get(b"a/0")


def test_a_reader_changes_no_file_and_sees_what_was_there_when_it_opened(database):
    before = tree(database)
    with door.reading(database, "me") as found:
        assert len(list(found.scan(b"a/"))) == 9
        with door.writing(database, "me") as writer:
            writer.write({b"a/9": b"y", b"a/0": None})
        assert found.get(b"a/9") is None
        assert found.get(b"a/0") == b"x"
    with door.reading(database, "me") as found:
        assert (found.get(b"a/0"), found.get(b"a/9")) == (None, b"y")
    assert set(before) - set(tree(database)) <= {name for name in before if name.endswith((".log", ".sst"))} | {
        name for name in before if name.startswith(("MANIFEST", "OPTIONS"))
    }


def test_a_catalog_is_not_used_in_another_process(database):
    with door.reading(database, "me") as found:
        child = os.fork()
        if child == 0:
            try:
                found.get(b"a/0")
            except CatalogError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert found.get(b"a/0") == b"x"


def test_creating_refuses_files_that_are_there(database):
    before = tree(database)
    os.unlink(f"{database}/CURRENT")
    with pytest.raises(CatalogError, match="files already"):
        door.create(database, "me")
    with pytest.raises(CatalogDamagedError), door.writing(database, "me"):
        pass
    assert set(tree(database)) == set(before) - {"CURRENT"}


# ---- two processes -----------------------------------------------------------------------------------------------

AUDITS = """
import sys
from pathlib import Path
from repository_support import Place, audit
place = Place(Path(sys.argv[1]))
print("ready", flush=True)
runs = 0
while not Path(sys.argv[2]).exists() or not runs:
    report = audit(place)
    assert report.exit_status == 0, report.findings
    assert report.coverage.unexpected == 0, report.findings
    runs += 1
print(runs)
"""


def test_an_ingest_and_an_audit_run_side_by_side(tmp_path):
    place = made(tmp_path)
    first = submit_files(place, {"first": b"1" * 5_000}, "first")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = tmp_path / "done"
    command = [sys.executable, "-c", AUDITS, str(tmp_path), str(done)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as audits:
        assert audits.stdout.readline() == "ready\n"
        try:
            receipts = [
                submit_files(place, {f"{number}/{name}": os.urandom(3_000) for name in range(20)}, f"s{number}")
                for number in range(4)
            ]
        finally:
            done.touch()
        out, errors = audits.communicate(timeout=120)
    assert audits.returncode == 0, errors
    assert int(out) >= 1
    assert all(receipt.copies == 2 and not receipt.already for receipt in receipts)
    assert len(contents(place, first.package)) == 1
    assert all(len(contents(place, receipt.package)) == 20 for receipt in receipts)
    assert catalog_rows(place) == rebuilt_rows(place)
    assert list(check_ledger(f"{place.path}/ledger")) == []
    assert audit(place).coverage.verified == 10
