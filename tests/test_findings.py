"""Findings: every code has a meaning, causes and a next command, and every such command was run where it is given."""

import contextlib
import os
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from backend_faulty import Fault, FaultyBackend
from cli_support import Archive, archive, damage
from formats_support import PDF
from repository_support import FONDS, Clock, Place, submit_files
from tape_care_support import FIRST_PACK, SECOND_PACK, configured, ruin
from tape_support import images, settings

from audits.findings import CAUSES, MEANING, NEXT, NEXT_WITHOUT_STORE, Code, Finding, next_command
from commands.entries import ENTRIES
from preservation import attachment, fonds, parts
from preservation.catalog import door, rows
from preservation.creation import create, open_repository
from preservation.formats.identification import FormatMatch, Identification, checked_puid
from preservation.identifications import COLUMNS, KIND, Change
from preservation.ledger.events import EventType
from preservation.repository import World
from storage_backends import locations

LOOK = ("audit", "--no-repair")


@pytest.fixture
def kept(tmp_path, request):
    if days := getattr(request, "param", 0):
        return aged(tmp_path, days)
    made = archive(tmp_path)
    made.ingest({"a.txt": b"first words " * 400, "b.bin": bytes(range(256)) * 40})
    return made


def aged(folder, days):
    """A repository that was made so many days ago and left alone since."""
    place = Place(folder, clock=Clock(datetime.now(UTC) - timedelta(days=days)))
    create(place.path, place.world)
    for name in ("d1", "d2"):
        attachment.add(place.open(), name, place.url(name), site=f"site-{name}")
    fonds.open_fonds(place.open(), FONDS, "UBND")
    submit_files(place, {"a.txt": b"first words " * 400})
    os.rename(place.path, folder / "archive")
    return Archive(folder)


@dataclass(frozen=True)
class Situation:
    """How something comes about, who sees it, what a person must do before the command, and what the command does."""

    happen: object
    """Called with the archive; may be a context manager that lasts until the person has done their part."""
    look: tuple[str, ...] = LOOK
    person: object = lambda _kept: None
    statuses: frozenset[int] = frozenset({0})
    heals: bool = True
    has_store: bool = True
    days: int = 0
    """How long ago the repository was made."""


def damaged(kept):
    damage(kept.packs("d1")[0], 2000)


def deleted(kept):
    kept.packs("d1")[0].unlink()


@contextlib.contextmanager
def one_wrong_read(kept):
    key = kept.packs("d1")[0].relative_to(kept.folder / "d1").as_posix()
    faulty = {}

    def open_store(url, **more):
        backend = real(url, **more)
        if url.endswith("/d1"):
            return faulty.setdefault("d1", FaultyBackend(backend, [Fault("flip", key, at=50, nth=1)]))
        return backend

    real, locations.open_store = locations.open_store, open_store
    try:
        yield
    finally:
        locations.open_store = real


def a_stranger(kept):
    (kept.folder / "d1" / "packs" / "visitor.tar").write_bytes(b"not ours")


def words_damaged(kept, *stores):
    for store in stores:
        (pack,) = kept.packs(store)
        damage(pack, pack.read_bytes().index(b"first words"))


def damaged_everywhere(kept):
    words_damaged(kept, "d1", "d2")


def sidecar_deleted(kept):
    next((kept.folder / "d1" / "indexes").rglob("*.jsonl")).unlink()


def readme_damaged(kept):
    damage(kept.folder / "d1" / "README.txt")


def no_index_anywhere(kept):
    aside = kept.folder / "indexes put away"
    aside.mkdir()
    for number, path in enumerate(sorted(kept.folder.rglob("*.jsonl"))):
        if path.stem in {pack.stem for pack in kept.packs("d1")}:
            path.rename(aside / f"{number}")
            (aside / f"{number} was").write_text(str(path))
    for pack in kept.packs("d1") + kept.packs("d2"):
        pack.rename(pack.with_suffix(".away"))
    assert kept("rebuild").status == 3
    for store in ("d1", "d2"):
        for path in (kept.folder / store / "packs").rglob("*.away"):
            path.rename(path.with_suffix(".tar"))


def indexes_found(kept):
    aside = kept.folder / "indexes put away"
    for note in aside.glob("* was"):
        (aside / note.name.removesuffix(" was")).rename(note.read_text())


def away(*stores):
    def happen(kept):
        for store in stores:
            (kept.folder / store).rename(kept.folder / f"{store} away")

    return happen


def back(*stores):
    def person(kept):
        for store in stores:
            (kept.folder / f"{store} away").rename(kept.folder / store)

    return person


