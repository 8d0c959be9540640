"""Watches what makes formats obsolete: other signatures, another risk table, a program that is gone.

Which programs the machine has is recorded when it changes, so that one that was there and is not there any more is
noticed, whoever removed it and whenever.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.formats import TOOLS
from preservation.catalog.rows import MarkRow
from preservation.ledger.events import EventType
from preservation.repository import Repository
from preservation.risk.policy import Level, Policy
from preservation.risk.register import OPEN, standing
from preservation.risk.scoring import Assessment

Finder = Callable[[str], str | None]
"""Gives the path of a program, or nothing."""

PRESENT, LOST = "present", "lost"


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen: ``at_risk`` formats are at high risk and nothing is decided about them.

    The risk of ``grown`` ones is higher than when something was decided; ``lost`` programs are gone, and there are
    formats held that need them.
    """

    at_risk: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict)


def programs_of(policy: Policy) -> list[str]:
    """Return every program that a judgement names, sorted."""
    return sorted({name for judgement in policy.formats.values() for name in judgement.programs})


def known_tools(view: View) -> dict[str, str]:
    """Return which programs were seen when it was recorded last: ``present`` or ``lost``."""
    mark = rows.one(view, MarkRow, TOOLS)
    return dict(json.loads(mark.value)) if mark is not None else {}


def tools_now(known: Mapping[str, str], policy: Policy, find: Finder) -> dict[str, str]:
    """Return the same as of now: what was never there is not listed, what was and is not is ``lost``."""
    there = {name for name in programs_of(policy) if find(name) is not None}
    return {name: PRESENT if name in there else LOST for name in sorted(there | known.keys())}


def record_tools(repository: Repository, policy: Policy, find: Finder) -> dict[str, str]:
    """Record which programs there are, if that has changed, and return it."""
    with repository.reading() as view:
        known = known_tools(view)
    now = tools_now(known, policy, find)
    if now != known:
        outcome = "warning" if LOST in now.values() else "success"
        repository.record([repository.event(EventType.FORMAT_TOOLS, outcome=outcome, tools=now)])
    return now


def watched(view: View, found: Sequence[Assessment], tools: Mapping[str, str]) -> Watched:
    """Return what somebody must see to."""
    at_risk, grown = [], []
    for one in found:
        now = standing(view, one)
        if now.worse:
            grown.append(one.format)
        elif now.state == OPEN and one.level is Level.HIGH:
            at_risk.append(one.format)
    gone = [name for name, state in tools.items() if state == LOST]
    lost = {name: [one.format for one in found if name in one.programs] for name in gone}
    return Watched(at_risk, grown, {name: formats for name, formats in lost.items() if formats})
