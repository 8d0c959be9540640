"""``drill``: faults in shadow copies, to see whether the audit finds and heals them."""

import gettext
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

import click

from commands.printing import note, say, warn, write
from commands.progress import progress
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import DOMAIN, LOCALE, _, filled, harmless, table
from storage_backends.errors import MocbanError, marked

if TYPE_CHECKING:
    from audits.drill_faults import FaultKind
    from audits.drill_report import Drilled, Injected, Trial
    from audits.reports.language import Language
    from preservation.repository import Repository

STANDS_FOR = marked("{name} ({shadow}, stands for {real})")

LARGEST_SEED = 1 << 53
TITLE = "mocban drill report"
"""The first line of the signed note; no checkpoint begins so."""


class ReportPlaceError(MocbanError):
    """The report of a drill cannot be written there."""

    template = marked("{place}: the report of a drill cannot be written here ({reason}); nothing was done")


@command(
    "drill",
    details=_(
        "Verified copies of a few packs are put into a shadow repository, faults are put into these copies, and the "
        "same audit and repair that guard the real ones look at them. The real stores are only read; the shadow is "
        "removed in the end. Exit status 3: a fault was not found, not named rightly or not healed, something else was "
        "accused, or a real copy turned out to be wrong. The ledger keeps the figures and the digest of the report."
    ),
    examples=(
        "mocban -C archive drill",
        "mocban -C archive drill --packs 5 --work /mnt/large --report drill-2026-11",
        "mocban -C archive drill --store disk1 --faults bit-flip,stale-cache --seed 7 --json",
    ),
)
@click.option("--store", "stores", metavar="NAME", multiple=True, help=_("Damage only the shadow of this store."))
@click.option(
    "--packs", metavar="N", type=click.IntRange(1, 1000), default=3, show_default=True, help=_("How many packs.")
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, LARGEST_SEED),
    help=_("The same seed draws the same packs, stores and places; without it, a new one."),
)
@click.option("--faults", metavar="LIST", default="", help=_("Only these classes of faults, with commas between."))
@click.option("--work", metavar="DIR", default="", help=_("Where the shadow lies; without it, in the repository."))
@click.option(
    "--report",
    "place",
    metavar="FILE",
    default="",
    help=_("Write FILE.json, FILE.en.txt, FILE.vi.txt and FILE.note, which signs them."),
)
@json_option
@click.pass_obj
def drill_command(
    call: Call,
    *,
    stores: tuple[str, ...],
    packs: int,
    seed: int | None,
    faults: str,
    work: str,
    place: str,
    as_json: bool,
) -> int:
    """Drill."""
    from audits.drill import drill  # noqa: PLC0415 - help does without it
    from audits.drill_report import Asked, record, report_bytes  # noqa: PLC0415 - the same

    kinds = _kinds(faults)
    repository = call.writing()
    if place:
        _check_place(place)
    if seed is None:
        seed = int.from_bytes(repository.world.random(4))
    asked = Asked(stores=stores, packs=packs, seed=seed, faults=kinds, work=work)
    with call.stoppable(), progress(_("Drill")) as told:
        result = drill(repository, asked, told=told)
    digest = record(repository, result)
    if place:
        _write_report(repository, place, result)
    if as_json:
        write(report_bytes(result).decode().removesuffix("\n"))
    else:
        for line in report_lines(result, _language(None)):
            write(line)
        say(marked("Report: SHA-256 {digest}, in the ledger as event {kind}"), digest=digest, kind="drill")
    for one in result.unusable:
        warn(
            marked("the real copy of {pack} on {store} is not right: {reason}. Run 'mocban audit' now"),
            pack=one.pack,
            store=one.store,
            reason=one.reason,
        )
    return result.exit_status


def _kinds(text: str) -> "tuple[FaultKind, ...]":
    from audits.drill_faults import FaultKind  # noqa: PLC0415 - help does without it

    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {str(kind): kind for kind in FaultKind}
    for name in names:
        if name not in known:
            allowed = ", ".join(known)
            text = filled(marked("{value} is no class of faults; there are {allowed}"), value=name, allowed=allowed)
            raise click.BadParameter(text, param_hint="--faults")
    return tuple(kind for kind in FaultKind if str(kind) in names) if names else tuple(FaultKind)


