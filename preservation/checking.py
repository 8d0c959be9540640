"""Checks one copy: looks as deep as it is asked to and says what was seen. It changes nothing."""

from dataclasses import dataclass
from enum import StrEnum

from preservation.fixity import BLOCK, Fixity, Measuring
from preservation.packs.layout import pack_key
from storage_backends.backend import Flushing, Reach, Recalling, StorageBackend
from storage_backends.errors import KeyMissingError, StorageError


class Grade(StrEnum):
    """What a verdict rests on; none is ever shown as another."""

    INVENTORY = "inventory"
    """Existence, size and generation, as the store tells them; no byte was read."""
    PROVIDER = "provider"
    """A digest that the provider of the store computed; no byte was read by us."""
    BYTES = "bytes"
    """Every byte, read and measured by us."""


class Verdict(StrEnum):
    """What was seen of a copy."""

    VERIFIED = "verified"
    """Every byte was read and is right."""
    PRESENT = "present"
    """It is there and has the right size; its bytes were not read."""
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """We could not look; nothing is known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at one copy. ``read`` counts bytes; ``found`` is what was measured, if all could be read."""

    verdict: Verdict
    generation: str = ""
    reach: Reach | None = None
    read: int = 0
    found: Fixity | None = None
    failure: StorageError | None = None
    unstable: bool = False
    """The first look was wrong and the second right."""


def on_medium(backend: StorageBackend) -> StorageBackend:
    """Return the store as its medium has it: what is only staged there is no copy, and proves nothing about one."""
    return backend.settled() if isinstance(backend, Flushing) else backend


def look_up(backend: StorageBackend, fonds: str, fixity: Fixity) -> Seen:
    """Ask the store whether a copy is there and how large it is; no byte is read."""
    try:
        item = on_medium(backend).stat(pack_key(fonds, fixity.blake3))
    except KeyMissingError:
        return Seen(Verdict.MISSING)
    except StorageError as error:
        return Seen(Verdict.UNREADABLE, failure=error)
    if item.size != fixity.size:
        return Seen(Verdict.DAMAGED, item.generation, found=Fixity(item.size, ""))
    return Seen(Verdict.PRESENT, item.generation)


def check(backend: StorageBackend, fonds: str, fixity: Fixity) -> Seen:
    """Read one copy of a pack from its medium and compare; what is wrong is looked at twice before it is believed."""
    first = _look(backend, fonds, fixity)
    if first.verdict is not Verdict.DAMAGED:
        return first
    second = _look(backend, fonds, fixity)
    if second.verdict is not Verdict.VERIFIED:
        return second
    return Seen(
        Verdict.VERIFIED, second.generation, second.reach, first.read + second.read, second.found, unstable=True
    )


def _look(backend: StorageBackend, fonds: str, fixity: Fixity) -> Seen:
    key = pack_key(fonds, fixity.blake3)
    measuring = Measuring()
    try:
        backend = on_medium(backend)
        item = backend.stat(key)
        if item.size != fixity.size:
            return Seen(Verdict.DAMAGED, item.generation, found=Fixity(item.size, ""))
        if isinstance(backend, Recalling):
            backend.recall([key])
        buffer = memoryview(bytearray(BLOCK))  # so little stays in the processor's cache until it is measured
        with backend.read(key, fresh=True) as reader:
            while count := reader.readinto(buffer):
                measuring.update(buffer[:count])
            reach = reader.reach
        after = backend.stat(key)
    except KeyMissingError:
        return Seen(Verdict.MISSING)
    except StorageError as error:
        return Seen(Verdict.UNREADABLE, read=measuring.size, failure=error)
    found = measuring.fixity()
    right = (found.size, found.blake3) == (fixity.size, fixity.blake3) and after.generation == item.generation
    return Seen(Verdict.VERIFIED if right else Verdict.DAMAGED, item.generation, reach, measuring.size, found)


def diagnosis(bad: bytes, good: bytes) -> tuple[str, int]:
    """Name the kind of damage, and the first wrong place, in what was read against what it should be."""
    if len(bad) < len(good):
        return ("truncated" if good.startswith(bad) else "truncated and changed"), _first_wrong(bad, good)
    if len(bad) > len(good):
        return "extended", _first_wrong(bad, good)
    marks = (int.from_bytes(bad) ^ int.from_bytes(good)).to_bytes(len(good))
    first, last = len(good) - len(marks.lstrip(b"\0")), len(marks.rstrip(b"\0")) - 1
    if last < 0:
        return "none", len(good)
    if first == last:
        return ("one bit" if (bad[first] ^ good[first]).bit_count() == 1 else "one byte"), first
    if not any(bad[first : last + 1]):
        return "zero run", first
    return ("block" if last + 1 - first >= BLOCK // 2 else "bytes"), first


def _first_wrong(bad: bytes, good: bytes) -> int:
    return next((place for place, pair in enumerate(zip(bad, good, strict=False)) if pair[0] != pair[1]), len(bad))
