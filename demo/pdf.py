"""PDF 1.7 (ISO 32000-1) with Vietnamese text: the strokes as an embedded Type 3 font, ToUnicode for search, and XMP."""

import codecs
import hashlib
import unicodedata
import zlib
from collections.abc import Sequence
from datetime import datetime
from xml.sax.saxutils import escape

from lettering import BASELINE, EM, glyph
from papers import A4, Line
from pictures import Picture

PEN = 1.3
LAST_CODE = 255
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:format>application/pdf</dc:format>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>
<xmp:CreateDate>{when}</xmp:CreateDate><xmp:ModifyDate>{when}</xmp:ModifyDate>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
CMAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def /CMapType 2 def
1 begincodespacerange <00> <FF> endcodespacerange
{ranges}
endcmap CMapName currentdict /CMap defineresource pop end end"""


class Pdf:
    """The objects of one PDF file, numbered as they are added."""

    def __init__(self) -> None:
        self.objects: list[bytes] = []

    def add(self, body: str | bytes) -> int:
        """The number of a new object."""
        self.objects.append(body.encode("ascii") if isinstance(body, str) else body)
        return len(self.objects)

    def stream(self, data: bytes, entries: str = "", *, pack: bool = True) -> int:
        """The number of a new stream object."""
        if pack:
            data, entries = zlib.compress(data), entries + " /Filter /FlateDecode"
        return self.add(f"<< /Length {len(data)} {entries} >>\nstream\n".encode() + data + b"\nendstream")

    def file(self, root: int, described: int) -> bytes:
        """The whole file."""
        out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, body in enumerate(self.objects, 1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
        out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        name = hashlib.sha256(out).hexdigest()[:32]
        out += (
            f"trailer\n<< /Size {len(offsets) + 1} /Root {root} 0 R /Info {described} 0 R /ID [<{name}> <{name}>] >>\n"
            f"startxref\n{start}\n%%EOF\n"
        ).encode("ascii")
        return bytes(out)


def add_font(pdf: Pdf, chars: str) -> int:
    """A Type 3 font whose code 1 is the first of `chars`, and so on."""
    procs, widths = [], []
    for code, char in enumerate(chars, 1):
        drawn = glyph(char)
        strokes = " ".join(
            " ".join(f"{x:g} {y - BASELINE:g} {'l' if i else 'm'}" for i, (x, y) in enumerate(stroke)) + " S"
            for stroke in drawn.strokes
        )
        bounds = f"-1 {-BASELINE - 1} {drawn.advance:g} {EM + 8}"
        number = pdf.stream(f"{drawn.advance:g} 0 {bounds} d1 {PEN} w 1 J 1 j {strokes}".encode("ascii"), pack=False)
        procs.append(f"/g{code} {number} 0 R")
        widths.append(f"{drawn.advance:g}")
    mapped = [f"<{code:02X}> <{char.encode('utf-16-be').hex().upper()}>" for code, char in enumerate(chars, 1)]
    blocks = [mapped[i : i + 100] for i in range(0, len(mapped), 100)]
    ranges = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
    unicode = pdf.stream(CMAP.format(ranges=ranges).encode("ascii"))
    names = " ".join(f"/g{code}" for code in range(1, len(chars) + 1))
    return pdf.add(
        f"<< /Type /Font /Subtype /Type3 /FontBBox [-1 -5 20 26] /FontMatrix [{1 / EM:.6f} 0 0 {1 / EM:.6f} 0 0]"
        f" /Resources << >> /CharProcs << {' '.join(procs)} >> /Encoding << /Type /Encoding /Differences [1 {names}] >>"
        f" /FirstChar 1 /LastChar {len(chars)} /Widths [{' '.join(widths)}] /ToUnicode {unicode} 0 R >>"
    )


def add_image(pdf: Pdf, picture: Picture) -> int:
    """The number of an image object."""
    table = b"".join(map(bytes, picture.palette)).hex()
    return pdf.stream(
        picture.pixels,
        f"/Type /XObject /Subtype /Image /Width {picture.width} /Height {picture.height} /BitsPerComponent 8"
        f" /ColorSpace [/Indexed /DeviceRGB 255 <{table}>]",
    )


def text_string(text: str) -> str:
    """A PDF text string, as UTF-16 in hexadecimal."""
    return f"<{(codecs.BOM_UTF16_BE + text.encode('utf-16-be')).hex().upper()}>"


def write_pdf(
    pages: Sequence[Sequence[Line]], *, title: str, author: str, when: datetime, scans: Sequence[Picture] = ()
) -> bytes:
    """A PDF of `pages`; where there is a scan of a page, it covers the page's text, which stays searchable."""
    pdf = Pdf()
    chars = "".join(
        sorted({char for page in pages for line in page for char in unicodedata.normalize("NFC", line.text)})
    )
    if len(chars) > LAST_CODE:
        raise ValueError(f"{len(chars)} different characters do not fit one simple font")
    codes = {char: f"{code:02X}" for code, char in enumerate(chars, 1)}
    font = add_font(pdf, chars)
    tree = pdf.add("")
    leaves = []
    for number, page in enumerate(pages):
        shown = [
            f"BT /F1 {line.size:g} Tf {line.x:.2f} {line.y:.2f} Td <{coded(line.text, codes)}> Tj ET" for line in page
        ]
        resources = f"/Font << /F1 {font} 0 R >>"
        if number < len(scans):
            shown.append(f"q {A4[0]} 0 0 {A4[1]} 0 0 cm /Im1 Do Q")
            resources += f" /XObject << /Im1 {add_image(pdf, scans[number])} 0 R >>"
        content = pdf.stream("\n".join(shown).encode("ascii"))
        leaves.append(
            pdf.add(
                f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 {A4[0]} {A4[1]}] /Resources << {resources} >>"
                f" /Contents {content} 0 R >>"
            )
        )
    kids = " ".join(f"{leaf} 0 R" for leaf in leaves)
    pdf.objects[tree - 1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(leaves)} >>".encode("ascii")
    xmp = XMP.format(title=escape(title), author=escape(author), when=when.isoformat())
    metadata = pdf.stream(xmp.encode(), "/Type /Metadata /Subtype /XML", pack=False)
    root = pdf.add(f"<< /Type /Catalog /Pages {tree} 0 R /Metadata {metadata} 0 R /Lang (vi-VN) >>")
    stamp = f"(D:{when:%Y%m%d%H%M%S}+07'00')"
    described = pdf.add(
        f"<< /Title {text_string(title)} /Author {text_string(author)} /CreationDate {stamp} /ModDate {stamp} >>"
    )
    return pdf.file(root, described)


def coded(text: str, codes: dict[str, str]) -> str:
    """`text` in the font's codes, in hexadecimal."""
    return "".join(codes[char] for char in unicodedata.normalize("NFC", text))
