"""One story of tape, told on whatever drives there are: label, write, recall, audit, move, repair, rebuild."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from repository_support import (
    audit,
    contents,
    copy_rows,
    made,
    nothing,
    open_findings,
    pack_rows,
    seen,
    store_rows,
    submit_files,
)

from preservation import attachment, rebuilding
from preservation.fixity import blake3_hex
from preservation.packs import layout
from preservation.replication import replicate
from preservation.stores import all_open, attached
from storage_backends.tape.cartridges import Cartridges
from storage_backends.tape.drive import RECORD, EndOfDataError
from storage_backends.tape.pool import pool_of

FILES = {
    "thư mục/tờ trình.txt": "Kính gửi".encode() * 3000,
    **{f"b/Quyết định {number}.bin": bytes([number]) * 200_000 for number in range(4)},
    "rỗng": b"",
    "trống/": None,
}
EXPECTED = {name.encode(): data for name, data in FILES.items()}


@dataclass
class Site:
    """A pool of tape for the story. ``images`` are the files in which the bytes of its cartridges lie."""

    url: Callable[[Path], str]
    images: Callable[[Path], list[Path]]
    cartridges: int = 2
    shuffle: Callable[[], None] = field(default=lambda: None)
    """Puts the cartridges into other slots."""


class TapeScenario:
    """Subclass it as ``Test...``, with a fixture ``site`` that gives a ``Site`` of blank cartridges."""

    @pytest.fixture
    def packs_are_small(self, monkeypatch):
        monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)

    def test_label_write_recall_audit_move_repair(self, tmp_path, site, packs_are_small):
        place = made(tmp_path)
        folder = tmp_path / "tape"
        url = site.url(folder)

        cartridges = Cartridges(count=site.cartridges, capacity=64 << 20)
        attachment.add(place.open(), "t", url, site="vault", cartridges=cartridges)
        labels = self.labels(url, place)
        assert list(range(1, site.cartridges + 1)) == [label.number for label in labels]

        package = submit_files(place, FILES).package
        result = replicate(place.open(), nothing)
        assert ({}, []) == (result.failures, result.short)
        assert [] == [item.key for item in self.on(url, place, lambda pool: list(pool.staged()))]
        packs = {row.pack for row in pack_rows(place)}
        assert packs <= self.digests(url, place, labels[0].barcode)

        self.recall(place, package)
        first = audit(place)
        assert (seen(first)["expected"], 0) == (seen(first)["verified"], len(open_findings(first)))

        site.shuffle()
        (self.folder_of(folder) / "directory.sqlite").unlink()
        assert seen(audit(place))["verified"] == seen(first)["verified"]

        self.repair(place, site, folder, packs)
        assert EXPECTED == contents(place, package)

        self.rebuild(place, url, folder, package, tmp_path)

    def labels(self, url, place):
        def look(pool):
            return [pool.library.mount(one.barcode) for one in pool.directory().cartridges()]

        return self.on(url, place, look)

    def digests(self, url, place, barcode):
        """The BLAKE3 digest of every tape file, read by the drive's reads alone, as ``dd bs=256k | b3sum`` does."""

        def every(pool):
            found, data = set(), b""
            with pool.library.using(barcode) as drive:
                drive.rewind()
                while True:
                    try:
                        record = drive.read(RECORD)
                    except EndOfDataError:
                        return found
                    if record is None:
                        found.add(blake3_hex(data))
                        data = b""
                    else:
                        data += record

        return self.on(url, place, every)

    def on(self, url, place, action):
        store = store_rows(place)["t"]
        with place.open().reading() as view, all_open(attached(view)) as opened:
            return action(pool_of(next(one.backend for one in opened if one.row.store == store.store)))

    def recall(self, place, package):
        """With both disks gone, everything comes from tape; then they are there again."""
        for name in ("a", "b"):
            place.store(name).rename(place.folder / f"{name} away")
        assert EXPECTED == contents(place, package)
        for name in ("a", "b"):
            (place.folder / f"{name} away").rename(place.store(name))

    def repair(self, place, site, folder, packs):
        before = self.generations(place)
        row = next(row for row in pack_rows(place) if row.pack in packs)
        data = (place.store("a") / layout.pack_key(row.fonds, row.pack)).read_bytes()
        assert self.flip(site.images(folder), data[1000:1200])

        report = audit(place)
        assert (1, 1, []) == (seen(report)["damaged"], seen(report)["repaired"], open_findings(report))
        after = self.generations(place)
        assert [row.pack] == [pack for pack in after if after[pack] != before[pack]]
        again = audit(place)
        assert (seen(again)["expected"], []) == (seen(again)["verified"], open_findings(again))

    def generations(self, place):
        store = store_rows(place)["t"].store
        return {row.pack: row.generation for row in copy_rows(place) if row.store == store}

    @staticmethod
    def flip(images, pattern):
        """Change one byte of ``pattern`` in the first image that has it."""
        for image in images:
            at = image.read_bytes().find(pattern)
            if at >= 0:
                with open(image, "r+b") as file:
                    file.seek(at)
                    file.write(bytes([pattern[0] ^ 1]))
                return True
        return False

    def rebuild(self, place, url, folder, package, tmp_path):
        """Lose repository, disks, staging and directory; make everything anew from the cartridges."""
        kit = next(tmp_path.glob("repo*kit*"))
        shutil.move(kit, tmp_path / "kit")
        for name in ("a", "b", "repo"):
            shutil.rmtree(tmp_path / name)
        self.lose(folder)
        rebuilt = rebuilding.rebuild_from(url, place.path, place.world, kit=str(tmp_path / "kit"))
        assert (len(pack_rows(place)), 1, 0) == (rebuilt.packs, rebuilt.packages, rebuilt.missing_indexes)
        attachment.add(place.open(), "t", url, site="vault")
        assert EXPECTED == contents(place, package)

    def folder_of(self, folder):
        return folder

    def lose(self, folder):
        """What is beside the cartridges is gone."""
        shutil.rmtree(folder)
