"""Time-stamps: asked of a real authority (openssl), verified before they are kept, anchored, kept on every store."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from asn1crypto.tsp import TimeStampReq
from cli_support import archive
from loopback_support import server, set_key
from repository_support import audit, copy_rows, flip, made, open_findings, submit_files
from timestamps_support import authority, openssl, reply, serving

from audits.doctor import examine
from preservation import asking, rebuilding, timestamps
from preservation.asking import AskingError
from preservation.ledger.checking import check_ledger
from preservation.ledger.events import EventType
from preservation.rfc3161 import OpensslError, TokenError, TokenRefusedError, query, read_reply, read_token
from preservation.timestamps import TimestampError, TimestampSetupError

TOKENS = EventType.TIMESTAMPED


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("authorities") / "one")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("authorities") / "other")


@pytest.fixture
def place(tmp_path, tsa):
    """A repository whose clock shows the time of day, as openssl's does."""
    place = made(tmp_path)
    place.clock.now = datetime.now(UTC)
    set_key(place.folder / "repo" / "mocban.toml", "timestamp", "ca_file", tsa / "ca.pem")
    return place


def aim(place, url):
    """Let the repository ask the authority at ``url``."""
    set_key(place.folder / "repo" / "mocban.toml", "timestamp", "url", url)


def events(place, kind=TOKENS):
    return [record for record in place.open().ledger.records() if record.event.type == kind]


def kept(place):
    folder = place.folder / "repo" / "ledger" / "timestamps"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def problems(place):
    return [one.problem for one in timestamps.verify(place.open(read_only=True))]


def obtained(place, tsa):
    with serving(tsa) as listening:
        aim(place, listening.url)
        return timestamps.obtain(place.open())


def test_a_token_is_kept_anchored_in_the_ledger_and_on_every_store(place, tsa):
    done = obtained(place, tsa)

    (record,) = events(place)
    name = f"{done.size:012d}"
    assert [f"{name}.note", f"{name}.tst"] == kept(place)
    assert {} == done.failures
    assert abs(done.skew_seconds) < 60
    assert "success" == record.event.outcome
    assert done.size <= record.seq
    for ending in ("note", "tst"):
        here = (place.folder / "repo/ledger/timestamps" / f"{name}.{ending}").read_bytes()
        assert sha256(here).hexdigest() == record.event.detail["attestations"][f"timestamps/{name}.{ending}"]
        for store in ("a", "b"):
            assert here == (place.store(store) / "ledger/timestamps" / f"{name}.{ending}").read_bytes()
    assert [""] == problems(place)
    assert [] == list(check_ledger(place.path + "/ledger"))


def test_an_auditor_verifies_a_token_with_openssl_alone(place, tsa):
    obtained(place, tsa)
    note, token = (place.store("a") / "ledger/timestamps" / name for name in kept(place))

    said = openssl("ts", "-verify", "-data", note, "-in", token, "-token_in", "-CAfile", tsa / "ca.pem")

    assert b"Verification: OK" in said
    assert note.read_bytes() in (place.store("a") / "ledger/checkpoints" / note.name).read_bytes()


def test_what_is_asked_is_a_query_with_a_nonce_and_for_the_certificate(place, tsa):
    with serving(tsa) as listening:
        aim(place, listening.url)
        timestamps.obtain(place.open())
        timestamps.obtain(place.open())
    kinds = {headers["Content-Type"] for _, headers, _ in listening.heard}
    (tsa / "asked").write_bytes(listening.heard[0][2])
    text = openssl("ts", "-query", "-in", tsa / "asked", "-text").decode()

    assert {"application/timestamp-query"} == kinds
    assert "Certificate required: yes" in text
    assert "Nonce: 0x" in text
    assert 2 == len({data[-20:] for _, _, data in listening.heard})


def changed_nonce(data):
    asked = TimeStampReq.load(data)
    asked["nonce"] = int(asked["nonce"].native) ^ 1
    return asked.dump(force=True)


def changed_imprint(data):
    asked = TimeStampReq.load(data)
    asked["message_imprint"]["hashed_message"] = bytes(32)
    return asked.dump(force=True)


def nothing_was_kept(place, before):
    assert [] == kept(place)
    assert [] == events(place)
    assert before == [row.state for row in copy_rows(place)]
    assert [] == open_findings(audit(place))


@pytest.mark.parametrize(
    ("change", "reason"),
    [(changed_nonce, "nonce"), (changed_imprint, "other bytes")],
)
def test_a_token_for_another_query_is_refused(place, tsa, change, reason):
    with serving(tsa, change) as listening:
        aim(place, listening.url)
        with pytest.raises(TokenError, match=reason):
            timestamps.obtain(place.open())
    nothing_was_kept(place, [])


def test_a_token_of_another_authority_is_refused(place, stranger):
    with serving(stranger) as listening:
        aim(place, listening.url)
        with pytest.raises(TimestampError, match=r"verify|certificate|unable"):
            timestamps.obtain(place.open())
    nothing_was_kept(place, [])


