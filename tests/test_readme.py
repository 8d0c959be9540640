"""The README's tour, carried out command by command as somebody who reads it would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sizes import sampled

ROOT = Path(__file__).parent.parent
LANGUAGES = {"README.md": "C.UTF-8", "README.vi.md": "vi_VN.UTF-8"}
SIGN = "\x1e"


def tour(name):
    """Return the commands of all console blocks, each with the output lines that the page shows below it."""
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```$", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return steps


def pattern(line):
    """Return what a line of shown output means: three dots stand for anything."""
    return ".*".join(map(re.escape, line.split("...")))


def carried_out(steps, folder, language):
    programs = folder.parent / "bin"
    programs.mkdir()
    for program in ("mocban", "bagit.py"):
        target = Path(sys.executable).parent / program
        assert target.exists(), f"{program} is not installed beside Python: make setup"
        (programs / program).symlink_to(target)
    script = "set -e\n" + "".join(f"{command}\nprintf '{SIGN}'\n" for command, _ in steps)
    environment = {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "LANG": language,
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@sampled(1)
@pytest.mark.parametrize("name", LANGUAGES)
def test_the_five_minute_tour_does_what_the_page_shows(name, tmp_path):
    steps = tour(name)
    assert len(steps) >= 20
    folder = tmp_path / "tour"
    folder.mkdir()

    result = carried_out(steps, folder, LANGUAGES[name])
    outputs = result.stdout.split(SIGN)
    assert result.returncode == 0, (steps[len(outputs) - 1][0], result.stdout[-2000:], result.stderr[-2000:])
    assert len(steps) + 1 == len(outputs)

    for (command, shown), output in zip(steps, outputs, strict=False):
        lines = iter(output.splitlines())
        for expected in shown:
            assert any(re.fullmatch(pattern(expected), line) for line in lines), (command, expected, output)
    assert sorted(os.listdir(folder / "transfer")) == sorted(os.listdir(folder / "bag" / "data"))
    assert list((folder / "disk1" / "quarantine").rglob("*"))


def test_both_languages_give_the_same_tour():
    assert [command for command, _ in tour("README.md")] == [command for command, _ in tour("README.vi.md")]


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_make_target_that_is_named_exists(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE))
    assert {"demo", "test"} <= {one or other for one, other in named} <= targets
