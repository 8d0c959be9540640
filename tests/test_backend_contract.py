"""Every backend, wrapper and stand-in keeps the contract."""

import os
import time

import pytest
from backend_contract import BackendContract
from backend_faulty import FaultyBackend
from backend_s3like import Bucket, S3likeBackend
from backend_sources import PROFILE
from backend_tapelike import TapelikeBackend

from storage_backends.backend import Drafting, Located, Recalling, Replacing, Sized
from storage_backends.disk import DiskBackend, initialise
from storage_backends.memory import MemoryBackend, Shelf
from storage_backends.retry import Patience, RetryingBackend
from storage_backends.throttle import Pace, ThrottledBackend


def disk_at(path):
    initialise(str(path), "store-1")
    return DiskBackend(str(path), store_id="store-1", profile=PROFILE)


def innermost(backend):
    while hasattr(backend, "inner"):
        backend = backend.inner
    return backend


class OnDisk(BackendContract):
    abilities = frozenset({Drafting, Replacing, Sized, Located})

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "store"

    def make_unreachable(self, backend):
        disk = innermost(backend)
        away = disk.place + " away"
        os.rename(disk.place, away)
        os.mkdir(disk.place)


class InMemory(BackendContract):
    abilities = frozenset({Drafting, Replacing})
    bounded = False

    @pytest.fixture
    def memory(self):
        return MemoryBackend(Shelf("store-1"), store_id="store-1", profile=PROFILE)

    def make_unreachable(self, backend):
        innermost(backend)._shelf.store_id = None


class TestDisk(OnDisk):
    @pytest.fixture
    def backend(self, folder):
        return disk_at(folder)


class TestRetriedDisk(OnDisk):
    @pytest.fixture
    def backend(self, folder):
        return RetryingBackend(disk_at(folder), Patience(3, pause=0, sleep=time.sleep))


class TestMemory(InMemory):
    @pytest.fixture
    def backend(self, memory):
        return memory


class TestThrottledMemory(InMemory):
    @pytest.fixture
    def backend(self, memory):
        return ThrottledBackend(memory, Pace(1e12, clock=time.monotonic, sleep=time.sleep))


class TestFaultyMemoryWithAnEmptyPlan(InMemory):
    @pytest.fixture
    def backend(self, memory):
        return FaultyBackend(memory)


class TestTapelike(BackendContract):
    abilities = frozenset({Recalling})
    deletes = False

    @pytest.fixture
    def backend(self, tmp_path):
        return TapelikeBackend(tmp_path / "cartridge", profile=PROFILE)

    def make_unreachable(self, backend):
        backend.loaded = False


class TestRetriedThrottledTapelike(TestTapelike):
    @pytest.fixture
    def backend(self, tmp_path):
        tape = TapelikeBackend(tmp_path / "cartridge", profile=PROFILE)
        paced = ThrottledBackend(tape, Pace(1e12, clock=time.monotonic, sleep=time.sleep))
        return RetryingBackend(paced, Patience(2, pause=0, sleep=time.sleep))

    def make_unreachable(self, backend):
        innermost(backend).loaded = False


class TestS3like(BackendContract):
    abilities = frozenset({Replacing})
    bounded = False

    @pytest.fixture
    def backend(self):
        return S3likeBackend(Bucket(), profile=PROFILE)

    def make_unreachable(self, backend):
        backend.bucket.up = False
