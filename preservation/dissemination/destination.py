"""Where an export goes: checked before, made beside its place, moved there in one step when it is complete."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from preservation.dissemination.errors import DestinationError
from preservation.ledger.files import fsync_directory
from preservation.submission.errors import shown
from storage_backends.errors import Phrase, marked

PARTIAL = b".partial"
EVENTS_XML = b".premis.xml"
EVENTS_JSON = b".premis.json"


@dataclass(frozen=True, slots=True)
class Destination:
    """The places that an export will take, none of which is taken yet: the export first, then what lies beside it."""

    places: Sequence[bytes]

    @property
    def shown(self) -> str:
        """The export's place for people."""
        return os.fsdecode(self.places[0])

    def partial(self, number: int = 0) -> bytes:
        """Return where the export (0), or what lies beside it, is made."""
        return self.places[number] + PARTIAL


def destination(dest: str, *, single: bytes | None, events_beside: bool, repository: str) -> Destination:
    """Return the places for an export to ``dest``; ``single`` is the path of the one file that ``dest`` shall be.

    Raises:
        DestinationError: the place or one beside it is taken, is a mount point, lies in the repository, or its folder
            is not there.
    """
    place = os.path.abspath(os.fsencode(dest))
    if single is not None and os.path.isdir(place):
        place = os.path.join(place, single.rpartition(b"/")[2])
    elif os.path.isdir(place) and not os.path.islink(place):
        _check_empty(place)
    places = [place, place + EVENTS_XML, place + EVENTS_JSON] if events_beside else [place]
    _check_folder(place, repository)
    for number, one in enumerate(places):
        empty_folder = number == 0 and single is None and os.path.isdir(one) and not os.path.islink(one)
        if os.path.lexists(one) and not empty_folder:
            raise DestinationError(dest=shown(one), reason="there is something here already")
        if os.path.lexists(one + PARTIAL):
            reason = marked("it is what an interrupted export left; remove it first, unless another export is running")
            raise DestinationError(dest=shown(one + PARTIAL), reason=reason)
    return Destination(places)


def _check_empty(place: bytes) -> None:
    if os.path.ismount(place):
        raise DestinationError(dest=shown(place), reason="it is a mount point; name a new folder below it")
    try:
        names = os.listdir(place)
    except OSError as error:
        raise DestinationError(dest=shown(place), reason=str(error.strerror)) from error
    if names:
        raise DestinationError(dest=shown(place), reason="the folder is not empty")


def _check_folder(place: bytes, repository: str) -> None:
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        raise DestinationError(dest=shown(place), reason=Phrase("there is no folder {folder}", folder=shown(folder)))
    inside = os.path.realpath(os.fsencode(repository))
    if os.path.commonpath([os.path.realpath(folder), inside]) == inside:
        raise DestinationError(dest=shown(place), reason="it lies inside the repository")


@contextmanager
def unfinished(target: Destination) -> Iterator[None]:
    """Move what was made to its places when the block ends well; else remove it."""
    moved: list[bytes] = []
    try:
        yield
        for place in reversed(target.places):
            _move(place)
            moved.append(place)
    except BaseException:
        for place in [*moved, *(one + PARTIAL for one in target.places)]:
            _remove(place)
        raise
    fsync_directory(os.fsdecode(os.path.dirname(target.places[0])))


def _move(place: bytes) -> None:
    # A folder can only take the place of an empty one; a file would silently replace another.
    if not os.path.isdir(place + PARTIAL) and os.path.lexists(place):
        raise DestinationError(dest=shown(place), reason="something appeared here meanwhile")
    os.rename(place + PARTIAL, place)


def _remove(place: bytes) -> None:
    with suppress(OSError, RecursionError):
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.unlink(place)
