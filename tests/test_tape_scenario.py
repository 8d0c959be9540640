"""The story of tape on image cartridges, on a library that cannot locate (tgt), and on a drive that can (istgt)."""

import shutil
from contextlib import closing

import pytest
from cli_support import archive
from repository_support import (
    audit,
    contents,
    made,
    nothing,
    open_findings,
    pack_rows,
    seen,
    store_rows,
    submit_files,
)
from tape_scenario import EXPECTED, FILES, Site, TapeScenario
from tape_targets import Istgt, Tgt, connected_once

from preservation import attachment
from preservation.attachment import StoreExistsError
from preservation.packs import layout
from preservation.replication import replicate
from storage_backends.tape import claim
from storage_backends.tape.cartridges import Cartridges


class TestImages(TapeScenario):
    @pytest.fixture
    def site(self):
        return Site(
            url=lambda folder: f"tape+image://{folder}",
            images=lambda folder: sorted(folder.glob("*.tap")),
        )

    def lose(self, folder):
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".tap":
                path.unlink()


class TestLibrary(TapeScenario):
    @pytest.fixture
    def site(self, tmp_path):
        tgt = Tgt(tmp_path / "tgt", {"CLN001L1": (1, "clean"), "VT0001L9": 64, "VT0002L9": 64})

        def shuffle():
            tgt.put_back()
            tgt.move(1001, 1006)
            tgt.move(1002, 1001)

        yield Site(url=tgt.url, images=lambda _: tgt.images(), shuffle=shuffle)
        tgt.stop()


class TestLocatingDrive(TapeScenario):
    @pytest.fixture
    def site(self, tmp_path, monkeypatch):
        istgt = Istgt(tmp_path / "istgt", 64)
        with connected_once(monkeypatch, istgt.address()):
            yield Site(url=istgt.url, images=lambda _: istgt.images(), cartridges=1)
        istgt.stop()


def test_two_pools_in_one_library_outlive_both_disks(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    tgt = Tgt(tmp_path / "tgt", {f"VT000{number}L9": 64 for number in range(1, 5)})
    with closing(tgt):
        place = made(tmp_path)
        for number, element in ((1, ""), (2, "&element=2")):
            url = tgt.url(tmp_path / f"tape{number}", number) + element
            attachment.add(place.open(), f"t{number}", url, site=f"vault {number}", cartridges=Cartridges(count=2))
        package = submit_files(place, FILES).package
        result = replicate(place.open(), nothing)
        assert ({}, []) == (result.failures, result.short)
        for name in ("a", "b"):
            shutil.rmtree(place.store(name))
            attachment.detach(place.open(), name, lost=True)
        assert EXPECTED == contents(place, package)
        attachment.add(place.open(), "c", place.url("c"), site="site c")
        again = replicate(place.open(), nothing)
        assert ({}, [], len(pack_rows(place))) == (again.failures, again.short, again.copied)
        report = audit(place)
        assert (seen(report)["expected"], []) == (seen(report)["verified"], open_findings(report))


def test_one_drive_serves_two_pools_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    monkeypatch.setattr(claim, "IDLE", 0.05)
    tgt = Tgt(tmp_path / "tgt", {f"VT000{number}L9": 64 for number in range(1, 5)})
    with closing(tgt):
        place = made(tmp_path)
        for name in ("t1", "t2"):
            url = tgt.url(tmp_path / name)
            attachment.add(place.open(), name, url, site=f"vault {name}", cartridges=Cartridges(count=2))
        package = submit_files(place, FILES).package
        result = replicate(place.open(), nothing)
        assert ({}, [], 2 * len(pack_rows(place))) == (result.failures, result.short, result.copied)
        report = audit(place)
        assert (seen(report)["expected"], []) == (seen(report)["verified"], open_findings(report))
        for name in ("a", "b"):
            shutil.rmtree(place.store(name))
            attachment.detach(place.open(), name, lost=True)
        assert EXPECTED == contents(place, package)


def test_the_folder_beside_is_lost_and_made_anew_from_the_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    tgt = Tgt(tmp_path / "tgt", {f"VT000{number}L9": 64 for number in range(1, 4)})
    with closing(tgt):
        place = made(tmp_path)
        attachment.add(place.open(), "t", tgt.url(tmp_path / "tape"), site="vault", cartridges=Cartridges(count=2))
        submit_files(place, FILES)
        replicate(place.open(), nothing)
        shutil.rmtree(tmp_path / "tape")
        with pytest.raises(StoreExistsError):  # that name is a disk's
            attachment.add(place.open(), "a", tgt.url(tmp_path / "new"), site="vault")

        row, _ = attachment.add(place.open(), "t", tgt.url(tmp_path / "new"), site="vault")

        assert store_rows(place)["t"].store == row.store
        report = audit(place)
        assert (seen(report)["expected"], []) == (seen(report)["verified"], open_findings(report))


@pytest.fixture
def archive_with_drives(tmp_path):
    tgt = Tgt(tmp_path / "tgt", {"VT0001L9": 64, "VT0002L9": 64})
    with closing(tgt):
        place = archive(tmp_path)
        url = tgt.url(tmp_path / "tape")
        said = place("store", "add", "t", url, "--site", "vault")
        assert (0, url) == (said.status, place.json("store", "list")[-1]["url"]), said.err
        yield place, tgt


def test_by_the_command_line_a_library_is_filled_audited_and_given_back(archive_with_drives, tmp_path):
    place, tgt = archive_with_drives
    package = place.ingest()["package"]
    assert (1, {}) == (place.json("replicate")["copied"], place.json("replicate")["failures"])
    assert 0 == place("audit").status
    for name in ("d1", "d2"):
        (place.folder / name).rename(tmp_path / f"{name} gone")
    assert 0 == place("export", package, tmp_path / "out").status
    tgt.kill()
    assert place("audit", "--store", "t").status != 0
