"""Ingest under bad luck: killed between two steps, asked for twice, given up meanwhile, strange names and titles."""

import os

import pytest
from repository_support import (
    Place,
    audit,
    catalog_rows,
    contents,
    flip,
    made,
    manifest_of,
    open_findings,
    pack_file,
    pack_rows,
    rebuilt_rows,
    store_rows,
    submit,
    submit_files,
    tree,
)
from submission_support import bag, write

from preservation import abandoning, attachment, attempt, fonds
from preservation.abandoning import abandon
from preservation.attempt import CopiesWentBadError
from preservation.creation import create
from preservation.housekeeping import clean
from preservation.ingest import BadTitleError, PackageBusyError
from preservation.packs import layout
from preservation.session import SessionBusyError, SessionChangedError, open_sessions, worked_on
from preservation.submission.errors import SubmissionRefusedError
from preservation.versions import PathConflictError
from storage_backends import locations
from storage_backends.disk import initialise

FILES = {f"{number:02}.bin": bytes([number]) * 20_000 for number in range(9)}


class KilledError(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 60_000)
    return made(tmp_path / "p")


def raw(files):
    return {os.fsencode(name): data for name, data in files.items()}


def begun(place, files, *, after, name="in", **more):
    """Begin an ingest that is killed when that many files are done; return its source and its session."""

    def told(_files, _bytes, done=[]):  # noqa: B006 - counts its calls
        done.append(1)
        if len(done) == after:
            raise KilledError

    source = place.folder / name
    source.mkdir(exist_ok=True)
    write(source, files)
    known = {one.session for _, one in open_sessions(place.open().staging)}
    with pytest.raises(KilledError):
        submit(place, source, told=told, **more)
    (session,) = (one for _, one in open_sessions(place.open().staging) if one.session not in known)
    return source, session


def consistent(place):
    assert catalog_rows(place) == rebuilt_rows(place)
    report = audit(place)
    assert report.exit_status == 0, open_findings(report)


# ---- taken up again ----------------------------------------------------------------------------------------------


def test_a_submission_that_lost_its_last_files_is_not_what_it_was(place):
    source, _ = begun(place, FILES, after=9)
    recorded = max(int(row.label[-5:]) for row in pack_rows(place)) * 2
    for name in sorted(FILES)[recorded - 1 :]:
        (source / name).unlink()
    with pytest.raises(SessionChangedError):
        submit(place, source)


def test_a_submission_that_grew_behind_its_manifest_is_not_what_it_was(place, monkeypatch):
    def killed(*_more):
        raise KilledError

    source = place.folder / "in"
    source.mkdir()
    write(source, FILES)
    monkeypatch.setattr("preservation.attempt.Attempt._shortage", killed)
    with pytest.raises(KilledError):
        submit(place, source)
    monkeypatch.undo()
    write(source, {"zz": b"later"})
    with pytest.raises(SessionChangedError, match="zz"):
        submit(place, source)
    (source / "zz").unlink()
    assert contents(place, submit(place, source).package) == raw(FILES)


def test_what_was_given_up_is_not_gone_on_with_even_if_giving_up_was_killed(place, monkeypatch):
    source, session = begun(place, FILES, after=9)

    def killed(*_more):
        raise KilledError

    monkeypatch.setattr(abandoning, "remove_retired", killed)
    with pytest.raises(KilledError):
        abandon(place.open(), session.session)
    monkeypatch.undo()
    receipt = submit(place, source)
    assert receipt.package != session.package
    assert contents(place, receipt.package) == raw(FILES)
    assert list(open_sessions(place.open().staging)) == []
    consistent(place)


def test_what_an_ingest_relied_on_before_it_was_killed_is_looked_at_again(place):
    submit_files(place, {"shared": FILES["00.bin"]}, "first")
    (row,) = pack_rows(place)
    source, _ = begun(place, FILES, after=9)
    for store in ("a", "b"):
        flip(pack_file(place, store, row), 5_000)
    audit(place, repair=False)
    with pytest.raises(CopiesWentBadError):
        submit(place, source)


