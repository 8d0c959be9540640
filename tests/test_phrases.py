"""Sentences with values: English for programs, the person's language for people, and none left that is only English."""

import ast
import copy
import json
import pickle
import re
import string
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from repository_support import made

from audits.findings import Code, Finding
from audits.heartbeat import FILE, Heartbeat, read_heartbeat, write_heartbeat
from audits.reports.language import Language
from audits.reports.section_history import damage_told
from commands import wording
from preservation.ledger.canonical import canonical
from storage_backends.disk_errors import read_failure
from storage_backends.errors import (
    MocbanError,
    Phrase,
    ReadFailureError,
    StoreUnavailableError,
    from_kept,
    joined,
    kept,
)

ROOT = Path(__file__).parent.parent
ROOMS = ("audits", "commands", "preservation", "storage_backends")
WORDS = re.compile("[A-Za-z]{2}")
PLACES = {"Finding": 3, "LedgerProblem": 2, "Remark": 2, "add": 2}
"""Where in the arguments of a call the sentence stands that people read, if it is not ``reason`` or ``detail``."""


@pytest.fixture
def vietnamese(monkeypatch):
    monkeypatch.setattr(wording.gettext, "gettext", lambda text: wording.in_language("vi", text))


def report_in(language):
    return Language(language, lambda text: wording.in_language(language, text))


# ---- what a phrase is ------------------------------------------------------------------------------------------------


def test_a_phrase_is_its_english_text_for_programs():
    phrase = Phrase("longer than {limit} bytes", limit=7)
    assert phrase == "longer than 7 bytes"
    assert {phrase: 1} == {"longer than 7 bytes": 1}
    assert json.loads(json.dumps({"reason": phrase})) == {"reason": "longer than 7 bytes"}
    assert canonical({"reason": phrase}) == b'{"reason":"longer than 7 bytes"}'


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, str, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_phrase_that_is_copied_or_sent_is_still_one(again):
    found = again(Phrase("element {destination} is full", destination=3))
    assert type(found) is Phrase
    assert (found.template, found.evidence) == ("element {destination} is full", {"destination": 3})


def test_what_is_cut_out_of_a_phrase_is_an_ordinary_text():
    phrase = Phrase("element {destination} is full", destination=3)
    assert [type(one) for one in (phrase[:4], phrase + ".", f"{phrase}.", phrase.strip())] == [str] * 4


def test_a_phrase_can_be_kept_as_json_and_told_later(vietnamese):
    error = StoreUnavailableError(place="/b", reason=str(ReadFailureError(place="/a", key="k", reason="it is torn")))
    again = from_kept(json.loads(json.dumps(kept(str(error)))))
    assert again == str(error)
    assert wording.told(again) == wording.told(error) != str(error)
    assert from_kept(kept("an ordinary text")) == "an ordinary text"


@pytest.mark.parametrize("template", ["{x:>999999999999}", "{x:{y}}", "{x.__class__}", "{x[0]}", "{0}", "{}", "{"])
def test_a_template_that_came_from_outside_cannot_fill_a_line_or_look_into_values(template):
    with pytest.raises((ValueError, LookupError)):
        from_kept({"template": template, "evidence": {"x": "value", "y": "999999999999"}})
    assert "00000007 'a'" == from_kept({"template": "{x:08d} {y!r:.80}", "evidence": {"x": 7, "y": "a"}})


def test_why_the_service_failed_is_told_in_the_language_of_whoever_asks(vietnamese, tmp_path):
    heartbeat = Heartbeat()
    heartbeat.failed("audit", StoreUnavailableError(place="/b", reason="not open"), datetime(2026, 1, 1, tzinfo=UTC))
    repository = made(tmp_path / "kept").open()
    write_heartbeat(repository.staging, heartbeat)
    found = read_heartbeat(repository).failures["audit"]
    assert found.reason == "/b: the store is not available (not open); nothing can be said about its items"
    assert wording.told(found.reason).startswith("/b: nơi lưu không sẵn sàng")
    file = Path(repository.staging) / FILE
    values = json.loads(file.read_text())
    del values["failures"]["audit"]["said"]  # as an older program wrote it
    file.write_text(json.dumps(values))
    older = read_heartbeat(repository).failures["audit"]
    assert older == found
    assert wording.told(older.reason) == found.reason


