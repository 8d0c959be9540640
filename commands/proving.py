"""``ledger``: is the log of everything that happened whole, and under whose key?"""

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, write, write_json
from commands.progress import progress
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call, processors
from commands.wording import _, harmless, number_text, time_text, told
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.ledger.notes import VerifierKey
    from preservation.ledger.problems import LedgerProblem

TORN = "hot_torn"
TRIES = 3
PAUSE_SECONDS = 0.5


@command(
    "ledger verify",
    details=_(
        "Every event, segment, checkpoint and signature is read and derived again; nothing is believed. An auditor "
        "gives what they hold from elsewhere: a public key with --trusted, older checkpoints with --checkpoint. "
        "Without them nothing is known of a ledger that was written anew as a whole. Exit status 3: there is a "
        "contradiction."
    ),
    examples=(
        "mocban -C archive ledger verify",
        "mocban -C archive ledger verify --trusted /media/usb/kit/root.vkey --checkpoint kept.note --json",
        "mocban ledger verify --folder evidence --trusted archive.pem",
    ),
)
@click.option("--trusted", metavar="FILE", multiple=True, help=_("A public key (.vkey or PEM) that must have signed."))
@click.option("--checkpoint", "held", metavar="NOTE", multiple=True, help=_("A checkpoint that you kept elsewhere."))
@click.option("--folder", metavar="DIR", default="", help=_("An evidence folder instead of a repository."))
@json_option
@click.pass_obj
def ledger_verify_command(
    call: Call, *, trusted: tuple[str, ...], held: tuple[str, ...], folder: str, as_json: bool
) -> int | None:
    """Verify the ledger."""
    from preservation.configuration import Configuration  # noqa: PLC0415 - help does without it
    from preservation.ledger.checkpoints import checkpoint_sizes  # noqa: PLC0415 - the same

    if not folder:
        Configuration.load(call.directory)
    path = os.path.abspath(folder) if folder else os.path.join(os.path.abspath(call.directory), "ledger")
    problems = _problems(path, trusted, held, is_folder=bool(folder))
    sizes = checkpoint_sizes(path)
    if as_json:
        write_json(
            {
                "verified": not problems,
                "checkpoints": len(sizes),
                "signed_events": max(sizes, default=0),
                "keys_trusted": len(trusted),
                "checkpoints_held": len(held),
                "problems": [dataclasses.asdict(one) for one in problems],
            }
        )
        return Status.FINDINGS if problems else None
    for one in problems:
        write(harmless(f"{one.code}: {one.where}: {told(one.detail)}"))
    if problems:
        say(
            marked("The ledger does not verify; contradictions: {count}. 'mocban rebuild' mends it from the stores"),
            count=len(problems),
        )
        return Status.FINDINGS
    say(
        marked("The ledger verifies. Checkpoints: {checkpoints}, events under the last one: {events}"),
        checkpoints=number_text(len(sizes)),
        events=number_text(max(sizes, default=0)),
    )
    if not trusted or not held:
        say(marked("Whether it was written anew as a whole, only a key and a checkpoint kept elsewhere can tell"))
    return None


def _problems(path: str, trusted: Sequence[str], held: Sequence[str], *, is_folder: bool) -> "list[LedgerProblem]":
    """Return what is wrong; a batch that somebody is just writing is looked at again before it is called torn."""
    from preservation.ledger.checking import check_ledger  # noqa: PLC0415 - help does without it
    from preservation.ledger.folder import check_folder  # noqa: PLC0415 - the same
    from preservation.ledger.held import read_held  # noqa: PLC0415 - the same

    keys = _trusted_keys(path, trusted)
    notes = [read_held(file) for file in held]
    check = check_folder if is_folder else check_ledger
    for attempt in range(TRIES):
        with progress(_("Verifying")) as told:
            problems = list(check(path, trusted=keys, held=notes, processes=processors(), told=told))
        if attempt == TRIES - 1 or any(one.code != TORN for one in problems) or not problems:
            break
        time.sleep(PAUSE_SECONDS)
    return problems


def _trusted_keys(path: str, files: Sequence[str]) -> "list[VerifierKey]":
    from preservation.ledger.keys import read_public_keys  # noqa: PLC0415 - help does without it
    from preservation.ledger.log import read_origin  # noqa: PLC0415 - the same

    origin = read_origin(path) if files else ""
    return [key for file in files for key in read_public_keys(file, origin)]


@command(
    "ledger key",
    details=_(
        "Without options: which keys there are and whether the recovery kit was confirmed. Confirm it when the kit "
        "lies in two safe places and no longer on this machine."
    ),
    examples=(
        "mocban -C archive ledger key",
        "mocban -C archive ledger key --public > archive.pem",
        "mocban -C archive ledger key --kit-confirmed",
        "mocban -C archive ledger key --rotate --kit /media/usb/kit",
    ),
)
@click.option("--public", is_flag=True, help=_("Print the log's public key only, as PEM, which OpenSSL reads."))
@click.option("--verifier", is_flag=True, help=_("Print the public keys as C2SP verifier keys: the log's, the root's."))
@click.option("--kit-confirmed", is_flag=True, help=_("Record that the recovery kit is kept safely elsewhere."))
@click.option("--rotate", is_flag=True, help=_("Give the log a new key; needs --kit."))
@click.option("--kit", metavar="DIR", default="", help=_("The folder of the recovery kit."))
@json_option
@click.pass_obj
def ledger_key_command(
    call: Call, *, public: bool, verifier: bool, kit_confirmed: bool, rotate: bool, kit: str, as_json: bool
) -> int | None:
    """Show or care for the keys."""
    from preservation.rotation import confirm_kit, rotate_log_key  # noqa: PLC0415 - help does without it

    if rotate != bool(kit):
        raise click.UsageError(_("--rotate and --kit DIR go together."))
    if public + verifier + kit_confirmed + rotate > 1:
        raise click.UsageError(_("--public, --verifier, --kit-confirmed and --rotate exclude each other."))
    if rotate:
        rotate_log_key(call.directory, call.world(), kit)
    if kit_confirmed:
        confirm_kit(call.writing())
    _tell_keys(call, public=public, verifier=verifier, as_json=as_json)
    return None


def _tell_keys(call: Call, *, public: bool, verifier: bool, as_json: bool) -> None:
    from preservation.rotation import key_ring  # noqa: PLC0415 - help does without it

    ring = key_ring(call.reading())
    if as_json:
        write_json(
            {
                "log_key": str(ring.periods[-1].key),
                "log_key_pem": ring.periods[-1].key.pem().decode(),
                "root_key": str(ring.root),
                "kit_confirmed": ring.kit_confirmed,
                "periods": [{"key": str(one.key), "first": one.first, "end": one.end} for one in ring.periods],
            }
        )
    elif public:
        write(ring.periods[-1].key.pem().decode().rstrip("\n"))
    elif verifier:
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
