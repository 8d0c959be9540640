"""How much the long tests try: in CI all that is asked of them, elsewhere a sample spread over the same cases.

``CI=true`` or ``MOCBAN_TESTS=all`` in the environment asks for all. Where a size is not seen in a test's name, the last
lines of a run say which it was.
"""

import os

import pytest

ALL = os.environ.get("CI") == "true" or os.environ.get("MOCBAN_TESTS") == "all"
SIZE = "all" if ALL else "sample"

CRASH_KILLS = 60 if ALL else 8
"""At least so many points at which each verb is killed; all its distinct call sites are among them, or just so many."""

CRASH_REFUSALS = None if ALL else 4
"""At so many call sites each verb is refused with each error; none: at every distinct one."""

LEDGER_CALLS = None if ALL else 6
"""At so many of its system calls the ledger's writer is killed, and refused with each error; none: at every one."""

CATALOG_STEP = 13 if ALL else 61
"""Each so-and-so-many-th byte of the catalog is changed."""

DAMAGE_STEP = 1 if ALL else 31
"""Of the bytes of copies, lengths and places that are damaged one by one, each so-and-so-many-th; no part of a block is
left out, as this has no factor in common with its size."""

TAMPERED = 40 if ALL else 12
"""Forgeries of each class: 12 are each story in both forms."""

SCRIPTS = 3 if ALL else 1
"""Of each class so many folders are verified by verify.sh too: DuckDB takes half a second to start."""

MONTHS = 4 if ALL else 2
"""For so long the real audit lives on stores in memory."""


def spread(cases, count):
    """Return ``count`` of the cases, the first one and others at even distances; all of them for no count."""
    if count is None or count >= len(cases):
        return list(cases)
    return [cases[number * len(cases) // count] for number in range(count)]


def sampled(count):
    """Mark a test of which, but for ``ALL``, only ``count`` cases are tried."""
    return pytest.mark.sampled(count)


def left_out(items):
    """Return which of the collected tests are not in the sample."""
    cases = {}
    for item in items:
        if mark := item.get_closest_marker("sampled"):
            cases.setdefault((item.path, item.originalname), (*mark.args, []))[1].append(item)
    return [] if ALL else [one for count, found in cases.values() for one in found if one not in spread(found, count)]
