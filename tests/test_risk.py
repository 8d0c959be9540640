"""Risk: judgements with reasons, NARA's table, facts of files, what is held, what was decided, what is watched."""

import csv
import io
import os
from pathlib import Path

import pytest
from kept_support import brought_back
from repository_support import made, submit_files, tree

from preservation.catalog import rows
from preservation.catalog.formats import RiskRow
from preservation.formats import identification as words
from preservation.formats.identification import FormatMatch, Identification
from preservation.risk import register, watch
from preservation.risk.facts import FACTS, facts_of
from preservation.risk.nara import NotARiskTableError, points_of, ratings
from preservation.risk.policy import Level, Policy, parsed, policy
from preservation.risk.scoring import Held, assessed
from preservation.risk.table import import_table, table_now

NARA = Path(__file__).parent.parent / os.environ.get("MOCBAN_CORPORA", "../shared/corpora") / "nara"
PLAN = "NARA_PreservationActionPlan_FileFormats_20260320.csv"
MATRIX = "NARA_File_Format_Risk_Matrix_20260320_Numbered.csv"


def one(held, table=None, names=None):
    (found,) = assessed([held] if isinstance(held, Held) else held, policy(), table, names or {})
    return found


def match(puid, basis="signature"):
    return FormatMatch(puid, basis, "t", "s")


# ---- the policy ------------------------------------------------------------------------------------------------------


def test_every_judgement_has_its_reason_in_both_languages_and_points_that_exist():
    found = policy()
    assert len(found.formats) > 150
    for judgement in found.formats.values():
        assert judgement.en.strip()
        assert judgement.vi.strip()
        assert judgement.en != judgement.vi
        assert 0 < found.score(judgement) <= 100
    for reason in (*found.factors.values(), *found.facts.values()):
        assert reason.en != reason.vi


def test_formats_made_for_keeping_are_low_and_what_few_programs_open_is_high():
    found = policy()
    levels = {puid: found.level(found.score(found.formats[puid])) for puid in found.formats}
    assert {Level.LOW} == {levels[puid] for puid in ("fmt/477", "fmt/353", "fmt/13", "fmt/279", "fmt/569", "fmt/1196")}
    assert {Level.MODERATE} == {levels[puid] for puid in ("fmt/40", "fmt/61", "fmt/126", "fmt/53", "fmt/119")}
    assert {Level.HIGH} == {levels[puid] for puid in ("fmt/39", "fmt/59", "x-fmt/114", "x-fmt/241", "fmt/36")}


def test_the_target_of_a_migration_is_less_of_a_risk_than_what_is_migrated():
    found = policy()
    for puid, judgement in found.formats.items():
        target = found.formats.get(judgement.target)
        if judgement.target and judgement.action == "migrate":
            assert target is not None, puid
            assert found.score(target) <= found.score(judgement), puid


def test_a_policy_that_contradicts_itself_is_refused():
    text = b'version="1"\nbase=5\nmoderate=30\nhigh=60\nfactor=[]\nfact=[]\n'
    line = b'[[format]]\nname="a"\npuids=["fmt/1"]\nfactors=[%s]\n'
    line += b'action="retain"\ntarget=""\nprograms=[]\nen="a"\nvi="b"\n'
    assert parsed(text + line % b"").formats
    with pytest.raises(ValueError, match="twice"):
        parsed(text + line % b"" + line % b"")
    with pytest.raises(ValueError, match="factor"):
        parsed(text + line % b'"nobody"')


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_facts_raise_the_score_of_the_format_and_say_of_how_many_files():
    clean, locked = Held("fmt/477", (), 90, 10), Held("fmt/477", ("encrypted",), 10, 1)
    found = one([clean, locked])
    assert (Level.LOW, Level.HIGH) == (policy().level(found.base), found.level)
    assert (100, 11) == (found.files, found.bytes)
    assert [("encrypted", 10)] == [(each.code, each.files) for each in found.evidence if each.files is not None]


@pytest.mark.parametrize("code", sorted({*FACTS.values(), "ambiguous", "extension-only", "unidentified"}))
def test_no_fact_lowers_a_score(code):
    assert one(Held("fmt/477", (code,), 1, 1)).score >= one(Held("fmt/477", (), 1, 1)).score
    assert one(Held("fmt/39", (code,), 1, 1)).score >= one(Held("fmt/39", (), 1, 1)).score


