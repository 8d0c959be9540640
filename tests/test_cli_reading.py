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

COMMANDS = ["list", "show {package}", "status", "events", "store list", "fonds list", "ledger verify", "ledger key"]
COMMANDS += ["ledger key --public", "doctor", "compare {list}", "export {package} {out}"]

SCRIPT = """
import contextlib, io, json, os, sys
from commands.running import run
user, warm, arguments = json.loads(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()):
    assert run(warm) == 0  # the user may not read the interpreter's own files: what is imported lazily is here now
if user is not None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
sys.exit(run(arguments))
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
    made("audit", "--json")
    digests = {one["path"]: one["sha256"] for one in made.json("show", package)["files"]}
    (folder / "list").write_text("".join(f"{digest}  {path}\n" for path, digest in digests.items()))
    return made, package


def command_of(kept, command, out=""):
    made, package = kept
    return ["-C", str(made.path), *command.format(package=package, list=made.folder / "list", out=out).split()]


def call(arguments, *, warm=None, user=None, before=()):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*before, sys.executable, "-c", SCRIPT, json.dumps([user, warm or arguments, arguments])],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        env=environment,
    )


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_a_reading_command_changes_no_file_and_no_time(kept, command):
    made, _ = kept
    before = snapshot(made.folder)
    said = made(*command_of(kept, command)[2:])
    assert said.status == 0, said.err
    assert said.out
    assert before == snapshot(made.folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_user_who_may_only_read_can_read(kept, command, open_folder):
    made, _ = kept
    out = open_folder / "out"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    before = snapshot(made.path, made.folder / "d1", made.folder / "d2")
    warm = command_of(kept, command, out / "warm")
    result = call(command_of(kept, command, out / "cold"), warm=warm, user=NOBODY)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    changed = {
        path
        for path, seen in snapshot(made.path, made.folder / "d1", made.folder / "d2").items()
        if seen != before.get(path)
    }
    if command.startswith("export"):  # the first export, by root, is recorded
        assert "not in its ledger" in result.stderr
    else:
        assert set() == changed


def may_mount():
    if os.getuid() != 0 or not shutil.which("unshare"):
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "--bind", "/tmp", "/tmp"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="mounts are not permitted here")
@pytest.mark.parametrize("command", ["list", "show {package}", "status", "events", "ledger verify", "doctor"])
def test_a_read_only_mount_can_be_read(kept, command):
    made, _ = kept
    arguments = command_of(kept, command)
    mounting = f'mount --bind {made.folder} {made.folder} && mount -o remount,ro,bind {made.folder} && exec "$@"'
    result = call(arguments, before=["unshare", "-m", "sh", "-c", mounting, "sh"])
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_writing_command_says_that_it_may_not(kept):
    made, _ = kept
    result = call(["-C", str(made.path), "fonds", "add", "X"], warm=["-C", str(made.path), "doctor"], user=NOBODY)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
