"""Ingest: take what somebody hands over, keep it for ever, and say so only when that is true.

The order is the promise: a durable session first; then packs, read back on every store and recorded one by one; then
the manifest; then, under the ledger's lock, the event that makes the package; then its evidence on the stores.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC

from preservation.abandoning import give_up
from preservation.attempt import Attempt, Receipt, Told
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import FondsRow, PackageRow, SessionRow
from preservation.formats.identification import FormatIdentifier
from preservation.housekeeping import clean, committed
from preservation.ledger.events import EventType
from preservation.packages import manifest_row, version_row
from preservation.repository import Repository
from preservation.session import (
    Session,
    SessionFolder,
    begin,
    clear,
    looked_for,
    open_sessions,
    worked_on,
)
from preservation.stores import all_open, attached
from preservation.submission import open_submission
from preservation.submission.entries import Quotas, Submission
from preservation.submission.errors import (
    StagingError,
    SubmissionMissingError,
    SubmissionRefusedError,
    SubmissionUnreadableError,
)
from storage_backends.errors import MocbanError, marked

__all__ = ["NoStoreError", "NoSuchFondsError", "Receipt", "Request", "ingest"]

LONGEST_TITLE = 2_000
"""Characters."""

COULD_NOT_LOOK = (StagingError, SubmissionMissingError, SubmissionUnreadableError)
"""These refusals do not make an ingest that has begun give up what it has stored: the disk may only be unplugged."""

WRITER = "mocban 0.1.0"
"""Stands in every session and manifest: with which version of the program it was begun."""


class NoSuchFondsError(MocbanError):
    """There is no fonds of this code."""

    template = marked("There is no fonds {code}; 'mocban fonds add {code}' opens one, 'mocban fonds list' shows all")


class BadTitleError(MocbanError):
    """The title is too long."""

    template = marked("The title has {length} characters; at most {limit} are allowed")


class PackageBusyError(MocbanError):
    """Another ingest makes the next version of the package."""

    template = marked(
        "The ingest {session} makes version {version} of this package. Finish it first, or give it up with "
        "'mocban ingest abandon {session}'"
    )


class NoStoreError(MocbanError):
    """There is no store that could take anything."""

    template = marked("There is no store to keep records on: {reason}. 'mocban store add' attaches one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked. ``mode`` is ``new``, ``add`` or ``replace``; ``withdrawn`` are paths in the package."""

    source: str | None
    fonds_code: str = ""
    title: str = ""
    package: str = ""
    mode: str = "new"
    withdrawn: tuple[str, ...] = ()
    checksums: str = ""
    identify: bool = True


def ingest(repository: Repository, request: Request, identifier: FormatIdentifier, told: Told) -> Receipt:
    """Carry out ``request``; run again after an interruption, it goes on where it stopped.

    Raises:
        SubmissionRefusedError: something in the submission cannot be taken; nothing is stored.
        MocbanError: it could not be done now; what has been stored so far is kept for the next attempt.
    """
    with ExitStack() as stack:
        with repository.reading() as view:
            _check_stores(view)
            wanted = _wanted(repository, view, request)
        with looked_for(repository.staging):
            folder, session = _session(repository, wanted)
            stack.enter_context(worked_on(folder, session.session))
        clean(repository)
        submission = None
        if session.source:
            submission = _scanned(repository, session, folder, stack)
        with repository.reading() as view:
            done = committed(view, session)
        if done is None:
            _recorded(repository, session, folder)
        stores = stack.enter_context(all_open(_rows(repository)))
        work = Attempt(repository, session, folder, stores, submission, identifier, told)
        try:
            receipt = work.run() if done is None else work.confirmed(done)
        except SubmissionRefusedError:
            if done is None:
                give_up(repository, session.session)
            clear(folder)
            raise
        clear(folder)
    return receipt or ingest(repository, request, identifier, told)


def _rows(repository: Repository) -> list[rows.StoreRow]:
    with repository.reading() as view:
        return attached(view)


def _check_stores(view: View) -> None:
    if not attached(view):
        raise NoStoreError(reason="none is attached")


def _wanted(repository: Repository, view: View, request: Request) -> Session:
    version, title = 1, request.title
    if request.package:
        row = version_row(view, request.package)
        found = rows.one(view, FondsRow, row.fonds)
        manifest = manifest_row(view, row)
        version, title = row.version + 1, title or (manifest.title if manifest is not None else "")
    else:
        found = next((one for one in rows.every(view, FondsRow) if one.code == request.fonds_code), None)
    if found is None:
        raise NoSuchFondsError(code=request.fonds_code)
    source = "" if request.source is None else os.path.realpath(request.source)
    title = title or os.fsencode(os.path.basename(source.rstrip("/"))).decode("utf-8", "backslashreplace")
    if len(title) > LONGEST_TITLE:
        raise BadTitleError(length=len(title), limit=LONGEST_TITLE)
    mode = request.mode if request.mode != "new" else "add"  # of nothing, if files are only withdrawn
    return Session(
        session=repository.new_id(),
        package=request.package or repository.new_id(),
        version=version,
        fonds=found.fonds,
        fonds_code=found.code,
        title=title.encode(errors="backslashreplace").decode(),
        source=source,
        checksums=os.path.realpath(request.checksums) if request.checksums else "",
        mode=mode if request.package else "new",
        withdrawn=sorted(request.withdrawn),
        identify=request.identify,
        created=repository.world.now().astimezone(UTC).isoformat(timespec="seconds"),
        agent=repository.world.agent,
        writer=WRITER,
    )


def _session(repository: Repository, wanted: Session) -> tuple[SessionFolder, Session]:
    """Return the session that asks for the same, or a new one.

    One that was committed and not acknowledged counts too, although its version is the latest now and not the next.
    """
    with repository.reading() as view:
        for folder, session in open_sessions(repository.staging):
            again = session.asks_like(replace(wanted, version=session.version)) and committed(view, session) is not None
            if again or session.asks_like(wanted):
                return folder, session
    return begin(repository.staging, wanted), wanted


def _scanned(repository: Repository, session: Session, folder: SessionFolder, stack: ExitStack) -> Submission:
    limits = repository.configuration.ingest
    quotas = Quotas(
        unpacked=limits.unpacked_bytes,
        members=limits.unpacked_files,
        ratio=limits.unpacked_ratio,
        archive_depth=limits.unpacked_depth,
    )
    try:
        checksums = session.checksums or None
        submission = open_submission(session.source, staging=folder.unpacked, quotas=quotas, checksums=checksums)
        stack.callback(submission.close)
        submission.verify_all()
    except SubmissionRefusedError as error:
        with repository.reading() as view:
            known = rows.one(view, SessionRow, session.session) is not None
        if not known:
            clear(folder)
        elif not isinstance(error, COULD_NOT_LOOK):
            give_up(repository, session.session)
        raise
    return submission


def _recorded(repository: Repository, session: Session, folder: SessionFolder) -> None:
    """Record that the session has begun; at any time at most one makes the next version of a package."""
    with repository.deciding() as (view, append):
        if rows.one(view, SessionRow, session.session) is not None:
            return
        head = rows.one(view, PackageRow, session.package)
        rival = next((row.session for row in rows.every(view, SessionRow) if row.package == session.package), "")
        if head is not None and not rival and head.latest >= session.version:
            rival = version_row(view, session.package, session.version).session
        if rival:
            clear(folder)
            raise PackageBusyError(session=rival, version=session.version)
        event = repository.event(
            EventType.SESSION_OPENED,
            fonds=session.fonds,
            session=session.session,
            package=session.package,
            version=session.version,
        )
        append([event])
