"""An archive asks a witness: what it keeps, what it refuses to believe, and what it says when the witness refuses."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cli_support import archive, mocban
from kept_support import brought_back
from loopback_support import server, set_key
from repository_support import audit, flip, made, submit_files
from witness_support import NAME, Log, served, witness

from audits.doctor import examine
from preservation import asking, attestations, rebuilding, rotation, witnessing
from preservation.asking import AskingError
from preservation.catalog import rows
from preservation.catalog.rows import AttestationRow, MarkRow
from preservation.cosignatures import cosignature_of
from preservation.ledger.checking import check_ledger
from preservation.ledger.events import EventType
from preservation.ledger.keys import LOG_VERIFIER_FILE, read_verifier_key
from preservation.ledger.notes import SignedCheckpoint
from preservation.witness.countersigning import countersign
from preservation.witness.errors import ForkError, StaleRequestError
from preservation.witness.folder import create_witness, open_witness, served_logs, trust
from preservation.witness.requests import parse_request
from preservation.witnessing import (
    WitnessAheadError,
    WitnessAnswerError,
    WitnessForkError,
    WitnessRefusedError,
    WitnessSetupError,
)


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def beginning(folder):
    place = made(folder)
    submit_files(place, {b"a.txt": b"one"})
    return place


@pytest.fixture
def other(place):
    """A witness that serves the repository, and whose key the repository knows."""
    other = create_witness(str(place.folder / "witness"), NAME, os.urandom)
    trust(other, log_key(place), 5)
    configured(place, key=other.key)
    return other


def configured(place, **values):
    for key, value in values.items():
        set_key(place.folder / "repo" / "mocban.toml", "witness", key, value)


def log_key(place):
    return read_verifier_key(os.path.join(place.path, "keys", LOG_VERIFIER_FILE))


def told(place):
    return [record for record in place.open().ledger.records() if record.event.type == EventType.WITNESSED]


def kept(place):
    folder = place.folder / "repo" / "ledger" / "witness"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def problems(place):
    return [one.problem for one in witnessing.verify(place.open(read_only=True))]


def asked(place, other):
    """Have the newest checkpoint countersigned over HTTP."""
    with served(other, place.clock) as listening:
        configured(place, url=listening.url)
        return witnessing.countersign(place.open())


def by_file(place, other, old=None):
    """The same by file."""
    request = parse_request(witnessing.request(place.open(), old).encoded())
    answer = countersign(other, request, place.clock(), 5).note().encoded()
    return witnessing.accept(place.open(), answer)


def seen(other):
    return served_logs(other)[0].size


def grow(place, number=1):
    repository = place.open()
    repository.record([repository.event(EventType.VALIDATION) for _ in range(number)])


def test_a_countersigned_checkpoint_is_kept_recorded_and_on_every_store(place, other):
    done = asked(place, other)

    (record,) = told(place)
    (name,) = kept(place)
    data = (place.folder / "repo/ledger/witness" / name).read_bytes()
    signed = SignedCheckpoint.parse(data)
    assert f"{done.size:012d}.note" == name
    assert done.size == signed.checkpoint.size == seen(other) <= record.seq
    assert done.time == cosignature_of(signed.note, other.key).time
    assert {f"witness/{name}": sha256(data).hexdigest()} == record.event.detail["attestations"]
    assert signed.checkpoint.root.hex() == record.event.detail["root"]
    assert other.key.key_id.hex() == record.event.detail["key"]
    assert place.open().ledger.checkpoint(done.size).note.signatures[0] in signed.note.signatures
    for store in ("a", "b"):
        assert data == (place.store(store) / "ledger/witness" / name).read_bytes()
    assert [""] == problems(place)
    assert [] == list(check_ledger(place.path + "/ledger"))
    assert not [one for one in audit(place).findings if one.code in {"evidence-damaged", "item-unexpected"}]


def test_a_growing_ledger_is_countersigned_again_and_again(place, other):
    sizes = []
    for number in (1, 2, 7, 30):
        sizes.append(asked(place, other).size)
        grow(place, number)
    assert sorted(set(sizes)) == sizes
    assert [""] * 4 == problems(place)
    assert [f"{size:012d}.note" for size in sizes] == kept(place)


def test_the_proof_is_made_across_sealed_segments(place, other):
    for number in range(5):
        assert place.open().ledger.size > 0
        asked(place, other)
        grow(place, 3 + number)
        with place.open().ledger.writing(5) as writer:
            writer.seal_if_due(force=number % 2 == 0)
    assert asked(place, other).size == seen(other)
    assert [""] * 6 == problems(place)


def test_the_catalog_follows_and_is_the_same_when_made_anew(place, other):
    done = asked(place, other)
    rebuilding.rebuild(place.path, place.world)
    with place.open().reading() as view:
        assert str(done.size) == rows.one(view, MarkRow, "witnessed size").value
        assert str(done.size) == rows.one(view, MarkRow, f"witnessed by {other.key.key_id.hex()}").value
        assert 1 == len(list(rows.every(view, AttestationRow)))


def test_a_witness_that_knows_more_or_less_than_the_ledger_remembers_is_asked_again(place, other):
    asked(place, other)
    grow(place)
    request = parse_request(witnessing.request(place.open()).encoded())
    countersign(other, request, place.clock(), 5)  # its answer was lost on the way
    grow(place)
    assert asked(place, other).size == seen(other)
    shutil.rmtree(other.path + "/logs")
    os.mkdir(other.path + "/logs")  # it lost its memory
    grow(place)
    assert asked(place, other).size == seen(other)


def altered(place, tmp_path):
    """The same repository with another last event, signed with the same key: what a thief of key and machine makes."""
    before = tmp_path / "before"
    shutil.copytree(place.path, before)

    def put_back():
        shutil.rmtree(place.path)
        shutil.copytree(before, place.path)

    return put_back


def detached(place):
    """Take the stores away: they would tell of the newer events."""
    for name in ("a", "b"):
        shutil.rmtree(place.store(name))


def test_a_history_that_was_written_anew_is_refused_by_the_witness_and_told_as_an_alarm(place, other, tmp_path):
    put_back = altered(place, tmp_path)
    grow(place, 2)
    asked(place, other)
    put_back()
    detached(place)
    grow(place, 5)
    before = len(told(place))

    with pytest.raises(WitnessForkError, match="ALARM"):
        asked(place, other)
    assert before == len(told(place))
    assert [] == kept(place)
    assert 1 == served_logs(other)[0].contradictions
    assert [] == list(check_ledger(place.path + "/ledger"))
    grow(place)
    assert audit(place, repair=False).coverage.expected


def test_another_root_for_the_same_size_is_refused_by_the_witness_and_told_as_an_alarm(place, other, tmp_path):
    put_back = altered(place, tmp_path)
    grow(place)
    size = asked(place, other).size
    put_back()
    detached(place)
    grow(place)
    assert size == place.open().ledger.size

    with pytest.raises(WitnessForkError, match="ALARM"):
        asked(place, other)
    with pytest.raises(ForkError):
        by_file(place, other, old=size)
    assert 1 == served_logs(other)[0].contradictions


def test_a_ledger_put_back_from_a_backup_is_told_that_it_is_older(place, other, tmp_path):
    put_back = altered(place, tmp_path)
    grow(place, 9)
    asked(place, other)
    put_back()
    configured(place, key=other.key)
    with pytest.raises(WitnessAheadError, match="mocban rebuild"):
        asked(place, other)
    with pytest.raises(WitnessAheadError):
        witnessing.request(place.open(), 10_000)
    with pytest.raises(StaleRequestError):
        by_file(place, other)
    rebuilding.rebuild(place.path, place.world)  # the stores have the events
    assert asked(place, other).size == seen(other)


def test_a_new_log_key_is_told_as_what_it_is(place, other):
    asked(place, other)
    rotation.rotate_log_key(place.path, place.world, f"{place.path}.recovery-kit")
    with pytest.raises(WitnessRefusedError, match="log key"):
        asked(place, other)
    trust(other, log_key(place), 5)
    assert asked(place, other).size == seen(other)


def test_a_ledger_that_the_witness_does_not_serve_is_told_so(place, tmp_path):
    stranger = create_witness(str(tmp_path / "stranger"), NAME, os.urandom)
    configured(place, key=stranger.key)
    with pytest.raises(WitnessRefusedError, match="does not serve"):
        asked(place, stranger)


def signing(other_witness, change=lambda line: line):
    """A server that answers with a cosignature, changed."""

    def answer(talk, data):
        done = countersign(other_witness, parse_request(data), datetime.now(UTC), 5)
        talk.give(200, "text/plain", change(done.lines()))

    return answer


def test_a_cosignature_that_is_wrong_is_not_kept(place, other, tmp_path):
    stranger = create_witness(str(tmp_path / "stranger"), NAME, os.urandom)
    trust(stranger, log_key(place), 5)
    cases = {
        "another key": signing(stranger),
        "altered": signing(other, lambda line: line[:-6] + b"AAAA=\n"),
        "none": lambda talk, _: talk.give(200, "text/plain", b""),
        "garbage": lambda talk, _: talk.give(200, "text/plain", os.urandom(90)),
        "page": lambda talk, _: talk.give(200, "text/html", b"<html>welcome</html>\n"),
    }
    for name, answer in cases.items():
        with server(answer) as listening:
            configured(place, url=listening.url)
            with pytest.raises(WitnessAnswerError):
                witnessing.countersign(place.open())
        assert [] == kept(place), name
    assert [] == told(place)


ANSWERS = {
    "5 MB": (lambda talk, _: talk.give(200, "text/plain", bytes(5 << 20)), AskingError),
    "slow": (lambda talk, _: talk.drip(every=30, times=1), AskingError),
    "drop by drop": (lambda talk, _: talk.drip(), AskingError),
    "status 500": (lambda talk, _: talk.give(500, "text/plain", b""), WitnessRefusedError),
    "redirect": (lambda talk, _: talk.give(307, "text/plain", b"", Location="/else"), WitnessRefusedError),
    "conflict without size": (lambda talk, _: talk.give(409, "text/plain", b"7\n"), WitnessRefusedError),
    "conflict with no number": (lambda talk, _: talk.give(409, "text/x.tlog.size", b"-7\n"), WitnessRefusedError),
    "conflict with a huge number": (
        lambda talk, _: talk.give(409, "text/x.tlog.size", b"9" * 5000),
        WitnessRefusedError,
    ),
    "the size that was asked": (lambda talk, _: talk.give(409, "text/x.tlog.size", b"0\n"), WitnessRefusedError),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer_is_an_error_that_changes_nothing_and_ends_in_time(place, other, name, monkeypatch):
    answer, error = ANSWERS[name]
    monkeypatch.setattr(asking, "SECONDS", 1.0)
    with server(answer) as listening:
        configured(place, url=listening.url)
        began = datetime.now(UTC)
        with pytest.raises(error) as raised:
            witnessing.countersign(place.open())
        assert datetime.now(UTC) - began < timedelta(seconds=8)
    assert not isinstance(raised.value, WitnessForkError)
    assert ([], []) == (kept(place), told(place))


def test_a_witness_that_changes_its_mind_is_not_asked_for_ever(place, other):
    sizes = iter(range(1, 100))

    def answer(talk, _):
        talk.give(409, "text/x.tlog.size", b"%d\n" % next(sizes))

    with server(answer) as listening:
        configured(place, url=listening.url)
        with pytest.raises(WitnessRefusedError):
            witnessing.countersign(place.open())
        assert len(listening.heard) < 5


def test_what_is_not_configured_is_told_and_never_due(place):
    assert not witnessing.is_due(place.open())
    assert witnessing.overdue_since(place.open()) is None
    with pytest.raises(WitnessSetupError, match="url"):
        witnessing.countersign(place.open())
    configured(place, url="http://127.0.0.1:1")
    for key in ("", "garbage", str(log_key(place))):
        configured(place, key=key)
        with pytest.raises(WitnessSetupError):
            witnessing.countersign(place.open())
        with pytest.raises(WitnessSetupError):
            witnessing.request(place.open())


def test_it_is_due_each_hour_if_there_is_something_new_else_each_day(place, other):
    configured(place, url="http://127.0.0.1:1")
    assert witnessing.is_due(place.open())
    asked(place, other)
    assert not witnessing.is_due(place.open())
    place.clock.pass_by(hours=2)
    assert not witnessing.is_due(place.open())
    grow(place)
    assert witnessing.is_due(place.open())
    asked(place, other)
    grow(place)
    assert not witnessing.is_due(place.open())
    place.clock.pass_by(minutes=61)
    assert witnessing.is_due(place.open())
    asked(place, other)
    place.clock.pass_by(hours=25)
    assert witnessing.is_due(place.open())
    place.clock.pass_by(days=-3650)
    assert witnessing.is_due(place.open())
    asked(place, other)
    assert not witnessing.is_due(place.open())


def test_the_doctor_tells_of_events_that_wait_for_the_witness(place, other):
    def symptoms():
        return {one.code for one in examine(place.path, place.world)}

    place.clock.pass_by(hours=3)
    assert "witness-overdue" in symptoms()
    asked(place, other)
    assert "witness-overdue" not in symptoms()
    place.clock.pass_by(hours=3)
    assert "witness-overdue" not in symptoms()


def test_a_second_witness_adds_its_line_and_the_first_one_stays(place, other, tmp_path):
    request = parse_request(witnessing.request(place.open()).encoded())
    answer = countersign(other, request, place.clock(), 5).note().encoded()
    witnessing.accept(place.open(), answer)
    second = create_witness(str(tmp_path / "second"), "example/w2", os.urandom)
    trust(second, log_key(place), 5)
    configured(place, key=second.key)
    done = witnessing.accept(place.open(), countersign(second, request, place.clock(), 5).note().encoded())
    (name,) = kept(place)
    note = SignedCheckpoint.parse((place.store("b") / "ledger/witness" / name).read_bytes()).note

    assert {} == done.failures
    assert {NAME, "example/w2"} < {line.name for line in note.signatures}
    assert ["", ""] == problems(place)
    assert not [one for one in audit(place).findings if one.code == "evidence-damaged"]


def test_an_answer_that_is_not_ours_is_not_kept(place, other, tmp_path):
    request = parse_request(witnessing.request(place.open()).encoded())
    right = countersign(other, request, place.clock(), 5).note().encoded()
    stranger = Log("example/other", 3)
    foreign = countersign(witness(tmp_path / "w", stranger), parse_request(stranger.request(0)), place.clock(), 5)
    size = request.signed.checkpoint.size
    for wrong in (
        b"",
        right[:-9],
        request.signed.note.encoded(),
        foreign.note().encoded(),
        right.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1)),
        right.replace(b"mocban/", b"mocban-"),
    ):
        with pytest.raises(WitnessAnswerError):
            witnessing.accept(place.open(), wrong)
    assert ([], []) == (kept(place), told(place))
    assert size == witnessing.accept(place.open(), right).size


def dropped(data):
    """The note without the line of the witness."""
    return b"".join(line for line in data.splitlines(keepends=True) if NAME.encode() not in line)


@pytest.mark.parametrize("change", [dropped, lambda data: data[:-3] + b"A=\n", lambda _: b"", None])
def test_a_kept_note_that_changes_or_goes_is_named_and_comes_back_from_a_store(place, other, change):
    asked(place, other)
    path = place.folder / "repo/ledger/witness" / kept(place)[0]
    right = path.read_bytes()
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(right))
    assert ["missing" if change is None else "changed"] == problems(place)
    rebuilding.rebuild(place.path, place.world)
    assert right == path.read_bytes()
    assert [""] == problems(place)


def test_damage_on_a_store_is_healed_and_a_repository_made_anew_has_the_notes(place, other):
    asked(place, other)
    (name,) = kept(place)
    there = place.store("a") / "ledger/witness" / name
    right = there.read_bytes()
    flip(there, 40)
    audit(place)
    assert right == there.read_bytes()
    shutil.rmtree(place.path)
    shutil.rmtree(place.store("b"))
    rebuilding.rebuild_from(place.url("a"), place.path, place.world)
    assert [""] == problems(place)


@pytest.mark.parametrize("name", ["../../escaped", "/dev/shm/escaped", "witness/../../escaped.note", "hot/1.wal", ""])
def test_a_name_that_leads_elsewhere_is_never_read_or_written(place, name):
    repository = place.open()
    (place.store("a") / "ledger/escaped").write_bytes(b"x")
    detail = {"size": 1, "key": "00", "root": "", "witnessed": "", "attestations": {name: sha256(b"x").hexdigest()}}
    repository.record([repository.event(EventType.WITNESSED, **detail)])
    before = sorted(os.listdir(place.path)), sorted(os.listdir(place.folder))
    rebuilding.rebuild(place.path, place.world)
    assert before == (sorted(os.listdir(place.path)), sorted(os.listdir(place.folder)))
    assert not [one for one in audit(place).findings if "escaped" in one.detail and one.code == "evidence-damaged"]
    with pytest.raises(ValueError, match="name"):
        attestations.keep(repository.ledger, name, b"x")


def test_clocks_that_differ_are_recorded_and_not_fatal(place, other):
    with served(other, lambda: datetime(2040, 1, 1, tzinfo=UTC)) as listening:
        configured(place, url=listening.url)
        done = witnessing.countersign(place.open())
    (record,) = told(place)

    assert done.skew_seconds == record.event.detail["skew_seconds"] > 300_000_000
    assert "warning" == record.event.outcome
    assert [""] == problems(place)


def test_the_commands_carry_a_checkpoint_by_file_and_back(tmp_path):
    mine = archive(tmp_path)
    folder = tmp_path / "witness"
    key = mocban("witness", "init", folder, "--name", NAME, "--json").json["key"]
    assert key == mocban("witness", "key", folder).out.strip()
    set_key(mine.path / "mocban.toml", "witness", "key", key)
    log = mine("ledger", "key", "--verifier").out.splitlines()[0]
    request, answer = tmp_path / "request", tmp_path / "answer"
    assert 0 == mine("ledger", "witness", "--request", request).status
    said = mocban("witness", "sign", folder, request)
    assert 1 == said.status
    assert "witness trust" in said.err
    assert 0 == mocban("witness", "trust", folder, "--log-key", log).status
    assert 0 == mocban("witness", "sign", folder, request, "-o", answer).status
    assert len(answer.read_text().splitlines()) == len(mocban("witness", "sign", folder, request).out.splitlines())
    done = mine.json("ledger", "witness", "--answer", answer)
    assert key == done["witness"]
    assert mine.json("ledger", "witness", "--verify")["verified"]
    (told_log,) = mocban("witness", "trust", folder, "--json").json
    assert (done["events"], 0) == (told_log["size"], told_log["forks"])
    page = mine("ledger", "witness", "--page").out
    assert len(page.splitlines()) < 60
    assert "\nold " in page
    assert mocban("witness", "trust", folder, "--log-key", log, "--remove").status == 0
    assert [] == mocban("witness", "trust", folder, "--json").json


def test_the_commands_ask_over_http_and_tell_an_alarm(tmp_path):
    mine = archive(tmp_path)
    folder = tmp_path / "witness"
    key = mocban("witness", "init", folder, "--name", NAME, "--json").json["key"]
    log = mine("ledger", "key", "--verifier").out.splitlines()[0]
    mocban("witness", "trust", folder, "--log-key", log)
    set_key(mine.path / "mocban.toml", "witness", "key", key)
    said = mine("ledger", "witness")
    assert 1 == said.status
    assert "[witness]" in said.err
    shutil.copytree(mine.path, tmp_path / "before")
    mine.ingest()
    with served(open_witness(str(folder)), lambda: datetime.now(UTC)) as listening:
        set_key(mine.path / "mocban.toml", "witness", "url", listening.url)
        assert 0 == mine("ledger", "witness").status
        shutil.rmtree(mine.path)
        shutil.copytree(tmp_path / "before", mine.path)
        for name in ("d1", "d2"):
            shutil.rmtree(tmp_path / name)
        set_key(mine.path / "mocban.toml", "witness", "url", listening.url)
        for _ in range(9):
            mine("ledger", "key", "--kit-confirmed")
        for number in range(20):
            mine("fonds", "add", f"F-{number}")
        said = mine("ledger", "witness")
    assert 1 == said.status
    assert "ALARM" in said.err
    assert 3 == mocban("witness", "trust", folder).status


@pytest.mark.parametrize(
    "arguments",
    [("--request", "x", "--answer", "y"), ("--page", "--verify"), ("--old", "3"), ("--old", "-1", "--page")],
)
def test_options_that_exclude_each_other_are_usage_errors(tmp_path, arguments):
    assert 2 == archive(tmp_path)("ledger", "witness", *arguments).status
