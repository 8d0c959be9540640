"""What an auditor takes along: the evidence folder, its script, proofs of single events; by the command line."""

import base64
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_support import archive, mocban, snapshot
from tamper_support import ORIGIN, honest, write_out

from preservation.creation import open_repository
from preservation.ledger.notes import Checkpoint, sign_note
from preservation.repository import World

SCRIPT = Path(__file__).parent.parent / "preservation/ledger/verify.sh"
TOOLS = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def verify(folder, *arguments, cwd="/", tools=None):
    command = ["sh", str(folder / "verify.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=tools or TOOLS, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository with a sealed segment, a rotated key, and an older checkpoint and key in the auditor's hands."""
    made = archive(tmp_path_factory.mktemp("made"))
    made.ingest()
    (made.folder / "old.note").write_text(made("ledger", "checkpoint").out)
    (made.folder / "old.pem").write_text(made("ledger", "key", "--public").out)
    seal(made)
    made.ingest({"y": b"y"}, name="second")
    made("ledger", "key", "--rotate", "--kit", made.folder / "archive.recovery-kit")
    made.ingest({"z": b"z"}, name="third")
    (made.folder / "new.pem").write_text(made("ledger", "key", "--public").out)
    return made


def opened(made):
    world = World(now=lambda: datetime.now(UTC), random=os.urandom, agent="test")
    return open_repository(str(made.path), world)


def seal(made):
    """Seal what is hot, as a day later happens by itself."""
    with opened(made).ledger.writing(5) as writer:
        writer.seal_if_due(force=True)
        writer.checkpoint()


@pytest.fixture(scope="module")
def exported(made):
    folder = made.folder / "evidence"
    said = made("ledger", "export", folder, "--json")
    assert (0, True) == (said.status, said.json["verified"]), said.err
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "evidence"))


def test_the_script_is_short_and_needs_nothing_but_named_tools(exported):
    assert len(SCRIPT.read_text().splitlines()) <= 120
    assert SCRIPT.read_bytes() == (exported / "verify.sh").read_bytes()
    assert subprocess.run(["sh", "-n", str(SCRIPT)], check=False).returncode == 0
    bare = {"PATH": "/usr/bin:/bin"}
    if shutil.which("duckdb", path=bare["PATH"]) is None:
        done = verify(exported, tools=bare)
        assert (2, "duckdb is needed") == (done.returncode, done.stderr.strip())


def test_without_a_key_it_says_that_it_is_self_consistent_only(exported):
    done = verify(exported)
    assert (0, "") == (done.returncode, done.stderr)
    assert "self-consistent only" in done.stdout


def test_what_an_auditor_holds_is_followed_over_a_change_of_the_key(made, exported):
    for key in ("old.pem", "new.pem"):
        done = verify(exported, "--key", key, "--checkpoint", "old.note", cwd=made.folder)
        assert (0, "") == (done.returncode, done.stderr), key
        assert "self-consistent" not in done.stdout
        assert "verified: " in done.stdout
        arguments = ["--folder", exported, "--trusted", made.folder / key, "--checkpoint", made.folder / "old.note"]
        assert mocban("ledger", "verify", *arguments).status == 0
        assert made("ledger", "verify", *arguments[2:]).status == 0


def test_the_root_key_proves_too_and_a_strangers_does_not(made, exported, tmp_path):
    kit = made.folder / "archive.recovery-kit"
    root = tmp_path / "root.pem"
    root.write_bytes(
        subprocess.run(["openssl", "pkey", "-in", kit / "root.pem", "-pubout"], capture_output=True, check=True).stdout
    )
    assert verify(exported, "--key", root).returncode == 0
    assert mocban("ledger", "verify", "--folder", exported, "--trusted", root).status == 0
    strange = archive(tmp_path)
    own = tmp_path / "strange.pem"
    own.write_text(strange("ledger", "key", "--public").out)
    done = verify(exported, "--key", own)
    assert (1, True) == (done.returncode, "your key has signed nothing here" in done.stderr)
    said = mocban("ledger", "verify", "--folder", exported, "--trusted", own, "--json")
    assert (3, ["keys_unknown"]) == (said.status, [one["code"] for one in said.json["problems"]])
    note = tmp_path / "strange.note"
    note.write_text(strange("ledger", "checkpoint").out)
    assert verify(exported, "--checkpoint", note).returncode == 1
    assert mocban("ledger", "verify", "--folder", exported, "--checkpoint", note).status == 3


