"""How many cartridges a store is to have, what they are called, and how each of them stands."""

import re
from dataclasses import dataclass
from datetime import date

from storage_backends.errors import StorageError, marked

BARCODE = re.compile(r"[A-Z0-9]{8}")
"""Six characters of a serial number and two of the kind of medium, as on the labels of LTO cartridges."""

IMAGE = "IM"
"""The kind of medium of an image; no LTO generation is called so."""

HAND = "HL"
"""The kind of medium on the label of a cartridge that has no barcode: it is known by its label alone."""

OPEN, FULL, SUSPECT = "open", "full", "suspect"
"""States of a cartridge: it may be written; it is full; nothing more is written on it because it read back wrong."""

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


class CartridgesError(StorageError):
    """The cartridges that were asked for cannot be made."""

    template = marked("{place}: cartridges cannot be made: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cartridges:
    """How many cartridges a store is to have, what each takes (bytes), and what their labels say of the repository.

    What a real cartridge takes is not ours to say. ``as_there_are`` is content with fewer, if nobody asked for so many.
    """

    count: int = 3
    as_there_are: bool = False
    capacity: int = 12 << 30
    repository: str = ""
    written: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One cartridge as library and directory know it. ``number`` is 0 if the directory does not know it.

    ``where`` is ``slot``, ``drive`` or nothing, if it is not in the library; sizes are in bytes, 0 if not known.
    """

    barcode: str
    number: int = 0
    state: str = ""
    where: str = ""
    element: int = 0
    files: int = 0
    used: int = 0
    capacity: int = 0
    loads: int = 0
    write_protected: bool = False


def barcode_of(store: str, number: int, kind: str = IMAGE) -> str:
    """Return the barcode of cartridge ``number`` of a store: three letters of the store's own, and three digits."""
    seed = int.from_bytes(store.encode()[-12:], "big")
    letters = "".join(_LETTERS[seed // len(_LETTERS) ** place % len(_LETTERS)] for place in range(3))
    return f"{letters}{number:03d}{kind}"


def day_of(written: str) -> date | None:
    """Return the day on a label; nothing if it has none."""
    try:
        return date.fromisoformat(written)
    except ValueError:
        return None
