"""Evacuates a cartridge that failed without being asked: in an audit that repairs, and among the service's duties.

Only where it is plain that the cartridge is to blame: where several of a store fail, the drive may be what is wrong,
and would be used to write all of them anew. Then people are asked, as they are for a cartridge that lies on a shelf.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack

from audits.cartridges import cartridge_findings
from audits.findings import Code, Finding
from preservation.cartridges import Known, cartridges
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.taped import EVACUATING, SHELF, SUSPECT, CartridgeRow
from preservation.evacuating import Evacuated, evacuated
from preservation.evidence import push
from preservation.repository import Repository
from preservation.stopping import StoppedError
from preservation.stores import Store, all_open, attached
from storage_backends.errors import MocbanError, Phrase


def evacuate_failing(
    repository: Repository,
    stores: Sequence[Store],
    findings: Sequence[Finding],
    told: Callable[[int, int], None],
    *,
    enough: Callable[[], bool],
    only: Collection[str] = (),
) -> list[Finding]:
    """Evacuate the cartridges that ``findings`` say are failing; return the findings as they stand afterwards.

    Those of all stores, or of the stores with the names ``only``. ``stores`` are open and ``copying`` is held; the
    evidence of it stays to be pushed. Once ``enough`` is true no further pack is begun, and what is left waits for the
    next time.

    Raises:
        StoppedError: told to stop; the next time goes on.
    """
    left = list(findings)
    for one in _to_blame(repository, [store for store in stores if not only or store.name in only]):
        if repository.world.stopping():
            raise StoppedError
        if enough():
            break
        try:
            done: Evacuated | MocbanError = evacuated(repository, stores, one, told, enough=enough)
        except StoppedError:
            raise
        except MocbanError as error:
            done = error
        left = [_afterwards(finding, done) if _is_about(finding, one) else finding for finding in left]
    return left


def failing_stores(view: View) -> set[str]:
    """Return the stores with a cartridge that failed and is not on a shelf, by what the ledger says."""
    return {
        row.store for row in rows.every(view, CartridgeRow) if row.state in {SUSPECT, EVACUATING} and row.place != SHELF
    }


def evacuate_now(
    repository: Repository, told: Callable[[int, int], None], *, spared: AbstractSet[str]
) -> list[Finding]:
    """Evacuate the cartridges that failed, whatever noticed it; return the findings about them.

    The stores that are ``spared`` are neither read nor written.

    Raises:
        StoppedError: told to stop; the next time goes on.
    """
    with repository.copying(), ExitStack() as stack:
        with repository.reading() as view:
            stores = stack.enter_context(all_open([row for row in attached(view) if row.store not in spared]))
        found = [one for one in cartridge_findings(repository, stores, []) if one.code is Code.CARTRIDGE_FAILING]
        found = evacuate_failing(repository, stores, found, told, enough=lambda: False)
        for name, error in push(repository, stores, flush=True).failures.items():
            found.append(Finding(Code.EVIDENCE_DAMAGED, name, detail=str(error)))
    return found


def _to_blame(repository: Repository, stores: Sequence[Store]) -> list[Known]:
    """Return the failing cartridges in a slot or a drive: those whose evacuation has begun, and a store's only suspect.

    Those on a shelf do not count: they say nothing of the drive, and may lie there for years.
    """
    with repository.reading() as view:
        failing = [one for one in cartridges(view, stores) if one.row.number and one.is_failing]
    within = [one for one in failing if one.where in {"slot", "drive"}]
    suspects = Counter(one.store.name for one in within if one.row.state != EVACUATING)
    return [one for one in within if one.row.state == EVACUATING or suspects[one.store.name] == 1]


def _is_about(finding: Finding, one: Known) -> bool:
    about = (finding.code, finding.store, finding.cartridge)
    return about == (Code.CARTRIDGE_FAILING, one.store.name, one.row.barcode)


def _afterwards(finding: Finding, done: Evacuated | MocbanError) -> Finding:
    if isinstance(done, MocbanError):
        detail = Phrase("{finding}; it could not be evacuated: {reason}", finding=finding.detail, reason=str(done))
        return dataclasses.replace(finding, detail=detail)
    if done.retired:
        detail = Phrase(
            "{finding}; evacuated: {count} packs written to other cartridges, {others} of them from other stores",
            finding=finding.detail,
            count=done.packs,
            others=done.from_elsewhere,
        )
        return dataclasses.replace(finding, detail=detail, healed=True)
    reason: str = Phrase("the time was over")
    if done.failures:
        reason = str(next(iter(done.failures.values())))
    detail = Phrase(
        "{finding}; evacuated but for {count} copies: {reason}", finding=finding.detail, count=done.left, reason=reason
    )
    return dataclasses.replace(finding, detail=detail)
