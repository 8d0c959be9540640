"""Tape by the command line, as a script uses it: add, replicate, audit, repair, export, rebuild."""

import pytest
from cli_support import FILES, archive, damage, mocban
from tape_support import images, objects

from commands.statuses import Status


@pytest.fixture
def tapes(tmp_path):
    made = archive(tmp_path)
    for name in ("t1", "t2"):
        said = made(
            "store",
            "add",
            name,
            f"tape+image://{tmp_path / name}",
            "--site",
            f"vault-{name}",
            "--cartridges",
            2,
            "--capacity",
            "16M",
        )
        assert (0, 2) == (said.status, len(images(tmp_path / name))), said.err
    return made


def staging(made, name):
    return [
        path
        for path in (made.folder / name / "staging").rglob("*")
        if path.is_file() and path.name != "mocban-store.json"
    ]


def test_by_default_there_are_three_cartridges_that_take_12_gib(tmp_path):
    made = archive(tmp_path)
    assert 0 == made("store", "add", "t", f"tape+image://{tmp_path / 't'}", "--site", "s").status

    assert 3 == len(images(tmp_path / "t"))
    for image in images(tmp_path / "t"):
        assert f'"capacity": {12 << 30}' in image.with_suffix(".json").read_text()
        assert image.stat().st_size < 20_000


def test_replicate_fills_the_tapes_and_leaves_nothing_staged(tapes):
    tapes.ingest()
    result = tapes.json("replicate")

    assert (2, {}, []) == (result["copied"], result["failures"], result["short"])
    assert [] == staging(tapes, "t1") + staging(tapes, "t2")
    assert 0 == tapes("audit").status
    listed = {row["name"]: (row["medium"], row["available"]) for row in tapes.json("store", "list")}
    assert ("tape", True) == listed["t1"]


def test_a_damaged_tape_copy_is_healed_by_audit_and_by_repair(tapes):
    tapes.ingest()
    tapes("replicate")
    for name, verb in (("t1", "audit"), ("t2", "repair")):
        image = images(tapes.folder / name)[0]
        damage(image, objects(image)[3][0] + 999)
        if verb == "repair":
            assert Status.FINDINGS == tapes("audit", "--no-repair").status
        assert 0 == tapes(verb).status
        assert 0 == tapes("audit").status


def test_with_the_disks_gone_the_package_is_exported_from_tape(tapes, tmp_path):
    package = tapes.ingest()["package"]
    tapes("replicate")
    for name in ("d1", "d2"):
        (tapes.folder / name).rename(tmp_path / f"{name} gone")

    said = tapes("export", package, tmp_path / "out")

    assert 0 == said.status, said.err
    for name, data in FILES.items():
        path = tmp_path / "out" / name
        assert path.is_dir() if data is None else path.read_bytes() == data


def test_a_repository_is_rebuilt_from_tape(tapes, tmp_path):
    tapes.ingest()
    tapes("replicate")
    tapes.path.rename(tmp_path / "old")

    said = mocban("rebuild", "--from", f"tape+image://{tapes.folder / 't1'}", tapes.path)

    assert 0 == said.status, said.err
    assert 1 == len(tapes.json("list"))


def test_only_a_store_on_tape_can_have_cartridges(tmp_path):
    made = archive(tmp_path)
    said = made("store", "add", "d3", f"file://{tmp_path / 'd3'}", "--site", "s", "--cartridges", 2)

    assert Status.ERROR == said.status
    assert not (tmp_path / "d3").exists()


@pytest.mark.parametrize("url", ["tape+image://host/folder", "tape+image:relative", "tape+image:///", "tape:///folder"])
def test_what_names_no_folder_is_refused(tmp_path, url):
    made = archive(tmp_path)

    assert Status.ERROR == made("store", "add", "t", url, "--site", "s").status
