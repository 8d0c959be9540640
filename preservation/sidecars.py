"""Small files that belong to packs and fonds: indexes, block digests, descriptions.

They lie in the repository and on every store. The ledger holds their digests; what does not measure as it says is not
believed.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from preservation.catalog.rows import PackRow
from preservation.fixity import blake3_hex
from preservation.ledger.files import fsync_directory, replace_file
from preservation.packs import index
from preservation.packs.index import ManifestLine
from preservation.packs.members import Member

LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Sidecars:
    """The sidecars that lie in the repository, under ``folder``."""

    folder: str

    def path(self, name: str) -> str:
        """Return where the sidecar ``name`` lies."""
        return os.path.join(self.folder, *name.split("/"))

    def keep(self, name: str, data: bytes) -> None:
        """Write a sidecar durably; the same bytes again are no work."""
        path = self.path(name)
        if self._read(name) == data:
            return
        folder = os.path.dirname(path)
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for made in missing:
            fsync_directory(os.path.dirname(made))
        replace_file(path, data)

    def read(self, name: str, blake3: str) -> bytes | None:
        """Return the sidecar if it is there and measures ``blake3``; nothing otherwise."""
        data = self._read(name)
        return data if data is not None and blake3_hex(data) == blake3 else None

    def forget(self, name: str) -> None:
        """Remove a sidecar."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def _read(self, name: str) -> bytes | None:
        try:
            with open(self.path(name), "rb") as file:
                return file.read(LARGEST)
        except OSError:
            return None

    def index_of(self, row: PackRow) -> Iterator[tuple[Member, ManifestLine | None]] | None:
        """Return the objects and manifests that a pack's index lists; nothing if the index is missing or wrong."""
        data = self.read(index_name(row.pack), row.index_blake3)
        if data is None:
            return None
        lines = iter(data.splitlines(keepends=True))
        index.parse_header(next(lines, b""), row.pack)
        return index.objects(lines, row.pack)


def index_name(pack: str) -> str:
    """Return the name of a pack's index among the sidecars."""
    return f"indexes/{pack[:2]}/{pack}.jsonl"


def blocks_name(pack: str) -> str:
    """Return the name of a pack's block digests among the sidecars."""
    return f"indexes/{pack[:2]}/{pack}.blocks"


def description_name(digest: str) -> str:
    """Return the name of a descriptive record among the sidecars; it is the same below ``ledger/`` on a store."""
    return f"descriptions/{digest}.json"
