"""Evidence on the stores: the ledger's segments, tail and checkpoints, the configuration, how to recover without us.

Losing the server loses nothing that was acknowledged, because before a verb acknowledges, this has run.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from preservation import attestations, parts
from preservation.attestations import is_attestation
from preservation.catalog import rows
from preservation.catalog.rows import AttestationRow, PartRow
from preservation.configuration import FILE_NAME
from preservation.described import described_by
from preservation.fixity import CHUNK, blake3_hex
from preservation.flushing import flushed, is_waiting
from preservation.ledger.errors import NoteError
from preservation.ledger.keys import LOG_PUBLIC_FILE, LOG_VERIFIER_FILE, ROOT_VERIFIER_FILE, current_verifiers
from preservation.ledger.layout import (
    CHECKPOINTS_PREFIX,
    SEGMENTS_PREFIX,
    TAIL_PREFIX,
    note_key,
    note_size,
    segment_key,
    segment_range,
    tail_key,
    tail_range,
)
from preservation.ledger.log import Ledger
from preservation.ledger.notes import SignedCheckpoint, signed_by
from preservation.packing import put_item
from preservation.parts import is_part
from preservation.recovery_texts import RESTORE_SCRIPT, STORE_README
from preservation.repository import Repository
from preservation.sidecars import description_name
from preservation.stores import Store, satisfies, sharings
from storage_backends.backend import Flushing, StorageBackend
from storage_backends.errors import (
    KeyMissingError,
    MocbanError,
    ReadFailureError,
    StorageError,
    StoreUnavailableError,
    marked,
)
from storage_backends.tape.drive import CartridgeShelvedError

CONFIGURATION_PREFIX = "ledger/configuration"
KEYS_PREFIX = "ledger/keys"
README_KEY = "README.txt"
RESTORE_KEY = "restore.sh"


class StoreAheadError(StorageError):
    """A store has a signed checkpoint over events that the ledger here does not have; nothing was written there."""

    template = marked(
        "{place}: {key} is about events that the ledger here does not have: it is an older one. Run 'mocban rebuild', "
        "which brings the events from the stores"
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which stores have all evidence now, and why the others have not."""

    reached: list[str]
    enough: bool
    """As many and as different stores as the policy asks of packs."""
    failures: dict[str, MocbanError] = field(default_factory=dict)


def push(repository: Repository, stores: Sequence[Store], *, flush: bool = False) -> Evidence:
    """Sign a checkpoint and bring every store up to date; a store that cannot take it is told, not waited for.

    What is staged on a store is not on its medium, so the store does not count; with ``flush`` it is brought there.
    """
    with repository.ledger.writing(repository.world.wait_seconds) as writer:
        writer.seal_if_due()
        writer.checkpoint()
    reached: list[Store] = []
    failures: dict[str, MocbanError] = {}
    waiting: list[str] = []
    for store in stores:
        try:
            if store.backend is None:
                raise store.failure or StoreUnavailableError(place=store.row.url, reason="not open")
            bring_up_to_date(repository, store.backend)
            if flush and isinstance(store.backend, Flushing):
                failure = flushed(store.backend, {}).failure
                if failure is not None:
                    failures[store.name] = failure
            if is_waiting(store.backend):
                waiting.append(store.name)
            else:
                reached.append(store)
        except StorageError as error:
            failures[store.name] = error
    enough = satisfies(repository.configuration.policy, [store.row for store in reached], sharings(reached))
    if not waiting:
        _drop_sealed(repository, reached, failures)
    return Evidence([store.name for store in reached], enough, failures)


def _drop_sealed(repository: Repository, reached: Sequence[Store], failures: dict[str, MocbanError]) -> None:
    """Drop hot frames only when every store has the segment that holds them."""
    if reached and not failures:
        with repository.ledger.writing(repository.world.wait_seconds) as writer:
            writer.drop_sealed()


def bring_up_to_date(repository: Repository, backend: StorageBackend) -> None:
    """Give one store what it lacks."""
    ledger = repository.ledger
    ahead = ahead_of(repository, backend)
    if ahead:
        raise StoreAheadError(place=backend.place, key=ahead)
    _tail(ledger, backend, _segments(ledger, backend))
    for key, data in _small(repository).items():
        _put_once(backend, key, data)
    if attestations.are_here(ledger):
        with repository.reading() as view:
            attestations.bring(ledger, view, backend)
    with repository.reading() as view:
        parts.bring(repository, view, backend)


def _small(repository: Repository) -> dict[str, bytes]:
    """Return the small items that every store has: latest checkpoint, configuration, keys, descriptions, texts."""
    found = {README_KEY: STORE_README.encode(), RESTORE_KEY: RESTORE_SCRIPT.encode()}
    sizes = repository.ledger.checkpoint_sizes()
    for size in {*sizes[:1], *sizes[-1:]}:  # the first is signed by the root key too
        found[note_key(size)] = repository.ledger.checkpoint(size).note.encoded()
    with open(os.path.join(repository.path, FILE_NAME), "rb") as file:
        configuration = file.read()
    found[f"{CONFIGURATION_PREFIX}/{blake3_hex(configuration)}.toml"] = configuration
    for name in (LOG_VERIFIER_FILE, LOG_PUBLIC_FILE, ROOT_VERIFIER_FILE):
        with open(os.path.join(repository.keys, name), "rb") as file:
            data = file.read()
        found[f"{KEYS_PREFIX}/{blake3_hex(data)[:16]}-{name}"] = data
    with repository.reading() as view:
        for digest in described_by(view):
            description = repository.sidecars.read(description_name(digest), digest)
            if description is not None:
                found[f"ledger/{description_name(digest)}"] = description
    return found


