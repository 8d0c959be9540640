"""A PREMIS document as XML and as JSON, written side by side, one object or event at a time, in bounded memory."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from xml.sax.saxutils import escape, quoteattr

from preservation.dissemination.copying import Version
from preservation.dissemination.premis import LOCAL_NAMESPACE, NAMESPACE, Element, agent, event, representation
from preservation.dissemination.writing import Flushing, Metadata, metadata
from preservation.ledger.events import Record

XML_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<premis xmlns="{NAMESPACE}" xmlns:xsi="{XML_SCHEMA}" xmlns:mocban="{LOCAL_NAMESPACE}" version="3.0">\n'
)
_ORDER = ("object", "event", "agent")


def xml_text(name: str, value: Element) -> str:
    """Return an element as XML. Its text must not hold characters that XML cannot."""
    if isinstance(value, Mapping):
        attributes = "".join(f" {key[1:]}={quoteattr(str(one))}" for key, one in value.items() if key.startswith("@"))
        inner = "".join(xml_text(key, one) for key, one in value.items() if key[0] not in "@#")
        text = _escaped(str(value["#text"])) if "#text" in value else ""
        return f"<{name}{attributes}>{text}{inner}</{name}>"
    if isinstance(value, str | int):
        return f"<{name}>{_escaped(str(value))}</{name}>"
    return "".join(xml_text(name, one) for one in value)


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


class Document:
    """Takes objects first, then events, then agents: the order that the schema wants."""

    def __init__(self, xml: Metadata, json_file: Metadata) -> None:
        self._xml, self._json = xml, json_file
        self._kind = ""
        xml.write(_HEAD.encode())
        json_file.write(b'{"premis":{"@version":"3.0"')

    def add(self, kind: str, value: Mapping[str, Element]) -> None:
        """Write an ``object``, ``event`` or ``agent``."""
        if kind != self._kind:
            assert self._kind == "" or _ORDER.index(kind) > _ORDER.index(self._kind)
            self._json.write((f',"{kind}":[' if not self._kind else f'],\n"{kind}":[').encode())
        self._json.write(b"\n" if kind != self._kind else b",\n")
        self._kind = kind
        self._json.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        self._xml.write(xml_text(kind, value).encode() + b"\n")

    def finish(self, versions: Sequence[tuple[Version, str]], history: Iterable[tuple[Record, int]]) -> None:
        """After the files: write the versions with their titles, the events, who acted in them, and the end."""
        for version, title in versions:
            self.add("object", representation(version, title))
        agents: set[str] = set()
        for record, checks in history:
            agents.add(record.event.agent)
            self.add("event", event(record, [version for version, _ in versions], checks))
        for name in sorted(agents):
            self.add("agent", agent(name))
        self._json.write(b"]}}\n" if self._kind else b"}}\n")
        self._xml.write(b"</premis>\n")


@contextmanager
def document(
    xml_path: bytes, json_path: bytes, flushing: Flushing, *algorithms: str
) -> Iterator[tuple[Document, Metadata, Metadata]]:
    """Give a document and its two files; it is finished by the caller, so that the files' digests can be asked for."""
    with ExitStack() as stack:
        xml = stack.enter_context(metadata(xml_path, flushing, *algorithms))
        json_file = stack.enter_context(metadata(json_path, flushing, *algorithms))
        yield Document(xml, json_file), xml, json_file
