"""A second opinion: what two answers come to, workers that hang or lie, the queue, decisions, the real tool."""

import sys

import pytest
from repository_support import made
from test_reidentification import Knowing, again, first, newest

from preservation.affected import Target
from preservation.formats.identification import FormatMatch, Identification, checked_puid
from preservation.formats.second_opinion import (
    LIBRARY,
    NoSecondOpinionError,
    Opinion,
    SecondOpinion,
    is_installed,
    judged,
)
from preservation.formats.second_opinion_worker import said
from preservation.identifications import key_of
from preservation.manifest import FileLine
from preservation.reviewing import Asking, NotInQueueError, NotOneOfBothError, decide, waiting

BEATS = {"fmt/412": frozenset({"x-fmt/263"}), "fmt/354": frozenset({"fmt/18"})}

needs_the_tool = pytest.mark.skipif(not is_installed(), reason="pygfried, an optional extra, is not there")


def answer(*puids, basis="signature"):
    matches = tuple(FormatMatch(checked_puid(puid), basis, "fido", "ours") for puid in puids)
    return Identification("identified" if puids else "unidentified", matches)


def opinion(*puids, basis="signature"):
    return Opinion(puids, basis, "siegfried 1", "theirs")


@pytest.mark.parametrize(
    ("ours", "theirs", "holds", "verdict"),
    [
        (answer("fmt/1"), opinion("fmt/1"), "fmt/1", "agreed"),
        (answer(), opinion(), "unidentified", "agreed"),
        (answer(), opinion("fmt/1"), "fmt/1", "single"),
        (answer("fmt/1"), opinion(), "fmt/1", "single"),
        (answer("x-fmt/263"), opinion("fmt/412"), "fmt/412", "refined"),
        (answer("fmt/412"), opinion("x-fmt/263"), "fmt/412", "refined"),
        (answer("fmt/1", "fmt/2"), opinion("fmt/2"), "fmt/2", "refined"),
        (answer("fmt/2"), opinion("fmt/1", "fmt/2"), "fmt/2", "refined"),
        (answer("fmt/1"), opinion("fmt/2"), "fmt/1", "conflict"),
        (answer("fmt/1", "fmt/2"), opinion("fmt/2", "fmt/3"), "fmt/1 fmt/2", "conflict"),
        (answer("fmt/1", basis="extension"), opinion("fmt/2"), "fmt/2", "single"),
        (answer("fmt/1"), opinion("fmt/2", basis="extension"), "fmt/1", "single"),
        (answer("fmt/1", basis="extension"), opinion("fmt/2", basis="extension"), "fmt/1", "conflict"),
        (answer("fmt/1"), Opinion(failure="late"), "fmt/1", ""),
        (answer(), Opinion(failure="gone"), "unidentified", ""),
    ],
)
def test_what_two_answers_come_to(ours, theirs, holds, verdict):
    found, how = judged(ours, theirs, BEATS)
    assert (holds, verdict) == (key_of(found), how)


def test_an_answer_of_the_other_tool_says_whose_it_is():
    found, _ = judged(answer(), opinion("fmt/1"), BEATS)
    assert ["siegfried 1"] == [match.tool for match in found.formats]
    assert found.warnings


@pytest.mark.parametrize(
    ("basis", "expected"),
    [
        ("extension match pdf; byte match at [[0 8] [82 5]]", "signature"),
        ("container name mimetype with byte match at 0, 39", "container"),
        ("extension match txt; text match ASCII", "signature"),
        ("extension match doc", "extension"),
        ("xml match with root", "signature"),
    ],
)
def test_what_the_other_tool_rests_on_is_understood(basis, expected):
    match = {"id": "fmt/1", "basis": basis}
    assert {"puids": ["fmt/1"], "basis": expected} == said({"files": [{"matches": [match]}]})
    assert [] == said({"files": [{"matches": [{"id": "UNKNOWN", "basis": ""}]}]})["puids"]


@pytest.mark.parametrize("found", [{}, {"files": []}, {"files": [{"errors": "no such file", "matches": []}]}])
def test_that_the_other_tool_could_not_look_is_no_answer(found):
    assert "failed" in said(found)


# ---- a worker that misbehaves ----------------------------------------------------------------------------------------


def worker(*lines):
    """A program that speaks the protocol, or nearly: each line is done once, in order."""
    start = "import sys,json,struct,time\ndef say(v):\n d=json.dumps(v).encode();sys.stdout.buffer.write("
    start += "struct.pack('>I',len(d))+d);sys.stdout.buffer.flush()\ndef hear():\n"
    start += " n=struct.unpack('>I',sys.stdin.buffer.read(4))[0];return json.loads(sys.stdin.buffer.read(n))\n"
    return (sys.executable, "-c", start + "\n".join(lines))


HELLO = "say({'tool':'siegfried 1','signatures':'theirs'})"


@pytest.mark.parametrize(
    ("last", "failure"),
    [
        ("time.sleep(60)", "late"),
        ("sys.exit(1)", "gone"),
        ("sys.stdout.buffer.write(b'\\xff'*8);sys.stdout.buffer.flush();time.sleep(60)", "gone"),
        ("say({'failed':'EmptySourceError'})", "EmptySourceError"),
        ("say({'puids':['../../etc'],'basis':'signature'})", "not PUIDs"),
        ("say({'puids':[{}],'basis':'signature'})", "not PUIDs"),
    ],
)
def test_a_worker_that_hangs_dies_or_lies_is_an_opinion_that_says_nothing(tmp_path, last, failure):
    with SecondOpinion(worker(HELLO, "hear()", last), deadline=0.5) as other:
        assert failure == other.ask(str(tmp_path)).failure


