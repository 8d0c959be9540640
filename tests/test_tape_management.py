"""The life of a cartridge by the command line: labelled, filled, on a shelf and back, evacuated, given up."""

import json
import shutil

import pytest
from cli_support import FILES
from tape_care_support import SECOND_PACK, configured, filled, first, keep, listed, ruin
from tape_support import images, settings

from commands.statuses import Status
from storage_backends.tape import media
from storage_backends.tape.drive import RECORD


@pytest.fixture(scope="module")
def anew(tmp_path_factory):
    folder = tmp_path_factory.mktemp("care") / "place"
    folder.mkdir()
    return keep(filled(folder))


@pytest.fixture
def tapes(anew):
    return anew()


def standing(made):
    """What is known of the cartridges, but for what reading them changes."""
    return {name: {**row, "seen": "", "loads": 0} for name, row in listed(made).items()}


def findings(said):
    return {(one["code"], one["severity"]) for one in said.json["findings"]}


def test_a_list_says_state_and_place_of_every_cartridge(tapes):
    rows = listed(tapes)

    assert [("filling", "slot", 1), ("blank", "slot", 0)] * 2 == [
        (row["state"], row["place"], row["copies"]) for row in rows.values()
    ]
    filled = rows[first(tapes)]
    assert filled["labelled"]
    assert filled["end_of_life"][:4] == str(int(filled["labelled"][:4]) + 10)
    assert filled["loads"] >= 1
    assert filled["used_bytes"] > RECORD
    assert filled["capacity_bytes"] == 16 << 20
    assert "filling" in tapes("tape", "list").out


def test_listing_changes_nothing(tapes):
    before = {path: path.stat().st_mtime_ns for path in tapes.folder.rglob("*") if path.is_file()}
    tapes("tape", "list")
    tapes("tape", "picklist")

    assert before == {path: path.stat().st_mtime_ns for path in tapes.folder.rglob("*") if path.is_file()}


def test_more_cartridges_are_labelled_with_the_next_numbers(tapes):
    made = tapes.json("tape", "label", "t1", "--count", 2, "--capacity", "16M")

    assert [3, 4] == [one["number"] for one in made]
    rows = listed(tapes, "--store", "t1")
    assert ["blank", "blank"] == [rows[one["barcode"]]["state"] for one in made]
    again = tapes.json("tape", "label", "t1", made[0]["barcode"])
    assert [3] == [one["number"] for one in again]


def test_what_is_no_barcode_and_what_is_no_tape_is_not_labelled(tapes):
    assert Status.ERROR == tapes("tape", "label", "t1", "../../evil").status
    assert Status.ERROR == tapes("tape", "label", "d1").status
    assert "not a store on tape" in tapes("tape", "label", "d1").err


def test_a_cartridge_that_holds_something_is_never_labelled_anew(tapes):
    image = tapes.folder / "t1" / "ZZZ999L9.tap"
    shutil.copy(images(tapes.folder / "t1")[0], image)
    before = image.read_bytes()

    said = tapes("tape", "label", "t1", "ZZZ999L9")

    assert Status.ERROR == said.status
    assert before == image.read_bytes()


def test_a_cartridge_goes_to_a_shelf_and_comes_back(tapes):
    barcode = first(tapes)
    assert 0 == tapes("tape", "export", barcode, "--location", "A-12", "--vault", "hue-2").status

    row = listed(tapes)[barcode]
    assert ("shelf", "A-12", "hue-2", 1) == (row["place"], row["location"], row["vault"], row["copies"])
    assert (tapes.folder / "t1" / "shelf" / f"{barcode}.tap").exists()
    assert not (tapes.folder / "t1" / f"{barcode}.tap").exists()

    assert 0 == tapes("tape", "import", barcode).status
    row = listed(tapes)[barcode]
    assert ("slot", "", "") == (row["place"], row["location"], row["vault"])
    assert 0 == tapes("audit").status


def test_a_location_is_a_code(tapes):
    said = tapes("tape", "export", first(tapes), "--location", "tủ của bà Hoa")

    assert Status.ERROR == said.status
    assert "slot" == listed(tapes)[first(tapes)]["place"]


