"""Exports as files, against real repositories, hostile manifests and devices that fail."""

import os
import resource
import subprocess

import pytest
from dissemination_support import (
    PACKAGE,
    TIME_NS,
    check_premis,
    ingested,
    manifest_of,
    outgoing_of,
    repository_in,
    tree_of,
    version_of,
    write_tree,
)

from preservation.creation import open_repository
from preservation.dissemination import export
from preservation.dissemination.destination import destination, unfinished
from preservation.dissemination.errors import (
    DestinationError,
    ExportFailedError,
    ExportStoppedError,
    NoSuchFileError,
    UnsafePathError,
    WrongBytesError,
)
from preservation.dissemination.files import write_files
from preservation.ledger.events import EventType
from preservation.manifest import ManifestUnreadableError
from preservation.packages import NoGoodCopyError, NoSuchPackageError

FILES = {
    "Tờ trình/Quyết định số 1.txt".encode(): b"quyet dinh\n",
    "Tờ trình/bản sao.txt".encode(): b"quyet dinh\n",
    b"empty": b"",
    b"odd\xff\xfe/name\x80": b"not UTF-8",
    b"x" * 255: b"a long name",
    b"-rf": b"looks like an option",
    b"big": bytes(range(256)) * 8192,
}
FOLDERS = ("Thư mục rỗng/sâu".encode(), b"zz")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One repository for the tests that do not harm it: its folder, itself, its package."""
    folder = tmp_path_factory.mktemp("kept")
    repository = repository_in(str(folder))
    package = ingested(repository, write_tree(str(folder / "source"), FILES, FOLDERS)).package
    return folder, repository, package


@pytest.fixture
def source(kept):
    return kept[0] / "source"


@pytest.fixture
def repository(kept):
    return kept[1]


@pytest.fixture
def package(kept):
    return kept[2]


@pytest.fixture
def own(tmp_path):
    """A repository of the test's own, and its package."""
    repository = repository_in(str(tmp_path))
    return repository, ingested(repository, write_tree(str(tmp_path / "source"), FILES, FOLDERS)).package


def leftovers(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("out"))


def events_of(repository, kind):
    return [record for record in repository.ledger.records() if record.event.type == kind]


def test_the_original_tree_comes_back_with_names_bytes_times_and_empty_folders(repository, package, source, tmp_path):
    done = export(repository, package, str(tmp_path / "out"))
    assert tree_of(str(source)) == tree_of(str(tmp_path / "out"))
    subprocess.run(["diff", "-r", source, "out"], check=True, cwd=tmp_path)
    assert (done.files, done.bytes, done.recorded) == (len(FILES), sum(map(len, FILES.values())), True)
    assert leftovers(tmp_path) == ["out", "out.premis.json", "out.premis.xml"]


def test_an_export_is_recorded_without_any_name_of_a_file_or_place(repository, package, tmp_path):
    export(repository, package, str(tmp_path / "out"), path=b"empty")
    record = events_of(repository, EventType.DISSEMINATION)[-1]
    assert dict(record.event.detail) == {
        "package": package,
        "version": 1,
        "form": "files",
        "scope": "file",
        "files": 1,
        "bytes": 0,
    }


def test_progress_ends_at_all_bytes(repository, package, tmp_path):
    told = []
    export(repository, package, str(tmp_path / "out"), progress=lambda done, whole: told.append((done, whole)))
    whole = sum(map(len, FILES.values()))
    assert told[-1] == (whole, whole)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_single_file_becomes_the_destination_itself(repository, package, source, tmp_path):
    path = "Tờ trình/bản sao.txt".encode()
    export(repository, package, str(tmp_path / "out.txt"), path=path)
    assert (tmp_path / "out.txt").read_bytes() == FILES[path]
    assert (tmp_path / "out.txt").stat().st_mtime_ns == os.stat(source / os.fsdecode(path)).st_mtime_ns
    check_premis(str(tmp_path / "out.txt.premis.xml"))


def test_a_single_file_goes_into_a_folder_under_its_own_name(repository, package, tmp_path):
    os.makedirs(tmp_path / "desk" / "other")
    export(repository, package, str(tmp_path / "desk"), path=b"odd\xff\xfe/name\x80")
    names = sorted(os.listdir(os.fsencode(tmp_path / "desk")))
    assert names == [b"name\x80", b"name\x80.premis.json", b"name\x80.premis.xml", b"other"]


def test_a_file_that_the_package_does_not_have_is_named_and_nothing_is_left(repository, package, tmp_path):
    for path in (b"nothing", b"odd\xff\xfe", "Thư mục rỗng".encode(), b"../source/empty"):
        with pytest.raises(NoSuchFileError):
            export(repository, package, str(tmp_path / "out"), path=path)
    assert leftovers(tmp_path) == []


