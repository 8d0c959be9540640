"""Loopback servers that behave as well or as badly as they are told: a mail server and a webhook, with TLS if asked."""

import base64
import contextlib
import socketserver
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder, host="localhost"):
    """Make a certificate that signs itself; return the file with it, and a context for a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / f"{host}.pem", folder / f"{host}.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return path, context


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: clients hang up on purpose."""


@contextlib.contextmanager
def _serving(answerer):
    with _Server(("127.0.0.1", 0), answerer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@dataclass
class Mailbox:
    """What a mail server was told, and how it behaves."""

    port: int = 0
    mails: list = field(default_factory=list)
    """Sender, recipients, parsed mail, whether it came by TLS, who logged in."""
    refuse: dict = field(default_factory=dict)
    """Verb (or recipient) to the line that it is answered with."""
    tls: object = None
    """A context: then STARTTLS is offered, or spoken at once if ``immediately``."""
    immediately: bool = False
    hang: str = ""
    """The verb that is never answered; ``greeting`` is not even greeted; ``drip`` answers a byte now and then."""
    endless: bool = False
    said: list = field(default_factory=list)


@contextlib.contextmanager
def mail_server(box=None, **behaviour):
    box = box or Mailbox(**behaviour)

    class Answerer(socketserver.StreamRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                if box.tls and box.immediately:
                    self.secure()
                _Session(self, box).go()

        def secure(self):
            self.connection = box.tls.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", 0)

    with _serving(Answerer) as port:
        box.port = port
        yield box


class _Session:
    def __init__(self, line, box):
        self.line, self.box = line, box
        self.sender, self.recipients, self.user = "", [], ""
        self.secure = bool(box.tls and box.immediately)

    def say(self, text):
        self.line.wfile.write(text.encode() + b"\r\n")

    def go(self):
        if self.box.hang == "greeting":
            time.sleep(30)
        if self.box.hang == "drip":
            for _ in range(300):
                self.line.wfile.write(b"2")
                time.sleep(0.1)
        if self.box.endless:
            while True:
                self.line.wfile.write(b"220-more\r\n" * 1000)
        self.say(self.box.refuse.get("greeting", "220 sink"))
        while data := self.line.rfile.readline():  # another one after STARTTLS
            words = data.decode().strip()
            self.box.said.append(words)
            verb = words.split()[0].upper() if words else ""
            if self.box.hang == verb:
                time.sleep(30)
            if verb in self.box.refuse:
                self.say(self.box.refuse[verb])
            elif not getattr(self, f"on_{verb.lower()}", self.unknown)(words):
                return

    def unknown(self, _words):
        self.say("500 what?")
        return True

    def on_ehlo(self, _words):
        offers = ["250-sink", "250-8BITMIME"]
        if self.box.tls and not self.secure:
            offers.append("250-STARTTLS")
        self.say("\r\n".join([*offers, "250 AUTH PLAIN"]))
        return True

    def on_starttls(self, _words):
        self.say("220 go on")
        self.line.secure()
        self.secure = True
        return True

    def on_auth(self, words):
        _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
        self.user = f"{user}:{password}"
        self.say("235 welcome")
        return True

    def on_mail(self, words):
        self.sender = words.split("<")[1].split(">")[0]
        self.say("250 ok")
        return True

    def on_rcpt(self, words):
        recipient = words.split("<")[1].split(">")[0]
        if recipient in self.box.refuse:
            self.say(self.box.refuse[recipient])
        else:
            self.recipients.append(recipient)
            self.say("250 ok")
        return True

    def on_data(self, _words):
        self.say("354 go on")
        lines = [data.removeprefix(b".") for data in iter(self.line.rfile.readline, b".\r\n")]
        mail = message_from_bytes(b"".join(lines), policy=modern)
        self.box.mails.append((self.sender, self.recipients, mail, self.secure, self.user))
        self.recipients = []
        self.say("250 kept")
        return True

    def on_rset(self, _words):
        self.say("250 ok")
        return True

    def on_quit(self, _words):
        self.say("221 bye")
        return False


@dataclass
class Hook:
    """What a webhook was sent, and how it answers."""

    port: int = 0
    status: int = 204
    posts: list = field(default_factory=list)
    """Path, headers, body."""
    location: str = ""
    body: bytes = b""
    endless: bool = False
    hang: bool = False
    drip: bool = False
    tls: object = None


@contextlib.contextmanager
def webhook(**behaviour):
    hook = Hook(**behaviour)

    class Answerer(BaseHTTPRequestHandler):
        def setup(self):
            if hook.tls:
                self.request = hook.tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.posts.append((self.path, dict(self.headers), body))
            if hook.hang:
                time.sleep(30)
            if hook.drip:
                for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300:
                    self.wfile.write(bytes([letter]))
                    time.sleep(0.1)
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.end_headers()
            self.wfile.write(hook.body)
            while hook.endless:
                self.wfile.write(bytes(65536))

        def log_message(self, *_):
            """Say nothing."""

    with _serving(Answerer) as port:
        hook.port = port
        yield hook
