"""Bags that lie, lead elsewhere, or are merely unusual."""

import hashlib
import os
import unicodedata

import pytest
from submission_support import bag, codes, contents, left_in, manifest, opened, paths, write

from preservation.submission.errors import (
    BagAlgorithmError,
    BagConflictError,
    BagDeclarationError,
    BagFileMissingError,
    BagFileUnlistedError,
    ControlCharacterError,
    DigestMismatchError,
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


class TestAccepted:
    @pytest.mark.parametrize("version", ["0.93", "0.94", "0.95", "0.96", "0.97", "1.0"])
    @pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3256", "blake2b"])
    def test_every_version_and_algorithm(self, root, accepted, version, algorithm):
        known = {"sha3256": "sha3_256"}.get(algorithm, algorithm)
        text = manifest({os.fsencode(path): data for path, data in PAYLOAD.items()}, known)
        bag(root, PAYLOAD, version=version, algorithms=[], tags={f"manifest-{algorithm}.txt": text})

        submission = accepted(root)

        assert {os.fsencode(path): data for path, data in PAYLOAD.items()}.items() <= submission.found.items()
        assert {"version": version, "encoding": "UTF-8", "algorithms": [known], "info": []} == submission.description[
            "bag"
        ]
        assert submission.warnings == []

    def test_tag_files_and_empty_folders_are_kept_as_received(self, root, accepted):
        bag(root, PAYLOAD, tags={"more/tag.txt": b"t", "data/none/": None, "README": b"r"})

        found = accepted(root).found

        assert {b"more/tag.txt": b"t", b"README": b"r", b"data/none/": None}.items() <= found.items()

    def test_supplied_digests_are_those_of_all_manifests(self, root, staging):
        bag(
            root,
            PAYLOAD,
            algorithms=["sha256", "md5"],
            tags={"tagmanifest-md5.txt": manifest({b"x": b""}, "md5"), "x": b""},
        )

        with opened(root, staging) as submission:
            assert ["md5", "sha256"] == [digest.algorithm for digest in submission.supplied(b"data/a.txt")]
            assert DIGEST == submission.supplied(b"data/a.txt")[1].value
            assert ["md5"] == [digest.algorithm for digest in submission.supplied(b"x")]
            assert submission.supplied(b"bagit.txt") == ()

    def test_a_payload_of_nothing(self, root, accepted):
        bag(root, {})

        assert b"data/" in accepted(root).found

    def test_metadata_is_kept_in_order_with_repeated_labels_and_folded_lines(self, root, accepted):
        text = b"Contact: A\r\nTitle: long\r\n  title\r\nContact: B\r\nNote : x: y\r\nEmpty:\r\n"
        bag(root, PAYLOAD, tags={"bag-info.txt": text})

        expected = [["Contact", "A"], ["Title", "long title"], ["Contact", "B"], ["Note", "x: y"], ["Empty", ""]]
        assert expected == accepted(root).description["bag"]["info"]

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_lines_may_end_in_each_of_three_ways(self, root, accepted, end):
        text = manifest({os.fsencode(path): data for path, data in PAYLOAD.items()}).replace(b"\n", end)
        bag(root, PAYLOAD, algorithms=[], tags={"manifest-sha256.txt": text.removesuffix(end)})

        assert 5 == accepted(root).files

    @pytest.mark.parametrize(
        "encoding", ["UTF-8", "utf8", "UTF-16", "UTF-16LE", "UTF-32", "ISO-8859-1", "windows-1258"]
    )
    def test_tag_files_in_many_encodings(self, root, accepted, encoding):
        payload = {"data/é.txt": b"x"}
        tags = {
            "manifest-md5.txt": f"{hashlib.md5(b'x').hexdigest()}  data/é.txt\n".encode(encoding),
            "bag-info.txt": "Người: é\n".encode(encoding) if encoding.lower().startswith("utf") else b"A: B\n",
        }
        bag(root, payload, algorithms=[], tags=tags, encoding=encoding, version="0.97")

        assert "data/é.txt".encode() in accepted(root).found

    def test_upper_case_digests_and_a_byte_order_mark_in_a_manifest(self, root, accepted):
        text = (
            b"\xef\xbb\xbf"
            + manifest({b"data/a": b"1"}).replace(b"\n", b"").partition(b" ")[0].upper()
            + b"\tdata/a\n\n"
        )
        bag(root, {"data/a": b"1"}, algorithms=[], tags={"manifest-sha256.txt": text})

        assert accepted(root).warnings == []

    @pytest.mark.parametrize("name", ["~$_x.doc", "a\\b.txt", "-x", " lead", "trail ", "a  b", "*a", "'", "C:"])
    def test_odd_names_are_no_false_alarm(self, root, accepted, name):
        bag(root, {f"data/{name}": b"x"})

        assert accepted(root).warnings == []

    def test_bags_in_bags_are_payload(self, root, accepted):
        bag(root / "inner", {"data/x": b"1"})
        inner = {f"data/inner/{path}": data for path, data in
                 {"bagit.txt": b"rubbish", "data/x": b"2", "manifest-md5.txt": b"lies"}.items()}  # fmt: skip
        bag(root / "outer", inner)

        assert 5 == accepted(root / "outer").files

    def test_names_that_are_not_utf_8_can_only_be_tag_files_that_nobody_lists(self, root, accepted, refused):
        bag(root, PAYLOAD, tags={b"caf\xe9": b"x"})
        assert ["not-utf-8"] == codes(accepted(root))

        write(root, {b"data/caf\xe9": b"x"})
        refused(BagFileUnlistedError, root)

    def test_a_large_payload_file_is_verified_in_pieces(self, root, accepted, refused):
        bag(root, {"data/big": bytes(5 << 20)}, algorithms=["md5", "sha256"])
        accepted(root)

        with open(root / "data/big", "r+b") as file:
            file.seek(3 << 20)
            file.write(b"\1")
        assert "data/big" in refused(DigestMismatchError, root)


class TestSpellings:
    @pytest.mark.parametrize(("disk", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
    def test_a_name_listed_in_another_normalisation_is_taken_with_a_warning(self, root, staging, disk, listed):
        name = "data/Quyết định.txt"
        disk, listed = (unicodedata.normalize(form, name) for form in (disk, listed))
        bag(root, {disk: b"x"}, listed={listed: b"x"}, algorithms=["md5", "sha256"])

        with opened(root, staging) as submission:
            submission.verify_all()
            assert ["spelled-differently"] == codes(submission)
            assert disk.encode() in paths(submission)
            assert 2 == len(submission.supplied(disk.encode()))

    def test_the_digest_of_such_a_file_must_still_be_right(self, root, refused):
        disk, listed = (unicodedata.normalize(form, "data/đường") for form in ("NFC", "NFD"))
        bag(root, {disk: b"x"}, listed={listed: b"y"})

        refused(DigestMismatchError, root)

    def test_twins_that_are_both_there_are_both_verified(self, root, accepted, refused):
        one, other = (unicodedata.normalize(form, "data/ố") for form in ("NFC", "NFD"))
        bag(root, {one: b"1", other: b"2"})
        assert ["twins"] == codes(accepted(root))

        bag(root, {one: b"1", other: b"1"}, listed={one: b"1", other: b"2"})
        refused(DigestMismatchError, root)

    def test_a_name_that_differs_by_case_is_another_name(self, root, refused):
        bag(root, {"data/A": b"x"}, listed={"data/a": b"x"})

        refused(BagFileMissingError, root)

    def test_a_listed_twin_with_another_digest_is_missing(self, root, refused):
        bag(root, {"data/A": b"x"}, listed={"data/A": b"x", "data/a": b"y"}, version="0.97")

        assert refused(BagFileMissingError, root).startswith("data/a: is listed in manifest-sha256.txt")

    @pytest.mark.parametrize(
        ("version", "disk", "listed", "warned"),
        [
            ("1.0", "100%.txt", "100%25.txt", False),
            ("1.0", "100%.txt", "100%.txt", False),
            ("1.0", "100%25.txt", "100%2525.txt", False),
            ("1.0", "100%25.txt", "100%25.txt", True),
            ("1.0", "%41", "%41", False),
            ("0.97", "100%25.txt", "100%25.txt", False),
            ("0.97", "100%.txt", "100%25.txt", True),
            ("0.97", "a%0Ab", "a%0Ab", False),
        ],
    )
    def test_percent_signs_are_understood_as_each_version_means_them(  # noqa: PLR0917
        self, root, accepted, version, disk, listed, warned
    ):
        bag(root, {f"data/{disk}": b"x"}, listed={f"data/{listed}": b"x"}, version=version)

        assert (["spelled-differently"] if warned else []) == codes(accepted(root))

    def test_percent_twins_are_told_apart_in_version_1(self, root, accepted, refused):
        both = {"data/%": b"1", "data/%25": b"2"}
        bag(root, both, listed={"data/%25": b"1", "data/%2525": b"2"})
        accepted(root)

        bag(root, both, listed={"data/%25": b"2", "data/%2525": b"1"})
        refused(DigestMismatchError, root)

    @pytest.mark.parametrize("name", ["a%0Ab", "a%0D", "%0a", "a%0D%0Ab"])
    def test_encoded_line_ends_are_control_characters_in_version_1(self, root, refused, name):
        bag(root, {}, listed={f"data/{name}": b""})

        refused(ControlCharacterError, root)

    @pytest.mark.parametrize(("name", "data", "fine"), [
        (".DS_Store", b"", True), ("sub/Thumbs.db", b"", True), ("desktop.ini", b"", True),
        (".DS_Store", b"x", False), ("a.txt", b"", False), ("x.DS_Store", b"", False),
    ])  # fmt: skip
    def test_only_empty_system_files_may_be_missing(  # noqa: PLR0917
        self, root, accepted, refused, name, data, fine
    ):
        bag(
            root,
            {"data/a": b"1"},
            listed={"data/a": b"1", f"data/{name}": data},
            tags={"bag-info.txt": b"Payload-Oxum: 1.2\n"},
        )

        if fine:
            assert ["system-file-missing"] == codes(accepted(root))
        else:
            refused(BagFileMissingError, root)


class TestDeclaration:
    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"\n",
            b"BagIt-Version: 1.0\n",
            b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\nMore: x\n",
            b"Tag-File-Character-Encoding: UTF-8\nBagIt-Version: 1.0\n",
            b"BagIt-Version: 1.1\nTag-File-Character-Encoding: UTF-8\n",
            b"BagIt-Version: 0.92\nTag-File-Character-Encoding: UTF-8\n",
            b"BagIt-Version: 01.0\nTag-File-Character-Encoding: UTF-8\n",
            "BagIt-Version: \u0661.0\nTag-File-Character-Encoding: UTF-8\n".encode(),
            b"bagit-version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
            b"BagIt-Version: 1.0\nTag-File-Character-Encoding:\n",
            b"BagIt-Version: 1.0\nTag-File-Character-Encoding:  UTF-8\n",
            b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8 \n",
            b"\xef\xbb\xbfBagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
            b"BagIt-Version: 1.0\nTag-File-Character-Encoding: \xff\n",
            "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n".encode("utf-16"),
            b"x" * 5000,
        ],
    )
    def test_anything_but_two_exact_lines_is_refused(self, root, refused, text):
        bag(root, PAYLOAD, tags={"bagit.txt": text})

        refused(BagDeclarationError, root)

    @pytest.mark.parametrize(
        "encoding", ["zlib", "bz2", "hex", "rot13", "unicode_escape", "idna", "punycode", "utf-7", "x"]
    )
    def test_codecs_that_are_no_character_sets_are_refused(self, root, refused, encoding):
        bag(root, PAYLOAD, encoding=encoding)

        assert "encoding" in refused(BagDeclarationError, root)

    def test_without_a_payload_folder_or_manifest_it_is_refused(self, root, refused):
        bag(root / "1", PAYLOAD, algorithms=[])
        assert "no payload manifest" in refused(BagDeclarationError, root / "1")
        bag(root / "2", {})
        os.rmdir(root / "2/data")
        assert "data/" in refused(BagDeclarationError, root / "2")
        write(root / "2", {"data": b"a file"})
        refused(BagDeclarationError, root / "2")

    def test_an_unknown_digest_is_refused_unless_another_manifest_covers_the_payload(self, root, accepted, refused):
        bag(root / "1", PAYLOAD, algorithms=[], tags={"manifest-crc32.txt": b"0 data/a\n"})
        refused(BagAlgorithmError, root / "1")
        bag(root / "2", PAYLOAD, tags={"manifest-crc32.txt": b"0 ../../x\n", "manifest-shake128.txt": b""})
        assert ["unknown-algorithm"] * 2 == codes(accepted(root / "2"))

    def test_two_manifests_of_one_algorithm_are_refused(self, root, refused):
        bag(root, PAYLOAD, tags={"manifest-SHA256.txt": b""})

        refused(BagConflictError, root)
