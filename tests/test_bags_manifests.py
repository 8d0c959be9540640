"""Manifests, metadata and fetch lists that lie or lead elsewhere."""

import hashlib
import os
import time
import tracemalloc

import pytest
from submission_support import bag, codes, contents, left_in, manifest, opened, write

from preservation.submission.errors import (
    BagConflictError,
    BagFetchError,
    BagFileMissingError,
    BagFileUnlistedError,
    BagManifestError,
    BagOxumError,
    ControlCharacterError,
    DigestMismatchError,
    EscapingPathError,
    NameTooLongError,
    SpecialFileError,
    SubmissionChangedError,
    SubmissionRefusedError,
    SymbolicLinkError,
)

PAYLOAD = {"data/a.txt": b"one", "data/sub/hồ sơ.txt": b"two", "data/empty": b""}
DIGEST = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "bag"


@pytest.fixture
def staging(tmp_path):
    return tmp_path / "staging"


@pytest.fixture
def refused(staging):
    def check(error, root):
        with pytest.raises(error) as caught, opened(root, staging) as submission:
            submission.verify_all()
        assert left_in(staging) == []
        assert str(caught.value).isprintable()
        return str(caught.value)

    return check


@pytest.fixture
def accepted(staging):
    def check(root):
        with opened(root, staging) as submission:
            submission.verify_all()
            submission.found = contents(submission)
            return submission

    return check


def info(**fields):
    return "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items()).encode()


