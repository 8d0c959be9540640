"""Folders and single files: order, names, links, changes while reading, bounds."""

import os
import random
import socket
import unicodedata

import pytest
from submission_support import codes, contents, file_at, left_in, opened, paths, write

from preservation.submission.entries import REMARKS_PER_CODE, EmptyFolder
from preservation.submission.errors import (
    ControlCharacterError,
    HardLinkError,
    SpecialFileError,
    SymbolicLinkError,
)


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


class TestWhatIsGiven:
    def test_files_and_empty_folders_come_in_byte_order_of_their_full_paths(self, root, staging):
        names = ["a/b", "a.txt", "a-b", "a/", "ab/c/d", "ab/c.d", "a/é", "Z", "a0", "e/mpty/", "ab/c-d", "ê", "hồ sơ/1"]
        write(root, dict.fromkeys(names, b"x"))

        with opened(root, staging) as submission:
            found = paths(submission)

        files = [name for name in names if not name.endswith("/")]
        assert sorted([*map(os.fsencode, files), b"e/mpty/"]) == found

    def test_byte_order_holds_for_random_trees(self, root, staging):
        draw = random.Random(7)
        for _ in range(300):
            parts = ["".join(draw.choices("a-.0~ é", k=draw.randint(1, 3))) for _ in range(draw.randint(1, 4))]
            path = os.path.join(root, *(part if part.strip(".") else part + "_" for part in parts))
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "xb"):
                    pass
            except OSError:
                continue

        with opened(root, staging) as submission:
            found = paths(submission)

        assert len(found) > 100
        assert sorted(found) == found

    def test_every_byte_size_and_time_is_the_files_own(self, root, staging):
        write(root, {"empty": b"", "one": b"1", "sub/two": b"22"})
        os.utime(root / "one", ns=(0, 1_234_567_890_123_456_789))

        with opened(root, staging) as submission:
            assert {b"empty": b"", b"one": b"1", b"sub/two": b"22"} == contents(submission)
            assert (3, 3, "folder") == (submission.files, submission.size, submission.kind)
            assert 1_234_567_890_123_456_789 == file_at(submission, b"one").mtime_ns
            assert {"kind": "folder", "name": "in"} == submission.description
            assert submission.supplied(b"one") == ()

    def test_folders_that_are_not_empty_are_not_named(self, root, staging):
        write(root, {"a/b/c/": b"", "a/d/e": b""})

        with opened(root, staging) as submission:
            entries = list(submission.entries())

        assert EmptyFolder(b"a/b/c/") == entries[0]
        assert [b"a/b/c/", b"a/d/e"] == [entry.path for entry in entries]

    def test_a_single_file_is_a_submission_of_one(self, root, staging):
        write(root, {"báo cáo.pdf": b"%PDF", "other": b"not handed over"})

        with opened(root / "báo cáo.pdf", staging) as submission:
            assert "file" == submission.kind
            assert {"báo cáo.pdf".encode(): b"%PDF"} == contents(submission)

    @pytest.mark.parametrize("name", ["a.docx", "a.odt", "a.epub", "a.bin"])
    def test_a_file_that_is_a_zip_but_not_named_so_is_kept_whole(self, root, staging, name):
        write(root, {name: b"PK\x03\x04 not looked into"})

        with opened(root / name, staging) as submission:
            assert [name.encode()] == paths(submission)

    def test_a_large_file_is_read_unbuffered_through_its_own_descriptor(self, root, staging):
        data = os.urandom(3_000_000)
        write(root, {"big": data})

        with opened(root, staging) as submission:
            file = file_at(submission, b"big")
            with submission.open(file) as source:
                buffer = bytearray(1000)
                assert 1000 == source.readinto(buffer)
                assert data == bytes(buffer) + source.readall()
                submission.changed(file, source.fileno())

    def test_a_file_beyond_the_limit_is_not_read_as_a_small_one(self, root, staging):
        write(root, {"a": b"12345"})

        with opened(root, staging) as submission, pytest.raises(ValueError, match="5 bytes are not small"):
            submission.read_small(file_at(submission, b"a"), 4)

    def test_reading_leaves_the_access_time_alone(self, root, staging):
        write(root, {"a": b"12345"})
        os.utime(root / "a", ns=(1_000_000_000, 2_000_000_000))

        with opened(root, staging) as submission:
            contents(submission)

        assert 1_000_000_000 == os.stat(root / "a").st_atime_ns

    def test_a_trailing_slash_and_a_dot_name_the_folder_itself(self, root, staging, monkeypatch):
        write(root, {"a": b"1"})
        monkeypatch.chdir(root)

        for name in (f"{root}//", "."):
            with opened(name, staging) as submission:
                assert [b"a"] == paths(submission)
                assert "in" == submission.description["name"]