def test_a_ledger_that_only_names_the_root_key_is_not_believed(made, copied):
    """Without what the root key signed, its name in the first event proves nothing."""
    root = copied / "keys/root.pub.pem"
    first = copied / "checkpoints/000000000001.note"
    lines = first.read_text().splitlines(keepends=True)
    first.write_text("".join(line for line in lines if "/root" not in line))
    assert verify(copied, "--key", root).returncode == 0  # it signed the succession
    assert verify(copied, "--key", made.folder / "old.pem").returncode == 0


@pytest.mark.parametrize(
    "wrong", [["--key"], ["--key", "nowhere.pem"], ["--checkpoint", "/dev/null"], ["--other", "x"], ["x"]]
)
def test_wrong_use_is_never_a_success(exported, wrong):
    assert verify(exported, *wrong).returncode in {1, 2}


def test_the_folder_is_read_from_a_place_with_a_strange_name_and_nothing_is_written_there(exported, tmp_path):
    place = tmp_path / 'it\'s a "place" $HOME; with spaces — và tiếng Việt'
    shutil.copytree(exported, place)
    before = snapshot(place)
    assert verify(place, cwd=tmp_path).returncode == 0
    assert mocban("ledger", "verify", "--folder", place).status == 0
    assert before == snapshot(place)


def harmed(folder):
    """Yield what may be wrong with a folder beside its events, one after the other."""
    segments = sorted((folder / "segments").iterdir())
    notes = sorted((folder / "checkpoints").iterdir())
    yield "a stray file", lambda: (folder / "segments/notes.txt").write_text("x")
    yield "a stray segment", lambda: shutil.copy(segments[0], folder / "segments/copy.parquet")
    yield "a segment in a folder", lambda: shutil.copytree(folder / "segments", folder / "segments/more")
    yield "no segment", lambda: [segment.unlink() for segment in segments]
    yield "the last segment gone", segments[-1].unlink
    yield "no checkpoint", lambda: [note.unlink() for note in notes]
    yield "the last checkpoint gone", notes[-1].unlink
    yield "a checkpoint under another name", lambda: notes[-1].rename(notes[-1].with_name("000000000999.note"))
    yield "a checkpoint without its last newline", lambda: notes[-1].write_bytes(notes[-1].read_bytes()[:-1])
    yield "a checkpoint with an empty line", lambda: notes[-1].write_bytes(b"\n" + notes[-1].read_bytes())
    yield "an empty checkpoint", lambda: notes[-1].write_bytes(b"")
    yield "another format", lambda: (folder / "format.json").write_text("{}")
    yield "another key", lambda: (folder / "keys/log-1.pub.pem").write_text("x")
    yield "a key gone", (folder / "keys/root.pub.vkey").unlink
    yield "a truncated segment", lambda: segments[0].write_bytes(segments[0].read_bytes()[:-9])


def test_script_and_program_tell_the_same_of_everything_beside_the_events(exported, tmp_path):
    copied = tmp_path / "evidence"
    shutil.copytree(exported, copied)
    names = [name for name, _ in harmed(copied)]
    for number, name in enumerate(names):
        shutil.rmtree(copied)
        shutil.copytree(exported, copied)
        list(harmed(copied))[number][1]()
        done = verify(copied)
        assert 1 == done.returncode, (name, done)
        assert 3 == mocban("ledger", "verify", "--folder", copied).status, name


@pytest.mark.parametrize("where", ["name", "digest"])
def test_an_event_cannot_speak_to_the_script(tmp_path, where):
    """A line break in a forged event must not begin a line of what the script reads from DuckDB."""
    story = honest(tmp_path, 1)
    spoken = f"x\ntree 5 {base64.b64encode(bytes(32)).decode()}\nfile x"
    attested = {spoken: "0" * 64} if where == "name" else {"witness/000000000005.note": spoken}
    story.events[3]["detail"]["attestations"] = attested
    folder = write_out(story.told(), tmp_path / "evidence", "folder")
    held = tmp_path / "held.note"
    text = Checkpoint(ORIGIN, 5, bytes(32)).text()
    held.write_bytes(sign_note(text, [story.keys.log]).encoded())
    done = verify(folder, "--checkpoint", held)
    assert done.returncode == 1
    assert "the 5 events here are not those of" in done.stderr


def test_an_export_needs_no_rights_and_overwrites_nothing(made, tmp_path):
    before = snapshot(made.path)
    said = made("ledger", "export", tmp_path / "one")
    assert said.status == 0, said.err
    assert before == snapshot(made.path)
    again = made("ledger", "export", tmp_path / "one")
    assert (1, True) == (again.status, "nothing was written" in again.err)
    assert [] == [name for name in os.listdir(tmp_path) if name.endswith(".partial")]
    assert "BẰNG CHỨNG CỦA SỔ CÁI" in (tmp_path / "one/README.txt").read_text()


