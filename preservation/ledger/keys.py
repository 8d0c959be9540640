"""The keys of a ledger: files, the recovery kit, and who may sign for which sizes.

The log key signs checkpoints every day and lies in the repository. The root key signs the first checkpoint, which says
that the ledger is its own, and after that nothing but the succession of log keys; it leaves the house with the recovery
kit. The log itself says which keys are meant: the genesis event names both, and every change of the log key is an event
that carries a note signed by the root key.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from preservation.ledger.errors import KeyFileError, LedgerUnreadableError, NoteError
from preservation.ledger.events import Event, EventType, Record
from preservation.ledger.files import create_file, read_file
from preservation.ledger.kit import KIT_README
from preservation.ledger.notes import (
    KEY_BYTES,
    Signer,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    sign_note,
    signed_by,
)
from storage_backends.errors import Phrase

LOG_KEY_FILE = "log.pem"
LOG_VERIFIER_FILE = "log.vkey"
LOG_PUBLIC_FILE = "log.pub.pem"
ROOT_KEY_FILE = "root.pem"
ROOT_VERIFIER_FILE = "root.vkey"
KIT_README_FILE = "README.txt"

_SECRET = 0o600
_PUBLIC = 0o644
_KEY_FILE_LIMIT = 4096
_ROTATION = "mocban key rotation"


@dataclass(frozen=True)
class KeyFileSigner:
    """Signs with a private key that lies in a file, read when the first signature is asked for."""

    path: str
    key: VerifierKey

    @cached_property
    def _private(self) -> Callable[[bytes], bytes]:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - costs every start 70 ms
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - the same

        try:
            private = serialization.load_pem_private_key(read_file(self.path, _KEY_FILE_LIMIT), None)
        except (OSError, ValueError, TypeError) as error:
            raise KeyFileError(
                place=self.path, reason=Phrase("no private key can be read here ({reason})", reason=str(error))
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(place=self.path, reason="not an Ed25519 key")
        if private.public_key().public_bytes_raw() != self.key.public:
            raise KeyFileError(place=self.path, reason=Phrase("not the private half of {key}", key=self.key))
        return private.sign

    def sign(self, message: bytes) -> bytes:
        """Return the signature; raises ``KeyFileError`` if the file does not hold the private half of ``key``."""
        return self._private(message)


@dataclass(frozen=True, slots=True)
class Keys:
    """What ``create_keys`` made: the signer for the log, the root key's public half, and its signer in the kit."""

    log: KeyFileSigner
    root: VerifierKey
    root_signer: KeyFileSigner


@dataclass(frozen=True, slots=True)
class KeyPeriod:
    """A log key signs the checkpoints of ``first`` to ``end`` events (``end`` not included; None: it is in use)."""

    key: VerifierKey
    first: int
    end: int | None


def create_keys(keys_dir: str, kit_dir: str, origin: str, random: Callable[[int], bytes]) -> Keys:
    """Make the log key in ``keys_dir`` and the root key in ``kit_dir`` (both exist), with what people need to read.

    ``random`` must be fit for keys. No file is ever overwritten.

    Raises:
        KeyFileError: A file is there already or cannot be written.
    """
    log = create_key(os.path.join(keys_dir, LOG_KEY_FILE), origin, random)
    root = create_key(os.path.join(kit_dir, ROOT_KEY_FILE), root_name(origin), random)
    readme = KIT_README.format(origin=origin, log=log.key, root=root.key)
    _create(os.path.join(keys_dir, LOG_VERIFIER_FILE), f"{log.key}\n".encode(), _PUBLIC)
    _create(os.path.join(keys_dir, LOG_PUBLIC_FILE), log.key.pem(), _PUBLIC)
    _create(os.path.join(keys_dir, ROOT_VERIFIER_FILE), f"{root.key}\n".encode(), _PUBLIC)
    _create(os.path.join(kit_dir, ROOT_VERIFIER_FILE), f"{root.key}\n".encode(), _PUBLIC)
    _create(os.path.join(kit_dir, KIT_README_FILE), readme.encode(), _PUBLIC)
    return Keys(log, root.key, root)


