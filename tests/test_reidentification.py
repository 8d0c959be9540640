"""Formats gone through again: what changes, in which order, what is kept, and what a stop or a kill leaves."""

import json
import os
import shutil
from concurrent.futures import Future
from datetime import timedelta

import pytest
from kept_support import brought_back
from repository_support import audit, catalog_rows, made, manifest_of, open_findings, rebuilt_rows, submit_files, tree

from preservation import parts, reidentification
from preservation.affected import Target
from preservation.catalog import rows
from preservation.catalog.formats import ReidentificationRow
from preservation.catalog.rows import PartRow
from preservation.formats.identification import FormatMatch, Identification, checked_puid
from preservation.identifications import Layers, key_of
from preservation.ledger.events import EventType
from preservation.manifest import FileLine
from preservation.parts import PartMissingError
from preservation.rebuilding import rebuild_from
from preservation.reidentification import moves_of, reidentify
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import all_open, attached

FILES = {
    "a/old.bin": b"OLD one",
    "a/same.bin": b"SAME",
    "b/nobody.xyz": b"NOBODY KNOWS",
    "b/twice.xyz": b"NOBODY KNOWS",
    "b/hang.bin": b"HANG",
    "large.bin": b"LARGE" + bytes(9 << 20),
}


class Knowing:
    """Tells the format by the first word of the content, as one set of signatures does."""

    def __init__(self, label, known):
        self.label, self.known, self.asked = label, known, []

    def submit(self, sample):
        future = Future()
        word = sample.head.split(b"\0")[0].split(b" ")[0].decode()
        self.asked.append(word)
        future.set_result(self.answer(word))
        return future

    def answer(self, word):
        puid = self.known.get(word)
        if puid == "late":
            return Identification("timeout", (), ("late",))
        if puid is None:
            return Identification("unidentified")
        return Identification("identified", (FormatMatch(checked_puid(puid), "signature", "tool 1", self.label),))

    def close(self):
        pass


OLD = {"OLD": "fmt/1", "SAME": "fmt/2", "HANG": "fmt/3", "LARGE": "fmt/4"}
NEW = {"OLD": "fmt/11", "SAME": "fmt/2", "NOBODY": "fmt/1756", "HANG": "late", "LARGE": "fmt/14"}


def first(place, files=FILES, **more):
    return submit_files(place, files, identifier=Knowing("signatures 1", OLD), **more)


def again(place, known=None, *, target=None, identifier=None, **more):
    identifier = identifier or Knowing("signatures 2", NEW if known is None else known)
    target = target or Target("b" * 64, "signatures 2", frozenset({"fmt/1"}))
    return reidentify(place.open(), target, identifier, lambda _files, _bytes: None, **more)


def newest(place, package):
    """The newest answer for each path, in short."""
    repository = place.open()
    with repository.reading() as view, Layers(repository.sidecars, view) as layers:
        later = layers.of_package(next(iter(rows.every(view, rows.FondsRow))).fonds, package)
        lines = [line for line in manifest_of(place, package) if isinstance(line, FileLine)]
        return {line.path.decode(): later.newest(line) for line in lines}


def short(place, package):
    return {path: key_of(one.answer) for path, one in newest(place, package).items()}


EXPECTED = {
    "a/old.bin": "fmt/11",
    "a/same.bin": "fmt/2",
    "b/nobody.xyz": "fmt/1756",
    "b/twice.xyz": "fmt/1756",
    "b/hang.bin": "fmt/3",
    "large.bin": "fmt/14",
}


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(made, tmp_path_factory)


