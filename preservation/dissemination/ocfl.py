"""An export as an OCFL 1.1 object: one OCFL version a package version, each content once, SHA-512 addressed.

The PREMIS documents, the manifests and a BLAKE3 list lie in ``logs/``, which the specification leaves to us: they tell
of the object and are not its content, and BLAKE3 is not an algorithm that a ``fixity`` block may name.
"""

import base64
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from preservation.dissemination.copying import Outgoing, Version, copied, mtime_ns
from preservation.dissemination.document import Document, document
from preservation.dissemination.names import as_text, b3sum_line
from preservation.dissemination.premis import file_object
from preservation.dissemination.state import States, states
from preservation.dissemination.writing import Flushing, IfNeeded, Metadata, Sink, Tree, metadata, tree
from preservation.ledger.events import LOCAL
from preservation.manifest import FileLine, dumped

DECLARATION = b"ocfl_object_1.1"
INVENTORY_TYPE = "https://ocfl.io/1.1/spec/#inventory"
ALGORITHM = "sha512"
LOGS = b"logs/"


@dataclass(frozen=True, slots=True)
class _Object:
    """What an object is while it is written."""

    place: bytes
    root: Tree
    states: States
    premis: Document
    blake3: Metadata
    names: IfNeeded
    outgoing: Outgoing


def write_ocfl(versions: Sequence[Version], place: bytes, outgoing: Outgoing) -> None:
    """Write all ``versions``, from the first on, as an object into ``place``, a folder that is not there yet.

    Raises:
        NoSuchFileError: no version has the one file that is wanted.
    """
    os.mkdir(place)
    logs, flushing = os.path.join(place, LOGS), outgoing.flushing
    with states(os.path.join(place, b"state")) as table:
        with ExitStack() as stack:
            files = document(logs + b"premis.xml", logs + b"premis.json", flushing)
            premis, _, _ = stack.enter_context(files)
            blake3 = stack.enter_context(metadata(logs + b"blake3.txt", flushing))
            names = IfNeeded(lambda: metadata(logs + b"names.jsonl", flushing), stack)
            root = stack.enter_context(tree(place, flushing))
            written = _Object(place, root, table, premis, blake3, names, outgoing)
            headers = [_write_version(version, written) for version in versions]
            if versions[-1].only is not None and not table.is_any():
                raise versions[-1].missing()
            titles = (str(header.get("title", "")) for header in headers)
            premis.finish(list(zip(versions, titles, strict=True)), outgoing.history())
        for number in range(1, len(versions) + 1):
            _write_inventory(place + b"/v%d/" % number, versions, headers[:number], table, flushing)
        _write_inventory(place + b"/", versions, headers, table, flushing)
    with metadata(place + b"/0=" + DECLARATION, flushing) as file:
        file.write(DECLARATION + b"\n")


def _write_version(version: Version, written: _Object) -> dict[str, Any]:
    written.outgoing.counts.files = written.outgoing.counts.size = 0
    with ExitStack() as stack:
        sink = None
        if version.only is None:
            log = os.path.join(written.place, LOGS, b"manifest-v%d.jsonl" % version.number)
            sink = stack.enter_context(metadata(log, written.outgoing.flushing)).write
        header, lines = version.open(sink)
        for number, line in lines:
            if isinstance(line, FileLine):
                _write_file(line, version, written)
                written.premis.add("object", file_object(line, version, number))
            else:
                written.outgoing.counts.remark("folder-left-out", line.path)
    return header


def _write_file(line: FileLine, version: Version, written: _Object) -> None:
    name, counts, table = as_text(line.path), written.outgoing.counts, written.states
    if name != line.path:
        counts.remark("renamed", line.path)
        original = base64.b64encode(line.path).decode()
        entry = {"original_b64": original, "path": name.decode(), "version": version.number}
        written.names.write((dumped(entry) + "\n").encode())
    sha512 = table.content(line.blake3)
    if sha512 is None:
        path, found = b"v%d/content/" % version.number + name, list[str]()

        def copy(sink: Sink) -> None:
            found.append(copied(written.outgoing.objects, line, sink, sha512=True))

        written.root.file(path, copy, mtime_ns(line))
        sha512 = found[0]
        table.add_content(version.number, path.decode(), blake3=line.blake3, sha256=line.sha256, sha512=sha512)
        written.blake3.write(b3sum_line(line.blake3, path))
    table.add_name(version.number, sha512, name.decode())
    counts.add(line)


def _identifier(version: Version) -> str:
    whole = f"urn:uuid:{version.package}"
    return whole if version.only is None else f"{LOCAL}package/{version.package}/{quote(version.only)}"


def _write_inventory(
    folder: bytes, versions: Sequence[Version], headers: Sequence[dict[str, Any]], table: States, flushing: Flushing
) -> None:
    """Write the inventory as of the last of ``headers``, and its sidecar."""
    last = len(headers)
    with metadata(folder + b"inventory.json", flushing, ALGORITHM) as file:
        start = {
            "digestAlgorithm": ALGORITHM,
            "head": f"v{last}",
            "id": _identifier(versions[0]),
            "type": INVENTORY_TYPE,
        }
        file.write(dumped(start)[:-1].encode() + b',\n"manifest":')
        _write_digests(file, table.manifest(last))
        file.write(b',\n"fixity":{"sha256":')
        _write_digests(file, table.sha256s(last))
        file.write(b'},\n"versions":{')
        for number, header in enumerate(headers, 1):
            file.write((",\n" if number > 1 else "\n").encode() + b'"v%d":' % number)
            file.write(dumped(_version_block(header, number))[:-1].encode() + b',"state":')
            _write_digests(file, table.names(number))
            file.write(b"}")
        file.write(b"}}\n")
        digest = file.hexdigest(ALGORITHM)
    with metadata(folder + b"inventory.json." + ALGORITHM.encode(), flushing) as file:
        file.write(f"{digest} inventory.json\n".encode())


def _version_block(header: dict[str, Any], number: int) -> dict[str, object]:
    agent = str(header.get("agent", "")) or "mocban"
    return {
        "created": str(header.get("created", "")),
        "message": f"Version {number} of the package: {header.get('title', '')}",
        "user": {"address": f"{LOCAL}agent/{quote(agent, safe='')}", "name": agent},
    }


def _write_digests(file: Metadata, entries: Iterable[tuple[str, list[str]]]) -> None:
    file.write(b"{")
    for number, (digest, paths) in enumerate(entries):
        text = json.dumps(digest) + ":" + json.dumps(paths, ensure_ascii=False, separators=(",", ":"))
        file.write((",\n" if number else "\n").encode() + text.encode())
    file.write(b"}")
