"""The bytes that pass between the identifying pool and its worker processes.

The pool first sends the signature bundle: a length (4 bytes, big-endian) and its bytes, none for the signatures that
are shipped with FIDO. A request is one frame for a batch of samples, read whole before the first answer is written, so
that neither side ever waits for the other; each frame of answers has those for the next samples of the batch, in order.
A frame is a length and a JSON text; in a request the samples' bytes follow. JSON, because nothing that a worker writes
is to be trusted.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from preservation.formats.identification import (
    TOO_SLOW,
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


def read_bundle(read: Reading) -> bytes:
    """Read the bundle with which the pool begins."""
    (length,) = LENGTH.unpack(read(LENGTH.size))
    return read(length)


def read_request(read: Reading) -> list[Sample]:
    """Read the next request; the worker trusts the pool.

    Raises:
        EOFError: the pool has gone.
    """
    entries = read_json(read)["samples"]
    content = memoryview(read(sum(sum(entry["pieces"]) for entry in entries)))
    samples, place = [], 0
    for entry in entries:
        pieces = []
        for length in entry["pieces"]:
            pieces.append(bytes(content[place : place + length]))
            place += length
        samples.append(Sample.from_pieces(entry["extension"], entry["size"], tuple(pieces)))
    return samples


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker tells of a sample: its formats and warnings, or why it could not look at it."""

    formats: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    failed: str = ""
    late: bool = False

    def to_json(self) -> dict[str, object]:
        """The answer as it travels."""
        if self.late:
            return {"late": True}
        return {"failed": self.failed} if self.failed else {"formats": self.formats, "warnings": self.warnings}


def answers_frame(answers: Sequence[tuple[Told, float]]) -> bytes:
    """The frame of the answers for some samples, each with its milliseconds; equal answers are written once."""
    distinct: dict[Told, int] = {}
    which = [distinct.setdefault(answer, len(distinct)) for answer, _ in answers]
    return framed(
        {
            "answers": [answer.to_json() for answer in distinct],
            "which": which,
            "milliseconds": [round(milliseconds, 3) for _, milliseconds in answers],
        }
    )


def believed(frame: Mapping[str, Any], most: int, tool: str, signatures: str) -> list[Identification]:
    """The identifications that a frame of answers amounts to: one at least, and `most` at most.

    Raises:
        BadFrameError: the frame does not have the prescribed form.
    """
    answers, which, times = frame.get("answers"), frame.get("which"), frame.get("milliseconds")
    if not isinstance(answers, list) or not isinstance(which, list) or not isinstance(times, list):
        raise BadFrameError("answers")
    if not 0 < len(which) == len(times) <= most:
        raise BadFrameError("which")
    known = [_believed(answer, tool, signatures) for answer in answers]
    found = []
    for number, milliseconds in zip(which, times, strict=True):
        if type(number) is not int or not 0 <= number < len(known) or not isinstance(milliseconds, int | float):
            raise BadFrameError("which")
        one = known[number]
        found.append(Identification(one.status, one.formats, one.warnings, float(milliseconds)))
    return found


def _believed(answer: object, tool: str, signatures: str) -> Identification:
    if not isinstance(answer, dict):
        raise BadFrameError("answer")
    if answer.get("late"):
        return Identification("timeout", warnings=(TOO_SLOW,))
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
