"""A tool that is shut in reaches no network and no other file, and ends in time with all that it started."""

import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest
from pathways_support import bench, converted, needs, pathway, picture_tiff, tool

from preservation.migration.pathway import Limits, NoIsolationError, Source, convert, sandbox
from preservation.migration.sandbox import CANDIDATES, Sandbox, run


@pytest.fixture(params=["bubblewrap", "unshare"])
def place(request):
    needs("bwrap" if request.param == "bubblewrap" else "unshare")
    return sandbox(candidates=[one for one in CANDIDATES if one[0].startswith(request.param)])


def python(code, folder, place, **limits):
    return run([sys.executable, "-I", "-c", code], str(folder), place, Limits(**limits))


def test_there_is_no_network(place, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert python(code, tmp_path, Sandbox("none")).status == 0
        assert python(code, tmp_path, place).status != 0


def test_only_its_folder_can_be_written_to_and_no_other_file_be_seen(tmp_path):
    needs("bwrap")
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.write_text("secret")
    assert python("open('mine', 'w').write('x')", folder, sandbox()).status == 0
    assert (folder / "mine").read_text() == "x"
    assert python(f"print(open({str(other)!r}).read())", folder, sandbox()).status != 0
    assert python("open('/usr/lib/mine', 'w')", folder, sandbox()).status != 0
    assert python("open('/etc/shadow')", folder, sandbox()).status != 0


def test_nothing_of_our_environment_reaches_it(place, tmp_path, monkeypatch):
    monkeypatch.setenv("MOCBAN_SECRET", "x")
    found = python("import os; print(sorted(os.environ))", tmp_path, place).output.decode()
    assert "SECRET" not in found
    assert set(re.findall(r"'(\w+)'", found)) - {"PWD", "LC_CTYPE"} == {"HOME", "LC_ALL", "PATH", "TMPDIR", "TZ"}


def test_memory_files_and_processor_time_are_bounded(place, tmp_path):
    assert python("bytearray(1 << 30)", tmp_path, place, memory=512 << 20).status != 0
    grows = "f = open('big', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20))"
    assert python(grows, tmp_path, place, file_bytes=4 << 20).status != 0
    assert (tmp_path / "big").stat().st_size <= 4 << 20
    outcome = python("while True: pass", tmp_path, place, cpu_seconds=1, seconds=30)
    assert (outcome.status != 0, outcome.late) == (True, False)


def test_whoever_takes_too_long_is_ended_with_its_children(place, tmp_path):
    mark = f"sleep-{os.getpid()}-{place.kind}"
    child = f"import time; time.sleep(60)  # {mark}"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    code += "; time.sleep(60)"
    started = time.monotonic()
    assert python(code, tmp_path, place, seconds=0.7).late
    assert time.monotonic() - started < 20
    for _ in range(100):
        if not running(mark):
            return
        time.sleep(0.05)
    raise AssertionError(running(mark))


def running(mark):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_without_isolation_nothing_is_run_unless_that_was_asked_for():
    with pytest.raises(NoIsolationError):
        sandbox(candidates=(("bubblewrap", ("no-such-program",)), ("unshare", ("false",))))
    assert sandbox(unisolated=True, candidates=()).kind == "none"


def test_a_source_that_is_a_link_or_no_file_is_refused(tmp_path):
    (tmp_path / "true.txt").write_bytes(b"\xb8")
    (tmp_path / "link.txt").symlink_to(tmp_path / "true.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder").mkdir()
    names = ["link.txt", "pipe.txt", "folder", "gone.txt"]
    (tmp_path / "work").mkdir()
    sources = [Source(str(tmp_path / name), "x-fmt/111") for name in names]
    found = convert(pathway("tcvn3-utf8"), sources, str(tmp_path / "work"), bench())
    assert [one.failure for one in found] == ["source-refused"] * 4


def test_a_source_over_the_limit_is_refused(tmp_path):
    assert converted("tcvn3-utf8", b"\xb8" * 5000, tmp_path, file_bytes=4096).failure == "source-refused"


def test_what_a_tool_leaves_at_home_does_not_reach_those_who_measure(tmp_path):
    needs("vips", "identify", "mogrify", "vipsheader")
    body = (
        'os.makedirs("home/.magick"); open("home/.magick/policy.xml", "w").write("<policymap/>"); sys.exit(real(*args))'
    )
    assert converted("tiff-png", picture_tiff(), tmp_path, tool(tmp_path, "vips", body)).accepted
    check = 'sys.exit(1 if os.path.exists("home/.magick") else real(*args))'
    assert converted("tiff-png", picture_tiff(), tmp_path, tool(tmp_path, "identify", check)).accepted
