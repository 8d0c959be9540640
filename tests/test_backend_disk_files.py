"""What only a disk can get wrong: the page cache, strangers in the folder, races."""

import io
import mmap
import os
import stat
import threading

import pytest
from backend_disk_support import get, keys, mounted, put, store_at
from backend_sources import MIB, Patterned

from storage_backends.backend import MARKER_KEY, Reach
from storage_backends.disk_mounts import LOCAL, mount_of
from storage_backends.disk_reading import DirectReader, FileReader, resident
from storage_backends.errors import (
    BadKeyError,
    KeyExistsError,
    KeyMissingError,
    ReadFailureError,
    StorageError,
    StoreUnavailableError,
)
from storage_backends.tape.drive import RECORD, Place
from storage_backends.tape.image import ImageDrive, Settings, make_cartridge


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return store_at(folder)


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=24m", "none") as path:
        yield path


def bytes_from_the_medium():
    with open("/proc/self/io") as rows:
        return next(int(row.split()[1]) for row in rows if row.startswith("read_bytes:"))


class TestFreshReads:
    SIZE = 24 * MIB + 1_000

    @pytest.fixture
    def stored(self, store, folder):
        """A store with an item that lies in the page cache."""
        with open(folder / MARKER_KEY) as marker:
            if mount_of(marker.fileno()).kind not in LOCAL:
                pytest.skip("the test folder is not on a local disk's file system")
        store.write("k", self.SIZE, Patterned(self.SIZE))
        get(store, "k")
        return store

    def test_a_fresh_read_of_a_cached_item_reaches_the_medium(self, stored):
        before = bytes_from_the_medium()
        with stored.read("k", fresh=True) as reader:
            assert len(reader.read()) == self.SIZE
            assert isinstance(reader, FileReader)
            assert reader.reach is Reach.MEDIUM

        assert bytes_from_the_medium() - before >= self.SIZE

    def test_a_plain_read_of_a_cached_item_does_not_and_says_so(self, stored):
        before = bytes_from_the_medium()
        with stored.read("k") as reader:
            assert len(reader.read()) == self.SIZE
            assert reader.reach is Reach.HOST_CACHE

        assert bytes_from_the_medium() - before < MIB

    @pytest.mark.parametrize("offset", [0, 5 * MIB + 7])
    def test_pages_that_cannot_be_dropped_are_read_past_the_cache(self, stored, folder, offset):
        with open(folder / "k", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
            expected = held[offset:]
            before = bytes_from_the_medium()
            with stored.read("k", offset=offset, fresh=True) as reader:
                found = reader.read()
                assert isinstance(reader, DirectReader)
                assert reader.reach is Reach.MEDIUM

        assert found == expected
        assert bytes_from_the_medium() - before >= self.SIZE - offset

    def test_a_direct_reader_can_be_closed_at_any_time(self, stored, folder):
        with open(folder / "k", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
            assert held[0] == held[0]
            for size in (0, 1, 5 * MIB):
                reader = stored.read("k", fresh=True)
                assert isinstance(reader, DirectReader)
                reader.read(size)
                reader.close()
                reader.close()

    def test_a_fresh_read_leaves_no_pages_behind(self, stored, folder):
        with open(folder / "k", "rb") as file:
            assert resident(file.fileno(), 0, self.SIZE)
            get(stored, "k", fresh=True)
            assert not resident(file.fileno(), 0, self.SIZE)

    def test_a_fresh_read_asks_the_medium_for_nothing_twice(self, stored):
        before, buffer = bytes_from_the_medium(), memoryview(bytearray(MIB))
        with stored.read("k", fresh=True) as reader:
            while reader.readinto(buffer):
                pass
        assert bytes_from_the_medium() - before < self.SIZE + MIB // 2

    def test_a_fresh_read_of_an_image_cartridge_gives_its_pages_back_as_it_goes(self, stored, folder):
        drive, count = ImageDrive("drive"), self.SIZE // RECORD
        image = make_cartridge(str(folder), "AAA001IM", Settings())
        drive.insert(image)
        for _ in range(count):
            drive.write(b"x" * RECORD)
        drive.write_filemark(synchronous=True)

        with open(image, "rb") as file:
            assert resident(file.fileno(), 0, 16 * MIB)
            before = bytes_from_the_medium()
            assert drive.reach(Place(0, 0, 0), count) is Reach.MEDIUM
            for _ in range(count):
                assert drive.read(RECORD) == b"x" * RECORD
            assert not resident(file.fileno(), 0, 16 * MIB)
        assert self.SIZE <= bytes_from_the_medium() - before < self.SIZE + 2 * MIB

    def test_a_draft_is_read_back_from_the_medium(self, stored):
        draft = stored.create()
        draft.write(b"x" * self.SIZE)
        before = bytes_from_the_medium()
        with draft.read_back() as reader:
            assert reader.read() == b"x" * self.SIZE
            assert reader.reach is Reach.MEDIUM
        draft.abort()

        assert bytes_from_the_medium() - before >= self.SIZE

    def test_of_memory_nothing_better_than_the_cache_is_claimed(self, small_disk):
        store = store_at(small_disk, reserve=0)
        put(store, "k", b"x" * 5 * MIB)
        with store.read("k", fresh=True) as reader:
            assert reader.read() == b"x" * 5 * MIB
            assert reader.reach is Reach.HOST_CACHE


class TestStrangers:
    """Things in the folder that we did not put there."""

    @pytest.fixture
    def secret(self, tmp_path):
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "x").write_text("not ours to give")
        return tmp_path / "secret"

    def test_a_link_is_never_followed(self, store, folder, secret):
        put(store, "a/real")
        os.symlink(secret / "x", folder / "a" / "link")
        os.symlink("real", folder / "a" / "inner")
        os.symlink(secret, folder / "b")

        assert keys(store) == ["a/real"]
        for key in ("a/link", "a/inner", "b/x", "b/none"):
            with pytest.raises(ReadFailureError, match="symbolic link"):
                store.stat(key)
            with pytest.raises(ReadFailureError):
                store.read(key)
        with pytest.raises(KeyExistsError):
            put(store, "a/link")
        with pytest.raises(BadKeyError):
            put(store, "b/new")
        assert os.listdir(secret) == ["x"]
        assert (secret / "x").read_text() == "not ours to give"

    def test_a_deleted_link_is_only_the_link(self, store, folder, secret):
        os.symlink(secret / "x", folder / "link")
        os.symlink(secret, folder / "b")
        store.delete("link")
        with pytest.raises(StorageError):
            store.delete("b/x")

        assert (secret / "x").exists()
        assert not (folder / "link").is_symlink()

    def test_a_link_in_place_of_the_marker_is_no_marker(self, store, folder):
        (folder / MARKER_KEY).rename(folder / "elsewhere")
        os.symlink("elsewhere", folder / MARKER_KEY)
        with pytest.raises(StoreUnavailableError):
            keys(store)

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)])
    def test_a_special_file_does_not_hang_a_reader(self, store, folder, make):
        make(folder / "special")
        with pytest.raises(ReadFailureError):
            store.read("special")
        with pytest.raises(ReadFailureError):
            store.stat("special")

        assert keys(store) == []

    def test_names_that_no_key_can_have_are_passed_over(self, store, folder):
        put(store, "k")
        for name in (b"\xff\xfe", b"new\nline"):
            with open(os.path.join(os.fsencode(folder), name), "wb"):
                pass

        assert keys(store) == ["k"]

    def test_an_empty_folder_in_the_way_of_an_item_is_removed(self, store, folder):
        (folder / "a" / "k").mkdir(parents=True)
        with pytest.raises(KeyMissingError):
            store.stat("a/k")
        put(store, "a/k")

        assert get(store, "a/k") == b"content"

    def test_an_item_and_a_folder_cannot_have_one_name(self, store):
        put(store, "a/k")
        with pytest.raises(BadKeyError):
            put(store, "a")
        with pytest.raises(BadKeyError):
            put(store, "a/k/below")

        assert keys(store) == ["a/k"]


def test_writers_survive_deletes_that_tidy_their_folders_away(store):
    errors = []

    def churn(name):
        try:
            for number in range(40):
                put(store, f"p/q/r/{name}{number}", b"x")
                store.delete(f"p/q/r/{name}{number}")
        except Exception as error:  # noqa: BLE001 - whatever a thread meets
            errors.append(error)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert keys(store) == []


def test_no_descriptor_is_left_open(store):
    def churn():
        item = put(store, "a/b/k", b"x" * 5 * MIB)
        get(store, "a/b/k", fresh=True)
        next(store.items())
        for bad in (lambda: store.stat("a/b"), lambda: store.read("c/d"), lambda: put(store, "a/b/k")):
            with pytest.raises(StorageError):
                bad()
        store.replace("a/b/k", item, 3, io.BytesIO(b"new"))
        draft = store.create()
        draft.read_back().close()
        draft.abort()
        store.delete("a/b/k")

    churn()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        churn()
    assert len(os.listdir("/proc/self/fd")) == before
