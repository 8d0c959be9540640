"""What every storage backend promises, told as hostile tests; a backend's test file subclasses ``BackendContract``.

A subclass gives a fixture ``backend`` (an empty store), says how to take the place away, and names its abilities and
its legitimate weaknesses as class attributes.
"""

import io
import os
import threading
from contextlib import suppress

import pytest
from backend_abilities import AbilitiesContract
from backend_sources import (
    BAD_KEYS,
    GOOD_KEYS,
    MIB,
    Endless,
    Patterned,
    Scripted,
    SourceBrokeError,
    breaking_at,
    peak_growth,
)

from storage_backends.backend import (
    Drafting,
    Flushing,
    Item,
    Located,
    Ordered,
    Reach,
    Recalling,
    Replacing,
    Rewriting,
    Sized,
    StorageBackend,
    StorageProfile,
)
from storage_backends.errors import (
    BadKeyError,
    KeyExistsError,
    KeyMissingError,
    NotRecalledError,
    SourceLengthError,
    StorageError,
    StoreRefusesError,
    StoreUnavailableError,
)

OPTIONAL = {Drafting, Replacing, Recalling, Ordered, Rewriting, Flushing, Sized, Located}


class BackendContract(AbilitiesContract):
    """Subclass it as ``Test...``, with a fixture ``backend``."""

    abilities: frozenset = frozenset()
    """Exactly the optional protocols that the backend has."""
    deletes = True
    bounded = True
    """False if the store itself lives in this process's memory."""

    def make_unreachable(self, backend):
        raise NotImplementedError

    # What it is.

    def test_it_is_a_backend_with_a_place_and_a_profile(self, backend):
        assert isinstance(backend, StorageBackend)
        assert backend.place
        assert isinstance(backend.profile, StorageProfile)

    def test_it_has_exactly_the_abilities_that_it_claims(self, backend):
        assert {ability for ability in OPTIONAL if isinstance(backend, ability)} == set(self.abilities)

    # Writing.

    def test_what_was_written_is_read_stated_and_listed(self, backend):
        item = self.put(backend, "packs/f1/ab/x.tar", b"bytes of a pack")

        assert (item.key, item.size) == ("packs/f1/ab/x.tar", 15)
        assert item.generation
        assert backend.stat("packs/f1/ab/x.tar") == item
        assert list(backend.items()) == [item]
        assert self.get(backend, "packs/f1/ab/x.tar") == b"bytes of a pack"

    def test_an_empty_item_is_an_item(self, backend):
        item = self.put(backend, "empty", b"")

        assert item.size == 0
        assert backend.stat("empty") == item
        assert self.get(backend, "empty") == b""
        assert self.get(backend, "empty", fresh=True) == b""

    @pytest.mark.parametrize("step", [1, 977, 64 << 10])
    def test_a_source_may_give_less_than_it_was_asked_for(self, backend, step):
        data = os.urandom(3_001)
        backend.write("k", len(data), Scripted(data, step=step))

        assert self.get(backend, "k") == data

    def test_a_source_is_read_to_its_end_once_in_pieces_and_not_closed(self, backend):
        source = Scripted(b"x" * 200_000)
        backend.write("k", 200_000, source)

        assert not source.closed
        assert source.ended
        assert source.after_end == 0
        assert source.longest <= 8 * MIB

    @pytest.mark.parametrize("size", [10, 5 * MIB])
    def test_a_source_that_fails_half_way_leaves_the_key_as_it_was(self, backend, size):
        broke = SourceBrokeError()
        number = max(size // 2 // (64 << 10), 1)
        with pytest.raises(SourceBrokeError) as caught:
            backend.write("k", size, Scripted(b"x" * size, during=breaking_at(number, broke)))

        assert caught.value is broke
        self.assert_absent(backend, "k")
        self.put(backend, "k", b"second try")
        assert self.get(backend, "k") == b"second try"

    def test_a_source_that_fails_only_at_its_last_empty_read_leaves_the_key_as_it_was(self, backend):
        source = Scripted(b"all of it", during=breaking_at(2, SourceBrokeError()))
        with pytest.raises(SourceBrokeError):
            backend.write("k", 9, source)

        self.assert_absent(backend, "k")

    def test_a_failure_of_the_source_that_looks_like_the_store_s_own_passes_unchanged(self, backend):
        broke = OSError(28, "no space where the source comes from")
        with pytest.raises(OSError, match="no space where") as caught:
            backend.write("k", 9, Scripted(b"all of it", during=breaking_at(1, broke)))

        assert caught.value is broke
        self.assert_absent(backend, "k")

    @pytest.mark.parametrize(("promised", "given"), [(10, 9), (10, 0), (1, 0), (9, 10), (0, 1), (6 * MIB, 5 * MIB)])
    def test_a_source_that_lies_about_its_length_is_refused(self, backend, promised, given):
        with pytest.raises(SourceLengthError) as caught:
            backend.write("k", promised, Scripted(b"x" * given))

        assert caught.value.evidence["expected"] == promised
        self.assert_absent(backend, "k")

    def test_an_endless_source_is_given_up_soon(self, backend):
        with pytest.raises(SourceLengthError):
            backend.write("k", 1_000, Endless(64 * MIB))

        self.assert_absent(backend, "k")

    def test_an_existing_key_is_refused_and_not_touched(self, backend):
        item = self.put(backend, "a/k", b"first")
        for data in (b"other", b"first", b""):
            with pytest.raises(KeyExistsError):
                self.put(backend, "a/k", data)

        assert backend.stat("a/k") == item
        assert self.get(backend, "a/k") == b"first"

    def test_nobody_sees_half_an_item(self, backend):
        seen = []

        def look(_number):
            with suppress(KeyMissingError):
                seen.append(backend.stat("a/half"))
            with suppress(KeyMissingError, NotRecalledError):
                backend.read("a/half").close()
                seen.append("read")
            seen.extend(backend.items())

        backend.write("a/half", 9 * MIB, Scripted(b"h" * 9 * MIB, step=MIB, during=look))

        assert seen == []
        assert backend.stat("a/half").size == 9 * MIB

    def test_of_two_writers_of_one_key_exactly_one_wins(self, backend):
        both = threading.Barrier(2, timeout=20)
        outcomes = {}

        def write(letter):
            source = Scripted(letter * 100, during=lambda number: both.wait() if number == 2 else None)
            try:
                outcomes[letter] = backend.write("race/k", 100, source)
            except StorageError as error:
                outcomes[letter] = error

        threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        winners = [letter for letter, outcome in outcomes.items() if isinstance(outcome, Item)]
        losers = [outcome for outcome in outcomes.values() if isinstance(outcome, KeyExistsError)]
        assert (len(winners), len(losers)) == (1, 1), outcomes
        assert self.get(backend, "race/k") == winners[0] * 100

    def test_a_large_item_needs_little_memory(self, backend):
        if not self.bounded:
            pytest.skip("this store lies in this process's memory")
        size = 100 * MIB + 12_345

        def there_and_back():
            backend.write("large", size, Patterned(size))
            if isinstance(backend, Recalling):
                backend.recall(["large"])
            expected, buffer = Patterned(size), memoryview(bytearray(1 << 16))
            with backend.read("large", fresh=True) as reader:
                while count := reader.readinto(buffer):
                    assert expected.read(count) == buffer[:count]
            assert expected.left == 0

        assert peak_growth(there_and_back) < 40 * MIB

    # Keys.

    def test_every_good_key_keeps_its_own_content(self, backend):
        for number, key in enumerate(GOOD_KEYS):
            self.put(backend, key, b"%d" % number)

        assert [item.key for item in backend.items()] == sorted(GOOD_KEYS, key=str.encode)
        for number, key in enumerate(GOOD_KEYS):
            assert self.get(backend, key) == b"%d" % number

    @pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
    def test_a_bad_key_is_refused_everywhere(self, backend, key):
        with pytest.raises(BadKeyError):
            self.put(backend, key)
        with pytest.raises(BadKeyError):
            backend.read(key)
        with pytest.raises(BadKeyError):
            backend.stat(key)
        with pytest.raises((BadKeyError, StoreRefusesError)):
            backend.delete(key)
        if key:
            with pytest.raises(BadKeyError):
                list(backend.items(key))
        assert list(backend.items()) == []

    def test_a_key_that_is_not_there_is_missing(self, backend):
        self.put(backend, "a/b")

        for key in ("b", "a", "a/c", "a/b/c", "ab"):
            self.assert_absent(backend, key)

    # Reading.

    @pytest.mark.parametrize("fresh", [False, True])
    def test_any_range_can_be_read(self, backend, fresh):
        data = os.urandom(9 * MIB + 77)
        self.put(backend, "k", data)
        ends = [0, 1, 4095, 4096, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB, len(data) - 1, len(data), len(data) + 9]

        for offset in ends:
            for length in (None, 0, 1, 5_000, 4 * MIB, 20 * MIB):
                found = self.get(backend, "k", offset=offset, length=length, fresh=fresh)
                assert found == data[offset : None if length is None else offset + length], (offset, length)

    @pytest.mark.parametrize("fresh", [False, True])
    def test_a_reader_fills_buffers_gives_pieces_and_ends(self, backend, fresh):
        data = os.urandom(100_000)
        self.put(backend, "k", data)
        if isinstance(backend, Recalling):
            backend.recall(["k"])

        buffer = memoryview(bytearray(70_000))
        with backend.read("k", fresh=fresh) as reader:
            assert reader.readinto(buffer[:0]) == 0
            assert reader.read(0) == b""
            assert reader.read(10) == data[:10]
            assert reader.readinto(buffer) == 70_000
            assert buffer == data[10:70_010]
            assert reader.readinto(buffer) == 29_990
            assert buffer[:29_990] == data[70_010:]
            assert reader.readinto(buffer) == 0
            assert reader.read() == b""
            assert reader.reach in Reach
        reader.close()

    def test_two_readers_do_not_disturb_each_other(self, backend):
        self.put(backend, "k", b"0123456789")
        if isinstance(backend, Recalling):
            backend.recall(["k"])

        with backend.read("k") as one, backend.read("k", offset=5) as other:
            assert (one.read(2), other.read(2), one.read(2), other.read()) == (b"01", b"56", b"23", b"789")

    # Listing.

    def test_a_listing_is_in_the_byte_order_of_whole_keys(self, backend):
        keys = ["a/b", "a.b", "a-b", "a/b.c", "a", "a0", "B", "á", "b/c/d", "b/c.d"]
        keys.remove("a")  # a disk cannot hold "a" beside "a/b"
        for key in keys:
            self.put(backend, key)

        assert [item.key for item in backend.items()] == sorted(keys, key=str.encode)

    def test_a_prefix_is_of_whole_segments(self, backend):
        for key in ("packs/f1/a", "packs/f1/b/c", "packs/f10/a", "packs-old/a", "index"):
            self.put(backend, key)

        def keys(prefix):
            return [item.key for item in backend.items(prefix)]

        assert keys("packs") == ["packs/f1/a", "packs/f1/b/c", "packs/f10/a"]
        assert keys("packs/f1") == ["packs/f1/a", "packs/f1/b/c"]
        assert keys("packs/f") == []
        assert keys("index") == []
        assert keys("nothing/here") == []

    def test_a_listing_holds_while_others_write(self, backend):
        before = [f"d{n % 7}/{n:03}" for n in range(60)]
        for key in before:
            self.put(backend, key)

        found = []
        for number, item in enumerate(backend.items()):
            found.append(item.key)
            if number < 20:
                self.put(backend, f"d{number % 9}/new{number}")
        assert found == sorted(set(found))
        assert set(before) <= set(found)

    def test_a_listing_can_be_left_early(self, backend):
        for number in range(10):
            self.put(backend, f"d/{number}")

        assert next(iter(backend.items())).key == "d/0"

    # Deleting.

    def test_a_deleted_item_is_gone_and_its_key_free(self, backend):
        if not self.deletes:
            pytest.skip("this medium cannot delete")
        self.put(backend, "a/b/c", b"old")
        self.put(backend, "a/d")
        backend.delete("a/b/c")

        self.assert_absent(backend, "a/b/c")
        for key in ("a/b/c", "a/b", "a"):
            with pytest.raises(KeyMissingError):
                backend.delete(key)
        self.put(backend, "a/b", b"new")
        assert self.get(backend, "a/b") == b"new"
        assert [item.key for item in backend.items()] == ["a/b", "a/d"]

    def test_a_medium_that_cannot_delete_says_so_and_keeps_the_item(self, backend):
        if self.deletes:
            pytest.skip("this medium can delete")
        self.put(backend, "k")
        with pytest.raises(StoreRefusesError):
            backend.delete("k")

        assert self.get(backend, "k") == b"content"

    def test_a_listing_holds_while_others_delete(self, backend):
        if not self.deletes:
            pytest.skip("this medium cannot delete")
        for number in range(40):
            self.put(backend, f"d{number % 4}/{number:02}")

        found = []
        for item in backend.items():
            found.append(item.key)
            if item.key.startswith("d0"):
                with suppress(KeyMissingError):
                    backend.delete(item.key.replace("d0", "d1")[:3] + f"{int(item.key[3:]) + 1:02}")
        assert found == sorted(set(found))
        assert {f"d{n % 4}/{n:02}" for n in range(40) if n % 4 != 1} <= set(found)

    # A place that is not there.

    def test_of_a_store_that_is_away_nothing_is_said_about_its_items(self, backend):
        self.put(backend, "k")
        draft = backend.create() if isinstance(backend, Drafting) else None
        item = backend.stat("k")
        self.make_unreachable(backend)

        for ask in (
            lambda: backend.stat("k"),
            lambda: backend.stat("never there"),
            lambda: backend.read("k"),
            lambda: backend.read("never there"),
            lambda: list(backend.items()),
            lambda: list(backend.items("nothing/here")),
            lambda: self.put(backend, "new"),
        ):
            with pytest.raises(StoreUnavailableError):
                ask()
        if self.deletes:
            with pytest.raises(StoreUnavailableError):
                backend.delete("k")
        if isinstance(backend, Replacing):
            with pytest.raises(StoreUnavailableError):
                backend.replace("k", item, 1, io.BytesIO(b"x"))
        if isinstance(backend, Sized):
            with pytest.raises(StoreUnavailableError):
                backend.space()
        if isinstance(backend, Located):
            with pytest.raises(StoreUnavailableError):
                backend.whereabouts()
        if isinstance(backend, Drafting):
            with pytest.raises(StoreUnavailableError):
                backend.create()
            with pytest.raises(StoreUnavailableError):
                draft.commit("late")
            draft.abort()
