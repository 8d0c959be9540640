"""Opening a submission, whatever it is: scanned as a whole and refused, or ready to be read."""

import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress

from preservation.submission.archives import archive_kind, unpack
from preservation.submission.bag_files import check_files
from preservation.submission.bags import PAYLOAD, check_fetch, check_oxum, is_bag, read_bag
from preservation.submission.checksums import Listed, read_checksums
from preservation.submission.entries import Quotas, Remark, Remarks, Submission, SubmittedFile, SuppliedDigest
from preservation.submission.errors import (
    ChecksumFileMissingError,
    ChecksumListError,
    DigestMismatchError,
    StagingError,
    SubmissionChangedError,
    SubmissionEmptyError,
    SubmissionMissingError,
    SubmissionUnreadableError,
    shown,
)
from preservation.submission.folders import refusal, special
from preservation.submission.names import checked_path
from preservation.submission.supplied import LIST, SuppliedDigests, joined, new_hasher
from preservation.submission.tree import Tree
from preservation.submission.unpacking import remove_tree
from storage_backends.errors import Phrase

SMALL = 1 << 20
"""Bytes up to which ``verify_all`` reads a file at once."""


def open_submission(path: str, *, staging: str, quotas: Quotas, checksums: str | None = None) -> Submission:
    """Scan what lies at ``path`` and return it ready for reading; close it afterwards.

    ``staging`` is a folder for this submission alone: it is made if need be, what a killed run left there is removed,
    and nothing is ever written elsewhere. ``checksums`` names a list as sha256sum and its kin write it.

    Raises:
        SubmissionRefusedError: It cannot be taken; the error names the file and the reason, and staging is empty.
    """
    opened = _Opening(path, staging, quotas)
    try:
        return opened.submission(checksums)
    except BaseException:
        opened.clean()
        raise


