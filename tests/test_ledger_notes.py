"""Signed notes, checkpoints and keys: strict in, standard out, and OpenSSL agrees."""

import base64
import os
import shutil
import stat
import subprocess

import pytest
from ledger_support import AGENT, ORIGIN, World, append

from preservation.ledger.errors import KeyFileError, NoteError
from preservation.ledger.events import Event, EventType
from preservation.ledger.keys import (
    KeyFileSigner,
    create_key,
    current_verifiers,
    load_signer,
    rotation_event,
    verifier_at,
    verify_rotation,
)
from preservation.ledger.notes import (
    Checkpoint,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    sign_note,
    signed_by,
)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def another(tmp_path, world):
    return create_key(str(tmp_path / "another.pem"), "another.example", world.random)


def test_the_example_of_the_signed_note_specification_verifies():
    key = parse_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = parse_note(
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJn"
        "AM=\n".encode()
    )

    assert (key,) == signed_by(note, [key])


def test_a_note_signed_by_two_keys_verifies_with_either(world, another):
    note = parse_note(sign_note("text\n", [world.keys.log, another]).encoded())

    assert (world.keys.log.key,) == signed_by(note, [world.keys.log.key])
    assert (another.key,) == signed_by(note, [another.key])
    assert {world.keys.log.key, another.key} == set(signed_by(note, [another.key, world.keys.log.key]))
    assert signed_by(note, [world.keys.root]) == ()


def test_a_wrong_signature_of_a_known_key_spoils_the_note_and_one_of_an_unknown_key_does_not(world, another):
    note = sign_note("text\n", [world.keys.log, another])
    data = note.encoded().replace(b"text", b"tent")

    with pytest.raises(NoteError):
        signed_by(parse_note(data), [world.keys.log.key])
    assert signed_by(parse_note(data), [world.keys.root]) == ()