def test_exactly_what_the_new_signatures_say_otherwise_changes_and_history_is_kept(place):
    package = first(place).package
    before = [line for line in manifest_of(place, package) if isinstance(line, FileLine)]
    run = again(place)
    assert EXPECTED == short(place, package)
    found = newest(place, package)
    assert ["unidentified"] == [key_of(one) for one in found["b/nobody.xyz"].before]
    assert ["fmt/1"] == [key_of(one) for one in found["a/old.bin"].before]
    assert () == found["a/same.bin"].before
    assert before == [line for line in manifest_of(place, package) if isinstance(line, FileLine)]
    assert [("unidentified", "fmt/1756", 2), ("fmt/1", "fmt/11", 1), ("fmt/4", "fmt/14", 1)] == moves_of(run)
    assert (6, 4, 1, 0) == (run.looked, run.moved, run.failed, run.unreached)


def test_what_could_not_be_looked_at_keeps_its_answer_and_leaves_the_run_incomplete(place):
    package = first(place).package
    run = again(place)
    assert "incomplete" == run.outcome
    assert "fmt/3" == short(place, package)["b/hang.bin"]


def test_what_is_affected_is_looked_at_first(place):
    first(place)
    identifier = Knowing("signatures 2", NEW)
    again(place, identifier=identifier)
    assert ["OLD", "NOBODY"] == identifier.asked[:2]
    assert {"SAME", "HANG", "LARGE"} == set(identifier.asked[2:])


def test_each_content_is_looked_at_once(place):
    first(place)
    first(place, {"again/old.bin": b"OLD one", "b/nobody.xyz": b"NOBODY KNOWS"}, name="more")
    identifier = Knowing("signatures 2", NEW)
    again(place, identifier=identifier)
    assert sorted(set(identifier.asked)) == sorted(identifier.asked)


def test_a_run_that_has_ended_is_not_done_again_unless_it_is_asked_for(place):
    first(place, {"a.bin": b"OLD one"})
    run = again(place)
    size = place.open().ledger.size
    identifier = Knowing("signatures 2", NEW)
    assert run == again(place, identifier=identifier)
    assert [] == identifier.asked
    assert size == place.open().ledger.size
    more = again(place, again=True, identifier=identifier)
    assert run.run != more.run
    assert ["OLD"] == identifier.asked
    assert (1, 0) == (more.looked, more.moved)


def test_more_kinds_of_moves_than_an_event_can_hold_are_counted_and_not_refused(place, monkeypatch):
    many = {f"W{number}": f"fmt/{number}" for number in range(40)}
    first(place, {f"{word}.bin": f"{word} x".encode() for word in many})
    monkeypatch.setattr("preservation.reidentification.MOVES_AT_ONCE", 100)
    run = again(place, many)
    assert 40 == len(moves_of(run))
    closing = [one for one in place.open().ledger.records() if one.event.type == EventType.REIDENTIFICATION_CLOSED]
    assert 40 == sum(closing[-1].event.detail["moves"].values())
    assert "other -> other" in closing[-1].event.detail["moves"]


def test_a_run_of_little_time_at_once_comes_to_its_end(place):
    package = first(place).package
    runs = [again(place, budget=timedelta(milliseconds=1))]
    while not runs[-1].closed:
        assert len(runs) < 20
        runs.append(again(place, budget=timedelta(milliseconds=1)))
    assert len(runs) > 3
    assert {runs[0].run} == {run.run for run in runs}
    assert EXPECTED == short(place, package)
    assert (6, 4, 1) == (runs[-1].looked, runs[-1].moved, runs[-1].failed)


def test_asked_to_look_again_it_looks_at_everything_the_first_time_too(place):
    submit_files(place, {"a.bin": b"OLD one"}, identifier=Knowing("signatures 2", NEW))
    assert 0 == again(place).looked
    submit_files(place, {"b.bin": b"SAME"}, "other", identifier=Knowing("signatures 3", NEW))
    target = Target("c" * 64, "signatures 3")
    assert 2 == again(place, identifier=Knowing("signatures 3", NEW), target=target, again=True).looked


def test_what_was_taken_in_with_the_new_signatures_is_not_looked_at(place):
    first(place, {"a.bin": b"OLD one"})
    submit_files(place, {"c.bin": b"LARGE thing"}, name="late", identifier=Knowing("signatures 2", NEW))
    identifier = Knowing("signatures 2", NEW)
    again(place, identifier=identifier)
    assert ["OLD"] == identifier.asked


