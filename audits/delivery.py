"""Carries a message to a mail server or a webhook: within a time, by TLS where there is any, following nothing."""

import contextlib
import functools
import json
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as MAIL
from email.utils import format_datetime
from hashlib import sha256
from hmac import digest as keyed_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from preservation.configuration import ConfigurationError, NotifyPolicy
from preservation.repository import Repository
from storage_backends.errors import MocbanError, Phrase, marked

if TYPE_CHECKING:
    from smtplib import SMTP
    from socket import socket
    from ssl import SSLContext

SECONDS = 20.0
"""The longest that one delivery may take, name look-up and all."""

REPLY_LIMIT = 1 << 16
"""The most that is read of a webhook's reply, in bytes."""

SECRET_LIMIT = 4096
SHORTEST_SECRET = 16
"""The fewest characters of a secret that signs."""

PORTS = {"smtp": 25, "smtps": 465, "http": 80, "https": 443}
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""A mail address that needs no quoting and can do no harm in a header or an envelope (RFC 5321, 4.1.2, ASCII)."""

SIGNATURE = "X-Mocban-Signature"
"""The header with ``sha256=`` and the HMAC-SHA-256 (RFC 2104) of the body in hexadecimal."""


class DeliveryError(MocbanError):
    """A message could not be delivered."""

    template = marked("{channel}: the message could not be delivered to {place}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is told. ``time`` is ISO 8601 UTC, ``payload`` what a webhook gets in JSON."""

    id: str
    time: str
    subject: str
    text: str
    is_urgent: bool = False
    payload: dict[str, Any] = field(default_factory=dict)


Channel = Callable[[Message], None]
"""Delivers a message, or raises ``DeliveryError``."""


def channels(repository: Repository) -> dict[str, Channel]:
    """Return the ways that the configuration names, each under its name; none is tried yet.

    Raises:
        ConfigurationError: a value is malformed.
    """
    policy = repository.configuration.notify
    found: dict[str, Channel] = {}
    if policy.smtp:
        found["mail"] = functools.partial(_mail, repository, _mail_server(policy))
    if policy.webhook:
        found["webhook"] = functools.partial(_post, repository, _webhook(policy))
    return found


def _mail_server(policy: NotifyPolicy) -> SplitResult:
    place = _address(policy.smtp, "smtp", ("smtp", "smtps"))
    if place.path.strip("/") or place.query:
        raise ConfigurationError(
            place="[notify] smtp", reason=Phrase("{url!r} is not smtp://host:port", url=policy.smtp)
        )
    for address in (policy.sender, *policy.recipients):
        if not ADDRESS.fullmatch(address):
            raise ConfigurationError(
                place="[notify]", reason=Phrase("{address!r} is not a mail address", address=address)
            )
    if not policy.recipients:
        raise ConfigurationError(place="[notify] recipients", reason="'recipients' is empty")
    return place


def _webhook(policy: NotifyPolicy) -> SplitResult:
    return _address(policy.webhook, "webhook", ("http", "https"))


def _address(url: str, key: str, kinds: tuple[str, ...]) -> SplitResult:
    place = f"[notify] {key}"
    try:
        found = urlsplit(url)
        _ = found.port
    except ValueError as error:
        raise ConfigurationError(place=place, reason=str(error)) from error
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if found.scheme not in kinds or not found.hostname or not is_plain:
        raise ConfigurationError(
            place=place,
            reason=Phrase(
                "{url!r} is not {kind}://host:port or {other}://host:port", url=url, kind=kinds[0], other=kinds[1]
            ),
        )
    if found.username is not None or found.fragment:
        raise ConfigurationError(place=place, reason="names and passwords belong into 'username' and 'password_file'")
    return found


