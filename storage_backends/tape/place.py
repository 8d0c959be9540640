"""Image cartridges in a folder as a store: is it there, is it ours, its cartridges, its directory."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage_backends.backend import MARKER_KEY
from storage_backends.errors import Phrase, StoreRefusesError, StoreUnavailableError, marked
from storage_backends.tape.cartridges import BARCODE, OPEN, Cartridges, CartridgesError, barcode_of
from storage_backends.tape.directory import Cartridge, Directory, DirectoryError
from storage_backends.tape.drive import TapeError
from storage_backends.tape.image import SETTINGS, TAPE, FolderChanger, ImageDrive, Settings, make_cartridge
from storage_backends.tape.labels import Label, read_label, write_label
from storage_backends.tape.library import Library
from storage_backends.tape.survey import contents_of

STAGING = "staging"
"""The folder of what is on its way to cartridges; a store of its own."""
DIRECTORY = "directory.sqlite"
LOCK = "drive.lock"
_OTHERS = frozenset({MARKER_KEY, STAGING, DIRECTORY, LOCK, "lost+found"})

LONGEST_MARKER = 64 << 10
MOST_CARTRIDGES = 999


class ImageFolder:
    """The folder ``place``, which must be the store ``store_id`` whenever it is asked.

    A folder with nothing but cartridges of the store is the store too: that is how they come out of a fire.
    """

    shares_disk = True
    """The cartridges lie on the disk that the staging is on."""

    def __init__(self, place: str, store_id: str) -> None:
        self.place, self._store_id = place, store_id
        self.drive = ImageDrive(place)
        self.library = Library(
            place,
            self.drive,
            FolderChanger(place, self.drive),
            store_id=store_id,
            lock_file=os.path.join(place, LOCK),
        )
        self.is_bare = False
        """Whether there was no marker when it was last asked for, only cartridges."""

    def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the folder is there and is the store."""
        try:
            found = read_marker(self.place)
        except OSError as error:
            raise StoreUnavailableError(place=self.place, reason=error.strerror or str(error)) from error
        if found is not None:
            self.is_bare = False
        elif self.is_bare or self._is_of_our_cartridges():
            self.is_bare = bool(barcodes_in(self.place))
            found = self._store_id if self.is_bare else None
        if found is None:
            raise StoreUnavailableError(place=self.place, reason="its marker is not there; is it mounted?")
        if found != self._store_id:
            raise StoreUnavailableError(place=self.place, reason=Phrase("it is another store, {found!r}", found=found))

    def _is_of_our_cartridges(self) -> bool:
        return any(label.store == self._store_id for label in labels_in(self.place))

    def directory(self, *, writable: bool) -> Directory:
        """Open the directory of the cartridges; what it does not know is looked for on them.

        Who does not write changes nothing: what is missing is then added in memory.
        """
        path = os.path.join(self.place, DIRECTORY)
        if writable:
            try:
                found = Directory(path, writable=True)
            except DirectoryError:
                os.unlink(path)
                found = Directory(path, writable=True)
        else:
            try:
                found = Directory(path if os.path.exists(path) else "")
            except DirectoryError:
                found = Directory("")
        unknown = set(barcodes_in(self.place)) - {one.barcode for one in found.cartridges()}
        if unknown and found.path and not writable:
            found = found.in_memory()
        if unknown:
            self._learn(found, unknown)
        return found

    def _learn(self, directory: Directory, unknown: set[str]) -> None:
        labels = []
        for barcode in sorted(unknown):
            with suppress(TapeError, StoreUnavailableError):
                labels.append(self.library.mount(barcode))
        known = {one.number for one in directory.cartridges()}
        for label in sorted(labels, key=lambda label: label.number):
            if label.number in known:
                continue
            files, elsewhere = contents_of(self.library, label.barcode)
            directory.add_cartridge(Cartridge(label.number, label.barcode, OPEN), files)
            directory.learn(elsewhere)


def barcodes_in(place: str) -> list[str]:
    """Return the barcodes of the images in a folder; nothing if it is not there."""
    try:
        names = os.listdir(place)
    except OSError:
        return []
    found = (name.removesuffix(TAPE) for name in names if name.endswith(TAPE))
    return sorted(barcode for barcode in found if BARCODE.fullmatch(barcode))


