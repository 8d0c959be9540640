"""Archives that are damaged, contradict themselves, or are bombs."""

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
    contents,
    left_in,
    manifest,
    opened,
    overlapping_zip,
    pax,
    tar_bytes,
    tar_header,
)

from preservation.submission.entries import Quotas
from preservation.submission.errors import (
    ArchiveConflictError,
    ArchiveDamagedError,
    ArchiveMemberError,
    DigestMismatchError,
    HardLinkError,
    QuotaError,
    StagingError,
    SubmissionRefusedError,
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
        "data", [b"", b"PK\x05\x06", b"x" * 5000, gzip.compress(b"x" * 5000, mtime=0), b"BZh9", b"\xfd7zXZ\0"]
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

    @pytest.mark.parametrize("offset", [47, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
    def test_a_member_behind_the_directory_is_refused(self, refused, offset):
        extra = struct.pack("<2HQ", 1, 8, offset)

        refused(
            ArchiveConflictError,
            Zip().add(b"a", b"hello", central={"offset": 0xFFFFFFFF}, extra=extra).done(),
            "in.zip",
        )

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
        path = archive(zipped(*((b"%02d/%d" % (n % 40, n), b"") for n in range(1200))), "in.zip")
        tracemalloc.start()
        try:
            with opened(path, staging) as submission:
                assert 1200 == submission.files
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert peak < 2 << 20

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
