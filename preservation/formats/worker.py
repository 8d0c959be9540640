"""The worker process: reads samples from standard input and writes what they are to standard output.

It runs apart because hostile files can make any tool hang, crash or eat memory: the pool kills it when it is late, the
kernel kills it when the pool cannot (an alarm, a memory limit), and it ends when its standard input does.
"""

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from types import FrameType
from typing import BinaryIO

from preservation.formats.bundles import SignatureBundle
from preservation.formats.engine import Engine, build_engine, identify, shipped_bundle
from preservation.formats.frames import Told, answers_frame, framed, read_bundle, read_request
from preservation.formats.identification import TOOL_ABSENT, TOOL_FAILED, Sample

MEMORY_LIMIT = 1 << 30
"""Bytes of address space."""

_TELL_AFTER = 0.05
"""Seconds after which answers are told although the batch has not ended."""


class _LateError(BaseException):
    """The time for one file is over; no ordinary error, so that nobody on the way takes it for a bad file's."""


def main(soft_seconds: float, hard_seconds: float) -> None:
    """Answer requests until the pool goes away.

    A file that takes longer than `soft_seconds` is answered as late; one whose work cannot be interrupted ends the
    process after `hard_seconds` of processor time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pool, which then ends us
    signal.signal(signal.SIGALRM, _late)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers

    def read(length: int) -> bytes:
        content = requests.read(length)
        if len(content) < length:
            raise EOFError
        return content

    try:
        bundle = read_bundle(read)
        engine = build_engine(SignatureBundle.from_bytes(bundle) if bundle else None)
        del bundle
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001  # whatever it is, it must be told instead of a silent death
        _write(answers, framed({"failed": f"{TOOL_ABSENT}: {type(error).__name__}: {error}"}))
        return
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _write(answers, framed({"tool": engine.tool, "signatures": engine.label}))
    while True:
        try:
            samples = read_request(read)
        except EOFError:
            return
        _answer_all(engine, samples, answers, soft_seconds, hard_seconds)


def build() -> None:
    """Write the bundle of what is shipped with FIDO to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # as above
    answers.write(shipped_bundle().to_bytes())
    answers.flush()


def _answer_all(
    engine: Engine, samples: Iterable[Sample], answers: BinaryIO, soft_seconds: float, hard_seconds: float
) -> None:
    ready: list[tuple[Told, float]] = []
    told = time.perf_counter()
    for sample in samples:
        before = time.perf_counter()
        answer = _limited(engine, sample, soft_seconds, hard_seconds)
        after = time.perf_counter()
        ready.append((answer, (after - before) * 1000))
        if after - told > _TELL_AFTER:
            _write(answers, answers_frame(ready))
            ready, told = [], after
    if ready:
        _write(answers, answers_frame(ready))


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _LateError


def _limited(engine: Engine, sample: Sample, soft_seconds: float, hard_seconds: float) -> Told:
    signal.setitimer(signal.ITIMER_PROF, hard_seconds)
    try:
        signal.setitimer(signal.ITIMER_REAL, soft_seconds)
        try:
            return _answer(engine, sample)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _LateError:
        return Told(late=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _answer(engine: Engine, sample: Sample) -> Told:
    try:
        answer = identify(engine, sample)
    except Exception as error:  # noqa: BLE001  # a file that defeats the tool is a result, not an end
        return Told(failed=f"{TOOL_FAILED}: {type(error).__name__}")
    return Told(answer.formats, answer.warnings)


def _write(answers: BinaryIO, frame: bytes) -> None:
    try:
        answers.write(frame)
        answers.flush()
    except BrokenPipeError:
        os._exit(0)  # the pool has gone, and nobody is left to tell
