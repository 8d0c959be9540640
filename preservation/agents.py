"""Agents: people and programs who sign, known by their public Ed25519 keys; their names stay out of the ledger.

The ledger has identifiers and public keys, so that a signature can be verified from it alone. A name stands in a small
descriptive record beside it, as a fonds's title does, and can be taken away while the log still verifies.
"""

import json
import unicodedata
from dataclasses import dataclass
from hashlib import sha256

from preservation.catalog import rows
from preservation.catalog.agents import AgentKeyRow, AgentRow
from preservation.catalog.catalog import View
from preservation.evidence import push
from preservation.fixity import blake3_hex
from preservation.ledger.events import EventType
from preservation.repository import Repository
from preservation.sidecars import description_name
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError, Phrase, marked

KEY_FILE_LIMIT = 4096
LONGEST_NAME = 200
"""Characters."""

REASONS = ("left", "lost", "replaced", "misused", "other")
"""Why a key may be revoked; the ledger takes a code, no story."""

_KINDS = {"person": Phrase("person"), "program": Phrase("program")}


class BadAgentNameError(MocbanError):
    """The name cannot be used."""

    template = marked("{name!r} cannot be an agent's name: 1 to {limit} printable characters, not only spaces")


class BadPublicKeyError(MocbanError):
    """No public key that we can use could be read."""

    template = marked("{place}: no public Ed25519 key can be read here ({reason})")


class KeyKnownError(MocbanError):
    """The key belongs to an agent already; one key is one person, also after it was revoked."""

    template = marked("This key is registered already, for agent {agent}: one key stands for one agent, for ever")


class NoSuchAgentError(MocbanError):
    """There is no such agent."""

    template = marked("There is no agent {name}; 'mocban agent list' shows those there are")


class NoSuchAgentKeyError(MocbanError):
    """The agent has no such key that is in use."""

    template = marked("Agent {agent} has no key in use that begins with {key}")


class AgentKindError(MocbanError):
    """An agent of this name is known as something else."""

    template = marked("Agent {agent} is registered as a {kind}")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public Ed25519 key: 32 bytes."""

    data: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the key: how the ledger and people name it."""
        return sha256(self.data).hexdigest()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``message``."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - costs every start 70 ms
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

        try:
            Ed25519PublicKey.from_public_bytes(self.data).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent: its row, its name (empty where the descriptive record is gone) and all its keys."""

    row: AgentRow
    name: str
    keys: tuple[AgentKeyRow, ...]

    @property
    def identity(self) -> str:
        """The identifier that the ledger has."""
        return self.row.agent

    @property
    def shown(self) -> str:
        """The name, or the identifier where there is none."""
        return self.name or self.identity

    @property
    def keys_in_use(self) -> tuple[AgentKeyRow, ...]:
        """The keys that were not revoked."""
        return tuple(key for key in self.keys if not key.revoked)


def read_public_key(path: str) -> PublicKey:
    """Return the public key in a PEM file, as ``openssl pkey -pubout`` writes it.

    Raises:
        BadPublicKeyError: there is none, it is not Ed25519, or the file holds a private key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - costs every start 70 ms
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

    try:
        with open(path, "rb") as file:
            data = file.read(KEY_FILE_LIMIT + 1)
        if len(data) > KEY_FILE_LIMIT:
            raise BadPublicKeyError(place=path, reason=marked("the file is too long"))
        if b"PRIVATE KEY" in data:
            raise BadPublicKeyError(place=path, reason=marked("this is a private key; it belongs to its owner alone"))
        key = serialization.load_pem_public_key(data)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise BadPublicKeyError(place=path, reason=str(error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadPublicKeyError(place=path, reason=marked("another kind of key"))
    return PublicKey(key.public_bytes_raw())


def register(repository: Repository, name: str, key: PublicKey, *, kind: str = "person") -> Agent:
    """Register an agent with its first key, or a further key of an agent that is known by this name.

    Raises:
        KeyKnownError: the key is somebody's already, be it revoked.
        BadAgentNameError, AgentKindError.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadAgentNameError(name=name, limit=LONGEST_NAME)
    with repository.deciding() as (view, append):
        taken = rows.one(view, AgentKeyRow, key.key_id)
        if taken is not None:
            raise KeyKnownError(agent=taken.agent)
        known = _named(agents(repository, view), name)
        if known is not None and known.row.kind != kind:
            raise AgentKindError(agent=known.shown, kind=_KINDS.get(known.row.kind, known.row.kind))
        digest = known.row.description if known is not None else _described(repository, name, kind)
        agent = known.identity if known is not None else repository.new_id()
        append(
            [
                repository.event(
                    EventType.AGENT_REGISTERED,
                    agent=agent,
                    agent_kind=kind,
                    description=digest,
                    key_id=key.key_id,
                    public=key.data.hex(),
                )
            ]
        )
    _bring_out(repository)
    with repository.reading() as view:
        return agent_named(repository, view, agent)


def _described(repository: Repository, name: str, kind: str) -> str:
    values = {"kind": kind, "name": name, "salt": repository.world.random(16).hex()}
    data = json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    digest = blake3_hex(data)
    repository.sidecars.keep(description_name(digest), data)
    return digest


def _bring_out(repository: Repository) -> None:
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)


def revoke(repository: Repository, agent: Agent, *, key: str = "", reason: str = "other") -> list[str]:
    """Revoke the key of ``agent`` that begins with ``key``, or all in use; return the identifiers of the keys.

    What was signed and executed before stays; what was signed and not executed is not executed any more.

    Raises:
        NoSuchAgentKeyError: no key in use begins so.
    """
    assert reason in REASONS
    found = [one.key_id for one in agent.keys_in_use if one.key_id.startswith(key)]
    if not found:
        raise NoSuchAgentKeyError(agent=agent.shown, key=key or "-")
    repository.record(
        [
            repository.event(EventType.KEY_REVOKED, agent=agent.identity, key_id=key_id, reason=reason)
            for key_id in found
        ]
    )
    _bring_out(repository)
    return found


def agents(repository: Repository, view: View) -> list[Agent]:
    """Return all agents in the order in which they were registered."""
    keys: dict[str, list[AgentKeyRow]] = {}
    for key in rows.every(view, AgentKeyRow):
        keys.setdefault(key.agent, []).append(key)
    return [
        Agent(row, _name(repository, row), tuple(sorted(keys.get(row.agent, []), key=lambda one: one.registered)))
        for row in rows.every(view, AgentRow)
    ]


def _name(repository: Repository, row: AgentRow) -> str:
    data = repository.sidecars.read(description_name(row.description), row.description)
    return "" if data is None else str(json.loads(data).get("name", ""))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _named(known: list[Agent], name: str) -> Agent | None:
    return next((one for one in known if one.name and _folded(one.name) == _folded(name)), None)


def agent_named(repository: Repository, view: View, name: str) -> Agent:
    """Return the agent of this name or identifier, or a beginning of the identifier that only one has.

    Raises:
        NoSuchAgentError: there is none, or several begin so.
    """
    known = agents(repository, view)
    exact = _named(known, name) or next((one for one in known if one.identity == name), None)
    if exact is not None:
        return exact
    beginning = [one for one in known if name and one.identity.startswith(name)]
    if len(beginning) != 1:
        raise NoSuchAgentError(name=name)
    return beginning[0]
