"""Tape stores for tests: a folder of cartridges, staging beside them, and what happens to tapes."""

import contextlib
import io
import json
from pathlib import Path

from backend_sources import PROFILE

from storage_backends import disk
from storage_backends.tape import place as places
from storage_backends.tape.backend import TapeBackend
from storage_backends.tape.cartridges import Cartridges
from storage_backends.tape.drive import RECORD
from storage_backends.tape.image import read_settings

STORE = "0190a0b0-0000-7000-8000-00000000001a"
MIB = 1 << 20


def tape_at(folder, *, count=3, capacity=64 * MIB, store=STORE):
    """Make a store of image cartridges, or open it again."""
    places.initialise(str(folder), store, Cartridges(count=count, capacity=capacity, repository="r", written="now"))
    disk.initialise(str(Path(folder) / places.STAGING), store)
    return opened(folder, store=store)


def opened(folder, *, store=STORE):
    staging = disk.DiskBackend(str(Path(folder) / places.STAGING), store_id=store, profile=PROFILE)
    return TapeBackend(places.ImageFolder(str(folder), store), staging, profile=PROFILE)


def proved(_item, reader):
    """Read what came back; the backend itself compares it with what was staged."""
    while reader.read(MIB):
        pass


def pack(seed, records=2):
    """Bytes that are whole records and like no other's."""
    return bytes([seed % 251 + 1]) * (RECORD * records - 8) + seed.to_bytes(8, "big")


def put(backend, key, data):
    return backend.write(key, len(data), io.BytesIO(data))


def get(backend, key, **how):
    backend.recall([key])
    with backend.read(key, **how) as reader:
        return reader.read()


def contents(backend):
    return {item.key: get(backend, item.key) for item in backend.items()}


def staged(backend):
    return [item.key for item in backend.staged()]


def images(folder):
    return sorted(Path(folder).glob("*.tap"))


def settings(image, **changes):
    """Change what a cartridge is by nature."""
    path = image.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return read_settings(str(image))


def objects(image):
    """Every (offset, length word) of an image: 0 is a filemark."""
    found, data, at = [], image.read_bytes(), 0
    with contextlib.suppress(IndexError):
        while at + 4 <= len(data):
            word = int.from_bytes(data[at : at + 4], "little")
            if word == 0xFFFFFFFF:
                break
            found.append((at, word))
            length = word & 0xFFFFFF
            at += 4 if word == 0 else 8 + length + length % 2
    return found


def tape_files(image):
    """The bytes of each tape file of an image, as a drive would give them to dd."""
    data, files = image.read_bytes(), [b""]
    for at, word in objects(image):
        if word == 0:
            files.append(b"")
        else:
            files[-1] += data[at + 4 : at + 4 + (word & 0xFFFFFF)]
    return files


def change(image, offset, data):
    with open(image, "r+b") as file:
        file.seek(offset)
        file.write(data)
