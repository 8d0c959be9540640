"""Packages as they lie on the stores: find a version, read its manifest, open an object from any copy that is right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, ManifestRow, PackageRow, PackRow, VersionRow
from preservation.fixity import CHUNK, Fixity, FixityMismatchError, expecting, measure
from preservation.manifest import FileLine, Line, parse
from preservation.packs.layout import pack_key
from preservation.stores import Store
from storage_backends.backend import OnCartridges, Reader, Recalling, Source
from storage_backends.errors import MocbanError, Phrase, StorageError, joined, marked

LINE_LIMIT = 1 << 20


class NoSuchPackageError(MocbanError):
    """There is no such package or version."""

    template = marked("There is no package {package}; 'mocban list' shows those there are")


class NoGoodCopyError(MocbanError):
    """No copy that can be reached gives the right bytes."""

    template = marked("{what}: no copy that can be reached gives the right bytes ({reason})")


def version_row(view: View, package: str, version: int | None = None) -> VersionRow:
    """Return a version of a package, by default the latest; ``NoSuchPackageError`` if there is none."""
    head = rows.one(view, PackageRow, package)
    if head is None:
        raise NoSuchPackageError(package=package)
    row = rows.one(view, VersionRow, package, f"{version or head.latest:06d}")
    if row is None:
        raise NoSuchPackageError(package=f"{package} v{version}")
    return row


def manifest_row(view: View, row: VersionRow) -> ManifestRow | None:
    """Return where the manifest of a version lies."""
    for found in rows.every(view, ManifestRow, row.package, f"{row.version:06d}"):
        if found.blake3 == row.manifest_blake3:
            return found
    return None


class Taking(Protocol):
    """Something that takes in the bytes of an object, in order."""

    def take(self, data: bytes) -> None:
        """Take in the next bytes."""
        ...


T = TypeVar("T", bound=Taking)


@dataclass(frozen=True, slots=True)
class _Place:
    pack: PackRow
    offset: int
    size: int


def _copies(view: View, stores: Sequence[Store], pack: PackRow) -> list[Store]:
    """Return the stores with a copy, those last seen good first, and of these disks before tapes."""
    states = {row.store: row.state for row in rows.every(view, CopyRow, pack.pack)}
    holders = [store for store in stores if store.row.store in states]
    return sorted(
        holders,
        key=lambda store: (states[store.row.store] != CopyState.GOOD, isinstance(store.backend, OnCartridges)),
    )


def _open_range(store: Store, place: _Place) -> Reader:
    if store.backend is None:
        assert store.failure is not None
        raise store.failure
    key = pack_key(place.pack.fonds, place.pack.pack)
    if isinstance(store.backend, Recalling):
        store.backend.recall([key])
    return store.backend.read(key, offset=place.offset, length=place.size)


def _verified(view: View, stores: Sequence[Store], places: Sequence[_Place], fixity: Fixity, what: str) -> Reader:
    """Return an open reader of the first copy whose bytes are right; each is measured before it is given."""
    reasons: list[str] = []
    for place in places:
        for store in _copies(view, stores, place.pack):
            try:
                with _open_range(store, place) as reader:
                    found = measure(reader)
                if (found.size, found.blake3) == (fixity.size, fixity.blake3):
                    return _open_range(store, place)
                reasons.append(Phrase("{store}: damaged", store=store.name))
            except StorageError as error:
                reasons.append(str(error))
    raise NoGoodCopyError(what=what, reason=joined(reasons) or marked("none is known"))


def object_pieces(view: View, stores: Sequence[Store], fonds: str, digest: str, *, not_in: str = "") -> Iterator[bytes]:
    """Yield the bytes of an object from a copy that was measured first and is compared again while it is read.

    ``not_in`` names a pack that is not asked.

    Raises:
        NoGoodCopyError: no copy gives the right bytes.
    """
    places = []
    for location in rows.locations(view.get(rows.object_key(fonds, digest))):
        pack = rows.one(view, PackRow, location.pack)
        if pack is not None and pack.pack != not_in:
            places.append(_Place(pack, location.offset, location.size))
    if not places:
        raise NoGoodCopyError(what=f"blake3:{digest}", reason="no pack holds it")
    fixity = Fixity(places[0].size, digest)
    with _verified(view, stores, places, fixity, f"blake3:{digest}") as reader:
        source = expecting(reader, fixity, what=f"blake3:{digest}")
        try:
            while data := source.read(CHUNK):
                yield data
        except FixityMismatchError as error:
            raise NoGoodCopyError(what=f"blake3:{digest}", reason="it changed while it was read") from error


def object_once(view: View, stores: Sequence[Store], fonds: str, line: FileLine, take: Callable[[], T]) -> T:
    """Give the bytes of a file to a fresh ``take()``, copy by copy, until they are right; each copy is read once.

    What is returned has taken the right bytes; the ones before it have taken bytes that are not to be believed.

    Raises:
        NoGoodCopyError: no copy gives the right bytes.
    """
    fixity, what, reasons = Fixity(line.size, line.blake3), f"blake3:{line.blake3}", []
    for location in rows.locations(view.get(rows.object_key(fonds, line.blake3))):
        pack = rows.one(view, PackRow, location.pack)
        if pack is None:
            continue
        for store in _copies(view, stores, pack):
            taking = take()
            try:
                with _open_range(store, _Place(pack, location.offset, location.size)) as reader:
                    source = expecting(reader, fixity, what=what)
                    while data := source.read(CHUNK):
                        taking.take(data)
                return taking
            except (StorageError, FixityMismatchError) as error:
                reasons.append(Phrase("{store}: {reason}", store=store.name, reason=str(error)))
    raise NoGoodCopyError(what=what, reason=joined(reasons) or marked("no pack holds it"))


def manifest_lines(view: View, stores: Sequence[Store], row: VersionRow) -> Iterator[bytes]:
    """Yield the lines of a version's manifest as they were written, from a copy that was measured first."""
    place = manifest_row(view, row)
    pack = rows.one(view, PackRow, row.manifest_pack if place is None else place.pack)
    what = f"{row.package}/v{row.version}/manifest.jsonl"
    if place is None or pack is None:
        raise NoGoodCopyError(what=what, reason="its pack or the pack's index is missing")
    fixity = Fixity(row.manifest_size, row.manifest_blake3)
    with _verified(view, stores, [_Place(pack, place.offset, place.size)], fixity, what) as reader:
        yield from _lines(expecting(reader, fixity, what=what))


def _lines(source: Source) -> Iterator[bytes]:
    rest = b""
    while data := source.read(LINE_LIMIT):
        pieces = (rest + data).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            yield piece + b"\n"
    if rest:
        yield rest


def manifest(view: View, stores: Sequence[Store], row: VersionRow) -> Iterator[dict[str, Any] | Line]:
    """Yield the header and each line of a version's manifest, parsed."""
    return parse(manifest_lines(view, stores, row), row.package)
