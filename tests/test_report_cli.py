"""`mocban report`: where it is written, in which language, and what a script is told."""

import csv
import json
import os
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cli_support import FONDS, archive, mocban_process, snapshot


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    made.ingest()
    audited = made("audit")
    assert audited.status == 0, audited.err
    return made


def test_a_script_is_told_the_verdict_and_the_figures(kept, tmp_path):
    said = kept("report", tmp_path / "r.html", "--language", "en", "--json")
    assert said.status == 0, said.err
    assert ("proven", "good", []) == (said.json["verdict"], said.json["weight"], said.json["matters"])
    assert (1, 4, 2) == (said.json["packages"], said.json["files_held"], len(said.json["stores"]))
    assert sorted(os.listdir(tmp_path / "r.html.tables")) == sorted(said.json["files"])
    assert said.json["checkpoint"].startswith("mocban/")
    assert said.json["tables"] == str(tmp_path / "r.html.tables")


def test_people_are_told_where_it_is_and_what_it_says(kept, tmp_path):
    said = kept("report", tmp_path / "r.html", "--language", "en")
    assert said.status == 0
    assert f"Report: {tmp_path}" in said.out
    assert "Every copy was read in full" in said.err


@pytest.mark.parametrize(
    ("environment", "options", "language"),
    [
        ({"LANG": "vi_VN.UTF-8"}, [], "vi"),
        ({"LANG": "en_US.UTF-8"}, [], "en"),
        ({"LANGUAGE": "de:en", "LANG": "vi_VN.UTF-8"}, [], "en"),
        ({"LANG": "C.UTF-8"}, [], "vi"),  # what a new mocban.toml says
        ({}, [], "vi"),
        ({"LANG": "vi_VN.UTF-8"}, ["--language", "en"], "en"),
    ],
)
def test_the_language_is_that_of_the_option_the_environment_or_the_configuration(
    kept, tmp_path, environment, options, language
):
    said = mocban_process("-C", kept.path, "report", tmp_path / "r.html", *options, environment=environment)
    assert said.status == 0, said.err
    assert f'<html lang="{language}">' in (tmp_path / "r.html").read_text()


def test_days_are_those_of_the_clock_here_and_both_are_in_the_period(kept, tmp_path):
    """The period is told in UTC; the days are those of the zone that a new mocban.toml names."""
    now = datetime.fromisoformat(kept.json("report", tmp_path / "r.html")["period"][1])
    here = now.astimezone(ZoneInfo("Asia/Ho_Chi_Minh"))
    yesterday, today = str((here - timedelta(days=1)).date()), str(here.date())
    said = kept.json("report", tmp_path / "r.html", "--from", yesterday, "--to", today)
    start, end = (datetime.fromisoformat(moment) for moment in said["period"])
    assert start < now <= end
    assert said["audits_in_period"] == 1
    early = kept("report", tmp_path / "r.html", "--to", "2001-01-01", "--json")
    assert early.json["events_in_period"] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["r.txt"], 1, "ends in .html or .pdf"),
        (["r.html", "--language", "fr"], 2, "fr"),
        (["r.html", "--from", "yesterday"], 2, "yesterday"),
        (["r.html", "--from", "2026-02-01", "--to", "2026-01-01"], 1, "before it begins"),
        ([], 2, "PATH"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(kept, tmp_path, monkeypatch, arguments, status, text):  # noqa: PLR0917
    monkeypatch.chdir(tmp_path)
    said = kept("report", *arguments)
    assert (status, "") == (said.status, said.out)
    assert text in said.err
    assert not [name for name in os.listdir(tmp_path) if name.startswith("r.")]


def test_a_folder_that_is_in_the_way_is_an_error_and_stays(kept, tmp_path):
    (tmp_path / "r.html").mkdir()
    said = kept("report", tmp_path / "r.html")
    assert said.status != 0
    assert os.listdir(tmp_path / "r.html") == []


def test_the_repository_stays_as_it_is_for_one_who_may_not_write_to_it(kept, tmp_path):
    kept("report", tmp_path / "r.html")
    before = snapshot(kept.path, kept.folder / "d1", kept.folder / "d2")
    kept("report", tmp_path / "again.html")
    assert before == snapshot(kept.path, kept.folder / "d1", kept.folder / "d2")


def test_nothing_that_is_written_or_said_steers_a_terminal(tmp_path):
    made = archive(tmp_path)
    made("fonds", "add", "=1+1", "--title", "\x1b[2J\u202etxt.exe")
    made.ingest()
    said = made("report", tmp_path / "\x1b[31mr.html")
    assert said.status == 0, said.err
    assert "\x1b" not in said.out + said.err
    folder = next(path for path in tmp_path.iterdir() if path.name.endswith(".tables"))
    for name in os.listdir(folder):
        if name.endswith(".csv"):
            text = (folder / name).read_text(encoding="utf-8-sig")
            assert not {"\x1b", "\u202e"} & set(text)
    with open(folder / "fonds.csv", encoding="utf-8-sig", newline="") as file:
        assert ["'=1+1", FONDS] == [line["code"] for line in csv.DictReader(file)]


def test_json_is_the_same_in_both_languages(kept, tmp_path):
    found = [kept.json("report", tmp_path / "r.html", "--language", language) for language in ("en", "vi")]
    for one in found:
        one.pop("period")
    assert json.dumps(found[0], sort_keys=True) == json.dumps(found[1], sort_keys=True)
