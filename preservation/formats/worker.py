"""The worker process: reads samples from standard input and writes what they are to standard output.

It runs apart because hostile files can make any tool hang, crash or eat memory: the pool kills it when it is late, the
kernel kills it when the pool cannot (an alarm, a memory limit), and it ends when its standard input does.
"""

import gc
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import BinaryIO

from preservation.formats.engine import SIGNATURES, Engine, build_engine, identify, tool_name
from preservation.formats.frames import framed, read_request
from preservation.formats.identification import TOOL_ABSENT, TOOL_FAILED, Sample

MEMORY_LIMIT = 1 << 30
"""Bytes of address space."""


def main(alarm_seconds: float) -> None:
    """Answer requests until the pool goes away; more than `alarm_seconds` for one file ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pool, which then ends us
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    try:
        engine = build_engine()
        hello = {"tool": tool_name(), "signatures": SIGNATURES}
    except Exception as error:  # noqa: BLE001  # whatever it is, it must be told instead of a silent death
        _write(answers, {"failed": f"{TOOL_ABSENT}: {type(error).__name__}: {error}"})
        return
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _write(answers, hello)

    def read(length: int) -> bytes:
        content = requests.read(length)
        if len(content) < length:
            raise EOFError
        return content

    while True:
        try:
            samples = read_request(read)
        except EOFError:
            return
        for sample in samples:
            signal.setitimer(signal.ITIMER_REAL, alarm_seconds)
            answer = _answer(engine, sample)
            signal.setitimer(signal.ITIMER_REAL, 0)
            _write(answers, answer)


def _answer(engine: Engine, sample: Sample) -> dict[str, object]:
    try:
        answer = identify(engine, sample)
    except Exception as error:  # noqa: BLE001  # a file that defeats the tool is a result, not an end
        return {"failed": f"{TOOL_FAILED}: {type(error).__name__}"}
    return {"formats": answer.formats, "warnings": answer.warnings}


def _write(answers: BinaryIO, value: Mapping[str, object]) -> None:
    try:
        answers.write(framed(value))
        answers.flush()
    except BrokenPipeError:
        os._exit(0)  # the pool has gone, and nobody is left to tell