def test_a_token_that_was_altered_is_refused(place, tsa):
    def answer(conversation, data):
        right = bytearray(reply(tsa, data))
        right[-5] ^= 1  # in the signature
        conversation.give(200, "application/timestamp-reply", bytes(right))

    with server(answer) as listening:
        aim(place, listening.url)
        with pytest.raises((TimestampError, TokenError)):
            timestamps.obtain(place.open())
    nothing_was_kept(place, [])


def redirected(conversation, _):
    conversation.give(302, "text/html", b"", Location="http://127.0.0.1:1/")


ANSWERS = {
    "garbage": (lambda talk, _: talk.give(200, "application/timestamp-reply", os.urandom(700)), TokenError),
    "nothing": (lambda talk, _: talk.give(200, "application/timestamp-reply", b""), TokenError),
    "a page": (lambda talk, _: talk.give(200, "text/html", b"<html>welcome</html>"), TokenError),
    "depth": (lambda talk, _: talk.give(200, "application/timestamp-reply", b"\x30\x80" * 30_000), TokenError),
    "5 MB": (lambda talk, _: talk.give(200, "application/timestamp-reply", bytes(5 << 20)), AskingError),
    "cut off": (lambda talk, _: talk.give(200, "application/timestamp-reply", b"\x30", length=900), AskingError),
    "status 500": (lambda talk, _: talk.give(500, "text/plain", b"no"), TimestampError),
    "redirect": (redirected, TimestampError),
    "slow": (lambda talk, _: talk.drip(every=30, times=1), AskingError),
    "drop by drop": (lambda talk, _: talk.drip(), AskingError),
    "a long line": (lambda talk, _: talk.drip(line=b"X" * 1000, every=0, times=1000), AskingError),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer_is_an_error_that_changes_nothing_and_ends_in_time(place, name, monkeypatch):
    answer, error = ANSWERS[name]
    monkeypatch.setattr(asking, "SECONDS", 1.0)
    with server(answer) as listening:
        aim(place, listening.url)
        began = datetime.now(UTC)
        with pytest.raises(error):
            timestamps.obtain(place.open())
        assert datetime.now(UTC) - began < timedelta(seconds=8)
    nothing_was_kept(place, [])


def another_policy(data):
    asked = TimeStampReq.load(data)
    asked["req_policy"] = "1.2.9.9"
    return asked.dump(force=True)


def test_a_refusal_is_told_with_its_reason(place, tsa):
    with serving(tsa, another_policy) as listening:
        aim(place, listening.url)
        with pytest.raises(
            TokenRefusedError, match=r"rejection Requested policy is not supported\., unaccepted_policy"
        ):
            timestamps.obtain(place.open())
    nothing_was_kept(place, [])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://a:b@127.0.0.1/", "http://[::1",
     "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://no-such-host.invalid/", "http://127.0.0.1/ x"],
)  # fmt: skip
def test_an_address_that_cannot_be_asked_is_an_error(place, url):
    aim(place, url)
    with pytest.raises(AskingError):
        timestamps.obtain(place.open())
    nothing_was_kept(place, [])


def test_what_is_not_configured_is_told_and_never_due(place):
    assert not timestamps.is_due(place.open())
    with pytest.raises(TimestampSetupError, match="url"):
        timestamps.obtain(place.open())
    aim(place, "http://127.0.0.1:1/")
    for wrong in ("", "/nowhere/ca.pem"):
        set_key(place.folder / "repo" / "mocban.toml", "timestamp", "ca_file", wrong)
        with pytest.raises(TimestampSetupError, match="ca_file"):
            timestamps.obtain(place.open())
        with pytest.raises(TimestampSetupError, match="ca_file"):
            list(timestamps.verify(place.open()))


def test_without_openssl_nothing_is_called_right_or_wrong(place, tsa, monkeypatch):
    obtained(place, tsa)
    before = kept(place)
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(OpensslError):
        problems(place)
    assert before == kept(place)


def test_clocks_that_differ_are_recorded_and_not_fatal(place, tsa):
    place.clock.pass_by(days=3650)
    done = obtained(place, tsa)

    (record,) = events(place)
    assert done.skew_seconds == record.event.detail["skew_seconds"] < -300_000_000
    assert "warning" == record.event.outcome
    assert [""] == problems(place)


def test_a_token_is_due_once_a_day_and_once_after_the_clock_went_back(place, tsa):
    aim(place, "http://127.0.0.1:1/")
    assert timestamps.is_due(place.open())
    obtained(place, tsa)
    assert not timestamps.is_due(place.open())
    place.clock.pass_by(hours=23)
    assert not timestamps.is_due(place.open())
    place.clock.pass_by(hours=2)
    assert timestamps.is_due(place.open())
    place.clock.pass_by(days=-4000)
    assert timestamps.is_due(place.open())
    obtained(place, tsa)
    assert not timestamps.is_due(place.open())