class _Opening:
    """The way from a path to a submission, and what must be given back if it ends half-way."""

    def __init__(self, path: str, staging: str, quotas: Quotas) -> None:
        self._path = path.rstrip("/") or "/"
        self._name = os.fsencode(os.path.basename(os.path.abspath(self._path)))
        self._staging = staging
        self._quotas = quotas
        self._remarks = Remarks()
        self._tree: Tree | None = None
        self._table: SuppliedDigests | None = None
        self._description: dict[str, object] = {"name": shown(self._name)}
        self._kind = ""
        self._base = self._name

    def clean(self) -> None:
        """Give back descriptors and empty staging."""
        if self._tree is not None:
            self._tree.close()
        if self._table is not None:
            self._table.close()
        with suppress(OSError):  # the error that led here matters more
            _empty(self._staging)

    def submission(self, checksums: str | None) -> "OpenSubmission":
        """Scan, and unpack first what is an archive."""
        mode = self._mode()
        try:
            os.makedirs(self._staging, mode=0o700, exist_ok=True)
            _empty(self._staging)
        except OSError as error:
            raise StagingError(path=self._staging, reason=error.strerror) from error
        if stat.S_ISDIR(mode):
            self._kind = "folder"
            self._tree = Tree(self._path, quotas=self._quotas, remarks=self._remarks)
        elif kind := archive_kind(self._name):
            self._kind = kind
            self._tree = self._unpacked(checksums)
        else:
            self._kind = "file"
            self._tree = self._single(self._remarks)
        return self._scanned(self._tree, checksums)

    def _mode(self) -> int:
        try:
            mode = os.lstat(self._path).st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SubmissionMissingError(path=shown(self._path)) from error
        except (OSError, ValueError) as error:
            raise SubmissionUnreadableError(path=shown(self._path), reason=str(error)) from error
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise special(os.fsencode(self._path), mode)
        return mode

    def _single(self, remarks: Remarks) -> Tree:
        above = os.path.dirname(self._path) or "."
        return Tree(above, quotas=self._quotas, remarks=remarks, only=self._name)

    def _scanned(self, tree: Tree, checksums: str | None) -> "OpenSubmission":
        status = os.stat(self._staging)
        tree.scan(avoid=(status.st_dev, status.st_ino))
        if not tree.files and tree.folders <= 1:
            raise SubmissionEmptyError(path=shown(self._path))
        bag = self._kind != "file" and is_bag(tree.root_names())
        if bag or checksums is not None:
            self._table = SuppliedDigests(os.path.join(self._staging, "supplied"))
        if bag and self._table is not None:
            self._read_bag(tree, self._table)
        self._description["kind"] = self._kind
        if checksums is not None and self._table is not None:
            self._take_list(tree, self._table, checksums)
        return OpenSubmission(
            self._kind,
            tree,
            self._table,
            remarks=self._remarks,
            description=self._description,
            staging=self._staging,
        )

    def _read_bag(self, tree: Tree, table: SuppliedDigests) -> None:
        self._kind = "bag" if self._kind == "folder" else f"bag in {self._kind}"
        bag = read_bag(tree, table, self._remarks, self._quotas)
        payload = check_files(tree, bag, table, self._remarks)
        check_oxum(bag, payload.size, payload.files)
        fetched = check_fetch(bag, tree, table, payload.aliases, self._quotas)
        if fetched:
            self._remarks.add(
                "fetch",
                b"fetch.txt",
                Phrase("{fetched} files are listed; all are there, nothing was fetched", fetched=fetched),
            )
        self._description["bag"] = bag.description()

    def _unpacked(self, checksums: str | None) -> Tree:
        """Unpack an archive; the root is the base folder if that is a bag, else the archive's own root."""
        holder = self._single(Remarks())
        try:
            holder.scan()
            file = next(entry for entry in holder.entries() if isinstance(entry, SubmittedFile))
            self._description["archive"] = {"name": shown(self._name), "size": file.size}
            if checksums is not None:
                self._verify_archive(holder, file, checksums)
            root = os.path.join(self._staging, "unpacked")
            with holder.open(file) as source:
                unpack(source, self._name, root, size=file.size, quotas=self._quotas, remarks=self._remarks)
                holder.changed(file, source.fileno())
        except OSError as error:
            raise refusal(self._name, error) from error
        finally:
            holder.close()
        tree = Tree(root, quotas=self._quotas, remarks=self._remarks)
        self._tree = tree
        names = tree.root_names()
        if len(names) == 1 and names[0].endswith(b"/"):
            base = Tree(os.path.join(os.fsencode(root), names[0][:-1]), quotas=self._quotas, remarks=self._remarks)
            if is_bag(base.root_names()):
                self._base = names[0][:-1]
                tree.close()
                return base
            base.close()
        elif is_bag(names):
            self._remarks.add(
                "no-base-folder", b"", Phrase("the bag lies in the archive without a base folder of its own")
            )
        return tree

    def _verify_archive(self, holder: Tree, file: SubmittedFile, checksums: str) -> None:
        """Compare the archive itself, before it is unpacked, with the digests that the list has under its name."""
        digests = tuple(row.digest for row in _listed(checksums) if row.path.rpartition(b"/")[2] == self._name)
        if digests:
            _compare(file.path, _measured(holder, file, {digest.algorithm for digest in digests}), digests)

    def _take_list(self, tree: Tree, table: SuppliedDigests, checksums: str) -> None:
        """Take in a checksum list; every file it names must be there."""
        names = tree.root_names()
        own = _identity(checksums)
        bases = [base + b"/" for base in {self._name, self._base} if base + b"/" not in names]
        root = os.fsencode(os.path.abspath(self._path)) + b"/"
        archive = "archive" in self._description
        for row in _listed(checksums):
            if archive and row.path.rpartition(b"/")[2] == self._name:
                continue
            path = checked_path(row.path.removeprefix(root), longest=self._quotas.path, backslash=True)
            for base in bases:
                path = path.removeprefix(base)
            before = table.add(path, row.digest, LIST)
            if before is not None and before != row.digest.value:
                reason = Phrase("{path} is listed before with another digest", path=shown(path))
                raise ChecksumListError(path=shown(checksums), line=row.line, reason=reason)
        without = 0
        for file, path, digests in joined(tree.entries(), table.rows(LIST)):
            if file is None:
                raise ChecksumFileMissingError(path=shown(path))
            without += not digests and file.stamp[:2] != own
        if without:
            self._remarks.add(
                "not-in-checksum-list",
                b"",
                Phrase("{without} files are not named in the checksum list", without=without),
            )