def test_copies_on_a_shelf_are_not_checked_and_the_cartridge_is_asked_for(tapes):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")

    said = tapes("audit", "--json")

    assert 0 == said.status, said.out
    coverage = said.json["coverage"]
    assert {"offline": 1} == coverage["skipped_reasons"]
    assert (3, 2, 1) == (coverage["expected"], coverage["verified"], coverage["skipped"])
    assert not said.json["complete"]
    assert ("cartridge-offline", "warning") in findings(said)
    assert [(barcode, "A-12", ["audit"])] == [
        (one["barcode"], one["location"], [*one["requested"]]) for one in tapes.json("tape", "picklist")
    ]
    printed = tapes("tape", "picklist").out
    assert barcode in printed
    assert "A-12" in printed

    tapes("tape", "import", barcode)
    assert [] == tapes.json("tape", "picklist")
    assert tapes("audit", "--json").json["complete"]


def test_an_export_that_needs_a_shelved_cartridge_says_so_and_asks_for_it(tapes, tmp_path):
    package = tapes.json("list")[0]["package"]
    one, other = first(tapes, "t1"), first(tapes, "t2")
    for barcode in (one, other):
        tapes("tape", "export", barcode, "--location", "A-12")
    (tapes.folder / "d1").rename(tmp_path / "d1 gone")

    said = tapes("export", package, tmp_path / "out")

    assert Status.ERROR == said.status
    assert "offline: not checked" in said.err
    assert {one, other} == {one["barcode"] for one in tapes.json("tape", "picklist")}

    assert 0 == tapes("tape", "import", other).status
    assert 0 == tapes("export", package, tmp_path / "out").status
    for name, data in FILES.items():
        assert data is None or (tmp_path / "out" / name).read_bytes() == data


def test_another_cartridge_under_the_barcode_is_not_believed(tapes):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")
    other = images(tapes.folder / "t2")[0]
    shelf = tapes.folder / "t1" / "shelf" / f"{barcode}.tap"
    kept = shelf.read_bytes()
    shutil.copy(other, shelf)

    said = tapes("tape", "import", barcode)

    assert Status.ERROR == said.status
    assert other.stem in said.err
    assert "shelf" == listed(tapes)[barcode]["place"]
    shelf.write_bytes(kept)
    assert 0 == tapes("tape", "import", barcode).status


def test_a_wrong_label_and_a_missing_cartridge_are_findings(tapes):
    wrong, missing = first(tapes, "t1"), first(tapes, "t2")
    image = tapes.folder / "t1" / f"{wrong}.tap"
    kept = image.read_bytes()
    shutil.copy(images(tapes.folder / "t1")[1], image)
    (tapes.folder / "t2" / f"{missing}.tap").rename(tapes.folder / "away.tap")

    said = tapes("audit", "--no-repair", "--json")

    assert Status.FINDINGS == said.status
    assert {("cartridge-wrong", "error"), ("cartridge-missing", "error"), ("copy-unreadable", "error")} <= findings(
        said
    )
    details = {one["code"]: one["detail"] for one in said.json["findings"]}
    assert wrong in details["cartridge-wrong"]
    assert missing in details["cartridge-missing"]
    assert "missing" == listed(tapes)[missing]["place"]

    image.write_bytes(kept)
    (tapes.folder / "away.tap").rename(tapes.folder / "t2" / f"{missing}.tap")
    assert 0 == tapes("audit").status


@pytest.mark.parametrize(("data", "code"), [(b"\xff\xff\xff\xff", "no-label"), (b"", "no-label")])
def test_a_blank_cartridge_in_the_place_of_a_full_one_is_a_finding(tapes, data, code):
    image = images(tapes.folder / "t1")[0]
    image.write_bytes(data)

    said = tapes("audit", "--no-repair", "--json")

    assert Status.FINDINGS == said.status
    found = [one for one in said.json["findings"] if one["code"] == "cartridge-wrong"]
    assert [True] == [code in one["detail"] and image.stem in one["detail"] for one in found]
    assert data == image.read_bytes()


def test_a_write_protected_cartridge_is_passed_over_and_told(tapes):
    settings(images(tapes.folder / "t1")[0], write_protected=True)
    tapes.ingest({"more.txt": b"more"}, name="more")

    assert 0 == tapes("replicate").status

    said = tapes("audit", "--json")
    assert ("cartridge-protected", "warning") in findings(said)
    assert "filling" == listed(tapes)[images(tapes.folder / "t1")[1].stem]["state"]


