"""Changes in memory over a database: what a projection writes into, and what a reader sees before it is on disk."""

from collections.abc import Iterator, Sequence
from typing import Protocol


class Base(Protocol):
    """What an overlay lies over."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value or nothing for each key."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) below ``prefix`` in key order."""
        ...


class Overlay:
    """A base with changes over it; the base itself is never written to."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key`` as changed."""
        return self.changes[key] if key in self.changes else self._base.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value or nothing for each key as changed."""
        values = self._base.get_many(keys)
        if not self.changes:
            return values
        return [self.changes.get(key, value) for key, value in zip(keys, values, strict=True)]

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        self.changes[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) below ``prefix`` as changed, in key order."""
        changed = sorted(key for key in self.changes if key.startswith(prefix))
        position = 0
        for key, value in self._base.scan(prefix):
            while position < len(changed) and changed[position] < key:
                yield from self._changed(changed[position])
                position += 1
            if position < len(changed) and changed[position] == key:
                yield from self._changed(key)
                position += 1
            else:
                yield key, value
        for key in changed[position:]:
            yield from self._changed(key)

    def _changed(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self.changes.get(key)
        if value is not None:
            yield key, value


class Empty:
    """A base with nothing in it."""

    def get(self, key: bytes) -> bytes | None:  # noqa: ARG002 - the protocol's name
        """Return nothing."""
        return None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return nothing for each key."""
        return [None] * len(keys)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - the protocol's name
        """Yield nothing."""
        return iter(())
