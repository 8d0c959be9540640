"""The protocols of a store: bytes under keys on one medium, and what some media can do beyond that.

A backend knows no packages and no digests. What every backend promises, and a contract test checks:

- ``write`` returns only when the bytes and the name are durable; a failed write leaves the key as it was.
- No reader ever sees half an item. An existing key is refused, never overwritten.
- A source is read to its end once, in pieces, and never closed by the backend.
- ``KeyMissingError`` means "the store is there and the item is not"; whenever the place itself cannot be trusted to be
  our store, the answer is ``StoreUnavailableError``.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from storage_backends.errors import BadKeyError, SourceLengthError

MARKER_KEY = "mocban-store.json"
"""The item that tells a store of ours, and which one, from an empty folder or an unmounted mount point."""

DRAFTS = ".drafts"
"""Where a medium with folders keeps what has no name yet."""

PIECE = 1 << 22
"""Bytes read from a source at a time (4 MiB)."""

LONGEST_KEY = 1_000
LONGEST_SEGMENT = 255


class Reach(StrEnum):
    """How deep a read went; kept with every verification as its evidence."""

    MEDIUM = "medium"
    """The bytes came from the medium itself."""
    HOST_CACHE = "host cache"
    """Some bytes may have come from this machine's page cache."""
    PROVIDER = "provider"
    """A remote service gave the bytes; how it got them is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageProfile:
    """What a store is made of, for placement and for counting independent copies."""

    medium: str
    """``disk``, ``tape``, ``s3`` or ``memory``."""
    site: str
    vendor: str = ""
    admin_domain: str = ""
    offline: bool = False
    worm: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One stored item. ``generation`` changes whenever the bytes under the key are replaced."""

    key: str
    size: int
    generation: str


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes that may still be written (the reserve taken off), and bytes in all."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What two stores must not share to fail independently."""

    file_system: str
    device: str
    """Names of the disks below, joined by ``+`` where there are several."""


class Source(Protocol):
    """Where bytes come from: any binary file object."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        ...


class Reader(Protocol):
    """An open item. Close it, or use it in a ``with`` block."""

    @property
    def reach(self) -> Reach:
        """How deep the reads so far went."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the range asked for."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""
        ...

    def close(self) -> None:
        """Give back what the reader holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class StorageBackend(Protocol):
    """Bytes under keys on one medium."""

    @property
    def profile(self) -> StorageProfile:
        """What this store is made of."""
        ...

    @property
    def place(self) -> str:
        """Where this is, for people: a path, a bucket, a library."""
        ...

    def write(self, key: str, size: int, source: Source) -> Item:
        """Store exactly ``size`` bytes of ``source`` durably under a new ``key``.

        Raises:
            KeyExistsError, SourceLengthError, StoreFullError, StoreRefusesError, StoreUnavailableError, BadKeyError,
            StorageError for any other failure of the medium; and whatever ``source.read`` raises, unchanged.
            In every case the key is as it was.
        """
        ...

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Open ``length`` bytes from ``offset`` (a range beyond the end is cut short, never an error).

        ``fresh`` asks for the medium itself rather than a cache; the reader's ``reach`` says what was had.

        Raises:
            KeyMissingError, NotRecalledError, ReadFailureError (also while reading), StoreUnavailableError.
        """
        ...

    def stat(self, key: str) -> Item:
        """Return the item without reading it; raises as ``read``."""
        ...

    def items(self, prefix: str = "") -> Iterator[Item]:
        """Yield every item below the whole segments of ``prefix`` ("packs", "packs/f1"; "" is all), in key order.

        Key order is the order of the keys' UTF-8 bytes.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the item durably; ``KeyMissingError`` if none is there, ``StoreRefusesError`` if the medium cannot."""
        ...

    def close(self) -> None:
        """Give back what the backend holds; it is not used afterwards."""
        ...


class Draft(Protocol):
    """An item that is being written and has no name yet. It must end in ``commit`` or ``abort``."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append ``data``; it may be reused by the caller when this returns."""
        ...

    def read_back(self) -> Reader:
        """Make all that was written durable, then read it from the medium."""
        ...

    def commit(self, key: str) -> Item:
        """Give the draft its name, durably. ``KeyExistsError`` leaves both the existing item and the draft."""
        ...

    def abort(self) -> None:
        """Forget the draft; harmless after ``commit`` or a second time."""
        ...


@runtime_checkable
class Drafting(Protocol):
    """Can be written before the name is known (disks)."""

    def create(self) -> Draft:
        """Begin an item without a name."""
        ...

    def clear_drafts(self) -> int:
        """Remove drafts that a crash left behind; return how many. Drafts of living processes are kept."""
        ...