def test_what_an_error_says_is_a_phrase_and_stays_one_in_another_error(vietnamese):
    inner = ReadFailureError(place="/a", key="k", reason="Input/output error")
    outer = StoreUnavailableError(place="/b", reason=str(inner))
    assert str(outer).startswith("/b: the store is not available (/a: k could not be read: Input/output error)")
    assert "could not be read" not in wording.told(outer)
    assert "lỗi vào/ra" in wording.told(outer)


def test_several_reasons_are_one_phrase_each_in_its_language(vietnamese):
    both = joined([Phrase("longer than {limit} bytes", limit=7), "the drive is empty", "a.b"])
    assert both == "longer than 7 bytes; the drive is empty; a.b"
    assert wording.told(both) == "dài quá 7 byte; ổ băng đang trống; a.b"
    assert joined([]) == ""


# ---- what a person is told -------------------------------------------------------------------------------------------


def test_a_finding_is_told_in_the_language_of_the_person_and_kept_in_english(vietnamese):
    detail = Phrase("truncated: {found} of {size} bytes", found=1, size=9)
    finding = Finding(Code.COPY_DAMAGED, "disk1", "", detail)
    assert json.dumps(finding.detail) == '"truncated: 1 of 9 bytes"'
    assert wording.told(finding.detail) == "bị cụt: còn 1 trên 9 byte"
    assert report_in("vi").told(finding.detail) == "bị cụt: còn 1 trên 9 byte"
    assert report_in("en").told(finding.detail) == "truncated: 1 of 9 bytes"


def test_details_that_were_stored_as_texts_are_shown_as_they_are(vietnamese):
    assert wording.told("two reads differ, run 4") == "two reads differ, run 4"
    assert report_in("vi").told("two reads differ, run 4") == "two reads differ, run 4"


@pytest.mark.parametrize("name", ["path", "key", "what", "kind", "detail", "name", "place", "reasonable"])
def test_a_file_whose_name_is_a_sentence_of_ours_is_never_translated(vietnamese, name):
    template = f"{{{name}}}"
    assert wording.filled(template, **{name: "the drive is empty"}) == "the drive is empty"
    assert report_in("vi").say(template, **{name: "the drive is empty"}) == "the drive is empty"


@pytest.mark.parametrize("name", ["reason", "reason_1"])
def test_a_reason_is_translated_wherever_it_is_filled_in(vietnamese, name):
    assert wording.filled(f"{{{name}}}", **{name: "the drive is empty"}) == "ổ băng đang trống"
    assert report_in("vi").say(f"{{{name}}}", **{name: "the drive is empty"}) == "ổ băng đang trống"


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ("one bit at 70001", "một bit từ byte 70001"),
        ("the bytes of pack 00ff", "là các byte của gói lưu trữ 00ff"),
        ("missing", "thiếu"),
        ("something of an older program", "something of an older program"),
        ("unheard of at 7", "unheard of at 7"),
    ],
)
def test_damage_that_was_recorded_in_english_is_told_in_the_language_of_the_report(recorded, told):
    assert damage_told(recorded, report_in("vi")) == told
    assert damage_told(recorded, report_in("en")) == recorded


def test_reasons_of_the_system_are_translated_in_reports_too():
    error = read_failure(OSError(5, "Input/output error"), "/a", "k")
    assert "lỗi vào/ra" in report_in("vi").told(error)


def test_values_in_a_phrase_cannot_steer_a_terminal_nor_fill_in_more(vietnamese):
    phrase = Phrase("{path} is listed before with another digest", path="\x1b[31m{limit}\u202e")
    told = wording.told(MocbanError(reason=phrase))
    assert "\\x1b[31m{limit}\\u202e đã được liệt kê" in told
    assert told.isprintable()


# ---- none is left that is only English -------------------------------------------------------------------------------


@cache
def modules():
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if "locale" not in path.parts
    ]


