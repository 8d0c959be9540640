"""What differs between two signature bundles, as far as it can change an answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from preservation.formats.bundles import SignatureBundle
from preservation.formats.containers import ContainerSignature
from preservation.formats.index import Format
from storage_backends.errors import marked

SIGNATURES = marked("signatures")
CONTAINERS = marked("members of containers")
PRIORITIES = marked("priorities")
EXTENSIONS = marked("extensions")


@dataclass(frozen=True, slots=True)
class Difference:
    """Formats that only the new bundle has, only the old one has, and those that are told otherwise, and by what.

    `extensions` are those of the new formats: files that have them may become what was not known before. All are in the
    order of the PUIDs' numbers.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    extensions: tuple[str, ...]

    @property
    def puids(self) -> frozenset[str]:
        """Every PUID that is concerned."""
        return frozenset((*self.added, *self.removed, *self.changed))


def difference(old: SignatureBundle, new: SignatureBundle) -> Difference:
    """Compare two bundles; names of signatures and of formats change no answer and are not compared."""
    before, after = ({known.puid: known for known in one.formats} for one in (old, new))
    members_before, members_after = _members(old), _members(new)
    changed = {}
    for puid in sorted(before.keys() & after.keys(), key=puid_order):
        what = _told_by(before[puid], after[puid])
        if members_before.get(puid) != members_after.get(puid):
            what.insert(0, CONTAINERS)
        if old.container_priorities.get(puid) != new.container_priorities.get(puid) and PRIORITIES not in what:
            what.append(PRIORITIES)
        if what:
            changed[puid] = tuple(what)
    added = sorted(after.keys() - before.keys(), key=puid_order)
    extensions = {extension for puid in added for extension in after[puid].extensions}
    return Difference(
        tuple(added),
        tuple(sorted(before.keys() - after.keys(), key=puid_order)),
        changed,
        tuple(sorted(extensions)),
    )


def puid_order(puid: str) -> tuple[str, int, str]:
    """The key by which PUIDs are sorted as people count."""
    family, _, number = puid.partition("/")
    return family, int(number) if number.isdecimal() else 0, number


def _told_by(old: Format, new: Format) -> list[str]:
    what = []
    if _expressions(old) != _expressions(new):
        what.append(SIGNATURES)
    if old.beats != new.beats:
        what.append(PRIORITIES)
    if set(old.extensions) != set(new.extensions):
        what.append(EXTENSIONS)
    return what


def _expressions(known: Format) -> set[tuple[tuple[str, bytes], ...]]:
    return {
        tuple(sorted((pattern.position, pattern.expression) for pattern in signature.patterns))
        for signature in known.signatures
    }


def _members(bundle: SignatureBundle) -> dict[str, set[tuple[str, object]]]:
    found: dict[str, set[tuple[str, object]]] = {}
    for kind, signatures in bundle.container_signatures.items():
        for signature in signatures:
            for puid in signature.puids:
                found.setdefault(puid, set()).add((kind, _entries(signature)))
    return found


def _entries(signature: ContainerSignature) -> object:
    return tuple(
        (
            entry.path,
            tuple(tuple((one.position, one.expression) for one in patterns) for patterns in entry.alternatives),
        )
        for entry in signature.entries
    )