def test_packs_that_no_store_has_right_any_more_are_never_committed(place):
    source, session = begun(place, FILES, after=9)
    for row in pack_rows(place):
        for store in ("a", "b"):
            flip(pack_file(place, store, row), 5_000)
    audit(place, repair=False)
    with pytest.raises(CopiesWentBadError):
        submit(place, source)
    assert session.package not in {row.package for row in _versions(place)}


def _versions(place):
    from preservation.catalog import rows  # noqa: PLC0415 - one helper needs it

    with place.open().reading() as view:
        return list(rows.every(view, rows.VersionRow))


def test_a_source_that_is_away_for_a_while_does_not_cost_what_was_stored(place):
    source, session = begun(place, FILES, after=9)
    os.rename(source, place.folder / "unplugged")
    with pytest.raises(Exception, match="in"):
        submit(place, source)
    os.rename(place.folder / "unplugged", source)
    assert submit(place, source).package == session.package


# ---- several at once ---------------------------------------------------------------------------------------------


def test_two_second_versions_of_one_package_are_never_made(place):
    package = submit_files(place, {"a": b"1"}, "first").package
    source, session = begun(place, FILES, after=5, name="second", package=package, mode="add")
    with pytest.raises(PackageBusyError, match=session.session):
        submit_files(place, {"b": b"2"}, "rival", package=package, mode="add")
    receipt = submit(place, source, package=package, mode="add")
    assert (receipt.package, receipt.version) == (package, 2)
    receipt = submit_files(place, {"b": b"2"}, "rival", package=package, mode="add")
    assert receipt.version == 3
    assert contents(place, package) == {b"a": b"1", b"b": b"2", **raw(FILES)}
    consistent(place)


def test_an_ingest_that_another_process_works_on_cannot_be_given_up(place):
    source, session = begun(place, FILES, after=9)
    ((folder, _),) = open_sessions(place.open().staging)
    before = tree(place.store("a") / "packs")
    with worked_on(folder, session.session), pytest.raises(SessionBusyError):
        abandon(place.open(), session.session)
    assert tree(place.store("a") / "packs") == before
    assert submit(place, source).package == session.package


def test_a_session_that_ended_while_its_lock_was_awaited_is_not_worked_on(place):
    _, session = begun(place, FILES, after=9)
    ((folder, _),) = open_sessions(place.open().staging)
    os.unlink(os.path.join(folder.path, "session.json"))
    with pytest.raises(SessionBusyError), worked_on(folder, session.session):
        pass


def test_more_packs_than_an_event_can_name_make_a_package_too(place, monkeypatch):
    monkeypatch.setattr(attempt, "PACKS_IN_EVENT", 2)
    receipt = submit_files(place, FILES)
    (version,) = _versions(place)
    assert version.packs == receipt.packs
    assert {row.state for row in pack_rows(place)} == {"live"}
    assert contents(place, receipt.package) == raw(FILES)
    consistent(place)


# ---- versions ----------------------------------------------------------------------------------------------------


def test_a_withdrawal_is_made_although_another_package_holds_just_that(place):
    one = submit_files(place, {"a": b"1", "b": b"2"}, "one").package
    other = submit_files(place, {"a": b"1"}, "other").package
    receipt = submit(place, None, package=one, withdrawn=("b",))
    assert (receipt.package, receipt.version, receipt.already) == (one, 2, False)
    assert contents(place, one) == contents(place, other) == {b"a": b"1"}


