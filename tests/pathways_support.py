"""Small real files of the formats that pathways begin with, and tools that do their work badly."""

import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import wave
import zipfile
from functools import cache
from pathlib import Path

import pytest
from formats_support import shared_engine

from preservation.formats.engine import identify
from preservation.formats.identification import Sample
from preservation.migration.pathway import Limits, Source, Workbench, convert, pathway, pathways, sandbox
from preservation.migration.sandbox import SEARCH

TEXT = ("Uỷ", "ban", "nhân", "dân", "xã", "kính", "gửi", "các", "cơ", "quan", "báo", "cáo", "tổng", "kết", "năm", "học")
PICTURE = [[(x * 9 % 256, y * 13 % 256, (x * y) % 256) for x in range(24)] for y in range(16)]


def needs(*programs):
    for program in programs:
        if shutil.which(program, path=SEARCH) is None:
            pytest.skip(f"{program} is not installed")


def needs_all_of(identity):
    one = pathway(identity)
    needs(*([one.tool] if one.tool else []), *one.needs)


def puids_of(path):
    content = Path(path).read_bytes()
    return tuple(found[0] for found in identify(shared_engine(), Sample.of_content(path, content)).formats)


def bench(tools=None, **limits):
    search = f"{tools}:{SEARCH}" if tools else SEARCH
    return Workbench(sandbox(search), puids_of, Limits(**limits))


def converted(identity, content, tmp_path, tools=None, **limits):
    """Convert one content; the folder must hold what was accepted and nothing else."""
    (one,) = all_converted(identity, [content], tmp_path, tools, **limits)
    return one


def all_converted(identity, contents, tmp_path, tools=None, **limits):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    sources = []
    for number, content in enumerate(contents):
        path = folder.with_name(f"{folder.name}-{number}")
        path.write_bytes(content)
        sources.append(Source(str(path), pathway(identity).sources[0]))
    found = convert(pathway(identity), sources, str(folder), bench(tools, **limits))
    kept = {os.path.basename(path) for one in found for path in one.outputs}
    assert set(os.listdir(folder)) == kept
    assert [source.path for source in sources] == [one.source.path for one in found]
    assert [Path(source.path).read_bytes() for source in sources] == list(contents)
    return found


def failed_measures(conversion):
    return {measure.name for measure in conversion.measures if not measure.passed}


def tool(folder, name, body, **values):
    """Put a program of this name first on the search path; `real(*arguments)` runs the true one."""
    tools = Path(folder) / "tools"
    tools.mkdir(exist_ok=True)
    for label, content in values.items():
        (tools / label).write_bytes(content)
    real = shutil.which(name, path=SEARCH) or name
    path = tools / name
    path.write_text(
        f"#!{sys.executable} -I\n"
        "import os, re, shutil, subprocess, sys, time, zipfile\n"
        "here, args = os.path.dirname(os.path.abspath(__file__)), sys.argv[1:]\n"
        f"def real(*words, program={real!r}):\n"
        "    done = subprocess.run([program, *words], check=False)\n"
        "    return done.returncode\n" + textwrap.dedent(body)
    )
    path.chmod(0o755)
    return str(tools)


def picture_tiff(pages=1):
    """An uncompressed TIFF 6.0 of 8 bits a sample, with a page or more."""
    pixels = b"".join(bytes(pixel) for row in PICTURE for pixel in row)
    height, width = len(PICTURE), len(PICTURE[0])
    content = bytearray(b"II*\0" + bytes(4))
    link = 4
    for _ in range(pages):
        strip = len(content)
        content += pixels
        bits = len(content)
        content += struct.pack("<HHH", 8, 8, 8)
        struct.pack_into("<I", content, link, len(content))
        tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
        tags += [(273, 4, 1, strip), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels))]
        content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(content)
        content += bytes(4)
    return bytes(content)


def picture_bmp():
    height, width = len(PICTURE), len(PICTURE[0])
    rows = b"".join(b"".join(bytes(pixel[::-1]) for pixel in row) for row in reversed(PICTURE))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + head + rows


def picture_psd():
    """A flat Photoshop document."""
    height, width = len(PICTURE), len(PICTURE[0])
    planes = b"".join(bytes(pixel[plane] for row in PICTURE for pixel in row) for plane in range(3))
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3)
    return head + struct.pack(">IIIH", 0, 0, 0, 0) + planes