def labels_in(place: str) -> Iterator[Label]:
    """Yield the labels of the cartridges in a folder that can be read; nothing is written, loads are not counted."""
    for barcode in barcodes_in(place):
        with suppress(TapeError, StoreUnavailableError), _in_drive(place, barcode, counting=False) as drive:
            yield read_label(drive, barcode)


@contextmanager
def _in_drive(place: str, barcode: str, *, counting: bool) -> Iterator[ImageDrive]:
    drive = ImageDrive(place)
    drive.insert(os.path.join(place, barcode + TAPE), counting=counting)
    try:
        yield drive
    finally:
        drive.remove()


def stored_id(place: str) -> str | None:
    """Return which store the folder is, by its marker or by the labels of its cartridges; None if it is none."""
    try:
        found = read_marker(place)
    except NotADirectoryError:
        return None
    except OSError as error:
        raise StoreUnavailableError(place=place, reason=error.strerror or str(error)) from error
    if found is not None:
        return found
    return next((label.store for label in labels_in(place)), None)


def read_marker(place: str) -> str | None:
    """Return which store the marker in a folder says; None if there is no marker, ``OSError`` if it cannot be read."""
    try:
        file = os.open(os.path.join(place, MARKER_KEY), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.read(file, LONGEST_MARKER)
    finally:
        os.close(file)
    try:
        found = json.loads(text)["store"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OSError(0, marked("its marker cannot be understood")) from error
    return found if isinstance(found, str) else None


def initialise(place: str, store_id: str, cartridges: Cartridges | None) -> None:
    """Make the folder the store ``store_id`` and see to it that it has so many cartridges; harmless a second time.

    Raises:
        StoreRefusesError: it is another store, or holds something else.
        CartridgesError: so many cannot be made.
    """
    found = stored_id(place)
    if found not in {None, store_id}:
        raise StoreRefusesError(place=place, reason=Phrase("it is another store, {found!r}", found=found))
    try:
        os.makedirs(place, exist_ok=True)
        others = [name for name in os.listdir(place) if name not in _OTHERS and not name.endswith((TAPE, SETTINGS))]
        if found is None and (others or barcodes_in(place)):
            raise StoreRefusesError(place=place, reason="the folder is not empty and is not a store")
        write_once(os.path.join(place, LOCK), b"")
        if cartridges is not None:
            _label(place, store_id, cartridges)
        _note_cartridges(place, store_id)
        marker = {"format": 1, "mocban": "tape store", "store": store_id}
        write_once(os.path.join(place, MARKER_KEY), json.dumps(marker).encode() + b"\n")
    except OSError as error:
        raise StoreRefusesError(place=place, reason=error.strerror or str(error)) from error


def _label(place: str, store_id: str, wanted: Cartridges) -> None:
    if not 0 < wanted.count <= MOST_CARTRIDGES:
        raise CartridgesError(
            place=place,
            reason=Phrase("1 to {limit} can be made, not {wanted}", limit=MOST_CARTRIDGES, wanted=wanted.count),
        )
    if wanted.capacity < 1 << 20:
        raise CartridgesError(place=place, reason="one of less than 1 MiB would hold nothing")
    with_label = {label.number for label in labels_in(place)}
    for number in range(1, wanted.count + 1):
        if number in with_label:
            continue
        barcode = barcode_of(store_id, number)
        with suppress(FileExistsError):  # made by one that was stopped before it was labelled
            make_cartridge(place, barcode, Settings(capacity=wanted.capacity))
        with _in_drive(place, barcode, counting=True) as drive:
            write_label(drive, Label(barcode, number, store_id, wanted.repository, wanted.written))


def _note_cartridges(place: str, store_id: str) -> None:
    """Have every cartridge in the directory, so that nobody needs to look for one on the cartridges themselves."""
    home = ImageFolder(place, store_id)
    try:
        home.directory(writable=True).close()
    finally:
        home.library.close()


def write_once(path: str, data: bytes) -> None:
    """Write a small file durably, in one step, unless it is there."""
    if os.path.exists(path):
        return
    with open(f"{path}.new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
