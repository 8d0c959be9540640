"""A migration from plan to report: what is frozen, who must sign, what is kept, and what is refused."""

import json
import os
import subprocess
from dataclasses import replace
from hashlib import sha256

import pytest
from dissemination_support import check_premis, same_content, texts
from migration_support import APPROVER, AUTHOR, PATHWAY, PLAIN, key_files, office, tcvn3
from repository_support import (
    audit,
    catalog_rows,
    contents,
    manifest_of,
    overwrite,
    pack_file,
    pack_rows,
    rebuilt_rows,
    submit_files,
)
from repository_support import made as made_place

from preservation.agents import NoSuchAgentError, agent_named, revoke
from preservation.catalog.plans import PlanState
from preservation.dissemination import export
from preservation.formats.workers import WorkerPool
from preservation.identifications import Layers
from preservation.manifest import FileLine
from preservation.migration import pathway as ways
from preservation.migration.affected import Query, SetSum, bases, in_package
from preservation.migration.approval import sign
from preservation.migration.errors import (
    BadPrivateKeyError,
    BadSignatureError,
    KeyRevokedError,
    NoSuchPathwayError,
    NotApprovedError,
    NothingToMigrateError,
    PathwayChangedError,
    PlanChangedError,
    PlanClosedError,
    SelfApprovalError,
    SetChangedError,
    SignedAlreadyError,
)
from preservation.migration.outcome import file_outcomes, outcome
from preservation.migration.plan import statement
from preservation.migration.undoing import undo
from preservation.sidecars import description_name
from preservation.stores import all_open, attached

TEXT = "derivatives/tcvn3-utf8/hồ sơ/thư.txt.txt".encode()
FILES = {
    "hồ sơ/thư.txt": tcvn3(),
    "hồ sơ/mới.txt": PLAIN.encode(),
    "hồ sơ/hỏng.txt": tcvn3() + b"\xff\xfe",
    "ảnh.bin": bytes(range(256)) * 8,
}


@pytest.fixture(scope="module")
def identifier():
    with WorkerPool() as pool:
        yield pool


@pytest.fixture
def here(tmp_path, identifier):
    return office(made_place(tmp_path), identifier)


@pytest.fixture
def held(here):
    """A package with one old text that can be converted and one that cannot."""
    return here, here.submit(FILES).package


def line(place, package, path, version=None):
    return next(one.line for one in manifest_of(place, package, version)[1:] if one.path == path)


def events(here, kind):
    return [one for one in here.place.open().ledger.records() if one.event.type.endswith(kind)]


def untouched(here, package):
    """Tell whether nothing was made of the package."""
    return 1 == manifest_of(here.place, package)[0]["version"]


# ---- the story -------------------------------------------------------------------------------------------------------


def test_a_plan_freezes_the_set_and_says_what_was_tried(held):
    here, _ = held
    values = here.plan(sample=1000).values
    assert {"files": 2, "packages": 1, "bytes": len(FILES["hồ sơ/thư.txt"]) + len(FILES["hồ sơ/hỏng.txt"])} == {
        name: values["set"][name] for name in ("files", "packages", "bytes")
    }
    assert (PATHWAY, ["x-fmt/111"], True) == tuple(values["pathway"][name] for name in ("id", "sources", "lossless"))
    trial = values["trial"]
    assert (2, 1) == (trial["files"], trial["accepted"])
    assert 1 == trial["codes"]["accepted"] == sum(trial["codes"].values()) - 1
    assert trial["bytes_after"] == len(PLAIN.encode())
    assert trial["reversible"] is False
    (event,) = events(here, "migration-planned")
    assert values["set"]["root"] == event.event.detail["root"]


def test_what_was_approved_is_done_and_originals_stay_where_they_are(held):
    here, package = held
    plan = here.approved()
    done = here.run(plan)
    assert (2, 1, 1, False) == (done.files, done.accepted, done.failed, done.already)
    before, after = (contents(here.place, package, version) for version in (1, 2))
    assert PLAIN.encode() == after.pop(TEXT)
    assert before == after
    assert PlanState.DONE == here.row(plan).state


