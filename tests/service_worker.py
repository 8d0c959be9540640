"""A service in a process of its own, to be killed: as ``mocban serve``, but each look at a copy leaves a line.

Usage: service_worker.py REPOSITORY FILE [--once]
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import audits.run  # noqa: E402 - the path comes first
from commands.running import run  # noqa: E402 - the same
from preservation.checking import Grade  # noqa: E402 - the same


def main():
    place, file, *more = sys.argv[1:]
    lines = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    look = audits.run._LOOKS[Grade.BYTES]

    def noted(backend, fonds, fixity):
        found = look(backend, fonds, fixity)
        os.write(lines, f"{fixity.blake3} {backend.place}\n".encode())
        return found

    audits.run._LOOKS[Grade.BYTES] = noted
    sys.exit(run(["-C", place, "serve", *more]))


if __name__ == "__main__":
    main()
