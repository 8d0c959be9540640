"""Packs as ingest makes them: repeats, links into other packs, long names, and the order of the members."""

import os

from damage_support import members_of
from repository_support import made, pack_file, pack_rows, submit_files

from preservation.fixity import blake3_hex
from preservation.packs import layout
from preservation.packs.members import Kind


def kinds(place, row):
    return [member.kind for member in members_of(place, row)]


def test_each_thousandth_repeat_of_a_content_is_an_ordinary_member(tmp_path):
    place = made(tmp_path)
    submit_files(place, {f"{number:04}": b"same" for number in range(2_500)})
    (row,) = pack_rows(place)
    members = members_of(place, row)
    names = [member for member in members if member.name.startswith(b"packages/") and member.kind is not Kind.MANIFEST]
    assert [number for number, member in enumerate(names, start=1) if member.kind is Kind.FILE] == [1_000, 2_000]
    targets = {member.target for member in names[:999]}
    assert targets == {layout.content_name(blake3_hex(b"same"))}
    assert {member.target for member in names[1_000:1_999]} == {names[999].name}
    assert {member.target for member in names[2_000:]} == {names[1_999].name}
    assert row.objects == 1


def test_members_stand_in_byte_order_and_content_before_its_first_name(tmp_path):
    place = made(tmp_path)
    files = {"b": b"2", "a": b"1", "a.b": b"3", "a/b": b"4", "á": b"5", "z/": None, "B": b""}
    del files["a"]
    submit_files(place, files)
    (row,) = pack_rows(place)
    members = members_of(place, row)
    folder = layout.files_folder(row.package, 1)
    names = [member.name.removeprefix(folder) for member in members if member.name.startswith(folder)]
    assert names == sorted(os.fsencode(name) for name in files)
    seen = set()
    for member in members:
        if member.kind is Kind.LINK:
            assert member.digest in seen
        if member.kind is Kind.CONTENT:
            assert member.digest not in seen
            seen.add(member.digest)
    assert [members[0].kind, members[-2].kind, members[-1].kind] == [Kind.README, Kind.MANIFEST, Kind.INDEX]


def test_an_empty_file_is_an_ordinary_member_each_time(tmp_path):
    place = made(tmp_path)
    submit_files(place, {"1": b"", "2": b"", "3": b""})
    (row,) = pack_rows(place)
    assert kinds(place, row) == [Kind.README, Kind.CONTENT, *[Kind.FILE] * 3, Kind.MANIFEST, Kind.INDEX]


def test_what_lies_in_another_pack_is_named_by_a_link_that_leads_there(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 20_000)
    place = made(tmp_path)
    content = os.urandom(15_000)
    submit_files(place, {"1": content, "2": os.urandom(15_000), "3/deep": content})
    rows = sorted(pack_rows(place), key=lambda row: row.label)
    (link,) = [member for row in rows for member in members_of(place, row) if member.kind is Kind.SYMLINK]
    target = layout.link_target(link.name, link.digest)
    assert os.path.normpath(os.path.join(os.path.dirname(link.name), target)) == layout.content_name(
        blake3_hex(content)
    )


def test_both_stores_hold_the_same_bytes(tmp_path):
    place = made(tmp_path)
    submit_files(place, {"1": b"one"})
    (row,) = pack_rows(place)
    assert pack_file(place, "a", row).read_bytes() == pack_file(place, "b", row).read_bytes()
