"""Lists of checksums: how they are written, and what they say about a submission."""

import hashlib
import io
import os
import shutil
import subprocess
import time
import tracemalloc

import pytest
from blake3 import blake3
from submission_support import bag, codes, contents, file_at, left_in, manifest, opened, write

from preservation.submission.checksums import read_checksums
from preservation.submission.entries import SuppliedDigest
from preservation.submission.errors import (
    ChecksumFileMissingError,
    ChecksumListError,
    DigestMismatchError,
    EscapingPathError,
    SpecialFileError,
    SubmissionChangedError,
    SubmissionUnreadableError,
)

MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", hashlib.sha256(b"").hexdigest()


def read(text, name="sums"):
    data = text if isinstance(text, bytes) else text.encode()
    return [(row.path, row.digest.algorithm, row.digest.value) for row in read_checksums(io.BytesIO(data), name)]


class TestReading:
    @pytest.mark.parametrize(
        ("line", "path"),
        [
            (f"{MD5}  a b", b"a b"),
            (f"{MD5} *a b", b"a b"),
            (f"{MD5.upper()}  a", b"a"),
            (f"{MD5} a", b"a"),
            (f"{MD5}\ta", b"a"),
            (f"{MD5}   two leading spaces", b" two leading spaces"),
            (f"{MD5}  công văn", "công văn".encode()),
            (f"\\{MD5}  back\\\\slash\\nline\\rreturn", b"back\\slash\nline\rreturn"),
            (f"{MD5}  C:\\not\\escaped", b"C:\\not\\escaped"),
            (f"MD5 (a (b)) = {MD5}", b"a (b)"),
            (f"\\MD5 (a\\nb) = {MD5}", b"a\nb"),
            (f"md5(a)= {MD5}", b"a"),
        ],
    )
    def test_every_usual_form_of_a_line_is_read(self, line, path):
        assert [(path, "md5", MD5)] == read(line)
        assert [(path, "md5", MD5)] * 2 == read(f"{line}\r\n# a comment\n\n; another\n{line}\n")

    def test_names_that_are_not_utf_8_are_their_bytes(self):
        assert [(b"c\xf4ng", "md5", MD5)] == read(MD5.encode() + b"  c\xf4ng\n")

    def test_a_byte_order_mark_is_passed_over(self):
        assert [(b"a", "md5", MD5)] == read(b"\xef\xbb\xbf" + MD5.encode() + b"  a\n")

    @pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
    def test_the_length_tells_the_algorithm(self, algorithm):
        value = hashlib.new(algorithm, b"x").hexdigest()

        assert [(b"a", algorithm, value)] == read(f"{value}  a")

    @pytest.mark.parametrize(
        ("name", "length", "algorithm"),
        [
            ("B3SUMS", 64, "blake3"),
            ("x.blake3", 64, "blake3"),
            ("SHA256SUMS", 64, "sha256"),
            ("b2sums.txt", 128, "blake2b"),
            ("sums", 128, "sha512"),
        ],
    )
    def test_the_lists_name_tells_what_the_length_cannot(self, name, length, algorithm):
        assert algorithm == read("0" * length + "  a", name)[0][1]

    @pytest.mark.parametrize(
        ("tag", "length", "algorithm"),
        [
            ("BLAKE3", 64, "blake3"),
            ("SHA3-256", 64, "sha3_256"),
            ("BLAKE2b", 128, "blake2b"),
            ("SHA512", 128, "sha512"),
        ],
    )
    def test_a_tag_tells_the_algorithm(self, tag, length, algorithm):
        assert [(b"a", algorithm, "0" * length)] == read(f"{tag} (a) = {'0' * length}", "b3")

    @pytest.mark.parametrize(
        "line",
        [
            "rubbish",
            "0" * 31 + "  a",
            "0" * 33 + "  a",
            "0" * 200 + "  a",
            "g" * 32 + "  a",
            MD5,
            f"{MD5}  ",
            f"SHA256 (a) = {MD5}",
            f"CRC32 (a) = {MD5}",
            f"BLAKE2b-256 (a) = {SHA256}",
            f"\\{MD5}  wrong \\x escape",
            f"\\{MD5}  ends in \\",
            "\0",
        ],
    )
    def test_what_is_no_checksum_is_refused_with_its_line(self, line):
        with pytest.raises(ChecksumListError, match="sums, line 2"):
            read(f"{MD5}  fine\n{line}\n")

    def test_utf_16_lists_are_refused_rather_than_misread(self):
        with pytest.raises(ChecksumListError):
            read(f"{MD5}  a\r\n".encode("utf-16"))

    def test_a_line_of_a_gigabyte_is_refused_at_once_and_in_little_memory(self, tmp_path):
        with open(tmp_path / "sums", "wb") as file:
            file.write(MD5.encode() + b"  a\n" + MD5.encode() + b"  ")
            file.truncate(1 << 30)
        tracemalloc.start()
        begin = time.monotonic()
        try:
            with open(tmp_path / "sums", "rb", buffering=0) as source, pytest.raises(ChecksumListError, match="line 2"):
                list(read_checksums(source, "sums"))
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        assert time.monotonic() - begin < 2

    @pytest.mark.parametrize("options", [[], ["--tag"], ["-b"]])
    @pytest.mark.parametrize("tool", ["md5sum", "sha1sum", "sha256sum", "sha512sum", "b2sum", "b3sum"])
    def test_what_the_tools_write_is_read_back(self, tmp_path, tool, options):
        if shutil.which(tool) is None or (tool == "b3sum" and options):
            pytest.skip(f"{tool} is not here or does not know this option")
        names = [b"plain", b"new\nline", b"back\\slash", b" space ", b"(paren) = x", "hồ sơ".encode(), b"*star"]
        write(tmp_path, dict.fromkeys(names, b"content"))
        out = subprocess.run([tool, *options, "--", *names], cwd=tmp_path, capture_output=True, check=True).stdout

        found = read(out, tool)

        assert names == [path for path, _, _ in found]
        algorithm = {"b2sum": "blake2b", "b3sum": "blake3"}.get(tool, tool.removesuffix("sum"))
        assert {algorithm} == {found_algorithm for _, found_algorithm, _ in found}