def test_an_unknown_package_or_version_is_an_error_and_nothing_is_left(repository, package, tmp_path):
    for name, version in (("nonsense", None), (package, 2)):
        with pytest.raises(NoSuchPackageError):
            export(repository, name, str(tmp_path / "out"), version=version)
    assert leftovers(tmp_path) == []


def test_an_earlier_version_is_given_as_it_was(own, tmp_path):
    repository, package = own
    more = write_tree(str(tmp_path / "more"), {b"empty": b"no longer"})
    ingested(repository, more, package=package, mode="replace")
    export(repository, package, str(tmp_path / "out1"), version=1)
    export(repository, package, str(tmp_path / "out2"))
    assert tree_of(str(tmp_path / "out1")) == tree_of(str(tmp_path / "source"))
    assert (tmp_path / "out2" / "empty").read_bytes() == b"no longer"
    assert (tmp_path / "out2" / "-rf").read_bytes() == FILES[b"-rf"]


def packs_of(store):
    return [os.path.join(folder, name) for folder, _, names in os.walk(store / "packs") for name in names]


def flip(path, offset):
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_a_damaged_copy_is_passed_over_for_a_good_one(own, tmp_path):
    repository, package = own
    for path in packs_of(tmp_path / "one"):
        for offset in range(0, os.path.getsize(path), 4096):
            flip(path, offset)
    export(repository, package, str(tmp_path / "out"))
    assert tree_of(str(tmp_path / "source")) == tree_of(str(tmp_path / "out"))


def test_without_any_good_copy_nothing_is_left_and_nothing_recorded(own, tmp_path):
    repository, package = own
    with open(packs_of(tmp_path / "one")[0], "rb") as file:
        offset = file.read().index(FILES[b"big"])
    for store in ("one", "two"):
        flip(packs_of(tmp_path / store)[0], offset + 77)
    for form in ("files", "bagit", "ocfl"):
        with pytest.raises(NoGoodCopyError):
            export(repository, package, str(tmp_path / "out"), form=form)
    assert leftovers(tmp_path) == []
    assert events_of(repository, EventType.DISSEMINATION) == []


def test_a_reader_without_the_right_to_write_exports_and_changes_nothing(repository, package, source, tmp_path):
    before = tree_of(repository.path)
    auditor = open_repository(repository.path, repository.world, read_only=True)
    for form in ("files", "bagit", "ocfl"):
        assert not export(auditor, package, str(tmp_path / f"out-{form}"), form=form).recorded
    assert tree_of(repository.path) == before
    assert tree_of(str(tmp_path / "out-files")) == tree_of(str(source))


def test_an_export_that_is_told_to_stop_leaves_nothing(tmp_path):
    told = []
    repository = repository_in(str(tmp_path), stopping=lambda: len(told) > 2)
    package = ingested(repository, write_tree(str(tmp_path / "source"), FILES)).package
    for form in ("files", "bagit", "ocfl"):
        told.clear()
        with pytest.raises(ExportStoppedError):
            export(repository, package, str(tmp_path / "out"), form=form, progress=lambda *one: told.append(one))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("form", ["files", "bagit", "ocfl"])
