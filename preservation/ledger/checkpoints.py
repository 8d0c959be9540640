"""The signed tree heads of a ledger: kept before they are shown, and never two roots for one size."""

import os
from collections.abc import Sequence

from preservation.ledger.errors import LedgerForkError, NoteError
from preservation.ledger.files import TEMPORARY, create_file, fsync_directory, names_in, publish, read_file
from preservation.ledger.layout import CHECKPOINTS, note_name, note_size
from preservation.ledger.notes import (
    NOTE_LIMIT,
    Checkpoint,
    SignedCheckpoint,
    Signer,
    VerifierKey,
    sign_note,
    signed_by,
)
from storage_backends.errors import Phrase, marked


def checkpoint_sizes(root: str) -> list[int]:
    """Return the sizes for which the ledger at ``root`` has a checkpoint, ascending."""
    return sorted(size for name in names_in(os.path.join(root, CHECKPOINTS)) if (size := note_size(name)) is not None)


def read_checkpoint(root: str, size: int) -> SignedCheckpoint:
    """Return the checkpoint over ``size`` events; its signatures are not verified.

    Raises:
        FileNotFoundError: There is none.
        NoteError, LedgerUnreadableError: It is not one, or not over ``size`` events, or cannot be read.
    """
    signed = SignedCheckpoint.parse(read_file(checkpoint_path(root, size), NOTE_LIMIT))
    if signed.checkpoint.size != size:
        raise NoteError(
            reason=Phrase("{name} is about {size} events", name=note_name(size), size=signed.checkpoint.size)
        )
    return signed


def checkpoint_path(root: str, size: int) -> str:
    """Return where the checkpoint over ``size`` events lies."""
    return os.path.join(root, CHECKPOINTS, note_name(size))


def issue_checkpoint(root: str, checkpoint: Checkpoint, signers: Sequence[Signer]) -> SignedCheckpoint:
    """Sign ``checkpoint`` and keep it durably; an equal one that is signed by all ``signers`` is returned as it is.

    The caller holds the ledger's lock.

    Raises:
        LedgerForkError: There is a checkpoint with another root for this size; nothing is signed.
    """
    path = checkpoint_path(root, checkpoint.size)
    try:
        earlier = read_checkpoint(root, checkpoint.size)
    except FileNotFoundError:
        pass
    else:
        return _again(path, earlier, checkpoint, signers)
    signed = SignedCheckpoint(checkpoint, sign_note(checkpoint.text(), signers))
    temporary = path + TEMPORARY
    if os.path.lexists(temporary):
        os.unlink(temporary)
    create_file(temporary, signed.note.encoded())
    publish(temporary, path)
    return signed


def _again(path: str, earlier: SignedCheckpoint, checkpoint: Checkpoint, signers: Sequence[Signer]) -> SignedCheckpoint:
    if earlier.checkpoint != checkpoint:
        reason = marked("a checkpoint with another root was signed already")
        raise LedgerForkError(place=path, seq=checkpoint.size, reason=reason)
    keys: list[VerifierKey] = [signer.key for signer in signers]
    if len(signed_by(earlier.note, keys)) < len(set(keys)):
        raise NoteError(reason=Phrase("{name} is signed by another key", name=os.path.basename(path)))
    fsync_directory(os.path.dirname(path))  # who kept it may have died before this
    return earlier
