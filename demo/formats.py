"""Office documents, spreadsheets, mail, sound and archives, each as the bytes of one valid file.

The same values give the same bytes (with one version of zlib): nothing here asks the clock or draws lots of its own.
"""

import csv
import io
import math
import struct
import wave
import zipfile
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from random import Random
from xml.sax.saxutils import escape

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OPC = "http://schemas.openxmlformats.org"
OFFICE = f"{OPC}/officeDocument/2006/relationships"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
OASIS = "urn:oasis:names:tc:opendocument:xmlns"
ODT = "application/vnd.oasis.opendocument.text"

Members = Sequence[tuple[str, bytes]]
Table = Sequence[Sequence[str]]


def write_zip(members: Members, when: datetime, *, stored: Sequence[str] = ()) -> bytes:
    """A ZIP of `members` in their order, all of one time; those in `stored` are not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, when.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()


def core(title: str, author: str, when: datetime) -> str:
    """The core properties of an OPC package (ISO/IEC 29500-2)."""
    stamp = f'xsi:type="dcterms:W3CDTF">{when.isoformat()}'
    return (
        f'{XML}<cp:coreProperties xmlns:cp="{OPC}/package/2006/metadata/core-properties"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{escape(title)}</dc:title><dc:creator>{escape(author)}</dc:creator><dc:language>vi-VN</dc:language>"
        f"<dcterms:created {stamp}</dcterms:created><dcterms:modified {stamp}</dcterms:modified></cp:coreProperties>"
    )


def relations(entries: Sequence[tuple[str, str]]) -> str:
    """The relationships part that names (type, target) as rId1, rId2 and so on."""
    listed = "".join(
        f'<Relationship Id="rId{i}" Type="{kind}" Target="{target}"/>' for i, (kind, target) in enumerate(entries, 1)
    )
    return f'{XML}<Relationships xmlns="{OPC}/package/2006/relationships">{listed}</Relationships>'


def write_opc(main: str, parts: Sequence[tuple[str, str, str]], title: str, author: str, when: datetime) -> bytes:
    """An OPC package of `parts` (name, content type or empty, XML) whose main part is `main`."""
    properties = "application/vnd.openxmlformats-package.core-properties+xml"
    parts = [*parts, ("docProps/core.xml", properties, core(title, author, when))]
    types = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind, _ in parts if kind)
    content_types = (
        f'{XML}<Types xmlns="{OPC}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{types}</Types>'
    )
    top = relations(
        [
            (f"{OFFICE}/officeDocument", main),
            (f"{OPC}/package/2006/relationships/metadata/core-properties", "docProps/core.xml"),
        ]
    )
    texts = [("[Content_Types].xml", content_types), ("_rels/.rels", top), *((name, text) for name, _, text in parts)]
    return write_zip([(name, text.encode()) for name, text in texts], when)


def write_docx(paragraphs: Sequence[str], title: str, author: str, when: datetime) -> bytes:
    """A WordprocessingML document: a centred bold title, then `paragraphs`."""
    bold = '<w:rPr><w:b/><w:sz w:val="28"/></w:rPr>'
    shown = f'<w:p><w:pPr><w:jc w:val="center"/></w:pPr><w:r>{bold}<w:t>{escape(title)}</w:t></w:r></w:p>'
    shown += "".join(f'<w:p><w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>' for text in paragraphs)
    page = '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr>'
    body = f'{XML}<w:document xmlns:w="{OPC}/wordprocessingml/2006/main"><w:body>{shown}{page}</w:body></w:document>'
    return write_opc(
        "word/document.xml", [("word/document.xml", f"{WORD}.document.main+xml", body)], title, author, when
    )


def write_xlsx(table: Table, sheet: str, title: str, author: str, when: datetime) -> bytes:
    """A SpreadsheetML workbook of one sheet of text cells."""
    main = f"{OPC}/spreadsheetml/2006/main"
    rows = "".join(
        f'<row r="{i}">'
        + "".join(f'<c t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>' for cell in row)
        + "</row>"
        for i, row in enumerate(table, 1)
    )
    workbook = (
        f'{XML}<workbook xmlns="{main}" xmlns:r="{OFFICE}"><sheets>'
        f'<sheet name="{escape(sheet)}" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    worksheet = f'{XML}<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
    parts = [
        ("xl/workbook.xml", f"{SHEET}.sheet.main+xml", workbook),
        ("xl/worksheets/sheet1.xml", f"{SHEET}.worksheet+xml", worksheet),
        ("xl/_rels/workbook.xml.rels", "", relations([(f"{OFFICE}/worksheet", "worksheets/sheet1.xml")])),
    ]
    return write_opc("xl/workbook.xml", parts, title, author, when)


def write_odt(paragraphs: Sequence[str], title: str, author: str, when: datetime) -> bytes:
    """An OpenDocument 1.2 text: its media type first and uncompressed, as the standard asks."""
    spaces = f'xmlns:office="{OASIS}:office:1.0" xmlns:text="{OASIS}:text:1.0" office:version="1.2"'
    shown = f'<text:h text:outline-level="1">{escape(title)}</text:h>'
    shown += "".join(f"<text:p>{escape(text)}</text:p>" for text in paragraphs)
    content = (
        f"{XML}<office:document-content {spaces}><office:body><office:text>{shown}</office:text></office:body>"
        "</office:document-content>"
    )
    meta = (
        f'{XML}<office:document-meta {spaces} xmlns:meta="{OASIS}:meta:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<office:meta><dc:title>{escape(title)}</dc:title><dc:creator>{escape(author)}</dc:creator>"
        f"<meta:creation-date>{when.replace(tzinfo=None).isoformat()}</meta:creation-date></office:meta>"
        "</office:document-meta>"
    )
    entries = (("/", ODT), ("content.xml", "text/xml"), ("meta.xml", "text/xml"))
    listed = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{kind}"/>' for path, kind in entries
    )
    manifest = (
        f'{XML}<manifest:manifest xmlns:manifest="{OASIS}:manifest:1.0" manifest:version="1.2">'
        f"{listed}</manifest:manifest>"
    )
    texts = (("mimetype", ODT), ("content.xml", content), ("meta.xml", meta), ("META-INF/manifest.xml", manifest))
    return write_zip([(name, text.encode()) for name, text in texts], when, stored=("mimetype",))


def write_csv(table: Table) -> bytes:
    """Comma-separated values (RFC 4180) in UTF-8 with a byte order mark, as spreadsheets save it in Viet Nam."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows(table)
    return out.getvalue().encode("utf-8-sig")


