"""A drive belongs to one store at a time, whichever process and folder it is used from on this machine."""

import socket
import threading
import time
from collections.abc import Callable

IDLE = 5.0
"""Seconds after which a store of this process gives a drive up that another one of it waits for."""
PAUSE = 0.05
LONGEST = 107
"""Bytes of the name of a socket."""

_here: dict[str, "Claim"] = {}
_lock = threading.Lock()


class Claim:
    """A name that only one can hold; the kernel gives it back when the process ends. An empty name is free to all.

    It is an abstract socket (unix(7)): there is no file that could be left behind, or not be writable. ``give_up`` is
    called while others of this process wait: it releases the claim if it is not in use, and returns False if waiting
    would never end.
    """

    def __init__(self, name: str, give_up: Callable[[], bool]) -> None:
        self._name, self._give_up = name, give_up
        self._socket: socket.socket | None = None

    def take(self) -> bool:
        """Hold the name; wait for other threads of this process, and return False if another process holds it."""
        if self._socket is not None or not self._name:
            return True
        while not self._taken():
            holder = _here.get(self._name)
            if holder is None:
                return self._taken()  # another process, unless it was given up just now
            if not holder._give_up():  # noqa: SLF001 - of the same class
                return False
            time.sleep(PAUSE)
        return True

    def _taken(self) -> bool:
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with _lock:
            try:
                held.bind(f"\0mocban-{self._name}"[:LONGEST].encode())
            except OSError:
                held.close()
                return False
            self._socket, _here[self._name] = held, self
        return True

    def release(self) -> None:
        """Let others have it."""
        with _lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
                del _here[self._name]
