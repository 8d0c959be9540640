"""A witness countersigns what continues what it has seen, keeps it before it signs, and nothing else ever."""

import base64
import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from witness_support import NAME, NOW, Log, Signer, post, served, witness

from preservation.cosignatures import WitnessKey, cosign, cosignature_of, parse_witness_key
from preservation.ledger.errors import NoteError
from preservation.ledger.notes import Note, Signature, SignedCheckpoint, VerifierKey, parse_note
from preservation.witness import serving
from preservation.witness.countersigning import countersign
from preservation.witness.errors import (
    ForkError,
    MalformedRequestError,
    NoWitnessError,
    StaleRequestError,
    WitnessFolderError,
)
from preservation.witness.folder import (
    create_witness,
    distrust,
    last_countersigned,
    open_witness,
    served_logs,
    trust,
)
from preservation.witness.requests import parse_request


@pytest.fixture
def log():
    return Log(size=3)


@pytest.fixture
def made(tmp_path, log):
    return witness(tmp_path / "witness", log)


@pytest.fixture
def server(made):
    with served(made) as server:
        yield server


def known(made, log):
    last = last_countersigned(made, log.signer.name)
    return last.checkpoint if last is not None else None


def cosigned(made, log, body, size=None):
    """What the answer's line says, verified."""
    return cosignature_of(parse_note(log.note(size) + body), made.key)


def evidence(made):
    return sorted(os.listdir(os.path.join(made.path, "evidence")))


def test_a_checkpoint_that_continues_the_last_one_is_countersigned(made, log, server):
    status, _, body = post(server, log.request(0))
    assert 200 == status
    assert NOW == cosigned(made, log, body).time
    assert log.checkpoint() == known(made, log)
    log.grow(20)
    status, _, body = post(server, log.request(3))
    assert 200 == status
    assert NOW == cosigned(made, log, body).time
    assert log.checkpoint() == known(made, log)


def test_the_answer_is_what_the_protocol_says_to_the_byte(made, log, server, tmp_path):
    _, _, body = post(server, log.request(0))
    dash, name, encoded = body.decode().removesuffix("\n").split(" ")
    data = base64.b64decode(encoded)
    seconds = int.from_bytes(data[4:12])
    message = f"cosignature/v1\ntime {seconds}\n".encode() + log.checkpoint().text().encode()

    assert ("\u2014", NAME) == (dash, name)
    assert int(NOW.timestamp()) == seconds
    assert sha256(NAME.encode() + b"\n\x04" + made.key.public).digest()[:4] == data[:4]
    assert 4 + 8 + 64 == len(data)
    (tmp_path / "key.pem").write_bytes(VerifierKey(NAME, made.key.public).pem())
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(data[12:])
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pem -sigfile signature -in message"
    assert 0 == subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode


def test_the_same_checkpoint_again_is_countersigned_again_with_a_new_time(made, log):
    first = countersign(made, parse_request(log.request(0)), NOW, 5)
    later = NOW.replace(hour=9)
    again = countersign(made, parse_request(log.request(3)), later, 5)

    assert later == cosignature_of(again.note(), made.key).time
    assert NOW == cosignature_of(first.note(), made.key).time


def test_another_old_size_is_a_conflict_that_tells_the_size(made, log, server):
    assert (409, "text/x.tlog.size", b"0\n") == post(server, log.request(2))
    post(server, log.request(0))
    log.grow(4)
    assert (409, "text/x.tlog.size", b"3\n") == post(server, log.request(0))
    assert (409, "text/x.tlog.size", b"3\n") == post(server, log.request(5))
    assert (409, "text/x.tlog.size", b"3\n") == post(server, log.request(0, 2))
    assert 3 == known(made, log).size
    assert [] == evidence(made)


