"""A list of checksums from outside against what is kept."""

import hashlib
import os
import unicodedata

import pytest
from cli_support import FILES, FONDS, archive

from preservation import comparison


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    one = made.ingest()["package"]
    two = made.ingest({"a.txt": b"another first", "z.txt": b"z"}, name="two")["package"]
    return made, one, two


def content(files=FILES):
    return {path: data for path, data in files.items() if data is not None}


def listing(folder, lines, name="SHA256SUMS"):
    path = folder / name
    path.write_bytes(b"".join(f"{digest}  ".encode() + os.fsencode(path) + b"\n" for digest, path in lines))
    return path


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def verdicts(said):
    return {one["path"]: one["verdict"] for one in said.json}


def test_a_whole_list_matches(kept, tmp_path):
    made, one, _ = kept
    path = listing(tmp_path, [(sha256(data), f"./{name}") for name, data in content().items()])
    for more in ([], ["--package", one], ["--fonds", FONDS]):
        said = made("compare", path, "--json", *more)
        assert said.status == 0
        assert {"match"} == set(verdicts(said).values())
        assert 4 == len(said.json)
    assert "4" in made("compare", path).out


def test_what_differs_is_missing_or_has_another_name_is_told_apart(kept, tmp_path):
    made, one, _ = kept
    lines = [
        (sha256(b"changed"), "b.bin"),
        (sha256(b"nowhere"), "nowhere.txt"),
        (sha256(b"first"), "under another name.txt"),
        (sha256(FILES["thư mục/tờ trình.txt"]), "thư mục/tờ trình.txt"),
    ]
    said = made("compare", listing(tmp_path, lines), "--json")
    assert said.status == 3
    assert list(verdicts(said).values()) == ["differs", "missing", "renamed", "match"]
    found = {item["path"]: item for item in said.json}
    assert (one, "a.txt") == (found["under another name.txt"]["package"], found["under another name.txt"]["held"])
    assert found["b.bin"]["found"] == sha256(FILES["b.bin"])
    text = made("compare", listing(tmp_path, lines)).out
    assert "nowhere.txt: MISSING" in text
    assert "tờ trình" not in text
    assert "tờ trình" in made("compare", listing(tmp_path, lines), "--all").out


def test_content_that_is_held_under_another_name_is_fine(kept, tmp_path):
    made, _, _ = kept
    assert made("compare", listing(tmp_path, [(sha256(b"first"), "x/y/z")])).status == 0


def test_exchanged_files_of_a_package_differ(kept, tmp_path):
    made, _, two = kept
    swapped = listing(tmp_path, [(sha256(b"z"), "a.txt"), (sha256(b"another first"), "z.txt")])
    said = made("compare", swapped, "--package", two, "--json")
    assert (3, {"a.txt": "differs", "z.txt": "differs"}) == (said.status, verdicts(said))


def test_held_files_that_are_not_listed_are_told_of_one_package(kept, tmp_path):
    made, _, two = kept
    path = listing(tmp_path, [(sha256(b"z"), "z.txt")])
    said = made("compare", path, "--package", two, "--json")
    assert (3, {"z.txt": "match", "a.txt": "unlisted"}) == (said.status, verdicts(said))
    assert made("compare", path).status == 0


def test_lists_of_other_digests_are_compared_by_reading(kept, tmp_path):
    made, one, _ = kept
    lines = [(hashlib.md5(data).hexdigest(), name) for name, data in content().items()]
    assert made("compare", listing(tmp_path, lines, "list.md5"), "--package", one).status == 0
    lines[0] = (hashlib.md5(b"no").hexdigest(), lines[0][1])
    assert made("compare", listing(tmp_path, lines, "list.md5"), "--package", one).status == 3
    lines = [(one["blake3"], one["path"]) for one in made.json("show", one)["files"]]
    assert made("compare", listing(tmp_path, lines, "B3SUMS")).status == 0


def test_names_are_compared_whatever_their_unicode_form(kept, tmp_path):
    made, _, _ = kept
    name = unicodedata.normalize("NFD", "thư mục/tờ trình.txt")
    said = made("compare", listing(tmp_path, [(sha256(FILES["thư mục/tờ trình.txt"]), name)]), "--json")
    assert ["match"] == list(verdicts(said).values())


def test_a_list_longer_than_a_batch_gives_the_same(kept, tmp_path, monkeypatch):
    made, one, _ = kept
    path = listing(tmp_path, [(sha256(data), name) for name, data in content().items()])
    whole = made("compare", path, "--package", one, "--json")
    monkeypatch.setattr(comparison, "LINES_AT_ONCE", 1)
    assert made("compare", path, "--package", one, "--json") == whole


def test_a_file_that_no_store_can_give_is_never_called_fine(tmp_path):
    made = archive(tmp_path)
    package = made.ingest({"a.txt": b"first" * 1000})["package"]
    for store in ("d1", "d2"):
        (pack,) = made.packs(store)
        pack.chmod(0o644)
        data = pack.read_bytes()
        pack.write_bytes(data.replace(b"first" * 1000, b"FIRST" * 1000, 1))
    lines = [(hashlib.md5(b"first" * 1000).hexdigest(), "a.txt")]
    said = made("compare", listing(tmp_path, lines, "list.md5"), "--package", package, "--json")
    assert (3, {"a.txt": "unreadable"}) == (said.status, verdicts(said))


def test_what_is_no_list_is_an_error(kept, tmp_path):
    made, _, _ = kept
    (tmp_path / "odd").write_text("this is not a list\n")
    said = made("compare", tmp_path / "odd")
    assert said.status == 1
    assert "odd" in said.err
