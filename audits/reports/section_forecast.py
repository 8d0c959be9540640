"""The section on what is to come: whether every copy will be verified in time, and what could keep it from that."""

from collections.abc import Iterator

from audits.pacing import StoreStanding
from audits.reports.gathering import Report
from audits.reports.language import DASH, DAY, Language
from audits.reports.markup import Markup, element, name, table
from storage_backends.errors import marked


def forecast(report: Report, language: Language) -> Iterator[Markup]:
    """Yield whether each store will keep to the longest age that a verification may have."""
    say = language.say
    found = report.standing
    stores = [one for one in found.stores if one.copies]
    if not stores:
        yield element("p", say(marked("There is no copy yet, so there is nothing to foresee.")), css="empty")
        return
    coming = [one for one in stores if one.forecast]
    if coming:
        text = marked("If all goes on as it does, copies will not be read in time. The first at:")
        dates = [f"{one.name}, {language.iso_date(one.forecast or '')}" for one in coming]
        yield element("p", element("strong", say(text), " ", "; ".join(dates), "."))
    elif any(one.overdue for one in stores):
        yield element("p", element("strong", say(marked("Copies are late already."))))
    elif found.alive is None or found.stopped_days is not None:
        yield element(
            "p", say(marked("No delay is foreseen, provided that audits are run; but nobody runs them by the clock:"))
        )
    else:
        yield element("p", say(marked("No delay is foreseen if all goes on as it does.")))
    yield element("p", _heartbeat(report, language))
    head = [
        say(marked("Store")),
        say(marked("Time set")),
        say(marked("Due now")),
        say(marked("Late soon")),
        say(marked("Late")),
        say(marked("Must be read")),
        say(marked("Can be read")),
        say(marked("Growth")),
        say(marked("First delay")),
    ]
    yield table(head, [_line(one, language) for one in stores], numbers=range(1, 8))
    yield element("p", say(_NOTE), css="note")


_NOTE = marked(
    "“Late soon”: more than three quarters of the time set have passed. “Must be read” is the slowest pace that "
    "meets every deadline, in the hours in which the store may be read; “can be read” is the limit that is set or "
    "was measured."
)


def _heartbeat(report: Report, language: Language) -> str:
    found = report.standing
    if found.alive is None:
        return language.say(marked("The service (mocban serve) was never at work here."))
    if found.stopped_days is not None:
        text = marked("The service (mocban serve) is NOT at work; it was last at work on {time}.")
    else:
        text = marked("The service (mocban serve) was last at work on {time}.")
    said = [language.say(text, time=language.iso_moment(found.alive))]
    if found.pauses:
        said.append(language.say(marked("Pauses that a person has ordered: {count}."), count=len(found.pauses)))
    return " ".join(said)


def _line(one: StoreStanding, language: Language) -> list[object]:
    capacity = one.capacity_bytes_per_second
    first = language.iso_date(one.forecast) if one.forecast else language.say(marked("none foreseen"))
    if one.paused_until:
        until = language.say(marked("paused until {date}"), date=language.iso_date(one.paused_until))
        first = f"{first}; {until}"
    return [
        name(one.name),
        language.days(one.max_age_days * DAY),
        *map(language.number, (one.due, one.late, one.overdue)),
        _pace(one.bytes_per_second, language),
        DASH if capacity is None else _pace(capacity, language),
        _pace(one.growth_bytes_per_second, language),
        first,
    ]


def _pace(rate: int, language: Language) -> str:
    """Return bytes a second as what is read in a day."""
    return language.say(marked("{size} a day"), size=language.size(rate * DAY))
