"""Metrics: exactly Prometheus' text format, true, atomic as a file, and a listener that nobody can hold."""

import contextlib
import os
import re
import socket
import stat
import threading
import time
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from cli_support import mocban, snapshot
from kept_support import brought_back
from repository_support import audit, configure, flip, made, pack_file, pack_rows, submit_files

from audits import metrics
from audits.findings import Code, Finding, Severity
from audits.metrics import ListenError, MetricsFileError, listening, text, values, write
from commands.wording import harmless
from preservation import attachment
from preservation.configuration import ConfigurationError
from storage_backends.errors import StorageError

SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? '
    r"(?P<value>NaN|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
)
"""A line of the exposition format 0.0.4 without a time."""


def beginning(folder):
    place = made(folder)
    submit_files(place, {"a.txt": b"1" * 1000, "b.txt": b"2"}, name="one")
    submit_files(place, {"c.txt": b"3" * 1000}, name="two")
    return place


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def parsed(page):
    """Read a page as strictly as Prometheus does, and return its samples."""
    assert page.endswith("\n")
    helped, typed, found, family = set(), {}, {}, ""
    for line in page.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in helped
            assert "\n" not in line
            helped.add(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert (name, name not in typed) == (family, True)
            assert kind in {"gauge", "summary"}
            typed[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            base = (
                match["name"].removesuffix("_sum").removesuffix("_count")
                if typed[family] == "summary"
                else match["name"]
            )
            assert base == family, "samples stand together under their HELP and TYPE"
            key = match["name"] + (f"{{{match['labels']}}}" if match["labels"] else "")
            assert key not in found
            found[key] = float(match["value"])
    assert helped == set(typed)
    return found


def figures(place):
    return parsed(text(place.open(read_only=True)))


def test_the_page_is_what_prometheus_reads_and_says_what_is_held(place):
    found = figures(place)

    assert (2, 2, 3) == (found["mocban_packages"], found["mocban_packs"], found["mocban_objects"])
    assert 2 == found['mocban_copies{store="a",state="good"}']
    assert 0 == found['mocban_copies{store="b",state="damaged"}']
    assert 2 == found['mocban_copies_never_verified{store="a"}']
    assert sum(row.size for row in pack_rows(place)) == found['mocban_copy_bytes{store="a"}']
    assert 1 == found['mocban_store_available{store="a"}']
    assert found['mocban_store_free_bytes{store="a"}'] > 0
    assert "mocban_last_audit_timestamp_seconds" not in found
    assert found["mocban_checkpoint_events"] <= found["mocban_ledger_events"]


def test_an_empty_repository_has_metrics_too(tmp_path):
    place = made(tmp_path, store_names=())
    assert 0 == figures(place)["mocban_packages"]


def test_ages_are_those_of_the_last_verification(place):
    audit(place)
    place.clock.pass_by(days=10)
    submit_files(place, {"d.txt": b"4"}, name="three")
    audit(place, max_age_days=30)
    place.clock.pass_by(days=1)
    found = figures(place)

    assert 11 * 86_400 <= found['mocban_oldest_verification_age_seconds{store="a"}'] <= 11 * 86_400 + 60
    assert 11 * 86_400 <= found['mocban_verification_age_seconds{store="a",quantile="0.5"}']
    assert 3 == found['mocban_verification_age_seconds_count{store="a"}']
    assert 23 * 86_400 <= found['mocban_verification_age_seconds_sum{store="a"}'] <= 23 * 86_400 + 300
    assert 0 == found['mocban_copies_overdue{store="a"}']
    last = datetime.fromtimestamp(found["mocban_last_audit_timestamp_seconds"], UTC)
    assert place.clock.now.date().toordinal() - last.date().toordinal() == 1


def test_copies_that_are_too_old_are_overdue_whether_they_were_ever_verified_or_not(place):
    audit(place, stores=("a",))
    place.clock.pass_by(days=91)
    found = figures(place)

    assert (2, 2) == (found['mocban_copies_overdue{store="a"}'], found['mocban_copies_overdue{store="b"}'])
    assert 1 == found["mocban_scheduler_stopped"]


def test_every_error_has_a_sample_and_what_is_open_is_counted(place):
    before = figures(place)
    for code in Code:
        if Finding(code).severity is Severity.ERROR:
            assert 0 == before[f'mocban_incidents_open{{code="{code}"}}']
    for row in pack_rows(place):
        flip(pack_file(place, "a", row), 700)
    audit(place, repair=False)
    found = figures(place)

    assert 1 == found['mocban_incidents_open{code="copy-damaged"}']
    assert 2 == found['mocban_findings_open{code="copy-damaged",store="a"}']
    assert 2 == found['mocban_copies{store="a",state="damaged"}']
    assert found["mocban_oldest_incident_timestamp_seconds"] <= found["mocban_time_seconds"]


def test_names_from_outside_cannot_break_the_format(tmp_path):
    name = 'a"}\\ 1\nmocban_packages 99\n# HELP x\r\x1b\u2028'
    place = made(tmp_path)
    with contextlib.suppress(StorageError):
        attachment.add(place.open(), name, place.url("c"), site="x")
    found = figures(place)
    assert 0 == found["mocban_packages"]
    escaped = harmless(name).replace("\\", "\\\\").replace('"', '\\"')
    assert [key for key in found if escaped in key]


def test_a_store_that_is_away_is_not_available_and_has_no_free_bytes(place):
    place.store("b").rename(place.folder / "away")
    found = figures(place)
    assert 0 == found['mocban_store_available{store="b"}']
    assert 'mocban_store_free_bytes{store="b"}' not in found


def test_the_command_reads_only_and_prints_the_same_as_json(place):
    before = snapshot(place.folder)
    said = mocban("-C", place.path, "metrics")
    assert 0 == said.status
    assert set(values(said.out)) == set(mocban("-C", place.path, "metrics", "--json").json)
    parsed(said.out)
    assert before == snapshot(place.folder)


def test_the_file_is_replaced_in_one_step_and_readable_by_all(place, tmp_path):
    path = tmp_path / "mocban.prom"
    path.write_text("old")
    path.chmod(0o600)
    assert 0 == mocban("-C", place.path, "metrics", "--output", path).status
    parsed(path.read_text())
    assert 0o644 == stat.S_IMODE(os.stat(path).st_mode)
    assert [path.name] == [name for name in os.listdir(tmp_path) if "prom" in name]


def test_the_service_writes_the_file_that_the_configuration_names_or_none(place, tmp_path):
    write(place.open())
    configure(place, 'textfile = ""', f'textfile = "{tmp_path}/x.prom"')
    write(place.open())
    parsed((tmp_path / "x.prom").read_text())


@pytest.mark.parametrize("path", ["nowhere/x.prom", "."])
def test_a_file_that_cannot_be_written_is_an_error(place, tmp_path, path):
    said = mocban("-C", place.path, "metrics", "--output", tmp_path / path)
    assert (1, "") == (said.status, said.out)
    assert str(tmp_path / path) in said.err
    configure(place, 'textfile = ""', f'textfile = "{tmp_path / path}"')
    with pytest.raises(MetricsFileError):
        write(place.open())


# ---- over HTTP ---------------------------------------------------------------------------------------------------


def get(address, path="/metrics", method="GET"):
    with urlopen(Request(f"http://{address}{path}", method=method), timeout=10) as answer:
        return answer.status, answer.headers, answer.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_listener_answers_get_metrics(place, host):
    with listening(place.open, f"{host}:0") as address:
        status, headers, page = get(address)
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (status, headers["Content-Type"])
    assert 2 == parsed(page)["mocban_packages"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/metrics/../etc", "GET", 404), ("/metrics", "POST", 501), ("/metrics", "DELETE", 501)],
)
def test_everything_else_is_refused(place, path, method, status):
    with listening(place.open, "127.0.0.1:0") as address, pytest.raises(HTTPError) as failure:
        get(address, path, method)
    assert status == failure.value.code


def test_an_answer_is_given_again_for_a_while(place):
    opened = []

    def open_repository():
        opened.append(1)
        return place.open(read_only=True)

    with listening(open_repository, "127.0.0.1:0") as address:
        pages = {get(address)[2] for _ in range(5)}
    assert (1, 1) == (len(opened), len(pages))


def test_a_repository_that_cannot_be_read_is_a_503_and_the_listener_goes_on(place):
    aside = place.folder / "aside"
    with listening(place.open, "127.0.0.1:0") as address:
        os.rename(place.path, aside)
        with pytest.raises(HTTPError) as failure:
            get(address)
        assert 503 == failure.value.code
        assert b"NoRepositoryError" in failure.value.read()
        os.rename(aside, place.path)
        assert 200 == get(address)[0]


def test_nobody_can_hold_the_listener(place, monkeypatch):
    monkeypatch.setattr(metrics, "REQUEST_SECONDS", 0.5)
    with listening(place.open, "127.0.0.1:0") as address:
        host, port = address.split(":")
        held = [socket.create_connection((host, int(port))) for _ in range(3)]
        dripping = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not dripping.wait(0.05):
                    held[0].sendall(b"G")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        try:
            assert 200 == get(address)[0]
        finally:
            dripping.set()
            thread.join()
        assert time.monotonic() - began < 8
        for one in held:
            one.close()


def test_the_listener_lets_go_of_its_port(place):
    with listening(place.open, "127.0.0.1:0") as address:
        pass
    with listening(place.open, address) as again:
        assert address == again


def test_an_address_that_is_taken_is_an_error(place):
    with (
        listening(place.open, "127.0.0.1:0") as address,
        pytest.raises(ListenError, match="in use"),
        listening(place.open, address),
    ):
        pass


@pytest.mark.parametrize(
    "address", ["", "9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1"]
)
def test_a_malformed_address_is_an_error(place, address):
    with pytest.raises(ConfigurationError), listening(place.open, address):
        pass


def test_a_host_that_is_none_is_an_error(place):
    with pytest.raises(ListenError), listening(place.open, "no.such.host.invalid:0"):
        pass
