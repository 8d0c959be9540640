"""The inventory: what is held according to ledger and indexes, counted, hashed and signed, and the catalog beside it.

The catalog is never asked what is held. The ledger is gone through anew, as a rebuild does, and every row that the
catalog lacks, has too many or has otherwise is named. The places of objects are compared by the hash of their set: that
of the last inventory in the ledger, and since then the indexes of packs that came and went. Only if the hashes differ
are all indexes read again, to name the rows.
"""

import dataclasses
from binascii import hexlify
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from audits.anew import OBJECT, Anew
from audits.findings import Code, Finding
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.errors import CatalogDamagedError
from preservation.catalog.rows import CopyRow, MarkRow, PackRow
from preservation.fixity import SET_BITS, set_term
from preservation.ledger.events import EventType
from preservation.packs.members import Kind
from preservation.repair import sidecar
from preservation.repository import Repository
from preservation.sidecars import index_name
from preservation.stores import all_open, attached
from storage_backends.errors import Phrase, joined, marked

EVERY = timedelta(days=1)
"""How old the last inventory in the ledger may become."""

NAMED = 1_000
"""Rows that are named one by one; of the others there are counts."""

_MANIFEST = b"manifest/"


@dataclass(frozen=True, slots=True)
class Lines:
    """A set of lines: how many, and the sum of their terms."""

    count: int = 0
    total: int = 0

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.count + other.count, self.total + other.total)

    def __sub__(self, other: "Lines") -> "Lines":
        return Lines(self.count - other.count, self.total - other.total)

    @property
    def hash(self) -> str:
        """The hash of the set, as hexadecimal digits."""
        return f"{self.total % (1 << SET_BITS):0{SET_BITS // 4}x}"

    def is_as(self, other: "Lines") -> bool:
        """Tell whether both are the same set."""
        return (self.count, self.hash) == (other.count, other.hash)


@dataclass(slots=True)
class Differences:
    """Rows in which the catalog is not what it should be: the first by name, all by number."""

    named: list[tuple[str, bytes]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, how: str, key: bytes) -> None:
        """Note a row that is ``missing``, ``added`` or ``altered``."""
        self.counts[how, _kind(key)] += 1
        if len(self.named) < NAMED:
            self.named.append((how, key))

    def findings(self) -> list[Finding]:
        """Return a finding for each row that is named, and one for those that are not."""
        found = [
            Finding(Code.CATALOG_DIFFERS, pack=_pack(key), detail=Phrase("{reason} {row}", reason=how, row=_shown(key)))
            for how, key in self.named
        ]
        rest = self.counts - Counter((how, _kind(key)) for how, key in self.named)
        if rest:
            more = joined(
                (
                    Phrase("{reason} {kind} {count}", reason=how, kind=kind, count=count)
                    for (how, kind), count in sorted(rest.items())
                ),
                ", ",
            )
            found.append(Finding(Code.CATALOG_DIFFERS, detail=Phrase("more: {more}", more=more)))
        return found


@dataclass(slots=True)
class Compared:
    """What is held after ``at`` events, and how the catalog differs from it."""

    at: int
    objects: Lines
    copies: Lines
    differences: Differences
    unseen: set[str]
    """Packs whose index is missing here."""
    is_whole: bool
    """Whether ``objects`` has those of all packs."""
    contradicts: str = ""
    """The event of an earlier inventory that ledger and indexes contradict."""
    is_anew: bool = False
    """Whether all indexes were read for it."""


def is_due(repository: Repository) -> bool:
    """Tell whether the ledger's last inventory is a day old, or of the future, or is not where the catalog says."""
    with repository.reading() as view:
        mark = rows.one(view, MarkRow, "inventory")
    if mark is None or not mark.value.isdecimal():
        return True
    record = next(repository.ledger.records(int(mark.value), int(mark.value) + 1), None)
    if record is None or record.event.type != EventType.INVENTORY:
        return True
    return not timedelta() <= repository.world.now() - record.time < EVERY


def commit(repository: Repository) -> list[Finding]:
    """Sign what is held, as ledger and indexes have it, and return how the catalog differs; it is not changed.

    As long as an index is missing that is needed for it, nothing is signed.

    Raises:
        CatalogDamagedError: the catalog cannot be read.
    """
    compared = _compared(repository)
    _signed(repository, compared, compared.differences.counts.total())
    return [*_findings(compared), *(Finding(Code.INDEX_MISSING, pack=pack) for pack in sorted(compared.unseen))]


