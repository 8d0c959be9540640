"""Words what is told about a run: one message in Vietnamese and English, without file names, and its JSON."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audits.delivery import Message, one_line
from audits.findings import MEANING, Code, Finding, Severity, next_command
from preservation.repository import Repository
from storage_backends.errors import marked

LANGUAGES = ("vi", "en")
SHOWN = 50
"""The most of a kind that a message names."""

WORK_FAILED = "work-failed"
REPLICATION_FAILED = "replication-failed"

MEANINGS: dict[str, str] = {
    **{str(code): text for code, text in MEANING.items()},
    WORK_FAILED: marked("a piece of work could not be done"),
    REPLICATION_FAILED: marked("copies could not be written to a store"),
}
NEXT_OF_WORK = {WORK_FAILED: ["mocban", "doctor"], REPLICATION_FAILED: ["mocban", "replicate"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is wrong and stays so: a code on a store, or of a piece of work; times ISO 8601 UTC."""

    code: str
    store: str = ""
    """The name of the store."""
    work: str = ""
    """Which work said so."""
    since: str = ""
    count: int = 1
    severity: str = "error"
    pack: str = ""
    incident: str = ""
    level: int = 0
    """How often its age has doubled since it should have been dealt with; 0: it is not that old."""
    how: str = ""
    """How it ended."""

    @property
    def key(self) -> str:
        """What makes it the same as one of an earlier run."""
        return f"{self.code}\t{self.store}\t{self.work if self.code == WORK_FAILED else ''}"

    def next(self) -> list[str]:
        """Return the command to run next."""
        if self.code in NEXT_OF_WORK:
            return NEXT_OF_WORK[self.code]
        return next_command(Finding(Code(self.code), self.store, self.pack))


@dataclass(slots=True, kw_only=True)
class News:
    """What a run brought, beside what was told before."""

    work: str
    status: int = 0
    run: str = ""
    error: str = ""
    """The name of the error that ended the work."""
    figures: dict[str, int] = field(default_factory=dict)
    new: list[Condition] = field(default_factory=list)
    worse: list[Condition] = field(default_factory=list)
    overdue: list[Condition] = field(default_factory=list)
    """What has been open for too long."""
    resolved: list[Condition] = field(default_factory=list)
    healed: list[Condition] = field(default_factory=list)
    standing: list[Condition] = field(default_factory=list)
    """All that is open, told before or not."""
    given_up: int = 0
    """Earlier messages that could never be delivered."""
    is_test: bool = False

    @property
    def kind(self) -> str:
        """Return the gravest thing that it says."""
        errors = [one for one in self.new + self.worse if one.severity == Severity.ERROR]
        kinds = (
            ("test", self.is_test),
            ("escalation", self.overdue),
            ("problem", errors),
            ("warning", self.new + self.worse),
            ("recovery", self.resolved),
            ("healed", self.healed),
            ("still-open", [one for one in self.standing if one.severity == Severity.ERROR]),
        )
        return next((kind for kind, holds in kinds if holds), "all-well")


SUBJECTS = {
    "test": marked("test message"),
    "escalation": marked("URGENT: unresolved for {days} days or more: {count}"),
    "problem": marked("new problems: {count}"),
    "warning": marked("new warnings: {count}"),
    "recovery": marked("resolved: {count}"),
    "healed": marked("damage found and healed: {count}"),
    "still-open": marked("nothing new; still open: {count}"),
    "all-well": marked("all is well"),
}


