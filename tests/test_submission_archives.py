"""Archives: unpacked member by member, contained, within quotas, or refused."""

import bz2
import gzip
import io
import lzma
import os
import resource
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib

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
    overlapping_zip,
    paths,
    pax,
    tar_bytes,
    tar_header,
    write,
)

from preservation.submission.entries import Quotas
from preservation.submission.errors import (
    ArchiveConflictError,
    ArchiveDamagedError,
    ArchiveMemberError,
    BagDeclarationError,
    ControlCharacterError,
    DigestMismatchError,
    EscapingPathError,
    HardLinkError,
    NameTooLongError,
    QuotaError,
    StagingError,
    SubmissionEmptyError,
    SubmissionRefusedError,
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


class TestDamage:
    def test_a_tar_cut_short_anywhere_is_refused(self, refused):
        data = tar_bytes([("a", b"x" * 700), ("b/c", b"y")], form=tarfile.USTAR_FORMAT)
        end = data.rindex(b"y") + 512

        for length in range(0, end, 97):
            refused(ArchiveDamagedError, data[:length])
        refused(ArchiveDamagedError, data[: (end | 511) - 511 + 512])

    @pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress])
    def test_a_compressed_tar_cut_short_or_flipped_is_refused(self, refused, squeeze):
        suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[squeeze]
        data = squeeze(tar_bytes([("a", os.urandom(3000))]))

        for length in range(0, len(data), 211):
            refused(ArchiveDamagedError, data[:length], f"in.tar.{suffix}")
        refused(ArchiveDamagedError, data[:-1], f"in.tar.{suffix}")
        refused(SubmissionRefusedError, data + b"rubbish", f"in.tar.{suffix}")
        for position in range(30, len(data) - 12, 401):
            flipped = bytearray(data)
            flipped[position] ^= 0xFF
            refused(SubmissionRefusedError, bytes(flipped), f"in.tar.{suffix}")

    def test_a_flipped_tar_header_is_not_the_end_of_the_archive(self, refused):
        """tarfile of the standard library ends there in silence, and all further members are lost."""
        data = bytearray(tar_bytes([("a", b"1"), ("b", b"2"), ("c", b"3")], form=tarfile.USTAR_FORMAT))
        data[1024 + 10] ^= 1

        assert "header is damaged" in refused(ArchiveDamagedError, bytes(data))

    def test_data_after_the_end_of_a_tar_is_refused(self, refused):
        data = tar_bytes([("a", b"1")])

        refused(ArchiveConflictError, data + tar_bytes([("b", b"1")]))
        refused(ArchiveDamagedError, tar_header(b"a") + bytes(512) + tar_header(b"b") + END)

    @pytest.mark.parametrize(
        "data", [b"", b"PK\x05\x06", b"x" * 5000, gzip.compress(b"x" * 5000), b"BZh9", b"\xfd7zXZ\0"]
    )
    @pytest.mark.parametrize("name", ["in.tar", "in.zip", "in.tgz", "in.tar.xz", "in.tbz"])
    def test_a_file_that_is_not_what_its_name_says_is_refused(self, refused, data, name):
        refused(ArchiveDamagedError, data, name)

    def test_a_zip_cut_short_anywhere_is_refused(self, refused):
        data = zipped((b"a", b"x" * 300), (b"b", b"y"))

        for length in range(0, len(data), 13):
            refused(ArchiveDamagedError, data[:length], "in.zip")

    def test_each_flipped_byte_of_a_zip_is_refused_or_changes_neither_names_nor_content(self, archive, staging):
        data = Zip().add(b"a", b"some content", method=8).add(b"b/c", b"y").done()
        silent = 0
        for position in range(len(data)):
            flipped = bytearray(data)
            flipped[position] ^= 0x55
            try:
                with opened(archive(bytes(flipped), "in.zip"), staging) as submission:
                    found = contents(submission)
            except SubmissionRefusedError:
                continue
            silent += 1
            assert sorted(found.values()) == [b"some content", b"y"]
            assert set(found) == {b"a", b"b/c"}
        assert silent < 50, "times, versions and attributes only"

    def test_wrong_content_of_a_zip_member_is_refused(self, refused):
        wrong = {"crc": 5}

        assert "CRC-32" in refused(
            ArchiveDamagedError, Zip().add(b"a", b"x", local=wrong, central=wrong).done(), "in.zip"
        )

    @pytest.mark.parametrize("size", [0, 4, 6, 1000])
    def test_a_member_of_another_size_than_announced_is_refused(self, refused, size):
        lie = {"size": size}
        for method in (0, 8):
            data = Zip().add(b"a", b"12345", method=method, local=lie, central=lie).done()
            refused(ArchiveConflictError, data, "in.zip")

    def test_compressed_data_that_ends_before_its_announced_end_is_refused(self, refused):
        packed = zlib.compress(b"12345")[2:-4]
        lie = {"method": 8, "size": 5, "crc": zlib.crc32(b"12345")}
        data = Zip().add(b"a", packed + b"hidden", local=lie, central=lie).done()

        assert "goes on after its end" in refused(ArchiveDamagedError, data, "in.zip")

    @pytest.mark.parametrize(
        "header",
        [
            pax([(b"size", b"-5")]),
            pax([(b"size", b"1e3")]),
            pax([(b"mtime", b"1e999999999")]),
            pax([(b"mtime", b"NaN")]),
            tar_header(b"p", 20, b"x") + b"99 path=a\n".ljust(512, b"\0"),
            tar_header(b"p", 20, b"x") + b"2 path=a\n".ljust(512, b"\0"),
            tar_header(b"p", 20, b"x") + b"no record at all".ljust(512, b"\0"),
        ],
    )
    def test_damaged_extended_headers_are_refused(self, refused, header):
        refused(ArchiveDamagedError, header + tar_header(b"a") + END)

    def test_an_extended_header_without_a_member_and_a_global_path_are_refused(self, refused):
        refused(ArchiveDamagedError, pax([(b"path", b"x")]) + END)
        everywhere = bytearray(pax([(b"path", b"x")]))
        everywhere[156:157] = b"g"
        everywhere[148:156] = b" " * 8
        everywhere[148:156] = b"%06o\0 " % sum(everywhere[:512])
        refused(ArchiveMemberError, bytes(everywhere) + tar_header(b"a") + END)


