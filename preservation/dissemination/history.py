"""What the ledger says of a package: the events that concern its versions and the packs that hold them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from preservation.checking import Verdict
from preservation.ledger.events import EventType, Outcome, Record, parse_record

_NAMES = re.compile(rb'"([0-9a-f]{64}|[0-9a-f-]{36})"')


@dataclass(slots=True)
class _Checked:
    """The last fixity check of a copy that found it right, and how many there were."""

    record: Record
    count: int


def concerning(
    raw_records: Iterable[bytes],
    package: str,
    versions: Collection[int],
    packs: Collection[str],
    identified: Collection[int] = (),
) -> Iterator[tuple[Record, int]]:
    """Yield the events of these versions of a package and of these packs, in the ledger's order, each with 0.

    ``raw_records`` begin with event 0. Of the events that say what was found later of formats, which are about many
    packages at once, those of the numbers ``identified`` are given and no others.

    Of the fixity checks that found a copy right only the last for each copy is given, at the end, with their number;
    those with another outcome are all given. That a copy was only seen to be present is no fixity check for anybody
    outside, and is left out. Memory: one record a copy of a pack.
    """
    wanted = {package.encode(), *(pack.encode() for pack in packs)}
    checked: dict[tuple[str, str], _Checked] = {}
    for number, data in enumerate(raw_records):
        # Most records concern other packages: their JSON is not parsed.
        if number not in identified and wanted.isdisjoint(_NAMES.findall(data)):
            continue
        record = parse_record(data)
        detail = record.event.detail
        if record.event.type == EventType.FORMAT_IDENTIFICATION:
            if number in identified:
                yield record, 0
            continue
        if not _concerns(detail, package, versions, packs):
            continue
        if record.event.type == EventType.FIXITY_CHECK and detail.get("verdict") == Verdict.PRESENT:
            continue
        if record.event.type == EventType.FIXITY_CHECK and record.event.outcome == Outcome.SUCCESS:
            copy = (str(detail.get("pack", "")), str(detail.get("store", "")))
            before = checked.get(copy)
            checked[copy] = _Checked(record, 1 + (before.count if before is not None else 0))
            continue
        yield record, 0
    for one in sorted(checked.values(), key=lambda one: one.record.seq):
        yield one.record, one.count


def _concerns(detail: Mapping[str, object], package: str, versions: Collection[int], packs: Collection[str]) -> bool:
    if detail.get("pack") in packs:
        return True
    return detail.get("package") == package and ("version" not in detail or detail["version"] in versions)
