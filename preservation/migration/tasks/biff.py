"""The cells of binary Excel workbooks (BIFF5 and BIFF8), from their own records.

Source: [MS-XLS] 2.4 (records), 2.5.217 (numbers in 30 bits). Texts are not read: that there is one counts.
"""

import struct
from collections.abc import Iterator

from preservation.migration.tasks import TaskRefusedError
from preservation.migration.tasks.binary import stream_of

_BOF, _EOF, _BOUNDSHEET, _FILEPASS = 0x0809, 0x000A, 0x0085, 0x002F
_NUMBER, _RK, _MULRK, _FORMULA, _BOOLERR = 0x0203, 0x027E, 0x00BD, 0x0006, 0x0205
_TEXTS = (0x00FD, 0x0204, 0x00D6)
_BIFF8 = 0x0600
_MODULE = 6
_EMPTY = 3
_CHART = 0x0020

Cell = tuple[str, float | str]
Sheet = dict[tuple[int, int], Cell]


def xls_sheets(path: str) -> list[tuple[str, Sheet]]:
    """Name and cells of each sheet, in order; charts are sheets without cells."""
    stream = stream_of(path, "Workbook", "Book")
    try:
        return [(name, dict(_cells(stream, place))) for name, place in _listed(stream)]
    except struct.error as error:
        raise TaskRefusedError("xls") from error


def _records(stream: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    while place + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, place)
        yield kind, stream[place + 4 : place + 4 + length]
        place += 4 + length


def _listed(stream: bytes) -> Iterator[tuple[str, int]]:
    version = 0
    for kind, body in _records(stream, 0):
        if kind == _BOF and not version:
            version = struct.unpack_from("<H", body)[0]
        elif kind == _FILEPASS:
            raise TaskRefusedError("encrypted")
        elif kind == _BOUNDSHEET:
            place, _, sort, length = struct.unpack_from("<IBBB", body)
            if sort == _MODULE:
                continue
            if version == _BIFF8:
                name = body[8:].decode("utf-16-le" if body[7] & 1 else "latin-1", "replace")[:length]
            else:
                name = body[7 : 7 + length].decode("cp1252", "replace")
            yield name, place
        elif kind == _EOF:
            return
    raise TaskRefusedError("xls")


def _cells(stream: bytes, place: int) -> Iterator[tuple[tuple[int, int], Cell]]:
    depth = 0
    for kind, body in _records(stream, place):
        if kind == _BOF:
            depth += 1
            if depth == 1 and struct.unpack_from("<H", body, 2)[0] == _CHART:  # its numbers are those of other sheets
                return
        elif kind == _EOF:
            depth -= 1
            if depth <= 0:
                return
        elif depth == 1:  # what lies deeper belongs to a chart
            yield from _cell(kind, body)


def _cell(kind: int, body: bytes) -> Iterator[tuple[tuple[int, int], Cell]]:
    if kind not in (_NUMBER, _RK, _MULRK, _FORMULA, _BOOLERR, *_TEXTS):
        return
    row, column = struct.unpack_from("<HH", body)
    if kind == _MULRK:
        for number in range((len(body) - 6) // 6):
            yield (row, column + number), ("n", _rk(struct.unpack_from("<i", body, 6 + 6 * number)[0]))
        return
    cell = _single(kind, body)
    if cell is not None:
        yield (row, column), cell


def _single(kind: int, body: bytes) -> Cell | None:
    if kind == _RK:
        return "n", _rk(struct.unpack_from("<i", body, 6)[0])
    if kind == _BOOLERR:
        return ("e", "") if body[7] else ("n", float(body[6]))
    if kind in _TEXTS:
        return None if kind == _TEXTS[1] and body[6:8] == b"\0\0" else ("e", "")
    if kind == _FORMULA and body[12:14] == b"\xff\xff":
        if body[6] == _EMPTY:
            return None
        return ("n", float(body[8])) if body[6] == 1 else ("e", "")
    return "n", struct.unpack_from("<d", body, 6)[0]


def _rk(bits: int) -> float:
    """A number in 30 bits: whole, or the upper bits of a double; perhaps times a hundred."""
    number = float(bits >> 2) if bits & 2 else struct.unpack("<d", struct.pack("<Q", (bits & 0xFFFFFFFC) << 32))[0]
    return float(number / 100 if bits & 1 else number)