@pytest.mark.parametrize("ending", ["note", "tst"])
def test_a_kept_file_that_changes_or_goes_is_named_and_comes_back_from_a_store(place, tsa, ending):
    obtained(place, tsa)
    path = place.folder / "repo/ledger/timestamps" / next(name for name in kept(place) if name.endswith(ending))
    flip(path, 30)
    assert ["changed"] == problems(place)
    rebuilding.rebuild(place.path, place.world)
    assert [""] == problems(place)
    path.unlink()
    assert ["missing"] == problems(place)
    rebuilding.rebuild(place.path, place.world)
    assert [""] == problems(place)


def test_damage_here_is_never_spread_and_damage_on_a_store_is_healed(place, tsa):
    obtained(place, tsa)
    name = kept(place)[1]
    here, there = (folder / "ledger/timestamps" / name for folder in (place.folder / "repo", place.store("a")))
    right = there.read_bytes()
    flip(there, 50)
    report = audit(place)
    damaged = [one for one in report.findings if one.code == "evidence-damaged"]
    assert [("a", f"ledger/timestamps/{name}", True)] == [(one.store, one.detail, one.healed) for one in damaged]
    assert right == there.read_bytes()
    there.unlink()
    audit(place)
    assert right == there.read_bytes()
    flip(here, 50)
    assert [] == open_findings(audit(place))
    assert right == there.read_bytes()


def test_a_store_that_was_away_gets_what_it_missed(place, tsa):
    away = place.folder / "elsewhere"
    shutil.move(place.store("a"), away)
    for _ in range(3):
        assert {"a"} == obtained(place, tsa).failures.keys()
    shutil.move(away, place.store("a"))
    assert {} == obtained(place, tsa).failures
    assert kept(place) == sorted(path.name for path in (place.store("a") / "ledger/timestamps").iterdir())
    assert not [one for one in audit(place).findings if one.code == "evidence-damaged"]


def test_a_repository_made_anew_from_one_store_has_the_tokens(place, tsa, tmp_path):
    submit_files(place, {b"a.txt": b"one"})
    obtained(place, tsa)
    shutil.rmtree(place.path)
    shutil.rmtree(place.store("b"))
    rebuilding.rebuild_from(place.url("a"), place.path, place.world)

    assert [""] == problems(place)


def test_a_token_that_a_crash_left_unrecorded_is_replaced(place, tsa):
    size = place.open().ledger.size
    folder = place.folder / "repo/ledger/timestamps"
    folder.mkdir()
    for ending in ("note", "tst"):
        (folder / f"{size:012d}.{ending}").write_bytes(b"half")
    done = obtained(place, tsa)

    assert size == done.size
    assert [""] == problems(place)


def symptoms(place):
    return {one.code for one in examine(place.path, place.world)}


def test_the_doctor_tells_of_tokens_that_are_late_and_of_an_authority_that_ends(place, tsa, tmp_path):
    assert not {"timestamp-overdue", "timestamp-authority-ending"} & symptoms(place)
    aim(place, "http://127.0.0.1:1/")
    place.clock.pass_by(hours=49)
    assert "timestamp-overdue" in symptoms(place)
    obtained(place, tsa)
    assert not {"timestamp-overdue", "timestamp-authority-ending"} & symptoms(place)
    place.clock.pass_by(days=3650 - 800)
    assert "timestamp-authority-ending" not in symptoms(place)
    place.clock.pass_by(days=80)
    assert "timestamp-authority-ending" in symptoms(place)
    place.clock.pass_by(days=3650)
    assert "timestamp-authority-ending" in symptoms(place)
    assert [""] == problems(place)


def test_the_commands_tell_of_tokens_in_words_and_json(tmp_path, tsa):
    made_archive = archive(tmp_path)
    said = made_archive("ledger", "timestamp")
    assert 1 == said.status
    assert "[timestamp]" in said.err
    path = made_archive.path / "mocban.toml"
    set_key(path, "timestamp", "ca_file", tsa / "ca.pem")
    with serving(tsa) as listening:
        set_key(path, "timestamp", "url", listening.url)
        done = made_archive.json("ledger", "timestamp")
        again = made_archive("ledger", "timestamp")
    assert done["authority_until"] > done["time"]
    assert 0 == again.status
    assert "Time stated" in again.out
    told = made_archive.json("ledger", "timestamp", "--verify")
    assert told["verified"]
    assert 2 == len(told["tokens"])
    token = min((made_archive.path / "ledger/timestamps").glob("*.tst"))
    token.write_bytes(b"x")
    said = made_archive("ledger", "timestamp", "--verify")
    assert 3 == said.status
    assert f"{token.name}: changed" in said.out
    assert json.loads(made_archive("ledger", "timestamp", "--verify", "--json").out)["verified"] is False


def test_no_bytes_make_the_parser_fail_otherwise(tsa):
    digest = sha256(b"x").digest()
    right = reply(tsa, query(digest, 77))
    token = read_reply(right, digest, 77)
    assert token.time.tzinfo is UTC
    assert token.until > token.time
    for place in range(0, len(right), 7):
        wrong = bytearray(right)
        wrong[place] ^= 0x55
        try:
            read_reply(bytes(wrong), digest, 77)
        except TokenError:
            continue
    for end in range(0, len(token.data), 11):
        with pytest.raises(TokenError):
            read_token(token.data[:end])
