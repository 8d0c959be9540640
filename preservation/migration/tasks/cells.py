"""The cells of spreadsheets, read by ourselves, and two workbooks compared sheet by sheet and cell by cell."""

import csv
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from preservation.migration.tasks import TaskRefusedError
from preservation.migration.tasks.biff import xls_sheets
from preservation.migration.tasks.zipped import attribute, local, named, parts, tree

Cell = tuple[str, float | str]
"""`n` a number, `s` a text, `e` a mistake or something whose value is made anew: only that it is there counts."""

Sheet = dict[tuple[int, int], Cell]

_MOST = 5_000_000
_REPEATED = 100_000
_CELL = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_TIME = re.compile(r"-?PT(\d+)H(\d+)M(\d+(?:\.\d+)?)S")
_SHOWN = re.compile(r"[\d/:. %,APMapm-]+|TRUE|FALSE")
"""How a number is written in CSV if it stands for a date, a time, a part of a hundred or a truth."""

_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's days belong to no zone
_SHIFT_1904 = 1462
_NEAR = 1e-9
_SECOND = 1.2e-5


def compare(kind: str, source: str, *outputs: str) -> dict[str, object]:
    """Count sheets, rows and cells of both; and the cells that are on one side only, or have another value."""
    before = list(_sheets(kind, [source]))
    after = list(_sheets("ods" if outputs[0].endswith(".ods") else "csv", outputs))
    if sum(map(len, before)) > _MOST or sum(map(len, after)) > _MOST:
        raise TaskRefusedError("large")
    different = sum(len(one) for one in after[len(before) :]) + sum(len(one) for one in before[len(after) :])
    for ours, theirs in zip(before, after, strict=False):
        different += len(ours.keys() ^ theirs.keys())
        different += sum(not _alike(cell, theirs[place]) for place, cell in ours.items() if place in theirs)
    return {
        "sheets": [len(before), len(after)],
        "rows": [_rows(before), _rows(after)],
        "cells": [sum(map(len, before)), sum(map(len, after))],
        "different": different,
    }


def names(kind: str, path: str) -> dict[str, object]:
    """The names of the sheets, in order."""
    if kind == "xlsx":
        return {"names": [attribute(one, "name") for one in named(tree(path, "xl/workbook.xml"), "sheet")]}
    return {"names": [name for name, _ in xls_sheets(path)]}


def _rows(sheets: Sequence[Sheet]) -> int:
    return sum(len({row for row, _ in sheet}) for sheet in sheets)


def _alike(one: Cell, other: Cell) -> bool:
    if "e" in (one[0], other[0]):
        return True
    if one[0] == other[0] == "n":
        return abs(float(one[1]) - float(other[1])) <= max(_NEAR * abs(float(one[1])), _NEAR)
    if (one[0], other[0]) == ("n", "d"):  # the source writes a date as a number of days
        return any(abs(float(one[1]) + shift - float(other[1])) <= _SECOND for shift in (0, _SHIFT_1904))
    if (one[0], other[0]) == ("n", "s"):
        return _SHOWN.fullmatch(str(other[1])) is not None
    return str(one[1]) == str(other[1])


def _sheets(kind: str, paths: Sequence[str]) -> Iterator[Sheet]:
    if kind == "xlsx":
        yield from _xlsx(paths[0])
    elif kind == "xls":
        yield from (sheet for _, sheet in xls_sheets(paths[0]))
    elif kind == "ods":
        for table in named(tree(paths[0], "content.xml"), "table"):
            yield dict(_ods(table))
    else:
        yield from map(_csv, paths)


def _xlsx(path: str) -> Iterator[Sheet]:
    targets = {attribute(one, "Id"): attribute(one, "Target") for one in tree(path, "xl/_rels/workbook.xml.rels")}
    shared = [_joined(one) for one in tree(path, "xl/sharedStrings.xml") if local(one) == "si"]
    known = parts(path)
    listed = list(named(tree(path, "xl/workbook.xml"), "sheet"))
    if not listed:
        raise TaskRefusedError("xlsx")
    for one in listed:
        link = next((value for key, value in one.attrib.items() if key.endswith("}id")), "")
        target = targets.get(link, "").removeprefix("/xl/").removeprefix("xl/")
        if f"xl/{target}" not in known:
            raise TaskRefusedError("xlsx")
        yield dict(_xlsx_cells(tree(path, f"xl/{target}"), shared))