def test_after_a_worker_that_died_the_next_file_is_asked_about(tmp_path):
    good = "say({'puids':['fmt/1'],'basis':'signature'})"
    script = worker(HELLO, "p=hear()['path']", f"sys.exit(1) if p=='bad' else {good}")
    with SecondOpinion(script, deadline=5) as other:
        assert "gone" == other.ask("bad").failure
        assert ("fmt/1",) == other.ask("good").puids


@pytest.mark.parametrize("lines", [("sys.exit(0)",), ("say({'failed':'ImportError'})",), ("say([1])",)])
def test_a_worker_that_does_not_start_is_an_error_and_not_a_verdict(lines):
    with SecondOpinion(worker(*lines), deadline=1) as other, pytest.raises(NoSecondOpinionError):
        other.ask("x")


def test_a_program_that_is_not_there_is_an_error():
    with SecondOpinion(("/nowhere/python",)) as other, pytest.raises(NoSecondOpinionError):
        other.ask("x")


# ---- in a repository -------------------------------------------------------------------------------------------------

ANSWERS = "a=open(hear()['path'],'rb').read().split(b' ')[0].decode()"
REPLY = "say({'puids':{'OLD':['fmt/77'],'NOBODY':['fmt/88'],'SAME':['fmt/2']}.get(a,[]),'basis':'signature'})"
SCRIPT = worker(HELLO, "while True:", f" {ANSWERS}", f" {REPLY}")


@pytest.fixture
def place(tmp_path):
    return made(tmp_path)


def asked(place, **more):
    first(place, {"a.bin": b"OLD one", "b.bin": b"SAME", "c.xyz": b"NOBODY KNOWS", "empty": b""}, **more)
    repository = place.open()
    identifier = Knowing("signatures 2", {"OLD": "fmt/11", "SAME": "fmt/2"})
    with Asking(repository, {}, every=True, make=lambda: SecondOpinion(SCRIPT, deadline=5)) as second:
        return again(place, identifier=identifier, second=second, again=True)


def test_a_conflict_waits_and_the_first_answer_holds_until_somebody_decides(place):
    run = asked(place)
    assert 1 == run.conflicts
    with place.open().reading() as view:
        (one,) = waiting(place.open(), view)
        (package,) = [one.package]
    assert (("fmt/11",), ("fmt/77",)) == (one.first, one.second)
    found = newest(place, package)
    assert ["fmt/11", "fmt/2", "fmt/88"] == [key_of(found[path].answer) for path in ("a.bin", "b.bin", "c.xyz")]
    assert found["a.bin"].conflict is not None

    with pytest.raises(NotOneOfBothError):
        decide(place.open(), one.blake3[:12], "fmt/99", "examined")
    decide(place.open(), one.blake3[:12], "fmt/77", "examined")
    assert "fmt/77" == key_of(newest(place, package)["a.bin"].answer)
    with place.open().reading() as view:
        assert [] == list(waiting(place.open(), view))
    with pytest.raises(NotInQueueError):
        decide(place.open(), one.blake3[:12], "fmt/77", "examined")


def test_a_decision_lasts_until_something_else_is_found(place):
    asked(place)
    with place.open().reading() as view:
        (one,) = waiting(place.open(), view)
    decide(place.open(), one.blake3, "fmt/11", "origin-known")
    target = Target("c" * 64, "signatures 3")
    again(place, identifier=Knowing("signatures 3", {"OLD": "fmt/111"}), target=target)
    assert "fmt/111" == key_of(newest(place, one.package)["a.bin"].answer)


def test_nothing_that_was_written_out_for_it_stays(place):
    asked(place)
    assert [] == [path for path in (place.folder / "repo" / "staging").iterdir() if path.is_dir()]


def test_only_what_is_in_doubt_and_a_sample_is_asked_about(place):
    with Asking(place.open(), {}) as second:

        def wants(found, number=0, size=5):
            return second.wants(FileLine(b"a", f"{number:064x}", "", size, {}), found)

        assert wants(answer())
        assert wants(answer("fmt/1", "fmt/2"))
        assert wants(answer("fmt/1", basis="extension"))
        assert not wants(answer(), size=0)
        drawn = sum(wants(answer("fmt/1"), number) for number in range(5000))
        assert 20 < drawn < 90
        assert drawn == sum(wants(answer("fmt/1"), number) for number in range(5000))


@needs_the_tool
def test_the_real_tool_names_what_it_is_given(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")
    (tmp_path / "nothing").write_bytes(bytes(range(256)))
    with SecondOpinion() as other:
        found = other.ask(str(tmp_path / "a.pdf"))
        assert (("fmt/18",), "signature") == (found.puids, found.basis)
        assert "siegfried" in found.tool
        assert "DROID" in found.signatures
        assert () == other.ask(str(tmp_path / "nothing")).puids
        assert other.ask(str(tmp_path / "not there")).failure


def test_the_library_is_never_loaded_here():
    assert LIBRARY not in sys.modules
