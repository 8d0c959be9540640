"""Folders that change under our hands, are deep or many, or cannot be taken at all."""

import os
import random
import subprocess
import threading
import time
import tracemalloc

import pytest
from submission_support import QUOTAS, bag, contents, file_at, left_in, opened, paths, write

from preservation.submission import open_submission
from preservation.submission.entries import Quotas
from preservation.submission.errors import (
    NameTooLongError,
    SpecialFileError,
    StagingInsideError,
    SubmissionChangedError,
    SubmissionEmptyError,
    SubmissionMissingError,
    SubmissionRefusedError,
    SubmissionUnreadableError,
    SymbolicLinkError,
    TooDeepError,
)
from preservation.submission.folders import OPEN_FOLDERS


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def staging(tmp_path):
    return tmp_path / "staging"


def refused(error, root, staging, **more):
    """Open, be refused, and leave nothing behind."""
    with pytest.raises(error) as caught, opened(root, staging, **more) as submission:
        contents(submission)
    assert left_in(staging) == []
    return caught.value


class TestChanges:
    @pytest.fixture
    def submission(self, root, staging):
        write(root, {"a": b"12345", "sub/b": b"b", "z": b"z"})
        with opened(root, staging) as submission:
            yield submission

    def test_a_file_that_grows_shrinks_or_is_touched_is_refused(self, submission, root):
        for change in (b"123456", b"1", b"54321"):
            file = file_at(submission, b"a")
            (root / "a").write_bytes(change)
            with pytest.raises(SubmissionChangedError, match="a: changed while read"):
                submission.read_small(file, 1000)
            with pytest.raises(SubmissionChangedError):
                submission.open(file)
            (root / "a").write_bytes(b"12345")
            submission._tree._seal = None

    def test_a_file_with_restored_size_and_time_is_still_refused(self, submission, root):
        file = file_at(submission, b"a")
        before = os.stat(root / "a")
        time.sleep(0.02)
        (root / "a").write_bytes(b"54321")
        os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

        with pytest.raises(SubmissionChangedError, match="size or times"):
            submission.read_small(file, 1000)

    def test_a_change_between_opening_and_the_end_is_seen(self, submission, root):
        file = file_at(submission, b"a")
        with submission.open(file) as source:
            source.read(2)
            (root / "a").write_bytes(b"12945")
            with pytest.raises(SubmissionChangedError):
                submission.changed(file, source.fileno())

    def test_a_file_put_in_the_place_of_another_is_refused(self, submission, root):
        file = file_at(submission, b"a")
        (root / "new").write_bytes(b"12345")
        os.replace(root / "new", root / "a")

        with pytest.raises(SubmissionChangedError, match="another file"):
            submission.read_small(file, 1000)

    def test_a_symbolic_link_swapped_in_after_the_scan_is_not_followed(self, submission, root, tmp_path):
        (tmp_path / "secret").write_bytes(b"12345")
        file = file_at(submission, b"a")
        os.unlink(root / "a")
        os.symlink(tmp_path / "secret", root / "a")

        for read in (lambda: submission.read_small(file, 1000), lambda: submission.open(file)):
            with pytest.raises(SymbolicLinkError, match="a: is a symbolic link"):
                read()
        with pytest.raises(SymbolicLinkError):
            list(submission.entries())

    def test_a_folder_swapped_for_a_symbolic_link_is_not_followed(self, submission, root, tmp_path):
        write(tmp_path / "evil", {"b": b"secret"})
        entries = submission.entries()
        assert b"a" == next(entries).path
        os.rename(root / "sub", tmp_path / "moved")
        os.symlink(tmp_path / "evil", root / "sub")

        with pytest.raises(SubmissionRefusedError):
            next(entries)

    def test_a_folder_moved_away_while_its_files_are_read_cannot_lead_elsewhere(self, submission, root, tmp_path):
        file = file_at(submission, b"sub/b")
        os.rename(root / "sub", tmp_path / "moved")
        write(tmp_path / "evil", {"b": b"!"})
        os.symlink(tmp_path / "evil", root / "sub")
        file.folder.descriptor = None

        with pytest.raises(SubmissionRefusedError) as caught:
            submission.read_small(file, 1000)
        assert caught.value.code in {"symbolic-link", "changed"}

    def test_another_folder_of_the_same_name_is_noticed(self, submission, root, tmp_path):
        file = file_at(submission, b"sub/b")
        os.rename(root / "sub", tmp_path / "moved")
        write(root, {"sub/b": b"b"})
        file.folder.descriptor = None

        with pytest.raises(SubmissionChangedError, match="another folder"):
            submission.read_small(file, 1000)

    def test_a_fifo_swapped_in_does_not_stop_us(self, submission, root):
        file = file_at(submission, b"a")
        os.unlink(root / "a")
        os.mkfifo(root / "a")

        with pytest.raises(SpecialFileError):
            submission.read_small(file, 1000)

    def test_a_file_that_vanishes_is_refused(self, submission, root):
        file = file_at(submission, b"a")
        os.unlink(root / "a")

        with pytest.raises(SubmissionChangedError, match="vanished"):
            submission.read_small(file, 1000)
        with pytest.raises(SubmissionChangedError, match="3 files of 7 bytes became 2"):
            list(submission.entries())

    def test_a_file_added_after_the_scan_ends_the_pass_with_an_error(self, submission, root):
        write(root, {"new": b""})

        with pytest.raises(SubmissionChangedError, match="3 files of 7 bytes became 4"):
            list(submission.entries())

    def test_two_passes_must_see_the_same_files(self, submission, root):
        list(submission.entries())
        (root / "a").write_bytes(b"54321")

        with pytest.raises(SubmissionChangedError, match="earlier pass"):
            list(submission.entries())

    def test_a_writer_at_work_is_noticed(self, root, staging):
        write(root, {"log": bytes(1000)})
        stop = threading.Event()

        def work():
            with open(root / "log", "r+b") as file:
                while not stop.is_set():
                    file.seek(0)
                    file.write(os.urandom(8))
                    file.flush()

        writer = threading.Thread(target=work)
        writer.start()
        try:
            with pytest.raises(SubmissionChangedError), opened(root, staging) as submission:
                list(map(contents, [submission] * 2000))
        finally:
            stop.set()
            writer.join()


