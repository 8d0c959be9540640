"""Runs a tool where it reaches no network, no file but its own folder, and ends in time with all that it started.

The first choice is bubblewrap: the tool sees a read-only system and one folder. Without it `unshare` of util-linux
takes away network and processes, but files stay in sight as the user's permissions allow. Without both nothing is run
unless somebody asked for that.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from storage_backends.errors import MocbanError, marked

SEARCH = "/usr/local/bin:/usr/bin:/bin"
"""Where tools are looked for unless the caller names other folders."""

OUTPUT_LIMIT = 256 << 20
"""Bytes that a tool may write to its standard output."""

INSIDE = "/job"
"""What the folder is called inside the strongest isolation."""

Kind = Literal["bubblewrap", "unshare", "unshare-user", "none"]

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = (
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ghostscript",
    "/etc/ImageMagick-6",
    "/etc/ImageMagick-7",
    "/etc/ld.so.cache",
    "/etc/libreoffice",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/papersize",
    "/etc/passwd",
    "/var/cache/fontconfig",
    "/var/lib/ghostscript",
)
"""What tools read of a system besides its programs; none of it holds a secret."""

_UNSHARE = ("unshare", "--net", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
Candidates = tuple[tuple[Kind, tuple[str, ...]], ...]
CANDIDATES: Candidates = (
    ("bubblewrap", ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true")),
    ("unshare", (*_UNSHARE, "true")),
    ("unshare-user", (*_UNSHARE[:1], "--user", "--map-root-user", *_UNSHARE[1:], "true")),
)
_PROBE_SECONDS = 20.0
_TOO_LONG = 125
_OWN = "/usr/bin:/bin:/usr/sbin:/sbin"


class NoIsolationError(MocbanError):
    """Tools cannot be shut in on this machine, and nobody asked to run them all the same."""

    template = marked(
        "Tools that read foreign files cannot be shut in here: neither bubblewrap nor unshare works. "
        "Install the package bubblewrap, or let the kernel make user namespaces"
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one start of a tool may use: seconds by the clock and of the processor, bytes of memory and of each file."""

    seconds: float = 600.0
    cpu_seconds: int = 600
    memory: int = 6 << 30
    file_bytes: int = 32 << 30

    def __post_init__(self) -> None:
        if min(self.seconds, self.cpu_seconds, self.memory, self.file_bytes) <= 0:
            raise ValueError("limits are above zero")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How tools are shut in, and the folders in which they are found, in order, between colons."""

    kind: Kind
    search: str = SEARCH


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a tool ended: its status (negative: the signal), whether it ran out of time, and what it printed."""

    status: int
    late: bool
    output: bytes


def sandbox(search: str = SEARCH, *, unisolated: bool = False, candidates: Candidates = CANDIDATES) -> Sandbox:
    """The strongest isolation that works here, tried in the order of the candidates.

    Raises:
        NoIsolationError: none works, and `unisolated` does not allow to go without.
    """
    for kind, command in candidates:
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [_own(command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                return Sandbox(kind, search)
    if not unisolated:
        raise NoIsolationError
    return Sandbox("none", search)


def found(tool: str, place: Sandbox) -> str | None:
    """The path of a program on the sandbox's search path, or none."""
    return shutil.which(tool, path=place.search)


def folder_inside(folder: str, place: Sandbox) -> str:
    """What a tool in the sandbox calls the folder."""
    return INSIDE if place.kind == "bubblewrap" else os.path.abspath(folder)


def run(argv: Sequence[str], folder: str, place: Sandbox, limits: Limits) -> Outcome:
    """Run a program with the folder as its working directory, and wait for its end or make one.

    `argv[0]` is a name on the search path or an absolute path. Nothing of our environment reaches the program. Its
    standard error is dropped, as it may quote what must not be kept. When this returns, all that it started has ended
    (without isolation: all of its process group).
    """
    for name in ("home", "tmp"):
        os.makedirs(os.path.join(folder, name), mode=0o700, exist_ok=True)
    program = argv[0] if os.path.isabs(argv[0]) else found(argv[0], place)
    if program is None:
        return Outcome(127, late=False, output=b"")
    command = [*_walls(folder, place), *_bounds(limits), program, *argv[1:]]
    inside = folder_inside(folder, place)
    environment = {
        "PATH": place.search,
        "HOME": os.path.join(inside, "home"),
        "TMPDIR": os.path.join(inside, "tmp"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    with tempfile.TemporaryFile(dir=folder) as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        late = True
        try:
            process.wait(limits.seconds)
            late = False
        except subprocess.TimeoutExpired:
            pass
        finally:
            if late or place.kind != "bubblewrap":  # which ends what is left when its first process does
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed.seek(0)
        output = printed.read(OUTPUT_LIMIT + 1)
    if len(output) > OUTPUT_LIMIT:  # half an answer could equal half of another
        return Outcome(_TOO_LONG, late, b"")
    return Outcome(process.returncode, late, output)


def _bounds(limits: Limits) -> list[str]:
    return [
        _own("prlimit"),
        f"--as={limits.memory}",
        f"--cpu={limits.cpu_seconds}",
        f"--fsize={limits.file_bytes}",
        "--core=0",
        "--nofile=1024",
        "--",
    ]


def _walls(folder: str, place: Sandbox) -> list[str]:
    if place.kind == "none":
        return []
    if place.kind == "unshare":
        return [_own(_UNSHARE[0]), *_UNSHARE[1:]]
    if place.kind == "unshare-user":
        return [_own(_UNSHARE[0]), "--user", "--map-root-user", *_UNSHARE[1:]]
    walls = [_own("bwrap"), "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    walls += ["--proc", "/proc", "--dev", "/dev", "--bind", os.path.join(folder, "tmp"), "/tmp"]  # noqa: S108 - its own
    for path in _SYSTEM:
        if os.path.islink(path):
            walls += ["--symlink", os.readlink(path), path]
        else:
            walls += ["--ro-bind-try", path, path]
    for path in (*_SETTINGS, *_python(), *_beyond(place.search)):
        walls += ["--ro-bind-try", path, path]
    return [*walls, "--bind", folder, INSIDE, "--chdir", INSIDE]


def _own(program: str) -> str:
    """The system's own program, never one from the search path, on which anybody's tools may lie."""
    return shutil.which(program, path=_OWN) or program


def _beyond(search: str) -> list[str]:
    """The folders of the search path that are not part of the system."""
    system = tuple(f"{one}/" for one in _SYSTEM)
    return [path for path in search.split(":") if path and not f"{path}/".startswith(system)]


def _python() -> list[str]:
    """What our own conversions need: the interpreter, its libraries, our packages, and not what lies beside them."""
    here = package_root()
    ours = [os.path.join(here, name) for name in ("preservation", "storage_backends")]
    alone = os.path.basename(here) not in {"site-packages", "dist-packages"}
    libraries = [
        path for path in sys.path if os.path.isabs(path) and os.path.exists(path) and not (alone and path == here)
    ]
    return [*{sys.prefix: None, sys.base_prefix: None}, *libraries, *ours]


def package_root() -> str:
    """The folder in which our packages lie."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
