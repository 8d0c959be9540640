"""Vietnamese text in TCVN3 or VNI becomes UTF-8: our own tables, and the way back must give the same bytes."""

from collections.abc import Sequence

from preservation.formats.identification import Puid
from preservation.migration.conversion import Made, Measure, Pathway, Room, Staged, UnmeasuredError
from preservation.migration.worker import answer, do

_PLAIN = (Puid("x-fmt/111"),)
_CHECKS = ("format", "round-trip", "lines", "syllables")
_ENOUGH = 0.9

PATHWAYS = tuple(
    Pathway(
        id=f"{encoding}-utf8",
        sources=_PLAIN,
        targets=_PLAIN,
        extension="txt",
        tool="",
        argv=("text.to_utf8", encoding, "{source}", "{output}"),
        lossless=True,
        checks=_CHECKS,
        wanted=encoding,
    )
    for encoding in ("tcvn3", "vni")
)
"""No signature tells these from other texts: a probe must have found what is `wanted`; here each byte is checked."""


def make(pathway: Pathway, sources: Sequence[Staged], room: Room) -> list[Made]:
    """Convert each text by itself."""
    return [_made(pathway, source, room) for source in sources]


def _made(pathway: Pathway, source: Staged, room: Room) -> Made:
    task, encoding = pathway.argv[:2]
    output = f"{source.output}.{pathway.extension}"
    outcome = do(task, (encoding, source.source, output), room)
    if outcome.late:
        return Made((), "timeout")
    if outcome.status:
        return Made((), "tool-failed")
    return Made((), "not-applicable") if b"refused" in outcome.output else Made((output,))


def measure(pathway: Pathway, source: Staged, outputs: Sequence[str], room: Room) -> list[Measure]:
    """Go back from the output to bytes; count lines; and see whether the words can be Vietnamese at all."""
    seen = answer("text.compare", (pathway.argv[1], source.source, outputs[0]), room)
    if seen is None or "refused" in seen:
        raise UnmeasuredError
    before, back = str(seen["source"]), str(seen["back"])
    lines, words, vietnamese = seen["lines"], seen["words"], seen["vietnamese"]
    assert isinstance(lines, list)
    assert isinstance(words, int)
    assert isinstance(vietnamese, int)
    return [
        Measure("round-trip", f"sha256:{before}", f"sha256:{back}", before == back),
        Measure("lines", str(lines[0]), str(lines[1]), lines[0] == lines[1]),
        Measure("syllables", str(words), str(vietnamese), words > 0 and vietnamese >= _ENOUGH * words),
    ]


def rendition_only(source: Staged, room: Room) -> bool:
    """Never: a text carries no signature."""
    del source, room
    return False
