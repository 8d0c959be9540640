"""Thirteen classes of tampering, none of which is missed against the key and the checkpoint that an auditor holds.

Each class is tried 40 times in CI, 12 times elsewhere, and 200 times for ``MOCBAN_TAMPER=all``.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sizes
from tamper_support import FORMS, KINDS, held_of, honest, tamper, write_out

from preservation.ledger.checking import check_ledger
from preservation.ledger.folder import check_folder

EACH = os.environ.get("MOCBAN_TAMPER") == "all"
CASES = 200 if EACH else sizes.TAMPERED
SCRIPTS = 200 if EACH else sizes.SCRIPTS

STORIES = 6
CHECKS = {"folder": check_folder, "ledger": check_ledger}


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    return [honest(folder, number) for number in range(STORIES)]


def codes(story, path, form):
    problems = CHECKS[form](str(path), trusted=[story.keys.log.key], held=[held_of(story)])
    return {problem.code for problem in problems}


def script(story, path, folder):
    """Return the exit status of verify.sh in the hands of the auditor, and what it said."""
    key, note = folder / "mine.pem", folder / "mine.note"
    key.write_bytes(story.keys.log.key.pem())
    note.write_bytes(held_of(story).signed.note.encoded())
    own = folder / "verify.sh"  # their own copy, run in the folder
    shutil.copy(Path(__file__).parent.parent / "preservation/ledger/verify.sh", own)
    shutil.copy(own, path / "verify.sh")
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", str(path / "verify.sh"), "--key", str(key), "--checkpoint", str(note)]
    done = subprocess.run(command, capture_output=True, text=True, env=tools, check=False, cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.tamper
@pytest.mark.parametrize("kind", KINDS)
def test_no_tampering_is_missed(kind, stories, tmp_path):
    missed = []
    for case in range(CASES):
        dice = random.Random(f"{kind} {case}")
        story, form = stories[case % STORIES], FORMS[case // STORIES % 2]
        path = tmp_path / "forged"
        how = tamper(kind, story, path, form, dice)
        if not codes(story, path, form):
            missed.append((case, form, how))
    assert [] == missed


@pytest.mark.tamper
@pytest.mark.parametrize("kind", KINDS)
def test_the_script_comes_to_the_verdict_of_the_program(kind, stories, tmp_path):
    wrong = []
    for case in range(SCRIPTS):
        dice = random.Random(f"script {kind} {case}")
        story, path = stories[case % STORIES], tmp_path / "forged"
        how = tamper(kind, story, path, "folder", dice)
        status, said = script(story, path, tmp_path)
        if (status == 1) != bool(codes(story, path, "folder")) or status not in {0, 1}:
            wrong.append((case, how, status, said))
    assert [] == wrong


@pytest.mark.tamper
@pytest.mark.parametrize("form", FORMS)
def test_honest_growth_is_always_accepted(form, tmp_path):
    for case in range(CASES):
        story = honest(tmp_path, f"grown {case}", grown=case % 2 == 0)
        path = write_out(story, tmp_path / "grown", form)
        assert set() == codes(story, path, form), case


@pytest.mark.tamper
def test_the_script_accepts_honest_growth_too(tmp_path):
    for case in range(SCRIPTS):
        story = honest(tmp_path, f"grown {case}", grown=case % 2 == 0)
        path = write_out(story, tmp_path / "grown", "folder")
        status, said = script(story, path, tmp_path)
        assert (0, True) == (status, "verified: " in said), said
        assert "self-consistent" not in said
