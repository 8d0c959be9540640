"""Repairs a pack: joins what is good from all copies, writes it beside, reads it back, swaps, and keeps the bad bytes.

No good byte is ever overwritten: a copy that is wrong goes to the quarantine only when its replacement has been read
back from the same medium. What cannot be put together is named, and what survives goes into a salvage pack.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PackRow, PackState, StoreRow, StoreState
from preservation.checking import Verdict, diagnosis
from preservation.fixity import BLOCK, CHUNK, Fixity, Measuring, blake3_hex, block_digests, measure
from preservation.flushing import rewritten
from preservation.joining import Copy, Joined, Place, joined
from preservation.ledger.events import Event, EventType
from preservation.packing import (
    Shipment,
    check_reader,
    copy_event,
    is_aside,
    keep_sidecars,
    sealed_event,
    set_aside,
)
from preservation.packs import index as pack_index
from preservation.packs import layout
from preservation.packs.index import ManifestLine
from preservation.packs.members import BLOCK as TAR_BLOCK
from preservation.packs.members import Kind, Member, stored_size
from preservation.packs.writer import PackWriter
from preservation.repository import Repository
from preservation.sidecars import blocks_name, index_name
from preservation.stores import Store
from storage_backends.backend import Draft, Drafting, Item, Reach, Rewriting, StorageBackend
from storage_backends.errors import (
    KeyMissingError,
    MocbanError,
    Phrase,
    ReadFailureError,
    SourceLengthError,
    StorageError,
    marked,
)

_COPY_MADE = frozenset({EventType.REPLICATION, EventType.REPAIR})


class NotRepairableError(MocbanError):
    """A pack could not be repaired now; nothing was changed."""

    template = marked("Pack {pack} cannot be repaired now: {reason}")


@dataclass(frozen=True, slots=True)
class Bad:
    """A copy that is to be replaced."""

    store: Store
    verdict: Verdict


@dataclass(slots=True)
class Healed:
    """What came of repairing one pack: stores whose copy is right again, objects that are gone, what failed."""

    stores: dict[str, str] = field(default_factory=dict)
    """Store name to the kind of damage that was healed there."""
    lost: list[str] = field(default_factory=list)
    failures: dict[str, MocbanError] = field(default_factory=dict)


def repair(
    repository: Repository, pack: PackRow, good: Sequence[Store], bad: Sequence[Bad], others: Sequence[Store] = ()
) -> Healed:
    """Make every copy in ``bad`` right again, if that is possible, and record it.

    ``good`` are the stores whose copy was just seen right, ``others`` those that may have indexes or other packs.

    Raises:
        NotRepairableError: neither block digests nor index can be found, or no copy can be read.
    """
    healed = Healed()
    sources = [store for store in good if store.backend is not None]
    with tempfile.TemporaryFile(dir=repository.staging) as spool:
        assembled = None if sources else _assembled(repository, pack, bad, others, spool)
        if assembled is not None and not assembled.whole:
            _check_nothing_hidden(repository, pack, bad)
            _salvage(repository, pack, assembled, bad, healed)
            return healed
        for one in bad:
            if one.store.backend is None:
                continue
            for pieces in _attempts(pack, sources, assembled):
                try:
                    _replace(repository, pack, one, pieces, healed)
                except MocbanError as error:
                    healed.failures[one.store.name] = error
                else:
                    healed.failures.pop(one.store.name, None)
                    break
    return healed


def _attempts(pack: PackRow, sources: Sequence[Store], assembled: Joined | None) -> Iterator[Iterator[bytes]]:
    """Yield the pack's bytes from one source after the other: a good copy may have gone bad since it was looked at."""
    if assembled is not None:
        yield assembled.pieces()
    for store in sources:
        if store.backend is not None:
            yield _copied(store.backend, layout.pack_key(pack.fonds, pack.pack))


def _check_nothing_hidden(repository: Repository, pack: PackRow, bad: Sequence[Bad]) -> None:
    """Raise ``NotRepairableError`` if a store that cannot be looked at now may hold better bytes of the pack."""
    if any(one.store.backend is None or one.verdict is Verdict.UNREADABLE for one in bad):
        raise NotRepairableError(pack=pack.pack, reason="a store that may hold a good copy cannot be looked at")
    with repository.reading() as view:
        detached = {row.store: row.name for row in rows.every(view, StoreRow) if row.state == StoreState.DETACHED}
    if not detached:
        return
    for record in repository.ledger.records(pack.sealed):
        detail = record.event.detail
        store = str(detail.get("store"))
        if store in detached and detail.get("pack") == pack.pack and record.event.type in _COPY_MADE:
            reason = Phrase("{store} may hold a good copy; attach it again, or record its loss", store=detached[store])
            raise NotRepairableError(pack=pack.pack, reason=reason)


