"""Recovery: a ledger made anew from stores and from what is left, complete or refused by name."""

import io
import os
import shutil
from pathlib import Path

import pytest
from ledger_support import AGENT, ORIGIN, World, append, leaves, snapshot

from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import (
    LedgerBusyError,
    LedgerDamagedError,
    LedgerExistsError,
    LedgerForkError,
    LedgerUnreadableError,
    LedgerWriteError,
)
from preservation.ledger.evidence import found_in, found_on
from preservation.ledger.keys import KeyFileSigner, create_key, rotation_event
from preservation.ledger.layout import note_key, segment_key
from preservation.ledger.log import Ledger
from preservation.ledger.notes import VerifierKey
from preservation.ledger.recovery import mend, restore
from preservation.ledger.segments import read_rows
from storage_backends.backend import StorageProfile
from storage_backends.memory import MemoryBackend, Shelf


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "server")


class Store:
    """The ledger part of a store: a folder, filled the way a verb does it before it acknowledges."""

    def __init__(self, folder):
        self.folder = folder
        self.end = 0

    def put(self, key, data):
        path = self.folder / key.removeprefix("ledger/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def take(self, ledger):
        """Copy what is new: segments, tail, the newest checkpoint."""
        for segment in ledger.segments:
            self.put(segment_key(segment.first, segment.end), Path(ledger.segment_file(segment)).read_bytes())
        for chunk in ledger.tail_since(self.end):
            self.put(chunk.key, chunk.data)
            self.end = chunk.end
        size = ledger.checkpoint_sizes()[-1]
        self.put(note_key(size), ledger.checkpoint(size).note.encoded())

    def found(self):
        return list(found_in(str(self.folder)))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def ledger(world, store):
    """A ledger with one segment and a tail in three chunks, all of it on the store."""
    ledger = world.create()
    append(ledger, 4, checkpoint=True)
    store.take(ledger)
    with ledger.writing(1) as writer:
        writer.seal_if_due(force=True)
        writer.checkpoint()
    for _ in range(3):
        append(ledger, 2, 1, checkpoint=True)
        store.take(ledger)
    return ledger


def test_a_ledger_is_restored_from_one_store(world, store, ledger, tmp_path):
    path = str(tmp_path / "again")

    restored = restore(path, store.found(), trusted=[world.keys.root])

    again = world.open(path)
    assert (leaves(ledger), ledger.root()) == (leaves(again), again.root())
    assert (ledger.size, ledger.size, ()) == (restored.size, restored.checkpoint, restored.problems)
    assert [] == list(check_ledger(path))
    append(again, 2, checkpoint=True)
    assert [] == list(check_ledger(path))


def test_a_restored_ledger_goes_on_under_a_new_key_that_the_root_key_names(world, store, ledger, tmp_path):
    path = str(tmp_path / "again")
    restore(path, store.found())
    (tmp_path / "new").mkdir()
    new = create_key(str(tmp_path / "new" / "log.pem"), ORIGIN, world.random)
    root = KeyFileSigner(str(world.folder / "kit/root.pem"), world.keys.root)
    again = Ledger.open(path, clock=world.clock, random=world.random, signers=[new])
    with again.writing(1) as writer:
        writer.append([rotation_event(world.keys.log.key, new.key, root, AGENT)])
        writer.checkpoint()

    assert [] == list(check_ledger(path))
    with world.open(path).writing(1) as writer:
        writer.append([])
    append(world.open(path), 1, checkpoint=True)
    assert ["checkpoint_unsigned"] == [problem.code for problem in check_ledger(path)]


def test_the_segment_alone_is_enough_where_chunks_are_gone_and_the_chunks_where_it_is(world, store, ledger, tmp_path):
    everything = leaves(ledger)
    segment = next((store.folder / "segments").iterdir())
    first_chunk = min((store.folder / "tail").iterdir())
    for number, gone in enumerate([first_chunk, segment]):
        data = gone.read_bytes()
        gone.unlink()
        path = str(tmp_path / str(number))
        restore(path, store.found())
        assert everything == leaves(world.open(path))
        gone.write_bytes(data)


def test_events_that_were_acknowledged_and_are_found_nowhere_are_named(world, store, ledger, tmp_path):
    for gone in sorted((store.folder / "tail").iterdir())[1:]:
        data = gone.read_bytes()
        gone.unlink()
        with pytest.raises(LedgerDamagedError) as raised:
            restore(str(tmp_path / "again"), store.found())
        assert int(gone.name[:12]) == raised.value.evidence["seq"]
        assert not (tmp_path / "again").exists()
        gone.write_bytes(data)


def test_a_checkpoint_on_another_store_tells_that_this_store_is_behind(world, store, ledger, tmp_path):
    behind = Store(tmp_path / "behind")
    behind.take(ledger)
    append(ledger, 3, checkpoint=True)
    store.take(ledger)
    notes = [item for item in store.found() if item.folder == "checkpoints"]

    assert ledger.size - 3 == restore(str(tmp_path / "old"), behind.found()).size
    with pytest.raises(LedgerDamagedError, match=f"{ledger.size - 3} to {ledger.size - 1}"):
        restore(str(tmp_path / "again"), [*behind.found(), *notes])
    restore(str(tmp_path / "again"), [*behind.found(), *store.found()])
    assert leaves(ledger) == leaves(world.open(str(tmp_path / "again")))


def test_two_stores_damaged_at_different_places_give_the_whole(world, store, ledger, tmp_path):
    other = Store(tmp_path / "other")
    shutil.copytree(store.folder, other.folder)
    for number, name in enumerate(sorted(os.listdir(store.folder / "tail"))):
        damaged = (store if number % 2 else other).folder / "tail" / name
        data = damaged.read_bytes()
        damaged.write_bytes(data[: len(data) // 2] + bytes(9) + data[len(data) // 2 + 9 :])
    segment = next((other.folder / "segments").iterdir())
    segment.write_bytes(segment.read_bytes()[:-9])
    path = str(tmp_path / "again")

    restored = restore(path, [*other.found(), *store.found()])

    assert leaves(ledger) == leaves(world.open(path))
    assert "segment_unreadable" in {problem.code for problem in restored.problems}


def test_every_damaged_byte_on_the_only_store_restores_the_same_or_is_refused(world, store, ledger, tmp_path):
    everything, path = leaves(ledger), tmp_path / "again"
    for name, data in snapshot(str(store.folder)).items():
        for place in range(3, len(data), max(5, len(data) // 9)):
            (store.folder / name).write_bytes(data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :])
            try:
                restored = restore(str(path), store.found())
            except (LedgerDamagedError, LedgerForkError):
                continue
            finally:
                (store.folder / name).write_bytes(data)
            assert everything == leaves(world.open(str(path)))
            assert restored.problems or name.startswith("tail/")
            shutil.rmtree(path)


def test_of_two_copies_of_a_segment_the_one_whose_digest_was_recorded_is_taken(world, store, ledger, tmp_path):
    other = Store(tmp_path / "other")
    segment = next((store.folder / "segments").iterdir())
    data = segment.read_bytes()
    place = next(place for place in range(len(data) - 700, len(data)) if _reads_the_same(world, store, data, place))
    other.put(f"ledger/segments/{segment.name}", data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :])
    segment.write_bytes(data)

    restored = restore(str(tmp_path / "again"), [*other.found(), *store.found()])

    assert () == restored.problems
    assert data == (tmp_path / "again/segments" / segment.name).read_bytes()
    assert [] == list(check_ledger(str(tmp_path / "again")))


def _reads_the_same(world, store, data, place):
    segment = next((store.folder / "segments").iterdir())
    before = [rows.records for rows in read_rows(str(segment))] if segment.read_bytes() == data else None
    changed = segment.with_suffix(".x")
    changed.write_bytes(data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :])
    try:
        return before == [rows.records for rows in read_rows(str(changed), columns=True)]
    except LedgerUnreadableError:
        return False
    finally:
        changed.unlink()


def test_two_histories_are_never_joined(world, store, ledger, tmp_path):
    forked = str(tmp_path / "fork")
    restore(forked, store.found())
    fork = world.open(forked)
    append(fork, 2, checkpoint=True)
    append(ledger, 1)
    append(ledger, 1, checkpoint=True)
    theirs = Store(tmp_path / "theirs")
    theirs.take(fork)
    store.take(ledger)

    for found in ([*store.found(), *theirs.found()], [*theirs.found(), *store.found()]):
        with pytest.raises(LedgerForkError):
            restore(str(tmp_path / "again"), found)


def test_a_checkpoint_over_another_history_is_refused(world, store, ledger, tmp_path):
    other = World(tmp_path / "elsewhere")
    other.keys = world.keys
    other.random = lambda size: b"\6" * size
    fork = other.create()
    append(fork, 4, checkpoint=True)
    store.put(note_key(5), fork.checkpoint(5).note.encoded())
    tail = [item for item in store.found() if item.folder != "segments"]
    with pytest.raises(LedgerForkError):
        restore(str(tmp_path / "again"), tail)


def test_what_is_not_ours_is_left_aside_and_told(world, store, ledger, tmp_path):
    other = World(tmp_path / "elsewhere")
    other.random = lambda size: b"\5" * size
    stranger = create_key(str(tmp_path / "stranger.pem"), "stranger.example", other.random)
    foreign = Ledger.create(
        str(tmp_path / "foreign"),
        origin="stranger.example",
        signer=stranger,
        root_key=stranger.key,
        clock=world.clock,
        random=world.random,
        agent=AGENT,
    )
    store.put(note_key(1), foreign.checkpoint(1).note.encoded())
    store.put(note_key(2), b"nonsense")
    store.put("ledger/tail/something-else", b"x")
    store.put("ledger/README.txt", b"x")

    restored = restore(str(tmp_path / "again"), store.found())

    assert {"checkpoint_foreign", "checkpoint_invalid"} == {problem.code for problem in restored.problems}


def test_a_ledger_of_keys_that_are_not_trusted_is_refused(world, store, ledger, tmp_path):
    with pytest.raises(LedgerForkError):
        restore(str(tmp_path / "again"), store.found(), trusted=[VerifierKey("other", bytes(32))])


def test_nothing_is_restored_from_nothing_and_over_nothing(world, store, ledger, tmp_path):
    with pytest.raises(LedgerDamagedError):
        restore(str(tmp_path / "again"), [])
    before = snapshot(world.path)
    with pytest.raises(LedgerExistsError):
        restore(world.path, store.found())
    assert before == snapshot(world.path)


def test_a_failed_restoration_leaves_nothing_under_the_name_and_can_be_repeated(
    world, store, ledger, tmp_path, monkeypatch
):
    path = tmp_path / "again"

    def failing(*arguments):
        raise OSError(28, "No space left on device")

    for call in ("fsync", "rename", "write"):
        monkeypatch.setattr(os, call, failing)
        with pytest.raises(LedgerWriteError):
            restore(str(path), store.found())
        monkeypatch.undo()
        assert not path.exists()
    restore(str(path), store.found())
    assert leaves(ledger) == leaves(world.open(str(path)))


def damage_hot(world, ledger):
    path = Path(world.path) / "hot" / f"{ledger.sealed_size:012d}.wal"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(5) + data[len(data) // 2 + 5 :])


def test_a_damaged_ledger_is_mended_from_a_store_and_kept_beside(world, store, ledger):
    everything = leaves(ledger)
    damage_hot(world, ledger)
    damaged = snapshot(world.path)
    with pytest.raises(LedgerDamagedError):
        mend(world.path, wait_seconds=0)
    assert damaged == snapshot(world.path)

    mend(world.path, store.found(), wait_seconds=0, trusted=[world.keys.root])

    assert everything == leaves(world.open())
    assert [] == list(check_ledger(world.path))
    assert damaged == snapshot(world.path + ".damaged-1")


def test_a_lost_format_file_and_cache_are_mended_from_what_is_left(world, ledger):
    for name in ("format.json", "state.json"):
        (Path(world.path) / name).write_bytes(b"\0")

    mend(world.path, wait_seconds=0)

    assert [] == list(check_ledger(world.path))


def test_mending_that_crashed_before_its_last_step_is_finished(world, store, ledger):
    damage_hot(world, ledger)
    mend(world.path, store.found(), wait_seconds=0)
    os.rename(world.path, world.path + ".restoring")

    assert mend(world.path, wait_seconds=0) is None
    assert [] == list(check_ledger(world.path))


def test_nobody_mends_what_is_being_written(world, store, ledger):
    with ledger.writing(0), pytest.raises(LedgerBusyError):
        mend(world.path, store.found(), wait_seconds=0)


def test_a_ledger_is_restored_from_a_backend(world, store, ledger, tmp_path):
    profile = StorageProfile(medium="memory", site="here")
    backend = MemoryBackend(Shelf(store_id="s"), store_id="s", profile=profile)
    for name, data in snapshot(str(store.folder)).items():
        backend.write(f"ledger/{name}", len(data), io.BytesIO(data))

    restore(str(tmp_path / "again"), found_on(backend))

    assert leaves(ledger) == leaves(world.open(str(tmp_path / "again")))
