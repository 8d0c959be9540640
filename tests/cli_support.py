"""The command line as people and scripts meet it: in this process for speed, in one of its own where that matters."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from submission_support import write

from commands.running import run

ROOT = Path(__file__).parent.parent
FONDS = "TH-2024"
FILES = {
    "thư mục/tờ trình.txt": "Kính gửi Ủy ban nhân dân".encode(),
    "a.txt": b"first",
    "b.bin": bytes(range(256)) * 40,
    "trống/": None,
    "rỗng.txt": b"",
}


@dataclass(frozen=True)
class Said:
    """How a call ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def mocban(*arguments):
    """Call the command in this process."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    try:
        status = run([str(argument) for argument in arguments])
        said = []
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            said.append(stream.buffer.getvalue().decode())
    finally:
        sys.stdout, sys.stderr = streams
    return Said(int(status), *said)


def mocban_process(*arguments, environment=None, **more):
    """Call the command in a process of its own; ``environment`` is all that it has of one."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(os.fspath, arguments)],
        capture_output=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"], **(environment or {})},
        **more,
    )
    out, err = result.stdout.decode("utf-8", "replace"), result.stderr.decode("utf-8", "replace")
    return Said(result.returncode, out, err)


@dataclass(frozen=True)
class Archive:
    """A repository with stores beside it."""

    folder: Path

    @property
    def path(self):
        return self.folder / "archive"

    def __call__(self, *arguments):
        return mocban("-C", self.path, *arguments)

    def json(self, *arguments):
        said = self(*arguments, "--json")
        assert said.out, said.err
        return said.json

    def submission(self, files=None, name="submission"):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        write(folder, FILES if files is None else files)
        return folder

    def ingest(self, files=None, *more, name="submission"):
        said = self("ingest", self.submission(files, name), "--fonds", FONDS, "--no-identify", "--json", *more)
        assert said.status == 0, said.err
        return said.json

    def packs(self, store):
        return sorted((self.folder / store / "packs").rglob("*.tar"))


def archive(folder, stores=("d1", "d2")):
    """Make a repository by the command line alone."""
    made = Archive(folder)
    assert mocban("init", made.path).status == 0
    for name in stores:
        assert made("store", "add", name, f"file://{folder / name}", "--site", f"site-{name}").status == 0
    assert made("fonds", "add", FONDS, "--title", "UBND xã Tân Hòa").status == 0
    return made


def damage(path, offset=-1, mask=0xFF):
    """Change one byte of a pack as failing hardware does."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)
    path.chmod(0o444)


def snapshot(*folders):
    """Everything that a reader could change: names, modes, sizes, times of change."""
    found = {}
    for folder in folders:
        for place, names, files in os.walk(folder):
            for name in [".", *names, *files]:
                seen = os.lstat(os.path.join(place, name))
                found[os.path.join(place, name)] = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    return found