def _xlsx_cells(sheet: ET.Element, shared: Sequence[str]) -> Iterator[tuple[tuple[int, int], Cell]]:
    for number, row in enumerate(named(sheet, "row")):
        at = int(attribute(row, "r") or number + 1) - 1
        for place, one in enumerate(named(row, "c")):
            match = _CELL.fullmatch(attribute(one, "r"))
            column = _column(match[1]) if match else place
            cell = _xlsx_cell(one, shared)
            if cell is not None:
                yield (at, column), cell


def _xlsx_cell(one: ET.Element, shared: Sequence[str]) -> Cell | None:
    inside = {local(child): child for child in one}
    value = (inside["v"].text or "") if "v" in inside else ""
    kind = attribute(one, "t") or "n"
    if "f" in inside and not value:
        return "e", ""  # nobody has worked it out; the converter does
    if kind == "inlineStr" and "is" in inside:
        return _text(_joined(inside["is"]))
    if not value:
        return None
    if kind == "s":
        return _text(shared[int(value)])
    if kind in ("n", "b"):
        return "n", float(value)
    return _text(value) if kind == "str" else ("e", "")


def _joined(element: ET.Element) -> str:
    """The text of runs, without what shows how to pronounce it."""
    runs = [one for child in element if local(child) != "rPh" for one in child.iter() if local(one) == "t"]
    return "".join(one.text or "" for one in runs)


def _text(text: str) -> Cell | None:
    kept = " ".join(text.split())
    return ("s", kept) if kept else None


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _ods(table: ET.Element) -> Iterator[tuple[tuple[int, int], Cell]]:
    at = 0
    for row in named(table, "table-row"):
        cells = list(_ods_row(row))
        repeated = int(attribute(row, "number-rows-repeated") or 1)
        if cells and repeated > _REPEATED:
            raise TaskRefusedError("large")
        for copy in range(repeated if cells else 0):
            yield from (((at + copy, column), cell) for column, cell in cells)
        at += repeated


def _ods_row(row: ET.Element) -> Iterator[tuple[int, Cell]]:
    column = 0
    for one in row:
        if local(one) not in ("table-cell", "covered-table-cell"):
            continue
        repeated = int(attribute(one, "number-columns-repeated") or 1)
        cell = _ods_cell(one)
        if cell is not None:
            if repeated > _REPEATED:
                raise TaskRefusedError("large")
            yield from ((column + copy, cell) for copy in range(repeated))
        column += repeated


def _ods_cell(one: ET.Element) -> Cell | None:
    kind = attribute(one, "value-type")
    written = " ".join("".join(_written(child)) for child in one if local(child) == "p")
    if kind in ("float", "percentage", "currency"):
        return "n", float(attribute(one, "value"))
    if kind == "boolean":
        return "n", float(attribute(one, "boolean-value") == "true")
    if kind == "date":
        moment = dt.datetime.fromisoformat(attribute(one, "date-value")[:26])
        return "d", (moment - _EPOCH) / dt.timedelta(days=1)
    if kind == "time":
        match = _TIME.fullmatch(attribute(one, "time-value"))
        return ("d", (int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])) / 86400) if match else ("e", "")
    if kind == "string" and attribute(one, "formula") and written.startswith(("#", "Err:")):
        return "e", ""
    return _text(written) if kind == "string" else None


def _written(paragraph: ET.Element) -> Iterator[str]:
    """The text of a paragraph in ODF, spaces and tabs as they are written."""
    yield paragraph.text or ""
    for child in paragraph:
        if local(child) in ("s", "tab", "line-break"):
            yield " "
        yield from _written(child)
        yield child.tail or ""


def _csv(path: str) -> Sheet:
    csv.field_size_limit(64 << 20)
    sheet: Sheet = {}
    with open(path, encoding="utf-8", newline="") as file:
        for at, row in enumerate(csv.reader(file)):
            for column, value in enumerate(row):
                cell = _csv_cell(value)
                if cell is not None:
                    sheet[at, column] = cell
    return sheet


def _csv_cell(value: str) -> Cell | None:
    if value.startswith(("#", "Err:")):
        return "e", ""
    try:
        return "n", float(value)
    except ValueError:
        return _text(value)
