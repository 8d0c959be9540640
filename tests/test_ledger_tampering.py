"""A forger who can write Parquet: well-formed segments that tell something else are told by what was signed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_support import World, append, event

from preservation.ledger.canonical import canonical
from preservation.ledger.checking import check_ledger
from preservation.ledger.events import parse_record
from preservation.ledger.segments import write_rows


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    ledger = world.create()
    append(ledger, 9, checkpoint=True)
    with ledger.writing(1) as writer:
        writer.seal_if_due(force=True)
        writer.drop_sealed()
        writer.checkpoint()
    return world


def edited(record, **changes):
    """Return the record with other members, well-formed."""
    return parse_record(canonical(json.loads(record.data) | changes))


def renumbered(records):
    return [edited(record, seq=seq) for seq, record in enumerate(records)]


FORGERIES = {
    "edit": lambda records: [*records[:4], edited(records[4], outcome="failure"), *records[5:]],
    "back-date": lambda records: [*records[:4], edited(records[4], time="2020-01-01T00:00:00.000000Z"), *records[5:]],
    "reorder": lambda records: renumbered([*records[:3], records[4], records[3], *records[5:]]),
    "delete and fill": lambda records: renumbered([*records[:3], *records[4:], records[4]]),
    "replace the genesis": lambda records: [edited(records[0], agent="somebody else"), *records[1:]],
}


def forge(world, forgery):
    records = list(world.open().records(0, 10))
    path = Path(world.path) / "segments/000000000000-000000000010.parquet"
    os.unlink(path)
    (Path(world.path) / "state.json").unlink(missing_ok=True)
    write_rows(str(path), forgery(records))
    return {problem.code for problem in check_ledger(world.path)}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_well_formed_forgery_contradicts_the_checkpoints_and_what_follows_it(world, name):
    codes = forge(world, FORGERIES[name])

    assert "root_differs" in codes
    assert codes & {"segment_differs", "hot_damaged"}  # the digest of the file, or the leaf that the hot file follows


def test_a_column_that_was_edited_without_its_record_is_told(world):
    def edit_column(records):
        return [*records[:4], replace(records[4], event=replace(event(3), outcome="failure")), *records[5:]]

    # The cache of subjects names the digest of the segment that it was made from.
    assert {"column_differs", "segment_differs", "cache_differs"} == forge(world, edit_column)


def test_a_record_that_is_not_canonical_is_told(world):
    def add_space(records):
        return [*records[:4], replace(records[4], data=records[4].data.replace(b",", b", ", 1)), *records[5:]]

    assert {"record_invalid", "root_differs"} <= forge(world, add_space)


def test_a_record_under_another_number_is_told(world):
    def renumber(records):
        forged = edited(records[4], seq=7)
        return [*records[:4], replace(forged, seq=4), *records[5:]]

    assert {"record_misplaced", "root_differs"} <= forge(world, renumber)


def test_missing_and_additional_events_in_a_segment_are_told(world):
    assert {"segment_incomplete"} <= forge(world, lambda records: records[:-1])