class TestBounds:
    def test_trees_deeper_than_path_max_are_walked_and_read(self, root, staging):
        depth = 400
        top = os.open(root, os.O_RDONLY)
        here = top
        for level in range(depth):
            os.mkdir(b"folder-%d" % level, dir_fd=here)
            here = os.open(b"folder-%d" % level, os.O_RDONLY, dir_fd=here)
            os.close(os.open(b"zz", os.O_CREAT | os.O_WRONLY, dir_fd=here))
            if level % 50:
                os.close(os.open(b"aa", os.O_CREAT | os.O_WRONLY, dir_fd=here))

        before = len(os.listdir("/proc/self/fd"))
        with opened(root, staging) as submission:
            found = 0
            for file in submission.entries():
                assert submission.read_small(file, 10) == b""
                found += 1
            assert len(os.listdir("/proc/self/fd")) <= before + OPEN_FOLDERS + 5
            assert 2 * depth - 8 == found == submission.files
            deepest = max(submission.entries(), key=lambda file: len(file.path))
            assert len(deepest.path) > 4096
            assert submission.read_small(deepest, 10) == b""
        subprocess.run(["rm", "-rf", root], check=True)

    def test_a_tree_deeper_than_the_limit_is_refused(self, root, staging):
        write(root, {"a/" * 30 + "x": b""})

        refused(TooDeepError, root, staging, quotas=Quotas(depth=20))
        refused(NameTooLongError, root, staging, quotas=Quotas(path=40))

    def test_files_of_many_folders_can_be_read_later_and_in_any_order(self, root, staging):
        write(root, {f"{number:03}/{number}": b"%d" % number for number in range(4 * OPEN_FOLDERS)})

        with opened(root, staging) as submission:
            files = list(submission.entries())
            random.Random(3).shuffle(files)
            assert all(submission.read_small(f, 9) == f.path.rpartition(b"/")[2] for f in files)

    def test_several_threads_read_while_one_iterates(self, root, staging):
        write(root, {f"{n % 150:03}/{n}": b"%d" % n for n in range(700)})
        wrong = []

        with opened(root, staging) as submission:
            files = list(submission.entries())

            def work(seed):
                mine = files[:]
                random.Random(seed).shuffle(mine)
                wrong.extend(f for f in mine if submission.read_small(f, 9) != f.path.rpartition(b"/")[2])

            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
            for thread in threads:
                thread.start()
            list(submission.entries())
            for thread in threads:
                thread.join()

        assert wrong == []

    def test_a_scan_and_a_pass_keep_no_more_than_one_folder_in_memory(self, root, staging):
        write(root, {f"{n // 500:03}/a file with a rather long name {n}": b"" for n in range(2500)})
        tracemalloc.start()
        try:
            with opened(root, staging) as submission:
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                assert 2500 == sum(1 for _ in submission.entries())
                peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

        assert peak < 300_000

    def test_scanning_and_reading_small_files_is_fast(self, root, staging):
        write(root, {f"{n // 500:03}/{n}": b"x" * 100 for n in range(2000)})

        best = 1e9
        for _ in range(5):
            begin = time.process_time()
            with opened(root, staging) as submission:
                for file in submission.entries():
                    submission.read_small(file, 1 << 23)
            best = min(best, time.process_time() - begin)

        assert best / 2000 < 100e-6, "about 20 microseconds a file are usual"

    def test_descriptors_are_given_back(self, root, staging):
        write(root, {f"{number}/x": b"" for number in range(100)})
        before = len(os.listdir("/proc/self/fd"))

        with opened(root, staging) as submission:
            contents(submission)

        assert before == len(os.listdir("/proc/self/fd"))

    def test_a_closed_submission_is_not_read(self, root, staging):
        write(root, {"sub/x": b""})
        with opened(root, staging) as submission:
            file = file_at(submission, b"sub/x")

        with pytest.raises(SubmissionUnreadableError, match="closed"):
            submission.read_small(file, 10)


