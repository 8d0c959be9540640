"""A second opinion: what another reader of PRONOM (pygfried, which is Siegfried) says of a file, and what follows.

It is optional. It is only ever loaded in a worker process of its own: it keeps the interpreter to itself while it
works, and hangs in a process that was forked after its first use. It reads paths only, so it is given a path.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Self

from preservation.formats.frames import BadFrameError, framed, read_json
from preservation.formats.identification import (
    BadIdentificationError,
    Basis,
    FormatMatch,
    Identification,
    checked_puid,
)
from preservation.identifications import Verdict
from storage_backends.errors import MocbanError, Phrase, marked

LIBRARY = "pygfried"

DEADLINE = 20.0
"""Seconds for one file; it reads the whole of some."""

START_DEADLINE = 120.0

REFINED_BY_OTHER = marked("another tool names the format more exactly")
ONLY_OTHER = marked("only another tool knows the format")

_CHUNK = 1 << 16


_ALARM_MARGIN = 5.0
_START = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);"
    "from preservation.formats.second_opinion_worker import main;main(float(sys.argv[2]))"
)


def _command(deadline: float) -> tuple[str, ...]:
    """Return what starts a worker; it does not look for modules in the working directory."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    places = [here, *(place for place in sys.path if os.path.isabs(place) and place != here)]
    return (sys.executable, "-I", "-c", _START, json.dumps(places), str(deadline + _ALARM_MARGIN))


class NoSecondOpinionError(MocbanError):
    """There is nobody to ask."""

    template = marked("There is no second opinion to be had: {reason}. 'pip install mocban[second-opinion]' brings one")


def is_installed() -> bool:
    """Tell whether the library is there; it is not loaded."""
    return find_spec(LIBRARY) is not None


def check_installed() -> None:
    """Raise `NoSecondOpinionError` if the library is not there, before anything else is done."""
    if not is_installed():
        raise NoSecondOpinionError(reason=Phrase("{name} is not installed", name=LIBRARY))


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the other tool says: PUIDs, what they rest on, and who says so. ``failure`` is why it says nothing."""

    puids: tuple[str, ...] = ()
    basis: Basis = "signature"
    tool: str = ""
    signatures: str = ""
    failure: str = ""


class SecondOpinion:
    """The worker process that is asked; it is started at the first question, and anew after one that it died of."""

    def __init__(self, command: Sequence[str] | None = None, *, deadline: float = DEADLINE) -> None:
        self._command = tuple(command or _command(deadline))
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._tool = self._signatures = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, path: str) -> Opinion:
        """Return what it says of the file at ``path``; whatever goes wrong is an opinion with a ``failure``.

        Raises:
            NoSecondOpinionError: the worker cannot be started, so no other file need be asked about.
        """
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(framed({"path": os.fspath(path)}))
            process.stdin.flush()
            answer = self._read(self._deadline)
        except (OSError, EOFError, BadFrameError, TimeoutError) as error:
            self.close()
            return Opinion(failure="late" if isinstance(error, TimeoutError) else "gone")
        return self._believed(answer)

    def _believed(self, answer: Mapping[str, object]) -> Opinion:
        failure, puids, basis = answer.get("failed"), answer.get("puids"), answer.get("basis")
        if isinstance(failure, str):
            return Opinion(failure=failure[:80])
        try:
            known = tuple(checked_puid(puid) for puid in (puids if isinstance(puids, list) else ())[:100])
        except BadIdentificationError:
            return Opinion(failure="not PUIDs")
        held: Basis = "extension" if basis == "extension" else "container" if basis == "container" else "signature"
        return Opinion(known, held, self._tool, self._signatures)

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            hello = self._read(START_DEADLINE)
        except (OSError, EOFError, BadFrameError, TimeoutError) as error:
            self.close()
            raise NoSecondOpinionError(
                reason=Phrase("its process does not start ({kind})", kind=type(error).__name__)
            ) from error
        if "failed" in hello:
            self.close()
            raise NoSecondOpinionError(reason=str(hello["failed"])[:200])
        self._tool, self._signatures = str(hello.get("tool"))[:80], str(hello.get("signatures"))[:200]

    def _read(self, seconds: float) -> Mapping[str, object]:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        limit = time.monotonic() + seconds

        def read(length: int) -> bytes:
            data = b""
            while len(data) < length:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                if not poll.poll(max(0.0, limit - time.monotonic()) * 1000):
                    raise TimeoutError
                more = os.read(descriptor, min(_CHUNK, length - len(data)))
                if not more:
                    raise EOFError
                data += more
            return data

        return read_json(read)

    def close(self) -> None:
        """End the process; a later question starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:
                        continue  # what was not written any more is of no use to anybody


def judged(
    first: Identification, other: Opinion, beats: Mapping[str, frozenset[str]]
) -> tuple[Identification, Verdict]:
    """Return the answer that holds, and what the two say together.

    What an extension suggests is no knowledge beside what the bytes say. Of two formats of which one has priority over
    the other (``beats``, by PUID), that one is the more exact. Where both know and neither is the more exact, the first
    answer stands and a person must decide.
    """
    if other.failure:
        return first, ""
    ours: set[str] = {match.puid for match in first.formats}
    theirs = set(other.puids)
    guessed = all(match.basis == "extension" for match in first.formats)
    answer: Identification = first
    verdict: Verdict = "conflict"
    if ours == theirs:
        verdict = "agreed"
    elif not theirs or (other.basis == "extension" and not guessed):
        verdict = "single"
    elif not ours or (guessed and other.basis != "extension"):
        answer, verdict = _theirs(first, other, ONLY_OTHER), "single"
    elif ours < theirs or (_exacter(ours, theirs, beats) and not theirs < ours):
        verdict = "refined"
    elif theirs < ours or _exacter(theirs, ours, beats):
        answer, verdict = _theirs(first, other, REFINED_BY_OTHER), "refined"
    return answer, verdict


def _exacter(these: set[str], those: set[str], beats: Mapping[str, frozenset[str]]) -> bool:
    """Tell whether each of ``those`` is one of ``these`` or yields to one of them."""
    return all(one in these or any(one in beats.get(puid, frozenset()) for puid in these) for one in those)


def _theirs(first: Identification, other: Opinion, note: str) -> Identification:
    matches = tuple(
        FormatMatch(checked_puid(puid), other.basis, other.tool, other.signatures) for puid in sorted(other.puids)
    )
    return Identification("identified", matches, (*first.warnings, note))