def _copied(source: StorageBackend, key: str) -> Iterator[bytes]:
    """Yield the pack from a good copy; the draft is measured as a whole before it gets its name."""
    with source.read(key, fresh=True) as reader:
        while data := reader.read(CHUNK):
            yield data


def _replace(repository: Repository, pack: PackRow, bad: Bad, pieces: Iterator[bytes], healed: Healed) -> None:
    backend = bad.store.backend
    assert backend is not None
    key, fixity = layout.pack_key(pack.fonds, pack.pack), Fixity(pack.size, pack.pack)
    if isinstance(backend, Drafting):
        item, reach, kind, place = _put_beside(repository, pack, bad, pieces)
    elif isinstance(backend, Rewriting):
        (item, reach), kind, place = (
            rewritten(backend, key, fixity, pieces),
            Phrase("{reason}", reason=str(bad.verdict)),
            "",
        )
    else:
        raise NotRepairableError(
            pack=pack.pack, reason=Phrase("{store} cannot write beside what is there", store=bad.store.name)
        )
    repository.record(
        [
            repository.event(
                EventType.REPAIR,
                fonds=pack.fonds,
                pack=pack.pack,
                store=bad.store.row.store,
                generation=item.generation,
                reach=str(reach),
                damage=kind,
                quarantine=place,
            )
        ]
    )
    healed.stores[bad.store.name] = kind


def _put_beside(
    repository: Repository, pack: PackRow, bad: Bad, pieces: Iterator[bytes]
) -> tuple[Item, Reach, str, str]:
    """Write the right bytes beside the wrong ones, read them back, swap; return also what was wrong and where it is."""
    backend, key, fixity = bad.store.backend, layout.pack_key(pack.fonds, pack.pack), Fixity(pack.size, pack.pack)
    assert backend is not None
    assert isinstance(backend, Drafting)
    draft = backend.create()
    try:
        kind: str = Phrase("{reason}", reason=str(bad.verdict))
        if bad.verdict is Verdict.DAMAGED:
            wrong, first = _written(backend, draft, key, pieces)
            other = _pack_under(repository, backend, key) if first < TAR_BLOCK else ""
            kind = Phrase("{reason} at {first}", reason=wrong, first=first)
            if other:
                kind = Phrase("the bytes of pack {pack}", pack=other)
        else:
            for piece in pieces:
                draft.write(piece)
        with draft.read_back() as reader:
            check_reader(reader, fixity, what=key)
            reach = reader.reach
        place = ""
        with suppress(KeyMissingError):
            place = _out_of_the_way(backend, key)
        return draft.commit(key), reach, kind, place
    finally:
        draft.abort()


def _out_of_the_way(backend: StorageBackend, key: str) -> str:
    try:
        return set_aside(backend, key)
    except (ReadFailureError, SourceLengthError):
        backend.delete(key)  # its bytes cannot be read, or not as many as the store says: they cannot be kept
        return ""


def _written(backend: StorageBackend, draft: Draft, key: str, pieces: Iterator[bytes]) -> tuple[str, int]:
    """Write the right bytes and compare them with the wrong ones on the way; return what is wrong first, and where."""
    found: tuple[str, int] | None = None
    place, rest = 0, b""
    for piece in pieces:
        draft.write(piece)
        rest += piece
        while len(rest) >= BLOCK:
            found = found or _difference(backend, key, place, rest[:BLOCK])
            rest, place = rest[BLOCK:], place + BLOCK
    return found or _difference(backend, key, place, rest) or ("extended", place + len(rest))


def _difference(backend: StorageBackend, key: str, place: int, good: bytes) -> tuple[str, int] | None:
    try:
        with backend.read(key, offset=place, length=len(good)) as reader:
            bad = b"".join(iter(lambda: reader.read(BLOCK), b""))
    except StorageError:
        return "unreadable", place
    kind, first = diagnosis(bad, good)
    return None if bad == good else (kind, place + first)


def _pack_under(repository: Repository, backend: StorageBackend, key: str) -> str:
    """Return which other pack lies under a key; nothing if it is none of ours as it was written."""
    try:
        with backend.read(key) as reader:
            found = measure(reader)
    except StorageError:
        return ""
    with repository.reading() as view:
        return found.blake3 if rows.one(view, PackRow, found.blake3) is not None else ""


