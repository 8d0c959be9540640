"""The signature bundles of a repository: kept in its folder by their identifiers, one of them active.

What is active stands in the ledger; the folder holds what was built, which can be built again from the same inputs.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from typing import Self

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.marks import SIGNATURES
from preservation.catalog.rows import MarkRow
from preservation.fixity import blake3_hex
from preservation.formats.bundles import SHORT, BadBundleError, SignatureBundle
from preservation.formats.engine import ready_bundle, shipped_bundle, shipped_id
from preservation.formats.judging import Judgement, judge
from preservation.formats.process import built_elsewhere
from preservation.ledger.canonical import Json
from preservation.ledger.events import Event, EventType
from preservation.ledger.files import fsync_directory, replace_file
from preservation.repository import Repository
from storage_backends.errors import MocbanError, Phrase, marked

FOLDER = "signatures"
"""Below the repository: `<id>/bundle.json`, and `<id>/about.json` beside it."""

_BUNDLE, _ABOUT = "bundle.json", "about.json"
LARGEST_BUNDLE = 256 << 20
_LARGEST_ABOUT = 1 << 20
_LEAST_LETTERS = 6


class NoSuchBundleError(MocbanError):
    """The repository has no bundle of this name."""

    template = marked("There is no signature bundle {bundle} here; 'mocban formats signatures list' shows all")


class BundleMissingError(MocbanError):
    """The active bundle is not in the repository's folder, or not as it was."""

    template = marked(
        "{place}: the signature bundle that is active is not here as it was ({reason}). Import the same signature "
        "files again, or activate another bundle"
    )


class NotJudgedError(MocbanError):
    """A bundle that no suite of files has judged is to be activated."""

    template = marked(
        "The signature bundle {bundle} has not been judged: give a suite with --skeletons DIR, or activate it with "
        "--accept-unjudged"
    )


class WorseError(MocbanError):
    """A bundle does worse than the active one on the same suite of files."""

    template = marked(
        "The signature bundle {bundle} tells {exact} of {files} files of the suite exactly; the active one, {active}, "
        "tells {active_exact}. It was refused"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the list shows of a bundle without loading it. `size` and `blake3` are those of `bundle.json`."""

    bundle: str
    label: str
    pronom: str
    containers: str
    tool: str
    formats: int
    signatures: int
    container_signatures: int
    size: int
    blake3: str
    added: str
    judgement: Judgement | None = None
    """How it does on a suite; nothing if it was not judged."""
    against: str = ""
    """The bundle that was active when it was judged ..."""
    against_judgement: Judgement | None = None
    """... and how that one does on the same suite."""

    def to_bytes(self) -> bytes:
        """The description as JSON."""
        return (json.dumps(asdict(self), sort_keys=True, indent=1) + "\n").encode("ascii")

    @classmethod
    def from_bytes(cls, content: bytes, place: str) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            BadBundleError: it is nothing of the kind.
        """
        try:
            value = json.loads(content)
            for name in ("judgement", "against_judgement"):
                value[name] = Judgement(**value[name]) if value[name] else None
            return cls(**value)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadBundleError(place=place, reason=type(error).__name__) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """The bundle in use: since which event, or shipped with FIDO, if none was ever activated."""

    bundle: str
    blake3: str = ""
    """The digest of its `bundle.json`; empty for the shipped one."""
    activated: str = ""
    event: int = -1


def active(view: View) -> Active:
    """Which bundle is in use."""
    row = rows.one(view, MarkRow, SIGNATURES)
    return Active(bundle=shipped_id()) if row is None else Active(**json.loads(row.value))


def folder_of(repository: Repository) -> str:
    """Where the bundles lie."""
    return os.path.join(repository.path, FOLDER)


def bundles(repository: Repository) -> list[About]:
    """What is in the folder, the oldest first; what cannot be read is left out."""
    found = []
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder_of(repository))):
            with suppress(MocbanError, OSError):
                found.append(about(repository, name))
    return sorted(found, key=lambda one: (one.added, one.bundle))


