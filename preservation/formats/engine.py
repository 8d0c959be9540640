"""The one door to FIDO: its formats and signatures, and the rules by which an answer is reached.

FIDO's own calls are not used for the matching: they print instead of answering, hold state, and hang on crafted files.
An engine never changes after it is built, and `identify` is a pure function of it.
"""

import importlib.metadata
import importlib.util
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from preservation.formats import identification as words
from preservation.formats.bundles import SignatureBundle, bundle_id, input_of
from preservation.formats.containers import Signatures, look_into
from preservation.formats.droid import container_signatures
from preservation.formats.identification import ENDS, Basis, Sample
from preservation.formats.index import (
    Format,
    Index,
    Match,
    Pattern,
    Position,
    Signature,
    build_index,
    match_extension,
    match_signatures,
    prune,
)
from preservation.formats.necessity import necessity
from preservation.formats.pdf import facts, font_facts, found_in, is_pdf
from preservation.formats.text import text_of

FORMAT_FILES = ("formats-v109.xml", "format_extensions.xml")
CONTAINER_FILE = "container-signature-20200121.xml"
PLAIN_TEXT = "x-fmt/111"
READY = os.path.join(os.path.dirname(__file__), "shipped.json.z")
PRONOM, CONTAINERS = "v109", "20200121"
"""What the files are that are shipped with FIDO 1.6.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one file is: PUIDs with the reason for each, and warnings."""

    formats: tuple[tuple[str, Basis], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """FIDO's formats behind an index, and the container signatures.

    `by_puid` has PRONOM's own priorities too, for containers: FIDO's extension file replaces the entries of some
    formats (Word 97 among them) and loses their priorities, which FIDO's matching of signatures does without.
    """

    index: Index
    by_puid: dict[str, Format]
    containers: Signatures
    tool: str
    label: str
    """What the signatures are called in a manifest."""


def tool_name() -> str:
    """The tool and its version, such as `fido 1.6.1`, from the metadata of the installed package."""
    return f"fido {importlib.metadata.version('opf-fido')}"


def real_fido(format_files: Sequence[str] = FORMAT_FILES, folder: str = "") -> Any:
    """FIDO itself with format files of a folder, or those shipped with it, and a callback of ours that prints nothing.

    Its constructor without arguments fails (it asks for a file that is not shipped), and `identify_stream` never ends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import fido.fido  # noqa: PLC0415  # slow to load, and few need it
    return fido.fido.Fido(
        quiet=True,
        conf_dir=folder or fido.fido.CONFIG_DIR,
        format_files=list(format_files),
        handle_matches=lambda *_arguments, **_keywords: None,
    )


def native_match(fido: Any, start: bytes, end: bytes) -> list[tuple[str, str]]:
    """What FIDO's own matching says of the first and last bytes of a file; without a deadline, for comparison only."""
    return [(fido.get_puid(element), name) for element, name in fido.match_formats(start, end)]


def formats_of(fido: Any) -> tuple[Format, ...]:
    """The formats that this FIDO has loaded, in its order."""
    return tuple(_format(fido, element) for element in fido.formats)


def shipped_id() -> str:
    """The identifier of the bundle of the signatures that are shipped with the installed FIDO."""
    return bundle_id(tuple(input_of(role, content) for role, content in _shipped_files().items()))


def shipped_bundle() -> SignatureBundle:
    """Build the bundle of the signatures that are shipped with the installed FIDO; takes about a second."""
    files = _shipped_files()
    formats = formats_of(real_fido())
    pronom = real_fido(FORMAT_FILES[:1]).puid_has_priority_over_map
    more = {known.puid: frozenset(pronom.get(known.puid, ())) - known.beats for known in formats}
    return SignatureBundle(
        pronom=PRONOM,
        containers=CONTAINERS,
        tool=tool_name(),
        inputs=tuple(input_of(role, content) for role, content in files.items()),
        formats=formats,
        container_signatures=container_signatures(files["containers"], CONTAINER_FILE),
        container_priorities={puid: beats for puid, beats in more.items() if beats},
    )


def ready_bundle(place: str = READY) -> bytes:
    """The bundle of what is shipped with FIDO as it was built beforehand; it is kept beside this module.

    Nothing is returned if it was built of other files, by another converter or for another FIDO than there is now.
    """
    try:
        with open(place, "rb") as file:
            content = zlib.decompress(file.read())
    except (OSError, zlib.error):
        return b""
    said = (f'"id":"{shipped_id()}"', f'"tool":"{tool_name()}"')
    return content if all(text.encode() in content for text in said) else b""


def shipped_containers_path() -> str:
    """Where the container signature file lies that is shipped with FIDO."""
    return os.path.join(_shipped_folder(), CONTAINER_FILE)


def _shipped_files() -> dict[str, bytes]:
    files = {}
    for role, name in (("formats", FORMAT_FILES[0]), ("extensions", FORMAT_FILES[1]), ("containers", CONTAINER_FILE)):
        with open(os.path.join(_shipped_folder(), name), "rb") as file:
            files[role] = file.read()
    return files


def _shipped_folder() -> str:
    found = importlib.util.find_spec("fido")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("fido")
    return os.path.join(os.path.dirname(found.origin), "conf")


def build_engine(bundle: SignatureBundle | None = None) -> Engine:
    """Index the signatures of a bundle; without one, those that are shipped with FIDO."""
    bundle = bundle or shipped_bundle()
    more = bundle.container_priorities
    by_puid = {
        known.puid: replace(known, beats=known.beats | more[known.puid]) if known.puid in more else known
        for known in bundle.formats
    }
    return Engine(build_index(bundle.formats), by_puid, bundle.container_signatures, bundle.tool, bundle.label)


def _format(fido: Any, element: Any) -> Format:
    puid = fido.get_puid(element)
    extensions = tuple(extension.text for extension in element.findall("extension") if extension.text)
    signatures = tuple(
        Signature(
            signature.findtext("name") or "",
            tuple(_pattern(fido.get_pos(pattern), fido.get_regex(pattern)) for pattern in fido.get_patterns(signature)),
        )
        for signature in fido.get_signatures(element)
    )
    beats = frozenset(fido.puid_has_priority_over_map[puid])
    texts = (element.findtext(tag) or "" for tag in ("name", "version", "mime"))
    return Format(puid, extensions, beats, signatures, *texts)


def _pattern(position: Position, expression: bytes) -> Pattern:
    return Pattern(position, expression, necessity(position, expression))


def identify(engine: Engine, sample: Sample) -> Answer:
    """The formats of a file: what its members tell, else what its bytes tell, else what its extension suggests.

    What a PDF says anywhere in its bytes makes its signature's answer more precise. Text of which nothing else is known
    than, perhaps, an extension of plain text is plain text. An empty file has no bytes to tell anything (a few
    signatures match nothing at all; FIDO knows it).
    """
    notes = [words.EMPTY] if sample.size == 0 else []
    basis, found = _told_by_content(engine, sample, notes)
    if not found:
        text = text_of(sample.head, sample.tail, sample.size)
        notes += [text.fact] if text is not None and text.fact else []
        basis, found = "extension", match_extension(engine.index, sample.extension)
        if text is not None and (not found or any(format_.puid == PLAIN_TEXT for format_, _ in found)):
            known = engine.by_puid.get(PLAIN_TEXT)
            basis, found = "probe", [(known, "text")] if known is not None else []
        notes += [words.EXTENSION_ONLY] * (basis == "extension" and bool(found))
    elif _unusual(sample.extension, found):
        notes.append(words.EXTENSION_UNUSUAL)
    puids = tuple(dict.fromkeys(format_.puid for format_, _ in found))
    notes += [words.SEVERAL_FORMATS] * (len(puids) > 1)
    return Answer(tuple((puid, basis) for puid in puids), tuple(notes))


def _told_by_content(engine: Engine, sample: Sample, notes: list[str]) -> tuple[Basis, list[Match]]:
    look = look_into(engine.containers, sample)
    notes += look.warnings
    found = prune((engine.by_puid[puid], name) for puid, name in look.found if puid in engine.by_puid)
    if found or sample.size == 0:
        return "container", found
    found = match_signatures(engine.index, sample.head, sample.tail[-ENDS:])
    if not is_pdf(sample.head):
        return "signature", found
    more = sample.more if sample.whole is None else found_in(sample.whole)
    notes += facts(sample.head, sample.tail, more)
    notes += font_facts(sample)
    refined = _refined(engine, sample, found, more) if more and sample.size > ENDS else found
    return ("signature", found) if refined == found else ("probe", refined)


def _refined(engine: Engine, sample: Sample, found: list[Match], more: bytes) -> list[Match]:
    """What signatures tell with the claims of the whole file in sight: the same, or formats with priority over it."""
    refined = match_signatures(engine.index, sample.head + more, sample.tail[-ENDS:])
    before = {format_.puid for format_, _ in found}
    fits = all(format_.puid in before or not format_.beats.isdisjoint(before) for format_, _ in refined)
    return refined if refined and fits else found


def _unusual(extension: str, found: list[Match]) -> bool:
    usual = {known for format_, _ in found for known in format_.extensions}
    return bool(extension and usual) and extension not in usual
