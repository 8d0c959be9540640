"""Checks one copy: reads every byte from the medium and says what was seen. It changes nothing."""

from dataclasses import dataclass
from enum import StrEnum

from preservation.fixity import BLOCK, CHUNK, Fixity, Measuring
from preservation.packs.layout import pack_key
from storage_backends.backend import Reach, Recalling, StorageBackend
from storage_backends.errors import KeyMissingError, StorageError


class Verdict(StrEnum):
    """What was seen of a copy."""

    VERIFIED = "verified"
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
        item = backend.stat(key)
        if item.size != fixity.size:
            return Seen(Verdict.DAMAGED, item.generation, found=Fixity(item.size, ""))
        if isinstance(backend, Recalling):
            backend.recall([key])
        buffer = memoryview(bytearray(CHUNK))
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


def diagnosis(bad: bytes, good: bytes) -> str:
    """Name the kind of damage in one block: what the bytes were read as, against what they should be."""
    if len(bad) < len(good):
        return "truncated" if good.startswith(bad) else "truncated and changed"
    if len(bad) > len(good):
        return "extended"
    different = [place for place in range(len(good)) if bad[place] != good[place]]
    if not different:
        return "none"
    run = bad[different[0] : different[-1] + 1]
    if not any(run):
        return "zero run"
    if len(different) == 1:
        bits = (bad[different[0]] ^ good[different[0]]).bit_count()
        return "one bit" if bits == 1 else "one byte"
    return "block" if len(run) >= BLOCK // 2 else "bytes"
