"""Writing the members of an archive into staging, one by one, contained and within quotas.

Each folder is made and opened by its name in the descriptor of the folder above, links are never followed and never
made, files are created exclusively: whatever a member is called, nothing outside the one folder can be touched.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from preservation.submission.entries import Quotas, Remarks
from preservation.submission.errors import (
    ArchiveConflictError,
    QuotaError,
    StagingError,
    SubmissionRefusedError,
    TooDeepError,
    shown,
)
from preservation.submission.folders import FOLDER_FLAGS
from preservation.submission.names import checked_path
from storage_backends.errors import Phrase

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NS = 1_000_000_000
_OLDEST, _NEWEST = -(1 << 31) * _NS, (1 << 33) * _NS
"""Modification times that every usual file system keeps: 1901 to 2242."""


class Unpacking:
    """One archive on its way into a new folder ``root``; ``archived`` is the archive's size in bytes."""

    def __init__(self, root: str, *, archived: int, quotas: Quotas, remarks: Remarks) -> None:
        self._place = root
        self._archived = archived
        self._quotas = quotas
        self._remarks = remarks
        self._members = 0
        self._unpacked = 0
        try:
            os.mkdir(root, 0o700)
            self._way: list[tuple[bytes, int]] = [(b"", os.open(root, FOLDER_FLAGS))]
        except OSError as error:
            raise StagingError(path=root, reason=error.strerror) from error

    def expect(self, members: int) -> None:
        """Refuse an archive that announces more members than the quota."""
        if members > self._quotas.members:
            raise QuotaError(
                path=Phrase("the archive"),
                reason=Phrase("it has more than {limit} members", limit=self._quotas.members),
            )

    def folder(self, raw: bytes) -> None:
        """Make a folder; one that is there already is left as it is."""
        path = checked_path(raw, longest=self._quotas.path)
        self._count()
        self._enter(path, path.split(b"/"))

    def file(
        self, raw: bytes, mtime_ns: int, pieces: Iterable[bytes], *, size: int, archived: int | None = None
    ) -> None:
        """Write a file of ``size`` bytes; ``archived`` is what it takes in the archive, if it is compressed alone.

        Raises:
            SubmissionRefusedError: The path leads elsewhere, is there already, or a quota is exceeded; and whatever
                ``pieces`` raises.
        """
        path = checked_path(raw, longest=self._quotas.path)
        self._count()
        self._within(path, size, self._unpacked + size, archived)
        *above, name = path.split(b"/")
        folder = self._enter(path, above)
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
        except FileExistsError as error:
            raise ArchiveConflictError(path=shown(path), reason="two members have this path") from error
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._write(fd, path, pieces, size)
            os.utime(fd, ns=(0, self._time(path, mtime_ns)))
        except OSError as error:
            raise self._failure(error) from error
        finally:
            os.close(fd)

    def metered(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the decompressed bytes of a whole archive while they are within the quotas.

        Headers and padding, which no member's size counts, compress better than content: they may have four times the
        ratio.
        """
        total = 0
        for piece in pieces:
            total += len(piece)
            self._within(b"the archive", 0, total // 4, None)
            yield piece

    def close(self) -> None:
        """Give back descriptors; what was written stays."""
        while self._way:
            os.close(self._way.pop()[1])

    def _count(self) -> None:
        self._members += 1
        self.expect(self._members)

    def _within(self, path: bytes, size: int, total: int, archived: int | None) -> None:
        quotas = self._quotas
        if total > quotas.unpacked:
            raise QuotaError(
                path=shown(path), reason=Phrase("the archive unpacks to more than {limit} bytes", limit=quotas.unpacked)
            )
        for unpacked, packed in ((total, self._archived), (size, archived)):
            if packed is not None and unpacked > quotas.ratio_floor and unpacked > quotas.ratio * packed:
                reason = Phrase(
                    "{packed} archived bytes unpack to {unpacked}, more than {ratio} for one",
                    packed=packed,
                    unpacked=unpacked,
                    ratio=quotas.ratio,
                )
                raise QuotaError(path=shown(path), reason=reason)

    def _write(self, fd: int, path: bytes, pieces: Iterable[bytes], size: int) -> None:
        written = 0
        for piece in pieces:
            written += len(piece)
            if written > size:
                raise ArchiveConflictError(
                    path=shown(path), reason=Phrase("it has more than the {expected} bytes announced", expected=size)
                )
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        if written != size:
            raise ArchiveConflictError(
                path=shown(path),
                reason=Phrase("it has {found} bytes instead of {expected}", found=written, expected=size),
            )
        self._unpacked += size

    def _time(self, path: bytes, mtime_ns: int) -> int:
        if _OLDEST <= mtime_ns < _NEWEST:
            return mtime_ns
        self._remarks.add(
            "time", path, Phrase("the modification time is beyond what file systems keep; 1970 is kept instead")
        )
        return 0

    def _enter(self, path: bytes, names: list[bytes]) -> int:
        """Return the descriptor of the folder ``names``, made where it is not there; keep only the way to it open."""
        if len(names) > self._quotas.archive_depth:
            raise TooDeepError(path=shown(path[:1_000]), limit=self._quotas.archive_depth)
        shared = 0
        while shared < min(len(names), len(self._way) - 1) and self._way[shared + 1][0] == names[shared]:
            shared += 1
        while len(self._way) > shared + 1:
            os.close(self._way.pop()[1])
        for name in names[shared:]:
            above = self._way[-1][1]
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=above)
                fd = os.open(name, FOLDER_FLAGS, dir_fd=above)
            except NotADirectoryError as error:
                raise ArchiveConflictError(path=shown(path), reason="a file and a folder have the same path") from error
            except OSError as error:
                raise self._failure(error) from error
            self._way.append((name, fd))
        return self._way[-1][1]

    def _failure(self, error: OSError) -> SubmissionRefusedError:
        return StagingError(path=self._place, reason=error.strerror or str(error))


def remove_tree(path: str, trash: str) -> None:
    """Remove the folder ``path``, however deep: its folders are moved up into ``trash``, on the same file system."""
    with suppress(FileExistsError):
        os.mkdir(trash, 0o700)
    waiting = [name for name in os.listdir(trash) if name.isdigit()]
    number = max(map(int, waiting), default=0)
    with suppress(FileNotFoundError):
        os.rename(path, f"{trash}/{number + 1}")
        number += 1
        waiting.append(str(number))
    top = os.open(trash, FOLDER_FLAGS)
    try:
        while waiting:
            here = waiting.pop()
            fd = os.open(here, FOLDER_FLAGS, dir_fd=top)
            try:
                with os.scandir(fd) as found:
                    names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
                for name, is_folder in names:
                    if is_folder:
                        number += 1
                        os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=top)
                        waiting.append(str(number))
                    else:
                        os.unlink(name, dir_fd=fd)
            finally:
                os.close(fd)
            os.rmdir(here, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(trash)
