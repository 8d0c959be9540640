"""Asks a server of somebody else over HTTP: one request, one answer, within a time and a length; no redirects.

No proxy is used, and no name or password is ever sent.
"""

import contextlib
import socket
import threading
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from storage_backends.errors import MocbanError, marked

SECONDS = 20.0
"""How long an answer may take, from looking up the name of the server to the last byte."""

_PIECE = 64 << 10


class AskingError(MocbanError):
    """A server could not be asked, or did not answer as it should; nothing is known of what it would have said."""

    template = marked("{url}: no answer that can be used: {reason}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: the status, the content type in lower case without parameters, the body."""

    status: int
    kind: str
    body: bytes


@dataclass(slots=True)
class _Conversation:
    """What the thread that talks and the one that waits for it share."""

    connection: socket.socket | None = None
    answer: Answer | None = None
    failure: str = ""


def post(url: str, data: bytes, kind: str, limit: int) -> Answer:
    """Send ``data`` of the content type ``kind`` to ``url`` and return the answer, of at most ``limit`` bytes.

    Raises:
        AskingError: The URL is not http or https, or there was no complete answer of that length within ``SECONDS``.
    """
    parts = _checked(url)
    talk = _Conversation()
    thread = threading.Thread(target=_talk, args=(talk, parts, data, kind, limit), daemon=True)
    thread.start()
    thread.join(SECONDS)
    if talk.answer is not None:
        return talk.answer
    if not talk.failure and talk.connection is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(talk.connection, socket.SHUT_RDWR)  # below TLS, so that the thread ends by itself
    raise AskingError(url=url, reason=talk.failure or marked("it took too long"))


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AskingError(url=url, reason=str(error)) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.username is not None:
        raise AskingError(url=url, reason=marked("this is no http or https address"))
    if not url.isascii() or any(letter <= " " for letter in url):
        raise AskingError(url=url, reason=marked("this is no http or https address"))
    return parts


def _talk(talk: _Conversation, parts: SplitResult, data: bytes, kind: str, limit: int) -> None:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - costs every start 30 ms

    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = connect(str(parts.hostname), parts.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.connect()
            talk.connection = connection.sock
            headers = {"Content-Type": kind, "User-Agent": "mocban", "Connection": "close"}
            connection.request("POST", target, data, headers)
            with connection.getresponse() as response:
                body = bytearray()
                while piece := response.read(min(_PIECE, limit + 1 - len(body))):
                    body += piece
                    if len(body) > limit:
                        talk.failure = marked("the answer is too long")
                        return
                if response.length:  # it promised more than it gave
                    talk.failure = marked("the answer is incomplete")
                    return
                found = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
                talk.answer = Answer(response.status, found, bytes(body))
    except (OSError, HTTPException, ValueError) as error:
        talk.failure = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
