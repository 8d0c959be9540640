"""The coverage proof: the sum closes, is bound to roots, and follows from the ledger alone."""

import json
from hashlib import sha256

import pytest
from kept_support import brought_back
from repository_support import FONDS, audit, flip, made, pack_file, pack_rows, store_rows, submit_files

from audits import run as audit_run
from audits.coverage import CoverageError, counted
from preservation import attachment
from preservation.abandoning import abandon
from preservation.checking import Grade
from preservation.ledger.checking import check_ledger
from preservation.session import open_sessions
from preservation.stopping import StoppedError

PREFIX = "tag:mocban,2026:"


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(beginning, tmp_path_factory)


def beginning(folder):
    place = made(folder)
    for number in range(4):
        submit_files(place, {b"%d" % number: b"%d" % number * 50}, name=f"s{number}")
    return place


# ---- an auditor's own arithmetic: the ledger's records, SHA-256, and docs/format.md ----------------------------------


def records_of(place):
    return [json.loads(data) for data in place.open().ledger.raw_records()]


def tree_root(lines):
    """RFC 6962, 2.1, as it is written there."""
    leaves = [line.encode() for line in lines]

    def mth(some):
        if not some:
            return sha256(b"").digest()
        if len(some) == 1:
            return sha256(b"\0" + some[0]).digest()
        half = 1 << (len(some) - 1).bit_length() - 1
        return sha256(b"\1" + mth(some[:half]) + mth(some[half:])).digest()

    return mth(leaves).hex()


def expected_at(records, at, scope):
    """The copies that are expected after ``at`` events, as far as the tests of this page go."""
    states, sessions, attached, copies, names, of = {}, {}, set(), set(), {}, {}
    for record in records[:at]:
        kind, detail = record["type"].removeprefix(PREFIX), record["detail"]
        if kind == "store-added":
            attached.add(detail["store"])
            names[detail["store"]] = detail["name"]
        elif kind == "store-lost":
            attached.discard(detail["store"])
            copies = {one for one in copies if one[1] != detail["store"]}
        elif kind == "pack-sealed":
            states[detail["pack"]] = True
            of[detail["pack"]] = record["fonds"]
        elif kind == "pack-retired":
            states[detail["pack"]] = False
            copies = {one for one in copies if one[0] != detail["pack"]}
        elif kind in {"replication", "repair"}:
            copies.add((detail["pack"], detail["store"]))
        elif kind == "fonds-opened":
            sessions[detail["code"]] = record["fonds"]
    fonds = {sessions.get(code) for code in scope["fonds"]}
    return sorted(
        one
        for one in copies
        if states[one[0]]
        and one[1] in attached
        and (not scope["stores"] or names[one[1]] in scope["stores"])
        and (not fonds or of[one[0]] in fonds)
    )


def proved(place, run):
    """Return what a run says of itself, and what follows from the ledger alone."""
    records = records_of(place)
    mine = [one for one in records if one["detail"].get("run") == run]
    openings = [one["detail"] for one in mine if one["type"] == PREFIX + "audit-run-opened"]
    (closing,) = [one["detail"] for one in mine if one["type"] == PREFIX + "audit-run-closed"]
    scope = json.loads(openings[-1]["scope"])
    expected = expected_at(records, openings[-1]["at"], scope)
    results = {}
    for one in mine:
        detail = one["detail"]
        if one["type"] == "fixity check" and detail["grade"] == openings[-1]["grade"]:
            results[detail["pack"], detail["store"]] = detail["verdict"]
    final = [
        (pack, store, results.get((pack, store), "unreadable" if store in closing["unavailable"] else "skipped"))
        for pack, store in expected
    ]
    follows = {
        "expected": len(expected),
        "root": tree_root([f"{pack} {store}" for pack, store in expected]),
        "results": tree_root([" ".join(one) for one in final]),
        **{
            name: sum(one[2] == name for one in final)
            for name in ("verified", "present", "damaged", "missing", "unreadable")
        },
        "skipped": sum(one[2] in {"skipped", "present"} for one in final),
    }
    assert (openings[-1]["expected"], openings[-1]["root"]) == (follows["expected"], follows["root"])
    return {name: closing[name] for name in follows}, follows


def closes(figures):
    kinds = ("verified", "damaged", "missing", "unreadable", "skipped")
    return figures["expected"] == sum(figures[kind] for kind in kinds)


def holds(place, report):
    said, follows = proved(place, report.run)
    assert said == follows
    assert closes(said)
    return said


# ---- what is proved ----------------------------------------------------------------------------------------------


def test_a_run_over_everything(place):
    figures = holds(place, audit(place))
    assert (figures["expected"], figures["verified"]) == (8, 8)


def test_a_run_over_nothing(place):
    figures = holds(place, audit(place, fonds=("none",)))
    assert (figures["expected"], figures["root"]) == (0, sha256(b"").hexdigest())


