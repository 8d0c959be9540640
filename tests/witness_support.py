"""A witness in a folder, served on this machine, and logs that ask it: honest ones and such that are not."""

import base64
import http.client
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from preservation.ledger.merkle import consistency_proof, leaf_hash, root_of
from preservation.ledger.notes import Checkpoint, VerifierKey, sign_note
from preservation.witness.folder import create_witness, trust
from preservation.witness.serving import WitnessServer

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
NAME = "luutru.example/w1"


@dataclass(frozen=True)
class Signer:
    """A key in memory."""

    name: str
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def key(self):
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, message):
        return self.private.sign(message)


class Log:
    """A log in memory that tells the witness whatever it likes."""

    def __init__(self, origin="example/log", size=0):
        self.signer = Signer(origin)
        self.leaves = [leaf_hash(b"%d" % number) for number in range(size)]

    def grow(self, count, salt=b""):
        start = len(self.leaves)
        self.leaves += [leaf_hash(salt + b"%d" % number) for number in range(start, start + count)]
        return self

    def forked(self, at):
        """The same log with another history from leaf ``at`` on."""
        other = Log(self.signer.name)
        other.signer = self.signer
        other.leaves = self.leaves[:at]
        return other.grow(len(self.leaves) - at, b"forged")

    def checkpoint(self, size=None):
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.signer.name, size, root_of(b"".join(self.leaves), 0, size))

    def note(self, size=None, signers=None):
        return sign_note(self.checkpoint(size).text(), [self.signer] if signers is None else signers).encoded()

    def request(self, old, size=None, **more):
        size = len(self.leaves) if size is None else size
        proof = consistency_proof(b"".join(self.leaves), old, size) if old <= size else []
        lines = [b"old %d" % old, *map(base64.b64encode, proof)]
        return b"\n".join(lines) + b"\n\n" + self.note(size, **more)


def witness(folder, *logs):
    """Make a witness that serves these logs."""
    made = create_witness(str(folder), NAME, os.urandom)
    for log in logs:
        trust(made, log.signer.key, 5)
    return made


@contextmanager
def served(made, now=lambda: NOW):
    """Serve a witness; ``told`` is what its keeper heard."""
    told = []
    server = WitnessServer(("127.0.0.1", 0), made, now, told.append)
    server.told, server.url = told, f"http://127.0.0.1:{server.server_port}"
    stopping = threading.Event()
    thread = threading.Thread(target=server.serve, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopping.set()
        thread.join(5)


def post(server, data, path="/add-checkpoint", method="POST", **headers):
    """Ask a server; return status, content type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()
