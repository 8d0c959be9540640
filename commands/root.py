"""The root of the command line: options that every command has, and commands that are imported when they are called."""

from importlib import import_module
from typing import Any

import click

from commands.entries import ENTRIES, attribute_of, names_below
from commands.printing import write
from commands.shaping import with_examples
from commands.surroundings import REPOSITORY, Call
from commands.wording import _


class LazyGroup(click.Group):
    """A group whose commands are those of ``ENTRIES`` below ``prefix``."""

    def __init__(self, *args: Any, prefix: str = "", examples: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.prefix = prefix
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the work."""
        return names_below(self.prefix)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Import the command."""
        name = self.prefix + cmd_name
        entry = ENTRIES.get(name)
        if entry is None:
            return None
        if not entry.module:
            return LazyGroup(cmd_name, prefix=f"{name} ", help=entry.short, examples=_examples_of(name))
        command: click.Command = getattr(import_module(entry.module), attribute_of(name))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; ``ingest abandon`` is one although ``ingest`` takes a path; the longest name counts."""
        for count in (3, 2):
            name = " ".join(args[:count])
            if len(args) >= count and self.prefix + name in ENTRIES:
                return name, self.get_command(ctx, name), args[count:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        names = self.list_commands(ctx)
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, ENTRIES[self.prefix + name].short) for name in names])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show examples."""
        with_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def _examples_of(group: str) -> tuple[str, ...]:
    return {
        "store": ("mocban -C archive store add disk1 file:///mnt/disk1 --site hanoi", "mocban -C archive store list"),
        "fonds": ("mocban -C archive fonds add TH-2024 --title 'UBND xã Tân Hòa'", "mocban -C archive fonds list"),
        "plan": ("mocban -C archive plan audit --target 1e-9",),
        "ledger": ("mocban -C archive ledger verify", "mocban -C archive ledger key --public"),
        "witness": ("mocban witness init witness --name luutru.hue.gov.vn/w1", "mocban witness serve witness"),
        "incident": ("mocban -C archive incident list", "mocban -C archive incident show 01890a5d"),
        "tape": ("mocban -C archive tape list", "mocban -C archive tape picklist"),
        "formats": ("mocban formats identify transfer --json", "mocban -C archive formats signatures list"),
        "formats signatures": (
            "mocban -C archive formats signatures import DROID_SignatureFile_V122.xml --containers FILE",
            "mocban -C archive formats signatures activate a9ed12980cff",
        ),
        "agent": ("mocban -C archive agent add 'Nguyễn Thị An' --key an.pub.pem", "mocban -C archive agent list"),
        "migrate": (
            "mocban migrate pathways",
            "mocban -C archive migrate plan tcvn3-utf8 --agent 'Nguyễn Thị An' --key an.pem",
        ),
        "notify": ("mocban -C archive notify test",),
    }[group]


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - costs every start 20 ms

        write(f"mocban {version('mocban')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    help=_(
        "Mộc Bản keeps digital records for ever: on several stores, with proof that nothing changed.\n\n"
        "Exit statuses: 0 done; 1 error; 2 usage; 3 done, findings remain; 4 done, some copies not written; "
        "10 no repository; 11 busy; 130 interrupted."
    ),
    examples=(
        "mocban init archive",
        "mocban -C archive store add disk1 file:///mnt/disk1 --site hanoi",
        "mocban -C archive store add disk2 file:///mnt/disk2 --site hue",
        "mocban -C archive fonds add TH-2024 --title 'UBND xã Tân Hòa'",
        "mocban -C archive ingest transfer --fonds TH-2024",
        "mocban -C archive audit",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-C",
    "directory",
    metavar="DIR",
    default=".",
    envvar=REPOSITORY,
    show_envvar=True,
    help=_("The folder of the repository; without it, the present folder."),
)
@click.option(
    "--wait",
    "wait_seconds",
    metavar=_("SECONDS"),
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help=_("How long to wait for a lock that another process holds."),
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help=_("Show the version.")
)
@click.pass_context
def root(ctx: click.Context, directory: str, wait_seconds: float) -> None:
    """Keep what every command needs."""
    ctx.obj = Call(directory, wait_seconds)