TRUTH = {b"a": b"1", b"sub/b": b"2" * (3 << 20), "hồ sơ".encode(): b"3"}


class TestWithASubmission:
    @pytest.fixture
    def root(self, tmp_path):
        return write(tmp_path / "dossier", {"a": b"1", "sub/b": b"2" * (3 << 20), "hồ sơ": b"3"})

    @pytest.fixture
    def staging(self, tmp_path):
        return tmp_path / "staging"

    @pytest.fixture
    def sums(self, tmp_path):
        def give(data, name="sums.txt"):
            path = tmp_path / name
            path.write_bytes(data)
            return path

        return give

    @pytest.mark.parametrize("prefix", [b"", b"./", b"dossier/", b"./dossier/"])
    @pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512"])
    def test_digests_are_given_and_verified_whatever_folder_the_list_was_made_in(
        self, root, staging, sums, prefix, algorithm
    ):
        path = sums(manifest({prefix + name: data for name, data in TRUTH.items()}, algorithm))

        with opened(root, staging, checksums=path) as submission:
            submission.verify_all()
            value = hashlib.new(algorithm, b"1").hexdigest()
            assert (SuppliedDigest(algorithm, value),) == submission.supplied(b"a")
            assert submission.warnings == []

    def test_absolute_names_below_the_submission_are_its_files(self, root, staging, sums):
        path = sums(manifest({os.fsencode(root) + b"/" + name: data for name, data in TRUTH.items()}))

        with opened(root, staging, checksums=path) as submission:
            submission.verify_all()
            assert submission.warnings == []

    def test_blake3_lists_are_verified(self, root, staging, sums):
        lines = [b"%s  %s\n" % (blake3(data).hexdigest().encode(), name) for name, data in TRUTH.items()]

        with opened(root, staging, checksums=sums(b"".join(lines), "B3SUMS")) as submission:
            submission.verify_all()
            assert "blake3" == submission.supplied(b"sub/b")[0].algorithm

    @pytest.mark.parametrize("name", [b"a", b"sub/b"])
    def test_a_file_that_differs_is_named(self, root, staging, sums, name):
        path = sums(manifest({**TRUTH, name: b"other"}))

        expected = pytest.raises(DigestMismatchError, match=f"^{name.decode()}: the supplied sha256 is")
        with opened(root, staging, checksums=path) as submission, expected:
            submission.verify_all()

    def test_measured_digests_are_compared(self, root, staging, sums):
        with opened(root, staging, checksums=sums(manifest({b"a": b"1"}))) as submission:
            file, other = file_at(submission, b"a"), file_at(submission, b"sub/b")
            submission.compare(file, {"sha256": hashlib.sha256(b"1").hexdigest(), "blake3": "whatever"})
            submission.compare(other, {})
            with pytest.raises(DigestMismatchError):
                submission.compare(file, {"sha256": hashlib.sha256(b"2").hexdigest()})
            with pytest.raises(ValueError, match="not measured"):
                submission.compare(file, {"md5": "0"})

    def test_a_listed_file_that_is_not_there_is_refused(self, root, staging, sums):
        path = sums(manifest({**TRUTH, b"sub/none": b""}))

        with pytest.raises(ChecksumFileMissingError, match="sub/none"), opened(root, staging, checksums=path):
            pass
        assert left_in(staging) == []

    def test_files_that_are_not_listed_give_one_warning(self, root, staging, sums):
        with opened(root, staging, checksums=sums(manifest({b"a": b"1"}))) as submission:
            assert ["not-in-checksum-list"] == codes(submission)
            assert "2 files" in submission.warnings[0].detail

    def test_a_list_that_lies_in_the_submission_is_kept_and_need_not_list_itself(self, root, staging):
        path = os.path.join(root, "SHA256SUMS")
        with open(path, "wb") as file:
            file.write(manifest(TRUTH))

        with opened(root, staging, checksums=path) as submission:
            submission.verify_all()
            assert submission.warnings == []
            assert b"SHA256SUMS" in contents(submission)

    @pytest.mark.parametrize("name", [b"../dossier/a", b"/etc/passwd", b"sub/../a", b"C:\\a", b"\\\\server\\a"])
    def test_names_that_lead_elsewhere_are_refused(self, root, staging, sums, name):
        path = sums(manifest({name: b"1"}))

        with pytest.raises(EscapingPathError), opened(root, staging, checksums=path):
            pass

    def test_a_list_that_contradicts_itself_is_refused(self, root, staging, sums):
        path = sums(manifest({b"a": b"1"}) + manifest({b"./a": b"2"}))

        with (
            pytest.raises(ChecksumListError, match="line 2: a is listed before"),
            opened(root, staging, checksums=path),
        ):
            pass

    def test_a_list_that_repeats_itself_or_has_several_algorithms_is_not(self, root, staging, sums):
        path = sums(manifest(TRUTH) * 2 + manifest(TRUTH, "md5"))

        with opened(root, staging, checksums=path) as submission:
            submission.verify_all()
            assert ["md5", "sha256"] == [digest.algorithm for digest in submission.supplied(b"a")]

    def test_a_list_that_is_not_there_or_no_file_is_refused(self, root, staging, tmp_path):
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(SubmissionUnreadableError), opened(root, staging, checksums=tmp_path / "none"):
            pass
        with pytest.raises(SpecialFileError), opened(root, staging, checksums=tmp_path / "pipe"):
            pass

    def test_a_file_changed_between_verifying_and_reading_ends_the_reading(self, root, staging, sums):
        with opened(root, staging, checksums=sums(manifest(TRUTH))) as submission:
            submission.verify_all()
            with open(os.path.join(root, "a"), "wb") as file:
                file.write(b"9")
            with pytest.raises(SubmissionChangedError):
                contents(submission)

    def test_a_single_file_and_its_list(self, root, staging, sums):
        with opened(f"{root}/a", staging, checksums=sums(manifest({b"a": b"1"}))) as submission:
            submission.verify_all()
            assert "sha256" == submission.supplied(b"a")[0].algorithm

    def test_a_bag_and_a_list_are_both_compared(self, tmp_path, staging, sums):
        root = bag(tmp_path / "bag", {"data/a": b"1"}, algorithms=["md5"])

        with opened(root, staging, checksums=sums(manifest({b"data/a": b"1"}))) as submission:
            submission.verify_all()
            assert ["md5", "sha256"] == [digest.algorithm for digest in submission.supplied(b"data/a")]
        path = sums(manifest({b"data/a": b"2"}))
        with opened(root, staging, checksums=path) as submission, pytest.raises(DigestMismatchError):
            submission.verify_all()
