"""Rows of the people and programs whose keys are registered, as the events that tell of them change them."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from preservation.catalog import rows
from preservation.catalog.marks import Changing, Detail
from preservation.catalog.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow(Row):
    """A person or a program; ``description`` is the digest of its descriptive record, which is kept elsewhere."""

    PREFIX: ClassVar[bytes] = b"agent/"
    agent: str
    kind: str
    """``person`` or ``program``."""
    description: str
    registered: str

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.agent.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeyRow(Row):
    """A public Ed25519 key of an agent, for ever: also of one that was revoked."""

    PREFIX: ClassVar[bytes] = b"agent-key/"
    key_id: str
    """SHA-256 of the 32 bytes of the key."""
    public: str
    """The 32 bytes, hexadecimal."""
    agent: str
    registered: str
    revoked: str = ""
    """When it was revoked; empty: it was not."""
    reason: str = ""

    @property
    def key(self) -> bytes:
        """The row's key."""
        return self.PREFIX + self.key_id.encode()


def agent_registered(event: Detail, _index: object, view: Changing) -> None:
    """Keep a key, and the agent if this is its first."""
    known = rows.one(view, AgentRow, event.text("agent"))
    if known is None:
        row = AgentRow(
            agent=event.text("agent"),
            kind=event.text("agent_kind"),
            description=event.text("description"),
            registered=event.time,
        )
        view.put(row.key, row.to_bytes())
    key = AgentKeyRow(
        key_id=event.text("key_id"), public=event.text("public"), agent=event.text("agent"), registered=event.time
    )
    if rows.one(view, AgentKeyRow, key.key_id) is None:
        view.put(key.key, key.to_bytes())


def key_revoked(event: Detail, _index: object, view: Changing) -> None:
    """Keep that a key signs nothing from now on."""
    row = rows.one(view, AgentKeyRow, event.text("key_id"))
    if row is not None and not row.revoked:
        row = dataclasses.replace(row, revoked=event.time, reason=event.text("reason"))
        view.put(row.key, row.to_bytes())
