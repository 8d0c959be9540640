"""Virtual tape libraries on loopback: tgt (two drives, a changer, no LOCATE) and istgt (one drive with LOCATE).

Both are started on free ports and stopped by the process id that they were started with.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from storage_backends.tape import iscsi, scsi
from storage_backends.tape.addresses import address_of
from storage_backends.tape.iscsi import IscsiUnit

NODE = "iqn.2026-01.org.example"
MIB = 1 << 20
SBIN = "/usr/sbin:/sbin:" + os.environ.get("PATH", "")
FIRST_SLOT, MAILBOX = 1000, 900
PATIENCE = 20


def needs(*programs):
    """Skip by name where a target, or libiscsi, is not there; a target wants to be root."""
    for program in programs:
        if shutil.which(program, path=SBIN) is None:
            pytest.skip(f"{program} is not installed")
    try:
        iscsi._loaded()
    except OSError:
        pytest.skip("libiscsi7 is not installed")
    if os.geteuid() != 0:
        pytest.skip("a target needs root")


class Kept:
    """A connection that its user cannot close: it takes istgt a second to let anybody in."""

    def __init__(self, unit):
        self._unit, self.name, self.command, self.connect = unit, unit.name, unit.command, unit.connect

    def close(self):
        pass


@contextlib.contextmanager
def connected_once(monkeypatch, *addresses):
    """Let whoever asks for a connection to one of ``addresses`` have the same."""
    units = {address_of(address): IscsiUnit(address_of(address)) for address in addresses}
    for unit in units.values():
        unit.connect()
    monkeypatch.setattr("storage_backends.tape.hardware.IscsiUnit", lambda address: Kept(units[address]))
    try:
        yield
    finally:
        for unit in units.values():
            unit.close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def waited_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": SBIN}, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Tgt:
    """tgtd with drives at elements 1 and 2 (LUN 1 and 2), a changer (LUN 3), slots from 1000 and a mailbox 900."""

    def __init__(self, folder, cartridges, *, slots=8):
        """``cartridges`` are barcode: MiB, or barcode: (MiB, type)."""
        needs("tgtd", "tgtadm", "tgtimg")
        self.folder, self.slots = Path(folder), slots
        self.media, self.blank = self.folder / "media", self.folder / "blank"
        self.cartridges = {
            name: size if isinstance(size, tuple) else (size, "data") for name, size in cartridges.items()
        }
        self.port = free_port()
        self.control = str(self.port % (1 << 15))  # larger ones are not allowed
        self._daemon = None
        for place in (self.media, self.blank):
            place.mkdir(parents=True)
        for barcode, (size, kind) in self.cartridges.items():
            self._image(self.blank / barcode, barcode, size, kind)
        self._image(self.folder / "none", "NONE", 1, "clean")  # tgt wants some image when a drive is made
        self.erase()
        self.start()

    def address(self, unit):
        return f"127.0.0.1:{self.port}/{NODE}:vtl/{unit}"

    def url(self, folder, drive=1):
        return f"tape+iscsi://{folder}?drive={self.address(drive)}&changer={self.address(3)}"

    def start(self):
        (self.folder / "changer").write_bytes(bytes(1024))
        with open(self.folder / "log", "ab") as log:
            self._daemon = subprocess.Popen(
                ["tgtd", "-C", self.control, "-f", "--iscsi", f"portal=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": SBIN},
            )
        waited_for(lambda: answers(self.port), "tgtd")
        self._tell("--op", "new", "--mode", "target", "--tid", "1", "-T", f"{NODE}:vtl")
        for unit in (1, 2):
            self._add(unit, self.folder / "none", "tape")
            self.set(unit, f"vendor_id=TEST,product_id=TAPE,scsi_sn=DRV000{unit}")
            self.set(unit, "online=0")
        self._add(3, self.folder / "changer", "changer")
        self.set(3, f"media_home={self.media}")
        self.set(3, "element_type=4,start_address=1,quantity=2")
        for unit in (1, 2):
            self.set(3, f"element_type=4,address={unit},tid=1,lun={unit}")
        self.set(3, "element_type=1,start_address=16,quantity=1")
        self.set(3, f"element_type=2,start_address={FIRST_SLOT},quantity={self.slots}")
        self.set(3, f"element_type=3,start_address={MAILBOX},quantity=1")
        for slot, barcode in enumerate(self.cartridges, FIRST_SLOT):
            self.set(3, f"element_type=2,address={slot},barcode={barcode},sides=1")
        self._tell("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def set(self, unit, values):
        self._tell("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", str(unit), "--params", values)

    @property
    def running(self):
        return self._daemon is not None

    def kill(self):
        """End it as a power cut would; it ignores a friendly signal while somebody is logged in."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
            self._daemon = None

    stop = close = kill

    def pause(self, *, ends=False):
        self._daemon.send_signal(signal.SIGCONT if ends else signal.SIGSTOP)

    def restart(self):
        self.kill()
        self.start()

    def erase(self):
        """Make every cartridge blank again; none may be in a drive."""
        for barcode in self.cartridges:
            shutil.copyfile(self.blank / barcode, self.media / barcode)

    def put_back(self):
        """Bring every cartridge out of the drives, to the slot where the target would have it after a restart."""
        changer = IscsiUnit(address_of(self.address(3)))
        changer.connect()
        home = dict(zip(self.cartridges, range(FIRST_SLOT, FIRST_SLOT + self.slots), strict=False))
        try:
            for _ in range(2):
                there = [
                    one
                    for kind in (scsi.ElementKind.DRIVE, scsi.ElementKind.SLOT, scsi.ElementKind.MAILBOX)
                    for one in self._elements(changer, kind)
                    if one.full and home[one.barcode] != one.address
                ]
                for one in there:
                    changer.command(scsi.move_medium(one.address, home[one.barcode]))
        finally:
            changer.close()

    def move(self, source, destination):
        changer = IscsiUnit(address_of(self.address(3)))
        changer.connect()
        changer.command(scsi.TEST_UNIT_READY)
        answer = changer.command(scsi.move_medium(source, destination))
        changer.close()
        assert answer.status == scsi.GOOD, answer

    @staticmethod
    def _elements(changer, kind):
        for _ in range(2):
            answer = changer.command(scsi.read_element_status(kind), expected=scsi.LONGEST_ANSWER - 1)
            if answer.status == scsi.GOOD:
                break
        return scsi.elements_of(answer.data)

    def images(self):
        return [self.media / barcode for barcode in self.cartridges]

    def _image(self, path, barcode, size, kind):
        run("tgtimg", "--op", "new", "--device-type", "tape", "--barcode", barcode, "--size", str(size),
            "--type", kind, "--file", str(path))  # fmt: skip

    def _add(self, unit, path, kind):
        self._tell("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(unit), "-b", str(path),
                   "--device-type", kind)  # fmt: skip

    def _tell(self, *command):
        run("tgtadm", "-C", self.control, "--lld", "iscsi", *command)


