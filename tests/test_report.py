"""Reports: what a page says is what is so, what is not known is called so, and nothing in it can do harm."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cli_support import snapshot
from kept_support import brought_back
from ledger_support import append
from report_support import Page, english, made, vietnamese
from repository_support import FONDS, audit, configure, pack_rows, submit_files
from repository_support import made as repository

from audits.reports import Language, write
from audits.reports.figures import Period
from audits.reports.history import parts_of
from audits.reports.language import LanguageError
from audits.reports.pdf import PdfMissingError
from audits.reports.writing import ReportPathError, ReportPeriodError
from preservation import attachment, fonds
from preservation.formats.names import names_of
from preservation.ledger.events import EventType
from preservation.manifest import FileLine

FILES = {"a.txt": b"first", "thư mục/tờ trình.txt": "Kính gửi".encode(), "lớn.bin": bytes(300_000)}
HOSTILE = "<script>alert(1)</script>\u202e=cmd()\x1b[31m"


@pytest.fixture
def place(tmp_path_factory):
    return brought_back(repository, tmp_path_factory)


def with_files(folder):
    place = repository(folder)
    submit_files(place, FILES)
    return place


@pytest.fixture
def kept(tmp_path_factory):
    return brought_back(with_files, tmp_path_factory)


def pack_path(place, store="a"):
    (path,) = (place.store(store) / "packs").rglob("*.tar")
    return path


def harm(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


# ---- the verdict ---------------------------------------------------------------------------------------------------


def test_of_an_empty_repository_nothing_is_claimed(place):
    report = made(place)
    assert ("empty", "nothing") == (report.written.verdict.code, str(report.written.verdict.weight))
    said = report.page.said
    assert "Nothing is kept here yet, so there is nothing to judge." in said
    assert "found right" not in said
    assert all(int(line["area_shown"]) == 0 for line in report.table("levels"))


def test_a_repository_without_stores_gets_a_report_that_says_so(tmp_path):
    report = made(repository(tmp_path, store_names=()))
    assert report.written.verdict.code == "no-store"
    assert "There is no store: nothing can be kept." in report.page.said


def test_a_copy_that_was_only_written_is_not_called_verified(kept):
    report = made(kept)
    assert report.written.verdict.code == "never"
    assert report.written.verdict.values == {"count": 2, "copies": 2}
    assert [("never", "1"), ("never", "1")] == [(one["evidence"], one["copies"]) for one in report.table("ages")]


def test_after_an_audit_every_copy_is_proven(kept):
    audit(kept)
    report = made(kept)
    assert (report.written.verdict.code, report.written.matters) == ("proven", [])
    assert "Every copy was read in full within the last 90 days and found right: 2 of 2" in report.page.said
    deep = sum(int(one["copies"]) for one in report.table("ages") if one["reach"] == "medium")
    assert ("surely from the medium" in report.page.said) == (deep < 2)
    assert {"bytes"} == {one["evidence"] for one in report.table("ages")}


def test_damage_that_is_open_is_what_the_page_begins_with(kept):
    audit(kept)
    harm(pack_path(kept))
    audit(kept, repair=False)
    report = made(kept)
    assert ("damage", "bad") == (report.written.verdict.code, str(report.written.verdict.weight))
    assert {"short", "damage"} <= {one.code for one in report.written.matters}
    (line,) = report.table("failures")
    assert ("damaged", pack_rows(kept)[0].pack) == (line["verdict"], line["pack"])
    assert "mocban repair" in report.page.said
    shown = {one["area"]: one["area_shown"] for one in report.table("levels")}
    assert shown["integrity"] == "0"


def test_what_was_repaired_is_told_and_not_held_against_the_copies(kept):
    harm(pack_path(kept))
    audit(kept)
    report = made(kept)
    assert report.written.verdict.code == "proven"
    assert (1, 1) == (report.report.history.failure_count, report.report.history.repair_count)
    assert len(report.table("repairs")) == 1


def test_records_that_are_lost_come_before_everything_else(kept):
    for store in "ab":
        harm(pack_path(kept, store))
    audit(kept)
    report = made(kept)
    assert report.written.verdict.code == "lost"
    assert report.report.holdings.lost == 1
    lost = report.report.holdings.lost_sample[0]
    assert f"blake3:{lost}" in report.page.said


def test_copies_that_were_verified_too_long_ago_are_late(kept):
    audit(kept)
    kept.clock.pass_by(days=91)
    report = made(kept)
    assert ("late", {"count": 2, "copies": 2}) == (
        report.written.verdict.code,
        report.written.verdict.values,
    )
    (first, _) = report.table("ages")
    assert (float(first["median_days"]), first["late"]) == (91.0, "1")


def test_a_store_that_cannot_be_looked_at_is_not_fine(kept):
    audit(kept)
    kept.store("b").rename(kept.folder / "away")
    report = made(kept)
    assert report.written.verdict.code == "away"
    assert "could not be looked at" in report.page.said
    assert report.report.spreads[0].effective <= 1


def test_a_ledger_whose_tree_is_not_the_signed_one_is_told(kept):
    audit(kept)
    ledger = kept.open(read_only=True).ledger
    note = Path(ledger.path) / "checkpoints" / f"{ledger.size:012d}.note"
    lines = note.read_text().splitlines()
    lines[2] = "A" * 43 + "="
    note.write_text("\n".join(lines) + "\n")
    assert "ledger" in {one.code for one in made(kept).written.matters}


# ---- the page ------------------------------------------------------------------------------------------------------


def test_the_page_fetches_nothing_and_runs_nothing(kept):
    page = made(kept).page
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "a", "base", "audio", "video"} & set(
        page.tags
    )
    assert not [
        one for one in page.attributes if one[1].startswith("on") or one[1] in {"src", "href", "xlink:href", "srcset"}
    ]
    assert "@import" not in page.text
    assert not [part for part in page.text.split("url(")[1:] if not part.startswith("#")]
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'")


def test_hostile_names_stay_names(place):
    fonds.open_fonds(place.open(), "=HYPERLINK(1)", HOSTILE)
    fonds.open_fonds(place.open(), "<b>&\"'", "@SUM(1+1)*cmd|' /C calc'!A0")
    attachment.add(place.open(), "-2+3", place.url("c"), site="<img/src=x>", vendor="=1+1")
    submit_files(place, FILES)
    report = made(place)
    page = report.page
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not {"\u202e", "\x1b"} & set(page.text)
    assert "<script>alert(1)</script>\\u202e=cmd()\\x1b[31m" in page.said
    raw = b"".join((Path(report.written.folder) / name).read_bytes() for name in report.written.files if ".csv" in name)
    assert b"\x1b" not in raw
    assert "\u202e".encode() not in raw
    cells = [cell for name in ("fonds", "stores", "copies") for line in report.table(name) for cell in line.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=HYPERLINK(1)" in cells
    assert HOSTILE in {one["title"] for one in report.parquet("fonds")}


def test_the_checkpoint_stands_in_the_page_as_it_was_signed(kept):
    audit(kept)
    report = made(kept)
    ledger = kept.open(read_only=True).ledger
    note = ledger.checkpoint(ledger.checkpoint_sizes()[-1]).note.encoded().decode()
    text = report.page.text
    shown = text.partition("<pre>")[2].partition("</pre>")[0]
    assert note.strip() == shown.replace("&amp;", "&").replace("&#x27;", "'").strip()
    root = report.report.ledger.checkpoint_root.hex()
    assert f"{root[:4]} {root[4:8]}" in report.page.said


def test_every_table_of_the_page_lies_beside_it_twice(kept):
    report = made(kept)
    names = {name.rpartition(".")[0] for name in report.written.files}
    assert {f"{name}{kind}" for name in names for kind in (".csv", ".parquet")} == set(
        os.listdir(report.written.folder)
    )
    for name in names:
        csv, rows = report.table(name), report.parquet(name)
        assert len(csv) == len(rows), name
        for line, row in zip(csv, rows, strict=True):
            assert list(line) == list(row), name


def test_a_page_in_vietnamese_is_vietnamese_and_writes_numbers_so(kept):
    language = vietnamese()
    moment = datetime(2026, 11, 2, 20, 5, tzinfo=UTC)
    assert ("1.234.567", "1.234,5", "03/11/2026") == (
        language.number(1234567),
        language.decimal(1234.5),
        language.date(moment),
    )
    assert "03/11/2026, 03:05 +07:00" == language.moment(moment)
    assert ("1,234,567", "3 Nov 2026") == (english().number(1234567), english().date(moment))
    page = made(kept, language=language).page
    assert ("html", "lang", "vi") in page.attributes
    assert "2 trên 2" in page.said or "{" not in page.said


def test_no_text_of_a_page_has_a_field_that_was_not_filled(kept):
    audit(kept)
    for language in (english(), vietnamese()):
        assert "{" not in made(kept, language=language).page.said


def test_a_share_is_never_rounded_up_to_all():
    language = english()
    assert "99.9 %" == language.percent(999_999, 1_000_000)
    assert "100 %" == language.percent(5, 5)
    assert "< 0.1 %" == language.percent(1, 1_000_000)
    assert "0.0 %" == language.percent(0, 5)


def test_another_language_is_refused():
    with pytest.raises(LanguageError):
        Language("fr", str)


# ---- the period ----------------------------------------------------------------------------------------------------


def test_only_events_of_the_period_are_counted(kept):
    audit(kept)
    first = kept.clock.now
    kept.clock.pass_by(days=40)
    audit(kept)
    second = kept.clock.now
    kept.clock.pass_by(days=40)
    audit(kept)
    everything = made(kept, start=first - timedelta(days=400))
    assert (3, 6) == (everything.report.history.run_count, sum(everything.report.history.checks.values()))
    middle = made(kept, start=first, end=second)
    assert (1, 2) == (middle.report.history.run_count, sum(middle.report.history.checks.values()))
    assert "is not known: only the present is" in middle.page.said
    assert len(middle.table("runs")) == 1


def test_sealed_segments_outside_the_period_are_not_opened(kept):
    audit(kept)
    repository = kept.open()
    with repository.ledger.writing(5) as writer:
        writer.seal_if_due(force=True)
        writer.drop_sealed()
    boundary = kept.clock.now
    kept.clock.pass_by(days=10)
    audit(kept)
    ledger = kept.open().ledger
    assert made(kept, start=boundary).report.history.run_count == 1
    assert made(kept, start=boundary - timedelta(days=100)).report.history.run_count == 2
    assert made(kept).report.ledger.kinds[EventType.AUDIT_RUN_CLOSED] == 2
    assert sum(made(kept).report.ledger.kinds.values()) == ledger.size


def test_a_period_that_ends_before_it_begins_is_an_error(kept):
    now = kept.clock.now
    with pytest.raises(ReportPeriodError):
        made(kept, start=now, end=now - timedelta(days=1))


@pytest.mark.parametrize("days", [1, 20, 100, 365, 900, 5000])
def test_the_parts_of_a_period_cover_it_without_a_gap(days):
    start = datetime(2024, 2, 28, 13, 5, tzinfo=UTC)
    period = Period(start, start + timedelta(days=days), start + timedelta(days=days))
    parts = list(parts_of(period, english().local))
    assert (parts[0][0], parts[-1][1]) == (period.start, period.end)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    assert len(parts) <= 60


def test_a_run_whose_sum_does_not_close_stands_out(kept):
    counts = {"expected": 5, "verified": 3, "damaged": 0, "missing": 0, "unreadable": 0, "skipped": 1}
    kept.open().record([kept.open().event(EventType.AUDIT_RUN_CLOSED, run="r", **counts)])
    report = made(kept)
    assert "coverage" in {one.code for one in report.written.matters}
    assert "THE SUM DOES NOT CLOSE" in report.page.said
    assert "False" == report.table("runs")[0]["sum_closes"]


# ---- formats -------------------------------------------------------------------------------------------------------


def test_files_are_counted_by_format_and_the_sum_is_all_of_them(kept):
    submit_files(kept, {"x": b"1", "y": b"2"}, name="second")
    report = made(kept)
    assert {"off": (5, sum(map(len, FILES.values())) + 2)} == report.report.formats.formats
    assert report.report.holdings.files == 5
    assert "not looked at" in report.page.said


def test_what_was_counted_is_kept_only_by_leave_and_not_counted_again(kept, monkeypatch):
    cache = kept.folder / "repo" / "cache" / "formats.jsonl"
    first = made(kept)
    assert not cache.parent.exists()
    assert first.report.formats == made(kept, remember=True).report.formats
    monkeypatch.setattr("audits.reports.formats.manifest", lambda *_: pytest.fail("read again"))
    assert first.report.formats == made(kept).report.formats
    monkeypatch.undo()
    submit_files(kept, {"x": b"1"}, name="second")
    assert made(kept, remember=True).report.formats.formats["off"][0] == 4
    assert 2 == len(cache.read_text().splitlines())


def test_a_cache_that_was_changed_is_not_believed(kept):
    right = made(kept, remember=True).report.formats
    cache = kept.folder / "repo" / "cache" / "formats.jsonl"
    for harmed in (cache.read_text().replace("[3,", "[9,"), "\x00\xff", "00000000 {}\n", cache.read_text()[:20]):
        cache.write_text(harmed)
        assert made(kept).report.formats == right


def test_manifests_that_cannot_be_read_are_called_not_known(kept):
    for store in "ab":
        kept.store(store).rename(kept.folder / f"away-{store}")
    report = made(kept)
    assert (1, 3) == (report.report.formats.unread_packages, report.report.formats.unread_files)
    assert "not known" in report.page.said


def test_a_format_is_called_what_pronom_calls_it():
    assert {"fmt/276": "Acrobat PDF 1.7 - Portable Document Format"} == names_of(["fmt/276", "fmt/0"])
    assert "Word" in names_of(["fmt/412"])["fmt/412"]
    assert "2007 onwards" in names_of(["fmt/412"])["fmt/412"]


def test_an_identified_file_counts_for_its_format(kept, monkeypatch):
    def matches(*puids):
        return [{"basis": "signature", "puid": puid, "signatures": "s", "tool": "t"} for puid in puids]

    line = {"formats": matches("fmt/95"), "identification": "identified"}
    lines = [
        {},
        FileLine(b"a", "", "", 7, line),
        FileLine(b"b", "", "", 1, {"formats": [], "identification": "failed"}),
    ]
    lines.append(FileLine(b"c", "", "", 2, {"formats": matches("fmt/1", "fmt/2"), "identification": "identified"}))
    monkeypatch.setattr("audits.reports.formats.manifest", lambda *_: iter(lines))
    assert {"fmt/95": (1, 7), "failed": (1, 1), "several": (1, 2)} == made(kept).report.formats.formats


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_report_changes_nothing_in_the_repository(kept):
    before = snapshot(kept.folder / "repo", kept.store("a"), kept.store("b"))
    made(kept)
    assert before == snapshot(kept.folder / "repo", kept.store("a"), kept.store("b"))


def test_a_name_that_is_neither_page_nor_pdf_is_refused(kept):
    with pytest.raises(ReportPathError):
        made(kept, kept.folder / "report.txt")
    assert not (kept.folder / "report.txt.tables").exists()


def test_an_earlier_report_stays_until_the_new_one_is_whole(kept, monkeypatch):
    first = made(kept)
    text = Path(first.written.path).read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audits.reports.writing.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        made(kept)
    assert Path(first.written.path).read_text() == text
    assert not [name for name in os.listdir(kept.folder) if name.endswith(".new")]


def test_a_pdf_without_its_extra_says_which_extra(kept, monkeypatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(PdfMissingError, match="report"):
        made(kept, kept.folder / "report.pdf")
    assert not (kept.folder / "report.pdf").exists()


def test_a_pdf_is_a_pdf_with_the_same_words(kept):
    audit(kept)
    path = kept.folder / "report.pdf"
    made(kept, path)
    assert path.read_bytes().startswith(b"%PDF-")
    if shutil.which("pdftotext"):
        said = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True).stdout
        assert "Integrity report" in said
        assert "2 of 2" in " ".join(said.split())
        assert said.count("\f") <= 8


def test_a_long_ledger_is_counted_whole_although_it_was_sealed_in_parts(kept):
    for _ in range(2):
        ledger = kept.open().ledger
        append(ledger, 500)
        with ledger.writing(5) as writer:
            writer.seal_if_due(force=True)
            writer.drop_sealed()
    report = made(kept).report
    assert report.history.kinds[EventType.FIXITY_CHECK] == 1000
    assert report.history.events == report.ledger.size == sum(report.ledger.kinds.values())


def test_pages_are_well_formed_in_every_state(kept):
    configure(kept, "independent = false", "independent = true")
    for step in (lambda: None, lambda: audit(kept), lambda: harm(pack_path(kept)), lambda: audit(kept, repair=False)):
        step()
        for language in (english(), vietnamese()):
            assert isinstance(made(kept, language=language).page, Page)


def test_the_writing_verb_is_what_the_package_offers(kept):
    done = write(kept.open(), str(kept.folder / "x.html"), english())
    assert (kept.folder / "repo" / "cache" / "formats.jsonl").exists()
    assert done.path.endswith("x.html")
    assert FONDS in (kept.folder / "x.html").read_text()