def message(repository: Repository, news: News) -> Message:
    """Return ``news`` as a message."""
    configuration, now = repository.configuration, repository.world.now()
    subject = " / ".join(_subject(repository, language, news, now) for language in LANGUAGES)
    subject = one_line(f"[mocban] {configuration.origin}: {subject}", 400)
    text = "\n\n--\n\n".join("\n".join(_lines(repository, language, news)) for language in LANGUAGES) + "\n"
    identifier, time = repository.new_id(), now.isoformat(timespec="seconds")
    payload: dict[str, Any] = {
        "format": 1,
        "id": identifier,
        "time": time,
        "repository": configuration.repository,
        "origin": configuration.origin,
        "kind": news.kind,
        "work": news.work,
        "run": news.run,
        "status": news.status,
        "error": news.error,
        "given_up": news.given_up,
        "figures": news.figures,
        "subject": subject,
        "text": text,
    }
    for name in ("new", "worse", "overdue", "resolved", "healed", "standing"):
        conditions: list[Condition] = getattr(news, name)
        payload[name] = [_json(one) for one in conditions[:SHOWN]]
        payload[f"{name}_count"] = len(conditions)
    return Message(
        id=identifier, time=time, subject=subject, text=text, is_urgent=news.kind == "escalation", payload=payload
    )


def _json(one: Condition) -> dict[str, object]:
    return {
        "code": one.code,
        "severity": one.severity,
        "store": one.store,
        "pack": one.pack,
        "count": one.count,
        "since": one.since,
        "incident": one.incident,
        "how": one.how,
        "next": [] if one.how else one.next(),
    }


def _subject(repository: Repository, language: str, news: News, now: datetime) -> str:
    told = {
        "escalation": news.overdue,
        "problem": [one for one in news.new + news.worse if one.severity == Severity.ERROR],
        "warning": news.new + news.worse,
        "recovery": news.resolved,
        "healed": news.healed,
        "still-open": news.standing,
    }.get(news.kind, [])
    days = min(((now - datetime.fromisoformat(one.since)).days for one in told if one.since), default=0)
    return repository.world.translated(language, SUBJECTS[news.kind]).format(count=len(told), days=days)


def _lines(repository: Repository, language: str, news: News) -> Iterator[str]:
    def words(text: str, **evidence: object) -> str:
        return repository.world.translated(language, text).format(**evidence)

    configuration = repository.configuration
    yield words(marked("Repository: {origin} ({repository})"), origin=one_line(configuration.origin),
                repository=configuration.repository)  # fmt: skip
    if news.is_test:
        yield words(marked("This is a test message. Whoever reads it will be told when something is wrong."))
        return
    yield words(marked("Work: {work}; exit status {status}"), work=one_line(news.work), status=news.status)
    if news.error:
        yield words(marked("It ended with the error {error}."), error=one_line(news.error))
    for name, value in news.figures.items():
        yield f"  {name}: {value}"
    for head, conditions in (
        (marked("Unresolved for too long:"), news.overdue),
        (marked("New:"), news.new),
        (marked("Worse than before:"), news.worse),
        (marked("Resolved:"), news.resolved),
        (marked("Found and healed:"), news.healed),
        (marked("Still open:"), _others(news)),
    ):
        if conditions:
            yield ""
            yield words(head)
            yield from _items(conditions, words)
    if news.given_up:
        yield ""
        yield words(marked("Earlier messages that could not be delivered: {count}"), count=news.given_up)
    if not news.standing:
        yield ""
        yield words(marked("Nothing is open."))


def _time(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _others(news: News) -> list[Condition]:
    named = {one.key for one in news.overdue + news.new + news.worse}
    return [one for one in news.standing if one.key not in named]


def _items(conditions: Sequence[Condition], words: Any) -> Iterator[str]:
    for one in conditions[:SHOWN]:
        meaning = words(MEANINGS.get(one.code, one.code))
        where = words(marked("store {store}"), store=one_line(one.store)) if one.store else ""
        about = ", ".join(part for part in (where, one_line(one.work) if one.code == WORK_FAILED else "") if part)
        yield f"- {one.code}" + (f" ({about})" if about else "") + f": {one.count}: {meaning}"
        if one.since:
            yield "    " + words(marked("since {time}"), time=_time(one.since))
        if one.incident:
            yield "    " + words(marked("incident {incident}"), incident=one.incident)
        if not one.how and (command := shlex.join(one.next())):
            yield "    " + words(marked("next: {command}"), command=one_line(command))
    if len(conditions) > SHOWN:
        yield words(marked("and {count} more"), count=len(conditions) - SHOWN)
