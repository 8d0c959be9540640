"""Throttle, retry and the faulty store do what they say."""

import io

import pytest
from backend_faulty import Fault, FaultyBackend
from backend_sources import PROFILE, Scripted, SourceBrokeError, breaking_at

from storage_backends.errors import (
    GenerationChangedError,
    KeyMissingError,
    ReadFailureError,
    StoreFullError,
    StoreRefusesError,
    StoreUnavailableError,
    TransientError,
)
from storage_backends.memory import MemoryBackend, Shelf
from storage_backends.retry import Patience, RetryingBackend
from storage_backends.throttle import Pace, ThrottledBackend
from storage_backends.wrapping import Wrapping, WrappingReader


@pytest.fixture
def memory():
    return MemoryBackend(Shelf("store-1"), store_id="store-1", profile=PROFILE)


def put(backend, key, data):
    return backend.write(key, len(data), io.BytesIO(data))


def get(backend, key, **how):
    with backend.read(key, **how) as reader:
        return reader.read()


class VirtualClock:
    def __init__(self):
        self.now, self.naps = 1_000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.naps.append(seconds)
        self.now += seconds


class TestThrottle:
    @pytest.fixture
    def clock(self):
        return VirtualClock()

    @pytest.fixture
    def throttled(self, memory, clock):
        return ThrottledBackend(memory, Pace(1_000, clock=clock, sleep=clock.sleep))

    def test_writing_takes_as_long_as_the_rate_says(self, throttled, clock):
        throttled.write("k", 5_000, Scripted(b"x" * 5_000, step=100))

        assert clock.now == pytest.approx(1_005)

    @pytest.mark.parametrize("fresh", [False, True])
    def test_reading_takes_as_long_as_the_rate_says(self, throttled, memory, clock, fresh):
        put(memory, "k", b"x" * 5_000)
        buffer = memoryview(bytearray(100))
        with throttled.read("k", fresh=fresh) as reader:
            assert reader.read(2_000) == b"x" * 2_000
            while reader.readinto(buffer):
                pass

        assert clock.now == pytest.approx(1_005)

    def test_readers_and_writers_and_stores_share_one_pace(self, throttled, memory, clock):
        other = ThrottledBackend(memory, throttled._pace)
        put(throttled, "k", b"x" * 1_000)
        draft = other.create()
        draft.write(b"y" * 1_000)
        with draft.read_back() as reader:
            reader.read()
        draft.commit("d")
        throttled.replace("k", throttled.stat("k"), 1_000, io.BytesIO(b"z" * 1_000))
        get(throttled, "k")

        assert clock.now == pytest.approx(1_005)

    def test_idle_time_is_not_saved_up(self, throttled, clock):
        put(throttled, "a", b"x" * 1_000)
        clock.now += 3_600
        began = clock.now
        put(throttled, "b", b"x" * 2_000)

        assert clock.now - began == pytest.approx(2)


class Unwell(Wrapping):
    """Fails as often as it is told, in the way it is told."""

    def __init__(self, inner, *, error=TransientError, times=0, reads_before=0):
        super().__init__(inner)
        self.error, self.times, self.reads_before = error, times, reads_before

    def ail(self):
        if self.times:
            self.times -= 1
            raise self.error(place="there", key="k", reason="unwell")

    def write(self, key, size, source):
        begun = source.read(10)
        self.ail()
        return super().write(key, size, _Rest(begun, source))

    def stat(self, key):
        self.ail()
        return super().stat(key)

    def items(self, prefix=""):
        for number, item in enumerate(super().items(prefix)):
            if number == 2:
                self.ail()
            yield item

    def delete(self, key):
        self.ail()
        super().delete(key)

    def _reader(self, reader):
        return UnwellReader(reader, self)


class UnwellReader(WrappingReader):
    def __init__(self, inner, backend):
        super().__init__(inner)
        self.backend, self.reads = backend, 0

    def read(self, size=-1, /):
        self.reads += 1
        if self.reads > self.backend.reads_before:
            self.backend.ail()
        return self.inner.read(size)


