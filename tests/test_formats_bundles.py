"""Signature bundles: what they are made of, what they are called, and how a repository comes to use one."""

import json
import os
import shutil
import zlib
from pathlib import Path

import pytest
from cli_support import FONDS, mocban
from formats_support import (
    CONTAINERS,
    DROID,
    PDF,
    corpora,
    docx,
    files_of,
    newer_bundle,
    png,
    shared_bundle,
    small_release,
)

from preservation.fixity import blake3_hex
from preservation.formats.bundles import BadBundleError, SignatureBundle, bundle_id, bundle_of_files, input_of
from preservation.formats.difference import difference
from preservation.formats.droid import BadSignatureFileError, document_for_fido
from preservation.formats.engine import (
    build_engine,
    formats_of,
    identify,
    native_match,
    ready_bundle,
    real_fido,
    shipped_id,
)
from preservation.formats.identification import ENDS, Sample
from preservation.formats.index import match_signatures
from preservation.formats.judging import Judgement, NoSuiteError, judge, suite_files


def made(folder, **how):
    return bundle_of_files(*small_release(folder, **how), tool="fido 1.6.1")


@pytest.fixture
def archive(tmp_path):
    place = tmp_path / "archive"
    assert mocban("init", place).status == 0
    for name in ("d1", "d2"):
        store = ("store", "add", name, f"file://{tmp_path / name}", "--site", name)
        assert mocban("-C", place, *store).status == 0
    assert mocban("-C", place, "fonds", "add", FONDS).status == 0
    return place


def formats(place, *arguments):
    return mocban("-C", place, "formats", *arguments)


def skeletons(folder, *files):
    folder.mkdir(exist_ok=True)
    for name, content in files:
        (folder / name).write_bytes(content)
    return folder


SUITE = (
    ("fmt-18-signature-id-1.pdf", PDF),
    ("fmt-11-signature-id-4.png", png()),
    ("fmt-412-container-signature-id-1.docx", docx()),
)


def test_a_bundle_is_named_by_its_inputs_and_its_converter_and_nothing_else(tmp_path):
    first, again = made(tmp_path / "a"), made(tmp_path / "b")
    assert first.id == again.id
    assert len(first.id) == 64
    assert first.to_bytes() == again.to_bytes()
    assert made(tmp_path / "c", version=2).id != first.id
    assert bundle_id(first.inputs, "another") != first.id
    assert first.label == f"pronom v1, container 20260101, bundle {first.id[:16]}"
    assert (len(first.formats), first.signatures) == (6, 4)


def test_the_shipped_bundle_has_everything_of_fido_and_its_name_is_known_without_building_it():
    bundle = shared_bundle()
    assert bundle.id == shipped_id()
    assert (len(bundle.formats), bundle.tool) == (2257, "fido 1.6.1")
    assert {one.role for one in bundle.inputs} == {"formats", "extensions", "containers"}


def test_the_bundle_that_was_built_beforehand_is_the_one_that_would_be_built_now():
    assert ready_bundle() == shared_bundle().to_bytes()


@pytest.mark.parametrize("said", [b'"id":"', b'"tool":"fido '])
def test_a_bundle_that_was_built_beforehand_for_another_fido_is_not_used(tmp_path, said):
    place = tmp_path / "other"
    place.write_bytes(zlib.compress(ready_bundle().replace(said, said + b"x")))
    assert ready_bundle(str(place)) == b""


def test_a_bundle_built_beforehand_that_is_damaged_or_absent_is_not_used(tmp_path):
    place = tmp_path / "other"
    assert ready_bundle(str(place)) == b""
    place.write_bytes(zlib.compress(ready_bundle())[:-100])
    assert ready_bundle(str(place)) == b""


def test_a_bundle_is_the_same_after_it_was_kept():
    content = shared_bundle().to_bytes()
    again = SignatureBundle.from_bytes(content)
    assert again.to_bytes() == content
    assert build_engine(again).index.checks[7].patterns == build_engine(shared_bundle()).index.checks[7].patterns


