"""Messages: read by two ways, written as EML or as text, and compared."""

import email
import email.policy
import hashlib
import html
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import EmailMessage, Message

from preservation.migration.tasks import TaskRefusedError
from preservation.migration.tasks.outlook import note_of

_LONGEST = 256 << 20
_SHOWN = ("from", "to", "cc", "date", "subject")
_TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>")
_MOST = 2000


def eml_to_text(source: str, output: str) -> dict[str, object]:
    """Write headers, body and the names, kinds, sizes and digests of attachments as text in UTF-8."""
    message = _message(source)
    lines = [f"{name.title()}: {_header(message, name)}" for name in _SHOWN if message.get(name) is not None]
    body = message.get_body(("plain", "html"))
    lines += ["", _body(body) if isinstance(body, EmailMessage) else "", ""]
    for number, part in enumerate(_attached(message), 1):
        content = _payload(part)
        name = " ".join((part.get_filename() or "-").split())
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"[{number}] {name} ({part.get_content_type()}, {len(content)} bytes, sha256:{digest})")
    with open(output, "x", encoding="utf-8", errors="replace", newline="") as file:
        file.write("\n".join(lines) + "\n")
    return {}


def text_of_eml(source: str, output: str) -> dict[str, object]:
    """Read the message again in another way, and see whether all that it says is in the text."""
    with open(source, "rb") as file:
        message = email.message_from_bytes(file.read(_LONGEST + 1))
    with open(output, "rb") as file:
        text = file.read(_LONGEST).decode("utf-8")
    known = set(_tokens(text))
    parts = [part for part in message.walk() if not part.is_multipart()]
    if len(parts) > _MOST:
        raise TaskRefusedError("many")
    digests = [hashlib.sha256(_payload(part)).hexdigest() for part in parts]
    bodies = [part for part, digest in zip(parts, digests, strict=True) if digest not in text]
    headers = [_old_header(message, name) for name in _SHOWN]
    said = list(_tokens("\n".join([header for header in headers if header])))
    plain = [part for part in bodies if part.get_content_type() == "text/plain"]
    marked_up = [part for part in bodies if part.get_content_type() == "text/html"]
    shown = plain[:1] or marked_up[:1]
    words = [word for part in shown for word in _tokens(_body(part))]
    unsaid = [part for part in bodies if part not in shown and not (plain and part in marked_up[:1])]
    return {
        "headers": [len(said), sum(word in known for word in said)],
        "words": [len(words), sum(word in known for word in words)],
        "parts": len(parts),
        "unsaid": len(unsaid),
    }


def msg_to_eml(source: str, output: str) -> dict[str, object]:
    """Write an Outlook message as an Internet message."""
    note = note_of(source)
    message = EmailMessage(policy=email.policy.SMTP)
    for name, value in note.headers:
        message[name] = " ".join(value.split())
    message.set_content(note.text)
    if note.html:
        message.add_alternative(note.html, subtype="html")
    for name, kind, content in note.attachments:
        main, _, sub = kind.partition("/")
        message.add_attachment(content, maintype=main, subtype=sub or "octet-stream", filename=name or "attachment")
    with open(output, "xb") as file:
        file.write(message.as_bytes())
    return {}


def eml_of_msg(source: str, output: str) -> dict[str, object]:
    """Read both: subject, people, bodies and attachments must be the same."""
    note, message = note_of(source), _message(output)
    text = message.get_body(("plain",))
    other = message.get_body(("html",))
    found = [_payload(part) for part in _attached(message)]
    return {
        "headers": [
            _digest("\n".join(sorted(f"{name}: {_plain(value)}" for name, value in note.headers))),
            _digest("\n".join(sorted(f"{name}: {_plain(_header(message, name))}" for name in _names(message)))),
        ],
        "text": [_digest(_spaced(note.text)), _digest(_spaced(_body(text)) if isinstance(text, EmailMessage) else "")],
        "html": [
            _digest(_spaced(note.html)),
            _digest(_spaced(_decoded(other)) if isinstance(other, EmailMessage) else ""),
        ],
        "attachments": [
            " ".join(sorted(hashlib.sha256(content).hexdigest()[:16] for _, _, content in note.attachments)),
            " ".join(sorted(hashlib.sha256(content).hexdigest()[:16] for content in found)),
        ],
    }


def _names(message: EmailMessage) -> list[str]:
    """The headers that say something of the message, not of its form."""
    return [name for name in message if name.lower() != "mime-version" and not name.lower().startswith("content-")]


def _plain(value: str) -> str:
    """A header without the signs that only part names from addresses."""
    return _spaced(value.replace('"', "").replace("\\", ""))


def _message(path: str) -> EmailMessage:
    with open(path, "rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise TaskRefusedError("long")
    message = email.message_from_bytes(content, policy=email.policy.default)
    if not message.keys():
        raise TaskRefusedError("eml")
    assert isinstance(message, EmailMessage)
    return message


def _attached(message: EmailMessage) -> Iterator[EmailMessage]:
    body = message.get_body(("plain", "html"))
    other = message.get_body(("html",))
    for part in message.walk():
        if not part.is_multipart() and part is not body and part is not other and isinstance(part, EmailMessage):
            yield part


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _header(message: EmailMessage, name: str) -> str:
    """The value of a header as people read it; a date as it was written, not as the parser would write it."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    if name.lower() == "date":
        return _spaced(str(raw))
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, AttributeError, TypeError):  # what the parser cannot read it shows in no way
        return str(raw)


def _old_header(message: Message, name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    try:
        return str(make_header(decode_header(str(value))))
    except (ValueError, LookupError):
        return str(value)


def _decoded(part: Message) -> str:
    content = _payload(part)
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _body(part: Message) -> str:
    """The text of a body; of HTML what stands between its tags."""
    text = _decoded(part)
    return html.unescape(_TAGS.sub(" ", text)) if part.get_content_type() == "text/html" else text


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"


def signed(source: str) -> dict[str, object]:
    """Whether the message is signed (S/MIME or OpenPGP), whichever of the two forms it has."""
    with open(source, "rb") as file:
        head = file.read(8)
        file.seek(0)
        if head.startswith(b"\xd0\xcf\x11\xe0"):
            return {"signed": False}  # a signed one has another class and is refused
        message = email.message_from_bytes(file.read(_LONGEST))
    kinds = {part.get_content_type() for part in message.walk()}
    return {"signed": bool(kinds & {"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})}