@pytest.fixture
def failing(tapes):
    """Two packs on the first cartridge of t1, one hard error known of it, and a second one that nobody has seen."""
    image = images(tapes.folder / "t1")[0]
    tapes.ingest({"more.txt": b"more"}, name="more")
    tapes("replicate")
    ruin(image)
    assert 0 == tapes("audit").status
    row = listed(tapes)[image.stem]
    assert (1, "closed", 1) == (len(row["errors"]), row["state"], row["copies"])
    ruin(image, SECOND_PACK)
    return tapes


def test_the_second_hard_error_makes_a_cartridge_suspect_and_names_the_command(failing):
    barcode = first(failing)

    said = failing("audit", "--no-repair", "--json")

    row = listed(failing)[barcode]
    assert ("suspect", "hard-errors", 1) == (row["state"], row["reason"], row["copies"]), row
    found = [one for one in said.json["findings"] if one["code"] == "cartridge-failing"]
    assert [["mocban", "tape", "evacuate", barcode]] == [one["next"] for one in found]
    assert Status.FINDINGS == said.status

    assert 0 == failing("tape", "evacuate", barcode).status
    assert 0 == failing("audit").status
    assert "retired" == listed(failing)[barcode]["state"]


def test_the_second_hard_error_evacuates_a_cartridge_in_the_audit_that_sees_it(failing):
    barcode, other = (image.stem for image in images(failing.folder / "t1"))

    said = failing("audit", "--json")

    (found,) = [one for one in said.json["findings"] if one["code"] == "cartridge-failing"]
    assert (0, True, []) == (said.status, found["healed"], found["next"]), said.out
    rows = listed(failing)
    assert [("retired", 0), ("filling", 2)] == [(rows[one]["state"], rows[one]["copies"]) for one in (barcode, other)]
    (failing.folder / "t1" / f"{barcode}.tap").rename(failing.folder / "burnt")
    again = failing("audit", "--json")
    assert (0, 6) == (again.status, again.json["coverage"]["verified"]), again.out


@pytest.mark.parametrize("options", [("--package",), ("--bytes", "500G"), ("--sample", "100%"), ("--store", "t2")])
def test_an_audit_that_is_narrowed_or_bounded_evacuates_nothing(failing, options):
    package = failing.json("list")[0]["package"]
    failing("audit", "--no-repair")

    failing("audit", *options, *((package,) if options == ("--package",) else ()))

    assert "suspect" == listed(failing)[first(failing)]["state"]


def test_the_service_evacuates_a_cartridge_that_failed(failing):
    failing("audit", "--no-repair")

    said = failing("serve", "--once")

    assert (0, True) == (said.status, "evacuate: done, nothing is open" in said.out), said.out
    assert "retired" == listed(failing)[first(failing)]["state"]


def test_the_service_leaves_a_store_alone_that_is_paused(failing):
    failing("audit", "--no-repair")
    assert 0 == failing("audit", "pause", "--store", "t1", "--until", "2100-01-01", "--reason", "maintenance").status

    assert "evacuate:" not in failing("serve", "--once").out
    assert "suspect" == listed(failing)[first(failing)]["state"]

    assert 0 == failing("audit", "resume").status
    assert "evacuate:" in failing("serve", "--once").out
    assert "retired" == listed(failing)[first(failing)]["state"]


def test_of_several_cartridges_that_fail_at_once_none_is_evacuated_unasked(failing):
    failing("tape", "label", "t1", "--count", 2, "--capacity", "16M")
    second = images(failing.folder / "t1")[1]
    failing.ingest({"third.txt": b"third"}, name="third")
    failing("replicate")
    ruin(second)
    ruin(second, SECOND_PACK)

    said = failing("audit", "--json")

    found = [one for one in said.json["findings"] if one["code"] == "cartridge-failing"]
    assert Status.FINDINGS == said.status
    assert [False, False] == [one["healed"] for one in found]
    assert ["suspect", "suspect"] == [listed(failing)[one.stem]["state"] for one in images(failing.folder / "t1")[:2]]


