"""What others have said of checkpoints: files that lie beside the ledger, against the digests that its events hold.

An event names its files in ``detail.attestations``, name to SHA-256; of several events about one name the last counts.
"""

import os
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

from preservation.ledger.errors import LedgerUnreadableError, NoteError, RecordError
from preservation.ledger.events import parse_record
from preservation.ledger.files import read_file
from preservation.ledger.notes import NOTE_LIMIT, Signature, parse_note
from preservation.ledger.problems import LedgerProblem
from storage_backends.errors import Phrase

ATTESTED = b'"attestations":{'
"""Stands in every record that names files."""

_NAME = re.compile(r"witness/[0-9]{12}\.note|timestamps/[0-9]{12}\.(?:note|tst)")


def attested_in(record: bytes) -> dict[str, str]:
    """Return the names and digests that a record holds; none if it is no record."""
    if ATTESTED not in record:
        return {}
    try:
        found = parse_record(record).event.detail.get("attestations")
    except RecordError:
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, Mapping) else {}


def check_attested(path: str, attested: Mapping[str, str]) -> Iterator[LedgerProblem]:
    """Yield which of the ``attested`` files beside the ledger at ``path`` are missing or are not what was recorded."""
    for name, digest in attested.items():
        if _NAME.fullmatch(name) is None:
            yield LedgerProblem(
                "attestation_missing", "event", Phrase("{name!r:.80} is no name of an attestation", name=name)
            )
            continue
        try:
            found = sha256(read_file(os.path.join(path, name), NOTE_LIMIT)).hexdigest()
        except (OSError, LedgerUnreadableError):
            yield LedgerProblem(
                "attestation_missing", name, Phrase("what a witness or a clock attested cannot be read")
            )
            continue
        if found != digest:
            yield LedgerProblem(
                "attestation_differs", name, Phrase("sha256:{digest} is not what its event says", digest=found)
            )


def witness_lines(path: str, size: int) -> tuple[Signature, ...]:
    """Return the signatures that lie beside the checkpoint over ``size`` events of the ledger at ``path``."""
    try:
        return parse_note(read_file(os.path.join(path, f"witness/{size:012d}.note"), NOTE_LIMIT)).signatures
    except (OSError, NoteError, LedgerUnreadableError):
        return ()
