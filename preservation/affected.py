"""Whom other signatures may tell something new: files that they concern are looked at first."""

from collections.abc import Sequence
from dataclasses import dataclass

from preservation.catalog import rows
from preservation.catalog.formats import ReidentificationRow
from preservation.formats.bundles import SignatureBundle
from preservation.formats.difference import difference
from preservation.formats.engine import shipped_id
from preservation.formats.identification import Identification
from preservation.formats.shelf import active_bundle, load_bundle
from preservation.repository import Repository
from storage_backends.errors import MocbanError


@dataclass(frozen=True, slots=True)
class Target:
    """With which signatures files are looked at again, and whom they may tell something new.

    ``bundle`` is their identifier, ``label`` what stands beside an answer that was reached with them. ``puids`` and
    ``extensions`` are those of formats about which they say something else than the signatures before.
    """

    bundle: str
    label: str
    puids: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()

    def affects(self, answer: Identification, extension: str) -> bool:
        """Tell whether an answer is one of those that are looked at first."""
        if answer.status != "identified" or all(match.basis == "extension" for match in answer.formats):
            return True
        return extension in self.extensions or any(match.puid in self.puids for match in answer.formats)


def target_of(new: SignatureBundle, old: SignatureBundle | None = None) -> Target:
    """Return what a bundle may say anew: of changed formats, of their relatives by priority, of files so called."""
    if old is None:
        return Target(new.id, new.label)
    found = difference(old, new)
    puids = set(found.puids)
    for known in (*old.formats, *new.formats):
        if known.puid in found.puids:
            puids |= known.beats
        if known.beats & found.puids:
            puids.add(known.puid)
    return Target(new.id, new.label, frozenset(puids), frozenset(one.lower() for one in found.extensions))


def target_now(repository: Repository) -> tuple[Target, SignatureBundle]:
    """Return what to go through the files with: the active bundle, against the one that was done last.

    Raises:
        BundleMissingError: the active bundle is not here.
    """
    bundle = active_bundle(repository)
    with repository.reading() as view:
        known = [row for row in rows.every(view, ReidentificationRow) if row.closed and row.bundle != bundle.id]
    last = latest(known)
    try:
        before = load_bundle(repository, last.bundle if last is not None else shipped_id())
    except MocbanError:  # it is not here any more: then only what is unknown or guessed comes first
        before = None
    return target_of(bundle, before), bundle


def latest(known: Sequence[ReidentificationRow]) -> ReidentificationRow | None:
    """Return the run that was begun last."""
    return max(known, key=lambda row: (row.opened, row.run), default=None)
