"""Progress on standard error: a bar with rate and time left on a terminal, a plain line now and then otherwise."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands.printing import note
from commands.wording import number_text, size_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY = 10.0
"""Seconds between two plain lines."""

Told = Callable[[int, int], None]
"""Told of what is done: how many things, how many bytes."""


@contextmanager
def progress(what: str, total: Callable[[], int] | None = None) -> Iterator[Told]:
    """Show how work goes on; ``what`` names it, ``total`` finds out how many bytes there are.

    ``total`` is asked for only on a terminal, in a thread of its own: the work does not wait for the answer.
    """
    if sys.stderr.isatty():
        with _bar(what, total) as told:
            yield told
    else:
        yield _lines(what)


def _lines(what: str) -> Told:
    begun = told_last = time.monotonic()
    count = size = 0
    lock = threading.Lock()

    def told(more: int, more_bytes: int) -> None:
        nonlocal count, size, told_last
        with lock:
            count, size = count + more, size + more_bytes
            now = time.monotonic()
            if now - told_last < LINE_EVERY:
                return
            told_last = now
            rate = size_text(int(size / (now - begun)))
            done = number_text(count)
        note(marked("{task}: {done} done, {size}, {rate}/s"), task=what, done=done, size=size_text(size), rate=rate)

    return told


@contextmanager
def _bar(what: str, total: Callable[[], int] | None) -> Iterator[Told]:
    from rich import progress as bars  # noqa: PLC0415 - costs 100 ms, and only terminals need it
    from rich.console import Console  # noqa: PLC0415 - the same

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[count]}"),
        bars.DownloadColumn(binary_units=True),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, count="0")
        if total is not None:
            threading.Thread(target=_find_total, args=(shown, task, total), daemon=True).start()
        count = 0

        def told(more: int, more_bytes: int) -> None:
            nonlocal count
            count += more
            shown.update(task, advance=more_bytes, count=number_text(count))

        yield told


def _find_total(shown: "Progress", task: "TaskID", total: Callable[[], int]) -> None:
    try:
        shown.update(task, total=total())
    except Exception:  # noqa: BLE001 - a bar without a total is no failure of the work
        return
