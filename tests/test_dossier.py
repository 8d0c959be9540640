"""The sample dossier is the same for a seed, and every file in it is what its name says."""

import csv
import email
import email.policy
import importlib.util
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import unicodedata
import wave
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from dossier_support import Bits, huffman, jpeg_segments, pdf_objects, stream

DEMO = Path(__file__).resolve().parent.parent / "demo"
sys.path.insert(0, str(DEMO))
try:
    import dossier
    import lettering
finally:
    sys.path.remove(str(DEMO))

OPC_TYPES = "{http://schemas.openxmlformats.org/package/2006/content-types}"
OPC_RELATIONS = "{http://schemas.openxmlformats.org/package/2006/relationships}"
PUIDS = {
    ".pdf": "fmt/276",
    ".png": "fmt/13",
    ".tif": "fmt/353",
    ".jpg": "fmt/43",
    ".wav": "fmt/141",
    ".docx": "fmt/412",
    ".xlsx": "fmt/214",
    ".odt": "fmt/290",  # version 1.2 is fmt/291: FIDO 1.6.1 stops at the binary signature of 1.1
    ".xml": "fmt/101",
    ".eml": "fmt/950",
    ".zip": "x-fmt/263",
}
MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".jpg": "image/jpeg",
    ".wav": "audio/x-wav",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".xml": "text/xml",
    ".zip": "application/zip",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    dest = tmp_path_factory.mktemp("dossier") / "Hồ sơ mẫu"
    return dest, dossier.make_dossier(str(dest))


@pytest.fixture(scope="module")
def dest(made):
    return made[0]


def files(folder, suffix=""):
    found = sorted(path for path in folder.rglob("*" + suffix) if path.is_file())
    assert found, f"no {suffix} file in the dossier"
    return found


def state(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def test_it_has_a_few_hundred_files_of_many_formats_and_stays_small(made):
    dest, count = made
    found = files(dest)
    assert len(found) == count
    assert 250 <= count <= 400
    assert 5_000_000 < sum(path.stat().st_size for path in found) < 10_500_000
    suffixes = Counter(path.suffix for path in found)
    assert set(suffixes) == {*PUIDS, ".csv", ".txt", ""}
    assert min(suffixes[suffix] for suffix in PUIDS) >= 3


def test_another_process_elsewhere_makes_the_same_names_bytes_and_times(dest, tmp_path):
    again = tmp_path / "again"
    world = os.environ | {"TZ": "America/St_Johns", "PYTHONHASHSEED": "77", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, str(DEMO / "dossier.py"), str(again), "--seed", "2025"]
    done = subprocess.run(command, env=world, check=True, capture_output=True, text=True, encoding="utf-8")
    assert done.stdout == f"{len(files(dest))} files in {again}\n"
    first, second = state(dest), state(again)
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []


def test_another_seed_makes_other_papers(dest, tmp_path):
    other = dossier.Dossier(2026)
    commune = dossier.FORMER[0]
    dossier.add_series(other, commune, dossier.place_of(commune))
    assert {path for path in other.files if not (dest / path).exists()}


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "của tôi.txt").write_text("giữ nguyên", encoding="utf-8")
    with pytest.raises(FileExistsError):
        dossier.make_dossier(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["của tôi.txt"]


def test_names_are_vietnamese_in_nfc_but_for_two_from_a_mac(dest):
    names = [path.name for path in dest.rglob("*")]
    decomposed = [name for name in names if name != unicodedata.normalize("NFC", name)]
    assert len(decomposed) == 2
    assert all(name == unicodedata.normalize("NFD", name) for name in decomposed)
    assert all(len(name.encode()) <= 255 for name in names)
    assert not [name for name in names if re.search(r'[\x00-\x1f\\:*?"<>|]', name) or name != name.strip(" .")]
    letters = set("".join(names).lower())
    assert set("ăâđêôơư") <= letters
    assert set("ạảấầẩậắằặếềểệịọỏốồổộớờởợụủứừửữựý") <= letters


def test_it_holds_the_oddities_of_real_transfers(dest):
    found = files(dest)
    assert [path.suffix for path in found if path.stat().st_size == 0] == [".txt"]
    assert len([path for path in found if not path.suffix]) == 1
    assert [path.name for path in dest.rglob("*") if path.is_dir() and not os.listdir(path)] == ["Hồ sơ chờ bổ sung"]
    large = [path.suffix for path in found if path.stat().st_size > 1_000_000]
    assert large == [".tif"]
    copies = Counter(path.read_bytes() for path in found if path.stat().st_size)
    assert sorted(n for n in copies.values() if n > 1) == [2, 7]


def test_no_file_is_dated_after_the_last_paper_and_folders_carry_their_files_time(dest):
    latest = max(path.stat().st_mtime for path in files(dest))
    assert latest < dossier.datetime(2026, 1, 1, tzinfo=dossier.HANOI).timestamp()
    for folder in (path for path in dest.rglob("*") if path.is_dir() and os.listdir(path)):
        assert folder.stat().st_mtime == max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())


