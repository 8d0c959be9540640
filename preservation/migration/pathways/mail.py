"""Messages: EML becomes a text that can be read anywhere, MSG becomes EML; both by our own reading."""

from collections.abc import Sequence
from typing import cast

from preservation.formats.identification import Puid
from preservation.migration.conversion import Made, Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.pathways.running import filled, same
from preservation.migration.worker import answer, do

_EML = (Puid("fmt/278"), Puid("fmt/950"))

PATHWAYS: tuple[Pathway, ...] = (
    Pathway(
        id="eml-txt",
        sources=_EML,
        targets=(Puid("x-fmt/111"),),
        extension="txt",
        tool="",
        argv=("mail.eml_to_text", "{source}", "{output}"),
        lossless=False,
        checks=("format", "headers", "words", "parts"),
    ),
    Pathway(
        id="msg-eml",
        sources=(Puid("x-fmt/430"),),
        targets=_EML,
        extension="eml",
        tool="",
        argv=("mail.msg_to_eml", "{source}", "{output}"),
        lossless=False,
        checks=("format", "headers", "text", "html", "attachments"),
    ),
)


def make(pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
    """Convert each message by itself."""
    return [_made(pathway, source, room) for source in sources]


def _made(pathway: Pathway, source: Staged, room: Room) -> Made:
    output = f"{source.output}.{pathway.extension}"
    task, *arguments = filled(pathway.argv, source=source.source, output=output)
    outcome = do(task, arguments, room)
    if outcome.late:
        return Made((), "timeout")
    if outcome.status:
        return Made((), "tool-failed")
    return Made((), "not-applicable") if b"refused" in outcome.output else Made((output,))


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Read the source once more, and see whether the output says it all."""
    task = "mail.text_of_eml" if pathway.id == "eml-txt" else "mail.eml_of_msg"
    seen = answer(task, (source.source, outputs[0]), room)
    if seen is None or "refused" in seen:
        raise UnmeasuredError
    measures = [
        same(name, *map(str, cast("list[object]", seen[name])))
        for name in pathway.checks
        if isinstance(seen.get(name), list)
    ]
    if pathway.id == "eml-txt":
        unsaid = seen["unsaid"]
        measures.append(Measure("parts", str(seen["parts"]), f"{unsaid} not named", unsaid == 0))
    return measures


def rendition_only(source: Staged, room: Room) -> bool:
    """A signed message is what was signed, and nothing else is."""
    seen = answer("mail.signed", (source.source,), room)
    if seen is None:
        raise UnmeasuredError
    return bool(seen.get("signed"))
