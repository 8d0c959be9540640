"""The specification: every test vector of docs/format.md is computed again, with our code and without it."""

import hashlib
import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from preservation.fixity import Fixity, blake3_hex
from preservation.ledger.events import parse_record
from preservation.ledger.merkle import leaf_hash
from preservation.ledger.notes import Checkpoint, VerifierKey, parse_note, parse_verifier_key, sign_note
from preservation.ledger.wal import SYNC, encode_batch
from preservation.manifest import FileLine, FolderLine, file_line, folder_line, header_line, parse, trailer_line
from preservation.packs import layout
from preservation.packs.index import ManifestLine
from preservation.packs.members import Kind, Member, header
from preservation.packs.writer import PackWriter

DOCUMENT = Path(__file__).parent.parent / "docs" / "format.md"
TEXT = DOCUMENT.read_text()
VECTORS = [json.loads(block.split("```")[0]) for block in TEXT.split("```json vector\n")[1:]]


def vectors(kind):
    return [vector for vector in VECTORS if vector["vector"] == kind]


def test_every_block_with_json_is_a_vector_and_every_kind_is_known():
    assert TEXT.count("```json") == len(VECTORS) == 10
    known = {"names", "header", "manifest", "pack", "frames", "tree", "checkpoint"}
    assert {vector["vector"] for vector in VECTORS} == known


def test_names_and_keys():
    (vector,) = vectors("names")
    digest = blake3_hex(bytes.fromhex(vector["content_hex"]))
    package, version, fonds = vector["package"], vector["version"], vector["fonds"]
    assert digest == vector["digest"]
    label = layout.pack_label(package, version, vector["number"])
    assert label == vector["label"]
    assert layout.content_name(digest).decode() == vector["member"]
    assert layout.manifest_name(package, version).decode() == vector["manifest"]
    assert layout.readme_name(label).decode() == vector["readme"]
    assert layout.index_name(label).decode() == vector["index"]
    assert layout.pack_key(fonds, digest) == vector["pack_key"]
    assert layout.index_key(fonds, digest) == vector["index_key"]
    assert layout.blocks_key(fonds, digest) == vector["blocks_key"]
    assert layout.link_target(vector["link_name"].encode(), digest).decode() == vector["link_target"]


@pytest.mark.parametrize("vector", vectors("header"), ids=lambda vector: f"{vector['kind']} {vector['size']}")
def test_headers(vector):
    name = bytes.fromhex(vector["name_hex"]) if "name_hex" in vector else vector["name"].encode()
    digest = vector["name"][-64:] if vector["kind"] == "content" else "00" * 32
    raw = header(Member(Kind(vector["kind"]), name, 0, vector["size"], digest, vector["target"].encode()))
    assert (len(raw), blake3_hex(raw)) == (vector["header_bytes"], vector["header_blake3"])
    last = raw[-512:]
    places = {"mode": 100, "uid": 108, "gid": 116, "size": 124, "mtime": 136, "chksum": 148, "typeflag": 156}
    for field, value in vector.get("fields", {}).items():
        if field == "magic_version_hex":
            assert last[257:265].hex() == value
        else:
            place = {**places, "devmajor": 329, "devminor": 337}[field]
            assert last[place : place + len(value)].decode() == value
    if "pax_hex" in vector:
        pax = bytes.fromhex(vector["pax_hex"])
        assert raw[512 : 512 + len(pax)] == pax
        assert int(raw[124:135], 8) == len(pax)
        assert last[:100].rstrip(b"\0").decode() == vector["short_name"]
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(2_048)), encoding="utf-8", errors="surrogateescape") as archive:
        info = archive.next()
    assert info.name.encode("utf-8", "surrogateescape") == name
    assert info.size == vector["size"]


def manifest_bytes():
    (vector,) = vectors("manifest")
    return b"".join(line.encode() + b"\n" for line in vector["lines"]), vector


def test_the_manifest():
    data, vector = manifest_bytes()
    assert (len(data), blake3_hex(data)) == (vector["size"], vector["blake3"])
    lines = data.splitlines(keepends=True)
    head, *entries = parse(lines, "p")
    written = [header_line({key: value for key, value in head.items() if key not in {"format", "mocban"}})]
    for entry in entries:
        if isinstance(entry, FolderLine):
            written.append(folder_line(entry.path))
            continue
        assert isinstance(entry, FileLine)
        fixity = Fixity(entry.size, entry.blake3, entry.sha256)
        answer = '"formats":[],"identification":"off"'
        written.append(file_line(entry.path, fixity, 1_600_000_000_123_456_789, answer))
    body = b"".join(written)
    assert body + trailer_line(2, 1, 6, blake3_hex(body)) == data
    assert [
        json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False) for line in lines
    ] == (vector["lines"])


