"""Heals what an audit found wrong: pack by pack, from the copies that were just seen right."""

import dataclasses
from collections.abc import Sequence

from audits.coverage import Coverage, Wanted
from audits.findings import Code, Finding
from preservation.cartridges import offline
from preservation.catalog import rows
from preservation.catalog.rows import CopyRow, PackRow
from preservation.checking import Seen, Verdict, check
from preservation.fixity import Fixity
from preservation.repair import Bad, repair
from preservation.repository import Repository
from preservation.stores import Store
from storage_backends.errors import MocbanError

CODES = {
    Verdict.DAMAGED: Code.COPY_DAMAGED,
    Verdict.MISSING: Code.COPY_MISSING,
    Verdict.UNREADABLE: Code.COPY_UNREADABLE,
}
"""The code of the finding for each verdict that is not right."""


def heal(
    repository: Repository,
    stores: Sequence[Store],
    wanted: Sequence[Wanted],
    findings: list[Finding],
    coverage: Coverage,
) -> list[Finding]:
    """Repair every pack with a copy that was not seen right; return the findings as they stand afterwards."""
    by_id = {store.row.store: store for store in stores}
    broken = {one.pack.pack: one.pack for one in wanted if one.seen and one.seen.verdict in CODES}
    seen: dict[str, list[Wanted]] = {pack: [] for pack in broken}
    for one in wanted:
        if one.pack.pack in seen:
            seen[one.pack.pack].append(one)
    for pack in broken.values():
        if repository.world.stopping():
            break
        good, bad = _looked_at(repository, by_id, pack, seen[pack.pack])
        if not bad:
            continue
        try:
            healed = repair(repository, pack, good, bad, stores)
        except MocbanError as error:
            findings.append(Finding(Code.REPAIR_FAILED, pack=pack.pack, detail=str(error)))
            continue
        coverage.repaired += len(healed.stores)
        findings = [_as_healed(finding, pack.pack, healed.stores, lost=bool(healed.lost)) for finding in findings]
        findings += [
            Finding(Code.REPAIR_FAILED, name, pack.pack, str(error)) for name, error in healed.failures.items()
        ]
    return findings


def _as_healed(finding: Finding, pack: str, stores: dict[str, str], *, lost: bool) -> Finding:
    if finding.pack != pack or finding.code not in CODES.values():
        return finding
    if lost:  # the wreck is in quarantine and the loss is a finding of its own
        return dataclasses.replace(finding, healed=True)
    if finding.store in stores:
        return dataclasses.replace(finding, healed=True, detail=stores[finding.store] or finding.detail)
    return finding


def _looked_at(
    repository: Repository, stores: dict[str, Store], pack: PackRow, seen: Sequence[Wanted]
) -> tuple[list[Store], list[Bad]]:
    """Return the stores with a right copy and the copies to be replaced; those outside the scope are looked at now."""
    good: list[Store] = []
    bad: list[Bad] = []
    away: list[Bad] = []
    known = {
        one.copy.store: one.seen for one in seen if one.seen is not None and one.seen.verdict is not Verdict.PRESENT
    }
    with repository.reading() as view:
        copies = list(rows.every(view, CopyRow, pack.pack))
        is_offline = offline(view)
    for copy in copies:
        store = stores.get(copy.store)
        if store is None:
            continue
        if is_offline(copy):  # it is where it should be, and may be the last good one
            away.append(Bad(store, Verdict.UNREADABLE))
            continue
        look = known.get(copy.store)
        if look is None:
            fixity = Fixity(pack.size, pack.pack)
            look = Seen(Verdict.UNREADABLE) if store.backend is None else check(store.backend, pack.fonds, fixity)
        if look.verdict is Verdict.VERIFIED:
            good.append(store)
        else:
            bad.append(Bad(store, look.verdict))
    if not good:
        bad += away if bad else []
        unknown = [store for name, store in stores.items() if name not in {copy.store for copy in copies}]
        _look_where_none_is_known(pack, unknown, good, bad)
    return good, bad


def _look_where_none_is_known(pack: PackRow, stores: Sequence[Store], good: list[Store], bad: list[Bad]) -> None:
    """A copy may lie on a store without an event that says so: of a crash, or from a store that was lost and found."""
    for store in stores:
        if store.backend is None:
            bad.append(Bad(store, Verdict.UNREADABLE))
        elif check(store.backend, pack.fonds, Fixity(pack.size, pack.pack)).verdict is Verdict.VERIFIED:
            good.append(store)