@pytest.mark.parametrize("after", [0, 1, 3, 5, 6, 8, 11])
def test_a_run_that_was_stopped_anywhere_goes_on_and_counts_nothing_twice(place, after):
    package = first(place).package
    place.stop_after = after
    with pytest.raises(StoppedError):
        again(place)
    place.stop_after = None
    run = again(place)
    assert EXPECTED == short(place, package)
    assert [("unidentified", "fmt/1756", 2), ("fmt/1", "fmt/11", 1), ("fmt/4", "fmt/14", 1)] == moves_of(run)
    assert (6, 4, 1) == (run.looked, run.moved, run.failed)
    with place.open().reading() as view:
        assert [run.run] == [row.run for row in rows.every(view, ReidentificationRow)]


def test_a_part_that_nobody_names_does_no_harm_and_goes_when_it_is_old(place):
    package = first(place).package
    repository = place.open()
    young, old = (
        parts.write_parts(repository, "identifications", (("package", str),), [(f"nobody's {number}",)])[0].blake3
        for number in range(2)
    )
    folder = place.folder / "repo" / "ledger" / "parts"
    os.utime(folder / f"{old}.parquet", (1, 1))
    again(place)
    assert EXPECTED == short(place, package)
    assert (folder / f"{young}.parquet").exists()
    assert not (folder / f"{old}.parquet").exists()


@pytest.mark.parametrize("moment", ["before the event", "behind the event", "before the end"])
def test_a_run_that_is_killed_goes_on_behind_its_last_batch(place, monkeypatch, moment):
    package = first(place).package
    monkeypatch.setattr("preservation.reidentification.ROWS_AT_ONCE", 2)
    pid = os.fork()
    if not pid:
        killed_at(moment, place)
    assert 9 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    run = again(place)
    assert EXPECTED == short(place, package)
    assert [("unidentified", "fmt/1756", 2), ("fmt/1", "fmt/11", 1), ("fmt/4", "fmt/14", 1)] == moves_of(run)
    assert (6, 4, 1) == (run.looked, run.moved, run.failed)
    assert rebuilt_rows(place) == catalog_rows(place)


def killed_at(moment, place):
    """End this process as a power cut does, in the middle of a run; never returns."""
    try:
        record = Repository.record

        def cut(repository, events):
            if moment == "behind the event":
                record(repository, events)
            os._exit(9)

        if moment == "before the end":
            reidentification._closed = lambda *_: os._exit(9)
        else:
            Repository.record = cut
        again(place)
    finally:
        os._exit(1)


def test_signatures_that_come_in_between_end_the_run_before(place):
    first(place)
    place.stop_after = 3
    with pytest.raises(StoppedError):
        again(place)
    place.stop_after = None
    third = Knowing("signatures 3", {**NEW, "OLD": "fmt/111", "HANG": "fmt/3"})
    run = again(place, identifier=third, target=Target("c" * 64, "signatures 3"))
    with place.open().reading() as view:
        assert {"superseded", "complete"} == {row.outcome for row in rows.every(view, ReidentificationRow)}
    assert "c" * 64 == run.bundle


def test_a_later_version_that_took_the_old_answer_over_has_the_new_one_too(place):
    package = first(place).package
    again(place)
    submit_files(place, {"z.bin": b"SAME"}, name="added", package=package, mode="add")
    assert 2 == max(line["version"] for line in manifest_of(place, package) if isinstance(line, dict))
    assert {**EXPECTED, "z.bin": "fmt/2"} | {"z.bin": short(place, package)["z.bin"]} == short(place, package)


def test_a_third_set_of_signatures_builds_on_the_second(place):
    package = first(place).package
    again(place)
    third = Knowing("signatures 3", {**NEW, "OLD": "fmt/1", "HANG": "fmt/33"})
    again(place, identifier=third, target=Target("c" * 64, "signatures 3"))
    found = newest(place, package)
    assert ["fmt/1", "fmt/11"] == [key_of(one) for one in found["a/old.bin"].before]
    assert "fmt/1" == key_of(found["a/old.bin"].answer)
    assert "fmt/33" == key_of(found["b/hang.bin"].answer)


