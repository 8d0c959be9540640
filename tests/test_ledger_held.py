"""What an auditor holds against a ledger that is whole in itself: keys that signed, checkpoints that it continues."""

import random
from pathlib import Path

import pytest
from ledger_support import AGENT, ORIGIN, World, append

from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import KeyFileError, LedgerUnreadableError
from preservation.ledger.events import Event
from preservation.ledger.held import read_held
from preservation.ledger.keys import create_key, read_public_keys, rotation_event
from preservation.ledger.layout import note_name
from preservation.ledger.log import Ledger
from preservation.ledger.notes import Checkpoint, sign_note


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "honest")
    ledger = world.create()
    append(ledger, 9, checkpoint=True)
    append(ledger, 9, checkpoint=True)
    return world


def codes(path, **held):
    return [problem.code for problem in check_ledger(path, **held)]


def note_of(world, size):
    return Path(world.path, "checkpoints", note_name(size))


def test_an_honest_ledger_continues_each_of_its_checkpoints(world):
    held = [read_held(str(note_of(world, size))) for size in (1, 10, 19)]
    for key in (world.keys.root, world.keys.log.key):
        assert [] == codes(world.path, held=held, trusted=[key])


def forged(tmp_path, world):
    """A ledger written anew that names the root key of another, without having it."""
    forger = World(tmp_path / "forged", random=random.Random(2).randbytes)
    ledger = Ledger.create(
        forger.path,
        origin=ORIGIN,
        signer=forger.keys.log,
        root_key=world.keys.root,
        clock=forger.clock,
        random=forger.random,
        agent=AGENT,
    )
    append(ledger, 30, checkpoint=True)
    return forger


def test_to_be_named_is_not_to_have_signed(tmp_path, world):
    forger = forged(tmp_path, world)
    assert [] == codes(forger.path)
    assert ["keys_unproven"] == codes(forger.path, trusted=[world.keys.root])
    assert ["keys_unknown"] == codes(forger.path, trusted=[world.keys.log.key])
    held = read_held(str(note_of(world, 10)))
    assert ["held_unsigned", "history_rewritten"] == codes(forger.path, held=[held])


def test_the_first_checkpoint_or_a_succession_proves_the_root_key(tmp_path, world):
    first = note_of(world, 1)
    whole = first.read_text()
    first.write_text("".join(line for line in whole.splitlines(keepends=True) if "/root" not in line))
    assert ["keys_unproven"] == codes(world.path, trusted=[world.keys.root])
    new = create_key(str(tmp_path / "new.pem"), ORIGIN, world.random)
    ledger = world.open()
    with ledger.writing(1) as writer:
        writer.append([rotation_event(world.keys.log.key, new.key, world.keys.root_signer, AGENT)])
    assert [] == codes(world.path, trusted=[world.keys.root])
    # The new key has signed nothing yet; the old one has, and names the root key that signs for the new one.
    assert ["keys_unproven"] == codes(world.path, trusted=[new.key])
    assert [] == codes(world.path, trusted=[world.keys.log.key])
    grown = Ledger.open(world.path, clock=world.clock, random=world.random, signers=[new])
    append(grown, 3, checkpoint=True)
    assert [] == codes(world.path, trusted=[new.key], held=[read_held(str(note_of(world, 19)))])


def test_a_stolen_key_does_not_help_against_a_checkpoint_that_is_held(tmp_path, world):
    kept = tmp_path / "kept.note"
    kept.write_bytes(note_of(world, 10).read_bytes())
    other = World(tmp_path / "other")
    other.keys = world.keys
    other.clock.now = other.clock.now.replace(year=2025)
    append(other.create(), 30, checkpoint=True)
    assert ["history_rewritten"] == codes(other.path, trusted=[world.keys.root], held=[read_held(str(kept))])


def test_a_checkpoint_over_more_than_there_is_says_that_history_was_shortened(tmp_path, world):
    backup = World(tmp_path / "backup")
    backup.keys = world.keys
    append(backup.create(), 9, checkpoint=True)
    assert ["history_shortened"] == codes(backup.path, held=[read_held(str(note_of(world, 19)))])


def test_checkpoints_of_others_and_wrong_signatures_are_told(tmp_path, world):
    foreign = tmp_path / "foreign.note"
    root = world.open().root()
    foreign.write_bytes(sign_note(Checkpoint("elsewhere.example", 19, root).text(), [world.keys.log]).encoded())
    assert ["held_foreign"] == codes(world.path, held=[read_held(str(foreign))])
    wrong = tmp_path / "wrong.note"
    wrong.write_text(note_of(world, 10).read_text().replace("\n10\n", "\n11\n"))
    assert ["held_invalid"] == codes(world.path, held=[read_held(str(wrong))])


def test_a_signature_that_was_there_must_be_there(tmp_path, world):
    kept = tmp_path / "kept.note"
    kept.write_text(note_of(world, 10).read_text() + "— witness.example AAAAAAAAAAAA\n")
    assert ["signature_dropped"] == codes(world.path, held=[read_held(str(kept))])
    beside = Path(world.path, "witness")
    beside.mkdir()
    (beside / note_name(10)).write_bytes(kept.read_bytes())
    assert [] == codes(world.path, held=[read_held(str(kept))])
    note_of(world, 10).unlink()  # it need not be kept
    assert [] == codes(world.path, held=[read_held(str(kept))])


def attest(world, name, digest):
    with world.open().writing(1) as writer:
        detail = {"attestations": {name: digest}}
        writer.append([Event(type="tag:mocban,2026:witnessed", detail=detail, agent=AGENT)])
        writer.checkpoint()


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_others_attested_must_lie_there_as_its_event_says(world):
    name = "witness/000000000010.note"
    attest(world, name, EMPTY)
    assert ["attestation_missing"] == codes(world.path)
    Path(world.path, "witness").mkdir()
    Path(world.path, name).write_bytes(b"")
    assert [] == codes(world.path)
    Path(world.path, name).write_bytes(b"x")
    assert ["attestation_differs"] == codes(world.path)
    attest(world, name, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    assert [] == codes(world.path)


def test_no_event_makes_us_read_elsewhere(world):
    attest(world, "../../kit/root.pem", EMPTY)
    assert ["attestation_missing"] == codes(world.path)


def test_what_is_no_checkpoint_or_no_key_is_refused_by_name(tmp_path):
    for name, data in {"empty": b"", "large": b"x" * (1 << 20), "binary": bytes(range(256))}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(LedgerUnreadableError, match=name):
            read_held(str(tmp_path / name))
        with pytest.raises(KeyFileError, match=name):
            read_public_keys(str(tmp_path / name), ORIGIN)
    with pytest.raises(LedgerUnreadableError, match="nowhere"):
        read_held(str(tmp_path / "nowhere"))


def test_a_public_key_is_read_in_both_forms(tmp_path, world):
    pem = tmp_path / "log.pem"
    pem.write_bytes(world.keys.log.key.pem())
    assert world.keys.log.key in read_public_keys(str(pem), ORIGIN)
    pem.write_bytes(world.keys.root.pem())
    assert world.keys.root in read_public_keys(str(pem), ORIGIN)
    assert [world.keys.root] == read_public_keys(str(world.folder / "kit/root.vkey"), ORIGIN)
    private = (world.folder / "keys/log.pem").read_bytes()
    pem.write_bytes(private)
    with pytest.raises(KeyFileError):
        read_public_keys(str(pem), ORIGIN)