def name_of(call):
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def english(node, *, literal):
    """Yield what stands in an expression as English and would not be translated; a ``literal`` by itself may be."""
    if isinstance(node, ast.Constant):
        if not literal and isinstance(node.value, str) and " " in node.value:
            yield node
    elif isinstance(node, ast.IfExp | ast.BoolOp):
        for one in [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values:
            yield from english(one, literal=literal and isinstance(node, ast.IfExp))
    elif isinstance(node, ast.JoinedStr | ast.BinOp):
        parts = node.values if isinstance(node, ast.JoinedStr) else (node.left, node.right)
        if any(isinstance(part, ast.Constant) and WORDS.search(str(part.value)) for part in parts):
            yield node
        elif isinstance(node, ast.BinOp):
            yield from (found for side in parts for found in english(side, literal=False))
    elif isinstance(node, ast.Call) and loses_phrases(node):
        yield node


def loses_phrases(call):
    """Tell whether a call makes one English text of sentences; names may be joined."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return name == "format" or (name == "join" and "str(" in ast.unparse(call))


def sentences(tree):
    """Yield every expression whose value people read as a reason or a detail, and whether it may be a bare literal."""
    asking = {
        function.name: [arg.arg for arg in function.args.args if arg.arg not in {"self", "cls"}]
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from said_by(node, asking)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            if any(isinstance(one, ast.Name) and one.id in {"reason", "detail"} for one in targets):
                yield node.value, False


def said_by(call, asking):
    """Yield the same of the arguments of one call; ``asking`` has the names of what the module's functions take."""
    name = name_of(call)
    for word in call.keywords:
        if word.arg == "reason" or (word.arg == "detail" and name in {"Finding", "replace"}):
            yield word.value, name.endswith("Error")
    if name in PLACES and len(call.args) > PLACES[name] and (name != "add" or "remarks" in ast.unparse(call.func)):
        yield call.args[PLACES[name]], False
    for arg, value in zip(asking.get(name, ()), call.args, strict=False):
        if arg in {"reason", "detail"}:
            yield value, False
    if name == "append" and ast.unparse(call.func) == "reasons.append":
        yield call.args[0], False


def test_no_reason_and_no_detail_is_composed_english():
    wrong = {
        f"{name}:{found.lineno}: {ast.unparse(found)}"
        for name, tree in modules()
        for value, literal in sentences(tree)
        for found in english(value, literal=literal)
    }
    assert wrong == set(), "write Phrase('... {value} ...', value=...), or marked('...')"


def test_the_search_for_composed_english_finds_it():
    bad = (
        "raise XError(reason=f'longer than {n} bytes')",
        "raise XError(reason='longer than ' + n)",
        "raise XError(reason='{} is wrong'.format(n))",
        "raise XError(reason='; '.join(str(e) for e in errors))",
        "raise XError(reason=a or 'none is known')",
        "reason = 'it is encrypted'",
        "Finding(code, store, pack, f'{n} copies')",
        "Finding(code, detail='no copy is known')",
        "LedgerProblem(code, name, 'the hot file is missing')",
        "def _bad(reason): ...\n_bad('it is not there')",
        "reasons.append(f'{store}: damaged')",
    )
    for text in bad:
        tree = ast.parse(text)
        found = [one for value, literal in sentences(tree) for one in english(value, literal=literal)]
        assert found, text
    good = (
        "raise XError(reason='it is encrypted')",
        "raise XError(reason=Phrase('longer than {n} bytes', n=n))",
        "raise XError(reason=f'{place}: {problem}')",
        "raise XError(reason=error.strerror or str(error))",
        "reason = marked('it is encrypted')",
        "Finding(code, detail=str(error))",
    )
    for text in good:
        found = [one for value, literal in sentences(ast.parse(text)) for one in english(value, literal=literal)]
        assert not found, text


def test_every_phrase_is_a_literal_with_all_its_values():
    for name, tree in modules():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Phrase"):
                continue
            if name in {"storage_backends/errors.py", "commands/examining.py"}:
                continue  # fill in a template that was marked elsewhere
            place = f"{name}:{node.lineno}"
            (template,) = node.args
            assert isinstance(template, ast.Constant), place
            parts = list(string.Formatter().parse(template.value))
            assert {field for _, field, _, _ in parts if field is not None} == {one.arg for one in node.keywords}, place
            assert all(not spec or re.fullmatch(r"\.\d+", spec) for _, _, spec, _ in parts), f"{place}: given as text"
