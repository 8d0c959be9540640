"""A repository: everything that a verb needs, in one frozen noun, and how to open it."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from preservation.catalog.catalog import Catalog, View
from preservation.configuration import Configuration
from preservation.identifiers import new_id
from preservation.ledger.events import Event, Record
from preservation.ledger.files import create_file, locked
from preservation.ledger.log import Ledger
from preservation.sidecars import Sidecars
from storage_backends.errors import MocbanError, marked


class Surroundings(Protocol):
    """What a verb may not fetch for itself: time, randomness, who acts, how long to wait, whether to stop."""

    def now(self) -> datetime:
        """Return the present time, aware."""
        ...

    def random(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        ...

    @property
    def agent(self) -> str:
        """Who acts; stands in every event."""
        ...

    @property
    def wait_seconds(self) -> float:
        """How long to wait for a lock that somebody else holds."""
        ...

    def stopping(self) -> bool:
        """Tell whether the work shall stop at the next checkpoint."""
        ...

    def translated(self, language: str, text: str) -> str:
        """Return ``text`` in a language (``en``, ``vi``)."""
        ...


class NotPermittedError(MocbanError):
    """The user may read the repository but not write to it."""

    template = marked("{place}: this user may not write to the repository")


@dataclass(frozen=True, slots=True)
class World:
    """The surroundings of a verb, given by the command line, the scheduler or a test."""

    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    agent: str
    wait_seconds: float = 60.0
    stopping: Callable[[], bool] = lambda: False
    translated: Callable[[str, str], str] = lambda _language, text: text
    """Gives a text in a language (``en``, ``vi``): for what is written for readers who are not the caller."""


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository. ``path`` holds ``catalog/``, ``ledger/``, ``staging/``, ``keys/`` and ``mocban.toml``."""

    path: str
    configuration: Configuration
    ledger: Ledger
    catalog: Catalog
    sidecars: Sidecars
    world: World

    @property
    def staging(self) -> str:
        """Where work lies that has not ended."""
        return os.path.join(self.path, "staging")

    @property
    def keys(self) -> str:
        """Where the keys lie."""
        return os.path.join(self.path, "keys")

    def new_id(self) -> str:
        """Return a new identifier."""
        return new_id(self.world.now(), self.world.random)

    @contextlib.contextmanager
    def reading(self) -> Iterator[View]:
        """Give the rows of the catalog as of now."""
        with self.catalog.reading() as view:
            yield view

    def record(self, events: Sequence[Event]) -> list[Record]:
        """Make events durable and let the catalog follow. Nothing is promised before this returns."""
        with self.ledger.writing(self.world.wait_seconds) as writer:
            records: list[Record] = writer.append(events)
            self.catalog.catch_up()
        return records

    @contextlib.contextmanager
    def deciding(self) -> Iterator[tuple[View, Callable[[Sequence[Event]], list[Record]]]]:
        """Hold the ledger's lock while something is looked up and recorded, so that nobody comes between."""
        with self.ledger.writing(self.world.wait_seconds) as writer:
            with self.catalog.reading() as view:
                yield view, writer.append
            self.catalog.catch_up()

    @contextlib.contextmanager
    def copying(self) -> Iterator[None]:
        """Keep other audits, repairs and replications away; ``LedgerBusyError`` if one does not end in time.

        Raises:
            NotPermittedError: this user may not write to the repository.
        """
        path = os.path.join(self.path, "staging", "copies.lock")
        if not os.access(self.staging, os.W_OK):
            raise NotPermittedError(place=self.path)
        if not os.path.exists(path):
            with contextlib.suppress(FileExistsError):
                create_file(path, b"")
        with locked(path, self.world.wait_seconds):
            yield

    def event(self, kind: str, *, fonds: str | None = None, outcome: str = "success", **detail: object) -> Event:
        """Return an event of this repository's agent."""
        return Event(type=kind, outcome=outcome, fonds=fonds, detail=detail, agent=self.world.agent)  # type: ignore[arg-type]


def assembled(path: str, configuration: Configuration, ledger: Ledger, world: World) -> Repository:
    """Return the repository made of its parts."""
    sidecars = Sidecars(os.path.join(path, "ledger"))

    def ledger_size() -> int:
        ledger.refresh()  # asked when the catalog is open: it may reflect what others have just written
        return ledger.size

    catalog = Catalog(
        os.path.join(path, "catalog"), configuration.repository, ledger.records, ledger_size, sidecars.index_of
    )
    return Repository(path, configuration, ledger, catalog, sidecars, world)