def test_the_manifest_says_the_derivation_in_both_directions(held):
    here, package = held
    plan = here.approved()
    here.run(plan)
    (event,) = events(here, "migration")
    derived = line(here.place, package, TEXT)
    source = line(here.place, package, "hồ sơ/thư.txt".encode())
    assert {"blake3": source["blake3"], "path": "hồ sơ/thư.txt"} == derived["derived"]["from"]
    assert [{"blake3": derived["blake3"], "path": TEXT.decode()}] == [
        {name: one[name] for name in ("blake3", "path")} for one in source["derivatives"]
    ]
    for said in (derived["derived"], source["derivatives"][0]):
        assert (plan, PATHWAY, event.event_id, "migration") == tuple(
            said[name] for name in ("plan", "pathway", "event", "use")
        )
    old = line(here.place, package, "hồ sơ/thư.txt".encode(), version=1)
    assert old == {name: value for name, value in source.items() if name != "derivatives"}
    assert {"kind": "migration", "plan": plan} == manifest_of(here.place, package)[0]["submission"]


def test_premis_has_the_derivation_in_both_directions_and_the_event(held, tmp_path):
    here, package = held
    here.run(here.approved())
    (event,) = events(here, "migration")
    export(here.place.open(), package, str(tmp_path / "out"))
    root = check_premis(str(tmp_path / "out.premis.xml"))
    same_content(root, str(tmp_path / "out.premis.json"))
    assert ["has source", "is source of"] == sorted(set(texts(root, "relationshipSubType")) - {"is part of"})
    assert 2 == texts(root, "relatedEventIdentifierValue").count(event.event_id)
    assert event.event_id in texts(root, "eventIdentifierValue")
    named, related = texts(root, "objectIdentifierValue"), texts(root, "relatedObjectIdentifierValue")
    contents_named = {one for one in named if one.startswith("blake3:")}
    assert contents_named == {one for one in related if one.startswith("blake3:")}
    assert 2 == len(contents_named)


def test_a_plan_that_is_done_does_nothing_the_second_time(held):
    here, package = held
    plan = here.approved()
    here.run(plan)
    size, version = here.place.open().ledger.size, manifest_of(here.place, package)[0]["version"]
    again = here.run(plan)
    assert again.already
    assert (2, 1, 1) == (again.files, again.accepted, again.failed)
    assert size == here.place.open().ledger.size
    assert version == manifest_of(here.place, package)[0]["version"]


def test_what_is_done_is_no_part_of_another_plan_and_what_failed_is(held):
    here, _ = held
    here.run(here.approved())
    values = here.plan().values
    assert 1 == values["set"]["files"]
    assert 0 == values["trial"]["accepted"]


def test_the_ledger_keeps_no_name_of_a_file_or_a_person(held):
    here, _ = held
    here.run(here.approved())
    data = b"".join(here.place.open().ledger.raw_records())
    for word in ("thư", "hồ sơ", AUTHOR, APPROVER, "Hồ sơ địa chính"):
        assert word.encode() not in data
        assert json.dumps(word)[1:-1].encode() not in data
    folder = os.path.join(here.place.path, "ledger", "parts")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            assert "thư".encode() not in file.read()