@pytest.mark.parametrize("code", ["encrypted", "tcvn3", "vni"])
def test_what_nobody_can_read_is_high_whatever_its_format(code):
    assert Level.HIGH is one(Held("x-fmt/111", (code,), 1, 1)).level


@pytest.mark.parametrize(
    "held",
    [
        Held("unidentified", ("unidentified",), 1, 1),
        Held("failed", ("not-looked-at",), 1, 1),
        Held("timeout", ("not-looked-at",), 1, 1),
        Held("off", ("not-looked-at",), 1, 1),
        Held("several", ("ambiguous",), 1, 1),
        Held("fmt/99999", (), 1, 1),
        Held("fmt/477", ("extension-only",), 1, 1),
        Held("unidentified", (), 1, 1),
        Held("a word that no version of this program knows", (), 1, 1),
    ],
)
def test_unknown_is_never_low(held):
    found = one(held)
    assert Level.LOW is not found.level
    assert found.evidence or held.facts == ()
    assert found.action in {"identify", "judge"} or held.format == "fmt/477"


def test_facts_are_taken_from_what_identification_noted():
    pdf = Identification("identified", (match("fmt/354"),), (words.CLAIMS_PDF_A, words.ENCRYPTED, words.SIGNED))
    assert ("encrypted", "false-pdfa", "signed") == facts_of(pdf)  # PDF/A must not be encrypted
    claim = Identification("identified", (match("fmt/354"),), (words.CLAIMS_PDF_A, words.SIGNED))
    assert ("claimed-pdfa", "signed") == facts_of(claim)
    assert ("unidentified",) == facts_of(Identification("unidentified"))
    assert ("not-looked-at",) == facts_of(Identification("timeout"))
    guessed = Identification("identified", (match("fmt/1", "extension"), match("fmt/2", "extension")))
    assert ("ambiguous", "extension-only") == facts_of(guessed)
    assert ("tcvn3",) == facts_of(Identification("identified", (match("x-fmt/111"),), (words.TEXT_TCVN3,)))
    assert () == facts_of(Identification("identified", (match("fmt/13"),)))


def test_every_fact_is_in_the_policy():
    assert {*FACTS.values(), "unidentified", "not-looked-at", "unjudged", "ambiguous", "extension-only"} == set(
        policy().facts
    )


# ---- holdings --------------------------------------------------------------------------------------------------------


def test_much_of_a_moderate_risk_weighs_more_than_a_file_of_a_high_one():
    found = assessed([Held("fmt/40", (), 100_000, 10**10), Held("fmt/39", (), 1, 1000)], policy(), None, {})
    assert ["fmt/40", "fmt/39"] == [each.format for each in found]
    assert found[0].score < found[1].score


def test_more_files_never_weigh_less():
    few, many = one(Held("fmt/40", (), 10, 1000)), one(Held("fmt/40", (), 1000, 1000))
    assert few.weight < many.weight


# ---- NARA ------------------------------------------------------------------------------------------------------------


def table(
    *lines, columns=("Format Name", "NARA Format ID", "PRONOM URL", "NARA Risk Level", "NARA Preservation Action")
):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(lines)
    return ("\ufeff" + file.getvalue()).encode()


def matrix(**sums):
    names = [f"{number}: TOTAL something" for number in range(1, 9)]
    return table(
        *((name, *range(8), total) for name, total in sums.items()),
        columns=("NARA Format ID", *names, "TOTAL Numeric Risk Rating"),
    )


def url(puid):
    return f"https://www.nationalarchives.gov.uk/PRONOM/{puid}"


GOOD = table(["A", "N1", url("fmt/1"), "Low Risk", "Retain"], ["B", "N2", url("fmt/1"), "High Risk", "Transform"])


def test_of_rows_that_contradict_each_other_the_worst_counts_and_is_flagged():
    for plan in (GOOD, GOOD.replace(b"N1", b"N9").replace(b"N2", b"N1").replace(b"N9", b"N2")):
        (found,) = ratings(plan, matrix(N1="30.0", N2="-30.0") if plan is GOOD else matrix(N2="30.0", N1="-30.0"))
        assert (Level.HIGH, "migrate", 1) == (found.level, found.action, found.contradicts)
        assert found.score >= 60