def test_a_log_that_is_not_served_is_not_found_and_a_key_that_is_not_trusted_is_forbidden(made, log, server):
    stranger = Log("example/other", 3)
    assert 404 == post(server, stranger.request(0))[0]
    impostor = Log(log.signer.name, 3)
    assert 403 == post(server, impostor.request(0))[0]
    assert 403 == post(server, log.request(0, signers=[Signer("example/else")]))[0]
    wrong = log.request(0)
    place = wrong.rindex(b" ") + 20
    assert 403 == post(server, wrong[:place] + (b"A" if wrong[place] != 65 else b"B") + wrong[place + 1 :])[0]
    assert known(made, log) is None
    assert 200 == post(server, log.request(0, signers=[Signer("example/else"), log.signer]))[0]


def test_signatures_of_strangers_are_not_kept(made, log):
    countersign(made, parse_request(log.request(0, signers=[Signer("example/else"), log.signer])), NOW, 5)

    assert [log.signer.name] == [one.name for one in last_countersigned(made, log.signer.name).note.signatures]


@pytest.mark.parametrize("at", [0, 2])
def test_another_root_for_the_same_size_is_refused_kept_and_told(made, log, server, at):
    post(server, log.request(0))
    other = log.forked(at)

    assert (409, "text/x.tlog.size", b"3\n") == post(server, other.request(3))
    assert log.checkpoint() == known(made, log)
    (kept,) = evidence(made)
    folder = os.path.join(made.path, "evidence", kept)
    assert {"contradicting.note", "known.note", "proof.txt"} == set(os.listdir(folder))
    with open(os.path.join(folder, "contradicting.note"), "rb") as file:
        assert other.note() == file.read()
    with open(os.path.join(folder, "known.note"), "rb") as file:
        assert log.note() == file.read()
    assert isinstance(server.told[-1], ForkError)
    assert "ALARM" in str(server.told[-1])
    assert post(server, other.request(0))[0] == 409
    assert 1 == len(evidence(made))
    assert 1 == served_logs(made)[0].contradictions


def test_a_proof_that_does_not_hold_is_refused_kept_and_told(made, log, server):
    post(server, log.request(0))
    other = log.forked(1).grow(5)

    status, _, body = post(server, other.request(3))
    assert 422 == status
    assert b"\xe2\x80\x94" not in body
    assert 3 == known(made, log).size
    assert isinstance(server.told[-1], ForkError)
    assert 1 == len(evidence(made))
    assert 200 == post(server, log.grow(5).request(3))[0]


def test_a_witness_that_comes_back_remembers(made, log):
    countersign(made, parse_request(log.request(0)), NOW, 5)
    again = open_witness(made.path)
    with pytest.raises(ForkError):
        countersign(again, parse_request(log.forked(2).request(3)), NOW, 5)
    with pytest.raises(StaleRequestError):
        countersign(again, parse_request(log.grow(1).request(0)), NOW, 5)


def test_what_cannot_be_kept_is_not_signed(made, log, server):
    os.rmdir(os.path.join(made.path, "logs"))
    with open(os.path.join(made.path, "logs"), "wb"):
        pass
    status, _, body = post(server, log.request(0))
    assert 503 == status
    assert b"\xe2\x80\x94" not in body


def test_what_was_kept_and_could_not_be_signed_binds_all_the_same(made, log):
    os.unlink(os.path.join(made.path, "witness.pem"))
    with pytest.raises(Exception, match="private key"):
        countersign(made, parse_request(log.request(0)), NOW, 5)
    assert log.checkpoint() == known(made, log)
    with pytest.raises(ForkError):
        countersign(made, parse_request(log.forked(1).request(3)), NOW, 5)


def test_a_damaged_memory_is_no_empty_memory(made, log):
    countersign(made, parse_request(log.request(0)), NOW, 5)
    (name,) = os.listdir(os.path.join(made.path, "logs"))
    with open(os.path.join(made.path, "logs", name), "r+b") as file:
        file.truncate(20)
    with pytest.raises(WitnessFolderError):
        countersign(made, parse_request(log.forked(1).request(0)), NOW, 5)