def test_the_results_of_each_file_lie_in_a_part_that_the_event_names(held):
    here, package = held
    plan = here.approved()
    here.run(plan)
    (event,) = events(here, "migration")
    (part,) = event.event.detail["parts"]
    assert (2, "migration") == (part["rows"], part["kind"])
    assert ("warning", 1, 1) == (event.event.outcome, event.event.detail["accepted"], event.event.detail["failed"])
    found = {one.path.decode(): one for one in file_outcomes(here.place.open(), plan)}
    good, bad = found["hồ sơ/thư.txt"], found["hồ sơ/hỏng.txt"]
    assert ("accepted", (TEXT,), 2) == (good.result.code, good.derived, good.version)
    assert {"round-trip", "lines", "syllables"} <= {name for name, _, _, passed in good.result.measures if passed}
    assert bad.result.code != "accepted"
    assert () == bad.derived == bad.result.derived
    totals = outcome(here.place.open(), plan)
    assert (2, 1) == (totals.files, totals.accepted)
    assert package == good.result.package
    for store in ("a", "b"):
        assert (here.place.store(store) / "ledger" / "parts" / f"{part['blake3']}.parquet").exists()


def test_everything_is_sound_afterwards_and_follows_from_the_ledger(held):
    here, _ = held
    plan = here.approved()
    here.run(plan)
    undo(here.place.open(), plan)
    assert catalog_rows(here.place) == rebuilt_rows(here.place)
    report = audit(here.place)
    assert (0, 0) == (report.exit_status, report.coverage.unexpected)
    assert [] == [name for name in os.listdir(here.place.open().staging) if name != "copies.lock"]


# ---- approval --------------------------------------------------------------------------------------------------------


def test_nothing_is_done_before_a_second_person_has_approved(held):
    here, package = held
    plan = here.plan().plan
    with pytest.raises(NotApprovedError):
        here.run(plan)
    assert untouched(here, package)


def test_nobody_approves_his_own_plan_with_whatever_key(held):
    here, package = held
    plan = here.plan().plan
    with pytest.raises(SelfApprovalError):
        here.approve(plan, AUTHOR)
    here.person(AUTHOR, key="his second")
    with pytest.raises(SelfApprovalError):
        here.approve(plan, AUTHOR)
    assert PlanState.PLANNED == here.row(plan).state
    assert untouched(here, package)


def test_a_plan_without_its_authors_signature_cannot_be_approved(held):
    here, _ = held
    plan = here.plan(key="").plan
    with pytest.raises(NotApprovedError):
        here.approve(plan)
    with pytest.raises(NotApprovedError):
        sign(here.place.open(), plan, APPROVER, role="author", key=here.secrets[APPROVER])
    sign(here.place.open(), plan, AUTHOR, role="author", key=here.secrets[AUTHOR])
    with pytest.raises(SignedAlreadyError):
        sign(here.place.open(), plan, AUTHOR, role="author", key=here.secrets[AUTHOR])
    here.approve(plan)
    with pytest.raises(SignedAlreadyError):
        here.approve(plan)
    assert 1 == here.run(plan).accepted


def test_a_key_that_is_not_registered_for_that_person_approves_nothing(held, tmp_path):
    here, _ = held
    plan = here.plan().plan
    foreign, _ = key_files(tmp_path, "a stranger's")
    for key in (foreign, here.secrets[AUTHOR]):
        with pytest.raises(BadSignatureError):
            sign(here.place.open(), plan, APPROVER, role="approval", key=key)
    with pytest.raises(NoSuchAgentError):
        sign(here.place.open(), plan, "Nobody", role="approval", key=foreign)
    with pytest.raises(BadPrivateKeyError):
        sign(here.place.open(), plan, APPROVER, role="approval", key=str(tmp_path / "absent"))


def signature_of(here, role, agent, row):
    secret = here.secrets[agent]
    with here.place.open().reading() as view:
        identity = agent_named(here.place.open(), view, agent).identity
    text = statement(here.place.open().configuration.repository, row, role, identity)
    path = here.place.folder / "statement"
    path.write_bytes(text)
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", secret, "-in", path]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_a_signature_made_with_openssl_approves(held):
    here, _ = held
    plan = here.plan().plan
    signature = signature_of(here, "approval", APPROVER, here.row(plan))
    row = sign(here.place.open(), plan, APPROVER, role="approval", signature=signature)
    assert PlanState.APPROVED == row.state
    assert signature.hex() == row.approver_signature


