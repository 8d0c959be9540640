"""Migration plans and what came of them as people and scripts read them."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from commands.wording import _, filled, harmless, number_text, size_text, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.catalog.plans import PlanRow
    from preservation.migration.executing import Executed
    from preservation.migration.outcome import FileOutcome, Outcome
    from preservation.migration.pathway import Availability, Pathway
    from preservation.migration.plan import Plan
    from preservation.migration.planning import Draft

STATES = {
    "planned": marked("planned"),
    "approved": marked("approved"),
    "running": marked("begun"),
    "done": marked("done"),
    "undoing": marked("being undone"),
    "undone": marked("undone"),
}

CODES = {
    "accepted": marked("accepted: every check holds"),
    "source-refused": marked("larger than the limits"),
    "source-unreadable": marked("no good copy of the source could be read; run 'mocban audit'"),
    "not-applicable": marked("not what the pathway is for"),
    "tool-failed": marked("the tool gave up"),
    "timeout": marked("the tool took too long and was ended"),
    "no-output": marked("the tool claimed success and wrote nothing"),
    "source-changed": marked("the tool changed what it was given"),
    "wrong-format": marked("the output is identified as something else"),
    "measure-failed": marked("a measure of the output differs from that of the source"),
    "unmeasured": marked("a measure could not be taken, so nothing is known"),
    "name-taken": marked("the name of the output is taken in the package"),
}
"""What the codes of results mean."""


def pathway_rows(found: "Iterable[tuple[Pathway, Availability]]") -> list[tuple[str, ...]]:
    """Return the table of pathways."""
    rows: list[tuple[str, ...]] = [(_("PATHWAY"), _("FROM"), _("TO"), _("WITH"), _("LOSSLESS"))]
    for one, availability in found:
        tool = f"{one.tool or 'mocban'} {availability.version}"
        if availability.missing:
            tool = filled(marked("not here: {programs}"), programs=", ".join(availability.missing))
        sources = " ".join(one.sources) + (f" ({one.wanted})" if one.wanted else "")
        rows.append((one.id, sources, " ".join(one.targets), tool, _(marked("yes")) if one.lossless else "-"))
    return rows


def plan_rows(found: "Sequence[PlanRow]") -> list[tuple[str, ...]]:
    """Return the table of plans."""
    head = (_("PLAN"), _("PATHWAY"), _("STATE"), _("FILES"), _("ACCEPTED"), _("NOT"), _("MADE"))
    return [
        head,
        *(
            (
                row.plan,
                row.pathway,
                _(STATES.get(row.state, row.state)),
                number_text(row.files),
                number_text(row.accepted),
                number_text(row.failed),
                time_text(row.planned),
            )
            for row in found
        ),
    ]


def plan_json(row: "PlanRow") -> dict[str, object]:
    """Return a plan as scripts read it."""
    return {
        "plan": row.plan,
        "state": row.state,
        "pathway": row.pathway,
        "fonds": row.fonds or None,
        "sha256": row.sha256,
        "root": row.root,
        "packages": row.packages,
        "files": row.files,
        "bytes": row.byte_count,
        "planned": row.planned,
        "author": row.author,
        "author_key": row.author_key or None,
        "approver": row.approver or None,
        "approver_key": row.approver_key or None,
        "approved": row.approved or None,
        "begun": row.begun or None,
        "ended": row.ended or None,
        "undone": row.undone or None,
        "accepted": row.accepted,
        "failed": row.failed,
    }


def draft_lines(draft: "Draft") -> Iterator[str]:
    """Yield what a plan comes to, right after it was made."""
    if draft.recorded:
        yield filled(marked("Plan {plan}, SHA-256 {digest}"), plan=draft.plan, digest=draft.sha256)
    else:
        yield filled(marked("Dry run: nothing was recorded. The plan would be:"))
    yield from _content(draft.values)
    if draft.signed:
        text = marked(
            "Its author has signed it. A second person approves it: 'mocban migrate approve {plan} --agent NAME'"
        )
        yield filled(text, plan=draft.plan)
    elif draft.recorded:
        text = marked("Its author must sign it first: 'mocban migrate approve {plan} --author --agent NAME'")
        yield filled(text, plan=draft.plan)


def _content(values: Mapping[str, Any]) -> Iterator[str]:
    pathway, frozen, trial, estimate = (values[name] for name in ("pathway", "set", "trial", "estimate"))
    yield filled(
        marked("  {files} files ({size}) in {packages} packages, root {root}"),
        files=number_text(frozen["files"]),
        size=size_text(frozen["bytes"]),
        packages=number_text(frozen["packages"]),
        root=frozen["root"],
    )
    yield filled(
        marked("  from {sources} to {targets} with {tool} {version}"),
        sources=" ".join(values["query"]["puids"]),
        targets=" ".join(pathway["targets"]),
        tool=pathway["tool"] or "mocban",
        version=pathway["tool_version"],
    )
    yield filled(marked("  must hold of each output: {checks}"), checks=", ".join(pathway["checks"]))
    yield filled(
        marked("  tried on {files}: {accepted} accepted; {before} became {after}"),
        files=number_text(trial["files"]),
        accepted=number_text(trial["accepted"]),
        before=size_text(trial["bytes_before"]),
        after=size_text(trial["bytes_after"]),
    )
    for code, count in trial["codes"].items():
        if code != "accepted":
            yield _code_line(code, count)
    lost = {name: one["differing"] for name, one in trial["measures"].items() if one["differing"]}
    for name, count in lost.items():
        yield filled(marked("    lost: {name} differs in {count}"), name=name, count=number_text(count))
    yield filled(
        marked("  it will take about {size} and {seconds} seconds"),
        size=size_text(estimate["bytes"]),
        seconds=number_text(-(-estimate["milliseconds"] // 1000)),
    )
    yield _(
        marked("  reversible: every sample gave its source back")
        if trial["reversible"]
        else marked("  not reversible: only the original has everything")
    )


def _code_line(code: str, count: int) -> str:
    return filled(
        marked("    {code}: {count} ({meaning})"), code=code, count=number_text(count), meaning=_(CODES.get(code, code))
    )


def plan_lines(plan: "Plan", names: Mapping[str, str]) -> Iterator[str]:
    """Yield a plan, who has signed it, and how far it has come."""
    row = plan.row
    yield filled(
        marked("Plan {plan}: {pathway}, {state}"), plan=row.plan, pathway=row.pathway, state=_(STATES[row.state])
    )
    yield filled(marked("  SHA-256 {digest}"), digest=row.sha256)
    yield from _content(plan.values)
    yield from _signed(row, names)


def _signed(row: "PlanRow", names: Mapping[str, str]) -> Iterator[str]:
    author, approver = (harmless(names.get(agent, agent)) for agent in (row.author, row.approver))
    if row.author_signature:
        text = marked("  made by {agent} on {when}, signed with key {key}")
        yield filled(text, agent=author, when=time_text(row.planned), key=row.author_key[:16])
    else:
        yield filled(marked("  made by {agent} on {when}, not signed"), agent=author, when=time_text(row.planned))
    if row.approver_signature:
        text = marked("  approved by {agent} on {when}, signed with key {key}")
        yield filled(text, agent=approver, when=time_text(row.approved), key=row.approver_key[:16])
    else:
        yield filled(marked("  not approved"))


def executed_json(done: "Executed") -> dict[str, object]:
    """Return what came of an execution as scripts read it."""
    return {
        "plan": done.plan,
        "already": done.already,
        "dry_run": done.dry,
        "packages": done.packages,
        "files": done.files,
        "bytes": done.bytes,
        "accepted": done.accepted,
        "failed": done.failed,
        "under_replicated": done.under_replicated,
        "failures": {name: str(error) for name, error in done.failures.items()},
    }


def outcome_json(found: "Outcome") -> dict[str, object]:
    """Return a report as scripts read it, without its files."""
    return {
        **plan_json(found.plan.row),
        "planned_files": found.plan.row.files,
        "results_count": found.files,
        "accepted": found.accepted,
        "failed": found.files - found.accepted,
        "renditions": found.renditions,
        "codes": dict(sorted(found.codes.items())),
        "differing": dict(sorted(found.differing.items())),
        "bytes_before": found.bytes_before,
        "bytes_after": found.bytes_after,
        "milliseconds": found.milliseconds,
        "withdrawn_packages": found.withdrawn,
        "estimate": found.plan.values["estimate"],
        "trial": found.plan.values["trial"],
    }


def file_json(one: "FileOutcome") -> dict[str, object]:
    """Return what came of a file as scripts read it."""
    result = one.result
    return {
        "package": result.package,
        "base": result.base,
        "version": one.version or None,
        "file": result.number,
        "path": one.path.decode("utf-8", "backslashreplace"),
        "puid": result.puid,
        "source": result.source,
        "size": result.size,
        "code": result.code,
        "derived": [path.decode("utf-8", "backslashreplace") for path in one.derived],
        "derived_blake3": list(result.derived),
        "derived_size": result.derived_size,
        "rendition": result.rendition,
        "milliseconds": result.milliseconds,
        "measures": [
            {"name": name, "source": source, "output": output, "passed": passed}
            for name, source, output, passed in result.measures
        ],
    }


COLUMNS = ("package", "base", "version", "file", "path", "puid", "source", "size", "code", "derived", "derived_blake3")
MORE_COLUMNS = ("derived_size", "rendition", "milliseconds", "measures")


def result_rows(found: "Iterable[FileOutcome]") -> Iterator[str]:
    """Yield the files as CSV; names that a spreadsheet would take for formulas begin with an apostrophe."""
    yield _csv((*COLUMNS, *MORE_COLUMNS))
    for one in found:
        values = file_json(one)
        values["derived"] = " | ".join(path.decode("utf-8", "backslashreplace") for path in one.derived)
        values["derived_blake3"] = " ".join(one.result.derived)
        values["measures"] = json.dumps(one.result.measures, ensure_ascii=False)
        yield _csv(tuple(_cell(values[name]) for name in (*COLUMNS, *MORE_COLUMNS)))


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _csv(values: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    return out.getvalue()


def outcome_lines(found: "Outcome", names: Mapping[str, str]) -> Iterator[str]:
    """Yield the report: the result beside the plan."""
    row, values = found.plan.row, found.plan.values
    yield filled(
        marked("Plan {plan}: {pathway}, {state}"), plan=row.plan, pathway=row.pathway, state=_(STATES[row.state])
    )
    yield from _signed(row, names)
    if row.begun:
        yield filled(
            marked("  executed from {begun} to {ended}"), begun=time_text(row.begun), ended=time_text(row.ended)
        )
    yield filled(
        marked("  planned: {planned} files; looked at: {files}; accepted: {accepted}; not accepted: {failed}"),
        planned=number_text(row.files),
        files=number_text(found.files),
        accepted=number_text(found.accepted),
        failed=number_text(found.files - found.accepted),
    )
    for code, count in sorted(found.codes.items()):
        yield _code_line(code, count)
    for name, count in sorted(found.differing.items()):
        yield filled(marked("    lost: {name} differs in {count}"), name=name, count=number_text(count))
    yield filled(
        marked("  {before} became {after}; estimated: {size}"),
        before=size_text(found.bytes_before),
        after=size_text(found.bytes_after),
        size=size_text(values["estimate"]["bytes"]),
    )
    yield filled(
        marked("  conversion took {seconds} seconds; estimated: {estimate}"),
        seconds=number_text(-(-found.milliseconds // 1000)),
        estimate=number_text(-(-values["estimate"]["milliseconds"] // 1000)),
    )
    if found.renditions:
        text = marked("  renditions of signed originals, which they never replace: {count}")
        yield filled(text, count=number_text(found.renditions))
    if found.withdrawn:
        text = marked("  withdrawn again in {count} packages; earlier versions have the derived files")
        yield filled(text, count=number_text(found.withdrawn))
    yield _(marked("  Every original is kept as it was handed over."))
