"""A witness over HTTP: ``POST /add-checkpoint`` as C2SP tlog-witness has it, and nothing else."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from preservation.witness.countersigning import Countersigned, countersign
from preservation.witness.errors import (
    ForkError,
    MalformedRequestError,
    RefusedError,
    StaleRequestError,
    UnknownLogError,
    UntrustedError,
)
from preservation.witness.folder import Witness
from preservation.witness.requests import REQUEST_LIMIT, parse_request
from storage_backends.errors import MocbanError

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
_TEXT_TYPE = "text/plain; charset=utf-8"

CONVERSATION_SECONDS = 20.0
"""How long one connection may last, whatever it sends."""

CONVERSATIONS = 16
"""How many connections are served at once; one more is closed without an answer."""

_WAIT_SECONDS = 5.0
_QUIET_SECONDS = 0.2

_STATUS: dict[type[RefusedError], HTTPStatus] = {
    MalformedRequestError: HTTPStatus.BAD_REQUEST,
    UnknownLogError: HTTPStatus.NOT_FOUND,
    UntrustedError: HTTPStatus.FORBIDDEN,
    StaleRequestError: HTTPStatus.CONFLICT,
}

Told = Callable[[Countersigned | MocbanError], None]


class WitnessServer(ThreadingHTTPServer):
    """Listens when it is made; serves until ``stopping`` is set; a thread for each connection, a few at once."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], witness: Witness, now: Callable[[], datetime], told: Told) -> None:
        """Listen on ``address``; ``told`` hears of everything that was countersigned or refused, one at a time."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.witness = witness
        self.now = now
        self._told = told
        self._telling = threading.Lock()
        self._free = threading.BoundedSemaphore(CONVERSATIONS)
        super().__init__(address, _Conversation)

    def server_bind(self) -> None:
        """Listen without asking any name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def tell(self, what: Countersigned | MocbanError) -> None:
        """Let whoever runs the witness hear of it."""
        with self._telling:
            self._told(what)

    def serve(self, stopping: threading.Event) -> None:
        """Answer until ``stopping`` is set, then stop listening."""

        def stop() -> None:
            stopping.wait()
            self.shutdown()

        threading.Thread(target=stop, daemon=True).start()
        try:
            self.serve_forever(poll_interval=_QUIET_SECONDS)
        finally:
            self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a conversation if there is room for one more."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Hold one conversation, and end it by force when its time is over."""
        watch = threading.Timer(CONVERSATION_SECONDS, _end, [request])
        watch.daemon = True
        watch.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watch.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away or was too slow."""


class _Conversation(BaseHTTPRequestHandler):
    """One connection, one request, one answer."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "mocban-witness"
    sys_version = ""
    timeout = CONVERSATION_SECONDS

    def do_POST(self) -> None:
        """Answer a request to countersign."""
        self.close_connection = True
        if self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"")
        elif len(length) > len(str(REQUEST_LIMIT)) or int(length) > REQUEST_LIMIT:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"")
        else:
            data = self.rfile.read(int(length))
            if len(data) == int(length):
                self._countersign(data)

    def _countersign(self, data: bytes) -> None:
        server = self.server
        try:
            done = countersign(server.witness, parse_request(data), server.now(), _WAIT_SECONDS)
        except StaleRequestError as error:
            server.tell(error)
            self._answer(HTTPStatus.CONFLICT, f"{error.evidence['known']}\n".encode(), SIZE_TYPE)
        except ForkError as error:
            server.tell(error)
            conflict = error.evidence["status"] == HTTPStatus.CONFLICT
            size = f"{error.evidence['known']}\n".encode()
            self._answer(
                HTTPStatus.CONFLICT if conflict else HTTPStatus.UNPROCESSABLE_ENTITY,
                size if conflict else b"the proof does not hold\n",
                SIZE_TYPE if conflict else _TEXT_TYPE,
            )
        except RefusedError as error:
            server.tell(error)
            self._answer(_STATUS[type(error)], f"{error}\n".encode())
        except MocbanError as error:
            server.tell(error)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"the witness cannot sign now\n")
        else:
            server.tell(done)
            self._answer(HTTPStatus.OK, done.lines())

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = _TEXT_TYPE) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
        """Keep quiet: whoever runs the witness is told by ``WitnessServer.tell``."""


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
