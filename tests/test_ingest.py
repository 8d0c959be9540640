"""Ingest: what is acknowledged is kept, what is refused leaves nothing, nothing is stored twice."""

import hashlib
import os
import unicodedata

import pytest
from backend_faulty import Fault, FaultyBackend
from kept_support import brought_back
from repository_support import (
    FONDS,
    TITLE,
    audit,
    catalog_rows,
    contents,
    copy_rows,
    made,
    manifest_of,
    open_findings,
    pack_rows,
    rebuilt_rows,
    store_rows,
    submit,
    submit_files,
    tree,
)
from submission_support import Zip, bag, manifest, tar_bytes, write

from preservation import attachment, fonds
from preservation.fixity import blake3_hex
from preservation.fonds import NoSuchFondsError
from preservation.ingest import NoStoreError
from preservation.manifest import FileLine
from preservation.packages import NoSuchPackageError
from preservation.packing import NoStoreLeftError
from preservation.packs import layout
from preservation.replication import replicate, short_packages, short_packs
from preservation.submission.errors import SubmissionRefusedError
from storage_backends import locations
from storage_backends.disk_draft import DiskDraft

FILES = {"Quyết định/01.pdf": b"%PDF-1.4 one", "Quyết định/02.pdf": b"%PDF-1.4 two", "rỗng.txt": b"", "trống/": None}


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(made, tmp_path_factory)


def raw(files):
    return {os.fsencode(name): data for name, data in files.items()}


def stored(place):
    """What the stores hold beside evidence."""
    return {name: {**tree(place.store(name) / "packs"), **tree(place.store(name) / "indexes")} for name in ("a", "b")}


def objects(place):
    return sum(row.objects for row in pack_rows(place))


def left_in_staging(place):
    return sorted(path.name for path in (place.folder / "repo" / "staging").iterdir() if path.name != "copies.lock")


def consistent(place):
    assert catalog_rows(place) == rebuilt_rows(place)
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)
    assert report.coverage.unexpected == 0


# ---- what is promised --------------------------------------------------------------------------------------------


def test_a_folder_is_kept_on_every_store_and_comes_back_byte_for_byte(place):
    receipt = submit_files(place, FILES)
    assert (receipt.version, receipt.files, receipt.bytes, receipt.copies) == (1, 3, 24, 2)
    assert (receipt.under_replicated, receipt.already, receipt.failures) == (False, False, {})
    assert contents(place, receipt.package) == raw(FILES)
    assert [row.pack for row in pack_rows(place)] == receipt.packs
    assert stored(place)["a"] == stored(place)["b"]
    assert left_in_staging(place) == []
    consistent(place)


def test_the_manifest_says_of_each_file_what_was_handed_over(place):
    receipt = submit_files(place, FILES)
    header, *lines = manifest_of(place, receipt.package)
    assert (header["title"], header["fonds_code"], header["version"], header["agent"]) == (TITLE, FONDS, 1, "thử")
    files = {line.path: line for line in lines if isinstance(line, FileLine)}
    assert list(files) == sorted(files)
    line = files["Quyết định/01.pdf".encode()]
    data = FILES["Quyết định/01.pdf"]
    assert (line.size, line.sha256, line.blake3) == (len(data), hashlib.sha256(data).hexdigest(), blake3_hex(data))
    assert line.line["mtime"] == "2020-09-13T12:26:40.123456Z"
    assert line.line["identification"] == "off"


def test_every_copy_was_read_back_before_it_was_acknowledged(place):
    submit_files(place, FILES)
    assert [row.state for row in copy_rows(place)] == ["good", "good"]
    assert all(row.seen_good and not row.verified for row in copy_rows(place))


def test_the_same_content_is_stored_once_in_a_fonds_and_again_in_another(place):
    submit_files(place, {"one": b"same", "two": b"same", "three": b"other"}, "first")
    assert objects(place) == 2
    receipt = submit_files(place, {"four": b"same", "five": b"new"}, "second")
    assert objects(place) == 3
    assert contents(place, receipt.package) == {b"four": b"same", b"five": b"new"}
    fonds.open_fonds(place.open(), "F2", "Phông khác")
    receipt = submit_files(place, {"six": b"same"}, "third", fonds_code="F2")
    assert objects(place) == 4
    assert {row.fonds for row in pack_rows(place) if row.package == receipt.package} != {
        row.fonds for row in pack_rows(place) if row.package != receipt.package
    }
    consistent(place)


