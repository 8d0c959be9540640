"""Files become members of packs: cut, deduplicated, shipped; the manifest grows beside them.

While one pack is being written, the one before it is read back on its stores. What has landed is recorded at once, so
that a crash costs one pack of work and stores nothing twice.
"""

import json
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, Protocol, Self

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import PackRow, PackState, SessionRow
from preservation.fixity import Fixity
from preservation.formats.identification import Identification, Owed
from preservation.manifest import Content, file_line, folder_line
from preservation.packing import Landed, Shipment, copy_event, keep_sidecars, sealed_event
from preservation.packs import layout
from preservation.packs.index import ManifestLine
from preservation.packs.writer import FinishedPack, PackWriter
from preservation.repository import Repository
from preservation.session import Progress, Session, SessionFolder
from preservation.stores import Sharing, Store, good_holders, satisfies
from storage_backends.errors import MocbanError

LINES_WAITING = 4096
"""Files whose format may still be unknown while later ones are read."""

MOST_REFERENCES = 8_000
"""Older packs that a version relies on at most, so that the event that names them stays below its limit."""

OFF = '"formats":[],"identification":"off"'


class Pieces(Protocol):
    """Gives the bytes of an object, again at each call."""

    def __call__(self) -> Iterable[bytes | memoryview]:
        """Yield the bytes."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A manifest line whose format is still being looked at."""

    path: bytes
    fixity: Fixity
    mtime_ns: int
    answer: Owed | None
    more: dict[str, object]


@dataclass(slots=True)
class _Landing:
    """A pack that is being read back."""

    finished: FinishedPack
    shipment: Shipment
    progress: Progress
    copies: Future[list[Landed]]
    digests: dict[str, list[object]]


