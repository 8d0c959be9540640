"""One worker process, seen from the pool: how it is started, asked, waited for and ended."""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from preservation.formats.frames import LENGTH, BadFrameError, believed, read_json, request
from preservation.formats.identification import BadIdentificationError, Identification, Sample

_SOFT = 0.8
"""The part of a file's time after which the worker itself gives the file up."""

_ALARM_MARGIN = 5.0
_CHUNK = 1 << 20
_PARTS = 64
"""Parts that are written at once; fewer than any system's limit."""

_START = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);"
    "from preservation.formats.worker import main;main(float(sys.argv[2]),float(sys.argv[3]))"
)

_BUILD = "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from preservation.formats.worker import build;build()"
_BUILD_SECONDS = 120.0


class LateError(Exception):
    """The worker did not answer in time."""


class GoneError(Exception):
    """The worker died, or wrote what no worker writes."""


def worker_command(deadline: float) -> tuple[str, ...]:
    """The command that starts a worker for this many seconds a file.

    It does not look for modules in the working directory, which may be a folder full of hostile files.
    """
    soft, hard = str(deadline * _SOFT), str(deadline + _ALARM_MARGIN)
    return (sys.executable, "-I", "-c", _START, _places(), soft, hard)


def built_elsewhere() -> bytes:
    """The bundle of what is shipped with FIDO, built in a process of its own: the work here is not held up by it.

    Nothing is returned if that fails; the workers then try it themselves, and say why they cannot.
    """
    command = (sys.executable, "-I", "-c", _BUILD, _places())
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_BUILD_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout


def _places() -> str:
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return json.dumps([here, *(place for place in sys.path if os.path.isabs(place) and place != here)])


class WorkerProcess:
    """A process and the two pipes to it; used by one thread only."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start the process.

        Raises:
            OSError: the system has no room for another process.
        """
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._requests.fileno(), False)
        os.set_blocking(self._answers.fileno(), False)
        with suppress(OSError):  # not more than one person may have of such memory; then it takes more steps
            fcntl.fcntl(self._requests.fileno(), fcntl.F_SETPIPE_SZ, _CHUNK)
        self._received = bytearray()
        self._tool = ""
        self._signatures = ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def greet(self, bundle: bytes, seconds: float) -> None:
        """Tell the worker its signatures and wait until it is ready.

        Raises:
            LateError: it is not, after so many seconds.
            GoneError: it cannot work; the text says why, if the worker told.
        """
        self._send([LENGTH.pack(len(bundle)), bundle], seconds)
        hello = self._frame(seconds)
        if "failed" in hello:
            raise GoneError(str(hello["failed"]))
        self._tool, self._signatures = str(hello.get("tool")), str(hello.get("signatures"))

    def ask(self, samples: Sequence[Sample], seconds: float) -> None:
        """Send a batch.

        Raises:
            GoneError: the worker did not take it.
        """
        self._send(request(samples), seconds)

    def _send(self, parts: Sequence[bytes], seconds: float) -> None:
        limit = time.monotonic() + seconds
        rest = deque(memoryview(part) for part in parts if part)
        try:
            while rest:
                _wait(self._requests.fileno(), select.POLLOUT, limit)
                with suppress(BlockingIOError):
                    written = os.writev(self._requests.fileno(), list(islice(rest, _PARTS)))
                    while rest and written >= len(rest[0]):
                        written -= len(rest.popleft())
                    if written:
                        rest[0] = rest[0][written:]
        except (OSError, LateError) as error:
            raise GoneError from error

    def answers(self, most: int, seconds: float) -> list[Identification]:
        """The next answers: one at least, `most` at most.

        Raises:
            LateError: they did not come in time.
            GoneError: they will not come.
        """
        try:
            return believed(self._frame(seconds), most, self._tool, self._signatures)
        except (BadFrameError, BadIdentificationError) as error:
            raise GoneError from error

    def _frame(self, seconds: float) -> dict[str, object]:
        limit = time.monotonic() + seconds
        try:
            return dict(read_json(lambda length: self._read(length, limit)))
        except (BadFrameError, EOFError) as error:
            raise GoneError from error

    def _read(self, length: int, limit: float) -> bytes:
        while len(self._received) < length:
            _wait(self._answers.fileno(), select.POLLIN, limit)
            try:
                more = os.read(self._answers.fileno(), _CHUNK)
            except BlockingIOError:
                continue
            if not more:
                raise EOFError
            self._received += more
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def kill(self) -> None:
        """Make an end of the process, whatever it does; the pipes stay for `reap`."""
        self._process.kill()

    def reap(self) -> None:
        """End the process and let go of everything that belongs to it."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._answers.close()


def _wait(descriptor: int, event: int, limit: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, limit - time.monotonic()) * 1000):
        raise LateError
