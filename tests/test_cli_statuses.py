"""Exit statuses, and messages that say what happened, where, and what to do."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from cli_support import FONDS, ROOT, archive, damage, mocban, mocban_process

from commands.statuses import Status, gravest
from preservation.ledger.layout import LOCK_FILE


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    made.ingest()
    return made


def test_the_gravest_status_counts():
    assert gravest(Status.COPIES_SHORT, Status.FINDINGS, Status.ERROR) is Status.ERROR
    assert gravest(Status.DONE, Status.COPIES_SHORT, Status.FINDINGS) is Status.FINDINGS
    assert gravest(Status.DONE, Status.COPIES_SHORT) is Status.COPIES_SHORT
    assert gravest() is Status.DONE


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["list", "--frob"],
        ["show"],
        ["init"],
        ["ingest"],
        ["ingest", "x"],
        ["ingest", "x", "--fonds", "F", "--add"],
        ["ingest", "x", "--package", "P"],
        ["ingest", "x", "--package", "P", "--withdraw", "a"],
        ["ingest", "--package", "P", "--add"],
        ["ingest", "x", "--package", "P", "--add", "--replace"],
        ["audit", "--time", "soon"],
        ["audit", "--bytes", "much"],
        ["export", "P", "x", "--as", "pdf"],
        ["rebuild", "there"],
        ["rebuild", "--from", "file:///x"],
        ["ledger", "key", "--rotate"],
        ["ledger", "key", "--public", "--kit-confirmed"],
        ["store", "add", "x", "file:///x"],
        ["store"],
    ],
)
def test_wrong_usage_is_2_and_shows_how(kept, arguments):
    said = kept(*arguments)
    assert (2, "") == (said.status, said.out)
    assert "Usage: mocban" in said.err


@pytest.mark.parametrize(
    "command", ["list", "status", "audit", "doctor", "serve", "rebuild", "events", "ledger verify"]
)
def test_no_repository_is_10(tmp_path, command):
    said = mocban("-C", tmp_path / "nowhere", *command.split())
    assert (10, "") == (said.status, said.out)
    assert str(tmp_path / "nowhere") in said.err
    assert "mocban init" in said.err
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["ingest", "no-such-folder", "--fonds", FONDS], "no-such-folder"),
        (["ingest", ".", "--fonds", "NONE"], "mocban fonds add NONE"),
        (["show", "nope"], "mocban list"),
        (["audit", "--store", "nope"], "mocban store list"),
        (["audit", "--fonds", "nope"], "mocban fonds list"),
        (["audit", "--package", "nope"], "mocban list"),
        (["repair", "nope"], "mocban list"),
        (["store", "detach", "nope"], "mocban store list"),
        (["store", "add", "x", "ftp://x/y", "--site", "s"], "file:///"),
        (["fonds", "add", FONDS], FONDS),
        (["fonds", "add", "with space"], "with space"),
        (["ingest", "abandon", "nope"], "mocban status"),
        (["compare", "no-such-list"], "no-such-list"),
        (["compare", __file__, "--fonds", "nope"], "mocban fonds list"),
        (["events", "--package", "nope"], "mocban list"),
    ],
)
def test_an_error_is_1_and_names_the_thing_and_what_to_do(kept, arguments, named):
    said = kept(*arguments)
    assert (1, "") == (said.status, said.out)
    assert said.err.startswith("Error: ")
    assert named in said.err
    assert "Traceback" not in said.err


def test_what_the_operating_system_refuses_is_1(tmp_path):
    (tmp_path / "file").write_text("")
    said = mocban("init", tmp_path / "file" / "archive")
    assert said.status == 1
    assert str(tmp_path / "file") in said.err


def test_damage_on_one_copy_is_healed_and_0_and_open_without_repair(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    damage(made.packs("d1")[0], 2000)
    assert made("audit", "--no-repair").status == 3
    assert "OPEN" in made("audit", "--no-repair").out
    said = made("audit")
    assert said.status == 0
    assert "healed" in said.out
    assert made("repair").status == 0


def test_a_store_that_cannot_be_looked_at_is_3(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    os.rename(tmp_path / "d1", tmp_path / "away")
    said = made("audit", "--json")
    assert said.status == 3
    assert "store-unavailable" in {finding["code"] for finding in said.json["findings"]}
    assert made("doctor").status == 3
    assert made("replicate").status == 4


def test_an_ingest_with_a_store_away_is_4_and_says_so(tmp_path):
    made = archive(tmp_path)
    os.rename(tmp_path / "d1", tmp_path / "away")
    said = made("ingest", made.submission(), "--fonds", FONDS, "--no-identify", "--json")
    assert said.status == 4
    assert (True, 1) == (said.json["under_replicated"], said.json["copies"])
    assert "d1" in said.err
    os.rename(tmp_path / "away", tmp_path / "d1")
    assert made("replicate").status == 0
    assert not made.json("list")[0]["under_replicated"]


def test_a_budget_that_ends_an_audit_is_0(kept):
    said = kept("audit", "--time", "0", "--json")
    assert (0, 2) == (said.status, said.json["coverage"]["skipped"])
    assert said.json["coverage"]["skipped_reasons"] == {"time": 2}


def test_a_lock_that_is_held_is_11_after_the_wait(kept):
    import fcntl  # noqa: PLC0415 - only here

    with open(kept.path / "ledger" / LOCK_FILE, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        said = mocban("-C", kept.path, "--wait", "0.2", "fonds", "add", "OTHER")
        assert (11, "") == (said.status, said.out)
        assert time.monotonic() - began < 10
        assert kept("list").status == 0
        assert kept("status").status == 0


def interrupted(made, folder):
    """Begin an ingest that is told to stop as soon as its session is there."""

    def end_soon():
        staging = made.path / "staging"
        while not list(staging.glob("*/session.json")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_soon)
    thread.start()
    said = made("ingest", folder, "--fonds", FONDS, "--no-identify", "--json")
    thread.join()
    return said


def test_sigterm_stops_an_ingest_at_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    made = archive(tmp_path)
    folder = made.submission({f"{number:05}.txt": b"%d" % number for number in range(2000)})
    said = interrupted(made, folder)
    assert (130, "") == (said.status, said.out)
    assert "again" in said.err
    assert [] == made.json("list")
    (session,) = made.json("status")["unfinished"]
    assert session["source"] == str(folder)
    again = made("ingest", folder, "--fonds", FONDS, "--no-identify", "--json")
    assert (0, 2000) == (again.status, again.json["files"])
    assert again.json["package"] == session["package"]


def test_an_ingest_that_is_given_up_leaves_nothing_and_a_folder_of_that_name_can_be_taken_in(tmp_path):
    made = archive(tmp_path)
    folder = made.submission({f"{number:05}.txt": b"%d" % number for number in range(500)}, name="abandon")
    assert interrupted(made, folder).status == 130
    (session,) = made.json("status")["unfinished"]
    assert made.json("ingest", "abandon", session["session"]) == {"session": session["session"], "abandoned": True}
    assert [] == made.json("status")["unfinished"]
    assert [] == [*made.packs("d1"), *made.packs("d2")]
    assert made("ingest", folder, "--fonds", FONDS, "--no-identify").status == 0


def test_an_interrupt_of_a_reading_command_is_130(kept):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "-C", kept.path, "serve"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_reader_that_goes_away_is_no_trouble(kept):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "-C", kept.path, "events", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def test_a_full_disk_under_standard_output_is_1(kept):
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), "-C", kept.path, "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert process.returncode == 1
    assert process.stderr.startswith(b"Error: ")


def test_the_environment_names_repository_and_agent(tmp_path):
    made = archive(tmp_path)
    more = {"MOCBAN_REPOSITORY": str(made.path), "MOCBAN_AGENT": "cô Lan\x1b[31m"}
    assert mocban_process("fonds", "add", "B", environment=more).status == 0
    assert made.json("events")[-1]["agent"] == "cô Lan\\x1b[31m"


def test_a_newer_format_is_refused_unread(tmp_path):
    made = archive(tmp_path)
    toml = made.path / "mocban.toml"
    toml.write_text(toml.read_text().replace("format = 1", "format = 2"))
    said = made("list")
    assert (1, "") == (said.status, said.out)
    assert "format 2" in said.err
