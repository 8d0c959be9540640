"""What an operating system error on a disk means for a store.

The distinction that matters: an error that says "this place is not there" must never be told as "this item is missing"
or "this item is damaged", or an unplugged disk looks like a disaster.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from storage_backends.errors import (
    ReadFailureError,
    StorageError,
    StoreFullError,
    StoreRefusesError,
    StoreUnavailableError,
)

GONE = frozenset(
    {
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.ESTALE,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.EXDEV,
    }
)
"""The place went away, or the path now leads to another file system."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP})

OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""This process is short of something: nothing was learned about the item."""


@contextmanager
def writing(place: str, *, needed: int = 0) -> Iterator[None]:
    """Turn an ``OSError`` of a change into an error of the storage family; ``needed`` is in bytes."""
    try:
        yield
    except OSError as error:
        raise write_failure(error, place, needed=needed) from error


@contextmanager
def reading(place: str, key: str) -> Iterator[None]:
    """Turn an ``OSError`` of a look at ``key`` into an error of the storage family."""
    try:
        yield
    except OSError as error:
        raise read_failure(error, place, key) from error


def write_failure(error: OSError, place: str, *, needed: int = 0) -> StorageError:
    """Return what ``error`` means for a change."""
    reason = error.strerror or str(error)
    if error.errno in GONE:
        return StoreUnavailableError(place=place, reason=reason)
    if error.errno in FULL:
        return StoreFullError(place=place, needed=needed, free=0, reserve=0)
    if error.errno in REFUSED:
        return StoreRefusesError(place=place, reason=reason)
    return StorageError(place=place, reason=reason)


def read_failure(error: OSError, place: str, key: str) -> StorageError:
    """Return what ``error`` means for a look at ``key``."""
    reason = error.strerror or str(error)
    if error.errno in GONE:
        return StoreUnavailableError(place=place, reason=reason)
    if error.errno in OURS:
        return StorageError(place=place, reason=reason)
    return ReadFailureError(place=place, key=key, reason=reason)
