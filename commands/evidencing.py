"""``ledger prove`` and ``ledger export``: evidence that others take along and verify without this repository."""

import json
import os

import click

from commands.printing import note, say, write, write_json
from commands.progress import progress
from commands.shaping import command, json_option
from commands.statuses import Status
from commands.surroundings import Call, processors
from commands.wording import _, harmless, number_text, time_text, told
from storage_backends.errors import marked


@command(
    "ledger prove",
    details=_(
        "EVENT is the number or the identifier of an event. The proof holds the event, the hashes that lead from it to "
        "the root of the last checkpoint, and that checkpoint. Whoever has the log's public key verifies it with "
        "--verify and needs no repository. Exit status 3: it proves nothing."
    ),
    examples=(
        "mocban -C archive ledger prove 4711 > 4711.tlog-proof",
        "mocban -C archive ledger prove 0192f0c1-7a3b-7c11-8f00-1b2c3d4e5f60 --json",
        "mocban ledger prove --verify 4711.tlog-proof --trusted archive.pem",
    ),
)
@click.argument("event", required=False, default="")
@click.option("--verify", "proof_file", metavar="FILE", default="", help=_("Verify this proof; needs --trusted."))
@click.option("--trusted", metavar="FILE", multiple=True, help=_("The log's public key (.vkey or PEM)."))
@json_option
@click.pass_obj
def ledger_prove_command(
    call: Call, *, event: str, proof_file: str, trusted: tuple[str, ...], as_json: bool
) -> int | None:
    """Prove that an event is in the ledger, or verify such a proof."""
    if bool(event) == bool(proof_file) or bool(trusted) != bool(proof_file):
        raise click.UsageError(_("Give EVENT, or --verify FILE with --trusted FILE."))
    if proof_file:
        return _verify(proof_file, trusted, as_json=as_json)
    from preservation.ledger.proofs import event_number, prove  # noqa: PLC0415 - help does without it

    ledger = call.reading().ledger
    proof = prove(ledger, event_number(ledger, event), processors())
    text = proof.encoded().decode()
    if as_json:
        checkpoint = proof.signed.checkpoint
        write_json(
            {
                "event": json.loads(proof.data),
                "index": proof.index,
                "hashes": [one.hex() for one in proof.hashes],
                "checkpoint": proof.signed.note.encoded().decode(),
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "proof": text,
            }
        )
    else:
        write(text.rstrip("\n"))
    return None


def _verify(path: str, trusted: tuple[str, ...], *, as_json: bool) -> int | None:
    from preservation.ledger.events import time_text as iso  # noqa: PLC0415 - help does without it
    from preservation.ledger.files import read_file  # noqa: PLC0415 - the same
    from preservation.ledger.keys import read_public_keys  # noqa: PLC0415 - the same
    from preservation.ledger.proofs import PROOF_LIMIT, ProofError, parse_proof, verify_proof  # noqa: PLC0415 - the same

    try:
        proof = parse_proof(read_file(path, PROOF_LIMIT))
        origin = proof.signed.checkpoint.origin
        keys = [key for file in trusted for key in read_public_keys(file, origin)]
        record, key = verify_proof(proof, keys)
    except FileNotFoundError as error:
        raise click.UsageError(_("{file} is not there.").format(file=harmless(path))) from error
    except ProofError as error:
        if as_json:
            write_json({"verified": False, "reason": told(error)})
        else:
            write(told(error))
        return Status.FINDINGS
    size = proof.signed.checkpoint.size
    if as_json:
        write_json({"verified": True, "event": json.loads(proof.data), "origin": origin, "size": size, "key": str(key)})
        return None
    say(
        marked("Proven: event {number} of {time} is in the ledger {origin}, under its checkpoint over {size} events"),
        number=record.seq,
        time=time_text(iso(record.time)),
        origin=origin,
        size=number_text(size),
    )
    write(harmless(proof.data))
    return None


@command(
    "ledger export",
    details=_(
        "DEST is a new folder: every event under the last checkpoint as Parquet, checkpoints, tokens, public keys, and "
        "verify.sh, with which an auditor verifies it offline with OpenSSL and DuckDB alone. Give them the key by "
        "another way. Without write permission it works too. Exit status 3: what was written does not verify."
    ),
    examples=("mocban -C archive ledger export evidence", "mocban -C archive ledger export /media/usb/evidence --json"),
)
@click.argument("dest")
@json_option
@click.pass_obj
def ledger_export_command(call: Call, *, dest: str, as_json: bool) -> int | None:
    """Write the evidence folder."""
    from preservation.ledger.folder import check_folder, export_folder  # noqa: PLC0415 - help does without it
    from preservation.rotation import key_periods  # noqa: PLC0415 - the same

    ledger = call.reading().ledger
    periods, root = key_periods(ledger)
    done = export_folder(ledger, os.path.abspath(dest), periods, root)
    with progress(_("Verifying")) as counted:
        problems = list(check_folder(os.path.abspath(dest), processes=processors(), told=counted))
    for one in problems:
        note(marked("Not verified: {text}"), text=f"{one.code}: {one.where}: {told(one.detail)}")
    if as_json:
        write_json(
            {
                "events": done.events,
                "checkpoints": done.checkpoints,
                "unsigned_events": done.unsigned,
                "verified": not problems,
            }
        )
    else:
        say(
            marked("Written and verified: {events} events, {checkpoints} checkpoints")
            if not problems
            else marked("Written: {events} events, {checkpoints} checkpoints"),
            events=number_text(done.events),
            checkpoints=number_text(done.checkpoints),
        )
        if done.unsigned:
            say(
                marked("Left out: {count} events after the last checkpoint; 'mocban ledger checkpoint' signs them"),
                count=number_text(done.unsigned),
            )
        say(
            marked("To be verified with: sh {script} --key PEM --checkpoint NOTE"),
            script=os.path.join(dest, "verify.sh"),
        )
    return Status.FINDINGS if problems else None
