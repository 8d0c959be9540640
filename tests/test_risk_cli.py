"""``formats reidentify``, ``report``, ``risk``, ``review`` and ``watch`` as people and scripts meet them."""

import csv
import io
import os
import shutil
from pathlib import Path

import pytest
from cli_support import FONDS, archive, snapshot
from formats_support import PDF

from commands.entries import ENTRIES

NARA = Path(__file__).parent.parent / os.environ.get("MOCBAN_CORPORA", "../shared/corpora") / "nara"
DROID = NARA.parent / "droid"
FILES = {
    "báo cáo.pdf": PDF,
    "ảnh.gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
    "khóa.pdf": PDF.replace(b"trailer<<", b"trailer<</Encrypt 9 0 R "),
    "lạ": bytes(range(256)) * 3,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("risk"))
    folder = made.submission(FILES)
    assert made("ingest", folder, "--fonds", FONDS, "--no-identify").status == 0
    return made


@pytest.fixture
def kept(built, tmp_path):
    """A copy of what was built, at the same place, so that the stores are where they were."""
    aside = tmp_path / "aside"
    shutil.copytree(built.folder, aside, symlinks=True)
    yield built
    shutil.rmtree(built.folder)
    shutil.copytree(aside, built.folder, symlinks=True)


def test_files_that_nobody_looked_at_are_identified_later_and_everything_shows_it(kept):
    before = kept.json("formats", "report")
    assert [("off", 4)] == [(one["format"], one["files"]) for one in before["formats"]]
    said = kept("formats", "reidentify", "--json")
    assert 0 == said.status, said.err
    run = said.json
    assert ("complete", 4, 4) == (run["outcome"], run["looked"], run["moved"])
    assert {("off", "fmt/18", 2), ("off", "fmt/4", 1), ("off", "unidentified", 1)} == {
        (move["from"], move["to"], move["files"]) for move in run["moves"]
    }
    after = {one["format"]: one["files"] for one in kept.json("formats", "report")["formats"]}
    assert {"fmt/18": 2, "fmt/4": 1, "unidentified": 1} == after
    (package,) = [one["package"] for one in kept.json("list")]
    shown = {one["path"]: one for one in kept.json("show", package)["files"]}
    assert "fmt/18" == shown["báo cáo.pdf"]["formats"][0]["puid"]
    assert "identified" == shown["báo cáo.pdf"]["identification"]
    assert ["off"] == [one["identification"] for one in shown["báo cáo.pdf"]["before"]]
    text = kept("show", package).out
    assert "fmt/18" in text
    said = kept("formats", "reidentify")
    assert "files moved from off to fmt/18" in said.out
    assert 0 == kept("audit").status
    risks = {one["format"]: one for one in kept.json("formats", "risk")["risks"]}
    assert "high" == risks["fmt/18"]["level"]
    assert [("encrypted", 1)] == [(one["code"], one["files"]) for one in risks["fmt/18"]["evidence"] if one["files"]]
    assert "high" == risks["unidentified"]["level"]


def test_a_risk_is_accepted_with_a_code_and_words_and_reopened(kept):
    assert kept("formats", "risk", "accept", "off", "--reason-code", "low-value", "--note", "đã hỏi").status == 0
    (risk,) = kept.json("formats", "risk")["risks"]
    assert ("accepted", "low-value", "đã hỏi") == (risk["state"], risk["reason_code"], risk["note"])
    assert [] == [one for one in kept.json("formats", "watch")["findings"] if one["code"] == "format-at-risk"]
    assert kept("formats", "risk", "reopen", "off", "--reason-code", "reconsidered").status == 0
    assert "open" == kept.json("formats", "risk")["risks"][0]["state"]
    (finding,) = [one for one in kept.json("formats", "watch")["findings"] if one["code"] == "format-at-risk"]
    assert ["mocban", "formats", "risk"] == finding["next"]
    said = kept("formats", "risk", "off")
    assert "score 60" in said.out
    assert "nobody could look at it" in said.out


def test_words_for_people_are_not_in_the_ledger(kept):
    kept("formats", "risk", "accept", "off", "--reason-code", "other", "--note", "hỏi chị Hoa")
    assert "hỏi chị Hoa" not in kept("events", "--json").out
    assert "hỏi chị Hoa" in kept("formats", "risk", "off").out


def test_a_format_that_is_not_held_cannot_be_decided(kept):
    said = kept("formats", "risk", "accept", "fmt/999", "--reason-code", "other")
    assert 1 == said.status
    assert "fmt/999" in said.err
    assert 2 == kept("formats", "risk", "accept", "off", "--reason-code", "because").status


