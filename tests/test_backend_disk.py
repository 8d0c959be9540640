"""What only a disk can get wrong: durability, mounts, links, space, the page cache."""

import io
import mmap
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from backend_contract import MIB, PROFILE, Patterned

from storage_backends.backend import DRAFTS, MARKER_KEY, Reach, share_device
from storage_backends.disk import DiskBackend, initialise
from storage_backends.disk_mounts import LOCAL, mount_of
from storage_backends.disk_reading import DirectReader, FileReader, resident
from storage_backends.errors import (
    BadKeyError,
    KeyExistsError,
    KeyMissingError,
    ReadFailureError,
    StorageError,
    StoreFullError,
    StoreRefusesError,
    StoreUnavailableError,
)

ROOT = Path(__file__).parent.parent


def store_at(path, reserve=64 * MIB):
    initialise(str(path), "store-1")
    return DiskBackend(str(path), store_id="store-1", profile=PROFILE, reserve=reserve)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return store_at(folder)


def put(store, key, data=b"content"):
    return store.write(key, len(data), io.BytesIO(data))


def get(store, key, **how):
    with store.read(key, **how) as reader:
        return reader.read()


def keys(store):
    return [item.key for item in store.items()]


def drafts(folder):
    return os.listdir(folder / DRAFTS)


@contextmanager
def mounted(path, *options):
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(path)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=24m", "none") as path:
        yield path


SCRIPT = """
import io, sys
sys.path.insert(0, {root!r})
from storage_backends.backend import StorageProfile
from storage_backends.disk import DiskBackend
from storage_backends.errors import MocbanError
store = DiskBackend({folder!r}, store_id="store-1", profile=StorageProfile(medium="disk", site="here"))
def put(key, size):
    return store.write(key, size, io.BytesIO(b"x" * size))
try:
    {act}
except MocbanError as error:
    print(type(error).__name__, error)
"""


def traced(folder, act, *options):
    """Run ``act`` under strace; return what it printed and the calls that were traced."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    script = SCRIPT.format(root=str(ROOT), folder=str(folder), act=act)
    log = folder.parent / "strace.log"
    command = ["strace", "-f", "-y", "-qq", "-o", str(log), *options, sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("may not trace")
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip(), log.read_text().splitlines()


class TestDurability:
    @pytest.mark.parametrize("size", [10, 9 * MIB])
    def test_bytes_are_durable_before_the_name_and_every_folder_after_it(self, store, folder, size):
        _, calls = traced(folder, f"put('packs/f1/ab/x.tar', {size})", "-e", "trace=fsync,fdatasync,link,linkat")
        steps = [
            "link"
            if " link" in call
            else call.partition("<")[2].partition(">")[0].replace(str(folder), "ROOT").replace("\\", "")
            for call in calls
            if "fsync" in call or "link" in call
        ]
        linked = steps.index("link")

        assert [step for step in steps[:linked] if step.startswith(f"ROOT/{DRAFTS}/")] == [steps[linked - 1]]
        assert steps[linked + 1 :] == ["ROOT/packs/f1/ab", "ROOT/packs/f1", "ROOT/packs", "ROOT"]

    @pytest.mark.parametrize("when", [1, 2, 3, 4, 5])
    def test_a_failed_fsync_is_a_failed_write_and_leaves_nothing(self, store, folder, when):
        inject = f"inject=fsync:error=EIO:when={when}"
        printed, _ = traced(folder, "put('packs/f1/ab/x.tar', 10)", "-e", "trace=fsync", "-e", inject)

        assert printed.startswith("StorageError")
        assert keys(store) == []
        assert drafts(folder) == []

    def test_a_failed_fsync_is_never_tried_again(self, store, folder):
        act = """
    draft = store.create(); draft.write(b"x")
    for key in ("a", "b"):
        try:
            draft.commit(key)
        except MocbanError as error:
            print(error)
    draft.abort()
