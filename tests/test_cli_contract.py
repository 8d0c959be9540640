"""What scripts rely on: folders, fields of JSON, standard output."""

import base64
import hashlib
import json
import os
import stat

import pytest
from cli_support import FILES, FONDS, archive, damage, mocban, mocban_process

INGEST = {"package", "version", "files", "bytes", "packs", "copies", "under_replicated"}
LIST = {"package", "fonds", "title", "versions", "files", "bytes"}
STATUS = {"packages", "objects", "bytes", "stores"}
STORE = {"name", "packs", "verified", "damaged", "missing", "unreadable", "never_verified", "oldest_verification"}
COVERAGE = {"expected", "verified", "damaged", "missing", "unreadable", "unexpected", "skipped", "repaired"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """An archive with one package, which no test changes."""
    made = archive(tmp_path_factory.mktemp("kept"))
    files = {**FILES, b"t\xeap.txt": b"not UTF-8"}
    return made, made.ingest(files, "--title", "Hồ sơ địa chính")


def test_ingest_gives_the_fields_of_the_contract(kept):
    _, receipt = kept
    assert INGEST <= receipt.keys()
    assert (1, 5, 1, 2, False) == tuple(
        receipt[key] for key in ("version", "files", "packs", "copies", "under_replicated")
    )
    assert receipt["bytes"] == sum(len(data or b"") for data in FILES.values()) + len(b"not UTF-8")


def test_list_gives_the_fields_of_the_contract(kept):
    made, receipt = kept
    (one,) = made.json("list")
    assert LIST <= one.keys()
    assert (receipt["package"], FONDS, "Hồ sơ địa chính", 1, 5) == tuple(
        one[key] for key in ("package", "fonds", "title", "versions", "files")
    )


def test_show_gives_every_file_with_its_digests(kept):
    made, receipt = kept
    shown = made.json("show", receipt["package"])
    assert shown["package"] == receipt["package"]
    files = {one["path"]: one for one in shown["files"]}
    assert {"path", "blake3", "sha256", "size", "formats"} <= files["a.txt"].keys()
    assert files["a.txt"]["sha256"] == hashlib.sha256(b"first").hexdigest()
    assert files["a.txt"]["size"] == 5
    assert "path_b64" not in files["thư mục/tờ trình.txt"]
    (odd,) = [one for one in shown["files"] if "path_b64" in one]
    assert base64.b64decode(odd["path_b64"]) == b"t\xeap.txt"
    assert [one["path"] for one in shown["folders"]] == ["trống/"]


def test_show_takes_the_beginning_of_an_identifier(kept):
    made, receipt = kept
    assert made.json("show", receipt["package"][:18])["package"] == receipt["package"]
    assert made("show", "ffff").status == 1


def test_formats_come_with_puid_basis_and_tool(tmp_path):
    made = archive(tmp_path)
    folder = made.submission({"x.xml": b'<?xml version="1.0"?><a/>', "x.pdf": b"%PDF-1.4\n%%EOF\n"})
    package = made.json("ingest", folder, "--fonds", FONDS, "--identify")["package"]
    files = {one["path"]: one["formats"] for one in made.json("show", package)["files"]}
    assert files["x.xml"][0]["puid"] == "fmt/101"
    assert all({"puid", "basis", "tool"} <= one.keys() for formats in files.values() for one in formats)
    assert files["x.pdf"]


def test_status_gives_the_fields_of_the_contract(kept):
    made, receipt = kept
    status = made.json("status")
    assert STATUS <= status.keys()
    assert (1, 5) == (status["packages"], status["objects"])
    assert status["bytes"] == receipt["bytes"]
    assert [STORE <= store.keys() for store in status["stores"]] == [True, True]
    first = status["stores"][0]
    assert ("d1", 1, 0, 1, None) == tuple(
        first[key] for key in ("name", "packs", "verified", "never_verified", "oldest_verification")
    )


def test_the_copies_of_a_store_add_up_and_an_audit_verifies_them(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    made.ingest({"c.txt": b"c"}, name="second")
    damage(made.packs("d1")[0])
    made.packs("d2")[1].unlink()
    assert made("audit", "--no-repair").status == 3
    one, two = made.json("status")["stores"]
    assert (2, 1, 1, 0) == (one["packs"], one["verified"], one["damaged"], one["missing"])
    assert (2, 1, 0, 1) == (two["packs"], two["verified"], two["damaged"], two["missing"])
    assert made("audit").status == 0
    for store in made.json("status")["stores"]:
        assert (2, 2, 0, 0, 0, 0) == tuple(
            store[key] for key in ("packs", "verified", "damaged", "missing", "unreadable", "never_verified")
        )
        assert store["oldest_verification"].endswith("Z")


def test_audit_gives_the_fields_of_the_contract(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    damage(made.packs("d1")[0])
    said = made("audit", "--json")
    assert said.status == 0
    report = said.json
    assert {"run", "coverage", "findings"} <= report.keys()
    assert {*COVERAGE, "lost_objects"} <= report["coverage"].keys()
    assert (2, 1, 1, 1) == tuple(report["coverage"][key] for key in ("expected", "verified", "damaged", "repaired"))
    assert report["coverage"]["lost_objects"] == []
    assert all({"code", "store", "pack", "detail"} <= finding.keys() for finding in report["findings"])
    assert [finding["healed"] for finding in report["findings"] if finding["code"] == "copy-damaged"] == [True]


def test_a_repository_holds_what_the_contract_says_and_no_pack(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    made("audit")
    assert {"catalog", "ledger", "staging", "keys", "mocban.toml"} == set(os.listdir(made.path))
    assert [] == list(made.path.rglob("*.tar"))
    assert stat.S_IMODE((made.path / "keys" / "log.pem").stat().st_mode) == 0o600
    (pack,) = made.packs("d1")
    assert pack.parent.name == pack.name[:2]
    assert pack.parent.parent.parent == tmp_path / "d1" / "packs"


def test_standard_output_carries_only_the_result(tmp_path):
    made = archive(tmp_path)
    said = mocban_process("-C", made.path, "ingest", made.submission(), "--fonds", FONDS, "--no-identify", "--json")
    assert said.status == 0
    assert said.out.count("\n") == 1
    assert json.loads(said.out)["copies"] == 2


def test_versions_are_added_replaced_and_withdrawn(tmp_path):
    made = archive(tmp_path)
    package = made.ingest()["package"]
    more = made.submission({"c.txt": b"third"}, name="more")
    assert made.json("ingest", more, "--package", package, "--add", "--no-identify")["version"] == 2
    new = made.submission({"a.txt": b"other"}, name="new")
    assert made.json("ingest", new, "--package", package, "--replace", "--no-identify")["version"] == 3
    gone = made.json("ingest", "--package", package, "--withdraw", "thư mục", "--withdraw", "b.bin")
    assert (4, 3) == (gone["version"], gone["files"])
    paths = [one["path"] for one in made.json("show", package)["files"]]
    assert ["a.txt", "c.txt", "rỗng.txt"] == sorted(paths)
    assert 4 == len(made.json("show", package, "--version", "1")["files"])


def test_the_same_submission_again_says_so(tmp_path):
    made = archive(tmp_path)
    first = made.ingest()
    again = made.ingest()
    assert again["already"]
    assert again["package"] == first["package"]
    assert "held already" in made("ingest", made.submission(), "--fonds", FONDS, "--no-identify").out


def test_events_can_be_chosen(tmp_path):
    made = archive(tmp_path)
    package = made.ingest()["package"]
    made.ingest({"z": b"z"}, name="other")
    everything = made.json("events")
    assert list(range(len(everything))) == [event["seq"] for event in everything]
    assert ["ingestion"] * 2 == [event["type"] for event in made.json("events", "--type", "ingestion")]
    (sealed, _) = made.json("events", "--type", "pack-sealed")
    assert sealed["detail"]["package"] == package
    about = made.json("events", "--package", package)
    assert {"session-opened", "pack-sealed", "replication", "ingestion"} == {
        event["type"].rpartition(":")[2] for event in about
    }
    assert all(event["detail"].get("package", package) == package for event in about)
    assert [3, 4] == [event["seq"] for event in made.json("events", "--since", "3", "--limit", "2")]
    pack = sealed["detail"]["pack"]
    assert all(event["detail"]["pack"] == pack for event in made.json("events", "--pack", f"{pack}.tar"))


def test_export_gives_back_what_came(tmp_path):
    made = archive(tmp_path)
    package = made.ingest()["package"]
    said = made.json("export", package, tmp_path / "out")
    assert (4, True) == (said["files"], said["recorded"])
    for path, data in FILES.items():
        place = tmp_path / "out" / path
        assert place.is_dir() if data is None else place.read_bytes() == data
    said = made.json("export", package, tmp_path / "one.txt", "--as", "files", "--path", "thư mục/tờ trình.txt")
    assert (tmp_path / "one.txt").read_bytes() == FILES["thư mục/tờ trình.txt"]
    assert made("export", package, tmp_path / "bag", "--as", "bagit").status == 0
    assert (tmp_path / "bag" / "bagit.txt").is_file()
    assert made("export", package, tmp_path / "bag", "--as", "bagit").status == 1


def test_detach_is_refused_where_the_policy_would_be_broken(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    said = made("store", "detach", "d1")
    assert said.status == 1
    assert "d1" in said.err
    assert made.json("store", "detach", "d1", "--lost")["lost"]
    assert ["d2"] == [store["name"] for store in made.json("store", "list")]
    assert made.json("list")[0]["under_replicated"]


def test_a_new_store_is_filled_by_replicate(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    assert made("store", "add", "d3", f"file://{tmp_path / 'd3'}", "--site", "x").status == 0
    done = made.json("replicate")
    assert (1, [], {}) == (done["copied"], done["under_replicated"], done["failures"])
    assert len(made.packs("d3")) == 1


def test_a_lost_server_is_rebuilt_from_one_store(tmp_path):
    made = archive(tmp_path)
    package = made.ingest()["package"]
    os.rename(made.path, tmp_path / "gone")
    url = f"file://{tmp_path / 'd2'}"
    said = mocban("rebuild", "--from", url, made.path, "--kit", tmp_path / "archive.recovery-kit", "--json")
    assert said.status == 0, said.err
    assert said.json["signing"]
    assert [package] == [one["package"] for one in made.json("list")]
    assert made.json("ledger", "verify")["verified"]
    assert made("rebuild").status == 0


def test_serve_once_does_what_is_due(tmp_path):
    made = archive(tmp_path)
    made.ingest()
    said = made("serve", "--once", "--json")
    assert said.status == 0
    done = [json.loads(line) for line in said.out.splitlines()]
    assert ["audit", "sweep", "evidence", "deadlines", "formats"] == [one["work"] for one in done]
    assert {0} == {one["open"] for one in done}
    assert "" == made("serve", "--once", "--json").out


def test_a_checkpoint_is_signed_on_demand(tmp_path):
    made = archive(tmp_path)
    said = made.json("ledger", "checkpoint")
    assert said["stores"] == ["d1", "d2"]
    assert said["checkpoint"].splitlines()[1] == str(said["events"])
