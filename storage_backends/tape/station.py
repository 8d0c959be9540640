"""A store whose cartridges are in real drives: a folder beside for what is on its way and for the directory.

The folder's marker says which store it is. Cartridges of other stores may lie in the same library; they are left alone.
"""

import json
import os
from contextlib import AbstractContextManager, closing, suppress

from storage_backends.backend import MARKER_KEY
from storage_backends.errors import Phrase, StoreRefusesError, StoreUnavailableError
from storage_backends.tape.addresses import Hardware
from storage_backends.tape.cartridges import BARCODE, HAND, OPEN, Cartridges, CartridgesError, barcode_of
from storage_backends.tape.changer import CLEANING, UNKNOWN
from storage_backends.tape.directory import Cartridge, Directory, DirectoryError
from storage_backends.tape.drive import (
    DuplicateBarcodeError,
    MediumError,
    NoLabelError,
    NotReadyError,
    UnsupportedError,
    WriteProtectedError,
    WrongCartridgeError,
)
from storage_backends.tape.hardware import opened
from storage_backends.tape.labels import Label, label_of, write_label
from storage_backends.tape.library import Library
from storage_backends.tape.place import DIRECTORY, LOCK, STAGING, read_marker, write_once
from storage_backends.tape.survey import contents_of

_OTHERS = frozenset({MARKER_KEY, STAGING, DIRECTORY, f"{DIRECTORY}.new", LOCK, "lost+found"})

_PASSED_OVER = (
    DuplicateBarcodeError,
    MediumError,
    NoLabelError,
    NotReadyError,
    UnsupportedError,
    WriteProtectedError,
    WrongCartridgeError,
)
"""What is the matter with a cartridge, and not with the drive."""


