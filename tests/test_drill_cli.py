"""``mocban drill`` as people and scripts meet it: statuses, signed reports, and a kill in the middle."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from cli_support import ROOT, archive
from repository_support import flip

from preservation.ledger.notes import parse_note, parse_verifier_key, signed_by
from preservation.scratch import PREFIX, clear_scratch, scratch


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    made.ingest()
    made.ingest({"other.bin": os.urandom(300_000)}, name="other")
    return made


def staging(archive):
    return archive.path / "staging"


def scratches(folder):
    return [path for path in folder.iterdir() if PREFIX in path.name]


def test_the_answer_for_scripts_is_the_report_whose_digest_is_in_the_ledger(kept):
    said = kept("drill", "--seed", "7", "--json")
    assert said.status == 0, said.err
    assert said.json["passed"] is True
    assert said.json["seed"] == 7
    event = kept.json("events", "--type", "drill")[-1]
    assert event["outcome"] == "success"
    assert event["detail"]["report_sha256"] == hashlib.sha256(said.out.encode()).hexdigest()
    assert kept("ledger", "verify").status == 0


def test_people_read_a_table_and_a_verdict(kept):
    said = kept("drill", "--packs", "1")
    assert said.status == 0, said.err
    for words in (
        "bit-flip",
        "stale-cache",
        "lying-write",
        "refused",
        "9 faults injected: 9 detected",
        "PASSED",
        "SHA-256",
    ):
        assert words in said.out, words


def test_a_report_is_signed_and_speaks_both_languages(kept, tmp_path):
    said = kept("drill", "--packs", "1", "--faults", "missing, bit-flip", "--report", tmp_path / "drill-11")
    assert said.status == 0, said.err
    assert sorted(os.listdir(tmp_path)) == ["drill-11.en.txt", "drill-11.json", "drill-11.note", "drill-11.vi.txt"]
    note = parse_note((tmp_path / "drill-11.note").read_bytes())
    key = parse_verifier_key((kept.path / "keys" / "log.vkey").read_text().strip())
    assert signed_by(note, [key]) == (key,)
    title, _origin, drill, *digests, end = note.text.split("\n")
    assert (title, end) == ("mocban drill report", "")
    for line in digests:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    report = json.loads((tmp_path / "drill-11.json").read_bytes())
    assert report["drill"] == drill
    assert [one["fault"] for one in report["trials"]] == ["bit-flip", "missing"]
    checked = subprocess.run(
        ["sha256sum", "-c"], input="\n".join(digests), text=True, cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "PASSED" in (tmp_path / "drill-11.en.txt").read_text()
    again = kept("drill", "--report", tmp_path / "drill-11")
    assert again.status == 1
    assert "already" in again.err


def test_a_report_that_cannot_be_written_is_refused_before_the_work(kept, tmp_path):
    before = len(kept.json("events", "--type", "drill"))
    for place in (tmp_path / "nowhere" / "report", tmp_path / "re\nport", f"{tmp_path}/"):
        assert kept("drill", "--report", place).status == 1
    assert len(kept.json("events", "--type", "drill")) == before


def test_a_class_of_faults_that_does_not_exist_is_a_usage_error(kept):
    said = kept("drill", "--faults", "bit-flip,fire")
    assert said.status == 2
    assert "fire" in said.err
    assert kept("drill", "--packs", "0").status == 2
    assert kept("drill", "--seed", "-1").status == 2


def test_a_real_copy_that_is_wrong_makes_status_3_and_a_warning(tmp_path):
    kept = archive(tmp_path)
    kept.ingest()
    flip(kept.packs("d1")[0], 1000)
    said = kept("drill", "--faults", "missing")
    assert said.status == 3
    assert "mocban audit" in said.err
    assert "Real copies that are not right: 1" in said.out


# ---- a kill in the middle --------------------------------------------------------------------------------------------


def killed(kept, *arguments):
    """Begin a drill and kill it when its shadow is there."""
    places = [staging(kept), *(path for path in [kept.folder / "large"] if path.exists())]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "-C", str(kept.path), "drill", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if any(found.rglob("store-1")) if (found := next(iter(scratches(places[-1])), None)) else False:
                break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before"


def test_what_a_killed_drill_leaves_is_removed_by_the_next_audit_or_drill(tmp_path):
    kept = archive(tmp_path)
    kept.ingest()
    for verb in (("audit",), ("drill", "--packs", "1", "--faults", "missing")):
        killed(kept)
        assert scratches(staging(kept))
        assert kept(*verb).status == 0
        assert [] == scratches(staging(kept)), verb


def test_what_a_killed_drill_leaves_elsewhere_is_removed_too(tmp_path):
    kept = archive(tmp_path)
    kept.ingest()
    large = tmp_path / "large"
    large.mkdir()
    (large / "mocban-scratch-of-somebody-else").mkdir()
    killed(kept, "--work", str(large))
    assert len(scratches(large)) == 2
    assert kept("audit").status == 0
    assert [] == scratches(staging(kept))
    assert ["mocban-scratch-of-somebody-else"] == os.listdir(large)


def test_housekeeping_leaves_the_work_of_a_living_process_alone(tmp_path):
    kept = archive(tmp_path)
    folder = str(staging(kept))
    with scratch(folder, "1") as work:
        path = os.path.join(work, "something")
        os.mkdir(path)
        os.utime(work, (0, 0))
        assert not clear_scratch(work)
        assert kept("audit").status == 0
        assert os.path.isdir(path)
    assert [] == os.listdir(folder) or not scratches(staging(kept))


def test_a_pointer_that_somebody_put_there_removes_nothing_of_theirs(tmp_path):
    kept = archive(tmp_path)
    precious = tmp_path / "precious"
    precious.mkdir()
    trap = staging(kept) / f"{PREFIX}9"
    trap.mkdir()
    (trap / "elsewhere").write_bytes(os.fsencode(precious))
    link = tmp_path / f"mocban-{PREFIX}8"
    link.symlink_to(precious)
    other = staging(kept) / f"{PREFIX}8"
    other.mkdir()
    (other / "elsewhere").write_bytes(os.fsencode(link))
    assert kept("audit").status == 0
    assert precious.is_dir()
    assert [] == scratches(staging(kept))
