"""Sweeps the stores for what does not belong there, and for sidecars and evidence that are missing or wrong."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from audits.findings import Code, Finding
from preservation.catalog import rows
from preservation.catalog.rows import CopyRow, PackRow, PackState, SessionRow
from preservation.evidence import ahead_of, is_known_key, wrong_evidence
from preservation.fixity import CHUNK, blake3_hex
from preservation.packing import put_item, set_aside
from preservation.packs import layout
from preservation.repair import sidecar
from preservation.repository import Repository
from preservation.sidecars import blocks_name, index_name
from preservation.stores import Store
from storage_backends.backend import Ordered, StorageBackend
from storage_backends.errors import KeyMissingError, Phrase, ReadFailureError, StorageError
from storage_backends.tape.drive import CartridgeShelvedError

SIDECAR = re.compile(r"indexes/[^/]+/[0-9a-f]{2}/([0-9a-f]{64})\.(jsonl|blocks)")


def sweep(repository: Repository, stores: Sequence[Store], *, repair: bool, listing: bool = False) -> list[Finding]:
    """Look at everything beside the packs; what is unexpected goes to the quarantine, what is wrong is written anew.

    With ``listing`` the stores are only asked what is there; sidecars and evidence are not read.
    """
    opened = [(store, store.backend) for store in stores if store.backend is not None]
    with ThreadPoolExecutor(max_workers=max(1, len(opened))) as pool:
        running = [
            pool.submit(_store, repository, stores, store, backend, repair=repair, listing=listing)
            for store, backend in opened
        ]
        findings = [finding for one in running for finding in one.result()]
    if repair:
        _keep_sidecars(repository, [backend for _, backend in opened], findings)
    return findings


def _keep_sidecars(repository: Repository, backends: Sequence[StorageBackend], findings: Sequence[Finding]) -> None:
    """Keep here what a store had to be given anew: it may have been missing here too."""
    healed = {finding.pack for finding in findings if finding.code is Code.SIDECAR_DAMAGED and finding.healed}
    for pack in sorted(healed):
        with repository.reading() as view:
            row = rows.one(view, PackRow, pack)
        for kind, name in (("index", index_name(pack)), ("blocks", blocks_name(pack))):
            data = sidecar(repository, row, backends, kind) if row is not None else None
            if data is not None:
                repository.sidecars.keep(name, data)


def _store(
    repository: Repository,
    stores: Sequence[Store],
    store: Store,
    backend: StorageBackend,
    *,
    repair: bool,
    listing: bool,
) -> list[Finding]:
    findings: list[Finding] = []
    try:
        ahead = ahead_of(repository, backend)
        if ahead:  # what it has and we do not know must neither be moved nor be written over
            return [
                Finding(Code.LEDGER_DAMAGED, store.name, detail=Phrase("{ahead} lies there, unknown here", ahead=ahead))
            ]
        findings += _unexpected(repository, store, backend, repair=repair)
        if not listing:
            findings += _sidecars(repository, stores, store, backend, repair=repair)
            findings += _evidence(repository, store, backend, repair=repair)
    except StorageError as error:
        findings.append(Finding(Code.STORE_UNAVAILABLE, store.name, detail=str(error)))
    return findings


def _unexpected(repository: Repository, store: Store, backend: StorageBackend, *, repair: bool) -> list[Finding]:
    keys = [item.key for item in backend.items()]
    with repository.reading() as view:  # after the listing: what was landing then is known or has its session open now
        packs = {row.pack: row for row in rows.every(view, PackRow)}
        busy = {row.fonds for row in rows.every(view, SessionRow)}
    findings = []
    for key in keys:
        if is_known_key(key) or _belongs(key, packs, busy):
            continue
        tombstone = _pack_in(key)
        retired = packs.get(tombstone) if tombstone else None
        healed = False
        if repair:
            with suppress(StorageError):
                if retired is not None and retired.state == PackState.ABANDONED:
                    backend.delete(key)
                else:
                    set_aside(backend, key)
                healed = True
        findings.append(Finding(Code.ITEM_UNEXPECTED, store.name, tombstone or "", key, healed=healed))
    return findings


def _pack_in(key: str) -> str:
    found = layout.pack_of_key(key)
    if found is not None:
        return found[1]
    match = SIDECAR.fullmatch(key)
    return match[1] if match else ""


def _belongs(key: str, packs: dict[str, PackRow], busy: set[str]) -> bool:
    pack = _pack_in(key)
    if not pack:
        return False
    fonds = key.split("/")[1]
    row = packs.get(pack)
    if row is None:
        return fonds in busy
    return row.fonds == fonds and row.state in rows.EXPECTED_STATES


def _sidecars(
    repository: Repository, stores: Sequence[Store], store: Store, backend: StorageBackend, *, repair: bool
) -> list[Finding]:
    with repository.reading() as view:
        held = {row.pack for row in rows.every(view, CopyRow) if row.store == store.row.store}
        packs = [row for row in rows.every(view, PackRow) if row.pack in held and row.state in rows.EXPECTED_STATES]
    backends = [one.backend for one in stores if one.backend is not None]
    findings = []
    if isinstance(backend, Ordered):
        keys = {layout.index_key(pack.fonds, pack.pack): pack for pack in packs}
        packs = [keys[key] for key in backend.in_order([*keys])]
    for pack in packs:
        for kind, key, wanted in (
            ("index", layout.index_key(pack.fonds, pack.pack), pack.index_blake3),
            ("blocks", layout.blocks_key(pack.fonds, pack.pack), pack.blocks_blake3),
        ):
            try:
                if _measures(backend, key, wanted):
                    continue
            except CartridgeShelvedError:  # that it is there was asked before; nobody can look at it now
                continue
            healed = False
            data = sidecar(repository, pack, backends, kind)
            if repair and data is not None:
                with suppress(StorageError):
                    put_item(backend, key, data)
                    healed = True
            findings.append(Finding(Code.SIDECAR_DAMAGED, store.name, pack.pack, key, healed=healed))
    return findings


def _measures(backend: StorageBackend, key: str, wanted: str) -> bool:
    try:
        with backend.read(key, fresh=True) as reader:
            data = b"".join(iter(lambda: reader.read(CHUNK), b""))
    except (KeyMissingError, ReadFailureError):
        return False
    return blake3_hex(data) == wanted


def _evidence(repository: Repository, store: Store, backend: StorageBackend, *, repair: bool) -> list[Finding]:
    findings = []
    for key, right in wrong_evidence(repository, backend):
        healed = False
        if repair and right is not None:
            with suppress(StorageError):
                put_item(backend, key, right)
                healed = True
        findings.append(Finding(Code.EVIDENCE_DAMAGED, store.name, "", key, healed=healed))
    return findings