@pytest.mark.parametrize(
    "change",
    [
        lambda value: {**value, "inputs": [["droid", 1, "0" * 64]]},
        lambda value: {**value, "form": 2},
        lambda value: {**value, "formats": [["fmt/1"]]},
        lambda value: {key: one for key, one in value.items() if key != "tool"},
        lambda value: [value],
    ],
)
def test_what_is_no_bundle_or_another_one_is_refused(tmp_path, change):
    value = json.loads(made(tmp_path).to_bytes())
    with pytest.raises(BadBundleError):
        SignatureBundle.from_bytes(json.dumps(change(value)).encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<FFSignatureFile",
        "<other/>",
        DROID.format(version="x", signatures="", formats=""),
        DROID.format(version="1", signatures="", formats=""),
        DROID.format(version="1", signatures="", formats='<FileFormat ID="1" PUID="../1"/>'),
        DROID.format(version="1", signatures="", formats='<FileFormat ID="1" PUID="fmt/1"/>' * 2),
        DROID.format(
            version="1", signatures='<InternalSignature ID="1"/>', formats='<FileFormat ID="1" PUID="fmt/1"/>'
        ),
        '<!DOCTYPE a [<!ENTITY b "c">]>' + DROID.format(version="1", signatures="", formats=""),
        DROID.format(
            version="1",
            signatures='<InternalSignature ID="1"><ByteSequence><SubSequence><Sequence>4z</Sequence></SubSequence>'
            "</ByteSequence></InternalSignature>",
            formats='<FileFormat ID="1" PUID="fmt/1"/>',
        ),
        DROID.format(
            version="1",
            signatures="",
            formats='<FileFormat ID="1" PUID="fmt/1"><InternalSignatureID>9</InternalSignatureID></FileFormat>',
        ),
    ],
)
def test_a_signature_file_that_is_not_understood_in_full_is_refused(tmp_path, text):
    _, containers = small_release(tmp_path)
    (tmp_path / "bad.xml").write_text(text)
    with pytest.raises(BadSignatureFileError, match=r"bad\.xml"):
        bundle_of_files(str(tmp_path / "bad.xml"), containers, tool="")


@pytest.mark.parametrize(
    "text", ["", "<other/>", CONTAINERS.replace("ZIP", "RAR"), CONTAINERS.replace("fmt/412", "?"), "\0"]
)
def test_a_container_file_that_is_not_understood_is_refused(tmp_path, text):
    droid, containers = small_release(tmp_path)
    Path(containers).write_text(text)
    with pytest.raises(BadSignatureFileError, match="container"):
        bundle_of_files(droid, containers, tool="")
    with pytest.raises(BadSignatureFileError, match="No such file"):
        bundle_of_files(droid, str(tmp_path / "none.xml"), tool="")


def test_what_differs_between_two_bundles_is_told(tmp_path):
    old, new = made(tmp_path / "old", with_png=False), made(tmp_path / "new")
    found = difference(old, new)
    assert (found.added, found.removed, found.extensions) == (("fmt/11",), (), ("png",))
    assert found.changed == {}
    assert difference(new, old).removed == ("fmt/11",)
    much = difference(old, shared_bundle())
    assert much.changed["fmt/18"] == ("signatures", "priorities")
    assert much.changed["fmt/412"][0] == "members of containers"
    assert {"fmt/11", "fmt/412", "fmt/18"} <= much.puids


def test_a_suite_is_judged_by_the_names_of_its_files(tmp_path):
    folder = skeletons(tmp_path / "suite", *SUITE, ("fmt-19-signature-id-9.pdf", PDF), ("readme.txt", b"x"))
    assert [one.puid for one in suite_files(str(folder))] == ["fmt/11", "fmt/18", "fmt/19", "fmt/412"]
    found = judge(str(folder), made(tmp_path / "release").to_bytes())
    assert (found.binary_files, found.binary_exact, found.container_files, found.container_exact) == (3, 2, 1, 1)
    with pytest.raises(NoSuiteError):
        judge(str(tmp_path / "release"), b"")
    with pytest.raises(ValueError, match="suites"):
        found.worse_than(Judgement(suite="", binary_files=0, binary_exact=0, container_files=0, container_exact=0))


def test_a_release_is_imported_judged_activated_and_used_and_the_ledger_says_so(archive, tmp_path):
    droid, containers = small_release(tmp_path / "new")
    suite = skeletons(tmp_path / "suite", *SUITE)
    before = formats(archive, "signatures", "list", "--json")
    assert before.json == []
    assert not (archive / "signatures").exists()

    imported = formats(archive, "signatures", "import", droid, "--containers", containers, "--json").json
    assert (imported["formats"], imported["judged"], imported["already"]) == (6, False, False)
    refused = formats(archive, "signatures", "activate", imported["bundle"][:12])
    assert (refused.status, "--accept-unjudged" in refused.err) == (1, True)
    done = formats(archive, "signatures", "activate", imported["bundle"][:12], "--skeletons", suite, "--json").json
    assert done["judgement"]["binary_exact"] == done["judgement"]["binary_files"] == 2
    assert done["previous"] == shipped_id()
    assert formats(archive, "signatures", "activate", imported["bundle"], "--json").json["already"]

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    (tmp_path / "in" / "twin.png").write_bytes(png())
    package = mocban("-C", archive, "ingest", tmp_path / "in", "--fonds", FONDS, "--json").json["package"]
    shown = mocban("-C", archive, "show", package, "--json").json["files"]
    assert [one["formats"][0]["puid"] for one in shown] == ["fmt/11", "fmt/11"]
    events = mocban("-C", archive, "events", "--json").json
    (event,) = [one for one in events if one["type"].endswith("signatures-activated")]
    detail = event["detail"]
    assert detail["bundle"] == imported["bundle"]
    assert (detail["pronom"], detail["formats"], detail["judged"], detail["container_exact"]) == ("v1", 6, True, 1)
    assert mocban("-C", archive, "rebuild").status == 0
    assert [one["active"] for one in formats(archive, "signatures", "list", "--json").json] == [True]


