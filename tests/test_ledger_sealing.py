"""Sealing: Parquet that others can read, nothing lost on the way, a crash at any step overcome by the next writer."""

import errno
import os
import random as seeded
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from ledger_support import AGENT, World, append, event, leaves, snapshot
from pyarrow import parquet

from preservation.ledger import sealed, sealing
from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import LedgerDamagedError, LedgerStoppedError, LedgerUnreadableError, LedgerWriteError
from preservation.ledger.events import Event, EventType, parse_record
from preservation.ledger.segments import columns_of, read_rows

DUCKDB = os.path.join(sys.prefix, "bin", "duckdb")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def ledger(world):
    ledger = world.create()
    append(ledger, 3, 2)
    return ledger


def seal(ledger):
    with ledger.writing(1) as writer:
        return writer.seal_if_due(force=True)


def names(world, folder):
    return sorted(os.listdir(os.path.join(world.path, folder)))


def test_a_sealed_ledger_is_the_same_ledger(world, ledger):
    before, root = leaves(ledger), ledger.root()

    segment = seal(ledger)

    assert (0, 6) == (segment.first, segment.end)
    assert before == leaves(world.open())[:6]
    assert root == segment.frontier.root()
    assert ["000000000000.wal", "000000000006.wal"] == names(world, "hot")
    assert [] == list(check_ledger(world.path))


def test_the_first_event_after_a_segment_says_its_digest(world, ledger):
    segment = seal(ledger)

    closing = next(world.open().records(6))

    assert EventType.SEGMENT_CLOSED == closing.event.type
    assert segment.sha256 == closing.event.detail["sha256"] == sealed.file_sha256(ledger.segment_file(segment))


def test_a_segment_is_due_by_age_by_count_and_by_bytes(world, ledger, monkeypatch):
    def due():
        with ledger.writing(1) as writer:
            return writer.seal_if_due() is not None

    assert not due()
    world.clock.now += timedelta(hours=24)
    assert due()
    append(ledger, 5)
    assert not due()
    monkeypatch.setattr("preservation.ledger.writer.SEAL_EVENTS", 6)
    assert due()
    append(ledger, 4)
    assert not due()
    monkeypatch.setattr("preservation.ledger.writer.SEAL_BYTES", 1000)
    assert due()
    assert [] == list(check_ledger(world.path))


def test_nothing_is_sealed_that_holds_nothing_new(world, ledger):
    seal(ledger)
    world.clock.now += timedelta(days=3)

    assert seal(ledger) is None
    assert 1 == len(ledger.segments)


def test_hot_frames_stay_until_they_are_dropped(world, ledger):
    seal(ledger)
    with ledger.writing(1) as writer:
        assert 1 == writer.drop_sealed()
        assert 0 == writer.drop_sealed()

    assert ["000000000006.wal"] == names(world, "hot")
    assert 7 == len(leaves(world.open()))


def test_hot_frames_are_not_dropped_if_the_segment_differs(world, ledger):
    segment = seal(ledger)
    path = Path(ledger.segment_file(segment))
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with ledger.writing(1) as writer, pytest.raises(LedgerDamagedError):
        writer.drop_sealed()

    assert ["000000000000.wal", "000000000006.wal"] == names(world, "hot")


def test_a_reader_that_began_before_the_sealing_reads_on(world, ledger):
    append(ledger, *[1] * 50)
    reader = world.open(read_only=True)
    everything = leaves(ledger)
    found = reader.raw_records()
    begun = [next(found) for _ in range(3)]
    late = world.open(read_only=True)
    seal(ledger)
    with ledger.writing(1) as writer:
        writer.drop_sealed()

    assert everything == [*begun, *found]
    assert everything == list(late.raw_records(0, len(everything)))


