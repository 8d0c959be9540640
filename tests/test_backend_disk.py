"""What only a disk can get wrong: durability, mounts, space."""

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress

import pytest
from backend_disk_support import ROOT, SCRIPT, drafts, get, keys, mounted, put, store_at, traced
from backend_sources import MIB, PROFILE, Patterned

from storage_backends.backend import DRAFTS, MARKER_KEY, Reach, share_device
from storage_backends.disk import DiskBackend, initialise
from storage_backends.errors import (
    StorageError,
    StoreFullError,
    StoreRefusesError,
    StoreUnavailableError,
)


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
        mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if mkfs is None:
            pytest.skip("mkfs.ext4 is not installed")
        subprocess.run([mkfs, "-q", str(image)], check=True, capture_output=True)
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
