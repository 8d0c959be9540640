"""The shapes of records: whoever has checked one record in full knows by a pattern that others like it are canonical.

Most records of a ledger differ in nothing but digests, identifiers, counts and times. A shape is made from a record
that was parsed and found canonical: the same members in the same order, the same type and outcome, and for each text
and number what is canonical without an escape. Whatever a pattern matches is therefore canonical too; whatever it does
not match is parsed. A shape is much faster than parsing and cannot be less strict.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from preservation.ledger.canonical import Json
from preservation.ledger.errors import RecordError
from preservation.ledger.events import RECORD_LIMIT, Record, parse_record
from storage_backends.errors import Phrase

TYPED = ("seq", "event_id", "event_datetime", "agent", "fonds")
"""The columns whose text a shape takes out of a record beside the subjects; type and outcome are the shape's own."""

_LETTERS = r'[^"\\\x00-\x1f]'
_TEXT = f'"{_LETTERS}*+"'
_NUMBER = r"(?:0|-?[1-9][0-9]{0,14})(?![0-9])"
_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_CODED = {"seq": r"(0|[1-9][0-9]{0,14})", "id": f'"({_UUID7})"', "time": f'"({_TIME})"', "schema": "1"}
_COLUMN_OF = {"seq": "seq", "id": "event_id", "time": "event_datetime", "agent": "agent", "fonds": "fonds"}

_ENDING = 16
"""So many bytes at the end of a record, where its type stands, tell which shapes it can have."""

_MOST = 32
"""So many shapes with one ending are tried; a ledger has two or three."""


class _NoShapeError(Exception):
    """A record that has something that no pattern is made for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a matching record says: its type and outcome, and in the groups of ``pattern`` the ``names`` columns."""

    kind: str
    outcome: str
    names: tuple[str, ...]
    pattern: re.Pattern[bytes]


@dataclass(slots=True)
class Alike:
    """Records of one shape: their places in the list, and for each the texts of the shape's columns."""

    shape: Shape
    places: list[int] = field(default_factory=list)
    texts: list[tuple[bytes, ...]] = field(default_factory=list)


Sorted: TypeAlias = tuple[list[Alike], list[tuple[int, Record]]]
"""Records by shape, and those that were parsed because they have none."""


class Shapes:
    """The shapes that were learned. Texts named in ``subjects`` are taken out of an event's detail."""

    def __init__(self, subjects: Sequence[str]) -> None:
        self._subjects = frozenset(subjects)
        self._known: dict[bytes, list[Shape]] = {}

    def sort(self, records: Sequence[bytes]) -> Sorted:
        """Return ``records``, all canonical and well-formed, by shape.

        Raises:
            RecordError: One of them is not what ``parse_record`` takes, or is not UTF-8.
        """
        if not b"".join(records).isascii():
            _check_texts(records)
        if max(map(len, records), default=0) > RECORD_LIMIT:
            raise RecordError(reason=Phrase("a record of more than {limit} bytes", limit=RECORD_LIMIT))
        alike: dict[int, Alike] = {}
        others: list[tuple[int, Record]] = []
        for place, record in enumerate(records):
            shapes = self._known.get(record[-_ENDING:], ())
            for shape in shapes:
                match = shape.pattern.fullmatch(record)
                if match is not None:
                    group = alike.get(id(shape))
                    if group is None:
                        group = alike[id(shape)] = Alike(shape)
                    group.places.append(place)
                    group.texts.append(match.groups())
                    break
            else:
                others.append((place, parse_record(record)))
                self._learn(record, others[-1][1])
        return list(alike.values()), others

    def _learn(self, data: bytes, record: Record) -> None:
        known = self._known.setdefault(data[-_ENDING:], [])
        if len(known) < _MOST:
            try:
                known.append(_shape_of(data, record, self._subjects))
            except _NoShapeError:
                return


def _check_texts(records: Sequence[bytes]) -> None:
    try:
        for record in records:
            record.decode()
    except UnicodeDecodeError as error:
        raise RecordError(reason="not UTF-8") from error


def _shape_of(data: bytes, record: Record, subjects: frozenset[str]) -> Shape:
    """Return the shape of a record that was parsed."""
    names: list[str] = []
    parts: list[str] = []
    for key, value in json.loads(data).items():  # in the order of the record, which is the canonical one
        if key == "detail":
            pattern = _object(value, subjects, names)
        elif key in _CODED:
            pattern = _CODED[key]
        elif key in {"type", "outcome"} or value is None:
            pattern = re.escape(json.dumps(value, ensure_ascii=False))
        else:
            pattern = f'"({_LETTERS}++)"'
        if key in _COLUMN_OF and value is not None:
            names.append(_COLUMN_OF[key])
        parts.append(f'"{key}":{pattern}')
    pattern = r"\{" + ",".join(parts) + r"\}"
    shape = Shape(str(record.event.type), str(record.event.outcome), tuple(names), re.compile(pattern.encode()))
    if shape.pattern.fullmatch(data) is None:
        raise _NoShapeError
    return shape


def _object(value: Mapping[str, Json], subjects: frozenset[str], names: list[str]) -> str:
    parts: list[str] = []
    for key, member in value.items():
        if not key.isascii() or not key.isprintable() or '"' in key or "\\" in key:
            raise _NoShapeError
        if key in subjects and isinstance(member, str):
            names.append(key)
            parts.append(f'"{re.escape(key)}":"({_LETTERS}*+)"')
        else:
            parts.append(f'"{re.escape(key)}":{_member(member)}')
    return r"\{" + ",".join(parts) + r"\}"


def _member(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return _TEXT
    if isinstance(value, int):
        return _NUMBER
    if isinstance(value, Mapping):
        return _object(value, frozenset(), [])
    if all(isinstance(item, str) for item in value):
        return rf"\[(?:{_TEXT}(?:,{_TEXT})*+)?\]"
    raise _NoShapeError