def test_each_record_file_is_described_with_its_true_number_of_documents(dest):
    described = [path for path in files(dest, "EAD.xml") if path.parent.name.startswith("HS ")]
    for path in described:
        root = ET.fromstring(path.read_bytes())
        assert root.tag == "simpledc"
        assert len(root) == 18
        assert int(root.findtext("totalDoc")) == len(os.listdir(path.parent)) - 1, path
        assert re.fullmatch(r"H00\.\d\d(\.\d\d)?\.\d{4}\.\d\d", root.findtext("fileCode"))
    codes = [ET.fromstring(path.read_bytes()).findtext("fileCode") for path in files(dest, "EAD.xml")]
    assert len(set(codes)) == len(codes)


def test_every_pdf_has_true_offsets_and_lengths_and_its_text_can_be_read_back(dest):
    for path in files(dest, ".pdf"):
        data = path.read_bytes()
        assert data.startswith(b"%PDF-1.7\n%")
        objects = pdf_objects(data)
        streams = {number: stream(body) for number, body in objects.items() if b"\nstream\n" in body}
        font = next(body for body in objects.values() if b"/Subtype /Type3" in body)
        cmap = streams[int(re.search(rb"/ToUnicode (\d+)", font)[1])].decode()
        chars = {code: bytes.fromhex(text).decode("utf-16-be") for code, text in re.findall(r"<(..)> <(.{4})>\n", cmap)}
        assert len(chars) == int(re.search(rb"/LastChar (\d+)", font)[1])
        lines = []
        for body in objects.values():
            if b"/Type /Page " in body:
                content = streams[int(re.search(rb"/Contents (\d+)", body)[1])].decode()
                lines += [
                    "".join(chars[code] for code in re.findall("..", text))
                    for text in re.findall(r"<(.*?)> Tj", content)
                ]
        assert "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM" in lines
        assert dossier.SAMPLE in lines
        xmp = streams[int(re.search(rb"/Metadata (\d+)", data)[1])].decode()
        assert ET.fromstring(xmp[xmp.index("<x:") : xmp.index("<?xpacket end")]) is not None


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext is not installed")
def test_pdftotext_reads_vietnamese_from_a_drawn_and_from_a_scanned_page(dest):
    for name in ("Biên bản bàn giao*.pdf", "15-NQ-HĐND Nghị quyết*.pdf"):
        path = files(dest, name)[0]
        done = subprocess.run(
            ["pdftotext", str(path), "-"], check=True, capture_output=True, text=True, encoding="utf-8"
        )
        assert dossier.SAMPLE in done.stdout
        assert done.stderr == ""


def test_every_zip_based_file_passes_testzip_and_its_xml_is_well_formed(dest):
    for path in (p for suffix in (".docx", ".xlsx", ".odt", ".zip") for p in files(dest, suffix)):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert names
            assert len(set(names)) == len(names)
            for name in names:
                if path.suffix != ".zip" and name.endswith((".xml", ".rels")):
                    ET.fromstring(archive.read(name))


def test_office_packages_name_only_parts_that_they_have(dest):
    for path in files(dest, ".docx") + files(dest, ".xlsx"):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            types = ET.fromstring(archive.read("[Content_Types].xml"))
            assert {part.get("PartName")[1:] for part in types.iter(OPC_TYPES + "Override")} <= names
            for listed in (name for name in names if name.endswith(".rels")):
                base = Path(listed).parent.parent
                for relation in ET.fromstring(archive.read(listed)).iter(OPC_RELATIONS + "Relationship"):
                    assert str(base / relation.get("Target")) in names


def test_an_odt_begins_with_its_uncompressed_media_type(dest):
    for path in files(dest, ".odt"):
        data = path.read_bytes()
        assert data[30:38] == b"mimetype"
        assert data[8:10] == b"\0\0"
        assert data[38:].startswith(b"application/vnd.oasis.opendocument.textPK\x03\x04")


def test_every_png_has_true_checksums_and_all_its_pixels(dest):
    for path in files(dest, ".png"):
        data, at, chunks = path.read_bytes(), 8, []
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        while at < len(data):
            (length,) = struct.unpack_from(">I", data, at)
            kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
            assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
            chunks.append((kind, body))
            at += 12 + length
        assert [kind for kind, _ in chunks] == [b"IHDR", b"PLTE", b"pHYs", b"iTXt", b"IDAT", b"IEND"]
        wide, high, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
        assert (depth, colour, len(chunks[1][1])) == (8, 3, 768)
        assert len(zlib.decompress(chunks[4][1])) == (wide + 1) * high