def about(repository: Repository, bundle: str) -> About:
    """The description of a bundle in the folder.

    Raises:
        NoSuchBundleError: there is none.
        BadBundleError: it cannot be understood.
    """
    path = os.path.join(folder_of(repository), bundle, _ABOUT)
    try:
        return About.from_bytes(_read(path, _LARGEST_ABOUT), path)
    except FileNotFoundError as error:
        raise NoSuchBundleError(bundle=bundle) from error


def bundle_named(repository: Repository, name: str) -> str:
    """The identifier that begins with these letters; `active` and `shipped` are names too.

    Raises:
        NoSuchBundleError: no bundle begins so, or several do.
    """
    if name == "shipped":
        return shipped_id()
    if name == "active":
        with repository.reading() as view:
            return active(view).bundle
    found = {one.bundle for one in bundles(repository)} | {shipped_id()}
    fitting = [
        bundle for bundle in found if bundle == name or (len(name) >= _LEAST_LETTERS and bundle.startswith(name))
    ]
    if len(fitting) != 1:
        raise NoSuchBundleError(bundle=name)
    return fitting[0]


def load_bundle(repository: Repository, bundle: str) -> SignatureBundle:
    """A bundle of the folder; the shipped one is built where it is not there.

    Raises:
        NoSuchBundleError, BadBundleError: it is not there, or not as it was.
    """
    return SignatureBundle.from_bytes(bundle_bytes(repository, bundle), bundle)


def bundle_bytes(repository: Repository, bundle: str) -> bytes:
    """The same as `SignatureBundle.to_bytes` gives it, with its digest verified.

    Raises:
        NoSuchBundleError, BadBundleError: it is not there, or not as it was.
    """
    try:
        described = about(repository, bundle)
        path = os.path.join(folder_of(repository), bundle, _BUNDLE)
        content = _read(path, LARGEST_BUNDLE)
        if blake3_hex(content) != described.blake3:
            raise BadBundleError(place=path, reason="digest")
        return content
    except (NoSuchBundleError, FileNotFoundError) as error:
        if bundle == shipped_id():
            return ready_bundle() or built_elsewhere() or shipped_bundle().to_bytes()
        raise NoSuchBundleError(bundle=bundle) from error


def active_bundle(repository: Repository) -> SignatureBundle:
    """The bundle in use.

    Raises:
        BundleMissingError: it is not in the folder, or not as it was when it was activated.
    """
    return SignatureBundle.from_bytes(active_bytes(repository))


def active_bytes(repository: Repository, known: Active | None = None) -> bytes:
    """The bundle in use, for the workers that identify; with ``known`` the catalog is not asked which one that is.

    Raises:
        BundleMissingError: it is not in the folder, or not as it was when it was activated.
    """
    one = known
    if one is None:
        with repository.reading() as view:
            one = active(view)
    try:
        content = bundle_bytes(repository, one.bundle)
    except (MocbanError, OSError) as error:
        raise BundleMissingError(place=one.bundle[:SHORT], reason=str(error)) from error
    if one.blake3 and blake3_hex(content) != one.blake3:
        raise BundleMissingError(place=one.bundle[:SHORT], reason="digest")
    return content


@dataclass(frozen=True, slots=True)
class Added:
    """A bundle that is in the folder now; `already` if it was before."""

    about: About
    already: bool


def add(repository: Repository, bundle: SignatureBundle, skeletons: str = "") -> Added:
    """Keep a bundle in the repository's folder; with a suite of files it is judged, and the active one beside it.

    Raises:
        WorseError: it does worse than the active one; it is not kept.
        NoSuiteError: the folder of the suite holds none.
    """
    content = bundle.to_bytes()
    described = _described(repository, bundle, content)
    try:
        old = about(repository, bundle.id)
    except MocbanError:
        old = None
    if skeletons:
        with repository.reading() as view:
            present = active(view).bundle
        described = _compared(repository, described, content, skeletons, present)
    elif old is not None and old.blake3 == described.blake3:
        return Added(old, already=True)
    place = os.path.join(folder_of(repository), bundle.id)
    os.makedirs(place, exist_ok=True)
    fsync_directory(repository.path)
    fsync_directory(folder_of(repository))
    replace_file(os.path.join(place, _BUNDLE), content)
    replace_file(os.path.join(place, _ABOUT), described.to_bytes())
    return Added(described, already=old is not None)