def ingested_while_a_store_was_away(kept):
    away("d2")(kept)
    folder = kept.submission({"late.txt": b"late"}, "late")
    assert kept("ingest", folder, "--fonds", "TH-2024", "--no-identify").status == 4
    back("d2")(kept)


def restored_from_an_old_backup(kept):
    shutil.copytree(kept.path, kept.folder / "backup", symlinks=True)
    kept.ingest({"new.txt": b"new"}, name="new")
    shutil.rmtree(kept.path)
    (kept.folder / "backup").rename(kept.path)


def damaged_while_the_good_one_is_away(kept):
    words_damaged(kept, "d1")
    away("d2")(kept)


def every_store_given_up(kept):
    for store in ("d1", "d2"):
        assert kept("store", "detach", store, "--lost").status == 0
    assert kept("store", "add", "d3", f"file://{kept.folder / 'd3'}", "--site", "three").status == 0


def old_store_found(kept):
    assert kept("store", "add", "d1", f"file://{kept.folder / 'd1'}", "--site", "site-d1").status == 0


def a_row_gone(kept):
    catalog = open_repository(str(kept.path), kept_world()).catalog
    with door.writing(catalog.path, catalog.identity) as database:
        keys = [key for key, _ in database.scan(b"object/")]
        database.write({keys[0]: None})


def kept_world():
    return World(now=lambda: datetime.now(UTC), random=os.urandom, agent="test")


def written_anew(kept):
    (pack,) = kept.packs("d1")
    data = pack.read_bytes()
    pack.unlink()
    pack.write_bytes(data)
    os.utime(pack, ns=(1, 1))


def read_too_slowly(kept):
    path = kept.path / "mocban.toml"
    text = path.read_text().replace("max_age_days = 90", "max_age_days = 4", 1)
    path.write_text(text.replace("bytes_per_second = 0", "bytes_per_second = 1", 1))


SIGNATURES = (
    '<FFSignatureFile xmlns="http://www.nationalarchives.gov.uk/pronom/SignatureFile" Version="999" '
    'DateCreated="2026-01-01T00:00:00"><InternalSignatureCollection><InternalSignature ID="1" Specificity="Specific">'
    '<ByteSequence Reference="BOFoffset"><SubSequence Position="1" SubSeqMinOffset="0" SubSeqMaxOffset="0">'
    "<Sequence>6669727374</Sequence></SubSequence></ByteSequence></InternalSignature></InternalSignatureCollection>"
    '<FileFormatCollection><FileFormat ID="1" Name="First words" PUID="fmt/9999">'
    "<InternalSignatureID>1</InternalSignatureID></FileFormat></FileFormatCollection></FFSignatureFile>"
)


def other_signatures(kept):
    path = kept.folder / "DROID.xml"
    path.write_text(SIGNATURES)
    bundle = kept.json("formats", "signatures", "import", path)["bundle"]
    assert kept("formats", "signatures", "activate", bundle, "--accept-unjudged").status == 0


def recorded(kept, kind, **detail):
    repository = open_repository(str(kept.path), kept_world())
    with repository.reading() as view:
        fonds_id = next(iter(rows.every(view, rows.FondsRow))).fonds
        package = next(iter(rows.every(view, rows.PackageRow))).package
    if "parts" in detail:
        match = FormatMatch(checked_puid("fmt/1"), "signature", "t", "s")
        answer = Identification("identified", (match,))
        row = Change(1, "off", "", answer, "conflict", ("fmt/2",), "u").row(package, "f" * 64, "0" * 16)
        made = parts.write_parts(repository, KIND, COLUMNS, [row])
        detail["parts"] = [one.to_json() for one in made]
    repository.record([repository.event(kind, fonds=fonds_id if "parts" in detail else None, **detail)])


def two_tools_disagree(kept):
    recorded(kept, EventType.FORMAT_IDENTIFICATION, run="r", moves={}, parts=[])


def accepted_when_it_was_less(kept):
    recorded(kept, EventType.RISK_DECIDED, puid="off", state="accepted", reason="other", note="", score=1, table="")


@contextlib.contextmanager
def a_program_removed(kept):
    kept("ingest", kept.submission({"a.pdf": PDF}, "pdf"), "--fonds", "TH-2024")
    programs = kept.folder / "programs"
    programs.mkdir()
    (programs / "qpdf").write_text("#!/bin/sh\n")
    (programs / "qpdf").chmod(0o755)
    before, os.environ["PATH"] = os.environ["PATH"], str(programs)
    try:
        assert kept("formats", "watch").status == 0
        (programs / "qpdf").unlink()
        yield
    finally:
        os.environ["PATH"] = before


WATCH = ("formats", "watch")


