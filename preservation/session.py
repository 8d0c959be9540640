"""The durable record of an ingest that has begun: what makes it resumable after a crash.

``staging/<session>/`` holds ``session.json`` (what was asked, written once), ``manifest.jsonl`` (the manifest so far)
and ``progress.jsonl`` (how far the manifest had come when each pack was sealed).
"""

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from preservation.ledger.files import create_file, fsync_directory, replace_file
from storage_backends.errors import MocbanError, marked


class SessionBusyError(MocbanError):
    """Another process is working on the same ingest."""

    template = marked("The ingest {session} is being worked on by another process")


class SessionChangedError(MocbanError):
    """The submission is not what it was when the ingest began."""

    template = marked(
        "{path} is not what it was when the ingest {session} began. Bring the old files back, or give the ingest up "
        "with 'mocban ingest abandon {session}'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What was asked for when the ingest began; the same for every attempt to finish it. Times ISO 8601 UTC."""

    session: str
    package: str
    version: int
    fonds: str
    fonds_code: str
    title: str
    source: str
    checksums: str
    mode: str
    """``new``, ``add`` or ``replace``."""
    withdrawn: list[str]
    identify: bool
    created: str
    agent: str
    writer: str
    """The version of the program that began it."""
    plan: str = ""
    """The migration plan that the version comes from; empty: none."""

    def asks_like(self, other: "Session") -> bool:
        """Tell whether both ask for the same ingest."""
        asked = ("fonds", "source", "checksums", "mode", "withdrawn", "identify", "plan")
        same = all(getattr(self, name) == getattr(other, name) for name in asked)
        same_package = self.mode == "new" or (self.package, self.version) == (other.package, other.version)
        return same and same_package and (self.title == other.title)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the manifest had come when a pack was sealed: entries and bytes of ``manifest.jsonl``."""

    number: int
    pack: str
    entries: int
    manifest_bytes: int


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """Where the record of one session lies."""

    path: str

    @property
    def manifest(self) -> str:
        """The manifest so far."""
        return os.path.join(self.path, "manifest.jsonl")

    @property
    def previous(self) -> str:
        """The manifest of the version before, while a new version is made."""
        return os.path.join(self.path, "previous.jsonl")

    @property
    def unpacked(self) -> str:
        """Where an archive is unpacked."""
        return os.path.join(self.path, "unpacked")

    def add_progress(self, progress: Progress) -> None:
        """Note, durably, how far the manifest had come; before the event that the pack was sealed."""
        path = os.path.join(self.path, "progress.jsonl")
        # Each is noted when the one before it has been recorded, so no earlier one is asked for again.
        lines = [dataclasses.asdict(one) for one in self.progress() if one.number == progress.number - 1]
        lines.append(dataclasses.asdict(progress))
        replace_file(path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def progress(self) -> list[Progress]:
        """Return what was noted."""
        with suppress(FileNotFoundError), open(os.path.join(self.path, "progress.jsonl"), "rb") as file:
            return [Progress(**json.loads(line)) for line in file]
        return []


def folder_of(staging: str, session: str) -> SessionFolder:
    """Return the folder of a session."""
    return SessionFolder(os.path.join(staging, session))


def begin(staging: str, session: Session) -> SessionFolder:
    """Write the record of a new session, durably."""
    folder = folder_of(staging, session.session)
    os.makedirs(folder.path)
    create_file(os.path.join(folder.path, "session.json"), json.dumps(dataclasses.asdict(session)).encode())
    fsync_directory(staging)
    return folder


def load(folder: SessionFolder) -> Session | None:
    """Return the record in ``folder``; nothing if the crash came before it was complete.

    Raises:
        OSError: it could not be read, which does not mean that there is none.
    """
    try:
        with open(os.path.join(folder.path, "session.json"), "rb") as file:
            return Session(**json.loads(file.read()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def open_sessions(staging: str) -> Iterator[tuple[SessionFolder, Session]]:
    """Yield every session that has a complete record."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(staging)):
            folder, session = folder_of(staging, name), None
            with suppress(PermissionError):  # an auditor may not look
                session = load(folder)
            if session is not None:
                yield folder, session


def close(folder: SessionFolder) -> None:
    """Remove the record of a session, durably: from now on it is not gone on with."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(folder.path, "session.json"))
        fsync_directory(folder.path)


def clear(folder: SessionFolder) -> None:
    """Remove all of a session that has ended."""
    close(folder)
    shutil.rmtree(folder.path, ignore_errors=True)


@contextmanager
def looked_for(staging: str) -> Iterator[None]:
    """Keep others from looking for a session meanwhile: what is asked for twice at once begins once."""
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def worked_on(folder: SessionFolder, session: str) -> Iterator[None]:
    """Keep other processes away from the session; ``SessionBusyError`` if one has it."""
    descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SessionBusyError(session=session) from error
        if load(folder) is None:  # it ended between our finding it and our locking it
            raise SessionBusyError(session=session)
        yield
    finally:
        os.close(descriptor)