class TestNames:
    @pytest.mark.parametrize("name", [b"a\x01b", b"a\nb", b"a\x1b[31mred", b"\x7f", b"a\tb", "a\x85b".encode()])
    def test_control_characters_are_refused_and_do_not_reach_the_message(self, root, staging, name):
        write(root, {b"sub/" + name: b""})

        error = refused(ControlCharacterError, root, staging)

        assert str(error).isprintable()
        assert "sub/" in str(error)

    def test_control_characters_in_folder_names_are_refused(self, root, staging):
        write(root, {b"a\x02/b": b""})

        refused(ControlCharacterError, root, staging)

    def test_names_that_are_not_utf_8_are_kept_as_bytes_with_a_warning(self, root, staging):
        write(root, {b"c\xf4ng v\xe3n.txt": b"latin-1", b"\xff\xfe/x": b"y"})

        with opened(root, staging) as submission:
            assert {b"c\xf4ng v\xe3n.txt": b"latin-1", b"\xff\xfe/x": b"y"} == contents(submission)
            assert ["not-utf-8"] * 2 == codes(submission)

    def test_nfc_and_nfd_twins_are_kept_apart_with_a_warning(self, root, staging):
        name = "Quyết định số 5.pdf"
        one, other = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        write(root, {one: b"1", other: b"2"})

        with opened(root, staging) as submission:
            assert {one.encode(): b"1", other.encode(): b"2"} == contents(submission)
            assert ["twins"] == codes(submission)

    @pytest.mark.parametrize(("one", "other"), [("a.TXT", "A.txt"), ("Đơn", "đơn"), ("\u212a", "k"), ("ß", "SS")])
    def test_case_twins_are_kept_apart_with_a_warning(self, root, staging, one, other):
        write(root, {f"sub/{one}": b"1", f"sub/{other}/x": b"2"})

        with opened(root, staging) as submission:
            assert 2 == submission.files
            assert [("twins", b"sub/")] == [(r.code, r.path[:4]) for r in submission.warnings]

    def test_equal_names_in_different_folders_are_no_twins(self, root, staging):
        write(root, {"a/x": b"1", "b/X": b"2"})

        with opened(root, staging) as submission:
            assert submission.warnings == []

    def test_names_that_turn_the_direction_of_writing_are_kept_with_a_warning(self, root, staging):
        write(root, {"invoice\u202efdp.exe": b"1"})

        with opened(root, staging) as submission:
            assert ["bidi"] == codes(submission)
            assert ["invoice\u202efdp.exe".encode()] == paths(submission)

    @pytest.mark.parametrize(
        "name",
        [
            "~$_báo cáo.docx",
            "-rf",
            "CON",
            "nul.txt",
            "a. ",
            "a.",
            " a",
            "C:",
            "a\\b",
            "..a",
            "...",
            "%2e%2e",
            "*",
            "$(x)",
        ],
    )
    def test_odd_but_harmless_names_are_no_reason_to_refuse_or_warn(self, root, staging, name):
        write(root, {name: b"1"})

        with opened(root, staging) as submission:
            assert {name.encode(): b"1"} == contents(submission)
            assert submission.warnings == []

    def test_the_longest_name_of_255_bytes_is_kept(self, root, staging):
        name = "ệ" * 85
        assert 255 == len(name.encode())
        write(root, {name: b"1"})

        with opened(root, staging) as submission:
            assert {name.encode(): b"1"} == contents(submission)

    def test_warnings_of_one_code_are_limited_and_the_rest_counted(self, root, staging):
        write(root, {b"\xff%d" % number: b"" for number in range(REMARKS_PER_CODE + 7)})

        with opened(root, staging) as submission:
            assert REMARKS_PER_CODE + 1 == len(submission.warnings)
            assert "7 more of this code" == submission.warnings[-1].detail


class TestLinksAndSpecialFiles:
    @pytest.mark.parametrize("target", ["a", "/etc/passwd", "..", "nowhere", "."])
    def test_any_symbolic_link_is_refused_wherever_it_leads(self, root, staging, target):
        write(root, {"a": b"1"})
        os.symlink(target, root / "link")

        error = refused(SymbolicLinkError, root, staging)

        assert "link: is a symbolic link" in str(error)

    def test_a_symbolic_link_as_the_submission_itself_is_refused_also_with_a_slash(self, root, staging, tmp_path):
        write(root, {"a": b"1"})
        os.symlink(root, tmp_path / "link")
        os.symlink(root / "a", tmp_path / "file link")

        refused(SymbolicLinkError, tmp_path / "link", staging)
        refused(SymbolicLinkError, f"{tmp_path}/link/", staging)
        refused(SymbolicLinkError, tmp_path / "file link", staging)

    def test_a_hard_link_whose_other_name_lies_outside_is_refused(self, root, staging, tmp_path):
        write(root, {"sub/a": b"1"})
        os.link(root / "sub/a", tmp_path / "outside")

        error = refused(HardLinkError, root, staging)

        assert "sub/a: has 2 names (hard links), of which only 1" in str(error)

    def test_a_single_file_with_another_name_elsewhere_is_refused(self, root, staging):
        write(root, {"a": b"1"})
        os.link(root / "a", root / "b")

        refused(HardLinkError, root / "a", staging)

    def test_hard_links_that_stay_inside_are_two_files(self, root, staging):
        write(root, {"a": b"1"})
        (root / "sub").mkdir()
        os.link(root / "a", root / "sub/b")

        with opened(root, staging) as submission:
            assert {b"a": b"1", b"sub/b": b"1"} == contents(submission)

    def test_a_fifo_and_a_socket_are_refused_without_being_opened(self, root, staging):
        os.mkfifo(root / "pipe")
        assert "FIFO" in str(refused(SpecialFileError, root, staging))
        refused(SpecialFileError, root / "pipe", staging)
        os.unlink(root / "pipe")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(root / "s"))
            assert "socket" in str(refused(SpecialFileError, root, staging))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
    def test_a_device_is_refused(self, root, staging):
        try:
            os.mknod(root / "null", 0o20600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("this container makes no devices")

        assert "character device" in str(refused(SpecialFileError, root, staging))

    def test_setuid_bits_do_not_matter(self, root, staging):
        write(root, {"a": b"1"})
        os.chmod(root / "a", 0o6755)

        with opened(root, staging) as submission:
            assert {b"a": b"1"} == contents(submission)
