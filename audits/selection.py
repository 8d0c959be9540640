"""Chooses what an audit looks at: what is expected, less what it has seen already, what is young, what is not drawn."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from audits.coverage import Scope, Wanted, expected_root
from audits.passing import by_cartridge
from audits.sampling import ENDS, Sample, Stratum, age_of, allotted, draw, size_of
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, PackRow, RunRow
from preservation.checking import Grade, Seen, Verdict
from preservation.ledger.events import EventType, Record, time_text
from preservation.packs.layout import pack_key
from preservation.repository import Repository
from preservation.stores import Store
from storage_backends.backend import OnCartridges, Ordered, Reach
from storage_backends.errors import StorageError

NOT_SAMPLED = "not-sampled"
NO_PROVIDER = "no-provider-checksum"

_RIGHT = frozenset({Verdict.VERIFIED, Verdict.PRESENT})


@dataclass(frozen=True, slots=True)
class Run:
    """An audit in the ledger: when it began, and the event that says so."""

    run: str
    opened: str
    opened_event: int
    resumed: bool


def expected(view: View, scope: Scope, stores: Sequence[Store]) -> list[Wanted]:
    """Return every copy in scope: never verified first, then the oldest verification."""
    names = {store.row.store: store.name for store in stores}
    fonds = {row.fonds for row in rows.every(view, rows.FondsRow) if row.code in scope.fonds}
    packs = {row.pack: row for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    needed = _packs_of(view, scope.packages)
    named = set(scope.copies)
    found = []
    for copy in rows.every(view, CopyRow):
        pack = packs.get(copy.pack)
        if pack is None or copy.store not in names or (named and f"{copy.pack}/{copy.store}" not in named):
            continue
        if scope.stores and names[copy.store] not in scope.stores:
            continue
        if (scope.fonds and pack.fonds not in fonds) or (scope.packages and pack.pack not in needed):
            continue
        found.append(Wanted(pack, copy))
    return sorted(found, key=lambda one: (one.copy.verified, one.copy.written, one.copy.pack))


def _packs_of(view: View, packages: Sequence[str]) -> set[str]:
    needed: set[str] = set()
    for package in packages:
        for row in rows.every(view, rows.VersionRow, package):
            needed.update(row.packs, row.references)
        needed.update(row.pack for row in rows.every(view, PackRow) if row.package == package)
    return needed


def opened(repository: Repository, scope: Scope, wanted: Sequence[Wanted], position: int) -> Run:
    """Take up the audit of this scope that was stopped, or begin one, and record what it expects.

    ``position`` is how many events the catalog reflected when ``wanted`` was looked up. One that began longer ago than
    copies may go unread is given up: what it saw is no assurance any more. One that is taken up and finds that other
    copies are expected by now records that.
    """
    text = json.dumps(dataclasses.asdict(scope), sort_keys=True)
    root = expected_root(wanted)
    before = _unfinished(repository, text)
    if before is not None and (before.expected, before.root) == (len(wanted), root):
        return Run(before.run, before.opened, before.opened_event, resumed=True)
    run = repository.new_id() if before is None else before.run
    event = repository.event(
        EventType.AUDIT_RUN_OPENED,
        run=run,
        scope=text,
        at=position,
        expected=len(wanted),
        root=root,
        grade=str(scope.grade),
        resumed=before is not None,
    )
    (record,) = repository.record([event])
    if before is None:
        return Run(run, time_text(record.time), record.seq, resumed=False)
    return Run(run, before.opened, before.opened_event, resumed=True)


def _unfinished(repository: Repository, scope: str) -> RunRow | None:
    oldest = time_text(repository.world.now() - timedelta(days=repository.configuration.audit.max_age_days))
    with repository.reading() as view:
        return next((row for row in rows.every(view, RunRow) if row.scope == scope and row.opened >= oldest), None)


def ends_of(scope: Scope, stores: Sequence[Store], wanted: Sequence[Wanted]) -> set[tuple[str, str]]:
    """Return the (pack, store) of the first and last packs of each cartridge, if the sample is to have them."""
    found: set[tuple[str, str]] = set()
    for store in stores if scope.sample and scope.ends else ():
        if not isinstance(store.backend, OnCartridges):
            continue
        try:
            groups = by_cartridge(store.backend, [one for one in wanted if one.copy.store == store.row.store])
        except StorageError:  # each look will say so
            continue
        for barcode, copies in groups.items():
            ends = [*copies[: scope.ends], *copies[-scope.ends :]] if barcode else []
            found.update((one.copy.pack, one.copy.store) for one in ends)
    return found


def pass_over(
    scope: Scope,
    run: Run,
    wanted: Sequence[Wanted],
    records: Iterator[Record],
    ends: Collection[tuple[str, str]] = (),
) -> None:
    """Note what this run saw right before it was stopped, and what is passed over as young or not drawn.

    ``records`` are those of the ledger since the run began; ``ends`` are (pack, store) that are drawn in any case.
    """
    seen = _seen_right(run, scope, records) if run.resumed else {}
    oldest = ""
    if scope.max_age_days is not None:
        oldest = time_text(datetime.fromisoformat(run.opened) - timedelta(days=scope.max_age_days))
    population = []
    for one in wanted:
        before = seen.get((one.copy.pack, one.copy.store))
        is_good = one.copy.state == rows.CopyState.GOOD
        if before is not None and (is_good or scope.grade is not Grade.BYTES):
            one.seen, one.taken = before, True
            population.append(one)
        elif oldest and is_good and one.copy.verified >= oldest:
            one.skipped, one.taken = "age", True
        else:
            population.append(one)
    if scope.grade is Grade.PROVIDER:
        for one in population:
            one.skipped, one.taken = NO_PROVIDER, True
    elif scope.sample:
        _draw(scope.sample, run, population, ends)


def _seen_right(run: Run, scope: Scope, records: Iterator[Record]) -> dict[tuple[str, str], Seen]:
    found: dict[tuple[str, str], Seen] = {}
    for record in records:
        detail = record.event.detail
        if record.event.type != EventType.FIXITY_CHECK or detail.get("run") != run.run:
            continue
        if detail.get("grade") != scope.grade:
            continue
        key = (str(detail.get("pack")), str(detail.get("store")))
        verdict = Verdict(str(detail.get("verdict")))
        if verdict in _RIGHT:
            reach = str(detail.get("reach") or "")
            found[key] = Seen(verdict, str(detail.get("generation")), Reach(reach) if reach else None)
        else:
            found.pop(key, None)
    return found


def _draw(asked: str, run: Run, population: list[Wanted], ends: Collection[tuple[str, str]]) -> None:
    """Draw the sample; the ends of cartridges are strata of their own, which are looked at as a whole."""
    strata: dict[str, list[Wanted]] = defaultdict(list)
    for one in population:
        is_end = (one.copy.pack, one.copy.store) in ends
        one.stratum = f"{one.copy.store} {ENDS if is_end else age_of(one.copy.written, run.opened)}"
        strata[one.stratum].append(one)
    others = {name: len(copies) for name, copies in strata.items() if not name.endswith(f" {ENDS}")}
    numbers = allotted(size_of(asked, sum(others.values())), others)
    numbers |= {name: len(copies) for name, copies in strata.items() if name not in others}
    for name, copies in strata.items():
        copies.sort(key=lambda one: draw(run.run, one.copy.pack, one.copy.store))
        for place, one in enumerate(copies):
            one.drawn = place < numbers[name]
            if not one.drawn and one.seen is None:
                one.skipped, one.taken = NOT_SAMPLED, True


def reading_order(scope: Scope, run: Run, wanted: Sequence[Wanted], store: str) -> list[Wanted]:
    """Return the copies to look at on one store, the most urgent first; those of a sample in the order of their lots.

    A sample that is cut short is then still a random one.
    """
    found = [one for one in wanted if one.copy.store == store and not one.taken]
    if scope.sample:
        found.sort(key=lambda one: draw(run.run, one.copy.pack, one.copy.store))
    return found


def sample_of(wanted: Sequence[Wanted], stores: Sequence[Store]) -> Sample:
    """Return what was seen of the sample; copies that were looked at for another reason are not counted."""
    names = {store.row.store: store.name for store in stores}
    strata: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        if one.stratum:
            strata[one.stratum].append(one)
    found = []
    for name, copies in sorted(strata.items()):
        store, age = name.split()
        looked = [one.seen.verdict for one in copies if one.seen is not None and not one.skipped and one.drawn]
        found.append(
            Stratum(
                store=names[store],
                age=age,
                population=len(copies),
                looked=len(looked),
                bad=sum(verdict in {Verdict.DAMAGED, Verdict.MISSING} for verdict in looked),
                unreadable=looked.count(Verdict.UNREADABLE),
            )
        )
    return Sample(tuple(found))


def as_they_lie(scope: Scope, store: Store, copies: list[Wanted]) -> list[Wanted]:
    """Return the copies in the order of the medium, where all are read anyway: then none is more urgent.

    Cartridges come one after the other in any case, the one longest unread first; but a sample that may be cut short
    is read as it was drawn.
    """
    is_cut = scope.seconds is not None or scope.bytes is not None
    if isinstance(store.backend, OnCartridges) and not (scope.sample and is_cut):
        try:
            return [one for group in by_cartridge(store.backend, copies).values() for one in group]
        except StorageError:  # each look will say so
            return copies
    if scope.sample or is_cut or not isinstance(store.backend, Ordered):
        return copies
    by_key = {pack_key(one.pack.fonds, one.pack.pack): one for one in copies}
    try:
        return [by_key[key] for key in store.backend.in_order([*by_key])]
    except StorageError:  # each look will say so
        return copies
