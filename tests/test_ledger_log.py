"""The ledger in daily use: appending, reading beside a writer, locks, failing writes."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ledger_support import AGENT, ORIGIN, World, append, event, leaves, snapshot

from preservation.ledger import wal
from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import (
    LedgerBusyError,
    LedgerDamagedError,
    LedgerError,
    LedgerExistsError,
    LedgerForkError,
    LedgerMissingError,
    LedgerReadOnlyError,
    LedgerStoppedError,
    LedgerUnreadableError,
    LedgerVersionError,
    LedgerWriteError,
    RecordError,
)
from preservation.ledger.events import Event, EventType
from preservation.ledger.merkle import inclusion_proof, is_included, leaf_hash, root_of


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def ledger(world):
    return world.create()


def test_a_new_ledger_begins_with_a_genesis_that_names_both_keys_and_is_signed(world, ledger):
    genesis = next(ledger.records())

    assert EventType.GENESIS == genesis.event.type
    assert {
        "log_key": str(world.keys.log.key),
        "root_key": str(world.keys.root),
        "origin": ORIGIN,
    } == genesis.event.detail
    assert [1] == ledger.checkpoint_sizes()
    assert [] == list(check_ledger(world.path, trusted=[world.keys.root]))


def test_appended_events_come_back_in_order_with_number_time_and_identifier(world, ledger):
    with ledger.writing(1) as writer:
        records = writer.append([event(1), event(2)]) + writer.append([event(3)])

    found = list(world.open().records(1))

    assert records == found
    assert [1, 2, 3] == [record.seq for record in found]
    assert [1, 2, 3] == [record.event.detail["bytes"] for record in found]


def test_reading_begins_and_ends_where_it_is_told(world, ledger):
    append(ledger, *[7] * 300)
    everything = leaves(ledger)

    for start, end in [(0, 0), (0, 1), (5, 9), (1000, 2101), (2100, None), (2101, 2101), (2000, 9999), (513, 514)]:
        assert everything[start:end] == [record.data for record in world.open().records(start, end)]


def test_another_process_sees_what_was_appended_after_a_refresh(world, ledger):
    reader = world.open(read_only=True)
    append(ledger, 2, 3)
    assert 1 == reader.size

    reader.refresh()

    assert (ledger.size, ledger.root()) == (reader.size, reader.root())


def test_the_root_is_that_of_the_records(ledger):
    append(ledger, 5, 1, 9)
    packed = ledger.leaf_hashes()

    assert root_of(packed) == ledger.root()
    assert packed == b"".join(leaf_hash(record.data) for record in ledger.records())
    assert is_included(packed[64:96], 2, 16, inclusion_proof(packed, 2, 16), ledger.root())


def test_two_ledger_objects_that_take_turns_write_one_history(world, ledger):
    other = world.open()
    for _ in range(5):
        append(ledger, 2)
        append(other, 3)

    assert 26 == other.size
    assert [] == list(check_ledger(world.path))


def test_two_processes_that_append_at_the_same_time_lose_nothing(world, ledger):
    script = (
        "import sys, os\n"
        "from datetime import UTC, datetime\n"
        "from ledger_support import event\n"
        "from preservation.ledger.log import Ledger\n"
        "ledger = Ledger.open(sys.argv[1], clock=lambda: datetime.now(UTC), random=os.urandom)\n"
        "for number in range(40):\n"
        "    with ledger.writing(20) as writer:\n"
        "        writer.append([event(int(sys.argv[2]) + number), event(0)])\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    processes = [
        subprocess.Popen([sys.executable, "-c", script, world.path, base], env={**os.environ, "PYTHONPATH": paths})
        for base in ("1000", "2000")
    ]

    assert [0, 0] == [process.wait(60) for process in processes]
    ledger.refresh()
    numbers = [record.event.detail["bytes"] for record in ledger.records(1)]
    assert [*range(1000, 1040)] == [number for number in numbers if 1000 <= number < 2000]
    assert [*range(2000, 2040)] == [number for number in numbers if number >= 2000]
    assert [] == list(check_ledger(world.path))


def test_a_second_writer_waits_no_longer_than_it_is_told(world, ledger):
    with ledger.writing(0), pytest.raises(LedgerBusyError), world.open().writing(0.05):
        pass


def test_a_second_writer_gets_the_lock_when_it_is_free(world, ledger):
    taken, done = threading.Event(), threading.Event()

    def hold():
        with ledger.writing(1) as writer:
            taken.set()
            done.wait(5)
            writer.append([event(1)])

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(5)
    threading.Timer(0.1, done.set).start()
    append(world.open(), 1)
    thread.join()

    assert [1, 2] == [record.seq for record in world.open().records(1)]


def test_a_reader_beside_a_writer_sees_no_half_batch(world, ledger):
    with ledger.writing(1) as writer:
        last = writer.append([event(1), event(2)])[-1]
        coming = wal.encode_batch([b"1", b"2"], 3, leaf_hash(last.data))
        for size in (1, 20, len(coming) // 2 + 5, len(coming) - 1):
            with open(os.path.join(world.path, "hot", f"{0:012d}.wal"), "ab") as file:
                file.write(coming[:size])
            assert 3 == world.open(read_only=True).size
            os.truncate(file.name, os.path.getsize(file.name) - size)


def test_reading_creates_nothing_and_works_without_write_permission(world, ledger, tmp_path):
    append(ledger, 3, checkpoint=True)
    with ledger.writing(1) as writer:
        writer.seal_if_due(force=True)
        writer.append([event(1)])
    os.unlink(os.path.join(world.path, "state.json"))
    before = snapshot(world.path)
    for base, folders, names in os.walk(world.path):
        for name in [*folders, *names]:
            os.chmod(os.path.join(base, name), 0o555 if name in folders else 0o444)
    os.chmod(world.path, 0o555)
    # Root may write anyway; what counts is that nothing was.
    reader = world.open(read_only=True)

    assert 6 == len(leaves(reader))
    assert [] == list(check_ledger(world.path))
    assert before == snapshot(world.path)
    with pytest.raises(LedgerReadOnlyError), reader.writing(0):
        pass
    os.chmod(world.path, 0o755)
    for name in ("hot", "segments", "checkpoints"):
        os.chmod(os.path.join(world.path, name), 0o755)


def test_only_sealing_and_reading_sealed_records_needs_pyarrow(world, ledger):
    script = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from ledger_support import event\n"
        "from preservation.ledger.log import Ledger\n"
        "ledger = Ledger.open(sys.argv[1], clock=lambda: datetime.now(UTC), random=lambda n: bytes(n))\n"
        "with ledger.writing(1) as writer: writer.append([event(1)])\n"
        "assert len(list(ledger.records(max(0, ledger.sealed_size)))) > 0\n"
        "heavy = [name for name in ('pyarrow', 'cryptography', 'numpy') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, world.path], env={**os.environ, "PYTHONPATH": paths}, check=True)
        ledger.refresh()
        with ledger.writing(1) as writer:
            writer.seal_if_due(force=True)


def test_there_is_no_ledger_where_there_is_none(world, tmp_path):
    with pytest.raises(LedgerMissingError):
        world.open()


def test_an_existing_ledger_is_never_created_again(world, ledger):
    append(ledger, 2)
    before = snapshot(world.path)
    with pytest.raises(LedgerExistsError):
        world.create()
    os.unlink(os.path.join(world.path, "format.json"))
    with pytest.raises(LedgerExistsError):
        world.create()
    (Path(world.path) / "format.json").write_bytes(before["format.json"])

    assert before == snapshot(world.path)


def test_what_a_crash_left_of_a_creation_is_replaced(world, ledger):
    os.unlink(os.path.join(world.path, "format.json"))

    assert 1 == world.create().size
    assert [] == list(check_ledger(world.path))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"format":2,"mocban":"ledger","origin":"x"}\n', LedgerVersionError),
        (b"nonsense", LedgerUnreadableError),
        (b'{"format":1,"mocban":"pack"}\n', LedgerUnreadableError),
    ],
)
def test_a_ledger_of_an_unknown_format_is_refused_unread(world, ledger, content, error):
    (Path(world.path) / "format.json").write_bytes(content)
    with pytest.raises(error):
        world.open()


def test_an_event_that_cannot_be_kept_leaves_the_ledger_as_it_was(world, ledger):
    before = snapshot(world.path)
    bad = Event(type=EventType.INGESTION, agent=AGENT, detail={"size": 1.5})
    with ledger.writing(1) as writer:
        with pytest.raises(RecordError):
            writer.append([event(1), bad])
        with pytest.raises(RecordError, match="batch"):
            writer.append([Event(type=EventType.INGESTION, agent=AGENT, detail={"x": "y" * 900_000})] * 20)

    assert before == snapshot(world.path)


def test_a_writer_is_of_no_use_after_its_block(ledger):
    with ledger.writing(1) as writer:
        pass
    for act in (lambda: writer.append([event(1)]), writer.checkpoint, writer.seal_if_due, writer.drop_sealed):
        with pytest.raises(LedgerError):
            act()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_write_is_taken_back_and_stops_the_ledger(world, ledger, monkeypatch, call, number):
    append(ledger, 2)
    before = snapshot(world.path)

    def failing(*arguments):
        raise OSError(number, os.strerror(number))

    with ledger.writing(1) as writer:
        monkeypatch.setattr(os, call, failing)
        with pytest.raises(LedgerWriteError):
            writer.append([event(1)])
        monkeypatch.undo()
        with pytest.raises(LedgerStoppedError):
            writer.append([event(1)])
        with pytest.raises(LedgerStoppedError):
            writer.checkpoint()
    with pytest.raises(LedgerStoppedError), ledger.writing(1):
        pass

    assert before == snapshot(world.path)
    append(world.open(), 1)
    assert [] == list(check_ledger(world.path))


def test_a_short_write_is_continued(world, ledger, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:100], offset))
    append(ledger, 5)
    monkeypatch.undo()

    assert 6 == world.open().size


@pytest.mark.parametrize("room", [0, 1, 72, 400, 700])
def test_a_batch_that_could_not_even_be_taken_back_is_there_as_a_whole_or_not_at_all(world, ledger, monkeypatch, room):
    append(ledger, 2)
    whole = os.pwrite

    def full(descriptor, data, offset):
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "full")
        written = whole(descriptor, data[:room], offset)
        room -= written
        return written

    def stuck(*arguments):
        raise OSError(errno.EIO, "stuck")

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(os, "ftruncate", stuck)
    with pytest.raises(LedgerWriteError):
        append(ledger, 3)
    monkeypatch.undo()

    again = world.open()
    assert 3 == again.size
    append(again, 1)
    assert 4 == world.open().size
    assert [] == list(check_ledger(world.path))


def test_a_reader_that_saw_a_batch_which_was_taken_back_follows_the_new_history(world, ledger):
    hot = os.path.join(world.path, "hot", f"{0:012d}.wal")
    append(ledger, 2)
    size = os.path.getsize(hot)
    append(ledger, 2)
    reader = world.open()
    os.truncate(hot, size)
    append(world.open(), 3)

    reader.refresh()
    append(reader, 1)

    assert 7 == reader.size
    assert [] == list(check_ledger(world.path))


def test_a_checkpoint_is_kept_and_the_same_one_is_given_again(world, ledger):
    append(ledger, 3)
    with ledger.writing(1) as writer:
        first = writer.checkpoint()
    with world.open().writing(1) as writer:
        assert first == writer.checkpoint()

    assert first == ledger.checkpoint(4)
    assert (4, ledger.root()) == (first.checkpoint.size, first.checkpoint.root)


def test_a_second_root_is_never_signed_for_a_size(world, ledger):
    hot = os.path.join(world.path, "hot", f"{0:012d}.wal")
    append(ledger, 3, checkpoint=True)
    note = ledger.checkpoint(4)
    os.truncate(hot, 0)
    os.unlink(os.path.join(world.path, "checkpoints", f"{4:012d}.note"))
    os.unlink(os.path.join(world.path, "checkpoints", f"{1:012d}.note"))
    other = world.open()
    append(other, 4)
    (Path(world.path) / "checkpoints" / f"{4:012d}.note").write_bytes(note.note.encoded())

    with other.writing(1) as writer, pytest.raises(LedgerForkError):
        writer.checkpoint()
    with pytest.raises(LedgerDamagedError):
        world.open()


def test_without_a_key_nothing_is_signed(world, ledger):
    reader = ledger.open(world.path, clock=world.clock, random=world.random)
    with reader.writing(1) as writer, pytest.raises(LedgerError, match="key"):
        writer.checkpoint()


def test_tail_chunks_hold_every_hot_event_once(world, ledger):
    append(ledger, 2, 3)
    first = list(ledger.tail_since(0))
    append(ledger, 4)
    second = list(ledger.tail_since(first[-1].end))

    assert [(0, 6)] == [(chunk.first, chunk.end) for chunk in first]
    assert ["ledger/tail/000000000006-000000000010"] == [chunk.key for chunk in second]
    assert (Path(world.path) / "hot" / f"{0:012d}.wal").read_bytes() == first[0].data + second[0].data
    assert [] == list(ledger.tail_since(10))
