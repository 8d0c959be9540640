"""Parts of a ledger by themselves: subtrees, shapes, surveys, the cache of subjects, and events found by it."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_support import AGENT, World, append, event

from preservation.ledger.canonical import canonical
from preservation.ledger.checking import check_ledger
from preservation.ledger.errors import RecordError
from preservation.ledger.events import Event, EventType, parse_record
from preservation.ledger.finding import events_about
from preservation.ledger.merkle import Frontier, leaf_hash
from preservation.ledger.segments import SUBJECTS, read_rows
from preservation.ledger.shapes import Shapes
from preservation.ledger.subjects import index_path, key_of, rows_about
from preservation.ledger.subtrees import joined, subtrees
from preservation.ledger.survey import Task, survey, surveys


@given(st.integers(0, 90), st.lists(st.integers(1, 90), max_size=6))
def test_parts_hashed_apart_give_the_tree_that_was_hashed_as_one(first, lengths):
    hashes = [leaf_hash(str(number).encode()) for number in range(first + sum(lengths))]
    frontier = Frontier().extended(hashes[:first])
    for length in lengths:
        frontier = joined(frontier, subtrees(frontier.size, hashes[frontier.size : frontier.size + length]))
    assert Frontier().extended(hashes) == frontier


def test_a_subtree_that_does_not_begin_where_it_must_is_refused():
    with pytest.raises(ValueError, match="no subtree of level 2"):
        joined(Frontier().extended([leaf_hash(b"a")] * 3), [(2, bytes(32))])


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def ledger(world):
    """Three segments and some hot events; pack 3 has an event in each."""
    ledger = world.create()
    for _ in range(3):
        append(ledger, 40)
        with ledger.writing(1) as writer:
            writer.append([event(3)])
            writer.checkpoint()
            writer.seal_if_due(force=True)
            writer.drop_sealed()
    append(ledger, 5)
    with ledger.writing(1) as writer:
        writer.append([event(3)])
        writer.checkpoint()
    return ledger


def records_of(ledger):
    return list(ledger.raw_records())


EDITS = [
    lambda record: record.replace(b'"seq":', b'"seq": ', 1),
    lambda record: record.replace(b'"schema":1', b'"schema":2', 1),
    lambda record: record.replace(b'"bytes":', b'"bytes":0', 1),
    lambda record: record.replace(b'"bytes":', b'"bytes":-0.', 1),
    lambda record: record.replace(b'"bytes":', b'"bytes":99999999999999999', 1),
    lambda record: record.replace(b'"store":"a"', b'"store":"\\u0061"', 1),
    lambda record: record.replace(b'"store":"a"', b'"store":"\xff"', 1),
    lambda record: record.replace(b'"store":"a"', b'"store":"a","store":"a"', 1),
    lambda record: record.replace(b'"store":"a"', b'"store":"a","a":1', 1),
    lambda record: record.replace(b'"agent":"test agent"', b'"agent":""', 1),
    lambda record: record.replace(b'"outcome":"success"', b'"outcome":"fine"', 1),
    lambda record: record.replace(b'"store":"a"', b'"store":"a\nb"', 1),
    lambda record: record + b"\n",
    lambda record: b" " + record,
    lambda record: record[:-1],
]


@pytest.mark.parametrize("edit", range(len(EDITS)))
def test_a_shape_takes_nothing_that_parsing_refuses(ledger, edit):
    checks = [record for record in records_of(ledger) if b"fixity check" in record]
    edited = EDITS[edit](checks[1])
    assert edited != checks[1]
    with pytest.raises(RecordError):
        parse_record(edited)
    with pytest.raises(RecordError):
        Shapes(SUBJECTS).sort([checks[0], edited])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=9,
    ),
    st.randoms(),
)
def test_what_a_shape_takes_parsing_takes_and_says_the_same(value, dice):
    """Any canonical record is taken; one with a byte changed is taken only if parsing takes it, too."""
    base = json.loads(EXAMPLE) | {"detail": {"value": value, "pack": "p", "run": 5}}
    record = canonical(base)
    shapes = Shapes(SUBJECTS)
    shapes.sort([record])
    changed = bytearray(record)
    changed[dice.randrange(len(changed))] = dice.randrange(256)
    for data in (record, bytes(changed)):
        try:
            expected = parse_record(data)
        except RecordError:
            with pytest.raises(RecordError):
                shapes.sort([data])
            continue
        alike, others = shapes.sort([data])
        for group in alike:
            said = dict(zip(group.shape.names, group.texts[0], strict=True))
            assert str(expected.seq).encode() == said["seq"]
            assert expected.event_id.encode() == said["event_id"]
            assert (group.shape.kind, group.shape.outcome) == (expected.event.type, expected.event.outcome)
            assert said.get("pack", b"p") == str(expected.event.detail.get("pack", "p")).encode()
            assert "run" not in said
        assert [(0, expected)] == others or alike


EXAMPLE = (
    '{"agent":"a","detail":{},"fonds":null,"id":"019b76da-a82a-7d15-be8c-513a9f95472e","outcome":"success",'
    '"schema":1,"seq":71,"time":"2026-01-01T00:00:00.042000Z","type":"repair"}'
)


def test_all_honest_row_groups_agree_without_a_second_look(world, ledger):
    for segment in ledger.segments:
        for rows in read_rows(ledger.segment_file(segment), columns=True, shapes=Shapes(SUBJECTS)):
            assert rows.agree
            assert {} == rows.columns


def test_a_survey_by_processes_is_the_survey_by_one(world, ledger, monkeypatch):
    tasks = [Task(world.path, one.first, one.end, (one.first + 3, one.end), deep=True) for one in ledger.segments]
    monkeypatch.setattr("preservation.ledger.survey.PARALLEL_EVENTS", 1)
    assert [survey(task) for task in tasks] == list(surveys(tasks, 2))


def test_a_ledger_without_its_caches_is_as_right_as_with_them(world, ledger):
    assert [] == list(check_ledger(world.path))
    for path in Path(world.path, "subjects").iterdir():
        path.unlink()
    Path(world.path, "state.json").unlink()
    assert [] == list(check_ledger(world.path))


def numbers(ledger, **wanted):
    return [record.seq for record in events_about(ledger, {name: {value} for name, value in wanted.items()})]


def about(ledger, name, value):
    return [record.seq for record in ledger.records() if record.event.detail.get(name) == value]


PACK = f"{3:064x}"


def test_the_events_of_a_pack_are_found_in_every_segment_and_in_the_hot_file(ledger):
    found = numbers(ledger, pack=PACK)
    assert about(ledger, "pack", PACK) == found
    assert len(found) >= 4
    assert [] == numbers(ledger, pack="f" * 64)
    assert about(ledger, "store", "a") == numbers(ledger, store="a")
    assert found[2:] == [record.seq for record in events_about(ledger, {"pack": {PACK}}, found[2])]


@pytest.mark.parametrize("harm", ["missing", "empty", "shortened", "flipped", "of another segment", "of another count"])
def test_a_cache_of_subjects_that_is_not_right_is_not_believed(world, ledger, harm):
    expected = about(ledger, "pack", PACK)
    path = Path(index_path(world.path, ledger.segments[0].first, ledger.segments[0].end))
    other = Path(index_path(world.path, ledger.segments[1].first, ledger.segments[1].end)).read_bytes()
    data = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "shortened": data[:-5],
                "flipped": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
                "of another segment": other,
                "of another count": data.replace(b'"count":', b'"count":9', 1),
            }[harm]
        )
        assert {"cache_differs"} == {problem.code for problem in check_ledger(world.path)}
    assert expected == numbers(ledger, pack=PACK)


def test_every_flipped_byte_of_a_cache_is_told_and_hides_no_event(world, ledger):
    expected = about(ledger, "pack", PACK)
    path = Path(index_path(world.path, ledger.segments[0].first, ledger.segments[0].end))
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        assert expected == numbers(ledger, pack=PACK), place
    path.write_bytes(data)


def repaired(pack):
    return Event(type=EventType.REPAIR, detail={"pack": pack, "package": "p"}, agent=AGENT)


def test_more_entries_than_a_block_holds_are_all_found(world):
    ledger = world.create()
    dice = random.Random(4)
    packs = [f"{dice.randrange(400):064x}" for _ in range(1500)]
    with ledger.writing(1) as writer:
        writer.append([repaired(pack) for pack in packs])
        writer.checkpoint()
        writer.seal_if_due(force=True)
    segment = ledger.segments[0]
    for pack in {*packs, "0" * 64, "f" * 64}:
        rows = rows_about(world.path, segment, [pack])
        assert rows is not None
        assert [row for row, one in enumerate(packs, 1) if one == pack] == [
            row for row in rows if row and packs[row - 1] == pack
        ]
    assert list(range(1, 1501)) == rows_about(world.path, segment, ["p"])
    assert key_of("p") == key_of("p")


def test_a_reader_without_rights_finds_events_and_creates_nothing(world, ledger):
    before = sorted(str(path) for path in Path(world.path).rglob("*"))
    reader = world.open(read_only=True)
    assert about(ledger, "pack", PACK) == numbers(reader, pack=PACK)
    assert before == sorted(str(path) for path in Path(world.path).rglob("*"))
