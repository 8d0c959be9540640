"""Reads an item from a tape: record after record of the file it lies in, wherever the drive stood before."""

from contextlib import suppress
from types import TracebackType
from typing import Self

from storage_backends.backend import Reach, Reader
from storage_backends.errors import ReadFailureError, StorageError, marked
from storage_backends.tape.directory import Location, TapeFile
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    EndOfDataError,
    MediumError,
    Place,
)
from storage_backends.tape.library import Library

PIECE = 1 << 22


class TapeReader:
    """An open item. Two may be open at a time: each finds its own place again."""

    def __init__(
        self,
        library: Library,
        key: str,
        found: Location,
        *,
        offset: int = 0,
        length: int | None = None,
        fresh: bool = False,
    ) -> None:
        self.reach = Reach.HOST_CACHE
        self._library, self._key, self._found = library, key, found
        self._file = TapeFile(found.file, found.start, found.records)
        end = found.size if length is None else min(found.size, offset + length)
        self._at, self._end = found.place + min(offset, end), found.place + end
        self._fresh = fresh

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the range."""
        left = self._end - self._at
        buffer = bytearray(left if size < 0 else min(size, left))
        count = self.readinto(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        buffer, filled = buffer.cast("B"), 0
        while filled < len(buffer) and self._at < self._end:
            record, inside = divmod(self._at, RECORD)
            data = self._record(record)
            count = min(len(buffer) - filled, self._end - self._at, RECORD - inside)
            buffer[filled : filled + count] = data[inside : inside + count]
            filled += count
            self._at += count
        return filled

    def _record(self, record: int) -> memoryview:
        again, self._fresh = self._fresh, False
        try:
            if again:
                self.reach = self._depth(record)
            data = self._library.read(self._found.barcode, self._file, record, again=again)
        except (MediumError, EndOfDataError, BlockTooLargeError) as error:
            raise self._failure(str(error)) from error
        if data is FILEMARK or len(data) != RECORD:
            raise self._failure(marked("the tape file is not as long as it was when it was written"))
        return memoryview(data)

    def _depth(self, record: int) -> Reach:
        block = None if self._file.start is None else self._file.start + record
        records = -(-self._end // RECORD) - record
        with self._library.using(self._found.barcode) as drive:
            return drive.reach(Place(block, self._file.file, record), records)

    def _failure(self, reason: str) -> ReadFailureError:
        return ReadFailureError(place=self._library.place, key=self._key, reason=reason)

    def close(self) -> None:
        """Read no more; the cartridge stays in the drive."""
        self._at = self._end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ComparingReader:
    """Reads an item from the tape and compares each byte with what it was written from."""

    def __init__(self, tape: TapeReader, original: Reader, *, place: str, key: str) -> None:
        self._tape, self._original, self._place, self._key = tape, original, place, key

    @property
    def reach(self) -> Reach:
        """How deep the reads from the tape went; who saw to it before sets it."""
        return self._tape.reach

    @reach.setter
    def reach(self, reach: Reach) -> None:
        self._tape.reach = reach

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes (at most 4 MiB); raises ``ReadFailureError`` where the two differ."""
        wanted = PIECE if size < 0 else min(size, PIECE)
        data = self._tape.read(wanted)
        other = b""
        while len(other) < len(data) and (piece := self._original.read(len(data) - len(other))):
            other += piece
        if data != other or (wanted and not data and self._original.read(1)):
            reason = marked("what is on the tape is not what was written")
            raise ReadFailureError(place=self._place, key=self._key, reason=reason)
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        buffer, filled = buffer.cast("B"), 0
        while filled < len(buffer) and (data := self.read(len(buffer) - filled)):
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def finish(self) -> None:
        """Read what nobody read yet."""
        while self.read():
            pass

    def close(self) -> None:
        """Close both."""
        self._tape.close()
        with suppress(StorageError):
            self._original.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RawReader:
    """Reads a whole tape file up to its filemark, for those who do not know yet what lies in it."""

    def __init__(self, library: Library, barcode: str, file: TapeFile) -> None:
        self._library, self._barcode, self._file = library, barcode, file
        self._record = 0
        self._data = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end, and where the tape cannot be read."""
        if not self._data and self._record < self._file.records:
            try:
                self._data = memoryview(self._library.read(self._barcode, self._file, self._record) or b"")
            except (MediumError, EndOfDataError, BlockTooLargeError):
                self._data = memoryview(b"")
            self._record = self._record + 1 if self._data else self._file.records
        count = len(self._data) if size < 0 else min(size, len(self._data))
        piece, self._data = bytes(self._data[:count]), self._data[count:]
        return piece
