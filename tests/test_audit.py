"""Audits: what they count, what they skip and why, how they stop and go on, what they do with strangers."""

import subprocess
import sys

import pytest
from repository_support import (
    audit,
    copy_rows,
    flip,
    made,
    open_findings,
    pack_file,
    pack_rows,
    seen,
    store_rows,
    submit_files,
    tree,
)

from audits.findings import Code
from preservation.stopping import StoppedError

ON_A_DEVICE = {"ext2/ext3", "xfs", "btrfs", "f2fs", "zfs"}
"""File systems of local disks, as coreutils names them: not asked of the program, whose word is on trial."""


@pytest.fixture
def place(tmp_path):
    place = made(tmp_path)
    submit_files(place, {b"a/one.txt": b"one", b"b.txt": b"two" * 1000}, name="first")
    submit_files(place, {b"c.txt": b"three"}, name="second")
    return place


def test_the_sum_closes_and_every_copy_is_verified(place):
    report = audit(place)

    assert {
        "expected": 4,
        "verified": 4,
        "damaged": 0,
        "missing": 0,
        "unreadable": 0,
        "unexpected": 0,
        "skipped": 0,
        "repaired": 0,
    } == seen(report)
    assert 0 == report.exit_status
    assert report.complete


def test_copies_that_were_never_verified_come_first_and_then_the_oldest(place):
    audit(place, stores=("a",))
    place.clock.pass_by(days=10)

    report = audit(place, bytes=1)

    checked = [row for row in copy_rows(place) if row.verified and row.verified > "2026-01-05"]
    assert report.coverage.skipped
    assert {row.store for row in checked} == {store_rows(place)["b"].store} | {
        row.store for row in checked if row.store == store_rows(place)["a"].store
    }
    assert any(row.store == store_rows(place)["b"].store for row in checked)


def test_what_is_young_enough_is_skipped_and_said_to_be(place):
    audit(place)
    place.clock.pass_by(days=1)

    report = audit(place, max_age_days=30)

    assert 4 == report.coverage.skipped
    assert {"age": 4} == report.coverage.skipped_reasons
    assert 0 == report.exit_status
    assert not report.complete


def test_a_damaged_copy_is_read_again_however_young_it_is(place):
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 700)
    audit(place, repair=False)
    place.clock.pass_by(hours=1)

    report = audit(place, repair=False, max_age_days=30)

    assert 1 == report.coverage.damaged
    assert 3 == report.exit_status


def test_without_repair_nothing_on_the_stores_changes(place):
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 700)
    before = {name: data for name, data in tree(place.store("a")).items() if not name.startswith("ledger/")}

    report = audit(place, repair=False)

    assert 1 == report.coverage.damaged
    assert before == {name: data for name, data in tree(place.store("a")).items() if not name.startswith("ledger/")}


def test_a_healed_copy_is_byte_identical_and_the_bad_bytes_are_kept(place):
    row = pack_rows(place)[0]
    right = pack_file(place, "b", row).read_bytes()
    flip(pack_file(place, "a", row), 700)
    bad = pack_file(place, "a", row).read_bytes()

    report = audit(place)

    assert right == pack_file(place, "a", row).read_bytes()
    assert 1 == report.coverage.repaired
    assert 0 == report.exit_status
    kept = [path for path in (place.store("a") / "quarantine").iterdir() if path.is_file()]
    assert [bad] == [path.read_bytes() for path in kept]
    assert not [path for path in kept if path.name.endswith(".tar")]


def test_an_audit_that_is_stopped_goes_on_where_it_was(place):
    place.stop_after = 2
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    first = {(row.pack, row.store): row.verified for row in copy_rows(place) if row.verified}

    report = audit(place)

    assert 0 < len(first) < 4
    after = {(row.pack, row.store): row.verified for row in copy_rows(place)}
    assert first == {key: after[key] for key in first}
    assert 4 == report.coverage.verified


def test_a_store_that_is_away_is_unreadable_and_never_missing(place):
    place.store("b").rename(place.folder / "away")

    report = audit(place)

    assert 2 == report.coverage.unreadable
    assert 0 == report.coverage.missing
    assert 3 == report.exit_status
    assert Code.STORE_UNAVAILABLE in {finding.code for finding in report.findings}


def test_an_empty_mount_point_is_a_store_that_is_away(place):
    place.store("b").rename(place.folder / "away")
    place.store("b").mkdir()

    report = audit(place)

    assert (2, 0) == (report.coverage.unreadable, report.coverage.missing)
    assert [] == list(place.store("b").iterdir())


def test_a_store_that_comes_back_is_verified_again(place):
    place.store("b").rename(place.folder / "away")
    audit(place)
    (place.folder / "away").rename(place.store("b"))

    report = audit(place)

    assert 4 == report.coverage.verified
    assert 0 == report.exit_status


def test_strangers_on_a_store_go_to_the_quarantine(place):
    stranger = place.store("a") / "packs" / "visitor.tar"
    stranger.write_bytes(b"not ours")

    report = audit(place)

    assert 1 == report.coverage.unexpected
    assert not stranger.exists()
    kept = [path.read_bytes() for path in (place.store("a") / "quarantine").iterdir()]
    assert [b"not ours"] == kept
    assert 0 == report.exit_status
    assert 0 == audit(place).coverage.unexpected


def test_a_stranger_stays_an_open_finding_without_repair(place):
    (place.store("a") / "packs" / "visitor.tar").write_bytes(b"not ours")

    report = audit(place, repair=False)

    assert 3 == report.exit_status
    assert [("item-unexpected", "a", "packs/visitor.tar")] == open_findings(report)


@pytest.mark.parametrize("name", ["README.txt", "restore.sh"])
def test_texts_for_recovery_are_written_anew(place, name):
    path = place.store("a") / name
    right = path.read_bytes()
    flip(path, 5)

    report = audit(place)

    assert right == path.read_bytes()
    assert Code.EVIDENCE_DAMAGED in {finding.code for finding in report.findings}


def test_damaged_evidence_on_a_store_is_found_and_healed(place):
    for path in sorted((place.store("a") / "ledger").rglob("*")):
        if path.is_file():
            flip(path, path.stat().st_size // 2)

    report = audit(place)

    found = {finding.detail for finding in report.findings if finding.code is Code.EVIDENCE_DAMAGED}
    assert any(name.startswith("ledger/tail/") for name in found)
    assert any(name.startswith("ledger/configuration/") for name in found)
    assert 0 == report.exit_status
    assert not [finding for finding in audit(place).findings if finding.code is Code.EVIDENCE_DAMAGED]


def test_an_audit_of_one_fonds_leaves_the_others_alone(place):
    report = audit(place, fonds=("another",))

    assert 0 == report.coverage.expected


def test_an_audit_after_an_ingest_reads_the_bytes_of_all_copies_from_the_device(place):
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(place.folder)], capture_output=True, check=True, text=True)
    if kind.stdout.strip() not in ON_A_DEVICE:
        pytest.skip(f"there is no device below the temporary folder: {kind.stdout.strip()}")
    program = """
import sys
from repository_support import Place, Path, audit
def read():
    return int(dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())["read_bytes"])
place = Place(Path(sys.argv[1]))
before = read()
report = audit(place)
print(read() - before, sum(row.reach == "medium" for row in __import__("repository_support").copy_rows(place)))
"""
    rows = pack_rows(place)
    command = [sys.executable, "-c", program, str(place.folder)]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=60
    )
    read, from_medium = (int(word) for word in done.stdout.split())

    assert 2 * len(rows) == from_medium
    assert 2 * sum(row.size for row in rows) <= read
