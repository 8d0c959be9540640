"""A store on the Linux st driver keeps the contract of every store; in the guest, by ``make test-tape-vm``."""

import pytest
from test_tape_iscsi_contract import InDrives
from vm_drive import ISTGT, TGT
from vm_trouble import blank_at, store


class TestLibrary(InDrives):
    """tgt: a changer, no LOCATE, no positions."""

    @pytest.fixture
    def backend(self, tmp_path):
        with store(blank_at(TGT, tmp_path / "store"), count=1) as backend:
            yield backend


class TestLocatingDrive(InDrives):
    """istgt: positions and LOCATE, no changer."""

    @pytest.fixture
    def backend(self, tmp_path):
        with store(blank_at(ISTGT, tmp_path / "store"), count=1) as backend:
            yield backend
