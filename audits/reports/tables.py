"""Tables beside a report, as CSV for people and as Parquet for machines, that no spreadsheet takes for formulas."""

import contextlib
import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from audits.reports.language import visible
from audits.reports.parquet import write_parquet

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide forms are meant
"""What a spreadsheet may take for the beginning of a formula (OWASP, CSV Injection), wide forms too."""

FOLDER = ".tables"
"""What is added to the path of a page for the folder of its tables."""

UNFINISHED = ".new"

Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its file name, its columns with their types, and its lines, which may be many and are read twice."""

    name: str
    columns: Sequence[tuple[str, type]]
    lines: Iterable[Sequence[Cell]]


class Spool:
    """Lines that are too many for memory: added once, read as often as wanted; they lie in a file without a name."""

    def __init__(self, folder: str) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="ascii", dir=folder)  # noqa: SIM115 - closed by close()
        self.count = 0

    def add(self, line: Sequence[Cell]) -> None:
        """Add a line."""
        self._file.write(json.dumps(line) + "\n")
        self.count += 1

    def __iter__(self) -> Iterator[Sequence[Cell]]:
        self._file.flush()
        self._file.seek(0)
        for text in self._file:
            yield json.loads(text)

    def close(self) -> None:
        """Forget the lines."""
        self._file.close()


def safe_cell(value: Cell) -> Cell:
    """Return a value as CSV may carry it: no formula, nothing that steers a terminal, one line."""
    if not isinstance(value, str):
        return value
    text = value if value.isprintable() else "".join(map(visible, value))
    return "'" + text if value.lstrip().startswith(FORMULA) or value.startswith(FORMULA) else text


def keep(folder: str, tables: Sequence[Table]) -> list[str]:
    """Write every table as ``NAME.csv`` and ``NAME.parquet`` into ``folder``; return the names of the files.

    A file of an earlier report is replaced in one step.

    Raises:
        OSError: As for any file; files that are named are whole.
    """
    os.makedirs(folder, exist_ok=True)
    names = []
    for table in tables:
        for name, write in ((f"{table.name}.csv", _write_csv), (f"{table.name}.parquet", _write_parquet)):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + UNFINISHED)
            try:
                write(path + UNFINISHED, table)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path + UNFINISHED)
                raise
            os.replace(path + UNFINISHED, path)
            names.append(name)
    return names


def _write_csv(path: str, table: Table) -> None:
    with open(path, "x", encoding="utf-8-sig", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow([name for name, _ in table.columns])
        for line in table.lines:
            writer.writerow([safe_cell(value) for value in line])


def _write_parquet(path: str, table: Table) -> None:
    write_parquet(path, table.columns, table.lines)