def test_a_signature_of_anything_else_approves_nothing(held):
    """Of another plan, of this one when it had another content, for another role: all of them are replays."""
    here, _ = held
    plan = here.plan().plan
    row, other = here.row(plan), here.row(here.plan().plan)
    replays = [
        signature_of(here, "approval", APPROVER, other),
        signature_of(here, "approval", APPROVER, replace(row, sha256=sha256(b"older").hexdigest())),
        signature_of(here, "author", APPROVER, row),
        bytes.fromhex(row.author_signature),
        b"",
        b"\0" * 64,
        signature_of(here, "approval", APPROVER, row) + b"\0",
    ]
    for signature in replays:
        with pytest.raises(BadSignatureError):
            sign(here.place.open(), plan, APPROVER, role="approval", signature=signature)
    assert PlanState.PLANNED == here.row(plan).state


@pytest.mark.parametrize("name", [AUTHOR, APPROVER])
def test_a_revoked_key_stops_what_was_approved_and_not_executed(held, name):
    here, package = held
    plan = here.approved()
    repository = here.place.open()
    with repository.reading() as view:
        agent = agent_named(repository, view, name)
    revoke(repository, agent, reason="misused")
    with pytest.raises(KeyRevokedError):
        here.run(plan)
    assert untouched(here, package)


def test_a_revoked_key_signs_nothing(held):
    here, _ = held
    plan = here.plan().plan
    repository = here.place.open()
    with repository.reading() as view:
        agent = agent_named(repository, view, APPROVER)
    revoke(repository, agent, reason="lost")
    with pytest.raises(KeyRevokedError):
        here.approve(plan)


# ---- what was approved is what is done -------------------------------------------------------------------------------


def test_an_edited_plan_is_neither_approved_nor_executed(held):
    here, package = held
    plan = here.plan().plan
    repository = here.place.open()
    path = repository.sidecars.path(description_name(here.row(plan).description))
    with open(path, "rb") as file:
        right = file.read()
    edited = right.replace(b'"lossless":true', b'"lossless":null')
    assert edited != right
    overwrite(path, edited)
    with pytest.raises(PlanChangedError):
        here.approve(plan)
    overwrite(path, right)
    here.approve(plan)
    overwrite(path, edited)
    with pytest.raises(PlanChangedError):
        here.run(plan)
    os.unlink(path)
    with pytest.raises(PlanChangedError):
        here.run(plan)
    assert untouched(here, package)


def test_a_file_more_makes_another_set(held):
    here, package = held
    plan = here.approved()
    here.submit({"thêm.txt": tcvn3(PLAIN * 2)}, "more")
    with pytest.raises(SetChangedError):
        here.run(plan)
    assert untouched(here, package)


def test_another_name_or_content_makes_another_set(held):
    here, package = held
    plan = here.approved()
    here.submit({"hồ sơ/thư.txt": tcvn3(PLAIN * 2)}, "changed", package=package, mode="replace")
    with pytest.raises(SetChangedError):
        here.run(plan)
    here.submit({"hồ sơ/thư.txt": tcvn3()}, "back", package=package, mode="replace")
    assert 1 == here.run(plan).accepted


def test_a_new_version_that_leaves_these_files_alone_changes_nothing(held):
    here, package = held
    plan = here.approved()
    here.submit({"khác.bin": b"\0\1\2" * 99}, "other", package=package, mode="add")
    assert 1 == here.run(plan).accepted
    found = contents(here.place, package)
    assert {TEXT, "khác.bin".encode()} <= set(found)
    assert 3 == manifest_of(here.place, package)[0]["version"]


def test_another_version_of_the_tool_is_not_what_was_approved(held, monkeypatch):
    here, package = held
    plan = here.approved()
    monkeypatch.setattr(ways, "version", lambda _name: "9.9")
    with pytest.raises(PathwayChangedError, match=r"9\.9"):
        here.run(plan)
    assert untouched(here, package)


