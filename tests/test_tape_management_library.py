"""The care of cartridges in a library behind SCSI commands (tgt over loopback), as on images."""

from contextlib import closing

import pytest
from cli_support import archive
from tape_care_support import cartridge_findings, listed
from tape_targets import Tgt

from commands.statuses import Status

ONE, TWO, THREE = "VT0001L9", "VT0002L9", "VT0003L9"


@pytest.fixture
def tapes(tmp_path):
    """A disk and a library of three cartridges, of which two are labelled; a package is on both stores."""
    tgt = Tgt(tmp_path / "tgt", {ONE: 64, TWO: 64, THREE: 64})
    with closing(tgt):
        made = archive(tmp_path)
        said = made("store", "add", "t", tgt.url(tmp_path / "tape"), "--site", "vault", "--cartridges", 2)
        assert said.status == 0, said.err
        made.ingest()
        assert made.json("replicate")["failures"] == {}
        yield made


def test_cartridges_of_a_library_are_labelled_loaded_shelved_and_evacuated(tapes):
    rows = listed(tapes)
    assert {ONE: "filling", TWO: "blank", THREE: "unknown"} == {name: row["state"] for name, row in rows.items()}
    assert {"slot", "drive"} >= {row["place"] for row in rows.values()}
    assert [3] == [one["number"] for one in tapes.json("tape", "label", "t", THREE)]
    assert Status.ERROR == tapes("tape", "label", "t", "VT0009L9").status

    assert {"barcode": ONE, "number": 1}.items() <= tapes.json("tape", "load", ONE).items()
    loads = listed(tapes)[ONE]["loads"]
    assert loads >= 2

    said = tapes("tape", "export", ONE, "--location", "A-12")
    assert (0, True) == (said.status, "take it out" in said.err)
    audited = tapes("audit", "--json")
    assert {"offline": 1} == audited.json["coverage"]["skipped_reasons"]
    assert {("cartridge-offline", "warning", ONE)} == cartridge_findings(audited)
    assert [ONE] == [one["barcode"] for one in tapes.json("tape", "picklist")]
    assert 0 == tapes("tape", "import", ONE).status

    assert {"packs": 1, "left": 0, "retired": True}.items() <= tapes.json("tape", "evacuate", ONE).items()
    assert {ONE: "retired", TWO: "filling"}.items() <= {
        name: row["state"] for name, row in listed(tapes).items()
    }.items()
    assert 0 == tapes("audit").status
    assert {"ours": True, "wrong": 0}.items() <= tapes.json("tape", "scan", TWO).items()
    assert "drive" == listed(tapes)[TWO]["place"]
    assert [TWO] == tapes.json("tape", "eject")
    assert "slot" == listed(tapes)[TWO]["place"]
