"""Cartridges in trouble: two with one barcode, the last good copy on a shelf, evacuations that are cut off."""

import io
import shutil
from contextlib import nullcontext

import pytest
from cli_support import damage
from repository_support import Place, configure, copy_rows, made, nothing, pack_rows, submit_files
from tape_care_support import cartridge_findings, configured, filled, first, five_packs, keep, listed, ruin, spoil
from tape_support import MIB, images, opened, pack, proved, put, settings, staged, tape_at

from audits.findings import Code, next_command
from audits.heartbeat import read_heartbeat
from audits.pacing import next_slices
from audits.run import Scope, audit
from commands.statuses import Status
from preservation import attachment, evacuating, fonds
from preservation.cartridges import Purpose, cartridge_named, cartridges, note
from preservation.catalog import rows
from preservation.catalog.taped import CartridgeRow
from preservation.configuration import Configuration, ConfigurationError
from preservation.ledger.events import EventType
from preservation.packs import layout
from preservation.replication import replicate
from preservation.repository import Repository
from preservation.shelving import retire, scan, take_out
from preservation.stopping import StoppedError
from preservation.stores import all_open, attached
from storage_backends.tape import pool as pools
from storage_backends.tape.cartridges import Cartridges
from storage_backends.tape.changer import ElementError
from storage_backends.tape.drive import DuplicateBarcodeError, Element
from storage_backends.tape.image import FolderChanger
from storage_backends.tape.library import Library
from storage_backends.tape.noted import Condition