def test_the_ledger_has_counts_and_no_name_and_the_part_has_no_name_either(place):
    first(place, {"bí mật.tàiliệu": b"OLD one", "x.secretext": b"NOBODY KNOWS"})
    again(place)
    repository = place.open()
    records = [record for record in repository.ledger.records() if record.event.type == EventType.FORMAT_IDENTIFICATION]
    text = b"".join(record.data for record in records)
    assert {"unidentified -> fmt/1756": 1} == json.loads(records[0].data)["detail"]["moves"] or len(records) > 1
    assert b"secretext" not in text
    with repository.reading() as view:
        for row in rows.every(view, PartRow):
            lines = list(parts.read_part(repository.sidecars, row.blake3, (("package", str), ("name", str))))
            assert lines
            assert "secretext" not in str(lines)
            assert row.rows == len(lines)


def test_losing_the_server_loses_nothing(place, tmp_path):
    package = first(place).package
    again(place)
    shutil.rmtree(place.path)
    rebuild_from(place.url("a"), place.path, place.world, kit=str(place.folder / "repo-recovery-kit"))
    assert EXPECTED == short(place, package)


def test_the_catalog_made_anew_is_the_same(place):
    first(place)
    again(place)
    assert rebuilt_rows(place) == catalog_rows(place)


def test_a_part_that_is_missing_here_is_said_and_comes_back(place):
    package = first(place).package
    again(place)
    for path in (place.folder / "repo" / "ledger" / "parts").glob("*.parquet"):
        path.unlink()
    with pytest.raises(PartMissingError):
        short(place, package)
    again(place)
    assert EXPECTED == short(place, package)


def test_a_part_that_was_changed_is_not_believed(place):
    package = first(place).package
    again(place)
    path = next((place.folder / "repo" / "ledger" / "parts").glob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PartMissingError):
        short(place, package)


def test_a_content_that_no_copy_gives_is_counted_and_not_passed_over(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    for store in ("a", "b"):
        for path in (place.store(store) / "packs").rglob("*.tar"):
            data = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(data.replace(b"OLD one", b"OLD two"))
    run = again(place)
    assert (0, 1, "incomplete") == (run.looked, run.unreached, run.outcome)
    assert "fmt/1" == short(place, package)["a.bin"]


def test_a_wrong_copy_is_never_identified_if_there_is_a_right_one(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    for path in (place.store("a") / "packs").rglob("*.tar"):
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data.replace(b"OLD one", b"SAME   "))
    again(place)
    assert "fmt/11" == short(place, package)["a.bin"]


def test_reading_the_newest_answers_changes_no_file(place):
    package = first(place).package
    again(place)
    before = tree(place.folder)
    short(place, package)
    assert before == tree(place.folder)


def test_parts_lie_on_every_store_and_an_audit_brings_a_lost_one_back(place):
    first(place)
    again(place)
    for store in ("a", "b"):
        assert list((place.store(store) / "ledger" / "parts").glob("*.parquet"))
    lost = next((place.store("a") / "ledger" / "parts").glob("*.parquet"))
    lost.unlink()
    report = audit(place)
    assert [] == open_findings(report)
    assert lost.exists()


def test_many_packages_share_parts_and_each_finds_its_own(place, monkeypatch):
    packages = [first(place, {"a.bin": b"OLD %d" % number}, name=f"s{number}").package for number in range(5)]
    monkeypatch.setattr(parts, "ROWS_IN_GROUP", 2)
    run = again(place)
    assert 5 == run.moved
    for package in packages:
        assert {"a.bin": "fmt/11"} == short(place, package)
    with place.open().reading() as view, all_open(attached(view)):
        assert 1 == len([row for row in rows.every(view, PartRow) if row.rows])