"""
        inject = "inject=fsync:error=EIO:when=1"
        printed, calls = traced(folder, act, "-e", "trace=fsync", "-e", inject)

        assert printed.count("Store failure") == 2
        assert len([call for call in calls if DRAFTS in call]) == 1
        assert keys(store) == []

    @pytest.mark.parametrize(
        "fault",
        [
            ("pwrite64", "ENOSPC", "StoreFullError"),
            ("pwrite64", "EDQUOT", "StoreFullError"),
            ("pwrite64", "EIO", "StorageError"),
            ("pwrite64", "ENODEV", "StoreUnavailableError"),
            ("linkat", "ENOSPC", "StoreFullError"),
            ("linkat", "EPERM", "StoreRefusesError"),
            ("mkdirat", "EROFS", "StoreRefusesError"),
        ],
    )
    @pytest.mark.parametrize("size", [10, 13 * MIB])
    def test_every_error_has_its_meaning_and_leaves_nothing(self, store, folder, fault, size):
        call, error, expected = fault
        # The first mkdirat is that of the drafts' folder, which is there already.
        inject = f"inject={call}:error={error}:when={2 if call == 'mkdirat' else 1}"
        printed, _ = traced(folder, f"put('packs/x', {size})", "-e", f"trace={call}", "-e", inject)

        assert printed.split()[0] == expected
        assert keys(store) == []
        assert drafts(folder) == []

    @pytest.mark.parametrize(
        ("error", "expected"),
        [("EIO", "ReadFailureError"), ("ENODEV", "StoreUnavailableError"), ("ESTALE", "StoreUnavailableError")],
    )
    @pytest.mark.parametrize("fresh", [True, False])
    def test_an_error_while_reading_has_its_meaning(self, store, folder, error, expected, fresh):
        put(store, "k", b"x" * 9 * MIB)
        act = f"store.read('k', fresh={fresh}).read()"
        printed, _ = traced(
            folder, act, "-e", "trace=preadv,preadv2", "-e", f"inject=preadv,preadv2:error={error}:when=1"
        )

        assert printed.split()[0] == expected

    def test_items_cannot_be_written_to(self, store, folder):
        put(store, "a/k")
        put(store, "large", b"x" * 5 * MIB)

        for name in ("a/k", "large", MARKER_KEY):
            assert stat.S_IMODE(os.stat(folder / name).st_mode) & 0o222 == 0
            assert os.stat(folder / name).st_nlink == 1


class TestDrafts:
    def test_a_killed_writer_s_draft_is_cleared_and_a_living_one_s_is_kept(self, store, folder):
        act = """
    draft = store.create(); draft.write(b"x" * (5 << 20)); print("ready", flush=True); sys.stdin.read()