def write_mail(
    sender: tuple[str, str], to: tuple[str, str], *, subject: str, text: str, when: datetime, attached: Members = ()
) -> bytes:
    """A message (RFC 5322) from one (name, address) to another; `attached` are PDF files."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = (f'"{name}" <{address}>' for name, address in (sender, to))
    mail["Subject"] = subject
    mail["Date"] = format_datetime(when)
    mail["Message-ID"] = f"<{when:%Y%m%d%H%M%S}.{len(subject)}@{sender[1].partition('@')[2]}>"
    mail.set_content(text, cte="base64")
    for name, data in attached:
        mail.add_attachment(data, maintype="application", subtype="pdf", filename=name)
    if mail.is_multipart():
        mail.set_boundary(f"===={when:%Y%m%d%H%M%S}====")
    return mail.as_bytes()


RATE = 8_000
LOUDEST = 9_000


def write_wav(rng: Random, seconds: int) -> bytes:
    """A murmur like voices behind a door: mono, 8 kHz, 16 bit PCM."""
    samples: list[int] = []
    while len(samples) < seconds * RATE:
        pitch, long = rng.uniform(110, 230), rng.randrange(RATE // 10, RATE // 3)
        colour = [rng.uniform(0.2, 1.0) for _ in range(3)]
        for i in range(long):
            turn = 2 * math.pi * pitch * (1 + 0.1 * i / long) * i / RATE
            tone = colour[0] * math.sin(turn) + colour[1] * math.sin(2 * turn) + colour[2] * math.sin(5 * turn)
            samples.append(round(LOUDEST / 3 * tone * math.sin(math.pi * i / long)))
        samples += [0] * rng.randrange(RATE // 40, RATE // 6)
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{seconds * RATE}h", *samples[: seconds * RATE]))
    return out.getvalue()


def write_record_file(fields: Sequence[tuple[str, str]]) -> bytes:
    """The description of a record file: XML with one element a field, as in the Vietnamese submission package."""
    listed = "".join(f"  <{name}>{escape(value)}</{name}>\n" for name, value in fields)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<simpledc>\n{listed}</simpledc>\n'.encode()
