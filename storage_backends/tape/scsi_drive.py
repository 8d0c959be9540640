"""A tape drive by SCSI commands, over whatever carries them; what it can do is found out when a cartridge is ready.

A drive that tells its position and locates a block is asked to. Of another, blocks, tape files and records are counted
from the beginning of the tape on, and it is rewound and spaced forward. After anything that may have moved the tape or
changed the cartridge the drive does nothing until ``check_ready``: whoever uses it then reads the label again.
"""

import time
from dataclasses import dataclass, replace
from typing import Protocol

from storage_backends.backend import Reach
from storage_backends.errors import Phrase, marked
from storage_backends.tape import scsi
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    Capabilities,
    DriveOfflineError,
    EndOfDataError,
    MediumChangedError,
    MediumError,
    Place,
    UnsupportedError,
    WrongPositionError,
)
from storage_backends.tape.scsi import Answer, Key, Transport

MOMENT, LONG, LOADING = 60, 3_600, 3 * 3_600
"""Seconds that may pass: where no tape moves; where it may move from end to end; while a cartridge is loaded (an LTO-9
drive prepares a new one for up to 2 hours, IBM TS4300 manual)."""

PAUSE = 0.5
"""Seconds between two questions whether the cartridge is ready."""

ATTENTIONS = 4
"""Most unit attentions that can wait: switched on, reset, cartridge changed, settings changed."""


