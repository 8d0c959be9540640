"""Reads cartridges whole, the one that was longest unread first, and says what became of the copies on them.

Copy by copy, an audit would ask the tape for each pack; a pass reads every record from the label to the end of the
data, those of indexes and of what nobody asks for too, and finds what differs between tape, index, directory, catalog.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from audits.coverage import Wanted
from audits.findings import Code, Finding
from preservation.checking import Seen, Verdict, check, on_medium
from preservation.fixity import Fixity, Measuring
from preservation.packs.layout import pack_key
from preservation.stores import Store
from storage_backends.backend import Met, OnCartridges, StorageBackend
from storage_backends.errors import StorageError


def by_cartridge(backend: OnCartridges, copies: Sequence[Wanted]) -> dict[str, list[Wanted]]:
    """Return the copies by barcode as the tape passes them: the cartridge longest unread first; "" has what is staged.

    A cartridge is as old as the oldest verification on it.
    """
    by_key = {pack_key(one.pack.fonds, one.pack.pack): one for one in copies}
    places = backend.places([*by_key])
    found: dict[str, list[tuple[int, Wanted]]] = {}
    for key, one in by_key.items():
        barcode, block = places.get(key, ("", 0))
        found.setdefault(barcode, []).append((block, one))
    age = {barcode: min((one.copy.verified, one.copy.written) for _, one in here) for barcode, here in found.items()}
    return {
        barcode: [one for _, one in sorted(found[barcode], key=lambda pair: pair[0])]
        for barcode in sorted(found, key=lambda barcode: (age[barcode], barcode))
    }


def read_whole(
    store: Store,
    copies: Sequence[Wanted],
    *,
    take: Callable[[Wanted], bool],
    note: Callable[[Wanted, Seen], None],
    stopped: Callable[[], bool],
) -> list[Finding]:
    """Read all cartridges of a store; ``note`` what was seen of each copy that ``take`` gives out; return what differs.

    A copy that a pass does not find right is looked at by itself before that is believed. Of a cartridge that cannot be
    read at all nothing is noted: each of its copies is then asked for and says why.
    """
    assert store.backend is not None
    backend = on_medium(store.backend)
    assert isinstance(backend, OnCartridges)
    groups = by_cartridge(backend, copies)
    findings: list[Finding] = []
    for barcode in _in_turn(groups, backend.media()):
        by_key = {pack_key(one.pack.fonds, one.pack.pack): one for one in groups.get(barcode, ())}
        measuring = Measuring()

        def measured(data: bytes) -> None:
            measuring.update(data)  # noqa: B023 - it is meant to be the one of now

        try:
            for met in backend.pass_over(barcode, measured):
                found, measuring = measuring.fixity(), Measuring()
                wanted = by_key.get(met.item.key) if met.item is not None else None
                if wanted is not None and take(wanted):
                    note(wanted, _seen(backend, wanted, met, found))
                if met.differs:
                    findings.append(Finding(Code.CARTRIDGE_DIFFERS, store.name, detail=met.differs, cartridge=barcode))
                if stopped():
                    return findings
        except StorageError:
            continue
    return findings


def _in_turn(groups: Mapping[str, object], media: Iterable[str]) -> list[str]:
    """Return all cartridges, those with copies that are asked for first."""
    known = [barcode for barcode in groups if barcode]
    return known + [barcode for barcode in media if barcode not in groups]


def _seen(backend: StorageBackend, wanted: Wanted, met: Met, found: Fixity) -> Seen:
    expected = Fixity(wanted.pack.size, wanted.pack.pack)
    assert met.item is not None
    if not met.unreadable and not met.differs and (found.size, found.blake3) == (expected.size, expected.blake3):
        return Seen(Verdict.VERIFIED, met.item.generation, met.reach, met.size, found)
    seen = check(backend, wanted.pack.fonds, expected)
    if seen.verdict is Verdict.VERIFIED:
        return Seen(
            seen.verdict, seen.generation, seen.reach, met.size + seen.read, seen.found, unstable=not met.differs
        )
    return seen
