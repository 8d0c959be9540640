"""Image cartridges beside their library: a folder that stands for a shelf, from which a person may carry them away."""

import os

from storage_backends.tape.image import SETTINGS, TAPE

SHELF = "shelf"
"""The folder beside the cartridges of a library."""


def take_out(library: str, barcode: str) -> str:
    """Move an image and its settings out of the library; return the shelf. What is there already stays there."""
    shelf = os.path.join(library, SHELF)
    os.makedirs(shelf, exist_ok=True)
    _moved(library, shelf, barcode)
    return shelf


def put_in(library: str, barcode: str) -> None:
    """Move an image and its settings from the shelf into the library, unless they are there or were carried away."""
    _moved(os.path.join(library, SHELF), library, barcode)


def _moved(source: str, target: str, barcode: str) -> None:
    for ending in (SETTINGS, TAPE):  # the tape last: until then it is where it was
        old, new = (os.path.join(folder, barcode + ending) for folder in (source, target))
        if os.path.lexists(old) and not os.path.lexists(new):
            os.rename(old, new)
    for folder in (target, source):
        if os.path.isdir(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
