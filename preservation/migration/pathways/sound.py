"""WAV and AIFF become FLAC, with every chunk that is not sound; the way back must give the same file."""

import json
from collections.abc import Sequence

from preservation.formats.identification import Puid
from preservation.migration.conversion import Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways.running import never_signed as rendition_only
from preservation.migration.pathways.running import one_by_one as make
from preservation.migration.pathways.running import same, told
from preservation.migration.worker import answer

__all__ = ["PATHWAYS", "make", "measure", "rendition_only"]

_FLAC = (Puid("fmt/279"),)
_WAV = ("fmt/6", "fmt/141", "fmt/142", "fmt/143", "fmt/1", "fmt/2", "fmt/527", "fmt/703", "fmt/704", "fmt/705")
_WAV_EXTENSIBLE = ("fmt/709", "fmt/710", "fmt/711")
_AIFF = ("fmt/414", "x-fmt/135", "x-fmt/136")
_ARGV = ("--silent", "--verify", "--best", "--keep-foreign-metadata", "-o", "{output}", "--", "{source}")

PATHWAYS = tuple(
    Pathway(
        id=f"{name}-flac",
        sources=tuple(map(Puid, puids)),
        targets=_FLAC,
        extension="flac",
        tool="flac",
        argv=_ARGV,
        lossless=True,
        checks=("format", "stream", "samples", "round-trip"),
        needs=("ffmpeg", "ffprobe"),
    )
    for name, puids in (("wav", _WAV + _WAV_EXTENSIBLE), ("aiff", _AIFF))
)


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Decode both by another decoder and compare every sample; then go back and compare every byte."""
    output = outputs[0]
    streams = [_stream(path, room) for path in (source.source, output)]
    samples = [samples_of(path, room) for path in (source.source, output)]
    return [
        same("stream", *streams),
        same("samples", *samples),
        _round_trip(pathway, source.source, output, room),
    ]


def _stream(path: str, room: Room) -> str:
    """Rate and channels, as the decoder finds them."""
    entries = "stream=sample_rate,channels"
    printed = told(
        room, "ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", entries, "-of", "json", path
    )
    try:
        streams = json.loads(printed)["streams"]
        return " ".join(f"{one['sample_rate']}x{one['channels']}" for one in streams)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnmeasuredError from error


def samples_of(path: str, room: Room) -> str:
    """A digest of all samples as whole numbers of 32 bits, at the rate that the file has."""
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-c:a", "pcm_s32le", "-f", "hash", "-")
    return told(room, *argv).decode("ascii", "replace").strip().lower().replace("=", ":")[:100]


def _round_trip(pathway: Pathway, source: str, output: str, room: Room) -> Measure:
    """The decoder of FLAC writes the source again, chunks that are not sound included."""
    back = f"{output}.{pathway.id.partition('-')[0]}"
    told(room, "flac", "--silent", "--decode", "--keep-foreign-metadata", "-o", back, "--", output)
    seen = answer("files.digests", (source, back), room)
    if seen is None:
        raise UnmeasuredError
    return same("round-trip", str(seen[source]), str(seen[back]))
