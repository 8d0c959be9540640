"""The cartridges of a store one by one: which there are and where, new ones, what lies on one, and giving one up."""

from collections.abc import Iterator
from dataclasses import dataclass

from storage_backends.errors import Phrase, StorageError
from storage_backends.tape import shelf
from storage_backends.tape.backend import TapeBackend
from storage_backends.tape.cartridges import BARCODE, OPEN, CartridgesError, Held, barcode_of
from storage_backends.tape.directory import Cartridge, Location
from storage_backends.tape.drive import RECORD, ForeignCartridgeError, WrongCartridgeError
from storage_backends.tape.image import TAPE, Settings, make_cartridge, read_settings
from storage_backends.tape.labels import Label, write_label
from storage_backends.tape.place import ImageFolder
from storage_backends.tape.survey import contents_of
from storage_backends.wrapping import Wrapping


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found: whose the cartridge is, and how many tape files and items it has that count."""

    label: Label
    is_ours: bool
    files: int = 0
    items: int = 0


def pool_of(backend: object) -> TapeBackend | None:
    """Return the store on tape that is below the wrappers of ``backend``; nothing if it is another kind of store."""
    while isinstance(backend, Wrapping):
        backend = backend.inner
    return backend if isinstance(backend, TapeBackend) else None


def cartridges_of(pool: TapeBackend) -> list[Held]:
    """Return every cartridge that the directory knows or that lies in the library, by number; none is mounted for it.

    Raises:
        StoreUnavailableError, TapeError: the place or the changer cannot be asked.
    """
    directory = pool.directory()
    there = {one.barcode: one for one in pool.library.elements() if one.barcode}
    known = {one.barcode: one for one in directory.cartridges()}
    found = []
    for barcode in known.keys() | there.keys():
        cartridge, element = known.get(barcode), there.get(barcode)
        files, records = directory.used(cartridge.number) if cartridge is not None else (0, 0)
        settings = _settings(pool, barcode)
        found.append(
            Held(
                barcode=barcode,
                number=cartridge.number if cartridge is not None else 0,
                state=cartridge.state if cartridge is not None else "",
                where="" if element is None else "drive" if element.is_drive else "slot",
                element=element.address if element is not None else 0,
                files=files,
                used=records * RECORD,
                capacity=settings.capacity if settings is not None else 0,
                loads=settings.loads if settings is not None else 0,
                write_protected=settings is not None and settings.write_protected,
            )
        )
    return sorted(found, key=lambda one: (one.number == 0, one.number, one.barcode))


def _settings(pool: TapeBackend, barcode: str) -> Settings | None:
    """Return what an image is by nature; a real cartridge tells only its drive."""
    if not isinstance(pool.home, ImageFolder):
        return None
    try:
        return read_settings(f"{pool.home.place}/{barcode}{TAPE}")
    except StorageError:
        return None


def label(pool: TapeBackend, barcode: str, wanted: Label, *, capacity: int) -> Label:
    """Make a blank cartridge one of the store's; an image that is not there is made. ``wanted.number`` is the least.

    Harmless for one that is the store's already. An empty ``barcode`` is the next that is free (images only).

    Raises:
        CartridgesError: the barcode is none, or no cartridge has it.
        WrongCartridgeError: there is something on it, which is not touched.
    """
    if barcode and not BARCODE.fullmatch(barcode):
        raise CartridgesError(
            place=pool.place, reason=Phrase("{barcode} is no barcode: 8 letters A-Z and digits", barcode=barcode)
        )
    is_image = isinstance(pool.home, ImageFolder)
    if not barcode and not is_image:
        raise CartridgesError(place=pool.place, reason="say the barcode of the cartridge in the library")
    with pool.library.using():
        directory = pool.for_writing()
        numbers = {one.barcode: one.number for one in directory.cartridges()}
        number = max([wanted.number - 1, *numbers.values()]) + 1
        barcode = barcode or barcode_of(wanted.store, number)
        if barcode in numbers:
            return pool.library.mount(barcode)
        if barcode not in pool.library.barcodes():
            if not is_image:
                raise CartridgesError(
                    place=pool.place, reason=Phrase("{barcode} is not in the library", barcode=barcode)
                )
            make_cartridge(pool.home.place, barcode, Settings(capacity=capacity))
        pool.library.bring(barcode)
        write_label(pool.library.drive, Label(barcode, number, wanted.store, wanted.repository, wanted.written))
        found = pool.library.mount(barcode)
        directory.add_cartridge(Cartridge(found.number, barcode))
        return found


def scan(pool: TapeBackend, barcode: str, store: str) -> Scanned:
    """Go over a cartridge and make its rows in the directory anew, if its label says that it is ``store``'s.

    Raises:
        CartridgesError: another cartridge of the store has its number; nothing is changed.
        CartridgeAwayError, DuplicateBarcodeError, NoLabelError, WrongCartridgeError, TapeError.
    """
    with pool.library.using():
        try:
            found = pool.library.mount(barcode)
        except ForeignCartridgeError:
            return Scanned(pool.library.look(barcode), is_ours=False)
        if found.store != store:  # a place of cartridges alone believes what their labels say
            return Scanned(found, is_ours=False)
        directory = pool.for_writing()
        known = {one.number: one for one in directory.cartridges()}
        before = known.get(found.number)
        if before is not None and before.barcode != barcode:
            reason = Phrase(
                "{barcode} and {other} both are number {number} of this store",
                barcode=barcode,
                other=before.barcode,
                number=found.number,
            )
            raise CartridgesError(place=pool.place, reason=reason)
        files, elsewhere = contents_of(pool.library, barcode)
        if before is not None:
            directory.drop(found.number)
        state = before.state if before is not None else OPEN
        directory.add_cartridge(Cartridge(found.number, barcode, state), files)
        directory.learn(elsewhere)
        return Scanned(found, True, len(files), sum(1 for _ in directory.contents(found.number)))


def contents(pool: TapeBackend, barcode: str) -> Iterator[tuple[str, Location]]:
    """Yield what lies on a cartridge and counts, in the order of the tape; nothing if it is not known."""
    directory = pool.directory()
    for one in directory.cartridges():
        if one.barcode == barcode:
            yield from directory.contents(one.number)


def drop(pool: TapeBackend, barcode: str) -> None:
    """Forget a cartridge that will not come back, and what lies on it."""
    with pool.library.using():
        directory = pool.for_writing()
        for one in directory.cartridges():
            if one.barcode == barcode:
                directory.drop(one.number)


def take_out(pool: TapeBackend, barcode: str) -> str:
    """Bring a cartridge out of the drive and, if it is an image, to the shelf beside the library; return the shelf.

    A real cartridge goes to a free mail slot, or out of a drive that has no changer; else it is left in its slot for a
    person to take. Then nothing is returned.
    """
    with pool.library.using():
        pool.library.put_back()
        if isinstance(pool.home, ImageFolder):
            return shelf.take_out(pool.home.place, barcode)
        pool.library.give_out(barcode)
    return ""


def put_in(pool: TapeBackend, barcode: str, number: int) -> Label:
    """Bring an image back from the shelf beside the library, then mount the cartridge and compare its label.

    ``number`` is what the label must say too; 0 is any.

    Raises:
        CartridgeAwayError, DuplicateBarcodeError, WrongCartridgeError, NoLabelError, TapeError.
    """
    with pool.library.using():
        pool.library.put_back()
        if isinstance(pool.home, ImageFolder):
            shelf.put_in(pool.home.place, barcode)
        label = pool.library.mount(barcode)
    if number not in {0, label.number}:
        raise WrongCartridgeError(
            place=pool.place,
            barcode=barcode,
            found=Phrase("number {found}, not {number}", found=label.number, number=number),
        )
    return label