# ---- joining ----------------------------------------------------------------------------------------------------


def _assembled(
    repository: Repository, pack: PackRow, bad: Sequence[Bad], others: Sequence[Store], spool: BinaryIO
) -> Joined:
    stores = {store.row.store: store for store in (*(one.store for one in bad), *others)}
    backends = [store.backend for store in stores.values() if store.backend is not None]
    index = sidecar(repository, pack, backends, "index")
    if index is None:
        raise NotRepairableError(pack=pack.pack, reason="its index cannot be found anywhere")
    lines = index.splitlines(keepends=True)
    head = pack_index.parse_header(lines[0], pack.pack)
    members = list(pack_index.members(lines[1:], pack.pack))
    places = _in_other_packs(repository, pack, members)

    def elsewhere(digest: str, size: int) -> Place | None:
        for other, offset in places.get(digest, ()):
            for backend in backends:
                copy = Copy(backend, layout.pack_key(other.fonds, other.pack), other.size)
                if copy.holds(offset, size, digest):
                    return copy, offset
        return None

    fixity = Fixity(pack.size, pack.pack)
    blocks = sidecar(repository, pack, backends, "blocks")
    named, aside = _copies(pack, backends)
    result = None
    for copies in (named, [*named, *aside]) if aside else (named,):
        spool.seek(0)
        spool.truncate()
        result = joined(
            fixity, blocks, index, head.label, iter(members), copies=copies, elsewhere=elsewhere, spool=spool
        )
        if result is not None and result.whole:
            break
    if result is None:
        raise NotRepairableError(pack=pack.pack, reason="its block digests cannot be found anywhere")
    return result


def _copies(pack: PackRow, backends: Sequence[StorageBackend]) -> tuple[list[Copy], list[Copy]]:
    """Return what lies under the pack's name, and what was set aside from there: after a crash that may be needed."""
    key = layout.pack_key(pack.fonds, pack.pack)
    named, aside = [], []
    for backend in backends:
        with suppress(StorageError):
            named.append(Copy(backend, key, backend.stat(key).size))
        with suppress(StorageError):
            aside += [
                Copy(backend, item.key, item.size) for item in backend.items("quarantine") if is_aside(item.key, key)
            ]
    return named, aside


def _in_other_packs(
    repository: Repository, pack: PackRow, members: Sequence[Member]
) -> dict[str, list[tuple[PackRow, int]]]:
    """Return where other packs hold objects of this one: (pack, offset) by digest."""
    found: dict[str, list[tuple[PackRow, int]]] = {}
    with repository.reading() as view:
        for member in members:
            if member.kind not in {Kind.CONTENT, Kind.FILE} or member.digest in found:
                continue
            for place in rows.locations(view.get(rows.object_key(pack.fonds, member.digest))):
                other = rows.one(view, PackRow, place.pack) if place.pack != pack.pack else None
                if other is not None:
                    found.setdefault(member.digest, []).append((other, place.offset))
    return found


def sidecar(repository: Repository, pack: PackRow, backends: Sequence[StorageBackend], kind: str) -> bytes | None:
    """Return a sidecar that measures right: from the repository, from any store, or made again from the pack."""
    if kind == "index":
        name, key, wanted = index_name(pack.pack), layout.index_key(pack.fonds, pack.pack), pack.index_blake3
    else:
        name, key, wanted = blocks_name(pack.pack), layout.blocks_key(pack.fonds, pack.pack), pack.blocks_blake3
    data = repository.sidecars.read(name, wanted)
    if data is not None:
        return data
    size = pack.index_size if kind == "index" else pack.blocks_size
    for backend in backends:
        with suppress(StorageError), backend.read(key) as reader:
            found = b"".join(iter(lambda: reader.read(CHUNK), b""))
            if len(found) == size and blake3_hex(found) == wanted:
                return found
    return _made_again(pack, backends, kind)


def _made_again(pack: PackRow, backends: Sequence[StorageBackend], kind: str) -> bytes | None:
    """Take a sidecar that is left nowhere from the pack itself; whatever is wrong with the pack, it measures right."""
    key = layout.pack_key(pack.fonds, pack.pack)
    for backend in backends:
        with suppress(StorageError):
            if kind == "index":
                found = _index_in(Copy(backend, key, backend.stat(key).size), pack)
            else:
                with backend.read(key, fresh=True) as reader:
                    found = b"".join(block_digests(iter(lambda: reader.read(CHUNK), b"")))
                found = found if blake3_hex(found) == pack.blocks_blake3 else None
            if found is not None:
                return found
    return None


