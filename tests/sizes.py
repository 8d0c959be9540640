"""How much the long tests try: in CI all that is asked of them, elsewhere a sample spread over the same cases.

``CI=true`` or ``MOCBAN_TESTS=all`` in the environment asks for all. The word in a test's name says which it was.
"""

import os

ALL = os.environ.get("CI") == "true" or os.environ.get("MOCBAN_TESTS") == "all"
SIZE = "all" if ALL else "sample"
"""Stands in the names of the tests that are sized here."""

CRASH_KILLS = 60 if ALL else 8
"""At least so many points at which each verb is killed; all its distinct call sites are among them, or just so many."""

CRASH_REFUSALS = None if ALL else 4
"""At so many call sites each verb is refused with each error; none: at every distinct one."""


def spread(cases, count):
    """Return ``count`` of the cases, the first one and others at even distances; all of them for no count."""
    if count is None or count >= len(cases):
        return list(cases)
    return [cases[number * len(cases) // count] for number in range(count)]
