"""Whether the files of a bag are the listed ones, in both directions; with mercy where nothing is lost.

A listed path that is not there is forgiven, with a warning, in three cases: a file of the same spelling but for NFC/NFD
or percent-encoding is there unlisted; a listed file is there whose name differs by case or normalisation and whose
digests are the same (the bag comes from a system that cannot tell the two); or it is an empty file in which an
operating system keeps its view of a folder, which copying programs leave behind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from preservation.submission.bags import PAYLOAD, Bag
from preservation.submission.entries import Remarks, SuppliedDigest
from preservation.submission.errors import BagFileMissingError, BagFileUnlistedError, shown
from preservation.submission.names import folded, unspelled
from preservation.submission.supplied import BAG, SuppliedDigests, joined, new_hasher
from preservation.submission.tree import Tree
from storage_backends.errors import Phrase

FORGIVEN = 1_000
"""Differences that are looked into; a bag with more is refused at once."""

_SYSTEM_FILES = frozenset({b".ds_store", b"thumbs.db", b"desktop.ini"})


@dataclass(slots=True)
class Payload:
    """Bytes and files below ``data/``, and which listed path stands for which file on disk."""

    size: int = 0
    files: int = 0
    aliases: dict[bytes, bytes] = field(default_factory=dict)


def check_files(tree: Tree, bag: Bag, supplied: SuppliedDigests, remarks: Remarks) -> Payload:
    """Compare the files of a bag with its manifests, without reading them.

    Raises:
        BagFileMissingError: A listed file is not there.
        BagFileUnlistedError: A payload file is in no manifest; since version 1.0, or not in all of them.
    """
    payload = Payload()
    missing: dict[bytes, tuple[SuppliedDigest, ...]] = {}
    extra: dict[bytes, None] = {}
    for file, path, digests in joined(tree.entries(), supplied.rows(BAG)):
        if file is None:
            missing[path] = digests
        elif path.startswith(PAYLOAD):
            payload.size += file.size
            payload.files += 1
            if not digests:
                extra[path] = None
        if len(missing) > FORGIVEN or len(extra) > FORGIVEN:
            break
    if missing:
        _forgive(tree, supplied, remarks, _Differences(missing, extra, payload))
    for path in missing:
        raise BagFileMissingError(path=shown(path), listed=_listed_in(path, supplied))
    for path in extra:
        raise BagFileUnlistedError(path=shown(path), reason="is in the bag but in no manifest")
    if bag.declaration.final:
        _check_each_manifest(bag, supplied)
    return payload


@dataclass(slots=True)
class _Differences:
    missing: dict[bytes, tuple[SuppliedDigest, ...]]
    extra: dict[bytes, None]
    payload: Payload


def _forgive(tree: Tree, supplied: SuppliedDigests, remarks: Remarks, differences: _Differences) -> None:
    missing, payload = differences.missing, differences.payload
    if len(missing) > FORGIVEN or len(differences.extra) > FORGIVEN:
        return
    wanted: dict[bytes, list[bytes]] = {}
    for path in missing:
        wanted.setdefault(folded(unspelled(path)), []).append(path)
    for candidate in islice(_candidates(tree, wanted), 2 * FORGIVEN):
        for path in wanted[folded(unspelled(candidate))]:
            if path not in missing:
                continue
            if candidate in differences.extra and unspelled(candidate) == unspelled(path):
                supplied.rename(path, candidate)
                del differences.extra[candidate]
                remarks.add(
                    "spelled-differently",
                    candidate,
                    Phrase("the manifest spells this name as {path}", path=shown(path)),
                )
            elif _agree(supplied.of(candidate, BAG), missing[path]):
                supplied.drop(path)
                remarks.add(
                    "listed-as-twins", candidate, Phrase("also listed as {path}, which is not there", path=shown(path))
                )
            else:
                continue
            payload.aliases[path] = candidate
            del missing[path]
    for path, digests in list(missing.items()):
        name = path.rpartition(b"/")[2]
        if name.lower() in _SYSTEM_FILES and all(d.value == new_hasher(d.algorithm).hexdigest() for d in digests):
            supplied.drop(path)
            payload.files += 1
            remarks.add(
                "system-file-missing", path, Phrase("an empty file of an operating system is listed but not there")
            )
            del missing[path]


def _candidates(tree: Tree, wanted: dict[bytes, list[bytes]]) -> Iterator[bytes]:
    for file, path, _ in joined(tree.entries(), iter(())):
        if file is not None and folded(unspelled(path)) in wanted:
            yield path


def _agree(one: tuple[SuppliedDigest, ...], other: tuple[SuppliedDigest, ...]) -> bool:
    """Tell whether two lists of digests have an algorithm in common and contradict each other in none."""
    first = {digest.algorithm: digest.value for digest in one}
    shared = [digest for digest in other if digest.algorithm in first]
    return bool(shared) and all(first[digest.algorithm] == digest.value for digest in shared)


def _listed_in(path: bytes, supplied: SuppliedDigests) -> str:
    kind = "manifest" if path.startswith(PAYLOAD) else "tagmanifest"
    return ", ".join(f"{kind}-{digest.algorithm}.txt" for digest in supplied.of(path, BAG))


def _check_each_manifest(bag: Bag, supplied: SuppliedDigests) -> None:
    """Version 1.0 wants each payload manifest to list every payload file (RFC 8493, 2.1.3)."""
    for path, digests in supplied.rows(BAG):
        if path.startswith(PAYLOAD) and len(digests) < len(bag.algorithms):
            found = {digest.algorithm for digest in digests}
            without = ", ".join(sorted(set(bag.algorithms) - found))
            raise BagFileUnlistedError(
                path=shown(path), reason=Phrase("is not listed in the manifest for {without}", without=without)
            )