def wrong_evidence(repository: Repository, backend: StorageBackend) -> Iterator[tuple[str, bytes | None]]:
    """Yield every item of evidence on a store that is missing or wrong, with its right bytes if they are at hand.

    Raises:
        StorageError: the store could not be looked at.
    """
    for key, right in _expected(repository, [item.key for item in backend.items("ledger")]):
        with suppress(CartridgeShelvedError):  # nobody can look at it now
            if _content(backend, key) != right:
                yield key, right
    with repository.reading() as view:
        attested = list(rows.every(view, AttestationRow))
        named = list(rows.every(view, PartRow))
    yield from attestations.wrong(repository.ledger, attested, backend)
    yield from parts.wrong(repository, named, backend)


def _expected(repository: Repository, there: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield what a store must hold, and what the older checkpoints and tail chunks that it holds must be."""
    ledger = repository.ledger
    yield from _small(repository).items()
    for segment in ledger.segments:
        with open(ledger.segment_file(segment), "rb") as file:
            yield segment_key(segment.first, segment.end), file.read()
    covered = ledger.sealed_size
    named = [tail_range(key.rsplit("/", 1)[-1]) for key in there if key.startswith(TAIL_PREFIX + "/")]
    tails = [found for found in named if found is not None and found[1] > covered]
    for found, chunk in zip(tails, ledger.chunks(tails), strict=True):
        yield tail_key(*found), chunk
        covered = found[1] if found[0] <= covered else covered
    if covered < max(ledger.checkpoint_sizes(), default=0):  # all that is signed was brought there
        yield from ((more.key, more.data) for more in ledger.tail_since(covered))
    for size in ledger.checkpoint_sizes()[1:-1]:
        if note_key(size) in there:
            yield note_key(size), ledger.checkpoint(size).note.encoded()


def _content(backend: StorageBackend, key: str) -> bytes | None:
    try:
        with backend.read(key, fresh=True) as reader:
            return b"".join(iter(lambda: reader.read(CHUNK), b""))
    except (KeyMissingError, ReadFailureError):
        return None


def ahead_of(repository: Repository, backend: StorageBackend) -> str:
    """Return the key of a checkpoint on a store over more events than our ledger has, signed by a key of ours.

    The store knows what we do not: the ledger here is an older one, of a backup perhaps. Nothing if there is none.

    Raises:
        StorageError: the store could not be looked at.
    """
    there = {item.key: note_size(item.key.rsplit("/", 1)[-1]) or 0 for item in backend.items(CHECKPOINTS_PREFIX)}
    repository.ledger.refresh()  # after the listing: what others bring there meanwhile is known here first
    beyond = [key for key, size in there.items() if size > repository.ledger.size]
    if not beyond:
        return ""
    keys = [period.key for period in current_verifiers(repository.ledger.records())]
    for key in beyond:
        with suppress(NoteError):
            found = SignedCheckpoint.parse(_content(backend, key) or b"")
            if found.checkpoint.size > repository.ledger.size and signed_by(found.note, keys):
                return key
    return ""


def _put_once(backend: StorageBackend, key: str, data: bytes) -> None:
    """Write what lies under the digest of its content, unless something of that size is there; audits read it."""
    with suppress(KeyMissingError):
        if backend.stat(key).size == len(data):
            return
    put_item(backend, key, data)


def _segments(ledger: Ledger, backend: StorageBackend) -> int:
    there = {item.key: item.size for item in backend.items(SEGMENTS_PREFIX)}
    end = 0
    for segment in ledger.segments:
        key, path = segment_key(segment.first, segment.end), ledger.segment_file(segment)
        if there.get(key) != os.path.getsize(path):
            with open(path, "rb") as file:
                put_item(backend, key, file.read())
        end = segment.end
    return end


def _tail(ledger: Ledger, backend: StorageBackend, sealed: int) -> int:
    covered = sealed
    for item in list(backend.items(TAIL_PREFIX)):
        found = tail_range(item.key.rsplit("/", 1)[-1])
        if found is None:
            continue
        first, end = found
        if end <= sealed:
            with suppress(StorageError):
                backend.delete(item.key)
        elif first <= covered < end:
            covered = end
    for chunk in ledger.tail_since(covered):
        put_item(backend, chunk.key, chunk.data)
        covered = chunk.end
    return covered


def is_known_key(key: str) -> bool:
    """Tell whether a key has the form of something that we put on stores beside packs and sidecars."""
    pieces = key.rsplit("/", 1)
    folders = {CHECKPOINTS_PREFIX, CONFIGURATION_PREFIX, KEYS_PREFIX, "ledger/descriptions"}
    if key in {README_KEY, RESTORE_KEY} or pieces[0] in folders or key.startswith("quarantine/"):
        return True
    if is_attestation(key) or is_part(key):
        return True
    if pieces[0] == SEGMENTS_PREFIX:
        return segment_range(pieces[1]) is not None
    return pieces[0] == TAIL_PREFIX and tail_range(pieces[1]) is not None
