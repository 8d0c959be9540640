"""How the service's reading waits for that of others at the disk: the I/O priority of a thread, ``ioprio_set(2)``.

Threads that are begun inherit it. The kernel's BFQ scheduler heeds it, others may not; where the system has no such
call, nothing is changed.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""The number of the system call; glibc has no function for it."""

_GET = {"x86_64": 252, "aarch64": 31, "riscv64": 31, "ppc64le": 274, "s390x": 283}

_WHO_THREAD = 1
_CLASS_SHIFT = 13
_VALUES = {"idle": 3 << _CLASS_SHIFT, "low": 2 << _CLASS_SHIFT | 7, "normal": 0}
"""The class "idle"; the last of the eight levels of "best effort"; none, which follows the nice value."""


@contextmanager
def reading_as(priority: str) -> Iterator[None]:
    """Let this thread, and those that it begins, read with a priority (``configuration.PRIORITIES``) for a while."""
    before = priority_now()
    _call(_SET, _VALUES[priority])
    try:
        yield
    finally:
        if before is not None:
            _call(_SET, before)


def priority_now() -> int | None:
    """Return the I/O priority of this thread as the system has it; None if it has none."""
    found = _call(_GET)
    return found if found >= 0 else None


def _call(numbers: dict[str, int], *more: int) -> int:
    number = numbers.get(os.uname().machine)
    if number is None:
        return -1
    return int(ctypes.CDLL(None).syscall(number, _WHO_THREAD, 0, *more))


def politest(priorities: Iterable[str]) -> str:
    """Return the priority of several that waits most for others."""
    found = set(priorities)
    return next((priority for priority in _VALUES if priority in found), "normal")
