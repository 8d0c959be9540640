"""A store in a folder of a disk: durable, never overwritten, and sure that the folder is still the store.

Every operation opens the root anew and finds our marker in it before it does anything else, and then works relative to
that very descriptor: an empty mount point, or another disk on the same mount point, can never pass for the store.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.backend import Item, Reader, Source, Space, StorageProfile, Whereabouts, checked_key, exactly
from storage_backends.disk_draft import DiskDraft
from storage_backends.disk_errors import read_failure, reading, writing
from storage_backends.disk_folders import descend, open_item, segments, stat_item, tidy, walk
from storage_backends.disk_mounts import whereabouts_of
from storage_backends.disk_reading import reader_of
from storage_backends.disk_root import Root, clear_draft, initialise, item_of, stored_id
from storage_backends.errors import KeyExistsError, KeyMissingError

__all__ = ["RESERVE", "DiskBackend", "initialise", "stored_id"]

RESERVE = 64 << 20
"""Bytes kept free (64 MiB), so that the ledger can still say that the disk is full."""

MAY_USE_RESERVE = "ledger/"
"""Keys with this prefix may fill the reserve: that is what it is for."""


class DiskBackend:
    """Bytes under keys in the folder ``root``. Safe for threads; a draft belongs to one thread at a time."""

    def __init__(self, root: str, *, store_id: str, profile: StorageProfile, reserve: int = RESERVE) -> None:
        self.place = root
        self.profile = profile
        self._root = Root(root, store_id)
        self._reserve = reserve

    def write(self, key: str, size: int, source: Source) -> Item:
        """Store exactly ``size`` bytes of ``source`` durably under a new ``key``."""
        assert size >= 0
        checked_key(key)
        reserve = 0 if key.startswith(MAY_USE_RESERVE) else self._reserve
        with self._root.opened() as root:
            with suppress(OSError):
                stat_item(root, key)
                raise KeyExistsError(place=self.place, key=key)
            self._root.check_room(root, size, reserve)
        draft = DiskDraft(self._root, reserve=reserve)
        try:
            for data in exactly(source, size, place=self.place, key=key):
                draft.write(data)
            return draft.commit(key)
        finally:
            draft.abort()

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Open ``length`` bytes from ``offset``; ``fresh`` reads from the disk itself where that can be had."""
        with self._looking_for(key) as root:
            file = open_item(root, key)
            return reader_of(file, key, place=self.place, offset=offset, length=length, fresh=fresh)

    def stat(self, key: str) -> Item:
        """Return the item without reading it."""
        with self._looking_for(key) as root:
            return item_of(key, stat_item(root, key))

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Yield the regular files below ``prefix`` in key order; never drafts, links or the marker."""
        names = segments(checked_key(prefix)) if prefix else []
        with self._root.opened() as root, reading(self.place, prefix or "."):
            try:
                folder = descend(root, names)
            except FileNotFoundError:
                return
            try:
                for key, status in walk(folder, prefix, at_root=not prefix):
                    yield item_of(key, status)
            finally:
                os.close(folder)

    def delete(self, key: str) -> None:
        """Remove the item durably, and the folders that it leaves empty."""
        *names, name = segments(checked_key(key))
        with self._root.opened() as root, writing(self.place), self._root.locked(root):
            try:
                folder = descend(root, names)
            except FileNotFoundError:
                raise KeyMissingError(place=self.place, key=key) from None
            try:
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
            except (FileNotFoundError, IsADirectoryError):
                raise KeyMissingError(place=self.place, key=key) from None
            finally:
                os.close(folder)
            tidy(root, names)

    def replace(self, key: str, expected: Item, size: int, source: Source) -> Item:
        """As ``write``, but only over exactly the generation ``expected``; else ``GenerationChangedError``.

        If the very last step, making the new name durable, fails, either generation may be found; each is whole.
        """
        assert size >= 0
        checked_key(key)
        with self._root.opened() as root:
            self._root.check_generation(root, key, expected)
            self._root.check_room(root, size, self._reserve)
        draft = DiskDraft(self._root, reserve=self._reserve)
        try:
            for data in exactly(source, size, place=self.place, key=key):
                draft.write(data)
            return draft.put_over(key, expected)
        finally:
            draft.abort()

    def create(self) -> DiskDraft:
        """Begin an item without a name."""
        return DiskDraft(self._root, reserve=self._reserve)

    def clear_drafts(self) -> int:
        """Remove drafts that a crash left behind; return how many. A living writer holds a lock on each of its own."""
        cleared = 0
        with self._root.opened() as root, writing(self.place):
            drafts = self._root.drafts(root)
            try:
                for name in sorted(map(os.fsencode, os.listdir(drafts))):
                    cleared += clear_draft(drafts, name)
                os.fsync(drafts)
            finally:
                os.close(drafts)
        return cleared

    def space(self) -> Space:
        """Return the bytes that may still be written, the reserve taken off, and the bytes in all."""
        with self._root.opened() as root, writing(self.place):
            status = os.fstatvfs(root)
        free = status.f_bavail * status.f_frsize - self._reserve
        return Space(max(free, 0), status.f_blocks * status.f_frsize)

    def whereabouts(self) -> Whereabouts:
        """Return on which file system and disks this store lies."""
        with self._root.opened() as root, writing(self.place):
            return whereabouts_of(root)

    def close(self) -> None:
        """Nothing is held between operations."""

    @contextmanager
    def _looking_for(self, key: str) -> Iterator[int]:
        checked_key(key)
        with self._root.opened() as root:
            try:
                yield root
            except FileNotFoundError as error:
                raise KeyMissingError(place=self.place, key=key) from error
            except OSError as error:
                raise read_failure(error, self.place, key) from error
