"""A drive of the Linux ``st`` driver (``/dev/nst0``): reads and writes as they are, and ioctl for everything else.

The driver's manners are those of Linux, Documentation/scsi/st.rst, and were measured: docs/tape.md has them. Records
are of variable length, nothing is buffered or read ahead by the driver, and the drive does not compress.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from storage_backends.backend import Reach
from storage_backends.errors import marked
from storage_backends.tape import known, mtio, scsi, sg
from storage_backends.tape.drive import (
    FILEMARK,
    RECORD,
    BlockTooLargeError,
    Capabilities,
    DriveOfflineError,
    EndOfDataError,
    EndOfMediumError,
    MediumError,
    NotReadyError,
    Place,
    TapeError,
    UnsupportedError,
)

PATIENCE = 2 * 60 * 60 + 600
"""Seconds that a drive may say that it is getting ready: an LTO-9 drive prepares a new cartridge for up to 2 hours."""
GRACE = 5
"""Seconds that a drive may say that it is empty after a changer put a cartridge in."""


class NstDrive:
    """The drive at ``path``. It is opened when a cartridge is looked for, and closed by ``unload``. One thread.

    Unless it ``ejects``, giving up a cartridge leaves it in the drive: there is nobody to put it in again.
    """

    def __init__(self, path: str, *, ejects: bool = True, pause: Callable[[float], None] = time.sleep) -> None:
        self.name = path
        self.capabilities = Capabilities()
        self._ejects, self._pause = ejects, pause
        self._file = -1
        self._protected = False
        self._at_beginning = False
        self._count: int | None = None
        """The next block, filemarks too, as counted from the beginning; None if that was lost."""
        self._warned = False
        """Whether early warning or the end was met since the tape was last sent elsewhere."""
        self._end: int | None = None
        """The block at which it was first met on this cartridge, if the drive tells."""
        self._written = self._open_ended = False
        """Whether anything was written since the tape was last rewound, and whether no filemark is behind it yet."""

    def serial(self) -> str:
        """Return the drive's serial number as the kernel read it (vital product data, page 80h), if it did."""
        return known.serial(self.name)

    # ---- the cartridge ---------------------------------------------------------------------------------------------

    def check_ready(self) -> None:
        """Raise ``NotReadyError`` unless a cartridge can be used; wait for one that is being made ready."""
        if self._file >= 0:
            if self._status().is_online:
                return
            self.close()
        waited, grace = 0, GRACE if self._ejects else 0
        while True:
            status = self._opened()
            if not status.is_online and not status.is_empty and not waited:
                status = self._loaded()
            if status.is_online:
                break
            self.close()
            if waited >= (grace if status.is_empty else PATIENCE):
                reason = marked("the drive is empty") if status.is_empty else marked("it is still loading")
                raise NotReadyError(place=self.name, reason=reason)
            self._pause(1)
            waited += 1
        self._protected = status.is_protected
        self._at_beginning = self._warned = self._written = self._open_ended = False
        self._end = self._count = None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _opened(self) -> mtio.Status:
        """Open without waiting (a waiting open hangs for two minutes; a protected tape would not open) and look."""
        try:
            self._file = os.open(self.name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise mtio.opening_failure(error, self.name) from error
        try:
            found = os.fstat(self._file)
            mtio.check_device(found.st_mode, found.st_rdev, self.name)
            return self._status()
        except BaseException:
            self.close()
            raise

    def _loaded(self) -> mtio.Status:
        """Have a cartridge loaded that may lie in the drive since it was unloaded; return the new status."""
        with suppress(OSError):
            self._ask(mtio.LOAD)
        self.close()
        return self._opened()

    def _set_up(self) -> None:
        self._do(mtio.SETBLK, 0)
        self._set_options()
        try:
            self._ask(mtio.COMPRESSION, 0)
        except OSError as error:  # a drive that cannot be told has none that we could turn off
            if error.errno not in {errno.EIO, errno.EINVAL, errno.ENOSYS}:
                raise self._failure(error) from error
        told = self._told()
        locates = told is not None and self._goes_to(told)
        self.capabilities = replace(self.capabilities, position=told is not None, locate=locates)

    def _set_options(self) -> None:
        try:
            self._ask(mtio.SETDRVBUFFER, mtio.CLEAR_OPTIONS | mtio.ASYNC_WRITES | mtio.READ_AHEAD)
            self._ask(mtio.SETDRVBUFFER, mtio.SET_OPTIONS | mtio.SCSI2LOGICAL | mtio.AUTO_LOCK)
        except OSError as error:
            if error.errno != errno.EPERM:  # only root may; somebody may have done it
                raise self._failure(error) from error
            options = known.options(self.name)
            if options & (mtio.ASYNC_WRITES | mtio.READ_AHEAD) or not options & mtio.SCSI2LOGICAL:
                reason = marked(
                    "its options are not right and only root may set them: "
                    "mt stclearoptions async-writes read-ahead; mt stsetoptions scsi2logical"
                )
                raise UnsupportedError(place=self.name, reason=reason) from error

    def is_write_protected(self) -> bool:
        """Tell whether the cartridge's tab, or the drive, forbids writing."""
        self.check_ready()
        return self._protected

    def unload(self) -> None:
        """Bring what is written to the medium, and eject; a drive filled by hand is rewound instead."""
        self._give_up(mtio.OFFL if self._ejects else mtio.REW)

    def eject(self) -> None:
        """Give the cartridge out, though only a person can put it in again."""
        self._give_up(mtio.OFFL)

    def _give_up(self, how: int) -> None:
        if self._file < 0 and not self._opened().is_online:
            self.close()
            raise NotReadyError(place=self.name, reason="the drive is empty")
        try:
            self._leave_open()
            self._do(how)
        finally:
            self.close()

    def close(self) -> None:
        """Let others have the drive; the cartridge stays where it is."""
        if self._file >= 0:
            self._leave_open()
            file, self._file = self._file, -1
            with suppress(OSError):  # a device that rewinds, and has nothing to rewind
                os.close(file)

    # ---- the position ----------------------------------------------------------------------------------------------

    def rewind(self) -> None:
        """Go to the beginning of the tape."""
        self._leave()
        self._do(mtio.REW)
        self._at_beginning, self._written, self._count = True, False, 0

    def position(self) -> int | None:
        """Return the next block as the drive tells it; else as counted; None if that was lost."""
        self._open_file()
        if not self.capabilities.position:
            return self._count
        if (told := self._told()) is None:
            raise self._lost(marked("it no longer tells its position"))
        return told

    def locate(self, place: Place) -> None:
        """Go to the block; where the drive cannot, to the record of the tape file, from the beginning."""
        self._leave()
        if not self.capabilities.locate or place.block is None:
            self._walk(place)
            self._count = place.block
        elif not self._goes_to(place.block):
            self._explain_seek(place.block)

    def _walk(self, place: Place) -> None:
        """Go there by filemarks and records, from where the driver knows that the tape stands."""
        status = self._status()
        file, record = status.file, status.record
        if file != place.file or not 0 <= record <= place.record:
            if not 0 <= file < place.file:
                self.rewind()
                file = 0
            if place.file > file:
                self._do(mtio.FSF, place.file - file)
            record = 0
        if place.record > record:
            self._do(mtio.FSR, place.record - record)
        self._at_beginning = self._at_beginning and place.file == place.record == 0

    def _goes_to(self, block: int) -> bool:
        try:
            self._ask(mtio.SEEK, block)
        except OSError as error:
            if error.errno != errno.EIO:
                raise self._failure(error) from error
            return False
        return True

    def _explain_seek(self, block: int) -> None:
        """Raise what it means that a block was not reached: the data ends before it, or it could not be reached."""
        self._do(mtio.EOM)
        end = self.position()
        if end is not None and end < block:
            raise EndOfDataError(place=self.name, block=block)
        raise MediumError(place=self.name, block=block, reason="it could not be reached")

    def skip_file(self) -> None:
        """Go behind the next filemark; a drive that cannot tell its position is made to read, and we count."""
        if self.capabilities.position:
            self._leave()
            self._do(mtio.FSF)
            return
        try:
            while self.read(RECORD) is not FILEMARK:
                pass
        except (MediumError, BlockTooLargeError):
            self._leave()
            self._do(mtio.FSF)  # the count is lost, and ``position`` says so

    def _leave(self) -> None:
        """Be about to stand elsewhere."""
        self._open_file()
        self._leave_open()
        self._warned = self._at_beginning = False
        self._count = None

    def _leave_open(self) -> None:
        """Keep the driver from ending by a filemark what was not written to its end: a torn file stays a torn file.

        It does so before it moves the tape after a write, unless something else was asked of it in between.
        """
        if self._open_ended:
            self._open_ended = False
            with suppress(OSError):
                self._ask(mtio.UNLOCK)

    # ---- records ---------------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes | None:
        """Return the next record, or ``FILEMARK``."""
        file, self._at_beginning = self._open_file(), False
        count, self._count = self._count, None
        try:
            data = os.read(file, size)
        except OSError as error:
            if error.errno == errno.ENOMEM:  # how long it is the driver does not say
                raise BlockTooLargeError(place=self.name, block=self._block(), found="?", expected=size) from error
            raise self._failure(error) from error
        status = self._status()
        ended = status.at_end_of_data or (status.at_end_of_tape and not self.capabilities.position)
        if ended:  # the driver says so once, with no bytes or with ones that nobody read, before it fails
            raise EndOfDataError(place=self.name, block=self._block())
        self._count = None if count is None else count + 1
        return data or FILEMARK

    def write(self, record: bytes | memoryview) -> bool:
        """Write a record; the first one of a tape is tried twice: nothing lies before it that could be lost.

        Of an error with EOM the driver says that all is well, and no tape ends with its first record.
        """
        is_first, self._at_beginning = self._at_beginning, False
        try:
            self._write(record, tries=1 if is_first else 2)
        except (MediumError, EndOfMediumError):
            if not is_first:
                raise
            self._warned = True
        if is_first and self._warned:
            self.rewind()
            self._at_beginning, self._end = False, None
            self._write(record, tries=2)
        return self._warned

    def _write(self, record: bytes | memoryview, *, tries: int) -> None:
        """At early warning the driver fails once with ENOSPC and writes nothing; at the end of the medium each time."""
        file = self._open_file()
        self._written = self._open_ended = True
        before, self._count, size = self._count, None, 0
        while tries and not size:
            tries -= 1
            try:
                size = os.write(file, record)
            except OSError as error:
                if error.errno != errno.ENOSPC or not tries:
                    raise self._failure(error, writing=True) from error
                self._warn()
        if size != len(record):
            raise EndOfMediumError(place=self.name, block=self._block())
        self._count = None if before is None else before + 1
        if self._status().at_end_of_tape:
            self._warn()

    def _warn(self) -> None:
        self._warned = True
        if self._end is None and self.capabilities.position:
            self._end = self._told()

    def write_filemark(self, *, synchronous: bool) -> None:
        """Write a filemark; the driver waits until everything is on the medium unless it is told not to."""
        self._at_beginning, self._written = False, True
        before, self._count = self._count, None
        try:
            self._ask(mtio.WEOF if synchronous else mtio.WEOFI)
        except OSError as error:
            raise self._failure(error, writing=True) from error
        self._open_ended = False
        self._count = None if before is None else before + 1

    def reach(self, place: Place, records: int) -> Reach:
        """Say that it comes from the medium. The driver keeps nothing; the drive may keep what was written last.

        So the tape is wound to its beginning once after something was written.
        """
        del place, records
        if self._written:
            self.rewind()
        return Reach.MEDIUM

    def ask(self, cdb: bytes, *, out: bytes = b"", expected: int = 0) -> bytes:
        """Send the drive itself a command that neither moves the tape nor writes; only root may, past the driver."""
        answer = sg.carried(self._open_file(), self.name, cdb, out=out, expected=expected)
        error = scsi.failure(answer, self.name)
        if error is not None:
            raise error
        return answer.data

    # ---- the driver ------------------------------------------------------------------------------------------------

    def _open_file(self) -> int:
        if self._file < 0:
            raise NotReadyError(place=self.name, reason="no cartridge was looked for")
        return self._file

    def _ask(self, code: int, count: int = 1) -> None:
        fcntl.ioctl(self._open_file(), mtio.MTIOCTOP, mtio.operation(code, count))

    def _do(self, code: int, count: int = 1) -> None:
        try:
            self._ask(code, count)
        except OSError as error:
            raise self._failure(error) from error

    def _status(self) -> mtio.Status:
        try:
            return mtio.status_of(fcntl.ioctl(self._open_file(), mtio.MTIOCGET, bytes(mtio.STATUS.size)))
        except OSError as error:
            raise self._lost(error.strerror) from error

    def _told(self) -> int | None:
        """Return what the drive says of its position; None if it says nothing."""
        try:
            (block,) = mtio.TOLD.unpack(fcntl.ioctl(self._open_file(), mtio.MTIOCPOS, bytes(mtio.TOLD.size)))
        except OSError:
            return None
        return int(block)

    def _block(self) -> int | str:
        """Return where the tape stands, for people: the block, or file/record as the driver counts."""
        told, status = self._told() if self.capabilities.position else None, self._status()
        if told is not None:
            return told
        return "?" if status.file < 0 else f"{status.file}/{status.record}"

    def _answers(self) -> bool:
        """Tell whether the drive carries out a command that changes nothing."""
        if self.capabilities.position:
            return self._told() is not None
        try:
            self._ask(mtio.UNLOCK)
        except OSError:
            return False
        return True

    def _failure(self, error: OSError, *, writing: bool = False) -> TapeError:
        """Return what an error means; after a lost drive nothing is done until it is looked for again."""
        self._count = None
        status = self._status() if error.errno == errno.EIO else None
        answers = status is not None and self._answers()
        block = self._block() if answers or error.errno == errno.ENOSPC else "?"
        ended = self._has_ended(block) if writing else answers and self._is_behind_data()
        found = mtio.failure(error, status, self.name, block, writing=writing, answers=answers, ended=ended)
        if isinstance(found, DriveOfflineError):
            self.close()
        return found

    def _has_ended(self, block: int | str) -> bool:
        """Tell whether the end of the medium is known to be here: of a filemark the driver does not say so."""
        return self._warned or (self._end is not None and isinstance(block, int) and block >= self._end)

    def _is_behind_data(self) -> bool:
        """Tell whether nothing was written from here on. Whoever hears so may write here: what is in doubt is not so.

        The driver says it of spacing only, not of a read. A drive that tells its position must not have moved by either
        step; one that does not, and ends its data with EOM, is asked for one more record.
        """
        if not self.capabilities.position:
            if not self._spaced(mtio.FSR):
                with suppress(OSError):
                    os.read(self._open_file(), RECORD)
            status = self._status()
            return status.at_end_of_data or status.at_end_of_tape
        before = self._told()
        spaced = self._spaced(mtio.FSR)
        if self._told() == before and not self._status().at_end_of_data:
            spaced = self._spaced(mtio.FSF)
        return self._told() == before and (spaced or self._status().at_end_of_data)

    def _spaced(self, code: int) -> bool:
        with suppress(OSError):
            self._ask(code)
            return True
        return False

    def _lost(self, reason: str | None) -> DriveOfflineError:
        self.close()
        return DriveOfflineError(place=self.name, reason=reason)
