"""Help is there for everything, quickly, and without what help does not need."""

import subprocess
import sys
import time

import click
import pytest
from cli_support import ROOT, mocban, mocban_process

from commands.entries import ENTRIES, names_below
from commands.shaping import byte_count, duration


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_has_help_with_an_example(name):
    said = mocban(*name.split(), "--help")
    assert (0, "") == (said.status, said.err)
    assert f"Usage: mocban {name}" in said.out
    assert ENTRIES[name].short.split()[0] in said.out
    examples = said.out.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith("  mocban ") for line in examples)


def test_the_root_lists_every_command():
    said = mocban("--help")
    for name in names_below(""):
        assert f"\n  {name} " in said.out
    assert "Exit statuses" in said.out


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from commands.running import run; run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(result.stderr.split())
    heavy = {"apscheduler", "babel", "blake3", "cryptography", "fido", "pyarrow", "rich", "rocksdbpy", "preservation"}
    assert set() == {name for name in loaded if name.partition(".")[0] in heavy}


def test_help_comes_within_a_third_of_a_second():
    def seconds():
        began = time.monotonic()
        assert mocban_process("--help").status == 0
        return time.monotonic() - began

    assert min(seconds() for _ in range(5)) <= 0.3


def test_the_version_is_told():
    said = mocban("--version")
    assert (0, "mocban 0.1.0\n") == (said.status, said.out)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("1h30m", 5400), ("45s", 45), ("2d", 172_800), ("0", 0)]
)
def test_lengths_of_time_are_read(text, seconds):
    assert seconds == duration(text)


@pytest.mark.parametrize("text", ["", "-1", "soon", "1h30", "nan", "inf", "h", "1x"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(click.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("10", 10), ("10G", 10 << 30), ("10GiB", 10 << 30), ("10GB", 10**10), ("1.5k", 1536)]
)
def test_numbers_of_bytes_are_read(text, size):
    assert size == byte_count(text)


@pytest.mark.parametrize("text", ["", "-1", "much", "1 G", "1X", "G", "1e3"])
def test_what_is_no_number_of_bytes_is_refused(text):
    with pytest.raises(click.BadParameter):
        byte_count(text)