def test_a_disk_that_fails_at_any_flush_gets_no_signature_and_leaves_old_or_new(made, log, monkeypatch):
    countersign(made, parse_request(log.request(0)), NOW, 5)
    flush = os.fsync
    for failing in range(1, 9):
        old = known(made, log)
        log.grow(1)
        calls = iter(range(1, 99))

        def fsync(descriptor, failing=failing, calls=calls):
            if next(calls) == failing:
                raise OSError(5, "Input/output error")
            flush(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fsync)
            try:
                done = countersign(made, parse_request(log.request(old.size)), NOW, 5)
            except WitnessFolderError:
                assert known(made, log) in {old, log.checkpoint()}
            else:
                assert failing > 3
                assert done.signed.checkpoint == known(made, log)
        if known(made, log) == log.checkpoint():
            with pytest.raises(ForkError):
                countersign(made, parse_request(log.forked(old.size).request(log.checkpoint().size)), NOW, 5)


def test_requests_at_once_never_roll_the_memory_back(made, log):
    log.grow(40)
    countersign(made, parse_request(log.request(0, 3)), NOW, 5)
    outcomes = []

    def ask(size):
        try:
            outcomes.append(countersign(made, parse_request(log.request(3, size)), NOW, 10).signed.checkpoint.size)
        except StaleRequestError:
            outcomes.append(None)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(4, 44, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (signed,) = [size for size in outcomes if size is not None]
    assert signed == known(made, log).size


def test_a_new_key_is_trusted_only_when_the_keeper_says_so_and_an_old_one_no_longer(made, log, server):
    post(server, log.request(0))
    old, log.signer = log.signer, Signer(log.signer.name)
    log.grow(1)
    assert 403 == post(server, log.request(3))[0]
    trust(made, log.signer.key, 5)
    assert 200 == post(server, log.request(3))[0]
    assert distrust(made, old.key, 5)
    assert not distrust(made, old.key, 5)
    log.grow(1)
    assert 403 == post(server, log.request(4, signers=[old]))[0]
    assert 200 == post(server, log.request(4))[0]


GOOD = Log(size=5)

MALFORMED = {
    "nothing": b"",
    "no note": b"old 0\n\n",
    "no old": GOOD.note(),
    "leading zero": GOOD.request(2).replace(b"old 2", b"old 02"),
    "negative": GOOD.request(2).replace(b"old 2", b"old -2"),
    "not a number": GOOD.request(2).replace(b"old 2", "old ²".encode()),
    "old beyond": GOOD.request(0).replace(b"old 0", b"old 6"),
    "carriage return": GOOD.request(2).replace(b"\n", b"\r\n"),
    "half a digest": GOOD.request(2).replace(b"\n", b"\nAAAA\n", 1),
    "bad base64": GOOD.request(2).replace(b"\n", b"\n!!!!\n", 1),
    "other base64": GOOD.request(2).replace(b"\n", b"\n" + b"A" * 42 + b"B=" + b"\n", 1),
    "64 steps": b"old 2\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\n" + GOOD.note(),
    "no signature": b"old 0\n\n" + GOOD.checkpoint().text().encode() + b"\n",
    "no checkpoint": b"old 0\n\nhello\n\n" + GOOD.note().rpartition(b"\n\n")[2],
    "not utf-8": b"old 0\n\n\xff" + GOOD.note(),
    "too long": GOOD.request(0) + b"\n" * 80_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_is_refused_as_such(name, made, log, server):
    with pytest.raises(MalformedRequestError):
        parse_request(MALFORMED[name])
    assert post(server, MALFORMED[name])[0] == (413 if name == "too long" else 400)
    assert known(made, log) is None


def test_a_request_is_read_as_it_was_written():
    for old in range(6):
        assert GOOD.request(old) == parse_request(GOOD.request(old)).encoded()


@settings(max_examples=300)
@given(st.data())
def test_no_bytes_make_the_parser_fail_otherwise(data):
    right = GOOD.request(2)
    wrong = data.draw(st.one_of(st.binary(max_size=200), st.just(right)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(wrong)))
        wrong = wrong[:place] + data.draw(st.binary(max_size=3)) + wrong[place + data.draw(st.integers(0, 3)) :]
    with suppress(MalformedRequestError):
        assert wrong == parse_request(wrong).encoded()


def test_other_paths_and_methods_and_lengths_are_refused(log, server):
    assert 404 == post(server, log.request(0), "/")[0]
    assert 404 == post(server, log.request(0), "/add-checkpoint/../x")[0]
    assert 501 == post(server, None, method="GET")[0]
    for raw in (b"Content-Length: x", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"X: y"):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
            connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n" + raw + b"\r\n\r\n")
            assert b" 411 " in connection.recv(200)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")
        assert b" 413 " in connection.recv(200)


def test_one_who_sends_slowly_is_cut_off_and_many_do_not_stop_the_witness(made, log, monkeypatch):
    monkeypatch.setattr(serving, "CONVERSATION_SECONDS", 1.0)
    with served(made) as server:
        slow = [socket.create_connection(("127.0.0.1", server.server_port), timeout=5) for _ in range(40)]
        for connection in slow:
            connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\n")
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"X: y\r\n")
            try:
                if post(server, log.request(0))[0] == 200:
                    break
            except (OSError, EOFError):
                time.sleep(0.1)
            except Exception:  # noqa: BLE001 - http.client has many names for an answer that did not come
                time.sleep(0.1)
        else:
            pytest.fail("the witness never answered an honest log")
        for connection in slow:
            connection.close()


def test_a_folder_that_is_something_else_is_left_alone(tmp_path):
    with pytest.raises(NoWitnessError):
        open_witness(str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"x")
    with pytest.raises(WitnessFolderError):
        create_witness(str(tmp_path / "full"), NAME, os.urandom)
    for name in ("", "two words", "a+b", "x" * 300):
        with pytest.raises(WitnessFolderError):
            create_witness(str(tmp_path / "new"), name, os.urandom)
    assert ["full"] == os.listdir(tmp_path)


def test_the_secret_key_is_for_its_owner_only(made):
    assert 0o600 == os.stat(os.path.join(made.path, "witness.pem")).st_mode & 0o777


def test_a_witness_key_is_read_as_it_is_printed_and_not_otherwise(made):
    text = str(made.key)
    assert made.key == parse_witness_key(text)
    log_key = str(VerifierKey(NAME, made.key.public))
    name, _key_id, encoded = text.split("+", 2)
    for wrong in (
        log_key,
        text + "A",
        text[:-4],
        f"{name}+00000000+{encoded}",
        f"x{text}",
        "",
        "+",
        "a+b",
        text + "\n",
    ):
        with pytest.raises(NoteError):
            parse_witness_key(wrong)
    with pytest.raises(NoteError):
        WitnessKey("two words", bytes(32))


def test_a_cosignature_is_of_one_key_one_text_and_one_time(made):
    text = GOOD.checkpoint().text()
    line = cosign(text, made.key, made.sign, NOW)
    assert NOW == cosignature_of(Note(text, (line,)), made.key).time
    other = WitnessKey("example/w2", made.key.public)
    assert cosignature_of(Note(text, (line,)), other) is None
    for data in (
        line.data[:-1] + bytes([line.data[-1] ^ 1]),
        bytes([line.data[0] ^ 1]) + line.data[1:],
        line.data[:-1],
    ):
        with pytest.raises(NoteError):
            cosignature_of(Note(text, (Signature(line.name, line.key_id, data),)), made.key)
    with pytest.raises(NoteError):
        cosignature_of(Note(GOOD.checkpoint(3).text(), (line,)), made.key)
    huge = Signature(line.name, line.key_id, b"\xff" * 8 + line.data[8:])
    with pytest.raises(NoteError):
        cosignature_of(Note(text, (huge,)), made.key)
    later = cosign(text, made.key, made.sign, datetime(2030, 1, 1, tzinfo=UTC))
    assert 2030 == cosignature_of(Note(text, (line, later)), made.key).time.year


def test_a_log_signature_is_no_cosignature(made, log):
    signed = SignedCheckpoint.parse(log.note())
    assert cosignature_of(signed.note, made.key) is None
