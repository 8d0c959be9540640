"""How many cartridges a store is to have, and what they are called."""

import re
from dataclasses import dataclass

from storage_backends.errors import StorageError, marked

BARCODE = re.compile(r"[A-Z0-9]{8}")
"""Six characters of a serial number and two of the kind of medium, as on the labels of LTO cartridges."""

IMAGE = "IM"
"""The kind of medium of an image; no LTO generation is called so."""

HAND = "HL"
"""The kind of medium on the label of a cartridge that has no barcode: it is known by its label alone."""

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


def barcode_of(store: str, number: int, kind: str = IMAGE) -> str:
    """Return the barcode of cartridge ``number`` of a store: three letters of the store's own, and three digits."""
    seed = int.from_bytes(store.encode()[-12:], "big")
    letters = "".join(_LETTERS[seed // len(_LETTERS) ** place % len(_LETTERS)] for place in range(3))
    return f"{letters}{number:03d}{kind}"
