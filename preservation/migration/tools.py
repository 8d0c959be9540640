"""The programs of others that pathways use: how each is asked for its version, and by which package Debian has it."""

import re
import tempfile
from dataclasses import dataclass

from preservation.migration.sandbox import Limits, Sandbox, found, run

_PATIENCE = Limits(seconds=60.0, cpu_seconds=60)
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: what to ask it, where in its answer the version stands, and Debian's package."""

    question: tuple[str, ...]
    version: str
    package: str
    status: int = 0


TOOLS = {
    "ffmpeg": Tool(("-version",), r"ffmpeg version (\S+)", "ffmpeg"),
    "ffprobe": Tool(("-version",), r"ffprobe version (\S+)", "ffmpeg"),
    "flac": Tool(("--version",), r"flac (\S+)", "flac"),
    "gs": Tool(("--version",), r"(\S+)", "ghostscript"),
    "identify": Tool(("-version",), r"ImageMagick (\S+)", "imagemagick"),
    "mogrify": Tool(("-version",), r"ImageMagick (\S+)", "imagemagick"),
    "pdffonts": Tool(("-v",), r"", "poppler-utils"),
    "pdftoppm": Tool(("-v",), r"", "poppler-utils"),
    "pdftotext": Tool(("-v",), r"", "poppler-utils"),
    "qpdf": Tool(("--version",), r"qpdf version (\S+)", "qpdf"),
    "soffice": Tool(("--version",), r"LibreOffice (\S+)", "libreoffice-writer"),
    "vips": Tool(("--version",), r"vips-(\S+)", "libvips-tools"),
    "vipsheader": Tool(("--version",), r"vips-(\S+)", "libvips-tools"),
}
"""An empty pattern: the version is the same as another program's of the package, and being there is enough."""


def version_of(name: str, place: Sandbox) -> str | None:
    """The version of a tool on the search path, `?` if it does not say; none if it is not there or does not run."""
    tool = TOOLS[name]
    if found(name, place) is None:
        return None
    if not tool.version:
        return "?"
    with tempfile.TemporaryDirectory(prefix="mocban-") as folder:
        outcome = run([name, *tool.question], folder, place, _PATIENCE)
    if outcome.late or outcome.status:
        return None
    match = re.search(tool.version, outcome.output[:4096].decode(errors="replace"))
    return match[1][:_LONGEST] if match else "?"
