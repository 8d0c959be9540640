"""A cartridge as a file, in the SIMH .tap format, and a folder of such files as a library: what needs no drive.

A record is its length (32 bits, little endian), its bytes padded to an even count, and the length again; 0 is a
filemark, 0xFFFFFFFF the end of the data; bit 31 of a length marks a record that cannot be read (SIMH Magtape
Representation and Handling, https://cutlery-drawer.github.io/simh/simh_magtape.html). The drive has the manners of a
real one: a write cuts off what lies behind it, there is an early warning and a hard end, block numbers count filemarks,
and only a synchronous filemark makes anything durable.
"""

import errno
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from storage_backends.backend import Reach
from storage_backends.disk_mounts import depth_of
from storage_backends.disk_reading import BEHIND, FOLIO, PAGE, WINDOW, drop, resident
from storage_backends.errors import Phrase
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    Capabilities,
    DriveOfflineError,
    Element,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    Place,
    TapeError,
    WriteProtectedError,
)

TAPE, SETTINGS = ".tap", ".json"

END = b"\xff\xff\xff\xff"
MARK = bytes(4)
UNREADABLE = 1 << 31
LONGEST = (1 << 24) - 1
"""Bytes of the longest record that the format can say."""

EARLY_WARNING = 64 << 20
"""Bytes before the end at which a large cartridge warns (64 MiB); a small one at an eighth of its capacity."""

MARKED = 64
"""Every so many blocks the place in the file is remembered."""

STEADY = 8 << 20
"""So many bytes at a time go on to the disk while others are written (8 MiB): a sync then finds little left to do."""

