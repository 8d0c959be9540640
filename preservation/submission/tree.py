"""A folder (or a single file) on disk as a stream of entries in byte order: scanned, walked and read with distrust."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from preservation.submission.entries import EmptyFolder, Entry, Quotas, Remarks, SubmittedFile
from preservation.submission.errors import (
    HardLinkError,
    NameTooLongError,
    StagingInsideError,
    SubmissionChangedError,
    SubmissionRefusedError,
    TooDeepError,
    shown,
)
from preservation.submission.folders import FOLDER_FLAGS, Descriptor, Folder, OpenFolders, refusal, special
from preservation.submission.names import REMARKS, check_name, folded, is_plain
from storage_backends.errors import Phrase, marked

# O_NONBLOCK: a FIFO that takes a file's place must not stop us; for regular files it has no effect.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

ANNOUNCED = 1 << 20
"""Bytes of an announced file that the kernel is asked to fetch (1 MiB)."""

_FORMAT = 0o170000
_REGULAR = stat.S_IFREG
_SLASH = 0x2F

Listing = Callable[[Folder, bytes], list[bytes]]


class Tree:
    """Everything below one folder, or, with ``only``, one file in it.

    ``scan`` comes first: it refuses what must not be taken and counts; memory is bounded by the largest folder's names.
    """

    def __init__(self, root: str | bytes, *, quotas: Quotas, remarks: Remarks, only: bytes | None = None) -> None:
        try:
            descriptor = Descriptor(os.open(root, FOLDER_FLAGS if only is None else FOLDER_FLAGS & ~os.O_NOFOLLOW))
        except OSError as error:
            raise refusal(os.fsencode(root), error) from error
        self._folders = OpenFolders(Folder(None, b"", descriptor))
        self._quotas = quotas
        self._only = only
        self._flags = _FILE_FLAGS | os.O_NOATIME
        self._links: dict[tuple[int, int], list[int]] = {}
        self._link_paths: dict[tuple[int, int], bytes] = {}
        self._avoid: tuple[int, int] | None = None
        self._remarks = remarks
        self.files = 0
        self.folders = 0
        self.size = 0
        self._seal: int | None = None
        self._announced: dict[bytes, int] = {}

    def scan(self, *, avoid: tuple[int, int] | None = None) -> None:
        """Look at everything once, reading no content; ``avoid`` is the (device, inode) of the staging folder."""
        self._avoid = avoid
        for _ in self._walk(self._scan_folder):
            pass
        for identity, (links, found) in self._links.items():
            raise HardLinkError(path=shown(self._link_paths[identity]), links=links, found=found)

    def entries(self) -> Iterator[Entry]:
        """Yield files and empty folders in byte order of their paths.

        Raises:
            SubmissionChangedError: At the end, if the scan saw another number of files or bytes, or an earlier pass saw
                any file otherwise: so what is read in one pass is what was verified in another.
        """
        files = size = seal = 0
        stat_of = os.stat
        for folder, prefix, name in self._walk(self._list_folder):
            if not name:
                if prefix:
                    yield EmptyFolder(prefix)
                continue
            descriptor = folder.descriptor or self._folders.descriptor(folder)
            try:
                seen = stat_of(name, dir_fd=descriptor.fd, follow_symlinks=False)
            except OSError as error:
                raise refusal(prefix + name, error) from error
            if seen.st_mode & _FORMAT != _REGULAR:
                raise special(prefix + name, seen.st_mode)
            files += 1
            size += seen.st_size
            path, stamp = prefix + name, (seen.st_dev, seen.st_ino, seen.st_ctime_ns)
            seal = hash((seal, path, stamp, seen.st_mtime_ns))
            yield SubmittedFile(path, seen.st_size, seen.st_mtime_ns, stamp, folder)
        if (files, size) != (self.files, self.size):
            reason = Phrase(
                "{files} files of {size} bytes became {files_now} of {size_now}",
                files=self.files,
                size=self.size,
                files_now=files,
                size_now=size,
            )
            raise SubmissionChangedError(path=Phrase("the submission"), reason=reason)
        if self._seal not in {None, seal}:
            raise SubmissionChangedError(
                path=Phrase("the submission"), reason="names or times are not those of an earlier pass"
            )
        self._seal = seal

    def find(self, path: bytes) -> SubmittedFile | None:
        """Return the regular file at ``path``, or None if there is none."""
        *names, last = path.split(b"/")
        folder = self._folders.root
        try:
            for name in names:
                folder = self._folders.enter(folder, name)
            here = self._folders.descriptor(folder)
            seen = os.stat(last, dir_fd=here.fd, follow_symlinks=False)
        except (SubmissionRefusedError, OSError):
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        return SubmittedFile(path, seen.st_size, seen.st_mtime_ns, (seen.st_dev, seen.st_ino, seen.st_ctime_ns), folder)

    def root_names(self) -> list[bytes]:
        """Return the names in the root in byte order, folders with a slash at their end."""
        return self._list_folder(self._folders.root, b"")

    def announce(self, file: SubmittedFile) -> None:
        """Open a file that is soon to be read and have the kernel fetch its beginning; a failure shows at reading."""
        descriptor = file.folder.descriptor or self._folders.descriptor(file.folder)
        with suppress(OSError):
            fd = os.open(file.path[file.path.rfind(b"/") + 1 :], self._flags, dir_fd=descriptor.fd)
            self._announced[file.path] = fd
            os.posix_fadvise(fd, 0, min(file.size, ANNOUNCED), os.POSIX_FADV_WILLNEED)

    def _opened(self, file: SubmittedFile) -> int:
        """Return a descriptor of the file, announced or new; whoever gets it checks it and closes it."""
        fd = self._announced.pop(file.path, -1)
        if fd >= 0:
            return fd
        descriptor = file.folder.descriptor or self._folders.descriptor(file.folder)
        try:
            return os.open(file.path[file.path.rfind(b"/") + 1 :], self._flags, dir_fd=descriptor.fd)
        except OSError as error:
            return self._open_again(file, descriptor, error)

    def read_small(self, file: SubmittedFile, limit: int) -> bytes:
        """Return a whole file of at most ``limit`` bytes: one open, fstat, read, fstat, close."""
        size = file.size
        if size > limit:
            message = f"{size} bytes are not small: {limit} is the limit"
            raise ValueError(message)
        path, fd = file.path, self._opened(file)
        try:
            self.changed(file, fd)
            data = os.read(fd, size + 1)
            while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
            self.changed(file, fd)
        except OSError as error:
            raise refusal(path, error) from error
        finally:
            os.close(fd)
        if len(data) != size:
            raise SubmissionChangedError(
                path=shown(path), reason=Phrase("{size} bytes became {size_now}", size=size, size_now=len(data))
            )
        return data

    def open(self, file: SubmittedFile) -> io.FileIO:
        """Open a file, unbuffered; it is the inode that was scanned, unchanged."""
        fd = self._opened(file)
        try:
            self.changed(file, fd)
        except BaseException:
            os.close(fd)
            raise
        return io.FileIO(fd, "rb")

    def changed(self, file: SubmittedFile, fd: int) -> None:
        """Raise ``SubmissionChangedError`` unless the open file is the one that was scanned, unchanged."""
        now = os.fstat(fd)
        if (
            now.st_size != file.size
            or now.st_mtime_ns != file.mtime_ns
            or (now.st_dev, now.st_ino, now.st_ctime_ns) != file.stamp
        ):
            if now.st_mode & _FORMAT != _REGULAR:
                raise special(file.path, now.st_mode)
            same = now.st_ino == file.stamp[1] and now.st_dev == file.stamp[0]
            reason = marked("its size or times differ") if same else marked("another file is in its place")
            raise SubmissionChangedError(path=shown(file.path), reason=reason)

    def close(self) -> None:
        """Give up all descriptors."""
        while self._announced:
            os.close(self._announced.popitem()[1])
        self._folders.close()

    def _open_again(self, file: SubmittedFile, descriptor: Descriptor, error: OSError) -> int:
        # Only the owner may open with O_NOATIME (open(2)); once refused it is not asked for again.
        if isinstance(error, PermissionError) and self._flags & os.O_NOATIME:
            self._flags &= ~os.O_NOATIME
            try:
                return os.open(file.path.rpartition(b"/")[2], self._flags, dir_fd=descriptor.fd)
            except OSError as second:
                error = second
        raise refusal(file.path, error) from error

    def _walk(self, listing: Listing) -> Iterator[tuple[Folder, bytes, bytes]]:
        """Yield (folder, its path with a slash, name) for each listed file, and an empty name for an empty listing."""
        folder, prefix = self._folders.root, b""
        names = listing(folder, prefix)
        names.reverse()
        if not names:
            yield folder, prefix, b""
        above: list[tuple[Folder, list[bytes], int]] = []
        while names or above:
            if not names:
                child = folder
                folder, names, length = above.pop()
                prefix = prefix[:length]
                self._folders.back(folder, child)
                continue
            name = names.pop()
            if name[-1] != _SLASH:
                yield folder, prefix, name
                continue
            above.append((folder, names, len(prefix)))
            prefix += name
            folder = self._enter(folder, name[:-1], prefix)
            names = listing(folder, prefix)
            names.reverse()
            if not names:
                yield folder, prefix, b""

    def _enter(self, parent: Folder, name: bytes, path: bytes) -> Folder:
        if parent.depth >= self._quotas.depth:
            raise TooDeepError(path=shown(path[:1_000]), limit=self._quotas.depth)
        if len(path) > self._quotas.path:
            raise NameTooLongError(path=shown(path[:1_000]), size=len(path), limit=self._quotas.path)
        return self._folders.enter(parent, name)

    def _list_folder(self, folder: Folder, prefix: bytes) -> list[bytes]:
        if self._only is not None:
            return [self._only]
        here = self._folders.descriptor(folder)
        try:
            with os.scandir(here.fd) as found:
                names = [
                    os.fsencode(entry.name) + b"/" if entry.is_dir(follow_symlinks=False) else os.fsencode(entry.name)
                    for entry in found
                ]
        except OSError as error:
            raise refusal(prefix, error) from error
        names.sort()
        return names

    def _scan_folder(self, folder: Folder, prefix: bytes) -> list[bytes]:
        """Check every name and every file of a folder; return its folders in byte order."""
        if folder.identity == self._avoid:
            raise StagingInsideError(path=shown(prefix))
        below: list[bytes] = []
        looks: list[str] = []
        here = self._folders.descriptor(folder)
        self.folders += 1
        try:
            if self._only is not None:
                self._scan_file(self._only, os.stat(self._only, dir_fd=here.fd, follow_symlinks=False))
                self._remark(self._only, self._only)
                return below
            with os.scandir(here.fd) as found:
                for entry in found:
                    text = entry.name
                    name = os.fsencode(text)
                    if is_plain(text):
                        looks.append(text.lower())
                    else:
                        looks.append(self._remark(name, prefix + name))
                    if entry.is_dir(follow_symlinks=False):
                        below.append(name + b"/")
                    else:
                        self._scan_file(prefix + name, entry.stat(follow_symlinks=False))
        except OSError as error:
            raise refusal(prefix, error) from error
        self._remark_twins(looks, prefix)
        below.sort()
        return below

    def _scan_file(self, path: bytes, seen: os.stat_result) -> None:
        if seen.st_mode & _FORMAT != _REGULAR:
            raise special(path, seen.st_mode)
        self.files += 1
        self.size += seen.st_size
        if seen.st_nlink > 1:
            identity = seen.st_dev, seen.st_ino
            count = self._links.setdefault(identity, [seen.st_nlink, 0])
            self._link_paths.setdefault(identity, path)
            count[1] += 1
            if count[1] >= count[0]:
                del self._links[identity], self._link_paths[identity]

    def _remark(self, name: bytes, path: bytes) -> str:
        code = check_name(name, path)
        if code:
            self._remarks.add(code, path, REMARKS[code])
        return os.fsdecode(folded(name))

    def _remark_twins(self, looks: list[str], prefix: bytes) -> None:
        if len(set(looks)) == len(looks):
            return
        seen: set[str] = set()
        for look in looks:
            if look in seen:
                self._remarks.add("twins", prefix + os.fsencode(look), REMARKS["twins"])
            seen.add(look)