class TestContradictions:
    @pytest.mark.parametrize(
        "local",
        [{"name": b"other"}, {"method": 8}, {"crc": 1}, {"size": 9}, {"packed": 9}, {"flags": 0x801}, {"flags": 0}],
    )
    def test_a_local_header_that_differs_is_refused(self, refused, local):
        refused(ArchiveConflictError, Zip().add(b"a.txt", b"hello", local=local).done(), "in.zip")

    def test_a_directory_that_points_to_no_member_is_refused(self, refused):
        refused(ArchiveConflictError, Zip().add(b"a", b"hello", central={"offset": 3}).done(), "in.zip")
        refused(SubmissionRefusedError, Zip().add(b"a", b"hello", central={"offset": 1 << 30}).done(), "in.zip")

    def test_two_entries_of_one_member_are_refused(self, refused):
        refused(ArchiveConflictError, Zip().add(b"a", b"hello").add(b"a", b"", central={"offset": 0}).done(), "in.zip")

    def test_a_member_that_reaches_into_the_next_is_refused(self, refused):
        lie = {"packed": 60, "size": 60}

        assert "overlaps" in refused(
            ArchiveConflictError, Zip().add(b"a", b"x" * 20, local=lie, central=lie).add(b"b", b"y").done(), "in.zip"
        )

    def test_a_member_that_reaches_into_the_directory_is_refused(self, refused):
        lie = {"packed": 25, "size": 25}

        assert "overlaps" in refused(
            ArchiveConflictError, Zip().add(b"a", b"x" * 20, local=lie, central=lie).done(), "in.zip"
        )

    def test_an_archive_with_two_ends_is_refused(self, refused):
        inner = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)

        assert "two ends" in refused(ArchiveConflictError, Zip().add(b"a").done(comment=inner), "in.zip")

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_a_wrong_number_of_members_is_refused(self, refused, count):
        refused(SubmissionRefusedError, zipped((b"a", b""), (b"b", b""), count=count), "in.zip")

    def test_data_before_the_first_member_is_refused(self, refused):
        refused(ArchiveConflictError, b"#!/bin/sh\n" + zipped((b"a", b"")), "in.zip")
        refused(ArchiveConflictError, zipped((b"a", b""), shift=-1), "in.zip")

    def test_zip64_lies_are_refused(self, refused):
        member = Zip().add(b"a", b"hello", central={"size": 0xFFFFFFFF}, extra=struct.pack("<2HQ", 1, 8, 1 << 40))
        refused(SubmissionRefusedError, member.done(), "in.zip")
        short = Zip().add(b"a", b"hello", central={"offset": 0xFFFFFFFF}, extra=struct.pack("<2HL", 1, 4, 0))
        refused(ArchiveDamagedError, short.done(), "in.zip")

    def test_zip64_ends_that_contradict_the_short_one_are_refused(self, refused):
        plain = Zip().add(b"a", b"hello").done()
        body, end = plain[:-22], plain[-22:]
        offset, size = len(plain) - 22 - (46 + 1), 46 + 1
        for count, said in ((1, 2), (2, 1)):
            long = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
            locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1)
            lie = end[:8] + struct.pack("<2H", said, said) + end[12:]
            refused(ArchiveConflictError, body + long + locator + lie, "in.zip")

    def test_a_volume_of_several_is_refused(self, refused):
        data = bytearray(zipped((b"a", b"")))
        data[-18] = 1

        assert "volumes" in refused(ArchiveMemberError, bytes(data), "in.zip")


