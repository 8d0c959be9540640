"""The keys of a repository's ledger: which there are, the recovery kit's confirmation, and a new key for the log.

A new key lies in the repository before the ledger names it, and takes its place after: a crash between the two leaves
a key that the next call puts in its place.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from preservation.catalog import rows
from preservation.catalog.rows import MarkRow
from preservation.configuration import Configuration
from preservation.creation import open_repository
from preservation.evidence import push
from preservation.ledger.events import EventType, Record, parse_record
from preservation.ledger.files import fsync_directory, replace_file
from preservation.ledger.keys import (
    LOG_KEY_FILE,
    LOG_PUBLIC_FILE,
    LOG_VERIFIER_FILE,
    ROOT_KEY_FILE,
    ROOT_VERIFIER_FILE,
    KeyFileSigner,
    KeyPeriod,
    create_key,
    current_verifiers,
    genesis_keys,
    read_verifier_key,
    rotation_event,
)
from preservation.ledger.log import Ledger
from preservation.ledger.notes import VerifierKey
from preservation.repository import Repository, World
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError, marked

NEXT_KEY_FILE = "next.pem"
NEXT_VERIFIER_FILE = "next.vkey"
_ROTATION = EventType.KEY_ROTATION.encode()


class WrongKitError(MocbanError):
    """The recovery kit is not this repository's."""

    template = marked("{place}: this recovery kit belongs to another repository; nothing was changed")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Which keys the ledger names, and when the recovery kit's safe-keeping was confirmed (ISO 8601, None: never)."""

    periods: tuple[KeyPeriod, ...]
    root: VerifierKey
    kit_confirmed: str | None


def key_ring(repository: Repository) -> KeyRing:
    """Return the keys of a repository; raises ``NoteError`` if the ledger names none."""
    periods, root = key_periods(repository.ledger)
    with repository.reading() as view:
        mark = rows.one(view, MarkRow, "kit confirmed")
    return KeyRing(periods, root, mark.value if mark is not None else None)


def key_periods(ledger: Ledger) -> tuple[tuple[KeyPeriod, ...], VerifierKey]:
    """Return which key signs which sizes, and the root key; raises ``NoteError`` if the ledger names none."""
    records = list(_key_records(ledger))
    return current_verifiers(records), genesis_keys(records[0].event)[1]


def _key_records(ledger: Ledger) -> Iterator[Record]:
    """Yield the events that name keys; the others are passed by unread."""
    for seq, data in enumerate(ledger.raw_records()):
        if seq == 0 or _ROTATION in data:
            yield parse_record(data)


def confirm_kit(repository: Repository) -> None:
    """Record that people keep the recovery kit in a safe place."""
    repository.record([repository.event(EventType.KIT_CONFIRMED)])
    _push(repository)


def _push(repository: Repository) -> None:
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)


def rotate_log_key(path: str, world: World, kit: str) -> None:
    """Give the ledger of the repository at ``path`` a new key, which the root key in ``kit`` signs for.

    Raises:
        WrongKitError, KeyFileError: the kit is another repository's, or cannot be read.
    """
    path = os.path.abspath(path)
    Configuration.load(path)
    keys = os.path.join(path, "keys")
    root = read_verifier_key(os.path.join(kit, ROOT_VERIFIER_FILE))
    ledger = os.path.join(path, "ledger")
    seen = Ledger.open(ledger, clock=world.now, random=world.random, read_only=True)
    records = list(_key_records(seen))
    if genesis_keys(records[0].event)[1] != root:
        raise WrongKitError(place=kit)
    if not _put_in_place(keys, current_verifiers(records)[-1].key):
        signer = _new_key(keys, seen.origin, world)
        opened = Ledger.open(ledger, clock=world.now, random=world.random, signers=[signer], agent=world.agent)
        with opened.writing(world.wait_seconds) as writer:
            old = current_verifiers(_key_records(opened))[-1].key
            secret = KeyFileSigner(os.path.join(kit, ROOT_KEY_FILE), root)
            writer.append([rotation_event(old, signer.key, secret, world.agent)])
            _put_in_place(keys, signer.key)
    repository = open_repository(path, world)
    with repository.ledger.writing(world.wait_seconds):
        repository.catalog.catch_up()
    _push(repository)


def _new_key(keys: str, name: str, world: World) -> KeyFileSigner:
    secret = os.path.join(keys, NEXT_KEY_FILE)
    with suppress(FileNotFoundError):
        os.unlink(secret)
    signer = create_key(secret, name, world.random)
    replace_file(os.path.join(keys, NEXT_VERIFIER_FILE), f"{signer.key}\n".encode())
    return signer


def _put_in_place(keys: str, wanted: VerifierKey) -> bool:
    """Make the next key the log's if it is the one that the ledger names; tell whether it was."""
    verifier = os.path.join(keys, NEXT_VERIFIER_FILE)
    if not os.path.exists(verifier) or read_verifier_key(verifier) != wanted:
        return False
    with suppress(FileNotFoundError):  # moved before a crash
        os.replace(os.path.join(keys, NEXT_KEY_FILE), os.path.join(keys, LOG_KEY_FILE))
    replace_file(os.path.join(keys, LOG_VERIFIER_FILE), f"{wanted}\n".encode())
    replace_file(os.path.join(keys, LOG_PUBLIC_FILE), wanted.pem())
    fsync_directory(keys)
    os.unlink(verifier)
    fsync_directory(keys)
    return True
