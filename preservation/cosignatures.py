"""Cosignatures: what a witness adds to a checkpoint of a log that is not its own (C2SP tlog-cosignature, Ed25519).

A cosignature of version 1 says: at this time, this was the largest tree of this log that I have seen, and it continues
every one that I have seen before.
"""

import base64
import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from preservation.ledger.errors import NoteError
from preservation.ledger.notes import KEY_BYTES, KEY_ID_BYTES, Note, Signature, VerifierKey
from storage_backends.errors import Phrase

COSIGNATURE = b"\x04"
"""The signature type of Ed25519 cosignatures in key ids and verifier keys."""

_STAMPED = struct.Struct(">Q64s")
_LAST_SECOND = int(datetime.max.replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A named public Ed25519 key that signs cosignatures and nothing else."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        VerifierKey(self.name, self.public)  # the same names and lengths are allowed

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a cosignature names its key."""
        return sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        encoded = base64.b64encode(COSIGNATURE + self.public).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that was verified: whose it is, when it was made, and its line."""

    key: WitnessKey
    time: datetime
    line: Signature


def parse_witness_key(text: str) -> WitnessKey:
    """Return the key of ``name+hash+base64``; raise ``NoteError`` unless it is exactly well-formed."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(reason="a witness key that is not base64") from error
    if data[:1] != COSIGNATURE or len(data) != 1 + KEY_BYTES:
        raise NoteError(reason="a key that is not for Ed25519 cosignatures")
    key = WitnessKey(name, data[1:])
    if str(key) != text:
        raise NoteError(
            reason=Phrase(
                "the key of {name!r:.80} has another id than it says ({key_id:.20})", name=name, key_id=key_id
            )
        )
    return key


def cosigned_message(text: str, seconds: int) -> bytes:
    """Return what is signed: the text of a checkpoint at a time in seconds since 1970."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def cosign(text: str, key: WitnessKey, sign: Callable[[bytes], bytes], time: datetime) -> Signature:
    """Return the signature line of ``key`` for a checkpoint's ``text``; ``sign`` makes an Ed25519 signature."""
    seconds = int(time.timestamp())
    return Signature(key.name, key.key_id, _STAMPED.pack(seconds, sign(cosigned_message(text, seconds))))


def cosignature_of(note: Note, key: WitnessKey) -> Cosignature | None:
    """Return the cosignature of ``key`` on ``note``, the latest if there are several; None if there is none.

    Raises:
        NoteError: A line that names ``key`` is not its cosignature.
    """
    found: Cosignature | None = None
    verifier = VerifierKey(key.name, key.public)
    for line in note.signatures:
        if (line.name, line.key_id) != (key.name, key.key_id):
            continue
        if len(line.data) != _STAMPED.size:
            raise NoteError(reason=Phrase("a cosignature of {name!r:.80} with a wrong length", name=key.name))
        seconds, signature = _STAMPED.unpack(line.data)
        if seconds > _LAST_SECOND or not verifier.verifies(cosigned_message(note.text, seconds), signature):
            raise NoteError(reason=Phrase("the cosignature of {name!r:.80} is wrong", name=key.name))
        one = Cosignature(key, datetime.fromtimestamp(seconds, UTC), line)
        if found is None or one.time > found.time:
            found = one
    return found
