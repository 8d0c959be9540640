"""Reads a submitted file for ingest: once into memory if it is small, twice in pieces if it is large."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from preservation.fixity import CHUNK, Fixity, FixityMismatchError, blake3_hex, new_blake3
from preservation.formats.identification import ENDS, Sample
from preservation.formats.pdf import PdfScan, is_pdf
from preservation.submission.entries import Submission, SubmittedFile
from preservation.submission.errors import SubmissionChangedError, shown
from preservation.versions import Step

SMALL = 8 << 20
"""Files up to this many bytes (8 MiB) are read once, into memory."""


AHEAD = 64
"""Files announced before they are read."""


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file in memory."""

    fixity: Fixity
    data: bytes

    def sample(self, name: str) -> Sample:
        """Return what identification looks at."""
        return Sample.of_content(name, self.data)


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file that was digested and will be read once more; its ends are at hand."""

    fixity: Fixity
    submission: Submission
    file: SubmittedFile
    head: bytes
    tail: bytes
    claims: bytes = b""
    objects: bytes = b""
    """What a scan found, if it is a PDF."""

    def sample(self, name: str) -> Sample:
        """Return what identification looks at."""
        return Sample.of_ends(name, self.fixity.size, self.head, self.tail, self.claims, self.objects)

    def __call__(self) -> Iterator[memoryview]:
        """Yield the bytes again; ``SubmissionChangedError`` at their end if they are not what was digested."""
        hasher, buffer = new_blake3(), memoryview(bytearray(CHUNK))
        with self.submission.open(self.file) as stream:
            left = self.fixity.size
            while left and (count := stream.readinto(buffer[: min(left, CHUNK)])):
                left -= count
                hasher.update(buffer[:count])
                yield buffer[:count]
            self.submission.changed(self.file, stream.fileno())
        if left or hasher.hexdigest() != self.fixity.blake3:
            raise SubmissionChangedError(path=shown(self.file.path), reason="it changed while it was read")


def read(submission: Submission, file: SubmittedFile, pool: ThreadPoolExecutor) -> SmallFile | LargeFile:
    """Read a file of the submission; ``pool`` lends a thread for the second digest of a large one."""
    if file.size <= SMALL:
        data = submission.read_small(file, SMALL)
        return SmallFile(Fixity(len(data), blake3_hex(data), hashlib.sha256(data).hexdigest()), data)
    return _digested(submission, file, pool)


def _digested(submission: Submission, file: SubmittedFile, pool: ThreadPoolExecutor) -> LargeFile:
    blake3, sha256 = new_blake3(), hashlib.sha256()
    buffers = [memoryview(bytearray(CHUNK)), memoryview(bytearray(CHUNK))]
    head, tail, size, turn = b"", b"", 0, 0
    second: Future[None] | None = None
    scan: PdfScan | None = None
    with submission.open(file) as stream:
        while count := stream.readinto(buffers[turn]):
            piece = buffers[turn][:count]
            if second is not None:
                second.result()
            second = pool.submit(sha256.update, piece)
            blake3.update(piece)
            if size == 0 and is_pdf(bytes(piece[:ENDS])):
                scan = PdfScan()
            if scan is not None:
                scan.feed(piece)
            head = head if size >= ENDS else (head + bytes(piece[:ENDS]))[:ENDS]
            tail = bytes(piece[-ENDS:]) if count >= ENDS else (tail + bytes(piece))[-ENDS:]
            size += count
            turn = 1 - turn
        if second is not None:
            second.result()
        submission.changed(file, stream.fileno())
    if size != file.size:
        raise FixityMismatchError(what=shown(file.path), expected=str(file.size), found=str(size))
    found = (scan.found(), scan.objects()) if scan is not None else ()
    return LargeFile(Fixity(size, blake3.hexdigest(), sha256.hexdigest()), submission, file, head, tail, *found)


def ahead(submission: Submission, steps: Iterator[Step]) -> Iterator[Step]:
    """Give the steps on, a few behind: the files in between are being fetched while the one before is worked on."""
    waiting: deque[Step] = deque()
    for step in steps:
        if isinstance(step, SubmittedFile):
            submission.announce(step)
        waiting.append(step)
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting
