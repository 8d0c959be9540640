"""What the sample dossier is about: invented communes, invented people, and the papers that they write.

The province, the district and every person are named after the Vietnamese words for "example", "sample" and
"illustration", so that no reader takes them for real ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import Random
from typing import NamedTuple

from papers import SAMPLE, Paper

HANOI = timezone(timedelta(hours=7))
PROVINCE, DISTRICT = "tỉnh Ví Dụ", "huyện Thí Dụ"
PEOPLE = (
    "Nguyễn Văn Mẫu",
    "Trần Thị Thí Dụ",
    "Lê Minh Họa",
    "Phạm Giả Định",
    "Hoàng Văn Thử",
    "Vũ Thị Tưởng Tượng",
    "Đặng Hư Cấu",
    "Bùi Thị Phỏng Theo",
    "Đỗ Văn Chẳng Hạn",
    "Ngô Thị Tượng Trưng",
)
VILLAGES = ("thôn Thượng", "thôn Hạ", "thôn Đông", "thôn Đoài", "thôn Bãi Ngoài", "thôn Giếng Đá")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commune:
    """One commune; `level` is "xã" or "thị trấn", `years` are those of its papers, `months` those of the last year."""

    code: str
    level: str
    seat: str
    chair: str
    clerk: str
    years: tuple[int, ...]
    months: tuple[int, int]
    superior: str

    @property
    def name(self) -> str:
        """Such as "xã Bến Lụa"."""
        return f"{self.level} {self.seat}"

    @property
    def proposer(self) -> str:
        """The office that proposes its decisions: its name changed with the merger."""
        merged = "Chánh Văn phòng Hội đồng nhân dân và Ủy ban nhân dân"
        return merged if self.superior == PROVINCE else "công chức Văn phòng - Thống kê"

    @property
    def titled(self) -> str:
        """The name as a title begins."""
        return self.name[0].upper() + self.name[1:]


FORMER = tuple(
    Commune(
        code=f"H00.77.{number:02}",
        level=level,
        seat=seat,
        chair=PEOPLE[number],
        clerk=PEOPLE[number + 4],
        years=(2023, 2024, 2025),
        months=(1, 6),
        superior=DISTRICT,
    )
    for number, (level, seat) in enumerate((("xã", "Bến Lụa"), ("xã", "Đồi Sim"), ("thị trấn", "Cầu Tre")), 1)
)
MERGED = Commune(
    code="H00.88",
    level="xã",
    seat="Trăng Ngà",
    chair=PEOPLE[0],
    clerk=PEOPLE[8],
    years=(2025,),
    months=(7, 12),
    superior=PROVINCE,
)
COMMUNES = (*FORMER, MERGED)


class Series(NamedTuple):
    """One series of papers: its folder, symbol, heading, retention code and reading, and what the papers are about."""

    folder: str
    symbol: str
    heading: str
    retention: str
    subjects: tuple[str, ...]
    merged_subjects: tuple[str, ...]


RESOLUTIONS = Series(
    "Nghị quyết của Hội đồng nhân dân",
    "NQ-HĐND",
    "NGHỊ QUYẾT",
    "01",
    (
        "về nhiệm vụ phát triển kinh tế - xã hội năm {year}",
        "về dự toán thu, chi ngân sách {level} năm {year}",
        "về kế hoạch đầu tư công năm {year}",
        "về chương trình giám sát của Hội đồng nhân dân năm {year}",
        "phê chuẩn quyết toán ngân sách {level} năm {before}",
    ),
    (
        "về việc thành lập các Ban của Hội đồng nhân dân xã",
        "ban hành Quy chế hoạt động của Hội đồng nhân dân xã",
        "về nhiệm vụ phát triển kinh tế - xã hội 6 tháng cuối năm {year}",
        "về điều chỉnh dự toán ngân sách xã năm {year} sau sắp xếp",
        "về việc tiếp nhận hồ sơ, tài liệu của các đơn vị hành chính trước sắp xếp",
    ),
)
DECISIONS = Series(
    "Quyết định của Ủy ban nhân dân",
    "QĐ-UBND",
    "QUYẾT ĐỊNH",
    "01",
    (
        "về việc phê duyệt Kế hoạch chuyển đổi số năm {year}",
        "về việc công nhận hộ nghèo, hộ cận nghèo năm {year}",
        "về việc thành lập Tổ công nghệ số cộng đồng",
        "về việc phân công công tác của các thành viên Ủy ban nhân dân",
        "về việc ban hành Danh mục hồ sơ năm {year}",
        "về việc kiện toàn Hội đồng nghĩa vụ quân sự năm {year}",
        "về việc trợ cấp xã hội hằng tháng cho người cao tuổi",
    ),
    (
        "về việc thành lập Văn phòng Hội đồng nhân dân và Ủy ban nhân dân xã",
        "về việc thành lập Phòng Kinh tế",
        "về việc thành lập Phòng Văn hóa - Xã hội",
        "về việc ban hành Quy chế làm việc của Trung tâm Phục vụ hành chính công",
        "về việc thành lập Tổ tiếp nhận, bàn giao hồ sơ, tài liệu lưu trữ",
        "về việc ban hành Quy chế công tác văn thư, lưu trữ",
        "về việc phân công công tác của các thành viên Ủy ban nhân dân",
        "về việc thu hồi con dấu của các đơn vị hành chính trước sắp xếp",
    ),
)
SENT = Series(
    "Công văn đi",
    "UBND-VP",
    "",
    "02",
    (
        "về việc báo cáo kết quả cải cách hành chính năm {year}",
        "về việc đăng ký nhu cầu sửa chữa đường giao thông nông thôn",
        "về việc trả lời kiến nghị của cử tri {seat}",
        "về việc phối hợp tổ chức lễ hội đầu xuân năm {year}",
        "về việc rà soát hồ sơ người có công với cách mạng",
    ),
    (
        "về việc thông báo địa điểm làm việc và con dấu mới",
        "về việc cử đầu mối tiếp nhận hồ sơ hộ tịch",
        "về việc đề nghị cấp kinh phí chỉnh lý tài liệu tồn đọng",
        "về việc báo cáo tiến độ số hóa sổ hộ tịch",
        "về việc trả lời kiến nghị của cử tri sau sắp xếp",
        "về việc mời dự lễ ra mắt xã mới",
    ),
)
RECEIVED = Series(
    "Công văn đến",
    "UBND-NV",
    "",
    "02",
    (
        "về việc hướng dẫn lập hồ sơ và giao nộp tài liệu năm {year}",
        "về việc triển khai số hóa sổ hộ tịch",
        "về việc rà soát, làm sạch dữ liệu đất đai",
        "về việc tăng cường phòng cháy, chữa cháy mùa hanh khô năm {year}",
    ),
    (
        "về việc hướng dẫn quản lý tài liệu lưu trữ khi sắp xếp đơn vị hành chính",
        "về việc bàn giao tài liệu của cấp huyện kết thúc hoạt động",
        "về việc vận hành mô hình chính quyền địa phương hai cấp",
        "về việc tập huấn nghiệp vụ văn thư, lưu trữ cho công chức xã",
        "về việc kết nối kho lưu trữ tài liệu điện tử của tỉnh",
        "về việc kiểm kê tài sản công sau sắp xếp",
    ),
)
SERIES = (RESOLUTIONS, DECISIONS, SENT, RECEIVED)
PER_YEAR = {RESOLUTIONS: 3, DECISIONS: 4, SENT: 3, RECEIVED: 3}


def text_of(series: Series, commune: Commune, about: str, rng: Random) -> tuple[str, ...]:
    """The paragraphs of a paper of `series`."""
    body = about.removeprefix("về việc ").removeprefix("về ")
    if series is RESOLUTIONS:
        return (
            "Căn cứ Luật Tổ chức chính quyền địa phương;",
            (
                f"Xét Tờ trình số {rng.randrange(10, 99)}/TTr-UBND của Ủy ban nhân dân {commune.name}; ý kiến thảo luận"
                " của đại biểu Hội đồng nhân dân tại kỳ họp,"
            ),
            "QUYẾT NGHỊ:",
            f"Điều 1. Thông qua nội dung: {body}, kèm theo Tờ trình nêu trên.",
            (
                f"Điều 2. Giao Ủy ban nhân dân {commune.name} tổ chức thực hiện; Thường trực, các Ban và đại biểu Hội"
                " đồng nhân dân giám sát việc thực hiện Nghị quyết."
            ),
            (
                f"Nghị quyết này đã được Hội đồng nhân dân {commune.name} thông qua với {rng.randrange(19, 27)} đại"
                " biểu tán thành và có hiệu lực kể từ ngày ký."
            ),
        )
    if series is DECISIONS:
        return (
            "Căn cứ Luật Tổ chức chính quyền địa phương;",
            f"Theo đề nghị của {commune.proposer} {commune.name},",
            "QUYẾT ĐỊNH:",
            (
                f"Điều 1. {body[0].upper()}{body[1:]}; chi tiết theo phụ lục kèm theo. Kinh phí thực hiện là"
                f" {rng.randrange(12, 480)}.000.000 đồng, lấy từ nguồn ngân sách được giao."
            ),
            (
                f"Điều 2. Ông (bà) {rng.choice(PEOPLE)} chịu trách nhiệm theo dõi, đôn đốc và báo cáo kết quả trước"
                " ngày 25 hằng tháng."
            ),
            "Điều 3. Các bộ phận chuyên môn và các cá nhân có liên quan chịu trách nhiệm thi hành Quyết định này.",
        )
    return (
        (
            f"Thực hiện chỉ đạo của cấp trên {about}, Ủy ban nhân dân đề nghị các cơ quan, đơn vị phối hợp thực hiện"
            " những nội dung sau:"
        ),
        (
            f"1. Rà soát {rng.randrange(20, 400)} hồ sơ tại {', '.join(rng.sample(VILLAGES, 3))}, đối chiếu với sổ theo"
            " dõi và báo cáo những trường hợp còn thiếu."
        ),
        f"2. Gửi kết quả bằng văn bản điện tử có ký số trước ngày {rng.randrange(10, 28)} hằng tháng.",
        f"Đầu mối liên hệ: ông (bà) {rng.choice(PEOPLE)}. Trân trọng./.",
    )


def compose(
    series: Series, commune: Commune, *, number: int, subject: str, when: datetime, rng: Random
) -> tuple[str, Paper]:
    """A paper of `series` and its file name without an extension."""
    about = subject.format(year=when.year, before=when.year - 1, level=commune.level, seat=commune.name)
    issuer, place, signing = (
        ("ỦY BAN NHÂN DÂN", commune.name.upper()),
        commune.seat,
        ("TM. ỦY BAN NHÂN DÂN", "CHỦ TỊCH"),
    )
    signer, above, first = commune.chair, commune.superior, "Như trên;"
    if series is RESOLUTIONS:
        issuer, signing = ("HỘI ĐỒNG NHÂN DÂN", commune.name.upper()), ("TM. HỘI ĐỒNG NHÂN DÂN", "CHỦ TỊCH")
        first = "Như Điều 2;"
    elif series is DECISIONS:
        first = "Như Điều 3;"
    elif series is RECEIVED:
        seat = commune.superior.partition(" ")[2]
        issuer, place, signer = ("ỦY BAN NHÂN DÂN", commune.superior.upper()), seat, PEOPLE[9]
        above = commune.name
    paper = Paper(
        issuer=issuer,
        place=place,
        number=f"{number}/{series.symbol}",
        when=when,
        heading=series.heading,
        subject=about,
        body=text_of(series, commune, about, rng),
        recipients=(first, f"UBND {above};", "Lưu: VT."),
        signing=signing,
        signer=signer,
    )
    return f"{number:02}-{series.symbol} {about}", paper


def dates(rng: Random, year: int, months: tuple[int, int], count: int) -> list[datetime]:
    """`count` working hours of the given months, in order."""
    first, last = datetime(year, months[0], 2, tzinfo=HANOI), datetime(year, months[1], 28, tzinfo=HANOI)
    days = sorted(rng.sample(range((last - first).days), count))
    return [first + timedelta(days=day, hours=rng.randrange(8, 17), minutes=rng.randrange(60)) for day in days]


def merger_resolution() -> Paper:
    """The province's resolution on the merger, of which every commune keeps a copy."""
    former = ", ".join(commune.name for commune in FORMER)
    return Paper(
        issuer=("HỘI ĐỒNG NHÂN DÂN", PROVINCE.upper()),
        place="Ví Dụ",
        number="15/NQ-HĐND",
        when=datetime(2025, 4, 25, 10, 30, tzinfo=HANOI),
        heading="NGHỊ QUYẾT",
        subject="về việc thông qua chủ trương sắp xếp đơn vị hành chính cấp xã",
        body=(
            "Căn cứ Luật Tổ chức chính quyền địa phương;",
            "QUYẾT NGHỊ:",
            (
                f"Điều 1. Tán thành chủ trương thành lập {MERGED.name} trên cơ sở nhập toàn bộ diện tích tự nhiên và"
                f" quy mô dân số của {former} thuộc {DISTRICT}, {PROVINCE}."
            ),
            (
                "Điều 2. Hồ sơ, tài liệu hình thành trong hoạt động của các đơn vị hành chính trước sắp xếp được thống"
                " kê, đóng gói, niêm phong và bàn giao nguyên vẹn theo phông lưu trữ."
            ),
            "Điều 3. Chính quyền địa phương ở đơn vị hành chính mới hoạt động từ ngày 01 tháng 7 năm 2025.",
        ),
        recipients=("Ủy ban nhân dân các cấp;", "Lưu: VT."),
        signing=("CHỦ TỊCH",),
        signer=PEOPLE[9],
    )


