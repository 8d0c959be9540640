"""One worker process, seen from the pool: how it is started, asked, waited for and ended."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from preservation.formats.frames import BadFrameError, believed, read_json, request
from preservation.formats.identification import BadIdentificationError, Identification, Sample

_ALARM_MARGIN = 5.0
_CHUNK = 1 << 20
_START = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);"
    "from preservation.formats.worker import main;main(float(sys.argv[2]))"
)


class LateError(Exception):
    """The worker did not answer in time."""


class GoneError(Exception):
    """The worker died, or wrote what no worker writes."""


def worker_command(deadline: float) -> tuple[str, ...]:
    """The command that starts a worker for this many seconds a file.

    It does not look for modules in the working directory, which may be a folder full of hostile files.
    """
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    places = [here, *(place for place in sys.path if os.path.isabs(place) and place != here)]
    return (sys.executable, "-I", "-c", _START, json.dumps(places), str(deadline + _ALARM_MARGIN))


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
        self._received = bytearray()
        self._tool = ""
        self._signatures = ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def greet(self, seconds: float) -> None:
        """Wait until the worker is ready.

        Raises:
            LateError: it is not, after so many seconds.
            GoneError: it cannot work; the text says why, if the worker told.
        """
        hello = self._frame(seconds)
        if "failed" in hello:
            raise GoneError(str(hello["failed"]))
        self._tool, self._signatures = str(hello.get("tool")), str(hello.get("signatures"))

    def ask(self, samples: Sequence[Sample], seconds: float) -> None:
        """Send a batch.

        Raises:
            GoneError: the worker did not take it.
        """
        limit = time.monotonic() + seconds
        for part in request(samples):
            rest = memoryview(part)
            while rest:
                try:
                    _wait(self._requests.fileno(), select.POLLOUT, limit)
                    rest = rest[os.write(self._requests.fileno(), rest[:_CHUNK]) :]
                except BlockingIOError:
                    continue
                except (OSError, LateError) as error:
                    raise GoneError from error

    def answer(self, seconds: float) -> Identification:
        """The next answer.

        Raises:
            LateError: it did not come in time.
            GoneError: it will not come.
        """
        try:
            return believed(self._frame(seconds), self._tool, self._signatures)
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