class TestBombs:
    SMALL = Quotas(unpacked=1 << 20, members=50, ratio=100, ratio_floor=1 << 16)

    def test_a_full_overlap_zip_bomb_is_refused_before_it_unpacks(self, refused):
        data = overlapping_zip(60, 1 << 20)
        with zipfile.ZipFile(io.BytesIO(data)) as judge:
            assert sum(info.file_size for info in judge.infolist()) > 60 << 20
        begin = time.monotonic()

        assert "overlaps" in refused(ArchiveConflictError, data, "in.zip")
        assert time.monotonic() - begin < 2

    @pytest.mark.parametrize("name", ["in.zip", "in.tar.gz", "in.tar.xz", "in.tar.bz2"])
    def test_a_member_that_compresses_too_well_is_refused(self, refused, name):
        content = bytes(1 << 19)
        if name == "in.zip":
            data = Zip().add(b"a", content, method=8).done()
        else:
            squeeze = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[name.rpartition(".")[2]]
            data = squeeze(tar_bytes([("a", content)]))

        assert "more than 100 for one" in refused(QuotaError, data, name, quotas=self.SMALL)

    def test_a_bomb_hidden_beside_incompressible_data_is_refused(self, refused):
        data = Zip().add(b"noise", os.urandom(100_000)).add(b"bomb", bytes(1 << 19), method=8).done()

        assert refused(QuotaError, data, "in.zip", quotas=self.SMALL).startswith("bomb: ")

    def test_more_bytes_than_the_quota_are_refused(self, refused):
        data = tar_bytes([(f"{n}", os.urandom(300_000)) for n in range(4)])

        assert "1048576" in refused(QuotaError, data, quotas=self.SMALL)
        refused(QuotaError, tar_header(b"huge", (1 << 33) - 1) + END, quotas=self.SMALL)

    def test_more_members_than_the_quota_are_refused(self, refused):
        refused(QuotaError, tar_bytes([(f"{n}", b"") for n in range(51)]), quotas=self.SMALL)
        refused(QuotaError, zipped(*((b"%d" % n, b"") for n in range(51))), "in.zip", quotas=self.SMALL)
        refused(QuotaError, tar_bytes([(f"{n}/", None) for n in range(51)]), quotas=self.SMALL)

    def test_a_million_announced_members_are_refused_before_any_is_read(self, refused):
        refused(SubmissionRefusedError, zipped((b"a", b""), count=0xFFFF), "in.zip", quotas=self.SMALL)

    @pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
    def test_an_extended_header_of_a_gigabyte_is_not_read_into_memory(self, refused, kind):
        """tarfile of the standard library reads it whole."""
        refused(ArchiveMemberError, tar_header(b"p", 1 << 30, kind) + bytes(4096))

    def test_a_bomb_made_of_headers_or_of_zeros_behind_the_end_is_refused(self, refused):
        headers = (tar_header(b"p", 1 << 20, b"K") + bytes(1 << 20)) * 40
        refused(QuotaError, gzip.compress(headers + tar_header(b"a") + END, 9), "in.tgz", quotas=self.SMALL)
        refused(QuotaError, gzip.compress(tar_header(b"a") + bytes(40 << 20), 9), "in.tgz", quotas=self.SMALL)

    def test_a_huge_xz_dictionary_is_refused(self, refused):
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20, "preset": 0}]
        data = lzma.compress(tar_bytes([("a", b"1")]), filters=filters)

        assert "limit" in refused(ArchiveDamagedError, data, "in.tar.xz")

    def test_what_xz_writes_at_its_strongest_is_taken(self, archive, staging):
        with opened(archive(lzma.compress(tar_bytes([("a", b"1")]), preset=9), "in.txz"), staging) as submission:
            assert {b"a": b"1"} == contents(submission)

    def test_memory_is_bounded_while_a_large_member_is_unpacked(self, archive, staging):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            target.writestr("a", bytes(60 << 20))
        path = archive(out.getvalue(), "in.zip")
        tracemalloc.start()
        try:
            with opened(path, staging) as submission:
                assert 60 << 20 == submission.size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert peak < 12 << 20

    def test_many_small_members_take_bounded_memory(self, archive, staging):
        path = archive(zipped(*((b"%02d/%d" % (n % 40, n), b"") for n in range(3000))), "in.zip")
        tracemalloc.start()
        try:
            with opened(path, staging) as submission:
                assert 3000 == submission.files
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert peak < 4 << 20

    def test_a_full_disk_is_an_error_of_staging(self, archive, staging):
        path = archive(tar_bytes([("a", bytes(200_000))]))
        program = (
            "import resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "from preservation.submission import open_submission\n"
            "from preservation.submission.entries import Quotas\n"
            "from preservation.submission.errors import StagingError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "try:\n    open_submission(sys.argv[2], staging=sys.argv[3], quotas=Quotas())\n"
            "except StagingError as error:\n    print(error)\n"
        )
        command = [sys.executable, "-c", program, os.getcwd(), path, staging]
        result = subprocess.run(command, capture_output=True, text=True, check=True)

        assert "could not be unpacked into staging: File too large" in result.stdout
        assert left_in(staging) == []

    def test_a_staging_that_cannot_be_made_is_an_error_of_staging(self, archive, tmp_path):
        (tmp_path / "file").write_bytes(b"")

        with pytest.raises(StagingError), opened(archive(tar_bytes([("a", b"")])), tmp_path / "file" / "staging"):
            pass

    def test_no_descriptor_is_left_open_by_a_refusal(self, refused):
        before = len(os.listdir("/proc/self/fd"))
        for name in ("d/" * 200 + "x", "../x"):
            refused(SubmissionRefusedError, tar_bytes([("e/" * 250 + "x", b""), (name, b""), (name, b"")]))

        assert before == len(os.listdir("/proc/self/fd"))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256


