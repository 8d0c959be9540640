"""How many of the copies are independent of each other: by device, site, vendor and administration."""

from collections.abc import Iterable, Sequence

from audits.reports.figures import Holdings, Spread
from preservation.catalog.rows import StoreRow
from preservation.stores import Sharing, Store


def spreads(found: Holdings, stores: Sequence[Store], shared: Sequence[Sharing]) -> list[Spread]:
    """Return how different the copies are, for each set of stores on which packs have good copies; the worst first."""
    devices = _devices(stores, shared)
    by_id = {store.row.store: store.row for store in stores}
    result = []
    for one in found.combinations:
        rows = [row for store, row in by_id.items() if store in one.stores]
        result.append(_spread(rows, devices, packs=one.packs, size=one.bytes, short=one.copies_short))
    return sorted(result, key=lambda one: (one.effective, one.copies, one.stores))


def _spread(rows: Sequence[StoreRow], devices: dict[str, str], *, packs: int, size: int, short: bool) -> Spread:
    return Spread(
        stores=tuple(sorted(row.name for row in rows)),
        packs=packs,
        bytes=size,
        short=short,
        copies=len(rows),
        devices=_different(devices.get(row.store, "") for row in rows),
        sites=_different(row.site for row in rows),
        vendors=_different(row.vendor for row in rows),
        admin_domains=_different(row.admin_domain for row in rows),
        media=len({row.medium for row in rows}),
    )


def _different(values: Iterable[str]) -> int | None:
    """Return how many are known to be different; one that is not stated may be like any other."""
    found = list(values)
    stated = {value for value in found if value}
    if found and not stated:
        return None
    return len(stated)


def _devices(stores: Sequence[Store], shared: Sequence[Sharing]) -> dict[str, str]:
    """Return, for each store that could be looked at, a name of what it shares with others."""
    group = {store.name: store.name for store in stores if store.backend is not None}
    for one in shared:
        first, second = group.get(one.first), group.get(one.second)
        if first is not None and second is not None and first != second:
            group = {name: first if of == second else of for name, of in group.items()}
    return {store.row.store: group[store.name] for store in stores if store.name in group}
