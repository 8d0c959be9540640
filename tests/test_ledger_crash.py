"""The real process, killed or refused at each system call that changes files (strace): nothing acknowledged is lost."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ledger_support import World, append, leaves
from sizes import LEDGER_CALLS, SIZE, spread

from preservation.ledger.checking import check_ledger

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
SCRIPT = """
import os, sys
from datetime import UTC, datetime
from ledger_support import event
from preservation.ledger.keys import load_signer
from preservation.ledger.log import Ledger

done = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
signers = [load_signer(sys.argv[3])]
ledger = Ledger.open(sys.argv[1], clock=lambda: datetime.now(UTC), random=os.urandom, signers=signers)
with ledger.writing(1) as writer:
    writer.append([event(1), event(2)])
    writer.checkpoint()
    os.truncate(done, 1)
    writer.seal_if_due(force=True)
    writer.append([event(3)])
    writer.checkpoint()
    os.truncate(done, 2)
    writer.drop_sealed()
"""

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def run(world, done, *options):
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["strace", "-f", "-qq", *options, sys.executable, "-c", SCRIPT, world.path, done, world.folder / "keys"]
    return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("size", [SIZE])
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_at_any_system_call_nothing_acknowledged_is_lost(tmp_path, fault, size):
    world = World(tmp_path / "world")
    append(world.create(), 3, checkpoint=True)
    before = leaves(world.open())
    pristine, done, trace = tmp_path / "pristine", tmp_path / "done", tmp_path / "trace"
    shutil.copytree(world.path, pristine)
    assert run(world, done, "-e", f"trace={','.join(CALLS)}", "-o", trace).returncode == 0
    counts = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert counts.total() >= 25

    points = [(call, when) for call, number in counts.items() for when in range(1, number + 1)]
    for call, when in spread(points, LEDGER_CALLS):
        shutil.rmtree(world.path)
        shutil.copytree(pristine, world.path)
        done.unlink(missing_ok=True)
        result = run(world, done, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}", "-o", trace)
        place = (call, when, result.returncode, result.stderr[-500:])
        acknowledged = done.stat().st_size if done.exists() else 0

        found = leaves(world.open(read_only=True))
        assert before == found[: len(before)], place
        assert len(found) >= len(before) + (0, 2, 4)[acknowledged], place
        append(world.open(), 1, checkpoint=True)
        assert [] == list(check_ledger(world.path)), place
