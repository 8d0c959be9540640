"""What an auditor holds from elsewhere, keys and older checkpoints, against what a ledger says of itself.

A ledger that contradicts nothing in itself may have been written anew from the first event on; only what somebody else
kept tells that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preservation.ledger.attested import witness_lines
from preservation.ledger.checkpoints import read_checkpoint
from preservation.ledger.errors import LedgerError, LedgerUnreadableError, NoteError, RecordError
from preservation.ledger.events import parse_record
from preservation.ledger.files import read_file
from preservation.ledger.keys import KeyPeriod, genesis_keys, verifier_at
from preservation.ledger.notes import NOTE_LIMIT, Signature, SignedCheckpoint, VerifierKey, signed_by
from preservation.ledger.problems import LedgerProblem
from preservation.ledger.walk import Walk
from storage_backends.errors import Phrase


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint that an auditor kept, and where."""

    place: str
    signed: SignedCheckpoint

    @property
    def size(self) -> int:
        """Over how many events it is."""
        return self.signed.checkpoint.size


def read_held(path: str) -> Held:
    """Return the checkpoint in the file at ``path``; its signatures are not verified.

    Raises:
        LedgerUnreadableError: It is not there, cannot be read, or is no checkpoint.
    """
    try:
        return Held(path, SignedCheckpoint.parse(read_file(path, NOTE_LIMIT)))
    except (FileNotFoundError, NoteError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else str(error)
        raise LedgerUnreadableError(place=path, reason=reason) from error


def known_keys(walk: Walk, periods: Sequence[KeyPeriod]) -> list[VerifierKey]:
    """Return every log key of the ledger's history, and its root key."""
    keys = [period.key for period in periods]
    root = root_of(walk)
    return keys if root is None else [*keys, root]


def root_of(walk: Walk) -> VerifierKey | None:
    """Return the root key that the genesis names; None if it could not be read."""
    try:
        return genesis_keys(parse_record(walk.kept[0]).event)[1] if 0 in walk.kept else None
    except (NoteError, RecordError):
        return None


def check_trust(
    walk: Walk,
    periods: Sequence[KeyPeriod],
    trusted: Sequence[VerifierKey],
    signers: Mapping[int, frozenset[VerifierKey]],
) -> Iterator[LedgerProblem]:
    """Yield a problem unless one of the ``trusted`` keys has signed for this ledger; nothing if none is given.

    ``signers`` says who signed the checkpoints whose roots are those of the events. To be named by the ledger is not
    enough, since whoever writes a ledger anew can name any key in it. A log key must have signed a checkpoint of its
    period: that fixes the genesis, which names the root key, which signs for later log keys. The root key must have
    signed a checkpoint, as it does the first one, or a succession of the genesis' log key.
    """
    if not trusted:
        return
    known = known_keys(walk, periods)
    if not set(trusted) & set(known):
        yield LedgerProblem("keys_unknown", "event 0", Phrase("the ledger names none of the keys that you trust"))
        return
    root = root_of(walk)
    proven = {key for found in signers.values() for key in found}
    if root is not None and len(periods) > 1:
        proven.add(root)  # ``Walk.periods`` has verified its signature under the first succession
    if not set(trusted) & proven:
        yield LedgerProblem(
            "keys_unproven", "event 0", Phrase("a key that you trust is named, but it has signed nothing here")
        )


def check_held(path: str, walk: Walk, periods: Sequence[KeyPeriod], held: Sequence[Held]) -> Iterator[LedgerProblem]:
    """Yield where the ledger at ``path``, walked to its end, does not continue the checkpoints that an auditor kept."""
    keys = known_keys(walk, periods)
    for one in held:
        checkpoint = one.signed.checkpoint
        try:
            signers = signed_by(one.signed.note, keys)
        except NoteError as error:
            yield LedgerProblem("held_invalid", one.place, str(error))
            continue
        if verifier_at(periods, one.size) not in signers:
            yield LedgerProblem(
                "held_unsigned", one.place, Phrase("it is not signed by the log key that this ledger names")
            )
        if periods and checkpoint.origin != periods[0].key.name:
            yield LedgerProblem(
                "held_foreign", one.place, Phrase("it is about {origin!r:.80}", origin=checkpoint.origin)
            )
        if one.size > walk.seq:
            yield LedgerProblem(
                "history_shortened",
                one.place,
                Phrase("only {count} of {size} events are left", count=walk.seq, size=one.size),
            )
        elif walk.roots.get(one.size) is None and one.size:
            yield LedgerProblem("checkpoint_unverified", one.place, Phrase("not all events before it could be read"))
        elif one.size and walk.roots[one.size] != checkpoint.root:
            yield LedgerProblem(
                "history_rewritten", one.place, Phrase("the first {size} events are not those it signs", size=one.size)
            )
        yield from _check_lines(path, one)


def _check_lines(path: str, held: Held) -> Iterator[LedgerProblem]:
    """Yield a problem if the ledger has the same checkpoint with fewer signatures: a witness was dropped."""
    there: set[Signature] = set()
    try:
        here = read_checkpoint(path, held.size).note
    except (LedgerError, OSError):
        return  # it need not be kept here; one that is damaged was told
    if here.text != held.signed.note.text:
        return  # which of the two is wrong was told
    there.update(here.signatures)
    there.update(witness_lines(path, held.size))
    missing = [line.name for line in held.signed.note.signatures if line not in there]
    if missing:
        detail = Phrase("its signature by {name!r:.80} is not on the checkpoint that is here", name=missing[0])
        yield LedgerProblem("signature_dropped", held.place, detail)