class Kept:
    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data


def packed(vector):
    sink = Kept()
    writer = PackWriter(vector["label"], vector["fonds"], sink)
    folder = layout.files_folder(vector["package"], vector["version"])
    for name, content in vector["files"].items():
        data = bytes.fromhex(content)
        digest = blake3_hex(data)
        writer.add_small_object(digest, data)
        if data:
            writer.link(folder + name.encode(), digest, layout.content_name(digest))
        else:
            writer.repeat(folder + name.encode(), digest, 0, [])
    for name in vector["folders"]:
        writer.folder(folder + name.encode())
    manifest, _ = manifest_bytes()
    line = ManifestLine(vector["package"], vector["version"], vector["title"], 2, 1, 6)
    name = layout.manifest_name(vector["package"], vector["version"])
    writer.add_manifest(name, Fixity(len(manifest), blake3_hex(manifest)), [manifest], line)
    return writer.finish(), bytes(sink.data)


def test_a_whole_pack():
    (vector,) = vectors("pack")
    finished, data = packed(vector)
    index = "".join(line + "\n" for line in vector["index"]).encode()
    assert (finished.index, blake3_hex(index)) == (index, vector["index_blake3"])
    assert (finished.pack, len(data), blake3_hex(data)) == (vector["pack"], vector["size"], vector["pack"])
    assert finished.blocks.hex() == vector["blocks_hex"] == blake3_hex(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive if info.isreg() or info.islnk()}
    folder = f"packages/{vector['package']}/v{vector['version']}/files/"
    found = {name.removeprefix(folder): data.hex() for name, data in files.items() if name.startswith(folder)}
    assert found == vector["files"]


def test_frames():
    (vector,) = vectors("frames")
    records = [record.encode() for record in vector["records"]]
    data = encode_batch(records, vector["seq"], bytes.fromhex(vector["previous_hex"]))
    assert (len(data), hashlib.sha256(data).hexdigest()) == (vector["frames_bytes"], vector["frames_sha256"])
    assert data[:72].hex() == vector["first_head_hex"]
    previous, again = bytes.fromhex(vector["previous_hex"]), b""
    for number, record in enumerate(records):
        rest = struct.pack(">IQII", len(record), vector["seq"] + number, number, len(records)) + previous + record
        again += SYNC + struct.pack(">I", zlib.crc32(rest)) + rest
        previous = hashlib.sha256(b"\0" + record).digest()
    assert again == data
    assert SYNC.hex() in TEXT


def test_the_tree():
    (vector,) = vectors("tree")
    records = [record.encode() for record in vector["records"]]
    assert [parse_record(record).seq for record in records] == [0, 1, 2]
    leaves = [hashlib.sha256(b"\0" + record).digest() for record in records]
    assert [leaf.hex() for leaf in leaves] == vector["leaves"] == [leaf_hash(record).hex() for record in records]
    left = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    assert hashlib.sha256(b"\1" + left + leaves[2]).hexdigest() == vector["root"]


def test_the_checkpoint():
    (vector,) = vectors("checkpoint")
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["secret_hex"]))

    class Signer:
        key = VerifierKey(vector["origin"], secret.public_key().public_bytes_raw())

        def sign(self, message):
            return secret.sign(message)

    text = Checkpoint(vector["origin"], vector["size"], bytes.fromhex(vector["root"])).text()
    assert sign_note(text, [Signer()]).encoded().decode() == vector["note"]
    assert str(Signer.key) == vector["verifier"]
    note = parse_note(vector["note"].encode())
    assert parse_verifier_key(vector["verifier"]).verifies(note.text.encode(), note.signatures[0].data)
    assert vectors("tree")[0]["root"] == vector["root"]


@pytest.mark.parametrize(
    "value",
    [
        f"{layout.LONGEST_PATH:,} bytes",
        f"{layout.TARGET_MEMBERS:,} members",
        f"{layout.TARGET_SIZE >> 20} MiB",
        f"multiple of {layout.RECORD:,} bytes",
        f"{layout.REPEATS_PER_LINK:,}th",
        "32 MiB",
    ],
)
def test_the_numbers_of_the_specification_are_those_of_the_program(value):
    assert value in TEXT
