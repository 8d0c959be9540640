"""A request to a witness, as it is sent over HTTP or carried as a file (C2SP tlog-witness, add-checkpoint)."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from preservation.ledger.errors import NoteError
from preservation.ledger.merkle import HASH_BYTES
from preservation.ledger.notes import NOTE_LIMIT, SignedCheckpoint
from preservation.witness.errors import MalformedRequestError
from storage_backends.errors import marked

PROOF_LIMIT = 63
"""The most lines of a proof: no tree of fewer than 2^63 leaves needs more."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,17})")

REQUEST_LIMIT = NOTE_LIMIT + 64 + PROOF_LIMIT * 45
"""The most bytes of a request."""


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """Countersign ``signed``, which continues the tree of ``old`` leaves, as ``proof`` shows."""

    old: int
    proof: tuple[bytes, ...]
    signed: SignedCheckpoint

    def encoded(self) -> bytes:
        """Return the request as it is sent."""
        return proof_text(self.old, self.proof).encode() + b"\n" + self.signed.note.encoded()


def proof_text(old: int, proof: Sequence[bytes]) -> str:
    """Return the lines of a request above its checkpoint."""
    return "".join(f"{line}\n" for line in (f"old {old}", *(base64.b64encode(step).decode() for step in proof)))


def parse_request(data: bytes) -> WitnessRequest:
    """Return the request in ``data``; its signatures and its proof are not verified yet.

    Raises:
        MalformedRequestError: ``data`` is not exactly a request, or starts from a larger tree than it leads to.
    """
    if len(data) > REQUEST_LIMIT:
        raise MalformedRequestError(reason=marked("it is too long"))
    head, separator, rest = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
        match = _OLD.fullmatch(first)
        if not separator or match is None or len(lines) > PROOF_LIMIT:
            raise MalformedRequestError(reason=marked("it has no line 'old SIZE', or more than 63 lines of proof"))
        request = WitnessRequest(int(match[1]), tuple(map(_step, lines)), SignedCheckpoint.parse(rest))
    except (UnicodeDecodeError, NoteError) as error:
        raise MalformedRequestError(reason=str(error)) from error
    if request.old > request.signed.checkpoint.size:
        raise MalformedRequestError(reason=marked("it starts from a larger tree than it leads to"))
    return request


def _step(line: str) -> bytes:
    try:
        step = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequestError(reason=marked("a line of the proof is not base64")) from error
    if len(step) != HASH_BYTES or base64.b64encode(step).decode() != line:
        raise MalformedRequestError(reason=marked("a line of the proof is not a SHA-256 digest"))
    return step
