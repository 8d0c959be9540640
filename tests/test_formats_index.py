"""The index in front of FIDO's signatures: it may be fast, but it must answer as FIDO does."""

import random
import re
import time

import pytest
from formats_support import PDF, corpora, files_of, mutants, png, shared_engine

from preservation.formats.engine import identify, native_match, real_fido, tool_name
from preservation.formats.identification import ENDS, Sample
from preservation.formats.index import match_extension, match_signatures
from preservation.formats.leads import Lead, lead
from preservation.formats.necessity import Containing, Keyed, necessity


@pytest.fixture(scope="module")
def engine():
    return shared_engine()


@pytest.fixture(scope="module")
def fido():
    return real_fido()


def both(engine, fido, content):
    start, end = content[:ENDS], content[-ENDS:]
    ours = [(format_.puid, name) for format_, name in match_signatures(engine.index, start, end)]
    return ours, native_match(fido, start, end)


def test_the_names_of_tool_and_signatures_are_those_of_what_is_installed(engine, fido):
    assert tool_name() == "fido 1.6.1"
    assert engine.label.startswith("pronom v109, container 20200121, bundle ")
    assert len(fido.formats) == 2257


def test_each_signature_of_fido_can_be_compiled_and_stands_behind_a_gate_or_is_always_tried(engine):
    index = engine.index
    gated = {number for _, _, keys in index.windows for behind in keys.values() for number in behind}
    regions = (*index.start_literals, *index.end_literals)
    gated |= {number for region in regions for _, behind in region.literals for number in behind}
    gated |= {number for _, behind in index.leads for number in behind}
    assert gated | set(index.always) | set(index.if_empty) == set(range(len(index.checks)))
    assert len(index.always) < 20
    for check in index.checks[::50]:
        for pattern in check.patterns:
            re.compile(pattern.expression)


def test_answers_on_real_files_and_their_mutants_are_those_of_fido(engine, fido):
    found = files_of(corpora("format-corpus"), 60) + files_of(corpora("skeletons"), 90)
    contents = [path.read_bytes()[: 1 << 20] for path in found]
    identified = 0
    for content in [*contents, *mutants(contents, 120)]:
        ours, theirs = both(engine, fido, content)
        assert ours == theirs
        identified += bool(theirs)
    assert identified > 120


def test_answers_on_bytes_made_from_the_signatures_themselves_are_those_of_fido(engine, fido):
    chance = random.Random(5)
    identified = 0
    for check in chance.sample(engine.index.checks, 100):
        content = bytearray(chance.randbytes(chance.randrange(1, 3000)))
        for pattern in check.patterns:
            for condition in pattern.necessity.conditions:
                if isinstance(condition, Keyed):
                    key = chance.choice(condition.keys)
                    content = content.ljust(condition.offset + len(key), b"\0")
                    content[condition.offset : condition.offset + len(key)] = key
                elif condition.place == "start" and condition.limit < 5000:
                    first = condition.limit - len(condition.literal)
                    content = content.ljust(condition.limit, b"\0")
                    content[first : condition.limit] = condition.literal
                else:
                    content += condition.literal
        ours, theirs = both(engine, fido, bytes(content))
        assert ours == theirs
        identified += bool(theirs)
    assert identified > 20


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"{", b"\r\n", PDF, png(), bytes(300_000), b"\xff" * 300_000, b"II*\0"]
)
def test_answers_on_plain_and_odd_bytes_are_those_of_fido(engine, fido, content):
    ours, theirs = both(engine, fido, content)
    assert ours == theirs


def test_answers_from_extensions_are_those_of_fido(engine, fido):
    for extension in ("pdf", "doc", "docx", "txt", "dat", "xml", "jpg", "tif", "123", "", "nosuchthing", "\udcff"):
        ours = [format_.puid for format_, _ in match_extension(engine.index, extension)]
        assert ours == [fido.get_puid(element) for element, _ in fido.match_extensions(f"a.{extension}")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bright.dpx", b"SDPX\0\0\x08\0V1.0" + bytes(2036) + b"\xff\xfb\xe0" * 200_000),
        ("600kb.bin", b"\xff\xfb\x90" * 200_001),
        ("id3.mp3", b"ID3\x03\0\0\0\0\0\0" + b"\xff\xfb\x90" * 100_000),
        ("braces.json", b"{}" * 100_000),
    ],
)
def test_files_on_which_fido_hangs_are_answered_at_once(engine, name, content):
    before = time.process_time()
    identify(engine, Sample.of_content(name, content))
    assert time.process_time() - before < 1


