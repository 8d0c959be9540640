"""Makes a repository whose catalog has a million objects in two thousand packs, without the packs themselves.

usage: python benchmarks/million.py FOLDER
"""

import hashlib
import os
import sys
from datetime import UTC, datetime

from preservation.attachment import add
from preservation.creation import create
from preservation.fixity import blake3_hex
from preservation.fonds import open_fonds
from preservation.ledger.events import EventType
from preservation.packs.index import header_line, member_line
from preservation.packs.members import content_member
from preservation.repository import Repository, World
from preservation.sidecars import index_name

PACKS = 2_000
OBJECTS = 500


def main(folder: str) -> None:
    """Record the packs and their copies as an ingest would."""
    os.makedirs(folder)
    world = World(now=lambda: datetime.now(UTC), random=os.urandom, agent="benchmark")
    repository = create(os.path.join(folder, "repository"), world)
    stores = [add(repository, name, f"file://{folder}/{name}", site=name)[0].store for name in ("a", "b")]
    fonds = open_fonds(repository, "F1", "").fonds
    for number in range(PACKS):
        pack = hashlib.sha256(b"pack %d" % number).hexdigest()
        index = _index(number, fonds)
        repository.sidecars.keep(index_name(pack), index)
        events = [_sealed(repository, pack, fonds, index)]
        for store in stores:
            copy = {"pack": pack, "store": store, "generation": "1", "reach": "medium"}
            events.append(repository.event(EventType.REPLICATION, fonds=fonds, **copy))  # type: ignore[arg-type]
        repository.record(events)


def _index(number: int, fonds: str) -> bytes:
    lines = [header_line(f"p-{number}", fonds)]
    for place in range(OBJECTS):
        digest = hashlib.sha256(b"object %d %d" % (number, place)).hexdigest()
        lines.append(member_line(content_member(digest, 512 * place, 100)))
    return b"".join(lines)


def _sealed(repository: Repository, pack: str, fonds: str, index: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return repository.event(
        EventType.PACK_SEALED,
        fonds=fonds,
        pack=pack,
        size=1 << 20,
        label="p",
        package="p",
        version=1,
        session="s",
        objects=OBJECTS,
        content_bytes=OBJECTS * 100,
        index_size=len(index),
        index_blake3=blake3_hex(index),
        blocks_size=32,
        blocks_blake3="0" * 64,
        salvage_of="p",
    )


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