def test_a_run_that_finds_every_kind_of_trouble(place):
    rows = pack_rows(place)
    flip(pack_file(place, "a", rows[0]), 700)
    pack_file(place, "a", rows[1]).unlink()
    place.store("b").rename(place.folder / "away")
    figures = holds(place, audit(place, repair=False))
    assert [figures[kind] for kind in ("verified", "damaged", "missing", "unreadable")] == [2, 1, 1, 4]


def test_a_run_that_heals_says_what_it_found(place):
    flip(pack_file(place, "a", pack_rows(place)[0]), 700)
    figures = holds(place, audit(place))
    assert (figures["damaged"], figures["verified"]) == (1, 7)


@pytest.mark.parametrize(
    "scope",
    [
        {"stores": ("a",)},
        {"fonds": (FONDS,)},
        {"bytes": 1},
        {"max_age_days": 30},
        {"grade": Grade.INVENTORY},
        {"grade": Grade.PROVIDER},
        {"sample": "3"},
        {"sample": "50%", "bytes": 1},
    ],
)
def test_a_run_over_a_part(place, scope):
    audit(place, stores=("b",))
    holds(place, audit(place, **scope))
    flip(pack_file(place, "a", pack_rows(place)[0]), 700)
    holds(place, audit(place, repair=False, **scope))


def test_a_store_that_was_lost_is_not_expected_any_more(place):
    attachment.detach(place.open(), "b", lost=True)
    assert holds(place, audit(place))["expected"] == 4


def test_a_run_that_was_stopped_and_goes_on(place):
    place.stop_after = 3
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    report = audit(place)
    assert holds(place, report)["verified"] == 8
    assert len([one for one in records_of(place) if one["type"] == PREFIX + "audit-run-opened"]) == 1


def test_a_run_that_goes_on_says_that_other_copies_are_expected_by_now(place):
    place.stop_after = 3
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    submit_files(place, {b"new": b"new" * 50}, name="new")
    report = audit(place)
    figures = holds(place, report)
    assert (figures["expected"], figures["verified"]) == (10, 10)
    first, second = (one["detail"] for one in records_of(place) if one["type"] == PREFIX + "audit-run-opened")
    assert (first["run"], first["expected"], first["resumed"]) == (report.run, 8, False)
    assert (second["run"], second["expected"], second["resumed"]) == (report.run, 10, True)
    checks = [one["detail"] for one in records_of(place) if one["type"] == "fixity check"]
    assert len(checks) == 10, "nothing was read twice"


def test_what_another_run_read_meanwhile_does_not_count_for_one_that_goes_on(place):
    place.stop_after = 3
    with pytest.raises(StoppedError):
        audit(place)
    place.stop_after = None
    audit(place, stores=("a",))
    assert holds(place, audit(place))["verified"] == 8


def test_packs_of_an_ingest_that_was_given_up_are_not_expected(place):
    place.stop_after = 1
    with pytest.raises(StoppedError):
        submit_files(place, {f"{number:03}": b"%d" % number for number in range(200)}, "stopped")
    place.stop_after = None
    during = holds(place, audit(place))["expected"]
    ((_, session),) = open_sessions(place.open().staging)
    abandon(place.open(), session.session)
    assert (during, holds(place, audit(place))["expected"]) == (8, 8) or during > 8


def test_results_that_were_changed_do_not_give_the_root(place):
    report = audit(place)
    records = records_of(place)
    closing = next(one["detail"] for one in records if one["type"] == PREFIX + "audit-run-closed")
    expected = expected_at(records, closing["expected"] and len(records) - 1, {"fonds": (), "stores": ()})
    right = [f"{pack} {store} verified" for pack, store in expected]
    assert closing["results"] == tree_root(right)
    for wrong in (right[1:], [*right[:-1], right[-1].replace("verified", "skipped")], right[::-1]):
        assert closing["results"] != tree_root(wrong)
    assert report.run == closing["run"]


# ---- what is not accounted for -----------------------------------------------------------------------------------


def test_a_copy_that_nothing_became_of_fails_the_run_and_the_failure_is_recorded(place, monkeypatch):
    forgotten = []

    def forgetting(*arguments):
        found = right(*arguments)
        forgotten.append(found.pop())
        return found

    right = audit_run.reading_order
    monkeypatch.setattr(audit_run, "reading_order", forgetting)
    with pytest.raises(CoverageError, match="expected 8 copies and accounts for 6"):
        audit(place)
    monkeypatch.undo()
    assert len(forgotten) == 2
    closing = next(one for one in records_of(place) if one["type"] == PREFIX + "audit-run-closed")
    assert (closing["outcome"], closing["detail"]["expected"], closing["detail"]["unaccounted"]) == ("failure", 8, 2)
    report = audit(place)
    assert report.run != closing["detail"]["run"]
    assert holds(place, report)["verified"] == 8
    assert list(check_ledger(f"{place.path}/ledger")) == []


def test_counting_nothing_closes():
    assert counted([], Grade.BYTES).expected == 0


def test_the_expected_copies_are_those_of_the_ledger_and_not_of_who_asks(place):
    report = audit(place, stores=("a",))
    said, follows = proved(place, report.run)
    assert said["expected"] == follows["expected"] == 4
    assert store_rows(place)["a"].store