class _Rest:
    """Gives first what was read already."""

    def __init__(self, begun, source):
        self.begun, self.source = begun, source

    def read(self, size=-1, /):
        begun, self.begun = self.begun, b""
        return begun or self.source.read(size)


class TestRetry:
    @pytest.fixture
    def naps(self):
        return []

    def retrying(self, inner, naps, attempts=3):
        return RetryingBackend(inner, Patience(attempts, pause=0.5, sleep=naps.append))

    @pytest.mark.parametrize("error", [TransientError, ReadFailureError])
    def test_a_passing_failure_is_not_noticed(self, memory, naps, error):
        put(memory, "k", b"content")
        unwell = Unwell(memory, error=error, times=2)

        assert self.retrying(unwell, naps).stat("k").size == 7
        assert naps == [0.5, 1.0]

    def test_a_lasting_failure_is_reported_after_the_last_attempt(self, memory, naps):
        put(memory, "k", b"content")
        unwell = Unwell(memory, times=99)
        with pytest.raises(TransientError):
            self.retrying(unwell, naps).delete("k")

        assert (unwell.times, naps) == (96, [0.5, 1.0])

    @pytest.mark.parametrize("error", [StoreUnavailableError, KeyMissingError, StoreRefusesError])
    def test_what_patience_cannot_heal_is_reported_at_once(self, memory, naps, error):
        unwell = Unwell(memory, error=error, times=1)
        with pytest.raises(error):
            self.retrying(unwell, naps).stat("k")

        assert naps == []

    def test_a_write_is_tried_again_from_where_its_source_began(self, memory, naps):
        source = io.BytesIO(b"-> all of the content")
        source.seek(3)
        self.retrying(Unwell(memory, times=2), naps).write("k", 18, source)

        assert get(memory, "k") == b"all of the content"
        assert len(naps) == 2

    def test_a_write_whose_source_cannot_go_back_is_not_tried_again(self, memory, naps):
        with pytest.raises(TransientError):
            self.retrying(Unwell(memory, times=1), naps).write("k", 100, Scripted(b"x" * 100))

        assert (naps, list(memory.items())) == ([], [])

    def test_a_source_that_fails_like_a_store_is_not_tried_again(self, memory, naps):
        class Failing(io.BytesIO):
            def read(self, size=-1, /):
                raise ReadFailureError(place="another store", key="s", reason="its own")

        with pytest.raises(ReadFailureError, match="another store"):
            self.retrying(memory, naps).write("k", 3, Failing(b"abc"))
        assert naps == []

    def test_a_source_s_own_error_passes_unchanged(self, memory, naps):
        broke = SourceBrokeError()
        with pytest.raises(SourceBrokeError) as caught:
            self.retrying(memory, naps).write("k", 3, Scripted(b"abc", during=breaking_at(1, broke)))
        assert caught.value is broke

    @pytest.mark.parametrize(("offset", "length"), [(0, None), (5, 90)])
    def test_a_reader_that_fails_goes_on_where_it_was(self, memory, naps, offset, length):
        data = bytes(range(100))
        put(memory, "k", data)
        unwell = Unwell(memory, reads_before=1)
        with self.retrying(unwell, naps).read("k", offset=offset, length=length) as reader:
            start = reader.read(30)
            unwell.times = 2
            rest = reader.read()

        assert start + rest == data[offset:][:length]
        assert len(naps) == 2

    def test_a_reader_never_joins_two_generations(self, memory, naps):
        item = put(memory, "k", b"o" * 100)
        unwell = Unwell(memory, reads_before=1)
        with self.retrying(unwell, naps).read("k") as reader:
            reader.read(30)
            memory.replace("k", item, 100, io.BytesIO(b"n" * 100))
            unwell.times = 1
            with pytest.raises(GenerationChangedError):
                reader.read()

    def test_a_listing_that_breaks_off_goes_on(self, memory, naps):
        for number in range(6):
            put(memory, f"k{number}", b"")
        retrying = self.retrying(Unwell(memory, times=2), naps)

        assert [item.key for item in retrying.items()] == [f"k{number}" for number in range(6)]

    def test_a_listing_that_breaks_off_again_and_again_is_reported(self, memory, naps):
        for number in range(6):
            put(memory, f"k{number}", b"")
        with pytest.raises(TransientError):
            list(self.retrying(Unwell(memory, times=99), naps).items())


