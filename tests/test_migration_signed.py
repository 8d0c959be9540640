"""A signed PDF that was migrated: its original is what is shown and exported ever after, and its signature holds."""

import json
import re
import subprocess
from dataclasses import dataclass

import pytest
from cli_support import FONDS, archive
from migration_support import APPROVER, AUTHOR, key_files
from pathways_support import needs, needs_all_of, paper_pdf

PATHWAY = "pdf-pdfa"
PATH = "hồ sơ/quyết định.pdf"
OTHER = "hồ sơ/phụ lục.pdf"
DERIVED = f"derivatives/{PATHWAY}/{PATH}.pdf"
ROOM = 6000
"""Hexadecimal digits for the signature."""

SUBTYPES = re.compile(r"<relationshipSubType>([^<]*)")


def really_signed(folder):
    """A PDF with a signature over all its other bytes (ISO 32000-1, 12.8), made with openssl."""
    certificate, key, rest = folder / "certificate.pem", folder / "key.pem", folder / "rest"
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "9", "-subj", "/CN=An")
    subprocess.run(["openssl", "req", "-x509", *new], check=True, capture_output=True)
    hole, places = b"<" + b"0" * ROOM + b">", b"[0 %010d %010d %010d]"
    value = b"<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/adbe.pkcs7.detached/ByteRange%s/Contents%s>>"
    value %= places % (0, 0, 0), hole
    field = b"<</FT/Sig/T(S)/Type/Annot/Subtype/Widget/Rect[0 0 0 0]/F 132/V%s>>" % value
    content = paper_pdf(1, field, b"/AcroForm<</SigFlags 3/Fields[100 0 R]>>")
    first = content.index(hole)
    last = first + len(hole)
    content = content.replace(places % (0, 0, 0), places % (first, last, len(content) - last))
    rest.write_bytes(content[:first] + content[last:])
    command = ["openssl", "cms", "-sign", "-binary", "-noattr", "-in", rest, "-signer", certificate, "-inkey", key]
    done = subprocess.run([*command, "-outform", "DER"], check=True, capture_output=True)
    return content.replace(hole, b"<" + done.stdout.hex().encode().ljust(ROOM, b"0") + b">")


def signatures(path):
    """What pdfsig says of the signatures of a PDF."""
    done = subprocess.run(["pdfsig", "-nocert", path], capture_output=True, text=True, check=False)
    return [line.partition(":")[2].strip() for line in done.stdout.splitlines() if "Signature Validation" in line]


@dataclass(frozen=True)
class Migrated:
    """An archive with a signed PDF and an unsigned one, before and after a migration of both."""

    made: object
    package: str
    plan: str
    signed: bytes
    unsigned: bytes

    def files(self, *more):
        return {one["path"]: one for one in self.made.json("show", self.package, *more)["files"]}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    needs_all_of(PATHWAY)
    needs("pdfsig", "openssl")
    folder = tmp_path_factory.mktemp("signed")
    made = archive(folder)
    secrets = {}
    for name in (AUTHOR, APPROVER):
        secrets[name], public = key_files(folder, name)
        assert made("agent", "add", name, "--key", public).status == 0
    signed, unsigned = really_signed(folder), paper_pdf(1)
    source = made.submission({PATH: signed, OTHER: unsigned})
    package = made.json("ingest", source, "--fonds", FONDS)["package"]
    asked = ("--agent", AUTHOR, "--key", secrets[AUTHOR], "--fonds", FONDS, "--sample", "1")
    plan = made.json("migrate", "plan", PATHWAY, *asked)["plan"]
    assert 0 == made("migrate", "approve", plan, "--agent", APPROVER, "--key", secrets[APPROVER]).status
    said = made("migrate", "run", plan, "--json")
    assert {"files": 2, "accepted": 2, "failed": 0}.items() <= said.json.items(), said
    return Migrated(made, package, plan, signed, unsigned)


def test_the_original_stays_and_what_came_of_it_is_named_a_rendition(migrated):
    before, after = migrated.files("--version", "1"), migrated.files()
    assert {PATH, OTHER} == before.keys()
    assert {PATH, OTHER, DERIVED, DERIVED.replace(PATH, OTHER)} == after.keys()
    for path in (PATH, OTHER):
        same = {name: value for name, value in after[path].items() if name != "derivatives"}
        assert before[path] == same
    assert "it carries electronic signatures" in after[PATH]["warnings"]
    assert "rendition" == after[DERIVED]["derived"]["use"]
    assert ["rendition"] == [one["use"] for one in after[PATH]["derivatives"]]
    assert ["migration"] == [one["use"] for one in after[OTHER]["derivatives"]]
    report = migrated.made.json("migrate", "report", migrated.plan)
    assert {PATH: True, OTHER: False} == {one["path"]: one["rendition"] for one in report["results"]}
    assert 1 == report["renditions"]


