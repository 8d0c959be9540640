"""A second opinion at once: what was taken in just now is asked about, conflicts wait, the package stays as it is."""

import pytest
from cli_support import FONDS, archive
from repository_support import audit, catalog_rows, made, manifest_of, rebuilt_rows, submit_files
from test_reidentification import Knowing, again, first, newest
from test_second_opinion import SCRIPT

from preservation.consulting import consult
from preservation.formats.second_opinion import NoSecondOpinionError, SecondOpinion, is_installed
from preservation.identifications import key_of
from preservation.ledger.events import EventType
from preservation.packages import NoSuchPackageError
from preservation.reviewing import Asking, decide, waiting
from preservation.stopping import StoppedError

FILES = {"a.bin": b"OLD one", "b.bin": b"SAME", "c.xyz": b"NOBODY KNOWS", "d.xyz": b"NOBODY KNOWS", "empty": b""}


@pytest.fixture
def place(tmp_path):
    return made(tmp_path)


def consulted(place, package, version=1, *, every=True, told=lambda _files, _bytes: None, script=SCRIPT):
    repository = place.open()
    with Asking(repository, {}, every=every, make=lambda: SecondOpinion(script, deadline=5)) as asking:
        return consult(repository, package, version, asking, told)


def queue(place):
    repository = place.open()
    with repository.reading() as view:
        return list(waiting(repository, view))


def events(place):
    return [one.event for one in place.open().ledger.records() if one.event.type == EventType.FORMAT_IDENTIFICATION]


def test_what_two_tools_say_differently_waits_as_soon_as_it_is_taken_in(place):
    package = first(place, FILES).package
    before = manifest_of(place, package)
    assert {"looked": 3, "moved": 1, "unreached": 0, "conflicts": 1} == consulted(place, package)
    (one,) = queue(place)
    assert (package, ("fmt/1",), ("fmt/77",)) == (one.package, one.first, one.second)
    found = {path: key_of(file.answer) for path, file in newest(place, package).items()}
    assert {"a.bin": "fmt/1", "b.bin": "fmt/2", "c.xyz": "fmt/88", "d.xyz": "fmt/88"}.items() <= found.items()
    assert before == manifest_of(place, package)
    (event,) = events(place)
    assert {"unidentified -> fmt/88": 1} == event.detail["moves"]
    assert "c.xyz" not in str(event.detail)
    decide(place.open(), one.blake3, "fmt/77", "examined")
    assert [] == queue(place)


def test_asked_again_it_asks_nobody_and_records_nothing(place):
    package = first(place, FILES).package
    consulted(place, package)
    size = place.open().ledger.size
    assert {"looked": 0, "moved": 0, "unreached": 0, "conflicts": 0} == consulted(place, package)
    assert size == place.open().ledger.size


def test_of_what_is_not_in_doubt_only_a_sample_is_asked_about(place):
    package = first(place, FILES).package
    assert 1 == consulted(place, package, every=False)["looked"]
    assert "fmt/88" == key_of(newest(place, package)["c.xyz"].answer)


def test_of_a_new_version_only_what_is_new_is_asked_about(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    consulted(place, package)
    first(place, {"c.xyz": b"NOBODY KNOWS"}, name="more", package=package, mode="add", fonds_code="")
    assert {"looked": 1, "moved": 1, "unreached": 0, "conflicts": 0} == consulted(place, package, 2)
    assert 1 == len(queue(place))


def test_the_catalog_made_anew_is_the_same_and_nothing_is_left_over(place):
    package = first(place, FILES).package
    consulted(place, package)
    assert rebuilt_rows(place) == catalog_rows(place)
    report = audit(place)
    assert (0, 0) == (report.exit_status, report.coverage.unexpected)
    assert [] == [one for one in (place.folder / "repo" / "staging").iterdir() if one.name != "copies.lock"]


def test_later_signatures_build_on_it(place):
    package = first(place, FILES).package
    consulted(place, package)
    again(place, identifier=Knowing("signatures 2", {"OLD": "fmt/77", "SAME": "fmt/2", "NOBODY": "fmt/88"}), again=True)
    assert [] == queue(place)
    assert "fmt/77" == key_of(newest(place, package)["a.bin"].answer)


def test_what_could_not_be_looked_at_has_no_first_opinion(place):
    package = submit_files(place, {"h.bin": b"HANG x"}, identifier=Knowing("signatures 1", {"HANG": "late"})).package
    assert 0 == consulted(place, package)["looked"]


def test_told_to_stop_it_keeps_what_was_found_and_says_that_it_is_not_all(place):
    package = first(place, FILES).package
    asked = []

    def told(files, size):
        asked.append((files, size))
        place.stop_after = 0

    with pytest.raises(StoppedError):
        consulted(place, package, told=told)
    place.stop_after = None
    (event,) = events(place)
    assert (1, 1) == (len(asked), event.detail["looked"])
    assert 2 == consulted(place, package)["looked"]


def test_a_tool_that_cannot_be_started_leaves_everything_as_it_was(place):
    package = first(place, FILES).package
    size = place.open().ledger.size
    with pytest.raises(NoSecondOpinionError):
        consulted(place, package, script=("/nonexistent/tool",))
    assert size == place.open().ledger.size
    assert [] == list((place.folder / "repo" / "ledger").glob("parts/.*"))
    with pytest.raises(NoSuchPackageError):
        consulted(place, package, 7)


def test_the_command_says_beforehand_that_there_is_nobody_to_ask(tmp_path):
    made_here = archive(tmp_path)
    folder = made_here.submission()
    said = made_here("ingest", folder, "--fonds", FONDS, "--no-identify", "--second-opinion", "all")
    assert 2 == said.status
    if is_installed():
        found = made_here.json("ingest", folder, "--fonds", FONDS, "--second-opinion", "all")["second_opinion"]
        assert found["looked"] > 0
        return
    said = made_here("ingest", folder, "--fonds", FONDS, "--second-opinion", "doubtful")
    assert (1, "") == (said.status, said.out)
    assert "pygfried" in said.err
    assert [] == made_here.json("list")
