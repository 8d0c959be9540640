"""How every command is made: its line from the table, details, examples; and what kinds of values options take."""

import math
import re
from collections.abc import Callable
from typing import Any

import click

from commands.entries import ENTRIES
from commands.wording import _, filled
from storage_backends.errors import marked


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show examples."""
        with_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def with_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    """Write the section of examples, each on a line of its own."""
    with formatter.section(_("Examples")):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def command(name: str, *, examples: tuple[str, ...], details: str = "") -> Callable[[Callable[..., Any]], Command]:
    """Make a function the command ``name`` of the table."""
    text = ENTRIES[name].short + (f"\n\n{details}" if details else "")
    return click.command(name.rpartition(" ")[2], cls=Command, help=text, examples=examples)


json_option = click.option("--json", "as_json", is_flag=True, help=_("Print the result as JSON, for scripts."))

second_opinion_option = click.option(
    "--second-opinion",
    "second",
    type=click.Choice(("none", "doubtful", "all")),
    default="none",
    show_default=True,
    help=_("Ask another tool too: where the first leaves doubt and of one file in a hundred, or of all."),
)


_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)([dhms]))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([dhms])")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTPE]?)(i?B)?", re.IGNORECASE)


def duration(text: str) -> float:
    """Return the seconds that ``text`` says: a number, or 1h30m."""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not math.isfinite(seconds) or seconds < 0:
        raise click.BadParameter(filled(marked("{value} is no length of time; write seconds, or 1h30m"), value=text))
    return seconds


def byte_count(text: str) -> int:
    """Return the bytes that ``text`` says: a number, or 10G.

    K, M, G, T, P and E are powers of 1024; with a B alone behind them powers of 1000.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise click.BadParameter(filled(marked("{value} is no number of bytes; write 500M or 10G"), value=text))
    number, unit, suffix = match.groups()
    base = 1000 if (suffix or "").lower() == "b" and unit else 1024
    return int(float(number) * base ** " KMGTPE".index(unit.upper() or " "))
