"""``mocban witness serve`` as a service: it says where it listens, what it does, and how it ended."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from cli_support import ROOT, mocban
from witness_support import NAME, Log, post

SERVE = (sys.executable, str(ROOT / "cli.py"), "witness", "serve")


@pytest.fixture
def log():
    return Log(size=3)


@pytest.fixture
def folder(tmp_path, log):
    folder = tmp_path / "witness"
    assert 0 == mocban("witness", "init", folder, "--name", NAME).status
    assert 0 == mocban("witness", "trust", folder, "--log-key", log.signer.key).status
    return folder


@contextmanager
def running(folder, *more):
    """Give a witness in a process of its own, and how it ended."""
    command = [*SERVE, str(folder), "--listen", "127.0.0.1:0", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, text=True, **pipes) as process:
        ended = SimpleNamespace(server_port=int(process.stderr.readline().rpartition(":")[2]))
        try:
            yield ended
            process.send_signal(signal.SIGTERM)
            ended.out, ended.err = process.communicate(timeout=10)
            ended.status = process.returncode
        finally:
            process.kill()


def test_it_countersigns_until_it_is_told_to_stop(folder, log):
    with running(folder, "--json") as witness:
        assert 200 == post(witness, log.request(0))[0]
        assert 409 == post(witness, log.grow(1).request(0))[0]
        assert 200 == post(witness, log.request(3))[0]
    assert 130 == witness.status
    assert [3, 4] == [json.loads(line)["size"] for line in witness.out.splitlines()]
    assert "ALARM" not in witness.err


def test_a_fork_is_an_alarm_on_standard_error_and_a_status_of_its_own(folder, log):
    with running(folder) as witness:
        assert 200 == post(witness, log.request(0))[0]
        assert 409 == post(witness, log.forked(1).request(3))[0]
        assert 422 == post(witness, log.forked(1).grow(2).request(3))[0]
        assert 200 == post(witness, log.grow(1).request(3))[0]
    assert 3 == witness.status
    assert 2 == witness.err.count("ALARM")
    assert 3 == mocban("witness", "trust", folder).status


def test_where_it_cannot_listen_is_an_error_and_no_address_a_usage_error(folder):
    with running(folder) as witness:
        said = mocban("witness", "serve", folder, "--listen", f"127.0.0.1:{witness.server_port}")
        assert 1 == said.status
        assert "cannot listen" in said.err
    for wrong in ("8790", ":8790", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"):
        assert 2 == mocban("witness", "serve", folder, "--listen", wrong).status
    assert 1 == mocban("witness", "serve", folder.parent, "--listen", "127.0.0.1:0").status
