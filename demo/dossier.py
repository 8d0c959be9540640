"""Write a sample dossier: the records of an invented Vietnamese commune, merged from three on 1 July 2025.

Usage: python demo/dossier.py DEST [--seed N]. The same seed gives the same names, bytes and times.
"""

import argparse
import os
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from random import Random

import formats
from jpeg import write_jpeg
from lettering import width
from papers import SAMPLE, Paper, pages
from pdf import write_pdf
from pictures import landscape, register, scan, write_png, write_tiff
from records import (
    COMMUNES,
    DECISIONS,
    FORMER,
    HANOI,
    MERGED,
    PEOPLE,
    PER_YEAR,
    PROVINCE,
    RECEIVED,
    RESOLUTIONS,
    SENT,
    SERIES,
    VILLAGES,
    Commune,
    Series,
    compose,
    dates,
    description,
    handover,
    merger_resolution,
)

FOUNDED = datetime(2025, 7, 1, 8, 0, tzinfo=HANOI)
HANDED_OVER = datetime(2025, 7, 15, 16, 0, tzinfo=HANOI)
RECORD_FILE = "EAD.xml"
REGISTER_COLUMNS = (40.0, 80.0, 240.0, 330.0, 440.0)
REGISTER_LINES, REGISTER_PAGES = 18, 5
PHOTO = (480, 320)
MERGER = merger_resolution()
MERGER_NAME = "15-NQ-HĐND Nghị quyết của HĐND tỉnh về chủ trương sắp xếp đơn vị hành chính cấp xã.pdf"


class Dossier:
    """The files of the dossier before they are written: path below the destination, bytes, time."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.files: dict[str, tuple[bytes, datetime]] = {}
        self.empty_folders: list[str] = []

    def put(self, folder: str, name: str, data: bytes, when: datetime, *, form: str = "NFC") -> None:
        """Add one file; its name is in NFC, or in NFD as an older Mac leaves it."""
        path = (
            unicodedata.normalize("NFC", folder) + "/" + unicodedata.normalize("NFD" if form == "NFD" else "NFC", name)
        )
        if path in self.files:
            raise ValueError(f"two files are named {path}")
        self.files[path] = (data, when)

    def describe(self, folder: str, fields: Sequence[tuple[str, str]], when: datetime) -> None:
        """Add the description of the record file in `folder`."""
        self.put(folder, RECORD_FILE, formats.write_record_file(fields), when)


def as_pdf(paper: Paper, author: str, *, scanned: bool = False) -> bytes:
    """A paper as PDF; scanned, as two layers: the picture over the text."""
    laid = pages(paper)
    scans = [scan(page, 80) for page in laid] if scanned else ()
    return write_pdf(laid, title=paper.title, author=author, when=paper.when, scans=scans)


@cache
def merger_copy() -> bytes:
    """The scan of the merger's resolution, of which every commune and every handover has a copy."""
    return as_pdf(MERGER, PROVINCE, scanned=True)


def paragraphs(paper: Paper) -> list[str]:
    """A paper as running text."""
    return [*paper.issuer, f"Số: {paper.number}", paper.dated, *paper.body, *paper.signing, paper.signer, SAMPLE]


def shown(series: Series, paper: Paper, author: str, turn: int) -> tuple[str, bytes]:
    """Extension and bytes of a paper in the format that its series uses; `turn` makes formats alternate."""
    if series is SENT:
        write, extension = (formats.write_odt, "odt") if turn % 3 == 0 else (formats.write_docx, "docx")
        return extension, write(paragraphs(paper), paper.title, author, paper.when)
    if series is RECEIVED and turn % 3 == 1:
        return "tif", write_tiff(scan(pages(paper)[0], 120), paper.when, 120, deflate=True)
    return "pdf", as_pdf(paper, author, scanned=series is RECEIVED or turn % 4 == 0)


def add_series(dossier: Dossier, commune: Commune, top: str) -> None:
    """The yearly record files of one commune."""
    rng, turn = dossier.rng, 0
    for year in commune.years:
        months = commune.months if year == commune.years[-1] else (1, 12)
        for place, series in enumerate(SERIES, 1):
            subjects = series.merged_subjects if commune is MERGED else rng.sample(series.subjects, PER_YEAR[series])
            folder = f"{top}/{year}/HS {place:02} {series.folder} năm {year}"
            days, number, count = dates(rng, year, months, len(subjects)), 0, 0
            for subject, when in zip(subjects, days, strict=True):
                number += rng.randrange(1, 15)
                name, paper = compose(series, commune, number=number, subject=subject, when=when, rng=rng)
                extension, data = shown(series, paper, commune.clerk, turn)
                dossier.put(folder, f"{name}.{extension}", data, when)
                count, turn = count + len(pages(paper)), turn + 1
            if series is RECEIVED and year == MERGED.years[0]:
                dossier.put(folder, MERGER_NAME, merger_copy(), MERGER.when)
                days, count = [*days, MERGER.when], count + 1
            title = f"{series.folder} {commune.name} năm {year}"
            fields = description(
                commune, number=place, title=title, dated=days, pages=count, retention=series.retention
            )
            dossier.describe(folder, fields, days[-1])


