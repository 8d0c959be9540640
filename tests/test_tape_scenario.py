"""The story of tape on image cartridges, on a library that cannot locate (tgt), and on a drive that can (istgt)."""

import pytest
from tape_scenario import Site, TapeScenario
from tape_targets import Istgt, Tgt, connected_once


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
