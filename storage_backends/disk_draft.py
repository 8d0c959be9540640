"""A draft on a disk: a locked file without a name of its own, until it is committed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.backend import Item, Reader, checked_key
from storage_backends.disk_errors import reading, writing
from storage_backends.disk_folders import FILE, close_all, make_way, publish, segments, sync_all
from storage_backends.disk_reading import reader_of
from storage_backends.disk_root import Root, item_of
from storage_backends.disk_writing import Appending
from storage_backends.errors import BadKeyError, KeyExistsError, StorageError


class DiskDraft:
    """A file in the drafts' folder, locked for as long as its writer lives."""

    def __init__(self, root: Root, *, reserve: int) -> None:
        self._root = root
        with root.opened() as folder, writing(root.place):
            self._drafts = drafts = root.drafts(folder)
            try:
                self._name, self._file = root.new_draft(drafts)
            except BaseException:
                os.close(drafts)
                raise
        self._appending = Appending(self._file, check_room=lambda size: root.check_room(drafts, size, reserve))
        self._open = True
        self._sound = True

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append ``data``; an error of an earlier piece may surface here."""
        with self._stopping():
            self._appending.append(data)

    def read_back(self) -> Reader:
        """Make all that was written durable, then read it from the disk."""
        with self._stopping():
            self._appending.sync()
        name = os.fsdecode(self._name)
        with reading(self._root.place, name):
            file = os.open(self._name, FILE, dir_fd=self._drafts)
            return reader_of(file, name, place=self._root.place, fresh=True)

    def commit(self, key: str) -> Item:
        """Give the draft its name, durably. ``KeyExistsError`` leaves both the existing item and the draft."""
        checked_key(key)
        place = self._root.place
        with self._stopping():
            self._appending.sync()
        with self._root.opened() as root, writing(place):
            try:
                publish((self._drafts, self._name), root, key)
            except FileExistsError:
                raise KeyExistsError(place=place, key=key) from None
            except (NotADirectoryError, IsADirectoryError) as error:
                raise BadKeyError(key=key, reason="in this store it or a part of it is a folder or not one") from error
            except OSError:
                self._sound = False
                raise
        return self._finished(key)

    def put_over(self, key: str, expected: Item) -> Item:
        """Give the draft the name of ``expected``, durably, if that is still there."""
        *names, name = segments(key)
        with self._stopping():
            self._appending.sync()
        with self._root.opened() as root, writing(self._root.place), self._root.locked(root):
            self._root.check_generation(root, key, expected)
            way = make_way(root, names)
            try:
                os.rename(self._name, name, src_dir_fd=self._drafts, dst_dir_fd=way[-1])
                sync_all(way)
            finally:
                close_all(way)
        return self._finished(key)

    def abort(self) -> None:
        """Forget the draft; harmless after ``commit`` or a second time."""
        if self._open:
            self._open = False
            self._appending.stop()
            # After a commit this is only the second name; before, the item is nobody's.
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._drafts)
            os.close(self._file)
            os.close(self._drafts)

    def _finished(self, key: str) -> Item:
        item = item_of(key, os.fstat(self._file))
        self.abort()
        return item

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop for good after an error: nobody knows what the file holds then, and a second fsync would lie."""
        place = self._root.place
        if not (self._open and self._sound):
            raise StorageError(place=place, reason="this draft has ended or failed before")
        self._sound = False
        with writing(place, needed=self._appending.size):
            yield
        self._sound = True
