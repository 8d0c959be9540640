"""``formats report``, ``formats risk`` and ``formats watch``: what is held, what endangers it, what was decided."""

import csv
import dataclasses
import io
import shlex
from typing import TYPE_CHECKING, Any

import click

from commands.printing import note, say, say_table, warn, write, write_json
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import _, filled, number_text, size_text, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.findings import Finding
    from audits.obsolescence import Risks
    from preservation.catalog.catalog import View
    from preservation.repository import Repository
    from preservation.risk.register import Standing
    from preservation.risk.scoring import Assessment, Evidence

LEVELS = {"low": marked("low"), "moderate": marked("moderate"), "high": marked("high")}
ACTIONS = {
    "retain": marked("retain"),
    "migrate": marked("migrate"),
    "extract": marked("take out what is inside"),
    "identify": marked("find out what it is"),
    "judge": marked("judge it"),
}
STATES = {
    "none": marked("none"),
    "open": marked("open"),
    "accepted": marked("accepted"),
    "mitigated": marked("mitigated"),
}
FLAGS = {
    "contradictory": marked("rows of the imported table contradict each other; the worst counts"),
    "sources-differ": marked("our judgement and the imported table differ; the worse counts"),
}

LARGEST_TABLE = 64 << 20

csv_option = click.option("--csv", "as_csv", is_flag=True, help=_("Print the result as CSV, for spreadsheets."))


@command(
    "formats report",
    details=_(
        "Files of the latest versions, by the newest identification of each, with the risk of their format. Packages "
        "whose manifest cannot be read now are counted as such."
    ),
    examples=("mocban -C archive formats report", "mocban -C archive formats report --csv"),
)
@csv_option
@json_option
@click.pass_obj
def formats_report_command(call: Call, *, as_csv: bool, as_json: bool) -> None:
    """Report the formats."""
    repository = call.reading()
    with repository.reading() as view:
        found = _risks(repository, view)
    ordered = sorted(found.assessments, key=lambda one: (-one.files, one.format))
    if as_json:
        formats = [_count_json(one) for one in ordered]
        write_json({"formats": formats, **_unread(found)})
        return
    if as_csv:
        _write_csv(("format", "name", "files", "bytes", "level"), (_count_json(one) for one in ordered))
        return
    head = (_("FORMAT"), _("FILES"), _("SIZE"), _("RISK"), _("NAME"))
    lines = [
        (_format_text(one.format), number_text(one.files), size_text(one.bytes), _(LEVELS[one.level]), one.name)
        for one in ordered
    ]
    say_table([head, *lines], right=(1, 2))
    _tell_unread(found)


def _count_json(one: "Assessment") -> dict[str, Any]:
    return {"format": one.format, "name": one.name, "files": one.files, "bytes": one.bytes, "level": str(one.level)}


def _unread(found: "Risks") -> dict[str, int]:
    figures = found.figures
    return {"unread_packages": figures.unread_packages, "unread_files": figures.unread_files}


def _tell_unread(found: "Risks") -> None:
    if found.figures.unread_packages:
        warn(
            marked("Packages whose manifest could not be read now: {count}, with so many files: {files}"),
            count=number_text(found.figures.unread_packages),
            files=number_text(found.figures.unread_files),
        )


_FORMATS = {
    "several": marked("several"),
    "unidentified": marked("unidentified"),
    "failed": marked("failed"),
    "timeout": marked("too slow"),
    "off": marked("not looked at"),
}


def _format_text(name: str) -> str:
    return _(_FORMATS[name]) if name in _FORMATS else name


def _risks(repository: "Repository", view: "View") -> "Risks":
    from audits.obsolescence import risks  # noqa: PLC0415 - help does without it

    return risks(repository, view, remember=False)