def directory_out_of_a_backup(kept):
    url = f"tape+image://{kept.folder / 't1'}"
    assert kept("store", "add", "t1", url, "--site", "vault", "--cartridges", "1").status == 0
    assert kept("replicate").status == 0
    older = (kept.folder / "t1" / "directory.sqlite").read_bytes()
    kept.ingest({"later.txt": b"later"}, name="later")
    assert kept("replicate").status == 0
    (kept.folder / "t1" / "directory.sqlite").write_bytes(older)


def on_tape(kept):
    """Bring what is kept to the first of two cartridges, and return both."""
    url = f"tape+image://{kept.folder / 't1'}"
    assert kept("store", "add", "t1", url, "--site", "vault", "--cartridges", "2", "--capacity", "16M").status == 0
    assert kept("replicate").status == 0
    return images(kept.folder / "t1")


def another_in_its_place(kept):
    one, two = on_tape(kept)
    one.rename(kept.folder / one.name)
    shutil.copy(two, one)


def taken_out_without_a_word(kept):
    one, _ = on_tape(kept)
    one.rename(kept.folder / one.name)


def brought_back(kept):
    (image,) = kept.folder.glob("*.tap")
    image.rename(kept.folder / "t1" / image.name)


def taken_to_a_shelf(kept):
    one, _ = on_tape(kept)
    assert kept("tape", "export", one.stem, "--location", "A-12").status == 0


def write_protected(kept):
    one, _ = on_tape(kept)
    settings(one, write_protected=True)
    kept.ingest({"more.txt": b"more"}, name="more")
    assert kept("replicate").status == 0


def failing_twice(kept):
    one, _ = on_tape(kept)
    kept.ingest({"more.txt": b"more"}, name="more")
    assert kept("replicate").status == 0
    ruin(one, FIRST_PACK)
    assert kept("audit").status == 0
    ruin(one, SECOND_PACK)


def lives(years, warned):
    def happen(kept):
        on_tape(kept)
        configured(kept, ("life_years = 10", f"life_years = {years}"), ("warn_days = 545", f"warn_days = {warned}"))

    return happen


def loaded_too_often(kept):
    one, _ = on_tape(kept)
    path = kept.path / "mocban.toml"
    path.write_text(f"{path.read_text()}\n[tape.kinds.{one.stem[-2:]}]\nloads = 1\n")


SITUATIONS = {
    Code.CARTRIDGE_DIFFERS: [Situation(directory_out_of_a_backup)],
    Code.CARTRIDGE_WRONG: [Situation(another_in_its_place, person=brought_back)],
    Code.CARTRIDGE_MISSING: [Situation(taken_out_without_a_word, person=brought_back)],
    Code.CARTRIDGE_OFFLINE: [Situation(taken_to_a_shelf, heals=False)],
    Code.CARTRIDGE_PROTECTED: [Situation(write_protected, heals=False)],
    Code.CARTRIDGE_FAILING: [Situation(failing_twice)],
    Code.CARTRIDGE_AGEING: [Situation(lives(2, 800), heals=False)],
    Code.CARTRIDGE_OVERDUE: [Situation(lives(1, 365), heals=False)],
    Code.CARTRIDGE_WORN: [Situation(loaded_too_often, heals=False)],
    Code.COPY_DAMAGED: [Situation(damaged)],
    Code.COPY_MISSING: [
        Situation(deleted),
        Situation(every_store_given_up, person=old_store_found, statuses=frozenset({0, 4}), has_store=False),
    ],
    Code.COPY_UNREADABLE: [Situation(away("d1"), person=back("d1"))],
    Code.READ_UNSTABLE: [Situation(one_wrong_read)],
    Code.ITEM_UNEXPECTED: [Situation(a_stranger)],
    Code.OBJECTS_LOST: [Situation(damaged_everywhere, look=("audit",), statuses=frozenset({3}), heals=False)],
    Code.SIDECAR_DAMAGED: [Situation(sidecar_deleted)],
    Code.EVIDENCE_DAMAGED: [Situation(readme_damaged)],
    Code.INDEX_MISSING: [Situation(no_index_anywhere, person=indexes_found)],
    Code.STORE_UNAVAILABLE: [Situation(away("d1"), person=back("d1"))],
    Code.UNDER_REPLICATED: [Situation(ingested_while_a_store_was_away)],
    Code.STORES_NOT_INDEPENDENT: [Situation(lambda _kept: None, heals=False)],
    Code.LEDGER_DAMAGED: [Situation(restored_from_an_old_backup)],
    Code.REPAIR_FAILED: [
        Situation(damaged_while_the_good_one_is_away, look=("audit",), person=back("d2"), has_store=False)
    ],
    Code.CATALOG_DIFFERS: [Situation(a_row_gone, has_store=False)],
    Code.GRADE_UNAVAILABLE: [
        Situation(lambda _kept: None, look=("audit", "--no-repair", "--grade", "provider"), heals=False)
    ],
    Code.GENERATION_CHANGED: [Situation(written_anew, look=("audit", "--no-repair", "--grade", "inventory"))],
    Code.VERIFICATION_LATE: [Situation(lambda _kept: None, look=("status",), days=80)],
    Code.VERIFICATION_OVERDUE: [Situation(lambda _kept: None, look=("status",), days=100)],
    Code.VERIFICATION_FORECAST: [
        Situation(read_too_slowly, look=("status",), statuses=frozenset({0, 3}), heals=False, days=2)
    ],
    Code.SCHEDULER_STOPPED: [Situation(lambda _kept: None, look=("status",), has_store=False, days=3)],
    Code.FORMATS_OUTDATED: [Situation(other_signatures, look=WATCH, has_store=False)],
    Code.FORMATS_DISAGREE: [Situation(two_tools_disagree, look=WATCH, has_store=False, heals=False)],
    Code.FORMAT_AT_RISK: [Situation(lambda _kept: None, look=WATCH, has_store=False, heals=False)],
    Code.FORMAT_RISK_GREW: [Situation(accepted_when_it_was_less, look=WATCH, has_store=False, heals=False)],
    Code.FORMAT_TOOL_LOST: [Situation(a_program_removed, look=WATCH, has_store=False, heals=False)],
}
CASES = [(one.days, code, number) for code, found in SITUATIONS.items() for number, one in enumerate(found)]


