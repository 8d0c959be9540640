"""What all families share: start the pathway's tool on a staged source, and ask a program about a file."""

from collections.abc import Sequence

from preservation.migration.conversion import Made, Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.sandbox import run


def filled(argv: Sequence[str], **places: str) -> list[str]:
    """The arguments with their places filled in; nothing else in them is touched."""
    result = []
    for word in argv:
        filled_word = word
        for name, value in places.items():
            filled_word = filled_word.replace(f"{{{name}}}", value)
        result.append(filled_word)
    return result


def one_by_one(pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
    """Start the pathway's tool once for each source; it writes one output."""
    return [_made(pathway, source, room) for source in sources]


def _made(pathway: Pathway, source: Staged, room: Room) -> Made:
    output = f"{source.output}.{pathway.extension}"
    outcome = run(
        [pathway.tool, *filled(pathway.argv, source=source.source, output=output)],
        room.folder,
        room.sandbox,
        room.limits,
    )
    if outcome.late:
        return Made((), "timeout")
    return Made((), "tool-failed") if outcome.status else Made((output,))


def told(room: Room, *argv: str) -> bytes:
    """What a program prints about a file.

    Raises:
        UnmeasuredError: it failed, or was too late.
    """
    outcome = run(argv, room.folder, room.sandbox, room.limits)
    if outcome.late or outcome.status:
        raise UnmeasuredError
    return outcome.output


def same(name: str, before: str, after: str) -> Measure:
    """A measure that holds if source and output give the same value."""
    return Measure(name, before, after, before == after)


def never_signed(source: Staged, room: Room) -> bool:
    """Formats that carry no signature: what comes of them may stand for them."""
    del source, room
    return False
