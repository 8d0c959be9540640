"""Packs: the same input gives the same bytes, the index gives every header back, and every tar reads them."""

import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preservation.fixity import BLOCK, Fixity, blake3_hex, block_digests
from preservation.packs import index as pack_index
from preservation.packs import layout
from preservation.packs.index import IndexUnreadableError, ManifestLine
from preservation.packs.members import Kind, Member, header, padding, stored_size
from preservation.packs.readme import readme
from preservation.packs.writer import PackWriter, ending

LABEL = "019b76da-a84d-7f96-bdaf-df0e733713f8-v1-00001"
FONDS = "f-019b76da-a831-7a24-bdf1-1f8f2b1ac3e6"
PACKAGE = "019b76da-a84d-7f96-bdaf-df0e733713f8"
FOLDER = layout.files_folder(PACKAGE, 1)

PARTS = (
    st.binary(min_size=1, max_size=40)
    .filter(lambda part: part not in {b".", b".."})
    .map(lambda part: bytes(byte if byte >= 32 and byte not in b"/\x7f" else 65 for byte in part))
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map(b"/".join)
TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/"), min_size=1, max_size=60)
ANY_NAMES = NAMES | TEXTS.map(str.encode).filter(lambda name: name not in {b".", b".."})
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data


def packed(files, folders=(), *, pieces=None, manifest=b"manifest\n"):
    """Pack files (name: bytes) as ingest does; return the finished pack and its bytes."""
    sink = Kept()
    writer = PackWriter(LABEL, FONDS, sink)
    there = set()
    for name, data in sorted(files.items()):
        digest = blake3_hex(data)
        if digest not in there and pieces is None:
            writer.add_small_object(digest, data)
        elif digest not in there:
            writer.add_object(digest, len(data), [data[at : at + pieces] for at in range(0, len(data), pieces)])
        there.add(digest)
        if data:
            writer.link(FOLDER + name, digest, layout.content_name(digest))
        else:
            writer.repeat(FOLDER + name, digest, 0, [])
    for name in folders:
        writer.folder(FOLDER + name)
    line = ManifestLine(PACKAGE, 1, "Hồ sơ", len(files), len(folders), sum(map(len, files.values())))
    fixity = Fixity(len(manifest), blake3_hex(manifest))
    writer.add_manifest(layout.manifest_name(PACKAGE, 1), fixity, [manifest], line)
    return writer.finish(), bytes(sink.data)


def members_of(finished):
    lines = finished.index.splitlines(keepends=True)
    head = pack_index.parse_header(lines[0], finished.pack)
    listed = pack_index.members(lines[1:], finished.pack)
    return head, list(pack_index.with_index(listed, head.label, len(finished.index), blake3_hex(finished.index)))


FILES = {
    b"a.txt": b"alpha",
    "Biên bản/Quyết định.pdf".encode(): b"%PDF-1.4",
    b"empty": b"",
    b"again": b"alpha",
    b"x" * 255: b"long",
    b"deep/" * 30 + b"file": b"deep",
    b"caf\xe9": b"latin",
    b"big": bytes(range(256)) * 10_000,
}


@given(st.dictionaries(ANY_NAMES, st.binary(max_size=2_000), max_size=12), st.lists(ANY_NAMES, max_size=2, unique=True))
@settings(deadline=None, max_examples=60)
@example(FILES, [])
def test_the_index_gives_back_every_byte_that_is_no_content(files, folders):
    finished, data = packed(files, [name + b"/" for name in folders if name not in files])
    head, members = members_of(finished)
    assert (head.label, head.fonds) == (LABEL, FONDS)
    place = 0
    for member in members:
        before = header(member)
        assert data[place : place + len(before)] == before
        place += len(before)
        size = stored_size(member)
        if size:
            assert member.offset == place
            assert blake3_hex(data[place : place + size]) == member.digest
        assert data[place + size : place + size + padding(size)] == bytes(padding(size))
        place += size + padding(size)
    assert data[place:] == ending(place)
    assert members[0].kind is Kind.README
    assert data[members[0].offset :].startswith(readme(LABEL))
    assert members[-1].kind is Kind.INDEX


@given(st.dictionaries(ANY_NAMES, st.binary(max_size=2_000), max_size=8), st.sampled_from([1, 7, 512, 5_000]))
@settings(deadline=None, max_examples=30)
def test_the_same_input_gives_the_same_bytes_however_it_comes(files, pieces):
    first, data = packed(files)
    second, again = packed(dict(reversed(files.items())), pieces=pieces)
    assert data == again
    assert (first.fixity, first.index, first.blocks) == (second.fixity, second.index, second.blocks)


def test_a_pack_is_named_by_its_digest_and_padded_to_whole_records():
    finished, data = packed(FILES)
    assert finished.pack == blake3_hex(data)
    assert finished.fixity == Fixity(len(data), finished.pack)
    assert len(data) % (256 << 10) == 0
    assert len(data) > BLOCK
    assert finished.blocks == b"".join(
        bytes.fromhex(blake3_hex(data[at : at + BLOCK])) for at in range(0, len(data), BLOCK)
    )
    assert block_digests([data]) == [finished.blocks[at : at + 32] for at in range(0, len(finished.blocks), 32)]
    assert data.count(finished.index) == 1
    contents = {data for data in FILES.values() if data} | {b""}
    assert (finished.objects, finished.content_bytes) == (len(contents), sum(map(len, contents)))


@pytest.mark.parametrize("offset", [0, 1, 262_144 - 1_024, 262_144 - 1_023, 262_144 - 512, 262_144, 300_000])
def test_the_end_is_two_zero_blocks_and_zeros_to_a_whole_record(offset):
    end = ending(offset)
    assert len(end) >= 1_024
    assert (offset + len(end)) % layout.RECORD == 0
    assert len(end) < layout.RECORD + 1_024
    assert not any(end)


# ---- headers -----------------------------------------------------------------------------------------------------


def read_back(raw):
    """What Python's tarfile makes of one member's header."""
    with tarfile.open(fileobj=io.BytesIO(raw), errors="surrogateescape", encoding="utf-8") as archive:
        return archive.next()


MEMBERS = [
    Member(Kind.CONTENT, layout.content_name("ab" * 32), 0, 5, "ab" * 32),
    Member(Kind.LINK, b"plain", digest="ab" * 32, target=layout.content_name("ab" * 32)),
    Member(Kind.LINK, "tiếng Việt".encode(), digest="ab" * 32, target="đích".encode()),
    Member(Kind.SYMLINK, b"packages/p/v1/files/a/b", digest="ab" * 32),
    Member(Kind.FOLDER, b"packages/p/v1/files/empty/"),
    Member(Kind.FILE, b"x" * 100, 0, 0, "ab" * 32),
    Member(Kind.FILE, b"x" * 101, 0, 0, "ab" * 32),
    Member(Kind.FILE, b"d/" * 1_900 + b"x", 0, 3, "ab" * 32),
    Member(Kind.FILE, b"caf\xe9 \xff", 0, 3, "ab" * 32),
    Member(Kind.LINK, b"plain", digest="ab" * 32, target=b"to caf\xe9"),
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: f"{member.kind} {len(member.name)}")
def test_a_header_reads_back_as_the_member(member):
    found = read_back(header(member) + bytes(2_048))
    assert os.fsencode(found.name) == member.name.rstrip(b"/")
    assert found.size == stored_size(member)
    assert (found.uid, found.gid, found.mtime, found.uname, found.gname) == (0, 0, 0, "", "")
    kinds = {Kind.LINK: tarfile.LNKTYPE, Kind.SYMLINK: tarfile.SYMTYPE, Kind.FOLDER: tarfile.DIRTYPE}
    assert found.type == kinds.get(member.kind, tarfile.REGTYPE)
    if member.kind is Kind.LINK:
        assert os.fsencode(found.linkname) == member.target
    if member.kind is Kind.SYMLINK:
        place = os.path.normpath(os.path.join(os.path.dirname(os.fsdecode(member.name)), found.linkname))
        assert place == layout.content_name(member.digest).decode()
    assert len(header(member)) % 512 == 0


def test_a_name_gets_a_pax_header_only_if_it_needs_one():
    lengths = [len(header(Member(Kind.FILE, name))) for name in (b"x" * 100, b"x" * 101, "é".encode(), b"\xff")]
    assert lengths == [512, 1_536, 1_536, 1_536]
    assert b"hdrcharset=BINARY" in header(Member(Kind.FILE, b"\xff"))
    assert b"hdrcharset" not in header(Member(Kind.FILE, "é".encode()))


@pytest.mark.parametrize("size", [(8 << 30) - 1, 8 << 30, 20 << 30, 1 << 50])
@pytest.mark.parametrize("kind", [Kind.CONTENT, Kind.FILE])
def test_sizes_from_8_gib_on_stand_in_a_pax_header(size, kind):
    raw = header(Member(kind, layout.content_name("cd" * 32), 0, size, "cd" * 32))
    assert len(raw) == (512 if size < 8 << 30 else 1_536)
    assert read_back(raw).size == size


@given(ANY_NAMES, st.integers(0, 1 << 60))
@settings(deadline=None)
def test_every_header_is_a_ustar_header_with_a_right_checksum(name, size):
    raw = header(Member(Kind.FILE, name, 0, size, "ab" * 32))
    for at in (0, len(raw) - 512):
        block = bytearray(raw[at : at + 512])
        told = int(block[148:154], 8)
        block[148:156] = b" " * 8
        assert told == sum(block)
        assert block[257:265] == b"ustar\x0000"
    assert read_back(raw).size == size


@given(st.binary(min_size=1, max_size=1_100).filter(lambda name: not name.isascii()))
def test_the_length_of_a_pax_record_counts_itself(name):
    raw = header(Member(Kind.FILE, name, 0, 0, "ab" * 32))
    data = raw[512 : 512 + int(raw[124:135], 8)]
    while data:
        length, _, rest = data.partition(b" ")
        record, data = data[: int(length)], data[int(length) :]
        assert record.endswith(b"\n")
        assert b"=" in rest
    assert data == b""


# ---- the index ---------------------------------------------------------------------------------------------------


@given(
    st.sampled_from([Kind.CONTENT, Kind.LINK, Kind.SYMLINK, Kind.FOLDER, Kind.FILE]),
    ANY_NAMES,
    ANY_NAMES,
    DIGESTS,
    st.tuples(st.integers(0, 1 << 50), st.integers(0, 1 << 50)),
)
def test_a_line_of_the_index_gives_the_member_back(kind, name, target, digest, place):
    offset, size = place
    member = {
        Kind.CONTENT: Member(kind, layout.content_name(digest), offset, size, digest),
        Kind.LINK: Member(kind, name, digest=digest, target=target),
        Kind.SYMLINK: Member(kind, name, digest=digest),
        Kind.FOLDER: Member(kind, name + b"/"),
        Kind.FILE: Member(kind, name, offset, size, digest),
    }[kind]
    line = pack_index.member_line(member)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert list(pack_index.members([line], "p")) == [member]


def test_the_line_of_a_manifest_says_what_it_is_the_manifest_of():
    told = ManifestLine(PACKAGE, 3, 'Hồ sơ "địa chính" \\ 1', 4, 1, 500)
    member = Member(Kind.MANIFEST, layout.manifest_name(PACKAGE, 3), 1_024, 77, "ab" * 32)
    assert list(pack_index.parse([pack_index.member_line(member, told)], "p")) == [(member, told)]


GOOD = pack_index.member_line(Member(Kind.FILE, b"name", 1_024, 5, "ab" * 32))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b"5\n",
        b"{}\n",
        b"\xff\n",
        GOOD[:-3],
        GOOD.replace(b"1024", b"-1"),
        GOOD.replace(b"1024", b"1.5"),
        GOOD.replace(b"1024", b"true"),
        GOOD.replace(b"1024", b'"1024"'),
        GOOD.replace(b"ab" * 32, b"AB" * 32),
        GOOD.replace(b"ab" * 32, b"ab" * 31),
        GOOD.replace(b'"file"', b'"device"'),
        GOOD.replace(b'"name":"name"', b'"name_b64":"***"'),
        GOOD.replace(b'"name":"name"', b'"name":7'),
        b'{"name":"' + b"x" * 70_000 + b'"}\n',
    ],
)
def test_a_line_that_does_not_fit_the_format_is_refused(line):
    with pytest.raises(IndexUnreadableError, match="line 2"):
        list(pack_index.members([line], "p"))


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b'{"mocban":"index"}', pack_index.header_line("l", "f").replace(b'"format":1', b'"format":2')],
)
def test_an_index_of_another_format_is_refused_unread(line):
    with pytest.raises(IndexUnreadableError):
        pack_index.parse_header(line, "p")


