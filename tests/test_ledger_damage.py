"""Damage to a ledger: every flipped byte gives the same history, drops the last batch at most, or is named."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_support import World, append, leaves, snapshot

from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import LedgerDamagedError, LedgerError, LedgerUnreadableError
from preservation.ledger.merkle import NO_LEAF, leaf_hash
from preservation.ledger.wal import SYNC, Frame, Gap, batches, encode_batch, frames

HOT = f"hot/{0:012d}.wal"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def encoded(*sizes):
    """Return the bytes of batches of so many records, and the records."""
    data, records, previous = b"", [], NO_LEAF
    for size in sizes:
        batch = [b'{"n":%d}' % (len(records) + number) for number in range(size)]
        data += encode_batch(batch, len(records), previous)
        records += batch
        previous = leaf_hash(batch[-1])
    return data, records


def read(data):
    found = batches(
        lambda offset, size: data[offset : offset + size], 0, len(data), seq=0, previous=NO_LEAF, place="hot"
    )
    return [frame.record for batch in found for frame in batch.frames]


@given(st.lists(st.integers(1, 5), max_size=6))
def test_batches_come_back_as_they_were_written(sizes):
    data, records = encoded(*sizes)

    assert records == read(data)


def test_cut_at_any_byte_whole_batches_remain():
    data, records = encoded(2, 1, 3)
    ends = [0, *(offset for offset in range(1, len(data) + 1) if _is_boundary(data[:offset]))]
    for cut in range(len(data) + 1):
        expected = {0: 0, 1: 2, 2: 3, 3: 6}[sum(end <= cut for end in ends) - 1]
        assert records[:expected] == read(data[:cut])


def _is_boundary(data):
    return len(data) in {len(encoded(2)[0]), len(encoded(2, 1)[0]), len(encoded(2, 1, 3)[0])}


def test_a_flipped_bit_before_the_last_batch_is_damage_and_in_it_a_torn_tail():
    data, records = encoded(1, 2, 2)
    last = len(encoded(1, 2)[0])
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        if place < last:
            with pytest.raises(LedgerDamagedError):
                read(changed)
        else:
            assert records[:3] == read(changed)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_mutilation_gives_a_prefix_of_whole_batches_or_is_named(data):
    whole, records = encoded(1, 3, 2, 1)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    middle = data.draw(st.sampled_from([b"", bytes(end - start), whole[start:end] * 2, whole[: end - start], SYNC]))
    try:
        found = read(whole[:start] + middle + whole[end:])
    except LedgerDamagedError:
        return
    assert found in [records[:size] for size in (0, 1, 4, 6, 7)]


def test_zeros_after_the_last_batch_are_a_torn_tail():
    data, records = encoded(2, 2)

    assert records == read(data + bytes(5000))


def test_a_last_batch_of_which_an_inner_page_never_reached_the_disk_is_a_torn_tail():
    data, records = encoded(2, 4)
    begin = len(encoded(2)[0])
    torn = data[: begin + 10] + bytes(60) + data[begin + 70 :]

    assert records[:2] == read(torn)


def test_the_reader_finds_frames_across_its_window():
    record = b'"' + b"x" * 700_000 + b'"'
    data = encode_batch([record] * 5, 0, NO_LEAF)
    changed = data[:700_500] + b"\0" + data[700_501:]

    found = list(frames(lambda offset, size: changed[offset : offset + min(size, 65_536)], 0, len(changed)))

    assert [Frame, Gap, Frame, Frame, Frame] == [type(item) for item in found]
    assert [0, 2, 3, 4] == [item.seq for item in found if isinstance(item, Frame)]


def test_frames_swapped_or_repeated_are_damage():
    one, two = encode_batch([b"1"], 0, NO_LEAF), encode_batch([b"2"], 1, leaf_hash(b"1"))
    for changed in (two + one, one + one, one + two + one, one + two + two, two):
        with pytest.raises(LedgerDamagedError):
            read(changed)


def test_every_flipped_byte_of_a_signed_hot_file_is_named_and_nothing_is_shortened(world):
    append(world.create(), 1, 2, checkpoint=True)
    path = Path(world.path) / HOT
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        with pytest.raises(LedgerDamagedError):
            world.open()


def test_what_no_checkpoint_covers_can_only_lose_its_last_batch(world):
    ledger = world.create()
    append(ledger, 1, checkpoint=True)
    path = Path(world.path) / HOT
    append(ledger, 2)
    before = path.stat().st_size
    append(ledger, 1)
    everything, data = leaves(ledger), path.read_bytes()
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        if place < before:
            with pytest.raises(LedgerDamagedError):
                world.open()
        else:
            assert everything[:4] == leaves(world.open())
            with pytest.raises(LedgerDamagedError):
                world.open(at_least=5)


def test_a_damaged_ledger_is_not_written_to(world):
    append(world.create(), 1, 2, checkpoint=True)
    opened = world.open()
    path = Path(world.path) / HOT
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    before = snapshot(world.path)
    with pytest.raises(LedgerDamagedError), opened.writing(1):
        pass

    assert before == snapshot(world.path)


def test_the_acknowledged_batch_of_another_process_is_not_truncated(world):
    opened = world.create()
    append(world.open(), 2, checkpoint=True)
    path = Path(world.path) / HOT
    path.write_bytes(path.read_bytes()[:-1])
    before = snapshot(world.path)
    with pytest.raises(LedgerDamagedError), opened.writing(1):
        pass

    assert before == snapshot(world.path)


@pytest.fixture
def sealed(world):
    """A ledger with two segments, hot events, leftovers of the second sealing, and checkpoints at all ends."""
    ledger = world.create()
    for _ in range(2):
        append(ledger, 3, checkpoint=True)
        with ledger.writing(1) as writer:
            writer.drop_sealed()
            writer.seal_if_due(force=True)
    append(ledger, 2, checkpoint=True)
    return ledger


def test_every_flipped_byte_of_a_whole_ledger_is_told_by_the_check(world, sealed):
    everything = leaves(sealed)
    unseen, undetected = [], []
    for name, data in snapshot(world.path).items():
        path = Path(world.path) / name
        step = max(1, len(data) // 40)
        for place in range(0, len(data), step):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0x21]) + data[place + 1 :])
            if not list(check_ledger(world.path)):
                unseen.append((name, place))
            try:
                if leaves(world.open()) != everything:
                    undetected.append((name, place))
            except LedgerError:
                pass
        path.write_bytes(data)

    # The cache guards itself and is made again; a leftover of sealing is compared before it is dropped.
    assert {"state.json", "hot/000000000004.wal"} >= {name for name, _ in unseen}
    assert undetected == []
    assert list(check_ledger(world.path)) == []


def test_every_missing_file_is_told_by_the_check(world, sealed):
    for name, data in snapshot(world.path).items():
        if name in {"lock", "state.json", "hot/000000000004.wal"} or name.startswith(("checkpoints/", "subjects/")):
            continue  # a cache that is gone is made again
        (Path(world.path) / name).unlink()
        assert list(check_ledger(world.path)), name
        with pytest.raises(LedgerError):
            leaves(world.open())
        (Path(world.path) / name).write_bytes(data)


def test_the_last_segment_and_everything_after_it_cannot_vanish(world, sealed):
    for name in ("segments/000000000004-000000000008.parquet", "hot/000000000008.wal", "hot/000000000004.wal"):
        (Path(world.path) / name).unlink()
    (Path(world.path) / "hot/000000000004.wal").touch()
    with pytest.raises(LedgerDamagedError):
        world.open()


def test_a_damaged_checkpoint_does_not_close_the_ledger_but_is_told(world, sealed):
    newest = Path(world.path) / "checkpoints" / f"{sealed.size:012d}.note"
    data = newest.read_bytes()
    for place in range(0, len(data), 2):
        newest.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert sealed.size == world.open().size
        assert list(check_ledger(world.path))


def test_a_segment_of_another_ledger_is_told(world, sealed, tmp_path):
    other = World(tmp_path / "other")
    other.random = lambda size: b"\7" * size
    ledger = other.create()
    append(ledger, 3, checkpoint=True)
    with ledger.writing(1) as writer:
        writer.seal_if_due(force=True)
    name = "segments/000000000000-000000000004.parquet"
    shutil.copy(os.path.join(other.path, name), os.path.join(world.path, name))

    codes = {problem.code for problem in check_ledger(world.path, trusted=[world.keys.root])}

    assert {"segment_differs"} <= codes
    assert codes & {"root_differs", "checkpoint_unsigned"}


def test_a_rolled_back_history_is_told_by_a_checkpoint_held_elsewhere(world, sealed):
    held = sealed.checkpoint(sealed.size).note.encoded()
    path = Path(world.path) / "hot/000000000008.wal"
    newest = Path(world.path) / "checkpoints" / f"{sealed.size:012d}.note"
    newest.unlink()
    first = next(
        batches(lambda o, n: path.read_bytes()[o : o + n], 0, 10**6, seq=8, previous=_last(sealed, 8), place="")
    )
    os.truncate(path, first.end)
    assert [] == list(check_ledger(world.path))
    newest.write_bytes(held)

    assert ["history_shortened"] == [problem.code for problem in check_ledger(world.path)]


def _last(ledger, seq):
    return leaf_hash(next(ledger.raw_records(seq - 1, seq)))


def test_a_ledger_that_cannot_be_read_is_not_called_damaged_or_empty(world, sealed, monkeypatch):
    def failing(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(LedgerUnreadableError):
        world.open()
    assert list(check_ledger(world.path))
