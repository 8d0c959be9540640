"""Tape files behind the label: packs as they are, and INDEX files for everything else.

An item whose name ends in ``.tar`` and which is whole records long stands as a tape file of its own, byte for byte; a
filemark ends it. All other items go into INDEX files: tar files whose first member is a list, in JSON lines, of every
tape file so far and what lies in it, and whose further members are items under their keys.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

from storage_backends.backend import Item, Reader, Source, checked_key
from storage_backends.errors import BadKeyError, SourceLengthError
from storage_backends.tape.directory import TapeFile, TapeItem
from storage_backends.tape.drive import RECORD, TapeDrive
from storage_backends.tape.labels import FORMAT, Label

INDEX = "MOCBAN-TAPE-INDEX/"
"""What the first member of an INDEX file is named with."""

ITEMS_IN_LINE = 500
LONGEST_LINE = 1 << 20

_BLOCK = 512

Opener = Callable[[str], AbstractContextManager[Reader]]
"""Opens an item by its key."""


def stands_alone(item: Item) -> bool:
    """Tell whether an item is a tape file of its own."""
    return item.key.endswith(".tar") and item.size > 0 and item.size % RECORD == 0


class Records:
    """Gathers bytes into full records and writes them; ``warned`` is whether early warning was reached."""

    def __init__(self, drive: TapeDrive) -> None:
        self._drive = drive
        self._buffer = memoryview(bytearray(RECORD))
        self._filled = 0
        self.records = 0
        self.warned = False

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.records * RECORD + self._filled

    def write(self, data: bytes) -> None:
        """Append."""
        view = memoryview(data)
        while view:
            count = min(len(view), RECORD - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            self._emit_if_full()

    def take(self, reader: Reader, size: int, *, key: str) -> None:
        """Append exactly ``size`` bytes of ``reader``; ``SourceLengthError`` if it has more or fewer."""
        left = size
        while left:
            count = reader.readinto(self._buffer[self._filled : min(RECORD, self._filled + left)])
            if count == 0:
                break
            self._filled += count
            left -= count
            self._emit_if_full()
        if left or reader.read(1):
            raise SourceLengthError(place=self._drive.name, key=key, expected=size, found=size - left)

    def finish(self) -> None:
        """Fill the last record with zeros."""
        if self._filled:
            self.write(bytes(RECORD - self._filled))

    def _emit_if_full(self) -> None:
        if self._filled == RECORD:
            self.warned = self._drive.write(self._buffer) or self.warned
            self.records += 1
            self._filled = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """What an INDEX file is made of: the lines of the list, yielded at each call, and items with how to open them."""

    label: Label
    file: int
    lines: Callable[[], Iterator[bytes]]
    items: tuple[Item, ...]
    open: Opener


def write_index(drive: TapeDrive, contents: Contents) -> tuple[Records, tuple[TapeItem, ...]]:
    """Write an INDEX file without its filemark; return what was written and where the items lie in it."""
    records = Records(drive)
    name = f"{INDEX}{contents.label.barcode}-{contents.file:06d}.jsonl"
    records.write(_header(name, sum(len(line) for line in contents.lines())))
    for line in contents.lines():
        records.write(line)
    _pad(records)
    places = []
    for item in contents.items:
        records.write(_header(item.key, item.size))
        places.append(TapeItem(item.key, records.size, item.size))
        with contents.open(item.key) as reader:
            records.take(reader, item.size, key=item.key)
        _pad(records)
    records.write(bytes(2 * _BLOCK))
    records.finish()
    return records, tuple(places)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o444, 0
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _pad(records: Records) -> None:
    records.write(bytes(-records.size % _BLOCK))


def list_lines(label: Label, file: int, files: Iterable[tuple[str, TapeFile]]) -> Iterator[bytes]:
    """Yield the lines of an INDEX's list: who it is, then (barcode, tape file) after the other, in short lines."""
    head = {"barcode": label.barcode, "file": file, "format": FORMAT, "mocban": "tape index", "store": label.store}
    yield _line({**head, "number": label.number})
    for barcode, one in files:
        items = [[item.key, item.place, item.size] for item in one.items]
        for first in range(0, max(len(items), 1), ITEMS_IN_LINE):
            yield _line(
                {
                    "barcode": barcode,
                    "file": one.file,
                    "items": items[first : first + ITEMS_IN_LINE],
                    "records": one.records,
                    "start": one.start,
                }
            )


def _line(values: dict[str, object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"


# ---- reading -------------------------------------------------------------------------------------------------------


def is_index(first: bytes) -> bool:
    """Tell whether a tape file that begins with this record is an INDEX file."""
    return first.startswith(INDEX.encode())


def read_index(source: Source) -> tuple[list[tuple[str, TapeFile]], list[TapeItem]]:
    """Return what an INDEX file lists (barcode, tape file with some of its items) and what lies in itself.

    What cannot be understood is left out: a list is believed only as far as the tape bears it out.
    """
    listed: list[tuple[str, TapeFile]] = []
    items: list[TapeItem] = []
    try:
        with tarfile.open(fileobj=_Plain(source), mode="r|", bufsize=RECORD, encoding="utf-8") as tar:
            for number, member in enumerate(tar):
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                if number == 0:
                    stream = tar.extractfile(member)
                    listed += _listed(stream) if stream is not None else []
                else:
                    items += _checked(member.name, member.offset_data, member.size)
    except (tarfile.TarError, UnicodeDecodeError, EOFError):
        pass
    return listed, items


class _Plain(io.RawIOBase):
    """A source as the tar module wants it."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)


def _listed(stream: IO[bytes]) -> Iterator[tuple[str, TapeFile]]:
    while line := stream.readline(LONGEST_LINE):
        try:
            values = json.loads(line)
            if "items" not in values:
                continue
            numbers = (values["file"], values["records"])
            found = [item for key, place, size in values["items"] for item in _checked(key, place, size)]
            if isinstance(values["barcode"], str) and all(type(number) is int and number > 0 for number in numbers):
                yield values["barcode"], TapeFile(values["file"], None, values["records"], tuple(found))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _checked(key: object, place: object, size: object) -> list[TapeItem]:
    try:
        if isinstance(key, str) and type(place) is int and type(size) is int and place >= 0 and size >= 0:
            return [TapeItem(checked_key(key), place, size)]
    except BadKeyError:
        pass
    return []


def within(file: TapeFile, items: Iterable[TapeItem]) -> tuple[TapeItem, ...]:
    """Return those of ``items`` that can lie in a tape file of that many records."""
    return tuple(item for item in items if item.place + item.size <= file.records * RECORD)
