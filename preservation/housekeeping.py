"""What a crash leaves behind is removed when the next writing verb begins: unnamed drafts, unfinished folders."""

import os
import shutil
from contextlib import suppress

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import VersionRow
from preservation.repository import Repository
from preservation.scratch import MIGRATION, clear_scratch, is_scratch
from preservation.session import Session, SessionBusyError, SessionFolder, clear, folder_of, load, worked_on
from preservation.stores import all_open, attached
from storage_backends.backend import Drafting
from storage_backends.errors import StorageError

YOUNG_SECONDS = 300


def clean(repository: Repository) -> int:
    """Remove what no living process and no resumable work needs; return how many things were removed."""
    removed = 0
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        for store in stores:
            if isinstance(store.backend, Drafting):
                with suppress(StorageError):
                    removed += store.backend.clear_drafts()
    for name in os.listdir(repository.staging):
        folder = folder_of(repository.staging, name)
        if is_scratch(name):
            removed += clear_scratch(folder.path)
            continue
        if name.startswith(MIGRATION):
            continue
        try:
            session = load(folder)
        except OSError:
            continue
        if session is None and _is_old(repository, folder.path):
            shutil.rmtree(folder.path, ignore_errors=True)
            removed += 1
        elif session is not None and _is_over(repository, folder, session):
            clear(folder)
            removed += 1
    return removed


def committed(view: View, session: Session) -> VersionRow | None:
    """Return the version that came of a session, if it was committed."""
    row = rows.one(view, VersionRow, session.package, f"{session.version:06d}")
    return row if row is not None and row.session == session.session else None


def _is_over(repository: Repository, folder: SessionFolder, session: Session) -> bool:
    """Tell whether a session was committed by a process that died before it could clear it away."""
    with repository.reading() as view:
        if committed(view, session) is None:
            return False
    try:
        with worked_on(folder, session.session):
            return True
    except (SessionBusyError, FileNotFoundError):
        return False


def _is_old(repository: Repository, path: str) -> bool:
    """Another process may be about to write the record of a session that it has just begun."""
    try:
        return repository.world.now().timestamp() - os.stat(path).st_mtime > YOUNG_SECONDS
    except FileNotFoundError:
        return False