def found_by(kept, code, look):
    report = kept.json(*look)
    return [one for one in report["findings"] if one["code"] == code and not one["healed"]]


@pytest.mark.parametrize(
    ("kept", "code", "number"), CASES, ids=[f"{code}-{number}" for _, code, number in CASES], indirect=["kept"]
)
def test_the_next_command_of_a_finding_can_be_run_and_does_what_it_promises(kept, code, number):
    case = SITUATIONS[code][number]
    happened = case.happen(kept)
    with happened if hasattr(happened, "__enter__") else contextlib.nullcontext():
        found = found_by(kept, code, case.look)
    assert found, kept(*case.look).out
    finding = found[0]
    if code is not Code.UNDER_REPLICATED:
        assert case.has_store == bool(finding["store"]) or code in {Code.OBJECTS_LOST, Code.INDEX_MISSING}
    case.person(kept)

    assert finding["next"][0] == "mocban"
    said = kept(*finding["next"][1:])
    assert said.status in case.statuses, (finding["next"], said.out, said.err)
    if case.heals:
        assert finding["store"] not in [one["store"] for one in found_by(kept, code, case.look)]
        assert 0 == kept("audit").status


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_situation_that_was_run(code):
    assert SITUATIONS.get(code), f"make {code} happen and run its next command"


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_meaning_causes_and_a_next_command(code):
    assert MEANING[code]
    assert CAUSES[code]
    for finding in (Finding(code, "a store", "f" * 64), Finding(code)):
        command = next_command(finding)
        assert "mocban" == command[0]
        words = [word for word in command[1:] if not word.startswith("-")]
        assert " ".join(words[:2]) in ENTRIES or words[0] in ENTRIES
        assert not [word for word in command if "{" in word or not word]


def test_no_table_has_a_code_that_there_is_not():
    for table in (MEANING, CAUSES, NEXT, NEXT_WITHOUT_STORE):
        assert set(table) <= set(Code)


def test_names_in_a_command_are_one_word_each_and_no_option():
    command = next_command(Finding(Code.ITEM_UNEXPECTED, "--help 'and' $(more)"))
    assert "--store=--help 'and' $(more)" == command[-1]
    assert command == shlex.split(shlex.join(command))


def test_what_is_healed_needs_no_command():
    assert [] == next_command(Finding(Code.COPY_DAMAGED, "d1", "f" * 64, healed=True))


def test_the_text_shows_causes_once_and_the_command_under_each_finding(kept):
    kept.ingest({"c.txt": b"more"}, name="more")
    for pack in kept.packs("d1"):
        damage(pack, 2000)
    said = kept(*LOOK).out.splitlines()
    commands = [line for line in said if line.strip().startswith("next: mocban repair ")]
    assert sorted(f"  next: mocban repair {pack.stem}" for pack in kept.packs("d1")) == sorted(commands)
    assert 1 == len([line for line in said if "may come from: a dying disk" in line])


def test_a_finding_in_json_has_causes_and_the_command_as_a_list(kept):
    damage(kept.packs("d1")[0], 2000)
    (finding,) = found_by(kept, Code.COPY_DAMAGED, LOOK)
    assert ["mocban", "repair", finding["pack"]] == finding["next"]
    assert "a dying disk" in finding["causes"]
