"""Exports as OCFL objects, judged by ocfl-py: no error and no warning."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest
from dissemination_support import (
    PACKAGE,
    check_premis,
    ingested,
    manifest_of,
    outgoing_of,
    repository_in,
    same_content,
    texts,
    tree_of,
    version_of,
    write_tree,
)
from ocfl.validator import Validator

from preservation.dissemination import export
from preservation.dissemination.errors import ExportFailedError, NoSuchFileError
from preservation.dissemination.ocfl import write_ocfl
from preservation.dissemination.state import states

FIRST = {
    "Tờ trình/Quyết định số 1.txt".encode(): b"quyet dinh\n",
    "Tờ trình/bản sao.txt".encode(): b"quyet dinh\n",
    b"empty": b"",
    b"withdrawn": b"later withdrawn",
    b"100%25": b"percent",
    b"odd\xff/name": b"not UTF-8",
}


def judged(place):
    """Let ocfl-py validate the object in full, warnings included; return the inventory."""
    judge = Validator(log_warnings=True)
    valid = judge.validate_object(str(place))
    assert (valid, judge.log.num_errors, judge.log.num_warnings) == (True, 0, 0), str(judge)
    with open(place / "inventory.json", encoding="utf-8") as file:
        return json.load(file)


def object_by_hand(tmp_path, *trees, only=None):
    outgoing = outgoing_of([data for files in trees for data in files.values()])
    versions = [version_of(manifest_of(files, number=number), number, only) for number, files in enumerate(trees, 1)]
    write_ocfl(versions, os.fsencode(tmp_path / "object"), outgoing)
    outgoing.flushing.finish()
    return tmp_path / "object", outgoing.counts


def state_of(place, inventory, version):
    """The files of a version as an OCFL reader sees them."""
    found = {}
    for digest, names in inventory["versions"][version]["state"].items():
        for name in names:
            found[name] = (place / inventory["manifest"][digest][0]).read_bytes()
    return found


def test_three_versions_of_a_package_are_three_versions_of_a_valid_object(tmp_path):
    repository = repository_in(str(tmp_path))
    package = ingested(repository, write_tree(str(tmp_path / "source"), FIRST, [b"empty folder"])).package
    added = write_tree(str(tmp_path / "added"), {b"new": b"new", b"copy": b"quyet dinh\n"})
    ingested(repository, added, package=package, mode="add")
    replaced = write_tree(str(tmp_path / "replaced"), {b"empty": b"no longer"})
    ingested(repository, replaced, package=package, mode="replace", withdrawn=("withdrawn",))
    done = export(repository, package, str(tmp_path / "object"), form="ocfl")
    inventory = judged(tmp_path / "object")
    assert inventory["head"] == "v3"
    assert inventory["id"] == f"urn:uuid:{package}"
    assert state_of(tmp_path / "object", inventory, "v1")["withdrawn"] == b"later withdrawn"
    last = state_of(tmp_path / "object", inventory, "v3")
    assert last["empty"] == b"no longer"
    assert last["new"] == b"new"
    assert "withdrawn" not in last
    assert done.files == len(last) == 7
    assert done.bytes == sum(map(len, last.values()))
    assert {remark.code for remark in done.remarks} == {"renamed", "folder-left-out"}

    root = check_premis(str(tmp_path / "object" / "logs" / "premis.xml"))
    same_content(root, str(tmp_path / "object" / "logs" / "premis.json"))
    assert f"{package}/v2" in texts(root, "objectIdentifierValue")
    assert texts(root, "eventType").count("ingestion") == 3


def test_an_object_up_to_an_earlier_version_ends_there(tmp_path):
    repository = repository_in(str(tmp_path))
    package = ingested(repository, write_tree(str(tmp_path / "source"), {b"a": b"1"})).package
    ingested(repository, write_tree(str(tmp_path / "more"), {b"b": b"2"}), package=package, mode="add")
    export(repository, package, str(tmp_path / "object"), form="ocfl", version=1)
    assert judged(tmp_path / "object")["head"] == "v1"
    root = check_premis(str(tmp_path / "object" / "logs" / "premis.xml"))
    assert texts(root, "eventType").count("ingestion") == 1


def test_each_content_lies_in_the_object_once(tmp_path):
    place, _ = object_by_hand(
        tmp_path, {b"a": b"same", b"b": b"same"}, {b"c": b"same"}, {b"a": b"other", b"b": b"same"}
    )
    inventory = judged(place)
    content = [path for path in tree_of(str(place)) if b"/content/" in path]
    assert sorted(content) == [b"v1/content/a", b"v3/content/a"]
    assert state_of(place, inventory, "v2") == {"c": b"same"}


def test_the_inventory_names_the_digests_of_the_standard_and_of_the_manifest(tmp_path):
    place, _ = object_by_hand(tmp_path, {b"a": b"bytes"})
    inventory = judged(place)
    assert inventory["manifest"] == {hashlib.sha512(b"bytes").hexdigest(): ["v1/content/a"]}
    assert inventory["fixity"] == {"sha256": {hashlib.sha256(b"bytes").hexdigest(): ["v1/content/a"]}}


def test_a_version_without_new_content_and_one_without_files_are_valid(tmp_path):
    place, _ = object_by_hand(tmp_path, {b"a": b"1", b"b": b"2"}, {b"b": b"1"}, {})
    inventory = judged(place)
    assert inventory["versions"]["v3"]["state"] == {}
    assert sorted(os.listdir(place / "v2")) == ["inventory.json", "inventory.json.sha512"]


def test_a_package_without_files_is_a_valid_object(tmp_path):
    place, _ = object_by_hand(tmp_path, {})
    judged(place)


def test_twins_and_odd_names_are_kept_apart(tmp_path):
    files = {
        "Thư mục".encode(): b"NFC",
        "Thu\u031b mu\u0323c".encode(): b"NFD",
        b"odd\xff": b"odd",
        b"~x": b"tilde",
        b"a\\b": b"backslash",
        b'"quoted"': b"quotes",
    }
    place, counts = object_by_hand(tmp_path, files)
    inventory = judged(place)
    assert sorted(state_of(place, inventory, "v1").values()) == sorted(files.values())
    assert [remark.path for remark in counts.remarks] == ["odd\\xff"]
    (renamed,) = [json.loads(line) for line in (place / "logs" / "names.jsonl").read_text().splitlines()]
    assert renamed["path"] in state_of(place, inventory, "v1")


@pytest.mark.skipif(shutil.which("b3sum") is None, reason="b3sum is not installed")
def test_b3sum_checks_the_list_of_blake3_digests(tmp_path):
    place, _ = object_by_hand(tmp_path, FIRST, {**FIRST, b"new": b"new"})
    checked = subprocess.run(["b3sum", "--check", "logs/blake3.txt"], cwd=place, check=True, capture_output=True)
    assert checked.stdout.count(b": OK") == 6


def test_a_changed_byte_in_content_or_inventory_is_seen_by_the_judge(tmp_path):
    place, _ = object_by_hand(tmp_path, FIRST)
    for name in ("v1/content/withdrawn", "inventory.json"):
        data = (place / name).read_bytes()
        (place / name).write_bytes(data.replace(b"w", b"W", 1))
        assert not Validator(log_warnings=True).validate_object(str(place))
        (place / name).write_bytes(data)
    judged(place)


def test_one_file_is_followed_through_all_versions(tmp_path):
    trees = ({b"b": b"0"}, {b"a": b"1", b"b": b"0"}, {b"a": b"2", b"b": b"0"})
    place, counts = object_by_hand(tmp_path, *trees, only=b"a")
    inventory = judged(place)
    assert [state_of(place, inventory, version) for version in ("v1", "v2", "v3")] == [{}, {"a": b"1"}, {"a": b"2"}]
    assert inventory["id"] != f"urn:uuid:{PACKAGE}"
    assert counts.files == 1
    assert sorted(os.listdir(place / "logs")) == ["blake3.txt", "premis.json", "premis.xml"]


def test_a_file_that_no_version_has_is_an_error(tmp_path):
    with pytest.raises(NoSuchFileError):
        object_by_hand(tmp_path, {b"b": b"0"}, {b"c": b"1"}, only=b"a")


def test_a_table_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ExportFailedError), states(os.fsencode(tmp_path / "no" / "table")):
        pass
