"""Export: find a package, copy it out verified in the form that is asked for, record it, and only then show it.

The event comes before the result appears, so that nothing leaves the archive unrecorded; where the repository cannot be
written (an auditor's view), the export still works and says that it is not recorded.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from preservation.cartridges import Purpose, noticing
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PackRow, PackState, VersionRow
from preservation.dissemination.bag import write_bag
from preservation.dissemination.copying import Counts, Later, Outgoing, Remark, Version
from preservation.dissemination.destination import Destination, destination, unfinished
from preservation.dissemination.errors import ExportFailedError, ExportStoppedError
from preservation.dissemination.files import write_files
from preservation.dissemination.history import concerning
from preservation.dissemination.ocfl import write_ocfl
from preservation.dissemination.writing import Flushing
from preservation.fetching import Fetching
from preservation.identifications import Layers
from preservation.ledger.errors import LedgerReadOnlyError
from preservation.ledger.events import EventType, Record
from preservation.manifest import FileLine, parse
from preservation.packages import manifest_lines, version_row
from preservation.parts import PartMissingError
from preservation.repository import Repository
from preservation.stores import Store, all_open, attached

Form: TypeAlias = Literal["files", "bagit", "ocfl"]

Progress = Callable[[int, int], None]
"""Told of bytes that are done, and of all bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was exported and where it lies. ``files`` and ``bytes`` are those of ``version``.

    ``remarks`` says what people should know about single files, ``remarks_left_out`` how many more there were;
    ``recorded`` is false if the repository could not be written.
    """

    package: str
    version: int
    form: Form
    files: int
    bytes: int
    dest: str
    recorded: bool
    remarks: tuple[Remark, ...]
    remarks_left_out: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    package: str
    form: Form
    version: int | None
    path: bytes | None


def export(
    repository: Repository,
    package: str,
    dest: str,
    *,
    form: Form = "files",
    version: int | None = None,
    path: bytes | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Exported:
    """Copy a version of a package (by default the latest), or the one file ``path`` of it, to ``dest``.

    ``files`` gives the original tree at ``dest`` (with ``path``: the file itself, or that file in ``dest`` if ``dest``
    is a folder) and ``dest.premis.xml`` and ``.json`` beside it; ``bagit`` a bag; ``ocfl`` an object with all versions
    up to this one. ``dest`` is not there yet, or an empty folder. After a failure nothing is left.

    Raises:
        DestinationError, NoSuchPackageError, NoSuchFileError, NoGoodCopyError, ManifestUnreadableError,
        WrongBytesError, ExportFailedError, ExportStoppedError.
    """
    asked = Asked(package, form, version, path)
    single = path if form == "files" else None
    target = destination(dest, single=single, events_beside=form == "files", repository=repository.path)
    try:
        with unfinished(target):
            row, counts = _written(repository, asked, target, progress)
            recorded = _recorded(repository, row, asked, counts)
    except OSError as error:
        raise ExportFailedError(dest=target.shown, reason=error.strerror or str(error)) from error
    return Exported(
        package=package,
        version=row.version,
        form=form,
        files=counts.files,
        bytes=counts.size,
        dest=target.shown,
        recorded=recorded,
        remarks=tuple(counts.remarks),
        remarks_left_out=counts.remarks_left_out,
    )


def _written(
    repository: Repository, asked: Asked, target: Destination, progress: Progress
) -> tuple[VersionRow, Counts]:
    with (
        repository.reading() as view,
        all_open(attached(view)) as stores,
        noticing(repository, stores, Purpose.EXPORT),
    ):
        row = version_row(view, asked.package, asked.version)
        chosen = [row]
        if asked.form == "ocfl":
            chosen = [version_row(view, asked.package, one) for one in range(1, row.version + 1)]
        counts = Counts(_told(repository, target, sum(one.byte_count for one in chosen), progress))
        later = _later(repository, view, row, counts)
        versions = [_version(view, stores, one, asked.path, later) for one in chosen]
        met = {pack for one in versions for pack in one.packs}

        packs = sorted({pack for one in chosen for pack in (*one.packs, *one.references)})
        folder = os.path.dirname(target.partial())
        fetching = Fetching(view, stores, row.fonds, packs, _digests(versions), folder)

        def objects(digest: str) -> Iterator[bytes]:
            places = rows.locations(view.get(rows.object_key(row.fonds, digest)))
            met.update(place.pack for place in places)
            return fetching.pieces(digest)

        def history() -> Iterable[tuple[Record, int]]:
            numbers = {one.number for one in versions}
            return concerning(repository.ledger.raw_records(), asked.package, numbers, met, later.told)

        outgoing = Outgoing(objects, history, counts, Flushing(), repository.world.now())
        try:
            if asked.form == "files":
                write_files(versions[0], target, outgoing)
            elif asked.form == "bagit":
                write_bag(versions[0], target.partial(), outgoing)
            else:
                write_ocfl(versions, target.partial(), outgoing)
            outgoing.flushing.finish()
        finally:
            outgoing.flushing.close()
            fetching.close()
    return row, counts


def _digests(versions: Iterable[Version]) -> Iterator[str]:
    """Yield the digests of the objects that will be asked for, in about that order."""
    for version in versions:
        for line in parse(version.raw(), version.package):
            if isinstance(line, FileLine) and version.only in {None, line.path}:
                yield line.blake3


def _told(repository: Repository, target: Destination, whole: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        progress(done, whole)
        if repository.world.stopping():
            raise ExportStoppedError(dest=target.shown)

    return told


def _later(repository: Repository, view: View, row: VersionRow, counts: Counts) -> Later:
    """Return what was found of the package's formats later; where nobody can tell, that is said, and all else given."""
    names: dict[int, str] = {}

    def name(number: int) -> str:
        if number not in names:
            (record,) = repository.ledger.records(number, number + 1)
            names[number] = record.event_id
        return names[number]

    try:
        with Layers(repository.sidecars, view) as layers:
            return Later(layers.of_package(row.fonds, row.package), name)
    except PartMissingError:
        counts.remark("formats-unread", row.package.encode())
        return Later(is_read=False)


def _version(view: View, stores: list[Store], row: VersionRow, path: bytes | None, later: Later) -> Version:
    packs = () if path is not None else tuple(sorted({*row.packs, *row.references, row.manifest_pack}))
    found = (rows.one(view, PackRow, pack) for pack in packs)
    stored = tuple(pack.pack for pack in found if pack is not None and pack.state == PackState.LIVE)
    return Version(row.package, row.version, packs, stored, lambda: manifest_lines(view, stores, row), path, later)


def _recorded(repository: Repository, row: VersionRow, asked: Asked, counts: Counts) -> bool:
    event = repository.event(
        EventType.DISSEMINATION,
        fonds=row.fonds,
        package=row.package,
        version=row.version,
        form=asked.form,
        scope="package" if asked.path is None else "file",
        files=counts.files,
        bytes=counts.size,
    )
    try:
        repository.record([event])
    except LedgerReadOnlyError:
        return False
    return True
