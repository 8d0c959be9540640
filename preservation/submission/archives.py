"""Archives as submissions: which files are archives, and their contained unpacking into staging.

The name decides, not the content: many formats (DOCX, ODT, EPUB) are zip files that must be kept whole.
"""

import io
from collections.abc import Iterator

from preservation.submission.entries import Quotas, Remarks
from preservation.submission.inflating import PIECE, inflated
from preservation.submission.tars import TarStream, unpack_tar
from preservation.submission.unpacking import Unpacking
from preservation.submission.zips import unpack_zip

_SUFFIXES = {
    b".tar": ("tar", ""),
    b".tar.gz": ("tar", "gz"),
    b".tgz": ("tar", "gz"),
    b".tar.bz2": ("tar", "bz2"),
    b".tbz": ("tar", "bz2"),
    b".tbz2": ("tar", "bz2"),
    b".tar.xz": ("tar", "xz"),
    b".txz": ("tar", "xz"),
    b".zip": ("zip", ""),
}


def archive_kind(name: bytes) -> str | None:
    """Return ``tar`` or ``zip`` for a file name that says so, else None."""
    return _kind(name)[0] or None


def _kind(name: bytes) -> tuple[str, str]:
    lower = name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if lower.endswith(suffix)), ("", ""))


def unpack(source: io.FileIO, name: bytes, root: str, *, size: int, quotas: Quotas, remarks: Remarks) -> None:
    """Unpack an archive of ``size`` bytes into the new folder ``root``; the caller removes it, also after an error.

    Raises:
        SubmissionRefusedError: The archive is damaged, contradicts itself, exceeds a quota, leads elsewhere, or holds
            what is not a plain file or folder.
    """
    kind, codec = _kind(name)
    into = Unpacking(root, archived=size, quotas=quotas, remarks=remarks)
    try:
        if kind == "zip":
            unpack_zip(source.fileno(), size, into)
            return
        pieces = _pieces(source)
        if codec:
            pieces = into.metered(inflated(pieces, codec, path="the archive", several=True))
        unpack_tar(TarStream(pieces), into)
    finally:
        into.close()


def _pieces(source: io.FileIO) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield piece
