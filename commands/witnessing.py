"""``witness``: keep and countersign the checkpoints of other archives; ``ledger witness``: have ours countersigned."""

import os
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, say_table, warn, write, write_json, write_json_list
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call
from commands.wording import _, filled, harmless, number_text, time_text
from commands.wording import told as explained
from storage_backends.errors import MocbanError, marked

if TYPE_CHECKING:
    from preservation.witness.countersigning import Countersigned
    from preservation.witness.requests import WitnessRequest
    from preservation.witnessing import Witnessed

STANDARD = "-"
LOOPBACK = "127.0.0.1:8790"

_folder = click.argument("folder", metavar="DIR")


@command(
    "witness init",
    details=_(
        "A witness is a second party, better in another house: it needs no repository, only a folder with its key and "
        "the newest checkpoint of each ledger. The name tells witnesses apart; take an address of yours."
    ),
    examples=("mocban witness init witness --name luutru.hue.gov.vn/w1",),
)
@_folder
@click.option("--name", required=True, help=_("The name of the witness, without spaces and plus signs."))
@json_option
@click.pass_obj
def witness_init_command(call: Call, *, folder: str, name: str, as_json: bool) -> None:
    """Make a witness."""
    from preservation.witness.folder import create_witness  # noqa: PLC0415 - help does without it

    key = str(create_witness(folder, name, call.world().random).key)
    if as_json:
        write_json({"folder": os.path.abspath(folder), "key": key})
    else:
        say(
            marked("The witness is made in {place}. Give the archives its key, for [witness] in mocban.toml:"),
            place=folder,
        )
        write(key)


@command(
    "witness key",
    details=_("It goes into 'key' of [witness] in the mocban.toml of each archive that the witness serves."),
    examples=("mocban witness key witness",),
)
@_folder
@json_option
def witness_key_command(*, folder: str, as_json: bool) -> None:
    """Print the public key."""
    from preservation.witness.folder import open_witness  # noqa: PLC0415 - help does without it

    key = str(open_witness(folder).key)
    if as_json:
        write_json({"key": key})
    else:
        write(key)


@command(
    "witness trust",
    details=_(
        "Without --log-key: the ledgers that are served, up to where they are countersigned, and how often each has "
        "contradicted itself. An archive prints its key with 'mocban ledger key --verifier' (the first line)."
    ),
    examples=(
        "mocban witness trust witness --log-key KEY",
        "mocban witness trust witness",
        "mocban witness trust witness --log-key KEY --remove",
    ),
)
@_folder
@click.option(
    "--log-key", metavar="KEY", default="", help=_("The public key of a ledger's log, as its archive prints it.")
)
@click.option("--remove", is_flag=True, help=_("Trust that key no more: it was replaced, or stolen."))
@json_option
@click.pass_obj
def witness_trust_command(call: Call, *, folder: str, log_key: str, remove: bool, as_json: bool) -> int | None:
    """Serve a ledger."""
    from preservation.ledger.notes import parse_verifier_key  # noqa: PLC0415 - help does without it
    from preservation.witness.folder import distrust, open_witness, served_logs, trust  # noqa: PLC0415 - the same

    if remove and not log_key:
        raise click.UsageError(_("--remove needs --log-key."))
    witness = open_witness(folder)
    if log_key:
        key = parse_verifier_key(log_key.strip())
        if remove and not distrust(witness, key, call.wait_seconds):
            note(marked("That key was not trusted"))
        if not remove:
            trust(witness, key, call.wait_seconds)
    logs = served_logs(witness)
    if as_json:
        write_json_list(
            {"origin": one.origin, "keys": list(map(str, one.keys)), "size": one.size, "forks": one.contradictions}
            for one in logs
        )
    else:
        head = (_(marked("Ledger")), _(marked("Keys")), _(marked("Events")), _(marked("Contradictions")))
        rows = [
            (harmless(one.origin), str(len(one.keys)), number_text(one.size), number_text(one.contradictions))
            for one in logs
        ]
        say_table([head, *rows], right=(1, 2, 3))
    return Status.FINDINGS if any(one.contradictions for one in logs) else None


