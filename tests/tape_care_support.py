"""A repository with a disk and two stores of two cartridges each, made once and put back before each test."""

import shutil
import struct
from pathlib import Path

from cli_support import archive, damage
from repository_support import made, nothing, submit_files
from tape_support import MIB, change, images, objects

from preservation import attachment
from preservation.replication import replicate
from storage_backends.tape.cartridges import Cartridges
from storage_backends.tape.drive import RECORD

FIRST_PACK, SECOND_PACK = 3, 9
"""The records with which the packs of a first and a second ingest begin; label and INDEX files come before."""


def filled(folder):
    """Make the repository; a package is on the disk and on the first cartridge of each tape."""
    made = archive(folder, ("d1",))
    configured(made, ("copies = 2", "copies = 1"))
    for name in ("t1", "t2"):
        url = f"tape+image://{folder / name}"
        said = made("store", "add", name, url, "--site", name, "--cartridges", 2, "--capacity", "16M")
        assert said.status == 0, said.err
    made.ingest()
    assert made("replicate").status == 0
    return made


def five_packs(folder):
    """Two disks and a tape of two cartridges, and five packs on all three; packs hold no more than 300,000 bytes."""
    found = made(folder)
    cartridges = Cartridges(count=2, capacity=64 * MIB)
    attachment.add(found.open(), "t1", f"tape+image://{folder / 't1'}", site="vault", cartridges=cartridges)
    submit_files(found, {f"b/{number}.bin": bytes([number]) * 200_000 for number in range(5)})
    assert replicate(found.open(), nothing).failures == {}
    return found


def spoil(place, *numbers, image=None):
    """Damage the packs of these numbers on a cartridge, the first if none is named; return its barcode."""
    image = image or images(place.folder / "t1")[0]
    for number in numbers:
        damage(image, image.read_bytes().index(bytes([number]) * 1_000))
    return image.stem


def keep(made):
    """Keep everything as it is now; what is returned puts it back."""
    kept = Path(f"{made.folder}.kept")
    shutil.copytree(made.folder, kept)

    def anew():
        shutil.rmtree(made.folder)
        shutil.copytree(kept, made.folder)
        return made

    return anew


def configured(made, *changes):
    path = made.path / "mocban.toml"
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)


def listed(made, *options):
    return {row["barcode"]: row for row in made.json("tape", "list", *options)}


def first(made, store="t1"):
    """The barcode of the cartridge that was written."""
    return images(made.folder / store)[0].stem


def ruin(image, number=FIRST_PACK):
    """Let a record be one that no drive can read."""
    at = objects(image)[number][0]
    for offset in (at, at + 4 + RECORD):
        change(image, offset, struct.pack("<I", RECORD | 1 << 31))


def cartridge_findings(said):
    """The findings about cartridges: code, severity and barcode."""
    return {
        (one["code"], one["severity"], one["detail"].partition(":")[0])
        for one in said.json["findings"]
        if one["code"].startswith("cartridge-")
    }