class Connected(Transport, Protocol):
    """A transport that can be lost and made again."""

    def connect(self) -> None:
        """Be ready for commands; ``DriveOfflineError`` if that is not possible."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


@dataclass(frozen=True, slots=True)
class Counted:
    """Where the tape stands, as counted; ``block`` as in ``Place``, None where that is not known."""

    file: int
    record: int
    block: int | None

    def behind_record(self, count: int = 1) -> "Counted":
        """Return where it stands so many records later."""
        block = None if self.block is None else self.block + count
        return Counted(self.file, self.record + count, block)

    def behind_filemark(self) -> "Counted":
        """Return where it stands behind the filemark that is next."""
        return Counted(self.file + 1, 0, None if self.block is None else self.block + 1)


BEGINNING = Counted(0, 0, 0)


class ScsiDrive:
    """A drive behind a transport. One thread at a time.

    Unless it ``ejects``, giving up a cartridge only rewinds it: there is nobody to put it in again. ``reach`` is how
    deep a read goes, as far as can be known of what is behind the transport.
    """

    def __init__(self, transport: Connected, *, ejects: bool, reach: Reach) -> None:
        self.name = transport.name
        self.capabilities = Capabilities(position=False, locate=False)
        self._transport, self._ejects, self._reach = transport, ejects, reach
        self._lost = marked("nothing was asked of it yet")
        self._at: Counted | None = None
        self._unsynced = False

    # ---- the cartridge ---------------------------------------------------------------------------------------------

    def check_ready(self) -> None:
        """Connect, wait while a cartridge is being loaded, and find out what the drive can do."""
        self._transport.connect()
        self._hear()
        deadline = time.monotonic() + LOADING
        while True:
            answer = self._transport.command(scsi.TEST_UNIT_READY, seconds=MOMENT)
            loading = answer.sense is not None and answer.sense.code == scsi.BECOMING_READY
            if not loading or time.monotonic() > deadline:
                break
            time.sleep(PAUSE)
        error = scsi.failure(answer, self.name)
        if error is not None:
            raise error
        self._lost, self._unsynced = "", False
        self._keep(prevent=True)
        self.rewind()
        self.capabilities = self._probed()
        self.rewind()

    def is_write_protected(self) -> bool:
        """Ask the drive: the cartridge's tab, or its own setting."""
        return scsi.is_protected(self._ask(scsi.mode_sense(), expected=255).data)

    def unload(self) -> None:
        """Bring what is written to the medium, and give the cartridge up."""
        self._give_up(eject=self._ejects)

    def eject(self) -> None:
        """Give the cartridge to whoever stands before the drive."""
        self._give_up(eject=True)

    def _give_up(self, *, eject: bool) -> None:
        if self._lost:
            self._transport.connect()
            self._hear()
            self._lost = ""
        if self._unsynced:
            self._ask(scsi.write_filemarks(0, immediate=False), seconds=LONG)
            self._unsynced = False
        self._keep(prevent=False)
        self._ask(scsi.UNLOAD if eject else scsi.REWIND, seconds=LONG)
        self._lost = marked("the cartridge was given up")

    def close(self) -> None:
        """Give the connection up; the cartridge stays where it is."""
        self._transport.close()
        self._lost = marked("the connection was closed")

    def serial(self) -> str:
        """Return the drive's serial number, as it tells it."""
        self._transport.connect()
        if self._lost:
            self._hear()
        answer = self._transport.command(scsi.inquiry(scsi.SERIAL_PAGE), expected=255, seconds=MOMENT)
        return scsi.serial_of(answer.data) if answer.status == scsi.GOOD else ""

    # ---- the position ----------------------------------------------------------------------------------------------

    def rewind(self) -> None:
        """Go to the beginning of the tape."""
        self._at = None
        self._ask(scsi.REWIND, seconds=LONG)
        self._at = BEGINNING

    def position(self) -> int | None:
        """Return the next block as the drive reports it; else as counted; None if that was lost."""
        if not self.capabilities.position:
            return None if self._at is None else self._at.block
        return scsi.position_of(self._ask(scsi.READ_POSITION, expected=scsi.POSITION_BYTES).data)

    def locate(self, place: Place) -> None:
        """Go to ``place``: by its block where the drive can, else by filemarks and records."""
        if not (self.capabilities.locate and place.block is not None and self._located(place.block)):
            self._walk(place)
        self._at = Counted(place.file, place.record, place.block)

    def skip_file(self) -> None:
        """Go behind the next filemark; a drive that cannot tell its position is made to read, and we count."""
        if self.capabilities.position:
            self._space(scsi.FILEMARKS, 1)
            return
        try:
            while self.read(RECORD) is not FILEMARK:
                pass
        except (MediumError, BlockTooLargeError):
            self._space(scsi.FILEMARKS, 1)  # the count is lost, and ``position`` says so

    # ---- records ---------------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes | None:
        """Return the next record or ``FILEMARK``."""
        at, self._at = self._at, None
        answer = self._ask(scsi.read(size), expected=size, seconds=LONG)
        sense = answer.sense
        if sense is not None and sense.filemark:
            self._at = None if at is None else at.behind_filemark()
            return FILEMARK
        self._at = None if at is None else at.behind_record()
        if sense is None or not sense.wrong_length:
            return answer.data
        block = self._block(at)
        if sense.information is None or sense.information < 0:
            found = "?" if sense.information is None else size - sense.information
            raise BlockTooLargeError(place=self.name, block=block, found=found, expected=size)
        found = size - sense.information
        if found > len(answer.data):
            raise MediumError(place=self.name, block=block, reason="the drive did not send all of it")
        return answer.data[:found]

    def write(self, record: bytes | memoryview) -> bool:
        """Write a record; whatever goes wrong in the middle, nothing is said to be written."""
        at, self._at = self._at, None
        try:
            answer = self._write(record, at)
        except MediumError:
            if at != BEGINNING:
                raise
            self.rewind()  # nothing lies before it: the beginning of a tape can be written again
            answer = self._write(record, at)
        self._at = None if at is None else at.behind_record()
        return answer.sense is not None and answer.sense.end

    def write_filemark(self, *, synchronous: bool) -> None:
        """Write a filemark; if ``synchronous``, the drive answers when everything is on the medium."""
        at, self._at = self._at, None
        self._carried_out(self._ask(scsi.write_filemarks(1, immediate=not synchronous), seconds=LONG), at)
        self._at = None if at is None else at.behind_filemark()
        self._unsynced = not synchronous

    def reach(self, place: Place, records: int) -> Reach:
        """Return what is known of it; nothing was read ahead by us."""
        del place, records
        return self._reach

    def ask(self, cdb: bytes, *, out: bytes = b"", expected: int = 0) -> bytes:
        """Send a command that neither moves the tape nor writes, and return what is answered."""
        return self._ask(cdb, out=out, expected=expected).data

    # ---- how -------------------------------------------------------------------------------------------------------

    def _write(self, record: bytes | memoryview, at: Counted | None) -> Answer:
        answer = self._carried_out(self._ask(scsi.write(len(record)), out=record, seconds=LONG), at)
        self._unsynced = True
        return answer

    def _carried_out(self, answer: Answer, at: Counted | None) -> Answer:
        sense = answer.sense
        if sense is not None and (sense.deferred or sense.information):
            raise MediumError(
                place=self.name, block=self._block(at), reason=Phrase("not all of it is written: {sense}", sense=sense)
            )
        return answer

    def _keep(self, *, prevent: bool) -> None:
        """Keep others (and the button) from taking the cartridge out meanwhile; a drive that cannot is used without."""
        self._transport.command(scsi.prevent_removal(prevent=prevent), seconds=MOMENT)

    def _hear(self) -> None:
        """Take what the drive has to tell of the time before: it was switched on, a cartridge was changed."""
        for _ in range(ATTENTIONS):
            answer = self._transport.command(scsi.TEST_UNIT_READY, seconds=MOMENT)
            if answer.sense is None or answer.sense.key != Key.UNIT_ATTENTION:
                return

    def _probed(self) -> Capabilities:
        answer = self._transport.command(scsi.READ_POSITION, expected=scsi.POSITION_BYTES, seconds=MOMENT)
        tells = answer.status == scsi.GOOD and scsi.position_of(answer.data) is not None
        locates = tells and self._transport.command(scsi.locate(0), seconds=LONG).status == scsi.GOOD
        answer = self._transport.command(scsi.READ_BLOCK_LIMITS, expected=scsi.BLOCK_LIMITS_BYTES, seconds=MOMENT)
        longest = scsi.longest_record_of(answer.data) if answer.status == scsi.GOOD else 0
        if 0 < longest < RECORD:
            reason = Phrase("its longest record has {longest} bytes", longest=longest)
            raise UnsupportedError(place=self.name, reason=reason)
        found = Capabilities(position=tells, locate=locates)
        return replace(found, longest_record=longest) if longest else found

    def _located(self, block: int) -> bool:
        """Go to a block; return False if the drive did not, and the place is to be found by filemarks."""
        self._at, lost = None, self._lost
        try:
            self._ask(scsi.locate(block), seconds=LONG)
        except (UnsupportedError, EndOfDataError):
            return False
        except DriveOfflineError:
            if lost or self._transport.command(scsi.TEST_UNIT_READY, seconds=MOMENT).status != scsi.GOOD:
                raise
            self._lost = ""  # some drives call a block behind the data a failure of their own
            return False
        found = self.position()
        if found != block:
            raise WrongPositionError(place=self.name, found=found, expected=block)
        return True

    def _walk(self, place: Place) -> None:
        at = self._at
        if at is None or at.file > place.file or (at.file == place.file and at.record > place.record):
            self.rewind()
            at = BEGINNING
        self._space(scsi.FILEMARKS, place.file - at.file)
        self._space(scsi.BLOCKS, place.record - (at.record if at.file == place.file else 0))

    def _space(self, kind: int, count: int) -> None:
        self._at = None
        while count:
            step = min(count, scsi.MOST_SPACED)
            answer = self._ask(scsi.space(kind, step), seconds=LONG)
            if answer.sense is not None and answer.sense.filemark:  # it has fewer records than that
                raise EndOfDataError(place=self.name, block="?")
            count -= step

    def _ask(self, cdb: bytes, *, out: bytes | memoryview = b"", expected: int = 0, seconds: int = MOMENT) -> Answer:
        if self._lost:
            raise DriveOfflineError(place=self.name, reason=self._lost)
        try:
            answer = self._transport.command(cdb, out=out, expected=expected, seconds=seconds)
            error = scsi.failure(answer, self.name)
            if error is not None:
                raise error
        except (DriveOfflineError, MediumChangedError) as error:
            self._lost = str(error.evidence.get("reason", error))
            raise
        return answer

    @staticmethod
    def _block(at: Counted | None) -> int | str:
        return "?" if at is None or at.block is None else at.block