@pytest.fixture(scope="module")
def anew(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trouble") / "place"
    folder.mkdir()
    return keep(filled(folder))


@pytest.fixture
def tapes(anew):
    return anew()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two disks and a tape, of five packs on all of them."""
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    return five_packs(tmp_path)


def rows_of(place):
    repository = place.open()
    with repository.reading() as view:
        return {row.barcode: row for row in rows.every(view, CartridgeRow)}


def on(place, number):
    """How many copies that count lie on the cartridge of this number."""
    return sum(row.generation.startswith(f"{number:06d}-") for row in copy_rows(place))


def events(place, kind):
    return [record for record in place.open().ledger.records() if record.event.type == kind]


# ---- which cartridge it is -----------------------------------------------------------------------------------------


class TwoAlike(FolderChanger):
    """A changer that reads one barcode in two slots."""

    def elements(self):
        found = super().elements()
        return [*found, Element(99, is_drive=False, barcode=found[1].barcode)]


def test_of_two_cartridges_with_one_barcode_none_is_used(tmp_path):
    backend = tape_at(tmp_path / "t")
    home = backend.home
    library = Library(
        home.place, home.drive, TwoAlike(home.place, home.drive), store_id="", lock_file=f"{home.place}/drive.lock"
    )
    one, other, _ = (image.stem for image in images(tmp_path / "t"))

    with pytest.raises(DuplicateBarcodeError):
        library.mount(one)

    assert library.take_noted()[one].conditions == {Condition.DUPLICATE}
    assert library.mount(other).barcode == other


class SlotsTaken(FolderChanger):
    """A changer of a library in which another pool takes the slot that was found free, so many times."""

    times = 0

    def move(self, source, destination):
        is_back = next(one for one in self.elements() if one.address == source).is_drive
        if is_back and self.times:
            self.times -= 1
            raise ElementError(place="library", source=source, destination=destination, reason="there is one already")
        super().move(source, destination)


@pytest.mark.parametrize(("times", "works"), [(1, True), (3, True), (4, False)])
def test_a_slot_that_another_pool_has_taken_is_left_for_the_next_one(tmp_path, times, works):
    home = tape_at(tmp_path / "t").home
    changer = SlotsTaken(home.place, home.drive)
    library = Library(home.place, home.drive, changer, store_id="", lock_file=f"{home.place}/drive.lock")
    one, other, _ = (image.stem for image in images(tmp_path / "t"))
    library.mount(one)
    changer.times = times

    with nullcontext() if works else pytest.raises(ElementError):
        assert library.mount(other).barcode == other
    assert library.mount(one).barcode == one


def test_a_cartridge_with_the_number_of_another_is_not_taken_up(tapes):
    image = images(tapes.folder / "t1")[0]
    label = bytes(image.read_bytes())
    twin = tapes.folder / "t1" / "TWIN01IM.tap"
    twin.write_bytes(label.replace(image.stem.encode(), b"TWIN01IM").replace(image.stem[:6].encode(), b"TWIN01"))

    said = tapes("tape", "scan", "TWIN01IM")

    assert Status.ERROR == said.status
    assert "both are number 1" in said.err
    assert listed(tapes)[image.stem]["copies"] == 1


def test_no_cartridge_has_two_copies_of_a_pack(tapes):
    """A pool is a store, a cartridge is of one store, and of two places on it only the later one counts."""
    labels = {store: {image.stem for image in images(tapes.folder / store)} for store in ("t1", "t2")}
    assert not labels["t1"] & labels["t2"]
    image = images(tapes.folder / "t1")[0]
    shutil.copy(image, tapes.folder / "t2" / image.name)
    tapes.ingest({"more.txt": b"more"}, name="more")
    before = (tapes.folder / "t2" / image.name).read_bytes()

    assert tapes("replicate").status == 0

    assert before == (tapes.folder / "t2" / image.name).read_bytes()
    assert {row["state"] for row in listed(tapes, "--store", "t2").values()} == {"filling", "blank", "foreign"}


def test_a_cartridge_that_was_used_for_something_else_meanwhile_is_not_imported(tapes):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")
    image = tapes.folder / "t1" / "shelf" / f"{barcode}.tap"
    image.write_bytes(b"\xff\xff\xff\xff")

    assert Status.ERROR == tapes("tape", "import", barcode).status

    assert listed(tapes)[barcode]["place"] == "shelf"
    assert image.exists()


def test_an_image_that_was_carried_away_is_imported_when_it_lies_in_its_folder_again(tapes, tmp_path):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")
    for path in (tapes.folder / "t1" / "shelf").iterdir():
        path.rename(tmp_path / path.name)
    assert Status.ERROR == tapes("tape", "import", barcode).status

    for path in tmp_path.glob(f"{barcode}.*"):
        path.rename(tapes.folder / "t1" / path.name)
    assert tapes("tape", "import", barcode).status == 0
    assert listed(tapes)[barcode]["place"] == "slot"


def test_who_brings_a_cartridge_back_without_a_word_is_noticed_when_it_is_used(tapes):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")
    for path in (tapes.folder / "t1" / "shelf").iterdir():
        path.rename(tapes.folder / "t1" / path.name)

    assert tapes("tape", "load", barcode).status == 0

    assert listed(tapes)[barcode]["place"] == "slot"
    assert tapes("audit", "--json").json["complete"]


# ---- on a shelf ----------------------------------------------------------------------------------------------------


def test_with_the_only_good_copies_on_a_shelf_nothing_is_given_up_as_lost(tapes):
    for store in ("t1", "t2"):
        tapes("tape", "export", first(tapes, store), "--location", "A-12")
    (path,) = tapes.packs("d1")
    damage(path, path.read_bytes().index("Kính gửi".encode()))
    kept = path.read_bytes()

    said = tapes("audit", "--json")

    assert Status.FINDINGS == said.status
    codes = {one["code"] for one in said.json["findings"]}
    assert {"copy-damaged", "repair-failed", "cartridge-offline"} <= codes
    assert "objects-lost" not in codes
    assert path.read_bytes() == kept
    for store in ("t1", "t2"):
        (barcode,) = [row["barcode"] for row in listed(tapes, "--store", store).values() if row["place"] == "shelf"]
        assert tapes("tape", "import", barcode).status == 0
    assert tapes("audit").status == 0


def test_a_copy_on_a_shelf_is_not_written_anew_when_another_is_healed(tapes):
    barcode = first(tapes)
    tapes("tape", "export", barcode, "--location", "A-12")
    (path,) = tapes.packs("d1")
    damage(path, path.read_bytes().index("Kính gửi".encode()))

    assert tapes("audit").status == 0

    assert [(1, "shelf"), (0, "slot")] == [
        (row["copies"], row["place"]) for row in listed(tapes, "--store", "t1").values()
    ]


def test_the_service_does_not_ask_again_and_again_for_copies_on_a_shelf(place):
    take_out(place.open(), images(place.folder / "t1")[0].stem, location="A-1")
    repository = place.open()

    chosen = {
        copy.store
        for _, part in next_slices(repository, read_heartbeat(repository), rests=False)
        for copy in part.chosen
    }

    names = {row.store: row.name for row in _stores(repository)}
    assert {"a", "b"} == {names[store] for store in chosen}


def _stores(repository):
    with repository.reading() as view:
        return attached(view)


def test_young_copies_on_a_shelf_are_young_and_ask_for_nobody(tapes):
    tapes("audit")
    tapes("tape", "export", first(tapes), "--location", "A-12")

    said = tapes("audit", "--max-age", "30", "--json")

    assert {"age": 3} == said.json["coverage"]["skipped_reasons"]
    assert set() == cartridge_findings(said)
    assert [] == tapes.json("tape", "picklist")


# ---- evacuation ----------------------------------------------------------------------------------------------------


def test_an_evacuation_that_is_stopped_goes_on_when_it_is_asked_again(place):
    one, other = (image.stem for image in images(place.folder / "t1"))
    place.stop_after = 3
    with pytest.raises(StoppedError):
        evacuating.evacuate(place.open(), one, nothing)
    assert rows_of(place)[one].state == "evacuating"
    assert on(place, 1) == 5
    assert 0 < len([*(place.folder / "t1" / "staging").rglob("*.tar")]) < 5

    place.stop_after = None
    done = evacuating.evacuate(place.open(), one, nothing)

    assert (5, 0, True) == (done.packs, done.left, done.retired)
    assert (0, 5) == (on(place, 1), on(place, 2))
    assert rows_of(place)[other].state == ""


def test_an_evacuation_that_is_cut_off_before_its_events_writes_nothing_twice(place, monkeypatch):
    one = images(place.folder / "t1")[0].stem

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evacuating, "copy_event", cut_off)
    with pytest.raises(KeyboardInterrupt):
        evacuating.evacuate(place.open(), one, nothing)
    monkeypatch.undo()
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    size = images(place.folder / "t1")[1].stat().st_size
    assert on(place, 1) == 5

    done = evacuating.evacuate(place.open(), one, nothing)

    assert (5, True) == (done.packs, done.retired)
    assert images(place.folder / "t1")[1].stat().st_size < size + 3 * MIB
    assert on(place, 2) == 5


def test_a_cartridge_on_a_shelf_is_evacuated_from_other_stores_and_asked_for(place):
    one = images(place.folder / "t1")[0].stem
    take_out(place.open(), one, location="A-1")

    done = evacuating.evacuate(place.open(), one, nothing)

    assert (5, 5, True) == (done.packs, done.from_elsewhere, done.retired)
    assert [Purpose.EVACUATE] == [
        record.event.detail["purpose"] for record in events(place, EventType.CARTRIDGE_REQUESTED)
    ]
    assert rows_of(place)[one].requested == {}


def test_what_no_store_gives_right_stays_and_the_cartridge_too(place):
    one = images(place.folder / "t1")[0]
    ruin(one)
    lost = next(row.pack for row in copy_rows(place) if row.generation.startswith("000001-00000001-"))
    for store in ("a", "b"):
        damage(next((place.folder / store).rglob(f"{lost}.tar")))

    done = evacuating.evacuate(place.open(), one.stem, nothing)

    assert (4, 1, False) == (done.packs, done.left, done.retired)
    assert lost in done.failures
    assert rows_of(place)[one.stem].state == "evacuating"


def about_failing(report):
    return [one for one in report.findings if one.code is Code.CARTRIDGE_FAILING]


def test_an_audit_that_is_stopped_while_it_evacuates_goes_on_with_it(place, monkeypatch):
    one, staging = spoil(place, 1, 3), place.folder / "t1" / "staging"
    monkeypatch.setattr(Place, "_stopping", lambda _: len([*staging.rglob("*.tar")]) > 1)
    with pytest.raises(StoppedError):
        audit(place.open(), Scope(), repair=True, told=nothing)
    monkeypatch.undo()
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    assert ("evacuating", 3, 2) == (rows_of(place)[one].state, on(place, 1), on(place, 2))

    report = audit(place.open(), Scope(), repair=True, told=nothing)

    assert [True] == [finding.healed for finding in about_failing(report)]
    assert ("retired", 0, 5) == (rows_of(place)[one].state, on(place, 1), on(place, 2))
    assert 0 == audit(place.open(), Scope(), repair=True, told=nothing).exit_status


def test_what_is_only_staged_for_a_tape_heals_when_no_copy_is_left(place):
    submit_files(place, {"mới.bin": b"n" * 200_000}, name="new")
    (path,) = [path for path in (place.folder / "a").rglob("*.tar") if b"n" * 1_000 in path.read_bytes()]
    repository = place.open()
    with repository.reading() as view, all_open(attached(view)) as stores:
        (tape,) = [one.backend for one in stores if one.name == "t1"]
        data = path.read_bytes()
        tape.write(str(path.relative_to(place.folder / "a")), len(data), io.BytesIO(data))
    (staged,) = (place.folder / "t1" / "staging").rglob("*.tar")
    for store in ("a", "b"):
        damage(next((place.folder / store).rglob(staged.name)), offset=data.index(b"n" * 1_000))
    for sidecar in place.folder.rglob(f"*{staged.stem}*"):
        if sidecar.suffix != ".tar":
            sidecar.unlink()

    report = audit(place.open(), Scope(), repair=True, told=nothing)

    assert [] == report.coverage.lost_objects
    assert {"good"} == {row.state for row in copy_rows(place) if row.pack == staged.stem}
    assert 0 == audit(place.open(), Scope(), repair=True, told=nothing).exit_status


def test_what_an_evacuation_has_staged_heals_when_no_copy_is_left(place):
    one, other = spoil(place, 1, 3), images(place.folder / "t1")[1]
    settings(other, write_protected=True)
    audit(place.open(), Scope(), repair=True, told=nothing)
    spoil(place, 4)
    (pack,) = [row.pack for row in copy_rows(place) if row.state != "good"] or [
        one.pack
        for one in audit(place.open(), Scope(), repair=False, told=nothing).findings
        if one.code is Code.COPY_DAMAGED
    ]
    for store in ("a", "b"):
        copy = next((place.folder / store).rglob(f"{pack}.tar"))
        damage(copy, offset=copy.read_bytes().index(b"\x04" * 1_000))
    settings(other, write_protected=False)

    report = audit(place.open(), Scope(), repair=True, told=nothing)

    assert [] == report.coverage.lost_objects
    assert ("retired", 0, 5) == (rows_of(place)[one].state, on(place, 1), on(place, 2))
    assert 0 == audit(place.open(), Scope(), repair=True, told=nothing).exit_status


def test_where_there_is_no_room_nothing_is_given_up_and_the_finding_stays(place):
    one, other = spoil(place, 1, 3), images(place.folder / "t1")[1]
    settings(other, write_protected=True)

    report = audit(place.open(), Scope(), repair=True, told=nothing)

    (found,) = about_failing(report)
    assert (False, 3) == (found.healed, report.exit_status)
    assert other.stem in found.detail or "no cartridge" in found.detail, found.detail
    assert ["mocban", "tape", "evacuate", one] == next_command(found)
    assert ("evacuating", 5) == (rows_of(place)[one].state, on(place, 1))
    assert len([*(place.folder / "t1" / "staging").rglob("*.tar")]) == 5
    spoil(place, 4)
    seen = audit(place.open(), Scope(), repair=False, told=nothing).coverage
    assert (14, 1) == (seen.verified, seen.damaged)  # the cartridge is looked at, not what is staged

    settings(other, write_protected=False)
    report = audit(place.open(), Scope(), repair=True, told=nothing)
    assert (0, [True]) == (report.exit_status, [finding.healed for finding in about_failing(report)])
    assert ("retired", 0, 5) == (rows_of(place)[one].state, on(place, 1), on(place, 2))


def test_an_evacuation_ends_with_its_time_and_has_brought_over_what_it_began(place):
    one, repository = images(place.folder / "t1")[0].stem, place.open()
    answers = iter([False, False])

    with repository.copying(), repository.reading() as view, all_open(attached(view)) as stores:
        found = cartridge_named(view, stores, one)
        done = evacuating.evacuated(repository, stores, found, nothing, enough=lambda: next(answers, True))

    assert (2, 3, False, {}) == (done.packs, done.left, done.retired, done.failures)
    assert ("evacuating", 3, 2) == (rows_of(place)[one].state, on(place, 1), on(place, 2))
    assert evacuating.evacuate(place.open(), one, nothing).retired


def test_an_audit_whose_time_is_over_begins_no_evacuation(place):
    one = spoil(place, 1, 3)
    audit(place.open(), Scope(), repair=False, told=nothing)

    report = audit(place.open(), Scope(seconds=0), repair=True, told=nothing)

    assert [False] == [finding.healed for finding in about_failing(report)]
    assert ("suspect", 5) == (rows_of(place)[one].state, on(place, 1))


def test_nothing_is_written_on_a_cartridge_that_was_given_up_though_the_directory_was_lost(place):
    one, other = images(place.folder / "t1")
    evacuating.evacuate(place.open(), one.stem, nothing)
    before = one.read_bytes()
    (place.folder / "t1" / "directory.sqlite").unlink()
    submit_files(place, {"mới.txt": b"new"}, name="second")

    assert replicate(place.open(), nothing).failures == {}

    assert one.read_bytes() == before
    assert on(place, 1) == 0
    assert on(place, 2) == len(pack_rows(place))
    assert other.exists()


# ---- lost, found, numbered -----------------------------------------------------------------------------------------


def test_the_number_of_a_lost_cartridge_is_not_given_again(tapes):
    last = images(tapes.folder / "t1")[1]
    last.unlink()
    assert tapes("tape", "retire", last.stem, "--lost").status == 0

    assert [3] == [one["number"] for one in tapes.json("tape", "label", "t1", "--capacity", "16M")]


def test_a_scan_does_not_bring_back_what_is_wrong(place):
    one = images(place.folder / "t1")[0]
    retire(place.open(), one.stem, lost=True)
    ruin(one)

    found = scan(place.open(), one.stem)

    assert (4, 1, 0) == (found.adopted, found.wrong, found.unknown)
    assert on(place, 1) == 4


def test_a_scan_makes_the_rows_of_a_directory_again_that_knows_nothing(tmp_path):
    backend = tape_at(tmp_path / "t")
    for number in range(3):
        put(backend, f"packs/f/{number}.tar", pack(number))
    backend.flush(proved)
    barcode = images(tmp_path / "t")[0].stem
    before = list(pools.contents(backend, barcode))
    backend.for_writing().drop(1)
    assert [] == list(pools.contents(backend, barcode))

    found = pools.scan(backend, barcode, "0190a0b0-0000-7000-8000-00000000001a")

    assert (True, 4, 3) == (found.is_ours, found.files, found.items)
    assert before == list(pools.contents(backend, barcode))


def test_withheld_cartridges_are_not_written_and_what_lies_there_does_not_count_as_written(tmp_path):
    backend = tape_at(tmp_path / "t")
    put(backend, "packs/f/a.tar", pack(1))
    backend.flush(proved)
    one = images(tmp_path / "t")[0]
    before, item = one.read_bytes(), backend.stat("packs/f/a.tar")
    backend.withheld = frozenset({one.stem})
    backend.rewrite("packs/f/a.tar", item, item.size, io.BytesIO(pack(1)))

    backend.flush(proved)

    assert one.read_bytes() == before
    assert backend.stat("packs/f/a.tar").generation.startswith("000002-")
    assert staged(backend) == []
    assert opened(tmp_path / "t").stat("packs/f/a.tar").generation.startswith("000002-")


# ---- what is noted -------------------------------------------------------------------------------------------------


def test_nothing_is_recorded_where_nothing_was_noticed(place):
    repository = place.open()
    with repository.reading() as view, all_open(attached(view)) as stores:
        size = repository.ledger.size
        note(repository, stores, Purpose.AUDIT)

    assert size == place.open().ledger.size


def test_loads_are_counted_and_a_write_protected_cartridge_is_told_until_it_can_be_written(tapes):
    one = images(tapes.folder / "t1")[0]
    before = listed(tapes)[one.stem]["loads"]
    tapes("tape", "load", one.stem)
    assert listed(tapes)[one.stem]["loads"] == before + 1

    settings(one, write_protected=True)
    tapes.ingest({"more.txt": b"more"}, name="more")
    tapes("replicate")
    tapes("audit")
    assert {("cartridge-protected", "warning", one.stem)} == cartridge_findings(tapes("audit", "--json"))

    settings(one, write_protected=False)
    tapes("tape", "load", one.stem)
    assert set() == cartridge_findings(tapes("audit", "--json"))


def test_the_list_of_a_store_that_is_away_is_what_the_ledger_says(tapes):
    (tapes.folder / "t1").rename(tapes.folder / "t1 gone")

    rows = listed(tapes, "--store", "t1")

    assert [""] * 2 == [row["place"] for row in rows.values()]
    assert [1, 0] == [row["copies"] for row in rows.values()]


def test_packs_are_brought_to_tape_fonds_by_fonds_where_that_is_asked_for(tmp_path):
    for name, asked in (("with", True), ("without", False)):
        folder = tmp_path / name
        folder.mkdir()
        place = _of_two_fonds(folder, collocated=asked)
        order = _order_on_tape(place)
        assert (order == sorted(order)) is asked, name


def _of_two_fonds(folder, *, collocated):
    place: Place = made(folder, seed=3)
    configure(place, "stage_bytes = 34359738368", "stage_bytes = 1")  # else one flush sorts them all
    if collocated:
        configure(place, "collocate = false", "collocate = true")
    fonds.open_fonds(place.open(), "F2", "Phông khác")
    for number in range(4):
        code = ("F1", "F2")[number % 2]
        submit_files(place, {"a.txt": bytes([number]) * 99}, name=f"s{number}", fonds_code=code)
    cartridges = Cartridges(count=2, capacity=64 * MIB)
    attachment.add(place.open(), "t1", f"tape+image://{folder / 't1'}", site="vault", cartridges=cartridges)
    assert replicate(place.open(), nothing).failures == {}
    return place


def _order_on_tape(place):
    """The fonds of the packs in the order in which they lie on the tape."""
    repository: Repository = place.open()
    with repository.reading() as view:
        (tape,) = (row.store for row in attached(view) if row.medium == "tape")
        fonds_of = {row.pack: row.fonds for row in rows.every(view, rows.PackRow)}
        copies = [row for row in rows.every(view, rows.CopyRow) if row.store == tape]
    return [fonds_of[row.pack] for row in sorted(copies, key=lambda row: row.generation)]


@pytest.mark.parametrize(("key", "value"), [("warn_days", 364), ("life_years", 0)])
def test_an_end_of_life_that_would_be_told_too_late_is_refused(tapes, key, value):
    configured(tapes, (f"{key} = {545 if key == 'warn_days' else 10}", f"{key} = {value}"))

    with pytest.raises(ConfigurationError, match="must be at least"):
        Configuration.load(str(tapes.path))


def test_a_cartridge_of_a_ledger_has_its_state_without_its_store(place):
    take_out(place.open(), images(place.folder / "t1")[0].stem, location="A-1", vault="hue:2")
    repository = place.open()
    with repository.reading() as view, all_open([row for row in attached(view) if row.medium == "tape"]) as stores:
        found = {one.row.barcode: (one.state, one.where, one.copies) for one in cartridges(view, stores)}

    assert sorted(found.values()) == [("blank", "slot", 0), ("filling", "shelf", 5)]
