"""Where a file really lies: its file system, the disks below, and how deep a read of it can go."""

import os
from contextlib import suppress
from dataclasses import dataclass

from storage_backends.backend import Reach, Whereabouts

LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "iso9660"}
    | {"jfs", "nilfs2", "ntfs3", "reiserfs", "udf", "vfat", "xfs"}
)
"""File systems of a local disk whose only cache in this machine is the page cache."""

REMOTE = frozenset({"9p", "afs", "ceph", "cifs", "nfs", "nfs4", "smb3", "virtiofs"})
"""File systems of another machine, whose caches we cannot see."""

IN_MEMORY = frozenset({"tmpfs", "ramfs"})

_BLOCKS = "/sys/dev/block"
_NESTING = 8


@dataclass(frozen=True, slots=True)
class Mount:
    """A row of ``/proc/self/mountinfo`` (proc(5)): ``number`` is ``major:minor`` of the file system's device."""

    number: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Depth:
    """What a read through an empty page cache proves, and whether O_DIRECT proves the medium."""

    through_cache: Reach
    direct: bool


def mount_of(file: int) -> Mount:
    """Return the mount that the open ``file`` was reached through; its kind is empty where that cannot be seen."""
    with suppress(OSError):
        with open(f"/proc/self/fdinfo/{file}", encoding="ascii") as rows:
            number = next((row.split()[1] for row in rows if row.startswith("mnt_id:")), "")
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as rows:
            for row in rows:
                fields = row.split()
                if fields[0] == number:
                    kind, source = fields[fields.index("-") + 1 :][:2]
                    return Mount(fields[2], kind, source)
    return Mount(_number(os.fstat(file).st_dev), "", "")


def depth_of(file: int) -> Depth:
    """Return how deep a fresh read of ``file`` can go.

    Of a loop device only one that reads past the cache of the file below counts as a medium. On an overlay, mincore
    looks at the real file, but O_DIRECT may end in a file system in memory, so only an empty cache counts.
    """
    mount = mount_of(file)
    if mount.kind in LOCAL and not _is_cached_loop(mount):
        return Depth(Reach.MEDIUM, direct=True)
    if mount.kind in REMOTE:
        return Depth(Reach.PROVIDER, direct=False)
    return Depth(Reach.MEDIUM if mount.kind == "overlay" else Reach.HOST_CACHE, direct=False)


def whereabouts_of(file: int) -> Whereabouts:
    """Return the file system and the disks of the open ``file``."""
    mount = mount_of(file)
    return Whereabouts(f"{mount.kind} {mount.number} {mount.source}", "+".join(sorted(_disks(mount))))


def _disks(mount: Mount) -> set[str]:
    if mount.kind in IN_MEMORY:
        return {"memory"}
    if mount.kind in REMOTE:
        return {mount.source.partition(":")[0] if mount.kind.startswith("nfs") else mount.source}
    number = mount.number
    if number.startswith("0:"):
        try:
            number = _number(os.stat(mount.source).st_rdev)
        except OSError:
            return {f"{mount.kind} {mount.number}"}
    return _below(number, _NESTING)


def _below(number: str, depth: int) -> set[str]:
    """Return the names of the disks under the block device ``number``: whole disks, not partitions or volumes."""
    try:
        path = os.path.realpath(f"{_BLOCKS}/{number}", strict=True)
        if os.path.exists(f"{path}/partition"):
            path = os.path.dirname(path)
        name = os.path.basename(path)
        lower = _lower(path) if depth else []
    except OSError:
        return {number}
    return set().union(*(_below(each, depth - 1) for each in lower)) if lower else {name}


def _lower(path: str) -> list[str]:
    """Return the numbers of the devices that the device at ``path`` in sysfs is made of."""
    slaves = f"{path}/slaves"
    names = os.listdir(slaves) if os.path.isdir(slaves) else []
    lower = [_text(f"{slaves}/{name}/dev") for name in names]
    if os.path.exists(f"{path}/loop/backing_file"):
        lower.append(_number(os.stat(_text(f"{path}/loop/backing_file")).st_dev))
    return lower


def _is_cached_loop(mount: Mount) -> bool:
    dio = f"{_BLOCKS}/{mount.number}/loop/dio"
    return os.path.exists(dio) and _text(dio) != "1"


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().strip()