@given(st.text(alphabet="0123456789abcdefgx/.-", max_size=150) | st.just(layout.pack_key("f", "ab" * 32)))
@example("packs/f/ab/" + "ab" * 32 + ".tar")
@example("packs/f/ac/" + "ab" * 32 + ".tar")
@example("packs/f/ab/" + "ab" * 32 + ".tar.tar")
def test_only_the_exact_key_of_a_pack_is_one(key):
    found = layout.pack_of_key(key)
    assert found is None or layout.pack_key(*found) == key


# ---- cutting -----------------------------------------------------------------------------------------------------


def test_a_pack_takes_the_first_object_however_large_and_is_cut_before_it_grows_too_large(monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 10_000)
    writer = PackWriter(LABEL, FONDS, Kept())
    assert writer.fits(1 << 40)
    writer.add_small_object("ab" * 32, b"x" * 3_000)
    room = layout.TARGET_SIZE - writer.offset
    assert writer.fits(room)
    assert not writer.fits(room + 1)


def test_a_pack_is_cut_after_many_members_and_before_its_index_grows_too_large(monkeypatch):
    monkeypatch.setattr(layout, "TARGET_MEMBERS", 5)
    writer = PackWriter(LABEL, FONDS, Kept())
    for number in range(4):
        assert writer.fits(1)
        writer.folder(b"%d/" % number)
    assert not writer.fits(0)
    monkeypatch.setattr(layout, "TARGET_MEMBERS", 1_000)
    monkeypatch.setattr("preservation.packs.writer.LARGEST_INDEX", 200)
    assert not writer.fits(0)