def test_what_lies_on_too_few_stores_is_not_relied_on_and_stored_again(place):
    os.rename(place.store("b"), place.folder / "away")
    first = submit_files(place, {"one": b"same"}, "first")
    assert first.under_replicated
    os.rename(place.folder / "away", place.store("b"))
    second = submit_files(place, {"two": b"same"}, "second")
    assert (second.copies, second.under_replicated) == (2, False)
    assert objects(place) == 2


def test_the_same_submission_again_is_told_and_changes_nothing(place):
    first = submit_files(place, FILES)
    before, rows = stored(place), catalog_rows(place)
    again = submit_files(place, FILES)
    assert (again.already, again.package, again.version, again.packs) == (True, first.package, 1, first.packs)
    assert (again.files, again.bytes, again.copies) == (3, 24, 2)
    assert stored(place) == before
    assert catalog_rows(place) == rows
    assert left_in_staging(place) == []


def test_the_same_files_in_another_place_or_with_another_title_are_the_same_submission(place):
    first = submit_files(place, FILES)
    assert submit_files(place, FILES, "elsewhere").package == first.package
    assert submit_files(place, FILES, title="Another title").already


def test_a_file_more_or_less_or_empty_instead_makes_another_package(place):
    packages = {submit_files(place, FILES).package}
    packages.add(submit_files(place, {**FILES, "more": b""}, "more").package)
    packages.add(submit_files(place, {name: data for name, data in FILES.items() if data is not None}, "less").package)
    packages.add(submit_files(place, {**FILES, "rỗng.txt": b"x"}, "other").package)
    assert len(packages) == 4


def test_a_submission_of_nothing_but_empty_things_is_kept(place):
    receipt = submit_files(place, {"rỗng": b"", "a/b/": None})
    assert (receipt.files, receipt.bytes, receipt.copies) == (1, 0, 2)
    assert contents(place, receipt.package) == {"rỗng".encode(): b"", b"a/b/": None}
    consistent(place)


def test_many_packs_are_cut_in_order_and_all_are_read_back(place, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 60_000)
    files = {f"{number:02}": os.urandom(20_000) for number in range(12)}
    receipt = submit_files(place, files)
    assert len(receipt.packs) == 6
    assert sorted(row.label[-5:] for row in pack_rows(place)) == [f"{number:05}" for number in range(1, 7)]
    assert contents(place, receipt.package) == raw(files)
    consistent(place)


def test_names_that_are_not_utf8_255_bytes_long_or_strange_are_kept_as_they_came(place):
    names = [b"\xff\xfe", b"caf\xe9", b"x" * 255, b"-rf", b"a\\b", b'"', b" ", b"~", b"manifest.jsonl", b"content"]
    files = {b"strange/" + name: b"%d" % number for number, name in enumerate(names)}
    receipt = submit_files(place, files)
    assert contents(place, receipt.package) == files
    consistent(place)


def test_twins_by_case_and_by_normal_form_are_kept_apart_with_a_warning(place):
    nfc, nfd = (unicodedata.normalize(form, "Nguyễn.txt").encode() for form in ("NFC", "NFD"))
    files = {nfc: b"composed", nfd: b"decomposed", b"A.txt": b"upper", b"a.txt": b"lower"}
    receipt = submit_files(place, files)
    assert contents(place, receipt.package) == files
    assert len(receipt.warnings) == 2
    line = next(line for line in manifest_of(place, receipt.package)[1:] if line.path == nfd)
    assert line.line["nfc"] == nfc.decode()


def test_a_path_too_long_for_a_member_stands_in_the_manifest_only(place):
    long = b"/".join([b"d" * 250] * 16) + b"/name"
    source = place.folder / "in.tar"
    source.write_bytes(tar_bytes([(long.decode(), b"deep"), ("short", b"s")]))
    receipt = submit(place, source)
    assert contents(place, receipt.package) == {long: b"deep", b"short": b"s"}
    line = next(line for line in manifest_of(place, receipt.package)[1:] if line.path == long)
    assert "too long" in line.line["warnings"][0]
    consistent(place)


# ---- bags and archives -------------------------------------------------------------------------------------------


def test_a_bag_comes_as_its_payload_with_the_digests_it_brought(place):
    payload = {"data/tài liệu/1.txt": b"one", "data/2.txt": b"two"}
    source = bag(place.folder / "bag", payload, algorithms=("sha256", "md5"))
    receipt = submit(place, source)
    found = contents(place, receipt.package)
    assert {name: found[name] for name in raw(payload)} == raw(payload)
    line = next(line for line in manifest_of(place, receipt.package)[1:] if line.path == b"data/2.txt")
    supplied = {one["algorithm"]: one["value"] for one in line.line["supplied"]}
    assert supplied == {"sha256": hashlib.sha256(b"two").hexdigest(), "md5": hashlib.md5(b"two").hexdigest()}
    consistent(place)


