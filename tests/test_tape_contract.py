"""The store on tape keeps the contract, with its items staged and with its items on cartridges."""

import os
from contextlib import closing

import pytest
from backend_contract import BackendContract
from tape_support import proved, tape_at
from test_backend_contract import innermost

from storage_backends.backend import Flushing, Located, Ordered, Recalling, Rewriting


class OnTape(BackendContract):
    abilities = frozenset({Recalling, Flushing, Rewriting, Ordered, Located})
    deletes = False

    @pytest.fixture
    def backend(self, tmp_path):
        with closing(tape_at(tmp_path / "tape", capacity=400 << 20)) as backend:
            yield backend

    def make_unreachable(self, backend):
        tape = innermost(backend)
        os.rename(tape.place, tape.place + " away")
        os.mkdir(tape.place)


class TestStagedTape(OnTape):
    pass


class TestTape(OnTape):
    """As before, with every item on a cartridge before anybody asks for it."""

    def put(self, backend, key, data=b"content"):
        super().put(backend, key, data)
        backend.flush(proved)
        return backend.stat(key)