def _secret(repository: Repository, name: str, key: str) -> str:
    """Return the first line of a file that only its owner and group may read."""
    path = os.path.join(repository.path, name)
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ConfigurationError(place=path, reason="others may read this secret; run 'chmod 600' on it")
            line = file.read(SECRET_LIMIT).split(b"\n")[0].strip().decode("ascii")
    except OSError as error:
        raise ConfigurationError(place=path, reason=error.strerror or str(error)) from error
    except UnicodeDecodeError:
        reason = marked("the secret has other letters than ASCII")
        raise ConfigurationError(place=path, reason=reason) from None  # the error would quote it
    if not line:
        raise ConfigurationError(
            place=f"[notify] {key}", reason=Phrase("{path!r} has no secret in its first line", path=path)
        )
    return line


def _tls(policy: NotifyPolicy, repository: Repository) -> "SSLContext":
    from ssl import create_default_context  # noqa: PLC0415 - costs every start some milliseconds

    if not policy.ca_file:
        return create_default_context()
    path = os.path.join(repository.path, policy.ca_file)
    try:
        return create_default_context(cafile=path)
    except OSError as error:
        raise ConfigurationError(place=path, reason=error.strerror or str(error)) from error


def _within(work: Callable[["_Line"], None]) -> None:
    """Do ``work`` in at most ``SECONDS``; whatever goes wrong comes out of here, a hanging line is cut."""
    line = _Line()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(line)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if thread.is_alive():
        line.cut()
        raise TimeoutError(Phrase("no answer within {seconds} seconds", seconds=f"{SECONDS:g}"))
    if failures:
        raise failures[0]


class _Line:
    """The connection that a delivery holds, so that it can be cut from outside."""

    def __init__(self) -> None:
        self.held: Callable[[], socket | None] = lambda: None

    def cut(self) -> None:
        from socket import SHUT_RDWR  # noqa: PLC0415 - only where something hangs

        if (held := self.held()) is not None:
            with contextlib.suppress(OSError):
                held.shutdown(SHUT_RDWR)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if isinstance(text, Phrase) else one_line(text)


