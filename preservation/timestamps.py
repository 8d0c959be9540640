"""Asks a time-stamping authority for the time of a checkpoint (RFC 3161), keeps the token, verifies what is kept.

Each token's digest stands in an event after the checkpoint that it is about: later events are later than the time
that it states, and the next token bounds them from above. Not even the holder of the log's key can date an event back
by more than one interval.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from preservation import attestations
from preservation.asking import post
from preservation.attestations import first_beyond, note_with_time, token_name
from preservation.catalog import rows
from preservation.catalog.rows import AttestationRow, MarkRow
from preservation.evidence import push
from preservation.ledger.errors import NoteError
from preservation.ledger.events import EventType, time_text
from preservation.ledger.notes import SignedCheckpoint
from preservation.repository import Repository
from preservation.rfc3161 import KIND, Token, TokenError, query, read_reply, read_token, signature_problem
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError, Phrase, marked

SKEW = timedelta(minutes=5)
"""Clocks that differ by more than this are told of."""

RENEWAL = timedelta(days=730)
"""How long before the end of the authority's certificate its tokens are to be renewed by another one's: 24 months."""

_NONCE_BYTES = 8
_HTTP_OK = 200


class TimestampSetupError(MocbanError):
    """The time-stamping authority is not, or wrongly, named in the configuration."""

    template = marked("[timestamp] in mocban.toml: {reason}")


class TimestampError(MocbanError):
    """The authority's answer is no token that can be kept."""

    template = marked("{place}: {reason}")