def test_everything_can_be_withdrawn(place):
    package = submit_files(place, {"a": b"1", "b/c": b"2"}).package
    receipt = submit(place, None, package=package, withdrawn=("a", "b"))
    assert (receipt.version, receipt.files) == (2, 0)
    assert contents(place, package) == {}
    consistent(place)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        ({"a": b"1", "a b": b"2"}, {"a/b": b"3"}),
        ({"a/b": b"1"}, {"a": b"2"}),
        ({"a/b/c": b"1", "a/b!": b""}, {"a": b"2"}),
        ({"a": b"1"}, {"a/": None, "z": b""}),
        ({"a/": None, "z": b""}, {"a": b"1"}),
    ],
)
def test_a_path_cannot_be_a_file_and_a_folder(place, first, more):
    package = submit_files(place, first, "first").package
    with pytest.raises(PathConflictError, match="a"):
        submit_files(place, more, "more", package=package, mode="add")
    assert list(open_sessions(place.open().staging)) == []
    gone = tuple(sorted({name.split("/")[0] for name in first if name.startswith("a")}))
    receipt = submit_files(place, more, "more", package=package, mode="add", withdrawn=gone)
    assert raw(more).items() <= contents(place, package).items()
    assert receipt.version == 2
    consistent(place)


def test_a_folder_that_was_empty_and_gets_a_file_is_not_empty_any_more(place):
    package = submit_files(place, {"a/": None, "b": b"1"}, "first").package
    submit_files(place, {"a/c": b"2"}, "more", package=package, mode="add")
    assert contents(place, package) == {b"a/c": b"2", b"b": b"1"}


def test_a_file_that_is_withdrawn_and_added_is_new(place):
    package = submit_files(place, {"a": b"1", "b": b"2"}, "first").package
    receipt = submit_files(place, {"a": b"new"}, "more", package=package, mode="add", withdrawn=("a",))
    assert receipt.version == 2
    assert contents(place, package) == {b"a": b"new", b"b": b"2"}


def test_a_version_that_keeps_files_on_too_few_stores_is_not_acknowledged(place):
    package = submit_files(place, {"a": b"1"}, "first").package
    flip(pack_file(place, "b", pack_rows(place)[0]), 5_000)
    audit(place, repair=False)
    receipt = submit_files(place, {"b": b"2"}, "more", package=package, mode="add")
    assert (receipt.version, receipt.under_replicated, receipt.copies) == (2, True, 1)


# ---- names and titles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["two\nlines\r\n\x00\x1b \u2028\x85", '"quoted" \\', "lone \udcff byte", "x" * 1_000])
def test_strange_titles_are_kept(place, title):
    receipt = submit_files(place, {"a": b"1"}, title=title)
    assert manifest_of(place, receipt.package)[0]["title"] == title.replace("\udcff", "\\udcff")
    assert contents(place, receipt.package) == {b"a": b"1"}
    consistent(place)


def test_a_title_that_no_index_could_hold_is_refused(place):
    with pytest.raises(BadTitleError):
        submit_files(place, {"a": b"1"}, title="x" * 70_000)
    assert submit_files(place, {"a": b"1"}).version == 1


def test_a_bag_that_describes_itself_at_more_length_than_a_manifest_can_hold_is_refused(place):
    source = bag(place.folder / "bag", {"data/x": b"1"}, tags={"bag-info.txt": b"a:b\n" * 200_000})
    with pytest.raises(SubmissionRefusedError, match="bag-info"):
        submit(place, source)
    assert list(open_sessions(place.open().staging)) == []


def test_a_fonds_code_that_is_no_text_is_refused_and_a_title_is_kept(place):
    with pytest.raises(fonds.BadFondsCodeError):
        fonds.open_fonds(place.open(), "F\udcff", "")
    row = fonds.open_fonds(place.open(), "F2", "lone \udcff\nbyte")
    repository = place.open()
    with repository.reading() as view:
        titles = {one.fonds: more["title"] for one, more in fonds.described(repository, view)}
    assert titles[row.fonds] == "lone \\udcff\nbyte"


