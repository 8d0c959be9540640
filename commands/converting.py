"""``migrate run``, ``report`` and ``undo``: a plan executed, what came of it, and the way back."""

import click

from commands.migrating import limits_of, pool_of, timeout_option, unisolated_option
from commands.migration_text import executed_json, file_json, outcome_json, outcome_lines, result_rows
from commands.printing import note, say, write, write_json, write_json_object
from commands.progress import progress
from commands.shaping import command, json_option
from commands.statuses import Status, gravest
from commands.surroundings import Call
from commands.wording import _
from storage_backends.errors import MocbanError, marked


def _told_failures(failures: dict[str, MocbanError]) -> None:
    for name, error in failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)


@command(
    "migrate run",
    details=_(
        "Only what was approved is done: the plan's file, the set of files, the pathway and the version of its tool "
        "must be the same. Each output is identified again and measured; what does not pass every check is not kept. "
        "Originals stay; derived files are a new version of their package. Interrupted, the same command goes on; "
        "done, it does nothing. Exit status 3: some files were not accepted."
    ),
    examples=("mocban -C archive migrate run 01890a5d", "mocban -C archive migrate run 01890a5d --dry-run"),
)
@click.argument("plan")
@click.option("--dry-run", is_flag=True, help=_("Verify everything that is verified before, and do nothing."))
@unisolated_option
@timeout_option
@json_option
@click.pass_obj
def migrate_run_command(
    call: Call, plan: str, *, dry_run: bool, unisolated: bool, timeout: float, as_json: bool
) -> int:
    """Execute a plan."""
    from preservation.migration.executing import execute  # noqa: PLC0415 - help does without it

    limits = limits_of(timeout)
    repository = call.writing()
    with call.stoppable(), pool_of(repository) as pool, progress(_("Migration")) as told:
        done = execute(repository, plan, pool, told, limits=limits, unisolated=unisolated, dry_run=dry_run)
    _told_failures(done.failures)
    if as_json:
        write_json(executed_json(done))
    elif done.dry:
        say(
            marked("Plan {plan} may be executed: {files} files in {packages} packages, as approved. Nothing was done"),
            plan=done.plan,
            files=done.files,
            packages=done.packages,
        )
    else:
        if done.already:
            say(marked("Plan {plan} is done already; nothing was done now"), plan=done.plan)
        say(
            marked("Files: {files}; accepted: {accepted}, not accepted: {failed}. 'mocban migrate report {plan}'"),
            files=done.files,
            accepted=done.accepted,
            failed=done.failed,
            plan=done.plan,
        )
    short = Status.COPIES_SHORT if done.under_replicated or done.failures else Status.DONE
    return gravest(Status.FINDINGS if done.failed else Status.DONE, short)


@command(
    "migrate report",
    details=_(
        "What came of the plan beside what it said: from the ledger's parts, which are measured. --csv and --json give "
        "each file with its measures. Exit status 3: some files were not accepted."
    ),
    examples=(
        "mocban -C archive migrate report 01890a5d",
        "mocban -C archive migrate report 01890a5d --csv > files.csv",
    ),
)
@click.argument("plan")
@click.option("--csv", "as_csv", is_flag=True, help=_("Print a line for each file as CSV."))
@json_option
@click.pass_obj
def migrate_report_command(call: Call, plan: str, *, as_csv: bool, as_json: bool) -> int:
    """Report on a plan."""
    from preservation.agents import agents  # noqa: PLC0415 - help does without it
    from preservation.migration.outcome import file_outcomes, outcome  # noqa: PLC0415 - the same

    repository = call.reading()
    found = outcome(repository, plan)
    identity = found.plan.identity
    if as_csv:
        for line in result_rows(file_outcomes(repository, identity)):
            write(line)
    elif as_json:
        files = (file_json(one) for one in file_outcomes(repository, identity))
        write_json_object(outcome_json(found), {"results": files})
    else:
        with repository.reading() as view:
            names = {one.identity: one.shown for one in agents(repository, view)}
        for line in outcome_lines(found, names):
            write(line)
    return Status.FINDINGS if found.files > found.accepted else Status.DONE


@command(
    "migrate undo",
    details=_(
        "New versions of the packages lack what the plan derived; the versions that have it stay, and nothing is "
        "destroyed. A plan that was not executed is given up. It is never executed again."
    ),
    examples=("mocban -C archive migrate undo 01890a5d",),
)
@click.argument("plan")
@json_option
@click.pass_obj
def migrate_undo_command(call: Call, plan: str, *, as_json: bool) -> int:
    """Undo a plan."""
    from preservation.migration.undoing import undo  # noqa: PLC0415 - help does without it

    with call.stoppable():
        undone = undo(call.writing(), plan)
    _told_failures(undone.failures)
    if as_json:
        write_json(
            {
                "plan": undone.plan,
                "already": undone.already,
                "packages": undone.packages,
                "files": undone.files,
                "under_replicated": undone.under_replicated,
            }
        )
    elif undone.already:
        say(marked("Plan {plan} is undone already; nothing was done now"), plan=undone.plan)
    else:
        say(
            marked(
                "Plan {plan} is undone: {files} derived files withdrawn in {packages} packages; nothing is destroyed"
            ),
            plan=undone.plan,
            files=undone.files,
            packages=undone.packages,
        )
    return Status.COPIES_SHORT if undone.under_replicated or undone.failures else Status.DONE
