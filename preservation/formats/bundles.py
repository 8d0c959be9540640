"""A signature bundle: everything that identification knows of formats, under an identifier that its inputs give it.

Built once, from files that are at hand (nothing is fetched), and kept as one JSON document that loads quickly. The same
inputs give the same identifier everywhere, so that an answer says for ever by what it was reached.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preservation.fixity import blake3_hex
from preservation.formats.containers import ContainerSignature, Entry, Signatures
from preservation.formats.droid import (
    LARGEST_FILE,
    BadSignatureFileError,
    container_signatures,
    container_version,
    droid_file,
)
from preservation.formats.index import Format, Pattern, Signature
from preservation.formats.necessity import Condition, Containing, Keyed, Necessity
from storage_backends.errors import MocbanError, Phrase, marked

CONVERTER = "1"
"""The version of the code that makes bundles; whoever changes what comes out of the same inputs counts it up."""

FORM = 1

SHORT = 16
"""Characters of an identifier that stand in a manifest."""


class BadBundleError(MocbanError):
    """What is kept as a bundle is none, or another one than its name says."""

    template = marked("{place}: not the signature bundle that it should be: {reason}")


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a bundle was made from: what it is to the bundle, its size in bytes and its BLAKE3 digest."""

    role: str
    size: int
    blake3: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureBundle:
    """Formats with their signatures, and container signatures, in the order of their source.

    `pronom` is the version of PRONOM ("v122"), `containers` that of the container signatures ("20260119"), `tool` what
    was installed when it was built. `container_priorities` are those PUIDs over which a format has priority inside
    containers and not among signatures: FIDO's extension file replaces some entries and loses their priorities.
    """

    pronom: str
    containers: str
    tool: str
    inputs: tuple[Input, ...]
    formats: tuple[Format, ...]
    container_signatures: Signatures
    container_priorities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    converter: str = CONVERTER

    @property
    def id(self) -> str:
        """The BLAKE3 digest of the inputs' digests and the converter's version."""
        return bundle_id(self.inputs, self.converter)

    @property
    def label(self) -> str:
        """What stands in a manifest beside each answer."""
        return f"pronom {self.pronom}, container {self.containers}, bundle {self.id[:SHORT]}"

    @property
    def signatures(self) -> int:
        """How many signatures of bytes it has."""
        return sum(len(known.signatures) for known in self.formats)

    def to_bytes(self) -> bytes:
        """The bundle as it is kept: JSON, the same bytes for the same bundle."""
        return _dumped(
            {
                "form": FORM,
                "id": self.id,
                "pronom": self.pronom,
                "containers": self.containers,
                "tool": self.tool,
                "converter": self.converter,
                "inputs": [[one.role, one.size, one.blake3] for one in self.inputs],
                "formats": [_format_out(known) for known in self.formats],
                "container_signatures": {
                    kind: [_container_out(one) for one in signatures]
                    for kind, signatures in sorted(self.container_signatures.items())
                },
                "container_priorities": {puid: sorted(beats) for puid, beats in self.container_priorities.items()},
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes, place: str = "") -> "SignatureBundle":
        """Read what `to_bytes` wrote; `place` is for messages.

        Raises:
            BadBundleError: it is nothing of the kind, or its identifier is not that of its inputs.
        """
        try:
            value = json.loads(content)
            if value["form"] != FORM:
                raise BadBundleError(place=place, reason=Phrase("form {form!r:.40}", form=value["form"]))
            bundle = cls(
                pronom=value["pronom"],
                containers=value["containers"],
                tool=value["tool"],
                converter=value["converter"],
                inputs=tuple(Input(*one) for one in value["inputs"]),
                formats=tuple(_format_in(one) for one in value["formats"]),
                container_signatures={
                    kind: tuple(_container_in(one) for one in signatures)
                    for kind, signatures in value["container_signatures"].items()
                },
                container_priorities={puid: frozenset(beats) for puid, beats in value["container_priorities"].items()},
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadBundleError(place=place, reason=type(error).__name__) from error
        if bundle.id != value["id"]:
            raise BadBundleError(place=place, reason=Phrase("its inputs make {bundle}", bundle=bundle.id[:SHORT]))
        return bundle


def bundle_id(inputs: Sequence[Input], converter: str = CONVERTER) -> str:
    """The identifier of the bundle that this converter makes of these inputs."""
    parts = [[one.role, one.size, one.blake3] for one in inputs]
    return blake3_hex(_dumped({"converter": converter, "form": FORM, "inputs": parts}))


def input_of(role: str, content: bytes) -> Input:
    """Describe a file that a bundle is made from."""
    return Input(role, len(content), blake3_hex(content))


def bundle_of_files(droid: str, containers: str, *, tool: str) -> SignatureBundle:
    """Make a bundle of a DROID signature file and a container signature file.

    Raises:
        BadSignatureFileError: one of them is not understood, or cannot be read.
    """
    contents = []
    for path in (droid, containers):
        try:
            with open(path, "rb") as file:
                contents.append(file.read(LARGEST_FILE + 1))
        except OSError as error:
            raise BadSignatureFileError(path=path, reason=error.strerror or type(error).__name__) from error
    known = droid_file(contents[0], droid)
    return SignatureBundle(
        pronom=f"v{known.version}",
        containers=container_version(contents[1], containers),
        tool=tool,
        inputs=(input_of("droid", contents[0]), input_of("containers", contents[1])),
        formats=known.formats,
        container_signatures=container_signatures(contents[1], containers),
    )


def _dumped(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _format_out(known: Format) -> list[object]:
    signatures = [[one.name, [_pattern_out(pattern) for pattern in one.patterns]] for one in known.signatures]
    return [
        known.puid,
        known.name,
        known.version,
        known.media_type,
        list(known.extensions),
        sorted(known.beats),
        signatures,
    ]


def _format_in(value: list[Any]) -> Format:
    puid, name, version, media_type, extensions, beats, signatures = value
    return Format(
        puid,
        tuple(extensions),
        frozenset(beats),
        tuple(Signature(one, tuple(_pattern_in(pattern) for pattern in patterns)) for one, patterns in signatures),
        name,
        version,
        media_type,
    )


def _pattern_out(pattern: Pattern) -> list[object]:
    need = pattern.necessity
    conditions = [
        ["key", one.offset, [key.hex() for key in one.keys]]
        if isinstance(one, Keyed)
        else [one.place, one.limit, one.literal.hex(), one.after]
        for one in need.conditions
    ]
    return [pattern.position, pattern.expression.decode("latin-1"), need.reach, conditions]


def _pattern_in(value: list[Any]) -> Pattern:
    position, expression, reach, conditions = value
    return Pattern(position, expression.encode("latin-1"), Necessity(tuple(map(_condition_in, conditions)), reach))


def _condition_in(value: list[Any]) -> Condition:
    kind, number, content, *after = value
    if kind == "key":
        return Keyed(number, tuple(map(bytes.fromhex, content)))
    return Containing(kind, bytes.fromhex(content), number, *after)


def _container_out(signature: ContainerSignature) -> list[object]:
    entries = [
        [entry.path, [[_pattern_out(pattern) for pattern in one] for one in entry.alternatives]]
        for entry in signature.entries
    ]
    return [signature.name, list(signature.puids), entries]


def _container_in(value: list[Any]) -> ContainerSignature:
    name, puids, entries = value
    return ContainerSignature(
        name,
        tuple(puids),
        tuple(
            Entry(path, tuple(tuple(_pattern_in(pattern) for pattern in one) for one in alternatives))
            for path, alternatives in entries
        ),
    )