def handover(commune: Commune, rng: Random) -> Paper:
    """The minutes by which a former commune hands its records over."""
    listed = tuple(
        f"{number}. Tài liệu năm {2000 + number}: {rng.randrange(8, 60)} hồ sơ, {rng.randrange(2, 9)} hộp, tình trạng"
        f" vật lý {rng.choice(('tốt', 'bình thường', 'có tờ bị ố, mủn'))}."
        for number in range(1, 26)
    )
    return Paper(
        issuer=("ỦY BAN NHÂN DÂN", MERGED.name.upper()),
        place=MERGED.seat,
        number=f"{FORMER.index(commune) + 1}/BB-UBND",
        when=datetime(2025, 7, 8 + FORMER.index(commune), 9, tzinfo=HANOI),
        heading="BIÊN BẢN",
        subject=f"bàn giao hồ sơ, tài liệu lưu trữ của {commune.name}",
        body=(
            f"Bên giao: ông (bà) {commune.clerk}, nguyên công chức Văn phòng - Thống kê {commune.name}.",
            f"Bên nhận: ông (bà) {MERGED.clerk}, công chức phụ trách lưu trữ {MERGED.name}.",
            "Hai bên thống nhất giao, nhận hồ sơ, tài liệu theo danh mục dưới đây:",
            *listed,
            "Biên bản được lập thành hai bản có giá trị như nhau, mỗi bên giữ một bản.",
        ),
        recipients=("Như trên;", "Lưu: VT."),
        signing=("ĐẠI DIỆN BÊN NHẬN",),
        signer=MERGED.clerk,
    )


def description(
    commune: Commune, *, number: int, title: str, dated: Sequence[datetime], pages: int, retention: str
) -> list[tuple[str, str]]:
    """The 18 fields that describe a record file in a submission package of Circular 05/2025/TT-BNV.

    `dated` has the date of each document; the first one's year stands in the code.
    """
    code = f"{commune.code}.{dated[0].year}.{number:02}"
    return [
        ("fileCode", code),
        ("title", title),
        ("maintenance", retention),
        ("mode", "01"),
        ("language", "01"),
        ("startDate", f"{min(dated):%d/%m/%Y}"),
        ("endDate", f"{max(dated):%d/%m/%Y}"),
        ("keyword", f"{commune.titled}; {dated[0].year}"),
        ("totalDoc", str(len(dated))),
        ("numberOfPaper", str((pages + 1) // 2)),
        ("numberOfPage", str(pages)),
        ("format", "01"),
        ("inforSign", ""),
        ("confidenceLevel", "01"),
        ("paperFileCode", f"{code}.G"),
        ("riskRecovery", "1"),
        ("riskRecoveryStatus", "02"),
        ("description", f"Người lập hồ sơ: {commune.clerk}. {SAMPLE}."),
    ]
