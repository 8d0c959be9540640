"""The PREMIS documents of exports: their order of elements, what XML cannot hold, which events they tell, memory."""

import json
import os
import shutil
import subprocess
import tracemalloc
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from dissemination_support import (
    PACKAGE,
    check_premis,
    ingested,
    manifest_of,
    outgoing_of,
    repository_in,
    same_content,
    texts,
    version_of,
    write_tree,
)

from preservation.dissemination import export
from preservation.dissemination.destination import destination, unfinished
from preservation.dissemination.document import document, xml_text
from preservation.dissemination.files import write_files
from preservation.dissemination.history import concerning
from preservation.dissemination.premis import NAMESPACE, event
from preservation.dissemination.writing import Flushing
from preservation.identifiers import new_id
from preservation.ledger.errors import RecordError
from preservation.ledger.events import Event, EventType, Outcome, parse_record, record_bytes

PACK, OTHER_PACK = "ab" * 32, "cd" * 32
OTHER_PACKAGE = "01900000-0000-7000-8000-0000000000bb"
START = datetime(2026, 3, 1, tzinfo=UTC)


def exported(tmp_path, lines, contents):
    """Export a manifest made by hand as files; return the root of its PREMIS document."""
    target = destination(str(tmp_path / "out"), single=None, events_beside=True, repository=str(tmp_path / "r"))
    with unfinished(target):
        outgoing = outgoing_of(contents)
        write_files(version_of(lines), target, outgoing)
        outgoing.flushing.finish()
    root = check_premis(str(tmp_path / "out.premis.xml"))
    same_content(root, str(tmp_path / "out.premis.json"))
    return root


def ledger_of(*events):
    """The records of a ledger with these events."""
    for number, (kind, outcome, detail) in enumerate(events):
        time = START + timedelta(hours=number)
        said = Event(type=kind, outcome=outcome, fonds="f-1", detail=detail, agent=f"agent {number % 2}")
        yield record_bytes(said, number, new_id(time, lambda count: b"\x01" * count), time)


def good(kind, **detail):
    return kind, Outcome.SUCCESS, detail


def test_the_document_of_a_real_export_fits_the_schema_and_tells_what_happened(tmp_path):
    repository = repository_in(str(tmp_path))
    package = ingested(repository, write_tree(str(tmp_path / "source"), {b"a": b"1", "ấ.txt".encode(): b"2"})).package
    ingested(repository, write_tree(str(tmp_path / "other"), {b"b": b"other"}))
    export(repository, package, str(tmp_path / "first"))
    export(repository, package, str(tmp_path / "out"))
    root = check_premis(str(tmp_path / "out.premis.xml"))
    same_content(root, str(tmp_path / "out.premis.json"))
    assert texts(root, "originalName") == ["a", "ấ.txt", "Hồ sơ 1"]
    assert texts(root, "eventType") == [
        "session-opened",
        "pack-sealed",
        "replication",
        "replication",
        "ingestion",
        "dissemination",
    ]
    assert texts(root, "agentName") == ["tester"]
    assert len(texts(root, "contentLocationValue")) == 1
    details = [json.loads(text) for text in texts(root, "eventDetail")]
    ledger = [dict(record.event.detail) for record in repository.ledger.records()]
    assert all(detail in ledger for detail in details)


def test_every_digest_size_and_format_of_the_manifest_is_told(tmp_path):
    formats = [{"basis": "signature", "puid": "fmt/18", "signatures": "pronom v109", "tool": "fido 1.6.1"}]
    supplied = [{"algorithm": "md5", "value": "0cc175b9c0f1b6a831c399e269772661"}]
    more = {
        "formats": formats,
        "identification": "identified",
        "supplied": supplied,
        "warnings": ["several formats fit"],
    }
    root = exported(tmp_path, manifest_of({b"a": b"a"}, more=more), [b"a"])
    assert texts(root, "messageDigestAlgorithm") == ["BLAKE3", "SHA-256", "MD5"]
    assert texts(root, "messageDigestOriginator") == ["submission"]
    assert texts(root, "size") == ["1"]
    assert texts(root, "formatRegistryName") == ["PRONOM"]
    assert texts(root, "formatRegistryKey") == ["fmt/18"]
    assert texts(root, "formatNote") == ["by signature, fido 1.6.1, pronom v109"]


def test_what_xml_cannot_hold_is_replaced_and_given_exactly_beside(tmp_path):
    files = {b"odd\xff": b"1", "a\ufffeb".encode(): b"2", b"a&<b>\"'": b"3", b"]]>": b"4"}
    root = exported(tmp_path, manifest_of(files, title="nul\0 bell\x07 \ud7ff & <b>"), files.values())
    assert set(texts(root, "originalName")) == {
        "odd\\xff",
        "a\ufffdb",
        "a&<b>\"'",
        "]]>",
        "nul\ufffd bell\ufffd \ud7ff & <b>",
    }
    exact = [one.text for one in root.iter("{tag:mocban,2026:premis}pathBase64")]
    assert sorted(exact) == ["Ye+/vmI=", "b2Rk/w=="]