class TestFaultPlans:
    DATA = bytes(range(256))

    def faulty(self, memory, *plan):
        put(memory, "packs/a", self.DATA)
        put(memory, "packs/b", b"other bytes")
        return FaultyBackend(memory, plan)

    @pytest.mark.parametrize("how", [{}, {"offset": 5, "length": 20}, {"offset": 10, "length": 1}])
    def test_a_flip_always_changes_exactly_the_byte(self, memory, how):
        faulty = self.faulty(memory, Fault("flip", "packs/a", at=10, mask=0x80))
        start = how.get("offset", 0)
        expected = bytearray(self.DATA)
        expected[10] ^= 0x80

        assert get(faulty, "packs/a", **how) == expected[start:][: how.get("length")]
        assert get(faulty, "packs/b") == b"other bytes"

    def test_a_truncated_item_is_short_wherever_one_looks(self, memory):
        faulty = self.faulty(memory, Fault("truncate", "packs/a", at=100))

        assert get(faulty, "packs/a") == self.DATA[:100]
        assert faulty.stat("packs/a").size == 100
        assert [item.size for item in faulty.items("packs")] == [100, 11]

    def test_what_vanished_is_missing_and_not_listed_and_can_be_written_again(self, memory):
        faulty = self.faulty(memory, Fault("vanish", "packs/a"))
        with pytest.raises(KeyMissingError):
            faulty.read("packs/a")
        assert [item.key for item in faulty.items()] == ["packs/b"]
        put(faulty, "packs/a", self.DATA)

        assert get(faulty, "packs/a") == self.DATA

    def test_swapped_bytes_come_from_the_other_item(self, memory):
        assert get(self.faulty(memory, Fault("swap", "packs/a", other="packs/b")), "packs/a") == b"other bytes"

    def test_the_third_write_fails_and_only_that(self, memory):
        faulty = self.faulty(memory, Fault("full", nth=3))
        put(faulty, "1", b"")
        put(faulty, "2", b"")
        with pytest.raises(StoreFullError):
            put(faulty, "3", b"")
        put(faulty, "3", b"")

    def test_an_unreadable_place_fails_when_it_is_reached(self, memory):
        faulty = self.faulty(memory, Fault("unreadable", "packs/a", at=50))
        with faulty.read("packs/a") as reader:
            assert reader.read(50) == self.DATA[:50]
            with pytest.raises(ReadFailureError):
                reader.read(1)

    def test_what_is_replaced_is_sound_again(self, memory):
        faulty = self.faulty(memory, Fault("flip", "packs/a"), Fault("truncate", "packs/a", at=9))
        item = faulty.stat("packs/a")
        assert item.size == 9
        faulty.replace("packs/a", item, len(self.DATA), io.BytesIO(self.DATA))

        assert get(faulty, "packs/a") == self.DATA

    @pytest.mark.parametrize("does", ["write", "read", "delete", "replace", "create", "commit"])
    def test_any_operation_can_be_refused(self, memory, does):
        faulty = self.faulty(memory, Fault("refuse", does=does))
        acts = {
            "write": lambda: put(faulty, "new", b""),
            "read": lambda: faulty.read("packs/a"),
            "delete": lambda: faulty.delete("packs/a"),
            "replace": lambda: faulty.replace("packs/a", faulty.stat("packs/a"), 0, io.BytesIO()),
            "create": faulty.create,
            "commit": lambda: faulty.create().commit("new"),
        }

        with pytest.raises(ReadFailureError if does == "read" else StoreRefusesError):
            acts.pop(does)()
        if does != "create":
            faulty.create().abort()
        if does != "read":
            get(faulty, "packs/a")
