"""Copies of one pack in memory, changed and healed by the thousand, with the repository's real check and repair."""

import os
import random
import shutil
from contextlib import suppress

from repository_support import index_file, pack_file, pack_rows, store_rows

from preservation.checking import Verdict, check
from preservation.fixity import Fixity, blake3_hex
from preservation.packs import index as pack_index
from preservation.packs import layout
from preservation.packs.members import Kind, header
from preservation.repair import Bad, NotRepairableError, repair
from preservation.stores import Store
from storage_backends.backend import StorageProfile
from storage_backends.errors import StorageError
from storage_backends.memory import MemoryBackend, Shelf

_random = random.Random(7)
FILES = {
    "giấy/1.bin": _random.randbytes(3_000),
    "giấy/2.bin": _random.randbytes(700),
    "giấy/3.bin": _random.randbytes(5_001),
    "Ảnh/quét.tif": bytes(4_000) + _random.randbytes(1_000),
    "lặp lại": b"the same",
    "lặp lại nữa": b"the same",
    "rỗng.txt": b"",
    "thư mục rỗng/": None,
    "x" * 200: b"a long name",
}


def pack_of(place):
    (row,) = pack_rows(place)
    return row


def reset(place):
    """Bring everything back to how it was when the repository was made."""
    for name in os.listdir(place.folder):
        shutil.rmtree(place.folder / name)
    shutil.copytree(place.folder.with_name("pristine"), place.folder, symlinks=True, dirs_exist_ok=True)


def members_of(place, row, store="a"):
    """Every member of a pack, the index too."""
    data = index_file(place, store, row).read_bytes()
    lines = data.splitlines(keepends=True)
    listed = pack_index.members(lines[1:], row.pack)
    return list(pack_index.with_index(listed, row.label, len(data), blake3_hex(data)))


def lost_of(gone, files):
    """What is left of ``files`` when the objects ``gone`` are lost."""
    return {
        os.fsencode(name): data
        for name, data in files.items()
        if data is None or f"blake3:{blake3_hex(data)}" not in gone
    }


class _Broken(MemoryBackend):
    """Whose every read fails, as a dying disk's does."""

    def read(self, key, *, offset=0, length=None, fresh=False):
        raise StorageError(place=self.place, reason="planned")


class Shelves:
    """Two stores in memory that hold the copies of the only pack of a repository on disk."""

    def __init__(self, place):
        self.place = place
        self.repository = place.open()
        self.row = pack_of(place)
        self.right = pack_file(place, "a", self.row).read_bytes()
        self.size = len(self.right)
        self.members = members_of(place, self.row)
        self.key = layout.pack_key(self.row.fonds, self.row.pack)
        self.rows = store_rows(place)
        self.shelves = {}

    def put(self, **copies):
        for name, data in copies.items():
            shelf = self.shelves[name] = Shelf(self.rows[name].store)
            next(shelf.numbers)
            if data is not None:
                shelf.contents[self.key] = (data, 0)

    def open_to_change(self, name):
        data = bytearray(self.right)
        self.put(**{name: data})
        return data

    def store(self, name, backend=MemoryBackend):
        shelf = self.shelves[name]
        profile = StorageProfile(medium="memory", site=name)
        return Store(self.rows[name], backend(shelf, store_id=shelf.store_id, profile=profile))

    def verdict(self, name):
        return check(self.store(name).backend, self.row.fonds, Fixity(self.row.size, self.row.pack)).verdict

    def heal(self):
        """What an audit does with the verdicts on the copies of one pack."""
        good, bad, wrong = [], [], {}
        for name in self.shelves:
            verdict = self.verdict(name)
            store = self.store(name)
            if verdict is Verdict.VERIFIED:
                good.append(store)
            else:
                bad.append(Bad(store, verdict))
                wrong[name] = self.shelves[name].contents.get(self.key)
        healed = repair(self.repository, self.row, good, bad)
        assert healed.failures == {}
        assert healed.lost or set(healed.stores) == {one.store.name for one in bad}
        for name, copy in wrong.items():
            kept = [data for key, (data, _) in self.shelves[name].contents.items() if key.startswith("quarantine/")]
            assert kept == ([] if copy is None else [copy[0]]), "the bad bytes are kept"
        return healed

    def refuse_to_repair(self, *, unreadable):
        """Ask for a repair while the copy on ``a`` fails to be read, or its store is away."""
        store = self.store("a", _Broken) if unreadable else Store(self.rows["a"], None)
        bad = [Bad(store, Verdict.UNREADABLE), Bad(self.store("b"), Verdict.DAMAGED)]
        with suppress(NotRepairableError):
            healed = repair(self.repository, self.row, [], bad)
            raise AssertionError(healed)

    def events(self):
        self.repository.ledger.refresh()
        return self.repository.ledger.size

    def are_right(self):
        """Whether every copy is as it was written."""
        return all(bytes(shelf.contents[self.key][0]) == self.right for shelf in self.shelves.values())

    def holds(self, **copies):
        return all(
            {key: bytes(value[0]) for key, value in self.shelves[name].contents.items()} == {self.key: data}
            for name, data in copies.items()
        )

    def flipped(self, changes):
        data = bytearray(self.right)
        for offset, mask in changes:
            data[offset] ^= mask
        return bytes(data)

    def zeroed(self, start, length):
        data = bytearray(self.right)
        length = min(length, self.size - start)
        data[start : start + length] = bytes(length)
        return bytes(data)

    def swapped(self, one, other, length):
        """Two runs of the same length changed places; ``one`` lies before ``other``."""
        length = min(length, other - one, self.size - other)
        data = bytearray(self.right)
        data[one : one + length] = self.right[other : other + length]
        data[other : other + length] = self.right[one : one + length]
        return bytes(data)

    def places(self):
        """Each 64th byte, the whole of the first header and of a pax header, and the whole of the index."""
        found = set(range(0, self.size, 64)) | set(range(512))
        link = next(member for member in self.members if member.kind is Kind.LINK and len(header(member)) > 512)
        place = self.right.find(header(link))
        found |= set(range(place, place + len(header(link))))
        index = next(member for member in self.members if member.kind is Kind.INDEX)
        found |= set(range(index.offset - 512, index.offset + index.size))
        return sorted(found, key=lambda place: place * 2_654_435_761 % 2**32)  # so that every part of them is alike
