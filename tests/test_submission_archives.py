"""Archives: unpacked member by member, contained, within quotas, or refused."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest
from submission_support import (
    QUOTAS,
    Zip,
    bag,
    codes,
    contents,
    file_at,
    left_in,
    manifest,
    opened,
    paths,
    pax,
    tar_bytes,
    tar_header,
    write,
)

from preservation.submission.entries import Quotas
from preservation.submission.errors import (
    ArchiveConflictError,
    ArchiveMemberError,
    BagDeclarationError,
    ControlCharacterError,
    EscapingPathError,
    NameTooLongError,
    SubmissionEmptyError,
    TooDeepError,
)

END = bytes(1024)
TREE = {b"a.txt": b"one", b"h\xe1\xbb\x93 s\xc6\xa1/b": b"two", b"empty": b"", b"none/": None}
MEMBERS = [("a.txt", b"one"), ("hồ sơ/b", b"two"), ("empty", b""), ("none", None)]


@pytest.fixture
def staging(tmp_path):
    return tmp_path / "staging"


@pytest.fixture
def archive(tmp_path):
    """Write an archive and return its path."""

    def give(data, name="in.tar"):
        (tmp_path / "given").mkdir(exist_ok=True)
        path = tmp_path / "given" / name
        path.write_bytes(data)
        return path

    return give


@pytest.fixture
def refused(archive, staging, tmp_path):
    """Be refused, with nothing left in staging and nothing touched outside."""

    def check(error, data, name="in.tar", *, quotas=QUOTAS, **more):
        path = archive(data, name)
        with pytest.raises(error) as caught, opened(path, staging, quotas=quotas, **more):
            pass
        assert left_in(staging) == []
        assert sorted(os.listdir(tmp_path)) == ["given", "staging"]
        assert os.listdir(tmp_path / "given") == [name]
        os.unlink(path)
        assert str(caught.value).isprintable()
        return str(caught.value)

    return check


def zipped(*members, **more):
    out = Zip()
    for name, data in members:
        out.add(name, data)
    return out.done(**more)


class TestAccepted:
    @pytest.mark.parametrize(
        ("name", "squeeze"),
        [
            ("in.tar", bytes),
            ("in.tar.gz", gzip.compress),
            ("IN.TGZ", gzip.compress),
            ("in.tar.bz2", bz2.compress),
            ("in.tbz2", bz2.compress),
            ("in.tar.xz", lzma.compress),
            ("in.txz", lzma.compress),
        ],
    )
    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    def test_tar_archives_of_each_form_and_compression(self, archive, staging, name, squeeze, form):
        path = archive(squeeze(tar_bytes(MEMBERS, form=form)), name)

        with opened(path, staging) as submission:
            assert TREE == contents(submission)
            assert "tar" == submission.kind
            assert {"name": name, "size": path.stat().st_size} == submission.description["archive"]
            assert 1_600_000_000 == file_at(submission, b"a.txt").mtime_ns // 1_000_000_000

    def test_fractions_of_seconds_in_pax_times_are_kept(self, archive, staging):
        with opened(archive(tar_bytes(MEMBERS)), staging) as submission:
            assert 1_600_000_000_500_000_000 == file_at(submission, b"a.txt").mtime_ns

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names_in_both_forms(self, archive, staging, form):
        name = "/".join(["đ" * 100] * 6)

        with opened(archive(tar_bytes([(name, b"x")], form=form)), staging) as submission:
            assert [name.encode()] == paths(submission)

    def test_what_gnu_tar_writes(self, tmp_path, staging):
        write(tmp_path / "given", {"d/" + "x" * 120: b"long", "d/hồ sơ": b"1" * 5000, "d/none/": None})
        for form in ("gnu", "pax", "v7", "ustar"):
            name = tmp_path / f"{form}.tar.gz"
            exclude = ["--exclude=xxx*"] if form in {"v7", "ustar"} else []
            command = ["tar", f"--format={form}", "-czf", name, "-C", tmp_path / "given", *exclude, "."]
            subprocess.run(command, check=True)

            with opened(name, staging) as submission:
                found = contents(submission)

            assert b"1" * 5000 == found["d/hồ sơ".encode()]
            assert found[b"d/none/"] is None
            assert len(found) == 2 if exclude else 3

    def test_gzip_streams_one_after_the_other_and_zeros_behind(self, archive, staging):
        data = tar_bytes(MEMBERS)
        path = archive(gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(512), "in.tgz")

        with opened(path, staging) as submission:
            assert TREE == contents(submission)

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    def test_zip_archives(self, archive, staging, method):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as target:
            for name, data in MEMBERS:
                target.writestr(
                    zipfile.ZipInfo(name if data is not None else name + "/", (2001, 2, 3, 4, 5, 6)), data or b""
                )

        with opened(archive(out.getvalue(), "in.zip"), staging) as submission:
            assert TREE == contents(submission)
            assert "zip" == submission.kind
            assert 981_173_106 == file_at(submission, b"a.txt").mtime_ns // 1_000_000_000

    def test_zip_members_written_to_a_pipe_with_sizes_behind_the_content(self, archive, staging):
        class Pipe(io.RawIOBase):
            def __init__(self):
                self.data = bytearray()

            def writable(self):
                return True

            def write(self, data):
                self.data += data
                return len(data)

        out = Pipe()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr("a", b"x" * 5000)
            target.writestr("b", b"")

        with opened(archive(bytes(out.data), "in.zip"), staging) as submission:
            assert {b"a": b"x" * 5000, b"b": b""} == contents(submission)

    def test_zip64_members(self, archive, staging):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as target, target.open("a", "w", force_zip64=True) as member:
            member.write(b"x" * 100)

        with opened(archive(out.getvalue(), "in.zip"), staging) as submission:
            assert {b"a": b"x" * 100} == contents(submission)

    def test_zip_names_that_are_not_utf_8_are_kept_as_their_bytes(self, archive, staging):
        name = "công văn.txt".encode("cp1258", "replace")
        data = Zip().add(name, b"1", local={"flags": 0}, central={"flags": 0}).done()

        with opened(archive(data, "in.zip"), staging) as submission:
            assert {name: b"1"} == contents(submission)
            assert ["not-utf-8"] == codes(submission)

    def test_zip_comment_and_unix_time_field(self, archive, staging):
        field = struct.pack("<2HBl", 0x5455, 5, 1, 1_500_000_000)
        data = Zip().add(b"a", b"1", extra=field).done(comment=b"a comment, PK\x05\x06 not an end")

        with opened(archive(data, "in.zip"), staging) as submission:
            assert 1_500_000_000 == file_at(submission, b"a").mtime_ns // 1_000_000_000

    @pytest.mark.parametrize("name", ["bag.zip", "bag.tar.gz"])
    def test_a_bag_in_an_archive_loses_its_base_folder(self, tmp_path, archive, staging, name):
        payload = {"data/tài liệu.txt": b"payload", "data/sub/x": b"y"}
        bag(tmp_path / "base", payload)
        command = (
            ["tar", "-czf", "b", "base"]
            if name.endswith("gz")
            else [sys.executable, "-m", "zipfile", "-c", "b", "base"]
        )
        subprocess.run(command, cwd=tmp_path, check=True)
        path = archive((tmp_path / "b").read_bytes(), name)

        with opened(path, staging) as submission:
            submission.verify_all()
            assert "bag in " + ("tar" if name.endswith("gz") else "zip") == submission.kind
            assert {os.fsencode(key): value for key, value in payload.items()}.items() <= contents(submission).items()
            assert b"bagit.txt" in paths(submission)
            assert "1.0" == submission.description["bag"]["version"]
            assert "sha256" == submission.supplied(b"data/sub/x")[0].algorithm

    def test_a_bag_without_a_base_folder_is_taken_with_a_warning(self, archive, staging):
        files = {"bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "data/a": b"1"}
        files["manifest-md5.txt"] = manifest({b"data/a": b"1"}, "md5")

        with opened(archive(tar_bytes(files.items())), staging) as submission:
            submission.verify_all()
            assert ["no-base-folder"] == codes(submission)

    def test_an_invalid_bag_in_an_archive_is_refused(self, refused):
        refused(
            BagDeclarationError, tar_bytes([("b/bagit.txt", b"x"), ("b/data/a", b"1"), ("b/manifest-md5.txt", b"")])
        )

    def test_an_archive_that_holds_a_single_folder_keeps_it(self, archive, staging):
        with opened(archive(tar_bytes([("only/a", b"1")])), staging) as submission:
            assert [b"only/a"] == paths(submission)

    def test_archives_in_archives_are_kept_as_files(self, archive, staging):
        inner = tar_bytes([("../../evil", b"1")])

        with opened(archive(zipped((b"inner.tar", inner)), "in.zip"), staging) as submission:
            assert {b"inner.tar": inner} == contents(submission)

    def test_everything_goes_from_staging_when_it_is_closed(self, archive, staging):
        with opened(archive(tar_bytes(MEMBERS)), staging):
            assert ["unpacked"] == left_in(staging)

    def test_unusual_times_do_not_stop_the_unpacking(self, archive, staging):
        header = pax([(b"mtime", b"99999999999999.5")]) + tar_header(b"a")

        with opened(archive(header + END), staging) as submission:
            assert ["time"] == codes(submission)
            assert 0 == file_at(submission, b"a").mtime_ns

    def test_times_before_1970_are_kept(self, archive, staging):
        header = pax([(b"mtime", b"-86400.25")]) + tar_header(b"a")

        with opened(archive(header + END), staging) as submission:
            assert -86_400_250_000_000 == file_at(submission, b"a").mtime_ns


EVIL = [
    b"../evil",
    b"a/../../evil",
    b"/etc/evil",
    b"//evil",
    b"..",
    b"a/..",
    b"a//b",
    b"a/./b",
    b"C:evil",
    b"c:/evil",
    b"\\\\server\\share\\evil",
    b"..\\evil",
    b"a\\b",
    b"./../evil",
    b".//../evil",
]


class TestPaths:
    @pytest.mark.parametrize("name", EVIL)
    def test_paths_that_lead_elsewhere_are_refused_in_tar(self, refused, name):
        refused(EscapingPathError, tar_header(b"good") + tar_header(name) + END)
        refused(EscapingPathError, tar_header(name, kind=b"5") + END)
        refused(EscapingPathError, pax([(b"path", name)]) + tar_header(b"good") + END)

    @pytest.mark.parametrize("name", EVIL)
    def test_paths_that_lead_elsewhere_are_refused_in_zip(self, refused, name):
        refused(EscapingPathError, zipped((b"good", b""), (name, b"!")), "in.zip")
        refused(EscapingPathError, zipped((name + b"/", b"")), "in.zip")

    @pytest.mark.parametrize("name", [b"a\nb", b"a\x1b[2Jb", b"\x07", "\x9bb".encode()])
    def test_control_characters_are_refused(self, refused, name):
        refused(ControlCharacterError, tar_header(name) + END)
        refused(ControlCharacterError, zipped((name, b"")), "in.zip")

    def test_a_nul_is_refused_in_zip_and_in_pax(self, refused):
        refused(ControlCharacterError, zipped((b"a.txt\0.exe", b"")), "in.zip")
        refused(ControlCharacterError, pax([(b"path", b"a\0b")]) + tar_header(b"x") + END)

    def test_empty_names_are_refused(self, refused):
        refused(EscapingPathError, tar_header(b"") + END)
        refused(EscapingPathError, zipped((b"", b"x")), "in.zip")

    def test_long_names_deep_folders_and_long_paths_are_refused(self, refused):
        refused(NameTooLongError, tar_bytes([("x" * 256, b"")]))
        refused(NameTooLongError, zipped((b"x" * 256, b"")), "in.zip")
        refused(TooDeepError, tar_bytes([("d/" * 257 + "x", b"")]))
        refused(TooDeepError, zipped((b"d/" * 11 + b"x", b"")), "in.zip", quotas=Quotas(archive_depth=10))
        refused(NameTooLongError, tar_bytes([("d/" * 40_000 + "x", b"")]))

    @pytest.mark.parametrize("name", [b"%2e%2e/x", b"~/x", b"-rf", b"CON", b"a.", b"a ", b"...", b"ab:c", b"..a/b"])
    def test_odd_but_harmless_names_are_kept(self, archive, staging, name):
        with opened(archive(tar_header(name) + END), staging) as submission:
            assert {name: b""} == contents(submission)


class TestMembers:
    @pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"S", b"D", b"M", b"V", b"Z", b"A", b"\xff"])
    def test_links_devices_sparse_and_unknown_members_of_a_tar_are_refused(self, refused, kind):
        message = refused(ArchiveMemberError, tar_header(b"a") + tar_header(b"member", kind=kind) + END)

        assert message.startswith("member: this member of the archive is refused")

    def test_a_symbolic_link_with_a_file_behind_it_writes_nothing_outside(self, refused, tmp_path):
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)

        refused(ArchiveMemberError, tar_bytes([link, ("link/evil", b"!")]))
        assert not (tmp_path / "evil").exists()

    def test_a_pax_sparse_file_is_refused(self, refused):
        records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"1000")]

        assert "sparse" in refused(ArchiveMemberError, pax(records) + tar_header(b"x") + END)

    def test_sparse_files_of_gnu_tar_are_refused(self, tmp_path):
        with open(tmp_path / "hole", "wb") as file:
            file.truncate(1 << 20)
        for form in ("gnu", "posix"):
            command = ["tar", "-Scf", "-", f"--format={form}", "-C", tmp_path, "hole"]
            data = subprocess.run(command, check=True, capture_output=True).stdout
            path = tmp_path / "sparse.tar"
            path.write_bytes(data)
            with pytest.raises(ArchiveMemberError, match="sparse"), opened(path, tmp_path / "staging"):
                pass

    @pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140777])
    def test_links_and_special_files_in_a_zip_are_refused(self, refused, mode):
        refused(ArchiveMemberError, Zip().add(b"a", b"/etc/passwd", mode=mode).done(), "in.zip")

    @pytest.mark.parametrize("flags", [0x801, 0x840 | 1, 0x2800])
    def test_encrypted_members_are_refused(self, refused, flags):
        both = {"flags": flags}

        assert "encrypted" in refused(
            ArchiveMemberError, Zip().add(b"a", b"x", local=both, central=both).done(), "in.zip"
        )

    def test_a_folder_with_content_is_refused(self, refused):
        refused(ArchiveMemberError, Zip().add(b"a/", b"x").done(), "in.zip")
        refused(ArchiveMemberError, tar_header(b"a", 5, b"5") + bytes(512) + END)
        refused(ArchiveMemberError, Zip().add(b"a", b"", mode=0o040755).done(), "in.zip")

    @pytest.mark.parametrize("method", [1, 6, 9, 14, 93, 98, 99])
    def test_compressions_that_we_cannot_read_are_named(self, refused, method):
        both = {"method": method}

        assert f"method {method}" in refused(
            ArchiveMemberError, Zip().add(b"a", b"x", local=both, central=both).done(), "in.zip"
        )

    def test_two_members_of_one_path_are_refused(self, refused):
        refused(ArchiveConflictError, tar_bytes([("a/x", b"1"), ("b", b""), ("a/x", b"2")]))
        refused(ArchiveConflictError, tar_bytes([("a/x", b"1"), ("./a/x", b"1")]))
        refused(ArchiveConflictError, zipped((b"a", b"1"), (b"a", b"2")), "in.zip")

    def test_a_file_and_a_folder_of_one_path_are_refused(self, refused):
        refused(ArchiveConflictError, tar_bytes([("a", b"1"), ("a/x", b"2")]))
        refused(ArchiveConflictError, tar_bytes([("a/x", b"1"), ("a", b"2")]))
        refused(ArchiveConflictError, zipped((b"a", b"1"), (b"a/", b"")), "in.zip")

    def test_twins_are_kept_apart_in_archives_too(self, archive, staging):
        with opened(archive(tar_bytes([("A", b"1"), ("a", b"2")])), staging) as submission:
            assert {b"A": b"1", b"a": b"2"} == contents(submission)
            assert ["twins"] == codes(submission)

    def test_an_archive_of_nothing_is_refused(self, refused):
        refused(SubmissionEmptyError, END)
        refused(SubmissionEmptyError, Zip().done(), "in.zip")
