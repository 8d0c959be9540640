"""System calls that change files, told by the kernel to another process before they happen, which lets each go on, fail
or never come back: seccomp's user notifications (Linux 5.5, ``seccomp_unotify(2)``), on x86-64.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import time
from dataclasses import dataclass

NUMBERS = {
    "write": 1,
    "pwrite64": 18,
    "writev": 20,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "openat": 257,
    "mkdirat": 258,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "pwritev": 296,
    "renameat2": 316,
}
"""The calls, and their numbers on x86-64."""

PLACES = {
    "rename": ((None, 0), (None, 1)),
    "link": ((None, 0), (None, 1)),
    "renameat": ((0, 1), (2, 3)),
    "renameat2": ((0, 1), (2, 3)),
    "linkat": ((0, 1), (2, 3)),
    "mkdir": ((None, 0),),
    "rmdir": ((None, 0),),
    "unlink": ((None, 0),),
    "mkdirat": ((0, 1),),
    "unlinkat": ((0, 1),),
    "openat": ((0, 1),),
}
"""Which arguments of a call are a folder and a path in it; the other calls are about an open file, their first."""

_NAMES = {number: call for call, number in NUMBERS.items()}
_ARCHITECTURE = 0xC000003E
_SECCOMP = 317
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_NO_NEW_PRIVS = 38
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1
_NOTICE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_PATH_MAX = 4096

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Notice:
    """A call that a thread is about to make, on which paths, before it is made."""

    thread: int
    call: str
    paths: tuple[str, ...]
    arguments: tuple[int, ...]


def why_not():
    """Return why calls cannot be told of here; nothing if they can."""
    if platform.machine() != "x86_64":
        return f"the numbers of system calls on {platform.machine()} are not known to these tests"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = os.fork()
        if not process:
            try:
                announce(theirs)
            except OSError as error:
                os._exit(error.errno or 1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return f"the kernel tells no system calls: {os.strerror(status)}" if status else ""


def announce(to):
    """Have the calls of this process from now on told to whoever is at the other end of the socket ``to``."""
    load = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 1, 0, _ARCHITECTURE), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    left = len(NUMBERS)
    tests = [(_JUMP_IF_EQUAL, left - place, 0, number) for place, number in enumerate(NUMBERS.values())]
    steps = [*load, *tests, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    kept = ctypes.create_string_buffer(program, len(program))
    whole = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(kept)))
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = _libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, whole)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    socket.send_fds(to, [b"."], [listener])
    os.close(listener)


def listen(at, decide, seconds):
    """Answer the calls of the process that announces them at the socket ``at``, until it ends.

    ``decide(notice)`` returns 0 to let a call be made, the error that it fails with, or None if it killed the process.

    Raises:
        TimeoutError: The process did not end.
    """
    (listener,) = socket.recv_fds(at, 1, 1)[1]
    end = time.monotonic() + seconds
    buffer = bytearray(_NOTICE.size)
    try:
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        while True:
            ready = waiting.poll(1000)
            if any(what & select.POLLIN for _, what in ready):
                _answer(listener, buffer, decide)
            elif ready:
                return
            elif time.monotonic() > end:
                raise TimeoutError("the process under test does not end")
    finally:
        os.close(listener)


def _answer(listener, buffer, decide):
    buffer[:] = bytes(len(buffer))
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
        number, thread, _, call, _, _, *arguments = _NOTICE.unpack(buffer)
        failure = decide(_noticed(thread, _NAMES[call], arguments))
        if failure is None:
            return  # an answer could still let the call happen
        answer = _ANSWER.pack(number, 0, -failure, 0 if failure else _GO_ON)
        fcntl.ioctl(listener, _SEND, bytearray(answer))
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ESRCH}:  # the thread that called is gone
            raise


def _noticed(thread, call, arguments):
    if call not in PLACES:
        return Notice(thread, call, (_link(thread, f"fd/{arguments[0]}"),), tuple(arguments))
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        paths = tuple(_path(thread, memory, arguments, *place) for place in PLACES[call])
    return Notice(thread, call, paths, tuple(arguments))


def _path(thread, memory, arguments, folder, place):
    data, at = b"", arguments[place]
    while b"\0" not in data and len(data) < _PATH_MAX:
        try:  # a string may end just before memory that cannot be read
            data += os.pread(memory.fileno(), 256 - (at + len(data)) % 256, at + len(data))
        except OSError:
            return ""
    path = os.fsdecode(data.partition(b"\0")[0])
    if path.startswith("/") or not path:
        return path
    number = -1 if folder is None else ctypes.c_int(arguments[folder]).value
    return f"{_link(thread, 'cwd' if number < 0 else f'fd/{number}')}/{path}"


def _link(thread, name):
    try:
        return os.readlink(f"/proc/{thread}/{name}")
    except FileNotFoundError:
        return ""
