"""What happens to a store on the Linux st driver: killed while it writes, full, exchanged; in the guest."""

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from backend_sources import PROFILE
from tape_support import STORE, contents, get, pack, proved, put, staged
from test_backend_contract import innermost
from vm_drive import ISTGT, TARGET, TGT, changer_device, device, devices, erased, tidied

from storage_backends import locations
from storage_backends.errors import StorageError, StoreFullError
from storage_backends.tape.cartridges import FULL, OPEN, Cartridges
from storage_backends.tape.drive import NoLabelError, WrongCartridgeError

TESTS = Path(__file__).resolve().parents[1]
SMALL = {"ledger/tail/0-1": b"a tail", "README.txt": "đọc".encode()}


def packs(*seeds, records=2):
    return {f"packs/f/{seed:02x}/{seed}.tar": pack(seed, records) for seed in seeds}


def filled(backend, items):
    for key, data in items.items():
        put(backend, key, data)
    return items


def blank_at(vendor, folder):
    """The URL of a store to be, its cartridges blank."""
    if vendor == TGT:
        tidied()
        return f"tape+st://{folder}?drive={device(TGT)}&changer={changer_device()}"
    erased(vendor)
    return f"tape+st://{folder}?drive={device(vendor)}"


@contextmanager
def store(url, *, count=None):
    if count is not None:
        locations.initialise_store(url, STORE, Cartridges(count=count))
    with closing(innermost(locations.open_store(url, store_id=STORE, profile=PROFILE))) as backend:
        yield backend


def cartridges(backend):
    return [(one.barcode, one.state) for one in backend.directory().cartridges()]


KILLED = """
import os, signal, sys
from vm_trouble import store, proved
from storage_backends.tape.nst import NstDrive

url, where, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, count = getattr(NstDrive, where), 0

def instead(self, *args, **more):
    global count
    count += 1
    if count > times:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *args, **more)

setattr(NstDrive, where, instead)
with store(url) as backend:
    backend.flush(proved)
"""


@pytest.mark.parametrize(
    ("where", "times"),
    [("write", 1), ("write_filemark", 0), ("write_filemark", 1), ("write_filemark", 2), ("reach", 0)],
    ids=["in a pack", "before its filemark", "before the second", "before the one of the INDEX", "after the commit"],
)
@pytest.mark.parametrize("vendor", [TGT, ISTGT])
def test_a_process_killed_while_it_writes_loses_nothing_and_nothing_is_believed(vendor, where, times, tmp_path):
    """The driver then writes a filemark of its own behind what there is."""
    url = blank_at(vendor, tmp_path / "store")
    with store(url, count=1) as backend:
        items = filled(backend, packs(1, 2, records=3) | SMALL)
    paths = os.pathsep.join((str(TESTS), str(TESTS / "tape_vm")))
    command = [sys.executable, "-B", "-c", KILLED, url, where, str(times)]
    killed = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -9, killed.stderr

    with store(url) as again:
        assert set(items) == set(staged(again))
        again.flush(proved)
        assert [] == staged(again)
        assert items == contents(again)
        used = [file.records for file in again.directory().files(1)]
        assert used.count(3) == 2, "no pack is twice on the tape"
    (tmp_path / "store/directory.sqlite").unlink()
    with store(url) as forgotten:
        assert items == contents(forgotten)


def test_early_warning_closes_a_cartridge_and_the_next_one_goes_on(tmp_path):
    url = blank_at(TGT, tmp_path / "store")
    with store(url, count=2) as backend:
        items = filled(backend, packs(*range(1, 9), records=36))
        backend.flush(proved)
        assert [("VT0001L9", FULL), ("VT0002L9", OPEN)] == cartridges(backend)
        assert all(get(backend, key) == data for key, data in items.items())


def test_at_a_hard_end_the_torn_pack_is_cut_off(tmp_path):
    drive = devices(ISTGT)[1]
    subprocess.run(["mt-st", "-f", drive, "erase"], check=True)
    url = f"tape+st://{tmp_path / 'store'}?drive={drive}"
    with store(url, count=1) as backend:
        items = filled(backend, packs(*range(1, 9), records=10) | SMALL)
        with pytest.raises(StoreFullError):
            backend.flush(proved)
        assert 0 < len(staged(backend)) < len(items)
        assert items == contents(backend)
        assert [FULL] == [state for _, state in cartridges(backend)]
    (tmp_path / "store/directory.sqlite").unlink()
    with store(url) as forgotten:
        assert items == contents(forgotten)


def test_a_wrong_cartridge_under_a_right_barcode_is_noticed(tmp_path):
    url = blank_at(TGT, tmp_path / "store")
    with store(url, count=2) as backend:
        items = filled(backend, packs(1))
        backend.flush(proved)
    one, two = (TARGET / "media" / name for name in ("VT0001L9", "VT0002L9"))
    subprocess.run(["mt-st", "-f", device(TGT), "rewind"], check=False, capture_output=True)
    first, second = one.read_bytes(), two.read_bytes()
    header = 1024  # tgt keeps the barcode there
    one.write_bytes(first[:header] + second[header:])
    two.write_bytes(second[:header] + first[header:])

    with store(url) as again:
        with pytest.raises(StorageError) as caught:
            get(again, *items)
        assert isinstance(caught.value, WrongCartridgeError | NoLabelError)
