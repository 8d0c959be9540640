"""The package as others install it: everything in it that the program needs, nothing that it does not."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-build.lock")
ROOMS = ("audits", "commands", "preservation", "storage_backends")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the names in a wheel that was built from a copy of the tree, so that nothing is left in the tree."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "cli.py"):
        shutil.copy(ROOT / name, copy)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, copy]
    result = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    (built,) = out.iterdir()
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_every_file_of_the_rooms_is_in_the_wheel(wheel):
    files = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()}
    tools = {"commands/locale/update.py"}  # makes the catalogs of messages; no user needs it
    wanted = {name for name in files if "__pycache__" not in name} - tools
    assert {"commands/py.typed", "preservation/py.typed"} <= wanted
    assert any(name.endswith("/LC_MESSAGES/mocban.mo") for name in wanted)
    assert [] == sorted(wanted - wheel)


def test_nothing_else_is_in_the_wheel(wheel):
    others = {name for name in wheel if not name.startswith(tuple(f"{room}/" for room in ROOMS))}
    assert {"cli.py"} == {name for name in others if ".dist-info/" not in name}
    assert any(name.endswith("/licenses/LICENSE") for name in others)


def test_every_direct_dependency_is_pinned_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {}
    for name in LOCKS:
        for line in (ROOT / name).read_text().splitlines():
            if line[:1].isalpha():
                package = line.split("==")[0]
                pinned[package] = 0
            elif line.startswith("    --hash=sha256:"):
                pinned[package] += 1
    names = {re.match("[a-z0-9-]+", requirement)[0] for requirement in wanted}
    assert [] == sorted(names - set(pinned))
    assert [] == [name for name, hashes in pinned.items() if hashes < 1]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_place_of_this_or_any_machine(name):
    text = (ROOT / name).read_text()
    settings = ("-i ", "-f ", "--index", "--extra-index", "--find", "--trusted")
    assert [] == [line for line in text.splitlines() if "://" in line or line.startswith(settings)]