def test_csv_is_read_by_spreadsheets_as_it_is_meant(kept):
    lines = list(csv.DictReader(io.StringIO(kept("formats", "risk", "--csv", "--all").out)))
    assert [("off", "high", "open")] == [(line["format"], line["level"], line["state"]) for line in lines]
    lines = list(csv.DictReader(io.StringIO(kept("formats", "report", "--csv").out)))
    assert [("off", "4")] == [(line["format"], line["files"]) for line in lines]


def test_looking_changes_nothing(kept):
    before = snapshot(kept.path, kept.folder / "d1")
    for words in (("report",), ("risk",), ("risk", "off"), ("review",)):
        assert kept("formats", *words).status == 0
    assert before == snapshot(kept.path, kept.folder / "d1")


def test_nothing_waits_where_nobody_was_asked(kept):
    assert [] == kept.json("formats", "review")
    assert "Nothing waits" in kept("formats", "review").out
    said = kept("formats", "review", "resolve", "aaaa", "fmt/1", "--reason-code", "examined")
    assert 1 == said.status


def test_what_is_not_a_table_is_refused_with_the_place(kept, tmp_path):
    (tmp_path / "plan.csv").write_text("a,b\n1,2\n")
    said = kept("formats", "risk", "import", tmp_path / "plan.csv", tmp_path / "plan.csv")
    assert 1 == said.status
    assert "plan.csv" in said.err


@pytest.mark.corpora
@pytest.mark.skipif(not NARA.is_dir(), reason="the NARA tables are not at hand")
def test_the_table_of_nara_is_imported_by_the_command(kept):
    plan = NARA / "NARA_PreservationActionPlan_FileFormats_20260320.csv"
    matrix = NARA / "NARA_File_Format_Risk_Matrix_20260320_Numbered.csv"
    said = kept("formats", "risk", "import", plan, matrix, "--json")
    assert 0 == said.status, said.err
    assert (567, 7) == (said.json["formats"], len(said.json["contradictory"]))
    assert kept("formats", "risk", "import", plan, matrix, "--json").json["already"]
    assert kept.json("formats", "risk")["table"] == said.json["table"]


def test_a_command_below_a_command_is_found_and_the_command_itself_too():
    assert "formats risk accept" in ENTRIES
    assert ENTRIES["formats risk"].module


@pytest.mark.corpora
@pytest.mark.skipif(not DROID.is_dir(), reason="DROID's signature files are not at hand")
def test_after_an_upgrade_exactly_the_right_answers_change_and_history_is_kept(tmp_path):
    made = archive(tmp_path)
    corpus = NARA.parent / "skeletons"
    chosen = {
        "same.png": next((corpus / "fmt").glob("fmt-12-*")),
        "new.pdf": next((corpus / "fmt").glob("fmt-1910-*")),
        "same.tif": next((corpus / "fmt").glob("fmt-353-*")),
        "new.odt": next((corpus / "containers").glob("fmt-1756-*")),
    }
    folder = made.submission({name: path.read_bytes() for name, path in chosen.items()})
    assert made("ingest", folder, "--fonds", FONDS).status == 0
    before = shown(made)
    assert [] == [one["code"] for one in made.json("formats", "watch")["findings"] if one["code"] == "formats-outdated"]
    said = made(
        "formats",
        "signatures",
        "import",
        DROID / "DROID_SignatureFile_V122.xml",
        "--containers",
        DROID / "container-signature-20260119.xml",
        "--json",
    )
    assert 0 == said.status, said.err
    assert made("formats", "signatures", "activate", said.json["bundle"], "--accept-unjudged").status == 0
    codes = [one["code"] for one in made.json("formats", "watch")["findings"]]
    assert "formats-outdated" in codes
    run = made.json("formats", "reidentify")
    after = shown(made)
    assert ("fmt/1910", "fmt/1756") == (after["new.pdf"]["puid"], after["new.odt"]["puid"])
    for name in ("same.png", "same.tif"):
        assert before[name]["puid"] == after[name]["puid"]
        assert [] == after[name]["before"]
    for name in ("new.pdf", "new.odt"):
        assert [before[name]["puid"]] == after[name]["before"]
    assert 2 == run["moved"]
    assert "formats-outdated" not in [one["code"] for one in made.json("formats", "watch")["findings"]]
    shutil.rmtree(made.path)
    said = made("rebuild", "--from", f"file://{made.folder / 'd1'}", made.path)
    assert after == shown(made), said.err


def shown(made):
    (package,) = [one["package"] for one in made.json("list")]
    return {
        one["path"]: {
            "puid": " ".join(each["puid"] for each in one["formats"]),
            "before": [" ".join(each["puid"] for each in old["formats"]) for old in one.get("before", ())],
        }
        for one in made.json("show", package)["files"]
    }
