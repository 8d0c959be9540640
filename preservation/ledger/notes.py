"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint) with Ed25519 signatures."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, Self

from preservation.ledger.errors import NoteError
from storage_backends.errors import Phrase

ED25519 = b"\x01"
"""The signature type of Ed25519 in key ids and verifier keys (C2SP signed-note)."""

KEY_BYTES = 32
KEY_ID_BYTES = 4
ROOT_BYTES = 32
NOTE_LIMIT = 64 << 10
SIGNATURE_LIMIT = 64

_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_SIGNATURE = re.compile(r"\u2014 ([^\s+]{1,200}) ([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public Ed25519 key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public) != KEY_BYTES:
            raise NoteError(reason="a key name with spaces or plus signs, or a key that is not 32 bytes")

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_to_base64(ED25519 + self.public)}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``message``."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - costs every start 70 ms
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        """Return the key as PEM, for ``openssl pkeyutl -verify -rawin -pubin``."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - costs every start 70 ms
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

        return Ed25519PublicKey.from_public_bytes(self.public).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class Signer(Protocol):
    """Whoever can sign for a key."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over ``message``."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose it claims to be, and the bytes."""

    name: str
    key_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signatures. The text ends in a newline."""

    text: str
    signatures: tuple[Signature, ...]

    def encoded(self) -> bytes:
        """Return the note as it is stored and sent."""
        lines = "".join(f"\u2014 {sig.name} {_to_base64(sig.key_id + sig.data)}\n" for sig in self.signatures)
        return f"{self.text}\n{lines}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many leaves, and their root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text that is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, _to_base64(self.root), *self.extensions))


def parse_verifier_key(text: str) -> VerifierKey:
    """Return the key of ``name+hash+base64``; raise ``NoteError`` unless it is exactly well-formed Ed25519."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = _from_base64(encoded)
    if data[:1] != ED25519:
        raise NoteError(reason="a key that is not Ed25519")
    key = VerifierKey(name, data[1:])
    if key.key_id.hex() != key_id:
        raise NoteError(reason=Phrase("the key of {name!r:.80} has another id than it says", name=name))
    return key


def sign_note(text: str, signers: Sequence[Signer]) -> Note:
    """Return ``text`` signed by each of ``signers``."""
    _check_text(text)
    return Note(
        text, tuple(Signature(signer.key.name, signer.key.key_id, signer.sign(text.encode())) for signer in signers)
    )


def parse_note(data: bytes) -> Note:
    """Return the note in ``data``; its signatures are not verified yet.

    Raises:
        NoteError: ``data`` is not exactly a signed note with at least one signature.
    """
    if len(data) > NOTE_LIMIT:
        raise NoteError(reason=Phrase("longer than {limit} bytes", limit=NOTE_LIMIT))
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError(reason="not UTF-8") from error
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise NoteError(reason="no signature block")
    text += "\n"
    _check_text(text)
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > SIGNATURE_LIMIT:
        raise NoteError(reason=Phrase("more than {limit} signatures", limit=SIGNATURE_LIMIT))
    note = Note(text, signatures)
    if note.encoded() != data:
        raise NoteError(reason="not in its only form")
    return note


def signed_by(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Return those of ``keys`` that signed ``note``; unknown signatures are ignored.

    Raises:
        NoteError: A signature that names one of ``keys`` is wrong.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, None] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verifies(note.text.encode(), signature.data):
            raise NoteError(reason=Phrase("the signature of {name!r:.80} is wrong", name=key.name))
        found[key] = None
    return tuple(found)


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint in a note's ``text``; raise ``NoteError`` unless it is exactly well-formed."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:  # noqa: PLR2004 - origin, size, root, end
        raise NoteError(reason="not a checkpoint")
    origin, size, root, *extensions = lines[:-1]
    if not _SIZE.fullmatch(size):
        raise NoteError(reason="a checkpoint without a size")
    digest = _from_base64(root)
    if len(digest) != ROOT_BYTES:
        raise NoteError(reason="a root that is not a SHA-256 digest")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint together with the note that carries it."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return what ``data`` holds; its signatures are not verified yet. Raises ``NoteError``."""
        note = parse_note(data)
        return cls(parse_checkpoint(note.text), note)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(letter) < ord(" ") and letter != "\n" for letter in text):
        raise NoteError(reason="a text without a final newline or with control characters")


def _signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise NoteError(reason="a signature line that is none")
    data = _from_base64(match[2])
    if len(data) <= KEY_ID_BYTES:
        raise NoteError(reason="a signature that is too short")
    return Signature(match[1], data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(reason="not base64") from error
    if _to_base64(data) != text:
        raise NoteError(reason="base64 that is not in its only form")
    return data