def test_a_worse_bundle_is_refused_and_the_shipped_one_can_always_come_back(archive, tmp_path):
    suite = skeletons(tmp_path / "suite", *SUITE)
    good, containers = small_release(tmp_path / "good")
    bad, _ = small_release(tmp_path / "bad", with_png=False, version=2)
    first = formats(archive, "signatures", "import", good, "--containers", containers, "--json").json["bundle"]
    assert formats(archive, "signatures", "activate", first, "--accept-unjudged").status == 0
    refused = formats(archive, "signatures", "import", bad, "--containers", containers, "--skeletons", suite)
    assert refused.status == 1
    assert "2 of 3" in refused.err
    assert [one["bundle"] for one in formats(archive, "signatures", "list", "--json").json] == [first]
    assert formats(archive, "signatures", "activate", "shipped", "--accept-unjudged").status == 0
    listed = formats(archive, "signatures", "list", "--json").json
    assert {one["bundle"]: one["active"] for one in listed} == {first: False, shipped_id(): True}
    told = formats(archive, "signatures", "diff", "shipped", "active", "--json").json
    assert (told["added"], told["removed"], told["changed"]) == ([], [], {})


def test_an_active_bundle_that_was_changed_or_lost_is_not_used(archive, tmp_path):
    droid, containers = small_release(tmp_path / "new")
    bundle = formats(archive, "signatures", "import", droid, "--containers", containers, "--json").json["bundle"]
    assert formats(archive, "signatures", "activate", bundle, "--accept-unjudged").status == 0
    path = archive / "signatures" / bundle / "bundle.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"fmt/18", b"fmt/19"))
    assert formats(archive, "signatures", "diff", "shipped", bundle).status == 1
    shutil.rmtree(path.parent)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(PDF)
    package = mocban("-C", archive, "ingest", tmp_path / "in", "--fonds", FONDS, "--json")
    assert package.status == 0  # it is kept, and says that nobody could look
    (line,) = mocban("-C", archive, "show", package.json["package"], "--json").json["files"]
    assert line["identification"] == "failed"
    assert "signature bundle" in line["warnings"][0]
    formats(archive, "signatures", "import", droid, "--containers", containers)
    assert blake3_hex(path.read_bytes()) == blake3_hex(content)


def test_fido_itself_reads_a_converted_release_as_we_do(tmp_path):
    bundle = made(tmp_path / "release")
    (tmp_path / "formats.xml").write_bytes(document_for_fido(bundle.formats))
    fido = real_fido(("formats.xml",), str(tmp_path))
    again = formats_of(fido)
    assert [(one.puid, one.extensions, one.beats, one.signatures) for one in again] == [
        (one.puid, one.extensions, one.beats, one.signatures) for one in bundle.formats
    ]


@pytest.mark.corpora
def test_a_whole_release_is_converted_without_loss_and_told_as_fido_tells_it(tmp_path):
    bundle = newer_bundle()
    assert (bundle.pronom, bundle.containers) == ("v122", "20260119")
    assert (len(bundle.formats), bundle.signatures) == (2544, 2242)
    assert {kind: len(found) for kind, found in bundle.container_signatures.items()} == {"ZIP": 141, "OLE2": 169}
    (tmp_path / "formats.xml").write_bytes(document_for_fido(bundle.formats))
    fido = real_fido(("formats.xml",), str(tmp_path))
    engine = build_engine(bundle)
    for path in files_of(corpora("skeletons", "fmt"), 4, seed=3):
        content = path.read_bytes()
        start, end = content[:ENDS], content[-ENDS:]
        ours = [(one.puid, name) for one, name in match_signatures(engine.index, start, end)]
        assert ours == native_match(fido, start, end)


@pytest.mark.corpora
@pytest.mark.parametrize(("kind", "least"), [("binary", 0.99), ("container", 1.0)])
def test_a_newer_release_tells_the_skeletons(kind, least):
    engine = build_engine(newer_bundle())
    files = [one for one in suite_files(str(corpora("skeletons"))) if one.is_container == (kind == "container")]
    assert len(files) == {"binary": 2152, "container": 295}[kind]
    exact = 0
    for one in files:
        answer = identify(engine, Sample.of_content(os.path.basename(one.path), Path(one.path).read_bytes()))
        exact += [puid for puid, _ in answer.formats] == [one.puid]
    assert exact >= least * len(files)


def test_the_input_of_a_bundle_is_its_size_and_digest():
    assert input_of("droid", b"abc").size == 3
    assert input_of("droid", b"abc").blake3 == blake3_hex(b"abc")
