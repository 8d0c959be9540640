"""``report``: what people read of a repository, as a page or a PDF with tables beside it."""

import dataclasses
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from commands.printing import note, say, write_json
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import LANGUAGES, _, asked_language, in_language, local_zone
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.reports import Language, Written

DAY = click.DateTime(formats=["%Y-%m-%d"])


@command(
    "report",
    details=_(
        "PATH ends in .html or .pdf; the tables of the report lie beside it in PATH.tables, as CSV and as Parquet. The "
        "page needs nothing else and prints well; a PDF needs the extra 'report'. Without dates it is about the last "
        "year. It reads the ledger, the catalog, and manifests that were not counted before; it verifies no copy."
    ),
    examples=(
        "mocban -C archive report report.html",
        "mocban -C archive report 2026.pdf --language vi --from 2026-01-01 --to 2026-12-31",
    ),
)
@click.argument("path", metavar="PATH.html|PATH.pdf", type=click.Path(dir_okay=False))
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    help=_("The language of the report; without it, that of the environment, else that of mocban.toml."),
)
@click.option("--from", "first", metavar="DATE", type=DAY, help=_("The first day that it is about (2026-01-31)."))
@click.option("--to", "last", metavar="DATE", type=DAY, help=_("The last day that it is about."))
@json_option
@click.pass_obj
def report_command(
    call: Call, path: str, *, language: str | None, first: datetime | None, last: datetime | None, as_json: bool
) -> None:
    """Report."""
    from audits.reports import write  # noqa: PLC0415 - help does without it

    repository = call.reading()
    spoken = _language(language or asked_language() or repository.configuration.report.language)
    written = write(
        repository,
        path,
        spoken,
        start=_midnight(first) if first is not None else None,
        end=_midnight(last) + timedelta(days=1) if last is not None else None,
        remember=os.access(repository.path, os.W_OK),
    )
    if as_json:
        write_json(_as_json(written))
        return
    say(marked("Report: {path}"), path=written.path)
    say(marked("Tables: {path} ({count} files)"), path=written.folder, count=len(written.files))
    note(written.verdict.text, **written.verdict.values)


def _language(code: str) -> "Language":
    from audits.reports import Language  # noqa: PLC0415 - help does without it

    return Language(code, lambda text: in_language(code, text), local_zone())


def _midnight(day: datetime) -> datetime:
    """Return the beginning of a day as clocks here show it."""
    zone = local_zone()
    return day.replace(tzinfo=zone) if zone is not None else day.astimezone()


def _as_json(written: "Written") -> dict[str, Any]:
    held, history, ledger = written.report.holdings, written.report.history, written.report.ledger
    return {
        "path": written.path,
        "tables": written.folder,
        "files": list(written.files),
        "period": [written.report.period.start.isoformat(), written.report.period.end.isoformat()],
        "verdict": written.verdict.code,
        "weight": str(written.verdict.weight),
        "matters": [{"code": one.code, "weight": str(one.weight), **one.values} for one in written.matters],
        "packages": held.packages,
        "files_held": held.files,
        "objects": held.objects,
        "packs": held.packs,
        "stored_bytes": held.stored,
        "lost_objects": held.lost,
        "short_packs": held.short_packs,
        "stores": [dataclasses.asdict(one) for one in held.stores],
        "events_in_period": history.events,
        "audits_in_period": history.run_count,
        "failures_in_period": history.failure_count,
        "repairs_in_period": history.repair_count,
        "events": ledger.size,
        "checkpoint": ledger.checkpoint,
    }