def test_the_time_in_a_manifest_is_utc_wherever_the_machine_is(place, monkeypatch):
    import time  # noqa: PLC0415 - one test needs it

    monkeypatch.setenv("TZ", "Asia/Ho_Chi_Minh")
    time.tzset()
    try:
        receipt = submit_files(place, {"a": b"1"})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert manifest_of(place, receipt.package)[0]["created"].startswith("2026-01-01T00:00:")
    assert manifest_of(place, receipt.package)[0]["created"].endswith(("Z", "+00:00"))


# ---- stores ------------------------------------------------------------------------------------------------------


def test_a_store_whose_adding_was_killed_before_it_was_recorded_can_be_added(place, monkeypatch):
    initialise(str(place.store("c")), "019b76da-0000-7000-8000-000000000001")
    row, _ = attachment.add(place.open(), "c", place.url("c"), site="c")
    assert row.name == "c"
    assert submit_files(place, FILES).copies == 3
    consistent(place)


def test_the_store_of_another_repository_is_not_taken(place):
    initialise(str(place.store("c")), "019b76da-0000-7000-8000-000000000001")
    write(place.store("c"), {"README.txt": b"of another repository"})
    with pytest.raises(attachment.StoreExistsError, match="another repository"):
        attachment.add(place.open(), "c", place.url("c"), site="c")


def test_two_stores_never_get_one_name(place, monkeypatch):
    """The other one is added between the first look and the record."""
    initialise_store = locations.initialise_store

    def rival(url, store, *more):
        monkeypatch.undo()
        attachment.add(place.open(), "c", place.url("other"), site="c")
        initialise_store(url, store, *more)

    monkeypatch.setattr(locations, "initialise_store", rival)
    with pytest.raises(attachment.StoreExistsError):
        attachment.add(place.open(), "c", place.url("c"), site="c")
    assert store_rows(place)["c"].url == place.url("other")


def test_a_segment_that_is_cut_short_on_a_store_is_written_anew_before_hot_frames_are_dropped(place):
    repository = place.open()
    submit_files(place, {"a": b"1"})
    with repository.ledger.writing(5) as writer:
        writer.seal_if_due(force=True)
    submit_files(place, {"b": b"2"}, "more")
    (segment,) = (place.store("a") / "ledger" / "segments").rglob("*.parquet")
    right = segment.read_bytes()
    os.chmod(segment, 0o644)
    segment.write_bytes(right[:100])
    submit_files(place, {"c": b"3"}, "most")
    assert segment.read_bytes() == right


def test_a_quarantined_name_is_short_enough_for_every_disk(place):
    odd = place.store("a") / "odd" / ("x" * 250)
    odd.parent.mkdir()
    odd.write_bytes(b"?")
    report = audit(place)
    assert report.coverage.unexpected == 1
    assert report.exit_status == 0, open_findings(report)
    assert [path.read_bytes() for path in (place.store("a") / "quarantine").iterdir()] == [b"?"]


def test_the_record_of_a_session_that_cannot_be_read_now_is_not_cleaned_away(place):
    source, session = begun(place, FILES, after=9)
    ((folder, _),) = open_sessions(place.open().staging)
    record, aside = os.path.join(folder.path, "session.json"), os.path.join(place.path, "aside")
    os.rename(record, aside)
    os.symlink("session.json", record)
    os.utime(folder.path, (0, 0))
    clean(place.open())
    os.rename(aside, record)
    assert submit(place, source).package == session.package


def test_a_recovery_kit_can_be_put_into_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create("repo", Place(tmp_path).world, kit="kit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "repo"]


def test_that_a_store_is_detached_stands_on_the_stores_that_stay(place):
    attachment.add(place.open(), "c", place.url("c"), site="c")
    attachment.detach(place.open(), "c", lost=False)
    chunks = b"".join(path.read_bytes() for path in (place.store("a") / "ledger" / "tail").iterdir())
    assert b"store-detached" in chunks