def test_every_flipped_byte_of_a_note_is_noticed(world):
    data = sign_note(Checkpoint(ORIGIN, 5, bytes(32)).text(), [world.keys.log]).encoded()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            assert signed_by(parse_note(changed), [world.keys.log.key]) == ()
        except NoteError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAA",
        b"text\n\n- name AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAAA\n",
        b"te\rxt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"\xff\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"text\n\n" + b"\xe2\x80\x94 name AAAAAAAA\n" * 65,
        b"x" * 70_000 + b"\n\n\xe2\x80\x94 name AAAAAAAA\n",
    ],
)
def test_bytes_that_are_no_note_are_refused(data):
    with pytest.raises(NoteError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n5\n",
        "origin\n05\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n-5\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n5\n" + base64.b64encode(bytes(31)).decode() + "\n",
        "origin\n5\n" + base64.b64encode(bytes(32)).decode(),
        "\n5\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n5\n" + base64.b64encode(bytes(32)).decode() + "\n\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text):
    with pytest.raises(NoteError):
        parse_checkpoint(text)


def test_a_checkpoint_keeps_extension_lines():
    text = Checkpoint(ORIGIN, 12, bytes(32), ("one", "two")).text()

    assert Checkpoint(ORIGIN, 12, bytes(32), ("one", "two")) == parse_checkpoint(text)


@pytest.mark.parametrize("text", ["", "name", "name+00000000+AQ==", "na me+00000000+AA==", "a+b+c+d"])
def test_a_text_that_is_no_verifier_key_is_refused(text):
    with pytest.raises(NoteError):
        parse_verifier_key(text)


def test_a_verifier_key_whose_id_is_not_its_own_is_refused(world):
    name, key_id, rest = str(world.keys.log.key).split("+", 2)
    with pytest.raises(NoteError):
        parse_verifier_key(f"{name}+{int(key_id, 16) ^ 1:08x}+{rest}")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_our_checkpoint_and_refuses_a_changed_one(world, tmp_path):
    ledger = world.create()
    append(ledger, 3, checkpoint=True)
    note = parse_note((tmp_path / "ledger/checkpoints/000000000004.note").read_bytes())
    (tmp_path / "signature").write_bytes(note.signatures[0].data)

    def verdict(body):
        (tmp_path / "body").write_bytes(body)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", tmp_path / "keys/log.pub.pem"]
        command += ["-sigfile", tmp_path / "signature", "-in", tmp_path / "body"]
        return subprocess.run(command, check=False, capture_output=True).returncode

    assert verdict(note.text.encode()) == 0
    assert verdict(note.text.replace("\n4\n", "\n5\n").encode()) != 0


def test_private_keys_are_for_their_owner_only_and_are_never_overwritten(world, tmp_path):
    for name in ("keys/log.pem", "kit/root.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    before = (tmp_path / "keys/log.pem").read_bytes()
    with pytest.raises(KeyFileError):
        create_key(str(tmp_path / "keys/log.pem"), ORIGIN, world.random)
    assert before == (tmp_path / "keys/log.pem").read_bytes()


def test_the_kit_speaks_english_and_vietnamese_and_names_both_keys(world, tmp_path):
    text = (tmp_path / "kit/README.txt").read_text()

    assert "RECOVERY KIT" in text
    assert "BỘ KHÔI PHỤC" in text
    assert 2 == text.count(str(world.keys.log.key)) == text.count(str(world.keys.root))


def test_a_key_is_found_again_in_its_folder(world, tmp_path):
    signer = load_signer(str(tmp_path / "keys"))

    assert world.keys.log.key.verifies(b"message", signer.sign(b"message"))


def test_a_private_key_that_is_not_the_one_announced_does_not_sign(world, another):
    with pytest.raises(KeyFileError):
        KeyFileSigner(another.path, world.keys.log.key).sign(b"message")


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_broken_or_missing_private_key_is_a_named_error(world, tmp_path, content):
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=r"broken\.pem"):
        KeyFileSigner(str(path), world.keys.log.key).sign(b"message")


def kit_signer(world):
    return KeyFileSigner(str(world.folder / "kit/root.pem"), world.keys.root)


def test_a_rotation_signed_by_the_root_key_names_the_next_key(world, another):
    new = VerifierKey(ORIGIN, another.key.public)
    change = rotation_event(world.keys.log.key, new, kit_signer(world), AGENT)

    assert new == verify_rotation(change, world.keys.log.key, world.keys.root)


def test_a_rotation_of_another_key_or_by_another_root_is_refused(world, another):
    change = rotation_event(world.keys.log.key, another.key, kit_signer(world), AGENT)
    forged = rotation_event(world.keys.log.key, another.key, another, AGENT)
    for event, old in ((change, another.key), (forged, world.keys.log.key)):
        with pytest.raises(NoteError):
            verify_rotation(event, old, world.keys.root)
    for note in ("", "x\n\ny\n", None):
        with pytest.raises(NoteError):
            verify_rotation(
                Event(type=EventType.KEY_ROTATION, detail={"note": note}, agent=AGENT),
                world.keys.log.key,
                world.keys.root,
            )


def test_the_log_says_which_key_signs_which_sizes(world, another):
    ledger = world.create()
    append(ledger, 4)
    new = VerifierKey(ORIGIN, another.key.public)
    with ledger.writing(1) as writer:
        writer.append([rotation_event(world.keys.log.key, new, kit_signer(world), AGENT)])

    periods = current_verifiers(ledger.records())

    assert [(world.keys.log.key, 1, 6), (new, 6, None)] == [
        (period.key, period.first, period.end) for period in periods
    ]
    assert verifier_at(periods, 0) is None
    assert world.keys.log.key == verifier_at(periods, 5)
    assert new == verifier_at(periods, 6)


def test_keys_are_not_made_where_nothing_can_be_written(world, tmp_path):
    with pytest.raises(KeyFileError):
        create_key(os.path.join(str(tmp_path), "no such folder", "key.pem"), ORIGIN, world.random)
