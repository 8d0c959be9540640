"""The doctor, and the keys that it looks after."""

import os
import shutil

from cli_support import archive, mocban


def codes(made):
    return {one["code"]: one["severity"] for one in made.json("doctor")}


def test_a_new_archive_is_told_about_its_kit_and_nothing_worse(tmp_path):
    made = archive(tmp_path)
    found = codes(made)
    assert {"kit-unconfirmed", "kit-here"} <= found.keys()
    assert {"warning"} == set(found.values())
    said = made("doctor")
    assert said.status == 0
    assert "mocban ledger key --kit-confirmed" in said.out


def test_the_kit_is_no_matter_once_it_is_away_and_confirmed(tmp_path):
    made = archive(tmp_path)
    shutil.move(tmp_path / "archive.recovery-kit", tmp_path / "safe")
    ring = made.json("ledger", "key", "--kit-confirmed")
    assert ring["kit_confirmed"].endswith("Z")
    assert not {"kit-unconfirmed", "kit-here"} & codes(made).keys()


def test_a_key_that_others_can_read_is_an_error(tmp_path):
    made = archive(tmp_path)
    (made.path / "keys" / "log.pem").chmod(0o644)
    assert codes(made)["log-key-open"] == "error"
    assert made("doctor").status == 3


def test_a_key_that_is_gone_is_an_error_and_the_kit_mends_it(tmp_path):
    made = archive(tmp_path)
    (made.path / "keys" / "log.pem").unlink()
    assert codes(made)["log-key-missing"] == "error"
    assert made("list").status == 0
    assert made("ledger", "key", "--rotate", "--kit", tmp_path / "archive.recovery-kit").status == 0
    assert "log-key-missing" not in codes(made)
    made.ingest()
    assert made.json("ledger", "verify")["verified"]


def test_a_damaged_catalog_and_a_damaged_ledger_are_named_with_the_remedy(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    (made.path / "catalog" / "CURRENT").unlink()
    assert codes(made)["catalog-unusable"] == "error"
    assert made("rebuild").status == 0
    assert "catalog-unusable" not in codes(made)
    (hot,) = (made.path / "ledger" / "hot").iterdir()
    data = bytearray(hot.read_bytes())
    data[200] ^= 0xFF
    hot.write_bytes(data)
    assert codes(made)["ledger-unusable"] == "error"
    said = made("ledger", "verify", "--json")
    assert (3, False) == (said.status, said.json["verified"])


def test_trouble_with_stores_and_copies_is_named(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    os.rename(tmp_path / "d1", tmp_path / "away")
    made("ingest", made.submission({"n": b"n"}, name="new"), "--fonds", "TH-2024", "--no-identify")
    found = codes(made)
    assert found["store-unavailable"] == "error"
    assert found["under-replicated"] == "warning"


def test_too_few_stores_for_the_policy_are_named(tmp_path):
    assert "stores-too-few" in codes(archive(tmp_path, stores=("one",)))


def test_a_rotated_key_signs_from_then_on_and_the_old_one_no_more(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    kit = tmp_path / "archive.recovery-kit"
    before = made.json("ledger", "key")
    after = made.json("ledger", "key", "--rotate", "--kit", kit)
    assert before["log_key"] != after["log_key"]
    assert before["root_key"] == after["root_key"]
    assert 2 == len(after["periods"])
    assert after["periods"][0]["end"] == after["periods"][1]["first"]
    made.ingest({"y": b"y"}, name="after")
    verified = made("ledger", "verify", "--trusted", kit / "root.vkey", "--json")
    assert (0, True) == (verified.status, verified.json["verified"])
    assert sorted(os.listdir(made.path / "keys")) == ["log.pem", "log.pub.pem", "log.vkey", "root.vkey"]
    public = made("ledger", "key", "--verifier").out.split()
    assert [after["log_key"], after["root_key"]] == public


def test_another_repositorys_kit_changes_nothing(tmp_path):
    made = archive(tmp_path)
    assert mocban("init", tmp_path / "other").status == 0
    before = made.json("ledger", "key")
    said = made("ledger", "key", "--rotate", "--kit", tmp_path / "other.recovery-kit")
    assert said.status == 1
    assert "other.recovery-kit" in said.err
    assert before == made.json("ledger", "key")
    said = made("ledger", "verify", "--trusted", tmp_path / "other.recovery-kit" / "root.vkey")
    assert said.status == 3


def test_a_rotation_that_a_crash_cut_short_is_finished_by_the_next(tmp_path):
    made = archive(tmp_path)
    kit = tmp_path / "archive.recovery-kit"
    keys = made.path / "keys"
    old = {name: (keys / name).read_bytes() for name in ("log.pem", "log.vkey", "log.pub.pem")}
    named = made.json("ledger", "key", "--rotate", "--kit", kit)["log_key"]
    os.rename(keys / "log.pem", keys / "next.pem")
    os.rename(keys / "log.vkey", keys / "next.vkey")
    for name, data in old.items():
        (keys / name).write_bytes(data)
    assert codes(made)["log-key-wrong"] == "error"
    again = made.json("ledger", "key", "--rotate", "--kit", kit)
    assert named == again["log_key"]
    assert not {"log-key-wrong", "log-key-missing"} & codes(made).keys()
    made.ingest()
    assert made.json("ledger", "verify")["verified"]
