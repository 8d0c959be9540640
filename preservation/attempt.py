"""One attempt at an ingest: take up what an earlier one recorded, pack the rest, commit, bring the evidence out."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from preservation.abandoning import NoSuchSessionError, give_up
from preservation.assembly import Assembly
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import LostRow, ManifestRow, PackageRow, SessionRow, VersionRow
from preservation.evidence import push
from preservation.fixity import Fixity, Measuring
from preservation.formats.identification import FormatIdentifier, NoIdentification, Owed, extension_of
from preservation.ledger.events import EventType
from preservation.manifest import LONGEST_LINE, Content, FileLine, header_line, trailer_line
from preservation.packages import manifest_lines, version_row
from preservation.packs.index import ManifestLine
from preservation.reading import SMALL, LargeFile, SmallFile, ahead, read
from preservation.repository import Repository
from preservation.session import Session, SessionChangedError, SessionFolder
from preservation.stopping import StoppedError
from preservation.stores import Store, attached, good_holders, satisfies, sharings
from preservation.submission.entries import EmptyFolder, Submission, SubmittedFile
from preservation.submission.errors import SubmissionRefusedError, shown
from preservation.versions import Kept, Step, merged, parsed_lines
from storage_backends.errors import MocbanError, Phrase, marked

STOP_EVERY = 64
"""Small files after which an attempt looks up whether it shall stop; it does so before each large one."""

ANSWERS_KEPT = 4_096
"""Contents whose formats are remembered, in case they come again."""

PACKS_IN_EVENT = 7_000
"""An event has a largest size; of more packs it names none, which means all that its session sealed."""


class CopiesWentBadError(MocbanError):
    """Older packs that this version relies on were found bad while it was made."""

    template = marked(
        "{packs} packs that this package relies on went bad meanwhile. Run 'mocban audit', then ingest once more"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What came of an ingest. ``copies`` is the smallest number of verified copies that any of its packs has."""

    package: str
    version: int
    files: int
    bytes: int
    packs: list[str]
    copies: int
    under_replicated: bool
    already: bool = False
    warnings: list[str] = field(default_factory=list)
    failures: dict[str, MocbanError] = field(default_factory=dict)


Told = Callable[[int, int], None]
"""Told of each file that is done: files, bytes."""


class Lines(Protocol):
    """What a new version's manifest says beyond what is seen of the files; the same at each attempt."""

    @property
    def origin(self) -> dict[str, object] | None:
        """Where the version comes from, for the manifest's header; None: from the submission."""
        ...

    @property
    def facts(self) -> dict[str, str]:
        """Identifiers that the event of the new version has too."""
        ...

    def more(self, path: bytes) -> dict[str, object]:
        """Return further fields for the line of a new file."""
        ...

    def kept(self, kept: Kept) -> bytes:
        """Return the line of a file that the version before has: as it is, or with other further fields."""
        ...


class AsTheyCome:
    """Lines to which nothing is added."""

    origin: dict[str, object] | None = None
    facts: dict[str, str] = {}  # noqa: RUF012 - never changed

    def more(self, path: bytes) -> dict[str, object]:
        """Return nothing."""
        del path
        return {}

    def kept(self, kept: Kept) -> bytes:
        """Return the line as it is."""
        return kept.raw


AS_THEY_COME = AsTheyCome()