def test_the_levels_of_the_sum_are_those_of_the_score():
    assert [0, 29, 30, 59, 60, 100] == [points_of(total) for total in (37, 23, 22, -22, -23, -46)]
    scores = [points_of(total) for total in range(60, -60, -1)]
    assert scores == sorted(scores)
    assert points_of(22.9) in (29, 30)


def test_a_level_that_is_worse_than_its_sum_counts():
    (found,) = ratings(table(["A", "N1", url("fmt/1"), "High Risk", "Retain"]), matrix(N1="30"))
    assert found.score >= 60


@pytest.mark.parametrize(
    ("plan", "sums"),
    [
        (b"", matrix(N1="1")),
        (b"\xff\xfe\x00", matrix(N1="1")),
        (GOOD, b""),
        (GOOD, matrix(N1="1")),
        (GOOD, matrix(N1="one", N2="2")),
        (GOOD.replace(b"Low Risk", b"No Risk"), matrix(N1="1", N2="2")),
        (GOOD.replace(b"NARA Risk Level", b"Risk"), matrix(N1="1", N2="2")),
        (table(["A", "N1", "", "Low Risk", "Retain"]), matrix(N1="1")),
        (GOOD, matrix(N1="1", N2="2").replace(b"8: TOTAL", b"8: SUM")),
        (b'"' + b"x" * 200_000, matrix(N1="1")),
    ],
)
def test_what_is_not_the_table_is_refused_whole(plan, sums):
    with pytest.raises(NotARiskTableError):
        ratings(plan, sums)


@pytest.mark.corpora
@pytest.mark.skipif(not NARA.is_dir(), reason="the NARA tables are not at hand")
def test_the_real_table_is_taken_in_whole_with_its_contradictions():
    found = {each.puid: each for each in ratings((NARA / PLAN).read_bytes(), (NARA / MATRIX).read_bytes())}
    assert 567 == len(found)
    flagged = {puid for puid, each in found.items() if each.contradicts}
    assert {"fmt/61", "fmt/45", "x-fmt/8", "x-fmt/224", "x-fmt/386", "x-fmt/420", "fmt/657"} == flagged
    assert (Level.LOW, 24.0) == (found["fmt/276"].level, found["fmt/276"].sum)
    assert (Level.MODERATE, 2.0) == (found["x-fmt/241"].level, found["x-fmt/241"].sum)
    assert {each.level for each in found.values()} == set(Level)
    for each in found.values():
        assert policy().level(each.score) == each.level or each.contradicts, each


@pytest.mark.corpora
@pytest.mark.skipif(not NARA.is_dir(), reason="the NARA tables are not at hand")
def test_the_labelled_matrix_is_taken_too_where_it_has_the_numbers():
    labelled = (NARA / MATRIX.replace("Numbered", "Labeled")).read_bytes()
    assert 567 == len(ratings((NARA / PLAN).read_bytes(), labelled))


def test_the_worse_of_two_sources_counts_and_the_difference_is_shown(tmp_path):
    place = made(tmp_path)
    repository = place.open()
    plan = table(
        ["PDF/A", "N1", url("fmt/477"), "High Risk", "Transform"], ["X", "N2", url("fmt/9999"), "Low Risk", "Retain"]
    )
    import_table(repository, plan, matrix(N1="-30", N2="30"), ("plan", "matrix"))
    with repository.reading() as view:
        known = table_now(repository.sidecars, view)
    found = one(Held("fmt/477", (), 1, 1), known)
    assert Level.HIGH is found.level
    assert ["sources-differ"] == found.flags
    assert {"N1"} == {each.row for each in found.evidence if each.row}
    assert all(each.date and each.source for each in found.evidence)
    assert Level.LOW is one(Held("fmt/9999", (), 1, 1), known).level


