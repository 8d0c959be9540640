"""Tape file 0 of a cartridge: a VOL1 label (ISO 1001, ANSI X3.27) and a text that says how to read the tape without us.

The label is 80 characters of ASCII; the text is UTF-8, in English and Vietnamese, and ends with one line of JSON that
says which cartridge this is. File 0 says who a cartridge is, never what is on it.
"""

import json
from dataclasses import asdict, dataclass

from storage_backends.errors import Phrase
from storage_backends.tape.cartridges import BARCODE
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    DriveOfflineError,
    EndOfDataError,
    NoLabelError,
    TapeDrive,
    TapeError,
    WrongCartridgeError,
)

FORMAT = 1
VOL1_BYTES = 80
README_BYTES = 8192
FIRST_FILE = 1
"""The first tape file behind the label."""

README = """\
MOC BAN TAPE

English
-------
This tape is one cartridge of a digital archive. It can be read without any program of ours: with mt, dd and tar.
Tape file 0 is this text. Each further tape file is one POSIX tar file in records of 262144 bytes, and one filemark:

mt -f /dev/nst0 rewind; mt -f /dev/nst0 fsf N       goes to tape file N
tar -b 512 -xf /dev/nst0                            extracts it
dd if=/dev/nst0 bs=256k | b3sum                     prints the name of a pack (its BLAKE3 digest)

Tape files that begin with README-*.txt are packs: the records. Those that begin with MOCBAN-TAPE-INDEX/ are indexes: a
list of everything on this tape so far, and the log and the indexes of the archive. The last one knows all before it.
To restore: extract every pack into one folder; the records stand under packages/ under their own names.

Tiếng Việt
----------
Băng từ này là một cuộn băng của một kho lưu trữ số. Có thể đọc băng mà không cần chương trình nào của chúng tôi: chỉ
cần mt, dd và tar. Tệp băng số 0 là văn bản này. Mỗi tệp băng tiếp theo là một tệp tar POSIX, chia thành các khối
262144 byte, kết thúc bằng một dấu tệp (filemark):

mt -f /dev/nst0 rewind; mt -f /dev/nst0 fsf N       đi tới tệp băng thứ N
tar -b 512 -xf /dev/nst0                            giải nén tệp đó
dd if=/dev/nst0 bs=256k | b3sum                     in ra tên của gói (mã băm BLAKE3 của gói)

Tệp băng bắt đầu bằng README-*.txt là gói lưu trữ: tài liệu. Tệp băng bắt đầu bằng MOCBAN-TAPE-INDEX/ là bảng mục lục:
danh sách mọi thứ đã có trên băng, cùng sổ cái và chỉ mục của kho. Bảng cuối cùng biết mọi tệp đứng trước nó.
Khôi phục: giải nén mọi gói vào một thư mục; tài liệu nằm trong packages/ với đúng tên gốc.

"""


@dataclass(frozen=True, slots=True)
class Label:
    """Who a cartridge is. ``number`` is its place in the order in which its store's cartridges are filled, from 1."""

    barcode: str
    number: int
    store: str
    repository: str = ""
    written: str = ""


def vol1(label: Label) -> bytes:
    """Return the volume label: serial number, implementation, the whole barcode as owner, and standard version 4."""
    text = f"VOL1{label.barcode[:6]:6} {'':13}{'MOCBAN':13}{label.barcode:14}{'':28}4"
    assert len(text) == VOL1_BYTES
    return text.encode("ascii")


def readme(label: Label) -> bytes:
    """Return the text, with the cartridge's own line, padded with spaces."""
    line = json.dumps({"format": FORMAT, "mocban": "tape", **asdict(label)}, ensure_ascii=True, sort_keys=True)
    text = f"{README}{line}\n".encode()
    assert len(text) <= README_BYTES
    return text.ljust(README_BYTES)


def write_label(drive: TapeDrive, label: Label) -> None:
    """Make the blank cartridge in the drive this one; ``WrongCartridgeError`` if there is anything on it."""
    drive.rewind()
    try:
        drive.read(RECORD)
    except EndOfDataError:
        pass
    else:
        raise WrongCartridgeError(place=drive.name, barcode=label.barcode, found=Phrase("that it is not blank"))
    drive.rewind()
    drive.write(vol1(label))
    drive.write(readme(label))
    drive.write_filemark(synchronous=True)


def read_label(drive: TapeDrive, barcode: str) -> Label:
    """Return the label of the cartridge in the drive, and leave the drive behind it.

    Raises:
        NoLabelError: it is blank, or not one of ours, or cannot be read.
        WrongCartridgeError: the label is one of ours and of another barcode.
    """
    first, found = _read(drive, barcode)
    if found.barcode != barcode or first != vol1(found):
        raise WrongCartridgeError(place=drive.name, barcode=barcode, found=found.barcode)
    return found


def label_of(drive: TapeDrive) -> Label:
    """Return the label of whichever cartridge is in the drive; ``NoLabelError`` as ``read_label``."""
    first, found = _read(drive, "?")
    if first != vol1(found):
        raise NoLabelError(place=drive.name, barcode=found.barcode, reason="it contradicts itself")
    return found


def _read(drive: TapeDrive, barcode: str) -> tuple[bytes, Label]:
    drive.rewind()
    try:
        # Each as long as it is: more than one drive answers a longer read with bytes that are on no tape.
        first, second = drive.read(VOL1_BYTES), drive.read(README_BYTES)
        after = drive.read(RECORD)
    except EndOfDataError as error:
        raise NoLabelError(place=drive.name, barcode=barcode, reason="it is blank, or torn") from error
    except DriveOfflineError:
        raise
    except TapeError as error:
        raise NoLabelError(place=drive.name, barcode=barcode, reason=str(error)) from error
    if first is FILEMARK or second is FILEMARK or after is not FILEMARK or first[:4] != b"VOL1":
        raise NoLabelError(place=drive.name, barcode=barcode, reason="it is not one of ours")
    found = _parsed(second)
    if found is None:
        raise NoLabelError(place=drive.name, barcode=barcode, reason="it cannot be understood")
    return first, found


def _parsed(text: bytes) -> Label | None:
    line = text.rstrip().rpartition(b"\n")[2]
    try:
        values = json.loads(line)
        if values["mocban"] != "tape" or values["format"] != FORMAT:
            return None
        label = Label(**{name: values[name] for name in Label.__slots__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (label.barcode, label.store, label.repository, label.written)
    if not all(isinstance(text, str) for text in texts) or type(label.number) is not int or label.number < 1:
        return None
    return label if BARCODE.fullmatch(label.barcode) else None