@runtime_checkable
class Replacing(Protocol):
    """Can put new bytes under an existing key in one step (disks, unlocked object storage)."""

    def replace(self, key: str, expected: Item, size: int, source: Source) -> Item:
        """As ``write``, but only over exactly the generation ``expected``; else ``GenerationChangedError``."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """Holds items that must be recalled before they can be read (tape, cold object storage)."""

    def recall(self, keys: list[str]) -> None:
        """Ask for the items; returns when they can be read."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """Reads items in one order much faster than in another (tape)."""

    def in_order(self, keys: list[str]) -> list[str]:
        """Return ``keys`` in the order in which the medium reads them fastest."""
        ...


@runtime_checkable
class OnCartridges(Protocol):
    """Keeps its items on cartridges, of which a drive has one at a time (tape)."""

    def places(self, keys: list[str]) -> dict[str, tuple[str, int]]:
        """Return for each key that is on a cartridge its barcode, and the block: a number that grows along the tape."""
        ...

    def in_drive(self) -> str:
        """Return the barcode of the cartridge that is in the drive; empty if there is none."""
        ...

    def media(self) -> list[str]:
        """Return the barcodes of all cartridges that have something on them."""
        ...

    def wound(self, barcode: str, wanted: Sequence[tuple[int, int]]) -> list[int]:
        """Mount a cartridge; return the places in ``wanted`` (block, bytes) in the order its drive reads fastest.

        Raises:
            NotRecalledError, StoreUnavailableError, StorageError: the cartridge is away, is another one, or the drive
            failed.
        """
        ...

    def pass_over(self, barcode: str, take: Callable[[bytes], object]) -> Iterator["Met"]:
        """Read a cartridge from its label to the end of its data, and go on behind what cannot be read.

        ``take`` is given the bytes of one thing after the other; what that was is yielded when it has all of them.

        Raises:
            NotRecalledError, StoreUnavailableError, StorageError: the cartridge is away, is another one, or the drive
            failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Met:
    """One thing on a cartridge as a pass met it.

    ``item`` is what counts under its key (None: nothing does), ``size`` the bytes that were given, ``unreadable`` how
    many records could not be read; ``differs`` says in a few words how it is not what is known of it.
    """

    item: Item | None
    size: int
    reach: Reach
    unreadable: int = 0
    differs: str = ""


@runtime_checkable
class Rewriting(Protocol):
    """Cannot replace, but can write an item anew at another place, and then forgets the old one (tape)."""

    def rewrite(self, key: str, expected: Item, size: int, source: Source) -> Item:
        """As ``write``, for a key that is exactly the generation ``expected``; else ``GenerationChangedError``."""
        ...


Prove = Callable[[Item, Reader], None]
"""Is given an item as it is read back from the medium; raises if it is not what it should be."""


@runtime_checkable
class Flushing(Protocol):
    """Keeps durably elsewhere what is written, and brings it to the medium when it is told to (tape)."""

    def staged(self) -> Iterator[Item]:
        """Yield what is not on the medium yet."""
        ...

    def settled(self) -> "StorageBackend":
        """Return the store as its medium has it now, to be read: what is only staged is not there."""
        ...

    def flush(self, prove: Prove) -> None:
        """Bring everything to the medium; of each item, only when ``prove`` has read it back, drop what was staged.

        Raises:
            StoreFullError, StoreRefusesError, StorageError, and what ``prove`` raises. What it had not accepted by then
            stays staged.
        """
        ...


@runtime_checkable
class Sized(Protocol):
    """Knows how much space it has."""

    def space(self) -> Space:
        """Return the space; raises ``StoreUnavailableError``."""
        ...


@runtime_checkable
class Located(Protocol):
    """Knows on which file system and device it lies."""

    def whereabouts(self) -> Whereabouts:
        """Return both; raises ``StoreUnavailableError``."""
        ...


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_key(key: str) -> str:
    """Return ``key`` if every medium can keep it and none can be led astray by it; raise ``BadKeyError`` otherwise.

    A key is 1 to 1,000 bytes of UTF-8: segments of 1 to 255 bytes, joined by ``/``, none of them ``.`` or ``..``,
    without control characters. The marker's name and the drafts' folder are reserved.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise BadKeyError(key=key, reason="not Unicode") from error
    if not 0 < size <= LONGEST_KEY:
        raise BadKeyError(key=key, reason="its length")
    for segment in key.split("/"):
        if segment in {"", ".", ".."} or len(segment.encode()) > LONGEST_SEGMENT:
            raise BadKeyError(key=key, reason="an empty, relative or long segment")
    if key.partition("/")[0] in {MARKER_KEY, DRAFTS}:
        raise BadKeyError(key=key, reason="a name that the store keeps for itself")
    if _CONTROL.search(key):
        raise BadKeyError(key=key, reason="a control character")
    return key


def exactly(source: Source, size: int, *, place: str, key: str) -> Iterator[bytes]:
    """Yield ``source`` in pieces to its end; raise ``SourceLengthError`` unless it is ``size`` bytes in all.

    What ``source.read`` raises passes through unchanged.
    """
    found = 0
    while data := source.read(PIECE):
        found += len(data)
        if found > size:
            break
        yield data
    if found != size:
        raise SourceLengthError(place=place, key=key, expected=size, found=found)


def share_device(one: Whereabouts, other: Whereabouts) -> bool:
    """Return whether the failure of one disk can take both."""
    disks = set(one.device.split("+")) & set(other.device.split("+"))
    return one.file_system == other.file_system or bool(disks)
