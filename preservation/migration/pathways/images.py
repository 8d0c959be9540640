"""Still images become PNG or JPEG 2000 by libvips, and every pixel is read again from both by ImageMagick.

More than one page, layer set or frame is no still image, and is refused by its count. Photoshop files keep what is
seen, not their layers. Pixels of more than 16 bits a sample, or in floating point, do not fit and are refused.
"""

import hashlib
import os
from collections.abc import Sequence

from preservation.formats.identification import Puid
from preservation.migration.conversion import Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways.running import never_signed as rendition_only
from preservation.migration.pathways.running import one_by_one as make
from preservation.migration.pathways.running import same, told
from preservation.migration.worker import answer

__all__ = ["PATHWAYS", "make", "measure", "rendition_only"]

_PNG = tuple(map(Puid, ("fmt/13", "fmt/12", "fmt/11")))
_JP2 = (Puid("x-fmt/392"),)
_SOURCES = {
    "tiff": ("fmt/353", "fmt/7", "fmt/8", "fmt/9", "fmt/10"),
    "bmp": ("fmt/115", "fmt/116", "fmt/117", "fmt/118", "fmt/119", "x-fmt/270"),
    "gif": ("fmt/3", "fmt/4"),
    "psd": ("x-fmt/92",),
}
_READERS = {"tiff": "TIFF", "bmp": "BMP", "gif": "GIF", "psd": "PSD", "png": "PNG", "jp2": "JP2"}
_VIPS = {
    "png": ("pngsave", "{source}", "{output}", "--compression", "9"),
    "jp2": ("jp2ksave", "{source}", "{output}", "--lossless", "--subsample-mode", "off"),
}
_CHECKS = ("format", "pages", "size", "depth", "colours", "pixels", "profile")
_SEEN = "%w|%h|%z|%[colorspace]\\n"
_FIELDS = 4
_DEEPEST = 16
_RGB = ("sRGB", "RGB", "Gray", "LinearGray")
_AS_SAMPLES = ("-quiet", "-format", "rgba", "-depth", "16", "-endian", "MSB")

PATHWAYS = tuple(
    Pathway(
        id=f"{name}-{extension}",
        sources=tuple(map(Puid, puids)),
        targets=targets,
        extension=extension,
        tool="vips",
        argv=_VIPS[extension],
        lossless=name != "psd",
        checks=_CHECKS,
        needs=("identify", "mogrify", "vipsheader"),
    )
    for name, puids in _SOURCES.items()
    for extension, targets in (("png", _PNG), ("jp2", _JP2))
)


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Count pages, and compare size, depth, every sample of every pixel, and the colour profile."""
    paths = {
        f"{_READERS[pathway.id.partition('-')[0]]}:{source.source}": source.source,
        f"{_READERS[pathway.extension]}:{outputs[0]}": outputs[0],
    }
    before, after = (_pages(path, room) for path in paths)
    if pathway.id.startswith("psd"):  # the first is what is seen of all layers together
        before = before[:1]
    counted = Measure("pages", str(len(before)), str(len(after)), len(before) == len(after) == 1)
    (width, height, depth, space), seen = before[0], after[0]
    return [
        counted,
        same("size", f"{width}x{height}", f"{seen[0]}x{seen[1]}"),
        Measure("depth", depth, seen[2], int(depth) <= int(seen[2]) <= _DEEPEST),
        same("colours", _colours(space), _colours(seen[3])),
        _pixels(list(paths), room),
        same("profile", *(_icc(path, room) for path in paths.values())),
    ]


def _pages(path: str, room: Room) -> list[list[str]]:
    """What ImageMagick sees: one row a page."""
    printed = told(room, "identify", "-quiet", "-format", _SEEN, path).decode("ascii", "replace")
    pages = [line.split("|") for line in printed.splitlines() if line]
    if not pages or any(len(page) != _FIELDS or not page[2].isdecimal() for page in pages):
        raise UnmeasuredError
    return pages


def _colours(space: str) -> str:
    """Grey is a colour whose three parts are equal; other spaces are other numbers."""
    return "RGB" if space in _RGB else space[:20]


def _pixels(paths: Sequence[str], room: Room) -> Measure:
    """Decode both to samples of 16 bits, with opacity, and compare them ourselves.

    The signature that ImageMagick can print of an image also depends on the order of bytes in the file.
    """
    raw = []
    for number, path in enumerate(paths):
        folder = f"raw{number}"
        os.mkdir(os.path.join(room.folder, folder))
        told(room, "mogrify", *_AS_SAMPLES, "-path", folder, f"{path}[0]")
        name, _ = os.path.splitext(os.path.basename(path))
        raw.append(os.path.join(folder, f"{name}.rgba"))
    seen = answer("files.samples", raw, room)
    if seen is None or seen.get("length") == 0:
        raise UnmeasuredError
    digests = [f"sha256:{digest}" for digest in (seen["first"], seen["second"])]
    return Measure("pixels", digests[0], f"{digests[1]} {seen['different']} differ", seen["different"] == 0)


def _icc(path: str, room: Room) -> str:
    """A digest of the ICC profile, or `none`."""
    if b"\nicc-profile-data:" not in told(room, "vipsheader", "-a", path):
        return "none"
    return f"sha256:{hashlib.sha256(told(room, 'vipsheader', '-f', 'icc-profile-data', path)).hexdigest()}"