class TestTheArchiveItself:
    def test_a_hard_linked_archive_is_refused(self, archive, staging, tmp_path):
        path = archive(tar_bytes(MEMBERS))
        os.link(path, tmp_path / "other")

        with pytest.raises(HardLinkError), opened(path, staging):
            pass

    def test_its_own_digest_in_the_checksum_list_is_compared_before_it_is_unpacked(self, archive, staging, tmp_path):
        path = archive(tar_bytes(MEMBERS))
        sums = tmp_path / "SHA256SUMS"
        sums.write_bytes(manifest({b"in.tar": path.read_bytes()}))
        with opened(path, staging, checksums=sums) as submission:
            assert TREE == contents(submission)

        sums.write_bytes(manifest({b"./in.tar": b"something else"}))
        with pytest.raises(DigestMismatchError, match=r"^in\.tar: "), opened(path, staging, checksums=sums):
            pass
        assert left_in(staging) == []

    def test_a_list_of_the_files_inside_is_compared_too(self, archive, staging, tmp_path):
        path = archive(tar_bytes(MEMBERS))
        sums = tmp_path / "sums"
        sums.write_bytes(manifest({b"a.txt": b"one", b"empty": b"", "hồ sơ/b".encode(): b"changed"}))

        with opened(path, staging, checksums=sums) as submission, pytest.raises(DigestMismatchError, match="hồ sơ/b"):
            submission.verify_all()
