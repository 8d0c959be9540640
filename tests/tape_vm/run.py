"""Runs the tape code against the real Linux ``st`` driver: in a guest of QEMU, whose drives are tgt, istgt, scsi_debug.

By hand: ``make test-tape-vm``. The kernel is fetched once and kept in the folder that ``MOCBAN_TAPE_VM`` names, else in
``mocban/tape-vm`` where caches are kept. Nothing is installed, and the guest sees the machine's files read-only.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

import kernel  # noqa: E402 - it lies beside this file
from tape_targets import SBIN, Istgt, Tgt  # noqa: E402 - the same

STORY = ("vm_drive.py", "vm_trouble.py", "vm_story.py", "vm_contract.py", "vm_lost.py")
CARTRIDGES = {"CLN001L1": (1, "clean"), "VT0001L9": 64, "VT0002L9": 64}
CAPACITY, SMALL = 64, 16
"""MiB of the cartridges in the drives that have no changer."""

PROGRAMS = {
    "apt-get": "apt",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "istgt": "istgt",
    "modprobe": "kmod",
    "mt-st": "mt-st",
    "mtx": "mtx",
    "b3sum": "b3sum",
    "qemu-system-x86_64": "qemu-system-x86",
    "tar": "tar",
    "tgtd": "tgt",
    "tgtadm": "tgt",
    "tgtimg": "tgt",
}
"""What must be installed, and the Debian package that it comes with."""

SECONDS = 3600
"""After which the guest is ended: it emulates a processor, and needs many minutes."""

HIDDEN = (Path("/mnt"), Path("/run"))
"""Where the guest has folders of its own, so that nothing of this machine can be used from there."""


def missing() -> list[str]:
    """Return what this machine lacks, as lines for people."""
    found = [
        f"{name} is not installed (Debian: {package})"
        for name, package in PROGRAMS.items()
        if shutil.which(name) is None
    ]
    if os.uname().machine != "x86_64":
        found.append("the guest's kernel is one for x86_64")
    if os.geteuid() != 0:
        found.append("tgtd and the guest's view of this machine's files need root")
    if not list(Path("/usr/lib").glob("*/qemu/block-iscsi.so")):
        found.append("QEMU has no iSCSI client (Debian: qemu-block-extra)")
    if not kernel.KEYRING.exists():
        found.append(f"{kernel.KEYRING} is not there (Debian: debian-archive-keyring)")
    needed = (ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    unseen = [path for path in needed if any(path.is_relative_to(folder) for folder in HIDDEN)]
    found += [f"the guest does not see {path}: put it elsewhere" for path in unseen]
    return found


def main() -> int:
    """Fetch, build, boot, report; 0 if everything in the guest passed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the targets are to be stopped
    os.environ["PATH"] = SBIN
    lacks = missing()
    if lacks:
        print("NOT RUN: the st driver was not tested, because", *lacks, sep="\n  ", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mocban-tape-vm-") as name:
        folder = Path(name)
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(os.environ.get("MOCBAN_TAPE_VM") or caches / "mocban/tape-vm").resolve()
        if cache.is_relative_to(ROOT):
            print(f"NOT RUN: {cache} is inside the project", file=sys.stderr)
            return 2
        started = time.monotonic()
        try:
            files = kernel.fetched(cache / "kernel")
        except (subprocess.CalledProcessError, LookupError) as error:
            said = getattr(error, "stderr", "")
            print("NOT RUN: no kernel could be fetched by apt:", error, said, sep="\n  ", file=sys.stderr)
            return 2
        print(f"Linux {(files / 'version').read_text()}, {time.monotonic() - started:.0f} s", flush=True)
        initramfs = kernel.make_initramfs(files, folder)
        work = folder / "work"
        work.mkdir()
        (work / "guest.sh").write_text(_script())
        tgt = Tgt(folder / "targets/tgt", CARTRIDGES)
        try:
            tgt.set(2, "readonly=1")  # whatever is in the second drive is write protected
            istgt = Istgt(folder / "targets/istgt", CAPACITY, SMALL)
            try:
                units = [tgt.address(1), tgt.address(3), istgt.address(1), istgt.address(2), tgt.address(2)]
                status = _boot(files / "vmlinuz", initramfs, folder, units)
            finally:
                istgt.stop()
        finally:
            tgt.stop()
    print(f"{'passed' if status == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return status


def _script() -> str:
    path = f"PATH={shlex.quote(os.environ['PATH'])}:/usr/bin:/bin"
    options = ["-v", "-p", "no:cacheprovider", "--basetemp=/mnt/scratch/pytest", "--durations=8"]
    options += ["-o", "faulthandler_timeout=200", "--color=no", "--tb=short", *sys.argv[1:]]
    command = (sys.executable, "-B", "-m", "pytest", *options, *(HERE / name for name in STORY))
    settings = f"export {path} LANG=C.UTF-8 HOME=/mnt/scratch TMPDIR=/mnt/scratch"
    return f"{settings}\ncd {shlex.quote(str(ROOT))}\nexec {shlex.join(map(str, command))}\n"


def _boot(image: Path, initramfs: Path, folder: Path, units: list[str]) -> int:
    """Run the guest, show what it says, and return the status of what ran in it (3 if it did not come so far)."""
    command = ["qemu-system-x86_64", "-machine", f"q35,accel={os.environ.get('ACCEL', 'tcg')}", "-cpu", "max"]
    command += ["-m", "2048", "-smp", "1", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]
    command += ["-kernel", str(image), "-initrd", str(initramfs)]
    command += ["-append", "console=ttyS0 quiet panic=-1 loglevel=4 mitigations=off"]
    shared = "security_model=none,mount_tag"
    command += ["-virtfs", f"local,path=/,{shared}=host,readonly=on,multidevs=remap"]
    command += ["-virtfs", f"local,path={folder / 'work'},{shared}=work,readonly=on"]
    command += ["-virtfs", f"local,path={folder / 'targets'},{shared}=targets"]
    command += ["-device", "virtio-scsi-pci,id=s0"]
    for number, address in enumerate(units, 1):
        command += ["-drive", f"if=none,id=d{number},format=raw,file=iscsi://{address}"]
        command += ["-device", f"scsi-generic,drive=d{number},bus=s0.0,scsi-id={number}"]
    status = 3
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as guest:
        assert guest.stdout is not None
        timer = threading.Timer(SECONDS, guest.kill)
        timer.start()
        for line in guest.stdout:
            print(line.rstrip(), flush=True)
            if line.startswith("GUEST-RC "):
                status = int(line.split()[1])
        timer.cancel()
    return status


if __name__ == "__main__":
    sys.exit(main())