def test_line_ends_and_tabs_survive_an_xml_reader():
    text = "a\r\nb\rc\td\n"
    assert ET.fromstring(xml_text("x", {"@y": text, "#text": text})).text == text
    assert ET.fromstring(xml_text("x", {"@y": text})).get("y") == text


def test_a_document_without_events_is_whole(tmp_path):
    root = exported(tmp_path, manifest_of({}), [])
    assert texts(root, "objectIdentifierValue") == [f"{PACKAGE}/v1"]


@pytest.mark.skipif(shutil.which("xmllint") is None, reason="xmllint is not installed")
def test_xmllint_finds_it_well_formed(tmp_path):
    exported(tmp_path, manifest_of({b"a": b"1"}), [b"1"])
    judge = ["xmllint", "--noout", "--nonet", str(tmp_path / "out.premis.xml")]
    assert "" == subprocess.run(judge, capture_output=True, text=True, check=True).stderr
    root = ["xmllint", "--nonet", "--xpath", "concat('{', namespace-uri(/*), '}', local-name(/*))", judge[-1]]
    assert f"{{{NAMESPACE}}}premis" == subprocess.run(root, capture_output=True, text=True, check=True).stdout.strip()


class TestHistory:
    def chosen(self, *events, versions=(1,), packs=(PACK,)):
        return [
            (record.seq, checks)
            for record, checks in concerning(ledger_of(*events), PACKAGE, set(versions), set(packs))
        ]

    def test_events_of_the_package_and_of_its_packs_are_told_and_no_others(self):
        found = self.chosen(
            good(EventType.STORE_ADDED, store=OTHER_PACKAGE),
            good(EventType.SESSION_OPENED, package=PACKAGE, version=1),
            good(EventType.PACK_SEALED, pack=PACK, package=PACKAGE, version=1),
            good(EventType.PACK_SEALED, pack=OTHER_PACK, package=OTHER_PACKAGE, version=1),
            good(EventType.INGESTION, package=PACKAGE, version=1, packs=[PACK]),
            good(EventType.INGESTION, package=PACKAGE, version=2, packs=[OTHER_PACK], references=[PACK]),
            good(EventType.INGESTION, package=OTHER_PACKAGE, version=1, references=[PACK]),
            good(EventType.METADATA_MODIFICATION, package=PACKAGE),
        )
        assert found == [(1, 0), (2, 0), (4, 0), (7, 0)]

    def test_of_good_fixity_checks_the_last_of_each_copy_stands_for_all(self):
        checks = [
            good(EventType.FIXITY_CHECK, pack=PACK, store=store, verdict="verified")
            for store in ("one", "two", "one", "one")
        ]
        bad = (EventType.FIXITY_CHECK, Outcome.FAILURE, {"pack": PACK, "store": "one", "verdict": "damaged"})
        repair = good(EventType.REPAIR, pack=PACK, store="one")
        assert self.chosen(*checks[:3], bad, repair, checks[3]) == [(3, 0), (4, 0), (1, 1), (5, 3)]

    def test_an_identifier_inside_other_text_does_not_count(self):
        assert self.chosen(good(EventType.PACKING, store=f"x{PACKAGE}", note=f"{PACK}0")) == []

    def test_damage_in_the_ledger_is_not_passed_over(self):
        with pytest.raises(RecordError):
            list(concerning([b'{"pack":"%s"' % PACK.encode()], PACKAGE, {1}, {PACK}))


def test_an_event_links_the_version_and_the_pack_that_it_is_about(tmp_path):
    record = parse_record(next(ledger_of(good(EventType.REPLICATION, pack=PACK, store="one"))))
    said = event(record, [version_of([])], 3)
    links = [
        (one["linkingObjectIdentifierType"], one["linkingObjectIdentifierValue"])
        for one in said["linkingObjectIdentifier"]
    ]
    assert links == [("mocban pack", f"blake3:{PACK}"), ("mocban package version", f"{PACKAGE}/v1")]
    assert said["eventDetailInformation"]["eventDetailExtension"]["mocban:ledger"]["mocban:checks"] == 3
    flushing = Flushing()
    paths = [os.fsencode(tmp_path / name) for name in ("a.xml", "a.json")]
    with document(*paths, flushing) as (premis, _, _):
        premis.finish([(version_of([]), "title")], [(record, 3)])
    flushing.finish()
    root = check_premis(str(tmp_path / "a.xml"))
    same_content(root, str(tmp_path / "a.json"))
    assert texts(root, "agentName") == ["agent 0"]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    peaks = []
    for count in (200, 2_000):
        place = tmp_path / str(count)
        place.mkdir()
        files = {b"folder/%06d" % number: b"same" for number in range(count)}
        lines = manifest_of(files)
        target = destination(str(place / "out"), single=None, events_beside=True, repository=str(tmp_path / "r"))
        with unfinished(target):
            outgoing = outgoing_of([b"same"])
            tracemalloc.start()
            write_files(version_of(lines), target, outgoing)
            outgoing.flushing.finish()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
