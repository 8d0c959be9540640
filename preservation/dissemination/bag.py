"""An export as a BagIt bag (RFC 8493): SHA-256 manifests that every reader knows, and a BLAKE3 list for b3sum.

BagIt 1.0 wants a percent sign in a listed path spelled ``%25``; bagit-python and nearly all other readers do not decode
it (bagit-python issue 157) and would call the bag incomplete. Version 0.97 lists paths as they are. So a bag with such
a name says that it is 0.97, and is right by its own word and for every reader; all others are 1.0, where both agree.
"""

import base64
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from preservation.dissemination.copying import Outgoing, Version, copied, mtime_ns
from preservation.dissemination.document import document
from preservation.dissemination.names import as_text, b3sum_line, misread_by_bagit_python
from preservation.dissemination.premis import file_object
from preservation.dissemination.writing import Flushing, IfNeeded, Metadata, Sink, Tree, metadata, tree
from preservation.manifest import FileLine, Line, dumped

TAGS = b"mocban/"
SHA256 = "sha256"
TWINS_LOOKED_FOR = 10_000
"""Names in another form than NFC for which an NFC twin is looked for."""


@dataclass(slots=True)
class _Bag:
    """What a bag is while it is written. ``listed`` has each tag file with its SHA-256."""

    place: bytes
    flushing: Flushing
    listed: list[tuple[bytes, str]] = field(default_factory=list)
    percent: bool = False
    composed: list[bytes] = field(default_factory=list)
    """The NFC forms of names that are not NFC; a bounded number of them."""

    @contextmanager
    def tag_file(self, path: bytes) -> Iterator[Metadata]:
        """Give a tag file; it is listed when it is complete."""
        with metadata(os.path.join(self.place, path), self.flushing, SHA256) as file:
            yield file
            self.listed.append((path, file.hexdigest(SHA256)))

    def small(self, path: bytes, text: str) -> None:
        """Write a whole tag file."""
        with self.tag_file(path) as file:
            file.write(text.encode())


@dataclass(frozen=True, slots=True)
class _Lists:
    """The files that grow line by line, of the bag that they belong to."""

    bag: _Bag
    sha256: Metadata
    blake3: Metadata
    names: IfNeeded
    folders: IfNeeded


def write_bag(version: Version, place: bytes, outgoing: Outgoing) -> None:
    """Write a version as a bag into ``place``, a folder that is not there yet.

    Raises:
        NoSuchFileError: the version does not have the one file that is wanted.
    """
    os.mkdir(place)
    bag, tags = _Bag(place, outgoing.flushing), os.path.join(place, TAGS)
    with ExitStack() as stack:
        files = document(tags + b"premis.xml", tags + b"premis.json", outgoing.flushing, SHA256)
        premis, xml, json_file = stack.enter_context(files)
        lists = _Lists(
            bag,
            stack.enter_context(bag.tag_file(b"manifest-sha256.txt")),
            stack.enter_context(bag.tag_file(TAGS + b"blake3.txt")),
            IfNeeded(lambda: bag.tag_file(TAGS + b"names.jsonl"), stack),
            IfNeeded(lambda: bag.tag_file(TAGS + b"empty-folders.jsonl"), stack),
        )
        # The manifest names every file: it does not go out with a single one.
        sink = None if version.only is not None else stack.enter_context(bag.tag_file(TAGS + b"manifest.jsonl")).write
        header, lines = version.open(sink)
        with tree(os.path.join(place, b"data"), outgoing.flushing) as payload:
            for number, line in lines:
                _write(line, payload, lists, outgoing)
                if isinstance(line, FileLine):
                    premis.add("object", file_object(line, version, number))
        for path in bag.composed:
            # bagit-python takes names of one NFC form for one name, and so one of two such files for changed.
            if os.path.lexists(os.path.join(place, b"data", path)):
                outgoing.counts.remark("misread", path)
        if version.only is not None and not outgoing.counts.files:
            raise version.missing()
        premis.finish([(version, str(header.get("title", "")))], outgoing.history())
        bag.listed.append((TAGS + b"premis.xml", xml.hexdigest(SHA256)))
        bag.listed.append((TAGS + b"premis.json", json_file.hexdigest(SHA256)))
    declared = "0.97" if bag.percent else "1.0"
    bag.small(b"bagit.txt", f"BagIt-Version: {declared}\nTag-File-Character-Encoding: UTF-8\n")
    bag.small(b"bag-info.txt", _info(header, version, outgoing))
    with metadata(os.path.join(place, b"tagmanifest-sha256.txt"), outgoing.flushing) as tagmanifest:
        for path, digest in sorted(bag.listed):
            tagmanifest.write(digest.encode() + b"  " + path + b"\n")


def _write(line: Line, payload: Tree, lists: _Lists, outgoing: Outgoing) -> None:
    name, counts = as_text(line.path), outgoing.counts
    listed = b"data/" + name
    if not isinstance(line, FileLine):
        payload.folder(name)
        lists.folders.write((dumped({"path": listed.decode()}) + "\n").encode())
        return

    def copy(sink: Sink) -> None:
        copied(outgoing.objects, line, sink)

    payload.file(name, copy, mtime_ns(line))
    if name != line.path:
        counts.remark("renamed", line.path)
        original = base64.b64encode(line.path).decode()
        lists.names.write((dumped({"original_b64": original, "path": listed.decode()}) + "\n").encode())
    if b"%" in name:
        lists.bag.percent = True
        counts.remark("older-bagit", line.path)
    if misread_by_bagit_python(listed):
        counts.remark("misread", line.path)
    if "nfc" in line.line and len(lists.bag.composed) < TWINS_LOOKED_FOR:
        lists.bag.composed.append(str(line.line["nfc"]).encode())
    lists.sha256.write(line.sha256.encode() + b"  " + listed + b"\n")
    lists.blake3.write(b3sum_line(line.blake3, listed))
    counts.add(line)


def _info(header: dict[str, Any], version: Version, outgoing: Outgoing) -> str:
    """Return ``bag-info.txt``: reserved elements of RFC 8493, 2.2.2, and none that is not known."""
    counts = outgoing.counts
    elements = [
        ("Bag-Software-Agent", header.get("writer", "mocban")),
        ("Bagging-Date", outgoing.now.date().isoformat()),
        ("External-Identifier", version.package),
        ("Internal-Sender-Identifier", version.name),
        ("External-Description", header.get("title", "")),
        ("Bag-Group-Identifier", header.get("fonds_code", "")),
        ("Payload-Oxum", f"{counts.size}.{counts.files}"),
    ]
    said = ((name, " ".join(str(value).split())) for name, value in elements)
    return "".join(f"{name}: {value}\n" for name, value in said if value)
