"""Gives an ingest up: records it first, then removes its packs, which nothing refers to."""

from contextlib import suppress

from preservation.catalog import rows
from preservation.catalog.rows import PackRow, PackState, SessionRow
from preservation.ledger.events import EventType
from preservation.packs import layout
from preservation.repository import Repository
from preservation.session import clear, close, folder_of, open_sessions, worked_on
from preservation.sidecars import blocks_name, index_name
from preservation.stores import Store, all_open, attached
from storage_backends.errors import KeyMissingError, MocbanError, StorageError, marked


class NoSuchSessionError(MocbanError):
    """There is no ingest of this id that has begun and not ended."""

    template = marked("There is no unfinished ingest {session}; 'mocban status' shows those there are")


def abandon(repository: Repository, session: str) -> None:
    """End the session ``session`` without a package; its packs are removed from every store that can be reached.

    Raises:
        NoSuchSessionError: it has ended, or never began.
        SessionBusyError: another process is working on it.
    """
    for folder, one in open_sessions(repository.staging):
        if one.session == session:
            with worked_on(folder, session):
                give_up(repository, session)
            return
    with repository.reading() as view:
        if rows.one(view, SessionRow, session) is None:
            raise NoSuchSessionError(session=session)
    give_up(repository, session)


def give_up(repository: Repository, session: str) -> None:
    """As ``abandon``, for the process that is working on the session."""
    folder = folder_of(repository.staging, session)
    with repository.deciding() as (view, append):
        row = rows.one(view, SessionRow, session)
        close(folder)  # first: what the ledger says is given up must never be gone on with
        packs = [pack for pack in rows.every(view, PackRow) if pack.session == session]
        pending = [pack for pack in packs if pack.state == PackState.PENDING]
        events = [
            repository.event(EventType.PACK_RETIRED, fonds=pack.fonds, pack=pack.pack, state=str(PackState.ABANDONED))
            for pack in pending
        ]
        if row is not None:
            events.append(repository.event(EventType.SESSION_ABANDONED, fonds=row.fonds, session=session))
            append(events)
        store_rows = attached(view)
    if pending:
        with all_open(store_rows) as stores:
            for pack in pending:
                remove_retired(repository, stores, pack)
    clear(folder)


def remove_retired(repository: Repository, stores: list[Store], pack: PackRow) -> None:
    """Remove a pack that the ledger says is not to be kept, wherever it can be reached; audits find the rest."""
    keys = [
        layout.pack_key(pack.fonds, pack.pack),
        layout.index_key(pack.fonds, pack.pack),
        layout.blocks_key(pack.fonds, pack.pack),
    ]
    for store in stores:
        for key in keys:
            if store.backend is not None:
                with suppress(KeyMissingError, StorageError):
                    store.backend.delete(key)
    repository.sidecars.forget(index_name(pack.pack))
    repository.sidecars.forget(blocks_name(pack.pack))
