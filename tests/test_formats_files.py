"""`formats identify`: the contract with scripts, without a repository, and hostile files on a disk."""

import json
import os
import struct
import time
from pathlib import Path

import pytest
from cli_support import mocban, mocban_process
from formats_support import HANGING_SVG, PDF, compound, docx, png, shared_bundle, small_release, zipped

from preservation.formats.engine import shipped_id
from preservation.formats.files import identify_files

FIELDS = ["path", "puids", "basis", "tool", "bundle", "warnings", "milliseconds"]


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "hồ sơ").mkdir(parents=True)
    (folder / "a.pdf").write_bytes(PDF)
    (folder / "hồ sơ" / "b.docx").write_bytes(docx())
    (folder / "hồ sơ" / "c.txt").write_bytes("Kính gửi".encode())
    (folder / "wrong.pdf").write_bytes(png())
    (folder / "unknown").write_bytes(b"\0\1\2")
    (folder / "empty").write_bytes(b"")
    return folder


def lines(said):
    return [json.loads(line) for line in said.out.splitlines()]


def release(tmp_path):
    droid, containers = small_release(tmp_path / "release")
    return ("--signatures", droid, "--containers", containers, "--json")


def test_each_file_is_one_object_on_one_line_without_a_repository(tree, tmp_path):
    said = mocban_process(
        "formats", "identify", "tree", "--json", environment={"PATH": os.environ["PATH"]}, cwd=tmp_path
    )
    assert said.status == 0
    found = lines(said)
    assert [list(one) for one in found] == [FIELDS] * 6
    assert [os.path.relpath(one["path"], tree) for one in found] == [
        "a.pdf",
        "empty",
        "hồ sơ/b.docx",
        "hồ sơ/c.txt",
        "unknown",
        "wrong.pdf",
    ]
    assert [(one["puids"], one["basis"]) for one in found] == [
        (["fmt/18"], "signature"),
        ([], None),
        (["fmt/412"], "container"),
        (["x-fmt/111"], "probe"),
        ([], None),
        (["fmt/11"], "signature"),
    ]
    assert {(one["tool"], one["bundle"]) for one in found} == {("fido 1.6.1", shipped_id())}
    assert found[1]["warnings"] == ["the file is empty"]
    assert found[5]["warnings"] == ["the extension is not usual for this format"]
    assert all(0 <= one["milliseconds"] < 5000 for one in found)


def test_a_release_of_droid_is_used_without_importing_it(tree, tmp_path):
    said = mocban("formats", "identify", tree, *release(tmp_path))
    assert (said.status, len(lines(said))) == (0, 6)
    (bundle,) = {one["bundle"] for one in lines(said)}
    assert bundle != shipped_id()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release", "tree"]
    people = mocban("formats", "identify", tree / "a.pdf", *release(tmp_path)[:4])
    assert people.out.split() == ["fmt/18", "signature", str(tree / "a.pdf")]


def test_what_is_no_file_is_told_and_never_followed_or_waited_for(tree, tmp_path):
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "round").symlink_to(tree)
    os.mkfifo(tree / "pipe")
    (tree / os.fsdecode(b"\xff\xfe.pdf")).write_bytes(PDF)
    said = mocban("formats", "identify", tree, *release(tmp_path))
    found = {one["path"].rpartition("/")[2]: one for one in lines(said)}
    assert (said.status, len(found)) == (0, 10)
    for name in ("link", "round", "pipe"):
        assert (found[name]["puids"], found[name]["warnings"]) == ([], ["this is not a regular file"])
    assert found["\udcff\udcfe.pdf"]["puids"] == ["fmt/18"]
    given = mocban("formats", "identify", tree / "round", *release(tmp_path))
    assert len(lines(given)) == 10


def test_a_file_that_cannot_be_read_is_told_and_counts(tree, tmp_path):
    (tree / "dangling").symlink_to("nowhere")
    said = mocban("formats", "identify", tree / "a.pdf", tree / "dangling", *release(tmp_path))
    assert said.status == 3
    assert [one["warnings"] for one in lines(said)] == [[], ["the file could not be read"]]


def test_a_path_that_does_not_exist_is_an_error_before_anything_is_looked_at(tree, tmp_path):
    said = mocban("formats", "identify", tree, tmp_path / "none", *release(tmp_path))
    assert (said.status, said.out) == (1, "")
    assert mocban("formats", "identify").status == 2
    assert mocban("formats", "identify", tree, "--containers", "x").status == 2
    assert mocban("formats", "identify", tree, "--signatures", tmp_path / "none").status == 1


def crowd(path):
    """A ZIP archive of 100,000 empty members, written by hand: zipfile takes its time."""
    local, central = bytearray(), bytearray()
    for number in range(100_000):
        name = b"%06d" % number
        central += (
            b"PK\1\2" + struct.pack("<6H3L5H2L", 20, 20, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0, len(local)) + name
        )
        local += b"PK\3\4" + struct.pack("<5H3L2H", 20, 0, 0, 0, 33, 0, 0, 0, 6, 0) + name
    end = struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, len(central), len(local), 0)
    path.write_bytes(bytes(local + central) + b"PK\5\6" + end)


def cyclic():
    content = bytearray(compound(("WordDocument", b"x" * 4096), ("\x01CompObj", b"y")))
    struct.pack_into("<128I", content, 512, *([3, 2] * 64))
    return bytes(content)


def test_hostile_files_are_told_as_what_they_are_within_their_time(tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name, content in {
        "bomb.docx": zipped(("[Content_Types].xml", bytes(40 << 20)), ("word/document.xml", bytes(40 << 20))),
        "cyclic.doc": cyclic(),
        "truncated.docx": docx()[:-30],
        "hang.svg": HANGING_SVG[:20_000],
        "mp3ish.bin": b"\xff\xfb\x90" * 200_001,
        "bright.dpx": b"SDPX\0\0\x08\0V1.0" + bytes(2036) + b"\xff\xfb\xe0" * 200_000,
        "claims.pdf": PDF + b"pdfaid:part " * 100_000,
        "empty.pdf": b"",
    }.items():
        (folder / name).write_bytes(content)
    crowd(folder / "crowd.zip")
    for name, beginning in (("huge.bin", b"\0"), ("huge.zip", b"PK\3\4"), ("huge.tif", b"II*\0")):
        with open(folder / name, "wb") as file:
            file.write(beginning)
            file.truncate(1 << 40)
    before = time.monotonic()
    answers = {Path(one.path).name: one.answer for one in identify_files([str(folder)], shared_bundle().to_bytes, 2)}
    assert len(answers) == 12
    assert time.monotonic() - before < 60
    assert all(answer.milliseconds <= 5000 for answer in answers.values())
    assert {
        name: answer.status for name, answer in answers.items() if answer.status not in ("identified", "unidentified")
    } in (
        {},
        {"hang.svg": "timeout"},
    )
    puids = {name: [match.puid for match in answer.formats] for name, answer in answers.items()}
    assert puids["bomb.docx"] == puids["crowd.zip"] == ["x-fmt/263"]
    assert puids["huge.tif"] == ["fmt/353"]
    assert "the container was not unpacked in full, to stay within limits" in answers["crowd.zip"].warnings
    assert "the container could not be read" in answers["truncated.docx"].warnings
    assert "the file is empty" in answers["empty.pdf"].warnings