def test_nothing_is_printed_and_no_cache_of_python_is_needed(engine, capfd):
    identify(engine, Sample.of_content("a.pdf", PDF))
    assert capfd.readouterr() == ("", "")


def test_the_engine_keeps_the_order_and_priority_of_fido(engine):
    answer = identify(engine, Sample.of_content("a.pdf", PDF))
    assert answer.formats == (("fmt/18", "signature"),)
    assert answer.warnings == ()


def test_an_extension_that_no_matching_format_uses_is_noticed(engine):
    answer = identify(engine, Sample.of_content("a.jpg", PDF))
    assert answer.formats == (("fmt/18", "signature"),)
    assert answer.warnings == ("the extension is not usual for this format",)
    assert identify(engine, Sample.of_content("a", PDF)).warnings == ()


def test_an_empty_file_is_known_by_its_extension_at_most(engine):
    answer = identify(engine, Sample.of_content("a.rtf", b""))
    assert {basis for _, basis in answer.formats} == {"extension"}
    assert answer.warnings[:2] == ("the file is empty", "known by the extension only")
    assert identify(engine, Sample.of_content("a", b"")).formats == ()


def test_several_formats_that_fit_are_all_told(engine):
    answer = identify(engine, Sample.of_content("a.doc", b"nothing known"))
    assert len(answer.formats) > 1
    assert {basis for _, basis in answer.formats} == {"extension"}
    assert answer.warnings == ("known by the extension only", "several formats fit")


@pytest.mark.parametrize(
    ("position", "expression", "conditions"),
    [
        ("BOF", rb"(?s)\A%PDF", {Keyed(0, (b"%PDF",)), Containing("start", b"%pdf", 4)}),
        ("BOF", rb"(?s)\A.{4}[aA]b", {Keyed(4, (b"Ab", b"ab")), Containing("start", b"ab", 6, 4)}),
        ("BOF", rb"(?s)\A.{4,9}ab.{2}cd", {Containing("start", b"ab", 11, 4), Containing("start", b"cd", 15, 8)}),
        ("BOF", rb"(?s)\A.{0,9}xyz", {Containing("start", b"xyz", 12)}),
        ("BOF", rb"(?s)\A.*xyz", {Containing("anywhere at start", b"xyz")}),
        ("BOF", rb"(?s)\A(?:ab|cde)fg", {Containing("start", b"fg", 5, 2)}),
        ("BOF", rb"(?s)\Axy(?:ab)?", {Keyed(0, (b"xy",)), Containing("start", b"xy", 2)}),
        ("BOF", rb"(?s)\A(?!no)\xff\xfe", {Keyed(0, (b"\xff\xfe",)), Containing("start", b"\xff\xfe", 2)}),
        ("VAR", rb"(?s)abc.{3}de", {Containing("anywhere at start", b"abc"), Containing("anywhere at start", b"de")}),
        ("EOF", rb"(?s)abc.{3}de\Z", {Containing("end", b"abc", 8), Containing("end", b"de", 2)}),
        ("EOF", rb"(?s)abc.*de\Z", {Containing("anywhere at end", b"abc"), Containing("end", b"de", 2)}),
        ("EOF", rb"(?s)abc.*", {Containing("anywhere at end", b"abc")}),
        ("VAR", rb"(?i)abc", set()),
        ("VAR", rb"(a)\1\1", set()),
        ("VAR", rb"[^a]\d\W", set()),
    ],
)
def test_the_conditions_of_an_expression_are_what_it_needs(position, expression, conditions):
    assert set(necessity(position, expression).conditions) == conditions


