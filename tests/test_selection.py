"""In which order an audit reads: the most urgent copy first, or as the medium reads fastest where all are read."""

from types import SimpleNamespace

import pytest
from repository_support import copy_rows, made, pack_rows, submit_files

from audits.coverage import Scope, Wanted
from audits.selection import as_they_lie
from preservation.packs.layout import pack_key
from preservation.stores import Store
from storage_backends.errors import StoreUnavailableError


class Backwards:
    """A medium that reads fastest from its end."""

    def in_order(self, keys):
        return sorted(keys, reverse=True)


class Away:
    def in_order(self, keys):
        raise StoreUnavailableError(place="library", reason=f"no drive for {len(keys)} items")


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    place = made(tmp_path_factory.mktemp("place"))
    for number in range(4):
        submit_files(place, {f"{number}.txt": b"%d" % number}, f"s{number}")
    packs = {row.pack: row for row in pack_rows(place)}
    found = [Wanted(packs[row.pack], row) for row in copy_rows(place)]
    return sorted((one for one in found if one.copy.store == found[0].copy.store), key=lambda one: one.copy.pack)


def store(backend):
    return Store(row=SimpleNamespace(name="a"), backend=backend)


def keys(copies):
    return [pack_key(one.pack.fonds, one.pack.pack) for one in copies]


def test_where_all_copies_are_read_they_are_read_as_they_lie(copies):
    assert len(copies) == 4
    assert keys(as_they_lie(Scope(), store(Backwards()), copies)) == sorted(keys(copies), reverse=True)


@pytest.mark.parametrize("budget", [{"bytes": 1}, {"seconds": 1.0}, {"sample": "2"}])
def test_a_budget_goes_to_the_most_urgent_copies(copies, budget):
    assert as_they_lie(Scope(**budget), store(Backwards()), copies) == copies


def test_a_medium_without_an_order_or_that_is_away_changes_none(copies):
    assert as_they_lie(Scope(), store(object()), copies) == copies
    assert as_they_lie(Scope(), store(None), copies) == copies
    assert as_they_lie(Scope(), store(Away()), copies) == copies