def _index_in(copy: Copy, pack: PackRow) -> bytes | None:
    """Find the index inside a pack: it lies before the last zeros, on a multiple of 512 bytes."""
    span = pack.index_size + layout.RECORD + 4 * 512
    start = max(0, pack.size - span) // 512 * 512
    data = copy.slice(start, pack.size - start)
    for place in range(0, len(data) - pack.index_size + 1, 512):
        if data.startswith(b'{"fonds"', place):
            found = data[place : place + pack.index_size]
            if blake3_hex(found) == pack.index_blake3:
                return found
    return None


# ---- salvage ----------------------------------------------------------------------------------------------------


def _salvage(repository: Repository, pack: PackRow, assembled: Joined, bad: Sequence[Bad], healed: Healed) -> None:
    """Keep what survives in a new pack, name what is lost, and set the wrecks aside."""
    lost = {member.name for member in assembled.lost}
    gone = sorted({member.digest for member in assembled.lost if member.kind is not Kind.README})
    stores = [one.store for one in bad if one.store.backend is not None]
    shipment = Shipment(stores)
    writer = PackWriter(f"{assembled.label}-salvage", pack.fonds, shipment)
    try:
        with repository.reading() as view:
            _write_survivors(view, pack, assembled, lost, writer)
        finished = writer.finish()
        copies = shipment.land(finished)
    except BaseException:
        shipment.abort()
        raise
    healed.failures.update(shipment.failures)
    keep_sidecars(repository, finished)
    events: list[Event] = [
        repository.event(
            EventType.OBJECTS_LOST, fonds=pack.fonds, outcome="failure", pack=pack.pack, objects=list(gone)
        ),
        repository.event(EventType.PACK_RETIRED, fonds=pack.fonds, pack=pack.pack, state=str(PackState.SALVAGED)),
        sealed_event(
            repository,
            finished,
            package=pack.package,
            version=pack.version,
            session=pack.session,
            salvage_of=pack.pack,
        ),
        *(copy_event(repository, pack.fonds, finished.fixity, copy) for copy in copies),
    ]
    repository.record(events)
    for store in stores:
        assert store.backend is not None
        for key in (layout.pack_key, layout.index_key, layout.blocks_key):
            with suppress(StorageError):
                set_aside(store.backend, key(pack.fonds, pack.pack))
    healed.lost = [f"blake3:{digest}" for digest in gone]


def _write_survivors(view: View, pack: PackRow, assembled: Joined, lost: set[bytes], writer: PackWriter) -> None:
    lost_digests = {member.digest for member in assembled.members if member.name in lost}
    manifests = {(row.blake3, row.offset): row for row in rows.every(view, rows.ManifestRow) if row.pack == pack.pack}
    for member in assembled.members:
        if member.name in lost or member.kind in {Kind.README, Kind.INDEX}:
            continue
        if member.kind is Kind.FOLDER:
            writer.folder(member.name)
        elif member.kind is Kind.SYMLINK:
            writer.point(member.name, member.digest)
        elif member.kind is Kind.LINK:
            if member.digest not in lost_digests:
                writer.link(member.name, member.digest, member.target)
        else:
            _write_member(assembled, member, writer, manifests.get((member.digest, member.offset)))


def _write_member(assembled: Joined, member: Member, writer: PackWriter, manifest: rows.ManifestRow | None) -> None:
    pieces = _measured(assembled, member)
    if member.kind is Kind.CONTENT:
        writer.add_object(member.digest, member.size, pieces)
    elif member.kind is Kind.FILE:
        writer.repeat(member.name, member.digest, member.size, pieces)
    elif manifest is not None:
        line = ManifestLine(manifest.package, manifest.version, manifest.title, 0, 0, 0)
        writer.add_manifest(member.name, Fixity(stored_size(member), member.digest), pieces, line)


def _measured(assembled: Joined, member: Member) -> Iterator[bytes]:
    """Yield the bytes of a member; what got worse since it was looked at is not kept as if it were right."""
    measuring = Measuring()
    for piece in assembled.member_pieces(member):
        measuring.update(piece)
        yield piece
    found = measuring.fixity()
    if (found.size, found.blake3) != (stored_size(member), member.digest):
        raise NotRepairableError(pack=assembled.fixity.blake3, reason="a copy got worse while it was read")