def test_a_device_that_takes_no_more_is_an_error_and_nothing_is_left(repository, package, tmp_path, form):
    # A limit on the size of files stands for a full disk: the kernel refuses the write.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(ExportFailedError):
            export(repository, package, str(tmp_path / "out"), form=form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert leftovers(tmp_path) == []


class TestDestination:
    def test_an_empty_folder_is_taken(self, repository, package, source, tmp_path):
        os.mkdir(tmp_path / "out")
        export(repository, package, str(tmp_path / "out") + "/")
        assert tree_of(str(source)) == tree_of(str(tmp_path / "out"))

    @pytest.mark.parametrize("taken", ["out/file", "out", "out.premis.xml", "out.premis.json", "out.partial"])
    def test_what_is_there_already_is_never_touched(self, repository, package, tmp_path, taken):
        write_tree(str(tmp_path), {taken.encode(): b"precious"})
        before = leftovers(tmp_path)
        with pytest.raises(DestinationError):
            export(repository, package, str(tmp_path / "out"))
        assert (tmp_path / taken).read_bytes() == b"precious"
        assert leftovers(tmp_path) == before

    def test_a_symbolic_link_is_not_followed(self, repository, package, tmp_path):
        os.mkdir(tmp_path / "elsewhere")
        os.symlink("elsewhere", tmp_path / "out")
        with pytest.raises(DestinationError):
            export(repository, package, str(tmp_path / "out"))
        assert os.listdir(tmp_path / "elsewhere") == []

    def test_a_place_in_the_repository_or_below_nothing_is_refused(self, repository, package, tmp_path):
        for place in (os.path.join(repository.path, "out"), str(tmp_path / "no" / "out")):
            with pytest.raises(DestinationError):
                export(repository, package, place)
        assert not os.path.lexists(os.path.join(repository.path, "out"))

    def test_a_file_that_appears_meanwhile_is_not_replaced(self, tmp_path):
        target = destination(str(tmp_path / "out"), single=b"a", events_beside=True, repository=str(tmp_path / "r"))

        def make():
            with unfinished(target):
                for number in range(3):
                    with open(target.partial(number), "wb") as file:
                        file.write(b"export")
                (tmp_path / "out").write_bytes(b"precious")

        with pytest.raises(DestinationError):
            make()
        assert leftovers(tmp_path) == ["out"]
        assert (tmp_path / "out").read_bytes() == b"precious"


def write_by_hand(tmp_path, lines, contents, only=None):
    target = destination(str(tmp_path / "out"), single=None, events_beside=True, repository=str(tmp_path / "r"))
    with unfinished(target):
        write_files(version_of(lines, only=only), target, outgoing_of(contents))


class TestManifestsThatLie:
    @pytest.mark.parametrize(
        "path", [b"../escaped", b"/escaped", b"a/../../escaped", b"a//b", b"./a", b"a/.", b"a\0b", b"..", b"a/"]
    )
    def test_a_path_that_leads_out_is_refused_and_nothing_is_left(self, tmp_path, path):
        os.mkdir(tmp_path / "room")
        with pytest.raises((UnsafePathError, ManifestUnreadableError)):
            write_by_hand(tmp_path / "room", manifest_of({b"+good": b"good", path: b"evil"}), [b"good", b"evil"])
        assert os.listdir(tmp_path / "room") == []
        assert os.listdir(tmp_path) == ["room"]

    @pytest.mark.parametrize("path", [b"../out2/", b"/out2/", b"a/../../out2/", b"/"])
    def test_an_empty_folder_outside_is_refused(self, tmp_path, path):
        with pytest.raises(UnsafePathError):
            write_by_hand(tmp_path, manifest_of({}, [path]), [])
        assert os.listdir(tmp_path) == []

    def test_a_wrong_sha256_is_an_error_though_the_blake3_is_right(self, tmp_path):
        with pytest.raises(WrongBytesError):
            write_by_hand(tmp_path, manifest_of({b"a": b"bytes"}, sha256="0" * 64), [b"bytes"])
        assert os.listdir(tmp_path) == []

    def test_a_manifest_without_its_last_line_is_not_believed(self, tmp_path):
        with pytest.raises(ManifestUnreadableError):
            write_by_hand(tmp_path, manifest_of({b"a": b"bytes"})[:-1], [b"bytes"])
        assert os.listdir(tmp_path) == []

    def test_a_file_and_a_folder_of_the_same_name_are_an_error(self, tmp_path):
        with pytest.raises(OSError, match="Not a directory"):
            write_by_hand(tmp_path, manifest_of({b"a": b"1", b"a/b": b"2"}), [b"1", b"2"])
        assert os.listdir(tmp_path) == []


def test_a_path_longer_than_any_system_call_takes_is_written(tmp_path):
    path = b"/".join([b"d" * 200] * 40) + b"/leaf"
    sibling = b"/".join([b"d" * 200] * 39) + b"/e"
    write_by_hand(tmp_path, manifest_of({path: b"deep", sibling: b"less"}), [b"deep", b"less"])
    folder = os.open(tmp_path / "out", os.O_RDONLY)
    for _ in range(40):
        below = os.open(b"d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    leaf = os.open(b"leaf", os.O_RDONLY, dir_fd=folder)
    assert os.read(leaf, 10) == b"deep"
    assert os.fstat(leaf).st_mtime_ns == TIME_NS
    os.close(leaf)
    os.close(folder)


def test_no_descriptor_stays_open(repository, package, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for form in ("files", "bagit", "ocfl"):
        export(repository, package, str(tmp_path / f"out-{form}"), form=form)
        with pytest.raises(NoSuchFileError):
            export(repository, package, str(tmp_path / "none"), form=form, path=b"none")
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_package_is_named_in_an_error_about_a_missing_file():
    assert PACKAGE in str(version_of(manifest_of({}), only=b"x").missing())
