"""Canonical JSON (RFC 8785) for values without floating-point numbers: one value, one sequence of bytes."""

import json
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from preservation.ledger.errors import RecordError
from storage_backends.errors import Phrase

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

LARGEST_INTEGER = 1 << 53
"""Integers beyond this are not exact in every reader of JSON (RFC 8785, appendix D; RFC 7493, 2.2)."""

DEEPEST = 32

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True).encode


def canonical(value: Json) -> bytes:
    """Return the one canonical form of ``value``.

    Raises:
        RecordError: A float, an integer beyond 2^53, a key that is not text, lone surrogates, or too deep a value.
    """
    try:
        return _encode(_ordered(value, 0)).encode()
    except UnicodeEncodeError as error:
        raise RecordError(reason="text that is not Unicode") from error


def read_canonical(data: bytes) -> Json:
    """Return the value of ``data``, which must be exactly its canonical form.

    Raises:
        RecordError: ``data`` is not JSON, not canonical, or holds what ``canonical`` refuses.
    """
    try:
        value: Json
        value, _ = _decoder.raw_decode(data.decode())
        # Sorting by code points equals sorting by UTF-16 code units as long as there is nothing but ASCII.
        again = _encode_sorted(value).encode() if data.isascii() else canonical(value)
    except (ValueError, RecursionError) as error:
        raise RecordError(reason=Phrase("not JSON in UTF-8 ({kind})", kind=type(error).__name__)) from error
    if again != data:
        raise RecordError(reason="not in canonical form")
    if data.count(b"{") + data.count(b"[") > DEEPEST:
        _ordered(value, 0)  # only here can it be deeper than allowed
    return value


def _ordered(value: object, depth: int) -> object:
    if depth > DEEPEST:
        raise RecordError(reason=Phrase("nested deeper than {limit} levels", limit=DEEPEST))
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return _checked(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise RecordError(reason=Phrase("a key of type {kind}", kind=type(key).__name__))
        return {key: _ordered(value[key], depth + 1) for key in sorted(value, key=_utf16)}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_ordered(item, depth + 1) for item in value]
    raise RecordError(reason=Phrase("a value of type {kind}", kind=type(value).__name__))


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _checked(number: int) -> int:
    if not -LARGEST_INTEGER <= number <= LARGEST_INTEGER:
        raise RecordError(reason="an integer beyond 2^53")
    return number


def _integer(text: str) -> int:
    return _checked(int(text))


def _refuse(text: str) -> NoReturn:
    raise RecordError(reason=Phrase("the number {number}, which is not an integer", number=text[:40]))


_decoder = json.JSONDecoder(parse_float=_refuse, parse_int=_integer, parse_constant=_refuse)
