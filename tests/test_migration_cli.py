"""Migrations and agents as people and scripts meet them: statuses, JSON, CSV, signatures made with openssl."""

import csv
import io
import subprocess

import pytest
from cli_support import FONDS, archive, mocban, mocban_process
from migration_support import APPROVER, AUTHOR, PATHWAY, PLAIN, key_files, tcvn3


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """An archive with two people and one old text, which is only read."""
    made = archive(tmp_path_factory.mktemp("kept"))
    keys = {name: key_files(made.folder, name) for name in (AUTHOR, APPROVER)}
    for name, (_, public) in keys.items():
        assert made("agent", "add", name, "--key", public).status == 0
    folder = made.submission({"=thư.txt": tcvn3(), "hỏng.txt": tcvn3() + b"\xff\xfe"})
    package = made.json("ingest", folder, "--fonds", FONDS)["package"]
    return made, package, {name: secret for name, (secret, _) in keys.items()}


def test_agents_are_listed_and_shown_with_their_keys(kept):
    made, _, _ = kept
    listed = made.json("agent", "list")
    assert [AUTHOR, APPROVER] == [one["name"] for one in listed]
    (key,) = made.json("agent", "show", listed[0]["agent"][:30])["keys"]
    assert {"key_id", "public", "registered", "revoked", "reason"} == key.keys()
    assert key["revoked"] is None
    assert AUTHOR in made("agent", "list").out
    assert key["key_id"] in made("agent", "show", AUTHOR).out
    assert 1 == made("agent", "show", "nobody").status


def test_a_key_is_revoked_for_a_reason_that_is_kept(tmp_path):
    made = archive(tmp_path)
    public = key_files(tmp_path, AUTHOR)[1]
    added = made.json("agent", "add", AUTHOR, "--key", public, "--program")
    assert "program" == added["kind"]
    revoked = made.json("agent", "revoke", AUTHOR, "--reason", "left", "--key-id", added["key_id"][:6])
    assert [added["key_id"]] == revoked["revoked"]
    (key,) = made.json("agent", "show", AUTHOR)["keys"]
    assert "left" == key["reason"]
    assert 1 == made("agent", "revoke", AUTHOR).status
    assert 1 == made("agent", "add", AUTHOR, "--key", public, "--program").status
    assert 2 == made("agent", "revoke", AUTHOR, "--reason", "because I say so").status


def test_the_pathways_need_no_repository():
    said = mocban("migrate", "pathways", PATHWAY, "--json")
    assert 0 == said.status
    (one,) = said.json
    assert {"sources", "targets", "tool", "version", "missing", "lossless", "checks"} <= one.keys()
    assert [] == one["missing"]
    assert 1 == mocban("migrate", "pathways", "nowhere").status


def test_the_whole_story_with_a_signature_made_elsewhere(tmp_path, kept):
    """Planned without a key, signed by the author, approved with openssl, executed, reported, undone."""
    made, package, secrets = kept
    drafted = made.json("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--fonds", FONDS, "--sample", "2")
    plan = drafted["plan"]
    assert (True, False, 2) == (drafted["recorded"], drafted["signed"], drafted["set"]["files"])
    assert 1 == made("migrate", "approve", plan, "--agent", APPROVER, "--key", secrets[APPROVER]).status
    said = made("migrate", "approve", plan, "--agent", AUTHOR, "--author", "--key", secrets[AUTHOR])
    assert 0 == said.status, said.err
    assert 1 == made("migrate", "approve", plan, "--agent", AUTHOR, "--key", secrets[AUTHOR]).status
    assert 1 == made("migrate", "run", plan).status

    statement = made("migrate", "show", plan[:30], "--statement", "--agent", APPROVER).out
    (tmp_path / "statement").write_text(statement)
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", secrets[APPROVER], "-in", tmp_path / "statement"]
    (tmp_path / "sig").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    approved = made.json("migrate", "approve", plan, "--agent", APPROVER, "--signature", tmp_path / "sig")
    assert "approved" == approved["state"]

    assert {"dry_run": True, "accepted": 0}.items() <= made.json("migrate", "run", plan, "--dry-run").items()
    said = made("migrate", "run", plan, "--json")
    assert 3 == said.status
    assert {"files": 2, "accepted": 1, "failed": 1, "already": False}.items() <= said.json.items()
    again = made("migrate", "run", plan, "--json")
    assert (3, True) == (again.status, again.json["already"])

    report = made("migrate", "report", plan, "--json")
    assert 3 == report.status
    assert {"planned_files": 2, "accepted": 1, "failed": 1, "state": "done"}.items() <= report.json.items()
    good, bad = sorted(report.json["results"], key=lambda one: one["code"] != "accepted")
    assert ["derivatives/tcvn3-utf8/=thư.txt.txt"] == good["derived"]
    assert all(measure["passed"] for measure in good["measures"])
    assert [] == bad["derived"]
    rows = list(csv.DictReader(io.StringIO(made("migrate", "report", plan, "--csv").out)))
    assert {"'=thư.txt", "hỏng.txt"} == {row["path"] for row in rows}
    for part in (plan, AUTHOR, APPROVER):
        assert part in made("migrate", "report", plan).out
        assert part in made("migrate", "show", plan).out

    assert {"=thư.txt", "hỏng.txt", good["derived"][0]} == {one["path"] for one in made.json("show", package)["files"]}
    listed = made.json("migrate", "list")
    assert ["done"] == [one["state"] for one in listed if one["plan"] == plan]
    undone = made.json("migrate", "undo", plan)
    assert (1, 1, False) == (undone["packages"], undone["files"], undone["already"])
    assert made.json("migrate", "undo", plan)["already"]
    assert {"=thư.txt", "hỏng.txt"} == {one["path"] for one in made.json("show", package)["files"]}
    assert 0 == made("ledger", "verify").status
    assert 0 == made("audit").status


def test_what_cannot_be_understood_is_a_usage_error(kept):
    made, _, _ = kept
    for words in (
        ("migrate", "plan", PATHWAY),
        ("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--puid", "fmt/1"),
        ("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--sample", "0"),
        ("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--timeout", "0"),
        ("migrate", "approve", "0", "--agent", AUTHOR),
        ("migrate", "show", "0", "--statement"),
        ("migrate", "show", "0", "--author"),
    ):
        assert 2 == made(*words).status, words
    for words in (
        ("migrate", "show", "zz"),
        ("migrate", "run", "ffff"),
        ("migrate", "undo", ""),
        ("migrate", "plan", "nowhere", "--agent", AUTHOR),
        ("migrate", "plan", PATHWAY, "--agent", "nobody"),
        ("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--fonds", "none"),
    ):
        assert 1 == made(*words).status, words


def test_a_dry_run_says_what_the_plan_would_be(kept):
    made, _, _ = kept
    said = made("migrate", "plan", PATHWAY, "--agent", AUTHOR, "--dry-run", "--sample", "1")
    assert 0 == said.status, said.err
    assert "nothing was recorded" in said.out
    assert "root" in said.out


def test_help_of_migrations_imports_nothing_heavy():
    said = mocban_process("migrate", "run", "--help")
    assert 0 == said.status
    assert PLAIN not in said.out
