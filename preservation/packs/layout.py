"""Every name and number of the pack format, in one pure module; ``docs/format.md`` is the specification."""

import re

FORMAT = 1
RECORD = 1 << 18
"""A pack is padded with zeros to a multiple of this (256 KiB), the record size of tapes."""

TARGET_SIZE = 512 << 20
"""A pack is cut before the member that would take it past this many bytes; one larger object makes a larger pack."""

TARGET_MEMBERS = 65_536
"""A pack is cut after this many members, so that an index stays small."""

LONGEST_PATH = 3_900
"""A longer path (bytes) stands in the manifest only: POSIX systems open no path of 4,096 bytes."""

REPEATS_PER_LINK = 1_000
"""Each such repeat of one content is an ordinary member, so that no file system runs out of links."""

CONTENT = b"content/"
DIGEST = re.compile(r"[0-9a-f]{64}")


def content_name(digest: str) -> bytes:
    """Return the member name of an object."""
    return f"content/{digest[:2]}/{digest}".encode()


def package_folder(package: str, version: int) -> bytes:
    """Return the folder of one version of a package."""
    return f"packages/{package}/v{version}/".encode()


def files_folder(package: str, version: int) -> bytes:
    """Return the folder under which the files of a package version stand with their own names."""
    return package_folder(package, version) + b"files/"


def manifest_name(package: str, version: int) -> bytes:
    """Return the member name of a manifest."""
    return package_folder(package, version) + b"manifest.jsonl"


def readme_name(label: str) -> bytes:
    """Return the member name of a pack's first member."""
    return f"README-{label}.txt".encode()


def index_name(label: str) -> bytes:
    """Return the member name of a pack's last member."""
    return f"index-{label}.jsonl".encode()


def pack_label(package: str, version: int, number: int) -> str:
    """Return the label that tells the packs of one package version apart."""
    return f"{package}-v{version}-{number:05d}"


def link_target(name: bytes, digest: str) -> bytes:
    """Return the relative target of a symbolic link member ``name`` to an object that lies in another pack."""
    return b"../" * name.count(b"/") + content_name(digest)


def pack_key(fonds: str, pack: str) -> str:
    """Return the key of a pack on a store."""
    return f"packs/{fonds}/{pack[:2]}/{pack}.tar"


def index_key(fonds: str, pack: str) -> str:
    """Return the key of a pack's index beside it."""
    return f"indexes/{fonds}/{pack[:2]}/{pack}.jsonl"


def blocks_key(fonds: str, pack: str) -> str:
    """Return the key of a pack's block digests beside it."""
    return f"indexes/{fonds}/{pack[:2]}/{pack}.blocks"


def pack_of_key(key: str) -> tuple[str, str] | None:
    """Return (fonds, pack) if ``key`` is exactly the key of a pack, else nothing."""
    parts = key.split("/")
    if len(parts) != 4 or not parts[3].endswith(".tar"):  # noqa: PLR2004 - packs, fonds, two digits, name
        return None
    fonds, pack = parts[1], parts[3].removesuffix(".tar")
    return (fonds, pack) if DIGEST.fullmatch(pack) and pack_key(fonds, pack) == key else None
