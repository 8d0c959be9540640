"""Attestations: what others have said of our checkpoints, kept in the ledger's folder and on every store.

::

    witness/<size>.note        a checkpoint with the cosignatures of witnesses
    timestamps/<size>.note     a checkpoint ...
    timestamps/<size>.tst      ... and the RFC 3161 token over its bytes

It can be derived from nothing. The ledger's event holds its SHA-256; what does not measure so is not believed, and
comes back from a store where it does.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import AttestationRow
from preservation.fixity import CHUNK
from preservation.ledger.errors import LedgerUnreadableError
from preservation.ledger.events import EventType, Record, parse_record
from preservation.ledger.files import fsync_directory, names_in, read_file, replace_file
from preservation.ledger.log import Ledger
from preservation.ledger.merkle import Frontier, leaf_hash
from preservation.ledger.notes import NOTE_LIMIT
from preservation.packing import put_item
from storage_backends.backend import StorageBackend
from storage_backends.errors import KeyMissingError, ReadFailureError, StorageError
from storage_backends.tape.drive import CartridgeShelvedError

WITNESS_PREFIX = "ledger/witness"
TIMESTAMPS_PREFIX = "ledger/timestamps"
"""Below these keys the same files lie on a store."""

LIMIT = NOTE_LIMIT
"""The most bytes of one attestation."""

OF_THE_LEDGER = frozenset(
    {EventType.WITNESSED, EventType.TIMESTAMPED, EventType.SEGMENT_CLOSED, EventType.CLOCK_SKEW, EventType.INVENTORY}
)
"""Events about the ledger itself; they alone need no new attestation."""

_KINDS = (("witness", "note"), ("timestamps", "note"), ("timestamps", "tst"))
_NAME = re.compile(r"witness/([0-9]{12})\.note|timestamps/([0-9]{12})\.(?:note|tst)")


def note_with_cosignatures(size: int) -> str:
    """Return the name of the checkpoint over ``size`` events with cosignatures."""
    return f"witness/{size:012d}.note"


def note_with_time(size: int) -> str:
    """Return the name of the checkpoint over ``size`` events that a token is about."""
    return f"timestamps/{size:012d}.note"


def token_name(size: int) -> str:
    """Return the name of the token about the checkpoint over ``size`` events."""
    return f"timestamps/{size:012d}.tst"


def is_attestation(key: str) -> bool:
    """Tell whether a key on a store has the form of an attestation."""
    return _NAME.fullmatch(key.removeprefix("ledger/")) is not None and key.startswith("ledger/")


def read(ledger: Ledger, name: str) -> bytes | None:
    """Return an attestation as it lies here, not measured; None if it is not there or cannot be read."""
    if not is_attestation(f"ledger/{name}"):  # an event of a ledger that somebody else has made may say anything
        return None
    try:
        return read_file(os.path.join(ledger.path, name), LIMIT)
    except (FileNotFoundError, LedgerUnreadableError):
        return None


def measured(ledger: Ledger, row: AttestationRow) -> bytes | None:
    """Return an attestation if it lies here and measures as the ledger says."""
    data = read(ledger, row.name)
    return data if data is not None and sha256(data).hexdigest() == row.sha256 else None


def keep(ledger: Ledger, name: str, data: bytes) -> None:
    """Write an attestation durably: old bytes or new bytes, never half."""
    if not is_attestation(f"ledger/{name}"):
        raise ValueError(f"{name!r} is no name of an attestation")
    folder = os.path.join(ledger.path, os.path.dirname(name))
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        fsync_directory(ledger.path)
    replace_file(os.path.join(ledger.path, name), data)


def are_here(ledger: Ledger) -> bool:
    """Tell whether anybody has ever said anything of our checkpoints; cheap."""
    return any(os.path.isdir(os.path.join(ledger.path, folder)) for folder, _ in _KINDS)


def bring(ledger: Ledger, view: View, backend: StorageBackend) -> None:
    """Give a store the attestations that it lacks, from the newest back to what it has; an audit looks at all of it.

    Raises:
        StorageError: The store could not take it.
    """
    for folder, ending in _KINDS:
        names = [name for name in names_in(os.path.join(ledger.path, folder)) if name.endswith(f".{ending}")]
        for name in reversed(names):
            row = rows.one(view, AttestationRow, f"{folder}/{name}")
            data = measured(ledger, row) if row is not None else None
            if data is None:
                continue  # no event tells of it, or it is damaged: it is nothing to be spread
            if _size(backend, f"ledger/{folder}/{name}") == len(data):
                break
            put_item(backend, f"ledger/{folder}/{name}", data)


def bring_one(ledger: Ledger, view: View, backend: StorageBackend, name: str) -> None:
    """Give a store one attestation; raises ``StorageError``."""
    row = rows.one(view, AttestationRow, name)
    data = measured(ledger, row) if row is not None else None
    if data is not None:
        put_item(backend, f"ledger/{name}", data)


def wrong(
    ledger: Ledger, known: Iterable[AttestationRow], backend: StorageBackend
) -> Iterator[tuple[str, bytes | None]]:
    """Yield the key of every attestation that is missing or wrong on a store, with its right bytes if they are here.

    Raises:
        StorageError: The store could not be looked at.
    """
    for row in known:
        if not is_attestation(f"ledger/{row.name}"):
            continue
        with suppress(CartridgeShelvedError):  # nobody can look at it now
            found = _content(backend, f"ledger/{row.name}")
            if found is None or sha256(found).hexdigest() != row.sha256:
                yield f"ledger/{row.name}", measured(ledger, row)


def fetch(ledger: Ledger, view: View, backends: Sequence[StorageBackend]) -> int:
    """Bring from the stores what is missing or wrong here; return how much came."""
    fetched = 0
    for row in rows.every(view, AttestationRow):
        if measured(ledger, row) is not None or not is_attestation(f"ledger/{row.name}"):
            continue
        for backend in backends:
            with suppress(StorageError):
                data = _content(backend, f"ledger/{row.name}")
                if data is not None and sha256(data).hexdigest() == row.sha256:
                    keep(ledger, row.name, data)
                    fetched += 1
                    break
    return fetched


def events_of(ledger: Ledger, kind: EventType) -> Iterator[Record]:
    """Yield the events of one type; the others are passed by unread."""
    mark = kind.encode()
    for data in ledger.raw_records():
        if mark in data:
            record = parse_record(data)
            if record.event.type == kind:
                yield record


def roots_at(ledger: Ledger, sizes: Iterable[int]) -> dict[int, bytes]:
    """Return the root of the tree at each of ``sizes`` that the ledger has, every event up to the largest read once."""
    wanted = sorted({size for size in sizes if size <= ledger.size})
    leaves = map(leaf_hash, ledger.raw_records(0, max(wanted, default=0)))
    frontier = Frontier()
    roots: dict[int, bytes] = {}
    for size in wanted:
        frontier = frontier.extended(islice(leaves, size - frontier.size))
        roots[size] = frontier.root()
    return roots


def first_beyond(ledger: Ledger, size: int) -> Record | None:
    """Return the first event after ``size`` events that is not about the ledger itself; None if there is none."""
    return next((record for record in ledger.records(size) if record.event.type not in OF_THE_LEDGER), None)


def _size(backend: StorageBackend, key: str) -> int | None:
    try:
        return backend.stat(key).size
    except KeyMissingError:
        return None


def _content(backend: StorageBackend, key: str) -> bytes | None:
    data = bytearray()
    try:
        with backend.read(key, fresh=True) as reader:
            while len(data) <= LIMIT and (piece := reader.read(min(CHUNK, LIMIT + 1 - len(data)))):
                data += piece
    except (KeyMissingError, ReadFailureError):
        return None
    return bytes(data)