LONGEST_SETTINGS = 64 << 10

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Settings:
    """What a real cartridge would be by nature; kept in ``<barcode>.json`` beside its image. Sizes are in bytes."""

    capacity: int = 12 << 30
    write_protected: bool = False
    worm: bool = False
    loads: int = 0

    @property
    def warns_at(self) -> int:
        """Where early warning begins."""
        return self.capacity - min(EARLY_WARNING, self.capacity // 8)


def read_settings(path: str) -> Settings:
    """Return the settings beside the image ``path``; an image that comes without has those of a large cartridge."""
    try:
        with open(path.removesuffix(TAPE) + SETTINGS, "rb") as file:
            found = json.loads(file.read(LONGEST_SETTINGS))
        kinds = {name: type(value) for name, value in asdict(Settings()).items()}
        return Settings(**{name: value for name, value in found.items() if type(value) is kinds.get(name)})
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise NotReadyError(
            place=path, reason=Phrase("its settings cannot be read: {reason}", reason=str(error))
        ) from error


def write_settings(path: str, settings: Settings) -> None:
    """Write the settings beside the image ``path`` in one step."""
    name = path.removesuffix(TAPE) + SETTINGS
    with open(f"{name}.new", "w", encoding="ascii") as file:
        json.dump(asdict(settings), file, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{name}.new", name)


def make_cartridge(folder: str, barcode: str, settings: Settings) -> str:
    """Make a blank cartridge, durably; return its path. ``FileExistsError`` if there is one of that barcode."""
    path = os.path.join(folder, barcode + TAPE)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644)
    try:
        os.write(file, END)
        os.fsync(file)
    finally:
        os.close(file)
    write_settings(path, settings)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


class ImageDrive:
    """A drive for image cartridges. One thread at a time."""

    capabilities = Capabilities(longest_record=LONGEST)

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = -1
        self._settings = Settings()
        self._writable = False
        self._block = self._offset = 0
        self._marks = [0]
        self._ends = -1
        """Where the data ends, if this drive wrote its last record: then nothing must be cut off."""
        self._begun = 0
        """Bytes of the image that are on their way to the disk, or there."""
        self._kept = -1
        """Where the pages begin that a fresh read has yet to give back, if there was one."""
        self.durable = 0
        """Bytes of the image that were synced: what a power cut would leave for certain."""

    def insert(self, path: str, *, counting: bool = True) -> None:
        """Load the image at ``path``; unless ``counting``, the load is not counted: nothing is written."""
        assert self._file < 0, "the drive is full"
        settings = read_settings(path)
        try:
            self._file, self._writable = self._opened(path)
        except OSError as error:
            raise NotReadyError(place=path, reason=error.strerror) from error
        self.name, self._settings = path, settings
        self._marks, self._ends, self._kept, self.durable = [0], -1, -1, os.fstat(self._file).st_size
        self.rewind()
        with suppress(OSError):
            if self._writable and counting and os.path.exists(path.removesuffix(TAPE) + SETTINGS):
                self._settings = Settings(**{**asdict(settings), "loads": settings.loads + 1})
                write_settings(path, self._settings)

    @staticmethod
    def _opened(path: str) -> tuple[int, bool]:
        try:
            return os.open(path, os.O_RDWR | _FLAGS), True
        except OSError as error:
            if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
                raise
            return os.open(path, os.O_RDONLY | _FLAGS), False

    def remove(self) -> None:
        """Take the cartridge out."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def check_ready(self) -> None:
        """Raise ``NotReadyError`` if the drive is empty."""
        if self._file < 0:
            raise NotReadyError(place=self.name, reason="the drive is empty")

    def is_write_protected(self) -> bool:
        """Tell whether its settings, or the file, forbid writing."""
        self.check_ready()
        return self._settings.write_protected or not self._writable

    def rewind(self) -> None:
        """Go to the beginning of the tape."""
        self.check_ready()
        self._block = self._offset = 0

    def position(self) -> int:
        """Return the number of the next block, filemarks counted."""
        self.check_ready()
        return self._block

    def locate(self, place: Place) -> None:
        """Go to the block, from the nearest place that is remembered."""
        self.check_ready()
        assert place.block is not None, "an image always tells its position"
        if not self._block <= place.block < self._block + MARKED:
            mark = min(place.block // MARKED, len(self._marks) - 1)
            self._block, self._offset = mark * MARKED, self._marks[mark]
        while self._block < place.block:
            self._step()

    def skip_file(self) -> None:
        """Go behind the next filemark."""
        self.check_ready()
        while self._step():
            pass

    def read(self, size: int) -> bytes | None:
        """Return the next record or ``FILEMARK``."""
        self.check_ready()
        block, start = self._block, self._offset
        length = self._step()
        if not length:
            return FILEMARK
        if length & UNREADABLE:
            raise MediumError(place=self.name, block=block, reason="the medium cannot be read here")
        if length > size:
            raise BlockTooLargeError(place=self.name, block=block, found=length, expected=size)
        record = self._read_at(start + 4, length)
        if 0 <= self._kept <= self._offset - BEHIND:
            with self._transport():
                drop(self._file, self._kept, self._offset, ahead=0)
            self._kept = self._offset
        return record

    def write(self, record: bytes | memoryview) -> bool:
        """Write a record, and cut off what lies behind it."""
        length = len(record)
        assert 0 < length <= LONGEST
        frame = struct.pack("<I", length)
        self._put([frame, record, bytes(length & 1) + frame])
        return self._offset > self._settings.warns_at

    def write_filemark(self, *, synchronous: bool) -> None:
        """Write a filemark; a synchronous one syncs the file."""
        self._put([MARK])
        if synchronous:
            self._sync()

    def reach(self, place: Place, records: int) -> Reach:
        """Drop these records from the page cache; where that can be seen to have worked, they come from the disk.

        What is read from there on gives its pages back, so that an audit does not empty everybody's cache.
        """
        self.locate(place)
        with self._transport():
            end = min(self._offset + records * (RECORD + 8), os.fstat(self._file).st_size)
            drop(self._file, self._offset, end, ahead=FOLIO)
            self._kept = self._offset
            places = range(self._offset // PAGE * PAGE, end, WINDOW)
            if any(resident(self._file, at, min(WINDOW, end - at)) for at in places):
                return Reach.HOST_CACHE
            return depth_of(self._file).through_cache

    def close(self) -> None:
        """Keep the cartridge: nobody else wants this drive."""

    def unload(self) -> None:
        """Sync the file; ``remove`` then takes the cartridge out."""
        self.check_ready()
        if self._writable:
            self._sync()

    # ---- the file --------------------------------------------------------------------------------------------------

    def _step(self) -> int:
        """Move forward over one record or filemark; return its length word, 0 for a filemark."""
        word = self._read_at(self._offset, 4)
        if len(word) < len(MARK) or word == END:
            raise EndOfDataError(place=self.name, block=self._block)
        length = int.from_bytes(word, "little")
        size = 0
        if length:
            size = length & LONGEST
            size += size & 1
            if self._read_at(self._offset + 4 + size, 4) != word:
                raise MediumError(place=self.name, block=self._block, reason="the record is torn")
            size += 4
        self._offset += 4 + size
        self._block += 1
        if self._block == len(self._marks) * MARKED:
            self._marks.append(self._offset)
        return length

    def _put(self, frame: list[bytes | memoryview]) -> None:
        if self.is_write_protected():
            raise WriteProtectedError(place=self.name, reason="its tab is set")
        size = sum(len(part) for part in frame)
        if self._offset + size > self._settings.capacity:
            raise EndOfMediumError(place=self.name, block=self._block)
        if self._settings.worm and self._ends != self._offset and not self._at_end():
            raise WriteProtectedError(place=self.name, reason="it is written once, and there is data here")
        with self._transport():
            if self._ends != self._offset:  # the drive stood elsewhere: what lies behind is cut off
                os.ftruncate(self._file, self._offset)
                self._begun = self._offset
            self.durable, self._ends = min(self.durable, self._offset), -1
            left, at = [memoryview(part) for part in (*frame, END)], self._offset
            while left:
                count = os.pwritev(self._file, left, at)
                at += count
                while left and count >= len(left[0]):
                    count -= len(left.pop(0))
                if left:
                    left[0] = left[0][count:]
            self._go_on(at - len(END))
        del self._marks[self._block // MARKED + 1 :]
        self._offset += size
        self._ends = self._offset
        self._block += 1
        if self._block == len(self._marks) * MARKED:
            self._marks.append(self._offset)

    def _go_on(self, end: int) -> None:
        """Let the disk begin with what is written before ``end``, without waiting for it; only a sync is a promise."""
        begin, end = self._begun // PAGE * PAGE, end // PAGE * PAGE
        if end - begin >= STEADY:
            os.posix_fadvise(self._file, begin, end - begin, os.POSIX_FADV_DONTNEED)
            self._begun = end

    def _at_end(self) -> bool:
        block, offset = self._block, self._offset
        try:
            self._step()
        except EndOfDataError:
            return True
        except TapeError:
            return False
        else:
            return False
        finally:
            self._block, self._offset = block, offset

    def _sync(self) -> None:
        with self._transport():
            os.fsync(self._file)
            self.durable = os.fstat(self._file).st_size

    def _read_at(self, offset: int, length: int) -> bytes:
        with self._transport(reading=True):
            return os.pread(self._file, length, offset)

    @contextmanager
    def _transport(self, *, reading: bool = False) -> Iterator[None]:
        """After a failed write or sync nobody knows what the file holds: that is a lost drive, not a bad record."""
        try:
            yield
        except OSError as error:
            if reading and error.errno == errno.EIO:
                raise MediumError(place=self.name, block=self._block, reason=error.strerror) from error
            raise DriveOfflineError(place=self.name, reason=error.strerror) from error


class FolderChanger:
    """A folder of images as a library with one drive (element 0); the slots are the images in order of barcode."""

    def __init__(self, folder: str, drive: ImageDrive) -> None:
        self._folder, self._drive = folder, drive
        self._loaded = ""

    def elements(self) -> list[Element]:
        """Return the drive and a slot for each image."""
        try:
            names = sorted(name.removesuffix(TAPE) for name in os.listdir(self._folder) if name.endswith(TAPE))
        except OSError as error:
            raise DriveOfflineError(place=self._folder, reason=error.strerror) from error
        slots = [
            Element(number, is_drive=False, barcode="" if name == self._loaded else name)
            for number, name in enumerate(names, 1)
        ]
        return [Element(0, is_drive=True, barcode=self._loaded), *slots]

    def move(self, source: int, destination: int) -> None:
        """Load or unload."""
        found = {element.address: element for element in self.elements()}
        if source not in found or destination not in found or not found[source].barcode:
            raise NotReadyError(
                place=self._folder, reason=Phrase("there is nothing in element {source}", source=source)
            )
        if found[destination].barcode:
            raise NotReadyError(
                place=self._folder, reason=Phrase("element {destination} is full", destination=destination)
            )
        if found[destination].is_drive:
            self._drive.insert(os.path.join(self._folder, found[source].barcode + TAPE))
            self._loaded = found[source].barcode
        else:
            self._drive.remove()
            self._loaded = ""

    def give_out(self) -> str:
        """Nothing: nobody stands before a folder."""
        return ""

    def close(self) -> None:
        """Keep the cartridge in the drive."""