def test_pieces_that_do_not_add_up_to_the_size_are_an_error_of_the_program():
    writer = PackWriter(LABEL, FONDS, Kept())
    with pytest.raises(AssertionError, match="add up"):
        writer.add_object("ab" * 32, 10, [b"only 7b"])


# ---- other people's tar ------------------------------------------------------------------------------------------


def test_gnu_tar_lists_and_extracts_what_was_packed(tmp_path):
    finished, data = packed(FILES, [b"no files/"])
    path = tmp_path / f"{finished.pack}.tar"
    path.write_bytes(data)
    out = tmp_path / "out"
    out.mkdir()
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    done = subprocess.run(["tar", "xvf", path, "-C", out], capture_output=True, check=True, env=environment)
    assert len(done.stdout.splitlines()) == len(members_of(finished)[1])
    root = os.fsencode(out)
    for name, content in FILES.items():
        with open(os.path.join(root, FOLDER, name), "rb") as file:
            assert file.read() == content
    assert os.path.isdir(os.path.join(root, FOLDER, b"no files"))
    assert (out / f"index-{LABEL}.jsonl").read_bytes() == finished.index
    assert (out / f"README-{LABEL}.txt").read_bytes() == readme(LABEL)


def test_python_reads_every_member_at_the_place_that_the_index_says():
    finished, data = packed(FILES)
    expected = {member.name.rstrip(b"/"): member for member in members_of(finished)[1]}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        found = archive.getmembers()
    assert [os.fsencode(info.name) for info in found] == list(expected)
    for info in found:
        member = expected[os.fsencode(info.name)]
        if stored_size(member):
            assert (info.offset_data, info.size) == (member.offset, member.size)
    assert [found[0].name, found[-1].name] == [f"README-{LABEL}.txt", f"index-{LABEL}.jsonl"]


def test_the_readme_is_frozen_and_names_its_own_index():
    text = readme("{label}").decode()
    assert "index-{label}.jsonl" in text
    assert blake3_hex(readme("x")) == README_DIGEST, "one changed letter would be another format"


README_DIGEST = "b928f33bb0a0a6c7289a7da7c5a9bad1424f88f49de69780bb32e852cfd4001e"
