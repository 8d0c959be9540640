"""Carries a session out, whoever asks for the new version: found again or begun, scanned, recorded, attempted, cleared.

Ingest and migration both make versions of packages; this is what they have in common.
"""

from contextlib import ExitStack
from dataclasses import replace

from preservation.abandoning import give_up
from preservation.attempt import AS_THEY_COME, Attempt, Lines, Receipt, Told
from preservation.catalog import rows
from preservation.catalog.rows import PackageRow, SessionRow
from preservation.formats.identification import FormatIdentifier
from preservation.housekeeping import clean, committed
from preservation.ledger.events import EventType
from preservation.packages import version_row
from preservation.repository import Repository
from preservation.session import Session, SessionFolder, begin, clear, looked_for, open_sessions, worked_on
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

COULD_NOT_LOOK = (StagingError, SubmissionMissingError, SubmissionUnreadableError)
"""These refusals do not make an ingest that has begun give up what it has stored: the disk may only be unplugged."""


WRITER = "mocban 0.1.0"
"""Stands in every session and manifest: with which version of the program it was begun."""


class PackageBusyError(MocbanError):
    """Another ingest makes the next version of the package."""

    template = marked(
        "The ingest {session} makes version {version} of this package. Finish it first, or give it up with "
        "'mocban ingest abandon {session}'"
    )


def carried_out(
    repository: Repository,
    wanted: Session,
    identifier: FormatIdentifier,
    told: Told,
    lines: Lines = AS_THEY_COME,
) -> Receipt | None:
    """Carry ``wanted`` out, or the unfinished session that asks for the same.

    Nothing is returned if that session had been committed and the submission is no longer what it took: then what is
    wanted is another version.

    Raises:
        SubmissionRefusedError: something in the submission cannot be taken; nothing is stored.
        MocbanError: it could not be done now; what has been stored so far is kept for the next attempt.
    """
    with ExitStack() as stack:
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
        with repository.reading() as view:
            store_rows = attached(view)
        stores = stack.enter_context(all_open(store_rows))
        work = Attempt(repository, session, folder, stores, submission, identifier, told, lines)
        try:
            receipt = work.run() if done is None else work.confirmed(done)
        except SubmissionRefusedError:
            if done is None:
                give_up(repository, session.session)
            clear(folder)
            raise
        clear(folder)
    return receipt


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
