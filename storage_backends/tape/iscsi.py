"""SCSI commands over iSCSI from this process, by libiscsi (``libiscsi.so.7``): no kernel driver, no root.

What libiscsi does by itself would be wrong on a tape, and is turned off: after a lost connection it would log in again
and send what was under way once more, and a record that was written already would be on the tape twice. A connection
that was lost stays lost until ``connect``. Its waiting calls are not used: a signal ends them while the command is
still under way, and what comes of it is then written over whatever lies on the stack. The layouts below are of
``scsi-lowlevel.h`` of libiscsi 1.19.
"""

import ctypes
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

from storage_backends.errors import Phrase, marked
from storage_backends.tape.addresses import Address
from storage_backends.tape.drive import DriveOfflineError
from storage_backends.tape.scsi import CHECK_CONDITION, Answer, parse_sense

LIBRARY = "libiscsi.so.7"
INITIATOR = b"iqn.2026-01.vn.mocban:archive"

CONNECTING = 15
"""Seconds after which a target that does not answer is away."""
LATE = 5
"""Seconds that libiscsi has to notice by itself that the time is over."""
LOOKING = 1_000
"""Milliseconds after which it is asked to look at the time."""

_NORMAL_SESSION = 2
_NO_DIGEST_PREFERRED = 1
_NONE, _IN, _OUT = 0, 1, 2
_LAST_SCSI_STATUS = 0xFF
_UNDERFLOW = 1
_TIMED_OUT = 0x0F000002
_LOST = {0x0F000000: marked("the connection was lost"), _TIMED_OUT: marked("it did not answer in time")}
"""What libiscsi says instead of a status (cancelled, timed out); its own words may be of an earlier error."""


class NoLibraryError(DriveOfflineError):
    """Nothing can be said to the drive, as the library that would say it is not installed."""

    template = marked("{place}: the library {library} is not installed (Debian: libiscsi7)")