def test_a_dry_run_verifies_and_does_nothing(held):
    here, package = held
    plan = here.approved()
    size = here.place.open().ledger.size
    assert here.run(plan, dry_run=True).dry
    assert size == here.place.open().ledger.size
    here.submit({"thêm.txt": tcvn3(PLAIN * 2)}, "more")
    with pytest.raises(SetChangedError):
        here.run(plan, dry_run=True)
    assert untouched(here, package)


def test_a_dry_run_of_a_plan_records_nothing(held):
    here, _ = held
    size = here.place.open().ledger.size
    draft = here.plan(record=False)
    assert (False, 2) == (draft.recorded, draft.values["set"]["files"])
    assert size == here.place.open().ledger.size
    assert [] == [name for name in os.listdir(here.place.open().staging) if name != "copies.lock"]


def test_there_must_be_something_to_migrate_and_a_way(here):
    here.submit({"mới.txt": PLAIN.encode()})
    with pytest.raises(NothingToMigrateError):
        here.plan()
    with pytest.raises(NoSuchPathwayError):
        here.plan(pathway="nowhere")


def test_a_query_takes_only_its_fonds_and_packages(here):
    first = here.submit({"a.txt": tcvn3()}, "one").package
    second = here.submit({"b.txt": tcvn3(PLAIN * 2)}, "two").package
    assert 2 == here.plan().values["set"]["packages"]
    values = here.plan(packages=(second,)).values
    assert (1, len(tcvn3(PLAIN * 2))) == (values["set"]["files"], values["set"]["bytes"])
    with pytest.raises(NothingToMigrateError):
        here.plan(fonds="f-none")
    plan = here.approved(packages=(second,))
    here.run(plan)
    assert 1 == manifest_of(here.place, first)[0]["version"]


def test_the_root_depends_on_packages_paths_and_contents_alone(here):
    here.submit({"a.txt": tcvn3(), "b.txt": tcvn3(PLAIN * 2)})
    repository = here.place.open()
    query = Query(pathway=PATHWAY, puids=("x-fmt/111",), wanted="tcvn3")
    with repository.reading() as view, all_open(attached(view)) as stores, Layers(repository.sidecars, view) as layers:
        (base,) = bases(view, query)
        files = in_package(view, stores, layers, base, query).files

    def root(found):
        total = SetSum()
        total.add(found)
        return total.root

    right = root(files)
    assert right == root([replace(one, version=7, number=one.number + 5) for one in files])
    for change in (
        {"path": b"A.txt"},
        {"blake3": "0" * 64},
        {"size": 1},
        {"package": "01900000-0000-7000-8000-000000000000"},
    ):
        assert right != root([replace(files[0], **change), files[1]])
    assert right != root(files[:1])
    assert right != root(files[::-1])


# ---- what is in the way ----------------------------------------------------------------------------------------------


def test_a_folder_of_that_name_in_the_submission_is_left_alone(here):
    package = here.submit({"derivatives/tcvn3-utf8/a.txt.txt": b"mine", "a.txt": tcvn3()}).package
    here.run(here.approved())
    found = contents(here.place, package)
    assert b"mine" == found[b"derivatives/tcvn3-utf8/a.txt.txt"]
    assert PLAIN.encode() == found[b"derivatives_/tcvn3-utf8/a.txt.txt"]