@pytest.mark.parametrize("form", ["files", "bagit"])
@pytest.mark.parametrize("version", ["1", "2"])
def test_every_export_has_the_original_where_it_was_and_its_signature_holds(form, version, migrated, tmp_path):
    out = tmp_path / "out"
    assert 0 == migrated.made("export", migrated.package, out, "--as", form, "--version", version).status
    payload = out / "data" if form == "bagit" else out
    assert migrated.signed == (payload / PATH).read_bytes()
    assert ["Signature is Valid."] == signatures(payload / PATH)
    assert migrated.unsigned == (payload / OTHER).read_bytes()
    found = {str(path.relative_to(payload)) for path in payload.rglob("*") if path.is_file()}
    if version == "1":
        assert {PATH, OTHER} == found
    else:
        assert {PATH, OTHER, DERIVED, DERIVED.replace(PATH, OTHER)} == found
        assert [] == signatures(payload / DERIVED)


def test_an_ocfl_object_has_the_original_in_each_version(migrated, tmp_path):
    assert 0 == migrated.made("export", migrated.package, tmp_path / "out", "--as", "ocfl").status
    inventory = json.loads((tmp_path / "out" / "inventory.json").read_text())
    digests = set()
    for state in (version["state"] for version in inventory["versions"].values()):
        (digest,) = {
            digest for digest, paths in state.items() if any(path.endswith(PATH) and path != DERIVED for path in paths)
        }
        digests.add(digest)
    (digest,) = digests
    contents = {(tmp_path / "out" / path).read_bytes() for path in inventory["manifest"][digest]}
    assert {migrated.signed} == contents


def test_the_file_by_itself_is_the_original(migrated, tmp_path):
    """Asked for by its name, a signed record is given as it came, and never what was made of it."""
    made = migrated.made
    assert 0 == made("export", migrated.package, tmp_path / "a.pdf", "--path", PATH).status
    assert migrated.signed == (tmp_path / "a.pdf").read_bytes()
    assert 0 == made("export", migrated.package, tmp_path / "b.pdf", "--path", DERIVED).status
    assert migrated.signed != (tmp_path / "b.pdf").read_bytes()
    assert 1 == made("export", migrated.package, tmp_path / "c.pdf", "--path", DERIVED, "--version", "1").status


def test_premis_says_which_is_the_source_and_which_only_a_rendition(migrated, tmp_path):
    assert 0 == migrated.made("export", migrated.package, tmp_path / "out").status
    text = (tmp_path / "out.premis.xml").read_text()
    objects = {re.search("<originalName>([^<]*)", one)[1]: one for one in text.split("<object ")[1:]}
    assert ["is part of", "is source of"] == SUBTYPES.findall(objects[PATH])
    assert ["is part of", "has source"] == SUBTYPES.findall(objects[DERIVED])
    assert "<mocban:use>rendition</mocban:use>" in objects[DERIVED]
    assert "<mocban:use>migration</mocban:use>" in objects[DERIVED.replace(PATH, OTHER)]
    assert "mocban:use" not in objects[PATH] + objects[OTHER]


def test_a_rendition_is_no_source_of_another_migration(migrated):
    """Nothing is left to do, and what was derived does not count as a record of its own."""
    asked = ("--agent", AUTHOR, "--fonds", FONDS, "--sample", "1", "--dry-run")
    said = migrated.made("migrate", "plan", PATHWAY, *asked)
    assert 1 == said.status, said


def test_when_the_migration_is_undone_the_original_is_what_it_was(migrated, tmp_path):
    """Last, as it is the only one that changes what the others look at."""
    made, second = migrated.made, migrated.files()
    assert 2 == made.json("migrate", "undo", migrated.plan)["files"]
    assert migrated.files() == migrated.files("--version", "1")
    assert second == migrated.files("--version", "2")
    assert 0 == made("export", migrated.package, tmp_path / "out").status
    assert migrated.signed == (tmp_path / "out" / PATH).read_bytes()
    assert ["Signature is Valid."] == signatures(tmp_path / "out" / PATH)
    assert 0 == made("audit").status
