"""Messages become text and EML by our own reading; whatever is left out is caught."""

import email
import email.policy
import struct
from pathlib import Path

import pytest
from pathways_support import MESSAGE, converted, failed_measures, pathway

from preservation.migration.conversion import Room, Staged
from preservation.migration.pathway import Limits, sandbox
from preservation.migration.pathways import mail


def compound(tree):
    """An OLE2 file ([MS-CFB]) of streams (bytes, filled up to 4,096) and storages (dictionaries)."""
    entries, sectors, fat = [], [], []

    def add(name, kind, first=0xFFFFFFFE, size=0):
        entries.append([name, kind, 0xFFFFFFFF, 0xFFFFFFFF, first, size])
        return len(entries) - 1

    def fill(parent, content):
        before = None
        for name, value in sorted(content.items(), key=lambda item: (len(item[0]), item[0].upper())):
            if isinstance(value, dict):
                number = add(name, 1, 0)
                fill(number, value)
            else:
                padded = value.ljust(4096, b"\0")
                padded += bytes(-len(padded) % 512)
                first = len(sectors)
                sectors.extend(padded[at : at + 512] for at in range(0, len(padded), 512))
                fat.extend([*range(first + 1, len(sectors)), 0xFFFFFFFE])
                number = add(name, 2, first, max(len(value), 4096))
            entries[parent if before is None else before][3 if before is None else 2] = number
            before = number

    add("Root Entry", 5)
    fill(0, tree)
    directory = b""
    for name, kind, right, child, first, size in entries:
        label = name.encode("utf-16-le") + b"\0\0"
        directory += label.ljust(64, b"\0") + struct.pack("<HBB", len(label), kind, 1)
        directory += struct.pack("<III", 0xFFFFFFFF, right, child) + bytes(36) + struct.pack("<IQ", first, size)
    directory += bytes(-len(directory) % 512)
    start = len(sectors)
    sectors += [directory[at : at + 512] for at in range(0, len(directory), 512)]
    fat += [*range(start + 1, len(sectors)), 0xFFFFFFFE]
    tables = -(-(len(fat) + 8) // 127)
    places = list(range(len(fat), len(fat) + tables))
    fat += [0xFFFFFFFD] * tables
    fat += [0xFFFFFFFF] * (tables * 128 - len(fat))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    head += struct.pack("<IIIIIIII", tables, start, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<109I", *places, *[0xFFFFFFFF] * (109 - tables))
    return head + b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat)


def property_stream(head, *values):
    return bytes(head) + b"".join(struct.pack("<II", tag, 6) + value.ljust(8, b"\0") for tag, value in values)


def text(number, value):
    return {f"__substg1.0_{number}001F": value.encode("utf-16-le")}


def note(**changes):
    """A message as Outlook keeps it, with somebody to whom it goes and an attachment."""
    sent = struct.pack("<Q", 133_485_408_000_000_000)
    tree = {
        "__properties_version1.0": property_stream(32, (0x00390040, sent)),
        **text("001A", "IPM.Note"),
        **text("0037", "Báo cáo năm"),
        **text("1000", "Kính gửi Uỷ ban\r\nXin báo cáo.\r\n"),
        **text("0C1A", "Nguyễn Văn A"),
        **text("5D01", "a@example.vn"),
        "__substg1.0_10130102": "<p>Kính gửi</p>".encode(),
        "__recip_version1.0_#00000000": {
            "__properties_version1.0": property_stream(8, (0x0C150003, b"\x01")),
            **text("3001", "Trần B"),
            **text("39FE", "b@example.vn"),
        },
        "__attach_version1.0_#00000000": {
            "__properties_version1.0": property_stream(8),
            **text("3707", "báo cáo.pdf"),
            **text("370E", "application/pdf"),
            "__substg1.0_37010102": b"%PDF-1.4 " + bytes(range(256)) * 20,
        },
    }
    tree["__properties_version1.0"] += struct.pack("<II", 0x3FDE0003, 6) + struct.pack("<II", 65001, 0)
    return compound({**tree, **changes})


def test_a_message_becomes_a_text_that_says_everything(tmp_path):
    done = converted("eml-txt", MESSAGE, tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    written = Path(done.output).read_text()
    assert written.startswith("From: Nguyễn Văn A <a@example.vn>\nTo: b@example.vn\n")
    assert "Subject: Báo cáo\n" in written
    assert "Kính gửi Uỷ ban" in written
    assert "[1] b.pdf (application/pdf, 8 bytes, sha256:" in written


def test_an_outlook_message_becomes_an_internet_message(tmp_path):
    done = converted("msg-eml", note(), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    message = email.message_from_bytes(Path(done.output).read_bytes(), policy=email.policy.default)
    assert message["subject"] == "Báo cáo năm"
    assert message["from"] == "Nguyễn Văn A <a@example.vn>"
    assert message["to"] == "Trần B <b@example.vn>"
    assert message["date"].startswith("Mon, 01 Jan 2024")
    assert message.get_body(("plain",)).get_content().split() == ["Kính", "gửi", "Uỷ", "ban", "Xin", "báo", "cáo."]
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("báo cáo.pdf", "application/pdf")


@pytest.mark.parametrize(
    "changes",
    [
        text("001A", "IPM.Appointment"),
        {"__attach_version1.0_#00000001": {"__properties_version1.0": property_stream(8), "__substg1.0_3701000D": {}}},
        {"__substg1.0_1000001F": b"", "__substg1.0_10130102": b"", "__substg1.0_10090102": b"LZFu"},
    ],
    ids=["appointment", "message inside", "rich text only"],
)
def test_what_an_internet_message_cannot_say_is_refused(changes, tmp_path):
    assert not converted("msg-eml", note(**changes), tmp_path).accepted


@pytest.mark.parametrize("identity", ["msg-eml", "eml-txt"])
@pytest.mark.parametrize(
    "content", [b"", bytes(512), note()[:1000], b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 600]
)
def test_what_is_no_message_gives_none(identity, content, tmp_path):
    assert not converted(identity, content, tmp_path).accepted


def test_a_signed_message_is_only_a_rendition(tmp_path):
    done = converted("eml-txt", MESSAGE.replace(b"multipart/mixed", b"multipart/signed"), tmp_path)
    assert (done.accepted, done.rendition) == (True, True)


def measured(identity, content, spoil, tmp_path):
    """Convert, spoil the output, and measure."""
    done = converted(identity, content, tmp_path)
    one = pathway(identity)
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a").write_bytes(content)
    written = Path(done.output).read_bytes()
    assert spoil(written) != written
    (tmp_path / "out" / "a").write_bytes(spoil(written))
    room = Room(str(tmp_path), sandbox(), Limits())
    found = mail.measure(one, Staged("in/a", "out/a", one.sources[0]), ["out/a"], room)
    return {measure.name for measure in found if not measure.passed}


@pytest.mark.parametrize(
    ("spoil", "caught"),
    [
        (lambda text: text.replace("Uỷ".encode(), b""), {"words"}),
        (lambda text: text.replace("Báo cáo".encode(), b""), {"headers"}),
        (lambda text: text.partition(b"[1]")[0], {"parts"}),
    ],
    ids=["a word", "the subject", "an attachment"],
)
def test_a_text_that_lacks_something_is_caught(spoil, caught, tmp_path):
    assert measured("eml-txt", MESSAGE, spoil, tmp_path) == caught


@pytest.mark.parametrize(
    ("spoil", "caught"),
    [
        (lambda eml: eml.replace(b"a@example.vn", b"c@example.vn"), {"headers"}),
        (lambda eml: eml.replace(b"Subject:", b"X-Subject:"), {"headers"}),
        (lambda eml: eml.replace(b"JVBERi0x", b"JVBERi0y"), {"attachments"}),
        (lambda eml: eml.replace(b"<p>", b"<p>X"), {"html"}),
    ],
    ids=["another sender", "no subject", "another attachment", "another body"],
)
def test_an_internet_message_that_differs_is_caught(spoil, caught, tmp_path):
    assert measured("msg-eml", note(), spoil, tmp_path) == caught