class OpenSubmission:
    """A submission that was scanned and found acceptable; the protocol ``Submission`` says what it promises."""

    def __init__(
        self,
        kind: str,
        tree: Tree,
        table: SuppliedDigests | None,
        *,
        remarks: Remarks,
        description: dict[str, object],
        staging: str,
    ) -> None:
        self.kind = kind
        self.description = description
        self._tree = tree
        self._table = table
        self._remarks = remarks
        self._staging = staging
        self._is_bag = kind.startswith("bag")
        self.entries = tree.entries
        self.announce = tree.announce
        self.read_small = tree.read_small
        self.open = tree.open
        self.changed = tree.changed

    @property
    def files(self) -> int:
        """How many files the scan found."""
        return self._tree.files

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return self._tree.size

    @property
    def warnings(self) -> list[Remark]:
        """What is kept although somebody should know of it."""
        return self._remarks.all()

    def supplied(self, path: bytes) -> tuple[SuppliedDigest, ...]:
        """Return the digests that came for this file."""
        if self._table is None:
            return ()
        digests = self._table.of(path)
        if self._is_bag and path.startswith(PAYLOAD) and not digests:
            raise SubmissionChangedError(path=shown(path), reason="it was not there when the bag was checked")
        return digests

    def compare(self, file: SubmittedFile, digests: Mapping[str, str]) -> None:
        """Compare measured digests with all that were supplied."""
        _compare(file.path, digests, self.supplied(file.path))

    def verify_all(self) -> None:
        """Read every file that has a supplied digest and compare."""
        if self._table is None:
            return
        for file, path, digests in joined(self._tree.entries(), self._table.rows()):
            if file is None:
                raise SubmissionChangedError(path=shown(path), reason="it vanished")
            if digests:
                _compare(path, _measured(self._tree, file, {digest.algorithm for digest in digests}), digests)

    def close(self) -> None:
        """Give back descriptors and remove everything from staging."""
        self._tree.close()
        if self._table is not None:
            self._table.close()
        _empty(self._staging)


def _compare(path: bytes, measured: Mapping[str, str], supplied: tuple[SuppliedDigest, ...]) -> None:
    for digest in supplied:
        found = measured.get(digest.algorithm)
        if found is None:
            message = f"{digest.algorithm} was supplied for {shown(path)} but not measured"
            raise ValueError(message)
        if found != digest.value:
            raise DigestMismatchError(path=shown(path), algorithm=digest.algorithm, expected=digest.value, found=found)


def _measured(tree: Tree, file: SubmittedFile, algorithms: set[str]) -> dict[str, str]:
    hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}
    if file.size <= SMALL:
        data = tree.read_small(file, SMALL)
        for hasher in hashers.values():
            hasher.update(data)
    else:
        try:
            with tree.open(file) as source:
                for piece in _pieces(source):
                    for hasher in hashers.values():
                        hasher.update(piece)
                tree.changed(file, source.fileno())
        except OSError as error:
            raise refusal(file.path, error) from error
    return {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}


def _pieces(source: io.FileIO) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(SMALL))
    while count := source.readinto(buffer):
        yield buffer[:count]


def _identity(checksums: str) -> tuple[int, int]:
    """Return (device, inode) of the checksum list, which must be a regular file: a FIFO would stop us."""
    try:
        status = os.stat(checksums)
    except OSError as error:
        raise SubmissionUnreadableError(path=shown(checksums), reason=error.strerror or str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise special(os.fsencode(checksums), status.st_mode)
    return status.st_dev, status.st_ino


def _listed(checksums: str) -> Iterator[Listed]:
    _identity(checksums)
    try:
        with open(checksums, "rb", buffering=0) as source:
            yield from read_checksums(source, shown(os.path.basename(checksums)))
    except OSError as error:
        raise SubmissionUnreadableError(path=shown(checksums), reason=error.strerror or str(error)) from error


def _empty(staging: str) -> None:
    """Remove what this module writes into staging."""
    with suppress(FileNotFoundError):
        remove_tree(os.path.join(staging, "unpacked"), os.path.join(staging, "removed"))
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(staging, "supplied"))