@dataclass(slots=True)
class Counts:
    """What a package version has, and what was written for it."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    entries: int = 0


@dataclass
class Assembly:
    """Takes entries in byte order and makes packs of them. Use it in a ``with`` block; ``finish`` ends it well."""

    repository: Repository
    session: Session
    folder: SessionFolder
    stores: list[Store]
    shared: list[Sharing]
    counts: Counts = field(default_factory=Counts)
    content: Content = field(default_factory=Content)
    packs: list[str] = field(default_factory=list)
    references: set[str] = field(default_factory=set)
    """Older packs that hold objects of this version too."""
    relied_on: set[str] = field(default_factory=set)
    """Those of them that were found good enough to store nothing again; looked at once more when all is committed."""
    lost: int = 0
    """Files of the version before whose bytes no live pack holds any more."""
    failures: dict[str, MocbanError] = field(default_factory=dict)
    _writer: PackWriter | None = None
    _shipment: Shipment | None = None
    _here: dict[str, list[object]] = field(default_factory=dict)
    _landing: _Landing | None = None
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _trust: dict[str, bool] = field(default_factory=dict)
    _lookups: bool = True
    _opened: int = 0

    def __post_init__(self) -> None:
        """Take up the work where the last recorded pack left it."""
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing")
        self._view = self._fresh_view()
        row = rows.one(self._view, SessionRow, self.session.session)
        assert row is not None, "a session is recorded before anything is packed for it"
        self._opened = row.opened
        own = [
            pack
            for pack in rows.every(self._view, PackRow)
            if pack.session == self.session.session and pack.state == PackState.PENDING
        ]
        own.sort(key=lambda pack: pack.label)
        self.packs = [pack.pack for pack in own]
        self._own = set(self.packs)
        self._journal = open(self.folder.manifest, "ab")  # noqa: SIM115 - closed by close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what has not landed; what is landing is waited for, so that it need not be written again."""
        if self._shipment is not None:
            self._shipment.abort()
            self._shipment = None
        self._pool.shutdown(wait=True)
        self._stack.close()
        self._journal.close()

    def _fresh_view(self) -> View:
        self._stack.close()
        view = self._stack.enter_context(self.repository.reading())
        self._lookups = any(pack.fonds == self.session.fonds for pack in rows.every(view, PackRow))
        return view

    # ---- entries -------------------------------------------------------------------------------------------------

    def add_file(
        self,
        path: bytes,
        fixity: Fixity,
        pieces: Pieces | bytes,
        *,
        mtime_ns: int,
        answer: Owed | None,
        more: dict[str, object],
    ) -> None:
        """Add a file whose digests are known; ``pieces`` are its bytes or give them."""
        if len(layout.files_folder(self.session.package, self.session.version)) + len(path) > layout.LONGEST_PATH:
            more = {**more, "warnings": ["the path is too long for a member; it stands in the manifest only"]}
        self._place(path, fixity, pieces)
        self._count(path, fixity)
        self._waiting.append(_Waiting(path, fixity, mtime_ns, answer, more))
        while len(self._waiting) > LINES_WAITING or (self._waiting and _is_ready(self._waiting[0])):
            self._write_line(self._waiting.popleft())

    def keep_file(self, path: bytes, fixity: Fixity, line: bytes) -> None:
        """Keep a file of the version before, with its line; its object is known."""
        self._drain()
        name = layout.files_folder(self.session.package, self.session.version) + path
        if len(name) <= layout.LONGEST_PATH:
            self._open_writer(0).point(name, fixity.blake3)
        self._refer(fixity.blake3)
        self._count(path, fixity)
        self._journal.write(line)

    def add_folder(self, path: bytes) -> None:
        """Keep an empty folder."""
        self._drain()
        name = layout.files_folder(self.session.package, self.session.version) + path
        if len(name) <= layout.LONGEST_PATH:
            self._open_writer(0).folder(name)
        self.content.add(path, "", 0)
        self.counts.folders += 1
        self.counts.entries += 1
        self._journal.write(folder_line(path))

    def replay(self, path: bytes, fixity: Fixity | None, *, kept: bool) -> bool:
        """Take in an entry that an earlier attempt has packed already: a file with its digests, or an empty folder.

        ``kept`` says that the version before has it already. Return whether its object can be had from packs that are
        good enough, as it could when it was packed.
        """
        if fixity is None:
            self.content.add(path, "", 0)
            self.counts.folders += 1
            self.counts.entries += 1
            return True
        self._count(path, fixity)
        if kept:
            self._refer(fixity.blake3)
            return True
        return self._is_known(fixity.blake3)

    def _count(self, path: bytes, fixity: Fixity) -> None:
        self.content.add(path, fixity.blake3, fixity.size)
        self.counts.files += 1
        self.counts.bytes += fixity.size
        self.counts.entries += 1

    def _place(self, path: bytes, fixity: Fixity, pieces: Pieces | bytes) -> None:
        digest, size = fixity.blake3, fixity.size
        writer = self._open_writer(size if digest not in self._here else 0)
        here = self._here.get(digest)
        name = layout.files_folder(self.session.package, self.session.version) + path
        if here is None:
            if self._is_known(digest):
                if len(name) <= layout.LONGEST_PATH:
                    writer.point(name, digest)
                return
            if isinstance(pieces, bytes):
                writer.add_small_object(digest, pieces)
            else:
                writer.add_object(digest, size, pieces())
            here = self._here[digest] = [layout.content_name(digest), 0]
        if len(name) > layout.LONGEST_PATH:
            return
        target, count = here
        assert isinstance(target, bytes)
        assert isinstance(count, int)
        if size == 0 or (count + 1) % layout.REPEATS_PER_LINK == 0:
            writer.repeat(name, digest, size, [pieces] if isinstance(pieces, bytes) else pieces())
            self._here[digest] = [name if size else target, count + 1]
        else:
            writer.link(name, digest, target)
            here[1] = count + 1

    # ---- deduplication -------------------------------------------------------------------------------------------

    def _is_known(self, digest: str) -> bool:
        if self._landing is not None and digest in self._landing.digests:
            return True
        if not self._lookups:
            return False
        pack = self._trusted_pack(digest)
        if pack is None:
            return False
        if pack not in self._own:
            if pack not in self.references and len(self.references) >= MOST_REFERENCES:
                return False
            self.references.add(pack)
            self.relied_on.add(pack)
        return True

    def _refer(self, digest: str) -> None:
        """Note which pack holds an object of the version before: one that is good enough, if there is one."""
        pack = self._trusted_pack(digest)
        if pack is None:
            for place in rows.locations(self._view.get(rows.object_key(self.session.fonds, digest))):
                row = rows.one(self._view, PackRow, place.pack)
                if row is not None and row.state == PackState.LIVE:
                    pack = place.pack
                    break
        if pack is None:
            self.lost += 1
        else:
            self.references.add(pack)

    def _trusted_pack(self, digest: str) -> str | None:
        value = self._view.get(rows.object_key(self.session.fonds, digest))
        for place in rows.locations(value):
            if place.pack in self._own:
                return place.pack
            trusted = self._trust.get(place.pack)
            if trusted is None:
                trusted = self._trust[place.pack] = self._is_trusted(place.pack)
            if trusted:
                return place.pack
        return None

    def _is_trusted(self, pack: str) -> bool:
        row = rows.one(self._view, PackRow, pack)
        if row is None or row.state != PackState.LIVE or row.sealed > self._opened:
            return False
        holders = good_holders(self._view, pack, [store.row for store in self.stores])
        return satisfies(self.repository.configuration.policy, holders, self.shared)

    # ---- packs ---------------------------------------------------------------------------------------------------

    def _open_writer(self, size: int) -> PackWriter:
        if self._writer is not None and not self._writer.fits(size):
            self._seal()
        if self._writer is None:
            number = len(self.packs) + 1 + (self._landing is not None)
            self._shipment = Shipment(self.stores)
            label = layout.pack_label(self.session.package, self.session.version, number)
            self._writer = PackWriter(label, self.session.fonds, self._shipment)
        return self._writer

    def _seal(self) -> None:
        assert self._writer is not None
        assert self._shipment is not None
        self._drain()
        self._journal.flush()
        finished, shipment = self._writer.finish(), self._shipment
        self._settle()
        progress = Progress(len(self.packs) + 1, finished.pack, self.counts.entries, self._journal.tell())
        copies = self._pool.submit(shipment.land, finished)
        self._landing = _Landing(finished, shipment, progress, copies, self._here)
        self._writer, self._shipment, self._here = None, None, {}

    def _settle(self) -> None:
        """Wait for the pack that is being read back and record it."""
        landing = self._landing
        if landing is None:
            return
        try:
            copies = landing.copies.result()
        finally:
            self.failures.update(landing.shipment.failures)
        _sync(self._journal)
        keep_sidecars(self.repository, landing.finished)
        self.folder.add_progress(landing.progress)
        finished, session = landing.finished, self.session
        self.repository.record(
            [
                sealed_event(
                    self.repository,
                    finished,
                    package=session.package,
                    version=session.version,
                    session=session.session,
                ),
                *(copy_event(self.repository, finished.fonds, finished.fixity, copy) for copy in copies),
            ]
        )
        self.packs.append(finished.pack)
        self._own.add(finished.pack)
        self._landing = None
        self._view = self._fresh_view()

    def checkpoint(self) -> None:
        """Record what has been written so far as far as it has landed; before the work stops."""
        self._settle()

    # ---- the manifest --------------------------------------------------------------------------------------------

    def _write_line(self, waiting: _Waiting) -> None:
        answer, more = OFF, waiting.more
        if waiting.answer is not None:
            found = waiting.answer.result()
            warnings = [*found.warnings, *_texts(more.get("warnings", []))]
            more = {**more, "warnings": warnings} if warnings else more
            answer = _answer_text(found)
        self._journal.write(file_line(waiting.path, waiting.fixity, waiting.mtime_ns, answer, more))

    def _drain(self) -> None:
        while self._waiting:
            self._write_line(self._waiting.popleft())

    @property
    def untouched(self) -> bool:
        """Whether no object was stored for this version: everything was there already."""
        return not self.packs and self._landing is None and (self._writer is None or not self._writer.objects)

    def end_of_entries(self) -> None:
        """All entries were given: the manifest has all lines."""
        self._drain()
        self._journal.flush()

    def finish(self, fixity: Fixity, line: ManifestLine) -> str:
        """Put the manifest into the last pack, wait until everything has landed; return the pack of the manifest."""
        self._drain()
        _sync(self._journal)
        writer = self._open_writer(fixity.size)
        with open(self.folder.manifest, "rb") as file:
            pieces = iter(lambda: file.read(1 << 20), b"")
            writer.add_manifest(layout.manifest_name(line.package, line.version), fixity, pieces, line)
        self._seal()
        self._settle()
        return self.packs[-1]

    def append(self, line: bytes) -> None:
        """Write a line into the manifest as it is: its header or trailer."""
        self._journal.write(line)
        self._journal.flush()


@lru_cache(maxsize=4096)
def _answer_text(found: Identification) -> str:
    """Return the fields of an answer as they stand in a line; many files have the same."""
    fields = found.to_json()
    del fields["warnings"]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)[1:-1]


def _texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(one) for one in value]


def _is_ready(waiting: _Waiting) -> bool:
    return waiting.answer is None or waiting.answer.done()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