@dataclass(slots=True)
class Attempt:
    """One attempt at one session."""

    repository: Repository
    session: Session
    folder: SessionFolder
    stores: list[Store]
    submission: Submission | None
    identifier: FormatIdentifier
    told: Told
    lines: Lines = AS_THEY_COME
    answers: dict[tuple[str, str], Owed] = field(default_factory=dict)
    """What was asked about the formats of contents, by digest and extension."""

    def run(self) -> Receipt:
        """Pack everything, commit, and bring the evidence to the stores."""
        before = self._take_up()
        shared = sharings(self.stores)
        with Assembly(self.repository, self.session, self.folder, self.stores, shared) as assembly:
            try:
                return self._carried_out(assembly, before)
            except SubmissionRefusedError:
                with suppress(MocbanError):  # what is landing is recorded, so that giving up removes it again
                    assembly.checkpoint()
                raise

    def _carried_out(self, assembly: Assembly, before: int) -> Receipt:
        steps = self._steps()
        if before:
            self._replay(assembly, steps, before)
        else:
            assembly.append(self._header())
        done = self._landed_manifest(assembly.packs) is not None
        more = next(steps, None) if done else None
        if more is not None:
            raise SessionChangedError(path=shown(more.path), session=self.session.session)
        if not done:
            self._pack(assembly, steps)
            same = self._same(assembly)
            if same is not None:
                assembly.checkpoint()  # what is landing is recorded, so that giving up removes it again
                assembly.close()
                return self._already(same)
        return self._commit(assembly, finished=done)

    # ---- taking up -------------------------------------------------------------------------------------------------

    def _take_up(self) -> int:
        """Cut the manifest back to the last recorded pack; return how many entries it has then."""
        with self.repository.reading() as view:
            recorded = {
                row.pack
                for row in rows.every(view, rows.PackRow)
                # what was given up again is no longer on the stores
                if row.session == self.session.session and row.state == rows.PackState.PENDING
            }
        last = None
        for progress in self.folder.progress():
            if progress.pack in recorded:
                last = progress
        with open(self.folder.manifest, "ab") as file:
            file.truncate(last.manifest_bytes if last is not None else 0)
        return last.entries if last is not None else 0

    def _header(self) -> bytes:
        session = self.session
        values: dict[str, object] = {
            "agent": session.agent,
            "created": session.created,
            "fonds": session.fonds,
            "fonds_code": session.fonds_code,
            "package": session.package,
            "submission": self.lines.origin or self._origin(),
            "title": session.title,
            "version": session.version,
            "writer": session.writer,
        }
        line = header_line(values)
        if len(line) > LONGEST_LINE:
            raise SubmissionRefusedError(path="bag-info.txt", reason="it is too long for the head of a manifest")
        return line

    def _origin(self) -> dict[str, object]:
        return self.submission.description if self.submission is not None else {"kind": "withdrawal"}

    def _replay(self, assembly: Assembly, steps: Iterator[Step], count: int) -> None:
        """Compare the entries that were packed already with the submission, which must not have changed."""
        with open(self.folder.manifest, "rb") as file, ThreadPoolExecutor(max_workers=1) as pool:
            next(file)
            for line, step in zip(parsed_lines(file), steps, strict=False):
                fixity = Fixity(line.size, line.blake3) if isinstance(line, FileLine) else None
                if step.path != line.path or self._fixity_of(step, pool) != fixity:
                    raise SessionChangedError(path=shown(step.path), session=self.session.session)
                if not assembly.replay(line.path, fixity, kept=isinstance(step, Kept)):
                    raise CopiesWentBadError(packs=1)
                self.told(1, line.size if isinstance(line, FileLine) else 0)
                if assembly.counts.entries == count:
                    return
            raise SessionChangedError(path=shown(os.fsencode(self.session.source)), session=self.session.session)

    def _fixity_of(self, step: Step, pool: ThreadPoolExecutor) -> Fixity | None:
        """Return size and BLAKE3 of a file as it is now; nothing for an empty folder."""
        if isinstance(step, EmptyFolder):
            return None
        if isinstance(step, Kept):
            return Fixity(step.line.size, step.line.blake3)
        assert self.submission is not None
        measured = read(self.submission, step, pool).fixity
        return Fixity(measured.size, measured.blake3)

    def confirmed(self, row: VersionRow) -> Receipt | None:
        """Acknowledge the version that an earlier attempt committed and could not acknowledge any more.

        Nothing is returned, and nothing changed, if the submission is not what that attempt took.
        """
        content = Content()
        with ThreadPoolExecutor(max_workers=1) as pool:
            for step in self._steps():
                fixity = self._fixity_of(step, pool) or Fixity(0, "")
                content.add(step.path, fixity.blake3, fixity.size)
        return self._kept(row) if content.hexdigest() == row.content else None

    def _landed_manifest(self, packs: list[str]) -> ManifestRow | None:
        """Return where the manifest lies if an earlier attempt got as far as that."""
        with self.repository.reading() as view:
            found = rows.every(view, ManifestRow, self.session.package, f"{self.session.version:06d}")
            return next((row for row in found if row.pack in packs), None)

    # ---- packing ---------------------------------------------------------------------------------------------------

    def _steps(self) -> Iterator[Step]:
        if self.session.mode == "new" and not self.session.withdrawn:
            assert self.submission is not None
            yield from self.submission.entries()
            return
        with self.repository.reading() as view:
            row = version_row(view, self.session.package, self.session.version - 1)
            with open(self.folder.previous, "wb") as file:
                file.writelines(manifest_lines(view, self.stores, row))
        withdrawn = {os.fsencode(path) for path in self.session.withdrawn}
        entries = self.submission.entries() if self.submission is not None else iter(())
        yield from merged(self.folder.previous, entries, mode=self.session.mode, withdrawn=withdrawn)

    def _pack(self, assembly: Assembly, steps: Iterator[Step]) -> None:
        identifying = not isinstance(self.identifier, NoIdentification)
        with ThreadPoolExecutor(max_workers=1) as pool:
            if self.submission is not None:
                steps = ahead(self.submission, steps)
            for number, step in enumerate(steps):
                is_large = isinstance(step, SubmittedFile) and step.size > SMALL
                if (is_large or number % STOP_EVERY == 0) and self.repository.world.stopping():
                    assembly.checkpoint()
                    raise StoppedError
                if isinstance(step, EmptyFolder):
                    assembly.add_folder(step.path)
                elif isinstance(step, Kept):
                    assembly.keep_file(step.path, Fixity(step.line.size, step.line.blake3), self.lines.kept(step))
                    self.told(1, step.line.size)
                else:
                    self._pack_file(assembly, step, pool, identifying=identifying)
        assembly.end_of_entries()

    def _pack_file(
        self, assembly: Assembly, file: SubmittedFile, pool: ThreadPoolExecutor, *, identifying: bool
    ) -> None:
        assert self.submission is not None
        content = read(self.submission, file, pool)
        answer = None
        if identifying:
            answer = self._asked(content, os.fsdecode(os.path.basename(file.path)))
        supplied = self.submission.supplied(file.path)
        more = self.lines.more(file.path)
        if supplied:
            more["supplied"] = [{"algorithm": one.algorithm, "value": one.value} for one in supplied]
        pieces = content.data if hasattr(content, "data") else content
        assembly.add_file(file.path, content.fixity, pieces, mtime_ns=file.mtime_ns, answer=answer, more=more)
        self.told(1, content.fixity.size)

    def _asked(self, content: SmallFile | LargeFile, name: str) -> Owed:
        """Ask for the format of a content, once for each extension that it comes with."""
        key = content.fixity.blake3, extension_of(name)
        answer = self.answers.get(key)
        if answer is None:
            if len(self.answers) >= ANSWERS_KEPT:
                self.answers.clear()
            answer = self.answers[key] = self.identifier.submit(content.sample(name))
        return answer

    # ---- committing ------------------------------------------------------------------------------------------------

    def _same(self, assembly: Assembly) -> VersionRow | None:
        """Return the version that holds just this already, if nothing of it needs what was stored now."""
        digest = assembly.content.hexdigest()
        with self.repository.reading() as view:
            for row in rows.every(view, VersionRow):
                same = row.fonds == self.session.fonds and row.content == digest
                head = rows.one(view, PackageRow, row.package)
                is_latest = head is not None and head.latest == row.version
                fits = self.session.mode == "new" or row.package == self.session.package
                if same and is_latest and fits and (assembly.untouched or self._is_whole(view, row)):
                    return row
        return None

    def _is_whole(self, view: View, row: VersionRow) -> bool:
        """Tell whether a good copy of everything in a version is known, be they fewer than the policy asks."""
        _, fewest = self._shortage(view, row.packs + row.references)
        return fewest > 0 and next(rows.every(view, LostRow, row.fonds), None) is None

    def _already(self, row: VersionRow) -> Receipt:
        give_up(self.repository, self.session.session)
        return self._kept(row)

    def _kept(self, row: VersionRow) -> Receipt:
        """Return the receipt of a version that is there; its evidence may not have come to the stores yet."""
        evidence = push(self.repository, self.stores)
        with self.repository.reading() as view:
            short, fewest = self._shortage(view, row.packs + row.references)
        return Receipt(
            package=row.package,
            version=row.version,
            files=row.files,
            bytes=row.byte_count,
            packs=row.packs,
            copies=fewest,
            under_replicated=bool(short) or not evidence.enough,
            already=True,
            failures=evidence.failures,
        )

    def _commit(self, assembly: Assembly, *, finished: bool) -> Receipt:
        session, counts = self.session, assembly.counts
        if finished:
            landed = self._landed_manifest(assembly.packs)
            assert landed is not None
            fixity, place = Fixity(landed.size, landed.blake3), landed.pack
        else:
            fixity, line = self._finish_manifest(assembly)
            place = assembly.finish(fixity, line)
        references = sorted(assembly.references - set(assembly.packs))
        with self.repository.deciding() as (view, append):
            if rows.one(view, SessionRow, session.session) is None:
                raise NoSuchSessionError(session=session.session)
            bad, fewest = self._shortage(view, [*assembly.packs, *references])
            short = bool(bad) or assembly.lost > 0
            gone = {pack for pack in assembly.packs if not good_holders(view, pack, attached(view))}
            bad &= assembly.relied_on | gone
            if bad:
                raise CopiesWentBadError(packs=len(bad))
            append(
                [
                    self.repository.event(
                        EventType.INGESTION,
                        fonds=session.fonds,
                        outcome="warning" if short else "success",
                        session=session.session,
                        package=session.package,
                        version=session.version,
                        manifest_pack=place,
                        manifest_blake3=fixity.blake3,
                        manifest_size=fixity.size,
                        content=assembly.content.hexdigest(),
                        files=counts.files,
                        folders=counts.folders,
                        bytes=counts.bytes,
                        packs=list(assembly.packs) if len(assembly.packs) <= PACKS_IN_EVENT else [],
                        references=references,
                        copies=fewest,
                        **self.lines.facts,
                    )
                ]
            )
        evidence = push(self.repository, self.stores)
        remarks = self.submission.warnings if self.submission else []
        warnings: list[str] = [Phrase("{path}: {detail}", path=shown(one.path), detail=one.detail) for one in remarks]
        return Receipt(
            package=session.package,
            version=session.version,
            files=counts.files,
            bytes=counts.bytes,
            packs=list(assembly.packs),
            copies=fewest,
            under_replicated=short or not evidence.enough,
            warnings=warnings,
            failures={**assembly.failures, **evidence.failures},
        )

    def _finish_manifest(self, assembly: Assembly) -> tuple[Fixity, ManifestLine]:
        counts, session = assembly.counts, self.session
        measuring = Measuring()
        with open(self.folder.manifest, "rb") as file:
            while data := file.read(1 << 20):
                measuring.update(data)
        line = trailer_line(counts.files, counts.folders, counts.bytes, measuring.fixity().blake3)
        assembly.append(line)
        measuring.update(line)
        described = ManifestLine(
            session.package, session.version, session.title, counts.files, counts.folders, counts.bytes
        )
        return measuring.fixity(), described

    def _shortage(self, view: View, packs: Sequence[str]) -> tuple[set[str], int]:
        """Return the packs that have fewer good copies than the policy asks, and the smallest number there is."""
        store_rows, shared = attached(view), sharings(self.stores)
        short, fewest = set(), len(store_rows)
        for pack in packs:
            holders = good_holders(view, pack, store_rows)
            fewest = min(fewest, len(holders))
            if not satisfies(self.repository.configuration.policy, holders, shared):
                short.add(pack)
        return short, fewest
