"""A walk over all records in order: the tree at every size that was asked for, and the few records worth keeping."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from preservation.ledger.attested import attested_in
from preservation.ledger.errors import NoteError
from preservation.ledger.events import EventType, Record, parse_record
from preservation.ledger.keys import KeyPeriod, current_verifiers
from preservation.ledger.merkle import NO_LEAF, Frontier, leaf_hash
from preservation.ledger.subtrees import joined
from preservation.ledger.survey import Survey

_ROTATION = EventType.KEY_ROTATION.encode()


@dataclass(slots=True)
class Walk:
    """What is known after the records taken so far.

    ``sizes`` are those whose roots are wanted, ascending; ``wanted`` are the events that are kept besides genesis and
    rotations; ``attested`` is what ``attested_in`` finds in all. ``frontier`` is None once something before could not
    be read.
    """

    sizes: Sequence[int] = ()
    wanted: frozenset[int] = frozenset()
    seq: int = 0
    frontier: Frontier | None = field(default_factory=Frontier)
    last_leaf: bytes | None = NO_LEAF
    roots: dict[int, bytes] = field(default_factory=dict)
    kept: dict[int, bytes] = field(default_factory=dict)
    attested: dict[str, str] = field(default_factory=dict)

    def take(self, records: Sequence[bytes]) -> None:
        """Walk over ``records``, which follow those before."""
        leaves = [leaf_hash(record) for record in records]
        start, end = self.seq, self.seq + len(records)
        if self.frontier is not None:
            done = start
            for stop in (*self.sizes_within(start, end - 1), end):
                self.frontier = self.frontier.extended(leaves[done - start : stop - start])
                self.roots[stop] = self.frontier.root()
                done = stop
        if leaves:
            self.last_leaf = leaves[-1]
        for seq, record in enumerate(records, start):
            if seq == 0 or seq in self.wanted or _ROTATION in record:
                self.kept[seq] = record
            self.attested.update(attested_in(record))
        self.seq = end

    def take_survey(self, seen: Survey) -> None:
        """Walk over a segment that was surveyed and begins where the walk stands."""
        for stop, nodes in seen.pieces:
            if self.frontier is not None:
                self.frontier = joined(self.frontier, nodes)
                self.roots[stop] = self.frontier.root()
            self.seq = stop
        if seen.last_leaf is not None:
            self.last_leaf = seen.last_leaf
        for seq, record in seen.kept.items():
            if seq == 0 or seq in self.wanted or _ROTATION in record:
                self.kept[seq] = record
        self.attested.update(seen.attested)

    def sizes_within(self, start: int, end: int) -> tuple[int, ...]:
        """Return those of ``sizes`` that are larger than ``start`` and at most ``end``."""
        return tuple(self.sizes[bisect_right(self.sizes, start) : bisect_right(self.sizes, end)])

    def lose(self, seq: int) -> None:
        """Go on at ``seq`` although what lies before it could not be read."""
        self.seq, self.frontier, self.last_leaf = seq, None, None

    def records(self) -> list[Record]:
        """Return the records that were kept; raises ``RecordError``."""
        return [parse_record(data) for _, data in sorted(self.kept.items())]

    def periods(self) -> tuple[KeyPeriod, ...]:
        """Return which key signs which sizes; raises ``RecordError``, ``NoteError``."""
        if 0 not in self.kept:
            raise NoteError(reason="the genesis could not be read")
        return current_verifiers(self.records())