@command(
    "witness serve",
    details=_(
        "It answers archives over HTTP (C2SP tlog-witness) until it is told to stop, for a service unit. It listens on "
        "this machine only unless --listen says otherwise; put a web server with TLS before it. A ledger that shows "
        "two histories is refused, the evidence kept, and an ALARM told on standard error; the exit status is then 3."
    ),
    examples=("mocban witness serve witness", "mocban witness serve witness --listen 0.0.0.0:8790"),
)
@_folder
@click.option("--listen", metavar="ADDRESS:PORT", default=LOOPBACK, show_default=True, help=_("Where to listen."))
@json_option
@click.pass_obj
def witness_serve_command(call: Call, *, folder: str, listen: str, as_json: bool) -> int:
    """Serve."""
    from preservation.witness.countersigning import Countersigned  # noqa: PLC0415 - help does without it
    from preservation.witness.errors import ForkError, ListenError, RefusedError  # noqa: PLC0415 - the same
    from preservation.witness.folder import open_witness  # noqa: PLC0415 - the same
    from preservation.witness.serving import WitnessServer  # noqa: PLC0415 - the same

    witness, forks = open_witness(folder), []

    def told(what: "Countersigned | MocbanError") -> None:
        if isinstance(what, Countersigned):
            _tell_countersigned(what, as_json=as_json)
            return
        if isinstance(what, ForkError):
            forks.append(what)
        refused = isinstance(what, RefusedError)
        note(marked("Refused: {message}") if refused else marked("Error: {message}"), message=explained(what))

    address = _address(listen)
    try:
        server = WitnessServer(address, witness, call.world().now, told)
    except OSError as error:
        raise ListenError(address=listen, reason=error.strerror or str(error)) from error
    note(
        marked("The witness {name} listens on {address}"),
        name=witness.key.name,
        address=f"{address[0]}:{server.server_port}",
    )
    with call.stoppable():
        server.serve(call.stopped)
    note(marked("Stopped as asked"))
    return Status.FINDINGS if forks else Status.INTERRUPTED


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:  # noqa: PLR2004 - the last port
        raise click.BadParameter(filled(marked("{value} is not ADDRESS:PORT"), value=text), param_hint="--listen")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _tell_countersigned(what: "Countersigned", *, as_json: bool) -> None:
    checkpoint = what.signed.checkpoint
    if as_json:
        write_json({"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()})
    else:
        say(
            marked("Countersigned: {origin}, events: {size}"),
            origin=checkpoint.origin,
            size=number_text(checkpoint.size),
        )


@command(
    "witness sign",
    details=_(
        "FILE is what the archive's 'mocban ledger witness --request FILE' has written; it may come on a stick, by "
        "mail, or typed from paper. The countersigned checkpoint goes back to the archive, for 'mocban ledger witness "
        "--answer'. Exit status 3: the ledger shows another history than before; the evidence is kept."
    ),
    examples=("mocban witness sign witness request.txt -o answer.note", "mocban witness sign witness request.txt"),
)
@_folder
@click.argument("request_file", metavar="FILE")
@click.option(
    "-o", "--output", metavar="FILE", default=STANDARD, help=_("Where to write the answer; else it is printed.")
)
@json_option
@click.pass_obj
def witness_sign_command(call: Call, *, folder: str, request_file: str, output: str, as_json: bool) -> int | None:
    """Countersign by file."""
    from preservation.ledger.files import read_file  # noqa: PLC0415 - help does without it
    from preservation.witness.countersigning import countersign_by_file  # noqa: PLC0415 - the same
    from preservation.witness.errors import ForkError  # noqa: PLC0415 - the same
    from preservation.witness.folder import open_witness  # noqa: PLC0415 - the same
    from preservation.witness.requests import REQUEST_LIMIT, parse_request  # noqa: PLC0415 - the same

    witness = open_witness(folder)
    request = parse_request(read_file(request_file, REQUEST_LIMIT))
    try:
        done = countersign_by_file(witness, request, call.world().now(), call.wait_seconds)
    except ForkError as error:
        note(marked("Refused: {message}"), message=explained(error))
        return Status.FINDINGS
    text = done.note().encoded()
    if output != STANDARD:
        _written(output, text)
    if as_json:
        checkpoint = done.signed.checkpoint
        write_json({"origin": checkpoint.origin, "size": checkpoint.size, "note": text.decode()})
    elif output != STANDARD:
        _tell_countersigned(done, as_json=False)
    else:
        write(text.decode().rstrip("\n"))
    return None


def _written(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


@command(
    "ledger witness",
    details=_(
        "Signs a checkpoint and asks the witness in [witness] of mocban.toml to countersign it, over HTTP. Where there "
        "is no network: --request writes what the witness is asked, --page prints it for people and their filing "
        "cabinet, --answer keeps what came back. --verify verifies all that was kept (exit status 3: something is "
        "wrong)."
    ),
    examples=(
        "mocban -C archive ledger witness",
        "mocban -C archive ledger witness --request request.txt",
        "mocban -C archive ledger witness --answer answer.note",
        "mocban -C archive ledger witness --page | lpr",
        "mocban -C archive ledger witness --verify",
    ),
)
@click.option("--request", "request_file", metavar="FILE", default="", help=_("Write the request; - prints it."))
@click.option("--page", is_flag=True, help=_("Print the request as one page for people."))
@click.option(
    "--old", type=click.IntRange(min=0), help=_("How many events the witness has countersigned, if it says so.")
)
@click.option("--answer", metavar="FILE", default="", help=_("Keep the answer of the witness."))
@click.option("--verify", is_flag=True, help=_("Verify every countersignature that was kept."))
@json_option
@click.pass_obj
def ledger_witness_command(
    call: Call, *, request_file: str, page: bool, old: int | None, answer: str, verify: bool, as_json: bool
) -> int | None:
    """Have our checkpoint countersigned."""
    from preservation import witnessing  # noqa: PLC0415 - help does without it
    from preservation.ledger.files import read_file  # noqa: PLC0415 - the same
    from preservation.ledger.notes import NOTE_LIMIT  # noqa: PLC0415 - the same

    if bool(request_file) + page + bool(answer) + verify > 1:
        raise click.UsageError(_("--request, --page, --answer and --verify exclude each other."))
    if old is not None and not (request_file or page):
        raise click.UsageError(_("--old needs --request or --page."))
    if verify:
        return _tell_kept(call, as_json=as_json)
    if request_file or page:
        _tell_request(witnessing.request(call.writing(), old), request_file, page=page, as_json=as_json)
        return None
    if answer:
        done = witnessing.accept(call.writing(), read_file(answer, NOTE_LIMIT))
    else:
        done = witnessing.countersign(call.writing())
    return _tell_witnessed(done, as_json=as_json)


def _tell_request(asked: "WitnessRequest", file: str, *, page: bool, as_json: bool) -> None:
    text = asked.encoded().decode()
    size = asked.signed.checkpoint.size
    if file and file != STANDARD:
        _written(file, text.encode())
    if as_json:
        write_json({"size": size, "old": asked.old, "request": text})
    elif page:
        _print_page(asked)
    elif file == STANDARD:
        write(text.rstrip("\n"))
    else:
        say(
            marked("The request is in {place}: events: {size}; take it to the witness"),
            place=file,
            size=number_text(size),
        )


def _print_page(asked: "WitnessRequest") -> None:
    """Print one page that can be filed, signed by hand, and typed in again."""
    checkpoint = asked.signed.checkpoint
    digits = checkpoint.root.hex()
    groups = [digits[start : start + 8] for start in range(0, len(digits), 8)]
    say(marked("CHECKPOINT OF A LEDGER, to be countersigned and kept"))
    write("")
    say(marked("Ledger:  {origin}"), origin=checkpoint.origin)
    say(marked("Events:  {size}"), size=number_text(checkpoint.size))
    say(marked("Root (SHA-256):"))
    for start in range(0, len(groups), 4):
        write("    " + " ".join(groups[start : start + 4]))
    write("")
    say(marked("Whoever keeps this page can prove, at any time, whether these events were changed since."))
    say(marked("For 'mocban witness sign', type or scan the lines between the rules into a file:"))
    write("-" * 72)
    write(asked.encoded().decode().rstrip("\n"))
    write("-" * 72)
    write("")
    say(marked("Received (date, name, signature):"))


def _tell_witnessed(done: "Witnessed", *, as_json: bool) -> int | None:
    from preservation.ledger.events import time_text as utc_text  # noqa: PLC0415 - help does without it

    time = utc_text(done.time)
    for name, error in done.failures.items():
        note(marked("Error: store {name}: {message}"), name=name, message=error)
    if as_json:
        failures = {name: str(error) for name, error in done.failures.items()}
        values = {"events": done.size, "witness": str(done.key), "time": time, "skew_seconds": done.skew_seconds}
        write_json({**values, "failures": failures})
    else:
        say(
            marked("Countersigned by {name} at {time}; events: {size}"),
            name=done.key.name,
            time=time_text(time),
            size=number_text(done.size),
        )
    tell_skew(done.skew_seconds)
    return Status.COPIES_SHORT if done.failures else None


def tell_skew(seconds: int) -> None:
    """Warn of two clocks that differ much."""
    if abs(seconds) > 300:  # noqa: PLR2004 - five minutes, as in the ledger's event
        warn(marked("the other party's clock differs from ours by {count} seconds"), count=seconds)


def _tell_kept(call: Call, *, as_json: bool) -> int | None:
    from preservation.witnessing import verify  # noqa: PLC0415 - help does without it

    kept = list(verify(call.reading()))
    wrong = sum(bool(one.problem) for one in kept)
    if as_json:
        write_json(
            {
                "verified": not wrong,
                "notes": [
                    {"events": one.size, "key": one.key_id, "time": one.time, "problem": one.problem} for one in kept
                ],
            }
        )
    else:
        for one in kept:
            if one.problem:
                write(f"{one.size:012d}.note: {one.problem}")
        say(
            marked("Countersignatures: {count}, wrong or missing: {wrong}"),
            count=number_text(len(kept)),
            wrong=number_text(wrong),
        )
    return Status.FINDINGS if wrong else None
