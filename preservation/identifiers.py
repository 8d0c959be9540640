"""Identifiers: UUIDv7 (RFC 9562) from a time and random bytes that are given, so that a test can repeat them."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

RANDOM_BYTES = 10
"""Random bytes that one UUIDv7 takes."""

LATEST_MS = (1 << 48) - 1


def new_uuid7(now_ms: int, random_bytes: bytes) -> UUID:
    """Return the UUIDv7 of ``now_ms`` (milliseconds since 1970, UTC) and 10 ``random_bytes`` (RFC 9562, 5.7).

    Six of the 80 random bits make room for the version and the variant.

    Raises:
        ValueError: The time does not fit into 48 bits, or there are not exactly 10 random bytes.
    """
    if not 0 <= now_ms <= LATEST_MS:
        raise ValueError(f"{now_ms} ms is not a time that a UUIDv7 can hold")
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"a UUIDv7 takes {RANDOM_BYTES} random bytes, not {len(random_bytes)}")
    random_bits = int.from_bytes(random_bytes)
    high, low = random_bits >> 68, random_bits & ((1 << 62) - 1)
    return UUID(int=now_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def new_id(now: datetime, random: Callable[[int], bytes]) -> str:
    """Return a new identifier for the aware time ``now``; ``random(n)`` gives ``n`` random bytes."""
    if now.tzinfo is None:
        raise ValueError("the time of an identifier must know its zone")
    since_epoch = now.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = since_epoch.days * 86_400_000 + since_epoch.seconds * 1_000 + since_epoch.microseconds // 1_000
    return str(new_uuid7(milliseconds, random(RANDOM_BYTES)))


def milliseconds_of(identifier: str) -> int:
    """Return when a UUIDv7 was made, in milliseconds since 1970 (UTC)."""
    return UUID(identifier).int >> 80


def is_uuid7(text: str) -> bool:
    """Tell whether ``text`` is a UUIDv7 in its canonical form: 36 lower-case characters."""
    try:
        value = UUID(text)
    except ValueError:
        return False
    return str(value) == text and value.version == 7 and value.variant == "specified in RFC 4122"  # noqa: PLR2004