def _described(repository: Repository, bundle: SignatureBundle, content: bytes) -> About:
    return About(
        bundle=bundle.id,
        label=bundle.label,
        pronom=bundle.pronom,
        containers=bundle.containers,
        tool=bundle.tool,
        formats=len(bundle.formats),
        signatures=bundle.signatures,
        container_signatures=sum(len(signatures) for signatures in bundle.container_signatures.values()),
        size=len(content),
        blake3=blake3_hex(content),
        added=repository.world.now().astimezone(UTC).isoformat(timespec="seconds"),
    )


def _compared(repository: Repository, described: About, content: bytes, skeletons: str, present: str) -> About:
    """Judge a bundle and the active one by the same suite."""
    judgement = judge(skeletons, content)
    other = judgement if present == described.bundle else judge(skeletons, active_bytes(repository))
    _refuse_worse(described.bundle, judgement, present, other)
    return replace(described, judgement=judgement, against=present, against_judgement=other)


def _refuse_worse(bundle: str, judgement: Judgement, present: str, other: Judgement) -> None:
    if judgement.worse_than(other):
        raise WorseError(
            bundle=bundle[:SHORT],
            exact=judgement.exact,
            files=judgement.files,
            active=present[:SHORT],
            active_exact=other.exact,
        )


@dataclass(frozen=True, slots=True)
class Activated:
    """What is active now; `already` if it was before, and nothing was recorded."""

    about: About
    previous: str
    already: bool


def activate(repository: Repository, bundle: str, *, skeletons: str = "", accept_unjudged: bool = False) -> Activated:
    """Make a bundle of the folder the one in use, by an event of the ledger.

    It must have been judged against the one in use now, or be judged here with a suite, unless `accept_unjudged`.

    Raises:
        NoSuchBundleError, BadBundleError: it is not in the folder, or not as it was.
        NotJudgedError: it was never compared with the one in use.
        WorseError: it does worse.
    """
    content = bundle_bytes(repository, bundle)
    if bundle == shipped_id():
        described = add(repository, SignatureBundle.from_bytes(content, bundle)).about
    else:
        described = about(repository, bundle)
    with repository.reading() as view:
        present = active(view)
    if present.bundle == bundle and present.blake3 in ("", described.blake3):
        return Activated(described, bundle, already=True)
    if skeletons:
        described = _compared(repository, described, content, skeletons, present.bundle)
        replace_file(os.path.join(folder_of(repository), bundle, _ABOUT), described.to_bytes())
    judged = described.judgement is not None and described.against == present.bundle
    if not judged and not accept_unjudged:
        raise NotJudgedError(bundle=bundle[:SHORT])
    with repository.deciding() as (view, append):
        if active(view) != present:
            raise NotJudgedError(bundle=bundle[:SHORT])  # somebody activated another one meanwhile
        detail = _detail(described, present.bundle, judged=judged)
        event = Event(type=EventType.SIGNATURES_ACTIVATED, detail=detail, agent=repository.world.agent)
        append([event])
    return Activated(described, present.bundle, already=False)


def _detail(described: About, previous: str, *, judged: bool) -> dict[str, Json]:
    judgement = asdict(described.judgement) if judged and described.judgement is not None else {}
    return {
        "bundle": described.bundle,
        "blake3": described.blake3,
        "previous": previous,
        "pronom": described.pronom,
        "containers": described.containers,
        "formats": described.formats,
        "signatures": described.signatures,
        "container_signatures": described.container_signatures,
        "judged": judged,
        **judgement,
    }


def _read(path: str, limit: int) -> bytes:
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BadBundleError(place=path, reason=Phrase("more than {limit} bytes", limit=limit))
    return content