CONFIGURATION = """\
[Global]
  NodeBase "{node}"
  PidFile {folder}/pid
  AuthFile {folder}/auth.conf
  MediaDirectory {folder}
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod Auto
  MaxSessions 16
  MaxConnections 4
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod CHAP Mutual
  AuthGroup AuthGroup1
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.1
"""

UNIT = """\
[LogicalUnit{number}]
  TargetName tape{number}
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UseDigest Auto
  UnitType Tape
  UnitOnline Yes
  LUN0 Removable "rw" {path} {size}MB
"""


class Istgt:
    """istgt with one drive, and a cartridge in it, for each of ``sizes`` in MiB.

    It takes a second to log in, and seconds to stop; an image must be there, and blank, when it starts.
    """

    def __init__(self, folder, *sizes):
        needs("istgt")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        text = CONFIGURATION.format(node=NODE, folder=self.folder, control=free_port(), port=self.port)
        for number, size in enumerate(sizes, 1):
            text += UNIT.format(number=number, path=self.folder / f"{number}.vt", size=size)
        (self.folder / "auth.conf").write_text('[AuthGroup1]\n  Auth "a" "secret0123456" "b" "secret6543210"\n')
        (self.folder / "auth.conf").chmod(0o600)
        (self.folder / "istgt.conf").write_text(text)
        self._log = self.folder / "log"
        with open(self._log, "wb") as log:
            self._daemon = subprocess.Popen(
                ["istgt", "-D", "-c", str(self.folder / "istgt.conf"), "-p", str(self.folder / "pid")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": SBIN},
                start_new_session=True,
            )
        last = f"LU{len(sizes)}: LUN0 ".encode()
        waited_for(lambda: last in self._log.read_bytes() and answers(self.port), "istgt")

    def address(self, number=1):
        return f"127.0.0.1:{self.port}/{NODE}:tape{number}/0"

    def url(self, folder, number=1):
        return f"tape+iscsi://{folder}?drive={self.address(number)}"

    def images(self, number=1):
        return [self.folder / f"{number}.vt"]

    def kill(self):
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
            self._daemon = None

    stop = close = kill
