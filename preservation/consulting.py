"""Asks a second tool about the files of a version that was taken in just now; `reviewing` has what follows of it.

So a conflict is in the queue at once, and not only when all files are gone through again. The version is there already:
whatever happens here, it stays as it is, and what was found is kept as after a reidentification.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from preservation.catalog.catalog import View
from preservation.catalog.rows import VersionRow
from preservation.evidence import push
from preservation.identifications import COLUMNS, KIND, Change, Layers, OfPackage, key_of, signatures_of, tag_of
from preservation.ledger.events import EventType
from preservation.manifest import FileLine
from preservation.packages import NoGoodCopyError, manifest, version_row
from preservation.parts import Value, write_parts
from preservation.reidentification import Second
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from storage_backends.backend import Recalling

MOVES_TOLD = 100
"""Kinds of moves that the event counts, the most frequent ones; the parts have all."""

COUNTS = ("looked", "moved", "unreached", "conflicts")
"""Files that were asked about, whose answer is another one now, that no medium at hand gives, of which both differ."""


@dataclass(slots=True)
class _Consulting:
    """A version that is gone through."""

    repository: Repository
    view: View
    stores: list[Store]
    row: VersionRow
    asking: Second
    told: Callable[[int, int], None]
    counts: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    _known: set[tuple[str, str]] = field(default_factory=set)

    def rows(self, later: OfPackage) -> Iterator[tuple[Value, ...]]:
        """Yield what the second tool says of each content that is in doubt or drawn, and that nobody asked it about."""
        for line in manifest(self.view, self.stores, self.row):
            if self.repository.world.stopping():
                return
            if not isinstance(line, FileLine) or (line.blake3, tag_of(line)) in self._known:
                continue
            newest = later.newest(line)
            looked = newest.answer.status in {"identified", "unidentified"}
            if not looked or any(change.verdict for change in newest.changes):
                continue
            if self.asking.wants(line, newest.answer):
                self._known.add((line.blake3, tag_of(line)))
                yield from self._asked(line, later)
                self.told(1, line.size)

    def _asked(self, line: FileLine, later: OfPackage) -> Iterator[tuple[Value, ...]]:
        before = later.newest(line).answer
        self.counts["looked"] += 1
        answer, verdict, others, tool = self.asking.judge(self.view, self.stores, self.row.fonds, line, before)
        self.counts["unreached"] += not verdict
        self.counts["conflicts"] += verdict == "conflict"
        if key_of(answer) != key_of(before):
            self.moves[f"{key_of(before)} -> {key_of(answer)}"] += 1
            self.counts["moved"] += 1
        if verdict:
            was = key_of(before), signatures_of(before)
            change = Change(self.row.version, *was, answer, verdict, others, tool)
            yield change.row(self.row.package, line.blake3, tag_of(line))


def consult(
    repository: Repository, package: str, version: int, asking: Second, told: Callable[[int, int], None]
) -> dict[str, int]:
    """Ask about the files of a version and record what is said; return the counts of `COUNTS`.

    Media that must be fetched first are left alone.

    Raises:
        NoSecondOpinionError: there is nobody to ask; nothing is recorded.
        PartMissingError: what was found earlier is not here.
        StoppedError: told to stop; what was found until then is recorded, and asked again, it goes on.
    """
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores, repository.reading() as view, Layers(repository.sidecars, view) as layers:
        row = version_row(view, package, version)
        at_hand = [one for one in stores if one.backend is not None and not isinstance(one.backend, Recalling)]
        work = _Consulting(repository, view, at_hand, row, asking, told)
        try:
            parts = write_parts(repository, KIND, COLUMNS, work.rows(layers.of_package(row.fonds, row.package)))
        except NoGoodCopyError:  # the manifest itself lies only where it must be fetched from
            return {"looked": 0, "moved": 0, "unreached": row.files, "conflicts": 0}
        counts = {name: work.counts[name] for name in COUNTS}
        if parts:
            event = repository.event(
                EventType.FORMAT_IDENTIFICATION,
                fonds=row.fonds,
                package=row.package,
                version=row.version,
                moves=dict(sorted(work.moves.most_common(MOVES_TOLD))),
                parts=[part.to_json() for part in parts],
                looked=counts["looked"],
                moved=counts["moved"],
                unreached=counts["unreached"],
                conflicts=counts["conflicts"],
            )
            repository.record([event])
            push(repository, stores)
    if repository.world.stopping():
        raise StoppedError
    return counts