def test_archives_of_folders_and_of_bags_are_taken(place):
    files = {"thư mục/1.txt": b"one", "2.txt": b"two"}
    (place.folder / "in.tar").write_bytes(tar_bytes(files.items()))
    archive = Zip()
    for name, data in files.items():
        archive.add(name.encode(), data)
    (place.folder / "in.zip").write_bytes(archive.done())
    first = submit(place, place.folder / "in.tar")
    assert contents(place, first.package) == raw(files)
    again = submit(place, place.folder / "in.zip")
    assert (again.already, again.package) == (True, first.package)
    bagged = place.folder / "bag"
    bag(bagged, {"data/x": b"payload"})
    members = [
        ("bag/" + str(path.relative_to(bagged)), path.read_bytes()) for path in bagged.rglob("*") if path.is_file()
    ]
    (place.folder / "bag.tar").write_bytes(tar_bytes(members))
    found = contents(place, submit(place, place.folder / "bag.tar").package)
    assert found[b"data/x"] == b"payload"
    assert left_in_staging(place) == []
    consistent(place)


# ---- refused -----------------------------------------------------------------------------------------------------


def refused(place, source, match=None, **more):
    """The submission is refused and nothing is left anywhere."""
    before, rows = stored(place), catalog_rows(place)
    with pytest.raises(SubmissionRefusedError, match=match) as caught:
        submit(place, source, **more)
    assert stored(place) == before
    assert {key: value for key, value in catalog_rows(place).items() if not key.startswith(b"pack/")} == rows
    assert left_in_staging(place) == []
    return caught.value


def test_wrong_supplied_checksums_refuse_everything(place):
    source = write(place.folder / "in", {"right": b"r", "wrong": b"w"})
    (place.folder / "sums").write_bytes(manifest({b"right": b"r", b"wrong": b"not w"}))
    refused(place, source, "wrong", checksums=str(place.folder / "sums"))
    (place.folder / "sums").write_bytes(manifest({b"right": b"r", b"wrong": b"w"}))
    receipt = submit(place, source, checksums=str(place.folder / "sums"))
    assert receipt.files == 2


def test_a_bag_with_a_wrong_file_is_refused(place):
    source = bag(place.folder / "bag", {"data/x": b"now"}, listed={"data/x": b"then"})
    refused(place, source, "data/x")


def test_links_out_of_the_submission_are_refused(place):
    source = place.folder / "in"
    source.mkdir()
    (source / "link").symlink_to("/etc/passwd")
    refused(place, source, "link")


@pytest.mark.parametrize("size", [10, 9 << 20])
def test_a_file_that_changes_while_it_is_read_refuses_everything(place, size, monkeypatch):
    """The file is exchanged when the one before it is done; by then the submission has been listed."""
    source = place.folder / "in"
    write(source, {"1 first": b"f", "2 second": b"s" * size, "3 third": b"t"})
    os.utime(source / "2 second", ns=(1, 1))

    def exchange(_files, _bytes):
        (source / "2 second").write_bytes(b"S" * size)

    refused(place, source, "2 second", told=exchange)
    assert submit(place, source).files == 3
    consistent(place)


def test_a_file_that_vanishes_while_the_ingest_runs_refuses_everything(place):
    source = place.folder / "in"
    write(source, {"1 first": b"f", "2 second": b"s"})
    with pytest.raises(SubmissionRefusedError, match="2 second"):
        submit(place, source, told=lambda _files, _bytes: (source / "2 second").unlink(missing_ok=True))
    assert objects(place) == 0
    assert left_in_staging(place) == []


def test_what_was_packed_before_the_refusal_is_taken_back_from_the_stores(place, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 30_000)
    source = place.folder / "in"
    write(source, {f"{number:02}": os.urandom(20_000) for number in range(8)})

    def exchange(_files, _bytes, done=[]):  # noqa: B006 - counts its calls
        done.append(1)
        if len(done) == 6:
            (source / "07").write_bytes(b"changed" * 3_000)

    with pytest.raises(SubmissionRefusedError, match="07"):
        submit(place, source, told=exchange)
    assert stored(place) == {"a": {}, "b": {}}
    assert {row.state for row in pack_rows(place)} == {"abandoned"}
    consistent(place)