class TestManifests:
    @pytest.mark.parametrize(
        "name",
        [
            "../x", "data/../../x", "data/../data/a.txt", "/etc/passwd", "//x", "~/x", "~root/x", "C:\\x", "c:/x",
            "\\\\server\\x", "\\\\?\\UNC\\x", "%HOME%\\x", "data", "data/", "data//a.txt", "data/./a.txt", "data/.",
            "data/..", "database/x", "Data/a.txt", "bagit.txt", "./../data/a.txt", "file:///etc/passwd",
        ],
    )  # fmt: skip
    def test_paths_that_are_not_below_data_are_refused(self, root, refused, name):
        bag(root, {"data/a.txt": b"one"}, listed={"data/a.txt": b"one", name: b"one"}, version="0.97")

        refused(EscapingPathError, root)

    @pytest.mark.parametrize("name", ["../x", "/etc/passwd", "data/a.txt", "a/../bagit.txt", "C:\\x", "\\\\server\\x"])
    def test_tag_manifests_must_not_lead_elsewhere_nor_list_payload(self, root, refused, name):
        bag(root, {"data/a.txt": b"one"}, tags={"tagmanifest-sha256.txt": manifest({name.encode(): b"one"})})

        refused(EscapingPathError, root)

    def test_a_sibling_with_the_same_prefix_is_outside(self, root, refused):
        """bagit 1.9.0 compares path prefixes letter by letter, and takes ``../bag-evil`` for a part of ``bag``."""
        write(f"{root}-evil", {"s.txt": b"secret"})
        bag(root, {"data/a": b"1"}, listed={"data/a": b"1", "../bag-evil/s.txt": b"secret"}, version="0.97")

        refused(EscapingPathError, root)

    def test_a_symbolic_link_to_a_folder_outside_is_refused(self, root, refused, tmp_path):
        """bagit 1.9.0 finds such a bag valid, with the content behind the link in no manifest."""
        bag(root, {"data/a": b"1"})
        write(tmp_path / "outside", {"secret": b"x"})
        os.symlink(tmp_path / "outside", root / "data" / "link")

        refused(SymbolicLinkError, root)

    def test_special_files_in_a_bag_are_refused(self, root, refused):
        bag(root, {"data/a": b"1"})
        os.mkfifo(root / "manifest-md5.txt")

        refused(SpecialFileError, root)

    @pytest.mark.parametrize(
        "line",
        [
            "no digest", DIGEST, f"{DIGEST} ", f" {DIGEST}  data/a.txt", f"{DIGEST[:-1]}  data/a.txt",
            f"{DIGEST}0  data/a.txt", f"{DIGEST[:-1]}g  data/a.txt", f"\\{DIGEST}  data/a.txt", "=  data/a.txt",
            f"SHA256 (data/a.txt) = {DIGEST}", f"{DIGEST}data/a.txt",
        ],
    )  # fmt: skip
    def test_malformed_lines_are_refused_with_their_number(self, root, refused, line):
        text = f"{DIGEST}  data/a.txt\n\n{line}\n".encode()
        bag(root, {"data/a.txt": b"one"}, algorithms=[], tags={"manifest-sha256.txt": text})

        assert "manifest-sha256.txt, line 3" in refused(BagManifestError, root)

    @pytest.mark.parametrize("data", [b"\xff\xfe\xfd", "é".encode("latin-1"), "x".encode("utf-16")])
    def test_a_manifest_that_is_not_in_its_declared_encoding_is_refused(self, root, refused, data):
        bag(root, {"data/a.txt": b"one"}, algorithms=[], tags={"manifest-sha256.txt": data + b"\n"})

        refused(BagManifestError, root)

    @pytest.mark.parametrize("name", ["manifest-sha256.txt", "tagmanifest-sha256.txt", "bag-info.txt", "fetch.txt"])
    def test_a_tag_file_with_a_line_of_a_gigabyte_is_refused_at_once_and_in_little_memory(self, root, refused, name):
        bag(root, {"data/a.txt": b"one"})
        with open(root / name, "ab") as file:
            file.write(b"x: ")
            file.truncate(1 << 30)
        tracemalloc.start()
        begin = time.monotonic()
        try:
            refused(BagManifestError, root)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        assert time.monotonic() - begin < 2

    def test_names_with_nul_or_control_characters_are_refused(self, root, refused):
        for name in ("data/a\0", "data/\x1b[31m", "data/a\x85"):
            bag(root, {}, listed={name: b""})
            refused(ControlCharacterError, root)

    def test_names_of_256_bytes_and_paths_beyond_the_limit_are_refused(self, root, refused):
        bag(root, {}, listed={"data/" + "x" * 256: b""})
        refused(NameTooLongError, root)
        bag(root, {}, listed={"data" + "/x" * 40_000: b""})
        refused(NameTooLongError, root)

    @pytest.mark.parametrize(("version", "fine"), [("0.97", True), ("1.0", False)])
    def test_a_path_listed_twice_with_the_same_digest(self, root, accepted, refused, version, fine):
        text = manifest({b"data/a": b"1"}) + manifest({b"./data/a": b"1"})
        bag(root, {"data/a": b"1"}, algorithms=[], version=version, tags={"manifest-sha256.txt": text})

        if fine:
            assert ["listed-twice", "dot-slash"] == codes(accepted(root))
        else:
            refused(BagConflictError, root)

    @pytest.mark.parametrize("version", ["0.93", "0.97", "1.0"])
    def test_a_path_listed_twice_with_different_digests_is_refused(self, root, refused, version):
        text = manifest({b"data/a": b"1"}) + manifest({b"data/a": b"2"})
        bag(root, {"data/a": b"1"}, algorithms=[], version=version, tags={"manifest-sha256.txt": text})

        refused(BagConflictError, root)

    def test_manifests_that_disagree_about_a_file_are_refused(self, root, refused):
        bag(root, {"data/a": b"1"}, tags={"manifest-md5.txt": manifest({b"data/a": b"2"}, "md5")})

        refused(DigestMismatchError, root)

    @pytest.mark.parametrize(("version", "fine"), [("0.97", True), ("1.0", False)])
    def test_a_file_that_only_one_of_two_manifests_lists(self, root, accepted, refused, version, fine):
        bag(
            root,
            {"data/a": b"1", "data/b": b"2"},
            version=version,
            tags={"manifest-md5.txt": manifest({b"data/a": b"1"}, "md5")},
        )

        if fine:
            accepted(root)
        else:
            assert "data/b: is not listed in the manifest for md5" in refused(BagFileUnlistedError, root)

    def test_missing_extra_and_wrong_files_are_named(self, root, refused):
        bag(root / "1", {"data/a": b"1"}, listed={"data/a": b"1", "data/b": b"2"})
        assert refused(BagFileMissingError, root / "1").startswith("data/b")
        bag(root / "2", {"data/a": b"1", "data/sub/b": b"2"}, listed={"data/a": b"1"})
        assert refused(BagFileUnlistedError, root / "2").startswith("data/sub/b")
        bag(root / "3", {"data/a": b"1"}, listed={"data/a": b"9"})
        assert refused(DigestMismatchError, root / "3").startswith("data/a: the supplied sha256")
        bag(root / "4", {"data/a": b"1"}, listed={"data/a/b": b"1"})
        refused(BagFileMissingError, root / "4")
        bag(root / "5", {"data/a": b"1"}, tags={"tagmanifest-md5.txt": manifest({b"none.txt": b""}, "md5")})
        assert "none.txt: is listed in tagmanifest-md5.txt" in refused(BagFileMissingError, root / "5")

    def test_a_listed_path_that_is_a_folder_is_missing(self, root, refused):
        bag(root, {"data/a": b"1", "data/sub/x": b""}, listed={"data/a": b"1", "data/sub": b"", "data/sub/x": b""})

        refused(BagFileMissingError, root)

    def test_a_changed_tag_file_is_refused(self, root, refused):
        tags = {"bag-info.txt": b"A: B\n", "tagmanifest-sha256.txt": manifest({b"bag-info.txt": b"A: C\n"})}
        bag(root, PAYLOAD, tags=tags)

        assert refused(DigestMismatchError, root).startswith("bag-info.txt")

    def test_more_differences_than_are_looked_into_are_refused_quickly(self, root, refused):
        many = {f"data/{number}": b"" for number in range(1200)}
        bag(root, {"data/a": b"1"}, listed=many)
        refused(BagFileMissingError, root)

        bag(root / "x", many, listed={})
        refused(BagFileUnlistedError, root / "x")

    def test_a_payload_file_that_comes_after_the_check_is_noticed(self, root, staging):
        bag(root, PAYLOAD)

        with opened(root, staging) as submission:
            submission.verify_all()
            write(root, {"data/late": b""})
            with pytest.raises(SubmissionChangedError):
                contents(submission)
            with pytest.raises(SubmissionChangedError, match="data/late"):
                submission.supplied(b"data/late")

    def test_every_flipped_byte_of_payload_and_manifest_is_refused(self, root, staging):
        bag(root, {"data/a": b"some content"}, tags={"tagmanifest-md5.txt": b""})
        text = (root / "manifest-sha256.txt").read_bytes()
        (root / "tagmanifest-md5.txt").write_bytes(manifest({b"manifest-sha256.txt": text}, "md5"))
        for name in ("data/a", "manifest-sha256.txt"):
            good = (root / name).read_bytes()
            for position in range(len(good)):
                bad = bytearray(good)
                bad[position] ^= 0x20
                (root / name).write_bytes(bytes(bad))
                with pytest.raises(SubmissionRefusedError), opened(root, staging) as submission:
                    submission.verify_all()
            (root / name).write_bytes(good)
        with opened(root, staging) as submission:
            submission.verify_all()