# ---- the report as files --------------------------------------------------------------------------------------------


def _names(place: str) -> list[str]:
    return [f"{place}.{end}" for end in ("json", "en.txt", "vi.txt", "note")]


def _check_place(place: str) -> None:
    """Raise ``ReportPlaceError`` before the work rather than after it."""
    name, folder = os.path.basename(place), os.path.dirname(place) or "."
    if not name or harmless(name) != name:
        raise ReportPlaceError(place=place, reason=marked("its name"))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ReportPlaceError(place=place, reason=marked("there is no such folder, or it may not be written to"))
    for path in _names(place):
        if os.path.lexists(path):
            raise ReportPlaceError(place=path, reason=marked("there is a file already"))


def _write_report(repository: "Repository", place: str, result: "Drilled") -> None:
    """Write the report and sign it with the log key: the note holds the digests of the files, as sha256sum has them."""
    from audits.drill_report import report_bytes  # noqa: PLC0415 - help does without it
    from preservation.ledger.files import create_file  # noqa: PLC0415 - the same
    from preservation.ledger.keys import load_signer  # noqa: PLC0415 - the same
    from preservation.ledger.notes import sign_note  # noqa: PLC0415 - the same

    texts = [report_bytes(result)]
    texts += ["".join(f"{line}\n" for line in report_lines(result, _language(code))).encode() for code in ("en", "vi")]
    lines = [TITLE, repository.ledger.origin, result.drill]
    *paths, signed = _names(place)
    for path, data in zip(paths, texts, strict=True):
        create_file(path, data)
        lines.append(f"{sha256(data).hexdigest()}  {os.path.basename(path)}")
    text = "".join(f"{line}\n" for line in lines)
    create_file(signed, sign_note(text, [load_signer(repository.keys)]).encoded())
    note(marked("The report was written and signed: {place}"), place=signed)


def _language(code: str | None) -> "Language":
    """Return a language of reports; without a code that of the person."""
    from audits.reports.language import Language  # noqa: PLC0415 - help does without it

    if code is None:
        return Language("vi" if gettext.find(DOMAIN, LOCALE) else "en", _)
    known = gettext.translation(DOMAIN, LOCALE, [code], fallback=True)
    return Language(code, known.gettext)


# ---- the report as text ---------------------------------------------------------------------------------------------


def report_lines(result: "Drilled", language: "Language") -> Iterator[str]:
    """Yield the report as people read it."""
    speak = language.say
    yield speak(marked("Drill {drill} of repository {repository}"), drill=result.drill, repository=result.repository)
    yield speak(
        marked("{begun} to {ended}, seed {seed}"),
        begun=language.iso_moment(result.begun),
        ended=language.iso_moment(result.ended),
        seed=str(result.asked.seed),
    )
    size = language.size(sum(pack.size for pack in result.packs))
    stores = ", ".join(
        f"{name} ({real})" if real == shadow else speak(STANDS_FOR, name=name, real=real, shadow=shadow)
        for name, (real, shadow) in result.shadowed.items()
    )
    yield speak(
        marked("Shadow copies of {packs} packs ({size}) on: {stores}"),
        packs=len(result.packs),
        size=size,
        stores=stores,
    )
    yield ""
    yield from table(_rows(result, language), right=frozenset({1, 2, 3, 4, 5, 6, 7, 8}))
    yield ""
    yield from _troubles(result, language)
    yield from _verdict(result, language)


def _rows(result: "Drilled", language: "Language") -> Iterator[tuple[str, ...]]:
    speak = language.say
    heads = (
        marked("fault"),
        marked("injected"),
        marked("detected"),
        marked("named"),
        marked("healed"),
        marked("audit"),
        marked("read"),
        marked("found after"),
        marked("repair"),
    )
    yield tuple(speak(head) for head in heads)
    for trial in result.trials:
        found = trial.injected
        yield (
            str(trial.kind),
            language.number(len(found)),
            language.number(sum(one.detected for one in found)),
            language.number(sum(one.named for one in found)),
            _healed(trial, language),
            _seconds(trial.audit_time, language),
            language.size(trial.audit_read),
            _seconds(max((one.found_after or 0 for one in found), default=0), language),
            _seconds(trial.repair_time, language),
        )


