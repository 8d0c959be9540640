"""A ledger for tests: a clock that ticks, randomness with a seed, keys from a seed, and events by the dozen."""

import os
import random as seeded
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from preservation.ledger.events import Event, EventType
from preservation.ledger.keys import Keys, create_keys
from preservation.ledger.log import Ledger

ORIGIN = "kho.example.vn/ledger"
AGENT = "test agent"


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=7)
        return self.now


@dataclass
class World:
    """A folder with keys, a recovery kit and a ledger of one event."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    random: Callable[[int], bytes] = field(default_factory=lambda: seeded.Random(1).randbytes)
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        for name in ("keys", "kit"):
            (self.folder / name).mkdir(parents=True)
        self.keys = create_keys(str(self.folder / "keys"), str(self.folder / "kit"), ORIGIN, self.random)

    @property
    def path(self) -> str:
        return str(self.folder / "ledger")

    def create(self) -> Ledger:
        return Ledger.create(
            self.path,
            origin=ORIGIN,
            signer=self.keys.log,
            root_key=self.keys.root,
            clock=self.clock,
            random=self.random,
            agent=AGENT,
            root_signer=self.keys.root_signer,
        )

    def open(self, path: str | None = None, *, read_only: bool = False, at_least: int = 0) -> Ledger:
        return Ledger.open(
            path or self.path,
            clock=self.clock,
            random=self.random,
            signers=[self.keys.log],
            read_only=read_only,
            at_least=at_least,
        )


def event(number: int) -> Event:
    return Event(
        type=EventType.FIXITY_CHECK,
        fonds="f0001",
        detail={"pack": f"{number:064x}", "store": "a", "bytes": number},
        agent=AGENT,
    )


def append(ledger: Ledger, *sizes: int, checkpoint: bool = False) -> None:
    """Append one batch of each of ``sizes`` events."""
    with ledger.writing(5) as writer:
        for size in sizes:
            writer.append([event(ledger.size + number) for number in range(size)])
        if checkpoint:
            writer.checkpoint()


def leaves(ledger: Ledger) -> list[bytes]:
    return [record.data for record in ledger.records()]


def snapshot(folder: str) -> dict[str, bytes]:
    """Return every file below ``folder``, by name."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found
