"""Countersigns a checkpoint that continues what the witness has seen, and nothing else.

What is countersigned is kept durably before it is signed: a witness that dies in between has promised nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from preservation.cosignatures import cosign
from preservation.ledger.errors import NoteError
from preservation.ledger.merkle import EMPTY_ROOT, is_consistent
from preservation.ledger.notes import SIGNATURE_LIMIT, Note, Signature, SignedCheckpoint, signed_by
from preservation.witness.errors import ForkError, StaleRequestError, UnknownLogError, UntrustedError
from preservation.witness.folder import (
    Witness,
    keep_countersigned,
    keep_evidence,
    last_countersigned,
    trusted_keys,
)
from preservation.witness.requests import WitnessRequest
from storage_backends.errors import marked


@dataclass(frozen=True, slots=True)
class Countersigned:
    """A checkpoint that the witness has countersigned, and its line."""

    signed: SignedCheckpoint
    line: Signature

    def lines(self) -> bytes:
        """Return the line as a witness answers over HTTP."""
        return Note("", (self.line,)).encoded().removeprefix(b"\n")

    def note(self) -> Note:
        """Return the checkpoint with the line added."""
        kept = self.signed.note.signatures[: SIGNATURE_LIMIT - 1]
        return Note(self.signed.note.text, (*kept, self.line))


def countersign(witness: Witness, request: WitnessRequest, now: datetime, wait_seconds: float) -> Countersigned:
    """Verify a request, keep its checkpoint durably, and only then sign it.

    Raises:
        UnknownLogError, UntrustedError: The witness does not serve this log, or no key that it trusts has signed.
        StaleRequestError: The request starts from another size than the last that was countersigned.
        ForkError: The checkpoint contradicts what was countersigned before, or its proof does not hold; it is kept.
        WitnessFolderError: What the witness holds is damaged, or could not be written; nothing was signed.
    """
    checkpoint = request.signed.checkpoint
    keys = trusted_keys(witness, checkpoint.origin)
    if not keys:
        raise UnknownLogError(origin=checkpoint.origin)
    try:
        signers = signed_by(request.signed.note, keys)
    except NoteError as error:
        raise UntrustedError(origin=checkpoint.origin, reason=str(error)) from error
    if not signers:
        raise UntrustedError(origin=checkpoint.origin, reason=marked("no signature of a known key"))
    with witness.alone(wait_seconds):
        known = last_countersigned(witness, checkpoint.origin)
        _check_continues(witness, request, known)
        if known is None or known.checkpoint.size < checkpoint.size:
            ours = {(key.name, key.key_id) for key in signers}  # lines of strangers are not worth keeping
            kept = tuple(line for line in request.signed.note.signatures if (line.name, line.key_id) in ours)
            keep_countersigned(witness, SignedCheckpoint(checkpoint, Note(request.signed.note.text, kept)))
    return Countersigned(request.signed, cosign(request.signed.note.text, witness.key, witness.sign, now))


def countersign_by_file(witness: Witness, request: WitnessRequest, now: datetime, wait_seconds: float) -> Countersigned:
    """Do as ``countersign``; a request whose answer was lost on its way is simply answered again.

    Over HTTP the log is told the size and asks again, as C2SP has it; nobody likes to carry a file twice.
    """
    try:
        return countersign(witness, request, now, wait_seconds)
    except StaleRequestError as error:
        if error.evidence["known"] != request.signed.checkpoint.size:
            raise
        return countersign(witness, replace(request, old=request.signed.checkpoint.size, proof=()), now, wait_seconds)


def _check_continues(witness: Witness, request: WitnessRequest, known: SignedCheckpoint | None) -> None:
    checkpoint = request.signed.checkpoint
    size, root = (known.checkpoint.size, known.checkpoint.root) if known is not None else (0, EMPTY_ROOT)
    if known is not None and checkpoint.size == size and checkpoint.root != root:
        raise ForkError(
            origin=checkpoint.origin,
            known=size,
            reason=marked("two roots for one size"),
            evidence=keep_evidence(witness, request, known),
            status=409,
        )
    if request.old != size:
        raise StaleRequestError(origin=checkpoint.origin, known=size, old=request.old)
    if not is_consistent(size, checkpoint.size, root, checkpoint.root, request.proof):
        raise ForkError(
            origin=checkpoint.origin,
            known=size,
            reason=marked("the proof does not hold"),
            evidence=keep_evidence(witness, request, known),
            status=422,
        )
