"""The bytes that pass between the identifying pool and its worker processes.

A request is one frame for a batch of samples, read whole before the first answer is written, so that neither side ever
waits for the other; an answer is one frame for each sample, in order. A frame is a length (4 bytes, big-endian) and a
JSON text; in a request the samples' bytes follow. JSON, because nothing that a worker writes is to be trusted.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from preservation.formats.identification import (
    Basis,
    FormatMatch,
    Identification,
    Sample,
    checked_puid,
)

LENGTH = struct.Struct(">I")
LONGEST_JSON = 1 << 20
"""Bytes of JSON in a frame that are believed at most."""

_MOST_WARNINGS = 20
_LONGEST_WARNING = 200

Reading = Callable[[int], bytes]
"""Gives exactly so many bytes, or raises `EOFError`."""


class BadFrameError(ValueError):
    """What came is not a frame of this protocol."""


def framed(value: object) -> bytes:
    """The frame of a JSON value."""
    text = json.dumps(value, separators=(",", ":")).encode("ascii")
    return LENGTH.pack(len(text)) + text


def read_json(read: Reading) -> Mapping[str, Any]:
    """Read the JSON object of the next frame.

    Raises:
        BadFrameError: it is none, or too long.
        EOFError: there is no further frame.
    """
    (length,) = LENGTH.unpack(read(LENGTH.size))
    if length > LONGEST_JSON:
        raise BadFrameError(f"a frame of {length} bytes")
    try:
        value = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise BadFrameError("not JSON") from error
    if not isinstance(value, dict):
        raise BadFrameError("not a JSON object")
    return cast("Mapping[str, Any]", value)


def request(samples: Sequence[Sample]) -> list[bytes]:
    """The frame that asks about these samples, in parts, so that their bytes are not copied."""
    entries = [
        {"extension": sample.extension, "size": sample.size, "pieces": [len(piece) for piece in sample.pieces()]}
        for sample in samples
    ]
    return [framed({"samples": entries}), *(piece for sample in samples for piece in sample.pieces())]


def read_request(read: Reading) -> list[Sample]:
    """Read the next request; the worker trusts the pool.

    Raises:
        EOFError: the pool has gone.
    """
    return [
        Sample.from_pieces(entry["extension"], entry["size"], tuple(read(length) for length in entry["pieces"]))
        for entry in read_json(read)["samples"]
    ]


def believed(answer: Mapping[str, Any], tool: str, signatures: str) -> Identification:
    """The identification that a worker's answer amounts to.

    Raises:
        BadFrameError: the answer does not have the prescribed form.
    """
    failure = answer.get("failed")
    if failure is not None:
        return Identification("failed", warnings=_texts([failure]))
    formats = answer.get("formats")
    if not isinstance(formats, list) or any(not isinstance(entry, list) or len(entry) != 2 for entry in formats):  # noqa: PLR2004  # PUID and basis
        raise BadFrameError("formats")
    if any(basis not in get_args(Basis) for _, basis in formats):
        raise BadFrameError("basis")
    matches = tuple(FormatMatch(checked_puid(puid), basis, tool, signatures) for puid, basis in formats)
    return Identification("identified" if matches else "unidentified", matches, _texts(answer.get("warnings")))


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadFrameError("warnings")
    return tuple(value[:_LONGEST_WARNING] for value in values[:_MOST_WARNINGS])