def test_names_at_every_limit_get_a_derived_file_of_their_own(here):
    long = ("ă" * 125 + "x.txt").encode()
    files = {long: 1, b"\xe8\xe9.txt": 2, b"n/n.txt": 3, b"n/n.txt.txt/m.txt": 4}
    package = here.submit({path: tcvn3(PLAIN * times) for path, times in files.items()}, "names").package
    done = here.run(here.approved())
    assert (4, 0) == (done.accepted, done.failed)
    found = contents(here.place, package)
    top = b"derivatives/tcvn3-utf8/"
    derived = {data.count(b"\n") // 2: path.removeprefix(top) for path, data in found.items() if path.startswith(top)}
    assert {1, 2, 3, 4} == set(derived)
    assert (b"\xe8\xe9.txt.txt", b"n/n.txt.txt") == (derived[2], derived[3])
    assert len(derived[1]) <= 255 < len(long) + 4
    assert derived[1].decode().startswith("ăăă")
    assert derived[1].endswith(b".txt")
    assert derived[4].startswith(b"~")
    export(here.place.open(), package, str(here.place.folder / "out"))


def test_a_source_that_no_copy_has_any_more_is_a_failure_of_that_file_only(here):
    one = here.submit({"a.txt": tcvn3()}, "one").package
    other = here.submit({"b.txt": tcvn3(PLAIN * 2)}, "two").package
    plan = here.approved()
    (lost,) = [row for row in pack_rows(here.place) if row.package == one]
    for store in ("a", "b"):
        path = pack_file(here.place, store, lost)
        data = path.read_bytes()
        overwrite(path, data.replace(tcvn3(), b"?" * len(tcvn3())))
    done = here.run(plan)
    assert (1, 1) == (done.accepted, done.failed)
    codes = {result.result.package: result.result.code for result in file_outcomes(here.place.open(), plan)}
    assert {one: "source-unreadable", other: "accepted"} == codes


def test_a_new_version_keeps_what_was_derived_and_says_so(held):
    here, package = held
    here.run(here.approved())
    submit_files(here.place, {"thêm.bin": b"\0" * 50}, "later", package=package, mode="add")
    assert PLAIN.encode() == contents(here.place, package)[TEXT]
    assert "derived" in line(here.place, package, TEXT)
    assert "derivatives" in line(here.place, package, "hồ sơ/thư.txt".encode())


# ---- the way back ----------------------------------------------------------------------------------------------------


def test_undoing_withdraws_what_was_derived_and_destroys_nothing(held):
    here, package = held
    plan = here.approved()
    here.run(plan)
    before = {row.pack for row in pack_rows(here.place)}
    undone = undo(here.place.open(), plan)
    assert (1, 1, False) == (undone.packages, undone.files, undone.already)
    assert contents(here.place, package, 1) == contents(here.place, package, 3)
    assert PLAIN.encode() == contents(here.place, package, 2)[TEXT]
    assert before <= {row.pack for row in pack_rows(here.place)}
    old, new = (manifest_of(here.place, package, number)[1:] for number in (1, 3))
    assert [one.line for one in old if isinstance(one, FileLine)] == [one.line for one in new]
    size = here.place.open().ledger.size
    assert undo(here.place.open(), plan).already
    assert size == here.place.open().ledger.size
    with pytest.raises(PlanClosedError):
        here.run(plan)


def test_undoing_leaves_what_others_have_derived(held):
    here, package = held
    here.run(here.approved())
    here.submit({"lá.txt": tcvn3(PLAIN * 3)}, "leaf", package=package, mode="add")
    second = here.approved()
    here.run(second)
    undo(here.place.open(), second)
    found = contents(here.place, package)
    assert TEXT in found
    assert "derivatives/tcvn3-utf8/lá.txt.txt".encode() not in found
    assert "derivatives" in line(here.place, package, "hồ sơ/thư.txt".encode())


def test_a_plan_that_was_given_up_is_neither_approved_nor_executed(held):
    here, package = held
    plan = here.plan().plan
    assert (0, False) == (undo(here.place.open(), plan).packages, undo(here.place.open(), plan).packages > 0)
    with pytest.raises(PlanClosedError):
        here.approve(plan)
    with pytest.raises(PlanClosedError):
        here.run(plan)
    assert untouched(here, package)
    assert 1 == here.run(here.approved()).accepted
