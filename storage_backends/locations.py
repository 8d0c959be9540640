"""From a URL to a store; the only module that knows every kind of store.

``file:///absolute/folder`` is a disk, ``tape+image:///absolute/folder`` a folder of image cartridges,
``tape+iscsi:///absolute/folder?drive=...`` and ``tape+st:///absolute/folder?drive=...`` folders beside real drives, and
``memory:name`` lives and dies with this process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote_to_bytes, urlsplit

from storage_backends import disk
from storage_backends.backend import StorageBackend, StorageProfile
from storage_backends.errors import Phrase, StorageError, StoreRefusesError, marked
from storage_backends.memory import MemoryBackend, Shelf
from storage_backends.recalling import SelfRecalling
from storage_backends.tape.addresses import KINDS, BadAddressError, Hardware, hardware_of
from storage_backends.tape.cartridges import Cartridges, CartridgesError

TAPE_IMAGE = "tape+image"
TAPES = KINDS | {TAPE_IMAGE}

_shelves: dict[str, Shelf] = {}
_wraps: dict[str, Callable[[StorageBackend], StorageBackend]] = {}


class BadUrlError(StorageError):
    """The URL does not name a place where a store can be."""

    template = marked("{url!r} is not the URL of a store: {reason}; write file:///absolute/folder")


def checked_url(url: str) -> str:
    """Return ``url`` in the one form that we keep; raise ``BadUrlError`` if it names no place for a store."""
    kind, place = _parts(url)
    if kind == "memory":
        return f"memory:{place}"
    drive = _hardware(url)
    return f"{kind}://{quote(place)}" + (f"?{drive.query}" if drive is not None else "")


def medium_of(url: str) -> str:
    """Return what ``StorageProfile.medium`` is for a store at ``url``."""
    kind = _parts(url)[0]
    return "tape" if kind in TAPES else {"file": "disk", "memory": "memory"}[kind]


def open_store(url: str, *, store_id: str, profile: StorageProfile, reserve: int = disk.RESERVE) -> StorageBackend:
    """Return the store at ``url``; ``reserve`` in bytes is kept free on media that can be full.

    It is not asked for yet: a store that is away answers each operation with ``StoreUnavailableError``.
    """
    kind, place = _parts(url)
    opened: StorageBackend
    if kind == "file":
        opened = disk.DiskBackend(place, store_id=store_id, profile=profile, reserve=reserve)
    elif kind in TAPES:
        opened = _tape(url, store_id=store_id, profile=profile, reserve=reserve)
    else:
        opened = MemoryBackend(_shelf(place), store_id=store_id, profile=profile, place=checked_url(url))
    wrap = _wraps.get(checked_url(url))
    return opened if wrap is None else wrap(opened)


@contextmanager
def wrapped(url: str, wrap: Callable[[StorageBackend], StorageBackend]) -> Iterator[None]:
    """Let this process meet the store at ``url`` as ``wrap`` makes it, for a while: a drill puts its faults between."""
    url = checked_url(url)
    _wraps[url] = wrap
    try:
        yield
    finally:
        del _wraps[url]


def initialise_store(url: str, store_id: str, cartridges: Cartridges | None = None) -> None:
    """Make the place at ``url`` the store ``store_id``; harmless if it is that already.

    ``cartridges`` are how many a store on tape is to have; what is missing is made and labelled.

    Raises:
        StoreRefusesError: it is another store, or something else lies there.
        CartridgesError: so many cannot be made, or this is no store on tape.
    """
    kind, place = _parts(url)
    if cartridges is not None and kind not in TAPES:
        raise CartridgesError(place=url, reason="only a store on tape has cartridges")
    if kind == "file":
        disk.initialise(place, store_id)
        return
    if kind == TAPE_IMAGE:
        from storage_backends.tape import place as tape  # noqa: PLC0415 - the others do without it

        tape.initialise(place, store_id, cartridges)
        disk.initialise(_staging(place), store_id)
        return
    drive = _hardware(url)
    if drive is not None:
        from storage_backends.tape import station  # noqa: PLC0415 - the others do without it

        station.initialise(place, store_id, drive, cartridges)
        disk.initialise(_staging(place), store_id)
        return
    shelf = _shelf(place)
    if shelf.store_id not in {None, store_id}:
        raise StoreRefusesError(place=url, reason=Phrase("it is another store, {found!r}", found=shelf.store_id))
    shelf.store_id = store_id


def stored_id(url: str) -> str | None:
    """Return which store lies at ``url``, None if none does; raises ``StoreUnavailableError`` if that is unreadable."""
    kind, place = _parts(url)
    if kind == TAPE_IMAGE:
        from storage_backends.tape import place as tape  # noqa: PLC0415 - the others do without it

        return tape.stored_id(place)
    if kind in KINDS:
        from storage_backends.tape import station  # noqa: PLC0415 - the others do without it

        return station.stored_id(place)
    return disk.stored_id(place) if kind == "file" else _shelf(place).store_id


def adopted(url: str, expected: str = "") -> str | None:
    """Make a folder beside real drives anew, as the store whose cartridges they have; return which that is.

    None if they have none (of the ``expected`` store, if one is), or if this is another kind of place.

    Raises:
        StoreRefusesError: the cartridges are of several stores, or something else lies in the folder.
        TapeError: the drive or the changer cannot be used.
    """
    drive = _hardware(url)
    if drive is None:
        return None
    from storage_backends.tape import station  # noqa: PLC0415 - the others do without it

    place = _parts(url)[1]
    store_id = station.adopted(place, drive, expected)
    if store_id is not None:
        disk.initialise(_staging(place), store_id)
    return store_id


def _tape(url: str, *, store_id: str, profile: StorageProfile, reserve: int) -> StorageBackend:
    from storage_backends.tape import place as tape  # noqa: PLC0415 - the others do without it
    from storage_backends.tape import station  # noqa: PLC0415 - the same
    from storage_backends.tape.backend import TapeBackend, TapePlace  # noqa: PLC0415 - the same

    place, drive = _parts(url)[1], _hardware(url)
    home: TapePlace = tape.ImageFolder(place, store_id) if drive is None else station.Station(place, store_id, drive)
    staging = disk.DiskBackend(_staging(place), store_id=store_id, profile=profile, reserve=reserve)
    return SelfRecalling(TapeBackend(home, staging, profile=profile))


def _staging(place: str) -> str:
    """Return where a store on tape keeps what is on its way: on the disk that has its directory."""
    return f"{place}/staging"


def _shelf(name: str) -> Shelf:
    return _shelves.setdefault(name, Shelf())


def _parts(url: str) -> tuple[str, str]:
    """Return the kind of store and its place: an absolute path, or a name."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadUrlError(url=url, reason=str(error)) from error
    if (parts.query and parts.scheme not in KINDS) or parts.fragment:
        raise BadUrlError(url=url, reason="it has a ? or # (write %3F or %23 for a letter of a name)")
    if parts.scheme == "memory" and not parts.netloc:
        return "memory", parts.path
    if parts.scheme not in {"file", *TAPES}:
        raise BadUrlError(url=url, reason="its kind is not known")
    if parts.netloc not in {"", "localhost"}:
        raise BadUrlError(url=url, reason="it names another machine, or the path is not absolute")
    if parts.scheme in KINDS:
        _hardware(url)
    return parts.scheme, _path(url, parts.path)


def _hardware(url: str) -> Hardware | None:
    """Return the drive and the changer that a URL names; None if it is of another kind."""
    parts = urlsplit(url)
    if parts.scheme not in KINDS:
        return None
    try:
        return hardware_of(parts.scheme, parts.query)
    except BadAddressError as error:
        raise BadUrlError(url=url, reason=str(error)) from error


def _path(url: str, quoted: str) -> str:
    try:
        path = unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError as error:
        raise BadUrlError(url=url, reason="its path is not UTF-8") from error
    if not path.startswith("/") or path.strip("/") == "" or ".." in path.split("/") or "\0" in path:
        raise BadUrlError(url=url, reason="its path is not the absolute path of a folder")
    return path.rstrip("/")
