"""House rules that no linter knows: sizes, words, and where the outside world may be touched."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("audits", "commands", "preservation", "storage_backends")
MODULE_LINES, FUNCTION_LINES = 450, 60

NOT_USED = {"manager", "handler", "processor", "helper", "helpers", "util", "utils", "service", "info", "blob", "blobs"}
"""Words that say nothing of what a thing is."""

TERMS_OF_OTHERS = {
    "commands/surroundings.py": {"handler"},  # what the signal module calls it
    "preservation/dissemination/bag.py": {"info"},  # BagIt's bag-info.txt
    "preservation/submission/bags.py": {"info"},  # the same
}

EDGES = {
    "audits/scheduler.py": "is the clock",
    "commands/running.py": "whether to show a traceback",
    "commands/surroundings.py": "hands time, randomness and agent to every verb",
    "commands/wording.py": "language and time zone of the person",
}
"""Where the environment and the time of day are read, and why."""

TIMERS = {
    "audits/drill.py": "how fast damage is found and healed",
    "audits/duties.py": "how fast a store gave what was read",
    "audits/metrics.py": "how long figures stay fresh",
    "audits/run.py": "the budget of time, and when to record",
    "audits/scheduler.py": "how often the service says that it is alive",
    "commands/progress.py": "rate and time left",
    "commands/proving.py": "waits before it looks again",
    "preservation/catalog/door.py": "waits before a read-only open is tried again",
    "preservation/formats/process.py": "deadlines of worker processes",
    "preservation/formats/second_opinion.py": "the deadline of the other tool",
    "preservation/ledger/files.py": "how long to wait for a lock",
    "preservation/stores.py": "hands both to the throttle",
    "storage_backends/tape/claim.py": "waits for a drive that another store uses",
    "storage_backends/tape/iscsi.py": "waits for an answer no longer than it may take",
    "storage_backends/tape/library.py": "how long nobody has used the drive",
    "storage_backends/tape/scsi_drive.py": "waits while a cartridge is loaded",
    "storage_backends/tape/nst.py": "waits for a cartridge that is being loaded",
}
"""Modules that measure how long something takes, or wait, and why."""


def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    listed = [name for name in names.stdout.split("\0") if name and (ROOT / name).is_file()]
    if not listed:  # a tree that came without its history
        listed = [str(path.relative_to(ROOT)) for path in sources()] + ["README.md", "pyproject.toml"]
    return listed


def sources():
    found = [ROOT / "cli.py", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]
    return [path for path in found if "__pycache__" not in path.parts]


@cache
def parsed(path):
    return ast.parse(path.read_text())


def shown(path):
    return path.relative_to(ROOT).as_posix()


def called(tree):
    """Yield the dotted names of everything that is read or called: ``time.time``, ``print``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name):
            yield node.id


def test_no_module_is_longer_than_people_read():
    long = {shown(path): count for path in sources() if (count := len(path.read_text().splitlines())) > MODULE_LINES}
    assert {} == long


def test_no_function_is_longer_than_a_page():
    long = {}
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{shown(path)}:{node.name}"] = lines
    assert {} == long


def test_every_module_opens_with_one_sentence_of_what_it_is_for():
    wrong = []
    for path in sources():
        first = (ast.get_docstring(parsed(path)) or "").split("\n\n")[0]
        if not first or first[-1] not in ".:?":
            wrong.append((shown(path), first))
    assert [] == wrong


def test_no_name_uses_a_word_that_says_nothing():
    wrong = []
    for path in sources():
        names = list(path.relative_to(ROOT).with_suffix("").parts)
        kinds = (ast.FunctionDef, ast.ClassDef)
        names += [node.name for node in ast.walk(parsed(path)) if isinstance(node, kinds)]
        names += [node.arg for node in ast.walk(parsed(path)) if isinstance(node, ast.arg)]
        names += [
            node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        for name in names:
            words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
            if words & NOT_USED - TERMS_OF_OTHERS.get(shown(path), set()):
                wrong.append((shown(path), name))
    assert [] == sorted(set(wrong))


def test_only_the_command_line_prints():
    wrong = []
    for path in sources():
        used = set(called(parsed(path)))
        name = shown(path)
        if "print" in used or ("sys.stdout" in used and not name.startswith("commands/") and "worker" not in name):
            wrong.append(name)
    assert [] == wrong


def test_environment_and_randomness_are_read_at_the_edge_only():
    wrong = []
    forbidden = {"os.environ", "os.getenv", "os.urandom", "random.random", "random.randint", "uuid.uuid4"}
    for path in sources():
        found = forbidden & set(called(parsed(path)))
        if found and shown(path) not in EDGES:
            wrong.append((shown(path), sorted(found)))
    assert [] == wrong


def test_the_time_of_day_comes_from_outside():
    wrong = []
    forbidden = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    for path in sources():
        found = forbidden & set(called(parsed(path)))
        if found and shown(path) not in EDGES:
            wrong.append((shown(path), sorted(found)))
    assert [] == wrong


def test_only_named_modules_measure_how_long_something_takes():
    found = {shown(path) for path in sources() if {"time.monotonic", "time.sleep"} & set(called(parsed(path)))}
    assert found == set(TIMERS)


HOSTS = r"https?://[a-z.]*(?:pypi|pythonhosted|npmjs)[a-z.]*|https?://(?:deb|ftp|security)[a-z.]*debian"
PLACES = r"(?:^|[^A-Za-z0-9._<>{}/-])/(?:work|farm|root|Users|home)/[a-z.]"
WORDS = r"\b(?:TODO|FIXME|XXX)\b"


@pytest.mark.parametrize("pattern", [HOSTS, PLACES, WORDS], ids=["hosts", "places", "words"])
def test_nothing_in_the_tree_says_what_must_not_be_said(pattern):
    wrong = []
    for name in tracked():
        if name in {"LICENSE", "tests/test_tidy.py"}:
            continue
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue
        wrong += [(name, number) for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]
    assert [] == wrong


def test_no_file_of_the_tree_is_large():
    large = {name: size for name in tracked() if (size := (ROOT / name).stat().st_size) > 1 << 20}
    assert {} == large
