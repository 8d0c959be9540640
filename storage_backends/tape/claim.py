"""A drive belongs to one store at a time, whichever process and folder it is used from on this machine."""

import socket


class Claim:
    """A name that only one can hold; the kernel gives it back when the process ends. An empty name is free to all.

    It is an abstract socket (unix(7)): there is no file that could be left behind, or not be writable.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket: socket.socket | None = None

    def take(self) -> bool:
        """Hold the name; return False if somebody else does."""
        if self._socket is not None or not self._name:
            return True
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            held.bind(f"\0mocban-{self._name}"[:LONGEST].encode())
        except OSError:
            held.close()
            return False
        self._socket = held
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


LONGEST = 107
"""Bytes of the name of a socket."""
