"""Repairs a pack: joins what is good from all copies, writes it beside, reads it back, swaps, and keeps the bad bytes.

No good byte is ever overwritten: a copy that is wrong goes to the quarantine only when its replacement has been read
back from the same medium. What cannot be put together is named, and what survives goes into a salvage pack.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PackRow, PackState
from preservation.checking import Verdict, diagnosis
from preservation.fixity import BLOCK, CHUNK, Fixity, FixityMismatchError, blake3_hex, block_digests
from preservation.joining import Copy, Joined, joined
from preservation.ledger.events import Event, EventType
from preservation.packages import object_pieces
from preservation.packing import (
    Shipment,
    check_reader,
    copy_event,
    keep_sidecars,
    sealed_event,
    set_aside,
)
from preservation.packs import index as pack_index
from preservation.packs import layout
from preservation.packs.index import ManifestLine
from preservation.packs.members import Kind, Member, stored_size
from preservation.packs.writer import PackWriter
from preservation.repository import Repository
from preservation.sidecars import blocks_name, index_name
from preservation.stores import Store
from storage_backends.backend import Drafting, StorageBackend
from storage_backends.errors import KeyMissingError, MocbanError, ReadFailureError, StorageError, marked


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


def repair(repository: Repository, pack: PackRow, good: Sequence[Store], bad: Sequence[Bad]) -> Healed:
    """Make every copy in ``bad`` right again, if that is possible, and record it.

    ``good`` are the stores whose copy was just seen right.

    Raises:
        NotRepairableError: neither block digests nor index can be found, or no copy can be read.
    """
    fixity = Fixity(pack.size, pack.pack)
    healed = Healed()
    sources = [store for store in good if store.backend is not None]
    assembled = None if sources else _assembled(repository, pack, bad)
    if assembled is not None and not assembled.whole:
        if any(one.store.backend is None or one.verdict is Verdict.UNREADABLE for one in bad):
            raise NotRepairableError(pack=pack.pack, reason="a store that may hold a good copy cannot be looked at")
        _salvage(repository, pack, assembled, bad, healed)
        return healed
    for one in bad:
        if one.store.backend is None:
            continue
        try:
            pieces = assembled.pieces() if assembled is not None else _copied(sources, pack, fixity)
            _replace(repository, pack, one, pieces, healed)
        except (StorageError, FixityMismatchError) as error:
            healed.failures[one.store.name] = error
    return healed


def _copied(sources: Sequence[Store], pack: PackRow, fixity: Fixity) -> Iterator[bytes]:
    """Yield the pack from the first good copy; the draft is measured as a whole before it gets its name."""
    key = layout.pack_key(pack.fonds, fixity.blake3)
    last: StorageError | None = None
    for store in sources:
        assert store.backend is not None
        try:
            with store.backend.read(key, fresh=True) as reader:
                while data := reader.read(CHUNK):
                    yield data
        except StorageError as error:
            last = error
            break
        return
    assert last is not None
    raise last


def _replace(repository: Repository, pack: PackRow, bad: Bad, pieces: Iterator[bytes], healed: Healed) -> None:
    backend = bad.store.backend
    assert backend is not None
    key, fixity = layout.pack_key(pack.fonds, pack.pack), Fixity(pack.size, pack.pack)
    if not isinstance(backend, Drafting):
        raise NotRepairableError(pack=pack.pack, reason=f"{bad.store.name} cannot write beside what is there")
    draft = backend.create()
    try:
        kind = _written(backend, draft.write, key, pieces) if bad.verdict is Verdict.DAMAGED else str(bad.verdict)
        if bad.verdict is not Verdict.DAMAGED:
            for piece in pieces:
                draft.write(piece)
        with draft.read_back() as reader:
            check_reader(reader, fixity, what=key)
            reach = reader.reach
        place = ""
        with suppress(KeyMissingError):
            place = _out_of_the_way(backend, key)
        item = draft.commit(key)
    finally:
        draft.abort()
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


def _out_of_the_way(backend: StorageBackend, key: str) -> str:
    try:
        return set_aside(backend, key)
    except ReadFailureError:
        backend.delete(key)  # its bytes cannot be read, so they cannot be kept
        return ""


def _written(backend: StorageBackend, write: object, key: str, pieces: Iterator[bytes]) -> str:
    """Write the right bytes and compare them with the wrong ones on the way; return the kind of damage."""
    assert callable(write)
    kind, place = "", 0
    rest = b""
    for piece in pieces:
        write(piece)
        rest += piece
        while len(rest) >= BLOCK:
            kind = kind or _difference(backend, key, place, rest[:BLOCK])
            rest, place = rest[BLOCK:], place + BLOCK
    if rest:
        kind = kind or _difference(backend, key, place, rest)
    return kind or "extended"


def _difference(backend: StorageBackend, key: str, place: int, good: bytes) -> str:
    try:
        with backend.read(key, offset=place, length=len(good)) as reader:
            pieces = []
            while data := reader.read(len(good)):
                pieces.append(data)
    except StorageError:
        return "unreadable"
    bad = b"".join(pieces)
    return "" if bad == good else f"{diagnosis(bad, good)} at {place}"


# ---- joining ----------------------------------------------------------------------------------------------------


def _assembled(repository: Repository, pack: PackRow, bad: Sequence[Bad]) -> Joined:
    key = layout.pack_key(pack.fonds, pack.pack)
    copies, backends = [], []
    for one in bad:
        if one.store.backend is None:
            continue
        backends.append(one.store.backend)
        with suppress(StorageError):
            copies.append(Copy(one.store.backend, key, one.store.backend.stat(key).size))
    index = sidecar(repository, pack, backends, "index")
    if index is None:
        raise NotRepairableError(pack=pack.pack, reason="its index cannot be found anywhere")
    lines = index.splitlines(keepends=True)
    head = pack_index.parse_header(lines[0], pack.pack)
    members = pack_index.members(lines[1:], pack.pack)

    def elsewhere(digest: str, offset: int, length: int) -> bytes | None:
        stores = [one.store for one in bad]
        return _from_other_packs(repository, pack, stores, digest, range(offset, offset + length))

    fixity = Fixity(pack.size, pack.pack)
    blocks = sidecar(repository, pack, backends, "blocks")
    result = joined(fixity, blocks, index, head.label, members, copies=copies, elsewhere=elsewhere)
    if result is None:
        raise NotRepairableError(pack=pack.pack, reason="its block digests cannot be found anywhere")
    return result


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
        found = data[place : place + pack.index_size]
        if found.startswith(b'{"fonds"') and blake3_hex(found) == pack.index_blake3:
            return found
    return None


def _from_other_packs(
    repository: Repository, pack: PackRow, stores: Sequence[Store], digest: str, wanted: range
) -> bytes | None:
    with repository.reading() as view:
        places = rows.locations(view.get(rows.object_key(pack.fonds, digest)))
        if all(place.pack == pack.pack for place in places):
            return None
        found, place = bytearray(), 0
        try:
            for piece in object_pieces(view, stores, pack.fonds, digest, not_in=pack.pack):
                first, last = max(wanted.start - place, 0), wanted.stop - place
                found += piece[first:last] if last > 0 else b""
                place += len(piece)
        except MocbanError:
            return None
    return bytes(found)


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
    data = assembled.member_bytes(member)
    pieces: Iterator[bytes] = iter([data]) if data is not None else assembled.big_member_pieces(member)
    if member.kind is Kind.CONTENT:
        writer.add_object(member.digest, member.size, pieces)
    elif member.kind is Kind.FILE:
        writer.repeat(member.name, member.digest, member.size, pieces)
    elif manifest is not None:
        line = ManifestLine(manifest.package, manifest.version, manifest.title, 0, 0, 0)
        writer.add_manifest(member.name, Fixity(stored_size(member), member.digest), pieces, line)
