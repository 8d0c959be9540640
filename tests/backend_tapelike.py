"""A store that behaves like tape: append only, whole items, recalled before they can be read, never deleted."""

import os
import shutil
import tempfile
import threading

from storage_backends.backend import Item, Reach, checked_key, exactly
from storage_backends.errors import (
    KeyExistsError,
    KeyMissingError,
    NotRecalledError,
    StoreRefusesError,
    StoreUnavailableError,
)
from storage_backends.memory import MemoryReader


class TapelikeBackend:
    """The cartridge is a file; the table of contents is in memory, as a library keeps it."""

    def __init__(self, path, *, profile):
        self.place, self.profile, self.path = f"tape {path}", profile, path
        self.contents = {}
        self.recalled = set()
        self.loaded = True
        self.drive = threading.Lock()
        with open(path, "xb"):
            pass

    def write(self, key, size, source):
        checked_key(key)
        self._load()
        if key in self.contents:
            raise KeyExistsError(place=self.place, key=key)
        with tempfile.TemporaryFile() as spool:
            spool.writelines(exactly(source, size, place=self.place, key=key))
            spool.seek(0)
            # What a failed write leaves on the tape is not in the table of contents: wasted, but nobody's item.
            with self.drive, open(self.path, "ab") as tape:
                start = tape.tell()
                shutil.copyfileobj(spool, tape, 1 << 20)
                tape.flush()
                os.fsync(tape.fileno())
                if key in self.contents:
                    raise KeyExistsError(place=self.place, key=key)
                self.contents[key] = (start, size)
        return self.stat(key)

    def read(self, key, *, offset=0, length=None, fresh=False):
        item = self.stat(key)
        if key not in self.recalled:
            raise NotRecalledError(place=self.place, key=key)
        tape = open(self.path, "rb")  # noqa: SIM115 - the reader closes it
        start, _ = self.contents[key]
        end = item.size if length is None else min(item.size, offset + length)
        tape.seek(start + min(offset, end))
        return TapeReader(tape, max(end - offset, 0))

    def stat(self, key):
        checked_key(key)
        self._load()
        if key not in self.contents:
            raise KeyMissingError(place=self.place, key=key)
        start, size = self.contents[key]
        return Item(key, size, str(start))

    def items(self, prefix=""):
        below = f"{checked_key(prefix)}/" if prefix else ""
        self._load()
        for key in sorted(self.contents, key=str.encode):
            if key.startswith(below):
                yield self.stat(key)

    def delete(self, key):
        raise StoreRefusesError(place=self.place, reason="a tape cannot delete")

    def recall(self, keys):
        for key in keys:
            self.stat(key)
        self.recalled.update(keys)

    def close(self):
        self.loaded = False

    def _load(self):
        if not self.loaded:
            raise StoreUnavailableError(place=self.place, reason="the cartridge is not in the library")


class TapeReader(MemoryReader):
    """Reads on from where the tape stands."""

    def __init__(self, tape, left):
        self.reach, self._file, self.left = Reach.MEDIUM, tape, left

    def read(self, size=-1, /):
        data = self._file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(data)
        return data

    def readinto(self, buffer, /):
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