class TestWhatCannotBeTaken:
    def test_nothing_at_the_path(self, root, staging):
        refused(SubmissionMissingError, root / "none", staging)
        write(root, {"file": b""})
        refused(SubmissionMissingError, root / "file" / "x", staging)

    def test_a_nul_in_the_path(self, staging):
        refused(SubmissionUnreadableError, "a\0b", staging)

    def test_an_empty_folder_is_no_submission(self, root, staging):
        refused(SubmissionEmptyError, root, staging)

    def test_a_folder_of_empty_folders_is_one(self, root, staging):
        write(root, {"a/": None, "b/c/": None})

        with opened(root, staging) as submission:
            assert [b"a/", b"b/c/"] == paths(submission)

    def test_a_submission_that_contains_the_staging_folder(self, root):
        write(root, {"a": b""})

        error = refused(StagingInsideError, root, root / "repository" / "staging")

        assert "repository/staging" in str(error)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_no_permission(self, root, staging):
        write(root, {"a": b"", "sub/b": b""})
        os.chmod(root / "a", 0)
        assert "a: could not be read: Permission denied" in str(refused(SubmissionUnreadableError, root, staging))
        os.chmod(root / "a", 0o600)
        os.chmod(root / "sub", 0)
        try:
            assert "sub" in str(refused(SubmissionUnreadableError, root, staging))
        finally:
            os.chmod(root / "sub", 0o700)

    def test_every_refusal_has_a_code_of_its_own(self):
        kinds, waiting = [], [SubmissionRefusedError]
        while waiting:
            kinds.append(waiting.pop())
            waiting += kinds[-1].__subclasses__()
        ours = [kind for kind in kinds if kind.__module__ == "preservation.submission.errors"]

        assert len(ours) == len({kind.code for kind in ours}) > 25

    def test_leftovers_of_a_killed_run_are_removed_however_deep(self, root, staging):
        write(root, {"a": b"1"})
        write(staging, {"unpacked/" + "d/" * 300 + "x": b"", "removed/7/x/y": b"", "supplied": b"not a table"})

        with opened(root, staging) as submission:
            assert [b"a"] == paths(submission)
        assert left_in(staging) == []

    def test_what_else_lies_in_staging_is_left_alone(self, root, tmp_path):
        write(root, {"a": b"1"})
        write(tmp_path / "s", {"session.json": b"{}"})

        submission = open_submission(str(root), staging=str(tmp_path / "s"), quotas=QUOTAS)
        submission.close()
        assert ["session.json"] == os.listdir(tmp_path / "s")

    def test_a_folder_that_looks_like_a_bag_without_its_declaration_is_refused(self, root, staging):
        bag(root, {"data/a": b"1"})
        os.unlink(root / "bagit.txt")

        error = refused(SubmissionRefusedError, root, staging)
        assert "bag-declaration" == error.code