class IscsiUnit:
    """One logical unit over a connection of its own; carries commands, one after the other."""

    def __init__(self, address: Address, *, initiator: bytes = INITIATOR) -> None:
        self.address, self.name = address, str(address)
        self._initiator = initiator
        self._context: int | None = None
        self._lock = threading.RLock()
        self._buffer = ctypes.create_string_buffer(0)
        self._status: int | None = None
        self._callback = _CALLBACK(self._ended)

    @property
    def connected(self) -> bool:
        """Whether there is a connection as far as is known."""
        return self._context is not None

    def connect(self) -> None:
        """Log in, unless that is done; ``DriveOfflineError`` if the target is away."""
        with self._lock:
            if self._context is None:
                self._context = self._logged_in()

    def _logged_in(self) -> int:
        library = _library(self.name)
        context = library.iscsi_create_context(self._initiator)
        if not context:
            raise DriveOfflineError(place=self.name, reason="no memory for a connection")
        library.iscsi_set_targetname(context, self.address.target.encode())
        library.iscsi_set_session_type(context, _NORMAL_SESSION)
        library.iscsi_set_header_digest(context, _NO_DIGEST_PREFERRED)
        library.iscsi_set_noautoreconnect(context, 1)
        library.iscsi_set_timeout(context, CONNECTING)
        portal = self.address.portal.encode()
        steps = (
            partial(library.iscsi_connect_async, context, portal, self._callback, None),
            partial(library.iscsi_login_async, context, self._callback, None),
        )
        try:
            done = all(self._waited_for(context, step, CONNECTING) == 0 for step in steps)
            reason = "" if done else _said(library, context)
        except BaseException:
            library.iscsi_destroy_context(context)
            raise
        if not done:
            library.iscsi_destroy_context(context)
            raise DriveOfflineError(place=self.name, reason=reason)
        return int(context)

    def _waited_for(self, context: int, begin: Callable[[], int], seconds: int) -> int:
        """Begin something and return its status; ``DriveOfflineError`` if there is none in time."""
        library, self._status = _library(self.name), None
        deadline = time.monotonic() + seconds + LATE
        if begin() != 0:
            raise DriveOfflineError(place=self.name, reason=_said(library, context))
        while self._status is None:
            poll = select.poll()
            poll.register(library.iscsi_get_fd(context), library.iscsi_which_events(context))
            found = poll.poll(LOOKING)
            if library.iscsi_service(context, found[0][1] if found else 0) < 0 and self._status is None:
                raise DriveOfflineError(place=self.name, reason=_said(library, context))
            if time.monotonic() > deadline:
                raise DriveOfflineError(place=self.name, reason=_LOST[_TIMED_OUT])
        return self._status

    def _ended(self, _context: int, status: int, _data: int, _private: int) -> None:
        self._status = status

    def command(self, cdb: bytes, *, out: bytes | memoryview = b"", expected: int = 0, seconds: int = 60) -> Answer:
        """Send a command and wait for its answer.

        Raises:
            DriveOfflineError: there is no connection, or it was lost meanwhile: nobody knows what was done.
        """
        with self._lock:
            if self._context is None:
                raise DriveOfflineError(place=self.name, reason="there is no connection")
            return self._carried(self._context, cdb, out, expected, seconds)

    def _carried(self, context: int, cdb: bytes, out: bytes | memoryview, expected: int, seconds: int) -> Answer:
        library = _library(self.name)
        direction, length = (_OUT, len(out)) if out else (_IN, expected) if expected else (_NONE, 0)
        task = library.scsi_create_task(len(cdb), cdb, direction, length)
        if direction == _OUT:
            self._keep(length)[:length] = out
            vector = _Vector(ctypes.addressof(self._buffer), length)
            library.scsi_task_set_iov_out(task, ctypes.byref(vector), 1)
        elif direction == _IN:
            self._keep(length)
            vector = _Vector(ctypes.addressof(self._buffer), length)
            library.scsi_task_set_iov_in(task, ctypes.byref(vector), 1)
        try:
            library.iscsi_set_timeout(context, seconds)
            send = library.iscsi_scsi_command_async
            begin = partial(send, context, self.address.unit, task, self._callback, None, None)
            self._waited_for(context, begin, seconds)
            return self._answer(task.contents, length if direction == _IN else 0)
        except BaseException:  # also when a person stops it: the command may be under way
            self._give_up()
            raise
        finally:
            library.scsi_free_scsi_task(task)

    def _keep(self, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._buffer = ctypes.create_string_buffer(length)
        return memoryview(self._buffer).cast("B")

    def _answer(self, task: Any, asked: int) -> Answer:
        if task.status > _LAST_SCSI_STATUS:
            raise DriveOfflineError(
                place=self.name, reason=_LOST.get(task.status, Phrase("status {status}", status=f"{task.status:X}"))
            )
        missing = min(task.residual, asked) if task.residual_status == _UNDERFLOW else 0
        sense = None
        if task.status == CHECK_CONDITION and task.datain.size > _LENGTH_BYTES:
            raw = ctypes.string_at(task.datain.data, task.datain.size)  # a length, then the sense (RFC 7143, 11.4.7)
            sense = parse_sense(raw[_LENGTH_BYTES : _LENGTH_BYTES + int.from_bytes(raw[:_LENGTH_BYTES], "big")])
        return Answer(task.status, sense, bytes(self._keep(asked)[: asked - missing]) if asked else b"", missing)

    def _give_up(self) -> None:
        if self._context is not None:
            _library(self.name).iscsi_destroy_context(self._context)
            self._context = None

    def close(self) -> None:
        """Log out."""
        with self._lock:
            if self._context is not None:
                library = _library(self.name)
                context = self._context
                library.iscsi_set_timeout(context, CONNECTING)
                try:
                    with suppress(DriveOfflineError):
                        begin = partial(library.iscsi_logout_async, context, self._callback, None)
                        self._waited_for(context, begin, CONNECTING)
                finally:
                    self._give_up()


def _said(library: Any, context: int | None) -> str:
    text = library.iscsi_get_error(context) or b""
    return str(text.decode("utf-8", "replace").strip())


# ---- the library ---------------------------------------------------------------------------------------------------

_LENGTH_BYTES = 2


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _SenseFields(ctypes.Structure):
    """``struct scsi_sense``: its three bit-fields share one byte."""

    _fields_ = (
        ("error_type", ctypes.c_ubyte),
        ("key", ctypes.c_int),
        ("code", ctypes.c_int),
        ("bits", ctypes.c_ubyte),
        ("bit_pointer", ctypes.c_ubyte),
        ("field_pointer", ctypes.c_uint16),
    )


class _Data(ctypes.Structure):
    _fields_ = (("size", ctypes.c_int), ("data", ctypes.c_void_p))


class _Task(ctypes.Structure):
    """What stands first in ``struct scsi_task``."""

    _fields_ = (
        ("status", ctypes.c_int),
        ("cdb_size", ctypes.c_int),
        ("direction", ctypes.c_int),
        ("expected", ctypes.c_int),
        ("cdb", ctypes.c_ubyte * 16),
        ("residual_status", ctypes.c_int),
        ("residual", ctypes.c_size_t),
        ("sense", _SenseFields),
        ("datain", _Data),
    )


_TASK = ctypes.POINTER(_Task)
_VECTOR = ctypes.POINTER(_Vector)
_P, _I, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_CALLBACK = ctypes.CFUNCTYPE(None, _P, _I, _P, _P)
"""``iscsi_command_cb``: context, status, data, private data."""

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "iscsi_create_context": (_P, (_S,)),
    "iscsi_destroy_context": (_I, (_P,)),
    "iscsi_set_targetname": (_I, (_P, _S)),
    "iscsi_set_session_type": (_I, (_P, _I)),
    "iscsi_set_header_digest": (_I, (_P, _I)),
    "iscsi_set_noautoreconnect": (None, (_P, _I)),
    "iscsi_set_timeout": (_I, (_P, _I)),
    "iscsi_connect_async": (_I, (_P, _S, _CALLBACK, _P)),
    "iscsi_login_async": (_I, (_P, _CALLBACK, _P)),
    "iscsi_logout_async": (_I, (_P, _CALLBACK, _P)),
    "iscsi_get_fd": (_I, (_P,)),
    "iscsi_which_events": (_I, (_P,)),
    "iscsi_service": (_I, (_P, _I)),
    "iscsi_get_error": (_S, (_P,)),
    "scsi_create_task": (_TASK, (_I, _S, _I, _I)),
    "scsi_free_scsi_task": (None, (_TASK,)),
    "scsi_task_set_iov_in": (None, (_TASK, _VECTOR, _I)),
    "scsi_task_set_iov_out": (None, (_TASK, _VECTOR, _I)),
    "iscsi_scsi_command_async": (_I, (_P, _I, _TASK, _CALLBACK, _P, _P)),
}


def _library(place: str) -> Any:
    try:
        return _loaded()
    except OSError as error:
        raise NoLibraryError(place=place, library=LIBRARY) from error


@cache
def _loaded() -> Any:
    library = ctypes.CDLL(LIBRARY)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
