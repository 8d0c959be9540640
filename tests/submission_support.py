"""Submissions for tests: folders, bags, and archives that no honest program writes."""

import hashlib
import io
import os
import struct
import tarfile
import zlib
from contextlib import contextmanager

from preservation.submission import open_submission
from preservation.submission.entries import Quotas, SubmittedFile

QUOTAS = Quotas()


def write(root, files):
    """Write files (path: bytes) and folders (path ending in a slash) below ``root``."""
    for path, data in files.items():
        raw = os.path.join(os.fsencode(root), os.fsencode(path))
        if raw.endswith(b"/"):
            os.makedirs(raw, exist_ok=True)
            continue
        if not os.path.isdir(os.path.dirname(raw)):
            os.makedirs(os.path.dirname(raw))
        with open(raw, "wb") as file:
            file.write(data)
    return str(root)


@contextmanager
def opened(path, staging, *, quotas=QUOTAS, checksums=None):
    submission = open_submission(
        str(path), staging=str(staging), quotas=quotas, checksums=None if checksums is None else str(checksums)
    )
    try:
        yield submission
    finally:
        submission.close()
        assert left_in(staging) == []


def left_in(staging):
    return sorted(os.listdir(staging)) if os.path.isdir(staging) else []


def paths(submission):
    return [entry.path for entry in submission.entries()]


def contents(submission):
    """Everything in the submission, read: path to bytes, and None for empty folders."""
    return {
        entry.path: submission.read_small(entry, 1 << 23) if isinstance(entry, SubmittedFile) else None
        for entry in submission.entries()
    }


def file_at(submission, path):
    return next(entry for entry in submission.entries() if entry.path == path)


def codes(submission):
    return [remark.code for remark in submission.warnings]


def manifest(files, algorithm="sha256"):
    """The text of a manifest of ``files`` (path: bytes)."""
    lines = [b"%s  %s\n" % (hashlib.new(algorithm, data).hexdigest().encode(), path) for path, data in files.items()]
    return b"".join(lines)


def bag(root, payload, *, version="1.0", algorithms=("sha256",), tags=None, listed=None, encoding="UTF-8"):
    """Write a bag of ``payload`` (path: bytes); ``listed`` is what its manifests say, if that is not the truth."""
    payload = {os.fsencode(path): data for path, data in payload.items()}
    listed = payload if listed is None else {os.fsencode(path): data for path, data in listed.items()}
    files = {
        b"data/": None,
        **payload,
        b"bagit.txt": f"BagIt-Version: {version}\nTag-File-Character-Encoding: {encoding}\n".encode(),
    }
    for algorithm in algorithms:
        files[f"manifest-{algorithm}.txt".encode()] = manifest(listed, algorithm)
    for path, data in (tags or {}).items():
        files[os.fsencode(path)] = data
    return write(root, {path: data for path, data in files.items() if path.endswith(b"/") or data is not None})


def tar_bytes(members, mode="w", form=tarfile.PAX_FORMAT):
    """A tar archive of (name, bytes or None for a folder) or ready TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.mtime = 1_600_000_000.5 if form == tarfile.PAX_FORMAT else 1_600_000_000
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_header(name, size=0, kind=b"0", *, magic=b"ustar\x0000"):
    """One tar header, of any kind, with a right checksum."""
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = b"0000644\0"
    header[124:136] = b"%011o\0" % size
    header[136:148] = b"%011o\0" % 1_600_000_000
    header[156:157] = kind
    header[257 : 257 + len(magic)] = magic
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(records):
    """A pax header of (key, value) as a member ready to go before another."""
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        body += b"%d %s=%s\n" % (length, key, value)
    return tar_header(b"pax", len(body), b"x") + body + bytes(-len(body) % 512)


class Zip:
    """Writes zip archives field by field, so that each field can be a lie."""

    def __init__(self):
        self.out = bytearray()
        self.central = []

    def add(self, name, data=b"", *, method=0, local=None, central=None, mode=0o100644, made_by=3, extra=b""):
        """Add a member; ``local`` and ``central`` replace fields (name, flags, method, crc, packed, size, offset)."""
        packed = data
        if method == 8:
            engine = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = engine.compress(data) + engine.flush()
        truth = {
            "name": name,
            "flags": 0x800,
            "method": method,
            "crc": zlib.crc32(data),
            "packed": len(packed),
            "size": len(data),
            "offset": len(self.out),
        }
        self.out += local_header({**truth, **(local or {})}) + packed
        self.central.append(central_header({**truth, **(central or {})}, mode, made_by, extra))
        return self

    def done(self, *, comment=b"", count=None, shift=0):
        offset, listing = len(self.out), b"".join(self.central)
        count = len(self.central) if count is None else count
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(listing), offset + shift, len(comment))
        return bytes(self.out) + listing + end + comment


def local_header(f):
    head = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 20, f["flags"], f["method"], 0, 0x21, f["crc"], f["packed"], f["size"],
        len(f["name"]), 0,
    )  # fmt: skip
    return head + f["name"]


def central_header(f, mode=0o100644, made_by=3, extra=b""):
    head = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", made_by << 8 | 20, 20, f["flags"], f["method"], 0, 0x21, f["crc"], f["packed"],
        f["size"], len(f["name"]), len(extra), 0, 0, 0, mode << 16, f["offset"],
    )  # fmt: skip
    return head + f["name"] + extra


def overlapping_zip(files, kernel_size):
    """A bomb in which each member quotes the header of the next and shares its data (D. Fifield, WOOT 2019)."""
    unpacked = bytes(kernel_size)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    out, fields = engine.compress(unpacked) + engine.flush(), []
    for number in reversed(range(files)):
        f = {"name": b"%06d" % number, "flags": 0, "method": 8}
        f |= {"crc": zlib.crc32(unpacked), "packed": len(out), "size": len(unpacked)}
        header = local_header(f)
        out = header + out
        if number:  # a stored block of the one before quotes this header; then its stream goes on as ours
            out = b"\x00" + struct.pack("<2H", len(header), len(header) ^ 0xFFFF) + out
            unpacked = header + unpacked
        fields.insert(0, f)
    listing = b"".join(central_header({**f, "offset": out.index(local_header(f))}) for f in fields)
    return out + listing + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, files, files, len(listing), len(out), 0)