def add_handovers(dossier: Dossier, top: str) -> None:
    """The minutes, lists and photographs of the three handovers, each with a copy of the resolution behind it."""
    rng = dossier.rng
    for number, commune in enumerate(FORMER, 1):
        folder, paper = f"{top}/HS {number:02} Bàn giao tài liệu của {commune.name}", handover(commune, rng)
        name = f"Biên bản bàn giao tài liệu của {commune.name}"
        table = [("STT", "Tiêu đề hồ sơ", "Thời gian", "Số tờ", "Thời hạn lưu trữ")]
        for row in range(1, 41):
            series, year = rng.choice(SERIES), rng.randrange(1994, 2026)
            keep = "Vĩnh viễn" if series in (RESOLUTIONS, DECISIONS) else "20 năm"
            table.append((str(row), f"{series.folder} năm {year}", str(year), str(rng.randrange(12, 180)), keep))
        author, when = commune.clerk, paper.when
        dossier.put(folder, f"{name}.pdf", as_pdf(paper, author), when)
        dossier.put(folder, f"Dự thảo {name[0].lower()}{name[1:]}.docx", draft(paper, author), when - timedelta(days=3))
        workbook = formats.write_xlsx(table, "Danh mục", f"Danh mục hồ sơ {commune.name}", author, when)
        dossier.put(folder, "Danh mục hồ sơ bàn giao.xlsx", workbook, when)
        dossier.put(folder, "Danh mục hồ sơ bàn giao.csv", formats.write_csv(table), when)
        photo = landscape(rng, f"Niêm phong kho lưu trữ {commune.name}", *PHOTO)
        dossier.put(folder, "Ảnh niêm phong kho lưu trữ.jpg", write_jpeg(photo, SAMPLE), when)
        dossier.put(folder, MERGER_NAME, merger_copy(), MERGER.when)
        count = 2 * len(pages(paper)) + 3
        fields = description(
            commune, number=90 + number, title=name, dated=[when] * 5 + [MERGER.when], pages=count, retention="01"
        )
        dossier.describe(folder, fields, when)
    large = scan(pages(handover(FORMER[0], rng))[0], 200, grain=rng)
    data = write_tiff(large, HANDED_OVER, 200, deflate=False)
    dossier.put(top, "Bản quét gốc 200 dpi - Biên bản bàn giao chung, trang 01.tif", data, HANDED_OVER)


def draft(paper: Paper, author: str) -> bytes:
    """A paper as a word processor's draft."""
    return formats.write_docx(paragraphs(paper), paper.title, author, paper.when - timedelta(days=3))


def add_registers(dossier: Dossier, top: str) -> None:
    """Scanned civil status registers, each with an index of its entries."""
    rng = dossier.rng
    for commune in FORMER:
        for number, (kind, event) in enumerate(
            (("Đăng ký khai sinh", "Ngày sinh"), ("Đăng ký kết hôn", "Ngày cưới")), 1
        ):
            year = rng.randrange(1990, 2006)
            folder = f"{top}/{commune.titled}/Sổ {kind[0].lower()}{kind[1:]} năm {year}"
            header, index = ("Số", "Họ và tên", event, "Nơi cư trú", "Ghi chú"), [("Trang", "Số", "Họ và tên", event)]
            when = HANDED_OVER - timedelta(days=60 + number)
            for page in range(1, REGISTER_PAGES + 1):
                rows = [header]
                for line in range(1, REGISTER_LINES + 1):
                    entry, day = (
                        (page - 1) * REGISTER_LINES + line,
                        f"{rng.randrange(1, 29):02}/{rng.randrange(1, 13):02}/{year}",
                    )
                    person = rng.choice(PEOPLE)
                    rows.append(
                        (str(entry), person, day, rng.choice(VILLAGES), rng.choice(("", "", "", "Đăng ký lại")))
                    )
                    index.append((str(page), str(entry), person, day))
                heading = f"SỔ {kind.upper()} NĂM {year} - {commune.name.upper()} - TỜ {page:03}"
                if width(heading, 14) > REGISTER_COLUMNS[-1] + 100:
                    raise ValueError(f"too wide for a page: {heading}")
                picture = register(rows, REGISTER_COLUMNS, heading, 100)
                dossier.put(folder, f"Tờ {page:03}.tif", write_tiff(picture, when, 100, deflate=True), when)
            dossier.put(folder, "Mục lục tra cứu.csv", formats.write_csv(index), when)
            title = f"Sổ {kind[0].lower()}{kind[1:]} năm {year} của {commune.name}"
            dated = [datetime(year, 1, 2, tzinfo=HANOI), datetime(year, 12, 28, tzinfo=HANOI)]
            fields = description(
                commune, number=50 + number, title=title, dated=dated, pages=REGISTER_PAGES, retention="01"
            )
            dossier.describe(folder, fields, when)


