"""Brings what is staged to cartridges: streamed, synced, position checked, listed, read back; only then unstaged.

A failure leaves what is staged as it was, and nothing in the directory that is not on a tape. Of a failure in the
middle of a write nobody knows what the tape holds: the next attempt looks before it writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from storage_backends.backend import Item, Prove, StorageBackend
from storage_backends.errors import (
    MocbanError,
    ReadFailureError,
    StorageError,
    StoreFullError,
    StoreRefusesError,
    joined,
)
from storage_backends.tape.cartridges import FULL, OPEN, SUSPECT
from storage_backends.tape.directory import Cartridge, Directory, Location, TapeFile, TapeItem
from storage_backends.tape.drive import (
    RECORD,
    CartridgeAwayError,
    DriveBusyError,
    DriveOfflineError,
    DuplicateBarcodeError,
    EndOfMediumError,
    MediumError,
    NoLabelError,
    NotReadyError,
    Place,
    TapeDrive,
    WriteProtectedError,
    WrongCartridgeError,
    WrongPositionError,
)
from storage_backends.tape.labels import FIRST_FILE, Label
from storage_backends.tape.layout import Contents, Records, list_lines, stands_alone, write_index
from storage_backends.tape.library import Library
from storage_backends.tape.noted import Condition
from storage_backends.tape.reading import ComparingReader, TapeReader
from storage_backends.tape.survey import Survey, block_of

SYNC_EVERY = 32 << 30
"""Bytes after which a filemark is synchronous (32 GiB): what a power cut can make a flush write again."""

_UNUSABLE = (CartridgeAwayError, DuplicateBarcodeError, NoLabelError, NotReadyError, WrongCartridgeError)


@dataclass(slots=True)
class Session:
    """What was done on one cartridge: where the next tape file begins, and the files that are written."""

    cartridge: Cartridge
    label: Label
    file: int
    start: int
    written: list[TapeFile] = field(default_factory=list)
    committed: int = 0
    unsynced: int = 0
    full: bool = False


@dataclass(slots=True)
class Writer:
    """One flush of ``staging``; ``prove`` is given each item as it is read back."""

    library: Library
    directory: Directory
    staging: StorageBackend
    place: str
    prove: Prove
    withheld: frozenset[str] = frozenset()
    """Barcodes of cartridges on which nothing is written any more, and on which nothing counts as written."""
    _too_large: dict[str, int] = field(default_factory=dict)
    """What did not fit on an empty cartridge, and its size."""

    def flush(self) -> None:
        """Bring everything to cartridges.

        Raises:
            StoreFullError, StoreRefusesError: no cartridge is left to write on; what is committed is proved.
            ReadFailureError, or what ``prove`` raises: what was read back is wrong; it stays staged.
            TapeError: the drive failed.
        """
        avoid = self._settle()
        while self._waiting():
            session = self._begun(avoid)
            avoid |= self._settle()  # what an interrupted flush had written was found just now
            if self._waiting():
                self._write(session)
        if self._too_large:
            raise StoreFullError(place=self.place, needed=max(self._too_large.values()), free=0, reserve=0)

    def _waiting(self) -> bool:
        return any(item.key not in self._too_large for item in self.staging.items())

    # ---- before anything is written --------------------------------------------------------------------------------

    def _end_of(self, cartridge: Cartridge) -> tuple[int, int]:
        """Return file number and block of the end of data; whole files behind the known end are noted, never lost."""
        survey = Survey(self.library, cartridge.barcode, self.directory.last_file(cartridge.number))
        for found in survey:
            file = found.file
            if not found.is_index:
                key = self._staged_as(cartridge, file)
                if key:
                    file = replace(file, items=(TapeItem(key, 0, file.records * RECORD),))
            self.directory.add_files(cartridge.number, [file])
        return survey.file, survey.start

    def _staged_as(self, cartridge: Cartridge, file: TapeFile) -> str:
        """Return the key of the staged item whose bytes a tape file holds; nothing if it is nobody's."""
        size = file.records * RECORD
        for item in list(self.staging.items()):
            if stands_alone(item) and item.size == size:
                place = Location(cartridge.number, cartridge.barcode, file.file, file.start, file.records, 0, size)
                if self._is_right(item.key, place):
                    return item.key
        return ""

    def _settle(self) -> set[int]:
        """Unstage what the tapes have; return the cartridges on which something staged lies and is wrong."""
        wrong = set()
        for item in list(self.staging.items()):
            found = self.directory.find(item.key)
            if found is None or found.barcode in self.withheld:
                continue
            if found.size == item.size and self._is_right(item.key, found, prove=True):
                self.staging.delete(item.key)
            else:
                self.directory.forget(item.key)
                wrong.add(found.number)
        return wrong

    def _is_right(self, key: str, found: Location, *, prove: bool = False) -> bool:
        try:
            with self._comparing(key, found, fresh=True) as reader:
                if prove:
                    self.prove(Item(key, found.size, found.generation), reader)
                reader.finish()
        except (DriveOfflineError, DriveBusyError):
            raise
        except StorageError:
            return False
        return True

    def _comparing(self, key: str, found: Location, *, fresh: bool) -> ComparingReader:
        original = self.staging.read(key)
        return ComparingReader(
            TapeReader(self.library, key, found, fresh=fresh), original, place=self.library.place, key=key
        )

    def _begun(self, avoid: set[int]) -> Session:
        """Return a session at the end of the data of the next cartridge that can be written.

        Only the one written last, or a later one: the order of the cartridges is the order of time. One on which
        something is to be replaced is passed over if there is another.
        """
        known = self.directory.cartridges()
        last = max((one.number for one in known if self.directory.last_file(one.number) is not None), default=0)
        candidates = [
            one for one in known if one.state == OPEN and one.number >= last and one.barcode not in self.withheld
        ]
        candidates.sort(key=lambda one: (one.number in avoid, one.number))
        reasons = []
        for cartridge in candidates:
            try:
                label = self.library.mount(cartridge.barcode)
                if self.library.drive.is_write_protected():
                    self.library.note(cartridge.barcode, Condition.WRITE_PROTECTED)
                    reasons.append(str(WriteProtectedError(place=cartridge.barcode, reason="its tab is set")))
                    continue
                file, start = self._end_of(cartridge)
            except _UNUSABLE as error:
                reasons.append(str(error))
                continue
            return Session(cartridge, label, file, start)
        if reasons:
            raise StoreRefusesError(place=self.place, reason=joined(reasons))
        needed = sum(item.size for item in self.staging.items())
        raise StoreFullError(place=self.place, needed=needed, free=0, reserve=0)

    # ---- writing ---------------------------------------------------------------------------------------------------

    def _write(self, session: Session) -> None:
        number = session.cartridge.number
        try:
            with self.library.using(session.cartridge.barcode) as drive:
                drive.locate(Place(session.start, session.file, 0))
                self._fill(drive, session)
        except WriteProtectedError:  # written once, and something torn at its end
            self.directory.set_state(number, SUSPECT)
            return
        except MediumError:
            self.directory.set_state(number, SUSPECT)
            raise
        if session.full:
            self.directory.set_state(number, FULL)
        self._read_back(session)

    def _fill(self, drive: TapeDrive, session: Session) -> None:
        for item in self.staging.items():
            if not stands_alone(item) or item.key in self._too_large:
                continue
            try:
                session.full = self._write_alone(drive, session, item)
            except EndOfMediumError:
                drive.locate(Place(session.start, session.file, 0))
                if session.file == FIRST_FILE:
                    self._too_large[item.key] = item.size
                    continue
                session.full = True
            if session.full:
                break
            if session.unsynced >= SYNC_EVERY:
                self._commit(session)
        self._write_list(drive, session)
        self._commit(session)

    def _write_alone(self, drive: TapeDrive, session: Session, item: Item) -> bool:
        records = Records(drive)
        with self.staging.read(item.key) as reader:
            records.take(reader, item.size, key=item.key)
        is_due = session.unsynced + item.size >= SYNC_EVERY
        self._end_file(drive, session, records, (TapeItem(item.key, 0, item.size),), synchronous=is_due)
        session.unsynced += item.size
        return records.warned

    def _end_file(
        self,
        drive: TapeDrive,
        session: Session,
        records: Records,
        items: tuple[TapeItem, ...],
        *,
        synchronous: bool,
    ) -> None:
        drive.write_filemark(synchronous=synchronous)
        found, expected = block_of(drive), session.start + records.records + 1
        if found != expected:
            raise WrongPositionError(place=drive.name, found=found, expected=expected)
        session.written.append(TapeFile(session.file, session.start, records.records, items))
        session.file, session.start = session.file + 1, expected

    def _write_list(self, drive: TapeDrive, session: Session) -> None:
        """Write the INDEX; on a tape that is at its end without items, or not at all: the next one lists it too."""
        small = tuple(item for item in self.staging.items() if not stands_alone(item))
        for items in (small, ()) if small else ((),):
            contents = Contents(session.label, session.file, lambda: self._lines(session), items, self.staging.read)
            try:
                records, places = write_index(drive, contents)
                self._end_file(drive, session, records, places, synchronous=True)
            except EndOfMediumError:
                session.full = True
                drive.locate(Place(session.start, session.file, 0))
                continue
            session.full = session.full or records.warned
            return
        self._cut(drive, session)

    def _cut(self, drive: TapeDrive, session: Session) -> None:
        """Put a filemark where a torn file begins: what was there is gone, and what lies before is synced.

        Where there is no room even for that, it is put over the file before.
        """
        while True:
            try:
                drive.locate(Place(session.start, session.file, 0))
                drive.write_filemark(synchronous=True)
            except EndOfMediumError:
                if len(session.written) == session.committed:
                    return
                file = session.written.pop()
                assert file.start is not None
                session.file, session.start = file.file, file.start
            else:
                return

    def _lines(self, session: Session) -> Iterator[bytes]:
        return list_lines(session.label, session.file, self._listed(session))

    def _listed(self, session: Session) -> Iterator[tuple[str, TapeFile]]:
        """Yield what is on this cartridge so far; on a new one, first what is on the one before."""
        number, barcode = session.cartridge.number, session.cartridge.barcode
        first = session.written[0].file if session.written else session.file
        if first == FIRST_FILE:
            before = [one for one in self.directory.cartridges() if one.number < number]
            for one in before[-1:]:
                yield from ((one.barcode, file) for file in self.directory.files(one.number))
        yield from ((barcode, file) for file in self.directory.files(number))
        yield from ((barcode, file) for file in session.written[session.committed :])

    def _commit(self, session: Session) -> None:
        """Note in the directory what the last synchronous filemark made durable."""
        self.directory.add_files(session.cartridge.number, session.written[session.committed :])
        session.committed, session.unsynced = len(session.written), 0

    # ---- reading back ----------------------------------------------------------------------------------------------

    def _read_back(self, session: Session) -> None:
        failure: MocbanError | None = None
        for file in session.written:
            with self.library.using(session.cartridge.barcode) as drive:
                reach = drive.reach(Place(file.start, file.file, 0), file.records)
            for item in file.items:
                found = self.directory.find(item.key)
                assert found is not None
                try:
                    with self._comparing(item.key, found, fresh=False) as reader:
                        reader.reach = reach
                        self.prove(Item(item.key, item.size, found.generation), reader)
                        reader.finish()
                except (DriveOfflineError, DriveBusyError):
                    raise
                except MocbanError as error:
                    failure = failure or error
                    self.directory.forget(item.key)
                    if isinstance(error, ReadFailureError):
                        self.directory.set_state(session.cartridge.number, SUSPECT)
                else:
                    self.staging.delete(item.key)
        if failure is not None:
            raise failure