def picture_gif(frames=1):
    """A GIF of 16 colours whose pixels are written without compression: a clear code before each."""
    height, width = len(PICTURE), len(PICTURE[0])
    palette = b"".join(bytes((level * 17, 255 - level * 17, level * 5)) for level in range(16))
    codes = [code for y in range(height) for x in range(width) for code in (16, (x + y) % 16)]
    bits = number = 0
    for code in [*codes, 17]:
        bits |= code << number
        number += 5
    packed = bits.to_bytes((number + 7) // 8, "little")
    blocks = b"".join(bytes([len(packed[at : at + 255])]) + packed[at : at + 255] for at in range(0, len(packed), 255))
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x04" + blocks + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xB3, 0, 0) + palette + frame * frames + b";"


PICTURES = {"tiff": picture_tiff, "bmp": picture_bmp, "gif": picture_gif, "psd": picture_psd}


def samples(number=4000):
    return struct.pack(f"<{number}h", *((step * 7919) % 65536 - 32768 for step in range(number)))


def sound_wav():
    """A WAVE file with a chunk that is not sound."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(samples())
    content = stream.getvalue() + b"LIST" + struct.pack("<I", 18) + b"INFOICMT" + struct.pack("<I", 6) + b"ghi am"
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def sound_aiff():
    data = b"".join(struct.pack(">h", *struct.unpack("<h", samples()[at : at + 2])) for at in range(0, 8000, 2))
    common = struct.pack(">hIh", 2, 2000, 16) + bytes.fromhex("400eac44000000000000")
    chunks = b"COMM" + struct.pack(">I", len(common)) + common
    chunks += b"SSND" + struct.pack(">I", len(data) + 8) + bytes(8) + data
    return b"FORM" + struct.pack(">I", len(chunks) + 4) + b"AIFF" + chunks


SOUNDS = {"wav": sound_wav, "aiff": sound_aiff}


@cache
def film(kind="avi"):
    """A second of moving pictures with sound, as ffmpeg makes it."""
    needs("ffmpeg")
    coding = {"avi": ("mjpeg", "pcm_s16le"), "mov": ("png", "pcm_s16be"), "mp4": ("mpeg4", "aac")}[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"film.{kind}")
        pictures = ("-f", "lavfi", "-i", "testsrc=d=0.6:s=64x48:r=25")
        sound = ("-f", "lavfi", "-i", "sine=440:d=0.6")
        made = ("-c:v", coding[0], "-c:a", coding[1], "-bitexact", path)
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *pictures, *sound, *made], check=True)
        return Path(path).read_bytes()


def paper_pdf(pages=2, extra=b"", catalog=b""):
    """A PDF with a line of text on each page; `extra` are more objects, from number 100 on."""
    content = bytearray(b"%PDF-1.4\n")
    kids = b" ".join(b"%d 0 R" % (10 + page) for page in range(pages))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        2: b"<</Type/Pages/Count %d/Kids[%s]>>" % (pages, kids),
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    }
    for page in range(pages):
        lines = b"".join(b"(Page %d of a report, line %d) Tj 0 -30 Td " % (page + 1, line) for line in range(12))
        shown = b"BT /F1 20 Tf 60 700 Td " + lines + b"ET 0.2 0.4 0.8 rg 60 100 200 120 re f"
        objects[10 + page] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (50 + page)
        )
        objects[50 + page] = b"<</Length %d>>\nstream\n%s\nendstream" % (len(shown), shown)
    if extra:
        objects[100] = extra
    places = {}
    for number, body in sorted(objects.items()):
        places[number] = len(content)
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(content)
    content += b"xref\n0 1\n0000000000 65535 f \n"
    content += b"".join(b"%d 1\n%010d 00000 n \n" % (number, place) for number, place in places.items())
    return bytes(content + b"trailer\n<</Root 1 0 R/Size 200>>\nstartxref\n%d\n%%%%EOF\n" % start)


def signed_pdf():
    value = b"<</Type/Sig/Filter/Adobe.PPKLite/ByteRange[0 1 2 3]/Contents<00>>>"
    field = b"<</FT/Sig/T(S)/Type/Annot/Subtype/Widget/Rect[0 0 0 0]/F 132/V%s>>" % value
    return paper_pdf(1, field, b"/AcroForm<</SigFlags 3/Fields[100 0 R]>>")


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return stream.getvalue()


PARAGRAPHS = [" ".join([*TEXT, str(number)]) for number in range(1, 90)]
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_KIND = "application/vnd.openxmlformats-officedocument"


def _linked(targets):
    rows = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return f'{_HEAD}<Relationships xmlns="{_LINKS}">{rows}</Relationships>'


def _typed(parts):
    rows = "".join(f'<Override PartName="{name}" ContentType="{_KIND}.{kind}+xml"/>' for name, kind in parts.items())
    package = 'ContentType="application/vnd.openxmlformats-package.relationships+xml"'
    return f'{_HEAD}<Types xmlns="{_TYPES}"><Default Extension="rels" {package}/>{rows}</Types>'


def letter_docx(paragraphs=PARAGRAPHS, **more):
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>{one}</w:t></w:r></w:p>" for one in paragraphs)
    return zipped(
        {
            "[Content_Types].xml": _typed({"/word/document.xml": "wordprocessingml.document.main"}),
            "_rels/.rels": _linked({"a": ("officeDocument", "word/document.xml")}),
            "word/document.xml": f'{_HEAD}<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
            **more,
        }
    )


def letter_rtf():
    said = r"\par ".join("".join(one if one.isascii() else rf"\u{ord(one)}?" for one in line) for line in PARAGRAPHS)
    return (r"{\rtf1\ansi\ansicpg1252\uc1{\fonttbl{\f0\froman Times New Roman;}}\f0 " + said + r"\par}").encode()


_ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
    for name, space in {
        "office": "office",
        "text": "text",
        "draw": "drawing",
        "style": "style",
        "svg": "svg-compatible",
        "presentation": "presentation",
        "manifest": "manifest",
    }.items()
)


def opendocument(kind, body):
    mime = f"application/vnd.oasis.opendocument.{kind}"
    entries = f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mime}" manifest:version="1.2"/>'
    entries += '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
    listed = f'<manifest:manifest {_ODF} manifest:version="1.2">'
    content = f'{_HEAD}<office:document-content {_ODF} office:version="1.2"><office:body>{body}</office:body>'
    return zipped(
        {
            "mimetype": mime,
            "content.xml": f"{content}</office:document-content>",
            "META-INF/manifest.xml": f"{_HEAD}{listed}{entries}</manifest:manifest>",
        }
    )


def letter_odt():
    body = "".join(f"<text:p>{one}</text:p>" for one in PARAGRAPHS)
    return opendocument("text", f"<office:text>{body}</office:text>")


def talk_odp():
    pages = ""
    for number in range(1, 4):
        box = f"<draw:text-box><text:p>{' '.join(TEXT)} {number}</text:p></draw:text-box>"
        frame = f'<draw:frame svg:x="2cm" svg:y="2cm" svg:width="20cm" svg:height="5cm">{box}</draw:frame>'
        pages += f'<draw:page draw:name="p{number}" draw:master-page-name="">{frame}</draw:page>'
    return opendocument("presentation", f"<office:presentation>{pages}</office:presentation>")


SHEETS = {
    "Thu": [["Tên", "Số", "Ngày"], *([f"mục {row}", row * 1.25, 45_000 + row] for row in range(1, 8))],
    "Chi": [["a", 1], [None, 2], ["c", 3]],
}


def table_xlsx():
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    names = "".join(f'<sheet name="{name}" sheetId="{at}" r:id="s{at}"/>' for at, name in enumerate(SHEETS, 1))
    members = {
        "[Content_Types].xml": _typed(
            {
                "/xl/workbook.xml": "spreadsheetml.sheet.main",
                **{f"/xl/worksheets/sheet{at}.xml": "spreadsheetml.worksheet" for at in range(1, len(SHEETS) + 1)},
            }
        ),
        "_rels/.rels": _linked({"a": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{main}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _linked(
            {f"s{at}": ("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(SHEETS) + 1)}
        ),
    }
    for at, rows in enumerate(SHEETS.values(), 1):
        body = ""
        for number, row in enumerate(rows, 1):
            cells = "".join(_cell(f"{'ABC'[place]}{number}", value) for place, value in enumerate(row))
            body += f'<row r="{number}">{cells}</row>'
        sheet = f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>'
        members[f"xl/worksheets/sheet{at}.xml"] = _HEAD + sheet
    return zipped(members)


def _cell(place, value):
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


@cache
def by_office(kind):
    """A document of an older or more complex kind, written by LibreOffice from one of ours."""
    needs("soffice")
    content, suffix = {
        "doc": (letter_docx, "docx"),
        "xls": (table_xlsx, "xlsx"),
        "ppt": (talk_odp, "odp"),
        "pptx": (talk_odp, "odp"),
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"source.{suffix}")
        Path(path).write_bytes(content())
        profile = f"-env:UserInstallation=file://{folder}/profile"
        argv = ["soffice", profile, "--headless", "--convert-to", kind, "--outdir", folder, path]
        subprocess.run(argv, check=True, capture_output=True)
        return Path(folder, f"source.{kind}").read_bytes()


DOCUMENTS = {"docx": letter_docx, "odt": letter_odt, "rtf": letter_rtf, "xlsx": table_xlsx}


MESSAGE = """From: =?utf-8?q?Nguy=E1=BB=85n_V=C4=83n_A?= <a@example.vn>
To: b@example.vn
Subject: =?utf-8?b?QsOhbyBjw6Fv?=
Date: Mon, 1 Jan 2024 10:00:00 +0700
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="x"

--x
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Kính gửi Uỷ ban
--x
Content-Type: application/pdf; name="b.pdf"
Content-Disposition: attachment; filename="b.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjQ=
--x--
""".encode()


def sample(identity):
    """A file that this pathway is for."""
    kind = identity.partition("-")[0]
    if kind in PICTURES:
        return PICTURES[kind]()
    if kind in SOUNDS:
        return SOUNDS[kind]()
    if kind in DOCUMENTS:
        return DOCUMENTS[kind]()
    if kind in ("doc", "xls", "ppt", "pptx"):
        return by_office(kind)
    return {"video": film, "pdf": paper_pdf}[kind]()


def of_tool(name):
    return [one.id for one in pathways() if one.tool == name]
