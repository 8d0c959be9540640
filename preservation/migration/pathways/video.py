"""Moving images become FFV1 in Matroska; every frame and every sample is decoded from both and compared.

With `video-ffv1-flac` sound becomes FLAC, which holds what was recorded as whole numbers; sound that was compressed
with loss decodes to fractions, and for it `video-ffv1-sound` keeps the packets as they are. Subtitles go along if
Matroska can hold them, and the file is refused if it cannot.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from preservation.formats.identification import Puid
from preservation.migration.conversion import Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways.running import never_signed as rendition_only
from preservation.migration.pathways.running import one_by_one as make
from preservation.migration.pathways.running import same, told
from preservation.migration.pathways.sound import samples_of

__all__ = ["PATHWAYS", "make", "measure", "rendition_only"]

_MATROSKA = (Puid("fmt/569"),)
_SOURCES = ("fmt/5", "x-fmt/384", "fmt/199", "fmt/797", "x-fmt/385", "x-fmt/386", "fmt/133", "fmt/441", "fmt/569")
_RANGE = ("-vf", "scale=in_range=full:out_range=full")
"""Without this, pictures that use all values (as of most cameras) are squeezed into fewer on their way to FFV1."""

_PICTURE = ("-map", "0:v", *_RANGE, "-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1", "-slices", "4")
_SHARED = ("-v", "error", "-nostdin", "-i", "{source}", "-map_metadata", "0", "-vsync", "passthrough", *_PICTURE)
_SUBTITLES = ("-map", "0:s?", "-c:s", "copy")
_KINDS = ("video", "audio", "subtitle")
_COLOURS = ("color_range", "color_space", "color_transfer", "color_primaries")
_PROBED = f"stream=codec_type,width,height,pix_fmt,sample_aspect_ratio,field_order,{','.join(_COLOURS)}"
_PIXELS = re.compile(r"[a-z0-9_]{1,32}")
_SQUARE = ("", "0:1", "N/A")
_INTERLACED = ("tt", "bb", "tb", "bt")
_CLOCK = 0.002
"""Seconds: Matroska counts in milliseconds."""

_Film = tuple[list[bytes], list[float]]

PATHWAYS = tuple(
    Pathway(
        id=f"video-ffv1-{name}",
        sources=tuple(map(Puid, _SOURCES)),
        targets=_MATROSKA,
        extension="mkv",
        tool="ffmpeg",
        argv=(*_SHARED, *_SUBTITLES, "-map", "0:a?", "-c:a", codec, "{output}"),
        lossless=True,
        checks=("format", "streams", "picture", "frames", "times", "samples"),
        needs=("ffprobe",),
    )
    for name, codec in (("flac", "flac"), ("sound", "copy"))
)


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Compare streams, the shape of pictures, every frame, when it is shown, and every sample."""
    paths = source.source, outputs[0]
    before, after = (_streams(path, room) for path in paths)
    counts = [_counts(found) for found in (before, after)]
    measures = [same("streams", *counts)]
    if not measures[0].passed or not _of("video", before):  # without a partner nothing can be compared
        return measures
    measures.append(same("picture", *_shapes(_of("video", before), _of("video", after))))
    films = [[_film(path, place, stream, room) for place, stream in enumerate(_of("video", before))] for path in paths]
    measures += _compared(films[0], films[1])
    sounds = [_sounds(path, room, pathway) if _of("audio", before) else "none" for path in paths]
    return [*measures, same("samples", *sounds)]


def _streams(path: str, room: Room) -> list[Mapping[str, object]]:
    printed = told(room, "ffprobe", "-v", "error", "-show_entries", _PROBED, "-of", "json", path)
    try:
        found = json.loads(printed)["streams"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnmeasuredError from error
    return [one for one in found if isinstance(one, dict)]


def _of(kind: str, streams: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return [one for one in streams if one.get("codec_type") == kind]


def _counts(streams: Sequence[Mapping[str, object]]) -> str:
    return " ".join(str(len(_of(kind, streams))) for kind in _KINDS)


def _shapes(before: Sequence[Mapping[str, object]], after: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Width, height, the shape of a pixel, the order of fields, and what the source says of its colours."""
    shapes: tuple[list[str], list[str]] = ([], [])
    for one, other in zip(before, after, strict=True):
        said = [name for name in _COLOURS if str(one.get(name, "unknown")) != "unknown"]
        is_rgb = one.get("color_space") == "gbr" or str(one.get("pix_fmt")).startswith(
            ("rgb", "bgr", "gbr", "argb", "pal")
        )
        said = [] if is_rgb else said  # its names say nothing there
        for shape, stream in zip(shapes, (one, other), strict=True):
            pixel = str(stream.get("sample_aspect_ratio", ""))
            fields = str(stream.get("field_order", ""))
            shape.append(f"{stream.get('width')}x{stream.get('height')}:{'1:1' if pixel in _SQUARE else pixel}")
            shape.extend([fields] if fields in _INTERLACED else [])
            shape.extend(str(stream.get(name)) for name in said)
    return " ".join(shapes[0])[:400], " ".join(shapes[1])[:400]


def _film(path: str, place: int, stream: Mapping[str, object], room: Room) -> _Film:
    """A digest of each frame, in the source's form of pixels (the same picture has many forms), and its time."""
    form = str(stream.get("pix_fmt"))
    if not _PIXELS.fullmatch(form):
        raise UnmeasuredError
    argv = ("-map", f"0:v:{place}", "-vsync", "passthrough", "-pix_fmt", form, "-f", "framehash", "-")
    tick, digests, times = Fraction(0), [], []
    for line in told(room, "ffmpeg", "-v", "error", "-nostdin", "-i", path, *argv).splitlines():
        if line.startswith(b"#tb 0:"):
            tick = Fraction(line.partition(b":")[2].strip().decode())
        elif not line.startswith(b"#"):
            fields = line.split(b",")
            digests.append(fields[-1].strip())
            times.append(float(int(fields[2]) * tick))
    return digests, times


def _compared(before: Sequence[_Film], after: Sequence[_Film]) -> list[Measure]:
    said, found = (f"{sum(len(digests) for digests, _ in films)} {_digest(films)}" for films in (before, after))
    equal = all(one and one == other for (one, _), (other, _) in zip(before, after, strict=True))
    drift = 0.0
    for (_, one), (_, other) in zip(before, after, strict=True):
        pairs = zip(one, other, strict=False)
        drift = max([drift, *(abs((ours - one[0]) - (theirs - other[0])) for ours, theirs in pairs)])
    return [
        Measure("frames", said, found, equal),
        Measure("times", "0", f"{drift:.4f}", equal and drift <= _CLOCK),
    ]


def _digest(films: Sequence[_Film]) -> str:
    return f"sha256:{hashlib.sha256(b''.join(one for digests, _ in films for one in digests)).hexdigest()}"


def _sounds(path: str, room: Room, pathway: Pathway) -> str:
    """A digest of all samples, or of all packets where these are kept."""
    if pathway.id != "video-ffv1-sound":
        return samples_of(path, room)
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-c:a", "copy", "-f", "hash", "-")
    return told(room, *argv).decode("ascii", "replace").strip().lower().replace("=", ":")[:100]