def test_a_cartridge_that_cannot_be_emptied_holds_back_no_other(failing):
    failing("tape", "label", "t1", "--count", 2, "--capacity", "16M")
    assert 0 == failing("tape", "evacuate", first(failing)).status
    second = images(failing.folder / "t1")[1]
    failing.ingest({"third.txt": b"third"}, name="third")
    failing("replicate")
    settings(images(failing.folder / "t1")[2], write_protected=True)
    settings(images(failing.folder / "t1")[3], write_protected=True)
    ruin(second)
    ruin(second, SECOND_PACK)
    assert Status.FINDINGS == failing("audit").status
    assert "evacuating" == listed(failing)[second.stem]["state"]

    settings(images(failing.folder / "t1")[2], write_protected=False)
    assert 0 == failing("audit").status
    assert "retired" == listed(failing)[second.stem]["state"]


def test_evacuation_brings_everything_to_another_cartridge_and_retires_it(tapes):
    barcode, other = (image.stem for image in images(tapes.folder / "t1"))
    before = images(tapes.folder / "t1")[0].read_bytes()

    done = tapes.json("tape", "evacuate", barcode)

    assert (1, 0, True, {}) == (done["packs"], done["left"], done["retired"], done["failures"])
    assert done["items"] > 0
    rows = listed(tapes)
    assert [("retired", 0), ("filling", 1)] == [(rows[one]["state"], rows[one]["copies"]) for one in (barcode, other)]
    assert before == images(tapes.folder / "t1")[0].read_bytes()
    (tapes.folder / "t1" / f"{barcode}.tap").rename(tapes.folder / "burnt")
    said = tapes("audit", "--json")
    assert (0, 3) == (said.status, said.json["coverage"]["verified"]), said.out
    assert {"packs": 0, "retired": True}.items() <= tapes.json("tape", "evacuate", barcode).items()


def test_what_a_cartridge_does_not_give_comes_from_another_store(tapes):
    image = images(tapes.folder / "t1")[0]
    ruin(image)

    done = tapes.json("tape", "evacuate", image.stem)

    assert (1, 1, True) == (done["packs"], done["from_elsewhere"], done["retired"])
    assert 3 == tapes("audit", "--json").json["coverage"]["verified"]


def test_without_another_cartridge_nothing_is_given_up(tapes):
    one, other = (image.stem for image in images(tapes.folder / "t1"))
    tapes("tape", "retire", other)

    said = tapes("tape", "evacuate", one, "--json")

    assert Status.COPIES_SHORT == said.status
    assert (1, False) == (said.json["left"], said.json["retired"])
    assert "evacuating" == listed(tapes)[one]["state"]
    tapes("tape", "label", "t1", "--capacity", "16M")
    assert 0 == tapes("tape", "evacuate", one).status
    assert 0 == tapes("audit").status


def test_a_cartridge_with_copies_is_not_retired_but_a_lost_one_is_and_its_copies_are_made_anew(tapes):
    image = images(tapes.folder / "t1")[0]
    assert Status.ERROR == tapes("tape", "retire", image.stem).status
    image.unlink()

    assert {"copies": 1}.items() <= tapes.json("tape", "retire", image.stem, "--lost").items()
    assert 0 == tapes("replicate").status

    said = tapes("audit", "--json")
    assert (0, 3) == (said.status, said.json["coverage"]["verified"])
    assert "retired" == listed(tapes)[image.stem]["state"]


def test_a_scan_takes_up_a_cartridge_that_nobody_knows(tapes):
    image = images(tapes.folder / "t1")[0]
    kept = image.read_bytes()
    tapes("tape", "retire", image.stem, "--lost")
    image.write_bytes(kept)

    found = tapes.json("tape", "scan", image.stem)

    assert (True, 1, 0, 0) == (found["ours"], found["adopted"], found["wrong"], found["unknown"])
    assert 1 == listed(tapes)[image.stem]["copies"]


def test_a_scan_of_another_store_s_cartridge_says_whose_it_is_and_touches_nothing(tapes):
    strange = images(tapes.folder / "t2")[0]
    shutil.copy(strange, tapes.folder / "t1" / strange.name)
    before = (tapes.folder / "t1" / strange.name).read_bytes()
    ledger = len(tapes.json("events"))

    said = tapes("tape", "scan", strange.stem, "--store", "t1", "--json")

    assert (0, False) == (said.status, said.json["ours"])
    assert said.json["store"] != ""
    assert before == (tapes.folder / "t1" / strange.name).read_bytes()
    assert ledger == len(tapes.json("events"))
    assert "nothing on it was read or changed" in tapes("tape", "scan", strange.stem, "--store", "t1").out


