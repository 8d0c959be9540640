"""Folders for work that ends with its process: removed at its end, and after a kill by the next housekeeping.

``staging/scratch-<id>`` is locked while its process lives. The work may lie elsewhere (a larger disk): then that folder
is called ``mocban-scratch-<id>`` and the one in staging names the place, so that it is found again.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from preservation.ledger.files import create_file

PREFIX = "scratch-"

MIGRATION = "migration-"
"""Before the name of a folder in staging with what a migration has converted: it is gone on with, however old it is."""

ELSEWHERE = "elsewhere"
PLACE_LIMIT = 4096


@contextmanager
def scratch(staging: str, identity: str, elsewhere: str = "") -> Iterator[str]:
    """Give an empty folder, in ``staging`` or in the folder ``elsewhere``; it is removed in the end with all in it."""
    name = PREFIX + identity
    path = os.path.join(staging, name)
    descriptor = _made(path)
    try:
        work = path
        if elsewhere:
            work = os.path.join(os.path.abspath(elsewhere), f"mocban-{name}")
            create_file(os.path.join(path, ELSEWHERE), os.fsencode(work))
            os.mkdir(work, 0o700)
        yield work
    finally:
        _remove(path)
        os.close(descriptor)


def is_scratch(name: str) -> bool:
    """Tell whether a folder in staging is one of these."""
    return name.startswith(PREFIX)


def clear_dead(staging: str) -> int:
    """Remove what killed processes left; return how many things were removed."""
    return sum(clear_scratch(os.path.join(staging, name)) for name in os.listdir(staging) if is_scratch(name))


def clear_scratch(path: str) -> bool:
    """Remove the folder at ``path`` and the work that it stands for, unless its process lives."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            return not os.path.exists(path)
        finally:
            os.close(descriptor)
    return False


def _made(path: str) -> int:
    """Make a folder and lock it; housekeeping may find it before it is locked, then it is made once more."""
    while True:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        descriptor = -1
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        if descriptor >= 0:
            os.close(descriptor)


def _remove(path: str) -> None:
    """Remove the work first: as long as the folder in staging is there, it can be found."""
    with suppress(OSError), open(os.path.join(path, ELSEWHERE), "rb") as file:
        work = os.fsdecode(file.read(PLACE_LIMIT))
        if os.path.basename(work) == f"mocban-{os.path.basename(path)}" and not os.path.islink(work):
            shutil.rmtree(work, ignore_errors=True)
            if os.path.isdir(work):
                return  # the disk that it lies on is not to be had now
    shutil.rmtree(path, ignore_errors=True)
