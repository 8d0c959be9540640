"""A Debian kernel for the guest, fetched by apt and unpacked into a folder, not installed; the guest's first files."""

import gzip
import lzma
import re
import shutil
import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "trixie-backports"
"""Where a kernel of Linux 6.15 or later comes from: since then scsi_debug has a tape drive."""

MODULES = ("virtio_pci", "virtio_scsi", "9p", "9pnet_virtio", "overlay", "st", "sg", "scsi_debug")


def fetched(folder: Path) -> Path:
    """Return the folder with the kernel (``vmlinuz``, ``version``, ``root``); it is fetched unless it is there."""
    if (folder / "version").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("apt/lists/partial", "apt/cache/archives/partial", "packages", "root/lib"):
        (folder / name).mkdir(parents=True)
    options = _apt_options(folder / "apt")
    run("apt-get", *options, "-qq", "update")
    depends = run("apt-cache", *options, "depends", "linux-image-amd64").stdout
    found = re.search(r"Depends: linux-image-([0-9]\S*)", depends)
    if found is None:
        raise LookupError(f"no kernel is in {SUITE}")
    version = found[1]
    try:
        names = (f"linux-binary-{version}", f"linux-modules-{version}")
        run("apt-get", *options, "-qq", "download", *names, cwd=folder / "packages")
    except subprocess.CalledProcessError:  # until Linux 6.x both were in one package
        run("apt-get", *options, "-qq", "download", f"linux-image-{version}", cwd=folder / "packages")
    for package in sorted((folder / "packages").glob("*.deb")):
        run("dpkg-deb", "--extract", package, folder / "root")
    modules = next(path for path in (folder / "root").glob("**/modules") if (path / version).is_dir())
    if modules != folder / "root/lib/modules":
        (folder / "root/lib/modules").symlink_to(modules)
    run("depmod", "-b", folder / "root", version)
    shutil.copy(next((folder / "root").glob("**/vmlinuz*")), folder / "vmlinuz")
    shutil.rmtree(folder / "packages")
    (folder / "version").write_text(version)
    return folder


def _apt_options(state: Path) -> list[str]:
    """Return options for an apt state of our own with the mirror that this machine uses anyway."""
    sites = run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian").stdout
    mirrors = [site for site in sites.split() if "security" not in site]
    if not mirrors:
        raise LookupError("apt here has no mirror of Debian")
    mirror = mirrors[0]
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
    values = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Dir::State::status": "/var/lib/dpkg/status",
        "APT::Sandbox::User": "root",
    }
    return [part for name, value in values.items() for part in ("-o", f"{name}={value}")]


def make_initramfs(kernel: Path, work: Path) -> Path:
    """Make the guest's first files: busybox, the modules and ``init``; return the archive."""
    tree = work / "initramfs"
    for name in ("bin", "mods", "proc", "sys", "dev", "host"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    order = []
    for path in _module_files(kernel):
        name = path.name.partition(".ko")[0]
        if name not in order:
            order.append(name)
            (tree / "mods" / f"{name}.ko").write_bytes(_unpacked(path))
    (tree / "mods/order").write_text("\n".join(order) + "\n")
    shutil.copy(Path(__file__).parent / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=subprocess.PIPE, check=True
    ).stdout
    (work / "initrd.gz").write_bytes(gzip.compress(archive, 1))
    return work / "initrd.gz"


def _module_files(kernel: Path) -> list[Path]:
    version = (kernel / "version").read_text()
    found = []
    for module in MODULES:
        command = ("modprobe", "-d", kernel / "root", "-S", version, "--show-depends", module)
        shown = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        found += [Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod")]
    return found  # what is not shown is built in


def _unpacked(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout
    return path.read_bytes()


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program; what it says is kept."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd)
