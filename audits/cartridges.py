"""Cartridges in an audit: copies on a shelf are passed over and asked for; what is wrong with a cartridge is told."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

from audits.coverage import Wanted
from audits.findings import Code, Finding
from preservation.cartridges import (
    WHOLE_YEAR,
    Known,
    Purpose,
    cartridges,
    end_of_life,
    most_loads,
    note,
    number_of,
    offline,
    pool_of,
    request,
)
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.taped import RETIRED, CartridgeRow
from preservation.checking import Verdict
from preservation.repository import Repository
from preservation.stores import Store
from storage_backends.errors import Phrase
from storage_backends.tape.noted import Condition

OFFLINE = "offline"
"""Why a copy on a cartridge that lies on a shelf counts as skipped: nobody could look at it."""

_WRONG = (Condition.DUPLICATE, Condition.FOREIGN, Condition.NO_LABEL, Condition.WRONG_LABEL)


def pass_over_shelved(repository: Repository, wanted: Sequence[Wanted]) -> None:
    """Skip the copies that are to be looked at and lie on cartridges on a shelf: nothing is said of them."""
    with repository.reading() as view:
        is_offline = offline(view)
    for one in wanted:
        if not one.taken and is_offline(one.copy):
            one.skipped, one.taken = OFFLINE, True


def cartridge_findings(repository: Repository, stores: Sequence[Store], wanted: Sequence[Wanted]) -> list[Finding]:
    """Record what was noticed of cartridges, ask for those that were needed, and tell what is the matter with each."""
    tapes = [store for store in stores if store.row.medium == "tape"]
    if not tapes:
        return []
    _note_wrong_bytes(tapes, wanted)
    note(repository, tapes, Purpose.AUDIT)
    with repository.deciding() as (view, append):
        events = []
        for store in tapes:
            events += request(repository, view, store, _passed_over(view, store, wanted), Purpose.AUDIT)
        if events:
            append(events)
    unchecked = Counter((one.copy.store, number_of(one.copy)) for one in wanted if one.skipped == OFFLINE)
    with repository.reading() as view:
        return [finding for one in cartridges(view, tapes) for finding in _findings(repository, one, unchecked)]


def _passed_over(view: View, store: Store, wanted: Sequence[Wanted]) -> set[str]:
    """Return the barcodes of the cartridges with copies that nobody could look at."""
    numbers = {number_of(one.copy) for one in wanted if one.skipped == OFFLINE and one.copy.store == store.row.store}
    return {row.barcode for row in rows.every(view, CartridgeRow, store.row.store) if row.number in numbers}


def _note_wrong_bytes(tapes: Sequence[Store], wanted: Sequence[Wanted]) -> None:
    """Count a copy that could be read and is wrong as a hard error of its cartridge, at the start of its tape file."""
    for store in tapes:
        pool = pool_of(store)
        wrong = [
            one.copy
            for one in wanted
            if one.copy.store == store.row.store and one.seen is not None and one.seen.verdict is Verdict.DAMAGED
        ]
        if pool is None or not wrong:
            continue
        barcodes = {one.number: one.barcode for one in pool.directory().cartridges()}
        for copy in wrong:
            if number_of(copy) in barcodes:
                pool.library.note_error(barcodes[number_of(copy)], int(copy.generation.split("-")[1]), 0)


def _findings(repository: Repository, one: Known, unchecked: Mapping[tuple[str, int], int]) -> Iterator[Finding]:
    """Yield what is the matter with a cartridge; one that is retired concerns nobody."""
    row, conditions = one.row, set(one.row.conditions)

    def found(code: Code, detail: str) -> Finding:
        return Finding(
            code,
            one.store.name,
            detail=Phrase("{barcode}: {reason}", barcode=row.barcode, reason=detail),
            cartridge=row.barcode,
        )

    if row.state == RETIRED:
        return
    for condition in sorted(conditions & set(_WRONG)):
        if row.number or condition is not Condition.FOREIGN:  # others may keep theirs in the same library
            yield found(Code.CARTRIDGE_WRONG, str(condition))
    if row.number:
        yield from _of_ours(repository, one, unchecked.get((row.store, row.number), 0), found)


def _of_ours(
    repository: Repository, one: Known, unchecked: int, found: Callable[[Code, str], Finding]
) -> Iterator[Finding]:
    row = one.row
    if one.where == "missing":
        yield found(Code.CARTRIDGE_MISSING, Phrase("{count} copies", count=one.copies))
    if unchecked:
        place = f"{row.location} {row.vault}".strip()
        yield found(Code.CARTRIDGE_OFFLINE, Phrase("{count} copies at {place}", count=unchecked, place=place))
    if Condition.WRITE_PROTECTED in row.conditions:
        yield found(Code.CARTRIDGE_PROTECTED, one.state)
    if one.is_failing:
        errors = len(row.errors)
        said = Phrase(
            "{reason} ({reason_why}), {count} hard errors", reason=row.state, reason_why=row.reason, count=errors
        )
        yield found(Code.CARTRIDGE_FAILING, said)
    if one.copies:
        yield from _worn(repository, one, found)
        yield from _aged(repository, one, found)


def _worn(repository: Repository, one: Known, found: Callable[[Code, str], Finding]) -> Iterator[Finding]:
    """Tell of a cartridge that was loaded as often as one of its kind may be."""
    most = most_loads(one.row, repository.configuration.tape)
    if most and one.loads >= most:
        yield found(
            Code.CARTRIDGE_WORN,
            Phrase("{count} copies, {loads} loads of {most}", count=one.copies, loads=one.loads, most=most),
        )


def _aged(repository: Repository, one: Known, found: Callable[[Code, str], Finding]) -> Iterator[Finding]:
    """Tell of the end of a cartridge's life in time to bring elsewhere what lies on it, a year before at the latest."""
    policy = repository.configuration.tape
    until, today = end_of_life(one.row, policy), repository.world.now().date()
    if until is None:
        return
    if today >= until - timedelta(days=WHOLE_YEAR):
        yield found(Code.CARTRIDGE_OVERDUE, Phrase("{count} copies, until {day}", count=one.copies, day=str(until)))
    elif today >= until - timedelta(days=policy.warn_days):
        yield found(Code.CARTRIDGE_AGEING, Phrase("{count} copies, until {day}", count=one.copies, day=str(until)))
