"""Brings the catalogs of translations up to date with the texts in the code: run it after changing any text.

    python commands/locale/update.py

New texts are added to each ``.po`` without a translation, texts that are gone are dropped, and the ``.mo`` is compiled.
Texts are what stands in ``_``, ``marked``, ``ngettext`` and ``Phrase``, and the reasons given word for word to errors.
"""

import ast
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from storage_backends.errors import is_worded

ROOT = Path(__file__).resolve().parents[2]
LOCALE = Path(__file__).resolve().parent
ROOMS = ("cli.py", "commands", "audits", "preservation", "storage_backends")
LANGUAGES = ("vi",)
CALLS = {"_": 1, "marked": 1, "ngettext": 2, "Phrase": 1}
TABLES = {"REMARKS"}
"""Tables whose values are texts, although they are not marked."""

FIXED_DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""The date in the files, so that they change only when a text does."""

OF_CLICK: tuple[str | tuple[str, str], ...] = (
    "Commands",
    "Error: {message}",
    "Invalid value for {param_hint}: {message}",
    "Invalid value: {message}",
    "Missing argument",
    "Missing command.",
    "Missing option",
    "Missing parameter",
    "No such command {name!r}.",
    "No such option {name!r}.",
    "No such option: {name}",
    "Option {name!r} does not take a value.",
    "Options",
    "Positional arguments",
    "Show this message and exit.",
    "Try '{command} {option}' for help.",
    "Usage:",
    "default: {default}",
    "env var: {var}",
    "required",
    "{value!r} is not a valid {number_type}.",
    "{value} is not in the range {range}.",
    ("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    ("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
    ("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
)
"""What click says of its own."""

OF_SYSTEM = (
    "Address already in use",
    "Broken pipe",
    "Cannot allocate memory",
    "Cannot assign requested address",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Device or resource busy",
    "Directory not empty",
    "Disk quota exceeded",
    "File exists",
    "File name too long",
    "File too large",
    "Host is down",
    "Inappropriate ioctl for device",
    "Input/output error",
    "Invalid argument",
    "Invalid cross-device link",
    "Is a directory",
    "Name or service not known",
    "Network is unreachable",
    "No medium found",
    "No route to host",
    "No space left on device",
    "No such device",
    "No such device or address",
    "No such file or directory",
    "Not a directory",
    "Operation not permitted",
    "Operation not supported",
    "Permission denied",
    "Read-only file system",
    "Remote I/O error",
    "Resource temporarily unavailable",
    "Stale file handle",
    "Structure needs cleaning",
    "Temporary failure in name resolution",
    "Text file busy",
    "Too many levels of symbolic links",
    "Too many open files",
    "Transport endpoint is not connected",
)
"""What the operating system says, as the reason of an error (strerror of the C locale)."""

OF_SCSI = (
    "aborted",
    "blank check",
    "completed",
    "copy aborted",
    "data protect",
    "hardware error",
    "illegal request",
    "medium error",
    "miscompare",
    "no sense",
    "not ready",
    "recovered",
    "reserved",
    "unit attention",
    "vendor specific",
    "volume overflow",
)
"""What drives say, by the names of sense keys."""

OF_CARTRIDGES = ("asked", "duplicate", "given-up", "lost", "no-label", "wrong-label")
"""Codes of cartridges, as the reason of a finding."""


def texts(source: str) -> Iterator[tuple[str | tuple[str, str], int]]:
    """Yield every text of a module, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in TABLES:
            yield from _literals(getattr(node.value, "values", []))


def _of_call(node: ast.Call) -> Iterator[tuple[str | tuple[str, str], int]]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in CALLS:
        found = [text for text, _ in _literals(node.args[: CALLS[name]])]
        if len(found) == CALLS[name]:
            yield (found[0] if len(found) == 1 else (found[0], found[1])), node.lineno
    if name.endswith("Error") or name == "Phrase":
        yield from _literals([word.value for word in node.keywords if word.arg and is_worded(word.arg)])


def _literals(nodes: list[ast.expr]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            yield node.value, node.lineno
        elif isinstance(node, ast.IfExp):
            yield from _literals([node.body, node.orelse])


def template() -> Catalog:
    """Return a catalog of all texts in the code."""
    found = Catalog(domain="mocban", fuzzy=False)
    for room in ROOMS:
        place = ROOT / room
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            if LOCALE in path.parents:
                continue
            name = path.relative_to(ROOT).as_posix()
            for text, _line in texts(path.read_text(encoding="utf-8")):
                found.add(text, locations=[(name, 0)], flags=["python-brace-format"] if "{" in str(text) else [])
    for text in (*OF_CLICK, *OF_SYSTEM, *OF_SCSI, *OF_CARTRIDGES):
        found.add(text, flags=["python-brace-format"] if "{" in str(text) else [])
    return found


def po_path(language: str) -> Path:
    """Return where the translations into ``language`` lie."""
    return LOCALE / language / "LC_MESSAGES" / "mocban.po"


def read(language: str) -> Catalog:
    """Return the translations into ``language``."""
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language)


def updated(language: str) -> Catalog:
    """Return the translations with the texts that the code has now."""
    old = read(language) if po_path(language).exists() else Catalog(locale=language)
    new = Catalog(
        locale=language,
        project="mocban",
        version="1",
        header_comment="# What people read, in another language. Made by update.py; change the translations here.",
        msgid_bugs_address="none",
        last_translator="mocban",
        language_team=language,
        creation_date=FIXED_DATE,
        revision_date=FIXED_DATE,
        fuzzy=False,
        domain="mocban",
    )
    for message in template():
        if message.id:
            known = old.get(message.id if isinstance(message.id, str) else message.id[0])
            translation = known.string if isinstance(known, Message) else ""
            new.add(message.id, translation, locations=message.locations, flags=message.flags)
    return new


def po_bytes(catalog: Catalog) -> bytes:
    """Return a catalog as a ``.po`` file."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, omit_header=False, include_lineno=False, sort_output=True)
    return out.getvalue()


def mo_bytes(catalog: Catalog) -> bytes:
    """Return a catalog as a ``.mo`` file."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def main() -> int:
    """Write both files of every language and name what is not translated yet; the status is 1 if anything is not."""
    missing: list[str] = []
    for language in LANGUAGES:
        catalog = updated(language)
        po_path(language).write_bytes(po_bytes(catalog))
        po_path(language).with_suffix(".mo").write_bytes(mo_bytes(catalog))
        missing += [f"{language}: {message.id}" for message in catalog if message.id and not message.string]
    sys.stderr.write("".join(f"not translated: {text}\n" for text in missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