def test_an_unknown_fonds_package_or_store_is_an_error_that_stores_nothing(place, tmp_path):
    source = write(place.folder / "in", {"x": b"x"})
    with pytest.raises(NoSuchFondsError):
        submit(place, source, fonds_code="F9")
    with pytest.raises(NoSuchPackageError):
        submit(place, source, package="019b76da-0000-7000-8000-000000000000", mode="add")
    without = made(tmp_path / "without", store_names=())
    with pytest.raises(NoStoreError):
        submit(without, source)
    assert stored(place) == {"a": {}, "b": {}}


# ---- stores that fail --------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(place, monkeypatch):
    """Plan faults for the stores: name to faults."""
    plans, opened = {}, locations.open_store

    def open_store(url, **more):
        plan = next((plan for name, plan in plans.items() if url == place.url(name)), ())
        backend = opened(url, **more)
        return FaultyBackend(backend, plan) if plan else backend

    monkeypatch.setattr(locations, "open_store", open_store)
    return plans


@pytest.mark.parametrize(
    "fault",
    [
        Fault("full", does="create"),
        Fault("refuse", does="create"),
        Fault("refuse", does="commit"),
        Fault("refuse", key="indexes/*", does="write"),
        Fault("full", key="ledger/*", does="write"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.does} {fault.key}",
)
def test_a_store_that_cannot_take_it_leaves_the_package_under_replicated_until_it_can(place, faulty, fault):
    faulty["b"] = [fault]
    receipt = submit_files(place, FILES)
    assert receipt.under_replicated
    assert list(receipt.failures) == ["b"]
    assert contents(place, receipt.package) == raw(FILES)
    faulty.clear()
    result = replicate(place.open(), lambda _files, _bytes: None)
    assert (result.under_replicated, result.failures) == ([], {})
    assert stored(place)["a"] == stored(place)["b"]
    again = submit_files(place, FILES)
    assert (again.already, again.copies, again.under_replicated) == (True, 2, False)
    consistent(place)


def test_a_store_that_is_away_is_caught_up_by_replication(place):
    os.rename(place.store("a"), place.folder / "away")
    receipt = submit_files(place, FILES)
    assert (receipt.copies, receipt.under_replicated, list(receipt.failures)) == (1, True, ["a"])
    with place.open().reading() as view:
        assert short_packages(view, short_packs(place.open(), view)) == [receipt.package]
    os.rename(place.folder / "away", place.store("a"))
    result = replicate(place.open(), lambda _files, _bytes: None)
    assert (result.copied, result.short, result.under_replicated) == (1, [], [])
    assert stored(place)["a"] == stored(place)["b"]
    consistent(place)


def test_a_new_store_is_filled_by_replication(place):
    receipt = submit_files(place, FILES)
    attachment.add(place.open(), "c", place.url("c"), site="c")
    assert replicate(place.open(), lambda _files, _bytes: None).copied == 1
    assert tree(place.store("c") / "packs") == tree(place.store("a") / "packs")
    for name in ("a", "b"):
        os.rename(place.store(name), place.folder / f"{name} gone")
    assert contents(place, receipt.package) == raw(FILES)


def test_when_no_store_can_take_it_nothing_is_acknowledged_and_the_same_command_goes_on_later(place, faulty):
    faulty["a"] = faulty["b"] = [Fault("full", does="create")]
    with pytest.raises(NoStoreLeftError):
        submit_files(place, FILES)
    assert stored(place) == {"a": {}, "b": {}}
    faulty.clear()
    receipt = submit_files(place, FILES)
    assert (receipt.copies, receipt.already) == (2, False)
    assert left_in_staging(place) == []
    consistent(place)


def test_a_store_that_writes_other_bytes_than_it_was_given_is_not_believed(place, monkeypatch):
    """The read back finds it: the draft is never named."""
    write_draft = DiskDraft.write

    def lying(self, data):
        data = bytes(data)
        write_draft(self, data.replace(b"%PDF-1.4 two", b"%PDF-1.4 tw0") if self._root.place.endswith("/b") else data)

    monkeypatch.setattr(DiskDraft, "write", lying)
    receipt = submit_files(place, FILES)
    monkeypatch.undo()
    assert (receipt.copies, receipt.under_replicated, list(receipt.failures)) == (1, True, ["b"])
    assert stored(place)["b"] == {}


def test_detached_and_lost_stores_are_not_written_to(place):
    attachment.add(place.open(), "c", place.url("c"), site="c")
    attachment.detach(place.open(), "a", lost=True)
    receipt = submit_files(place, FILES)
    assert receipt.copies == 2
    assert stored(place)["a"] == {}
    assert {row.state for row in store_rows(place).values()} == {"attached", "lost"}