def _write_csv(columns: tuple[str, ...], lines: Any) -> None:
    """Write CSV as spreadsheets read it; what would be taken for a formula is marked as text."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for line in lines:
        values = [line[name] for name in columns]
        writer.writerow([f"'{one}" if isinstance(one, str) and one[:1] in "=+-@\t\r" else one for one in values])
    write(file.getvalue().rstrip("\n"))


@command(
    "formats risk",
    details=_(
        "Each format that is held has a score from 0 to 100, by our own judgements and an imported table, raised by "
        "what is known of single files; the weightiest come first. Nothing unknown is low. With PUID all that one "
        "score rests on: factors, source, date. Low risks are left out without --all."
    ),
    examples=(
        "mocban -C archive formats risk",
        "mocban -C archive formats risk fmt/39 --json",
        "mocban -C archive formats risk --all --csv",
    ),
)
@click.argument("puid", metavar="[PUID]", default="")
@click.option("--all", "every", is_flag=True, help=_("Low risks too."))
@csv_option
@json_option
@click.pass_obj
def formats_risk_command(call: Call, puid: str, *, every: bool, as_csv: bool, as_json: bool) -> None:
    """Show the risks."""
    from preservation.risk.register import NotHeldError, standing  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        found = _risks(repository, view)
        chosen = [
            (one, standing(view, one))
            for one in found.assessments
            if (one.format == puid if puid else every or one.level != "low")
        ]
        if puid and not chosen:
            raise NotHeldError(puid=puid)
    if as_json:
        risks = [_risk_json(repository, one, now) for one, now in chosen]
        table = found.table.digest if found.table is not None else None
        write_json({"policy": found.policy.version, "table": table, "risks": risks, **_unread(found)})
    elif as_csv:
        columns = ("format", "name", "level", "score", "weight", "files", "bytes", "action", "target", "state", "since")
        _write_csv(columns, (_risk_json(repository, one, now) for one, now in chosen))
    elif puid:
        _tell_one(repository, found, *chosen[0])
    else:
        _tell_risks(chosen)
        _tell_unread(found)


def _risk_json(repository: "Repository", one: "Assessment", now: "Standing") -> dict[str, Any]:
    from preservation.risk.register import note_of  # noqa: PLC0415 - help does without it

    row = now.row
    return {
        **dataclasses.asdict(one),
        "level": str(one.level),
        "action": str(one.action),
        "programs": list(one.programs),
        "state": now.state,
        "grown": now.worse,
        "since": row.decided if row is not None else "",
        "reason_code": row.reason if row is not None else "",
        "note": note_of(repository.sidecars, row) if row is not None else "",
    }


def _tell_risks(chosen: "list[tuple[Assessment, Standing]]") -> None:
    if not chosen:
        say(marked("No format that is held is at risk"))
        return
    head = (_("FORMAT"), _("RISK"), _("SCORE"), _("WEIGHT"), _("FILES"), _("SIZE"), _("STATE"), _("TO DO"), _("NAME"))
    lines = []
    for one, now in chosen:
        action = _(ACTIONS[one.action]) + (f" -> {one.target}" if one.target and one.action == "migrate" else "")
        figures = (number_text(one.score), number_text(round(one.weight)), number_text(one.files), size_text(one.bytes))
        lines.append((_format_text(one.format), _(LEVELS[one.level]), *figures, _(STATES[now.state]), action, one.name))
    say_table([head, *lines], right=(2, 3, 4, 5))


def _tell_one(repository: "Repository", found: "Risks", one: "Assessment", now: "Standing") -> None:
    from commands.wording import asked_language  # noqa: PLC0415 - help does without it
    from preservation.risk.register import note_of  # noqa: PLC0415 - the same

    say(marked("Format {puid}: {name}"), puid=_format_text(one.format), name=one.name)
    say(
        marked("Risk: {level}, score {score} (without the facts of files: {base}); state: {state}"),
        level=_(LEVELS[one.level]),
        score=number_text(one.score),
        base=number_text(one.base),
        state=_(STATES[now.state]),
    )
    say(marked("Files: {files}, size: {size}"), files=number_text(one.files), size=size_text(one.bytes))
    reason = one.reason.get(asked_language() or "en", "")
    if reason:
        say(marked("Why: {text}"), text=reason)
    for flag in one.flags:
        say(marked("Note: {text}"), text=_(FLAGS[flag]))
    lines = [
        (_evidence_text(found, each), f"{each.points:+g}", _of(each), each.source, each.date, each.row)
        for each in one.evidence
    ]
    say_table([(_("EVIDENCE"), _("POINTS"), _("FILES"), _("SOURCE"), _("DATE"), _("ROW")), *lines], right=(1, 2))
    if now.row is not None:
        say(
            marked("Decided {time}: {state} ({code})"),
            time=time_text(now.row.decided),
            state=_(STATES[now.row.state]),
            code=now.row.reason,
        )
        words = note_of(repository.sidecars, now.row)
        if words:
            say(marked("Note: {text}"), text=words)
        if now.worse:
            say(marked("The score has grown since; the risk is open again"))


def _of(each: "Evidence") -> str:
    return _("all") if each.files is None else number_text(each.files)


_NARA = {
    "nara-disclosure": marked("disclosure"),
    "nara-adoption": marked("adoption"),
    "nara-transparency": marked("transparency"),
    "nara-self-documentation": marked("self-documentation"),
    "nara-hardware": marked("external hardware"),
    "nara-software": marked("external software"),
    "nara-patents": marked("patents"),
    "nara-protection": marked("technical protection"),
}


def _evidence_text(found: "Risks", each: "Evidence") -> str:
    from commands.wording import asked_language  # noqa: PLC0415 - help does without it
    from preservation.risk.scoring import factor_codes  # noqa: PLC0415 - the same

    if each.code in _NARA:
        return _(_NARA[each.code])
    english, vietnamese = factor_codes(found.policy)[each.code]
    return vietnamese if asked_language() == "vi" else english


note_option = click.option(
    "--note", metavar="TEXT", default="", help=_("Words for people; they are kept beside the ledger, not in it.")
)


def _decide(call: Call, puid: str, state: str, reason: str, note_text: str, *, as_json: bool) -> None:
    from preservation.risk.register import NotHeldError, decide  # noqa: PLC0415 - help does without it

    repository = call.writing()
    with repository.reading() as view:
        found = _risks(repository, view)
    one = next((each for each in found.assessments if each.format == puid), None)
    if one is None:
        raise NotHeldError(puid=puid)
    row = decide(repository, one, state, reason, note=note_text, table=found.state)
    if as_json:
        write_json(dataclasses.asdict(row))
    else:
        say(marked("The risk of {puid} is {state} from now on"), puid=puid, state=_(STATES[state]))


@command(
    "formats risk accept",
    details=_(
        "The risk is known and is borne. The code goes into the ledger: software-at-hand, low-value, "
        "retention-ends-soon, no-better-format or other. It is open again when the score grows."
    ),
    examples=("mocban -C archive formats risk accept fmt/40 --reason-code software-at-hand",),
)
@click.argument("puid", metavar="PUID")
@click.option(
    "--reason-code",
    "reason",
    required=True,
    type=click.Choice(("software-at-hand", "low-value", "retention-ends-soon", "no-better-format", "other")),
    help=_("Why: a word of a list."),
)
@note_option
@json_option
@click.pass_obj
def formats_risk_accept_command(call: Call, puid: str, *, reason: str, note: str, as_json: bool) -> None:
    """Accept a risk."""
    _decide(call, puid, "accepted", reason, note, as_json=as_json)


@command(
    "formats risk mitigate",
    details=_(
        "Something was done about it. The code goes into the ledger: migrated, software-kept, extracted, "
        "password-kept, fonts-kept or other. It is open again when the score grows."
    ),
    examples=("mocban -C archive formats risk mitigate fmt/39 --reason-code migrated --note 'plan 7'",),
)
@click.argument("puid", metavar="PUID")
@click.option(
    "--reason-code",
    "reason",
    required=True,
    type=click.Choice(("migrated", "software-kept", "extracted", "password-kept", "fonts-kept", "other")),
    help=_("Why: a word of a list."),
)
@note_option
@json_option
@click.pass_obj
def formats_risk_mitigate_command(call: Call, puid: str, *, reason: str, note: str, as_json: bool) -> None:
    """Note that something was done."""
    _decide(call, puid, "mitigated", reason, note, as_json=as_json)


@command(
    "formats risk reopen",
    details=_("What was decided no longer holds. The code: reconsidered, software-lost or other."),
    examples=("mocban -C archive formats risk reopen fmt/40 --reason-code software-lost",),
)
@click.argument("puid", metavar="PUID")
@click.option(
    "--reason-code",
    "reason",
    required=True,
    type=click.Choice(("reconsidered", "software-lost", "other")),
    help=_("Why: a word of a list."),
)
@note_option
@json_option
@click.pass_obj
def formats_risk_reopen_command(call: Call, puid: str, *, reason: str, note: str, as_json: bool) -> None:
    """Open a risk again."""
    _decide(call, puid, "open", reason, note, as_json=as_json)


@command(
    "formats risk import",
    details=_(
        "Takes in two tables of the NARA Digital Preservation Framework (CC0): PLAN, the preservation action plan for "
        "file formats, and MATRIX, the numbered risk matrix, both CSV. Nothing is fetched. Rows that contradict each "
        "other are taken as the worst of them and named."
    ),
    examples=("mocban -C archive formats risk import plan.csv matrix.csv",),
)
@click.argument("plan", metavar="PLAN", type=click.Path(exists=True, dir_okay=False))
@click.argument("matrix", metavar="MATRIX", type=click.Path(exists=True, dir_okay=False))
@json_option
@click.pass_obj
def formats_risk_import_command(call: Call, plan: str, matrix: str, *, as_json: bool) -> None:
    """Import a risk table."""
    from preservation.risk.table import import_table  # noqa: PLC0415 - help does without it

    texts = []
    for path in (plan, matrix):
        with open(path, "rb") as file:
            texts.append(file.read(LARGEST_TABLE + 1))
    done = import_table(call.writing(), texts[0], texts[1], (plan, matrix))
    if as_json:
        write_json(dataclasses.asdict(done))
        return
    if done.already:
        say(marked("The same table holds already; nothing was recorded"))
    say(marked("Formats that are rated: {count}"), count=number_text(done.formats))
    if done.contradictory:
        listed = " ".join(done.contradictory)
        note(marked("About these rows contradict each other, and the worst counts: {puids}"), puids=listed)


@command(
    "formats watch",
    details=_(
        "Tells of signatures that the files have not been gone through with, of risks about which nothing is decided "
        "or that have grown, of tools that disagree, and of programs that were there and are gone. Which programs "
        "there are is recorded when it changes. 'mocban serve' does the same every day."
    ),
    examples=("mocban -C archive formats watch", "mocban -C archive formats watch --json"),
)
@json_option
@click.pass_obj
def formats_watch_command(call: Call, *, as_json: bool) -> None:
    """Watch."""
    import shutil  # noqa: PLC0415 - help does without it

    from audits.obsolescence import obsolescence  # noqa: PLC0415 - the same
    from preservation.risk.policy import policy  # noqa: PLC0415 - the same
    from preservation.risk.watch import record_tools  # noqa: PLC0415 - the same

    repository = call.writing()
    tools = record_tools(repository, policy(), shutil.which)
    with repository.reading() as view:
        findings = obsolescence(repository, view, _risks(repository, view), tools)
    if as_json:
        write_json({"tools": tools, "findings": [_finding_json(one) for one in findings]})
        return
    for one in findings:
        _tell_finding(one)
    if not findings:
        say(marked("Nothing endangers what is held more than is known and decided"))


def _finding_json(one: "Finding") -> dict[str, Any]:
    from audits.findings import CAUSES, next_command  # noqa: PLC0415 - help does without it

    values = {**dataclasses.asdict(one), "code": str(one.code), "severity": str(one.severity)}
    return {**values, "causes": list(CAUSES[one.code]), "next": next_command(one)}


def _tell_finding(one: "Finding") -> None:
    from audits.findings import MEANING, next_command  # noqa: PLC0415 - help does without it

    say(marked("{code}: {what} ({where})"), code=str(one.code), what=_(MEANING[one.code]), where=one.detail)
    write(filled(marked("  next: {command}"), command=shlex.join(next_command(one))))
