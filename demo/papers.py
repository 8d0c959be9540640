"""What an administrative paper of a commune says and where it stands on the page, for every format that shows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from lettering import width, wrapped

A4 = (595, 842)
"""Points."""
MARGIN, FOOT = 56, 60
BODY, SMALL_PRINT = 12, 9
PITCH = 1.7
INDENT = 28
LEFT_CENTRE, RIGHT_CENTRE = 165, 425
SIGNING_ROOM = 150

SAMPLE = "Tài liệu mẫu để trình diễn phần mềm, không có giá trị pháp lý"
COUNTRY = ("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One paper; `issuer` and `signing` are lines, `heading` is empty for an ordinary letter."""

    issuer: tuple[str, ...]
    place: str
    number: str
    when: datetime
    heading: str
    subject: str
    body: tuple[str, ...]
    recipients: tuple[str, ...]
    signing: tuple[str, ...]
    signer: str

    @property
    def title(self) -> str:
        """What the paper is called in a list."""
        return f"{self.heading or 'Công văn'} số {self.number} {self.subject}".strip()

    @property
    def dated(self) -> str:
        """Place and date as the paper shows them: from 3 to 9 the month and the day are written as the decree says."""
        day, month = f"{self.when.day:02}", f"{self.when.month:02}" if self.when.month in (1, 2) else self.when.month
        return f"{self.place}, ngày {day} tháng {month} năm {self.when.year}"


class Line(NamedTuple):
    """A line of text with its baseline's start in points from the lower left corner of the page."""

    x: float
    y: float
    size: float
    text: str


def centred(middle: float, y: float, size: float, text: str) -> Line:
    """A line whose middle is at `middle`."""
    return Line(middle - width(text, size) / 2, y, size, text)


def head(paper: Paper) -> tuple[list[Line], float]:
    """The letterhead, and the height of the first line under it."""
    lines = [centred(LEFT_CENTRE, 780 - 18 * i, 10, text) for i, text in enumerate(paper.issuer)]
    lines += [centred(RIGHT_CENTRE, 780 - 18 * i, 10, text) for i, text in enumerate(COUNTRY)]
    lines.append(centred(LEFT_CENTRE, 735, 11, f"Số: {paper.number}"))
    lines.append(centred(RIGHT_CENTRE, 735, 11, paper.dated))
    y = 690.0
    about = paper.subject if paper.heading else "V/v " + paper.subject.removeprefix("về việc ")
    if paper.heading:
        lines.append(centred(A4[0] / 2, y, 15, paper.heading))
        y -= 26
    for text in wrapped(about[0].upper() + about[1:], BODY, 400):
        lines.append(centred(A4[0] / 2, y, BODY, text))
        y -= BODY * PITCH
    return lines, y - 14


def foot(paper: Paper, y: float) -> list[Line]:
    """Recipients on the left, the signature on the right."""
    lines = [Line(MARGIN, y, 10, "Nơi nhận:")]
    lines += [Line(MARGIN, y - 17 * (i + 1), SMALL_PRINT, f"- {text}") for i, text in enumerate(paper.recipients)]
    lines += [centred(RIGHT_CENTRE, y - 18 * i, 11, text) for i, text in enumerate(paper.signing)]
    below = y - 18 * len(paper.signing)
    lines.append(centred(RIGHT_CENTRE, below - 30, 10, "(Đã ký)"))
    lines.append(centred(RIGHT_CENTRE, below - 66, BODY, paper.signer))
    return lines


def pages(paper: Paper) -> list[list[Line]]:
    """The lines of each page of `paper`."""
    lines, y = head(paper)
    done: list[list[Line]] = []
    for paragraph in paper.body:
        for i, text in enumerate(wrapped(paragraph, BODY, A4[0] - 2 * MARGIN - INDENT)):
            if y < FOOT + BODY:
                done.append(lines)
                lines, y = [], A4[1] - MARGIN - BODY
            lines.append(Line(MARGIN + (0 if i else INDENT), y, BODY, text))
            y -= BODY * PITCH
        y -= 5
    if y < FOOT + SIGNING_ROOM:
        done.append(lines)
        lines, y = [], A4[1] - MARGIN - BODY
    done.append(lines + foot(paper, y - 16))
    for page in done:
        page.append(centred(A4[0] / 2, 34, 8, SAMPLE))
    return done