def test_events_after_the_last_checkpoint_are_left_out_and_said_to_be(tmp_path):
    made = archive(tmp_path, stores=("d1",))
    seal(made)
    repository = opened(made)
    repository.record([repository.event("replication", pack="0" * 64)] * 3)
    for force in (False, True):
        said = made("ledger", "export", tmp_path / f"sealed {force}", "--json")
        assert (0, 3 + force) == (said.status, said.json["unsigned_events"]), said.err
        assert verify(tmp_path / f"sealed {force}").returncode == 0
        with repository.ledger.writing(5) as writer:
            writer.seal_if_due(force=True)  # a segment that goes beyond the last checkpoint is written anew up to it


def test_the_public_key_is_a_pem_that_openssl_takes(made):
    done = subprocess.run(
        ["openssl", "pkey", "-pubin", "-noout", "-text", "-in", made.folder / "new.pem"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ED25519" in done.stdout
    verifiers = made("ledger", "key", "--verifier").out.splitlines()
    assert made.json("ledger", "key")["log_key"] == verifiers[0]
    assert 2 == len(verifiers)


def test_a_proof_needs_nothing_but_a_key(made, tmp_path):
    events = made.json("events")
    for event in (events[0], events[7], events[-1]):
        by_number = made("ledger", "prove", event["seq"])
        assert by_number.out == made("ledger", "prove", event["id"]).out, by_number.err
        proof = tmp_path / "event.tlog-proof"
        proof.write_text(by_number.out)
        said = mocban("ledger", "prove", "--verify", proof, "--trusted", made.folder / "new.pem", "--json")
        assert (0, True, event) == (said.status, said.json["verified"], said.json["event"])
        old = mocban("ledger", "prove", "--verify", proof, "--trusted", made.folder / "old.pem")
        assert (3, True) == (old.status, "signed by no key that you trust" in old.out)
        assert event == made.json("ledger", "prove", event["seq"])["event"]
    assert "Proven: event" in mocban("ledger", "prove", "--verify", proof, "--trusted", made.folder / "new.pem").out


def test_a_proof_with_any_character_changed_proves_nothing(made, tmp_path):
    proof = tmp_path / "event.tlog-proof"
    text = made("ledger", "prove", "3").out
    for place in range(0, len(text), 7):
        other = "A" if text[place] != "A" else "B"
        proof.write_text(text[:place] + other + text[place + 1 :])
        said = mocban("ledger", "prove", "--verify", proof, "--trusted", made.folder / "new.pem")
        assert 3 == said.status, place


@pytest.mark.parametrize("name", ["99999", "-1", "x", "0192f0c1-7a3b-7c11-8f00-1b2c3d4e5f60"])
def test_an_event_that_is_not_there_is_not_proven(made, name):
    said = made("ledger", "prove", "--", name)
    assert (1, f"no event {name}" in said.err) == (said.status, True)


def test_a_shortened_and_a_rewritten_history_are_told_against_what_is_held(made, tmp_path):
    made = archive(tmp_path)
    backup = tmp_path / "backup"
    shutil.copytree(made.path / "ledger", backup)
    made.ingest()
    note = tmp_path / "kept.note"
    note.write_text(made("ledger", "checkpoint").out)
    assert made("ledger", "verify", "--checkpoint", note).status == 0
    shutil.rmtree(made.path / "ledger")
    shutil.copytree(backup, made.path / "ledger")
    said = made("ledger", "verify", "--checkpoint", note, "--json")
    assert (3, {"history_shortened"}) == (said.status, {one["code"] for one in said.json["problems"]})
    assert made("ledger", "verify").status == 0
    assert made("ledger", "verify", "--checkpoint", tmp_path / "nowhere.note").status == 1


def test_events_are_asked_for_by_object_store_and_run(made):
    package = made.json("list")[0]["package"]
    file = made.json("show", package)["files"][0]
    events = made.json("events")
    packs = {event["detail"]["pack"] for event in made.json("events", "--object", file["blake3"])}
    assert packs
    found = made.json("events", "--object", f"blake3:{file['blake3']}")
    assert [event for event in events if event["detail"].get("pack") in packs] == found
    store = next(one["store"] for one in made.json("store", "list") if one["name"] == "d1")
    assert [event for event in events if event["detail"].get("store") == store] == made.json("events", "--store", "d1")
    assert [one for one in found if one["detail"].get("store") == store] == made.json(
        "events", "--object", file["blake3"], "--store", store
    )
    run = made.json("audit")["run"]
    assert {run} == {event["detail"]["run"] for event in made.json("events", "--run", run)}
    assert made("events", "--object", "0" * 64).status == 1
    assert made("events", "--object", "x").status == 1
    assert made("events", "--store", "nowhere").status == 1