class Station:
    """The folder ``place``, which must be the store ``store_id`` whenever it is asked, and its drive."""

    is_bare = False
    """There is always a folder to stage in."""
    shares_disk = False
    """The cartridges lie on no disk."""

    def __init__(self, place: str, store_id: str, hardware: Hardware) -> None:
        self.place, self._store_id = place, store_id
        drive, changer = opened(hardware, self._owning)
        self.library = Library(
            place,
            drive,
            changer,
            store_id=store_id,
            lock_file=os.path.join(place, LOCK),
            claimed=hardware.identity,
        )

    def _owning(self) -> AbstractContextManager[object]:
        return self.library.using()

    def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the folder is there and is the store; the drive is not asked."""
        try:
            found = read_marker(self.place)
        except OSError as error:
            raise StoreUnavailableError(place=self.place, reason=error.strerror or str(error)) from error
        if found is None:
            raise StoreUnavailableError(place=self.place, reason="its marker is not there; is it mounted?")
        if found != self._store_id:
            raise StoreUnavailableError(place=self.place, reason=Phrase("it is another store, {found!r}", found=found))

    def directory(self, *, writable: bool) -> Directory:
        """Open the directory. Where there is none, every cartridge in the library is looked at.

        Who does not write then has one in memory.
        """
        path = os.path.join(self.place, DIRECTORY)
        if os.path.exists(path):
            try:
                return Directory(path, writable=writable)
            except DirectoryError:
                if writable:
                    os.unlink(path)
        if not writable:
            found = Directory("")
            self._learn(found)
            return found
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        with closing(Directory(f"{path}.new", writable=True)) as fresh:
            self._learn(fresh)
        os.rename(f"{path}.new", path)
        return Directory(path, writable=True)

    def _learn(self, directory: Directory) -> None:
        labels = [label for label in self.labels() if label.store == self._store_id]
        known: set[int] = set()
        for label in sorted(labels, key=lambda label: label.number):
            if label.number not in known:
                known.add(label.number)
                files, elsewhere = contents_of(self.library, label.barcode)
                directory.add_cartridge(Cartridge(label.number, label.barcode, OPEN), files)
                directory.learn(elsewhere)

    def labels(self) -> list[Label]:
        """Return the labels of all cartridges in the library that have one of ours; each is mounted."""
        found = []
        with self.library.using():
            for barcode in self._loadable():
                with suppress(*_PASSED_OVER):
                    self.library.bring(barcode)
                    found.append(label_of(self.library.drive))
        return found

    def _loadable(self) -> list[str]:
        return [one for one in self.library.barcodes() if _is_data(one)]

    def label(self, wanted: Cartridges, *, is_new: bool) -> None:
        """Make blank cartridges of the library ours until there are so many; those of others are left alone.

        The directory of a store that ``is_new`` begins empty: no more cartridges are mounted than are needed.

        Raises:
            CartridgesError: there are not so many; those that were blank are ours now.
        """
        path = os.path.join(self.place, DIRECTORY)
        with (
            self.library.using(),
            closing(Directory(path, writable=True) if is_new else self.directory(writable=True)) as directory,
        ):
            known = {one.barcode for one in directory.cartridges()}
            for barcode in self._loadable():
                if len(directory.cartridges()) >= wanted.count:
                    return
                if barcode not in known:
                    with suppress(*_PASSED_OVER):
                        self._take(directory, barcode, wanted)
            count = len(directory.cartridges())
        if count == 0 or (count < wanted.count and not wanted.as_there_are):
            reason = Phrase(
                "{count} are ours, and no more are blank; {wanted} were asked for", count=count, wanted=wanted.count
            )
            raise CartridgesError(place=self.place, reason=reason)

    def _take(self, directory: Directory, barcode: str, wanted: Cartridges) -> None:
        """Label a cartridge that is blank, or note one that is ours already."""
        self.library.bring(barcode)
        try:
            label = label_of(self.library.drive)
        except NoLabelError:
            number = max((one.number for one in directory.cartridges()), default=0) + 1
            name = barcode_of(self._store_id, number, HAND) if barcode == UNKNOWN else barcode
            label = Label(name, number, self._store_id, wanted.repository, wanted.written)
            write_label(self.library.drive, label)
            directory.add_cartridge(Cartridge(number, name, OPEN))
        else:
            if label.store == self._store_id and label.number not in {one.number for one in directory.cartridges()}:
                files, _ = contents_of(self.library, label.barcode)
                directory.add_cartridge(Cartridge(label.number, label.barcode, OPEN), files)


def _is_data(barcode: str) -> bool:
    return barcode == UNKNOWN or (BARCODE.fullmatch(barcode) is not None and not barcode.startswith(CLEANING))


def stored_id(place: str) -> str | None:
    """Return which store the folder is by its marker; None if it is none."""
    try:
        return read_marker(place)
    except NotADirectoryError:
        return None
    except OSError as error:
        raise StoreUnavailableError(place=place, reason=error.strerror or str(error)) from error


def initialise(place: str, store_id: str, hardware: Hardware, cartridges: Cartridges | None) -> None:
    """Make the folder the store ``store_id`` and label cartridges for it; harmless a second time.

    Raises:
        StoreRefusesError: it is another store, or holds something else.
        CartridgesError: there are not so many blank cartridges.
        TapeError: the drive or the changer cannot be used.
    """
    found = stored_id(place)
    if found not in {None, store_id}:
        raise StoreRefusesError(place=place, reason=Phrase("it is another store, {found!r}", found=found))
    try:
        os.makedirs(place, exist_ok=True)
        if found is None and not set(os.listdir(place)) <= _OTHERS:
            raise StoreRefusesError(place=place, reason="the folder is not empty and is not a store")
        write_once(os.path.join(place, LOCK), b"")
        station = Station(place, store_id, hardware)
        with closing(station.library):
            if cartridges is not None:
                is_new = found is None and not os.path.exists(os.path.join(place, DIRECTORY))
                station.label(cartridges, is_new=is_new)
            else:
                station.directory(writable=True).close()
        marker = {"format": 1, "mocban": "tape store", "store": store_id}
        write_once(os.path.join(place, MARKER_KEY), json.dumps(marker).encode() + b"\n")
    except OSError as error:
        raise StoreRefusesError(place=place, reason=error.strerror or str(error)) from error


def adopted(place: str, hardware: Hardware, expected: str = "") -> str | None:
    """Make the folder, which is lost, the store whose cartridges lie in the library; return which that is.

    If a store is ``expected``, the cartridges of others do not matter.

    Raises:
        StoreRefusesError: they are of several stores; the folder holds something else.
    """
    nobody = Station(place, "", hardware)
    with closing(nobody.library):
        stores = {label.store for label in nobody.labels()}
    if expected:
        stores &= {expected}
    if len(stores) > 1:
        reason = Phrase(
            "the cartridges are of several stores: {stores}; leave those of one in the library",
            stores=", ".join(sorted(stores)),
        )
        raise StoreRefusesError(place=place, reason=reason)
    for store_id in stores:
        initialise(place, store_id, hardware, None)
        return store_id
    return None
