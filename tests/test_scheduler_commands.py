"""``serve``, ``audit pause``, ``audit resume`` and what ``status`` says of them, as people and scripts meet them."""

import json

import pytest
from cli_support import archive, damage


@pytest.fixture
def made(tmp_path):
    found = archive(tmp_path)
    found.ingest()
    return found


def test_serving_once_tells_each_piece_of_work_and_then_that_nothing_is_due(made):
    lines = [json.loads(line) for line in made("serve", "--once", "--json").out.splitlines()]
    assert {"audit", "sweep", "evidence", "deadlines"} <= {line["work"] for line in lines}
    assert {(0, 0)} == {(line["status"], line["open"]) for line in lines}
    said = made("serve", "--once")
    assert (0, "Nothing is due\n") == (said.status, said.out)


def test_damage_that_is_healed_leaves_nothing_open(made):
    damage(made.packs("d1")[0])
    assert 0 == made("serve", "--once").status
    assert 0 == made("audit", "--no-repair").status


def test_what_cannot_be_done_is_status_1_and_shown(made):
    (made.path / "catalog" / "CURRENT").unlink()
    said = made("serve", "--once", "--json")
    assert 1 == said.status
    assert {"work": "repository", "status": 1, "error": "CatalogDamagedError"} == json.loads(said.out)
    assert "repository: " in said.err


def test_status_says_since_when_nobody_audits_and_keeps_its_other_keys(made):
    before = made.json("status")
    assert before["standing"]["alive"] is None
    made("serve", "--once")
    after = made.json("status")
    assert after["standing"]["alive"]
    assert {"packages", "stores", "last_audit", "unfinished", "events"} <= after.keys()
    assert [] == after["findings"]
    store, _ = after["standing"]["stores"]
    assert {"oldest_age_days", "median_age_days", "p95_age_days", "late", "overdue", "forecast"} <= store.keys()
    assert "The service was last at work" in made("status").out


def test_a_pause_is_shown_warned_of_recorded_and_ended(made):
    made("serve", "--once")
    said = made("audit", "pause", "--until", "2099-12-31", "--reason", "hardware", "--store", "d1")
    assert 0 == said.status
    assert "d1 will be overdue" in said.err
    (pause,) = made.json("status")["standing"]["pauses"]
    assert "hardware" == pause["reason"]
    assert "2099-12-30T17:00:00.000000Z" == pause["until"]
    assert "paused until" in made("status").out
    (event,) = made.json("events", "--type", "audits-paused")
    assert {"reason", "since", "store", "until"} == set(event["detail"])
    assert 1 == len(made.json("audit", "resume"))
    assert 1 == made("audit", "resume").status
    assert [] == made.json("status")["standing"]["pauses"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--until", "2020-01-01", "--reason", "hardware"), 1),
        (("--until", "tomorrow", "--reason", "hardware"), 2),
        (("--until", "2099-01-01", "--reason", "because Mr Nam said so"), 2),
        (("--until", "2099-01-01"), 2),
        (("--reason", "hardware"), 2),
        (("--until", "2099-01-01", "--reason", "hardware", "--store", "d9"), 1),
        (("--until", "9999-12-31T23:59:59-14:00", "--reason", "hardware"), 2),
    ],
)
def test_a_pause_that_means_nothing_is_refused(made, options, status):
    assert status == made("audit", "pause", *options).status
    assert [] == made.json("status")["standing"]["pauses"]


def test_an_audit_that_is_asked_for_takes_no_notice_of_a_pause(made):
    made("audit", "pause", "--until", "2099-12-31", "--reason", "maintenance")
    assert 2 == made.json("audit")["coverage"]["verified"]


def test_a_configuration_that_cannot_be_understood_ends_the_service_with_what_is_wrong(made):
    with (made.path / "mocban.toml").open("a") as file:
        file.write('[audit.stores.d1]\nwindow = "at night"\n')
    said = made("serve", "--once")
    assert 1 == said.status
    assert "at night" in said.err
    assert "[audit.stores.d1]" in said.err
