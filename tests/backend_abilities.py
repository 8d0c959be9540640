"""The part of the storage contract that holds for optional abilities: drafts, replacing, recall, space, place."""

import io
import itertools
import os

import pytest
from backend_sources import (
    MIB,
    Scripted,
    SourceBrokeError,
    breaking_at,
)

from storage_backends.backend import (
    Drafting,
    Item,
    Located,
    Recalling,
    Replacing,
    Sized,
)
from storage_backends.errors import (
    BadKeyError,
    GenerationChangedError,
    KeyExistsError,
    KeyMissingError,
    NotRecalledError,
    SourceLengthError,
    StorageError,
)


class AbilitiesContract:
    """Skips what the backend of the fixture ``backend`` cannot do."""

    # What the tests need again and again.

    def put(self, backend, key, data=b"content"):
        return backend.write(key, len(data), io.BytesIO(data))

    def get(self, backend, key, **how):
        if isinstance(backend, Recalling):
            backend.recall([key])
        with backend.read(key, **how) as reader:
            return reader.read()

    def assert_absent(self, backend, key):
        with pytest.raises(KeyMissingError):
            backend.stat(key)
        with pytest.raises(KeyMissingError):
            backend.read(key)
        assert key not in [item.key for item in backend.items()]

    # Abilities: drafts named late.

    @pytest.fixture
    def drafting(self, backend):
        if not isinstance(backend, Drafting):
            pytest.skip("this medium has no drafts")
        return backend

    @pytest.mark.parametrize("size", [0, 10, MIB + 1, 9 * MIB + 5])
    def test_a_draft_is_invisible_until_it_is_committed(self, drafting, size):
        data = os.urandom(size)
        draft = drafting.create()
        for at in range(0, size, 700_001):
            draft.write(data[at : at + 700_001])
        assert list(drafting.items()) == []
        with draft.read_back() as reader:
            assert reader.read() == data
        assert list(drafting.items()) == []
        item = draft.commit("late/name")

        assert drafting.stat("late/name") == item
        assert item.size == size
        assert self.get(drafting, "late/name") == data

    def test_a_draft_can_be_continued_after_it_was_read_back(self, drafting):
        draft, data = drafting.create(), os.urandom(13 * MIB + 3)
        cuts = [0, 5_000, 2 * MIB + 17, 5 * MIB, 9 * MIB + 1, len(data)]
        for start, end in itertools.pairwise(cuts):
            draft.write(data[start:end])
            with draft.read_back() as reader:
                assert reader.read() == data[:end]
        draft.commit("k")

        assert self.get(drafting, "k") == data

    def test_a_buffer_may_be_reused_after_it_was_written_to_a_draft(self, drafting):
        draft, buffer = drafting.create(), bytearray(3 * MIB)
        for letter in b"abcd":
            buffer[:] = bytes([letter]) * len(buffer)
            draft.write(memoryview(buffer))
        draft.commit("k")

        assert self.get(drafting, "k") == b"".join(bytes([letter]) * len(buffer) for letter in b"abcd")

    def test_an_aborted_draft_leaves_nothing(self, drafting):
        draft = drafting.create()
        draft.write(b"x" * 5 * MIB)
        draft.abort()
        draft.abort()

        assert list(drafting.items()) == []
        for act in (lambda: draft.write(b"x"), lambda: draft.commit("k"), draft.read_back):
            with pytest.raises(StorageError):
                act()
        assert drafting.clear_drafts() == 0

    def test_an_abort_after_a_commit_is_harmless(self, drafting):
        draft = drafting.create()
        draft.write(b"kept")
        draft.commit("k")
        draft.abort()

        assert self.get(drafting, "k") == b"kept"
        with pytest.raises(StorageError):
            draft.commit("again")

    def test_a_draft_whose_name_is_taken_can_still_have_another(self, drafting):
        self.put(drafting, "taken", b"first")
        draft = drafting.create()
        draft.write(b"second")
        with pytest.raises(KeyExistsError):
            draft.commit("taken")
        with pytest.raises(BadKeyError):
            draft.commit("../out")
        draft.commit("free")

        assert self.get(drafting, "taken") == b"first"
        assert self.get(drafting, "free") == b"second"

    def test_drafts_of_the_living_are_not_cleared(self, drafting):
        draft = drafting.create()
        draft.write(b"alive")

        assert drafting.clear_drafts() == 0
        assert draft.commit("k").size == 5

    # Abilities: replacing.

    @pytest.fixture
    def replacing(self, backend):
        if not isinstance(backend, Replacing):
            pytest.skip("this medium cannot replace")
        return backend

    def test_exactly_the_expected_generation_is_replaced(self, replacing):
        first = self.put(replacing, "a/k", b"first!")
        second = replacing.replace("a/k", first, 6, io.BytesIO(b"second"))

        assert second == replacing.stat("a/k")
        assert second.generation != first.generation
        assert self.get(replacing, "a/k") == b"second"
        with pytest.raises(GenerationChangedError):
            replacing.replace("a/k", first, 5, io.BytesIO(b"third"))
        assert self.get(replacing, "a/k") == b"second"
        assert list(replacing.items()) == [second]

    def test_nothing_is_replaced_where_nothing_is(self, replacing):
        with pytest.raises(GenerationChangedError):
            replacing.replace("k", Item("k", 0, "0"), 3, io.BytesIO(b"new"))

        self.assert_absent(replacing, "k")

    def test_what_changes_while_the_new_bytes_come_is_not_replaced(self, replacing):
        first = self.put(replacing, "k", b"first")

        def meddle(number):
            if number == 1:
                replacing.replace("k", first, 6, io.BytesIO(b"meddle"))

        with pytest.raises(GenerationChangedError):
            replacing.replace("k", first, 4, Scripted(b"mine", during=meddle))
        assert self.get(replacing, "k") == b"meddle"

    @pytest.mark.parametrize("source", [Scripted(b"x" * 9), Scripted(b"x" * 11), None])
    def test_a_failed_replacement_leaves_the_item_as_it_was(self, replacing, source):
        first = self.put(replacing, "k", b"first")
        source = source or Scripted(b"x" * 10, during=breaking_at(2, SourceBrokeError()))
        with pytest.raises((SourceLengthError, SourceBrokeError)):
            replacing.replace("k", first, 10, source)

        assert replacing.stat("k") == first
        assert self.get(replacing, "k") == b"first"

    def test_a_reader_never_sees_a_mixture_of_generations(self, replacing):
        old, new = b"o" * 6 * MIB, b"n" * 6 * MIB
        first = self.put(replacing, "k", old)
        with replacing.read("k") as reader:
            start = reader.read(MIB)
            replacing.replace("k", first, len(new), Scripted(new, during=lambda _: self.get(replacing, "k") == old))
            assert start + reader.read() == old
        assert self.get(replacing, "k") == new

    # Abilities: recall, space, place.

    def test_what_must_be_recalled_cannot_be_read_before(self, backend):
        if not isinstance(backend, Recalling):
            pytest.skip("this medium is always at hand")
        self.put(backend, "k")
        with pytest.raises(NotRecalledError):
            backend.read("k")
        assert backend.stat("k").size == 7
        backend.recall(["k"])

        assert self.get(backend, "k") == b"content"
        with pytest.raises(KeyMissingError):
            backend.recall(["k", "never there"])

    def test_space_is_what_can_be_written_of_what_there_is(self, backend):
        if not isinstance(backend, Sized):
            pytest.skip("this medium does not know its size")
        space = backend.space()

        assert 0 <= space.free <= space.total

    def test_whereabouts_name_something(self, backend):
        if not isinstance(backend, Located):
            pytest.skip("this medium does not know where it lies")

        assert all([backend.whereabouts().file_system, backend.whereabouts().device])
