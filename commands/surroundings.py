"""What a verb is given from outside: time, randomness, who acts, whether to stop. Only here is the environment read."""

import os
import pwd
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING

from commands.wording import harmless, in_language

if TYPE_CHECKING:
    from preservation.repository import Repository, World

AGENT = "MOCBAN_AGENT"
DEBUG = "MOCBAN_DEBUG"
REPOSITORY = "MOCBAN_REPOSITORY"


def agent(environment: Mapping[str, str]) -> str:
    """Return who acts: what ``MOCBAN_AGENT`` says, else the system user."""
    if name := environment.get(AGENT, "").strip():
        return harmless(name)
    try:
        return harmless(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return f"uid {os.getuid()}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the command: which repository, how long to wait for a lock, and whether it was told to stop."""

    directory: str
    wait_seconds: float
    stopped: Event = field(default_factory=Event)

    def world(self) -> "World":
        """Return the surroundings of a verb."""
        from preservation.repository import World  # noqa: PLC0415 - help and usage errors do without it

        return World(
            now=lambda: datetime.now(UTC),
            random=os.urandom,
            agent=agent(os.environ),
            wait_seconds=self.wait_seconds,
            stopping=self.stopped.is_set,
            translated=in_language,
        )

    def reading(self) -> "Repository":
        """Open the repository for reading: nothing in it can be changed by what is returned."""
        from preservation.creation import open_repository  # noqa: PLC0415 - help does without it

        return open_repository(self.directory, self.world(), read_only=True)

    def writing(self) -> "Repository":
        """Open the repository."""
        from preservation.creation import open_repository  # noqa: PLC0415 - help does without it

        return open_repository(self.directory, self.world())

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT stop the work at its next checkpoint; a second one ends it at once."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self.stopped.set()
            signal.signal(number, signal.SIG_DFL)

        with handled(stop):
            yield


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGTERM and SIGINT with ``handler`` for a while."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End work that has no checkpoints as an interrupt at the keyboard does."""
    raise KeyboardInterrupt
