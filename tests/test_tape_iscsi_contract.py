"""A store in real drives keeps the contract, on a library that cannot locate and on a drive that can."""

import os
from contextlib import closing

import pytest
from backend_contract import BackendContract
from backend_sources import PROFILE
from tape_support import STORE, proved
from tape_targets import Istgt, Kept, Tgt
from test_backend_contract import innermost

from storage_backends import locations
from storage_backends.backend import Flushing, Ordered, Recalling, Rewriting
from storage_backends.tape import scsi
from storage_backends.tape.addresses import address_of
from storage_backends.tape.cartridges import Cartridges
from storage_backends.tape.iscsi import IscsiUnit

CAPACITY = 300
"""MiB of a cartridge."""


@pytest.fixture(scope="module")
def tgt(tmp_path_factory):
    target = Tgt(tmp_path_factory.mktemp("tgt") / "t", {"VT0001L9": CAPACITY, "VT0002L9": CAPACITY})
    yield target
    target.stop()


@pytest.fixture(scope="module")
def istgt(tmp_path_factory):
    target = Istgt(tmp_path_factory.mktemp("istgt") / "t", CAPACITY)
    yield target
    target.stop()


@pytest.fixture(scope="module")
def located(istgt):
    """A connection for the whole module: it takes istgt a second to let anybody in."""
    unit = IscsiUnit(address_of(istgt.address()))
    unit.connect()
    yield unit
    unit.close()


class InDrives(BackendContract):
    abilities = frozenset({Recalling, Flushing, Rewriting, Ordered})
    deletes = False

    def put(self, backend, key, data=b"content"):
        super().put(backend, key, data)
        backend.flush(proved)
        return backend.stat(key)

    def make_unreachable(self, backend):
        tape = innermost(backend)
        os.rename(tape.place, tape.place + " away")
        os.mkdir(tape.place)


class TestLibrary(InDrives):
    """tgt: a changer and drives without positions."""

    @pytest.fixture
    def backend(self, tgt, tmp_path):
        tgt.put_back()
        tgt.erase()
        url = tgt.url(tmp_path / "store")
        locations.initialise_store(url, STORE, Cartridges(count=1))
        with closing(innermost(locations.open_store(url, store_id=STORE, profile=PROFILE))) as backend:
            yield backend


class TestLocatingDrive(InDrives):
    """istgt: positions and LOCATE, no changer."""

    @pytest.fixture
    def backend(self, istgt, located, tmp_path, monkeypatch):
        for cdb in (scsi.REWIND, bytes((0x19, 1, 0, 0, 0, 0)), scsi.REWIND):  # 19h: ERASE
            assert located.command(cdb).status == scsi.GOOD
        url = istgt.url(tmp_path / "store")
        monkeypatch.setattr("storage_backends.tape.hardware.IscsiUnit", lambda _address: Kept(located))
        locations.initialise_store(url, STORE, Cartridges(count=1))
        with closing(innermost(locations.open_store(url, store_id=STORE, profile=PROFILE))) as backend:
            yield backend
