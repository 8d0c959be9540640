"""A URL leads to the right store or is refused with a reason."""

import io
import os

import pytest
from backend_sources import PROFILE

from storage_backends.backend import MARKER_KEY, Whereabouts, share_device
from storage_backends.disk import DiskBackend
from storage_backends.errors import StoreRefusesError, StoreUnavailableError
from storage_backends.locations import BadUrlError, checked_url, initialise_store, medium_of, open_store, stored_id
from storage_backends.memory import MemoryBackend


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/kho%20l%C6%B0u%20tr%E1%BB%AF"


def test_a_file_url_is_a_disk_store_with_its_name_decoded(url, tmp_path):
    initialise_store(url, "s1")
    store = open_store(url, store_id="s1", profile=PROFILE)

    assert isinstance(store, DiskBackend)
    assert store.place == f"{tmp_path}/kho lưu trữ"
    assert store.write("k", 1, io.BytesIO(b"x")).size == 1
    assert (tmp_path / "kho lưu trữ" / "k").read_bytes() == b"x"


def test_a_memory_url_is_one_store_for_the_whole_process():
    initialise_store("memory:shared", "s1")
    one = open_store("memory:shared", store_id="s1", profile=PROFILE)
    other = open_store("memory:shared", store_id="s1", profile=PROFILE)
    one.write("k", 1, io.BytesIO(b"x"))

    assert isinstance(one, MemoryBackend)
    assert other.stat("k").size == 1
    assert one.place == "memory:shared"


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_a_place_knows_which_store_it_is(url, kind, tmp_path):
    url = url if kind == "disk" else f"memory:{tmp_path}"
    assert stored_id(url) is None
    initialise_store(url, "s1")
    initialise_store(url, "s1")
    assert stored_id(url) == "s1"
    with pytest.raises(StoreRefusesError, match="another store"):
        initialise_store(url, "s2")
    with pytest.raises(StoreUnavailableError):
        list(open_store(url, store_id="s2", profile=PROFILE).items())
    assert medium_of(url) == kind


def test_a_store_that_is_away_can_be_opened_and_says_so_when_asked(url):
    store = open_store(url, store_id="s1", profile=PROFILE)
    with pytest.raises(StoreUnavailableError):
        store.stat("k")


def test_a_folder_with_something_in_it_is_not_made_a_store(url, tmp_path):
    (tmp_path / "kho lưu trữ").mkdir()
    (tmp_path / "kho lưu trữ" / "letter.txt").write_text("mine")
    with pytest.raises(StoreRefusesError, match="not empty"):
        initialise_store(url, "s1")
    assert os.listdir(tmp_path / "kho lưu trữ") == ["letter.txt"]


def test_the_root_of_an_ext4_disk_can_be_a_store(url, tmp_path):
    (tmp_path / "kho lưu trữ" / "lost+found").mkdir(parents=True)
    initialise_store(url, "s1")

    assert list(open_store(url, store_id="s1", profile=PROFILE).items()) == []


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b'{"store": 7}', b"[" * 60_000, b"\xff\xfe"])
def test_a_marker_that_cannot_be_understood_means_unavailable(url, tmp_path, marker):
    (tmp_path / "kho lưu trữ").mkdir()
    (tmp_path / "kho lưu trữ" / MARKER_KEY).write_bytes(marker)
    with pytest.raises(StoreUnavailableError):
        stored_id(url)
    with pytest.raises(StoreUnavailableError):
        open_store(url, store_id="s1", profile=PROFILE).stat("k")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("file:///a/b", "file:///a/b"),
        ("file:///a/b/", "file:///a/b"),
        ("file://localhost/a", "file:///a"),
        ("file:///a%20b/%E1%BB%99", "file:///a%20b/%E1%BB%99"),
        ("file:///a b/ộ", "file:///a%20b/%E1%BB%99"),
        ("file:///a%23b", "file:///a%23b"),
        ("memory:x", "memory:x"),
    ],
)
def test_a_url_is_kept_in_one_form(given, kept):
    assert checked_url(given) == kept
    assert checked_url(kept) == kept


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "/a/b",
        "a/b",
        "file:",
        "file://",
        "file:///",
        "file:a/b",
        "file://a/b",
        "file:///a/../b",
        "file:///a%2F..%2Fb",
        "file:///a%00b",
        "file:///%FF",
        "file:///a?x=1",
        "file:///a#b",
        "http://example.org/a",
        "memory://host/a",
        "file://[::1/a",
    ],
)
def test_a_bad_url_is_refused_with_its_reason(bad):
    for ask in (checked_url, medium_of, stored_id, lambda url: initialise_store(url, "s1")):
        with pytest.raises(BadUrlError, match="is not the URL of a store: "):
            ask(bad)


def test_two_places_share_a_device_if_any_disk_is_below_both():
    def at(file_system, device):
        return Whereabouts(file_system, device)

    assert share_device(at("ext4 1", "sda"), at("ext4 2", "sda+sdb"))
    assert share_device(at("nfs 1", "x"), at("nfs 1", "y"))
    assert not share_device(at("ext4 1", "sda"), at("ext4 2", "sdb+sdc"))