def test_a_table_lies_on_every_store_and_the_same_again_is_no_event(tmp_path):
    place = made(tmp_path)
    first = import_table(place.open(), GOOD, matrix(N1="1", N2="-40"), ("plan", "matrix"))
    size = place.open().ledger.size
    second = import_table(place.open(), GOOD, matrix(N1="1", N2="-40"), ("plan", "matrix"))
    assert (False, True, first.table) == (first.already, second.already, second.table)
    assert size == place.open().ledger.size
    for store in ("a", "b"):
        assert (place.store(store) / "ledger" / "parts" / f"{first.table}.parquet").exists()


# ---- the register ----------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(made, tmp_path_factory)


def decided(place, held, state="accepted", reason="software-at-hand", note=""):
    return register.decide(place.open(), one(held), state, reason, note=note, table="t")


def state(place, held):
    with place.open().reading() as view:
        return register.standing(view, one(held))


OLD_WORD = Held("fmt/39", (), 10, 1000)


def test_a_risk_is_open_until_something_is_decided(place):
    assert "open" == state(place, OLD_WORD).state
    assert "none" == state(place, Held("fmt/477", (), 1, 1)).state
    decided(place, OLD_WORD)
    assert "accepted" == state(place, OLD_WORD).state
    decided(place, OLD_WORD, "mitigated", "migrated")
    assert "mitigated" == state(place, OLD_WORD).state
    decided(place, OLD_WORD, "open", "reconsidered")
    assert "open" == state(place, OLD_WORD).state


def test_a_risk_that_has_grown_since_is_open_again(place):
    decided(place, OLD_WORD)
    worse = state(place, Held("fmt/39", ("encrypted",), 10, 1000))
    assert ("open", True) == (worse.state, worse.worse)


def test_the_words_lie_beside_the_ledger_and_on_the_stores_and_never_in_it(place):
    row = decided(place, OLD_WORD, note="Hỏi ông Nguyễn Văn A")
    repository = place.open()
    assert not any("Nguyễn".encode() in record.data for record in repository.ledger.records())
    assert "Hỏi ông Nguyễn Văn A" == register.note_of(repository.sidecars, row)
    for store in ("a", "b"):
        assert (place.store(store) / "ledger" / "descriptions" / f"{row.note}.json").exists()
    with repository.reading() as view:
        assert ["fmt/39"] == [each.puid for each in rows.every(view, RiskRow)]


def test_a_note_that_is_too_long_is_refused_and_nothing_is_recorded(place):
    size = place.open().ledger.size
    with pytest.raises(register.NoteTooLongError):
        decided(place, OLD_WORD, note="x" * 5000)
    assert size == place.open().ledger.size


# ---- the watch -------------------------------------------------------------------------------------------------------


def finder(*names):
    return lambda name: f"/usr/bin/{name}" if name in names else None


def seen(place, held, tools):
    with place.open().reading() as view:
        return watch.watched(view, assessed(held, policy(), None, {}), tools)


def test_a_program_that_is_gone_is_noticed_and_one_that_never_was_is_not(place):
    assert {"soffice": "present"} == watch.record_tools(place.open(), policy(), finder("soffice"))
    size = place.open().ledger.size
    watch.record_tools(place.open(), policy(), finder("soffice"))
    assert size == place.open().ledger.size
    tools = watch.record_tools(place.open(), policy(), finder())
    assert {"soffice": "lost"} == tools
    assert {"soffice": ["fmt/39"]} == seen(place, [OLD_WORD], tools).lost
    assert {} == seen(place, [Held("fmt/13", (), 1, 1)], tools).lost
    assert {"soffice": "present"} == watch.record_tools(place.open(), policy(), finder("soffice"))


def test_a_high_risk_is_told_until_it_is_decided_and_again_when_it_grows(place):
    assert ["fmt/39"] == seen(place, [OLD_WORD], {}).at_risk
    decided(place, OLD_WORD)
    assert [] == seen(place, [OLD_WORD], {}).at_risk
    assert ["fmt/39"] == seen(place, [Held("fmt/39", ("encrypted",), 1, 1)], {}).grown


def test_looking_changes_no_file(place):
    submit_files(place, {"a.txt": b"text"})
    before = tree(place.folder)
    state(place, OLD_WORD)
    seen(place, [OLD_WORD], {})
    assert before == tree(place.folder)


def test_the_policy_is_a_frozen_noun():
    assert isinstance(policy(), Policy)
    with pytest.raises(AttributeError):
        policy().version = "2"
