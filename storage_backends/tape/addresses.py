"""Real drives in a URL: which drive, which changer.

``tape+iscsi:///folder?drive=HOST:PORT/TARGET/UNIT&changer=HOST:PORT/TARGET/UNIT`` reaches both over iSCSI,
``tape+st:///folder?drive=/dev/nst0&changer=/dev/sg1`` by the Linux drivers. The folder has what is on its way to tape
and the directory. Without ``changer`` a person changes cartridges; ``element`` is the drive's address in its changer.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from storage_backends.errors import StorageError, marked

ISCSI, ST = "tape+iscsi", "tape+st"
KINDS = frozenset({ISCSI, ST})

LARGEST_ELEMENT = 0xFFFF

_DEVICE = re.compile(r"/dev/[A-Za-z0-9_./:-]{1,200}")
_LEGIBLE = "/:[],"
"""What a query may have as it is."""
_ADDRESS = re.compile(r"((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})/([A-Za-z0-9.:-]{1,223})/([0-9]{1,5})")


class BadAddressError(StorageError):
    """The address does not name a logical unit."""

    template = marked("{address!r} is not the address of a tape drive or changer: {reason}")


@dataclass(frozen=True, slots=True)
class Address:
    """A logical unit: ``host:port/target/number``."""

    portal: str
    target: str
    unit: int

    def __str__(self) -> str:
        return f"{self.portal}/{self.target}/{self.unit}"


def address_of(text: str) -> Address:
    """Return what ``host:port/target/number`` names."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise BadAddressError(address=text, reason="write host:port/target/number")
    return Address(found[1], found[2], int(found[3]))


@dataclass(frozen=True, slots=True)
class Hardware:
    """A drive and its changer, as a URL names them."""

    kind: str
    drive: str
    changer: str = ""
    element: int | None = None

    @property
    def query(self) -> str:
        """The part of the URL behind the question mark, in the one form that we keep."""
        parts = [("drive", self.drive), ("changer", self.changer)]
        if self.element is not None:
            parts.append(("element", str(self.element)))
        return "&".join(f"{name}={quote(value, safe=_LEGIBLE)}" for name, value in parts if value)

    @property
    def identity(self) -> str:
        """What two stores with the same drive have in common."""
        return f"{self.kind}:{self.drive}"


def hardware_of(kind: str, query: str) -> Hardware:
    """Return what the query of a URL names; raise ``BadAddressError`` if that can be no drive."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=9)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadAddressError(address=query, reason="write ?drive=...&changer=...") from error
    values = dict(pairs)
    if len(values) != len(pairs) or not values.keys() <= {"drive", "changer", "element"} or not values.get("drive"):
        raise BadAddressError(address=query, reason="it needs drive=, and may have changer= and element=, each once")
    for name in ("drive", "changer"):
        if name in values:
            _check_address(kind, values[name])
    element = values.get("element")
    if element is not None and not (element.isascii() and element.isdigit() and int(element) <= LARGEST_ELEMENT):
        raise BadAddressError(address=query, reason="element= is the number of the drive in its changer")
    if element is not None and "changer" not in values:
        raise BadAddressError(address=query, reason="element= needs changer=")
    found = None if element is None else int(element)
    return Hardware(kind, values["drive"], values.get("changer", ""), found)


def _check_address(kind: str, text: str) -> None:
    if kind == ISCSI:
        address_of(text)
    elif not _DEVICE.fullmatch(text) or ".." in text.split("/"):
        raise BadAddressError(address=text, reason="write the path of a device below /dev")
