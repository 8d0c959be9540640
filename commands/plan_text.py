"""What ``plan audit`` says: the answer as text for people and as JSON for scripts."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from commands.printing import say, say_table, write
from commands.wording import _, filled, harmless, number_text, size_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from audits.planning import Plan, Question
    from audits.planning_rates import Parameter
    from preservation.repository import Repository

SHOCKS_SHOWN = 8

MODEL_LOSS = 1e-300
"""Below this, a loss is shown as 0: no model knows such numbers."""

CAVEATS = (
    marked(
        "A planning aid, not a promise. No benchmark confirms one loss in a billion; drills and audits confirm that "
        "damage is found and healed."
    ),
    marked(
        "Faults are taken as rare, even over time and independent but for the shocks. Batches of bad drives, early "
        "and late failures, and errors of programs are left out, so the truth is worse."
    ),
    marked(
        "For several objects, the chance that any is lost lies between the two ends that are shown: packs fail "
        "together, and nobody knows how much."
    ),
    marked(
        "A rate with 'prior' is published or assumed for others. One with 'yours' is the 95 % upper bound from this "
        "repository's own audits."
    ),
)


def _decimal(text: str) -> str:
    """Return a number with the decimal mark of the language: 1.5 or 1,5."""
    return text.replace(".", ",") if "." in number_text(1000) else text


def rate_text(value: float) -> str:
    """Return a small number for people: 8.1e-10, 0.3, 14."""
    if value < MODEL_LOSS:
        return "0"
    if 0.001 <= value < 10_000:  # noqa: PLR2004 - what reads better without an exponent
        return _decimal(f"{value:.3g}") if value < 1000 else number_text(round(value))  # noqa: PLR2004 - the same
    mantissa, _mark, exponent = f"{value:.1e}".partition("e")
    return _decimal(f"{mantissa}e{int(exponent)}")


def days_text(days: float) -> str:
    """Return a length of time in days, in years where these are many."""
    if days >= 3 * 365.25:
        return filled(marked("{years} years"), years=rate_text(days / 365.25))
    return filled(marked("{days} days"), days=rate_text(days) if days < 10 else number_text(int(days)))  # noqa: PLR2004 - a part of a day matters below


def as_json(answer: "Plan") -> dict[str, object]:
    """Return the answer as scripts read it: whole figures, nothing rounded."""
    question = answer.question
    return {
        "planning_aid": True,
        "current": {**dataclasses.asdict(answer.current), "loss": answer.current.loss},
        "target": question.target,
        "object_size": question.object_size,
        "years": question.years,
        "objects": question.objects,
        "held": question.held,
        "copies": [dataclasses.asdict(copy) for copy in question.copies],
        "observed": {medium: dataclasses.asdict(seen) for medium, seen in question.observed.items()},
        "parameters": [dataclasses.asdict(one) for one in answer.parameters],
        "shocks": [
            {
                "kind": str(one.kind),
                "name": one.name,
                "rate": one.rate,
                "copies": sorted(one.hit),
                "loss": one.loss,
            }
            for one in answer.shocks
        ],
        "intervals": [{**dataclasses.asdict(point), "loss": point.loss} for point in answer.points],
        "largest_interval_days": answer.largest,
        "largest_interval_is_capped": answer.is_capped,
        "largest_interval_independent_days": answer.largest_independent,
        "floor_independent": answer.floor_independent,
        "floor_common": answer.floor_common,
        "limit": str(answer.limit),
        "limit_name": answer.limit_name,
        "refused": answer.refused,
        "repair_days_needed": answer.repair_days,
        "stress_loss": answer.stress,
        "caveats": [_(text) for text in CAVEATS],
    }


def tell(answer: "Plan", repository: "Repository | None") -> None:
    """Print the answer for people."""
    question = answer.question
    say(
        marked("Planning aid: objects of {size} GB, a loss of at most {target} per object and year"),
        size=rate_text(question.object_size / 1e9),
        target=rate_text(question.target),
    )
    write("")
    say_table(_copy_rows(question))
    write("")
    say_table(_parameter_rows(answer.parameters), right={1})
    for line in _history(question):
        write(line)
    write("")
    say_table(_shock_rows(answer), right={2, 3})
    write("")
    say_table(_point_rows(answer), right=range(7))
    write("")
    for line in _verdict(answer):
        write(line)
    for line in _rates(answer, repository):
        write(line)
    write("")
    for text in CAVEATS:
        write("* " + _(text))


def _copy_rows(question: "Question") -> Iterator[tuple[str, ...]]:
    yield _(marked("copy")), _(marked("medium")), _(marked("site")), _(marked("admin domain")), _(marked("vendor"))
    for number, copy in enumerate(question.copies, 1):
        where = (harmless(text) or "-" for text in (copy.site, copy.domain, copy.vendor))
        yield harmless(copy.name) or str(number), copy.medium, *where


def _parameter_rows(parameters: "tuple[Parameter, ...]") -> Iterator[tuple[str, ...]]:
    from audits.planning_rates import Origin  # noqa: PLC0415 - help does without it

    origins = {Origin.PRIOR: marked("prior"), Origin.YOURS: marked("yours"), Origin.SET: marked("set")}
    yield _(marked("figure")), _(marked("value")), _(marked("unit")), "", _(marked("basis"))
    for one in parameters:
        basis = _(one.basis)
        if one.origin is Origin.YOURS:
            basis = filled(
                marked("{events} in {years} verified years, 95 % upper bound"),
                events=number_text(one.events),
                years=rate_text(one.years),
            )
        elif one.origin is Origin.SET:
            basis = "--set"
        yield one.name, rate_text(one.value), _(one.unit), _(origins[one.origin]), basis


def _history(question: "Question") -> Iterator[str]:
    """Yield what the audits of this repository saw, also where it is not enough to replace a prior."""
    for medium, seen in sorted(question.observed.items()):
        yield filled(
            marked("Own audits, {medium}: {years} verified TB-years, {mismatches} copies wrong, {missing} gone"),
            medium=medium,
            years=rate_text(seen.tb_years),
            mismatches=number_text(seen.mismatches),
            missing=number_text(seen.missing),
        )


def _shock_rows(answer: "Plan") -> Iterator[tuple[str, ...]]:
    """Yield what strikes several copies, the worst first."""
    from audits.planning import Limit  # noqa: PLC0415 - help does without it

    kinds = {
        Limit.DOMAIN: marked("admin domain"),
        Limit.SITE: marked("site"),
        Limit.VENDOR: marked("vendor"),
        Limit.DEVICE: marked("device"),
    }
    days = days_text(answer.current.days)
    copies = answer.question.copies
    yield (
        _(marked("strikes")),
        _(marked("copies")),
        _(marked("a year")),
        filled(marked("loss, audit each {days}"), days=days),
    )
    for shock in sorted(answer.shocks, key=lambda one: -one.loss)[:SHOCKS_SHOWN]:
        hit = ", ".join(copies[number].name or str(number + 1) for number in sorted(shock.hit))
        yield (
            f"{_(kinds[shock.kind])} {harmless(shock.name) or '-'}",
            harmless(hit),
            rate_text(shock.rate),
            rate_text(shock.loss),
        )


def _point_rows(answer: "Plan") -> Iterator[tuple[str, ...]]:
    years = rate_text(answer.question.years)
    yield (
        _(marked("audit each")),
        _(marked("independent")),
        _(marked("common")),
        _(marked("together")),
        filled(marked("lost in {years} years"), years=years),
        _(marked("reads a copy")),
        _(marked("target")),
    )
    for point in answer.points:
        yield (
            days_text(point.days),
            rate_text(point.independent),
            rate_text(point.common),
            rate_text(point.loss),
            rate_text(point.one_lost),
            size_text(max(1, round(point.read_rate))) + "/s" if point.read_rate else "-",
            _(marked("met")) if point.meets else _(marked("not met")),
        )


def _verdict(answer: "Plan") -> Iterator[str]:
    target = rate_text(answer.question.target)
    if answer.largest is None:
        yield filled(marked("No audit interval meets {target}"), target=target)
    else:
        met = marked("The largest interval that meets {target}: {interval}")
        capped = marked("Every interval up to {interval} meets {target}")
        yield filled(capped if answer.is_capped else met, interval=days_text(answer.largest), target=target)
    if answer.largest is None and answer.largest_independent is not None:
        yield filled(
            marked("Without anything that strikes several copies at once it would be {interval}"),
            interval=days_text(answer.largest_independent),
        )
    yield filled(
        marked("Even if copies were read all the time: independent {alone}, common {common}"),
        alone=rate_text(answer.floor_independent),
        common=rate_text(answer.floor_common),
    )
    yield _limit_text(answer)


def _limit_text(answer: "Plan") -> str:
    from audits.planning import Limit  # noqa: PLC0415 - help does without it

    name, rate = answer.limit_name or "-", rate_text(answer.limit_rate)
    if answer.refused:
        return filled(
            marked(
                "Limited by the admin domain: all copies are in the same hands ({name}). One error, one stolen "
                "password or one piece of ransomware reaches all of them, about {rate} a year, however often they are "
                "read. {target} is not promised to such a set: give one copy into other hands"
            ),
            name=name,
            rate=rate,
            target=rate_text(answer.question.target),
        )
    if answer.limit in {Limit.DOMAIN, Limit.SITE, Limit.VENDOR, Limit.DEVICE}:
        kinds = {
            Limit.DOMAIN: marked("Limited by the admin domain {name}: all copies are in its hands, {rate} a year"),
            Limit.SITE: marked("Limited by the site {name}: all copies are there, {rate} a year"),
            Limit.VENDOR: marked("Limited by the vendor {name}: all copies are on its media, {rate} a year"),
            Limit.DEVICE: marked("Limited by one device: {name} share it, {rate} a year"),
        }
        return filled(kinds[answer.limit], name=name, rate=rate)
    if answer.limit is Limit.REPAIR:
        return filled(
            marked("Limited by the repair time: with repairs within {days} it could be met"),
            days=days_text(answer.repair_days),
        )
    if answer.limit is Limit.COPIES and answer.limit_name:
        text = marked("Limited by the copies: what strikes {name} leaves too few. Add one elsewhere, in other hands")
        return filled(text, name=name)
    if answer.limit is Limit.COPIES:
        return filled(marked("Limited by the number of copies: add one"))
    return filled(marked("Limited by the audit interval alone"))


def _rates(answer: "Plan", repository: "Repository | None") -> Iterator[str]:
    question = answer.question
    current = answer.current
    if answer.largest is not None and question.held:
        needed = question.held / (answer.largest * 86_400)
        yield filled(
            marked("To read {held} in {interval}: {rate}/s from each copy"),
            held=size_text(question.held),
            interval=days_text(answer.largest),
            rate=size_text(max(1, round(needed))),
        )
        limit = repository.configuration.audit.bytes_per_second if repository is not None else 0
        if limit and limit < needed:
            yield filled(
                marked("The configuration allows only {rate}/s (bytes_per_second in [audit])"), rate=size_text(limit)
            )
    if question.objects:
        yield filled(
            marked("Of {count} objects, the chance to lose any in {years} years at {interval}: {low} to {high}"),
            count=number_text(question.objects),
            years=rate_text(question.years),
            interval=days_text(current.days),
            low=rate_text(current.one_lost),
            high=rate_text(current.any_lost),
        )
    yield filled(
        marked("Expected loss in {years} years (NOMDL): {count} bytes of each TB kept, at {interval}"),
        years=rate_text(question.years),
        count=rate_text(current.loss * question.years * 1e12),
        interval=days_text(current.days),
    )
    yield filled(
        marked("Stress (1.4 % of copies silently bad a year): {loss} at {interval}"),
        loss=rate_text(answer.stress),
        interval=days_text(current.days),
    )