def examined(repository: Repository, *, repair: bool) -> tuple[list[Finding], set[str]]:
    """Compare the catalog; return how it differs, and the packs whose index is missing here.

    With ``repair`` indexes are brought from the stores and a catalog that differs is made anew. What is held is signed
    if that is due.

    Raises:
        CatalogDamagedError: the catalog cannot be read, and ``repair`` is not set.
    """
    healed: list[Finding] = []
    try:
        compared = _compared(repository)
    except CatalogDamagedError as error:
        if not repair:
            raise
        _make_anew(repository)
        healed.append(Finding(Code.CATALOG_DIFFERS, detail=str(error), healed=True))
        compared = _compared(repository)
    if repair and compared.unseen and _indexes_brought(repository, compared.unseen):
        compared = _compared(repository)
    findings = _findings(compared)
    count = compared.differences.counts.total()
    if count and repair:
        _make_anew(repository)
        compared = _compared(repository)
        if not compared.differences.counts:
            # A contradiction that hid behind the rows shows only now, and no rebuild heals it.
            findings = [dataclasses.replace(one, healed=True) for one in findings] + _findings(compared)
    if count or compared.is_anew or is_due(repository):
        _signed(repository, compared, count)
    return healed + findings, compared.unseen


def _make_anew(repository: Repository) -> None:
    """Make the catalog anew."""
    from preservation.rebuilding import rebuild  # noqa: PLC0415 - a catalog that is as it should be does without it

    rebuild(repository.path, repository.world)


def _findings(compared: Compared) -> list[Finding]:
    found = compared.differences.findings()
    if compared.contradicts:
        found.append(Finding(Code.LEDGER_DAMAGED, detail=Phrase("inventory {what}", what=compared.contradicts)))
    return found


def _signed(repository: Repository, compared: Compared, differences: int) -> None:
    if not compared.is_whole:
        return
    event = repository.event(
        EventType.INVENTORY,
        outcome="failure" if differences else "success",
        at=compared.at,
        objects=compared.objects.count,
        objects_hash=compared.objects.hash,
        copies=compared.copies.count,
        copies_hash=compared.copies.hash,
        differences=differences,
    )
    repository.record([event])


def _indexes_brought(repository: Repository, packs: set[str]) -> int:
    """Keep here the indexes that stores have; return how many."""
    brought = 0
    with repository.reading() as view, all_open(attached(view)) as stores:
        backends = [store.backend for store in stores if store.backend is not None]
        for pack in sorted(packs):
            row = rows.one(view, PackRow, pack)
            data = sidecar(repository, row, backends, "index") if row is not None else None
            if data is not None:
                repository.sidecars.keep(index_name(pack), data)
                brought += 1
    return brought


def _compared(repository: Repository) -> Compared:
    sizes: list[int] = []

    def size() -> int:
        repository.ledger.refresh()
        sizes.append(repository.ledger.size)
        return sizes[-1]

    catalog = dataclasses.replace(
        repository.catalog, ledger_size=size, records=lambda start: repository.ledger.records(start, sizes[-1])
    )
    with catalog.reading() as view, Anew(repository, sizes[-1], objects=False) as anew:
        unseen = {row.pack for row in rows.every(anew.view, PackRow) if row.index_missing and anew.expects(row.pack)}
        objects = _since_base(repository, anew)
        is_anew = objects is None
        if objects is None:
            objects = _of_all(repository, anew)
        is_whole = not is_anew or not unseen
        differences = Differences()
        found = _scanned(view, anew, differences, unseen, () if is_whole else unseen)
        compared = Compared(sizes[-1], objects, _copies(anew), differences, unseen, is_whole, is_anew=is_anew)
        if not found.is_as(objects):
            _name_objects(repository, view, compared)
            if not differences.counts and unseen:
                compared.is_whole = False
            elif not differences.counts and not is_anew:
                compared.contradicts = str(anew.base.seq) if anew.base is not None else "0"
                compared.objects, compared.is_anew = _of_all(repository, anew), True
        return compared


# ---- objects ---------------------------------------------------------------------------------------------------------


def _of_pack(repository: Repository, row: PackRow) -> Lines | None:
    listed = repository.sidecars.index_of(row)
    if listed is None:
        return None
    count = total = 0
    for member, _ in listed:
        if member.kind is Kind.CONTENT:
            count += 1
            line = f"object {row.fonds} {member.digest} {row.pack} {member.offset} {member.size}"
            total += set_term(line.encode())
    return Lines(count, total)


def _since_base(repository: Repository, anew: Anew) -> Lines | None:
    """Return the places of all objects: of the last inventory, and what came and went since.

    Nothing, if the index of a pack that did is missing.
    """
    held = Lines()
    if anew.base is not None:
        detail = anew.base.event.detail
        held = Lines(int(str(detail["objects"])), int(str(detail["objects_hash"]), 16))
    first: dict[str, bool] = {}
    last: dict[str, bool] = {}
    for _, pack, expected in anew.changes:
        first.setdefault(pack, not expected)
        last[pack] = expected
    for pack, expected in last.items():
        if first[pack] == expected:
            continue
        row = rows.one(anew.view, PackRow, pack)
        lines = _of_pack(repository, row) if row is not None else None
        if lines is None:
            return None
        held = held + lines if expected else held - lines
    return held


