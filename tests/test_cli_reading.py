"""Auditors: every reading command works for whoever may only read, on a read-only mount too, and creates nothing."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cli_support import ROOT, archive, snapshot

NOBODY = 65534

READING = ["list", "show {package}", "status", "events", "store list", "fonds list", "ledger verify", "ledger key"]
READING += ["ledger prove 0", "ledger key --verifier", "events --package {package}"]
READING += ["ledger key --public", "doctor", "compare {list}", "compare {list} --package {package}"]
OTHERS = ["export {package} {out}", "fonds add X"]

SCRIPT = """
import contextlib, io, json, os, sys
from commands.running import run

def said(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    return int(status), out.getvalue(), err.getvalue()

user, warm, calls = json.load(sys.stdin)
for arguments in warm:
    said(arguments)  # the user may not read the interpreter's own files: what is imported lazily is here now
if user is not None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
json.dump([said(arguments) for arguments in calls], sys.stdout)
"""


@pytest.fixture(scope="module")
def open_folder():
    """A folder that every user can reach; pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def kept(open_folder):
    folder = open_folder / "kept"
    folder.mkdir()
    made = archive(folder)
    package = made.ingest()["package"]
    made("audit")
    digests = {one["path"]: one["sha256"] for one in made.json("show", package)["files"]}
    (folder / "list").write_text("".join(f"{digest}  {path}\n" for path, digest in digests.items()))
    return made, package


def command_of(kept, command, out=""):
    made, package = kept
    return ["-C", str(made.path), *command.format(package=package, list=made.folder / "list", out=out).split()]


def called(calls, *, warm=(), user=None, before=()):
    """Carry out all calls in one process and return how each ended."""
    result = subprocess.run(
        [*before, sys.executable, "-c", SCRIPT],
        input=json.dumps([user, list(warm), list(calls)]),
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def as_nobody(kept, open_folder):
    """What each command said to a user without rights, and what it changed (which must be nothing)."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    made, _ = kept
    out = open_folder / "out"
    out.mkdir()
    out.chmod(0o777)
    warm = [command_of(kept, command, out / "warm") for command in [*READING, "export {package} {out}"]]
    called(warm)
    before = snapshot(made.path, made.folder / "d1", made.folder / "d2")
    commands = [*READING, *OTHERS]
    readers = [command_of(kept, command) for command in READING]
    warm = [*readers, ["-C", "/nowhere", "list"], *[command_of(kept, "show nothing")]]
    warm += [command_of(kept, "export {package} {out}", made.path / "inside")]
    said = called([command_of(kept, command, out / "cold") for command in commands], warm=warm, user=NOBODY)
    assert before == snapshot(made.path, made.folder / "d1", made.folder / "d2")
    return dict(zip(commands, said, strict=True))


@pytest.mark.parametrize("command", READING)
def test_a_reading_command_changes_no_file_and_no_time(kept, command):
    made, _ = kept
    before = snapshot(made.folder)
    said = made(*command_of(kept, command)[2:])
    assert said.status == 0, said.err
    assert said.out
    assert before == snapshot(made.folder)


@pytest.mark.parametrize("command", READING)
def test_a_user_who_may_only_read_can_read(as_nobody, command):
    status, out, err = as_nobody[command]
    assert (0, "") == (status, err)
    assert out


def test_a_user_who_may_only_read_can_export_and_is_told_that_it_is_not_recorded(as_nobody):
    status, _, err = as_nobody["export {package} {out}"]
    assert status == 0, err
    assert "not in its ledger" in err


def test_a_writing_command_says_that_it_may_not(as_nobody):
    status, out, err = as_nobody["fonds add X"]
    assert (1, "") == (status, out)
    assert err.startswith("Error: ")


def may_mount():
    if os.getuid() != 0 or not shutil.which("unshare"):
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "--bind", "/proc", "/proc"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="mounts are not permitted here")
def test_a_read_only_mount_can_be_read(kept):
    made, _ = kept
    place = made.folder
    mounting = f'mount --bind {place} {place} && mount -o remount,ro,bind {place} && ! touch {place}/x && exec "$@"'
    calls = [command_of(kept, command) for command in READING]
    for command, (status, out, err) in zip(
        READING, called(calls, before=["unshare", "-m", "sh", "-c", mounting, "sh"]), strict=True
    ):
        assert (0, "") == (status, err), command
        assert out
