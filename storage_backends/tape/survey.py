"""Goes over a cartridge from filemark to filemark and says what is on it; how a directory is made from tapes alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from storage_backends.tape.directory import TapeFile
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    EndOfDataError,
    MediumError,
    Place,
    TapeDrive,
    UnsupportedError,
)
from storage_backends.tape.labels import FIRST_FILE, read_label
from storage_backends.tape.layout import is_index, read_index, within
from storage_backends.tape.library import Library
from storage_backends.tape.reading import RawReader


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A whole tape file. An INDEX says what lies in itself, and in ``listed`` (barcode, file) what lies elsewhere."""

    file: TapeFile
    is_index: bool
    listed: tuple[tuple[str, TapeFile], ...] = ()


class Survey:
    """The tape files of a cartridge behind ``after`` (behind the label, if that is nothing).

    When it has been gone through, ``file`` and ``start`` say where the data ends, and ``torn`` whether what lies there
    has no filemark: then it was never committed.
    """

    def __init__(self, library: Library, barcode: str, after: TapeFile | None) -> None:
        self._library, self._barcode = library, barcode
        self.torn = False
        if after is None:
            self.file = FIRST_FILE
            with library.using(barcode) as drive:
                read_label(drive, barcode)
                self.start = block_of(drive)
        else:
            assert after.start is not None
            self.file, self.start = after.file + 1, after.start + after.records + 1

    def __iter__(self) -> Iterator[Surveyed]:
        while True:
            with self._library.using(self._barcode) as drive:
                found = self._next(drive)
            if found is None:
                return
            file, first = found
            self.file, self.start = file.file + 1, self.start + file.records + 1
            if file.records:
                yield self._surveyed(file, first)

    def _next(self, drive: TapeDrive) -> tuple[TapeFile, bytes] | None:
        try:
            drive.locate(Place(self.start, self.file, 0))
            first = drive.read(RECORD)
        except EndOfDataError:
            return None
        except (MediumError, BlockTooLargeError):
            first = b""
        if first is FILEMARK:
            return TapeFile(self.file, self.start, 0), b""
        try:
            drive.skip_file()
        except (EndOfDataError, MediumError):
            self.torn = True
            return None
        return TapeFile(self.file, self.start, block_of(drive) - self.start - 1), first

    def _surveyed(self, file: TapeFile, first: bytes) -> Surveyed:
        if not is_index(first):
            return Surveyed(file, is_index=False)
        listed, items = read_index(RawReader(self._library, self._barcode, file))
        return Surveyed(replace(file, items=within(file, items)), is_index=True, listed=tuple(listed))


def block_of(drive: TapeDrive) -> int:
    """Return the drive's position; ``UnsupportedError`` if it cannot tell."""
    block = drive.position()
    if block is None:
        raise UnsupportedError(place=drive.name, reason="it does not tell its position")
    return block


def contents_of(library: Library, barcode: str) -> tuple[list[TapeFile], list[tuple[str, TapeFile]]]:
    """Return every tape file of a cartridge with what the INDEX files say lies in it, and what they say of others."""
    files: dict[int, TapeFile] = {}
    elsewhere: list[tuple[str, TapeFile]] = []
    for found in Survey(library, barcode, None):
        files[found.file.file] = found.file
        for name, one in found.listed:
            known = files.get(one.file) if name == barcode else None
            if name != barcode:
                elsewhere.append((name, one))
            elif known is not None and known.records == one.records:
                items = {item.key: item for item in (*known.items, *within(known, one.items))}
                files[one.file] = replace(known, items=tuple(items.values()))
    return list(files.values()), elsewhere