@dataclass(frozen=True, slots=True)
class Timestamped:
    """A token that is kept: over how many events, which time it states, and which stores could not be told."""

    size: int
    time: datetime
    skew_seconds: int
    """By how much the authority's clock is ahead of ours."""
    until: datetime | None
    """When the authority's certificate ends."""
    failures: dict[str, MocbanError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A token as it lies here. ``problem`` is a code, ``detail`` what openssl said; empty: it is right."""

    size: int
    time: str
    until: str
    problem: str
    detail: str = ""


def is_due(repository: Repository) -> bool:
    """Tell whether a token is to be asked for now; never if no authority is configured.

    A clock that went back makes it due once.
    """
    policy = repository.configuration.timestamp
    if not policy.url:
        return False
    mark = _mark(repository, "timestamped")
    if mark is None:
        return True
    passed = repository.world.now() - datetime.fromisoformat(mark.value)
    return passed < -SKEW or passed >= timedelta(hours=policy.every_hours)


def overdue_since(repository: Repository) -> datetime | None:
    """Return since when events wait for a token, if that is more than twice as long as the policy says."""
    policy = repository.configuration.timestamp
    if not policy.url:
        return None
    size = _mark(repository, "timestamped size")
    first = first_beyond(repository.ledger, int(size.value) if size is not None else 0)
    longest = 2 * timedelta(hours=policy.every_hours)
    return first.time if first is not None and repository.world.now() - first.time > longest else None


def authority_until(repository: Repository) -> datetime | None:
    """Return when the certificate ends that the newest token is signed with; None if there is none that says so."""
    mark = _mark(repository, "timestamp authority until")
    return datetime.fromisoformat(mark.value) if mark is not None and mark.value else None


def _mark(repository: Repository, name: str) -> MarkRow | None:
    with repository.reading() as view:
        return rows.one(view, MarkRow, name)


def obtain(repository: Repository) -> Timestamped:
    """Sign a checkpoint, have the authority state its time, keep that verified, and bring it to the stores.

    Raises:
        TimestampSetupError, AskingError, TimestampError, TokenError, OpensslError: Nothing was changed but the
            checkpoint.
    """
    url = repository.configuration.timestamp.url
    if not url:
        raise TimestampSetupError(reason=marked("'url' is empty: no time-stamping authority is configured"))
    ca_file = roots_file(repository)
    with repository.ledger.writing(repository.world.wait_seconds) as writer:
        signed = writer.checkpoint()
    note = signed.note.encoded()
    digest = sha256(note).digest()
    nonce = int.from_bytes(repository.world.random(_NONCE_BYTES))
    answer = post(url, query(digest, nonce), KIND, attestations.LIMIT)
    if answer.status != _HTTP_OK:
        raise TimestampError(place=url, reason=Phrase("HTTP {status}", status=answer.status))
    token = read_reply(answer.body, digest, nonce)
    problem = signature_problem(token, ca_file)
    if problem:
        raise TimestampError(place=url, reason=f"{ca_file}: {problem}")
    skew = round((token.time - repository.world.now()).total_seconds())
    _keep(repository, signed.checkpoint.size, note, token, skew)
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        failures = push(repository, stores).failures
    return Timestamped(signed.checkpoint.size, token.time, skew, token.until, failures)


def roots_file(repository: Repository) -> str:
    """Return the file with the authority's root certificates; raises ``TimestampSetupError``."""
    name = repository.configuration.timestamp.ca_file
    if not name:
        raise TimestampSetupError(reason=marked("'ca_file' is empty; a token cannot be verified without roots"))
    path = os.path.join(repository.path, name)
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        raise TimestampSetupError(reason=Phrase("'ca_file': {path}", path=path))
    return path


def _keep(repository: Repository, size: int, note: bytes, token: Token, skew: int) -> None:
    """Keep a token and the note that it is about, and record both; a token of this size that is recorded stays."""
    with repository.ledger.writing(repository.world.wait_seconds) as writer:
        repository.catalog.catch_up()
        with repository.reading() as view:
            if rows.one(view, AttestationRow, token_name(size)) is not None:
                return
        attestations.keep(repository.ledger, note_with_time(size), note)
        attestations.keep(repository.ledger, token_name(size), token.data)
        digests = {note_with_time(size): sha256(note).hexdigest(), token_name(size): sha256(token.data).hexdigest()}
        event = repository.event(
            EventType.TIMESTAMPED,
            outcome="warning" if abs(skew) > SKEW.total_seconds() else "success",
            size=size,
            stamped=time_text(token.time),
            until=time_text(token.until) if token.until is not None else "",
            skew_seconds=skew,
            attestations=digests,
        )
        writer.append([event])
        repository.catalog.catch_up()


def verify(repository: Repository) -> Iterator[KeptToken]:
    """Verify every token that the ledger tells of: its bytes, the note, the root, the signature as of its time.

    Raises:
        TimestampSetupError, OpensslError: It cannot be told whether tokens are right.
    """
    ca_file = roots_file(repository)
    with repository.reading() as view:
        known = {row.name: row for row in rows.every(view, AttestationRow)}
    told = [record.event.detail for record in attestations.events_of(repository.ledger, EventType.TIMESTAMPED)]
    roots = attestations.roots_at(repository.ledger, (int(str(detail["size"])) for detail in told))
    for detail in told:
        size = int(str(detail["size"]))
        rows_of = known[note_with_time(size)], known[token_name(size)]
        problem, more = _problem(repository, rows_of, roots.get(size), str(detail["stamped"]), ca_file)
        yield KeptToken(size, str(detail["stamped"]), str(detail["until"]), problem, more)


def _problem(
    repository: Repository, kept: tuple[AttestationRow, AttestationRow], root: bytes | None, time: str, ca_file: str
) -> tuple[str, str]:
    note, token = (attestations.read(repository.ledger, row.name) for row in kept)
    if note is None or token is None:
        return "missing", ""
    if [sha256(data).hexdigest() for data in (note, token)] != [row.sha256 for row in kept]:
        return "changed", ""
    try:
        if SignedCheckpoint.parse(note).checkpoint.root != root:
            return "another-root", ""
        said = read_token(token)
    except (NoteError, TokenError) as error:
        return "malformed", str(error)
    if said.imprint != sha256(note).digest() or time_text(said.time) != time:
        return "another-note", ""
    problem = signature_problem(said, ca_file)
    return ("signature-wrong", problem) if problem else ("", "")
