"""``ledger``: is the log of everything that happened whole, and under whose key?"""

import dataclasses
import os
import time
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, write, write_json
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, harmless, number_text, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.ledger.problems import LedgerProblem

TORN = "hot_torn"
TRIES = 3
PAUSE_SECONDS = 0.5


@command(
    "ledger verify",
    details=_(
        "Every event, segment, checkpoint and signature is read and derived again; nothing is believed. An auditor "
        "gives the public key from the recovery kit with --trusted. Exit status 3: there is a contradiction."
    ),
    examples=(
        "mocban -C archive ledger verify",
        "mocban -C archive ledger verify --trusted /media/usb/kit/root.vkey --json",
    ),
)
@click.option("--trusted", metavar="FILE", multiple=True, help=_("A public key (.vkey) that the ledger must name."))
@json_option
@click.pass_obj
def ledger_verify_command(call: Call, *, trusted: tuple[str, ...], as_json: bool) -> int | None:
    """Verify the ledger."""
    from preservation.configuration import Configuration  # noqa: PLC0415 - help does without it
    from preservation.ledger.checkpoints import checkpoint_sizes  # noqa: PLC0415 - the same
    from preservation.ledger.keys import read_verifier_key  # noqa: PLC0415 - the same

    Configuration.load(call.directory)
    path = os.path.join(os.path.abspath(call.directory), "ledger")
    problems = _problems(path, tuple(read_verifier_key(file) for file in trusted))
    sizes = checkpoint_sizes(path)
    if as_json:
        write_json(
            {
                "verified": not problems,
                "checkpoints": len(sizes),
                "signed_events": max(sizes, default=0),
                "problems": [dataclasses.asdict(one) for one in problems],
            }
        )
    else:
        for one in problems:
            write(harmless(f"{one.code}: {one.where}: {one.detail}"))
        if problems:
            say(
                marked(
                    "The ledger does not verify; contradictions: {count}. 'mocban rebuild' mends it from the stores"
                ),
                count=len(problems),
            )
        else:
            say(
                marked("The ledger verifies. Checkpoints: {checkpoints}, events under the last one: {events}"),
                checkpoints=number_text(len(sizes)),
                events=number_text(max(sizes, default=0)),
            )
    return Status.FINDINGS if problems else None


def _problems(path: str, trusted: tuple[object, ...]) -> "list[LedgerProblem]":
    """Return what is wrong; a batch that somebody is just writing is looked at again before it is called torn."""
    from preservation.ledger.checking import check_ledger  # noqa: PLC0415 - help does without it

    for attempt in range(TRIES):
        problems = list(check_ledger(path, trusted=trusted))  # type: ignore[arg-type]
        if attempt == TRIES - 1 or any(one.code != TORN for one in problems) or not problems:
            break
        time.sleep(PAUSE_SECONDS)
    return problems


@command(
    "ledger key",
    details=_(
        "Without options: which keys there are and whether the recovery kit was confirmed. Confirm it when the kit "
        "lies in two safe places and no longer on this machine."
    ),
    examples=(
        "mocban -C archive ledger key",
        "mocban -C archive ledger key --public > archive.vkey",
        "mocban -C archive ledger key --kit-confirmed",
        "mocban -C archive ledger key --rotate --kit /media/usb/kit",
    ),
)
@click.option("--public", is_flag=True, help=_("Print the public keys only, the log's first, then the root's."))
@click.option("--kit-confirmed", is_flag=True, help=_("Record that the recovery kit is kept safely elsewhere."))
@click.option("--rotate", is_flag=True, help=_("Give the log a new key; needs --kit."))
@click.option("--kit", metavar="DIR", default="", help=_("The folder of the recovery kit."))
@json_option
@click.pass_obj
def ledger_key_command(
    call: Call, *, public: bool, kit_confirmed: bool, rotate: bool, kit: str, as_json: bool
) -> int | None:
    """Show or care for the keys."""
    from preservation.rotation import confirm_kit, rotate_log_key  # noqa: PLC0415 - help does without it

    if rotate != bool(kit):
        raise click.UsageError(_("--rotate and --kit DIR go together."))
    if public + kit_confirmed + rotate > 1:
        raise click.UsageError(_("--public, --kit-confirmed and --rotate exclude each other."))
    if rotate:
        rotate_log_key(call.directory, call.world(), kit)
    if kit_confirmed:
        confirm_kit(call.writing())
    _tell_keys(call, public=public, as_json=as_json)
    return None


def _tell_keys(call: Call, *, public: bool, as_json: bool) -> None:
    from preservation.rotation import key_ring  # noqa: PLC0415 - help does without it

    ring = key_ring(call.reading())
    if as_json:
        write_json(
            {
                "log_key": str(ring.periods[-1].key),
                "root_key": str(ring.root),
                "kit_confirmed": ring.kit_confirmed,
                "periods": [{"key": str(one.key), "first": one.first, "end": one.end} for one in ring.periods],
            }
        )
    elif public:
        write(str(ring.periods[-1].key))
        write(str(ring.root))
    else:
        say(
            marked("Log key:   {key} (signs from size {first} on)"),
            key=ring.periods[-1].key,
            first=ring.periods[-1].first,
        )
        say(marked("Root key:  {key}"), key=ring.root)
        if ring.kit_confirmed:
            say(marked("Recovery kit: confirmed {time}"), time=time_text(ring.kit_confirmed))
        else:
            say(
                marked(
                    "Recovery kit: not confirmed. Take it to two safe places and off this machine, then run 'mocban "
                    "ledger key --kit-confirmed'"
                )
            )


@command(
    "ledger checkpoint",
    details=_("A checkpoint is a signed statement of all events so far; keep one on paper or with a partner."),
    examples=("mocban -C archive ledger checkpoint", "mocban -C archive ledger checkpoint > today.note"),
)
@json_option
@click.pass_obj
def ledger_checkpoint_command(call: Call, *, as_json: bool) -> int | None:
    """Sign a checkpoint."""
    from preservation.evidence import push  # noqa: PLC0415 - help does without it
    from preservation.stores import all_open, attached  # noqa: PLC0415 - the same

    repository = call.writing()
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        evidence = push(repository, stores)
    size = repository.ledger.checkpoint_sizes()[-1]
    text = repository.ledger.checkpoint(size).note.encoded().decode()
    for name, error in evidence.failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)
    if as_json:
        failures = {name: str(error) for name, error in evidence.failures.items()}
        write_json({"events": size, "checkpoint": text, "stores": evidence.reached, "failures": failures})
    else:
        write(text.rstrip("\n"))
    return Status.COPIES_SHORT if evidence.failures else None