MOMENTS = (
    "Lễ chào cờ",
    "Công bố nghị quyết thành lập xã",
    "Trao quyết định nhân sự",
    "Cắt băng khánh thành trụ sở",
    "Người dân làm thủ tục đầu tiên",
    "Toàn cảnh trung tâm xã",
    "Tiết mục văn nghệ chào mừng",
    "Đại biểu chụp ảnh lưu niệm",
)
OLD_VIEWS = ("Trụ sở cũ", "Đường làng", "Cánh đồng mùa gặt", "Bến nước", "Cổng làng")


def add_pictures(dossier: Dossier, top: str) -> None:
    """Photographs old and new, two of them named by a Mac, and sketch maps."""
    rng, album = dossier.rng, f"{top}/Lễ ra mắt {MERGED.name} ngày 01-7-2025"
    for number, moment in enumerate(MOMENTS, 1):
        data = write_jpeg(landscape(rng, f"{moment}, 01/7/2025", *PHOTO), f"{moment}. {SAMPLE}")
        when = FOUNDED + timedelta(minutes=7 * number)
        form = "NFD" if number in (3, 6) else "NFC"
        dossier.put(album, f"Ảnh {number:02} {moment}.jpg", data, when, form=form)
        if moment == "Toàn cảnh trung tâm xã":
            dossier.put(top, "Ảnh bìa kỷ yếu (bản sao).jpg", data, when)
    for number, commune in enumerate(FORMER):
        for view in OLD_VIEWS:
            when = datetime(1996 + number, 3 + number, rng.randrange(1, 28), 10, 0, tzinfo=HANOI)
            caption = f"{view}, {commune.name}, {when.year}"
            data = write_jpeg(landscape(rng, caption, *PHOTO, old=True), caption)
            dossier.put(f"{top}/Ảnh cũ {commune.name}", f"{view} (năm {when.year}).jpg", data, when)
    for commune in COMMUNES:
        caption = f"Sơ đồ ranh giới {commune.name}"
        dossier.put(f"{top}/Sơ đồ", f"{caption}.png", write_png(landscape(rng, caption, *PHOTO), caption), HANDED_OVER)


def add_meetings(dossier: Dossier, top: str) -> None:
    """Recordings of meetings with what was said."""
    for number, commune in enumerate(COMMUNES, 1):
        when = FOUNDED - timedelta(days=20 * (len(COMMUNES) - number), hours=-6)
        name = f"Ghi âm {number:02} Họp triển khai bàn giao tài liệu tại {commune.name}"
        text = "\r\n".join(
            (
                f"BIÊN BẢN GHI ÂM - {commune.titled}, {when:%d/%m/%Y}",
                f"Chủ trì: {commune.chair}. Thư ký: {commune.clerk}.",
                "Cuộc họp thống nhất kế hoạch thống kê, đóng gói, niêm phong tài liệu trước khi bàn giao.",
                f"{SAMPLE}.",
                "",
            )
        )
        dossier.put(top, f"{name}.wav", formats.write_wav(dossier.rng, 6), when)
        dossier.put(top, f"{name}.txt", text.encode(), when)


def address(commune: Commune) -> tuple[str, str]:
    """A sender; the domain is one that no one can own (RFC 2606)."""
    return f"UBND {commune.name}", f"vanthu{COMMUNES.index(commune) + 1}@vidu.example"


def add_mail(dossier: Dossier, top: str) -> None:
    """Messages between the communes, some with a paper attached."""
    rng, number = dossier.rng, 0
    for commune in FORMER:
        for subject in (
            "Gửi dự thảo danh mục hồ sơ bàn giao",
            "Xác nhận lịch bàn giao tài liệu",
            "Hỏi về sổ hộ tịch cũ",
        ):
            number += 1
            when = HANDED_OVER - timedelta(days=30 - 2 * number, minutes=rng.randrange(300))
            attached = [("Biên bản bàn giao (dự thảo).pdf", as_pdf(handover(commune, rng), commune.clerk))]
            text = f"Kính gửi UBND {MERGED.name},\n\n{subject} của {commune.name}.\n\nTrân trọng,\n{commune.clerk}\n"
            data = formats.write_mail(
                address(commune),
                address(MERGED),
                subject=f"{subject} - {commune.titled}",
                text=text,
                when=when,
                attached=attached if "dự thảo" in subject else (),
            )
            dossier.put(top, f"Thư {number:02} {subject}.eml", data, when)