def test_a_cartridge_near_the_end_of_its_life_is_told_a_year_and_more_before(tapes):
    path = tapes.path / "mocban.toml"
    text = path.read_text()
    cases = ((1, 365, ("cartridge-overdue", "error")), (2, 800, ("cartridge-ageing", "warning")), (2, 400, None))
    for years, days, expected in cases:
        path.write_text(text)
        configured(tapes, ("life_years = 10", f"life_years = {years}"), ("warn_days = 545", f"warn_days = {days}"))
        found = {one for one in findings(tapes("audit", "--json")) if one[0].startswith("cartridge-")}
        assert found == ({expected} if expected else set()), (years, days)


def test_load_says_what_the_label_says_and_eject_finds_the_drive_empty(tapes):
    barcode = first(tapes)

    assert {"barcode": barcode, "number": 1}.items() <= tapes.json("tape", "load", barcode).items()
    assert [] == tapes.json("tape", "eject")
    assert Status.ERROR == tapes("tape", "load", "ABC000IM").status


def test_what_is_recorded_of_cartridges_survives_a_catalog_made_anew(tapes):
    tapes("tape", "export", first(tapes), "--location", "A-12")
    tapes("audit")
    before = standing(tapes)
    shutil.rmtree(tapes.path / "catalog")

    assert 0 == tapes("rebuild").status

    assert before == standing(tapes)
    assert json.loads(tapes("tape", "picklist", "--json").out)


@pytest.mark.parametrize(
    ("loads", "kind", "told"), [(3, "IM", True), (10_000, "IM", False), (0, "IM", False), (1, "L9", False)]
)
def test_a_cartridge_with_copies_that_was_loaded_as_often_as_its_kind_may_be_is_told(tapes, loads, kind, told):
    path = tapes.path / "mocban.toml"
    path.write_text(f"{path.read_text()}\n[tape.kinds.{kind}]\nloads = {loads}\n")
    barcode = first(tapes)
    for _ in range(3):
        assert tapes("tape", "load", barcode).status == 0
    found = [one for one in tapes("audit", "--json").json["findings"] if one["code"] == "cartridge-worn"]

    assert told == (barcode in {one["cartridge"] for one in found})
    assert all(one["severity"] == "warning" and f"loads of {loads}" in one["detail"] for one in found)
    assert (loads or None if kind == "IM" else None) == listed(tapes)[barcode]["most_loads"]
    assert not [one for one in found if not listed(tapes)[one["cartridge"]]["copies"]]


def test_the_life_of_one_kind_of_cartridge_may_differ(tapes):
    path = tapes.path / "mocban.toml"
    text = path.read_text()
    path.write_text(f"{text}\n[tape.kinds.IM]\nlife_years = 25\n")
    one = listed(tapes)[first(tapes)]
    assert int(one["labelled"][:4]) + 25 == int(one["end_of_life"][:4])
    path.write_text(f"{text}\n[tape.kinds.L9]\nlife_years = 25\n")
    one = listed(tapes)[first(tapes)]
    assert int(one["labelled"][:4]) + 10 == int(one["end_of_life"][:4])
    path.write_text(f"{text}\n[tape.kinds.IM]\nlife_years = 1\n")
    assert "cartridge-overdue" in {code for code, _ in findings(tapes("audit", "--json"))}
    path.write_text(f"{text}\n[tape.kinds.IM]\nlife_years = 0\n")
    assert Status.ERROR == tapes("audit").status
    path.write_text(f"{text}\n[tape.kinds.IM]\nyears = 5\n")
    assert Status.ERROR == tapes("audit").status


@pytest.mark.parametrize(
    ("barcode", "loads"),
    [
        ("ABC123L1", 5_000),
        ("ABC123L2", 10_000),
        ("ABC123L3", 20_000),
        ("ABC123LT", 20_000),
        ("ABC123M8", 20_000),
        ("ABC123L9", 20_000),
        ("ABC123LZ", 20_000),
        ("ABC123LA", 20_000),
        ("ABC123IM", 0),
        ("ABC123HL", 0),
        ("ABC12345", 0),
    ],
)
def test_how_often_a_cartridge_may_be_loaded_goes_by_its_generation(barcode, loads):
    assert loads == media.loads_of(media.kind_of(barcode))
