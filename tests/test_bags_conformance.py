"""The Library of Congress' conformance suite, each bag judged as its folder says."""

import os

import pytest
from submission_support import contents, left_in, opened

from preservation.submission.errors import SubmissionRefusedError

CORPORA = os.environ.get("MOCBAN_CORPORA") or os.path.join(os.path.dirname(__file__), "..", "..", "shared", "corpora")
SUITE = os.path.join(CORPORA, "bagit-conformance-suite")


def bags(*categories):
    found = []
    for version in sorted(os.listdir(SUITE)) if os.path.isdir(SUITE) else []:
        for category in categories:
            folder = os.path.join(SUITE, version, category)
            names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            found += [f"{version}/{category}/{name}" for name in names if os.path.isdir(os.path.join(folder, name))]
    return found


pytestmark = [
    pytest.mark.corpora,
    pytest.mark.skipif(not os.path.isdir(SUITE), reason="the corpora are not here: bagit-conformance-suite"),
]


@pytest.mark.parametrize("name", bags("valid"))
def test_a_valid_bag_is_accepted_and_kept_whole(name, tmp_path):
    root = os.path.join(SUITE, name)
    with opened(root, tmp_path / "s") as submission:
        submission.verify_all()
        found = contents(submission)

    assert "bag" == submission.kind
    assert submission.description["bag"]["version"] == name.split("/")[0].removeprefix("v")
    on_disk = [os.path.relpath(os.path.join(at, file), root) for at, _, files in os.walk(root) for file in files]
    assert sorted(map(os.fsencode, on_disk)) == [path for path, data in found.items() if data is not None]
    expected = {"dot-slash"} if "dot-slash" in name else {"fetch"} if "holey" in name else set()
    assert expected == {remark.code for remark in submission.warnings}


@pytest.mark.parametrize("name", bags("warning"))
def test_a_bag_with_something_odd_is_accepted_with_a_warning(name, tmp_path):
    with opened(os.path.join(SUITE, name), tmp_path / "s") as submission:
        submission.verify_all()
        found = {remark.code for remark in submission.warnings}

    assert {
        "duplicate-file-with-different-case": {"listed-as-twins"},
        "made-with-md5sum-tools": {"md5sum-style"},
        "relative-path": {"dot-slash"},
        "same-filename-listed-twice-with-different-normalization": {"listed-as-twins"},
        "same-filename-listed-twice-with-the-same-hash": {"listed-twice"},
        "special-system-files": {"system-file-missing"},
    }[name.rpartition("/")[2]] == found


EXPECTED = {
    "bagit-with-invalid-whitespace": "bag-declaration",
    "baginfo-missing-encoding": "bag-declaration",
    "bom-in-bagit.txt": "bag-declaration",
    "corrupt-data-file": "bag-oxum",
    "corrupt-tag-file": "digest-mismatch",
    "extra-file-in-bag": "bag-file-unlisted",
    "invalid-version-number": "bag-declaration",
    "missing-baginfo": "bag-file-missing",
    "missing-bagit.txt": "bag-declaration",
    "notAllManifestsListAllFiles": "bag-file-unlisted",
    "same-filename-listed-twice-with-different-hashes": "bag-conflict",
    "same-filename-listed-twice-with-the-same-hash": "bag-conflict",
}


@pytest.mark.parametrize("name", bags("invalid", "linux-only", "windows-only"))
def test_an_invalid_bag_is_refused_for_the_reason_in_its_name(name, tmp_path):
    with (
        pytest.raises(SubmissionRefusedError) as caught,
        opened(os.path.join(SUITE, name), tmp_path / "s") as submission,
    ):
        submission.verify_all()

    fault = name.rpartition("/")[2]
    expected = {EXPECTED.get(fault, "escaping-path")}
    if name == "v1.0/invalid/same-filename-listed-twice-with-different-hashes":
        expected = {"bag-declaration"}  # its version line ends in a space, which comes first
    assert caught.value.code in expected
    assert left_in(tmp_path / "s") == []


def test_the_suite_is_whole():
    counts = [len(bags(category)) for category in ("valid", "warning", "invalid", "linux-only", "windows-only")]

    assert [27, 6, 15, 6, 6] == counts
