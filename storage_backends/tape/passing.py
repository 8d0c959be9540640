"""Reads a cartridge whole, record after record from its label to the end of its data, and goes on behind bad ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from storage_backends.backend import Item, Met, Reach
from storage_backends.errors import Phrase
from storage_backends.tape.directory import Cartridge, Directory, TapeFile
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    EndOfDataError,
    MediumError,
    Place,
    TapeDrive,
)
from storage_backends.tape.labels import FIRST_FILE, read_label
from storage_backends.tape.layout import is_index, read_index, within
from storage_backends.tape.library import Library

GIVEN_UP = 1_000
"""Bad records one after the other, in a tape file whose length nobody knows, after which the tape is given up."""

Take = Callable[[bytes], object]
"""Is given every record that can be read."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A tape file as the tape gave it.

    ``file`` has the items of an INDEX as it lists itself; ``listed`` what it says of others (barcode, tape file).
    ``torn`` is the last file of a tape without a filemark behind it: nothing of it was ever committed.
    """

    file: TapeFile
    size: int
    reach: Reach
    unreadable: tuple[int, ...] = ()
    is_index: bool = False
    listed: tuple[tuple[str, TapeFile], ...] = ()
    torn: bool = False


def passed(library: Library, barcode: str, known: Iterable[TapeFile], take: Take) -> Iterator[Passed]:
    """Yield each tape file behind the label after ``take`` was given its records. Others may use the drive in between.

    Raises:
        CartridgeAwayError, WrongCartridgeError, NoLabelError, TapeError.
    """
    lengths = {file.file: file.records for file in known}
    with library.using(barcode) as drive:
        read_label(drive, barcode)
        block, number = drive.position(), FIRST_FILE
    while True:
        with library.using(barcode) as drive:
            found = _file(drive, Place(block, number, 0), lengths, take)
        if found is None:
            return
        yield found
        if found.torn:
            return
        number += 1
        block = None if block is None else block + found.file.records + 1


def _file(drive: TapeDrive, place: Place, lengths: Mapping[int, int], take: Take) -> Passed | None:
    """Return what lies at ``place``; nothing if the data ends there."""
    length = lengths.get(place.file, 0)
    try:
        reach = drive.reach(place, length)
        if place.block is None or drive.position() != place.block:
            drive.locate(place)
    except EndOfDataError:
        return None
    source = _Records(drive, place, length, take)
    first = source.peek()
    if source.record == 0 and source.torn and not source.unreadable:
        return None
    listed, items = read_index(source) if is_index(first) else ([], [])
    while source.read():
        pass
    file = TapeFile(place.file, place.block, source.record)
    return Passed(
        replace(file, items=within(file, items)),
        source.size,
        reach,
        tuple(source.unreadable),
        is_index=is_index(first),
        listed=tuple(listed),
        torn=source.torn,
    )


@dataclass(slots=True)
class _Records:
    """The records of one tape file as a source. ``torn`` is whether the tape ended before a filemark came."""

    drive: TapeDrive
    place: Place
    length: int
    take: Take
    record: int = 0
    size: int = 0
    torn: bool = False
    unreadable: list[int] = field(default_factory=list)
    _rest: bytes = b""
    _ended: bool = False

    def peek(self) -> bytes:
        """Return the first record that can be read, without moving behind it."""
        self._rest = self._rest or self._next()
        return self._rest

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the filemark, or where the tape ends."""
        rest = self.peek()
        count = len(rest) if size < 0 else min(size, len(rest))
        self._rest = rest[count:]
        return rest[:count]

    def _next(self) -> bytes:
        in_a_row = 0
        while not self._ended:
            try:
                data = self.drive.read(RECORD)
            except EndOfDataError:
                self._ended = self.torn = True
                break
            except (MediumError, BlockTooLargeError):
                self.unreadable.append(self.record)
                self.record, in_a_row = self.record + 1, in_a_row + 1
                self._go_on(in_a_row)
                continue
            if data is FILEMARK:
                self._ended = True
                break
            self.record, self.size = self.record + 1, self.size + len(data)
            self.take(data)
            return data
        return b""

    def _go_on(self, in_a_row: int) -> None:
        """Go behind a bad record, wherever the drive stands now; where it cannot, the tape ends here for us."""
        place, record = self.place, self.record
        there = Place(None if place.block is None else place.block + record, place.file, record)
        try:
            if there.block is None or self.drive.position() != there.block:
                self.drive.locate(there)
        except (EndOfDataError, MediumError):
            self._ended = self.torn = True
        if in_a_row > (self.length or GIVEN_UP):
            self._ended = self.torn = True


# ---- compared with what is known -----------------------------------------------------------------------------------


def compared(library: Library, directory: Directory, cartridge: Cartridge, take: Take) -> Iterator[Met]:
    """Pass over a cartridge and say of everything on it whether it is what the directory knows; note bad records.

    What an INDEX lists is compared too: with what the tape has, and with what the directory says of it.
    """
    files = {file.file: file for file in directory.files(cartridge.number)}
    lengths: dict[int, int] = {}
    listed = 0
    for found in passed(library, cartridge.barcode, files.values(), take):
        file, known = found.file, files.pop(found.file.file, None)
        lengths[file.file] = file.records
        for record in found.unreadable:
            library.note_error(cartridge.barcode, file.file, record)
        differs = _against_directory(found, known)
        if found.is_index and not differs and not found.unreadable:
            since, listed = listed, file.file  # an INDEX lists all before it; what an earlier one had is compared
            differs = _against_list(found, lengths, directory, cartridge.barcode, since)
        yield Met(
            _counting(directory, cartridge, known),
            found.size,
            found.reach,
            len(found.unreadable),
            Phrase("tape file {number}: {reason}", number=file.file, reason=differs) if differs else "",
        )
    for number, file in files.items():
        if file.records:
            differs = Phrase("tape file {number}: the tape ends before it", number=number)
            yield Met(_counting(directory, cartridge, file), 0, Reach.HOST_CACHE, differs=differs)


def _against_directory(found: Passed, known: TapeFile | None) -> str:
    if found.torn:  # a flush was interrupted, or what was committed is torn off
        return Phrase("no filemark ends it") if known is not None else ""
    if known is None:
        return Phrase("nobody knows it") if found.file.records else ""
    if known.records != found.file.records:
        return Phrase("{found} records, {known} are known", found=found.file.records, known=known.records)
    return ""


def _against_list(found: Passed, lengths: Mapping[int, int], directory: Directory, barcode: str, since: int) -> str:
    for name, one in found.listed:
        if name != barcode or one.file <= since:
            continue
        if lengths.get(one.file) != one.records:
            return Phrase(
                "it lists tape file {number} with {records} records, which it has not",
                number=one.file,
                records=one.records,
            )
        for item in one.items:
            held = directory.find(item.key)
            here = held is not None and held.barcode == barcode
            if held is None or (here and (held.file, held.place) < (one.file, item.place)):
                return Phrase(
                    "it lists an item in tape file {number} that the directory does not know there", number=one.file
                )
    return ""


def _counting(directory: Directory, cartridge: Cartridge, known: TapeFile | None) -> Item | None:
    """Return the item that a tape file is, if that is the place that counts under its key."""
    if known is None or len(known.items) != 1 or known.items[0].size != known.records * RECORD:
        return None
    held = directory.find(known.items[0].key)
    if held is None or (held.number, held.file) != (cartridge.number, known.file):
        return None
    return Item(known.items[0].key, held.size, held.generation)