def _healed(trial: "Trial", language: "Language") -> str:
    from audits.drill_faults import NOT_TO_BE_HEALED  # noqa: PLC0415 - help does without it

    count = language.number(sum(one.healed for one in trial.injected))
    return language.say(marked("{count} refused"), count=count) if trial.kind in NOT_TO_BE_HEALED else count


def _seconds(milliseconds: int, language: "Language") -> str:
    return language.decimal(milliseconds / 1000, 2) + " s"


def _troubles(result: "Drilled", language: "Language") -> Iterator[str]:
    """Yield a line for everything that went wrong."""
    from audits.drill_faults import MEANING  # noqa: PLC0415 - help does without it

    speak = language.say
    for one in result.control:
        yield speak(
            marked("FALSE ALARM before any fault was there: {code} {store} {pack}"),
            code=str(one.code),
            store=one.store,
            pack=one.pack,
        )
    for trial in result.trials:
        what = speak(MEANING[trial.kind])
        if trial.failure is not None:
            yield speak(marked("BROKEN OFF ({what}): {reason}"), what=what, reason=language.told(trial.failure))
        if not trial.injected:
            yield speak(marked("NOT TRIED ({what}): no copy was left to damage"), what=what)
        for each in trial.injected:
            yield from _trouble(each, what, language)
        for one in trial.false_alarms:
            yield speak(
                marked("FALSE ALARM ({what}): {code} {store} {pack}"),
                what=what,
                code=str(one.code),
                store=one.store,
                pack=one.pack,
            )
        for store, pack in trial.harmed:
            yield speak(
                marked("HARMED ({what}): the good copy of {pack} on {store}"), what=what, pack=pack, store=store
            )


def _trouble(one: "Injected", what: str, language: "Language") -> Iterator[str]:
    from audits.drill_faults import NOT_TO_BE_HEALED  # noqa: PLC0415 - help does without it

    if not one.detected:
        template = marked("NOT DETECTED ({what}): pack {pack} on {store}, from byte {at}")
    elif not one.named:
        template = marked("NOT NAMED RIGHTLY ({what}): pack {pack} on {store}, from byte {at}; called {codes}")
    elif not one.healed and one.fault.kind in NOT_TO_BE_HEALED:
        template = marked("NOT REFUSED ({what}): pack {pack} on {store}; the repair called it healed")
    elif not one.healed:
        template = marked("NOT HEALED ({what}): pack {pack} on {store}, from byte {at}")
    else:
        return
    yield language.say(
        template, what=what, pack=one.fault.pack, store=one.fault.store, at=one.fault.at, codes=", ".join(one.codes)
    )


def _verdict(result: "Drilled", language: "Language") -> Iterator[str]:
    speak = language.say
    counts = result.counts()
    yield speak(
        marked(
            "{injected} faults injected: {detected} detected, {named} named rightly, {healed} healed or rightly "
            "refused; {false_alarms} false alarms, {harmed} good copies harmed"
        ),
        **counts,
    )
    if len(result.shadowed) == 1:
        yield speak(marked("There is one store only: what is damaged there cannot be healed from anywhere"))
    if {one.reach for one in result.injected} - {"medium"}:
        yield speak(
            marked(
                "Not all looks were seen to reach the medium here: use --work on a real disk to try the stale cache "
                "as it happens"
            )
        )
    if counts["unusable"]:
        yield speak(marked("Real copies that are not right: {count}; run 'mocban audit' now"), count=counts["unusable"])
    passed = marked("PASSED: the audit found, named and healed every fault")
    failed = marked("FAILED: do not rely on the audit before this is understood")
    yield speak(passed if result.passed else failed)