def _of_all(repository: Repository, anew: Anew) -> Lines:
    """Return the places of all objects whose pack has its index here, from the indexes."""
    held = Lines()
    for row in rows.every(anew.view, PackRow):
        if row.state in rows.EXPECTED_STATES:
            held += _of_pack(repository, row) or Lines()
    return held


def _copies(anew: Anew) -> Lines:
    count = total = 0
    for row in rows.every(anew.view, CopyRow):
        count += 1
        total += set_term(f"copy {row.pack} {row.store} {row.generation}".encode())
    return Lines(count, total)


def _name_objects(repository: Repository, view: View, compared: Compared) -> None:
    with Anew(repository, compared.at, objects=True) as anew:
        for key, value, right in _merged(view.scan(OBJECT), anew.view.scan(OBJECT)):
            if value != right and _places(value, compared.unseen) != _places(right, compared.unseen):
                compared.differences.add(_how(value, right), key)


def _places(value: bytes | None, unseen: Collection[str]) -> set[rows.Location] | None:
    """Return the places but those in packs that are ``unseen``; nothing if these are no places."""
    if value is not None and len(value) % rows.LOCATION.size:
        return None
    return {place for place in rows.locations(value) if place.pack not in unseen}


# ---- the catalog beside it -------------------------------------------------------------------------------------------


def _scanned(
    view: View, anew: Anew, differences: Differences, unseen: Collection[str], without: Collection[str]
) -> Lines:
    """Go through the whole catalog once: name the rows that differ, and return the places of objects.

    Those in packs ``without`` are left out.
    """
    count = total = 0
    skipped = {bytes.fromhex(pack) for pack in without}

    def others() -> Iterator[tuple[bytes, bytes]]:
        nonlocal count, total
        for key, value in view.scan(b""):
            if not key.startswith(OBJECT):
                if not key.startswith(b"!"):
                    yield key, value
                continue
            if len(value) % rows.LOCATION.size:
                count += 1  # no row of ours; it is named with those that differ
                continue
            head = b"object %b %b" % (key[len(OBJECT) : -33], hexlify(key[-32:]))
            for pack, offset, size in rows.LOCATION.iter_unpack(value):
                if pack not in skipped:
                    count += 1
                    total += set_term(b"%b %b %d %d" % (head, hexlify(pack), offset, size))

    for key, value, right in _merged(others(), anew.rows()):
        if value != right and not _says_the_same(key, value, right) and not _is_excused(key, value, right, unseen):
            differences.add(_how(value, right), key)
    return Lines(count, total)


_KINDS = [kind for kind in vars(rows).values() if isinstance(kind, type) and issubclass(kind, rows.Row)]


def _says_the_same(key: bytes, value: bytes | None, right: bytes | None) -> bool:
    """Tell whether a row of an older form, without members that came later, says what it should."""
    if value is None or right is None:
        return False
    for kind in _KINDS:
        if kind is not rows.Row and key.startswith(kind.PREFIX):
            try:
                return kind.from_bytes(value).to_bytes() == right
            except (ValueError, TypeError):
                return False
    return False


def _is_excused(key: bytes, value: bytes | None, right: bytes | None, unseen: Collection[str]) -> bool:
    """Tell whether a row differs only because the index of its pack has gone missing since."""
    pack = _pack(key)
    if pack not in unseen:
        return False
    if key.startswith(_MANIFEST):
        return right is None
    if not key.startswith(PackRow.PREFIX) or value is None or right is None:
        return False
    try:
        found = PackRow.from_bytes(value)
    except (ValueError, TypeError):
        return False
    return dataclasses.replace(found, index_missing=True) == PackRow.from_bytes(right)


def _merged(
    some: Iterator[tuple[bytes, bytes]], others: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield every key of either, with both values."""
    one, other = next(some, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(some, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(others, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(some, None), next(others, None)


def _how(value: bytes | None, right: bytes | None) -> str:
    return marked("missing") if value is None else marked("added") if right is None else marked("altered")


def _kind(key: bytes) -> str:
    return key.partition(b"/")[0].decode("ascii", "backslashreplace")


def _pack(key: bytes) -> str:
    parts = key.split(b"/")
    if parts[0] in {b"pack", b"copy"} and len(parts) > 1:
        return parts[1].decode("ascii", "backslashreplace")
    return parts[-1].decode("ascii", "backslashreplace") if parts[0] == b"manifest" else ""


def _shown(key: bytes) -> str:
    kind, _, name = key.partition(b"/")
    if kind == b"object" and len(name) > 32:  # noqa: PLR2004 - a digest
        return f"object {name[:-33].decode('ascii', 'backslashreplace')}/{name[-32:].hex()}"
    return f"{kind.decode('ascii', 'backslashreplace')} {name.decode('ascii', 'backslashreplace')}"
