"""The names of everything in a ledger: all paths in one pure module.

::

    format.json                       what this is, and the origin of the log
    lock                              the one lock that orders all writers
    hot/<first>.wal                   frames that are not sealed yet, or not dropped yet
    segments/<first>-<end>.parquet    sealed records
    checkpoints/<size>.note           signed tree heads
    state.json                        a cache of the tree at segment ends; may be deleted
    subjects/<first>-<end>.index      a cache of where events about a pack or package are; may be deleted

``first`` is a sequence number and ``end`` the one after the last; all numbers have twelve digits.
"""

import re

FORMAT = 1
FORMAT_FILE = "format.json"
LOCK_FILE = "lock"
STATE_FILE = "state.json"
HOT = "hot"
SEGMENTS = "segments"
CHECKPOINTS = "checkpoints"
SUBJECTS_FOLDER = "subjects"
TAIL = "tail"

TAIL_PREFIX = "ledger/tail"
SEGMENTS_PREFIX = "ledger/segments"
CHECKPOINTS_PREFIX = "ledger/checkpoints"
"""Below these keys the same things lie on a store."""

_NUMBER = "([0-9]{12})"
_HOT = re.compile(rf"{_NUMBER}\.wal")
_SEGMENT = re.compile(rf"{_NUMBER}-{_NUMBER}\.parquet")
_NOTE = re.compile(rf"{_NUMBER}\.note")
_TAIL = re.compile(rf"{_NUMBER}-{_NUMBER}")


def hot_name(first: int) -> str:
    """Return the name of the hot file that begins with event ``first``."""
    return f"{first:012d}.wal"


def segment_name(first: int, end: int) -> str:
    """Return the name of a sealed segment."""
    return f"{first:012d}-{end:012d}.parquet"


def index_name(first: int, end: int) -> str:
    """Return the name of the cache of a segment's subjects."""
    return f"{first:012d}-{end:012d}.index"


def note_name(size: int) -> str:
    """Return the name of the checkpoint over ``size`` events."""
    return f"{size:012d}.note"


def tail_key(first: int, end: int) -> str:
    """Return the key of a tail chunk on a store."""
    return f"{TAIL_PREFIX}/{first:012d}-{end:012d}"


def segment_key(first: int, end: int) -> str:
    """Return the key of a segment on a store."""
    return f"{SEGMENTS_PREFIX}/{segment_name(first, end)}"


def note_key(size: int) -> str:
    """Return the key of a checkpoint on a store."""
    return f"{CHECKPOINTS_PREFIX}/{note_name(size)}"


def hot_first(name: str) -> int | None:
    """Return with which event the hot file ``name`` begins; None if it is not one."""
    match = _HOT.fullmatch(name)
    return int(match[1]) if match else None


def segment_range(name: str) -> tuple[int, int] | None:
    """Return first and end of the segment ``name``; None if it is not one."""
    return _range(_SEGMENT.fullmatch(name))


def tail_range(name: str) -> tuple[int, int] | None:
    """Return first and end of the tail chunk ``name`` (the last part of its key); None if it is not one."""
    return _range(_TAIL.fullmatch(name))


def note_size(name: str) -> int | None:
    """Return over how many events the checkpoint ``name`` is; None if it is not one."""
    match = _NOTE.fullmatch(name)
    return int(match[1]) if match else None


def _range(match: re.Match[str] | None) -> tuple[int, int] | None:
    if match is None or int(match[1]) >= int(match[2]):
        return None
    return int(match[1]), int(match[2])