"""
        script = SCRIPT.format(root=str(ROOT), folder=str(folder), act=act)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", script], **pipes) as writer:
            assert writer.stdout.readline() == b"ready\n"
            mine = store.create()
            assert len(drafts(folder)) == 2
            assert store.clear_drafts() == 0
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert store.clear_drafts() == 1
        assert len(drafts(folder)) == 1
        assert mine.commit("k").size == 0
        assert keys(store) == ["k"]

    def test_a_draft_left_beside_its_committed_item_is_only_a_second_name(self, store, folder):
        """As a crash between link and unlink leaves it."""
        put(store, "k", b"kept")
        os.link(folder / "k", folder / DRAFTS / "123-0")

        assert store.clear_drafts() == 1
        assert get(store, "k") == b"kept"

    def test_a_lost_drafts_folder_is_made_again(self, store, folder):
        os.rmdir(folder / DRAFTS)
        put(store, "k")

        assert get(store, "k") == b"content"


class TestPlace:
    def test_an_unmounted_mount_point_is_not_an_empty_store(self, tmp_path):
        with mounted(tmp_path / "mnt", "-t", "tmpfs", "none") as path:
            store = store_at(path, reserve=0)
            put(store, "k")
            assert keys(store) == ["k"]
        assert os.listdir(tmp_path / "mnt") == []

        for ask in (lambda: store.stat("k"), lambda: keys(store), lambda: put(store, "new"), store.space):
            with pytest.raises(StoreUnavailableError, match="is it mounted"):
                ask()
        assert os.listdir(tmp_path / "mnt") == []

    def test_another_store_in_the_same_place_is_noticed(self, store, folder):
        put(store, "k")
        folder.rename(folder.with_name("away"))
        initialise(str(folder), "store-2")

        with pytest.raises(StoreUnavailableError, match="store-2"):
            store.stat("k")

    def test_a_store_that_comes_back_is_used_again(self, store, folder):
        put(store, "k")
        folder.rename(folder.with_name("away"))
        with pytest.raises(StoreUnavailableError):
            store.stat("k")
        folder.with_name("away").rename(folder)

        assert get(store, "k") == b"content"

    def test_two_stores_on_one_disk_are_found_out(self, store, tmp_path, small_disk):
        same, other = store_at(tmp_path / "other"), store_at(small_disk, reserve=0)

        assert share_device(store.whereabouts(), same.whereabouts())
        assert not share_device(store.whereabouts(), other.whereabouts())
        assert other.whereabouts().device == "memory"

    def test_a_loop_device_lies_on_the_disk_of_its_file(self, store, tmp_path):
        image = tmp_path / "image"
        with open(image, "wb") as file:
            file.truncate(16 * MIB)
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not installed")
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        with mounted(tmp_path / "loop", "-o", "loop", str(image)) as path:
            looped = store_at(path, reserve=0)
            put(looped, "k", b"x" * MIB)

            assert keys(looped) == ["k"]
            assert looped.whereabouts().file_system != store.whereabouts().file_system
            assert share_device(store.whereabouts(), looped.whereabouts())
            with looped.read("k", fresh=True) as reader:
                assert reader.reach is Reach.HOST_CACHE, "the image's own pages are a cache too"
            assert looped.write("large", 5 * MIB, Patterned(5 * MIB)).size == 5 * MIB

    def test_a_read_only_store_is_read_and_refuses_the_rest(self, store, folder, tmp_path):
        item = put(store, "a/k")
        store.create().write(b"a draft")
        with mounted(tmp_path / "bound", "--bind", str(folder)) as path:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
            bound = DiskBackend(str(path), store_id="store-1", profile=PROFILE)

            assert get(bound, "a/k", fresh=True) == b"content"
            assert list(bound.items()) == [item]
            assert bound.space().total > 0
            for act in (
                lambda: put(bound, "b"),
                lambda: bound.delete("a/k"),
                lambda: bound.replace("a/k", item, 1, io.BytesIO(b"x")),
                bound.create,
            ):
                with pytest.raises(StoreRefusesError, match="Read-only"):
                    act()
        assert get(store, "a/k") == b"content"


class TestSpace:
    def test_an_item_that_would_eat_into_the_reserve_is_refused_before_it_is_read(self, small_disk):
        store = store_at(small_disk, reserve=16 * MIB)

        assert 7 * MIB < store.space().free <= 8 * MIB
        with pytest.raises(StoreFullError) as caught:
            store.write("packs/x", 10 * MIB, None)
        assert caught.value.evidence["needed"] == 10 * MIB
        assert caught.value.evidence["reserve"] == 16 * MIB
        put(store, "packs/small", b"x" * MIB)

    def test_the_ledger_may_use_the_reserve(self, small_disk):
        store = store_at(small_disk, reserve=16 * MIB)
        put(store, "ledger/tail/0-9", b"x" * 10 * MIB)

        assert store.space().free == 0
        with pytest.raises(StoreFullError):
            put(store, "packs/x", b"x")

    def test_a_draft_of_unknown_size_stops_at_the_reserve(self, small_disk):
        store = store_at(small_disk, reserve=8 * MIB)
        draft = store.create()
        with pytest.raises(StoreFullError):
            draft.write(b"x" * 32 * MIB)
        with pytest.raises(StorageError):
            draft.commit("k")
        draft.abort()

        assert drafts(small_disk) == []
        assert store.space().free > 15 * MIB

    def test_a_full_disk_leaves_the_key_as_it_was(self, small_disk):
        store = store_at(small_disk, reserve=0)
        with pytest.raises(StoreFullError):
            store.write("k", 30 * MIB, Patterned(30 * MIB))
        with open(small_disk / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * MIB)
        with pytest.raises(StoreFullError):
            put(store, "k", b"x" * 10_000)

        assert keys(store) == ["filler"]
        assert drafts(small_disk) == []


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