def create_key(path: str, name: str, random: Callable[[int], bytes]) -> KeyFileSigner:
    """Make a private key at ``path`` (PKCS #8 PEM, readable by its owner only) and return its signer."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - costs every start 70 ms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - the same

    private = Ed25519PrivateKey.from_private_bytes(random(KEY_BYTES))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = VerifierKey(name, private.public_key().public_bytes_raw())
    _create(path, pem, _SECRET)
    return KeyFileSigner(path, key)


def load_signer(keys_dir: str) -> KeyFileSigner:
    """Return the signer for the log key in ``keys_dir``; its private half is read when it signs."""
    return KeyFileSigner(
        os.path.join(keys_dir, LOG_KEY_FILE), read_verifier_key(os.path.join(keys_dir, LOG_VERIFIER_FILE))
    )


def read_verifier_key(path: str) -> VerifierKey:
    """Return the public key in a ``.vkey`` file; raises ``KeyFileError``."""
    try:
        return parse_verifier_key(read_file(path, _KEY_FILE_LIMIT).decode().removesuffix("\n"))
    except (OSError, UnicodeDecodeError, NoteError, LedgerUnreadableError) as error:
        raise KeyFileError(
            place=path, reason=Phrase("no verifier key can be read here ({reason})", reason=str(error))
        ) from error


def read_public_keys(path: str, origin: str) -> list[VerifierKey]:
    """Return what the public key in a ``.vkey`` or PEM file can be for the ledger ``origin``: a PEM says no name.

    Raises:
        KeyFileError: The file cannot be read, or holds no Ed25519 public key.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - costs every start 70 ms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

    try:
        data = read_file(path, _KEY_FILE_LIMIT)
        if not data.startswith(b"-----BEGIN PUBLIC KEY-----"):
            return [read_verifier_key(path)]
        key = serialization.load_pem_public_key(data)
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(place=path, reason="not an Ed25519 key")
        return [VerifierKey(name, key.public_bytes_raw()) for name in (origin, root_name(origin))]
    except (OSError, ValueError, NoteError, LedgerUnreadableError) as error:
        raise KeyFileError(
            place=path, reason=Phrase("no public key can be read here ({reason})", reason=str(error))
        ) from error


def root_name(origin: str) -> str:
    """Return the name of the root key of the ledger ``origin``."""
    return f"{origin}/root"


def rotation_event(old: VerifierKey, new: VerifierKey, root: Signer, agent: str) -> Event:
    """Return the event by which ``new`` takes the place of ``old``, signed by the root key."""
    note = sign_note(f"{_ROTATION}\n{old}\n{new}\n", [root])
    return Event(type=EventType.KEY_ROTATION, detail={"note": note.encoded().decode()}, agent=agent)


def verify_rotation(event: Event, old: VerifierKey, root: VerifierKey) -> VerifierKey:
    """Return the key that takes the place of ``old``.

    Raises:
        NoteError: The event does not carry a note that the root key signed, or is about another key than ``old``.
    """
    note = parse_note(str(event.detail.get("note")).encode())
    title, old_text, new_text, *rest = [*note.text.split("\n"), "", "", ""]
    if title != _ROTATION or any(rest) or old_text != str(old):
        raise NoteError(reason="not the succession of the log key in use")
    if not signed_by(note, [root]):
        raise NoteError(reason="the succession of the log key is not signed by the root key")
    return parse_verifier_key(new_text)


def genesis_keys(event: Event) -> tuple[VerifierKey, VerifierKey]:
    """Return the log key and the root key that a genesis event names; raises ``NoteError``."""
    if event.type != EventType.GENESIS:
        raise NoteError(reason="the first event is not the genesis")
    return parse_verifier_key(str(event.detail.get("log_key"))), parse_verifier_key(str(event.detail.get("root_key")))


def current_verifiers(records: Iterable[Record]) -> tuple[KeyPeriod, ...]:
    """Return which log key signs which sizes, oldest first; ``records`` must begin with the genesis.

    A key that is rotated in by event ``n`` signs from size ``n + 1`` on; its predecessor signs up to size ``n``.

    Raises:
        NoteError: The genesis names no keys, or a rotation is not signed by the root key.
    """
    periods: list[KeyPeriod] = []
    root: VerifierKey | None = None
    for record in records:
        if root is None:
            log, root = genesis_keys(record.event)
            periods.append(KeyPeriod(log, 1, None))
        elif record.event.type == EventType.KEY_ROTATION:
            new = verify_rotation(record.event, periods[-1].key, root)
            periods[-1] = replace(periods[-1], end=record.seq + 1)
            periods.append(KeyPeriod(new, record.seq + 1, None))
    return tuple(periods)


def verifier_at(periods: Iterable[KeyPeriod], size: int) -> VerifierKey | None:
    """Return the key that signs a checkpoint over ``size`` events."""
    for period in periods:
        if period.first <= size and (period.end is None or size < period.end):
            return period.key
    return None


def _create(path: str, data: bytes, mode: int) -> None:
    try:
        create_file(path, data, mode)
    except FileExistsError as error:
        raise KeyFileError(place=path, reason="there is a file already; keys are never overwritten") from error
    except OSError as error:
        raise KeyFileError(place=path, reason=Phrase("cannot be written ({reason})", reason=error.strerror)) from error
