"""Ingest: take what somebody hands over, keep it for ever, and say so only when that is true.

The order is the promise: a durable session first; then packs, read back on every store and recorded one by one; then
the manifest; then, under the ledger's lock, the event that makes the package; then its evidence on the stores.
"""

import os
from dataclasses import dataclass
from datetime import UTC

from preservation.attempt import Receipt, Told
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import FondsRow
from preservation.fonds import NoSuchFondsError
from preservation.formats.identification import FormatIdentifier
from preservation.packages import manifest_row, version_row
from preservation.repository import Repository
from preservation.session import Session
from preservation.stores import attached
from preservation.undertaking import WRITER, PackageBusyError, carried_out
from storage_backends.errors import MocbanError, marked

__all__ = ["NoStoreError", "PackageBusyError", "Receipt", "Request", "ingest"]

LONGEST_TITLE = 2_000
"""Characters."""


class BadTitleError(MocbanError):
    """The title is too long."""

    template = marked("The title has {length} characters; at most {limit} are allowed")


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
    with repository.reading() as view:
        _check_stores(view)
        wanted = _wanted(repository, view, request)
    return carried_out(repository, wanted, identifier, told) or ingest(repository, request, identifier, told)


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