def test_a_segment_that_does_not_read_back_is_removed_and_nothing_is_lost(world, ledger, monkeypatch):
    before = leaves(ledger)
    whole = sealing.publish

    def rotting(temporary, path):
        whole(temporary, path)
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[:300] + bytes([data[300] ^ 1]) + data[301:])

    monkeypatch.setattr(sealing, "publish", rotting)
    with pytest.raises(LedgerWriteError):
        seal(ledger)
    monkeypatch.undo()

    assert [] == names(world, "segments")
    assert before == leaves(world.open())
    with pytest.raises(LedgerStoppedError):
        seal(ledger)
    assert seal(world.open()) is not None


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fails_while_sealing_leaves_the_hot_file_as_it_was(world, ledger, monkeypatch, call):
    before = leaves(ledger)

    def failing(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with ledger.writing(1) as writer:
        monkeypatch.setattr(os, call, failing)
        with pytest.raises(LedgerWriteError):
            writer.seal_if_due(force=True)
        monkeypatch.undo()

    assert before == leaves(world.open())
    assert seal(world.open()) is not None
    assert [] == list(check_ledger(world.path))


def test_opening_believes_the_cache_only_for_the_very_files(world, ledger, monkeypatch):
    seal(ledger)
    append(ledger, 2, checkpoint=True)
    root, state = ledger.root(), Path(world.path) / "state.json"
    cache = state.read_bytes()
    hashed = []
    whole = sealed.measured_segment
    monkeypatch.setattr(sealed, "measured_segment", lambda *given: hashed.append(given[1:3]) or whole(*given))

    assert root == world.open().root()
    assert [] == hashed
    for wrong in (b"", b"[]\n", cache[:-5], cache.replace(b'"size":', b'"Size":'), bytes(len(cache)), None):
        state.unlink() if wrong is None else state.write_bytes(wrong)
        assert root == world.open().root()
    assert 6 == len(hashed)
    append(world.open(), 1)
    hashed.clear()
    assert 10 == world.open().size
    assert [] == hashed


def crashing(count, act):
    """Run ``act`` in a child that dies before its ``count``-th call that changes files; tell whether it lived."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = count
    for name in ("write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "ftruncate"):
        whole = getattr(os, name)

        def dying(*arguments, whole=whole):
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return whole(*arguments)

        setattr(os, name, dying)
    try:
        act()
    finally:
        os._exit(0)


def test_killed_at_any_call_nothing_acknowledged_is_lost_and_the_next_writer_finishes(world, ledger, tmp_path):
    append(ledger, 1, checkpoint=True)
    acknowledged = leaves(ledger)
    pristine = tmp_path / "pristine"
    shutil.copytree(world.path, pristine)

    def work():
        opened = world.open()
        with opened.writing(1) as writer:
            writer.append([event(100), event(101)])
            writer.checkpoint()
            writer.seal_if_due(force=True)
            writer.append([event(102)])
            writer.checkpoint()
            writer.drop_sealed()

    count = 0
    while True:
        count += 1
        shutil.rmtree(world.path)
        shutil.copytree(pristine, world.path)
        if crashing(count, work):
            break
        found = leaves(world.open(read_only=True))
        assert acknowledged == found[: len(acknowledged)]
        assert len(found) in {7, 9, 10, 11}
        append(world.open(), 1)
        again = leaves(world.open())
        assert found == again[: len(found)]
        assert not [name for folder in ("hot", "segments") for name in names(world, folder) if name.endswith(".tmp")]
        seal(world.open())
        with world.open().writing(1) as writer:
            writer.drop_sealed()
            writer.checkpoint()
        assert [] == list(check_ledger(world.path))
        before = snapshot(world.path)
        with world.open().writing(1):
            pass
        assert before == snapshot(world.path)
    assert count > 25


def test_a_bad_segment_that_a_crash_left_before_it_was_compared_does_not_count(world, ledger):
    before = leaves(ledger)
    segment = seal(ledger)
    (Path(world.path) / "hot/000000000006.wal").unlink()
    os.truncate(ledger.segment_file(segment), 400)

    assert before == leaves(world.open(read_only=True))
    assert [] == list(check_ledger(world.path))
    append(world.open(), 1)
    assert [] == names(world, "segments")
    assert (0, 7) == (seal(world.open()).first, world.open().sealed_size)
    assert [] == list(check_ledger(world.path))


@pytest.mark.skipif(not os.path.exists(DUCKDB), reason="the duckdb command is not installed")
def test_duckdb_reads_the_records_and_gives_the_root_that_was_signed(world, ledger):
    segment = seal(ledger)
    path = ledger.segment_file(segment)
    sql = f"""
    WITH RECURSIVE tree(level, i, h) AS (
      SELECT 0, seq::BIGINT, unhex(sha256(unhex('00') || encode(record))) FROM '{path}'
      UNION ALL
      SELECT level + 1, i // 2,
             CASE WHEN count(*) = 2 THEN unhex(sha256(unhex('01') || min_by(h, i) || max_by(h, i)))
             ELSE any_value(h) END
      FROM tree GROUP BY level, i // 2 HAVING (SELECT count(*) FROM tree) > 1)
    SELECT hex(h) FROM tree ORDER BY level DESC LIMIT 1"""

    def ask(query):
        command = [DUCKDB, "-noheader", "-list", "-c", query]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert segment.frontier.root().hex().upper() == ask(sql)
    assert "5|1" == ask(f"SELECT count(pack), count(DISTINCT store) FROM '{path}' WHERE event_type = 'fixity check'")
    assert leaves(ledger)[2].decode() == ask(f"SELECT record FROM '{path}' WHERE seq = 2")
    assert "TIMESTAMP WITH TIME ZONE" == ask(f"SELECT any_value(typeof(event_datetime)) FROM '{path}'")


def realistic(number, random):
    pack, store = f"{random.getrandbits(256):064x}", random.choice(["disk-a", "disk-b"])
    if number % 10 < 6:
        return Event(
            type=EventType.FIXITY_CHECK,
            fonds="f0001",
            detail={"pack": pack, "store": store, "reach": "medium", "bytes": random.randrange(1 << 29)},
            agent=AGENT,
        )
    detail = {"pack": pack, "bytes": random.randrange(1 << 29), "objects": random.randrange(9999)}
    if number % 10 < 8:
        return Event(type=EventType.REPLICATION, fonds="f0001", detail=detail | {"store": store}, agent=AGENT)
    digests = {name: f"{random.getrandbits(256):064x}" for name in ("index", "blocks")}
    return Event(type=EventType.PACK_SEALED, fonds="f0001", detail=detail | digests, agent=AGENT)


def test_a_sealed_event_takes_no_more_than_160_bytes(world):
    ledger, random = world.create(), seeded.Random(3)
    for base in range(0, 6000, 500):
        with ledger.writing(1) as writer:
            writer.append([realistic(base + number, random) for number in range(500)])
    segment = seal(ledger)

    assert segment.size / segment.end <= 160


def test_typed_columns_are_those_of_the_records_over_several_row_groups(world):
    ledger = world.create()
    append(ledger, *[1500] * 4)
    segment = seal(ledger)
    sizes = []
    for rows in read_rows(ledger.segment_file(segment), columns=True):
        assert columns_of([parse_record(data) for data in rows.records]) == rows.columns
        sizes.append(len(rows.records))

    assert [4096, 1905] == sizes
    assert leaves(ledger)[4090:4100] == [record.data for record in world.open().records(4090, 4100)]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(500) + b"PAR1", b"x" * 5000])
def test_bytes_that_are_no_parquet_are_unreadable_by_name(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(LedgerUnreadableError, match=r"x\.parquet"):
        list(read_rows(str(path)))


def test_a_parquet_file_with_other_columns_is_refused(tmp_path):
    parquet.write_table(pa.table({"seq": pa.array([0], pa.uint64()), "record": ["{}"]}), tmp_path / "x.parquet")
    with pytest.raises(LedgerUnreadableError):
        list(read_rows(str(tmp_path / "x.parquet")))
