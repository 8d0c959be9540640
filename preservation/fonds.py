"""Fonds: opened under an immutable id; code and title are what people call them."""

import json
import re
from typing import Any

from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import FondsRow
from preservation.evidence import push
from preservation.fixity import blake3_hex
from preservation.ledger.events import EventType
from preservation.repository import Repository
from preservation.sidecars import description_name
from preservation.stores import all_open, attached
from storage_backends.errors import MocbanError, marked

CODE = re.compile(r"[^\s/\x00-\x1f\x7f]{1,100}")


class FondsExistsError(MocbanError):
    """A fonds of this code is open already."""

    template = marked("There is a fonds {code} already")


class NoSuchFondsError(MocbanError):
    """There is no fonds of this code."""

    template = marked("There is no fonds {code}; 'mocban fonds add {code}' opens one, 'mocban fonds list' shows all")


class BadFondsCodeError(MocbanError):
    """The code cannot be used."""

    template = marked("{code!r} is not a fonds code: 1 to 100 characters without spaces and slashes")


def open_fonds(repository: Repository, code: str, title: str) -> FondsRow:
    """Open a fonds; its title goes into a descriptive record beside the ledger, never into it.

    Raises:
        FondsExistsError, BadFondsCodeError.
    """
    if not CODE.fullmatch(code) or code.encode(errors="replace").decode() != code:
        raise BadFondsCodeError(code=code)
    title = title.encode(errors="backslashreplace").decode()
    fonds = "f-" + repository.new_id()
    values = {"code": code, "fonds": fonds, "salt": repository.world.random(16).hex(), "title": title}
    data = json.dumps(values, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    digest = blake3_hex(data)
    repository.sidecars.keep(description_name(digest), data)
    with repository.deciding() as (view, append):
        if any(row.code == code for row in rows.every(view, FondsRow)):
            repository.sidecars.forget(description_name(digest))
            raise FondsExistsError(code=code)
        append([repository.event(EventType.FONDS_OPENED, fonds=fonds, code=code, description=digest)])
    with repository.reading() as view:
        store_rows = attached(view)
        row = rows.one(view, FondsRow, fonds)
    with all_open(store_rows) as stores:
        push(repository, stores)
    assert row is not None
    return row


def described(repository: Repository, view: View) -> list[tuple[FondsRow, dict[str, Any]]]:
    """Return every fonds with its descriptive record; an empty one if the record is missing or wrong."""
    found = []
    for row in rows.every(view, FondsRow):
        data = repository.sidecars.read(description_name(row.description), row.description)
        found.append((row, json.loads(data) if data is not None else {}))
    return found
