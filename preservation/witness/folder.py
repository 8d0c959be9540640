"""The folder of a witness: its key, the logs that it serves, the last checkpoint of each, and evidence of forks.

::

    witness.pem                          the private key
    witness.vkey                         the public key, to be given to the archives
    README.txt                           what this is
    lock                                 one request at a time
    trusted/<log>.vkey                   the keys of one log, one a line
    logs/<log>.note                      the newest checkpoint of it that was countersigned
    evidence/<log>-<size>-<root>/        a checkpoint that contradicts it, and what it contradicts

``<log>`` is the beginning of the SHA-256 of the log's origin.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from preservation.cosignatures import WitnessKey, parse_witness_key
from preservation.ledger.errors import KeyFileError, LedgerUnreadableError, NoteError
from preservation.ledger.files import (
    TEMPORARY,
    create_file,
    fsync_directory,
    locked,
    names_in,
    publish,
    read_file,
    replace_file,
)
from preservation.ledger.keys import KeyFileSigner, create_key
from preservation.ledger.notes import NOTE_LIMIT, SignedCheckpoint, VerifierKey, parse_verifier_key
from preservation.witness.errors import NoWitnessError, WitnessFolderError
from preservation.witness.requests import WitnessRequest, proof_text
from storage_backends.errors import Phrase, marked

KEY_FILE = "witness.pem"
VERIFIER_FILE = "witness.vkey"
README_FILE = "README.txt"
LOCK_FILE = "lock"
TRUSTED = "trusted"
LOGS = "logs"
EVIDENCE = "evidence"

EVIDENCE_LIMIT = 1000
"""How many contradictions are kept; only who holds the key of a log can make one."""

_KEYS_LIMIT = 64 << 10
_README = """\
This folder belongs to the witness {name} (mocban witness).

It countersigns checkpoints of the ledgers of other archives, so that none of them can change its history unnoticed.
witness.pem is secret: whoever has it can countersign in your name. logs/ holds the newest checkpoint of each ledger:
losing it would let an archive show you another history, so back this folder up after each change of trust, and never
put an old backup in its place. evidence/ holds checkpoints that contradict what was countersigned before: if there is
anything in it, ask that archive, and other holders of its checkpoints, at once.

Thư mục này thuộc về bên làm chứng {name} (mocban witness).

Bên làm chứng ký xác nhận các điểm kiểm chứng của sổ cái các cơ quan lưu trữ khác, để không nơi nào sửa được lịch sử
mà không ai biết. witness.pem là bí mật. logs/ giữ điểm kiểm chứng mới nhất của từng sổ cái; không bao giờ thay bằng bản
sao lưu cũ. evidence/ giữ những điểm kiểm chứng mâu thuẫn với những gì đã ký: nếu có gì trong đó, hãy hỏi ngay cơ quan
lưu trữ ấy.

