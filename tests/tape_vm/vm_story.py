"""The story of tape on the Linux st driver, and a cartridge read by hand; in the guest, by ``make test-tape-vm``."""

import subprocess

import pytest
from repository_support import contents, made, nothing, pack_rows, submit_files
from tape_scenario import EXPECTED, FILES, Site, TapeScenario
from vm_drive import DRIVE, ISTGT, SLOT, TARGET, TGT, changer, changer_device, device, erased, tidied

from preservation import attachment
from preservation.packs import layout
from preservation.replication import replicate
from storage_backends.tape.cartridges import Cartridges


def library(folder):
    return f"tape+st://{folder}?drive={device(TGT)}&changer={changer_device()}"


class TestLibrary(TapeScenario):
    @pytest.fixture
    def site(self):
        def shuffle():
            there = {one.address: one.barcode for one in changer().elements()}
            if there[DRIVE]:
                sh(f"mt-st -f {device(TGT)} offline")
            free = [address for address, barcode in there.items() if not barcode and address > SLOT]
            taken = [address for address, barcode in there.items() if barcode.startswith("VT")]
            for source, destination in zip(taken, free, strict=False):
                changer().move(source, destination)

        tidied()
        images = sorted((TARGET / "media").glob("VT*"))
        return Site(url=library, images=lambda _: images, shuffle=shuffle)


class TestLocatingDrive(TapeScenario):
    @pytest.fixture
    def site(self):
        erased(ISTGT)
        url = f"?drive={device(ISTGT)}"
        images = [TARGET.parent / "istgt/1.vt"]
        return Site(url=lambda folder: f"tape+st://{folder}{url}", images=lambda _: images, cartridges=1)


def sh(command, **more):
    return subprocess.run(["bash", "-o", "pipefail", "-ec", command], check=True, capture_output=True, **more).stdout


def test_a_cartridge_is_read_with_mtx_mt_dd_b3sum_and_tar_alone(tmp_path, monkeypatch):
    tidied()
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    place = made(tmp_path)
    cartridges = Cartridges(count=1, capacity=64 << 20)
    attachment.add(place.open(), "t", library(tmp_path / "tape"), site="vault", cartridges=cartridges)
    package = submit_files(place, FILES).package
    assert {} == replicate(place.open(), nothing).failures
    packs = {row.pack for row in pack_rows(place)}
    assert EXPECTED == contents(place, package)

    tape = device(TGT)
    sh(f"mt-st -f {tape} setblk 0; mt-st -f {tape} rewind")
    label = sh(f"dd if={tape} bs=256k count=2 status=none")
    assert label.startswith(b"VOL1")
    assert b"tar -b 512 -xf /dev/nst0" in label
    found = set()
    for number in range(1, len(packs) + 1):
        sh(f"mt-st -f {tape} rewind; mt-st -f {tape} fsf {number}")
        found.add(sh(f"dd if={tape} bs=256k status=none | b3sum --no-names").decode().strip())
    assert packs == found

    out = tmp_path / "out"
    out.mkdir()
    for number in range(1, len(packs) + 2):
        sh(f"mt-st -f {tape} rewind; mt-st -f {tape} fsf {number}; tar -b 512 -xf {tape} -C {out}")
    files = out / "packages" / package / "v1" / "files"
    for name, data in FILES.items():
        assert (files / name).is_dir() if data is None else (files / name).read_bytes() == data
    assert list((out / "ledger").iterdir())
