"""Whole repositories for tests: a clock that ticks, randomness with a seed, two stores, submissions by the dozen."""

import os
import random as seeded
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from submission_support import write

from audits.run import Scope
from audits.run import audit as run_audit
from preservation import attachment, fonds, stores
from preservation.catalog import rows
from preservation.catalog.catalog import Catalog
from preservation.catalog.rows import CopyRow, PackRow, StoreRow
from preservation.creation import create, open_repository
from preservation.formats.identification import NoIdentification
from preservation.ingest import Request, ingest
from preservation.manifest import FileLine
from preservation.packages import manifest, object_pieces, version_row
from preservation.packs import layout
from preservation.repository import Repository, World

FONDS = "F1"
TITLE = "Hồ sơ địa chính"
TIME = 1_600_000_000_123_456_789
"""When the files of submissions were changed last, in nanoseconds since 1970."""


@dataclass
class Clock:
    """A time that goes on by 7 ms whenever somebody looks."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(milliseconds=7)
        return self.now

    def pass_by(self, **span):
        self.now += timedelta(**span)


@dataclass
class Place:
    """A folder with a repository ``repo``, stores beside it, and what they need."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    random: object = field(default_factory=lambda: seeded.Random(1).randbytes)
    stop_after: int | None = None
    """How often the work may ask whether to stop before it is told to."""

    @property
    def path(self):
        return str(self.folder / "repo")

    @property
    def world(self):
        return World(now=self.clock, random=self.random, agent="thử", wait_seconds=20, stopping=self._stopping)

    def _stopping(self):
        if self.stop_after is None:
            return False
        self.stop_after -= 1
        return self.stop_after < 0

    def open(self, *, read_only=False) -> Repository:
        return open_repository(self.path, self.world, read_only=read_only)

    def store(self, name):
        return self.folder / name

    def url(self, name):
        return f"file://{self.folder / name}"


def made(folder, *, store_names=("a", "b"), copies=2, seed=1):
    """Make a repository with these disk stores and one fonds."""
    place = Place(Path(folder), random=seeded.Random(seed).randbytes)
    create(place.path, place.world)
    if copies != 2:
        configure(place, "copies = 2", f"copies = {copies}")
    for name in store_names:
        attachment.add(place.open(), name, place.url(name), site=f"site {name}")
    fonds.open_fonds(place.open(), FONDS, "Phông UBND xã Tân Lập")
    return place


def configure(place, old, new):
    path = place.folder / "repo" / "mocban.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def nothing(_files, _bytes):
    pass


def submit(place, source, *, told=nothing, identifier=None, **more):
    """Ingest what lies at ``source``."""
    asked = {"fonds_code": FONDS, "title": TITLE, **more}
    request = Request(source=None if source is None else str(source), **asked)
    return ingest(place.open(), request, identifier or NoIdentification(), told)


def submit_files(place, files, name="submission", **more):
    """Ingest a folder of ``files`` (path: bytes; a path that ends in a slash is an empty folder)."""
    folder = place.folder / name
    folder.mkdir(exist_ok=True)
    write(folder, files)
    for base, _, names in os.walk(os.fsencode(folder)):
        for file in names:
            os.utime(os.path.join(base, file), ns=(TIME, TIME))
    return submit(place, folder, **more)


def audit(place, *, repair=True, **scope):
    return run_audit(place.open(), Scope(**scope), repair=repair, told=nothing)


def contents(place, package, version=None):
    """Everything in a package version as it is read from the stores: path to bytes, None for empty folders."""
    repository = place.open()
    found = {}
    with repository.reading() as view, stores.all_open(stores.attached(view)) as opened:
        row = version_row(view, package, version)
        for number, line in enumerate(manifest(view, opened, row)):
            if number == 0:
                continue
            data = None
            if isinstance(line, FileLine):
                data = b"".join(object_pieces(view, opened, row.fonds, line.blake3))
            found[line.path] = data
    return found


def manifest_of(place, package, version=None):
    """The parsed manifest: header, then the lines of files and folders."""
    repository = place.open()
    with repository.reading() as view, stores.all_open(stores.attached(view)) as opened:
        return list(manifest(view, opened, version_row(view, package, version)))


def pack_rows(place) -> list[PackRow]:
    with place.open().reading() as view:
        return list(rows.every(view, PackRow))


def copy_rows(place) -> list[CopyRow]:
    with place.open().reading() as view:
        return list(rows.every(view, CopyRow))


def store_rows(place) -> dict[str, StoreRow]:
    with place.open().reading() as view:
        return {row.name: row for row in rows.every(view, StoreRow)}


def every_row(view) -> dict[bytes, bytes]:
    """Every row of the catalog but for its own marks."""
    return {key: value for key, value in view.scan(b"") if not key.startswith(b"!")}


def catalog_rows(place) -> dict[bytes, bytes]:
    with place.open().reading() as view:
        return every_row(view)


def rebuilt_rows(place) -> dict[bytes, bytes]:
    """What the catalog would hold if it were made from the ledger and the indexes in the repository now."""
    repository = place.open()
    known = repository.catalog
    beside = Catalog(
        str(place.folder / "beside"), known.identity, known.records, known.ledger_size, repository.sidecars.index_of
    )
    beside.create()
    with beside.reading() as view:
        found = every_row(view)
    for path in sorted((place.folder / "beside").iterdir()):
        path.unlink()
    (place.folder / "beside").rmdir()
    return found


def pack_file(place, store, row) -> Path:
    return place.store(store) / layout.pack_key(row.fonds, row.pack)


def index_file(place, store, row) -> Path:
    return place.store(store) / layout.index_key(row.fonds, row.pack)


def blocks_file(place, store, row) -> Path:
    return place.store(store) / layout.blocks_key(row.fonds, row.pack)


def overwrite(path, data):
    """Change what lies in a file that is read-only, as failing hardware or a careless person does."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(data)
    os.chmod(path, 0o444)


def flip(path, offset, mask=0x01):
    """Change bits of one byte in place."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
    os.chmod(path, 0o444)


def tree(folder) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def open_findings(report):
    return [(str(finding.code), finding.store, finding.detail) for finding in report.findings if finding.is_open]


def seen(report):
    """The coverage as figures."""
    found = report.coverage
    return {
        name: getattr(found, name)
        for name in ("expected", "verified", "damaged", "missing", "unreadable", "unexpected", "skipped", "repaired")
    }
