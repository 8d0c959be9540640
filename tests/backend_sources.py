"""Keys good and bad, sources well behaved and hostile, and what memory an action takes; for the storage contract."""

import io
import os

from storage_backends.backend import DRAFTS, MARKER_KEY, StorageProfile

PROFILE = StorageProfile(medium="memory", site="here")

MIB = 1 << 20

LONG_KEY = "/".join(["k" * 249] * 3 + ["k" * 250])

GOOD_KEYS = [
    "a",
    "packs/f1/ab/abcdef.tar",
    "hồ sơ/công văn số 1.pdf",
    "e\u0301 and \u00e9/e\u0301",
    "e\u0301 and \u00e9/\u00e9",
    "case/Twin",
    "case/twin",
    "Case/twin",
    ".hidden",
    "...",
    "a..b/..c/d..",
    "-rf",
    "100%2F/%00",
    "back\\slash:colon*star?",
    " space at both ends ",
    "名" * 85,
    "\U0001f4dc/scroll",
    LONG_KEY,
]

BAD_KEYS = [
    "",
    "/",
    "/absolute",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "nul\0",
    "line\nend",
    "bell\x07",
    "del\x7f",
    "lone \udc80 surrogate",
    "x" * 256,
    "ộ" * 86,
    LONG_KEY + "k",
    MARKER_KEY,
    f"{MARKER_KEY}/below",
    DRAFTS,
    f"{DRAFTS}/x",
]


class SourceBrokeError(Exception):
    """The source's own failure, which no backend knows."""


class Scripted:
    """Gives ``data`` in pieces of at most ``step`` bytes; calls ``during`` before each read with its number."""

    def __init__(self, data, *, step=64 << 10, during=None):
        self.file, self.step, self.during = io.BytesIO(data), step, during or (lambda _number: None)
        self.reads, self.longest, self.closed, self.after_end, self.ended = 0, 0, False, 0, False

    def read(self, size=-1, /):
        self.reads += 1
        self.during(self.reads)
        self.after_end += self.ended
        self.longest = max(self.longest, size) if size >= 0 else 1 << 62
        data = self.file.read(min(size, self.step) if size >= 0 else self.step)
        self.ended = not data
        return data

    def close(self):
        self.closed = True


class Endless:
    """Never ends; fails the test if somebody goes on reading for ever."""

    def __init__(self, limit):
        self.left = limit

    def read(self, size=-1, /):
        assert size > 0
        self.left -= size
        assert self.left > 0, "the backend reads an endless source on and on"
        return b"e" * size


class Patterned:
    """``size`` bytes of a repeated random block, made without holding them."""

    BLOCK = os.urandom(1 << 16)

    def __init__(self, size):
        self.left, self.at = size, 0

    def read(self, size=-1, /):
        assert size >= 0
        count = min(size, self.left, len(self.BLOCK) - self.at % len(self.BLOCK))
        start = self.at % len(self.BLOCK)
        self.left, self.at = self.left - count, self.at + count
        return self.BLOCK[start : start + count]


def breaking_at(number, error):
    def during(read):
        if read == number:
            raise error

    return during


def peak_growth(action):
    """Return by how many bytes the resident memory rose at its highest while ``action`` ran (proc(5))."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = _status("VmRSS")
    action()
    return _status("VmHWM") - before


def _status(field):
    with open("/proc/self/status") as rows:
        return next(int(row.split()[1]) << 10 for row in rows if row.startswith(f"{field}:"))
