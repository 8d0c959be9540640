"""Asks a witness to countersign our checkpoints, over HTTP or by file, and keeps what it says.

A countersignature is verified before it is kept, kept durably before it is recorded, and then brought to the stores. A
witness that was shown another history than ours refuses; that is an error with a name, and changes nothing here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from preservation import attestations
from preservation.asking import post
from preservation.attestations import first_beyond, note_with_cosignatures
from preservation.catalog import rows
from preservation.catalog.rows import AttestationRow, MarkRow
from preservation.cosignatures import Cosignature, WitnessKey, cosignature_of, parse_witness_key
from preservation.evidence import push
from preservation.ledger.errors import NoteError
from preservation.ledger.events import EventType, time_text
from preservation.ledger.log import Ledger
from preservation.ledger.merkle import Frontier, consistency_from, leaf_hash
from preservation.ledger.notes import NOTE_LIMIT, SIGNATURE_LIMIT, Note, SignedCheckpoint, parse_note
from preservation.repository import Repository
from preservation.stores import all_open, attached
from preservation.witness.requests import WitnessRequest
from storage_backends.errors import MocbanError, Phrase, StorageError, marked

QUIET = timedelta(hours=24)
"""How long a log that says nothing new goes without a new countersignature."""

SKEW = timedelta(minutes=5)
"""Clocks that differ by more than this are told of."""

_SIZE_TYPE = "text/x.tlog.size"
_TRIES = 3
_HTTP_OK, _HTTP_REFUSED, _HTTP_UNKNOWN, _HTTP_CONFLICT, _HTTP_WRONG = 200, 403, 404, 409, 422


class WitnessSetupError(MocbanError):
    """The witness is not, or wrongly, named in the configuration."""

    template = marked("[witness] in mocban.toml: {reason}")


class WitnessRefusedError(MocbanError):
    """The witness answered, and did not countersign."""

    template = marked("{place}: the witness does not countersign: {reason}")


class WitnessForkError(WitnessRefusedError):
    """The witness has seen another history of this ledger than the one here. Somebody has changed one of the two."""

    template = marked(
        "ALARM: {place}: the witness has countersigned another history of this ledger ({known} events; here are "
        "{size}). Change and delete nothing; run 'mocban ledger verify' and compare with checkpoints that others keep"
    )


class WitnessAheadError(WitnessRefusedError):
    """The witness has countersigned more events than the ledger here has: it is an older one."""

    template = marked(
        "{place}: the witness has countersigned {known} events, but the ledger here has only {size}: it is an older "
        "one, of a backup perhaps. Run 'mocban rebuild', which brings the events from the stores"
    )


class WitnessAnswerError(MocbanError):
    """What came is not a countersignature of our checkpoint by the configured key; nothing was kept."""

    template = marked("{place}: this is no countersignature of our checkpoint by {key}: {reason}")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A countersignature that is kept: of how many events, whose, when, and which stores could not be told."""

    size: int
    key: WitnessKey
    time: datetime
    skew_seconds: int
    """By how much the witness's clock is ahead of ours."""
    failures: dict[str, MocbanError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptNote:
    """A countersigned checkpoint as it lies here. ``problem`` is a code; empty: it is right."""

    size: int
    key_id: str
    time: str
    problem: str


def witness_key(repository: Repository) -> WitnessKey:
    """Return the configured key; raises ``WitnessSetupError``."""
    text = repository.configuration.witness.key
    if not text:
        raise WitnessSetupError(reason=marked("'key' is empty; put there what 'mocban witness key' prints"))
    try:
        return parse_witness_key(text)
    except NoteError as error:
        raise WitnessSetupError(reason=str(error)) from error


def is_due(repository: Repository) -> bool:
    """Tell whether a countersignature is to be asked for now; never if no witness is configured.

    A log that says nothing new is countersigned once a day. A clock that went back makes it due once.
    """
    policy = repository.configuration.witness
    if not policy.url:
        return False
    last, size = _marks(repository)
    if last is None:
        return True
    passed = repository.world.now() - last
    if passed < -SKEW or passed >= max(QUIET, timedelta(minutes=policy.every_minutes)):
        return True
    return passed >= timedelta(minutes=policy.every_minutes) and first_beyond(repository.ledger, size) is not None


def overdue_since(repository: Repository) -> datetime | None:
    """Return since when events wait for a countersignature, if that is more than twice as long as the policy says."""
    policy = repository.configuration.witness
    if not policy.url and not policy.key:
        return None
    _, size = _marks(repository)
    first = first_beyond(repository.ledger, size)
    longest = 2 * timedelta(minutes=policy.every_minutes)
    return first.time if first is not None and repository.world.now() - first.time > longest else None


def _marks(repository: Repository) -> tuple[datetime | None, int]:
    with repository.reading() as view:
        last, size = rows.one(view, MarkRow, "witnessed"), rows.one(view, MarkRow, "witnessed size")
    return (datetime.fromisoformat(last.value) if last else None), (int(size.value) if size else 0)


def request(repository: Repository, old: int | None = None) -> WitnessRequest:
    """Sign a checkpoint and return the request to countersign it.

    ``old`` is the size that the witness is known to have countersigned; None: what the ledger says of that witness.

    Raises:
        WitnessAheadError: ``old`` is more than the ledger has.
    """
    if old is None:
        old = _size_known_to(repository, witness_key(repository))
    with repository.ledger.writing(repository.world.wait_seconds) as writer:
        signed = writer.checkpoint()
    return _request(repository.ledger, signed, old)


def _request(ledger: Ledger, signed: SignedCheckpoint, old: int) -> WitnessRequest:
    size = signed.checkpoint.size
    if old > size:
        raise WitnessAheadError(place=ledger.path, known=old, size=size)
    proof: list[bytes] = []
    if 0 < old < size:
        appended = map(leaf_hash, ledger.raw_records(old, size))
        proof = consistency_from(_frontier(ledger, old), appended, size)
    return WitnessRequest(old, tuple(proof), signed)


def _frontier(ledger: Ledger, size: int) -> Frontier:
    """Return the right edge of the tree at ``size`` events, from the end of the last segment before it on."""
    sealed = [segment.frontier for segment in ledger.segments if segment.end <= size]
    known = sealed[-1] if sealed else Frontier()
    return known.extended(map(leaf_hash, ledger.raw_records(known.size, size)))


def _size_known_to(repository: Repository, key: WitnessKey) -> int:
    with repository.reading() as view:
        mark = rows.one(view, MarkRow, f"witnessed by {key.key_id.hex()}")
    return int(mark.value) if mark is not None else 0


def countersign(repository: Repository) -> Witnessed:
    """Sign a checkpoint, have the configured witness countersign it, keep that, and bring it to the stores.

    Raises:
        WitnessSetupError, AskingError, WitnessRefusedError, WitnessAnswerError: Nothing was changed but the checkpoint.
    """
    url = repository.configuration.witness.url
    if not url:
        raise WitnessSetupError(reason=marked("'url' is empty: no witness is configured"))
    key = witness_key(repository)
    asked = request(repository)
    for _ in range(_TRIES):
        answer = post(f"{url.rstrip('/')}/add-checkpoint", asked.encoded(), "application/octet-stream", NOTE_LIMIT)
        if answer.status == _HTTP_OK:
            return accept(repository, asked.signed.note.encoded() + answer.body, key, place=url)
        known = _known_size(answer.body) if answer.kind == _SIZE_TYPE else None
        if answer.status != _HTTP_CONFLICT or known is None:
            raise _refusal(url, answer.status, asked)
        size = asked.signed.checkpoint.size
        if known > size:
            raise WitnessAheadError(place=url, known=known, size=size)
        if known == asked.old == size:
            raise WitnessForkError(place=url, known=known, size=size)
        if known == asked.old:
            break
        asked = _request(repository.ledger, asked.signed, known)
    raise WitnessRefusedError(place=url, reason=marked("it contradicts itself about what it has countersigned"))


def _known_size(body: bytes) -> int | None:
    text = body.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < len(str(1 << 60)) else None


def _refusal(url: str, status: int, asked: WitnessRequest) -> WitnessRefusedError:
    if status == _HTTP_WRONG:
        return WitnessForkError(place=url, known=asked.old, size=asked.signed.checkpoint.size)
    reasons = {
        _HTTP_REFUSED: marked("it does not trust our log key; give it the new one ('mocban ledger key --verifier')"),
        _HTTP_UNKNOWN: marked("it does not serve this ledger; give it our log key ('mocban ledger key --verifier')"),
    }
    return WitnessRefusedError(place=url, reason=reasons.get(status, Phrase("HTTP {status}", status=status)))


def accept(repository: Repository, note: bytes, key: WitnessKey | None = None, *, place: str = "") -> Witnessed:
    """Keep the countersignature in ``note``, a checkpoint of ours as a witness gave it back.

    Raises:
        WitnessAnswerError: It is not our checkpoint, or not countersigned by the configured key; nothing was kept.
    """
    key = key or witness_key(repository)
    place = place or repository.ledger.path
    found, size, root = _verified(repository, note, key, place)
    now = repository.world.now()
    with repository.ledger.writing(repository.world.wait_seconds) as writer:
        whole = _merged(repository.ledger, size, found, key)
        name = note_with_cosignatures(size)
        attestations.keep(repository.ledger, name, whole)
        skew = round((found.time - now).total_seconds())
        event = repository.event(
            EventType.WITNESSED,
            outcome="warning" if abs(skew) > SKEW.total_seconds() else "success",
            size=size,
            root=root.hex(),
            key=key.key_id.hex(),
            witnessed=time_text(found.time),
            skew_seconds=skew,
            attestations={name: sha256(whole).hexdigest()},
        )
        writer.append([event])
        repository.catalog.catch_up()
    failures = _bring(repository, name)
    return Witnessed(size, key, found.time, skew, failures)


def _verified(repository: Repository, note: bytes, key: WitnessKey, place: str) -> tuple[Cosignature, int, bytes]:
    """Return the cosignature of ``key`` on a checkpoint of ours, and that checkpoint's size and root."""
    try:
        signed = SignedCheckpoint.parse(note)
        size = signed.checkpoint.size
        ours = repository.ledger.checkpoint(size)
        found = cosignature_of(signed.note, key)
    except FileNotFoundError as error:
        raise WitnessAnswerError(place=place, key=key, reason=marked("we signed no checkpoint of this size")) from error
    except NoteError as error:
        raise WitnessAnswerError(place=place, key=key, reason=str(error)) from error
    if signed.note.text != ours.note.text:
        raise WitnessAnswerError(place=place, key=key, reason=marked("it is about another checkpoint"))
    if found is None:
        raise WitnessAnswerError(place=place, key=key, reason=marked("it carries no cosignature of that key"))
    return found, size, ours.checkpoint.root


def _merged(ledger: Ledger, size: int, found: Cosignature, key: WitnessKey) -> bytes:
    """Return our checkpoint with the cosignatures that it has already, and with that of ``key``: its first stays."""
    ours = ledger.checkpoint(size).note
    lines = list(ours.signatures)
    kept = attestations.read(ledger, note_with_cosignatures(size))
    if kept is not None:
        try:
            before = parse_note(kept)
            if before.text == ours.text:
                if cosignature_of(before, key) is not None:
                    return kept
                lines = [*before.signatures[: SIGNATURE_LIMIT - 1]]
        except NoteError:
            pass  # damaged: it is written anew
    return Note(ours.text, (*lines, found.line)).encoded()


def _bring(repository: Repository, name: str) -> dict[str, MocbanError]:
    """Bring what was kept to the stores; return which could not be told, and why."""
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        failures = dict(push(repository, stores).failures)
        with repository.reading() as view:
            for store in stores:
                if store.backend is not None and store.name not in failures:
                    try:
                        attestations.bring_one(repository.ledger, view, store.backend, name)
                    except StorageError as error:
                        failures[store.name] = error
    return failures


def verify(repository: Repository) -> Iterator[KeptNote]:
    """Verify every countersigned checkpoint that the ledger tells of: its bytes, its root, its cosignature.

    A cosignature of a key that is not configured (any more) is measured, but cannot be verified.
    """
    try:
        keys: Sequence[WitnessKey] = [witness_key(repository)]
    except WitnessSetupError:
        keys = []
    with repository.reading() as view:
        known = {row.name: row for row in rows.every(view, AttestationRow)}
    told = [record.event.detail for record in attestations.events_of(repository.ledger, EventType.WITNESSED)]
    roots = attestations.roots_at(repository.ledger, (int(str(detail["size"])) for detail in told))
    for detail in told:
        size, key_id = int(str(detail["size"])), str(detail["key"])
        row = known[note_with_cosignatures(size)]
        problem = _problem(attestations.read(repository.ledger, row.name), row, key_id, roots.get(size), keys)
        yield KeptNote(size, key_id, str(detail["witnessed"]), problem)


def _problem(
    data: bytes | None, row: AttestationRow, key_id: str, root: bytes | None, keys: Sequence[WitnessKey]
) -> str:
    if data is None or sha256(data).hexdigest() != row.sha256:
        return "missing" if data is None else "changed"
    try:
        signed = SignedCheckpoint.parse(data)
        for key in keys:
            cosignature_of(signed.note, key)
    except NoteError:
        return "cosignature-wrong"
    if root is None or signed.checkpoint.root != root:
        return "another-root"
    return "" if any(line.key_id.hex() == key_id for line in signed.note.signatures) else "cosignature-missing"