def one_line(text: object, longest: int = 300) -> str:
    """Return ``text`` as one line without anything that could steer a terminal or end a header."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:longest]


# ---- mail --------------------------------------------------------------------------------------------------------


def _mail(repository: Repository, server: SplitResult, message: Message) -> None:
    from smtplib import SMTPException  # noqa: PLC0415 - costs every start some milliseconds
    from ssl import SSLSocket  # noqa: PLC0415 - the same

    policy = repository.configuration.notify
    refused: dict[str, Any] = {}
    sent = threading.Event()
    context = _tls(policy, repository)
    password = _secret(repository, policy.password_file, "password_file") if policy.username else ""
    data = mail_bytes(message, policy.sender, policy.recipients, repository.configuration.origin)

    def send(line: _Line) -> None:
        smtp = _server(server, context)
        line.held = lambda: smtp.sock
        try:
            _greet(smtp, server, context)
            if policy.username:
                if not isinstance(smtp.sock, SSLSocket):
                    raise SMTPException(marked("the server offers no TLS, so the password was not sent"))
                smtp.login(policy.username, password)
            refused.update(smtp.sendmail(policy.sender, list(policy.recipients), data))
            sent.set()
            smtp.quit()
        finally:
            smtp.close()

    place = f"{server.hostname}:{server.port or PORTS[server.scheme]}"
    try:
        _within(send)
    except (OSError, SMTPException, ValueError) as error:
        if not sent.is_set():  # what fails after the server took it is of no account
            raise DeliveryError(channel="mail", place=place, reason=_reason(error)) from error
    if refused:  # the others have it, so it is not sent again
        raise RefusedError(
            channel="mail", place=", ".join(sorted(refused)), reason="the server refuses these addresses"
        )


class RefusedError(DeliveryError):
    """Some recipients were refused, the others have the message."""


def _server(server: SplitResult, context: "SSLContext") -> "SMTP":
    """Return the client of a mail server, not connected yet, so that whoever holds it can cut the line."""
    from smtplib import SMTP, SMTP_SSL  # noqa: PLC0415 - costs every start some milliseconds

    smtp = SMTP_SSL(timeout=SECONDS, context=context) if server.scheme == "smtps" else SMTP(timeout=SECONDS)
    smtp._host = server.hostname or ""  # type: ignore[attr-defined]  # noqa: SLF001 - whom the certificate must name
    return smtp


def _greet(smtp: "SMTP", server: SplitResult, context: "SSLContext") -> None:
    """Connect, and go over to TLS if the server offers it; a certificate that is wrong is an error, never passed by."""
    from smtplib import SMTPResponseException  # noqa: PLC0415 - costs every start some milliseconds

    code, words = smtp.connect(server.hostname or "", server.port or PORTS[server.scheme])
    if code != 220:  # noqa: PLR2004 - "service ready" (RFC 5321, 4.3.2)
        raise SMTPResponseException(code, words)
    smtp.ehlo_or_helo_if_needed()
    if server.scheme == "smtp" and smtp.has_extn("starttls"):
        smtp.starttls(context=context)
        smtp.ehlo()


def mail_bytes(message: Message, sender: str, recipients: tuple[str, ...], origin: str) -> bytes:
    """Return the mail as it goes over the line (RFC 5322); no value can add a header to it."""
    mail = EmailMessage(policy=MAIL)
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = one_line(message.subject, 400)
    mail["Date"] = format_datetime(datetime.fromisoformat(message.time))
    mail["Message-ID"] = f"<{message.id}@{re.sub(r'[^A-Za-z0-9.-]', '-', origin)[:200] or 'mocban'}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    if message.is_urgent:
        mail["Importance"] = "high"
    mail.set_content(message.text, charset="utf-8", cte="base64")
    return mail.as_bytes()


# ---- webhook -----------------------------------------------------------------------------------------------------


def _post(repository: Repository, address: SplitResult, message: Message) -> None:
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - costs every start some milliseconds
    from socket import create_connection  # noqa: PLC0415 - the same

    policy = repository.configuration.notify
    body = json.dumps(message.payload, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "mocban", "Connection": "close"}
    if policy.webhook_secret_file:
        headers[SIGNATURE] = signature(_webhook_secret(repository), body)
    context = _tls(policy, repository) if address.scheme == "https" else None
    host, port = address.hostname or "", address.port or PORTS[address.scheme]
    status: list[int] = []

    def send(line: _Line) -> None:
        connection = HTTPConnection(host, port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.sock = create_connection((host, port), SECONDS)
            line.held = lambda: connection.sock
            if context is not None:
                connection.sock = context.wrap_socket(
                    connection.sock, server_hostname=host, do_handshake_on_connect=False
                )
                connection.sock.do_handshake()
            path = (address.path or "/") + (f"?{address.query}" if address.query else "")
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            reply.read(REPLY_LIMIT)
            status.append(reply.status)

    place = f"{host}:{port}"  # the rest of the address may be a secret
    try:
        _within(send)
    except (OSError, HTTPException, ValueError) as error:
        raise DeliveryError(channel="webhook", place=place, reason=_reason(error)) from error
    if not 200 <= status[0] <= 299:  # noqa: PLR2004 - the successes of HTTP; a redirection is none and is not followed
        raise DeliveryError(channel="webhook", place=place, reason=Phrase("HTTP status {status}", status=status[0]))


def _webhook_secret(repository: Repository) -> bytes:
    name = repository.configuration.notify.webhook_secret_file
    secret = _secret(repository, name, "webhook_secret_file")
    if len(secret) < SHORTEST_SECRET:
        reason = Phrase("the secret is shorter than {shortest} characters", shortest=SHORTEST_SECRET)
        raise ConfigurationError(place="[notify] webhook_secret_file", reason=reason)
    return secret.encode()


def signature(secret: bytes, body: bytes) -> str:
    """Return the value of ``SIGNATURE`` for a body."""
    return f"sha256={keyed_digest(secret, body, sha256).hex()}"