class TestOxumAndFetch:
    @pytest.mark.parametrize(
        "oxum", ["6.2", "7.3", "6.3.0", "6", "", "-6.3", "six.three", "6.4", "9" * 5000 + ".3", "٦.3"]
    )
    def test_a_payload_oxum_that_lies_is_refused(self, root, refused, oxum):
        bag(root, PAYLOAD, tags={"bag-info.txt": info(Payload_Oxum=oxum)})

        refused(BagOxumError, root)

    def test_a_true_one_is_accepted_and_each_of_several_must_be_true(self, root, accepted, refused):
        bag(root, PAYLOAD, tags={"bag-info.txt": info(Payload_Oxum="6.3")})
        accepted(root)
        bag(root, PAYLOAD, tags={"bag-info.txt": info(Payload_Oxum="6.3") + info(payload_oxum="6.4")})
        refused(BagOxumError, root)

    @pytest.mark.parametrize("text", [b"no colon\n", b": no label\n", b"  continued from nothing\n"])
    def test_malformed_metadata_is_refused(self, root, refused, text):
        bag(root, PAYLOAD, tags={"bag-info.txt": text})

        refused(BagManifestError, root)

    def test_metadata_beyond_a_megabyte_is_refused(self, root, refused):
        bag(root, PAYLOAD, tags={"bag-info.txt": b"A: B\n" * 300_000})

        refused(BagManifestError, root)

    @pytest.mark.parametrize(
        "line",
        [
            "http://localhost:1/x - data/a.txt",
            "file:///etc/passwd 3 data/a.txt",
            "http://169.254.169.254/x\t3\tdata/a.txt",
            "gopher:anything - ./data/a.txt",
        ],
    )
    def test_a_fetch_list_of_files_that_are_all_there_is_accepted_and_nothing_is_fetched(self, root, accepted, line):
        bag(root, PAYLOAD, tags={"fetch.txt": line.encode()})

        submission = accepted(root)

        assert ["fetch"] == codes(submission)
        assert b"fetch.txt" in submission.found

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("http://x/ - data/none", BagFetchError),
            ("http://x/ 4 data/a.txt", BagFetchError),
            ("http://x/ - data/sub", BagFetchError),
            ("http://x/ - bagit.txt", EscapingPathError),
            ("http://x/ - ../x", EscapingPathError),
            ("http://x/ - data/../../x", EscapingPathError),
            ("http://x/ - /etc/passwd", EscapingPathError),
            ("http://x/ - ~/x", EscapingPathError),
            ("http://x/ -1 data/a.txt", BagManifestError),
            ("http://x/ data/a.txt", BagManifestError),
            ("http://x/", BagManifestError),
            ("http://x/ - data/a%0A", ControlCharacterError),
        ],
    )
    def test_a_fetch_list_that_asks_for_more_or_leads_elsewhere_is_refused(self, root, refused, line, error):
        bag(root, PAYLOAD, tags={"fetch.txt": f"http://x/ - data/empty\n{line}\n".encode()})

        refused(error, root)

    def test_a_fetched_file_that_is_listed_but_missing_is_refused(self, root, refused):
        bag(root, {"data/a": b"1"}, listed={"data/a": b"1", "data/b": b"2"}, tags={"fetch.txt": b"http://x/ - data/b"})

        refused(BagFileMissingError, root)


def test_a_bag_of_many_files_is_checked_in_little_memory(root, staging):
    bag(root, {f"data/{number % 20}/{number:06}": b"" for number in range(1500)}, algorithms=["md5", "sha256"])
    tracemalloc.start()
    try:
        with opened(root, staging) as submission:
            submission.verify_all()
            assert 1503 == submission.files
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20
