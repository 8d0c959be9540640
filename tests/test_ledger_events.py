"""Events and records: one value, one sequence of bytes; and nothing else is accepted."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preservation.identifiers import is_uuid7, new_id, new_uuid7
from preservation.ledger.canonical import LARGEST_INTEGER, canonical, read_canonical
from preservation.ledger.errors import RecordError, RecordVersionError
from preservation.ledger.events import RECORD_LIMIT, Event, EventType, Outcome, parse_record, record_bytes

TIME = datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)
ID = str(new_uuid7(1_782_909_015_123, bytes(range(10))))

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_survives_its_canonical_form(value):
    assert value == read_canonical(canonical(value))
    assert value == json.loads(canonical(value))


@given(st.dictionaries(TEXTS, st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_the_order_in_which_members_were_added_does_not_matter(value, random):
    names = list(value)
    random.shuffle(names)

    assert canonical(value) == canonical({name: value[name] for name in names})


@given(VALUES)
def test_members_are_sorted_by_utf_16_code_units(value):
    found = json.loads(canonical({"x": value}), object_pairs_hook=list)

    def check(pairs):
        if isinstance(pairs, list):
            if pairs and all(isinstance(pair, tuple) for pair in pairs):
                names = [pair[0].encode("utf-16-be") for pair in pairs]
                assert names == sorted(names)
            for item in pairs:
                check(item[1] if isinstance(item, tuple) else item)

    check(found)


def test_the_example_of_rfc_8785_is_sorted_as_it_says():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]

    found = json.loads(canonical(dict.fromkeys(keys, 0)))

    assert ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"] == list(found)


def test_control_characters_are_written_as_rfc_8785_says():
    assert rb'"\b\t\n\f\r\u0000\u001f\"\\/' + "\x7fé".encode() + b'"' == canonical('\b\t\n\f\r\x00\x1f"\\/\x7fé')


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), LARGEST_INTEGER + 1, -LARGEST_INTEGER - 1, "\ud800", {1: 2}, b"x", {"a": {1.0}}, object()],
)
def test_what_other_readers_would_read_differently_is_refused(value):
    with pytest.raises(RecordError):
        canonical({"value": value})


def test_a_value_that_is_too_deep_is_refused_on_the_way_in_and_out():
    deep = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(RecordError):
        canonical(deep)
    with pytest.raises(RecordError):
        read_canonical(b"[" * 40 + b"]" * 40)
    with pytest.raises(RecordError):
        read_canonical(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":9007199254740993}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}\n',
        b"",
        b"{",
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_bytes_that_are_not_the_canonical_form_are_refused(data):
    with pytest.raises(RecordError):
        read_canonical(data)


def an_event(**changes):
    return Event(**({"type": EventType.INGESTION, "agent": "a", "fonds": "f1", "detail": {"pack": "é"}} | changes))


def test_a_record_reads_back_as_the_event_that_was_written():
    data = record_bytes(an_event(outcome=Outcome.WARNING), 7, ID, TIME)

    record = parse_record(data)

    assert (7, ID, TIME, data) == (record.seq, record.event_id, record.time, record.data)
    assert an_event(outcome=Outcome.WARNING) == record.event


def test_a_time_in_another_zone_is_written_in_utc():
    local = TIME.astimezone(timezone(timedelta(hours=7)))

    assert record_bytes(an_event(), 7, ID, TIME) == record_bytes(an_event(), 7, ID, local)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "something"},
        {"type": "tag:mocban,2026:"},
        {"type": "tag:mocban,2026:Upper"},
        {"outcome": "ok"},
        {"fonds": ""},
        {"agent": ""},
        {"detail": ["list"]},
        {"detail": {"size": 1.5}},
        {"detail": {"large": "x" * RECORD_LIMIT}},
    ],
)
def test_an_event_that_cannot_be_kept_is_refused(changes):
    with pytest.raises(RecordError):
        record_bytes(an_event(**changes), 0, ID, TIME)


@pytest.mark.parametrize(
    ("seq", "event_id", "time"), [(-1, ID, TIME), (0, "x", TIME), (0, ID, TIME.replace(tzinfo=None))]
)
def test_a_record_without_number_identifier_or_zone_is_refused(seq, event_id, time):
    with pytest.raises(RecordError):
        record_bytes(an_event(), seq, event_id, time)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("seq", -1),
        ("seq", True),
        ("seq", "1"),
        ("id", ID.upper()),
        ("id", "00000000-0000-4000-8000-000000000000"),
        ("time", "2026-07-01T12:30:15Z"),
        ("time", "2026-02-30T12:30:15.000000Z"),
        ("time", "2026-07-01T12:30:15.000000+00:00"),
        ("type", "No Such Type"),
        ("outcome", "transient"),
        ("agent", None),
        ("fonds", 1),
        ("detail", []),
        ("more", 1),
    ],
)
def test_a_record_with_a_wrong_member_is_refused(member, value):
    members = json.loads(record_bytes(an_event(), 7, ID, TIME))
    with pytest.raises(RecordError):
        parse_record(canonical(members | {member: value}))


def test_a_record_of_a_newer_schema_is_refused_by_its_version():
    members = json.loads(record_bytes(an_event(), 7, ID, TIME)) | {"schema": 2, "more": 1}

    with pytest.raises(RecordVersionError):
        parse_record(canonical(members))


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_keeps_its_time_and_74_random_bits(now_ms, random_bytes):
    value = new_uuid7(now_ms, random_bytes)

    assert is_uuid7(str(value))
    assert now_ms == value.int >> 80
    assert int.from_bytes(random_bytes) >> 68 == value.int >> 64 & 0xFFF
    assert int.from_bytes(random_bytes) & ((1 << 62) - 1) == value.int & ((1 << 62) - 1)


def test_identifiers_sort_by_time():
    times = [TIME + timedelta(milliseconds=number) for number in range(100)]
    ids = [new_id(time, lambda size: bytes(reversed(range(size)))) for time in times]

    assert sorted(ids) == ids


def test_the_example_of_rfc_9562_comes_out():
    # Appendix A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    bits = 0xCC3 << 68 | 0x18C4DC0C0C07398F

    assert "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" == str(new_uuid7(0x017F22E279B0, bits.to_bytes(10)))


@pytest.mark.parametrize(("now_ms", "size"), [(-1, 10), (1 << 48, 10), (0, 9), (0, 11)])
def test_a_uuid7_of_an_impossible_time_or_of_too_few_bytes_is_refused(now_ms, size):
    with pytest.raises(ValueError, match="UUIDv7"):
        new_uuid7(now_ms, bytes(size))
