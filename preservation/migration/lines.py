"""What the manifest of a migrated version says: which file comes from which, by what, and that in both directions."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preservation.manifest import dumped
from preservation.migration.results import Result
from preservation.versions import Kept


def path_value(path: bytes) -> dict[str, object]:
    """Return how a path stands in a relation: as in a line of its own."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path_b64": base64.b64encode(path).decode("ascii")}


@dataclass(frozen=True, slots=True)
class Derivation:
    """The lines of a version that a plan makes: new files say what they come from, their sources what was made."""

    plan: str
    origin: dict[str, object] | None
    facts: dict[str, str]
    _derived: Mapping[bytes, dict[str, object]] = field(default_factory=dict)
    _derivatives: Mapping[bytes, list[dict[str, object]]] = field(default_factory=dict)

    def more(self, path: bytes) -> dict[str, object]:
        """Return what a derived file comes from."""
        found = self._derived.get(path)
        return {"derived": found} if found is not None else {}

    def kept(self, kept: Kept) -> bytes:
        """Return the line of a file of the version before; that of a source names its derived files too."""
        added = self._derivatives.get(kept.path)
        if added is None:
            return kept.raw
        line = dict(kept.line.line)
        line["derivatives"] = [*line.get("derivatives", []), *added]
        return (dumped(line) + "\n").encode()


def derivation(plan: str, pathway: str, tool: str, event: str, results: Sequence[Result]) -> Derivation:
    """Return the lines of the version that has these results; ``event`` is the identifier of the migration's event."""
    derived: dict[bytes, dict[str, object]] = {}
    derivatives: dict[bytes, list[dict[str, object]]] = {}
    for result in results:
        use = "rendition" if result.rendition else "migration"
        common = {"event": event, "pathway": pathway, "plan": plan, "use": use}
        for output in result.outputs:
            source = {"blake3": result.source, **path_value(result.path)}
            derived[output.path] = {**common, "from": source, "tool": tool}
            made = {"blake3": output.blake3, **path_value(output.path)}
            derivatives.setdefault(result.path, []).append({**common, **made})
    origin: dict[str, object] = {"kind": "migration", "plan": plan}
    return Derivation(plan, origin, {"plan": plan}, derived, derivatives)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The lines of a version from which what a plan derived was withdrawn: no line names it any more."""

    plan: str

    @property
    def origin(self) -> dict[str, object] | None:
        """Where the version comes from."""
        return {"kind": "migration undone", "plan": self.plan}

    @property
    def facts(self) -> dict[str, str]:
        """What the event of the version says too."""
        return {"plan": self.plan, "undone": "yes"}

    def more(self, path: bytes) -> dict[str, object]:
        """Return nothing: no file is new."""
        del path
        return {}

    def kept(self, kept: Kept) -> bytes:
        """Return the line without what the plan has added."""
        listed = kept.line.line.get("derivatives", [])
        left = [one for one in listed if one.get("plan") != self.plan]
        if len(left) == len(listed):
            return kept.raw
        line = {key: value for key, value in kept.line.line.items() if key != "derivatives"}
        return (dumped({**line, "derivatives": left} if left else line) + "\n").encode()
