"""Proofs that an event is in a ledger, for people who have nothing else of it (C2SP tlog-proof).

A proof is a text: the event's record (as extra data), its number, the hashes from its leaf to the root, and the
checkpoint that signs the root. Whoever trusts the log key needs no ledger to verify it.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preservation.ledger.errors import (
    LedgerDamagedError,
    LedgerError,
    LedgerUnreadableError,
    NoteError,
    RecordError,
)
from preservation.ledger.events import RECORD_LIMIT, Record, parse_record
from preservation.ledger.log import Ledger
from preservation.ledger.merkle import HASH_BYTES, Frontier, inclusion_ranges, is_included, leaf_hash
from preservation.ledger.notes import NOTE_LIMIT, SignedCheckpoint, VerifierKey, signed_by
from preservation.ledger.segments import matching_rows
from preservation.ledger.subtrees import Subtree, joined, subtrees
from preservation.ledger.survey import Task, surveys
from storage_backends.errors import marked

HEADER = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63
PROOF_LIMIT = 2 * RECORD_LIMIT + NOTE_LIMIT
"""The most bytes of a proof."""

_HASHED_AT_ONCE = 4096
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


class NoSuchEventError(LedgerError):
    """The ledger has no such event."""

    template = marked("The ledger has no event {event}")


class NotSignedYetError(LedgerError):
    """No checkpoint covers the event."""

    template = marked("No checkpoint covers event {event} yet: run 'mocban ledger checkpoint'")


class ProofError(LedgerError):
    """A proof is malformed, or does not prove what it says."""

    template = marked("This proves nothing: {reason}")


@dataclass(frozen=True, slots=True)
class Proof:
    """That the record ``data`` is event ``index`` of the ledger that ``signed`` is a checkpoint of."""

    data: bytes
    index: int
    hashes: tuple[bytes, ...]
    signed: SignedCheckpoint

    def encoded(self) -> bytes:
        """Return the proof as it is handed out."""
        lines = [HEADER, f"extra {_text(self.data)}", f"index {self.index}", *map(_text, self.hashes)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.signed.note.encoded()


def event_number(ledger: Ledger, name: str) -> int:
    """Return the number of the event ``name``: that number itself, or the event's identifier.

    Raises:
        NoSuchEventError: There is none; what reading the ledger raises.
    """
    if re.fullmatch(r"[0-9]{1,16}", name):
        if int(name) < ledger.size:
            return int(name)
        raise NoSuchEventError(event=name)
    for record in _with_id(ledger, name):
        if record.event_id == name:
            return record.seq
    raise NoSuchEventError(event=name)


def _with_id(ledger: Ledger, name: str) -> Iterator[Record]:
    for segment in ledger.segments:
        for data in matching_rows(ledger.segment_file(segment), {"event_id": {name}}):
            yield parse_record(data)
    mark = name.encode()
    for data in ledger.raw_records(ledger.sealed_size):
        if mark in data:
            yield parse_record(data)


def prove(ledger: Ledger, index: int, processes: int = 1) -> Proof:
    """Return the proof that event ``index`` is under the last checkpoint. Every event under it is hashed.

    Raises:
        NotSignedYetError: No checkpoint is over it.
        LedgerDamagedError: The events do not give the root that was signed; what reading the ledger raises.
    """
    sizes = [size for size in ledger.checkpoint_sizes() if size <= ledger.size]
    size = max(sizes, default=0)
    if index >= size:
        raise NotSignedYetError(event=index)
    signed = ledger.checkpoint(size)
    ranges = inclusion_ranges(index, size)
    roots = _roots(ledger, sorted({end for pair in ranges for end in pair} | {index, index + 1, size} - {0}), processes)
    data = next(ledger.raw_records(index, index + 1))
    proof = Proof(data, index, tuple(roots[pair] for pair in ranges), signed)
    if not is_included(leaf_hash(data), index, size, proof.hashes, signed.checkpoint.root):
        raise LedgerDamagedError(place=ledger.path, seq=size, reason="the events do not give the root that was signed")
    return proof


def _roots(ledger: Ledger, stops: Sequence[int], processes: int) -> Mapping[tuple[int, int], bytes]:
    """Return the root over the leaves between each two of ``stops``, the first time from 0 on."""
    roots: dict[tuple[int, int], bytes] = {}
    nodes: list[Subtree] = []
    start = 0
    wanted = frozenset(stops)
    for stop, more in _pieces(ledger, stops, processes):
        nodes += more
        if stop in wanted:
            roots[start, stop] = joined(Frontier(), nodes).root()
            nodes, start = [], stop
    return roots


def _pieces(ledger: Ledger, stops: Sequence[int], processes: int) -> Iterator[tuple[int, Sequence[Subtree]]]:
    tasks = [
        Task(ledger.path, one.first, one.end, tuple(stop for stop in stops if one.first < stop <= one.end), deep=False)
        for one in ledger.segments
        if one.first < stops[-1]
    ]
    for seen in surveys(tasks, processes):
        for problem in seen.problems:
            raise LedgerUnreadableError(place=problem.where, reason=problem.detail)
        yield from seen.pieces
    start = ledger.sealed_size
    for stop in (stop for stop in stops if stop > start):
        while start < stop:
            end = min(start + _HASHED_AT_ONCE, stop)
            yield end, subtrees(start, [leaf_hash(data) for data in ledger.raw_records(start, end)])
            start = end


def parse_proof(data: bytes) -> Proof:
    """Return the proof in ``data``; nothing of it is verified yet.

    Raises:
        ProofError: ``data`` is not exactly a proof with a record.
    """
    head, separator, rest = data.partition(b"\n\n")
    try:
        header, extra, number, *lines = head.decode("ascii").split("\n")
        match = _INDEX.fullmatch(number)
        if not separator or header != HEADER or not extra.startswith("extra ") or match is None:
            raise ProofError(reason=marked("it is no C2SP tlog-proof with a record"))
        hashes = tuple(_bytes(line) for line in lines)
        if len(hashes) > MOST_HASHES or any(len(one) != HASH_BYTES for one in hashes):
            raise ProofError(reason=marked("its hashes are not those of a proof"))
        proof = Proof(_bytes(extra.removeprefix("extra ")), int(match[1]), hashes, SignedCheckpoint.parse(rest))
    except (ValueError, NoteError) as error:
        raise ProofError(reason=str(error)) from error
    if proof.encoded() != data:
        raise ProofError(reason=marked("it is not in its only form"))
    return proof


def verify_proof(proof: Proof, trusted: Sequence[VerifierKey]) -> tuple[Record, VerifierKey]:
    """Return the event that is proven, and which of the ``trusted`` keys signed for it.

    Raises:
        ProofError: It is not proven.
    """
    checkpoint = proof.signed.checkpoint
    try:
        signers = signed_by(proof.signed.note, trusted)
        record = parse_record(proof.data)
    except (NoteError, RecordError) as error:
        raise ProofError(reason=str(error)) from error
    if not signers:
        raise ProofError(reason=marked("its checkpoint is signed by no key that you trust"))
    if record.seq != proof.index:
        raise ProofError(reason=marked("its record is another event"))
    if not is_included(leaf_hash(proof.data), proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise ProofError(reason=marked("its hashes do not lead to the root that was signed"))
    return record, signers[0]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