def test_every_tiff_has_ordered_fields_and_all_its_pixels(dest):
    for path in files(dest, ".tif"):
        data = path.read_bytes()
        assert data[:8] == b"II*\0\x08\0\0\0"
        (count,) = struct.unpack_from("<H", data, 8)
        fields = [struct.unpack_from("<HHII", data, 10 + 12 * i) for i in range(count)]
        tags = {tag: value for tag, _, _, value in fields}
        assert list(tags) == sorted(tags)
        strip = data[tags[273] :]
        assert len(strip) == tags[279]
        pixels = zlib.decompress(strip) if tags[259] == 8 else strip
        assert len(pixels) == tags[256] * tags[257]
        assert min(pixels) < 40
        assert max(pixels) > 200


def test_a_colour_jpeg_decodes_to_its_last_bit(dest):
    data = files(dest, "Ảnh bìa*.jpg")[0].read_bytes()
    assert data[:11] == b"\xff\xd8\xff\xe0\0\x10JFIF\0"
    segments, coded = jpeg_segments(data)
    frame = segments[0xFFC0][0]
    assert struct.unpack_from(">BHHB", frame) == (8, 320, 480, 3)
    tables = {definition[0]: huffman(definition) for definition in segments[0xFFC4]}
    bits, levels, seen = Bits(coded), [0, 0, 0], set()
    for number in range(3 * 480 * 320 // 64):
        levels[number % 3] += bits.level(tables[0x00])
        bits.skip_block(tables[0x10])
        seen.add((number % 3, levels[number % 3]))
    rest = bits.text[bits.place :]
    assert rest in "1" * 7
    quantum = segments[0xFFDB][0][1]
    brightness = [level * quantum / 8 + 128 for which, level in seen if which == 0]
    assert -2 <= min(brightness) < 100
    assert 200 < max(brightness) <= 257


def test_every_recording_is_six_seconds_of_mono_sound(dest):
    for path in files(dest, ".wav"):
        with wave.open(str(path)) as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 8000)
            samples = struct.unpack("<48000h", sound.readframes(48000))
        assert max(samples) > 2000
        assert path.stat().st_size == 44 + 96000


def test_every_message_has_a_vietnamese_subject_and_whole_attachments(dest):
    attached = []
    for path in files(dest, ".eml"):
        data = path.read_bytes()
        data.decode("ascii")
        mail = email.message_from_bytes(data, policy=email.policy.default)
        assert not mail.defects
        assert mail["Subject"].split(" - ")[1] in {commune.titled for commune in dossier.FORMER}
        assert mail["To"].addresses[0].domain == "vidu.example"
        assert "Kính gửi" in mail.get_body().get_content()
        attached += list(mail.iter_attachments())
    assert len(attached) == 3
    for part in attached:
        assert part.get_filename() == "Biên bản bàn giao (dự thảo).pdf"
        assert pdf_objects(part.get_content())


def test_every_table_and_text_is_readable_utf_8(dest):
    for path in files(dest, ".csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        assert len(rows) > 30
        assert {len(row) for row in rows} == {len(rows[0])}
    for path in files(dest, ".txt"):
        path.read_text(encoding="utf-8")
    listed = files(dest, "Danh mục tệp tin.csv")[0].read_text(encoding="utf-8-sig")
    for path, size in list(csv.reader(io.StringIO(listed)))[1:]:
        assert (dest / path).stat().st_size == int(size)


def test_every_vietnamese_letter_is_drawn_in_its_own_way():
    marks = ("", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323")
    small = [unicodedata.normalize("NFC", vowel + mark) for vowel in "aăâeêioôơuưy" for mark in marks]
    letters = [*small, *"bcdđghklmnpqrstvx"]
    letters += [letter.upper() for letter in letters]
    assert all(len(letter) == 1 for letter in letters)
    drawn = {lettering.glyph(letter).strokes for letter in letters}
    assert len(drawn) == len(letters)
    assert lettering.glyph("☃").strokes not in drawn


@pytest.mark.skipif(not shutil.which("file"), reason="the file command is not installed")
def test_the_file_command_agrees_with_the_extensions(dest):
    paths = [path for suffix in MEDIA_TYPES for path in files(dest, suffix)]
    command = ["file", "--brief", "--mime-type", *map(str, paths)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout.splitlines()
    assert [(p, s) for p, s in zip(paths, said, strict=True) if s != MEDIA_TYPES[p.suffix]] == []


@pytest.mark.skipif(not importlib.util.find_spec("fido"), reason="opf-fido is not installed")
def test_fido_finds_the_format_of_each_kind_of_file(dest, tmp_path):
    chosen = {suffix: files(dest, suffix)[-1] for suffix in PUIDS}
    form = "%(info.puid)s %(info.filename)s\n"
    command = [sys.executable, "-m", "fido.fido", "-q", "-matchprintf", form, "-nomatchprintf", "- %(info.filename)s\n"]
    done = subprocess.run(
        [*command, *map(str, chosen.values())],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    found = {}
    for line in done.stdout.splitlines():
        puid, _, name = line.partition(" ")
        found.setdefault(Path(name).suffix, set()).add(puid)
    assert found == {suffix: {puid} for suffix, puid in PUIDS.items()}
