"""Progress goes to standard error: a bar on a terminal, lines now and then otherwise, nothing where it is short."""

import os
import pty
import subprocess
import sys
import threading

from cli_support import FONDS, ROOT, archive, mocban

from commands import progress as module
from commands.progress import progress


def on_a_terminal(arguments):
    """Run the command with a terminal as standard error; return status, standard output, what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = []

    def listen():
        try:
            while data := os.read(ours, 4096):
                seen.append(data)
        except OSError:  # the other end is closed
            return

    listener = threading.Thread(target=listen)
    listener.start()
    out = process.stdout.read()
    process.stdout.close()
    process.wait(timeout=120)
    listener.join()
    os.close(ours)
    return process.returncode, out.decode(), b"".join(seen).decode()


def test_a_terminal_gets_a_bar_and_standard_output_only_the_result(tmp_path):
    made = archive(tmp_path)
    folder = made.submission({f"{number}.bin": os.urandom(100_000) for number in range(50)})
    arguments = ["-C", made.path, "ingest", folder, "--fonds", FONDS, "--no-identify", "--json"]
    status, out, terminal = on_a_terminal(arguments)
    assert status == 0
    assert out.startswith('{"package"')
    assert out.count("\n") == 1
    assert "Ingest" in terminal
    assert "MB/s" in terminal
    assert "4.8/4.8 MiB" in terminal


def test_without_a_terminal_short_work_says_nothing(tmp_path):
    made = archive(tmp_path)
    said = made("ingest", made.submission(), "--fonds", FONDS, "--no-identify")
    assert (0, "") == (said.status, said.err)


def test_without_a_terminal_long_work_says_a_plain_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY", 0.0)
    with progress("Audit") as told:
        told(1, 1 << 20)
        told(1000, 1 << 20)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Audit: 1,001 done, 2.0 MiB, ")


def test_a_total_that_cannot_be_found_stops_nothing(tmp_path):
    made = archive(tmp_path)
    assert mocban("-C", made.path, "ingest", tmp_path / "none", "--fonds", FONDS).status == 1
    status, out, terminal = on_a_terminal(["-C", made.path, "ingest", tmp_path / "none", "--fonds", FONDS])
    assert (1, "") == (status, out)
    assert "Error: " in terminal
