"""The exit statuses of the command: the one place that gives them."""

from enum import IntEnum

from preservation.catalog.errors import CatalogBusyError
from preservation.configuration import NoRepositoryError
from preservation.ledger.errors import LedgerBusyError
from preservation.session import SessionBusyError
from preservation.stopping import StoppedError


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


_OF_ERRORS = (
    (NoRepositoryError, Status.NO_REPOSITORY),
    (LedgerBusyError, Status.BUSY),
    (CatalogBusyError, Status.BUSY),
    (SessionBusyError, Status.BUSY),
    (StoppedError, Status.INTERRUPTED),
)

_PRECEDENCE = (Status.ERROR, Status.FINDINGS, Status.COPIES_SHORT)


def status_of(error: Exception) -> Status:
    """Return the exit status that ``error`` ends the command with."""
    return next((status for kind, status in _OF_ERRORS if isinstance(error, kind)), Status.ERROR)


def gravest(*statuses: Status) -> Status:
    """Return the one of several that counts: error before findings before missing copies."""
    return next((status for status in _PRECEDENCE if status in statuses), Status.DONE)