def add_front_matter(dossier: Dossier, top: str) -> None:
    """What a reader meets first, and what real transfers also hold: archives, an empty file, one with no extension."""
    author, when, former = MERGED.clerk, HANDED_OVER, ", ".join(commune.name for commune in FORMER)
    history = (
        f"{MERGED.titled}, {PROVINCE} được thành lập từ ngày 01 tháng 7 năm 2025 trên cơ sở {former}.",
        "Tài liệu được giữ theo ba phông của các đơn vị trước sắp xếp và một phông mới; không trộn lẫn các phông.",
        f"{SAMPLE}.",
    )
    title = "Lịch sử đơn vị hình thành phông"
    dossier.put(top, f"{title}.odt", formats.write_odt(history, title, author, when), when)
    dossier.put(top, f"{title}.docx", formats.write_docx(history, title, author, when), when)
    listed = [("Đường dẫn", "Số byte"), *((path, str(len(data))) for path, (data, _) in sorted(dossier.files.items()))]
    dossier.put(top, "Danh mục tệp tin.csv", formats.write_csv(listed), when)
    dossier.put(top, "Danh mục tệp tin.xlsx", formats.write_xlsx(listed, "Tệp tin", title, author, when), when)
    dossier.put(top, "Đọc trước.txt", "\r\n".join((*history, "")).encode(), when)
    note = f"Chìa khóa kho số 2 giao cho {author}.\nCòn thiếu hộp số 17.\n".encode()
    dossier.put(top, "Ghi chú của người giao", note, when)
    dossier.put(top, f"Biên bản họp {VILLAGES[0]} (chờ bổ sung).txt", b"", when)
    for commune in FORMER:
        inside = [(path, data) for path, (data, _) in dossier.files.items() if commune.name in path]
        texts = [(path, data) for path, data in inside if path.endswith((".csv", ".docx", ".txt"))]
        dossier.put(top, f"Bản gửi Sở Nội vụ - {commune.titled}.zip", formats.write_zip(texts, when), when)
    dossier.empty_folders.append(f"{top}/Hồ sơ chờ bổ sung")


def place_of(commune: Commune) -> str:
    """The folder of a commune's own records."""
    span = "từ ngày 01-7-2025" if commune is MERGED else "trước ngày 01-7-2025"
    return f"{COMMUNES.index(commune) + 1:02} Phông UBND {commune.name} ({span})"


def write_files(dossier: Dossier, dest: str) -> None:
    """Write everything below `dest`; a folder gets the latest time of its files."""
    latest: dict[str, float] = {}
    for path, (data, when) in dossier.files.items():
        full = os.path.join(dest, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "xb") as file:
            file.write(data)
        os.utime(full, (when.timestamp(), when.timestamp()))
        folder = os.path.dirname(path)
        while folder:
            latest[folder] = max(latest.get(folder, 0.0), when.timestamp())
            folder = os.path.dirname(folder)
    for path in dossier.empty_folders:
        os.makedirs(os.path.join(dest, path))
        latest[path] = HANDED_OVER.timestamp()
    for path, stamp in latest.items():
        os.utime(os.path.join(dest, path), (stamp, stamp))
    os.utime(dest, (max(latest.values()),) * 2)


def make_dossier(dest: str, seed: int = 2025) -> int:
    """Write the dossier into `dest`, a new or empty folder; returns the number of files."""
    os.makedirs(dest, exist_ok=True)
    if os.listdir(dest):
        raise FileExistsError(f"{dest} is not empty")
    dossier = Dossier(seed)
    for commune in COMMUNES:
        add_series(dossier, commune, place_of(commune))
    add_handovers(dossier, "05 Bàn giao khi sắp xếp đơn vị hành chính")
    add_registers(dossier, "06 Sổ hộ tịch số hóa")
    add_pictures(dossier, "07 Ảnh tư liệu")
    add_meetings(dossier, "08 Ghi âm cuộc họp")
    add_mail(dossier, "09 Thư điện tử")
    add_front_matter(dossier, "00 Tổng hợp")
    write_files(dossier, dest)
    return len(dossier.files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dest", help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=2025)
    given = parser.parse_args()
    print(f"{make_dossier(given.dest, given.seed)} files in {given.dest}")
