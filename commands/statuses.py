"""The exit statuses of the command: the one place that gives them."""

from enum import IntEnum


class Status(IntEnum):
    """What a script learns from how the command ended."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    FINDINGS = 3
    """Done, but a finding is open, or a store could not be looked at."""
    COPIES_SHORT = 4
    """Done, but some copies were not written."""
    NO_REPOSITORY = 10
    BUSY = 11
    INTERRUPTED = 130


_PRECEDENCE = (Status.ERROR, Status.FINDINGS, Status.COPIES_SHORT)


def status_of(error: Exception) -> Status:
    """Return the exit status that ``error`` ends the command with."""
    from preservation.catalog.errors import CatalogBusyError  # noqa: PLC0415 - most calls end without an error
    from preservation.configuration import NoRepositoryError  # noqa: PLC0415 - the same
    from preservation.ledger.errors import LedgerBusyError  # noqa: PLC0415 - the same
    from preservation.session import SessionBusyError  # noqa: PLC0415 - the same
    from preservation.stopping import StoppedError  # noqa: PLC0415 - the same

    if isinstance(error, NoRepositoryError):
        return Status.NO_REPOSITORY
    if isinstance(error, (LedgerBusyError, CatalogBusyError, SessionBusyError)):
        return Status.BUSY
    return Status.INTERRUPTED if isinstance(error, StoppedError) else Status.ERROR


def gravest(*statuses: Status) -> Status:
    """Return the one of several that counts: error before findings before missing copies."""
    return next((status for status in _PRECEDENCE if status in statuses), Status.DONE)
