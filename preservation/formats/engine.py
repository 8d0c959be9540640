"""The one door to FIDO: its formats and signatures, and the rules by which an answer is reached.

FIDO's own calls are not used for the matching: they print instead of answering, hold state, and hang on crafted files.
An engine never changes after it is built, and `identify` is a pure function of it.
"""

import importlib.metadata
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from preservation.formats import identification as words
from preservation.formats.containers import Signatures, load_container_signatures, look_into
from preservation.formats.identification import ENDS, Basis, Sample
from preservation.formats.index import (
    Format,
    Index,
    Match,
    Pattern,
    Signature,
    build_index,
    match_extension,
    match_signatures,
    prune,
)
from preservation.formats.necessity import necessity

FORMAT_FILES = ("formats-v109.xml", "format_extensions.xml")
CONTAINER_FILE = "container-signature-20200121.xml"
SIGNATURES = "pronom v109, container 20200121"


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


def tool_name() -> str:
    """The tool and its version, such as `fido 1.6.1`, from the metadata of the installed package."""
    return f"fido {importlib.metadata.version('opf-fido')}"


def real_fido(format_files: Sequence[str] = FORMAT_FILES) -> Any:
    """FIDO itself with the signatures that are shipped with it, and a callback of ours that prints nothing.

    Its constructor without arguments fails (it asks for a file that is not shipped), and `identify_stream` never ends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import fido.fido  # noqa: PLC0415  # slow to load, and only the workers need it
    return fido.fido.Fido(
        quiet=True,
        conf_dir=fido.fido.CONFIG_DIR,
        format_files=list(format_files),
        handle_matches=lambda *_arguments, **_keywords: None,
    )


def build_engine() -> Engine:
    """Load the signatures of the installed FIDO and index them; takes about a second."""
    fido = real_fido()
    formats = [_format(fido, element) for element in fido.formats]
    pronom = real_fido(FORMAT_FILES[:1]).puid_has_priority_over_map
    by_puid = {known.puid: replace(known, beats=known.beats | pronom.get(known.puid, frozenset())) for known in formats}
    containers = load_container_signatures(os.path.join(fido.conf_dir, CONTAINER_FILE))
    return Engine(build_index(formats), by_puid, containers)


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
    return Format(puid, extensions, fido.puid_has_priority_over_map[puid], signatures)


def _pattern(position: str, expression: bytes) -> Pattern:
    return Pattern(position, expression, necessity(position, expression))


def identify(engine: Engine, sample: Sample) -> Answer:
    """The formats of a file: what its members tell, else what its bytes tell, else what its extension suggests.

    An empty file has no bytes to tell anything (some signatures match nothing at all, as FIDO knows too).
    """
    notes = [words.EMPTY] if sample.size == 0 else []
    basis: Basis = "container"
    look = look_into(engine.containers, sample)
    notes += look.warnings
    found: list[Match] = prune((engine.by_puid[puid], name) for puid, name in look.found if puid in engine.by_puid)
    if not found and sample.size > 0:
        basis = "signature"
        found = match_signatures(engine.index, sample.head, sample.tail[-ENDS:])
    if not found:
        basis = "extension"
        found = match_extension(engine.index, sample.extension)
        notes += [words.EXTENSION_ONLY] * bool(found)
    elif _unusual(sample.extension, found):
        notes.append(words.EXTENSION_UNUSUAL)
    puids = tuple(dict.fromkeys(format_.puid for format_, _ in found))
    notes += [words.SEVERAL_FORMATS] * (len(puids) > 1)
    return Answer(tuple((puid, basis) for puid in puids), tuple(notes))


def _unusual(extension: str, found: list[Match]) -> bool:
    usual = {known for format_, _ in found for known in format_.extensions}
    return bool(extension and usual) and extension not in usual
