"""``formats reidentify`` and ``formats review``: files gone through with other signatures; where two tools disagree."""

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from commands.printing import note, say, say_table, write, write_json, write_json_list
from commands.progress import progress
from commands.shaping import command, json_option, second_opinion_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, number_text, time_text
from storage_backends.errors import Phrase, marked

if TYPE_CHECKING:
    from preservation.catalog.formats import ReidentificationRow
    from preservation.reviewing import Waiting

MOVES_SHOWN = 50
PUIDS_SHOWN = 3

_REASONS = ("examined", "opened-with-software", "origin-known", "registry-checked", "other")


@command(
    "formats reidentify",
    details=_(
        "The files are read, verified and identified with the active signatures: first those about which they may "
        "say something new, then the others. Manifests are not changed; what is found is kept beside the ledger and "
        "on every store, with the answers before. Stopped (Ctrl-C), the same command goes on where it was; done once "
        "for these signatures, it does nothing. Exit status 3: some files could not be looked at."
    ),
    examples=(
        "mocban -C archive formats reidentify",
        "mocban -C archive formats reidentify --second-opinion doubtful --json",
    ),
)
@click.option("--again", is_flag=True, help=_("Go through all files once more with the same signatures."))
@second_opinion_option
@json_option
@click.pass_obj
def formats_reidentify_command(call: Call, *, again: bool, second: str, as_json: bool) -> int | None:
    """Identify again."""
    from preservation.affected import target_now  # noqa: PLC0415 - help does without it
    from preservation.formats.workers import WorkerPool  # noqa: PLC0415 - the same
    from preservation.reidentification import reidentify  # noqa: PLC0415 - the same
    from preservation.reviewing import Asking  # noqa: PLC0415 - the same

    repository = call.writing()
    target, bundle = target_now(repository)
    with ExitStack() as stack:
        other = None
        if second != "none":
            _check_second()
            beats = {known.puid: known.beats for known in bundle.formats}
            other = stack.enter_context(Asking(repository, beats, every=second == "all"))
        pool = stack.enter_context(WorkerPool(bundle=bundle.to_bytes))
        stack.enter_context(call.stoppable())
        told = stack.enter_context(progress(_("Identification")))
        run = reidentify(repository, target, pool, told, second=other, again=again)
    if as_json:
        write_json(_json(run))
    else:
        _tell(run)
    return Status.FINDINGS if run.outcome == "incomplete" else None


def _check_second() -> None:
    from preservation.formats.second_opinion import (  # noqa: PLC0415 - help does without it
        LIBRARY,
        NoSecondOpinionError,
        is_installed,
    )

    if not is_installed():
        raise NoSecondOpinionError(reason=Phrase("{name} is not installed", name=LIBRARY))


def _json(run: "ReidentificationRow") -> dict[str, Any]:
    from preservation.reidentification import moves_of  # noqa: PLC0415 - help does without it

    names = ("run", "bundle", "opened", "closed", "outcome", "looked", "moved", "failed", "unreached", "conflicts")
    moves = [{"from": was, "to": now, "files": count} for was, now, count in moves_of(run)]
    return {**{name: getattr(run, name) for name in names}, "moves": moves}


def _tell(run: "ReidentificationRow") -> None:
    from preservation.reidentification import moves_of  # noqa: PLC0415 - help does without it

    counts = {name: number_text(getattr(run, name)) for name in ("looked", "moved", "failed", "unreached")}
    say(
        marked("Files looked at: {looked}, moved to another format: {moved}, not identified in time: {failed}"),
        **counts,
    )
    for was, now, count in moves_of(run)[:MOVES_SHOWN]:
        say(
            marked("  {count} files moved from {was} to {now}"),
            count=number_text(count),
            was=_short(was),
            now=_short(now),
        )
    rest = len(run.moves) - MOVES_SHOWN
    if rest > 0:
        say(marked("  further moves: {count}; --json shows all"), count=number_text(rest))
    if run.unreached:
        say(marked("Files of which no copy could be read now: {unreached}"), **counts)
    if run.conflicts:
        note(marked("Two tools disagree about {count} files: mocban formats review"), count=number_text(run.conflicts))


def _short(answer: str) -> str:
    """Return an answer of many PUIDs, as extensions give it, on little room; --json has all of them."""
    puids = answer.split()
    return answer if len(puids) <= PUIDS_SHOWN else f"{' '.join(puids[:PUIDS_SHOWN])} (+{len(puids) - PUIDS_SHOWN})"


@command(
    "formats review",
    details=_(
        "A file waits here when two tools name two formats and neither is the more exact. The first answer holds until "
        "somebody decides with 'mocban formats review resolve'."
    ),
    examples=("mocban -C archive formats review", "mocban -C archive formats review --json"),
)
@json_option
@click.pass_obj
def formats_review_command(call: Call, *, as_json: bool) -> None:
    """List what waits."""
    from preservation.reviewing import waiting  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        found = waiting(repository, view)
        if as_json:
            write_json_list(dataclasses.asdict(one) for one in found)
            return
        lines = [_line(one) for one in found]
    if not lines:
        say(marked("Nothing waits to be decided"))
        return
    say_table([(_("CONTENT"), _("PACKAGE"), _("FIRST"), _("SECOND"), _("SINCE")), *lines])


def _line(one: "Waiting") -> tuple[str, ...]:
    return one.blake3[:16], one.package, " ".join(one.first), " ".join(one.second), time_text(one.since)


@command(
    "formats review resolve",
    details=_(
        "CONTENT is the digest of the file's content as the list shows it, PUID one of the two answers. The decision "
        "is an event; where a later run finds something else, the file waits again."
    ),
    examples=("mocban -C archive formats review resolve 5f2a9c01 fmt/40 --reason-code examined",),
)
@click.argument("content", metavar="CONTENT")
@click.argument("puid", metavar="PUID")
@click.option(
    "--reason-code",
    "reason",
    required=True,
    type=click.Choice(_REASONS),
    help=_("How it was found out: a word of a list."),
)
@json_option
@click.pass_obj
def formats_review_resolve_command(call: Call, content: str, puid: str, *, reason: str, as_json: bool) -> None:
    """Decide."""
    from preservation.reviewing import decide  # noqa: PLC0415 - help does without it

    found = decide(call.writing(), content.removeprefix("blake3:"), puid, reason)
    if as_json:
        write_json([{**dataclasses.asdict(one), "decision": puid} for one in found])
        return
    for one in found:
        write(f"{one.blake3}  {puid}")
