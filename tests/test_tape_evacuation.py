"""Evacuations that nobody asked for: killed, told to stop, and beside a failing cartridge on a shelf."""

import os
import signal
import subprocess
import sys

import pytest
from cli_support import ROOT
from repository_support import Place, audit, copy_rows, nothing, submit_files
from tape_care_support import five_packs, spoil
from tape_support import MIB, images

from audits.findings import Code
from preservation import attachment
from preservation.catalog import rows
from preservation.catalog.rows import CopyState
from preservation.catalog.taped import CartridgeRow
from preservation.packs import layout
from preservation.replication import replicate
from preservation.shelving import take_out
from preservation.stopping import StoppedError
from storage_backends.tape.cartridges import Cartridges

KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from repository_support import Clock, Place, audit

folder, at, now = sys.argv[1:]
place = Place(Path(folder), clock=Clock(datetime.fromisoformat(now)), random=os.urandom)
staging, target = Path(folder, "t1", "staging"), sorted(Path(folder, "t1").glob("*.tap"))[1]
staged_at, seen = [], 0

def come():
    global seen
    if not staged_at and len([*staging.rglob("*.tar")]) > 1:
        staged_at.append(target.stat().st_size)
    if staged_at and target.stat().st_size > staged_at[0] + (1 << 20):
        seen += 1
    if (at == "staged" and staged_at) or (at.isdecimal() and seen > int(at)):
        os.kill(os.getpid(), signal.SIGKILL)

def asked(_place):
    come()
    return False

def clock(_clock, tick=Clock.__call__):
    come()
    return tick(_clock)

Place._stopping, Clock.__call__ = asked, clock
audit(place)
"""
"""An audit in a process of its own; it ends itself once two packs are staged, or at a look at the clock behind that."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two disks and a tape of two cartridges; five packs are on all three, two of them wrong on the first cartridge."""
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    found = five_packs(tmp_path)
    spoil(found, 1, 3)
    return found


def states(place):
    repository = place.open()
    with repository.reading() as view:
        return [row.state for row in sorted(rows.every(view, CartridgeRow), key=lambda row: row.number)]


def on(place, number):
    """How many good copies that count lie on the cartridge of this number."""
    found = [row for row in copy_rows(place) if row.generation.startswith(f"{number:06d}-")]
    assert {row.state for row in found} <= {CopyState.GOOD}
    return len(found)


@pytest.mark.parametrize("at", ["staged", "0", "1", "2"])
def test_killed_while_it_evacuates_an_audit_has_lost_nothing_and_the_next_one_goes_on(place, at):
    arguments = [str(place.folder), at, place.clock.now.isoformat()]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, check=False, timeout=120)
    assert -signal.SIGKILL == died.returncode
    place.clock.pass_by(hours=1)
    assert ("evacuating", 5) == (states(place)[0], on(place, 1) + on(place, 2))

    looked = audit(place, repair=False)
    assert (15, 0) == (looked.coverage.verified, looked.coverage.damaged + looked.coverage.missing), looked
    assert {Code.CARTRIDGE_FAILING} == {one.code for one in looked.findings if one.is_open}
    assert "evacuating" == states(place)[0]

    assert 0 == audit(place).exit_status
    assert ("retired", 0, 5) == (states(place)[0], on(place, 1), on(place, 2))
    images(place.folder / "t1")[0].rename(place.folder / "burnt")
    last = audit(place)
    assert (0, 15) == (last.exit_status, last.coverage.verified)


def test_an_audit_that_is_told_to_stop_when_it_has_found_out_begins_no_evacuation(place, monkeypatch):
    monkeypatch.setattr(Place, "_stopping", lambda one: "suspect" in states(Place(one.folder, one.clock)))

    with pytest.raises(StoppedError):
        audit(place)

    monkeypatch.setattr(Place, "_stopping", lambda _: False)
    assert ("suspect", 5) == (states(place)[0], on(place, 1) + on(place, 2))
    assert 0 == audit(place).exit_status
    assert "retired" == states(place)[0]


def test_a_failing_cartridge_on_a_shelf_keeps_no_other_from_being_evacuated(place):
    one, other = images(place.folder / "t1")
    audit(place, repair=False)
    cartridges = Cartridges(count=3, capacity=64 * MIB)
    attachment.add(place.open(), "t1", f"tape+image://{place.folder / 't1'}", site="vault", cartridges=cartridges)
    take_out(place.open(), one.stem, location="A-1")
    submit_files(place, {f"c/{number}.bin": bytes([number]) * 200_000 for number in (7, 8)}, name="more")
    replicate(place.open(), nothing)
    assert 2 == on(place, 2)
    spoil(place, 7, 8, image=other)

    report = audit(place)

    assert ["suspect", "retired", ""] == states(place)
    assert 2 == on(place, 3)
    found = {one.cartridge: one.healed for one in report.findings if one.code is Code.CARTRIDGE_FAILING}
    assert {one.stem: False, other.stem: True} == found
