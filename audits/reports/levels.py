"""The NDSA Levels of Digital Preservation, version 2.0 (2019): what the figures show of each, and what is missing.

Source: National Digital Stewardship Alliance, "Levels of Digital Preservation", version 2.0, October 2019
(https://osf.io/2mkwx), summarised in our words. A level is said to be shown only where figures of this repository show
every point of it and of the levels below; what only people can know is left to them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from audits.reports.gathering import Report
from audits.reports.verdict import overdue
from preservation.checking import Grade
from preservation.ledger.events import EventType
from storage_backends.errors import marked

SOURCE = "NDSA Levels of Digital Preservation, v2.0 (2019), osf.io/2mkwx"


class Area(StrEnum):
    """The functional areas, in the order of the matrix."""

    STORAGE = "storage"
    INTEGRITY = "integrity"
    CONTROL = "control"
    METADATA = "metadata"
    CONTENT = "content"


AREAS = {
    Area.STORAGE: marked("Storage"),
    Area.INTEGRITY: marked("Integrity"),
    Area.CONTROL: marked("Control"),
    Area.METADATA: marked("Metadata"),
    Area.CONTENT: marked("Content and formats"),
}
LEVELS = (
    marked("1 Know your content"),
    marked("2 Protect your content"),
    marked("3 Monitor your content"),
    marked("4 Sustain your content"),
)


class State(StrEnum):
    """What can be said of a point."""

    SHOWN = "shown"
    NOT_SHOWN = "not-shown"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the figures say of a point, as a text with values."""

    state: State
    text: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the matrix, in our words."""

    area: Area
    level: int
    text: str
    judge: Callable[[Report], Answer]


@dataclass(frozen=True, slots=True)
class Judged:
    """A point with its answer."""

    point: Point
    answer: Answer


@dataclass(frozen=True, slots=True)
class Standing:
    """One area: the level that the figures show, and the one that it may be if people confirm the rest."""

    area: Area
    points: Sequence[Judged]
    shown: int
    possible: int

    @property
    def missing(self) -> list[Judged]:
        """The points that keep the next level from being shown."""
        return [one for one in self.points if one.point.level == self.shown + 1 and one.answer.state != State.SHOWN]


def standings(report: Report) -> list[Standing]:
    """Return where the repository stands in each area."""
    found = []
    for area in Area:
        points = [Judged(point, point.judge(report)) for point in POINTS if point.area is area]
        shown = _reached(points, {State.SHOWN})
        found.append(Standing(area, points, shown, _reached(points, {State.SHOWN, State.PERSON})))
    return found


def _reached(points: Sequence[Judged], fine: set[State]) -> int:
    level = 0
    for number in range(1, len(LEVELS) + 1):
        if all(one.answer.state in fine for one in points if one.point.level == number):
            level = number
        else:
            break
    return level


def _shown(is_so: bool, text: str, **values: object) -> Answer:  # noqa: FBT001 - reads as what it says
    return Answer(State.SHOWN if is_so else State.NOT_SHOWN, text, values)


def _person(text: str = "", **values: object) -> Callable[[Report], Answer]:
    return lambda _report: Answer(State.PERSON, text, values)


NOTHING = marked("nothing is kept yet")
DISTANCE = marked("sites: {sites}; whether they are far enough apart and face other dangers, a person must say")


def _fewest(report: Report, kind: str) -> int:
    """Return the smallest number of different ``kind`` among the good copies of any pack; 0 if it is not known."""
    return min((getattr(one, kind) or 0 for one in report.spreads), default=0)


def _copies(copies: int, text: str) -> Callable[[Report], Answer]:
    def judge(report: Report) -> Answer:
        if not report.holdings.packs:
            return _shown(False, NOTHING)
        fewest, sites = _fewest(report, "copies"), _fewest(report, "sites")
        fine = fewest >= copies and sites >= 2  # noqa: PLR2004 - apart means at two sites
        return _shown(fine, text, copies=fewest, sites=sites)

    return judge


def _apart(copies: int, sites: int) -> Callable[[Report], Answer]:
    """Judge what needs so many copies at so many sites, and a person who knows the dangers there."""

    def judge(report: Report) -> Answer:
        found, places = _fewest(report, "copies"), _fewest(report, "sites")
        if found < copies or places < sites:
            text = marked("every pack has {copies} good copies or more at {sites} stated sites or more")
            return _shown(False, text if report.holdings.packs else NOTHING, copies=found, sites=places)
        return Answer(State.PERSON, DISTANCE, {"sites": places})

    return judge


def _media_documented(report: Report) -> Answer:
    stores = report.holdings.stores
    stated = sum(bool(one.medium and one.site and one.vendor) for one in stores)
    text = marked("medium, site and vendor are stated for {stated} of {stores} stores")
    return _shown(bool(stores) and stated == len(stores), text, stated=stated, stores=len(stores))


def _media_types(report: Report) -> Answer:
    media = _fewest(report, "media")
    text = marked("kinds of media that every pack lies on: {media}")
    return _shown(media >= 2, text, media=media)  # noqa: PLR2004 - one and another


def _no_single_point(report: Report) -> Answer:
    effective = min((one.effective for one in report.spreads), default=0)
    text = marked("copies left if whatever most of them share is lost: {left}")
    left = max(0, effective - 1)
    return Answer(State.PERSON, text, {"left": left}) if left else _shown(False, text, left=left)


def _digests(report: Report) -> Answer:
    if not report.holdings.packages:
        return _shown(False, NOTHING)
    text = marked("BLAKE3 and SHA-256 of each of {files} files; what came with a submission was compared")
    return _shown(True, text, files=report.holdings.files)


def _read_back(report: Report) -> Answer:
    written = report.ledger.kinds.get(EventType.REPLICATION, 0)
    text = marked("copies that were read back and compared when they were written: {count}")
    return _shown(written > 0, text, count=written)


def _digests_apart(report: Report) -> Answer:
    if not report.holdings.packs:
        return _shown(False, NOTHING)
    sites = {one.site for one in report.holdings.stores if one.site}
    text = marked("the ledger and all lists of digests lie on stores at {sites} sites")
    return _shown(len(sites) >= 2, text, sites=len(sites))  # noqa: PLR2004 - here and elsewhere


def _at_intervals(report: Report) -> Answer:
    held = report.holdings
    if not held.copies:
        return _shown(False, NOTHING)
    behind = overdue(report) + held.never.total() + held.bad
    text = marked("{fine} of {copies} copies were read in full and found right within {days} days")
    fine = max(0, held.copies - behind)
    return _shown(not behind, text, fine=fine, copies=held.copies, days=round(report.longest_limit))


def _audits(report: Report) -> Answer:
    count = report.ledger.kinds.get(EventType.AUDIT_RUN_CLOSED, 0)
    return _shown(count > 0, marked("audits in the ledger: {count}"), count=count)


def _repairs(report: Report) -> Answer:
    held, kinds = report.holdings, report.ledger.kinds
    if held.bad or held.lost:
        text = marked("copies that are not good: {bad}; objects lost: {lost}")
        return _shown(False, text, bad=held.bad, lost=held.lost)
    repairs, drills = kinds.get(EventType.REPAIR, 0), kinds.get(EventType.DRILL, 0)
    text = marked("repairs in the ledger: {repairs}; drills: {drills}")
    return _shown(repairs + drills > 0, text, repairs=repairs, drills=drills)


def _log(report: Report) -> Answer:
    text = marked("events in the ledger: {events}; agents that they name: {agents}")
    return _shown(report.ledger.agents > 0, text, events=report.ledger.size, agents=report.ledger.agents)


def _inventory(report: Report) -> Answer:
    if not report.holdings.packages:
        return _shown(False, NOTHING)
    text = marked("{objects} objects with the places of {copies} copies")
    return _shown(True, text, objects=report.holdings.objects, copies=report.holdings.copies)


def _events(report: Report) -> Answer:
    text = marked("PREMIS events with their times: {events}")
    return _shown(report.ledger.size > 0, text, events=report.ledger.size)


def _identified(report: Report) -> Answer:
    formats = report.formats
    if not report.holdings.files:
        return _shown(False, NOTHING)
    looked = sum(files for name, (files, _) in formats.formats.items() if "/" in name or name in _LOOKED)
    text = marked("{looked} of {files} files were looked at for their format, with tool and signatures on record")
    return _shown(looked == report.holdings.files, text, looked=looked, files=report.holdings.files)


_LOOKED = frozenset({"several", "unidentified"})


def _validated(report: Report) -> Answer:
    count = report.ledger.kinds.get(EventType.VALIDATION, 0)
    return _shown(count > 0, marked("validations of formats in the ledger: {count}"), count=count)


def _virus_checks(report: Report) -> Answer:
    count = report.ledger.kinds.get(EventType.VIRUS_CHECK, 0)
    return Answer(State.PERSON, marked("checks for viruses in the ledger: {count}"), {"count": count})


def _migrated(report: Report) -> Answer:
    count = report.ledger.kinds.get(EventType.MIGRATION, 0)
    return Answer(State.PERSON, marked("migrations in the ledger: {count}"), {"count": count})


POINTS: Sequence[Point] = (
    Point(
        Area.STORAGE,
        1,
        marked("Two complete copies in separate places"),
        _copies(2, marked("every pack has {copies} good copies or more at {sites} stated sites or more")),
    ),
    Point(Area.STORAGE, 1, marked("All media are documented"), _media_documented),
    Point(Area.STORAGE, 1, marked("Content is in stable storage"), _person()),
    Point(Area.STORAGE, 2, marked("Three complete copies, one in another place"), _apart(3, 2)),
    Point(Area.STORAGE, 2, marked("What storage and media need is documented"), _person()),
    Point(Area.STORAGE, 3, marked("One copy where other disasters threaten"), _apart(2, 2)),
    Point(Area.STORAGE, 3, marked("One copy on another kind of medium"), _media_types),
    Point(Area.STORAGE, 3, marked("Ageing of storage and media is tracked"), _person()),
    Point(Area.STORAGE, 4, marked("Three copies, each where other disasters threaten"), _apart(3, 3)),
    Point(Area.STORAGE, 4, marked("No single point of failure"), _no_single_point),
    Point(Area.STORAGE, 4, marked("A plan against ageing is carried out"), _person()),
    Point(Area.INTEGRITY, 1, marked("Digests are verified, or made where none came"), _digests),
    Point(Area.INTEGRITY, 1, marked("All content is checked for viruses"), _virus_checks),
    Point(Area.INTEGRITY, 2, marked("Digests are verified when content is copied"), _read_back),
    Point(Area.INTEGRITY, 2, marked("Original media are read with write blockers"), _person()),
    Point(Area.INTEGRITY, 2, marked("Digests are backed up in another place"), _digests_apart),
    Point(Area.INTEGRITY, 3, marked("Digests are verified at fixed intervals"), _at_intervals),
    Point(Area.INTEGRITY, 3, marked("Process and outcome are documented"), _audits),
    Point(Area.INTEGRITY, 3, marked("Audits are run on demand"), _audits),
    Point(Area.INTEGRITY, 4, marked("Digests are verified after particular events"), _person()),
    Point(Area.INTEGRITY, 4, marked("Damaged content is replaced or repaired"), _repairs),
    Point(Area.CONTROL, 1, marked("Who may read, write, move and delete is decided"), _person()),
    Point(Area.CONTROL, 2, marked("It is written down and applied"), _person()),
    Point(Area.CONTROL, 3, marked("Logs name who did what to content"), _log),
    Point(Area.CONTROL, 4, marked("The logs are reviewed at intervals"), _person()),
    Point(Area.METADATA, 1, marked("An inventory says what lies where"), _inventory),
    Point(Area.METADATA, 1, marked("The inventory is backed up apart from content"), _digests_apart),
    Point(Area.METADATA, 2, marked("Enough is known to say what the content is"), _person()),
    Point(Area.METADATA, 3, marked("Standards of description are chosen, gaps are filled"), _person()),
    Point(Area.METADATA, 4, marked("Preservation actions and their times are recorded"), _events),
    Point(Area.METADATA, 4, marked("The standards chosen are applied"), _person()),
    Point(Area.CONTENT, 1, marked("Formats are documented, with how and when"), _identified),
    Point(Area.CONTENT, 2, marked("Formats are verified"), _validated),
    Point(Area.CONTENT, 2, marked("Creators are advised on formats"), _person()),
    Point(Area.CONTENT, 3, marked("Formats are watched for obsolescence"), _person()),
    Point(Area.CONTENT, 4, marked("Content is migrated or emulated where needed"), _migrated),
)
"""The matrix."""

GRADES = {
    Grade.BYTES: marked("every byte read"),
    Grade.PROVIDER: marked("checksum of the provider"),
    Grade.INVENTORY: marked("listing only"),
}
