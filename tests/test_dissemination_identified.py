"""What PREMIS says of formats told later: the newest answer, the ones before, their events, and nobody else's."""

import json
import shutil
import subprocess

import pytest
from dissemination_support import check_premis, same_content, texts
from repository_support import made
from test_reidentification import again, first
from test_second_opinion import asked

from preservation.affected import Target
from preservation.dissemination import export
from preservation.ledger.events import EventType
from preservation.reviewing import decide, waiting

LOCAL = "{tag:mocban,2026:premis}"


@pytest.fixture
def place(tmp_path):
    return made(tmp_path)


def exported(place, package, name="out", **more):
    """Export a package; return what was exported, the PREMIS document's root, and its files by their names."""
    out = place.folder / name
    done = export(place.open(), package, str(out), **more)
    path = out.with_name(f"{name}.premis.xml")
    if not path.exists():
        (path,) = out.rglob("*premis.xml")
    root = check_premis(str(path))
    same_content(root, str(path.with_suffix(".json")))
    if shutil.which("xmllint") is not None:
        judged = subprocess.run(["xmllint", "--noout", "--nonet", path], capture_output=True, text=True, check=False)
        assert (0, "") == (judged.returncode, judged.stderr)
    files = {texts(one, "originalName")[0]: one for one in root if texts(one, "size")}
    return done, root, files


def events_of(place, *kinds):
    return [record for record in place.open().ledger.records() if record.event.type in kinds]


def linked(element):
    return texts(element, "linkingEventIdentifierValue")


def said(element):
    return texts(element, "formatRegistryKey"), texts(element, "formatNote")


def earlier(element):
    return [[part.text for part in one] for one in element.iter(f"{LOCAL}earlier")]


@pytest.mark.parametrize("form", ["files", "bagit", "ocfl"])
def test_the_newest_identification_is_told_with_its_event_and_the_answer_before(form, place):
    package = first(place).package
    again(place)
    _, root, files = exported(place, package, form=form)
    batches = [record.event_id for record in events_of(place, EventType.FORMAT_IDENTIFICATION)]
    old = files["a/old.bin"]
    assert (["fmt/11"], ["by signature, tool 1, signatures 2"]) == said(old)
    assert {"PRONOM"} == set(texts(root, "formatRegistryName"))
    assert [["fmt/1 by signature, tool 1, signatures 1"]] == earlier(old)
    named = {one for file in files.values() for one in linked(file)}
    assert 1 == len(linked(old))
    assert named == set(batches) & set(texts(root, "eventIdentifierValue"))
    nobody = files["b/nobody.xyz"]
    assert (["fmt/1756"], ["by signature, tool 1, signatures 2"]) == said(nobody)
    assert [["unidentified"]] == earlier(nobody)


def test_what_nothing_else_was_found_of_is_told_as_before(place):
    package = first(place).package
    _, _, before = exported(place, package, "before")
    again(place)
    _, _, files = exported(place, package)
    for name in ("a/same.bin", "b/hang.bin"):
        assert said(before[name]) == said(files[name])
        assert [] == linked(files[name])
        assert [] == earlier(files[name])
    assert [] == [one for file in before.values() for one in (*linked(file), *earlier(file))]


def test_each_event_on_the_way_is_told_and_none_that_is_about_other_packages(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    again(place)
    other = first(place, {"b.bin": b"NOBODY KNOWS"}, name="other").package
    again(place, {"OLD": "fmt/111", "NOBODY": "fmt/3"}, target=Target("c" * 64, "signatures 3"))
    again(place, {"OLD": "fmt/111", "NOBODY": "fmt/4"}, target=Target("d" * 64, "signatures 4"))
    _, root, files = exported(place, package)
    every = [record.event_id for record in events_of(place, EventType.FORMAT_IDENTIFICATION)]
    assert linked(files["a.bin"]) == [one for one in every if one in texts(root, "eventIdentifierValue")]
    assert 2 == len(linked(files["a.bin"]))
    assert ["fmt/111"] == said(files["a.bin"])[0]
    assert [["fmt/1 by signature, tool 1, signatures 1"], ["fmt/11 by signature, tool 1, signatures 2"]] == earlier(
        files["a.bin"]
    )
    _, root, files = exported(place, other, "third")
    assert 2 == len(linked(files["b.bin"]))
    assert set(linked(files["b.bin"])) <= set(texts(root, "eventIdentifierValue"))
    assert not [one for one in texts(root, "linkingObjectIdentifierValue") if one.startswith(package)]


def test_an_older_version_has_the_newest_formats_too(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    first(place, {"b.bin": b"SAME"}, name="more", package=package, mode="add", fonds_code="")
    again(place)
    for version in (1, 2):
        _, _, files = exported(place, package, f"v{version}", version=version)
        assert ["fmt/11"] == said(files["a.bin"])[0]


def test_that_two_tools_disagree_is_told_until_somebody_has_decided(place):
    asked(place)
    with place.open().reading() as view:
        (one,) = waiting(place.open(), view)
    _, _, files = exported(place, one.package, "first")
    formats, notes = said(files["a.bin"])
    assert ["fmt/11"] == formats
    assert [f"not decided: {one.second_tool} says fmt/77"] == notes[1:]
    assert 1 == len(linked(files["a.bin"]))

    decide(place.open(), one.blake3, "fmt/77", "examined")
    _, root, files = exported(place, one.package, "second")
    formats, notes = said(files["a.bin"])
    assert ["fmt/77"] == formats
    assert [] == [note for note in notes if "not decided" in note]
    decision = events_of(place, EventType.FORMAT_IDENTIFICATION)[-1]
    assert decision.event_id == linked(files["a.bin"])[-1]
    details = [json.loads(text) for text in texts(root, "eventDetail")]
    assert "examined" in [detail.get("reason") for detail in details]


def test_an_export_is_made_though_what_was_found_later_is_lost_and_says_so(place):
    package = first(place, {"a.bin": b"OLD one"}).package
    again(place)
    for path in (place.folder / "repo" / "ledger" / "parts").glob("*.parquet"):
        path.unlink()
    done, _, files = exported(place, package)
    assert [("formats-unread", package)] == [(one.code, one.path) for one in done.remarks]
    formats, notes = said(files["a.bin"])
    assert ["fmt/1"] == formats
    assert ["by signature, tool 1, signatures 1", "what was found later could not be read"] == notes
    assert b"OLD one" == (place.folder / "out" / "a.bin").read_bytes()
