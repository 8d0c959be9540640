"""A store that misbehaves exactly as a plan says; with an empty plan it is as good as what it wraps."""

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from storage_backends.backend import Item
from storage_backends.errors import KeyMissingError, ReadFailureError, StoreFullError, StoreRefusesError
from storage_backends.wrapping import Wrapping, WrappingDraft, WrappingReader


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Kinds: ``flip`` (the byte at ``at`` comes back changed), ``truncate`` (``at`` bytes are left), ``vanish``, ``swap``
    (the bytes of ``other`` come back), ``unreadable`` (reading beyond ``at`` fails), ``refuse`` and ``full`` (the
    operation ``does`` fails), ``hang`` (the operation waits until ``FaultyBackend.released`` is set).
    """

    kind: str
    key: str = "*"
    at: int = 0
    other: str = ""
    does: str = "write"
    """For ``refuse``, ``full`` and ``hang``: write, read, replace, delete, create or commit."""
    nth: int = 0
    """Only the nth time that it could happen, counted from 1; 0 is every time (``vanish``, ``truncate``: always)."""
    mask: int = 0x01
    """For ``flip``: the bits that change."""


class FaultyBackend(Wrapping):
    """Passes on to ``inner`` but for the faults of ``plan``; new bytes under a key (``healed``) are sound."""

    def __init__(self, inner, plan=()):
        super().__init__(inner)
        self.plan = tuple(plan)
        self.counts = Counter()
        self.healed = set()
        self.released = threading.Event()
        assert all(fault.mask for fault in self.plan), "a flip changes something"

    def faults(self, key, *kinds):
        return [fault for fault in self.plan if fault.kind in kinds and self._concerns(fault, key)]

    def happening(self, faults):
        """Yield the faults whose turn it is, and count."""
        for fault in faults:
            self.counts[fault] += 1
            if fault.nth in {0, self.counts[fault]}:
                yield fault

    def stop(self, key, operation):
        plan = [fault for fault in self.faults(key, "refuse", "full", "hang") if fault.does == operation]
        for fault in self.happening(plan):
            if fault.kind == "hang":
                self.released.wait()
            elif operation == "read":
                raise ReadFailureError(place=self.place, key=key, reason="planned")
            elif fault.kind == "full":
                raise StoreFullError(place=self.place, needed=1, free=0, reserve=0)
            else:
                raise StoreRefusesError(place=self.place, reason="planned")

    def write(self, key, size, source):
        self.stop(key, "write")
        if self.faults(key, "vanish"):
            with suppress(KeyMissingError):
                self.inner.delete(key)
            self.healed.add(key)
        return super().write(key, size, source)

    def read(self, key, *, offset=0, length=None, fresh=False):
        item = self.stat(key)
        self.stop(key, "read")
        for fault in self.happening(self.faults(key, "swap")):
            return self.inner.read(fault.other, offset=offset, length=length, fresh=fresh)
        end = item.size if length is None else min(item.size, offset + length)
        reader = super().read(key, offset=offset, length=max(end - offset, 0), fresh=fresh)
        flips = {fault.at: fault.mask for fault in self.happening(self.faults(key, "flip"))}
        stops = [fault.at for fault in self.happening(self.faults(key, "unreadable"))]
        return _FaultyReader(reader, offset, flips, min(stops, default=None), (self.place, key))

    def stat(self, key):
        found = super().stat(key)
        if self.faults(key, "vanish"):
            raise KeyMissingError(place=self.place, key=key)
        return self._cut(found)

    def items(self, prefix=""):
        for item in super().items(prefix):
            if not self.faults(item.key, "vanish"):
                yield self._cut(item)

    def delete(self, key):
        self.stop(key, "delete")
        super().delete(key)
        self.healed.add(key)

    def _concerns(self, fault, key):
        return key not in self.healed and fnmatchcase(key, fault.key)

    def _cut(self, item):
        cuts = [fault.at for fault in self.faults(item.key, "truncate")]
        return Item(item.key, min([item.size, *cuts]), item.generation)

    def _create(self):
        self.stop("", "create")
        return super()._create()

    def _draft(self, draft):
        return _FaultyDraft(draft, self)

    def _replace(self, key, expected, size, source):
        self.stop(key, "replace")
        with suppress(KeyMissingError):
            found = self.inner.stat(key)
            expected = found if self._cut(found) == expected else expected
        item = super()._replace(key, expected, size, source)
        self.healed.add(key)
        return item


class _FaultyReader(WrappingReader):
    def __init__(self, inner, at, flips, stop, where):
        super().__init__(inner)
        self.at, self.flips, self.stop, self.where = at, flips, stop, where

    def read(self, size=-1, /):
        data = bytearray(self.inner.read(size))
        self._harm(memoryview(data))
        return bytes(data)

    def readinto(self, buffer, /):
        count = self.inner.readinto(buffer)
        self._harm(buffer[:count])
        return count

    def _harm(self, view):
        end = self.at + len(view)
        if self.stop is not None and end > self.stop:
            raise ReadFailureError(place=self.where[0], key=self.where[1], reason="planned")
        for at, mask in self.flips.items():
            if self.at <= at < end:
                view[at - self.at] ^= mask
        self.at = end


class _FaultyDraft(WrappingDraft):
    def __init__(self, inner, backend):
        super().__init__(inner)
        self.backend = backend

    def commit(self, key):
        self.backend.stop(key, "commit")
        return super().commit(key)
