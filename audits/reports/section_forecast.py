"""The section on what is to come: whether every copy will be verified in time."""

from collections.abc import Iterator

from audits.reports.gathering import Report
from audits.reports.language import Language
from audits.reports.markup import Markup, element
from storage_backends.errors import marked


def forecast(report: Report, language: Language) -> Iterator[Markup]:
    """Yield whether each store will keep to the longest age that a verification may have."""
    del report
    yield element("p", language.say(marked("Not known: nothing has been computed.")), css="empty")
