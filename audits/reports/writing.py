"""The verb: gather, make the page, write it and its tables; what is written is whole or not there."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from audits.reports.figures import Period
from audits.reports.gathering import Report, gathered
from audits.reports.language import Language
from audits.reports.page import page
from audits.reports.pdf import write_pdf
from audits.reports.tables import FOLDER, UNFINISHED, Spool, keep
from audits.reports.tabulation import SPOOLED, tables_of
from audits.reports.verdict import Matter, headline, matters
from preservation.repository import Repository
from storage_backends.errors import MocbanError, marked

DAYS = 365
"""How far a report looks back where nothing else is asked for."""


class ReportPathError(MocbanError):
    """The path of a report says neither that it is a page nor that it is a PDF."""

    template = marked("{place}: the name of a report ends in .html or .pdf")


class ReportPeriodError(MocbanError):
    """A period was asked for that has no time in it."""

    template = marked("The period ends on {end}, before it begins on {start}")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written where: the page, the folder of its tables and their names; and what the page says."""

    path: str
    folder: str
    files: Sequence[str]
    report: Report
    verdict: Matter
    matters: Sequence[Matter]


def write(
    repository: Repository,
    path: str,
    language: Language,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    remember: bool = True,
) -> Written:
    """Write a report on the events from ``start`` to ``end`` to ``path``, and its tables to ``path`` + ``.tables``.

    Without ``end`` it is up to now, without ``start`` a year, or from the beginning of a repository that is younger. An
    earlier report at ``path`` is replaced in one step. ``remember``: the repository may keep what was counted.

    Raises:
        ReportPathError, ReportPeriodError; PdfMissingError if a PDF is asked for and cannot be made.
        OSError: it could not be written; an earlier report is as it was.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind not in {".html", ".pdf"}:
        raise ReportPathError(place=path)
    period = _period(repository, language, start, end)
    folder = path + FOLDER
    os.makedirs(folder, exist_ok=True)
    spools = {name: Spool(folder) for name in SPOOLED}
    try:
        report = gathered(
            repository, period, language.local, lambda name, line: spools[name].add(line), remember=remember
        )
        text = "".join(page(report, language))
        _written(path, text, pdf=kind == ".pdf")
        files = keep(folder, list(tables_of(report, spools)))
    finally:
        for spool in spools.values():
            spool.close()
    found = matters(report)
    return Written(path, folder, files, report, headline(report, found), found)


def _period(repository: Repository, language: Language, start: datetime | None, end: datetime | None) -> Period:
    now = repository.world.now()
    until = min(end, now) if end is not None else now
    born = next(repository.ledger.records(0, 1)).time
    since = max(start if start is not None else until - timedelta(days=DAYS), born)
    if start is not None and end is not None and start >= end:
        raise ReportPeriodError(start=language.date(start), end=language.date(end))
    return Period(min(since, until), until, now)


def _written(path: str, text: str, *, pdf: bool) -> None:
    beside = path + UNFINISHED
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    try:
        with open(beside, "xb") as file:
            if pdf:
                write_pdf(text, file)
            else:
                file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
