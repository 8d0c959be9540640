"""Stores and replication: attach, catch up, detach, lose, move; what counts as enough copies."""

from random import Random

import pytest
from kept_support import brought_back
from repository_support import (
    Place,
    audit,
    configure,
    contents,
    copy_rows,
    flip,
    made,
    nothing,
    pack_file,
    pack_rows,
    seen,
    store_rows,
    submit_files,
    tree,
)

from preservation import attachment
from preservation.attachment import StoreExistsError, StoreNeededError
from preservation.creation import create
from preservation.replication import replicate
from preservation.stores import NoSuchStoreError
from storage_backends.errors import StoreUnavailableError

FILES = {b"a/one.txt": b"one", "b/Quyết định.txt".encode(): b"two" * 9000, b"empty": b""}


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(made, tmp_path_factory)


def packs_on(place, name):
    return {path.name for path in place.store(name).rglob("*.tar")}


def test_a_new_store_gets_every_pack_and_its_sidecars(place):
    submit_files(place, FILES)
    attachment.add(place.open(), "c", place.url("c"), site="site c")

    result = replicate(place.open(), nothing)

    assert (1, [], {}) == (result.copied, result.short, result.failures)
    assert packs_on(place, "a") == packs_on(place, "c")
    assert {path.name for path in (place.store("a") / "indexes").rglob("*")} == {
        path.name for path in (place.store("c") / "indexes").rglob("*")
    }
    assert 3 == audit(place).coverage.verified


def test_replicating_twice_changes_nothing(place):
    submit_files(place, FILES)
    replicate(place.open(), nothing)
    before = {name: data for name, data in tree(place.store("a")).items() if not name.startswith("ledger/")}

    result = replicate(place.open(), nothing)

    assert 0 == result.copied
    assert before == {name: data for name, data in tree(place.store("a")).items() if not name.startswith("ledger/")}


def test_an_ingest_beside_a_store_that_is_away_is_promoted_by_replication(place):
    place.store("b").rename(place.folder / "away")
    receipt = submit_files(place, FILES)
    (place.folder / "away").rename(place.store("b"))

    result = replicate(place.open(), nothing)

    assert receipt.under_replicated
    assert 1 == receipt.copies
    assert "b" in receipt.failures
    assert isinstance(receipt.failures["b"], StoreUnavailableError)
    assert ([], []) == (result.short, result.under_replicated)
    assert FILES == contents(place, receipt.package)


def test_the_same_submission_again_beside_a_store_that_is_away_says_so_and_stores_nothing_twice(place):
    place.store("b").rename(place.folder / "away")
    first = submit_files(place, FILES)
    before = packs_on(place, "a")

    second = submit_files(place, FILES)

    assert (first.package, True, True) == (second.package, second.already, second.under_replicated)
    assert before == packs_on(place, "a")


def test_with_a_store_away_replication_says_what_is_short(place):
    place.store("b").rename(place.folder / "away")
    receipt = submit_files(place, FILES)

    result = replicate(place.open(), nothing)

    assert [row.pack for row in pack_rows(place)] == result.short
    assert [receipt.package] == result.under_replicated
    assert {"b"} == set(result.failures)


def test_a_damaged_source_is_never_copied(place):
    submit_files(place, FILES)
    row = pack_rows(place)[0]
    right = pack_file(place, "a", row).read_bytes()
    flip(pack_file(place, "a", row), 3000)
    attachment.add(place.open(), "c", place.url("c"), site="site c")

    replicate(place.open(), nothing)

    assert right == pack_file(place, "c", row).read_bytes()


def test_wrong_bytes_under_the_right_name_are_set_aside_and_never_adopted(place):
    submit_files(place, FILES)
    row = pack_rows(place)[0]
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    target = pack_file(place, "c", row)
    target.parent.mkdir(parents=True)
    target.write_bytes(b"a name proves nothing")

    replicate(place.open(), nothing)

    assert pack_file(place, "a", row).read_bytes() == target.read_bytes()
    assert [b"a name proves nothing"] == [path.read_bytes() for path in (place.store("c") / "quarantine").iterdir()]


def test_right_bytes_that_are_there_already_are_adopted(place):
    submit_files(place, FILES)
    row = pack_rows(place)[0]
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    target = pack_file(place, "c", row)
    target.parent.mkdir(parents=True)
    target.write_bytes(pack_file(place, "a", row).read_bytes())
    inode = target.stat().st_ino

    result = replicate(place.open(), nothing)

    assert 1 == result.copied
    assert inode == target.stat().st_ino
    assert 3 == len(copy_rows(place))


def test_a_store_cannot_be_detached_while_the_policy_needs_it(place):
    submit_files(place, FILES)

    with pytest.raises(StoreNeededError):
        attachment.detach(place.open(), "b", lost=False)

    assert "attached" == store_rows(place)["b"].state


def test_a_lost_store_is_recorded_and_its_copies_are_no_longer_expected(place):
    submit_files(place, FILES)

    attachment.detach(place.open(), "b", lost=True)

    assert "lost" == store_rows(place)["b"].state
    report = audit(place)
    assert 1 == seen(report)["expected"]
    assert "under-replicated" in {str(finding.code) for finding in report.findings}


def test_a_store_that_is_not_needed_is_detached_and_can_come_back(place):
    submit_files(place, FILES)
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    replicate(place.open(), nothing)

    attachment.detach(place.open(), "a", lost=False)
    attachment.add(place.open(), "a", place.url("a"), site="site a")
    result = replicate(place.open(), nothing)

    assert 1 == result.copied
    assert 3 == audit(place).coverage.verified


def test_a_store_that_has_moved_keeps_its_copies(place):
    submit_files(place, FILES)
    place.store("b").rename(place.store("moved"))

    attachment.add(place.open(), "b", place.url("moved"), site="site b")

    assert 2 == audit(place).coverage.verified
    assert place.url("moved") == store_rows(place)["b"].url


def test_a_name_stands_for_one_store_only(place):
    with pytest.raises(StoreExistsError):
        attachment.add(place.open(), "a", place.url("elsewhere"), site="x")

    assert not place.store("elsewhere").exists()


def test_a_store_of_another_repository_is_refused(place, tmp_path):
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other", random=Random(2).randbytes)
    create(other.path, other.world)
    attachment.add(other.open(), "theirs", other.url("theirs"), site="x")

    with pytest.raises(StoreExistsError):
        attachment.add(place.open(), "c", other.url("theirs"), site="x")


def test_a_store_that_is_not_there_cannot_be_detached(place):
    with pytest.raises(NoSuchStoreError):
        attachment.detach(place.open(), "nobody", lost=False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sites = 1", "sites = 3"),
        ("media = 1", "media = 2"),
        ("admin_domains = 1", "admin_domains = 2"),
        ("independent = false", "independent = true"),
        ("copies = 2", "copies = 3"),
    ],
)
def test_copies_that_are_not_different_enough_do_not_count(place, old, new):
    configure(place, old, new)

    receipt = submit_files(place, FILES)

    assert receipt.under_replicated


def test_two_stores_on_one_file_system_are_said_to_share_it(place):
    _, shared = attachment.add(place.open(), "c", place.url("c"), site="site c")

    assert {"file system"} == {one.what for one in shared}
    assert ("a", "b") in {(one.first, one.second) for one in shared}
