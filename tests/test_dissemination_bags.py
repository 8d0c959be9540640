"""Exports as bags, judged by bagit-python, by b3sum and by our own reader of bags."""

import hashlib
import json
import os
import shutil
import subprocess

import bagit
import pytest
from dissemination_support import (
    check_premis,
    ingested,
    manifest_of,
    outgoing_of,
    repository_in,
    same_content,
    tree_of,
    version_of,
    write_tree,
)

from preservation.dissemination import export
from preservation.dissemination.bag import write_bag
from preservation.dissemination.errors import NoSuchFileError, WrongBytesError
from preservation.dissemination.names import as_text, b3sum_line

FILES = {
    "Tờ trình/Quyết định số 1.txt".encode(): b"quyet dinh\n",
    "Tờ trình/có  hai dấu cách .txt".encode(): b"spaces",
    b"empty": b"",
    b"*star": b"a star",
    b"#hash": b"no comment",
    b"~home": b"no home",
    b"back\\slash": b"for b3sum",
    b"x" * 255: b"a long name",
    "Thu\u031b mu\u0323c".encode(): b"NFD",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    repository = repository_in(str(folder))
    source = write_tree(str(folder / "source"), FILES, ["Thư mục rỗng".encode()])
    return repository, ingested(repository, source).package, folder / "source"


def judged(place):
    """Let bagit-python validate the bag in full."""
    bag = bagit.Bag(str(place))
    assert bag.validate()
    return bag


def bag_by_hand(tmp_path, files, folders=(), only=None):
    outgoing = outgoing_of(files.values())
    write_bag(version_of(manifest_of(files, folders), only=only), os.fsencode(tmp_path / "bag"), outgoing)
    outgoing.flushing.finish()
    return tmp_path / "bag", outgoing.counts


def test_bagit_python_calls_the_bag_valid_and_the_payload_is_the_original(kept, tmp_path):
    repository, package, source = kept
    done = export(repository, package, str(tmp_path / "bag"), form="bagit")
    bag = judged(tmp_path / "bag")
    assert bag.version_info == (1, 0)
    assert tree_of(str(tmp_path / "bag" / "data")) == tree_of(str(source))
    assert bag.info["Payload-Oxum"] == f"{sum(map(len, FILES.values()))}.{len(FILES)}"
    assert bag.info["External-Identifier"] == package
    assert bag.info["External-Description"] == "Hồ sơ 1"
    assert bag.info["Bag-Group-Identifier"] == "F"
    assert bag.info["Bagging-Date"] == "2026-03-01"
    assert done.remarks == ()
    assert sorted(os.listdir(tmp_path)) == ["bag"]


def test_a_changed_byte_anywhere_in_the_bag_is_seen_by_bagit_python(kept, tmp_path):
    repository, package, _ = kept
    export(repository, package, str(tmp_path / "bag"), form="bagit")
    places = [os.path.join(folder, name) for folder, _, names in os.walk(tmp_path / "bag") for name in names]
    for place in places:
        if os.path.getsize(place) == 0 or place.endswith("tagmanifest-sha256.txt"):
            continue
        with open(place, "r+b") as file:
            last = os.path.getsize(place) - 1
            file.seek(last)
            byte = file.read(1)
            file.seek(last)
            file.write(bytes([byte[0] ^ 1]))
        with pytest.raises(bagit.BagError):
            judged(tmp_path / "bag")
        with open(place, "r+b") as file:
            file.seek(last)
            file.write(byte)
    judged(tmp_path / "bag")


@pytest.mark.skipif(shutil.which("b3sum") is None, reason="b3sum is not installed")
def test_b3sum_checks_the_list_of_blake3_digests(kept, tmp_path):
    repository, package, _ = kept
    export(repository, package, str(tmp_path / "bag"), form="bagit")
    checked = subprocess.run(
        ["b3sum", "--check", "mocban/blake3.txt"], cwd=tmp_path / "bag", check=True, capture_output=True
    )
    assert checked.stdout.count(b": OK") == len(FILES)


def test_our_own_reader_takes_the_bag_whole(kept, tmp_path):
    repository, package, _ = kept
    export(repository, package, str(tmp_path / "bag"), form="bagit")
    other = repository_in(str(tmp_path))
    again = ingested(other, str(tmp_path / "bag")).package
    export(other, again, str(tmp_path / "out"))
    found, bag = tree_of(str(tmp_path / "out")), tree_of(str(tmp_path / "bag"))
    assert {path: entry and entry[0] for path, entry in found.items()} == {
        path: entry and entry[0] for path, entry in bag.items()
    }


def test_the_manifest_in_the_bag_is_byte_for_byte_the_one_that_was_kept(tmp_path):
    lines = manifest_of(FILES)
    bag, _ = bag_by_hand(tmp_path, FILES)
    assert (bag / "mocban" / "manifest.jsonl").read_bytes() == b"".join(lines)


def test_the_tag_manifest_lists_every_tag_file_with_its_digest(kept, tmp_path):
    repository, package, _ = kept
    export(repository, package, str(tmp_path / "bag"), form="bagit")
    lines = (tmp_path / "bag" / "tagmanifest-sha256.txt").read_text().splitlines()
    listed = dict(reversed(line.split("  ", 1)) for line in lines)
    there = {os.fsdecode(path): entry[0] for path, entry in tree_of(str(tmp_path / "bag")).items() if entry is not None}
    tags = {path for path in there if not path.startswith("data/") and path != "tagmanifest-sha256.txt"}
    assert set(listed) == tags
    assert all(hashlib.sha256(there[path]).hexdigest() == listed[path] for path in tags)


def test_both_premis_documents_say_the_same_and_fit_the_schema(kept, tmp_path):
    repository, package, _ = kept
    export(repository, package, str(tmp_path / "bag"), form="bagit")
    root = check_premis(str(tmp_path / "bag" / "mocban" / "premis.xml"))
    same_content(root, str(tmp_path / "bag" / "mocban" / "premis.json"))


def test_names_that_are_not_utf8_get_names_of_their_own_and_a_list_says_which(tmp_path):
    files = {b"odd\xff/a\xfe.txt": b"1", b"odd\xff/b": b"2", b"odd=FF": b"3", b"\xff" * 255: b"4"}
    bag, counts = bag_by_hand(tmp_path, files, [b"rest\xff/"])
    judged(bag)
    names = [json.loads(line) for line in (bag / "mocban" / "names.jsonl").read_text().splitlines()]
    assert len(names) == 3
    assert {remark.code for remark in counts.remarks} == {"renamed"}
    payload = {path: entry[0] for path, entry in tree_of(str(bag / "data")).items() if entry is not None}
    assert sorted(payload.values()) == [b"1", b"2", b"3", b"4"]
    assert payload[b"odd=FF"] == b"3"
    assert all(("data/" + os.fsdecode(path)).isprintable() for path in payload)


def test_no_file_can_take_the_name_that_another_gets():
    odd = b"odd\xff"
    taken = as_text(odd)
    names = {as_text(path) for path in (odd, taken, as_text(taken), b"odd=FF", b"odd\xfe", b"odd")}
    assert len(names) == 6
    assert as_text("Tờ trình/số 1".encode()) == "Tờ trình/số 1".encode()
    assert all(len(part) <= 255 for part in as_text(b"\xe1\xbb" * 127).split(b"/"))


def test_a_percent_sign_makes_the_bag_an_older_one_that_every_reader_reads(tmp_path):
    bag, counts = bag_by_hand(tmp_path, {"Tăng 15%.txt".encode(): b"1", b"%25": b"2", b"plain": b"3"})
    assert judged(bag).version_info == (0, 97)
    assert [(remark.code, remark.path) for remark in counts.remarks] == [
        ("older-bagit", "%25"),
        ("older-bagit", "Tăng 15%.txt"),
    ]
    assert "data/Tăng 15%.txt" in (bag / "manifest-sha256.txt").read_text()


def test_what_bagit_python_is_known_to_misread_is_remarked(tmp_path):
    twins = ("Thư".encode(), "Thu\u031b".encode())
    for number, names in enumerate(((b"behind ",), ("\u2028line".encode(),), (b"%0Aline",), twins)):
        os.mkdir(tmp_path / str(number))
        bag, counts = bag_by_hand(tmp_path / str(number), {name: name for name in names})
        assert "misread" in {remark.code for remark in counts.remarks}
        with pytest.raises(bagit.BagError):
            judged(bag)
    os.mkdir(tmp_path / "good")
    bag, counts = bag_by_hand(tmp_path / "good", {b" in front": b"1", b"in the middle": b"2"})
    assert counts.remarks == []
    judged(bag)


def test_a_title_cannot_add_lines_to_the_bags_description(tmp_path):
    outgoing = outgoing_of([b"1"])
    lines = manifest_of({b"a": b"1"}, title="x\r\nPayload-Oxum: 0.0\u2028y")
    write_bag(version_of(lines), os.fsencode(tmp_path / "bag"), outgoing)
    outgoing.flushing.finish()
    assert judged(tmp_path / "bag").info["Payload-Oxum"] == "1.1"
    assert judged(tmp_path / "bag").info["External-Description"] == "x Payload-Oxum: 0.0 y"


def test_empty_folders_are_made_and_listed(tmp_path):
    bag, _ = bag_by_hand(tmp_path, {}, ["Thư mục rỗng/".encode()])
    judged(bag)
    assert os.listdir(bag / "data") == ["Thư mục rỗng"]
    listed = json.loads((bag / "mocban" / "empty-folders.jsonl").read_text())
    assert listed == {"path": "data/Thư mục rỗng/"}


def test_a_bag_of_one_file_tells_nothing_of_the_others(tmp_path):
    bag, counts = bag_by_hand(tmp_path, {b"a": b"1", b"secret": b"2"}, [b"hidden/"], only=b"a")
    judged(bag)
    assert counts.files == 1
    everything = b"".join(path + entry[0] for path, entry in tree_of(str(bag)).items() if entry is not None)
    assert b"secret" not in everything
    assert b"hidden" not in everything


def test_a_bag_of_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(NoSuchFileError):
        bag_by_hand(tmp_path, {b"a": b"1"}, only=b"b")


def test_a_wrong_sha256_is_never_written_into_a_bag(tmp_path):
    outgoing = outgoing_of([b"1"])
    with pytest.raises(WrongBytesError):
        write_bag(version_of(manifest_of({b"a": b"1"}, sha256="0" * 64)), os.fsencode(tmp_path / "bag"), outgoing)
    outgoing.flushing.close()


def test_a_line_for_b3sum_is_escaped_as_b3sum_does_it():
    assert b3sum_line("00", b"data/a") == b"00  data/a\n"
    assert b3sum_line("00", b"data/a\\n\nb") == b"\\00  data/a\\\\n\\nb\n"