{key}
"""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its folder and its key."""

    path: str
    key: WitnessKey

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over ``message``; raises ``KeyFileError``."""
        signer = KeyFileSigner(os.path.join(self.path, KEY_FILE), VerifierKey(self.key.name, self.key.public))
        return signer.sign(message)

    @contextmanager
    def alone(self, wait_seconds: float) -> Iterator[None]:
        """Keep every other request and every change away; ``LedgerBusyError`` if that takes too long."""
        with locked(os.path.join(self.path, LOCK_FILE), wait_seconds):
            yield


@dataclass(frozen=True, slots=True)
class ServedLog:
    """A log that a witness serves: whose, under which keys, countersigned up to where, how often it contradicted."""

    origin: str
    keys: tuple[VerifierKey, ...]
    size: int
    contradictions: int


def create_witness(path: str, name: str, random: Callable[[int], bytes]) -> Witness:
    """Make a witness in ``path``, which does not exist or is an empty folder; ``random`` must be fit for keys.

    Raises:
        WitnessFolderError: Something is there already, the name cannot be one, or the folder cannot be written.
    """
    path = os.path.abspath(path)
    if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise WitnessFolderError(place=path, reason=marked("there is something here already; nothing was changed"))
    try:
        VerifierKey(name, bytes(32))
    except NoteError as error:
        raise WitnessFolderError(place=path, reason=str(error)) from error
    beside = f"{path}.{random(4).hex()}.init"
    try:
        os.makedirs(beside)
        for folder in (TRUSTED, LOGS, EVIDENCE):
            os.mkdir(os.path.join(beside, folder))
        key = WitnessKey(name, create_key(os.path.join(beside, KEY_FILE), name, random).key.public)
        create_file(os.path.join(beside, VERIFIER_FILE), f"{key}\n".encode())
        create_file(os.path.join(beside, README_FILE), _README.format(name=name, key=key).encode())
        create_file(os.path.join(beside, LOCK_FILE), b"")
        if os.path.isdir(path):
            os.rmdir(path)
        os.rename(beside, path)
        fsync_directory(os.path.dirname(path))
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise WitnessFolderError(place=path, reason=error.strerror or str(error)) from error
    return Witness(path, key)


def open_witness(path: str) -> Witness:
    """Return the witness in ``path``.

    Raises:
        NoWitnessError, KeyFileError.
    """
    path = os.path.abspath(path)
    place = os.path.join(path, VERIFIER_FILE)
    if not os.path.isfile(place):
        raise NoWitnessError(place=path)
    try:
        key = parse_witness_key(read_file(place, _KEYS_LIMIT).decode().removesuffix("\n"))
    except (UnicodeDecodeError, NoteError) as error:
        raise KeyFileError(
            place=place, reason=Phrase("no witness key can be read here ({reason})", reason=str(error))
        ) from error
    return Witness(path, key)


def trust(witness: Witness, key: VerifierKey, wait_seconds: float) -> None:
    """Serve the log whose origin is the name of ``key``; keys that it had before are trusted as well."""
    with witness.alone(wait_seconds):
        known = trusted_keys(witness, key.name)
        if key not in known:
            _keep_keys(witness, key.name, (*known, key))


def distrust(witness: Witness, key: VerifierKey, wait_seconds: float) -> bool:
    """Trust ``key`` no more (rotated out, or stolen); tell whether it was trusted. What was countersigned stays."""
    with witness.alone(wait_seconds):
        known = trusted_keys(witness, key.name)
        if key not in known:
            return False
        _keep_keys(witness, key.name, tuple(one for one in known if one != key))
        return True


def trusted_keys(witness: Witness, origin: str) -> tuple[VerifierKey, ...]:
    """Return the keys that the witness trusts for the log ``origin``; none if it does not serve it.

    Raises:
        WitnessFolderError: The list is damaged.
    """
    place = _trusted_path(witness, origin)
    try:
        lines = read_file(place, _KEYS_LIMIT).decode().splitlines()
        keys = tuple(parse_verifier_key(line) for line in lines)
    except FileNotFoundError:
        return ()
    except (UnicodeDecodeError, NoteError) as error:
        raise WitnessFolderError(place=place, reason=str(error)) from error
    return tuple(key for key in keys if key.name == origin)


def served_logs(witness: Witness) -> list[ServedLog]:
    """Return the logs that the witness serves, by origin."""
    found: list[ServedLog] = []
    contradictions = names_in(os.path.join(witness.path, EVIDENCE))
    for name in names_in(os.path.join(witness.path, TRUSTED)):
        try:
            lines = read_file(os.path.join(witness.path, TRUSTED, name), _KEYS_LIMIT).decode().splitlines()
            keys = tuple(map(parse_verifier_key, lines))
        except (UnicodeDecodeError, NoteError) as error:
            raise WitnessFolderError(place=os.path.join(witness.path, TRUSTED, name), reason=str(error)) from error
        for origin in {key.name for key in keys}:
            last = last_countersigned(witness, origin)
            count = sum(one.startswith(f"{log_id(origin)}-") and not one.endswith(TEMPORARY) for one in contradictions)
            found.append(ServedLog(origin, keys, last.checkpoint.size if last else 0, count))
    return sorted(found, key=lambda log: log.origin)


def last_countersigned(witness: Witness, origin: str) -> SignedCheckpoint | None:
    """Return the newest checkpoint of a log that was countersigned; None if none ever was.

    Raises:
        WitnessFolderError: It is there but damaged: nothing may be countersigned then.
    """
    place = _state_path(witness, origin)
    try:
        signed = SignedCheckpoint.parse(read_file(place, NOTE_LIMIT))
    except FileNotFoundError:
        return None
    except (NoteError, LedgerUnreadableError) as error:
        raise WitnessFolderError(place=place, reason=str(error)) from error
    if signed.checkpoint.origin != origin:
        raise WitnessFolderError(
            place=place, reason=Phrase("it is about {origin!r:.80}", origin=signed.checkpoint.origin)
        )
    return signed


def keep_countersigned(witness: Witness, signed: SignedCheckpoint) -> None:
    """Make ``signed`` the newest checkpoint of its log, durably. The caller is alone."""
    place = _state_path(witness, signed.checkpoint.origin)
    try:
        replace_file(place, signed.note.encoded())
    except OSError as error:
        raise WitnessFolderError(place=place, reason=error.strerror or str(error)) from error


def keep_evidence(witness: Witness, request: WitnessRequest, known: SignedCheckpoint | None) -> str:
    """Keep a checkpoint that contradicts ``known``; return where. The caller is alone."""
    found = request.signed.checkpoint
    folder = os.path.join(witness.path, EVIDENCE)
    place = os.path.join(folder, f"{log_id(found.origin)}-{found.size:012d}-{found.root.hex()[:16]}")
    if os.path.lexists(place) or len(names_in(folder)) >= EVIDENCE_LIMIT:
        return place if os.path.lexists(place) else folder
    try:
        beside = place + TEMPORARY
        if os.path.lexists(beside):
            shutil.rmtree(beside)
        os.mkdir(beside)
        create_file(os.path.join(beside, "contradicting.note"), request.signed.note.encoded())
        create_file(os.path.join(beside, "proof.txt"), proof_text(request.old, request.proof).encode())
        if known is not None:
            create_file(os.path.join(beside, "known.note"), known.note.encoded())
        publish(beside, place)
    except OSError as error:
        raise WitnessFolderError(place=place, reason=error.strerror or str(error)) from error
    return place


def log_id(origin: str) -> str:
    """Return under which name the files of a log lie."""
    return sha256(origin.encode()).hexdigest()[:32]


def _keep_keys(witness: Witness, origin: str, keys: tuple[VerifierKey, ...]) -> None:
    place = _trusted_path(witness, origin)
    try:
        replace_file(place, "".join(f"{key}\n" for key in keys).encode())
    except OSError as error:
        raise WitnessFolderError(place=place, reason=error.strerror or str(error)) from error


def _trusted_path(witness: Witness, origin: str) -> str:
    return os.path.join(witness.path, TRUSTED, f"{log_id(origin)}.vkey")


def _state_path(witness: Witness, origin: str) -> str:
    return os.path.join(witness.path, LOGS, f"{log_id(origin)}.note")