@pytest.mark.parametrize(
    ("expression", "reach"),
    [
        (rb"(?s)ab.{3,9}cd\Z", 13),
        (rb"(?s)ab.*cd\Z", None),
        (rb"(?s)(?<=x)ab\Z", None),
        (rb"(?s)\Aab\Z", None),
        (rb"(?s)(?:\Aab|c)\Z", None),
        (rb"(?s)(?!x)ab\Z", 2),
        (rb"(?s)ab", None),
    ],
)
def test_only_expressions_that_look_at_nothing_before_them_are_sought_near_the_end_alone(expression, reach):
    assert necessity("EOF", expression).reach == reach


def test_conditions_hold_wherever_an_expression_matches():
    chance = random.Random(11)
    parts = [b"a", b"B", b"[ab]", b"[^a]", b".", b".{2}", b".{0,3}", b".*", b"(?:a|b)", b"(?:ab|c)", b"b?", b"a{2,3}"]
    parts += [b"(?!a)", b"(?=a|b)", b"(?:ab){2}", b"\\x00", b"[\\x00-\\x61]", b"(?>a)", b"(b)", b"\\w"]
    matched = 0
    for _ in range(1500):
        body = b"".join(chance.choices(parts, k=chance.randrange(1, 7)))
        position = chance.choice(["BOF", "EOF", "VAR"])
        expression = b"(?s)" + (rb"\A" * (position == "BOF")) + body + rb"\Z" * (position == "EOF")
        content = bytes(chance.choices(b"aAbBc\0", k=chance.randrange(0, 12)))
        need = necessity(position, expression)
        if re.search(expression, content):
            matched += 1
            assert all(_holds(condition, content) for condition in need.conditions), (expression, content, need)
        if need.reach is not None:
            first = max(0, len(content) - need.reach)
            near = re.compile(expression).search(content, first)
            assert bool(near) == bool(re.search(expression, content)), (expression, content, need)
    assert matched > 200


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        (rb"(?s)\A.{0,4096}\\(?:usepackage|begin)", [Lead(0, 4096, 4107, rb"(?s)\\(?:usepackage|begin)")]),
        (rb"(?s)\A.{1,5}\{.*x", [Lead(1, 5, 6, rb"(?s)[\x7b]")]),
        (rb"(?s)\A.{0,5}(?=ab)a", [Lead(0, 5, 6, rb"(?s)[\x61]")]),
        (rb"(?s)\A.{0,5}a|b", []),
        (rb"(?s)\A.{0,5}a|\A.{0,5}b", []),
        (rb"(?s)\A.{0,5}.*x", []),
        (rb"(?s)\Aab", []),
    ],
)
def test_a_lead_is_what_follows_a_gap_or_its_first_bytes(expression, found):
    assert list(lead(expression)) == found


def test_a_lead_is_there_wherever_its_expression_matches(engine):
    chance = random.Random(11)
    alike = fitting = 0
    expressions = {p.expression for check in engine.index.checks for p in check.patterns if p.position == "BOF"}
    for expression in sorted(expressions | {rb"(?s)\A.{2,9}(?:ab|b.{0,3}c)d{1,2}", rb"(?s)\A.{0,6}\x61[bc].*d"}):
        for one in lead(expression):
            pieces = [b"ab", b"bc", b"d", b"", b"#", b"@", b"{", b"}", b"\\", b"begin{", b"PM3", b"\n1 2", b"0.1"]
            for _ in range(300):
                content = b"".join(chance.choice(pieces) for _ in range(chance.randrange(12)))
                matches = re.match(expression, content) is not None
                sought = re.compile(one.expression).search(content, one.first, one.end)
                leads = sought is not None and sought.start() <= one.last
                assert leads or not matches, (expression, content)
                fitting += matches
                alike += matches == leads
    assert fitting > 100
    assert alike > fitting


def _holds(condition, content):
    if isinstance(condition, Keyed):
        return any(content[condition.offset :].startswith(key) for key in condition.keys)
    if condition.place == "start":
        return condition.literal in content.lower()[condition.after : condition.limit]
    return condition.literal in (content.lower()[-condition.limit :] if condition.limit else content.lower())
