"""The command ``mocban``: where a process begins and ends. Everything else is imported when it is needed."""

import sys
from collections.abc import Sequence

from commands.running import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
