"""``mocban plan audit`` as people and scripts meet it."""

import json

import pytest
from cli_support import archive, mocban


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    made.ingest()
    return made


def test_it_needs_no_repository_when_the_copies_are_named(tmp_path):
    said = mocban("-C", tmp_path, "plan", "audit", "--copies", "disk,disk,tape@vault", "--json")
    assert said.status == 0, said.err
    found = said.json
    assert found["planning_aid"] is True
    assert [one["site"] for one in found["copies"]] == ["main", "main", "vault"]
    assert found["largest_interval_days"] is None
    assert found["limit"] == "copies"
    assert {one["origin"] for one in found["parameters"]} == {"prior"}
    assert all(one["basis"] for one in found["parameters"])


def test_without_repository_and_copies_it_says_that_there_is_none(tmp_path):
    assert mocban("-C", tmp_path, "plan", "audit").status == 10


def test_the_copies_are_those_of_the_repository_and_it_writes_nothing(kept):
    before = sorted((path, path.stat().st_mtime_ns) for path in kept.folder.rglob("*") if path.is_file())
    found = kept.json("plan", "audit")
    assert [(one["name"], one["site"], one["domain"]) for one in found["copies"]] == [
        ("d1", "site-d1", ""),
        ("d2", "site-d2", ""),
    ]
    assert found["refused"] is True
    assert found["limit"] == "domain"
    assert found["held"] > 0
    assert found["objects"] > 0
    assert found["current"]["days"] == 90
    assert any(one["kind"] == "device" and one["copies"] == [0, 1] for one in found["shocks"])
    assert before == sorted((path, path.stat().st_mtime_ns) for path in kept.folder.rglob("*") if path.is_file())


def test_people_read_what_it_is_and_is_not(kept):
    said = kept("plan", "audit", "--target", "1e-9")
    assert said.status == 0
    for words in (
        "Planning aid",
        "prior",
        "Backblaze",
        "No audit interval meets 1.0e-9",
        "all copies are in the same hands",
        "1.0e-9 is not promised",
        "not a promise",
        "NOMDL",
        "Own audits, disk: 0 verified TB-years",
    ):
        assert words in said.out, words


def test_a_target_that_is_met_is_told_with_the_rate_of_reading(tmp_path):
    copies = "disk,disk@hue,disk@hanoi"
    said = mocban(
        *("-C", tmp_path, "plan", "audit", "--copies", copies, "--target", "1e-5", "--held", "500TB"),
        *("--interval", "90", "--objects", "1000000", "--object-size", "1GB"),
    )
    assert "Every interval up to 20 years meets" in said.out
    assert "Of 1,000,000 objects" in said.out
    assert "61.3 MiB/s" in said.out
    found = mocban("-C", tmp_path, "plan", "audit", "--copies", copies, "--target", "1e-8", "--json").json
    assert 0 < found["largest_interval_days"] < 7305


def test_figures_can_be_set_and_wrong_ones_are_usage_errors(tmp_path):
    base = ("-C", tmp_path, "plan", "audit", "--copies")
    found = mocban(*base, "disk,disk@b", "--set", "disk.visible=0.5", "--set", "site=0", "--json").json
    assert {one["name"]: one["value"] for one in found["parameters"]}["disk.visible"] == 0.5
    for wrong in (
        ("paper",),
        ("disk,,disk",),
        ("disk@",),
        ("disk@a/",),
        ("disk", "--set", "disk.visible"),
        ("disk", "--set", "nothing=1"),
        ("disk", "--set", "domain=much"),
        ("disk", "--target", "0"),
        ("disk", "--target", "2"),
        ("disk", "--interval", "-1"),
    ):
        assert mocban(*base, *wrong).status == 2, wrong
    assert mocban(*base, "disk", "--set", "disk.coverage=0").status == 1
    assert mocban(*base, "disk", "--set", "disk.visible=nan").status == 1


def test_json_has_no_number_that_json_does_not_know(tmp_path):
    said = mocban("-C", tmp_path, "plan", "audit", "--copies", "disk", "--years", "10000", "--json")
    assert json.loads(said.out, parse_constant=pytest.fail)["current"]["one_lost"] == 1
